#!/usr/bin/env perl

# Copyright (C) MailPing

# Programs that update databases replace a symbolic link, or the file behind
# it: either is noticed.  A spool directory without room for the copy leaves
# the old one in use, and no half copy.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";

use Test::MailPing qw(wait_for run_command);
use Test::MailPing::MMDB qw(mmdb_write asn_record);


my $t = Test::MailPing->new();
my $file = $t->prefix() . '/asn.mmdb';


sub write_database {
    my ($name, $build, $networks) = @_;

    mmdb_write("$file.$name", 'GeoLite2-ASN',
               [ map { [ "10.$_.0.0/16", asn_record($_ + 1, "$_" x 60_000) ] }
                     1 .. $networks ], epoch => $build);
}


sub link_to {
    my ($name) = @_;

    symlink("$file.$name", "$file.link") || die "symlink(): $!\n";
    rename("$file.link", $file) || die "rename(): $!\n";
}


sub has {
    my ($build) = @_;

    return wait_for(sub {
        my $db = $t->status()->{databases}[0];
        my $same = $db->{build} == $build && !$db->{stale};

        sleep(0.1) if !$same;
        $same;
    }, 10);
}


write_database('1', 1001, 1);
link_to('1');

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_geoip asn=asn.mmdb;
    mailping_spool %%SPOOL%% size=2m sync=off;
    mailping_key 1 %%KEYFILE%%;

    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

# a spool directory of its own small file system

my $mounted = $> == 0 && mkdir($t->spool(), 0700)
              && (run_command('mount', '-t', 'tmpfs', '-o',
                              'size=8m,mode=0700,uid='
                              . (getpwnam('nobody'))[2],
                              'tmpfs', $t->spool()))[0] == 0;

sub unmount {
    run_command('umount', '-l', $t->spool()) if $mounted;
    $mounted = 0;
}

END { unmount(); }

$t->start();

ok(has(1001), 'the file behind a link');

write_database('2', 1002, 1);
link_to('2');
ok(has(1002), 'another link');

SKIP: {
    skip('no small file system', 4) if !$mounted;

    write_database('2', 1003, 90);

    my $full = qr/cannot be reloaded.*write\(\) of the copy failed \(28:/;

    ok(wait_for(sub { $t->log_lines($full) }, 10), 'a full file system');

    is_deeply([ glob($t->spool() . '/geo-*.tmp') ], [], 'no half copy');
    is($t->status()->{databases}[0]{build}, 1002, 'the old one stays');

    write_database('2', 1004, 2);
    ok(has(1004), 'another file behind the link, which fits');
}

$t->stop();
unmount();

$t->done();
