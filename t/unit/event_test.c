
/*
 * Copyright (C) MailPing
 */


/*
 * Events and amendments survive encoding, hostile payloads are refused, and
 * XADD commands equal those of hiredis, byte by byte.
 */


#include <hiredis/hiredis.h>

#include "core/event.h"
#include "core/spool.h"

#include "str.h"
#include "tap.h"


#define ARGS           64
#define EVENT_STRINGS  13
#define AMEND_STRINGS  6


typedef int (*decode_pt)(mailping_str_t payload);


/* what decoding is tried on: a good payload of each type with strings */

typedef struct {
    const char  *name;
    unsigned     type;
    decode_pt    decode;
    size_t       checked;              /* numbers that have bounds, from here */
    size_t       strings;              /* to here */
    size_t       len;
    uint8_t      payload[MAILPING_EVENT_PAYLOAD_MAX];
} sample_t;


static const mailping_str_t  key = mailping_string("mailping:opens");
static const mailping_str_t  producer =
                          mailping_string("0123456789abcdef0123456789abcdef.0");


static void
event_fill(mailping_event_t *e)
{
    memset(e, 0, sizeof(mailping_event_t));

    e->id = str("newsletter-7/4711");
    e->recipient = str("r-42");
    e->site = str("t.example.com");
    e->provider = str("gmail");
    e->reasons = str("gmail.display,network.google");
    e->facts = str("3f.c0");
    e->network = str("66.249.93.0/24");
    e->org = str("Google LLC");
    e->country = str("IT");
    e->region = str("Lombardia");
    e->city = str("Milano");
    e->client = str("gmail");
    e->agent = str("Mozilla/5.0 (via ggpht.com\r\nGoogleImageProxy)");
    e->time = 1700000123456;
    e->sent = 1700000000000;
    e->seen = 2;
    e->count = 1;
    e->rules = 0x00ab12cd;
    e->asn = 15169;
    e->person = 93;
    e->kind = MAILPING_KIND_TOP;
    e->key = 3;
    e->open = MAILPING_OPEN_YES;
    e->verdict = MAILPING_VERDICT_PROXIED;
    e->privacy = MAILPING_PRIVACY_FULL;
}


static void
amend_fill(mailping_amend_t *a)
{
    memset(a, 0, sizeof(mailping_amend_t));

    a->ref = str("89abcdef0123456789abcdef01234567.3/4711");
    a->id = str("newsletter-7/4711");
    a->recipient = str("r-42");
    a->site = str("t.example.com");
    a->provider = str("proofpoint");
    a->reasons = str("farm,network.hosting");
    a->time = 1700000123456;
    a->rules = 0x00ab12cd;
    a->person = 7;
    a->open = MAILPING_OPEN_NO;
    a->was = MAILPING_OPEN_YES;
    a->verdict = MAILPING_VERDICT_SCANNER;
}


static int
strings_equal(const mailping_str_t *s, const mailping_str_t *t, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (!mailping_str_equal(s[i], t[i])) {
            return 0;
        }
    }

    return 1;
}


static int
event_equal(const mailping_event_t *a, const mailping_event_t *b)
{
    return strings_equal(&a->id, &b->id, EVENT_STRINGS)
           && a->time == b->time && a->sent == b->sent && a->seen == b->seen
           && a->count == b->count && a->rules == b->rules
           && a->asn == b->asn && a->person == b->person
           && a->kind == b->kind && a->key == b->key && a->open == b->open
           && a->verdict == b->verdict && a->privacy == b->privacy;
}


static int
amend_equal(const mailping_amend_t *a, const mailping_amend_t *b)
{
    return strings_equal(&a->ref, &b->ref, AMEND_STRINGS)
           && a->time == b->time && a->rules == b->rules
           && a->person == b->person && a->open == b->open
           && a->was == b->was && a->verdict == b->verdict;
}


static int
decode_event(mailping_str_t payload)
{
    mailping_event_t  event;

    return mailping_event_decode(&event, 1, payload);
}


static int
decode_amend(mailping_str_t payload)
{
    mailping_amend_t  amend;

    return mailping_amend_decode(&amend, 1, payload);
}


