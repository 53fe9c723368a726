
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/random.h>

#include "ngx_mailping_spool.h"


/*
 * DESIGN
 *
 * The spool is a directory of ring files of a fixed size.  Which worker a
 * ring belongs to is not written anywhere: whoever holds the lock of the open
 * file description owns it, and the kernel drops that lock with the process.
 * So a reload, fewer workers, a binary upgrade and a killed worker are all
 * the same case: there are rings that nobody holds, and whoever needs room or
 * sees undelivered records in one takes it.
 *
 *     <uuid>.tmp     being made: preallocated, locked, formatted, renamed
 *     <uuid>.ring    a ring
 *     <uuid>.bad     taken out because it is damaged; nothing reads it again
 *
 * A worker appends to one ring, the active one.  When that is full, it turns
 * to another one of its own, then to one that nobody holds, then it makes
 * one, as long as all rings together stay within the configured size.  Rings
 * that it does not append to remain its own until they are delivered, and for
 * the time of "rewind" after that, if there is room for other rings.  Then
 * they are given back, or removed when nobody may ever append to them again.
 *
 * The size is kept without a lock between workers.  Each makes its temporary
 * file first and counts all files after that, so of two that go over the
 * bound together at least the later one sees both, and steps back.
 *
 * A temporary file that is not locked belongs to a dead process once it is
 * older than the moment between open() and fcntl().
 *
 * Room.  A ring's size is a share of the whole, so that the active rings of
 * two generations of workers still leave room for those of a third and for
 * backlog.  When there is no room for another ring, drained ones of another
 * prefix or partition count make it at once: nobody waits for them.  A worker
 * that finds no ring tries again after moments, as those of the generation
 * before may be about to leave; one that exits keeps no drained ring.  What is
 * lost then are the opens between two tries while undelivered rings, or
 * workers that do not leave, take all of the room, and those of the second
 * until workers see in their ticks that what they keep for "rewind" is needed.
 *
 * Whatever goes wrong is logged once, does not stop the worker and is tried
 * again at the next tick; until then opens are counted as lost.
 */


#define NGX_MAILPING_SPOOL_TICK      1000      /* ms */
#define NGX_MAILPING_SPOOL_RETRY     50        /* ms, without a ring */
#define NGX_MAILPING_SPOOL_SHARE     4         /* rings per worker */

#define NGX_MAILPING_SPOOL_RING_MIN  (NGX_MAILPING_SPOOL_MIN                  \
                                      / NGX_MAILPING_SPOOL_SHARE)
#define NGX_MAILPING_SPOOL_RING_MAX  (16 * 1024 * 1024)

#define NGX_MAILPING_BOOT_ID         "/proc/sys/kernel/random/boot_id"


static ngx_int_t ngx_mailping_spool_boot_id(ngx_mailping_spool_t *spool);
static void ngx_mailping_spool_tick(ngx_event_t *ev);
static void ngx_mailping_spool_retry(ngx_event_t *ev);
static void ngx_mailping_spool_look(ngx_mailping_file_t *file);
static void ngx_mailping_spool_settle(ngx_mailping_file_t *file);
static ngx_int_t ngx_mailping_spool_obtain(ngx_mailping_spool_t *spool);
static ngx_int_t ngx_mailping_spool_write_loss(ngx_mailping_spool_t *spool);
static ngx_int_t ngx_mailping_spool_write(ngx_mailping_spool_t *spool,
    mailping_record_t *record, mailping_ring_t **ring);
static ngx_int_t ngx_mailping_file_append(ngx_mailping_file_t *file,
    mailping_record_t *record);


