
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/random.h>
#include <sys/vfs.h>

#include "ngx_mailping_spool.h"


#define NGX_MAILPING_SPOOL_STALE  60           /* s, of temporary files */

#define NGX_MAILPING_FS_NFS      0x6969
#define NGX_MAILPING_FS_BTRFS    0x9123683e
#define NGX_MAILPING_FS_ZFS      0x2fc12fc1
#define NGX_MAILPING_FS_OVERLAY  0x794c7630


typedef enum {
    NGX_MAILPING_SPOOL_APPEND = 0,
    NGX_MAILPING_SPOOL_DELIVER,
    NGX_MAILPING_SPOOL_REMOVE      /* drained, and of another configuration */
} ngx_mailping_spool_want_e;


static ngx_int_t ngx_mailping_spool_path(ngx_cycle_t *cycle, ngx_str_t *path);
static ngx_int_t ngx_mailping_spool_mkdir(ngx_cycle_t *cycle, ngx_str_t *path);
static ngx_int_t ngx_mailping_spool_filesystem(ngx_cycle_t *cycle,
    ngx_str_t *path);
static ngx_int_t ngx_mailping_spool_directory(ngx_mailping_spool_t *spool);
static ngx_mailping_file_t *ngx_mailping_spool_owned(
    ngx_mailping_spool_t *spool, const char *name);
static DIR *ngx_mailping_spool_list(ngx_mailping_spool_t *spool);
static ngx_uint_t ngx_mailping_spool_is(const char *name, const char *ext);
static ngx_mailping_file_t *ngx_mailping_spool_scan(
    ngx_mailping_spool_t *spool, ngx_mailping_spool_want_e want);
static ngx_mailping_file_t *ngx_mailping_spool_take(
    ngx_mailping_spool_t *spool, const char *name,
    ngx_mailping_spool_want_e want);
static ngx_uint_t ngx_mailping_spool_filled(ngx_mailping_file_t *file);
static void ngx_mailping_spool_reclaim(ngx_mailping_spool_t *spool);
static ngx_mailping_file_t *ngx_mailping_spool_make(
    ngx_mailping_spool_t *spool);
static ngx_int_t ngx_mailping_spool_create(ngx_mailping_file_t *file,
    const char *tmp);


ngx_int_t
ngx_mailping_spool_init_module(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf)
{
    if (mmcf->spool.path.len == 0) {
        return NGX_OK;
    }

    if (!ngx_test_config
        && ngx_mailping_spool_mkdir(cycle, &mmcf->spool.path) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mailping_spool_path(cycle, &mmcf->spool.path);
}


static ngx_int_t
ngx_mailping_spool_path(ngx_cycle_t *cycle, ngx_str_t *path)
{
    size_t           len;
    u_char           parent[NGX_MAX_PATH];
    ngx_file_info_t  fi;

    if (ngx_file_info(path->data, &fi) == 0) {

        if (!ngx_is_dir(&fi)) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "mailping spool \"%V\" is not a directory", path);
            return NGX_ERROR;
        }

        if (fi.st_mode & (S_IRWXG|S_IRWXO)) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "mailping spool \"%V\" is open to other users, "
                          "mode 0700 is recommended", path);
        }

        return ngx_mailping_spool_filesystem(cycle, path);
    }

    if (ngx_errno != NGX_ENOENT || !ngx_test_config) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      ngx_file_info_n " mailping spool \"%V\" failed", path);
        return NGX_ERROR;
    }

    /* a test makes nothing, but says whether a start could */

    len = path->len;

    while (len > 1 && path->data[len - 1] == '/') {
        len--;
    }

    while (len > 1 && path->data[len - 1] != '/') {
        len--;
    }

    if (len >= NGX_MAX_PATH) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "mailping spool \"%V\" is too long a path", path);
        return NGX_ERROR;
    }

    ngx_cpystrn(parent, path->data, len + 1);

    if (ngx_file_info(parent, &fi) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "mailping spool \"%V\" cannot be created, "
                      ngx_file_info_n " \"%s\" failed", path, parent);
        return NGX_ERROR;
    }

    if (!ngx_is_dir(&fi)) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "mailping spool \"%V\" cannot be created, "
                      "\"%s\" is not a directory", path, parent);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_spool_mkdir(ngx_cycle_t *cycle, ngx_str_t *path)
{
    ngx_core_conf_t  *ccf;

    if (ngx_create_dir(path->data, 0700) == NGX_FILE_ERROR) {

        if (ngx_errno == NGX_EEXIST) {
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      ngx_create_dir_n " mailping spool \"%V\" failed", path);
        return NGX_ERROR;
    }

    if (geteuid() != 0) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    /* only a directory just made; an existing one is the operator's */

    if (chown((const char *) path->data, ccf->user, ccf->group) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "chown() mailping spool \"%V\" failed", path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_spool_filesystem(ngx_cycle_t *cycle, ngx_str_t *path)
{
    const char     *name;
    struct statfs   fs;

    if (statfs((const char *) path->data, &fs) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "statfs() mailping spool \"%V\" failed", path);
        return NGX_ERROR;
    }

    switch ((unsigned long) fs.f_type & 0xffffffff) {

    case NGX_MAILPING_FS_NFS:
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "mailping spool \"%V\" is on NFS, which cannot keep "
                      "its promises; a local file system is needed", path);
        return NGX_ERROR;

    case NGX_MAILPING_FS_BTRFS:
        name = "btrfs";
        break;

    case NGX_MAILPING_FS_ZFS:
        name = "zfs";
        break;

    case NGX_MAILPING_FS_OVERLAY:
        name = "overlayfs";
        break;

    default:
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "mailping spool \"%V\" is on %s, where preallocated files "
                  "may still run out of space; "
                  "ext4, xfs or tmpfs is recommended", path, name);

    return NGX_OK;
}


