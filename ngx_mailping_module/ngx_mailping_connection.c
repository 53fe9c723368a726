
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "ngx_mailping_connection.h"


#define NGX_MAILPING_CONNECTION_POOL   512

/* reads of one turn, so that a busy Redis cannot hold the event loop */

#define NGX_MAILPING_CONNECTION_READS  16


static void ngx_mailping_connection_resolve(ngx_mailping_connection_t *mc);
static void ngx_mailping_connection_resolved(ngx_resolver_ctx_t *ctx);
static void ngx_mailping_connection_connect(ngx_mailping_connection_t *mc);
static ngx_err_t ngx_mailping_connection_test(ngx_connection_t *c);
static void ngx_mailping_connection_write_handler(ngx_event_t *wev);
static void ngx_mailping_connection_read_handler(ngx_event_t *rev);
static void ngx_mailping_connection_lost(ngx_mailping_connection_t *mc,
    ngx_err_t err, const char *text);
static u_char *ngx_mailping_connection_log(ngx_log_t *log, u_char *buf,
    size_t len);


void
ngx_mailping_connection_init(ngx_mailping_connection_t *mc, ngx_log_t *log)
{
    mc->log = *log;
    mc->log.handler = ngx_mailping_connection_log;
    mc->log.data = mc;
    mc->log.action = "delivering to redis";
    mc->state = NGX_MAILPING_CONNECTION_CLOSED;
}


void
ngx_mailping_connection_open(ngx_mailping_connection_t *mc,
    ngx_mailping_server_t *server)
{
    mc->server = server;

    if (server->addr.sockaddr == NULL) {
        ngx_mailping_connection_resolve(mc);
        return;
    }

    ngx_memcpy(&mc->sockaddr, server->addr.sockaddr, server->addr.socklen);
    mc->peer.socklen = server->addr.socklen;

    ngx_mailping_connection_connect(mc);
}


static void
ngx_mailping_connection_resolve(ngx_mailping_connection_t *mc)
{
    ngx_resolver_ctx_t  *ctx;

    ctx = ngx_resolve_start(mc->conf->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_mailping_connection_lost(mc, 0, "its name cannot be resolved");
        return;
    }

    mc->state = NGX_MAILPING_CONNECTION_RESOLVING;
    mc->resolve = ctx;

    ctx->name = mc->server->host;
    ctx->handler = ngx_mailping_connection_resolved;
    ctx->data = mc;
    ctx->timeout = mc->conf->resolver_timeout;
    ctx->cancelable = 1;

    /* the handler may run before this returns */

    if (ngx_resolve_name(ctx) != NGX_OK) {
        mc->resolve = NULL;
        ngx_mailping_connection_lost(mc, 0, "its name cannot be resolved");
    }
}


static void
ngx_mailping_connection_resolved(ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t                  n;
    const char                 *text;
    ngx_resolver_addr_t        *addr;
    ngx_mailping_connection_t  *mc;

    mc = ctx->data;
    mc->resolve = NULL;

    if (ctx->state) {
        text = ngx_resolver_strerror(ctx->state);
        ngx_resolve_name_done(ctx);
        ngx_mailping_connection_lost(mc, 0, text);
        return;
    }

    /* a dead address is not tried for ever */

    n = ngx_random() % ctx->naddrs;
    addr = &ctx->addrs[n];

    ngx_memcpy(&mc->sockaddr, addr->sockaddr, addr->socklen);
    mc->peer.socklen = addr->socklen;

    ngx_inet_set_port(&mc->sockaddr.sockaddr, mc->server->port);

    ngx_resolve_name_done(ctx);

    ngx_mailping_connection_connect(mc);
}


static void
ngx_mailping_connection_connect(ngx_mailping_connection_t *mc)
{
    ngx_int_t          rc;
    ngx_err_t          err;
    ngx_uint_t         level;
    socklen_t          socklen;
    ngx_connection_t  *c;

    socklen = mc->peer.socklen;

    mc->name.data = mc->text;
    mc->name.len = ngx_sock_ntop(&mc->sockaddr.sockaddr, socklen, mc->text,
                                 NGX_SOCKADDR_STRLEN, 1);

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, &mc->log, 0,
                   "mailping connect to %V", &mc->name);

    ngx_memzero(&mc->peer, sizeof(ngx_peer_connection_t));

    mc->peer.sockaddr = &mc->sockaddr.sockaddr;
    mc->peer.socklen = socklen;
    mc->peer.name = &mc->name;
    mc->peer.get = ngx_event_get_peer;
    mc->peer.log = &mc->log;
    mc->peer.log_error = NGX_ERROR_INFO;
    mc->peer.so_keepalive = 1;

    /*
     * Every attempt that fails at once would be logged, also those that
     * follow each other for hours; the owner logs changes of state instead.
     */

    level = mc->log.log_level;
    mc->log.log_level = ngx_min(level, NGX_LOG_ALERT);

    ngx_set_errno(0);
    rc = ngx_event_connect_peer(&mc->peer);
    err = ngx_socket_errno;

    mc->log.log_level = level;

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_mailping_connection_lost(mc, err, "connect() failed");
        return;
    }

    c = mc->peer.connection;

    mc->connection = c;
    mc->state = NGX_MAILPING_CONNECTION_CONNECTING;

    c->data = mc;
    c->read->handler = ngx_mailping_connection_read_handler;
    c->write->handler = ngx_mailping_connection_write_handler;

    c->pool = ngx_create_pool(NGX_MAILPING_CONNECTION_POOL, &mc->log);
    if (c->pool == NULL) {
        ngx_mailping_connection_lost(mc, 0, "no memory");
        return;
    }

    c->write->cancelable = 1;
    ngx_add_timer(c->write, mc->conf->redis->connect_timeout);

    if (rc == NGX_OK) {
        ngx_post_event(c->write, &ngx_posted_events);
    }
}


