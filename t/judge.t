#!/usr/bin/env perl

# Copyright (C) MailPing

# mailping-judge reads described fetches, labeled agents, stream entries and
# access logs, and judges them as the rules say: rows, summaries, options, and
# what is said of lines that are bad.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(repository run_command);
use Test::MailPing::Judge;
use Test::MailPing::MMDB qw(mmdb_write asn_record);
use Test::MailPing::Token;


my $judge = Test::MailPing::Judge->new();

my $rules = $judge->file('test.rules', <<'END');
prior  -  human+0,proxied-3,prefetch-10,scanner-6,bot-10

network  office   192.0.2.0/24 2001:db8:12::/48
network  shield   203.0.113.0/24
asn      campus   64500
agent    browser  "Firefox/"
agent    tool     ^"curl/" ="quote\"d"
agent    none     =""
client   firefox  "Firefox/"
header   webmail  referer~"mail.example"

set  shield           apple   shielded             network:shield
set  self             -       self                 self
rule browser  agent    -      human+10             agent:browser
rule tool     agent    -      bot+30               agent:tool
rule none     agent    -      bot+20               agent:none
rule office   network  acme   human+12             network:office
rule campus   network  uni    proxied+20           asn:campus
rule webmail  headers  -      human+6              header:webmail
rule bare     headers  -      bot+20               header:!accept
rule instant  time     -      scanner+25           age<10s
rule late     time     -      human+5              age>=1h
rule again    history  -      human+3              seen>=2
rule crowd    history  -      scanner+5            burst>=5
rule head     headers  -      scanner+12           method:head
rule old      headers  -      bot+8                http:1.0
rule gmail    history  -      proxied+3            hint:gmail
END

my @only = ('--only', $rules);


# person by the formula of docs/rules.md; the prior is the one above

sub person {
    my ($human, $proxied, $prefetch, $scanner, $bot) = @_;

    my @p = map { 10 ** ($_ / 10) } $human, $proxied - 3, $prefetch - 10,
                                    $scanner - 6, $bot - 10;
    my $total = 0;

    $total += $_ for (@p);

    return int(100 * ($p[0] + $p[1]) / $total + 0.5);
}


sub tsv {
    return join('', map { join("\t", @$_) . "\n" } @_);
}


my $id;

{
    my $r = $judge->run([ @only, '--version' ]);

    is($r->{code}, 0, '--version');
    like($r->{out}, qr/^mailping-judge \S+, rules [0-9a-f]{8}\n\z/,
         'version and rule set');
    ($id) = $r->{out} =~ /rules (\w+)/;

    unlike($judge->run([ '--version' ])->{out}, qr/\b$id\b/,
           'the built-in rules are another set');
}


# described fetches

my @columns = qw(line label name open person verdict provider reasons client
                 agent);

my $r = $judge->run([ @only ], tsv(
    [ qw(name agent ip asn age hint method http seen burst self
         header.Referer header.accept label) ],
    [ 'a browser', 'Firefox/1', '', '', '', '', '', '', '', '', '', '', '',
      'human' ],
    [ 'at work', 'x Firefox/1', '192.0.2.9', '', '2h', 'gmail', 'GET', '1.1',
      2, 1, 0, 'http://mail.example/', '*/*', 'human' ],
    [ 'six', '', '2001:db8:12::7', '', '', '', '', '', '', '', '', '', '',
      '' ],
    [ 'a tool', 'curl/8', '', 'AS64500', '9999ms', '', 'HEAD', '1.0', '', 5,
      '', '-', '-', 'machine' ],
    [ 'no agent', '-', '', 64500, 10, '', '', '2', 1, '', '', '', '*/*',
      'machine' ],
    [ 'shielded', '', '203.0.113.255', '', '', '', '', '', '', '', '', '', '',
      'human' ],
    [ 'ours', '', '', '', '', '', '', '', '', '', 1, '', '', '' ],
    [ 'nothing', '', '', '', '', '', '', '', '', '', '', '', '', 'human' ],
    [ 'a sum', 'Firefox/1', '', '', '59m60s', '', '', '3', '', '', '', '', '',
      '' ],
));

