
/*
 * Copyright (C) MailPing
 */


/*
 * A fetch as evidence, and the built-in rules to judge it by, for the tests of
 * these rules.
 */

#ifndef MAILPING_FETCH_H
#define MAILPING_FETCH_H


#include "str.h"
#include "tap.h"

#include "core/builtin.h"
#include "core/classify.h"
#include "core/facts.h"
#include "core/mask.h"
#include "core/token.h"


/* ages in seconds; 0 stands for "not known" */

#define MINUTE     60
#define HOUR       3600
#define DAY        86400

/* autonomous systems; 0 stands for "no database" */

#define AS_NONE       UINT32_MAX      /* the database has none */
#define AS_HOME       64500           /* documentation, RFC 5398 */
#define AS_GOOGLE     15169
#define AS_MICROSOFT  8075
#define AS_HETZNER    24940
#define AS_M247       9009
#define AS_RELAY      36183
#define AS_STARLINK   14593

/* addresses within the networks that the names say */

#define HOME          "203.0.113.7"
#define GOOGLE        "66.249.84.5"
#define GOOGLE6       "2001:4860:4801:4008::1"
#define GOOGLE_OWN    "108.177.2.32"
#define GOOGLE_CLOUD  "35.192.0.9"
#define RELAY         "104.28.28.5"
#define RELAY6        "2606:54c0::5"
#define APPLE_OWN     "17.58.0.9"
#define MICROSOFT     "20.33.1.1"
#define EOP           "40.92.1.1"
#define EOP6          "2a01:111:f400::5"
#define AWS           "3.5.0.1"
#define VPN           "2.26.164.9"
#define ZSCALER       "8.25.203.5"
#define YAHOO         "46.228.33.1"
#define PROOFPOINT    "66.159.227.5"

/* agents */

#define FIREFOX                                                               \
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
#define CHROME                                                                \
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "           \
    "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
#define EDGE  CHROME " Edg/126.0.0.0"
#define WEBKIT                                                                \
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "   \
    "(KHTML, like Gecko)"
#define SAFARI  WEBKIT " Version/17.5 Safari/605.1.15"
#define IPHONE                                                                \
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "                 \
    "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "                  \
    "Mobile/15E148 Safari/604.1"
#define BARE  "Mozilla/5.0"
#define GMAIL                                                                 \
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 "               \
    "(via ggpht.com GoogleImageProxy)"
