
/*
 * Copyright (C) MailPing
 */


/*
 * Evidence becomes facts: true, false, or unknown until it is reported; the
 * stored facts survive the way through their text.
 */

#include "core/condition.h"
#include "core/facts.h"
#include "core/mask.h"
#include "core/published.h"
#include "core/token.h"
#include "str.h"
#include "tap.h"


static const char  rules[] =
    "network  net    192.0.2.0/24 2001:db8::/32\n"
    "network  inner  192.0.2.128/25\n"
    "network  twin   192.0.2.128/25\n"
    "asn      few    64496 AS64498\n"
    "asn      more   64498 64498 AS64498\n"
    "agent    tool   \"curl/\" ^\"wget\"\n"
    "agent    none   =\"\"\n"
    "client   bird   \"Bird/\"\n"
    "client   fox    \"Fox/\"\n"
    "header   pre    purpose~\"Prefetch\" X-Exact=\"Yes\" x-there\n"
    "header   other  purpose\n"
    "rule a time - bot+1 age<10s age<1500ms seen<3 burst>=5 method:head\n"
    "rule b time - bot+1 http:0.9 !http:1.0 http:1.1 http:2 http:3 self\n"
    "rule c time - bot+1 hint:gmail hint:yahoo header:!accept header:!x-there"
    "\n";


static mailping_rules_t  *rs;
static mailping_facts_t   f;


static mailping_rules_t *compile(const char *one, const char *two);
static int fact(const char *name);
static void header(const char *name, const char *value);
static void address(const char *text);
static void test_unknown(void);
static void test_agent(void);
static void test_client(void);
static void test_network(void);
static void test_headers(void);
static void test_values(void);
static void test_text(void);
static void test_published(void);


int
main(void)
{
    rs = compile(rules, NULL);

    test_unknown();
    test_agent();
    test_client();
    test_network();
    test_headers();
    test_values();
    test_text();
    test_published();

    mailping_rules_destroy(rs);

    return done();
}


static mailping_rules_t *
compile(const char *one, const char *two)
{
    mailping_rules_t        *new;
    mailping_rules_error_t   err;

    new = mailping_rules_create();

    if (mailping_rules_parse(new, "one", str(one), NULL, NULL, &err)
        != MAILPING_OK
        || (two != NULL
            && mailping_rules_parse(new, "two", str(two), NULL, NULL, &err)
               != MAILPING_OK)
        || mailping_rules_compile(new, &err) != MAILPING_OK)
    {
        printf("Bail out! %u:%u: %s\n", err.line, err.column, err.text);
        exit(1);
    }

    return new;
}


/* 1, 0, -1, or -2 when there is no such fact */

static int
fact(const char *name)
{
    unsigned     i;
    const char  *other;

    for (i = 0; i < mailping_rules_facts(rs); i++) {
        other = mailping_rules_fact_name(rs, i);

        if (other != NULL && strcmp(other, name) == 0) {
            return mailping_facts_get(&f, i);
        }
    }

    return -2;
}


static void
header(const char *name, const char *value)
{
    mailping_facts_header(rs, &f, str(name), str(value));
}


static void
address(const char *text)
{
    uint8_t  addr[16];

    mailping_facts_init(rs, &f);
    is_int(mailping_mask_parse(str(text), addr), MAILPING_OK, "%s", text);
    mailping_facts_address(rs, &f, addr);
}


static void
test_unknown(void)
{
    unsigned  i, wrong;

    mailping_facts_init(rs, &f);

    wrong = 0;

    for (i = 0; i < MAILPING_FACTS_MAX + 1; i++) {
        wrong += mailping_facts_get(&f, i) != -1;
    }

    is_int(wrong, 0, "nothing is known at first");

    mailping_facts_age(rs, &f, -1);
    mailping_facts_hint(rs, &f, MAILPING_HINT_UNKNOWN);
    is_int(fact("age<10s"), -1, "a negative age is unknown");
    is_int(fact("hint:gmail"), -1, "so is an unknown hint");
    is_int(f.client.len, 0, "no client");
}


static void
test_agent(void)
{
    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str("Mozilla CURL/8"));
    is_int(fact("agent:tool"), 1, "a pattern");
    is_int(fact("agent:none"), 0, "not empty");
    is_int(fact("client:bird"), 0, "no client");
    is_int(f.client.len, 0, "and none named");
    is_int(fact("network:net"), -1, "nothing about the network");

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str("a wget"));
    is_int(fact("agent:tool"), 0, "not at the begin");

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, (mailping_str_t) mailping_null_string);
    is_int(fact("agent:none"), 1, "no agent at all");
    is_int(fact("agent:tool"), 0, "is not unknown");
}


