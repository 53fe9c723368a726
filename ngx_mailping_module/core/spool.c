
/*
 * Copyright (C) MailPing
 */


#include <errno.h>

#include "spool_state.h"


/*
 * DESIGN
 *
 * docs/spool-format.md has every byte; here is why it is so.
 *
 * One writer, one file, one state.  The worker that holds the file's lock
 * both fills and drains the ring, so nothing here is shared between threads
 * or processes.  Where things are is derived from checksummed records and
 * from the mark in Redis; a slot of the header only saves reading and
 * remembers which server has acknowledged.  There is no second file that a
 * crash could leave behind in another state.
 *
 * Positions.  A position grows for ever; its place in the file is its
 * remainder.  The lsn grows by one per record.  Both together make the old
 * lap harmless: whatever lies behind the newest record has a lower lsn, so
 * "a valid record with a lsn above the last one" is proof of being new.  A
 * block head says which lsn comes first in its block, so that the unused rest
 * of the block before it can be told from a hole, and needs no filler.
 *
 * A record exists when its pwrite has returned.  SIGKILL in the middle leaves
 * a prefix of that write; a record that is not whole does not validate, and
 * the next append, which continues at the same position with the same lsn,
 * overwrites it.  For this to be sound, recovery decides on the head only
 * when nothing valid follows: it looks through the rest of the block and at
 * all block heads, and takes everything between as damage if it finds
 * something.
 *
 * A pwrite that failed is different.  It may have written anything from
 * nothing to all.  If the next record went to the same position, a crash
 * before it would bring back an event that was counted as lost; if it went
 * behind, there would be a hole that looks like damage.  So the ring is not
 * appended to any more, and the slot written at once says so together with
 * the exact head, beyond which recovery does not look.  The owner goes on in
 * another ring.  The file is preallocated, so a failed write means a bad
 * disk, not a short moment of a full one, and giving up the ring costs little.
 *
 * Who may append.  The mark in Redis lives longer than this file's pages.  If
 * power loss takes the last records and new ones get their seqs, Redis takes
 * the new ones for delivered.  Hence a ring is appended to only when nothing
 * can be missing: in the same boot the page cache has survived; after a clean
 * shutdown the slot tells the exact head, and the head found must be that.
 * "Clean" is taken back in both slots, and synced, before the first append:
 * else power loss could leave the old clean slot with the old, shorter ring,
 * which would look consistent.  The way back to "clean" needs no sync, because
 * a clean slot that reached the disk before its records does not fit them.
 * Boot id, the clean flag and the final state are kept in the slots, not in
 * the static header, so that the static header is never rewritten.  A state
 * other than clean is final: it is in every later slot.
 *
 * The tail is the lowest position of an undelivered record of any partition.
 * A partition without any does not hold it back.  To keep appending and
 * counting O(1), each partition remembers the place of its first undelivered
 * record: an append to an empty partition and each acknowledgement set it.
 * After an acknowledgement the partition's next record has to be found, which
 * the reader would have to do anyway.
 *
 * A slot is written before the space that it frees is used, so the hint of
 * the newest slot is always in place.  SIGKILL within that write leaves the
 * older slot: its hint is in place too, since space was freed only by the
 * slot that is now torn.  Its acknowledged seq is lower than the truth; the
 * mark in Redis then says "a reply was lost", and nothing is sent twice.
 *
 * Reading never trusts a length, a number or a position before the checksum,
 * and never trusts the checksum alone: positions and numbers are bounded when
 * the header is read, a lsn cannot exceed what fits below its position, and
 * the search for the next record after damage is bounded per block.
 */


/* plausible records with a wrong checksum that are tried in one block */
#define MAILPING_RING_TRIES  64


static int mailping_ring_load(mailping_ring_t *ring, uint64_t start,
    uint64_t end, size_t *n);
static uint64_t mailping_ring_floor(const mailping_ring_t *ring);
static int mailping_ring_settle(mailping_ring_t *ring, uint32_t partition,
    mailping_ring_partition_t *p, uint64_t seq);
