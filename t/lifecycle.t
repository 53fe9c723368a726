#!/usr/bin/env perl

# Copyright (C) MailPing

# nginx's life with the module loaded: without http{}, beside cache processes,
# "nginx -t" next to a running one, reloads, QUIT, TERM, a peer that never
# answers, connections that run out, a single process, and a binary upgrade.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::MailPing;
use Time::HiRes qw(sleep time);


my $conf = <<'END';
%%GLOBALS%%
MAIN
worker_processes 2;
worker_shutdown_timeout 10s;
events { worker_connections CONNECTIONS; }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m;
    mailping_redis { server SERVER; }
    mailping_key 1 %%KEYFILE%%;
    keepalive_timeout 0;
    CACHE
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

my %part;
my @ids;
my $t;
my $redis;


sub set_conf {
    %part = (CONNECTIONS => 128, SERVER => '%%REDIS%%', CACHE => '',
             MAIN => '', @_);

    my $names = join('|', keys(%part));

    $t->write_conf($conf =~ s/\b($names)\b/$part{$1}/gr);
}


sub fetch {
    my ($count) = @_;

    for (1 .. $count // 1) {
        my $id = 'id' . (@ids + 1);
        my $r = $t->get('/o/' . $t->mint(id => $id));

        die "no pixel\n" if length($r->body()) != 43;

        push(@ids, $id);
    }
}


# each open is in the stream, once

sub all_arrived {
    my ($name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    wait_for(sub { $redis->length() >= @ids });

    return is(join(' ', sort map { $_->{id} } $redis->entries()),
              join(' ', sort @ids), "$name: every open arrived once");
}


sub ends {
    my ($signal, $seconds, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $start = time();
    my $ended = $t->stop($signal);

    return ok($ended && time() - $start < $seconds,
              "$name: $signal ends it within $seconds s")
        || diag(time() - $start);
}


# without http{}

my $bare = Test::MailPing->new();

$bare->write_conf("%%GLOBALS%%\nworker_processes 2;\nevents { }\n");
$bare->start();
ok($bare->reload(), 'no http: a reload');
ok($bare->stop(), 'no http: the end');


# one connection for each worker, none for the cache manager and loader

$t = Test::MailPing->new();
$redis = $t->redis();

set_conf(CACHE => 'proxy_cache_path %%PREFIX%%/cache keys_zone=cache:1m;');
mkdir($t->path('cache'));
chmod(0777, $t->path('cache'));
$t->start();

my $clients = sub {
    return scalar(() = $redis->command('CLIENT', 'LIST') =~ /name=mailping/g);
};

my $titles = sub {
    return join(' ', map { Test::MailPing::Process::process_title($_) }
                         $t->processes());
};

ok(wait_for(sub { $titles->() =~ /cache manager/ }),
   'a cache manager is there');
fetch(20);
all_arrived('cache');
ok(wait_for(sub { $clients->() == 2 }), 'cache: two workers, two connections');
is(scalar($t->log_lines(qr/\[notice\].* mailping 0/)), 2,
   'cache: two processes have started it');


# "nginx -t" beside it, and as -t before each reload of a careful operator

my $listing = sub { `find '@{[ $t->spool() ]}' -printf '%P %i %U %m %s\n'` };
my $before = $listing->();

my ($code, $output) = $t->check_conf($t->read_file('nginx.conf')
                                     =~ s/nginx\.pid/check.pid/r);

is($code, 0, '"nginx -t" beside a running nginx') || diag($output);
is($listing->(), $before, 'touches nothing');
fetch(5);
all_arrived('-t');


# reloads; done() compares the descriptors of the master

for my $n (1 .. 10) {
    fetch(3);
    $t->reload() || diag("reload $n");
}

fetch(3);
all_arrived('10 reloads');
ok(wait_for(sub { $clients->() == 2 }), 'and two connections again');

ends('QUIT', 1.5, 'idle');

$t->start();
fetch(5);
ends('TERM', 1.5, 'after opens');

$t->start();
all_arrived('after TERM');
ends('TERM', 1.5, 'idle');


# Redis takes connections and says nothing: an exit waits for it briefly

my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1')
             || die "cannot listen: $!\n";

set_conf(SERVER => '127.0.0.1:' . $silent->sockport());
$t->start();
fetch(5);
ends('QUIT', 4, 'silent Redis');
close($silent);


# fewer connections than an open needs for its delivery: the spool has it

set_conf(CONNECTIONS => 4);
$t->allow(qr/\[alert\].*worker_connections are not enough/);
$t->start();

my @idle = map {
    IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port())
} (1 .. 8);

sleep(0.3);
close($_) for (grep { defined $_ } @idle);

ok(wait_for(sub { eval { fetch(); 1 } }), 'tiny: the pixel answers again');
all_arrived('tiny');
ends('QUIT', 3, 'tiny');


# a single process

set_conf(MAIN => 'master_process off;');
$t->start();
fetch(5);
all_arrived('single process');
ends('QUIT', 2, 'single process');
$t->start();
fetch(5);
ends('TERM', 2, 'single process');


# a binary upgrade: two masters, two zones, one spool

set_conf();
$t->allow_fds();
$t->start();

fetch(10);

my $old = $t->pid();
kill('USR2', $old);

ok(wait_for(sub {
    my $pid = $t->pid();
    -e $t->path('nginx.pid.oldbin') && $pid && $pid != $old && $t->workers();
}), 'upgrade: a second master');

fetch(40);
all_arrived('upgrade, both generations');

kill('WINCH', $old);
fetch(10);
kill('QUIT', $old);
ok(wait_for(sub { !-e "/proc/$old" || !$t->alive($old) }),
   'upgrade: the old master ends');

fetch(10);
all_arrived('upgrade, the new one alone');

$bare->done();
$t->done();
