
/*
 * Copyright (C) MailPing
 */


#include "producer_state.h"


/* room that a batch leaves for what follows its records: six keys at most */

#define MAILPING_BATCH_TAIL      4096
#define MAILPING_BATCH_COMMANDS  16

#define MAILPING_FAILURES_MAX    3

#define MAILPING_TRIM_INTERVAL   1000          /* ms */
#define MAILPING_TRIM_RECORDS    5000


_Static_assert(MAILPING_PRODUCER_BATCH_MAX + MAILPING_BATCH_COMMANDS
               <= MAILPING_PIPELINE_COMMANDS, "a batch fits");


static void mailping_producer_trim(mailping_producer_t *p);
static void mailping_producer_commit(mailping_producer_t *p);
static void mailping_producer_note(mailping_producer_t *p, const char *text);
static int mailping_producer_judge(mailping_producer_t *p);
static int mailping_producer_partly(mailping_producer_t *p);
static void mailping_producer_applied(mailping_producer_t *p);
static int mailping_producer_delivered(mailping_producer_t *p, uint64_t seq);


void
mailping_producer_plan(mailping_producer_t *p, mailping_source_t *s,
    mailping_transaction_e kind, uint64_t value)
{
    mailping_transaction_t  *tx;

    tx = &p->tx;

    tx->source = s;
    tx->kind = kind;
    tx->value = value;
    tx->missing = 0;
    tx->n = 0;
    tx->trims = 0;
    tx->unreadable = 0;
    tx->added = 0;
    tx->set = 0;
    tx->refused = 0;
    tx->error = MAILPING_REDIS_OK;
}


/*
 * A record that is no entry for this version is passed over, as a damaged one
 * is by the ring: it must not keep those behind it from their stream for ever.
 * A batch may consist of such records only, and moves the mark then.
 */

int
mailping_producer_batch(mailping_producer_t *p, mailping_source_t *s)
{
    int                      rc, len;
    uint32_t                 n;
    mailping_str_t           stream, producer;
    mailping_record_t        record;
    mailping_pipeline_t     *l;
    mailping_transaction_t  *tx;

    tx = &p->tx;
    l = &p->pipeline;
    stream = mailping_str(s->stream, s->stream_len);
    producer = mailping_str(s->producer, s->producer_len);

    mailping_producer_plan(p, s, MAILPING_TRANSACTION_DELIVER, 0);

    mailping_pipeline_begin(l);
    mailping_pipeline_add(l, MAILPING_COMMAND_MULTI, NULL);

    rc = MAILPING_DECLINED;

    for (n = 0; n < p->conf->batch && n < MAILPING_PRODUCER_BATCH_MAX; n++) {

        if (MAILPING_PIPELINE_OUTPUT - l->length
            < MAILPING_EVENT_XADD_MAX + MAILPING_BATCH_TAIL)
        {
            break;
        }

        rc = mailping_ring_read(s->ring, s->partition, &record);

        if (rc != MAILPING_OK) {
            break;
        }

        tx->value = record.seq;

        len = mailping_event_xadd(record.type, record.version, record.payload,
                                  stream, producer, record.seq,
                                  l->output + l->length);

        if (len == MAILPING_ERROR) {
            tx->unreadable++;
            continue;
        }

        mailping_pipeline_added(l, MAILPING_COMMAND_XADD, (size_t) len);

        tx->seq[tx->n++] = record.seq;
    }

    if (n == 0) {
        mailping_pipeline_begin(l);
        tx->source = NULL;

        if (s->ring->part[s->partition].held != 0) {
            mailping_producer_stop(p, s, rc == MAILPING_ERROR
                               ? "the spool cannot be read"
                               : "the spool has lost its undelivered records");
        }

        return MAILPING_DECLINED;
    }

    mailping_producer_trim(p);
    mailping_producer_commit(p);

    p->sent_at = p->now;

    return MAILPING_OK;
}