/* Opens the directory; a worker keeps it as long as it exists. */

static ngx_int_t
ngx_mailping_spool_directory(ngx_mailping_spool_t *spool)
{
    struct stat  st;

    if (spool->dir != NGX_INVALID_FILE) {

        if (fstat(spool->dir, &st) == 0 && st.st_nlink > 0) {
            return NGX_OK;
        }

        if (spool->dir_slot >= 0) {
            ngx_mailping_sync_remove(spool->sync, spool->dir_slot);
            spool->dir_slot = -1;
        }

        (void) ngx_close_file(spool->dir);
    }

    spool->dir = open((const char *) spool->worker->conf->spool.path.data,
                      O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (spool->dir == NGX_INVALID_FILE) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "the directory cannot be opened, opens are "
                                  "lost; it must exist and belong to the "
                                  "worker processes' user", NULL);
        return NGX_ERROR;
    }

    if (spool->sync) {
        spool->dir_slot = ngx_mailping_sync_add(spool->sync, spool->dir);
    }

    return NGX_OK;
}


/* The caller closes it; a failure is logged. */

static DIR *
ngx_mailping_spool_list(ngx_mailping_spool_t *spool)
{
    DIR       *dir;
    ngx_fd_t   fd;

    if (ngx_mailping_spool_directory(spool) != NGX_OK) {
        return NULL;
    }

    /* a position of its own: duplicates would share one */

    fd = openat(spool->dir, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    dir = (fd == NGX_INVALID_FILE) ? NULL : fdopendir(fd);

    if (dir == NULL) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "the directory cannot be read", NULL);

        if (fd != NGX_INVALID_FILE) {
            (void) ngx_close_file(fd);
        }
    }

    return dir;
}


/* Whether a name is 32 hex digits and this extension. */

static ngx_uint_t
ngx_mailping_spool_is(const char *name, const char *ext)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MAILPING_SPOOL_NAME; i++) {
        if (!((name[i] >= '0' && name[i] <= '9')
              || (name[i] >= 'a' && name[i] <= 'f')))
        {
            return 0;
        }
    }

    return ngx_strcmp(name + NGX_MAILPING_SPOOL_NAME, ext) == 0;
}


