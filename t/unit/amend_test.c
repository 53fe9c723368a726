
/*
 * Copyright (C) MailPing
 */


/*
 * A later fetch corrects the judgement of an earlier one: which evidence does,
 * how long after, how often; and a fetch that no later one can correct need
 * not be remembered.
 */

#include "core/amend.h"
#include "fetch.h"


#define START   1700000000000ULL
#define SECOND  1000

#define TOKEN    1
#define NETWORK  7


static const char  rules_text[] =
    "agent browser \"Firefox\"\n"
    "rule browser agent   - human+6    agent:browser\n"
    "rule few     history - scanner+7  burst>=3\n"
    "rule burst   history - scanner+20 burst>=5\n"
    "rule farm    history - scanner+20 farm>=3\n"
    "rule agents  history - scanner+20 agents>=2\n"
    "rule scanned history - scanner+20 scanned\n"
    "rule quick   history - scanner+20 quick>=70\n"
    "rule again   history - bot+30     !seen<3\n"
    "rule first   history - proxied+1  seen<2\n"
    "prior - human+0,proxied+0,prefetch-10,scanner-3,bot-10\n";


static mailping_rules_t     *rs;
static mailping_recent_t     r;
static mailping_later_t      later;
static mailping_judgement_t  j;


static mailping_rules_t *compile(const char *text);
static const mailping_past_t *past_of(unsigned seen, unsigned sure,
    unsigned burst, unsigned farm, int quick, unsigned scanned);
static void remember(const mailping_past_t *past);
static void come(uint64_t token, uint64_t network, int64_t after);
static const char *amended(void);
static int fact(const mailping_facts_t *f, const char *name);
static void test_facts(void);
static void test_evidence(void);
static void test_windows(void);
static void test_strangers(void);
static void test_once(void);
static void test_grows(void);
static void test_rules(void);
static void test_possible(void);
static uint32_t random_below(uint32_t n);
static unsigned changes(const mailping_facts_t *f, unsigned kind,
    unsigned value);
static void try_possible(const mailping_facts_t *f, unsigned *wrong,
    unsigned *possible, unsigned *needless);


int
main(void)
{
    rs = compile(rules_text);

    test_facts();
    test_evidence();
    test_windows();
    test_strangers();
    test_once();
    test_grows();
    test_rules();

    mailping_rules_destroy(rs);

    test_possible();

    return done();
}


static mailping_rules_t *
compile(const char *text)
{
    mailping_rules_t        *rules;
    mailping_rules_error_t   err;

    rules = mailping_rules_create();

    if (mailping_rules_parse(rules, "test", str(text), NULL, NULL, &err)
        != MAILPING_OK
        || mailping_rules_compile(rules, &err) != MAILPING_OK)
    {
        printf("Bail out! %u:%u: %s\n", err.line, err.column, err.text);
        exit(1);
    }

    return rules;
}


static const mailping_past_t *
past_of(unsigned seen, unsigned sure, unsigned burst, unsigned farm,
    int quick, unsigned scanned)
{
    static mailping_past_t  past;

    memset(&past, 0, sizeof(mailping_past_t));

    past.seen = seen;
    past.hour = seen;
    past.sure = sure & 1;
    past.burst = burst;
    past.farm = farm;
    past.agents = 1;
    past.quick = quick;
    past.scanned = scanned & 1;

    return &past;
}


/* A browser's fetch of TOKEN from NETWORK at START, judged and remembered. */

static void
remember(const mailping_past_t *past)
{
    mailping_facts_t  f;

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str(FIREFOX));
    mailping_past_facts(rs, &f, past);
    mailping_classify(rs, &f, &j, NULL, NULL);

    memset(&r, 0, sizeof(mailping_recent_t));

    r.fetch.token = TOKEN;
    r.fetch.network = NETWORK;
    r.fetch.time = START;
    r.past = *past;

    memcpy(r.is, f.is, sizeof(r.is));
    memcpy(r.unknown, f.unknown, sizeof(r.unknown));

    r.rules = mailping_rules_id(rs);
    r.was = (uint8_t) j.open;
    r.open = (uint8_t) j.open;
    r.verdict = (uint8_t) j.verdict;
}


