
/*
 * Copyright (C) MailPing
 */


#include <stdlib.h>

#include "patterns.h"


/*
 * Anchors are symbols of their own: the automaton reads BEGIN, the text, END.
 * So ^"x" is the string BEGIN x, and no position has to be compared.  Words
 * cannot be symbols, as each byte may be the begin of one and the end of
 * another: of a pattern that is found the two bytes beside it are looked at.
 */

#define MAILPING_SYMBOL_OTHER  0       /* bytes that are in no pattern */
#define MAILPING_SYMBOL_BEGIN  1
#define MAILPING_SYMBOL_END    2
#define MAILPING_SYMBOLS       3

/* in the table: the state has output; the rest is the offset of its row */

#define MAILPING_STATE_OUTPUT  0x80000000


typedef struct {
    size_t                    offset;  /* in text */
    uint64_t                  rank;
    uint32_t                  len;
    uint32_t                  id;
    uint32_t                  next;    /* of the same state, + 1 */
    uint16_t                  anchors;
    uint16_t                  words;   /* those of anchors that are */
} mailping_pattern_t;


typedef struct {
    uint32_t                  fail;    /* longest proper suffix */
    uint32_t                  link;    /* longest such suffix with output */
    uint32_t                  output;  /* first pattern + 1 */
} mailping_state_t;


typedef struct {
    uint64_t                  rank;
    uint32_t                  id;
} mailping_best_t;


/* a text that is searched, and where what was found in it ends */

typedef struct {
    mailping_str_t            text;
    size_t                    end;
} mailping_place_t;


struct mailping_patterns_s {
    mailping_pattern_t       *pattern;
    size_t                    npatterns;
    size_t                    cpatterns;

    uint8_t                  *text;
    size_t                    len;
    size_t                    size;

    uint32_t                 *table;
    mailping_state_t         *state;
    uint32_t                  nstates;
    uint32_t                  cstates;
    uint32_t                  nsymbols;

    uint16_t                  symbol[256];
};


static int mailping_patterns_state(mailping_patterns_t *p, uint32_t *s);
static int mailping_patterns_step(mailping_patterns_t *p, uint32_t *s,
    uint32_t symbol);
static int mailping_patterns_insert(mailping_patterns_t *p, uint32_t n);
static int mailping_patterns_link(mailping_patterns_t *p);
static uint32_t mailping_patterns_walk(const mailping_patterns_t *p,
    const uint8_t *text, size_t n, uint32_t *state);
static uint32_t mailping_patterns_next(const mailping_patterns_t *p,
    uint32_t s, uint8_t c);
static void mailping_patterns_output(const mailping_patterns_t *p, uint32_t s,
    const mailping_place_t *place, uint64_t *bits, mailping_best_t *best);
static int mailping_patterns_words(const mailping_pattern_t *pattern,
    const mailping_place_t *place);
static int mailping_patterns_alnum(uint8_t c);


mailping_patterns_t *
mailping_patterns_create(void)
{
    return calloc(1, sizeof(mailping_patterns_t));
}


void
mailping_patterns_destroy(mailping_patterns_t *p)
{
    if (p == NULL) {
        return;
    }

    free(p->pattern);
    free(p->text);
    free(p->table);
    free(p->state);
    free(p);
}


