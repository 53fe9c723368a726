
/*
 * Copyright (C) MailPing
 */


/*
 * Patterns find exactly what a naive search finds: anchors, words, case,
 * overlaps, long texts, random patterns in random texts, long lists.
 */

#include <ctype.h>
#include <time.h>

#include "core/patterns.h"
#include "str.h"
#include "tap.h"


#define N_RANDOM  300                  /* random sets of patterns */
#define N_TEXTS   20                   /* texts for each */


typedef struct {
    char      text[16];
    unsigned  anchors;
} pattern_t;


static uint32_t  declined;             /* the pattern that does not fit */


static uint32_t  seed = 20240607;


static uint32_t random_below(uint32_t n);
static uint64_t match(const mailping_patterns_t *p, const char *text,
    uint32_t *best);
static int naive(const pattern_t *pattern, const char *text);
static void random_text(char *text, size_t size, const char *alphabet);
static void test_elements(void);
static void test_words(void);
static void test_rank(void);
static void test_long(void);
static void test_limits(void);
static void test_random(void);
static void test_repeated(void);


int
main(void)
{
    test_elements();
    test_words();
    test_rank();
    test_long();
    test_limits();
    test_random();
    test_repeated();

    return done();
}


static uint32_t
random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;

    return (seed >> 8) % n;
}


static uint64_t
match(const mailping_patterns_t *p, const char *text, uint32_t *best)
{
    uint64_t  bits;
    uint32_t  id;

    bits = 0;
    id = mailping_patterns_match(p, str(text), &bits);

    if (best != NULL) {
        *best = id;
    }

    return bits;
}


static int
naive(const pattern_t *pattern, const char *text)
{
    size_t  i, k, n, len;

    n = strlen(pattern->text);
    len = strlen(text);

    for (i = 0; i + n <= len; i++) {

        if ((pattern->anchors & MAILPING_PATTERN_BEGIN) && i != 0) {
            continue;
        }

        if ((pattern->anchors & MAILPING_PATTERN_END) && i + n != len) {
            continue;
        }

        if ((pattern->anchors & MAILPING_PATTERN_WORD_BEGIN) && i != 0
            && isalnum((unsigned char) text[i - 1]))
        {
            continue;
        }

        if ((pattern->anchors & MAILPING_PATTERN_WORD_END)
            && isalnum((unsigned char) text[i + n]))
        {
            continue;
        }

        for (k = 0; k < n; k++) {
            if ((text[i + k] | 0x20) != (pattern->text[k] | 0x20)) {
                break;
            }
        }

        if (k == n) {
            return 1;
        }
    }

    return 0;
}


static void
random_text(char *text, size_t size, const char *alphabet)
{
    size_t  i, n;

    n = random_below((uint32_t) size);

    for (i = 0; i < n; i++) {
        text[i] = alphabet[random_below((uint32_t) strlen(alphabet))];
    }

    text[n] = '\0';
}


