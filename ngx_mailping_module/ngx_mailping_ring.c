
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mailping_spool.h"


static ngx_int_t ngx_mailping_file_detach(ngx_mailping_file_t *file);
static int ngx_mailping_file_pread(void *data, void *buf, size_t n,
    uint64_t offset);
static int ngx_mailping_file_pwrite(void *data, const void *buf, size_t n,
    uint64_t offset);
static int ngx_mailping_file_sync(void *data);


ngx_mailping_file_t *
ngx_mailping_file_new(ngx_mailping_spool_t *spool, const char *name)
{
    ngx_mailping_file_t  *file;

    file = ngx_calloc(sizeof(ngx_mailping_file_t), spool->log);
    if (file == NULL) {
        return NULL;
    }

    ngx_queue_init(&file->queue);

    file->spool = spool;
    file->fd = NGX_INVALID_FILE;
    file->slot = -1;
    file->ring.storage.pread = ngx_mailping_file_pread;
    file->ring.storage.pwrite = ngx_mailping_file_pwrite;
    file->ring.storage.sync = ngx_mailping_file_sync;
    file->ring.storage.data = file;

    ngx_cpystrn((u_char *) file->name, (u_char *) name,
                NGX_MAILPING_SPOOL_NAME_MAX);

    return file;
}


int
ngx_mailping_file_fcntl(ngx_fd_t fd, short type)
{
    struct flock  fl;

    ngx_memzero(&fl, sizeof(struct flock));

    fl.l_type = type;
    fl.l_whence = SEEK_SET;

    return fcntl(fd, F_OFD_SETLK, &fl);
}


ngx_int_t
ngx_mailping_file_lock(ngx_mailping_file_t *file, const char *name)
{
    struct stat            st, named;
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    file->fd = openat(spool->dir, name, O_RDWR|O_NOFOLLOW|O_CLOEXEC);

    if (file->fd == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_ENOENT) {
            ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                      "a ring cannot be opened; it must "
                                      "belong to the worker processes' user",
                                      name);
        }

        return NGX_ERROR;
    }

    if (ngx_mailping_file_fcntl(file->fd, F_WRLCK) == -1) {
        if (ngx_errno != NGX_EAGAIN && ngx_errno != EACCES) {
            ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                      "a ring cannot be locked", name);
        }

        return NGX_DECLINED;
    }

    /* whoever had the lock before may have removed or renamed the file */

    if (fstat(file->fd, &st) == -1 || st.st_nlink != 1
        || fstatat(spool->dir, name, &named, AT_SYMLINK_NOFOLLOW) == -1
        || named.st_ino != st.st_ino || named.st_dev != st.st_dev)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_mailping_file_load(ngx_mailping_file_t *file)
{
    int                      rc;
    const char              *why;
    struct stat              st;
    mailping_storage_t       storage;
    ngx_mailping_spool_t    *spool;
    mailping_ring_params_t   params;

    spool = file->spool;

    if (fstat(file->fd, &st) == -1) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be examined", file->name);
        ngx_mailping_file_free(file);
        return NGX_ERROR;
    }

    ngx_memzero(&params, sizeof(mailping_ring_params_t));
    ngx_mailping_file_params(file, &st, &params);

    storage = file->ring.storage;
    rc = mailping_ring_open(&file->ring, &storage, &params, &why);

    if (rc == MAILPING_DECLINED) {
        ngx_mailping_file_quarantine(file, why);
        return NGX_ERROR;
    }

    if (rc != MAILPING_OK) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be read", file->name);
        ngx_mailping_file_free(file);
        return NGX_ERROR;
    }

    if (spool->sync) {
        file->slot = ngx_mailping_sync_add(spool->sync, file->fd);

        if (file->slot == NGX_ERROR) {
            ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, 0,
                                      "no room to sync another ring",
                                      file->name);
            ngx_mailping_file_free(file);
            return NGX_ERROR;
        }
    }

    if (file->ring.damage) {
        ngx_log_error(NGX_LOG_ALERT, spool->log, 0,
                      "mailping ring \"%V/%s\" is damaged: %uL bytes could "
                      "not be read and are skipped, the rest is delivered",
                      &spool->worker->conf->spool.path, file->name,
                      file->ring.damage);
    }

    ngx_queue_insert_tail(&spool->files, &file->queue);
    spool->nfiles++;

    file->zr = ngx_mailping_zone_ring(spool->worker->zone, &file->ring);
    ngx_mailping_file_publish(file);

    if (spool->worker->delivery
        && ngx_mailping_delivery_attach(spool->worker->delivery, &file->ring)
           == NGX_OK)
    {
        file->attached = 1;
    }

    return NGX_OK;
}


