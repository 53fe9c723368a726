
/*
 * Copyright (C) MailPing
 */


#include "sets.h"


typedef struct {
    const char  *name;
    int        (*parse)(mailping_parser_t *ps);
} mailping_statement_t;


static int mailping_rules_statement(mailping_parser_t *ps);
static int mailping_rules_provider(mailping_parser_t *ps,
    mailping_str_t *name);
static int mailping_rules_rule(mailping_parser_t *ps);
static int mailping_rules_set(mailping_parser_t *ps);
static int mailping_rules_prior(mailping_parser_t *ps);
static int mailping_rules_new(mailping_parser_t *ps, mailping_rule_t **rule);
static int mailping_rules_group(mailping_parser_t *ps, uint8_t *group);
static int mailping_rules_weights(mailping_parser_t *ps, mailping_str_t token,
    int8_t weight[MAILPING_CLASSES], uint8_t *classes);
static const uint8_t *mailping_rules_weight(mailping_parser_t *ps,
    const uint8_t *p, const uint8_t *last, int8_t weight[MAILPING_CLASSES],
    uint8_t *classes);
static int mailping_rules_terms(mailping_parser_t *ps, mailping_rule_t *rule);
static int mailping_rules_term(mailping_parser_t *ps, mailping_rule_t *rule,
    mailping_str_t token);


/* those that define no set */

static const mailping_statement_t  mailping_statements[] = {
    { "rule", mailping_rules_rule },
    { "set", mailping_rules_set },
    { "prior", mailping_rules_prior },
    { NULL, NULL }
};