static void
sample_event(sample_t *sample)
{
    mailping_event_t  event;

    event_fill(&event);

    sample->name = "open";
    sample->type = MAILPING_RECORD_EVENT;
    sample->decode = decode_event;
    sample->checked = 32;
    sample->strings = 38;
    sample->len = mailping_event_encode(&event, sample->payload);
}


static void
sample_amend(sample_t *sample)
{
    mailping_amend_t  amend;

    amend_fill(&amend);

    sample->name = "amend";
    sample->type = MAILPING_RECORD_AMEND;
    sample->decode = decode_amend;
    sample->checked = 12;
    sample->strings = 16;
    sample->len = mailping_amend_encode(&amend, sample->payload);
}


static void
test_round_trip(void)
{
    size_t            len;
    uint8_t           payload[MAILPING_EVENT_PAYLOAD_MAX];
    mailping_str_t    s;
    mailping_loss_t   loss, lost;
    mailping_amend_t  amend, amended;
    mailping_event_t  event, decoded;

    event_fill(&event);
    len = mailping_event_encode(&event, payload);
    s.len = len;
    s.data = payload;

    is_int(mailping_event_decode(&decoded, 1, s), MAILPING_OK, "decoded");
    ok(event_equal(&event, &decoded), "all values are as before");
    ok(len < 300, "a payload of %zu bytes", len);
    is_int(mailping_event_decode(&decoded, 2, s), MAILPING_ERROR,
           "another version");

    memset(&event, 0, sizeof(event));
    event.person = MAILPING_PERSON_NONE;
    event.key = MAILPING_TOKEN_NO_KEY;
    s.len = mailping_event_encode(&event, payload);
    is_int(mailping_event_decode(&decoded, 1, s), MAILPING_OK, "empty one");
    ok(event_equal(&event, &decoded), "stays empty");

    loss.time = 1700000000000;
    loss.count = UINT64_MAX;
    loss.first = 1;
    loss.last = 2;
    s.len = mailping_loss_encode(&loss, payload);
    is_int(mailping_loss_decode(&lost, 1, s), MAILPING_OK, "loss");
    ok(lost.time == loss.time && lost.count == loss.count
       && lost.first == 1 && lost.last == 2, "as before");
    is_int(mailping_loss_decode(&lost, 2, s), MAILPING_ERROR,
           "loss of another version");
    s.len--;
    is_int(mailping_loss_decode(&lost, 1, s), MAILPING_ERROR, "short loss");

    amend_fill(&amend);
    s.len = mailping_amend_encode(&amend, payload);
    is_int(mailping_amend_decode(&amended, 1, s), MAILPING_OK, "amendment");
    ok(amend_equal(&amend, &amended), "all its values are as before");
    is_int(mailping_amend_decode(&amended, 2, s), MAILPING_ERROR,
           "amendment of another version");

    memset(&amend, 0, sizeof(amend));
    amend.person = MAILPING_PERSON_NONE;
    s.len = mailping_amend_encode(&amend, payload);
    is_int(mailping_amend_decode(&amended, 1, s), MAILPING_OK,
           "empty amendment");
    ok(amend_equal(&amend, &amended), "stays empty");
}


