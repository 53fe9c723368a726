
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_COLLAPSE_H
#define MAILPING_COLLAPSE_H


#include "bytes.h"


/*
 * Fetches that are counted and not written one by one: beyond so many of one
 * token within an hour, those of a minute become one entry, which describes
 * the first of them.  A fetch is either counted here or recorded by its
 * caller, so that the sum of all counts is exact.  The memory is shared by
 * processes.
 */

#define MAILPING_COLLAPSE_BEYOND   20      /* fetches of a token and hour */
#define MAILPING_COLLAPSE_PERIOD   60000   /* ms */

/* an event's payload with all its strings at their bounds fits */

#define MAILPING_COLLAPSE_PAYLOAD  2240


typedef struct mailping_collapse_s  mailping_collapse_t;


/*
 * Makes a table in size bytes of zeroed memory, aligned to 8 bytes, which must
 * be at the same address in all processes and stays the caller's.  Returns
 * NULL when it is too small.
 */
mailping_collapse_t *mailping_collapse_create(void *memory, size_t size);

/*
 * Counts a fetch.  key is a hash of its token and of what must not be mixed;
 * payload is that of its event.  Returns MAILPING_OK, or MAILPING_DECLINED
 * when there is no room: then the caller records it.
 */
int mailping_collapse_add(mailping_collapse_t *table, uint64_t key,
    uint64_t now, mailping_str_t payload);

/*
 * Takes out the next entry whose first fetch is age ms ago or more, any for 0:
 * its payload, copied to dst, its length (0: it was damaged) and how many
 * fetches it stands for.  *slot is where the search goes on, at first 0.
 * Returns MAILPING_OK, or MAILPING_DECLINED after the last one.
 */
int mailping_collapse_take(mailping_collapse_t *table, size_t *slot,
    uint64_t now, uint64_t age, uint8_t dst[MAILPING_COLLAPSE_PAYLOAD],
    size_t *len, uint64_t *count);

/* How many fetches are counted and not taken out. */
uint64_t mailping_collapse_pending(mailping_collapse_t *table);


#endif /* MAILPING_COLLAPSE_H */
