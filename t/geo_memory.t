#!/usr/bin/env perl

# Copyright (C) MailPing

# Without a spool directory each worker copies a replaced database into sealed
# memory of its own: mailping_explain alone, in two workers.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";

use Test::MailPing qw(wait_for);
use Test::MailPing::MMDB qw(mmdb_write asn_record);


my $t = Test::MailPing->new();
my $file = $t->prefix() . '/asn.mmdb';


sub database {
    my ($asn) = @_;

    mmdb_write($file, 'GeoLite2-ASN',
               [ [ '192.0.2.0/24', asn_record($asn, "net $asn") ] ]);
}


# what the workers know: reuseport spreads connections over them

sub facts {
    my %seen;

    for (1 .. 12) {
        my $r = $t->get('/why?ip=192.0.2.1');
        my $j = JSON::PP->new()->utf8()->decode($r->body());
        my $fact = $j->{facts}{'asn:replaced'};

        $seen{!defined $fact ? 'unknown' : $fact ? 'true' : 'false'} = 1;
    }

    return join(' ', sort keys(%seen));
}


sub all_say {
    my ($expected) = @_;

    return wait_for(sub {
        my $same = facts() eq $expected;
        sleep(0.1) if !$same;
        $same;
    }, 10);
}


# the mappings of copies, and what else a process has of them

sub copies {
    my ($pid) = @_;

    open(my $maps, '<', "/proc/$pid/maps") or return "no process $pid";

    my $mapped = grep { m{/memfd:mailping} } <$maps>;
    my $open = grep { (readlink($_) // '') =~ /memfd/ } glob("/proc/$pid/fd/*");

    return "$mapped mapped, $open open";
}


$t->write_file('site.rules', <<'END');
asn  replaced  64497
rule replaced  network  -  scanner+1  asn:replaced
END

database(64496);

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_geoip asn=asn.mmdb;
    mailping_rules site.rules;

    server {
        listen 127.0.0.1:%%PORT%% reuseport;
        location = /why { mailping_explain; }
    }
}
END

$t->start();

is(facts(), 'false', 'the first database');

for my $n (1 .. 2) {
    database(64497);
    ok(all_say('true'), "replaced within ten seconds, $n");

    database(64496);
    ok(all_say('false'), "and again, $n");
}

sub one_copy {
    my ($when) = @_;

    for my $pid ($t->pid(), $t->workers()) {
        is(copies($pid), '1 mapped, 0 open', "a process has one copy $when");
    }
}


one_copy('after replacements');

for (1 .. 3) {
    $t->reload() || die "no reload\n";
}

is(facts(), 'false', 'the same database');
one_copy('after reloads');

ok(!-e $t->spool(), 'no directory was made');

$t->done();
