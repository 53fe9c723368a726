
/*
 * Copyright (C) MailPing
 */


/*
 * Fetches that are counted: none is lost or counted twice, what does not fit
 * is declined, entries are due by their age.  Then all that is kept in shared
 * memory under stress: several processes at once, of which some are killed in
 * the midst of it.
 */

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/claim.h"
#include "core/collapse.h"
#include "core/recent.h"
#include "str.h"
#include "tap.h"


#define SIZE    (256 * 1024)
#define START   1700000000000ULL
#define OLD     (MAILPING_CLAIM_OLD + 1)

/* of the stress */

#define WORKERS  4
#define TOKENS   12
#define ROUNDS   2
#define SECONDS  1
#define LEN      1900              /* of a payload */


/*
 * What a worker knows to have done.  "doing" is set while it cannot know: a
 * worker that is killed then may have done one fetch more, or taken out
 * "count" fetches more.
 */

typedef struct {
    uint64_t  added;
    uint64_t  declined;
    uint64_t  taken;
    uint64_t  fetched;
    uint64_t  remembered;
    uint64_t  visited;
    uint64_t  torn;
    uint64_t  count;
    unsigned  doing;
} ledger_t;

enum { NOTHING = 0, ADDING, TAKING, FETCHING };


typedef struct {
    ledger_t               ledger[WORKERS];
    unsigned               stop;
    mailping_collapse_t   *collapse;
    mailping_recents_t    *recents;
    mailping_history_t    *history;
} arena_t;


typedef struct {
    uint64_t  fetched;
    uint64_t  added;
    uint64_t  taken;
    uint64_t  maybe_fetched;       /* by workers that were killed */
    uint64_t  maybe_added;
    uint64_t  maybe_taken;
    uint64_t  torn;
    uint64_t  visited;
    unsigned  kills;
} sums_t;


static mailping_collapse_t  *table;
static void                 *memory;
static uint8_t               dst[MAILPING_COLLAPSE_PAYLOAD];


static void begin(size_t size);
static uint64_t mix(uint64_t n);
static int add(uint64_t key, uint64_t now, const char *payload);
static int take(size_t *slot, uint64_t now, uint64_t age, size_t *len,
    uint64_t *count);
static uint64_t drain(uint64_t now, uint64_t age);
static void test_size(void);
static void test_count(void);
static void test_due(void);
static void test_full(void);
static void test_payload(void);
static void test_damage(void);
static void test_claim(void);
static void test_model(void);

static void test_stress(unsigned killing);
static arena_t *arena_create(void);
static void worker(arena_t *arena, ledger_t *l, unsigned seed);
static void worker_collapse(arena_t *arena, ledger_t *l, uint64_t random,
    uint64_t now);
static void worker_recents(arena_t *arena, ledger_t *l, uint64_t random,
    uint64_t now);
static int worker_visit(void *data, mailping_recent_t *r);
static void worker_history(arena_t *arena, ledger_t *l, uint64_t random,
    uint64_t now);
static pid_t worker_start(arena_t *arena, unsigned n, unsigned seed);
static void worker_end(arena_t *arena, unsigned n, pid_t pid, int sig,
    sums_t *sums);
static void payload_fill(uint8_t p[LEN], uint64_t key, uint64_t random);
static int payload_whole(const uint8_t p[LEN]);
static int recent_whole(const mailping_recent_t *r);
static uint64_t seen_of(arena_t *arena, uint64_t now);
static uint64_t milliseconds(void);


int
main(void)
{
    test_size();
    test_count();
    test_due();
    test_full();
    test_payload();
    test_damage();
    test_claim();
    test_model();

    free(memory);

    test_stress(0);
    test_stress(1);

    return done();
}


static void
begin(size_t size)
{
    free(memory);

    memory = calloc(1, size);
    table = mailping_collapse_create(memory, size);
}


static uint64_t
mix(uint64_t n)
{
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9ULL;
    n = (n ^ n >> 27) * 0x94d049bb133111ebULL;

    return n ^ n >> 31;
}


static int
add(uint64_t key, uint64_t now, const char *payload)
{
    return mailping_collapse_add(table, key, now, str(payload));
}


static int
take(size_t *slot, uint64_t now, uint64_t age, size_t *len, uint64_t *count)
{
    memset(dst, 0, sizeof(dst));

    return mailping_collapse_take(table, slot, now, age, dst, len, count);
}


/* the sum of what is due */

