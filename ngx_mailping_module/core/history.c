
/*
 * Copyright (C) MailPing
 */


#include <math.h>

#include "history.h"


/*
 * Tokens: eight slots a bucket; the one that was used longest ago is replaced,
 * and the bucket remembers how recent that was: a token sent after it cannot
 * have been forgotten.
 *
 * Networks: different tokens in about ten seconds, as four bitmaps of 2.5
 * seconds each, counted by linear counting (K.-Y. Whang et al., 1990), which
 * is exact enough below a hundred; and how soon after sending they fetch.
 */

#define MAILPING_WAYS        8
#define MAILPING_PERIODS     4
#define MAILPING_PERIOD      (MAILPING_BURST_WINDOW / MAILPING_PERIODS)
#define MAILPING_BITS        128

#define MAILPING_SEEN_BITS   24
#define MAILPING_SEEN_MAX    ((1 << MAILPING_SEEN_BITS) - 1)

#define MAILPING_HOUR        3600          /* s */
#define MAILPING_FARM_BITS   13            /* of a print */
#define MAILPING_FARM_START  25            /* a year of seconds */
#define MAILPING_FARM_SECONDS  ((1 << MAILPING_FARM_START) - 1)
#define MAILPING_FARM_PRINT    ((1 << MAILPING_FARM_BITS) - 1)
#define MAILPING_SKEW        2             /* s, of two workers' clocks */
#define MAILPING_HABIT_MAX   255           /* tokens counted at full weight */
#define MAILPING_READERS_MIN 20
#define MAILPING_READERS_MAX 10000

#define mailping_get(p)       __atomic_load_n(p, __ATOMIC_RELAXED)
#define mailping_set(p, v)    __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define mailping_swap(p, old, new)                                            \
    __atomic_compare_exchange_n(p, old, new, 0, __ATOMIC_ACQ_REL,             \
                                __ATOMIC_RELAXED)


typedef struct {
    uint64_t             word;     /* fingerprint (40 bits) | seen (24) */
    uint64_t             last;     /* Unix ms */
    uint64_t             hour;     /* start, Unix s (32) | fetches (32) */
    uint64_t             farm;     /* networks (3 x 13) | start, Unix s (25) */
    uint64_t             agents;   /* agents likewise */
    uint64_t             scanned;  /* Unix ms of a scanner's last fetch */
} mailping_token_slot_t;


typedef struct {
    mailping_token_slot_t  way[MAILPING_WAYS];
    uint64_t               forgotten;  /* latest "last" of a replaced one */
} mailping_bucket_t;


typedef struct {
    uint64_t             word;     /* fingerprint (32) | period (32) */
    uint64_t             habit;    /* since, Unix s (32) | quick (16) | all */
    uint64_t             bits[MAILPING_PERIODS][MAILPING_BITS / 64];
} mailping_network_slot_t;


struct mailping_history_s {
    uint64_t                  since;       /* Unix ms */
    uint64_t                  readers;     /* quick (32) | all (32) */
    size_t                    nbuckets;
    size_t                    nnetworks;
    mailping_bucket_t        *buckets;
    mailping_network_slot_t  *networks;
};


static unsigned mailping_history_readers_quick(mailping_history_t *history);
static mailping_token_slot_t *mailping_history_token(
    mailping_history_t *history, const mailping_fetch_t *fetch,
    mailping_past_t *past);
static void mailping_history_forget(mailping_bucket_t *b, uint64_t last);
static uint32_t mailping_history_hour(mailping_token_slot_t *slot,
    uint64_t now);
static uint32_t mailping_history_farm(uint64_t *farm, uint64_t hash,
    uint64_t now);
static mailping_network_slot_t *mailping_history_network(
    mailping_history_t *history, uint64_t hash, uint64_t now);
static uint32_t mailping_history_burst(mailping_network_slot_t *slot,
    const mailping_fetch_t *fetch);
static int mailping_history_quick(mailping_network_slot_t *slot,
    const mailping_fetch_t *fetch, uint32_t seen);


