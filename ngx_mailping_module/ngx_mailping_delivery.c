
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mailping_delivery.h"


/*
 * One producer and one connection per worker.  The producer decides what is
 * said to Redis and when; this file gives it a socket, a clock and rings, and
 * ngx_mailping_report.c a voice.
 *
 *     IDLE --open--> CONNECTING --connected--> HANDSHAKE --> READY
 *       ^                |                         |           |
 *       |                +-------- WAITING <-------+-----------+
 *       |                            | back-off                |
 *       +---- nginx closes idle connections at its exit -------+
 *
 * IDLE is left when there are records, all other states by themselves.
 */


#define NGX_MAILPING_DELIVERY_BACKOFF_MIN  100
#define NGX_MAILPING_DELIVERY_BACKOFF_MAX  5000

/* a connection that lived for so long is remade at once when it breaks */

#define NGX_MAILPING_DELIVERY_STABLE       1000

/* an exiting worker waits no longer for one reply */

#define NGX_MAILPING_DELIVERY_EXIT         2000

#define NGX_MAILPING_DELIVERY_PING         15000


typedef struct {
    ngx_queue_t                       queue;
    mailping_ring_t                  *ring;
    ngx_uint_t                        n;
    mailping_source_t                 sources[];
} ngx_mailping_delivered_t;


static void ngx_mailping_delivery_event(ngx_mailping_delivery_t *d,
    ngx_event_t *ev, ngx_event_handler_pt handler);

static void ngx_mailping_delivery_open(ngx_event_t *ev);
static void ngx_mailping_delivery_connected(void *data);
static void ngx_mailping_delivery_received(void *data, u_char *p, size_t n);
static void ngx_mailping_delivery_writable(void *data);
static void ngx_mailping_delivery_closed(void *data, ngx_err_t err,
    const char *text);
static void ngx_mailping_delivery_retry(ngx_mailping_delivery_t *d,
    ngx_uint_t slow);

static void ngx_mailping_delivery_work(ngx_event_t *ev);
static void ngx_mailping_delivery_run(ngx_mailping_delivery_t *d);
static void ngx_mailping_delivery_expect(ngx_mailping_delivery_t *d);
static void ngx_mailping_delivery_overdue(ngx_event_t *ev);
static void ngx_mailping_delivery_ping(ngx_event_t *ev);

static void ngx_mailping_delivery_failed(ngx_mailping_delivery_t *d);
static void ngx_mailping_delivery_password(ngx_mailping_delivery_t *d);


ngx_mailping_delivery_t *
ngx_mailping_delivery_start(ngx_cycle_t *cycle, ngx_mailping_worker_t *worker)
{
    ngx_mailping_delivery_t    *d;
    ngx_mailping_connection_t  *mc;

    d = ngx_pcalloc(cycle->pool, sizeof(ngx_mailping_delivery_t));
    if (d == NULL) {
        return NULL;
    }

    d->worker = worker;
    d->conf = worker->conf->redis;
    d->log = worker->log;
    d->producer_conf = d->conf->producer;
    d->dummy.fd = (ngx_socket_t) -1;
    d->dummy.data = d;

    ngx_queue_init(&d->rings);

    d->producer = mailping_producer_create(&d->producer_conf,
                                           ngx_mailping_delivery_report, d);
    if (d->producer == NULL) {
        ngx_log_error(NGX_LOG_EMERG, d->log, 0,
                      "mailping has no memory to deliver with");
        return NULL;
    }

    mc = &d->connection;

    mc->conf = worker->conf;
    mc->data = d;
    mc->connected = ngx_mailping_delivery_connected;
    mc->received = ngx_mailping_delivery_received;
    mc->writable = ngx_mailping_delivery_writable;
    mc->closed = ngx_mailping_delivery_closed;

    ngx_mailping_connection_init(mc, d->log);

    ngx_mailping_delivery_event(d, &d->work, ngx_mailping_delivery_work);
    ngx_mailping_delivery_event(d, &d->reconnect, ngx_mailping_delivery_open);
    ngx_mailping_delivery_event(d, &d->reply, ngx_mailping_delivery_overdue);
    ngx_mailping_delivery_event(d, &d->ping, ngx_mailping_delivery_ping);

    ngx_mailping_delivery_state(d, NGX_MAILPING_DELIVERY_WAITING);
    ngx_add_timer(&d->reconnect, 1);

    return d;
}


static void
ngx_mailping_delivery_event(ngx_mailping_delivery_t *d, ngx_event_t *ev,
    ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = &d->dummy;
    ev->log = &d->connection.log;
    ev->cancelable = 1;
}


