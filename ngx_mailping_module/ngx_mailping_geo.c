
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <pthread.h>
#include <sys/mman.h>

#include "ngx_mailping.h"
#include "ngx_mailping_mmdb.h"


/*
 * DESIGN
 *
 * A mapping of the operator's own file would kill the worker with SIGBUS as
 * soon as somebody truncates that file or writes over it, so only private
 * copies are mapped, and nobody writes to a copy after it was verified.
 *
 * The first copy is made while the configuration is read, where a file that
 * cannot be used still refuses the configuration: a failure in init_module
 * ends the master.  It is a sealed memfd, its descriptor is closed as soon as
 * it is mapped, and workers inherit the mapping through fork().
 *
 * Later copies are made by workers.  Each worker looks at the operator's file
 * every two seconds; a change that two looks in a row see alike is finished.
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
 * Without a spool directory each worker copies into a memfd of its own.
 *
 * The thread calls nothing of nginx.  It looks at the stop flag between two
 * pieces of the file, so that waiting for it at exit is
 * short; it has to be waited for, because nginx unloads the module's code with
 * the cycle's pool.
 *
 * What happens to all workers alike is logged by one of them: a page of shared
 * memory remembers the version that was spoken of last.
 */



#define NGX_MAILPING_GEO_LOOK      2000    /* ms between two looks */
#define NGX_MAILPING_GEO_POLL      100     /* ms, while the thread runs */
#define NGX_MAILPING_GEO_RETRY     10      /* s after a failed copy */
#define NGX_MAILPING_GEO_TRIES     3       /* if the file changes meanwhile */

#define NGX_MAILPING_GEO_NAME_MAX  128     /* of a file in the directory */

#define NGX_MAILPING_GEO_GROUPS    64


/* what some worker has logged already, as hashes of versions */

typedef struct {
    ngx_atomic_t                 reloaded;
    ngx_atomic_t                 refused;
    ngx_atomic_t                 failed;
} ngx_mailping_geo_shared_t;


typedef struct {
    ngx_uint_t                   kind;
    ngx_str_t                    file;       /* the operator's */
    ngx_mailping_geo_shared_t   *shared;

    MMDB_s                       mmdb;
    ngx_mailping_mmdb_id_t       loaded;     /* the version mapped */
    ngx_mailping_mmdb_id_t       seen;       /* at the last look */
    time_t                       reloaded;
    time_t                       retry;

    unsigned                     open:1;
    unsigned                     unusual:1;  /* its type name is */
    unsigned                     stale:1;    /* the file is another one now */
    unsigned                     swept:1;
} ngx_mailping_geo_db_t;


typedef struct {
    ngx_mailping_geo_db_t       *db;         /* NULL: no thread */
    pthread_t                    thread;
    ngx_fd_t                     fd;         /* of the copy */
    char                        *temp;       /* its name while it is made */
    char                        *path;       /* NULL: it stays in memory */

    ngx_mailping_mmdb_id_t       id;
    ngx_mailping_mmdb_failure_t  failure;
    ngx_int_t                    rc;

    atomic_int                   stop;
    atomic_int                   done;
} ngx_mailping_geo_job_t;


struct ngx_mailping_geo_s {
    ngx_mailping_geo_db_t        dbs[NGX_MAILPING_MMDB_KINDS];
    ngx_mailping_geo_job_t       job;
    ngx_str_t                    dir;        /* empty: copies in memory */
    char                        *path;       /* scratch */
    ngx_shm_t                    shm;
    ngx_event_t                  event;
    ngx_connection_t             dummy;
    ngx_log_t                   *log;
};


static ngx_int_t ngx_mailping_geo_load(ngx_conf_t *cf,
    ngx_mailping_geo_db_t *db);
static void ngx_mailping_geo_cleanup(void *data);
static ngx_uint_t ngx_mailping_geo_readable(ngx_core_conf_t *ccf,
    const char *file);
static ngx_uint_t ngx_mailping_geo_allowed(ngx_core_conf_t *ccf,
    const struct stat *st, ngx_uint_t bit);

