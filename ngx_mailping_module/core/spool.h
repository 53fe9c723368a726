
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_SPOOL_H
#define MAILPING_SPOOL_H


#include "bytes.h"


/* docs/spool-format.md specifies every byte; core/spool.c says why */

#define MAILPING_RING_BLOCK           32768
#define MAILPING_RING_BLOCKS_MIN      4            /* without the header */
#define MAILPING_RING_BLOCKS_MAX      65536
#define MAILPING_RING_PARTITIONS_MAX  128
#define MAILPING_RING_PREFIX_MAX      128
#define MAILPING_RING_PAYLOAD_MAX     4096
#define MAILPING_RING_WRITE_MAX       12288        /* of one pwrite */


/*
 * How a ring reaches its file.  pread and pwrite move exactly n bytes at this
 * offset, or fail with -errno; a short transfer is theirs to continue.  sync
 * makes what was written durable.  They return 0 or -errno.
 */

typedef struct {
    int   (*pread)(void *data, void *buf, size_t n, uint64_t offset);
    int   (*pwrite)(void *data, const void *buf, size_t n, uint64_t offset);
    int   (*sync)(void *data);
    void   *data;
} mailping_storage_t;


/* what a ring is bound to; compared with the header when it is opened */

typedef struct {
    uint8_t         uuid[16];      /* given when made, read when opened */
    uint8_t         salt[16];      /* likewise */
    uint8_t         boot_id[16];
    uint64_t        device;        /* st_dev, st_ino of the file */
    uint64_t        inode;
    uint64_t        size;          /* of the file, header included, bytes */
    uint64_t        made;          /* Unix ms, given when made; 0 = unknown */
    mailping_str_t  prefix;        /* of the Redis keys */
    uint32_t        partitions;
} mailping_ring_params_t;


/* who acknowledged: identity of the Redis server, all zero when unknown */

typedef struct {
    uint8_t         run_id[20];
    uint8_t         replid[20];
} mailping_identity_t;


/* one record, as it is read; payload points into the reader's buffer */

typedef struct {
    mailping_str_t  payload;
    uint64_t        lsn;
    uint64_t        seq;
    uint64_t        time;          /* Unix milliseconds */
    uint32_t        partition;
    uint8_t         type;          /* MAILPING_RECORD_... */
    uint8_t         version;       /* of the payload */
} mailping_record_t;


typedef struct {
    uint64_t             head;     /* last seq written, 0 = none */
    uint64_t             acked;    /* last seq acknowledged */
    uint64_t             held;     /* undelivered records that exist */
    uint64_t             tail;     /* if held: position of the first of them */
    uint64_t             tail_lsn; /* lsn before it */
    uint64_t             oldest;   /* its time */
    uint64_t             cursor;   /* reader: where it goes on */
    uint64_t             cursor_lsn;
    uint64_t             read;     /* reader: last seq read */
    mailping_identity_t  identity; /* of the last acknowledgement */
} mailping_ring_partition_t;


/* why a ring is not appended to */

typedef enum {
    MAILPING_RING_CLEAN = 0,
    MAILPING_RING_REBOOTED,        /* other boot and no clean shutdown */
    MAILPING_RING_MOVED,           /* other device or inode: a copy */
    MAILPING_RING_DAMAGED,         /* recovery skipped something */
    MAILPING_RING_FAILED           /* a write or sync failed */
} mailping_ring_state_e;


typedef struct {
    mailping_storage_t          storage;
    mailping_ring_params_t      params;
    char                        prefix[MAILPING_RING_PREFIX_MAX];
    mailping_ring_state_e       state;

    uint64_t                    position;  /* where the next record goes */
    uint64_t                    lsn;       /* of the last record */
    uint64_t                    tail;      /* first position still needed */
    uint64_t                    tail_lsn;  /* lsn before it */
    uint64_t                    undelivered;
    uint64_t                    bytes;     /* undelivered, with overhead */
    uint64_t                    oldest;    /* time of the one at the tail */
    uint64_t                    damage;    /* bytes that were skipped */

    uint64_t                    blocks;    /* of the file, without header */
    uint64_t                    zeroed;    /* pages written up to here */
    uint64_t                    counted;   /* damage counted up to here */
    uint64_t                    generation;   /* of the newest slot */
    uint8_t                     boot_id[16];  /* in the slots */
    uint32_t                    seed;      /* of checksums */
    unsigned                    clean:1;   /* the newest slot says so */

    mailping_ring_partition_t   part[MAILPING_RING_PARTITIONS_MAX];

    uint64_t                    loaded;    /* position of what block holds */
    size_t                      nloaded;
    uint8_t                     block[MAILPING_RING_BLOCK];
    uint8_t                     page[MAILPING_RING_WRITE_MAX];
} mailping_ring_t;


/*
 * A ring is about 64 KB; the caller allocates and frees it.  No function
 * below allocates.  All return MAILPING_OK unless they say otherwise;
 * MAILPING_ERROR sets errno.
 */

/*
 * Writes a fresh header for an empty ring to storage, which is a preallocated
 * file of params->size bytes.  Refuses (EINVAL) impossible parameters.
 */
