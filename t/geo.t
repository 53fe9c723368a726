#!/usr/bin/env perl

# Copyright (C) MailPing

# mailping_geoip: which databases are refused, with what message, and what an
# event says of IPv4 and IPv6 addresses; damaged databases crash nothing.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";

use Test::MailPing qw(wait_for shared);
use Test::MailPing::MMDB qw(mmdb mmdb_write asn_record city_record);


my $agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 '
            . 'Thunderbird/128.5.0';


sub conf {
    my ($geoip) = @_;

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    $geoip
    mailping_spool %%SPOOL%% size=32m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;

    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; mailping_privacy full; }
        location = /status { mailping_status; }
    }
}
END
}


# what the event says of an open from this address

sub place {
    my ($t, $ip) = @_;

    my $id = 'geo' . ++$t->{opens};
    my $token = $t->mint(id => $id, sent => time() - 86400);

    my $r = $t->get("/o/$token.gif",
                    header => [ 'User-Agent' => $agent,
                                'Accept' => 'image/png,*/*;q=0.5',
                                'X-Real-IP' => $ip ]);

    is($r->status(), 200, "the pixel for $ip");

    return wait_for(sub {
        (grep { $_->{id} eq $id } $t->redis()->entries())[0];
    }) // {};
}


my $t = Test::MailPing->new();
my $dir = $t->prefix();


# configuration

mmdb_write("$dir/asn.mmdb", 'GeoLite2-ASN', [
    [ '192.0.2.0/24', asn_record(64496, 'Example Net') ],
    [ '192.0.2.128/25', asn_record(4200000000, 'Inner Net') ],
    [ '198.51.100.0/24', asn_record(64497, 'x' . "\x{fc}" x 100) ],
    [ '203.0.113.0/24', asn_record(64500, "\x{20ac}" x 42 . 'ab') ],
    [ '2001:db8::/32', asn_record(64498, 'Example Six') ],
]);

mmdb_write("$dir/city.mmdb", 'GeoLite2-City', [
    [ '192.0.2.0/24', city_record('CH', 'ZH', "Z\x{fc}rich") ],
    [ '198.51.100.0/24', {
        registered_country => { iso_code => 'DE' },
        subdivisions => [ { names => { en => 'Saxony' } } ],
    } ],
    [ '2001:db8::/32', city_record('JP', '13', 'Tokyo') ],
]);

mmdb_write("$dir/country.mmdb", 'GeoLite2-Country', [
    [ '192.0.2.0/24', city_record('FR') ],
    [ '203.0.113.0/24', city_record('SE') ],
]);

mmdb_write("$dir/custom.mmdb", 'Our-Own', [
    [ '0.0.0.0/0', asn_record(1, 'one') ],
]);

mmdb_write("$dir/asn4.mmdb", 'GeoLite2-ASN', [
    [ '192.0.2.0/24', asn_record(64496, 'Example Net') ],
], ip => 4);

my $bytes = mmdb('GeoLite2-ASN', [
    map { [ "10.$_.0.0/16", asn_record($_ + 1, "net $_") ] } 0 .. 255
]);

$t->write_file('truncated.mmdb', substr($bytes, 0, length($bytes) - 200));
$t->write_file('zeros.mmdb', "\0" x 2000 . substr($bytes, 2000));
$t->write_file('text.mmdb', "this is no database\n" x 100);
$t->write_file('empty.mmdb', '');

