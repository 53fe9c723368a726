#!/usr/bin/env perl

# Copyright (C) MailPing

# A later fetch shows an earlier one in another light: a burst that began with
# it, a farm, a scanner of the same token, a network that turns out to be quick.
# Then an entry type=amend corrects the entry that is already in the stream, as
# surely as any other gets there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(decode_base64);
use Test::More;
use Test::MailPing qw(wait_for run_command repository);


# files have the time of this machine, and must not look old
use constant START => int(time()) - 12 * 3600;

use constant FIELDS => qw(type event ref id recipient site time was open person
                          verdict provider reasons rules);

my @tags = qw(48576 1296 2821 16248);       # of four partitions

my $browser = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 '
              . 'Firefox/128.0';

my $t = Test::MailPing->new();
my $redis = $t->redis();

my $shim = $t->path('clock.so');
my ($code, $output) = run_command($ENV{CC} // 'cc', '-O2', '-Wall', '-shared',
                                  '-fPIC', '-o', $shim,
                                  repository() . '/t/sim/clock.c');

is($code, 0, 'the clock compiles') || diag($output);

$t->write_file('clock', pack('Q', START * 1000));
$t->{wrap} = [ 'env', "LD_PRELOAD=$shim", 'CLOCK=' . $t->path('clock') ];

# each kind of evidence decides alone, instead of the built-in rules about it

my $rules = <<'END';
rule burst      history  -  scanner+30  burst>=5
rule burst.asn  history  -  scanner+30  burst>=5
rule farm       history  -  scanner+30  farm>=3
rule farm.wide  history  -  scanner+30  farm>=3
rule scanned    history  -  scanner+30  scanned
rule quick      history  -  scanner+30  quick>=70
END

$t->write_file('site.rules', $rules);

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; partitions 4; }
    mailping_rules %%PREFIX%%/site.rules;
    mailping_key 1 %%KEYFILE%%;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    server {
        listen 127.0.0.1:%%PORT%% reuseport;
        add_header X-Event $mailping_event;
        location /o/ { mailping; }
        location /minimal/ { mailping; mailping_privacy minimal; }
        location = /status { mailping_status; }
    }
}
END

my $now = START;
my $networks = 0;
my %checked;


sub advance {
    my ($seconds) = @_;

    $now += $seconds;

    # the file is mapped, so it must never be shorter

    open(my $file, '+<:raw', $t->path('clock')) || die "no clock: $!\n";
    syswrite($file, pack('Q', $now * 1000)) == 8 || die "no clock: $!\n";
    close($file);
}


# an address in a network of its own

sub address {
    $networks++;

    return '10.' . ($networks >> 8) . '.' . ($networks & 255) . '.7';
}


sub token {
    my ($id, %parts) = @_;

    return $t->mint(id => $id, sent => $now - 3600, recipient => "r-$id",
                    %parts);
}


# Tokens that a burst tells apart for certain: it counts by seven bits of the
# MAC, by which five tokens at random are fewer than five in one case of 13.

my %bits;

sub tokens {
    my ($name, @numbers) = @_;

    return map {
        my ($token, $bits);
        my $n = 0;

        do {
            $token = token("$name$_." . $n++);
            $bits = ord(substr(decode_base64($token =~ tr|-_|+/|r), -16)) & 127;
        } while ($bits{$name}{$bits}++);

        $token;
    } @numbers;
}


# one fetch as a browser does it; the name of its event

sub fetch {
    my ($token, $address, $location) = @_;

    my $r = $t->get('/' . ($location // 'o') . "/$token", header => [
        'Host' => 't.example.com', 'X-Real-IP' => $address,
        'User-Agent' => $browser, 'Accept' => 'image/avif,image/webp,*/*',
        'Accept-Language' => 'de', 'Accept-Encoding' => 'gzip, deflate, br' ]);

    die "no pixel\n" if $r->status() != 200;

    return $r->header('X-Event') // '';
}


# all entries, each with the stream where it is

