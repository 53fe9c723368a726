
/*
 * Copyright (C) MailPing
 */


/*
 * Tests core/spool.c on a disk in memory whose writes can be cut at any byte,
 * made to fail, or lost with the power: what was appended is there, once and
 * in order, whatever happens to the process, and a ring that may have lost
 * something is not appended to.
 */


#define _DEFAULT_SOURCE            /* MAP_ANONYMOUS */

#include <errno.h>
#include <sys/mman.h>

#include "core/crc32c.h"
#include "core/spool.h"

#include "tap.h"


#define HEADER     32768
#define BLOCK      MAILPING_RING_BLOCK
#define PAGE       4096
#define SMALL      (HEADER + 4 * (size_t) BLOCK)
#define PARTS_MAX  MAILPING_RING_PARTITIONS_MAX


typedef struct {
    uint8_t      *data;            /* what a process sees */
    uint8_t      *durable;         /* what power loss leaves, or NULL */
    size_t        size;
    unsigned long  writes;
    unsigned long  reads;
    unsigned long  syncs;
    unsigned long  cut_at;         /* this write is the last one, 0 = none */
    size_t        cut_keep;        /* bytes of it that arrive */
    unsigned long  fail_at;        /* this write fails, 0 = none */
    size_t        fail_keep;
    int           fail_sync;
    int           fail_read;
    int           dead;
    size_t        last_size;       /* of the last write */
    uint64_t      last_offset;
} disk_t;


typedef struct {
    uint64_t      head[PARTS_MAX];
    uint64_t      acked[PARTS_MAX];
    uint64_t      read[PARTS_MAX];
    uint64_t      lsn;
} model_t;


static int disk_pread(void *data, void *buf, size_t n, uint64_t offset);
static int disk_pwrite(void *data, const void *buf, size_t n,
    uint64_t offset);
static int disk_sync(void *data);
static void disk_init(disk_t *disk, size_t size, int durable);
static void disk_free(disk_t *disk);
static void disk_power_cut(disk_t *disk);
static mailping_storage_t storage_of(disk_t *disk);

static uint64_t rnd(void);
static void defaults(mailping_ring_params_t *params, const disk_t *disk,
    uint32_t partitions);
static void make(mailping_ring_t *ring, disk_t *disk,
    const mailping_ring_params_t *here);
static int reopen(mailping_ring_t *ring, disk_t *disk,
    const mailping_ring_params_t *here);
static size_t payload_make(uint8_t *dst, uint32_t partition, uint64_t seq);
static int put(mailping_ring_t *ring, uint32_t partition);
static int put_sized(mailping_ring_t *ring, uint32_t partition, size_t len);
static int get(mailping_ring_t *ring, uint32_t partition, uint64_t seq);
static int ack(mailping_ring_t *ring, uint32_t partition, uint64_t seq);
static uint64_t drain(mailping_ring_t *ring, uint32_t partition,
    uint64_t seq);

static void test_format(void);
static void test_basic(void);
static void test_laps(void);
static void test_full(void);
static void test_writes(void);
static void test_partitions(void);
static void test_acknowledge(void);
static void test_rewind(void);
static void test_cut(void);
static void test_cut_slot(void);
static void test_failed(void);
static void test_states(void);
static void test_power(void);
static void test_header_flips(void);
static void test_record_flips(void);
static void test_hostile(void);
static void test_large(void);
static int model_same(mailping_ring_t *ring, const model_t *m,
    uint32_t partitions);
static int model_reopen(mailping_ring_t *ring, disk_t *disk, model_t *m,
    mailping_ring_params_t *here, const char *what);
static int model_round(uint64_t seed);
static void test_model(void);


static uint64_t  rnd_state = 1;


static uint64_t
rnd(void)
{
    uint64_t  z;

    rnd_state += 0x9e3779b97f4a7c15;

    z = rnd_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;

    return z ^ (z >> 31);
}


static int
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


static int
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


static int
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


static void
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


static void
disk_free(disk_t *disk)
{
    munmap(disk->data, disk->size);
    free(disk->durable);
}


/* Any subset of the sectors written since the last sync has arrived. */

static void
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


static mailping_storage_t
storage_of(disk_t *disk)
{
    mailping_storage_t  storage;

    storage.pread = disk_pread;
    storage.pwrite = disk_pwrite;
    storage.sync = disk_sync;
    storage.data = disk;

    return storage;
}


static void
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


/* Makes and opens a ring whose uuid the disk has not seen. */

static void
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


/* Opens the ring as a process that knows nothing. */

static int
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


/* The payload of a record follows from its name. */

static size_t
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


static int
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


static int
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

static int
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


static int
ack(mailping_ring_t *ring, uint32_t partition, uint64_t seq)
{
    mailping_identity_t  identity;

    memset(&identity, 0x11, sizeof(mailping_identity_t));

    return mailping_ring_acknowledge(ring, partition, seq, &identity);
}


/* Reads on from seq + 1 to the head; returns how many were right. */

static uint64_t
drain(mailping_ring_t *ring, uint32_t partition, uint64_t seq)
{
    uint64_t  n;

    for (n = 0; get(ring, partition, seq + n + 1); n++) { /* void */ }

    return n;
}