static void ngx_mailping_geo_handler(ngx_event_t *ev);
static void ngx_mailping_geo_look(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db);
static void ngx_mailping_geo_start(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db);
static ngx_fd_t ngx_mailping_geo_lock(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db);
static void ngx_mailping_geo_finish(ngx_mailping_geo_t *geo);
static void ngx_mailping_geo_stop(ngx_mailping_geo_t *geo);
static void ngx_mailping_geo_end(ngx_mailping_geo_job_t *job);
static ngx_int_t ngx_mailping_geo_swap(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db, const char *path,
    const ngx_mailping_mmdb_id_t *id);
static void ngx_mailping_geo_sweep(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db);
static void ngx_mailping_geo_refused(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db, const ngx_mailping_mmdb_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure);
static void ngx_mailping_geo_failed(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db, const ngx_mailping_mmdb_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure);
static u_char *ngx_mailping_geo_name(u_char *p, ngx_mailping_geo_db_t *db,
    const ngx_mailping_mmdb_id_t *id);
static ngx_atomic_uint_t ngx_mailping_geo_hash(
    const ngx_mailping_mmdb_id_t *id);
static ngx_uint_t ngx_mailping_geo_first(ngx_atomic_t *said,
    ngx_atomic_uint_t hash);

static void *ngx_mailping_geo_thread(void *data);


static ngx_str_t  ngx_mailping_geo_kinds[] = {
    ngx_string("asn"),
    ngx_string("city"),
    ngx_string("country")
};


char *
ngx_mailping_geo_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_main_conf_t  *mmcf = conf;

    ngx_str_t              *value, file;
    ngx_uint_t              i, kind;
    ngx_pool_cleanup_t     *cln;
    ngx_mailping_geo_t     *geo;
    ngx_mailping_geo_db_t  *db;

    if (mmcf->geo != NULL) {
        return "is duplicate";
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    geo = ngx_pcalloc(cf->pool, sizeof(ngx_mailping_geo_t));
    if (geo == NULL) {
        return NGX_CONF_ERROR;
    }

    geo->shm.size = NGX_MAILPING_MMDB_KINDS * sizeof(ngx_mailping_geo_shared_t);
    geo->shm.log = cf->log;
    ngx_str_set(&geo->shm.name, "mailping_geoip");

    if (ngx_shm_alloc(&geo->shm) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_mailping_geo_cleanup;
    cln->data = geo;

    for (kind = 0; kind < NGX_MAILPING_MMDB_KINDS; kind++) {
        db = &geo->dbs[kind];
        db->kind = kind;
        db->shared = (ngx_mailping_geo_shared_t *) geo->shm.addr + kind;
    }

    mmcf->geo = geo;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (kind = 0; kind < NGX_MAILPING_MMDB_KINDS; kind++) {

            file = ngx_mailping_geo_kinds[kind];

            if (value[i].len > file.len + 1
                && ngx_strncmp(value[i].data, file.data, file.len) == 0
                && value[i].data[file.len] == '=')
            {
                break;
            }
        }

        if (kind == NGX_MAILPING_MMDB_KINDS) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        db = &geo->dbs[kind];

        if (db->file.len != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "parameter \"%V\" is duplicate", &value[i]);
            return NGX_CONF_ERROR;
        }

        db->file.data = value[i].data + file.len + 1;
        db->file.len = value[i].len - file.len - 1;

        if (ngx_conf_full_name(cf->cycle, &db->file, 1) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        if (ngx_mailping_geo_load(cf, db) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mailping_geo_load(ngx_conf_t *cf, ngx_mailping_geo_db_t *db)
{
    char                         path[sizeof("/proc/self/fd/") + NGX_INT_T_LEN];
    ngx_fd_t                     fd;
    ngx_int_t                    rc;
    ngx_uint_t                   i, unusual;
    ngx_mailping_mmdb_failure_t  failure;

    /* "nginx -s" only needs the name of the pid file */

    if (ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    failure.what = NULL;
    failure.err = 0;

    fd = memfd_create("mailping", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "memfd_create() failed");
        return NGX_ERROR;
    }

    rc = NGX_AGAIN;
    unusual = 0;

    for (i = 0; rc == NGX_AGAIN && i < NGX_MAILPING_GEO_TRIES; i++) {
        ngx_memzero(&db->loaded, sizeof(ngx_mailping_mmdb_id_t));

        rc = ngx_mailping_mmdb_copy((char *) db->file.data, fd, &db->loaded,
                                   NULL, &failure);
    }

    if (rc == NGX_OK) {
        rc = ngx_mailping_mmdb_seal(fd, &failure);
    }

    if (rc == NGX_OK) {
        (void) ngx_sprintf((u_char *) path, "/proc/self/fd/%d%Z", fd);

        rc = ngx_mailping_mmdb_open(path, db->kind, &db->mmdb, &unusual,
                                   &failure);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " of a database copy failed");
    }

    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, failure.err,
                           "database \"%V\" cannot be used for \"%V\": %s",
                           &db->file, &ngx_mailping_geo_kinds[db->kind],
                           failure.what);
        return NGX_ERROR;
    }

    db->open = 1;
    db->unusual = unusual;
    db->seen = db->loaded;

    return NGX_OK;
}


