
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mailping.h"
#include "ngx_mailping_copy.h"


/*
 * The first copy of a database is made while the configuration is read, where
 * a file that cannot be used still refuses the configuration: a failure in
 * init_module ends the master.  It is in sealed memory, and workers inherit
 * the mapping through fork().
 *
 * Later copies are made by workers (ngx_mailping_copy.c).  Each worker looks
 * at the operator's file every two seconds; a change that two looks in a row
 * see alike is finished.  What happens to all workers alike is logged by one
 * of them: a page of shared memory remembers the version that was spoken of
 * last.
 */


#define NGX_MAILPING_GEO_LOOK    2000    /* ms between two looks */
#define NGX_MAILPING_GEO_POLL    100     /* ms, while the thread runs */
#define NGX_MAILPING_GEO_RETRY   10000   /* ms after a failed copy */

#define NGX_MAILPING_GEO_GROUPS  64


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
    ngx_mailping_copy_id_t       loaded;     /* the version mapped */
    ngx_mailping_copy_id_t       seen;       /* at the last look */
    time_t                       reloaded;
    ngx_msec_t                   retry;

    unsigned                     open:1;
    unsigned                     unusual:1;  /* its type name is */
    unsigned                     stale:1;    /* the file is another one now */
    unsigned                     swept:1;
} ngx_mailping_geo_db_t;


struct ngx_mailping_geo_s {
    ngx_mailping_geo_db_t        dbs[NGX_MAILPING_MMDB_KINDS];
    ngx_mailping_geo_db_t       *copied;     /* NULL: no thread */
    ngx_mailping_copy_t          copy;
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
static void ngx_mailping_geo_finish(ngx_mailping_geo_t *geo);
static void ngx_mailping_geo_stop(ngx_mailping_geo_t *geo);
static ngx_int_t ngx_mailping_geo_swap(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db, const char *path,
    const ngx_mailping_copy_id_t *id);
static void ngx_mailping_geo_refused(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db, const ngx_mailping_copy_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure);
static void ngx_mailping_geo_failed(ngx_mailping_geo_t *geo,
    ngx_mailping_geo_db_t *db, const ngx_mailping_copy_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure);
static ngx_uint_t ngx_mailping_geo_first(ngx_atomic_t *said,
    ngx_atomic_uint_t hash);


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

            file = ngx_mailping_mmdb_kinds[kind];

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
    ngx_uint_t                   unusual;
    ngx_mailping_mmdb_failure_t  failure;

    /* "nginx -s" only needs the name of the pid file */

    if (ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    if (ngx_mailping_copy_now((char *) db->file.data, db->kind, &db->loaded,
                              &db->mmdb, &unusual, &failure)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, failure.err,
                           "database \"%V\" cannot be used for \"%V\": %s",
                           &db->file, &ngx_mailping_mmdb_kinds[db->kind],
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
                          &ngx_mailping_mmdb_kinds[i],
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
    ngx_str_t            dir;
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
        dir = mmcf->spool.path;

    } else {
        ngx_str_null(&dir);
    }

    if (ngx_mailping_copy_init(&geo->copy, &dir, cycle->pool) != NGX_OK) {
        return NGX_ERROR;
    }

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

    if (geo->copied != NULL && ngx_mailping_copy_done(&geo->copy)) {
        ngx_mailping_geo_finish(geo);
    }

    for (i = 0; geo->copied == NULL && i < NGX_MAILPING_MMDB_KINDS; i++) {
        if (geo->dbs[i].open) {
            ngx_mailping_geo_look(geo, &geo->dbs[i]);
        }
    }

    ngx_add_timer(ev, (geo->copied != NULL) ? NGX_MAILPING_GEO_POLL
                                            : NGX_MAILPING_GEO_LOOK);
}


static void
ngx_mailping_geo_look(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db)
{
    const char                  *path;
    struct stat                  st;
    ngx_mailping_copy_id_t       id;
    ngx_mailping_mmdb_failure_t  failure;

    failure.what = "stat() failed";
    failure.err = ngx_mailping_copy_identify((char *) db->file.data, &id);

    if (ngx_mailping_copy_same(&id, &db->loaded)) {
        db->seen = id;
        db->stale = 0;
        db->shared->failed = 0;

        if (!db->swept) {
            ngx_mailping_copy_sweep(&geo->copy, db->kind, &id, geo->log);
            db->swept = 1;
        }

        return;
    }

    db->stale = 1;

    if (!ngx_mailping_copy_same(&id, &db->seen)) {
        db->seen = id;
        db->retry = ngx_current_msec;
        return;
    }

    if (failure.err != 0) {
        ngx_mailping_geo_failed(geo, db, &id, &failure);
        return;
    }

    if ((ngx_msec_int_t) (db->retry - ngx_current_msec) > 0
        || db->shared->refused == ngx_mailping_copy_hash(&id))
    {
        return;
    }

    path = ngx_mailping_copy_path(&geo->copy, db->kind, &id);

    if (path == NULL || stat(path, &st) == -1) {
        ngx_mailping_geo_start(geo, db);
        return;
    }

    if (ngx_mailping_geo_swap(geo, db, path, &id) == NGX_DECLINED) {

        /* a verified copy can only be damaged by a loss of power */

        (void) ngx_delete_file(path);
    }
}


static void
ngx_mailping_geo_start(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db)
{
    switch (ngx_mailping_copy_start(&geo->copy, (char *) db->file.data,
                                    db->kind, &db->seen))
    {

    case NGX_OK:
        geo->copied = db;

        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, geo->log, 0,
                       "mailping geo copies \"%V\"", &db->file);
        break;

    case NGX_ERROR:
        ngx_mailping_geo_failed(geo, db, &db->seen, &geo->copy.failure);
        break;

    default: /* NGX_BUSY */
        break;
    }
}


