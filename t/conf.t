#!/usr/bin/env perl

# Copyright (C) MailPing

# Every directive: the values it takes, each kind of wrong value with its
# message, and that "nginx -t" changes nothing on disk.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Test::MailPing;
use Test::MailPing::MMDB qw(mmdb_write asn_record city_record);


my $t = Test::MailPing->new();

mmdb_write($t->path('asn.mmdb'), 'GeoLite2-ASN',
           [ [ '192.0.2.0/24', asn_record(64496, 'Example') ] ]);
mmdb_write($t->path('city.mmdb'), 'GeoLite2-City',
           [ [ '192.0.2.0/24', city_record('CH', 'ZH', 'Winterthur') ] ]);

$t->write_file('2.key', 'ab' x 32);
$t->write_file('short.key', 'ab' x 31 . "\n");
$t->write_file('odd.key', 'ab' x 32 . "a\n");
$t->write_file('text.key', 'zz' x 32);
$t->write_file('empty.key', '');
$t->write_file('big.key', 'ab' x 5000);
$t->write_file('good.rules', "network office 192.0.2.0/24\n"
               . "rule office.human network - human+10 network:office\n");
$t->write_file('list.rules', "network office \@list.txt\n"
               . "rule office.human network - human+10 network:office\n");
$t->write_file('list.txt', "192.0.2.0/24  # ours\n\n");
$t->write_file('bad.rules', "# fine\n\nnetwork office 192.0.2.0/33\n");
$t->write_file('missing.rules', "network office \@nowhere.txt\n");
$t->write_file('badlist.rules', "network office \@bad.txt\n");
$t->write_file('bad.txt', "192.0.2.0/24\n  nonsense\n");
$t->write_file('password', "secret\n");
$t->write_file('nothing', '');
POSIX::mkfifo($t->path('pipe'), 0600) || die "mkfifo: $!\n";


# what surrounds a case

sub conf {
    my (%part) = @_;

    my $http = $part{http} // '';
    my $server = $part{server} // '';
    my $location = $part{location} // 'mailping;';

    # what the case brings itself is not there twice

    my $all = $http . $server . $location;
    my $spool = $all =~ /mailping_spool/ ? ''
                : 'mailping_spool %%SPOOL%% size=16m;';
    my $redis = $all =~ /mailping_redis/ ? ''
                : 'mailping_redis { server 127.0.0.1:1; }';
    my $key = $part{bare} || $all =~ /mailping_(?:key|id)/ ? ''
              : 'mailping_key 1 %%KEYFILE%%;';
    my $globals = $part{main} // '';

    return <<"END";
%%GLOBALS%%
$globals
events { }
http {
    %%GLOBALS_HTTP%%
    $spool
    $redis
    $key
    $http
    server {
        listen 127.0.0.1:%%PORT%%;
        $server
        location /o/ { $location }
    }
}
END
}


