
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_SYNC_H_INCLUDED_
#define _NGX_MAILPING_SYNC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* files that one worker may have synced; removed ones leave with a delay */

#define NGX_MAILPING_SYNC_FILES  160


typedef struct ngx_mailping_sync_s  ngx_mailping_sync_t;


/*
 * Starts the worker's thread, which once in the interval makes durable what
 * was written to the files given to it.  NULL: it cannot be started, and the
 * reason is logged.
 */
ngx_mailping_sync_t *ngx_mailping_sync_start(ngx_msec_t interval,
    ngx_log_t *log);

/* Lets the thread end by itself; does not wait for it.  Accepts NULL. */
void ngx_mailping_sync_stop(ngx_mailping_sync_t *sync);

/*
 * Gives a file to the thread, which works on a duplicate of the descriptor.
 * Returns the file's number, or NGX_ERROR when there is no room.
 */
ngx_int_t ngx_mailping_sync_add(ngx_mailping_sync_t *sync, ngx_fd_t fd);
void ngx_mailping_sync_remove(ngx_mailping_sync_t *sync, ngx_int_t n);

/* Says that the file was written and has to be synced. */
void ngx_mailping_sync_written(ngx_mailping_sync_t *sync, ngx_int_t n);

/* Whether all that was written until now is durable. */
ngx_uint_t ngx_mailping_sync_done(ngx_mailping_sync_t *sync, ngx_int_t n);

/* The error of a failed sync, which is not tried again; 0 = none failed. */
ngx_err_t ngx_mailping_sync_error(ngx_mailping_sync_t *sync, ngx_int_t n);


#endif /* _NGX_MAILPING_SYNC_H_INCLUDED_ */
