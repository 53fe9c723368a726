
/*
 * Copyright (C) MailPing
 */


/*
 * Facts and rules become a judgement: three-valued conditions, groups, the
 * heaviest, thresholds; the index finds the rules that a full search finds.
 */

#include <math.h>

#include "core/classify.h"
#include "core/facts.h"
#include "core/ruleset.h"
#include "str.h"
#include "tap.h"


#define N_AGENTS  24                   /* sets of the random rules */


static mailping_rules_t      *rs;
static mailping_facts_t       f;
static mailping_judgement_t   j;


static void use(const char *text);
static void judge(const char *agent);
static void is_judged(const char *open, int person, const char *verdict,
    const char *reasons);
static uint32_t random_below(uint32_t n);
static void test_arithmetic(void);
static void test_documented(void);
static void test_three_values(void);
static void test_heaviest(void);
static void test_thresholds(void);
static void test_unknown(void);
static void test_sets(void);
static void test_reasons(void);
static void test_reasons_room(void);
static void test_index(void);
static void test_many(void);
static void test_idle(void);


int
main(void)
{
    test_arithmetic();
    test_documented();
    test_three_values();
    test_heaviest();
    test_thresholds();
    test_unknown();
    test_sets();
    test_reasons();
    test_reasons_room();
    test_index();
    test_many();
    test_idle();

    mailping_rules_destroy(rs);

    return done();
}


static void
use(const char *text)
{
    mailping_rules_error_t  err;

    mailping_rules_destroy(rs);
    rs = mailping_rules_create();

    if (mailping_rules_parse(rs, "test", str(text), NULL, NULL, &err)
        != MAILPING_OK
        || mailping_rules_compile(rs, &err) != MAILPING_OK)
    {
        printf("Bail out! %u:%u: %s\n", err.line, err.column, err.text);
        exit(1);
    }
}


static void
judge(const char *agent)
{
    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str(agent));
    mailping_classify(rs, &f, &j, NULL, NULL);
}


static void
is_judged(const char *open, int person, const char *verdict,
    const char *reasons)
{
    size_t   len;
    uint8_t  text[MAILPING_REASONS_MAX];

    len = mailping_classify_reasons(rs, &j, text);

    is_str(text, len, reasons, "reasons");
    is_str(mailping_open_name(j.open), strlen(mailping_open_name(j.open)),
           open, "open");
    is_str(mailping_verdict_name(j.verdict),
           strlen(mailping_verdict_name(j.verdict)), verdict, "verdict");
    is_int(j.person, person, "person");
}


static uint32_t
random_below(uint32_t n)
{
    static uint32_t  seed = 99;

    seed = seed * 1664525 + 1013904223;

    return (seed >> 8) % n;
}


static void
test_arithmetic(void)
{
    unsigned  i;
    double    sum;

    use("agent a \"a\"\n"
        "rule a agent gmail proxied+20,human-10 agent:a\n"
        "prior - human+0,proxied+0,prefetch-10,scanner-10,bot-10\n");
    judge("a");

    /* 0.1 + 100 of 0.1 + 100 + 3 * 0.1 */

    is_judged("yes", 100, "proxied", "a");
    is_str(j.provider.data, j.provider.len, "gmail", "provider");
    ok(fabs(j.probability[MAILPING_CLASS_PROXIED] - 100 / 100.4) < 1e-9,
       "probability of proxied");
    ok(fabs(j.probability[MAILPING_CLASS_HUMAN] - 0.1 / 100.4) < 1e-9,
       "probability of human");

    sum = 0;

    for (i = 0; i < MAILPING_CLASSES; i++) {
        sum += j.probability[i];
    }

    ok(fabs(sum - 1) < 1e-9, "all probabilities are 1");

    /* the widest distance there can be */

    use("agent a \"a\"\nprior human-30,bot+30\n"
        "rule a agent - human-30,bot+30 agent:a\n"
        "rule b network - human-30,bot+30 agent:a\n"
        "rule c headers - human-30,bot+30 agent:a\n"
        "rule d time - human-30,bot+30 agent:a\n"
        "rule e history - human-30,bot+30 agent:a\n");
    judge("a");
    is_judged("no", 0, "bot", "a,b,c,d,e");
    ok(j.probability[MAILPING_CLASS_HUMAN] > 0, "never quite impossible");

    use("prior bot+1\n");
    judge("");
    is_judged("maybe", 38, "unknown", "");
    is_int(j.provider.len, 0, "no provider");
}


