
/*
 * Copyright (C) MailPing
 */


#include <inttypes.h>
#include <stdio.h>

#include "producer_state.h"


#define MAILPING_BACKOFF_MIN  100
#define MAILPING_BACKOFF_MAX  5000


int
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

int
mailping_producer_acknowledge(mailping_producer_t *p, mailping_source_t *s,
    uint64_t seq)
{
    if (mailping_ring_acknowledge(s->ring, s->partition, seq,
                                  &p->info.identity)
        == MAILPING_OK
        || s->ring->part[s->partition].acked == seq)
    {
        return MAILPING_OK;
    }

    mailping_producer_stop(p, s, "the spool cannot be read");

    return MAILPING_ERROR;
}


void
mailping_producer_stop(mailping_producer_t *p, mailping_source_t *s,
    const char *why)
{
    s->state = MAILPING_SOURCE_STOPPED;

    if (why != s->alert) {
        mailping_redis_text(s->alert, sizeof(s->alert), why, strlen(why));
    }

    if (p->watched == s) {
        p->watched = NULL;
    }

    p->report(p->data, MAILPING_PRODUCER_STOPPED, s, 1, s->alert);
}


void
mailping_producer_wait(mailping_producer_t *p, mailping_source_t *s,
    const char *text)
{
    if (p->retry_at != 0) {
        return;
    }

    p->backoff = p->backoff == 0 ? MAILPING_BACKOFF_MIN : p->backoff * 2;

    if (p->backoff > MAILPING_BACKOFF_MAX) {
        p->backoff = MAILPING_BACKOFF_MAX;
    }

    p->random = p->random * 1103515245 + 12345;
    p->retry_at = p->now + p->backoff - (p->random >> 16) % (p->backoff / 4);

    p->error = MAILPING_REDIS_RETRY;
    mailping_producer_words(p, text);

    p->report(p->data, MAILPING_PRODUCER_FAILED, s, 1, p->text);
}


int
mailping_producer_fail(mailping_producer_t *p, mailping_source_t *s,
    mailping_redis_error_e class, const char *text)
{
    p->link = MAILPING_LINK_DOWN;
    mailping_pipeline_begin(&p->pipeline);

    p->error = class;
    mailping_producer_words(p, text);

    p->report(p->data, MAILPING_PRODUCER_FAILED, s, 1, p->text);

    return MAILPING_ERROR;
}


int
mailping_producer_refused(mailping_producer_t *p, mailping_source_t *s,
    mailping_redis_error_e unknown)
{
    const char              *text;
    mailping_redis_error_e   class;

    text = p->replies.reply.error;
    class = mailping_redis_error_class(text);

    /* the mark of a source that is not watched or not checked is no news */

    p->target = NULL;

    if (class == MAILPING_REDIS_RETRY) {
        mailping_producer_wait(p, s, text);
        return MAILPING_OK;
    }

    if (class == MAILPING_REDIS_PROTOCOL) {

        if (p->retry_at != 0) {

            /* EXEC after a refused MULTI, for one */

            return MAILPING_OK;
        }

        class = unknown;
    }

    return mailping_producer_fail(p, s, class, text);
}


int
mailping_producer_denied(mailping_producer_t *p, const char *text)
{
    mailping_source_t  *s;

    s = p->turn;

    if (s == NULL
        || !mailping_redis_error_is(text, "NOPERM")
        || mailping_str_equal(s->ring->params.prefix, p->conf->prefix))
    {
        return 0;
    }

    if (s->state != MAILPING_SOURCE_STOPPED) {
        mailping_producer_stop(p, s, text);
    }

    return 1;
}


void
mailping_producer_words(mailping_producer_t *p, const char *text)
{
    if (text != p->text) {
        mailping_redis_text(p->text, sizeof(p->text), text, strlen(text));
    }
}


mailping_str_t
mailping_number(char buf[MAILPING_NUMBER_TEXT], uint64_t n)
{
    int  len;

    len = snprintf(buf, MAILPING_NUMBER_TEXT, "%" PRIu64, n);

    return mailping_str(buf, (size_t) len);
}