static void
test_format(void)
{
    int                     rc;
    size_t                  i;
    disk_t                  disk;
    const char             *why;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  params, here;

    static const struct {
        size_t       size;
        uint32_t     partitions;
        size_t       prefix;
        const char  *name;
    } bad[] = {
        { SMALL + 1, 1, 8, "a size that is not whole blocks" },
        { SMALL - BLOCK, 1, 8, "a size below the minimum" },
        { 0, 1, 8, "size 0" },
        { (size_t) 65538 * BLOCK, 1, 8, "a size above the maximum" },
        { SMALL, 0, 8, "no partition" },
        { SMALL, 129, 8, "too many partitions" },
        { SMALL, 1, 129, "too long a prefix" },
    };

    disk_init(&disk, SMALL, 0);
    storage = storage_of(&disk);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        defaults(&params, &disk, bad[i].partitions);
        params.size = bad[i].size;
        params.prefix.len = bad[i].prefix;

        errno = 0;
        rc = mailping_ring_format(&storage, &params);
        ok(rc == MAILPING_ERROR && errno == EINVAL && disk.writes == 0,
           "format refuses %s", bad[i].name);
    }

    defaults(&params, &disk, 3);
    is_int(mailping_ring_format(&storage, &params), MAILPING_OK, "format");
    is_int(disk.writes, 1, "in one write");

    /* the header, byte by byte, as docs/spool-format.md has it */

    ok(memcmp(disk.data, "MAILPING\1\0\0\0\0\0\0\0\0\0\0\0\0\200\0\0"
                         "\0\200\0\0\3\0\0\0\0\200\2\0\0\0\0\0"
                         "\7\0\0\0\0\0\0\0\115\0\0\0\0\0\0\0", 56) == 0,
       "static header up to the inode");
    is_int(mailping_get64(disk.data + 56), 1700000000000, "time of making");
    ok(disk.data[64] == 0xa5 && disk.data[79] == 0xa5, "uuid");
    ok(disk.data[80] == 0x5a && disk.data[95] == 0x5a, "salt");
    ok(memcmp(disk.data + 96, "\10\0\0\0mailping\0", 13) == 0, "prefix");
    is_int(mailping_get32(disk.data + 508), mailping_crc32c(0, disk.data, 508),
           "checksum");
    ok(memcmp(disk.data, disk.data + 2048, 512) == 0, "copy");
    ok(memcmp(disk.data + 4096, "MPSL", 4) == 0, "slot A");
    is_int(mailping_get64(disk.data + 4104), 1, "generation 1");
    is_int(mailping_get64(disk.data + 18440), 2, "slot B: generation 2");

    memset(&here, 0, sizeof(here));
    memcpy(here.boot_id, params.boot_id, 16);
    here.device = 7;
    here.inode = 77;
    here.size = SMALL;

    is_int(mailping_ring_open(&ring, &storage, &here, &why), MAILPING_OK,
           "open");
    is_int(disk.writes, 1, "writes nothing");
    is_int(ring.state, MAILPING_RING_CLEAN, "clean");
    is_int(ring.params.partitions, 3, "partitions from the header");
    is_str(ring.params.prefix.data, ring.params.prefix.len, "mailping",
           "prefix from the header");
    ok(memcmp(ring.params.uuid, params.uuid, 16) == 0
       && memcmp(ring.params.salt, params.salt, 16) == 0
       && ring.params.made == params.made,
       "uuid, salt, time of making from the header");
    ok(ring.lsn == 0 && ring.position == 0 && ring.oldest == 0
       && mailping_ring_undelivered(&ring) == 0, "empty");

    ok(mailping_ring_appendable(&ring, params.prefix, 3),
       "appendable for its prefix and partitions");
    ok(!mailping_ring_appendable(&ring, params.prefix, 2),
       "not for another number of partitions");
    params.prefix.len--;
    ok(!mailping_ring_appendable(&ring, params.prefix, 3),
       "not for another prefix");

    {
        char  text[MAILPING_PRODUCER_TEXT_MAX];

        i = mailping_ring_producer(&ring, 0, text);
        is_str(text, i, "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5.0", "producer 0");
        ok(text[i] == '\0', "zero-terminated");
        i = mailping_ring_producer(&ring, 42, text);
        is_str(text, i, "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5.42", "producer 42");
        i = mailping_ring_producer(&ring, 107, text);
        is_str(text, i, "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5.107",
               "producer 107");
    }

    disk_free(&disk);
}


static void
test_basic(void)
{
    int                     i, good;
    disk_t                  disk;
    uint64_t                n;
    const char             *why;
    mailping_ring_t         ring;
    mailping_record_t       record;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1);

    make(&ring, &disk, &here);

    is_int(mailping_ring_read(&ring, 0, &record), MAILPING_DECLINED,
           "nothing to read");

    disk.writes = 0;
    good = 1;

    for (i = 1; i <= 100; i++) {
        good &= put(&ring, 0) == MAILPING_OK;
        good &= get(&ring, 0, i);
        good &= mailping_ring_read(&ring, 0, &record) == MAILPING_DECLINED;
    }

    ok(good, "100 records read as soon as they are appended");
    is_int(disk.writes, 100, "one write each");
    is_int(mailping_ring_undelivered(&ring), 100, "none is acknowledged");
    is_int(ring.oldest, 1700000000001, "time of the oldest");
    is_int(ring.bytes, ring.position - 32, "bytes of them");

    is_int(ack(&ring, 0, 60), MAILPING_OK, "acknowledge 60");
    is_int(mailping_ring_undelivered(&ring), 40, "40 are left");
    is_int(ring.oldest, 1700000000061, "time of the oldest now");

    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_CLEAN, "clean after SIGKILL");
    is_int(ring.part[0].acked, 60, "acknowledged seq is kept");
    is_int(ring.part[0].head, 100, "head is found");
    is_int(ring.lsn, 100, "lsn is found");
    is_int(mailping_ring_undelivered(&ring), 40, "undelivered are counted");
    is_int(ring.oldest, 1700000000061, "their oldest time");
    ok(ring.part[0].identity.run_id[19] == 0x11
       && ring.part[0].identity.replid[19] == 0x11, "identity is kept");
    is_int(drain(&ring, 0, 60), 40, "and all are read");

    is_int(mailping_ring_peek(&ring, &storage, SMALL, 0, &n, &why), MAILPING_OK,
           "peek without reading");
    ok(n == UINT64_MAX, "does not know the undelivered");
    is_int(mailping_ring_peek(&ring, &storage, SMALL, 1, &n, &why), MAILPING_OK,
           "peek");
    is_int(n, 40, "sees the undelivered");
    ok(ring.params.partitions == 1 && ring.params.prefix.len == 8
       && ring.params.uuid[0] == 0xa5, "and the header");

    errno = 0;
    reopen(&ring, &disk, &here);
    ok(put_sized(&ring, 0, MAILPING_RING_PAYLOAD_MAX + 1) == MAILPING_ERROR
       && errno == EINVAL, "too long a payload is refused");
    errno = 0;
    ok(put_sized(&ring, 1, 0) == MAILPING_ERROR && errno == EINVAL,
       "a partition out of range is refused");
    errno = 0;
    ok(ack(&ring, 0, 101) == MAILPING_ERROR && errno == EINVAL,
       "acknowledging above the head is refused");
    ok(mailping_ring_seek(&ring, 0, 101, &n) == MAILPING_ERROR
       && errno == EINVAL, "and seeking");
    is_int(ring.state, MAILPING_RING_CLEAN, "the ring is as it was");
    is_int(put_sized(&ring, 0, 0), MAILPING_OK, "an empty payload");
    is_int(put_sized(&ring, 0, MAILPING_RING_PAYLOAD_MAX), MAILPING_OK,
           "the longest payload");
    is_int(drain(&ring, 0, 60), 40, "read up to them");

    reopen(&ring, &disk, &here);
    is_int(ring.part[0].head, 102, "both are there");
    ack(&ring, 0, 100);
    ok(mailping_ring_read(&ring, 0, &record) == MAILPING_OK
       && record.payload.len == 0 && record.type == 2 && record.seq == 101,
       "the empty one");
    ok(mailping_ring_read(&ring, 0, &record) == MAILPING_OK
       && record.payload.len == MAILPING_RING_PAYLOAD_MAX
       && record.seq == 102, "the long one");

    disk.fail_read = 1;
    reopen(&ring, &disk, &here);
    ok(mailping_ring_open(&ring, &storage, &here, &why) == MAILPING_ERROR
       && errno == EIO, "a read error when opening");
    disk.fail_read = 0;
    reopen(&ring, &disk, &here);
    disk.fail_read = 1;
    ok(mailping_ring_read(&ring, 0, &record) == MAILPING_ERROR
       && errno == EIO, "a read error when reading");
    disk.fail_read = 0;
    ok(mailping_ring_read(&ring, 0, &record) == MAILPING_OK
       && record.seq == 101, "is not for ever");

    disk_free(&disk);
}


