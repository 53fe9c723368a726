
/*
 * Copyright (C) MailPing
 */


/*
 * Properties of the built-in rules over many combinations of evidence, and
 * their errors on a corpus of labelled agents.
 */

#include "fetch.h"


#define NO     (1 << MAILPING_OPEN_NO)
#define MAYBE  (1 << MAILPING_OPEN_MAYBE)
#define YES    (1 << MAILPING_OPEN_YES)

#define N_RANDOM  100000


static void test_not_yes_alone(const mailping_rules_t *rs);
static unsigned shares(const mailping_rules_t *rs, const char *agent,
    const char *addr, uint32_t asn, unsigned age);
static void test_networks(const mailping_rules_t *rs);
static void test_unexpected(const mailping_rules_t *rs);
static void test_headers_of_gmail(const mailping_rules_t *rs);
static void test_facts_suffice(const mailping_rules_t *rs);
static unsigned random_below(unsigned n);
static void random_fetch(fetch_t *fetch);
static int is(const mailping_facts_t *f, const char *name);
static const char *broken(const mailping_rules_t *rs, const fetch_t *fetch,
    const mailping_judgement_t *j);
static unsigned count_broken(const mailping_rules_t *rs);
static void test_promises(const mailping_rules_t *rs);
static unsigned json_string(const char *line, const char *key, char *dst,
    size_t size);
static void test_corpus(const mailping_rules_t *rs);


/* what a browser from these may be, whatever else a browser shows */

static const struct {
    const char  *name;
    const char  *addr;
    uint32_t     asn;
    unsigned     age;
    unsigned     opens;
} bounds[] = {
    { "hosting within ten minutes", HOME, AS_HETZNER, 599, NO },
    { "hosting after ten minutes", HOME, AS_HETZNER, 600, MAYBE },
    { "hosting after a month", HOME, AS_HETZNER, 30 * DAY, MAYBE },
    { "a hosting range within ten minutes", AWS, 0, 599, NO },
    { "a hosting range after a day", AWS, 0, DAY, MAYBE },
    { "Proofpoint within ten minutes", PROOFPOINT, 22843, 599, NO },
    { "Proofpoint after a day", PROOFPOINT, 22843, DAY, MAYBE },
    { "Fortinet within ten minutes", HOME, 40934, 599, NO },
    { "Fortinet after a day", HOME, 40934, DAY, MAYBE },
    { "EOP at once", EOP, AS_MICROSOFT, 1, NO },
    { "EOP after a day", EOP, AS_MICROSOFT, DAY, NO },
    { "EOP, no ASN database", EOP, 0, DAY, NO },
    { "AS8075 at once", MICROSOFT, AS_MICROSOFT, 5, MAYBE },
    { "AS8075 after an hour", MICROSOFT, AS_MICROSOFT, HOUR, YES },
    { "AS8075 after an hour, not listed", HOME, AS_MICROSOFT, HOUR, YES },
    { "a VPN at once", VPN, AS_M247, 5, MAYBE },
    { "a VPN after five minutes", VPN, AS_M247, 5 * MINUTE, MAYBE },
    { "a VPN after an hour", VPN, AS_M247, HOUR, YES },
    { "a VPN after an hour, no ASN database", VPN, 0, HOUR, YES },
    { "home at once", HOME, AS_HOME, 5, MAYBE },
    { "home after ten minutes", HOME, AS_HOME, 600, YES },
    { "home after a day", HOME, AS_HOME, DAY, YES },
    { "home after a day, no ASN database", HOME, 0, DAY, YES },
    { "home, sending not known, no ASN database", HOME, 0, 0, MAYBE }
};


/* the shape of what people and programs send, for test_facts_suffice() */

static const char *const  agents[] = {
    NULL, "", CHROME, SAFARI, WEBKIT, BARE, GMAIL, PREFETCH, YAHOOPROXY,
    OUTLOOK, CUBOT, FOOBOT, HEADLESS, "curl/7.88.1"
};


