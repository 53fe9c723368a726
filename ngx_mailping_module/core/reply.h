
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_REPLY_H
#define MAILPING_REPLY_H


#include <hiredis/read.h>

#include "redis.h"


/*
 * Replies in RESP2, parsed by hiredis' reader.  No objects are built: what
 * the conversation has to know of a reply is noted while its bytes go by, so
 * nothing is allocated but the reader and its buffer, and that is bounded.
 */

typedef struct {
    int                  type;       /* REDIS_REPLY_..., 0 = none of these */
    size_t               elements;
    size_t               leading;    /* elements that are strings, up to the
                                        first that is not */
    size_t               integers;   /* among the elements */
    size_t               statuses;
    uint64_t             id;         /* ms of the last leading string */
    char                 text[MAILPING_REDIS_TEXT];   /* or first element's */
    char                 error[MAILPING_REDIS_TEXT];  /* the first one */
} mailping_reply_t;


/*
 * Takes a string that is a whole reply, of any length, while its bytes are
 * there.
 */

typedef void (*mailping_reply_string_pt)(void *data, const char *text,
    size_t len);


/* the caller sets string and data, and zeroes the rest */

typedef struct {
    redisReader               *reader;
    size_t                     fed;      /* bytes since the last reply */
    mailping_reply_t           reply;
    unsigned                   whole:1;  /* reply is complete */
    mailping_reply_string_pt   string;
    void                      *data;
} mailping_replies_t;


/*
 * Begin and end a connection's replies.  Without memory the first
 * mailping_replies_next() fails.
 */
void mailping_replies_open(mailping_replies_t *r);
void mailping_replies_close(mailping_replies_t *r);

/*
 * Takes bytes from *data, of *n, until r->reply is the next whole reply.
 * Returns MAILPING_AGAIN when the bytes do not suffice, all are taken then,
 * and MAILPING_ERROR with *why when they are no replies, or too long ones;
 * the connection is to be closed then.
 */
int mailping_replies_next(mailping_replies_t *r, const uint8_t **data,
    size_t *n, const char **why);

/* Whether a reply is of this type and has this text. */
int mailping_reply_is(const mailping_reply_t *r, int type, const char *text);


#endif /* MAILPING_REPLY_H */