void
ngx_mailping_delivery_stop(ngx_mailping_delivery_t *d)
{
    ngx_queue_t               *q;
    ngx_mailping_delivered_t  *dr;

    /* nothing comes to this delivery any more */

    d->worker->delivery = NULL;

    ngx_mailping_connection_close(&d->connection);
    mailping_producer_lost(d->producer);

    if (d->work.posted) {
        ngx_delete_posted_event(&d->work);
    }

    if (d->work.timer_set) {
        ngx_del_timer(&d->work);
    }

    if (d->reconnect.timer_set) {
        ngx_del_timer(&d->reconnect);
    }

    if (d->reply.timer_set) {
        ngx_del_timer(&d->reply);
    }

    if (d->ping.timer_set) {
        ngx_del_timer(&d->ping);
    }

    mailping_producer_destroy(d->producer);

    while (!ngx_queue_empty(&d->rings)) {
        q = ngx_queue_head(&d->rings);
        dr = ngx_queue_data(q, ngx_mailping_delivered_t, queue);

        ngx_queue_remove(q);
        ngx_free(dr);
    }
}


ngx_int_t
ngx_mailping_delivery_attach(ngx_mailping_delivery_t *d, mailping_ring_t *ring)
{
    ngx_uint_t                 i, n;
    ngx_mailping_delivered_t  *dr;

    n = ring->params.partitions;

    dr = ngx_calloc(sizeof(ngx_mailping_delivered_t)
                    + n * sizeof(mailping_source_t), d->log);
    if (dr == NULL) {
        return NGX_ERROR;
    }

    dr->ring = ring;
    dr->n = n;

    for (i = 0; i < n; i++) {
        mailping_producer_attach(d->producer, &dr->sources[i], ring, i);
    }

    ngx_queue_insert_tail(&d->rings, &dr->queue);

    ngx_mailping_delivery_notify(d);

    return NGX_OK;
}


ngx_int_t
ngx_mailping_delivery_detach(ngx_mailping_delivery_t *d, mailping_ring_t *ring)
{
    ngx_uint_t                 i;
    ngx_queue_t               *q;
    ngx_mailping_delivered_t  *dr;

    for (q = ngx_queue_head(&d->rings);
         q != ngx_queue_sentinel(&d->rings);
         q = ngx_queue_next(q))
    {
        dr = ngx_queue_data(q, ngx_mailping_delivered_t, queue);

        if (dr->ring != ring) {
            continue;
        }

        /* what is detached already stays so, the rest follows later */

        for (i = dr->n; i > 0; i--) {

            if (mailping_producer_detach(d->producer, &dr->sources[i - 1])
                == MAILPING_AGAIN)
            {
                return NGX_AGAIN;
            }

            dr->n--;
        }

        ngx_queue_remove(q);
        ngx_free(dr);

        return NGX_OK;
    }

    return NGX_OK;
}


void
ngx_mailping_delivery_notify(ngx_mailping_delivery_t *d)
{
    /* one look at the rings for all records of this turn */

    if (!d->work.posted) {
        ngx_post_event(&d->work, &ngx_posted_events);
    }
}


static void
ngx_mailping_delivery_open(ngx_event_t *ev)
{
    ngx_connection_t         *dummy;
    ngx_mailping_server_t    *server;
    ngx_mailping_delivery_t  *d;

    dummy = ev->data;
    d = dummy->data;

    server = d->conf->servers.elts;
    server += d->server % d->conf->servers.nelts;

    if (d->auth) {
        ngx_mailping_delivery_password(d);
    }

    d->attempts++;

    ngx_mailping_delivery_state(d, NGX_MAILPING_DELIVERY_CONNECTING);

    ngx_mailping_connection_open(&d->connection, server);
}


static void
ngx_mailping_delivery_connected(void *data)
{
    ngx_mailping_delivery_t *d = data;

    d->connected = ngx_current_msec;
    d->replied = ngx_current_msec;

    ngx_mailping_delivery_state(d, NGX_MAILPING_DELIVERY_HANDSHAKE);

    mailping_producer_start(d->producer, ngx_current_msec);

    ngx_mailping_delivery_run(d);
}


static void
ngx_mailping_delivery_received(void *data, u_char *p, size_t n)
{
    ngx_mailping_delivery_t *d = data;

    d->replied = ngx_current_msec;

    if (d->reply.timer_set) {
        ngx_del_timer(&d->reply);
    }

    if (mailping_producer_receive(d->producer, p, n, ngx_current_msec,
                                  ngx_mailping_now())
        != MAILPING_OK)
    {
        ngx_mailping_connection_close(&d->connection);
        ngx_mailping_delivery_failed(d);
        return;
    }

    ngx_mailping_delivery_run(d);
}


static void
ngx_mailping_delivery_writable(void *data)
{
    ngx_mailping_delivery_t *d = data;

    ngx_mailping_delivery_run(d);
}