static void
test_client(void)
{
    mailping_rules_t  *first;

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str("Fox/1 Bird/2"));
    is_int(fact("client:bird"), 1, "the earlier statement wins");
    is_int(fact("client:fox"), 0, "and no other client is true");
    is_str(f.client.data, f.client.len, "bird", "it names the client");

    first = rs;
    rs = compile(rules, "client other \"Zebra\"\nclient fox \"Fox/1\"\n");

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str("Fox/1 Bird/2"));
    is_str(f.client.data, f.client.len, "fox", "a later file goes first");

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str("Fox/2 Bird/2"));
    is_str(f.client.data, f.client.len, "bird",
           "with its own pattern only");

    mailping_rules_destroy(rs);
    rs = first;
}


static void
test_network(void)
{
    address("192.0.2.1");
    is_int(fact("network:net"), 1, "in the set");
    is_int(fact("network:inner"), 0, "not in the other");
    is_int(fact("asn:few"), -1, "the AS is unknown");

    address("::ffff:192.0.2.129");
    is_int(fact("network:net"), 0, "a longer prefix counts alone");
    is_int(fact("network:inner"), 1, "for its set");
    is_int(fact("network:twin"), 1, "and for the other that lists it");

    address("2001:db8:ffff::");
    is_int(fact("network:net"), 1, "IPv6");

    address("198.51.100.1");
    is_int(fact("network:net"), 0, "in no set");

    mailping_facts_asn(rs, &f, 64496);
    is_int(fact("asn:few"), 1, "an AS number");
    is_int(fact("asn:more"), 0, "not in the other set");

    mailping_facts_init(rs, &f);
    mailping_facts_asn(rs, &f, 64498);
    is_int(fact("asn:few"), 1, "in two sets");
    is_int(fact("asn:more"), 1, "in both of them");

    mailping_facts_init(rs, &f);
    mailping_facts_asn(rs, &f, 0);
    is_int(fact("asn:few"), -1, "no AS is unknown");
    is_int(fact("network:net"), -1, "and says nothing about networks");
}


static void
test_headers(void)
{
    size_t  i;

    static const struct {
        const char  *name;
        const char  *value;
        int          pre;
        int          other;
    } cases[] = {
        { "Purpose", "x;PREFETCH", 1, 1 },
        { "PURPOSE", "prefetc", 0, 1 },
        { "purpose", "", 0, 1 },
        { "purpos", "prefetch", 0, 0 },
        { "x-exact", "Yes", 1, 0 },
        { "x-exact", "yes", 0, 0 },
        { "x-exact", "Yes ", 0, 0 },
        { "X-There", "", 1, 0 },
        { "", "", 0, 0 },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "prefetch", 0, 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mailping_facts_init(rs, &f);
        mailping_facts_headers(rs, &f);
        header(cases[i].name, cases[i].value);

        is_int(fact("header:pre"), cases[i].pre, "%s: %s", cases[i].name,
               cases[i].value);
        is_int(fact("header:other"), cases[i].other, "presence");
    }

    mailping_facts_init(rs, &f);
    is_int(fact("header:!accept"), -1, "headers unknown");

    mailping_facts_headers(rs, &f);
    is_int(fact("header:!accept"), 1, "no header so far");
    is_int(fact("header:pre"), 0, "no set so far");

    header("ACCEPT", "*/*");
    is_int(fact("header:!accept"), 0, "there is the header");
    is_int(fact("header:!x-there"), 1, "but not the other");

    header("Purpose", "prefetch");
    header("Purpose", "none");
    is_int(fact("header:pre"), 1, "one of two is enough");
}


static void
test_values(void)
{
    mailping_facts_init(rs, &f);
    mailping_facts_age(rs, &f, 1499);
    is_int(fact("age<1500ms"), 1, "1499 ms");

    mailping_facts_init(rs, &f);
    mailping_facts_age(rs, &f, 1500);
    is_int(fact("age<1500ms"), 0, "1500 ms");
    is_int(fact("age<10s"), 1, "less than ten seconds");

    mailping_facts_init(rs, &f);
    mailping_facts_age(rs, &f, INT64_MAX);
    is_int(fact("age<10s"), 0, "for ever");

    mailping_facts_init(rs, &f);
    mailping_facts_seen(rs, &f, 2);
    mailping_facts_burst(rs, &f, 5);
    is_int(fact("seen<3"), 1, "seen 2");
    is_int(fact("burst>=5"), 1, "burst 5");

    mailping_facts_init(rs, &f);
    mailping_facts_seen(rs, &f, 3);
    mailping_facts_burst(rs, &f, 4);
    is_int(fact("seen<3"), 0, "seen 3");
    is_int(fact("burst>=5"), 0, "burst 4");

    mailping_facts_method(rs, &f, 0);
    is_int(fact("method:head"), 0, "GET");
    mailping_facts_method(rs, &f, 1);
    is_int(fact("method:head"), 1, "HEAD");

    mailping_facts_http(rs, &f, 20);
    is_int(fact("http:2"), 1, "HTTP/2");
    is_int(fact("http:1.0"), 0, "is not 1.0");
    is_int(fact("http:3"), 0, "nor 3");

    mailping_facts_hint(rs, &f, MAILPING_HINT_YAHOO);
    is_int(fact("hint:yahoo"), 1, "the hint");
    is_int(fact("hint:gmail"), 0, "is not the other");

    mailping_facts_self(rs, &f, 0);
    is_int(fact("self"), 0, "not the sender");
    mailping_facts_self(rs, &f, 1);
    is_int(fact("self"), 1, "the sender");
}


