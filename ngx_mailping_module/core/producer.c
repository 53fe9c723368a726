
/*
 * Copyright (C) MailPing
 */


/*
 * DESIGN
 *
 * A producer carries records from rings to the streams of one Redis node, over
 * one connection, so that each enters its stream exactly once.  It owns no
 * socket and no clock: bytes and time come in, bytes come out.
 *
 * The truth.  A ring numbers the records of each partition 1, 2, 3, ...  Redis
 * keeps one mark per ring and partition, and a transaction adds records and
 * moves the mark in one step.  So, whatever becomes of this process, of the
 * connection or of Redis,
 *
 *     the stream holds exactly the records 1 to mark, each once,
 *
 * because what Redis loses in a crash or a failover, its mark loses too.  The
 * ring remembers the last acknowledged number; the difference between the two
 * and the server's identity say what happened (the decision table below).
 *
 * The conversation is half-duplex: all commands of one output are answered
 * before the next output is made.
 *
 *     DOWN --start()--> GREETING --all answered--> UP      lost(): DOWN
 *
 *     GREETING  [AUTH] CLIENT SETNAME [SELECT] ROLE INFO MULTI EXEC
 *     check     [UNWATCH] WATCH mark, INFO, TYPE stream, GET mark
 *     watch     [UNWATCH] WATCH mark, GET mark
 *     batch     MULTI, XADD x n, [XTRIM,] SET mark, EXEC, then check or watch
 *               of the source that comes next
 *     repair    MULTI, SET mark, EXEC, then a check of the same source
 *     ping      PING
 *
 * A source starts as NEW.  A check makes it READY, or STOPPED, which needs an
 * operator; a nil EXEC or a mark other than the expected one makes it NEW.
 *
 * The fence.  The bytes of a connection that we have given up may still be on
 * their way.  If they arrive after the next connection has read the mark, the
 * batch enters twice.  WATCH makes EXEC fail when the mark has moved since;
 * but it fences only what Redis executes after it, so its answer must have
 * been seen before a batch is written: WATCH and GET travel one round trip
 * ahead of the batch, in the output before it.  Late bytes then arrive either
 * before our GET, which shows them, or after it, and our EXEC is nil; or
 * after our EXEC, and then it is their own WATCH that fails them.
 *
 * One transaction in flight: if the first of two failed for want of memory and
 * the second did not, there would be a hole below the mark.  One mark watched:
 * EXEC clears every WATCH of its connection, so that of two watched marks the
 * second would lose its fence to the transaction of the first.
 *
 * What each lost byte leaves behind:
 *
 *   request, before the end of EXEC    nothing was applied; the mark stands at
 *                                      the acknowledged number: send again
 *   request, after it                  applied; the mark is ahead: advance
 *   reply, any byte                    the same two cases, told by the mark
 *   everything, after our SIGKILL      the ring's header has the acknowledged
 *                                      number or an older one: the same
 *   ring header, at acknowledging      as above; the mark is ahead: advance
 *
 * The decision table, at each check:
 *
 *   mark = acknowledged           go on
 *   acknowledged < mark <= head   a reply was lost: advance
 *   mark > head                   the ring is a copy or an old one: stop
 *   mark < acknowledged           server changed: Redis lost data, send again
 *     or none                       from mark + 1; what the ring no longer
 *                                   holds is counted, and the mark moved over
 *                                   it in a transaction of its own
 *                                 same server: an operator deleted it; set it
 *                                   again, send nothing again
 *
 * The server is the same while run_id and master_replid are: a restart changes
 * the first, a promotion the second.
 *
 * Errors.  One that refuses a command while it is queued makes EXEC fail, and
 * nothing is applied.  Those that pass by themselves (no memory, loading, ...)
 * keep the connection and are retried after a while; the others close it, and
 * a transaction refused several times in a row for a reason unknown here stops
 * its source instead, so that it does not keep the others from working.  An
 * error never counts as nil.
 *
 * Two ways remain in which commands have an effect although others of their
 * transaction fail, and in both the replies tell how many records are in: an
 * error inside EXEC's array (a key of the wrong type; rights withdrawn
 * between queueing and EXEC), and a refused MULTI, after which Redis executes
 * the commands one by one.  The records that were added are acknowledged; if
 * the mark says more than that, it is noted as wrong and set back under WATCH,
 * also over a later connection.  Only a crash of this process before that
 * leaves a mark that is too high, and loses that batch.
 *
 * Entries are trimmed by XTRIM in the transaction of a batch, once a second:
 * "~" removes whole nodes only, so more often would mostly find nothing.  But
 * one call removes 10000 entries at most (Redis' default LIMIT), so a source
 * that is faster than half of that trims sooner, and keeps up at any rate.
 * The age is counted from the older of two clocks, ours and that of Redis as
 * the last entry's id shows it: one that jumps ahead must not erase a stream.
 */


#include <hiredis/hiredis.h>
#include <hiredis/read.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "producer.h"


#define MAILPING_REPLY_FEED      16384         /* bytes per hiredis feed */
#define MAILPING_REPLY_MAX       (256 * 1024)  /* an incomplete reply */
#define MAILPING_REPLY_ELEMENTS  4096          /* ROLE lists all replicas */

/* commands of the largest output beside XADD */

#define MAILPING_EXPECT_OTHER    16

/* room that a batch leaves for what follows its records: six keys at most */

#define MAILPING_OUTPUT_TAIL     4096

#define MAILPING_BACKOFF_MIN     100
#define MAILPING_BACKOFF_MAX     5000

#define MAILPING_FAILURES_MAX    3

#define MAILPING_TRIM_INTERVAL   1000          /* ms */
#define MAILPING_TRIM_RECORDS    5000

#define MAILPING_NUMBER_TEXT     21            /* 2^64 - 1, zero-terminated */
#define MAILPING_VERSION_TEXT    32


typedef enum {
    MAILPING_LINK_DOWN = 0,
    MAILPING_LINK_GREETING,
    MAILPING_LINK_UP,
    MAILPING_LINK_BROKEN           /* to be closed by the caller */
} mailping_link_e;


/* which command the next reply answers */

typedef enum {
    MAILPING_EXPECT_AUTH = 0,
    MAILPING_EXPECT_NAME,
    MAILPING_EXPECT_SELECT,
    MAILPING_EXPECT_ROLE,
    MAILPING_EXPECT_INFO,
    MAILPING_EXPECT_TRY_MULTI,     /* of the empty transaction */
    MAILPING_EXPECT_TRY_EXEC,
    MAILPING_EXPECT_UNWATCH,
    MAILPING_EXPECT_WATCH,
    MAILPING_EXPECT_TYPE,
    MAILPING_EXPECT_GET,
    MAILPING_EXPECT_MULTI,
    MAILPING_EXPECT_XADD,
    MAILPING_EXPECT_XTRIM,
    MAILPING_EXPECT_SET,
    MAILPING_EXPECT_EXEC,
    MAILPING_EXPECT_PING
} mailping_expect_e;


typedef enum {
    MAILPING_TX_DELIVER = 0,       /* records */
    MAILPING_TX_RESTORE,           /* a mark that an operator deleted */
    MAILPING_TX_SKIP,              /* a mark over records that are gone */
    MAILPING_TX_UNDO               /* a mark that says too much */
} mailping_tx_e;


/* what is kept of a reply: hiredis builds no objects */

typedef struct {
    int                  type;       /* REDIS_REPLY_..., 0 = none of these */
    size_t               elements;
    size_t               leading;    /* elements that are strings, up to the
                                        first that is not */
    size_t               integers;   /* among the elements */
    size_t               statuses;
    uint64_t             id;         /* ms of the last leading string */
    char                 text[MAILPING_PRODUCER_TEXT];   /* or first element */
    char                 error[MAILPING_PRODUCER_TEXT];  /* the first one */
} mailping_reply_t;