static void
test_laps(void)
{
    int                     i, good, laps_good;
    disk_t                  disk;
    uint64_t                seq;
    mailping_ring_t         ring;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    defaults(&here, &disk, 1);

    make(&ring, &disk, &here);

    good = 1;
    laps_good = 1;

    for (seq = 1; ring.position < 40 * 4 * (uint64_t) BLOCK; seq++) {
        good &= put(&ring, 0) == MAILPING_OK && get(&ring, 0, seq)
                && ack(&ring, 0, seq) == MAILPING_OK;

        if (seq % 97 == 0) {
            reopen(&ring, &disk, &here);
            laps_good &= ring.state == MAILPING_RING_CLEAN
                         && ring.lsn == seq && ring.part[0].head == seq
                         && ring.damage == 0
                         && mailping_ring_undelivered(&ring) == 0;
        }
    }

    ok(good, "append, read, acknowledge over 40 laps");
    ok(laps_good, "nothing of an older lap is found by any recovery");

    /* both slots gone: all blocks that are held are read */

    for (i = 0; i < 20; i++) {
        put(&ring, 0);
        seq++;
    }

    memset(disk.data + 4096, 0, HEADER - 4096);
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_DAMAGED, "no slot: damaged");
    is_int(ring.part[0].head, seq - 1, "but all records are found");
    ok(ring.undelivered > 300 && ring.undelivered < seq - 1,
       "as many as the ring holds");
    is_int(drain(&ring, 0, seq - 1 - ring.undelivered), ring.undelivered,
           "and are read");

    disk_free(&disk);
}


static void
test_full(void)
{
    int                     rc;
    disk_t                  disk;
    uint64_t                seq, room;
    unsigned long           writes;
    mailping_ring_t         ring;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    defaults(&here, &disk, 1);

    make(&ring, &disk, &here);

    for (seq = 0; (rc = put(&ring, 0)) == MAILPING_OK; seq++) { /* void */ }

    is_int(rc, MAILPING_AGAIN, "the ring is full");
    ok(ring.position > 4 * BLOCK - 600, "really full");
    is_int(ring.undelivered, seq, "all count");

    writes = disk.writes;
    is_int(put(&ring, 0), MAILPING_AGAIN, "and stays full");
    is_int(disk.writes, writes, "without a write");

    is_int(drain(&ring, 0, 0), seq, "all are read");
    reopen(&ring, &disk, &here);
    is_int(drain(&ring, 0, 0), seq, "also after SIGKILL");
    is_int(put(&ring, 0), MAILPING_AGAIN, "still full");

    ack(&ring, 0, 1);
    is_int(put(&ring, 0), MAILPING_AGAIN, "a block must be free as a whole");

    for (room = 1; put(&ring, 0) == MAILPING_AGAIN; room++) {
        ack(&ring, 0, room);
    }

    ok(ring.tail >= BLOCK && ring.tail < BLOCK + 600,
       "it takes records when the first block is acknowledged");
    is_int(ring.state, MAILPING_RING_CLEAN, "and is clean");

    disk_free(&disk);
}


static void
test_writes(void)
{
    int                     good;
    disk_t                  disk;
    uint64_t                before, end;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    memset(disk.data, 0xff, disk.size);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1);

    mailping_ring_format(&storage, &here);
    reopen(&ring, &disk, &here);

    put_sized(&ring, 0, 11);
    is_int(disk.last_offset, HEADER, "the first write opens the block");
    is_int(disk.last_size, PAGE, "and runs to the end of the page");
    ok(memcmp(disk.data + HEADER, "MPBL", 4) == 0, "block head");
    is_int(mailping_get64(disk.data + HEADER + 16), 1, "its lsn");

    put_sized(&ring, 0, 11);
    is_int(disk.last_offset, HEADER + 32 + 56, "the next one follows");
    is_int(disk.last_size, 56, "and is only the record with its padding");
    is_int(mailping_get32(disk.data + HEADER + 32 + 56 + 4), 11, "length");
    is_int(disk.data[HEADER + 32 + 56 + 8], 2, "type");
    is_int(mailping_get64(disk.data + HEADER + 32 + 56 + 16), 2, "lsn");
    is_int(mailping_get64(disk.data + HEADER + 32 + 56 + 24), 2, "seq");

    good = 1;

    while (ring.position < 3 * BLOCK) {
        before = ring.zeroed;
        put_sized(&ring, 0, rnd() % MAILPING_RING_PAYLOAD_MAX);
        end = disk.last_offset - HEADER + disk.last_size;
        good &= end == ring.position || (end % PAGE == 0 && end > before);
        good &= ring.position <= ring.zeroed;
    }

    ok(good, "each page is written to its end the first time");

    put_sized(&ring, 0, MAILPING_RING_PAYLOAD_MAX);
    put_sized(&ring, 0, BLOCK - ring.position % BLOCK > 2 * PAGE ? 900 : 0);
    reopen(&ring, &disk, &here);
    ok(ring.position % PAGE < PAGE - 200, "in the middle of a page");
    put_sized(&ring, 0, 11);
    is_int((disk.last_offset + disk.last_size) % PAGE, 0,
           "also the first time after opening");

    disk_free(&disk);
}


static void
test_partitions(void)
{
    int                     good;
    disk_t                  disk;
    uint32_t                i;
    uint64_t                n, last;
    mailping_ring_t         ring;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    defaults(&here, &disk, PARTS_MAX);

    make(&ring, &disk, &here);

    good = 1;

    for (n = 0; n < 300; n++) {
        good &= put(&ring, (uint32_t) (n * 37 % 100)) == MAILPING_OK;
    }

    ok(good, "append to 100 of 128 partitions");

    for (i = 0; i < 100; i++) {
        good &= get(&ring, i, 1) && get(&ring, i, 2) && get(&ring, i, 3)
                && !get(&ring, i, 4);
    }

    ok(good, "each one reads its own records");

    for (i = 0; i < PARTS_MAX; i++) {
        good &= ack(&ring, i, i < 100 && i != 37 ? 3 : 0) == MAILPING_OK;
    }

    ok(good, "all but one are acknowledged");
    is_int(ring.undelivered, 3, "its records are left");
    is_int(ring.tail, ring.part[37].tail, "it alone holds the tail");

    reopen(&ring, &disk, &here);
    is_int(ring.undelivered, 3, "also after SIGKILL");
    is_int(ring.tail, ring.part[37].tail, "the tail, too");

    /* partition 37 is dead; the others go on until the ring is full */

    for (n = 0; put(&ring, 5) == MAILPING_OK; n++) {
        good &= get(&ring, 5, 4 + n) && ack(&ring, 5, 4 + n) == MAILPING_OK;
    }

    ok(good && n > 100, "a partition that stands holds the ring");
    is_int(ring.undelivered, 3, "three records do");

    last = n + 3;
    ok(get(&ring, 37, 1) && get(&ring, 37, 2) && get(&ring, 37, 3),
       "they are read");
    is_int(ack(&ring, 37, 3), MAILPING_OK, "when they are acknowledged");
    is_int(put(&ring, 5), MAILPING_OK, "the ring takes records");
    ok(get(&ring, 5, last + 1), "which are read");

    /* a partition without undelivered records, several laps behind */

    for (n = last + 1; ring.position < 20 * BLOCK; n++) {
        good &= ack(&ring, 5, n) == MAILPING_OK
                && put(&ring, 5) == MAILPING_OK && get(&ring, 5, n + 1);
    }

    good &= put(&ring, 37) == MAILPING_OK && get(&ring, 37, 4)
            && !get(&ring, 37, 5);
    ok(good, "a partition that slept for laps reads its new record");

    disk_free(&disk);
}


