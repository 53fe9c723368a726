#!/usr/bin/env perl

# Copyright (C) MailPing

# Wrong and doubtful signals that circulate in lists, as requests that they
# would judge wrongly: networks under another company's name, tokens that no
# source confirms, signals that hold only together with another.  The numbers
# and tokens are facts of shared/data/signals.tsv; where that is there, each of
# its rows that is marked as a trap has a case here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(shared);
use Test::MailPing::Truth;


my $truth = Test::MailPing::Truth->new();

my $chrome = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 '
             . '(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';


# A public list of scanners has the wrong company behind these numbers; who
# they are is the registries' (ipverse).  As a scanner's, a browser there would
# be "no" within ten minutes and "maybe" later.

my $numbers = <<'END';
# fetcher      from      age  hint     open   verdict  provider  more
# N-Telecom, which the list calls Mimecast
chrome         AS60067   5m   gateway  yes    human    -
chrome         AS60067   1h   -        yes    human    -
chrome         AS60067   -    -        yes    human    -
firefox x2     AS60067   1d   gateway  yes    human    -
# Sudjam LLC, which it calls Barracuda
chrome         AS19740   5m   gateway  yes    human    -
safari         AS19740   1h   -        yes    human    -
chrome         AS19740   -    -        yes    human    -
# Cloudflare, which it calls Abnormal Security: people and machines
chrome         AS395747  5m   gateway  maybe  human    -
chrome         AS395747  1h   -        yes    human    -
safari         AS395747  2d   gateway  yes    human    -
# Symantec, which it calls Cisco: a gateway, and not that one
chrome         AS21345   5m   gateway  no     scanner  symantec
chrome         AS21345   1h   -        maybe  scanner  symantec
END

$truth->add('numbers', $numbers);


# Networks that say nothing alone.

$truth->add('networks', <<'END');
# fetcher      from              age  hint       open   verdict   provider
# AS8075, 8074, 12076: Outlook on the web is there, too
chrome         AS8075            1h   microsoft  yes    proxied   microsoft
chrome         AS8074            1h   microsoft  yes    proxied   microsoft
chrome         AS12076           1h   -          yes    proxied   microsoft
# AS714, AS6185 and 17.0.0.0/8 are Apple's, and not its mail proxy's
mpp-lean       AS714             1h   apple      no     bot       -
mpp-lean       AS6185            1h   apple      no     bot       -
mpp-lean       apple             1h   apple      no     bot       -
safari         AS714             1h   -          yes    human     -
safari         AS6185            1h   -          yes    human     -
chrome-lean    AS714    1h   -      yes    human     -         by:apple.own-asn
# 36183, 13335 and 54113 carry Apple's relay: a full Safari is a person
safari         relay-akamai      1h   apple      yes    proxied   apple
safari         relay-cloudflare  1h   apple      yes    proxied   apple
safari         relay-fastly      1h   apple      yes    proxied   apple
# and of 13335 and 54113 Workers and other customers, without the list
mpp-lean       AS13335           1h   apple      no     bot       -
mpp-lean       AS54113           1h   apple      no     bot       -
chrome         AS13335           1h   -          yes    human     -
# the rest of Akamai is on lists of data centers
chrome         AS20940           1h   -          yes    human     -
# Proofpoint's and Mimecast's isolation, Forcepoint's web proxy: people, later
chrome         proofpoint        2h   gateway    maybe  scanner   proofpoint
chrome         mimecast          2h   gateway    maybe  scanner   mimecast
chrome         forcepoint        2h   gateway    maybe  scanner   forcepoint
# Zscaler is neither a data center nor a mail gateway
chrome         zscaler           2h   gateway    yes    human     zscaler
chrome         AS22616           2h   gateway    yes    human     zscaler
# Barracuda's number is a backstop: it scans from AWS
chrome         barracuda-aws     2m   gateway    no     scanner   barracuda
chrome         aws               2m   gateway    no     scanner   -
# Google Cloud's number is no longer Google's
gmail          AS396982          1h   gmail      maybe  bot       gmail
chrome         AS396982          2m   -          no     scanner   -
# the crawler's half of 66.249.64.0/19: nobody reads mail there
chrome         googlebot         1h   gmail      no     bot       -
chrome         googlebot         5m   -          no     bot       -
# companies with a mailbox service and much else
chrome         AS2639            1h   -          yes    human     zoho
chrome         AS47764           1h   -          yes    human     vk
chrome         AS13238           1h   -          yes    human     yandex
chrome         AS23576           1h   -          yes    human     naver
chrome         AS43037           1h   -          yes    human     seznam
# Starlink is a negative control of the lists of data centers
chrome         satellite         1h   -          yes    human     -
chrome         satellite         5m   gateway    yes    human     -
END


# Agents that look like another's.

$truth->agents(chrome =>
    cubot => 'Mozilla/5.0 (Linux; Android 9; CUBOT_P20) AppleWebKit/537.36 '
             . '(KHTML, like Gecko) Chrome/88.0.4324.152 Mobile '
             . 'Safari/537.36');

