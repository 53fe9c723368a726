
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_TEST_RING_H
#define MAILPING_TEST_RING_H


#define _DEFAULT_SOURCE            /* MAP_ANONYMOUS */

#include <errno.h>
#include <sys/mman.h>

#include "core/crc32c.h"
#include "core/spool.h"

#include "tap.h"


/*
 * A ring on a disk in memory whose writes can be cut at any byte, made to
 * fail, or lost with the power, and what a test does with them.
 */

#define HEADER     32768
#define BLOCK      MAILPING_RING_BLOCK
#define PAGE       4096
#define SMALL      (HEADER + 4 * (size_t) BLOCK)
#define PARTS_MAX  MAILPING_RING_PARTITIONS_MAX


typedef struct {
    uint8_t        *data;          /* what a process sees */
    uint8_t        *durable;       /* what power loss leaves, or NULL */
    size_t          size;
    unsigned long   writes;
    unsigned long   reads;
    unsigned long   syncs;
    unsigned long   cut_at;        /* this write is the last one, 0 = none */
    size_t          cut_keep;      /* bytes of it that arrive */
    unsigned long   fail_at;       /* this write fails, 0 = none */
    size_t          fail_keep;
    int             fail_sync;
    int             fail_read;
    int             dead;
    size_t          last_size;     /* of the last write */
    uint64_t        last_offset;
} disk_t;


static uint64_t  rnd_state = 1;


static inline uint64_t
rnd(void)
{
    uint64_t  z;

    rnd_state += 0x9e3779b97f4a7c15;

    z = rnd_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;

    return z ^ (z >> 31);
}


static inline int
disk_pread(void *data, void *buf, size_t n, uint64_t offset)
{
    disk_t  *disk = data;

    disk->reads++;

    if (disk->fail_read || offset > disk->size || n > disk->size - offset) {
        return -EIO;
    }

    memcpy(buf, disk->data + offset, n);

    return 0;
}


static inline int
disk_pwrite(void *data, const void *buf, size_t n, uint64_t offset)
{
    int     rc;
    disk_t  *disk = data;

    rc = 0;

    disk->writes++;
    disk->last_size = n;
    disk->last_offset = offset;

    if (disk->dead) {
        return -EIO;
    }

    if (offset > disk->size || n > disk->size - offset) {
        printf("# write beyond the file\n");
        abort();
    }

    if (disk->writes == disk->cut_at) {
        n = (disk->cut_keep < n) ? disk->cut_keep : n;
        disk->dead = 1;
        rc = -EIO;

    } else if (disk->writes == disk->fail_at) {
        n = (disk->fail_keep < n) ? disk->fail_keep : n;
        rc = -ENOSPC;
    }

    memcpy(disk->data + offset, buf, n);

    return rc;
}


static inline int
disk_sync(void *data)
{
    disk_t  *disk = data;

    disk->syncs++;

    if (disk->dead || disk->fail_sync) {
        return -EIO;
    }

    if (disk->durable != NULL) {
        memcpy(disk->durable, disk->data, disk->size);
    }

    return 0;
}


static inline void
disk_init(disk_t *disk, size_t size, int durable)
{
    memset(disk, 0, sizeof(disk_t));

    disk->size = size;
    disk->data = mmap(NULL, size, PROT_READ|PROT_WRITE,
                      MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0);

    if (disk->data == MAP_FAILED) {
        abort();
    }

    if (durable) {
        disk->durable = calloc(1, size);
    }
}


static inline void
disk_free(disk_t *disk)
{
    munmap(disk->data, disk->size);
    free(disk->durable);
}


/* Any subset of the sectors written since the last sync has arrived. */

static inline void
disk_power_cut(disk_t *disk)
{
    size_t  i;

    for (i = 0; i < disk->size; i += 512) {
        if (rnd() & 1) {
            memcpy(disk->data + i, disk->durable + i, 512);
        }
    }

    memcpy(disk->durable, disk->data, disk->size);
}


static inline mailping_storage_t
storage_of(disk_t *disk)
{
    mailping_storage_t  storage;

    storage.pread = disk_pread;
    storage.pwrite = disk_pwrite;
    storage.sync = disk_sync;
    storage.data = disk;

    return storage;
}


