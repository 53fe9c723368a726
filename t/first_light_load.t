#!/usr/bin/env perl

# Copyright (C) MailPing

# Every answered open is in the stream, and none twice, though Redis is killed
# twice, a worker once, and nginx is reloaded three times under load.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(wait_for run_command);

use constant FETCHES => 100_000;
use constant RATE => 5_000;

my $t = Test::MailPing->new();
my $client = $t->path('load');

my ($code, $output) = run_command($ENV{CC} // 'cc', '-O2', '-Wall', '-o',
                                  $client, "$FindBin::Bin/lib/load.c");

is($code, 0, 'the client compiles') || diag($output);

my $redis = $t->redis();

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 4;
events { worker_connections 256; }
http {
    %%GLOBALS_HTTP%%
    keepalive_requests 1000000;
    mailping_spool %%SPOOL%% size=128m;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%% reuseport;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

$t->start();

$t->write_file('addresses', join('', map {
    '/o/' . $t->mint(id => "load-$_") . ".gif\n"
} (0 .. FETCHES - 1)));

my %actions = (
    10 => sub { ok($redis->kill9(), 'redis is killed') },
    20 => sub { ok($redis->start(), 'redis comes back') },
    28 => sub { ok($t->reload(), 'first reload') },
    38 => sub { ok($t->kill9(($t->workers())[1]), 'a worker is killed') },
    48 => sub { ok($t->reload(), 'second reload') },
    58 => sub { ok($redis->kill9(), 'redis is killed again') },
    68 => sub { ok($redis->start(), 'redis comes back again') },
    80 => sub { ok($t->reload(), 'third reload') },
);

my @due = sort { $a <=> $b } keys(%actions);
my %cut;

open(my $progress, '-|', $client, $t->port(), RATE, $t->path('addresses'))
    || die "cannot run $client: $!\n";

while (my $line = <$progress>) {

    if ($line =~ /^cut (\d+) (\d+)$/) {
        $cut{"load-$1"} = $2;
        next;
    }

    while (@due && $line >= $due[0] * FETCHES / 100) {
        $actions{shift(@due)}->();
    }
}

ok(close($progress), 'every answer is the pixel');
is(scalar(@due), 0, 'everything happened on the way');

note(scalar(keys(%cut)) . ' fetches were cut off and repeated');


# the stream in parts: the whole of it would be hundreds of megabytes

my (%ids, %events, $last);


sub follow {
    for ( ;; ) {
        my $part = $redis->command('XRANGE', 'mailping:opens',
                                   defined $last ? "($last" : '-', '+',
                                   'COUNT', 5000);

        for my $entry (@$part) {
            my %fields = @{$entry->[1]};

            $ids{$fields{id}}++;
            $events{$fields{event}}++;
            $last = $entry->[0];
        }

        return keys(%ids) if @$part < 5000;
    }
}

ok(wait_for(sub { follow() == FETCHES }, 60), 'every answered id arrives')
    || diag(scalar(keys(%ids)) . ' ids, ' . $t->get('/status')->body());

select(undef, undef, undef, 1);
follow();

is(scalar(keys(%ids)), FETCHES, 'and no other one');
is(scalar(grep { $_ > 1 } values(%events)), 0, 'no event twice');

my @twice = grep { $ids{$_} > ($cut{$_} // 1) } keys(%ids);

is(scalar(@twice), 0, 'no id twice unless it was cut off')
    || diag("@twice[0 .. ($#twice < 9 ? $#twice : 9)]");

# A Redis that is killed may have lost what it had said to have, up to two
# seconds of it, because it syncs without holding replies back.  What is sent
# again then is counted, and the sums must agree.

my $status = $t->status();
my $delivery = $status->{delivery};

is($delivery->{delivered} + $delivery->{advanced} - $delivery->{rewound},
   $status->{recorded}, 'the counters agree');
is($delivery->{missing}, 0, 'the spool had all that redis lost');
is($status->{spool}{undelivered}, 0, 'nothing waits');

note("$delivery->{rewound} were sent again");

# a negative control: what is compared above can differ

cmp_ok(scalar(keys(%events)), '>=', FETCHES, 'each has an event of its own');

is(scalar($t->log_lines(qr/mailping lost \d+ opens/)), 0, 'nothing was lost');

$t->done();
