
/*
 * Copyright (C) MailPing
 */


/*
 * Tests core/spool.c and core/spool_recovery.c against a model: random
 * histories of appends, acknowledgements, rewinds, kills and reboots.
 */


#include "ring.h"


typedef struct {
    uint64_t      head[PARTS_MAX];
    uint64_t      acked[PARTS_MAX];
    uint64_t      read[PARTS_MAX];
    uint64_t      lsn;
} model_t;


static int model_same(mailping_ring_t *ring, const model_t *m,
    uint32_t partitions);
static int model_reopen(mailping_ring_t *ring, disk_t *disk, model_t *m,
    mailping_ring_params_t *here, const char *what);
static int model_round(uint64_t seed);
static void test_model(void);


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
    test_model();

    return done();
}
