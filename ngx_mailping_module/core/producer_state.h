
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_PRODUCER_STATE_H
#define MAILPING_PRODUCER_STATE_H


/*
 * What the files of the producer share, and nobody else.  Each calls only
 * those below it:
 *
 *     producer.c               the connection, and whose turn it is
 *     producer_mark.c          the fence and the decision table
 *     producer_transaction.c   what is sent in MULTI and EXEC
 *     producer_outcome.c       what becomes of a source or the connection
 */

#include "pipeline.h"
#include "producer.h"
#include "reply.h"


typedef enum {
    MAILPING_LINK_DOWN = 0,        /* or to be closed by the caller */
    MAILPING_LINK_GREETING,
    MAILPING_LINK_UP
} mailping_link_e;


typedef enum {
    MAILPING_TRANSACTION_DELIVER = 0,   /* records */
    MAILPING_TRANSACTION_RESTORE,  /* a mark that an operator deleted */
    MAILPING_TRANSACTION_SKIP,     /* a mark over records that are gone */
    MAILPING_TRANSACTION_UNDO      /* a mark that says too much */
} mailping_transaction_e;


/* planned while nothing is in flight, else sent; gone when EXEC is answered */

typedef struct {
    mailping_source_t       *source;     /* NULL = there is none */
    mailping_transaction_e   kind;
    uint64_t                 value;      /* of the mark */
    uint64_t                 missing;    /* records skipped */
    uint32_t                 n;          /* XADD commands */
    uint32_t                 trims;      /* XTRIM commands */
    uint32_t                 unreadable; /* records that are no entry */
    uint32_t                 added;      /* outcome: first XADDs in a row */
    unsigned                 set:1;      /* outcome: SET succeeded */
    unsigned                 refused:1;  /* outcome: MULTI failed */
    mailping_redis_error_e   error;      /* the first one; p->text says it */
    uint64_t                 seq[MAILPING_PRODUCER_BATCH_MAX];
} mailping_transaction_t;


struct mailping_producer_s {
    const mailping_producer_conf_t  *conf;
    mailping_producer_report_pt      report;
    void                            *data;

    uint64_t                         now;        /* of the caller */
    uint64_t                         unix_now;

    mailping_link_e                  link;
    mailping_source_t               *sources;
    mailping_source_t               *turn;       /* where to look for work */
    mailping_source_t               *target;     /* of WATCH in flight */
    mailping_source_t               *watched;    /* its fence is up */
    unsigned                         watching:1; /* Redis holds a WATCH */
    unsigned                         mistyped:1; /* target's stream is none */

    mailping_transaction_t           tx;
    mailping_redis_info_t            info;

    uint64_t                         sent_at;    /* last batch */
    uint64_t                         retry_at;   /* 0 = nothing to wait for */
    uint64_t                         backoff;
    uint32_t                         random;

    mailping_redis_error_e           error;
    char                             text[MAILPING_PRODUCER_TEXT];

    mailping_replies_t               replies;
    mailping_pipeline_t              pipeline;
};


/* "2^64 - 1", zero-terminated */

#define MAILPING_NUMBER_TEXT  21


/*
 * producer_mark.c: watches the mark of s, and checks it when s is new; takes
 * the reply to GET.
 */
void mailping_producer_watch(mailping_producer_t *p, mailping_source_t *s);
int mailping_producer_mark(mailping_producer_t *p);

/*
 * producer_transaction.c: plans a transaction; writes one of records, or the
 * planned one, which sets a mark.  mailping_producer_batch() returns
 * MAILPING_DECLINED when there was nothing to send after all.  Then what takes
 * the replies: those before EXEC's, and EXEC's.
 */
void mailping_producer_plan(mailping_producer_t *p, mailping_source_t *s,
    mailping_transaction_e kind, uint64_t value);
int mailping_producer_batch(mailping_producer_t *p, mailping_source_t *s);
void mailping_producer_repair(mailping_producer_t *p);
int mailping_producer_queued(mailping_producer_t *p,
    mailping_command_e command);
int mailping_producer_settle(mailping_producer_t *p);

/*
 * producer_outcome.c.  Seek and acknowledge stop the source when its ring
 * cannot be read, and return MAILPING_ERROR then.
 */
int mailping_producer_seek(mailping_producer_t *p, mailping_source_t *s,
    uint64_t seq, uint64_t *missing);
int mailping_producer_acknowledge(mailping_producer_t *p,
    mailping_source_t *s, uint64_t seq);
void mailping_producer_stop(mailping_producer_t *p, mailping_source_t *s,
    const char *why);

/*
 * Wait: the error passes by itself, one report per output is enough.  Fail:
 * the connection is to be closed; returns MAILPING_ERROR.  Refused: one of
 * both, for an error reply outside of a transaction; unknown is the class of
 * errors that have none.
 */
void mailping_producer_wait(mailping_producer_t *p, mailping_source_t *s,
    const char *text);
int mailping_producer_fail(mailping_producer_t *p, mailping_source_t *s,
    mailping_redis_error_e class, const char *text);
int mailping_producer_refused(mailping_producer_t *p, mailping_source_t *s,
    mailping_redis_error_e unknown);

/*
 * Whether an error to WATCH, TYPE or GET means that the rights do not reach
 * the keys of a ring of another prefix, which waits from before a change of
 * the configuration.  Then only its source is stopped: returns 1, else 0.
 */
int mailping_producer_denied(mailping_producer_t *p, const char *text);

/* Remembers Redis' words, which may be those remembered already. */
void mailping_producer_words(mailping_producer_t *p, const char *text);

/* A number as an argument; its text is in buf. */
mailping_str_t mailping_number(char buf[MAILPING_NUMBER_TEXT], uint64_t n);


#endif /* MAILPING_PRODUCER_STATE_H */
