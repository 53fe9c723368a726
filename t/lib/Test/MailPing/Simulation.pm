package Test::MailPing::Simulation;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Simulation - a made-up day through a real nginx, and what the
module made of it

=head1 SYNOPSIS

    my $simulation = Test::MailPing::Simulation->new();

    my $cases = $simulation->run($day, sent => 1);

    print "$_\n" for (promises_broken(score($cases, 1)));

    $simulation->end();

=head1 DESCRIPTION

Each fetch of a L<Test::MailPing::Day> is a request of its own, in the order of
time, from the address that the day says (by realip), answered before the next
is sent.  nginx lives in the day's time by t/sim/clock.c; Redis and all timers
live in ours.

run() starts a fresh nginx and Redis, with a fresh memory, and returns a list
of cases: the fetch with C<open>, C<person> (undef where there is none),
C<verdict>, C<reasons> and C<provider> as they were written first, and in
C<after> a hash of the same as amendments left them.

A fetch and its entry meet by the mail and the time to the millisecond.  run()
dies when a fetch has no entry or an entry no fetch, so also when nginx lives
at another time than the day's.

Entries that stand for several fetches are written by a timer, of which one
second passes while hours of the day do: they stand for more than a minute, and
their counts are as exact as ever.

=cut

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(SEEK_SET);
use Time::HiRes qw(time);

use Test::MailPing qw(repository run_command wait_for);
use Test::MailPing::Accuracy qw(wilson);
use Test::MailPing::MMDB qw(mmdb_write asn_record);

our @EXPORT = qw(score score_add promises_broken reliability deciles_off
                 decile_used decile_name groups_of class_counts);

use constant CONNECTIONS => 4;
use constant PAGE => 2000;

# what the module judges, in entries and in amendments
my @judged = qw(open person verdict provider reasons);

my $conf = <<'END';
%%GLOBALS%%
worker_processes 1;
events { worker_connections 128; }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=256m sync=off;
    mailping_redis {
        server %%REDIS%%;
        # Redis lives at another time than nginx
        retain none;
    }
    mailping_geoip asn=%%PREFIX%%/asn.mmdb;
    mailping_key 1 %%KEYFILE%%;
    mailping_zone 64m;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Sim-Address;
    keepalive_requests 100000000;
    keepalive_timeout 1d;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /status { mailping_status; }
    }
}
END


=head1 METHODS

=over

=item new()

=item run(DAY, sent => 1, rules => TEXT, clock => 1)

Without C<sent> no token says when its mail was sent.  C<rules> are an
operator's, on top of the built-in ones.  Without C<clock> nginx lives in our
time.

=cut

sub new {
    my ($class, %options) = @_;

    return bless { log => 'warn', %options }, $class;
}


sub run {
    my ($self, $day, %options) = @_;

    my $begin = time();
    my $t = Test::MailPing->new(log => $self->{log}, timeout => 1800);

    # what a run that died left behind

    $self->{t}->remove() if $self->{t};
    $self->{t} = $t;

    my $shim = $t->path('clock.so');
    my ($code, $output) = run_command($ENV{CC} // 'cc', '-O2', '-Wall',
                                      '-shared', '-fPIC', '-o', $shim,
                                      repository() . '/t/sim/clock.c');

    die "clock.c does not compile:\n$output\n" if $code != 0;

    # the memory has to be older than the mails

    $t->write_file('clock', pack('Q', $day->start() - 2 * 86_400_000));

    if ($options{clock} // 1) {
        $t->{wrap} = [ 'env', "LD_PRELOAD=$shim",
                       'CLOCK=' . $t->path('clock') ];
    }

    mmdb_write($t->path('asn.mmdb'), 'GeoLite2-ASN',
               [ map { [ $_->[0], asn_record(0 + $_->[1], $_->[2]) ] }
                     $day->networks() ]);

    my $text = $conf;

    if (defined $options{rules}) {
        $t->write_file('site.rules', $options{rules});
        $text =~ s|(mailping_zone)|mailping_rules %%PREFIX%%/site.rules;\n$1|;
    }

    $t->redis('redis', arguments => [ '--appendonly', 'no' ]);
    $t->write_conf($text);
    $t->start();

    $self->_send($day, $options{sent} // 1);

    my $cases = $self->join_entries($day, $self->_entries($day));

    $self->{seconds} = time() - $begin;

    return $cases;
}


=item seconds(), amendments()

How long the last run took, and how many amendments there were.

=item end()

Ends nginx and Redis of the last run, and returns what the harness found wrong
with them, see problems() of L<Test::MailPing>.

=cut

sub seconds {
    return $_[0]{seconds};
}


sub amendments {
    return $_[0]{amendments};
}


sub end {
    my ($self) = @_;

    my $t = delete $self->{t};
    my @problems = $t->problems();

    $t->remove();

    return @problems;
}


sub _send {
    my ($self, $day, $sent) = @_;

    my $t = $self->{t};
    my (@tokens, @connections);

    open(my $clock, '+<:raw', $t->path('clock'))
        || die "cannot open the clock: $!\n";

    push(@connections, $t->connect()) for (1 .. CONNECTIONS);

    my $n = 0;

    for my $fetch ($day->fetches()) {
        my $mail = $day->mail($fetch->{mail});

        my $token = $tokens[$fetch->{mail}]
            //= $t->mint(id => $mail->{id}, recipient => $mail->{recipient},
                         sent => $sent ? $mail->{sent} : 0,
                         flags => $sent && $mail->{handover} ? 1 : 0,
                         hint => $mail->{hint});

        _set_clock($clock, $fetch->{time});

        my $header = $fetch->{header} =~ s/%HOST%/t.example.com/r;

        _exchange($connections[$n++ % @connections],
                  "$fetch->{method} /o/$token.gif HTTP/1.1\r\n$header"
                  . "X-Sim-Address: $fetch->{address}\r\n\r\n",
                  $fetch->{method} eq 'HEAD' ? 0 : 43);
    }

    $_->close() for (@connections);

    # what is counted for a minute becomes due

    _set_clock($clock, $day->end() + 120_000);
}


