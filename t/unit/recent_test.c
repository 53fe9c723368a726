
/*
 * Copyright (C) MailPing
 */


/*
 * Opens that later evidence may correct: found by their token and by their
 * network, whole or not at all, changed when the visitor says so, and the
 * oldest one goes.
 */

#include "core/claim.h"
#include "core/recent.h"
#include "str.h"
#include "tap.h"


#define SIZE   (256 * 1024)
#define START  1700000000000ULL
#define OLD    (MAILPING_CLAIM_OLD + 1)


typedef struct {
    unsigned           n;
    unsigned           change;     /* what the visitor adds to "told" */
    unsigned           keep;       /* what it returns */
    unsigned           told;       /* how often it was to be told */
    mailping_recent_t  last;
} visit_t;


static mailping_recents_t  *table;
static uint8_t             *memory;


static void begin(size_t size);
static uint64_t mix(uint64_t n);
static void remember(uint64_t token, uint64_t network, uint64_t time,
    const char *id);
static int visitor(void *data, mailping_recent_t *r);
static void teller(void *data, const mailping_recent_t *r);
static void visit_at(mailping_recent_key_e by, uint64_t key, uint64_t now,
    visit_t *v);
static unsigned visit(mailping_recent_key_e by, uint64_t key, visit_t *v);
static void is_text(mailping_str_t text, const char *expected,
    const char *name);
static void test_size(void);
static void test_visit(void);
static void test_texts(void);
static void test_change(void);
static void test_eviction(void);
static void test_index(void);
static void test_damage(void);


int
main(void)
{
    test_size();
    test_visit();
    test_texts();
    test_change();
    test_eviction();
    test_index();
    test_damage();

    free(memory);

    return done();
}


static void
begin(size_t size)
{
    free(memory);

    memory = calloc(1, size);
    table = mailping_recents_create(memory, size);
}


static uint64_t
mix(uint64_t n)
{
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9ULL;
    n = (n ^ n >> 27) * 0x94d049bb133111ebULL;

    return n ^ n >> 31;
}


static void
remember(uint64_t token, uint64_t network, uint64_t time, const char *id)
{
    mailping_recent_t  r;

    memset(&r, 0, sizeof(mailping_recent_t));

    r.fetch.token = token;
    r.fetch.network = network;
    r.fetch.time = time;
    r.is[0] = 5;
    r.unknown[MAILPING_FACTS_WORDS - 1] = ~token;
    r.rules = 0x12345678;
    r.was = 2;

    mailping_recents_add(table, &r, str("ring.0/1"), str(id), str("r"),
                         str("t.example.com"));
}


static int
visitor(void *data, mailping_recent_t *r)
{
    visit_t  *v = data;

    v->n++;
    v->last = *r;

    r->told += (uint8_t) v->change;

    return (int) v->keep;
}


static void
teller(void *data, const mailping_recent_t *r)
{
    visit_t  *v = data;

    v->told++;
    v->last = *r;
}


static void
visit_at(mailping_recent_key_e by, uint64_t key, uint64_t now, visit_t *v)
{
    mailping_recent_visit_t  visits;

    visits.change = visitor;
    visits.tell = teller;
    visits.data = v;

    mailping_recents_visit(table, by, key, now, &visits);
}


static unsigned
visit(mailping_recent_key_e by, uint64_t key, visit_t *v)
{
    v->n = 0;
    memset(&v->last, 0, sizeof(mailping_recent_t));

    visit_at(by, key, START, v);

    return v->n;
}


static void
is_text(mailping_str_t text, const char *expected, const char *name)
{
    is_str(text.data, text.len, expected, "%s", name);
}


static void
test_size(void)
{
    size_t    size, refused;
    visit_t   v = { 0 };
    unsigned  i;

    refused = 0;

    for (size = 0; size < 32 * 1024; size += 56) {
        begin(size);

        if (table == NULL) {
            refused = size;
            continue;
        }

        for (i = 0; i < 300; i++) {
            remember(mix(i), mix(~i), START + i, "id");
            (void) visit(MAILPING_RECENT_NETWORK, mix(~i), &v);
            (void) visit(MAILPING_RECENT_TOKEN, mix(i), &v);
        }
    }

    ok(refused > 0 && refused < 8192,
       "memory is refused up to %zu bytes", refused);

    begin(SIZE);
    ok(table != NULL, "a quarter of a megabyte is enough");
}


