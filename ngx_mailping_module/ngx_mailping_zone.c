
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"

#include <math.h>

#include "core/crc32c.h"


/*
 * Shared memory without locks, because a worker that is killed while it holds
 * one would leave it behind.  Everything is a table of fixed slots; each slot
 * changes by one compare-and-swap, so that a reader sees it before or after.
 *
 * History: which fetch of its token this is.  Eight slots a bucket; the one
 * that was used longest ago is replaced, and the bucket remembers how recent
 * that was: a token sent after it cannot have been forgotten.
 *
 * Bursts: different tokens from one network in about ten seconds, as four
 * bitmaps of 2.5 seconds each, counted by linear counting (K.-Y. Whang et
 * al., 1990), which is exact enough below a hundred.
 */

#define NGX_MAILPING_ZONE_ROWS      64
#define NGX_MAILPING_ZONE_WAYS      8
#define NGX_MAILPING_ZONE_PERIOD    2500
#define NGX_MAILPING_ZONE_PERIODS   4
#define NGX_MAILPING_ZONE_BITS      128
#define NGX_MAILPING_ZONE_MIN       (256 * 1024)

#define NGX_MAILPING_SEEN_BITS      24
#define NGX_MAILPING_SEEN_MAX       ((1 << NGX_MAILPING_SEEN_BITS) - 1)


typedef struct {
    uint64_t                  word;     /* fingerprint (40 bits) | seen (24) */
    uint64_t                  last;     /* Unix ms */
} ngx_mailping_history_t;


typedef struct {
    ngx_mailping_history_t    way[NGX_MAILPING_ZONE_WAYS];
    uint64_t                  forgotten;   /* latest "last" of a replaced one */
    uint64_t                  reserved;
} ngx_mailping_bucket_t;


typedef struct {
    uint64_t                  word;     /* fingerprint (32) | period (32) */
    uint64_t                  bits[NGX_MAILPING_ZONE_PERIODS]
                                  [NGX_MAILPING_ZONE_BITS / 64];
} ngx_mailping_burst_t;


/* a row is a worker's own; rows do not share cache lines */

typedef struct {
    ngx_atomic_t              counter[NGX_MAILPING_COUNTERS];
    u_char                    padding[64];
} ngx_mailping_row_t;


/* which slot a ring can have, in the order of preference */

typedef enum {
    NGX_MAILPING_ZONE_OWN = 0,
    NGX_MAILPING_ZONE_FREE,
    NGX_MAILPING_ZONE_IDLE
} ngx_mailping_zone_slot_e;


struct ngx_mailping_zone_s {
    uint64_t                  since;    /* Unix ms */
    ngx_mailping_row_t        row[NGX_MAILPING_ZONE_ROWS];
    ngx_mailping_zone_ring_t  ring[NGX_MAILPING_ZONE_RINGS];
    ngx_uint_t                nbuckets;
    ngx_uint_t                nbursts;
    ngx_mailping_bucket_t    *buckets;
    ngx_mailping_burst_t     *bursts;
};


static ngx_int_t ngx_mailping_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static uint64_t ngx_mailping_zone_now(void);
static void ngx_mailping_zone_forget(ngx_mailping_bucket_t *b, uint64_t last);
static ngx_mailping_burst_t *ngx_mailping_zone_network(
    ngx_mailping_zone_t *zone, uint64_t hash, uint32_t period);
static uint32_t ngx_mailping_zone_distinct(ngx_mailping_burst_t *b);
static ngx_uint_t ngx_mailping_zone_claim(ngx_mailping_zone_ring_t *zr,
    ngx_mailping_zone_slot_e kind, const uint8_t uuid[16]);
static ngx_uint_t ngx_mailping_zone_fits(ngx_mailping_zone_ring_t *zr,
    ngx_mailping_zone_slot_e kind, const uint8_t uuid[16]);