/* what docs/rules.md computes by hand */

static void
test_documented(void)
{
    unsigned  i;
    uint8_t   addr[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff,
                           192, 0, 2, 7 };

    use("prior - human+0,proxied+0,prefetch-10,scanner-10,bot-10\n"
        "network example-office 192.0.2.0/24\n"
        "agent example-browser \"Firefox/\" \"Chrome/\"\n"
        "agent example-sandbox \"Sandbox\"\n"
        "rule example.browser agent - bot-10 agent:example-browser\n"
        "rule example.office network example human+6 "
        "network:example-office\n"
        "rule example.sandbox agent example scanner+20,human-5 "
        "agent:example-sandbox\n"
        "rule example.instant time - scanner+10 age<10s "
        "!network:example-office\n");

    for (i = 0; i < 2; i++) {
        mailping_facts_init(rs, &f);
        mailping_facts_agent(rs, &f, str(i ? "Firefox/128 Sandbox"
                                           : "Firefox/128"));
        mailping_facts_address(rs, &f, addr);
        mailping_facts_age(rs, &f, 600000);
        mailping_classify(rs, &f, &j, NULL, NULL);

        if (i == 0) {
            is_judged("yes", 96, "human", "example.browser,example.office");

        } else {
            is_judged("no", 18, "scanner",
                      "example.sandbox,example.browser,example.office");
        }

        is_str(j.provider.data, j.provider.len, "example", "provider");
    }
}


static void
test_three_values(void)
{
    use("agent a \"a\"\nheader h h\n"
        "rule plain agent - bot+10 agent:a\n"
        "rule positive headers - bot+1 header:h\n"
        "rule negative headers - human+1 !header:h\n"
        "rule age time - bot+1 age<10s\n"
        "rule later time - human+1 age>=10s\n"
        "rule mixed history - scanner+1 agent:a !header:h\n");

    judge("a");
        /* 2 of 14: whatever asks for headers or age is out */

    is_judged("no", 14, "bot", "plain");
}


static void
test_heaviest(void)
{
    use("agent a \"a\"\nagent b \"b\"\n"
        "rule one agent one bot+5,human+9 agent:a\n"
        "rule two agent two bot-10 agent:a\n"
        "rule three agent three bot+10 agent:b\n"
        "rule four network four scanner+7 agent:b\n");

    judge("a");
    is_judged("yes", 81, "human", "two,one");
    is_str(j.provider.data, j.provider.len, "two", "the heaviest's provider");
    is_int(j.ncounted, 2, "two counted");

    judge("ab");
    is_judged("maybe", 59, "human", "two,one,four");
}


static void
test_thresholds(void)
{
    use("prior prefetch-30,scanner-30\n"
        "agent a \"a\"\nagent b \"b\"\nagent c \"c\"\nagent d \"d\"\n"
        "agent e \"e\"\nrule e network - prefetch+28,bot-30 agent:e\n"
        "rule a agent - bot-3 agent:a\n"
        "rule b agent - bot-2 agent:b\n"
        "rule c agent - bot+8 agent:c\n"
        "rule d agent - bot+9 agent:d\n");

    /* human and proxied are 1 each, bot is 10^(its weight / 10) */

    judge("a");
    is_judged("yes", 80, "human", "a");
    judge("b");
    is_judged("maybe", 76, "human", "b");
    judge("c");
    is_judged("maybe", 24, "bot", "c");
    judge("d");
    is_judged("no", 20, "bot", "d");
    judge("e");
    is_judged("maybe", 76, "human", "e");
}