/* A later fetch, so far without evidence against the earlier one. */

static void
come(uint64_t token, uint64_t network, int64_t after)
{
    memset(&later, 0, sizeof(mailping_later_t));

    later.fetch.token = token;
    later.fetch.network = network;
    later.fetch.time = START + (uint64_t) after;
    later.past = *past_of(1, 1, 1, 1, -1, 0);
}


static const char *
amended(void)
{
    static char  text[64];

    memset(&j, 0x55, sizeof(mailping_judgement_t));

    if (mailping_amend(rs, &r, &later, &j) != MAILPING_RECENT_TELL) {
        return "";
    }

    snprintf(text, sizeof(text), "%s %s", mailping_open_name(j.open),
             mailping_verdict_name(j.verdict));

    return text;
}


#define is_amended(expected, ...)                                             \
    do {                                                                      \
        const char  *got = amended();                                         \
        is_str(got, strlen(got), expected, __VA_ARGS__);                      \
    } while (0)


static int
fact(const mailping_facts_t *f, const char *name)
{
    unsigned     i;
    const char  *s;

    for (i = 0; i < mailping_rules_facts(rs); i++) {
        s = mailping_rules_fact_name(rs, i);

        if (s != NULL && strcmp(s, name) == 0) {
            return mailping_facts_get(f, i);
        }
    }

    return -2;
}


