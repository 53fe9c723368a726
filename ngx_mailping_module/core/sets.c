
/*
 * Copyright (C) MailPing
 */


#include <stdio.h>

#include "mask.h"
#include "sets.h"


typedef int (*mailping_item_pt)(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact);


typedef struct {
    const char             *name;
    mailping_item_pt        item;
    const char             *expected;  /* an item */
    unsigned                kind;      /* mailping_fact_kind_e */
    unsigned                file;      /* items may come from a file */
} mailping_set_t;


static int mailping_sets_items(mailping_parser_t *ps,
    const mailping_set_t *st);
static int mailping_sets_list(mailping_parser_t *ps,
    const mailping_set_t *st, mailping_str_t token, unsigned fact);
static int mailping_sets_network(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact);
static int mailping_sets_asn(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact);
static int mailping_sets_agent(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact);
static int mailping_sets_pattern(mailping_parser_t *ps, const uint8_t *at,
    mailping_str_t text, unsigned anchors, unsigned fact);
static int mailping_sets_header(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact);
static int mailping_sets_quoted(mailping_parser_t *ps, const uint8_t **pp,
    const uint8_t *last, mailping_str_t *value);


static const mailping_set_t  mailping_sets[] = {

    { "network", mailping_sets_network, "network or \"@file\"",
      MAILPING_FACT_NETWORK, 1 },

    { "asn", mailping_sets_asn, "AS number or \"@file\"",
      MAILPING_FACT_ASN, 1 },

    { "agent", mailping_sets_agent, "pattern or \"@file\"",
      MAILPING_FACT_AGENT, 1 },

    { "client", mailping_sets_agent, "pattern or \"@file\"",
      MAILPING_FACT_CLIENT, 1 },

    { "header", mailping_sets_header, "header",
      MAILPING_FACT_HEADER, 0 },

    { NULL, NULL, NULL, 0, 0 }
};


int
mailping_sets_statement(mailping_parser_t *ps, mailping_str_t word)
{
    const mailping_set_t  *st;

    for (st = mailping_sets; st->name != NULL; st++) {

        if (word.len == strlen(st->name)
            && memcmp(word.data, st->name, word.len) == 0)
        {
            return mailping_sets_items(ps, st);
        }
    }

    return MAILPING_DECLINED;
}


/* A name, and what belongs to the set. */