int
mailping_patterns_add(mailping_patterns_t *p, mailping_str_t text,
    unsigned anchors, uint32_t id, uint64_t rank)
{
    void                *grown;
    size_t               size;
    mailping_pattern_t  *pattern;

    if (text.len > MAILPING_PATTERN_MAX) {
        return MAILPING_DECLINED;
    }

    if (text.len == 0
        && anchors != (MAILPING_PATTERN_BEGIN|MAILPING_PATTERN_END))
    {
        return MAILPING_DECLINED;
    }

    if (p->npatterns == p->cpatterns) {
        size = p->cpatterns ? p->cpatterns * 2 : 64;

        if (size >= UINT32_MAX) {
            return MAILPING_ERROR;
        }

        grown = realloc(p->pattern, size * sizeof(mailping_pattern_t));
        if (grown == NULL) {
            return MAILPING_ERROR;
        }

        p->pattern = grown;
        p->cpatterns = size;
    }

    /* the empty text has a place as well */

    if (p->text == NULL || p->size - p->len < text.len) {
        size = p->size * 2 + MAILPING_PATTERN_MAX;

        grown = realloc(p->text, size);
        if (grown == NULL) {
            return MAILPING_ERROR;
        }

        p->text = grown;
        p->size = size;
    }

    pattern = &p->pattern[p->npatterns++];

    pattern->offset = p->len;
    pattern->rank = rank;
    pattern->len = (uint32_t) text.len;
    pattern->id = id;
    pattern->next = 0;
    pattern->anchors = (uint16_t) anchors;
    pattern->words = (uint16_t) (anchors & (MAILPING_PATTERN_WORD_BEGIN
                                            |MAILPING_PATTERN_WORD_END));

    if (text.len != 0) {
        memcpy(p->text + p->len, text.data, text.len);
        p->len += text.len;
    }

    return MAILPING_OK;
}


int
mailping_patterns_compile(mailping_patterns_t *p, uint32_t *n)
{
    int       rc;
    size_t    i;
    uint8_t   c;
    uint32_t  s;

    p->nsymbols = MAILPING_SYMBOLS;

    for (i = 0; i < p->len; i++) {
        c = p->text[i] = mailping_lower(p->text[i]);

        if (p->symbol[c] == MAILPING_SYMBOL_OTHER) {
            p->symbol[c] = (uint16_t) p->nsymbols++;
        }
    }

    for (i = 'A'; i <= 'Z'; i++) {
        p->symbol[i] = p->symbol[mailping_lower((uint8_t) i)];
    }

    /* the root, and the state after BEGIN, where every text starts */

    rc = mailping_patterns_state(p, &s);
    if (rc != MAILPING_OK) {
        return rc;
    }

    rc = mailping_patterns_step(p, &s, MAILPING_SYMBOL_BEGIN);
    if (rc != MAILPING_OK) {
        return rc;
    }

    for (i = 0; i < p->npatterns; i++) {
        rc = mailping_patterns_insert(p, (uint32_t) i);
        if (rc != MAILPING_OK) {
            *n = (uint32_t) i;
            return rc;
        }
    }

    return mailping_patterns_link(p);
}


static int
mailping_patterns_state(mailping_patterns_t *p, uint32_t *s)
{
    void    *grown;
    size_t   n, rows;

    if (p->nstates == p->cstates) {
        rows = MAILPING_PATTERNS_TABLE_MAX / p->nsymbols;

        if (p->nstates >= rows) {
            return MAILPING_DECLINED;
        }

        n = p->cstates ? (size_t) p->cstates * 2 : 256;
        n = n < rows ? n : rows;

        grown = realloc(p->table, n * p->nsymbols * sizeof(uint32_t));
        if (grown == NULL) {
            return MAILPING_ERROR;
        }

        p->table = grown;

        grown = realloc(p->state, n * sizeof(mailping_state_t));
        if (grown == NULL) {
            return MAILPING_ERROR;
        }

        p->state = grown;
        p->cstates = (uint32_t) n;
    }

    *s = p->nstates++;

    memset(&p->table[(size_t) *s * p->nsymbols], 0,
           p->nsymbols * sizeof(uint32_t));
    memset(&p->state[*s], 0, sizeof(mailping_state_t));

    return MAILPING_OK;
}


static int
mailping_patterns_step(mailping_patterns_t *p, uint32_t *s, uint32_t symbol)
{
    int       rc;
    size_t    at;
    uint32_t  next;

    at = (size_t) *s * p->nsymbols + symbol;

    if (p->table[at] == 0) {
        rc = mailping_patterns_state(p, &next);
        if (rc != MAILPING_OK) {
            return rc;
        }

        p->table[at] = next;
    }

    *s = p->table[at];

    return MAILPING_OK;
}


