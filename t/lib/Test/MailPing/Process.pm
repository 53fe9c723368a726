package Test::MailPing::Process;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Process - processes of a test, and only those

=head1 DESCRIPTION

The part of L<Test::MailPing> that starts, finds and ends processes.  An
object has a C<prefix>, the test's directory; whatever works below it is the
test's.

=head1 FUNCTIONS

=over

=cut

use strict;
use warnings;

use Exporter qw(import);
use POSIX qw(:sys_wait_h);
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_for run_command process_stat process_title);


=item wait_for(CODE, SECONDS)

Calls CODE until it returns a true value, and returns that, or the last false
one when SECONDS, 10 by default, are over.

=cut

sub wait_for {
    my ($code, $seconds) = @_;

    my $until = time() + ($seconds // 10);

    for ( ;; ) {
        my $value = $code->();

        if ($value || time() >= $until) {
            return $value;
        }

        sleep(0.01);
    }
}


=item run_command(COMMAND, ARGUMENTS...)

Runs a command without a shell; returns its exit code (128 + signal when it
was killed) and its output, standard error included.

=cut

sub run_command {
    my @command = @_;

    my $pid = open(my $pipe, '-|') // die "cannot fork: $!\n";

    if ($pid == 0) {
        open(STDIN, '<', '/dev/null');
        open(STDERR, '>&', \*STDOUT);
        { exec { $command[0] } @command; }
        print STDERR "cannot run $command[0]: $!\n";
        POSIX::_exit(127);
    }

    my $output = do { local $/; <$pipe> } // '';
    close($pipe);

    my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;

    return wantarray ? ($code, $output) : $code;
}


=item process_stat(PID), process_title(PID)

State, parent and clock ticks of a process as a hash, undef when there is none;
its command line.

=back

=cut

sub process_stat {
    my ($pid) = @_;

    open(my $file, '<', "/proc/$pid/stat") || return undef;

    my $line = <$file> // return undef;

    # the name in parentheses may hold anything

    my @fields = split(' ', $line =~ s/^.*\) //sr);

    return { state => $fields[0], parent => $fields[1],
             cpu => $fields[11] + $fields[12] };
}


sub process_title {
    my ($pid) = @_;

    open(my $file, '<', "/proc/$pid/cmdline") || return '';
    local $/;

    return (<$file> // '') =~ tr/\0/ /r;
}


=head1 METHODS

=over

=item spawn(OUTPUT, COMMAND...)

Starts a process in the test's directory, by which it is found again, with its
output going to this file.  Returns its pid.

=cut

sub spawn {
    my ($self, $output, @command) = @_;

    if ($ENV{TEST_NGINX_VERBOSE}) {
        Test::More::diag(join(' ', @command));
    }

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        $self->_become_child();

        open(STDIN, '<', '/dev/null');
        open(STDOUT, '>>', $output);
        open(STDERR, '>&', \*STDOUT);

        { exec { $command[0] } @command; }
        print STDERR "cannot run $command[0]: $!\n";
        POSIX::_exit(127);
    }

    return $pid;
}


sub _become_child {
    my ($self) = @_;

    alarm(0);
    $SIG{$_} = 'DEFAULT' for (qw(ALRM INT TERM HUP PIPE));

    # Ctrl-C at the terminal is the test's own to handle

    POSIX::setsid();

    chdir($self->{prefix}) || POSIX::_exit(126);
}


=item run_daemon(CODE, ARGUMENTS...)

Runs CODE in a process of its own until the test ends: a fake peer.  Returns
its pid.

=cut

sub run_daemon {
    my ($self, $code, @arguments) = @_;

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        $self->_become_child();

        eval { $code->(@arguments); 1 } || print STDERR "# daemon: $@";
        POSIX::_exit(0);
    }

    push(@{$self->{daemons}}, $pid);

    return $pid;
}


=item processes()

The pids of all processes of the test.

=cut

sub processes {
    my ($self) = @_;

    opendir(my $proc, '/proc') || die "no /proc: $!\n";

    return grep {
        my $cwd = readlink("/proc/$_/cwd") // '';

        $_ != $$ && $cwd =~ m{^\Q$self->{prefix}\E(?:/|$| )};
    } sort { $a <=> $b } grep { /^\d+$/ } readdir($proc);
}


=item cpu(PID)

Seconds of processor time a process has used.

=cut

sub cpu {
    my ($self, $pid) = @_;

    my $stat = process_stat($pid) // return undef;

    return $stat->{cpu} / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}


=item alive(PID)

Whether it runs.  A child of the test that has ended is reaped.

=cut

sub alive {
    my ($self, $pid) = @_;

    waitpid($pid, WNOHANG);

    my $stat = process_stat($pid);

    return $stat && $stat->{state} ne 'Z';
}


=item end_daemons(), end_processes(PIDS...)

End what run_daemon() started; end these processes by SIGKILL.

=back

=cut

sub end_daemons {
    my ($self) = @_;

    for my $pid (@{delete $self->{daemons} // []}) {
        kill('TERM', $pid);

        wait_for(sub { !$self->alive($pid) }, 2) || kill('KILL', $pid);
        waitpid($pid, 0);
    }
}


sub end_processes {
    my ($self, @pids) = @_;

    kill('KILL', @pids) if @pids;
    wait_for(sub { !grep { $self->alive($_) } @pids }, 5);
}


1;