static void
test_facts(void)
{
    unsigned          i;
    mailping_facts_t  f;

    static const struct {
        const char  *name;
        unsigned     seen;
        unsigned     sure;
        unsigned     burst;
        unsigned     farm;
        int          quick;
        unsigned     scanned;
        int          first;
        int          bursts;
        int          farms;
        int          quicks;
        int          scans;
    } cases[] = {
        { "a first fetch", 1, 1, 1, 1, -1, 0,  1, 0, 0, -1, 0 },
        { "one that may be the first", 1, 0, 1, 1, -1, 0,  -1, 0, 0, -1, 0 },
        { "a second", 2, 0, 1, 1, -1, 0,  0, 0, 0, -1, 0 },
        { "a burst", 1, 1, 5, 1, -1, 0,  1, 1, 0, -1, 0 },
        { "a farm", 1, 1, 1, 3, -1, 0,  1, 0, 1, -1, 0 },
        { "no network", 1, 1, 0, 0, -1, 0,  1, -1, -1, -1, 0 },
        { "a slow network", 1, 1, 1, 1, 0, 0,  1, 0, 0, 0, 0 },
        { "a quick one", 1, 1, 1, 1, 70, 0,  1, 0, 0, 1, 0 },
        { "a scanner beside", 1, 1, 1, 1, -1, 1,  1, 0, 0, -1, 1 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mailping_facts_init(rs, &f);
        mailping_past_facts(rs, &f,
                            past_of(cases[i].seen, cases[i].sure,
                                    cases[i].burst, cases[i].farm,
                                    cases[i].quick, cases[i].scanned));

        is_int(fact(&f, "seen<2"), cases[i].first, "%s: seen", cases[i].name);
        is_int(fact(&f, "burst>=5"), cases[i].bursts, "%s: burst",
               cases[i].name);
        is_int(fact(&f, "farm>=3"), cases[i].farms, "%s: farm",
               cases[i].name);
        is_int(fact(&f, "quick>=70"), cases[i].quicks, "%s: quick",
               cases[i].name);
        is_int(fact(&f, "scanned"), cases[i].scans, "%s: scanned",
               cases[i].name);
    }
}


static void
test_evidence(void)
{
    const mailping_past_t  *alone;

    alone = past_of(1, 1, 1, 1, -1, 0);

    remember(alone);
    is_int(r.was, MAILPING_OPEN_YES, "a browser is a person's");
    is_int(r.verdict, MAILPING_VERDICT_HUMAN, "as it seems");

    come(TOKEN, NETWORK, SECOND);
    is_amended("", "which a fetch without evidence leaves so");

    come(2, NETWORK, SECOND);
    later.past.burst = 4;
    is_amended("maybe human", "a few tokens make it a maybe");
    later.past.burst = 5;
    is_amended("no scanner", "a burst a scanner");
    is_int(j.person, 9, "the amendment has the new score");
    is_int(r.was, MAILPING_OPEN_YES, "what it was stays");
    is_int(r.open, MAILPING_OPEN_NO, "what was told is kept");
    is_int(r.verdict, MAILPING_VERDICT_SCANNER, "with its verdict");
    is_int(r.past.burst, 5, "and the evidence");
    is_amended("", "it is told once");

    remember(alone);
    come(TOKEN, 8, SECOND);
    later.past.farm = 3;
    is_amended("no scanner", "a farm");

    remember(alone);
    come(TOKEN, 8, SECOND);
    later.past.agents = 2;
    is_amended("no scanner", "two agents");
    is_int(r.past.agents, 2, "are remembered");
    later.past.agents = 1;
    is_amended("", "one later");
    is_int(r.past.agents, 2, "takes nothing of it");

    remember(alone);
    come(TOKEN, 8, 10001);
    later.past.agents = 2;
    is_amended("", "two agents, later");

    remember(alone);
    come(2, NETWORK, SECOND);
    later.past.agents = 2;
    is_amended("", "two of another token");

    remember(alone);
    come(TOKEN, 8, SECOND);
    later.scanner = 1;
    is_amended("no scanner", "a scanner");

    remember(alone);
    come(2, NETWORK, SECOND);
    later.past.quick = 70;
    is_amended("no scanner", "a quick network");
    is_int(r.past.quick, 70, "is remembered");

    /* what the later one is told about its own token is not of this one */

    remember(alone);
    come(TOKEN, NETWORK, SECOND);
    later.past.seen = 3;
    later.past.scanned = 1;
    is_amended("", "how often a token was fetched later changes nothing");
    is_int(r.past.seen, 1, "and is not remembered");

    /* all that the fetch itself knew stays as it was */

    remember(past_of(1, 0, 1, 1, -1, 0));
    come(2, NETWORK, SECOND);
    later.past.burst = 2;
    is_amended("", "evidence that changes no judgement");
    is_int(r.past.burst, 2, "is remembered");
    is_int(r.past.sure, 0, "and what is unknown stays so");
}


static void
test_windows(void)
{
    unsigned  i;

    static const struct {
        const char  *name;
        int64_t      after;
        unsigned     burst;
        unsigned     farm;
        int          quick;
        unsigned     scanner;
        const char  *expected;
    } cases[] = {
        { "a burst at once", 0, 5, 1, -1, 0, "no scanner" },
        { "after ten seconds", 10000, 5, 1, -1, 0, "no scanner" },
        { "later", 10001, 5, 1, -1, 0, "" },
        { "a farm at once", 0, 1, 3, -1, 0, "no scanner" },
        { "after ten seconds", 10000, 1, 3, -1, 0, "no scanner" },
        { "later", 10001, 1, 3, -1, 0, "" },
        { "a scanner at once", 0, 1, 1, -1, 1, "no scanner" },
        { "after a minute", 60000, 1, 1, -1, 1, "no scanner" },
        { "later", 60001, 1, 1, -1, 1, "" },
        { "a worker's clock behind", -10000, 5, 1, -1, 0, "no scanner" },
        { "far behind", -10001, 5, 1, -1, 0, "" },
        { "a farm so", -10000, 1, 3, -1, 0, "no scanner" },
        { "far behind", -10001, 1, 3, -1, 0, "" },
        { "a scanner so", -60000, 1, 1, -1, 1, "no scanner" },
        { "far behind", -60001, 1, 1, -1, 1, "" },
        { "a quick network at once", 0, 1, 1, 70, 0, "no scanner" },
        { "after an hour", 3600000, 1, 1, 70, 0, "no scanner" },
        { "after a day", 86400000, 1, 1, 70, 0, "no scanner" },
        { "later", 86400001, 1, 1, 70, 0, "" },
        { "that is less quick", 3600000, 1, 1, 69, 0, "" },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        remember(past_of(1, 1, 1, 1, -1, 0));
        come(TOKEN, NETWORK, cases[i].after);

        later.past.burst = cases[i].burst;
        later.past.farm = cases[i].farm;
        later.past.quick = cases[i].quick;
        later.scanner = cases[i].scanner;

        is_amended(cases[i].expected, "%s", cases[i].name);
    }
}


/* evidence about another network's or another token's fetch */

static void
test_strangers(void)
{
    remember(past_of(1, 1, 1, 1, -1, 0));

    come(TOKEN, 8, SECOND);
    later.past.burst = 9;
    later.past.quick = 100;
    is_amended("", "another network's burst and habit");

    come(2, NETWORK, SECOND);
    later.past.farm = 3;
    later.scanner = 1;
    is_amended("", "another token's farm and scanner");

    is_int(r.past.burst == 1 && r.past.farm == 1 && r.past.quick == -1
           && !r.past.scanned, 1, "leave nothing");

    /* no network is not one network */

    remember(past_of(1, 1, 0, 0, -1, 0));
    r.fetch.network = 0;

    come(2, 0, SECOND);
    later.past.burst = 9;
    later.past.quick = 100;
    is_amended("", "two fetches without a network");
}


/* A judgement that goes to and fro is told once in each direction. */

static void
test_once(void)
{
    unsigned  i, n;

    remember(past_of(1, 1, 1, 1, -1, 0));
    come(2, NETWORK, SECOND);

    later.past.quick = 100;
    is_amended("no scanner", "quick");
    later.past.quick = 0;
    is_amended("yes human", "slow");

    n = 0;

    for (i = 0; i < 100; i++) {
        later.past.quick = i & 1 ? 0 : 100;
        n += amended()[0] != '\0';
    }

    is_int(n, 0, "and never again");
    is_int(r.past.quick, 0, "though all of it is remembered");
    is_int(r.open, MAILPING_OPEN_YES, "and the last that was told");

    /* a third verdict is another matter */

    remember(past_of(3, 1, 1, 1, -1, 0));
    is_int(r.verdict, MAILPING_VERDICT_BOT, "a third fetch: a bot");
    come(2, NETWORK, SECOND);
    later.past.burst = 5;
    is_amended("", "a burst of bots changes nothing");
}


static void
test_grows(void)
{
    remember(past_of(1, 1, 5, 3, 80, 1));
    is_int(r.verdict, MAILPING_VERDICT_SCANNER, "a scanner from the start");

    come(TOKEN, NETWORK, SECOND);
    is_amended("", "a later fetch that shows less");

    is_int(r.past.burst, 5, "takes nothing of a burst");
    is_int(r.past.farm, 3, "of a farm");
    is_int(r.past.quick, 80, "of a habit that it does not know");
    is_int(r.past.scanned, 1, "or a scanner");

    later.past.burst = 2;
    later.past.farm = 2;
    is_amended("", "nor one that shows a little");
    is_int(r.past.burst, 5, "the burst stays");
    is_int(r.past.farm, 3, "the farm stays");
}


static void
test_rules(void)
{
    mailping_rules_t   *mine;
    mailping_recent_t   before;

    remember(past_of(1, 1, 1, 1, -1, 0));
    come(TOKEN, NETWORK, SECOND);

    later.past.burst = 5;
    later.past.farm = 3;
    later.past.quick = 100;
    later.scanner = 1;

    mine = rs;
    rs = compile("agent other \"Firefox\"\n"
                 "rule burst history - scanner+30 burst>=5\n");

    before = r;

    is_amended("", "facts of another rule set");
    ok(memcmp(&before, &r, sizeof(mailping_recent_t)) == 0,
       "are left alone");

    mailping_rules_destroy(rs);
    rs = mine;

    is_amended("no scanner", "those of this one are not");
}


/*
 * With the built-in rules: whatever single evidence changes a judgement, the
 * fetch was worth remembering.
 */

enum { BURST = 0, FARM, AGENTS, QUICK, SCANNED };


static void
test_possible(void)
{
    char              text[512];
    unsigned          i, n, wrong, possible, needless;
    fetch_t           fetch;
    mailping_facts_t  f;

    static const char *const  single[] = {
        "burst>=5", "farm>=3", "agents>=2", "quick>=70", "scanned", "http:1.0"
    };
    static const char *const  agents[] = {
        FIREFOX, CHROME, EDGE, SAFARI, IPHONE, BARE, GMAIL, PREFETCH, EDGE12,
        YAHOOPROXY, OUTLOOK, MSOFFICE, THUNDERBIRD, CUBOT, FOOBOT, HEADLESS,
        "curl/8.1", "", NULL
    };
    static const char *const  addrs[] = {
        HOME, GOOGLE, GOOGLE6, GOOGLE_OWN, GOOGLE_CLOUD, RELAY, RELAY6,
        APPLE_OWN, MICROSOFT, EOP, EOP6, AWS, VPN, ZSCALER, YAHOO, PROOFPOINT,
        NULL
    };
    static const uint32_t  asns[] = {
        0, AS_NONE, AS_HOME, AS_GOOGLE, AS_MICROSOFT, AS_HETZNER, AS_M247,
        AS_RELAY, AS_STARLINK
    };
    static const unsigned  ages[] = {
        0, 1, 5, 30, 2 * MINUTE, 9 * MINUTE, 20 * MINUTE, 2 * HOUR, 3 * DAY
    };
    static const char *const  all[] = {
        GMAIL_HEADERS, BROWSER_HEADERS, NO_HEADERS, "", NULL
    };

#define any(a)  a[random_below(sizeof(a) / sizeof(a[0]))]

    /* each evidence alone; the last is none */

    for (i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        snprintf(text, sizeof(text),
                 "agent browser \"Firefox\"\n"
                 "rule browser agent   - human+6    agent:browser\n"
                 "rule single  history - scanner+20 %s\n"
                 "prior - human+0,proxied+0,prefetch-10,scanner-3,bot-10\n",
                 single[i]);

        rs = compile(text);

        mailping_facts_init(rs, &f);
        mailping_facts_agent(rs, &f, str(FIREFOX));
        mailping_facts_http(rs, &f, 11);
        mailping_classify(rs, &f, &j, NULL, NULL);

        is_int(mailping_amend_possible(rs, &f, &j), strchr(single[i], ':') == 0,
               "%s alone", single[i]);

        mailping_rules_destroy(rs);
    }

    rs = default_rules(NULL);

    if (rs == NULL) {
        return;
    }

    /* fetches as they are */

    wrong = 0;
    possible = 0;
    needless = 0;

    for (i = 0; i < 30000; i++) {
        memset(&fetch, 0, sizeof(fetch_t));

        fetch.agent = any(agents);
        fetch.addr = any(addrs);
        fetch.asn = any(asns);
        fetch.age = any(ages);
        fetch.headers = any(all);
        fetch.seen = random_below(4);
        fetch.burst = random_below(8);
        fetch.hint = random_below(7);
        fetch.http = random_below(4) ? 11 : 10;
        fetch.head = random_below(8) == 0;

        evidence(rs, &fetch, &f);

        if (random_below(2)) {
            mailping_facts_scanned(rs, &f, random_below(4) == 0);
            mailping_facts_farm(rs, &f, 1 + random_below(3));
            mailping_facts_agents(rs, &f, 1 + random_below(2));
            mailping_facts_quick(rs, &f, (int) random_below(102) - 1);
        }

        try_possible(&f, &wrong, &possible, &needless);
    }

    is_int(wrong, 0, "each fetch that can be amended is worth remembering");
    ok(possible > 1000 && possible < 29000, "%u of 30000 fetches are",
       possible);
    ok(needless < possible / 10, "%u of them needlessly", needless);

    /* and facts that no fetch would have together */

    wrong = 0;
    possible = 0;

    for (i = 0; i < 30000; i++) {
        mailping_facts_init(rs, &f);

        for (n = 0; n < MAILPING_FACTS_WORDS; n++) {
            f.unknown[n] = 0;
            f.is[n] = 0;
        }

        for (n = 0; n < mailping_rules_facts(rs); n++) {

            switch (random_below(12)) {

            case 0:
                f.is[n / 64] |= (uint64_t) 1 << n % 64;
                break;

            case 1:
                f.unknown[n / 64] |= (uint64_t) 1 << n % 64;
                break;
            }
        }

        mailping_facts_burst(rs, &f, random_below(8));
        mailping_facts_farm(rs, &f, random_below(4));
        mailping_facts_agents(rs, &f, 1 + random_below(2));
        mailping_facts_quick(rs, &f, (int) random_below(70));
        mailping_facts_scanned(rs, &f, (int) random_below(2));

        try_possible(&f, &wrong, &possible, &needless);
    }

    is_int(wrong, 0, "also with facts at random");
    ok(possible > 200 && possible < 29800, "%u of 30000 are", possible);

    mailping_rules_destroy(rs);

    /* a site's rule that a slow network speaks for a person */

    rs = compile("agent browser \"Firefox\"\n"
                 "rule browser agent   - human+2  agent:browser\n"
                 "rule slow    history - human+20 !quick>=30\n"
                 "prior - human+0,proxied+0,prefetch-10,scanner-3,bot-10\n");

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str(FIREFOX));
    mailping_classify(rs, &f, &j, NULL, NULL);

    ok(mailping_amend_possible(rs, &f, &j),
       "a network that turns out to be slow");

    mailping_rules_destroy(rs);

#undef any
}