static uint64_t
drain(uint64_t now, uint64_t age)
{
    size_t    slot, len;
    uint64_t  count, sum;

    slot = 0;
    sum = 0;

    while (take(&slot, now, age, &len, &count) == MAILPING_OK) {
        sum += count;
    }

    return sum;
}


static void
test_size(void)
{
    size_t    size, refused;
    uint64_t  i;

    refused = 0;

    for (size = 0; size < 64 * 1024; size += 120) {
        begin(size);

        if (table == NULL) {
            refused = size;
            continue;
        }

        for (i = 0; i < 100; i++) {
            (void) add(mix(i), START, "payload");
        }

        (void) drain(START, 0);
    }

    ok(refused > 0 && refused < 32768, "memory is refused up to %zu bytes",
       refused);
}


static void
test_count(void)
{
    size_t    slot, len;
    uint64_t  count;
    unsigned  i;

    begin(SIZE);

    is_int(mailping_collapse_pending(table), 0, "nothing is counted");

    for (i = 0; i < 1000; i++) {
        if (add(1, START + i, i == 0 ? "first" : "later") != MAILPING_OK) {
            break;
        }
    }

    is_int(i, 1000, "a thousand fetches are counted");
    is_int(mailping_collapse_pending(table), 1000, "all of them");

    slot = 0;

    is_int(take(&slot, START, 0, &len, &count), MAILPING_OK, "an entry");
    is_int(count, 1000, "of a thousand");
    is_str(dst, len, "first", "described by the first");
    is_int(take(&slot, START, 0, &len, &count), MAILPING_DECLINED, "is all");
    is_int(mailping_collapse_pending(table), 0, "nothing is left");

    is_int(add(1, START, "again"), MAILPING_OK, "it begins again");
    slot = 0;
    (void) take(&slot, START, 0, &len, &count);
    is_int(count, 1, "with one");
    is_str(dst, len, "again", "and another description");

    /* keys of one bucket, 0 among them */

    for (i = 0; i < 4; i++) {
        (void) add(i, START, "x");
        (void) add(i, START, "x");
    }

    slot = 0;

    for (i = 0; take(&slot, START, 0, &len, &count) == MAILPING_OK; i++) {
        if (count != 2) {
            break;
        }
    }

    is_int(i, 4, "keys are not mixed");
}


static void
test_due(void)
{
    size_t    slot, len;
    uint64_t  count;

    begin(SIZE);

    (void) add(1, START, "a");
    (void) add(2, START + 30000, "b");
    (void) add(1, START + 59000, "a");

    is_int(drain(START + 59999, MAILPING_COLLAPSE_PERIOD), 0,
           "nothing is due within a minute");

    slot = 0;

    is_int(take(&slot, START + 60000, MAILPING_COLLAPSE_PERIOD, &len, &count),
           MAILPING_OK, "the first is due a minute after its first fetch");
    is_str(dst, len, "a", "it is that one");
    is_int(count, 2, "with its last fetch");
    is_int(take(&slot, START + 60000, MAILPING_COLLAPSE_PERIOD, &len, &count),
           MAILPING_DECLINED, "the other is not");
    is_int(drain(START + 90000, MAILPING_COLLAPSE_PERIOD), 1, "but later");

    /* a clock that is set back */

    (void) add(3, START + 3600000, "c");

    is_int(drain(START + 3600000 - 60000, MAILPING_COLLAPSE_PERIOD), 0,
           "a minute in the future");
    is_int(drain(START + 3600000 - 60001, MAILPING_COLLAPSE_PERIOD), 1,
           "more than that: the clock was set back");

    (void) add(4, START, "d");
    is_int(drain(START - 1000, 0), 1, "any is due for an age of 0");
}


static void
test_full(void)
{
    uint64_t  i, counted, declined;

    begin(SIZE);

    counted = 0;
    declined = 0;

    for (i = 0; i < 2000; i++) {

        if (add(mix(i), START, "x") == MAILPING_OK) {
            counted++;

        } else {
            declined++;
        }
    }

    ok(counted > 90 && declined > 1000, "%u keys fit", (unsigned) counted);
    is_int(mailping_collapse_pending(table), counted, "and are counted");

    /* those that are in go on */

    declined = 0;

    for (i = 0; i < 20; i++) {
        declined += add(mix(i), START, "x") != MAILPING_OK;
    }

    is_int(declined, 0, "a full table counts what it has");
    is_int(drain(START, 0), counted + 20, "nothing was pushed out");
}


