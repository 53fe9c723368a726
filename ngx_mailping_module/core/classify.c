
/*
 * Copyright (C) MailPing
 */


#include "ruleset.h"
#include "classify.h"


#define MAILPING_PERSON_YES  80
#define MAILPING_PERSON_NO   20

#define MAILPING_NO_RULE     UINT16_MAX


/* what the rules that hold add up to */

typedef struct {
    uint32_t  heaviest[MAILPING_GROUPS][MAILPING_CLASSES];   /* keys */
    uint16_t  decided;             /* the "set" rule that decides, if any */
    unsigned  evidence;            /* of agent or network */
} mailping_tally_t;


/* what a condition must not meet */

typedef struct {
    uint64_t  is[MAILPING_FACTS_WORDS];      /* not true: false or unknown */
    uint64_t  isnt[MAILPING_FACTS_WORDS];
} mailping_against_t;


static void mailping_classify_range(const mailping_rules_t *rs,
    const mailping_against_t *against, mailping_tally_t *t, uint32_t from,
    uint32_t to);
static int mailping_classify_fails(const mailping_against_t *against,
    const mailping_test_t *test);
static int mailping_classify_tests(const mailping_rules_t *rs,
    const mailping_against_t *against, uint32_t first, unsigned n);
static void mailping_classify_tally(const mailping_rules_t *rs,
    mailping_tally_t *t, const mailping_candidate_t *candidate);
static void mailping_classify_decide(const mailping_rules_t *rs,
    mailping_judgement_t *j, unsigned i);
static void mailping_classify_count(const mailping_rules_t *rs,
    mailping_judgement_t *j, const mailping_tally_t *t,
    int sum[MAILPING_CLASSES]);
static void mailping_classify_verdict(const mailping_rules_t *rs,
    mailping_judgement_t *j, const int sum[MAILPING_CLASSES],
    unsigned evidence);
static unsigned mailping_classify_largest(const int sum[MAILPING_CLASSES],
    unsigned from, unsigned to);
static int mailping_classify_abs(int n);


void
mailping_classify(const mailping_rules_t *rs, const mailping_facts_t *f,
    mailping_judgement_t *j, uint16_t *fired, unsigned *nfired)
{
    int                 sum[MAILPING_CLASSES];
    uint64_t            bits;
    unsigned            i, n, word;
    mailping_tally_t    tally;
    mailping_against_t  against;

    memset(j, 0, sizeof(mailping_judgement_t));
    j->provider.data = (const uint8_t *) "";

    memset(&tally, 0, sizeof(mailping_tally_t));
    tally.decided = MAILPING_NO_RULE;

    for (word = 0; word < MAILPING_FACTS_WORDS; word++) {
        against.is[word] = ~f->is[word] | f->unknown[word];
        against.isnt[word] = f->is[word] | f->unknown[word];
    }

    if (fired != NULL) {
        n = 0;

        for (i = 0; i < rs->nrules; i++) {

            if (mailping_classify_tests(rs, &against, rs->rule[i].test,
                                        rs->rule[i].ntests))
            {
                fired[n++] = (uint16_t) i;
            }
        }

        *nfired = n;

        /* all of them, so that the index can be tested against this */

        mailping_classify_range(rs, &against, &tally, 0, rs->nrules);

    } else {

        for (word = 0; word < MAILPING_FACTS_WORDS; word++) {
            bits = ~against.is[word] & rs->anchors[word];

            for ( /* void */ ; bits != 0; bits &= bits - 1) {
                i = word * 64 + (unsigned) __builtin_ctzll(bits);

                mailping_classify_range(rs, &against, &tally, rs->anchor[i],
                                        rs->anchor[i + 1]);
            }
        }

        mailping_classify_range(rs, &against, &tally,
                                rs->anchor[MAILPING_FACTS_MAX],
                                rs->anchor[MAILPING_FACTS_MAX + 1]);
    }

    if (tally.decided != MAILPING_NO_RULE) {
        mailping_classify_decide(rs, j, tally.decided);
        return;
    }

    mailping_classify_count(rs, j, &tally, sum);
    mailping_classify_verdict(rs, j, sum, tally.evidence);
}