mailping_history_t *
mailping_history_create(void *memory, size_t size, uint64_t now)
{
    size_t               rest;
    uint8_t             *p;
    mailping_history_t  *history;

    history = memory;
    p = (uint8_t *) memory + sizeof(mailping_history_t);

    if (size < sizeof(mailping_history_t)) {
        return NULL;
    }

    /* five sixths for tokens */

    rest = size - sizeof(mailping_history_t);

    history->nbuckets = rest / 6 * 5 / sizeof(mailping_bucket_t);
    history->nnetworks = rest / 6 / sizeof(mailping_network_slot_t);

    if (history->nbuckets == 0 || history->nnetworks < MAILPING_WAYS) {
        return NULL;
    }

    history->since = now;
    history->buckets = (mailping_bucket_t *) p;
    history->networks = (mailping_network_slot_t *)
                        (p + history->nbuckets * sizeof(mailping_bucket_t));

    return history;
}


void
mailping_history_fetch(mailping_history_t *history,
    const mailping_fetch_t *fetch, mailping_past_t *past)
{
    uint64_t                  scanned;
    mailping_token_slot_t    *token;
    mailping_network_slot_t  *network;

    memset(past, 0, sizeof(mailping_past_t));
    past->quick = -1;

    token = mailping_history_token(history, fetch, past);

    past->hour = mailping_history_hour(token, fetch->time / 1000);

    past->agents = mailping_history_farm(&token->agents, fetch->agent,
                                         fetch->time / 1000);

    scanned = mailping_get(&token->scanned);

    past->scanned = scanned != 0
                    && scanned <= fetch->time + MAILPING_SCANNED_WINDOW
                    && fetch->time <= scanned + MAILPING_SCANNED_WINDOW;

    if (fetch->network == 0) {
        return;
    }

    past->farm = mailping_history_farm(&token->farm, fetch->network,
                                       fetch->time / 1000);

    network = mailping_history_network(history, fetch->network, fetch->time);

    past->burst = mailping_history_burst(network, fetch);
    past->quick = mailping_history_quick(network, fetch, past->seen);

    if (mailping_history_readers_quick(history)) {
        past->quick = -1;
    }
}


void
mailping_history_scanner(mailping_history_t *history,
    const mailping_fetch_t *fetch)
{
    unsigned            i;
    uint64_t            print;
    mailping_bucket_t  *b;

    print = fetch->token >> MAILPING_SEEN_BITS;
    b = &history->buckets[fetch->token % history->nbuckets];

    for (i = 0; i < MAILPING_WAYS; i++) {

        if (mailping_get(&b->way[i].word) >> MAILPING_SEEN_BITS == print) {
            mailping_set(&b->way[i].scanned, fetch->time);
            return;
        }
    }
}


void
mailping_history_reader(mailping_history_t *history,
    const mailping_fetch_t *fetch)
{
    uint64_t  word, next, quick, all;

    if (fetch->sent == 0 || fetch->sent > fetch->time) {
        return;
    }

    word = mailping_get(&history->readers);

    do {
        quick = word >> 32;
        all = (uint32_t) word;

        if (all >= MAILPING_READERS_MAX) {
            quick /= 2;
            all /= 2;
        }

        quick += fetch->time - fetch->sent < MAILPING_QUICK_AGE;
        all++;

        next = quick << 32 | all;

    } while (!mailping_swap(&history->readers, &word, next));
}


static unsigned
mailping_history_readers_quick(mailping_history_t *history)
{
    uint64_t  word, quick, all;

    word = mailping_get(&history->readers);

    quick = word >> 32;
    all = (uint32_t) word;

    return all >= MAILPING_READERS_MIN
           && 100 * quick >= MAILPING_QUICK_READERS * all;
}


/* Finds or makes the token's slot; past gets "seen" and "sure". */

