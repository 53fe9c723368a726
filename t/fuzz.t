#!/usr/bin/env perl

# Copyright (C) MailPing

# The fuzz target of the rule language finds nothing in a few seconds, and finds
# a planted crash, a planted wrong judgement and a planted hang.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(repository run_command);


my ($code) = eval { run_command('clang', '--version') };
plan(skip_all => 'no clang') if $@ || $code;

my $run = repository() . '/t/fuzz/run.pl';


sub fuzz {
    my ($plant, @options) = @_;

    local $ENV{MAILPING_PLANT} = $plant;

    return run_command($^X, $run, '--control', @options);
}


# a folder of its own, so that what an earlier run learned is no help

my $output;

($code, $output) = fuzz('', '-max_total_time=3', '-seed=1');

is($code, 0, 'nothing is found') || diag($output =~ s/^#\d.*\n//mgr);

my ($runs) = $output =~ /^stat::number_of_executed_units:\s*(\d+)/m;
my ($seeds) = $output =~ /^INFO: +(\d+) files found in .*seeds$/m;
my ($first) = $output =~ /^#\d+\s+INITED cov: (\d+)/m;
my ($last) = $output =~ /.*cov: (\d+)/s;

cmp_ok($seeds // 0, '>', 100, 'it starts from the built-in rules');
cmp_ok($first // 0, '>', 700, 'which reach most of the code');
cmp_ok($runs // 0, '>', 1000, 'and runs');
cmp_ok($last // 0, '>=', $first // 0, 'and learns');
diag("$runs runs, $first to $last edges") if defined $runs;


# the controls

my %expected = (
    crash => qr/AddressSanitizer: heap-buffer-overflow/,
    check => qr/libFuzzer: deadly signal/,
    hang => qr/libFuzzer: timeout/,
);

for my $plant (sort keys %expected) {
    ($code, $output) = fuzz($plant, '-max_total_time=30', '-timeout=2',
                            '-seed=1');

    isnt($code, 0, "a planted $plant is found");
    ok($output =~ $expected{$plant}, 'and is called by its name')
        || diag($output =~ s/^#\d.*\n//mgr);
}

done_testing();