static void mailping_ring_note_damage(mailping_ring_t *ring,
    const mailping_ring_cursor_t *c);


int
mailping_ring_appendable(const mailping_ring_t *ring, mailping_str_t prefix,
    uint32_t partitions)
{
    return ring->state == MAILPING_RING_CLEAN
           && ring->params.partitions == partitions
           && mailping_str_equal(ring->params.prefix, prefix);
}


int
mailping_ring_begin(mailping_ring_t *ring)
{
    int  rc, err;

    if (ring->state != MAILPING_RING_CLEAN) {
        errno = EROFS;
        return MAILPING_ERROR;
    }

    if (!ring->clean) {
        return MAILPING_OK;
    }

    ring->clean = 0;
    memcpy(ring->boot_id, ring->params.boot_id, sizeof(ring->boot_id));

    rc = mailping_ring_write_slot(ring);

    if (rc == MAILPING_OK) {
        rc = mailping_ring_write_slot(ring);
    }

    if (rc != MAILPING_OK) {
        err = errno;
        mailping_ring_fail(ring);
        errno = err;

        return rc;
    }

    return mailping_ring_sync(ring);
}


int
mailping_ring_append(mailping_ring_t *ring, mailping_record_t *record)
{
    int                         rc;
    size_t                      n, size, zeros;
    uint64_t                    at, position, end;
    mailping_ring_partition_t  *part;

    if (record->type == 0
        || record->partition >= ring->params.partitions
        || record->payload.len > MAILPING_RING_PAYLOAD_MAX)
    {
        errno = EINVAL;
        return MAILPING_ERROR;
    }

    if (ring->clean || ring->state != MAILPING_RING_CLEAN) {
        rc = mailping_ring_begin(ring);

        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    part = &ring->part[record->partition];
    position = ring->position;
    size = (size_t) mailping_ring_align(MAILPING_RING_RECORD
                                        + record->payload.len, 8);
    n = 0;

    if (position % MAILPING_RING_BLOCK == 0
        || position % MAILPING_RING_BLOCK + size > MAILPING_RING_BLOCK)
    {
        position = mailping_ring_align(position, MAILPING_RING_BLOCK);

        if (position >= MAILPING_RING_LIMIT - MAILPING_RING_BLOCK) {
            errno = EOVERFLOW;
            return MAILPING_ERROR;
        }

        if (ring->undelivered != 0
            && position / MAILPING_RING_BLOCK
               >= ring->tail / MAILPING_RING_BLOCK + ring->blocks)
        {
            return MAILPING_AGAIN;
        }

        n = mailping_ring_build_block(ring->page, ring->seed,
                                      position / MAILPING_RING_BLOCK,
                                      ring->lsn + 1);
    }

    at = position + n;

    record->lsn = ring->lsn + 1;
    record->seq = part->head + 1;

    n += mailping_ring_build_record(ring->page + n, ring->seed, record);

    end = position + n;

    if (end > ring->zeroed) {

        /* a page that is new in this lap */

        zeros = (size_t) (mailping_ring_align(end, MAILPING_RING_PAGE) - end);

        memset(ring->page + n, 0, zeros);
        n += zeros;
    }

    rc = ring->storage.pwrite(ring->storage.data, ring->page, n,
                              mailping_ring_place(ring, position));

    if (rc != 0) {
        mailping_ring_fail(ring);
        return mailping_ring_error(rc);
    }

    if (position + n > ring->zeroed) {
        ring->zeroed = position + n;
    }

    if (ring->undelivered == 0) {
        ring->tail = at;
        ring->tail_lsn = ring->lsn;
        ring->oldest = record->time;
    }

    if (part->held == 0) {
        part->tail = at;
        part->tail_lsn = ring->lsn;
        part->oldest = record->time;
    }

    if (part->read == part->head) {
        part->cursor = at;
        part->cursor_lsn = ring->lsn;
    }

    part->head = record->seq;
    part->held++;

    ring->undelivered++;
    ring->lsn = record->lsn;
    ring->position = end;
    ring->bytes = ring->position - ring->tail;

    return MAILPING_OK;
}


int
mailping_ring_read(mailping_ring_t *ring, uint32_t partition,
    mailping_record_t *record)
{
    int                         rc;
    uint64_t                    lowest;
    mailping_ring_cursor_t      c;
    mailping_ring_partition_t  *p;

    p = &ring->part[partition];

    memset(&c, 0, sizeof(mailping_ring_cursor_t));

    c.position = p->cursor;
    c.lsn = p->cursor_lsn;

    /* a reader that was put back and not followed by a rewind */

    lowest = mailping_ring_floor(ring);

    if (c.position < lowest) {
        c.position = lowest;
        c.lsn = 0;
        c.loose = 1;
    }

    for ( ;; ) {
        rc = mailping_ring_next(ring, &c, ring->position, record);

        if (rc == MAILPING_ERROR) {
            return rc;
        }

        if (rc == MAILPING_DECLINED) {
            break;
        }

        mailping_ring_note_damage(ring, &c);

        p->cursor = c.position;
        p->cursor_lsn = c.lsn;

        if (record->partition == partition
            && record->seq > p->read
            && record->seq <= p->head)
        {
            p->read = record->seq;
            return MAILPING_OK;
        }
    }

    if (c.lsn != ring->lsn && !c.loose) {
        c.at = c.position;
        c.skipped = ring->position - c.position;
        mailping_ring_note_damage(ring, &c);
    }

    p->cursor = ring->position;
    p->cursor_lsn = ring->lsn;

    if (p->read == p->acked && p->held != 0) {

        /* the last records are gone */

        ring->undelivered -= p->held;
        p->held = 0;
        mailping_ring_move_tail(ring);
    }

    return MAILPING_DECLINED;
}


int
mailping_ring_seek(mailping_ring_t *ring, uint32_t partition, uint64_t seq,
    uint64_t *missing)
{
    int                         rc;
    mailping_record_t           record;
    mailping_ring_cursor_t      c;
    mailping_ring_partition_t  *p;

    p = &ring->part[partition];

    if (seq > p->head) {
        errno = EINVAL;
        return MAILPING_ERROR;
    }

    memset(&c, 0, sizeof(mailping_ring_cursor_t));

    if (seq < p->acked) {
        c.position = mailping_ring_floor(ring);
        c.loose = 1;

    } else if (p->held != 0) {
        c.position = p->tail;
        c.lsn = p->tail_lsn;

    } else {
        c.position = ring->position;
        c.lsn = ring->lsn;
    }

    for ( ;; ) {
        rc = mailping_ring_next(ring, &c, ring->position, &record);

        if (rc == MAILPING_ERROR) {
            return rc;
        }

        if (rc == MAILPING_DECLINED) {
            p->cursor = ring->position;
            p->cursor_lsn = ring->lsn;
            *missing = p->head - seq;
            break;
        }

        mailping_ring_note_damage(ring, &c);

        if (record.partition == partition
            && record.seq > seq
            && record.seq <= p->head)
        {
            p->cursor = c.at;
            p->cursor_lsn = record.lsn - 1;
            *missing = record.seq - seq - 1;
            break;
        }
    }

    p->read = seq;

    return MAILPING_OK;
}


int
mailping_ring_next(mailping_ring_t *ring, mailping_ring_cursor_t *c,
    uint64_t end, mailping_record_t *record)
{
    int        rc, broken;
    size_t     n, off, first, size;
    unsigned   tries;
    uint64_t   start, number, lsn;

    start = c->position - c->position % MAILPING_RING_BLOCK;
    first = (size_t) (c->position - start);

    while (start + first < end) {

        rc = mailping_ring_load(ring, start, end, &n);

        if (rc != MAILPING_OK) {
            return rc;
        }

        broken = 0;

        if (first == 0) {
            first = MAILPING_RING_BLOCK_HEAD;

            broken = n < first
                     || !mailping_ring_check_block(ring, ring->block, &number,
                                                   &lsn)
                     || number != start / MAILPING_RING_BLOCK;
        }

        tries = MAILPING_RING_TRIES;

        for (off = first; off < n && tries != 0; off += 8) {

            size = mailping_ring_check_record(ring, c, start + off, n - off,
                                              record, &tries);
            if (size == 0) {
                continue;
            }

            c->skipped = 0;

            if (!c->loose) {
                if (record->lsn - c->lsn != 1) {
                    c->skipped = start + off - c->position;

                } else {
                    c->skipped = off - first
                                 + (broken ? MAILPING_RING_BLOCK_HEAD : 0);
                }
            }

            c->at = start + off;
            c->position = c->at + size;
            c->lsn = record->lsn;
            c->loose = 0;

            return MAILPING_OK;
        }

        start += MAILPING_RING_BLOCK;
        first = 0;
    }

    return MAILPING_DECLINED;
}


/*
 * Has the block that begins at this position in ring->block, up to end.  What
 * is there already is not read again, and what was appended since is.
 */

static int
mailping_ring_load(mailping_ring_t *ring, uint64_t start, uint64_t end,
    size_t *n)
{
    int     rc;
    size_t  have;

    *n = MAILPING_RING_BLOCK;

    if (end - start < *n) {
        *n = (size_t) (end - start);
    }

    have = (ring->loaded == start) ? ring->nloaded : 0;

    if (have >= *n) {
        return MAILPING_OK;
    }

    ring->nloaded = 0;

    rc = ring->storage.pread(ring->storage.data, ring->block + have,
                             *n - have,
                             mailping_ring_place(ring, start) + have);
    if (rc != 0) {
        return mailping_ring_error(rc);
    }

    ring->loaded = start;
    ring->nloaded = *n;

    return MAILPING_OK;
}


/* the start of the oldest block that has not been overwritten */

static uint64_t
mailping_ring_floor(const mailping_ring_t *ring)
{
    uint64_t  opened;

    opened = mailping_ring_align(ring->position, MAILPING_RING_BLOCK)
             / MAILPING_RING_BLOCK;

    if (opened <= ring->blocks) {
        return 0;
    }

    return (opened - ring->blocks) * MAILPING_RING_BLOCK;
}


int
mailping_ring_acknowledge(mailping_ring_t *ring, uint32_t partition,
    uint64_t seq, const mailping_identity_t *identity)
{
    int                         rc;
    mailping_ring_partition_t  *p, fresh;

    p = &ring->part[partition];

    if (seq > p->head) {
        errno = EINVAL;
        return MAILPING_ERROR;
    }

    if (seq == p->acked
        && memcmp(identity, &p->identity, sizeof(mailping_identity_t)) == 0)
    {
        return MAILPING_OK;
    }

    fresh = *p;

    if (seq != p->acked) {
        rc = mailping_ring_settle(ring, partition, &fresh, seq);

        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    fresh.identity = *identity;

    ring->undelivered = ring->undelivered - p->held + fresh.held;
    *p = fresh;

    mailping_ring_move_tail(ring);

    rc = mailping_ring_write_slot(ring);

    if (rc != MAILPING_OK) {
        ring->state = MAILPING_RING_FAILED;
    }

    return rc;
}


/*
 * Makes seq the acknowledged one of *p, which is a copy of the partition:
 * counts what is held then and finds the first of it.
 */

static int
mailping_ring_settle(mailping_ring_t *ring, uint32_t partition,
    mailping_ring_partition_t *p, uint64_t seq)
{
    int                     rc, rewind;
    uint64_t                acked, held;
    mailping_record_t       record;
    mailping_ring_cursor_t  c;

    memset(&c, 0, sizeof(mailping_ring_cursor_t));

    acked = p->acked;
    rewind = (seq < acked);
    held = 0;

    if (rewind) {
        c.position = mailping_ring_floor(ring);
        c.loose = 1;

    } else if (seq == p->read && ring->damage == 0) {
        c.position = p->cursor;
        c.lsn = p->cursor_lsn;
        held = p->held - (seq - acked);

    } else {
        c.position = p->tail;
        c.lsn = p->tail_lsn;
        held = p->held;
    }

    p->acked = seq;
    p->held = 0;

    while (rewind || held != 0) {

        rc = mailping_ring_next(ring, &c, ring->position, &record);

        if (rc == MAILPING_ERROR) {
            return rc;
        }

        if (rc == MAILPING_DECLINED) {
            break;
        }

        mailping_ring_note_damage(ring, &c);

        if (record.partition != partition || record.seq > p->head) {
            continue;
        }

        if (record.seq <= seq) {
            if (record.seq > acked) {
                held--;
            }

            continue;
        }

        if (p->held == 0) {
            p->tail = c.at;
            p->tail_lsn = record.lsn - 1;
            p->oldest = record.time;
        }

        if (!rewind) {
            p->held = held;
            break;
        }

        p->held++;
    }

    if (p->read < seq) {
        p->read = seq;
        p->cursor = p->held ? p->tail : ring->position;
        p->cursor_lsn = p->held ? p->tail_lsn : ring->lsn;
    }

    return MAILPING_OK;
}


static void
mailping_ring_note_damage(mailping_ring_t *ring,
    const mailping_ring_cursor_t *c)
{
    if (c->skipped == 0) {
        return;
    }

    /* each partition's reader comes by, and recovery was here before */

    if (ring->state == MAILPING_RING_CLEAN || c->at >= ring->counted) {
        ring->damage += c->skipped;
    }

    if (c->at >= ring->counted) {
        ring->counted = c->at + 1;
    }

    if (ring->state == MAILPING_RING_CLEAN) {
        ring->state = MAILPING_RING_DAMAGED;
    }
}


void
mailping_ring_move_tail(mailping_ring_t *ring)
{
    uint32_t                    i;
    mailping_ring_partition_t  *p;

    ring->tail = ring->position;
    ring->tail_lsn = ring->lsn;
    ring->oldest = 0;

    for (i = 0; i < ring->params.partitions; i++) {
        p = &ring->part[i];

        if (p->held != 0 && p->tail < ring->tail) {
            ring->tail = p->tail;
            ring->tail_lsn = p->tail_lsn;
            ring->oldest = p->oldest;
        }
    }

    ring->bytes = ring->position - ring->tail;
}


uint64_t
mailping_ring_undelivered(const mailping_ring_t *ring)
{
    return ring->undelivered;
}


int
mailping_ring_sync(mailping_ring_t *ring)
{
    int  rc;

    rc = ring->storage.sync(ring->storage.data);

    if (rc != 0) {
        mailping_ring_fail(ring);
        return mailping_ring_error(rc);
    }

    return MAILPING_OK;
}


void
mailping_ring_fail(mailping_ring_t *ring)
{
    ring->state = MAILPING_RING_FAILED;
    ring->clean = 0;

    /* it may fail as well: then the ring is only judged by what is there */

    (void) mailping_ring_write_slot(ring);
}


int
mailping_ring_close(mailping_ring_t *ring)
{
    int  rc;

    if (ring->clean) {
        return MAILPING_OK;
    }

    ring->clean = (ring->state == MAILPING_RING_CLEAN);

    rc = mailping_ring_write_slot(ring);

    if (rc != MAILPING_OK) {
        ring->state = MAILPING_RING_FAILED;
        ring->clean = 0;
    }

    return rc;
}


size_t
mailping_ring_producer(const mailping_ring_t *ring, uint32_t partition,
    char dst[MAILPING_PRODUCER_TEXT_MAX])
{
    char               *p;
    size_t              i;
    uint32_t            unit;

    static const char   hex[] = "0123456789abcdef";

    p = dst;

    for (i = 0; i < sizeof(ring->params.uuid); i++) {
        *p++ = hex[ring->params.uuid[i] >> 4];
        *p++ = hex[ring->params.uuid[i] & 15];
    }

    *p++ = '.';

    unit = (partition >= 100) ? 100 : (partition >= 10) ? 10 : 1;

    for ( /* void */ ; unit != 0; unit /= 10) {
        *p++ = (char) ('0' + partition / unit % 10);
    }

    *p = '\0';

    return (size_t) (p - dst);
}
