
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

#include "ngx_mailping_sync.h"


#define NGX_MAILPING_SYNC_STACK  (64 * 1024)


/*
 * A place goes FREE -> USED -> CLOSING in the event loop and CLOSING -> FREE
 * in the thread, which alone closes the descriptor: the event loop never has
 * to wait for a sync that is under way.
 */

typedef enum {
    NGX_MAILPING_SYNC_FREE = 0,
    NGX_MAILPING_SYNC_USED,
    NGX_MAILPING_SYNC_CLOSING
} ngx_mailping_sync_state_e;


typedef struct {
    ngx_fd_t                   fd;
    atomic_int                 state;
    atomic_int                 error;
    atomic_uint                written;     /* counts up in the event loop */
    atomic_uint                synced;      /* follows it in the thread */
} ngx_mailping_sync_file_t;


struct ngx_mailping_sync_s {
    ngx_msec_t                 interval;
    pthread_mutex_t            mutex;
    pthread_cond_t             cond;
    ngx_uint_t                 stop;        /* under the mutex */
    ngx_mailping_sync_file_t   files[NGX_MAILPING_SYNC_FILES];
};


static void ngx_mailping_sync_pin(void);
static ngx_err_t ngx_mailping_sync_create(ngx_mailping_sync_t *sync);
static void *ngx_mailping_sync_cycle(void *data);
static ngx_uint_t ngx_mailping_sync_wait(ngx_mailping_sync_t *sync);
static void ngx_mailping_sync_file(ngx_mailping_sync_file_t *file);
static void ngx_mailping_sync_free(ngx_mailping_sync_t *sync);


ngx_mailping_sync_t *
ngx_mailping_sync_start(ngx_msec_t interval, ngx_log_t *log)
{
    ngx_err_t             err;
    pthread_condattr_t    attr;
    ngx_mailping_sync_t  *sync;

    sync = ngx_calloc(sizeof(ngx_mailping_sync_t), log);
    if (sync == NULL) {
        return NULL;
    }

    sync->interval = interval;

    err = pthread_condattr_init(&attr);

    if (err == 0) {
        err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);

        if (err == 0) {
            err = pthread_cond_init(&sync->cond, &attr);
        }

        (void) pthread_condattr_destroy(&attr);
    }

    if (err) {
        ngx_log_error(NGX_LOG_CRIT, log, err, "pthread_cond_init() failed");
        ngx_free(sync);
        return NULL;
    }

    err = pthread_mutex_init(&sync->mutex, NULL);

    if (err) {
        ngx_log_error(NGX_LOG_CRIT, log, err, "pthread_mutex_init() failed");
        (void) pthread_cond_destroy(&sync->cond);
        ngx_free(sync);
        return NULL;
    }

    ngx_mailping_sync_pin();

    err = ngx_mailping_sync_create(sync);

    if (err) {
        ngx_log_error(NGX_LOG_CRIT, log, err, "pthread_create() failed");
        ngx_mailping_sync_free(sync);
        return NULL;
    }

    return sync;
}


/*
 * A worker unloads its modules before it exits, and the thread may still be
 * inside this one then.  So the module stays in this process until its end;
 * where the module is a part of nginx itself there is nothing to keep.
 */

static void
ngx_mailping_sync_pin(void)
{
    Dl_info  info;

    if (dladdr((void *) (uintptr_t) ngx_mailping_sync_pin, &info) != 0) {
        (void) dlopen(info.dli_fname, RTLD_LAZY|RTLD_NOLOAD|RTLD_NODELETE);
    }
}


static ngx_err_t
ngx_mailping_sync_create(ngx_mailping_sync_t *sync)
{
    sigset_t        set, old;
    ngx_err_t       err;
    pthread_t       tid;
    pthread_attr_t  attr;

    err = pthread_attr_init(&attr);
    if (err) {
        return err;
    }

    err = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

    if (err == 0) {
        err = pthread_attr_setstacksize(&attr, NGX_MAILPING_SYNC_STACK);
    }

    if (err == 0) {

        /* nginx's signal handlers belong to the thread of the event loop */

        sigfillset(&set);
        (void) pthread_sigmask(SIG_SETMASK, &set, &old);

        err = pthread_create(&tid, &attr, ngx_mailping_sync_cycle, sync);

        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
    }

    (void) pthread_attr_destroy(&attr);

    return err;
}


void
ngx_mailping_sync_stop(ngx_mailping_sync_t *sync)
{
    if (sync == NULL) {
        return;
    }

    /* the thread holds the mutex for moments only, and frees everything */

    (void) pthread_mutex_lock(&sync->mutex);

    sync->stop = 1;

    (void) pthread_cond_signal(&sync->cond);
    (void) pthread_mutex_unlock(&sync->mutex);
}


