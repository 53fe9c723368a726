
/*
 * Copyright (C) MailPing
 */


#include "core/event.h"

#include "judge.h"


/*
 * SECOND JUDGEMENT.  An entry's facts are what the first judgement knew of the
 * published facts.  Where the entry still has the evidence itself, the facts
 * come from the evidence and this rule set, whose lists may be others: the
 * number of the network, the time since sending, the number of the fetch, and
 * in mode full the agent.
 *
 * Mode masked keeps of the agent its products, and what is not there can still
 * have been in the agent.  So a pattern that is found in one product was in
 * the agent, and its fact is true; a pattern that is not found says nothing,
 * and the fact stays what it was.
 *
 * All other facts that only own rules have are unknown.
 *
 * An amendment has no facts, and the second judgement is of its entry, in one
 * pass and without memory of it.  So amendments are left out, and an entry
 * that has one is compared with its first judgement.
 */


/* from here on a full agent may be cut: a character more did not fit */

#define MAILPING_JUDGE_AGENT_CUT  (MAILPING_EVENT_AGENT_MAX - 3)

#define MAILPING_JUDGE_AGENT_MAX  (2 * MAILPING_EVENT_AGENT_MAX + 2)


static int mailping_judge_stored(mailping_judge_t *judge,
    const mailping_str_t *value);
static int mailping_judge_facts(mailping_judge_t *judge, mailping_facts_t *f,
    const mailping_str_t *value);
static int mailping_judge_numbers(mailping_judge_t *judge, mailping_facts_t *f,
    const mailping_str_t *value);
static void mailping_judge_client(const mailping_judge_t *judge,
    mailping_facts_t *f, mailping_str_t client);
static void mailping_judge_products(const mailping_judge_t *judge,
    mailping_facts_t *f, mailping_str_t agent);
static void mailping_judge_products_client(const mailping_judge_t *judge,
    mailping_facts_t *f, const mailping_facts_t *g);
static int mailping_judge_one_of(mailping_str_t text,
    const char *(*name)(unsigned), unsigned n);
static int mailping_judge_labeled(mailping_judge_t *judge,
    const mailping_str_t *value);


/* an entry's row, and what it says of an entry that stays what it was */

#define MAILPING_JUDGE_ROW  (3 + MAILPING_JUDGE_CELLS + 1)

static const struct {
    const char  *name;
    unsigned     member;
} mailping_judge_row_of[MAILPING_JUDGE_ROW] = {
    { "event", MAILPING_JUDGE_EVENT },
    { "id", MAILPING_JUDGE_ID },
    { "was", MAILPING_JUDGE_OPEN },
    { "open", MAILPING_JUDGE_OPEN },
    { "person", MAILPING_JUDGE_PERSONS },
    { "verdict", MAILPING_JUDGE_VERDICT },
    { "provider", MAILPING_JUDGE_PROVIDER },
    { "reasons", MAILPING_JUDGE_REASONS },
    { "rules", MAILPING_JUDGE_RULES }
};


int
mailping_judge_entry(mailping_judge_t *judge,
    const mailping_str_t value[MAILPING_JUDGE_MEMBERS])
{
    if (value[MAILPING_JUDGE_UA].data != NULL) {
        return mailping_judge_labeled(judge, value);
    }

    if (mailping_judge_is(value[MAILPING_JUDGE_TYPE], "amend")) {
        judge->report.amends++;
        return MAILPING_OK;
    }

    if (value[MAILPING_JUDGE_TYPE].data != NULL
        && !mailping_judge_is(value[MAILPING_JUDGE_TYPE], "open"))
    {
        judge->report.types++;
        return MAILPING_OK;
    }

    if (value[MAILPING_JUDGE_FACTS].data == NULL) {
        snprintf(judge->why, MAILPING_JUDGE_WHY_MAX,
                 "expected \"facts\" of an entry or \"ua\" of an agent");
        return MAILPING_ERROR;
    }

    return mailping_judge_stored(judge, value);
}