for my $case (
    [ 'mailping_geoip;', qr/invalid number of arguments in "mailping_geoip"/ ],
    [ 'mailping_geoip asn=;', qr/invalid parameter "asn="/ ],
    [ 'mailping_geoip asn.mmdb;', qr/invalid parameter "asn.mmdb"/ ],
    [ 'mailping_geoip isp=asn.mmdb;', qr/invalid parameter "isp=asn.mmdb"/ ],
    [ 'mailping_geoip asn=asn.mmdb asn=asn4.mmdb;',
      qr/parameter "asn=asn4.mmdb" is duplicate/ ],
    [ 'mailping_geoip asn=asn.mmdb; mailping_geoip city=city.mmdb;',
      qr/"mailping_geoip" directive is duplicate/ ],
    [ 'mailping_geoip asn=none.mmdb;',
      qr{"$dir/none.mmdb" cannot be used for "asn": open\(\) failed \(2: No} ],
    [ "mailping_geoip asn=$dir;", qr/"asn": it is not a regular file/ ],
    [ 'mailping_geoip city=empty.mmdb;', qr/"city": it is empty/ ],
    [ 'mailping_geoip asn=truncated.mmdb;',
      qr{truncated.mmdb" cannot be used for "asn": .*metadata}i ],
    [ 'mailping_geoip asn=zeros.mmdb;',
      qr{zeros.mmdb" cannot be used for "asn": .*search tree}i ],
    [ 'mailping_geoip country=text.mmdb;',
      qr{text.mmdb" cannot be used for "country": .*metadata}i ],
    [ 'mailping_geoip asn=city.mmdb;',
      qr/"asn": it has no autonomous system numbers/ ],
    [ 'mailping_geoip city=asn.mmdb;',
      qr/"city": it has neither countries nor cities/ ],
    [ 'mailping_geoip country=asn.mmdb;',
      qr/"country": it has no countries/ ],
    [ 'mailping_geoip asn=asn.mmdb city=truncated.mmdb;',
      qr/truncated.mmdb" cannot be used for "city"/ ])
{
    my ($geoip, $message) = @$case;
    my ($code, $out) = $t->check_conf(conf($geoip));

    is($code, 1, "refused: $geoip");
    like($out, $message, 'and says why');
    like($out, qr/\[emerg\].* in .*check\.conf:\d+/, 'and where');
}

for my $geoip ('mailping_geoip asn=asn.mmdb;',
               'mailping_geoip city=city.mmdb;',
               'mailping_geoip country=country.mmdb;',
               'mailping_geoip country=city.mmdb;',
               "mailping_geoip country=country.mmdb asn=$dir/asn4.mmdb "
               . 'city=city.mmdb;')
{
    my ($code, $out) = $t->check_conf(conf($geoip));

    is($code, 0, "accepted: $geoip") || diag($out);
    unlike($out, qr/mailping database/, 'without a word');
}

{
    my ($code, $out) = $t->check_conf(conf('mailping_geoip asn=custom.mmdb;'));

    is($code, 0, 'a type name of its own is accepted');
    like($out, qr/\[warn\].*custom.mmdb" .* unusual type "Our-Own"/,
         'with a warning');
}

SKIP: {
    skip('only root opens what its workers cannot', 4) if $> != 0;

    mmdb_write("$dir/closed.mmdb", 'GeoLite2-ASN', []);
    chmod(0600, "$dir/closed.mmdb");

    my ($code, $out) = $t->check_conf(conf('mailping_geoip asn=closed.mmdb;'));

    is($code, 0, 'a file that only root can read is accepted');
    like($out, qr/\[warn\].*closed.mmdb" is not readable by user "nobody"/,
         'with a warning');

    mkdir("$dir/closed", 0700);
    mmdb_write("$dir/closed/asn.mmdb", 'GeoLite2-ASN', []);

    ($code, $out) = $t->check_conf(conf('mailping_geoip asn=closed/asn.mmdb;'));

    is($code, 0, 'a directory that only root can enter is accepted');
    like($out, qr/\[warn\].*closed\/asn.mmdb" is not readable by user/,
         'with a warning');
}


# look-ups

my $redis = $t->redis();

$t->write_conf(conf('mailping_geoip asn=asn.mmdb city=city.mmdb '
                    . 'country=country.mmdb;'));
$t->start();

for my $case (
    [ '192.0.2.1', 64496, 'Example Net', 'CH', 'ZH', "Z\xc3\xbcrich" ],
    [ '192.0.2.129', 4200000000, 'Inner Net', 'CH', 'ZH', "Z\xc3\xbcrich" ],
    [ '::ffff:192.0.2.1', 64496, 'Example Net', 'CH', 'ZH', "Z\xc3\xbcrich" ],
    [ '198.51.100.1', 64497, 'x' . "\xc3\xbc" x 63, 'DE', 'Saxony', '' ],
    [ '203.0.113.1', 64500, "\xe2\x82\xac" x 42 . 'ab', 'SE', '', '' ],
    [ '2001:db8::1', 64498, 'Example Six', 'JP', '13', 'Tokyo' ],
    [ '10.0.0.1', '', '', '', '', '' ],
    [ '2001:db9::1', '', '', '', '', '' ])
{
    my ($ip, @expected) = @$case;
    my $event = place($t, $ip);

    is($event->{verdict}, 'human', "$ip: a person, so the place is told");

    for my $name (qw(asn org country region city)) {
        is($event->{$name}, shift(@expected), "$ip: $name");
    }
}


# a reload copies anew and gives the old copies back

sub copies {
    my ($pid) = @_;

    open(my $maps, '<', "/proc/$pid/maps") or return -1;

    return scalar(grep { m{memfd:mailping} } <$maps>);
}

my $copies = copies($t->pid());

is($copies, 3, 'the master has three copies');

for my $n (1 .. 5) {
    ok($t->reload(), "reload $n");
}

ok(wait_for(sub { copies($t->pid()) == 3 }), 'and still three');

is(place($t, '192.0.2.1')->{asn}, 64496, 'look-ups go on');


# a reload with a database that cannot be used leaves the workers alone

rename("$dir/asn.mmdb", "$dir/asn.good");
$t->write_file('asn.mmdb', substr($bytes, 0, 500));
$t->allow(qr/\[emerg\].*"$dir\/asn.mmdb" cannot be used for "asn"/);

ok(!$t->reload(), 'a reload with a broken database is refused');
is(place($t, '192.0.2.1')->{asn}, 64496, 'the old one stays');

rename("$dir/asn.good", "$dir/asn.mmdb");


# an IPv4 database knows nothing of IPv6

$t->write_conf(conf('mailping_geoip asn=asn4.mmdb;'));
ok($t->reload(), 'a reload with another database');

is(place($t, '192.0.2.1')->{asn}, 64496, 'IPv4 only: IPv4');
is(place($t, '2001:db8::1')->{asn}, '', 'IPv4 only: IPv6');


# MaxMind's own files, good and bad: refused or used, but never a crash

SKIP: {
    my $shared = shared();

    skip('no MaxMind files', 1) if !defined $shared || !-d "$shared/data/mmdb";

    my ($used, $refused) = (0, 0);
    my @failed;

    for my $file (glob("$shared/data/mmdb/*-data/*.mmdb"),
                  glob("$shared/data/mmdb/*-data/*/*.mmdb"))
    {
        for my $kind (qw(asn city country)) {
            my ($code, $out)
                = $t->check_conf(conf("mailping_geoip $kind=$file;"));

            if ($code == 1 && $out =~ /cannot be used for "$kind": \w/) {
                $refused++;
                next;
            }

            if ($code != 0) {
                push(@failed, "$kind=$file: $code $out");
                next;
            }

            $used++;

            $t->write_conf(conf("mailping_geoip $kind=$file;"));
            push(@failed, "$kind=$file: no reload") if !$t->reload();

            for my $ip (qw(1.1.1.1 81.2.69.160 2001:480:10::1 2a02::1)) {
                my $token = $t->mint(id => "bad$used");
                my $r = eval {
                    $t->get("/o/$token.gif", header => [ 'X-Real-IP', $ip ]);
                };

                push(@failed, "$kind=$file: no answer for $ip")
                    if !$r || $r->status() != 200;
            }
        }
    }

    is_deeply(\@failed, [], "MaxMind's files: $used used, $refused refused");
    cmp_ok($used, '>', 5, 'some can be used');
    cmp_ok($refused, '>', 20, 'some cannot');
}

$t->done();
