
/*
 * Copyright (C) MailPing
 */


#include "crc32c.h"
#include "event.h"


/*
 * A payload of version 1, type event: the numbers below, then the strings in
 * the order of mailping_event_strings[], each after its length, of one byte
 * when its bound allows.  Type loss: time, count, first and last, 64 bits
 * each.  The spool's record says type and version.
 *
 *      0  time     64 bits      24  asn      32 bits     32  open
 *      8  sent     64 bits      28  count    32 bits     33  verdict
 *     16  seen     32 bits                               34  privacy
 *     20  rules    32 bits                               35  kind
 *                                                        36  key
 *                                                        37  person, 255 none
 */

#define MAILPING_EVENT_TIME      0
#define MAILPING_EVENT_SENT      8
#define MAILPING_EVENT_SEEN      16
#define MAILPING_EVENT_RULES     20
#define MAILPING_EVENT_ASN       24
#define MAILPING_EVENT_COUNT     28
#define MAILPING_EVENT_OPEN      32
#define MAILPING_EVENT_VERDICT   33
#define MAILPING_EVENT_PRIVACY   34
#define MAILPING_EVENT_KIND      35
#define MAILPING_EVENT_KEY       36
#define MAILPING_EVENT_PERSON    37
#define MAILPING_EVENT_STRINGS   38

#define MAILPING_LOSS_SIZE       32

#define MAILPING_NO_PERSON       255
#define MAILPING_DAY             (24 * 60 * 60 * 1000)

#define MAILPING_EVENT_NETWORK_MAX  64
#define MAILPING_NUMBER_MAX         20     /* digits of 2^64 - 1 */


#define mailping_literal(p, text)                                             \
    mailping_event_copy(p, (const uint8_t *) text, sizeof(text) - 1)

/* a byte of a UTF-8 character other than its first (RFC 3629, section 3) */

#define mailping_is_continuation(c)  (((c) & 0xc0) == 0x80)


typedef struct {
    size_t       offset;
    size_t       max;
} mailping_event_string_t;


static const uint8_t *mailping_event_string(const uint8_t *p,
    const uint8_t *last, size_t max, mailping_str_t *value);
static size_t mailping_event_cut(const mailping_str_t *s, size_t max);
static uint8_t *mailping_event_copy(uint8_t *p, const uint8_t *data,
    size_t len);
static uint8_t *mailping_event_digits(uint8_t *p, uint64_t n);
static uint8_t *mailping_event_text(uint8_t *p, mailping_str_t value);
static uint8_t *mailping_event_name(uint8_t *p, const char *value);
static uint8_t *mailping_event_number(uint8_t *p, uint64_t n);
static uint8_t *mailping_event_known(uint8_t *p, uint64_t n);
static uint8_t *mailping_event_head(uint8_t *p, const char *args,
    mailping_str_t key);
static uint8_t *mailping_event_source(uint8_t *p, mailping_str_t producer,
    uint64_t seq);
static uint8_t *mailping_event_write(uint8_t *p, const mailping_event_t *e,
    mailping_str_t key, mailping_str_t producer, uint64_t seq);
static uint8_t *mailping_loss_write(uint8_t *p, const mailping_loss_t *l,
    mailping_str_t key, mailping_str_t producer, uint64_t seq);


static const mailping_event_string_t  mailping_event_strings[] = {
    { offsetof(mailping_event_t, id), MAILPING_TOKEN_ID_MAX },
    { offsetof(mailping_event_t, recipient), MAILPING_TOKEN_RECIPIENT_MAX },
    { offsetof(mailping_event_t, site), MAILPING_EVENT_SITE_MAX },
    { offsetof(mailping_event_t, provider), MAILPING_EVENT_TEXT_MAX },
    { offsetof(mailping_event_t, reasons), MAILPING_REASONS_MAX },
    { offsetof(mailping_event_t, facts), MAILPING_FACTS_TEXT_MAX },
    { offsetof(mailping_event_t, network), MAILPING_EVENT_NETWORK_MAX },
    { offsetof(mailping_event_t, org), MAILPING_EVENT_TEXT_MAX },
    { offsetof(mailping_event_t, country), MAILPING_EVENT_TEXT_MAX },
    { offsetof(mailping_event_t, region), MAILPING_EVENT_TEXT_MAX },
    { offsetof(mailping_event_t, city), MAILPING_EVENT_TEXT_MAX },
    { offsetof(mailping_event_t, client), MAILPING_EVENT_TEXT_MAX },
    { offsetof(mailping_event_t, agent), MAILPING_EVENT_AGENT_MAX }
};

