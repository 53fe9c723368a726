
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


static int ngx_mailping_amend_visit(void *data, mailping_recent_t *r);
static void ngx_mailping_amend_remember(ngx_mailping_ctx_t *ctx);


void
ngx_mailping_amend(ngx_mailping_ctx_t *ctx)
{
    mailping_later_t       later;
    ngx_mailping_worker_t  *worker;

    /* nothing was recorded, or only counted */

    if (ctx->name.len == 0) {
        return;
    }

    worker = ngx_mailping_worker;

    later.fetch = ctx->fetch;
    later.past = ctx->past;

    /* who is called a scanner because of another one makes no third one */

    later.scanner = ctx->judgement.open == MAILPING_OPEN_NO
                    && ctx->judgement.verdict == MAILPING_VERDICT_SCANNER
                    && !ctx->past.scanned;

    if (later.scanner) {
        mailping_history_scanner(worker->history, &ctx->fetch);
    }

    if (later.scanner || later.past.farm > 1 || later.past.agents > 1) {
        mailping_recents_visit(worker->recents, MAILPING_RECENT_TOKEN,
                               later.fetch.token, later.fetch.time,
                               ngx_mailping_amend_visit, &later);
    }

    if (later.past.burst > 1 || later.past.quick >= 0) {
        mailping_recents_visit(worker->recents, MAILPING_RECENT_NETWORK,
                               later.fetch.network, later.fetch.time,
                               ngx_mailping_amend_visit, &later);
    }

    if (mailping_amend_possible(worker->conf->rules, &ctx->facts,
                                &ctx->judgement))
    {
        ngx_mailping_amend_remember(ctx);
    }
}


static int
ngx_mailping_amend_visit(void *data, mailping_recent_t *r)
{
    mailping_later_t  *later = data;

    size_t                 len;
    uint8_t                reasons[MAILPING_REASONS_MAX];
    mailping_amend_t       amend;
    mailping_rules_t      *rules;
    mailping_judgement_t   j;

    rules = ngx_mailping_worker->conf->rules;

    if (!mailping_amend(rules, r, later, &j)) {
        return 1;
    }

    mailping_recent_texts(r, &amend);

    len = mailping_classify_reasons(rules, &j, reasons);

    amend.reasons = mailping_str(reasons, len);
    amend.provider = j.provider;
    amend.time = mailping_event_time(later->fetch.time, r->privacy);
    amend.rules = mailping_rules_id(rules);
    amend.person = j.person;
    amend.open = j.open;
    amend.verdict = j.verdict;
    amend.was = r->was;

    ngx_mailping_count(ngx_mailping_record_amend(&amend) == NGX_OK
                       ? NGX_MAILPING_AMENDED : NGX_MAILPING_AMENDS_LOST, 1);

    return 1;
}


static void
ngx_mailping_amend_remember(ngx_mailping_ctx_t *ctx)
{
    mailping_event_t   *e;
    mailping_recent_t   r;

    e = &ctx->event;

    r.fetch = ctx->fetch;
    r.past = ctx->past;

    ngx_memcpy(r.is, ctx->facts.is, sizeof(r.is));
    ngx_memcpy(r.unknown, ctx->facts.unknown, sizeof(r.unknown));

    r.rules = e->rules;
    r.was = e->open;
    r.open = e->open;
    r.verdict = e->verdict;
    r.told = 0;
    r.privacy = e->privacy;

    mailping_recents_add(ngx_mailping_worker->recents, &r,
                         ngx_mailping_str(ctx->name), e->id, e->recipient,
                         e->site);
}
