#!/usr/bin/env perl

# Copyright (C) MailPing

# The built-in rules keep what they promise of agents of which nothing else is
# known, on a corpus of labelled ones; the weights that come from counts are
# those of the counts; and ci/accuracy counts right.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Copy qw(copy);
use File::Temp;
use JSON::PP ();
use Test::More;
use Test::MailPing qw(repository run_command);
use Test::MailPing::Accuracy;
use Test::MailPing::Source;


my $repo = repository();
my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);


# What the promises say of judged rows, as a list of those that are broken.

sub broken {
    my ($rows) = @_;

    my (%no, %total);

    for my $row (@$rows) {
        my $kind = $row->{label} eq 'mail_client' ? 'mail_client'
                                                  : kind($row->{label});
        $total{$kind}++;
        $no{$kind} += $row->{open} eq 'no';
    }

    my @broken;

    push(@broken, 'machines') if $no{machine} < 0.97 * $total{machine};
    push(@broken, 'browsers') if $no{person} > 0.003 * $total{person};
    push(@broken, 'mail programs') if $no{mail_client} != 0;
    push(@broken, 'proxies') if $no{proxy} != 0;

    return @broken;
}


# intervals and weights, by known values

sub bounds {
    return sprintf('%.4f %.4f', wilson(@_));
}

is(bounds(0, 10), '0.0000 0.2775', 'Wilson: none of 10');
is(bounds(10, 10), '0.7225 1.0000', 'Wilson: all of 10');
is(bounds(81, 263), '0.2553 0.3662', 'Wilson: 81 of 263');
is(bounds(0, 0), '0.0000 1.0000', 'Wilson: of nothing');

is(decibans(99, 999, 9, 999), 10, 'ten times as often');
is(decibans(9, 999, 99, 999), -10, 'a tenth');
is(decibans(0, 100, 0, 100), 0, 'never');
is(decibans(1000, 1000, 0, 1000), 20, 'at most 20');
is(decibans(0, 1000, 1000, 1000), -20, 'at least -20');


# agents come through as they are

my @odd = map { { ua => $_, label => 'browser' } }
          ('', 'Mozilla/5.0', "a\tb", "a%41", "curl/8.0\n",
           "caf\x{e9} Thunderbird/1", "Mozilla/5.0 \x{1f600} Firefox/1 ");

my $program = judge_build();

judge_rows($program, \@odd);

is(join(' ', map { join('+', grep { /^(?:no-agent|library|mail-client|browser)$/
                                  } sort keys %{$_->{rules}}) || '-' } @odd),
   'no-agent - - - library mail-client browser', 'odd agents');


# a corpus of our own, of names that nobody has: families, not strings

my @made = (
    map({ [ $_, 'bot' ] }
        'Frobbot/1.0 (+http://frob.example/bot)', 'FrobCrawler/2.1',
        'Mozilla/5.0 (compatible; Frobspider/0.1)', 'frob-fetcher 1.2',
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML,'
        . ' like Gecko; Frobnicator/1.0) Chrome/126.0.0.0 Safari/537.36',
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)'
        . ' Chrome/120.0 Safari/537.36 (mailto:frob@frob.example)',
        'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
        . ' (frobnicator; frob@frobnicate.com)',
        'Mozilla/5.0 (compatible; Frob/1.0; X11) AppleWebKit/537.36'
        . ' (KHTML, like Gecko) Chrome/120.0 Safari/537.36',
        'frob/1.2', 'Frob', 'python-frob/3', 'frob-httpclient/1', 'curl',
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)'
        . ' HeadlessChrome/140.0.0.0 Safari/537.36',
        'User-Agent: Mozilla/5.0 (Windows NT 10.0)',
        'Mozilla/4.0 (compatible;)',
        'Frob Link Preview', 'FrobUptime/1', 'Mozilla/5.0 frobmonitor'),
    map({ [ $_, 'scanner' ] }
        'Mozilla/5.0 (Windows NT 10.0) Frob Scanner 2', 'frob-scan/1.0',
        'Mozilla/5.0 (compatible; Frob-Security/1.0)'),
    map({ [ $_, 'browser' ] }
        'Mozilla/5.0 (Linux; Android 14; CUBOT KINGKONG 9) AppleWebKit/537.36'
        . ' (KHTML, like Gecko) Chrome/150.0.0.0 Mobile Safari/537.36',
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML,'
        . ' like Gecko) Chrome/199.0.0.0 Safari/537.36 Edg/199.0.0.0',
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML,'
        . ' like Gecko) Chrome/199.0.0.0 Safari/537.36 Frob/1.0',
        'Mozilla/5.0 (X11; Linux x86_64; rv:250.0) Gecko/20100101'
        . ' Firefox/250.0',
        'Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; .NET CLR 3.5)',
        'Mozilla/5.0 (Linux; Android 13; Frob Scandi 5) AppleWebKit/537.36'
        . ' (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36'),
    map({ [ $_, 'mail_client' ] }
        'Mozilla/5.0 (X11; Linux x86_64; rv:250.0) Gecko/20100101'
        . ' Thunderbird/250.0', 'Outlook-iOS/9.99',
        'Microsoft Office/19.0 (Windows NT 12.0; Microsoft Outlook 19.0; Pro)'),
    map({ [ $_, 'proxy_open' ] }
        'Mozilla/5.0 (Windows NT 5.1; rv:99.0) Gecko Firefox/99.0'
        . ' (via ggpht.com GoogleImageProxy)', 'YahooMailProxy; https://x'));