# The file is mapped by nginx, which waits for the next fetch.

sub _set_clock {
    my ($clock, $time) = @_;

    sysseek($clock, 0, SEEK_SET);
    syswrite($clock, pack('Q', $time)) == 8
        || die "cannot set the clock: $!\n";
}


# Test::MailPing::HTTP takes an answer apart, which is too slow for a day.

sub _exchange {
    my ($connection, $request, $length) = @_;

    my $socket = $connection->socket();
    my $answer = '';

    syswrite($socket, $request) == length($request)
        || die "cannot send a fetch: $!\n";

    for ( ;; ) {
        my $end = index($answer, "\r\n\r\n");

        last if $end >= 0 && length($answer) >= $end + 4 + $length;

        sysread($socket, $answer, 65536, length($answer))
            || die "no answer to a fetch\n";
    }

    if ($answer !~ m|^HTTP/1\.1 200 |) {
        die "not the pixel: $answer\n";
    }
}


# All entries.  Those that stand for several fetches are written by a timer of
# the module, when the day's clock is a minute further.

sub _entries {
    my ($self, $day) = @_;

    my $t = $self->{t};
    my $fetches = $day->fetches();
    my $told = 0;
    my @entries;

    my $from = '-';

    my $read = sub {
        for ( ;; ) {
            my $page = $t->redis()->command('XRANGE', 'mailping:opens', $from,
                                            '+', 'COUNT', PAGE);

            for (@$page) {
                my %e = @{$_->[1]};

                $told += $e{count} if $e{type} eq 'open';
                push(@entries, \%e);
            }

            last if !@$page;

            $from = "($page->[-1][0]";
        }
    };

    wait_for(sub {
        my $undelivered = $t->status()->{spool}{undelivered};

        $read->();

        return $undelivered == 0 && $told >= $fetches;
    }, 30) || die "the entries tell of $told fetches, not of $fetches\n";

    return @entries;
}


=item join_entries(DAY, ENTRIES...)

The cases of a day and its entries: to each fetch the entry of its mail and
time.  An entry that stands for several fetches describes the first of them, and
has the next of its mail that have no entry of their own.

=back

=cut

