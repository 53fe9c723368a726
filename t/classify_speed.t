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
bench_rules("$dir/more", 10, 0);

my %fetches;

open(my $file, '<', "$dir/fetches") || die "cannot open fetches: $!\n";
$fetches{$_}++ while (<$file>);
close($file);

cmp_ok(scalar(keys %fetches), '>', 4000, 'the fetches differ');


# whole and ratio of the fastest rounds

sub measure {
    my ($program) = @_;

    my $run = bench_run($program, 20, "$dir/fetches", "$dir/networks",
                        "$dir/more");

    diag(sprintf('%.0f ns (median %.0f), ten times the rules %.2f',
                 $run->{whole}[1], $run->{whole}[0], $run->{ratio}[1]));

    return $run;
}


my $run = measure(bench_build());

cmp_ok($run->{fetches}[0], '==', 4096, 'all are judged');
cmp_ok($run->{bytes}[0], '>', 110, 'agents have about 120 bytes');
cmp_ok($run->{bytes}[0], '<', 130, 'and not more');
cmp_ok($run->{'rules-more'}[0], '>=', 9.9 * $run->{rules}[0],
       'ten times the rules');
cmp_ok($run->{'hold-more'}[0], '>', 3 * $run->{hold}[0],
       'many of which hold');

cmp_ok($run->{whole}[1], '<', 3000, 'a fetch is judged in time');
cmp_ok($run->{ratio}[1], '<', 2.5, 'and with ten times the rules');


# the control: without its indexes it is an order dearer

my $slow = measure(bench_build(sub {
    my ($name, $text) = @_;

    if ($name eq 'networks') {
        $text =~ s/^mailping_networks_find\(.*?^\{\n(.*?;\n)\n\K
                  /    for (volatile unsigned k = 0; k < 8000; k++) { }\n\n/msx;
    }

    return $text;
}));

cmp_ok($slow->{whole}[1], '>', 3000, 'the control: a slow look-up is found');

done_testing();
