#!/usr/bin/env perl

# Copyright (C) MailPing

# Opens reach the stream of a real Redis over TCP and over a unix socket, wait
# while Redis is away or refuses them, and arrive once each when it is back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw(remove_tree);
use Test::More;
use Test::MailPing;
use Time::HiRes qw(time);

my $conf = <<'END';
%%GLOBALS%%
worker_processes 1;
events { worker_connections 128; }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=8m sync=off;
    mailping_redis {
        SERVER
    }
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

my $t = Test::MailPing->new();
my $redis = $t->redis();
my $n = 0;


sub conf {
    my ($server) = @_;

    return $conf =~ s/SERVER/$server/r;
}


sub fetch {
    my ($id) = @_;

    return $t->get('/o/' . $t->mint(id => $id) . '.gif')->status();
}


sub ids {
    my ($stream) = @_;

    return join(' ', map { $_->{id} } $redis->entries($stream));
}


# a fetch that is answered and whose open then is in the stream, once

sub arrives {
    my ($name) = @_;

    my $id = 'm' . ++$n;

    is(fetch($id), 200, "$name: the pixel");

    return ok(wait_for(sub {
        eval { grep { $_ eq $id } split(' ', ids()) }
    }, 12), "$name: the open");
}


sub refused_once {
    my ($regex, $from, $name) = @_;

    ok(wait_for(sub { $t->log_lines($regex, $from) }, 12), "$name is logged");
    select(undef, undef, undef, 1.2);
    is(scalar($t->log_lines($regex, $from)), 1, "$name is logged once");
}


# over TCP, then over a unix socket

$t->write_conf(conf('server 127.0.0.1:%%REDIS_PORT%%;'));
$t->start();

arrives('tcp');

$t->write_conf(conf('server %%REDIS%%;'));
ok($t->reload(), 'reload');

arrives('unix');

my ($entry) = $redis->entries();
like($entry->{event}, qr{^[0-9a-f]{32}\.0/1$}, 'the first event');

like($redis->command('CLIENT', 'LIST'), qr/name=mailping/,
     'the connection has a name');


# Redis dies and comes back; what came meanwhile arrives, nothing twice

my $from = $t->log_size();

$redis->kill9();

is(fetch("away$_"), 200, "the pixel without redis, $_") for (1 .. 5);

refused_once(qr/\[error\].* mailping (?:lost|cannot reach) redis.*unix:/,
             $from, 'a lost redis');

$redis->start();

ok(wait_for(sub { ids() =~ /away5/ }), 'the opens arrive');
is(ids(), 'm1 m2 away1 away2 away3 away4 away5', 'each once, in order');

ok(wait_for(sub {
    $t->log_lines(qr/\[notice\].* mailping delivers to redis .* again/, $from)
}), 'the return is logged');
is(scalar($t->log_lines(qr/delivers to redis .* again/, $from)), 1,
   'the return is logged once');

arrives('again');

my %seen;
is(scalar(grep { $seen{$_->{event}}++ } $redis->entries()), 0,
   'no event twice');


# what Redis lost is sent again, also what an older generation had sent

my @known = sort(split(' ', ids()));
$from = $t->log_size();

$redis->kill9();
remove_tree($t->path('redis/appendonlydir'));
$redis->start();

ok(wait_for(sub { ids() && split(' ', ids()) >= @known }),
   'what redis lost is sent again');
is_deeply([ sort(split(' ', ids())) ], \@known, 'all of it, once');
ok($t->log_lines(qr/\[warn\].* mailping sends \d+ opens .* again/, $from),
   'it is logged');


# an idle connection that is cut is made again without a record to send

my $connects = () = $t->get('/status')->body() =~ /ready/g;
is($connects, 1, 'the status says ready');

$redis->command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');

ok(wait_for(sub {
    $redis->command('CLIENT', 'LIST') =~ /name=mailping/
}), 'a killed connection is made again');


# what a server says that takes no more clients is heard

arrives('the connection that was made again');

$from = $t->log_size();
$redis->command('CONFIG', 'SET', 'maxclients', 1);
$redis->command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
is(fetch('clients'), 200, 'the pixel without a free client in redis');
refused_once(qr/\[error\].* mailping .*max number of clients/, $from,
             'a full server');
$redis->command('CONFIG', 'SET', 'maxclients', 10000);
ok(wait_for(sub { ids() =~ /clients/ }, 12), 'the open arrives');


# a server that hangs is given up after reply_timeout

$t->write_conf(conf('server %%REDIS%%; reply_timeout 300ms;'));
ok($t->reload(), 'reload with a short time-out');
arrives('short time-out');

$from = $t->log_size();
$redis->pause();
is(fetch('hang'), 200, 'the pixel while redis hangs');
ok(wait_for(sub { $t->log_lines(qr/it did not reply/, $from) }),
   'a missing reply is noticed');
$redis->resume();

ok(wait_for(sub { ids() =~ /hang/ }), 'the open arrives');
is(scalar(() = ids() =~ /hang/g), 1, 'it arrives once');


# errors of Redis: refused while they last, delivered after that

$from = $t->log_size();
$redis->command('CONFIG', 'SET', 'maxmemory', 1);
is(fetch('oom'), 200, 'the pixel without memory in redis');
refused_once(qr/\[error\].* mailping is refused by redis: .*OOM/, $from,
             'OOM');
