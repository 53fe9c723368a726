#!/usr/bin/env perl

# Copyright (C) MailPing

# The part of ci/demo that fetches and prints.

use strict;
use warnings;

use Getopt::Long;
use POSIX qw(strftime);
use Test::MailPing;
use Test::MailPing::MMDB qw(mmdb_write asn_record city_record);


my $once;

GetOptions('once' => \$once) && !@ARGV
    || die "usage: ci/demo [--once]\n";

$| = 1;


# Who fetches: how long after sending, from where, with which headers in which
# order, and what MailPing is expected to say.

my $chrome = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36'
             . ' (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';

my @fetches = (
    {
        id => 'gmail-reader',
        what => 'read in Gmail, shown through its image proxy',
        hint => 'gmail',
        age => 3600,
        from => '66.249.84.7',
        header => [
            'Host', undef,
            'Connection', 'keep-alive',
            'User-Agent', 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko'
                          . ' Firefox/11.0 (via ggpht.com GoogleImageProxy)',
            'Accept-Encoding', 'gzip, deflate, br',
        ],
        expected => 'yes proxied',
    },
    {
        id => 'gmail-prefetch',
        what => 'fetched by Gmail itself when the mail arrived',
        hint => 'gmail',
        age => 20,
        from => '66.249.93.33',
        header => [
            'Host', undef,
            'Connection', 'keep-alive',
            'User-Agent', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)'
                          . ' AppleWebKit/537.36 (KHTML, like Gecko)'
                          . ' Chrome/42.0.2311.135 Safari/537.36'
                          . ' Edge/12.246 Mozilla/5.0',
            'Accept-Encoding', 'gzip, deflate, br',
        ],
        expected => 'no prefetch',
    },
    {
        id => 'apple-prefetch',
        what => 'fetched by Apple Mail Privacy Protection',
        hint => 'apple',
        age => 1800,
        from => '172.224.226.10',
        header => [
            'Host', undef,
            'Accept', '*/*',
            'User-Agent', 'Mozilla/5.0',
            'Accept-Language', 'en-US,en;q=0.9',
            'Accept-Encoding', 'gzip, deflate, br',
            'Connection', 'keep-alive',
        ],
        expected => 'maybe shielded',
    },
    {
        id => 'outlook-reader',
        what => 'read in Outlook for Windows in an office',
        hint => 'microsoft',
        age => 1500,
        from => '198.51.100.23',
        header => [
            'Accept', '*/*',
            'User-Agent', 'Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0;'
                          . ' Win64; x64; Trident/7.0; .NET4.0C; .NET4.0E;'
                          . ' Microsoft Outlook 16.0.17928; ms-office;'
                          . ' MSOffice 16)',
            'Accept-Encoding', 'gzip, deflate',
            'Host', undef,
            'Connection', 'Keep-Alive',
        ],
        expected => 'yes human',
    },
    {
        id => 'thunderbird-reader',
        what => 'read in Thunderbird at home',
        hint => 'other',
        age => 7200,
        from => '203.0.113.77',
        header => [
            'Host', undef,
            'User-Agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0)'
                          . ' Gecko/20100101 Thunderbird/128.5.0',
            'Accept', 'image/avif,image/webp,image/png,image/svg+xml,'
                      . 'image/*;q=0.8,*/*;q=0.5',
            'Accept-Language', 'de,en-US;q=0.7,en;q=0.3',
            'Accept-Encoding', 'gzip, deflate, br, zstd',
            'Connection', 'keep-alive',
        ],
        expected => 'yes human',
    },
    {
        id => 'gateway-scan',
        what => 'scanned by a security gateway that poses as a browser',
        hint => 'gateway',
        age => 8,
        from => '66.159.228.10',
        header => [
            'Host', undef,
            'User-Agent', $chrome,
            'Accept', '*/*',
            'Accept-Encoding', 'gzip, deflate',
            'Connection', 'keep-alive',
        ],
        expected => 'no scanner',
    },
    {
        id => 'crawler',
        what => 'found by a crawler in a web archive of the list',
        hint => 'unknown',
        age => 86_400,
        from => '54.36.148.20',
        header => [
            'Host', undef,
            'User-Agent', 'Mozilla/5.0 (compatible; AhrefsBot/7.0;'
                          . ' +http://ahrefs.com/robot/)',
            'Accept', '*/*',
            'Accept-Encoding', 'deflate, gzip, br',
        ],
        expected => 'no bot',
    },
    {
        id => 'curl',
        what => 'fetched by a script on a rented server',
        hint => 'unknown',
        age => 3600,
        from => '88.198.7.7',
        header => [
            'Host', undef,
            'User-Agent', 'curl/7.88.1',
            'Accept', '*/*',
        ],
        expected => 'no bot',
    },
    {
        id => 'browser-reader',
        what => 'read in webmail with a browser at home',
        hint => 'other',
        age => 5400,
        from => '2001:db8:12:34::56',
        header => [
            'Host', undef,
            'Connection', 'keep-alive',
            'sec-ch-ua-platform', '"Windows"',
            'User-Agent', $chrome,
            'sec-ch-ua', '"Chromium";v="140", "Not=A?Brand";v="24",'
                         . ' "Google Chrome";v="140"',
            'sec-ch-ua-mobile', '?0',
            'Accept', 'image/avif,image/webp,image/apng,image/svg+xml,'
                      . 'image/*,*/*;q=0.8',
            'Sec-Fetch-Site', 'cross-site',
            'Sec-Fetch-Mode', 'no-cors',
            'Sec-Fetch-Dest', 'image',
            'Referer', 'https://webmail.example.com/',
            'Accept-Encoding', 'gzip, deflate, br, zstd',
            'Accept-Language', 'de-DE,de;q=0.9,en;q=0.8',
        ],
        expected => 'yes human',
    },
);


