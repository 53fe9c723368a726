
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


/*
 * The way of one open:
 *
 *     token -> privacy -> evidence -> judgement -> event -> spool -> pixel
 *                                                            -> amendments
 *
 * Whatever fails on it costs the event and is counted; the pixel is answered
 * in any case.
 */


static void ngx_mailping_open(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf);
static ngx_mailping_ctx_t *ngx_mailping_create_ctx(ngx_http_request_t *r);
static void ngx_mailping_ctx_cleanup(void *data);
static ngx_int_t ngx_mailping_identify(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf, ngx_mailping_ctx_t *ctx);
static ngx_int_t ngx_mailping_signed(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf, ngx_mailping_ctx_t *ctx);
static ngx_int_t ngx_mailping_unsigned(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf, ngx_mailping_ctx_t *ctx);
static ngx_int_t ngx_mailping_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *value);
static ngx_int_t ngx_mailping_describe(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf, ngx_mailping_ctx_t *ctx, uint64_t now);
static void ngx_mailping_agent(ngx_http_request_t *r, ngx_mailping_ctx_t *ctx);
static ngx_int_t ngx_mailping_image(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf);


/* transparent, 1x1, 43 bytes */

static u_char  ngx_mailping_gif[] = {

    'G', 'I', 'F', '8', '9', 'a',

    0x01, 0x00, 0x01, 0x00,                /* 1x1 */
    0x80, 0x00, 0x00,                      /* a table of two colors */
    0x00, 0x00, 0x00, 0xff, 0xff, 0xff,

    0x21, 0xf9, 0x04, 0x01,                /* color 0 is transparent */
    0x00, 0x00, 0x00, 0x00,

    0x2c, 0x00, 0x00, 0x00, 0x00,          /* the image */
    0x01, 0x00, 0x01, 0x00, 0x00,
    0x02, 0x02, 0x44, 0x01, 0x00,

    0x3b
};


/* transparent, 1x1, RGBA */

static u_char  ngx_mailping_png[] = {

    0x89, 'P', 'N', 'G', CR, LF, 0x1a, LF,

    0x00, 0x00, 0x00, 0x0d, 'I', 'H', 'D', 'R',
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01,
    0x08, 0x06, 0x00, 0x00, 0x00,
    0x1f, 0x15, 0xc4, 0x89,

    0x00, 0x00, 0x00, 0x0b, 'I', 'D', 'A', 'T',
    0x78, 0xda, 0x63, 0x60, 0x00, 0x02, 0x00, 0x00, 0x05, 0x00, 0x01,
    0xe9, 0xfa, 0xdc, 0xd8,

    0x00, 0x00, 0x00, 0x00, 'I', 'E', 'N', 'D',
    0xae, 0x42, 0x60, 0x82
};


ngx_int_t
ngx_mailping_pixel_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_mailping_loc_conf_t  *mlcf;

    /* a malformed body is answered with 400, so it must not be an open */

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    mlcf = ngx_http_get_module_loc_conf(r, ngx_mailping_module);

    if (r != r->main) {
        ngx_mailping_count(NGX_MAILPING_SUBREQUESTS, 1);

    } else if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        ngx_mailping_count(NGX_MAILPING_IGNORED, 1);

    } else {
        ngx_mailping_open(r, mlcf);
    }

    return ngx_mailping_image(r, mlcf);
}