static void
ngx_mailping_delivery_closed(void *data, ngx_err_t err, const char *text)
{
    ngx_mailping_delivery_t *d = data;

    if (text == NULL && !mailping_producer_busy(d->producer)) {

        /* an idle connection, closed because the worker exits */

        mailping_producer_lost(d->producer);

        if (d->reply.timer_set) {
            ngx_del_timer(&d->reply);
        }

        if (d->ping.timer_set) {
            ngx_del_timer(&d->ping);
        }

        ngx_mailping_delivery_state(d, NGX_MAILPING_DELIVERY_IDLE);

        return;
    }

    ngx_mailping_delivery_trouble(d, MAILPING_REDIS_OK, err,
                                  d->state >= NGX_MAILPING_DELIVERY_HANDSHAKE
                                  ? "mailping lost redis"
                                  : "mailping cannot reach redis",
                                  text ? text : "nginx closed the connection");

    ngx_mailping_delivery_retry(d, 0);
}


/* Ends what depended on the connection, and waits for the next one. */

static void
ngx_mailping_delivery_retry(ngx_mailping_delivery_t *d, ngx_uint_t slow)
{
    ngx_msec_t  delay;

    if (d->state >= NGX_MAILPING_DELIVERY_HANDSHAKE) {
        ngx_mailping_count(NGX_MAILPING_DISCONNECTS, 1);
    }

    mailping_producer_lost(d->producer);

    if (d->work.timer_set) {
        ngx_del_timer(&d->work);
    }

    if (d->reply.timer_set) {
        ngx_del_timer(&d->reply);
    }

    if (d->ping.timer_set) {
        ngx_del_timer(&d->ping);
    }

    if (slow) {
        d->backoff = NGX_MAILPING_DELIVERY_BACKOFF_MAX;

    } else if (d->state == NGX_MAILPING_DELIVERY_READY
               && ngx_current_msec - d->connected
                  >= NGX_MAILPING_DELIVERY_STABLE)
    {
        d->backoff = 0;

    } else if (d->backoff == 0) {
        d->backoff = NGX_MAILPING_DELIVERY_BACKOFF_MIN;

    } else {
        d->backoff = ngx_min(d->backoff * 2,
                             NGX_MAILPING_DELIVERY_BACKOFF_MAX);
    }

    /* workers that lost the same Redis do not come back in step */

    delay = d->backoff / 2 + ngx_random() % (d->backoff / 2 + 1) + 1;

    d->server++;

    ngx_mailping_delivery_state(d, NGX_MAILPING_DELIVERY_WAITING);
    ngx_add_timer(&d->reconnect, delay);
}


static void
ngx_mailping_delivery_work(ngx_event_t *ev)
{
    ngx_connection_t         *dummy;
    ngx_mailping_delivery_t  *d;

    dummy = ev->data;
    d = dummy->data;

    switch (d->state) {

    case NGX_MAILPING_DELIVERY_IDLE:

        if (ngx_mailping_delivery_backlog(d)) {
            ngx_mailping_delivery_open(&d->reconnect);
        }

        return;

    case NGX_MAILPING_DELIVERY_READY:
        ngx_mailping_delivery_run(d);
        return;

    default:
        return;
    }
}


/* Sends what there is to send, and sets the timers for what comes next. */

static void
ngx_mailping_delivery_run(ngx_mailping_delivery_t *d)
{
    int             wait;
    ssize_t         n;
    mailping_str_t  out;

    for ( ;; ) {

        out = mailping_producer_output(d->producer);

        if (out.len == 0) {
            wait = mailping_producer_work(d->producer, ngx_current_msec,
                                          ngx_mailping_now());
            if (wait != 0) {
                break;
            }

            out = mailping_producer_output(d->producer);

            if (out.len == 0) {
                wait = -1;
                break;
            }
        }

        n = ngx_mailping_connection_send(&d->connection,
                                         (u_char *) out.data, out.len);

        if (n == NGX_ERROR) {
            return;
        }

        if (n == NGX_AGAIN) {
            wait = -1;
            break;
        }

        d->replied = ngx_current_msec;

        mailping_producer_sent(d->producer, n);
    }

    /* nginx would keep a timer that is to move by less than 300 ms */

    if (d->work.timer_set) {
        ngx_del_timer(&d->work);
    }

    if (wait > 0) {
        ngx_add_timer(&d->work, (ngx_msec_t) wait);
    }

    ngx_mailping_delivery_expect(d);
}


/* Sets the timers of a reply that is due, or of a connection without work. */

