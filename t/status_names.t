#!/usr/bin/env perl

# Copyright (C) MailPing

# The status is valid JSON whatever files and servers are called: quotes,
# control characters, bytes that are no UTF-8, and names that are very long.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Test::MailPing;
use Test::MailPing::MMDB qw(mmdb_write asn_record);


my @bytes = (
    [ 'quotes', "a\"b", "a\"b" ],
    [ 'a control character', "a\x01\tb", "a\x01\tb" ],
    [ 'UTF-8', "caf\xc3\xa9 \xf0\x9f\x93\xac", "caf\x{e9} \x{1f4ec}" ],
    [ 'Latin-1', "caf\xe9", 'caf?' ],
    [ 'a lead byte twice', "\xc3\xc3\xa9", "?\x{e9}" ],
    [ 'an overlong form', "\xe0\x80\xaf", '???' ],
    [ 'a surrogate', "\xed\xa0\x80", '???' ],
    [ 'beyond Unicode', "\xf4\x90\x80\x80", '????' ],
    [ 'cut in the middle', "a\xf0\x9f\x93", 'a???' ],
    [ 'many control characters', "\x01" x 200, "\x01" x 200 ],
);

my $t = Test::MailPing->new();

# deep enough that the path in escapes is longer than all counters

my $dir = $t->prefix();

for my $n (1 .. 12) {
    $dir .= '/' . "\x02" x 250;
    mkdir($dir) || die "mkdir: $!\n";
}

chmod(0755, glob($t->prefix() . '/*'));

my @files = ((map { $t->prefix() . "/$_->[1].mmdb" } @bytes), "$dir/x.mmdb");

mmdb_write($_, 'GeoLite2-ASN', [ [ '192.0.2.0/24', asn_record(64496, 'a') ] ])
    for (@files);

for my $n (0 .. $#files) {
    my $name = $n < @bytes ? $bytes[$n][0] : 'a long path';
    my $quoted = $files[$n] =~ s/(["\\])/\\$1/gr;

    $t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server 127.0.0.1:1; }
    mailping_key 1 %%KEYFILE%%;
    mailping_geoip "asn=$quoted";
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END

    if ($n == 0) {
        $t->start();

    } elsif (!$t->reload()) {
        fail("$name: reload");
        next;
    }

    my $r = $t->get('/status');

    is($r->status(), 200, "$name: an answer");

    my $status = eval { JSON::PP->new()->utf8()->decode($r->body()) };
    my $error = $@;

    ok($status, "$name: JSON") || diag($error);

    my $expected = $n < @bytes ? "$bytes[$n][2].mmdb" : 'x.mmdb';

    is(substr($status->{databases}[0]{file} // '', -length($expected)),
       $expected, "$name: as it is called");
}

$t->done();
