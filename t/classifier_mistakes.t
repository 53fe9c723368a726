#!/usr/bin/env perl

# Copyright (C) MailPing

# What other trackers get wrong (field.md, sections 1, 2, 3 and 7), and the list
# of what rules must respect (design, section 5), each as requests: people who
# must not be lost, machines that must not count.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing::Truth;


# "self" is whoever comes from the sender's own office

my $truth = Test::MailPing::Truth->new(
    http => 'geo $own { default 0; 198.51.100.0/24 1; }',
    location => 'mailping_self $own;',
);

# one address each, apart from those of the helper's places

$truth->place(office => 64496, '198.51.100.0/24');
$truth->place('one-google' => 15169, '66.249.88.0/24');
$truth->place('one-yahoo' => 36646, '66.163.170.0/24');
$truth->place('one-relay' => 36183, '172.226.8.0/24');
$truth->place('one-azure' => 8075, '20.34.7.0/24');
$truth->place('one-zscaler' => 22616, '165.225.72.0/24');
$truth->place('one-campus' => 559, '129.132.200.0/24');
$truth->place('one-vpn' => 9009, '5.157.168.0/24');

my $chrome = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 '
             . '(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';
my $android = sub {
    return "Mozilla/5.0 (Linux; Android 13; $_[0]) AppleWebKit/537.36 "
           . '(KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36';
};
my $electron = sub {
    return 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) '
           . "AppleWebKit/537.36 (KHTML, like Gecko) $_[0] "
           . 'Chrome/120.0.6099.291 Electron/28.3.3 Safari/537.36';
};


# Mautic 7.1 and everybody who asks device-detector: Gmail's proxy is a "bot",
# and all Gmail opens are gone.  Matomo leaves out 66.249.80.0/20.  Others miss
# headers that Gmail's proxy never sends.

$truth->add('Gmail is no bot', <<'END');
# fetcher                 from    age  hint   open  verdict  provider  more
gmail                     google  1h   gmail  yes   proxied  gmail     >=95
gmail                     google  1h   -      yes   proxied  gmail     >=95
gmail -Accept-Encoding    google  1h   gmail  yes   proxied  gmail     >=95
gmail HTTP/1.0            google  1h   gmail  yes   proxied  gmail     >=95
gmail                     google6  1h  gmail  yes   proxied  gmail     >=95
gmail                     AS15169  1h  gmail  yes   proxied  gmail     >=95
# Error replies are cached, and re-opens reach the origin: read three times
gmail x3                  google  5h   gmail  yes   proxied  gmail     >=95
gmail x12                 google  5h   gmail  yes   proxied  gmail     >=95
END


# SparkPost, Mailgun and GMass name the prefetch; trackers that test for
# "Edge/12.246" alone lose those who still use that browser, and those that
# test for Google's network alone lose everybody's Gmail.

$truth->add('prefetch', <<'END');
# fetcher                 from    age  hint   open  verdict   provider  more
edge12                    home    1h   -      yes   human     -
edge12                    campus  1h   other  yes   human     -
gmail-prefetch            google  1h   gmail  no    prefetch  gmail
# whoever else sends this agent is no person, either
gmail-prefetch            home    1h   -      no    prefetch  gmail
gmail-prefetch            hetzner  1h  -      no    prefetch  gmail
gmail-prefetch            fastmail  1h  -     no    prefetch  gmail
gmail-prefetch            relay-akamai  1h  -  no   prefetch  gmail
END


# A limit per address or network on a proxy that a million readers share
# (gogcli: 100 an hour; Warmbly), and a burst on what is no gateway.

$truth->add('shared addresses', <<'END');
# fetcher   from               age  hint       open   verdict   provider  more
gmail       one-google +150    2h   gmail      yes    proxied   gmail     all
gmail       one-google +20     45s  gmail      yes    proxied   gmail     all
yahoo       one-yahoo +50      5s   yahoo      yes    proxied   yahoo     all
mpp         one-relay +50      5s   apple      maybe  shielded  apple     all
safari      one-relay +50      5s   apple      yes    proxied   apple     all
chrome      one-azure +50      2h   microsoft  yes    proxied   microsoft  all
chrome      one-zscaler +50    2h   gateway    yes    human     zscaler   all
chrome      one-vpn +50        2h   -          yes    human     -         all
# a newsletter read at nine behind one NAT
chrome      one-campus +50     3h   -          yes    human     -         all
END