sub join_entries {
    my ($self, $day, @entries) = @_;

    my (%opens, %amended, %waiting, @cases);

    for my $e (@entries) {
        if ($e->{type} eq 'amend') {
            push(@{$amended{$e->{ref}}}, $e);

        } elsif ($e->{type} ne 'open') {
            die "an entry of type \"$e->{type}\"\n";

        } elsif ($opens{"$e->{id} $e->{time}"}) {
            die "two entries of $e->{id} at $e->{time}\n";

        } else {
            $opens{"$e->{id} $e->{time}"} = $e;
        }
    }

    # more fetches that the last entries of a mail stand for, and their entry

    my %more;

    for my $fetch ($day->fetches()) {
        my $id = $day->mail($fetch->{mail})->{id};
        my $e = delete $opens{"$id $fetch->{time}"};
        my $open = $more{$id} //= [];

        if ($e) {
            push(@$open, [ $e, $e->{count} - 1 ]) if $e->{count} > 1;

        } elsif (@$open) {
            $e = $open->[0][0];
            shift(@$open) if --$open->[0][1] == 0;

        } else {
            die "a fetch without an entry: $id at $fetch->{time}\n";
        }

        push(@cases, _case($fetch, $e, \%amended));
    }

    my @rest = (keys %opens, map { @$_ } values %more);

    die scalar(@rest) . " entries without a fetch\n" if @rest;

    my %known = map { $_->{event} => 1 } @cases;
    my @strange = grep { !$known{$_} } keys %amended;

    die "an amendment of $strange[0], which is no open\n" if @strange;

    $self->{amendments} = 0;
    $self->{amendments} += @$_ for (values %amended);

    return \@cases;
}


