
/*
 * Copyright (C) MailPing
 */


#include "judge.h"


/*
 * A line is one flat object (RFC 8259) whose values are strings, numbers,
 * true, false or null.  Strings are unescaped where they stand.
 */

typedef struct {
    mailping_judge_t  *judge;
    uint8_t           *p;
    uint8_t           *last;
    unsigned           next;           /* the member that may come next */
} mailping_judge_scan_t;


static int mailping_judge_members(mailping_judge_scan_t *s,
    mailping_str_t value[MAILPING_JUDGE_MEMBERS]);
static int mailping_judge_member(mailping_judge_scan_t *s,
    mailping_str_t name);
static void mailping_judge_blanks(mailping_judge_scan_t *s);
static int mailping_judge_string(mailping_judge_scan_t *s,
    mailping_str_t *text);
static int mailping_judge_escape(mailping_judge_scan_t *s, uint8_t **dst);
static int mailping_judge_unicode(mailping_judge_scan_t *s, uint32_t *c);
static int mailping_judge_literal(mailping_judge_scan_t *s,
    mailping_str_t *text);
static int mailping_judge_is_literal(mailping_str_t text);
static int mailping_judge_syntax(mailping_judge_scan_t *s, const char *what);


/* in the order of mailping_judge_member_e, which is mostly that of entries */

static const mailping_str_t  mailping_judge_names[] = {
    mailping_string("type"),
    mailping_string("event"),
    mailping_string("id"),
    mailping_string("time"),
    mailping_string("sent"),
    mailping_string("seen"),
    mailping_string("open"),
    mailping_string("person"),
    mailping_string("verdict"),
    mailping_string("provider"),
    mailping_string("reasons"),
    mailping_string("rules"),
    mailping_string("facts"),
    mailping_string("asn"),
    mailping_string("client"),
    mailping_string("agent"),
    mailping_string("privacy"),
    mailping_string("ua"),
    mailping_string("label"),
    mailping_string("name")
};


