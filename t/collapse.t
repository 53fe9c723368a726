#!/usr/bin/env perl

# Copyright (C) MailPing

# Beyond twenty fetches of a token within an hour those of a minute become one
# entry with their count.  However often a token is replayed, by whichever
# workers, across a reload and a worker's death: few entries, and the sum of
# their counts is exact.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(sum0);
use POSIX qw(strftime);
use Test::More;
use Test::MailPing qw(wait_for run_command repository);


use constant REPLAYS => 20_000;
use constant ALONE => 20;          # MAILPING_COLLAPSE_BEYOND

# files have the time of this machine, and must not look old
use constant START => int(time()) - 6 * 3600;

my $browser = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 '
              . 'Firefox/128.0';

my $t = Test::MailPing->new();
my $redis = $t->redis();

# a clock that stands still until it is set: minutes pass in a moment

my $shim = $t->path('clock.so');
my ($code, $output) = run_command($ENV{CC} // 'cc', '-O2', '-Wall', '-shared',
                                  '-fPIC', '-o', $shim,
                                  repository() . '/t/sim/clock.c');

is($code, 0, 'the clock compiles') || diag($output);

$t->write_file('clock', pack('Q', START * 1000));
$t->{wrap} = [ 'env', "LD_PRELOAD=$shim", 'CLOCK=' . $t->path('clock') ];

my $conf = <<'END';
%%GLOBALS%%
worker_processes WORKERS;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%%SPOOL sync=off rewind=0;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:%%PORT%% reuseport;
        add_header X-Event $mailping_event;
        add_header X-Pid $pid;
        location /o/ { mailping; }
        location /full/ { mailping; mailping_privacy full; }
        location /minimal/ { mailping; mailping_privacy minimal; }
        location = /status { mailping_status; }
    }
}
END

my $now = START;
my $fetched = 0;
my %pids;


sub write_conf {
    my ($workers, $spool) = @_;

    $t->write_conf($conf =~ s/WORKERS/$workers/r =~ s/SPOOL sync/$spool sync/r);
}


# The file is mapped, so it must never be shorter.

sub advance {
    my ($seconds) = @_;

    $now += $seconds;

    open(my $file, '+<:raw', $t->path('clock')) || die "no clock: $!\n";
    syswrite($file, pack('Q', $now * 1000)) == 8 || die "no clock: $!\n";
    close($file);

    # each worker looks at it when something happens, and once a second

    wait_for(sub { times_of_workers() });
}


# Whether the workers have seen the clock: all that answer say so by Date.

sub times_of_workers {
    my %old = map { $_ => 1 } $t->workers();

    for (1 .. 50) {
        my $r = $t->get('/status');

        delete $old{$r->header('X-Pid')}
            if $r->header('Date') eq date($now);
    }

    return !%old;
}


sub date {
    return strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime($_[0]));
}


# n fetches by several connections, so several workers; the last one's event

sub replay {
    my ($uri, $n, %header) = @_;

    my %of = ('Host' => 'localhost', 'X-Real-IP' => '203.0.113.9',
              'User-Agent' => $browser, 'Accept' => 'image/avif,*/*',
              'Accept-Language' => 'de', 'Accept-Encoding' => 'gzip, br',
              %header);

    my $request = "GET $uri HTTP/1.1\r\n"
                  . join('', map { "$_: $of{$_}\r\n" } sort keys %of);
    my $event;

    while ($n > 0) {
        my $batch = $n < 250 ? $n : 250;

        $n -= $batch;

        my $all = $t->raw("$request\r\n" x ($batch - 1)
                          . "${request}Connection: close\r\n\r\n");

        my @pixels = $all =~ m{HTTP/1\.1 200 .*?\r\n\r\nGIF89a}sg;

        die "no pixel: " . @pixels . " of $batch\n" if @pixels != $batch;

        $fetched += $batch;
        $pids{$_}++ for ($all =~ /^X-Pid: (\d+)/mg);

        ($event) = $pixels[-1] =~ /^X-Event: (\S+)/m;
    }

    return $event;
}


