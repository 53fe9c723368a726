
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_PRODUCER_H
#define MAILPING_PRODUCER_H


#include "event.h"
#include "redis.h"
#include "spool.h"
#include "topology.h"


/*
 * The conversation over one connection to one Redis node, as a state machine
 * without socket and clock: the caller moves bytes and tells the time.
 *
 *     connect -> start() -> output()/sent() -> receive() -> ... -> lost()
 *
 * One transaction is in flight and one mark is watched per connection.
 */

#define MAILPING_PRODUCER_RHYTHM   2              /* ms between small batches */
#define MAILPING_PRODUCER_EAGER    128            /* records that do not wait */
#define MAILPING_PRODUCER_BATCH_MAX  512
#define MAILPING_PRODUCER_WORD_MAX   4096      /* user, password, name */
#define MAILPING_PRODUCER_TEXT       MAILPING_REDIS_TEXT   /* of an alert */


typedef struct {
    mailping_str_t  prefix;
    mailping_str_t  user;          /* empty = default user */
    mailping_str_t  password;      /* empty = no AUTH */
    mailping_str_t  name;          /* for CLIENT SETNAME */
    uint32_t        database;
    uint32_t        partitions;
    uint32_t        batch;         /* records in a transaction, 1-512 */
    uint64_t        retain;        /* ms; 0 = entries are never trimmed */
    uint64_t        maxlen;        /* entries; 0 = no cap */
    unsigned        tagged:1;      /* Cluster: keys always carry a tag; with
                                      several partitions they do anyway */
} mailping_producer_conf_t;


typedef enum {
    MAILPING_SOURCE_NEW = 0,       /* mark not compared on this connection */
    MAILPING_SOURCE_READY,
    MAILPING_SOURCE_STOPPED        /* needs an operator: see its alert */
} mailping_source_e;


/*
 * One partition of one ring, which a connection delivers.  The caller owns
 * the memory; mailping_producer_attach() fills it in.  Keys are those of the
 * ring's own prefix and partition count.
 */

typedef struct mailping_source_s  mailping_source_t;

struct mailping_source_s {
    mailping_ring_t    *ring;
    uint32_t            partition;
    mailping_source_e   state;
    char                producer[MAILPING_PRODUCER_TEXT_MAX];
    size_t              producer_len;
    char                stream[MAILPING_KEY_MAX];
    size_t              stream_len;
    char                mark[MAILPING_KEY_MAX];
    size_t              mark_len;
    char                alert[MAILPING_PRODUCER_TEXT];   /* why it stopped */

    uint64_t            wrong;     /* a mark to be set back, 0 = none */
    uint64_t            newest;    /* ms of the last entry's id */
    uint64_t            trimmed;   /* when the stream was trimmed */
    uint32_t            untrimmed; /* records since then */
    unsigned            failures;  /* transactions refused in a row */
    mailping_source_t  *next;      /* the producer's list */
};


/*
 * What happened; the caller logs it and counts it.  n is 1 where the comment
 * does not mention it, text is NULL likewise; source is NULL when the event
 * is the connection's.
 */

typedef enum {
    MAILPING_PRODUCER_CONNECTED = 0,   /* handshake done; text = version */
    MAILPING_PRODUCER_ACKNOWLEDGED,    /* n records are in Redis */
    MAILPING_PRODUCER_ADVANCED,        /* n records: a reply had been lost */
    MAILPING_PRODUCER_REWOUND,         /* n records to send again */
    MAILPING_PRODUCER_MISSING,         /* n records neither here nor there;
                                          text = why, NULL when Redis lost
                                          what the ring no longer holds */
    MAILPING_PRODUCER_RESTORED,        /* a mark an operator deleted */
    MAILPING_PRODUCER_STOPPED,         /* source stopped; text = why */
    MAILPING_PRODUCER_FAILED           /* error; text = Redis' words */
} mailping_producer_event_e;


/*
 * Must not call the producer; text is valid until it returns.
 */

typedef void (*mailping_producer_report_pt)(void *data,
    mailping_producer_event_e what, mailping_source_t *source, uint64_t n,
    const char *text);


typedef struct mailping_producer_s  mailping_producer_t;


/*
 * Makes a producer with all the memory that it will ever use, but for
 * hiredis' reader, which is made anew by mailping_producer_start() and grows
 * to some hundred kilobytes at most.  conf and its strings stay the caller's
 * and must outlive it.  Returns NULL when there is no memory or when user,
 * password or name exceed MAILPING_PRODUCER_WORD_MAX;
 * mailping_producer_destroy() accepts NULL.
 */
mailping_producer_t *mailping_producer_create(
    const mailping_producer_conf_t *conf, mailping_producer_report_pt report,
    void *data);
void mailping_producer_destroy(mailping_producer_t *p);

/*
 * Adds and removes one partition of a ring.  The source is the caller's and
 * must stay until it is detached.  A source that a command in flight is about
 * cannot be detached: MAILPING_AGAIN, ask again after the next reply.  A new
 * source has to be looked at even when it holds no records: call
 * mailping_producer_work() after attaching.
 */
void mailping_producer_attach(mailping_producer_t *p, mailping_source_t *s,
    mailping_ring_t *ring, uint32_t partition);
int mailping_producer_detach(mailping_producer_t *p, mailping_source_t *s);

/*
 * The connection is up: begins the handshake.  now is a monotonic clock in
 * milliseconds here and below.  Stopped sources get another chance.
 */
void mailping_producer_start(mailping_producer_t *p, uint64_t now);

/*
 * The connection is gone.  Unacknowledged records are sent again after the
 * next handshake, if the mark says so.
 */
void mailping_producer_lost(mailping_producer_t *p);

/*
 * The bytes to send next, empty when there are none; they stay until
 * mailping_producer_sent() says that the first n of them are sent.
 */
mailping_str_t mailping_producer_output(mailping_producer_t *p);
void mailping_producer_sent(mailping_producer_t *p, size_t n);

/*
 * Takes n bytes of replies.  Returns MAILPING_OK, or MAILPING_ERROR when the
 * connection has to be closed; mailping_producer_error() is then the class.
 * Reports acknowledgements on the way and prepares the next output; call
 * mailping_producer_work() afterwards for the time to wait.  unix_now is the
 * time of day in milliseconds, for trimming.
 */
int mailping_producer_receive(mailping_producer_t *p, const uint8_t *data,
    size_t n, uint64_t now, uint64_t unix_now);

/*
 * Looks whether a batch is due; called after records were appended and when
 * the time that it returned has come.  Returns how many milliseconds to wait
 * before calling it again, 0 = there is output now, or -1 = nothing to do
 * until records are appended or bytes arrive.
 */
int mailping_producer_work(mailping_producer_t *p, uint64_t now,
    uint64_t unix_now);

/*
 * Prepares a PING, for when the connection has been idle.  Does nothing when
 * something is in flight.
 */
void mailping_producer_ping(mailping_producer_t *p, uint64_t now);

/* Whether replies are outstanding; how many records are in flight. */
int mailping_producer_busy(const mailping_producer_t *p);
uint32_t mailping_producer_inflight(const mailping_producer_t *p);

/* Whether the handshake is done. */
int mailping_producer_ready(const mailping_producer_t *p);

/* The class and Redis' words of the last error. */
mailping_redis_error_e mailping_producer_error(const mailping_producer_t *p,
    const char **text);


#endif /* MAILPING_PRODUCER_H */
