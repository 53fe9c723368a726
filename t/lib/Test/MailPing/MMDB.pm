package Test::MailPing::MMDB;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::MMDB - writes small MaxMind databases

=head1 SYNOPSIS

    use Test::MailPing::MMDB qw(mmdb mmdb_write asn_record city_record);

    mmdb_write('asn.mmdb', 'GeoLite2-ASN', [
        [ '192.0.2.0/24',  asn_record(64496, 'Example Net') ],
        [ '2001:db8::/32', asn_record(64497, 'Example Six') ],
    ]);

    mmdb_write('city.mmdb', 'GeoLite2-City', [
        [ '192.0.2.0/24', city_record('CH', 'ZH', 'Winterthur') ],
    ], epoch => 1700000000);

    # from a shell, JSON on the standard input:
    #   t/lib/mmdb-make GeoLite2-ASN asn.mmdb < asn.json

=head1 DESCRIPTION

Writes version 2.0 of the MaxMind DB file format: a binary tree over the bits
of the address, whose leaves point into a section of data, and metadata.  It is
made for tests and for the demo: the tree is built in memory, node by node.

A value is a hash, an array, a string (of characters, not of bytes), a number
(a scalar that Perl made as one: uint32 if it is whole and fits, else uint64,
int32 or double) or a JSON::PP boolean.

=cut

use strict;
use warnings;

use B ();
use Exporter qw(import);
use Socket qw(AF_INET AF_INET6 inet_pton);

our @EXPORT_OK = qw(mmdb mmdb_write asn_record city_record);

use constant {
    STRING  => 2,
    DOUBLE  => 3,
    UINT16  => 5,
    UINT32  => 6,
    MAP     => 7,
    INT32   => 8,
    UINT64  => 9,
    ARRAY   => 11,
    BOOLEAN => 14,
};

my $marker = "\xab\xcd\xefMaxMind.com";

# between the tree and the data
my $separator = "\0" x 16;


=head1 FUNCTIONS

=over

=item mmdb(TYPE, RECORDS, OPTIONS)

Returns the bytes of a database.  TYPE is its database_type.  RECORDS is a
list of [ CIDR, VALUE ]; longer prefixes win, of equal ones the last.  OPTIONS
are:

    ip => 6        6, where IPv4 lies at ::/96, or 4 for IPv4 only
    bits => 28     size of a record in the tree: 24, 28 or 32
    epoch => time  when it was built, Unix seconds
    languages => [ 'en' ]
    description => { en => '...' }

Dies when a record is not usable.

=cut

sub mmdb {
    my ($type, $records, %options) = @_;

    my %o = (ip => 6, bits => 28, epoch => time(), languages => ['en'],
             description => { en => "made by MailPing" }, %options);

    die "no such IP version: $o{ip}\n" if $o{ip} !~ /^[46]$/;
    die "no such record size: $o{bits}\n" if $o{bits} !~ /^(?:24|28|32)$/;

    my (@sorted, %offset);
    my $order = 0;
    my $data = '';

    for my $record (@$records) {
        my ($cidr, $value) = @$record;
        my $bits = _cidr($cidr, $o{ip});
        my $bytes = _encode($value);

        if (!exists $offset{$bytes}) {
            $offset{$bytes} = length($data);
            $data .= $bytes;
        }

        push @sorted, [ length($bits), $order++, $bits, $offset{$bytes} ];
    }

    # a node is [ left, right ]; a leaf is an offset, undef is nothing

    my $root = [ undef, undef ];

    for (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @sorted) {
        _insert($root, $_->[2], $_->[3]);
    }

    my @nodes = _number($root);
    my $count = @nodes;

    die "the database is too large for $o{bits} bits\n"
        if $count + length($separator) + length($data) >= 2 ** $o{bits};

    my %number = map { 0 + $nodes[$_] => $_ } 0 .. $#nodes;

    my $tree = '';

    for my $node (@nodes) {
        $tree .= _node($o{bits}, map {
            !defined $_ ? $count
            : ref $_    ? $number{0 + $_}
                        : $count + length($separator) + $_
        } @$node);
    }

    my $metadata = _map(
        node_count                  => _number_of(UINT32, $count),
        record_size                 => _number_of(UINT16, $o{bits}),
        ip_version                  => _number_of(UINT16, $o{ip}),
        database_type               => _encode("$type"),
        languages                   => _encode($o{languages}),
        binary_format_major_version => _number_of(UINT16, 2),
        binary_format_minor_version => _number_of(UINT16, 0),
        build_epoch                 => _number_of(UINT64, $o{epoch}),
        description                 => _encode($o{description}));

    return $tree . $separator . $data . $marker . $metadata;
}


=item mmdb_write(FILE, TYPE, RECORDS, OPTIONS)

Writes a database to FILE, which it replaces by rename().

=cut

sub mmdb_write {
    my ($file, @database) = @_;

    my $bytes = mmdb(@database);

    open my $fh, '>:raw', "$file.$$" or die "open(\"$file.$$\"): $!\n";
    print $fh $bytes or die "write(\"$file.$$\"): $!\n";
    close $fh or die "close(\"$file.$$\"): $!\n";

    rename "$file.$$", $file or die "rename(\"$file\"): $!\n";

    return length $bytes;
}


=item asn_record(NUMBER, ORGANIZATION)

A record as in GeoLite2-ASN.

=cut