static void
test_acknowledge(void)
{
    int                     i;
    disk_t                  disk;
    uint64_t                missing;
    unsigned long           writes;
    mailping_ring_t         ring;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    defaults(&here, &disk, 2);

    make(&ring, &disk, &here);

    for (i = 0; i < 50; i++) {
        put(&ring, 0);
        put(&ring, 1);
    }

    ack(&ring, 0, 20);
    is_int(ring.undelivered, 80, "acknowledge more than was read");
    ok(get(&ring, 0, 21), "the reader goes on behind it");
    ok(get(&ring, 0, 22) && get(&ring, 0, 23), "and on");
    ack(&ring, 0, 22);
    is_int(ring.undelivered, 78, "acknowledge less than was read");
    ok(get(&ring, 0, 24), "the reader stays");

    is_int(mailping_ring_seek(&ring, 0, 22, &missing), MAILPING_OK,
           "seek to the acknowledged seq");
    is_int(missing, 0, "nothing is missing");
    is_int(drain(&ring, 0, 22), 28, "the rest is read again");
    mailping_ring_seek(&ring, 0, 30, &missing);
    is_int(drain(&ring, 0, 30), 20, "seek above it");
    mailping_ring_seek(&ring, 0, 50, &missing);
    is_int(drain(&ring, 0, 50), 0, "seek to the head");

    writes = disk.writes;
    ack(&ring, 0, 22);
    is_int(disk.writes, writes, "the same again writes nothing");
    ack(&ring, 0, 50);
    is_int(disk.writes, writes + 1, "an acknowledgement is one write");
    is_int(disk.last_size, 128 + 2 * 64, "of one slot");

    put(&ring, 0);
    ok(get(&ring, 0, 51), "and it goes on");
    is_int(drain(&ring, 1, 0), 50, "the other partition does not notice");

    disk_free(&disk);
}


static void
test_rewind(void)
{
    disk_t                  disk;
    uint64_t                seq, missing, first, n;
    mailping_ring_t         ring;
    mailping_record_t       record;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    defaults(&here, &disk, 2);

    make(&ring, &disk, &here);

    for (seq = 1; seq <= 100; seq++) {
        put(&ring, seq & 1);
    }

    ack(&ring, 0, 50);
    ack(&ring, 1, 50);

    mailping_ring_seek(&ring, 0, 10, &missing);
    is_int(missing, 0, "a rewind finds acknowledged records");
    is_int(ack(&ring, 0, 10), MAILPING_OK, "and takes the seq back");
    is_int(ring.undelivered, 40, "they are undelivered again");
    is_int(ring.part[1].acked, 50, "the other partition is not");
    is_int(drain(&ring, 0, 10), 40, "they are read again");

    reopen(&ring, &disk, &here);
    is_int(ring.undelivered, 40, "also after SIGKILL");
    is_int(drain(&ring, 0, 10), 40, "and read");
    ack(&ring, 0, 50);

    for (seq = 51; ring.position < 10 * BLOCK; seq++) {
        put(&ring, 0);
        ack(&ring, 0, seq);
    }

    mailping_ring_seek(&ring, 0, 20, &missing);
    first = 20 + missing + 1;
    ok(first > 300 && first < seq - 200, "overwritten ones are missing");
    n = drain(&ring, 0, first - 1);
    is_int(n, seq - first, "all others are read");
    mailping_ring_seek(&ring, 0, 20, &missing);
    ack(&ring, 0, 20);
    is_int(ring.undelivered, n, "and undelivered");
    is_int(ring.part[0].head, seq - 1, "the head stays");
    is_int(drain(&ring, 0, first - 1), n, "the reader is where it was put");

    while (put(&ring, 0) == MAILPING_OK) {
        n++;
    }

    is_int(ring.undelivered, n, "they are not overwritten any more");
    mailping_ring_seek(&ring, 0, 20, &missing);
    is_int(drain(&ring, 0, first - 1), n, "not one");

    /* put back, but not rewound: the records may go meanwhile */

    make(&ring, &disk, &here);

    for (seq = 1; seq <= 100; seq++) {
        put(&ring, 0);
    }

    ack(&ring, 0, 100);
    mailping_ring_seek(&ring, 0, 20, &missing);

    for ( /* void */ ; ring.position < 6 * BLOCK; seq++) {
        put(&ring, 0);
        ack(&ring, 0, seq > 150 ? seq - 50 : 100);
        mailping_ring_seek(&ring, 0, 20, &missing);
    }

    for (n = 0; n < 400; n++) {
        put(&ring, 1);
        ack(&ring, 1, n + 1);
    }

    ok(mailping_ring_read(&ring, 0, &record) == MAILPING_OK
       && record.seq > 20 + missing
       && ring.state == MAILPING_RING_CLEAN,
       "a reader put back goes on at the oldest record, without damage");

    /* the older slot's hint was overwritten, and the newer slot is bad */

    make(&ring, &disk, &here);

    for (seq = 1; seq <= 300; seq++) {
        put(&ring, 0);
    }

    ack(&ring, 0, 10);
    ack(&ring, 0, 290);

    for ( /* void */ ; ring.position < 5 * BLOCK + 500; seq++) {
        put(&ring, 0);
    }

    disk.data[(ring.generation % 2 ? 4096 : 18432) + 9] ^= 1;
    reopen(&ring, &disk, &here);
    ok(ring.state == MAILPING_RING_DAMAGED && ring.part[0].acked == 10
       && ring.part[0].head == seq - 1,
       "without its hint a ring is read from its oldest record");
    is_int(drain(&ring, 0, seq - 1 - ring.undelivered), ring.undelivered,
           "nothing that it holds is lost");

    disk_free(&disk);
}


/* SIGKILL in an append: every length of what arrived of it. */

static void
test_cut(void)
{
    int                     good, last;
    size_t                  keep, size;
    disk_t                  disk;
    uint8_t                *image;
    uint64_t                seq, head, appended;
    mailping_ring_t         ring;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    defaults(&here, &disk, 1);

    image = malloc(SMALL);

    make(&ring, &disk, &here);

    good = 1;
    appended = 0;

    /* in the second lap, over old records; stops within every block edge */

    for (seq = 1; ring.position < 6 * BLOCK; seq++) {

        last = ring.position > 4 * BLOCK
               && (seq % 61 == 0 || ring.position % BLOCK > BLOCK - 500);

        if (!last) {
            good &= put(&ring, 0) == MAILPING_OK;
            good &= ack(&ring, 0, seq > 2 ? seq - 2 : 0) == MAILPING_OK;
            continue;
        }

        memcpy(image, disk.data, SMALL);

        good &= put(&ring, 0) == MAILPING_OK;
        size = disk.last_size;
        head = seq - 1;

        for (keep = 0; keep < size; keep += (keep < 700) ? 1 : 97) {
            memcpy(disk.data, image, SMALL);
            reopen(&ring, &disk, &here);

            disk.cut_at = disk.writes + 1;
            disk.cut_keep = keep;
            put(&ring, 0);

            reopen(&ring, &disk, &here);

            good &= ring.state == MAILPING_RING_CLEAN
                    && (ring.part[0].head == head
                        || ring.part[0].head == head + 1)
                    && drain(&ring, 0, ring.part[0].acked)
                       == ring.part[0].head - ring.part[0].acked
                    && put(&ring, 0) == MAILPING_OK
                    && get(&ring, 0, ring.part[0].head);

            reopen(&ring, &disk, &here);

            good &= ring.state == MAILPING_RING_CLEAN
                    && drain(&ring, 0, ring.part[0].acked)
                       == ring.part[0].head - ring.part[0].acked
                    && ring.part[0].head >= head + 1;
            appended++;
        }

        memcpy(disk.data, image, SMALL);
        reopen(&ring, &disk, &here);
        good &= put(&ring, 0) == MAILPING_OK;
        ack(&ring, 0, seq - 2);
    }

    ok(good, "SIGKILL in an append: nothing before it is lost, and on it goes");
    ok(appended > 3000, "at %" PRIu64 " places", appended);

    free(image);
    disk_free(&disk);
}


