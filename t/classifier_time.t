#!/usr/bin/env perl

# Copyright (C) MailPing

# Network and time since sending, as requests: what the same agent is worth
# from the relay, Google, Microsoft, filtering and hosting networks, VPNs and at
# home, soon after sending and later, with an ASN database and without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;
use Test::MailPing::Truth;


my $truth = Test::MailPing::Truth->new();
my $lists = Test::MailPing::Truth->new(asn => 0);

$truth->agents(mpp => 'mpp-more' => 'Mozilla/5.0 ()',
                      'mpp-four' => 'Mozilla/4.0');

# a network to which the database gives no number

$truth->place('no-number', undef, '198.18.0.0/16');


$truth->add('relay', <<'END');
# fetcher       from              age  hint   open   verdict   provider  more
# a full Safari is a person's, at any time
safari          relay-akamai      1h   -      yes    proxied   apple
safari          relay-cloudflare  5s   -      yes    proxied   apple
iphone          relay-fastly      1m   apple  yes    proxied   apple
iphone          relay6            -    -      yes    proxied   apple
# exactly "Mozilla/5.0" is shielded, at any time
mpp             relay-akamai      1h   -      maybe  shielded  apple
mpp             relay-cloudflare  2s   -      maybe  shielded  apple
mpp             relay-fastly      7d   -      maybe  shielded  apple
mpp             relay6            -    -      maybe  shielded  apple
# from elsewhere it is not Apple
mpp-lean        home              1h   -      no     bot       -
mpp-lean        home6             1h   -      no     bot       -
mpp-lean        no-number         1h   -      no     bot       -
mpp-lean        phone             -    -      no     bot       -
mpp-lean        hetzner           1h   -      no     bot       -
mpp-lean        microsoft         1h   -      no     bot       -
mpp-lean        google            1h   -      no     bot       -
# exactly: a byte more is another agent
mpp-more        relay-akamai      1h   -      no     bot       -
mpp-four        relay-akamai      1h   -      no     bot       -
END


$truth->add('Google', <<'END');
# fetcher       from          age  hint   open   verdict   provider  more
gmail           google        1h   -      yes    proxied   gmail     >=95
gmail           google        2s   -      maybe  proxied   gmail     40-60
gmail           google-own    2s   -      maybe  proxied   gmail     40-60
gmail           google        -    -      yes    proxied   gmail     >=95
# Google Cloud's customers and all others are not Google
gmail           home          1h   -      maybe  bot       gmail     <=60
gmail           google-cloud  1h   -      maybe  bot       gmail     <=60
gmail           aws           1h   -      maybe  bot       gmail     <=60
gmail           microsoft     1h   -      maybe  bot       gmail     <=60
gmail           relay-akamai  1h   -      maybe  bot       gmail     <=60
gmail           no-number     1h   -      maybe  bot       gmail     <=60
gmail-prefetch  google        1h   -      no     prefetch  gmail
gmail-prefetch  google        2s   -      no     prefetch  gmail
gmail-prefetch  google-own    -    -      no     prefetch  gmail
END


$truth->add('Microsoft', <<'END');
# fetcher       from        age  hint       open   verdict  provider   more
chrome          microsoft   1h   -          yes    proxied  microsoft
firefox         microsoft6  1h   -          yes    proxied  microsoft
edge            AS8075      1h   microsoft  yes    proxied  microsoft
chrome          microsoft   5s   -          maybe  scanner  microsoft
edge            AS8075      5s   microsoft  maybe  scanner  microsoft  25-35
chrome          microsoft6  5s   gateway    maybe  scanner  microsoft
chrome          microsoft   5m   -          yes    proxied  microsoft   80-95
chrome          AS8075      5m   -          yes    proxied  microsoft   80-95
chrome          microsoft   -    -          maybe  proxied  microsoft
# whoever reads mail with a mail program on Azure's desktops
outlook         microsoft   1h   microsoft  yes    human    -
END


$truth->add('EOP', <<'END');
# fetcher       from        age  hint       open   verdict  provider   more
chrome          eop-40.92   5s   -          no     scanner  microsoft
chrome          eop-40.107  1h   -          no     scanner  microsoft
edge            eop-104.47  3d   microsoft  no     scanner  microsoft
chrome          eop-52.100  -    -          no     scanner  microsoft
END


# hosting by its number (hetzner and ovh), and by its range (aws)

$truth->add('hosting', <<'END');
# fetcher       from         age    hint     open   verdict  provider  more
chrome          hetzner      5s     -        no     scanner  -
chrome          ovh          2m     -        no     scanner  -
chrome-lean     AS14061      5m     -        no     scanner  -
chrome          aws          5m     gateway  no     scanner  -
firefox         aws6         9m     -        no     scanner  -
safari          leaseweb     595s   -        no     scanner  -
edge            hetzner      601s   -        maybe  scanner  -
chrome          ovh          1h     -        maybe  human    -
chrome          AS14061      1d     gateway  maybe  human    -
chrome          aws          1h     -        maybe  human    -
firefox         aws6         30d    -        maybe  human    -
chrome x3       hetzner      1d     -        maybe  human    -
# Google Cloud is hosting, not Google
chrome          google-cloud  5m    -        no     scanner  -
chrome          google-cloud  1h    -        maybe  human    -
# on one list of hosting only, or a carrier with people behind it: disputed
chrome          AS6939       5m     -        maybe  human    -  \
    by:hosting-doubtful