int mailping_ring_format(const mailping_storage_t *storage,
    const mailping_ring_params_t *params);

/*
 * Opens the ring in storage: checks the header, then recovers; writes
 * nothing.  Of here, boot id, device, inode and size are used, as they are
 * now; the rest comes from the header to ring->params.  Returns MAILPING_OK
 * (ring->state tells whether it may be appended to), or MAILPING_DECLINED
 * with *why (static text) when it is not a ring that this version can read.
 * MAILPING_ERROR is an I/O error.
 */
int mailping_ring_open(mailping_ring_t *ring,
    const mailping_storage_t *storage, const mailping_ring_params_t *here,
    const char **why);

/*
 * Looks into a ring that somebody else may own: ring->params is then the
 * header's, and *undelivered how many records are not delivered.  The number
 * is the last slot's when that says "clean shutdown".  Else the ring is read
 * when "deep" is set, which takes as long as opening it and which a concurrent
 * owner makes inexact, and the number is UINT64_MAX when not.  Before any
 * other use ring is to be opened.  size is the file's.  Returns what
 * mailping_ring_open() returns.
 */
int mailping_ring_peek(mailping_ring_t *ring,
    const mailping_storage_t *storage, uint64_t size, unsigned deep,
    uint64_t *undelivered, const char **why);

/* Whether records may be appended for this prefix and partition count. */
int mailping_ring_appendable(const mailping_ring_t *ring,
    mailping_str_t prefix, uint32_t partitions);

/*
 * Makes sure that no slot says "clean shutdown" while records are appended:
 * if one does, rewrites both and syncs.  Called once, after
 * mailping_ring_open() and where a sync may block, by who is going to append;
 * otherwise the first mailping_ring_append() does it.
 */
int mailping_ring_begin(mailping_ring_t *ring);

/*
 * Appends one record with one pwrite; lsn and seq are the ring's to give and
 * are stored in *record.  Returns MAILPING_AGAIN when the ring is full (its
 * oldest undelivered record would be overwritten), MAILPING_ERROR with EINVAL
 * for a record that no ring takes, with EROFS when ring->state is not
 * MAILPING_RING_CLEAN, and with another errno when the write failed: then the
 * record does not exist, and the ring is MAILPING_RING_FAILED.
 */
int mailping_ring_append(mailping_ring_t *ring, mailping_record_t *record);

/*
 * Reads the partition's next record after the last one read.  The payload
 * stays valid until the next call on this ring.  Returns MAILPING_DECLINED at
 * the head, MAILPING_ERROR for I/O errors.  Damage is skipped and counted in
 * ring->damage; a ring that was clean is MAILPING_RING_DAMAGED then.
 */
int mailping_ring_read(mailping_ring_t *ring, uint32_t partition,
    mailping_record_t *record);

/*
 * Puts the reader back so that the next record read is the first one with a
 * seq above this one that the ring still holds; seq is at least the acked one
 * or, for a rewind, lower, but not above the head (EINVAL).  *missing = how
 * many seqs between this one and that record, or up to the head when there is
 * none, are no longer held.
 */
int mailping_ring_seek(mailping_ring_t *ring, uint32_t partition,
    uint64_t seq, uint64_t *missing);

/*
 * Notes that everything up to seq of this partition is in Redis, says the
 * server with this identity; moves the tail and writes the header's next
 * slot.  The reader goes on after seq, if it was not farther.  A seq below
 * the acked one rewinds (Redis lost data); mailping_ring_seek() comes first
 * and places the reader.  A seq above the head is refused (EINVAL).  When the
 * slot cannot be written, returns MAILPING_ERROR and the ring is
 * MAILPING_RING_FAILED, but in memory the acknowledgement holds; when it has
 * to read the ring and cannot, nothing changes.
 */
int mailping_ring_acknowledge(mailping_ring_t *ring, uint32_t partition,
    uint64_t seq, const mailping_identity_t *identity);

/* How many records of all partitions are not delivered. */
uint64_t mailping_ring_undelivered(const mailping_ring_t *ring);

/*
 * Makes what was written durable.  A failure makes the ring
 * MAILPING_RING_FAILED and is not to be retried: the kernel has forgotten
 * which pages were lost.  A caller that syncs the file in a thread of its own
 * calls mailping_ring_fail() when that has failed.
 */
int mailping_ring_sync(mailping_ring_t *ring);
void mailping_ring_fail(mailping_ring_t *ring);

/* Writes a slot that says "clean shutdown".  The caller closes the file. */
int mailping_ring_close(mailping_ring_t *ring);

/*
 * Writes the producer of a partition, "<32 hex digits of uuid>.<partition>",
 * zero-terminated, and returns its length.
 */
#define MAILPING_PRODUCER_TEXT_MAX  (32 + 1 + 3 + 1)

size_t mailping_ring_producer(const mailping_ring_t *ring, uint32_t partition,
    char dst[MAILPING_PRODUCER_TEXT_MAX]);


#endif /* MAILPING_SPOOL_H */
