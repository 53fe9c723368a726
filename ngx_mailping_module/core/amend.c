
/*
 * Copyright (C) MailPing
 */


#include "amend.h"


#define MAILPING_MANY        UINT32_MAX
#define MAILPING_AMEND_LATE  86400000      /* ms, what a habit reaches back */


static void mailping_amend_past(mailping_recent_t *r,
    const mailping_later_t *later);
static int mailping_amend_near(const mailping_recent_t *r,
    const mailping_later_t *later, uint64_t window);


void
mailping_past_facts(const mailping_rules_t *rs, mailping_facts_t *f,
    const mailping_past_t *past)
{
    /* "the first that we remember" is not yet "the first" */

    if (past->sure || past->seen > 1) {
        mailping_facts_seen(rs, f, past->seen);
    }

    if (past->burst != 0) {
        mailping_facts_burst(rs, f, past->burst);
        mailping_facts_farm(rs, f, past->farm);
    }

    mailping_facts_agents(rs, f, past->agents);
    mailping_facts_quick(rs, f, past->quick);
    mailping_facts_scanned(rs, f, past->scanned);
}


int
mailping_amend_possible(const mailping_rules_t *rs, const mailping_facts_t *f,
    const mailping_judgement_t *j)
{
    mailping_facts_t      all;
    mailping_judgement_t  then;

    all = *f;

    mailping_facts_burst(rs, &all, MAILPING_MANY);
    mailping_facts_farm(rs, &all, MAILPING_MANY);
    mailping_facts_agents(rs, &all, MAILPING_MANY);
    mailping_facts_quick(rs, &all, 100);
    mailping_facts_scanned(rs, &all, 1);

    mailping_classify(rs, &all, &then, NULL, NULL);

    if (then.open != j->open || then.verdict != j->verdict) {
        return 1;
    }

    /* the one evidence that may speak for a person */

    all = *f;
    mailping_facts_quick(rs, &all, 0);

    if (memcmp(all.is, f->is, sizeof(all.is)) == 0
        && memcmp(all.unknown, f->unknown, sizeof(all.unknown)) == 0)
    {
        return 0;
    }

    mailping_classify(rs, &all, &then, NULL, NULL);

    return then.open != j->open || then.verdict != j->verdict;
}


int
mailping_amend(const mailping_rules_t *rs, mailping_recent_t *r,
    const mailping_later_t *later, mailping_judgement_t *j)
{
    unsigned          bit;
    mailping_facts_t  f;

    if (r->rules != mailping_rules_id(rs)) {
        return MAILPING_RECENT_SAME;
    }

    mailping_facts_init(rs, &f);

    memcpy(f.is, r->is, sizeof(f.is));
    memcpy(f.unknown, r->unknown, sizeof(f.unknown));

    mailping_amend_past(r, later);
    mailping_past_facts(rs, &f, &r->past);

    if (memcmp(f.is, r->is, sizeof(f.is)) == 0
        && memcmp(f.unknown, r->unknown, sizeof(f.unknown)) == 0)
    {
        return MAILPING_RECENT_SAME;
    }

    memcpy(r->is, f.is, sizeof(f.is));
    memcpy(r->unknown, f.unknown, sizeof(f.unknown));

    mailping_classify(rs, &f, j, NULL, NULL);

    if (j->open == r->open && j->verdict == r->verdict) {
        return MAILPING_RECENT_KEEP;
    }

    bit = 1 << j->verdict;

    if (r->told & bit) {
        return MAILPING_RECENT_KEEP;
    }

    r->told |= (uint8_t) bit;
    r->open = (uint8_t) j->open;
    r->verdict = (uint8_t) j->verdict;

    return MAILPING_RECENT_TELL;
}


/*
 * What was seen of a burst or a farm stays true; how quick a network is can
 * change either way.
 */

static void
mailping_amend_past(mailping_recent_t *r, const mailping_later_t *later)
{
    mailping_past_t        *past;
    const mailping_past_t  *then;

    past = &r->past;
    then = &later->past;

    if (r->fetch.network != 0
        && r->fetch.network == later->fetch.network)
    {
        if (then->burst > past->burst
            && mailping_amend_near(r, later, MAILPING_BURST_WINDOW))
        {
            past->burst = then->burst;
        }

        /* the entry of an older one may have been trimmed from the stream */

        if (then->quick >= 0
            && mailping_amend_near(r, later, MAILPING_AMEND_LATE))
        {
            past->quick = then->quick;
        }
    }

    if (r->fetch.token == later->fetch.token) {

        if (mailping_amend_near(r, later, MAILPING_FARM_WINDOW)) {

            if (then->farm > past->farm) {
                past->farm = then->farm;
            }

            if (then->agents > past->agents) {
                past->agents = then->agents;
            }
        }

        if (later->scanner
            && mailping_amend_near(r, later, MAILPING_SCANNED_WINDOW))
        {
            past->scanned = 1;
        }
    }
}


static int
mailping_amend_near(const mailping_recent_t *r, const mailping_later_t *later,
    uint64_t window)
{
    /* either way: workers' clocks differ by what their event loops take */

    return later->fetch.time <= r->fetch.time + window
           && r->fetch.time <= later->fetch.time + window;
}