sub entries {
    return map {
        my $stream = "mailping:{$_}:opens";

        map { { '.stream' => $stream, %$_ } } $redis->entries($stream);
    } @tags;
}


# Everything is delivered; opens and amendments as hashes by event and ref.

sub settled {
    wait_for(sub { $t->status()->{spool}{undelivered} == 0 }, 20)
        || die "not delivered\n";

    my (%open, %amends);

    for my $entry (entries()) {
        if ($entry->{type} eq 'open') {
            $open{$entry->{event}} = $entry;

        } else {
            push(@{$amends{$entry->{ref}}}, $entry);
        }
    }

    return (\%open, \%amends);
}


# These events, and no other new ones, have been corrected to "no, scanner".

sub amended {
    my ($name, $reason, @events) = @_;

    my ($open, $amends) = settled();

    my @new = grep { !$checked{$_}++ } sort keys %$amends;

    is_deeply(\@new, [ sort @events ], "$name: what is amended")
        || diag(explain([ map { $open->{$_} } @events ]));

    my @wrong = grep {
        my $was = $open->{$_};
        my $amend = $amends->{$_}[0];

        !$was || !$amend || @{$amends->{$_}} != 1
            || $was->{open} eq 'no' || $amend->{was} ne $was->{open}
            || $amend->{open} ne 'no'
            || $amend->{verdict} ne 'scanner' || $amend->{person} > 20
            || $amend->{reasons} !~ /(?:^|,)\Q$reason\E(?:,|$)/
            || $amend->{rules} ne $was->{rules}
            || $amend->{'.stream'} ne $was->{'.stream'}
            || grep { $amend->{$_} ne $was->{$_} } qw(id recipient site);
    } @events;

    is_deeply(\@wrong, [], "$name: how")
        || diag(explain([ map { $open->{$_}, $amends->{$_} } @wrong ]));

    return ($open, $amends);
}


sub nothing_amended {
    my ($name) = @_;

    my (undef, $amends) = settled();

    return is_deeply([ grep { !$checked{$_} } keys %$amends ], [], $name);
}


$t->start();


# a burst: what began it looked like a person

my $burst = address();
my @events = map { fetch($_, $burst) } tokens('burst', 1 .. 4);

nothing_amended('four tokens of a network are no burst');

my $fifth = fetch(tokens('burst', 5), $burst);

my ($open, $amends) = amended('a burst', 'burst', @events);

is(join(' ', map { $open->{$_}{open} } @events, $fifth), 'yes yes yes yes no',
   'the one that completes it knows at once');

my %streams = map { $_->{'.stream'} => 1 } map { @$_ } values %$amends;

cmp_ok(scalar(keys(%streams)), '>', 1, 'in several partitions');

fetch($_, $burst) for (tokens('burst', 6 .. 20));
nothing_amended('more of it tells nothing new');

# names and order of the fields

my ($pair) = grep { $_->[1][1] eq 'amend' }
             map { $redis->pairs("mailping:{$_}:opens") } @tags;

