
/*
 * Copyright (C) MailPing
 */


/*
 * The smallest TAP: ok(), is_int(), is_str() and done().  A test file is one
 * program with its own main(), which ends with "return done();".
 */

#ifndef MAILPING_TAP_H
#define MAILPING_TAP_H


#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static int  tap_run;
static int  tap_failed;


#define ok(condition, ...)                                                    \
    tap_ok((condition) ? 1 : 0, __FILE__, __LINE__, __VA_ARGS__)

#define is_int(got, expected, ...)                                            \
    tap_is_int((long long) (got), (long long) (expected),                     \
               __FILE__, __LINE__, __VA_ARGS__)

#define is_str(got, len, expected, ...)                                       \
    tap_is_str((const char *) (got), (size_t) (len), expected,                \
               __FILE__, __LINE__, __VA_ARGS__)


static inline __attribute__((format(printf, 4, 5))) int
tap_ok(int passed, const char *file, int line, const char *fmt, ...)
{
    va_list  args;

    printf("%sok %d - ", passed ? "" : "not ", ++tap_run);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    if (!passed) {
        tap_failed++;
        printf("#   at %s line %d\n", file, line);
    }

    fflush(stdout);

    return passed;
}


static inline __attribute__((format(printf, 5, 6))) int
tap_is_int(long long got, long long expected, const char *file, int line,
    const char *fmt, ...)
{
    char     name[256];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(name, sizeof(name), fmt, args);
    va_end(args);

    if (!tap_ok(got == expected, file, line, "%s", name)) {
        printf("#   got %lld, expected %lld\n", got, expected);
        return 0;
    }

    return 1;
}


static inline __attribute__((format(printf, 6, 7))) int
tap_is_str(const char *got, size_t len, const char *expected,
    const char *file, int line, const char *fmt, ...)
{
    char     name[256];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(name, sizeof(name), fmt, args);
    va_end(args);

    if (!tap_ok(len == strlen(expected) && memcmp(got, expected, len) == 0,
                file, line, "%s", name))
    {
        printf("#   got      \"%.*s\"\n", (int) len, got);
        printf("#   expected \"%s\"\n", expected);
        return 0;
    }

    return 1;
}


static inline int
done(void)
{
    printf("1..%d\n", tap_run);

    return tap_failed != 0;
}


#endif /* MAILPING_TAP_H */