static void
test_bounds(void)
{
    size_t            i;
    uint8_t           payload[MAILPING_EVENT_PAYLOAD_MAX];
    uint8_t           command[MAILPING_EVENT_XADD_MAX];
    mailping_str_t    s, *value, longest;
    mailping_amend_t  amend, amended;
    mailping_event_t  event, decoded;

    static uint8_t  text[70000];

    memset(text, 'x', sizeof(text));
    event_fill(&event);

    value = &event.id;

    for (i = 0; i < EVENT_STRINGS; i++) {
        value[i].len = sizeof(text);
        value[i].data = text;
    }

    s.len = mailping_event_encode(&event, payload);
    s.data = payload;
    ok(s.len <= MAILPING_EVENT_PAYLOAD_MAX, "the longest: %zu", s.len);

    is_int(mailping_event_decode(&decoded, 1, s), MAILPING_OK, "decoded");
    is_int(decoded.site.len, MAILPING_EVENT_SITE_MAX, "site is cut");
    is_int(decoded.agent.len, MAILPING_EVENT_AGENT_MAX, "agent is cut");
    is_int(decoded.id.len, MAILPING_TOKEN_ID_MAX, "id is cut");
    is_int(decoded.reasons.len, MAILPING_REASONS_MAX, "reasons are cut");

    longest.len = MAILPING_EVENT_KEY_MAX;
    longest.data = text;
    s.len = mailping_event_encode(&event, payload);
    ok(mailping_event_xadd(MAILPING_RECORD_EVENT, 1, s, longest, producer,
                           UINT64_MAX, command)
       <= MAILPING_EVENT_XADD_MAX, "the longest command fits");
    longest.len++;
    is_int(mailping_event_xadd(MAILPING_RECORD_EVENT, 1, s, longest, producer,
                               1, command), MAILPING_ERROR, "key too long");
    is_int(mailping_event_xadd(MAILPING_RECORD_EVENT, 1, s, key, longest,
                               1, command), MAILPING_ERROR,
           "producer too long");
    is_int(mailping_event_xadd(MAILPING_RECORD_AMEND + 1, 1, s, key, producer,
                               1, command), MAILPING_ERROR, "not an entry");

    amend_fill(&amend);
    value = &amend.ref;

    for (i = 0; i < AMEND_STRINGS; i++) {
        value[i].len = sizeof(text);
        value[i].data = text;
    }

    s.len = mailping_amend_encode(&amend, payload);
    ok(s.len <= MAILPING_EVENT_PAYLOAD_MAX, "the longest amendment: %zu",
       s.len);
    is_int(mailping_amend_decode(&amended, 1, s), MAILPING_OK, "decoded");
    is_int(amended.ref.len, MAILPING_EVENT_REF_MAX, "ref is cut");
    is_int(amended.id.len, MAILPING_TOKEN_ID_MAX, "id is cut");
    is_int(amended.recipient.len, MAILPING_TOKEN_RECIPIENT_MAX,
           "recipient is cut");
    is_int(amended.site.len, MAILPING_EVENT_SITE_MAX, "site is cut");
    is_int(amended.provider.len, MAILPING_EVENT_TEXT_MAX, "provider is cut");
    is_int(amended.reasons.len, MAILPING_REASONS_MAX, "reasons are cut");

    longest.len = MAILPING_EVENT_KEY_MAX;
    ok(mailping_event_xadd(MAILPING_RECORD_AMEND, 1, s, longest, producer,
                           UINT64_MAX, command)
       <= MAILPING_EVENT_XADD_MAX, "its command fits");

    /* no ref is cut: "<producer>/<seq>", 20 digits at most */

    ok(MAILPING_PRODUCER_TEXT_MAX - 1 + 1 + 20 <= MAILPING_EVENT_REF_MAX,
       "the longest event is a ref");

    /* "x" and then characters of two, three and four bytes over the bound */

    event_fill(&event);

    for (i = 2; i <= 4; i++) {
        size_t   n;
        uint8_t  org[200];

        static const char *const  character[] = {
            "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x93\xa7"
        };

        org[0] = 'x';

        for (n = 1; n + i < sizeof(org); n += i) {
            memcpy(org + n, character[i - 2], i);
        }

        event.org.data = org;
        event.org.len = n;

        s.len = mailping_event_encode(&event, payload);
        mailping_event_decode(&decoded, 1, s);

        is_int(decoded.org.len, 1 + (MAILPING_EVENT_TEXT_MAX - 1) / i * i,
               "cut between characters of %zu bytes", i);
    }

    memset(text, 0x80, sizeof(text));
    event.org.data = text;
    event.org.len = sizeof(text);
    s.len = mailping_event_encode(&event, payload);
    mailping_event_decode(&decoded, 1, s);
    is_int(decoded.org.len, MAILPING_EVENT_TEXT_MAX, "not UTF-8: just cut");
}


/* a number of one byte that has a bound */

typedef struct {
    unsigned  type;
    size_t    offset;
    unsigned  max;
    int       none;                    /* a good value above max, or -1 */
} number_t;