static void
mailping_producer_trim(mailping_producer_t *p)
{
    char                             buf[MAILPING_NUMBER_TEXT];
    uint64_t                         newest;
    mailping_str_t                   stream, limit;
    mailping_source_t               *s;
    const mailping_producer_conf_t  *conf;

    static const mailping_str_t  about = mailping_string("~");
    static const mailping_str_t  minid = mailping_string("MINID");
    static const mailping_str_t  maxlen = mailping_string("MAXLEN");

    conf = p->conf;
    s = p->tx.source;

    s->untrimmed += p->tx.n;

    if (p->now - s->trimmed < MAILPING_TRIM_INTERVAL
        && s->untrimmed < MAILPING_TRIM_RECORDS)
    {
        return;
    }

    stream = mailping_str(s->stream, s->stream_len);
    newest = s->newest < p->unix_now ? s->newest : p->unix_now;

    if (conf->retain != 0 && newest > conf->retain) {
        limit = mailping_number(buf, newest - conf->retain);
        mailping_pipeline_add(&p->pipeline, MAILPING_COMMAND_XTRIM, &stream,
                              &minid, &about, &limit, NULL);
        p->tx.trims++;
    }

    if (conf->maxlen != 0) {
        limit = mailping_number(buf, conf->maxlen);
        mailping_pipeline_add(&p->pipeline, MAILPING_COMMAND_XTRIM, &stream,
                              &maxlen, &about, &limit, NULL);
        p->tx.trims++;
    }

    if (p->tx.trims != 0) {
        s->trimmed = p->now;
        s->untrimmed = 0;
    }
}


void
mailping_producer_repair(mailping_producer_t *p)
{
    mailping_pipeline_begin(&p->pipeline);
    mailping_pipeline_add(&p->pipeline, MAILPING_COMMAND_MULTI, NULL);
    mailping_producer_commit(p);
}


static void
mailping_producer_commit(mailping_producer_t *p)
{
    char            buf[MAILPING_NUMBER_TEXT];
    mailping_str_t  mark, value;

    mark = mailping_str(p->tx.source->mark, p->tx.source->mark_len);
    value = mailping_number(buf, p->tx.value);

    mailping_pipeline_add(&p->pipeline, MAILPING_COMMAND_SET, &mark, &value,
                          NULL);
    mailping_pipeline_add(&p->pipeline, MAILPING_COMMAND_EXEC, NULL);

    /* EXEC clears it, also when it fails */

    p->watching = 0;
}


/*
 * A reply to MULTI or to a command after it, which is "QUEUED", or what the
 * command has done when MULTI was refused.
 */

int
mailping_producer_queued(mailping_producer_t *p, mailping_command_e command)
{
    int                      good;
    mailping_reply_t        *r;
    mailping_transaction_t  *tx;

    tx = &p->tx;
    r = &p->replies.reply;

    if (r->type == REDIS_REPLY_ERROR) {

        if (command == MAILPING_COMMAND_MULTI) {
            tx->refused = 1;
        }

        mailping_producer_note(p, r->error);

        return MAILPING_OK;
    }

    if (command == MAILPING_COMMAND_MULTI) {
        good = mailping_reply_is(r, REDIS_REPLY_STATUS, "OK");

    } else if (!tx->refused) {
        good = mailping_reply_is(r, REDIS_REPLY_STATUS, "QUEUED");

    } else if (command == MAILPING_COMMAND_XADD) {
        good = (r->type == REDIS_REPLY_STRING);

        /* the first command of the output is MULTI */

        if (good && tx->added + 1 == p->pipeline.received) {
            tx->added++;
        }

    } else if (command == MAILPING_COMMAND_XTRIM) {
        good = (r->type == REDIS_REPLY_INTEGER);

    } else {
        good = mailping_reply_is(r, REDIS_REPLY_STATUS, "OK");
        tx->set = good;
    }

    if (!good) {
        return mailping_producer_fail(p, tx->source, MAILPING_REDIS_PROTOCOL,
                                      "a reply of an unexpected type");
    }

    return MAILPING_OK;
}


/* the first error of a transaction is its reason */

static void
mailping_producer_note(mailping_producer_t *p, const char *text)
{
    if (p->tx.error == MAILPING_REDIS_OK) {
        p->tx.error = mailping_redis_error_class(text);
        mailping_producer_words(p, text);
    }
}


int
mailping_producer_settle(mailping_producer_t *p)
{
    int  rc;

    rc = mailping_producer_judge(p);

    p->tx.source = NULL;

    return rc;
}