typedef struct {
    mailping_source_t   *source;     /* NULL = there is none */
    mailping_tx_e        kind;
    uint64_t             value;      /* of the mark */
    uint64_t             missing;    /* records skipped */
    uint32_t             n;          /* XADD commands */
    uint32_t             trims;      /* XTRIM commands */
    uint32_t             added;      /* outcome: the first of them succeeded */
    unsigned             set:1;      /* outcome: SET succeeded */
    unsigned             refused:1;  /* outcome: MULTI failed */
    unsigned             noted:1;    /* outcome: p->text is the first error */
    uint64_t             seq[MAILPING_PRODUCER_BATCH_MAX];
} mailping_tx_t;


struct mailping_producer_s {
    const mailping_producer_conf_t  *conf;
    mailping_producer_report_pt      report;
    void                            *data;

    mailping_link_e                  link;
    mailping_source_t               *sources;
    mailping_source_t               *target;    /* of WATCH in flight */
    mailping_source_t               *watched;   /* its fence is up */
    mailping_source_t               *turn;      /* where to look for work */

    mailping_tx_t                    tx;
    mailping_identity_t              identity;
    char                             version[MAILPING_VERSION_TEXT];

    unsigned                         due:1;      /* tx has to be sent */
    unsigned                         watching:1; /* Redis holds a WATCH */
    unsigned                         checking:1; /* target's is a check */
    unsigned                         mistyped:1; /* its stream is none */
    unsigned                         waiting:1;  /* a passing error came */
    unsigned                         info:3;     /* what INFO showed */

    uint64_t                         sent_at;    /* last batch */
    uint64_t                         retry_at;   /* 0 = now */
    uint64_t                         backoff;
    uint32_t                         random;

    mailping_redis_error_e           error;
    char                             text[MAILPING_PRODUCER_TEXT];

    redisReader                     *reader;
    size_t                           fed;        /* since the last reply */
    mailping_reply_t                 reply;

    uint32_t                         expected;
    uint32_t                         received;
    uint8_t                          expect[MAILPING_PRODUCER_BATCH_MAX
                                            + MAILPING_EXPECT_OTHER];
    size_t                           length;
    size_t                           sent;
    uint8_t                          output[MAILPING_PRODUCER_OUTPUT];
};

#define MAILPING_INFO_RUN_ID   1
#define MAILPING_INFO_REPLID   2
#define MAILPING_INFO_EVICTS   4


typedef struct {
    const char              *word;
    mailping_redis_error_e   class;
} mailping_error_class_t;


static void mailping_producer_reset(mailping_producer_t *p);
static void mailping_producer_begin(mailping_producer_t *p);
static void mailping_producer_command(mailping_producer_t *p,
    mailping_expect_e expect, const char *verb, ...);
static void mailping_producer_put(mailping_producer_t *p, const void *data,
    size_t n);
static void mailping_producer_greet(mailping_producer_t *p);
static void mailping_producer_watch(mailping_producer_t *p,
    mailping_source_t *s);
static mailping_source_t *mailping_producer_next(mailping_producer_t *p,
    mailping_source_t *s);
static mailping_source_t *mailping_producer_choose(mailping_producer_t *p);
static int mailping_source_works(const mailping_source_t *s);
static int mailping_producer_rhythm(mailping_producer_t *p, uint64_t now);
static int mailping_producer_batch(mailping_producer_t *p,
    mailping_source_t *s, uint64_t now, uint64_t unix_now);
static void mailping_producer_trim(mailping_producer_t *p,
    mailping_source_t *s, uint64_t now, uint64_t unix_now);
static void mailping_producer_plan(mailping_producer_t *p,
    mailping_source_t *s, mailping_tx_e kind, uint64_t value);
static void mailping_producer_repair(mailping_producer_t *p);
static void mailping_producer_commit(mailping_producer_t *p,
    mailping_source_t *s);
static int mailping_producer_reply(mailping_producer_t *p);
static int mailping_producer_queued(mailping_producer_t *p,
    mailping_expect_e expect);
static int mailping_producer_settle(mailping_producer_t *p);
static void mailping_producer_applied(mailping_producer_t *p);
static int mailping_producer_mark(mailping_producer_t *p);
static void mailping_producer_decide(mailping_producer_t *p,
    mailping_source_t *s, uint64_t mark);
static int mailping_producer_seek(mailping_producer_t *p,
    mailping_source_t *s, uint64_t seq, uint64_t *missing);
static int mailping_producer_acknowledge(mailping_producer_t *p,
    mailping_source_t *s, uint64_t seq);
static void mailping_producer_stop(mailping_producer_t *p,
    mailping_source_t *s, const char *why);
static int mailping_producer_refused(mailping_producer_t *p,
    mailping_source_t *s, mailping_redis_error_e other);
static void mailping_producer_wait(mailping_producer_t *p,
    mailping_source_t *s, const char *text);
static int mailping_producer_fail(mailping_producer_t *p,
    mailping_source_t *s, mailping_redis_error_e class, const char *text);
static void mailping_producer_note(mailping_producer_t *p, const char *text);
static void mailping_producer_info(mailping_producer_t *p, const char *text,
    size_t len);
static mailping_str_t mailping_info_value(const char *line, size_t len,
    const char *name);
static int mailping_info_id(mailping_str_t value, uint8_t id[20]);
static mailping_redis_error_e mailping_error_classify(const char *text);
static int mailping_error_begins(const char *text, const char *word);
static void mailping_text_copy(char *dst, size_t size, const char *text,
    size_t len);
static mailping_str_t mailping_number_text(char buf[MAILPING_NUMBER_TEXT],
    uint64_t n);
static void mailping_reply_reset(mailping_reply_t *r);
static int mailping_reply_is(const mailping_reply_t *r, int type,
    const char *text);
static int mailping_reply_depth(const redisReadTask *task);
static void *mailping_reply_string(const redisReadTask *task, char *str,
    size_t len);
static void *mailping_reply_integer(const redisReadTask *task, long long n);
static void *mailping_reply_nil(const redisReadTask *task);
static void mailping_reply_free(void *object);

#if (HIREDIS_MAJOR < 1)
typedef int     mailping_reply_count_t;
#else
typedef size_t  mailping_reply_count_t;
#endif

static void *mailping_reply_array(const redisReadTask *task,
    mailping_reply_count_t n);


static const mailping_error_class_t  mailping_error_classes[] = {
    { "OOM", MAILPING_REDIS_RETRY },
    { "MISCONF", MAILPING_REDIS_RETRY },
    { "NOREPLICAS", MAILPING_REDIS_RETRY },
    { "LOADING", MAILPING_REDIS_RETRY },
    { "BUSY", MAILPING_REDIS_RETRY },
    { "MASTERDOWN", MAILPING_REDIS_RETRY },
    { "CLUSTERDOWN", MAILPING_REDIS_RETRY },
    { "ASK", MAILPING_REDIS_RETRY },
    { "TRYAGAIN", MAILPING_REDIS_RETRY },
    { "ERR max number of clients", MAILPING_REDIS_RETRY },
    { "READONLY", MAILPING_REDIS_MOVED },
    { "MOVED", MAILPING_REDIS_MOVED },
    { "UNBLOCKED", MAILPING_REDIS_MOVED },
    { "NOAUTH", MAILPING_REDIS_AUTH },
    { "WRONGPASS", MAILPING_REDIS_AUTH },
    { "NOPERM", MAILPING_REDIS_AUTH },
    { "DENIED", MAILPING_REDIS_AUTH },
    { "WRONGTYPE", MAILPING_REDIS_TYPE },
    { "CROSSSLOT", MAILPING_REDIS_UNFIT }
};


static const char *const  mailping_redis_error_names[MAILPING_REDIS_ERRORS] = {
    "ok", "retry", "moved", "auth", "type", "unfit", "protocol"
};


static redisReplyObjectFunctions  mailping_reply_functions = {
    .createString = mailping_reply_string,
    .createArray = mailping_reply_array,
    .createInteger = mailping_reply_integer,
    .createNil = mailping_reply_nil,
    .freeObject = mailping_reply_free
};


/* hiredis wants a pointer for each reply and each element */

static char  mailping_reply_object;


