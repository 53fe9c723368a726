#!/usr/bin/env perl

# Copyright (C) MailPing

# The part of ci/accuracy that counts.

use strict;
use warnings;

use Getopt::Long;
use Test::MailPing::Accuracy;


my %options = (worst => 50, rounds => 20);

my $usage = "usage: ci/accuracy [--worst N] [--rounds N] [FILE]\n";

GetOptions(\%options, 'worst=i', 'rounds=i') && @ARGV <= 1 || die $usage;

my $corpus = $ARGV[0] // corpus_path()
             // die "no corpus: name a file, or a folder that has"
                    . " data/corpus/ua-dev.jsonl in MAILPING_SHARED\n";

my @opens = qw(no maybe yes);
my @labels = qw(bot scanner prefetch browser mail_client proxy_open);

my $program = judge_build();
my $rows = judge_rows($program, corpus_read($corpus));


# A line of the matrix: for each open its count, its share, and the bounds of
# the share, all in percent.

sub print_line {
    my ($name, $counts) = @_;

    my $total = 0;

    $total += $counts->{$_} // 0 for (@opens);

    printf("%-28s %6d", $name, $total);

    for my $open (@opens) {
        my $count = $counts->{$open} // 0;
        my ($low, $high) = wilson($count, $total);

        printf("  %6d %6.2f [%6.2f,%6.2f]", $count,
               $total ? 100 * $count / $total : 0, 100 * $low, 100 * $high);
    }

    print "\n";
}


sub print_head {
    my ($title) = @_;

    printf("\n%-28s %6s", $title, 'agents');
    printf("  %-29s", "open=$_: % [95 %]") for (@opens);
    print "\n";
}


# Counts by open of the rows for which a function gives a name, by that name.

sub counts {
    my ($name) = @_;

    my %counts;

    for my $row (@$rows) {
        my $key = $name->($row);

        $counts{$key}{$row->{open}}++ if defined $key;
    }

    return \%counts;
}


my $by_label = counts(sub { $_[0]{label} });
my $by_kind = counts(sub { kind($_[0]{label}) });
my $by_family = counts(sub { "$_[0]{family} " . kind($_[0]{label}) });

printf("%d agents of %s, nothing else known\n", scalar(@$rows), $corpus);

print_head('label');
print_line($_, $by_label->{$_} // {}) for (@labels);

print_head('kind');
print_line($_, $by_kind->{$_} // {}) for (qw(machine person proxy));

print_head('family (source) and kind');
print_line($_, $by_family->{$_}) for (sort keys %$by_family);


# An error is a machine that is not "no" and a person or proxy that is; the
# worst are those that the rules are surest of.

sub badness {
    my ($row) = @_;

    # a set rule decides without "person"

    my $person = $row->{person} < 0 ? 50 : $row->{person};

    if (kind($row->{label}) eq 'machine') {
        return $row->{open} eq 'no' ? undef : $person;
    }

    return $row->{open} eq 'no' ? 100 - $person : undef;
}


my @errors = sort { $b->[0] <=> $a->[0] || $a->[1]{ua} cmp $b->[1]{ua} }
             grep { defined $_->[0] }
             map { [ badness($_), $_ ] } @$rows;

printf("\n%d errors", scalar(@errors));
printf(", the worst %d", $options{worst}) if @errors > $options{worst};
print "\n\n";

if (@errors > $options{worst}) {
    $#errors = $options{worst} - 1;
}

printf("%-11s  %-5s  %6s  %-24s  %s\n", qw(label open person reasons agent));

for my $error (@errors) {
    my $row = $error->[1];
    my $agent = $row->{ua};

    utf8::encode($agent);
    $agent =~ s/[\x00-\x1f\x7f]/?/g;

    printf("%-11s  %-5s  %6d  %-24s  %s\n", $row->{label}, $row->{open},
           $row->{person}, $row->{reasons} || '-', $agent);
}


printf("\n%.0f ns an agent, the fastest of %d rounds\n",
       judge_speed($program, $rows, $options{rounds}), $options{rounds})
    if $options{rounds} > 0;