static ngx_err_t
ngx_mailping_connection_test(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    return err;
}


static void
ngx_mailping_connection_write_handler(ngx_event_t *wev)
{
    ngx_err_t                   err;
    ngx_connection_t           *c;
    ngx_mailping_connection_t  *mc;

    c = wev->data;
    mc = c->data;

    if (c->close) {
        ngx_mailping_connection_lost(mc, 0, NULL);
        return;
    }

    if (wev->timedout) {
        ngx_mailping_connection_lost(mc, NGX_ETIMEDOUT, "connect() failed");
        return;
    }

    if (mc->state == NGX_MAILPING_CONNECTION_READY) {
        mc->writable(mc->data);
        return;
    }

    err = ngx_mailping_connection_test(c);

    if (err) {
        ngx_mailping_connection_lost(mc, err, "connect() failed");
        return;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (mc->sockaddr.sockaddr.sa_family != AF_UNIX
        && ngx_tcp_nodelay(c) != NGX_OK)
    {
        ngx_mailping_connection_lost(mc, 0, "setsockopt() failed");
        return;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_mailping_connection_lost(mc, 0, "no event can be set");
        return;
    }

    mc->state = NGX_MAILPING_CONNECTION_READY;

    /* a server that refuses clients says so before it is asked */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, &mc->log, 0,
                   "mailping connected to %V", &mc->name);

    mc->connected(mc->data);
}


static void
ngx_mailping_connection_read_handler(ngx_event_t *rev)
{
    ssize_t                     n;
    ngx_err_t                   err;
    ngx_uint_t                  i;
    ngx_connection_t           *c;
    ngx_mailping_connection_t  *mc;

    c = rev->data;
    mc = c->data;

    if (c->close) {
        ngx_mailping_connection_lost(mc, 0, NULL);
        return;
    }

    if (mc->state != NGX_MAILPING_CONNECTION_READY) {

        /* a connect() that fails makes both events ready */

        err = ngx_mailping_connection_test(c);

        if (err) {
            ngx_mailping_connection_lost(mc, err, "connect() failed");
        }

        return;
    }

    for (i = 0; i < NGX_MAILPING_CONNECTION_READS; i++) {

        ngx_set_errno(0);
        n = c->recv(c, mc->buffer, NGX_MAILPING_CONNECTION_BUFFER);

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                ngx_mailping_connection_lost(mc, 0, "no event can be set");
            }

            return;
        }

        if (n == 0) {
            ngx_mailping_connection_lost(mc, 0, "it closed the connection");
            return;
        }

        if (n == NGX_ERROR) {
            ngx_mailping_connection_lost(mc, ngx_socket_errno,
                                         "recv() failed");
            return;
        }

        mc->received(mc->data, mc->buffer, n);

        /* it may have closed the connection, and opened another one */

        if (mc->connection != c) {
            return;
        }
    }

    ngx_post_event(rev, &ngx_posted_next_events);
}


ssize_t
ngx_mailping_connection_send(ngx_mailping_connection_t *mc, u_char *p,
    size_t n)
{
    ssize_t            size;
    ngx_connection_t  *c;

    c = mc->connection;

    ngx_set_errno(0);
    size = c->send(c, p, n);

    if (size == NGX_ERROR) {
        ngx_mailping_connection_lost(mc, ngx_socket_errno, "send() failed");
        return NGX_ERROR;
    }

    if (size == NGX_AGAIN && ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_mailping_connection_lost(mc, 0, "no event can be set");
        return NGX_ERROR;
    }

    return size;
}


void
ngx_mailping_connection_idle(ngx_mailping_connection_t *mc, ngx_uint_t idle)
{
    if (mc->connection) {
        mc->connection->idle = idle ? 1 : 0;
    }
}


static void
ngx_mailping_connection_lost(ngx_mailping_connection_t *mc, ngx_err_t err,
    const char *text)
{
    ngx_mailping_connection_close(mc);

    mc->closed(mc->data, err, text);
}


void
ngx_mailping_connection_close(ngx_mailping_connection_t *mc)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    if (mc->resolve) {
        ngx_resolve_name_done(mc->resolve);
        mc->resolve = NULL;
    }

    mc->state = NGX_MAILPING_CONNECTION_CLOSED;

    c = mc->connection;

    if (c == NULL) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, &mc->log, 0,
                   "mailping close connection to %V", &mc->name);

    mc->connection = NULL;

    c->destroyed = 1;
    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


static u_char *
ngx_mailping_connection_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                     *p;
    ngx_mailping_connection_t  *mc;

    p = buf;

    if (log->action) {
        p = ngx_snprintf(p, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    mc = log->data;

    if (mc->server) {
        p = ngx_snprintf(p, len, ", server: %V", &mc->server->name);
    }

    return p;
}