mailping_producer_t *
mailping_producer_create(const mailping_producer_conf_t *conf,
    mailping_producer_report_pt report, void *data)
{
    size_t                i;
    mailping_producer_t  *p;

    if (conf->user.len > MAILPING_PRODUCER_WORD_MAX
        || conf->password.len > MAILPING_PRODUCER_WORD_MAX
        || conf->name.len > MAILPING_PRODUCER_WORD_MAX)
    {
        return NULL;
    }

    p = calloc(1, sizeof(mailping_producer_t));
    if (p == NULL) {
        return NULL;
    }

    p->conf = conf;
    p->report = report;
    p->data = data;

    /* workers with different names do not retry in step */

    for (i = 0; i < conf->name.len; i++) {
        p->random = p->random * 31 + conf->name.data[i];
    }

    return p;
}


void
mailping_producer_destroy(mailping_producer_t *p)
{
    if (p == NULL) {
        return;
    }

    if (p->reader != NULL) {
        redisReaderFree(p->reader);
    }

    free(p);
}


void
mailping_producer_attach(mailping_producer_t *p, mailping_source_t *s,
    mailping_ring_t *ring, uint32_t partition)
{
    int                  tagged;
    mailping_str_t       producer;
    mailping_source_t  **last;

    memset(s, 0, sizeof(mailping_source_t));

    s->ring = ring;
    s->partition = partition;
    s->producer_len = mailping_ring_producer(ring, partition, s->producer);

    producer.len = s->producer_len;
    producer.data = (const uint8_t *) s->producer;

    tagged = p->conf->tagged || ring->params.partitions > 1;

    s->stream_len = mailping_topology_stream(ring->params.prefix, tagged,
                                             partition,
                                             ring->params.partitions,
                                             s->stream);
    s->mark_len = mailping_topology_mark(ring->params.prefix, tagged,
                                         partition, ring->params.partitions,
                                         producer, s->mark);

    for (last = &p->sources; *last != NULL; last = &(*last)->next) {
        /* void */
    }

    *last = s;
}


int
mailping_producer_detach(mailping_producer_t *p, mailping_source_t *s)
{
    mailping_source_t  **prev;

    if (mailping_producer_busy(p)
        && (p->tx.source == s || p->target == s))
    {
        return MAILPING_AGAIN;
    }

    for (prev = &p->sources; *prev != NULL; prev = &(*prev)->next) {
        if (*prev == s) {
            *prev = s->next;
            break;
        }
    }

    if (p->turn == s) {
        p->turn = s->next;
    }

    /* Redis still holds the WATCH: p->watching stays */

    if (p->watched == s) {
        p->watched = NULL;
    }

    if (p->target == s) {
        p->target = NULL;
    }

    if (p->tx.source == s) {
        p->tx.source = NULL;
        p->due = 0;
    }

    s->next = NULL;

    return MAILPING_OK;
}


void
mailping_producer_start(mailping_producer_t *p, uint64_t now)
{
    mailping_source_t  *s;

    mailping_producer_reset(p);

    for (s = p->sources; s != NULL; s = s->next) {
        s->state = MAILPING_SOURCE_NEW;
    }

    p->error = MAILPING_REDIS_OK;
    p->text[0] = '\0';
    p->sent_at = now - MAILPING_PRODUCER_RHYTHM;
    p->backoff = 0;

    if (p->reader != NULL) {
        redisReaderFree(p->reader);
    }

    /* without a reader the first reply fails the connection */

    p->reader = redisReaderCreateWithFunctions(&mailping_reply_functions);

    if (p->reader != NULL) {
        p->reader->privdata = p;

        /* a reader that frees its buffer when idle would allocate again */

        p->reader->maxbuf = 0;
    }

    p->link = MAILPING_LINK_GREETING;

    mailping_producer_greet(p);
}


void
mailping_producer_lost(mailping_producer_t *p)
{
    mailping_producer_reset(p);

    p->link = MAILPING_LINK_DOWN;
}


static void
mailping_producer_reset(mailping_producer_t *p)
{
    mailping_producer_begin(p);

    p->tx.source = NULL;
    p->target = NULL;
    p->watched = NULL;
    p->due = 0;
    p->watching = 0;
    p->waiting = 0;
    p->retry_at = 0;
    p->fed = 0;

    mailping_reply_reset(&p->reply);
}


mailping_str_t
mailping_producer_output(mailping_producer_t *p)
{
    mailping_str_t  output;

    output.len = p->length - p->sent;
    output.data = p->output + p->sent;

    return output;
}


void
mailping_producer_sent(mailping_producer_t *p, size_t n)
{
    p->sent += n;
}


int
mailping_producer_busy(const mailping_producer_t *p)
{
    return p->received != p->expected;
}


uint32_t
mailping_producer_inflight(const mailping_producer_t *p)
{
    if (!mailping_producer_busy(p) || p->tx.source == NULL || p->due) {
        return 0;
    }

    return p->tx.n;
}


int
mailping_producer_ready(const mailping_producer_t *p)
{
    return p->link == MAILPING_LINK_UP;
}


mailping_redis_error_e
mailping_producer_error(const mailping_producer_t *p, const char **text)
{
    *text = p->text;

    return p->error;
}


const char *
mailping_redis_error_name(unsigned class)
{
    if (class >= MAILPING_REDIS_ERRORS) {
        class = MAILPING_REDIS_PROTOCOL;
    }

    return mailping_redis_error_names[class];
}


int
mailping_producer_work(mailping_producer_t *p, uint64_t now,
    uint64_t unix_now)
{
    int                 wait;
    mailping_source_t  *s;

    if (p->sent != p->length) {
        return 0;
    }

    if (mailping_producer_busy(p)
        || p->link == MAILPING_LINK_DOWN
        || p->link == MAILPING_LINK_BROKEN)
    {
        return -1;
    }

    if (p->retry_at != 0) {

        if (now < p->retry_at) {
            return (int) (p->retry_at - now);
        }

        p->retry_at = 0;
    }

    if (p->link == MAILPING_LINK_GREETING) {
        mailping_producer_greet(p);
        return 0;
    }

    if (p->due) {
        mailping_producer_repair(p);
        return 0;
    }

    for ( ;; ) {
        s = mailping_producer_choose(p);

        if (s == NULL) {
            return -1;
        }

        if (s != p->watched) {
            mailping_producer_begin(p);
            mailping_producer_watch(p, s);
            return 0;
        }

        wait = mailping_producer_rhythm(p, now);

        if (wait > 0) {
            return wait;
        }

        if (mailping_producer_batch(p, s, now, unix_now) == MAILPING_OK) {
            return 0;
        }

        /* the source was stopped */
    }
}


void
mailping_producer_ping(mailping_producer_t *p, uint64_t now)
{
    if (p->link != MAILPING_LINK_UP
        || mailping_producer_busy(p)
        || now < p->retry_at)
    {
        return;
    }

    mailping_producer_begin(p);
    mailping_producer_command(p, MAILPING_EXPECT_PING, "PING", NULL);
}


/* the watched source first: another one costs a round trip */

static mailping_source_t *
mailping_producer_choose(mailping_producer_t *p)
{
    mailping_source_t  *s;

    if (p->watched != NULL && mailping_source_works(p->watched)) {
        return p->watched;
    }

    for (s = p->turn; s != NULL; s = s->next) {
        if (mailping_source_works(s)) {
            return s;
        }
    }

    for (s = p->sources; s != p->turn; s = s->next) {
        if (mailping_source_works(s)) {
            return s;
        }
    }

    return NULL;
}


/*
 * The source to watch while a batch of s is in flight: the next one with work
 * in the circle, and s itself when nobody else has any.
 */

static mailping_source_t *
mailping_producer_next(mailping_producer_t *p, mailping_source_t *s)
{
    mailping_source_t  *next;

    for (next = s->next; next != NULL; next = next->next) {
        if (mailping_source_works(next)) {
            return next;
        }
    }

    for (next = p->sources; next != s; next = next->next) {
        if (mailping_source_works(next)) {
            return next;
        }
    }

    return s;
}


/* a new source works even without records: Redis may have lost some */

