
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_CLASSIFY_H
#define MAILPING_CLASSIFY_H


#include "facts.h"


typedef enum {
    MAILPING_OPEN_NO = 0,
    MAILPING_OPEN_MAYBE,
    MAILPING_OPEN_YES,
    MAILPING_OPENS
} mailping_open_e;


#define MAILPING_PERSON_NONE   (-1)
#define MAILPING_COUNTED_MAX   (MAILPING_GROUPS * MAILPING_CLASSES)
#define MAILPING_REASONS_MAX   256


typedef struct {
    unsigned        open;          /* mailping_open_e */
    unsigned        verdict;       /* mailping_verdict_e */
    int             person;        /* 0-100, or MAILPING_PERSON_NONE */
    mailping_str_t  provider;      /* who fetched, or empty; in the rule set */
    double          probability[MAILPING_CLASSES];
    unsigned        ncounted;
    uint16_t        counted[MAILPING_COUNTED_MAX];  /* heaviest first */
} mailping_judgement_t;


/*
 * Judges facts by a rule set.  Allocates nothing.  When fired is not NULL it
 * receives the numbers of all rules whose conditions hold, in the order of
 * the rule set; it has room for mailping_rules_count() of them and *nfired
 * receives their number.
 */
void mailping_classify(const mailping_rules_t *rs, const mailping_facts_t *f,
    mailping_judgement_t *j, uint16_t *fired, unsigned *nfired);

/*
 * Writes the names of the rules that counted, heaviest first, separated by
 * commas, whole names only, at most MAILPING_REASONS_MAX bytes, without a
 * terminating zero.  Returns the length.
 */
size_t mailping_classify_reasons(const mailping_rules_t *rs,
    const mailping_judgement_t *j, uint8_t dst[MAILPING_REASONS_MAX]);

/* Names as they stand in events, static, zero-terminated. */
const char *mailping_open_name(unsigned open);
const char *mailping_verdict_name(unsigned verdict);


#endif /* MAILPING_CLASSIFY_H */
