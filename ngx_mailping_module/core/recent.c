
/*
 * Copyright (C) MailPing
 */


#include "claim.h"
#include "crc32c.h"
#include "recent.h"


/*
 * The slots are in buckets by token.  An index names, for each network, the
 * slots where its last opens are; it may be out of date, as the slot itself
 * tells whose it is.
 */

#define MAILPING_WAYS         4
#define MAILPING_REFS         15       /* of an index: one cache line */


typedef struct {
    uint64_t                claim;
    uint32_t                used;
    uint32_t                crc;
    mailping_recent_t       recent;
} mailping_recent_slot_t;


typedef struct {
    uint32_t                next;      /* counts the opens of the index */
    uint32_t                ref[MAILPING_REFS];    /* slot + 1, 0 = none */
} mailping_recent_index_t;


struct mailping_recents_s {
    size_t                   nbuckets;
    size_t                   nindexes;
    mailping_recent_slot_t  *slots;
    mailping_recent_index_t *indexes;
};


static mailping_recent_slot_t *mailping_recents_slot(
    mailping_recents_t *table, const mailping_fetch_t *fetch);
static void mailping_recents_visit_slot(mailping_recent_slot_t *slot,
    mailping_recent_key_e by, uint64_t key, uint64_t now,
    const mailping_recent_visit_t *visit);
static uint8_t *mailping_recent_text(uint8_t *p, mailping_str_t text,
    size_t max, uint8_t *len);
static uint32_t mailping_recent_crc(const mailping_recent_t *r);


mailping_recents_t *
mailping_recents_create(void *memory, size_t size)
{
    size_t               n;
    uint8_t             *p;
    mailping_recents_t  *table;

    if (size < sizeof(mailping_recents_t)) {
        return NULL;
    }

    /* an index for every two slots: a network has several opens */

    n = (size - sizeof(mailping_recents_t))
        / (2 * sizeof(mailping_recent_slot_t)
           + sizeof(mailping_recent_index_t));

    if (n < MAILPING_WAYS) {
        return NULL;
    }

    p = (uint8_t *) memory + sizeof(mailping_recents_t);

    table = memory;
    table->nbuckets = 2 * n / MAILPING_WAYS;
    table->nindexes = n;
    table->slots = (mailping_recent_slot_t *) p;
    table->indexes = (mailping_recent_index_t *)
                     (p + 2 * n * sizeof(mailping_recent_slot_t));

    return table;
}


void
mailping_recents_add(mailping_recents_t *table, mailping_recent_t *r,
    mailping_str_t ref, mailping_str_t id, mailping_str_t recipient,
    mailping_str_t site)
{
    uint8_t                  *p;
    uint32_t                  n;
    mailping_recent_slot_t   *slot;
    mailping_recent_index_t  *index;

    p = r->text;

    p = mailping_recent_text(p, ref, MAILPING_EVENT_REF_MAX, &r->nref);
    p = mailping_recent_text(p, id, MAILPING_TOKEN_ID_MAX, &r->nid);
    p = mailping_recent_text(p, recipient, MAILPING_TOKEN_RECIPIENT_MAX,
                             &r->nrecipient);
    p = mailping_recent_text(p, site, MAILPING_EVENT_SITE_MAX, &r->nsite);

    memset(p, 0, (size_t) (r->text + MAILPING_RECENT_TEXT - p));

    slot = mailping_recents_slot(table, &r->fetch);

    if (!mailping_claim(&slot->claim, r->fetch.time)) {
        return;
    }

    slot->crc = mailping_recent_crc(r);
    slot->recent = *r;
    slot->used = 1;

    mailping_claim_release(&slot->claim, r->fetch.time);

    if (r->fetch.network == 0) {
        return;
    }

    index = &table->indexes[r->fetch.network % table->nindexes];
    n = __atomic_fetch_add(&index->next, 1, __ATOMIC_RELAXED);

    __atomic_store_n(&index->ref[n % MAILPING_REFS],
                     (uint32_t) (slot - table->slots) + 1, __ATOMIC_RELEASE);
}


/* A free slot of the token's bucket, else the oldest one. */

