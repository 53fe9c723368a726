#!/usr/bin/env perl

# Copyright (C) MailPing

# Judging a fetch stays cheap, whatever the number of networks, and nearly as
# cheap with ten times the rules.  ci/bench classify measures it; the bounds
# here leave room for a busy machine and fail when the cost grows by an order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp;
use Test::More;
use Test::MailPing::Bench;


my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

my $addresses = bench_networks("$dir/networks", 100_000);

bench_fetches("$dir/fetches", 4096, $addresses);
bench_rules("$dir/$_", 10, $_) for (qw(varied copies));

my %fetches;

open(my $file, '<', "$dir/fetches") || die "cannot open fetches: $!\n";
$fetches{$_}++ while (<$file>);
close($file);

cmp_ok(scalar(keys %fetches), '>', 4000, 'the fetches differ');


# whole and ratio of the fastest rounds

sub measure {
    my ($program, $rules) = @_;

    my $run = bench_run($program, 10, "$dir/fetches", "$dir/networks",
                        "$dir/$rules");

    diag(sprintf('%.0f ns (median %.0f), ten times the rules %.2f',
                 $run->{whole}[1], $run->{whole}[0], $run->{ratio}[1]));

    return $run;
}


my $program = bench_build();
my $run = measure($program, 'varied');

cmp_ok($run->{fetches}[0], '==', 4096, 'all are judged');
cmp_ok($run->{bytes}[0], '>', 110, 'agents have about 120 bytes');
cmp_ok($run->{bytes}[0], '<', 130, 'and not more');
cmp_ok($run->{'rules-more'}[0], '>=', 9.9 * $run->{rules}[0],
       'ten times the rules');
cmp_ok($run->{'hold-more'}[0], '>', 8 * $run->{hold}[0],
       'about as many times as many hold');

cmp_ok($run->{whole}[1], '<', 3000, 'a fetch is judged in time');
cmp_ok($run->{ratio}[1], '<', 2, 'and with ten times the rules');

$run = measure($program, 'copies');

cmp_ok($run->{'hold-more'}[0], '>', 9.9 * $run->{hold}[0],
       'ten times as many copies hold');
cmp_ok($run->{ratio}[1], '<', 1.3, 'and cost next to nothing');


# the control: without its indexes it is an order dearer

my $slow = measure(bench_build(sub {
    my ($name, $text) = @_;

    if ($name eq 'networks') {
        $text =~ s/^mailping_networks_find\(.*?^\{\n(.*?;\n)\n\K
                  /    for (volatile int k = 0; k < 16000; k++) { }\n\n/msx;
    }

    return $text;
}), 'varied');

cmp_ok($slow->{whole}[1], '>', 3000, 'the control: a slow look-up is found');


# the control: with all rules in the index, copies cost as others do

$slow = measure(bench_build(sub {
    my ($name, $text) = @_;

    if ($name eq 'ruleset_compile') {
        $text =~ s/^mailping_ruleset_idle\(.*?^\{\n(.*?;\n)\n\K
                  /    if (rs->nrules != 0) { return 0; }\n\n/msx;
    }

    return $text;
}), 'copies');

cmp_ok($slow->{ratio}[1], '>', 1.05 * $run->{ratio}[1],
       'the control: copies in the index are found');

done_testing();
