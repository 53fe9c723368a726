
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


typedef struct {
    mailping_later_t       later;
    mailping_judgement_t   judgement;      /* of the open that is visited */
} ngx_mailping_amend_t;


static ngx_uint_t ngx_mailping_amend_scanner(ngx_mailping_ctx_t *ctx);
static int ngx_mailping_amend_change(void *data, mailping_recent_t *r);
static void ngx_mailping_amend_tell(void *data, const mailping_recent_t *r);
static void ngx_mailping_amend_remember(ngx_mailping_ctx_t *ctx);


void
ngx_mailping_amend(ngx_mailping_ctx_t *ctx)
{
    mailping_later_t         *later;
    ngx_mailping_amend_t      amend;
    ngx_mailping_worker_t    *worker;
    mailping_recent_visit_t   visit;

    /* nothing was recorded, or only counted */

    if (ctx->name.len == 0) {
        return;
    }

    worker = ngx_mailping_worker;

    visit.change = ngx_mailping_amend_change;
    visit.tell = ngx_mailping_amend_tell;
    visit.data = &amend;

    later = &amend.later;

    later->fetch = ctx->fetch;
    later->past = ctx->past;

    later->scanner = ngx_mailping_amend_scanner(ctx);

    if (later->scanner) {
        mailping_history_scanner(worker->history, &ctx->fetch);
    }

    if (later->scanner || later->past.farm > 1 || later->past.agents > 1) {
        mailping_recents_visit(worker->recents, MAILPING_RECENT_TOKEN,
                               later->fetch.token, later->fetch.time, &visit);
    }

    if (later->past.burst > 1 || later->past.quick >= 0) {
        mailping_recents_visit(worker->recents, MAILPING_RECENT_NETWORK,
                               later->fetch.network, later->fetch.time,
                               &visit);
    }

    if (ctx->judgement.open == MAILPING_OPEN_YES
        && ctx->past.seen == 1
        && ngx_mailping_evidence_any(worker->conf, &ctx->facts,
                                     NGX_MAILPING_PLACES, NGX_MAILPING_FACTS))
    {
        mailping_history_reader(worker->history, &ctx->fetch);
    }

    if (mailping_amend_possible(worker->conf->rules, &ctx->facts,
                                &ctx->judgement))
    {
        ngx_mailping_amend_remember(ctx);
    }
}


/*
 * Who is called a scanner because of another one makes no third one; but who
 * is one without it is, each time it comes.
 */

static ngx_uint_t
ngx_mailping_amend_scanner(ngx_mailping_ctx_t *ctx)
{
    mailping_facts_t       f;
    mailping_rules_t      *rules;
    mailping_judgement_t   j;

    if (ctx->judgement.open != MAILPING_OPEN_NO
        || ctx->judgement.verdict != MAILPING_VERDICT_SCANNER)
    {
        return 0;
    }

    if (!ctx->past.scanned) {
        return 1;
    }

    rules = ngx_mailping_worker->conf->rules;

    f = ctx->facts;
    mailping_facts_scanned(rules, &f, 0);

    mailping_classify(rules, &f, &j, NULL, NULL);

    return j.open == MAILPING_OPEN_NO
           && j.verdict == MAILPING_VERDICT_SCANNER;
}


static int
ngx_mailping_amend_change(void *data, mailping_recent_t *r)
{
    ngx_mailping_amend_t  *a = data;

    return mailping_amend(ngx_mailping_worker->conf->rules, r, &a->later,
                          &a->judgement);
}


static void
ngx_mailping_amend_tell(void *data, const mailping_recent_t *r)
{
    ngx_mailping_amend_t  *a = data;

    size_t                 len;
    uint8_t                reasons[MAILPING_REASONS_MAX];
    mailping_amend_t       amend;
    mailping_rules_t      *rules;
    mailping_judgement_t  *j;

    j = &a->judgement;
    rules = ngx_mailping_worker->conf->rules;

    mailping_recent_texts(r, &amend);

    len = mailping_classify_reasons(rules, j, reasons);

    amend.reasons = mailping_str(reasons, len);
    amend.provider = j->provider;
    amend.time = mailping_event_time(a->later.fetch.time, r->privacy);
    amend.rules = mailping_rules_id(rules);
    amend.person = j->person;
    amend.open = j->open;
    amend.verdict = j->verdict;
    amend.was = r->was;

    ngx_mailping_count(ngx_mailping_record_amend(&amend) == NGX_OK
                       ? NGX_MAILPING_AMENDED : NGX_MAILPING_AMENDS_LOST, 1);
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