sub asn_record {
    my ($number, $organization) = @_;

    return {
        autonomous_system_number       => 0 + $number,
        autonomous_system_organization => "$organization",
    };
}


=item city_record(COUNTRY, REGION, CITY)

A record as in GeoLite2-City, with the values that are not undefined: ISO
codes of country and region, English name of the city.

=back

=cut

sub city_record {
    my ($country, $region, $city) = @_;

    my %record;

    $record{country} = { iso_code => "$country" } if defined $country;
    $record{subdivisions} = [ { iso_code => "$region" } ] if defined $region;
    $record{city} = { names => { en => "$city" } } if defined $city;

    return \%record;
}


# the prefix as a string of 0 and 1

sub _cidr {
    my ($cidr, $ip) = @_;

    my ($address, $len) = $cidr =~ m|^([0-9a-fA-F:.]+)/(\d{1,3})$|
        or die "not a CIDR: $cidr\n";

    my $family = $address =~ /:/ ? AF_INET6 : AF_INET;
    my $packed = inet_pton($family, $address);

    die "not an address: $cidr\n" if !defined $packed;
    die "prefix too long: $cidr\n" if $len > 8 * length $packed;
    die "IPv6 in an IPv4 database: $cidr\n"
        if $ip == 4 && $family == AF_INET6;

    my $bits = unpack 'B*', $packed;

    die "bits after the prefix: $cidr\n" if substr($bits, $len) =~ /1/;

    $bits = substr $bits, 0, $len;

    return $ip == 6 && $family == AF_INET ? '0' x 96 . $bits : $bits;
}


# shorter prefixes have been inserted before

sub _insert {
    my ($node, $bits, $leaf) = @_;

    # the tree has no place for a leaf at its root

    if ($bits eq '') {
        @$node = ($leaf, $leaf);
        return;
    }

    my $last = chop $bits;

    for my $bit (split //, $bits) {
        my $child = $node->[$bit];

        if (!ref $child) {
            $child = [ $child, $child ];
            $node->[$bit] = $child;
        }

        $node = $child;
    }

    $node->[$last] = $leaf;
}


# all nodes, the root first

sub _number {
    my ($root) = @_;

    my @nodes = ($root);

    for (my $i = 0; $i < @nodes; $i++) {
        push @nodes, grep { ref } @{$nodes[$i]};
    }

    return @nodes;
}


sub _node {
    my ($bits, $left, $right) = @_;

    return pack 'NN', $left, $right if $bits == 32;

    my $l = substr pack('N', $left), 1;
    my $r = substr pack('N', $right), 1;

    return $l . $r if $bits == 24;

    # the byte between them has the high bits of both

    return $l . chr(($left >> 24) << 4 | $right >> 24) . $r;
}


sub _encode {
    my ($value) = @_;

    die "a value is not defined\n" if !defined $value;

    if (ref $value eq 'HASH') {
        return _map(map { $_ => _encode($value->{$_}) } sort keys %$value);
    }

    if (ref $value eq 'ARRAY') {
        return _control(ARRAY, scalar @$value)
               . join '', map { _encode($_) } @$value;
    }

    if (ref $value eq 'JSON::PP::Boolean') {
        return _control(BOOLEAN, $value ? 1 : 0);
    }

    die "no type for a value: $value\n" if ref $value;

    return _numeric($value) ? _number_as_fits($value) : _string($value);
}


sub _numeric {
    my ($value) = @_;

    my $flags = B::svref_2object(\$value)->FLAGS;

    return ($flags & (B::SVp_IOK | B::SVp_NOK)) && !($flags & B::SVf_POK);
}


sub _number_as_fits {
    my ($value) = @_;

    if ($value == int $value) {
        return _number_of(UINT32, $value) if $value >= 0 && $value < 2 ** 32;
        return _number_of(UINT64, $value) if $value >= 0 && $value < 2 ** 53;
        return _control(INT32, 4) . pack('l>', $value)
            if $value < 0 && $value >= -2 ** 31;
    }

    return _control(DOUBLE, 8) . pack('d>', $value);
}


# an unsigned number in as few bytes as it needs

sub _number_of {
    my ($type, $value) = @_;

    my $bytes = pack 'Q>', $value;

    $bytes =~ s/^\0+//;

    return _control($type, length $bytes) . $bytes;
}


sub _string {
    my ($value) = @_;

    utf8::encode($value);

    return _control(STRING, length $value) . $value;
}


# keys and encoded values, in this order

sub _map {
    my @pairs = @_;

    my $bytes = _control(MAP, @pairs / 2);

    while (my ($key, $value) = splice @pairs, 0, 2) {
        $bytes .= _string($key) . $value;
    }

    return $bytes;
}


sub _control {
    my ($type, $size) = @_;

    my ($short, $more);

    if ($size < 29) {
        ($short, $more) = ($size, '');

    } elsif ($size < 29 + 256) {
        ($short, $more) = (29, pack 'C', $size - 29);

    } elsif ($size < 285 + 65536) {
        ($short, $more) = (30, pack 'n', $size - 285);

    } elsif ($size < 65821 + 2 ** 24) {
        ($short, $more) = (31, substr pack('N', $size - 65821), 1);

    } else {
        die "a value is too large: $size\n";
    }

    # types beyond three bits follow in a byte of their own

    return $type < 8 ? chr($type << 5 | $short) . $more
                     : chr($short) . chr($type - 7) . $more;
}


1;
