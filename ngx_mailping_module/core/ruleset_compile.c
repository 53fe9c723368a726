
/*
 * Copyright (C) MailPing
 */


#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ruleset.h"


/* What was parsed becomes what is judged by: tests, index, tables. */


static int mailping_ruleset_check(mailping_rules_t *rs,
    mailping_rules_error_t *err);
static int mailping_ruleset_automaton(mailping_rules_t *rs,
    mailping_rules_error_t *err);
static void mailping_ruleset_kinds(mailping_rules_t *rs);
static int mailping_ruleset_headers(mailping_rules_t *rs);
static int mailping_ruleset_reasons(mailping_rules_t *rs);
static int mailping_ruleset_tests(mailping_rules_t *rs);
static int mailping_ruleset_index(mailping_rules_t *rs);
static int mailping_ruleset_ranks(mailping_rules_t *rs);
static int mailping_ruleset_compare_keys(const void *one, const void *two);
static void mailping_ruleset_anchors(mailping_rules_t *rs,
    const uint32_t *uses);
static void mailping_ruleset_candidate(const mailping_rules_t *rs, unsigned i,
    unsigned anchor, mailping_candidate_t *candidate);
static int mailping_ruleset_idle(const mailping_rules_t *rs, unsigned i);
static unsigned mailping_ruleset_outweigh(const mailping_rules_t *rs,
    unsigned i, unsigned anchor, unsigned classes);
static int mailping_ruleset_implied(const mailping_rules_t *rs, unsigned one,
    unsigned other);
static unsigned mailping_ruleset_anchor(const mailping_rule_t *rule,
    const uint32_t *uses);
static void mailping_ruleset_asns(mailping_rules_t *rs);
static int mailping_ruleset_compare_asns(const void *one, const void *two);


