
/*
 * Copyright (C) MailPing
 */


#include "judge.h"


/* how much of a wrong value a message shows */

#define MAILPING_JUDGE_FOUND_MAX  40


int
mailping_judge_number(mailping_str_t text, uint64_t max, uint64_t *number)
{
    size_t    i;
    uint64_t  n, digit;

    if (text.len == 0) {
        return MAILPING_ERROR;
    }

    n = 0;

    for (i = 0; i < text.len; i++) {

        if (text.data[i] < '0' || text.data[i] > '9') {
            return MAILPING_ERROR;
        }

        digit = (uint64_t) (text.data[i] - '0');

        if (n > (max - digit) / 10 || digit > max) {
            return MAILPING_ERROR;
        }

        n = n * 10 + digit;
    }

    *number = n;

    return MAILPING_OK;
}


int
mailping_judge_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = mailping_lower(c);

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : MAILPING_ERROR;
}


int
mailping_judge_is(mailping_str_t text, const char *other)
{
    return strlen(other) == text.len
           && (text.len == 0 || memcmp(text.data, other, text.len) == 0);
}


unsigned
mailping_judge_version(mailping_str_t text)
{
    unsigned  i;

    static const struct {
        const char  *name;
        unsigned     version;
    } versions[] = {
        { "1.1", 11 },
        { "2.0", 20 },
        { "3.0", 30 },
        { "1.0", 10 },
        { "0.9", 9 },
        { "2", 20 },
        { "3", 30 },
        { NULL, 0 }
    };

    for (i = 0; versions[i].name != NULL; i++) {
        if (mailping_judge_is(text, versions[i].name)) {
            break;
        }
    }

    return versions[i].version;
}


int
mailping_judge_expected(mailping_judge_t *judge, const char *what,
    mailping_str_t found)
{
    char    shown[MAILPING_JUDGE_FOUND_MAX + 1];
    size_t  i, n;

    n = found.len < MAILPING_JUDGE_FOUND_MAX ? found.len
                                             : MAILPING_JUDGE_FOUND_MAX;

    /* a terminal shall not obey what stands in a log */

    for (i = 0; i < n; i++) {
        shown[i] = found.data[i] >= 0x20 && found.data[i] < 0x7f
                   ? (char) found.data[i] : '?';
    }

    shown[n] = '\0';

    snprintf(judge->why, MAILPING_JUDGE_WHY_MAX, "expected %s, found \"%s\"%s",
             what, shown, n < found.len ? "..." : "");

    return MAILPING_ERROR;
}