static void
test_unknown(void)
{
    use("prior prefetch-20,scanner-20,bot-20\n"
        "agent a \"a\"\nagent b \"b\"\nagent c \"c\"\n"
        "rule a time - human+10 agent:a\n"
        "rule b history - bot+30,scanner+30,human-30,proxied-30 agent:b\n"
        "rule c network - human+0 agent:c\n");

    judge("");
    is_judged("maybe", 79, "unknown", "");
    judge("a");
    is_judged("maybe", 79, "unknown", "a");
    judge("b");
    is_judged("maybe", 21, "unknown", "b");
    judge("c");
    is_judged("yes", 99, "human", "c");
}


static void
test_sets(void)
{
    unsigned  i;

    use("agent a \"a\"\nagent b \"b\"\nagent c \"c\"\nagent d \"d\"\n"
        "rule r agent gmail bot+30 agent:d\n"
        "set second apple shielded agent:b\n"
        "set first - shielded agent:a\n"
        "set third me self agent:c\n");

    judge("ad");
    is_judged("maybe", MAILPING_PERSON_NONE, "shielded", "first");
    is_int(j.provider.len, 0, "no provider");

    for (i = 0; i < MAILPING_CLASSES; i++) {
        ok(j.probability[i] == 0, "no probabilities");
    }

    judge("bad");
    is_judged("maybe", MAILPING_PERSON_NONE, "shielded", "second");
    is_str(j.provider.data, j.provider.len, "apple", "provider");

    judge("abcd");
    is_judged("no", MAILPING_PERSON_NONE, "self", "third");
    is_str(j.provider.data, j.provider.len, "me", "provider");
    is_int(j.ncounted, 1, "one counted");
}


static void
test_reasons(void)
{
    size_t   len;
    uint8_t  text[MAILPING_REASONS_MAX];

    use("agent a \"a\"\n"
        "rule aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1 "
        "agent - bot+9,human+1 agent:a\n"
        "rule aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2 "
        "network - bot+8 agent:a\n"
        "rule aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa3 "
        "headers - bot+7 agent:a\n"
        "rule aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa4 "
        "time - bot+6 agent:a\n"
        "rule b history - bot+5 agent:a\n");
    judge("a");

    is_int(j.ncounted, 5, "five counted");
    len = mailping_classify_reasons(rs, &j, text);
    is_int(len, 3 * 64 + 2, "whole names only");
    is_int(text[len - 1], '3', "to the third");
}


/*
 * Names of all lengths, up to the last byte of the room and not beyond: they
 * are copied in one piece of constant size where it fits, else exactly.
 */

static void
test_reasons_room(void)
{
    char      rules[4096], name[80], expected[MAILPING_REASONS_MAX + 1];
    size_t    len, size;
    uint8_t   text[MAILPING_REASONS_MAX + 64];
    unsigned  round, i, k, over, wrong, full;

    static const char *const  groups[] = {
        "agent", "network", "headers", "time", "history"
    };

    over = 0;
    wrong = 0;
    full = 0;

    for (round = 0; round < 1000; round++) {
        len = 0;
        expected[0] = '\0';
        size = (size_t) sprintf(rules, "agent a \"a\"\n");

        for (i = 0; i < MAILPING_COUNTED_MAX; i++) {
            k = 3 + random_below(round % 2 ? 62 : 20);
            sprintf(name, "a%0*u", (int) k - 1, i);

            size += (size_t) sprintf(rules + size, "rule %s %s - %s+%u "
                                     "agent:a\n", name, groups[i % 5],
                                     mailping_class_name(i / 5), 30 - i);

            /* the first that does not fit ends it */

            if (len + k + (i != 0) <= MAILPING_REASONS_MAX) {
                len += (size_t) sprintf(expected + len, "%s%s",
                                        i != 0 ? "," : "", name);

            } else {
                break;
            }
        }

        use(rules);
        judge("a");

        memset(text, '#', sizeof(text));
        size = mailping_classify_reasons(rs, &j, text);

        wrong += size != len || memcmp(text, expected, len) != 0;
        full += size == MAILPING_REASONS_MAX;

        for (i = MAILPING_REASONS_MAX; i < sizeof(text); i++) {
            over += text[i] != '#';
        }
    }

    is_int(wrong, 0, "names as they are");
    is_int(over, 0, "nothing is written beyond the room");
    ok(full > 0, "which is full at times");
}


