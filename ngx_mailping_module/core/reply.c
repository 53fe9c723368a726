
/*
 * Copyright (C) MailPing
 */


#include <hiredis/hiredis.h>

#include "reply.h"


#define MAILPING_REPLY_FEED      16384         /* bytes per hiredis feed */
#define MAILPING_REPLY_MAX       (256 * 1024)  /* an incomplete reply */
#define MAILPING_REPLY_ELEMENTS  4096          /* ROLE lists all replicas */


#if (HIREDIS_MAJOR < 1)
typedef int     mailping_reply_count_t;
#else
typedef size_t  mailping_reply_count_t;
#endif


static void mailping_reply_reset(mailping_reply_t *r);
static int mailping_reply_depth(const redisReadTask *task);
static void *mailping_reply_string(const redisReadTask *task, char *str,
    size_t len);
static void *mailping_reply_array(const redisReadTask *task,
    mailping_reply_count_t n);
static void *mailping_reply_integer(const redisReadTask *task, long long n);
static void *mailping_reply_nil(const redisReadTask *task);
static void mailping_reply_free(void *object);


static redisReplyObjectFunctions  mailping_reply_functions = {
    .createString = mailping_reply_string,
    .createArray = mailping_reply_array,
    .createInteger = mailping_reply_integer,
    .createNil = mailping_reply_nil,
    .freeObject = mailping_reply_free
};


/* hiredis wants a pointer for each reply and each element */

static char  mailping_reply_object;


void
mailping_replies_open(mailping_replies_t *r)
{
    mailping_replies_close(r);

    r->reader = redisReaderCreateWithFunctions(&mailping_reply_functions);

    if (r->reader != NULL) {
        r->reader->privdata = r;

        /* a reader that frees its buffer when idle would allocate again */

        r->reader->maxbuf = 0;
    }

    r->fed = 0;
    r->whole = 1;
}


void
mailping_replies_close(mailping_replies_t *r)
{
    if (r->reader != NULL) {
        redisReaderFree(r->reader);
        r->reader = NULL;
    }
}


int
mailping_replies_next(mailping_replies_t *r, const uint8_t **data, size_t *n,
    const char **why)
{
    void    *object;
    size_t   size;

    if (r->reader == NULL) {
        *why = "no memory for a reply reader";
        return MAILPING_ERROR;
    }

    if (r->whole) {
        mailping_reply_reset(&r->reply);
        r->whole = 0;
    }

    for ( ;; ) {

        if (redisReaderGetReply(r->reader, &object) != REDIS_OK) {
            *why = r->reader->errstr;
            return MAILPING_ERROR;
        }

        if (object != NULL) {
            r->fed = r->reader->len - r->reader->pos;
            r->whole = 1;
            return MAILPING_OK;
        }

        if (r->fed > MAILPING_REPLY_MAX) {
            *why = "a reply is too long";
            return MAILPING_ERROR;
        }

        if (*n == 0) {
            return MAILPING_AGAIN;
        }

        size = *n < MAILPING_REPLY_FEED ? *n : MAILPING_REPLY_FEED;

        if (redisReaderFeed(r->reader, (const char *) *data, size)
            != REDIS_OK)
        {
            *why = r->reader->errstr;
            return MAILPING_ERROR;
        }

        *data += size;
        *n -= size;
        r->fed += size;
    }
}


int
mailping_reply_is(const mailping_reply_t *r, int type, const char *text)
{
    return r->type == type && strcmp(r->text, text) == 0;
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
    int                  depth;
    size_t               i;
    mailping_reply_t    *r;
    mailping_replies_t  *replies;

    replies = task->privdata;
    r = &replies->reply;
    depth = mailping_reply_depth(task);

    if (task->type == REDIS_REPLY_ERROR && r->error[0] == '\0') {
        mailping_redis_text(r->error, sizeof(r->error), str, len);
    }

    if (depth == 0) {
        r->type = task->type;

        if (task->type == REDIS_REPLY_STRING) {
            replies->string(replies->data, str, len);
        }
    }

    if (depth == 0 || (depth == 1 && task->idx == 0)) {
        mailping_redis_text(r->text, sizeof(r->text), str, len);
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
    mailping_replies_t  *replies;

    if (n > MAILPING_REPLY_ELEMENTS) {
        return NULL;
    }

    replies = task->privdata;

    if (mailping_reply_depth(task) == 0 && task->type == REDIS_REPLY_ARRAY) {
        replies->reply.type = REDIS_REPLY_ARRAY;
        replies->reply.elements = (size_t) n;
    }

    return &mailping_reply_object;
}


static void *
mailping_reply_integer(const redisReadTask *task, long long n)
{
    mailping_replies_t  *replies;

    (void) n;

    replies = task->privdata;

    if (mailping_reply_depth(task) == 0) {
        replies->reply.type = REDIS_REPLY_INTEGER;

    } else if (mailping_reply_depth(task) == 1) {
        replies->reply.integers++;
    }

    return &mailping_reply_object;
}


static void *
mailping_reply_nil(const redisReadTask *task)
{
    mailping_replies_t  *replies;

    replies = task->privdata;

    if (mailping_reply_depth(task) == 0) {
        replies->reply.type = REDIS_REPLY_NIL;
    }

    return &mailping_reply_object;
}


static void
mailping_reply_free(void *object)
{
    (void) object;
}