#define MAILPING_EVENT_STRINGS_N                                              \
    (sizeof(mailping_event_strings) / sizeof(mailping_event_strings[0]))


static const char *const  mailping_privacy_names[] = {
    "location", "full", "masked", "minimal", "day", "count", "off"
};


unsigned
mailping_privacy_resolve(unsigned token, unsigned location, unsigned max)
{
    unsigned  mode;

    if (token == MAILPING_PRIVACY_LOCATION) {
        return location;
    }

    if (token >= MAILPING_PRIVACY_N) {
        return MAILPING_PRIVACY_OFF;
    }

    if (token >= location) {
        return token;
    }

    mode = token > max ? token : max;

    return mode < location ? mode : location;
}


const char *
mailping_privacy_name(unsigned mode)
{
    if (mode >= MAILPING_PRIVACY_N) {
        mode = MAILPING_PRIVACY_OFF;
    }

    return mailping_privacy_names[mode];
}


int
mailping_privacy_parse(mailping_str_t name)
{
    unsigned  i;

    for (i = MAILPING_PRIVACY_FULL; i < MAILPING_PRIVACY_N; i++) {
        if (strlen(mailping_privacy_names[i]) == name.len
            && memcmp(mailping_privacy_names[i], name.data, name.len) == 0)
        {
            return (int) i;
        }
    }

    return MAILPING_ERROR;
}


void
mailping_event_privacy(mailping_event_t *e, int place)
{
    static const mailping_str_t  empty = mailping_null_string;

    if (e->verdict != MAILPING_VERDICT_HUMAN || !place) {
        e->country = empty;
        e->region = empty;
        e->city = empty;
    }

    if (e->privacy != MAILPING_PRIVACY_FULL) {
        e->city = empty;
    }

    if (e->privacy < MAILPING_PRIVACY_MINIMAL) {
        return;
    }

    e->time -= e->time % MAILPING_DAY;
    e->facts = empty;
    e->network = empty;
    e->asn = 0;
    e->org = empty;
    e->country = empty;
    e->region = empty;
    e->client = empty;
    e->agent = empty;
}


size_t
mailping_event_encode(const mailping_event_t *e, uint8_t *dst)
{
    size_t                          i, len;
    uint8_t                        *p;
    const mailping_str_t           *s;
    const mailping_event_string_t  *es;

    mailping_put64(dst + MAILPING_EVENT_TIME, e->time);
    mailping_put64(dst + MAILPING_EVENT_SENT, e->sent);
    mailping_put32(dst + MAILPING_EVENT_SEEN, e->seen);
    mailping_put32(dst + MAILPING_EVENT_RULES, e->rules);
    mailping_put32(dst + MAILPING_EVENT_ASN, e->asn);
    mailping_put32(dst + MAILPING_EVENT_COUNT, e->count);

    dst[MAILPING_EVENT_OPEN] = e->open;
    dst[MAILPING_EVENT_VERDICT] = e->verdict;
    dst[MAILPING_EVENT_PRIVACY] = e->privacy;
    dst[MAILPING_EVENT_KIND] = e->kind;
    dst[MAILPING_EVENT_KEY] = e->key;
    dst[MAILPING_EVENT_PERSON] = e->person == MAILPING_PERSON_NONE
                                 ? MAILPING_NO_PERSON : (uint8_t) e->person;

    p = dst + MAILPING_EVENT_STRINGS;

    for (i = 0; i < MAILPING_EVENT_STRINGS_N; i++) {
        es = &mailping_event_strings[i];
        s = (const mailping_str_t *) ((const char *) e + es->offset);
        len = mailping_event_cut(s, es->max);

        if (es->max > UINT8_MAX) {
            mailping_put16(p, (uint16_t) len);
            p += 2;

        } else {
            *p++ = (uint8_t) len;
        }

        p = mailping_event_copy(p, s->data, len);
    }

    return p - dst;
}