static int
mailping_sets_items(mailping_parser_t *ps, const mailping_set_t *st)
{
    int                   rc;
    unsigned              n, fact;
    mailping_str_t        token;
    mailping_condition_t  c;

    memset(&c, 0, sizeof(mailping_condition_t));

    c.kind = st->kind;

    if (mailping_parser_name(ps, &c.key,
                             "name of at most 64 letters, digits, \"._-\"")
        != MAILPING_OK
        || mailping_parser_fact(ps, c.key.data, &c, &fact) != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    ps->rs->fact[fact].defined = 1;

    for (n = 0; /* void */ ; n++) {
        rc = mailping_parser_token(ps, &token);

        if (rc == MAILPING_DECLINED) {
            break;
        }

        if (rc == MAILPING_OK) {
            rc = st->file && token.data[0] == '@'
                 ? mailping_sets_list(ps, st, token, fact)
                 : st->item(ps, token, fact);
        }

        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    return n != 0 ? MAILPING_OK
                  : mailping_parser_error(ps, ps->p, st->expected);
}


/* "@file": one item a line */

static int
mailping_sets_list(mailping_parser_t *ps, const mailping_set_t *st,
    mailping_str_t token, unsigned fact)
{
    int                rc;
    char               path[256], why[128], expected[160];
    mailping_str_t     text, item, name, file;
    mailping_parser_t  list;
    const uint8_t     *p;

    name.data = token.data + 1;
    name.len = token.len - 1;

    if (name.len == 0) {
        return mailping_parser_error(ps, token.data, "\"@\" and a file name");
    }

    path[0] = '\0';
    why[0] = '\0';
    text = (mailping_str_t) mailping_null_string;

    if (ps->load == NULL) {
        snprintf(why, sizeof(why), "no files can be read here");
        rc = MAILPING_ERROR;

    } else {
        rc = ps->load(ps->data, ps->rules, name, &text, path, why);
    }

    if (rc != MAILPING_OK) {
        snprintf(expected, sizeof(expected), "file that can be read (%s)",
                 why);
        return mailping_parser_error(ps, token.data, expected);
    }

    /* an error may be found when the file has been read */

    if (mailping_ruleset_copy(ps->rs, mailping_str(path, strlen(path)), &file)
        != MAILPING_OK)
    {
        return mailping_ruleset_no_memory(ps->err);
    }

    list = *ps;
    list.file = (const char *) file.data;
    list.nline = 0;

    if (mailping_parser_digest(ps, text) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    while (text.len != 0) {

        if (mailping_parser_line(&list, &text) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        while (list.p < list.end && mailping_parser_blank(*list.p)) {
            list.p++;
        }

        /* an item may have blanks inside; a "#" after one is a comment */

        item.data = list.p;

        for (p = list.p; p < list.end; p++) {
            if (*p == '#' && (p == item.data || mailping_parser_blank(p[-1]))) {
                break;
            }
        }

        while (p > item.data && mailping_parser_blank(p[-1])) {
            p--;
        }

        item.len = (size_t) (p - item.data);

        if (item.len == 0) {
            continue;
        }

        list.p = p;

        if (st->item(&list, item, fact) != MAILPING_OK) {
            return MAILPING_ERROR;
        }
    }

    return MAILPING_OK;
}


static int
mailping_sets_network(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact)
{
    size_t          len;
    uint8_t         addr[16], masked[16], hint[MAILPING_NETWORK_TEXT_MAX];
    unsigned        bit, bits, max, front;
    mailping_str_t  text;
    const uint8_t  *p, *last, *slash;

    last = item.data + item.len;
    slash = memchr(item.data, '/', item.len);

    text.data = item.data;
    text.len = (size_t) ((slash != NULL ? slash : last) - item.data);

    if (mailping_mask_parse(text, addr) != MAILPING_OK) {
        return mailping_parser_error(ps, item.data, "network");
    }

    /* "::ffff:192.0.2.0/120" counts the bits of an IPv6 address */

    front = mailping_mask_is_ipv4(addr)
            && memchr(text.data, ':', text.len) == NULL ? 96 : 0;
    max = 128 - front;
    bits = max;

    if (slash != NULL) {
        bits = 0;

        for (p = slash + 1; p < last && *p >= '0' && *p <= '9'; p++) {
            bits = bits * 10 + (unsigned) (*p - '0');

            if (bits > max) {
                break;
            }
        }

        if (p != last || p == slash + 1) {
            return mailping_parser_error(ps, slash + 1, front
                                         ? "prefix length from 0 to 32"
                                         : "prefix length from 0 to 128");
        }
    }

    bits += front;

    /* all bits from the prefix on, also those before a mapped IPv4 address */

    memcpy(masked, addr, 16);

    for (bit = bits; bit < 128; bit++) {
        masked[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    }

    if (memcmp(masked, addr, 16) != 0) {
        len = mailping_mask_network(masked, bits >= 96 ? bits - 96 : 0, bits,
                                    hint);

        mailping_parser_place(ps, item.data);
        snprintf(ps->err->text, sizeof(ps->err->text),
                 "expected network without host bits, such as \"%.*s\", "
                 "found \"%.*s\"", (int) len, (char *) hint,
                 (int) (item.len < 64 ? item.len : 64),
                 (const char *) item.data);
        return MAILPING_ERROR;
    }

    if (mailping_networks_add(ps->rs->networks, addr, bits, fact)
        != MAILPING_OK)
    {
        return mailping_ruleset_no_memory(ps->err);
    }

    return MAILPING_OK;
}


static int
mailping_sets_asn(mailping_parser_t *ps, mailping_str_t item, unsigned fact)
{
    uint64_t        asn;
    const uint8_t  *p, *last, *digits;

    p = item.data;
    last = item.data + item.len;
    asn = 0;

    if (item.len > 2 && (p[0] | 0x20) == 'a' && (p[1] | 0x20) == 's') {
        p += 2;
    }

    for (digits = p; p < last && *p >= '0' && *p <= '9'; p++) {
        asn = asn * 10 + (uint64_t) (*p - '0');

        if (asn > UINT32_MAX) {
            break;
        }
    }

    if (p != last || p == digits || asn == 0) {
        return mailping_parser_error(ps, item.data,
                                     "AS number from 1 to 4294967295");
    }

    if (mailping_ruleset_asn(ps->rs, (uint32_t) asn, fact) != MAILPING_OK) {
        return mailping_ruleset_no_memory(ps->err);
    }

    return MAILPING_OK;
}


/* agent and client: a pattern, or a line without quotes in a list */

static int
mailping_sets_agent(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact)
{
    unsigned        anchors;
    mailping_str_t  text;
    const uint8_t  *p, *last;

    p = item.data;
    last = item.data + item.len;
    anchors = 0;

    if (item.len > 1 && p[1] == '"') {

        if (p[0] == '=') {
            anchors = MAILPING_PATTERN_BEGIN|MAILPING_PATTERN_END;
            p++;

        } else if (p[0] == '^') {
            anchors = MAILPING_PATTERN_BEGIN;
            p++;

        } else if (p[0] == '<') {
            anchors = MAILPING_PATTERN_WORD_BEGIN;
            p++;
        }
    }

    if (*p != '"') {

        if (ps->file == ps->rules) {
            return mailping_parser_error(ps, p, "pattern in quotes");
        }

        return mailping_sets_pattern(ps, item.data, item, 0, fact);
    }

    if (mailping_sets_quoted(ps, &p, last, &text) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    if (p < last && !(anchors & MAILPING_PATTERN_END)) {

        if (*p == '$') {
            anchors |= MAILPING_PATTERN_END;
            p++;

        } else if (*p == '>') {
            anchors |= MAILPING_PATTERN_WORD_END;
            p++;
        }
    }

    if (p != last) {
        return mailping_parser_error(ps, p, "blank after the pattern");
    }

    return mailping_sets_pattern(ps, item.data, text, anchors, fact);
}


static int
mailping_sets_pattern(mailping_parser_t *ps, const uint8_t *at,
    mailping_str_t text, unsigned anchors, unsigned fact)
{
    int       rc;
    uint64_t  rank;

    /* a client of a later file goes first, within a file an earlier one */

    rank = UINT64_MAX;

    if (ps->rs->fact[fact].kind == MAILPING_FACT_CLIENT) {
        rank = (uint64_t) (UINT32_MAX - ps->rs->nfiles) << 32
               | ps->rs->nclients++;
    }

    rc = mailping_patterns_add(ps->rs->patterns, text, anchors, fact, rank);

    if (rc == MAILPING_DECLINED) {
        return mailping_parser_error(ps, at, "pattern of 1 to 1024 bytes");
    }

    if (rc != MAILPING_OK
        || mailping_ruleset_origin(ps->rs, ps->file, ps->nline,
                                   (unsigned) (at - ps->line) + 1)
           != MAILPING_OK)
    {
        return mailping_ruleset_no_memory(ps->err);
    }

    return MAILPING_OK;
}


/* header: name, name="exact", name~"substring" */

static int
mailping_sets_header(mailping_parser_t *ps, mailping_str_t item,
    unsigned fact)
{
    size_t              i;
    uint8_t             lower[MAILPING_NAME_MAX];
    unsigned            match;
    mailping_str_t      name, value;
    const uint8_t      *p, *last;
    mailping_header_t  *header;

    last = item.data + item.len;

    name.data = item.data;
    name.len = mailping_condition_span(item);

    if (name.len == 0 || name.len > MAILPING_NAME_MAX) {
        return mailping_parser_error(ps, item.data,
                        "header name of at most 64 letters, digits, \"._-\"");
    }

    p = name.data + name.len;
    match = MAILPING_HEADER_PRESENT;

    value.data = NULL;
    value.len = 0;

    if (p < last) {

        if (*p == '~') {
            match = MAILPING_HEADER_CONTAINS;

        } else if (*p == '=') {
            match = MAILPING_HEADER_EXACT;

        } else {
            return mailping_parser_error(ps, p, "\"~\", \"=\" or blank");
        }

        p++;

        if (p == last || *p != '"') {
            return mailping_parser_error(ps, p, "value in quotes");
        }

        if (mailping_sets_quoted(ps, &p, last, &value) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        if (p != last) {
            return mailping_parser_error(ps, p, "blank after the value");
        }

        if (match == MAILPING_HEADER_CONTAINS && value.len == 0) {
            return mailping_parser_error(ps, item.data,
                                         "substring of at least one byte");
        }
    }

    for (i = 0; i < name.len; i++) {
        lower[i] = mailping_lower(name.data[i]);
    }

    name.data = lower;

    header = mailping_ruleset_header(ps->rs, name);

    if (header == NULL
        || mailping_ruleset_header_item(ps->rs, header, match, value, fact)
           != MAILPING_OK)
    {
        return mailping_ruleset_no_memory(ps->err);
    }

    return MAILPING_OK;
}


/*
 * The text in quotes at *pp, without its escapes; it lives as long as the rule
 * set.  *pp is set to what follows.
 */

static int
mailping_sets_quoted(mailping_parser_t *ps, const uint8_t **pp,
    const uint8_t *last, mailping_str_t *value)
{
    uint8_t        *dst;
    const uint8_t  *p;

    p = *pp + 1;

    dst = mailping_ruleset_alloc(ps->rs, (size_t) (last - p) + 1);
    if (dst == NULL) {
        return mailping_ruleset_no_memory(ps->err);
    }

    value->data = dst;

    for ( /* void */ ; p < last && *p != '"'; p++) {

        if (*p == '\\') {

            if (p + 1 == last || (p[1] != '"' && p[1] != '\\')) {
                return mailping_parser_error(ps, p,
                                             "escape \\\" or \\\\");
            }

            p++;
        }

        *dst++ = *p;
    }

    if (p == last) {
        return mailping_parser_error(ps, last, "closing quote");
    }

    value->len = (size_t) (dst - value->data);
    *pp = p + 1;

    return MAILPING_OK;
}
