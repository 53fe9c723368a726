
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mailping_delivery.h"


/*
 * The voice of a delivery: what the producer reports and what goes wrong, as
 * counters, lines of the log, and an object of the status.  The state is
 * entered here because both log and status tell it.
 */


static void ngx_mailping_delivery_works(ngx_mailping_delivery_t *d);


static const char  *ngx_mailping_delivery_states[] = {
    "idle", "waiting", "connecting", "handshake", "ready"
};


void
ngx_mailping_delivery_state(ngx_mailping_delivery_t *d,
    ngx_mailping_delivery_state_e state)
{
    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, d->log, 0,
                   "mailping delivery %s -> %s",
                   ngx_mailping_delivery_states[d->state],
                   ngx_mailping_delivery_states[state]);

    d->state = state;
    d->since = ngx_mailping_now();
}


void
ngx_mailping_delivery_report(void *data, mailping_producer_event_e what,
    mailping_source_t *source, uint64_t n, const char *text)
{
    ngx_mailping_delivery_t *d = data;

    ngx_log_t               *log;
    const char              *words;
    mailping_redis_error_e   class;

    log = &d->connection.log;

    switch (what) {

    case MAILPING_PRODUCER_CONNECTED:

        ngx_mailping_count(NGX_MAILPING_CONNECTS, 1);

        ngx_cpystrn(d->version, (u_char *) (text ? text : ""),
                    sizeof(d->version));

        d->attempts = 0;
        d->auth = 0;
        d->unreadable = 0;

        ngx_mailping_delivery_state(d, NGX_MAILPING_DELIVERY_READY);

        /* what waits proves soon whether Redis takes it */

        if (d->trouble && !d->refused
            && ngx_mailping_delivery_backlog(d) == 0)
        {
            ngx_mailping_delivery_works(d);
        }

        return;

    case MAILPING_PRODUCER_ACKNOWLEDGED:

        ngx_mailping_count(NGX_MAILPING_BATCHES, 1);
        ngx_mailping_count(NGX_MAILPING_DELIVERED, n);
        ngx_mailping_spool_changed(source->ring);

        if (d->trouble) {
            ngx_mailping_delivery_works(d);
        }

        return;

    case MAILPING_PRODUCER_ADVANCED:

        ngx_mailping_count(NGX_MAILPING_ADVANCED, n);
        ngx_mailping_spool_changed(source->ring);

        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "mailping found %uL opens of %s in redis that it has "
                      "no reply for", n, source->producer);

        if (d->trouble && !d->refused
            && ngx_mailping_delivery_backlog(d) == 0)
        {
            ngx_mailping_delivery_works(d);
        }

        return;

    case MAILPING_PRODUCER_REWOUND:

        ngx_mailping_count(NGX_MAILPING_REWOUND, n);
        ngx_mailping_spool_changed(source->ring);

        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "mailping sends %uL opens of %s again that redis has "
                      "lost", n, source->producer);
        return;

    case MAILPING_PRODUCER_MISSING:

        ngx_mailping_count(NGX_MAILPING_MISSING, n);
        ngx_mailping_spool_changed(source->ring);

        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "mailping cannot send %uL opens of %s: %s",
                      n, source->producer,
                      text ? text : "redis has lost them, and the spool does "
                                    "not hold them any more");
        return;

    case MAILPING_PRODUCER_RESTORED:

        ngx_mailping_count(NGX_MAILPING_RESTORED, 1);

        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "mailping mark of %s was deleted or changed in redis, "
                      "it is set again and nothing is sent twice; the marks "
                      "must not be touched", source->producer);
        return;

    case MAILPING_PRODUCER_STOPPED:

        ngx_mailping_count(NGX_MAILPING_STOPPED, 1);

        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "mailping stops the delivery of %s until a reload: %s",
                      source->producer, text);
        return;

    case MAILPING_PRODUCER_FAILED:

        class = mailping_producer_error(d->producer, &words);

        ngx_mailping_count(NGX_MAILPING_ERRORS + class, 1);

        if (d->state == NGX_MAILPING_DELIVERY_READY) {
            d->refused = 1;
        }

        ngx_mailping_delivery_trouble(d, class, 0,
                                      "mailping is refused by redis", text);
        return;
    }
}


void
ngx_mailping_delivery_trouble(ngx_mailping_delivery_t *d,
    mailping_redis_error_e class, ngx_err_t err, const char *what,
    const char *text)
{
    u_char  *p, *last;

    p = d->error;
    last = d->error + NGX_MAILPING_DELIVERY_TEXT - 1;

    p = ngx_slprintf(p, last, "%s", text);

    if (err && p < last - 2) {
        *p++ = ':';
        *p++ = ' ';
        p = ngx_strerror(err, p, last - p);
    }

    *p = '\0';

    d->error_time = ngx_mailping_now();

    if (d->trouble & ((ngx_uint_t) 1 << class)) {
        return;
    }

    d->trouble |= (ngx_uint_t) 1 << class;

    ngx_log_error(NGX_LOG_ERR, &d->connection.log, err, "%s: %s", what, text);
}


static void
ngx_mailping_delivery_works(ngx_mailping_delivery_t *d)
{
    d->trouble = 0;
    d->refused = 0;

    ngx_log_error(NGX_LOG_NOTICE, d->log, 0,
                  "mailping delivers to redis \"%V\" again, "
                  "%uL opens are waiting",
                  &d->connection.server->name,
                  ngx_mailping_delivery_backlog(d));
}


ngx_int_t
ngx_mailping_delivery_status(ngx_mailping_delivery_t *d, ngx_pool_t *pool,
    ngx_str_t *json)
{
    size_t      len;
    u_char     *p;
    ngx_str_t   server, version, error;

    ngx_str_null(&server);

    if (d->connection.server) {
        server = d->connection.server->name;
    }

    server = ngx_mailping_json_string(pool, server.len, server.data);
    version = ngx_mailping_json_string(pool, ngx_strlen(d->version),
                                       d->version);
    error = ngx_mailping_json_string(pool, ngx_strlen(d->error), d->error);

    if (server.data == NULL || version.data == NULL || error.data == NULL) {
        return NGX_ERROR;
    }

    len = sizeof("{\"state\":\"connecting\",\"server\":,\"version\":,"
                 "\"since\":,\"attempts\":,\"inflight\":,"
                 "\"error\":{\"text\":,\"time\":}}")
          + server.len + version.len + error.len
          + NGX_INT64_LEN * 4;

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    json->data = p;

    p = ngx_slprintf(p, json->data + len,
                     "{\"state\":\"%s\",\"server\":%V,\"version\":%V,"
                     "\"since\":%uL,\"attempts\":%ui,\"inflight\":%uD,"
                     "\"error\":",
                     ngx_mailping_delivery_states[d->state], &server,
                     &version, d->since, d->attempts,
                     mailping_producer_inflight(d->producer));

    if (d->error_time) {
        p = ngx_slprintf(p, json->data + len, "{\"text\":%V,\"time\":%uL}}",
                         &error, d->error_time);

    } else {
        p = ngx_slprintf(p, json->data + len, "null}");
    }

    json->len = p - json->data;

    return NGX_OK;
}