static void
ngx_mailping_geo_cleanup(void *data)
{
    ngx_mailping_geo_t  *geo = data;

    ngx_uint_t  i;

    /* a single process has no exit hook for a cycle that a reload replaced */

    ngx_mailping_geo_stop(geo);

    for (i = 0; i < NGX_MAILPING_MMDB_KINDS; i++) {
        if (geo->dbs[i].open) {
            MMDB_close(&geo->dbs[i].mmdb);
            geo->dbs[i].open = 0;
        }
    }

    ngx_shm_free(&geo->shm);
}


ngx_int_t
ngx_mailping_geo_init_module(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf)
{
    ngx_uint_t              i;
    ngx_core_conf_t        *ccf;
    ngx_mailping_geo_t     *geo;
    ngx_mailping_geo_db_t  *db;

    geo = mmcf->geo;

    if (geo == NULL) {
        return NGX_OK;
    }

    /* what served to read the configuration may be gone after it */

    geo->log = cycle->log;
    geo->shm.log = cycle->log;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    for (i = 0; i < NGX_MAILPING_MMDB_KINDS; i++) {
        db = &geo->dbs[i];

        if (!db->open) {
            continue;
        }

        if (db->unusual) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "mailping database \"%V\" for \"%V\" has the "
                          "unusual type \"%s\"", &db->file,
                          &ngx_mailping_geo_kinds[i],
                          db->mmdb.metadata.database_type);
        }

        if (!ngx_mailping_geo_readable(ccf, (char *) db->file.data)) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "mailping database \"%V\" is not readable by user "
                          "\"%s\", a replacement will not be noticed before "
                          "nginx is reloaded", &db->file, ccf->username);
        }
    }

    return NGX_OK;
}


/* only what the mode bits show: the real attempt is the worker's */

static ngx_uint_t
ngx_mailping_geo_readable(ngx_core_conf_t *ccf, const char *file)
{
    char        *p, *real;
    ngx_uint_t   allowed;
    struct stat  st;

    if (geteuid() != 0 || !ccf->master || ccf->user == 0) {
        return 1;
    }

    real = realpath(file, NULL);
    if (real == NULL) {
        return 1;
    }

    allowed = (stat(real, &st) == -1
               || ngx_mailping_geo_allowed(ccf, &st, S_IROTH));

    for (p = strrchr(real, '/'); allowed && p != NULL; p = strrchr(real, '/'))
    {
        *p = '\0';

        allowed = (stat(p == real ? "/" : real, &st) == -1
                   || ngx_mailping_geo_allowed(ccf, &st, S_IXOTH));
    }

    free(real);

    return allowed;
}