static void
test_numbers(const sample_t *sample)
{
    int              n, rc;
    size_t           i, checked;
    uint8_t          payload[MAILPING_EVENT_PAYLOAD_MAX];
    unsigned         value;
    mailping_str_t   s;
    const number_t  *number;

    static const number_t  table[] = {
        { MAILPING_RECORD_EVENT, 32, MAILPING_OPEN_YES, -1 },
        { MAILPING_RECORD_EVENT, 33, MAILPING_VERDICT_UNKNOWN, -1 },
        { MAILPING_RECORD_EVENT, 34, MAILPING_PRIVACY_OFF, -1 },
        { MAILPING_RECORD_EVENT, 35, MAILPING_KIND_TEST, -1 },
        { MAILPING_RECORD_EVENT, 36, 15, 255 },          /* key */
        { MAILPING_RECORD_EVENT, 37, 100, 255 },         /* person */
        { MAILPING_RECORD_AMEND, 12, MAILPING_OPEN_YES, -1 },
        { MAILPING_RECORD_AMEND, 13, MAILPING_VERDICT_UNKNOWN, -1 },
        { MAILPING_RECORD_AMEND, 14, 100, 255 },         /* person */
        { MAILPING_RECORD_AMEND, 15, MAILPING_OPEN_YES, -1 }     /* was */
    };

    checked = 0;
    s.len = sample->len;
    s.data = payload;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        number = &table[i];

        if (number->type != sample->type) {
            continue;
        }

        n = 0;
        checked++;

        for (value = 0; value < 256; value++) {
            memcpy(payload, sample->payload, sample->len);
            payload[number->offset] = (uint8_t) value;

            rc = value <= number->max || (int) value == number->none
                 ? MAILPING_OK : MAILPING_ERROR;
            n += sample->decode(s) == rc;
        }

        is_int(n, 256, "%s: byte %zu up to %u", sample->name,
               number->offset, number->max);
    }

    is_int(checked, sample->strings - sample->checked,
           "%s: every number with a bound", sample->name);
}


/*
 * Each string with a bound below what its length can say: as long as that,
 * and one byte longer.
 */

static void
test_strings(const sample_t *sample, const size_t *max, size_t n)
{
    size_t          i, k, len, size;
    uint8_t         payload[MAILPING_EVENT_PAYLOAD_MAX], *p;
    mailping_str_t  s;

    s.data = payload;

    for (i = 0; i < n; i++) {

        if (max[i] == UINT8_MAX) {
            continue;
        }

        for (len = max[i]; len <= max[i] + 1; len++) {
            memset(payload, 0, sizeof(payload));
            p = payload + sample->strings;

            for (k = 0; k < n; k++) {
                size = k == i ? len : 0;

                *p++ = (uint8_t) size;

                if (max[k] > UINT8_MAX) {
                    *p++ = (uint8_t) (size >> 8);
                }

                p += size;
            }

            s.len = (size_t) (p - payload);

            is_int(sample->decode(s),
                   len == max[i] ? MAILPING_OK : MAILPING_ERROR,
                   "%s: string %zu of %zu bytes", sample->name, i, len);
        }
    }
}


/* every byte changed and every length: refused or decoded within bounds */

