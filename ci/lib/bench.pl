#!/usr/bin/env perl

# Copyright (C) MailPing

# The part of ci/bench that measures.  Each bench is an entry of %benches.

use strict;
use warnings;

use File::Temp;
use Getopt::Long;
use Test::MailPing qw(wait_for run_command);
use Test::MailPing::Bench;
use Test::MailPing::MMDB qw(mmdb_write asn_record);
use Time::HiRes qw(sleep);


my %benches = (
    classify => [ \&bench_classify, 'judging a fetch, step by step' ],
    pixel => [ \&bench_pixel, 'the pixel beside empty_gif' ],
);

my %options = (
    pairs => 5,
    seconds => 3,
    connections => 16,
    tokens => 100_000,
    rounds => 101,
    fetches => 8192,
    networks => 300_000,
);

my $usage = "usage: ci/bench NAME [--pairs N] [--seconds N]"
            . " [--connections N] [--tokens N]\n"
            . "                     [--rounds N] [--fetches N]"
            . " [--networks N]\n";

GetOptions(\%options, map { "$_=i" } keys %options)
    || die $usage;

my $bench = $benches{@ARGV == 1 ? $ARGV[0] : ''};

if (!$bench) {
    print $usage;
    printf("    %-10s  %s\n", $_, $benches{$_}[1]) for (sort keys %benches);
    exit(2);
}

$| = 1;

$bench->[0]->();


sub median {
    my @sorted = sort { $a <=> $b } @_;

    return @sorted % 2 ? $sorted[$#sorted / 2]
                       : ($sorted[@sorted / 2 - 1] + $sorted[@sorted / 2]) / 2;
}


# Processor time of a process once it is idle: what was left to deliver counts
# as well.

sub settled_cpu {
    my ($t, $pid) = @_;

    my $before;

    wait_for(sub {
        my $now = $t->cpu($pid);
        my $idle = defined $before && $now - $before <= 0.01;

        $before = $now;
        sleep(0.3) if !$idle;

        return $idle;
    }, 60) || die "worker $pid does not become idle\n";

    return $before;
}


# One run of wrk: requests, requests per second, seconds of the worker's
# processor time per request.

sub wrk {
    my ($t, $pid, $paths) = @_;

    my $cpu = settled_cpu($t, $pid);

    my ($code, $output) = run_command('wrk', '-t', 1,
        '-c', $options{connections}, '-d', "$options{seconds}s",
        '-s', $t->path('paths.lua'), 'http://127.0.0.1:' . $t->port(),
        '--', $paths);

    my ($requests) = $output =~ /(\d+) requests in/;
    my ($rate) = $output =~ m|Requests/sec:\s*([\d.]+)|;

    if ($code != 0 || !$requests || $output =~ /Non-2xx|Socket errors/) {
        die "wrk failed:\n$output";
    }

    return { requests => $requests, rate => $rate,
             cpu => (settled_cpu($t, $pid) - $cpu) / $requests };
}


# One processor judges a fetch in less than a microsecond, and ten times the
# rules cost less than 1.3 times that: the built-in rules and nine copies of
# each, under other names, or nine variations of each, with other weights and
# conditions, as an operator would write them; ten times as many hold then.
# "Dense" is no bound: half of the rules that are more ask for nothing but what
# is true of most fetches.  See bench_rules() for how they are made.

sub bench_classify {
    my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1,
                                  CLEANUP => 1);
    my $program = bench_build();

    my $addresses = bench_networks("$dir/networks", $options{networks});

    bench_fetches("$dir/fetches", $options{fetches}, $addresses);

    my %runs;

    for my $kind (qw(varied copies dense)) {
        bench_rules("$dir/$kind", 10, $kind);
        $runs{$kind} = bench_run($program, $options{rounds}, "$dir/fetches",
                                 "$dir/networks", "$dir/$kind");
    }

    my $varied = $runs{varied};

    printf("%d fetches, %.0f bytes of agent, %d networks besides the built-in"
           . " ones\n\n", $varied->{fetches}[0], $varied->{bytes}[0],
           $options{networks});
    print "               ns of processor time\n";
    print "step             median    fastest\n";

    for my $step (qw(init agent headers address time history request classify
                     write reasons))
    {
        # a step is the difference of two runs; the fastest says nothing

        printf("%-12s  %9.1f\n", $step, $varied->{$step}[0]);
    }

    for ([ 'whole', $varied, 'whole', 'rules' ],
         map({ [ $_, $runs{$_}, 'more', 'rules-more' ] }
             qw(copies varied dense)))
    {
        my ($name, $run, $key, $rules) = @$_;

        printf("%-12s  %9.1f  %9.1f   %4d rules, of which %.1f hold\n", $name,
               @{$run->{$key}}, $run->{$rules}[0],
               $run->{$rules =~ s/rules/hold/r}[0]);
    }

    my $whole = $varied->{whole}[0];
    my $failed = $whole >= 1000;

    print "\n                 median    fastest\n";
    printf("%-12s  %9.1f  %9.1f   %s\n", 'whole', @{$varied->{whole}},
           $failed ? 'NOT below 1,000' : 'below 1,000');

    for my $kind (qw(copies varied)) {
        my @ratio = @{$runs{$kind}{ratio}};

        printf("%-12s  %9.2f  %9.2f   %s\n", $kind, @ratio,
               $ratio[0] < 1.3 ? 'below 1.3' : 'NOT below 1.3');
        $failed ||= $ratio[0] >= 1.3;
    }

    printf("%-12s  %9.2f  %9.2f\n", 'dense', @{$runs{dense}{ratio}});

    exit($failed ? 1 : 0);
}