static void
test_elements(void)
{
    size_t                i;
    uint32_t              best;
    mailping_patterns_t  *p;

    static const struct {
        const char  *text;
        uint64_t     bits;
    } cases[] = {
        { "", 0x20 },
        { "curl", 0x0f },
        { "CURL", 0x0f },
        { "curl/8", 0x05 },
        { "x curl", 0x09 },
        { "x curl x", 0x01 },
        { "cur", 0 },
        { "ccurlurl", 0x01 },
        { "a\"b\\c", 0x40 },
        { "A\"B\\C\x80\xff", 0x40 },
        { "[", 0 },
        { "{", 0x80 },
    };

    p = mailping_patterns_create();

    mailping_patterns_add(p, str("cURL"), 0, 0, UINT64_MAX);
    mailping_patterns_add(p, str("curl"), 3, 1, UINT64_MAX);
    mailping_patterns_add(p, str("curl"), MAILPING_PATTERN_BEGIN, 2,
                          UINT64_MAX);
    mailping_patterns_add(p, str("curl"), MAILPING_PATTERN_END, 3,
                          UINT64_MAX);
    is_int(mailping_patterns_add(p, str(""), 3, 5, UINT64_MAX), MAILPING_OK,
           "exactly nothing may be looked for");
    mailping_patterns_add(p, str("a\"b\\c"), 0, 6, UINT64_MAX);
    mailping_patterns_add(p, str("{"), 0, 7, UINT64_MAX);

    is_int(mailping_patterns_compile(p, &declined), MAILPING_OK,
           "patterns compile");

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is_int(match(p, cases[i].text, &best), cases[i].bits,
               "patterns in \"%s\"", cases[i].text);
    }

    is_int(best, MAILPING_PATTERN_NONE, "no rank, no best");

    mailping_patterns_destroy(p);

    p = mailping_patterns_create();
    is_int(mailping_patterns_compile(p, &declined), MAILPING_OK,
           "no patterns compile");
    is_int(match(p, "anything", NULL), 0, "and find nothing");
    is_int(match(p, "", NULL), 0, "in nothing, too");
    mailping_patterns_destroy(p);

    mailping_patterns_destroy(NULL);
}


/* A word ends where no ASCII letter or digit follows, and begins likewise. */

static void
test_words(void)
{
    size_t                i;
    mailping_patterns_t  *p;

    static const struct {
        const char  *text;
        uint64_t     bits;
    } cases[] = {
        { "scan", 0x3f },
        { "SCAN", 0x3f },
        { "x-scan/1", 0x07 },
        { "scanner", 0x22 },
        { "xscan y", 0x04 },
        { "xscan", 0x04 },
        { "scan2", 0x22 },
        { "9scan", 0x04 },
        { "scan scanner", 0x37 },
        { "scanner scan", 0x2f },
        { "scanscan", 0x26 },
        { "\xc3\xa9" "scan\xc3\xa9", 0x07 },
        { "_scan_", 0x07 },
        { "sca", 0x00 },
        { "", 0 }
    };

    p = mailping_patterns_create();

    mailping_patterns_add(p, str("scan"), MAILPING_PATTERN_WORD_BEGIN
                          |MAILPING_PATTERN_WORD_END, 0, UINT64_MAX);
    mailping_patterns_add(p, str("scan"), MAILPING_PATTERN_WORD_BEGIN, 1,
                          UINT64_MAX);
    mailping_patterns_add(p, str("scan"), MAILPING_PATTERN_WORD_END, 2,
                          UINT64_MAX);
    mailping_patterns_add(p, str("scan"), MAILPING_PATTERN_WORD_BEGIN
                          |MAILPING_PATTERN_END, 3, UINT64_MAX);
    mailping_patterns_add(p, str("scan"), MAILPING_PATTERN_BEGIN
                          |MAILPING_PATTERN_WORD_END, 4, UINT64_MAX);
    mailping_patterns_add(p, str("scan"), MAILPING_PATTERN_BEGIN, 5,
                          UINT64_MAX);

    /* two kinds of one pattern and id: the wider one decides */

    mailping_patterns_add(p, str("wide"), MAILPING_PATTERN_WORD_END, 6,
                          UINT64_MAX);
    mailping_patterns_add(p, str("wide"), 0, 6, UINT64_MAX);

    is_int(mailping_patterns_add(p, str(""), MAILPING_PATTERN_WORD_BEGIN
                                 |MAILPING_PATTERN_WORD_END, 7, UINT64_MAX),
           MAILPING_DECLINED, "an empty word is none");

    mailping_patterns_compile(p, &declined);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is_int(match(p, cases[i].text, NULL), cases[i].bits,
               "words in \"%s\"", cases[i].text);
    }

    is_int(match(p, "wider", NULL), 0x40, "one of two kinds is enough");

    mailping_patterns_destroy(p);
}