$truth->add('bursts', <<'END');
# fetcher   from               age  hint       open   verdict  provider  more
outlook     home +50           20m  gateway    yes    human    -         all
thunderbird  campus +50        20s  other      yes    human    -
# in the first minute it is evidence, and alone no more than "maybe"
chrome      home +50           20s  -          maybe  scanner  -         21-79
firefox     AS64500 +50        20s  -          maybe  scanner  -         21-79
# and of those with which it began, once it is one
chrome      home +50           20s  -          maybe  scanner  -     all after
# never of Microsoft's network and of companies' proxies
edge        microsoft +50      5s   microsoft  maybe  scanner  microsoft  all
edge        microsoft +50      2m   -          yes    proxied  microsoft  all
chrome      zscaler +50        20s  -          maybe  human    zscaler   all
# sending not known: no evidence
chrome      home +50           -    -          yes    human    -         all
END


# Collie, gogcli and others: an agent that ends at the engine is Apple's MPP, so
# all Apple Mail and the new Outlook are machines (warmbly 564 lost a person's
# open 24 minutes after sending).

$truth->add('Apple Mail is not MPP', <<'END');
# fetcher     from              age  hint   open   verdict   provider  more
apple-mail    home              24m  apple  yes    human     -
apple-mail    home              1h   gmail  yes    human     -
apple-mail    home6             -    -      yes    human     -
apple-mail    campus            1h   other  yes    human     -
ios-mail      phone             1h   apple  yes    human     -
# from the relay it is disputed
apple-mail    relay-akamai      1h   apple  maybe  prefetch  apple
END


# gogcli tests 17.0.0.0/8 and 104.28.0.0/16 for MPP, others 17.58.0.0/16: none
# of the egress list is in the former, and 104.28 is Cloudflare's for everybody.
# And the address alone is not MPP: Private Relay shares it.

$truth->add('17/8 and 104.28/16', <<'END');
# fetcher     from              age  hint   open   verdict   provider  more
safari        apple             1h   -      yes    human     -  by:apple.own
apple-mail    apple             1h   apple  yes    human     -
mpp-lean      apple             1h   apple  no     bot       -
mpp-lean      warp              1h   apple  no     bot       -
chrome        warp              1h   -      yes    human     -
firefox       warp              1h   gmail  yes    human     -
safari        relay-cloudflare  1h   apple  yes    proxied   apple
safari        relay-cloudflare  5s   apple  yes    proxied   apple
iphone        relay-akamai      1h   gmail  yes    proxied   apple
END


# SendGrid, Iterable and Braze call MPP a machine, Postmark and listmonk count
# it as an open: nobody can know.  Lists of VPNs and data centers hold almost
# the whole relay.

$truth->add('MPP is neither', <<'END');
# fetcher     from              age  hint   open   verdict   provider  more
# Iterable's sample of 2025-07-29: 172.226.110.22
mpp           relay-akamai      1h   apple  maybe  shielded  apple
mpp-lean      relay-fastly      2s   -      maybe  shielded  apple
mpp HTTP/1.0  relay-cloudflare  1h   -      maybe  shielded  apple
mpp x2        relay6            1d   -      maybe  shielded  apple
END


# gogcli calls Outlook on a desktop a prefetch; Office's own probes share its
# tokens and are no open.

$truth->agents(outlook =>
    existence => 'Microsoft Office Existence Discovery',
    protocol => 'Microsoft Office Protocol Discovery');

$truth->add('Outlook is no prefetch', <<'END');
# fetcher            from   age  hint       open  verdict  provider   more
outlook              home   1s   microsoft  yes   human    -
outlook              home   1h   microsoft  yes   human    -
ms-office            home   1s   gateway    yes   human    -
ms-office            campus  1h  gateway    yes   human    -
ms-office            aws    1h   -          yes   human    -
existence            home   1h   microsoft  no    bot      microsoft
existence HEAD       home   1h   microsoft  no    bot      microsoft
protocol             home   1h   microsoft  no    bot      microsoft
END


