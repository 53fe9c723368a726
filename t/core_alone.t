#!/usr/bin/env perl

# Copyright (C) MailPing

# core/ is plain C11: it compiles where there is no nginx, with both compilers,
# and asks the system for nothing but memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Basename qw(basename);
use File::Temp;
use Test::More;
use Test::MailPing qw(repository run_command);
use Test::MailPing::Source;


my $repo = repository();
my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

# sockets, files, clocks, processes: all of that comes from outside

my $system = qr/^(?: socket | connect | accept4? | bind | listen | p?poll
                   | select | epoll_\w+ | send(?:to|msg)? | recv(?:from|msg)?
                   | getaddrinfo | gethostby\w+
                   | open(?:at)?(?:64)? | creat | f?open | close | read | write
                   | pread(?:64)? | pwrite(?:64)? | lseek(?:64)? | mmap(?:64)?
                   | f?stat(?:64)? | fsync | fdatasync | rename | unlink
                   | printf | puts | fprintf | fwrite
                   | time | gettimeofday | clock(?:_gettime)? | localtime\w*
                   | sleep | usleep | nanosleep
                   | fork | execv\w* | kill | signal | sigaction
                   | pthread_\w+ | getenv | rand(?:om)? | exit | abort )$/x;


# What is wrong with one file of core, one line each.

sub check {
    my ($source, @flags) = @_;

    my @problems;
    my $object = "$dir/" . basename($source, '.c') . '.o';

    for my $cc (qw(gcc clang)) {
        my ($code, $output) = run_command($cc, core_flags(), @flags, '-O2',
                                          '-MD', '-MF', "$object.d",
                                          '-c', $source, '-o', $object);

        if ($code != 0) {
            return "$cc: $output";
        }
    }

    open(my $file, '<', "$object.d") || die "cannot open $object.d: $!\n";
    my $depends = do { local $/; <$file> };
    close($file);

    for my $path (split(/\s+/, $depends)) {
        if (basename($path) =~ /^ngx_/) {
            push(@problems, "reads $path");
        }
    }

    my (undef, $symbols) = run_command('nm', '-u', $object);

    for my $name ($symbols =~ /\bU (\w+)/g) {
        if ($name =~ $system || $name =~ /^ngx_/) {
            push(@problems, "calls $name()");
        }
    }

    return @problems;
}


my @sources = sources('ngx_mailping_module/core/*.c');

cmp_ok(scalar(@sources), '>', 0, 'there is a core');

for my $source (@sources) {
    is_deeply([ check("$repo/$source") ], [], $source);
}


# each header can be read alone and first

for my $header (sources('ngx_mailping_module/core/*.h')) {
    my $source = "$dir/header.c";

    open(my $file, '>', $source) || die "cannot create $source: $!\n";
    print $file qq{#include "core/}, basename($header), qq{"\n};
    print $file "extern int  mailping_used;\n";
    close($file);

    is_deeply([ check($source) ], [], $header);
}


# negative controls

sub control {
    my ($name, $expected, $text, @flags) = @_;

    my $source = "$dir/control.c";

    open(my $file, '>', $source) || die "cannot create $source: $!\n";
    print $file $text;
    close($file);

    my @problems = check($source, @flags);

    is(scalar(@problems), 1, "$name is found");
    like($problems[0] // '', $expected, "$name is named");
}


my $function = 'int mailping_x(void); int mailping_x(void)';

control('an nginx header', qr/ngx_config\.h/, "#include <ngx_config.h>\n");

open(my $header, '>', "$dir/ngx_core.h") || die "$!\n";
print $header "typedef int  ngx_int_t;\n";
close($header);

control('an nginx header within reach', qr/reads .*ngx_core\.h/,
        "#include <ngx_core.h>\n$function { return 1; }\n", "-I$dir");
control('the clock', qr/calls time\(\)/,
        "#include <time.h>\n$function { return time(NULL) > 1; }\n");
control('a socket', qr/calls socket\(\)/,
        "#include <sys/socket.h>\n$function { return socket(1, 1, 0); }\n");
control('a missing prototype', qr/missing-prototypes/,
        "int mailping_x(void) { return 1; }\n");

done_testing();
