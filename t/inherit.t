#!/usr/bin/env perl

# Copyright (C) MailPing

# Inheritance by nginx's rules, and a reload with each directive's value
# changed: the new value holds, and nothing is lost on the way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;
use Test::MailPing::MMDB qw(mmdb_write asn_record city_record);


my $t = Test::MailPing->new();
my $redis = $t->redis();
my $other = $t->redis('other');

my $key2 = 'ab' x 32;

$t->write_file('2.key', $key2);
$t->write_file('human.rules', "network loop 127.0.0.0/8\n"
    . "rule loop.human network - human+30 network:loop\n");
$t->write_file('bot.rules', "network loop 127.0.0.0/8\n"
    . "rule loop.bot network loopback bot+30 network:loop\n");

for my $name (qw(one two)) {
    mmdb_write($t->path("$name.mmdb"), 'GeoLite2-ASN',
               [ [ '127.0.0.0/8', asn_record(64496, "Example $name") ] ]);
}


my %value = (
    spool => 'size=16m sync=off',
    redis => 'server %%REDIS%%;',
    zone => '8m',
    keys => 'mailping_key 1 %%KEYFILE%%;',
    geoip => 'asn=one.mmdb',
    rules => 'human.rules',
    image => 'gif',
    site => 'first',
    self => '0',
    privacy => 'masked',
    base => 'http://first/',
);

sub conf {
    my %v = (%value, @_);

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% $v{spool};
    mailping_redis { $v{redis} }
    mailping_zone $v{zone};
    mailping_geoip $v{geoip};
    mailping_rules $v{rules};
    $v{keys}
    mailping_site $v{site};
    mailping_self $v{self};
    mailping_privacy $v{privacy};
    mailping_recipient http;
    mailping_sent 1000000000;
    mailping_hint other;

    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping $v{image}; }
        location = /mint { mailping_mint $v{base}; }
        location = /status { mailping_status; }
        location = /why { mailping_explain; }
        location = /any { mailping_status any; if (\$arg_a) { set \$a 1; } }
        location = /if {
            mailping_mint http://if/;
            if (\$arg_id) { set \$a 1; }
        }

        location /unsigned/ { mailping; mailping_id \$arg_i; }
        location /inner/ {
            mailping;
            mailping_id \$arg_i;
            mailping_site inner;
            mailping_privacy full;
            mailping_recipient location;
            mailping_sent 1000000001;
            location /inner/most/ { mailping; }
            location /inner/signed/ { mailping; mailping_key 2 2.key; }
            location /inner/plain/ { }
        }
    }

    server {
        listen 127.0.0.1:%%PORT_b%%;
        mailping_site server;
        mailping_privacy minimal max=minimal;
        mailping_self 1;
        mailping_key 2 2.key;
        location /o/ { mailping; }
    }
}
END
}

$t->write_conf(conf());
$t->start();

my $n = 0;

# fetches and gives the entry that comes of it, or what was answered

