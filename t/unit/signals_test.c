
/*
 * Copyright (C) MailPing
 */


/*
 * The built-in rules know every signal of data/signals.tsv of the folder
 * MAILPING_SHARED that is not marked as unverified, and fall into none of the
 * traps that are marked there.
 */

#include "fetch.h"


#define COLUMNS    6
#define SIGNAL_LINE  8192


typedef enum {
    SIGNAL_KNOWN = 0,
    SIGNAL_WRONG,
    SIGNAL_SKIPPED,                /* nothing that MailPing looks at */
    SIGNAL_RESULTS
} result_e;


typedef enum {
    COLUMN_KIND = 0,
    COLUMN_VALUE,
    COLUMN_PROVIDER,
    COLUMN_CLASS,
    COLUMN_NOTE,
    COLUMN_SOURCE
} column_e;


/* what is expected of a row; facts of which one must hold, NULL ends them */

typedef struct {
    const char  *class;
    const char  *provider;         /* how the row's begins, NULL = any */
    const char  *facts[6];
} expected_t;


static int split(char *line, char *column[COLUMNS]);
static int is(const mailping_facts_t *f, const char *name);
static int expect(const mailping_facts_t *f, const expected_t *expected,
    size_t n, char *column[COLUMNS]);
static unsigned asn_facts(const mailping_rules_t *rs,
    const mailping_facts_t *f);
static result_e check(const mailping_rules_t *rs, char *column[COLUMNS]);
static result_e check_agent(const mailping_rules_t *rs,
    char *column[COLUMNS]);
static result_e check_network(const mailping_rules_t *rs,
    char *column[COLUMNS]);
static result_e check_asn(const mailping_rules_t *rs, char *column[COLUMNS]);
static result_e check_header(const mailping_rules_t *rs,
    char *column[COLUMNS]);
static void test_signals(const mailping_rules_t *rs);
static void test_control(const mailping_rules_t *rs);


static const expected_t  agents[] = {
    { "proxy_open", NULL, { "agent:mail-proxy" } },
    { "prefetch", "Google", { "agent:gmail-prefetch" } },
    { "prefetch", "Apple", { "agent:bare" } },
    { "mail_client", "Apple Mail / new", { "agent:webkit" } },
    { "mail_client", "iOS Mail", { "agent:webkit" } },
    { "mail_client", "Android mail app", { "client:webview" } },
    { "mail_client", NULL, { "agent:mail-client" } },
    { "browser", NULL, { "agent:browser" } },
    { "scanner", NULL, { "agent:security" } },
    { "bot", "Microsoft Office", { "agent:office-probe" } },
    { "bot", "http library",
      { "agent:library", "agent:app" } },
    { "bot", "browser automation", { "agent:headless" } },
    { "bot", "any", { "agent:none" } },
    { "bot", NULL, { "agent:bot", "agent:yahoo-cache" } }
};


static const expected_t  networks[] = {
    { "proxy_open", "Proton", { "network:proton" } },
    { "proxy_open", "Google user-triggered", { "network:google-proxy" } },
    { "proxy_open", "Google", { "network:google" } },
    { "scanner", "Microsoft EOP", { "network:eop" } },
    { "scanner", "Microsoft Defender", { "network:defender" } },
    { "scanner", "Barracuda", { "network:barracuda" } },
    { "bot", "Googlebot", { "network:googlebot" } },
    { "bot", "Apple", { "network:apple" } }
};


static const expected_t  systems[] = {
    { "scanner", "Proofpoint", { "asn:proofpoint" } },
    { "scanner", "Mimecast", { "asn:mimecast" } },
    { "scanner", "Barracuda", { "asn:barracuda" } },
    { "scanner", "Cisco", { "asn:cisco" } },
    { "scanner", "Symantec", { "asn:symantec" } },
    { "scanner", "Trend Micro", { "asn:trendmicro" } },
    { "scanner", "Forcepoint", { "asn:forcepoint" } },
    { "scanner", "Fortinet", { "asn:fortinet" } },
    { "proxy_open", "Google", { "asn:google" } },
    { "proxy_open", "Yahoo", { "asn:yahoo" } },
    { "proxy_open", "Proton", { "asn:proton" } },
    { "proxy_open", "Fastmail", { "asn:fastmail" } },
    { "proxy_open", "Zoho", { "asn:zoho" } },
    { "proxy_open", "VK", { "asn:vk" } },
    { "proxy_open", "Yandex", { "asn:yandex" } },
    { "proxy_open", "Naver", { "asn:naver" } },
    { "proxy_open", "Seznam", { "asn:seznam" } },
    { "privacy_relay", "Akamai", { "asn:apple-relay" } },
    { "privacy_relay", "Cloudflare", { "asn:cdn" } },
    { "privacy_relay", "Fastly", { "asn:cdn" } },
    { "privacy_relay", "Zscaler", { "asn:zscaler" } },
    { "privacy_relay", NULL, { "asn:vpn" } },
    { "bot", "Apple", { "asn:apple" } },
    { "datacenter", "Microsoft", { "asn:microsoft" } },
    { "datacenter", "Akami", { "asn:cdn" } },
    { "datacenter", NULL,
      { "asn:hosting", "asn:hosting-doubtful" } }
};