char *
ngx_mailping_zone_create(ngx_conf_t *cf, ngx_mailping_main_conf_t *mmcf)
{
    ngx_str_t  name = ngx_string("mailping");

    if (mmcf->zone_size < NGX_MAILPING_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"mailping_zone\" is too small, "
                           "the minimum is %uzk",
                           (size_t) NGX_MAILPING_ZONE_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    mmcf->zone = ngx_shared_memory_add(cf, &name, mmcf->zone_size,
                                       &ngx_mailping_module);
    if (mmcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    mmcf->zone->init = ngx_mailping_zone_init;
    mmcf->zone->data = mmcf;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mailping_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    size_t                size;
    ngx_slab_pool_t      *shpool;
    ngx_mailping_zone_t  *zone;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data || shm_zone->shm.exists) {
        /* a reload with the same size goes on with what is known */
        return NGX_OK;
    }

    zone = ngx_slab_calloc(shpool, sizeof(ngx_mailping_zone_t));
    if (zone == NULL) {
        return NGX_ERROR;
    }

    /* three quarters of the rest for tokens, one eighth for networks */

    size = (shpool->end - shpool->start)
           - ngx_align(sizeof(ngx_mailping_zone_t), ngx_pagesize);

    zone->nbuckets = size / 4 * 3 / sizeof(ngx_mailping_bucket_t);
    zone->nbursts = size / 8 / sizeof(ngx_mailping_burst_t);

    zone->buckets = ngx_slab_calloc(shpool, zone->nbuckets
                                            * sizeof(ngx_mailping_bucket_t));
    zone->bursts = ngx_slab_calloc(shpool, zone->nbursts
                                           * sizeof(ngx_mailping_burst_t));

    if (zone->buckets == NULL || zone->bursts == NULL) {
        return NGX_ERROR;
    }

    zone->since = ngx_mailping_zone_now();

    shpool->data = zone;
    shpool->log_nomem = 0;

    return NGX_OK;
}


void
ngx_mailping_zone_attach(ngx_mailping_worker_t *worker)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) worker->conf->zone->shm.addr;

    worker->zone = shpool->data;
    worker->row = ngx_worker % NGX_MAILPING_ZONE_ROWS;
}


void
ngx_mailping_zone_count(ngx_mailping_worker_t *worker, ngx_uint_t counter,
    ngx_int_t n)
{
    /* atomic: workers of two generations may share a row */

    (void) ngx_atomic_fetch_add(
                        &worker->zone->row[worker->row].counter[counter], n);
}


ngx_atomic_uint_t
ngx_mailping_zone_sum(ngx_mailping_zone_t *zone, ngx_uint_t counter)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  sum;

    sum = 0;

    for (i = 0; i < NGX_MAILPING_ZONE_ROWS; i++) {
        sum += zone->row[i].counter[counter];
    }

    return sum;
}


uint64_t
ngx_mailping_zone_since(ngx_mailping_zone_t *zone)
{
    return zone->since;
}


