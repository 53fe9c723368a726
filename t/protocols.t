#!/usr/bin/env perl

# Copyright (C) MailPing

# The pixel over HTTP/1.0, 1.1 and 2, TLS, unix sockets, behind realip and the
# PROXY protocol: the address that is judged is the real one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(wait_for run_command);


my $t = Test::MailPing->new();
my $redis = $t->redis();

my ($code, $output) = run_command(qw(openssl req -x509 -newkey rsa:2048 -nodes
    -days 2 -subj /CN=localhost -keyout), $t->path('tls.key'), '-out',
    $t->path('tls.crt'));

if ($code != 0) {
    plan(skip_all => 'no openssl to make a certificate with');
}

my $modern = `'@{[ $t->binary() ]}' -v 2>&1` =~ m{nginx/1\.(\d+)\.(\d+)}
             && ($1 > 25 || $1 == 25 && $2 >= 1);
my $h2 = $modern ? '' : ' http2';
my $h2_on = $modern ? 'http2 on;' : '';

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;

    server {
        listen 127.0.0.1:%%PORT%%;
        listen unix:%%PREFIX%%/http.sock;
        listen [::1]:%%PORT_six%%;
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
        location /o/ { mailping; }
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl$h2;
        $h2_on
        ssl_certificate %%PREFIX%%/tls.crt;
        ssl_certificate_key %%PREFIX%%/tls.key;
        location /o/ { mailping; }
    }

    server {
        listen 127.0.0.1:%%PORT_proxy%% proxy_protocol;
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_plain%% proxy_protocol;
        location = /status { mailping_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_local%%;
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Real-IP;
        location = /status { mailping_status; }
        location = /any { mailping_status any; }
    }
}
END

$t->start();

my @expected;


sub expect {
    my ($id, $r, $network) = @_;

    is(defined $r ? length($r->body()) : 0, 43, "$id: the pixel");
    push(@expected, [ $id, $network ]);
}


sub uri {
    return '/o/' . $t->mint(id => shift) . '.gif';
}


expect('http10', $t->get(uri('http10'), version => '1.0'), '127.0.0.0/24');
expect('http11', $t->get(uri('http11')), '127.0.0.0/24');
expect('unix', $t->get(uri('unix'), unix => $t->path('http.sock')), '');

expect('realip', $t->get(uri('realip'),
       header => [ Host => 'a', 'X-Forwarded-For' => '203.0.113.9' ]),
       '203.0.113.0/24');
expect('mapped', $t->get(uri('mapped'),
       header => [ Host => 'a', 'X-Forwarded-For' => '::ffff:203.0.113.9' ]),
       '203.0.113.0/24');
expect('six', $t->get(uri('six'),
       header => [ Host => 'a', 'X-Forwarded-For' => '2001:db8:1:2::3' ]),
       '2001:db8:1::/48');

expect('proxy', $t->get(uri('proxy'), port => $t->port('proxy'),
       proxy_protocol => "PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n"),
       '198.51.100.0/24');

SKIP: {
    skip('no IO::Socket::SSL', 2) if !eval { require IO::Socket::SSL; 1 };

    my $r = $t->get(uri('tls'), port => $t->port('tls'), ssl => 1);

    expect('tls', $r, '127.0.0.0/24');
    is($r->header('Server'), undef, 'tls: no Server');
}

SKIP: {
    my ($code, $version) = run_command('curl', '--version');
    skip('no curl with HTTP/2', 4) if $code || $version !~ /HTTP2/;

    for my $method (qw(GET HEAD POST)) {
        my $port = $t->port('tls');
        my @how = $method eq 'HEAD' ? ('-I') : ('-X', $method);
        @how = ('-d', 'x' x 5000) if $method eq 'POST';

        my ($code, $output) = run_command(qw(curl -sik --http2), @how,
            "https://127.0.0.1:$port" . uri("h2-$method"));

        like($output, qr{^HTTP/2 200}, "h2 $method: 200");
        like($output, qr{^content-length: 43\r$}m, "h2 $method: the length");
        unlike($output, qr{^server:}mi, "h2 $method: no Server");
        push(@expected, [ "h2-$method", '127.0.0.0/24' ])
            if $method ne 'POST';
    }
}

ok(wait_for(sub { $redis->entries() >= @expected }), 'events arrive');

my %network = map { $_->{id} => $_->{network} } $redis->entries();

is_deeply(\%network, { map { @$_ } @expected }, 'each with its network');


# who is local

my @local = (
    [ 'a plain local peer', 200, port => 'local' ],
    [ 'a balancer by header', 403, port => 'local',
      header => [ Host => 'a', 'X-Forwarded-For' => '192.0.2.1' ] ],
    [ 'even when it names a loopback', 403, port => 'local',
      header => [ Host => 'a', 'X-Forwarded-For' => '127.0.0.1' ] ],
    [ 'Forwarded', 403, port => 'local',
      header => [ Host => 'a', Forwarded => 'for=127.0.0.1' ] ],
    [ 'Via', 403, port => 'local', header => [ Host => 'a', Via => '1.1 x' ] ],
    [ 'realip says another', 403, port => 'local',
      header => [ Host => 'a', 'X-Real-IP' => '192.0.2.1' ] ],
    [ 'the PROXY protocol says another', 403, port => 'proxy',
      proxy_protocol => "PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n" ],
    [ 'also without realip', 403, port => 'plain',
      proxy_protocol => "PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n" ],
    [ 'a local one by the PROXY protocol', 200, port => 'plain',
      proxy_protocol => "PROXY TCP4 127.0.0.1 127.0.0.1 4711 80\r\n" ],
    [ 'any', 200, port => 'local', uri => '/any',
      header => [ Host => 'a', 'X-Forwarded-For' => '192.0.2.1' ] ],
);

for my $case (@local) {
    my ($name, $status, %options) = @$case;
    my $uri = delete $options{uri} // '/status';

    $options{port} = $t->port($options{port});

    is($t->get($uri, %options)->status(), $status, "local? $name: $status");
}

$t->done();