static void
test_hostile(const sample_t *sample)
{
    int             rc, n, decoded;
    size_t          i, len;
    uint32_t        seed, j;
    uint8_t         payload[MAILPING_EVENT_PAYLOAD_MAX], *copy;
    uint8_t         command[MAILPING_EVENT_XADD_MAX];
    mailping_str_t  s;

    len = sample->len;
    memcpy(payload, sample->payload, len);

    n = 0;

    for (i = 0; i < len; i++) {
        copy = malloc(i + 1);
        memcpy(copy, payload, i);
        s.len = i;
        s.data = copy;
        n += sample->decode(s) == MAILPING_ERROR;
        free(copy);
    }

    is_int(n, len, "%s: each shorter payload is refused", sample->name);

    payload[len] = 0;
    s.data = payload;
    s.len = len + 1;
    is_int(sample->decode(s), MAILPING_ERROR, "%s: a longer one, too",
           sample->name);

    n = 0;
    decoded = 0;

    for (i = 0; i < len; i++) {
        for (j = 0; j < 256; j++) {
            copy = malloc(len);
            memcpy(copy, payload, len);
            copy[i] = (uint8_t) j;
            s.len = len;
            s.data = copy;
            rc = mailping_event_xadd(sample->type, 1, s, key, producer, 1,
                                     command);
            n += rc == MAILPING_ERROR;
            decoded += rc > 0 && rc <= MAILPING_EVENT_XADD_MAX;
            free(copy);
        }
    }

    is_int(n + decoded, (int) len * 256, "%s: each byte changed",
           sample->name);
    ok(n > 0 && decoded > 0, "%s: %d refused, %d decoded", sample->name, n,
       decoded);

    n = 0;
    decoded = 0;
    seed = 1;

    for (j = 0; j < 100000; j++) {
        seed = seed * 1664525 + 1013904223;
        len = (seed >> 8) % 512;
        copy = malloc(len + 1);

        for (i = 0; i < len; i++) {
            seed = seed * 1664525 + 1013904223;
            copy[i] = (uint8_t) (seed >> 24);
        }

        /* numbers that are in range let the strings be looked at */

        for (i = sample->checked; i < sample->strings && i < len; i++) {
            copy[i] = 0;
        }

        for (i = sample->strings; i < len; i++) {
            copy[i] %= 24;
        }

        s.len = len;
        s.data = copy;
        rc = sample->decode(s);
        n += rc == MAILPING_ERROR;
        decoded += rc == MAILPING_OK;
        free(copy);
    }

    ok(n > 0 && decoded > 0, "%s: %d random payloads refused, %d decoded",
       sample->name, n, decoded);
}


static void
test_decode(void)
{
    sample_t  event, amend;

    static const size_t  event_max[EVENT_STRINGS] = {
        64, 32, 255, 128, 256, 129, 64, 128, 128, 128, 128, 128, 512
    };

    static const size_t  amend_max[AMEND_STRINGS] = {
        64, 64, 32, 255, 128, 256
    };

    sample_event(&event);
    test_numbers(&event);
    test_strings(&event, event_max, EVENT_STRINGS);
    test_hostile(&event);

    sample_amend(&amend);
    test_numbers(&amend);
    test_strings(&amend, amend_max, AMEND_STRINGS);
    test_hostile(&amend);
}


static void
command_is(unsigned type, mailping_str_t payload, uint64_t seq,
    const char **args, int n, const char *name)
{
    int      i, len, expected;
    char    *formatted;
    size_t   lens[ARGS];
    uint8_t  command[MAILPING_EVENT_XADD_MAX];

    for (i = 0; i < n; i++) {
        lens[i] = strlen(args[i]);
    }

    expected = redisFormatCommandArgv(&formatted, n, args, lens);
    len = mailping_event_xadd(type, 1, payload, key, producer, seq, command);

    is_int(len, expected, "%s: length", name);
    ok(len == expected && memcmp(command, formatted, (size_t) len) == 0,
       "%s: equals hiredis' command", name);

    redisFreeCommand(formatted);
}