static const char *const  addresses[] = {
    NULL, HOME, GOOGLE, RELAY, MICROSOFT, EOP, AWS, VPN, ZSCALER, PROOFPOINT
};


static uint32_t  seed;


int
main(void)
{
    mailping_rules_t  *rs;

    rs = default_rules(NULL);

    if (rs != NULL) {
        test_not_yes_alone(rs);
        test_networks(rs);
        test_unexpected(rs);
        test_headers_of_gmail(rs);
        test_facts_suffice(rs);
        test_promises(rs);
        test_corpus(rs);
    }

    mailping_rules_destroy(rs);

    return done();
}


/*
 * A browser's agent on a network that could be a gateway's is never "yes" while
 * the time of sending is unknown, and a burst alone never makes a "no".
 */

static void
test_not_yes_alone(const mailping_rules_t *rs)
{
    size_t                i;
    unsigned              wrong;
    fetch_t               fetch;
    mailping_judgement_t  j;

    static const char *const  browsers[] = {
        CHROME, FIREFOX, SAFARI, EDGE, IPHONE, WEBKIT, CUBOT
    };

    wrong = 0;

    for (i = 0; i < sizeof(browsers) / sizeof(browsers[0]); i++) {
        memset(&fetch, 0, sizeof(fetch_t));
        fetch.agent = browsers[i];
        fetch.addr = HOME;
        fetch.headers = BROWSER_HEADERS;

        judge(rs, &fetch, &j);
        wrong += j.open != MAILPING_OPEN_MAYBE;

        fetch.age = 30;
        fetch.burst = 1000;

        judge(rs, &fetch, &j);
        wrong += j.open != MAILPING_OPEN_MAYBE;
    }

    is_int(wrong, 0, "browsers on unknown networks are \"maybe\"");
}


/*
 * The set of what a fetch is judged to be, over all values of the evidence
 * that says nothing about the class of its network.
 */

static unsigned
shares(const mailping_rules_t *rs, const char *agent, const char *addr,
    uint32_t asn, unsigned age)
{
    fetch_t               fetch;
    unsigned              opens, hint, seen, burst, known;
    mailping_judgement_t  j;

    opens = 0;

    for (hint = 0; hint < MAILPING_HINT_N; hint++) {
        for (seen = 0; seen < 4; seen++) {
            for (burst = 0; burst < 3; burst++) {
                for (known = 0; known < 3; known++) {
                    memset(&fetch, 0, sizeof(fetch_t));

                    fetch.agent = agent;
                    fetch.addr = addr;
                    fetch.asn = asn;
                    fetch.age = age;
                    fetch.hint = hint;
                    fetch.seen = seen;
                    fetch.burst = burst * 100;
                    fetch.headers = known == 0 ? NULL
                                    : known == 1 ? BROWSER_HEADERS
                                    : BROWSER_HEADERS
                                      "Referer: https://webmail.example/\n";

                    judge(rs, &fetch, &j);
                    opens |= 1 << j.open;
                }
            }
        }
    }

    return opens;
}


/* A network's class and the age decide; small evidence never tips them over. */

static void
test_networks(const mailping_rules_t *rs)
{
    size_t    i, k;
    unsigned  opens;

    static const char *const  browsers[] = { CHROME, FIREFOX, EDGE, SAFARI };

    for (i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        opens = 0;

        for (k = 0; k < sizeof(browsers) / sizeof(browsers[0]); k++) {
            opens |= shares(rs, browsers[k], bounds[i].addr, bounds[i].asn,
                            bounds[i].age);
        }

        is_int(opens, bounds[i].opens, "%s", bounds[i].name);
    }
}


/* Forwarded mail is worth a reason, and changes nothing else. */