#define PREFETCH                                                              \
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "           \
    "(KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 "     \
    "Mozilla/5.0"
#define EDGE12                                                                \
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "           \
    "(KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246"
#define YAHOOPROXY                                                            \
    "YahooMailProxy; "                                                        \
    "https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
#define OUTLOOK                                                               \
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17928; "  \
    "Pro)"
#define MSOFFICE  "Mozilla/4.0 (compatible; ms-office; MSOffice 16)"
#define THUNDERBIRD                                                           \
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 "               \
    "Thunderbird/128.2.0"
#define CUBOT                                                                 \
    "Mozilla/5.0 (Linux; Android 8.1.0; CUBOT A5) AppleWebKit/537.36 "        \
    "(KHTML, like Gecko) Chrome/74.0.3729.157 Mobile Safari/537.36"
#define FOOBOT  "Mozilla/5.0 (compatible; FooBot/1.0; +http://foo.example/)"
#define HEADLESS                                                              \
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " \
    "HeadlessChrome/126.0.0.0 Safari/537.36"

/* headers besides Host: what Gmail's proxy, a browser and a script send */

#define GMAIL_HEADERS    "Connection: close\nAccept-Encoding: gzip,deflate,br\n"
#define BROWSER_HEADERS                                                       \
    "Accept: image/avif,image/webp,*/*\nAccept-Language: de\n"                \
    "Accept-Encoding: gzip, deflate, br\nSec-Fetch-Dest: image\n"             \
    "Sec-Fetch-Mode: no-cors\n"
#define NO_HEADERS       "Connection: close\n"


/* a fetch; what is NULL or 0 is not known, but method GET and HTTP/1.1 are */

typedef struct {
    const char  *agent;
    const char  *addr;
    uint32_t     asn;
    unsigned     age;              /* seconds */
    const char  *headers;
    unsigned     seen;
    unsigned     burst;
    unsigned     hint;
    unsigned     http;
    unsigned     head;
    unsigned     self;
} fetch_t;


static inline mailping_rules_t *default_rules(const char *more);
static inline void headers(const mailping_rules_t *rs, const char *text,
    mailping_facts_t *f);
static inline void evidence(const mailping_rules_t *rs, const fetch_t *fetch,
    mailping_facts_t *f);
static inline void judge(const mailping_rules_t *rs, const fetch_t *fetch,
    mailping_judgement_t *j);
static inline const char *shown(const mailping_rules_t *rs,
    const fetch_t *fetch, mailping_judgement_t *j);


/* The built-in rules, and more on top of them when it is not NULL. */

static inline mailping_rules_t *
default_rules(const char *more)
{
    mailping_rules_t        *rs;
    mailping_rules_error_t   err;

    memset(&err, 0, sizeof(mailping_rules_error_t));

    rs = mailping_rules_create();

    if (!ok(rs != NULL
            && mailping_builtin_rules(rs, &err) == MAILPING_OK
            && (more == NULL
                || mailping_rules_parse(rs, "more", str(more), NULL, NULL, &err)
                   == MAILPING_OK)
            && mailping_rules_compile(rs, &err) == MAILPING_OK,
            "the built-in rules compile%s", more != NULL ? " with more" : ""))
    {
        printf("# %s:%u:%u: %s\n", err.file, err.line, err.column, err.text);
        mailping_rules_destroy(rs);
        return NULL;
    }

    return rs;
}


static inline void
evidence(const mailping_rules_t *rs, const fetch_t *fetch,
    mailping_facts_t *f)
{
    uint8_t  addr[16];

    mailping_facts_init(rs, f);

    mailping_facts_method(rs, f, (int) fetch->head);
    mailping_facts_http(rs, f, fetch->http != 0 ? fetch->http : 11);
    mailping_facts_self(rs, f, (int) fetch->self);

    if (fetch->agent != NULL) {
        mailping_facts_agent(rs, f, str(fetch->agent));
    }

    if (fetch->addr != NULL) {

        if (mailping_mask_parse(str(fetch->addr), addr) != MAILPING_OK) {
            ok(0, "\"%s\" is an address", fetch->addr);
            return;
        }

        mailping_facts_address(rs, f, addr);
    }

    if (fetch->asn != 0) {
        mailping_facts_asn(rs, f, fetch->asn != AS_NONE ? fetch->asn : 0);
    }

    if (fetch->age != 0) {
        mailping_facts_age(rs, f, (int64_t) fetch->age * 1000);
    }

    if (fetch->seen != 0) {
        mailping_facts_seen(rs, f, fetch->seen);
    }

    if (fetch->burst != 0) {
        mailping_facts_burst(rs, f, fetch->burst);
    }

    if (fetch->hint != MAILPING_HINT_UNKNOWN) {
        mailping_facts_hint(rs, f, fetch->hint);
    }

    if (fetch->headers != NULL) {
        headers(rs, fetch->headers, f);
    }
}


static inline void
headers(const mailping_rules_t *rs, const char *text, mailping_facts_t *f)
{
    const char      *colon, *end;
    mailping_str_t   name, value;

    mailping_facts_headers(rs, f);
    mailping_facts_header(rs, f, str("Host"), str("t.example.com"));

    while ((end = strchr(text, '\n')) != NULL) {
        colon = strchr(text, ':');

        name.data = (const uint8_t *) text;
        name.len = (size_t) (colon - text);
        value.data = (const uint8_t *) colon + 2;
        value.len = (size_t) (end - colon - 2);

        mailping_facts_header(rs, f, name, value);

        text = end + 1;
    }
}


static inline void
judge(const mailping_rules_t *rs, const fetch_t *fetch,
    mailping_judgement_t *j)
{
    mailping_facts_t  f;

    evidence(rs, fetch, &f);
    mailping_classify(rs, &f, j, NULL, NULL);
}


/* "open verdict provider client" of a fetch */

static inline const char *
shown(const mailping_rules_t *rs, const fetch_t *fetch,
    mailping_judgement_t *j)
{
    mailping_facts_t  f;

    static char  text[256];

    evidence(rs, fetch, &f);
    mailping_classify(rs, &f, j, NULL, NULL);

    snprintf(text, sizeof(text), "%s %s %.*s %.*s",
             mailping_open_name(j->open), mailping_verdict_name(j->verdict),
             j->provider.len != 0 ? (int) j->provider.len : 1,
             j->provider.len != 0 ? (const char *) j->provider.data : "-",
             f.client.len != 0 ? (int) f.client.len : 1,
             f.client.len != 0 ? (const char *) f.client.data : "-");

    return text;
}


#endif /* MAILPING_FETCH_H */