static void
test_xadd(void)
{
    uint8_t           payload[MAILPING_EVENT_PAYLOAD_MAX];
    mailping_str_t    s;
    mailping_loss_t   loss;
    mailping_amend_t  amend;
    mailping_event_t  event;

    const char  *full[] = {
        "XADD", "mailping:opens", "*",
        "type", "open",
        "event", "0123456789abcdef0123456789abcdef.0/1234567890",
        "id", "newsletter-7/4711",
        "recipient", "r-42",
        "site", "t.example.com",
        "kind", "top",
        "key", "3",
        "time", "1700000123456",
        "sent", "1700000000000",
        "seen", "2",
        "count", "1",
        "open", "yes",
        "person", "93",
        "verdict", "proxied",
        "provider", "gmail",
        "reasons", "gmail.display,network.google",
        "rules", "00ab12cd",
        "facts", "3f.c0",
        "network", "66.249.93.0/24",
        "asn", "15169",
        "org", "Google LLC",
        "country", "IT",
        "region", "Lombardia",
        "city", "Milano",
        "client", "gmail",
        "agent", "Mozilla/5.0 (via ggpht.com\r\nGoogleImageProxy)",
        "privacy", "full"
    };

    const char  *empty[] = {
        "XADD", "mailping:opens", "*",
        "type", "open",
        "event", "0123456789abcdef0123456789abcdef.0/18446744073709551615",
        "id", "x", "recipient", "", "site", "", "kind", "single", "key", "",
        "time", "0", "sent", "", "seen", "", "count", "1", "open", "maybe",
        "person", "", "verdict", "shielded", "provider", "", "reasons", "",
        "rules", "00000000", "facts", "", "network", "", "asn", "", "org", "",
        "country", "", "region", "", "city", "", "client", "", "agent", "",
        "privacy", "minimal"
    };

    const char  *lost[] = {
        "XADD", "mailping:opens", "*",
        "type", "loss",
        "event", "0123456789abcdef0123456789abcdef.0/7",
        "time", "1700000000009",
        "count", "12345",
        "first", "1700000000001",
        "last", "1700000000008"
    };

    const char  *amended[] = {
        "XADD", "mailping:opens", "*",
        "type", "amend",
        "event", "0123456789abcdef0123456789abcdef.0/8",
        "ref", "89abcdef0123456789abcdef01234567.3/4711",
        "id", "newsletter-7/4711",
        "recipient", "r-42",
        "site", "t.example.com",
        "time", "1700000123456",
        "was", "yes",
        "open", "no",
        "person", "7",
        "verdict", "scanner",
        "provider", "proofpoint",
        "reasons", "farm,network.hosting",
        "rules", "00ab12cd"
    };

    const char  *shielded[] = {
        "XADD", "mailping:opens", "*",
        "type", "amend",
        "event", "0123456789abcdef0123456789abcdef.0/18446744073709551615",
        "ref", "x", "id", "", "recipient", "", "site", "", "time", "0",
        "was", "no", "open", "maybe", "person", "", "verdict", "shielded",
        "provider", "", "reasons", "", "rules", "00000000"
    };

    event_fill(&event);
    s.data = payload;
    s.len = mailping_event_encode(&event, payload);
    command_is(MAILPING_RECORD_EVENT, s, 1234567890, full,
               sizeof(full) / sizeof(full[0]), "open");

    memset(&event, 0, sizeof(event));
    event.id = str("x");
    event.count = 1;
    event.person = MAILPING_PERSON_NONE;
    event.key = MAILPING_TOKEN_NO_KEY;
    event.open = MAILPING_OPEN_MAYBE;
    event.verdict = MAILPING_VERDICT_SHIELDED;
    event.privacy = MAILPING_PRIVACY_MINIMAL;
    s.len = mailping_event_encode(&event, payload);
    command_is(MAILPING_RECORD_EVENT, s, UINT64_MAX, empty,
               sizeof(empty) / sizeof(empty[0]), "open without values");

    loss.time = 1700000000009;
    loss.count = 12345;
    loss.first = 1700000000001;
    loss.last = 1700000000008;
    s.len = mailping_loss_encode(&loss, payload);
    command_is(MAILPING_RECORD_LOSS, s, 7, lost,
               sizeof(lost) / sizeof(lost[0]), "loss");

    amend_fill(&amend);
    s.len = mailping_amend_encode(&amend, payload);
    command_is(MAILPING_RECORD_AMEND, s, 8, amended,
               sizeof(amended) / sizeof(amended[0]), "amend");

    memset(&amend, 0, sizeof(amend));
    amend.ref = str("x");
    amend.person = MAILPING_PERSON_NONE;
    amend.open = MAILPING_OPEN_MAYBE;
    amend.verdict = MAILPING_VERDICT_SHIELDED;
    s.len = mailping_amend_encode(&amend, payload);
    command_is(MAILPING_RECORD_AMEND, s, UINT64_MAX, shielded,
               sizeof(shielded) / sizeof(shielded[0]),
               "amend without values");
}