static uint32_t
random_below(uint32_t n)
{
    static uint32_t  seed = 99;

    seed = seed * 1664525 + 1013904223;

    return (seed >> 8) % n;
}


/* Whether this evidence alone, when it comes later, changes the judgement. */

static unsigned
changes(const mailping_facts_t *f, unsigned kind, unsigned value)
{
    mailping_facts_t      then;
    mailping_judgement_t  was, is;

    then = *f;

    switch (kind) {

    case BURST:
        mailping_facts_burst(rs, &then, value);
        break;

    case FARM:
        mailping_facts_farm(rs, &then, value);
        break;

    case AGENTS:
        mailping_facts_agents(rs, &then, value);
        break;

    case QUICK:
        mailping_facts_quick(rs, &then, (int) value);
        break;

    default: /* SCANNED */
        mailping_facts_scanned(rs, &then, (int) value);
    }

    mailping_classify(rs, f, &was, NULL, NULL);
    mailping_classify(rs, &then, &is, NULL, NULL);

    return is.open != was.open || is.verdict != was.verdict;
}


/* evidence grows: a burst, a farm that is there already is no later one */

static void
try_possible(const mailping_facts_t *f, unsigned *wrong, unsigned *possible,
    unsigned *needless)
{
    int                   is;
    unsigned              n;
    mailping_judgement_t  was;

    n = 0;

    if (fact(f, "burst>=5") != 1) {
        n += changes(f, BURST, 2) + changes(f, BURST, 5)
             + changes(f, BURST, 100);
    }

    if (fact(f, "farm>=3") != 1) {
        n += changes(f, FARM, 3);
    }

    if (fact(f, "farm>=2") != 1) {
        n += changes(f, FARM, 2);
    }

    if (fact(f, "agents>=2") != 1) {
        n += changes(f, AGENTS, 2);
    }

    if (fact(f, "quick>=70") != 1) {
        n += changes(f, QUICK, 70) + changes(f, QUICK, 100)
             + changes(f, QUICK, 0);
    }

    n += changes(f, SCANNED, 1);

    mailping_classify(rs, f, &was, NULL, NULL);
    is = mailping_amend_possible(rs, f, &was);

    *wrong += n != 0 && !is;
    *possible += is != 0;
    *needless += n == 0 && is;
}
