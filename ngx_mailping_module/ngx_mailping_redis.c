
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


/* the block mailping_redis { } */


static char *ngx_mailping_redis_directive(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);
static char *ngx_mailping_redis_server(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mailping_redis_retain(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mailping_redis_prefix(ngx_conf_t *cf, void *post, void *data);
static char *ngx_mailping_redis_init(ngx_conf_t *cf,
    ngx_mailping_redis_conf_t *redis);
static ngx_int_t ngx_mailping_redis_password(ngx_conf_t *cf,
    ngx_mailping_redis_conf_t *redis);
static ngx_int_t ngx_mailping_redis_known(ngx_conf_t *cf, ngx_flag_t used,
    const char *what);


static ngx_conf_enum_t  ngx_mailping_redis_modes[] = {
    { ngx_string("standalone"), NGX_MAILPING_STANDALONE },
    { ngx_string("sentinel"), NGX_MAILPING_SENTINEL },
    { ngx_string("cluster"), NGX_MAILPING_CLUSTER },
    { ngx_null_string, 0 }
};


static ngx_conf_num_bounds_t  ngx_mailping_redis_partitions = {
    ngx_conf_check_num_bounds, 1, MAILPING_RING_PARTITIONS_MAX
};


static ngx_conf_num_bounds_t  ngx_mailping_redis_batch = {
    ngx_conf_check_num_bounds, 1, MAILPING_PRODUCER_BATCH_MAX
};


static ngx_conf_num_bounds_t  ngx_mailping_redis_database = {
    ngx_conf_check_num_bounds, 0, 65535
};


static ngx_conf_post_t  ngx_mailping_redis_prefix_post = {
    ngx_mailping_redis_prefix
};


static ngx_command_t  ngx_mailping_redis_commands[] = {

    { ngx_string("server"),
      NGX_CONF_TAKE1,
      ngx_mailping_redis_server,
      0,
      0,
      NULL },

    { ngx_string("mode"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, mode),
      &ngx_mailping_redis_modes },

    { ngx_string("master_name"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, master_name),
      NULL },

    { ngx_string("prefix"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, prefix),
      &ngx_mailping_redis_prefix_post },

    { ngx_string("partitions"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, partitions),
      &ngx_mailping_redis_partitions },

    { ngx_string("retain"),
      NGX_CONF_TAKE1,
      ngx_mailping_redis_retain,
      0,
      offsetof(ngx_mailping_redis_conf_t, retain),
      NULL },

    { ngx_string("maxlen"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, maxlen),
      NULL },

    { ngx_string("batch"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, batch),
      &ngx_mailping_redis_batch },

    { ngx_string("user"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, user),
      NULL },

    { ngx_string("password_file"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, password_file),
      NULL },

    { ngx_string("database"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, database),
      &ngx_mailping_redis_database },

    { ngx_string("connect_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, connect_timeout),
      NULL },

    { ngx_string("reply_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, reply_timeout),
      NULL },

    { ngx_string("tls"),
      NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, tls),
      NULL },

    { ngx_string("tls_trusted_certificate"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, tls_trusted_certificate),
      NULL },

    { ngx_string("tls_name"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, tls_name),
      NULL },

    { ngx_string("tls_certificate"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, tls_certificate),
      NULL },

    { ngx_string("tls_certificate_key"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mailping_redis_conf_t, tls_certificate_key),
      NULL },

      ngx_null_command
};


char *
ngx_mailping_redis_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_main_conf_t  *mmcf = conf;

    char                       *rv;
    ngx_conf_t                  save;
    ngx_mailping_redis_conf_t  *redis;

    if (mmcf->redis) {
        return "is duplicate";
    }

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_mailping_redis_conf_t));
    if (redis == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&redis->servers, cf->pool, 2,
                       sizeof(ngx_mailping_server_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    redis->mode = NGX_CONF_UNSET_UINT;
    redis->partitions = NGX_CONF_UNSET_UINT;
    redis->retain = NGX_CONF_UNSET;
    redis->maxlen = NGX_CONF_UNSET_UINT;
    redis->batch = NGX_CONF_UNSET_UINT;
    redis->database = NGX_CONF_UNSET_UINT;
    redis->connect_timeout = NGX_CONF_UNSET_MSEC;
    redis->reply_timeout = NGX_CONF_UNSET_MSEC;
    redis->tls = NGX_CONF_UNSET;

    mmcf->redis = redis;

    save = *cf;

    cf->handler = ngx_mailping_redis_directive;
    cf->handler_conf = (void *) redis;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_mailping_redis_init(cf, redis);

    if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
        return rv;
    }

    /* cf->args are by now those of the block's last directive */

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"mailping_redis\" directive %s", rv);

    return NGX_CONF_ERROR;
}


