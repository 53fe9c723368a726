
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


#define NGX_MAILPING_KEY_SIZE_MAX  4096


static void *ngx_mailping_create_main_conf(ngx_conf_t *cf);
static char *ngx_mailping_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_mailping_create_loc_conf(ngx_conf_t *cf);
static char *ngx_mailping_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_mailping_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_mailping_postconfiguration(ngx_conf_t *cf);

static char *ngx_mailping_pixel(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mailping_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static void ngx_mailping_key_cleanup(void *data);
static char *ngx_mailping_token_part(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mailping_privacy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mailping_rules(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mailping_spool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mailping_mint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_mailping_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_mailping_any(ngx_conf_t *cf, ngx_uint_t n,
    ngx_uint_t *any);

static void ngx_mailping_where(ngx_conf_t *cf, ngx_mailping_where_t *where);

static ngx_int_t ngx_mailping_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_mailping_failed(ngx_cycle_t *cycle);
static ngx_int_t ngx_mailping_init_process(ngx_cycle_t *cycle);
static void ngx_mailping_exit_process(ngx_cycle_t *cycle);
static ngx_mailping_main_conf_t *ngx_mailping_cycle_conf(ngx_cycle_t *cycle);


ngx_mailping_worker_t  *ngx_mailping_worker;


static ngx_command_t  ngx_mailping_commands[] = {

    { ngx_string("mailping"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_mailping_pixel,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_mailping_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_id"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_token_part,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, id),
      NULL },

    { ngx_string("mailping_recipient"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_token_part,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, recipient),
      NULL },

    { ngx_string("mailping_sent"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_token_part,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, sent),
      NULL },

    { ngx_string("mailping_hint"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_token_part,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, hint),
      NULL },

    { ngx_string("mailping_site"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, site),
      NULL },

    { ngx_string("mailping_self"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, self),
      NULL },

    { ngx_string("mailping_privacy"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1234,
      ngx_mailping_privacy,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_geoip"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ngx_mailping_geo_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_rules"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_mailping_rules,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_mailping_main_conf_t, zone_size),
      NULL },

    { ngx_string("mailping_spool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1|NGX_CONF_TAKE2|NGX_CONF_TAKE3
                        |NGX_CONF_TAKE4|NGX_CONF_TAKE5,
      ngx_mailping_spool,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_NOARGS,
      ngx_mailping_redis_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_mint"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_mailping_mint,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_mailping_endpoint,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_mailping_status_handler },

    { ngx_string("mailping_explain"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_mailping_endpoint,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_mailping_explain_handler },

      ngx_null_command
};


static ngx_http_module_t  ngx_mailping_module_ctx = {
    ngx_mailping_preconfiguration,         /* preconfiguration */
    ngx_mailping_postconfiguration,        /* postconfiguration */

    ngx_mailping_create_main_conf,         /* create main configuration */
    ngx_mailping_init_main_conf,           /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_mailping_create_loc_conf,          /* create location configuration */
    ngx_mailping_merge_loc_conf            /* merge location configuration */
};


ngx_module_t  ngx_mailping_module = {
    NGX_MODULE_V1,
    &ngx_mailping_module_ctx,              /* module context */
    ngx_mailping_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_mailping_init_module,              /* init module */
    ngx_mailping_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_mailping_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_mailping_create_main_conf(ngx_conf_t *cf)
{
    ngx_mailping_main_conf_t  *mmcf;

    mmcf = ngx_pcalloc(cf->pool, sizeof(ngx_mailping_main_conf_t));
    if (mmcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     mmcf->spool.path = { 0, NULL };
     *     mmcf->redis = NULL;
     *     mmcf->rule_files = NULL;
     *     mmcf->geo = NULL;
     *     mmcf->zone = NULL;
     *     mmcf->used = { { 0, NULL }, 0 };
     */

    mmcf->zone_size = NGX_CONF_UNSET_SIZE;

    return mmcf;
}


static char *
ngx_mailping_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_mailping_main_conf_t  *mmcf = conf;

    ngx_uint_t  i;

    static mailping_str_t  facts[] = {
        mailping_string("network:relay"),
        mailping_string("network:vpn"),
        mailping_string("asn:relay"),
        mailping_string("asn:vpn")
    };

    ngx_conf_init_size_value(mmcf->zone_size, 8 * 1024 * 1024);

    if (ngx_mailping_rules_init(cf, mmcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < 4; i++) {
        mmcf->place[i] = mailping_facts_number(facts[i]);
    }

    mmcf->partitions = mmcf->redis ? mmcf->redis->partitions : 1;

    if (mmcf->used.line == 0) {
        return NGX_CONF_OK;
    }

    if (mmcf->spool.path.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"mailping\" needs a \"mailping_spool\" in \"http\", "
                      "where opens are kept until Redis has them, in %V:%ui",
                      &mmcf->used.file, mmcf->used.line);
        return NGX_CONF_ERROR;
    }

    if (mmcf->redis == NULL) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "there is no \"mailping_redis\": opens stay in \"%V\"",
                      &mmcf->spool.path);
    }

    if (mmcf->geo == NULL || !ngx_mailping_geo_has_asn(mmcf->geo)) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "there is no \"asn=\" in \"mailping_geoip\": hosting "
                      "networks are known by built-in ranges only");
    }

    return ngx_mailping_zone_create(cf, mmcf);
}


static void *
ngx_mailping_create_loc_conf(ngx_conf_t *cf)
{
    ngx_mailping_loc_conf_t  *mlcf;

    mlcf = ngx_pcalloc(cf->pool, sizeof(ngx_mailping_loc_conf_t));
    if (mlcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     mlcf->pixel = { { 0, NULL }, 0 };
     *     mlcf->keys = NULL;
     *     mlcf->id = NULL;
     *     mlcf->recipient = NULL;
     *     mlcf->sent = NULL;
     *     mlcf->hint = NULL;
     *     mlcf->site = NULL;
     *     mlcf->self = NULL;
     *     mlcf->mint = { { 0, NULL }, 0 };
     *     mlcf->mint_base = { 0, NULL };
     *     mlcf->any = 0;
     */

    mlcf->privacy = NGX_CONF_UNSET_UINT;
    mlcf->privacy_max = NGX_CONF_UNSET_UINT;
    mlcf->ipv4 = NGX_CONF_UNSET_UINT;
    mlcf->ipv6 = NGX_CONF_UNSET_UINT;

    return mlcf;
}


static char *
ngx_mailping_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_mailping_loc_conf_t *prev = parent;
    ngx_mailping_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    /*
     * A key and an id exclude each other: the one on the innermost level
     * says whether addresses are signed.
     */

    if (conf->keys == NULL && conf->id == NULL) {
        conf->keys = prev->keys;
        conf->id = prev->id;
    }

    if (conf->recipient == NULL) {
        conf->recipient = prev->recipient;
    }

    if (conf->sent == NULL) {
        conf->sent = prev->sent;
    }

    if (conf->hint == NULL) {
        conf->hint = prev->hint;
    }

    if (conf->site == NULL) {
        conf->site = prev->site;
    }

    if (conf->self == NULL) {
        conf->self = prev->self;
    }

    /* set by one directive, so inherited together */

    if (conf->privacy == NGX_CONF_UNSET_UINT) {
        conf->privacy = prev->privacy;
        conf->privacy_max = prev->privacy_max;
        conf->ipv4 = prev->ipv4;
        conf->ipv6 = prev->ipv6;
    }

    ngx_conf_init_uint_value(conf->privacy, MAILPING_PRIVACY_MASKED);
    ngx_conf_init_uint_value(conf->privacy_max, MAILPING_PRIVACY_MASKED);
    ngx_conf_init_uint_value(conf->ipv4, 24);
    ngx_conf_init_uint_value(conf->ipv6, 48);

    if (conf->mint.line && conf->keys == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"mailping_mint\" has no \"mailping_key\" to sign with "
                      "in %V:%ui", &conf->mint.file, conf->mint.line);
        return NGX_CONF_ERROR;
    }

    if (conf->pixel.line == 0) {
        return NGX_CONF_OK;
    }

    if (conf->keys == NULL && conf->id == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"mailping\" has neither a \"mailping_key\" nor a "
                      "\"mailping_id\" in %V:%ui",
                      &conf->pixel.file, conf->pixel.line);
        return NGX_CONF_ERROR;
    }

    if (conf->keys && conf->id) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"mailping\" has both a \"mailping_key\" and a "
                      "\"mailping_id\" on one level in %V:%ui",
                      &conf->pixel.file, conf->pixel.line);
        return NGX_CONF_ERROR;
    }

    /*
     * A body is discarded whatever its size: 413 would be an answer without
     * the image.  The core's own merge is over, so nothing inherits this.
     */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->client_max_body_size = 0;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mailping_preconfiguration(ngx_conf_t *cf)
{
    return ngx_mailping_add_variables(cf);
}


static ngx_int_t
ngx_mailping_postconfiguration(ngx_conf_t *cf)
{
    ngx_mailping_main_conf_t  *mmcf;
    ngx_http_core_loc_conf_t  *clcf;

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_mailping_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    mmcf->resolver = clcf->resolver;

    mmcf->resolver_timeout = (clcf->resolver_timeout == NGX_CONF_UNSET_MSEC)
                             ? 30000 : clcf->resolver_timeout;

    return NGX_OK;
}


static char *
ngx_mailping_pixel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

    ngx_mailping_where(cf, &mlcf->pixel);

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_mailping_module);

    if (mmcf->used.line == 0) {
        mmcf->used = mlcf->pixel;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_mailping_pixel_handler;

    return NGX_CONF_OK;
}