/* The rules of a part of the index. */

static void
mailping_classify_range(const mailping_rules_t *rs,
    const mailping_against_t *against, mailping_tally_t *t, uint32_t from,
    uint32_t to)
{
    const mailping_candidate_t  *candidate, *last;

    candidate = &rs->anchored[from];
    last = &rs->anchored[to];

    for ( /* void */ ; candidate < last; candidate++) {

        /* nearly all end at the first test, which is at hand */

        if (mailping_classify_fails(against, &candidate->first)) {
            continue;
        }

        if (mailping_classify_tests(rs, against, candidate->test,
                                    candidate->ntests))
        {
            mailping_classify_tally(rs, t, candidate);
        }
    }
}


static int
mailping_classify_tests(const mailping_rules_t *rs,
    const mailping_against_t *against, uint32_t first, unsigned n)
{
    const mailping_test_t  *test, *last;

    last = &rs->test[first + n];

    for (test = &rs->test[first]; test < last; test++) {

        if (mailping_classify_fails(against, test)) {
            return 0;
        }
    }

    return 1;
}


/* An unknown fact satisfies neither "is" nor "isnt". */

static int
mailping_classify_fails(const mailping_against_t *against,
    const mailping_test_t *test)
{
    return ((test->is & against->is[test->word])
            | (test->isnt & against->isnt[test->word])) != 0;
}


/* The result does not depend on the order in which rules come here. */

static void
mailping_classify_tally(const mailping_rules_t *rs, mailping_tally_t *t,
    const mailping_candidate_t *candidate)
{
    uint32_t               *heaviest;
    unsigned                class, i;
    const mailping_rule_t  *rule, *decided;

    i = candidate->rule;

    if (candidate->group == MAILPING_GROUP_SET) {

        if (t->decided == MAILPING_NO_RULE) {
            t->decided = (uint16_t) i;
            return;
        }

        /* "self" before "shielded", then the earlier rule */

        rule = &rs->rule[i];
        decided = &rs->rule[t->decided];

        if (rule->outcome > decided->outcome
            || (rule->outcome == decided->outcome && i < t->decided))
        {
            t->decided = (uint16_t) i;
        }

        return;
    }

    t->evidence |= candidate->group == MAILPING_GROUP_AGENT
                   || candidate->group == MAILPING_GROUP_NETWORK;

    heaviest = t->heaviest[candidate->group];

    for (class = 0; class < MAILPING_CLASSES; class++) {
        if (heaviest[class] < candidate->key[class]) {
            heaviest[class] = candidate->key[class];
        }
    }
}


static void
mailping_classify_decide(const mailping_rules_t *rs, mailping_judgement_t *j,
    unsigned i)
{
    const mailping_rule_t  *rule;

    rule = &rs->rule[i];

    j->verdict = rule->outcome;
    j->open = rule->outcome == MAILPING_VERDICT_SELF ? MAILPING_OPEN_NO
                                                     : MAILPING_OPEN_MAYBE;
    j->person = MAILPING_PERSON_NONE;
    j->provider = rule->provider;
    j->ncounted = 1;
    j->counted[0] = (uint16_t) i;
}


/* Adds the weights that count, and orders their rules. */

static void
mailping_classify_count(const mailping_rules_t *rs, mailping_judgement_t *j,
    const mailping_tally_t *t, int sum[MAILPING_CLASSES])
{
    int       weight, counted[MAILPING_COUNTED_MAX];
    uint16_t  rule;
    unsigned  group, class, i, k;

    for (class = 0; class < MAILPING_CLASSES; class++) {
        sum[class] = rs->prior[class];
    }

    for (group = 0; group < MAILPING_GROUPS; group++) {

        for (class = 0; class < MAILPING_CLASSES; class++) {

            if (t->heaviest[group][class] == 0) {
                continue;
            }

            rule = (uint16_t) (UINT16_MAX - t->heaviest[group][class]);
            weight = rs->rule[rule].weight[class];
            sum[class] += weight;
            weight = mailping_classify_abs(weight);

            for (i = 0; i < j->ncounted && j->counted[i] != rule; i++) {
                /* void */
            }

            if (i == j->ncounted) {
                j->ncounted++;

            } else if (counted[i] >= weight) {
                continue;
            }

            /* the place is free, or its rule moves up */

            for (k = i; k > 0; k--) {

                if (counted[k - 1] > weight
                    || (counted[k - 1] == weight && j->counted[k - 1] < rule))
                {
                    break;
                }

                counted[k] = counted[k - 1];
                j->counted[k] = j->counted[k - 1];
            }

            counted[k] = weight;
            j->counted[k] = rule;
        }
    }

    for (i = 0; i < j->ncounted; i++) {

        if (rs->rule[j->counted[i]].provider.len != 0) {
            j->provider = rs->rule[j->counted[i]].provider;
            break;
        }
    }
}


