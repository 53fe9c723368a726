
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


/* the setters of directives, but those of the files named after them */


#define NGX_MAILPING_KEY_SIZE_MAX  4096


static void ngx_mailping_conf_key_cleanup(void *data);
static ngx_uint_t ngx_mailping_conf_parameter(ngx_str_t *arg,
    const char *name, ngx_str_t *value);
static ngx_uint_t ngx_mailping_conf_bits(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_str_t *value, ngx_int_t min, ngx_int_t max);
static ngx_int_t ngx_mailping_conf_any(ngx_conf_t *cf, ngx_uint_t n,
    ngx_uint_t *any);
static void ngx_mailping_conf_where(ngx_conf_t *cf,
    ngx_mailping_where_t *where);


char *
ngx_mailping_conf_pixel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_loc_conf_t  *mlcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_mailping_main_conf_t  *mmcf;

    if (mlcf->pixel.line) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1 || ngx_strcmp(value[1].data, "gif") == 0) {
        mlcf->image = NGX_MAILPING_GIF;

    } else if (ngx_strcmp(value[1].data, "png") == 0) {
        mlcf->image = NGX_MAILPING_PNG;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"mailping\", it is "
                           "\"gif\" or \"png\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    ngx_mailping_conf_where(cf, &mlcf->pixel);

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_mailping_module);

    if (mmcf->used.line == 0) {
        mmcf->used = mlcf->pixel;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_mailping_pixel_handler;

    return NGX_CONF_OK;
}


char *
ngx_mailping_conf_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_loc_conf_t  *mlcf = conf;

    ngx_int_t            id;
    ngx_str_t           *value;
    const char          *why;
    mailping_str_t       text;
    ngx_pool_cleanup_t  *cln;

    value = cf->args->elts;

    id = ngx_atoi(value[1].data, value[1].len);

    if (id == NGX_ERROR || id >= MAILPING_TOKEN_KEYS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid key id \"%V\", it is a number from 0 "
                           "to %d", &value[1], MAILPING_TOKEN_KEYS - 1);
        return NGX_CONF_ERROR;
    }

    if (mlcf->keys == NULL) {
        cln = ngx_pool_cleanup_add(cf->pool, 0);
        if (cln == NULL) {
            return NGX_CONF_ERROR;
        }

        mlcf->keys = mailping_keys_create();
        if (mlcf->keys == NULL) {
            return NGX_CONF_ERROR;
        }

        cln->handler = ngx_mailping_conf_key_cleanup;
        cln->data = mlcf->keys;
    }

    if (ngx_conf_full_name(cf->cycle, &value[2], 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_mailping_read_file(cf->temp_pool, (char *) value[2].data,
                               NGX_MAILPING_KEY_SIZE_MAX, &text, &why)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "%s \"%V\" failed",
                           why, &value[2]);
        return NGX_CONF_ERROR;
    }

    if (mailping_keys_add(mlcf->keys, id, text, &why) != MAILPING_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key %i in \"%V\" cannot be used: %s",
                           id, &value[2], why);
        return NGX_CONF_ERROR;
    }

    ngx_explicit_memzero((u_char *) text.data, text.len);

    return NGX_CONF_OK;
}


static void
ngx_mailping_conf_key_cleanup(void *data)
{
    mailping_keys_t *keys = data;

    mailping_keys_destroy(keys);
}


/*
 * mailping_id, _recipient, _sent and _hint: variables are judged when a
 * request comes, a constant that can never be right is refused here.
 */