static ngx_uint_t
ngx_mailping_geo_allowed(ngx_core_conf_t *ccf, const struct stat *st,
    ngx_uint_t bit)
{
    int    i, n;
    gid_t  groups[NGX_MAILPING_GEO_GROUPS];

    if (st->st_uid == ccf->user) {
        return (st->st_mode & (bit << 6)) != 0;
    }

    n = NGX_MAILPING_GEO_GROUPS;

    if (getgrouplist(ccf->username, ccf->group, groups, &n) == -1) {
        n = NGX_MAILPING_GEO_GROUPS;
    }

    for (i = 0; i < n; i++) {
        if (st->st_gid == groups[i]) {
            return (st->st_mode & (bit << 3)) != 0;
        }
    }

    return (st->st_mode & bit) != 0;
}


ngx_int_t
ngx_mailping_geo_init_process(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf)
{
    u_char              *p;
    size_t               size;
    ngx_mailping_geo_t  *geo;

    geo = mmcf->geo;

    if (geo == NULL) {
        return NGX_OK;
    }

    geo->log = cycle->log;

    /* the directory is made only if there is a pixel somewhere */

    if (mmcf->spool.path.len != 0
        && access((char *) mmcf->spool.path.data, W_OK) == 0)
    {
        geo->dir = mmcf->spool.path;
    }

    size = ngx_max(geo->dir.len, sizeof("/proc/self/fd"))
           + NGX_MAILPING_GEO_NAME_MAX + 2;

    p = ngx_pnalloc(cycle->pool, 3 * size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    geo->path = (char *) p;
    geo->job.temp = (char *) p + size;
    geo->job.path = (geo->dir.len != 0) ? (char *) p + 2 * size : NULL;

    geo->dummy.fd = (ngx_socket_t) -1;
    geo->dummy.data = geo;

    geo->event.data = &geo->dummy;
    geo->event.handler = ngx_mailping_geo_handler;
    geo->event.log = cycle->log;
    geo->event.cancelable = 1;

    ngx_add_timer(&geo->event, NGX_MAILPING_GEO_LOOK);

    return NGX_OK;
}


void
ngx_mailping_geo_exit_process(ngx_mailping_main_conf_t *mmcf)
{
    if (mmcf->geo != NULL) {
        ngx_mailping_geo_stop(mmcf->geo);
    }
}


static void
ngx_mailping_geo_handler(ngx_event_t *ev)
{
    ngx_uint_t           i;
    ngx_connection_t    *c;
    ngx_mailping_geo_t  *geo;

    if (ngx_exiting || ngx_terminate) {
        return;
    }

    c = ev->data;
    geo = c->data;

    if (geo->job.db != NULL && atomic_load(&geo->job.done)) {
        ngx_mailping_geo_finish(geo);
    }

    if (geo->job.db == NULL) {
        for (i = 0; i < NGX_MAILPING_MMDB_KINDS; i++) {
            if (geo->dbs[i].open) {
                ngx_mailping_geo_look(geo, &geo->dbs[i]);
            }
        }
    }

    ngx_add_timer(ev, (geo->job.db != NULL) ? NGX_MAILPING_GEO_POLL
                                            : NGX_MAILPING_GEO_LOOK);
}


static void
ngx_mailping_geo_look(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db)
{
    u_char                      *p;
    struct stat                  st;
    ngx_mailping_mmdb_id_t       id;
    ngx_mailping_mmdb_failure_t  failure;

    ngx_memzero(&id, sizeof(ngx_mailping_mmdb_id_t));

    failure.err = 0;

    if (stat((char *) db->file.data, &st) == 0) {
        ngx_mailping_mmdb_identify(&st, &id);

    } else {
        failure.what = "stat() failed";
        failure.err = ngx_errno;
    }

    if (ngx_mailping_mmdb_same(&id, &db->loaded)) {
        db->seen = id;
        db->stale = 0;
        db->shared->failed = 0;

        if (!db->swept) {
            ngx_mailping_geo_sweep(geo, db);
        }

        return;
    }

    db->stale = 1;

    if (!ngx_mailping_mmdb_same(&id, &db->seen)) {
        db->seen = id;
        db->retry = 0;
        return;
    }

    if (failure.err != 0) {
        ngx_mailping_geo_failed(geo, db, &id, &failure);
        return;
    }

    if (db->retry > ngx_time()
        || db->shared->refused == ngx_mailping_geo_hash(&id))
    {
        return;
    }

    if (geo->dir.len == 0) {
        ngx_mailping_geo_start(geo, db);
        return;
    }

    p = ngx_sprintf((u_char *) geo->path, "%V/", &geo->dir);
    (void) ngx_mailping_geo_name(p, db, &id);

    if (stat(geo->path, &st) == -1) {
        ngx_mailping_geo_start(geo, db);
        return;
    }

    if (ngx_mailping_geo_swap(geo, db, geo->path, &id) == NGX_DECLINED) {

        /* a verified copy can only be damaged by a loss of power */

        (void) ngx_delete_file(geo->path);
    }
}


static void
ngx_mailping_geo_start(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db)
{
    int                      rc;
    u_char                  *p;
    sigset_t                 all, old;
    ngx_mailping_geo_job_t  *job;

    job = &geo->job;

    if (job->db != NULL) {
        return;
    }

    job->fd = ngx_mailping_geo_lock(geo, db);

    if (job->fd == NGX_INVALID_FILE) {
        return;
    }

    if (geo->dir.len == 0) {
        (void) ngx_sprintf((u_char *) job->temp, "/proc/self/fd/%d%Z",
                           job->fd);

    } else {
        p = ngx_sprintf((u_char *) job->path, "%V/", &geo->dir);
        (void) ngx_mailping_geo_name(p, db, &db->seen);
    }

    job->db = db;
    job->id = db->seen;
    job->rc = NGX_ERROR;
    job->failure.what = NULL;
    job->failure.err = 0;

    atomic_store(&job->stop, 0);
    atomic_store(&job->done, 0);

    /* signals are for the thread that runs the event loop */

    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);

    rc = pthread_create(&job->thread, NULL, ngx_mailping_geo_thread, job);

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        job->failure.what = "pthread_create() failed";
        job->failure.err = rc;

        db->retry = ngx_time() + NGX_MAILPING_GEO_RETRY;
        ngx_mailping_geo_failed(geo, db, &job->id, &job->failure);
        ngx_mailping_geo_end(job);

        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, geo->log, 0,
                   "mailping geo copies \"%V\"", &db->file);
}