static char *
ngx_mailping_redis_directive(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    char           *rv;
    ngx_str_t      *value;
    ngx_command_t  *cmd;

    value = cf->args->elts;

    for (cmd = ngx_mailping_redis_commands; cmd->name.len; cmd++) {

        if (cmd->name.len != value[0].len
            || ngx_strcmp(cmd->name.data, value[0].data) != 0)
        {
            continue;
        }

        if (cf->args->nelts != 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of arguments in \"%V\" "
                               "directive of \"mailping_redis\"", &value[0]);
            return NGX_CONF_ERROR;
        }

        /* an empty name of a file would mean "without" */

        if (value[1].len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"\" in \"%V\" of "
                               "\"mailping_redis\"", &value[0]);
            return NGX_CONF_ERROR;
        }

        rv = cmd->set(cf, cmd, conf);

        if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
            return rv;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" directive %s",
                           &value[0], rv);
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive \"%V\" in \"mailping_redis\"",
                       &value[0]);

    return NGX_CONF_ERROR;
}


static char *
ngx_mailping_redis_server(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_redis_conf_t  *redis = conf;

    ngx_str_t              *value;
    ngx_url_t               u;
    ngx_mailping_server_t  *server;

    value = cf->args->elts;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = value[1];
    u.default_port = 6379;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.uri.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in server \"%V\"",
                           u.err ? u.err : "invalid address", &value[1]);
        return NGX_CONF_ERROR;
    }

    server = ngx_array_push(&redis->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(server, sizeof(ngx_mailping_server_t));

    server->name = value[1];
    server->host = u.host;
    server->port = u.port;

    if (u.naddrs) {
        server->addr = u.addrs[0];
    }

    return NGX_CONF_OK;
}


