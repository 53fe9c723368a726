
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/vfs.h>

#include "ngx_mailping_spool.h"


#define NGX_MAILPING_FS_NFS      0x6969
#define NGX_MAILPING_FS_BTRFS    0x9123683e
#define NGX_MAILPING_FS_ZFS      0x2fc12fc1
#define NGX_MAILPING_FS_OVERLAY  0x794c7630


static ngx_int_t ngx_mailping_spool_path(ngx_cycle_t *cycle, ngx_str_t *path);
static ngx_int_t ngx_mailping_spool_mkdir(ngx_cycle_t *cycle, ngx_str_t *path);
static ngx_int_t ngx_mailping_spool_filesystem(ngx_cycle_t *cycle,
    ngx_str_t *path);


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


ngx_int_t
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


DIR *
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


ngx_uint_t
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
ngx_mailping_spool_failed(ngx_mailping_spool_t *spool, ngx_uint_t level,
    ngx_err_t err, const char *what, const char *name)
{
    spool->failing = 1;

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
