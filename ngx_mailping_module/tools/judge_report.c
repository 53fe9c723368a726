
/*
 * Copyright (C) MailPing
 */


#include <inttypes.h>
#include <stdlib.h>

#include "judge.h"


/* how many reasons the summary shows */

#define MAILPING_JUDGE_REASONS_SHOWN  30


static unsigned mailping_judge_side(const mailping_judgement_t *j);
static void mailping_judge_add(mailping_judge_count_t *count, unsigned side);
static void mailping_judge_add_label(mailping_judge_report_t *report,
    mailping_str_t name, unsigned side);
static double mailping_judge_percent(uint64_t n, uint64_t of);
static void mailping_judge_print_number(const char *name, uint64_t n,
    FILE *out);
static void mailping_judge_print_sides(const mailping_judge_count_t *all,
    FILE *out);
static void mailping_judge_print_counts(const char *title,
    const mailping_judge_count_t *counts, unsigned n, unsigned max, FILE *out);
static int mailping_judge_compare(const void *one, const void *two);
static void mailping_judge_print_again(const mailping_judge_report_t *report,
    FILE *out);
static void mailping_judge_print_labels(const mailping_judge_report_t *report,
    FILE *out);


static const char *const  mailping_judge_sides[] = {
    "people", "maybe", "shielded", "machines"
};


int
mailping_judge_report_init(mailping_judge_report_t *report,
    const mailping_rules_t *rules)
{
    size_t                n;
    unsigned              i, k;
    mailping_rule_info_t  info;

    n = mailping_rules_count(rules);

    report->rules = rules;
    report->nreasons = (unsigned) n;

    report->reason = calloc(n + 1, sizeof(mailping_judge_count_t));
    report->provider = calloc(n + 1, sizeof(mailping_judge_count_t));
    report->provider_of = calloc(n + 1, sizeof(uint32_t));

    if (report->reason == NULL
        || report->provider == NULL
        || report->provider_of == NULL)
    {
        return MAILPING_ERROR;
    }

    for (i = 0; i < n; i++) {
        mailping_rules_info(rules, i, &info);

        report->reason[i].name = info.name;
        report->provider_of[i] = UINT32_MAX;

        if (info.provider.len == 0) {
            continue;
        }

        for (k = 0; k < report->nproviders; k++) {

            if (report->provider[k].name.len == info.provider.len
                && memcmp(report->provider[k].name.data,
                          info.provider.data, info.provider.len)
                   == 0)
            {
                break;
            }
        }

        if (k == report->nproviders) {
            report->provider[k].name = info.provider;
            report->nproviders++;
        }

        report->provider_of[i] = k;
    }

    /* whoever is nobody in particular */

    report->provider[report->nproviders].name.data = (const uint8_t *) "-";
    report->provider[report->nproviders].name.len = 1;
    report->nproviders++;

    for (i = 0; i < MAILPING_VERDICTS; i++) {
        report->verdict[i].name.data
            = (const uint8_t *) mailping_verdict_name(i);
        report->verdict[i].name.len = strlen(mailping_verdict_name(i));
    }

    return MAILPING_OK;
}


void
mailping_judge_report_done(mailping_judge_report_t *report)
{
    free(report->reason);
    free(report->provider);
    free(report->provider_of);
}


static unsigned
mailping_judge_side(const mailping_judgement_t *j)
{
    if (j->verdict == MAILPING_VERDICT_SHIELDED) {
        return MAILPING_JUDGE_SHIELDED;
    }

    switch (j->open) {

    case MAILPING_OPEN_YES:
        return MAILPING_JUDGE_PERSON;

    case MAILPING_OPEN_NO:
        return MAILPING_JUDGE_MACHINE;

    default:
        return MAILPING_JUDGE_MAYBE;
    }
}


static void
mailping_judge_add(mailping_judge_count_t *count, unsigned side)
{
    count->n[side]++;
    count->total++;
}


