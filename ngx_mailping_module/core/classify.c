
/*
 * Copyright (C) MailPing
 */


#include "ruleset.h"
#include "classify.h"


#define MAILPING_PERSON_YES  80
#define MAILPING_PERSON_NO   20

#define MAILPING_NO_RULE     UINT16_MAX

#define MAILPING_VECTOR      4         /* keys in a vector */


/*
 * What the rules that hold add up to.  Two tables are taken in turn, as one has
 * to wait for what was just written to it, and the first has it all in the end.
 */

typedef struct {
    mailping_ranks_t  heaviest[2][MAILPING_GROUPS];
    uint16_t          decided;     /* the "set" rule that decides, if any */
} mailping_tally_t;


static void mailping_classify_index(const mailping_rules_t *rs,
    const uint64_t *against, mailping_tally_t *t);
static unsigned mailping_classify_hits(const mailping_rules_t *rs,
    const uint64_t *against, uint32_t from, uint32_t to, uint16_t *hit);
static int mailping_classify_tests(const mailping_rules_t *rs,
    const uint64_t *against, uint32_t first, unsigned n);
static inline void mailping_classify_tally(const mailping_rules_t *rs,
    mailping_tally_t *t, unsigned i, unsigned group, unsigned turn);
static void mailping_classify_heaviest(mailping_ranks_t *restrict heaviest,
    const mailping_ranks_t *restrict ranks);
static void mailping_classify_set(const mailping_rules_t *rs,
    mailping_tally_t *t, unsigned i);
static void mailping_classify_decide(const mailping_rules_t *rs,
    mailping_judgement_t *j, unsigned i);
static unsigned mailping_classify_count(const mailping_rules_t *rs,
    mailping_judgement_t *j, const mailping_tally_t *t,
    int sum[MAILPING_CLASSES]);
static void mailping_classify_order(mailping_judgement_t *j, int32_t *keys,
    unsigned n);
static int32_t mailping_classify_max(int32_t a, int32_t b);
static void mailping_classify_verdict(const mailping_rules_t *rs,
    mailping_judgement_t *j, const int sum[MAILPING_CLASSES],
    unsigned evidence);
static unsigned mailping_classify_largest(const int sum[MAILPING_CLASSES],
    unsigned from, unsigned to);


void
mailping_classify(const mailping_rules_t *rs, const mailping_facts_t *f,
    mailping_judgement_t *j, uint16_t *fired, unsigned *nfired)
{
    int               sum[MAILPING_CLASSES];
    uint64_t          against[2 * MAILPING_FACTS_WORDS];
    unsigned          i, n, word, evidence;
    mailping_tally_t  tally;

    memset(j, 0, sizeof(mailping_judgement_t));
    j->provider.data = (const uint8_t *) "";

    memset(&tally, 0, sizeof(mailping_tally_t));
    tally.decided = MAILPING_NO_RULE;

    /* an unknown fact is neither what must be true nor what must be false */

    for (word = 0; word < rs->nwords; word++) {
        against[word] = ~f->is[word] | f->unknown[word];
        against[MAILPING_FACTS_WORDS + word] = f->is[word] | f->unknown[word];
    }

    if (fired != NULL) {
        n = 0;

        /* one by one, so that the index can be tested against this */

        for (i = 0; i < rs->nrules; i++) {

            if (mailping_classify_tests(rs, against, rs->rule[i].test,
                                        rs->rule[i].ntests))
            {
                fired[n++] = (uint16_t) i;
                mailping_classify_tally(rs, &tally, i, rs->rule[i].group, 0);
            }
        }

        *nfired = n;

    } else {
        mailping_classify_index(rs, against, &tally);
    }

    if (tally.decided != MAILPING_NO_RULE) {
        mailping_classify_decide(rs, j, tally.decided);
        return;
    }

    evidence = mailping_classify_count(rs, j, &tally, sum);
    mailping_classify_verdict(rs, j, sum, evidence);
}


static void
mailping_classify_index(const mailping_rules_t *rs, const uint64_t *against,
    mailping_tally_t *t)
{
    uint16_t                     hit[MAILPING_RULES_MAX + 1];
    uint64_t                     bits;
    unsigned                     i, n, word;
    const mailping_candidate_t  *candidate;

    n = mailping_classify_hits(rs, against, rs->anchor[MAILPING_FACTS_MAX],
                               rs->anchor[MAILPING_FACTS_MAX + 1], hit);

    for (word = 0; word < rs->nwords; word++) {
        bits = ~against[word] & rs->anchors[word];

        for ( /* void */ ; bits != 0; bits &= bits - 1) {
            i = word * 64 + (unsigned) __builtin_ctzll(bits);

            n += mailping_classify_hits(rs, against, rs->anchor[i],
                                        rs->anchor[i + 1], &hit[n]);
        }
    }

    for (i = 0; i < n; i++) {
        candidate = &rs->anchored[hit[i]];

        if (mailping_classify_tests(rs, against, candidate->test,
                                    candidate->ntests))
        {
            mailping_classify_tally(rs, t, candidate->rule, candidate->group,
                                    i % 2);
        }
    }

    for (i = 0; i < MAILPING_GROUPS; i++) {
        mailping_classify_heaviest(&t->heaviest[0][i], &t->heaviest[1][i]);
    }
}


/*
 * Those of a part of the index that pass the test at hand.  A processor can
 * hardly foresee which do, so nothing branches on it: one that fails is
 * overwritten by the next.
 */

static unsigned
mailping_classify_hits(const mailping_rules_t *rs, const uint64_t *against,
    uint32_t from, uint32_t to, uint16_t *hit)
{
    uint32_t                     i;
    unsigned                     n;
    const mailping_candidate_t  *candidate;

    n = 0;

    for (i = from; i < to; i++) {
        candidate = &rs->anchored[i];

        hit[n] = (uint16_t) i;
        n += (candidate->first.mask & against[candidate->first.word]) == 0;
    }

    return n;
}