static mailping_token_slot_t *
mailping_history_token(mailping_history_t *history,
    const mailping_fetch_t *fetch, mailping_past_t *past)
{
    uint64_t                word, found, next, print, last, oldest;
    unsigned                i, tries, known;
    mailping_bucket_t      *b;
    mailping_token_slot_t  *way, *slot;

    print = fetch->token >> MAILPING_SEEN_BITS;
    b = &history->buckets[fetch->token % history->nbuckets];
    slot = NULL;

    /* each try that fails lost against another worker that went on */

    for (tries = 0; tries < 2 * MAILPING_WAYS; tries++) {

        slot = NULL;
        known = 0;
        found = 0;
        oldest = 0;

        for (i = 0; i < MAILPING_WAYS; i++) {
            way = &b->way[i];
            word = __atomic_load_n(&way->word, __ATOMIC_ACQUIRE);
            last = mailping_get(&way->last);

            if (word != 0 && word >> MAILPING_SEEN_BITS == print) {
                slot = way;
                known = 1;
                found = word;
                break;
            }

            if (word == 0) {
                last = 0;
            }

            if (slot == NULL || last < oldest) {
                slot = way;
                found = word;
                oldest = last;
            }
        }

        if (known) {
            next = found;

            if ((found & MAILPING_SEEN_MAX) < MAILPING_SEEN_MAX) {
                next++;
            }

            if (mailping_swap(&slot->word, &found, next)) {
                mailping_set(&slot->last, fetch->time);

                past->sure = 1;
                past->seen = next & MAILPING_SEEN_MAX;

                return slot;
            }

            continue;
        }

        /*
         * A worker that is killed between these steps makes the bucket less
         * sure than it could be, never surer.
         */

        if (found != 0) {
            mailping_history_forget(b, oldest);
        }

        mailping_set(&slot->last, fetch->time);

        next = print << MAILPING_SEEN_BITS | 1;

        if (mailping_swap(&slot->word, &found, next)) {
            mailping_set(&slot->hour, 0);
            mailping_set(&slot->farm, 0);
            mailping_set(&slot->agents, 0);
            mailping_set(&slot->scanned, 0);
            break;
        }
    }

    /*
     * A first fetch is certain when the mail is younger than this memory and
     * than whatever fell out of the bucket.  A time of sending that is still
     * to come says nothing of the mail's age.
     */

    past->sure = fetch->sent != 0 && fetch->sent <= fetch->time
                 && fetch->sent >= history->since
                 && fetch->sent > mailping_get(&b->forgotten);
    past->seen = 1;

    return slot;
}


static void
mailping_history_forget(mailping_bucket_t *b, uint64_t last)
{
    uint64_t  forgotten;

    forgotten = mailping_get(&b->forgotten);

    while (forgotten < last && !mailping_swap(&b->forgotten, &forgotten, last))
    {
        /* void */
    }
}


/* Which fetch of the token within an hour that begins with its first one. */

static uint32_t
mailping_history_hour(mailping_token_slot_t *slot, uint64_t now)
{
    uint64_t  word, next, start;

    word = mailping_get(&slot->hour);

    do {
        start = word >> 32;

        if (word == 0 || now >= start + MAILPING_HOUR
            || now + MAILPING_SKEW < start)
        {
            next = now << 32 | 1;

        } else if ((uint32_t) word < MAILPING_HOUR_MAX) {
            next = word + 1;

        } else {
            return MAILPING_HOUR_MAX;
        }

    } while (!mailping_swap(&slot->hour, &word, next));

    return (uint32_t) next;
}


/*
 * How many networks, or agents, fetched the token within ten seconds, which
 * begin with the first of them.  They are known by 13 bits, 0 is none.
 */

static uint32_t
mailping_history_farm(uint64_t *farm, uint64_t hash, uint64_t now)
{
    uint32_t  print, found, passed, shift, n;
    uint64_t  word, next;

    print = (uint32_t) (hash >> (64 - MAILPING_FARM_BITS)) | 1;
    now &= MAILPING_FARM_SECONDS;

    word = mailping_get(farm);

    do {
        passed = (uint32_t) (now - word) & MAILPING_FARM_SECONDS;
        next = word;

        /* a worker whose clock is a little behind belongs to the farm */

        if (word == 0
            || (passed > MAILPING_FARM_WINDOW / 1000
                && passed <= MAILPING_FARM_SECONDS - MAILPING_SKEW))
        {
            next = now;
        }

        for (n = 0; n < MAILPING_FARM_MAX; n++) {
            shift = MAILPING_FARM_START + n * MAILPING_FARM_BITS;
            found = (uint32_t) (next >> shift) & MAILPING_FARM_PRINT;

            if (found == 0) {
                next |= (uint64_t) print << shift;
                break;
            }

            if (found == print) {
                break;
            }
        }

    } while (next != word && !mailping_swap(farm, &word, next));

    n = MAILPING_FARM_MAX;

    while (next >> (MAILPING_FARM_START + (n - 1) * MAILPING_FARM_BITS) == 0) {
        n--;
    }

    return n;
}


