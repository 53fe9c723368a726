#!/usr/bin/env perl

# Copyright (C) MailPing

# The second judgement of what nginx judged: by the same rules it is the first
# one, with facts of the operator's own and in every privacy mode; by other
# rules it is another; longer lists apply to evidence that an entry still has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Test::MailPing qw(wait_for run_command);
use Test::MailPing::Judge;
use Test::MailPing::MMDB qw(mmdb_write asn_record);


my $judge = Test::MailPing::Judge->new();
my $t = Test::MailPing->new();
my $redis = $t->redis();

mmdb_write($t->path('asn.mmdb'), 'GeoLite2-ASN', [
    [ '66.249.80.0/20', asn_record(15169, 'Google') ],
    [ '198.51.100.0/24', asn_record(64496, 'Example Home') ],
    [ '203.0.113.0/24', asn_record(64497, 'Example Campus') ],
]);

# an agent, a client and a network of the operator's own

$t->write_file('site.rules', <<'END');
agent    shop         "Shopper/"
asn      campus       64497
client   acme         "AcmeMail/"
rule     shop         agent    acme   bot+30               agent:shop
rule     acme         agent    acme   human+25             client:acme
rule     campus       network  campus proxied+9            asn:campus
END

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    mailping_geoip asn=%%PREFIX%%/asn.mmdb;
    mailping_rules %%PREFIX%%/site.rules;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    server {
        listen 127.0.0.1:%%PORT%%;
        mailping_site here;
        mailping_self $arg_self;
        location /o/ {
            mailping;
            mailping_privacy masked max=full;
            access_log %%PREFIX%%/access.log combined;
        }
        location = /status { mailping_status; }
    }
}
END

$t->start();

my $browser = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 '
              . '(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';
my $safari = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) '
             . 'AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 '
             . 'Mobile/15E148 Safari/604.1';
my $proxy = 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 '
            . '(via ggpht.com GoogleImageProxy)';

my @full = (Accept => 'image/avif,image/webp,*/*;q=0.8',
            'Accept-Language' => 'de-CH', 'Accept-Encoding' => 'gzip');

my $home = '198.51.100.7';
my $apple = '172.224.224.3';

# name, address, age of the mail, agent, and more

my @kinds = (
    [ 'browser', $home, 7200, $browser, header => \@full ],
    [ 'browser-soon', $home, 5, $browser, header => \@full ],
    [ 'browser-ever', $home, undef, $browser, header => \@full ],
    [ 'browser-bare', $home, 7200, $browser ],
    [ 'browser-nowhere', '10.1.2.3', 7200, $browser, header => \@full ],
    [ 'gmail', '66.249.84.5', 3600, $proxy ],
    [ 'gmail-soon', '66.249.84.5', 2, $proxy ],
    [ 'gmail-false', $home, 3600, $proxy ],
    [ 'apple', $apple, 600, 'Mozilla/5.0' ],
    [ 'safari', $apple, 600, $safari, header => \@full ],
    [ 'bare', $home, 600, 'Mozilla/5.0' ],
    [ 'curl', $home, 600, 'curl/8.5.0' ],
    [ 'bot', $home, 600, 'Mozilla/5.0 (compatible; SomeBot/1.0; +http://x.y)' ],
    [ 'none', $home, 600, undef ],
    [ 'head', $home, 600, $browser, header => \@full, method => 'HEAD' ],
    [ 'prefetch', $home, 600, $browser,
      header => [ @full, 'Sec-Purpose' => 'prefetch' ] ],
    [ 'old', $home, 600, $browser, version => '1.0' ],
    [ 'thunderbird', $home, 600, 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) '
      . 'Gecko/20100101 Thunderbird/128.1.0', header => \@full ],
    [ 'hint', '66.249.84.5', 3600, $proxy, hint => 'microsoft' ],
    [ 'self', $home, 600, $browser, args => '?self=1' ],
    [ 'six', '2001:db8:77::1', 600, $browser, header => \@full ],
    [ 'shop', $home, 600, 'Shopper/2.1 (x)' ],
    [ 'acme', $home, 600, "$browser AcmeMail/3.1", header => \@full ],
    [ 'campus', '203.0.113.9', 600, $browser, header => \@full ],
    [ 'cut', $home, 600, $browser . ' x/1' x 200, header => \@full ],
    [ 'minimal', $home, 600, $browser, privacy => 'minimal' ],
    [ 'latin', $home, 600, "$browser \xe9t\xe9/1", header => \@full ],
);

