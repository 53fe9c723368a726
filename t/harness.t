#!/usr/bin/env perl

# Copyright (C) MailPing

# The harness itself: what it offers works, and each of the checks that end
# every test can fail.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::MailPing qw(wait_for run_command);


my $conf = <<'END';
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    server {
        listen 127.0.0.1:%%PORT%%;
        listen unix:%%PREFIX%%/http.sock;
        listen 127.0.0.1:%%PORT_tls%% ssl;
        listen 127.0.0.1:%%PORT_proxy%% proxy_protocol;
        ssl_certificate %%PREFIX%%/localhost.crt;
        ssl_certificate_key %%PREFIX%%/localhost.key;
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        location = /gif { empty_gif; }
        location = /text { return 200 "$request_method $http_x_a $http_x_b"; }
        location = /head { return 200 "$request"; }
        location = /addr { return 200 "$remote_addr"; }
    }
}
END


# nginx, HTTP, processes

my $t = Test::MailPing->new(module => '');

$t->certificate();
$t->write_conf($conf);
$t->start();

is(scalar($t->workers()), 2, 'two workers');
isnt($t->port('other'), $t->port(), 'ports differ');
is($t->port('other'), $t->port('other'), 'a port keeps its name');

my $r = $t->get('/gif');
is($r->status(), 200, 'status');
is(length($r->body()), 43, 'body');
is($r->header('content-type'), 'image/gif', 'header');

is($t->request('HEAD', '/gif')->body(), '', 'HEAD has no body');
is($t->get('/text', header => [ 'X-A' => 1, 'X-B' => 2 ])->body(), 'GET 1 2',
   'headers are sent');
is($t->get('/head', version => '1.0')->body(), 'GET /head HTTP/1.0',
   'HTTP/1.0');
is($t->get('/text', unix => $t->path('http.sock'))->body(), 'GET  ',
   'unix socket');
is($t->get('/text', exact => 1)->status(), 400,
   'nothing is added to exact headers');

is($t->get('/addr', port => $t->port('proxy'),
           proxy_protocol => "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n")
     ->body(), '192.0.2.1', 'proxy_protocol');
is(($t->curl('http://127.0.0.1:' . $t->port() . '/text'))[1], 'GET  ',
   'curl');

SKIP: {
    skip('no IO::Socket::SSL', 1) if !eval { require IO::Socket::SSL };

    is($t->get('/text', port => $t->port('tls'), ssl => 1)->body(), 'GET  ',
       'TLS');
}

my $c = $t->connect();
$c->send_request('HEAD', '/gif');
$c->send_request('GET', '/text');
$c->send_request('GET', '/gif');
is($c->response()->body(), '', 'pipelined HEAD');
is($c->response()->body(), 'GET  ', 'pipelined GET');
is(length($c->response()->body()), 43, 'pipelined GIF');
is($c->exchange('GET', '/text')->body(), 'GET  ', 'kept alive');
$c->close();

like($t->raw("GET /text HTTP/1.0\r\n\r\n"), qr/\r\n\r\nGET  $/,
     'raw bytes');

my @before = $t->workers();
ok($t->reload(), 'reload');
my @after = $t->workers();
is(scalar(@after), 2, 'two workers after it');
is(scalar(grep { my $pid = $_; grep { $_ == $pid } @before } @after), 0,
   'and they are new');

