
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_SPOOL_STATE_H
#define MAILPING_SPOOL_STATE_H


/*
 * What the files of the ring share, and nobody else.  Each calls only those
 * below it:
 *
 *     spool_recovery.c   opening: where the records begin and end
 *     spool.c            append, read, acknowledge, close
 *     spool_format.c     the bytes
 */

#include "spool_format.h"


/*
 * Finds the next record before end, whatever its partition; c->at is then its
 * position and c->skipped how many damaged bytes were before it.  The payload
 * is in ring->block.  Returns MAILPING_DECLINED at end, and leaves c as it
 * was, or MAILPING_ERROR for I/O errors.
 */
int mailping_ring_next(mailping_ring_t *ring, mailping_ring_cursor_t *c,
    uint64_t end, mailping_record_t *record);

/* Finds the tail of the ring among those of the partitions. */
void mailping_ring_move_tail(mailping_ring_t *ring);


#endif /* MAILPING_SPOOL_STATE_H */
