#!/usr/bin/env perl

# Copyright (C) MailPing

# Runs the unit tests of core, t/unit/*_test.c: each is a program that prints
# TAP, linked with all of core, with sanitizers on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw(:flock);
use File::Basename qw(basename);
use File::Path qw(make_path);
use POSIX ();
use TAP::Parser;
use Test::More;
use Test::MailPing qw(repository run_command shared);
use Test::MailPing::Source;


my @cc = ('gcc', core_flags(), '-g', '-O1', '-fno-omit-frame-pointer',
          '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined');
my @libs = qw(-lhiredis -lcrypto -lm -lpthread);

my $repo = repository();
my $dir = "$repo/build/unit";

make_path($dir);

open(my $lock, '>', "$dir/lock") || die "cannot open $dir/lock: $!\n";
flock($lock, LOCK_EX);

if (defined shared()) {
    $ENV{MAILPING_SHARED} = shared();
}


# whatever all objects depend on: a change of it compiles them again

my $newest = newest(map { "$repo/$_" }
                    't/unit.t', 't/lib/Test/MailPing/Source.pm',
                    sources('ngx_mailping_module/core/*.h',
                            'ngx_mailping_module/rules/*', 't/unit/*.h'));


sub newest {
    my $time = 0;

    for my $file (@_) {
        my $mtime = (stat($file))[9] // 0;
        $time = $mtime if $mtime > $time;
    }

    return $time;
}


sub compile {
    my ($source, $object) = @_;

    if (-e $object && newest($object) > $newest
        && newest($object) > newest("$repo/$source"))
    {
        return 1;
    }

    my ($code, $output) = run_command(@cc, '-c', "$repo/$source",
                                      '-o', $object);

    if ($code != 0) {
        unlink($object);
        diag($output);
    }

    return $code == 0;
}


# One program's results as one subtest.

sub run_test {
    my ($program, @arguments) = @_;

    my $parser = TAP::Parser->new({ exec => [ $program, @arguments ],
                                    merge => 1 });

    while (my $result = $parser->next()) {
        if ($result->is_test()) {

            if ($result->has_skip()) {
                SKIP: {
                    skip($result->explanation(), 1);
                }

            } else {
                ok($result->is_ok(), $result->description() =~ s/^- //r);
            }

        } elsif ($result->is_comment()) {
            diag($result->comment());

        } elsif ($result->is_plan() && $result->tests_planned() == 0) {
            plan(skip_all => $result->explanation());

        } elsif (!$result->is_plan()) {

            # sanitizers report here

            diag($result->as_string());
        }
    }

    ok(!$parser->parse_errors(), 'a whole plan')
        || diag(join("\n", $parser->parse_errors()));
    is($parser->wait() & 127, 0, 'not killed');
    is($parser->exit(), 0, 'exit code');
}


my @objects;
my $compiled = 1;

for my $source (sources('ngx_mailping_module/core/*.c')) {
    my $object = "$dir/" . basename($source, '.c') . '.o';

    push(@objects, $object);
    $compiled &= compile($source, $object);
}

ok($compiled, 'core compiles') || done_testing() && exit(1);

my $archive = "$dir/core.a";

unlink($archive);
my ($code, $output) = run_command('ar', 'rcs', $archive, @objects);
is($code, 0, 'core is archived') || diag($output);


my @tests = sources('t/unit/*_test.c');

cmp_ok(scalar(@tests), '>', 0, 'there are tests');

for my $source (@tests) {
    my $name = basename($source, '.c');

    subtest $name => sub {
        my $object = "$dir/$name.o";

        my $linked = compile($source, $object);
        ok($linked, 'compiles') || return;

        my ($code, $output) = run_command(@cc, $object, $archive,
                                          '-o', "$dir/$name", @libs);
        is($code, 0, 'links') || diag($output) && return;

        run_test("$dir/$name");
    };
}


# negative controls: a test that fails, one that is killed, one that reads
# where it must not, and one that stops half way

sub control {
    my ($name, $text) = @_;

    my $source = "$dir/control.c";

    open(my $file, '>', $source) || die "cannot create $source: $!\n";
    print $file qq{#include "$repo/t/unit/tap.h"\n}, $text;
    close($file);

    my ($code, $output) = run_command(@cc, $source, '-o', "$dir/control",
                                      '-lm');
    is($code, 0, "$name: compiles") || diag($output);

    # a test that fails on purpose is run apart, or it would fail this one

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        my $builder = Test::More->builder();

        open(my $null, '>', '/dev/null');
        $builder->reset();
        $builder->output($null);
        $builder->failure_output($null);

        run_test("$dir/control");

        POSIX::_exit($builder->is_passing() ? 0 : 1);
    }

    waitpid($pid, 0);

    return $? >> 8;
}


my $start = 'int main(void) { volatile int n = 4; '
            . 'tap_is_str("", 0, "", "", 0, "%d", n); '
            . 'tap_is_int(1, 1, "", 0, "%d", n); ';

is(control('a good test', "${start}return done(); }"), 0, 'it passes');
is(control('a failed check', "${start}ok(n == 5, \"x\"); return done(); }"),
   1, 'it fails');
is(control('no plan', "${start}return 0; }"), 1, 'it fails');
is(control('an exit code', "${start}done(); return 2; }"), 1, 'it fails');
is(control('a signal', "${start}abort(); }"), 1, 'it fails');
is(control('a wild read', "${start}char *p = malloc(4); n = p[n]; "
                          . 'free(p); return done(); }'), 1, 'it fails');
is(control('a leak', "${start}char *volatile p = malloc(4); p = NULL; "
                     . '(void) p; return done(); }'), 1, 'it fails');
is(control('an overflow', "${start}n = 2147483647; n += 4; "
                          . 'return done(); }'), 1, 'it fails');

done_testing();