ngx_mailping_spool_t *
ngx_mailping_spool_open(ngx_cycle_t *cycle, ngx_mailping_worker_t *worker)
{
    size_t                      size, max;
    ngx_core_conf_t            *ccf;
    ngx_mailping_spool_t       *spool;
    ngx_mailping_redis_conf_t  *redis;

    spool = ngx_pcalloc(cycle->pool, sizeof(ngx_mailping_spool_t));
    if (spool == NULL) {
        return NULL;
    }

    ngx_queue_init(&spool->files);

    spool->worker = worker;
    spool->log = worker->log;
    spool->dir = NGX_INVALID_FILE;
    spool->dir_slot = -1;

    /* without mailping_redis the events wait for one with these defaults */

    redis = worker->conf->redis;

    spool->prefix = redis ? ngx_mailping_str(redis->prefix)
                          : mailping_str("mailping", sizeof("mailping") - 1);
    spool->partitions = redis ? redis->partitions : 1;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    /* the recovery of a ring takes time, but one worker may have to own all */

    max = worker->conf->spool.size / NGX_MAILPING_SPOOL_OWNED;
    max = ngx_max(max, NGX_MAILPING_SPOOL_RING_MAX);
    max = ngx_min(max, (size_t) MAILPING_RING_BLOCKS_MAX
                       * MAILPING_RING_BLOCK);

    size = worker->conf->spool.size
           / (NGX_MAILPING_SPOOL_SHARE * ccf->worker_processes);
    size = ngx_max(size, NGX_MAILPING_SPOOL_RING_MIN);
    size = ngx_min(size, max);

    spool->ring_size = size - size % MAILPING_RING_BLOCK;

    if (ngx_mailping_spool_boot_id(spool) != NGX_OK) {
        return NULL;
    }

    if (worker->conf->spool.sync) {
        spool->sync = ngx_mailping_sync_start(worker->conf->spool.sync,
                                              spool->log);
        if (spool->sync == NULL) {
            ngx_log_error(NGX_LOG_CRIT, spool->log, 0,
                          "mailping spool is not synced in this worker");
        }
    }

    if (ngx_worker == 0) {
        ngx_mailping_spool_notice(spool);
    }

    spool->dummy.fd = (ngx_socket_t) -1;
    spool->dummy.data = spool;

    spool->tick.handler = ngx_mailping_spool_tick;
    spool->tick.data = &spool->dummy;
    spool->tick.log = spool->log;
    spool->tick.cancelable = 1;

    spool->retry.handler = ngx_mailping_spool_retry;
    spool->retry.data = &spool->dummy;
    spool->retry.log = spool->log;
    spool->retry.cancelable = 1;

    (void) ngx_mailping_spool_obtain(spool);

    spool->started = 1;

    /* workers that start together do not look for orphans together */

    ngx_add_timer(&spool->tick, ngx_random() % NGX_MAILPING_SPOOL_TICK + 1);

    return spool;
}


void
ngx_mailping_spool_close(ngx_mailping_spool_t *spool)
{
    ngx_queue_t          *q;
    ngx_mailping_file_t  *file;

    if (spool->tick.timer_set) {
        ngx_del_timer(&spool->tick);
    }

    /* delivery has stopped, nothing reads the rings any more */

    for (q = ngx_queue_head(&spool->files);
         q != ngx_queue_sentinel(&spool->files);
         q = ngx_queue_next(q))
    {
        file = ngx_queue_data(q, ngx_mailping_file_t, queue);
        file->attached = 0;
    }

    /* the last try for a loss record is not the one that failed before */

    spool->exhausted = 0;

    if (spool->loss.count
        && ngx_mailping_spool_write_loss(spool) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, spool->log, 0,
                      "mailping worker exits with %uL lost opens that no "
                      "loss record tells of", spool->loss.count);
    }

    if (spool->retry.timer_set) {
        ngx_del_timer(&spool->retry);
    }

    while (!ngx_queue_empty(&spool->files)) {
        q = ngx_queue_head(&spool->files);
        file = ngx_queue_data(q, ngx_mailping_file_t, queue);

        (void) ngx_mailping_file_release(file);
    }

    if (spool->dir != NGX_INVALID_FILE) {

        if (spool->dir_slot >= 0) {
            ngx_mailping_sync_remove(spool->sync, spool->dir_slot);
        }

        (void) ngx_close_file(spool->dir);
    }

    ngx_mailping_sync_stop(spool->sync);
}


/* A boot id that cannot be read is replaced by one that no ring can have. */

