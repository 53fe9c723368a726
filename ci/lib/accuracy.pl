#!/usr/bin/env perl

# Copyright (C) MailPing

# The part of ci/accuracy that counts.

use strict;
use warnings;

use Getopt::Long;
use Test::MailPing qw(repository);
use Test::MailPing::Accuracy;
use Test::MailPing::Day;
use Test::MailPing::Simulation;


# Half a million mails fill each decile of "person" that is in use.

my %options = (worst => 50, rounds => 20, seed => 1);

my $usage = "usage: ci/accuracy [--mails N] [--seed N] [--parameters FILE]"
            . " [--rules FILE]\n"
            . "                   [--worst N] [--rounds N] [--strict] [FILE]\n";

GetOptions(\%options, 'worst=i', 'rounds=i', 'mails=i', 'seed=i',
           'parameters=s', 'rules=s', 'strict') && @ARGV <= 1 || die $usage;

$options{mails} //= @ARGV ? 0 : 500_000;

# where "sent" is unknown fewer days do, as nothing is calibrated on them

my $unknown_days = 3;

my @opens = qw(no maybe yes);
my @labels = qw(bot scanner prefetch browser mail_client proxy_open);


# A line of a matrix: for each open its count, its share, and the bounds of
# the share, all in percent.

sub print_line {
    my ($name, $counts) = @_;

    my $total = 0;

    $total += $counts->{$_} // 0 for (@opens);

    printf("%-30s %6d", $name, $total);

    for my $open (@opens) {
        my $count = $counts->{$open} // 0;
        my ($low, $high) = wilson($count, $total);

        printf("  %6d %6.2f [%6.2f,%6.2f]", $count,
               $total ? 100 * $count / $total : 0, 100 * $low, 100 * $high);
    }

    print "\n";
}


sub print_head {
    my ($title, $what) = @_;

    printf("\n%-30s %6s", $title, $what);
    printf("  %-29s", "open=$_: % [95 %]") for (@opens);
    print "\n";
}


# Agents.

# Counts by open of the rows for which a function gives a name, by that name.

sub counts {
    my ($rows, $name) = @_;

    my %counts;

    for my $row (@$rows) {
        my $key = $name->($row);

        $counts{$key}{$row->{open}}++ if defined $key;
    }

    return \%counts;
}


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


