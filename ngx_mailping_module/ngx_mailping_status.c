
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


#define NGX_MAILPING_STATUS_SIZE  (16 * 1024)
#define NGX_MAILPING_STATUS_RING  512


typedef struct {
    u_char                    *pos;
    u_char                    *last;
    ngx_mailping_zone_t       *zone;
    uint64_t                   now;         /* Unix ms */
    ngx_str_t                  connection;  /* JSON, empty: no Redis */
    ngx_str_t                  databases;   /* JSON, empty: none */
} ngx_mailping_status_t;


static ngx_int_t ngx_mailping_status_parts(ngx_http_request_t *r,
    ngx_mailping_status_t *st);
static ngx_int_t ngx_mailping_status_body(ngx_mailping_status_t *st);
static void ngx_mailping_status_counters(ngx_mailping_status_t *st);
static void ngx_mailping_status_list(ngx_mailping_status_t *st,
    const char *name, ngx_uint_t counter, ngx_uint_t from, ngx_uint_t n,
    const char *(*text)(unsigned));
static const char *ngx_mailping_status_refused(unsigned n);
static void ngx_mailping_status_spool(ngx_mailping_status_t *st);
static uint64_t ngx_mailping_status_age(ngx_mailping_status_t *st,
    uint64_t time);


/* single counters, in the order of the answer */

static struct {
    const char      *name;
    ngx_uint_t       counter;
} ngx_mailping_status_single[] = {
    { "pixels", NGX_MAILPING_PIXELS },
    { "ignored", NGX_MAILPING_IGNORED },
    { "subrequests", NGX_MAILPING_SUBREQUESTS },
    { "private", NGX_MAILPING_PRIVATE },
    { "bad_id", NGX_MAILPING_BAD_ID },
    { "collapsed", NGX_MAILPING_COLLAPSED },
    { "amended", NGX_MAILPING_AMENDED },
    { "amends_lost", NGX_MAILPING_AMENDS_LOST },
    { "minted", NGX_MAILPING_MINTED },
    { "mint_errors", NGX_MAILPING_MINT_ERRORS },
    { NULL, 0 }
};


static struct {
    const char      *name;
    ngx_uint_t       counter;
} ngx_mailping_status_delivery[] = {
    { "connects", NGX_MAILPING_CONNECTS },
    { "disconnects", NGX_MAILPING_DISCONNECTS },
    { "batches", NGX_MAILPING_BATCHES },
    { "delivered", NGX_MAILPING_DELIVERED },
    { "advanced", NGX_MAILPING_ADVANCED },
    { "rewound", NGX_MAILPING_REWOUND },
    { "missing", NGX_MAILPING_MISSING },
    { "restored", NGX_MAILPING_RESTORED },
    { "stopped", NGX_MAILPING_STOPPED },
    { NULL, 0 }
};


static const char  *ngx_mailping_ring_states[] = {
    "clean", "rebooted", "moved", "damaged", "failed"
};