/* SIGKILL in the write of a slot, when making, acknowledging, closing. */

static void
test_cut_slot(void)
{
    int                     good, step;
    size_t                  keep;
    disk_t                  disk;
    uint8_t                *image;
    const char             *why;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1);

    image = malloc(SMALL);

    good = 1;

    for (keep = 0; keep < HEADER; keep += (keep < 5000) ? 7 : 97) {
        memset(disk.data, 0, SMALL);
        disk.dead = 0;
        disk.cut_at = disk.writes + 1;
        disk.cut_keep = keep;
        mailping_ring_format(&storage, &here);
        disk.dead = 0;
        disk.cut_at = 0;

        switch (mailping_ring_open(&ring, &storage, &here, &why)) {

        case MAILPING_DECLINED:
            good &= keep < 512;
            break;

        case MAILPING_OK:
            good &= ring.lsn == 0 && ring.undelivered == 0;
            break;

        default:
            good = 0;
        }
    }

    ok(good, "SIGKILL in making a ring: none, or an empty one");

    make(&ring, &disk, &here);

    for (step = 0; step < 200; step++) {
        put(&ring, 0);
    }

    ack(&ring, 0, 50);
    ack(&ring, 0, 100);
    memcpy(image, disk.data, SMALL);

    for (keep = 0; keep <= 192; keep++) {
        memcpy(disk.data, image, SMALL);
        reopen(&ring, &disk, &here);
        disk.cut_at = disk.writes + 1;
        disk.cut_keep = keep;
        good &= ack(&ring, 0, 150) == MAILPING_ERROR || keep == 192;

        reopen(&ring, &disk, &here);
        good &= ring.state == MAILPING_RING_CLEAN
                && (ring.part[0].acked == 100 || ring.part[0].acked == 150)
                && drain(&ring, 0, ring.part[0].acked)
                   == 200 - ring.part[0].acked
                && put(&ring, 0) == MAILPING_OK;
    }

    ok(good, "SIGKILL in an acknowledgement: before or after it");

    for (keep = 0; keep <= 192; keep++) {
        memcpy(disk.data, image, SMALL);
        reopen(&ring, &disk, &here);
        disk.cut_at = disk.writes + 1;
        disk.cut_keep = keep;
        mailping_ring_close(&ring);

        reopen(&ring, &disk, &here);
        good &= ring.state == MAILPING_RING_CLEAN && ring.lsn == 200
                && put(&ring, 0) == MAILPING_OK;
    }

    ok(good, "SIGKILL in closing: clean or not, it is appended to");

    free(image);
    disk_free(&disk);
}


static void
test_failed(void)
{
    int                     good;
    size_t                  keep;
    disk_t                  disk;
    mailping_ring_t         ring;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    defaults(&here, &disk, 1);

    good = 1;

    for (keep = 0; keep < PAGE + 1; keep += 3) {
        make(&ring, &disk, &here);

        put(&ring, 0);
        put(&ring, 0);

        disk.fail_at = disk.writes + 1;
        disk.fail_keep = keep;
        errno = 0;

        good &= put(&ring, 0) == MAILPING_ERROR && errno == ENOSPC
                && ring.state == MAILPING_RING_FAILED
                && ring.part[0].head == 2 && ring.lsn == 2
                && ring.undelivered == 2;

        errno = 0;
        good &= put(&ring, 0) == MAILPING_ERROR && errno == EROFS;
        good &= drain(&ring, 0, 0) == 2;

        reopen(&ring, &disk, &here);
        good &= ring.state == MAILPING_RING_FAILED && ring.lsn == 2
                && put(&ring, 0) == MAILPING_ERROR
                && drain(&ring, 0, 0) == 2 && ack(&ring, 0, 2) == MAILPING_OK
                && ring.undelivered == 0;

        reopen(&ring, &disk, &here);
        good &= ring.state == MAILPING_RING_FAILED && ring.undelivered == 0;
    }

    ok(good, "a failed append leaves no record and ends appending");

    make(&ring, &disk, &here);
    put(&ring, 0);
    disk.fail_sync = 1;
    ok(mailping_ring_sync(&ring) == MAILPING_ERROR && errno == EIO
       && ring.state == MAILPING_RING_FAILED, "so does a failed sync");
    disk.fail_sync = 0;
    mailping_ring_close(&ring);
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_FAILED, "for ever");

    make(&ring, &disk, &here);
    put(&ring, 0);
    put(&ring, 0);
    disk.fail_at = disk.writes + 1;
    ok(ack(&ring, 0, 1) == MAILPING_ERROR && errno == ENOSPC
       && ring.state == MAILPING_RING_FAILED, "and a failed acknowledgement");
    is_int(ring.undelivered, 1, "which holds in memory");
    ok(ack(&ring, 0, 2) == MAILPING_OK && ring.undelivered == 0,
       "the ring is drained");

    disk_free(&disk);
}


static void
test_states(void)
{
    disk_t                  disk;
    uint64_t                n;
    const char             *why;
    uint8_t                 slots[HEADER - 4096];
    unsigned long           syncs, writes;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1);

    make(&ring, &disk, &here);
    put(&ring, 0);
    put(&ring, 0);
    ack(&ring, 0, 1);

    here.inode++;
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_MOVED, "other inode: a copy");
    ok(put(&ring, 0) == MAILPING_ERROR && errno == EROFS, "not appended to");
    ok(get(&ring, 0, 2), "but drained");
    here.inode--;
    here.device++;
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_MOVED, "other device: a copy");
    here.device--;

    here.boot_id[3]++;
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_REBOOTED, "reboot without shutdown");
    ok(put(&ring, 0) == MAILPING_ERROR && errno == EROFS, "not appended to");
    ok(get(&ring, 0, 2), "but drained");
    ack(&ring, 0, 2);
    mailping_ring_close(&ring);
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_REBOOTED, "and closing does not help");
    is_int(ring.undelivered, 0, "it is empty");

    make(&ring, &disk, &here);
    put(&ring, 0);
    put(&ring, 0);
    is_int(mailping_ring_close(&ring), MAILPING_OK, "close");
    writes = disk.writes;
    is_int(mailping_ring_close(&ring), MAILPING_OK, "close twice");
    is_int(disk.writes, writes, "writes once");

    here.boot_id[5]++;
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_CLEAN, "reboot after shutdown");
    ok(get(&ring, 0, 1) && ack(&ring, 0, 1) == MAILPING_OK,
       "drained without being appended to");

    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_CLEAN, "it stays clean");
    is_int(mailping_ring_peek(&ring, &storage, SMALL, 1, &n, &why), MAILPING_OK,
           "peek");
    is_int(n, 1, "believes a clean slot");

    reopen(&ring, &disk, &here);
    syncs = disk.syncs;
    is_int(mailping_ring_begin(&ring), MAILPING_OK, "begin");
    is_int(disk.syncs, syncs + 1, "syncs");
    ok(mailping_get32(disk.data + 4096 + 16) == 0
       && mailping_get32(disk.data + 18432 + 16) == 0,
       "when neither slot says clean");
    is_int(mailping_ring_begin(&ring), MAILPING_OK, "begin again");
    put(&ring, 0);
    is_int(disk.syncs, syncs + 1, "once");

    here.boot_id[5]++;
    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_REBOOTED, "not clean any more");

    /* slots of a shutdown before records were appended */

    make(&ring, &disk, &here);
    put(&ring, 0);
    mailping_ring_close(&ring);
    memcpy(slots, disk.data + 4096, sizeof(slots));
    put(&ring, 0);
    memcpy(disk.data + 4096, slots, sizeof(slots));
    reopen(&ring, &disk, &here);
    ok(ring.state == MAILPING_RING_REBOOTED && ring.lsn == 2,
       "a clean slot that does not fit the records is not believed");

    make(&ring, &disk, &here);
    put(&ring, 0);
    mailping_ring_close(&ring);
    disk.fail_sync = 1;
    ok(put(&ring, 0) == MAILPING_ERROR && errno == EIO
       && ring.part[0].head == 1 && ring.state == MAILPING_RING_FAILED,
       "no record before the sync that begins has succeeded");
    disk.fail_sync = 0;

    disk_free(&disk);
}


