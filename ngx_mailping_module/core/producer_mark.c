
/*
 * Copyright (C) MailPing
 */


#include "producer_state.h"


static int mailping_producer_number(const char *text, uint64_t *n);
static void mailping_producer_decide(mailping_producer_t *p,
    mailping_source_t *s, uint64_t mark);


/*
 * INFO and TYPE come after WATCH, so that they describe a server that has not
 * changed unnoticed until EXEC.
 */

void
mailping_producer_watch(mailping_producer_t *p, mailping_source_t *s)
{
    mailping_str_t        mark, stream;
    mailping_pipeline_t  *l;

    l = &p->pipeline;
    mark = mailping_str(s->mark, s->mark_len);
    stream = mailping_str(s->stream, s->stream_len);

    if (p->watching) {
        mailping_pipeline_add(l, MAILPING_COMMAND_UNWATCH, NULL);
    }

    mailping_pipeline_add(l, MAILPING_COMMAND_WATCH, &mark, NULL);

    if (s->state == MAILPING_SOURCE_NEW) {
        mailping_pipeline_add(l, MAILPING_COMMAND_INFO, NULL);
        mailping_pipeline_add(l, MAILPING_COMMAND_TYPE, &stream, NULL);
        mailping_pipeline_add(l, MAILPING_COMMAND_CHECK, &mark, NULL);

    } else {
        mailping_pipeline_add(l, MAILPING_COMMAND_GET, &mark, NULL);
    }

    p->watching = 1;
    p->watched = NULL;
    p->target = s;
    p->turn = s;
}


int
mailping_producer_mark(mailping_producer_t *p)
{
    uint64_t            mark;
    mailping_reply_t   *r;
    mailping_source_t  *s;

    r = &p->replies.reply;
    s = p->target;
    p->target = NULL;

    if (r->type == REDIS_REPLY_ERROR) {

        if (s != NULL
            && mailping_redis_error_class(r->error) == MAILPING_REDIS_TYPE)
        {
            mailping_producer_stop(p, s, "the mark is of the wrong type");
            return MAILPING_OK;
        }

        if (mailping_producer_denied(p, r->error)) {
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

    if (r->type == REDIS_REPLY_STRING
        && mailping_producer_number(r->text, &mark) != MAILPING_OK)
    {
        mailping_producer_stop(p, s, "the mark is not a number");
        return MAILPING_OK;
    }

    if (mailping_pipeline_next(&p->pipeline) == MAILPING_COMMAND_CHECK) {
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


static int
mailping_producer_number(const char *text, uint64_t *n)
{
    const char  *p;

    *n = 0;

    for (p = text; *p != '\0'; p++) {

        if (*p < '0' || *p > '9' || *n > (UINT64_MAX - 9) / 10) {
            return MAILPING_ERROR;
        }

        *n = *n * 10 + (uint64_t) (*p - '0');
    }

    return p != text ? MAILPING_OK : MAILPING_ERROR;
}


/*
 * The decision table.  Where the stream should be is a key of another type:
 * whatever was added since the last acknowledgement is not there, but the mark
 * may have moved in a transaction whose reply was lost.
 */

static void
mailping_producer_decide(mailping_producer_t *p, mailping_source_t *s,
    uint64_t mark)
{
    int                         same;
    uint64_t                    acked, missing;
    mailping_ring_partition_t  *part;

    static const char  mistyped[] = "the stream's key is of another type";

    part = &s->ring->part[s->partition];
    acked = part->acked;
    same = memcmp(&part->identity, &p->info.identity,
                  sizeof(mailping_identity_t)) == 0;

    if (s->wrong == 0 && p->mistyped && mark > acked && mark <= part->head) {
        s->wrong = mark;
        mailping_redis_text(s->alert, sizeof(s->alert), mistyped,
                            sizeof(mistyped) - 1);
    }

    if (s->wrong != 0) {

        if (s->wrong == mark) {
            mailping_producer_plan(p, s, MAILPING_TRANSACTION_UNDO, acked);
            return;
        }

        s->wrong = 0;
    }

    s->alert[0] = '\0';

    if (p->mistyped) {
        mailping_producer_stop(p, s, mistyped);
        return;
    }

    if (mark > part->head) {
        mailping_producer_stop(p, s, "the mark is above the last record: the "
                               "ring is a copy, or an old one");
        return;
    }

    if (mark < acked && same) {
        mailping_producer_plan(p, s, MAILPING_TRANSACTION_RESTORE, acked);
        return;
    }

    if (mailping_producer_seek(p, s, mark, &missing) != MAILPING_OK) {
        return;
    }

    if (mark < acked && missing != 0) {
        mailping_producer_plan(p, s, MAILPING_TRANSACTION_SKIP,
                               mark + missing);
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