static void
test_payload(void)
{
    size_t            slot, len;
    uint64_t          count;
    char              text[MAILPING_EVENT_AGENT_MAX + 1];
    mailping_event_t  e, d;

    static uint8_t  payload[MAILPING_EVENT_PAYLOAD_MAX + 1];

    begin(SIZE);

    memset(payload, 'x', sizeof(payload));

    is_int(mailping_collapse_add(table, 1, START,
                           mailping_str(payload, MAILPING_COLLAPSE_PAYLOAD)),
           MAILPING_OK, "the longest payload");
    is_int(mailping_collapse_add(table, 2, START,
                        mailping_str(payload, MAILPING_COLLAPSE_PAYLOAD + 1)),
           MAILPING_DECLINED, "a longer one");

    slot = 0;
    (void) take(&slot, START, 0, &len, &count);

    ok(len == MAILPING_COLLAPSE_PAYLOAD && memcmp(dst, payload, len) == 0,
       "the longest is whole");

    /* no event is too long */

    memset(text, 'x', sizeof(text));
    memset(&e, 0, sizeof(mailping_event_t));

    e.id = mailping_str(text, sizeof(text));
    e.recipient = e.id;
    e.site = e.id;
    e.provider = e.id;
    e.reasons = e.id;
    e.facts = e.id;
    e.network = e.id;
    e.org = e.id;
    e.country = e.id;
    e.region = e.id;
    e.city = e.id;
    e.client = e.id;
    e.agent = e.id;
    e.time = START;
    e.count = 1;
    e.privacy = MAILPING_PRIVACY_FULL;

    len = mailping_event_encode(&e, payload);

    ok(len <= MAILPING_COLLAPSE_PAYLOAD, "an event at its bounds has %zu",
       len);
    is_int(mailping_collapse_add(table, 1, START, mailping_str(payload, len)),
           MAILPING_OK, "and is counted");

    slot = 0;
    (void) take(&slot, START, 0, &len, &count);

    is_int(mailping_event_decode(&d, MAILPING_EVENT_VERSION,
                                 mailping_str(dst, len)),
           MAILPING_OK, "and is the event again");
    is_int(d.agent.len, MAILPING_EVENT_AGENT_MAX, "to its end");
}


/* Damaged memory costs the description, not the count, and nothing else. */

static void
test_damage(void)
{
    size_t     i, slot, len, used;
    uint8_t   *bytes, *clean;
    uint64_t   count;
    unsigned   whole, empty, wrong;

    begin(SIZE);
    (void) add(1, START, "a payload of some length");
    (void) add(1, START, "");

    bytes = memory;
    clean = malloc(SIZE);
    memcpy(clean, memory, SIZE);

    whole = 0;
    empty = 0;
    wrong = 0;

    /* the first 8 bytes say how many slots there are */

    used = SIZE;

    for (i = 8; i < SIZE; i++) {

        if (clean[i] != 0 && used == SIZE) {
            used = i;
        }

        /* all of the slot that is used, one byte of eight elsewhere */

        if (i % 8 != 0 && (i < used || i > used + MAILPING_COLLAPSE_PAYLOAD)) {
            continue;
        }

        bytes[i] ^= 0x55;
        slot = 0;

        while (take(&slot, START + OLD, 0, &len, &count) == MAILPING_OK) {

            if (len == 0) {
                empty++;

            } else if (len != 24
                       || memcmp(dst, "a payload of some length", 24) != 0)
            {
                wrong++;

            } else {
                whole++;
            }
        }

        memcpy(memory, clean, SIZE);
    }

    free(clean);

    is_int(wrong, 0, "no damaged payload is handed out");
    ok(whole > 1000, "elsewhere it does no harm: %u", whole);
    ok(empty >= 32, "payload, length and checksum are missed: %u", empty);
}


/* A slot that a killed worker holds is declined, until its claim is old. */