$redis->command('CONFIG', 'SET', 'maxmemory', 0);
ok(wait_for(sub { ids() =~ /oom/ }, 12), 'the open arrives');


# the wrong password is logged once, and read again when it was corrected

$redis->command('ACL', 'SETUSER', 'mailping', 'on', '>right', 'resetkeys',
                '~mailping:*', 'resetchannels', '-@all', '+multi', '+exec',
                '+watch', '+unwatch', '+get', '+set', '+xadd', '+xtrim',
                '+type', '+ping', '+info', '+role', '+client|setname',
                '+select');

$t->write_file('password', "wrong\n");
$t->write_conf(conf('server %%REDIS%%; user mailping;
                     password_file %%PREFIX%%/password;'));
$from = $t->log_size();
ok($t->reload(), 'reload with a password');
is(fetch('auth'), 200, 'the pixel with a wrong password');
refused_once(qr/\[error\].* mailping is refused by redis: .*WRONGPASS/, $from,
             'a wrong password');
unlike(join('', $t->log_lines()), qr/wrong\b/, 'the password is not logged');

$t->write_file('password', "right\n");
ok(wait_for(sub { ids() =~ /auth/ }, 12), 'the corrected password is used');
like($redis->command('CLIENT', 'LIST'), qr/name=mailping .*user=mailping/,
     'the connection is the user\'s');


# rights for a new prefix only: what waits under the old one stops alone

$redis->stop();
is(fetch('stranded'), 200, 'the pixel of an open under the old prefix');
$redis->start();
$redis->command('ACL', 'SETUSER', 'mailping', 'on', '>right', 'resetkeys',
                '~fresh:*', 'resetchannels', '-@all', '+multi', '+exec',
                '+watch', '+unwatch', '+get', '+set', '+xadd', '+xtrim',
                '+type', '+ping', '+info', '+role', '+client|setname',
                '+select');

$t->allow(qr/mailping stops the delivery of .*NOPERM/);
$t->write_conf(conf('server %%REDIS%%; prefix fresh; user mailping;
                     password_file %%PREFIX%%/password;'));
$from = $t->log_size();
ok($t->reload(), 'reload with another prefix');
is(fetch("fresh$_"), 200, "pixel $_ under the new prefix") for (1 .. 2);
ok(wait_for(sub { ids('fresh:opens') =~ /fresh1 fresh2/ }, 12),
   'the opens under the new prefix arrive');
ok(wait_for(sub { $t->log_lines(qr/stops the delivery of .*NOPERM/, $from) },
            12),
   'the ring of the old prefix stops, with an alert');

$redis->command('ACL', 'SETUSER', 'mailping', '~mailping:*');
ok($t->reload(), 'reload with rights for both');
ok(wait_for(sub { ids() =~ /stranded/ }, 12), 'what waited arrives');


# another server is tried when the first one is not fit

my $replica = $t->redis('replica', arguments => [
    '--replicaof', '127.0.0.1', $redis->port() ]);

$t->write_conf(conf('server 127.0.0.1:%%PORT_replica%%; server %%REDIS%%;'));
$from = $t->log_size();
ok($t->reload(), 'reload with a replica');
arrives('beside a replica');
ok($t->log_lines(qr/\[error\].* mailping is refused by redis: .*not a master/,
                 $from), 'the replica is refused');
$replica->stop();


# a key of another type stops the delivery, with an alert; nothing is lost

$t->allow(qr/mailping stops the delivery of/);
$t->write_conf(conf('server %%REDIS%%;'));
ok($t->reload(), 'reload with one server');
arrives('before the wrong type');

$redis->command('RENAME', 'mailping:opens', 'kept');
$redis->command('SET', 'mailping:opens', 'text');
$from = $t->log_size();
is(fetch('type'), 200, 'the pixel with a key of the wrong type');
ok(wait_for(sub { $t->log_lines(qr/stops the delivery|WRONGTYPE|wrong type/,
                                $from) }), 'it is logged');
is($redis->command('GET', 'mailping:opens'), 'text', 'the key is untouched');

$redis->command('DEL', 'mailping:opens');
ok($t->reload(), 'reload after the key was removed');
ok(wait_for(sub { eval { ids() } // '' =~ /type/ }, 12), 'the open arrives');
is(ids(), 'type', 'it arrives once');


# a name is resolved at start where there is no resolver

$t->write_conf(conf('server localhost:%%REDIS_PORT%%;'));
ok($t->reload(), 'reload with a name');
arrives('a name');

my ($code, $output) = $t->check_conf(conf('server nowhere.invalid;'));
isnt($code, 0, 'a name that does not resolve is refused');
like($output, qr/"nowhere\.invalid"/, 'it is named');


# an exiting worker waits for a reply that does not come, but not for long

$redis->pause();
is(fetch('exit'), 200, 'the pixel while redis hangs');

my $begin = time();
ok($t->stop(), 'stop with a reply outstanding');
cmp_ok(time() - $begin, '<=', 3.5, 'the exit waits two seconds at most');

$redis->resume();
$t->start();

ok(wait_for(sub { ids() =~ /exit/ }), 'the open arrives after a start');
is(scalar(() = ids() =~ /exit/g), 1, 'it arrives once');


# a worker whose connection is idle leaves at once

$begin = time();
ok($t->stop(), 'stop');
cmp_ok(time() - $begin, '<', 1, 'without delay');

$t->done();