typedef struct {
    unsigned  token;
    unsigned  location;
    unsigned  max;
    unsigned  mode;
} resolve_t;


static void
test_privacy(void)
{
    size_t            i;
    const resolve_t  *r;
    mailping_event_t  event;

    static const resolve_t  table[] = {
        { 0, 2, 2, 2 }, { 0, 4, 1, 4 }, { 0, 1, 3, 1 },
        { 2, 2, 2, 2 }, { 3, 2, 2, 3 }, { 6, 2, 2, 6 },
        { 1, 2, 1, 1 }, { 1, 2, 2, 2 }, { 1, 3, 2, 2 }, { 2, 3, 1, 2 },
        { 1, 2, 4, 2 },             /* max is stricter than the location */
        { 7, 2, 2, 6 }, { 15, 1, 1, 6 }
    };

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        r = &table[i];
        is_int(mailping_privacy_resolve(r->token, r->location, r->max),
               r->mode, "token %s in location %s max=%s",
               mailping_privacy_name(r->token),
               mailping_privacy_name(r->location),
               mailping_privacy_name(r->max));
    }

    for (i = 1; i < MAILPING_PRIVACY_N; i++) {
        is_int(mailping_privacy_parse(str(mailping_privacy_name(i))), i,
               "%s", mailping_privacy_name(i));
    }

    is_int(mailping_privacy_parse(str("location")), MAILPING_ERROR,
           "location is not a mode");
    is_int(mailping_privacy_parse(str("ful")), MAILPING_ERROR, "prefix");
    is_int(mailping_privacy_parse(str("")), MAILPING_ERROR, "empty");

    event_fill(&event);
    event.verdict = MAILPING_VERDICT_HUMAN;
    mailping_event_privacy(&event, 1);
    is_int(event.city.len, 6, "full: city of a person");
    is_int(event.agent.len, strlen("Mozilla/5.0 (via ggpht.com\r\n"
                                   "GoogleImageProxy)"), "full: agent");

    mailping_event_privacy(&event, 0);
    ok(event.country.len == 0 && event.region.len == 0 && event.city.len == 0,
       "no place from a relay or VPN");
    is_int(event.org.len, 10, "but its organization");

    event_fill(&event);
    mailping_event_privacy(&event, 1);
    ok(event.country.len == 0 && event.region.len == 0 && event.city.len == 0,
       "a proxy's place is not the reader's");

    event_fill(&event);
    event.verdict = MAILPING_VERDICT_HUMAN;
    event.privacy = MAILPING_PRIVACY_MASKED;
    mailping_event_privacy(&event, 1);
    ok(event.country.len == 2 && event.region.len == 9 && event.city.len == 0,
       "masked: country and region, no city");
    ok(event.network.len != 0 && event.agent.len != 0 && event.facts.len != 0
       && event.asn != 0 && event.time % 86400000 != 0, "masked: the rest");

    event_fill(&event);
    event.verdict = MAILPING_VERDICT_HUMAN;
    event.privacy = MAILPING_PRIVACY_MINIMAL;
    mailping_event_privacy(&event, 1);
    ok(event.facts.len == 0 && event.network.len == 0 && event.asn == 0
       && event.org.len == 0 && event.country.len == 0
       && event.region.len == 0 && event.city.len == 0
       && event.client.len == 0 && event.agent.len == 0,
       "minimal: facts and network to agent are empty");
    is_int(event.time, 1699920000000, "minimal: the day");
    ok(event.id.len != 0 && event.recipient.len != 0
       && event.reasons.len != 0 && event.person == 93,
       "minimal: the judgement stays");
}


static void
test_partition(void)
{
    /* CRC-32C of "123456789" is 0xe3069283 */

    is_int(mailping_event_partition(str("123456789"), 1), 0, "one partition");
    is_int(mailping_event_partition(str("123456789"), 1000),
           0xe3069283 % 1000, "a thousand");
}


int
main(void)
{
    test_round_trip();
    test_bounds();
    test_decode();
    test_xadd();
    test_privacy();
    test_partition();

    return done();
}
