#!/usr/bin/env perl

# Copyright (C) MailPing

# ci/ installs what is missing and nothing else, asks nobody when nothing is,
# and lets no package start its service.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp;
use Test::More;
use Test::MailPing qw(repository run_command);


my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);


sub program {
    my ($name, $text) = @_;

    open(my $file, '>', "$dir/$name") || die "cannot create $name: $!\n";
    print $file "#!/bin/sh\n$text\n";
    close($file);

    chmod(0755, "$dir/$name");
}


# only gcc is installed here, and we are whom the test says

program('dpkg-query', 'case "$*" in *gcc) echo installed ;; *) exit 1 ;; esac');
program('apt-get', 'echo "apt-get $*"; "$POLICY" nginx start; echo "rc $?";'
                   . ' exit $APT_CODE');
program('id', 'echo $TEST_UID');

$ENV{PATH} = "$dir:$ENV{PATH}";
$ENV{POLICY} = "$dir/policy-rc.d";
$ENV{APT_CODE} = 0;
$ENV{TEST_UID} = 0;


sub install {
    return run_command('bash', '-c', 'set -euo pipefail;'
                       . ' . "$0/ci/lib/packages.sh";'
                       . ' packages_policy=$POLICY;'
                       . ' packages_install "$@"; echo end',
                       repository(), @_);
}


my ($code, $output) = install('gcc');
is($code, 0, 'nothing is missing');
is($output, "end\n", 'nothing is asked');

($code, $output) = install('gcc', 'one', 'two');
is($code, 0, 'two are missing');
like($output, qr/^installing one two$/m, 'says what it installs');
like($output, qr/^apt-get update/m, 'reads the lists');
like($output, qr/^apt-get install .* one two$/m, 'installs those');
is(() = $output =~ /^rc 101$/mg, 2, 'services are denied meanwhile');
ok(!-e $ENV{POLICY}, 'and the policy is gone');

$ENV{APT_CODE} = 7;
($code, $output) = install('one');
isnt($code, 0, 'an installation that fails');
unlike($output, qr/^end$/m, 'ends the script');
ok(!-e $ENV{POLICY}, 'and the policy is gone');
$ENV{APT_CODE} = 0;

$ENV{TEST_UID} = 1000;
($code, $output) = install('one');
isnt($code, 0, 'not root');
like($output, qr/apt-get install one$/m, 'says what to install');
unlike($output, qr/^apt-get/m, 'and does not');
$ENV{TEST_UID} = 0;

program('policy-rc.d', 'exit 101');
is((install('one'))[0], 0, 'a policy that denies');
ok(-e $ENV{POLICY}, 'stays');

program('policy-rc.d', 'exit 0');
($code, $output) = install('one');
isnt($code, 0, 'a policy that allows');
like($output, qr/lets packages start their services/, 'is named');
unlike($output, qr/^apt-get/m, 'and nothing is installed');
ok(-e $ENV{POLICY}, 'nor the policy touched');

done_testing();