size_t
mailping_loss_encode(const mailping_loss_t *l, uint8_t *dst)
{
    mailping_put64(dst, l->time);
    mailping_put64(dst + 8, l->count);
    mailping_put64(dst + 16, l->first);
    mailping_put64(dst + 24, l->last);

    return MAILPING_LOSS_SIZE;
}


int
mailping_event_decode(mailping_event_t *e, unsigned version,
    mailping_str_t payload)
{
    size_t                          i;
    const uint8_t                  *p, *last;
    const mailping_event_string_t  *es;

    if (version != MAILPING_EVENT_VERSION
        || payload.len < MAILPING_EVENT_STRINGS)
    {
        return MAILPING_ERROR;
    }

    p = payload.data;
    last = p + payload.len;

    e->time = mailping_get64(p + MAILPING_EVENT_TIME);
    e->sent = mailping_get64(p + MAILPING_EVENT_SENT);
    e->seen = mailping_get32(p + MAILPING_EVENT_SEEN);
    e->rules = mailping_get32(p + MAILPING_EVENT_RULES);
    e->asn = mailping_get32(p + MAILPING_EVENT_ASN);
    e->count = mailping_get32(p + MAILPING_EVENT_COUNT);
    e->open = p[MAILPING_EVENT_OPEN];
    e->verdict = p[MAILPING_EVENT_VERDICT];
    e->privacy = p[MAILPING_EVENT_PRIVACY];
    e->kind = p[MAILPING_EVENT_KIND];
    e->key = p[MAILPING_EVENT_KEY];
    e->person = p[MAILPING_EVENT_PERSON];

    if (e->open >= MAILPING_OPENS
        || e->verdict >= MAILPING_VERDICTS
        || e->privacy >= MAILPING_PRIVACY_N
        || e->kind >= MAILPING_KIND_N
        || (e->key >= MAILPING_TOKEN_KEYS && e->key != MAILPING_TOKEN_NO_KEY)
        || (e->person > 100 && e->person != MAILPING_NO_PERSON))
    {
        return MAILPING_ERROR;
    }

    if (e->person == MAILPING_NO_PERSON) {
        e->person = MAILPING_PERSON_NONE;
    }

    p += MAILPING_EVENT_STRINGS;

    for (i = 0; i < MAILPING_EVENT_STRINGS_N; i++) {
        es = &mailping_event_strings[i];

        p = mailping_event_string(p, last, es->max,
                            (mailping_str_t *) ((char *) e + es->offset));
        if (p == NULL) {
            return MAILPING_ERROR;
        }
    }

    return p == last ? MAILPING_OK : MAILPING_ERROR;
}


static const uint8_t *
mailping_event_string(const uint8_t *p, const uint8_t *last, size_t max,
    mailping_str_t *value)
{
    size_t  n;

    n = max > UINT8_MAX ? 2 : 1;

    if ((size_t) (last - p) < n) {
        return NULL;
    }

    value->len = n == 2 ? mailping_get16(p) : *p;
    value->data = p + n;

    if (value->len > max || value->len > (size_t) (last - value->data)) {
        return NULL;
    }

    return value->data + value->len;
}


int
mailping_loss_decode(mailping_loss_t *l, unsigned version,
    mailping_str_t payload)
{
    if (version != MAILPING_EVENT_VERSION
        || payload.len != MAILPING_LOSS_SIZE)
    {
        return MAILPING_ERROR;
    }

    l->time = mailping_get64(payload.data);
    l->count = mailping_get64(payload.data + 8);
    l->first = mailping_get64(payload.data + 16);
    l->last = mailping_get64(payload.data + 24);

    return MAILPING_OK;
}


