
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"

#include "core/builtin.h"


#define NGX_MAILPING_RULES_SIZE_MAX  (64 * 1024 * 1024)


static void ngx_mailping_rules_cleanup(void *data);
static int ngx_mailping_rules_load(void *data, const char *from,
    mailping_str_t name, mailping_str_t *text, char path[256], char why[128]);


/*
 * Reads the built-in rules and the operator's files on top of them, and
 * compiles them into one rule set, which workers inherit by fork.
 */

char *
ngx_mailping_rules_init(ngx_conf_t *cf, ngx_mailping_main_conf_t *mmcf)
{
    int                      rc;
    ngx_str_t               *file;
    ngx_uint_t               i, n;
    ngx_pool_t              *temp;
    const char              *why;
    mailping_str_t           text;
    ngx_pool_cleanup_t      *cln;
    mailping_rules_error_t   err;

    ngx_memzero(&err, sizeof(mailping_rules_error_t));

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    mmcf->rules = mailping_rules_create();
    if (mmcf->rules == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_mailping_rules_cleanup;
    cln->data = mmcf->rules;

    /* the texts are needed only until the rules are compiled */

    temp = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cf->log);
    if (temp == NULL) {
        return NGX_CONF_ERROR;
    }

    rc = mailping_builtin_rules(mmcf->rules, &err);

    file = mmcf->rule_files ? mmcf->rule_files->elts : NULL;
    n = mmcf->rule_files ? mmcf->rule_files->nelts : 0;

    for (i = 0; i < n && rc == MAILPING_OK; i++) {

        if (ngx_mailping_read_file(temp, (char *) file[i].data,
                                   NGX_MAILPING_RULES_SIZE_MAX, &text, &why)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "%s \"%V\" failed", why, &file[i]);
            ngx_destroy_pool(temp);
            return NGX_CONF_ERROR;
        }

        rc = mailping_rules_parse(mmcf->rules, (char *) file[i].data, text,
                                  ngx_mailping_rules_load, temp, &err);
    }

    if (rc == MAILPING_OK) {
        rc = mailping_rules_compile(mmcf->rules, &err);
    }

    ngx_destroy_pool(temp);

    if (rc != MAILPING_OK) {

        /* ngx_conf_log_error() would add the place in nginx.conf */

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s in %s:%ui, column %ui",
                      err.text, err.file, (ngx_uint_t) err.line,
                      (ngx_uint_t) err.column);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void
ngx_mailping_rules_cleanup(void *data)
{
    mailping_rules_t *rules = data;

    mailping_rules_destroy(rules);
}


static int
ngx_mailping_rules_load(void *data, const char *from, mailping_str_t name,
    mailping_str_t *text, char path[256], char why[128])
{
    u_char       *p;
    size_t        dir;
    ngx_pool_t   *pool = data;
    const char   *slash, *call;

    /* beside the file that names it, unless the name is absolute */

    slash = strrchr(from, '/');
    dir = (name.len && name.data[0] == '/') || slash == NULL
          ? 0 : (size_t) (slash - from) + 1;

    if (dir + name.len >= 256) {
        (void) ngx_snprintf((u_char *) path, 256, "%*s%Z",
                            ngx_min(name.len, 255), name.data);
        (void) ngx_snprintf((u_char *) why, 128, "name is too long%Z");
        return MAILPING_ERROR;
    }

    p = ngx_cpymem(path, from, dir);
    p = ngx_cpymem(p, name.data, name.len);
    *p = '\0';

    if (ngx_mailping_read_file(pool, path, NGX_MAILPING_RULES_SIZE_MAX, text,
                               &call)
        == NGX_OK)
    {
        return MAILPING_OK;
    }

    p = ngx_strerror(ngx_errno, (u_char *) why, 127);
    *p = '\0';

    return MAILPING_ERROR;
}
