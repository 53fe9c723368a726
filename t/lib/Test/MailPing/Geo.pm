package Test::MailPing::Geo;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Geo - databases that are replaced below a running nginx

=cut

use strict;
use warnings;

use Exporter qw(import);
use Test::MailPing qw(wait_for);
use Test::MailPing::MMDB qw(asn_record);
use Time::HiRes qw(sleep);

our @EXPORT = qw(asn_database databases all_have copies);


=head1 FUNCTIONS

=over

=item asn_database(ASN)

Type and networks of a database, for L<Test::MailPing::MMDB>, which is larger
than one piece of a copy.

=cut

sub asn_database {
    my ($asn) = @_;

    return ('GeoLite2-ASN',
            [ [ '192.0.2.0/24', asn_record($asn, "net $asn") ],
              map { [ "10.$_.0.0/16", asn_record($_ + 1, "net $_" x 500) ] }
                  0 .. 99 ]);
}


=item databases(T)

The first database as the status shows it, by the answers of different
workers: reuseport spreads connections over them.

=cut

sub databases {
    my ($t) = @_;

    return map { $t->status()->{databases}[0] } 1 .. 12;
}


=item all_have(T, BUILD, SECONDS)

Waits until all workers use the database of this epoch.

=cut

sub all_have {
    my ($t, $build, $seconds) = @_;

    return wait_for(sub {
        my $all = !grep { $_->{build} != $build || $_->{stale} } databases($t);
        sleep(0.1) if !$all;
        $all;
    }, $seconds);
}


=item copies(T)

The names of the copies in the spool directory.

=back

=cut

sub copies {
    my ($t) = @_;

    return map { s{.*/}{}r } glob($t->spool() . '/geo-*');
}


1;