int
mailping_rules_parse(mailping_rules_t *rs, const char *name,
    mailping_str_t text, mailping_rules_load_pt load, void *data,
    mailping_rules_error_t *err)
{
    int                rc;
    mailping_str_t     file;
    mailping_parser_t  ps;

    file.data = (const uint8_t *) name;
    file.len = strlen(name);

    if (mailping_ruleset_copy(rs, file, &file) != MAILPING_OK) {
        return mailping_ruleset_no_memory(err);
    }

    memset(&ps, 0, sizeof(mailping_parser_t));

    ps.rs = rs;
    ps.err = err;
    ps.load = load;
    ps.data = data;
    ps.rules = (const char *) file.data;
    ps.file = ps.rules;

    rs->nfiles++;

    if (mailping_parser_digest(&ps, text) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    while (text.len != 0) {
        rc = mailping_parser_line(&ps, &text);

        if (rc == MAILPING_OK) {
            rc = mailping_rules_statement(&ps);
        }

        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    return MAILPING_OK;
}


static int
mailping_rules_statement(mailping_parser_t *ps)
{
    int                          rc;
    mailping_str_t               token;
    const mailping_statement_t  *st;

    rc = mailping_parser_token(ps, &token);

    if (rc != MAILPING_OK) {
        return rc == MAILPING_DECLINED ? MAILPING_OK : rc;
    }

    rc = mailping_sets_statement(ps, token);

    if (rc != MAILPING_DECLINED) {
        return rc;
    }

    for (st = mailping_statements; st->name != NULL; st++) {

        if (token.len == strlen(st->name)
            && memcmp(token.data, st->name, token.len) == 0)
        {
            return st->parse(ps);
        }
    }

    return mailping_parser_error(ps, token.data, "statement");
}


static int
mailping_rules_provider(mailping_parser_t *ps, mailping_str_t *name)
{
    if (mailping_parser_name(ps, name,
                             "provider of at most 64 letters, digits, "
                             "\"._-\", or \"-\"")
        != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    if (name->len == 1 && name->data[0] == '-') {
        name->len = 0;
    }

    if (mailping_ruleset_copy(ps->rs, *name, name) != MAILPING_OK) {
        return mailping_ruleset_no_memory(ps->err);
    }

    return MAILPING_OK;
}


static int
mailping_rules_rule(mailping_parser_t *ps)
{
    mailping_str_t    token;
    mailping_rule_t  *rule;

    if (mailping_rules_new(ps, &rule) != MAILPING_OK
        || mailping_rules_group(ps, &rule->group) != MAILPING_OK
        || mailping_rules_provider(ps, &rule->provider) != MAILPING_OK
        || mailping_parser_need(ps, &token, "weights") != MAILPING_OK
        || mailping_rules_weights(ps, token, rule->weight, &rule->classes)
           != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    return mailping_rules_terms(ps, rule);
}


static int
mailping_rules_set(mailping_parser_t *ps)
{
    mailping_str_t    token;
    mailping_rule_t  *rule;

    if (mailping_rules_new(ps, &rule) != MAILPING_OK
        || mailping_rules_provider(ps, &rule->provider) != MAILPING_OK
        || mailping_parser_need(ps, &token, "\"shielded\" or \"self\"")
           != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    rule->group = MAILPING_GROUP_SET;

    if (token.len == 8 && memcmp(token.data, "shielded", 8) == 0) {
        rule->outcome = MAILPING_VERDICT_SHIELDED;

    } else if (token.len == 4 && memcmp(token.data, "self", 4) == 0) {
        rule->outcome = MAILPING_VERDICT_SELF;

    } else {
        return mailping_parser_error(ps, token.data,
                                     "\"shielded\" or \"self\"");
    }

    return mailping_rules_terms(ps, rule);
}


static int
mailping_rules_prior(mailping_parser_t *ps)
{
    int8_t             weight[MAILPING_CLASSES];
    uint8_t            classes;
    mailping_str_t     token;
    mailping_rules_t  *rs;

    rs = ps->rs;

    if (rs->prior_file == rs->nfiles) {
        return mailping_parser_error(ps, ps->p - (sizeof("prior") - 1),
                                     "one prior in a file");
    }

    rs->prior_file = rs->nfiles;

    if (mailping_parser_need(ps, &token, "weights") != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    if (token.len == 1 && token.data[0] == '-'
        && mailping_parser_need(ps, &token, "weights") != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    if (mailping_rules_weights(ps, token, weight, &classes) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    memcpy(rs->prior, weight, sizeof(weight));

    if (mailping_parser_token(ps, &token) != MAILPING_DECLINED) {
        return mailping_parser_error(ps, token.data, "end of line");
    }

    return MAILPING_OK;
}


/*
 * A rule of this name: a new one, or that of an earlier file, whose place in
 * the order it takes.
 */

static int
mailping_rules_new(mailping_parser_t *ps, mailping_rule_t **rule)
{
    uint32_t           n;
    mailping_str_t     name;
    mailping_rules_t  *rs;

    rs = ps->rs;

    if (mailping_parser_name(ps, &name,
                             "rule name of at most 64 letters, digits, "
                             "\"._-\"")
        != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    if (mailping_ruleset_find(rs, MAILPING_MAP_RULE, name, &n)
        == MAILPING_OK)
    {
        if (rs->rule[n].nfile == rs->nfiles) {
            return mailping_parser_error(ps, name.data,
                                    "rule name that is new in this file");
        }

    } else {

        if (rs->nrules == MAILPING_RULES_MAX) {
            return mailping_parser_error(ps, name.data,
                                         "at most 8192 rules");
        }

        n = rs->nrules;

        if (mailping_ruleset_grow(&rs->rule, sizeof(mailping_rule_t), n,
                                  &rs->crules)
            != MAILPING_OK
            || mailping_ruleset_copy(rs, name, &name) != MAILPING_OK
            || mailping_ruleset_add(rs, MAILPING_MAP_RULE, name, n)
               != MAILPING_OK)
        {
            return mailping_ruleset_no_memory(ps->err);
        }

        rs->rule[n].name = name;
        rs->nrules++;
    }

    *rule = &rs->rule[n];
    name = (*rule)->name;

    memset(*rule, 0, sizeof(mailping_rule_t));

    (*rule)->name = name;
    (*rule)->file = ps->rules;
    (*rule)->nfile = rs->nfiles;

    return MAILPING_OK;
}


static int
mailping_rules_group(mailping_parser_t *ps, uint8_t *group)
{
    unsigned        i;
    mailping_str_t  token;

    static const char  expected[] = "group agent, network, headers, time or "
                                    "history";

    if (mailping_parser_need(ps, &token, expected) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    for (i = 0; i < MAILPING_GROUPS; i++) {

        if (token.len == strlen(mailping_group_name(i))
            && memcmp(token.data, mailping_group_name(i), token.len) == 0)
        {
            *group = (uint8_t) i;
            return MAILPING_OK;
        }
    }

    return mailping_parser_error(ps, token.data, expected);
}


static int
mailping_rules_weights(mailping_parser_t *ps, mailping_str_t token,
    int8_t weight[MAILPING_CLASSES], uint8_t *classes)
{
    const uint8_t  *p, *last;

    memset(weight, 0, MAILPING_CLASSES);

    *classes = 0;

    p = token.data;
    last = token.data + token.len;

    for ( ;; ) {
        p = mailping_rules_weight(ps, p, last, weight, classes);

        if (p == NULL) {
            return MAILPING_ERROR;
        }

        if (p == last) {
            return MAILPING_OK;
        }

        if (*p != ',') {
            return mailping_parser_error(ps, p, "\",\" or blank");
        }

        p++;
    }
}


/* One weight, "human+10".  Returns what follows, NULL on error. */

static const uint8_t *
mailping_rules_weight(mailping_parser_t *ps, const uint8_t *p,
    const uint8_t *last, int8_t weight[MAILPING_CLASSES], uint8_t *classes)
{
    int             n, sign;
    size_t          len;
    unsigned        class;
    const uint8_t  *digits;

    len = 0;

    for (class = 0; class < MAILPING_CLASSES; class++) {
        len = strlen(mailping_class_name(class));

        if ((size_t) (last - p) >= len
            && memcmp(p, mailping_class_name(class), len) == 0)
        {
            break;
        }
    }

    if (class == MAILPING_CLASSES) {
        (void) mailping_parser_error(ps, p, "class human, proxied, prefetch, "
                                           "scanner or bot");
        return NULL;
    }

    if (*classes & 1 << class) {
        (void) mailping_parser_error(ps, p, "each class once");
        return NULL;
    }

    p += len;

    if (p == last || (*p != '+' && *p != '-')) {
        (void) mailping_parser_error(ps, p, "\"+\" or \"-\"");
        return NULL;
    }

    sign = *p++ == '-' ? -1 : 1;
    n = 0;

    for (digits = p; p < last && *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');

        if (n > MAILPING_WEIGHT_MAX) {
            break;
        }
    }

    if (p == digits || n > MAILPING_WEIGHT_MAX) {
        (void) mailping_parser_error(ps, digits, "weight from 0 to 30");
        return NULL;
    }

    weight[class] = (int8_t) (sign * n);
    *classes |= (uint8_t) (1 << class);

    return p;
}


static int
mailping_rules_terms(mailping_parser_t *ps, mailping_rule_t *rule)
{
    int              rc;
    unsigned         n;
    mailping_str_t   token;
    const uint8_t   *start;

    /* they are counted first, to get the memory for exactly so many */

    start = ps->p;

    for (n = 0; /* void */ ; n++) {
        rc = mailping_parser_token(ps, &token);

        if (rc == MAILPING_DECLINED) {
            break;
        }

        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    if (n == 0) {
        return mailping_parser_error(ps, ps->p, "condition");
    }

    ps->p = start;

    rule->term = mailping_ruleset_alloc(ps->rs, n * sizeof(mailping_term_t));
    if (rule->term == NULL) {
        return mailping_ruleset_no_memory(ps->err);
    }

    while (mailping_parser_token(ps, &token) == MAILPING_OK) {

        if (mailping_rules_term(ps, rule, token) != MAILPING_OK) {
            return MAILPING_ERROR;
        }
    }

    return MAILPING_OK;
}


static int
mailping_rules_term(mailping_parser_t *ps, mailping_rule_t *rule,
    mailping_str_t token)
{
    unsigned              i;
    mailping_term_t      *term;
    mailping_condition_t  c;

    if (mailping_condition_parse(token, &c) != MAILPING_OK) {
        return mailping_parser_error(ps, token.data + c.offset, c.expected);
    }

    term = &rule->term[rule->nterms];

    if (mailping_parser_fact(ps, token.data, &c, &term->fact)
        != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    term->negated = c.negated;
    term->line = ps->nline;
    term->column = (unsigned) (token.data - ps->line) + 1;

    for (i = 0; i < rule->nterms; i++) {

        if (rule->term[i].fact != term->fact) {
            continue;
        }

        if (rule->term[i].negated != term->negated) {
            return mailping_parser_error(ps, token.data,
                            "condition that can hold beside those before");
        }

        return MAILPING_OK;
    }

    rule->nterms++;

    return MAILPING_OK;
}