chrome          AS6939       1h     -        yes    human    -
# a virtual desktop's mail program
outlook         aws          1h     -        yes    human    -
thunderbird     hetzner      2d     -        yes    human    -
END


# VPN exits lie within the lists of data centers and go before them.

$truth->add('VPN', <<'END');
# fetcher       from         age   hint  open   verdict  provider  more
chrome          vpn          5s    -     maybe  scanner  -
chrome          vpn          5m    -     maybe  human    -
chrome          vpn          1h    -     yes    human    -
firefox         vpn-hosting  5m    -     maybe  human    -         by:vpn
firefox         vpn-hosting  1h    -     yes    human    -
safari          m247         1m    -     maybe  human    -
safari          m247         1h    -     yes    human    -
chrome          AS207137     1m    -     maybe  human    -         by:vpn-asn
chrome          AS207137     2d    -     yes    human    -
firefox         vpn6         1h    -     yes    human    -
thunderbird     vpn          5s    -     yes    human    -
END


# A person at home, once the time of sending is known.  Within the first minute
# it may be a gateway that nobody knows.

$truth->add('home', <<'END');
# fetcher       from       age   hint       open   verdict  provider  more
chrome          home       1h    -          yes    human    -
firefox         home6      1h    gateway    yes    human    -
safari          phone      1h    apple      yes    human    -
iphone          phone      5m    -          yes    human    -
edge            campus     5m    microsoft  yes    human    -
chrome          satellite  10m   -          yes    human    -
chrome          home       90s   -          yes    human    -
# mail that a gateway may scan from where nobody knows
chrome          home       90s   gateway    yes    human    -  \
    by:gateway.expected
firefox         home       30d   -          yes    human    -
chrome          home       5s    -          maybe  human    -
firefox         home6      30s   -          maybe  human    -
chrome          no-number  1h    -          yes    human    -
chrome          no-number  -     -          maybe  human    -
# a mail program, whenever
thunderbird     home       2s    -          yes    human    -
apple-mail      home       24m   -          yes    human    -
outlook         home       2s    -          yes    human    -
# the clocks of sender and tracker differ: not known, and not "at once"
chrome          home       -1h   -          yes    human    -
END


# Without an address and with an agent that says nothing, nothing is known.

$truth->add('nothing', <<'END');
# fetcher       from       age   hint       open   verdict  provider  more
mpp             unix       1h    -          maybe  unknown  -
mpp-lean        unix       2s    -          maybe  unknown  -
mpp             unix       -     gmail      maybe  unknown  -
# but an agent that says something is evidence
chrome          unix       1h    -          yes    human    -
curl            unix       1h    -          no     bot      -
END

$truth->check();


# the same asked of "explain", where agent and address can be left out

for my $query ('', '?age=1h', '?age=1s&burst=50&seen=1', '?hint=gmail&age=1d')
{
    my $r = $truth->server()->get("/why$query",
                                  unix => $truth->server()->path('http.sock'));
    my $j = decode_json($r->body());

    is("$j->{open} $j->{verdict}", 'maybe unknown', "nothing known: $query");
}

$truth->done();


# A server without an ASN database: the lists of ranges are what it has.

$lists->add('no database', <<'END');
# fetcher       from          age   hint  open   verdict   provider   more
safari          relay-akamai  1h    -     yes    proxied   apple
mpp             relay-fastly  1h    -     maybe  shielded  apple
mpp-lean        home          1h    -     no     bot       -
gmail           google        1h    -     yes    proxied   gmail
gmail           google        2s    -     maybe  proxied   gmail
gmail           home          1h    -     maybe  bot       gmail
gmail-prefetch  google        1h    -     no     prefetch  gmail
yahoo           yahoo         1h    -     yes    proxied   yahoo
yahoo           aws           1h    -     maybe  proxied   yahoo
chrome          microsoft     1h    -     yes    proxied   microsoft
chrome          microsoft     5s    -     maybe  scanner   microsoft  25-35
chrome          microsoft     5m    -     yes    proxied   microsoft   80-95
chrome          eop-40.92     1h    -     no     scanner   microsoft
chrome          aws           5m    -     no     scanner   -
chrome          aws           1h    -     maybe  human     -
chrome          proofpoint    5m    -     no     scanner   proofpoint
chrome          mimecast      5m    -     no     scanner   mimecast
chrome          cisco         5m    -     no     scanner   cisco
chrome          barracuda     5m    -     no     scanner   barracuda
chrome          symantec      5m    -     no     scanner   symantec
chrome          trendmicro    5m    -     no     scanner   trendmicro
chrome          forcepoint    5m    -     no     scanner   forcepoint
chrome          fortinet      5m    -     no     scanner   fortinet
chrome          fortinet      1d    -     maybe  scanner   fortinet
chrome          zscaler       1h    -     yes    human     zscaler
chrome          proton        1h    -     maybe  proxied   proton
chrome          fastmail      1h    -     yes    proxied   fastmail
chrome          vpn           5m    -     maybe  human     -
chrome          vpn           1h    -     yes    human     -
chrome          home          1h    -     yes    human     -
# a network that could be a gateway's
chrome          home          -     -     maybe  human     -
chrome          home +50      20s   -     maybe  scanner   -          by:burst
firefox         home6         -     -     maybe  human     -
safari          phone         5m    -     maybe  human     -
thunderbird     home          -     -     yes    human     -
END

$lists->check();
$lists->done();