static mailping_recent_slot_t *
mailping_recents_slot(mailping_recents_t *table,
    const mailping_fetch_t *fetch)
{
    unsigned                 i;
    mailping_recent_slot_t  *slot, *way;

    way = &table->slots[fetch->token % table->nbuckets * MAILPING_WAYS];
    slot = way;

    for (i = 0; i < MAILPING_WAYS; i++, way++) {

        if (!__atomic_load_n(&way->used, __ATOMIC_RELAXED)) {
            return way;
        }

        if (__atomic_load_n(&way->recent.fetch.time, __ATOMIC_RELAXED)
            < __atomic_load_n(&slot->recent.fetch.time, __ATOMIC_RELAXED))
        {
            slot = way;
        }
    }

    return slot;
}


void
mailping_recents_visit(mailping_recents_t *table, mailping_recent_key_e by,
    uint64_t key, uint64_t now, const mailping_recent_visit_t *visit)
{
    uint32_t                  ref;
    unsigned                  i;
    mailping_recent_slot_t   *slot;
    mailping_recent_index_t  *index;

    if (by == MAILPING_RECENT_TOKEN) {
        slot = &table->slots[key % table->nbuckets * MAILPING_WAYS];

        for (i = 0; i < MAILPING_WAYS; i++) {
            mailping_recents_visit_slot(slot + i, by, key, now, visit);
        }

        return;
    }

    index = &table->indexes[key % table->nindexes];

    for (i = 0; i < MAILPING_REFS; i++) {
        ref = __atomic_load_n(&index->ref[i], __ATOMIC_ACQUIRE);

        if (ref != 0 && ref <= table->nbuckets * MAILPING_WAYS) {
            mailping_recents_visit_slot(&table->slots[ref - 1], by, key, now,
                                        visit);
        }
    }
}


static void
mailping_recents_visit_slot(mailping_recent_slot_t *slot,
    mailping_recent_key_e by, uint64_t key, uint64_t now,
    const mailping_recent_visit_t *visit)
{
    int                 rc;
    uint64_t           *hash;
    mailping_recent_t   r;

    hash = by == MAILPING_RECENT_TOKEN ? &slot->recent.fetch.token
                                       : &slot->recent.fetch.network;

    if (!__atomic_load_n(&slot->used, __ATOMIC_RELAXED)
        || __atomic_load_n(hash, __ATOMIC_RELAXED) != key
        || !mailping_claim(&slot->claim, now))
    {
        return;
    }

    rc = MAILPING_RECENT_SAME;

    if (slot->used && *hash == key) {
        r = slot->recent;

        if (mailping_recent_crc(&r) != slot->crc) {
            slot->used = 0;

        } else {
            rc = visit->change(visit->data, &r);
        }

        if (rc != MAILPING_RECENT_SAME) {

            /* a worker killed in between leaves a slot that fails the check */

            slot->recent = r;
            slot->crc = mailping_recent_crc(&r);
        }
    }

    mailping_claim_release(&slot->claim, now);

    if (rc == MAILPING_RECENT_TELL) {
        visit->tell(visit->data, &r);
    }
}


static uint8_t *
mailping_recent_text(uint8_t *p, mailping_str_t text, size_t max,
    uint8_t *len)
{
    *len = (uint8_t) (text.len < max ? text.len : max);

    if (*len != 0) {
        memcpy(p, text.data, *len);
    }

    return p + *len;
}


/*
 * Of the caller's copy, never of the slot, which somebody else may be writing;
 * and not of the padding after the text, which nobody has set.
 */

static uint32_t
mailping_recent_crc(const mailping_recent_t *r)
{
    return mailping_crc32c(0, r, offsetof(mailping_recent_t, text)
                                 + MAILPING_RECENT_TEXT);
}


void
mailping_recent_texts(const mailping_recent_t *r, mailping_amend_t *a)
{
    const uint8_t  *p;

    p = r->text;

    a->ref = mailping_str(p, r->nref);
    p += r->nref;

    a->id = mailping_str(p, r->nid);
    p += r->nid;

    a->recipient = mailping_str(p, r->nrecipient);
    p += r->nrecipient;

    a->site = mailping_str(p, r->nsite);
}
