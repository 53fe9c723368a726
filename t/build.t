#!/usr/bin/env perl

# Copyright (C) MailPing

# The module builds without a warning with both compilers, outside of nginx's
# tree, records its libraries, and says which package is missing.

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
my $file = 'ngx_mailping_module.so';


# Files below a directory, with time and size.

sub listing {
    my ($tree) = @_;

    my (undef, $output) = run_command('find', $tree, '-printf',
                                      '%p %T@ %s %y\n');

    return join("\n", sort(split(/\n/, $output)));
}


sub build {
    my (@arguments) = @_;

    return run_command("$repo/ci/build", @arguments);
}


sub write_file {
    my ($name, $text) = @_;

    open(my $file, '>', "$dir/$name") || die "cannot create $name: $!\n";
    print $file $text;
    close($file) || die "cannot write $name: $!\n";

    chmod(0755, "$dir/$name");

    return "$dir/$name";
}


# config names all there is

my $config = do {
    open(my $config, '<', "$repo/config") || die "cannot open config: $!\n";
    local $/;
    <$config>;
};

my @named = map { "ngx_mailping_module/$_" }
    ($config =~ m{\$mailping_dir/(\w+\.c)}g,
     map { "core/$_" } $config =~ m{\$mailping_core/(\w+\.c)}g);

is_deeply([ sort(@named) ],
          [ sources('ngx_mailping_module/*.c',
                    'ngx_mailping_module/core/*.c') ],
          'config lists the sources');
is_deeply([ grep { !/^NGX_MAILPING_/ } $config =~ /-D(\w+)/g ], [],
          'config defines only names of ours');
unlike($config, qr/auto\/(?:have|define)\b/, 'and none of nginx');


# both compilers; Debian's files stay as they are

my $headers = '/usr/share/nginx';
my $before = listing($headers);

for my $cc (qw(gcc clang)) {
    my ($code, $output) = build('--cc', $cc, '--out', "$dir/$cc");

    is($code, 0, "builds with $cc") || diag($output);
    ok(-s "$dir/$cc/$file", "$cc makes the module");
}

is(listing($headers), $before, 'nothing is written below /usr');


# what is loaded with it

SKIP: {
    skip('no module', 4) if !-s "$dir/gcc/$file";

    my (undef, $dynamic) = run_command('readelf', '-d', "$dir/gcc/$file");

    for my $library (qw(libmaxminddb libhiredis libcrypto)) {
        like($dynamic, qr/NEEDED.*\[$library\.so/, "$library is recorded");
    }

    my ($inode) = (stat("$dir/gcc/$file"))[1];
    my ($code, $output) = build('--out', "$dir/gcc");
    is((stat("$dir/gcc/$file"))[1], $inode, 'nothing changed, nothing made');
}


# every file that a source includes builds again when it changes

my ($objs) = glob("$repo/build/nginx-*-gcc/objs/Makefile");
my (undef, $rules) = run_command('cat', $objs // '/dev/null');

for my $name (sources('config', 'ngx_mailping_module/*.h',
                      'ngx_mailping_module/core/*.h',
                      'ngx_mailping_module/rules/*'))
{
    like($rules, qr/\Q$repo\/$name\E\s/, "$name is a dependency");
}


# a source tree of nginx

SKIP: {
    my $tree = $ENV{MAILPING_NGINX_SOURCE};

    skip('MAILPING_NGINX_SOURCE is not set', 3) if !defined $tree;

    my $before = listing($tree);
    my ($code, $output) = build('--nginx', $tree, '--out', "$dir/tree");

    is($code, 0, 'builds against a source tree') || diag($output);
    ok(-s "$dir/tree/$file", 'and makes the module');
    is(listing($tree), $before, 'and writes nothing into it');
}


# wrong use

my ($code, $output) = build('--nginx', $dir);
isnt($code, 0, 'not a source tree');
like($output, qr/no nginx source in "\Q$dir\E"/, 'says so');

($code, $output) = build('--out');
isnt($code, 0, 'a value is missing');
like($output, qr/--out needs a value/, 'says so');

($code, $output) = build('--what');
is($code, 2, 'an unknown option');
like($output, qr/^usage: ci\/build/, 'shows the usage');


# A library is missing: the real configure, with a compiler that cannot link
# it, nor what pkg-config says of it.

my %missing = (
    maxminddb => [ 'libmaxminddb', 'libmaxminddb-dev' ],
    hiredis => [ 'hiredis', 'libhiredis-dev' ],
    crypto => [ 'libcrypto of OpenSSL 3.0 or newer', 'libssl-dev' ],
);

# configure reads the flags of the release it belongs to; a minimal one is
# enough for the libraries

for my $library (sort keys %missing) {
    my ($name, $package) = @{$missing{$library}};

    my $cc = write_file("cc-$library", <<"END");
#!/bin/sh
case " \$* " in
    *" -l$library "*) echo "cannot find -l$library" >&2; exit 1 ;;
esac
exec gcc "\$@"
END

    my ($code, $output) = run_command('sh', '-c',
        'cd /usr/share/nginx/src && exec ./configure --with-cc="$1"'
        . ' --builddir="$2" --add-dynamic-module="$3" --with-compat'
        . ' --without-http_rewrite_module --without-http_gzip_module',
        'sh', $cc, "$dir/objs-$library", $repo);

    isnt($code, 0, "no $library: configure fails");
    like($output, qr/error: the mailping module requires \Q$name\E\n/,
         'and names it');
    like($output, qr/^\Q$package\E\.$/m, 'and its package');
    like($output, qr/checking for \Q$name\E via pkg-config \.\.\. not found/,
         'after asking pkg-config');
}

done_testing();
