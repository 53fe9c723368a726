
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
 *     DOWN --start()--> GREETING --all answered--> UP
 *     any --lost(), or an error that closes the connection--> DOWN
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
 * also over a later connection.  When that reply is lost, a check that finds a
 * key of another type sets the mark back as well.  What is left: the reply of
 * a transaction that lost its rights half-way is lost, or this process crashes
 * before the mark is set back; that batch is lost then.
 *
 * Numbers without an entry.  A record that was damaged in the ring, or that a
 * later version wrote and this one cannot read, is passed over: it would keep
 * all those behind it from their stream.  The mark moves over its number with
 * the batch around it, also when that has no XADD at all, and then, once, the
 * record is reported as missing.
 *
 * Entries are trimmed by XTRIM in the transaction of a batch, once a second:
 * "~" removes whole nodes only, so more often would mostly find nothing.  But
 * one call removes 10000 entries at most (Redis' default LIMIT), so a source
 * that is faster than half of that trims sooner, and keeps up at any rate.
 * The age is counted from the older of two clocks, ours and that of Redis as
 * the last entry's id shows it: one that jumps ahead must not erase a stream.
 */


#include <stdlib.h>

#include "producer_state.h"


static void mailping_producer_greet(mailping_producer_t *p);
static mailping_source_t *mailping_producer_choose(mailping_producer_t *p);
static mailping_source_t *mailping_producer_circle(mailping_producer_t *p,
    mailping_source_t *start);
static int mailping_source_works(const mailping_source_t *s);
static int mailping_producer_rhythm(mailping_producer_t *p);
static int mailping_producer_reply(mailping_producer_t *p);
static int mailping_producer_error_reply(mailping_producer_t *p,
    mailping_command_e command);
static int mailping_producer_fit(mailping_producer_t *p);
static void mailping_producer_string(void *data, const char *text,
    size_t len);


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

    p->replies.string = mailping_producer_string;
    p->replies.data = p;

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

    mailping_replies_close(&p->replies);

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

    tagged = p->conf->tagged || ring->params.partitions > 1;

    s->stream_len = mailping_topology_stream(ring->params.prefix, tagged,
                                             partition,
                                             ring->params.partitions,
                                             s->stream);

    producer = mailping_str(s->producer, s->producer_len);

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
    }

    s->next = NULL;

    return MAILPING_OK;
}


void
mailping_producer_start(mailping_producer_t *p, uint64_t now)
{
    mailping_source_t  *s;

    mailping_producer_lost(p);
    mailping_replies_open(&p->replies);

    for (s = p->sources; s != NULL; s = s->next) {
        s->state = MAILPING_SOURCE_NEW;
    }

    p->error = MAILPING_REDIS_OK;
    p->text[0] = '\0';
    p->sent_at = now - MAILPING_PRODUCER_RHYTHM;
    p->backoff = 0;

    p->link = MAILPING_LINK_GREETING;

    mailping_producer_greet(p);
}


void
mailping_producer_lost(mailping_producer_t *p)
{
    mailping_pipeline_begin(&p->pipeline);

    p->link = MAILPING_LINK_DOWN;
    p->tx.source = NULL;
    p->target = NULL;
    p->watched = NULL;
    p->watching = 0;
    p->retry_at = 0;
}


mailping_str_t
mailping_producer_output(mailping_producer_t *p)
{
    mailping_str_t  output;

    output.len = p->pipeline.length - p->pipeline.sent;
    output.data = p->pipeline.output + p->pipeline.sent;

    return output;
}


void
mailping_producer_sent(mailping_producer_t *p, size_t n)
{
    p->pipeline.sent += n;
}


int
mailping_producer_busy(const mailping_producer_t *p)
{
    return mailping_pipeline_busy(&p->pipeline);
}