static int
mailping_source_works(const mailping_source_t *s)
{
    return s->state == MAILPING_SOURCE_NEW
           || (s->state == MAILPING_SOURCE_READY
               && s->ring->part[s->partition].held != 0);
}


/* how many milliseconds a batch waits for more records */

static int
mailping_producer_rhythm(mailping_producer_t *p, uint64_t now)
{
    uint64_t                  n;
    const mailping_source_t  *s;

    if (now - p->sent_at >= MAILPING_PRODUCER_RHYTHM) {
        return 0;
    }

    n = 0;

    for (s = p->sources; s != NULL; s = s->next) {

        if (s->state == MAILPING_SOURCE_READY) {
            n += s->ring->part[s->partition].held;
        }

        if (n >= MAILPING_PRODUCER_EAGER) {
            return 0;
        }
    }

    return (int) (p->sent_at + MAILPING_PRODUCER_RHYTHM - now);
}


static void
mailping_producer_begin(mailping_producer_t *p)
{
    p->length = 0;
    p->sent = 0;
    p->expected = 0;
    p->received = 0;
}


static void
mailping_producer_put(mailping_producer_t *p, const void *data, size_t n)
{
    if (n != 0) {
        memcpy(p->output + p->length, data, n);
        p->length += n;
    }
}


/* arguments after the verb are mailping_str_t pointers, up to NULL */

static void
mailping_producer_command(mailping_producer_t *p, mailping_expect_e expect,
    const char *verb, ...)
{
    int                    n;
    char                   buf[MAILPING_NUMBER_TEXT + sizeof("*$\r\n\r\n")];
    va_list                args;
    unsigned               count;
    const mailping_str_t  *arg;

    count = 1;
    va_start(args, verb);

    while (va_arg(args, const mailping_str_t *) != NULL) {
        count++;
    }

    va_end(args);

    n = snprintf(buf, sizeof(buf), "*%u\r\n$%zu\r\n", count, strlen(verb));
    mailping_producer_put(p, buf, n);
    mailping_producer_put(p, verb, strlen(verb));
    mailping_producer_put(p, "\r\n", 2);

    va_start(args, verb);

    while ((arg = va_arg(args, const mailping_str_t *)) != NULL) {
        n = snprintf(buf, sizeof(buf), "$%zu\r\n", arg->len);
        mailping_producer_put(p, buf, n);
        mailping_producer_put(p, arg->data, arg->len);
        mailping_producer_put(p, "\r\n", 2);
    }

    va_end(args);

    p->expect[p->expected++] = (uint8_t) expect;
}


static void
mailping_producer_greet(mailping_producer_t *p)
{
    char                             buf[MAILPING_NUMBER_TEXT];
    mailping_str_t                   database;
    const mailping_producer_conf_t  *conf;

    static const mailping_str_t  setname = mailping_string("SETNAME");

    conf = p->conf;

    mailping_producer_begin(p);

    if (conf->password.len != 0) {

        if (conf->user.len != 0) {
            mailping_producer_command(p, MAILPING_EXPECT_AUTH, "AUTH",
                                      &conf->user, &conf->password, NULL);

        } else {
            mailping_producer_command(p, MAILPING_EXPECT_AUTH, "AUTH",
                                      &conf->password, NULL);
        }
    }

    if (conf->name.len != 0) {
        mailping_producer_command(p, MAILPING_EXPECT_NAME, "CLIENT", &setname,
                                  &conf->name, NULL);
    }

    if (conf->database != 0) {
        database = mailping_number_text(buf, conf->database);
        mailping_producer_command(p, MAILPING_EXPECT_SELECT, "SELECT",
                                  &database, NULL);
    }

    mailping_producer_command(p, MAILPING_EXPECT_ROLE, "ROLE", NULL);
    mailping_producer_command(p, MAILPING_EXPECT_INFO, "INFO", NULL);
    mailping_producer_command(p, MAILPING_EXPECT_TRY_MULTI, "MULTI", NULL);
    mailping_producer_command(p, MAILPING_EXPECT_TRY_EXEC, "EXEC", NULL);
}


/*
 * A new source is checked: INFO and TYPE come after WATCH, so that they
 * describe a server that has not changed unnoticed until EXEC.
 */

static void
mailping_producer_watch(mailping_producer_t *p, mailping_source_t *s)
{
    mailping_str_t  mark, stream;

    mark.len = s->mark_len;
    mark.data = (const uint8_t *) s->mark;
    stream.len = s->stream_len;
    stream.data = (const uint8_t *) s->stream;

    if (p->watching) {
        mailping_producer_command(p, MAILPING_EXPECT_UNWATCH, "UNWATCH", NULL);
    }

    mailping_producer_command(p, MAILPING_EXPECT_WATCH, "WATCH", &mark, NULL);

    p->checking = (s->state == MAILPING_SOURCE_NEW);
    p->mistyped = 0;

    if (p->checking) {
        mailping_producer_command(p, MAILPING_EXPECT_INFO, "INFO", NULL);
        mailping_producer_command(p, MAILPING_EXPECT_TYPE, "TYPE", &stream,
                                  NULL);
    }

    mailping_producer_command(p, MAILPING_EXPECT_GET, "GET", &mark, NULL);

    p->watching = 1;
    p->watched = NULL;
    p->target = s;
    p->turn = s;
}


/* returns MAILPING_DECLINED when there was nothing to send after all */

static int
mailping_producer_batch(mailping_producer_t *p, mailping_source_t *s,
    uint64_t now, uint64_t unix_now)
{
    int                 rc, len;
    uint64_t            missing;
    const char         *why;
    mailping_tx_t      *tx;
    mailping_str_t      stream, producer;
    mailping_record_t   record;

    stream.len = s->stream_len;
    stream.data = (const uint8_t *) s->stream;
    producer.len = s->producer_len;
    producer.data = (const uint8_t *) s->producer;

    mailping_producer_plan(p, s, MAILPING_TX_DELIVER, 0);

    tx = &p->tx;
    why = "the spool has lost its undelivered records";

    mailping_producer_begin(p);
    mailping_producer_command(p, MAILPING_EXPECT_MULTI, "MULTI", NULL);

    while (tx->n < p->conf->batch
           && tx->n < MAILPING_PRODUCER_BATCH_MAX
           && MAILPING_PRODUCER_OUTPUT - p->length
              >= MAILPING_EVENT_XADD_MAX + MAILPING_OUTPUT_TAIL)
    {
        rc = mailping_ring_read(s->ring, s->partition, &record);

        if (rc == MAILPING_ERROR) {
            why = "the spool cannot be read";
        }

        if (rc != MAILPING_OK) {
            break;
        }

        len = mailping_event_xadd(record.type, record.version, record.payload,
                                  stream, producer, record.seq,
                                  p->output + p->length);
        if (len == MAILPING_ERROR) {
            why = "the spool holds a record of an unknown version";

            if (tx->n != 0) {
                (void) mailping_producer_seek(p, s, tx->seq[tx->n - 1],
                                              &missing);
            }

            break;
        }

        p->length += len;
        p->expect[p->expected++] = MAILPING_EXPECT_XADD;

        tx->seq[tx->n++] = record.seq;
    }

    if (tx->n == 0) {
        mailping_producer_begin(p);

        tx->source = NULL;
        p->due = 0;

        if (s->ring->part[s->partition].held != 0) {
            mailping_producer_stop(p, s, why);
        }

        return MAILPING_DECLINED;
    }

    tx->value = tx->seq[tx->n - 1];

    mailping_producer_trim(p, s, now, unix_now);
    mailping_producer_commit(p, mailping_producer_next(p, s));

    p->sent_at = now;

    return MAILPING_OK;
}


