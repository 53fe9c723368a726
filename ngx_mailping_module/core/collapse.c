
/*
 * Copyright (C) MailPing
 */


#include "claim.h"
#include "collapse.h"
#include "crc32c.h"


#define MAILPING_WAYS  8


typedef struct {
    uint64_t  claim;
    uint64_t  key;
    uint64_t  first;               /* Unix ms of the first fetch */
    uint64_t  count;               /* 0 = the slot is free */
    uint32_t  len;
    uint32_t  crc;                 /* of the payload */
    uint8_t   payload[MAILPING_COLLAPSE_PAYLOAD];
} mailping_collapse_slot_t;


struct mailping_collapse_s {
    size_t                    nslots;
    mailping_collapse_slot_t  slot[];
};


static unsigned mailping_collapse_due(const mailping_collapse_slot_t *slot,
    uint64_t now, uint64_t age);


mailping_collapse_t *
mailping_collapse_create(void *memory, size_t size)
{
    mailping_collapse_t  *table;

    if (size < sizeof(mailping_collapse_t)
               + MAILPING_WAYS * sizeof(mailping_collapse_slot_t))
    {
        return NULL;
    }

    table = memory;
    table->nslots = (size - sizeof(mailping_collapse_t))
                    / sizeof(mailping_collapse_slot_t);

    return table;
}


/*
 * A fetch that lost its slot to another worker in between is the caller's,
 * who writes it alone: dearer, and as exact.
 */

int
mailping_collapse_add(mailping_collapse_t *table, uint64_t key, uint64_t now,
    mailping_str_t payload)
{
    size_t                     i;
    unsigned                   counted;
    mailping_collapse_slot_t  *slot, *way;

    if (payload.len > MAILPING_COLLAPSE_PAYLOAD) {
        return MAILPING_DECLINED;
    }

    slot = NULL;

    for (i = 0; i < MAILPING_WAYS; i++) {
        way = &table->slot[(key + i) % table->nslots];

        if (__atomic_load_n(&way->count, __ATOMIC_RELAXED) == 0) {

            if (slot == NULL) {
                slot = way;
            }

        } else if (__atomic_load_n(&way->key, __ATOMIC_RELAXED) == key) {
            slot = way;
            break;
        }
    }

    if (slot == NULL || !mailping_claim(&slot->claim, now)) {
        return MAILPING_DECLINED;
    }

    counted = 1;

    if (slot->count == 0) {
        slot->key = key;
        slot->first = now;
        slot->len = (uint32_t) payload.len;
        slot->crc = mailping_crc32c(0, payload.data, payload.len);
        memcpy(slot->payload, payload.data, payload.len);

        /*
         * Last: without it the slot is free, whatever happens before.  Added,
         * because a holder that was stopped, and lost its claim, may do the
         * same: the sum is exact even then.
         */

        (void) __atomic_fetch_add(&slot->count, 1, __ATOMIC_RELEASE);

    } else if (slot->key == key) {
        (void) __atomic_fetch_add(&slot->count, 1, __ATOMIC_RELAXED);

    } else {
        counted = 0;
    }

    mailping_claim_release(&slot->claim, now);

    return counted ? MAILPING_OK : MAILPING_DECLINED;
}


int
mailping_collapse_take(mailping_collapse_t *table, size_t *n, uint64_t now,
    uint64_t age, uint8_t dst[MAILPING_COLLAPSE_PAYLOAD], size_t *len,
    uint64_t *count)
{
    uint32_t                   crc;
    mailping_collapse_slot_t  *slot;

    for ( /* void */ ; *n < table->nslots; (*n)++) {
        slot = &table->slot[*n];

        if (__atomic_load_n(&slot->count, __ATOMIC_RELAXED) == 0
            || !mailping_collapse_due(slot, now, age)
            || !mailping_claim(&slot->claim, now))
        {
            continue;
        }

        if (!mailping_collapse_due(slot, now, age)) {
            mailping_claim_release(&slot->claim, now);
            continue;
        }

        *len = slot->len;

        if (*len > MAILPING_COLLAPSE_PAYLOAD) {
            *len = 0;
        }

        crc = slot->crc;

        memcpy(dst, slot->payload, *len);

        *count = __atomic_exchange_n(&slot->count, 0, __ATOMIC_ACQ_REL);

        mailping_claim_release(&slot->claim, now);

        if (*count == 0) {
            continue;
        }

        (*n)++;

        /* torn by a worker that was stopped, and went on: length 0 */

        if (mailping_crc32c(0, dst, *len) != crc) {
            *len = 0;
        }

        return MAILPING_OK;
    }

    return MAILPING_DECLINED;
}


/* A clock that was set back must not keep a slot for ever. */

static unsigned
mailping_collapse_due(const mailping_collapse_slot_t *slot, uint64_t now,
    uint64_t age)
{
    uint64_t  first;

    first = __atomic_load_n(&slot->first, __ATOMIC_RELAXED);

    return age == 0 || first + age <= now || first > now + age;
}


uint64_t
mailping_collapse_pending(mailping_collapse_t *table)
{
    size_t    i;
    uint64_t  sum;

    sum = 0;

    for (i = 0; i < table->nslots; i++) {
        sum += __atomic_load_n(&table->slot[i].count, __ATOMIC_RELAXED);
    }

    return sum;
}