# mautic 9400 ("all addresses are Microsoft's"), warmbly 410 and 412: AS8075 as
# a scanner loses Outlook on the web; not at all as one loses the truth.

$truth->add('Microsoft is no scanner', <<'END');
# fetcher            from      age  hint       open   verdict  provider   more
chrome               microsoft  1h  microsoft  yes    proxied  microsoft
safari               microsoft  1h  microsoft  yes    proxied  microsoft
firefox              AS8075    20m  -          yes    proxied  microsoft
edge x2              microsoft  1d  microsoft  yes    proxied  microsoft
chrome               defender  1d   microsoft  yes    proxied  microsoft
chrome               defender  5s   microsoft  maybe  scanner  microsoft  <=28
# and filtering only is filtering only
chrome               eop-40.107  1d  microsoft  no    scanner  microsoft
thunderbird          eop-104.47  1h  microsoft  no    scanner  microsoft
outlook              eop-40.92   -   microsoft  no    scanner  microsoft
END


# Gateways send a browser's agent: trackers that know machines by their agent
# count them (mautic 16263, 9798, gophish 1390), those that block the networks
# for good lose browser isolation and virtual desktops.

$truth->add('gateways and isolation', <<'END');
# fetcher     from           age  hint     open   verdict  provider    more
chrome        proofpoint     66s  gateway  no     scanner  proofpoint
iphone        mimecast       66s  gateway  no     scanner  mimecast
chrome        barracuda-aws  66s  gateway  no     scanner  barracuda
# byte-identical Chrome from Leaseweb, M247 and AWS at 66 seconds; M247 has VPN
# exits, too
chrome        leaseweb       66s  gateway  no     scanner  -
chrome        aws            66s  gateway  no     scanner  -
chrome        m247           66s  gateway  maybe  human    -
chrome        proofpoint     4h   gateway  maybe  scanner  proofpoint
chrome        mimecast       4h   gateway  maybe  scanner  mimecast
chrome        aws            4h   gateway  maybe  human    -
# by day or years: no blocking for good, and no counting either
chrome        leaseweb       30d  -        maybe  human    -
chrome x5     proofpoint     30d  gateway  maybe  scanner  proofpoint
END


# Lists of IPv4 only (Collie).

$truth->add('IPv6', <<'END');
# fetcher     from         age  hint       open   verdict   provider    more
gmail         google6      1h   gmail      yes    proxied   gmail
mpp           relay6       1h   apple      maybe  shielded  apple
safari        relay6       1h   apple      yes    proxied   apple
edge          microsoft6   1h   microsoft  yes    proxied   microsoft
chrome        eop-f400     1h   microsoft  no     scanner   microsoft
chrome        proofpoint6  1m   gateway    no     scanner   proofpoint
chrome        mimecast6    1m   gateway    no     scanner   mimecast
chrome        aws6         1m   -          no     scanner   -
firefox       vpn6         1h   -          yes    human     -
firefox       home6        1h   -          yes    human     -
END


# An image element never uses HEAD (Snowplow and others count it).

$truth->add('HEAD', <<'END');
# fetcher           from       age  hint   open  verdict  provider  more
chrome HEAD         home       1h   -      no    scanner  -
safari HEAD         phone      1h   -      no    scanner  -
thunderbird HEAD    home       1h   -      no    scanner  -
outlook HEAD        home       1h   -      no    scanner  -
chrome-lean HEAD    aws        5s   -      no    scanner  -
chrome HEAD         microsoft  1h   -      no    scanner  microsoft
gmail HEAD          google     1h   gmail  no    scanner  gmail
gmail HEAD          google     2s   gmail  no    scanner  gmail
yahoo HEAD          yahoo      1h   yahoo  no    scanner  yahoo
curl HEAD           home       1h   -      no    bot      -
END


