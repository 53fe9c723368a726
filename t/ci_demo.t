#!/usr/bin/env perl

# Copyright (C) MailPing

# The demo shows the right verdict in each row, stays until Ctrl-C, leaves
# nothing, and fails when a verdict is wrong.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp;
use Test::More;
use Test::MailPing qw(wait_for repository run_command);


my $repo = repository();
my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

# the module that is tested, not one that the demo would build

my $demo = "$repo/ci/lib/demo.pl";
my @perl = ($^X, "-I$repo/t/lib");

if (!-f ($ENV{TEST_NGINX_MODULE} // "$repo/build/ngx_mailping_module.so")) {
    plan(skip_all => 'no module, see ci/build');
}

# what it leaves would be here

$ENV{TMPDIR} = $dir;
chmod(0711, $dir);


sub leftovers {
    return glob("$dir/mailping-*");
}


my ($code, $output) = run_command(@perl, $demo, '--once');

is($code, 0, 'demo') || diag($output);
like($output, qr/^time +id +open +verdict +person +reasons$/m, 'a table');
like($output, qr/^(\d+) of \1 verdicts are as expected$/m, 'all as expected');
like($output, qr/^\d\d:\d\d:\d\d  curl +no +bot +\d  library/m, 'a row');
is_deeply([ leftovers() ], [], 'nothing is left');

is((run_command(@perl, $demo, '--twice'))[0], 255, 'an unknown option');


# until Ctrl-C, which reaches the whole group of a terminal

my $file = "$dir/output";
my $pid = fork() // die "cannot fork: $!\n";

if ($pid == 0) {
    setpgrp(0, 0);
    open(STDIN, '<', '/dev/null');
    open(STDOUT, '>', $file);
    open(STDERR, '>&', \*STDOUT);
    exec(@perl, $demo);
    die "cannot run $^X: $!\n";
}


sub output {
    open(my $output, '<', $file) || return '';
    local $/;

    return <$output> // '';
}


ok(wait_for(sub { output() =~ /^Ctrl-C ends/m }, 60), 'it stays up');

my ($address) = output() =~ m{(http://127\.0\.0\.1:\d+/o/\S+)};

is((run_command('curl', '-sS', '-o', '/dev/null', $address))[0], 0,
   'an address to try');
ok(wait_for(sub { output() =~ /^\S+  mine +no +bot/m }), 'is shown');

kill('INT', -$pid);
waitpid($pid, 0);

is($?, 0, 'Ctrl-C ends it in order') || diag(output());
like(output(), qr/^everything stopped and removed$/m, 'and it says so');
is_deeply([ leftovers() ], [], 'nothing is left');


# negative control: another expectation

open(my $in, '<', $demo) || die "cannot open $demo: $!\n";
my $text = do { local $/; <$in> };
close($in);

is($text =~ s/expected => 'no prefetch'/expected => 'yes human'/, 1,
   'an expectation');

open(my $out, '>', "$dir/wrong.pl") || die "cannot create wrong.pl: $!\n";
print $out $text;
close($out);

($code, $output) = run_command(@perl, "$dir/wrong.pl", '--once');

is($code, 1, 'a wrong verdict fails');
like($output, qr/^WRONG  gmail-prefetch: expected yes human, got no prefetch$/m,
     'and is named');

done_testing();