/* the file to copy to, or NGX_INVALID_FILE when another worker is at it */

static ngx_fd_t
ngx_mailping_geo_lock(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db)
{
    ngx_fd_t                     fd;
    struct stat                  st, named;
    struct flock                 fl;
    ngx_mailping_mmdb_failure_t  failure;

    if (geo->dir.len == 0) {
        fd = memfd_create("mailping", MFD_CLOEXEC|MFD_ALLOW_SEALING);

        if (fd == NGX_INVALID_FILE) {
            failure.what = "memfd_create() failed";
            failure.err = ngx_errno;
            goto failed;
        }

        return fd;
    }

    (void) ngx_sprintf((u_char *) geo->job.temp, "%V/geo-%V.tmp%Z",
                       &geo->dir, &ngx_mailping_geo_kinds[db->kind]);

    fd = open(geo->job.temp, O_RDWR|O_CREAT|O_CLOEXEC|O_NOFOLLOW, 0600);

    if (fd == NGX_INVALID_FILE) {
        failure.what = "open() of the copy failed";
        failure.err = ngx_errno;
        goto failed;
    }

    ngx_memzero(&fl, sizeof(struct flock));
    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;

    if (fcntl(fd, F_OFD_SETLK, &fl) == -1) {
        failure.what = "fcntl(F_OFD_SETLK) failed";
        failure.err = (ngx_errno == NGX_EAGAIN || ngx_errno == NGX_EACCES)
                      ? 0 : ngx_errno;

        (void) ngx_close_file(fd);

        if (failure.err == 0) {
            return NGX_INVALID_FILE;
        }

        goto failed;
    }

    if (fstat(fd, &st) == -1
        || stat(geo->job.temp, &named) == -1
        || st.st_dev != named.st_dev
        || st.st_ino != named.st_ino)
    {
        (void) ngx_close_file(fd);
        return NGX_INVALID_FILE;
    }

    return fd;

failed:

    db->retry = ngx_time() + NGX_MAILPING_GEO_RETRY;
    ngx_mailping_geo_failed(geo, db, &db->seen, &failure);

    return NGX_INVALID_FILE;
}