static ngx_int_t
ngx_mailping_spool_boot_id(ngx_mailping_spool_t *spool)
{
    u_char     text[64], *p;
    ssize_t    n;
    ngx_fd_t   fd;
    ngx_int_t  high, low;
    ngx_uint_t i;

    n = -1;

    fd = open(NGX_MAILPING_BOOT_ID, O_RDONLY|O_CLOEXEC);

    if (fd != NGX_INVALID_FILE) {
        n = read(fd, text, sizeof(text));
        (void) ngx_close_file(fd);
    }

    p = text;

    for (i = 0; i < 16 && n >= 36; i++) {

        if (*p == '-') {
            p++;
        }

        high = ngx_hextoi(p, 1);
        low = ngx_hextoi(p + 1, 1);

        if (high == NGX_ERROR || low == NGX_ERROR) {
            break;
        }

        spool->boot_id[i] = (u_char) (high << 4 | low);
        p += 2;
    }

    if (n >= 36 && i == 16) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_CRIT, spool->log, 0,
                  "mailping could not read \"" NGX_MAILPING_BOOT_ID "\", "
                  "rings of a killed worker will be delivered "
                  "but not appended to");

    if (getrandom(spool->boot_id, 16, GRND_NONBLOCK) != 16) {
        ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                      "getrandom() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mailping_spool_tick(ngx_event_t *ev)
{
    ngx_queue_t           *q, *next;
    ngx_core_conf_t       *ccf;
    ngx_connection_t      *dummy;
    ngx_mailping_file_t   *file;
    ngx_mailping_spool_t  *spool;

    dummy = ev->data;
    spool = dummy->data;

    spool->exhausted = 0;
    spool->full = 0;
    spool->failing = 0;

    /* whether the next generation of workers would find a ring each */

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    spool->roomy = ngx_mailping_spool_room(spool, spool->ring_size
                                                  * ccf->worker_processes)
                   == NGX_OK;

    for (q = ngx_queue_head(&spool->files);
         q != ngx_queue_sentinel(&spool->files);
         q = next)
    {
        next = ngx_queue_next(q);
        file = ngx_queue_data(q, ngx_mailping_file_t, queue);

        ngx_mailping_spool_look(file);
    }

    if (spool->active == NULL && !ngx_exiting) {
        (void) ngx_mailping_spool_obtain(spool);
    }

    if (spool->worker->delivery) {
        ngx_mailping_spool_adopt(spool);
    }

    if (spool->loss.count > spool->reported) {
        ngx_log_error(NGX_LOG_WARN, spool->log, 0,
                      "mailping lost %uL opens, the spool \"%V\" is full or "
                      "cannot be written",
                      spool->loss.count - spool->reported,
                      &spool->worker->conf->spool.path);

        spool->reported = spool->loss.count;
    }

    if (spool->loss.count) {
        (void) ngx_mailping_spool_write_loss(spool);
    }

    /* a record of a loss may fit where no open does, and proves nothing */

    if (!spool->failing && spool->failure && spool->proved) {
        ngx_log_error(NGX_LOG_NOTICE, spool->log, 0,
                      "mailping spool \"%V\" works again",
                      &spool->worker->conf->spool.path);

        spool->failure = NULL;
    }

    ngx_add_timer(&spool->tick, NGX_MAILPING_SPOOL_TICK * 9 / 10
                                + ngx_random() % (NGX_MAILPING_SPOOL_TICK
                                                  / 5));
}


static void
ngx_mailping_spool_retry(ngx_event_t *ev)
{
    ngx_connection_t      *dummy;
    ngx_mailping_spool_t  *spool;

    dummy = ev->data;
    spool = dummy->data;

    spool->exhausted = 0;
    spool->full = 0;

    if (spool->active == NULL) {
        (void) ngx_mailping_spool_obtain(spool);
    }
}


/* Looks after one ring: its file, its sync, and whether it is done with. */

static void
ngx_mailping_spool_look(ngx_mailping_file_t *file)
{
    ngx_err_t              err;
    struct stat            st, named;
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (file->slot >= 0 && file->ring.state != MAILPING_RING_FAILED) {

        err = ngx_mailping_sync_error(spool->sync, file->slot);

        if (err) {
            ngx_log_error(NGX_LOG_CRIT, spool->log, err,
                          "fdatasync() mailping ring \"%s\" failed, it is "
                          "delivered but not appended to any more",
                          file->name);

            mailping_ring_fail(&file->ring);
        }
    }

    if (fstat(file->fd, &st) == -1) {
        ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                                  "a ring cannot be examined", file->name);
        return;
    }

    if ((uint64_t) st.st_size != file->ring.params.size) {
        ngx_mailping_file_quarantine(file, "its size was changed");
        return;
    }

    if (!file->lost
        && (fstatat(spool->dir, file->name, &named, AT_SYMLINK_NOFOLLOW) == -1
            || named.st_ino != st.st_ino || named.st_dev != st.st_dev))
    {
        ngx_log_error(NGX_LOG_ALERT, spool->log, 0,
                      "mailping ring \"%V/%s\" was removed or replaced while "
                      "in use; its %uL undelivered opens are kept only as "
                      "long as this process lives",
                      &spool->worker->conf->spool.path, file->name,
                      mailping_ring_undelivered(&file->ring));

        file->lost = 1;
        mailping_ring_fail(&file->ring);
    }

    if (spool->active == file
        && (file->ring.state != MAILPING_RING_CLEAN
            || (ngx_exiting && mailping_ring_undelivered(&file->ring) == 0)))
    {
        spool->active = NULL;
    }

    ngx_mailping_spool_settle(file);
}