is($r->{out}, tsv(
    [ @columns ],
    [ 2, 'human', 'a browser', 'yes', person(10, 0, 0, 0, 0), 'human', '',
      'browser', 'firefox', 'Firefox/1' ],
    [ 3, 'human', 'at work', 'yes', person(36, 3, 0, 0, 0), 'human', 'acme',
      'office,browser,webmail,late,again,gmail', 'firefox', 'x Firefox/1' ],
    [ 4, '', 'six', 'yes', person(12, 0, 0, 0, 0), 'human', 'acme', 'office',
      '', '' ],
    [ 5, 'machine', 'a tool', 'no', person(0, 20, 0, 42, 50), 'bot', 'uni',
      'tool,instant,campus,bare,head,crowd', '', 'curl/8' ],
    [ 6, 'machine', 'no agent', 'yes', person(0, 20, 0, 0, 20), 'proxied',
      'uni', 'none,campus', '', '' ],
    [ 7, 'human', 'shielded', 'maybe', '', 'shielded', 'apple', 'shield', '',
      '' ],
    [ 8, '', 'ours', 'no', '', 'self', '', 'self', '', '' ],
    [ 9, 'human', 'nothing', 'maybe', person(0, 0, 0, 0, 0), 'unknown', '',
      '', '', '' ],
    [ 10, '', 'a sum', 'yes', person(15, 0, 0, 0, 0), 'human', '',
      'browser,late', 'firefox', 'Firefox/1' ],
), 'a table is answered by a table');

is($r->{code}, 0, 'no line is bad');

is($r->{err}, <<"END", 'its summary');
rule set                          $id
lines                                   10
fetches judged                           9

people                                   5  55.6 %
maybe                                    1  11.1 %
shielded                                 1  11.1 %
machines                                 2  22.2 %

verdict                             people     maybe  shielded  machines
human                                    4         0         0         0
proxied                                  1         0         0         0
bot                                      0         0         0         1
shielded                                 0         0         1         0
self                                     0         0         0         1
unknown                                  0         1         0         0

provider                            people     maybe  shielded  machines
-                                        2         1         0         1
acme                                     2         0         0         0
uni                                      1         0         0         1
apple                                    0         0         1         0

reason                              people     maybe  shielded  machines
browser                                  3         0         0         0
office                                   2         0         0         0
campus                                   1         0         0         1
late                                     2         0         0         0
shield                                   0         0         1         0
self                                     0         0         0         1
tool                                     0         0         0         1
none                                     1         0         0         0
webmail                                  1         0         0         0
bare                                     0         0         0         1
instant                                  0         0         0         1
again                                    1         0         0         0
crowd                                    0         0         0         1
head                                     0         0         0         1
gmail                                    1         0         0         0

label                          yes       %     maybe       %        no       %
human                            2   50.00         2   50.00         0    0.00
machine                          1   50.00         0    0.00         1   50.00
END


# labeled agents

my $agents = <<'END';
{"ua": "Firefox/1 \u00fc\ud83d\ude00\ud83d", "label": "browser", "name": "a\tb"}
{"label":"bot","ua":"curl\/8","name":null,"source":"x","n":-1.5e3,"t":true}
{"ua":"quote\"d","label":"bot"}
{ "ua" : "" }
END

$r = $judge->run([ @only ], $agents);

is($r->{out}, join("\n",
    '{"label":"browser","name":"a\u0009b","open":"yes","person":"'
    . person(10, 0, 0, 0, 0) . '","verdict":"human","provider":"",'
    . '"reasons":"browser","client":"firefox",'
    . "\"agent\":\"Firefox/1 \xc3\xbc\xf0\x9f\x98\x80\xef\xbf\xbd\"}",
    '{"label":"bot","name":"","open":"no","person":"'
    . person(0, 0, 0, 0, 30) . '","verdict":"bot","provider":"",'
    . '"reasons":"tool","client":"","agent":"curl/8"}',
    '{"label":"bot","name":"","open":"no","person":"'
    . person(0, 0, 0, 0, 30) . '","verdict":"bot","provider":"",'
    . '"reasons":"tool","client":"","agent":"quote\"d"}',
    '{"label":"","name":"","open":"no","person":"'
    . person(0, 0, 0, 0, 20) . '","verdict":"bot","provider":"",'
    . '"reasons":"none","client":"","agent":""}', ''),
   'labeled agents');