static void
ngx_mailping_geo_finish(ngx_mailping_geo_t *geo)
{
    ngx_int_t                rc;
    ngx_mailping_geo_db_t   *db;
    ngx_mailping_geo_job_t  *job;

    job = &geo->job;
    db = job->db;

    (void) pthread_join(job->thread, NULL);

    rc = job->rc;

    switch (rc) {

    case NGX_OK:

        /* a copy in the directory is found there, as by other workers */

        if (job->path == NULL) {
            (void) ngx_mailping_geo_swap(geo, db, job->temp, &job->id);
        }

        break;

    case NGX_AGAIN:
        ngx_memzero(&db->seen, sizeof(ngx_mailping_mmdb_id_t));
        break;

    case NGX_DECLINED:
        ngx_mailping_geo_refused(geo, db, &job->id, &job->failure);
        break;

    default: /* NGX_ERROR */
        db->retry = ngx_time() + NGX_MAILPING_GEO_RETRY;
        ngx_mailping_geo_failed(geo, db, &job->id, &job->failure);
        break;
    }

    ngx_mailping_geo_end(job);
}


static void
ngx_mailping_geo_stop(ngx_mailping_geo_t *geo)
{
    if (geo->event.timer_set) {
        ngx_del_timer(&geo->event);
    }

    if (geo->job.db != NULL) {
        atomic_store(&geo->job.stop, 1);
        (void) pthread_join(geo->job.thread, NULL);
        ngx_mailping_geo_end(&geo->job);
    }
}


static void
ngx_mailping_geo_end(ngx_mailping_geo_job_t *job)
{
    /* unlinked before the lock is given back: the name is still ours */

    if (job->path != NULL && job->rc != NGX_OK) {
        (void) ngx_delete_file(job->temp);
    }

    (void) ngx_close_file(job->fd);

    job->db = NULL;
}


static ngx_int_t
ngx_mailping_geo_swap(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db,
    const char *path, const ngx_mailping_mmdb_id_t *id)
{
    MMDB_s                       mmdb;
    ngx_int_t                    rc;
    ngx_uint_t                   unusual;
    ngx_mailping_mmdb_failure_t  failure;

    rc = ngx_mailping_mmdb_open(path, db->kind, &mmdb, &unusual, &failure);

    if (rc != NGX_OK) {
        db->retry = ngx_time() + NGX_MAILPING_GEO_RETRY;
        ngx_mailping_geo_failed(geo, db, id, &failure);
        return rc;
    }

    /* nothing points into the old mapping: look-ups copy what they find */

    MMDB_close(&db->mmdb);

    db->mmdb = mmdb;
    db->loaded = *id;
    db->reloaded = ngx_time();
    db->stale = 0;
    db->shared->failed = 0;

    ngx_mailping_geo_sweep(geo, db);

    if (ngx_mailping_geo_first(&db->shared->reloaded,
                               ngx_mailping_geo_hash(id)))
    {
        ngx_log_error(NGX_LOG_NOTICE, geo->log, 0,
                      "mailping database \"%V\" reloaded", &db->file);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, geo->log, 0,
                   "mailping geo mapped \"%s\"", path);

    return NGX_OK;
}


/*
 * Unlinks the copies of other versions.  A worker that still looks for one of
 * them copies anew, a worker that has it mapped keeps it.
 */

