#!/usr/bin/env perl

# Copyright (C) MailPing

# The made-up day is the one that its parameters describe, the same for the same
# seed, and wrong parameters are refused; entries find their fetches; and the
# scores count right.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp;
use List::Util qw(max min);
use Test::More;
use Test::MailPing qw(repository);
use Test::MailPing::Day;
use Test::MailPing::Simulation;


my $conf = repository() . '/t/sim/day.conf';
my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);


sub day {
    my ($mails, %set) = @_;

    return Test::MailPing::Day->new(seed => 1, mails => $mails, set => \%set);
}


sub text {
    my ($day) = @_;

    return join("\n",
        map({ my $fetch = $_; join(' ', map { "$_=$fetch->{$_}" }
                                            sort keys %$fetch) }
            $day->fetches()),
        map({ my $mail = $_; join(' ', map { "$_=$mail->{$_}" }
                                           sort keys %$mail) } $day->mails()),
        map({ "@$_" } $day->networks()));
}


# a count that chance explains: four standard deviations

sub chance {
    my ($count, $total, $share, $name) = @_;

    my $off = abs($count - $total * $share);

    cmp_ok($off, '<=', 4 * sqrt($total * $share * (1 - $share)) + 1, $name)
        || diag("$count of $total, expected $share");
}


# seeds

ok(text(day(500)) eq text(day(500)), 'the same seed, the same day');
ok(text(day(500)) ne text(Test::MailPing::Day->new(seed => 2, mails => 500)),
   'another seed, another day');


# mails and their recipients

my $day = day(20_000);
my @mails = $day->mails();
my @fetches = $day->fetches();
my %provider;

is(scalar(@mails), 20_000, 'so many mails');

# the newsletter goes to companies only