static void
mailping_producer_trim(mailping_producer_t *p, mailping_source_t *s,
    uint64_t now, uint64_t unix_now)
{
    char                             buf[MAILPING_NUMBER_TEXT];
    uint64_t                         newest;
    mailping_str_t                   stream, limit;
    const mailping_producer_conf_t  *conf;

    static const mailping_str_t  about = mailping_string("~");
    static const mailping_str_t  minid = mailping_string("MINID");
    static const mailping_str_t  maxlen = mailping_string("MAXLEN");

    s->untrimmed += p->tx.n;

    if (now - s->trimmed < MAILPING_TRIM_INTERVAL
        && s->untrimmed < MAILPING_TRIM_RECORDS)
    {
        return;
    }

    conf = p->conf;
    stream.len = s->stream_len;
    stream.data = (const uint8_t *) s->stream;
    newest = s->newest < unix_now ? s->newest : unix_now;

    if (conf->retain != 0 && newest > conf->retain) {
        limit = mailping_number_text(buf, newest - conf->retain);
        mailping_producer_command(p, MAILPING_EXPECT_XTRIM, "XTRIM", &stream,
                                  &minid, &about, &limit, NULL);
        p->tx.trims++;
    }

    if (conf->maxlen != 0) {
        limit = mailping_number_text(buf, conf->maxlen);
        mailping_producer_command(p, MAILPING_EXPECT_XTRIM, "XTRIM", &stream,
                                  &maxlen, &about, &limit, NULL);
        p->tx.trims++;
    }

    if (p->tx.trims != 0) {
        s->trimmed = now;
        s->untrimmed = 0;
    }
}


static void
mailping_producer_plan(mailping_producer_t *p, mailping_source_t *s,
    mailping_tx_e kind, uint64_t value)
{
    mailping_tx_t  *tx;

    tx = &p->tx;

    tx->source = s;
    tx->kind = kind;
    tx->value = value;
    tx->missing = 0;
    tx->n = 0;
    tx->trims = 0;
    tx->added = 0;
    tx->set = 0;
    tx->refused = 0;
    tx->noted = 0;

    p->due = 1;
}


/* sends the planned transaction that only sets a mark */

static void
mailping_producer_repair(mailping_producer_t *p)
{
    mailping_producer_begin(p);
    mailping_producer_command(p, MAILPING_EXPECT_MULTI, "MULTI", NULL);
    mailping_producer_commit(p, p->tx.source);
}


/* ends the transaction, and watches the source that comes next */

static void
mailping_producer_commit(mailping_producer_t *p, mailping_source_t *next)
{
    char                buf[MAILPING_NUMBER_TEXT];
    mailping_str_t      mark, value;
    mailping_source_t  *s;

    s = p->tx.source;

    mark.len = s->mark_len;
    mark.data = (const uint8_t *) s->mark;
    value = mailping_number_text(buf, p->tx.value);

    mailping_producer_command(p, MAILPING_EXPECT_SET, "SET", &mark, &value,
                              NULL);
    mailping_producer_command(p, MAILPING_EXPECT_EXEC, "EXEC", NULL);

    p->watching = 0;
    p->due = 0;

    mailping_producer_watch(p, next);
}


int
mailping_producer_receive(mailping_producer_t *p, const uint8_t *data,
    size_t n, uint64_t now, uint64_t unix_now)
{
    void    *object;
    size_t   size;

    if (p->link == MAILPING_LINK_DOWN || p->link == MAILPING_LINK_BROKEN) {
        return MAILPING_ERROR;
    }

    if (p->reader == NULL) {
        return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                      "no memory for a reply reader");
    }

    while (n != 0) {
        size = n < MAILPING_REPLY_FEED ? n : MAILPING_REPLY_FEED;

        if (redisReaderFeed(p->reader, (const char *) data, size)
            != REDIS_OK)
        {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                          p->reader->errstr);
        }

        data += size;
        n -= size;
        p->fed += size;

        for ( ;; ) {

            if (redisReaderGetReply(p->reader, &object) != REDIS_OK) {
                return mailping_producer_fail(p, NULL,
                                              MAILPING_REDIS_PROTOCOL,
                                              p->reader->errstr);
            }

            if (object == NULL) {
                break;
            }

            if (!mailping_producer_busy(p)) {
                return mailping_producer_fail(p, NULL,
                                              MAILPING_REDIS_PROTOCOL,
                                              "a reply to no command");
            }

            if (mailping_producer_reply(p) != MAILPING_OK) {
                return MAILPING_ERROR;
            }

            p->received++;
            p->fed = p->reader->len - p->reader->pos;

            mailping_reply_reset(&p->reply);
        }

        if (p->fed > MAILPING_REPLY_MAX) {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                          "a reply is too long");
        }
    }

    if (mailping_producer_busy(p)) {
        return MAILPING_OK;
    }

    if (p->sent != p->length) {
        return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                      "a reply before its command");
    }

    if (p->waiting) {
        p->waiting = 0;
        p->backoff = p->backoff == 0 ? MAILPING_BACKOFF_MIN : p->backoff * 2;

        if (p->backoff > MAILPING_BACKOFF_MAX) {
            p->backoff = MAILPING_BACKOFF_MAX;
        }

        p->random = p->random * 1103515245 + 12345;
        p->retry_at = now + p->backoff
                      - (p->random >> 16) % (p->backoff / 4);

    } else if (p->link == MAILPING_LINK_GREETING) {
        p->link = MAILPING_LINK_UP;
        p->report(p->data, MAILPING_PRODUCER_CONNECTED, NULL, 1, p->version);
    }

    (void) mailping_producer_work(p, now, unix_now);

    return MAILPING_OK;
}


/* judges one complete reply in p->reply */

static int
mailping_producer_reply(mailping_producer_t *p)
{
    int                 rc;
    mailping_reply_t   *r;
    mailping_expect_e   expect;

    r = &p->reply;
    expect = p->expect[p->received];

    switch (expect) {

    case MAILPING_EXPECT_MULTI:
    case MAILPING_EXPECT_XADD:
    case MAILPING_EXPECT_XTRIM:
    case MAILPING_EXPECT_SET:
        return mailping_producer_queued(p, expect);

    case MAILPING_EXPECT_EXEC:
        rc = mailping_producer_settle(p);
        p->tx.source = NULL;
        return rc;

    case MAILPING_EXPECT_AUTH:
        if (r->type == REDIS_REPLY_ERROR) {
            return mailping_producer_refused(p, NULL, MAILPING_REDIS_AUTH);
        }

        /* fall through */

    case MAILPING_EXPECT_SELECT:
    case MAILPING_EXPECT_UNWATCH:
        if (r->type == REDIS_REPLY_ERROR) {
            return mailping_producer_refused(p, NULL,
                                             MAILPING_REDIS_PROTOCOL);
        }

        if (mailping_reply_is(r, REDIS_REPLY_STATUS, "OK")) {
            return MAILPING_OK;
        }

        break;

    case MAILPING_EXPECT_NAME:

        /* a name is a convenience, and some rights do not include it */

        if (r->type == REDIS_REPLY_ERROR) {

            if (mailping_error_begins(r->error, "NOPERM")
                || mailping_error_classify(r->error)
                   == MAILPING_REDIS_PROTOCOL)
            {
                return MAILPING_OK;
            }

            return mailping_producer_refused(p, NULL,
                                             MAILPING_REDIS_PROTOCOL);
        }

        if (mailping_reply_is(r, REDIS_REPLY_STATUS, "OK")) {
            return MAILPING_OK;
        }

        break;

    case MAILPING_EXPECT_ROLE:
        if (r->type == REDIS_REPLY_ERROR) {

            if (mailping_error_begins(r->error, "ERR unknown command")) {
                return MAILPING_OK;
            }

            return mailping_producer_refused(p, NULL,
                                             MAILPING_REDIS_PROTOCOL);
        }

        if (mailping_reply_is(r, REDIS_REPLY_ARRAY, "master")) {
            return MAILPING_OK;
        }

        if (r->type == REDIS_REPLY_ARRAY) {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_UNFIT,
                                          "the server is not a master");
        }

        break;

    case MAILPING_EXPECT_INFO:
        if (r->type == REDIS_REPLY_ERROR) {
            p->target = NULL;
            return mailping_producer_refused(p, NULL,
                                             MAILPING_REDIS_PROTOCOL);
        }

        if (r->type != REDIS_REPLY_STRING) {
            break;
        }

        if (p->info & MAILPING_INFO_EVICTS) {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_UNFIT,
                                  "the server's maxmemory-policy evicts any "
                                  "key");
        }

        if (p->info != (MAILPING_INFO_RUN_ID|MAILPING_INFO_REPLID)) {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_UNFIT,
                                  "the server's INFO has no run_id or "
                                  "master_replid");
        }

        return MAILPING_OK;

    case MAILPING_EXPECT_TRY_MULTI:
        if (r->type == REDIS_REPLY_ERROR) {
            return mailping_producer_refused(p, NULL, MAILPING_REDIS_UNFIT);
        }

        if (mailping_reply_is(r, REDIS_REPLY_STATUS, "OK")) {
            return MAILPING_OK;
        }

        break;

    case MAILPING_EXPECT_TRY_EXEC:
        if (r->type == REDIS_REPLY_ERROR) {
            return mailping_producer_refused(p, NULL, MAILPING_REDIS_UNFIT);
        }

        if (r->type == REDIS_REPLY_ARRAY && r->elements == 0) {
            return MAILPING_OK;
        }

        break;

    case MAILPING_EXPECT_WATCH:
        if (r->type == REDIS_REPLY_ERROR) {
            p->target = NULL;
            return mailping_producer_refused(p, NULL,
                                             MAILPING_REDIS_PROTOCOL);
        }

        if (mailping_reply_is(r, REDIS_REPLY_STATUS, "OK")) {
            return MAILPING_OK;
        }

        break;

    case MAILPING_EXPECT_TYPE:
        if (r->type == REDIS_REPLY_ERROR) {
            p->target = NULL;
            return mailping_producer_refused(p, NULL,
                                             MAILPING_REDIS_PROTOCOL);
        }

        if (r->type == REDIS_REPLY_STATUS) {
            p->mistyped = strcmp(r->text, "stream") != 0
                          && strcmp(r->text, "none") != 0;
            return MAILPING_OK;
        }

        break;

    case MAILPING_EXPECT_GET:
        return mailping_producer_mark(p);

    case MAILPING_EXPECT_PING:

        /* a server that cannot write its disk answers MISCONF, and lives */

        if (r->type == REDIS_REPLY_ERROR) {

            if (mailping_error_classify(r->error) == MAILPING_REDIS_RETRY) {
                return MAILPING_OK;
            }

            return mailping_producer_refused(p, NULL,
                                             MAILPING_REDIS_PROTOCOL);
        }

        if (mailping_reply_is(r, REDIS_REPLY_STATUS, "PONG")) {
            return MAILPING_OK;
        }

        break;
    }

    return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                  "a reply of an unexpected type");
}


