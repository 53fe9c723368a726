
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <sys/mman.h>

#include "ngx_mailping_copy.h"


/*
 * DESIGN
 *
 * A mapping of the operator's own file would kill the worker with SIGBUS as
 * soon as somebody truncates that file or writes over it, so only private
 * copies are mapped, and nobody writes to a copy after it was verified.
 *
 * The version of a file (device, inode, size, mtime) names its copy,
 *
 *     <spool>/geo-asn-<device>-<inode>-<size>-<seconds>-<nanoseconds>.mmdb
 *
 * so all workers, also those of an older generation or of a second master,
 * agree on the name without talking to each other.  A worker that does not
 * find the copy tries to lock <spool>/geo-asn.tmp.  The one that gets the lock
 * fills the file in a thread, verifies it and renames it; the others meet it
 * at their next looks.  The lock belongs to the open file description: that of
 * a killed worker is gone, and its leftover is used again.  A descriptor may
 * be older than a rename of its file, so the lock counts only if the temporary
 * name still leads to the locked inode; otherwise it would be a finished copy
 * that is truncated under the mappings of others.
 *
 * Without a directory each worker copies into a memfd of its own.
 *
 * The thread calls nothing of nginx.  It looks at the stop flag between two
 * pieces of the file, so that waiting for it at exit is short; it has to be
 * waited for, because nginx unloads the module's code with the cycle's pool.
 */


#define NGX_MAILPING_COPY_PIECE     65536   /* on the stack */
#define NGX_MAILPING_COPY_NAME_MAX  128     /* of a file in the directory */
#define NGX_MAILPING_COPY_TRIES     3       /* if the file changes meanwhile */


static void ngx_mailping_copy_stat(const struct stat *st,
    ngx_mailping_copy_id_t *id);
static u_char *ngx_mailping_copy_name(u_char *p, ngx_uint_t kind,
    const ngx_mailping_copy_id_t *id);
static ngx_fd_t ngx_mailping_copy_memory(ngx_mailping_mmdb_failure_t *failure);
static ngx_int_t ngx_mailping_copy_lock(ngx_mailping_copy_t *copy);
static void ngx_mailping_copy_close(ngx_mailping_copy_t *copy);
static void *ngx_mailping_copy_thread(void *data);
static ngx_int_t ngx_mailping_copy_file(const char *file, ngx_fd_t fd,
    ngx_mailping_copy_id_t *id, atomic_int *stop,
    ngx_mailping_mmdb_failure_t *failure);
static ngx_int_t ngx_mailping_copy_seal(ngx_fd_t fd,
    ngx_mailping_mmdb_failure_t *failure);


ngx_err_t
ngx_mailping_copy_identify(const char *file, ngx_mailping_copy_id_t *id)
{
    struct stat  st;

    if (stat(file, &st) == -1) {
        ngx_memzero(id, sizeof(ngx_mailping_copy_id_t));
        return ngx_errno;
    }

    ngx_mailping_copy_stat(&st, id);

    return 0;
}


static void
ngx_mailping_copy_stat(const struct stat *st, ngx_mailping_copy_id_t *id)
{
    id->device = st->st_dev;
    id->inode = st->st_ino;
    id->size = st->st_size;
    id->sec = st->st_mtim.tv_sec;
    id->nsec = st->st_mtim.tv_nsec;
}


ngx_uint_t
ngx_mailping_copy_same(const ngx_mailping_copy_id_t *one,
    const ngx_mailping_copy_id_t *two)
{
    return one->device == two->device
           && one->inode == two->inode
           && one->size == two->size
           && one->sec == two->sec
           && one->nsec == two->nsec;
}