int
mailping_event_xadd(unsigned type, unsigned version, mailping_str_t payload,
    mailping_str_t key, mailping_str_t producer, uint64_t seq, uint8_t *dst)
{
    uint8_t           *p;
    mailping_loss_t    loss;
    mailping_event_t   event;

    if (key.len > MAILPING_EVENT_KEY_MAX
        || producer.len > MAILPING_EVENT_PRODUCER_MAX)
    {
        return MAILPING_ERROR;
    }

    switch (type) {

    case MAILPING_RECORD_EVENT:

        if (mailping_event_decode(&event, version, payload) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        p = mailping_event_write(dst, &event, key, producer, seq);
        break;

    case MAILPING_RECORD_LOSS:

        if (mailping_loss_decode(&loss, version, payload) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        p = mailping_loss_write(dst, &loss, key, producer, seq);
        break;

    default:
        return MAILPING_ERROR;
    }

    return (int) (p - dst);
}


/*
 * The name of a field never changes, so its text is a constant with both
 * length lines: only values cost anything here.
 */

static uint8_t *
mailping_event_write(uint8_t *p, const mailping_event_t *e,
    mailping_str_t key, mailping_str_t producer, uint64_t seq)
{
    unsigned  i;

    static const uint8_t  hex[] = "0123456789abcdef";

    p = mailping_event_head(p, "*57", key);

    p = mailping_literal(p, "$4\r\ntype\r\n$4\r\nopen\r\n$5\r\nevent\r\n");
    p = mailping_event_source(p, producer, seq);
    p = mailping_literal(p, "$2\r\nid\r\n");
    p = mailping_event_text(p, e->id);
    p = mailping_literal(p, "$9\r\nrecipient\r\n");
    p = mailping_event_text(p, e->recipient);
    p = mailping_literal(p, "$4\r\nsite\r\n");
    p = mailping_event_text(p, e->site);
    p = mailping_literal(p, "$4\r\nkind\r\n");
    p = mailping_event_name(p, mailping_kind_name(e->kind));
    p = mailping_literal(p, "$3\r\nkey\r\n");

    if (e->key == MAILPING_TOKEN_NO_KEY) {
        p = mailping_event_name(p, "");

    } else {
        p = mailping_event_number(p, e->key);
    }

    p = mailping_literal(p, "$4\r\ntime\r\n");
    p = mailping_event_number(p, e->time);
    p = mailping_literal(p, "$4\r\nsent\r\n");
    p = mailping_event_known(p, e->sent);
    p = mailping_literal(p, "$4\r\nseen\r\n");
    p = mailping_event_known(p, e->seen);
    p = mailping_literal(p, "$5\r\ncount\r\n");
    p = mailping_event_number(p, e->count);
    p = mailping_literal(p, "$4\r\nopen\r\n");
    p = mailping_event_name(p, mailping_open_name(e->open));
    p = mailping_literal(p, "$6\r\nperson\r\n");

    if (e->person == MAILPING_PERSON_NONE) {
        p = mailping_event_name(p, "");

    } else {
        p = mailping_event_number(p, (uint64_t) e->person);
    }

    p = mailping_literal(p, "$7\r\nverdict\r\n");
    p = mailping_event_name(p, mailping_verdict_name(e->verdict));
    p = mailping_literal(p, "$8\r\nprovider\r\n");
    p = mailping_event_text(p, e->provider);
    p = mailping_literal(p, "$7\r\nreasons\r\n");
    p = mailping_event_text(p, e->reasons);

    p = mailping_literal(p, "$5\r\nrules\r\n$8\r\n");

    for (i = 0; i < 8; i++) {
        *p++ = hex[e->rules >> (28 - 4 * i) & 0x0f];
    }

    p = mailping_literal(p, "\r\n$5\r\nfacts\r\n");
    p = mailping_event_text(p, e->facts);
    p = mailping_literal(p, "$7\r\nnetwork\r\n");
    p = mailping_event_text(p, e->network);
    p = mailping_literal(p, "$3\r\nasn\r\n");
    p = mailping_event_known(p, e->asn);
    p = mailping_literal(p, "$3\r\norg\r\n");
    p = mailping_event_text(p, e->org);
    p = mailping_literal(p, "$7\r\ncountry\r\n");
    p = mailping_event_text(p, e->country);
    p = mailping_literal(p, "$6\r\nregion\r\n");
    p = mailping_event_text(p, e->region);
    p = mailping_literal(p, "$4\r\ncity\r\n");
    p = mailping_event_text(p, e->city);
    p = mailping_literal(p, "$6\r\nclient\r\n");
    p = mailping_event_text(p, e->client);
    p = mailping_literal(p, "$5\r\nagent\r\n");
    p = mailping_event_text(p, e->agent);
    p = mailping_literal(p, "$7\r\nprivacy\r\n");

    return mailping_event_name(p, mailping_privacy_name(e->privacy));
}


static uint8_t *
mailping_loss_write(uint8_t *p, const mailping_loss_t *l, mailping_str_t key,
    mailping_str_t producer, uint64_t seq)
{
    p = mailping_event_head(p, "*15", key);

    p = mailping_literal(p, "$4\r\ntype\r\n$4\r\nloss\r\n$5\r\nevent\r\n");
    p = mailping_event_source(p, producer, seq);
    p = mailping_literal(p, "$4\r\ntime\r\n");
    p = mailping_event_number(p, l->time);
    p = mailping_literal(p, "$5\r\ncount\r\n");
    p = mailping_event_number(p, l->count);
    p = mailping_literal(p, "$5\r\nfirst\r\n");
    p = mailping_event_number(p, l->first);
    p = mailping_literal(p, "$4\r\nlast\r\n");

    return mailping_event_number(p, l->last);
}


uint32_t
mailping_event_partition(mailping_str_t id, uint32_t partitions)
{
    return mailping_crc32c(0, id.data, id.len) % partitions;
}


/* "XADD <key> *", in a command of this many arguments */

static uint8_t *
mailping_event_head(uint8_t *p, const char *args, mailping_str_t key)
{
    p = mailping_event_copy(p, (const uint8_t *) args, strlen(args));
    p = mailping_literal(p, "\r\n$4\r\nXADD\r\n");
    p = mailping_event_text(p, key);

    return mailping_literal(p, "$1\r\n*\r\n");
}


/* "<producer>/<seq>" */

static uint8_t *
mailping_event_source(uint8_t *p, mailping_str_t producer, uint64_t seq)
{
    uint8_t  *last;
    uint8_t   buf[MAILPING_EVENT_PRODUCER_MAX + 1 + MAILPING_NUMBER_MAX];

    last = mailping_event_copy(buf, producer.data, producer.len);
    *last++ = '/';
    last = mailping_event_digits(last, seq);

    return mailping_event_text(p, mailping_str(buf, last - buf));
}


static uint8_t *
mailping_event_text(uint8_t *p, mailping_str_t value)
{
    *p++ = '$';
    p = mailping_event_digits(p, value.len);
    p = mailping_literal(p, "\r\n");
    p = mailping_event_copy(p, value.data, value.len);

    return mailping_literal(p, "\r\n");
}


static uint8_t *
mailping_event_name(uint8_t *p, const char *value)
{
    return mailping_event_text(p, mailping_str(value, strlen(value)));
}


static uint8_t *
mailping_event_number(uint8_t *p, uint64_t n)
{
    uint8_t  buf[MAILPING_NUMBER_MAX], *last;

    last = mailping_event_digits(buf, n);

    return mailping_event_text(p, mailping_str(buf, last - buf));
}


/* a number whose zero means unknown */

static uint8_t *
mailping_event_known(uint8_t *p, uint64_t n)
{
    if (n == 0) {
        return mailping_event_name(p, "");
    }

    return mailping_event_number(p, n);
}


static uint8_t *
mailping_event_digits(uint8_t *p, uint64_t n)
{
    size_t   i;
    uint8_t  buf[MAILPING_NUMBER_MAX];

    i = sizeof(buf);

    do {
        buf[--i] = (uint8_t) ('0' + n % 10);
        n /= 10;
    } while (n != 0);

    return mailping_event_copy(p, buf + i, sizeof(buf) - i);
}


static uint8_t *
mailping_event_copy(uint8_t *p, const uint8_t *data, size_t len)
{
    /* the data of an empty string may be NULL, which memcpy() forbids */

    if (len != 0) {
        memcpy(p, data, len);
    }

    return p + len;
}


/*
 * The length of s cut to max bytes.  A cut never leaves a part of a character
 * behind: consumers refuse text that is not UTF-8 as a whole.
 */

static size_t
mailping_event_cut(const mailping_str_t *s, size_t max)
{
    size_t  len;

    if (s->len <= max) {
        return s->len;
    }

    len = max;

    while (max - len < 3 && mailping_is_continuation(s->data[len])) {
        len--;
    }

    /* more bytes follow no first byte: this is not UTF-8 */

    return mailping_is_continuation(s->data[len]) ? max : len;
}
