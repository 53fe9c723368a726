#!/usr/bin/env perl

# Copyright (C) MailPing

# The truth table of mail proxies and mail programs (field.md, section 4): each
# row as the request that this fetcher sends, through nginx, and what the
# stream then says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::MailPing::Truth;


my $truth = Test::MailPing::Truth->new();

my $chrome_linux = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 '
                   . '(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';

$truth->agents(gmail =>
    'gmail-token' => 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko '
                     . 'Firefox/11.0 (via ggpht.com)',
    'gmail-short' => 'Mozilla/5.0 (GoogleImageProxy)',
    fastmail => 'FastmailUA/1.0',
    hey => "hey.com/imageproxy $chrome_linux",
    seznam => 'Mozilla/5.0 SeznamEmailProxy/2.0.174',
    rambler => 'RamblerMail/6.0 (incompatible; ImageProxy/6.0)');

$truth->agents('apple-mail' =>
    'mail-loader' => 'Mail/3826.500.181.1.5 CFNetwork/3826.500.111 '
                     . 'Darwin/24.4.0');

$truth->agents(chrome =>
    webview => 'Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UP1A; wv) '
               . 'AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 '
               . 'Chrome/124.0.0.0 Mobile Safari/537.36',
    'chrome-linux' => $chrome_linux);

$truth->agents(outlook =>
    'mac-outlook' => 'MacOutlook/16.38.20061401 (Intelx64 Mac OS X 10.15.6 '
                     . '(19G2021))',
    'outlook-ios' => 'Outlook-iOS/709.2189947.prod.iphone (3.24.0)');


# Gmail's display proxy.  At open, says Validity; seconds after delivery, say
# gophish 1390, mautic 7884 and mailping.pro: disputed, so even at first.

$truth->add('Gmail display', <<'END');
# fetcher             from           age  hint     open   verdict   provider
gmail                 google         1h   gmail    yes    proxied   gmail
gmail                 google         3d   gmail    yes    proxied   gmail
gmail                 google         1h   -        yes    proxied   gmail
gmail                 google         -    -        yes    proxied   gmail
gmail x4              google         2d   gmail    yes    proxied   gmail
gmail                 google-more    1h   gmail    yes    proxied   gmail
gmail                 google-more    20m  gmail    yes    proxied   gmail
gmail                 google6        1h   gmail    yes    proxied   gmail
gmail                 google-own     1h   gmail    yes    proxied   gmail
gmail                 AS15169        1h   gmail    yes    proxied   gmail
gmail-token           google         1h   gmail    yes    proxied   gmail
gmail-short           google         1h   gmail    yes    proxied   gmail
gmail HTTP/1.0        google         1h   gmail    yes    proxied   gmail

# seconds after delivery: probably a prefetch, not certainly
gmail                 google         1s   gmail    maybe  proxied   gmail  40-60
gmail                 google         5s   gmail    maybe  proxied   gmail  40-60
gmail                 google6        2s   gmail    maybe  proxied   gmail  40-60
# up to half a minute a little doubt is left
gmail                 google         20s  gmail    yes    proxied   gmail  90-99
gmail                 google         40s  gmail    yes    proxied   gmail  >=100
END


# The prefetch of an open session: machine, certain, whatever the time.

$truth->add('Gmail prefetch', <<'END');
# fetcher             from           age  hint     open   verdict   provider
gmail-prefetch        google         1s   gmail    no     prefetch  gmail  <=2
gmail-prefetch        google         1h   gmail    no     prefetch  gmail  <=2
gmail-prefetch        google         -    -        no     prefetch  gmail  <=2
gmail-prefetch        google-own     20s  gmail    no     prefetch  gmail  <=2
gmail-prefetch        google6        20s  gmail    no     prefetch  gmail  <=2
# a webhook's fixture of 2026 has the agent twice over
gmail-prefetch-twice  google         20s  gmail    no     prefetch  gmail  <=2
# and a person opens the same mail later: the display proxy, apart from it
gmail x2              google         1h   gmail    yes    proxied   gmail
END


# Apple's Mail Privacy Protection: the bare agent AND the egress list; nobody
# outside Apple can know, so never "yes" and never "no".

