
/*
 * Copyright (C) MailPing
 */


#include <stdio.h>

#include "condition.h"
#include "history.h"
#include "token.h"


#define MAILPING_NUMBER_MAX  1000000000          /* of all but ages */
#define MAILPING_AGE_MAX     315360000000        /* 3650 days in ms */


typedef struct {
    const char  *name;
    uint64_t     value;
} mailping_word_t;


static int mailping_condition_error(mailping_condition_t *c,
    mailping_str_t text, const uint8_t *at, const char *expected);
static int mailping_condition_set(mailping_str_t text, const uint8_t *p,
    mailping_condition_t *c);
static int mailping_condition_word(mailping_str_t text, const uint8_t *p,
    mailping_condition_t *c);
static int mailping_condition_threshold(mailping_str_t text, const uint8_t *p,
    mailping_condition_t *c);
static size_t mailping_condition_number(const uint8_t *p, const uint8_t *last,
    uint64_t *value);
static int mailping_condition_unit(const uint8_t *p, const uint8_t *last,
    uint64_t *value);


/* in the order of mailping_fact_kind_e */

static const char *const  mailping_condition_prefixes[] = {
    "network:", "asn:", "agent:", "client:", "header:", "header:!",
    "age", "seen", "burst", "farm", "agents", "quick", "method:", "http:",
    "hint:", "self", "scanned"
};


static const mailping_word_t  mailping_units[] = {
    { "d", 86400000 },
    { "h", 3600000 },
    { "m", 60000 },
    { "s", 1000 },
    { "ms", 1 },
    { NULL, 0 }
};


static const mailping_word_t  mailping_versions[] = {
    { "0.9", 9 },
    { "1.0", 10 },
    { "1.1", 11 },
    { "2", 20 },
    { "3", 30 },
    { NULL, 0 }
};


int
mailping_condition_parse(mailping_str_t text, mailping_condition_t *c)
{
    size_t          len, longest;
    unsigned        kind;
    const uint8_t  *p;

    memset(c, 0, sizeof(mailping_condition_t));

    p = text.data;

    if (text.len != 0 && *p == '!') {
        c->negated = 1;
        p++;
    }

    /* the longest prefix counts: "agent:" before "age" */

    longest = 0;

    for (kind = 0; kind < MAILPING_FACT_KINDS; kind++) {
        len = strlen(mailping_condition_prefixes[kind]);

        if (len > longest
            && (size_t) (text.data + text.len - p) >= len
            && memcmp(p, mailping_condition_prefixes[kind], len) == 0)
        {
            longest = len;
            c->kind = kind;
        }
    }

    if (longest == 0) {
        return mailping_condition_error(c, text, p, "condition");
    }

    p += longest;

    switch (c->kind) {

    case MAILPING_FACT_AGE:
    case MAILPING_FACT_SEEN:
    case MAILPING_FACT_BURST:
    case MAILPING_FACT_FARM:
    case MAILPING_FACT_AGENTS:
    case MAILPING_FACT_QUICK:
        return mailping_condition_threshold(text, p, c);

    case MAILPING_FACT_METHOD:
    case MAILPING_FACT_HTTP:
    case MAILPING_FACT_HINT:
    case MAILPING_FACT_SELF:
    case MAILPING_FACT_SCANNED:
        return mailping_condition_word(text, p, c);

    default:
        return mailping_condition_set(text, p, c);
    }
}


static int
mailping_condition_error(mailping_condition_t *c, mailping_str_t text,
    const uint8_t *at, const char *expected)
{
    c->expected = expected;
    c->offset = (size_t) (at - text.data);

    return MAILPING_ERROR;
}


static int
mailping_condition_set(mailping_str_t text, const uint8_t *p,
    mailping_condition_t *c)
{
    c->key.data = p;
    c->key.len = text.len - (size_t) (p - text.data);

    if (c->key.len == 0 || c->key.len > MAILPING_NAME_MAX
        || mailping_condition_span(c->key) != c->key.len)
    {
        return mailping_condition_error(c, text, p,
                            "name of at most 64 letters, digits, \"._-\"");
    }

    return MAILPING_OK;
}


static int
mailping_condition_word(mailping_str_t text, const uint8_t *p,
    mailping_condition_t *c)
{
    int                     hint;
    mailping_str_t          word;
    const mailping_word_t  *version;

    word.data = p;
    word.len = text.len - (size_t) (p - text.data);

    switch (c->kind) {

    case MAILPING_FACT_METHOD:
        c->value = 1;

        if (word.len == 4 && memcmp(p, "head", 4) == 0) {
            return MAILPING_OK;
        }

        if (word.len == 3 && memcmp(p, "get", 3) == 0) {
            c->negated = !c->negated;
            return MAILPING_OK;
        }

        return mailping_condition_error(c, text, p, "\"head\" or \"get\"");

    case MAILPING_FACT_HTTP:
        for (version = mailping_versions; version->name; version++) {

            if (word.len == strlen(version->name)
                && memcmp(p, version->name, word.len) == 0)
            {
                c->value = version->value;
                return MAILPING_OK;
            }
        }

        return mailping_condition_error(c, text, p,
                              "\"0.9\", \"1.0\", \"1.1\", \"2\" or \"3\"");

    case MAILPING_FACT_HINT:
        hint = mailping_hint_parse(word);

        if (hint > MAILPING_HINT_UNKNOWN) {
            c->value = (uint64_t) hint;
            return MAILPING_OK;
        }

        return mailping_condition_error(c, text, p,
                            "\"gmail\", \"microsoft\", \"apple\", \"yahoo\", "
                            "\"gateway\" or \"other\"");

    default: /* MAILPING_FACT_SELF, MAILPING_FACT_SCANNED */
        c->value = 1;

        if (word.len == 0) {
            return MAILPING_OK;
        }

        return mailping_condition_error(c, text, text.data, "condition");
    }
}