void
mailping_judge_count(mailping_judge_report_t *report,
    const mailping_judgement_t *j, mailping_str_t label)
{
    uint32_t  provider;
    unsigned  i, side;

    side = mailping_judge_side(j);
    provider = report->nproviders - 1;

    mailping_judge_add(&report->all, side);
    mailping_judge_add(&report->verdict[j->verdict], side);

    for (i = 0; i < j->ncounted; i++) {
        mailping_judge_add(&report->reason[j->counted[i]], side);
    }

    /* the judgement's provider is that of the first rule with one */

    for (i = 0; i < j->ncounted; i++) {

        if (report->provider_of[j->counted[i]] != UINT32_MAX) {
            provider = report->provider_of[j->counted[i]];
            break;
        }
    }

    mailping_judge_add(&report->provider[provider], side);

    if (label.len != 0) {
        mailping_judge_add_label(report, label, side);
    }
}


/* Labels are few; the last place is for all that find none. */

static void
mailping_judge_add_label(mailping_judge_report_t *report, mailping_str_t name,
    unsigned side)
{
    unsigned                i;
    mailping_judge_label_t  *label;

    static const mailping_str_t  others = mailping_string("(others)");

    if (name.len > MAILPING_JUDGE_LABEL_MAX) {
        name.len = MAILPING_JUDGE_LABEL_MAX;
    }

    for (i = 0; i < report->nlabels; i++) {
        label = &report->label[i];

        if (label->len == name.len
            && memcmp(label->name, name.data, name.len) == 0)
        {
            break;
        }
    }

    if (i == report->nlabels) {

        if (i >= MAILPING_JUDGE_LABELS_MAX - 1) {
            i = MAILPING_JUDGE_LABELS_MAX - 1;
            name = others;
        }

        label = &report->label[i];
        report->nlabels = i + 1;

        memcpy(label->name, name.data, name.len);
        label->len = name.len;
    }

    report->label[i].n[side]++;
    report->label[i].total++;
}


static double
mailping_judge_percent(uint64_t n, uint64_t of)
{
    return of != 0 ? 100.0 * (double) n / (double) of : 0;
}


void
mailping_judge_print(const mailping_judge_report_t *report, FILE *out)
{
    size_t  i;

    const struct {
        const char  *name;
        uint64_t     n;
    } numbers[] = {
        { "bad lines", report->bad },
        { "amendments skipped", report->amends },
        { "entries of other types", report->types },
        { "entries without facts", report->bare },
        { "other paths", report->paths },
        { "other methods", report->methods },
        { "status 400 and above", report->failed },
        { "time of sending known", report->sent }
    };

    fprintf(out, "%-32s  %08x\n", "rule set",
            mailping_rules_id(report->rules));

    mailping_judge_print_number("lines", report->lines, out);

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (numbers[i].n != 0) {
            mailping_judge_print_number(numbers[i].name, numbers[i].n, out);
        }
    }

    mailping_judge_print_number("fetches judged", report->all.total, out);

    if (report->all.total != 0) {
        mailping_judge_print_sides(&report->all, out);
        mailping_judge_print_counts("verdict", report->verdict,
                                    MAILPING_VERDICTS, MAILPING_VERDICTS, out);
        mailping_judge_print_counts("provider", report->provider,
                                    report->nproviders, report->nproviders,
                                    out);
        mailping_judge_print_counts("reason", report->reason, report->nreasons,
                                    MAILPING_JUDGE_REASONS_SHOWN, out);
    }

    if (report->again != 0) {
        mailping_judge_print_again(report, out);
    }

    if (report->nlabels != 0) {
        mailping_judge_print_labels(report, out);
    }
}


static void
mailping_judge_print_number(const char *name, uint64_t n, FILE *out)
{
    fprintf(out, "%-32s %9" PRIu64 "\n", name, n);
}


static void
mailping_judge_print_sides(const mailping_judge_count_t *all, FILE *out)
{
    unsigned  side;

    fprintf(out, "\n");

    for (side = 0; side < MAILPING_JUDGE_SIDES; side++) {
        fprintf(out, "%-32s %9" PRIu64 " %5.1f %%\n",
                mailping_judge_sides[side], all->n[side],
                mailping_judge_percent(all->n[side], all->total));
    }
}