sub _case {
    my ($fetch, $e, $amended) = @_;

    my $case = { %$fetch, event => $e->{event}, seen => $e->{seen},
                 network => $e->{network}, asn => $e->{asn}, _judged($e) };

    # an amendment says what it corrects, and the last word counts

    my ($last) = sort { $b->{time} <=> $a->{time} }
                 reverse @{$amended->{$e->{event}} // []};

    $case->{after} = { _judged($last // $e) };
    $case->{amended} = defined $last ? 1 : 0;

    return $case;
}


sub _judged {
    my ($e) = @_;

    return map { my $value = $e->{$_};
                 ($_ => $_ eq 'person' && ($value // '') eq '' ? undef
                                                               : $value) }
               @judged;
}


=head1 FUNCTIONS

=over

=item score(CASES, AFTER), score_add(SCORE, SCORE)

Counts of cases as the module judged them, after amendments when AFTER is true:
C<kinds>, by kind and open; C<classes>, by truth and open; C<groups>, by truth,
kind, open and reasons; C<values>, by person and truth.  score_add() adds the
second to the first.

=cut

sub score {
    my ($cases, $after) = @_;

    my $score = {};

    for my $case (@$cases) {
        my $j = $after ? $case->{after} : $case;
        my $kind = "$case->{truth}\t$case->{kind}";
        my $person = $j->{person};

        $score->{classes}{$case->{truth}}{$j->{open}}++;
        $score->{kinds}{$kind}{$j->{open}}++;

        my $group = $score->{groups}{"$kind\t$j->{open}\t$j->{reasons}"}
                    //= [ 0, 0 ];

        $group->[0]++;
        $group->[1] += $person // 50;

        # nobody knows the truth of what is shielded

        next if $case->{truth} eq 'shielded' || !defined $person;

        $score->{values}{$person}[$case->{truth} eq 'person']++;
        $score->{cells}{_decile($person)}{"$kind\t$j->{reasons}"}[0]++;
        $score->{cells}{_decile($person)}{"$kind\t$j->{reasons}"}[1]
            += $person;
    }

    return $score;
}


sub score_add {
    my ($sum, $score) = @_;

    for my $key (keys %$score) {
        if (ref $score->{$key} eq 'HASH') {
            score_add($sum->{$key} //= {}, $score->{$key});

        } elsif (ref $score->{$key} eq 'ARRAY') {
            for my $i (0 .. $#{$score->{$key}}) {
                $sum->{$key}[$i] += $score->{$key}[$i] // 0;
            }

        } else {
            $sum->{$key} += $score->{$key};
        }
    }

    return $sum;
}


# 0 to 10 are the first, 11 to 20 the second.

sub _decile {
    my ($person) = @_;

    return $person <= 10 ? 0 : int(($person - 1) / 10);
}


=item class_counts(SCORE, TRUTH)

How many fetches of a truth are "yes", "maybe", "no", and "all".

=cut

sub class_counts {
    my ($score, $truth) = @_;

    my %counts = (yes => 0, maybe => 0, no => 0,
                  %{$score->{classes}{$truth} // {}});

    $counts{all} = $counts{yes} + $counts{maybe} + $counts{no};

    return \%counts;
}


=item promises_broken(SCORE)

What the classifier promises of the field and does not keep, one line each.

=cut

my @promises = (
    [ 'person', 'yes', 'at least', 90 ],
    [ 'person', 'no', 'at most', 0.5 ],
    [ 'gateway', 'no', 'at least', 80 ],
    [ 'gateway', 'yes', 'at most', 2 ],
);

sub promises_broken {
    my ($score) = @_;

    my @broken;

    for (@promises) {
        my ($truth, $open, $bound, $percent) = @$_;

        my $counts = class_counts($score, $truth);
        my $share = $counts->{all} ? 100 * $counts->{$open} / $counts->{all}
                                   : -1;

        if ($share < 0 || ($bound eq 'at least' ? $share < $percent
                                                : $share > $percent))
        {
            push(@broken, sprintf('%s %s: %.2f %%, %s %g %% promised', $truth,
                                  $open, $share, $bound, $percent));
        }
    }

    return @broken;
}


=item reliability(SCORE)

The deciles of person that have cases, as hashes: C<decile> (0 to 9), C<count>,
C<person> (the mean), C<share> of persons in percent, C<low> and C<high>, the
bounds of its 95 % interval, C<cells>, the groups of truth, kind and reasons in
it, [ name, count, mean ], those first that move it most.

=cut

sub reliability {
    my ($score) = @_;

    my @deciles;

    for my $person (keys %{$score->{values} // {}}) {
        my ($machines, $persons) = map { $_ // 0 }
                                       @{$score->{values}{$person}}[0, 1];
        my $d = $deciles[_decile($person)] //= { count => 0, persons => 0,
                                                 sum => 0 };

        $d->{count} += $machines + $persons;
        $d->{persons} += $persons;
        $d->{sum} += $person * ($machines + $persons);
    }

    my @table;

    for my $i (0 .. 9) {
        my $d = $deciles[$i] // next;
        my ($low, $high) = wilson($d->{persons}, $d->{count});

        my $cells = $score->{cells}{$i};

        my @cells = sort { abs($b->[3]) <=> abs($a->[3])
                           || $a->[0] cmp $b->[0] }
                    map {
                        my ($count, $sum) = @{$cells->{$_}};
                        my $truth = /^person\t/ ? 100 : 0;

                        [ $_, $count, $sum / $count, $sum - $count * $truth ];
                    } keys %$cells;

        push(@table, {
            decile => $i,
            count => $d->{count},
            person => $d->{sum} / $d->{count},
            share => 100 * $d->{persons} / $d->{count},
            low => 100 * $low,
            high => 100 * $high,
            cells => \@cells,
        });
    }

    return \@table;
}


=item deciles_off(TABLE)

What is wrong with the deciles in use, which have at least one in two hundred
cases: fewer than 1,000 cases, or a mean person that is more than 5 points off.

=cut

sub deciles_off {
    my ($table) = @_;

    my @off;
    my $all = 0;

    $all += $_->{count} for (@$table);

    for my $d (@$table) {
        next if !decile_used($d, $all);

        my $name = decile_name($d);

        push(@off, "$name: $d->{count} cases") if $d->{count} < 1000;
        push(@off, sprintf('%s: person %.1f, share %.1f', $name, $d->{person},
                           $d->{share}))
            if abs($d->{person} - $d->{share}) > 5;
    }

    return @off;
}


=item decile_used(DECILE, ALL), decile_name(DECILE)

Whether a decile is in use, and "11-20".

=cut

sub decile_used {
    my ($d, $all) = @_;

    return $d->{count} * 200 >= $all;
}


sub decile_name {
    my ($d) = @_;

    return sprintf('%d-%d', $d->{decile} ? 10 * $d->{decile} + 1 : 0,
                   10 * $d->{decile} + 10);
}


=item groups_of(SCORE)

The groups of truth, kind, open and reasons that do damage, [ truth, kind, open,
reasons, count, mean person, damage ], the worst first.  Damage is how many
cases' worth of person is missing to the truth.

=back

=cut

sub groups_of {
    my ($score) = @_;

    my @groups;

    for my $name (keys %{$score->{groups}}) {
        my ($truth, $kind, $open, $reasons) = split(/\t/, $name, -1);

        next if $truth eq 'shielded';

        my ($count, $sum) = @{$score->{groups}{$name}};
        my $mean = $sum / $count;
        my $off = $truth eq 'person' ? 100 - $mean : $mean;

        push(@groups, [ $truth, $kind, $open, $reasons, $count, $mean,
                        $count * $off / 100 ]);
    }

    return sort { $b->[6] <=> $a->[6]
                  || join("\t", @$a[0 .. 3]) cmp join("\t", @$b[0 .. 3]) }
                @groups;
}


1;
