#!/usr/bin/env perl

# Copyright (C) MailPing

# mailping-judge reads a million lines in seconds, in memory that does not grow
# with them, and shows on a terminal how far it is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(run_command);
use Test::MailPing::Judge;
use Test::MailPing::Token;
use Time::HiRes ();


my $judge = Test::MailPing::Judge->new();

my $lines = 10_000;                # of a file, which is read many times
my $times = 100;

my @agents = (
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like'
    . ' Gecko) Chrome/126.0.0.0 Safari/537.36',
    'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com'
    . ' GoogleImageProxy)',
    'Mozilla/5.0',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)'
    . ' AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148'
    . ' Safari/604.1',
);

sub address {
    my ($i) = @_;

    return join('.', 1 + $i * 7919 % 223, $i % 256, $i * 31 % 256, $i % 255);
}

my @log = map {
    my $token = Test::MailPing::Token::mint(key => 'ab' x 32, id => "m$_",
                                            sent => 1700000000 - $_);

    address($_) . ' - - [14/Nov/2023:22:13:20 +0000] "GET /o/' . $token
    . '.gif HTTP/1.1" 200 43 "-" "' . $agents[$_ % @agents] . '"' . "\n"
} 1 .. $lines;

my @entries = map {
    '{"type":"open","event":"8f14e45fceea167a5a36dedd4bea2543.0/' . $_ . '",'
    . '"id":"newsletter-7/' . $_ . '","recipient":"r-42","site":"t.example",'
    . '"kind":"single","key":"1","time":"1767225600123",'
    . '"sent":"1767222000000","seen":"1","count":"1","open":"yes",'
    . '"person":"97","verdict":"human","provider":"",'
    . '"reasons":"browser,access-network","rules":"1c9f03aa",'
    . '"facts":"6000017.4000000000000000000000000000001f8000000",'
    . '"network":"203.0.113.0/24","asn":"8075","org":"Microsoft",'
    . '"country":"IT","region":"","city":"","client":"chrome",'
    . '"agent":"Mozilla/5 AppleWebKit/537 Chrome/126 Safari/537",'
    . '"privacy":"masked"}' . "\n"
} 1 .. $lines;

my @tsv = ("agent\tip\tage\theader.accept\tlabel\n", map {
    $agents[$_ % @agents] . "\t" . address($_) . "\t${_}s\t*/*\tx\n"
} 2 .. $lines);

my %file = (
    log => $judge->file('a.log', join('', @log)),
    json => $judge->file('a.json', join('', @entries)),
    tsv => $judge->file('a.tsv', join('', @tsv)),
);


# The kilobytes that the program needed at most, by the shell's own child.

sub memory {
    my (@files) = @_;

    my ($code, $output) = run_command('perl', '-e', <<'END', @files);
use POSIX ();
my $pid = fork();
if ($pid == 0) {
    open(STDOUT, '>', '/dev/null');
    exec(@ARGV);
}
my $peak = 0;
while (waitpid($pid, POSIX::WNOHANG()) == 0) {
    if (open(my $f, '<', "/proc/$pid/status")) {
        my ($rss) = join('', <$f>) =~ /^VmHWM:\s+(\d+)/m;
        $peak = $rss if defined $rss && $rss > $peak;
    }
    select(undef, undef, undef, 0.002);
}
print $peak;
END

    return $code == 0 ? $output : 0;
}


for my $format (qw(log json tsv)) {
    my $start = Time::HiRes::time();
    my $r = $judge->run([ '-s', ($file{$format}) x $times ]);
    my $seconds = Time::HiRes::time() - $start;

    my ($judged) = $r->{out} =~ /^fetches judged +(\d+)$/m;

    is($r->{code}, 0, "$format: good lines");
    is($judged, $times * ($lines - ($format eq 'tsv')), 'all are judged');
    cmp_ok($seconds, '<', 20, 'a million lines in time');
    diag(sprintf("%s: %.2f s a million lines, %.2f us each", $format,
                 $seconds * 1e6 / $judged, $seconds * 1e6 / $judged));
}

like($judge->run([ '-s', $file{log} ])->{out},
     qr/^time of sending known +$lines$/m, 'the tokens of the log are read');

my $once = memory($judge->program(), '-s', ($file{json}) x 5);
my $often = memory($judge->program(), '-s', ($file{json}) x 50);

cmp_ok($often, '>', 1000, 'memory is measured');
cmp_ok($often, '<', $once + 1024, 'and does not grow')
    || diag("$once kB, then $often kB");


# a terminal

SKIP: {
    skip('no script', 2) if !grep { -x "$_/script" } split(/:/, $ENV{PATH});

    my $command = join(' ', $judge->program(), '-s', ($file{json}) x $times);
    my (undef, $output) = run_command('script', '-qec', $command, '/dev/null');

    skip('no pseudo-terminals here', 2)
        if $output =~ /failed to create pseudo-terminal/;

    like($output, qr/a\.json: \d+ lines, \d+ a second, \d+ %\r/, 'progress');
    like($output, qr/\r\e\[K[^\n]*rule set/, 'which makes room for the rest');
}

unlike($judge->run([ '-s', ($file{json}) x 20 ])->{err}, qr/a second/,
       'no terminal, no progress');

done_testing();
