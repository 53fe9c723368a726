
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_CLAIM_H
#define MAILPING_CLAIM_H


#include <stdint.h>


/*
 * A slot of shared memory that is larger than a word is changed by whoever
 * holds its claim: a word that is 0, or the Unix time in milliseconds when
 * the slot was claimed.  It is held for a microsecond or two, so waiting is
 * short and bounded.  A claim that a killed worker left behind is taken over
 * once it is old.  As its holder may only have been stopped, and may go on,
 * what the slot contains has a checksum.  The tries take about ten
 * microseconds: a holder that is not done by then is not running, and every
 * fetch that meets its claim would wait that long again.
 */

#define MAILPING_CLAIM_OLD    1000     /* ms */
#define MAILPING_CLAIM_TRIES  200


/* Returns 1, or 0 when somebody else holds the slot for too long. */

static inline int
mailping_claim(uint64_t *claim, uint64_t now)
{
    uint64_t  held;
    unsigned  tries;

    for (tries = 0; tries < MAILPING_CLAIM_TRIES; tries++) {

        held = __atomic_load_n(claim, __ATOMIC_RELAXED);

        if (held == 0
            || held + MAILPING_CLAIM_OLD < now
            || now + MAILPING_CLAIM_OLD < held)
        {
            if (__atomic_compare_exchange_n(claim, &held, now, 0,
                                            __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED))
            {
                return 1;
            }
        }

#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }

    return 0;
}


/* now is the time of the claim; a claim taken over stays its new holder's */

static inline void
mailping_claim_release(uint64_t *claim, uint64_t now)
{
    (void) __atomic_compare_exchange_n(claim, &now, 0, 0, __ATOMIC_RELEASE,
                                       __ATOMIC_RELAXED);
}


#endif /* MAILPING_CLAIM_H */