my @others = @mails[400 .. $#mails];

$provider{$_->{provider}}++ for (@others);

# persons are drawn once and get several mails each, so the counts vary more

for my $case ([ gmail => 0.36 ], [ apple => 0.07 ], [ microsoft => 0.15 ],
              [ yahoo => 0.07 ], [ corporate => 0.29 ], [ other => 0.06 ])
{
    my ($name, $share) = @$case;

    chance($provider{$name} / 2.6, @others / 2.6, $share,
           "recipients of $name");
}

is(scalar(grep { $_->{sent} * 1000 > $_->{handed} } @mails), 0,
   'no mail is sent after its hand-over');
is(scalar(grep { $_->{handover} && int($_->{handed} / 1000) != $_->{sent} }
               @mails), 0, 'hand-over is what the sender says it is');
cmp_ok(scalar(grep { !$_->{handover} && $_->{handed} - 1000 * $_->{sent}
                     > 60_000 } @mails), '>', 100,
       'batches are minted before they are sent');


# fetches

my (%last, %at, $unsorted);
my $time = 0;

for my $fetch (@fetches) {
    $unsorted++ if $fetch->{time} < $time;
    $time = $fetch->{time};
    $at{"$fetch->{mail} $time"}++;
}

ok(!$unsorted, 'in the order of time');
is(max(values %at), 1, 'no two of a mail at one time');
cmp_ok($fetches[0]{time}, '>=', $day->start(), 'not before the day');
cmp_ok($fetches[-1]{time}, '<', $day->end(), 'not after the next');
is(scalar(grep { $_->{time} < $day->mail($_->{mail})->{handed} } @fetches), 0,
   'none before the mail is handed over');

my %truth;

$truth{$_->{truth}}++ for (@fetches);
is(join(' ', sort keys %truth), 'gateway machine person shielded', 'truths');


# the curves of opens, of lists and of mails for one person, by first looks at
# mail that nothing delays

my %opens = (
    'a list\'s' => [ 0, [ 60, 0.012 ], [ 600, 0.09 ], [ 3600, 0.27 ],
                    [ 21600, 0.52 ], [ 86400, 0.78 ] ],
    'a single' => [ 1, [ 10, 0.01 ], [ 60, 0.08 ], [ 600, 0.30 ],
                    [ 3600, 0.55 ], [ 21600, 0.80 ], [ 86400, 0.95 ] ],
);

for my $name (sort keys %opens) {
    my ($single, @points) = @{$opens{$name}};

    my $plain = day(8000, 'recipients' => 'other=1',
                    'programs.other' => 'browser=1', 'greylist.share' => 0,
                    'opened' => 1, 'single.opened' => 1,
                    'single.share' => $single, 'forward.share' => 0,
                    'again.share' => 0, 'redirect.share' => 0,
                    'bots.share' => 0, 'delivery.delay' => '1ms=1',
                    'newsletter.size' => 1, 'hours' => '1h=1');
    my %delay;

    for my $fetch ($plain->fetches()) {
        $delay{$fetch->{mail}} //= $fetch->{time}
                                   - $plain->mail($fetch->{mail})->{handed};
    }

    # the newsletter's one mail

    delete $delay{0};

    for my $point (@points) {
        my ($seconds, $share) = @$point;

        chance(scalar(grep { $_ <= 1000 * $seconds } values %delay),
               scalar($plain->mails()) - 1, $share,
               "$name mail opened within $seconds s");
    }
}

chance(scalar(grep { $_->{single} } @mails), 20_000, 0.30, 'single mails');


# gateways have their shares of companies' mail, company by company

my %scanned = map { $_->{mail} => $_->{kind} }
              grep { $_->{truth} eq 'gateway'
                     && $day->mail($_->{mail})->{provider} eq 'corporate' }
              @fetches;
my %gateways;

$gateways{$_}++ for (values %scanned);

chance(scalar(keys %scanned), $provider{corporate}, 0.6 * 0.55,
       'mails that gateways fetch');

for my $case ([ 'own network', 0.15 + 0.11 + 0.05 + 0.04 + 0.02 + 0.02 ],
              [ 'hosting', 0.05 + 0.11 + 0.05 + 0.03 + 0.03 ],
              [ 'unknown network', 0.08 ], [ 'farm', 0.07 ],
              [ 'one mail only', 0.03 ], [ 'microsoft azure', 0.05 ])
{
    my ($name, $share) = @$case;

    chance($gateways{"gateway, $name"}, scalar(keys %scanned), $share, $name);
}


# what a share of none or of all means

my %without = (
    'nobody opens' => [ { opened => 0, 'single.opened' => 0,
                          'newsletter.opened' => 0 },
                        sub { $_[0]{truth} eq 'person' } ],
    'no protection' => [ { 'apple.protected' => 0 },
                         sub { $_[0]{truth} eq 'shielded' } ],
    'no gateways' => [ { 'company.gateway' => 0, 'microsoft.scan' => 0 },
                       sub { $_[0]{truth} eq 'gateway' } ],
    'no isolation' => [ { 'isolation.share' => 0 },
                        sub { $_[0]{kind} =~ /^isolation/ } ],
    'no robots' => [ { 'bots.share' => 0 }, sub { $_[0]{kind} eq 'robot' } ],
);

for my $name (sort keys %without) {
    my ($set, $who) = @{$without{$name}};

    cmp_ok(scalar(grep { $who->($_) } @fetches), '>', 0, "$name: else some");
    is(scalar(grep { $who->($_) } day(4000, %$set)->fetches()), 0, $name);
}


# the newsletter of one company, behind one network

my @nine = grep { $_->{kind} eq 'newsletter at nine'
                  && $_->{address} =~ /\./ } @fetches;
my %network;

$network{$_->{address} =~ s/\.\d+$//r}++ for (@nine);

cmp_ok(max(values %network), '>', @nine / 3, 'the newsletter: one network');
cmp_ok(min(map { $_->{time} } @nine), '>=', $day->start() + 9 * 3_600_000,
       'not before nine');


# farms: several networks within seconds, the same ones for many mails

my %farm;

for my $fetch (grep { $_->{kind} eq 'gateway, farm' } @fetches) {
    my $masked = $fetch->{address} =~ s/\.\d+$//r;

    $farm{$fetch->{mail}}{$masked} //= $fetch->{time};
}

my @spans = map { max(values %$_) - min(values %$_) }
            grep { keys %$_ > 1 } values %farm;
my %used = map { $_ => 1 } map { keys %$_ } values %farm;

cmp_ok(scalar(grep { keys %$_ >= 3 } values %farm), '>=', 0.9 * keys %farm,
       'farms fetch from several networks');
cmp_ok(scalar(grep { $_ <= 10_000 } @spans), '>=', 0.9 * @spans,
       'within seconds');
cmp_ok(scalar(keys %used), '<=', 14, 'of few in all');


# wrong parameters

sub refused {
    my ($what, $by, $message, $name) = @_;

    open(my $in, '<', $conf) || die "cannot open $conf: $!\n";
    my @lines = <$in>;

    my ($number) = grep { $lines[$_ - 1] =~ $what } (1 .. @lines);

    die "no such line\n" if !$number;

    $lines[$number - 1] =~ s/$what/$by/;

    open(my $out, '>', "$dir/day.conf") || die "cannot create a file: $!\n";
    print $out @lines;
    close($out);

    my $ok = eval { Test::MailPing::Day->new(conf => "$dir/day.conf"); 1 };

    ok(!$ok, "$name is refused");
    $message =~ s/LINE/$dir\/day.conf:$number/;
    $message =~ s/FILE/$dir\/day.conf/;
    is($@, "$message\n", 'with the line');
}

refused(qr/^opened /, 'opend ', 'LINE: unknown parameter "opend"',
        'an unknown parameter');
refused(qr/^opened .*/, '', 'FILE: parameter "opened" is missing',
        'a missing one');
refused(qr/^opened +\S+/, 'opened 1.5', 'LINE: wrong value of "opened": 1.5',
        'a share above one');
refused(qr/^vpn\.share /, 'opened ', 'LINE: parameter "opened" is duplicate',
        'a duplicate');
refused(qr/^home.mobile .*/, 'home.mobile',
        'LINE: wrong value of "home.mobile": ', 'no value');
refused(qr/^browsers.mobile .*/, 'browsers.mobile iphone=0.5',
        'LINE: wrong value of "browsers.mobile": iphone=0.5',
        'a mix that is not whole');
refused(qr/^browsers.mobile .*/, 'browsers.mobile nokia=1',
        'LINE: wrong value of "browsers.mobile": nokia=1', 'a wrong name');
refused(qr/^bots.delay .*/, 'bots.delay 1h=0.5 1m=1',
        'LINE: wrong value of "bots.delay": 1h=0.5 1m=1',
        'a curve that falls');
refused(qr/^date .*/, 'date 2026-02-30',
        'LINE: wrong value of "date": 2026-02-30', 'no date');
refused(qr/^gateway.aws .*/,
        'gateway.aws share=0.11 networks=nowhere pool=1 speed=fast mx=1',
        'LINE: unknown network "nowhere"', 'an unknown network');
refused(qr/^gateway.aws +share=0.11/, 'gateway.aws share=0.51',
        'FILE: the shares of gateways make 1.4, not 1', 'too many gateways');
refused(qr/^network.aws .*/, 'network.aws 16509 3.120.0.0',
        'LINE: wrong value of "network.aws": 16509 3.120.0.0',
        'a network without length');


# entries and fetches

package Made;

sub new {
    my ($class, @fetches) = @_;

    return bless [ @fetches ], $class;
}

sub fetches { return @{$_[0]} }
sub mail { return { id => "m$_[1]" } }


package main;

sub fetch {
    my ($mail, $time) = @_;

    return { mail => $mail, time => $time, kind => 'k', truth => 'person' };
}


sub entry {
    my ($mail, $time, %more) = @_;

    return { type => 'open', event => "e$mail.$time", id => "m$mail",
             time => $time, count => 1, open => 'yes', person => 90,
             verdict => 'human', provider => '', reasons => 'r', %more };
}


sub amend {
    my ($ref, $time, $open, $person) = @_;

    return { type => 'amend', event => "a$ref.$time", ref => $ref,
             time => $time, open => $open, person => $person,
             verdict => 'scanner', provider => '', reasons => 's' };
}


my $made = Made->new(fetch(1, 10), fetch(2, 10), fetch(1, 20), fetch(1, 30),
                     fetch(1, 40), fetch(2, 50));
my @entries = (
    amend('e2.10', 60, 'maybe', 50),        # before its open
    entry(2, 10), entry(1, 10), entry(2, 50, person => '', open => 'maybe'),
    amend('e2.10', 70, 'no', 5), entry(1, 20, count => 3),
);
my $simulation = Test::MailPing::Simulation->new();
my $cases = $simulation->join_entries($made, @entries);

is(join(' ', map { "$_->{event}=$_->{open}/$_->{after}{open}" } @$cases),
   'e1.10=yes/yes e2.10=yes/no e1.20=yes/yes e1.20=yes/yes e1.20=yes/yes'
   . ' e2.50=maybe/maybe', 'entries find their fetches');
is($cases->[1]{after}{person}, 5, 'the last amendment counts');
is($cases->[5]{person}, undef, 'no person is none');
is($simulation->amendments(), 2, 'amendments are counted');

my %wrong = (
    'a lost entry' => [ [ @entries[0, 1, 3 .. 5] ],
                        qr/^a fetch without an entry: m1 at 10$/ ],
    'one too many' => [ [ @entries, entry(3, 10) ],
                        qr/^1 entries without a fetch$/ ],
    'one twice' => [ [ @entries, entry(1, 10) ],
                     qr/^two entries of m1 at 10$/ ],
    'another time' => [ [ @entries[0 .. 4], entry(1, 21, count => 3) ],
                        qr/^a fetch without an entry: m1 at 20$/ ],
    'a count too high' => [ [ @entries[0 .. 4], entry(1, 20, count => 4) ],
                            qr/^1 entries without a fetch$/ ],
    'a count too low' => [ [ @entries[0 .. 4], entry(1, 20, count => 2) ],
                           qr/^a fetch without an entry: m1 at 40$/ ],
    'an amendment of nothing' => [ [ @entries, amend('e9', 1, 'no', 0) ],
                                   qr/^an amendment of e9, which is no open$/ ],
    'a loss' => [ [ @entries, { type => 'loss' } ],
                  qr/^an entry of type "loss"$/ ],
);

for my $name (sort keys %wrong) {
    my ($list, $message) = @{$wrong{$name}};

    ok(!eval { $simulation->join_entries($made, @$list); 1 }, "$name is seen");
    like($@, $message, 'and named');
}


# scores

sub cases {
    return map {
        my ($count, $truth, $open, $person) = @$_;

        map { { truth => $truth, kind => 'k', open => 'maybe', person => 50,
                reasons => '', after => { open => $open, person => $person,
                                          reasons => 'r' } } } (1 .. $count);
    } @_;
}

my $good = score([ cases([ 940, 'person', 'yes', 95 ],
                         [ 56, 'person', 'maybe', 75 ],
                         [ 4, 'person', 'no', 20 ],
                         [ 985, 'gateway', 'no', 0 ],
                         [ 15, 'gateway', 'yes', 80 ],
                         [ 50, 'shielded', 'maybe', undef ]) ], 1);

is_deeply([ promises_broken($good) ], [], 'promises that are kept');
is_deeply(class_counts($good, 'person'),
          { yes => 940, maybe => 56, no => 4, all => 1000 }, 'counts');

my $bad = score([ cases([ 89, 'person', 'yes', 95 ],
                        [ 11, 'person', 'no', 10 ],
                        [ 79, 'gateway', 'no', 10 ],
                        [ 21, 'gateway', 'yes', 90 ]) ], 1);

is_deeply([ promises_broken($bad) ],
          [ 'person yes: 89.00 %, at least 90 % promised',
            'person no: 11.00 %, at most 0.5 % promised',
            'gateway no: 79.00 %, at least 80 % promised',
            'gateway yes: 21.00 %, at most 2 % promised' ], 'broken ones');
is(scalar(promises_broken(score([ cases([ 1, 'person', 'yes', 95 ]) ], 1))), 2,
   'of no gateways nothing is proved');
is(class_counts(score([ cases([ 3, 'person', 'yes', 95 ]) ], 0),
                'person')->{maybe}, 3, 'before amendments');

my $sum = score_add(score_add({}, $good), $bad);

is(class_counts($sum, 'person')->{yes}, 1029, 'scores add up');

my $table = reliability($good);

is(join(' ', map { sprintf('%s:%d:%.1f:%.1f', decile_name($_),
                           @$_{qw(count person share)}) } @$table),
   '0-10:985:0.0:0.0 11-20:4:20.0:100.0 71-80:71:76.1:78.9'
   . ' 91-100:940:95.0:100.0', 'deciles');
is_deeply([ deciles_off($table) ],
          [ '0-10: 985 cases', '71-80: 71 cases', '91-100: 940 cases' ],
          'too few cases; one that is not in use');

my $calibrated = reliability(score([ cases([ 1950, 'person', 'yes', 97 ],
                                           [ 50, 'gateway', 'yes', 97 ],
                                           [ 500, 'person', 'maybe', 44 ],
                                           [ 500, 'gateway', 'maybe', 44 ])
                                   ], 1));

is_deeply([ deciles_off($calibrated) ],
          [ '41-50: person 44.0, share 50.0' ], 'six points are too many');

my @groups = groups_of($good);

is(join(' ', @{$groups[0]}[0, 2, 3, 4]), 'person yes r 940',
   'the group that does most damage');
is(sprintf('%.1f', $groups[0][6]), '47.0', 'and how much');

done_testing();
