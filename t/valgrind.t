#!/usr/bin/env perl

# Copyright (C) MailPing

# A worker under valgrind that serves 1,000 opens with delivery, databases,
# mint, explain and status, and a reload: no error, no definite leak.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(wait_for run_command);
use Test::MailPing::MMDB qw(mmdb_write asn_record city_record);


my ($code) = eval { run_command('valgrind', '--version') };
plan(skip_all => 'no valgrind') if $@ || $code;

my $logs = File::Temp::tempdir('mailping-valgrind-XXXXXX', TMPDIR => 1,
                               CLEANUP => 1);
chmod(0777, $logs);

# nginx's own: the environment of a process belongs to nobody

open(my $file, '>', "$logs/suppressions") || die;
print $file <<'END';
{
    environment
    Memcheck:Leak
    match-leak-kinds: definite
    fun:malloc
    fun:ngx_alloc
    fun:ngx_set_environment
}
END
close($file);

# the logs of all processes; the control checks that errors are seen there

my @valgrind = ('valgrind', '--quiet', '--trace-children=yes',
                '--leak-check=full', '--show-leak-kinds=definite',
                '--errors-for-leak-kinds=definite', '--num-callers=30',
                '--vgdb=no', "--suppressions=$logs/suppressions",
                "--log-file=$logs/%p.log");

my $t = Test::MailPing->new(wrap => \@valgrind, timeout => 600);
my $redis = $t->redis();

mmdb_write($t->path('asn.mmdb'), 'GeoLite2-ASN',
           [ [ '127.0.0.0/8', asn_record(64496, 'Example') ] ]);
mmdb_write($t->path('city.mmdb'), 'GeoLite2-City',
           [ [ '127.0.0.0/8', city_record('CH', 'ZH', 'Winterthur') ] ]);
$t->write_file('site.rules', "network here 127.0.0.0/8\n"
               . "rule here network - human+3 network:here\n");

my $conf = <<'END';
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=100ms;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    mailping_geoip asn=%%PREFIX%%/asn.mmdb city=%%PREFIX%%/city.mmdb;
    mailping_rules %%PREFIX%%/site.rules;
    log_format opens '$mailping_id $mailping_verdict $mailping_event';
    keepalive_requests 10000;
    server {
        listen 127.0.0.1:%%PORT%%;
        access_log %%PREFIX%%/opens.log opens;
        location /o/ { mailping; }
        location = /mint { mailping_mint http://localhost/o/; }
        location = /why { mailping_explain; }
        location = /status { mailping_status; }
    }
}
END

$t->write_conf($conf);
$t->start();

my $n = 0;

sub opens {
    my ($count) = @_;

    my $c = $t->connect(timeout => 60);

    for (1 .. $count) {
        my $r = $c->exchange('GET', '/o/' . $t->mint(id => 'v' . ++$n,
                                                     sent => time() - 900),
                             header => [ Host => 'a',
                                         'User-Agent' => "Mozilla/5.0 ($n)" ]);

        die "no pixel\n" if $r->status() != 200;
    }

    $c->exchange('GET', '/o/wrong');
    $c->exchange('POST', '/mint', body => "a\nb\tr\tgmail\nbad id\n");
    $c->exchange('GET', '/mint?id=a');
    $c->exchange('GET', '/why?agent=curl&ip=192.0.2.1&header.accept=x');
    $c->exchange('GET', '/status');
    $c->close();
}

opens(500);
ok($t->reload(60), 'a reload');
opens(500);

ok(wait_for(sub { $redis->entries() == 1000 }, 60), '1,000 opens arrive');
ok($t->stop('QUIT', 60), 'nginx ends');

my @reports;
my $processes = 0;

for my $file (glob("$logs/*.log")) {
    $processes++;
    push(@reports, "$file:\n" . $t->read_file($file)) if -s $file;
}

cmp_ok($processes, '>=', 3, 'a master and two generations of workers');
is(join("\n", @reports), '', 'nothing to report');


# the control: valgrind does report into these files

$t->write_file('leak.c', "#include <stdlib.h>\n"
    . "void *volatile p;\nint main(void)\n"
    . "{ p = malloc(7); p = NULL; return 0; }\n");

run_command('cc', '-o', $t->path('leak'), $t->path('leak.c'));
run_command(@valgrind, $t->path('leak'));

like(join('', map { $t->read_file($_) } glob("$logs/*.log")),
     qr/7 bytes .* definitely lost/, 'the control: a leak is found');

$t->done();
