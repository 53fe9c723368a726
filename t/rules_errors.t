#!/usr/bin/env perl

# Copyright (C) MailPing

# "nginx -t" refuses a rule file with an error in any kind of statement or list,
# and says in which file, line and column it is and what was expected.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;


my $t = Test::MailPing->new();

my $conf = <<'END';
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m;
    mailping_rules %%PREFIX%%/first.rules;
    mailping_rules %%PREFIX%%/site.rules;
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
    }
}
END

my $name = 'at most 64 letters, digits, "._-"';

# name of a list, its text, the rules, line, column, what is said; the place is
# in the list when there is one

my @errors = (
    [ '', "networks a ::1\n", 1, 1,
      'expected statement, found "networks"' ],
    [ '', "# fine\n\nnetwork office 192.0.2.0/33\n", 3, 26,
      'expected prefix length from 0 to 32, found "33"' ],
    [ '', "network office 192.0.2.1/24\r\n", 1, 16,
      'expected network without host bits, such as "192.0.2.0/24", found'
      . ' "192.0.2.1/24"' ],
    [ '', "network a,b ::1\n", 1, 9,
      qq{expected name of $name, found "a,b"} ],
    [ '', "asn campus 64496 AS0\n", 1, 18,
      'expected AS number from 1 to 4294967295, found "AS0"' ],
    [ '', "agent robot \"x\" robot\n", 1, 17,
      'expected pattern in quotes, found "robot"' ],
    [ '', "client acme \"Acme\n", 1, 18,
      'expected closing quote, found end of line' ],
    [ '', "header scan x-scan~mail\n", 1, 20,
      'expected value in quotes, found "mail"' ],
    [ '', "rule r time - bot+1 age<10s\nrule s place - bot+1 self\n", 2, 8,
      'expected group agent, network, headers, time or history, found'
      . ' "place"' ],
    [ '', "rule r time - bot+40 age<10s\n", 1, 19,
      'expected weight from 0 to 30, found "40"' ],
    [ '', "rule r time - bot+1 age<10\n", 1, 27,
      'expected unit ms, s, m, h or d, found end of line' ],
    [ '', "rule r time - bot+1\n", 1, 20,
      'expected condition, found end of line' ],
    [ '', "\trule r time - bot+1 network:nowhere\n", 1, 22,
      'expected name of a defined set, found "network:nowhere"' ],
    [ '', "set s - human self\n", 1, 9,
      'expected "shielded" or "self", found "human"' ],
    [ '', "prior - human+0\nprior - human+1\n", 2, 1,
      'expected one prior in a file, found "prior"' ],
    [ '', "prior - robot+1\n", 1, 9,
      'expected class human, proxied, prefetch, scanner or bot, found'
      . ' "robot+1"' ],
    [ '', '#' . 'x' x 65536 . "\n", 1, 65537,
      'expected line of at most 65536 bytes, found 65537 bytes' ],
    [ '', "network a \@missing.txt\n", 1, 11,
      'expected file that can be read (No such file or directory), found'
      . ' "@missing.txt"' ],

    [ "# fine\n192.0.2.0/24\n 192.0.2.256\n", "network a \@list.txt\n", 3, 2,
      'expected network, found "192.0.2.256"' ],
    [ "64496\nAS64497 64498\n", "asn a \@list.txt\n", 2, 1,
      'expected AS number from 1 to 4294967295, found "AS64497"' ],
    [ "ShopBot\n\"Bot\"x\n", "agent a \@list.txt\n", 2, 6,
      'expected blank after the pattern, found "x"' ],
    [ "\n\n=\"a\\b\"\n", "client a \"x\" \@list.txt\n", 3, 4,
      'expected escape \" or \\\\, found "\b""' ],
);

sub check {
    my ($list, $rules) = @_;

    $t->write_file('list.txt', $list);
    $t->write_file('site.rules', $rules);

    return $t->check_conf($conf);
}


$t->write_file('first.rules', "network office 198.51.100.0/24\n");

for my $error (@errors) {
    my ($list, $rules, $line, $column, $expected) = @$error;
    my $file = $t->path($list eq '' ? 'site.rules' : 'list.txt');
    my ($code, $output) = check($list, $rules);

    isnt($code, 0, substr($rules, 0, 50) =~ s/\n.*//sr);
    like($output, qr/\[emerg\]\ \Q$expected\E\ in
                     \ \Q$file\E:$line,\ column\ $column$/mx, 'why and where');
}


# the control: without an error there is none

my ($code, $output) = check("192.0.2.0/24\n", "network a \@list.txt\n"
                            . "rule r time - bot+1 network:a network:office\n");

is($code, 0, 'good files') || diag($output);
unlike($output, qr/expected/, 'no error');


# an error in the first file is that file's

$t->write_file('first.rules', "network\n");
($code, $output) = $t->check_conf($conf);

isnt($code, 0, 'the first of two files');
like($output, qr/ found end of line in \S+\/first\.rules:1, column 8$/m,
     'is named');


# what is no file at all: a directory, and one of bytes without end

$t->write_file('first.rules', '');

for (qw(/dev /dev/zero)) {
    ($code, $output) = check('', "network a \@$_\n");

    isnt($code, 0, "\@$_");

    my $found = quotemeta("), found \"\@$_\" in " . $t->path('site.rules'));

    like($output, qr/expected file that can be read \(.*$found:1, column 11$/m,
         'cannot be read');
}

$t->done();