static mailping_network_slot_t *
mailping_history_network(mailping_history_t *history, uint64_t hash,
    uint64_t now)
{
    int32_t                   passed;
    uint32_t                  print, age, oldest, period;
    uint64_t                  word, next;
    unsigned                  i, tries;
    mailping_network_slot_t  *way, *slot;

    period = (uint32_t) (now / MAILPING_PERIOD);
    print = (uint32_t) (hash >> 32) | 1;
    next = (uint64_t) print << 32 | period;
    slot = NULL;

    for (tries = 0; tries < 2 * MAILPING_WAYS; tries++) {

        oldest = 0;

        for (i = 0; i < MAILPING_WAYS; i++) {
            way = &history->networks[(hash + i) % history->nnetworks];
            word = __atomic_load_n(&way->word, __ATOMIC_ACQUIRE);

            if (word >> 32 == print) {
                slot = way;
                break;
            }

            age = period - (uint32_t) word;

            if (slot == NULL || age > oldest) {
                slot = way;
                oldest = age;
            }
        }

        word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE);

        if (word == next) {
            return slot;
        }

        passed = MAILPING_PERIODS;

        if (word >> 32 == print) {
            passed = (int32_t) (period - (uint32_t) word);

            if (passed < 0 && passed > -MAILPING_PERIODS) {
                /* another worker's clock is a little ahead */
                return slot;
            }

            if (passed < 0 || passed > MAILPING_PERIODS) {
                /* long ago, or the clock was set back */
                passed = MAILPING_PERIODS;
            }
        }

        if (!mailping_swap(&slot->word, &word, next)) {
            continue;
        }

        if (word >> 32 != print) {
            mailping_set(&slot->habit, 0);
        }

        /* the winner clears the periods that have passed meanwhile */

        for (i = 0; i < (unsigned) passed; i++) {
            memset(slot->bits[(period - i) % MAILPING_PERIODS], 0,
                   sizeof(slot->bits[0]));
        }

        break;
    }

    return slot;
}


static uint32_t
mailping_history_burst(mailping_network_slot_t *slot,
    const mailping_fetch_t *fetch)
{
    double    m;
    uint64_t  set, bit, period;
    unsigned  i, j, zero;

    period = fetch->time / MAILPING_PERIOD;
    bit = fetch->token % MAILPING_BITS;

    (void) __atomic_fetch_or(&slot->bits[period % MAILPING_PERIODS][bit / 64],
                             (uint64_t) 1 << bit % 64, __ATOMIC_RELAXED);

    zero = MAILPING_BITS;

    for (i = 0; i < MAILPING_BITS / 64; i++) {
        set = 0;

        for (j = 0; j < MAILPING_PERIODS; j++) {
            set |= mailping_get(&slot->bits[j][i]);
        }

        zero -= (unsigned) __builtin_popcountll(set);
    }

    if (zero == 0) {
        zero = 1;
    }

    m = MAILPING_BITS;

    return (uint32_t) (-m * log(zero / m) + 0.5);
}


/*
 * A network of people fetches most of its mail hours after sending, a
 * gateway's nearly all of it at once.  In the first minutes after a newsletter
 * the two look alike, hence an hour of watching.  Only the first fetch of a
 * token counts, as people look again, and the older half of the counts fades.
 */

static int
mailping_history_quick(mailping_network_slot_t *slot,
    const mailping_fetch_t *fetch, uint32_t seen)
{
    uint32_t  since, now, quick, all;
    uint64_t  word, next;

    now = (uint32_t) (fetch->time / 1000);
    word = mailping_get(&slot->habit);

    do {
        since = (uint32_t) (word >> 32);
        quick = (uint16_t) (word >> 16);
        all = (uint16_t) word;

        if (seen == 1 && fetch->sent != 0 && fetch->sent <= fetch->time) {

            /* or of a future that the clock was set back from */

            if (word == 0 || now + MAILPING_SKEW < since) {
                since = now;
            }

            if (all >= MAILPING_HABIT_MAX) {
                quick /= 2;
                all /= 2;
            }

            quick += fetch->time - fetch->sent < MAILPING_QUICK_AGE;
            all++;
        }

        next = (uint64_t) since << 32 | quick << 16 | all;

    } while (next != word && !mailping_swap(&slot->habit, &word, next));

    if (all < MAILPING_QUICK_TOKENS
        || now < since || now - since < MAILPING_QUICK_WATCH / 1000)
    {
        return -1;
    }

    return (int) (100 * quick / all);
}
