
/*
 * Copyright (C) MailPing
 */


#include "spool_state.h"


/*
 * Finds where a ring's records begin and end when nothing is known but what is
 * in the file.  The DESIGN comment of core/spool.c says what is proof of a
 * record, and why the ring that was found may not be appended to.
 */


static int mailping_ring_recover(mailping_ring_t *ring,
    const mailping_ring_slot_t *slot);
static int mailping_ring_find_top(mailping_ring_t *ring, uint64_t *opened,
    uint64_t *lsn);
static int mailping_ring_scan(mailping_ring_t *ring,
    mailping_ring_cursor_t *c, uint64_t end);


int
mailping_ring_open(mailping_ring_t *ring, const mailping_storage_t *storage,
    const mailping_ring_params_t *here, const char **why)
{
    int                   rc;
    mailping_ring_slot_t  slot, *newest;

    rc = mailping_ring_load_header(ring, storage, here->size, why);

    if (rc != MAILPING_OK) {
        return rc;
    }

    newest = mailping_ring_load_slot(ring, &slot) ? &slot : NULL;

    rc = mailping_ring_recover(ring, newest);

    if (rc != MAILPING_OK) {
        return rc;
    }

    if (newest != NULL && slot.state != MAILPING_RING_CLEAN) {
        ring->state = slot.state;

    } else if (ring->params.device != here->device
               || ring->params.inode != here->inode)
    {
        ring->state = MAILPING_RING_MOVED;

    } else if (newest == NULL || ring->damage != 0) {
        ring->state = MAILPING_RING_DAMAGED;

    } else if (ring->clean) {
        if (ring->position != slot.head || ring->lsn != slot.head_lsn) {
            ring->state = MAILPING_RING_REBOOTED;
        }

    } else if (memcmp(ring->boot_id, here->boot_id, 16) != 0) {
        ring->state = MAILPING_RING_REBOOTED;
    }

    memcpy(ring->params.boot_id, here->boot_id, 16);
    ring->params.device = here->device;
    ring->params.inode = here->inode;

    return MAILPING_OK;
}


int
mailping_ring_peek(mailping_ring_t *ring, const mailping_storage_t *storage,
    uint64_t size, unsigned deep, uint64_t *undelivered, const char **why)
{
    int                   rc;
    mailping_ring_slot_t  slot, *newest;

    rc = mailping_ring_load_header(ring, storage, size, why);

    if (rc != MAILPING_OK) {
        return rc;
    }

    newest = mailping_ring_load_slot(ring, &slot) ? &slot : NULL;

    if (newest != NULL && ring->clean) {
        *undelivered = slot.undelivered;
        return MAILPING_OK;
    }

    if (!deep) {
        *undelivered = UINT64_MAX;
        return MAILPING_OK;
    }

    rc = mailping_ring_recover(ring, newest);

    *undelivered = ring->undelivered;

    return rc;
}