static char *
ngx_mailping_redis_retain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_redis_conf_t  *redis = conf;

    ngx_str_t  *value;

    if (redis->retain != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "none") == 0) {
        redis->retain = 0;
        return NGX_CONF_OK;
    }

    redis->retain = ngx_parse_time(&value[1], 1);

    if (redis->retain == (time_t) NGX_ERROR || redis->retain == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"retain\", it is a time "
                           "such as \"30d\", or \"none\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_mailping_redis_prefix(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t  *prefix = data;

    ngx_uint_t  i;

    if (prefix->len >= MAILPING_RING_PREFIX_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid prefix \"%V\", it has 1 to %d bytes",
                           prefix, MAILPING_RING_PREFIX_MAX - 1);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < prefix->len; i++) {

        /* braces would be a hash tag of the operator's, and move all keys */

        if (prefix->data[i] <= ' ' || prefix->data[i] >= 0x7f
            || prefix->data[i] == '{' || prefix->data[i] == '}')
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid prefix \"%V\", it is printable ASCII "
                               "without spaces and braces", prefix);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_mailping_redis_init(ngx_conf_t *cf, ngx_mailping_redis_conf_t *redis)
{
    if (redis->servers.nelts == 0) {
        return "has no \"server\"";
    }

    ngx_conf_init_uint_value(redis->mode, NGX_MAILPING_STANDALONE);
    ngx_conf_init_uint_value(redis->partitions, 1);
    ngx_conf_init_value(redis->retain, 30 * 24 * 60 * 60);
    ngx_conf_init_uint_value(redis->maxlen, 0);
    ngx_conf_init_uint_value(redis->batch, 256);
    ngx_conf_init_uint_value(redis->database, 0);
    ngx_conf_init_msec_value(redis->connect_timeout, 2000);
    ngx_conf_init_msec_value(redis->reply_timeout, 5000);
    ngx_conf_init_value(redis->tls, 0);

    if (redis->prefix.len == 0) {
        ngx_str_set(&redis->prefix, "mailping");
    }

    /* what one waits for has to be waited for */

    if (redis->connect_timeout == 0 || redis->reply_timeout == 0) {
        return "has a \"connect_timeout\" or \"reply_timeout\" of 0";
    }

    if (redis->mode == NGX_MAILPING_SENTINEL && redis->master_name.len == 0) {
        return "has \"mode sentinel\", but no \"master_name\"";
    }

    if (redis->mode != NGX_MAILPING_SENTINEL && redis->master_name.len) {
        return "has a \"master_name\", but not \"mode sentinel\"";
    }

    if (redis->mode == NGX_MAILPING_CLUSTER && redis->database) {
        return "has a \"database\", which Redis Cluster does not know";
    }

    if (redis->user.len && redis->password_file.len == 0) {
        return "has a \"user\", but no \"password_file\"";
    }

    if ((redis->tls_certificate.len == 0)
        != (redis->tls_certificate_key.len == 0))
    {
        return "has only one of \"tls_certificate\" and "
               "\"tls_certificate_key\"";
    }

    if (!redis->tls
        && (redis->tls_trusted_certificate.len || redis->tls_name.len
            || redis->tls_certificate.len))
    {
        return "has \"tls_...\" directives, but not \"tls on\"";
    }

    /* better refused than delivered to the wrong node or in clear text */

    if (ngx_mailping_redis_known(cf, redis->mode == NGX_MAILPING_SENTINEL,
                                 "mode sentinel")
        != NGX_OK
        || ngx_mailping_redis_known(cf, redis->mode == NGX_MAILPING_CLUSTER,
                                    "mode cluster")
           != NGX_OK
        || ngx_mailping_redis_known(cf, redis->tls, "tls on") != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (redis->password_file.len
        && ngx_mailping_redis_password(cf, redis) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    redis->producer.prefix = ngx_mailping_str(redis->prefix);
    redis->producer.user = ngx_mailping_str(redis->user);
    redis->producer.name = (mailping_str_t) mailping_string("mailping");
    redis->producer.database = redis->database;
    redis->producer.partitions = redis->partitions;
    redis->producer.batch = redis->batch;
    redis->producer.retain = (uint64_t) redis->retain * 1000;
    redis->producer.maxlen = redis->maxlen;

    /* several partitions are tagged by core, ring by ring */

    redis->producer.tagged = (redis->mode == NGX_MAILPING_CLUSTER);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mailping_redis_password(ngx_conf_t *cf, ngx_mailping_redis_conf_t *redis)
{
    const char      *why;
    mailping_str_t   text;

    if (ngx_conf_full_name(cf->cycle, &redis->password_file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_mailping_read_file(cf->pool, (char *) redis->password_file.data,
                               NGX_MAILPING_PASSWORD_MAX, &text, &why)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "%s \"%V\" failed",
                           why, &redis->password_file);
        return NGX_ERROR;
    }

    redis->password = ngx_mailping_first_line(&text);

    if (redis->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no password in the first line of \"%V\"",
                           &redis->password_file);
        return NGX_ERROR;
    }

    redis->producer.password = ngx_mailping_str(redis->password);

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_redis_known(ngx_conf_t *cf, ngx_flag_t used, const char *what)
{
    if (!used) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%s\" in \"mailping_redis\" is not supported by "
                       "MailPing " NGX_MAILPING_VERSION, what);

    return NGX_ERROR;
}


ngx_int_t
ngx_mailping_redis_init_module(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf)
{
    u_char                 *p;
    ngx_url_t               u;
    ngx_uint_t              i, n, k;
    ngx_mailping_server_t  *server, name;

    if (mmcf->redis == NULL
        || (mmcf->resolver && mmcf->resolver->connections.nelts))
    {
        return NGX_OK;
    }

    /* without a resolver names are resolved once, as nginx does elsewhere */

    n = mmcf->redis->servers.nelts;

    for (i = 0; i < n; i++) {

        server = mmcf->redis->servers.elts;
        server += i;

        if (server->addr.sockaddr) {
            continue;
        }

        ngx_memzero(&u, sizeof(ngx_url_t));

        p = ngx_pnalloc(cycle->pool, server->host.len + sizeof(":65535"));
        if (p == NULL) {
            return NGX_ERROR;
        }

        u.url.data = p;
        u.url.len = ngx_sprintf(p, "%V:%ui%Z", &server->host,
                                (ngx_uint_t) server->port)
                    - p - 1;

        if (ngx_parse_url(cycle->pool, &u) != NGX_OK) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "%s in \"server\" \"%V\" of \"mailping_redis\", "
                          "and no \"resolver\" is defined",
                          u.err ? u.err : "invalid name", &server->name);
            return NGX_ERROR;
        }

        server->addr = u.addrs[0];
        name = *server;

        /* the other addresses of the name are tried in turn as well */

        for (k = 1; k < u.naddrs; k++) {

            server = ngx_array_push(&mmcf->redis->servers);
            if (server == NULL) {
                return NGX_ERROR;
            }

            *server = name;
            server->addr = u.addrs[k];
        }
    }

    return NGX_OK;
}