static void
mailping_classify_verdict(const mailping_rules_t *rs, mailping_judgement_t *j,
    const int sum[MAILPING_CLASSES], unsigned evidence)
{
    double    total;
    unsigned  class, largest;

    largest = mailping_classify_largest(sum, 0, MAILPING_CLASSES);
    total = 0;

    for (class = 0; class < MAILPING_CLASSES; class++) {
        j->probability[class] = rs->power[sum[largest] - sum[class]];
        total += j->probability[class];
    }

    for (class = 0; class < MAILPING_CLASSES; class++) {
        j->probability[class] /= total;
    }

    j->person = (int) (100 * (j->probability[MAILPING_CLASS_HUMAN]
                              + j->probability[MAILPING_CLASS_PROXIED])
                       + 0.5);

    if (!evidence) {
        j->open = MAILPING_OPEN_MAYBE;
        j->verdict = MAILPING_VERDICT_UNKNOWN;

        if (j->person >= MAILPING_PERSON_YES) {
            j->person = MAILPING_PERSON_YES - 1;

        } else if (j->person <= MAILPING_PERSON_NO) {
            j->person = MAILPING_PERSON_NO + 1;
        }

        return;
    }

    if (j->person >= MAILPING_PERSON_YES) {
        j->open = MAILPING_OPEN_YES;
        j->verdict = mailping_classify_largest(sum, MAILPING_CLASS_HUMAN,
                                               MAILPING_CLASS_PREFETCH);

    } else if (j->person <= MAILPING_PERSON_NO) {
        j->open = MAILPING_OPEN_NO;
        j->verdict = mailping_classify_largest(sum, MAILPING_CLASS_PREFETCH,
                                               MAILPING_CLASSES);

    } else {
        j->open = MAILPING_OPEN_MAYBE;
        j->verdict = largest;
    }
}


/* The first of equals. */

static unsigned
mailping_classify_largest(const int sum[MAILPING_CLASSES], unsigned from,
    unsigned to)
{
    unsigned  class, largest;

    largest = from;

    for (class = from + 1; class < to; class++) {
        if (sum[class] > sum[largest]) {
            largest = class;
        }
    }

    return largest;
}


static int
mailping_classify_abs(int n)
{
    return n < 0 ? -n : n;
}


size_t
mailping_classify_reasons(const mailping_rules_t *rs,
    const mailping_judgement_t *j, uint8_t dst[MAILPING_REASONS_MAX])
{
    size_t          len;
    unsigned        i;
    mailping_str_t  name;

    len = 0;

    for (i = 0; i < j->ncounted; i++) {
        name = rs->rule[j->counted[i]].name;

        if (len + (len != 0) + name.len > MAILPING_REASONS_MAX) {
            break;
        }

        if (len != 0) {
            dst[len++] = ',';
        }

        memcpy(dst + len, name.data, name.len);
        len += name.len;
    }

    return len;
}


const char *
mailping_open_name(unsigned open)
{
    static const char *const  names[] = { "no", "maybe", "yes" };

    return names[open < MAILPING_OPENS ? open : MAILPING_OPEN_MAYBE];
}


const char *
mailping_verdict_name(unsigned verdict)
{
    static const char *const  names[] = {
        "human", "proxied", "prefetch", "scanner", "bot", "shielded", "self",
        "unknown"
    };

    return names[verdict < MAILPING_VERDICTS ? verdict
                                             : MAILPING_VERDICT_UNKNOWN];
}