my @modes = qw(masked full);
my $now = time();
my $count = 0;

for my $mode (@modes) {
    for my $kind (@kinds) {
        my ($name, $address, $age, $agent, %more) = @$kind;

        my $token = $t->mint(id => "$name.$mode",
                             sent => defined $age ? $now - $age : 0,
                             hint => $more{hint} // 0,
                             privacy => $more{privacy} // $mode);

        # of one kind several fetches of one token

        for (1 .. ($name eq 'browser' ? 3 : 1)) {
            my $r = $t->request($more{method} // 'GET',
                "/o/$token" . ($more{args} // ''),
                version => $more{version} // '1.1',
                header => [ Host => 'a', 'X-Real-IP' => $address,
                            defined $agent ? ('User-Agent' => $agent) : (),
                            @{$more{header} // []} ]);

            die "no pixel for $name\n" if $r->status() != 200;
            $count++;
        }
    }
}

# a burst of tokens from one network

for my $i (1 .. 12) {
    $t->get('/o/' . $t->mint(id => "burst.$i", sent => $now - 5),
            header => [ Host => 'a', 'X-Real-IP' => "192.0.2.$i",
                        'User-Agent' => $browser, @full ]);
    $count++;
}

# what came first in a burst is amended

sub of_type {
    my ($type) = @_;

    return grep { $_->{type} eq $type } $redis->entries();
}

ok(wait_for(sub { of_type('open') == $count
                  && of_type('amend') == $t->status()->{amended} }),
   "$count events arrive");

my @entries = of_type('open');
my @amends = of_type('amend');
my %entry = map { $_->{event} => $_ } @entries;
my %by_id = map { $_->{id} => $_ } @entries;


# the entries as JSON lines

my $json = JSON::PP->new()->latin1()->canonical();

sub lines {
    return join('', map { $json->encode($_) . "\n" } @_);
}


# what is left of the first judgement, by the second one's fields

my @fields = qw(open verdict person provider reasons rules);

sub values_of {
    my ($entry) = @_;

    return join(' ', map { "$_=" . ($entry->{$_} // '?') } @fields);
}

sub again {
    my ($entries, @arguments) = @_;

    my $r = $judge->run([ '-a', @arguments ], lines(@$entries));

    is($r->{code}, 0, 'judged again') || diag($r->{err});

    return ($r, map { $json->decode($_) } split(/\n/, $r->{out}));
}


sub number {
    my ($r, $name) = @_;

    return $r->{err} =~ /^\Q$name\E +(\d+)$/m ? $1 : 0;
}


my @site = ('-r', $t->path('site.rules'));
my ($r, @rows) = again([ $redis->entries() ], @site);

cmp_ok(scalar(@amends), '>', 0, 'there are amendments');
is(number($r, 'amendments skipped'), scalar(@amends), 'which are counted');
is(number($r, 'lines'), @entries + @amends, 'among all entries');
is(scalar(@rows), $count, 'a row for each entry');

for my $i (0 .. $#rows) {
    my $entry = $entries[$i];

    is(values_of($rows[$i]), values_of($entry), "$entry->{id}: the same");
    is("$rows[$i]{event} $rows[$i]{id} $rows[$i]{was}",
       "$entry->{event} $entry->{id} $entry->{open}", 'and named');
}

like($r->{err}, qr/^entries without facts +2\n/m, 'minimal is not judged');
like($r->{err}, qr/^another open or verdict +0$/m, 'nothing has changed');
like($r->{err}, qr/^entries judged again +@{[ $count - 2 ]}$/m, 'all others');

is($judge->run([ @site ], lines(@entries))->{out}, '',
   'without -a there are no rows');

# the cases are worth it: all opens and most verdicts are there

my %opens = map { $_->{open} => 1 } @entries;
my %verdicts = map { $_->{verdict} => 1 } @entries;

is(join(' ', sort(keys(%opens))), 'maybe no yes', 'each open is there');
cmp_ok(scalar(keys(%verdicts)), '>=', 6, 'most verdicts are there')
    || diag(join(' ', sort(keys(%verdicts))));
is($by_id{'acme.masked'}{client}, 'acme', 'a client of the own rules');
like($by_id{'campus.masked'}{reasons}, qr/\bcampus\b/, 'a network, too');
like($by_id{'shop.masked'}{reasons}, qr/\bshop\b/, 'and an agent');


# every fact that matters comes from somewhere: without it the outcome is other

sub without {
    my ($id, %change) = @_;

    my (undef, $row) = again([ { %{$by_id{$id}}, %change } ], @site);

    return $row;
}

isnt(values_of(without('gmail.masked', facts => '0.1')),
     values_of($by_id{'gmail.masked'}), 'facts matter');
unlike(without('campus.masked', asn => '')->{reasons}, qr/\bcampus\b/,
       'asn matters');
unlike(without('shop.masked', agent => '')->{reasons}, qr/\bshop\b/,
       'agent matters');
unlike(without('acme.masked', client => '', agent => '')->{reasons},
       qr/\bacme\b/, 'client matters');


# other rules

my $other = $judge->file('other.rules', <<'END');
agent  gentle   "Chrome/126" "7 Chrome" ^"Mozilla/" ="Mozilla/5"
agent  inside   "126.0.0.0"
asn    hosting  64496
client home     "Chrome/"
rule   gentle   agent    -  human+30,bot-30   agent:gentle
rule   exact    headers  -  human+1           agent:inside
rule   tested   history  -  human+1           client:home
rule   early    time     -  bot+30            age<3h
rule   third    headers  -  human+2           seen>=3
END

my ($s, @again) = again(\@entries, '-r', $other);
my %row = map { $entry{$_->{event}}{seen} > 1 ? () : ($_->{id} => $_) } @again;
my %last = map { $_->{id} => $_ } @again;

like($row{'browser.masked'}{reasons}, qr/\bgentle\b/,
     'a product of a masked agent is found');
like($row{'bare.masked'}{reasons} . $row{'thunderbird.masked'}{reasons},
     qr/^(?!.*\bgentle\b)/, 'not what lies between or around products');
like($row{'bare.full'}{reasons}, qr/\bgentle\b/, 'a full agent is all there');
unlike($row{'browser.masked'}{reasons}, qr/\bexact\b/,
       'nor what masking took away');
like($row{'browser.full'}{reasons}, qr/\bexact\b/, 'which full has');
like($row{'browser.masked'}{reasons}, qr/\btested\b/,
     'a client of own rules goes first');
like($row{'browser.masked'}{reasons}, qr/\bearly\b/,
     'the age is known exactly');
unlike($row{'browser-ever.masked'}{reasons}, qr/\bearly\b/,
       'where it is known');
like($last{'browser.masked'}{reasons}, qr/\bthird\b/, 'a third fetch is one');
unlike($row{'browser.masked'}{reasons}, qr/\bthird\b/, 'a first is none');
like($row{'browser-soon.masked'}{reasons}, qr/\bhosting/,
     'a network that is listed now');
isnt($row{'browser.masked'}{rules}, $by_id{'browser.masked'}{rules},
     'the rule set has another name');
is($row{'minimal.masked'}{rules}, $by_id{'minimal.masked'}{rules},
   'minimal keeps its');

my @changed = grep { $_->{was} ne $_->{open}
                     || $_->{verdict} ne $entry{$_->{event}}{verdict} } @again;

cmp_ok(scalar(@changed), '>', 5, 'other rules, another outcome');
like($s->{err}, qr/^another open or verdict +@{[ scalar(@changed) ]}$/m,
     'as many as the summary says');

my @news = split(/\n/, $judge->run([ '-r', $other ], lines(@entries))->{out});

is(scalar(@news), scalar(@changed), 'and as there are rows without -a');

# from was to open

my %moved;
$moved{$_->{was}}{$_->{open}}++ for (grep { $_->{facts} ne ''
    } map { { %$_, facts => $entry{$_->{event}}{facts} } } @again);

for my $was (qw(yes maybe no)) {
    my $line = join('\s+', $was, map { $moved{$was}{$_} // 0 }
                                     qw(yes maybe no));
    like($s->{err}, qr/^$line$/m, "what was $was");
}

# no built-in rules at all

my $alone = $judge->file('only.rules', <<'END');
prior  -  human+0,proxied+0,prefetch-10,scanner-10,bot-10
agent  any   "curl"
rule   any   agent  -  human+20  agent:any
END

my (undef, $only) = again([ $by_id{'curl.masked'} ], '--only', $alone);

is($only->{open}, 'yes', 'only other rules');
is($only->{reasons}, 'any', 'and only their reasons');


# nginx's own log of the same requests: what needs no headers and no history is
# judged alike, and nothing is refused

my @asn = ('--asn', $t->path('asn.mmdb'));
my $log = $t->path('access.log');

ok(wait_for(sub { ($t->read_file('access.log') =~ tr/\n//) == $count }),
   'the access log is complete');

my $l = $judge->run([ @site, @asn, '-a', $log ]);

is($l->{code}, 0, 'the access log is understood') || diag($l->{err});

my @requests = map { $json->decode($_) } split(/\n/, $l->{out});
my @lines = split(/\n/, $t->read_file('access.log'));

is(scalar(@requests), $count, 'all of it');

like($l->{err}, qr/^time of sending known +@{[
     scalar(grep { $_->{sent} } @entries) ]}$/m, 'tokens tell when');

for my $name (qw(gmail gmail-soon gmail-false apple bare curl bot none shop)) {
    my ($kind) = grep { $_->[0] eq $name } @kinds;
    my $entry = $by_id{"$name.masked"};
    my $token = $t->mint(id => "$name.masked", sent => $now - $kind->[2],
                         privacy => 'masked');
    my ($i) = grep { $lines[$_] =~ /\Q$token\E/ } 0 .. $#lines;

    is("$requests[$i]{open} $requests[$i]{verdict}",
       "$entry->{open} $entry->{verdict}", "$name by the access log");
}


# an amendment is of an entry, and says what is new

for my $amend (@amends) {
    my $ref = $entry{$amend->{ref}} // {};

    is(join(' ', map { $amend->{$_} } qw(id recipient site was rules)),
       join(' ', map { $ref->{$_} // '?' } qw(id recipient site open rules)),
       "$amend->{id}: of its entry");
    isnt("$amend->{open} $amend->{verdict}",
         ($ref->{open} // '?') . ' ' . ($ref->{verdict} // '?'), 'another one');
}


# amendments, entries of other types, and fields in any order, are no trouble

my $masked = $by_id{'browser.masked'};
my @others = ({ type => 'loss', event => 'a/2', time => 1, count => 5 },
              { type => 'later', other => 'x' });

my $r2 = $judge->run([ '-s', @site ],
                     lines($amends[0], @others, $masked, $amends[0]));

is($r2->{code}, 0, 'other types');
like($r2->{out}, qr/^lines\ +5\namendments\ skipped\ +2\n
                    entries\ of\ other\ types\ +2\nfetches\ judged\ +1\n/mx,
     'are counted');

is($judge->run([ '-a', @site ], lines($amends[0], $masked, $amends[0]))->{out},
   $judge->run([ '-a', @site ], lines($masked))->{out},
   'amendments have no rows and change none');


# the command of the documentation

SKIP: {
    my (undef, $version) = run_command('redis-cli', '--version');

    skip('no jq', 2) if !grep { -x "$_/jq" } split(/:/, $ENV{PATH});
    skip('redis-cli is older than 7.0', 2)
        if $version !~ /redis-cli (\d+)/ || $1 < 7;

    my ($man) = do {
        open(my $file, '<', $t->path(Test::MailPing::repository()
                                     . '/docs/mailping-judge.1')) || die;
        local $/;
        <$file>;
    };

    my ($command) = $man =~ /^\.Bd -literal\n(redis-cli .*?)\n\.Ed$/ms;
    my $socket = $t->path('redis.sock');
    my $program = $judge->program();

    # an agent that is not UTF-8 is not JSON
    $redis->command('XDEL', 'mailping:opens', $_)
        for (map { $_->{'.id'} } grep { $_->{id} =~ /latin/ } @entries);

    $command =~ s/redis-cli/redis-cli -s $socket/;
    $command =~ s/mailping-judge -r new\.rules/$program -s @site/;

    my ($code, $output) = run_command('bash', '-o', 'pipefail', '-c',
                                      $command);

    is($code, 0, 'the command of the documentation') || diag($output);
    like($output, qr/^another open or verdict +0$/m, 'works');
}

$t->done();