static inline void
defaults(mailping_ring_params_t *params, const disk_t *disk,
    uint32_t partitions)
{
    memset(params, 0, sizeof(mailping_ring_params_t));

    memset(params->uuid, 0xa5, 16);
    memset(params->salt, 0x5a, 16);
    memset(params->boot_id, 0xb0, 16);
    params->device = 7;
    params->inode = 77;
    params->size = disk->size;
    params->made = 1700000000000;
    params->prefix.data = (const uint8_t *) "mailping";
    params->prefix.len = 8;
    params->partitions = partitions;
}


/* Opens the ring as a process that knows nothing. */

static inline int
reopen(mailping_ring_t *ring, disk_t *disk,
    const mailping_ring_params_t *here)
{
    const char          *why;
    mailping_storage_t   storage;

    disk->dead = 0;
    disk->cut_at = 0;
    disk->fail_at = 0;
    storage = storage_of(disk);

    memset(ring, 0xee, sizeof(mailping_ring_t));

    return mailping_ring_open(ring, &storage, here, &why);
}


/* Makes and opens a ring whose uuid the disk has not seen. */

static inline void
make(mailping_ring_t *ring, disk_t *disk, const mailping_ring_params_t *here)
{
    mailping_storage_t  storage;

    madvise(disk->data, disk->size, MADV_DONTNEED);

    storage = storage_of(disk);

    if (mailping_ring_format(&storage, here) != MAILPING_OK
        || reopen(ring, disk, here) != MAILPING_OK)
    {
        abort();
    }
}


/* A disk with an empty ring, opened. */

static inline void
setup(mailping_ring_t *ring, disk_t *disk, mailping_ring_params_t *here,
    uint32_t partitions)
{
    disk_init(disk, SMALL, 0);
    defaults(here, disk, partitions);
    make(ring, disk, here);
}


/* The payload of a record follows from its name. */

static inline size_t
payload_make(uint8_t *dst, uint32_t partition, uint64_t seq)
{
    size_t    n;
    uint64_t  z;

    z = (seq * 131 + partition) * 0x9e3779b97f4a7c15;
    n = 30 + (z >> 33) % 500;

    memset(dst, (uint8_t) (z >> 56), n);
    mailping_put64(dst, z);

    return n;
}


static inline int
put(mailping_ring_t *ring, uint32_t partition)
{
    uint8_t            buf[MAILPING_RING_PAYLOAD_MAX];
    mailping_record_t  record;

    memset(&record, 0, sizeof(mailping_record_t));

    record.payload.data = buf;
    record.payload.len = payload_make(buf, partition,
                                      ring->part[partition].head + 1);
    record.type = 1;
    record.version = 1;
    record.partition = partition;
    record.time = 1700000000000 + ring->lsn + 1;

    return mailping_ring_append(ring, &record);
}


static inline int
put_sized(mailping_ring_t *ring, uint32_t partition, size_t len)
{
    mailping_record_t  record;

    static const uint8_t  zeros[MAILPING_RING_PAYLOAD_MAX + 1];

    memset(&record, 0, sizeof(mailping_record_t));

    record.payload.data = zeros;
    record.payload.len = len;
    record.type = 2;
    record.partition = partition;

    return mailping_ring_append(ring, &record);
}


/* Whether the next record read is this one, whole. */

static inline int
get(mailping_ring_t *ring, uint32_t partition, uint64_t seq)
{
    size_t             n;
    uint8_t            buf[MAILPING_RING_PAYLOAD_MAX];
    mailping_record_t  record;

    if (mailping_ring_read(ring, partition, &record) != MAILPING_OK) {
        return 0;
    }

    n = payload_make(buf, partition, seq);

    return record.seq == seq
           && record.partition == partition
           && record.type == 1
           && record.version == 1
           && record.time == 1700000000000 + record.lsn
           && record.payload.len == n
           && memcmp(record.payload.data, buf, n) == 0;
}


static inline int
ack(mailping_ring_t *ring, uint32_t partition, uint64_t seq)
{
    mailping_identity_t  identity;

    memset(&identity, 0x11, sizeof(mailping_identity_t));

    return mailping_ring_acknowledge(ring, partition, seq, &identity);
}


/* Reads on from seq + 1 to the head; returns how many were right. */

static inline uint64_t
drain(mailping_ring_t *ring, uint32_t partition, uint64_t seq)
{
    uint64_t  n;

    for (n = 0; get(ring, partition, seq + n + 1); n++) { /* void */ }

    return n;
}


#endif /* MAILPING_TEST_RING_H */