static const expected_t  requests[] = {
    { "prefetch", NULL, { "header:prefetch", "header:empty" } },
    { "browser", "webmail", { "header:webmail" } },
    { "browser", NULL, { "header:image", "header:element" } },
    { "bot", NULL,
      { "header:document", "header:from", "header:!accept",
        "header:!accept-language", "header:!accept-encoding" } },
    { "privacy_relay", NULL, { "header:forwarded" } },
    { "scanner", NULL, { "method:head" } }
};


int
main(void)
{
    mailping_rules_t  *rs;

    rs = default_rules(NULL);

    if (rs != NULL) {
        test_signals(rs);
        test_control(rs);
    }

    mailping_rules_destroy(rs);

    return done();
}


/* Splits a line at its tabs.  Returns 0 when it has not all columns. */

static int
split(char *line, char *column[COLUMNS])
{
    int  i;

    line[strcspn(line, "\r\n")] = '\0';

    for (i = 0; i < COLUMNS; i++) {

        if (line == NULL) {
            return 0;
        }

        column[i] = line;
        line = strchr(line, '\t');

        if (line != NULL) {
            *line++ = '\0';
        }
    }

    return 1;
}


static int
is(const mailping_facts_t *f, const char *name)
{
    int  n;

    n = mailping_facts_number(str(name));

    return n >= 0 && mailping_facts_get(f, (unsigned) n) == 1;
}


/* Whether one of the facts holds that the first fitting entry asks for. */

static int
expect(const mailping_facts_t *f, const expected_t *expected, size_t n,
    char *column[COLUMNS])
{
    size_t  i, k;

    for (i = 0; i < n; i++) {

        if (strcmp(expected[i].class, column[COLUMN_CLASS]) != 0
            || (expected[i].provider != NULL
                && strncmp(expected[i].provider, column[COLUMN_PROVIDER],
                           strlen(expected[i].provider)) != 0))
        {
            continue;
        }

        for (k = 0; expected[i].facts[k] != NULL; k++) {
            if (is(f, expected[i].facts[k])) {
                return 1;
            }
        }

        return 0;
    }

    return 0;
}


/* How many facts hold of the fetching autonomous system. */

static unsigned
asn_facts(const mailping_rules_t *rs, const mailping_facts_t *f)
{
    unsigned     i, n, found;
    const char  *name;

    found = 0;

    for (i = 0, n = mailping_rules_facts(rs); i < n; i++) {
        name = mailping_rules_fact_name(rs, i);

        found += name != NULL && strncmp(name, "asn:", 4) == 0
                 && mailping_facts_get(f, i) == 1;
    }

    return found;
}


static result_e
check(const mailping_rules_t *rs, char *column[COLUMNS])
{
    if (strstr(column[COLUMN_NOTE], "UNVERIFIED") != NULL) {
        return SIGNAL_SKIPPED;
    }

    if (strncmp(column[COLUMN_KIND], "ua_", 3) == 0) {
        return check_agent(rs, column);
    }

    if (strcmp(column[COLUMN_KIND], "cidr") == 0) {
        return check_network(rs, column);
    }

    if (strcmp(column[COLUMN_KIND], "asn") == 0) {
        return check_asn(rs, column);
    }

    if (strcmp(column[COLUMN_KIND], "header") == 0) {
        return check_header(rs, column);
    }

    return SIGNAL_WRONG;
}


/*
 * A substring stands behind a product of its own, or where the row anchors it;
 * machines are also judged to be such, but for an app's own loader, which
 * people's programs use as well.
 */