static int
mailping_judge_stored(mailping_judge_t *judge, const mailping_str_t *value)
{
    int                    was, verdict;
    char                   rules[9];
    uint8_t                buf[MAILPING_JUDGE_CELL_MAX];
    unsigned               i, changed;
    mailping_facts_t       f;
    mailping_judgement_t   j;
    mailping_judge_cell_t  cells[MAILPING_JUDGE_ROW];

    static const mailping_str_t  none = mailping_null_string;

    was = mailping_judge_one_of(value[MAILPING_JUDGE_OPEN],
                                mailping_open_name, MAILPING_OPENS);

    if (was == MAILPING_ERROR) {
        return mailping_judge_expected(judge, "open to be yes, no or maybe",
                                       value[MAILPING_JUDGE_OPEN]);
    }

    for (i = 0; i < MAILPING_JUDGE_ROW; i++) {
        cells[i].name = mailping_judge_row_of[i].name;
        cells[i].value = value[mailping_judge_row_of[i].member];
    }

    changed = 0;

    if (value[MAILPING_JUDGE_FACTS].len == 0) {

        /* mode minimal: nothing is left to judge by */

        judge->report.bare++;

    } else {

        if (mailping_judge_facts(judge, &f, value) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        mailping_classify(judge->rules, &f, &j, NULL, NULL);
        mailping_judge_count(&judge->report, &j, none);

        verdict = mailping_judge_one_of(value[MAILPING_JUDGE_VERDICT],
                                        mailping_verdict_name,
                                        MAILPING_VERDICTS);

        changed = (unsigned) was != j.open
                  || (verdict != MAILPING_ERROR
                      && (unsigned) verdict != j.verdict);

        judge->report.again++;
        judge->report.changed += changed;
        judge->report.was[was][j.open]++;

        mailping_judge_cells(judge, &j, cells + 3, buf);

        snprintf(rules, sizeof(rules), "%08x",
                 mailping_rules_id(judge->rules));

        cells[MAILPING_JUDGE_ROW - 1].value.data = (const uint8_t *) rules;
        cells[MAILPING_JUDGE_ROW - 1].value.len = 8;
    }

    if (!judge->summary && (changed || judge->all)) {
        mailping_judge_row(judge, MAILPING_JUDGE_JSON, cells,
                           MAILPING_JUDGE_ROW);
    }

    return MAILPING_OK;
}


static int
mailping_judge_facts(mailping_judge_t *judge, mailping_facts_t *f,
    const mailping_str_t *value)
{
    mailping_str_t    agent;
    mailping_facts_t  g;

    if (mailping_facts_read(judge->rules, f, value[MAILPING_JUDGE_FACTS])
        != MAILPING_OK)
    {
        return mailping_judge_expected(judge, "facts",
                                       value[MAILPING_JUDGE_FACTS]);
    }

    if (mailping_judge_numbers(judge, f, value) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    agent = value[MAILPING_JUDGE_AGENT];

    if (agent.data == NULL) {
        return MAILPING_OK;
    }

    if (mailping_judge_is(value[MAILPING_JUDGE_PRIVACY], "full")
        && agent.len < MAILPING_JUDGE_AGENT_CUT)
    {
        mailping_facts_init(judge->rules, &g);
        mailping_facts_agent(judge->rules, &g, agent);
        mailping_judge_overlay(f, &g);

        return MAILPING_OK;
    }

    mailping_judge_client(judge, f, value[MAILPING_JUDGE_CLIENT]);
    mailping_judge_products(judge, f, agent);

    return MAILPING_OK;
}


static int
mailping_judge_numbers(mailping_judge_t *judge, mailping_facts_t *f,
    const mailping_str_t *value)
{
    uint64_t          time, sent, asn, seen;
    mailping_str_t    text;
    mailping_facts_t  g;

    mailping_facts_init(judge->rules, &g);

    text = value[MAILPING_JUDGE_ASN];

    if (text.len != 0) {

        if (mailping_judge_number(text, UINT32_MAX, &asn) != MAILPING_OK) {
            return mailping_judge_expected(judge, "asn", text);
        }

        mailping_facts_asn(judge->rules, &g, (uint32_t) asn);
    }

    if (value[MAILPING_JUDGE_SENT].len != 0) {
        text = value[MAILPING_JUDGE_TIME];

        if (mailping_judge_number(text, INT64_MAX, &time) != MAILPING_OK) {
            return mailping_judge_expected(judge, "time", text);
        }

        text = value[MAILPING_JUDGE_SENT];

        if (mailping_judge_number(text, INT64_MAX, &sent) != MAILPING_OK) {
            return mailping_judge_expected(judge, "sent", text);
        }

        if (sent != 0) {
            mailping_facts_age(judge->rules, &g,
                               (int64_t) time - (int64_t) sent);
        }
    }

    text = value[MAILPING_JUDGE_SEEN];

    if (text.len != 0) {

        if (mailping_judge_number(text, UINT32_MAX, &seen) != MAILPING_OK) {
            return mailping_judge_expected(judge, "seen", text);
        }

        /* the first that the host remembered need not be the first */

        if (seen > 1
            || (seen == 1 && judge->first != MAILPING_ERROR
                && mailping_facts_get(f, (unsigned) judge->first) == 1))
        {
            mailping_facts_seen(judge->rules, &g, (uint32_t) seen);
        }
    }

    mailping_judge_overlay(f, &g);

    return MAILPING_OK;
}


/* The client that an operator's own rules found is known by its name only. */

static void
mailping_judge_client(const mailping_judge_t *judge, mailping_facts_t *f,
    mailping_str_t client)
{
    unsigned     i, n;
    uint64_t     bit;
    const char  *name;

    if (client.len == 0) {
        return;
    }

    n = mailping_rules_facts(judge->rules);

    for (i = 0; i < n; i++) {
        bit = (uint64_t) 1 << i % 64;

        if (!(judge->clients[i / 64] & f->unknown[i / 64] & bit)) {
            continue;
        }

        name = mailping_rules_fact_name(judge->rules, i);

        if (mailping_judge_is(client, name + sizeof("client:") - 1)) {
            f->is[i / 64] |= bit;
            f->unknown[i / 64] &= ~bit;
            return;
        }
    }
}


static void
mailping_judge_products(const mailping_judge_t *judge, mailping_facts_t *f,
    mailping_str_t agent)
{
    size_t            i;
    uint8_t           buf[MAILPING_JUDGE_AGENT_MAX];
    uint64_t          found;
    unsigned          word;
    mailping_str_t    text;
    mailping_facts_t  g;

    if (agent.len > MAILPING_JUDGE_AGENT_MAX - 2) {
        agent.len = MAILPING_JUDGE_AGENT_MAX - 2;
    }

    /*
     * What stood between two products, before the first and after the last is
     * not known, and no pattern may find it.
     */

    buf[0] = 0x01;

    for (i = 0; i < agent.len; i++) {
        buf[i + 1] = agent.data[i] == ' ' ? 0x01 : agent.data[i];
    }

    buf[i + 1] = 0x01;

    text.data = buf;
    text.len = agent.len + 2;

    mailping_facts_init(judge->rules, &g);
    mailping_facts_agent(judge->rules, &g, text);

    for (word = 0; word < MAILPING_FACTS_WORDS; word++) {
        found = g.is[word] & judge->agents[word];

        f->is[word] |= found;
        f->unknown[word] &= ~found;
    }

    mailping_judge_products_client(judge, f, &g);
}


/*
 * Clients exclude each other.  One that was there before goes before one that
 * was, too, and did not win; an operator's own go before all.
 */

static void
mailping_judge_products_client(const mailping_judge_t *judge,
    mailping_facts_t *f, const mailping_facts_t *g)
{
    uint64_t  found;
    unsigned  i, word, had;

    had = 0;
    found = 0;
    word = 0;

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {

        if (f->is[i] & ~f->unknown[i] & judge->clients[i]) {
            had = 1;
        }

        if (g->is[i] & judge->clients[i]) {
            found = g->is[i] & judge->clients[i];
            word = i;
        }
    }

    if (found == 0 || (had && !(f->unknown[word] & found))) {
        return;
    }

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        f->is[i] &= ~judge->clients[i];
    }

    f->is[word] |= found;
    f->unknown[word] &= ~found;
}


static int
mailping_judge_one_of(mailping_str_t text, const char *(*name)(unsigned),
    unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (mailping_judge_is(text, name(i))) {
            return (int) i;
        }
    }

    return MAILPING_ERROR;
}


