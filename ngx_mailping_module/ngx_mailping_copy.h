
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_COPY_H_INCLUDED_
#define _NGX_MAILPING_COPY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <pthread.h>
#include <stdatomic.h>

#include "ngx_mailping_mmdb.h"


/* a version of a file; all zero when there is no file */

typedef struct {
    uint64_t                     device;
    uint64_t                     inode;
    uint64_t                     size;
    uint64_t                     sec;
    uint64_t                     nsec;
} ngx_mailping_copy_id_t;


/* a copy that a thread makes, one at a time */

typedef struct {
    ngx_str_t                    dir;        /* empty: copies in memory */
    char                        *path;       /* scratch if no thread runs */
    char                        *temp;       /* its name while it is made */
    ngx_fd_t                     fd;
    pthread_t                    thread;

    const char                  *file;       /* the operator's */
    ngx_uint_t                   kind;
    ngx_mailping_copy_id_t       id;
    ngx_mailping_mmdb_failure_t  failure;
    ngx_int_t                    rc;

    atomic_int                   stop;
    atomic_int                   done;
} ngx_mailping_copy_t;


/* The version of a file.  Returns 0 or the error number of stat(). */
ngx_err_t ngx_mailping_copy_identify(const char *file,
    ngx_mailping_copy_id_t *id);
ngx_uint_t ngx_mailping_copy_same(const ngx_mailping_copy_id_t *one,
    const ngx_mailping_copy_id_t *two);

/* Never 0. */
ngx_atomic_uint_t ngx_mailping_copy_hash(const ngx_mailping_copy_id_t *id);

/*
 * Copies a file to sealed memory, maps and verifies the copy, while the caller
 * waits.  Sets *id.  Returns as ngx_mailping_mmdb_open(), and NGX_AGAIN if the
 * file does not stop changing.
 */
ngx_int_t ngx_mailping_copy_now(const char *file, ngx_uint_t kind,
    ngx_mailping_copy_id_t *id, MMDB_s *mmdb, ngx_uint_t *unusual,
    ngx_mailping_mmdb_failure_t *failure);

/* dir is where copies go, empty for memory; it has to live as long. */
ngx_int_t ngx_mailping_copy_init(ngx_mailping_copy_t *copy, ngx_str_t *dir,
    ngx_pool_t *pool);

/*
 * The name of the copy of this version, whether it is there or not, until the
 * next call of any function; NULL: copies are made in memory.
 */
const char *ngx_mailping_copy_path(ngx_mailping_copy_t *copy, ngx_uint_t kind,
    const ngx_mailping_copy_id_t *id);

/*
 * Starts a thread that copies this version of a file and verifies the copy.
 * Returns NGX_BUSY if another process is at it, NGX_ERROR with copy->failure.
 * After NGX_OK, and when ngx_mailping_copy_done(), the result is in copy->rc:
 * NGX_OK, NGX_AGAIN if the file is another version now, NGX_DECLINED if its
 * content is at fault, NGX_ERROR if the system is.  A copy in memory can be
 * mapped by the name copy->temp until ngx_mailping_copy_end(), which waits for
 * a thread that still runs, after telling it to stop.
 */
ngx_int_t ngx_mailping_copy_start(ngx_mailping_copy_t *copy, const char *file,
    ngx_uint_t kind, const ngx_mailping_copy_id_t *id);
ngx_uint_t ngx_mailping_copy_done(ngx_mailping_copy_t *copy);
void ngx_mailping_copy_end(ngx_mailping_copy_t *copy);

/*
 * Unlinks the copies of other versions.  A worker that still looks for one of
 * them copies anew, a worker that has it mapped keeps it.
 */
void ngx_mailping_copy_sweep(ngx_mailping_copy_t *copy, ngx_uint_t kind,
    const ngx_mailping_copy_id_t *id, ngx_log_t *log);


#endif /* _NGX_MAILPING_COPY_H_INCLUDED_ */
