#!/usr/bin/env perl

# Copyright (C) MailPing

# Builds t/fuzz/rules_fuzz.c with libFuzzer, makes the files that it starts
# from out of the built-in rules and docs/rules.md, and runs it:
#
#     perl t/fuzz/run.pl [--control] [libFuzzer options]
#     perl t/fuzz/run.pl -max_total_time=600
#
# It also starts from t/fuzz/rules/, what it once found.  New findings are kept
# in build/fuzz/found, what it learned in build/fuzz/corpus.
#
# "--control" runs it with the defect of rules_plant.c that MAILPING_PLANT
# names, with none when that is empty, and keeps nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fcntl qw(:flock);
use File::Basename qw(basename);
use File::Path qw(make_path remove_tree);
use Test::MailPing qw(repository run_command);
use Test::MailPing::Source;


my $repo = repository();
my $dir = "$repo/build/fuzz";

my @wrapped = qw(mailping_networks_add mailping_classify);

my $control = @ARGV && $ARGV[0] eq '--control' ? shift(@ARGV) : '';

make_path($dir);

open(my $lock, '>', "$dir/lock") || die "cannot open $dir/lock: $!\n";
flock($lock, LOCK_EX);

my $program = build();
write_file("$dir/dictionary", dictionary());

my ($corpus, $found) = map { $control ? "$dir/control-$_-$$" : "$dir/$_" }
                       qw(corpus found);

make_path($corpus, $found);
seeds("$dir/seeds");

close($lock);

my @command = ($program, "-dict=$dir/dictionary", "-artifact_prefix=$found/",
               '-timeout=10', '-report_slow_units=2', '-rss_limit_mb=1024',
               '-max_len=4096', '-print_final_stats=1', @ARGV,
               $corpus, "$dir/seeds", "$repo/t/fuzz/rules");

if (!$control) {
    exec(@command) || die "cannot run $program: $!\n";
}

my $status = system(@command);

remove_tree($corpus, $found);

exit($status ? 1 : 0);


sub read_file {
    my ($path) = @_;

    open(my $file, '<:raw', $path) || die "cannot open $path: $!\n";
    local $/;

    return <$file>;
}


sub write_file {
    my ($path, $text) = @_;

    open(my $file, '>:raw', $path) || die "cannot create $path: $!\n";
    print $file $text;
    close($file) || die "cannot write $path: $!\n";
}


sub run {
    my ($code, $output) = run_command(@_);

    die "@_ failed:\n$output\n" if $code != 0;
}


# Compiles what is older than its source or than any header, and links.

sub build {
    my @flags = (core_flags(), '-g', '-O1', '-fno-omit-frame-pointer',
                 '-fsanitize=address,undefined',
                 '-fno-sanitize-recover=undefined');

    my @headers = map { (stat("$repo/$_"))[9] }
                  't/fuzz/run.pl', 't/lib/Test/MailPing/Source.pm',
                  sources('ngx_mailping_module/core/*.h');
    my @core;

    for my $source (sources('ngx_mailping_module/core/*.c', 't/fuzz/*.c')) {
        my $object = "$dir/" . basename($source, '.c') . '.o';
        my $built = (stat($object))[9] // 0;

        if (grep { $_ >= $built } @headers, (stat("$repo/$source"))[9]) {
            run('clang', @flags, '-fsanitize=fuzzer-no-link', '-c',
                "$repo/$source", '-o', "$object.new");
            rename("$object.new", $object) || die "rename: $!\n";
        }

        push(@core, $object) if $source =~ m|/core/|;
    }

    unlink("$dir/core.a");
    run('ar', 'rcs', "$dir/core.a", @core);

    my @plant = !$control ? () : ("$dir/rules_plant.o",
                                  map { "-Wl,--wrap=$_" } @wrapped);
    my $program = $control ? "$dir/rules_control" : "$dir/rules_fuzz";

    run('clang', '-fsanitize=fuzzer,address,undefined', "$dir/rules_fuzz.o",
        @plant, "$dir/core.a", '-lhiredis', '-lcrypto', '-lm',
        '-o', "$program.new");
    rename("$program.new", $program) || die "rename: $!\n";

    return $program;
}