/* An agent of a corpus: nothing else is known of the fetch. */

static int
mailping_judge_labeled(mailping_judge_t *judge, const mailping_str_t *value)
{
    uint8_t                buf[MAILPING_JUDGE_CELL_MAX];
    mailping_facts_t       f;
    mailping_judgement_t   j;
    mailping_judge_cell_t  cells[2 + MAILPING_JUDGE_CELLS + 2];

    mailping_facts_init(judge->rules, &f);
    mailping_facts_agent(judge->rules, &f, value[MAILPING_JUDGE_UA]);
    mailping_classify(judge->rules, &f, &j, NULL, NULL);

    mailping_judge_count(&judge->report, &j, value[MAILPING_JUDGE_LABEL]);

    if (judge->summary) {
        return MAILPING_OK;
    }

    cells[0].name = "label";
    cells[0].value = value[MAILPING_JUDGE_LABEL];
    cells[1].name = "name";
    cells[1].value = value[MAILPING_JUDGE_NAME];

    mailping_judge_cells(judge, &j, cells + 2, buf);

    cells[7].name = "client";
    cells[7].value = f.client;
    cells[8].name = "agent";
    cells[8].value = value[MAILPING_JUDGE_UA];

    mailping_judge_row(judge, MAILPING_JUDGE_JSON, cells, 9);

    return MAILPING_OK;
}
