
/*
 * Copyright (C) MailPing
 */


#include "crc32c.h"
#include "event.h"


/*
 * A payload of version 1, type event: the numbers below, then the strings in
 * the order of mailping_event_strings[], each after its length, of one byte
 * when its bound allows.  The spool's record says type and version.
 *
 *      0  time     64 bits      24  asn      32 bits     32  open
 *      8  sent     64 bits      28  count    32 bits     33  verdict
 *     16  seen     32 bits                               34  privacy
 *     20  rules    32 bits                               35  kind
 *                                                        36  key
 *                                                        37  person, 255 none
 *
 * Type amend, with the strings of mailping_amend_strings[]:
 *
 *      0  time     64 bits      12  open            14  person, 255 none
 *      8  rules    32 bits      13  verdict         15  was
 *
 * Type loss: time, count, first and last, 64 bits each.
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

#define MAILPING_AMEND_TIME      0
#define MAILPING_AMEND_RULES     8
#define MAILPING_AMEND_OPEN      12
#define MAILPING_AMEND_VERDICT   13
#define MAILPING_AMEND_PERSON    14
#define MAILPING_AMEND_WAS       15
#define MAILPING_AMEND_STRINGS   16

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


static uint8_t *mailping_event_encode_strings(uint8_t *p, const void *values,
    const mailping_event_string_t *strings, size_t n);
static int mailping_event_decode_strings(const uint8_t *p, const uint8_t *last,
    void *values, const mailping_event_string_t *strings, size_t n);
static const uint8_t *mailping_event_string(const uint8_t *p,
    const uint8_t *last, size_t max, mailping_str_t *value);
static uint8_t mailping_event_encode_person(int person);
static int mailping_event_decode_person(uint8_t value, int *person);
static size_t mailping_event_cut(const mailping_str_t *s, size_t max);
static uint8_t *mailping_event_copy(uint8_t *p, const uint8_t *data,
    size_t len);
static uint8_t *mailping_event_digits(uint8_t *p, uint64_t n);
static uint8_t *mailping_event_text(uint8_t *p, mailping_str_t value);
static uint8_t *mailping_event_name(uint8_t *p, const char *value);
static uint8_t *mailping_event_number(uint8_t *p, uint64_t n);
static uint8_t *mailping_event_known(uint8_t *p, uint64_t n);
static uint8_t *mailping_event_head(uint8_t *p, const char *args,
    const char *type, mailping_str_t key, mailping_str_t producer,
    uint64_t seq);
static uint8_t *mailping_event_source(uint8_t *p, mailping_str_t producer,
    uint64_t seq);
static uint8_t *mailping_event_message(uint8_t *p, mailping_str_t id,
    mailping_str_t recipient, mailping_str_t site);
static uint8_t *mailping_event_judgement(uint8_t *p, unsigned open, int person,
    unsigned verdict, mailping_str_t provider, mailping_str_t reasons,
    uint32_t rules);
static uint8_t *mailping_event_write(uint8_t *p, const mailping_event_t *e,
    mailping_str_t key, mailping_str_t producer, uint64_t seq);
static uint8_t *mailping_loss_write(uint8_t *p, const mailping_loss_t *l,
    mailping_str_t key, mailping_str_t producer, uint64_t seq);
static uint8_t *mailping_amend_write(uint8_t *p, const mailping_amend_t *a,
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


static const mailping_event_string_t  mailping_amend_strings[] = {
    { offsetof(mailping_amend_t, ref), MAILPING_EVENT_REF_MAX },
    { offsetof(mailping_amend_t, id), MAILPING_TOKEN_ID_MAX },
    { offsetof(mailping_amend_t, recipient), MAILPING_TOKEN_RECIPIENT_MAX },
    { offsetof(mailping_amend_t, site), MAILPING_EVENT_SITE_MAX },
    { offsetof(mailping_amend_t, provider), MAILPING_EVENT_TEXT_MAX },
    { offsetof(mailping_amend_t, reasons), MAILPING_REASONS_MAX }
};

#define MAILPING_AMEND_STRINGS_N                                              \
    (sizeof(mailping_amend_strings) / sizeof(mailping_amend_strings[0]))


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

    e->time = mailping_event_time(e->time, e->privacy);
    e->facts = empty;
    e->network = empty;
    e->asn = 0;
    e->org = empty;
    e->country = empty;
    e->region = empty;
    e->client = empty;
    e->agent = empty;
}


uint64_t
mailping_event_time(uint64_t time, unsigned privacy)
{
    return privacy == MAILPING_PRIVACY_MINIMAL ? time - time % MAILPING_DAY
                                               : time;
}


size_t
mailping_event_encode(const mailping_event_t *e, uint8_t *dst)
{
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
    dst[MAILPING_EVENT_PERSON] = mailping_event_encode_person(e->person);

    return mailping_event_encode_strings(dst + MAILPING_EVENT_STRINGS, e,
                                         mailping_event_strings,
                                         MAILPING_EVENT_STRINGS_N)
           - dst;
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


size_t
mailping_amend_encode(const mailping_amend_t *a, uint8_t *dst)
{
    mailping_put64(dst + MAILPING_AMEND_TIME, a->time);
    mailping_put32(dst + MAILPING_AMEND_RULES, a->rules);

    dst[MAILPING_AMEND_OPEN] = a->open;
    dst[MAILPING_AMEND_VERDICT] = a->verdict;
    dst[MAILPING_AMEND_PERSON] = mailping_event_encode_person(a->person);
    dst[MAILPING_AMEND_WAS] = a->was;

    return mailping_event_encode_strings(dst + MAILPING_AMEND_STRINGS, a,
                                         mailping_amend_strings,
                                         MAILPING_AMEND_STRINGS_N)
           - dst;
}


static uint8_t *
mailping_event_encode_strings(uint8_t *p, const void *values,
    const mailping_event_string_t *strings, size_t n)
{
    size_t                 i, len;
    const mailping_str_t  *s;

    for (i = 0; i < n; i++) {
        s = (const mailping_str_t *) ((const char *) values
                                      + strings[i].offset);
        len = mailping_event_cut(s, strings[i].max);

        if (strings[i].max > UINT8_MAX) {
            mailping_put16(p, (uint16_t) len);
            p += 2;

        } else {
            *p++ = (uint8_t) len;
        }

        p = mailping_event_copy(p, s->data, len);
    }

    return p;
}


static uint8_t
mailping_event_encode_person(int person)
{
    return person == MAILPING_PERSON_NONE ? MAILPING_NO_PERSON
                                          : (uint8_t) person;
}


int
mailping_event_decode(mailping_event_t *e, unsigned version,
    mailping_str_t payload)
{
    const uint8_t  *p;

    if (version != MAILPING_EVENT_VERSION
        || payload.len < MAILPING_EVENT_STRINGS)
    {
        return MAILPING_ERROR;
    }

    p = payload.data;

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

    if (e->open >= MAILPING_OPENS
        || e->verdict >= MAILPING_VERDICTS
        || e->privacy >= MAILPING_PRIVACY_N
        || e->kind >= MAILPING_KIND_N
        || (e->key >= MAILPING_TOKEN_KEYS && e->key != MAILPING_TOKEN_NO_KEY)
        || mailping_event_decode_person(p[MAILPING_EVENT_PERSON], &e->person)
           != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    return mailping_event_decode_strings(p + MAILPING_EVENT_STRINGS,
                                         p + payload.len, e,
                                         mailping_event_strings,
                                         MAILPING_EVENT_STRINGS_N);
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
mailping_amend_decode(mailping_amend_t *a, unsigned version,
    mailping_str_t payload)
{
    const uint8_t  *p;

    if (version != MAILPING_EVENT_VERSION
        || payload.len < MAILPING_AMEND_STRINGS)
    {
        return MAILPING_ERROR;
    }

    p = payload.data;

    a->time = mailping_get64(p + MAILPING_AMEND_TIME);
    a->rules = mailping_get32(p + MAILPING_AMEND_RULES);
    a->open = p[MAILPING_AMEND_OPEN];
    a->verdict = p[MAILPING_AMEND_VERDICT];
    a->was = p[MAILPING_AMEND_WAS];

    if (a->open >= MAILPING_OPENS
        || a->was >= MAILPING_OPENS
        || a->verdict >= MAILPING_VERDICTS
        || mailping_event_decode_person(p[MAILPING_AMEND_PERSON], &a->person)
           != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    return mailping_event_decode_strings(p + MAILPING_AMEND_STRINGS,
                                         p + payload.len, a,
                                         mailping_amend_strings,
                                         MAILPING_AMEND_STRINGS_N);
}


/* the strings fill the payload to its end */