/*
 * A reply to MULTI or to a command after it, which is "QUEUED", or what the
 * command has done when MULTI was refused.
 */

static int
mailping_producer_queued(mailping_producer_t *p, mailping_expect_e expect)
{
    mailping_tx_t     *tx;
    mailping_reply_t  *r;

    tx = &p->tx;
    r = &p->reply;

    if (r->type == REDIS_REPLY_ERROR) {

        if (expect == MAILPING_EXPECT_MULTI) {
            tx->refused = 1;
        }

        mailping_producer_note(p, r->error);

        return MAILPING_OK;
    }

    if (expect == MAILPING_EXPECT_MULTI) {

        if (mailping_reply_is(r, REDIS_REPLY_STATUS, "OK")) {
            return MAILPING_OK;
        }

    } else if (!tx->refused) {

        if (mailping_reply_is(r, REDIS_REPLY_STATUS, "QUEUED")) {
            return MAILPING_OK;
        }

    } else if (expect == MAILPING_EXPECT_XADD) {

        if (r->type == REDIS_REPLY_STRING) {

            /* the first command of the output is MULTI */

            if (tx->added + 1 == p->received) {
                tx->added++;
            }

            return MAILPING_OK;
        }

    } else if (expect == MAILPING_EXPECT_XTRIM) {

        if (r->type == REDIS_REPLY_INTEGER) {
            return MAILPING_OK;
        }

    } else if (mailping_reply_is(r, REDIS_REPLY_STATUS, "OK")) {
        tx->set = 1;
        return MAILPING_OK;
    }

    return mailping_producer_fail(p, tx->source, MAILPING_REDIS_PROTOCOL,
                                  "a reply of an unexpected type");
}


/* the reply to EXEC */

static int
mailping_producer_settle(mailping_producer_t *p)
{
    int                      applied;
    uint64_t                 missing;
    mailping_tx_t           *tx;
    mailping_reply_t        *r;
    mailping_source_t       *s;
    mailping_redis_error_e   class;

    r = &p->reply;
    tx = &p->tx;
    s = tx->source;

    if (r->type == REDIS_REPLY_NIL && !tx->noted) {

        /* the fence: the mark has moved */

        s->state = MAILPING_SOURCE_NEW;
        return MAILPING_OK;
    }

    if (r->type == REDIS_REPLY_ARRAY && !tx->noted
        && r->elements == (size_t) tx->n + tx->trims + 1)
    {
        tx->added = r->leading < tx->n ? (uint32_t) r->leading : tx->n;
        tx->set = (r->statuses == 1);

        if (tx->added != tx->n || !tx->set || r->integers != tx->trims) {
            mailping_producer_note(p, r->error[0] != '\0' ? r->error
                                      : "an unexpected reply inside EXEC");
        }

    } else if (r->type == REDIS_REPLY_ERROR) {
        mailping_producer_note(p, r->error);

    } else {
        return mailping_producer_fail(p, s, MAILPING_REDIS_PROTOCOL,
                                      "an unexpected reply to EXEC");
    }

    if (tx->added == tx->n && tx->set) {
        mailping_producer_applied(p);

        if (!tx->noted) {
            return MAILPING_OK;
        }

        class = mailping_error_classify(p->text);

        if (tx->refused) {

            /* done, but not in a transaction: the next one may not be */

            return mailping_producer_fail(p, s, class, p->text);
        }

        /* only the stream was not trimmed */

        p->error = class;
        p->report(p->data, MAILPING_PRODUCER_FAILED, s, 1, p->text);

        return MAILPING_OK;
    }

    applied = tx->added != 0 || tx->set;

    if (applied || tx->refused) {
        s->state = MAILPING_SOURCE_NEW;
    }

    if (tx->added != 0) {

        if (mailping_producer_acknowledge(p, s, tx->seq[tx->added - 1])
            != MAILPING_OK)
        {
            return MAILPING_OK;
        }

        p->report(p->data, MAILPING_PRODUCER_ACKNOWLEDGED, s, tx->added, NULL);
    }

    class = mailping_error_classify(p->text);

    if (tx->set && tx->n != 0) {
        s->wrong = tx->value;
        s->alert[0] = '\0';
    }

    switch (class) {

    case MAILPING_REDIS_RETRY:

        if (mailping_producer_seek(p, s, s->ring->part[s->partition].acked,
                                   &missing)
            == MAILPING_OK)
        {
            mailping_producer_wait(p, s, p->text);
        }

        return MAILPING_OK;

    case MAILPING_REDIS_TYPE:
    case MAILPING_REDIS_PROTOCOL:

        if (applied) {

            /* what is wrong is set right first, then the source stops */

            mailping_text_copy(s->alert, sizeof(s->alert), p->text,
                               strlen(p->text));
            return MAILPING_OK;
        }

        if (class == MAILPING_REDIS_TYPE
            || ++s->failures >= MAILPING_FAILURES_MAX)
        {
            mailping_producer_stop(p, s, p->text);
            return MAILPING_OK;
        }

        /* fall through */

    default:
        return mailping_producer_fail(p, s, class, p->text);
    }
}


/* the transaction was executed */

