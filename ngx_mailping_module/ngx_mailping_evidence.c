
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


static void ngx_mailping_evidence_request(ngx_http_request_t *r,
    mailping_rules_t *rules, mailping_facts_t *f);
static void ngx_mailping_evidence_network(ngx_http_request_t *r,
    ngx_mailping_ctx_t *ctx, ngx_mailping_loc_conf_t *mlcf, uint64_t now);
static void ngx_mailping_evidence_history(ngx_mailping_ctx_t *ctx,
    uint64_t now);
static ngx_uint_t ngx_mailping_evidence_place(ngx_mailping_main_conf_t *mmcf,
    mailping_facts_t *f);
static ngx_uint_t ngx_mailping_evidence_self(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf);


void
ngx_mailping_evidence(ngx_http_request_t *r, ngx_mailping_ctx_t *ctx,
    ngx_mailping_loc_conf_t *mlcf, uint64_t now)
{
    mailping_facts_t  *f;
    mailping_rules_t  *rules;

    f = &ctx->facts;
    rules = ngx_mailping_worker->conf->rules;

    mailping_facts_init(rules, f);

    ngx_mailping_evidence_request(r, rules, f);
    ngx_mailping_evidence_network(r, ctx, mlcf, now);
    ngx_mailping_evidence_history(ctx, now);

    mailping_facts_hint(rules, f, ctx->token.hint);
    mailping_facts_self(rules, f, ngx_mailping_evidence_self(r, mlcf));
}


static void
ngx_mailping_evidence_request(ngx_http_request_t *r, mailping_rules_t *rules,
    mailping_facts_t *f)
{
    ngx_uint_t        i, version;
    mailping_str_t    name, value, agent;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    agent.data = NULL;
    agent.len = 0;

    if (r->headers_in.user_agent) {
        agent.data = r->headers_in.user_agent->value.data;
        agent.len = r->headers_in.user_agent->value.len;
    }

    mailping_facts_agent(rules, f, agent);
    mailping_facts_headers(rules, f);

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        name.data = h[i].key.data;
        name.len = h[i].key.len;
        value.data = h[i].value.data;
        value.len = h[i].value.len;

        mailping_facts_header(rules, f, name, value);
    }

    mailping_facts_method(rules, f, r->method == NGX_HTTP_HEAD);

    switch (r->http_version) {

    case NGX_HTTP_VERSION_9:
        version = 9;
        break;

    case NGX_HTTP_VERSION_10:
        version = 10;
        break;

    case NGX_HTTP_VERSION_11:
        version = 11;
        break;

    default:
        /* 2.0 is 2000, 3.0 is 3000 */
        version = r->http_version / 100;
        break;
    }

    mailping_facts_http(rules, f, version);
}


static void
ngx_mailping_evidence_network(ngx_http_request_t *r, ngx_mailping_ctx_t *ctx,
    ngx_mailping_loc_conf_t *mlcf, uint64_t now)
{
    uint32_t                   burst;
    uint8_t                    addr[16], masked[16];
    mailping_facts_t          *f;
    mailping_event_t          *e;
    ngx_mailping_place_t       place;
    ngx_mailping_main_conf_t  *mmcf;

    f = &ctx->facts;
    e = &ctx->event;
    mmcf = ngx_mailping_worker->conf;

    if (ngx_mailping_address(r->connection->sockaddr, addr) != NGX_OK) {
        return;
    }

    mailping_facts_address(mmcf->rules, f, addr);

    e->network.data = ctx->network;
    e->network.len = mailping_mask_network(addr, mlcf->ipv4, mlcf->ipv6,
                                           ctx->network);

    mailping_mask_address(addr, mlcf->ipv4, mlcf->ipv6, masked);

    burst = ngx_mailping_zone_burst(ngx_mailping_worker->zone, masked, &e->id,
                                    now);
    mailping_facts_burst(mmcf->rules, f, burst);

    if (mmcf->geo) {

        /* the place is that of the masked network, not of the address */

        ngx_mailping_geo_lookup(mmcf->geo, addr, masked, &place, ctx->geo);

        if (place.known) {
            mailping_facts_asn(mmcf->rules, f, place.asn);
        }

        e->asn = place.asn;
        e->org.data = place.org.data;
        e->org.len = place.org.len;
        e->country.data = place.country.data;
        e->country.len = place.country.len;
        e->region.data = place.region.data;
        e->region.len = place.region.len;
        e->city.data = place.city.data;
        e->city.len = place.city.len;
    }

    ctx->place = ngx_mailping_evidence_place(mmcf, f);

    ngx_explicit_memzero(addr, sizeof(addr));
}


static void
ngx_mailping_evidence_history(ngx_mailping_ctx_t *ctx, uint64_t now)
{
    ngx_uint_t         sure;
    mailping_event_t  *e;
    mailping_rules_t  *rules;

    e = &ctx->event;
    rules = ngx_mailping_worker->conf->rules;

    if (e->sent) {
        mailping_facts_age(rules, &ctx->facts,
                           (int64_t) now - (int64_t) e->sent);
    }

    e->seen = ngx_mailping_zone_seen(ngx_mailping_worker->zone, &e->id, now,
                                     e->sent, &sure);

    /* "the first that we remember" is not yet "the first" */

    if (sure || e->seen > 1) {
        mailping_facts_seen(rules, &ctx->facts, e->seen);
    }
}


/* where a relay or a VPN stands is not where its user is */

static ngx_uint_t
ngx_mailping_evidence_place(ngx_mailping_main_conf_t *mmcf,
    mailping_facts_t *f)
{
    ngx_uint_t  i;

    for (i = 0; i < 4; i++) {
        if (mmcf->place[i] != MAILPING_ERROR
            && mailping_facts_get(f, mmcf->place[i]) == 1)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_mailping_evidence_self(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf)
{
    ngx_str_t  value;

    if (mlcf->self == NULL
        || ngx_http_complex_value(r, mlcf->self, &value) != NGX_OK)
    {
        return 0;
    }

    return value.len != 0 && !(value.len == 1 && value.data[0] == '0');
}


ngx_int_t
ngx_mailping_address(struct sockaddr *sockaddr, uint8_t addr[16])
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;

        ngx_memzero(addr, 10);
        addr[10] = 0xff;
        addr[11] = 0xff;
        ngx_memcpy(addr + 12, &sin->sin_addr, 4);

        return NGX_OK;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;

        ngx_memcpy(addr, &sin6->sin6_addr, 16);

        return NGX_OK;
#endif

    default:
        return NGX_DECLINED;
    }
}
