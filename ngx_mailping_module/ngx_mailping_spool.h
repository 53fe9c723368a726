
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_SPOOL_H_INCLUDED_
#define _NGX_MAILPING_SPOOL_H_INCLUDED_


#include "ngx_mailping.h"
#include "ngx_mailping_sync.h"


/* what the files of the spool share; ngx_mailping.h has what others use */


#define NGX_MAILPING_SPOOL_OWNED     64        /* rings of one worker */
#define NGX_MAILPING_SPOOL_NAME      32        /* hex digits of the uuid */
#define NGX_MAILPING_SPOOL_NAME_MAX  (NGX_MAILPING_SPOOL_NAME                 \
                                      + sizeof(".ring"))


typedef struct {
    ngx_queue_t                queue;
    mailping_ring_t            ring;
    ngx_fd_t                   fd;
    ngx_int_t                  slot;        /* of the sync thread, or -1 */
    ngx_msec_t                 drained;     /* when it was found so */
    ngx_mailping_zone_ring_t  *zr;
    ngx_mailping_spool_t      *spool;
    unsigned                   attached:1;
    unsigned                   idle:1;      /* drained, not appended to */
    unsigned                   lost:1;      /* the file was removed */
    unsigned                   pending:1;   /* no appends until synced */
    char                       name[NGX_MAILPING_SPOOL_NAME_MAX];
} ngx_mailping_file_t;


struct ngx_mailping_spool_s {
    ngx_mailping_worker_t     *worker;
    ngx_log_t                 *log;
    ngx_queue_t                files;
    ngx_uint_t                 nfiles;
    ngx_mailping_file_t       *active;
    ngx_mailping_sync_t       *sync;
    ngx_fd_t                   dir;
    ngx_int_t                  dir_slot;
    size_t                     ring_size;
    mailping_str_t             prefix;
    uint32_t                   partitions;
    u_char                     boot_id[16];

    mailping_loss_t            loss;
    uint64_t                   reported;    /* of loss.count, in the log */
    const char                *failure;     /* last one logged */
    ngx_err_t                  failure_err;
    unsigned                   failing:1;   /* seen again since the tick */
    unsigned                   proved:1;    /* an open was recorded since */
    unsigned                   exhausted:1; /* no ring until the next try */
    unsigned                   starved:1;   /* no ring had room */
    unsigned                   full:1;      /* until a record is delivered */
    unsigned                   roomy:1;     /* within the size, as of tick */
    unsigned                   started:1;

    ngx_event_t                tick;
    ngx_event_t                retry;       /* of a worker without a ring */
    ngx_connection_t           dummy;
};


/* ngx_mailping_directory.c */

/*
 * Whether what exists and one more ring of this size are within the bound.
 * Quarantined files are the operator's and do not count.
 */
ngx_int_t ngx_mailping_spool_room(ngx_mailping_spool_t *spool, size_t size);

/* Logs how many opens the rings hold. */
void ngx_mailping_spool_notice(ngx_mailping_spool_t *spool);

/*
 * A ring that can be appended to: one that nobody holds, or else a new one.
 * NULL: there is none, and errors are logged.
 */
ngx_mailping_file_t *ngx_mailping_spool_find(ngx_mailping_spool_t *spool);

/*
 * Takes a ring that nobody holds and that has something to deliver; one only,
 * because its recovery takes time.
 */
void ngx_mailping_spool_adopt(ngx_mailping_spool_t *spool);

/*
 * Logs what does not work once, until something else does not or until a
 * whole tick passed without it.  what is static text, name may be NULL.
 */
void ngx_mailping_spool_failed(ngx_mailping_spool_t *spool, ngx_uint_t level,
    ngx_err_t err, const char *what, const char *name);


/* ngx_mailping_ring.c */

/* An object for a file that is not open yet; not one of the worker's rings. */
ngx_mailping_file_t *ngx_mailping_file_new(ngx_mailping_spool_t *spool,
    const char *name);

/* Takes or gives back the lock of a ring's file; returns what fcntl() does. */
int ngx_mailping_file_fcntl(ngx_fd_t fd, short type);

/* Opens and locks a file.  NGX_DECLINED: another process has it. */
ngx_int_t ngx_mailping_file_lock(ngx_mailping_file_t *file, const char *name);

/* Recovers a locked ring and makes it one of the worker's, or frees it. */
ngx_int_t ngx_mailping_file_load(ngx_mailping_file_t *file);

/* The parameters that say where and for whom the file is. */
void ngx_mailping_file_params(ngx_mailping_file_t *file, struct stat *st,
    mailping_ring_params_t *params);

/*
 * Prepares a ring to be appended to.  NGX_AGAIN: it will take records when
 * the sync thread has been there, NGX_DECLINED: it never will.
 */
ngx_int_t ngx_mailping_file_begin(ngx_mailping_file_t *file);

/* Shows the ring in the zone, and says that it was written. */
void ngx_mailping_file_publish(ngx_mailping_file_t *file);

/*
 * Takes a ring off the worker's list, closes it cleanly and frees it.
 * NGX_AGAIN: not yet, a batch of it is in flight.
 */
ngx_int_t ngx_mailping_file_release(ngx_mailping_file_t *file);

/*
 * Takes a ring out of use under another name, and frees it.  When a batch of
 * it is in flight it stays, and the next tick comes here again.
 */
void ngx_mailping_file_quarantine(ngx_mailping_file_t *file, const char *why);

/*
 * Unlinks a drained ring, and frees it.  When a batch of it is in flight it
 * stays, for another time.
 */
void ngx_mailping_file_remove(ngx_mailping_file_t *file);

/* Closes and frees a file; its lock ends also if the thread still has it. */
void ngx_mailping_file_free(ngx_mailping_file_t *file);


#endif /* _NGX_MAILPING_SPOOL_H_INCLUDED_ */