static void
mailping_producer_applied(mailping_producer_t *p)
{
    uint64_t                    acked, missing;
    mailping_tx_t              *tx;
    mailping_source_t          *s;
    mailping_ring_partition_t  *part;

    tx = &p->tx;
    s = tx->source;
    part = &s->ring->part[s->partition];
    acked = part->acked;

    p->backoff = 0;
    s->failures = 0;

    switch (tx->kind) {

    case MAILPING_TX_DELIVER:

        if (mailping_producer_acknowledge(p, s, tx->value) != MAILPING_OK) {
            return;
        }

        s->newest = p->reply.id;

        p->report(p->data, MAILPING_PRODUCER_ACKNOWLEDGED, s, tx->n, NULL);

        /* numbers without a record were damaged in the spool */

        missing = tx->value - acked - tx->n;

        if (missing != 0) {
            p->report(p->data, MAILPING_PRODUCER_MISSING, s, missing, NULL);
        }

        return;

    case MAILPING_TX_RESTORE:

        if (mailping_producer_seek(p, s, tx->value, &missing) == MAILPING_OK) {
            s->state = MAILPING_SOURCE_READY;
            p->report(p->data, MAILPING_PRODUCER_RESTORED, s, 1, NULL);
        }

        return;

    case MAILPING_TX_SKIP:

        if (mailping_producer_seek(p, s, tx->value, &missing) != MAILPING_OK
            || mailping_producer_acknowledge(p, s, tx->value) != MAILPING_OK)
        {
            return;
        }

        s->state = MAILPING_SOURCE_READY;

        if (acked > tx->value) {
            p->report(p->data, MAILPING_PRODUCER_REWOUND, s,
                      acked - tx->value, NULL);
        }

        p->report(p->data, MAILPING_PRODUCER_MISSING, s, tx->missing, NULL);

        return;

    case MAILPING_TX_UNDO:

        s->wrong = 0;

        if (s->alert[0] != '\0') {
            mailping_producer_stop(p, s, s->alert);
        }
    }
}


/* the reply to GET: the mark of the source that is watched from now on */

static int
mailping_producer_mark(mailping_producer_t *p)
{
    uint64_t            mark;
    const char         *digit;
    mailping_reply_t   *r;
    mailping_source_t  *s;

    r = &p->reply;
    s = p->target;
    p->target = NULL;

    if (r->type == REDIS_REPLY_ERROR) {

        if (s != NULL
            && mailping_error_classify(r->error) == MAILPING_REDIS_TYPE)
        {
            mailping_producer_stop(p, s, "the mark is of the wrong type");
            return MAILPING_OK;
        }

        return mailping_producer_refused(p, s, MAILPING_REDIS_PROTOCOL);
    }

    if (r->type != REDIS_REPLY_STRING && r->type != REDIS_REPLY_NIL) {
        return mailping_producer_fail(p, s, MAILPING_REDIS_PROTOCOL,
                                      "a reply of an unexpected type");
    }

    if (s == NULL || s->state == MAILPING_SOURCE_STOPPED) {
        return MAILPING_OK;
    }

    mark = 0;

    if (r->type == REDIS_REPLY_STRING) {

        for (digit = r->text; *digit >= '0' && *digit <= '9'; digit++) {

            if (mark > (UINT64_MAX - 9) / 10) {
                break;
            }

            mark = mark * 10 + (uint64_t) (*digit - '0');
        }

        if (digit == r->text || *digit != '\0') {
            mailping_producer_stop(p, s, "the mark is not a number");
            return MAILPING_OK;
        }
    }

    if (p->checking) {
        mailping_producer_decide(p, s, mark);

    } else if (s->state == MAILPING_SOURCE_READY
               && mark == s->ring->part[s->partition].acked)
    {
        p->watched = s;

    } else {
        s->state = MAILPING_SOURCE_NEW;
    }

    return MAILPING_OK;
}


/* the decision table */

static void
mailping_producer_decide(mailping_producer_t *p, mailping_source_t *s,
    uint64_t mark)
{
    int                         same;
    uint64_t                    acked, missing;
    mailping_ring_partition_t  *part;

    part = &s->ring->part[s->partition];
    acked = part->acked;
    same = memcmp(&part->identity, &p->identity,
                  sizeof(mailping_identity_t)) == 0;

    if (s->wrong != 0) {

        if (s->wrong == mark) {
            mailping_producer_plan(p, s, MAILPING_TX_UNDO, acked);
            return;
        }

        s->wrong = 0;
    }

    s->alert[0] = '\0';

    if (p->mistyped) {
        mailping_producer_stop(p, s, "the stream's key is of another type");
        return;
    }

    if (mark > part->head) {
        mailping_producer_stop(p, s, "the mark is above the last record: the "
                               "ring is a copy, or an old one");
        return;
    }

    if (mark < acked && same) {
        mailping_producer_plan(p, s, MAILPING_TX_RESTORE, acked);
        return;
    }

    if (mailping_producer_seek(p, s, mark, &missing) != MAILPING_OK) {
        return;
    }

    if (mark < acked && missing != 0) {
        mailping_producer_plan(p, s, MAILPING_TX_SKIP, mark + missing);
        p->tx.missing = missing;
        return;
    }

    if ((mark != acked || (mark != 0 && !same))
        && mailping_producer_acknowledge(p, s, mark) != MAILPING_OK)
    {
        return;
    }

    if (mark < acked) {
        p->report(p->data, MAILPING_PRODUCER_REWOUND, s, acked - mark, NULL);

    } else if (mark > acked) {
        p->report(p->data, MAILPING_PRODUCER_ADVANCED, s, mark - acked, NULL);
    }

    s->state = MAILPING_SOURCE_READY;
    p->watched = s;
}


static int
mailping_producer_seek(mailping_producer_t *p, mailping_source_t *s,
    uint64_t seq, uint64_t *missing)
{
    if (mailping_ring_seek(s->ring, s->partition, seq, missing)
        == MAILPING_OK)
    {
        return MAILPING_OK;
    }

    mailping_producer_stop(p, s, "the spool cannot be read");

    return MAILPING_ERROR;
}


/*
 * A header that cannot be written does not matter here: the acknowledgement
 * holds in memory, and the mark tells the next owner.
 */

static int
mailping_producer_acknowledge(mailping_producer_t *p, mailping_source_t *s,
    uint64_t seq)
{
    if (mailping_ring_acknowledge(s->ring, s->partition, seq, &p->identity)
        == MAILPING_OK
        || s->ring->part[s->partition].acked == seq)
    {
        return MAILPING_OK;
    }

    mailping_producer_stop(p, s, "the spool cannot be read");

    return MAILPING_ERROR;
}


static void
mailping_producer_stop(mailping_producer_t *p, mailping_source_t *s,
    const char *why)
{
    s->state = MAILPING_SOURCE_STOPPED;

    if (why != s->alert) {
        mailping_text_copy(s->alert, sizeof(s->alert), why, strlen(why));
    }

    if (p->watched == s) {
        p->watched = NULL;
    }

    p->report(p->data, MAILPING_PRODUCER_STOPPED, s, 1, s->alert);
}


/* an error outside of a transaction; other is the class of unknown ones */

static int
mailping_producer_refused(mailping_producer_t *p, mailping_source_t *s,
    mailping_redis_error_e other)
{
    mailping_redis_error_e  class;

    class = mailping_error_classify(p->reply.error);

    if (class == MAILPING_REDIS_RETRY) {
        mailping_producer_wait(p, s, p->reply.error);
        return MAILPING_OK;
    }

    if (class == MAILPING_REDIS_PROTOCOL) {

        if (p->waiting) {

            /* EXEC after a refused MULTI, for one */

            return MAILPING_OK;
        }

        class = other;
    }

    return mailping_producer_fail(p, s, class, p->reply.error);
}


/* one report per output is enough */

static void
mailping_producer_wait(mailping_producer_t *p, mailping_source_t *s,
    const char *text)
{
    if (p->waiting) {
        return;
    }

    p->waiting = 1;
    p->error = MAILPING_REDIS_RETRY;

    if (text != p->text) {
        mailping_text_copy(p->text, sizeof(p->text), text, strlen(text));
    }

    p->report(p->data, MAILPING_PRODUCER_FAILED, s, 1, p->text);
}


static int
mailping_producer_fail(mailping_producer_t *p, mailping_source_t *s,
    mailping_redis_error_e class, const char *text)
{
    if (text != p->text) {
        mailping_text_copy(p->text, sizeof(p->text), text, strlen(text));
    }

    p->error = class;

    mailping_producer_reset(p);

    p->link = MAILPING_LINK_BROKEN;

    p->report(p->data, MAILPING_PRODUCER_FAILED, s, 1, p->text);

    return MAILPING_ERROR;
}