static void
ngx_mailping_delivery_expect(ngx_mailping_delivery_t *d)
{
    ngx_uint_t  busy;

    busy = mailping_producer_busy(d->producer)
           || mailping_producer_output(d->producer).len != 0;

    ngx_mailping_connection_idle(&d->connection,
                                 !busy && !d->work.timer_set);

    if (!busy) {

        if (d->reply.timer_set) {
            ngx_del_timer(&d->reply);
        }

        if (!d->ping.timer_set) {
            ngx_add_timer(&d->ping, NGX_MAILPING_DELIVERY_PING
                                    + ngx_random()
                                      % NGX_MAILPING_DELIVERY_PING);
        }

        return;
    }

    if (d->ping.timer_set) {
        ngx_del_timer(&d->ping);
    }

    if (d->reply.timer_set) {
        return;
    }

    /*
     * An exit waits for the reply that is outstanding when it begins, not
     * for those of batches that are sent while the worker exits.  Nobody
     * tells when that is, so a long time-out is waited for in parts.
     */

    d->reply.cancelable = ngx_exiting ? 1 : 0;

    ngx_add_timer(&d->reply, ngx_min(d->conf->reply_timeout,
                                     NGX_MAILPING_DELIVERY_EXIT));
}


static void
ngx_mailping_delivery_overdue(ngx_event_t *ev)
{
    ngx_msec_t                passed;
    ngx_connection_t         *dummy;
    ngx_mailping_delivery_t  *d;

    dummy = ev->data;
    d = dummy->data;

    passed = ngx_current_msec - d->replied;

    if (passed < d->conf->reply_timeout) {

        if (ngx_exiting) {
            ev->cancelable = 1;
        }

        ngx_add_timer(ev, ngx_min(d->conf->reply_timeout - passed,
                                  NGX_MAILPING_DELIVERY_EXIT));
        return;
    }

    ngx_mailping_connection_close(&d->connection);

    ngx_mailping_delivery_trouble(d, MAILPING_REDIS_OK, NGX_ETIMEDOUT,
                                  "mailping lost redis", "it did not reply");
    ngx_mailping_delivery_retry(d, 0);
}


static void
ngx_mailping_delivery_ping(ngx_event_t *ev)
{
    ngx_connection_t         *dummy;
    ngx_mailping_delivery_t  *d;

    dummy = ev->data;
    d = dummy->data;

    mailping_producer_ping(d->producer, ngx_current_msec);

    ngx_mailping_delivery_run(d);
}


/* The producer gave the connection up because of what Redis said. */

static void
ngx_mailping_delivery_failed(ngx_mailping_delivery_t *d)
{
    ngx_uint_t               slow;
    const char              *text;
    mailping_redis_error_e   error;

    error = mailping_producer_error(d->producer, &text);
    slow = 0;

    switch (error) {

    case MAILPING_REDIS_AUTH:
        d->auth = 1;
        slow = 1;
        break;

    case MAILPING_REDIS_UNFIT:

        /* where another server may answer, it is tried without delay */

        slow = (d->conf->servers.nelts == 1);
        break;

    default:
        break;
    }

    ngx_mailping_delivery_retry(d, slow);
}


/* A password may have been changed in Redis and in the file meanwhile. */

static void
ngx_mailping_delivery_password(ngx_mailping_delivery_t *d)
{
    ngx_str_t        line;
    ngx_pool_t      *pool;
    const char      *why;
    mailping_str_t   text;

    if (d->conf->password_file.len == 0) {
        return;
    }

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE, d->log);
    if (pool == NULL) {
        return;
    }

    if (ngx_mailping_read_file(pool, (char *) d->conf->password_file.data,
                               NGX_MAILPING_PASSWORD_MAX, &text, &why)
        != NGX_OK)
    {
        if (!d->unreadable) {
            d->unreadable = 1;

            ngx_log_error(NGX_LOG_WARN, d->log, ngx_errno,
                          "%s \"%V\" failed, a changed password needs a "
                          "reload or a file that the worker processes can "
                          "read", why, &d->conf->password_file);
        }

        ngx_destroy_pool(pool);
        return;
    }

    line = ngx_mailping_first_line(&text);

    if (line.len && line.len <= NGX_MAILPING_PASSWORD_MAX) {
        ngx_memcpy(d->password, line.data, line.len);

        d->producer_conf.password = mailping_str(d->password, line.len);
    }

    ngx_explicit_memzero(line.data, line.len);
    ngx_destroy_pool(pool);
}


uint64_t
ngx_mailping_delivery_backlog(ngx_mailping_delivery_t *d)
{
    uint64_t                   n;
    ngx_queue_t               *q;
    ngx_mailping_delivered_t  *dr;

    n = 0;

    for (q = ngx_queue_head(&d->rings);
         q != ngx_queue_sentinel(&d->rings);
         q = ngx_queue_next(q))
    {
        dr = ngx_queue_data(q, ngx_mailping_delivered_t, queue);
        n += mailping_ring_undelivered(dr->ring);
    }

    return n;
}
