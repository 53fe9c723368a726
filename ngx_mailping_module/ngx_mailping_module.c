
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


static void *ngx_mailping_create_main_conf(ngx_conf_t *cf);
static char *ngx_mailping_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_mailping_create_loc_conf(ngx_conf_t *cf);
static char *ngx_mailping_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_mailping_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_mailping_postconfiguration(ngx_conf_t *cf);

static ngx_int_t ngx_mailping_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_mailping_failed(ngx_cycle_t *cycle);
static ngx_int_t ngx_mailping_init_process(ngx_cycle_t *cycle);
static void ngx_mailping_exit_process(ngx_cycle_t *cycle);
static ngx_mailping_main_conf_t *ngx_mailping_cycle_conf(ngx_cycle_t *cycle);


ngx_mailping_worker_t  *ngx_mailping_worker;


static ngx_command_t  ngx_mailping_commands[] = {

    { ngx_string("mailping"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_mailping_conf_pixel,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_mailping_conf_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_id"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_conf_token_part,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, id),
      NULL },

    { ngx_string("mailping_recipient"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_conf_token_part,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, recipient),
      NULL },

    { ngx_string("mailping_sent"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_conf_token_part,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_mailping_loc_conf_t, sent),
      NULL },

    { ngx_string("mailping_hint"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mailping_conf_token_part,
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
      ngx_mailping_conf_privacy,
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
      ngx_mailping_conf_rules,
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
      ngx_mailping_conf_spool,
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
      ngx_mailping_conf_mint,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mailping_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_mailping_conf_endpoint,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_mailping_status_handler },

    { ngx_string("mailping_explain"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_mailping_conf_endpoint,
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

    static mailping_str_t  facts[NGX_MAILPING_FACTS] = {
        mailping_string("network:relay"),
        mailping_string("network:vpn"),
        mailping_string("asn:apple-relay"),
        mailping_string("asn:zscaler"),
        mailping_string("asn:vpn"),
        mailping_string("agent:mail-client"),
        mailping_string("agent:mail-proxy")
    };

    ngx_conf_init_size_value(mmcf->zone_size, 8 * 1024 * 1024);

    if (ngx_mailping_rules_init(cf, mmcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < NGX_MAILPING_FACTS; i++) {
        mmcf->fact[i] = mailping_facts_number(facts[i]);

        if (mmcf->fact[i] == MAILPING_ERROR) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no published fact \"%s\"", facts[i].data);
            return NGX_CONF_ERROR;
        }
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
     *     mlcf->image = NGX_MAILPING_GIF;
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

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* an "if" block goes on with the handler of its location */

    if (clcf->noname) {
        conf->pixel = prev->pixel;
        conf->image = prev->image;
        conf->mint = prev->mint;
        conf->mint_base = prev->mint_base;
        conf->any = prev->any;
    }

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

    if (ngx_mailping_redis_init_module(cycle, mmcf) != NGX_OK) {
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

    ngx_mailping_record_init(ngx_mailping_worker);

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

        ngx_mailping_record_exit(ngx_mailping_worker);

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