static void
ngx_mailping_geo_finish(ngx_mailping_geo_t *geo)
{
    ngx_mailping_copy_t    *copy;
    ngx_mailping_geo_db_t  *db;

    copy = &geo->copy;
    db = geo->copied;

    switch (copy->rc) {

    case NGX_OK:

        /* a copy in the directory is found there, as by other workers */

        if (copy->dir.len == 0) {
            (void) ngx_mailping_geo_swap(geo, db, copy->temp, &copy->id);
        }

        break;

    case NGX_AGAIN:
        ngx_memzero(&db->seen, sizeof(ngx_mailping_copy_id_t));
        break;

    case NGX_DECLINED:
        ngx_mailping_geo_refused(geo, db, &copy->id, &copy->failure);
        break;

    default: /* NGX_ERROR */
        ngx_mailping_geo_failed(geo, db, &copy->id, &copy->failure);
        break;
    }

    ngx_mailping_copy_end(copy);
    geo->copied = NULL;
}


static void
ngx_mailping_geo_stop(ngx_mailping_geo_t *geo)
{
    if (geo->event.timer_set) {
        ngx_del_timer(&geo->event);
    }

    if (geo->copied != NULL) {
        ngx_mailping_copy_end(&geo->copy);
        geo->copied = NULL;
    }
}


static ngx_int_t
ngx_mailping_geo_swap(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db,
    const char *path, const ngx_mailping_copy_id_t *id)
{
    MMDB_s                       mmdb;
    ngx_int_t                    rc;
    ngx_uint_t                   unusual;
    ngx_mailping_mmdb_failure_t  failure;

    rc = ngx_mailping_mmdb_open(path, db->kind, &mmdb, &unusual, &failure);

    if (rc != NGX_OK) {
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

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, geo->log, 0,
                   "mailping geo mapped \"%s\"", path);

    ngx_mailping_copy_sweep(&geo->copy, db->kind, id, geo->log);

    if (ngx_mailping_geo_first(&db->shared->reloaded,
                               ngx_mailping_copy_hash(id)))
    {
        ngx_log_error(NGX_LOG_NOTICE, geo->log, 0,
                      "mailping database \"%V\" reloaded", &db->file);
    }

    return NGX_OK;
}


/* the content is broken: this version is never tried again */

static void
ngx_mailping_geo_refused(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db,
    const ngx_mailping_copy_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure)
{
    if (ngx_mailping_geo_first(&db->shared->refused,
                               ngx_mailping_copy_hash(id)))
    {
        ngx_log_error(NGX_LOG_WARN, geo->log, 0,
                      "mailping database \"%V\" is broken, the old one is "
                      "kept: %s", &db->file, failure->what);
    }
}


/* the system refused something: it is tried again */

static void
ngx_mailping_geo_failed(ngx_mailping_geo_t *geo, ngx_mailping_geo_db_t *db,
    const ngx_mailping_copy_id_t *id,
    const ngx_mailping_mmdb_failure_t *failure)
{
    db->retry = ngx_current_msec + NGX_MAILPING_GEO_RETRY;

    if (ngx_mailping_geo_first(&db->shared->failed,
                               ngx_mailping_copy_hash(id)))
    {
        ngx_log_error(NGX_LOG_WARN, geo->log, failure->err,
                      "mailping database \"%V\" cannot be reloaded, the old "
                      "one is kept: %s", &db->file, failure->what);
    }
}


static ngx_uint_t
ngx_mailping_geo_first(ngx_atomic_t *said, ngx_atomic_uint_t hash)
{
    ngx_atomic_uint_t  old;

    old = *said;

    return old != hash && ngx_atomic_cmp_set(said, old, hash);
}


ngx_uint_t
ngx_mailping_geo_has_asn(ngx_mailping_geo_t *geo)
{
    return geo != NULL && geo->dbs[NGX_MAILPING_MMDB_ASN].file.len != 0;
}


void
ngx_mailping_geo_network(ngx_mailping_geo_t *geo, const uint8_t addr[16],
    ngx_mailping_network_t *network, u_char buf[MAILPING_EVENT_TEXT_MAX])
{
    ngx_mailping_geo_db_t  *db;

    db = &geo->dbs[NGX_MAILPING_MMDB_ASN];

    ngx_mailping_mmdb_network(db->open ? &db->mmdb : NULL, addr, network, buf);
}


void
ngx_mailping_geo_place(ngx_mailping_geo_t *geo, const uint8_t addr[16],
    ngx_mailping_place_t *place, u_char buf[3][MAILPING_EVENT_TEXT_MAX])
{
    ngx_uint_t     i;
    const MMDB_s  *dbs[NGX_MAILPING_MMDB_KINDS];

    for (i = 0; i < NGX_MAILPING_MMDB_KINDS; i++) {
        dbs[i] = geo->dbs[i].open ? &geo->dbs[i].mmdb : NULL;
    }

    ngx_mailping_mmdb_place(dbs, addr, place, buf);
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
               + ngx_mailping_mmdb_kinds[i].len + file[i].len + type[i].len
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
                        &ngx_mailping_mmdb_kinds[i], &file[i], &type[i], build,
                        (build < (uint64_t) now) ? (uint64_t) now - build : 0,
                        db->reloaded, db->stale ? "true" : "false");
    }

    *p++ = ']';

    json->len = p - json->data;

    return NGX_OK;
}
