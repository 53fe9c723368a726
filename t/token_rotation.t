#!/usr/bin/env perl

# Copyright (C) MailPing

# Keys are rotated by reload: the first signs, all of them verify, and tokens
# of a key that is gone are refused; what was minted and refused is counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;
use Test::MailPing;


my $t = Test::MailPing->new();

my %keys = (1 => $t->key(), 2 => 'Ab' x 100);

$t->write_file('2.key', "\n$keys{2}\n");


sub configure {
    my ($own, @ids) = @_;

    my $keys = join(' ', map { "mailping_key $_ $_.key;" } @ids);

    $t->write_conf(<<"END" =~ s{ (\d)\.key;}{ %%PREFIX%%/$1.key;}gr);
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%

    mailping_spool %%SPOOL%% size=16m sync=off;
    $keys

    server {
        listen 127.0.0.1:%%PORT%%;

        location /o/ {
            mailping;
            add_header X-Id "\$mailping_id";
            $own
        }

        location = /mint   { mailping_mint http://127.0.0.1:%%PORT%%/o/; }
        location = /status { mailping_status; }
    }
}
END
}


sub mint {
    my ($id) = @_;

    my $url = decode_json($t->get("/mint?id=$id&sent=0")->body())->{url};

    $url =~ m{^http://127\.0\.0\.1:\d+(/o/([\w-]+)\.gif)$}
        || die "no address: \"$url\"\n";

    return ($1, $2);
}


sub opened {
    my ($path) = @_;

    my $r = $t->get($path);

    return $r->status() . ' ' . length($r->body()) . ' '
           . ($r->header('X-Id') // '-');
}


configure('', 1);
$t->start();

my ($old, $token) = mint('old');

is($token, $t->mint(id => 'old'), 'the key signs');
is(opened($old), '200 43 old', 'and verifies');

configure('', 2, 1);
ok($t->reload(), 'a new key before the old one');

(my $new, $token) = mint('new');

is($token, $t->mint(id => 'new', key => $keys{2}, key_id => 2),
   'the first key signs');
is(opened($new), '200 43 new', 'and verifies');
is(opened($old), '200 43 old', 'the old one verifies still');

configure('', 1, 2);
ok($t->reload(), 'the other way round');

is((mint('back'))[1], $t->mint(id => 'back'), 'the first key signs');
is(opened($new), '200 43 new', 'all of them verify');

configure('', 2);
ok($t->reload(), 'the old key is removed');

my $before = decode_json($t->get('/status')->body());

is(opened($old), '200 43 -', 'a token of it gets the pixel, and no event');
is(opened($new), '200 43 new', 'the other one verifies');

$t->get('/mint?id=a%40b');
$t->request('POST', '/mint', body => "a\n\@\nb\n\tx\nc\n");

my $after = decode_json($t->get('/status')->body());

is($after->{refused}{key} - $before->{refused}{key}, 1, 'refused by its key');
is($after->{recorded} - $before->{recorded}, 1, 'one event');
is($after->{minted} - $before->{minted}, 3, 'minted');
is($after->{mint_errors} - $before->{mint_errors}, 3, 'not minted');

configure('mailping_key 1 1.key;', 2);
ok($t->reload(), 'a location has keys of its own');

is(opened($old), '200 43 old', 'they verify');
is(opened($new), '200 43 -', 'those of the level above do not');

$t->done();
