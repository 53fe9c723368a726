#!/usr/bin/env perl

# Copyright (C) MailPing

# The variables in log_format and map: after an open, where nothing was judged,
# after an internal redirect, and asked before the handler ran.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;


my $t = Test::MailPing->new();
my $redis = $t->redis();

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;

    map $mailping_open $seen_by { yes person; no machine; default other; }

    log_format opens '$request_uri|$mailping_id|$mailping_open|$mailping_person'
                     '|$mailping_verdict|$mailping_provider|$mailping_reasons'
                     '|$mailping_network|$mailping_event|$seen_by|';

    server {
        listen 127.0.0.1:%%PORT%%;
        access_log %%PREFIX%%/opens.log opens;
        location /o/ { mailping; }
        location /early/ { set $early "[$mailping_id]"; mailping;
                           add_header X-Early $early; }
        location /after/ { mailping; post_action /post; }
        location /post { internal; return 204; }
        location /off/ { mailping; mailping_privacy off max=off; }
        location /plain/ { return 200 "plain\n"; }
        location /moved/ { error_page 404 = /o/$arg_t; return 404; }
    }
}
END

$t->start();

my $curl = [ 'User-Agent' => 'curl/7.88.1', Accept => '*/*' ];
my %token = map { $_ => $t->mint(id => $_, sent => time() - 3600) }
                qw(one early after off moved);

$t->get("/o/$token{one}", header => $curl);
my $early = $t->get("/early/$token{early}", header => $curl);
$t->get("/after/$token{after}", header => $curl);
$t->get("/off/$token{off}", header => $curl);
$t->get('/plain/', header => $curl);
$t->get("/moved/?t=$token{moved}", header => $curl);
$t->get('/o/wrong', header => $curl);

ok(wait_for(sub { $redis->entries() == 4 }), 'four opens');
ok(wait_for(sub { -e $t->path('opens.log')
                  && split(/\n/, $t->read_file('opens.log')) >= 7 }),
   'seven lines');

my %line;

for (split(/\n/, $t->read_file('opens.log'))) {
    my ($uri, @values) = split(/\|/, $_, -1);
    $line{(split('/', $uri))[1] eq 'o' && $uri =~ /wrong/ ? 'wrong'
          : (split('/', $uri))[1]} = \@values;
}

my %entry = map { $_->{id} => $_ } $redis->entries();
my $one = $entry{one};

is_deeply($line{o}, [ 'one', 'no', $one->{person}, 'bot',
                      $one->{provider}, $one->{reasons},
                      '127.0.0.0/24', $one->{event}, 'machine', '' ],
          'the values are those of the event') || diag(explain($line{o}));

like($one->{event}, qr{^[0-9a-f]{32}\.0/\d+$}, 'an event has a name');

is($early->header('X-Early'), '[]', 'no value before the handler ran');
is($line{early}[0], 'early', 'but afterwards');
is($line{after}[0], 'after', 'also after an internal redirect');
is($line{moved}[0], 'moved', 'and when one led to the pixel');

for my $name (qw(off plain wrong)) {
    is_deeply($line{$name}, [ ('-') x 8, 'other', '' ], "$name: no values");
}

$t->done();