is_deeply([ @{$pair->[1]}[grep { $_ % 2 == 0 } 0 .. $#{$pair->[1]}] ],
          [ FIELDS ], 'the fields of an amendment');

my ($first) = @{$amends->{$events[0]}};

is($first->{site}, 't.example.com', 'its site');
like($first->{event}, qr|^[0-9a-f]{32}\.[0-3]/\d+$|, 'its event');
ok(!$open->{$first->{event}}, 'is its own');


# other networks and other moments are no burst

fetch(token("apart$_"), address()) for (1 .. 6);

my $slow = address();

for my $n (1 .. 6) {
    fetch(token("slow$n"), $slow);
    advance(4);
}

nothing_amended('no burst: other networks, or not within ten seconds');


# a farm: one token from three networks

my $farm = token('farm');
@events = (fetch($farm, address()));

advance(4);
push(@events, fetch($farm, address()));
nothing_amended('two networks');

advance(4);

my $third = fetch($farm, address());

($open, $amends) = amended('a farm', 'farm', @events);
is($open->{$third}{open}, 'no', 'the third knows at once');
is($amends->{$events[0]}[0]{time}, $now * 1000,
   'the time of an amendment is that of the fetch that told of it');

my $spread = token('spread');

for (1 .. 4) {
    fetch($spread, address());
    advance(6);
}

nothing_amended('no farm: four networks in half a minute');


# a scanner, here one of Exchange Online Protection

use constant EOP => '40.92.1.1';

my $scanned = token('scanned');
@events = (fetch($scanned, address()));

advance(59);

my $eop = fetch($scanned, EOP);

($open) = amended('a scanner', 'scanned', @events);
is($open->{$eop}{verdict}, 'scanner', 'which it is');

advance(30);
my $after = fetch($scanned, address());

($open) = settled();
is($open->{$after}{open}, 'no', 'who comes soon after it is judged at once');

# who is called a scanner because of another one makes no third one

nothing_amended('and amends nobody');

# a scanner that comes again is one again

my $again = token('again');

fetch($again, EOP);
advance(50);
fetch($again, EOP);
advance(50);
$after = fetch($again, address());

($open) = settled();
is($open->{$after}{open}, 'no', 'also soon after its second fetch');

my $late = token('late');

fetch($late, address());
advance(61);
fetch($late, EOP);
fetch(token('else'), address());

nothing_amended('no scanner within a minute');


# a quick network, told after an hour

my $quick = address();
my $habit = token('habit0', sent => $now);

@events = (fetch($habit, $quick));

for my $n (1 .. 8) {
    advance(60);
    push(@events, fetch(token("habit$n", sent => $now), $quick));
}

nothing_amended('less than an hour of watching');

advance(3600);
fetch(token('habit9', sent => $now), $quick);
amended('a quick network', 'quick', @events);


# minimal: the time is the day

my $minimal = address();

@events = map { fetch($_, $minimal, 'minimal') } tokens('minimal', 1 .. 5);
pop(@events);

(undef, $amends) = amended('minimal', 'burst', @events);

is(scalar(grep { $_->{time} != int($now / 86400) * 86400 * 1000 }
          map { @{$amends->{$_}} } @events), 0, 'minimal: the day');


# Redis is down and a worker killed: later, once

$redis->stop();

my $outage = address();

@events = map { fetch($_, $outage) } tokens('outage', 1 .. 5);
pop(@events);

my @workers = $t->workers();

$t->kill9(@workers);
ok(wait_for(sub { 2 == grep { my $pid = $_; !grep { $_ == $pid } @workers }
                       $t->workers() }), 'the workers are killed');

$redis->start();
amended('an outage', 'burst', @events);


# rules that have changed meanwhile: facts of others are not judged by them

my $reload = address();
my @old = map { fetch($_, $reload) } tokens('reload', 1 .. 4);

$t->write_file('site.rules', $rules . "# changed\n");
ok($t->reload(), 'reload with other rules');

my @new = map { fetch($_, $reload) } tokens('reload', 5 .. 8);

my ($judged) = settled();

is(join(' ', map { $judged->{$_}{open} } @old, @new),
   'yes yes yes yes no no no no', 'the burst goes on');
nothing_amended('what was judged by other rules is left alone');

my $next = address();

@events = map { fetch($_, $next) } tokens('next', 1 .. 5);
pop(@events);

amended('the new rules', 'burst', @events);


# the whole

settled();

my @all = entries();
my (%event, %told);

is(scalar(grep { $event{$_->{event}}++ } @all), 0, 'no event twice');
is(scalar(grep { $_->{type} eq 'amend' && $told{$_->{ref}}{$_->{verdict}}++ }
          @all), 0, 'one amendment of an entry and verdict');
is(scalar(grep { $_->{type} eq 'amend' && !$event{$_->{ref}} } @all), 0,
   'each corrects an entry that exists');

my $status = $t->status();

is($status->{amended}, scalar(grep { $_->{type} eq 'amend' } @all),
   'the status counts them');
is($status->{amends_lost}, 0, 'none is lost');
is($status->{recorded}, scalar(@all), 'as recorded, too');

$t->done();