sub open_of {
    my ($uri, %options) = @_;

    my $id = 'i' . ++$n;
    my $from = delete $options{redis} // $redis;
    my $stream = delete $options{stream} // 'mailping:opens';
    my $mint = delete $options{mint} // {};

    $uri .= $uri =~ /=$/ ? $id
            : $t->mint(id => $id, sent => time() - 60, %$mint);

    my $r = $t->get($uri, %options);

    die "no pixel for $uri\n" if $r->status() != 200;

    my $entry;

    wait_for(sub {
        ($entry) = grep { $_->{id} eq $id } $from->entries($stream);
    }, delete $options{seconds} // 5);

    return ($entry, $r);
}


# inheritance

my ($e) = open_of('/unsigned/?i=');

is($e->{site}, 'first', 'site, from http');
is($e->{recipient}, 'http', 'recipient, from http');
is($e->{sent}, '1000000000000', 'sent, from http');
is($e->{key}, '', 'an id in the location puts the key of http aside');

($e) = open_of('/inner/?i=');

is($e->{site}, 'inner', 'site, of the location');
is($e->{recipient}, 'location', 'recipient, of the location');
is($e->{sent}, '1000000001000', 'sent, of the location');
is($e->{privacy}, 'full', 'privacy, of the location');

($e) = open_of('/inner/most/?i=');

is($e->{site}, 'inner', 'site, from the outer location');
is($e->{privacy}, 'full', 'privacy, from the outer location');
is($e->{key}, '', 'the id, too');

($e) = open_of('/inner/signed/', mint => { key => $key2, key_id => 2 });

is($e->{key}, 2, 'a key in the location puts the outer id aside');

is($t->get('/inner/plain/x')->status(), 404,
   'the handler itself is not inherited');

($e) = open_of('/o/', port => $t->port('b'),
               mint => { key => $key2, key_id => 2 });

is($e->{site}, 'server', 'site, of the server');
is($e->{privacy}, 'minimal', 'privacy, of the server');
is($e->{verdict}, 'self', 'self, of the server');
is($e->{key}, 2, 'keys, of the server');

$t->get('/o/' . $t->mint(id => 'x'), port => $t->port('b'));
is($t->status()->{refused}{key}, 1,
   'keys of http are not inherited beside own ones');


# an "if" block goes on with the handler of its location, and what it needs

is($t->get('/any?a=1', header => [ Host => 'a', Via => 'x' ])->status(), 200,
   '"any" inside of "if"');
like($t->get('/if?id=a')->body(), qr{http://if/E}, 'the base inside of "if"');


# reloads

sub reload_with {
    my (@change) = @_;

    %value = (%value, @change);
    $t->write_conf(conf());

    return ok($t->reload(), "reload with @change");
}

my $first = $t->status()->{rules}{id};

($e) = open_of('/o/');
is($e->{verdict}, 'human', 'rules: human');
is($e->{org}, 'Example one', 'database: one');

reload_with(rules => 'bot.rules', geoip => 'asn=two.mmdb', site => 'second');

($e) = open_of('/o/');
is($e->{verdict}, 'bot', 'rules: bot');
is($e->{provider}, 'loopback', 'rules: provider');
is($e->{org}, 'Example two', 'database: two');
is($e->{site}, 'second', 'site: second');
isnt($e->{rules}, $first, 'another rule set');
is($e->{rules}, $t->status()->{rules}{id}, 'is the one of the status');

reload_with(image => 'png', privacy => 'minimal', self => '1',
            base => 'http://second/');

my $r;
($e, $r) = open_of('/o/');
is($r->header('Content-Type'), 'image/png', 'image: png');
is($e->{privacy}, 'minimal', 'privacy: minimal');
is($e->{verdict}, 'self', 'self: 1');
like($t->get('/mint?id=a')->body(), qr{http://second/}, 'base: second');

reload_with(privacy => 'masked', self => '0');

# rotation: the new key first, then without the old one

my $old = $t->mint(id => 'rotated', sent => time() - 60);

reload_with(keys => 'mailping_key 2 2.key; mailping_key 1 %%KEYFILE%%;');

($e) = open_of('/o/');
is($e->{key}, 1, 'rotation: the old key still verifies');
($e) = open_of('/o/', mint => { key => $key2, key_id => 2 });
is($e->{key}, 2, 'rotation: the new one, too');

my ($minted) = $t->get('/mint?id=a')->body() =~ m{http://second/([\w-]+)};
is(substr($minted, 0, 1), 'E', 'rotation: the new one signs (0x12)');

reload_with(keys => 'mailping_key 2 2.key;');

my $before = $t->status()->{refused}{key};
$t->get("/o/$old");
is($t->status()->{refused}{key}, $before + 1,
   'rotation: the old one is refused');

reload_with(keys => 'mailping_key 1 %%KEYFILE%%;');

# counters survive a reload, but not another size of the zone

my $pixels = $t->status()->{pixels};
cmp_ok($pixels, '>=', $n, 'counters survive reloads');
is($t->status()->{recorded}, $t->status()->{delivery}{delivered},
   'all that was recorded is delivered');

reload_with(zone => '4m');
is($t->status()->{pixels}, 0, 'another zone begins at 0');

# where events go

reload_with(redis => 'server %%REDIS%%; prefix changed;');
($e) = open_of('/o/', stream => 'changed:opens');
ok($e, 'prefix: changed');

reload_with(redis => 'server unix:%%PREFIX%%/other.sock;');
($e) = open_of('/o/', redis => $other);
ok($e, 'server: the other one');

reload_with(redis => 'server %%REDIS%%; partitions 4;');

my %streams;

for (1 .. 40) {
    $t->get('/o/' . $t->mint(id => "p$_", sent => time() - 60));
}

my $streams = sub {
    return grep { /^mailping:\{.*\}:opens$/ } @{$redis->command('KEYS', '*')};
};

my $entries = sub {
    my $sum = 0;
    $sum += $redis->length($_) for ($streams->());
    return $sum;
};

ok(wait_for(sub { $entries->() == 40 }), 'partitions: 40 opens');
is(scalar($streams->()), 4, 'partitions: in 4 streams');

reload_with(redis => 'server %%REDIS%%;', spool => 'size=8m sync=1s');
($e) = open_of('/o/');
ok($e, 'spool: another size, the same directory');

is($t->status()->{spool}{undelivered}, 0, 'nothing is left behind');

$t->done();
