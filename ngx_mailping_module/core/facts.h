
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_FACTS_H
#define MAILPING_FACTS_H


#include "condition.h"
#include "rules.h"


/*
 * What is known of one fetch: a fact is true, unknown, or else false.  The
 * functions below turn evidence into facts.  mailping_facts_init() makes
 * every fact unknown; what is never reported stays unknown.
 */

typedef struct {
    uint64_t        is[MAILPING_FACTS_WORDS];
    uint64_t        unknown[MAILPING_FACTS_WORDS];
    mailping_str_t  client;        /* name of the client, or empty */
    unsigned        stored;        /* published numbers end before this one */
} mailping_facts_t;


/* Sets *f to "nothing is known" under this rule set. */
void mailping_facts_init(const mailping_rules_t *rs, mailping_facts_t *f);

/*
 * Reports the User-Agent, empty when the request has none; sets the facts of
 * agent and client sets and f->client, which points into the rule set.  One
 * pass over the first 2048 bytes; an "exact" or "suffix" pattern sees the
 * real end of a longer agent.
 */
void mailping_facts_agent(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_str_t agent);

/* Reports the client's full address (see mask.h), for network sets. */
void mailping_facts_address(const mailping_rules_t *rs, mailping_facts_t *f,
    const uint8_t addr[16]);

/*
 * Reports the autonomous system of the address; 0 = unknown: a network that the
 * database does not know is not thereby known to be nobody's.
 */
void mailping_facts_asn(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t asn);

/*
 * mailping_facts_headers() says that the request's headers are known: every
 * header set is false and every header absent, until mailping_facts_header()
 * reports one.  name is compared without regard to case.
 */
void mailping_facts_headers(const mailping_rules_t *rs, mailping_facts_t *f);
void mailping_facts_header(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_str_t name, mailping_str_t value);

/* Reports the time since sending in milliseconds; negative = unknown. */
void mailping_facts_age(const mailping_rules_t *rs, mailping_facts_t *f,
    int64_t age);

/*
 * Reports the value that conditions of this kind, one without sets, compare:
 * what the functions below do for each of them.
 */
void mailping_facts_value(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_fact_kind_e kind, uint64_t value);

/* Reports which fetch of its token this is, from 1. */
void mailping_facts_seen(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t seen);

/*
 * Reports how many different tokens the masked network fetched in the last
 * ten seconds, this one included.
 */
void mailping_facts_burst(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t burst);

/*
 * Reports how many different masked networks fetched this token in the last
 * ten seconds, this one included.
 */
void mailping_facts_farm(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t farm);

/*
 * Reports how many different agents fetched this token in the last ten
 * seconds, this one included.
 */
void mailping_facts_agents(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t agents);

/*
 * Reports the percentage of fetches from this masked network that came within
 * ten minutes of sending; negative = unknown.
 */
void mailping_facts_quick(const mailping_rules_t *rs, mailping_facts_t *f,
    int quick);

/*
 * Reports whether another fetch of this token within a minute was judged to be
 * a scanner's.
 */
void mailping_facts_scanned(const mailping_rules_t *rs, mailping_facts_t *f,
    int scanned);

/* Reports the method: 1 for HEAD, 0 for GET. */
void mailping_facts_method(const mailping_rules_t *rs, mailping_facts_t *f,
    int head);

/* Reports the protocol version: 9 (0.9), 10 (1.0), 11 (1.1), 20, 30. */
void mailping_facts_http(const mailping_rules_t *rs, mailping_facts_t *f,
    unsigned version);

/* Reports the token's hint, a mailping_hint_e; unknown stays unknown. */
void mailping_facts_hint(const mailping_rules_t *rs, mailping_facts_t *f,
    unsigned hint);

/* Reports whether the configuration calls this the sender's own fetch. */
void mailping_facts_self(const mailping_rules_t *rs, mailping_facts_t *f,
    int self);

/* Whether fact i is true (1), false (0) or unknown (-1). */
int mailping_facts_get(const mailping_facts_t *f, unsigned i);

/*
 * Writes the stored facts as "<true>.<unknown>", two hex numbers without
 * leading zeros whose bit n is fact n, and reads them back (every fact that
 * is not stored becomes unknown).  The highest bit of <unknown> is the lowest
 * number that the writer's version had not published; all numbers from it on
 * are unknown.  dst has MAILPING_FACTS_TEXT_MAX bytes; no terminating zero.
 * Return the length; MAILPING_OK or MAILPING_ERROR.
 */
#define MAILPING_FACTS_TEXT_MAX  (MAILPING_FACTS_STORED / 4 * 2 + 1)

size_t mailping_facts_write(const mailping_facts_t *f,
    uint8_t dst[MAILPING_FACTS_TEXT_MAX]);
int mailping_facts_read(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_str_t text);

/*
 * The published number of the fact with this name, or MAILPING_ERROR; the
 * name of a published number, or NULL.  The table is docs/facts.md's.
 */
int mailping_facts_number(mailping_str_t name);
const char *mailping_facts_name(unsigned number);


#endif /* MAILPING_FACTS_H */
