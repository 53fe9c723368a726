#!/usr/bin/env perl

# Copyright (C) MailPing

# The spool keeps opens while there is no Redis, through killed workers, fewer
# workers and a full disk quota; what does not fit is counted to the open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw(:mode);
use File::Find;
use Test::More;
use Test::MailPing;

my $conf = <<'END';
%%GLOBALS%%
worker_processes WORKERS;
events { worker_connections 128; }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=SIZE sync=SYNC rewind=1s;
    REDIS
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

my $t = Test::MailPing->new();


sub conf {
    my (%set) = @_;

    %set = (WORKERS => 2, SIZE => '16m', SYNC => 'off',
            REDIS => 'mailping_redis { server %%REDIS%%; }', %set);

    return $conf =~ s/\b([A-Z]+)\b(?!%)/$set{$1} \/\/ $1/ger;
}


sub fetch {
    my (@ids) = @_;

    my $connection = $t->connect();
    my $answered = 0;

    for my $id (@ids) {
        my $r = $connection->exchange('GET',
                                      '/o/' . $t->mint(id => $id) . '.gif');
        $answered += $r->status() == 200;
    }

    return $answered;
}


# everything below the spool: mode, owner, size, time and names

sub listing {
    my @found;

    find(sub {
        my @st = lstat($_);
        push(@found, join(' ', $File::Find::name, @st[1, 2, 4, 5, 7, 9, 10]));
    }, $t->prefix() . '/spool') if -e $t->spool();

    return join("\n", sort @found);
}


sub rings {
    my @rings = glob($t->spool() . '/*.ring');

    return @rings;
}


# "nginx -t" says what a start would meet, and makes nothing

my ($code, $output) = $t->check_conf(conf());
is($code, 0, 'a spool that does not exist yet is fine');
ok(!-e $t->spool(), 'nginx -t does not make it');

($code, $output) = $t->check_conf(conf() =~ s/%%SPOOL%%/%%PREFIX%%\/no\/dir/r);
isnt($code, 0, 'a spool without a parent is refused');
like($output, qr{mailping spool ".*/no/dir" cannot be created}, 'it is named');

$t->write_file('file', '');
($code, $output) = $t->check_conf(conf() =~ s/%%SPOOL%%/%%PREFIX%%\/file/r);
isnt($code, 0, 'a file is refused');
like($output, qr{mailping spool ".*/file" is not a directory}, 'it is named');


# without Redis, opens wait

$t->write_conf(conf());
$t->start();

my @st = stat($t->spool());
is(S_IMODE($st[2]), 0700, 'mode of the spool');

SKIP: {
    skip('not root', 1) if $> != 0;
    is($st[4], (getpwnam('nobody'))[2], 'its owner is the workers\' user');
}

ok(wait_for(sub { rings() == 2 }), 'a ring for each worker');
is(scalar(grep { S_IMODE((stat)[2]) == 0600 } rings()), scalar(rings()),
   'mode of the rings');
is(scalar(grep { -s $_ == 2 * 1024 * 1024 } rings()), 2, 'their size');

is(fetch(map { "wait$_" } (1 .. 200)), 200, 'pixels without redis');

my $before = listing();
is(($t->check_conf(conf()))[0], 0, 'nginx -t beside a running nginx');
is(listing(), $before, 'it changes nothing');


# rings of killed workers are taken by others

my @victims = $t->workers();
my $from = $t->log_size();

ok($t->kill9(@victims), 'both workers are killed');
ok(wait_for(sub { $t->workers() == 2 }), 'others start');

is(fetch(map { "killed$_" } (1 .. 20)), 20, 'pixels after that');

my $redis = $t->redis();

ok(wait_for(sub { $redis->length() == 220 }, 15), 'all opens arrive')
    || diag($redis->length());

my %id;
$id{$_->{id}}++ for ($redis->entries());

