#!/usr/bin/env perl

# Copyright (C) MailPing

# Rule files of ten megabytes are read or refused in about a second, whatever is
# in them: by core alone, through mailping-judge, and by "nginx -t".

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;
use Test::MailPing::Judge;
use Time::HiRes qw(time);


# a second on a quiet machine; tests run beside each other

my $seconds = 3;
my $size = 10_000_000;

my $t = Test::MailPing->new();
my $judge = Test::MailPing::Judge->new();


# So much of what a function makes of 0, 1, 2, ...

sub repeat {
    my ($make, $limit) = @_;

    my $text = '';

    for (my $n = 0; length($text) < ($limit // $size); $n++) {
        $text .= $make->($n);
    }

    return $text;
}


# the same bytes in each run, with ends of lines among them

sub noise {
    my $state = 7;

    return repeat(sub {
        $state = ($state * 1103515245 + 12345) & 0x7fffffff;
        pack('N', $state ^ $state << 3);
    });
}


my $address = sub {
    my ($n) = @_;

    return join('.', 1 + $n * 7919 % 223, $n >> 8 & 255, $n & 255, $n % 256);
};

# name, text, what is said: undef when the file is good

my @files = (
    [ 'networks, one a line',
      repeat(sub { 'network large ' . $address->($_[0]) . "\n" }) ],
    [ 'networks, many a line',
      repeat(sub { join(' ', 'network large' . $_[0] % 700,
                        map { $address->($_) } $_[0] * 100 .. $_[0] * 100 + 99)
                   . "\n" }) ],
    [ 'a network, again and again', repeat(sub { "network a ::/0 ::\n" }) ],
    [ 'asn', repeat(sub { 'asn large ' . (1 + $_[0]) . "\n" }) ],
    [ 'agents, alike', repeat(sub { "agent a" . $_[0] % 700 . " \"Bot\"\n" }) ],
    [ 'agents, alike, many a line',
      join('', map({ "agent a$_ \"x\"\n" } 0 .. 700),
               repeat(sub { 'agent a0' . ' "x"' x 15_000 . "\n" })) ],
    [ 'headers', repeat(sub { "header h x-$_[0] y-$_[0]=\"1\"\n" }) ],
    [ 'priors', repeat(sub { "prior - bot+1\n" }),
      qr/expected one prior in a file, found "prior" .*:2, column 1$/ ],
    [ 'agents, each another', repeat(sub { "agent a \"Agent-$_[0]/\"\n" }),
      qr/expected agent patterns whose automaton has at most 16777216 steps/ ],
    [ 'rules', repeat(sub { "rule r-$_[0] time - bot+1 self age<1h\n" }),
      qr/expected at most 8192 rules, found "r-80\d\d" .*:80\d\d, column 6$/ ],
    [ 'conditions', repeat(sub { "rule r-$_[0] time - bot+1"
                                 . ' seen<2 age<1m' x 4000 . "\n" }) ],
    [ 'facts', repeat(sub { "network n-$_[0] ::1\n" }),
      qr/expected at most \d+ facts that are not published, .* column 9$/ ],
    [ 'one line', 'network large ' . '::1 ' x ($size / 4),
      qr/expected line of at most 65536 bytes, found \d+ .*:1, column 65537$/ ],
    [ 'one name', "network large ::1\nrule " . 'x' x 60_000 . "\n",
      qr/expected rule name of at most 64 .*:2, column 6$/ ],
    [ 'comments', repeat(sub { "# $_[0] is a comment\n" }) ],
    [ 'blank lines', repeat(sub { " \t\r\n" }) ],
    [ 'noise', noise(), qr/expected statement, found .*:\d+, column \d+$/ ],
    [ 'quotes', '"' x $size, qr/expected line of at most/ ],
    [ 'zeros', "\0" x $size, qr/expected line of at most/ ],
);


# what the program needs without the file is subtracted

sub run_judge {
    my ($path) = @_;

    my $start = time();
    my $r = $judge->run([ -r => $path, '/dev/null' ]);

    return (time() - $start, $r);
}


my ($none) = run_judge($t->write_file('none.rules', ''));

for my $file (@files) {
    my ($name, $text, $expected) = @$file;
    my ($took, $r) = run_judge($t->write_file('large.rules', $text));

    cmp_ok($took - $none, '<', $seconds, "$name in time");
    diag(sprintf('%-28s %4.0f ms', $name, ($took - $none) * 1000));

    if (defined $expected) {
        isnt($r->{code}, 0, 'it is refused');
        like($r->{err}, $expected, 'with its place');

    } else {
        is($r->{code}, 0, 'it is read') || diag(substr($r->{err}, 0, 500));
    }
}


# nginx reads the networks again, and a list of as many

my $conf = <<'END';
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m;
    mailping_rules %%PREFIX%%/large.rules;
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
    }
}
END

my $list = repeat(sub { $address->($_[0]) . "\n" });

for ([ 'networks', $files[0][1] ],
     [ 'a list', "network large \@large.txt\n" ],
     [ 'a list with an error in the end', "network large \@large.txt\n",
       $list . "::1/129\n" ])
{
    my ($name, $text, $other) = @$_;

    $t->write_file('large.rules', $text);
    $t->write_file('large.txt', $other // $list);

    my $start = time();
    my ($code, $output) = $t->check_conf($conf);
    my $took = time() - $start;

    cmp_ok($took, '<', $seconds, "nginx -t: $name in time");
    diag(sprintf('%-28s %4.0f ms', "nginx -t: $name", $took * 1000));

    if (defined $other) {
        my $line = 1 + ($list =~ tr/\n//);

        isnt($code, 0, 'it is refused');
        like($output, qr/found "129" in \S+large\.txt:$line, column 5$/m,
             'with its place');

    } else {
        is($code, 0, 'it is read') || diag($output);
    }
}

$t->done();