void
ngx_mailping_file_params(ngx_mailping_file_t *file, struct stat *st,
    mailping_ring_params_t *params)
{
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    ngx_memcpy(params->boot_id, spool->boot_id, 16);

    params->device = st->st_dev;
    params->inode = st->st_ino;
    params->size = st->st_size;
    params->prefix = spool->prefix;
    params->partitions = spool->partitions;
}


void
ngx_mailping_file_free(ngx_mailping_file_t *file)
{
    ngx_mailping_spool_t  *spool;

    if (file == NULL) {
        return;
    }

    spool = file->spool;

    if (file->slot >= 0) {
        ngx_mailping_sync_remove(spool->sync, file->slot);
    }

    if (file->fd != NGX_INVALID_FILE) {

        (void) ngx_mailping_file_fcntl(file->fd, F_UNLCK);

        if (ngx_close_file(file->fd) == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_ALERT, spool->log, ngx_errno,
                          ngx_close_file_n " mailping ring failed");
        }
    }

    ngx_free(file);
}


ngx_int_t
ngx_mailping_file_release(ngx_mailping_file_t *file)
{
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (ngx_mailping_file_detach(file) != NGX_OK) {
        return NGX_AGAIN;
    }

    if (file->lost && mailping_ring_undelivered(&file->ring)) {
        ngx_log_error(NGX_LOG_ALERT, spool->log, 0,
                      "mailping loses %uL undelivered opens with the removed "
                      "ring \"%s\"", mailping_ring_undelivered(&file->ring),
                      file->name);
    }

    if (mailping_ring_close(&file->ring) != MAILPING_OK) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be closed cleanly",
                                  file->name);
    }

    if (file->lost) {
        ngx_mailping_zone_remove(spool->worker->zone, &file->ring);

    } else if (file->zr) {
        ngx_mailping_zone_publish(file->zr, &file->ring, 0);
    }

    if (file == spool->active) {
        spool->active = NULL;
    }

    ngx_queue_remove(&file->queue);
    spool->nfiles--;

    ngx_mailping_file_free(file);

    return NGX_OK;
}


/* Takes the ring away from the delivery.  NGX_AGAIN: a batch is in flight. */

static ngx_int_t
ngx_mailping_file_detach(ngx_mailping_file_t *file)
{
    if (file->attached
        && ngx_mailping_delivery_detach(file->spool->worker->delivery,
                                        &file->ring)
           != NGX_OK)
    {
        return NGX_AGAIN;
    }

    file->attached = 0;

    return NGX_OK;
}


void
ngx_mailping_file_quarantine(ngx_mailping_file_t *file, const char *why)
{
    char                   bad[NGX_MAILPING_SPOOL_NAME_MAX];
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (file->spool->active == file) {
        spool->active = NULL;
    }

    if (ngx_mailping_file_detach(file) != NGX_OK) {
        return;
    }

    ngx_memcpy(bad, file->name, NGX_MAILPING_SPOOL_NAME);
    ngx_memcpy(bad + NGX_MAILPING_SPOOL_NAME, ".bad", sizeof(".bad"));

    if (renameat(spool->dir, file->name, spool->dir, bad) == -1) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a damaged ring cannot be renamed",
                                  file->name);

    } else {
        ngx_log_error(NGX_LOG_ALERT, spool->log, 0,
                      "mailping ring \"%V/%s\" is taken out of use: %s; it is "
                      "kept as \"%s\", examine it and remove it",
                      &spool->worker->conf->spool.path, file->name, why, bad);
    }

    if (!ngx_queue_empty(&file->queue)) {

        if (mailping_ring_undelivered(&file->ring)) {
            ngx_log_error(NGX_LOG_ALERT, spool->log, 0,
                          "mailping cannot deliver %uL opens of ring \"%s\"",
                          mailping_ring_undelivered(&file->ring), file->name);
        }

        ngx_queue_remove(&file->queue);
        spool->nfiles--;
    }

    ngx_mailping_zone_remove(spool->worker->zone, &file->ring);
    ngx_mailping_file_free(file);
}


