
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_DELIVERY_H_INCLUDED_
#define _NGX_MAILPING_DELIVERY_H_INCLUDED_


/* What ngx_mailping_delivery.c and ngx_mailping_report.c share. */

#include "ngx_mailping.h"
#include "ngx_mailping_connection.h"


#define NGX_MAILPING_DELIVERY_TEXT  256


typedef enum {
    NGX_MAILPING_DELIVERY_IDLE = 0,
    NGX_MAILPING_DELIVERY_WAITING,
    NGX_MAILPING_DELIVERY_CONNECTING,
    NGX_MAILPING_DELIVERY_HANDSHAKE,
    NGX_MAILPING_DELIVERY_READY
} ngx_mailping_delivery_state_e;


struct ngx_mailping_delivery_s {
    ngx_mailping_worker_t            *worker;
    ngx_mailping_redis_conf_t        *conf;
    ngx_log_t                        *log;
    mailping_producer_t              *producer;
    mailping_producer_conf_t          producer_conf;
    ngx_queue_t                       rings;

    ngx_mailping_delivery_state_e     state;
    ngx_uint_t                        trouble;    /* classes logged, bits */
    ngx_uint_t                        server;     /* the one in turn */
    ngx_msec_t                        backoff;
    ngx_msec_t                        connected;
    ngx_msec_t                        replied;    /* or sent, when later */
    uint64_t                          since;      /* of the state, Unix ms */
    ngx_uint_t                        attempts;   /* since it was ready */
    unsigned                          refused:1;  /* though the handshake
                                                     was done */
    unsigned                          auth:1;     /* read the password again */
    unsigned                          unreadable:1;

    ngx_event_t                       work;       /* posted, or the rhythm */
    ngx_event_t                       reconnect;
    ngx_event_t                       reply;
    ngx_event_t                       ping;
    ngx_connection_t                  dummy;      /* the events' data */

    uint64_t                          error_time; /* Unix ms, 0 = none */
    u_char                            error[NGX_MAILPING_DELIVERY_TEXT];
    u_char                            version[32];
    u_char                            password[NGX_MAILPING_PASSWORD_MAX];

    ngx_mailping_connection_t         connection;
};


/* ngx_mailping_delivery.c */

/* How many opens of all rings are not delivered. */
uint64_t ngx_mailping_delivery_backlog(ngx_mailping_delivery_t *d);


/* ngx_mailping_report.c */

/* Enters a state, which the status shows. */
void ngx_mailping_delivery_state(ngx_mailping_delivery_t *d,
    ngx_mailping_delivery_state_e state);

/* What the producer calls; data is the delivery. */
void ngx_mailping_delivery_report(void *data, mailping_producer_event_e what,
    mailping_source_t *source, uint64_t n, const char *text);

/*
 * Keeps the text for the status, and logs it unless this class of trouble was
 * logged since the delivery worked.  MAILPING_REDIS_OK is that of trouble
 * with the connection; err is 0 when there is no errno for it.
 */
void ngx_mailping_delivery_trouble(ngx_mailping_delivery_t *d,
    mailping_redis_error_e class, ngx_err_t err, const char *what,
    const char *text);


#endif /* _NGX_MAILPING_DELIVERY_H_INCLUDED_ */
