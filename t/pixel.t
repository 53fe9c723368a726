#!/usr/bin/env perl

# Copyright (C) MailPing

# Whatever the request asks, the answer is 200 with the image; GET and HEAD of
# main requests make events, nothing else does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;


my $gif = pack('H*', '47494638396101000100800000000000ffffff'
               . '21f90401000000002c00000000010001000002024401003b');

my $t = Test::MailPing->new();
my $redis = $t->redis();

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    gzip_proxied any;
    client_max_body_size 1k;
    server {
        listen 127.0.0.1:%%PORT%%;
        listen unix:%%PREFIX%%/http.sock;
        server_name t.example.com;
        location /o/ { mailping; }
        location /png/ { mailping png; }
        location /id/ { mailping; mailping_id $arg_id; }
        location /ssi/ { ssi on; ssi_types *; alias %%PREFIX%%/; }
        location /mirrored/ { mirror /o/mirror; mailping; }
        location = /status { mailping_status; }
        location /if/ { mailping png; if ($arg_a) { set $a 1; } }
        location /app/ { proxy_pass http://unix:%%PREFIX%%/http.sock:/back/; }
        location ~ ^/back/(.*) {
            add_header X-Accel-Redirect /o/$1;
            add_header Set-Cookie own=1;
            add_header Cache-Control public;
            add_header Expires "Thu, 01 Jan 2037 00:00:00 GMT";
            return 204;
        }
    }
}
END

my $token = sub { $t->mint(id => shift, sent => time() - 3600) };

$t->write_file('page.html', '<!--# include virtual="/o/'
                            . $token->('included') . '.gif" -->');
chmod(0644, $t->path('page.html'));

$t->start();


# the answer

my $r = $t->get('/o/' . $token->('plain') . '.gif');

is($r->status(), 200, 'status');
is(length($r->body()), 43, '43 bytes');
is($r->body(), $gif, 'the GIF, byte by byte');
is($r->header('Content-Type'), 'image/gif', 'type');
is($r->header('Content-Length'), 43, 'length');
is($r->header('Cache-Control'),
   'no-cache, no-store, must-revalidate, private, max-age=0', 'cache control');
is($r->header('X-Robots-Tag'), 'noindex', 'robots');

for my $name (qw(Server ETag Last-Modified Set-Cookie Accept-Ranges Vary
                 Content-Encoding Location))
{
    is($r->header($name), undef, "no $name");
}

$r = $t->get('/png/' . $token->('png') . '.png');

is($r->header('Content-Type'), 'image/png', 'PNG');
is(substr($r->body(), 0, 8), "\x89PNG\r\n\x1a\n", 'its signature');
is(substr($r->body(), -8), "IEND\xae\x42\x60\x82", 'its end');
is($r->header('Content-Length'), length($r->body()), 'its length');


# what a request may ask

my %requests = (
    range => [ GET => header => [ Range => 'bytes=0-1' ] ],
    'if-range' => [ GET => header => [ Range => 'bytes=5-',
                                       'If-Range' => '"x"' ] ],
    'modified since' => [ GET => header =>
        [ 'If-Modified-Since' => 'Thu, 01 Jan 2037 00:00:00 GMT' ] ],
    'unmodified since' => [ GET => header =>
        [ 'If-Unmodified-Since' => 'Thu, 01 Jan 1970 00:00:00 GMT' ] ],
    'none match' => [ GET => header => [ 'If-None-Match' => '*' ] ],
    match => [ GET => header => [ 'If-Match' => '"x"' ] ],
    gzip => [ GET => header => [ 'Accept-Encoding' => 'gzip, br' ] ],
    'HTTP/1.0' => [ GET => version => '1.0' ],
    'GET with a body' => [ GET => body => 'x' x 4000 ],
);

for my $name (sort keys %requests) {
    my ($method, @options) = @{$requests{$name}};
    my $id = $name =~ tr/ /-/r;
    my $r = $t->request($method, '/o/' . $token->($id), @options);

    is($r->status(), 200, "$name: 200");
    is($r->body(), $gif, "$name: the image");
    is($r->header('Server'), undef, "$name: no Server");
    is($r->header('Content-Encoding'), undef, "$name: not encoded");
}

my @silent = qw(POST PUT DELETE OPTIONS PATCH PROPFIND MKCOL WHATEVER);