is(scalar(grep { ($id{"wait$_"} // 0) == 1 } (1 .. 200)), 200,
   'those before the kill');
is(scalar(grep { $_ != 1 } values(%id)), 0, 'each once');

ok(wait_for(sub { $t->log_lines(qr/took ring/, $from) }), 'a ring was taken');


# fewer workers: what the others leave is delivered

$redis->kill9();

$t->write_conf(conf(WORKERS => 4));
ok($t->reload(), 'four workers');

# a connection each, so that all of them have some

for my $i (1 .. 12) {
    is(fetch(map { "four$i-$_" } (1 .. 3)), 3, "pixels $i");
}

$t->write_conf(conf(WORKERS => 1));
ok($t->reload(), 'one worker');

$redis->start();

ok(wait_for(sub { $redis->length() == 256 }, 20), 'all opens arrive')
    || diag($redis->length());


# a ring that was removed in use is noticed, and another one is made

$t->allow(qr/was removed or replaced while in use/);
$from = $t->log_size();

unlink(rings());

ok(wait_for(sub { $t->log_lines(qr/\[alert\].*was removed or replaced/,
                                $from) }), 'a removed ring is noticed');
ok(wait_for(sub { rings() }), 'another one is made');
is(fetch('removed'), 1, 'pixel');
ok(wait_for(sub { $redis->length() == 257 }), 'the open arrives');


# so is one that was cut

$t->allow(qr/is taken out of use/);
$from = $t->log_size();

truncate($_, 65536) for (rings());

ok(wait_for(sub { $t->log_lines(qr/\[alert\].*its size was changed/, $from) }),
   'a truncated ring is noticed');
ok(wait_for(sub { rings() }), 'another one is made');
is(fetch('truncated'), 1, 'pixel');
ok(wait_for(sub { $redis->length() == 258 }), 'the open arrives');


# a damaged ring is set aside, and does not stop anything

$from = $t->log_size();

my $damaged = $t->spool() . '/' . '0' x 32 . '.ring';

open(my $file, '>', $damaged);
print $file 'x' x 65536;
close($file);
chown(@st[4, 5], $damaged);

ok(wait_for(sub { -e $damaged =~ s/ring$/bad/r }), 'it is renamed');
is(scalar($t->log_lines(qr/\[alert\].*is taken out of use/, $from)), 1,
   'and named once');
is(fetch('damaged'), 1, 'pixel');
ok(wait_for(sub { $redis->length() == 259 }), 'the open arrives');


# full: the pixel answers, what is lost is counted, the loss is told later

$redis->command('CONFIG', 'SET', 'appendfsync', 'always');
$redis->command('FLUSHALL');
$redis->kill9();

ok($t->stop(), 'stop');
unlink(glob($t->spool() . '/*'));

$t->write_conf(conf(WORKERS => 1, SIZE => '2m', SYNC => '100ms'));
$t->start();

my $total = 0;

for my $round (1 .. 40) {
    $total += fetch(map { 'f' x 50 . "-$round-$_" } (1 .. 500));

    last if $t->log_lines(qr/\[warn\].*mailping lost \d+ opens/);
}

ok(wait_for(sub { $t->log_lines(qr/\[warn\].*mailping lost \d+ opens/) }),
   'the full spool is logged');

my $more = fetch(map { "more$_" } (1 .. 50));
is($more, 50, 'pixels of a full spool');
$total += $more;

my $size = 0;
$size += -s $_ for (rings());
cmp_ok($size, '<=', 2 * 1024 * 1024, 'the spool keeps its size');

$redis->start();

ok(wait_for(sub {
    fetch('after') || 1;
    $total++;
    select(undef, undef, undef, 0.2);
    grep { $_->{type} eq 'loss' } $redis->entries();
}, 20), 'a loss entry');

my $opens = 0;
my $lost = 0;

ok(wait_for(sub {
    my @entries = $redis->entries();

    $opens = grep { $_->{type} eq 'open' } @entries;
    $lost = 0;
    $lost += $_->{count} for (grep { $_->{type} eq 'loss' } @entries);

    $opens + $lost == $total;
}, 20), 'opens and losses add up') || diag("$opens + $lost, $total");

cmp_ok($lost, '>=', 50, 'what came while it was full is lost');

my ($loss) = grep { $_->{type} eq 'loss' } $redis->entries();
cmp_ok($loss->{first}, '<=', $loss->{last}, 'first and last loss');

my %event;
is(scalar(grep { $event{$_->{event}}++ } $redis->entries()), 0,
   'no event twice');

$t->done();
