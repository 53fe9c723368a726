#!/usr/bin/env perl

# Copyright (C) MailPing

# mailping_explain: the judgement of a described fetch as JSON; what is not
# given is unknown and never taken from the asking request; wrong parameters
# are named; rule files with an error are refused by "nginx -t" with its place;
# the examples of docs/rules.md load.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;
use Test::MailPing qw(repository);
use Test::MailPing::MMDB qw(mmdb_write asn_record);


my $t = Test::MailPing->new();
my $dir = $t->prefix();

my $firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 '
              . 'Firefox/128.0';

mmdb_write("$dir/asn.mmdb", 'GeoLite2-ASN',
           [ [ '192.0.2.0/24', asn_record(64496, 'Example Net') ] ]);

$t->write_file('site.rules', <<'END');
network  t.office    192.0.2.0/24 2001:db8::/32
asn      t.campus    64496
asn      t.list      @list.txt
agent    t.none      =""
client   t.client    "Firefox/128"
header   t.header    x-test~"yes"

rule t.office    network  t.mail  human+30,bot-30   network:t.office
rule t.lighter   network  -       human+10          network:t.office
rule t.campus    agent    -       proxied+1         asn:t.campus
rule t.header    headers  -       bot+1             header:t.header
rule t.absent    headers  -       scanner+1         header:!x-other
set  t.self               me      self              self
END

$t->write_file('list.txt', "# one\nAS64511\n");


sub conf {
    my ($rules) = @_;

    return <<"END";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_key 1 %%KEYFILE%%;
    mailping_geoip asn=$dir/asn.mmdb;
    $rules
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;

    server {
        listen 127.0.0.1:%%PORT%%;
        location /o/ { mailping; }
        location = /why { mailping_explain; }
        location = /any { mailping_explain any; }
    }
}
END
}


sub escape {
    return join('&', map { my $text = $_;
                           $text =~ s/([^A-Za-z0-9._=-])/sprintf('%%%02X',
                                                           ord($1))/ge;
                           $text } @_);
}


# the judgement of a fetch that is described by "name=value" pairs

sub why {
    my $r = $t->get('/why?' . escape(@_));

    is($r->status(), 200, 'answered: ' . substr(join(' ', @_), 0, 60));

    return decode_json($r->body());
}


sub wrong {
    my ($query, $error) = @_;

    my $r = $t->get("/why?$query");

    is($r->status(), 400, "refused: $query");
    is_deeply(eval { decode_json($r->body()) }, { error => $error },
              'its error');
}


sub rule {
    my ($answer, $name) = @_;

    return (grep { $_->{name} eq $name } @{$answer->{rules}})[0];
}


$t->write_conf(conf("mailping_rules $dir/site.rules;"));
$t->start();


# nothing is given, nothing is known, whatever the asking request has

my $r = $t->get('/why', header => [ 'User-Agent' => 'curl/8',
                                    'X-Test' => 'yes' ]);

is($r->status(), 200, 'nothing given');
is($r->header('Content-Type'), 'application/json', 'JSON');

my $j = decode_json($r->body());

is_deeply([ sort(keys(%$j)) ],
          [ sort(qw(open person verdict provider client facts rules
                    probabilities ruleset)) ], 'the members');
is($j->{open}, 'maybe', 'open');
is($j->{verdict}, 'unknown', 'verdict');
is_deeply([ grep { $_ ne 'unknown' } values(%{$j->{facts}}) ], [],
          'every fact is unknown');
is_deeply($j->{rules}, [], 'no rule holds');
like($j->{ruleset}, qr/^[0-9a-f]{8}$/, 'rule set');


# the rules that hold, and which of them counted

$j = why('ip=192.0.2.7', "agent=$firefox", 'age=2h');

is($j->{open}, 'yes', 'open');
is($j->{verdict}, 'human', 'verdict');
is($j->{provider}, 't.mail', 'provider');
is($j->{client}, 't.client', 'client, of the later file');
cmp_ok($j->{person}, '>=', 99, 'person');