static void
test_rank(void)
{
    uint32_t              best;
    mailping_patterns_t  *p;

    p = mailping_patterns_create();

    mailping_patterns_add(p, str("safari"), 0, 1, 30);
    mailping_patterns_add(p, str("chrome"), 0, 2, 20);
    mailping_patterns_add(p, str("edg"), 0, 3, 10);
    mailping_patterns_add(p, str("mozilla"), 0, 4, UINT64_MAX);
    mailping_patterns_add(p, str("edge"), 0, 1, 5);
    mailping_patterns_compile(p, &declined);

    match(p, "Mozilla Chrome Safari Edg", &best);
    is_int(best, 3, "the lowest rank is the best");

    match(p, "Mozilla Safari Chrome", &best);
    is_int(best, 2, "wherever it stands");

    is_int(match(p, "Edge Mozilla", &best), 0x12, "one with a rank holds");
    is_int(best, 1, "rank belongs to a pattern, not to an id");

    match(p, "Mozilla", &best);
    is_int(best, MAILPING_PATTERN_NONE, "no rank, no best");

    mailping_patterns_destroy(p);

    p = mailping_patterns_create();

    mailping_patterns_add(p, str("twice"), 0, 1, 20);
    mailping_patterns_add(p, str("twice"), 0, 2, 10);
    mailping_patterns_add(p, str("TWICE"), 0, 1, 5);
    mailping_patterns_compile(p, &declined);

    is_int(match(p, "twice", &best), 2, "the same pattern again");
    is_int(best, 1, "has the lower rank");

    mailping_patterns_destroy(p);
}


static void
test_long(void)
{
    char                 *text;
    uint64_t              bits;
    mailping_str_t        s;
    mailping_patterns_t  *p;

    text = malloc(5001);
    memset(text, 'x', 5000);
    text[5000] = '\0';

    p = mailping_patterns_create();

    mailping_patterns_add(p, str("middle"), 0, 0, UINT64_MAX);
    mailping_patterns_add(p, str("end"), MAILPING_PATTERN_END, 1, UINT64_MAX);
    mailping_patterns_add(p, str("xend"), 3, 2, UINT64_MAX);
    mailping_patterns_add(p, str("start"), MAILPING_PATTERN_BEGIN, 3,
                          UINT64_MAX);
    mailping_patterns_compile(p, &declined);

    is_int(match(p, text, NULL), 0, "nothing in a long text");

    memcpy(text + MAILPING_PATTERN_TEXT - 6, "middle", 6);
    is_int(match(p, text, NULL), 1, "found before the bound");

    memcpy(text + MAILPING_PATTERN_TEXT - 6, "xmiddl", 6);
    text[MAILPING_PATTERN_TEXT] = 'e';
    is_int(match(p, text, NULL), 0, "not across the bound");

    memcpy(text + 4997, "end", 3);
    is_int(match(p, text, NULL), 2, "the end is the real end");

    memcpy(text, "start", 5);
    memcpy(text + 3000, "end", 3);
    text[4999] = 'x';
    is_int(match(p, text, NULL), 8, "the begin is the begin");

    memcpy(text + 4995, "start", 5);
    memcpy(text, "xxxxx", 5);
    is_int(match(p, text, NULL), 0, "the tail is no begin");

    bits = 0;
    s.data = (const uint8_t *) text;
    s.len = MAILPING_PATTERN_TEXT + 1;
    memcpy(text + MAILPING_PATTERN_TEXT - 2, "end", 3);
    mailping_patterns_match(p, s, &bits);
    is_int(bits, 2, "one byte beyond the bound");

    mailping_patterns_destroy(p);
    free(text);
}


