
/*
 * Copyright (C) MailPing
 */


/*
 * Tests core/spool.c and core/spool_recovery.c against SIGKILL at any byte,
 * failed writes, power loss, flipped bits and hostile files: what was
 * appended is there, whatever happens to the process, and damage costs no
 * more than the records that it hit.
 */


#include "ring.h"


static void test_cut(void);
static void test_cut_slot(void);
static void test_failed(void);
static void test_power(void);
static void test_header_flips(void);
static void test_record_flips(void);
static void test_hostile(void);


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

    setup(&ring, &disk, &here, 1);

    image = malloc(SMALL);

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

    setup(&ring, &disk, &here, 2);
    storage = storage_of(&disk);

    image = malloc(SMALL);

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

    setup(&ring, &disk, &here, 1);
    storage = storage_of(&disk);

    image = malloc(SMALL);

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

    setup(&ring, &disk, &here, 3);
    storage = storage_of(&disk);

    image = malloc(SMALL);

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


int
main(void)
{
    test_cut();
    test_cut_slot();
    test_failed();
    test_power();
    test_header_flips();
    test_record_flips();
    test_hostile();

    return done();
}