/*
 * Power loss: a ring that is appended to afterwards holds all that it had
 * when it was closed, and no record that was delivered is made anew.
 */

static void
test_power(void)
{
    int                     good, opened, appendable, closed;
    disk_t                  disk;
    uint64_t                before;
    unsigned                round, i, n;
    const char             *why;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 1);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1);

    good = 1;
    opened = 0;
    appendable = 0;

    for (round = 0; round < 400; round++) {
        memset(disk.data, 0, SMALL);
        mailping_ring_format(&storage, &here);
        disk_sync(&disk);
        reopen(&ring, &disk, &here);

        n = rnd() % 500;

        for (i = 0; i < n; i++) {
            put(&ring, 0);
        }

        ack(&ring, 0, n / 2);

        if (rnd() & 1) {
            disk_sync(&disk);
        }

        if (rnd() & 1) {
            mailping_ring_close(&ring);

            if (rnd() & 1) {
                disk_sync(&disk);
            }

            reopen(&ring, &disk, &here);
            put(&ring, 0);
        }

        closed = (rnd() & 1);

        if (closed) {
            mailping_ring_close(&ring);
        }

        before = ring.part[0].head;
        disk_power_cut(&disk);
        here.boot_id[0]++;

        if (mailping_ring_open(&ring, &storage, &here, &why) != MAILPING_OK) {
            continue;
        }

        opened++;

        if (ring.state == MAILPING_RING_CLEAN) {
            appendable++;
            good &= closed && ring.part[0].head == before;
        }

        while (ring.undelivered != 0) {
            mailping_record_t  record;

            if (mailping_ring_read(&ring, 0, &record) == MAILPING_DECLINED) {
                good &= ring.part[0].acked == ring.part[0].read;
                break;
            }

            good &= ack(&ring, 0, record.seq) == MAILPING_OK;
        }

        good &= ring.undelivered == 0;
    }

    ok(good, "after power loss only a whole ring is appended to");
    ok(opened > 200 && appendable > 10, "%d opened, %d appendable",
       opened, appendable);

    disk_free(&disk);
}


static void
test_header_flips(void)
{
    int                     good, rc;
    size_t                  at;
    disk_t                  disk;
    uint8_t                *image;
    const char             *why;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 2);

    image = malloc(SMALL);

    make(&ring, &disk, &here);

    for (at = 0; at < 100; at++) {
        put(&ring, 0);
    }

    ack(&ring, 0, 30);
    ack(&ring, 0, 50);
    memcpy(image, disk.data, SMALL);

    good = 1;

    for (at = 0; at < HEADER; at++) {
        disk.data[at] ^= (uint8_t) (1 << rnd() % 8);

        rc = mailping_ring_open(&ring, &storage, &here, &why);

        good &= rc == MAILPING_OK
                && (ring.part[0].acked == 50 || ring.part[0].acked == 30)
                && ring.part[0].head == 100
                && ring.undelivered == 100 - ring.part[0].acked
                && drain(&ring, 0, ring.part[0].acked) == ring.undelivered
                && memcmp(ring.params.uuid, here.uuid, 16) == 0
                && ring.state == (at < 512 || (at >= 2048 && at < 2560)
                                  ? MAILPING_RING_DAMAGED
                                  : MAILPING_RING_CLEAN);
        if (!good) {
            printf("# byte %zu, rc %d, state %d\n", at, rc, ring.state);
            break;
        }

        disk.data[at] = image[at];

        /* far behind the slots' ends nothing is read */

        if (at % 4096 > 1024) {
            at += 60;
        }
    }

    ok(good, "one bit flipped in each byte of the header: no record is lost");

    disk.data[0] ^= 1;
    disk.data[2048 + 8] ^= 1;
    ok(mailping_ring_open(&ring, &storage, &here, &why) == MAILPING_DECLINED,
       "both static headers damaged: refused");
    is_str(why, strlen(why), "the file is not a ring", "with the reason");

    free(image);
    disk_free(&disk);
}


static void
test_record_flips(void)
{
    int                     good, state;
    size_t                  at, end;
    disk_t                  disk;
    uint8_t                *image;
    uint64_t                lost, found, seen;
    unsigned                round;
    const char             *why;
    mailping_ring_t         ring;
    mailping_record_t       record;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1);

    image = malloc(SMALL);

    make(&ring, &disk, &here);

    while (put(&ring, 0) == MAILPING_OK) { /* void */ }

    /* the last slot knows of all of them */

    ack(&ring, 0, 1);
    seen = ring.part[0].head;
    end = HEADER + (size_t) ring.position;
    memcpy(image, disk.data, SMALL);

    good = 1;
    lost = 0;

    for (round = 0; round < 3000; round++) {
        at = HEADER + rnd() % (end - HEADER);
        disk.data[at] ^= (uint8_t) (1 << rnd() % 8);

        good &= mailping_ring_open(&ring, &storage, &here, &why)
                == MAILPING_OK;

        found = 0;
        state = ring.state;

        while (mailping_ring_read(&ring, 0, &record) == MAILPING_OK) {
            found++;
        }

        good &= found >= seen - 2
                && (found == seen - 1 || state == MAILPING_RING_DAMAGED);

        /* acknowledging the last one that there is empties the ring */

        good &= ring.undelivered >= found
                && ack(&ring, 0, ring.part[0].read) == MAILPING_OK
                && ring.undelivered == 0;

        lost += seen - 1 - found;

        if (!good) {
            printf("# byte %zu: %" PRIu64 " found\n", at, found);
            break;
        }

        memcpy(disk.data, image, SMALL);
    }

    ok(good, "one bit flipped in a record: at most this one is lost");
    ok(lost > 1500, "%" PRIu64 " of 3000 flips lost a record", lost);

    /* the first one is behind the hint: nobody looks at it */

    for (at = 0; at < 4; at++) {
        disk.data[HEADER + at * BLOCK + rnd() % 24] ^= 1;

        good &= mailping_ring_open(&ring, &storage, &here, &why)
                == MAILPING_OK
                && ring.state == (at != 0 ? MAILPING_RING_DAMAGED
                                          : MAILPING_RING_CLEAN)
                && ring.damage == (at != 0 ? 32 : 0)
                && drain(&ring, 0, 1) == seen - 1;

        memcpy(disk.data, image, SMALL);
    }

    ok(good, "one bit flipped in any block head: no record is lost");

    /* damage that comes while the ring is open */

    reopen(&ring, &disk, &here);
    ok(get(&ring, 0, 2), "a ring is read");
    disk.data[HEADER + BLOCK + 100] ^= 1;

    for (found = 1; mailping_ring_read(&ring, 0, &record) == MAILPING_OK; ) {
        found++;
    }

    is_int(found, seen - 2, "one record was damaged since");
    is_int(ring.state, MAILPING_RING_DAMAGED, "the ring is damaged now");
    ok(ring.damage >= 40 && ring.damage < 700, "and the bytes are counted");
    ack(&ring, 0, seen);
    is_int(ring.undelivered, 0, "it is drained");

    free(image);
    disk_free(&disk);
}