/*
 * Random rules over random facts, some of them unknown: the judgement by the
 * index is that of the full search, which is that of a search written here.
 */

static void
test_index(void)
{
    char                  *text, *p;
    int                    is[N_AGENTS], held, weight, heaviest;
    int                    sum[MAILPING_CLASSES], expected[MAILPING_CLASSES];
    uint8_t                cond[200][N_AGENTS];   /* 1 true, 2 false */
    uint16_t               fired[200];
    unsigned               i, k, n, c, g, round, nfired, wrong, total;
    mailping_judgement_t   full;
    mailping_rule_info_t   info;

    text = malloc(256 * 1024);
    wrong = 0;
    total = 0;

    for (round = 0; round < 60; round++) {
        p = text;

        for (i = 0; i < N_AGENTS; i++) {
            p += sprintf(p, i % 2 ? "agent x%u \"<%u>\"\n"
                                  : "header x%u x%u\n", i, i);
        }

        n = 1 + random_below(200);

        for (k = 0; k < n; k++) {
            p += sprintf(p, "rule r%u %s - %s%c%u,bot-%u", k,
                         mailping_group_name(random_below(MAILPING_GROUPS)),
                         mailping_class_name(random_below(4)),
                         "+-"[random_below(2)], random_below(31),
                         random_below(31));

            memset(cond[k], 0, N_AGENTS);
            c = 1 + random_below(4);

            while (c > 0) {
                i = random_below(N_AGENTS);

                if (cond[k][i] == 0) {
                    cond[k][i] = (uint8_t) (1 + random_below(2));
                    p += sprintf(p, " %s%s:x%u", cond[k][i] == 1 ? "" : "!",
                                 i % 2 ? "agent" : "header", i);
                    c--;
                }
            }

            *p++ = '\n';
        }

        *p = '\0';
        use(text);

        for (k = 0; k < 20; k++) {
            char            agent[256], name[16];
            mailping_str_t  none = mailping_null_string;

            mailping_facts_init(rs, &f);

            /* headers are unknown in every third fetch */

            if (k % 3) {
                mailping_facts_headers(rs, &f);
            }

            agent[0] = '\0';

            for (i = 0; i < N_AGENTS; i++) {
                is[i] = (int) random_below(2);

                if (i % 2) {
                    if (is[i]) {
                        sprintf(agent + strlen(agent), "<%u>", i);
                    }

                } else if (k % 3 == 0) {
                    is[i] = -1;

                } else if (is[i]) {
                    sprintf(name, "X%u", i);
                    mailping_facts_header(rs, &f, str(name), none);
                }
            }

            mailping_facts_agent(rs, &f, str(agent));

            mailping_classify(rs, &f, &j, NULL, NULL);
            mailping_classify(rs, &f, &full, fired, &nfired);

            wrong += memcmp(j.counted, full.counted, sizeof(j.counted)) != 0
                     || j.ncounted != full.ncounted
                     || j.person != full.person || j.open != full.open
                     || j.verdict != full.verdict;

            nfired++;

            memset(expected, 0, sizeof(expected));

            for (g = 0; g < MAILPING_GROUPS; g++) {

                for (c = 0; c < MAILPING_CLASSES; c++) {
                    heaviest = 0;

                    for (i = 0; i < n; i++) {
                        unsigned  q;

                        held = 1;

                        for (q = 0; q < N_AGENTS; q++) {
                            held &= cond[i][q] == 0
                                    || is[q] == (cond[i][q] == 1);
                        }

                        mailping_rules_info(rs, i, &info);
                        weight = info.weight[c];

                        if (g == 0 && c == 0 && held) {
                            total++;
                            nfired--;
                        }

                        if (held && info.group == g
                            && abs(weight) > abs(heaviest))
                        {
                            heaviest = weight;
                        }
                    }

                    expected[c] += heaviest;
                }
            }

            wrong += nfired != 1;

            /* probabilities tell the sums, but for a constant */

            for (c = 0; c < MAILPING_CLASSES; c++) {
                sum[c] = (int) lround(10 * log10(j.probability[c]
                                                 / j.probability[0]));
                wrong += sum[c] != expected[c] - expected[0];
            }
        }
    }

    is_int(wrong, 0, "1200 judgements as the naive search");
    ok(total > 1000, "%u rules held", total);

    free(text);
}