sub entries_of {
    my ($id) = @_;

    return grep { $_->{type} eq 'open' && $_->{id} eq $id } $redis->entries();
}


sub counts {
    return map { $_->{count} } entries_of(@_);
}


# waits until the counts of an id add up to n

sub adds_up {
    my ($id, $n, $name) = @_;

    wait_for(sub { sum0(counts($id)) >= $n });

    return is(sum0(counts($id)), $n, $name);
}


write_conf(3, ' size=32m');
$t->start();

my $token = $t->mint(id => 'replay', sent => START - 7200);


# the first twenty are entries, the next is not

my $event = replay("/o/$token", ALONE);
like($event, qr/^[0-9a-f]{32}\.0\/\d+$/,
     'the twentieth fetch has an event');
adds_up('replay', ALONE, 'twenty fetches');
is(scalar(entries_of('replay')), ALONE, 'are twenty entries');
is($t->status()->{collapsed}, 0, 'none is collapsed');

is(replay("/o/$token", 1), undef, 'the next has a pixel, and no event');
is($t->status()->{collapsed}, 1, 'and is counted');


# a reload and a killed worker in between

replay("/o/$token", 7000 - ALONE - 1);
ok($t->reload(), 'reload');
adds_up('replay', 7000, 'workers that leave write what was counted');
cmp_ok(scalar(entries_of('replay')), '<=', ALONE + 3, 'in an entry');

replay("/o/$token", 7000);

# all are answered, so the worker does nothing; if it were killed in the
# microsecond between taking an entry out and writing it, that would be missed

my ($victim) = $t->workers();

ok($t->kill9($victim), 'a worker is killed');
ok(wait_for(sub { $t->workers() == 3 }), 'another one is started');

replay("/o/$token", REPLAYS - 14_000);
cmp_ok(scalar(keys(%pids)), '>', 2, 'several workers had a share');

is($t->status()->{collapsed}, REPLAYS - ALONE, 'all but twenty are counted');
is(sum0(counts('replay')), 7000, 'and not yet written');

advance(61);

adds_up('replay', REPLAYS, 'the sum is exact');
cmp_ok(scalar(entries_of('replay')), '<', 100, 'in less than a hundred entries')
    || diag(scalar(entries_of('replay')));

my %seen;

is(scalar(grep { $seen{$_->{event}}++ } $redis->entries()), 0,
   'no event twice');

my ($large) = sort { $b->{count} <=> $a->{count} } entries_of('replay');

is($large->{verdict}, 'human', 'an entry is judged as its first fetch');
is($large->{network}, '203.0.113.0/24', 'describes it');
is($large->{time}, START * 1000, 'and has its time');


# an entry a minute, from the first fetch that it counts

my $minute = $t->mint(id => 'minute', sent => START - 7200);

replay("/o/$minute", ALONE);
adds_up('minute', ALONE, 'another token');

for my $m (1 .. 3) {
    my $first = $now * 1000;

    replay("/o/$minute", 4);
    advance(30);
    replay("/o/$minute", 6);
    advance(29);

    # two looks of every worker

    select(undef, undef, undef, 1.5) if $m == 1;
    is(scalar(entries_of('minute')), ALONE + $m - 1, 'nothing after 59 s');

    advance(1);
    adds_up('minute', ALONE + 10 * $m, "minute $m");
    is(scalar(entries_of('minute')), ALONE + $m, 'is one entry');
    is((sort { $b <=> $a } map { $_->{time} } entries_of('minute'))[0], $first,
       'of the time when it began');
}

# the hour is over

advance(3600);

ok(replay("/o/$minute", 1), 'the next hour begins with entries');
adds_up('minute', ALONE + 31, 'of one fetch');
is((entries_of('minute'))[-1]{count}, 1, 'each');