is_deeply(rule($j, 't.office'),
          { name => 't.office', group => 'network', provider => 't.mail',
            weights => { human => 30, bot => -30 },
            counted => JSON::PP::true }, 'a rule that counted');
is_deeply(rule($j, 't.lighter'),
          { name => 't.lighter', group => 'network', provider => '',
            weights => { human => 10 }, counted => JSON::PP::false },
          'a rule that held and did not');

is(ref($j->{facts}{'network:t.office'}), 'JSON::PP::Boolean',
   'a known fact is true or false');
ok($j->{facts}{'network:t.office'}, 'true');
ok(!$j->{facts}{'agent:t.none'}, 'false');
is($j->{facts}{'header:t.header'}, 'unknown', 'headers were not given');
is($j->{facts}{'seen<2'}, 'unknown', 'nor was seen');

my $sum = 0;
$sum += $_ for values(%{$j->{probabilities}});

is_deeply([ sort(keys(%{$j->{probabilities}})) ],
          [ qw(bot human prefetch proxied scanner) ], 'probabilities');
cmp_ok(abs($sum - 1), '<', 0.00001, 'make one');


# each parameter

ok(why('ip=::ffff:192.0.2.1')->{facts}{'network:t.office'}, 'IPv4 mapped');
ok(why('ip=2001:db8::1')->{facts}{'network:t.office'}, 'IPv6');
ok(why('ip=192.0.2.1')->{facts}{'asn:t.campus'}, 'the database is asked');
is(why('ip=198.51.100.1')->{facts}{'asn:t.campus'}, 'unknown',
   'and may have nothing');
is(why('asn=0')->{facts}{'asn:t.campus'}, 'unknown', 'as 0 says');

$j = why('ip=192.0.2.1', 'asn=64511');
ok(!$j->{facts}{'asn:t.campus'}, 'a given number goes before the database');
ok($j->{facts}{'asn:t.list'}, 'a number from a list');

ok(why('agent=')->{facts}{'agent:t.none'}, 'no agent');
ok(why("agent=\0\xff\"\\\n$firefox")->{facts}{'client:t.client'}, 'any bytes');
ok(why('agent=' . 'x' x 2048 . $firefox), 'a long agent');

$j = why('header.X-Test=YES');
ok($j->{facts}{'header:t.header'}, 'a header');
ok(rule($j, 't.absent'), 'all others are absent');
ok(!rule(why('header.x-other=', 'header.accept=a'), 't.absent'),
   'given is not absent');

for my $age (
    [ '59', 1 ], [ '59s', 1 ], [ '60', 0 ], [ '59999ms', 1 ], [ '1m', 0 ],
    [ '1h', 0 ], [ '1d', 0 ])
{
    my $is = why("age=$age->[0]")->{facts}{'age<1m'};

    ok($age->[1] ? $is : !$is, "age $age->[0]");
}

ok(why('seen=1')->{facts}{'seen<2'}, 'seen 1');
ok(!why('seen=2')->{facts}{'seen<2'}, 'seen 2');
ok(why('burst=5')->{facts}{'burst>=5'}, 'burst 5');
ok(!why('burst=4')->{facts}{'burst>=5'}, 'burst 4');
ok(why('method=HEAD')->{facts}{'method:head'}, 'HEAD');
ok(!why('method=get')->{facts}{'method:head'}, 'GET');
ok(why('http=1.0')->{facts}{'http:1.0'}, 'HTTP/1.0');
ok(!why('http=2')->{facts}{'http:1.0'}, 'HTTP/2');
ok(why('hint=gmail')->{facts}{'hint:gmail'}, 'hint');
is(why('hint=unknown')->{facts}{'hint:gmail'}, 'unknown', 'no hint');