/* A thousand rules beside those that hold change nothing. */

static void
test_many(void)
{
    char      *text, *p;
    unsigned   i;

    text = malloc(1024 * 1024);
    p = text + sprintf(text, "agent a \"a\"\nagent z \"z\"\n"
                       "rule a agent - bot+10 agent:a\n"
                       "rule n time - human-3 !agent:z\n");

    for (i = 0; i < 8000; i++) {
        p += sprintf(p, "rule n%u history - human+30 age>=%us agent:z\n",
                     i, 1 + i % 100);
    }

    use(text);

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, str("a"));
    mailping_facts_age(rs, &f, 1000000);
    mailping_classify(rs, &f, &j, NULL, NULL);

    is_judged("no", 11, "bot", "a,n");

    free(text);
}


/* A rule that another one outweighs whenever it holds is not even looked at. */

static void
test_idle(void)
{
    char    text[512];
    size_t  i;

    static const char  rules[] =
        "agent a \"a\"\nagent b \"b\"\nheader h h\n"
        "rule wide agent - bot+10,human-5 agent:a\n";

    static const struct {
        const char  *rule;
        int          idle;
    } cases[] = {
        { "rule r agent - bot+10,human-5 agent:a", 1 },
        { "rule r agent - bot-10 agent:a", 1 },
        { "rule r agent - bot+9 agent:a agent:b !header:h self seen<3", 1 },
        { "rule r agent - human+0 !agent:b agent:a", 1 },
        { "rule r agent - bot+11 agent:a", 0 },
        { "rule r agent - bot+9,human+6 agent:a agent:b", 0 },
        { "rule r agent - scanner+1 agent:a", 0 },
        { "rule r agent - bot+9 agent:b", 0 },
        { "rule r agent - bot+9 !agent:a", 0 },
        { "rule r network - bot+9 agent:a", 0 },
        { "set r - self agent:a", 0 },
        { "set r - self self agent:a\nset s - self self agent:a !agent:b", 0 },
        { "rule r agent - bot+9 !agent:b\nrule s agent - bot+9 !agent:b", 1 },
        { "rule r agent - bot+8 !agent:b\nrule s agent - bot+9 !agent:b", 1 },
        { "rule r agent - bot+9,scanner+5 agent:a\n"
          "rule s agent - scanner+6 agent:a", 1 },
        { "rule r agent - bot+9,scanner+5 agent:a\n"
          "rule s agent - scanner+6 agent:a agent:b", 0 },
        { "rule r agent - bot+8 !agent:b\n"
          "rule s agent - bot+9 !agent:b header:h", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "%s%s\n", rules, cases[i].rule);
        use(text);

        is_int(mailping_rules_count(rs) - rs->anchor[MAILPING_FACTS_MAX + 1],
               cases[i].idle, "left out: %s", cases[i].rule);
    }

    use("agent a \"a\"\nagent b \"b\"\n"
        "rule wide agent - bot+10,human-5 agent:a\n"
        "rule same agent - bot+10,human-5 agent:a\n"
        "rule narrow agent - bot-10,human+5 agent:a !agent:b\n"
        "rule heavier agent - bot+12,human-5 agent:a agent:b\n"
        "rule other network - bot+1 agent:a\n"
        "rule more agent - scanner+1 agent:a\n");

    judge("a");
    is_judged("no", 8, "bot", "wide,other,more");
    judge("ab");
    is_judged("no", 6, "bot", "heavier,wide,other,more");
}