$truth->agents('chrome-lean' =>
    'yahoo-app' => 'YahooMail/2018 CFNetwork/1121.2.2 Darwin/19.3.0',
    ukrnet => "$chrome (via foo.example - mail.ukr.net proxy)",
    'yahoo-cache' => 'YahooCacheSystem; YahooWebServiceClient',
    dalvik => 'Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A)',
    'mailru-images' => 'Mozilla/5.0 (compatible; Mail.RU_Bot/Img/2.0)',
    'yandex-images' => 'Mozilla/5.0 (compatible; YandexImageResizer/2.0; '
                       . '+http://yandex.com/bots)',
    'github-camo' => 'github-camo (876de43e)');

$truth->add('agents', <<'END');
# fetcher      from              age  hint       open   verdict   provider
# Yahoo's app and Yahoo's proxy
yahoo-app      home              1h   yahoo      yes    human     -
yahoo          yahoo             1h   yahoo      yes    proxied   yahoo
yahoo          home              1h   yahoo      maybe  proxied   yahoo
# the bare agent is Apple's from the relay only; a lazy script's elsewhere
mpp            relay-akamai      1h   -          maybe  shielded  apple
mpp-lean       hetzner           2h   -          no     bot       -
mpp-lean       hetzner           5s   -          no     scanner   -
# the engine at the end: a person's mail program, unless from the relay
apple-mail     home              1h   -          yes    human     -
apple-mail     hetzner           1m   -          no     scanner   -
apple-mail     relay-fastly      1h   -          maybe  prefetch  apple
# the same from an app that is no mail program
ios-mail       phone             1h   -          yes    human     -
# Gmail's prefetch and the browser it poses as
gmail-prefetch  google           1h   gmail      no     prefetch  gmail
edge12         home              1h   -          yes    human     -
# disputed: a proxy's name on lists of robots
yahoo-cache    yahoo             1h   yahoo      no     bot       yahoo
ukrnet         AS64505           1h   other      maybe  proxied   ukrnet
# a telephone, not a robot
cubot          phone             1h   -          yes    human     -
# an app without a web view: weak, and no library
dalvik         phone             1h   -          yes    human     -       by:app
# image proxies that are no mail proxies
mailru-images  AS47764           1h   -          no     bot       vk
yandex-images  AS13238           1h   -          no     bot       yandex
github-camo    AS36459           1h   -          no     bot       -
# a shared token: the Word renderer
ms-office      home              1h   -          yes    human     -
END


# Headers that people's programs lack or have, too.

$truth->add('headers', <<'END');
# fetcher      from              age  hint       open   verdict   provider
# no Accept and no Accept-Language is how Gmail's proxy asks
gmail          google            1h   gmail      yes    proxied   gmail
yahoo-lean     yahoo             1h   yahoo      yes    proxied   yahoo
chrome -Accept-Language  home    1h   -          yes    human     -
chrome -Accept-Encoding  home    1h   -          yes    human     -
chrome -Sec-Fetch-Dest   home    1h   -          yes    human     -
chrome +Via: 1.1 a  home         1h   -          yes    human     -
chrome +X-Forwarded-For: 10.9.8.7  home  1h  -   yes    human     -
# Accept-Encoding as Gmail's proxy has it, without being it
chrome-lean -Accept  home        1h   -          maybe  human     -
END


# Tokens of gateways that circulate and that no source has seen: a browser with
# one is a browser.  It names nobody.  In one of them is a word by which
# security products are known, listed or not.

my @unverified = ('OutlookImageProxy', 'Proofpoint', 'Mimecast',
                  'Mimecast-Link-Protect', 'IronPort', 'CiscoSecureEmail',
                  'MessageLabs', 'Symantec', 'TrendMicro', 'FireEye',
                  'Forcepoint', 'Sophos', 'Fortinet', 'FortiGuard', 'Avanan',
                  'Check Point', 'Vade', 'Hornetsecurity', 'SpamTitan',
                  'SafeLinks', 'Cloudmark', 'SCMGUARD');

for my $token (@unverified) {
    my $name = "token-$token" =~ s/ /-/r;
    my $expected = $token =~ /security/ ? 'no  scanner' : 'yes  human';

    $truth->agents(chrome => $name => "$chrome $token/1.0");
    $truth->add('unverified', "$name  home  1h  -  $expected  -");
}


$truth->check();


# what signals.tsv marks has a case here

sub rows_with {
    my ($path, $mark) = @_;

    open(my $file, '<', $path) || die "cannot open $path: $!\n";

    return map { [ (split(/\t/))[0, 1] ] } grep { /\b$mark\b/ } <$file>;
}

SKIP: {
    my $path = (shared() // '') . '/data/signals.tsv';

    skip('no shared/data/signals.tsv', 2) if !-f $path;

    my @missing = grep { $_->[0] ne 'asn' || $numbers !~ /\bAS$_->[1]\b/ }
                  rows_with($path, 'TRAP');

    is_deeply(\@missing, [], 'each trap of signals.tsv has a case');

    my %known = map { $_ => 1 } @unverified;

    @missing = grep { !$known{$_->[1]} } rows_with($path, 'UNVERIFIED');

    is_deeply(\@missing, [], 'each token that is not confirmed, too');
}

$truth->done();
