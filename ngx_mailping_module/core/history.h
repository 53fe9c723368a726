
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_HISTORY_H
#define MAILPING_HISTORY_H


#include "bytes.h"


/*
 * What a host remembers of the tokens that were fetched and of the networks
 * that fetched them.  Tokens and networks are known by 64-bit hashes; no
 * address is kept.  The memory is shared by processes: there are no locks,
 * every word changes by one compare-and-swap, and a killed process leaves
 * nothing behind that another one would wait for.
 */

#define MAILPING_BURST_WINDOW    10000         /* ms */
#define MAILPING_FARM_WINDOW     10000         /* networks, agents */
#define MAILPING_SCANNED_WINDOW  60000
#define MAILPING_QUICK_AGE       600000        /* "soon after sending" */
#define MAILPING_QUICK_WATCH     3600000       /* known after this time */
#define MAILPING_QUICK_TOKENS    8             /* and so many tokens */
#define MAILPING_QUICK_READERS   40            /* percent: all are quick */

#define MAILPING_HOUR_MAX        255
#define MAILPING_FARM_MAX        3             /* networks, agents: or more */


typedef struct mailping_history_s  mailping_history_t;


typedef struct {
    uint64_t  token;               /* hash of the whole token */
    uint64_t  network;             /* hash of the masked network, 0 = none */
    uint64_t  agent;               /* hash of the User-Agent */
    uint64_t  time;                /* Unix ms */
    uint64_t  sent;                /* Unix ms, 0 = unknown */
} mailping_fetch_t;


/* what the memory tells of a fetch, itself included */

typedef struct {
    uint32_t  seen;                /* which fetch of its token, from 1 */
    uint32_t  hour;                /* and within an hour, up to HOUR_MAX */
    uint32_t  burst;               /* tokens of the network, 0 = no network */
    uint32_t  farm;                /* networks of the token, up to 3; or 0 */
    uint32_t  agents;              /* agents of the token, up to 3 */
    int       quick;               /* percent, -1 = unknown */
    unsigned  sure:1;              /* no earlier fetch was forgotten */
    unsigned  scanned:1;           /* a scanner was there within a minute */
} mailping_past_t;


/*
 * Makes a history in size bytes of zeroed memory, aligned to 8 bytes, which
 * must be at the same address in all processes and stays the caller's.
 * Returns NULL when it is too small.
 */
mailping_history_t *mailping_history_create(void *memory, size_t size,
    uint64_t now);

/* Reports a fetch; *past is what is known of it then. */
void mailping_history_fetch(mailping_history_t *history,
    const mailping_fetch_t *fetch, mailping_past_t *past);

/* Reports that this fetch, which was reported before, was a scanner's. */
void mailping_history_scanner(mailping_history_t *history,
    const mailping_fetch_t *fetch);


/*
 * Reports that this fetch, which was reported before, was surely a person's,
 * whatever its network.  Where many persons open soon after sending, as they
 * do codes and receipts, networks that do so are not told from theirs.
 */
void mailping_history_reader(mailping_history_t *history,
    const mailping_fetch_t *fetch);


#endif /* MAILPING_HISTORY_H */