$t->write_conf("$conf bad;");
ok(!$t->reload(), 'a refused configuration is not a reload');
$t->allow(qr/unknown directive "bad"|unexpected end of file.*"bad"/);
$t->allow(qr/\[emerg\].*"bad/);
$t->write_conf($conf);

ok($t->kill9($after[0]), 'a worker is killed');
ok(wait_for(sub { $t->workers() == 2 }), 'and made again');

my ($code, $output) = $t->check_conf("$conf worse;");
isnt($code, 0, 'nginx -t refuses');
like($output, qr/"worse|end of file/, 'and says what');
is(($t->check_conf($conf))[0], 0, 'nginx -t accepts');

cmp_ok($t->cpu($t->pid()), '>=', 0, 'processor time');


# chunks and odd packets from a fake peer

my $port = $t->port('fake');
my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1',
                                   LocalPort => $port, ReuseAddr => 1);

my $fake = $t->run_daemon(sub {
    my $client = $server->accept();

    for my $byte (split(//, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                            . "\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    {
        $client->syswrite($byte);
    }

    sleep(60);
});

close($server);

is($t->get('/', port => $port)->body(), 'abcde', 'chunks, byte by byte');
ok((grep { $_ == $fake } $t->processes()), 'the fake is one of ours');


# Redis

my $redis = $t->redis();

is($redis->command('SET', 'a', "x\r\ny"), 'OK', 'status reply');
is($redis->command('GET', 'a'), "x\r\ny", 'bulk reply');
is($redis->command('GET', 'b'), undef, 'nil');
is($redis->command('INCR', 'n'), 1, 'integer');
is_deeply($redis->command('MGET', 'a', 'b'), [ "x\r\ny", undef ], 'array');
ok(!eval { $redis->command('INCR', 'a') }, 'an error dies');
like($@, qr/^ERR value is not an integer/, 'with its text');

$redis->command('XADD', 's', '1-1', 'type', 'open', 'id', 'one');
$redis->command('XADD', 's', '1-2', 'type', 'open', 'id', 'two');
is_deeply([ map { $_->{id} } $redis->entries('s') ], [ 'one', 'two' ],
          'entries in their order');
is(($redis->entries('s'))[0]{'.id'}, '1-1', "an entry's own id");
is_deeply(($redis->pairs('s'))[1],
          [ '1-2', [ 'type', 'open', 'id', 'two' ] ], 'fields in their order');

$redis->kill9();
ok(!eval { $redis->command('PING') }, 'a killed server does not answer');
$redis->start();
is($redis->length('s'), 2, 'and has all after its restart');

my $secret = $t->redis('secret', password => 'open sesame');
is($secret->command('PING'), 'PONG', 'with a password');
is(run_command('redis-cli', '-p', $secret->port(), 'GET', 'a'), 0,
   'at its port');


# tokens: the test vector of a bare token, made by hand

is($t->mint(id => 'a'), 'EQAAAAAAAABh' . substr($t->mint(id => 'a'), 12),
   'the bytes of a token');
like($t->mint(id => 'a'), qr/^[\w-]{34}$/, 'and its length');


# negative controls: each check at the end must be able to fail

sub control {
    my ($name, $expected, $code) = @_;

    my $c = Test::MailPing->new(module => '');

    $c->certificate();
    $c->write_conf($conf);
    $c->start();
    $code->($c);

    my @problems = $c->problems();
    is(scalar(@problems), 1, "$name: one problem");
    like($problems[0] // '', $expected, "$name: and that one");

    # it is judged: nothing is left for done() to find

    $c->{problems} = [];
    unlink($c->path('error.log'), $c->path('stderr.log'));
    $c->done();
}


sub log_line {
    my ($c, $line) = @_;

    open(my $log, '>>', $c->path('error.log')) || die "$!\n";
    print $log "$line\n";
    close($log);
}


control('an alert', qr/\[alert\] 1#1: x/,
        sub { log_line($_[0], '2026/01/01 00:00:00 [alert] 1#1: x') });
control('a sanitizer', qr/AddressSanitizer/,
        sub { log_line($_[0], '==1==ERROR: AddressSanitizer: x') });
control('undefined behavior', qr/runtime error/,
        sub { log_line($_[0], 'x.c:1:2: runtime error: x') });
control('a worker killed', qr/exited on signal 9/, sub {
    my ($c) = @_;

    my ($pid) = $c->workers();
    kill('KILL', $pid);
    wait_for(sub { $c->log_lines(qr/exited on signal/) });
    wait_for(sub { $c->workers() == 2 });
});
control('the master killed', qr/the master \d+ is gone/, sub {
    my ($c) = @_;

    my ($master, @workers) = ($c->pid(), $c->workers());
    kill('KILL', $master, @workers);
    wait_for(sub { !$c->processes() });
});
control('a process left', qr/process \d+ is left: \S*sleep 600/, sub {
    my ($c) = @_;

    $c->spawn('/dev/null', '/bin/sleep', '600');
});
control('descriptors gained', qr/gained descriptors: \d+ .*, \d+/,
        sub { $_[0]{fds} -= 1 });


# the judgement reaches the exit code, and a test that dies leaves nothing

sub script {
    my ($text) = @_;

    return run_command($^X, "-I$FindBin::Bin/lib", '-MTest::More',
                       '-MTest::MailPing', '-e',
                       'my $t = Test::MailPing->new(module => "");'
                       . 'print "prefix ", $t->prefix(), "\n";'
                       . '$t->certificate();'
                       . '$t->write_conf(' . "q{$conf}" . ');'
                       . '$t->start();'
                       . 'print "master ", $t->pid(), "\n";' . $text);
}


($code, $output) = script('$t->done();');
is($code, 0, 'a clean test passes') || diag($output);

($code, $output) = script('open(my $f, ">>", $t->path("error.log"));'
                          . 'print $f "[alert]\n"; close($f); $t->done();');
isnt($code, 0, 'an alert fails the test');

($code, $output) = script('$t->redis(); die "enough\n";');
isnt($code, 0, 'a test that dies fails');
my ($prefix) = $output =~ /^prefix (.*)$/m;
my ($master) = $output =~ /^master (\d+)$/m;
ok(!-e $prefix, 'its directory is gone');
ok(!$t->alive($master), 'and its nginx');

($code, $output) = script('alarm(1); sleep(30);');
isnt($code, 0, 'a test that hangs fails');
like($output, qr/did not end in/, 'and says so');


$t->done();
