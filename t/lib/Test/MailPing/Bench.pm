package Test::MailPing::Bench;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Bench - what judging costs, with many networks and many rules

=cut

use strict;
use warnings;

use Exporter qw(import);
use File::Temp;
use Test::MailPing qw(repository run_command);
use Test::MailPing::Source;

our @EXPORT = qw(bench_build bench_networks bench_rules bench_fetches
                 bench_run);


# What is drawn here is the same in each run, whatever perl's own generator is.

my $state = 1;

sub draw {
    my ($n) = @_;

    $state = ($state * 1103515245 + 12345) & 0x7fffffff;

    return int(($state >> 8) % $n);
}


sub one_of {
    return $_[draw(scalar(@_))];
}


=head1 FUNCTIONS

=over

=item bench_build([EDIT])

Compiles t/bench/classify.c with core, as the module is compiled, into a folder
that is removed at the end; returns the program's path.  EDIT is called with the
name and the text of each file of core and returns the text to compile.

=cut

sub bench_build {
    my ($edit) = @_;

    my $repo = repository();
    my $dir = File::Temp::tempdir('mailping-XXXXXXXX', TMPDIR => 1,
                                  CLEANUP => 1);
    my @sources = ("$repo/t/bench/classify.c");

    for my $name (qw(builtin classify condition facts mask networks parser
                     patterns published rules ruleset
                     ruleset_compile sets token))
    {
        my $path = "$repo/ngx_mailping_module/core/$name.c";

        if ($edit) {
            open(my $file, '<:raw', $path) || die "cannot open $path: $!\n";
            my $text = do { local $/; <$file> };
            my $edited = $edit->($name, $text);

            if ($edited ne $text) {
                $path = write_text("$dir/$name.c", $edited);
            }
        }

        push(@sources, $path);
    }

    my ($code, $output) = run_command('gcc', core_flags(), '-g', '-O2', '-fPIC',
                                      '-fstack-protector-strong',
                                      "-I$repo/ngx_mailping_module/core",
                                      @sources, '-o', "$dir/classify",
                                      '-lcrypto', '-lm');

    die "t/bench/classify.c does not compile:\n$output\n" if $code != 0;

    return "$dir/classify";
}


sub write_text {
    my ($path, @lines) = @_;

    open(my $file, '>:raw', $path) || die "cannot create $path: $!\n";
    print $file @lines;
    close($file) || die "cannot write $path: $!\n";

    return $path;
}


=item bench_networks(PATH, COUNT)

Writes a rule file with so many different networks in sixteen sets, two thirds
of them IPv4 (/20 to /28), and returns an address of each of some of them.

=cut

sub bench_networks {
    my ($path, $count) = @_;

    $state = 1;

    my (%seen, @lines, @addresses);

    while (keys %seen < $count) {
        my ($cidr, $address);

        if (keys(%seen) % 3 == 2) {
            my @words = (0x2000 + draw(0x1000), draw(65536), draw(65536));
            my $bits = one_of(32, 40, 44, 48);
            my @kept = ($words[0], $words[1],
                        $bits == 32 ? 0
                        : $words[2] & (0xffff << (48 - $bits)) & 0xffff);

            $cidr = sprintf('%x:%x:%x::/%d', @kept, $bits);
            $address = sprintf('%x:%x:%x::%x', @kept, draw(65536));

        } else {
            my $bits = 20 + draw(9);
            my $ip = (1 + draw(222)) << 24 | draw(4096) << 12 | draw(4096);
            my $net = $ip & (0xffffffff << (32 - $bits)) & 0xffffffff;

            $cidr = join('.', unpack('C4', pack('N', $net))) . "/$bits";
            $address = join('.', unpack('C4', pack('N', $ip)));
        }

        next if $seen{$cidr}++;

        push(@lines, $cidr);
        push(@addresses, $address) if draw(16) == 0;
    }

    write_text($path, map { sprintf("network bench-%d %s\n", draw(16), $_) }
                      @lines);

    return \@addresses;
}


=item bench_rules(PATH, TIMES, KIND)

Writes rules of which there are, with the built-in ones, so many times as many
as of those alone.  KIND says which:

=over

=item copies

Each built-in rule again, under other names.

=item varied