ngx_int_t
ngx_mailping_spool_room(ngx_mailping_spool_t *spool, size_t size)
{
    DIR            *dir;
    off_t           total;
    struct stat     st;
    struct dirent  *de;

    dir = ngx_mailping_spool_list(spool);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    total = size;

    for ( ;; ) {
        de = readdir(dir);
        if (de == NULL) {
            break;
        }

        if ((ngx_mailping_spool_is(de->d_name, ".ring")
             || ngx_mailping_spool_is(de->d_name, ".tmp"))
            && fstatat(spool->dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        {
            total += st.st_size;
        }
    }

    (void) closedir(dir);

    return (total > (off_t) spool->worker->conf->spool.size) ? NGX_DECLINED
                                                             : NGX_OK;
}


void
ngx_mailping_spool_notice(ngx_mailping_spool_t *spool)
{
    DIR                     *dir;
    uint64_t                 n, opens;
    ngx_uint_t               rings;
    const char              *why;
    struct stat              st;
    struct dirent           *de;
    mailping_storage_t       storage;
    ngx_mailping_file_t     *file;

    dir = ngx_mailping_spool_list(spool);
    if (dir == NULL) {
        return;
    }

    file = ngx_mailping_file_new(spool, "");
    if (file == NULL) {
        (void) closedir(dir);
        return;
    }

    storage = file->ring.storage;
    opens = 0;
    rings = 0;

    for ( ;; ) {
        de = readdir(dir);
        if (de == NULL) {
            break;
        }

        if (!ngx_mailping_spool_is(de->d_name, ".ring")) {
            continue;
        }

        file->fd = openat(spool->dir, de->d_name,
                          O_RDONLY|O_NOFOLLOW|O_CLOEXEC);
        if (file->fd == NGX_INVALID_FILE) {
            continue;
        }

        if (fstat(file->fd, &st) == 0
            && mailping_ring_peek(&file->ring, &storage, st.st_size, 1, &n,
                                  &why)
               == MAILPING_OK)
        {
            rings++;
            opens += n;
        }

        (void) ngx_close_file(file->fd);
        file->fd = NGX_INVALID_FILE;
    }

    (void) closedir(dir);

    ngx_mailping_file_free(file);

    ngx_log_error(NGX_LOG_NOTICE, spool->log, 0,
                  "mailping spool \"%V\" holds %uL undelivered opens "
                  "in %ui rings",
                  &spool->worker->conf->spool.path, opens, rings);
}


ngx_mailping_file_t *
ngx_mailping_spool_find(ngx_mailping_spool_t *spool)
{
    ngx_mailping_file_t  *file;

    file = NULL;

    if (spool->nfiles < NGX_MAILPING_SPOOL_OWNED) {
        file = ngx_mailping_spool_scan(spool, NGX_MAILPING_SPOOL_APPEND);
    }

    if (file == NULL && spool->nfiles < NGX_MAILPING_SPOOL_OWNED) {
        file = ngx_mailping_spool_make(spool);
    }

    return file;
}


void
ngx_mailping_spool_adopt(ngx_mailping_spool_t *spool)
{
    if (spool->nfiles < NGX_MAILPING_SPOOL_OWNED) {
        (void) ngx_mailping_spool_scan(spool, NGX_MAILPING_SPOOL_DELIVER);
    }
}


/*
 * Takes a ring that nobody holds: to append to, or because it has records to
 * deliver.  At most one ring is recovered, whether it fits or not.  Or else
 * removes all that are known, without recovery, to be of no use.
 */

static ngx_mailping_file_t *
ngx_mailping_spool_scan(ngx_mailping_spool_t *spool,
    ngx_mailping_spool_want_e want)
{
    DIR                  *dir;
    time_t                now;
    ngx_uint_t            n;
    struct stat           st;
    struct dirent        *de;
    ngx_mailping_file_t  *file;

    dir = ngx_mailping_spool_list(spool);
    if (dir == NULL) {
        return NULL;
    }

    now = ngx_time();
    n = spool->nfiles;
    file = NULL;

    while (file == NULL && n == spool->nfiles) {

        de = readdir(dir);
        if (de == NULL) {
            break;
        }

        if (ngx_mailping_spool_is(de->d_name, ".tmp")) {

            if (fstatat(spool->dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
                && now - st.st_mtime > NGX_MAILPING_SPOOL_STALE)
            {
                file = ngx_mailping_file_new(spool, "");

                if (file && ngx_mailping_file_lock(file, de->d_name) == NGX_OK)
                {
                    (void) unlinkat(spool->dir, de->d_name, 0);
                }

                ngx_mailping_file_free(file);
                file = NULL;
            }

            continue;
        }

        if (!ngx_mailping_spool_is(de->d_name, ".ring")
            || ngx_mailping_spool_owned(spool, de->d_name))
        {
            continue;
        }

        file = ngx_mailping_spool_take(spool, de->d_name, want);
    }

    (void) closedir(dir);

    return file;
}


static ngx_mailping_file_t *
ngx_mailping_spool_owned(ngx_mailping_spool_t *spool, const char *name)
{
    ngx_queue_t          *q;
    ngx_mailping_file_t  *file;

    for (q = ngx_queue_head(&spool->files);
         q != ngx_queue_sentinel(&spool->files);
         q = ngx_queue_next(q))
    {
        file = ngx_queue_data(q, ngx_mailping_file_t, queue);

        if (ngx_strcmp(file->name, name) == 0) {
            return file;
        }
    }

    return NULL;
}


/*
 * Returns NULL also for a ring that was taken, but has no room or cannot be
 * appended to: then a fresh one is better than another one of these.
 */

static ngx_mailping_file_t *
ngx_mailping_spool_take(ngx_mailping_spool_t *spool, const char *name,
    ngx_mailping_spool_want_e want)
{
    int                   rc;
    uint64_t              undelivered;
    const char           *why;
    ngx_uint_t            ours, left;
    struct stat           st;
    mailping_storage_t    storage;
    ngx_mailping_file_t  *file;

    file = ngx_mailping_file_new(spool, name);
    if (file == NULL) {
        return NULL;
    }

    if (ngx_mailping_file_lock(file, name) != NGX_OK
        || fstat(file->fd, &st) == -1)
    {
        ngx_mailping_file_free(file);
        return NULL;
    }

    storage = file->ring.storage;
    rc = mailping_ring_peek(&file->ring, &storage, st.st_size, 0, &undelivered,
                            &why);

    if (rc == MAILPING_ERROR) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be read", name);
        ngx_mailping_file_free(file);
        return NULL;
    }

    if (rc == MAILPING_DECLINED) {
        ngx_mailping_file_quarantine(file, why);
        return NULL;
    }

    ours = file->ring.params.partitions == spool->partitions
           && mailping_str_equal(file->ring.params.prefix, spool->prefix);

    /*
     * A ring without records is left alone only after a clean shutdown, else
     * it may be one that has to be removed and looking into it takes long,
     * and only when Redis can be trusted to keep what it got from it.
     */

    left = ours && undelivered == 0 && file->ring.clean
           && (!spool->roomy
               || ngx_time() - st.st_mtime
                  > (time_t) (spool->worker->conf->spool.rewind / 1000));

    if (want == NGX_MAILPING_SPOOL_REMOVE
        && !ours && undelivered == 0 && file->ring.damage == 0)
    {
        ngx_mailping_file_remove(file);
        return NULL;
    }

    if (want == NGX_MAILPING_SPOOL_DELIVER ? left
        : want == NGX_MAILPING_SPOOL_APPEND ? !ours : 1)
    {
        ngx_mailping_file_free(file);
        return NULL;
    }

    if (ngx_mailping_file_load(file) != NGX_OK) {
        return NULL;
    }

    if (mailping_ring_undelivered(&file->ring)) {
        ngx_log_error(NGX_LOG_NOTICE, spool->log, 0,
                      "mailping took ring \"%s\" with %uL undelivered opens",
                      file->name, mailping_ring_undelivered(&file->ring));
    }

    if (want == NGX_MAILPING_SPOOL_DELIVER) {
        return file;
    }

    return (!ngx_mailping_spool_filled(file)
            && ngx_mailping_file_begin(file) == NGX_OK) ? file : NULL;
}


/* Whether less than a block is left for records. */

static ngx_uint_t
ngx_mailping_spool_filled(ngx_mailping_file_t *file)
{
    mailping_ring_t  *ring;

    ring = &file->ring;

    return ring->undelivered != 0
           && ring->position - ring->tail
              > (ring->blocks - 1) * MAILPING_RING_BLOCK;
}


static ngx_mailping_file_t *
ngx_mailping_spool_make(ngx_mailping_spool_t *spool)
{
    u_char                  *p;
    char                     tmp[NGX_MAILPING_SPOOL_NAME_MAX];
    ngx_int_t                rc;
    struct stat              st;
    ngx_mailping_file_t     *file;
    mailping_ring_params_t   params;

    rc = ngx_mailping_spool_room(spool, spool->ring_size);

    if (rc == NGX_DECLINED) {
        ngx_mailping_spool_reclaim(spool);
        rc = ngx_mailping_spool_room(spool, spool->ring_size);
    }

    if (rc != NGX_OK) {
        return NULL;
    }

    file = ngx_mailping_file_new(spool, "");
    if (file == NULL) {
        return NULL;
    }

    ngx_memzero(&params, sizeof(mailping_ring_params_t));

    if (getrandom(params.uuid, 16, GRND_NONBLOCK) != 16
        || getrandom(params.salt, 16, GRND_NONBLOCK) != 16)
    {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "getrandom() failed", NULL);
        ngx_mailping_file_free(file);
        return NULL;
    }

    p = ngx_hex_dump((u_char *) tmp, params.uuid, 16);
    ngx_memcpy(p, ".tmp", sizeof(".tmp"));

    p = ngx_hex_dump((u_char *) file->name, params.uuid, 16);
    ngx_memcpy(p, ".ring", sizeof(".ring"));

    if (ngx_mailping_spool_create(file, tmp) != NGX_OK) {
        goto failed;
    }

    if (fstat(file->fd, &st) == -1) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be examined", tmp);
        goto failed;
    }

    ngx_mailping_file_params(file, &st, &params);
    params.made = (uint64_t) ngx_time() * 1000;

    if (mailping_ring_format(&file->ring.storage, &params) != MAILPING_OK) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be written", tmp);
        goto failed;
    }

    if (renameat(spool->dir, tmp, spool->dir, file->name) == -1) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be renamed", tmp);
        goto failed;
    }

    if (spool->dir_slot >= 0) {
        ngx_mailping_sync_written(spool->sync, spool->dir_slot);
    }

    return ngx_mailping_file_load(file) == NGX_OK ? file : NULL;