static int
mailping_ring_recover(mailping_ring_t *ring, const mailping_ring_slot_t *slot)
{
    int                         rc;
    uint32_t                    i;
    uint64_t                    opened, first, block, end, last;
    mailping_ring_cursor_t      c;
    mailping_ring_partition_t  *p;

    ring->nloaded = 0;

    rc = mailping_ring_find_top(ring, &opened, &first);

    if (rc != MAILPING_OK) {
        return rc;
    }

    memset(&c, 0, sizeof(mailping_ring_cursor_t));

    block = (slot != NULL) ? slot->hint / MAILPING_RING_BLOCK : 0;

    if (slot != NULL && block <= opened && opened <= block + ring->blocks) {
        c.position = slot->hint;
        c.lsn = slot->hint_lsn;

    } else {
        block = (opened > ring->blocks) ? opened - ring->blocks : 0;

        c.position = block * MAILPING_RING_BLOCK;
        c.loose = 1;

        if (slot != NULL) {
            ring->damage += MAILPING_RING_BLOCK_HEAD;
        }
    }

    /* one block more: its head may be what is damaged */

    last = opened + 1;

    if (last > block + ring->blocks) {
        last = block + ring->blocks;
    }

    end = last * MAILPING_RING_BLOCK;

    if (slot != NULL && slot->state != MAILPING_RING_CLEAN
        && end > slot->head)
    {
        end = slot->head;
    }

    rc = mailping_ring_scan(ring, &c, end);

    if (rc != MAILPING_OK) {
        return rc;
    }

    ring->position = c.position;
    ring->lsn = c.lsn;

    /* a block that was opened after the last record that was found */

    if (opened != 0 && (opened - 1) * MAILPING_RING_BLOCK >= c.position
        && (opened - 1) * MAILPING_RING_BLOCK < end)
    {
        ring->position = (opened - 1) * MAILPING_RING_BLOCK
                         + MAILPING_RING_BLOCK_HEAD;

        if (first - 1 != c.lsn && !c.loose) {
            ring->damage += ring->position - c.position;
        }

        if (first - 1 > ring->lsn) {
            ring->lsn = first - 1;
        }
    }

    /* records that were there when the slot was written */

    if (slot != NULL
        && (ring->position < slot->head || ring->lsn < slot->head_lsn))
    {
        if (ring->position < slot->head) {
            ring->damage += slot->head - ring->position;
            ring->position = slot->head;

        } else {
            ring->damage += MAILPING_RING_RECORD;
        }

        if (ring->lsn < slot->head_lsn) {
            ring->lsn = slot->head_lsn;
        }
    }

    ring->tail = ring->position;
    ring->tail_lsn = ring->lsn;
    ring->zeroed = ring->position;
    ring->counted = ring->position;

    /* the buffer may hold more than the records up to the head */

    ring->nloaded = 0;

    for (i = 0; i < ring->params.partitions; i++) {
        p = &ring->part[i];

        if (p->head < p->acked) {
            p->head = p->acked;
        }

        p->read = p->acked;
        p->cursor = p->held ? p->tail : ring->position;
        p->cursor_lsn = p->held ? p->tail_lsn : ring->lsn;
    }

    mailping_ring_move_tail(ring);

    return MAILPING_OK;
}


/*
 * Looks at all block heads: *opened is the highest number of a valid one plus
 * one, or 0 when there is none, and *lsn what that head says.
 */

static int
mailping_ring_find_top(mailping_ring_t *ring, uint64_t *opened, uint64_t *lsn)
{
    int       rc;
    uint8_t   head[MAILPING_RING_BLOCK_HEAD];
    uint64_t  i, number, first;

    *opened = 0;
    *lsn = 0;

    for (i = 0; i < ring->blocks; i++) {
        rc = ring->storage.pread(ring->storage.data, head, sizeof(head),
                                 MAILPING_RING_HEADER
                                 + i * MAILPING_RING_BLOCK);
        if (rc != 0) {
            return mailping_ring_error(rc);
        }

        if (mailping_ring_check_block(ring, head, &number, &first)
            && number % ring->blocks == i
            && number >= *opened)
        {
            *opened = number + 1;
            *lsn = first;
        }
    }

    return MAILPING_OK;
}


/* Reads all records from c on, and counts those not acknowledged. */

static int
mailping_ring_scan(mailping_ring_t *ring, mailping_ring_cursor_t *c,
    uint64_t end)
{
    int                         rc;
    mailping_record_t           record;
    mailping_ring_partition_t  *p;

    for ( ;; ) {
        rc = mailping_ring_next(ring, c, end, &record);

        if (rc != MAILPING_OK) {
            return rc == MAILPING_DECLINED ? MAILPING_OK : rc;
        }

        ring->damage += c->skipped;

        p = &ring->part[record.partition];

        if (record.seq <= p->head) {
            ring->damage += c->position - c->at;
            continue;
        }

        p->head = record.seq;

        if (record.seq <= p->acked) {
            continue;
        }

        if (p->held == 0) {
            p->tail = c->at;
            p->tail_lsn = record.lsn - 1;
            p->oldest = record.time;
        }

        p->held++;
        ring->undelivered++;
    }
}
