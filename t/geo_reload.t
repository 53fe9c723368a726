#!/usr/bin/env perl

# Copyright (C) MailPing

# A database that is replaced, by rename or in place, is in use in all workers
# within ten seconds and without a signal to nginx; what was left by a killed
# worker, and a worker that ends meanwhile, do not change that.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";

use Test::MailPing qw(wait_for);
use Test::MailPing::Geo;
use Test::MailPing::MMDB qw(mmdb mmdb_write);


my $t = Test::MailPing->new();
my $file = $t->prefix() . '/asn.mmdb';


sub conf {
    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_geoip asn=%%PREFIX%%/asn.mmdb;
    mailping_spool %%SPOOL%% size=32m sync=off;
    mailping_key 1 %%KEYFILE%%;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;

    server {
        listen 127.0.0.1:%%PORT%% reuseport;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END
}


sub in_place {
    my ($bytes, $pause) = @_;

    open(my $fh, '+<:raw', $file) or die "open(\"$file\"): $!\n";
    truncate($fh, 0);
    $pause->();

    my $half = length($bytes) / 2;

    syswrite($fh, substr($bytes, 0, $half));
    $pause->();
    syswrite($fh, substr($bytes, $half));
    close($fh);
}


mmdb_write($file, asn_database(1), epoch => 1001);

$t->write_conf(conf());
$t->start();

my @workers = sort { $a <=> $b } $t->workers();

my ($status) = databases($t);

is($status->{database}, 'asn', 'status: which');
is($status->{file}, $file, 'status: file');
is($status->{type}, 'GeoLite2-ASN', 'status: type');
is($status->{build}, 1001, 'status: build');
cmp_ok($status->{age}, '>=', time() - 1001 - 60, 'status: age');
is($status->{reloaded}, 0, 'status: not reloaded');
ok(!$status->{stale}, 'status: not stale');


# by rename

mmdb_write($file, asn_database(2), epoch => 1002);
ok(all_have($t, 1002, 10), 'replaced by rename within ten seconds');

is(scalar(my @told = $t->log_lines(qr/"$file" reloaded/)), 1, 'told once');
is(scalar(grep { /^geo-asn-.*\.mmdb$/ } copies($t)), 1, 'one copy');
cmp_ok((databases($t))[0]{reloaded}, '>', time() - 60, 'status: reloaded');


# in place, under traffic

my @bad;
my $opens = 0;

sub traffic {
    for my $n (0 .. 199) {
        my $r = eval {
            $t->get('/o/' . $t->mint(id => 'n' . ++$opens) . '.gif',
                    header => [ 'X-Real-IP' => "10.$n.0.1" ]);
        };

        push(@bad, $r ? $r->status() : $@) if !$r || $r->status() != 200;
    }
}

in_place(mmdb(asn_database(3), epoch => 1003), \&traffic);
traffic();

ok(all_have($t, 1003, 10), 'replaced in place within ten seconds');
is_deeply(\@bad, [], 'all answered meanwhile');
is(scalar(grep { /^geo-asn-.*\.mmdb$/ } copies($t)), 1, 'one copy');


# a leftover of a worker that was killed while it copied

$t->write_file('spool/geo-asn.tmp', 'leftover');
chown((getpwnam('nobody'))[2, 3], $t->spool() . '/geo-asn.tmp');

mmdb_write($file, asn_database(6), epoch => 1006);
ok(all_have($t, 1006, 10), 'a leftover is no obstacle');


is_deeply([ sort { $a <=> $b } $t->workers() ], \@workers,
          'the workers are the same');


# a new worker inherits the master's first copy, and finds the newest itself

my ($build) = map { $_->{build} } databases($t);

$t->kill9($workers[0]);
ok(wait_for(sub { $t->workers() == 2 }), 'a worker is started again');
ok(all_have($t, $build, 10), 'and has the newest database');


# a worker ends while its copy is under way

mmdb_write($file, asn_database(8), epoch => 1008);
sleep(3);
ok($t->reload(), 'a reload during the change');
ok(all_have($t, 1008, 10), 'after it the newest database');


$t->done();
