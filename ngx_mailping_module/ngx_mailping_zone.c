
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"

#include "core/crc32c.h"


/*
 * Shared memory without locks, because a worker that is killed while it holds
 * one would leave it behind: counters and the states of rings, which change
 * word by word, and what core keeps there.
 */

#define NGX_MAILPING_ZONE_ROWS      64
#define NGX_MAILPING_ZONE_MIN       (256 * 1024)

/* sixteenths: tokens and networks; opens to amend; fetches to collapse */

#define NGX_MAILPING_ZONE_HISTORY   10
#define NGX_MAILPING_ZONE_RECENTS   4
#define NGX_MAILPING_ZONE_COLLAPSE  2


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
    mailping_history_t       *history;
    mailping_recents_t       *recents;
    mailping_collapse_t      *collapse;
};


static ngx_int_t ngx_mailping_zone_init(ngx_shm_zone_t *shm_zone, void *data);
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
    void                 *history, *recents, *collapse;
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

    zone->since = ngx_mailping_now();

    /* whole pages, as the slab gives them */

    size = ((shpool->end - shpool->start) / ngx_pagesize
            - ngx_align(sizeof(ngx_mailping_zone_t), ngx_pagesize)
              / ngx_pagesize)
           / 16 * ngx_pagesize;

    history = ngx_slab_calloc(shpool, size * NGX_MAILPING_ZONE_HISTORY);
    recents = ngx_slab_calloc(shpool, size * NGX_MAILPING_ZONE_RECENTS);
    collapse = ngx_slab_calloc(shpool, size * NGX_MAILPING_ZONE_COLLAPSE);

    if (history == NULL || recents == NULL || collapse == NULL) {
        return NGX_ERROR;
    }

    zone->history = mailping_history_create(history,
                                            size * NGX_MAILPING_ZONE_HISTORY,
                                            zone->since);
    zone->recents = mailping_recents_create(recents,
                                            size * NGX_MAILPING_ZONE_RECENTS);
    zone->collapse = mailping_collapse_create(collapse,
                                            size * NGX_MAILPING_ZONE_COLLAPSE);

    if (zone->history == NULL || zone->recents == NULL
        || zone->collapse == NULL)
    {
        return NGX_ERROR;
    }

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
    worker->history = worker->zone->history;
    worker->recents = worker->zone->recents;
    worker->collapse = worker->zone->collapse;
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
