
/*
 * Copyright (C) MailPing
 */


/*
 * The built-in rules: what each fetcher of the field is judged to be.  Every
 * line of the list at the end of design section 5, of the truth table of mail
 * proxies and of the worst mistakes of other trackers is a case.
 */

#include "fetch.h"


#define RULES_MAX  256


typedef struct {
    const char  *name;
    fetch_t      fetch;
    const char  *expected;         /* "open verdict provider client" */
} verdict_case_t;


typedef struct {
    const char  *agent;
    const char  *client;
} client_case_t;


static void test_published(const mailping_rules_t *rs);
static void test_verdicts(const mailping_rules_t *rs);
static void test_clients(const mailping_rules_t *rs);
static void test_bounds(const mailping_rules_t *rs);
static void test_control(void);


static const verdict_case_t  verdicts[] = {

    /* Gmail */

    { "gmail an hour after sending",
      { .agent = GMAIL, .addr = GOOGLE, .asn = AS_GOOGLE, .age = HOUR,
        .headers = GMAIL_HEADERS },
      "yes proxied gmail gmail" },
    { "gmail, nothing known but agent and address",
      { .agent = GMAIL, .addr = GOOGLE }, "yes proxied gmail gmail" },
    { "gmail over IPv6",
      { .agent = GMAIL, .addr = GOOGLE6, .age = HOUR },
      "yes proxied gmail gmail" },
    { "gmail from the rest of Google's network",
      { .agent = GMAIL, .addr = GOOGLE_OWN, .asn = AS_GOOGLE, .age = HOUR },
      "yes proxied gmail gmail" },
    { "gmail from a network of AS15169 that is not listed",
      { .agent = GMAIL, .addr = HOME, .asn = AS_GOOGLE, .age = HOUR },
      "yes proxied gmail gmail" },
    { "gmail two seconds after sending is about even",
      { .agent = GMAIL, .addr = GOOGLE, .asn = AS_GOOGLE, .age = 2,
        .headers = GMAIL_HEADERS },
      "maybe proxied gmail gmail" },
    { "gmail half a minute after sending",
      { .agent = GMAIL, .addr = GOOGLE, .asn = AS_GOOGLE, .age = 30 },
      "yes proxied gmail gmail" },
    { "gmail's agent from another network",
      { .agent = GMAIL, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "maybe bot gmail gmail" },
    { "gmail's agent from another network, no ASN database",
      { .agent = GMAIL, .addr = HOME, .age = HOUR }, "maybe bot gmail gmail" },
    { "gmail's agent from a customer of Google Cloud",
      { .agent = GMAIL, .addr = GOOGLE_CLOUD, .asn = 396982, .age = HOUR },
      "maybe bot gmail gmail" },
    { "gmail's agent from hosting soon after sending",
      { .agent = GMAIL, .addr = HOME, .asn = AS_HETZNER, .age = MINUTE },
      "maybe bot gmail gmail" },
    { "gmail's prefetch",
      { .agent = PREFETCH, .addr = GOOGLE, .asn = AS_GOOGLE, .age = 20 },
      "no prefetch gmail gmail" },
    { "gmail's prefetch a day later",
      { .agent = PREFETCH, .addr = GOOGLE, .asn = AS_GOOGLE, .age = DAY },
      "no prefetch gmail gmail" },
    { "the real Edge 12 is a browser",
      { .agent = EDGE12, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - edge" },
    { "gmail's agent from Azure",
      { .agent = GMAIL, .addr = MICROSOFT, .asn = AS_MICROSOFT, .age = HOUR },
      "maybe bot gmail gmail" },
    { "gmail's agent from the relay",
      { .agent = GMAIL, .addr = RELAY, .asn = AS_RELAY, .age = HOUR },
      "maybe bot gmail gmail" },
    { "many readers at once behind gmail's proxy",
      { .agent = GMAIL, .addr = GOOGLE, .asn = AS_GOOGLE, .age = 40,
        .burst = 50 },
      "yes proxied gmail gmail" },

    /* Apple */

    { "bare agent from the relay",
      { .agent = BARE, .addr = RELAY, .asn = AS_RELAY, .age = HOUR },
      "maybe shielded apple -" },
    { "bare agent from the relay over IPv6",
      { .agent = BARE, .addr = RELAY6 }, "maybe shielded apple -" },
    { "bare agent from a range of the relay that is not listed yet",
      { .agent = BARE, .addr = HOME, .asn = AS_RELAY, .age = HOUR },
      "maybe shielded apple -" },
    { "bare agent from elsewhere at Cloudflare is not Apple",
      { .agent = BARE, .addr = HOME, .asn = 13335, .age = HOUR },
      "no bot - -" },
    { "bare agent from elsewhere is not Apple",
      { .agent = BARE, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - -" },
    { "bare agent from Apple's own network is not the mail proxy",
      { .agent = BARE, .addr = APPLE_OWN, .asn = 714, .age = HOUR },
      "no bot - -" },
    { "bare agent, address not known",
      { .agent = BARE, .age = HOUR }, "maybe unknown - -" },
    { "Safari from the relay",
      { .agent = SAFARI, .addr = RELAY, .asn = AS_RELAY, .age = HOUR },
      "yes proxied apple safari" },
    { "Safari from the relay, five seconds after sending",
      { .agent = SAFARI, .addr = RELAY, .asn = AS_RELAY, .age = 5 },
      "yes proxied apple safari" },
    { "a phone's Safari from the relay, nothing else known",
      { .agent = IPHONE, .addr = RELAY6 }, "yes proxied apple safari" },
    { "Safari through Cloudflare's part of the relay",
      { .agent = SAFARI, .addr = RELAY, .asn = 13335, .age = 5, .burst = 20 },
      "yes proxied apple safari" },
    { "the engine's agent from the relay is disputed",
      { .agent = WEBKIT, .addr = RELAY, .asn = AS_RELAY, .age = HOUR },
      "maybe prefetch apple apple-mail" },
    { "Apple Mail at home is not shielded",
      { .agent = WEBKIT, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - apple-mail" },
    { "Apple Mail 24 minutes after sending, no ASN database",
      { .agent = WEBKIT, .addr = HOME, .age = 24 * MINUTE },
      "yes human - apple-mail" },
    { "Apple Mail's own loader",
      { .agent = "Mail/3826.500.181.1.5 CFNetwork/3826.500.111 Darwin/24.4.0",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - apple-mail" },

    /* Yahoo and other proxies that name themselves */

    { "yahoo",
      { .agent = YAHOOPROXY, .addr = YAHOO, .asn = 34010, .age = HOUR },
      "yes proxied yahoo yahoo" },
    { "yahoo five seconds after sending",
      { .agent = YAHOOPROXY, .addr = YAHOO, .asn = 34010, .age = 5,
        .headers = NO_HEADERS },
      "yes proxied yahoo yahoo" },
    { "yahoo's agent from hosting, no ASN database",
      { .agent = YAHOOPROXY, .addr = AWS, .age = HOUR },
      "maybe proxied yahoo yahoo" },
    { "yahoo's agent from elsewhere",
      { .agent = YAHOOPROXY, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "maybe proxied yahoo yahoo" },
    { "fastmail",
      { .agent = "FastmailUA/1.0", .addr = "202.12.124.9", .age = HOUR },
      "yes proxied fastmail fastmail" },
    { "a browser from Fastmail's server",
      { .agent = CHROME, .addr = "202.12.124.9", .asn = 151847, .age = HOUR,
        .headers = NO_HEADERS },
      "yes proxied fastmail chrome" },
    { "hey",
      { .agent = "hey.com/imageproxy Mozilla/5.0 (X11; Linux x86_64) Chrome/99",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes proxied hey hey" },
    { "seznam",
      { .agent = "Mozilla/5.0 SeznamEmailProxy/3.1", .addr = HOME,
        .age = HOUR },
      "yes proxied seznam seznam" },
    { "rambler",
      { .agent = "RamblerMail/6.0 (incompatible; ImageProxy/6.0)",
        .addr = HOME, .age = HOUR },
      "yes proxied rambler rambler" },
    { "Proton preloads and shows alike",
      { .agent = CHROME, .addr = "185.70.40.9", .asn = 62371, .age = 20 },
      "maybe proxied proton chrome" },

    /* Microsoft */

    { "Outlook on the web after an hour",
      { .agent = EDGE, .addr = MICROSOFT, .asn = AS_MICROSOFT, .age = HOUR },
      "yes proxied microsoft edge" },
    { "Outlook on the web after an hour, no ASN database",
      { .agent = CHROME, .addr = MICROSOFT, .age = HOUR },
      "yes proxied microsoft chrome" },
    { "Outlook on the web from a range that is not listed",
      { .agent = CHROME, .addr = HOME, .asn = AS_MICROSOFT, .age = HOUR },
      "yes proxied microsoft chrome" },
    { "a browser from AS8075 after five seconds",
      { .agent = CHROME, .addr = MICROSOFT, .asn = AS_MICROSOFT, .age = 5 },
      "maybe scanner microsoft chrome" },
    { "a browser from AS8075 after five minutes",
      { .agent = CHROME, .addr = MICROSOFT, .asn = AS_MICROSOFT,
        .age = 5 * MINUTE },
      "yes proxied microsoft chrome" },
    { "a browser from AS8075, sending not known",
      { .agent = CHROME, .addr = MICROSOFT, .asn = AS_MICROSOFT },
      "maybe proxied microsoft chrome" },
    { "many tokens at once from AS8075 are no evidence",
      { .agent = CHROME, .addr = MICROSOFT, .asn = AS_MICROSOFT, .age = 5,
        .burst = 50 },
      "maybe scanner microsoft chrome" },
    { "Exchange Online Protection",
      { .agent = CHROME, .addr = EOP, .asn = AS_MICROSOFT, .age = 5 },
      "no scanner microsoft chrome" },
    { "Exchange Online Protection days later",
      { .agent = EDGE, .addr = EOP, .asn = AS_MICROSOFT, .age = 3 * DAY },
      "no scanner microsoft edge" },
    { "Exchange Online Protection, only the address known",
      { .agent = CHROME, .addr = EOP6 }, "no scanner microsoft chrome" },
    { "Outlook on a desktop",
      { .agent = OUTLOOK, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = NO_HEADERS },
      "yes human - outlook" },
    { "Outlook on a desktop, five seconds after sending, no ASN database",
      { .agent = OUTLOOK, .addr = HOME, .age = 5 }, "yes human - outlook" },
    { "Outlook's Word renderer",
      { .agent = MSOFFICE, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - outlook" },
    { "Office looks whether a link exists",
      { .agent = "Microsoft Office Existence Discovery", .addr = HOME,
        .asn = AS_HOME, .age = HOUR },
      "no bot microsoft -" },

    /* hosting */

    { "a browser from hosting after five minutes",
      { .agent = CHROME, .addr = HOME, .asn = AS_HETZNER, .age = 5 * MINUTE,
        .headers = BROWSER_HEADERS },
      "no scanner - chrome" },
    { "a browser from hosting after five seconds",
      { .agent = CHROME, .addr = AWS, .asn = 16509, .age = 5 },
      "no scanner - chrome" },
    { "a browser from hosting after an hour (isolation, virtual desktop)",
      { .agent = CHROME, .addr = HOME, .asn = AS_HETZNER, .age = HOUR },
      "maybe human - chrome" },
    { "a browser from hosting days later",
      { .agent = CHROME, .addr = HOME, .asn = AS_HETZNER, .age = 5 * DAY,
        .headers = BROWSER_HEADERS, .seen = 4 },
      "maybe human - chrome" },
    { "a browser from hosting, sending not known",
      { .agent = CHROME, .addr = HOME, .asn = AS_HETZNER },
      "maybe scanner - chrome" },
    { "a browser from a hosting range, no ASN database",
      { .agent = CHROME, .addr = AWS, .age = 5 * MINUTE },
      "no scanner - chrome" },
    { "a browser from a hosting range later, no ASN database",
      { .agent = CHROME, .addr = AWS, .age = HOUR }, "maybe human - chrome" },
    { "a mail program on a virtual desktop",
      { .agent = OUTLOOK, .addr = AWS, .asn = 16509, .age = HOUR },
      "yes human - outlook" },

    /* VPN and relays lie inside the lists of hosting */

    { "a browser from a VPN early",
      { .agent = CHROME, .addr = VPN, .asn = AS_M247, .age = 5 },
      "maybe scanner - chrome" },
    { "a browser from a VPN after five minutes",
      { .agent = CHROME, .addr = VPN, .asn = AS_M247, .age = 5 * MINUTE },
      "maybe human - chrome" },
    { "a browser from a VPN later",
      { .agent = CHROME, .addr = VPN, .asn = AS_M247, .age = HOUR },
      "yes human - chrome" },
    { "a browser from a VPN range in a hosting network later",
      { .agent = CHROME, .addr = VPN, .asn = AS_HETZNER, .age = HOUR },
      "yes human - chrome" },
    { "a browser from a VPN later, no ASN database",
      { .agent = FIREFOX, .addr = VPN, .age = HOUR }, "yes human - firefox" },
    { "a browser from a VPN's network that is not listed, early",
      { .agent = CHROME, .addr = HOME, .asn = AS_M247, .age = MINUTE },
      "maybe human - chrome" },
    { "a browser from a company's proxy early",
      { .agent = CHROME, .addr = ZSCALER, .asn = 22616, .age = 5,
        .burst = 30 },
      "maybe human zscaler chrome" },
    { "a browser from a company's proxy later",
      { .agent = CHROME, .addr = ZSCALER, .asn = 22616, .age = HOUR },
      "yes human zscaler chrome" },

    /* access networks */

    { "a browser at home after an hour",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = BROWSER_HEADERS },
      "yes human - chrome" },
    { "a browser at home after an hour, no headers known",
      { .agent = FIREFOX, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - firefox" },
    { "a browser at home after five minutes",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = 5 * MINUTE },
      "yes human - chrome" },
    { "a browser at home after five seconds",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = 5 },
      "maybe human - chrome" },
    { "a browser at home, sending not known",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME },
      "yes human - chrome" },
    { "a browser by satellite",
      { .agent = CHROME, .addr = "14.1.64.9", .asn = AS_STARLINK,
        .age = HOUR },
      "yes human - chrome" },
    { "a browser, no ASN database, sending not known: perhaps a gateway",
      { .agent = CHROME, .addr = HOME }, "maybe human - chrome" },
    { "a browser, no ASN database, after five minutes",
      { .agent = CHROME, .addr = HOME, .age = 5 * MINUTE },
      "maybe human - chrome" },
    { "a browser, no ASN database, after an hour",
      { .agent = CHROME, .addr = HOME, .age = HOUR }, "yes human - chrome" },
    { "a newsletter read at nine behind one address",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = 20 * MINUTE,
        .burst = 50 },
      "yes human - chrome" },
    { "a burst within the first minute",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = 30,
        .burst = 50 },
      "maybe scanner - chrome" },
    { "a burst within the first minute, nothing known of the network",
      { .agent = CHROME, .addr = HOME, .age = 30, .burst = 50 },
      "maybe scanner - chrome" },
    { "a burst, sending not known",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .burst = 50 },
      "yes human - chrome" },

    /* gateways */

    { "Proofpoint after a minute",
      { .agent = CHROME, .addr = PROOFPOINT, .asn = 22843, .age = MINUTE },
      "no scanner proofpoint chrome" },
    { "Proofpoint after five seconds, no ASN database",
      { .agent = SAFARI, .addr = PROOFPOINT, .age = 5 },
      "no scanner proofpoint safari" },
    { "Proofpoint from a range that is not listed",
      { .agent = CHROME, .addr = HOME, .asn = 26211, .age = MINUTE },
      "no scanner proofpoint chrome" },
    { "Proofpoint days later (browser isolation)",
      { .agent = CHROME, .addr = PROOFPOINT, .asn = 22843, .age = 3 * DAY },
      "maybe scanner proofpoint chrome" },
    { "Proofpoint, sending not known",
      { .agent = CHROME, .addr = PROOFPOINT, .asn = 22843 },
      "maybe scanner proofpoint chrome" },
    { "Mimecast",
      { .agent = CHROME, .addr = "41.74.203.5", .asn = 39588, .age = MINUTE },
      "no scanner mimecast chrome" },
    { "Cisco",
      { .agent = CHROME, .addr = "23.90.96.1", .asn = 16417, .age = MINUTE },
      "no scanner cisco chrome" },
    { "Barracuda's egress within AWS",
      { .agent = CHROME, .addr = "3.24.133.130", .asn = 16509, .age = MINUTE },
      "no scanner barracuda chrome" },
    { "Barracuda names itself",
      { .agent = CHROME " Barracuda Sentinel (EE)", .addr = HOME,
        .asn = AS_HOME, .age = HOUR },
      "no scanner - chrome" },
    { "Symantec",
      { .agent = CHROME, .addr = "130.119.2.1", .asn = 26282, .age = MINUTE },
      "no scanner symantec chrome" },
    { "Trend Micro",
      { .agent = CHROME, .addr = "150.70.0.1", .asn = 16880, .age = MINUTE },
      "no scanner trendmicro chrome" },
    { "Forcepoint",
      { .agent = CHROME, .addr = "157.167.1.1", .asn = 13448, .age = MINUTE },
      "no scanner forcepoint chrome" },
    { "Fortinet",
      { .agent = CHROME, .addr = "12.34.97.1", .asn = 40934, .age = MINUTE },
      "no scanner fortinet chrome" },
    { "a person of Fortinet's company, later",
      { .agent = CHROME, .addr = "12.34.97.1", .asn = 40934, .age = DAY },
      "maybe scanner fortinet chrome" },

    /* networks that other trackers' lists take for gateways */

    { "AS60067 is not Mimecast",
      { .agent = CHROME, .addr = HOME, .asn = 60067, .age = 5 * MINUTE },
      "yes human - chrome" },
    { "AS19740 is not Barracuda",
      { .agent = CHROME, .addr = HOME, .asn = 19740, .age = 5 * MINUTE },
      "yes human - chrome" },
    { "AS395747 is not Abnormal Security but Cloudflare",
      { .agent = CHROME, .addr = HOME, .asn = 395747, .age = HOUR },
      "yes human - chrome" },
    { "AS21345 is not Cisco but Symantec",
      { .agent = CHROME, .addr = HOME, .asn = 21345, .age = MINUTE },
      "no scanner symantec chrome" },

    /* mail programs */

    { "Thunderbird",
      { .agent = THUNDERBIRD, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - thunderbird" },
    { "Thunderbird, nothing else known",
      { .agent = THUNDERBIRD }, "yes human - thunderbird" },
    { "Thunderbird with few headers over HTTP/1.0",
      { .agent = THUNDERBIRD, .addr = HOME, .age = HOUR, .http = 10,
        .headers = NO_HEADERS },
      "yes human - thunderbird" },
    { "Gmail's app fetching itself",
      { .agent = "Android-Gmail/64562652 (sw360dp; 480dpi)", .addr = HOME,
        .asn = AS_HOME, .age = HOUR },
      "yes human - gmail-app" },
    { "Yahoo's app is not Yahoo's proxy",
      { .agent = "YahooMail/2018 CFNetwork/1121.2.2 Darwin/19.3.0",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - yahoo-app" },

    /* programs */

    { "curl",
      { .agent = "curl/7.88.1", .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = "Accept: */*\n" },
      "no bot - -" },
    { "python-requests, nothing else known",
      { .agent = "python-requests/2.31.0" }, "no bot - -" },
    { "an empty agent",
      { .agent = "", .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - -" },
    { "a crawler that nobody listed",
      { .agent = FOOBOT, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - -" },
    { "a crawler with a browser's name",
      { .agent = CHROME " (compatible; FooCrawler/2.1)", .addr = HOME,
        .asn = AS_HOME, .age = HOUR },
      "no bot - chrome" },
    { "a crawler from Google's network is not Gmail",
      { .agent = "Mozilla/5.0 (compatible; Googlebot/2.1; "
                 "+http://www.google.com/bot.html)",
        .addr = "66.249.66.1", .asn = AS_GOOGLE, .age = HOUR },
      "no bot - -" },
    { "Applebot",
      { .agent = SAFARI " (Applebot/0.1)", .addr = APPLE_OWN, .asn = 714,
        .age = HOUR },
      "no bot - safari" },
    { "Slack's image proxy is a forwarded pixel",
      { .agent = "Slack-ImgProxy (+https://api.slack.com/robots)",
        .addr = AWS, .asn = 16509, .age = HOUR },
      "no bot - -" },
    { "a name that nobody listed",
      { .agent = "Frobnicator/3.2", .addr = HOME, .asn = AS_HOME,
        .age = HOUR },
      "no bot - -" },
    { "a browser that a program drives",
      { .agent = HEADLESS, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - chrome" },
    { "a crawler with a browser's name from Azure",
      { .agent = CHROME " (compatible; FooBot/2.1)", .addr = MICROSOFT,
        .asn = AS_MICROSOFT, .age = HOUR },
      "no bot microsoft chrome" },
    { "a crawler with Safari's name from the relay",
      { .agent = SAFARI " FooBot/2.1", .addr = RELAY, .asn = AS_RELAY,
        .age = HOUR },
      "no bot - safari" },
    { "a crawler that loads images as a browser does",
      { .agent = CHROME " FooBot/2.1", .addr = HOME, .asn = AS_HOME,
        .age = HOUR, .headers = BROWSER_HEADERS },
      "no bot - chrome" },
    { "a browser with an address to write to",
      { .agent = FIREFOX " (research; mailto:foo@foo.example)", .addr = HOME,
        .asn = AS_HOME, .age = HOUR },
      "no bot - firefox" },
    { "a remark within the engine's parenthesis",
      { .agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
                 "(KHTML, like Gecko; Foo/1.0) Chrome/126.0.0.0 Safari/537.36",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - chrome" },
    { "Chrome is not compatible",
      { .agent = "Mozilla/5.0 (compatible; Foo/1.0; Windows NT 10.0) "
                 "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
                 "Safari/537.36",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - chrome" },
    { "Internet Explorer is",
      { .agent = "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.1; "
                 "Trident/6.0)", .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - internet-explorer" },
    { "a name that ends in scan, and a telephone that does not",
      { .agent = "foo-scan/1.0", .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no scanner - -" },
    { "a telephone whose name begins with scan",
      { .agent = "Mozilla/5.0 (Linux; Android 13; Foo Scandi 5) "
                 "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
                 "Mobile Safari/537.36",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - chrome" },
    { "a crawler whose name ends in cubot is no telephone",
      { .agent = "Locubot/1.0", .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - -" },
    { "Yahoo's cache, as disputed",
      { .agent = "YahooCacheSystem/2", .addr = HOME, .asn = AS_HOME,
        .age = HOUR },
      "no bot yahoo -" },
    { "UKR.net's proxy, as disputed",
      { .agent = CHROME " (via foo.example - mail.ukr.net proxy)",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "maybe proxied ukrnet chrome" },

    /* networks that say little */

    { "a browser from a doubtful hosting network soon after sending",
      { .agent = CHROME, .addr = HOME, .asn = 6939, .age = 5 * MINUTE },
      "maybe human - chrome" },
    { "a browser from a doubtful hosting network later",
      { .agent = CHROME, .addr = HOME, .asn = 6939, .age = HOUR },
      "yes human - chrome" },
    { "a browser from Defender's range soon after sending",
      { .agent = CHROME, .addr = "57.155.170.9", .asn = AS_MICROSOFT,
        .age = 5 },
      "maybe scanner microsoft chrome" },
    { "a browser from Defender's range later",
      { .agent = CHROME, .addr = "57.155.170.9", .asn = AS_MICROSOFT,
        .age = DAY },
      "yes proxied microsoft chrome" },
    { "a browser in Apple's offices",
      { .agent = SAFARI, .addr = APPLE_OWN, .asn = 714, .age = HOUR },
      "yes human - safari" },
    { "a browser from a company with a mailbox service",
      { .agent = CHROME, .addr = HOME, .asn = 23576, .age = HOUR },
      "yes human naver chrome" },

    { "CUBOT is a telephone",
      { .agent = CUBOT, .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "yes human - chrome" },
    { "a crawler that poses as CUBOT's telephone",
      { .agent = CUBOT " (compatible; FooBot/1.0; +http://foo.example/)",
        .addr = HOME, .asn = AS_HOME, .age = HOUR },
      "no bot - chrome" },
    { "CUBOT's telephone, sending and network not known",
      { .agent = CUBOT }, "maybe human - chrome" },

    /* requests */

    { "HEAD from a browser",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .head = 1 },
      "no scanner - chrome" },
    { "HEAD from a mail program",
      { .agent = THUNDERBIRD, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .head = 1 },
      "no scanner - thunderbird" },
    { "HEAD with gmail's agent",
      { .agent = GMAIL, .addr = GOOGLE, .asn = AS_GOOGLE, .age = HOUR,
        .head = 1 },
      "no scanner gmail gmail" },
    { "Sec-Purpose",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = BROWSER_HEADERS "Sec-Purpose: prefetch;prerender\n" },
      "no prefetch - chrome" },
    { "Purpose",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = BROWSER_HEADERS "Purpose: prefetch\n" },
      "no prefetch - chrome" },
    { "X-Moz",
      { .agent = FIREFOX, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = BROWSER_HEADERS "X-Moz: prefetch\n" },
      "no prefetch - firefox" },
    { "X-Purpose",
      { .agent = SAFARI, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = BROWSER_HEADERS "X-Purpose: preview\n" },
      "no prefetch - safari" },
    { "another purpose",
      { .agent = SAFARI, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = BROWSER_HEADERS "X-Purpose: none\n" },
      "yes human - safari" },
    { "a browser that sends no Accept",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = NO_HEADERS },
      "maybe human - chrome" },
    { "a script's fetch",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = 5 * MINUTE,
        .headers = "Accept: */*\nAccept-Language: de\n"
                   "Accept-Encoding: gzip\nSec-Fetch-Dest: empty\n" },
      "yes human - chrome" },
    { "a browser that takes no compressed answer",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = "Accept: */*\nAccept-Language: de\n" },
      "yes human - chrome" },
    { "a From header",
      { .agent = CHROME, .addr = HOME, .asn = AS_HOME, .age = HOUR,
        .headers = BROWSER_HEADERS "From: robot@example.com\n" },
      "maybe human - chrome" },
    { "the sender's own fetch",
      { .agent = GMAIL, .addr = GOOGLE, .age = HOUR, .self = 1 },
      "no self - gmail" },
    { "the sender's own fetch through the relay",
      { .agent = BARE, .addr = RELAY, .self = 1 }, "no self - -" },

    /* nothing to judge by */

    { "neither agent nor network known",
      { .age = HOUR }, "maybe unknown - -" },
    { "neither agent nor network known, soon after sending, in a burst",
      { .age = 1, .burst = 50, .seen = 1 }, "maybe unknown - -" },
    { "a home network, agent not known",
      { .addr = HOME, .asn = AS_HOME, .age = HOUR }, "maybe unknown - -" },
    { "a browser, nothing else known",
      { .agent = CHROME }, "maybe human - chrome" },
    { "a browser whose network has no number",
      { .agent = CHROME, .addr = HOME, .asn = AS_NONE, .age = HOUR },
      "yes human - chrome" },
    { "a browser whose network has no number, sending not known",
      { .agent = CHROME, .addr = "10.1.2.3", .asn = AS_NONE },
      "maybe human - chrome" },
    { "Chrome from the relay is not the relay's Safari",
      { .agent = CHROME, .addr = RELAY, .asn = AS_RELAY, .age = 5 },
      "maybe proxied apple chrome" },
    { "Chrome from the relay, an hour after sending",
      { .agent = CHROME, .addr = RELAY, .asn = AS_RELAY, .age = HOUR },
      "yes proxied apple chrome" }
};


static const client_case_t  clients[] = {
    { EDGE, "edge" },
    { CHROME " OPR/110.0.0.0", "opera" },
    { "Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.16", "opera" },
    { "Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-S911B) AppleWebKit/537.36 "
      "(KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile "
      "Safari/537.36", "samsung-browser" },
    { CHROME " YaBrowser/24.6.0", "yandex-browser" },
    { CHROME " Vivaldi/6.8", "vivaldi" },
    { IPHONE, "safari" },
    { "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
      "AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 "
      "Safari/604.1", "chrome" },
    { "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
      "AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 "
      "Safari/605.1.15", "firefox" },
    { "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
      "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", "apple-mail" },
    { "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
      "(KHTML, like Gecko) Mobile/15E148 Outlook-iOS/2.0", "outlook-mobile" },
    { "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UP1A; wv) "
      "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0.0.0 "
      "Mobile Safari/537.36", "webview" },
    { "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.1; Trident/6.0)",
      "internet-explorer" },
    { EDGE " OneOutlook/1.2025.516.400", "outlook" },
    { "MacOutlook/16.38.20061401 (Intelx64 Mac OS X 10.15.6 (19G2021))",
      "outlook" },
    { "Outlook-Express/7.0 (MSIE 7.0; Windows NT 6.1; Trident/7.0)",
      "windows-live-mail" },
    { "Superhuman", "superhuman" },
    { "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 "
      "(KHTML, like Gecko) Superhuman/1035.0.38 Chrome/120.0.6099.291 "
      "Electron/28.3.3 Safari/537.36", "superhuman" },
    { "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 "
      "(KHTML, like Gecko) SparkDesktop/3.0.30 Chrome/102.0.5005.63 "
      "Electron/19.0.4 Safari/537.36", "spark" }
};


int
main(void)
{
    mailping_rules_t  *rs;

    rs = default_rules(NULL);

    if (rs != NULL) {
        test_published(rs);
        test_verdicts(rs);
        test_clients(rs);
        test_bounds(rs);
        test_control();
    }

    mailping_rules_destroy(rs);

    return done();
}


/* The published facts and those of the built-in rules are the same. */

static void
test_published(const mailping_rules_t *rs)
{
    unsigned     i, n, wrong;
    const char  *name, *published;

    wrong = 0;

    for (i = 0, n = mailping_rules_facts(rs); i < n; i++) {
        name = mailping_rules_fact_name(rs, i);
        published = mailping_facts_name(i);

        if (name == NULL && published == NULL) {
            continue;
        }

        if (name == NULL || published == NULL || strcmp(name, published) != 0)
        {
            printf("# fact %u is \"%s\" in the rules, \"%s\" published\n", i,
                   name != NULL ? name : "",
                   published != NULL ? published : "");
            wrong++;
        }
    }

    is_int(wrong, 0, "the facts of the rules are the published ones");
}


static void
test_verdicts(const mailping_rules_t *rs)
{
    size_t                 i, len;
    uint8_t                reasons[MAILPING_REASONS_MAX];
    const char            *text;
    mailping_judgement_t   j;

    for (i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        text = shown(rs, &verdicts[i].fetch, &j);

        if (!is_str(text, strlen(text), verdicts[i].expected, "%s",
                    verdicts[i].name))
        {
            len = mailping_classify_reasons(rs, &j, reasons);
            printf("#   person %d: %.*s\n", j.person, (int) len, reasons);
        }
    }
}


static void
test_clients(const mailping_rules_t *rs)
{
    size_t            i;
    fetch_t           fetch;
    mailping_facts_t  f;

    for (i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        memset(&fetch, 0, sizeof(fetch_t));
        fetch.agent = clients[i].agent;

        evidence(rs, &fetch, &f);
        is_str(f.client.data, f.client.len, clients[i].client,
               "client %s", clients[i].client);
    }
}


/* The bounds of the rule set: weights, names, how much is built in. */

static void
test_bounds(const mailping_rules_t *rs)
{
    size_t                size;
    unsigned              i, k, n, heavy, nameless;
    mailping_str_t        text;
    mailping_rule_info_t  info;

    static const char *const  files[] = {
        "apple-relay.txt", "vpn.txt", "hosting.txt", "microsoft.txt"
    };

    heavy = 0;
    nameless = 0;

    n = mailping_rules_count(rs);

    for (i = 0; i < n; i++) {
        mailping_rules_info(rs, i, &info);

        nameless += info.name.len == 0;

        for (k = 0; k < MAILPING_CLASSES; k++) {
            heavy += info.weight[k] > 30 || info.weight[k] < -30;
        }
    }

    ok(n > 50 && n < RULES_MAX, "%u rules", n);
    is_int(heavy, 0, "no weight above 30");
    is_int(nameless, 0, "every rule has a name");

    size = 0;

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (mailping_builtin_file(str(files[i]), &text) == MAILPING_OK) {
            size += text.len;
        }
    }

    ok(size > 100000 && size < 1024 * 1024, "the lists have %zu bytes", size);
}


/* The cases above can fail: with wrong rules many of them do. */

static void
test_control(void)
{
    size_t                 i;
    unsigned               wrong;
    const char            *text;
    mailping_rules_t      *rs;
    mailping_judgement_t   j;

    rs = default_rules("rule eop network - human+30 network:eop\n"
                       "rule browser agent - scanner+30 agent:browser\n");
    if (rs == NULL) {
        return;
    }

    wrong = 0;

    for (i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        text = shown(rs, &verdicts[i].fetch, &j);
        wrong += strcmp(text, verdicts[i].expected) != 0;
    }

    ok(wrong > 10, "wrong rules make %u cases fail", wrong);

    mailping_rules_destroy(rs);
}