static int
mailping_patterns_insert(mailping_patterns_t *p, uint32_t n)
{
    int                  rc;
    uint32_t             i, s, *link;
    const uint8_t       *text;
    mailping_pattern_t  *pattern, *same;

    pattern = &p->pattern[n];
    text = p->text + pattern->offset;
    s = 0;

    if (pattern->anchors & MAILPING_PATTERN_BEGIN) {
        rc = mailping_patterns_step(p, &s, MAILPING_SYMBOL_BEGIN);
        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    for (i = 0; i < pattern->len; i++) {
        rc = mailping_patterns_step(p, &s, p->symbol[text[i]]);
        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    if (pattern->anchors & MAILPING_PATTERN_END) {
        rc = mailping_patterns_step(p, &s, MAILPING_SYMBOL_END);
        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    /*
     * One of an id and kind is enough, or long lists would be walked for each
     * text.  It comes first, where it is found at once when it is listed again.
     */

    link = &p->state[s].output;

    for (i = *link; i != 0; i = same->next) {
        same = &p->pattern[i - 1];

        if (same->id == pattern->id && same->words == pattern->words) {

            if (pattern->rank < same->rank) {
                same->rank = pattern->rank;
            }

            *link = same->next;
            same->next = p->state[s].output;
            p->state[s].output = i;

            return MAILPING_OK;
        }

        link = &same->next;
    }

    pattern->next = p->state[s].output;
    p->state[s].output = n + 1;

    return MAILPING_OK;
}


/*
 * Completes the trie to an automaton in breadth-first order: a state's missing
 * steps are those of its longest suffix, which is shorter and so complete.
 */

static int
mailping_patterns_link(mailping_patterns_t *p)
{
    size_t             i, n;
    uint32_t           c, s, t, fail, *row, *from, *queue, head, tail;
    mailping_state_t  *state;

    queue = malloc(p->nstates * sizeof(uint32_t));
    if (queue == NULL) {
        return MAILPING_ERROR;
    }

    head = 0;
    tail = 0;
    queue[tail++] = 0;

    while (head < tail) {
        s = queue[head++];
        row = &p->table[(size_t) s * p->nsymbols];
        fail = p->state[s].fail;
        from = &p->table[(size_t) fail * p->nsymbols];

        for (c = 0; c < p->nsymbols; c++) {
            t = row[c];

            if (t == 0) {
                row[c] = from[c];
                continue;
            }

            state = &p->state[t];

            state->fail = s == 0 ? 0 : from[c];
            state->link = p->state[state->fail].output != 0
                          ? state->fail : p->state[state->fail].link;

            queue[tail++] = t;
        }
    }

    free(queue);

    n = (size_t) p->nstates * p->nsymbols;

    for (i = 0; i < n; i++) {
        s = p->table[i];
        p->table[i] = s * p->nsymbols;

        if (p->state[s].output != 0 || p->state[s].link != 0) {
            p->table[i] |= MAILPING_STATE_OUTPUT;
        }
    }

    return MAILPING_OK;
}


uint32_t
mailping_patterns_match(const mailping_patterns_t *p, mailping_str_t text,
    uint64_t *bits)
{
    size_t            i, n;
    uint32_t          s, state[MAILPING_PATTERN_TEXT];
    mailping_best_t   best;
    mailping_place_t  place;

    best.rank = UINT64_MAX;
    best.id = MAILPING_PATTERN_NONE;

    place.text = text;

    n = text.len < MAILPING_PATTERN_TEXT ? text.len : MAILPING_PATTERN_TEXT;
    s = mailping_patterns_walk(p, text.data, n, state);

    for (i = 0; i < n; i++) {
        if (state[i] & MAILPING_STATE_OUTPUT) {
            place.end = i + 1;
            mailping_patterns_output(p, state[i], &place, bits, &best);
        }
    }

    if (n < text.len) {

        /*
         * The end alone decides about what follows the gap: no pattern is
         * longer than the part that is read again, and none with both anchors
         * can match.
         */

        s = 0;

        for (i = text.len - MAILPING_PATTERN_MAX; i < text.len; i++) {
            s = mailping_patterns_next(p, s, text.data[i]);
        }
    }

    s = p->table[(s & ~MAILPING_STATE_OUTPUT) + MAILPING_SYMBOL_END];

    if (s & MAILPING_STATE_OUTPUT) {
        place.end = text.len;
        mailping_patterns_output(p, s, &place, bits, &best);
    }

    if (best.id != MAILPING_PATTERN_NONE) {
        bits[best.id / 64] |= (uint64_t) 1 << best.id % 64;
    }

    return best.id;
}


/*
 * The states after each byte; returns the last.  A step has to wait for the one
 * before it, so four parts of the text are walked side by side, as if each were
 * a text of its own.  What is before a part soon makes no difference to it: its
 * begin is walked again, from the part before it, until the states agree.
 */

static uint32_t
mailping_patterns_walk(const mailping_patterns_t *p, const uint8_t *text,
    size_t n, uint32_t *state)
{
    size_t    i, from, part;
    uint32_t  s, s1, s2, s3;

    part = n / 4;
    n = n % 4;

    s = s1 = s2 = s3 = 0;

    for (i = 0; i < part; i++) {
        s = mailping_patterns_next(p, s, text[i]);
        s1 = mailping_patterns_next(p, s1, text[part + i]);
        s2 = mailping_patterns_next(p, s2, text[2 * part + i]);
        s3 = mailping_patterns_next(p, s3, text[3 * part + i]);

        state[i] = s;
        state[part + i] = s1;
        state[2 * part + i] = s2;
        state[3 * part + i] = s3;
    }

    s = p->table[MAILPING_SYMBOL_BEGIN];

    for (from = 0; from < 4 * part; from += part) {

        for (i = from; i < 4 * part; i++) {
            s = mailping_patterns_next(p, s, text[i]);

            if (state[i] == s) {
                break;
            }

            state[i] = s;
        }

        s = state[from + part - 1];
    }

    for (i = 4 * part; i < 4 * part + n; i++) {
        s = mailping_patterns_next(p, s, text[i]);
        state[i] = s;
    }

    return s;
}


static uint32_t
mailping_patterns_next(const mailping_patterns_t *p, uint32_t s, uint8_t c)
{
    return p->table[(s & ~MAILPING_STATE_OUTPUT) + p->symbol[c]];
}


static void
mailping_patterns_output(const mailping_patterns_t *p, uint32_t s,
    const mailping_place_t *place, uint64_t *bits, mailping_best_t *best)
{
    uint32_t                   n;
    const mailping_state_t    *state;
    const mailping_pattern_t  *pattern;

    state = &p->state[(s & ~MAILPING_STATE_OUTPUT) / p->nsymbols];

    for ( ;; ) {
        for (n = state->output; n != 0; n = pattern->next) {
            pattern = &p->pattern[n - 1];

            if (pattern->words != 0
                && !mailping_patterns_words(pattern, place))
            {
                continue;
            }

            if (pattern->rank == UINT64_MAX) {
                bits[pattern->id / 64] |= (uint64_t) 1 << pattern->id % 64;

            } else if (pattern->rank < best->rank) {
                best->rank = pattern->rank;
                best->id = pattern->id;
            }
        }

        if (state->link == 0) {
            return;
        }

        state = &p->state[state->link];
    }
}


static int
mailping_patterns_words(const mailping_pattern_t *pattern,
    const mailping_place_t *place)
{
    size_t          begin;
    mailping_str_t  text;

    text = place->text;
    begin = place->end - pattern->len;

    if ((pattern->words & MAILPING_PATTERN_WORD_BEGIN) && begin != 0
        && mailping_patterns_alnum(text.data[begin - 1]))
    {
        return 0;
    }

    return !(pattern->words & MAILPING_PATTERN_WORD_END)
           || place->end == text.len
           || !mailping_patterns_alnum(text.data[place->end]);
}


static int
mailping_patterns_alnum(uint8_t c)
{
    c = mailping_lower(c);

    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
