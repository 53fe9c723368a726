#!/usr/bin/env perl

# Copyright (C) MailPing

# A replaced database that is broken, missing or unreadable leaves the old one
# in use, and one worker says so once; a good one is taken again.

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

    server {
        listen 127.0.0.1:%%PORT%% reuseport;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END
}


sub stays {
    my ($build, $message) = @_;

    ok(wait_for(sub { $t->log_lines($message) }), "told: $message");

    # longer than both workers need for another two looks

    sleep(4.5);

    is(scalar(my @lines = $t->log_lines($message)), 1, 'once');

    is(scalar(grep { $_->{build} != $build } databases($t)), 0,
       'the old one stays');
    is(scalar(grep { !$_->{stale} } databases($t)), 0, 'and is stale');
}


mmdb_write($file, asn_database(1), epoch => 1001);

$t->write_conf(conf());
$t->start();

# broken

my $bytes = mmdb(asn_database(4), epoch => 1004);

$t->write_file('new', substr($bytes, 0, length($bytes) - 100));
rename($t->prefix() . '/new', $file);

stays(1001, qr/"$file" is broken, the old one is kept: \w/);
is(scalar(grep { /tmp/ } copies($t)), 0, 'no half copy is left');

mmdb_write($file, asn_database(4), epoch => 1004);
ok(all_have($t, 1004, 10), 'repaired');


# gone

unlink($file);
stays(1004, qr/"$file" cannot be reloaded.*stat\(\) failed \(2:/);

mmdb_write($file, asn_database(5), epoch => 1005);
ok(all_have($t, 1005, 10), 'back again');


# unreadable for workers

SKIP: {
    skip('only root opens what its workers cannot', 6) if $> != 0;

    mmdb_write("$file.new", asn_database(6), epoch => 1006);
    chmod(0600, "$file.new");
    rename("$file.new", $file);

    stays(1005, qr/"$file" cannot be reloaded.*open\(\) failed \(13:/);

    chmod(0644, $file);
    ok(all_have($t, 1006, 20), 'readable later');
}


$t->done();
