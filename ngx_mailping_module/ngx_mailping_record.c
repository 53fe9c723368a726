
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


/*
 * What becomes a record of the spool: an open; several fetches of one token
 * that were collapsed; a correction.
 */

#define NGX_MAILPING_RECORD_TICK  1000


static ngx_int_t ngx_mailping_record(ngx_uint_t type, uint64_t time,
    mailping_str_t payload, mailping_str_t id, ngx_uint_t opens,
    mailping_record_t *record, mailping_ring_t **ring);
static ngx_int_t ngx_mailping_record_collapse(ngx_mailping_ctx_t *ctx,
    mailping_str_t payload);
static void ngx_mailping_record_tick(ngx_event_t *ev);
static void ngx_mailping_record_collapsed(ngx_mailping_worker_t *worker,
    ngx_msec_t age);


void
ngx_mailping_record_init(ngx_mailping_worker_t *worker)
{
    worker->dummy.fd = (ngx_socket_t) -1;

    worker->collapsed.handler = ngx_mailping_record_tick;
    worker->collapsed.data = &worker->dummy;
    worker->collapsed.log = worker->log;
    worker->collapsed.cancelable = 1;

    ngx_add_timer(&worker->collapsed, NGX_MAILPING_RECORD_TICK);
}


void
ngx_mailping_record_exit(ngx_mailping_worker_t *worker)
{
    if (worker->collapsed.timer_set) {
        ngx_del_timer(&worker->collapsed);
    }

    /*
     * All of it, whoever counted it: this may be the last worker, and another
     * one only begins a new entry.
     */

    ngx_mailping_record_collapsed(worker, 0);
}


void
ngx_mailping_record_open(ngx_mailping_ctx_t *ctx)
{
    size_t              len;
    mailping_str_t      payload;
    mailping_ring_t    *ring;
    mailping_event_t   *e;
    mailping_record_t   record;

    static uint8_t  buf[MAILPING_EVENT_PAYLOAD_MAX];

    e = &ctx->event;

    ngx_mailping_count(NGX_MAILPING_OPEN + e->open, 1);
    ngx_mailping_count(NGX_MAILPING_VERDICT + e->verdict, 1);

    payload = mailping_str(buf, mailping_event_encode(e, buf));

    if (ctx->past.hour > MAILPING_COLLAPSE_BEYOND
        && ngx_mailping_record_collapse(ctx, payload) == NGX_OK)
    {
        return;
    }

    if (ngx_mailping_record(MAILPING_RECORD_EVENT, e->time, payload, e->id,
                            1, &record, &ring)
        != NGX_OK)
    {
        return;
    }

    len = mailping_ring_producer(ring, record.partition,
                                 (char *) ctx->name_data);

    ctx->name.data = ctx->name_data;
    ctx->name.len = ngx_snprintf(ctx->name_data + len,
                                 sizeof(ctx->name_data) - len, "/%uL",
                                 record.seq)
                    - ctx->name_data;
}


/*
 * People and machines are not mixed in one entry: a person who looks while a
 * machine repeats itself is told of.
 */

static ngx_int_t
ngx_mailping_record_collapse(ngx_mailping_ctx_t *ctx, mailping_str_t payload)
{
    uint64_t  key;

    key = ctx->fetch.token + ctx->event.open;

    if (mailping_collapse_add(ngx_mailping_worker->collapse, key,
                              ctx->fetch.time, payload)
        != MAILPING_OK)
    {
        return NGX_DECLINED;
    }

    ngx_mailping_count(NGX_MAILPING_COLLAPSED, 1);

    return NGX_OK;
}


static void
ngx_mailping_record_tick(ngx_event_t *ev)
{
    ngx_mailping_record_collapsed(ngx_mailping_worker,
                                  MAILPING_COLLAPSE_PERIOD);

    ngx_add_timer(ev, NGX_MAILPING_RECORD_TICK);
}


static void
ngx_mailping_record_collapsed(ngx_mailping_worker_t *worker, ngx_msec_t age)
{
    size_t              slot, len;
    uint64_t            count, now;
    mailping_str_t      payload;
    mailping_ring_t    *ring;
    mailping_event_t    e;
    mailping_record_t   record;

    static uint8_t  first[MAILPING_COLLAPSE_PAYLOAD];
    static uint8_t  buf[MAILPING_EVENT_PAYLOAD_MAX];

    now = ngx_mailping_now();
    slot = 0;

    while (mailping_collapse_take(worker->collapse, &slot, now, age, first,
                                  &len, &count)
           == MAILPING_OK)
    {
        if (mailping_event_decode(&e, MAILPING_EVENT_VERSION,
                                  mailping_str(first, len))
            != MAILPING_OK)
        {
            ngx_log_error(NGX_LOG_ALERT, worker->log, 0,
                          "mailping lost %uL collapsed fetches, their entry "
                          "is damaged", count);
            ngx_mailping_count(NGX_MAILPING_LOST_FAILED, count);
            continue;
        }

        e.count = (uint32_t) ngx_min(count, UINT32_MAX);

        payload = mailping_str(buf, mailping_event_encode(&e, buf));

        (void) ngx_mailping_record(MAILPING_RECORD_EVENT, e.time, payload,
                                   e.id, count, &record, &ring);
    }
}


ngx_int_t
ngx_mailping_record_amend(const mailping_amend_t *amend)
{
    mailping_str_t      payload;
    mailping_ring_t    *ring;
    mailping_record_t   record;

    static uint8_t  buf[MAILPING_EVENT_PAYLOAD_MAX];

    payload = mailping_str(buf, mailping_amend_encode(amend, buf));

    return ngx_mailping_record(MAILPING_RECORD_AMEND, amend->time, payload,
                               amend->id, 0, &record, &ring);
}


/* What the spool cannot take, it counts. */

static ngx_int_t
ngx_mailping_record(ngx_uint_t type, uint64_t time, mailping_str_t payload,
    mailping_str_t id, ngx_uint_t opens, mailping_record_t *record,
    mailping_ring_t **ring)
{
    ngx_int_t               rc;
    ngx_mailping_worker_t  *worker;

    worker = ngx_mailping_worker;

    ngx_memzero(record, sizeof(mailping_record_t));

    record->type = type;
    record->version = MAILPING_EVENT_VERSION;
    record->time = time;
    record->payload = payload;
    record->partition = mailping_event_partition(id,
                                                 worker->conf->partitions);

    rc = ngx_mailping_spool_append(worker->spool, record, opens, ring);

    if (rc == NGX_OK && worker->delivery) {
        ngx_mailping_delivery_notify(worker->delivery);
    }

    return rc;
}