/* Whatever the file holds: no crash, no endless loop, no wild number. */

static void
test_hostile(void)
{
    int                     rc, good;
    size_t                  i, n, at;
    disk_t                  disk;
    uint8_t                *image;
    uint64_t                missing;
    unsigned                round, opened, steps;
    const char             *why;
    mailping_ring_t         ring;
    mailping_record_t       record;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, SMALL, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 3);

    image = malloc(SMALL);

    make(&ring, &disk, &here);

    for (i = 0; ring.position < 7 * BLOCK; i++) {
        put(&ring, (uint32_t) (i % 3));
        ack(&ring, (uint32_t) (i % 3), i / 3);
    }

    memcpy(image, disk.data, SMALL);

    good = 1;
    opened = 0;

    for (round = 0; round < 3000; round++) {
        memcpy(disk.data, image, SMALL);

        n = 1 + rnd() % 40;

        for (i = 0; i < n; i++) {
            at = (rnd() & 1) ? rnd() % SMALL : rnd() % 24000;
            disk.data[at] = (uint8_t) rnd();
        }

        switch (round % 8) {

        case 0:                    /* random bytes */
            for (at = 0; at < SMALL; at += 8) {
                mailping_put64(disk.data + at, rnd());
            }

            break;

        case 1:                    /* random numbers, right checksums */
        case 2:
        case 3:
            memcpy(disk.data, image, SMALL);
            at = rnd() % 2 ? 28 + rnd() % 80 : rnd() % 508;
            mailping_put32(disk.data + at / 4 * 4, (uint32_t) rnd());
            mailping_put32(disk.data + 508,
                           mailping_crc32c(0, disk.data, 508));
            memcpy(disk.data + 2048, disk.data, 512);
            break;

        case 4:                    /* and in a slot */
        case 5:
            memcpy(disk.data, image, SMALL);
            at = 4096 + (rnd() & 1) * 14336;
            i = 8 + rnd() % (128 + 3 * 64 - 16);
            mailping_put64(disk.data + at + i, rnd() >> rnd() % 64);
            mailping_put32(disk.data + at + 4,
                           mailping_crc32c(ring.seed, disk.data + at + 8,
                                           128 + 3 * 64 - 8));
            break;

        case 6:                    /* and in a block head and a record */
            memcpy(disk.data, image, SMALL);
            at = HEADER + rnd() % 4 * BLOCK;
            mailping_put64(disk.data + at + 8 + rnd() % 9,
                           rnd() >> rnd() % 64);
            mailping_put32(disk.data + at + 4,
                           mailping_crc32c(ring.seed, disk.data + at + 8, 24));
            at += 32;
            i = mailping_get32(disk.data + at + 4);
            mailping_put64(disk.data + at + 8 + rnd() % 25,
                           rnd() >> rnd() % 64);
            mailping_put32(disk.data + at,
                           mailping_crc32c(ring.seed, disk.data + at + 4,
                                           36 + i));
            break;
        }

        memset(&ring.part, 0xee, sizeof(ring.part));

        disk.size = SMALL - (round % 11 == 0 ? rnd() % SMALL : 0);
        here.size = (round % 22 == 0) ? disk.size : SMALL;

        rc = mailping_ring_open(&ring, &storage, &here, &why);

        disk.size = SMALL;

        if (rc != MAILPING_OK) {
            good &= (rc == MAILPING_DECLINED || rc == MAILPING_ERROR);
            ring.seed = mailping_crc32c(mailping_crc32c(0, here.salt, 16),
                                        here.uuid, 16);
            continue;
        }

        opened++;

        for (i = 0; i < ring.params.partitions; i++) {
            steps = 0;

            while (mailping_ring_read(&ring, (uint32_t) i, &record)
                   == MAILPING_OK)
            {
                good &= record.payload.len <= MAILPING_RING_PAYLOAD_MAX
                        && record.partition == i && ++steps < 10000;
            }

            good &= ack(&ring, (uint32_t) i, ring.part[i].read)
                    == MAILPING_OK;
            good &= mailping_ring_seek(&ring, (uint32_t) i, 0, &missing)
                    == MAILPING_OK;
            good &= ack(&ring, (uint32_t) i, 0) == MAILPING_OK;
        }

        put(&ring, 0);
        mailping_ring_close(&ring);

        ring.seed = mailping_crc32c(mailping_crc32c(0, here.salt, 16),
                                    here.uuid, 16);

        if (!good) {
            printf("# round %u\n", round);
            break;
        }
    }

    ok(good, "3000 hostile images");
    ok(opened > 1000, "%u of them were opened", opened);

    free(image);
    disk_free(&disk);
}


/* The places of a ring of 1 GiB at high positions, across its end. */

static void
test_large(void)
{
    int                     good;
    disk_t                  disk;
    uint8_t                *p;
    uint32_t                seed;
    uint64_t                blocks, number, i, head;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    disk_init(&disk, (size_t) 1 << 30, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1);

    is_int(mailping_ring_format(&storage, &here), MAILPING_OK, "1 GiB");
    reopen(&ring, &disk, &here);

    /* as if it had run for 2^27 laps: the last block but one is open */

    seed = ring.seed;
    blocks = ring.blocks;
    is_int(blocks, 32767, "its blocks");
    number = blocks * ((uint64_t) 1 << 27) - 2;
    head = (uint64_t) 1 << 51;

    p = disk.data + HEADER + (blocks - 2) * BLOCK;
    memcpy(p, "MPBL", 4);
    mailping_put64(p + 8, number);
    mailping_put64(p + 16, head + 1);
    mailping_put32(p + 4, mailping_crc32c(seed, p + 8, 24));

    for (i = 0; i < 2; i++) {
        p = disk.data + 4096 + i * 14336;
        mailping_put64(p + 32, number * BLOCK + 32);
        mailping_put64(p + 40, head);
        mailping_put64(p + 48, number * BLOCK + 32);
        mailping_put64(p + 56, head);
        mailping_put64(p + 128, 1000);
        mailping_put32(p + 4, mailping_crc32c(seed, p + 8, 128 + 64 - 8));
    }

    reopen(&ring, &disk, &here);
    is_int(ring.state, MAILPING_RING_CLEAN, "opens clean");
    is_int(ring.position, number * BLOCK + 32, "at its position");
    is_int(ring.lsn, head, "with its lsn");

    good = 1;

    for (i = 0; i < 2000; i++) {
        good &= put(&ring, 0) == MAILPING_OK;
    }

    ok(good, "2000 records across the end of the file");
    ok(ring.position / BLOCK > number + 4, "into the first blocks again");
    ok(memcmp(disk.data + HEADER, "MPBL", 4) == 0, "which are opened");

    reopen(&ring, &disk, &here);
    is_int(ring.part[0].head, 3000, "all are found");
    is_int(drain(&ring, 0, 1000), 2000, "and read");
    is_int(ring.state, MAILPING_RING_CLEAN, "without damage");

    disk_free(&disk);
}