static void
test_claim(void)
{
    uint64_t   claim;
    unsigned   i;

    claim = 0;

    ok(mailping_claim(&claim, START), "a free claim is had");
    is_int(claim, START, "since then");
    ok(!mailping_claim(&claim, START + MAILPING_CLAIM_OLD), "not twice");
    ok(!mailping_claim(&claim, START - MAILPING_CLAIM_OLD),
       "nor by who is behind");
    ok(mailping_claim(&claim, START + OLD), "until it is old");

    mailping_claim_release(&claim, START);
    is_int(claim, START + OLD, "who had it before does not release it");
    mailping_claim_release(&claim, START + OLD);
    is_int(claim, 0, "who has it does");

    ok(mailping_claim(&claim, START), "again");
    ok(mailping_claim(&claim, START - OLD), "one of the future is old, too");

    /* the first eight bytes of each slot are its claim: see the damage test */

    begin(SIZE);
    (void) add(1, START, "x");

    for (i = 8; i < SIZE && memcmp((uint8_t *) memory + i + 8,
                                   "\1\0\0\0\0\0\0\0", 8) != 0; i += 8)
    {
        /* void */
    }

    memcpy((uint8_t *) memory + i, &(uint64_t) { START }, 8);

    is_int(add(1, START + 1, "x"), MAILPING_DECLINED, "a held slot");
    is_int(drain(START + 1, 0), 0, "is not taken out");
    is_int(mailping_collapse_pending(table), 1, "but is not forgotten");
    is_int(add(1, START + OLD, "x"), MAILPING_OK, "until the claim is old");
    is_int(drain(START + OLD, 0), 2, "with all that was counted");
}


/* random calls beside a sum that cannot be wrong */

static void
test_model(void)
{
    size_t    slot, len;
    uint64_t  now, random, sum, out, count;
    unsigned  i;

    begin(64 * 1024);

    sum = 0;
    out = 0;
    now = START;

    for (i = 0; i < 200000; i++) {
        random = mix(i + 1);

        if (random % 1000 == 0) {
            now -= random >> 40;

        } else {
            now += random >> 32 & 255;
        }

        if (random % 64 != 1) {
            sum += add(mix(random >> 16 & 63), now, "x") == MAILPING_OK;
            continue;
        }

        slot = 0;

        while (take(&slot, now, random & 64 ? MAILPING_COLLAPSE_PERIOD : 0,
                    &len, &count) == MAILPING_OK)
        {
            out += count;

            if (len != 1) {
                break;
            }
        }

        if (sum - out != mailping_collapse_pending(table)) {
            break;
        }
    }

    is_int(i, 200000, "random calls: the sum is exact at each moment");
    ok(out > 10000 && sum > out, "%u of %u were taken out", (unsigned) out,
       (unsigned) sum);
    is_int(drain(now, 0), sum - out, "and the rest");
}


/*
 * Without kills all sums are exact.  A killed worker may have done one fetch
 * more than it knew of, or have taken out an entry that it had not handed on:
 * by so much, and no more, the sums are uncertain.
 */

static void
test_stress(unsigned killing)
{
    pid_t         pid[WORKERS];
    size_t        slot, len;
    sums_t        sums;
    arena_t      *arena;
    uint8_t       payload[LEN];
    uint64_t      random, now, end, pending, rest, count, seen;
    unsigned      n, seed, round, kills, torn, counted;
    const char   *name;

    name = killing ? "with kills" : "without kills";

    arena = arena_create();

    if (!ok(arena != NULL, "%s: shared memory", name)) {
        return;
    }

    memset(&sums, 0, sizeof(sums_t));

    seed = 0;
    kills = 0;

    for (n = 0; n < WORKERS; n++) {
        pid[n] = worker_start(arena, n, ++seed);
    }

    end = milliseconds() + ROUNDS * SECONDS * 1000;

    for (round = 0; milliseconds() < end; round++) {
        random = mix(round + 1);

        /* at any moment of what they do */

        nanosleep(&(struct timespec) { 0, (long) (random % 4000000) }, NULL);

        if (killing) {
            n = random >> 40 & (WORKERS - 1);

            worker_end(arena, n, pid[n], SIGKILL, &sums);
            pid[n] = worker_start(arena, n, ++seed);
            kills++;
        }
    }

    __atomic_store_n(&arena->stop, 1, __ATOMIC_RELAXED);

    for (n = 0; n < WORKERS; n++) {
        worker_end(arena, n, pid[n], 0, &sums);
    }

    ok(!killing || kills > 10, "%s: %u", name, kills);
    ok(sums.added > 1000 && sums.taken > 100 && sums.visited > 1000,
       "%s: %u counted, %u taken out, %u visited", name,
       (unsigned) sums.added, (unsigned) sums.taken, (unsigned) sums.visited);

    is_int(sums.torn, 0, "%s: nothing torn was seen", name);

    /* all claims that were left are old by now */

    now = milliseconds() + OLD;
    pending = mailping_collapse_pending(arena->collapse);

    rest = 0;
    torn = 0;
    slot = 0;

    while (mailping_collapse_take(arena->collapse, &slot, now, 0, dst, &len,
                                  &count)
           == MAILPING_OK)
    {
        rest += count;
        torn += len != LEN || !payload_whole(dst);
    }

    is_int(rest, pending, "%s: all that is pending can be taken out", name);
    is_int(torn, 0, "%s: whole", name);

    if (killing) {
        ok(sums.taken + rest <= sums.added + sums.maybe_added
           && sums.taken + rest + sums.maybe_taken >= sums.added,
           "%s: %u of %u, %u may be lost, %u be more", name,
           (unsigned) (sums.taken + rest), (unsigned) sums.added,
           (unsigned) sums.maybe_taken, (unsigned) sums.maybe_added);

    } else {
        is_int(sums.taken + rest, sums.added, "%s: the sum is exact", name);
    }

    /* no slot stays claimed */

    counted = 0;

    for (n = 0; n < 8; n++) {
        payload_fill(payload, n, n);
        counted += mailping_collapse_add(arena->collapse, n, now,
                                         mailping_str(payload, LEN))
                   == MAILPING_OK;
    }

    is_int(counted, 8, "%s: every slot is free again", name);

    now += OLD;
    seen = seen_of(arena, now);

    ok(seen >= sums.fetched && seen <= sums.fetched + sums.maybe_fetched,
       "%s: history saw %u of %u fetches", name, (unsigned) seen,
       (unsigned) sums.fetched);

    /* the checks can fail */

    payload_fill(payload, 1, 2);
    n = payload_whole(payload);
    payload[LEN / 2] ^= 1;

    ok(n && !payload_whole(payload), "%s: a torn payload would be seen", name);

    munmap(arena, sizeof(arena_t) + 3 * SIZE);
}