static int
mailping_producer_judge(mailping_producer_t *p)
{
    mailping_reply_t        *r;
    mailping_source_t       *s;
    mailping_transaction_t  *tx;

    tx = &p->tx;
    s = tx->source;
    r = &p->replies.reply;

    if (r->type == REDIS_REPLY_NIL && tx->error == MAILPING_REDIS_OK) {

        /* the fence: the mark has moved */

        s->state = MAILPING_SOURCE_NEW;
        return MAILPING_OK;
    }

    if (r->type == REDIS_REPLY_ARRAY && tx->error == MAILPING_REDIS_OK
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

    if (tx->added != tx->n || !tx->set) {
        return mailping_producer_partly(p);
    }

    mailping_producer_applied(p);

    if (tx->refused) {

        /* done, but not in a transaction: the next one may not be */

        return mailping_producer_fail(p, s, tx->error, p->text);
    }

    if (tx->error != MAILPING_REDIS_OK) {

        /* only the stream was not trimmed */

        p->error = tx->error;
        p->report(p->data, MAILPING_PRODUCER_FAILED, s, 1, p->text);
    }

    return MAILPING_OK;
}


/* nothing of the transaction was executed, or not all of it */

static int
mailping_producer_partly(mailping_producer_t *p)
{
    int                      applied;
    uint64_t                 missing;
    mailping_source_t       *s;
    mailping_transaction_t  *tx;

    tx = &p->tx;
    s = tx->source;

    applied = tx->added != 0 || tx->set;

    if (applied || tx->refused) {
        s->state = MAILPING_SOURCE_NEW;
    }

    if (tx->set) {
        s->wrong = tx->value;
        s->alert[0] = '\0';
    }

    if (tx->added != 0
        && mailping_producer_delivered(p, tx->seq[tx->added - 1])
           != MAILPING_OK)
    {
        return MAILPING_OK;
    }

    switch (tx->error) {

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

            mailping_redis_text(s->alert, sizeof(s->alert), p->text,
                                strlen(p->text));
            return MAILPING_OK;
        }

        if (tx->error == MAILPING_REDIS_TYPE
            || ++s->failures >= MAILPING_FAILURES_MAX)
        {
            mailping_producer_stop(p, s, p->text);
            return MAILPING_OK;
        }

        /* fall through */

    default:
        return mailping_producer_fail(p, s, tx->error, p->text);
    }
}


static void
mailping_producer_applied(mailping_producer_t *p)
{
    uint64_t                 acked, missing;
    mailping_source_t       *s;
    mailping_transaction_t  *tx;

    tx = &p->tx;
    s = tx->source;
    acked = s->ring->part[s->partition].acked;

    p->backoff = 0;
    s->failures = 0;

    switch (tx->kind) {

    case MAILPING_TRANSACTION_DELIVER:

        (void) mailping_producer_delivered(p, tx->value);

        return;

    case MAILPING_TRANSACTION_RESTORE:

        if (mailping_producer_seek(p, s, tx->value, &missing) == MAILPING_OK) {
            s->state = MAILPING_SOURCE_READY;
            p->report(p->data, MAILPING_PRODUCER_RESTORED, s, 1, NULL);
        }

        return;

    case MAILPING_TRANSACTION_SKIP:

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

    case MAILPING_TRANSACTION_UNDO:

        s->wrong = 0;

        if (s->alert[0] != '\0') {
            mailping_producer_stop(p, s, s->alert);
        }
    }
}


/* the records that the transaction added are those up to seq */

static int
mailping_producer_delivered(mailping_producer_t *p, uint64_t seq)
{
    uint64_t                 missing;
    mailping_source_t       *s;
    mailping_transaction_t  *tx;

    tx = &p->tx;
    s = tx->source;

    missing = seq - s->ring->part[s->partition].acked - tx->added;

    if (mailping_producer_acknowledge(p, s, seq) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    if (p->replies.reply.id != 0) {
        s->newest = p->replies.reply.id;
    }

    p->report(p->data, MAILPING_PRODUCER_ACKNOWLEDGED, s, tx->added, NULL);

    /* numbers without an entry: passed over above, or damaged in the spool */

    if (missing != 0) {
        p->report(p->data, MAILPING_PRODUCER_MISSING, s, missing,
                  tx->unreadable != 0
                  ? "the spool holds records that this version cannot read"
                  : "records in the spool are damaged");
    }

    return MAILPING_OK;
}
