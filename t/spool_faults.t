#!/usr/bin/env perl

# Copyright (C) MailPing

# A disk that fails: writes that are short or refused, a sync that fails, a
# file system that cannot do it, and what a killed worker has left half-made.
# The pixel always answers, and what is lost is counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(wait_for run_command);

my $t = Test::MailPing->new();
my $shim = $t->path('fault.so');
my $faults = $t->path('faults');

my ($code, $output) = run_command($ENV{CC} // 'cc', '-O2', '-Wall', '-shared',
                                  '-fPIC', '-o', $shim,
                                  "$FindBin::Bin/lib/fault.c", '-ldl');

is($code, 0, 'the shim compiles') || diag($output);

$t->{wrap} = [ 'env', "LD_PRELOAD=$shim", "FAULTS=$faults" ];

my $redis = $t->redis();
my $n = 0;

my $conf = <<'END';
%%GLOBALS%%
worker_processes 1;
events { worker_connections 128; }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=8m sync=50ms rewind=1s;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END


sub set_faults {
    $t->write_file('faults', join('', map { "$_\n" } @_));
}


sub fetch {
    my ($id) = @_;

    return $t->get('/o/' . $t->mint(id => $id) . '.gif')->status();
}


sub arrives {
    my ($name) = @_;

    my $id = 'm' . ++$n;

    is(fetch($id), 200, "$name: the pixel");

    return ok(wait_for(sub { grep { $_->{id} eq $id } entries('open') }),
              "$name: the open");
}


sub entries {
    my ($type) = @_;

    return grep { $_->{type} eq $type } $redis->entries();
}


sub rings {
    my @rings = sort(glob($t->spool() . '/*.ring'));

    return @rings;
}


# NFS is refused, others are warned of

set_faults('statfs ' . 0x6969);
mkdir($t->spool(), 0700);
chown((getpwnam('nobody'))[2, 3], $t->spool()) if $> == 0;

$t->write_conf($conf);
ok(!$t->try_start(), 'no start on NFS');
like($t->startup() . join('', $t->log_lines()),
     qr/\[emerg\].*mailping spool ".*" is on NFS/, 'it is named');
$t->allow(qr/is on NFS/);

set_faults('statfs ' . 0x794c7630);
$t->start();
ok($t->log_lines(qr/\[warn\].*mailping spool ".*" is on overlayfs/),
   'overlayfs is warned of');


# short writes are continued

set_faults('short 7');
arrives('short writes');
is($t->status()->{spool}{rings}[0]{state}, 'clean', 'they do no harm');


# a write that fails is counted and told; another ring is used then

my ($first) = rings();
my $from = $t->log_size();

set_faults('pwrite 28');

is(fetch("full$_"), 200, "the pixel on a full disk, $_") for (1 .. 3);

is(scalar($t->log_lines(qr/\[crit\].*a record cannot be written/, $from)), 1,
   'it is logged once');

my $lost = $t->status()->{lost};
is($lost->{full} + $lost->{failed}, 3, 'the lost are counted');

set_faults();

ok(wait_for(sub { entries('loss') }), 'the loss is told');
my $told = 0;
$told += $_->{count} for (entries('loss'));
is($told, 3, 'to the open');

arrives('after a full disk');
ok(wait_for(sub { !-e $first }), 'the ring that failed is removed');
is(scalar(grep { /^full/ } map { $_->{id} } entries('open')), 0,
   'none of the lost comes back');


# a failed sync is final: the ring is delivered, not appended to

$from = $t->log_size();
($first) = rings();

set_faults('fdatasync 5');
arrives('while the sync fails');
ok(wait_for(sub { $t->log_lines(qr/\[crit\].*fdatasync\(\).* failed/, $from) }),
   'a failed sync is logged');
set_faults();

ok(wait_for(sub { !-e $first }), 'its ring is drained and removed');
arrives('after a failed sync');

my %event;
is(scalar(grep { $event{$_->{event}}++ } $redis->entries()), 0,
   'no event twice');

my $now = $t->status();
is($now->{recorded}, scalar($redis->entries()), 'recorded counts them all');
is($now->{spool}{undelivered}, 0, 'nothing waits');
is(scalar(@{$now->{spool}{rings}}), scalar(rings()),
   'removed rings are not shown');


# what was being made when a worker was killed is removed, but not at once

my $old = $t->spool() . '/' . 'a' x 32 . '.tmp';
my $new = $t->spool() . '/' . 'b' x 32 . '.tmp';
my $other = $t->spool() . '/other.tmp';

$t->write_file($_, 'x') for ($old, $new, $other);
chown((stat($t->spool()))[4, 5], $old, $new, $other);
utime(time() - 120, time() - 120, $old, $other);

ok(wait_for(sub { !-e $old }), 'an old temporary file is removed');
ok(-e $new, 'a new one is not');
ok(-e $other, 'nor one of another kind');


# a worker that leaves with a loss that it cannot record says how much it is

$lost = $t->status()->{lost};
$from = $t->log_size();

set_faults('pwrite 5');
is(fetch("leave$_"), 200, "the pixel on a bad disk, $_") for (1, 2);
ok($t->reload(), 'reload');

ok(wait_for(sub {
    $t->log_lines(qr/\[warn\].*worker exits with 2 lost opens/, $from)
}), 'the loss is logged');

$now = $t->status()->{lost};
is($now->{full} + $now->{failed} - $lost->{full} - $lost->{failed}, 2,
   'and counted beyond the worker');

set_faults();
ok(wait_for(sub { fetch('back'); grep { $_->{id} eq 'back' } entries('open') }),
   'the new worker goes on');

$t->done();
