#!/usr/bin/env perl

# Copyright (C) MailPing

# What a machine can check of the house style: 80 columns, no tabs, no trailing
# blanks, a newline at the end, no // comments in C, and no exported name that
# is not ours.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(repository run_command);
use Test::MailPing::Source;


my $repo = repository();


# What is wrong with a text, "line: what" each.

sub check {
    my ($name, $text) = @_;

    my @problems;

    utf8::decode($text) || push(@problems, 'not UTF-8');

    if ($text !~ /\n\z/) {
        push(@problems, 'no newline at the end');
    }

    my $line = 0;

    for (split(/\n/, $text)) {
        $line++;

        if (length($_) > 80) {
            push(@problems, "$line: over 80 columns");
        }

        if (/\t/) {
            push(@problems, "$line: tab");
        }

        if (/\s$/) {
            push(@problems, "$line: trailing blank");
        }
    }

    if ($name =~ /\.[ch]$/) {
        push(@problems, map { "$_: // comment" } slashes($text));
    }

    return @problems;
}


# The lines of // comments, which are looked for outside of strings, character
# constants and real comments.

sub slashes {
    my ($text) = @_;

    my @lines;
    my $line = 1;

    while ($text =~ m{\G(?: (/\*.*?\*/) | ("(?:[^"\\\n]|\\.)*")
                            | ('(?:[^'\\\n]|\\.)*') | (//) | . )}gsx)
    {
        if (defined $4) {
            push(@lines, $line);
        }

        $line += $& =~ tr/\n//;
    }

    return @lines;
}


sub read_file {
    my ($name) = @_;

    open(my $file, '<:raw', "$repo/$name") || die "cannot open $name: $!\n";
    local $/;

    return <$file> // '';
}


my @files = grep { -f "$repo/$_" }
    sources('config', 'ci/*', 'ci/lib/*', '.ci/run',
            'ngx_mailping_module/*.[ch]', 'ngx_mailping_module/core/*.[ch]',
            'ngx_mailping_module/tools/*.[ch]',
            't/*.t', 't/lib/Test/*.pm', 't/lib/Test/MailPing/*.pm',
            't/unit/*.[ch]', 't/sim/*.[ch]', 't/fuzz/*.[ch]');

for my $name (@files) {
    is_deeply([ check($name, read_file($name)) ], [], $name);
}


# nginx loads modules with global scope: a name of ours must not meet another

my $module = $ENV{TEST_NGINX_MODULE} // "$repo/build/ngx_mailping_module.so";

# nginx's own build adds these three to each module
my $allowed = qr/^(?:(?:ngx_)?mailping_\w+
                  |ngx_modules|ngx_module_names|ngx_module_order)$/x;

sub exported {
    my ($file) = @_;

    my ($code, $output) = run_command('nm', '-D', '--defined-only', $file);
    die "nm: $output\n" if $code != 0;

    return grep { $_ !~ $allowed } $output =~ /^\w+ \w (\w+)/mg;
}


SKIP: {
    skip('no module, see ci/build', 1) if !-f $module;

    is_deeply([ exported($module) ], [], 'exported names');
}


# negative controls

is_deeply([ check('x.c', "/* a // b */\n\"//\"\n'\"' \"'\"\n") ], [],
          'slashes in comments and strings are none');
is_deeply([ check('x.c', "a;\n/* b\n */ // c\n") ], [ '3: // comment' ],
          'a // comment');
is_deeply([ check('x.c', 'a' x 80 . "\n" . 'a' x 81 . "\n") ],
          [ '2: over 80 columns' ], 'a long line');
is_deeply([ check('x.c', "\x{c3}\x{a9}" x 80 . "\n") ], [],
          'columns are characters');
is_deeply([ check('x.t', "\ta\n") ], [ '1: tab' ], 'a tab');
is_deeply([ check('x.t', "a \n") ], [ '1: trailing blank' ],
          'a trailing blank');
is_deeply([ check('x.t', "a\nb") ], [ 'no newline at the end' ],
          'no newline at the end');
is_deeply([ grep { $_ eq 'printf' } exported('/lib/x86_64-linux-gnu/libc.so.6')
            ], [ 'printf' ], 'a foreign name')
    if -f '/lib/x86_64-linux-gnu/libc.so.6';

done_testing();