$r = $judge->run([ @only, '-s' ], $agents);

like($r->{out}, qr/^browser\s+1\s+100\.00\s+0\s+0\.00\s+0\s+0\.00\n
                    bot\s+0\s+0\.00\s+0\s+0\.00\s+2\s+100\.00\n\z/mx,
     'their confusion matrix, to standard output with -s');
is($r->{err}, '', 'and nothing beside it');

$r = $judge->run([ @only, '-o', 'tsv' ], $agents);
like($r->{out}, qr/^label\tname\topen\t.*\nbrowser\ta b\tyes\t/,
     'as a table, a tab in a text is a blank');

# a byte that is not UTF-8 does not make the output something else than JSON

$r = $judge->run([ @only, '-o', 'json' ],
                 "agent\nFirefox/\xff\xc3(\xed\xa0\x80\x7f\n");
like($r->{out}, qr/Firefox\/\\ufffd\\ufffd\((?:\\ufffd){3}\\u007f"\}$/,
     'not UTF-8');

# many labels

$r = $judge->run([ @only, '-s' ],
                 join('', map { qq({"ua":"curl/$_","label":"l$_"}\n) }
                              1 .. 99));
like($r->{out}, qr/^l63 .*\n\(others\) +0 +0\.00 +0 +0\.00 +36 .*\n\z/m,
     'labels are bounded');


# stream entries: what an entry says and what it leaves open

my $evidence = $judge->file('evidence.rules', <<'END');
prior  -  human+0,proxied+0,prefetch-10,scanner-10,bot-10

agent   spanning     "5 Chrome"
agent   begin        ^"Mozilla/"
agent   end          "Chrome/126"$
agent   inside       "Chrome/126"
agent   version      "126.0"
client  chrome       "Chrome/"
client  thunderbird  "Thunderbird/"
client  mine         "AcmeMail/"
asn     hosting      64496

rule spanning  agent    -  human+1    agent:spanning
rule begin     network  -  human+1    agent:begin
rule end       headers  -  human+1    agent:end
rule inside    time     -  human+1    agent:inside
rule version   history  -  human+1    agent:version
rule chrome    agent    -  bot+1      client:chrome
rule bird      network  -  bot+1      client:thunderbird
rule mine      headers  -  bot+1      client:mine
rule second    time     -  bot+1      seen>=2
rule third     history  -  bot+1      seen>=3
rule first     agent    -  scanner+1  seen<2
rule hosting   network  -  scanner+1  asn:hosting
rule young     time     -  scanner+1  age<1h
rule unborn    headers  -  scanner+1  age<1ms
END

# facts 0 to 153 of an entry: seen<2 is unknown unless it is true

my $sure = '4' . '0' x 38;
my $ends = '4' . '0' x 37 . '1';
my $false = "0.$ends";

sub reasons {
    my (%entry) = @_;

    my $line = join(',', map { "\"$_\":\"$entry{$_}\"" } sort(keys(%entry)));
    my $r = $judge->run([ '-a', '--only', $evidence ],
                        qq({"type":"open","open":"yes",$line}\n));

    return $r->{out} =~ /"reasons":"([^"]*)"/
           ? join(' ', sort(split(/,/, $1))) : $r->{err};
}

my %masked = (facts => $false, agent => 'Mozilla/5 Chrome/126',
              privacy => 'masked');
my %full = (facts => $false, agent => 'Mozilla/5.0 (x) y/1 Chrome/126.0',
            privacy => 'full');

is(reasons(facts => $false), '', 'nothing but facts');
is(reasons(%masked), 'chrome inside', 'a masked agent: what a product has');
is(reasons(%masked, privacy => ''), 'chrome inside', 'likewise in no mode');
is(reasons(%full), 'begin chrome inside version', 'a full agent: all');
is(reasons(%full, facts => "10.$ends", agent => 'y/1'), '',
   'and no more than is in it');
