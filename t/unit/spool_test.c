
/*
 * Copyright (C) MailPing
 */


/*
 * Tests core/spool.c: what is appended is read, once and in order, over laps
 * and partitions; a full ring stays full, and a ring that may have lost
 * something is not appended to.
 */


#include "ring.h"


static void test_format(void);
static void test_basic(void);
static void test_laps(void);
static void test_full(void);
static void test_writes(void);
static void test_partitions(void);
static void test_acknowledge(void);
static void test_rewind(void);
static void test_states(void);
static void test_large(void);


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

    setup(&ring, &disk, &here, 1);
    storage = storage_of(&disk);

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

    setup(&ring, &disk, &here, 1);

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

    setup(&ring, &disk, &here, 1);

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

    setup(&ring, &disk, &here, PARTS_MAX);

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

    setup(&ring, &disk, &here, 2);

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

    setup(&ring, &disk, &here, 2);

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

    setup(&ring, &disk, &here, 1);
    storage = storage_of(&disk);
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
    test_states();
    test_large();

    return done();
}
