
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_PARSER_H
#define MAILPING_PARSER_H


#include "ruleset.h"


/*
 * Lines and words of rule files, and errors with their places.  Functions
 * return MAILPING_OK, or MAILPING_ERROR with *ps->err filled.
 */

#define MAILPING_LINE_MAX  65536


typedef struct {
    mailping_rules_t       *rs;
    mailping_rules_error_t *err;
    mailping_rules_load_pt  load;
    void                   *data;
    const char             *rules;     /* name of the rule file */
    const char             *file;      /* name of it, or of the list in it */
    const uint8_t          *line;
    const uint8_t          *end;       /* of the line */
    const uint8_t          *p;
    unsigned                nline;
} mailping_parser_t;


/* Adds a text to what the rule set is named after. */
int mailping_parser_digest(mailping_parser_t *ps, mailping_str_t text);

/* Takes the next line off text, which is not empty. */
int mailping_parser_line(mailping_parser_t *ps, mailping_str_t *text);

/*
 * The next word of the line; one ends at a blank that is not inside of quotes.
 * mailping_parser_token() returns MAILPING_DECLINED when there is none, the
 * others then say what was expected.
 */
int mailping_parser_token(mailping_parser_t *ps, mailping_str_t *token);
int mailping_parser_need(mailping_parser_t *ps, mailping_str_t *token,
    const char *expected);
int mailping_parser_name(mailping_parser_t *ps, mailping_str_t *name,
    const char *expected);

/* The number of a condition's fact, which is written at this place. */
int mailping_parser_fact(mailping_parser_t *ps, const uint8_t *at,
    const mailping_condition_t *c, unsigned *fact);

/*
 * Writes the error "expected ..., found ..." and returns MAILPING_ERROR;
 * mailping_parser_place() writes its place only.
 */
int mailping_parser_error(mailping_parser_t *ps, const uint8_t *at,
    const char *expected);
void mailping_parser_place(mailping_parser_t *ps, const uint8_t *at);

/* Whether c stands between words: 1 or 0. */
int mailping_parser_blank(uint8_t c);


#endif /* MAILPING_PARSER_H */