# The words of the rule language: what the built-in rules are made of, and what
# can be wrong.

sub dictionary {
    my %words = map { $_ => 1 }
        qw(network asn agent client header rule set prior human proxied
           prefetch scanner bot shielded self history headers time
           network: asn: agent: client: header: header:! age< age>= seen<
           seen>= burst< burst>= farm>= farm< quick>= scanned
           method:head method:get http:0.9 http:1.0
           http:1.1 http:2 http:3 hint: @list ms 3650d 1000000000 ::ffff:
           /128 /32 /33 65536 +30 -30 +31 16777216 4294967295 AS ! -),
        '#', ',', '"', '="', '^"', '<"', '"$', '">', '\\"', '\\\\', '~"',
        "\f", "\r\n",
        "\xef\xbb\xbf";

    for my $word (rules_text() =~ /([a-z]+:!?[\w.-]+|[a-z]+[<>]=?\d+\w*)/g) {
        $words{$word} = 1;
    }

    return join('', map {
        s/([^!#-\[\]-~])/sprintf('\\x%02X', ord($1))/ger =~ s/^|$/"/gr . "\n"
    } sort keys %words);
}


sub rules_text {
    return read_file("$repo/ngx_mailping_module/rules/default.rules");
}


# A file for each built-in rule, with as much of its sets as there is in one
# line, and a fetch that has what it asks for; and the documentation's examples.

sub seeds {
    my ($folder) = @_;

    remove_tree($folder);
    make_path($folder);

    my (%sets, $n);
    my $text = rules_text() =~ s/(?:^|\s)#.*//mgr;

    while ($text =~ /^(network|asn|agent|client|header)\s+(\S+)\s+(.*)/mg) {
        $sets{"$1:$2"} //= [ $1, $2, $3 ];
    }

    while ($text =~ /^((?:rule|set)\s.*)/mg) {
        write_file(sprintf("%s/rule-%04d", $folder, ++$n), seed($1, \%sets));
    }

    my $docs = read_file("$repo/docs/rules.md");

    while ($docs =~ /^```rules\n(.*?)^```$/msg) {
        write_file(sprintf("%s/docs-%04d", $folder, ++$n),
                   "$1\f\f64496\n\fShopBot AcmeMail/1\n192.0.2.7\n"
                   . "600000 1 20 64496 1 11 0 1 3 50 1\nx-scan: mail\n");
    }
}


sub seed {
    my ($rule, $sets) = @_;

    my ($list, $agent, $address, $asn, $headers) = ('', '', '::', 0, '');
    my @lines;

    for my $name ($rule =~ /(\w+:[\w.-]+)/g) {
        my $set = $sets->{$name} // next;
        my $asked = $rule !~ /!\Q$name\E/;
        my ($kind, undef, $items) = @$set;

        if ($items =~ /^\@(\S+)/) {
            my ($head) = read_file("$repo/ngx_mailping_module/rules/$1")
                         =~ /^((?:[^#\n]+\n){1,3})/m;

            # there is one list only

            $items = $list eq '' ? '@list' : $head =~ s/\n/ /gr;
            $list = $head if $list eq '';
        }

        push(@lines, join(' ', $kind, $set->[1], $items) . "\n");

        next if !$asked;

        my ($first) = ($items eq '@list' ? $list : $items) =~ /^(\S+)/;

        if ($kind eq 'network') {
            $address = $first =~ s|/.*||r;

        } elsif ($kind eq 'asn') {
            $asn = $first;

        } elsif ($kind eq 'header') {
            $headers .= ($items =~ /^([\w-]+)/)[0] . ': '
                        . ($items =~ /"(.*?)"/ ? $1 : 'x') . "\n";

        } else {
            $agent .= ($items =~ /"(.*?)"/ ? $1 : $first);
        }
    }

    my $age = $rule =~ /age</ ? 500 : 900_000_000;
    my $seen = $rule =~ /seen>=/ ? 7 : 1;

    return join('', @lines, "prior - human+0,bot-10\n$rule\n", "\f\f", $list,
                "\f$agent\n$address\n",
                "$age $seen 9 $asn 1 10 1 0 9 99 1\n$headers");
}