failed:

    if (file->fd != NGX_INVALID_FILE) {
        (void) unlinkat(spool->dir, tmp, 0);
    }

    ngx_mailping_file_free(file);

    return NULL;
}


/* Makes room by what is delivered and fits another configuration only. */

static void
ngx_mailping_spool_reclaim(ngx_mailping_spool_t *spool)
{
    ngx_queue_t          *q, *next;
    ngx_mailping_file_t  *file;

    for (q = ngx_queue_head(&spool->files);
         q != ngx_queue_sentinel(&spool->files);
         q = next)
    {
        next = ngx_queue_next(q);
        file = ngx_queue_data(q, ngx_mailping_file_t, queue);

        if (file != spool->active
            && file->ring.state != MAILPING_RING_DAMAGED
            && mailping_ring_undelivered(&file->ring) == 0
            && !mailping_ring_appendable(&file->ring, spool->prefix,
                                         spool->partitions))
        {
            ngx_mailping_file_remove(file);
        }
    }

    (void) ngx_mailping_spool_scan(spool, NGX_MAILPING_SPOOL_REMOVE);
}


/* Makes the temporary file: locked, with all its blocks, within the bound. */

static ngx_int_t
ngx_mailping_spool_create(ngx_mailping_file_t *file, const char *tmp)
{
    ngx_err_t              err;
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    file->fd = openat(spool->dir, tmp,
                      O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (file->fd == NGX_INVALID_FILE) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be created; the directory "
                                  "must belong to the worker processes' user",
                                  tmp);
        return NGX_ERROR;
    }

    if (ngx_mailping_file_fcntl(file->fd, F_WRLCK) == -1) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be locked", tmp);
        return NGX_ERROR;
    }

    /* without blocks of its own the ring could fail in any later write */

    do {
        err = posix_fallocate(file->fd, 0, spool->ring_size);
    } while (err == NGX_EINTR);

    if (err) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, err,
                                  "there is no space for another ring", tmp);
        return NGX_ERROR;
    }

    return ngx_mailping_spool_room(spool, 0);
}


void
ngx_mailping_spool_failed(ngx_mailping_spool_t *spool, ngx_uint_t level,
    ngx_err_t err, const char *what, const char *name)
{
    spool->failing = 1;
    spool->proved = 0;

    if (spool->failure == what && spool->failure_err == err) {
        return;
    }

    spool->failure = what;
    spool->failure_err = err;

    ngx_log_error(level, spool->log, err,
                  "mailping spool \"%V%s%s\": %s",
                  &spool->worker->conf->spool.path, name ? "/" : "",
                  name ? name : "", what);
}