/* the first error of a transaction is its reason */

static void
mailping_producer_note(mailping_producer_t *p, const char *text)
{
    if (!p->tx.noted) {
        mailping_text_copy(p->text, sizeof(p->text), text, strlen(text));
        p->tx.noted = 1;
    }
}


static void
mailping_producer_info(mailping_producer_t *p, const char *text, size_t len)
{
    size_t          n;
    const char     *end;
    mailping_str_t  value;

    p->info = 0;

    while (len != 0) {
        end = memchr(text, '\n', len);
        n = end != NULL ? (size_t) (end - text) + 1 : len;

        value = mailping_info_value(text, n, "run_id:");

        if (value.data != NULL
            && mailping_info_id(value, p->identity.run_id) == MAILPING_OK)
        {
            p->info |= MAILPING_INFO_RUN_ID;
        }

        value = mailping_info_value(text, n, "master_replid:");

        if (value.data != NULL
            && mailping_info_id(value, p->identity.replid) == MAILPING_OK)
        {
            p->info |= MAILPING_INFO_REPLID;
        }

        value = mailping_info_value(text, n, "maxmemory_policy:");

        if (value.len >= sizeof("allkeys-") - 1
            && memcmp(value.data, "allkeys-", sizeof("allkeys-") - 1) == 0)
        {
            p->info |= MAILPING_INFO_EVICTS;
        }

        value = mailping_info_value(text, n, "redis_version:");

        if (value.data != NULL) {
            mailping_text_copy(p->version, sizeof(p->version),
                               (const char *) value.data, value.len);
        }

        text += n;
        len -= n;
    }
}


/* the value in a line "name:value\r\n"; data is NULL in other lines */

static mailping_str_t
mailping_info_value(const char *line, size_t len, const char *name)
{
    size_t          n;
    mailping_str_t  value;

    static const mailping_str_t  none = mailping_null_string;

    n = strlen(name);

    if (len < n || memcmp(line, name, n) != 0) {
        return none;
    }

    while (len > n && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
        len--;
    }

    value.len = len - n;
    value.data = (const uint8_t *) line + n;

    return value;
}


static int
mailping_info_id(mailping_str_t value, uint8_t id[20])
{
    size_t   i;
    uint8_t  c, digit;

    if (value.len != 40) {
        return MAILPING_ERROR;
    }

    for (i = 0; i < value.len; i++) {
        c = value.data[i];

        if (c >= '0' && c <= '9') {
            digit = (uint8_t) (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            digit = (uint8_t) (c - 'a' + 10);

        } else {
            return MAILPING_ERROR;
        }

        id[i / 2] = (uint8_t) (i % 2 ? id[i / 2] | digit : digit << 4);
    }

    return MAILPING_OK;
}


/* a transaction that was refused as a whole names its reason at the end */

static mailping_redis_error_e
mailping_error_classify(const char *text)
{
    size_t       i;
    const char  *reason;

    static const char  because[] = "because of: ";

    if (mailping_error_begins(text, "EXECABORT")) {
        reason = strstr(text, because);

        if (reason == NULL) {
            return MAILPING_REDIS_PROTOCOL;
        }

        text = reason + sizeof(because) - 1;
    }

    for (i = 0;
         i < sizeof(mailping_error_classes)
             / sizeof(mailping_error_classes[0]);
         i++)
    {
        if (mailping_error_begins(text, mailping_error_classes[i].word)) {
            return mailping_error_classes[i].class;
        }
    }

    return MAILPING_REDIS_PROTOCOL;
}


static int
mailping_error_begins(const char *text, const char *word)
{
    size_t  n;

    n = strlen(word);

    return strncmp(text, word, n) == 0
           && (text[n] == '\0' || text[n] == ' ' || text[n] == ',');
}


/* copies what fits; what could confuse a log is not copied */

static void
mailping_text_copy(char *dst, size_t size, const char *text, size_t len)
{
    size_t  i;

    if (len > size - 1) {
        len = size - 1;
    }

    for (i = 0; i < len; i++) {
        dst[i] = (text[i] >= 0x20 && text[i] < 0x7f) ? text[i] : '?';
    }

    dst[len] = '\0';
}


static mailping_str_t
mailping_number_text(char buf[MAILPING_NUMBER_TEXT], uint64_t n)
{
    mailping_str_t  text;

    text.len = (size_t) snprintf(buf, MAILPING_NUMBER_TEXT, "%" PRIu64, n);
    text.data = (const uint8_t *) buf;

    return text;
}


static void
mailping_reply_reset(mailping_reply_t *r)
{
    r->type = 0;
    r->elements = 0;
    r->leading = 0;
    r->integers = 0;
    r->statuses = 0;
    r->id = 0;
    r->text[0] = '\0';
    r->error[0] = '\0';
}


static int
mailping_reply_is(const mailping_reply_t *r, int type, const char *text)
{
    return r->type == type && strcmp(r->text, text) == 0;
}


/*
 * Reply functions of hiredis.  The task tells type and place; ours are called
 * in the order of the bytes, an array before its elements.
 */

static int
mailping_reply_depth(const redisReadTask *task)
{
    if (task->parent == NULL) {
        return 0;
    }

    return task->parent->parent == NULL ? 1 : 2;
}


static void *
mailping_reply_string(const redisReadTask *task, char *str, size_t len)
{
    int                   depth;
    size_t                i;
    mailping_reply_t     *r;
    mailping_producer_t  *p;

    p = task->privdata;
    r = &p->reply;
    depth = mailping_reply_depth(task);

    if (task->type == REDIS_REPLY_ERROR && r->error[0] == '\0') {
        mailping_text_copy(r->error, sizeof(r->error), str, len);
    }

    if (depth == 0) {
        r->type = task->type;

        if (task->type == REDIS_REPLY_STRING
            && mailping_producer_busy(p)
            && p->expect[p->received] == MAILPING_EXPECT_INFO)
        {
            mailping_producer_info(p, str, len);
            return &mailping_reply_object;
        }
    }

    if (depth == 0 || (depth == 1 && task->idx == 0)) {
        mailping_text_copy(r->text, sizeof(r->text), str, len);
    }

    if (depth != 1) {
        return &mailping_reply_object;
    }

    if (task->type == REDIS_REPLY_STATUS) {
        r->statuses++;

    } else if (task->type == REDIS_REPLY_STRING
               && (size_t) task->idx == r->leading)
    {
        r->leading++;
        r->id = 0;

        for (i = 0; i < len && str[i] >= '0' && str[i] <= '9'; i++) {
            r->id = r->id * 10 + (uint64_t) (str[i] - '0');
        }
    }

    return &mailping_reply_object;
}


static void *
mailping_reply_array(const redisReadTask *task, mailping_reply_count_t n)
{
    mailping_producer_t  *p;

    if (n > MAILPING_REPLY_ELEMENTS) {
        return NULL;
    }

    p = task->privdata;

    if (mailping_reply_depth(task) == 0 && task->type == REDIS_REPLY_ARRAY) {
        p->reply.type = REDIS_REPLY_ARRAY;
        p->reply.elements = (size_t) n;
    }

    return &mailping_reply_object;
}


static void *
mailping_reply_integer(const redisReadTask *task, long long n)
{
    mailping_producer_t  *p;

    p = task->privdata;

    if (mailping_reply_depth(task) == 0) {
        p->reply.type = REDIS_REPLY_INTEGER;

    } else if (mailping_reply_depth(task) == 1) {
        p->reply.integers++;
    }

    (void) n;

    return &mailping_reply_object;
}


static void *
mailping_reply_nil(const redisReadTask *task)
{
    mailping_producer_t  *p;

    p = task->privdata;

    if (mailping_reply_depth(task) == 0) {
        p->reply.type = REDIS_REPLY_NIL;
    }

    return &mailping_reply_object;
}


static void
mailping_reply_free(void *object)
{
    (void) object;
}