void
ngx_mailping_file_remove(ngx_mailping_file_t *file)
{
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (ngx_mailping_file_detach(file) != NGX_OK) {
        return;
    }

    if (unlinkat(spool->dir, file->name, 0) == -1) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be removed", file->name);
    }

    if (ngx_queue_empty(&file->queue)) {
        ngx_mailping_zone_remove(spool->worker->zone, &file->ring);
        ngx_mailping_file_free(file);
        return;
    }

    file->lost = 1;
    (void) ngx_mailping_file_release(file);
}


void
ngx_mailping_file_publish(ngx_mailping_file_t *file)
{
    if (file->zr) {
        ngx_mailping_zone_publish(file->zr, &file->ring, ngx_pid);
    }

    if (file->slot >= 0) {
        ngx_mailping_sync_written(file->spool->sync, file->slot);
    }
}


void
ngx_mailping_spool_changed(mailping_ring_t *ring)
{
    ngx_mailping_file_t  *file;

    file = (ngx_mailping_file_t *)
               ((u_char *) ring - offsetof(ngx_mailping_file_t, ring));

    file->spool->full = 0;

    ngx_mailping_file_publish(file);
}


static int
ngx_mailping_file_pread(void *data, void *buf, size_t n, uint64_t offset)
{
    ngx_mailping_file_t *file = data;

    ssize_t  size;

    while (n) {
        size = pread(file->fd, buf, n, (off_t) offset);

        if (size == -1) {
            if (errno == EINTR) {
                continue;
            }

            return -errno;
        }

        if (size == 0) {
            return -EIO;
        }

        buf = (u_char *) buf + size;
        n -= size;
        offset += size;
    }

    return 0;
}


static int
ngx_mailping_file_pwrite(void *data, const void *buf, size_t n,
    uint64_t offset)
{
    ngx_mailping_file_t *file = data;

    ssize_t  size;

    while (n) {
        size = pwrite(file->fd, buf, n, (off_t) offset);

        if (size == -1) {
            if (errno == EINTR) {
                continue;
            }

            return -errno;
        }

        if (size == 0) {
            return -EIO;
        }

        buf = (const u_char *) buf + size;
        n -= size;
        offset += size;
    }

    return 0;
}


/*
 * Before a ring that was shut down cleanly is appended to, that has to be
 * taken back on disk.  At start this is waited for; later the thread does it,
 * and the ring takes records when it is done.
 */

ngx_int_t
ngx_mailping_file_begin(ngx_mailping_file_t *file)
{
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (!mailping_ring_appendable(&file->ring, spool->prefix,
                                  spool->partitions))
    {
        return NGX_DECLINED;
    }

    if (mailping_ring_begin(&file->ring) != MAILPING_OK) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be written", file->name);
        return NGX_ERROR;
    }

    return file->pending ? NGX_AGAIN : NGX_OK;
}


static int
ngx_mailping_file_sync(void *data)
{
    ngx_mailping_file_t *file = data;

    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (spool->sync == NULL) {
        return 0;
    }

    if (spool->started) {
        ngx_mailping_sync_written(spool->sync, file->slot);
        file->pending = 1;

        return 0;
    }

    return (fdatasync(file->fd) == -1) ? -errno : 0;
}