static result_e
check_agent(const mailping_rules_t *rs, char *column[COLUMNS])
{
    char                   text[1024], *value;
    size_t                 len;
    fetch_t                fetch;
    mailping_facts_t       f;
    mailping_judgement_t   j;

    value = column[COLUMN_VALUE];
    len = strlen(value);

    if (strcmp(column[COLUMN_KIND], "ua_exact") == 0) {
        snprintf(text, sizeof(text), "%s", value);

    } else if (value[0] == '^') {
        snprintf(text, sizeof(text), "%s1.0", value + 1);

    } else if (len != 0 && value[len - 1] == '$') {
        snprintf(text, sizeof(text),
                 "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 %.*s",
                 (int) len - 1, value);

    } else {
        snprintf(text, sizeof(text), "%s1.0", value);
    }

    memset(&fetch, 0, sizeof(fetch_t));
    fetch.agent = text;

    evidence(rs, &fetch, &f);

    if (!expect(&f, agents, sizeof(agents) / sizeof(agents[0]), column)) {
        return SIGNAL_WRONG;
    }

    if ((strcmp(column[COLUMN_CLASS], "bot") == 0 && !is(&f, "agent:app"))
        || strcmp(column[COLUMN_CLASS], "scanner") == 0)
    {
        judge(rs, &fetch, &j);

        return j.open == MAILPING_OPEN_NO ? SIGNAL_KNOWN : SIGNAL_WRONG;
    }

    return SIGNAL_KNOWN;
}


static result_e
check_network(const mailping_rules_t *rs, char *column[COLUMNS])
{
    char              addr[64];
    fetch_t           fetch;
    mailping_facts_t  f;

    snprintf(addr, sizeof(addr), "%.*s",
             (int) strcspn(column[COLUMN_VALUE], "/"), column[COLUMN_VALUE]);

    memset(&fetch, 0, sizeof(fetch_t));
    fetch.addr = addr;

    evidence(rs, &fetch, &f);

    return expect(&f, networks, sizeof(networks) / sizeof(networks[0]), column)
           ? SIGNAL_KNOWN : SIGNAL_WRONG;
}


static result_e
check_asn(const mailping_rules_t *rs, char *column[COLUMNS])
{
    fetch_t           fetch;
    mailping_facts_t  f;

    memset(&fetch, 0, sizeof(fetch_t));
    fetch.asn = (uint32_t) strtoul(column[COLUMN_VALUE], NULL, 10);

    evidence(rs, &fetch, &f);

    /* a trap that is somebody else's gateway is a gateway, but not Cisco's */

    if (strstr(column[COLUMN_NOTE], "TRAP") != NULL) {

        if (is(&f, "asn:cisco")) {
            return SIGNAL_WRONG;
        }

        if (strcmp(column[COLUMN_CLASS], "browser") == 0) {
            return asn_facts(rs, &f) == 0 ? SIGNAL_KNOWN : SIGNAL_WRONG;
        }

        if (strcmp(column[COLUMN_CLASS], "datacenter") == 0) {
            return is(&f, "asn:gateway") ? SIGNAL_WRONG : SIGNAL_KNOWN;
        }
    }

    if (is(&f, "asn:gateway") != (strcmp(column[COLUMN_CLASS], "scanner")
                                  == 0))
    {
        return SIGNAL_WRONG;
    }

    return expect(&f, systems, sizeof(systems) / sizeof(systems[0]), column)
           ? SIGNAL_KNOWN : SIGNAL_WRONG;
}


/* "Name: value", "Name missing", "Name", "method HEAD", "rdns name" */

static result_e
check_header(const mailping_rules_t *rs, char *column[COLUMNS])
{
    char                   text[1024], *value, *colon;
    fetch_t                fetch;
    mailping_facts_t       f;
    mailping_judgement_t   j;

    value = column[COLUMN_VALUE];

    /* reverse names would need a query for each fetch: networks do instead */

    if (strncmp(value, "rdns ", 5) == 0) {
        return SIGNAL_SKIPPED;
    }

    memset(&fetch, 0, sizeof(fetch_t));
    fetch.headers = text;

    colon = strchr(value, ':');

    /* the four headers of Google's proxy make sense with its agent only */

    if (strcmp(column[COLUMN_CLASS], "proxy_open") == 0) {
        fetch.agent = GMAIL;
        fetch.addr = GOOGLE;
        fetch.age = HOUR;
        fetch.headers = GMAIL_HEADERS;

        judge(rs, &fetch, &j);

        return j.open == MAILPING_OPEN_YES
               && j.verdict == MAILPING_VERDICT_PROXIED
               ? SIGNAL_KNOWN : SIGNAL_WRONG;
    }

    /* all that can be missing is there, but what the row says is not */

    if (strcmp(value, "method HEAD") == 0) {
        snprintf(text, sizeof(text), "Accept: */*\n");
        fetch.head = 1;

    } else if (strstr(value, " missing") != NULL) {
        snprintf(text, sizeof(text), "%s%s%s",
                 strncmp(value, "Accept missing", 14) == 0
                 ? "" : "Accept: */*\n",
                 strncmp(value, "Accept-L", 8) == 0
                 ? "" : "Accept-Language: de\n",
                 strncmp(value, "Accept-E", 8) == 0
                 ? "" : "Accept-Encoding: gzip\n");

    } else {
        snprintf(text, sizeof(text),
                 "%s%sAccept-Language: de\nAccept-Encoding: gzip\n%s%s\n",
                 strncmp(value, "Accept:", 7) == 0 ? "" : "Accept: */*",
                 strncmp(value, "Accept:", 7) == 0 ? "" : "\n",
                 value, colon != NULL ? "" : ": a@example.com");
    }

    evidence(rs, &fetch, &f);

    return expect(&f, requests, sizeof(requests) / sizeof(requests[0]), column)
           ? SIGNAL_KNOWN : SIGNAL_WRONG;
}


