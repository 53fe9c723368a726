#!/usr/bin/env perl

# Copyright (C) MailPing

# 10,000 damaged, truncated, foreign-key, wrong-version and oversized tokens:
# the pixel each time, no event, counters by reason that add up, and nothing
# in the error log above info.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;
use Test::MailPing::Token;


my $seed = $ENV{MAILPING_SEED} // 20261123;
srand($seed);

my $t = Test::MailPing->new();
my $redis = $t->redis();

$t->write_file('2.key', 'ab' x 48 . "\n");

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
worker_processes 2;
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    mailping_key 2 %%PREFIX%%/2.key;
    large_client_header_buffers 4 16k;
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

$t->start();

# after what is said at each start

wait_for(sub { $t->log_lines(qr/\[notice\].*mailping 0/) >= 2 });

my $quiet = $t->log_size();

my %parts = (id => 'id', key => $t->key(), key_id => 1, sent => time());
my @alphabet = ('A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_');
my $foreign = 'cd' x 32;

my %kinds = (
    flipped => sub {
        my $bytes = Test::MailPing::Token::sign(
            Test::MailPing::Token::pack_token(%parts, @_), $t->key());
        my $i = int(rand(length($bytes)));
        substr($bytes, $i, 1) ^= chr(1 << int(rand(8)));
        return Test::MailPing::Token::encode($bytes);
    },
    truncated => sub {
        my $token = $t->mint(%parts, @_);
        return substr($token, 0, int(rand(length($token) - 1)));
    },
    foreign => sub { $t->mint(%parts, @_, key => $foreign) },
    swapped => sub { $t->mint(%parts, @_, key_id => 2) },
    'unknown key' => sub { $t->mint(%parts, @_, key_id => 3 + rand(13)) },
    version => sub {
        $t->mint(%parts, @_, version => (0, 2 .. 15)[rand(15)])
    },
    flags => sub { $t->mint(%parts, @_, flags => 4 + int(rand(12))) },
    oversized => sub { $t->mint(%parts, @_) . 'A' x (200 + rand(8000)) },
    'long id' => sub { $t->mint(%parts, id => 'i' x 65) },
    'long recipient' => sub {
        $t->mint(%parts, @_, recipient => 'r' x (33 + rand(200)))
    },
    'bad id' => sub { $t->mint(%parts, id => ('a@b', 'a b', "\x7f")[rand(3)]) },
    'bad recipient' => sub { $t->mint(%parts, @_, recipient => 'a@b') },
    garbage => sub { join('', map { $alphabet[rand(@alphabet)] }
                              1 .. 1 + rand(160)) },
    foreign_letters => sub {
        my $token = $t->mint(%parts, @_);
        substr($token, rand(length($token)), 1) = ('+', '=', '~', '*')[rand(4)];
        return $token;
    },
    empty => sub { '' },
);

my @kinds = sort keys %kinds;
my $total = 10_000;
my ($pixels, $sent) = (0, 0);
my $c = $t->connect();

for my $n (1 .. $total) {
    my $token = $kinds{$kinds[$n % @kinds]}->(id => "n$n");
    my $extension = ('', '.gif', '.png', '.a.b')[rand(4)];

    my $r = $c->exchange('GET', "/o/$token$extension");

    $pixels++ if $r->status() == 200 && length($r->body()) == 43;
    $sent++;
}

is($pixels, $total, "$total wrong tokens, each answered with the pixel "
                    . "(seed $seed)");

# the control: a good token among them is recorded

is(length($c->exchange('GET', '/o/' . $t->mint(%parts, id => 'good'))->body()),
   43, 'a good token');

ok(wait_for(sub { $redis->entries() >= 1 }), 'its event arrives');
is_deeply([ map { $_->{id} } $redis->entries() ], [ 'good' ],
          'and no other does');

my $s = $t->status();
my $sum = 0;

$sum += $_ for (values %{$s->{refused}});

is($sum, $total, 'the counters by reason add up');
is($s->{recorded}, 1, 'one open recorded');

for my $reason (qw(length alphabet version key flags mac id)) {
    cmp_ok($s->{refused}{$reason}, '>', 0,
           "refused for $reason: $s->{refused}{$reason}");
}

is_deeply([ $t->log_lines(qr/\[(?:notice|warn|error|crit|alert|emerg)\]/,
                          $quiet) ], [],
          'nothing in the error log above info');

$t->done();
