package Test::MailPing::Source;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Source - the files of the repository, and compiling core

=cut

use strict;
use warnings;

use Exporter qw(import);
use Test::MailPing qw(repository run_command);

our @EXPORT = qw(sources core_flags);


=head1 FUNCTIONS

=over

=item sources(PATTERNS...)

The files that match these patterns of the shell, below the repository and
named from there, sorted.

=cut

sub sources {
    my @patterns = @_;

    my $repository = repository();

    return sort map { s|^\Q$repository\E/||r }
           map { glob("$repository/$_") } @patterns;
}


=item core_flags()

What core is compiled with everywhere: language, warnings, and no include path
but the module's own.

=back

=cut

sub core_flags {
    my $module = repository() . '/ngx_mailping_module';

    return ('-std=c11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror',
            '-Wmissing-prototypes', '-Wstrict-prototypes',
            "-DNGX_MAILPING_RULES_DIR=\"$module/rules\"", "-I$module");
}


1;