# Who trusts the first X-Forwarded-For lets everybody be Gmail (Collie); who
# takes the header for a machine's loses people behind their company's proxy.

my %forged = (
    'chrome' => '91.0.7.9', 'gmail' => '66.249.84.5', 'mpp' => '172.226.110.22',
);

$truth->add('X-Forwarded-For', <<"END");
# fetcher                                  from  age  hint  open  verdict
chrome +X-Forwarded-For: $forged{chrome}   aws   5m   -  no     scanner  -
gmail +X-Forwarded-For: $forged{gmail}     aws   1h   -  maybe  bot      gmail
gmail +X-Forwarded-For: $forged{gmail}     home  1h   -  maybe  bot      gmail
mpp-lean +X-Forwarded-For: $forged{mpp}    home  1h   -  no     bot      -
chrome +X-Forwarded-For: 10.1.2.3          home  1h   -  yes    human    -
chrome +Via: 1.1 proxy.example (squid)     home  1h   -  yes    human    -
firefox +Forwarded: for=10.1.2.3           campus  1h  -  yes   human    -
outlook +Via: 1.1 proxy.example            home  1h   -  yes    human    -
gmail +X-Forwarded-For: $forged{chrome}    google  1h  -  yes   proxied  gmail
END


# "Opened within two seconds of sending is a bot" (Mautic, gogcli, Collie; Keila
# and GMass with other limits): not for proxies of providers, relays and mail
# programs, whose agents say more, and not where the clocks differ.

$truth->add('at once', <<'END');
# fetcher       from          age   hint       open   verdict   provider  more
yahoo           yahoo         1s    yahoo      yes    proxied   yahoo
safari          relay-akamai  1s    apple      yes    proxied   apple
mpp             relay-akamai  1s    apple      maybe  shielded  apple
thunderbird     home          1s    other      yes    human     -
ms-office       home          1s    microsoft  yes    human     -
gmail           google        1s    gmail      maybe  proxied   gmail
chrome          home          1s    -          maybe  human     -
chrome          vpn           1s    -          maybe  scanner   -
chrome          microsoft     1s    microsoft  maybe  scanner   microsoft
chrome          home          -30s  -          yes    human     -
gmail           google        -30s  gmail      yes    proxied   gmail
END


# A second and later look is a person's habit, not a duplicate to drop
# (Postmark and Keila keep the first open only; Warmbly and gogcli dedupe by
# token and address for an hour).

$truth->add('again', <<'END');
# fetcher       from       age  hint   open  verdict  provider  more
chrome x2       home       2h   -      yes   human    -
chrome x7       home       3d   -      yes   human    -         by:again
outlook x3      home       3d   -      yes   human    -
yahoo x5        yahoo      2d   yahoo  yes   proxied  yahoo
END


# The network of VPN and company proxies is a data center's to most lists.

$truth->add('VPN and company proxies', <<'END');
# fetcher       from         age  hint     open   verdict  provider  more
chrome          vpn          1h   -        yes    human    -
chrome          vpn-hosting  1h   -        yes    human    -
chrome          m247         1h   -        yes    human    -
chrome          zscaler      1h   gateway  yes    human    zscaler
edge            zscaler      5s   gateway  maybe  human    zscaler
firefox         AS22616      1h   gateway  yes    human    zscaler
chrome          satellite    1h   -        yes    human    -
END


# Headers that are missing or say little.

$truth->agents('ms-office' =>
    ie11 => 'Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) '
            . 'like Gecko');