char *
ngx_mailping_conf_token_part(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    char                       *rv;
    ngx_uint_t                  good;
    const char                 *expected;
    mailping_str_t              value;
    ngx_http_complex_value_t  **cv;

    rv = ngx_http_set_complex_value_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    cv = (ngx_http_complex_value_t **) (p + cmd->offset);

    if ((*cv)->lengths) {
        return NGX_CONF_OK;
    }

    value = ngx_mailping_str((*cv)->value);

    switch (cmd->offset) {

    case offsetof(ngx_mailping_loc_conf_t, id):
        good = mailping_token_id_allowed(value);
        expected = "1 to 64 printable ASCII characters without \"@\"";
        break;

    case offsetof(ngx_mailping_loc_conf_t, recipient):
        good = mailping_token_recipient_allowed(value);
        expected = "up to 32 printable ASCII characters without \"@\"";
        break;

    case offsetof(ngx_mailping_loc_conf_t, sent):
        good = (ngx_atotm((u_char *) value.data, value.len) != NGX_ERROR);
        expected = "a Unix time in seconds";
        break;

    default: /* hint */
        good = (mailping_hint_parse(value) != MAILPING_ERROR);
        expected = "\"gmail\", \"microsoft\", \"apple\", \"yahoo\", "
                   "\"gateway\", \"other\" or \"unknown\"";
        break;
    }

    if (!good) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\", it is %s",
                           &(*cv)->value, &cmd->name, expected);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_mailping_conf_privacy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_loc_conf_t  *mlcf = conf;

    ngx_int_t    n;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    if (mlcf->privacy != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = mailping_privacy_parse(ngx_mailping_str(value[1]));

    if (n == MAILPING_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid mode \"%V\" in \"mailping_privacy\", it "
                           "is \"full\", \"masked\", \"minimal\", \"day\", "
                           "\"count\" or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    mlcf->privacy = n;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_mailping_conf_parameter(&value[i], "max=", &s)
            && mlcf->privacy_max == NGX_CONF_UNSET_UINT)
        {
            n = mailping_privacy_parse(ngx_mailping_str(s));

            if (n == MAILPING_ERROR) {
                goto invalid;
            }

            mlcf->privacy_max = n;
            continue;
        }

        /* a whole address is never kept, so there is no /32 or /128 */

        if (ngx_mailping_conf_parameter(&value[i], "ipv4=", &s)
            && mlcf->ipv4 == NGX_CONF_UNSET_UINT)
        {
            mlcf->ipv4 = ngx_mailping_conf_bits(cf, &value[i], &s, 8, 28);

            if (mlcf->ipv4 == 0) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_mailping_conf_parameter(&value[i], "ipv6=", &s)
            && mlcf->ipv6 == NGX_CONF_UNSET_UINT)
        {
            mlcf->ipv6 = ngx_mailping_conf_bits(cf, &value[i], &s, 16, 64);

            if (mlcf->ipv6 == 0) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        goto invalid;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       &value[i]);

    return NGX_CONF_ERROR;
}


char *
ngx_mailping_conf_rules(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_main_conf_t  *mmcf = conf;

    ngx_str_t  *value, *file;

    value = cf->args->elts;

    if (mmcf->rule_files == NULL) {
        mmcf->rule_files = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
        if (mmcf->rule_files == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    file = ngx_array_push(mmcf->rule_files);
    if (file == NULL) {
        return NGX_CONF_ERROR;
    }

    *file = value[1];

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_mailping_conf_spool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_main_conf_t  *mmcf = conf;

    off_t                       size;
    ngx_str_t                  *value, s;
    ngx_int_t                   n;
    ngx_uint_t                  i;
    ngx_mailping_spool_conf_t  *spool;

    spool = &mmcf->spool;

    if (spool->path.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    spool->path = value[1];

    while (spool->path.len > 1 && spool->path.data[spool->path.len - 1] == '/')
    {
        spool->path.data[--spool->path.len] = '\0';
    }

    if (spool->path.len == 0
        || ngx_conf_full_name(cf->cycle, &spool->path, 0) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid path \"%V\" in \"mailping_spool\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    spool->size = NGX_CONF_UNSET_SIZE;
    spool->sync = NGX_CONF_UNSET_MSEC;
    spool->rewind = NGX_CONF_UNSET_MSEC;
    spool->keep = NGX_CONF_UNSET;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_mailping_conf_parameter(&value[i], "size=", &s)
            && spool->size == NGX_CONF_UNSET_SIZE)
        {
            size = ngx_parse_offset(&s);

            if (size == NGX_ERROR || size == 0) {
                goto invalid;
            }

            spool->size = size;
            continue;
        }

        if (ngx_mailping_conf_parameter(&value[i], "sync=", &s)
            && spool->sync == NGX_CONF_UNSET_MSEC)
        {
            if (ngx_strcmp(s.data, "off") == 0) {
                spool->sync = 0;
                continue;
            }

            n = ngx_parse_time(&s, 0);

            if (n == NGX_ERROR || n == 0) {
                goto invalid;
            }

            spool->sync = n;
            continue;
        }

        if (ngx_mailping_conf_parameter(&value[i], "rewind=", &s)
            && spool->rewind == NGX_CONF_UNSET_MSEC)
        {
            n = ngx_parse_time(&s, 0);

            if (n == NGX_ERROR) {
                goto invalid;
            }

            spool->rewind = n;
            continue;
        }

        if (ngx_mailping_conf_parameter(&value[i], "keep=", &s)
            && spool->keep == NGX_CONF_UNSET)
        {
            n = ngx_parse_time(&s, 1);

            if (n == NGX_ERROR || n == 0) {
                goto invalid;
            }

            spool->keep = n;
            continue;
        }

        goto invalid;
    }

    ngx_conf_init_size_value(spool->size, 256 * 1024 * 1024);
    ngx_conf_init_msec_value(spool->sync, 1000);
    ngx_conf_init_msec_value(spool->rewind, 60 * 1000);
    ngx_conf_init_value(spool->keep, 72 * 60 * 60);

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       &value[i]);

    return NGX_CONF_ERROR;
}


char *
ngx_mailping_conf_mint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_loc_conf_t  *mlcf = conf;

    size_t                     scheme;
    ngx_str_t                 *value, *base;
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    if (mlcf->mint.line) {
        return "is duplicate";
    }

    value = cf->args->elts;
    base = &value[1];

    scheme = 0;

    if (base->len > 8 && ngx_strncmp(base->data, "https://", 8) == 0) {
        scheme = 8;

    } else if (base->len > 7 && ngx_strncmp(base->data, "http://", 7) == 0) {
        scheme = 7;
    }

    /* it is pasted into mails, so it needs no quoting anywhere */

    for (i = 0; scheme && i < base->len; i++) {
        if (base->data[i] <= ' ' || base->data[i] >= 0x7f
            || ngx_strchr("\"'<>&\\", base->data[i]))
        {
            scheme = 0;
        }
    }

    if (scheme == 0 || base->data[base->len - 1] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid base \"%V\" in \"mailping_mint\", it is "
                           "the address of a \"mailping\" location that ends "
                           "with \"/\", such as "
                           "\"https://t.example.com/o/\"", base);
        return NGX_CONF_ERROR;
    }

    if (ngx_mailping_conf_any(cf, 2, &mlcf->any) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    mlcf->mint_base = *base;

    ngx_mailping_conf_where(cf, &mlcf->mint);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_mailping_mint_handler;

    return NGX_CONF_OK;
}


