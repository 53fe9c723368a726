
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_REDIS_H
#define MAILPING_REDIS_H


#include "spool.h"


/* What Redis says: its errors, and who it is. */

#define MAILPING_REDIS_TEXT     256    /* of an error, zero-terminated */
#define MAILPING_REDIS_VERSION  32


/* classes of errors, for counters and for what to do (delivery.md 3.5) */

typedef enum {
    MAILPING_REDIS_OK = 0,
    MAILPING_REDIS_RETRY,          /* OOM, MISCONF, NOREPLICAS, LOADING, BUSY,
                                      MASTERDOWN, CLUSTERDOWN, ASK, TRYAGAIN,
                                      max clients: wait, go on */
    MAILPING_REDIS_MOVED,          /* READONLY, MOVED, UNBLOCKED: other node */
    MAILPING_REDIS_AUTH,           /* NOAUTH, WRONGPASS, NOPERM, DENIED */
    MAILPING_REDIS_TYPE,           /* WRONGTYPE: stops the partition */
    MAILPING_REDIS_UNFIT,          /* replica, evicts keys, no transactions,
                                      CROSSSLOT */
    MAILPING_REDIS_PROTOCOL,       /* garbage, or any other error */
    MAILPING_REDIS_ERRORS
} mailping_redis_error_e;


/* what INFO shows of a server */

typedef struct {
    mailping_identity_t  identity;
    char                 version[MAILPING_REDIS_VERSION];
    unsigned             run_id:1;     /* both parts of identity are there */
    unsigned             replid:1;
    unsigned             evicts:1;     /* any key, when memory is full */
} mailping_redis_info_t;


/*
 * The class of an error, told by its words.  A transaction that was refused
 * as a whole names its reason at the end: "EXECABORT ... because of: OOM ...".
 */
mailping_redis_error_e mailping_redis_error_class(const char *text);

/* Whether an error begins with these words. */
int mailping_redis_error_is(const char *text, const char *words);

/* Name of an error class for counters: "retry", "moved", "auth", ... */
const char *mailping_redis_error_name(unsigned class);

/* Reads the text of a whole INFO reply. */
void mailping_redis_info(mailping_redis_info_t *info, const char *text,
    size_t len);

/*
 * Copies what fits into dst, which has size bytes, and terminates it; bytes
 * that could confuse a log become "?".
 */
void mailping_redis_text(char *dst, size_t size, const char *text, size_t len);


#endif /* MAILPING_REDIS_H */
