#!/usr/bin/env perl

# Copyright (C) MailPing

# What the classifier promises of the field it keeps on a made-up day of 20,000
# mails, each fetch a request through a real nginx, judged by the built-in
# rules; and whoever breaks a promise is found out.  ci/accuracy has the same
# figures, with more days, intervals and the errors.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;
use Test::MailPing::Day;
use Test::MailPing::Simulation;


my $simulation = Test::MailPing::Simulation->new();

# The scores of a day, before and after amendments.

sub day {
    my ($day, %options) = @_;

    my $cases = $simulation->run($day, %options);

    is_deeply([ $simulation->end() ], [], 'nothing went wrong');

    return (score($cases, 0), score($cases, 1), $cases);
}


sub figures {
    my ($name, $score) = @_;

    for my $truth (qw(person gateway machine)) {
        my $counts = class_counts($score, $truth);

        note(sprintf('%-20s %-8s %6d  yes %5.1f %%  maybe %5.1f %%'
                     . '  no %5.1f %%', $name, $truth, $counts->{all},
                     map { 100 * $counts->{$_} / ($counts->{all} || 1) }
                         qw(yes maybe no)));
    }
}


sub kinds {
    my ($score) = @_;

    for my $kind (sort keys %{$score->{kinds}}) {
        my $counts = $score->{kinds}{$kind};
        my $all = 0;

        $all += $_ for (values %$counts);

        note(sprintf("%-36s %6d  yes %5.1f %%  maybe %5.1f %%  no %5.1f %%",
                     $kind =~ s/\t/: /r, $all,
                     map { 100 * ($counts->{$_} // 0) / $all }
                         qw(yes maybe no)));
    }
}


my $day = Test::MailPing::Day->new(seed => 1);

is(scalar($day->mails()), 20_000, 'the mails of a day');

my ($before, $after, $cases) = day($day);

cmp_ok($simulation->seconds(), '<', 60, 'it passes in a minute');

figures('after amendments', $after);
figures('before', $before);
kinds($after);

is_deeply([ promises_broken($after) ], [], 'the promises are kept');

# all of the mail that Apple fetches is shielded, and nothing else is

my $shielded = grep { $_->{truth} eq 'shielded'
                      && ($_->{verdict} ne 'shielded' || $_->{open} ne 'maybe'
                          || defined $_->{person}) } @$cases;

is($shielded, 0, "what Apple's relay fetches is shielded");
is(scalar(grep { $_->{verdict} eq 'shielded' && $_->{truth} ne 'shielded' }
               @$cases), 0, 'nothing else is');

# fetches come from where the day says

my %asn = ('gmail' => qr/^15169$/, 'outlook on the web' => qr/^8075$/,
           'gateway, unknown network' => qr/^42\d{8}$/,
           'gateway, microsoft eop' => qr/^8075$/);

for my $kind (sort keys %asn) {
    my @numbers = map { $_->{asn} } grep { $_->{kind} eq $kind } @$cases;

    cmp_ok(scalar(@numbers), '>', 0, "$kind: there are some");
    is(scalar(grep { $_ !~ $asn{$kind} } @numbers), 0, 'in their network');
}


# amendments only make it better

cmp_ok($simulation->amendments(), '>', 0, 'there are amendments');

for my $wrong ([ 'person', 'no' ], [ 'gateway', 'yes' ]) {
    my ($truth, $open) = @$wrong;

    my ($was, $is) = map { class_counts($_, $truth) } ($before, $after);

    cmp_ok($is->{$open}, '<=', $was->{$open} + 0.002 * $was->{all},
           "amendments: hardly a $truth more is \"$open\"");
}

cmp_ok(class_counts($after, 'gateway')->{no}, '>',
       class_counts($before, 'gateway')->{no}, 'and more gateways are "no"');


# nobody says when mails were sent: nobody is wronged

my ($early, $late) = day($day, sent => 0);

figures('sent unknown, after', $late);
figures('before', $early);

cmp_ok(class_counts($late, 'person')->{no}, '<=',
       0.005 * class_counts($late, 'person')->{all},
       'sent unknown: hardly a person is "no"');


# many fetches of one mail are one entry, and none is lost

my $busy = Test::MailPing::Day->new(seed => 3, mails => 500,
                                    set => { 'gmail.repeat' => 0.5,
                                             'gmail.repeats' => '300=1' });
my (undef, undef, $repeated) = day($busy);
my %entries = map { $_->{event} => 1 } @$repeated;

is(scalar(@$repeated), scalar($busy->fetches()), 'each fetch is a case');
cmp_ok(scalar(keys %entries), '<', @$repeated / 2, 'of far fewer entries');


# negative controls: rules that take all for people, or for scanners; a nginx
# that lives in our time

my $small = Test::MailPing::Day->new(seed => 2, mails => 1000);

my %mistakes = (
    'all are people' => [ 'prior - human+30', 'gateway' ],
    'all are scanners' => [ 'prior - scanner+30', 'person' ],
);

for my $name (sort keys %mistakes) {
    my ($rules, $who) = @{$mistakes{$name}};

    my (undef, $score) = day($small, rules => "$rules\n");

    ok(scalar(grep { /^$who / } promises_broken($score)), "$name: seen");
}

ok(!eval { $simulation->run($small, clock => 0); 1 }
   && $@ =~ /^a fetch without an entry|^two entries/, 'another clock: seen')
    || diag($@);

$simulation->end();

done_testing();