is(reasons(%full, agent => $full{agent} . ' ' x (508 - length($full{agent}))),
   'begin chrome inside version', 'a long agent is a full one');
is(reasons(%full, agent => $full{agent} . ' ' x (509 - length($full{agent}))),
   'chrome inside version', 'a longer one may have been cut');
is(reasons(%full, agent => 'x' x 3000 . ' Chrome/126'), '',
   'and is not taken for more than it can be');

is(reasons(%masked, client => 'mine'), 'inside mine',
   'a client of own rules is known by its name');
is(reasons(%masked, client => 'else'), 'chrome inside', 'if there is one');
is(reasons(%masked, facts => "1000000.$ends"), 'bird inside',
   'a client that is there stays');
is(reasons(%masked, facts => "1000000.$ends", agent => 'x Chrome/1 AcmeMail/2'),
   'bird', 'also beside one of later rules that is not the first');
is(reasons(%masked, facts => "1000000.$ends", agent => 'x AcmeMail/2'),
   'mine', 'but an own one goes before');

is(reasons(facts => "0.$sure"), 'second', 'what the facts say');
is(reasons(facts => $false, seen => 1), '', 'the first that is remembered');
is(reasons(facts => $false), '', 'no number');
is(reasons(facts => "1.$sure", seen => 1), 'first', 'the first for certain');
is(reasons(facts => $false, seen => 2), 'second', 'the second');
is(reasons(facts => $false, seen => 3), 'second third', 'the third');

is(reasons(facts => $false, asn => 64496), 'hosting', 'a network listed now');
is(reasons(facts => "40000000000.$ends", asn => 64497), '',
   'and one that is not any more');
is(reasons(facts => "40000000000.$ends"), 'hosting', 'a network not kept');

is(reasons(facts => $false, time => 3700000, sent => 100001), 'young',
   'the age, in milliseconds');
is(reasons(facts => $false, time => 3700000, sent => 100000), '',
   'of an hour');
is(reasons(facts => $false, time => 5, sent => 5), 'unborn young', 'of none');
is(reasons(facts => $false, time => 5, sent => 6), '', 'less than that');
is(reasons(facts => $false, time => 5, sent => 0), '', 'sent is not known');


# access logs

my $sent = 1700000000;
my $token = Test::MailPing::Token::mint(key => 'ab' x 32, id => 'm1',
                                        recipient => 'r1', sent => $sent);

# texts that are no tokens

my @no_tokens = (
    "${token}A", substr($token, 1), substr($token, 0, 30), 'AAAA', '',
    $token =~ s/(.)\z/chr(ord($1) + 1)/er,
    map { Test::MailPing::Token::mint(key => 'ab' x 32, id => 'm1',
                                      sent => $sent, @$_) }
        [ id => 'm@1' ], [ id => '' ], [ recipient => 'r@1' ],
        [ recipient => 'r' x 33 ], [ flags => 4 ], [ version => 2 ],
        [ id => 'x' x 65 ]);

