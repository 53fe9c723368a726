package Test::MailPing::Judge;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Judge - runs mailping-judge

=head1 SYNOPSIS

    my $judge = Test::MailPing::Judge->new();

    my $r = $judge->run([ '--only', $judge->file('my.rules', $rules) ], $text);

    is($r->{code}, 0, 'exit code');
    is($r->{out}, $expected, 'rows');
    is($r->{err}, $summary, 'summary');

    $judge->build('-fsanitize=address,undefined');

new() makes a directory of its own, which goes with the object.  run() takes
arguments and what is given to standard input, nothing by default.  build()
compiles the program again, with these flags, and run() runs that from then on;
it dies when the compiler has anything to say.

=head1 ENVIRONMENT

    TEST_MAILPING_JUDGE  the program, default build/mailping-judge

=cut

use strict;
use warnings;

use File::Temp;
use Test::MailPing qw(repository run_command);
use Test::MailPing::Source;


sub new {
    my ($class) = @_;

    my $program = $ENV{TEST_MAILPING_JUDGE}
                  // repository() . '/build/mailping-judge';

    die "no $program, see ci/build\n" if !-x $program;

    return bless {
        program => $program,
        dir => File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1,
                                   CLEANUP => 1),
    }, $class;
}


sub program {
    return $_[0]{program};
}


sub path {
    my ($self, $name) = @_;

    return "$self->{dir}/$name";
}


# Writes a file and returns its path.

sub file {
    my ($self, $name, $text) = @_;

    my $path = $self->path($name);

    open(my $file, '>:raw', $path) || die "cannot create $path: $!\n";
    print $file $text;
    close($file) || die "cannot write $path: $!\n";

    return $path;
}


sub content {
    my ($self, $name) = @_;

    open(my $file, '<:raw', $self->path($name)) || die "no $name: $!\n";
    local $/;

    return <$file> // '';
}


sub run {
    my ($self, $arguments, $input) = @_;

    my $in = $self->file('stdin', $input // '');
    my $out = $self->path('stdout');
    my $err = $self->path('stderr');

    my $code = run_command('sh', '-c',
                           'in=$1 out=$2 err=$3; shift 3;'
                           . ' exec "$@" < "$in" > "$out" 2> "$err"', 'sh',
                           $in, $out, $err, $self->{program}, @$arguments);

    return {
        code => $code,
        out => $self->content('stdout'),
        err => $self->content('stderr'),
    };
}


sub build {
    my ($self, @flags) = @_;

    my $program = $self->path('mailping-judge');

    my @sources = map { repository() . "/$_" }
                  sources('ngx_mailping_module/core/*.c',
                          'ngx_mailping_module/tools/*.c');

    my ($code, $output) = run_command('gcc', core_flags(), @flags,
        '-DMAILPING_JUDGE_VERSION="test"', @sources, '-o', $program,
        qw(-lmaxminddb -lhiredis -lcrypto -lm));

    die "gcc: $output\n" if $code != 0 || $output ne '';

    $self->{program} = $program;

    return $self;
}


1;