static void
test_visit(void)
{
    visit_t  v = { 0 };

    begin(SIZE);

    is_int(visit(MAILPING_RECENT_TOKEN, 1, &v), 0, "nothing yet");
    is_int(visit(MAILPING_RECENT_TOKEN, 0, &v), 0, "nor under 0");
    is_int(visit(MAILPING_RECENT_NETWORK, 7, &v), 0, "nor of a network");
    is_int(visit(MAILPING_RECENT_NETWORK, 0, &v), 0, "nor of none");

    remember(1, 7, START, "one");

    is_int(visit(MAILPING_RECENT_TOKEN, 1, &v), 1, "by its token");
    is_int(v.last.fetch.network, 7, "with its values");
    is_int(v.last.is[0], 5, "its facts");
    is_int(v.last.unknown[MAILPING_FACTS_WORDS - 1], ~1LL, "all of them");
    is_int(v.last.rules, 0x12345678, "its rules");
    is_int(v.last.was, 2, "its judgement");

    is_int(visit(MAILPING_RECENT_NETWORK, 7, &v), 1, "by its network");
    is_int(v.last.fetch.token, 1, "it is the same");

    remember(1, 8, START + 1, "one");

    is_int(visit(MAILPING_RECENT_TOKEN, 1, &v), 2, "both of a token");
    is_int(visit(MAILPING_RECENT_NETWORK, 7, &v), 1, "one of each network");
    is_int(visit(MAILPING_RECENT_NETWORK, 8, &v), 1, "one of each network");

    remember(2, 7, START + 2, "two");
    remember(3, 0, START + 3, "three");

    is_int(visit(MAILPING_RECENT_NETWORK, 7, &v), 2, "both of a network");
    is_int(visit(MAILPING_RECENT_TOKEN, 3, &v), 1, "one without a network");
    is_int(visit(MAILPING_RECENT_NETWORK, 0, &v), 0, "is in no index");
}


static void
test_texts(void)
{
    char               ref[300], id[300], recipient[300], site[600], *texts[4];
    unsigned           i, n;
    visit_t            v = { 0 };
    mailping_amend_t   a;
    mailping_recent_t  r;

    static const size_t  max[] = {
        MAILPING_EVENT_REF_MAX, MAILPING_TOKEN_ID_MAX,
        MAILPING_TOKEN_RECIPIENT_MAX, MAILPING_EVENT_SITE_MAX
    };

    begin(SIZE);

    remember(1, 7, START, "one");
    (void) visit(MAILPING_RECENT_TOKEN, 1, &v);

    memset(&a, 0x55, sizeof(mailping_amend_t));
    mailping_recent_texts(&v.last, &a);

    is_text(a.ref, "ring.0/1", "ref");
    is_text(a.id, "one", "id");
    is_text(a.recipient, "r", "recipient");
    is_text(a.site, "t.example.com", "site");

    /* at their bounds, and beyond them */

    texts[0] = ref;
    texts[1] = id;
    texts[2] = recipient;
    texts[3] = site;

    for (n = 0; n < 2; n++) {

        for (i = 0; i < 4; i++) {
            memset(texts[i], (int) ('a' + i), max[i] + n);
            texts[i][max[i] + n] = '\0';
        }

        memset(&r, 0, sizeof(mailping_recent_t));
        r.fetch.token = 2 + n;
        r.fetch.time = START;

        mailping_recents_add(table, &r, str(ref), str(id), str(recipient),
                             str(site));

        is_int(visit(MAILPING_RECENT_TOKEN, 2 + n, &v), 1, "long texts");
        mailping_recent_texts(&v.last, &a);

        for (i = 0; i < 4; i++) {
            texts[i][max[i]] = '\0';
        }

        is_text(a.ref, ref, n ? "a ref is cut" : "the longest ref");
        is_text(a.id, id, n ? "an id is cut" : "the longest id");
        is_text(a.recipient, recipient,
                n ? "a recipient is cut" : "the longest recipient");
        is_text(a.site, site, n ? "a site is cut" : "the longest site");
    }

    memset(&r, 0, sizeof(mailping_recent_t));
    r.fetch.token = 4;

    mailping_recents_add(table, &r, str("x/1"), mailping_str(NULL, 0),
                         mailping_str(NULL, 0), mailping_str(NULL, 0));

    is_int(visit(MAILPING_RECENT_TOKEN, 4, &v), 1, "no texts");
    mailping_recent_texts(&v.last, &a);

    is_text(a.ref, "x/1", "but the ref");
    is_int(a.id.len + a.recipient.len + a.site.len, 0, "all others empty");
}


