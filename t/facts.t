#!/usr/bin/env perl

# Copyright (C) MailPing

# The published facts: docs/facts.md is the table of core/published.c, without a
# number or a name twice and without a hole; its example decodes to what it
# says; every name is one that the built-in rules use; and what was published is
# where it was.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;

use Test::More;


my $repo = "$FindBin::Bin/..";


sub content {
    my ($name) = @_;

    open(my $file, '<', "$repo/$name") || die "cannot open $name: $!\n";
    local $/;

    return <$file>;
}


# The tables as lists of [ number, name ].

sub source_table {
    my ($text) = @_;

    return map { [ split(/\t/) ] }
           map { /^    \[(\d+)\] = "([^"]+)",?$/ ? "$1\t$2" : () }
           split(/\n/, $text);
}


sub document_table {
    my ($text) = @_;

    return map { [ split(/\t/) ] }
           map { /^\| (\d+) \| `([^`]+)` \| \S.* \|$/ ? "$1\t$2" : () }
           split(/\n/, $text);
}


# What was published so far: how many facts, and the digest of their table.  An
# append adds a row here and changes none.

my @editions = (
    [ 154,
      '704d4c3979a172f0aa84577eb833bc66903c9a59d22934c4768be2699a23f2a5' ],
    [ 172,
      '6804790c26e783a84a105292ed3929ddae7fbb963cab97384817397be57256bc' ],
    [ 178,
      '5a534b143fd684b920daab7bd40a060916be677d1b8fa404c2e79faadd9bceba' ],
);


# What is wrong with a table, as a list of sentences.

sub faults {
    my ($table) = @_;

    my (@faults, %number, %name);
    my $next = 0;

    for my $row (@$table) {
        my ($number, $name) = @$row;

        push(@faults, "number $number twice") if $number{$number}++;
        push(@faults, "\"$name\" twice") if $name{$name}++;
        push(@faults, "$number where $next is due") if $number != $next;
        push(@faults, "number $number out of range") if $number > 254;

        $next = $number + 1;
    }

    return @faults;
}


sub text {
    my ($table) = @_;

    return join('', map { "$_->[0] $_->[1]\n" } @$table);
}


my $source = content('ngx_mailping_module/core/published.c');
my $document = content('docs/facts.md');

my @source = source_table($source);
my @document = document_table($document);

cmp_ok(scalar(@source), '>', 100, 'core/published.c has a table');
is(scalar(@source), scalar(() = $source =~ /^    \[/mg),
   'all of its rows are understood');
is(scalar(@document), scalar(() = $document =~ /^\| \d/mg),
   'all rows of docs/facts.md are understood');

is(text(\@document), text(\@source), 'docs/facts.md equals core/published.c');
is(join('; ', faults(\@source)), '', 'numbers and names are unique, no hole');

for my $edition (@editions) {
    my ($count, $digest) = @$edition;

    is(sha256_hex(text([ @source[0 .. $count - 1] ])), $digest,
       "the first $count facts are where they were");
}

is($editions[-1][0], scalar(@source), 'all facts have an edition');

like($document, qr/\*\*Append only\.\*\*/, 'the promise is made');
like($document, qr/Numbers from (\d+) to 254 are\s+free/, 'free numbers');
is($document =~ /Numbers from (\d+) to 254 are\s+free/ ? $1 : '',
   scalar(@source), 'the first free number');


# the example decodes to what it says

my ($true, $unknown) = $document =~ /For example `([0-9a-f]+)\.([0-9a-f]+)`/;

sub bits {
    my ($hex) = @_;

    my $bits = reverse(unpack('B*', pack('H*', length($hex) % 2
                                               ? "0$hex" : $hex)));

    return grep { substr($bits, $_, 1) } 0 .. length($bits) - 1;
}

my ($said) = $document =~ /^- true: facts (.*?);$/ms;
my %said = $said =~ /(\d+)\s+\(`([^`]+)`\)/g;

is(join(' ', sort { $a <=> $b } keys(%said)), join(' ', bits($true)),
   'example: true');
is(join(' ', map { $said{$_} } bits($true)),
   join(' ', map { $source[$_][1] } bits($true)), 'example: names');

my ($first, $last, $end)
    = $document =~ /^- unknown: facts (\d+) to (\d+),.*?from (\d+) on;$/ms;

is(join(' ', $first .. $last, $end), join(' ', bits($unknown)),
   'example: unknown');
is($end, scalar(@source), 'example: the end');


# every name is one that the built-in rules use, in its canonical form

my $rules = content('ngx_mailping_module/rules/default.rules');

for my $row (@source) {
    my $name = $row->[1];
    my $used;

    if ($name =~ /^(network|asn|agent|client|header):([^!].*)$/) {
        $used = $rules =~ /^$1\s+\Q$2\E\s/m;

    } elsif ($name =~ /^hint:/) {
        $used = 1;                    # all that a token can say

    } elsif ($name =~ /^(age|seen)<(\w+)$/) {
        $used = $rules =~ /^(?:rule|set)\s.*\s!?$1(?:<|>=)$2(?:\s|$)/m;

    } else {
        $used = $rules =~ /^(?:rule|set)\s.*\s!?\Q$name\E(?:\s|$)/m;
    }

    ok($used, "\"$name\" is in default.rules");
}


# the checks can fail

my @twice = ([ 0, 'a' ], [ 0, 'b' ]);
my @name = ([ 0, 'a' ], [ 1, 'a' ]);
my @hole = ([ 0, 'a' ], [ 2, 'b' ]);

is(join('; ', faults(\@twice)), 'number 0 twice; 0 where 1 is due',
   'a number twice is seen');
is(join('; ', faults(\@name)), '"a" twice', 'a name twice is seen');
is(join('; ', faults(\@hole)), '2 where 1 is due', 'a hole is seen');

done_testing();