static char *
ngx_mailping_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

        cln->handler = ngx_mailping_key_cleanup;
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
ngx_mailping_key_cleanup(void *data)
{
    mailping_keys_t *keys = data;

    mailping_keys_destroy(keys);
}


/*
 * mailping_id, _recipient, _sent and _hint: variables are judged when a
 * request comes, a constant that can never be right is refused here.
 */

static char *
ngx_mailping_token_part(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

    value.data = (*cv)->value.data;
    value.len = (*cv)->value.len;

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


static char *
ngx_mailping_privacy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_loc_conf_t  *mlcf = conf;

    ngx_int_t        n;
    ngx_str_t       *value;
    ngx_uint_t       i;
    mailping_str_t   s;

    if (mlcf->privacy != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    s.data = value[1].data;
    s.len = value[1].len;

    n = mailping_privacy_parse(s);

    if (n == MAILPING_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid mode \"%V\" in \"mailping_privacy\", it "
                           "is \"full\", \"masked\", \"minimal\", \"day\", "
                           "\"count\" or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    mlcf->privacy = n;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "max=", 4) == 0
            && mlcf->privacy_max == NGX_CONF_UNSET_UINT)
        {
            s.data = value[i].data + 4;
            s.len = value[i].len - 4;

            n = mailping_privacy_parse(s);

            if (n == MAILPING_ERROR) {
                goto invalid;
            }

            mlcf->privacy_max = n;
            continue;
        }

        /* a whole address is never kept, so there is no /32 or /128 */

        if (ngx_strncmp(value[i].data, "ipv4=", 5) == 0
            && mlcf->ipv4 == NGX_CONF_UNSET_UINT)
        {
            n = ngx_atoi(value[i].data + 5, value[i].len - 5);

            if (n == NGX_ERROR || n < 8 || n > 28) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\", it is from 8 "
                                   "to 28 bits", &value[i]);
                return NGX_CONF_ERROR;
            }

            mlcf->ipv4 = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "ipv6=", 5) == 0
            && mlcf->ipv6 == NGX_CONF_UNSET_UINT)
        {
            n = ngx_atoi(value[i].data + 5, value[i].len - 5);

            if (n == NGX_ERROR || n < 16 || n > 64) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\", it is from 16 "
                                   "to 64 bits", &value[i]);
                return NGX_CONF_ERROR;
            }

            mlcf->ipv6 = n;
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