$j = why('self=1', "agent=$firefox");
is($j->{open}, 'no', 'a set rule: open');
is($j->{verdict}, 'self', 'verdict');
is($j->{person}, undef, 'person');
is_deeply($j->{probabilities}, {}, 'probabilities');
is(rule($j, 't.self')->{outcome}, 'self', 'outcome');
is(rule($j, 't.self')->{group}, 'set', 'group');


# wrong parameters

wrong('agnt=x', 'unknown parameter "agnt"');
wrong('a%22%0a=x', qq{unknown parameter "a"\n"});
wrong('header.=x', 'unknown parameter "header."');
wrong('x%ff%c3%28=1', 'unknown parameter "x??("');
wrong('ip=x', 'invalid value of parameter "ip"');
wrong('ip', 'invalid value of parameter "ip"');
wrong('asn=-1', 'invalid value of parameter "asn"');
wrong('asn=4294967296', 'invalid value of parameter "asn"');
wrong('age=1y', 'invalid value of parameter "age"');
wrong('age=-5', 'invalid value of parameter "age"');
wrong('age=', 'invalid value of parameter "age"');
wrong('hint=google', 'invalid value of parameter "hint"');
wrong('method=POST', 'invalid value of parameter "method"');
wrong('http=1', 'invalid value of parameter "http"');
wrong('seen=0', 'invalid value of parameter "seen"');
wrong('burst=x', 'invalid value of parameter "burst"');
wrong('self=2', 'invalid value of parameter "self"');
wrong('seen=1&seen=1', 'duplicate parameter "seen"');
wrong('ip=::1&agent=x&%69p=::2', 'duplicate parameter "ip"');


# who may ask, and how

is($t->request('POST', '/why')->status(), 405, 'POST');

$r = $t->request('HEAD', '/why?age=5');
is($r->status(), 200, 'HEAD');
is($r->body(), '', 'has no body');

is($t->get('/why', header => [ 'X-Real-IP' => '192.0.2.9' ])->status(), 403,
   'not for others');
is($t->get('/why', header => [ 'Via' => '1.1 x' ])->status(), 403,
   'not through a proxy');
is($t->get('/any', header => [ 'X-Real-IP' => '192.0.2.9' ])->status(), 200,
   'but with "any"');


# rule files that "nginx -t" refuses, with the place

sub refused {
    my ($rules, $message, $name) = @_;

    $t->write_file('bad.rules', $rules);

    my ($code, $output) = $t->check_conf(conf("mailping_rules "
                                              . "$dir/bad.rules;"));

    isnt($code, 0, $name);
    like($output, qr/\[emerg\].*\Q$message\E/, 'its message');
}

refused("\nrule r agent - bot+40 self\n",
        qq{expected weight from 0 to 30, found "40" in $dir/bad.rules:2, }
        . 'column 20', 'a wrong weight');
refused("rule r agent - bot+4 agent:nobody\n",
        qq{found "agent:nobody" in $dir/bad.rules:1, column 22},
        'a set that is nowhere');
refused("asn x \@none.txt\n",
        q{(No such file or directory), found "@none.txt" in }
        . "$dir/bad.rules:1, column 7", 'a list that is missing');

$t->write_file('bad.txt', "1\n\nx\n");
refused("asn x \@bad.txt\n",
        qq{found "x" in $dir/bad.txt:3, column 1}, 'an error in a list');


# the examples of docs/rules.md

open(my $file, '<', repository() . '/docs/rules.md')
    || die "cannot open docs/rules.md: $!\n";

my $text = do { local $/; <$file> };
my @examples = $text =~ /^```rules\n(.*?)^```$/msg;

cmp_ok(scalar(@examples), '>', 2, 'docs/rules.md has examples');

for my $i (0 .. $#examples) {
    $t->write_file('example.rules', $examples[$i]);

    my ($code, $output) = $t->check_conf(conf("mailping_rules "
                                              . "$dir/example.rules;"));

    is($code, 0, "example $i loads") || diag($output);
}



$t->done();
