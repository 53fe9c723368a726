#!/usr/bin/env perl

# Copyright (C) MailPing

# No built-in list of networks holds one that belongs to nobody in particular:
# private, documentation, 6to4 and the like (IANA's special-purpose
# registries).  Published lists do, and everybody there would be misjudged.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Socket qw(AF_INET AF_INET6 inet_pton);
use Test::More;
use Test::MailPing qw(repository);


my @special = qw(
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16
    172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.168.0.0/16 198.18.0.0/15
    198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    ::/8 64:ff9b::/96 100::/64 2001::/32 2001:db8::/32 2002::/16 fc00::/7
    fe80::/10 ff00::/8
);


sub bits {
    my ($cidr) = @_;

    my ($address, $length) = $cidr =~ m|^([0-9a-f.:]+)/(\d+)$|i
                             or return undef;
    my $packed = inet_pton($address =~ /:/ ? AF_INET6 : AF_INET, $address)
                 // return undef;

    return ($address =~ /:/ ? '6' : '4')
           . substr(unpack('B*', $packed), 0, $length);
}


# prefixes overlap when one begins with the other

sub overlaps {
    my ($x, $y) = @_;

    return index($x, $y) == 0 || index($y, $x) == 0;
}


my @bits = map { bits($_) } @special;

sub wrong {
    my ($text) = @_;

    my @wrong;

    for my $word ($text =~ m|^[^#\n]*|mg) {
        for my $cidr (split(' ', $word)) {
            my $bits = bits($cidr) // next;

            push(@wrong, $cidr) if grep { overlaps($bits, $_) } @bits;
        }
    }

    return @wrong;
}


my $n = 0;

for my $path (glob(repository() . '/ngx_mailping_module/rules/*')) {
    open(my $file, '<', $path) || die "cannot open $path: $!\n";
    my $text = do { local $/; <$file> };

    $n += () = $text =~ m|^[0-9a-f.:]+/\d+|mgi;

    is_deeply([ wrong($text) ], [], $path =~ s|.*/||r);
}

cmp_ok($n, '>', 10_000, "$n networks looked at");

is_deeply([ wrong("192.0.0.0/8 # 10.0.0.0/8\n2002:c000::/20\n8.8.8.0/24\n") ],
          [ '192.0.0.0/8', '2002:c000::/20' ], 'the control: they are found');

done_testing();