$truth->add('headers', <<'END');
# fetcher                    from    age  hint  open   verdict   provider  more
chrome -Accept-Language  home  1h  -  yes  human  -  by:header.no-language
chrome -Accept-Encoding  home  1h  -  yes  human  -  by:header.no-encoding
chrome HTTP/1.0          home  1h  -  yes  human  -  by:http10
chrome                   home  1h  -  yes  human  -  by:header.image
thunderbird              home  1h  -  yes  human  -  by:header.element
chrome-lean                  home    1h   -     yes    human     -
ms-office -Accept            home    1h   -     yes    human     -
thunderbird -Accept          home    1h   -     yes    human     -
yahoo-lean                   yahoo   1h   -     yes    proxied   yahoo
# every browser sends Accept
chrome -Accept               home    1h   -     maybe  human     -
# what loads ahead of time says so: Warmbly, Matomo
chrome +Sec-Purpose: prefetch;prerender  home  1h  -  no  prefetch  -
chrome +Purpose: prefetch    home    1h   -     no     prefetch  -
firefox +X-Moz: prefetch     home    1h   -     no     prefetch  -
safari +X-Purpose: preview   home    1h   -     no     prefetch  -
# Chrome's prefetch proxy is in Google's network, and not Gmail
chrome +Sec-Purpose: prefetch;prerender  google  1h  -  no  prefetch  -
# the pixel as a page: a curious person at home, a link checker elsewhere
chrome -Sec-Fetch-Dest +Sec-Fetch-Dest: document  home  1h  -  yes  human  -
chrome-lean -Accept +Accept: text/html  home  5m  -  maybe  human  -
chrome -Sec-Fetch-Dest +Sec-Fetch-Dest: document  aws   5m  -  no  scanner  -
# a script's fetch() may be a web view's
chrome-lean +Sec-Fetch-Dest: empty  home  1h  -  yes  human  -  by:header.empty
# a webmail tab
chrome +Referer: https://mail.google.com/  home  1h  -  yes  human  -
ie11 +Accept-Language: de +Referer: https://mail.foo.example/  \
    home  1h  -  yes  human  -  by:header.webmail
# crawlers tell whom to write to
chrome +From: robot@foo.example  home  1h  -  maybe  human  -
END


# Substrings that find machines in people's programs: telephones called CUBOT,
# mail programs with "bot" or "box" or "mail" in their names, Yahoo's app, the
# word in the middle of another.

$truth->agents(chrome =>
    cubot => $android->('CUBOT A5'),
    'cubot-note' => $android->('CUBOT_NOTE_S Build/O11019'),
    blubot => $android->('Blubot'),
    scandi => $android->('Foo Scandi 5'),
    tecno => $android->('TECNO SPARK 10'),
    avast => "$chrome Avast/126.0.0.0",
    duckduckgo => "$chrome DuckDuckGo/7 Ddg/17.5",
    ie10 => 'Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.1; Trident/6.0)',
    superhuman => $electron->('Superhuman/1035.0.38'),
    spark => $electron->('SparkDesktop/3.0.30'),
    mailspring => $electron->('Mailspring/1.13.3'));

$truth->agents(thunderbird =>
    fossamail => 'Mozilla/5.0 (X11; Linux x86_64; rv:38.9) Gecko/20160505 '
                 . 'FossaMail/38.2.2',
    postbox => 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:68.0) '
               . 'Gecko/20100101 Postbox/7.0.60',
    media => 'AppleCoreMedia/1.0.0.21F90 (iPhone; U; CPU OS 17_5 like '
             . 'Mac OS X)',
    'the-bat' => 'The Bat! 9.1.18',
    superhuman1 => 'Superhuman',
    'k-9' => 'K-9 Mail for Android',
    'yahoo-app' => 'YahooMail/2018 CFNetwork/1121.2.2 Darwin/19.3.0',
    'gmail-app' => 'Android-Gmail/64562652 (sw360dp; 480dpi)',
    evolution => 'Evolution/3.52.3',
    'claws' => 'Claws Mail/4.2.0');

