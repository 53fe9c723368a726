#!/usr/bin/env perl

# Copyright (C) MailPing

# What the shared memory remembers: which fetch of its token this is, where
# the token is all of it and not only its id, whether a first fetch is certain,
# and how many tokens one network fetches at a time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(wait_for repository);


my $t = Test::MailPing->new();
my $redis = $t->redis();

my $other = 'cd' x 32;
$t->write_file('2.key', $other);

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    mailping_key 2 %%PREFIX%%/2.key;
    mailping_zone 256k;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    keepalive_requests 10000;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location /id/ {
            mailping;
            mailping_id $arg_i;
            mailping_recipient $arg_r;
            mailping_sent $arg_s;
        }
    }
}
END

$t->start();

# numbers of facts, by their names

my %number = reverse($t->read_file(repository() . '/docs/facts.md')
                     =~ /^\| (\d+) \| `([^`]+)`/mg);

my $fetched = 0;
my $host = 0;


# one fetch, from a network of its own unless one is given; its entry

sub open_of {
    my ($uri, $address) = @_;

    $host++;
    $address //= '10.' . ($host >> 8) . '.' . ($host & 255) . '.1';

    my $r = $t->get($uri, header => [ Host => 'a', 'X-Real-IP' => $address ]);

    $fetched++;

    if ($r->status() != 200
        || !wait_for(sub { $redis->length() == $fetched }))
    {
        die "no event of $uri\n";
    }

    my $last = $redis->command('XREVRANGE', 'mailping:opens', '+', '-',
                               'COUNT', 1);

    return { @{$last->[0][1]} };
}


sub token {
    return '/o/' . $t->mint(@_);
}


# true, false or unknown

sub fact {
    my ($entry, $name) = @_;

    my $number = $number{$name};

    my ($true, $unknown) = map {
        my $digit = substr(('0' x 64) . $_, -1 - int($number / 4), 1);

        hex($digit) >> $number % 4 & 1;
    } split(/\./, $entry->{facts});

    return $unknown ? 'unknown' : $true ? 'true' : 'false';
}


# the memory has to be older than the mails

select(undef, undef, undef, 1.1);

my $now = int(time());
my $e;

for my $n (1 .. 3) {
    $e = open_of(token(id => 'again', sent => $now));
    is($e->{seen}, $n, "fetch $n of a token");
    is(fact($e, 'seen<2'), $n == 1 ? 'true' : 'false', 'and its fact');
}


# the token, not its id

my @tokens = (
    [ 'the top of a mail', id => 'mail', sent => $now, kind => 1 ],
    [ 'its bottom', id => 'mail', sent => $now, kind => 2 ],
    [ 'another recipient', id => 'mail', sent => $now, kind => 1,
      recipient => 'r' ],
    [ 'another sender', id => 'mail', sent => $now, kind => 1,
      key => $other, key_id => 2 ],
);

for my $case (@tokens) {
    my ($name, @parts) = @$case;

    is(open_of(token(@parts))->{seen}, 1, "$name: the first fetch");
}

is(open_of(token(@{$tokens[0]}[1 .. 6]))->{seen}, 2, 'the top again');

is(open_of('/id/?i=a')->{seen}, 1, 'unsigned');
is(open_of('/id/?i=a')->{seen}, 2, 'again');
is(open_of('/id/?i=a&r=b')->{seen}, 1, 'for another recipient');
is(open_of('/id/?i=b&r=a')->{seen}, 1, 'the other way around');
is(open_of('/id/?i=a&r=b')->{seen}, 2, 'and again');


# when a first fetch is certain

is(fact(open_of(token(id => 'old', sent => $now - 3600)), 'seen<2'), 'unknown',
   'a mail older than the memory');
is(fact(open_of(token(id => 'never')), 'seen<2'), 'unknown',
   'a mail of unknown age');
is(fact(open_of(token(id => 'later', sent => $now + 3600)), 'seen<2'),
   'unknown', 'a mail that is still to be sent');


# bursts

my $burst;

for my $n (1 .. 12) {
    $burst = open_of(token(id => "b$n"), "192.0.2.$n");
}

is(fact($burst, 'burst>=5'), 'true', 'many tokens from one network');

for my $n (1 .. 12) {
    $burst = open_of(token(id => 'one'), "198.51.100.$n");
}

is(fact($burst, 'burst>=5'), 'false', 'many fetches of one token');


# more tokens than the smallest memory holds: what was forgotten is unknown

my $tokens = 9000;
my $c = $t->connect(timeout => 60);

for my $n (1 .. $tokens) {
    $c->exchange('GET', "/id/?i=fill$n&s=$now");
}

$c->close();
$fetched += $tokens;

my @seen = map { open_of("/id/?i=fill$_&s=$now") } (1 .. 20);

is(scalar(grep { $_->{seen} == 1 && fact($_, 'seen<2') eq 'true' } @seen), 0,
   'a forgotten fetch makes no second one the first');
cmp_ok(scalar(grep { $_->{seen} == 1 } @seen), '>', 0, 'some are forgotten');

is(open_of("/id/?i=fill$tokens&s=$now")->{seen}, 2, 'the last one is not');

$t->done();