sub bench_pixel {
    my $t = Test::MailPing->new(timeout => 0);

    $SIG{INT} = $SIG{TERM} = sub { $t->remove(); exit(1) };

    my $redis = $t->redis('redis', arguments => [ '--appendonly', 'no' ]);

    mmdb_write($t->path('asn.mmdb'), 'GeoLite2-ASN',
               [ [ '203.0.113.0/24', asn_record(64501, 'Example Home') ] ]);

    # the same length of address and the same script for both

    my $sent = time() - 3600;
    my @tokens = map { $t->mint(id => sprintf('message-%08d', $_),
                                recipient => sprintf('reader-%08d', $_),
                                hint => 'other', sent => $sent) }
                     (1 .. $options{tokens});

    $t->write_file('o', join('', map { "/o/$_.gif\n" } @tokens));
    $t->write_file('e', join('', map { "/e/$_.gif\n" } @tokens));

    $t->write_file('paths.lua', <<'END');
local paths = {}
local n = 0

function init(args)
    for path in io.lines(args[1]) do
        paths[#paths + 1] = path
    end

    wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) "
                                .. "Gecko/20100101 Thunderbird/128.5.0"
    wrk.headers["Accept"] = "image/avif,image/webp,*/*;q=0.5"
    wrk.headers["Accept-Language"] = "de,en-US;q=0.7,en;q=0.3"
    wrk.headers["Accept-Encoding"] = "gzip, deflate"
    wrk.headers["X-Real-IP"] = "203.0.113.77"

    math.randomseed(os.time())
    n = math.random(#paths)
end

function request()
    n = n % #paths + 1
    return wrk.format("GET", paths[n])
end
END

    $t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 1;
events { worker_connections 1024; }

http {
    %%GLOBALS_HTTP%%
    keepalive_requests 1000000;

    mailping_spool %%SPOOL%% size=256m;
    mailping_redis { server %%REDIS%%; maxlen 100000; }
    mailping_geoip asn=%%PREFIX%%/asn.mmdb;
    mailping_key 1 %%KEYFILE%%;

    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;

    server {
        listen 127.0.0.1:%%PORT%%;

        location /o/ { mailping; }
        location /e/ { empty_gif; }
        location = /status { mailping_status; }
    }
}
END

    $t->start();

    my ($pid) = $t->workers();

    # caches, the zone and the ring's first lap are warm in every pair

    wrk($t, $pid, $t->path($_)) for (qw(o e));

    my (@cpu, @rate, @ours, @theirs);

    print "       worker CPU per request           requests per second\n";
    print "pair   pixel      empty_gif   ratio     pixel    empty_gif  ratio\n";

    for my $pair (1 .. $options{pairs}) {

        # whoever comes first does not always come first

        my %run = map { $_ => wrk($t, $pid, $t->path($_)) }
                  $pair % 2 ? qw(o e) : qw(e o);

        push(@ours, $run{o});
        push(@theirs, $run{e});
        push(@cpu, $run{o}{cpu} / $run{e}{cpu});
        push(@rate, $run{o}{rate} / $run{e}{rate});

        print_pair($pair, $run{o}, $run{e}, $cpu[-1], $rate[-1]);
    }

    print_pair('median', map({
        my $runs = $_;
        +{ map { my $key = $_; $key => median(map { $_->{$key} } @$runs) }
           qw(cpu rate) };
    } \@ours, \@theirs), median(@cpu), median(@rate));

    print "\n", $t->get('/status')->body(), "\n";

    my @problems = $t->problems();

    print "problem: $_\n" for (@problems);

    $t->remove();

    exit(@problems ? 1 : 0);
}


sub print_pair {
    my ($name, $ours, $theirs, $cpu, $rate) = @_;

    printf("%-6s %6.2f us  %6.2f us  %6.2f   %9.0f  %9.0f  %6.2f\n", $name,
           $ours->{cpu} * 1e6, $theirs->{cpu} * 1e6, $cpu,
           $ours->{rate}, $theirs->{rate}, $rate);
}
