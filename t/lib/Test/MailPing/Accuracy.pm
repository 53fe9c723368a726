package Test::MailPing::Accuracy;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Accuracy - judging a corpus of labelled agents by the built-in
rules, when nothing but the agent is known

=cut

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(:flock);
use File::Path qw(make_path);
use File::Temp;
use JSON::PP ();
use POSIX qw(floor);
use Test::MailPing qw(repository run_command shared);
use Test::MailPing::Source;

our @EXPORT = qw(corpus_path corpus_read judge_build judge_rows judge_speed
                 kind wilson decibans);


=head1 FUNCTIONS

=over

=item corpus_path()

The corpus of MAILPING_SHARED, or undef when it is not there.

=cut

sub corpus_path {
    my $shared = shared();

    my $path = defined $shared ? "$shared/data/corpus/ua-dev.jsonl" : '';

    return -f $path ? $path : undef;
}


=item corpus_read(PATH)

The rows of a corpus, a JSON object a line with "ua", "label", "name" and
"source", as hashes; the last two may be missing.  Dies at a wrong row.

=cut

sub corpus_read {
    my ($path) = @_;

    my $json = JSON::PP->new()->utf8();
    my @rows;

    open(my $file, '<:raw', $path) || die "cannot open $path: $!\n";

    while (my $line = <$file>) {
        next if $line !~ /\S/;

        my $row = eval { $json->decode($line) };

        if (ref($row) ne 'HASH' || !defined $row->{ua}
            || !kind($row->{label} // ''))
        {
            die "$path:$.: expected an object with \"ua\" and a known"
                . " \"label\"\n";
        }

        $row->{name} //= '';
        $row->{family} = ($row->{source} // '') =~ /^([^\@:]+)/ ? $1 : '-';

        push(@rows, $row);
    }

    return \@rows;
}


=item kind(LABEL)

What a label stands for: "machine", "person" or "proxy"; undef for none.

=cut

sub kind {
    my ($label) = @_;

    my %kinds = (bot => 'machine', scanner => 'machine', prefetch => 'machine',
                 browser => 'person', mail_client => 'person',
                 proxy_open => 'proxy');

    return $kinds{$label};
}


=item judge_build([RULES])

Compiles t/accuracy/judge_corpus.c with core and the rules of a folder, those
of the repository by default, and returns the program's path.  Without RULES it
stays in build/accuracy, and is compiled again when a source is newer.

=cut

sub judge_build {
    my ($rules) = @_;

    my $repo = repository();
    my $dir = "$repo/build/accuracy";

    make_path($dir);

    open(my $lock, '>', "$dir/lock") || die "cannot open $dir/lock: $!\n";
    flock($lock, LOCK_EX);

    my @parts = qw(builtin classify condition facts mask networks parser
                   patterns published rules ruleset
                   ruleset_compile sets token);
    my @sources = ('t/accuracy/judge_corpus.c',
                   map { "ngx_mailping_module/core/$_.c" } @parts);

    my $program = "$dir/judge_corpus";
    my @flags = core_flags();

    if (defined $rules) {
        $program = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1,
                                       CLEANUP => 1) . '/judge_corpus';
        s|^(-DNGX_MAILPING_RULES_DIR=).*|$1"$rules"| for (@flags);

    } elsif (-e $program) {
        my $built = (stat($program))[9];

        my @newer = grep { (stat("$repo/$_"))[9] >= $built }
                    @sources, sources('ngx_mailping_module/core/*.h',
                                      'ngx_mailping_module/rules/*');

        return $program if !@newer;
    }

    my ($code, $output) = run_command('gcc', @flags, '-O2',
                                      map({ "$repo/$_" } @sources),
                                      '-o', "$program.new", '-lcrypto', '-lm');

    die "judge_corpus does not compile:\n$output\n" if $code != 0;

    rename("$program.new", $program) || die "cannot rename $program.new: $!\n";

    return $program;
}


# The agents, one a line, as judge_corpus reads them.

sub agents_file {
    my ($rows) = @_;

    my $file = File::Temp->new(TEMPLATE => 'mailping-XXXXXXXX', TMPDIR => 1);

    binmode($file);

    for my $row (@$rows) {
        my $agent = $row->{ua};

        utf8::encode($agent);
        $agent =~ s/([\x00-\x1f%\x7f])/sprintf('%%%02X', ord($1))/ge;

        print $file "$agent\n";
    }

    close($file) || die "cannot write $file: $!\n";

    return $file;
}


=item judge_rows(PROGRAM, ROWS)

Judges rows, which get "open", "person", "verdict", "reasons" and "rules", the
last a hash of the rules that hold.

=cut

sub judge_rows {
    my ($program, $rows) = @_;

    my $agents = agents_file($rows);

    open(my $output, '-|', 'sh', '-c', 'exec "$1" < "$2"', 'sh', $program,
         "$agents") || die "cannot run $program: $!\n";

    for my $row (@$rows) {
        my $line = <$output> // die "$program stopped early\n";

        chomp($line);

        my ($open, $person, $verdict, $reasons, $rules)
            = split(/\t/, $line, -1);

        @{$row}{qw(open person verdict reasons)}
            = ($open, $person, $verdict, $reasons);
        $row->{rules} = { map { $_ => 1 } split(/,/, $rules) };
    }

    close($output) || die "$program failed\n";

    return $rows;
}


=item judge_speed(PROGRAM, ROWS, ROUNDS)

Nanoseconds per agent, in the fastest of so many rounds over all rows.

=cut

sub judge_speed {
    my ($program, $rows, $rounds) = @_;

    my $agents = agents_file($rows);

    my ($code, $output) = run_command('sh', '-c', 'exec "$1" -t "$3" < "$2"',
                                      'sh', $program, "$agents", $rounds);

    die "$program failed: $output\n" if $code != 0;

    return 0 + $output;
}


=item wilson(COUNT, TOTAL)

The bounds of Wilson's 95 % interval for a share, between 0 and 1.

=cut

sub wilson {
    my ($count, $total) = @_;

    return (0, 1) if $total == 0;

    my $z = 1.959964;
    my $share = $count / $total;
    my $scale = 1 + $z * $z / $total;
    my $middle = $share + $z * $z / (2 * $total);
    my $half = $z * sqrt($share * (1 - $share) / $total
                         + $z * $z / (4 * $total * $total));

    my ($low, $high) = (($middle - $half) / $scale, ($middle + $half) / $scale);

    return ($low < 0 ? 0 : $low, $high > 1 ? 1 : $high);
}


=item decibans(MACHINES, ALL_MACHINES, PERSONS, ALL_PERSONS)

10 log10 of the ratio of the two shares, rounded, half a case added to each
count, between -20 and 20.

=back

=cut

sub decibans {
    my ($m, $machines, $p, $persons) = @_;

    my $ratio = ($m + 0.5) / ($machines + 1) * ($persons + 1) / ($p + 0.5);
    my $weight = floor(10 * log($ratio) / log(10) + 0.5);

    return $weight > 20 ? 20 : $weight < -20 ? -20 : $weight;
}


1;