static void
test_unexpected(const mailping_rules_t *rs)
{
    size_t                i, k, len;
    fetch_t               fetch;
    uint8_t               reasons[MAILPING_REASONS_MAX + 1];
    unsigned              changed, found, expected;
    mailping_judgement_t  plain, j;

    static const unsigned  ages[] = { 0, 2, 20, MINUTE, HOUR, DAY };

    changed = 0;

    for (i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
        memset(&fetch, 0, sizeof(fetch_t));
        fetch.agent = GMAIL;
        fetch.addr = GOOGLE;
        fetch.asn = AS_GOOGLE;
        fetch.age = ages[i];

        judge(rs, &fetch, &plain);

        for (k = MAILPING_HINT_UNKNOWN; k < MAILPING_HINT_N; k++) {
            fetch.hint = (unsigned) k;

            judge(rs, &fetch, &j);

            len = mailping_classify_reasons(rs, &j, reasons);
            reasons[len] = '\0';

            found = strstr((char *) reasons, "unexpected-provider") != NULL;
            expected = k == MAILPING_HINT_MICROSOFT || k == MAILPING_HINT_APPLE
                       || k == MAILPING_HINT_YAHOO;

            is_int(found, expected, "hint %s after %u s",
                   mailping_hint_name((unsigned) k), ages[i]);

            changed += j.person != plain.person || j.open != plain.open
                       || j.verdict != plain.verdict
                       || j.provider.len != plain.provider.len;
        }
    }

    is_int(changed, 0, "a hint changes no judgement of gmail's proxy");
}


/* Rules on headers that are absent do not apply to Google's proxy. */

static void
test_headers_of_gmail(const mailping_rules_t *rs)
{
    fetch_t               fetch;
    mailping_judgement_t  unknown, four;

    memset(&fetch, 0, sizeof(fetch_t));
    fetch.agent = GMAIL;
    fetch.addr = GOOGLE;
    fetch.age = HOUR;

    judge(rs, &fetch, &unknown);

    fetch.headers = GMAIL_HEADERS;
    judge(rs, &fetch, &four);

    ok(memcmp(unknown.probability, four.probability,
              sizeof(four.probability)) == 0,
       "four headers are no evidence against gmail's proxy");
}


/*
 * What an event keeps is enough to judge again: facts that are written and read
 * back give the same judgement, for all combinations of the evidence above.
 */

static void
test_facts_suffice(const mailping_rules_t *rs)
{
    size_t                a, b, i, len, longest;
    fetch_t               fetch;
    uint8_t               text[MAILPING_FACTS_TEXT_MAX];
    unsigned              wrong, cases;
    mailping_str_t        s;
    mailping_facts_t      f, again;
    mailping_judgement_t  j, k;

    static const unsigned  ages[] = { 0, 2, 20, 5 * MINUTE, HOUR };
    static const uint32_t  asns[] = { 0, AS_NONE, AS_HETZNER, AS_MICROSOFT };

    wrong = 0;
    cases = 0;
    longest = 0;

    for (a = 0; a < sizeof(agents) / sizeof(agents[0]); a++) {
        for (b = 0; b < sizeof(addresses) / sizeof(addresses[0]); b++) {
            for (i = 0; i < 20; i++) {
                memset(&fetch, 0, sizeof(fetch_t));

                fetch.agent = agents[a];
                fetch.addr = addresses[b];
                fetch.age = ages[i % 5];
                fetch.asn = addresses[b] != NULL ? asns[i / 5] : 0;
                fetch.headers = i % 2 ? BROWSER_HEADERS : NULL;
                fetch.hint = (unsigned) (i % MAILPING_HINT_N);
                fetch.head = i == 7;

                evidence(rs, &fetch, &f);
                mailping_classify(rs, &f, &j, NULL, NULL);

                len = mailping_facts_write(&f, text);
                longest = len > longest ? len : longest;

                s.data = text;
                s.len = len;

                if (mailping_facts_read(rs, &again, s) != MAILPING_OK) {
                    wrong++;
                    continue;
                }

                mailping_classify(rs, &again, &k, NULL, NULL);

                wrong += j.open != k.open || j.verdict != k.verdict
                         || j.person != k.person || j.ncounted != k.ncounted;
                cases++;
            }
        }
    }

    printf("# %u judgements again, at most %zu bytes of facts\n", cases,
           longest);
    ok(cases > 1000, "there are cases");
    is_int(wrong, 0, "stored facts are enough to judge again");
}