static void
ngx_mailping_open(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf)
{
    uint64_t                   now;
    ngx_uint_t                 mode;
    ngx_mailping_ctx_t        *ctx;
    ngx_mailping_main_conf_t  *mmcf;

    ctx = ngx_mailping_create_ctx(r);
    if (ctx == NULL) {
        ngx_mailping_count(NGX_MAILPING_LOST_FAILED, 1);
        return;
    }

    if (ngx_mailping_identify(r, mlcf, ctx) != NGX_OK) {
        return;
    }

    mode = mailping_privacy_resolve(ctx->token.privacy, mlcf->privacy,
                                    mlcf->privacy_max);

    if (mode >= MAILPING_PRIVACY_DAY) {
        ngx_mailping_count(NGX_MAILPING_PRIVATE, 1);
        return;
    }

    mmcf = ngx_mailping_worker->conf;
    now = ngx_mailping_now();

    ctx->event.privacy = mode;

    ngx_mailping_evidence(r, ctx, mlcf, now);

    mailping_classify(mmcf->rules, &ctx->facts, &ctx->judgement, NULL, NULL);

    ngx_mailping_evidence_reader(r, ctx, mlcf);

    if (ngx_mailping_describe(r, mlcf, ctx, now) != NGX_OK) {
        ngx_mailping_count(NGX_MAILPING_LOST_FAILED, 1);
        return;
    }

    mailping_event_privacy(&ctx->event, ctx->place);

    ctx->judged = 1;

    ngx_mailping_record_open(ctx);

    ngx_mailping_amend(ctx);
}


static ngx_mailping_ctx_t *
ngx_mailping_create_ctx(ngx_http_request_t *r)
{
    ngx_mailping_ctx_t  *ctx;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_mailping_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, offsetof(ngx_mailping_ctx_t, raw));

    cln->handler = ngx_mailping_ctx_cleanup;

    ngx_http_set_ctx(r, ctx, ngx_mailping_module);

    return ctx;
}


static void
ngx_mailping_ctx_cleanup(void *data)
{
    /* only marks the record, by which ngx_mailping_get_ctx() finds it */
}


/*
 * An internal redirect (error_page, post_action) forgets the contexts of all
 * modules; the pool's cleanup records stay.
 */

ngx_mailping_ctx_t *
ngx_mailping_get_ctx(ngx_http_request_t *r)
{
    ngx_mailping_ctx_t  *ctx;
    ngx_pool_cleanup_t  *cln;

    ctx = ngx_http_get_module_ctx(r, ngx_mailping_module);

    if (ctx == NULL && (r->internal || r->filter_finalize)) {

        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_mailping_ctx_cleanup) {
                return cln->data;
            }
        }
    }

    return ctx;
}


