#!/usr/bin/env perl

# Copyright (C) MailPing

# A batch that is under way when nginx is reloaded or stopped is answered to
# its end, unless worker_shutdown_timeout cuts it off; a body that is malformed
# in its middle ends the answers and nothing else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use Test::More;
use Test::MailPing qw(wait_for);
use Time::HiRes qw(time);


my $t = Test::MailPing->new();


sub set_conf {
    my ($timeout) = @_;

    $t->write_conf(<<"END");
%%GLOBALS%%
worker_processes 1;
$timeout
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_key 1 %%KEYFILE%%;

    server {
        listen 127.0.0.1:%%PORT%%;
        location = /mint { mailping_mint https://t.example.com/o/; }
        location = /other { return 200 other; }
    }
}
END
}


sub chunk {
    my ($bytes) = @_;

    return sprintf("%x\r\n%s\r\n", length($bytes), $bytes);
}


# reads until the bytes match, or the peer closes, or the time is over

sub read_until {
    my ($c, $regex) = @_;

    my $bytes = '';
    my $until = time() + 10;

    while ($bytes !~ $regex && time() < $until) {
        IO::Select->new($c->socket())->can_read(0.1) || next;
        sysread($c->socket(), $bytes, 65536, length($bytes)) || last;
    }

    return $bytes;
}


# a batch of which the first line is answered

sub begin {
    my $c = $t->connect();

    $c->write("POST /mint HTTP/1.1\r\nHost: a\r\n"
              . "Transfer-Encoding: chunked\r\n\r\n" . chunk("one\n"));

    like(read_until($c, qr/\.gif\n/), qr/^HTTP\S+ 200 /, 'a batch is begun');

    return $c;
}


sub rest {
    my ($c) = @_;

    $c->write(chunk("two\n") . "0\r\n\r\n");

    return read_until($c, qr/\r\n0\r\n\r\n/);
}


my $two = quotemeta($t->mint(id => 'two'));

set_conf('');
$t->start();


# malformed in the middle, and fine afterwards

my $c = begin();
$c->write("zz\r\n");
unlike($c->read_all(), qr/\r\n0\r\n\r\n/, 'a malformed chunk ends the answers');
ok(!$c->timed_out(), 'and the connection');
is($t->get('/other')->body(), 'other', 'and no more');


# reload

my ($old) = $t->workers();

$c = begin();
kill('HUP', $t->pid());

ok(wait_for(sub { grep { $_ != $old } $t->workers() }), 'new workers');
is($t->get('/mint?id=a')->status(), 200, 'serve');
ok($t->alive($old), 'the old one waits for its batch');
like(rest($c), qr/$two\.gif\n/, 'which is answered to its end');
ok(wait_for(sub { !$t->alive($old) }), 'and ends then');
$c->close();


# a batch that outlives the old worker's patience

set_conf('worker_shutdown_timeout 1s;');
ok($t->reload(), 'worker_shutdown_timeout');

($old) = $t->workers();

$c = begin();
kill('HUP', $t->pid());

unlike($c->read_all(), qr/\r\n0\r\n\r\n/, 'a batch is cut off');
ok(!$c->timed_out(), 'in time');
ok(wait_for(sub { !$t->alive($old) }), 'and its worker is gone');


# QUIT, and TERM

set_conf('');
ok($t->reload(), 'no worker_shutdown_timeout');

my $pid = $t->pid();

$c = begin();
kill('QUIT', $pid);
ok(wait_for(sub { !eval { $t->connect(timeout => 1); 1 } }),
   'nginx listens no more');
like(rest($c), qr/$two\.gif\n/, 'QUIT: answered to its end');
ok(wait_for(sub { !$t->alive($pid) }), 'and ends then');
$c->close();

unlink($t->path('nginx.pid'));
$t->start();

$c = begin();
ok($t->stop('TERM', 5), 'TERM: ends at once');
$c->close();

$t->done();