What an operator would write: built-in rules under other names, with other
weights (by up to five decibans), and one or two conditions exchanged for others
of the same kind that built-in rules use (another network, another age), or with
a condition more.

=item dense

As above, but half of the rules ask for nothing else than two to four conditions
that often hold: more rules hold than in any file that was written for a
purpose.

=back

=cut

sub bench_rules {
    my ($path, $times, $kind) = @_;

    $state = 2;

    my $name = repository() . '/ngx_mailping_module/rules/default.rules';

    open(my $file, '<:raw', $name) || die "cannot open $name: $!\n";
    my @rules = map { [ split(' ') ] }
                grep { s/^((?:rule|set)\s.*?)\s*(?:#.*)?\n\z/$1/ } <$file>;

    my %used = map { $_ => 1 }
               map { @{$_}[($_->[0] eq 'set' ? 4 : 5) .. $#$_] } @rules;
    my @conditions = sort keys %used;
    my @lines;

    for my $n (1 .. @rules * ($times - 1)) {
        my @words = @{$rules[$n % @rules]};

        $words[1] .= "-$n";

        if ($kind eq 'dense' && draw(2)) {
            @words = often($n);

        } elsif ($kind ne 'copies') {
            @words = varied(\@conditions, @words);
        }

        push(@lines, join(' ', @words));
    }

    write_text($path, map { "$_\n" } @lines);
}


# A rule's words, changed in weights and conditions.

sub varied {
    my ($conditions, @words) = @_;

    my $first = $words[0] eq 'set' ? 4 : 5;
    my @changed = ($first .. $#words);
    my $n = draw(3);

    if ($first == 5) {
        $words[4] =~ s/(\d+)/weight($1 + draw(11) - 5)/eg;
    }

    if ($n == 0 || !exchange($conditions, \@words, one_of(@changed))) {
        my @more = grep { my $word = $_; !grep { same($_, $word) } @words }
                   @$conditions;

        return (@words, one_of(@more));
    }

    if ($n == 2) {
        exchange($conditions, \@words, one_of(@changed));
    }

    return @words;
}


sub weight {
    my ($n) = @_;

    return $n < 1 ? 1 : $n > 30 ? 30 : $n;
}


# Puts another condition of the same kind in the place of a condition, as
# negated as it is; false when there is none.

sub exchange {
    my ($conditions, $words, $i) = @_;

    my $kind = qr/^\Q@{[ kind($words->[$i]) ]}\E/;
    my @others = grep { my $word = $_;
                        $word =~ $kind && !grep { same($_, $word) } @$words }
                 @$conditions;

    return 0 if !@others;

    $words->[$i] = one_of(@others);

    return 1;
}


# What a condition begins with, its negation included: "!network:", "age".

sub kind {
    my ($word) = @_;

    return $word =~ /^(!?[a-z]+(?::|[<>]=?)?)/ ? $1 : $word;
}


# Whether two conditions ask for the same fact.

sub same {
    my ($one, $two) = map { s/^!//r =~ s/>=/</r } @_;

    return $one eq $two;
}


# A rule of conditions that often hold.

sub often {
    my ($n) = @_;

    my @often = qw(agent:browser seen<2 header:image !method:head age>=10m
                   age>=1h !age<1m !agent:bot client:chrome http:1.1
                   !burst>=5 !network:vpn !network:gateway !agent:mail-proxy
                   !header:!accept-language !self hint:other client:safari
                   agent:webkit !network:hosting);
    my @classes = qw(human proxied prefetch scanner bot);
    my @words = ('rule', "often-$n",
                 one_of(qw(agent network headers time history)), '-',
                 join(',', map { $_ . one_of('+', '-') . draw(11) }
                           (@classes, @classes)[$n % 5, $n % 5 + 2]));

    my %kinds;
    my $wanted = @words + 2 + draw(3);

    while (@words < $wanted) {
        my $word = one_of(@often);

        push(@words, $word)
            if !$kinds{$word =~ /^!?(age|client)\b/ ? $1 : $word}++;
    }

    return @words;
}


=item bench_fetches(PATH, COUNT, ADDRESSES)

Writes so many different fetches as t/bench/classify.c reads them: browsers and
mail programs, their agents about 120 bytes long, with eight headers each; half
of the addresses are of these, the others of anywhere.

=cut

sub bench_fetches {
    my ($path, $count, $addresses) = @_;

    $state = 3;

    my @agents = (
        sub { sprintf('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/'
                      . '537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/'
                      . '537.36 Edg/%d.0', 90 + draw(60), 90 + draw(60)) },
        sub { sprintf('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/'
                      . '537.36 (KHTML, like Gecko) Chrome/%d.0.%d.%d Safari/'
                      . '537.36', 90 + draw(60), draw(6000), draw(200)) },
        sub { sprintf('Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_%d) '
                      . 'AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.%d'
                      . ' Safari/605.1.15', draw(8), 13 + draw(6), draw(7)) },
        sub { sprintf('Mozilla/5.0 (iPhone; CPU iPhone OS %d_%d like Mac OS X)'
                      . ' AppleWebKit/605.1.15 (KHTML, like Gecko)'
                      . ' Mobile/15E148', 13 + draw(6), draw(8)) },
        sub { sprintf('Mozilla/5.0 (Linux; Android %d; SM-%s%d) AppleWebKit/'
                      . '537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Mobile'
                      . ' Safari/537.36', 8 + draw(7), one_of(qw(A G S N)),
                      100 + draw(899), 90 + draw(60)) },
        sub { sprintf('Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:%d.0) Gecko'
                      . '/20100101 Thunderbird/%d.%d.%d Lightning/%d.%d.0.1'
                      . ' (build %08d)', 60 + draw(80), 60 + draw(80),
                      draw(15), draw(5), draw(9), draw(9), draw(99999999)) },
        sub { sprintf('Microsoft Office/16.0 (Windows NT 10.0; Microsoft'
                      . ' Outlook 16.0.%d; Pro; ms-office; MSOffice 16; build'
                      . ' %010d)', 10000 + draw(9000), draw(99999999)) },
        sub { sprintf('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'
                      . ' (KHTML, like Gecko) HeadlessChrome/%d.0.%d.0 Safari/'
                      . '537.36 (sandbox)', 90 + draw(60), draw(6000)) },
    );

    my @images = ('image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*'
                  . ';q=0.8', 'image/avif,image/webp,*/*', '*/*',
                  'image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5');
    my @languages = ('en-US,en;q=0.9', 'de', 'fr-CH, fr;q=0.9, en;q=0.8', 'ja');
    my @lines;

    my @sent = map { $agents[draw(8) < 7 ? draw(5) : 5 + draw(3)]->() }
                   1 .. 256;

    for my $n (1 .. $count) {
        my $agent = one_of(@sent);
        my $address = $n % 2 ? one_of(@$addresses)
                      : join('.', 1 + draw(222), map { draw(256) } 1 .. 3);

        # from a second to a month, as often within as beyond an hour

        my $age = int(1000 * exp(draw(1000) / 1000 * log(2_592_000)));

        push(@lines, join("\t", $agent, $address, $age,
            draw(4) ? 1 : 2 + draw(5), 1 + draw(draw(8) ? 2 : 12),
            draw(16) ? 1 : 2 + draw(3), draw(101), draw(32) ? 0 : 1,
            draw(64) ? 0 : 1, draw(3) ? 11 : 20, draw(7), 0,
            'Host: t.example.com', 'Accept: ' . one_of(@images),
            'Accept-Encoding: gzip, deflate, br',
            'Accept-Language: ' . one_of(@languages),
            draw(2) ? 'Referer: https://mail.example.net/'
                    : 'Connection: keep-alive',
            draw(4) ? 'Sec-Fetch-Dest: image' : 'Sec-Fetch-Dest: empty',
            'Sec-Fetch-Mode: no-cors') . "\n");
    }

    write_text($path, @lines);
}


=item bench_run(PROGRAM, ROUNDS, FETCHES, RULES, MORE)

Runs it with two rule files, the second on top of the first; returns what it
says as hash of arrays: [ median, minimum ], or one number.

=back

=cut

sub bench_run {
    my ($program, $rounds, $fetches, $rules, $more) = @_;

    my ($code, $output) = run_command($program, $rounds, $fetches, $rules,
                                      '--', $more);

    die "$program failed: $output\n" if $code != 0;

    return { map { my ($name, @numbers) = split(' '); $name => \@numbers }
             split(/\n/, $output) };
}


1;