uint32_t
mailping_producer_inflight(const mailping_producer_t *p)
{
    if (!mailping_producer_busy(p) || p->tx.source == NULL) {
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


int
mailping_producer_work(mailping_producer_t *p, uint64_t now,
    uint64_t unix_now)
{
    int                 wait;
    mailping_source_t  *s, *next;

    p->now = now;
    p->unix_now = unix_now;

    if (p->pipeline.sent != p->pipeline.length) {
        return 0;
    }

    if (mailping_producer_busy(p) || p->link == MAILPING_LINK_DOWN) {
        return -1;
    }

    if (now < p->retry_at) {
        return (int) (p->retry_at - now);
    }

    p->retry_at = 0;

    if (p->link == MAILPING_LINK_GREETING) {
        mailping_producer_greet(p);
        return 0;
    }

    s = p->tx.source;

    if (s != NULL) {
        mailping_producer_repair(p);
        mailping_producer_watch(p, s);
        return 0;
    }

    for ( ;; ) {
        s = mailping_producer_choose(p);

        if (s == NULL) {
            return -1;
        }

        if (s != p->watched) {
            mailping_pipeline_begin(&p->pipeline);
            mailping_producer_watch(p, s);
            return 0;
        }

        wait = mailping_producer_rhythm(p);

        if (wait > 0) {
            return wait;
        }

        if (mailping_producer_batch(p, s) == MAILPING_OK) {

            /* this one again when nobody else has work */

            next = mailping_producer_circle(p, s->next);
            mailping_producer_watch(p, next != NULL ? next : s);
            return 0;
        }

        /* the source was stopped, or its last records are gone */
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

    p->retry_at = 0;

    mailping_pipeline_begin(&p->pipeline);
    mailping_pipeline_add(&p->pipeline, MAILPING_COMMAND_PING, NULL);
}


/* the watched source first: another one costs a round trip */

static mailping_source_t *
mailping_producer_choose(mailping_producer_t *p)
{
    if (p->watched != NULL && mailping_source_works(p->watched)) {
        return p->watched;
    }

    return mailping_producer_circle(p, p->turn);
}


/* the first with work in the circle of sources, which begins at start */

static mailping_source_t *
mailping_producer_circle(mailping_producer_t *p, mailping_source_t *start)
{
    mailping_source_t  *s;

    for (s = start; s != NULL; s = s->next) {
        if (mailping_source_works(s)) {
            return s;
        }
    }

    for (s = p->sources; s != start; s = s->next) {
        if (mailping_source_works(s)) {
            return s;
        }
    }

    return NULL;
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
mailping_producer_rhythm(mailping_producer_t *p)
{
    uint64_t                  n;
    const mailping_source_t  *s;

    if (p->now - p->sent_at >= MAILPING_PRODUCER_RHYTHM) {
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

    return (int) (p->sent_at + MAILPING_PRODUCER_RHYTHM - p->now);
}


static void
mailping_producer_greet(mailping_producer_t *p)
{
    char                             buf[MAILPING_NUMBER_TEXT];
    mailping_str_t                   database;
    mailping_pipeline_t             *l;
    const mailping_producer_conf_t  *conf;

    static const mailping_str_t  setname = mailping_string("SETNAME");

    conf = p->conf;

    l = &p->pipeline;

    mailping_pipeline_begin(l);

    if (conf->password.len != 0) {

        if (conf->user.len != 0) {
            mailping_pipeline_add(l, MAILPING_COMMAND_AUTH,
                                      &conf->user, &conf->password, NULL);

        } else {
            mailping_pipeline_add(l, MAILPING_COMMAND_AUTH,
                                      &conf->password, NULL);
        }
    }

    if (conf->name.len != 0) {
        mailping_pipeline_add(l, MAILPING_COMMAND_CLIENT, &setname,
                                  &conf->name, NULL);
    }

    if (conf->database != 0) {
        database = mailping_number(buf, conf->database);
        mailping_pipeline_add(l, MAILPING_COMMAND_SELECT,
                                  &database, NULL);
    }

    mailping_pipeline_add(l, MAILPING_COMMAND_ROLE, NULL);
    mailping_pipeline_add(l, MAILPING_COMMAND_INFO, NULL);
    mailping_pipeline_add(l, MAILPING_COMMAND_TRY_MULTI, NULL);
    mailping_pipeline_add(l, MAILPING_COMMAND_TRY_EXEC, NULL);
}


int
mailping_producer_receive(mailping_producer_t *p, const uint8_t *data,
    size_t n, uint64_t now, uint64_t unix_now)
{
    int          rc;
    const char  *why;

    if (p->link == MAILPING_LINK_DOWN) {
        return MAILPING_ERROR;
    }

    p->now = now;

    for ( ;; ) {
        rc = mailping_replies_next(&p->replies, &data, &n, &why);

        if (rc == MAILPING_ERROR) {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                          why);
        }

        if (rc == MAILPING_AGAIN) {
            break;
        }

        if (!mailping_producer_busy(p)) {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                          "a reply to no command");
        }

        if (mailping_producer_reply(p) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        p->pipeline.received++;
    }

    if (mailping_producer_busy(p)) {
        return MAILPING_OK;
    }

    if (p->pipeline.sent != p->pipeline.length) {
        return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                      "a reply before its command");
    }

    if (p->link == MAILPING_LINK_GREETING && p->retry_at == 0) {
        p->link = MAILPING_LINK_UP;
        p->report(p->data, MAILPING_PRODUCER_CONNECTED, NULL, 1,
                  p->info.version);
    }

    (void) mailping_producer_work(p, now, unix_now);

    return MAILPING_OK;
}


/* judges one whole reply */

static int
mailping_producer_reply(mailping_producer_t *p)
{
    int                  good;
    mailping_reply_t    *r;
    mailping_command_e   command;

    r = &p->replies.reply;
    command = mailping_pipeline_next(&p->pipeline);

    switch (command) {

    case MAILPING_COMMAND_MULTI:
    case MAILPING_COMMAND_XADD:
    case MAILPING_COMMAND_XTRIM:
    case MAILPING_COMMAND_SET:
        return mailping_producer_queued(p, command);

    case MAILPING_COMMAND_EXEC:
        return mailping_producer_settle(p);

    case MAILPING_COMMAND_GET:
    case MAILPING_COMMAND_CHECK:
        return mailping_producer_mark(p);

    default:
        break;
    }

    if (r->type == REDIS_REPLY_ERROR) {
        return mailping_producer_error_reply(p, command);
    }

    switch (command) {

    case MAILPING_COMMAND_ROLE:
        good = (r->type == REDIS_REPLY_ARRAY);

        if (good && !mailping_reply_is(r, REDIS_REPLY_ARRAY, "master")) {
            return mailping_producer_fail(p, NULL, MAILPING_REDIS_UNFIT,
                                          "the server is not a master");
        }

        break;

    case MAILPING_COMMAND_INFO:
        good = (r->type == REDIS_REPLY_STRING);

        if (good) {
            return mailping_producer_fit(p);
        }

        break;

    case MAILPING_COMMAND_TRY_EXEC:
        good = (r->type == REDIS_REPLY_ARRAY && r->elements == 0);
        break;

    case MAILPING_COMMAND_TYPE:
        good = (r->type == REDIS_REPLY_STATUS);
        p->mistyped = strcmp(r->text, "stream") != 0
                      && strcmp(r->text, "none") != 0;
        break;

    case MAILPING_COMMAND_PING:
        good = mailping_reply_is(r, REDIS_REPLY_STATUS, "PONG");
        break;

    default:
        good = mailping_reply_is(r, REDIS_REPLY_STATUS, "OK");
    }

    if (!good) {
        return mailping_producer_fail(p, NULL, MAILPING_REDIS_PROTOCOL,
                                      "a reply of an unexpected type");
    }

    return MAILPING_OK;
}


/* an error outside of a transaction */

static int
mailping_producer_error_reply(mailping_producer_t *p,
    mailping_command_e command)
{
    const char              *text;
    mailping_redis_error_e   class, unknown;

    text = p->replies.reply.error;
    class = mailping_redis_error_class(text);
    unknown = MAILPING_REDIS_PROTOCOL;

    switch (command) {

    case MAILPING_COMMAND_AUTH:
        unknown = MAILPING_REDIS_AUTH;
        break;

    case MAILPING_COMMAND_CLIENT:

        /* a name is a convenience, and some rights do not include it */

        if (class == MAILPING_REDIS_PROTOCOL
            || mailping_redis_error_is(text, "NOPERM"))
        {
            return MAILPING_OK;
        }

        break;

    case MAILPING_COMMAND_ROLE:

        if (mailping_redis_error_is(text, "ERR unknown command")) {
            return MAILPING_OK;
        }

        break;

    case MAILPING_COMMAND_TRY_MULTI:
    case MAILPING_COMMAND_TRY_EXEC:
        unknown = MAILPING_REDIS_UNFIT;
        break;

    case MAILPING_COMMAND_WATCH:
    case MAILPING_COMMAND_TYPE:

        if (mailping_producer_denied(p, text)) {
            return MAILPING_OK;
        }

        break;

    case MAILPING_COMMAND_PING:

        /* a server that cannot write its disk answers MISCONF, and lives */

        if (class == MAILPING_REDIS_RETRY) {
            return MAILPING_OK;
        }

        break;

    default:
        break;
    }

    return mailping_producer_refused(p, NULL, unknown);
}


/* whether the server is one that this works with, says INFO */

static int
mailping_producer_fit(mailping_producer_t *p)
{
    if (p->info.evicts) {
        return mailping_producer_fail(p, NULL, MAILPING_REDIS_UNFIT,
                                  "the server's maxmemory-policy evicts any "
                                  "key");
    }

    if (!p->info.run_id || !p->info.replid) {
        return mailping_producer_fail(p, NULL, MAILPING_REDIS_UNFIT,
                                  "the server's INFO has no run_id or "
                                  "master_replid");
    }

    return MAILPING_OK;
}


/* INFO is longer than what is kept of a reply */

static void
mailping_producer_string(void *data, const char *text, size_t len)
{
    mailping_producer_t  *p;

    p = data;

    if (mailping_pipeline_next(&p->pipeline) == MAILPING_COMMAND_INFO) {
        mailping_redis_info(&p->info, text, len);
    }
}