for my $method (@silent) {
    my $r = $t->request($method, '/o/' . $token->("method-$method"),
                        body => 'b' x 100_000);

    is($r->status(), 200, "$method: 200, the body is larger than allowed");
    is($r->body(), $gif, "$method: the image");
}

# an "if" block is still the location

$r = $t->get('/if/' . $token->('if') . '?a=1');
is($r->header('Content-Type'), 'image/png', 'the image inside of "if"');

# what an application set before it sent the request here is gone

$r = $t->get('/app/' . $token->('accel'));
is($r->body(), $gif, 'X-Accel-Redirect: the image');
is($r->header('Cache-Control'),
   'no-cache, no-store, must-revalidate, private, max-age=0',
   'X-Accel-Redirect: cache control');
is($r->header($_), undef, "X-Accel-Redirect: no $_")
    for (qw(Set-Cookie Expires Server));

# nginx answers a malformed body with 400, so it is no open

like($t->raw('GET /o/' . $token->('malformed') . " HTTP/1.1\r\nHost: a\r\n"
             . "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n"),
     qr/^HTTP\S+ 400 /, 'a malformed body');

# a discarded body must not become the next request

my $c = $t->connect();

$c->send_request('POST', '/o/' . $token->('body'),
                 body => "GET /o/nothing HTTP/1.1\r\nHost: x\r\n\r\n");
$c->send_request('HEAD', '/o/' . $token->('head'));
$c->send_request('GET', '/o/' . $token->('pipelined'));

is($c->response()->status(), 200, 'POST on a kept connection');

$r = $c->response();
is($r->status(), 200, 'then HEAD');
is($r->header('Content-Length'), 43, 'with the length');
is($r->body(), '', 'and no body');

is($c->response()->body(), $gif, 'then GET');

is($t->get('/o/' . $token->('unix'), unix => $t->path('http.sock'))->body(),
   $gif, 'a unix socket');

is($t->raw("GET /o/" . $token->('no-host') . " HTTP/1.0\r\n\r\n")
   =~ /\Q$gif\E\z/, 1, 'HTTP/1.0 without Host');

is($t->get('/o/')->body(), $gif, 'no token');
is($t->get('/o/%00')->status(), 400, 'a request that nginx itself refuses');

is($t->get('/ssi/page.html')->body(), $gif, 'a subrequest');
is($t->get('/mirrored/' . $token->('mirrored'))->body(), $gif, 'a mirror');


# ids without tokens

for my $id ('a' x 64, 'order-4711', '!~') {
    is($t->get("/id/?id=$id")->body(), $gif, "id $id");
}

my @bad = ('', 'a' x 65, 'a@b', "\xc3\xa4", '%C3%A4');

for my $id (@bad) {
    is($t->raw("GET /id/?id=$id HTTP/1.1\r\nHost: a\r\n"
               . "Connection: close\r\n\r\n") =~ /\Q$gif\E\z/, 1,
       'a bad id');
}


# what was recorded

my @expected = sort('plain', 'png', 'head', 'pipelined', 'unix', 'no-host',
                    'mirrored', 'if', 'accel', map({ tr/ /-/r } keys %requests),
                    'a' x 64, 'order-4711', '!~', '%C3%A4');

ok(wait_for(sub { $redis->entries() >= @expected }), 'events arrive');

is_deeply([ sort map { $_->{id} } $redis->entries() ], \@expected,
          'one event for each GET and HEAD, none for anything else');

my ($plain) = grep { $_->{id} eq 'plain' } $redis->entries();

is($plain->{site}, 'localhost', 'the site is the host');
is($plain->{key}, 1, 'the key');
is($plain->{type}, 'open', 'the type');

my ($unsigned) = grep { $_->{id} eq 'order-4711' } $redis->entries();

is($unsigned->{key}, '', 'no key in unsigned mode');

my ($unix) = grep { $_->{id} eq 'unix' } $redis->entries();

is($unix->{network}, '', 'no network for a unix socket');

my $status = $t->get('/status');

is($status->header('Content-Type'), 'application/json', 'the status is JSON');

require JSON::PP;
my $s = JSON::PP::decode_json($status->body());

is($s->{recorded}, scalar(@expected), 'recorded');
is($s->{ignored}, @silent + 1, 'ignored');
is($s->{subrequests}, 2, 'subrequests');
is($s->{bad_id}, @bad - 1, 'bad ids');
is($s->{refused}{length}, 1, 'refused: the empty one');

$t->done();