int
mailping_rules_compile(mailping_rules_t *rs, mailping_rules_error_t *err)
{
    uint8_t   sum[EVP_MAX_MD_SIZE];
    unsigned  i;

    if (mailping_ruleset_check(rs, err) != MAILPING_OK
        || mailping_ruleset_automaton(rs, err) != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    if (mailping_networks_compile(rs->networks) != MAILPING_OK
        || mailping_ruleset_tests(rs) != MAILPING_OK
        || mailping_ruleset_ranks(rs) != MAILPING_OK
        || mailping_ruleset_index(rs) != MAILPING_OK
        || mailping_ruleset_headers(rs) != MAILPING_OK
        || mailping_ruleset_reasons(rs) != MAILPING_OK
        || EVP_DigestFinal_ex(rs->digest, sum, NULL) != 1)
    {
        return mailping_ruleset_no_memory(err);
    }

    rs->id = (uint32_t) sum[0] << 24 | (uint32_t) sum[1] << 16
             | (uint32_t) sum[2] << 8 | sum[3];

    rs->nwords = (rs->nfacts + 63) / 64;

    mailping_ruleset_asns(rs);
    mailping_ruleset_kinds(rs);

    for (i = 0; i <= MAILPING_DISTANCE_MAX; i++) {
        rs->power[i] = pow(10, -(double) i / 10);
    }

    return MAILPING_OK;
}


/* Every set that a rule asks for must be defined by some file. */

static int
mailping_ruleset_check(mailping_rules_t *rs, mailping_rules_error_t *err)
{
    unsigned                i, k;
    const mailping_fact_t  *fact;
    const mailping_rule_t  *rule;

    for (i = 0; i < rs->nrules; i++) {
        rule = &rs->rule[i];

        for (k = 0; k < rule->nterms; k++) {
            fact = &rs->fact[rule->term[k].fact];

            if (fact->defined) {
                continue;
            }

            snprintf(err->file, sizeof(err->file), "%s", rule->file);
            err->line = rule->term[k].line;
            err->column = rule->term[k].column;
            snprintf(err->text, sizeof(err->text),
                     "expected name of a defined set, found \"%.*s\"",
                     (int) fact->name.len, (const char *) fact->name.data);

            return MAILPING_ERROR;
        }
    }

    return MAILPING_OK;
}


static int
mailping_ruleset_automaton(mailping_rules_t *rs, mailping_rules_error_t *err)
{
    int                 rc;
    uint32_t            n;
    mailping_origin_t  *origin;

    rc = mailping_patterns_compile(rs->patterns, &n);

    if (rc == MAILPING_DECLINED) {
        origin = &rs->origin[n];

        snprintf(err->file, sizeof(err->file), "%s", origin->file);
        err->line = origin->line;
        err->column = origin->column;
        snprintf(err->text, sizeof(err->text),
                 "expected agent patterns whose automaton has at most %d "
                 "steps, found more", MAILPING_PATTERNS_TABLE_MAX);
        return MAILPING_ERROR;
    }

    free(rs->origin);
    rs->origin = NULL;

    return rc == MAILPING_OK ? MAILPING_OK : mailping_ruleset_no_memory(err);
}


static void
mailping_ruleset_kinds(mailping_rules_t *rs)
{
    unsigned                i, n, kind;
    const mailping_fact_t  *fact;

    n = 0;

    for (kind = 0; kind < MAILPING_FACT_KINDS; kind++) {
        rs->first[kind] = n;

        for (i = 0; i < rs->nfacts; i++) {
            fact = &rs->fact[i];

            if (fact->valid && fact->defined && fact->kind == kind) {
                rs->known[kind][i / 64] |= (uint64_t) 1 << i % 64;
                rs->by_kind[n++] = (uint16_t) i;
            }
        }
    }

    rs->first[kind] = n;
}


static int
mailping_ruleset_headers(mailping_rules_t *rs)
{
    uint32_t  i, k, size;

    for (size = 16; size < rs->nheaders * 2; size *= 2) {
        /* void */
    }

    rs->headers = calloc(size, sizeof(uint32_t));
    if (rs->headers == NULL) {
        return MAILPING_ERROR;
    }

    rs->mheaders = size - 1;

    for (i = 0; i < rs->nheaders; i++) {
        k = rs->header[i].hash & rs->mheaders;

        while (rs->headers[k] != 0) {
            k = (k + 1) & rs->mheaders;
        }

        rs->headers[k] = i + 1;
    }

    return MAILPING_OK;
}


/* The names side by side, as they are joined: many rules may count. */

static int
mailping_ruleset_reasons(mailping_rules_t *rs)
{
    size_t                  size;
    uint32_t                n;
    unsigned                i;
    mailping_reason_t      *reason;
    const mailping_rule_t  *rule;

    /* what is copied at once may end behind the last name */

    size = MAILPING_REASON_COPY;

    for (i = 0; i < rs->nrules; i++) {
        size += 1 + rs->rule[i].name.len;
    }

    rs->reason = calloc(rs->nrules + 1, sizeof(mailping_reason_t));
    rs->reasons = calloc(size, 1);

    if (rs->reason == NULL || rs->reasons == NULL) {
        return MAILPING_ERROR;
    }

    n = 0;

    for (i = 0; i < rs->nrules; i++) {
        rule = &rs->rule[i];
        reason = &rs->reason[i];

        reason->text = n;
        reason->len = (uint16_t) (1 + rule->name.len);
        reason->provider = rule->provider.len != 0;

        rs->reasons[n] = ',';
        memcpy(&rs->reasons[n + 1], rule->name.data, rule->name.len);

        n += reason->len;
    }

    return MAILPING_OK;
}


static int
mailping_ruleset_tests(mailping_rules_t *rs)
{
    uint32_t                n;
    unsigned                i, k, word;
    mailping_rule_t        *rule;
    mailping_test_t        *test;
    const mailping_term_t  *term;

    n = 0;

    for (i = 0; i < rs->nrules; i++) {
        n += rs->rule[i].nterms;
    }

    rs->test = calloc(n + 1, sizeof(mailping_test_t));
    if (rs->test == NULL) {
        return MAILPING_ERROR;
    }

    n = 0;

    for (i = 0; i < rs->nrules; i++) {
        rule = &rs->rule[i];
        rule->test = n;

        for (k = 0; k < rule->nterms; k++) {
            term = &rule->term[k];
            word = term->fact / 64 + (term->negated ? MAILPING_FACTS_WORDS : 0);

            for (test = &rs->test[rule->test]; test < &rs->test[n]; test++) {
                if (test->word == word) {
                    break;
                }
            }

            if (test == &rs->test[n]) {
                test->word = word;
                n++;
            }

            test->mask |= (uint64_t) 1 << term->fact % 64;
        }

        rule->ntests = (uint16_t) (n - rule->test);
    }

    return MAILPING_OK;
}


static int
mailping_ruleset_ranks(mailping_rules_t *rs)
{
    int32_t                 key, *found;
    uint32_t                n;
    unsigned                i, class;
    const mailping_rule_t  *rule;

    rs->ranks = calloc(rs->nrules + 1, sizeof(mailping_ranks_t));
    rs->key = calloc(rs->nrules * MAILPING_CLASSES + 1, sizeof(int32_t));

    if (rs->ranks == NULL || rs->key == NULL) {
        return MAILPING_ERROR;
    }

    n = 1;

    for (i = 0; i < rs->nrules; i++) {
        rule = &rs->rule[i];

        for (class = 0; class < MAILPING_CLASSES; class++) {

            if (rule->classes & 1 << class) {
                rs->key[n++] = mailping_key(rule->weight[class], i);
            }
        }
    }

    /* the first is the least: no key is negative */

    qsort(rs->key, n, sizeof(int32_t), mailping_ruleset_compare_keys);

    for (i = 0; i < rs->nrules; i++) {
        rule = &rs->rule[i];

        for (class = 0; class < MAILPING_CLASSES; class++) {

            if (rule->classes & 1 << class) {
                key = mailping_key(rule->weight[class], i);
                found = bsearch(&key, rs->key, n, sizeof(int32_t),
                                mailping_ruleset_compare_keys);
                rs->ranks[i].rank[class] = (uint16_t) (found - rs->key);
            }
        }
    }

    return MAILPING_OK;
}


static int
mailping_ruleset_compare_keys(const void *one, const void *two)
{
    const int32_t  *a, *b;

    a = one;
    b = two;

    return *a < *b ? -1 : *a > *b;
}


/*
 * A rule can hold only if all facts that it requires are true, so it is looked
 * at only when one of them, its anchor, is.  Rules without such a fact are in
 * the last list, which is always looked at.
 */

static int
mailping_ruleset_index(mailping_rules_t *rs)
{
    unsigned                i, k;
    uint32_t               *uses;
    const mailping_rule_t  *rule;

    rs->anchored = calloc(rs->nrules + 1, sizeof(mailping_candidate_t));
    uses = calloc(MAILPING_FACTS_MAX, sizeof(uint32_t));

    if (rs->anchored == NULL || uses == NULL) {
        free(uses);
        return MAILPING_ERROR;
    }

    for (i = 0; i < rs->nrules; i++) {
        rule = &rs->rule[i];

        for (k = 0; k < rule->nterms; k++) {
            uses[rule->term[k].fact] += rule->term[k].negated == 0;
        }
    }

    /* the index of all rules finds those that are not needed in it */

    mailping_ruleset_anchors(rs, uses);

    for (i = 0; i < rs->nrules; i++) {
        rs->rule[i].idle = (uint8_t) mailping_ruleset_idle(rs, i);
    }

    mailping_ruleset_anchors(rs, uses);

    free(uses);

    return MAILPING_OK;
}


static void
mailping_ruleset_anchors(mailping_rules_t *rs, const uint32_t *uses)
{
    uint32_t  n, place[MAILPING_FACTS_MAX + 1];
    unsigned  i, anchor;

    memset(place, 0, sizeof(place));
    memset(rs->anchors, 0, sizeof(rs->anchors));

    for (i = 0; i < rs->nrules; i++) {

        if (rs->rule[i].idle) {
            continue;
        }

        anchor = mailping_ruleset_anchor(&rs->rule[i], uses);
        place[anchor]++;

        if (anchor < MAILPING_FACTS_MAX) {
            rs->anchors[anchor / 64] |= (uint64_t) 1 << anchor % 64;
        }
    }

    n = 0;

    for (i = 0; i <= MAILPING_FACTS_MAX; i++) {
        rs->anchor[i] = n;
        n += place[i];
        place[i] = rs->anchor[i];
    }

    rs->anchor[i] = n;

    for (i = 0; i < rs->nrules; i++) {

        if (rs->rule[i].idle) {
            continue;
        }

        anchor = mailping_ruleset_anchor(&rs->rule[i], uses);
        mailping_ruleset_candidate(rs, i, anchor,
                                   &rs->anchored[place[anchor]++]);
    }
}


static void
mailping_ruleset_candidate(const mailping_rules_t *rs, unsigned i,
    unsigned anchor, mailping_candidate_t *candidate)
{
    unsigned                k, n;
    mailping_test_t         test;
    const mailping_rule_t  *rule;

    rule = &rs->rule[i];

    memset(candidate, 0, sizeof(mailping_candidate_t));

    candidate->rule = (uint16_t) i;
    candidate->test = rule->test;
    candidate->group = rule->group;
    n = 0;

    for (k = 0; k < rule->ntests; k++) {
        test = rs->test[rule->test + k];

        /* it is looked at only when its anchor is true */

        if (anchor < MAILPING_FACTS_MAX && test.word == anchor / 64) {
            test.mask &= ~((uint64_t) 1 << anchor % 64);
        }

        if (test.mask == 0) {
            continue;
        }

        /* what must be true is seldom met, what must be false often */

        if (n++ == 0 || test.word < candidate->first.word) {
            candidate->first = test;
        }
    }

    candidate->ntests = (uint8_t) (n > 1 ? rule->ntests : 0);
}


/*
 * Whether for all that a rule says of a class there is a heavier one of its
 * group that holds whenever it does: then it never counts.
 */

static int
mailping_ruleset_idle(const mailping_rules_t *rs, unsigned i)
{
    unsigned                k, left;
    const mailping_rule_t  *rule;

    rule = &rs->rule[i];

    if (rule->group == MAILPING_GROUP_SET) {
        return 0;
    }

    /* what holds whenever this rule does is anchored in one of its facts */

    left = mailping_ruleset_outweigh(rs, i, MAILPING_FACTS_MAX, rule->classes);

    for (k = 0; k < rule->nterms && left != 0; k++) {

        if (!rule->term[k].negated) {
            left = mailping_ruleset_outweigh(rs, i, rule->term[k].fact, left);
        }
    }

    return left == 0;
}


/* Those of these classes that no rule of an anchor says more of. */

static unsigned
mailping_ruleset_outweigh(const mailping_rules_t *rs, unsigned i,
    unsigned anchor, unsigned classes)
{
    uint32_t  n;
    unsigned  other, class, heavier;

    for (n = rs->anchor[anchor];
         n < rs->anchor[anchor + 1] && classes != 0;
         n++)
    {
        other = rs->anchored[n].rule;

        if (rs->anchored[n].group != rs->rule[i].group) {
            continue;
        }

        heavier = 0;

        for (class = 0; class < MAILPING_CLASSES; class++) {
            heavier |= (unsigned) (rs->ranks[other].rank[class]
                                   > rs->ranks[i].rank[class]) << class;
        }

        if ((heavier & classes) && mailping_ruleset_implied(rs, other, i)) {
            classes &= ~heavier;
        }
    }

    return classes;
}


/* Whether one requires nothing that other does not require. */

static int
mailping_ruleset_implied(const mailping_rules_t *rs, unsigned one,
    unsigned other)
{
    unsigned                i, k;
    const mailping_rule_t  *a, *b;
    const mailping_test_t  *test, *has;

    a = &rs->rule[one];
    b = &rs->rule[other];

    for (i = 0; i < a->ntests; i++) {
        test = &rs->test[a->test + i];

        for (k = 0; k < b->ntests; k++) {
            has = &rs->test[b->test + k];

            if (has->word == test->word && (test->mask & ~has->mask) == 0) {
                break;
            }
        }

        if (k == b->ntests) {
            return 0;
        }
    }

    return 1;
}


/* The required fact that fewest rules require is the most telling. */

static unsigned
mailping_ruleset_anchor(const mailping_rule_t *rule, const uint32_t *uses)
{
    unsigned                k, anchor;
    const mailping_term_t  *term;

    anchor = MAILPING_FACTS_MAX;

    for (k = 0; k < rule->nterms; k++) {
        term = &rule->term[k];

        if (!term->negated
            && (anchor == MAILPING_FACTS_MAX
                || uses[term->fact] < uses[anchor]))
        {
            anchor = term->fact;
        }
    }

    return anchor;
}


/* Sorts them, and keeps one of equals. */

static void
mailping_ruleset_asns(mailping_rules_t *rs)
{
    uint32_t  i, n;

    if (rs->nasns == 0) {
        return;
    }

    qsort(rs->asn, rs->nasns, sizeof(mailping_asn_t),
          mailping_ruleset_compare_asns);

    n = 1;

    for (i = 1; i < rs->nasns; i++) {

        if (mailping_ruleset_compare_asns(&rs->asn[i], &rs->asn[n - 1]) != 0) {
            rs->asn[n++] = rs->asn[i];
        }
    }

    rs->nasns = n;
}


static int
mailping_ruleset_compare_asns(const void *one, const void *two)
{
    const mailping_asn_t  *a, *b;

    a = one;
    b = two;

    if (a->asn != b->asn) {
        return a->asn < b->asn ? -1 : 1;
    }

    return a->fact < b->fact ? -1 : a->fact > b->fact;
}