/* The most frequent first, at most max of them. */

static void
mailping_judge_print_counts(const char *title,
    const mailping_judge_count_t *counts, unsigned n, unsigned max, FILE *out)
{
    unsigned                       i, side, used;
    const mailping_judge_count_t **order;

    order = malloc(((size_t) n + 1) * sizeof(mailping_judge_count_t *));

    if (order == NULL) {
        return;
    }

    used = 0;

    for (i = 0; i < n; i++) {
        if (counts[i].total != 0) {
            order[used++] = &counts[i];
        }
    }

    qsort(order, used, sizeof(mailping_judge_count_t *),
          mailping_judge_compare);

    fprintf(out, "\n%-32s", title);

    for (side = 0; side < MAILPING_JUDGE_SIDES; side++) {
        fprintf(out, " %9s", mailping_judge_sides[side]);
    }

    fprintf(out, "\n");

    for (i = 0; i < used && i < max; i++) {
        fprintf(out, "%-32.*s", (int) order[i]->name.len,
                (const char *) order[i]->name.data);

        for (side = 0; side < MAILPING_JUDGE_SIDES; side++) {
            fprintf(out, " %9" PRIu64, order[i]->n[side]);
        }

        fprintf(out, "\n");
    }

    if (used > max) {
        fprintf(out, "(and %u more)\n", used - max);
    }

    free(order);
}


static int
mailping_judge_compare(const void *one, const void *two)
{
    const mailping_judge_count_t  *a, *b;

    a = *(const mailping_judge_count_t *const *) one;
    b = *(const mailping_judge_count_t *const *) two;

    if (a->total != b->total) {
        return a->total < b->total ? 1 : -1;
    }

    /* in the order of the rule set */

    return a < b ? -1 : a > b;
}


static void
mailping_judge_print_again(const mailping_judge_report_t *report, FILE *out)
{
    unsigned  was, open;

    fprintf(out, "\n");
    mailping_judge_print_number("entries judged again", report->again, out);
    mailping_judge_print_number("another open or verdict", report->changed,
                                out);
    fprintf(out, "\n%-32s", "was");

    for (open = MAILPING_OPENS; open-- > 0; /* void */ ) {
        fprintf(out, " %9s", mailping_open_name(open));
    }

    fprintf(out, "\n");

    for (was = MAILPING_OPENS; was-- > 0; /* void */ ) {
        fprintf(out, "%-32s", mailping_open_name(was));

        for (open = MAILPING_OPENS; open-- > 0; /* void */ ) {
            fprintf(out, " %9" PRIu64, report->was[was][open]);
        }

        fprintf(out, "\n");
    }
}


static void
mailping_judge_print_labels(const mailping_judge_report_t *report, FILE *out)
{
    size_t                         k;
    unsigned                       i;
    uint64_t                       n[3];
    const mailping_judge_label_t  *label;

    static const char *const  opens[] = { "yes", "maybe", "no" };

    fprintf(out, "\n%-24s", "label");

    for (i = 0; i < 3; i++) {
        fprintf(out, " %9s %7s", opens[i], "%");
    }

    fprintf(out, "\n");

    for (i = 0; i < report->nlabels; i++) {
        label = &report->label[i];

        for (k = 0; k < label->len; k++) {
            putc(label->name[k] >= 0x20 && label->name[k] < 0x7f
                 ? label->name[k] : '?', out);
        }

        fprintf(out, "%*s", k < 24 ? (int) (24 - k) : 0, "");

        n[0] = label->n[MAILPING_JUDGE_PERSON];
        n[1] = label->n[MAILPING_JUDGE_MAYBE]
               + label->n[MAILPING_JUDGE_SHIELDED];
        n[2] = label->n[MAILPING_JUDGE_MACHINE];

        for (k = 0; k < 3; k++) {
            fprintf(out, " %9" PRIu64 " %7.2f", n[k],
                    mailping_judge_percent(n[k], label->total));
        }

        fprintf(out, "\n");
    }
}
