#!/usr/bin/env perl

# Copyright (C) MailPing

# Databases of t/lib/Test/MailPing/MMDB.pm are read by a program that is not
# ours, mmdblookup, in every size of records and both IP versions.

use strict;
use warnings;

use FindBin;
use File::Temp ();
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";

use Test::MailPing qw(run_command);
use Test::MailPing::MMDB qw(mmdb mmdb_write asn_record city_record);


my ($reader) = grep { -x } map { "$_/mmdblookup" } split(/:/, $ENV{PATH});

plan(skip_all => 'no mmdblookup, it is in the package mmdb-bin')
    if !defined $reader;

my $dir = File::Temp::tempdir(CLEANUP => 1);
my $file = "$dir/test.mmdb";


# the value as mmdblookup shows it, without blanks; '' when there is none

sub look {
    my ($address, @path) = @_;

    my ($code, $out) = run_command($reader, '-f', $file, '-i', $address,
                                   @path);

    return '' if $out =~ /Could not find an entry/;
    return "code $code: $out" if $code;

    $out =~ s/\s+//g;

    return $out;
}


my @asn = ('autonomous_system_number');


for my $bits (24, 28, 32) {

    mmdb_write($file, 'GeoLite2-ASN', [
        [ '192.0.2.128/25', asn_record(3, 'three') ],
        [ '192.0.2.0/24', asn_record(1, 'one') ],
        [ '198.51.100.7/32', asn_record(4200000000, 'four') ],
        [ '2001:db8::/32', asn_record(5, 'five') ],
        [ '2001:db8:1::/48', asn_record(6, 'six') ],
        [ '203.0.113.0/24', asn_record(7, 'first') ],
        [ '203.0.113.0/24', asn_record(8, 'last') ],
    ], bits => $bits, epoch => 1700000000);

    for my $case ([ '192.0.2.1', '1<uint32>', 'a prefix' ],
                  [ '192.0.2.127', '1<uint32>', 'below a longer one' ],
                  [ '192.0.2.128', '3<uint32>', 'the longer one' ],
                  [ '192.0.3.0', '', 'beside' ],
                  [ '198.51.100.7', '4200000000<uint32>', 'one address' ],
                  [ '198.51.100.6', '', 'beside one address' ],
                  [ '203.0.113.9', '8<uint32>', 'of equal ones the last' ],
                  [ '2001:db8::1', '5<uint32>', 'IPv6' ],
                  [ '2001:db8:1::1', '6<uint32>', 'IPv6, longer' ],
                  [ '2001:db9::', '', 'IPv6, beside' ])
    {
        is(look($case->[0], @asn), $case->[1], "$bits bits: $case->[2]");
    }

    my ($code, $out) = run_command($reader, '-v', '-f', $file,
                                   '-i', '192.0.2.1');

    like($out, qr/Record size:\s+$bits bits/, "$bits bits in the metadata");
    like($out, qr/Build epoch:\s+1700000000 /, "$bits bits: the build time");
    like($out, qr/Type:\s+GeoLite2-ASN/, "$bits bits: the type");
}


mmdb_write($file, 'ip4', [ [ '10.0.0.0/8', { a => 'b' } ] ], ip => 4);

is(look('10.1.2.3', 'a'), '"b"<utf8_string>', 'IPv4 only: found');
is(look('11.1.2.3', 'a'), '', 'IPv4 only: not found');
like(look('::1', 'a'), qr/^code/, 'IPv4 only: cannot be asked for IPv6');


mmdb_write($file, 'nothing', []);
is(look('192.0.2.1'), '', 'an empty database');

mmdb_write($file, 'all', [ [ '::/0', { a => 1 } ] ]);
is(look('192.0.2.1', 'a'), '1<uint32>', 'one record for everything');


my $long = 'x' x 70000;

