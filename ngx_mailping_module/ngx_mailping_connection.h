
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_CONNECTION_H_INCLUDED_
#define _NGX_MAILPING_CONNECTION_H_INCLUDED_


#include "ngx_mailping.h"


typedef struct ngx_mailping_connection_s  ngx_mailping_connection_t;

typedef void (*ngx_mailping_connected_pt)(void *data);
typedef void (*ngx_mailping_received_pt)(void *data, u_char *p, size_t n);
typedef void (*ngx_mailping_writable_pt)(void *data);

/* text says what happened; err is 0 when there is no errno for it */

typedef void (*ngx_mailping_closed_pt)(void *data, ngx_err_t err,
    const char *text);


typedef enum {
    NGX_MAILPING_CONNECTION_CLOSED = 0,
    NGX_MAILPING_CONNECTION_RESOLVING,
    NGX_MAILPING_CONNECTION_CONNECTING,
    NGX_MAILPING_CONNECTION_READY
} ngx_mailping_connection_state_e;


#define NGX_MAILPING_CONNECTION_BUFFER  16384


/*
 * One connection to one Redis node.  The struct outlives what it connects;
 * the owner sets conf, data and the handlers, all else is the connection's.
 *
 * "connected" comes once per successful open, "closed" when an open fails or
 * a connection ends for another reason than ngx_mailping_connection_close();
 * the connection is closed and may be opened again when "closed" is called.
 * It may come before ngx_mailping_connection_open() returns.  Any handler may
 * close the connection.
 */

struct ngx_mailping_connection_s {
    ngx_mailping_main_conf_t         *conf;
    void                             *data;
    ngx_mailping_connected_pt         connected;
    ngx_mailping_received_pt          received;
    ngx_mailping_writable_pt          writable;
    ngx_mailping_closed_pt            closed;

    ngx_mailping_connection_state_e   state;
    ngx_mailping_server_t            *server;
    ngx_connection_t                 *connection;
    ngx_resolver_ctx_t               *resolve;
    ngx_peer_connection_t             peer;
    ngx_sockaddr_t                    sockaddr;
    ngx_str_t                         name;
    ngx_log_t                         log;
    u_char                            text[NGX_SOCKADDR_STRLEN];
    u_char                            buffer[NGX_MAILPING_CONNECTION_BUFFER];
};


void ngx_mailping_connection_init(ngx_mailping_connection_t *mc,
    ngx_log_t *log);

/* Resolves the server's name, if it is one, and connects. */
void ngx_mailping_connection_open(ngx_mailping_connection_t *mc,
    ngx_mailping_server_t *server);

/*
 * Sends; returns how many bytes were taken, NGX_AGAIN when "writable" will
 * come, or NGX_ERROR when the connection is closed ("closed" was called).
 */
ssize_t ngx_mailping_connection_send(ngx_mailping_connection_t *mc,
    u_char *p, size_t n);

/*
 * Says whether something is under way on the connection.  An idle one is
 * closed by nginx at a graceful exit, which calls "closed" with text NULL.
 */
void ngx_mailping_connection_idle(ngx_mailping_connection_t *mc,
    ngx_uint_t idle);

/* Closes without calling a handler; does nothing when nothing is open. */
void ngx_mailping_connection_close(ngx_mailping_connection_t *mc);


#endif /* _NGX_MAILPING_CONNECTION_H_INCLUDED_ */