# A small world: the networks above, and two with people in them.

my @networks = (
    [ '66.249.64.0/19', 15169, 'GOOGLE', 'US', 'CA', 'Mountain View' ],
    [ '172.224.224.0/20', 36183, 'AKAMAI-AS', 'US', 'MA', 'Cambridge' ],
    [ '66.159.224.0/20', 22843, 'PROOFPOINT-ASN-US-EAST', 'US', 'CA',
      'Sunnyvale' ],
    [ '54.36.148.0/22', 16276, 'OVH SAS', 'FR', 'HDF', 'Roubaix' ],
    [ '88.198.0.0/16', 24940, 'Hetzner Online GmbH', 'DE', 'BY',
      'Gunzenhausen' ],
    [ '198.51.100.0/24', 64500, 'Example Office', 'CH', 'ZH', 'Winterthur' ],
    [ '203.0.113.0/24', 64501, 'Example Home Internet', 'DE', 'BE',
      'Berlin' ],
    [ '2001:db8::/32', 64501, 'Example Home Internet', 'DE', 'HH',
      'Hamburg' ],
);

my $conf = <<'END';
%%GLOBALS%%
worker_processes 1;
events { }

http {
    %%GLOBALS_HTTP%%

    mailping_spool %%SPOOL%% size=16m;
    mailping_redis { server %%REDIS%%; }
    mailping_geoip asn=%%PREFIX%%/asn.mmdb city=%%PREFIX%%/city.mmdb;
    mailping_key 1 %%PREFIX%%/demo.key;

    set_real_ip_from 127.0.0.1;

    server {
        listen 127.0.0.1:%%PORT%%;
        real_ip_header X-Real-IP;

        location /o/ { mailping; }
        location = /mint { mailping_mint http://127.0.0.1:%%PORT%%/o/; }
        location = /why { mailping_explain; }
        location = /status { mailping_status; }
    }

    # the fetches below, whose headers must not grow by one for the address

    server {
        listen 127.0.0.1:%%PORT_fetch%% proxy_protocol;
        real_ip_header proxy_protocol;

        location /o/ { mailping; }
    }
}
END


my $t = Test::MailPing->new(timeout => 0);
my $prefix = $t->prefix();

my $stop = 0;
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { $stop = 1 };

$t->write_file('demo.key', random_key() . "\n");

mmdb_write("$prefix/asn.mmdb", 'GeoLite2-ASN',
           [ map { [ $_->[0], asn_record($_->[1], $_->[2]) ] } @networks ]);
mmdb_write("$prefix/city.mmdb", 'GeoLite2-City',
           [ map { [ $_->[0], city_record(@$_[3 .. 5]) ] } @networks ]);

print "starting a private Redis and nginx in $prefix\n";

my $redis = $t->redis();

$t->write_conf($conf);
$t->start();

for my $fetch (@fetches) {
    fetch($fetch);
}

wait_for(sub { $stop || $redis->length() >= @fetches }, 20);

my @opens = $redis->entries();
my $wrong = 0;

print "\n";

for my $fetch (@fetches) {
    printf("%-18s  %s\n", $fetch->{id}, $fetch->{what});
}

print "\n";
print_row('time', 'id', 'open', 'verdict', 'person', 'reasons');

for my $open (@opens) {
    print_open($open);
}

print "\n";

for my $fetch (@fetches) {
    my @own = grep { $_->{id} eq $fetch->{id} } @opens;
    my $seen = join(' and ', map { "$_->{open} $_->{verdict}" } @own);

    if ($seen ne $fetch->{expected}) {
        $wrong++;
        print "WRONG  $fetch->{id}: expected $fetch->{expected}, got ",
              $seen || 'nothing', "\n";
    }
}

printf("%d of %d verdicts are as expected\n", @fetches - $wrong,
       scalar(@fetches));

if (!$once && !$stop) {
    print_hints();
    follow();
    print "\n";
}

my @problems = $t->problems();

print "problem: $_\n" for (@problems);

$t->remove();

print "everything stopped", $ENV{TEST_NGINX_LEAVE} ? '' : ' and removed',
      "\n";

exit($wrong || @problems ? 1 : 0);


sub random_key {
    open(my $file, '<:raw', '/dev/urandom')
        || die "cannot open /dev/urandom: $!\n";

    read($file, my $bytes, 32) == 32 || die "no random bytes\n";

    return unpack('H*', $bytes);
}


# The path of a minted address.

sub mint {
    my ($fetch) = @_;

    my $sent = time() - $fetch->{age};

    my $r = $t->get("/mint?id=$fetch->{id}&hint=$fetch->{hint}&sent=$sent")
            // die "no answer from /mint\n";

    if ($r->status() != 200 || $r->body() !~ m{"url":\s*"http://[^/]+(/[^"]+)"})
    {
        die 'no address from /mint: ', $r->body(), "\n";
    }

    return $1;
}


sub fetch {
    my ($fetch) = @_;

    my @header = map { $_ // 't.example.com' } @{$fetch->{header}};
    my $family = $fetch->{from} =~ /:/ ? 'TCP6' : 'TCP4';
    my $to = $family eq 'TCP6' ? '::1' : '127.0.0.1';

    my $r = $t->get(mint($fetch), port => $t->port('fetch'), exact => 1,
                    header => \@header, proxy_protocol =>
                    "PROXY $family $fetch->{from} $to 40000 80\r\n")
            // die "no answer to $fetch->{id}\n";

    if ($r->status() != 200 || $r->header('Content-Type') ne 'image/gif') {
        die "not the pixel for $fetch->{id}: ", $r->head(), "\n";
    }
}


sub print_row {
    printf("%-8s  %-18s  %-5s  %-8s  %6s  %s\n", @_);
}


sub print_open {
    my ($open) = @_;

    print_row(strftime('%H:%M:%S', gmtime($open->{time} / 1000)),
              @$open{qw(id open verdict person reasons)});
}


sub print_hints {
    my $base = 'http://127.0.0.1:' . $t->port();
    my $own = mint({ id => 'mine', hint => 'unknown', age => 3600 });

    print <<"END";

nginx and Redis stay up.  Opens that come now are shown below; times are UTC.

an address to fetch, with any program, or as anybody:
    curl -o pixel.gif $base$own
    curl -o pixel.gif -H 'X-Real-IP: 203.0.113.9' -A 'Thunderbird/128.5.0' \\
        $base$own
another address:
    curl '$base/mint?id=another'
why a fetch gets its verdict:
    curl '$base/why?agent=curl/8.0&ip=203.0.113.9&age=3600'
the counters:
    curl $base/status
the stream:
    redis-cli -p @{[ $redis->port() ]} XRANGE mailping:opens - +

Ctrl-C ends and removes everything.

END
}


# Shows what comes until Ctrl-C.

sub follow {
    my $shown = @opens;

    while (!$stop) {
        my @all = $redis->entries();

        print_open($_) for (@all[$shown .. $#all]);
        $shown = @all;

        select(undef, undef, undef, 0.3);
    }
}