ngx_int_t
ngx_mailping_sync_add(ngx_mailping_sync_t *sync, ngx_fd_t fd)
{
    ngx_int_t                  n;
    ngx_mailping_sync_file_t  *file;

    for (n = 0; n < NGX_MAILPING_SYNC_FILES; n++) {
        file = &sync->files[n];

        if (atomic_load(&file->state) != NGX_MAILPING_SYNC_FREE) {
            continue;
        }

        file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (file->fd == NGX_INVALID_FILE) {
            return NGX_ERROR;
        }

        atomic_store(&file->error, 0);
        atomic_store(&file->written, 0);
        atomic_store(&file->synced, 0);
        atomic_store(&file->state, NGX_MAILPING_SYNC_USED);

        return n;
    }

    return NGX_ERROR;
}


void
ngx_mailping_sync_remove(ngx_mailping_sync_t *sync, ngx_int_t n)
{
    atomic_store(&sync->files[n].state, NGX_MAILPING_SYNC_CLOSING);
}


void
ngx_mailping_sync_written(ngx_mailping_sync_t *sync, ngx_int_t n)
{
    unsigned                   written;
    ngx_mailping_sync_file_t  *file;

    /* only the event loop counts up, so this needs no locked instruction */

    file = &sync->files[n];
    written = atomic_load_explicit(&file->written, memory_order_relaxed);

    atomic_store_explicit(&file->written, written + 1, memory_order_release);
}


ngx_uint_t
ngx_mailping_sync_done(ngx_mailping_sync_t *sync, ngx_int_t n)
{
    ngx_mailping_sync_file_t  *file;

    file = &sync->files[n];

    return atomic_load(&file->synced) == atomic_load(&file->written);
}


ngx_err_t
ngx_mailping_sync_error(ngx_mailping_sync_t *sync, ngx_int_t n)
{
    return atomic_load(&sync->files[n].error);
}


static void *
ngx_mailping_sync_cycle(void *data)
{
    ngx_mailping_sync_t *sync = data;

    ngx_uint_t  i;

    while (ngx_mailping_sync_wait(sync) == 0) {

        for (i = 0; i < NGX_MAILPING_SYNC_FILES; i++) {
            ngx_mailping_sync_file(&sync->files[i]);
        }
    }

    for (i = 0; i < NGX_MAILPING_SYNC_FILES; i++) {
        if (atomic_load(&sync->files[i].state) != NGX_MAILPING_SYNC_FREE) {
            (void) close(sync->files[i].fd);
        }
    }

    ngx_mailping_sync_free(sync);

    return NULL;
}


/* waits for the next round; returns 1 when the thread has to end */

static ngx_uint_t
ngx_mailping_sync_wait(ngx_mailping_sync_t *sync)
{
    ngx_uint_t       stop;
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    ts.tv_sec += sync->interval / 1000;
    ts.tv_nsec += (sync->interval % 1000) * 1000000;

    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }

    (void) pthread_mutex_lock(&sync->mutex);

    while (!sync->stop) {
        if (pthread_cond_timedwait(&sync->cond, &sync->mutex, &ts) != 0) {
            break;
        }
    }

    stop = sync->stop;

    (void) pthread_mutex_unlock(&sync->mutex);

    return stop;
}


static void
ngx_mailping_sync_file(ngx_mailping_sync_file_t *file)
{
    int       state;
    unsigned  written;

    state = atomic_load(&file->state);

    if (state == NGX_MAILPING_SYNC_FREE) {
        return;
    }

    /*
     * The number is taken first: what is written during the sync is due
     * again.  A failed sync is final, the kernel has forgotten which pages it
     * lost.
     */

    written = atomic_load(&file->written);

    if (written != atomic_load(&file->synced)
        && atomic_load(&file->error) == 0)
    {
        if (fdatasync(file->fd) == -1) {
            atomic_store(&file->error, ngx_errno);

        } else {
            atomic_store(&file->synced, written);
        }
    }

    if (state == NGX_MAILPING_SYNC_CLOSING) {
        (void) close(file->fd);
        atomic_store(&file->state, NGX_MAILPING_SYNC_FREE);
    }
}


static void
ngx_mailping_sync_free(ngx_mailping_sync_t *sync)
{
    (void) pthread_mutex_destroy(&sync->mutex);
    (void) pthread_cond_destroy(&sync->cond);

    ngx_free(sync);
}