uint32_t
ngx_mailping_zone_seen(ngx_mailping_zone_t *zone, uint64_t token, uint64_t now,
    uint64_t sent, ngx_uint_t *sure)
{
    uint64_t                 word, found, next, print, last, oldest;
    ngx_uint_t               i, tries, known;
    ngx_mailping_bucket_t   *b;
    ngx_mailping_history_t  *h, *slot;

    print = token >> NGX_MAILPING_SEEN_BITS;
    b = &zone->buckets[token % zone->nbuckets];

    *sure = 1;

    /* each try that fails lost against another worker that went on */

    for (tries = 0; tries < 2 * NGX_MAILPING_ZONE_WAYS; tries++) {

        slot = NULL;
        known = 0;
        found = 0;
        oldest = 0;

        for (i = 0; i < NGX_MAILPING_ZONE_WAYS; i++) {
            h = &b->way[i];
            word = __atomic_load_n(&h->word, __ATOMIC_ACQUIRE);
            last = __atomic_load_n(&h->last, __ATOMIC_RELAXED);

            if (word != 0 && word >> NGX_MAILPING_SEEN_BITS == print) {
                slot = h;
                known = 1;
                found = word;
                break;
            }

            if (word == 0) {
                last = 0;
            }

            if (slot == NULL || last < oldest) {
                slot = h;
                found = word;
                oldest = last;
            }
        }

        if (known) {
            next = found;

            if ((found & NGX_MAILPING_SEEN_MAX) < NGX_MAILPING_SEEN_MAX) {
                next++;
            }

            if (__atomic_compare_exchange_n(&slot->word, &found, next, 0,
                                            __ATOMIC_ACQ_REL,
                                            __ATOMIC_RELAXED))
            {
                __atomic_store_n(&slot->last, now, __ATOMIC_RELAXED);
                return next & NGX_MAILPING_SEEN_MAX;
            }

            continue;
        }

        /*
         * A worker that is killed between these steps makes the bucket less
         * sure than it could be, never surer.
         */

        if (found != 0) {
            ngx_mailping_zone_forget(b, oldest);
        }

        __atomic_store_n(&slot->last, now, __ATOMIC_RELAXED);

        next = print << NGX_MAILPING_SEEN_BITS | 1;

        if (__atomic_compare_exchange_n(&slot->word, &found, next, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        {
            break;
        }
    }

    /*
     * A first fetch is certain when the mail is younger than this memory and
     * than whatever fell out of the bucket.  A time of sending that is still
     * to come says nothing of the mail's age.
     */

    *sure = (sent != 0 && sent <= now && sent >= zone->since
             && sent > __atomic_load_n(&b->forgotten, __ATOMIC_RELAXED));

    return 1;
}


static void
ngx_mailping_zone_forget(ngx_mailping_bucket_t *b, uint64_t last)
{
    uint64_t  forgotten;

    forgotten = __atomic_load_n(&b->forgotten, __ATOMIC_RELAXED);

    while (forgotten < last
           && !__atomic_compare_exchange_n(&b->forgotten, &forgotten, last, 0,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    {
        /* void */
    }
}


uint32_t
ngx_mailping_zone_burst(ngx_mailping_zone_t *zone, const uint8_t network[16],
    uint64_t token, uint64_t now)
{
    uint32_t               period;
    ngx_uint_t             bit;
    ngx_mailping_burst_t  *b;

    period = (uint32_t) (now / NGX_MAILPING_ZONE_PERIOD);

    b = ngx_mailping_zone_network(zone, ngx_mailping_zone_hash(network, 16),
                                  period);

    bit = token % NGX_MAILPING_ZONE_BITS;

    (void) __atomic_fetch_or(
                   &b->bits[period % NGX_MAILPING_ZONE_PERIODS][bit / 64],
                   (uint64_t) 1 << (bit % 64), __ATOMIC_RELAXED);

    return ngx_mailping_zone_distinct(b);
}


static ngx_mailping_burst_t *
ngx_mailping_zone_network(ngx_mailping_zone_t *zone, uint64_t hash,
    uint32_t period)
{
    int32_t                passed;
    uint32_t               print, age, oldest;
    uint64_t               word, next;
    ngx_int_t              i;
    ngx_uint_t             tries;
    ngx_mailping_burst_t  *b, *found;

    print = (uint32_t) (hash >> 32) | 1;
    next = (uint64_t) print << 32 | period;
    found = NULL;

    for (tries = 0; tries < 2 * NGX_MAILPING_ZONE_WAYS; tries++) {

        oldest = 0;

        for (i = 0; i < NGX_MAILPING_ZONE_WAYS; i++) {
            b = &zone->bursts[(hash + i) % zone->nbursts];
            word = __atomic_load_n(&b->word, __ATOMIC_ACQUIRE);

            if (word >> 32 == print) {
                found = b;
                break;
            }

            age = period - (uint32_t) word;

            if (found == NULL || age > oldest) {
                found = b;
                oldest = age;
            }
        }

        word = __atomic_load_n(&found->word, __ATOMIC_ACQUIRE);

        if (word == next) {
            return found;
        }

        passed = NGX_MAILPING_ZONE_PERIODS;

        if (word >> 32 == print) {
            passed = (int32_t) (period - (uint32_t) word);

            if (passed < 0 && passed > -NGX_MAILPING_ZONE_PERIODS) {
                /* another worker's clock is a little ahead */
                return found;
            }

            if (passed < 0 || passed > NGX_MAILPING_ZONE_PERIODS) {
                /* long ago, or the clock was set back */
                passed = NGX_MAILPING_ZONE_PERIODS;
            }
        }

        if (!__atomic_compare_exchange_n(&found->word, &word, next, 0,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        {
            continue;
        }

        /* the winner clears the periods that have passed meanwhile */

        for (i = 0; i < passed; i++) {
            ngx_memzero(found->bits[(period - i) % NGX_MAILPING_ZONE_PERIODS],
                        sizeof(found->bits[0]));
        }

        break;
    }

    return found;
}


static uint32_t
ngx_mailping_zone_distinct(ngx_mailping_burst_t *b)
{
    double      m;
    uint64_t    set;
    ngx_uint_t  i, j, zero;

    zero = NGX_MAILPING_ZONE_BITS;

    for (i = 0; i < NGX_MAILPING_ZONE_BITS / 64; i++) {
        set = 0;

        for (j = 0; j < NGX_MAILPING_ZONE_PERIODS; j++) {
            set |= b->bits[j][i];
        }

        zero -= __builtin_popcountll(set);
    }

    if (zero == 0) {
        zero = 1;
    }

    m = NGX_MAILPING_ZONE_BITS;

    return (uint32_t) (-m * log(zero / m) + 0.5);
}


/*
 * The ring's own slot, else a free one, else one of a ring that nobody holds
 * and that has nothing to deliver: over the months more rings come and go
 * than there are slots.  What the former ring recorded goes on counting, in
 * the distance of "base" to "lsn".
 */

ngx_mailping_zone_ring_t *
ngx_mailping_zone_ring(ngx_mailping_zone_t *zone, const mailping_ring_t *ring)
{
    ngx_uint_t                 i;
    ngx_atomic_uint_t          recorded;
    ngx_mailping_zone_ring_t  *zr;
    ngx_mailping_zone_slot_e   kind;

    for (kind = NGX_MAILPING_ZONE_OWN; kind <= NGX_MAILPING_ZONE_IDLE; kind++) {

        for (i = 0; i < NGX_MAILPING_ZONE_RINGS; i++) {
            zr = &zone->ring[i];

            if (ngx_mailping_zone_claim(zr, kind, ring->params.uuid) == 0) {
                continue;
            }

            if (kind != NGX_MAILPING_ZONE_OWN) {
                recorded = zr->lsn - zr->base;

                ngx_memcpy(zr->uuid, ring->params.uuid, 16);
                zr->lsn = ring->lsn;
                zr->base = ring->lsn - recorded;
            }

            zr->pid = ngx_pid;

            ngx_memory_barrier();

            zr->used = 2;

            return zr;
        }
    }

    return NULL;
}


void
ngx_mailping_zone_remove(ngx_mailping_zone_t *zone,
    const mailping_ring_t *ring)
{
    ngx_uint_t                 i;
    ngx_mailping_zone_ring_t  *zr;

    for (i = 0; i < NGX_MAILPING_ZONE_RINGS; i++) {
        zr = &zone->ring[i];

        if (ngx_mailping_zone_claim(zr, NGX_MAILPING_ZONE_OWN,
                                    ring->params.uuid))
        {
            ngx_memzero(zr->uuid, 16);
            zr->undelivered = 0;
            zr->size = 0;
            zr->pid = 0;

            ngx_memory_barrier();

            zr->used = 2;

            return;
        }
    }
}


static ngx_uint_t
ngx_mailping_zone_claim(ngx_mailping_zone_ring_t *zr,
    ngx_mailping_zone_slot_e kind, const uint8_t uuid[16])
{
    ngx_atomic_uint_t  used;

    used = (kind == NGX_MAILPING_ZONE_FREE) ? 0 : 2;

    if (zr->used != used
        || !ngx_mailping_zone_fits(zr, kind, uuid)
        || !ngx_atomic_cmp_set(&zr->used, used, 1))
    {
        return 0;
    }

    /* another worker may have had it since the first look */

    if (!ngx_mailping_zone_fits(zr, kind, uuid)) {
        zr->used = used;
        return 0;
    }

    return 1;
}


static ngx_uint_t
ngx_mailping_zone_fits(ngx_mailping_zone_ring_t *zr,
    ngx_mailping_zone_slot_e kind, const uint8_t uuid[16])
{
    switch (kind) {

    case NGX_MAILPING_ZONE_OWN:
        return ngx_memcmp(zr->uuid, uuid, 16) == 0;

    case NGX_MAILPING_ZONE_IDLE:
        return zr->pid == 0 && zr->undelivered == 0;

    default: /* NGX_MAILPING_ZONE_FREE */
        return 1;
    }
}


void
ngx_mailping_zone_publish(ngx_mailping_zone_ring_t *zr,
    const mailping_ring_t *ring, ngx_pid_t owner)
{
    zr->lsn = ring->lsn;
    zr->undelivered = mailping_ring_undelivered(ring);
    zr->oldest = ring->oldest;
    zr->size = ring->params.size;
    zr->state = ring->state;
    zr->pid = owner;
}


ngx_mailping_zone_ring_t *
ngx_mailping_zone_rings(ngx_mailping_zone_t *zone)
{
    return zone->ring;
}


uint64_t
ngx_mailping_zone_hash(const u_char *data, size_t len)
{
    /*
     * Two unlike 32-bit hashes.  Who chooses ids that collide, which is easy
     * in unsigned mode, harms opens that he could as well forge.
     */

    return (uint64_t) ngx_murmur_hash2((u_char *) data, len) << 32
           | mailping_crc32c(0, data, len);
}


static uint64_t
ngx_mailping_zone_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}
