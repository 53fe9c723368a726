
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_SPOOL_FORMAT_H
#define MAILPING_SPOOL_FORMAT_H


#include "spool.h"


/*
 * The bytes of docs/spool-format.md, written and checked one piece at a time.
 * Only the files of the ring use this (core/spool_state.h); they decide what
 * the pieces mean together.
 */

#define MAILPING_RING_HEADER      MAILPING_RING_BLOCK
#define MAILPING_RING_BLOCK_HEAD  32
#define MAILPING_RING_RECORD      40         /* before the payload */
#define MAILPING_RING_PAGE        4096
#define MAILPING_RING_LIMIT       ((uint64_t) 1 << 62)

#define mailping_ring_align(n, a)  (((n) + ((a) - 1)) & ~((uint64_t) (a) - 1))


typedef struct {
    const uint8_t  *entries;
    const uint8_t  *boot_id;
    uint64_t        generation;
    uint64_t        hint;
    uint64_t        hint_lsn;
    uint64_t        head;
    uint64_t        head_lsn;
    uint64_t        undelivered;
    uint32_t        flags;
    uint32_t        state;
} mailping_ring_slot_t;


typedef struct {
    uint64_t        position;      /* where the search goes on */
    uint64_t        lsn;           /* of the last record passed */
    uint64_t        at;            /* position of the record found */
    uint64_t        skipped;       /* damaged bytes before it */
    unsigned        loose:1;       /* lsn is not known yet */
} mailping_ring_cursor_t;


/* Sets errno from what a storage function returned; is MAILPING_ERROR. */
int mailping_ring_error(int rc);

/* The place of a position in the file. */
uint64_t mailping_ring_place(const mailping_ring_t *ring, uint64_t position);

/*
 * Clears *ring and takes over what the static header says.  Reads the whole
 * header region to ring->block, where mailping_ring_load_slot() finds it.  A
 * copy of the static header that is not valid is counted as damage.  Returns
 * what mailping_ring_open() returns.
 */
int mailping_ring_load_header(mailping_ring_t *ring,
    const mailping_storage_t *storage, uint64_t size, const char **why);

/*
 * Takes the newest valid slot over into ring; *slot has the rest of it.
 * Returns 0 when there is none.
 */
int mailping_ring_load_slot(mailping_ring_t *ring, mailping_ring_slot_t *slot);

/* Writes the state of ring as its next slot. */
int mailping_ring_write_slot(mailping_ring_t *ring);

/*
 * A block head: whether the bytes at p are one, and the bytes of one.  lsn is
 * that of the block's first record.
 */
int mailping_ring_check_block(const mailping_ring_t *ring, const uint8_t *p,
    uint64_t *number, uint64_t *lsn);
size_t mailping_ring_build_block(uint8_t *dst, uint32_t seed, uint64_t number,
    uint64_t lsn);

/*
 * Checks the record at position "at", of which n bytes are in ring->block.
 * Returns its length with its padding, or 0.  *tries counts down when nothing
 * but the checksum is wrong.
 */
size_t mailping_ring_check_record(const mailping_ring_t *ring,
    const mailping_ring_cursor_t *c, uint64_t at, size_t n,
    mailping_record_t *record, unsigned *tries);
size_t mailping_ring_build_record(uint8_t *dst, uint32_t seed,
    const mailping_record_t *record);


#endif /* MAILPING_SPOOL_FORMAT_H */
