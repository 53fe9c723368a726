
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_AMEND_H
#define MAILPING_AMEND_H


#include "recent.h"


/* What a later fetch shows of earlier ones. */

typedef struct {
    mailping_fetch_t  fetch;
    mailping_past_t   past;
    unsigned          scanner;     /* it was judged to be a scanner's */
} mailping_later_t;


/* Sets the facts that the memory tells: seen, burst, farm and so on. */
void mailping_past_facts(const mailping_rules_t *rs, mailping_facts_t *f,
    const mailping_past_t *past);

/*
 * Whether later evidence, if all of it came, would change the judgement j of
 * facts f: only then is the fetch worth remembering.
 */
int mailping_amend_possible(const mailping_rules_t *rs,
    const mailping_facts_t *f, const mailping_judgement_t *j);

/*
 * Judges the remembered fetch r again with what a later one shows.  Returns
 * MAILPING_RECENT_TELL when open or verdict change, and this verdict was not
 * told of it before: then *j is the amendment's judgement; RECENT_KEEP when
 * only facts change; RECENT_SAME when not even they do.  The facts of another
 * rule set are left alone.  Allocates nothing.
 */
int mailping_amend(const mailping_rules_t *rs, mailping_recent_t *r,
    const mailping_later_t *later, mailping_judgement_t *j);


#endif /* MAILPING_AMEND_H */