static void
ngx_mailping_geo_sweep(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db)
{
    u_char     *last, name[NGX_MAILPING_GEO_NAME_MAX];
    size_t      len, prefix;
    ngx_str_t  *kind;
    ngx_dir_t   dir;

    db->swept = 1;

    if (geo->dir.len == 0) {
        return;
    }

    if (ngx_open_dir(&geo->dir, &dir) == NGX_ERROR) {
        ngx_log_error(NGX_LOG_CRIT, geo->log, ngx_errno,
                      ngx_open_dir_n " \"%V\" failed", &geo->dir);
        return;
    }

    (void) ngx_mailping_geo_name(name, db, &db->loaded);

    kind = &ngx_mailping_geo_kinds[db->kind];
    prefix = sizeof("geo-") - 1 + kind->len + sizeof("-") - 1;

    while (ngx_read_dir(&dir) == NGX_OK) {

        len = ngx_de_namelen(&dir);

        if (len <= prefix
            || len >= NGX_MAILPING_GEO_NAME_MAX
            || ngx_strncmp(ngx_de_name(&dir), name, prefix) != 0
            || ngx_strcmp(ngx_de_name(&dir), name) == 0)
        {
            continue;
        }

        last = ngx_sprintf((u_char *) geo->path, "%V/%s", &geo->dir,
                           ngx_de_name(&dir));
        *last = '\0';

        (void) ngx_delete_file(geo->path);
    }

    if (ngx_close_dir(&dir) == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, geo->log, ngx_errno,
                      ngx_close_dir_n " \"%V\" failed", &geo->dir);
    }
}


/* the content is broken: this version is never tried again */

static void
ngx_mailping_geo_refused(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db,
    const ngx_mailping_mmdb_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure)
{
    if (ngx_mailping_geo_first(&db->shared->refused,
                               ngx_mailping_geo_hash(id)))
    {
        ngx_log_error(NGX_LOG_WARN, geo->log, 0,
                      "mailping database \"%V\" is broken, the old one is "
                      "kept: %s", &db->file, failure->what);
    }
}


/* the system refused something: it is tried again */

static void
ngx_mailping_geo_failed(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db,
    const ngx_mailping_mmdb_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure)
{
    if (ngx_mailping_geo_first(&db->shared->failed,
                               ngx_mailping_geo_hash(id)))
    {
        ngx_log_error(NGX_LOG_WARN, geo->log, failure->err,
                      "mailping database \"%V\" cannot be reloaded, the old "
                      "one is kept: %s", &db->file, failure->what);
    }
}


static u_char *
ngx_mailping_geo_name(u_char *p, ngx_mailping_geo_db_t *db,
    const ngx_mailping_mmdb_id_t *id)
{
    return ngx_sprintf(p, "geo-%V-%xL-%xL-%xL-%xL-%xL.mmdb%Z",
                       &ngx_mailping_geo_kinds[db->kind], id->device,
                       id->inode, id->size, id->sec, id->nsec);
}


static ngx_atomic_uint_t
ngx_mailping_geo_hash(const ngx_mailping_mmdb_id_t *id)
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

    /* 0 is "nothing was said yet" */

    return (ngx_atomic_uint_t) hash | 1;
}


static ngx_uint_t
ngx_mailping_geo_first(ngx_atomic_t *said, ngx_atomic_uint_t hash)
{
    ngx_atomic_uint_t  old;

    old = *said;

    return old != hash && ngx_atomic_cmp_set(said, old, hash);
}


static void *
ngx_mailping_geo_thread(void *data)
{
    ngx_mailping_geo_job_t  *job = data;

    MMDB_s      mmdb;
    ngx_int_t   rc;
    ngx_uint_t  unusual;

    rc = ngx_mailping_mmdb_copy((char *) job->db->file.data, job->fd, &job->id,
                               &job->stop, &job->failure);

    if (rc == NGX_OK && job->path == NULL) {
        rc = ngx_mailping_mmdb_seal(job->fd, &job->failure);
    }

    /* a name that survives a loss of power must not lead to a torn file */

    if (rc == NGX_OK && job->path != NULL && fsync(job->fd) == -1) {
        job->failure.what = "fsync() of the copy failed";
        job->failure.err = errno;
        rc = NGX_ERROR;
    }

    if (rc == NGX_OK) {
        rc = ngx_mailping_mmdb_open(job->temp, job->db->kind, &mmdb, &unusual,
                                   &job->failure);
        if (rc == NGX_OK) {
            MMDB_close(&mmdb);
        }
    }

    if (rc == NGX_OK && job->path != NULL
        && rename(job->temp, job->path) == -1)
    {
        job->failure.what = "rename() of the copy failed";
        job->failure.err = errno;
        rc = NGX_ERROR;
    }

    job->rc = rc;

    atomic_store(&job->done, 1);

    return NULL;
}


