
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


static ngx_int_t ngx_mailping_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


typedef enum {
    NGX_MAILPING_VAR_ID = 0,
    NGX_MAILPING_VAR_OPEN,
    NGX_MAILPING_VAR_PERSON,
    NGX_MAILPING_VAR_VERDICT,
    NGX_MAILPING_VAR_PROVIDER,
    NGX_MAILPING_VAR_REASONS,
    NGX_MAILPING_VAR_NETWORK,
    NGX_MAILPING_VAR_EVENT
} ngx_mailping_variable_e;


/* not cacheable: asked before the handler ran, they have no value yet */

static ngx_http_variable_t  ngx_mailping_variables[] = {

    { ngx_string("mailping_id"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mailping_open"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_OPEN, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mailping_person"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_PERSON, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mailping_verdict"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_VERDICT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mailping_provider"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_PROVIDER, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mailping_reasons"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_REASONS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mailping_network"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_NETWORK, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("mailping_event"), NULL, ngx_mailping_variable,
      NGX_MAILPING_VAR_EVENT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_mailping_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_mailping_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char              *p;
    const char          *name;
    mailping_str_t       s;
    mailping_event_t    *e;
    ngx_mailping_ctx_t  *ctx;

    ctx = ngx_mailping_get_ctx(r->main);

    if (ctx == NULL || !ctx->judged) {
        v->not_found = 1;
        return NGX_OK;
    }

    e = &ctx->event;
    name = NULL;
    s = (mailping_str_t) mailping_null_string;

    switch (data) {

    case NGX_MAILPING_VAR_ID:
        s = e->id;
        break;

    case NGX_MAILPING_VAR_OPEN:
        name = mailping_open_name(e->open);
        break;

    case NGX_MAILPING_VAR_PERSON:
        if (e->person != MAILPING_PERSON_NONE) {
            p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
            if (p == NULL) {
                return NGX_ERROR;
            }

            s.data = p;
            s.len = ngx_sprintf(p, "%d", e->person) - p;
        }

        break;

    case NGX_MAILPING_VAR_VERDICT:
        name = mailping_verdict_name(e->verdict);
        break;

    case NGX_MAILPING_VAR_PROVIDER:
        s = e->provider;
        break;

    case NGX_MAILPING_VAR_REASONS:
        s = e->reasons;
        break;

    case NGX_MAILPING_VAR_NETWORK:
        s = e->network;
        break;

    default: /* NGX_MAILPING_VAR_EVENT */
        s.data = ctx->name.data;
        s.len = ctx->name.len;
        break;
    }

    if (name) {
        s.data = (u_char *) name;
        s.len = ngx_strlen(name);
    }

    v->data = (u_char *) s.data;
    v->len = s.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