static arena_t *
arena_create(void)
{
    uint8_t  *p;
    arena_t  *arena;

    p = mmap(NULL, sizeof(arena_t) + 3 * SIZE, PROT_READ|PROT_WRITE,
             MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        return NULL;
    }

    arena = (arena_t *) p;
    p += sizeof(arena_t);

    /* few slots, which all workers want */

    arena->collapse = mailping_collapse_create(p, 19000);
    arena->recents = mailping_recents_create(p + SIZE, 8192);
    arena->history = mailping_history_create(p + 2 * SIZE, SIZE,
                                             milliseconds());

    return arena;
}


static pid_t
worker_start(arena_t *arena, unsigned n, unsigned seed)
{
    pid_t  pid;

    memset(&arena->ledger[n], 0, sizeof(ledger_t));

    pid = fork();

    if (pid == 0) {
        worker(arena, &arena->ledger[n], seed);
        _exit(0);
    }

    return pid;
}


static void
worker_end(arena_t *arena, unsigned n, pid_t pid, int sig, sums_t *sums)
{
    ledger_t  *l;

    if (sig != 0) {
        (void) kill(pid, sig);
        sums->kills++;
    }

    while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) { /* void */ }

    l = &arena->ledger[n];

    sums->added += l->added;
    sums->taken += l->taken;
    sums->fetched += l->fetched;
    sums->visited += l->visited;
    sums->torn += l->torn;

    sums->maybe_added += l->doing == ADDING;
    sums->maybe_taken += l->doing == TAKING ? l->count : 0;
    sums->maybe_fetched += l->doing == FETCHING;
}


/* the compiler must not move the ledger's words across the calls */

#define barrier()  __asm__ volatile ("" ::: "memory")


static void
worker(arena_t *arena, ledger_t *l, unsigned seed)
{
    uint64_t  i, random, now;

    for (i = 0; !__atomic_load_n(&arena->stop, __ATOMIC_RELAXED); i++) {
        random = mix((uint64_t) seed << 40 | i);
        now = milliseconds();

        worker_collapse(arena, l, random, now);
        worker_recents(arena, l, random, now);
        worker_history(arena, l, random, now);
    }
}


static void
worker_collapse(arena_t *arena, ledger_t *l, uint64_t random, uint64_t now)
{
    int       rc;
    size_t    slot, len;
    uint8_t   payload[LEN];
    uint64_t  key;

    key = random % TOKENS;
    payload_fill(payload, key, random);

    l->doing = ADDING;
    barrier();

    rc = mailping_collapse_add(arena->collapse, key, now,
                               mailping_str(payload, LEN));

    if (rc == MAILPING_OK) {
        l->added++;

    } else {
        l->declined++;
    }

    barrier();
    l->doing = NOTHING;

    if (random >> 32 & 15) {
        return;
    }

    slot = 0;

    for ( ;; ) {
        l->count = 0;
        barrier();
        l->doing = TAKING;
        barrier();

        rc = mailping_collapse_take(arena->collapse, &slot, now, 0, dst, &len,
                                    &l->count);

        if (rc == MAILPING_OK) {
            l->taken += l->count;
            l->torn += len != LEN || !payload_whole(dst);
        }

        barrier();
        l->doing = NOTHING;

        if (rc != MAILPING_OK) {
            return;
        }
    }
}


