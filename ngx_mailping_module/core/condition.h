
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_CONDITION_H
#define MAILPING_CONDITION_H


#include "bytes.h"


/*
 * A fact as text: what a rule's condition says, and the canonical name of the
 * fact, which is the same for all conditions that ask the same question:
 * "age>=600s" is the negation of the fact "age<10m".
 */

#define MAILPING_NAME_MAX       64     /* of sets, rules, providers, headers */
#define MAILPING_FACT_NAME_MAX  80     /* "network:" and a name, with zero */


/* the first five are defined by statements */

typedef enum {
    MAILPING_FACT_NETWORK = 0,
    MAILPING_FACT_ASN,
    MAILPING_FACT_AGENT,
    MAILPING_FACT_CLIENT,
    MAILPING_FACT_HEADER,
    MAILPING_FACT_SETS,
    MAILPING_FACT_ABSENT = MAILPING_FACT_SETS,   /* no header of this name */
    MAILPING_FACT_AGE,                 /* less than value milliseconds */
    MAILPING_FACT_SEEN,                /* less than value */
    MAILPING_FACT_BURST,               /* value or more, as those below */
    MAILPING_FACT_FARM,
    MAILPING_FACT_AGENTS,
    MAILPING_FACT_QUICK,
    MAILPING_FACT_METHOD,              /* equal to value, as those below */
    MAILPING_FACT_HTTP,
    MAILPING_FACT_HINT,
    MAILPING_FACT_SELF,
    MAILPING_FACT_SCANNED,
    MAILPING_FACT_KINDS
} mailping_fact_kind_e;


typedef struct {
    mailping_str_t  key;               /* name of a set or header */
    uint64_t        value;
    unsigned        kind;              /* mailping_fact_kind_e */
    unsigned        negated;
    const char     *expected;          /* on error: what, and where in text */
    size_t          offset;
} mailping_condition_t;


/*
 * Parses one condition.  c->key points into text.  Returns MAILPING_OK, or
 * MAILPING_ERROR with c->expected and c->offset set.
 */
int mailping_condition_parse(mailping_str_t text, mailping_condition_t *c);

/*
 * Writes the canonical name of the condition's fact, zero-terminated, to dst.
 * Returns its length.
 */
size_t mailping_condition_name(const mailping_condition_t *c,
    char dst[MAILPING_FACT_NAME_MAX]);

/* How many bytes at the start of text may stand in a name. */
size_t mailping_condition_span(mailping_str_t text);


#endif /* MAILPING_CONDITION_H */
