
/*
 * Copyright (C) MailPing
 */


#include <stdio.h>

#include "parser.h"


#define MAILPING_FOUND_MAX  48         /* bytes of the text quoted in errors */


int
mailping_parser_digest(mailping_parser_t *ps, mailping_str_t text)
{
    if (EVP_DigestUpdate(ps->rs->digest, text.data, text.len) != 1) {
        return mailping_ruleset_no_memory(ps->err);
    }

    return MAILPING_OK;
}


int
mailping_parser_line(mailping_parser_t *ps, mailping_str_t *text)
{
    size_t          len;
    const uint8_t  *lf;

    lf = memchr(text->data, '\n', text->len);
    len = lf != NULL ? (size_t) (lf - text->data) : text->len;

    ps->nline++;
    ps->line = text->data;
    ps->p = text->data;
    ps->end = text->data + len;

    if (len > MAILPING_LINE_MAX) {
        mailping_parser_place(ps, ps->line + MAILPING_LINE_MAX);
        snprintf(ps->err->text, sizeof(ps->err->text),
                 "expected line of at most %d bytes, found %zu bytes",
                 MAILPING_LINE_MAX, len);
        return MAILPING_ERROR;
    }

    /* some editors begin a file with a byte order mark */

    if (ps->nline == 1 && len >= 3 && memcmp(ps->p, "\xef\xbb\xbf", 3) == 0) {
        ps->p += 3;
    }

    len += lf != NULL;
    text->data += len;
    text->len -= len;

    return MAILPING_OK;
}


int
mailping_parser_token(mailping_parser_t *ps, mailping_str_t *token)
{
    const uint8_t  *p, *quote;

    p = ps->p;

    while (p < ps->end && mailping_parser_blank(*p)) {
        p++;
    }

    ps->p = p;

    if (p == ps->end || *p == '#') {
        return MAILPING_DECLINED;
    }

    token->data = p;
    quote = NULL;

    for ( /* void */ ; p < ps->end; p++) {

        if (*p == '"') {
            quote = quote == NULL ? p : NULL;

        } else if (quote != NULL) {
            p += *p == '\\' && p + 1 < ps->end;

        } else if (mailping_parser_blank(*p)) {
            break;
        }
    }

    if (quote != NULL) {
        return mailping_parser_error(ps, ps->end, "closing quote");
    }

    token->len = (size_t) (p - token->data);
    ps->p = p;

    return MAILPING_OK;
}


int
mailping_parser_need(mailping_parser_t *ps, mailping_str_t *token,
    const char *expected)
{
    int  rc;

    rc = mailping_parser_token(ps, token);

    if (rc == MAILPING_DECLINED) {
        return mailping_parser_error(ps, ps->p, expected);
    }

    return rc;
}


int
mailping_parser_name(mailping_parser_t *ps, mailping_str_t *name,
    const char *expected)
{
    if (mailping_parser_need(ps, name, expected) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    if (name->len > MAILPING_NAME_MAX
        || mailping_condition_span(*name) != name->len)
    {
        return mailping_parser_error(ps, name->data, expected);
    }

    return MAILPING_OK;
}


int
mailping_parser_fact(mailping_parser_t *ps, const uint8_t *at,
    const mailping_condition_t *c, unsigned *fact)
{
    int  rc;

    rc = mailping_ruleset_fact(ps->rs, c, fact);

    if (rc == MAILPING_DECLINED) {
        return mailping_parser_error(ps, at,
                             "at most 768 facts that are not published");
    }

    return rc == MAILPING_OK ? MAILPING_OK
                             : mailping_ruleset_no_memory(ps->err);
}


/*
 * "expected ..., found ...": the rest of the word at this place.  Where no word
 * is left, ps->p is at the line's end or at a comment.
 */

int
mailping_parser_error(mailping_parser_t *ps, const uint8_t *at,
    const char *expected)
{
    char            found[MAILPING_FOUND_MAX + 8], *dst, *last;
    const uint8_t  *p;

    mailping_parser_place(ps, at);

    dst = found;
    last = found + MAILPING_FOUND_MAX;

    for (p = at; p < ps->end && !mailping_parser_blank(*p); p++) {

        if (p == ps->p && *p == '#') {
            break;
        }

        if (dst >= last) {
            dst += sprintf(dst, "...");
            break;
        }

        /* an error log is no place for control characters */

        if (*p >= 0x20 && *p < 0x7f) {
            *dst++ = (char) *p;

        } else {
            dst += sprintf(dst, "\\x%02x", *p);
        }
    }

    *dst = '\0';

    if (dst == found) {
        snprintf(ps->err->text, sizeof(ps->err->text),
                 "expected %s, found end of line", expected);

    } else {
        snprintf(ps->err->text, sizeof(ps->err->text),
                 "expected %s, found \"%s\"", expected, found);
    }

    return MAILPING_ERROR;
}


void
mailping_parser_place(mailping_parser_t *ps, const uint8_t *at)
{
    snprintf(ps->err->file, sizeof(ps->err->file), "%s", ps->file);

    ps->err->line = ps->nline;
    ps->err->column = (unsigned) (at - ps->line) + 1;
}


int
mailping_parser_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}
