#!/usr/bin/env perl

# Copyright (C) MailPing

# The negative control of the classifier's tables: a case with one wrong
# expectation, in any column, is reported, with what is wrong; the same case
# with right ones is not; a line that cannot be read ends the test.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing::Truth;


my $truth = Test::MailPing::Truth->new();

my $right = 'gmail  google  1h  gmail  yes  proxied  gmail';

# what each line gets wrong, '' for nothing

my @cases = (
    [ $right, '' ],
    [ "$right  >=95 by:gmail.display not:instant client:gmail", '' ],
    [ 'gmail  google  1h  gmail  maybe  proxied  gmail', 'open' ],
    [ 'gmail  google  1h  gmail  no     proxied  gmail', 'open' ],
    [ 'gmail  google  1h  gmail  yes    human    gmail', 'verdict' ],
    [ 'gmail  google  1h  gmail  yes    proxied  yahoo', 'provider' ],
    [ 'gmail  google  1h  gmail  yes    proxied  -', 'provider' ],
    [ "$right  <=79", 'not <=79' ],
    [ 'chrome  home  2m  -  yes  human  -  >=100', 'not >=100' ],
    [ "$right  40-60", 'not 40-60' ],
    [ "$right  by:instant", 'not by:instant' ],
    [ "$right  not:gmail.display", 'not not:gmail.display' ],
    [ "$right  client:yahoo", 'not client:yahoo' ],

    # a score is no score where there is none
    [ 'mpp  relay-akamai  1h  -  maybe  shielded  apple', '' ],
    [ 'mpp  relay-akamai  1h  -  maybe  shielded  apple  >=0', 'not >=0' ],

    # what the request was must matter: the same expectations, another fetcher,
    # place, age, method, header, number of fetches or of tokens around it
    [ 'gmail-prefetch  google  1h  gmail  yes  proxied  gmail',
      'open verdict' ],
    [ 'gmail  hetzner  1h  gmail  yes  proxied  gmail', 'open verdict' ],
    [ 'gmail  google   2s  gmail  yes  proxied  gmail', 'open' ],
    [ 'gmail HEAD  google  1h  gmail  yes  proxied  gmail', 'open verdict' ],
    [ 'chrome +Purpose: prefetch  home  1h  -  yes  human  -',
      'open verdict' ],
    [ 'gmail  google  1h  apple  yes  proxied  gmail'
      . '  not:unexpected-provider', 'not not:unexpected-provider' ],
    [ 'chrome  home  2m  -  yes  human  -  by:header.image', '' ],
    [ 'curl +Purpose: prefetch +Via: 1.1 a  home  1h  -  no  prefetch  -'
      . '  by:header.prefetch', '' ],
    [ 'curl +Via: 1.1 a  home  1h  -  no  bot  -'
      . '  by:header.prefetch', 'not by:header.prefetch' ],
    [ 'chrome -Sec-Fetch-Dest  home  2m  -  yes  human  -  by:header.image',
      'not by:header.image' ],
    [ 'chrome-lean  home  2m  -  yes  human  -  not:http10', '' ],
    [ 'chrome HTTP/1.0  home  2m  -  yes  human  -  not:http10',
      'not not:http10' ],
    [ 'chrome  home  2h  -  yes  human  -  by:again', 'not by:again' ],
    [ 'chrome x2  home  2h  -  yes  human  -  by:again', '' ],
    [ 'chrome  home  30s  -  maybe  human  -', '' ],
    [ 'chrome  home +20  30s  -  maybe  human  -', 'verdict' ],

    # of a burst only the later ones are judged to be one, until the others are
    # amended
    [ 'chrome  home +20  30s  -  maybe  scanner  -', '' ],
    [ 'chrome  home +20  30s  -  maybe  scanner  -  all after', '' ],
    [ 'chrome  home +20  30s  -  maybe  human  -  all after', 'verdict' ],
    [ 'chrome  home +20  30s  -  maybe  scanner  -  all', 'verdict' ],

    # of the fetches of one token the last one is judged
    [ 'chrome  eop-40.92 > home  20s  -  maybe  human  -', 'open verdict' ],
    [ 'chrome  home > eop-40.92  2h  -  no  scanner  microsoft', '' ],
    [ 'mpp  unix  1h  -  maybe  unknown  -', '' ],
    [ 'mpp-lean  home  1h  -  maybe  unknown  -', 'open verdict' ],
);

for my $case (@cases) {
    $truth->add('control', $case->[0]);
}

for my $result ($truth->run()) {
    my ($case, $entry, @wrong) = @$result;
    my ($line, $expected) = @{shift(@cases)};

    # of differences in a field, the field's name
    my %found = map { (/^(\w+) "/ ? $1 : $_) => 1 } @wrong;

    is(join(' ', sort keys %found), $expected,
       $expected eq '' ? "right: $line" : "wrong: $line");
}


# an entry that contradicts itself

my %case = (open => 'yes', verdict => 'human', provider => '');
my %entry = (%case, person => 92, reasons => '', client => '');

is_deeply([ Test::MailPing::Truth::differences(\%case, \%entry) ], [],
          'an entry that agrees');

for my $wrong ([ person => 79 ], [ person => '' ]) {
    isnt(join(', ', Test::MailPing::Truth::differences(
            \%case, { %entry, @$wrong })),
         '', "person \"$wrong->[1]\" of \"yes\"");
}

isnt(join(', ', Test::MailPing::Truth::differences(
        { %case, open => 'maybe', verdict => 'shielded' },
        { %entry, open => 'maybe', verdict => 'shielded', person => 50 })),
     '', 'a score of "shielded"');


# lines that cannot be read

for my $line (
    [ 'gmail  google  1h  gmail  yes  proxied', qr/columns/ ],
    [ "$right  >=95  by:a", qr/columns/ ],
    [ 'gmial  google  1h  gmail  yes  proxied  gmail', qr/fetcher "gmial"/ ],
    [ 'gmail PUT  google  1h  gmail  yes  proxied  gmail', qr/word "PUT"/ ],
    [ 'gmail -Accept  google  1h  gmail  yes  proxied  gmail',
      qr/no header "accept"/ ],
    [ 'gmail +Accept  google  1h  gmail  yes  proxied  gmail',
      qr/not a header/ ],
    [ 'gmail  googel  1h  gmail  yes  proxied  gmail', qr/place "googel"/ ],
    [ 'gmail  google > googel  1h  gmail  yes  proxied  gmail',
      qr/place "googel"/ ],
    [ 'gmail  google+5  1h  gmail  yes  proxied  gmail', qr/place/ ],
    [ 'gmail  google  1y  gmail  yes  proxied  gmail', qr/age "1y"/ ],
    [ 'gmail  google  1h  gmial  yes  proxied  gmail', qr/hint "gmial"/ ],
    [ 'gmail  google  1h  gmail  ja   proxied  gmail', qr/open "ja"/ ],
    [ 'gmail  google  1h  gmail  yes  proxy    gmail', qr/verdict "proxy"/ ],
    [ "$right  >95", qr/word ">95"/ ],
) {
    eval { $truth->add('control', $line->[0]) };
    like($@, $line->[1], "not read: $line->[0]");
}


# a place gives each case a network of its own, and says when it has no more

$truth->place(small => 64496, '203.0.113.0/24');
$truth->add('small', join("\n", ('chrome  small  1h  -  yes  human  -') x 4));

ok(!eval { $truth->run() }, 'a fourth case in one network');
like($@, qr/"small" has too few networks/, 'its message');

$truth->done();
