package Test::MailPing::Simulation;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Simulation - a made-up day through a real nginx, and what the
module made of it

=head1 SYNOPSIS

    my $simulation = Test::MailPing::Simulation->new();

    my $result = $simulation->run($day, sent => 1);
    my $score = score($result);

    print report_kinds({ 'after' => $score });

    $simulation->done();

=head1 DESCRIPTION

Each fetch of a L<Test::MailPing::Day> is a request of its own, in the order of
time, from the address that the day says (by realip), answered before the next
is sent.  nginx lives in the day's time by t/sim/clock.c; Redis and all timers
live in ours.

run() starts a fresh nginx and Redis, with a fresh memory, and returns a list
of cases: the fetch with C<open>, C<person> (undef where there is none),
C<verdict>, C<reasons> and C<provider> as they were written first, and in
C<after> a hash of the same as amendments left them.

Between entries and fetches there must be a bijection; else run() dies.

=cut

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(SEEK_SET);
use Time::HiRes qw(time);

use Test::MailPing qw(repository run_command wait_for);
use Test::MailPing::Accuracy qw(wilson);
use Test::MailPing::MMDB qw(mmdb_write asn_record);

our @EXPORT = qw(score score_add reliability groups_of kind_class);

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

=item run(DAY, sent => 1, rules => TEXT)

Without C<sent> no token says when its mail was sent.  C<rules> are an
operator's, on top of the built-in ones.

=cut

sub new {
    my ($class, %options) = @_;

    return bless { log => 'warn', %options }, $class;
}


sub run {
    my ($self, $day, %options) = @_;

    my $begin = time();
    my $t = Test::MailPing->new(log => $self->{log}, timeout => 1800);

    $self->{t} = $t;

    my $shim = $t->path('clock.so');
    my ($code, $output) = run_command($ENV{CC} // 'cc', '-O2', '-Wall',
                                      '-shared', '-fPIC', '-o', $shim,
                                      repository() . '/t/sim/clock.c');

    die "clock.c does not compile:\n$output\n" if $code != 0;

    # the memory has to be older than the mails

    $t->write_file('clock', pack('Q', $day->start() - 2 * 86_400_000));
    $t->{wrap} = [ 'env', "LD_PRELOAD=$shim", 'CLOCK=' . $t->path('clock') ];

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
    $self->{sent_at} = time() - $begin;

    my $cases = $self->_join($day);

    $self->{seconds} = time() - $begin;

    return $cases;
}


=item seconds()

How long the last run took.

=item done(), problems()

End the nginx and Redis of the last run, as done() and problems() of
L<Test::MailPing>; problems() removes everything as well.

=back

=cut

sub seconds {
    return $_[0]{seconds};
}


sub test {
    return $_[0]{t};
}


sub done {
    $_[0]{t}->done();
}


sub problems {
    my ($self) = @_;

    my @problems = $self->{t}->problems();

    $self->{t}->remove();

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

        sysseek($clock, 0, SEEK_SET);
        syswrite($clock, pack('Q', $fetch->{time})) == 8
            || die "cannot set the clock: $!\n";

        my $header = $fetch->{header} =~ s/%HOST%/t.example.com/r;

        _exchange($connections[$n++ % @connections],
                  "$fetch->{method} /o/$token.gif HTTP/1.1\r\n$header"
                  . "X-Sim-Address: $fetch->{address}\r\n\r\n",
                  $fetch->{method} eq 'HEAD' ? 0 : 43);
    }

    $_->close() for (@connections);
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


# All entries, once Redis has as many as the module recorded.

sub _entries {
    my ($self) = @_;

    my $t = $self->{t};
    my $redis = $t->redis();
    my $last = -1;

    # amendments are delivered after the opens that they correct

    wait_for(sub {
        my $length = $redis->length();
        my $waiting = $t->status()->{spool}{undelivered} // 0;
        my $same = $length == $last && $waiting == 0;

        $last = $length;
        select(undef, undef, undef, 0.2) if !$same;

        return $same;
    }, 60) || die "the spool is not delivered\n";

    my @entries;
    my $from = '-';

    for ( ;; ) {
        my $page = $redis->command('XRANGE', 'mailping:opens', $from, '+',
                                   'COUNT', PAGE);

        push(@entries, map { { @{$_->[1]} } } @$page);

        last if @$page < PAGE;

        $from = "($page->[-1][0]";
    }

    return @entries;
}


# To each fetch the entry of its mail and time.  An entry that stands for
# several fetches has those of its mail in the minute before and after it that
# no other entry has.

sub _join {
    my ($self, $day) = @_;

    my (%opens, %amended, @collapsed, %waiting);

    for my $e ($self->_entries()) {
        if ($e->{type} eq 'amend') {
            push(@{$amended{$e->{ref}}}, $e);

        } elsif ($e->{type} ne 'open') {
            die "an entry of type \"$e->{type}\"\n";

        } elsif ($e->{count} > 1) {
            push(@collapsed, $e);

        } else {
            die "two entries of $e->{id} at $e->{time}\n"
                if $opens{"$e->{id} $e->{time}"};

            $opens{"$e->{id} $e->{time}"} = $e;
        }
    }

    my @cases;

    for my $fetch ($day->fetches()) {
        my $id = $day->mail($fetch->{mail})->{id};
        my $e = delete $opens{"$id $fetch->{time}"};

        if ($e) {
            push(@cases, _case($fetch, $e, \%amended));

        } else {
            push(@{$waiting{$id}}, $fetch);
        }
    }

    for my $e (@collapsed) {
        my @near = sort { abs($a->{time} - $e->{time})
                          <=> abs($b->{time} - $e->{time}) }
                   grep { !$_->{used}
                          && abs($_->{time} - $e->{time}) <= 60_000 }
                   @{$waiting{$e->{id}} // []};

        die "an entry for $e->{count} fetches of $e->{id}, "
            . scalar(@near) . " were there\n" if @near < $e->{count};

        for my $fetch (@near[0 .. $e->{count} - 1]) {
            $fetch->{used} = 1;
            push(@cases, _case($fetch, $e, \%amended));
        }
    }

    my @lost = grep { !$_->{used} } map { @$_ } values %waiting;

    $_->{used} = 0 for (map { @$_ } values %waiting);

    die scalar(@lost) . ' fetches without an entry, ' . scalar(keys %opens)
        . " entries without a fetch\n" if @lost || %opens;

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


# 0 to 10 are the first, 11 to 20 the second, so that no decile is on both
# sides of a threshold but the one that 80 begins.

sub _decile {
    my ($person) = @_;

    return $person <= 10 ? 0 : int(($person - 1) / 10);
}


=item kind_class(SCORE, TRUTH)

Counts of a truth: a hash of open, and "all".

=cut

sub kind_class {
    my ($score, $truth) = @_;

    my %counts = (yes => 0, maybe => 0, no => 0,
                  %{$score->{classes}{$truth} // {}});

    $counts{all} = $counts{yes} + $counts{maybe} + $counts{no};

    return \%counts;
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

        my @cells = sort { abs($b->[3]) <=> abs($a->[3]) || $a->[0] cmp $b->[0] }
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