/* the low bits of such a generator repeat soon */

static unsigned
random_below(unsigned n)
{
    seed = seed * 1664525 + 1013904223;

    return (seed >> 16) % n;
}


/* Any evidence beside any other, however unlikely. */

static void
random_fetch(fetch_t *fetch)
{
    unsigned  i;

    static const unsigned  ages[] = {
        0, 1, 5, 9, 10, 29, 30, 59, MINUTE, 599, 600, HOUR, DAY
    };

    static const uint32_t  asns[] = {
        0, AS_NONE, AS_HOME, AS_GOOGLE, AS_MICROSOFT, AS_HETZNER, AS_M247,
        AS_RELAY, 13335, 22616, 22843
    };

    static const char *const  lines[] = {
        NULL, NO_HEADERS, GMAIL_HEADERS, BROWSER_HEADERS, "Accept: */*\n",
        "Accept: text/html\nSec-Fetch-Dest: document\n",
        BROWSER_HEADERS "Referer: https://mail.example/\n",
        BROWSER_HEADERS "From: bot@example.com\n",
        BROWSER_HEADERS "Sec-Purpose: prefetch\n"
    };

    memset(fetch, 0, sizeof(fetch_t));

    fetch->agent = agents[random_below(sizeof(agents) / sizeof(agents[0]))];

    i = random_below(sizeof(addresses) / sizeof(addresses[0]));
    fetch->addr = addresses[i];

    if (fetch->addr != NULL) {
        fetch->asn = asns[random_below(sizeof(asns) / sizeof(asns[0]))];
    }

    fetch->age = ages[random_below(sizeof(ages) / sizeof(ages[0]))];
    fetch->headers = lines[random_below(sizeof(lines) / sizeof(lines[0]))];
    fetch->seen = random_below(4);
    fetch->burst = random_below(3) * 50;
    fetch->hint = random_below(MAILPING_HINT_N);
    fetch->http = random_below(4) == 0 ? 10 : 11;
    fetch->head = random_below(8) == 0;
    fetch->self = random_below(16) == 0;
}


static int
is(const mailping_facts_t *f, const char *name)
{
    int  n;

    n = mailping_facts_number(str(name));

    if (n < 0) {
        ok(0, "\"%s\" is published", name);
        return 0;
    }

    return mailping_facts_get(f, (unsigned) n) == 1;
}


/* What the rules promise of a fetch, and this judgement does not keep. */