static void
worker_recents(arena_t *arena, ledger_t *l, uint64_t random, uint64_t now)
{
    char                     id[32];
    uint64_t                 token, network;
    mailping_recent_t        r;
    mailping_recent_visit_t  visit;

    visit.change = worker_visit;
    visit.tell = NULL;
    visit.data = l;

    token = random >> 8 & 7;
    network = 1 + (random >> 16 & 7);

    if (random >> 24 & 1) {
        memset(&r, 0, sizeof(mailping_recent_t));

        r.fetch.token = token;
        r.fetch.network = network;
        r.fetch.time = now;
        r.fetch.sent = token * 31 + network;

        snprintf(id, sizeof(id), "%u", (unsigned) (token * 31 + network));

        mailping_recents_add(arena->recents, &r, str("ref"), str(id), str(id),
                             str("site"));
        l->remembered++;
    }

    mailping_recents_visit(arena->recents, MAILPING_RECENT_TOKEN, token, now,
                           &visit);
    mailping_recents_visit(arena->recents, MAILPING_RECENT_NETWORK, network,
                           now, &visit);
}


/* what a visitor writes is written whole as well */

static int
worker_visit(void *data, mailping_recent_t *r)
{
    ledger_t  *l = data;

    l->visited++;
    l->torn += !recent_whole(r);

    r->told++;
    r->past.burst = r->told;

    return MAILPING_RECENT_KEEP;
}


static int
recent_whole(const mailping_recent_t *r)
{
    char              id[32];
    mailping_amend_t  a;

    mailping_recent_texts(r, &a);
    snprintf(id, sizeof(id), "%u", (unsigned) r->fetch.sent);

    return r->fetch.sent == r->fetch.token * 31 + r->fetch.network
           && mailping_str_equal(a.ref, str("ref"))
           && mailping_str_equal(a.id, str(id))
           && mailping_str_equal(a.recipient, str(id))
           && mailping_str_equal(a.site, str("site"))
           && (r->past.burst & 255) == r->told;
}


static void
worker_history(arena_t *arena, ledger_t *l, uint64_t random, uint64_t now)
{
    mailping_past_t   past;
    mailping_fetch_t  f;

    f.token = mix(random % TOKENS);
    f.network = mix(random >> 8 & 7);
    f.agent = mix(random >> 12 & 3);
    f.time = now;
    f.sent = now;

    l->doing = FETCHING;
    barrier();

    mailping_history_fetch(arena->history, &f, &past);
    l->fetched++;

    barrier();
    l->doing = NOTHING;

    if (random >> 16 & 1) {
        mailping_history_scanner(arena->history, &f);
    }

    l->torn += past.farm > 3 || past.agents > 3
               || past.seen == 0 || past.hour == 0
               || past.quick > 100;
}


static void
payload_fill(uint8_t p[LEN], uint64_t key, uint64_t random)
{
    size_t  i;

    memcpy(p, &key, 8);
    memcpy(p + 8, &random, 8);

    for (i = 16; i < LEN; i++) {
        p[i] = (uint8_t) (key * 7 + random + i);
    }
}


static int
payload_whole(const uint8_t p[LEN])
{
    uint8_t   expected[LEN];
    uint64_t  key, random;

    memcpy(&key, p, 8);
    memcpy(&random, p + 8, 8);

    payload_fill(expected, key, random);

    return memcmp(p, expected, LEN) == 0;
}


/* Fetches each token once more: what it counts is one more than there were. */

static uint64_t
seen_of(arena_t *arena, uint64_t now)
{
    uint64_t          sum;
    unsigned          i;
    mailping_past_t   past;
    mailping_fetch_t  f;

    memset(&f, 0, sizeof(mailping_fetch_t));

    sum = 0;
    f.time = now;

    for (i = 0; i < TOKENS; i++) {
        f.token = mix(i);
        mailping_history_fetch(arena->history, &f, &past);
        sum += past.seen - 1;
    }

    return sum;
}


static uint64_t
milliseconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}
