
/*
 * Copyright (C) MailPing
 */


/*
 * What the shared memory tells of a fetch: which one of its token it is and
 * whether that is certain, how many there were within an hour, bursts, farms,
 * quick networks and scanners beside it, each at the edges of its window; and
 * that what is forgotten, or a clock that jumps, makes no false certainty.
 */

#include "core/history.h"
#include "tap.h"


#define SIZE      (1024 * 1024)
#define SECOND    1000
#define MINUTE    (60 * SECOND)
#define HOUR      (60 * MINUTE)

/* a burst's periods of 2.5 s, and the 16 bits of a farm's time, begin here */

#define START     (65536ULL * 25000 * SECOND)


static mailping_history_t  *history;
static void                *memory;
static mailping_past_t      past;
static uint64_t             agent;         /* who fetches */


static void begin(size_t size);
static uint64_t mix(uint64_t n);
static uint64_t token_of(unsigned n);
static const mailping_past_t *fetch(uint64_t token, uint64_t network,
    uint64_t time, uint64_t sent);
static void scanner(uint64_t token, uint64_t time);
static void test_size(void);
static void test_seen(void);
static void test_sure(void);
static void test_forgotten(void);
static void test_hour(void);
static void test_burst(void);
static void test_burst_estimate(void);
static void test_farm(void);
static void test_agents(void);
static void test_scanned(void);
static void test_quick(void);
static void test_readers(void);
static void test_quick_fades(void);
static void test_networks_forgotten(void);
static void test_clock(void);


int
main(void)
{
    test_size();
    test_seen();
    test_sure();
    test_forgotten();
    test_hour();
    test_burst();
    test_burst_estimate();
    test_farm();
    test_agents();
    test_scanned();
    test_quick();
    test_readers();
    test_quick_fades();
    test_networks_forgotten();
    test_clock();

    free(memory);

    return done();
}


static void
begin(size_t size)
{
    free(memory);

    memory = calloc(1, size);
    history = mailping_history_create(memory, size, START);
}


/* a bijection that scatters, by D. Stafford */

static uint64_t
mix(uint64_t n)
{
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9ULL;
    n = (n ^ n >> 27) * 0x94d049bb133111ebULL;

    return n ^ n >> 31;
}


/* tokens whose numbers differ by less than 128 are certain to be told apart */

static uint64_t
token_of(unsigned n)
{
    return mix(n + 1) << 7 | n % 128;
}


static const mailping_past_t *
fetch(uint64_t token, uint64_t network, uint64_t time, uint64_t sent)
{
    mailping_fetch_t  f;

    f.token = token;
    f.network = network;
    f.agent = agent;
    f.time = time;
    f.sent = sent;

    memset(&past, 0x55, sizeof(mailping_past_t));

    mailping_history_fetch(history, &f, &past);

    return &past;
}


static void
scanner(uint64_t token, uint64_t time)
{
    mailping_fetch_t  f;

    memset(&f, 0, sizeof(mailping_fetch_t));

    f.token = token;
    f.time = time;

    mailping_history_scanner(history, &f);
}


static void
reader(uint64_t time, uint64_t sent)
{
    mailping_fetch_t  f;

    memset(&f, 0, sizeof(mailping_fetch_t));

    f.time = time;
    f.sent = sent;

    mailping_history_reader(history, &f);
}


/* Memory of any size is refused or used within its bounds: see the sanitizer */

static void
test_size(void)
{
    size_t    size, refused;
    unsigned  i;

    refused = 0;

    for (size = 0; size < 16 * 1024; size += 24) {
        begin(size);

        if (history == NULL) {
            refused = size;
            continue;
        }

        for (i = 0; i < 400; i++) {
            (void) fetch(token_of(i), mix(~i), START + i, START);
        }
    }

    ok(refused > 0 && refused < 8192,
       "memory is refused up to %zu bytes", refused);

    begin(SIZE);
    ok(history != NULL, "a megabyte is enough");
}