my @good = (
    # mailping
    [ location => 'mailping;' ],
    [ location => 'mailping gif;' ],
    [ location => 'mailping png;' ],
    [ server => 'location /b/ { mailping; location /b/c/ { mailping png; } }' ],
    [ http => 'server { listen 127.0.0.1:%%PORT_a%%; '
              . 'location ~ ^/x { mailping; } }' ],

    # keys
    [ http => 'mailping_key 0 %%KEYFILE%%; mailping_key 15 %%PREFIX%%/2.key;' ],
    [ server => 'mailping_key 7 2.key;' ],
    [ location => 'mailping; mailping_key 1 %%KEYFILE%%;' ],

    # unsigned
    [ location => 'mailping; mailping_id $arg_id;' ],
    [ location => 'mailping; mailping_id fixed;' ],
    [ http => 'mailping_id $arg_id; mailping_recipient $arg_r; '
              . 'mailping_sent $arg_s; mailping_hint $arg_h;' ],
    [ location => 'mailping; mailping_id $arg_id; mailping_hint gmail; '
                  . 'mailping_sent 1700000000; mailping_recipient "";' ],

    # a key below an id, and an id below a key
    [ http => 'mailping_id $arg_id;',
      location => 'mailping; mailping_key 1 %%KEYFILE%%;' ],
    [ http => 'mailping_key 1 %%KEYFILE%%;',
      location => 'mailping; mailping_id $arg_id;' ],

    # the event
    [ http => 'mailping_site a; mailping_self $cookie_own;' ],
    [ server => 'mailping_site $host; mailping_self 1;' ],

    # privacy
    map({ [ location => "mailping; mailping_privacy $_;" ] }
        qw(full masked minimal day count off)),
    [ http => 'mailping_privacy full max=full ipv4=16 ipv6=32;' ],
    [ server => 'mailping_privacy minimal ipv6=64 ipv4=28 max=off;' ],
    [ server => 'mailping_privacy masked ipv6=16 ipv4=8;' ],

    # databases
    [ http => 'mailping_geoip asn=%%PREFIX%%/asn.mmdb;' ],
    [ http => 'mailping_geoip asn=asn.mmdb city=city.mmdb country=city.mmdb;' ],

    # rules
    [ http => 'mailping_rules good.rules;' ],
    [ http => 'mailping_rules %%PREFIX%%/list.rules;' ],

    # zone
    [ http => 'mailping_zone 1m;' ],
    [ http => 'mailping_zone 64m;' ],

    # spool
    [ http => 'mailping_spool %%SPOOL%%;' ],
    [ http => 'mailping_spool relative/;' ],
    [ http => 'mailping_spool %%SPOOL%% size=1g sync=off rewind=0 keep=1h;' ],
    [ http => 'mailping_spool %%SPOOL%% keep=7d rewind=2m sync=100ms '
              . 'size=2m;' ],
    [ main => 'worker_processes 4;',
      http => 'mailping_spool %%SPOOL%% size=8m;' ],

    # redis
    [ http => 'mailping_redis { server 127.0.0.1:6379; }' ],
    [ http => 'mailping_redis { server 127.0.0.1; server [::1]:6380; '
              . 'server unix:/tmp/redis.sock; server localhost; }' ],
    [ http => 'mailping_redis { server 127.0.0.1:1; mode standalone; '
              . 'prefix a.b-c:d; partitions 128; retain none; maxlen 1000; '
              . 'batch 512; database 3; connect_timeout 1s; '
              . 'reply_timeout 500ms; tls off; user u; '
              . 'password_file password; }' ],
    [ http => 'mailping_redis { server 127.0.0.1:1; retain 1h; batch 1; '
              . 'partitions 1; }' ],

    # endpoints
    [ server => 'location = /m { mailping_mint https://t.example.com/o/; }' ],
    [ server => 'location = /m { mailping_mint http://a/b/c/ any; }' ],
    [ server => 'location = /s { mailping_status; } '
                . 'location = /w { mailping_explain; }' ],
    [ server => 'location = /s { mailping_status any; } '
                . 'location = /w { mailping_explain any; }' ],
);

my $before = listing($t->prefix());

for my $case (@good) {
    my ($code, $output) = $t->check_conf(conf(@$case));

    is($code, 0, "@$case") || diag($output);
}


my $context = qr/directive is not allowed here/;
my $number = qr/invalid number of arguments/;
my $duplicate = qr/is duplicate/;