ngx_int_t
ngx_mailping_status_handler(ngx_http_request_t *r)
{
    ngx_buf_t                *b;
    ngx_chain_t               out;
    ngx_mailping_status_t     st;
    ngx_mailping_loc_conf_t  *mlcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    mlcf = ngx_http_get_module_loc_conf(r, ngx_mailping_module);

    if (!mlcf->any && ngx_mailping_local(r) != NGX_OK) {
        return NGX_HTTP_FORBIDDEN;
    }

    /* without a "mailping" location there is nothing to count */

    if (ngx_mailping_worker == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (ngx_mailping_status_parts(r, &st) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, NGX_MAILPING_STATUS_SIZE
                            + NGX_MAILPING_ZONE_RINGS
                              * NGX_MAILPING_STATUS_RING
                            + st.connection.len + st.databases.len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    st.pos = b->pos;
    st.last = b->end;
    st.zone = ngx_mailping_worker->zone;
    st.now = ngx_mailping_now();

    if (ngx_mailping_status_body(&st) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = st.pos;

    out.buf = b;
    out.next = NULL;

    return ngx_mailping_send_json(r, NGX_HTTP_OK, &out);
}


/* what others write, and is as long as names in the configuration are */

static ngx_int_t
ngx_mailping_status_parts(ngx_http_request_t *r, ngx_mailping_status_t *st)
{
    ngx_mailping_worker_t  *worker;

    worker = ngx_mailping_worker;

    ngx_str_null(&st->connection);
    ngx_str_null(&st->databases);

    if (worker->delivery
        && ngx_mailping_delivery_status(worker->delivery, r->pool,
                                        &st->connection)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (worker->conf->geo
        && ngx_mailping_geo_status(worker->conf->geo, r->pool, &st->databases)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_status_body(ngx_mailping_status_t *st)
{
    uint64_t                   since;
    ngx_mailping_main_conf_t  *mmcf;

    mmcf = ngx_mailping_worker->conf;
    since = ngx_mailping_zone_since(st->zone);

    st->pos = ngx_slprintf(st->pos, st->last,
                           "{\"version\":\"" NGX_MAILPING_VERSION "\","
                           "\"nginx\":\"" NGINX_VERSION "\","
                           "\"since\":%uL,\"time\":%uL,"
                           "\"rules\":{\"id\":\"%08xD\",\"count\":%ui},",
                           since, st->now, mailping_rules_id(mmcf->rules),
                           (ngx_uint_t) mailping_rules_count(mmcf->rules));

    ngx_mailping_status_counters(st);
    ngx_mailping_status_spool(st);

    if (st->connection.len) {
        st->pos = ngx_slprintf(st->pos, st->last, ",\"connection\":%V",
                               &st->connection);
    }

    if (st->databases.len) {
        st->pos = ngx_slprintf(st->pos, st->last, ",\"databases\":%V",
                               &st->databases);
    }

    st->pos = ngx_slprintf(st->pos, st->last, "}\n");

    /* a full buffer would be half a JSON text */

    return (st->pos < st->last) ? NGX_OK : NGX_ERROR;
}


static void
ngx_mailping_status_counters(ngx_mailping_status_t *st)
{
    ngx_uint_t  i;

    for (i = 0; ngx_mailping_status_single[i].name; i++) {
        st->pos = ngx_slprintf(st->pos, st->last, "\"%s\":%uA,",
                               ngx_mailping_status_single[i].name,
                               ngx_mailping_zone_sum(st->zone,
                                   ngx_mailping_status_single[i].counter));
    }

    ngx_mailping_status_list(st, "refused", NGX_MAILPING_REFUSED,
                             MAILPING_TOKEN_VALID + 1, MAILPING_TOKEN_RESULTS,
                             ngx_mailping_status_refused);

    ngx_mailping_status_list(st, "open", NGX_MAILPING_OPEN, 0, MAILPING_OPENS,
                             mailping_open_name);

    ngx_mailping_status_list(st, "verdict", NGX_MAILPING_VERDICT, 0,
                             MAILPING_VERDICTS, mailping_verdict_name);

    st->pos = ngx_slprintf(st->pos, st->last,
                           "\"lost\":{\"full\":%uA,\"failed\":%uA},"
                           "\"delivery\":{",
                           ngx_mailping_zone_sum(st->zone,
                                                 NGX_MAILPING_LOST_FULL),
                           ngx_mailping_zone_sum(st->zone,
                                                 NGX_MAILPING_LOST_FAILED));

    for (i = 0; ngx_mailping_status_delivery[i].name; i++) {
        st->pos = ngx_slprintf(st->pos, st->last, "\"%s\":%uA,",
                               ngx_mailping_status_delivery[i].name,
                               ngx_mailping_zone_sum(st->zone,
                                   ngx_mailping_status_delivery[i].counter));
    }

    ngx_mailping_status_list(st, "errors", NGX_MAILPING_ERRORS,
                             MAILPING_REDIS_OK + 1, MAILPING_REDIS_ERRORS,
                             mailping_redis_error_name);

    /* the list ends with a comma, which closes nothing here */

    st->pos[-1] = '}';

    st->pos = ngx_slprintf(st->pos, st->last, ",");
}


/* {"name":{"text":n,...}, */

static void
ngx_mailping_status_list(ngx_mailping_status_t *st, const char *name,
    ngx_uint_t counter, ngx_uint_t from, ngx_uint_t n,
    const char *(*text)(unsigned))
{
    ngx_uint_t  i;

    st->pos = ngx_slprintf(st->pos, st->last, "\"%s\":{", name);

    for (i = from; i < n; i++) {
        st->pos = ngx_slprintf(st->pos, st->last, "%s\"%s\":%uA",
                               i == from ? "" : ",", text(i),
                               ngx_mailping_zone_sum(st->zone, counter + i));
    }

    st->pos = ngx_slprintf(st->pos, st->last, "},");
}


static const char *
ngx_mailping_status_refused(unsigned n)
{
    return mailping_token_result_name(n);
}


/*
 * Recorded entries are counted by the rings' own numbers: a worker that is
 * killed between writing a record and counting it makes no difference.
 */

static void
ngx_mailping_status_spool(ngx_mailping_status_t *st)
{
    uint64_t                   recorded, undelivered;
    ngx_uint_t                 i, n;
    ngx_mailping_zone_ring_t  *ring, *zr;

    ring = ngx_mailping_zone_rings(st->zone);

    recorded = 0;
    undelivered = 0;

    for (i = 0; i < NGX_MAILPING_ZONE_RINGS; i++) {
        if (ring[i].used == 2) {
            recorded += ring[i].lsn - ring[i].base;
            undelivered += ring[i].undelivered;
        }
    }

    st->pos = ngx_slprintf(st->pos, st->last,
                           "\"recorded\":%uL,"
                           "\"spool\":{\"undelivered\":%uL,\"rings\":[",
                           recorded, undelivered);

    n = 0;

    for (i = 0; i < NGX_MAILPING_ZONE_RINGS; i++) {
        zr = &ring[i];

        if (zr->used != 2 || zr->size == 0) {
            continue;
        }

        st->pos = ngx_slprintf(st->pos, st->last, "%s{\"uuid\":\"",
                               n++ ? "," : "");

        if (st->last - st->pos < 64) {
            break;
        }

        st->pos = ngx_hex_dump(st->pos, zr->uuid, 16);

        st->pos = ngx_slprintf(st->pos, st->last,
                               "\",\"size\":%uA,\"undelivered\":%uA,"
                               "\"oldest\":%uL,\"state\":\"%s\","
                               "\"owner\":%uA}",
                               zr->size, zr->undelivered,
                               ngx_mailping_status_age(st, zr->oldest),
                               ngx_mailping_ring_states[ngx_min(zr->state,
                                                      MAILPING_RING_FAILED)],
                               zr->pid);
    }

    st->pos = ngx_slprintf(st->pos, st->last, "]}");
}


/* 0 is no time, and the clock of another worker may be a little ahead */

static uint64_t
ngx_mailping_status_age(ngx_mailping_status_t *st, uint64_t time)
{
    return (time == 0 || time > st->now) ? 0 : st->now - time;
}