my @families = map { { ua => $_->[0], label => $_->[1] } } @made;

judge_rows($program, \@families);

for my $row (@families) {
    is($row->{open} eq 'no' ? 'machine' : 'other',
       kind($row->{label}) eq 'machine' ? 'machine' : 'other',
       substr($row->{ua}, 0, 60))
        || diag("$row->{open} $row->{person} $row->{reasons}");
}


# ci/accuracy on a small corpus that is written here

open(my $file, '>', "$dir/small.jsonl") || die "cannot create a file: $!\n";
print $file JSON::PP->new()->canonical()->encode(
                { ua => $_->[0], label => $_->[1], name => 'x',
                  source => 'here@1:made' }), "\n" for (@made,
    [ 'Thunderbird/1', 'bot' ]);
close($file);

my ($code, $output) = run_command("$repo/ci/accuracy", '--rounds', 1,
                                  "$dir/small.jsonl");

my $bots = grep { $_->[1] eq 'bot' } @made;

is($code, 0, 'ci/accuracy') || diag($output);
like($output, qr/^bot\s+${\ ($bots + 1)}\s+$bots\s+9\d\.\d\d\s\[/m,
     'it has the matrix');
like($output, qr/^here machine\s+${\ ($bots + 4)}\s+${\ ($bots + 3)}\s/m,
     'and the families');
like($output, qr/^1 errors\n\n.*\nbot\s+yes\s+\d+\s+mail-client\s+Thun/m,
     'and the error');
like($output, qr/^\d+ ns an agent/m, 'and the speed');

open($file, '>', "$dir/wrong.jsonl") || die "cannot create a file: $!\n";
print $file qq({"ua": "x", "label": "bot"}\n{"ua": "x", "label": "y"}\n);
close($file);

($code, $output) = run_command("$repo/ci/accuracy", "$dir/wrong.jsonl");
isnt($code, 0, 'a wrong corpus');
like($output, qr/wrong\.jsonl:2: expected an object with "ua" and a known/,
     'is refused with the line');


SKIP: {
    skip('no corpus', 1) if !defined corpus_path();

    my $rows = judge_rows($program, corpus_read(corpus_path()));

    is(join(', ', broken($rows)), '', 'the promises hold');

    ($code, $output) = run_command("$repo/t/accuracy/weights");
    is($code, 0, 'weights are those of the counts') || diag($output);

    # negative controls: rules that forget how machines name themselves, rules
    # that take browsers for machines, a wrong weight, a wrong count

    my $rules = "$dir/rules";

    mkdir($rules) || die "cannot make $rules: $!\n";
    copy("$repo/$_", $rules) for (sources('ngx_mailping_module/rules/*'));

    my $text = do {
        open(my $file, '<', "$rules/default.rules")
            || die "cannot open default.rules: $!\n";
        local $/;
        <$file>;
    };

    my $change = sub {
        my ($what, $by) = @_;

        my $changed = $text;

        $changed =~ s/$what/$by/m || die "nothing to change\n";

        open(my $file, '>', "$rules/default.rules")
            || die "cannot create default.rules: $!\n";
        print $file $changed;
        close($file);
    };

    $change->(qr/^rule bot .*/m, '');
    is((broken(judge_rows(judge_build($rules), $rows)))[0], 'machines',
       'without a rule machines are not found');

    $change->(qr/^rule browser .*/m,
              'rule browser agent - bot+30,human-10,proxied-20 agent:browser');
    is((broken(judge_rows(judge_build($rules), $rows)))[0], 'browsers',
       'with a wrong rule browsers are machines');

    my %mistakes = (
        'a wrong weight' => sub { $_[0] =~ s/^(rule bot .*bot)\+20/$1+19/m },
        'a wrong count' => sub { $_[0] =~ s/^(rule bot .*# )\d+/${1}1/m },
    );

    for my $mistake (sort keys %mistakes) {
        my $changed = $text;

        $mistakes{$mistake}->($changed) || die "nothing to change\n";

        open(my $file, '>', "$dir/changed.rules")
            || die "cannot create changed.rules: $!\n";
        print $file $changed;
        close($file);

        ($code, $output) = run_command("$repo/t/accuracy/weights", '-',
                                       "$dir/changed.rules");
        isnt($code, 0, "$mistake is seen");
        like($output, qr/^bot: .* expected \+20 /m, 'and named');

        ($code, $output) = run_command("$repo/t/accuracy/weights", '--write',
                                       '-', "$dir/changed.rules");

        open($file, '<', "$dir/changed.rules")
            || die "cannot open changed.rules: $!\n";
        local $/;

        ok(scalar(<$file>) eq $text, 'and set right');
    }
}

done_testing();