ngx_uint_t
ngx_mailping_geo_has_asn(ngx_mailping_geo_t *geo)
{
    return geo != NULL && geo->dbs[NGX_MAILPING_MMDB_ASN].file.len != 0;
}


void
ngx_mailping_geo_lookup(ngx_mailping_geo_t *geo, const uint8_t addr[16],
    const uint8_t masked[16], ngx_mailping_place_t *place,
    u_char buf[4][MAILPING_EVENT_TEXT_MAX])
{
    ngx_uint_t     i;
    const MMDB_s  *dbs[NGX_MAILPING_MMDB_KINDS];

    for (i = 0; i < NGX_MAILPING_MMDB_KINDS; i++) {
        dbs[i] = (geo != NULL && geo->dbs[i].open) ? &geo->dbs[i].mmdb : NULL;
    }

    ngx_mailping_mmdb_place(dbs, addr, masked, place, buf);
}


ngx_int_t
ngx_mailping_geo_status(ngx_mailping_geo_t *geo, ngx_pool_t *pool,
    ngx_str_t *json)
{
    u_char                 *p;
    size_t                  len;
    time_t                  now;
    uint64_t                build;
    ngx_str_t               file[NGX_MAILPING_MMDB_KINDS];
    ngx_str_t               type[NGX_MAILPING_MMDB_KINDS];
    ngx_uint_t              i;
    const char             *name;
    ngx_mailping_geo_db_t  *db;

    len = sizeof("[]") - 1;

    for (i = 0; geo != NULL && i < NGX_MAILPING_MMDB_KINDS; i++) {
        db = &geo->dbs[i];

        if (!db->open) {
            continue;
        }

        name = db->mmdb.metadata.database_type;

        file[i] = ngx_mailping_json_string(pool, db->file.len, db->file.data);
        type[i] = ngx_mailping_json_string(pool, ngx_strlen(name),
                                           (u_char *) name);

        if (file[i].data == NULL || type[i].data == NULL) {
            return NGX_ERROR;
        }

        len += sizeof(",{\"database\":\"\",\"file\":,\"type\":,\"build\":,"
                      "\"age\":,\"reloaded\":,\"stale\":false}") - 1
               + ngx_mailping_geo_kinds[i].len + file[i].len + type[i].len
               + 2 * NGX_INT64_LEN + NGX_TIME_T_LEN;
    }

    json->data = ngx_pnalloc(pool, len);
    if (json->data == NULL) {
        return NGX_ERROR;
    }

    now = ngx_time();

    p = json->data;
    *p++ = '[';

    for (i = 0; geo != NULL && i < NGX_MAILPING_MMDB_KINDS; i++) {
        db = &geo->dbs[i];

        if (!db->open) {
            continue;
        }

        if (p[-1] == '}') {
            *p++ = ',';
        }

        build = db->mmdb.metadata.build_epoch;

        p = ngx_sprintf(p, "{\"database\":\"%V\",\"file\":%V,\"type\":%V,"
                        "\"build\":%uL,\"age\":%uL,\"reloaded\":%T,"
                        "\"stale\":%s}",
                        &ngx_mailping_geo_kinds[i], &file[i], &type[i], build,
                        (build < (uint64_t) now) ? (uint64_t) now - build : 0,
                        db->reloaded, db->stale ? "true" : "false");
    }

    *p++ = ']';

    json->len = p - json->data;

    return NGX_OK;
}