static int
mailping_condition_threshold(mailping_str_t text, const uint8_t *p,
    mailping_condition_t *c)
{
    size_t          n;
    uint64_t        max;
    unsigned        less;
    const char     *expected;
    const uint8_t  *last, *number;

    last = text.data + text.len;

    switch (c->kind) {

    case MAILPING_FACT_FARM:
    case MAILPING_FACT_AGENTS:
        max = MAILPING_FARM_MAX;
        expected = "number from 1 to 3";
        break;

    case MAILPING_FACT_QUICK:
        max = 100;
        expected = "percentage from 1 to 100";
        break;

    default:
        max = MAILPING_NUMBER_MAX;
        expected = "number from 1 to 1000000000";
    }

    if (p < last && *p == '<') {
        less = 1;
        p++;

    } else if (last - p > 1 && p[0] == '>' && p[1] == '=') {
        less = 0;
        p += 2;

    } else {
        return mailping_condition_error(c, text, p, "\"<\" or \">=\"");
    }

    /* the fact itself is "less" of age and seen, and "at least" of others */

    if (less == (c->kind != MAILPING_FACT_AGE
                 && c->kind != MAILPING_FACT_SEEN))
    {
        c->negated = !c->negated;
    }

    number = p;
    n = mailping_condition_number(p, last, &c->value);
    p += n;

    if (n == 0 || c->value == 0 || c->value > max) {
        return mailping_condition_error(c, text, number, expected);
    }

    if (c->kind == MAILPING_FACT_AGE) {

        if (mailping_condition_unit(p, last, &c->value) != MAILPING_OK) {
            return mailping_condition_error(c, text, p,
                                            "unit ms, s, m, h or d");
        }

        if (c->value > MAILPING_AGE_MAX) {
            return mailping_condition_error(c, text, number,
                                            "time of at most 3650d");
        }

        return MAILPING_OK;
    }

    if (p != last) {
        return mailping_condition_error(c, text, number, expected);
    }

    return MAILPING_OK;
}


/* Returns the number of digits, 0 when there is none or the value too large */

static size_t
mailping_condition_number(const uint8_t *p, const uint8_t *last,
    uint64_t *value)
{
    uint64_t        n;
    const uint8_t  *digit;

    n = 0;

    for (digit = p; digit < last && *digit >= '0' && *digit <= '9'; digit++) {
        n = n * 10 + (uint64_t) (*digit - '0');

        if (n > MAILPING_NUMBER_MAX) {
            return 0;
        }
    }

    *value = n;

    return (size_t) (digit - p);
}


static int
mailping_condition_unit(const uint8_t *p, const uint8_t *last,
    uint64_t *value)
{
    size_t                  len;
    const mailping_word_t  *unit;

    len = (size_t) (last - p);

    for (unit = mailping_units; unit->name; unit++) {

        if (len == strlen(unit->name) && memcmp(p, unit->name, len) == 0) {
            *value *= unit->value;
            return MAILPING_OK;
        }
    }

    return MAILPING_ERROR;
}


size_t
mailping_condition_name(const mailping_condition_t *c,
    char dst[MAILPING_FACT_NAME_MAX])
{
    int                     n;
    char                   *p;
    const char             *prefix;
    mailping_str_t          key;
    const mailping_word_t  *word;

    prefix = mailping_condition_prefixes[c->kind];

    switch (c->kind) {

    case MAILPING_FACT_AGE:
        for (word = mailping_units; c->value % word->value != 0; word++) {
            /* void */
        }

        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%s<%llu%s", prefix,
                     (unsigned long long) (c->value / word->value),
                     word->name);
        break;

    case MAILPING_FACT_SEEN:
        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%s<%llu", prefix,
                     (unsigned long long) c->value);
        break;

    case MAILPING_FACT_BURST:
    case MAILPING_FACT_FARM:
    case MAILPING_FACT_AGENTS:
    case MAILPING_FACT_QUICK:
        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%s>=%llu", prefix,
                     (unsigned long long) c->value);
        break;

    case MAILPING_FACT_METHOD:
        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%shead", prefix);
        break;

    case MAILPING_FACT_HTTP:
        for (word = mailping_versions; word->value != c->value; word++) {
            /* void */
        }

        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%s%s", prefix, word->name);
        break;

    case MAILPING_FACT_HINT:
        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%s%s", prefix,
                     mailping_hint_name((unsigned) c->value));
        break;

    case MAILPING_FACT_SELF:
    case MAILPING_FACT_SCANNED:
        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%s", prefix);
        break;

    default:
        key = c->key;
        n = snprintf(dst, MAILPING_FACT_NAME_MAX, "%s%.*s", prefix,
                     (int) key.len, (const char *) key.data);

        if (c->kind == MAILPING_FACT_ABSENT) {

            for (p = dst; *p != '\0'; p++) {
                *p = (char) mailping_lower((uint8_t) *p);
            }
        }

        break;
    }

    return (size_t) n;
}


size_t
mailping_condition_span(mailping_str_t text)
{
    size_t   i;
    uint8_t  c;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
        {
            break;
        }
    }

    return i;
}