static void
test_signals(const mailping_rules_t *rs)
{
    FILE        *file;
    char         path[512], *column[COLUMNS];
    unsigned     n, count[SIGNAL_RESULTS];
    result_e     result;
    const char  *shared;

    static char  line[SIGNAL_LINE];

    shared = getenv("MAILPING_SHARED");

    snprintf(path, sizeof(path), "%s/data/signals.tsv",
             shared != NULL ? shared : "../shared");

    file = fopen(path, "rb");

    if (file == NULL) {
        ok(1, "signals # SKIP no data/signals.tsv");
        return;
    }

    memset(count, 0, sizeof(count));

    for (n = 0; fgets(line, sizeof(line), file) != NULL; n++) {

        if (!split(line, column)) {
            ok(0, "line %u has %d columns", n + 1, COLUMNS);
            continue;
        }

        if (n == 0) {
            is_str(column[COLUMN_KIND], strlen(column[COLUMN_KIND]), "kind",
                   "the first line is the names of the columns");
            continue;
        }

        result = check(rs, column);
        count[result]++;

        if (result == SIGNAL_WRONG) {
            printf("# line %u: %s \"%s\" of %s is not known as %s\n", n + 1,
                   column[COLUMN_KIND], column[COLUMN_VALUE],
                   column[COLUMN_PROVIDER], column[COLUMN_CLASS]);
        }
    }

    fclose(file);

    is_int(count[SIGNAL_WRONG], 0, "all signals are known");
    ok(count[SIGNAL_KNOWN] > 1000, "%u of them", count[SIGNAL_KNOWN]);
    ok(count[SIGNAL_SKIPPED] < 50, "%u are unverified or reverse names",
       count[SIGNAL_SKIPPED]);
}


/* What the rules do not know, and traps that they would fall into. */

static void
test_control(const mailping_rules_t *rs)
{
    char    line[256], *column[COLUMNS];
    size_t  i;

    static const char *const  lines[] = {
        "ua_substring\tFrobnicator\tFrobnicator\tmail_client\t\t",
        "ua_substring\tFrobnicator\tFrobnicator\tproxy_open\t\t",
        "ua_substring\tThunderbird/\tmonitor\tbot\t\t",
        "ua_exact\tMozilla/5.0 (X11)\tGoogle Gmail\tprefetch\t\t",
        "cidr\t203.0.113.0/24\tMicrosoft EOP\tscanner\t\t",
        "cidr\t40.92.0.0/15\tBarracuda\tscanner\t\t",
        "asn\t64500\tProofpoint\tscanner\t\t",
        "asn\t22843\tN-Telecom\tbrowser\tTRAP: not a gateway\t",
        "asn\t16417\tSymantec\tscanner\tTRAP: not Cisco's\t",
        "asn\t22843\tAmazon\tdatacenter\t\t",
        "asn\t64500\tAmazon\tdatacenter\t\t",
        "header\tX-Frobnicate: prefetch\tany\tprefetch\t\t",
        "header\tAccept: */*\tany\tbot\t\t",
        "rdns\tx\tany\tbot\t\t"
    };

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(line, sizeof(line), "%s", lines[i]);

        if (!split(line, column)) {
            ok(0, "control %zu has %d columns", i, COLUMNS);
            continue;
        }

        is_int(check(rs, column), SIGNAL_WRONG, "%s %s as %s",
               column[COLUMN_KIND], column[COLUMN_VALUE],
               column[COLUMN_CLASS]);
    }
}