int
mailping_judge_json(mailping_judge_t *judge, uint8_t *line, size_t len)
{
    mailping_str_t         value[MAILPING_JUDGE_MEMBERS];
    mailping_judge_scan_t  s;

    s.judge = judge;
    s.p = line;
    s.last = line + len;
    s.next = 0;

    memset(value, 0, sizeof(value));

    if (mailping_judge_members(&s, value) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    return mailping_judge_entry(judge, value);
}


static int
mailping_judge_members(mailping_judge_scan_t *s,
    mailping_str_t value[MAILPING_JUDGE_MEMBERS])
{
    int             i;
    mailping_str_t  name, text;

    mailping_judge_blanks(s);

    if (s->p == s->last || *s->p != '{') {
        return mailping_judge_syntax(s, "\"{\"");
    }

    s->p++;
    mailping_judge_blanks(s);

    if (s->p < s->last && *s->p == '}') {
        s->p++;
        goto done;
    }

    for ( ;; ) {

        if (mailping_judge_string(s, &name) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        mailping_judge_blanks(s);

        if (s->p == s->last || *s->p != ':') {
            return mailping_judge_syntax(s, "\":\"");
        }

        s->p++;
        mailping_judge_blanks(s);

        if (s->p < s->last && *s->p == '"') {
            if (mailping_judge_string(s, &text) != MAILPING_OK) {
                return MAILPING_ERROR;
            }

        } else if (mailping_judge_literal(s, &text) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        i = mailping_judge_member(s, name);

        if (i != MAILPING_ERROR) {

            if (value[i].data != NULL) {
                return mailping_judge_expected(s->judge,
                                               "each member once", name);
            }

            value[i] = text;
        }

        mailping_judge_blanks(s);

        if (s->p < s->last && *s->p == ',') {
            s->p++;
            mailping_judge_blanks(s);
            continue;
        }

        if (s->p < s->last && *s->p == '}') {
            s->p++;
            break;
        }

        return mailping_judge_syntax(s, "\",\" or \"}\"");
    }

done:

    mailping_judge_blanks(s);

    if (s->p < s->last) {
        return mailping_judge_syntax(s, "the end of the line");
    }

    return MAILPING_OK;
}


/* Entries have their members in one order: the search starts where it was. */

static int
mailping_judge_member(mailping_judge_scan_t *s, mailping_str_t name)
{
    unsigned  i, n;

    i = s->next;

    for (n = 0; n < MAILPING_JUDGE_MEMBERS; n++) {

        if (name.len == mailping_judge_names[i].len
            && memcmp(name.data, mailping_judge_names[i].data, name.len) == 0)
        {
            s->next = (i + 1) % MAILPING_JUDGE_MEMBERS;
            return (int) i;
        }

        i = (i + 1) % MAILPING_JUDGE_MEMBERS;
    }

    return MAILPING_ERROR;
}


static void
mailping_judge_blanks(mailping_judge_scan_t *s)
{
    while (s->p < s->last && (*s->p == ' ' || *s->p == '\t')) {
        s->p++;
    }
}


static int
mailping_judge_string(mailping_judge_scan_t *s, mailping_str_t *text)
{
    uint8_t  *dst, c;

    if (s->p == s->last || *s->p != '"') {
        return mailping_judge_syntax(s, "a string");
    }

    s->p++;

    text->data = s->p;
    dst = NULL;

    for ( ;; ) {

        if (s->p == s->last || *s->p < 0x20) {
            return mailping_judge_syntax(s, "the end of a string");
        }

        c = *s->p;

        if (c == '"') {
            break;
        }

        if (c == '\\') {

            /* from here on the text is shorter than what stands there */

            if (dst == NULL) {
                dst = s->p;
            }

            s->p++;

            if (mailping_judge_escape(s, &dst) != MAILPING_OK) {
                return MAILPING_ERROR;
            }

            continue;
        }

        if (dst != NULL) {
            *dst++ = c;
        }

        s->p++;
    }

    text->len = (size_t) ((dst != NULL ? dst : s->p) - text->data);
    s->p++;

    return MAILPING_OK;
}


/* s->p is after the backslash; no escape is shorter than what it means. */

static int
mailping_judge_escape(mailping_judge_scan_t *s, uint8_t **dst)
{
    uint8_t     *p;
    uint32_t     c, low;
    const char  *name;

    static const char  names[] = "\"\\/bfnrt";
    static const char  means[] = "\"\\/\b\f\n\r\t";

    p = *dst;

    if (s->p == s->last) {
        return mailping_judge_syntax(s, "an escape");
    }

    if (*s->p != 'u') {
        name = memchr(names, *s->p, sizeof(names) - 1);

        if (name == NULL) {
            return mailping_judge_syntax(s, "an escape");
        }

        *p = (uint8_t) means[name - names];
        *dst = p + 1;
        s->p++;

        return MAILPING_OK;
    }

    s->p++;

    if (mailping_judge_unicode(s, &c) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    if (c >= 0xd800 && c < 0xdc00
        && s->last - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'u')
    {
        s->p += 2;

        if (mailping_judge_unicode(s, &low) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);

        } else {
            /* what follows half a pair stands for itself */
            s->p -= 6;
        }
    }

    /* half a pair is no character */

    if (c >= 0xd800 && c < 0xe000) {
        c = 0xfffd;
    }

    if (c < 0x80) {
        *p++ = (uint8_t) c;

    } else if (c < 0x800) {
        *p++ = (uint8_t) (0xc0 | c >> 6);
        *p++ = (uint8_t) (0x80 | (c & 0x3f));

    } else if (c < 0x10000) {
        *p++ = (uint8_t) (0xe0 | c >> 12);
        *p++ = (uint8_t) (0x80 | (c >> 6 & 0x3f));
        *p++ = (uint8_t) (0x80 | (c & 0x3f));

    } else {
        *p++ = (uint8_t) (0xf0 | c >> 18);
        *p++ = (uint8_t) (0x80 | (c >> 12 & 0x3f));
        *p++ = (uint8_t) (0x80 | (c >> 6 & 0x3f));
        *p++ = (uint8_t) (0x80 | (c & 0x3f));
    }

    *dst = p;

    return MAILPING_OK;
}


static int
mailping_judge_unicode(mailping_judge_scan_t *s, uint32_t *c)
{
    int  i, digit;

    *c = 0;

    for (i = 0; i < 4; i++) {
        digit = s->p < s->last ? mailping_judge_digit(*s->p) : MAILPING_ERROR;

        if (digit == MAILPING_ERROR) {
            return mailping_judge_syntax(s, "a hex digit");
        }

        *c = *c << 4 | (uint32_t) digit;
        s->p++;
    }

    return MAILPING_OK;
}


/* A number as it stands there; null is empty. */

static int
mailping_judge_literal(mailping_judge_scan_t *s, mailping_str_t *text)
{
    uint8_t  *start;

    start = s->p;

    while (s->p < s->last
           && *s->p != ',' && *s->p != '}' && *s->p != ' ' && *s->p != '\t')
    {
        s->p++;
    }

    text->data = start;
    text->len = (size_t) (s->p - start);

    if (!mailping_judge_is_literal(*text)) {
        s->p = start;
        return mailping_judge_syntax(s, "a string or a number");
    }

    if (start[0] == 'n') {
        text->len = 0;
    }

    return MAILPING_OK;
}


/* Numbers are checked when they are used. */

static int
mailping_judge_is_literal(mailping_str_t text)
{
    size_t  i;

    if (mailping_judge_is(text, "null")
        || mailping_judge_is(text, "true")
        || mailping_judge_is(text, "false"))
    {
        return 1;
    }

    for (i = 0; i < text.len; i++) {

        if ((text.data[i] < '0' || text.data[i] > '9')
            && memchr("+-.eE", text.data[i], 5) == NULL)
        {
            return 0;
        }
    }

    return text.len != 0 && memchr("+.eE", text.data[0], 4) == NULL;
}


static int
mailping_judge_syntax(mailping_judge_scan_t *s, const char *what)
{
    mailping_str_t  rest;

    rest.data = s->p;
    rest.len = (size_t) (s->last - s->p);

    return mailping_judge_expected(s->judge, what, rest);
}