static char *
ngx_mailping_rules(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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


static char *
ngx_mailping_spool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

        if (ngx_strncmp(value[i].data, "size=", 5) == 0
            && spool->size == NGX_CONF_UNSET_SIZE)
        {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            size = ngx_parse_offset(&s);

            if (size == NGX_ERROR || size == 0) {
                goto invalid;
            }

            spool->size = size;
            continue;
        }

        if (ngx_strncmp(value[i].data, "sync=", 5) == 0
            && spool->sync == NGX_CONF_UNSET_MSEC)
        {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

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

        if (ngx_strncmp(value[i].data, "rewind=", 7) == 0
            && spool->rewind == NGX_CONF_UNSET_MSEC)
        {
            s.data = value[i].data + 7;
            s.len = value[i].len - 7;

            n = ngx_parse_time(&s, 0);

            if (n == NGX_ERROR) {
                goto invalid;
            }

            spool->rewind = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "keep=", 5) == 0
            && spool->keep == NGX_CONF_UNSET)
        {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

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


static char *
ngx_mailping_mint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

    if (ngx_mailping_any(cf, 2, &mlcf->any) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    mlcf->mint_base = *base;

    ngx_mailping_where(cf, &mlcf->mint);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_mailping_mint_handler;

    return NGX_CONF_OK;
}


/* mailping_status and mailping_explain */

static char *
ngx_mailping_endpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mailping_loc_conf_t  *mlcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (ngx_mailping_any(cf, 1, &mlcf->any) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == (ngx_http_handler_pt) cmd->post) {
        return "is duplicate";
    }

    clcf->handler = (ngx_http_handler_pt) cmd->post;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mailping_any(ngx_conf_t *cf, ngx_uint_t n, ngx_uint_t *any)
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
ngx_mailping_where(ngx_conf_t *cf, ngx_mailping_where_t *where)
{
    where->file = cf->conf_file->file.name;
    where->line = cf->conf_file->line;
}


static ngx_int_t
ngx_mailping_init_module(ngx_cycle_t *cycle)
{
    size_t                     min;
    ngx_core_conf_t           *ccf;
    ngx_mailping_main_conf_t  *mmcf;

    mmcf = ngx_mailping_cycle_conf(cycle);

    if (mmcf == NULL) {
        return NGX_OK;
    }

    if (mmcf->geo && ngx_mailping_geo_init_module(cycle, mmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (mmcf->used.line == 0) {
        return NGX_OK;
    }

    /* not earlier: worker_processes may come after http{} */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    min = ccf->worker_processes * NGX_MAILPING_SPOOL_MIN;

    if (mmcf->spool.size < min) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"size=\" of \"mailping_spool\" is too small for %i "
                      "worker processes, the minimum is %uzm",
                      ccf->worker_processes, min / (1024 * 1024));
        return ngx_mailping_failed(cycle);
    }

    if (ngx_mailping_spool_init_module(cycle, mmcf) != NGX_OK) {
        return ngx_mailping_failed(cycle);
    }

    return NGX_OK;
}


/*
 * A module that fails here ends the master, also on a reload, where that
 * would take down every site.  A running nginx goes on, without the spool if
 * need be: the pixel answers, and lost opens are counted.
 */

static ngx_int_t
ngx_mailping_failed(ngx_cycle_t *cycle)
{
    if (ngx_test_config || ngx_is_init_cycle(cycle->old_cycle)) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_init_process(ngx_cycle_t *cycle)
{
    ngx_mailping_main_conf_t  *mmcf;

    /* the cache manager and loader are not workers, but come here as well */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    mmcf = ngx_mailping_cycle_conf(cycle);

    if (mmcf == NULL) {
        return NGX_OK;
    }

    if (mmcf->geo && ngx_mailping_geo_init_process(cycle, mmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (mmcf->used.line == 0) {
        return NGX_OK;
    }

    ngx_mailping_worker = ngx_pcalloc(cycle->pool,
                                      sizeof(ngx_mailping_worker_t));
    if (ngx_mailping_worker == NULL) {
        return NGX_ERROR;
    }

    ngx_mailping_worker->conf = mmcf;
    ngx_mailping_worker->log = cycle->log;

    ngx_mailping_zone_attach(ngx_mailping_worker);

    if (mmcf->redis) {
        ngx_mailping_worker->delivery =
                       ngx_mailping_delivery_start(cycle, ngx_mailping_worker);

        if (ngx_mailping_worker->delivery == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_mailping_worker->spool = ngx_mailping_spool_open(cycle,
                                                         ngx_mailping_worker);

    if (ngx_mailping_worker->spool == NULL) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                  "mailping " NGX_MAILPING_VERSION ", rules %08xD",
                  mailping_rules_id(mmcf->rules));

    return NGX_OK;
}


static void
ngx_mailping_exit_process(ngx_cycle_t *cycle)
{
    ngx_mailping_main_conf_t  *mmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return;
    }

    mmcf = ngx_mailping_cycle_conf(cycle);

    if (mmcf == NULL) {
        return;
    }

    if (ngx_mailping_worker) {

        if (ngx_mailping_worker->delivery) {
            ngx_mailping_delivery_stop(ngx_mailping_worker->delivery);
        }

        ngx_mailping_spool_close(ngx_mailping_worker->spool);
    }

    if (mmcf->geo) {
        ngx_mailping_geo_exit_process(mmcf);
    }
}


/* NULL: there is no http{} */

static ngx_mailping_main_conf_t *
ngx_mailping_cycle_conf(ngx_cycle_t *cycle)
{
    return ngx_http_cycle_get_module_main_conf(cycle, ngx_mailping_module);
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

    fd = ngx_open_file(path, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
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