ngx_atomic_uint_t
ngx_mailping_copy_hash(const ngx_mailping_copy_id_t *id)
{
    uint64_t    hash, values[5];
    ngx_uint_t  i;

    values[0] = id->device;
    values[1] = id->inode;
    values[2] = id->size;
    values[3] = id->sec;
    values[4] = id->nsec;

    hash = 0;

    for (i = 0; i < 5; i++) {
        hash = (hash ^ values[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }

    return (ngx_atomic_uint_t) hash | 1;
}


ngx_int_t
ngx_mailping_copy_now(const char *file, ngx_uint_t kind,
    ngx_mailping_copy_id_t *id, MMDB_s *mmdb, ngx_uint_t *unusual,
    ngx_mailping_mmdb_failure_t *failure)
{
    char        path[sizeof("/proc/self/fd/") + NGX_INT_T_LEN];
    ngx_fd_t    fd;
    ngx_int_t   rc;
    ngx_uint_t  i;

    fd = ngx_mailping_copy_memory(failure);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_AGAIN;

    for (i = 0; rc == NGX_AGAIN && i < NGX_MAILPING_COPY_TRIES; i++) {
        ngx_memzero(id, sizeof(ngx_mailping_copy_id_t));

        rc = ngx_mailping_copy_file(file, fd, id, NULL, failure);
    }

    if (rc == NGX_OK) {
        rc = ngx_mailping_copy_seal(fd, failure);
    }

    if (rc == NGX_OK) {
        (void) ngx_sprintf((u_char *) path, "/proc/self/fd/%d%Z", fd);

        rc = ngx_mailping_mmdb_open(path, kind, mmdb, unusual, failure);
    }

    /* the mapping stays */

    (void) ngx_close_file(fd);

    return rc;
}


ngx_int_t
ngx_mailping_copy_init(ngx_mailping_copy_t *copy, ngx_str_t *dir,
    ngx_pool_t *pool)
{
    u_char  *p;
    size_t   size;

    size = ngx_max(dir->len, sizeof("/proc/self/fd"))
           + NGX_MAILPING_COPY_NAME_MAX + 2;

    p = ngx_pnalloc(pool, 2 * size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    copy->dir = *dir;
    copy->path = (char *) p;
    copy->temp = (char *) p + size;

    return NGX_OK;
}


const char *
ngx_mailping_copy_path(ngx_mailping_copy_t *copy, ngx_uint_t kind,
    const ngx_mailping_copy_id_t *id)
{
    u_char  *p;

    if (copy->dir.len == 0) {
        return NULL;
    }

    p = ngx_sprintf((u_char *) copy->path, "%V/", &copy->dir);
    (void) ngx_mailping_copy_name(p, kind, id);

    return copy->path;
}


static u_char *
ngx_mailping_copy_name(u_char *p, ngx_uint_t kind,
    const ngx_mailping_copy_id_t *id)
{
    return ngx_sprintf(p, "geo-%V-%xL-%xL-%xL-%xL-%xL.mmdb%Z",
                       &ngx_mailping_mmdb_kinds[kind], id->device, id->inode,
                       id->size, id->sec, id->nsec);
}


ngx_int_t
ngx_mailping_copy_start(ngx_mailping_copy_t *copy, const char *file,
    ngx_uint_t kind, const ngx_mailping_copy_id_t *id)
{
    int        err;
    sigset_t   all, old;
    ngx_int_t  rc;

    copy->file = file;
    copy->kind = kind;
    copy->id = *id;
    copy->rc = NGX_ERROR;

    rc = ngx_mailping_copy_lock(copy);

    if (rc != NGX_OK) {
        return rc;
    }

    (void) ngx_mailping_copy_path(copy, kind, id);

    atomic_store(&copy->stop, 0);
    atomic_store(&copy->done, 0);

    /* signals are for the thread that runs the event loop */

    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);

    err = pthread_create(&copy->thread, NULL, ngx_mailping_copy_thread, copy);

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (err != 0) {
        copy->failure.what = "pthread_create() failed";
        copy->failure.err = err;

        ngx_mailping_copy_close(copy);

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Opens the file to copy to; NGX_BUSY: another worker is at it. */

static ngx_int_t
ngx_mailping_copy_lock(ngx_mailping_copy_t *copy)
{
    ngx_fd_t                      fd;
    struct stat                   st, named;
    struct flock                  fl;
    ngx_mailping_mmdb_failure_t  *failure;

    failure = &copy->failure;

    if (copy->dir.len == 0) {
        fd = ngx_mailping_copy_memory(failure);

        if (fd == NGX_INVALID_FILE) {
            return NGX_ERROR;
        }

        (void) ngx_sprintf((u_char *) copy->temp, "/proc/self/fd/%d%Z", fd);

        copy->fd = fd;

        return NGX_OK;
    }

    (void) ngx_sprintf((u_char *) copy->temp, "%V/geo-%V.tmp%Z", &copy->dir,
                       &ngx_mailping_mmdb_kinds[copy->kind]);

    fd = open(copy->temp, O_RDWR|O_CREAT|O_CLOEXEC|O_NOFOLLOW, 0600);

    if (fd == NGX_INVALID_FILE) {
        failure->what = "open() of the copy failed";
        failure->err = ngx_errno;
        return NGX_ERROR;
    }

    ngx_memzero(&fl, sizeof(struct flock));
    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;

    if (fcntl(fd, F_OFD_SETLK, &fl) == -1) {
        failure->what = "fcntl(F_OFD_SETLK) failed";
        failure->err = ngx_errno;

        (void) ngx_close_file(fd);

        return (failure->err == NGX_EAGAIN || failure->err == NGX_EACCES)
               ? NGX_BUSY : NGX_ERROR;
    }

    if (fstat(fd, &st) == -1
        || stat(copy->temp, &named) == -1
        || st.st_dev != named.st_dev
        || st.st_ino != named.st_ino)
    {
        (void) ngx_close_file(fd);
        return NGX_BUSY;
    }

    copy->fd = fd;

    return NGX_OK;
}


static ngx_fd_t
ngx_mailping_copy_memory(ngx_mailping_mmdb_failure_t *failure)
{
    ngx_fd_t  fd;

    fd = memfd_create("mailping", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (fd == NGX_INVALID_FILE) {
        failure->what = "memfd_create() failed";
        failure->err = ngx_errno;
    }

    return fd;
}


ngx_uint_t
ngx_mailping_copy_done(ngx_mailping_copy_t *copy)
{
    return atomic_load(&copy->done);
}


void
ngx_mailping_copy_end(ngx_mailping_copy_t *copy)
{
    atomic_store(&copy->stop, 1);

    (void) pthread_join(copy->thread, NULL);

    ngx_mailping_copy_close(copy);
}


static void
ngx_mailping_copy_close(ngx_mailping_copy_t *copy)
{
    /* unlinked before the lock is given back: the name is still ours */

    if (copy->dir.len != 0 && copy->rc != NGX_OK) {
        (void) ngx_delete_file(copy->temp);
    }

    (void) ngx_close_file(copy->fd);
}


static void *
ngx_mailping_copy_thread(void *data)
{
    ngx_mailping_copy_t  *copy = data;

    MMDB_s                        mmdb;
    ngx_int_t                     rc;
    ngx_uint_t                    unusual;
    ngx_mailping_mmdb_failure_t  *failure;

    failure = &copy->failure;

    rc = ngx_mailping_copy_file(copy->file, copy->fd, &copy->id, &copy->stop,
                                failure);

    if (rc == NGX_OK) {

        if (copy->dir.len == 0) {
            rc = ngx_mailping_copy_seal(copy->fd, failure);

        } else if (fsync(copy->fd) == -1) {

            /* a name that survives a loss of power must not be a torn file's */

            failure->what = "fsync() of the copy failed";
            failure->err = ngx_errno;
            rc = NGX_ERROR;
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_mailping_mmdb_open(copy->temp, copy->kind, &mmdb, &unusual,
                                    failure);
        if (rc == NGX_OK) {
            MMDB_close(&mmdb);
        }
    }

    if (rc == NGX_OK && copy->dir.len != 0
        && rename(copy->temp, copy->path) == -1)
    {
        failure->what = "rename() of the copy failed";
        failure->err = ngx_errno;
        rc = NGX_ERROR;
    }

    copy->rc = rc;

    atomic_store(&copy->done, 1);

    return NULL;
}


/*
 * Copies the version that id names to fd, or any version if there is no id,
 * which then gets its name.  Ends early when *stop (may be NULL) is set.
 */

static ngx_int_t
ngx_mailping_copy_file(const char *file, ngx_fd_t fd,
    ngx_mailping_copy_id_t *id, atomic_int *stop,
    ngx_mailping_mmdb_failure_t *failure)
{
    int                     from;
    char                    buf[NGX_MAILPING_COPY_PIECE];
    ssize_t                 n, sent, written;
    uint64_t                size;
    ngx_int_t               rc;
    struct stat             st;
    ngx_mailping_copy_id_t  now;

    rc = NGX_ERROR;
    failure->err = 0;

    /* O_NONBLOCK: a pipe in place of the file must not hold nginx */

    from = open(file, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (from == -1) {
        failure->what = "open() failed";
        failure->err = errno;
        return NGX_ERROR;
    }

    if (fstat(from, &st) == -1) {
        failure->what = "fstat() failed";
        goto failed;
    }

    if (!S_ISREG(st.st_mode)) {
        failure->what = "it is not a regular file";
        rc = NGX_DECLINED;
        goto done;
    }

    if (st.st_size == 0) {
        failure->what = "it is empty";
        rc = NGX_DECLINED;
        goto done;
    }

    ngx_mailping_copy_stat(&st, &now);

    if (id->inode == 0) {
        *id = now;
    }

    if (!ngx_mailping_copy_same(id, &now)) {
        goto changed;
    }

    if (ftruncate(fd, 0) == -1 || lseek(fd, 0, SEEK_SET) == -1) {
        failure->what = "ftruncate() of the copy failed";
        goto failed;
    }

    for (size = 0; size < id->size; size += n) {

        if (stop != NULL && atomic_load(stop)) {
            goto changed;
        }

        n = read(from, buf, NGX_MAILPING_COPY_PIECE);

        if (n == -1) {
            if (errno == EINTR) {
                n = 0;
                continue;
            }

            failure->what = "read() failed";
            goto failed;
        }

        if (n == 0 || (uint64_t) n > id->size - size) {
            goto changed;
        }

        for (written = 0; written < n; written += sent) {

            sent = write(fd, buf + written, n - written);

            if (sent == -1) {
                if (errno == EINTR) {
                    sent = 0;
                    continue;
                }

                failure->what = "write() of the copy failed";
                goto failed;
            }
        }
    }

    if (fstat(from, &st) == -1) {
        failure->what = "fstat() failed";
        goto failed;
    }

    ngx_mailping_copy_stat(&st, &now);

    if (ngx_mailping_copy_same(id, &now)) {
        rc = NGX_OK;
        goto done;
    }

changed:

    failure->what = "it changes while it is read";
    rc = NGX_AGAIN;
    goto done;

failed:

    failure->err = errno;

done:

    (void) close(from);

    return rc;
}


static ngx_int_t
ngx_mailping_copy_seal(ngx_fd_t fd, ngx_mailping_mmdb_failure_t *failure)
{
    if (fcntl(fd, F_ADD_SEALS,
              F_SEAL_WRITE|F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_SEAL)
        == -1)
    {
        failure->what = "fcntl(F_ADD_SEALS) failed";
        failure->err = errno;
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_mailping_copy_sweep(ngx_mailping_copy_t *copy, ngx_uint_t kind,
    const ngx_mailping_copy_id_t *id, ngx_log_t *log)
{
    u_char     name[NGX_MAILPING_COPY_NAME_MAX];
    size_t     prefix;
    ngx_dir_t  dir;

    if (copy->dir.len == 0) {
        return;
    }

    if (ngx_open_dir(&copy->dir, &dir) == NGX_ERROR) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      ngx_open_dir_n " \"%V\" failed", &copy->dir);
        return;
    }

    (void) ngx_mailping_copy_name(name, kind, id);

    prefix = sizeof("geo-") - 1 + ngx_mailping_mmdb_kinds[kind].len
             + sizeof("-") - 1;

    while (ngx_read_dir(&dir) == NGX_OK) {

        if (ngx_de_namelen(&dir) >= NGX_MAILPING_COPY_NAME_MAX
            || ngx_strncmp(ngx_de_name(&dir), name, prefix) != 0
            || ngx_strcmp(ngx_de_name(&dir), name) == 0)
        {
            continue;
        }

        (void) ngx_sprintf((u_char *) copy->path, "%V/%s%Z", &copy->dir,
                           ngx_de_name(&dir));

        (void) ngx_delete_file(copy->path);
    }

    if (ngx_close_dir(&dir) == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_dir_n " \"%V\" failed", &copy->dir);
    }
}