$truth->add('substrings', <<'END');
# fetcher       from   age  hint   open  verdict  provider  more
cubot           phone  1h   -      yes   human    -         client:chrome >=95
cubot-note      phone  1h   gmail  yes   human    -         client:chrome
blubot          phone  1h   -      yes   human    -         client:chrome
scandi          phone  1h   -      yes   human    -         client:chrome
tecno           phone  1h   -      yes   human    -         client:chrome
avast           home   1h   -      yes   human    -         client:chrome
duckduckgo      home   1h   -      yes   human    -         client:duckduckgo
ie10            home   1h   -      yes   human    -
fossamail       home   1h   -      yes   human    -         client:fossamail
postbox         home   1h   -      yes   human    -         client:postbox
the-bat         home   1h   -      yes   human    -         client:the-bat
superhuman      home   1h   -      yes   human    -         client:superhuman
superhuman1     home   1h   -      yes   human    -         client:superhuman
spark           home   1h   -      yes   human    -         client:spark
mailspring      home   1h   -      yes   human    -         client:mailspring
k-9             phone  1h   -      yes   human    -         client:k-9
evolution       home   1h   -      yes   human    -         client:evolution
claws           home   1h   -      yes   human    -         client:sylpheed
gmail-app       phone  1h   gmail  yes   human    -         client:gmail-app
yahoo-app       phone  1h   yahoo  yes   human    -         client:yahoo-app
# an app's loader that names a person's device only
media           phone  1h   -      yes   human    -         by:device
END


# Machines that trackers count: crawlers with a browser's name, previews of chat
# programs, image proxies of products without mail, libraries, an empty agent.

$truth->agents('chrome-lean' =>
    'poses-as-cubot' => $android->('CUBOT A5')
                        . ' (compatible; FooBot/1.0; +http://foo.example/)',
    locubot => 'Locubot/1.0',
    foobot => 'Mozilla/5.0 (compatible; FooBot/1.0; +http://foo.example/)',
    foocrawler => "$chrome (compatible; FooCrawler/2.1)",
    googlebot => 'Mozilla/5.0 (compatible; Googlebot/2.1; '
                 . '+http://www.google.com/bot.html)',
    applebot => "$chrome (Applebot/0.1; +http://www.apple.com/go/applebot)",
    slack => 'Slack-ImgProxy (+https://api.slack.com/robots)',
    camo => 'Camo Asset Proxy 2.3.0',
    whatsapp => 'WhatsApp/2.23.20.0',
    telegram => 'TelegramBot (like TwitterBot)',
    facebook => 'facebookexternalhit/1.1 '
                . '(+http://www.facebook.com/externalhit_uatext.php)',
    bingpreview => "$chrome BingPreview/1.0b",
    mailru => 'Mozilla/5.0 (compatible; Linux x86_64; Mail.RU_Bot/Img/2.0; '
              . '+http://go.mail.ru/help/robots)',
    research => "$chrome (research; mailto:foo\@foo.example)",
    'compatible-chrome' => 'Mozilla/5.0 (compatible; Foo/1.0; Windows NT 10.0) '
                           . 'AppleWebKit/537.36 (KHTML, like Gecko) '
                           . 'Chrome/126.0.0.0 Safari/537.36',
    'compatible-safari' => 'Mozilla/5.0 (Macintosh; compatible; Foo/1.0) '
                           . 'AppleWebKit/605.1.15 (KHTML, like Gecko) '
                           . 'Version/17.5 Safari/605.1.15',
    'compatible-firefox' => 'Mozilla/5.0 (compatible; Foo/1.0; rv:128.0) '
                            . 'Gecko/20100101 Firefox/128.0',
    headless => 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 '
                . '(KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36',
    sentinel => "$chrome Barracuda Sentinel (EE)",
    'go-http' => 'Go-http-client/1.1',
    java => 'Java/17.0.2',
    empty => '',
    frobnicator => 'Frobnicator/3.2');

$truth->add('machines', <<'END');
# fetcher            from       age  hint   open   verdict  provider  more
poses-as-cubot       phone      1h   -      no     bot      -
locubot              home       1h   -      no     bot      -
foobot               home       1h   -      no     bot      -
foocrawler           home       1h   -      no     bot      -
googlebot            googlebot  1h   gmail  no     bot      -
googlebot            google     1h   gmail  no     bot      -
applebot             apple      1h   apple  no     bot      -
slack                aws        1h   -      no     bot      -
camo                 aws        1h   -      no     bot      -
whatsapp             phone      1h   -      no     bot      -
telegram             AS62041    1h   -      no     bot      -
facebook             AS32934    1h   -      no     bot      -
bingpreview          AS8075     1h   -      no     bot      microsoft
mailru               AS47764    1h   -      no     bot      vk
# of browsers of this century only Internet Explorer is "compatible"
compatible-chrome    home       1h   -      no     bot      -
compatible-safari    home       1h   -      no     bot      -
compatible-firefox   home       1h   -      no     bot      -
research             home       1h   -      no     bot      -
headless             home       1h   -      no     bot      -
sentinel             home       1h   -      no     scanner  -
curl                 home       1h   -      no     bot      -
python               aws        1h   -      no     bot      -
go-http              hetzner    1h   -      no     bot      -
java                 home       1h   -      no     bot      -
frobnicator          home       1h   -      no     bot      -
empty                home       1h   -      no     bot      -
chrome -User-Agent   home       1h   -      no     bot      -
END


