#!/usr/bin/env perl

# Copyright (C) MailPing

# More rings come and go than the shared memory has slots for: what they
# recorded still counts, and the status shows those that are there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing;


use constant WORKERS => 64;
use constant SLOTS => 256;       # NGX_MAILPING_ZONE_RINGS

my $t = Test::MailPing->new();
my $redis = $t->redis();

my $conf = <<'END';
%%GLOBALS%%
worker_processes WORKERS;
events { worker_connections 64; }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=256m sync=off rewind=0;
    mailping_redis { server %%REDIS%%; prefix PREFIX; }
    mailping_key 1 %%KEYFILE%%;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

my $n = 0;


sub set_prefix {
    my ($prefix) = @_;

    $t->write_conf($conf =~ s/WORKERS/WORKERS/er =~ s/PREFIX;/$prefix;/r);
}


sub fetch {
    $t->get('/o/' . $t->mint(id => 'id' . ++$n));
}


sub glob_rings {
    my @rings = glob($t->spool() . '/*.ring');

    return scalar(@rings);
}


set_prefix('p0');
$t->start();
fetch();

my %uuid;

sub status {
    my $status = $t->status();

    $uuid{$_->{uuid}} = 1 for (@{$status->{spool}{rings}});

    return $status;
}

status();

# a ring has one prefix, so each reload makes new ones

for my $i (1 .. SLOTS / WORKERS + 1) {
    set_prefix("p$i");

    if (!$t->reload()) {
        fail("reload $i");
        last;
    }

    fetch();
    status();

    # the former ones are removed when they are drained

    wait_for(sub { glob_rings() <= WORKERS });
}

cmp_ok(scalar(keys(%uuid)), '>', SLOTS, 'more rings than slots')
    || diag(scalar(keys(%uuid)));

ok(wait_for(sub { status()->{spool}{undelivered} == 0 }),
   'everything is delivered');

my $status = status();

is($status->{recorded}, $n, 'every open is counted');
is($status->{delivery}{delivered}, $n, 'as delivered, too');
is(scalar(grep { $_->{owner} != 0 } @{$status->{spool}{rings}}), WORKERS,
   'each worker shows its ring');

$t->done();