$truth->add('Apple MPP', <<'END');
# fetcher             from              age  hint   open   verdict   provider
mpp                   relay-akamai      1h   apple  maybe  shielded  apple
mpp-lean              relay-akamai      1h   apple  maybe  shielded  apple
mpp                   relay-akamai      5s   apple  maybe  shielded  apple
mpp                   relay-cloudflare  1d   -      maybe  shielded  apple
mpp                   relay-fastly      2h   -      maybe  shielded  apple
mpp                   relay6            2h   apple  maybe  shielded  apple
mpp                   relay-akamai      -    -      maybe  shielded  apple
# any mailbox, read with Apple Mail
mpp                   relay-cloudflare  1h   gmail  maybe  shielded  apple
# the list grows old, Akamai's number does not
mpp                   AS36183           1h   apple  maybe  shielded  apple
mpp x3                relay-akamai      2d   apple  maybe  shielded  apple

# UA and IP: either alone is not Apple's proxy
mpp-lean              home              1h   apple  no     bot       -
mpp-lean              apple             1h   apple  no     bot       -
mpp-lean              warp              1h   apple  no     bot       -
mpp-lean              aws               1h   apple  no     bot       -
mpp-lean              vpn               1h   apple  no     bot       -
END


# iCloud Private Relay: the same addresses, a person's Safari.

$truth->add('Private Relay', <<'END');
# fetcher             from              age  hint   open   verdict   provider
safari                relay-akamai      1h   apple  yes    proxied   apple
safari                relay-cloudflare  1h   -      yes    proxied   apple
safari                relay-fastly      1h   -      yes    proxied   apple
iphone                relay6            1h   gmail  yes    proxied   apple
iphone                relay-akamai      5s   apple  yes    proxied   apple
safari                relay-cloudflare  -    -      yes    proxied   apple
# other browsers seldom go through it
chrome                relay-akamai      1h   -      yes    proxied   apple
firefox               relay-cloudflare  5s   -      maybe  proxied   apple
END


# Yahoo and AOL: at open.

$truth->add('Yahoo', <<'END');
# fetcher             from           age  hint     open   verdict   provider
yahoo   yahoo  1h  yahoo  yes  proxied  yahoo  >=99 by:yahoo.display
yahoo-lean            yahoo          1h   yahoo    yes    proxied   yahoo
yahoo                 yahoo-us       1h   yahoo    yes    proxied   yahoo
yahoo                 yahoo          5s   yahoo    yes    proxied   yahoo
yahoo                 yahoo          -    -        yes    proxied   yahoo
yahoo                 AS26101        1h   yahoo    yes    proxied   yahoo
yahoo x3              yahoo-us       2d   yahoo    yes    proxied   yahoo
END


# Outlook on a desktop: at open, the reader's own machine.

$truth->add('Outlook desktop', <<'END');
# fetcher             from           age  hint       open  verdict  provider
outlook               home           1h   microsoft  yes   human    -
outlook               home           5s   microsoft  yes   human    -
outlook               home           -    -          yes   human    -
ms-office             home           1h   microsoft  yes   human    -
ms-office HTTP/1.0    campus         1h   gateway    yes   human    -
mac-outlook           home           1h   other      yes   human    -
new-outlook           home           1h   microsoft  yes   human    -
outlook-ios           phone          1h   microsoft  yes   human    -
END


# Outlook on the web fetches through Microsoft's network, without a name of its
# own: time since sending decides between it and Defender.

$truth->add('Outlook on the web', <<'END');
# fetcher       from        age  hint       open   verdict  provider
edge            microsoft   1h   -          yes    proxied  microsoft
# a little likelier for a recipient at Microsoft
edge     microsoft  1h  microsoft  yes  proxied  microsoft  \
    by:microsoft.expected
chrome          microsoft   1h   -          yes    proxied  microsoft
chrome-lean     microsoft   1h   microsoft  yes    proxied  microsoft
edge            AS8075      1h   microsoft  yes    proxied  microsoft
edge            AS8074      1h   microsoft  yes    proxied  microsoft
edge            AS12076     1h   microsoft  yes    proxied  microsoft
edge            microsoft   2d   microsoft  yes    proxied  microsoft
edge            microsoft   5s   microsoft  maybe  scanner  microsoft
chrome-lean     microsoft   5s   microsoft  maybe  scanner  microsoft
END


# Exchange Online Protection: filtering only, ordinary browser agents.