static const char *
broken(const mailping_rules_t *rs, const fetch_t *fetch,
    const mailping_judgement_t *j)
{
    int               browser;
    mailping_facts_t  f;

    evidence(rs, fetch, &f);

    if (fetch->self) {
        return j->open != MAILPING_OPEN_NO
               || j->verdict != MAILPING_VERDICT_SELF ? "self" : NULL;
    }

    if (is(&f, "agent:bare")
        && (is(&f, "network:apple-relay") || is(&f, "asn:apple-relay")))
    {
        return j->open != MAILPING_OPEN_MAYBE
               || j->verdict != MAILPING_VERDICT_SHIELDED ? "shielded" : NULL;
    }

    if (fetch->agent == NULL && fetch->addr == NULL) {
        return j->verdict != MAILPING_VERDICT_UNKNOWN ? "no evidence" : NULL;
    }

    if (j->open == MAILPING_OPEN_YES) {

        if (fetch->head) {
            return "HEAD is no person's";
        }

        if (is(&f, "header:prefetch") && !is(&f, "agent:mail-proxy")) {
            return "a prefetch that says so";
        }

        if (is(&f, "agent:gmail-proxy")
            && (is(&f, "age<10s")
                || (fetch->addr != NULL && !is(&f, "network:google")
                    && !is(&f, "asn:google"))))
        {
            return "gmail's agent early or from elsewhere";
        }

        if (is(&f, "agent:gmail-prefetch") || is(&f, "agent:library")
            || is(&f, "agent:headless") || is(&f, "agent:none")
            || is(&f, "agent:bare")
            || (is(&f, "agent:url") && !is(&f, "agent:mail-proxy")))
        {
            return "a machine's agent";
        }
    }

    browser = is(&f, "agent:browser") && !is(&f, "agent:mail-client")
              && !is(&f, "agent:mail-proxy") && !is(&f, "agent:gmail-prefetch")
              && !is(&f, "agent:headless") && !is(&f, "agent:url");

    if (!browser) {
        return NULL;
    }

    if (j->open == MAILPING_OPEN_YES) {

        if (is(&f, "network:eop")) {
            return "a filter's network";
        }

        if ((is(&f, "network:gateway") || is(&f, "network:hosting"))
            && !is(&f, "asn:microsoft"))
        {
            return "a browser from a gateway or hosting";
        }

        if (fetch->age == 0
            && (fetch->addr == NULL || strcmp(fetch->addr, HOME) == 0)
            && (fetch->asn == 0 || fetch->asn == AS_NONE))
        {
            return "neither sending nor the network known";
        }
    }

    if (j->open == MAILPING_OPEN_NO && !fetch->head && !is(&f, "header:from")
        && !is(&f, "header:prefetch") && !is(&f, "header:!accept")
        && !is(&f, "header:document"))
    {
        if ((is(&f, "network:relay") || is(&f, "network:vpn"))
            && !is(&f, "asn:gateway") && !is(&f, "asn:microsoft"))
        {
            return "a browser from a relay or VPN";
        }

        if (fetch->addr != NULL && strcmp(fetch->addr, HOME) == 0
            && !is(&f, "asn:hosting") && !is(&f, "asn:gateway")
            && !(is(&f, "hint:gateway") && is(&f, "age<1m")))
        {
            return "a browser at home";
        }
    }

    return NULL;
}


/* How many of random fetches, always the same, break a promise. */

static unsigned
count_broken(const mailping_rules_t *rs)
{
    fetch_t               fetch;
    unsigned              i, wrong;
    const char           *promise;
    mailping_judgement_t  j;

    seed = 1;
    wrong = 0;

    for (i = 0; i < N_RANDOM; i++) {
        random_fetch(&fetch);
        judge(rs, &fetch, &j);

        promise = broken(rs, &fetch, &j);

        if (promise != NULL && wrong++ == 0) {
            printf("# %s: person %d, agent %s, address %s, AS %u, age %u\n",
                   promise, j.person,
                   fetch.agent != NULL ? fetch.agent : "unknown",
                   fetch.addr != NULL ? fetch.addr : "unknown", fetch.asn,
                   fetch.age);
        }
    }

    return wrong;
}


/* Promises hold whatever else is known, not only in the cases of the tables. */

static void
test_promises(const mailping_rules_t *rs)
{
    size_t             i;
    unsigned           wrong;
    mailping_rules_t  *more;

    static const char *const  mistakes[] = {
        "rule microsoft.web network microsoft proxied+17,human-10 "
            "agent:browser asn:microsoft\n",
        "rule header.no-language headers - bot+6,scanner+3 "
            "header:!accept-language agent:browser\n"
    };

    is_int(count_broken(rs), 0, "promises hold for random fetches");

    for (i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        more = default_rules(mistakes[i]);

        if (more != NULL) {
            wrong = count_broken(more);
            ok(wrong > 0, "a mistake breaks %u", wrong);
        }

        mailping_rules_destroy(more);
    }
}


