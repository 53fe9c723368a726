
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


static uint64_t ngx_mailping_evidence_token(const mailping_token_t *t);
static void ngx_mailping_evidence_request(ngx_http_request_t *r,
    ngx_mailping_ctx_t *ctx, mailping_rules_t *rules);
static void ngx_mailping_evidence_network(ngx_http_request_t *r,
    ngx_mailping_ctx_t *ctx, ngx_mailping_loc_conf_t *mlcf);
static void ngx_mailping_evidence_history(ngx_mailping_ctx_t *ctx,
    mailping_rules_t *rules);
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

    ctx->fetch.token = ngx_mailping_evidence_token(&ctx->token);
    ctx->fetch.time = now;
    ctx->fetch.sent = ctx->event.sent;

    mailping_facts_init(rules, f);

    ngx_mailping_evidence_request(r, ctx, rules);
    ngx_mailping_evidence_network(r, ctx, mlcf);
    ngx_mailping_evidence_history(ctx, rules);

    mailping_facts_hint(rules, f, ctx->token.hint);
    mailping_facts_self(rules, f, ngx_mailping_evidence_self(r, mlcf));
}


/*
 * A hash of the whole token, not of its id: the two images of one mail, and
 * the equal ids of two senders, are different tokens.
 */

static uint64_t
ngx_mailping_evidence_token(const mailping_token_t *t)
{
    uint64_t  hash;

    if (t->key == MAILPING_TOKEN_NO_KEY) {
        return ngx_mailping_zone_hash(t->id.data, t->id.len) * 31
               + ngx_mailping_zone_hash(t->recipient.data, t->recipient.len);
    }

    /* the MAC follows the id, and is the best hash of the token there is */

    ngx_memcpy(&hash, t->id.data + t->id.len, sizeof(uint64_t));

    return hash;
}


static void
ngx_mailping_evidence_request(ngx_http_request_t *r, ngx_mailping_ctx_t *ctx,
    mailping_rules_t *rules)
{
    ngx_str_t          agent;
    ngx_uint_t         i, version;
    ngx_list_part_t   *part;
    ngx_table_elt_t   *h;
    mailping_facts_t  *f;

    f = &ctx->facts;

    ngx_str_null(&agent);

    if (r->headers_in.user_agent) {
        agent = r->headers_in.user_agent->value;
    }

    ctx->fetch.agent = ngx_mailping_zone_hash(agent.data, agent.len);

    mailping_facts_agent(rules, f, ngx_mailping_str(agent));
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

        mailping_facts_header(rules, f, ngx_mailping_str(h[i].key),
                              ngx_mailping_str(h[i].value));
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
    ngx_mailping_loc_conf_t *mlcf)
{
    uint8_t                    addr[16], masked[16];
    mailping_facts_t          *f;
    mailping_event_t          *e;
    ngx_mailping_network_t     network;
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

    ctx->fetch.network = ngx_mailping_zone_hash(masked, 16);

    if (mmcf->geo) {

        ngx_mailping_geo_network(mmcf->geo, addr, &network, ctx->geo[0]);

        if (network.known) {
            mailping_facts_asn(mmcf->rules, f, network.asn);
        }

        e->asn = network.asn;
        e->org = ngx_mailping_str(network.org);
    }

    /* where a relay or a VPN stands is not where its user is */

    ctx->place = !ngx_mailping_evidence_any(mmcf, f, 0, NGX_MAILPING_PLACES);

    ngx_explicit_memzero(addr, sizeof(addr));
}


static void
ngx_mailping_evidence_history(ngx_mailping_ctx_t *ctx,
    mailping_rules_t *rules)
{
    if (ctx->fetch.sent) {
        mailping_facts_age(rules, &ctx->facts,
                           (int64_t) (ctx->fetch.time - ctx->fetch.sent));
    }

    mailping_history_fetch(ngx_mailping_worker->history, &ctx->fetch,
                           &ctx->past);

    ctx->event.seen = ctx->past.seen;

    mailping_past_facts(rules, &ctx->facts, &ctx->past);
}


ngx_uint_t
ngx_mailping_evidence_any(ngx_mailping_main_conf_t *mmcf,
    const mailping_facts_t *f, ngx_uint_t from, ngx_uint_t to)
{
    ngx_uint_t  i;

    for (i = from; i < to; i++) {
        if (mailping_facts_get(f, mmcf->fact[i]) == 1) {
            return 1;
        }
    }

    return 0;
}


void
ngx_mailping_evidence_reader(ngx_http_request_t *r, ngx_mailping_ctx_t *ctx,
    ngx_mailping_loc_conf_t *mlcf)
{
    uint8_t                    addr[16], masked[16];
    mailping_event_t          *e;
    ngx_mailping_place_t       place;
    ngx_mailping_main_conf_t  *mmcf;

    e = &ctx->event;
    mmcf = ngx_mailping_worker->conf;

    if (mmcf->geo == NULL
        || !ctx->place
        || ctx->judgement.verdict != MAILPING_VERDICT_HUMAN
        || e->privacy >= MAILPING_PRIVACY_MINIMAL
        || ngx_mailping_address(r->connection->sockaddr, addr) != NGX_OK)
    {
        return;
    }

    /* the place is that of the masked network, not of the address */

    mailping_mask_address(addr, mlcf->ipv4, mlcf->ipv6, masked);

    ngx_explicit_memzero(addr, sizeof(addr));

    ngx_mailping_geo_place(mmcf->geo, masked, &place, ctx->geo + 1);

    e->country = ngx_mailping_str(place.country);
    e->region = ngx_mailping_str(place.region);
    e->city = ngx_mailping_str(place.city);
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