static void
test_change(void)
{
    visit_t  v = { 0 };

    begin(SIZE);

    remember(1, 7, START, "one");

    v.change = 4;
    v.keep = 0;

    (void) visit(MAILPING_RECENT_TOKEN, 1, &v);
    (void) visit(MAILPING_RECENT_TOKEN, 1, &v);
    is_int(v.last.told, 0, "a change that is not kept");

    v.keep = 1;

    (void) visit(MAILPING_RECENT_NETWORK, 7, &v);
    (void) visit(MAILPING_RECENT_TOKEN, 1, &v);
    is_int(v.last.told, 4, "one that is");
    (void) visit(MAILPING_RECENT_TOKEN, 1, &v);
    is_int(v.last.told, 8, "and another one");
    is_int(v.told, 0, "none of them is told");

    v.keep = MAILPING_RECENT_TELL;

    (void) visit(MAILPING_RECENT_TOKEN, 1, &v);
    is_int(v.told, 1, "one that is to be told");
    is_int(v.last.told, 16, "is told as it is kept");
}


/* A bucket's oldest goes, whichever slot it has. */

static void
test_eviction(void)
{
    uint64_t  time;
    visit_t   v = { 0 };
    unsigned  i, round, n, known;

    begin(SIZE);

    n = 5;

    /* five of one token do not fit its bucket */

    for (i = 0; i < n; i++) {
        remember(1, 100 + i, START + (i * 3 + 2) % n, "x");
    }

    is_int(visit(MAILPING_RECENT_TOKEN, 1, &v), 4, "four ways");

    for (i = 0; i < n - 1; i++) {
        time = START + (i * 3 + 2) % n;

        known = visit(MAILPING_RECENT_NETWORK, 100 + i, &v);

        is_int(known, time != START, "the oldest of four went: %u", i);
    }

    /* so the latest four remain, in whatever order they take places */

    for (round = 0; round < 100; round++) {
        remember(1, 200 + round, START + MAILPING_RECENT_TEXT + round, "x");
    }

    for (round = 0; round < 100; round++) {

        if (visit(MAILPING_RECENT_NETWORK, 200 + round, &v)
            != (round >= 96 ? 1 : 0))
        {
            break;
        }
    }

    is_int(round, 100, "the last four of a hundred remain");
}


/* An index names a network's last fifteen opens; those before are not found */

static void
test_index(void)
{
    visit_t   v = { 0 };
    unsigned  i, n;

    begin(SIZE);

    for (i = 1; i <= 40; i++) {
        remember(mix(i), 7, START + i, "x");

        n = visit(MAILPING_RECENT_NETWORK, 7, &v);

        if (n != (i < 15 ? i : 15)) {
            break;
        }
    }

    is_int(i, 41, "fifteen opens of a network, at most");

    for (i = 1; i <= 40; i++) {
        if (visit(MAILPING_RECENT_TOKEN, mix(i), &v) != 1) {
            break;
        }
    }

    is_int(i, 41, "by their tokens all are found");

    /* a slot that another network has meanwhile is not this one's */

    begin(SIZE);

    remember(1, 7, START, "x");

    for (i = 0; i < 4; i++) {
        remember(1, 8, START + 1, "x");
    }

    is_int(visit(MAILPING_RECENT_NETWORK, 7, &v), 0,
           "an index that is out of date");
    is_int(visit(MAILPING_RECENT_TOKEN, 1, &v), 4, "does no harm");
}


/*
 * Whatever byte of the memory is changed, an open is found as it was or not
 * at all.  The visit is at a time when a claim may be taken over.
 */

static void
test_damage(void)
{
    size_t             i, size;
    visit_t            v = { 0 };
    uint8_t           *clean;
    unsigned           found, dropped, wrong, back;
    mailping_recent_t  whole;

    size = SIZE;
    begin(size);
    remember(1, 7, START, "one");

    is_int(visit(MAILPING_RECENT_TOKEN, 1, &v), 1, "an open");
    whole = v.last;

    clean = malloc(size);
    memcpy(clean, memory, size);

    found = 0;
    dropped = 0;
    wrong = 0;
    back = 0;

    /* the first 32 bytes say how large the table is */

    for (i = 32; i < size; i++) {

        if (clean[i] == 0 && i % 8 != 0) {
            continue;
        }

        memory[i] ^= 0x55;

        v.n = 0;
        visit_at(MAILPING_RECENT_TOKEN, 1, START + OLD, &v);

        if (v.n == 0) {
            dropped++;

            /* and does not come back */

            memory[i] ^= 0x55;
            v.n = 0;
            visit_at(MAILPING_RECENT_TOKEN, 1, START + 3 * OLD, &v);
            back += v.n;

        } else {
            found++;
            wrong += memcmp(&v.last, &whole, sizeof(mailping_recent_t)) != 0;
        }

        memcpy(memory, clean, size);
    }

    free(clean);

    is_int(wrong, 0, "no damaged open is found");
    ok(found > 100, "elsewhere it does no harm: %u", found);
    ok(dropped > 100, "it is dropped: %u", dropped);

    /* damage of "used", of the token and of the claim does not mark the slot */

    ok(back < 32, "for ever, but for a word that comes back: %u", back);
}