sub at {
    my ($time, $zone) = @_;

    my @t = gmtime($time);

    return sprintf('%02d/%s/%d:%02d:%02d:%02d %s', $t[3],
                   (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[$t[4]],
                   $t[5] + 1900, @t[2, 1, 0], $zone // '+0000');
}

sub log_line {
    my (%part) = @_;

    return ($part{addr} // '198.51.100.1') . ' - ' . ($part{user} // '-')
           . ' [' . ($part{at} // at($sent + 5)) . '] "'
           . ($part{request} // 'GET /o/x.gif HTTP/1.1') . '" '
           . ($part{status} // 200) . ' 43 "' . ($part{referer} // '-') . '" "'
           . ($part{agent} // 'Firefox/1') . '"' . ($part{rest} // '') . "\n";
}

my @log = (
    [ 'browser', log_line() ],
    [ 'none', log_line(agent => '-') ],
    [ 'tool', log_line(agent => 'quote\x22d') ],
    [ 'tool', log_line(agent => 'quote\"d') ],
    [ 'office,browser', log_line(addr => '2001:db8:12::1') ],
    [ 'browser', log_line(addr => 'unix:') ],
    [ 'browser,webmail', log_line(referer => 'https://mail.example/x') ],
    [ 'browser', log_line(referer => 'https://example/x') ],
    [ 'head,browser', log_line(request => 'HEAD /o/x HTTP/2.0') ],
    [ 'browser,old', log_line(request => 'GET http://a/o/x HTTP/1.0') ],
    [ 'browser', log_line(user => 'a [b] "c', rest => ' "198.51.100.7" x') ],
    [ 'instant,browser', log_line(request => "GET /o/$token.gif HTTP/1.1") ],
    [ 'browser,late', log_line(request => "GET /o/$token?a=b HTTP/1.1",
                               at => at($sent + 3600)) ],
    [ 'instant,browser', log_line(request => "GET /o/$token HTTP/1.1",
                                  at => at($sent + 7200 + 5, '+0200')) ],
    [ 'instant,browser', log_line(request => "GET /o/$token HTTP/1.1",
                                  at => at($sent - 1800 + 5, '-0030')) ],
    [ 'browser', log_line(request => "GET /o/$token HTTP/1.1",
                          at => at($sent - 1)) ],
    map { [ 'browser', log_line(request => "GET /o/$_.gif HTTP/1.1") ] }
        @no_tokens,
);

$r = $judge->run([ @only, '-a' ], join('', map { $_->[1] } @log));

is($r->{code}, 0, 'an access log');
is(join("\n", $r->{out} =~ /"reasons":"([^"]*)"/g),
   join("\n", map { $_->[0] } @log), 'what is seen in each request');
like($r->{out}, qr/^\{"line":"1","open":"yes","person":"\d+",
                    "verdict":"human","provider":"","reasons":"browser",
                    "client":"firefox"\}\n/x, 'a row');
like($r->{err}, qr/^time of sending known +5$/m, 'how many tokens there are');

my @other = (
    log_line(request => 'POST /o/x.gif HTTP/1.1'),
    log_line(request => '\x16\x03\x01', status => 400),
    log_line(request => '-', status => 400),
    log_line(request => 'GET /o/x HTTP/9.9'),
    log_line(request => 'GET /other HTTP/1.1'),
    log_line(request => 'GET /a/o/ HTTP/1.1'),
    log_line(status => 404),
    log_line(),
    log_line(request => 'GET http://t.example.com/o/y.png HTTP/1.1'),
    log_line(request => 'GET /o/with a blank HTTP/1.1'),
    log_line(request => 'GET /o/nine'),
);

$r = $judge->run([ @only, '-p', '/o/' ], join('', @other));

is($r->{err}, '', 'without -a');
like($r->{out}, qr/^rule\ set\ +$id\nlines\ +11\nother\ paths\ +2\n
                   other\ methods\ +4\nstatus\ 400\ and\ above\ +1\n
                   fetches\ judged\ +4\n/x, 'the summary is all there is');

$r = $judge->run([ @only, '--match', '^/o/[a-z]+[.](gif|png)$' ],
                 join('', @other));
like($r->{out}, qr/^other paths +4\n.*^fetches judged +2$/ms, '--match');

$r = $judge->run([ @only, '-a', '--sent-arg', 's' ],
    join('', map { log_line(request => "GET /o/$token?$_ HTTP/1.1") }
                 "s=$sent", "x=1&s=${sent}000&y", "s=", "as=$sent", "s=1x",
                 "s=99999999999999999999"));
is(join("\n", $r->{out} =~ /"reasons":"([^"]*)"/g),
   join("\n", ('instant,browser') x 2, ('browser') x 4), '--sent-arg');

mmdb_write($judge->path('asn.mmdb'), 'GeoLite2-ASN', [
    [ '198.51.100.0/24', asn_record(64500, 'Campus') ],
    [ '2001:db8:77::/48', asn_record(64500, 'Campus') ],
]);

$r = $judge->run([ @only, '-a', '--asn', $judge->path('asn.mmdb') ],
                 join('', map { log_line(addr => $_) }
                              '198.51.100.3', '2001:db8:77::1',
                              '::ffff:198.51.100.3', '192.0.2.1',
                              '10.0.0.1'));
is(join("\n", $r->{out} =~ /"reasons":"([^"]*)"/g),
   join("\n", ('campus,browser') x 3, 'office,browser', 'browser'), '--asn');

$r = $judge->run([ @only, '-s', '-a' ],
                 join('', map { log_line(addr => $_,
                                         request => "GET /o/$token HTTP/1.1",
                                         user => 'somebody') }
                              '198.51.100.3', '2001:db8:77::1'));
unlike($r->{out}, qr/198\.51|2001:db8|somebody|\Q$token\E|Firefox|m1|r1/,
       'nothing personal is in a summary');


# several files, each in its own format; a byte order mark; Windows' lines

my $table = $judge->file('a.tsv', "\xef\xbb\xbfagent\tname\r\ncurl/1\tA\r\n");
my $log = $judge->file('b.log', "\n" . log_line());

$r = $judge->run([ @only, $table, $log, '-' ], $agents);
like($r->{out}, qr/^line\t.*\n2\t\tA\tno\t.*\tcurl\/1\n\{"label":"browser"/,
     'several files');
like($r->{err}, qr/^lines +8\n.*^fetches judged +6$/ms, 'are counted together');

$r = $judge->run([ @only, '-f', 'log' ], $agents);
is($r->{code}, 1, 'a format that is not the one');


# bad lines

sub bad {
    my ($name, $message, $text, @arguments) = @_;

    my $r = $judge->run([ @only, @arguments ], $text);

    is($r->{code}, 1, "$name: exit code");
    is((split(/\n/, $r->{err}))[0], "mailping-judge: $message", $name);
    like($r->{err} . $r->{out}, qr/^bad lines +1$/m, "$name: counted");
}

my $entry = '"open":"yes","facts":"0.1"';

for (
    [ 'no column', 'expected the name of a column, found "agnet" in stdin:1',
      "agent\tagnet\nx\ty\n" ],
    [ 'a column twice', 'expected each column once, found "ip" in stdin:1',
      "ip\tip\n" ],
    [ 'too few', 'expected 2 columns, found 1 in stdin:2',
      "ip\tage\n1.2.3.4\n" ],
    [ 'too many', 'expected 1 columns, found more in stdin:2',
      "ip\n1.2.3.4\t\n" ],
    [ 'an address', 'expected an address, found "1.2.3" in stdin:3',
      "ip\n1.2.3.4\n1.2.3\n" ],
    [ 'an asn', 'expected an asn, found "4294967296" in stdin:2',
      "asn\n4294967296\n" ],
    [ 'an age', 'expected an age, as 10s or 2h, found "1y" in stdin:2',
      "age\n1y\n" ],
    [ 'an age of nothing',
      'expected an age, as 10s or 2h, found "ms" in stdin:2', "age\nms\n" ],
    [ 'a large age',
      'expected an age, as 10s or 2h, found "4294967296d" in stdin:2',
      "age\n4294967296d\n" ],
    [ 'a hint', 'expected a hint, found "gmx" in stdin:2', "hint\ngmx\n" ],
    [ 'a method', 'expected GET or HEAD, found "PUT" in stdin:2',
      "method\nPUT\n" ],
    [ 'http', 'expected 0.9, 1.0, 1.1, 2 or 3, found "1" in stdin:2',
      "http\n1\n" ],
    [ 'seen', 'expected a number from 1, found "0" in stdin:2', "seen\n0\n" ],
    [ 'burst', 'expected a number from 1, found "-1" in stdin:2',
      "burst\n-1\n" ],
    [ 'self', 'expected 0 or 1, found "2" in stdin:2', "self\n2\n" ],
    [ 'a control', 'expected a hint, found "?[31m?" in stdin:2',
      "hint\n\e[31m\xff\n" ],
    [ 'a long value', 'expected a hint, found "' . 'x' x 40 . '"... in stdin:2',
      "hint\n" . 'x' x 41 . "\n" ],
    [ 'a long line', 'longer than 65536 bytes in stdin:2',
      "agent\n" . 'x' x 70000 . "\ny\n" ],
    [ 'a very long line', 'longer than 65536 bytes in stdin:2',
      "agent\n" . 'x' x 2_000_000 . "\ny\n" ],
    [ 'a long last line', 'longer than 65536 bytes in stdin:2',
      "agent\n" . 'x' x 1_000_000 ],
    [ 'not closed', 'expected "," or "}", found "" in stdin:1', '{"a":"b"' ],
    [ 'a comma', 'expected a string, found "}" in stdin:1', '{"a":"b",}' ],
    [ 'no colon', 'expected ":", found "}" in stdin:1', '{"a"}' ],
    [ 'an array', 'expected a string or a number, found "[]}" in stdin:1',
      '{"a":[]}' ],
    [ 'an object', 'expected a string or a number, found "{}}" in stdin:1',
      '{"a":{}}' ],
    [ 'no value', 'expected a string or a number, found "}" in stdin:1',
      '{"a":}' ],
    [ 'a word', 'expected a string or a number, found "nil}" in stdin:1',
      '{"a":nil}' ],
    [ 'a zero byte', 'expected a string or a number, found "?}" in stdin:1',
      "{\"a\":\0}" ],
    [ 'an open string', 'expected the end of a string, found "" in stdin:1',
      '{"a":"b' ],
    [ 'a bare control', 'expected the end of a string, found "?b"}" in stdin:1',
      "{\"a\":\"\tb\"}" ],
    [ 'an escape', 'expected an escape, found "x41"}" in stdin:1',
      '{"a":"\x41"}' ],
    [ 'a last backslash', 'expected an escape, found "" in stdin:1',
      '{"a":"\\' ],
    [ 'a hex digit', 'expected a hex digit, found "g0"}" in stdin:1',
      '{"a":"\u00g0"}' ],
    [ 'half an escape', 'expected a hex digit, found "" in stdin:1',
      '{"a":"\ud83d\u' ],
    [ 'a second object', 'expected the end of the line, found "{}" in stdin:1',
      '{"type":"open"} {}' ],
    [ 'a member twice', 'expected each member once, found "ua" in stdin:1',
      '{"ua":"","ua":"x"}' ],
    [ 'no entry', 'expected "facts" of an entry or "ua" of an agent in stdin:1',
      '{}' ],
    [ 'no open', 'expected open to be yes, no or maybe, found "" in stdin:1',
      '{"facts":"0.1"}' ],
    [ 'no facts', 'expected facts, found "1.1" in stdin:1',
      '{"open":"no","facts":"1.1"}' ],
    [ 'an asn of an entry', 'expected asn, found "x" in stdin:1',
      "{$entry,\"asn\":\"x\"}" ],
    [ 'a time', 'expected time, found "" in stdin:1',
      "{$entry,\"sent\":\"1\"}" ],
    [ 'sent', 'expected sent, found "9223372036854775808" in stdin:1',
      "{$entry,\"time\":1,\"sent\":9223372036854775808}" ],
    [ 'seen of an entry', 'expected seen, found "-1" in stdin:1',
      "{$entry,\"seen\":-1}" ],
    [ 'not JSON', 'expected "{", found "x" in stdin:2',
      qq({"type":"x"}\nx\n) ],
    [ 'not a log', 'expected an access log in format "combined", found'
      . ' "x" in stdin:1', "x\n" ],
    [ 'no time', 'expected a time in brackets, found "x y" in stdin:1',
      "x y\n" ],
    [ 'a month', 'expected a time in brackets, found'
      . ' "198.51.100.1 - - [10/Foo/2024:00:00:00 +"... in stdin:1',
      log_line(at => '10/Foo/2024:00:00:00 +0000') ],
    [ 'an hour', 'expected a time in brackets, found'
      . ' "198.51.100.1 - - [10/Oct/2024:24:00:00 +"... in stdin:1',
      log_line(at => '10/Oct/2024:24:00:00 +0000') ],
    [ 'a status', 'expected a status, found " OK 43 "-" "Firefox/1"" in'
      . ' stdin:1', log_line(status => 'OK') ],
    [ 'no agent', 'expected an agent in quotes, found "" in stdin:1',
      log_line() =~ s/ "Firefox.*"//r ],
    [ 'an open agent', 'expected an agent in quotes, found " "Firefox\\"" in'
      . ' stdin:1', log_line(agent => 'Firefox\\') ],
    [ 'no referer', 'expected a referer in quotes, found "x" in stdin:1',
      log_line() =~ s/" 200 43 .*/" 200 43 x/r ],
    [ 'no bytes', 'expected a number of bytes, found "43" in stdin:1',
      log_line() =~ s/ 43 .*/ 43/r ],
    [ 'a name', 'expected an address, found "host.example.com" in stdin:1',
      log_line(addr => 'host.example.com') ],
) {
    my ($name, $message, $text) = @$_;

    bad($name, $message, $text, $name eq 'not JSON' ? ('-f', 'json') : ());
}

$r = $judge->run([ @only ], "ip\n" . "x\n" x 100 . "192.0.2.1\n");
is(scalar(() = $r->{err} =~ /^mailping-judge: expected an address/mg), 10,
   'the first ten bad lines are shown');
like($r->{err}, qr/^mailping-judge: further bad lines are counted only$/m,
     'and it is said that there are more');
like($r->{err}, qr/^bad lines +100$/m, 'which are counted');
like($r->{out}, qr/^102\t.*office/m, 'and good ones are judged');


# options and files

sub refused {
    my ($name, $message, @arguments) = @_;

    my $r = $judge->run([ @arguments ], '');

    is($r->{code}, 2, "$name: exit code");
    like($r->{err}, $message, $name);
    is($r->{out}, '', "$name: no output");
}

my $wrong = $judge->file('wrong.rules', "rule x\nrule y\n");
my $lists = $judge->file('lists.rules', "network office \@office.txt\n");

$judge->file('office.txt', "10.0.0.0/8\n");

refused('a format', qr/expected a format, found "xml"/, '-f', 'xml');
refused('an output', qr/expected a format, found "log"/, '-o', 'log');
refused('an option', qr/see mailping-judge --help/, '--what');
refused('a file', qr/"\/none": No such file/, '/none');
refused('a directory', qr/"\/": Is a directory/, '/');
refused('a rule file', qr/rules "\/none": No such file/, '-r', '/none');
refused('wrong rules', qr/expected .* in \Q$wrong\E:1, column \d+/, '-r',
        $wrong);
refused('a regex', qr/regex "\(": /, '--match', '(');
refused('a database', qr/database "\Q$wrong\E": /, '--asn', $wrong);
refused('no database', qr/database "\/none": /, '--asn', '/none');

$r = $judge->run([ '--only', $lists, '-r', $rules ], "ip\n10.1.2.3\n");
like($r->{out}, qr/\toffice\t/, 'rule files add up, and have lists');

unlink($judge->path('office.txt'));
refused('a list', qr/No such file.*"\@office\.txt"/, '-r', $lists);

is($judge->run([ '--help' ])->{code}, 0, '--help');
like($judge->run([ '--help' ])->{out}, qr/^usage: mailping-judge/, 'shows it');
is($judge->run([ @only ])->{code}, 0, 'an empty input');

my ($code) = run_command('sh', '-c', '"$@" > /dev/full', 'sh',
                         $judge->program(), @only, $table);
is($code, 2, 'a full disk is not silent');


# the man page names every option

my ($man) = do {
    open(my $file, '<', repository() . '/docs/mailping-judge.1') || die;
    local $/;
    <$file>;
};

for my $option ($judge->run([ '--help' ])->{out} =~ /--([a-z-]+)/g) {
    like($man, qr/^\.It Fl (?:\w , )?-\Q$option\E\b/m, "man: --$option");
}

for my $column (qw(agent ip asn age hint method http seen burst self
                   header.NAME label name))
{
    like($man, qr/^\.It Cm \Q$column\E$/m, "man: column $column");
}

SKIP: {
    skip('no mandoc', 1) if !grep { -x "$_/mandoc" } split(/:/, $ENV{PATH});

    my (undef, $lint) = run_command('mandoc', '-Tlint', '-Wwarning',
                                    repository() . '/docs/mailping-judge.1');
    is($lint, '', 'man: mandoc has nothing to say');
}

done_testing();