# A Google fetch for a recipient elsewhere is forwarded mail: told, and nothing
# against the person.  A hint that fits, or says nothing of a provider, is
# silent.

$truth->add('forwarded', <<'END');
# fetcher from  age  hint  open  verdict  provider  more
gmail  google  1h  microsoft  yes  proxied  gmail  >=95 by:unexpected-provider
gmail  google  1h  yahoo      yes  proxied  gmail  >=95 by:unexpected-provider
gmail  google  1h  apple      yes  proxied  gmail  >=95 by:unexpected-provider
gmail  google  1h  gmail      yes  proxied  gmail  >=95 not:unexpected-provider
gmail  google  1h  other      yes  proxied  gmail  >=95 not:unexpected-provider
gmail  google  1h  gateway    yes  proxied  gmail  >=95 not:unexpected-provider
gmail  google  1h  -          yes  proxied  gmail  >=95 not:unexpected-provider
END


$truth->add('forwarded', <<'END');
yahoo  yahoo   1h  gmail      yes  proxied  yahoo  >=99 by:unexpected-yahoo
yahoo  yahoo   1h  yahoo      yes  proxied  yahoo  >=99 not:unexpected-yahoo
yahoo  yahoo   1h  other      yes  proxied  yahoo  >=99 not:unexpected-yahoo
END


# One token from several networks within seconds is a gateway's farm, unless the
# fetcher is known to have many networks; a browser beside a scanner is mostly
# the scanner's.

$truth->add('farms', <<'END');
# fetcher  from                          age  hint   open  verdict  provider
chrome     AS64506 > AS64507             2m   -      maybe  scanner  -
chrome     AS64506 > AS64507 > AS64508   2m   -      no     scanner  -
chrome     hetzner > aws > home          2m   -      no     scanner  -
chrome     eop-40.107 > home             20s  microsoft  no  scanner  -
chrome     eop-40.107 > vpn              20s  -  no  scanner  -  by:scanned
gmail      google > google-more > google-own  1h  gmail  yes  proxied  gmail
safari     relay-akamai > relay-cloudflare  2m  -  yes     proxied  apple
safari     relay6 > relay-fastly > relay-akamai  2m  -  yes  proxied  apple
mpp        relay-akamai > relay-fastly > relay6  2m  -  maybe  shielded  apple
edge       microsoft > AS8075 > microsoft6  1h  -  yes   proxied  microsoft
yahoo      yahoo > yahoo-us > AS26101    1h  yahoo  yes    proxied  yahoo
thunderbird  home > phone                1h  other  yes    human    -
END


# The sender's own look (Mailsuite and GMass need a browser extension; one
# extension lets anybody hide opens): by the sender's address, and only there.

$truth->add('self', <<'END');
# fetcher        from    age  hint   open  verdict  provider  more
chrome           office  1h   -      no    self     -
thunderbird      office  1h   -      no    self     -
gmail            office  1h   gmail  no    self     -
gmail            google  1h   gmail  yes   proxied  gmail
chrome           home    1h   -      yes   human    -
END


$truth->check();

# "filters hide and drop" (Mautic, Warmbly, Mailchimp): all of them are there;
# run() has waited for as many entries as there were fetches

is(scalar(grep { $_->{type} eq 'open' }
          $truth->server()->redis()->entries()),
   $truth->fetched(), 'nothing is dropped, whatever the verdict');

$truth->done();