static int
mailping_event_decode_strings(const uint8_t *p, const uint8_t *last,
    void *values, const mailping_event_string_t *strings, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        p = mailping_event_string(p, last, strings[i].max,
                                  (mailping_str_t *) ((char *) values
                                                      + strings[i].offset));
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


static int
mailping_event_decode_person(uint8_t value, int *person)
{
    if (value == MAILPING_NO_PERSON) {
        *person = MAILPING_PERSON_NONE;
        return MAILPING_OK;
    }

    *person = value;

    return value <= 100 ? MAILPING_OK : MAILPING_ERROR;
}


int
mailping_event_xadd(unsigned type, unsigned version, mailping_str_t payload,
    mailping_str_t key, mailping_str_t producer, uint64_t seq, uint8_t *dst)
{
    uint8_t           *p;
    mailping_loss_t    loss;
    mailping_amend_t   amend;
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

    case MAILPING_RECORD_AMEND:

        if (mailping_amend_decode(&amend, version, payload) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        p = mailping_amend_write(dst, &amend, key, producer, seq);
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
    p = mailping_event_head(p, "*57", "open", key, producer, seq);
    p = mailping_event_message(p, e->id, e->recipient, e->site);
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
    p = mailping_event_judgement(p, e->open, e->person, e->verdict,
                                 e->provider, e->reasons, e->rules);
    p = mailping_literal(p, "$5\r\nfacts\r\n");
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
    p = mailping_event_head(p, "*15", "loss", key, producer, seq);
    p = mailping_literal(p, "$4\r\ntime\r\n");
    p = mailping_event_number(p, l->time);
    p = mailping_literal(p, "$5\r\ncount\r\n");
    p = mailping_event_number(p, l->count);
    p = mailping_literal(p, "$5\r\nfirst\r\n");
    p = mailping_event_number(p, l->first);
    p = mailping_literal(p, "$4\r\nlast\r\n");

    return mailping_event_number(p, l->last);
}


static uint8_t *
mailping_amend_write(uint8_t *p, const mailping_amend_t *a,
    mailping_str_t key, mailping_str_t producer, uint64_t seq)
{
    p = mailping_event_head(p, "*31", "amend", key, producer, seq);
    p = mailping_literal(p, "$3\r\nref\r\n");
    p = mailping_event_text(p, a->ref);
    p = mailping_event_message(p, a->id, a->recipient, a->site);
    p = mailping_literal(p, "$4\r\ntime\r\n");
    p = mailping_event_number(p, a->time);
    p = mailping_literal(p, "$3\r\nwas\r\n");
    p = mailping_event_name(p, mailping_open_name(a->was));

    return mailping_event_judgement(p, a->open, a->person, a->verdict,
                                    a->provider, a->reasons, a->rules);
}


uint32_t
mailping_event_partition(mailping_str_t id, uint32_t partitions)
{
    return mailping_crc32c(0, id.data, id.len) % partitions;
}


/*
 * "XADD <key> *" and the fields that each type begins with, in a command of
 * this many arguments.
 */

static uint8_t *
mailping_event_head(uint8_t *p, const char *args, const char *type,
    mailping_str_t key, mailping_str_t producer, uint64_t seq)
{
    p = mailping_event_copy(p, (const uint8_t *) args, strlen(args));
    p = mailping_literal(p, "\r\n$4\r\nXADD\r\n");
    p = mailping_event_text(p, key);
    p = mailping_literal(p, "$1\r\n*\r\n$4\r\ntype\r\n");
    p = mailping_event_name(p, type);
    p = mailping_literal(p, "$5\r\nevent\r\n");

    return mailping_event_source(p, producer, seq);
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
mailping_event_message(uint8_t *p, mailping_str_t id, mailping_str_t recipient,
    mailping_str_t site)
{
    p = mailping_literal(p, "$2\r\nid\r\n");
    p = mailping_event_text(p, id);
    p = mailping_literal(p, "$9\r\nrecipient\r\n");
    p = mailping_event_text(p, recipient);
    p = mailping_literal(p, "$4\r\nsite\r\n");

    return mailping_event_text(p, site);
}


static uint8_t *
mailping_event_judgement(uint8_t *p, unsigned open, int person,
    unsigned verdict, mailping_str_t provider, mailping_str_t reasons,
    uint32_t rules)
{
    unsigned  i;

    static const uint8_t  hex[] = "0123456789abcdef";

    p = mailping_literal(p, "$4\r\nopen\r\n");
    p = mailping_event_name(p, mailping_open_name(open));
    p = mailping_literal(p, "$6\r\nperson\r\n");

    if (person == MAILPING_PERSON_NONE) {
        p = mailping_event_name(p, "");

    } else {
        p = mailping_event_number(p, (uint64_t) person);
    }

    p = mailping_literal(p, "$7\r\nverdict\r\n");
    p = mailping_event_name(p, mailping_verdict_name(verdict));
    p = mailping_literal(p, "$8\r\nprovider\r\n");
    p = mailping_event_text(p, provider);
    p = mailping_literal(p, "$7\r\nreasons\r\n");
    p = mailping_event_text(p, reasons);
    p = mailping_literal(p, "$5\r\nrules\r\n$8\r\n");

    for (i = 0; i < 8; i++) {
        *p++ = hex[rules >> (28 - 4 * i) & 0x0f];
    }

    return mailping_literal(p, "\r\n");
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