static ngx_int_t
ngx_mailping_identify(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf,
    ngx_mailping_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = mlcf->id ? ngx_mailping_unsigned(r, mlcf, ctx)
                  : ngx_mailping_signed(r, mlcf, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->event.id = ctx->token.id;
    ctx->event.recipient = ctx->token.recipient;
    ctx->event.sent = (uint64_t) ctx->token.sent * 1000;
    ctx->event.kind = ctx->token.kind;
    ctx->event.key = ctx->token.key;

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_signed(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf,
    ngx_mailping_ctx_t *ctx)
{
    u_char            *p, *last;
    mailping_str_t     segment;
    mailping_token_e   rc;

    last = r->uri.data + r->uri.len;

    for (p = last; p > r->uri.data && p[-1] != '/'; p--) { /* void */ }

    segment = mailping_str(p, last - p);

    rc = mailping_token_verify(mlcf->keys, segment, ctx->raw, &ctx->token);

    if (rc == MAILPING_TOKEN_VALID) {
        return NGX_OK;
    }

    ngx_mailping_count(NGX_MAILPING_REFUSED + rc, 1);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_mailping_unsigned(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf,
    ngx_mailping_ctx_t *ctx)
{
    time_t             sent;
    ngx_int_t          hint;
    ngx_str_t          id, recipient, value;
    mailping_token_t  *t;

    t = &ctx->token;

    t->key = MAILPING_TOKEN_NO_KEY;
    t->privacy = MAILPING_PRIVACY_LOCATION;
    t->kind = MAILPING_KIND_SINGLE;

    if (ngx_mailping_value(r, mlcf->id, &id) != NGX_OK
        || ngx_mailping_value(r, mlcf->recipient, &recipient) != NGX_OK)
    {
        ngx_mailping_count(NGX_MAILPING_LOST_FAILED, 1);
        return NGX_ERROR;
    }

    t->id = ngx_mailping_str(id);
    t->recipient = ngx_mailping_str(recipient);

    if (!mailping_token_id_allowed(t->id)
        || !mailping_token_recipient_allowed(t->recipient))
    {
        ngx_mailping_count(NGX_MAILPING_BAD_ID, 1);
        return NGX_DECLINED;
    }

    /* what is no time or hint is unknown, as it would be without */

    if (ngx_mailping_value(r, mlcf->sent, &value) == NGX_OK) {
        sent = ngx_atotm(value.data, value.len);

        if (sent > 0 && (uint64_t) sent <= 0xffffffff) {
            t->sent = (uint32_t) sent;
        }
    }

    if (ngx_mailping_value(r, mlcf->hint, &value) == NGX_OK) {
        hint = mailping_hint_parse(ngx_mailping_str(value));

        if (hint > 0) {
            t->hint = hint;
        }
    }

    return NGX_OK;
}


/* the value of an optional directive, empty when there is none */

static ngx_int_t
ngx_mailping_value(ngx_http_request_t *r, ngx_http_complex_value_t *cv,
    ngx_str_t *value)
{
    if (cv == NULL) {
        ngx_str_null(value);
        return NGX_OK;
    }

    return ngx_http_complex_value(r, cv, value);
}


/* what the event says besides the evidence */

static ngx_int_t
ngx_mailping_describe(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf,
    ngx_mailping_ctx_t *ctx, uint64_t now)
{
    ngx_str_t              site;
    mailping_event_t      *e;
    mailping_judgement_t  *j;

    e = &ctx->event;
    j = &ctx->judgement;

    if (mlcf->site) {
        if (ngx_http_complex_value(r, mlcf->site, &site) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        site = r->headers_in.server;
    }

    e->site = ngx_mailping_str(site);

    e->time = now;
    e->count = 1;

    e->open = j->open;
    e->person = j->person;
    e->verdict = j->verdict;
    e->provider = j->provider;
    e->client = ctx->facts.client;
    e->rules = mailping_rules_id(ngx_mailping_worker->conf->rules);

    e->reasons.data = ctx->reasons;
    e->reasons.len = mailping_classify_reasons(ngx_mailping_worker->conf->rules,
                                               j, ctx->reasons);

    e->facts.data = ctx->fact_text;
    e->facts.len = mailping_facts_write(&ctx->facts, ctx->fact_text);

    ngx_mailping_agent(r, ctx);

    return NGX_OK;
}


static void
ngx_mailping_agent(ngx_http_request_t *r, ngx_mailping_ctx_t *ctx)
{
    mailping_str_t     agent;
    mailping_event_t  *e;

    e = &ctx->event;

    if (r->headers_in.user_agent == NULL) {
        return;
    }

    agent = ngx_mailping_str(r->headers_in.user_agent->value);

    if (e->privacy == MAILPING_PRIVACY_FULL) {
        e->agent = agent;
        return;
    }

    e->agent.data = ctx->agent;
    e->agent.len = mailping_mask_agent(agent, ctx->agent,
                                       MAILPING_EVENT_AGENT_MAX);
}


static ngx_int_t
ngx_mailping_image(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf)
{
    size_t        len;
    u_char       *image;
    ngx_buf_t    *b;
    ngx_int_t     rc;
    ngx_str_t    *type;
    ngx_chain_t   out;

    static ngx_str_t  gif = ngx_string("image/gif");
    static ngx_str_t  png = ngx_string("image/png");

    if (mlcf->image == NGX_MAILPING_PNG) {
        type = &png;
        image = ngx_mailping_png;
        len = sizeof(ngx_mailping_png);

    } else {
        type = &gif;
        image = ngx_mailping_gif;
        len = sizeof(ngx_mailping_gif);
    }

    if (ngx_mailping_answer(r, type, len) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_mailping_count(NGX_MAILPING_PIXELS, 1);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = image;
    b->last = image + len;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