static int
model_same(mailping_ring_t *ring, const model_t *m, uint32_t partitions)
{
    uint32_t  i;
    uint64_t  undelivered;

    undelivered = 0;

    for (i = 0; i < partitions; i++) {
        if (ring->part[i].head != m->head[i]
            || ring->part[i].acked != m->acked[i]
            || ring->part[i].read != m->read[i])
        {
            return 0;
        }

        undelivered += m->head[i] - m->acked[i];
    }

    return ring->undelivered == undelivered
           && ring->lsn == m->lsn
           && ring->damage == 0
           && ring->state == MAILPING_RING_CLEAN
           && ring->tail <= ring->position
           && ring->bytes == ring->position - ring->tail
           && (undelivered != 0) == (ring->bytes != 0)
           && (undelivered != 0) == (ring->oldest != 0);
}


/* After a kill one append and one acknowledgement may be there or not. */

static int
model_reopen(mailping_ring_t *ring, disk_t *disk, model_t *m,
    mailping_ring_params_t *here, const char *what)
{
    uint32_t  i;
    uint64_t  extra;

    if (reopen(ring, disk, here) != MAILPING_OK) {
        printf("# %s: not opened\n", what);
        return 0;
    }

    extra = ring->lsn - m->lsn;

    if (extra > 1) {
        printf("# %s: lsn %" PRIu64 ", expected %" PRIu64 "\n",
               what, ring->lsn, m->lsn);
        return 0;
    }

    for (i = 0; i < here->partitions; i++) {

        if (extra == 1 && ring->part[i].head == m->head[i] + 1) {
            m->head[i]++;
            m->lsn++;
            extra = 0;
        }

        m->read[i] = m->acked[i];
    }

    if (!model_same(ring, m, here->partitions)) {
        printf("# %s: other than the model\n", what);
        return 0;
    }

    return 1;
}


static int
model_round(uint64_t seed)
{
    int                     rc, steps, good;
    disk_t                  disk;
    model_t                 m;
    uint32_t                p;
    uint64_t                seq, n, missing, before;
    mailping_ring_t         ring;
    mailping_storage_t      storage;
    mailping_ring_params_t  here;

    static const size_t  blocks[] = { 4, 5, 7 };

    rnd_state = seed;

    disk_init(&disk, HEADER + blocks[rnd() % 3] * BLOCK, 0);
    storage = storage_of(&disk);
    defaults(&here, &disk, 1 + (uint32_t) (rnd() % 3));

    memset(&m, 0, sizeof(model_t));

    mailping_ring_format(&storage, &here);
    good = model_reopen(&ring, &disk, &m, &here, "format");

    for (steps = 0; good && steps < 60; steps++) {

        p = (uint32_t) (rnd() % here.partitions);

        switch (rnd() % 12) {

        case 0:
        case 1:
        case 2:
        case 3:
            for (n = rnd() % 80; n != 0; n--) {
                p = (uint32_t) (rnd() % here.partitions);
                rc = put(&ring, p);

                if (rc == MAILPING_AGAIN) {
                    good &= ring.position - ring.tail
                            > (ring.blocks - 1) * BLOCK - 600;
                    break;
                }

                good &= rc == MAILPING_OK;
                m.head[p]++;
                m.lsn++;
            }

            break;

        case 4:
        case 5:
            for (n = rnd() % 100; n != 0 && m.read[p] < m.head[p]; n--) {
                good &= get(&ring, p, ++m.read[p]);
            }

            break;

        case 6:
        case 7:
            m.acked[p] = m.read[p];
            good &= ack(&ring, p, m.acked[p]) == MAILPING_OK;
            break;

        case 8:                    /* any seq from the acknowledged one on */
            seq = m.acked[p] + rnd() % (m.head[p] - m.acked[p] + 1);
            good &= ack(&ring, p, seq) == MAILPING_OK;
            m.acked[p] = seq;

            if (m.read[p] < seq) {
                m.read[p] = seq;
            }

            break;

        case 9:                    /* a rewind, as far as records are held */
            seq = m.acked[p] - rnd() % (m.acked[p] < 20 ? m.acked[p] + 1 : 20);
            good &= mailping_ring_seek(&ring, p, seq, &missing)
                    == MAILPING_OK;

            if (missing != 0) {
                good &= mailping_ring_seek(&ring, p, m.acked[p], &missing)
                        == MAILPING_OK;
                seq = m.acked[p];
            }

            good &= missing == 0 && ack(&ring, p, seq) == MAILPING_OK;
            m.acked[p] = seq;
            m.read[p] = seq;
            break;

        case 10:                   /* SIGKILL in an append or a slot */
            disk.cut_at = disk.writes + 1;
            disk.cut_keep = rnd() % ((rnd() & 1) ? 300 : 5000);

            if (rnd() & 1) {
                put(&ring, p);

            } else {
                before = m.acked[p];
                seq = m.acked[p] + rnd() % (m.head[p] - m.acked[p] + 1);
                rc = ack(&ring, p, seq);

                if (reopen(&ring, &disk, &here) == MAILPING_OK
                    && ring.part[p].acked == seq)
                {
                    before = seq;
                }

                m.acked[p] = before;
            }

            good &= model_reopen(&ring, &disk, &m, &here, "kill");
            break;

        default:
            good &= mailping_ring_close(&ring) == MAILPING_OK;
            here.boot_id[15]++;
            good &= model_reopen(&ring, &disk, &m, &here, "reboot");
        }

        good = good && model_same(&ring, &m, here.partitions);
    }

    for (p = 0; good && p < here.partitions; p++) {
        good &= drain(&ring, p, m.read[p]) == m.head[p] - m.read[p];
    }

    if (!good) {
        printf("# seed %" PRIu64 ", step %d\n", seed, steps);
    }

    disk_free(&disk);

    return good;
}


static void
test_model(void)
{
    int       good;
    uint64_t  seed;

    good = 1;

    for (seed = 1; good && seed <= 2500; seed++) {
        good = model_round(seed);
    }

    ok(good, "2500 random histories agree with a model");
}


int
main(void)
{
    test_format();
    test_basic();
    test_laps();
    test_full();
    test_writes();
    test_partitions();
    test_acknowledge();
    test_rewind();
    test_cut();
    test_cut_slot();
    test_failed();
    test_states();
    test_power();
    test_header_flips();
    test_record_flips();
    test_hostile();
    test_large();
    test_model();

    return done();
}
