
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_RECENT_H
#define MAILPING_RECENT_H


#include "event.h"
#include "history.h"


/*
 * The opens of the last minutes or hours, as far as the memory reaches, whose
 * judgement later evidence may change: what of them an amendment needs.  The
 * memory is shared by processes; the oldest of a place goes when a new one
 * comes.
 */

#define MAILPING_RECENT_TEXT                                                  \
    (MAILPING_EVENT_REF_MAX + MAILPING_TOKEN_ID_MAX                           \
     + MAILPING_TOKEN_RECIPIENT_MAX + MAILPING_EVENT_SITE_MAX)


typedef struct {
    mailping_fetch_t  fetch;
    mailping_past_t   past;
    uint64_t          is[MAILPING_FACTS_WORDS];
    uint64_t          unknown[MAILPING_FACTS_WORDS];
    uint32_t          rules;       /* mailping_rules_id() of the facts */
    uint8_t           was;         /* "open" of the entry */
    uint8_t           open;        /* as it was told last */
    uint8_t           verdict;
    uint8_t           told;        /* bits: verdicts of its amendments */
    uint8_t           privacy;
    uint8_t           nref;        /* lengths of the texts */
    uint8_t           nid;
    uint8_t           nrecipient;
    uint8_t           nsite;
    uint8_t           text[MAILPING_RECENT_TEXT];
} mailping_recent_t;


typedef struct mailping_recents_s  mailping_recents_t;


typedef enum {
    MAILPING_RECENT_TOKEN = 0,
    MAILPING_RECENT_NETWORK
} mailping_recent_key_e;


/*
 * Makes a table in size bytes of zeroed memory, aligned to 8 bytes, which must
 * be at the same address in all processes and stays the caller's.  Returns
 * NULL when it is too small.
 */
mailping_recents_t *mailping_recents_create(void *memory, size_t size);

/*
 * Puts the texts into *r, whose other members are the caller's, and remembers
 * it.  A ref longer than its bound cannot be; a site is cut to it.
 */
void mailping_recents_add(mailping_recents_t *table, mailping_recent_t *r,
    mailping_str_t ref, mailping_str_t id, mailping_str_t recipient,
    mailping_str_t site);

/*
 * Calls visit->change for each open of the token or the network with this hash
 * that is remembered; no other process sees the open meanwhile, so it must be
 * short.  What it changed in *r is kept, unless it returns RECENT_SAME.  After
 * RECENT_TELL visit->tell is called with the open once the change is kept: a
 * process that is killed in between has not told, none tells twice.
 */

#define MAILPING_RECENT_SAME  0
#define MAILPING_RECENT_KEEP  1
#define MAILPING_RECENT_TELL  2

typedef struct {
    int             (*change)(void *data, mailping_recent_t *r);
    void            (*tell)(void *data, const mailping_recent_t *r);
    void             *data;
} mailping_recent_visit_t;

void mailping_recents_visit(mailping_recents_t *table,
    mailping_recent_key_e by, uint64_t key, uint64_t now,
    const mailping_recent_visit_t *visit);

/* The texts of *r, which they point into. */
void mailping_recent_texts(const mailping_recent_t *r, mailping_amend_t *a);


#endif /* MAILPING_RECENT_H */
