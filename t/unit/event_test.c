
/*
 * Copyright (C) MailPing
 */


/*
 * Events survive encoding, hostile payloads are refused, and XADD commands
 * equal those of hiredis, byte by byte.
 */


#include <hiredis/hiredis.h>

#include "core/event.h"

#include "str.h"
#include "tap.h"


#define ARGS  64


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


static int
event_equal(const mailping_event_t *a, const mailping_event_t *b)
{
    size_t                 i;
    const mailping_str_t  *s, *t;

    s = &a->id;
    t = &b->id;

    for (i = 0; i < 13; i++) {
        if (s[i].len != t[i].len
            || (s[i].len && memcmp(s[i].data, t[i].data, s[i].len) != 0))
        {
            return 0;
        }
    }

    return a->time == b->time && a->sent == b->sent && a->seen == b->seen
           && a->count == b->count && a->rules == b->rules
           && a->asn == b->asn && a->person == b->person
           && a->kind == b->kind && a->key == b->key && a->open == b->open
           && a->verdict == b->verdict && a->privacy == b->privacy;
}


static void
test_round_trip(void)
{
    size_t            len;
    uint8_t           payload[MAILPING_EVENT_PAYLOAD_MAX];
    mailping_str_t    s;
    mailping_loss_t   loss, lost;
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
}


static void
test_bounds(void)
{
    size_t            i;
    uint8_t           payload[MAILPING_EVENT_PAYLOAD_MAX];
    uint8_t           command[MAILPING_EVENT_XADD_MAX];
    mailping_str_t    s, *value, longest;
    mailping_event_t  event, decoded;

    static uint8_t  text[70000];

    memset(text, 'x', sizeof(text));
    event_fill(&event);

    value = &event.id;

    for (i = 0; i < 13; i++) {
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
    is_int(mailping_event_xadd(MAILPING_RECORD_LOSS + 1, 1, s, key, producer, 1,
                               command), MAILPING_ERROR, "not an entry");

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


/* every byte changed and every length: refused or decoded within bounds */

static void
test_hostile(void)
{
    int               rc, n, decoded;
    size_t            i, len;
    uint32_t          seed, j;
    uint8_t           payload[MAILPING_EVENT_PAYLOAD_MAX], *copy;
    uint8_t           command[MAILPING_EVENT_XADD_MAX];
    mailping_str_t    s;
    mailping_event_t  event;

    event_fill(&event);
    len = mailping_event_encode(&event, payload);

    n = 0;

    for (i = 0; i < len; i++) {
        copy = malloc(i + 1);
        memcpy(copy, payload, i);
        s.len = i;
        s.data = copy;
        n += mailping_event_decode(&event, 1, s) == MAILPING_ERROR;
        free(copy);
    }

    is_int(n, len, "each shorter payload is refused");

    payload[len] = 0;
    s.data = payload;
    s.len = len + 1;
    is_int(mailping_event_decode(&event, 1, s), MAILPING_ERROR,
           "a longer one, too");

    n = 0;
    decoded = 0;

    for (i = 0; i < len; i++) {
        for (j = 0; j < 256; j++) {
            copy = malloc(len);
            memcpy(copy, payload, len);
            copy[i] = (uint8_t) j;
            s.len = len;
            s.data = copy;
            rc = mailping_event_xadd(MAILPING_RECORD_EVENT, 1, s, key,
                                     producer, 1, command);
            n += rc == MAILPING_ERROR;
            decoded += rc > 0 && rc <= MAILPING_EVENT_XADD_MAX;
            free(copy);
        }
    }

    is_int(n + decoded, (int) len * 256, "each byte changed");
    ok(n > 0 && decoded > 0, "%d refused, %d decoded", n, decoded);

    n = 0;
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

        for (i = 32; i < 38 && i < len; i++) {
            copy[i] = 0;
        }

        for (i = 38; i < len; i++) {
            copy[i] %= 24;
        }

        s.len = len;
        s.data = copy;
        rc = mailping_event_decode(&event, 1, s);
        n += rc == MAILPING_OK || rc == MAILPING_ERROR;
        free(copy);
    }

    is_int(n, 100000, "random payloads");
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
    test_hostile();
    test_xadd();
    test_privacy();
    test_partition();

    return done();
}