static void
test_seen(void)
{
    unsigned  i;

    begin(SIZE);

    for (i = 1; i <= 300; i++) {
        (void) fetch(token_of(1), 7, START + i, START);

        if (past.seen != i || !past.sure) {
            break;
        }
    }

    is_int(i, 301, "fetches of one token are counted");

    (void) fetch(token_of(2), 7, START, START);
    is_int(past.seen, 1, "another token is another count");

    (void) fetch(token_of(1), 0, START, START);
    is_int(past.seen, 301, "a fetch without a network counts");
    is_int(past.burst, 0, "and has no burst");
    is_int(past.farm, 0, "no farm");
    is_int(past.quick, -1, "and no habit");

    /* fingerprint 0 */

    (void) fetch(1, 7, START, START);
    is_int(past.seen, 1, "a token of few bits");
    (void) fetch(1, 7, START, START);
    is_int(past.seen, 2, "is known again");
}


static void
test_sure(void)
{
    unsigned  i;

    static const struct {
        const char  *name;
        uint64_t     sent;
        unsigned     sure;
    } cases[] = {
        { "sent when the memory began", START, 1 },
        { "sent just before", START - 1, 0 },
        { "sent at an unknown time", 0, 0 },
        { "sent at the moment of the fetch", START + HOUR, 1 },
        { "sent in the future", START + HOUR + 1, 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(SIZE);

        (void) fetch(token_of(i), 7, START + HOUR, cases[i].sent);

        is_int(past.seen, 1, "%s: the first fetch", cases[i].name);
        is_int(past.sure, cases[i].sure, "%s: certain or not", cases[i].name);

        (void) fetch(token_of(i), 7, START + HOUR + 1, cases[i].sent);

        is_int(past.sure && past.seen == 2, 1, "%s: the second is certain",
               cases[i].name);
    }
}


/*
 * In a memory far too small nothing is ever called a certain first fetch that
 * is not, and nothing is counted that did not happen.
 */

static void
test_forgotten(void)
{
    uint64_t  now, random;
    unsigned  i, n, wrong, excess, forgotten, certain;

    static uint32_t  truth[1000];
    static uint64_t  sent[1000];

    begin(8192);

    memset(truth, 0, sizeof(truth));

    wrong = 0;
    excess = 0;
    forgotten = 0;
    certain = 0;
    now = START;

    for (i = 0; i < 20000; i++) {
        random = mix(i);
        now += random % 50;

        /* mostly new mails, as it is in life */

        n = random >> 32 & 3 ? (i / 40 + (random >> 40) % 8) % 1000
                             : (random >> 40) % 1000;

        if (truth[n] == 0) {
            sent[n] = now - (random >> 50) % 100;
        }

        truth[n]++;

        (void) fetch(mix(n + 1), 7, now, sent[n]);

        wrong += past.seen == 1 && past.sure && truth[n] != 1;
        excess += past.seen > truth[n];
        forgotten += past.seen < truth[n];
        certain += past.seen == 1 && past.sure;
    }

    is_int(wrong, 0, "no certain first fetch is a later one");
    is_int(excess, 0, "no count is too high");
    ok(forgotten > 100, "though %u were forgotten", forgotten);
    ok(certain > 100, "and %u first ones are certain", certain);

    /* the token that is used all the time stays */

    begin(8192);

    for (i = 0; i < 5000; i++) {
        (void) fetch(mix(i + 1), 7, START + 2 * i, START);
        (void) fetch(token_of(1), 7, START + 2 * i + 1, START);
    }

    is_int(past.seen, 5000, "what is used is not forgotten");
}


static void
test_hour(void)
{
    unsigned  i;
    uint64_t  t;

    begin(SIZE);

    for (i = 1; i <= 21; i++) {
        (void) fetch(token_of(1), 7, START + i * SECOND, START);
    }

    is_int(past.hour, 21, "fetches of an hour are counted");

    (void) fetch(token_of(1), 7, START + HOUR, START);
    is_int(past.hour, 22, "until the hour is over");

    /* it begins with its first fetch, at START + 1 s */

    (void) fetch(token_of(1), 7, START + HOUR + SECOND, START);
    is_int(past.hour, 1, "the next hour begins");
    is_int(past.seen, 23, "while the count of all goes on");

    t = START + 3 * HOUR + 1234;

    (void) fetch(token_of(1), 7, t, START);
    is_int(past.hour, 1, "an hour begins when the token is fetched");
    (void) fetch(token_of(1), 7, t + HOUR - 2 * SECOND, START);
    is_int(past.hour, 2, "and lasts one from then");

    begin(SIZE);

    for (i = 0; i < MAILPING_HOUR_MAX; i++) {
        (void) fetch(token_of(1), 7, START, START);
    }

    is_int(past.hour, MAILPING_HOUR_MAX, "it is counted up to a bound");

    for (i = 0; i < 1000; i++) {
        (void) fetch(token_of(1), 7, START, START);
    }

    is_int(past.hour, MAILPING_HOUR_MAX, "and stays there");
    is_int(past.seen, MAILPING_HOUR_MAX + 1000, "other than the whole");

    (void) fetch(token_of(1), 7, START + HOUR, START);
    is_int(past.hour, 1, "until the next hour");

    (void) fetch(token_of(1), 7, START + HOUR - 1, START);
    is_int(past.hour, 2, "also for a worker whose clock is behind");
}


static void
test_burst(void)
{
    unsigned  i;

    begin(SIZE);

    /* ten of 128 bits are counted as ten, then the estimate begins to grow */

    for (i = 1; i <= 10; i++) {
        (void) fetch(token_of(i), 7, START + i, START);

        if (past.burst != i) {
            break;
        }
    }

    is_int(i, 11, "different tokens of a network are counted");

    (void) fetch(token_of(10), 7, START + 30, START);
    is_int(past.burst, 10, "the same token is not");

    (void) fetch(token_of(9), 8, START + 30, START);
    is_int(past.burst, 1, "another network's are its own");

    /* four periods of 2.5 s: what is counted is 7.5 to 10 s old at most */

    (void) fetch(token_of(9), 7, START + 9999, START);
    is_int(past.burst, 10, "within ten seconds they add up");

    (void) fetch(token_of(22), 7, START + 10000, START);
    is_int(past.burst, 2, "those of ten seconds ago do not count");

    (void) fetch(token_of(23), 7, START + HOUR, START);
    is_int(past.burst, 1, "nor those of an hour ago");

    /* a worker's clock is a little behind another one's */

    begin(SIZE);

    (void) fetch(token_of(1), 7, START + 2500, START);
    (void) fetch(token_of(2), 7, START + 2499, START);
    is_int(past.burst, 2, "a fetch of a moment ago counts");
    (void) fetch(token_of(3), 7, START + 2500, START);
    is_int(past.burst, 3, "and clears nothing");
}


/* linear counting: within a tenth or two, and at least growing, to a hundred */

static void
test_burst_estimate(void)
{
    double    sum;
    unsigned  n, trial, i;

    static const unsigned  numbers[] = { 5, 10, 30, 60, 100 };

    for (n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
        sum = 0;
        begin(SIZE);

        for (trial = 0; trial < 50; trial++) {

            for (i = 0; i < numbers[n]; i++) {
                (void) fetch(mix(trial * 1000 + i + 1), 1000 + trial, START,
                             START);
            }

            sum += past.burst;
        }

        sum /= 50;

        ok(sum > 0.9 * numbers[n] && sum < 1.1 * numbers[n],
           "a burst of %u is about that: %.1f", numbers[n], sum);
    }

    for (i = 0; i < 100000; i++) {
        (void) fetch(mix(i + 1), 7, START, START);
    }

    ok(past.burst > 300 && past.burst < 1000, "a bound above: %u",
       past.burst);
}


static void
test_farm(void)
{
    uint64_t  t;

    /* networks are known by their highest bits */

#define NET(n)  ((uint64_t) (n) << 58 | 1)

    begin(SIZE);

    (void) fetch(token_of(1), NET(1), START, START);
    is_int(past.farm, 1, "one network");
    (void) fetch(token_of(1), NET(1), START + 1, START);
    is_int(past.farm, 1, "is one when it comes again");
    (void) fetch(token_of(1), NET(2), START + 2, START);
    is_int(past.farm, 2, "two networks");
    (void) fetch(token_of(2), NET(3), START + 2, START);
    is_int(past.farm, 1, "another token's network is not one of them");
    (void) fetch(token_of(1), NET(3), START + 3, START);
    is_int(past.farm, 3, "three");
    (void) fetch(token_of(1), NET(4), START + 4, START);
    is_int(past.farm, 3, "a fourth is not told");
    (void) fetch(token_of(1), NET(1), START + 4, START);
    is_int(past.farm, 3, "and all know of three");

    /* ten seconds that begin with the first */

    begin(SIZE);

    (void) fetch(token_of(1), NET(1), START, START);
    (void) fetch(token_of(1), NET(2), START + 10 * SECOND, START);
    is_int(past.farm, 2, "ten seconds later");
    (void) fetch(token_of(1), NET(3), START + 11 * SECOND, START);
    is_int(past.farm, 1, "eleven seconds later another one begins");
    (void) fetch(token_of(1), NET(1), START + 12 * SECOND, START);
    is_int(past.farm, 2, "which knows of none before it");

    /* the seconds are kept in 16 bits, which run over within the farm */

    begin(SIZE);

    t = START + 65536ULL * SECOND - 5 * SECOND;

    (void) fetch(token_of(1), NET(1), t, START);
    (void) fetch(token_of(1), NET(2), t + 10 * SECOND, START);
    is_int(past.farm, 2, "across the wrap of its time");
    (void) fetch(token_of(1), NET(3), t + 11 * SECOND, START);
    is_int(past.farm, 1, "and not longer");

    (void) fetch(token_of(2), NET(1), START, START);
    (void) fetch(token_of(2), NET(2), START + 65536 * SECOND, START);
    is_int(past.farm, 1, "nor when the same second of it comes again");

    /* workers' clocks differ by what their event loops take */

    (void) fetch(token_of(3), NET(1), START, START);
    (void) fetch(token_of(3), NET(2), START - 1, START);
    is_int(past.farm, 2, "a worker whose clock is behind");
    (void) fetch(token_of(3), NET(3), START + 1, START);
    is_int(past.farm, 3, "and one that is ahead");

    /* second 0, network 0: words that could be empty */

    begin(SIZE);

    (void) fetch(token_of(1), NET(0), START, START);
    is_int(past.farm, 1, "time 0, network 0");
    (void) fetch(token_of(1), NET(0), START + SECOND, START);
    is_int(past.farm, 1, "which is one network");
    (void) fetch(token_of(1), NET(9), START + SECOND, START);
    is_int(past.farm, 2, "beside another one");

#undef NET
}


/* as many agents as networks, at the edges of a farm */

static void
test_agents(void)
{
    begin(SIZE);

    (void) fetch(token_of(1), 7, START, START);
    is_int(past.agents, 1, "one agent, whose hash is 0");
    (void) fetch(token_of(1), 8, START, START);
    is_int(past.agents, 1, "from another network, too");

    agent = 1ULL << 60;
    (void) fetch(token_of(2), 7, START, START);
    is_int(past.agents, 1, "another token's");
    (void) fetch(token_of(1), 0, START + 10 * SECOND, START);
    is_int(past.agents, 2, "two, also without a network");

    agent = 2ULL << 60;
    (void) fetch(token_of(1), 7, START + 10 * SECOND, START);
    is_int(past.agents, 3, "three");

    agent = 3ULL << 60;
    (void) fetch(token_of(1), 7, START + 10 * SECOND, START);
    is_int(past.agents, 3, "are all that is told");
    (void) fetch(token_of(1), 7, START + 11 * SECOND, START);
    is_int(past.agents, 1, "later another ten seconds begin");

    agent = 0;
}


static void
test_scanned(void)
{
    begin(SIZE);

    (void) fetch(token_of(1), 7, START, START);
    is_int(past.scanned, 0, "no scanner was there");

    scanner(token_of(1), START);

    (void) fetch(token_of(1), 7, START + MINUTE, START);
    is_int(past.scanned, 1, "a minute after a scanner");
    (void) fetch(token_of(1), 7, START + MINUTE + 1, START);
    is_int(past.scanned, 0, "more than a minute after it");

    scanner(token_of(1), START + HOUR);

    (void) fetch(token_of(1), 7, START + HOUR - MINUTE, START);
    is_int(past.scanned, 1, "a worker whose clock is behind");
    (void) fetch(token_of(1), 7, START + HOUR - MINUTE - 1, START);
    is_int(past.scanned, 0, "but not far behind");

    (void) fetch(token_of(2), 7, START + HOUR, START);
    is_int(past.scanned, 0, "another token");

    /* a token that is not known, and leaves no trace */

    scanner(token_of(3), START + HOUR);
    scanner(0, START + HOUR);
    (void) fetch(token_of(3), 7, START + HOUR, START);
    is_int(past.scanned, 0, "a scanner of a token that is not known");

    /* what takes the slot of a forgotten token knows nothing of its scanner */

    begin(8192);

    for (unsigned i = 0; i < 1000; i++) {
        (void) fetch(mix(i + 1), 7ULL << 58, START + i, START);

        agent = 1ULL << 60;

        if (past.scanned || past.hour != 1 || past.farm != 1
            || past.agents != 1)
        {
            break;
        }

        (void) fetch(mix(i + 1), 8ULL << 58, START + i, START);
        scanner(mix(i + 1), START + i);
        agent = 0;

        if (i == 999) {
            ok(1, "a slot is taken over empty");
            return;
        }
    }

    ok(0, "a slot is taken over empty");
}


static void
test_quick(void)
{
    uint64_t  t;
    unsigned  i;

    begin(SIZE);

    /* an hour of watching, and eight tokens */

    for (i = 1; i <= 7; i++) {
        (void) fetch(token_of(i), 7, START + i, START);
    }

    t = START + HOUR + SECOND;

    (void) fetch(token_of(7), 7, t, START);
    is_int(past.quick, -1, "seven tokens are too few");

    (void) fetch(token_of(8), 7, t, t - 10 * MINUTE + 1);
    is_int(past.quick, 100, "eight tokens, one of them just in time");

    (void) fetch(token_of(9), 7, t, t - 10 * MINUTE);
    is_int(past.quick, 88, "ten minutes are not soon: eight of nine");

    for (i = 0; i < 100; i++) {
        (void) fetch(token_of(9), 7, t, t - 10 * MINUTE);
    }

    is_int(past.quick, 88, "later fetches of a token do not count");

    (void) fetch(token_of(10), 7, t, 0);
    is_int(past.quick, 88, "nor those of an unknown age");

    (void) fetch(token_of(11), 7, t, t + 1);
    is_int(past.quick, 88, "nor mails of the future");

    /* another network's second fetch is none of its first */

    (void) fetch(token_of(12), 8, t, t);
    (void) fetch(token_of(12), 7, t, t);
    is_int(past.quick, 88, "nor what another network fetched first");

    begin(SIZE);

    for (i = 1; i <= 20; i++) {
        (void) fetch(token_of(i), 7, START, START);
    }

    (void) fetch(token_of(1), 7, START + HOUR - SECOND, START);
    is_int(past.quick, -1, "less than an hour is too short");
    (void) fetch(token_of(1), 7, START + HOUR, START);
    is_int(past.quick, 100, "an hour is not");

    /* the hour begins with what is counted first */

    begin(SIZE);

    (void) fetch(token_of(30), 7, START, 0);

    for (i = 1; i <= 8; i++) {
        (void) fetch(token_of(i), 7, START + HOUR, START + HOUR);
    }

    is_int(past.quick, -1, "fetches of an unknown age begin no hour");
}


/* where readers are as quick, quick networks are not told from theirs */

static void
test_readers(void)
{
    uint64_t  t;
    unsigned  i;

    begin(SIZE);

    for (i = 1; i <= 8; i++) {
        (void) fetch(token_of(i), 7, START + i, START);
    }

    t = START + HOUR + SECOND;

    for (i = 0; i < 19; i++) {
        reader(START + i, START);
    }

    reader(START, 0);
    reader(START, START + 1);

    (void) fetch(token_of(8), 7, t, START);
    is_int(past.quick, 100, "nineteen readers say nothing");

    reader(START, START);

    (void) fetch(token_of(8), 7, t, START);
    is_int(past.quick, -1, "twenty quick readers");

    for (i = 0; i < 30; i++) {
        reader(t, t - 10 * MINUTE);
    }

    (void) fetch(token_of(8), 7, t, START);
    is_int(past.quick, -1, "forty percent of fifty");

    reader(t, t - 10 * MINUTE);

    (void) fetch(token_of(8), 7, t, START);
    is_int(past.quick, 100, "less than forty percent");

    /* the older half fades: habits of senders change */

    for (i = 0; i < 20000; i++) {
        reader(START, START);
    }

    (void) fetch(token_of(8), 7, t, START);
    is_int(past.quick, -1, "all of a newer time");
}


static void
test_quick_fades(void)
{
    uint64_t  t;
    unsigned  i;

    begin(SIZE);

    for (i = 0; i < 255; i++) {
        (void) fetch(mix(i + 1), 7, START, START);
    }

    t = START + HOUR;

    /* then the network's people read old mail only: 127 of 127 + 128 */

    for (i = 0; i < 128; i++) {
        (void) fetch(mix(i + 1000), 7, t, START);
    }

    is_int(past.quick, 49, "the older half fades");

    for (i = 0; i < 1000; i++) {
        (void) fetch(mix(i + 2000), 7, t, START);
    }

    is_int(past.quick, 0, "until nothing of it is left");

    for (i = 0; i < 1000; i++) {
        (void) fetch(mix(i + 4000), 7, t, t);
    }

    ok(past.quick >= 98, "and the other way around: %d", past.quick);
}


static void
test_networks_forgotten(void)
{
    unsigned  i;

    begin(8192);

    for (i = 0; i < 8; i++) {
        (void) fetch(token_of(i), mix(1), START, START);
    }

    is_int(past.burst, 8, "a network is known");
    (void) fetch(token_of(0), mix(1), START + HOUR, START);
    is_int(past.quick, 100, "and its habit");

    /* many networks, a while later */

    for (i = 0; i < 1000; i++) {
        (void) fetch(token_of(i), mix(i + 2), START + HOUR + MINUTE + i * 100,
                     START);

        if (past.quick != -1) {
            break;
        }
    }

    is_int(i, 1000, "a slot that is taken over has no habit");

    (void) fetch(token_of(0), mix(1), START + 2 * HOUR, START);
    is_int(past.quick, -1, "the first one is forgotten");
    is_int(past.burst, 1, "with its burst");

    /* the network that is there all the time stays */

    begin(8192);

    for (i = 0; i < 8; i++) {
        (void) fetch(token_of(i), mix(1), START, START);
    }

    for (i = 0; i < 1000; i++) {
        (void) fetch(token_of(i), mix(i + 2), START + i * 5 * SECOND, START);
        (void) fetch(token_of(i), mix(1), START + i * 5 * SECOND, START);
    }

    is_int(past.quick, 100, "what is used is not forgotten");
}


/* No clock that jumps crashes, counts too much or makes anything certain. */

static void
test_clock(void)
{
    unsigned  i;

    begin(SIZE);

    for (i = 1; i <= 10; i++) {
        (void) fetch(token_of(i), 7, START + 10 * HOUR, START);
    }

    is_int(past.burst, 10, "before the clock is set back");
    (void) fetch(token_of(1), 7, START + HOUR, START);
    is_int(past.burst, 1, "a burst of the future does not count");
    is_int(past.hour, 1, "nor does its hour");
    is_int(past.seen, 2, "but the fetch does");

    (void) fetch(token_of(1), 1ULL << 60, START + HOUR, START);
    is_int(past.farm, 2, "a farm goes on from there");

    (void) fetch(token_of(1), 7, START + 10 * HOUR, START);
    is_int(past.hour, 1, "forward again: a new hour");
    is_int(past.farm, 1, "a new farm");

    /* what is forgotten was used in the future: nothing before it is certain */

    begin(8192);

    for (i = 0; i < 1000; i++) {
        (void) fetch(mix(i + 1), 7, START + 10 * HOUR, START);
    }

    for (i = 0; i < 1000; i++) {
        (void) fetch(mix(i + 5000), 7, START + HOUR, START + HOUR);

        if (past.sure || past.seen != 1) {
            break;
        }
    }

    is_int(i, 1000, "no first fetch is certain then");

    (void) fetch(mix(9999), 7, START + 11 * HOUR, START + 11 * HOUR);
    ok(past.sure, "until the clock is where it was");

    /* an hour of watching begins again */

    begin(SIZE);

    for (i = 0; i < 20; i++) {
        (void) fetch(mix(i + 1), 7, START + 300 * HOUR, START + 300 * HOUR);
    }

    for (i = 0; i < 20; i++) {
        (void) fetch(mix(i + 1000), 7, START + i * 10 * MINUTE,
                     START + i * 10 * MINUTE);
    }

    is_int(past.quick, 100, "a habit is known after an hour again");

    /* and the ends of time */

    begin(SIZE);

    (void) fetch(token_of(1), 7, 0, 0);
    (void) fetch(token_of(1), 7, UINT64_MAX / 2, UINT64_MAX);
    (void) fetch(token_of(1), 7, 1, UINT64_MAX / 2);
    is_int(past.seen, 3, "the ends of time");
}