mmdb_write($file, 'GeoLite2-City', [
    [ '192.0.2.0/24', city_record('CH', 'ZH', "Z\x{fc}rich \x{2713}") ],
    [ '198.51.100.0/24', {
        texts  => [ '', 'x' x 28, 'x' x 29, 'x' x 284, 'x' x 285,
                    'x' x 65820, $long ],
        whole  => [ 0, 255, 256, 2 ** 32 - 1, 2 ** 40, -7 ],
        broken => 1.5,
        digits => '42',
        yes    => $JSON::PP::true,
        no     => $JSON::PP::false,
        keys   => { map { ("k$_" => $_) } 1 .. 40 },
    } ],
]);

is(look('192.0.2.1', qw(country iso_code)), '"CH"<utf8_string>', 'a country');
is(look('192.0.2.1', qw(subdivisions 0 iso_code)), '"ZH"<utf8_string>',
   'a region');
is(look('192.0.2.1', qw(city names en)),
   "\"Z\xc3\xbcrich\xe2\x9c\x93\"<utf8_string>", 'a city in UTF-8');

my $at = '198.51.100.1';
my @len = (0, 28, 29, 284, 285, 65820, 70000);

for my $i (0 .. $#len) {
    is(length(look($at, 'texts', $i)), $len[$i] + length('""<utf8_string>'),
       "a text of $len[$i] bytes");
}

is(look($at, 'whole', 0), '0<uint32>', 'zero');
is(look($at, 'whole', 2), '256<uint32>', 'two bytes');
is(look($at, 'whole', 3), '4294967295<uint32>', 'the largest uint32');
is(look($at, 'whole', 4), '1099511627776<uint64>', 'uint64');
is(look($at, 'whole', 5), '-7<int32>', 'int32');
is(look($at, 'broken'), '1.500000<double>', 'double');
is(look($at, 'digits'), '"42"<utf8_string>', 'digits in quotes are a text');
is(look($at, 'yes'), 'true<boolean>', 'true');
is(look($at, 'no'), 'false<boolean>', 'false');
is(look($at, 'keys', 'k40'), '40<uint32>', 'a map of 40 keys');


for my $case ([ [ [ '192.0.2.1/24', {} ] ], {}, qr/bits after the prefix/ ],
              [ [ [ '192.0.2.0/33', {} ] ], {}, qr/prefix too long/ ],
              [ [ [ '192.0.2/24', {} ] ], {}, qr/not an address/ ],
              [ [ [ 'localhost', {} ] ], {}, qr/not a CIDR/ ],
              [ [ [ '::/8', {} ] ], { ip => 4 }, qr/IPv6 in an IPv4/ ],
              [ [ [ '::/8', { a => undef } ] ], {}, qr/not defined/ ],
              [ [ [ '::/8', \1 ] ], {}, qr/no type/ ],
              [ [], { bits => 16 }, qr/no such record size/ ],
              [ [], { ip => 5 }, qr/no such IP version/ ])
{
    my ($records, $options, $message) = @$case;

    eval { mmdb('x', $records, %$options) };
    like($@, $message, "refused: $message");
}


# the reader has to notice damage, or all of the above proves nothing

my $bytes = mmdb('GeoLite2-ASN', [ [ '192.0.2.0/24', asn_record(1, 'one') ] ]);

for my $case ([ 'no metadata', substr($bytes, 0, 100) ],
              [ 'a tree of zeros',
                "\0" x 200 . substr($bytes, 200) ])
{
    open(my $fh, '>:raw', $file) or die "open(\"$file\"): $!\n";
    print $fh $case->[1];
    close($fh);

    isnt(look('192.0.2.1', @asn), '1<uint32>', "noticed: $case->[0]");
}


# the same from a shell

my $json = '[["192.0.2.0/24",{"autonomous_system_number":64496,'
           . '"autonomous_system_organization":"7"}]]';

open(my $pipe, '|-', $^X, "$FindBin::Bin/lib/mmdb-make", 'GeoLite2-ASN', $file)
    or die "cannot run mmdb-make: $!\n";
print $pipe $json;
ok(close($pipe), 'mmdb-make');

is(look('192.0.2.1', @asn), '64496<uint32>', 'mmdb-make: a number');
is(look('192.0.2.1', 'autonomous_system_organization'), '"7"<utf8_string>',
   'mmdb-make: a text');

done_testing();