/* mailping_status and mailping_explain */

char *
ngx_mailping_conf_endpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_loc_conf_t  *mlcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (ngx_mailping_conf_any(cf, 1, &mlcf->any) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == (ngx_http_handler_pt) cmd->post) {
        return "is duplicate";
    }

    clcf->handler = (ngx_http_handler_pt) cmd->post;

    return NGX_CONF_OK;
}


/* Whether arg begins with name, which ends with "="; *value is what follows. */

static ngx_uint_t
ngx_mailping_conf_parameter(ngx_str_t *arg, const char *name,
    ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(name);

    if (ngx_strncmp(arg->data, name, len) != 0) {
        return 0;
    }

    value->data = arg->data + len;
    value->len = arg->len - len;

    return 1;
}


/* Returns 0 when the value is refused, which was logged then. */

static ngx_uint_t
ngx_mailping_conf_bits(ngx_conf_t *cf, ngx_str_t *arg, ngx_str_t *value,
    ngx_int_t min, ngx_int_t max)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n < min || n > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it is from %i to %i bits",
                           arg, min, max);
        return 0;
    }

    return n;
}


static ngx_int_t
ngx_mailping_conf_any(ngx_conf_t *cf, ngx_uint_t n, ngx_uint_t *any)
{
    ngx_str_t  *value;

    if (cf->args->nelts <= n) {
        return NGX_OK;
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[n].data, "any") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it is \"any\"",
                           &value[n]);
        return NGX_ERROR;
    }

    *any = 1;

    return NGX_OK;
}


static void
ngx_mailping_conf_where(ngx_conf_t *cf, ngx_mailping_where_t *where)
{
    where->file = cf->conf_file->file.name;
    where->line = cf->conf_file->line;
}


ngx_int_t
ngx_mailping_read_file(ngx_pool_t *pool, const char *path, size_t max,
    mailping_str_t *text, const char **why)
{
    size_t            size;
    u_char           *data;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_err_t         err;
    ngx_file_info_t   fi;

    *why = ngx_open_file_n;

    /* a named pipe must not hold up "nginx -t" until somebody writes */

    fd = ngx_open_file(path, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK, NGX_FILE_OPEN,
                       0);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    *why = ngx_fd_info_n;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        goto failed;
    }

    *why = ngx_read_fd_n;

    if (!ngx_is_file(&fi)) {
        ngx_set_errno(NGX_EINVAL);
        goto failed;
    }

    if ((uint64_t) ngx_file_size(&fi) > max) {
        ngx_set_errno(EFBIG);
        goto failed;
    }

    size = (size_t) ngx_file_size(&fi);

    data = ngx_pnalloc(pool, size + 1);
    if (data == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        goto failed;
    }

    for (text->len = 0; text->len < size; text->len += n) {
        n = ngx_read_fd(fd, data + text->len, size - text->len);

        if (n == -1) {
            goto failed;
        }

        if (n == 0) {
            break;
        }
    }

    text->data = data;

    (void) ngx_close_file(fd);

    return NGX_OK;

failed:

    err = ngx_errno;
    (void) ngx_close_file(fd);
    ngx_set_errno(err);

    return NGX_ERROR;
}


ngx_str_t
ngx_mailping_first_line(mailping_str_t *text)
{
    ngx_str_t  line;

    line.data = (u_char *) text->data;

    for (line.len = 0; line.len < text->len; line.len++) {
        if (line.data[line.len] == CR || line.data[line.len] == LF) {
            break;
        }
    }

    return line;
}