static void
ngx_mailping_spool_settle(ngx_mailping_file_t *file)
{
    ngx_uint_t             keep;
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (spool->active == file
        || mailping_ring_undelivered(&file->ring) != 0)
    {
        file->idle = 0;
        return;
    }

    if (!file->idle) {
        file->idle = 1;
        file->drained = ngx_current_msec;
    }

    if (file->lost) {
        (void) ngx_mailping_file_release(file);
        return;
    }

    if (file->ring.state == MAILPING_RING_DAMAGED) {
        ngx_mailping_file_quarantine(file, "it is damaged; all records that "
                                     "could be read are delivered");
        return;
    }

    /*
     * Redis may lose what it has just said to have, and only the owner of a
     * ring would see that and send it again.  A worker that exits leaves it
     * to the next owner, who takes the ring because it is recent.  But room
     * for new opens comes first.
     */

    keep = spool->roomy
           && ngx_current_msec - file->drained
              < spool->worker->conf->spool.rewind;

    if (keep && !ngx_exiting) {
        return;
    }

    if (keep
        || mailping_ring_appendable(&file->ring, spool->prefix,
                                    spool->partitions))
    {
        /* when the others are full, this one is the next */

        if (!spool->starved) {
            (void) ngx_mailping_file_release(file);
        }

        return;
    }

    /* nobody will append to this ring again */

    ngx_mailping_file_remove(file);
}


/* Makes another ring the active one. */

static ngx_int_t
ngx_mailping_spool_obtain(ngx_mailping_spool_t *spool)
{
    ngx_mailping_file_t  *file;

    file = ngx_mailping_spool_find(spool);

    if (file == NULL) {
        spool->exhausted = 1;

        /* an error takes longer to go away than another worker */

        if (!spool->failing && !spool->retry.timer_set) {
            ngx_add_timer(&spool->retry, NGX_MAILPING_SPOOL_RETRY
                                         + ngx_random()
                                           % NGX_MAILPING_SPOOL_RETRY);
        }

        return NGX_DECLINED;
    }

    spool->active = file;
    spool->proved = 1;

    return NGX_OK;
}


ngx_int_t
ngx_mailping_spool_append(ngx_mailping_spool_t *spool,
    mailping_record_t *record, ngx_uint_t opens, mailping_ring_t **ring)
{
    ngx_int_t  rc;

    rc = spool->full ? NGX_DECLINED : NGX_OK;

    if (rc == NGX_OK && spool->loss.count) {

        /* the loss is told before the events that follow it */

        rc = ngx_mailping_spool_write_loss(spool);
    }

    if (rc == NGX_OK) {
        rc = ngx_mailping_spool_write(spool, record, ring);
    }

    if (rc == NGX_OK) {
        spool->proved = 1;
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        spool->full = 1;
    }

    if (opens == 0) {
        return rc;
    }

    /* without room within the bound, or because of an error */

    ngx_mailping_count(rc == NGX_DECLINED && !spool->failing
                       ? NGX_MAILPING_LOST_FULL : NGX_MAILPING_LOST_FAILED,
                       opens);

    if (spool->loss.count == 0) {
        spool->loss.first = record->time;
    }

    spool->loss.count += opens;
    spool->loss.last = record->time;

    return rc;
}