$truth->add('EOP', <<'END');
# fetcher       from        age  hint       open   verdict  provider
chrome          eop-40.92   5s   microsoft  no     scanner  microsoft
chrome          eop-40.92   1h   microsoft  no     scanner  microsoft
edge            eop-40.107  1h   microsoft  no     scanner  microsoft
firefox         eop-52.100  3d   microsoft  no     scanner  microsoft
chrome          eop-104.47  -    -          no     scanner  microsoft
chrome-lean     eop-52.238  1h   microsoft  no     scanner  microsoft
chrome          eop-f400    1h   microsoft  no     scanner  microsoft
safari          eop-f403    1h   microsoft  no     scanner  microsoft
END


# Gateways: at delivery, for minutes, with a browser's agent from networks of
# their own; later it is browser isolation with a person behind it.

$truth->add('Gateways', <<'END');
# fetcher       from           age  hint     open   verdict  provider
chrome          proofpoint     5s   gateway  no     scanner  proofpoint
chrome-lean     proofpoint     5s   -        no     scanner  proofpoint
safari          proofpoint     8m   gateway  no     scanner  proofpoint
chrome          AS26211        2m   gateway  no     scanner  proofpoint
chrome          AS52129        2m   gateway  no     scanner  proofpoint
chrome          AS13916        2m   gateway  no     scanner  proofpoint
chrome          proofpoint     3h   gateway  maybe  scanner  proofpoint
chrome          mimecast       5s   gateway  no     scanner  mimecast
chrome          AS33538        2m   gateway  no     scanner  mimecast
chrome          AS39588        2m   gateway  no     scanner  mimecast
chrome          AS42427        2m   gateway  no     scanner  mimecast
chrome          AS60492        2m   gateway  no     scanner  mimecast
chrome          AS397726       2m   gateway  no     scanner  mimecast
chrome          AS136792       2m   gateway  no     scanner  mimecast
edge            mimecast       3h   gateway  maybe  scanner  mimecast
chrome          cisco          1m   gateway  no     scanner  cisco
edge            cisco          1d   gateway  maybe  scanner  cisco
chrome          barracuda      1m   gateway  no     scanner  barracuda
chrome          barracuda-aws  1m   gateway  no     scanner  barracuda
edge            barracuda      1d   gateway  maybe  scanner  barracuda
chrome          symantec       1m   gateway  no     scanner  symantec
chrome          trendmicro     1m   gateway  no     scanner  trendmicro
chrome          forcepoint     1m   gateway  no     scanner  forcepoint
chrome          fortinet       1m   gateway  no     scanner  fortinet
# by the number, from networks that no list has
chrome          AS16417        2m   gateway  no     scanner  cisco
chrome          AS15324        2m   gateway  no     scanner  barracuda
chrome          AS26282        2m   gateway  no     scanner  symantec
chrome          AS16880        2m   gateway  no     scanner  trendmicro
chrome          AS13448        2m   gateway  no     scanner  forcepoint
chrome          AS40934        2m   gateway  no     scanner  fortinet
END


# Proton preloads and shows through one network: no way to tell.

$truth->add('Proton', <<'END');
# fetcher       from      age  hint   open   verdict  provider
chrome          proton    10s  other  maybe  proxied  proton
chrome          proton    2h   other  maybe  proxied  proton
chrome-linux    AS62371   2h   -      maybe  proxied  proton
END


# Fastmail's server fetches only when the reader loads images; HEY's, Seznam's
# and Rambler's proxies name themselves.

$truth->add('Other proxies', <<'END');
# fetcher       from      age  hint   open   verdict  provider
chrome-linux    fastmail  2h   other  yes    proxied  fastmail
fastmail        fastmail  2h   other  yes    proxied  fastmail
fastmail        AS64502   2h   other  yes    proxied  fastmail
chrome-linux    AS151847  2h   other  yes    proxied  fastmail
hey             AS64501   2h   other  yes    proxied  hey
seznam          AS64504   2h   other  yes    proxied  seznam
seznam          AS43037   2h   other  yes    proxied  seznam
rambler         AS64503   2h   other  yes    proxied  rambler
END


# Mail programs fetch themselves.

$truth->add('Mail programs', <<'END');
# fetcher       from       age  hint   open   verdict  provider
apple-mail      home       1h   other  yes    human    -
ios-mail        phone      1h   apple  yes    human    -
mail-loader     home       1h   apple  yes    human    -
thunderbird     home       1h   other  yes    human    -
thunderbird     home6      1h   gmail  yes    human    -
thunderbird     home       5s   -      yes    human    -
thunderbird     satellite  -    -      yes    human    -
webview         phone      1h   other  yes    human    -
END


$truth->check();
$truth->done();