/*
 * The string value of a key of a JSON line, its escapes resolved as far as the
 * corpus has them.  Returns 0 when there is none.
 */

static unsigned
json_string(const char *line, const char *key, char *dst, size_t size)
{
    char         name[32];
    size_t       n;
    unsigned     code;
    const char  *p;

    snprintf(name, sizeof(name), "\"%s\": \"", key);

    p = strstr(line, name);
    if (p == NULL) {
        return 0;
    }

    n = 0;

    for (p += strlen(name); *p != '"' && *p != '\0' && n + 1 < size; p++) {

        if (*p != '\\') {
            dst[n++] = *p;
            continue;
        }

        p++;

        if (*p == 'u' && sscanf(p + 1, "%4x", &code) == 1) {
            dst[n++] = code < 0x80 ? (char) code : '?';
            p += 4;
            continue;
        }

        dst[n++] = *p == 'n' || *p == 't' ? ' ' : *p;
    }

    dst[n] = '\0';

    return 1;
}


/*
 * Agents only, everything else unknown, on a corpus of labelled agents.  It is
 * made of fixtures, one string a product, so that shares are a floor for what
 * happens in traffic, where machines are fewer and browsers newer.
 */

static void
test_corpus(const mailping_rules_t *rs)
{
    int                   i;
    FILE                 *file;
    char                  path[512], label[32];
    double                machines, share;
    fetch_t               fetch;
    unsigned              counts[5][MAILPING_OPENS], total[5];
    const char           *shared;
    mailping_judgement_t  j;

    static char  line[16384], agent[8192];

    static const char *const  labels[] = {
        "bot", "scanner", "browser", "mail_client", "proxy_open"
    };

    shared = getenv("MAILPING_SHARED");

    snprintf(path, sizeof(path), "%s/data/corpus/ua-dev.jsonl",
             shared != NULL ? shared : "../shared");

    file = fopen(path, "rb");

    if (file == NULL) {
        ok(1, "agents only # SKIP no corpus");
        return;
    }

    memset(counts, 0, sizeof(counts));
    memset(total, 0, sizeof(total));

    while (fgets(line, sizeof(line), file) != NULL) {

        if (!json_string(line, "ua", agent, sizeof(agent))
            || !json_string(line, "label", label, sizeof(label)))
        {
            continue;
        }

        for (i = 0; i < 5 && strcmp(label, labels[i]) != 0; i++) {
            /* void */
        }

        if (i == 5) {
            continue;
        }

        memset(&fetch, 0, sizeof(fetch_t));
        fetch.agent = agent;

        judge(rs, &fetch, &j);

        counts[i][j.open]++;
        total[i]++;
    }

    fclose(file);

    for (i = 0; i < 5; i++) {
        printf("# %-11s %5u: no %5.2f %%, maybe %5.2f %%, yes %5.2f %%\n",
               labels[i], total[i],
               100.0 * counts[i][MAILPING_OPEN_NO] / (total[i] + !total[i]),
               100.0 * counts[i][MAILPING_OPEN_MAYBE] / (total[i] + !total[i]),
               100.0 * counts[i][MAILPING_OPEN_YES] / (total[i] + !total[i]));
    }

    machines = total[0] + total[1];

    ok(machines > 1000 && total[2] > 1000 && total[3] > 100 && total[4] > 0,
       "the corpus has all kinds");

    share = 100 * (counts[0][MAILPING_OPEN_NO] + counts[1][MAILPING_OPEN_NO])
            / machines;
    ok(share >= 97, "%.2f %% of machines are \"no\"", share);

    share = 100.0 * counts[2][MAILPING_OPEN_NO] / total[2];
    ok(share <= 0.3, "%.2f %% of browsers are \"no\"", share);

    is_int(counts[3][MAILPING_OPEN_NO], 0, "no mail program is \"no\"");
    is_int(counts[4][MAILPING_OPEN_NO], 0, "no mail proxy is \"no\"");
}
