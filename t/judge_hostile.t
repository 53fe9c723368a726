#!/usr/bin/env perl

# Copyright (C) MailPing

# Whatever mailping-judge is given, it neither crashes nor reads where it must
# not, what it writes is JSON, and each line is a row, bad or left out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Test::MailPing::Judge;
use Test::MailPing::Token;


my $seed = $ENV{TEST_MAILPING_SEED} // 20261123;

srand($seed);

my $judge = Test::MailPing::Judge->new();

$judge->build('-g', '-O1', '-fno-omit-frame-pointer',
              '-fsanitize=address,undefined',
              '-fno-sanitize-recover=undefined');

# few rules are loaded at once, and lines are what this is about

my $few = $judge->file('few.rules', <<'END');
prior  -  human+0,proxied+0,prefetch-10,scanner-10,bot-10
agent  tool  "curl/"
rule   tool  agent  -  bot+20  agent:tool
END

my $token = Test::MailPing::Token::mint(key => 'ab' x 32, id => 'm1',
                                        recipient => 'r1', sent => 1700000000);

my %good = (
    json => [
        '{"type":"open","event":"a/1","id":"m1","time":"1700000005000",'
        . '"sent":"1700000000000","seen":"2","open":"yes","person":"97",'
        . '"verdict":"human","facts":"2041.8000000000000000000000000",'
        . '"asn":"15169","client":"chrome","agent":"Mozilla/5 Chrome/126",'
        . '"privacy":"masked"}',
        '{"open":"no","facts":"","privacy":"minimal"}',
        '{"open":"no","facts":"6000017.4000000000000000000000000000001f8000000'
        . '","agent":"curl\/8 \u00e9\ud83d\ude00","privacy":"full"}',
        '{"type":"amend","ref":"a/1"}',
        '{"ua":"Mozilla/5.0 (x) \"y\"","label":"bot","name":"a\tb","n":1.5}',
    ],
    tsv => [
        "Mozilla/5.0\t192.0.2.1\t15169\t1h30m\tgmail\tGET\t1.1\t1\t5\t*/*\tx",
        "-\t2001:db8::1\tAS1\t\t\tHEAD\t2\t\t\t-\t",
        "\t\t\t\t\t\t\t\t\t\t",
    ],
    log => [
        qq(192.0.2.1 - - [10/Oct/2024:13:55:36 -0700] "GET /o/$token.gif )
        . qq(HTTP/1.1" 200 43 "https://mail.google.com/" "Mozilla/5.0 \\x22"),
        qq(2001:db8::1 - a [b] [29/Feb/2024:23:59:60 +1400] "HEAD )
        . qq(http://x/y?s=1700000000 HTTP/2.0" 304 0 "-" "-" "x"),
        qq(unix: - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.0" 499 0 "-" )
        . qq("curl/8"),
    ],
);

my $header = join("\t", qw(agent ip asn age hint method http seen burst
                           header.accept label));

my @tokens = ('"', '\\', '\\u', '\\ud83d', '{', '}', '[', ']', ':', ',', "\t",
              ' ', "\0", "\xff", "\xc3", '-', '.', '99999999999999999999',
              '\\x', '%', '/', '&', '?', '=', 'null', "\x7f", '"facts":"',
              '.4', 'HTTP/');


# A line with a few changes, or nothing but noise.

sub mutated {
    my ($line) = @_;

    if (rand() < 0.05) {
        return join('', map { chr(int(rand(256))) } 0 .. rand(200));
    }

    for (0 .. rand(4)) {
        my $at = int(rand(length($line) + 1));
        my $kind = int(rand(6));

        if ($kind == 0) {
            substr($line, $at, 1) = chr(int(rand(256)));

        } elsif ($kind == 1) {
            substr($line, $at, int(rand(12))) = '';

        } elsif ($kind == 2) {
            substr($line, $at, 0) = $tokens[rand(@tokens)];

        } elsif ($kind == 3) {
            $line = substr($line, 0, $at);

        } elsif ($kind == 4) {
            substr($line, $at, 0) = substr($line, int(rand($at + 1)),
                                           int(rand(40)));

        } elsif (rand() < 0.1) {
            substr($line, $at, 0) = $tokens[rand(@tokens)] x rand(4000);
        }
    }

    return $line;
}


sub number {
    my ($summary, $name) = @_;

    return $summary =~ /^\Q$name\E +(\d+)$/m ? $1 : 0;
}


my $json = JSON::PP->new()->utf8();

for my $format (qw(json tsv log)) {
    my (@problems, %seen);
    my $rows = 0;

    for my $round (1 .. 6) {
        my $text = join('', map {
            mutated($good{$format}[rand(@{$good{$format}})]) . "\n"
        } 1 .. 300);

        # also without an end of the last line

        if (rand() < 0.5) {
            chomp($text);
        }

        my $lines = grep { s/\r\z//r ne '' } split(/\n/, $text);

        if ($format eq 'tsv') {
            $text = "$header\n$text";
        }

        my $r = $judge->run([ '-f', $format, '-a', '-o', 'json',
                              $round % 2 ? ('--match', '/') : (),
                              $round % 3 ? () : ('--sent-arg', 's') ], $text);

        push(@problems, "exit code $r->{code}") if $r->{code} > 1;
        push(@problems, "$&") if $r->{err} =~ /.*(?:Sanitizer|runtime error).*/;

        my @rows = split(/\n/, $r->{out});

        for my $row (@rows) {
            eval { $json->decode($row); 1 } || push(@problems, "$row: $@");
        }

        my %n = map { $_ => number($r->{err}, $_) }
                'bad lines', 'amendments skipped', 'entries of other types',
                'other paths', 'other methods', 'status 400 and above';
        my $sum = @rows;

        $sum += $_ for (values(%n));
        $seen{$_} += $n{$_} for (keys(%n));
        $rows += @rows;

        push(@problems, "$sum of $lines lines") if $sum != $lines;
    }

    is_deeply(\@problems, [], "$format, seed $seed");

    # the noise is neither all refused nor all harmless

    cmp_ok($rows, '>', 100, "$format: rows");
    cmp_ok($seen{'bad lines'}, '>', 100, "$format: bad lines");
}


# noise alone, in whatever format it seems to be

my @problems;

for my $round (1 .. 20) {
    my @start = ('', '{', "agent\tip\n", "agent\n", "\xef\xbb\xbf", "\n\n");
    my $text = $start[rand(@start)]
               . join('', map { chr(int(rand(256))) } 0 .. rand(40_000));

    my $r = $judge->run([ '-a', '--only', $few ], $text);

    push(@problems, "exit code $r->{code}") if $r->{code} > 1;
    push(@problems, "$&") if $r->{err} =~ /.*(?:Sanitizer|runtime error).*/;
}

is_deeply(\@problems, [], "noise, seed $seed");


# lines around the sizes of line and buffer, at the end and not

for my $size (65535, 65536, 65537, 131_072, 524_287, 524_288, 600_000) {
    for my $end ('', "\n", "\r\n", "\ncurl/8\n") {
        my $r = $judge->run([ '-s', '--only', $few ],
                            "agent\n" . 'x' x $size . $end);
        my $long = $size + ($end =~ /^\r/) > 65536;

        is(number($r->{out}, 'bad lines'), $long ? 1 : 0,
           "a line of $size bytes");
        is(number($r->{out}, 'fetches judged'),
           ($long ? 0 : 1) + ($end =~ /curl/), 'and what is judged');
    }
}


# the control: a build that reads too far is noticed

my $source = $judge->file('control.c', <<'END');
#include <stdlib.h>
int main(int argc, char **argv) { (void) argv; return malloc(1) == NULL
    || ((volatile char *) malloc(4))[argc + 3]; }
END

system('gcc', '-fsanitize=address', '-O0', $source, '-o',
       $judge->path('control')) == 0 || die "gcc failed\n";

$judge->{program} = $judge->path('control');
like($judge->run([ ])->{err}, qr/Sanitizer/, 'the control');

done_testing();