my @bad = (
    # mailping
    [ [ location => 'mailping jpeg;' ],
      qr/invalid value "jpeg" in "mailping"/ ],
    [ [ location => 'mailping gif png;' ], $number ],
    [ [ location => 'mailping; mailping;' ], $duplicate ],
    [ [ server => 'mailping;' ], $context ],
    [ [ http => 'mailping;' ], $context ],
    [ [ bare => 1 ],
      qr/neither a "mailping_key" nor a "mailping_id" in .*check\.conf:\d+/ ],
    [ [ location => 'mailping; mailping_id $arg_a; '
                    . 'mailping_key 1 %%KEYFILE%%;' ],
      qr/both a "mailping_key" and a "mailping_id"/ ],
    [ [ bare => 1, http => 'mailping_key 1 %%KEYFILE%%;',
        server => 'mailping_id $arg_id; mailping_key 1 %%KEYFILE%%;' ],
      qr/both a "mailping_key" and a "mailping_id"/ ],

    # keys
    [ [ http => 'mailping_key 16 %%KEYFILE%%;' ], qr/invalid key id "16"/ ],
    [ [ http => 'mailping_key -1 %%KEYFILE%%;' ], qr/invalid key id "-1"/ ],
    [ [ http => 'mailping_key one %%KEYFILE%%;' ], qr/invalid key id "one"/ ],
    [ [ http => 'mailping_key 1;' ], $number ],
    [ [ http => 'mailping_key 1 nowhere;' ],
      qr/open\(\) ".*\/nowhere" failed \(2: No such file/ ],
    [ [ http => 'mailping_key 1 %%PREFIX%%;' ], qr/read\(\) ".*" failed/ ],
    [ [ http => 'mailping_key 1 %%KEYFILE%%; mailping_key 1 2.key;' ],
      qr/key 1 in ".*2\.key" cannot be used/ ],
    map({ [ [ http => "mailping_key 1 $_.key;" ],
            qr/key 1 in ".*$_\.key" cannot be used: \S/ ] }
        qw(short odd text empty)),
    [ [ http => 'mailping_key 1 big.key;' ], qr/big\.key" failed/ ],
    [ [ http => 'mailping_key 1 pipe;' ], qr/read\(\) ".*pipe" failed/ ],

    # unsigned
    [ [ location => 'mailping; mailping_id a@b;' ],
      qr/invalid value "a\@b" in "mailping_id"/ ],
    [ [ location => 'mailping; mailping_id "";' ],
      qr/invalid value "" in "mailping_id"/ ],
    [ [ location => 'mailping; mailping_id ' . 'i' x 65 . ';' ],
      qr/invalid value "i{65}" in "mailping_id"/ ],
    [ [ http => 'mailping_id $nosuchvariable;' ],
      qr/unknown "nosuchvariable" variable/ ],
    [ [ http => 'mailping_recipient a@b;' ],
      qr/invalid value "a\@b" in "mailping_recipient"/ ],
    [ [ http => 'mailping_recipient ' . 'r' x 33 . ';' ],
      qr/in "mailping_recipient"/ ],
    [ [ http => 'mailping_sent yesterday;' ],
      qr/invalid value "yesterday" in "mailping_sent"/ ],
    [ [ http => 'mailping_hint google;' ],
      qr/invalid value "google" in "mailping_hint"/ ],
    map({ [ [ server => "$_ a; $_ b;" ],
            $_ eq 'mailping_sent' || $_ eq 'mailping_hint' ? qr/invalid value/
            : $duplicate ],
          [ [ http => "$_;" ], $number ] }
        qw(mailping_id mailping_recipient mailping_sent mailping_hint
           mailping_site mailping_self)),

    # privacy
    [ [ http => 'mailping_privacy secret;' ],
      qr/invalid mode "secret" in "mailping_privacy"/ ],
    [ [ http => 'mailping_privacy location;' ], qr/invalid mode "location"/ ],
    [ [ http => 'mailping_privacy full max=none;' ],
      qr/invalid parameter "max=none"/ ],
    [ [ http => 'mailping_privacy full ipv4=32;' ],
      qr/invalid parameter "ipv4=32"/ ],
    [ [ http => 'mailping_privacy full ipv4=7;' ],
      qr/invalid parameter "ipv4=7"/ ],
    [ [ http => 'mailping_privacy full ipv6=128;' ],
      qr/invalid parameter "ipv6=128"/ ],
    [ [ http => 'mailping_privacy full ipv6=x;' ],
      qr/invalid parameter "ipv6=x"/ ],
    [ [ http => 'mailping_privacy full min=off;' ],
      qr/invalid parameter "min=off"/ ],
    [ [ http => 'mailping_privacy full max=off max=off;' ],
      qr/invalid parameter "max=off"/ ],
    [ [ http => 'mailping_privacy full; mailping_privacy off;' ], $duplicate ],

    # databases
    [ [ http => 'mailping_geoip asn=nowhere.mmdb;' ], qr/nowhere\.mmdb"/ ],
    [ [ http => 'mailping_geoip asn=%%KEYFILE%%;' ], qr/1\.key"/ ],
    [ [ http => 'mailping_geoip isp=asn.mmdb;' ],
      qr/invalid parameter "isp=asn\.mmdb"/ ],
    [ [ http => 'mailping_geoip asn=asn.mmdb asn=asn.mmdb;' ],
      qr/duplicate|invalid parameter/ ],
    [ [ http => 'mailping_geoip asn=asn.mmdb; mailping_geoip asn=asn.mmdb;' ],
      $duplicate ],
    [ [ server => 'mailping_geoip asn=asn.mmdb;' ], $context ],

    # rules
    [ [ http => 'mailping_rules nowhere.rules;' ],
      qr/open\(\) ".*nowhere\.rules" failed/ ],
    [ [ http => 'mailping_rules pipe;' ], qr/read\(\) ".*pipe" failed/ ],
    [ [ http => 'mailping_rules bad.rules;' ],
      qr/expected .* found "33" in .*bad\.rules:3, column 26$/m ],
    [ [ http => 'mailping_rules missing.rules;' ],
      qr/nowhere\.txt.* in .*missing\.rules:1, column 16/ ],
    [ [ http => 'mailping_rules badlist.rules;' ],
      qr/found "nonsense" in .*bad\.txt:2, column 3/ ],

    # zone
    [ [ http => 'mailping_zone 1k;' ], qr/"mailping_zone" is too small/ ],
    [ [ http => 'mailping_zone big;' ], qr/invalid value/ ],
    [ [ http => 'mailping_zone 1m; mailping_zone 1m;' ], $duplicate ],

    # spool
    [ [ http => 'mailping_spool;' ], $number ],
    [ [ http => 'mailping_spool a; mailping_spool b;' ], $duplicate ],
    [ [ http => 'mailping_spool a size=x;' ], qr/invalid parameter "size=x"/ ],
    [ [ http => 'mailping_spool a size=0;' ], qr/invalid parameter "size=0"/ ],
    [ [ http => 'mailping_spool a sync=0;' ], qr/invalid parameter "sync=0"/ ],
    [ [ http => 'mailping_spool a sync=on;' ],
      qr/invalid parameter "sync=on"/ ],
    [ [ http => 'mailping_spool a rewind=x;' ],
      qr/invalid parameter "rewind=x"/ ],
    [ [ http => 'mailping_spool a keep=0;' ], qr/invalid parameter "keep=0"/ ],
    [ [ http => 'mailping_spool a fast;' ], qr/invalid parameter "fast"/ ],
    [ [ http => 'mailping_spool a size=4m size=4m;' ],
      qr/invalid parameter "size=4m"/ ],
    [ [ server => 'mailping_spool a;' ], $context ],
    [ [ main => 'worker_processes 4;',
        http => 'mailping_spool %%SPOOL%% size=7m;' ],
      qr/"size=" of "mailping_spool" is too small for 4 worker processes/ ],
    [ [ http => 'mailping_spool %%PREFIX%%/no/such/place;' ],
      qr{%%PREFIX%%/no/such} ],
    [ [ http => 'mailping_spool %%KEYFILE%%;' ], qr{%%KEYFILE%%} ],

    # redis
    map({ my ($inside, $message) = @$_;
          [ [ http => "mailping_redis { $inside }" ], $message ] }
        [ '', qr/"mailping_redis" directive has no "server"/ ],
        [ 'prefix p;', qr/"mailping_redis" directive has no "server"/ ],
        [ 'server 127.0.0.1:x;', qr/invalid port in server "127\.0\.0\.1:x"/ ],
        [ 'server 127.0.0.1:1/x;', qr/in server "127\.0\.0\.1:1\/x"/ ],
        [ 'server a b;', qr/invalid number of arguments in "server"/ ],
        [ 'server a; mode fast;', qr/invalid value "fast"/ ],
        [ 'server a; mode sentinel; master_name m;',
          qr/"mode sentinel" in "mailping_redis" is not supported/ ],
        [ 'server a; mode cluster;', qr/"mode cluster" .* is not supported/ ],
        [ 'server a; tls on;', qr/"tls on" .* is not supported/ ],
        [ 'server a; mode sentinel;', qr/no "master_name"/ ],
        [ 'server a; master_name m;', qr/but not "mode sentinel"/ ],
        [ 'server a; mode cluster; database 1;', qr/"database", which/ ],
        [ 'server a; tls_name n;', qr/but not "tls on"/ ],
        [ 'server a; tls_certificate c;', qr/only one of "tls_certificate"/ ],
        map({ [ "server a; $_ \"\";",
                qr/invalid value "" in "$_" of "mailping_redis"/ ] }
            qw(user password_file tls_name master_name)),
        [ 'server a; user u;',
          qr/"mailping_redis" directive has a "user", but no "password_file"/
        ],
        [ 'server a; password_file nowhere;',
          qr/open\(\) ".*nowhere" failed/ ],
        [ 'server a; password_file nothing;', qr/no password in the first/ ],
        [ 'server a; prefix "";', qr/invalid value "" in "prefix"/ ],
        [ 'server a; prefix {x};', qr/prefix|unexpected/ ],
        [ 'server a; prefix "a b";', qr/invalid prefix "a b"/ ],
        [ 'server "";', qr/invalid value "" in "server"/ ],
        [ 'server a; prefix ' . 'p' x 128 . ';', qr/invalid prefix/ ],
        [ 'server a; partitions 0;', qr/value must be .*1/ ],
        [ 'server a; partitions 129;', qr/value must be .*128/ ],
        [ 'server a; partitions x;', qr/invalid number/ ],
        [ 'server a; retain never;', qr/invalid time "never" in "retain"/ ],
        [ 'server a; retain 0;', qr/invalid time "0" in "retain"/ ],
        [ 'server a; maxlen -1;', qr/invalid number/ ],
        [ 'server a; batch 0;', qr/value must be/ ],
        [ 'server a; batch 513;', qr/value must be/ ],
        [ 'server a; database 65536;', qr/value must be/ ],
        [ 'server a; connect_timeout x;', qr/invalid value/ ],
        [ 'server a; connect_timeout 0;', qr/"connect_timeout" or/ ],
        [ 'server a; reply_timeout 0;', qr/"reply_timeout" of 0/ ],
        [ 'server a; speed 9;', qr/unknown directive "speed"/ ],
        map({ [ "server a; $_; $_;", qr/"\w+" directive is duplicate/ ] }
            'mode standalone', 'prefix p', 'partitions 2', 'retain 1d',
            'retain none', 'maxlen 1', 'batch 2', 'user u', 'database 1',
            'password_file password', 'connect_timeout 1s',
            'reply_timeout 1s', 'tls off')),
    [ [ http => 'mailping_redis { server a; } mailping_redis { server a; }' ],
      $duplicate ],
    [ [ server => 'mailping_redis { server a; }' ], $context ],
    [ [ http => 'mailping_redis server;' ], qr/has no opening|invalid number/ ],

    # endpoints
    map({ [ [ server => "location = /m { mailping_mint $_; }" ],
            qr/invalid base "\Q$_\E" in "mailping_mint"/ ] }
        'ftp://a/', 'https://', 'https://a', 'a', 'https://a/"b/'),
    [ [ server => 'location = /m { mailping_mint https://a/ all; }' ],
      qr/invalid parameter "all"/ ],
    [ [ server => 'location = /m { mailping_mint https://a/; '
                  . 'mailping_mint https://b/; }' ], $duplicate ],
    [ [ server => 'location = /m { mailping_mint; }' ], $number ],
    [ [ location => 'mailping; mailping_id $arg_i; mailping_site a;',
        server => 'location = /m { mailping_mint https://a/; }' ],
      qr/"mailping_mint" has no "mailping_key" .* in .*check\.conf:\d+/ ],
    map({ ([ [ server => "location = /s { $_ all; }" ],
             qr/invalid parameter "all"/ ],
           [ [ server => "location = /s { $_; $_; }" ], $duplicate ],
           [ [ server => "$_;" ], $context ]) }
        qw(mailping_status mailping_explain)),
    [ [ http => 'mailping_mint https://a/;' ], $context ],
);

for my $case (@bad) {
    my ($parts, $message) = @$case;
    my ($code, $output) = $t->check_conf(conf(@$parts));

    my $expected = $t->expand("$message");

    ok($code != 0 && $output =~ /$expected/, "refused: @$parts")
        || diag("exit code $code\nexpected $expected\n$output");
}


# warnings

my ($code, $output) = $t->check_conf(conf());

is($code, 0, 'no ASN database is no error');
like($output, qr/\[warn\].*"asn=" in "mailping_geoip"/, 'but a warning');

(my $without = conf()) =~ s/mailping_redis .*//;
($code, $output) = $t->check_conf($without);

is($code, 0, 'no Redis is no error');
like($output, qr/\[warn\] .*there is no "mailping_redis"/, 'but a warning');

(my $unused = conf(location => 'return 204;'))
    =~ s/mailping_(?:spool|redis) .*//g;
($code, $output) = $t->check_conf($unused);

is($code, 0, 'nothing is needed where "mailping" is not used');
unlike($output, qr/\[warn\]/, 'and nothing is warned of');

(my $spoolless = conf()) =~ s/mailping_spool .*//;
($code, $output) = $t->check_conf($spoolless);

isnt($code, 0, 'no spool');
like($output, qr/"mailping" needs a "mailping_spool".* in .*check\.conf:\d+/,
     'the message names the place of "mailping"');


# nothing was made

is(listing($t->prefix()), $before, '"nginx -t" leaves no trace')
    || diag("before:\n$before\nafter:\n" . listing($t->prefix()));

$t->done();


# names, types, owners and modes; not of what the test itself writes

sub listing {
    my ($dir) = @_;

    my $text = `find '$dir' -mindepth 1 -printf '%P %y %u %m %s\n' | sort`;

    # nginx's own log, pid file and temporary directories

    return join("\n", grep { !/^(?:check\.|\w+_temp\b|error\.log|nginx\.)/ }
                      split(/\n/, $text));
}