static ngx_int_t
ngx_mailping_spool_write_loss(ngx_mailping_spool_t *spool)
{
    u_char              payload[MAILPING_EVENT_PAYLOAD_MAX];
    ngx_int_t           rc;
    mailping_ring_t    *ring;
    mailping_record_t   record;

    spool->loss.time = ngx_mailping_now();

    ngx_memzero(&record, sizeof(mailping_record_t));

    record.type = MAILPING_RECORD_LOSS;
    record.version = MAILPING_EVENT_VERSION;
    record.time = spool->loss.time;
    record.payload.len = mailping_loss_encode(&spool->loss, payload);
    record.payload.data = payload;

    rc = ngx_mailping_spool_write(spool, &record, &ring);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_log_error(NGX_LOG_NOTICE, spool->log, 0,
                  "mailping recorded the loss of %uL opens",
                  spool->loss.count);

    ngx_memzero(&spool->loss, sizeof(mailping_loss_t));
    spool->reported = 0;

    if (spool->worker->delivery) {
        ngx_mailping_delivery_notify(spool->worker->delivery);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_spool_write(ngx_mailping_spool_t *spool,
    mailping_record_t *record, mailping_ring_t **ring)
{
    ngx_int_t             rc;
    ngx_queue_t          *q;
    ngx_mailping_file_t  *file;

    rc = NGX_DECLINED;
    file = spool->active;

    if (file) {
        rc = ngx_mailping_file_append(file, record);
    }

    if (rc != NGX_DECLINED) {
        goto done;
    }

    for (q = ngx_queue_head(&spool->files);
         q != ngx_queue_sentinel(&spool->files);
         q = ngx_queue_next(q))
    {
        file = ngx_queue_data(q, ngx_mailping_file_t, queue);

        if (file == spool->active) {
            continue;
        }

        rc = ngx_mailping_file_append(file, record);

        if (rc != NGX_DECLINED) {
            goto done;
        }
    }

    spool->starved = 1;

    if (spool->exhausted || ngx_mailping_spool_obtain(spool) != NGX_OK) {
        return NGX_DECLINED;
    }

    file = spool->active;
    rc = ngx_mailping_file_append(file, record);

done:

    if (rc == NGX_OK) {
        spool->active = file;
        spool->starved = 0;
        *ring = &file->ring;
    }

    return rc;
}


/*
 * NGX_DECLINED: no room, or the ring is not for appending.  NGX_ERROR: the
 * write failed, and would fail in another ring of this file system as well.
 */

static ngx_int_t
ngx_mailping_file_append(ngx_mailping_file_t *file, mailping_record_t *record)
{
    int                    rc;
    ngx_mailping_spool_t  *spool;

    spool = file->spool;

    if (!mailping_ring_appendable(&file->ring, spool->prefix,
                                  spool->partitions))
    {
        return NGX_DECLINED;
    }

    if (file->pending) {

        if (!ngx_mailping_sync_done(spool->sync, file->slot)) {
            return NGX_DECLINED;
        }

        file->pending = 0;

    } else if (file->ring.clean && ngx_mailping_file_begin(file) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = mailping_ring_append(&file->ring, record);

    if (rc == MAILPING_OK) {
        file->idle = 0;
        ngx_mailping_file_publish(file);
        return NGX_OK;
    }

    if (rc == MAILPING_AGAIN) {
        return NGX_DECLINED;
    }

    ngx_mailping_spool_failed(spool, NGX_LOG_CRIT, ngx_errno,
                              "a record cannot be written", file->name);

    return (file->ring.state == MAILPING_RING_FAILED) ? NGX_DECLINED
                                                      : NGX_ERROR;
}