static int
mailping_classify_tests(const mailping_rules_t *rs, const uint64_t *against,
    uint32_t first, unsigned n)
{
    const mailping_test_t  *test, *last;

    test = &rs->test[first];
    last = test + n;

    for ( /* void */ ; test < last; test++) {

        if (test->mask & against[test->word]) {
            return 0;
        }
    }

    return 1;
}


/* The result does not depend on the order in which rules come here. */

static void
mailping_classify_tally(const mailping_rules_t *rs, mailping_tally_t *t,
    unsigned i, unsigned group, unsigned turn)
{
    if (group == MAILPING_GROUP_SET) {
        mailping_classify_set(rs, t, i);
        return;
    }

    mailping_classify_heaviest(&t->heaviest[turn][group], &rs->ranks[i]);
}


static void
mailping_classify_heaviest(mailping_ranks_t *restrict heaviest,
    const mailping_ranks_t *restrict ranks)
{
    unsigned  k;

    for (k = 0; k < MAILPING_RANKS; k++) {
        heaviest->rank[k] = heaviest->rank[k] > ranks->rank[k]
                            ? heaviest->rank[k] : ranks->rank[k];
    }
}


/* "self" before "shielded", then the earlier rule */

static void
mailping_classify_set(const mailping_rules_t *rs, mailping_tally_t *t,
    unsigned i)
{
    const mailping_rule_t  *rule, *decided;

    if (t->decided == MAILPING_NO_RULE) {
        t->decided = (uint16_t) i;
        return;
    }

    rule = &rs->rule[i];
    decided = &rs->rule[t->decided];

    if (rule->outcome > decided->outcome
        || (rule->outcome == decided->outcome && i < t->decided))
    {
        t->decided = (uint16_t) i;
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


/*
 * Adds the weights that count, and orders their rules.  Returns whether there
 * is evidence of agent or network.
 */

static unsigned
mailping_classify_count(const mailping_rules_t *rs, mailping_judgement_t *j,
    const mailping_tally_t *t, int sum[MAILPING_CLASSES])
{
    int32_t   key, keys[MAILPING_COUNTED_MAX + MAILPING_VECTOR];
    unsigned  group, class, i, k, n, same, evidence;

    for (class = 0; class < MAILPING_CLASSES; class++) {
        sum[class] = rs->prior[class];
    }

    /*
     * A rule is of one group: there alone it can be met again, and is placed by
     * the greatest of its keys.
     */

    n = 0;
    evidence = 0;

    for (group = 0; group < MAILPING_GROUPS; group++) {
        i = n;

        for (class = 0; class < MAILPING_CLASSES; class++) {
            key = rs->key[t->heaviest[0][group].rank[class]];

            if (key == 0) {
                continue;
            }

            sum[class] += mailping_key_weight(key);
            same = 0;

            for (k = i; k < n; k++) {
                if (mailping_key_rule(keys[k]) == mailping_key_rule(key)) {
                    keys[k] = mailping_classify_max(keys[k], key);
                    same = 1;
                }
            }

            keys[n] = key;
            n += !same;
        }

        /* agent and network are the first two groups */

        if (group == MAILPING_GROUP_NETWORK) {
            evidence = n != 0;
        }
    }

    mailping_classify_order(j, keys, n);

    for (i = 0; i < n; i++) {

        if (rs->reason[j->counted[i]].provider) {
            j->provider = rs->rule[j->counted[i]].provider;
            break;
        }
    }

    return evidence;
}


/*
 * The place of each is how many are greater, which takes no branches; as many
 * as fill a vector are placed at a time.  Behind the keys there is room for as
 * many that are none.
 */

static void
mailping_classify_order(mailping_judgement_t *j, int32_t *keys, unsigned n)
{
    int32_t   place[MAILPING_VECTOR];
    unsigned  i, k;

    memset(&keys[n], 0, MAILPING_VECTOR * sizeof(int32_t));

    for (i = 0; i < n; i += MAILPING_VECTOR) {
        memset(place, 0, sizeof(place));

        for (k = 0; k < n; k++) {
            place[0] += keys[k] > keys[i];
            place[1] += keys[k] > keys[i + 1];
            place[2] += keys[k] > keys[i + 2];
            place[3] += keys[k] > keys[i + 3];
        }

        for (k = 0; k < MAILPING_VECTOR && i + k < n; k++) {
            j->counted[place[k]] = mailping_key_rule(keys[i + k]);
        }
    }

    j->ncounted = n;
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


static int32_t
mailping_classify_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}


size_t
mailping_classify_reasons(const mailping_rules_t *rs,
    const mailping_judgement_t *j, uint8_t dst[MAILPING_REASONS_MAX])
{
    size_t                    len, size;
    unsigned                  i;
    const uint8_t            *text;
    const mailping_reason_t  *reason;

    len = 0;

    for (i = 0; i < j->ncounted; i++) {
        reason = &rs->reason[j->counted[i]];

        /* no comma before the first */

        text = rs->reasons + reason->text + (i == 0);
        size = reason->len - (size_t) (i == 0);

        if (len + size > MAILPING_REASONS_MAX) {
            break;
        }

        /* a copy of constant size is a few instructions, another is a call */

        if (size <= MAILPING_REASON_COPY
            && len + MAILPING_REASON_COPY <= MAILPING_REASONS_MAX)
        {
            memcpy(dst + len, text, MAILPING_REASON_COPY);

        } else {
            memcpy(dst + len, text, size);
        }

        len += size;
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
