#!/usr/bin/env perl

# Copyright (C) MailPing

# What each privacy mode keeps, also when token and location differ and with
# max; and that the whole client address is found nowhere after a run: not in
# Redis, not in the spool, not in log lines below debug level.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;
use Test::MailPing::MMDB qw(mmdb_write asn_record city_record);


my $t = Test::MailPing->new(log => 'info');
my $redis = $t->redis();

mmdb_write($t->path('asn.mmdb'), 'GeoLite2-ASN', [
    [ '198.51.100.0/24', asn_record(64496, 'Example Home') ],
    [ '2001:db8:77::/48', asn_record(64497, 'Example Six') ],
    [ '203.0.113.0/28', asn_record(36183, 'A relay, not in its list') ],
    [ '203.0.113.16/28', asn_record(22616, 'Zscaler, likewise') ],
    [ '203.0.113.32/28', asn_record(9009, 'A VPN, likewise') ],
    [ '203.0.113.48/28', asn_record(64498, 'Another home') ],
]);

mmdb_write($t->path('city.mmdb'), 'GeoLite2-City', [
    [ '198.51.100.0/24', city_record('CH', 'ZH', 'Winterthur') ],
    [ '203.0.113.0/24', city_record('CH', 'BE', 'Bern') ],
    # more exact than the masked network: must not be seen
    [ '198.51.100.77/32', city_record('LI', '11', 'Vaduz') ],
]);

my @modes = qw(full masked minimal day count off);
my $locations = '';

for my $mode (@modes) {
    $locations .= "location /$mode/ { mailping; mailping_privacy $mode; }\n";

    for my $max (@modes) {
        $locations .= "location /$mode-$max/ { mailping; "
                      . "mailping_privacy $mode max=$max; }\n";
    }
}

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    mailping_geoip asn=%%PREFIX%%/asn.mmdb city=%%PREFIX%%/city.mmdb;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    server {
        listen 127.0.0.1:%%PORT%%;
        mailping_site here;
        location /default/ { mailping; }
        location /wide/ { mailping; mailping_privacy masked ipv4=16 ipv6=32; }
        $locations
    }
}
END

$t->start();

my $agent = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 '
            . '(KHTML, like Gecko) Chrome/126.0.6478.127 Safari/537.36';
my $browser = $agent;
my $masked_agent = 'Mozilla/5 AppleWebKit/537 Chrome/126 Safari/537';

my $address = '198.51.100.77';
my $c = $t->connect();
my $n = 0;


sub fetch {
    my ($location, $token_mode, $from) = @_;

    my $id = 'id' . ++$n;

    my $r = $c->exchange('GET', "/$location/"
        . $t->mint(id => $id, recipient => 'r1', sent => time() - 7200,
                   privacy => $token_mode),
        header => [
            Host => 'a', 'X-Real-IP' => $from // $address,
            'User-Agent' => $agent,
            Accept => 'image/avif,image/webp,image/apng,*/*;q=0.8',
            'Accept-Language' => 'de-CH', 'Accept-Encoding' => 'gzip',
        ]);

    die "no pixel\n" if $r->status() != 200 || length($r->body()) != 43;

    return $id;
}


# the rule of the contract, written down a second time

sub resolve {
    my ($token, $location, $max) = @_;

    return $location if $token == 0;
    return 6 if $token > 6;
    return $token if $token >= $location;

    my $mode = $token > $max ? $token : $max;

    return $mode < $location ? $mode : $location;
}


my (%expected, @cases);

for my $l (1 .. 6) {
    for my $max (0 .. 6) {
        for my $token (0 .. 7, 15) {
            my $mode = resolve($token, $l, $max || 2);
            my $location = $max ? "$modes[$l - 1]-$modes[$max - 1]"
                                : $modes[$l - 1];
            my $id = fetch($location, $token);

            push(@cases, [ $id, "location $location, token $token", $mode ]);
            $expected{$id} = $mode if $mode <= 3;
        }
    }
}

my $default = fetch('default', 0);
my $wide = fetch('wide', 0);
my $six = fetch('default', 0, '2001:db8:77:1234:5678:9abc:def0:1234');
my $six_wide = fetch('wide', 0, '2001:db8:77:1234:5678:9abc:def0:1234');
my $mapped = fetch('default', 0, "::ffff:$address");

# known by their number alone; a mail program, so that the verdict is human

$agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 '
         . 'Thunderbird/115.12.0';

my %exit = (relay => 1, zscaler => 17, vpn => 33, home => 49);

$exit{$_} = fetch('default', 0, "203.0.113.$exit{$_}") for (sort keys %exit);

my $count = keys(%expected) + 9;

ok(wait_for(sub { $redis->entries() >= $count }), "$count events arrive");

my %entry = map { $_->{id} => $_ } $redis->entries();

is(scalar(keys %entry), $count, 'and no others');

my @wrong;

for my $case (@cases) {
    my ($id, $name, $mode) = @$case;
    my $got = exists $entry{$id} ? $entry{$id}{privacy} : 'off';
    my $want = $mode <= 3 ? $modes[$mode - 1] : 'off';

    push(@wrong, "$name: got $got, expected $want") if $got ne $want;
}

is_deeply(\@wrong, [], scalar(@cases) . ' pairs of token and location');


# what the modes keep

my @plain = @entry{map { $_->[0] } grep { $_->[2] <= 3 } @cases};

my ($full) = grep { $_->{privacy} eq 'full' } @plain;
my ($masked) = grep { $_->{privacy} eq 'masked' } @plain;
my ($minimal) = grep { $_->{privacy} eq 'minimal' } @plain;

is($full->{verdict}, 'human', 'the fetch looks human');
is($full->{agent}, $browser, 'full: the agent');
is($full->{network}, '198.51.100.0/24', 'full: the network is masked, too');
is($full->{city}, 'Winterthur', 'full: the city, of the masked network');
is($full->{country}, 'CH', 'full: the country');

is($masked->{agent}, $masked_agent, 'masked: the products of the agent');
is($masked->{network}, '198.51.100.0/24', 'masked: the network');
is($masked->{asn}, 64496, 'masked: the ASN');
is($masked->{org}, 'Example Home', 'masked: its name');
is($masked->{country}, 'CH', 'masked: the country');
is($masked->{region}, 'ZH', 'masked: the region');
is($masked->{city}, '', 'masked: no city');
isnt($masked->{facts}, '', 'masked: the facts');
cmp_ok($masked->{time} % 86_400_000, '>=', 0, 'masked: the time');

is($minimal->{time} % 86_400_000, 0, 'minimal: the day');
cmp_ok(abs($minimal->{time} / 1000 - time()), '<', 90_000, 'minimal: today');

for my $field (qw(facts network asn org country region city client agent)) {
    is($minimal->{$field}, '', "minimal: no $field");
}

for my $field (qw(id recipient site verdict person reasons event)) {
    isnt($minimal->{$field}, '', "minimal: $field stays");
}

is($entry{$default}{privacy}, 'masked', 'the default is masked');
is($entry{$wide}{network}, '198.51.0.0/16', 'ipv4=16');
is($entry{$six}{network}, '2001:db8:77::/48', 'IPv6, default');
is($entry{$six_wide}{network}, '2001:db8::/32', 'ipv6=32');
is($entry{$six}{asn}, 64497, 'IPv6, ASN');
is($entry{$mapped}{network}, '198.51.100.0/24',
   'a mapped address is an IPv4 address');


for my $name (sort keys %exit) {
    my $e = $entry{$exit{$name}};

    is($e->{verdict}, 'human', "$name: human");
    is($e->{country}, $name eq 'home' ? 'CH' : '',
       "$name: " . ($name eq 'home' ? 'its place' : 'no place of the exit'));
}


# the address is nowhere

my $places = 0;

sub search {
    my ($what, $bytes) = @_;

    $places++;

    my @found = grep { index($bytes, $_) >= 0 }
        ($address, pack('C4', split(/\./, $address)), 'c633644d',
         '2001:db8:77:1234', pack('n*', 0x2001, 0xdb8, 0x77, 0x1234),
         '5678:9abc');

    is_deeply(\@found, [], "no address in $what");
}

# the control: the search finds what is there

ok((grep { index("x $address y", $_) >= 0 } ($address)), 'the search works');

search('Redis', join("\n", map { %$_ } $redis->entries()));

$t->stop();

search('error.log', $t->read_file('error.log'));

for my $file (glob($t->spool() . '/*')) {
    search("spool file " . ($file =~ s|.*/||r), $t->read_file($file));
}

cmp_ok($places, '>=', 3, 'all places searched');

$t->done();