sub agents {
    my ($corpus) = @_;

    my $program = judge_build();
    my $rows = judge_rows($program, corpus_read($corpus));

    my $by_label = counts($rows, sub { $_[0]{label} });
    my $by_kind = counts($rows, sub { kind($_[0]{label}) });
    my $by_family = counts($rows,
                           sub { "$_[0]{family} " . kind($_[0]{label}) });

    printf("%d agents of %s, nothing else known\n", scalar(@$rows), $corpus);

    print_head('label', 'agents');
    print_line($_, $by_label->{$_} // {}) for (@labels);

    print_head('kind', 'agents');
    print_line($_, $by_kind->{$_} // {}) for (qw(machine person proxy));

    print_head('family (source) and kind', 'agents');
    print_line($_, $by_family->{$_}) for (sort keys %$by_family);

    my @errors = sort { $b->[0] <=> $a->[0] || $a->[1]{ua} cmp $b->[1]{ua} }
                 grep { defined $_->[0] }
                 map { [ badness($_), $_ ] } @$rows;

    printf("\n%d errors", scalar(@errors));
    printf(", the worst %d", $options{worst}) if @errors > $options{worst};
    print "\n\n";

    if (@errors > $options{worst}) {
        $#errors = $options{worst} - 1;
    }

    printf("%-11s  %-5s  %6s  %-24s  %s\n",
           qw(label open person reasons agent));

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
}


# Days of mail.

my @states = ('sent known, after amendments', 'sent known, as written',
              'sent unknown, amended', 'sent unknown, as written');


sub one_day {
    my ($scores, $seed, $sent) = @_;

    my %rules;

    if (defined $options{rules}) {
        open(my $file, '<', $options{rules})
            || die "cannot open $options{rules}: $!\n";
        local $/;
        $rules{rules} = <$file>;
    }

    my $day = Test::MailPing::Day->new(seed => $seed,
                                       conf => $options{parameters});
    my $simulation = Test::MailPing::Simulation->new();
    my $cases = $simulation->run($day, sent => $sent, %rules);
    my @problems = $simulation->end();

    die join("\n", "seed $seed:", @problems) . "\n" if @problems;

    my $first = $sent ? 0 : 2;

    score_add($scores->{$states[$first]} //= {}, score($cases, 1));
    score_add($scores->{$states[$first + 1]} //= {}, score($cases, 0));

    return scalar($day->mails());
}


sub print_deciles {
    my ($table) = @_;

    my $all = 0;

    $all += $_->{count} for (@$table);

    print "\nperson against truth: sent known, after amendments\n\n";
    printf("%-7s  %8s  %6s  %-24s\n", 'decile', 'cases', 'person',
           'persons: % [95 %]');

    for my $d (@$table) {
        printf("%-7s  %8d  %6.2f  %6.2f [%6.2f,%6.2f]   %s\n", decile_name($d),
               $d->{count}, $d->{person}, $d->{share}, $d->{low}, $d->{high},
               !decile_used($d, $all) ? 'not in use'
               : abs($d->{person} - $d->{share}) > 5 ? 'off'
               : $d->{count} < 1000 ? 'too few' : '');
    }

    # what makes a decile wrong: the groups that pull it furthest

    for my $d (@$table) {
        next if !decile_used($d, $all)
                || abs($d->{person} - $d->{share}) <= 5;

        printf("\nwhat is in %s\n\n%8s  %6s  %-34s  %s\n", decile_name($d),
               qw(cases person truth reasons));

        my @cells = @{$d->{cells}};

        $#cells = 9 if @cells > 10;

        for my $cell (@cells) {
            my ($truth, $kind, $reasons) = split(/\t/, $cell->[0], -1);

            $truth = $kind if $truth eq 'gateway';

            printf("%8d  %6.1f  %-34s  %s\n", @$cell[1, 2],
                   $truth eq $kind ? $kind : "$truth: $kind", $reasons || '-');
        }
    }
}


sub print_groups {
    my ($score) = @_;

    my @groups = groups_of($score);

    $#groups = $options{worst} - 1 if @groups > $options{worst};

    print "\nthe groups that do most damage: cases times what is missing to"
          . " the truth\n\n";
    printf("%8s  %8s  %-5s  %6s  %-34s  %s\n",
           qw(damage cases open person truth reasons));

    for (@groups) {
        my ($truth, $kind, $open, $reasons, $count, $mean, $damage) = @$_;

        printf("%8.1f  %8d  %-5s  %6.1f  %-34s  %s\n", $damage, $count, $open,
               $mean, $truth eq 'gateway' ? $kind : "$truth: $kind",
               $reasons || '-');
    }
}


# Returns the promises that are broken.

sub days {
    my %scores;
    my ($days, $mails) = (0, 0);

    while ($mails < $options{mails}) {
        $mails += one_day(\%scores, $options{seed} + $days, 1);
        one_day(\%scores, $options{seed} + $days, 0) if $days < $unknown_days;

        $days++;

        printf(STDERR "\r%d mails", $mails) if -t STDERR;
    }

    print STDERR "\r" if -t STDERR;

    printf("\n%d days, %d mails, the first seed %d, sent unknown on %d\n",
           $days, $mails, $options{seed},
           $days < $unknown_days ? $days : $unknown_days);

    for my $state (@states) {
        my $score = $scores{$state};

        print_head($state, 'cases');

        for my $truth (qw(person gateway machine shielded)) {
            print_line("$truth, all", class_counts($score, $truth));

            for my $kind (sort keys %{$score->{kinds}}) {
                next if $kind !~ /^$truth\t(.*)/;

                print_line('  ' . ($1 =~ s/^$truth, //r),
                           $score->{kinds}{$kind});
            }
        }
    }

    my $table = reliability($scores{$states[0]});

    print_groups($scores{$states[0]});
    print_deciles($table);

    my @broken = (promises_broken($scores{$states[0]}), deciles_off($table));

    print "\n", @broken ? map({ "broken: $_\n" } @broken)
                        : "all promises kept\n";

    return @broken;
}


my $corpus = $ARGV[0] // corpus_path();

if (defined $corpus) {
    agents($corpus);

} elsif ($options{mails}) {
    print "no corpus, see MAILPING_SHARED\n";

} else {
    die "no corpus: name a file, or a folder that has"
        . " data/corpus/ua-dev.jsonl in MAILPING_SHARED\n";
}

if ($options{mails}) {
    my $module = $ENV{TEST_NGINX_MODULE}
                 // repository() . '/build/ngx_mailping_module.so';

    if ($module ne '' && !-e $module) {
        system(repository() . '/ci/build') == 0 || die "ci/build failed\n";
    }

    exit(1) if days() && $options{strict};
}