static void
test_text(void)
{
    size_t            i, len;
    uint8_t           text[MAILPING_FACTS_TEXT_MAX];
    unsigned          n, k, wrong;
    uint32_t          seed;
    mailping_str_t    s;
    mailping_facts_t  back;

    static const char *const  bad[] = {
        "", ".", "1", "1.", ".1", "0.0", "g.1", "1.G", "A.80", "01.80",
        "1.080", "1.80.1", " 1.80", "1.80 ", "80.80", "100.80", "1.81",
        "0.10000000000000000000000000000000000000000000000000000000000000000",
    };

    seed = 5;
    wrong = 0;
    n = 0;

    for (k = 0; k < 500; k++) {
        mailping_facts_init(rs, &f);

        for (i = 0; i < f.stored; i++) {
            seed = seed * 1664525 + 1013904223;

            if (seed >> 30 != 0) {
                f.unknown[i / 64] &= ~((uint64_t) 1 << i % 64);
                f.is[i / 64] |= (uint64_t) (seed >> 29 & 1) << i % 64;
            }
        }

        s.data = text;
        s.len = mailping_facts_write(&f, text);
        n += (unsigned) s.len;

        wrong += mailping_facts_read(rs, &back, s) != MAILPING_OK;

        for (i = 0; i < MAILPING_FACTS_MAX; i++) {
            wrong += mailping_facts_get(&f, (unsigned) i)
                     != mailping_facts_get(&back, (unsigned) i);
        }
    }

    is_int(wrong, 0, "facts written and read are the same");
    ok(n > 0, "%u bytes on average", n / k);

    /* everything known, nothing true: what is left marks the end */

    mailping_facts_init(rs, &f);
    memset(f.unknown, 0, sizeof(f.unknown));
    len = mailping_facts_write(&f, text);
    is_int(text[0], '0', "nothing is true");
    is_int(text[1], '.', "in one digit");
    is_int(len, 2 + f.stored / 4 + 1, "the first number that is free");

    s.data = text;
    s.len = len;
    is_int(mailping_facts_read(rs, &back, s), MAILPING_OK, "is read");
    is_int(mailping_facts_get(&back, f.stored - 1), 0, "known before it");
    is_int(mailping_facts_get(&back, f.stored), -1, "unknown from it on");
    is_int(mailping_facts_get(&back, 254), -1, "to the end");

    /* a text of an earlier version, which had four facts */

    is_int(mailping_facts_read(rs, &back, str("5.12")), MAILPING_OK,
           "an earlier text");
    is_int(mailping_facts_get(&back, 0), 1, "true");
    is_int(mailping_facts_get(&back, 1), -1, "unknown");
    is_int(mailping_facts_get(&back, 3), 0, "false");
    is_int(mailping_facts_get(&back, 5), -1, "not thought of then");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is_int(mailping_facts_read(rs, &back, str(bad[i])), MAILPING_ERROR,
               "no text of facts: \"%s\"", bad[i]);
    }

    memset(f.unknown, 0xff, sizeof(f.unknown));
    f.stored = MAILPING_FACTS_STORED - 1;
    len = mailping_facts_write(&f, text);
    ok(len <= MAILPING_FACTS_TEXT_MAX, "the longest text has %zu bytes", len);
}


static void
test_published(void)
{
    char                  name[MAILPING_FACT_NAME_MAX];
    unsigned              i, n, wrong;
    mailping_condition_t  c;

    n = 0;
    wrong = 0;

    for (i = 0; i < MAILPING_FACTS_STORED; i++) {

        if (mailping_facts_name(i) == NULL) {
            continue;
        }

        n++;

        if (mailping_condition_parse(str(mailping_facts_name(i)), &c)
            != MAILPING_OK || c.negated)
        {
            wrong++;
            printf("# %s is no fact\n", mailping_facts_name(i));
            continue;
        }

        mailping_condition_name(&c, name);

        if (strcmp(name, mailping_facts_name(i)) != 0) {
            wrong++;
            printf("# %s should be %s\n", mailping_facts_name(i), name);
        }

        wrong += mailping_facts_number(str(name)) != (int) i;
    }

    ok(n > 0, "%u published facts", n);
    is_int(wrong, 0, "with canonical names, each once");
    ok(mailping_published_facts[MAILPING_FACTS_STORED - 1] == NULL,
       "the last number stays free");
    is_int(mailping_facts_number(str("no such fact")), MAILPING_ERROR,
           "no number");
    ok(mailping_facts_name(MAILPING_FACTS_STORED) == NULL, "no name");
}
