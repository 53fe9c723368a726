#!/usr/bin/env perl

# Copyright (C) MailPing

# A Redis that is known by name is looked up by nginx's resolver on each
# connect: what the name server says later counts, a dead one blocks nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::MailPing;

my $t = Test::MailPing->new();
my $redis = $t->redis();
my $port = $t->port('dns');

# what the name server says of a name: nothing, that there is none, or this

$t->write_file('silent.test', 'silent');
$t->write_file('redis.test', 'unknown');

$t->run_daemon(\&name_server, $port);

my $conf = <<'END';
%%GLOBALS%%
worker_processes 1;
events { worker_connections 64; }
http {
    %%GLOBALS_HTTP%%
    resolver 127.0.0.1:%%PORT_dns%% valid=1s ipv6=off;
    resolver_timeout 1s;
    mailping_spool %%SPOOL%% size=8m sync=off;
    mailping_redis { server NAME:%%REDIS_PORT%%; }
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
    }
}
END


sub name_server {
    my ($port) = @_;

    my $socket = IO::Socket::INET->new(Proto => 'udp', LocalPort => $port,
                                       LocalAddr => '127.0.0.1')
        || die "cannot listen: $!\n";

    while (defined $socket->recv(my $query, 512)) {
        my @labels = unpack('x12 (C/a)2', $query);
        my $said = $t->read_file(join('.', @labels));

        if ($said eq 'silent') {
            next;
        }

        my $known = $said ne 'unknown';
        my $question = substr($query, 12);

        $socket->send(substr($query, 0, 2)
            . pack('n5', $known ? 0x8180 : 0x8183, 1, $known, 0, 0)
            . $question
            . ($known ? pack('n3Nna4', 0xc00c, 1, 1, 1, 4,
                             pack('C4', split(/\./, $said)))
                      : ''));
    }
}


sub fetch {
    my ($id) = @_;

    return $t->get('/o/' . $t->mint(id => $id) . '.gif')->status();
}


sub ids {
    return join(' ', map { $_->{id} } $redis->entries());
}


# nginx starts and answers while the name is not known, and says so once

$t->write_conf($conf =~ s/NAME/redis.test/r);
$t->start();

is(fetch('unknown'), 200, 'the pixel while the name is unknown');

my $unknown = qr/\[error\].* cannot reach redis: Host not found/;

ok(wait_for(sub { $t->log_lines($unknown) }), 'an unknown name is logged');
select(undef, undef, undef, 1);
is(scalar($t->log_lines($unknown)), 1, 'it is logged once');

$t->write_file('redis.test', '127.0.0.1');

ok(wait_for(sub { ids() eq 'unknown' }, 12), 'the open arrives');
ok(wait_for(sub { $t->log_lines(qr/\[notice\].* delivers to redis "redis.test/)
}), 'the return is logged');


# the name moves where nobody listens, and comes back

my $from = $t->log_size();

$t->write_file('redis.test', '127.0.0.2');

# "valid" counts whole seconds, and the last of them to its end

select(undef, undef, undef, 2.2);

# what is connected stays so

is(fetch('moved'), 200, 'the pixel');
ok(wait_for(sub { ids() eq 'unknown moved' }), 'a connection is kept');

$redis->command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
is(fetch('refused'), 200, 'the pixel while the address is wrong');
ok(wait_for(sub { $t->log_lines(qr/\[error\].*mailping/, $from) }),
   'it is logged');

select(undef, undef, undef, 1);
is(ids(), 'unknown moved', 'the new address was asked for');

$t->write_file('redis.test', '127.0.0.1');
ok(wait_for(sub { ids() eq 'unknown moved refused' }, 12),
   'the open arrives');


# a name server that says nothing does not keep nginx from leaving

$t->write_conf($conf =~ s/NAME/silent.test/r);
$from = $t->log_size();
ok($t->reload(), 'reload with a silent name server');

is(fetch('silent'), 200, 'the pixel while nobody answers');
ok(wait_for(sub { $t->log_lines(qr/cannot reach redis: Operation timed out/,
                                $from) }), 'the time-out is logged');
ok($t->stop(), 'stop');

$t->done();