static void
test_limits(void)
{
    int                   rc;
    char                  text[MAILPING_PATTERN_MAX + 2];
    unsigned              i, k;
    mailping_str_t        s;
    mailping_patterns_t  *p;

    p = mailping_patterns_create();

    memset(text, 'a', sizeof(text));
    s.data = (const uint8_t *) text;
    s.len = MAILPING_PATTERN_MAX + 1;

    is_int(mailping_patterns_add(p, s, 0, 0, 0), MAILPING_DECLINED,
           "a pattern that is too long");
    is_int(mailping_patterns_add(p, str(""), 0, 0, 0), MAILPING_DECLINED,
           "a pattern that matches everywhere");
    is_int(mailping_patterns_add(p, str(""), MAILPING_PATTERN_BEGIN, 0, 0),
           MAILPING_DECLINED, "the same at the begin");

    s.len = MAILPING_PATTERN_MAX;
    is_int(mailping_patterns_add(p, s, 0, 0, 0), MAILPING_OK,
           "the longest pattern");

    mailping_patterns_destroy(p);

    /* random patterns that share nothing, until the table is too large */

    p = mailping_patterns_create();
    rc = MAILPING_OK;

    for (i = 0; i < 1000; i++) {

        for (k = 0; k < MAILPING_PATTERN_MAX; k++) {
            text[k] = (char) ('0' + random_below(75));
        }

        rc |= mailping_patterns_add(p, s, 0, 0, 0);
    }

    is_int(rc, MAILPING_OK, "a megabyte of patterns is taken");
    is_int(mailping_patterns_compile(p, &declined), MAILPING_DECLINED,
           "and refused when compiled");
    ok(declined > 100 && declined < 1000, "at pattern %u", declined);

    mailping_patterns_destroy(p);
}


static void
test_random(void)
{
    char                  text[64];
    unsigned              i, k, n, t, found, wrong;
    uint64_t              bits, expected;
    pattern_t             pattern[40];
    mailping_patterns_t  *p;

    wrong = 0;
    found = 0;

    for (i = 0; i < N_RANDOM; i++) {
        p = mailping_patterns_create();
        n = 1 + random_below(40);

        for (k = 0; k < n; k++) {

            do {
                random_text(pattern[k].text, 8, "abAB1.");
                pattern[k].anchors = random_below(16);

            } while (pattern[k].text[0] == '\0' && pattern[k].anchors != 3);

            /* the upper half has a rank */

            mailping_patterns_add(p, str(pattern[k].text), pattern[k].anchors,
                                  k, k < n / 2 ? UINT64_MAX : k);
        }

        mailping_patterns_compile(p, &declined);

        for (t = 0; t < N_TEXTS; t++) {
            uint32_t  best, first;

            random_text(text, sizeof(text), "aAbB1./");

            bits = match(p, text, &best);
            expected = 0;
            first = MAILPING_PATTERN_NONE;

            for (k = 0; k < n; k++) {

                if ((k >= n / 2 && first != MAILPING_PATTERN_NONE)
                    || !naive(&pattern[k], text))
                {
                    continue;
                }

                expected |= (uint64_t) 1 << k;
                first = k < n / 2 ? MAILPING_PATTERN_NONE : k;
                found++;
            }

            wrong += bits != expected || best != first;
        }

        mailping_patterns_destroy(p);
    }

    is_int(wrong, 0, "%d texts as the naive search", N_RANDOM * N_TEXTS);
    ok(found > 1000, "%u patterns found among them", found);
}


/* A long list that repeats itself costs no more than one without. */

static void
test_repeated(void)
{
    char                  text[MAILPING_PATTERN_TEXT + 1];
    clock_t               start;
    unsigned              i;
    mailping_patterns_t  *p;

    p = mailping_patterns_create();

    for (i = 0; i < 200000; i++) {
        mailping_patterns_add(p, str("a"), 0, 1, UINT64_MAX);
    }

    mailping_patterns_compile(p, &declined);

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';

    start = clock();

    is_int(match(p, text, NULL), 2, "the same pattern very often");
    ok(clock() - start < CLOCKS_PER_SEC / 10, "is found quickly");

    mailping_patterns_destroy(p);
}