# people and machines

my $mixed = $t->mint(id => 'mixed', sent => $now - 7200);

replay("/o/$mixed", ALONE);

# apart by more than ten seconds, or two agents at once would be a gateway's

for (1 .. 2) {
    replay("/o/$mixed", 7);
    advance(11);
    replay("/o/$mixed", 17, 'User-Agent' => 'curl/8.1.2');
    advance(11);
}

advance(61);
adds_up('mixed', ALONE + 48, 'people and machines');

my %mixed;
$mixed{$_->{open}}{$_->{count}}++ for (entries_of('mixed'));

is_deeply(\%mixed, { yes => { 1 => ALONE, 14 => 1 }, no => { 34 => 1 } },
          'are counted apart') || diag(explain(\%mixed));


# minimal

my $minimal = $t->mint(id => 'minimal', sent => $now - 7200);

replay("/minimal/$minimal", ALONE + 5);
advance(61);
adds_up('minimal', ALONE + 5, 'in minimal');

my ($entry) = grep { $_->{count} == 5 } entries_of('minimal');

is($entry->{time}, int($now / 86400) * 86400 * 1000, 'time is the day');
is(join('', @$entry{qw(facts network asn org country region city client
                       agent)}), '', 'what it does not keep is empty');
is($entry->{privacy}, 'minimal', 'the mode is named');


# an entry may be as long as an open

my $long = 'x' x 600;

replay('/full/' . $t->mint(id => 'i' x 64, recipient => 'r' x 32,
                           sent => $now - 7200), ALONE + 2,
       'User-Agent' => "$browser $long");
advance(61);
adds_up('i' x 64, ALONE + 2, 'long values');

my ($two) = grep { $_->{count} == 2 } entries_of('i' x 64);

is(length($two->{agent}), 512, 'up to their bound');


# QUIT writes what is counted, to the spool at least

my $quit = $t->mint(id => 'quit', sent => $now - 7200);

replay("/o/$quit", 1000);
ok($t->stop('QUIT'), 'QUIT');

$t->start();
adds_up('quit', 1000, 'has left nothing out');
cmp_ok(scalar(entries_of('quit')), '<=', ALONE + 3, 'in an entry');


# a full spool: the loss is exact as well

ok($t->stop(), 'stop');

write_conf(1, '2 size=2m');
$t->start();

$redis->stop();
$fetched = 0;

my $lost = $t->mint(id => 'lost', sent => $now - 7200);

# longer than what fills the spool, so that it does not fit where that did not

replay("/full/$lost", ALONE + 1234, 'User-Agent' => "$browser $long");

for my $n (1 .. 400) {
    replay('/full/' . $t->mint(id => "fill$n", sent => $now - 7200), ALONE,
           'User-Agent' => "$browser " . 'x' x 200);

    last if $t->status()->{lost}{full} != 0;
}

my $before = $t->status()->{lost}{full};

cmp_ok($before, '>', 0, 'the spool is full');

advance(61);

ok(wait_for(sub { $t->status()->{lost}{full} == $before + 1234 }),
   'what was counted is lost with its count')
    || diag($t->status()->{lost}{full} - $before);

$redis->start();

# a loss may fit where no open does, so there may be several entries of it

sub losses {
    return sum0(map { $_->{count} }
                grep { $_->{type} eq 'loss' } $redis->entries());
}


wait_for(sub { losses() >= $before + 1234 }, 20);
is(losses(), $before + 1234, 'the loss is told to the fetch');

ok(wait_for(sub { $t->status()->{spool}{undelivered} == 0 }),
   'everything is delivered');

is(sum0(map { $_->{count} }
        grep { $_->{type} eq 'loss' || $_->{id} =~ /^(?:lost|fill)/ }
        $redis->entries()),
   $fetched, 'entries and losses add up to what was fetched');

$t->done();
