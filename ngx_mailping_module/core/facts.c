
/*
 * Copyright (C) MailPing
 */


#include "published.h"
#include "ruleset.h"
#include "facts.h"


#define mailping_fact_set(words, i)                                           \
    (words)[(i) / 64] |= (uint64_t) 1 << (i) % 64


static void mailping_facts_know(const mailping_rules_t *rs,
    mailping_facts_t *f, unsigned kind);
static int mailping_facts_item(const mailping_header_item_t *item,
    mailping_str_t value);
static uint8_t *mailping_facts_hex(uint8_t *p, const uint64_t *words);
static int mailping_facts_unhex(mailping_str_t text, uint64_t *words);


void
mailping_facts_init(const mailping_rules_t *rs, mailping_facts_t *f)
{
    memset(f->is, 0, sizeof(f->is));
    memset(f->unknown, 0xff, sizeof(f->unknown));

    f->client.len = 0;
    f->client.data = (const uint8_t *) "";
    f->stored = rs->nstored;
}


static void
mailping_facts_know(const mailping_rules_t *rs, mailping_facts_t *f,
    unsigned kind)
{
    unsigned  i;

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        f->unknown[i] &= ~rs->known[kind][i];
    }
}


void
mailping_facts_agent(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_str_t agent)
{
    uint32_t  client;

    mailping_facts_know(rs, f, MAILPING_FACT_AGENT);
    mailping_facts_know(rs, f, MAILPING_FACT_CLIENT);

    client = mailping_patterns_match(rs->patterns, agent, f->is);

    if (client != MAILPING_PATTERN_NONE) {
        f->client = rs->fact[client].key;
    }
}


void
mailping_facts_address(const mailping_rules_t *rs, mailping_facts_t *f,
    const uint8_t addr[16])
{
    unsigned         i;
    const uint64_t  *sets;

    mailping_facts_know(rs, f, MAILPING_FACT_NETWORK);

    sets = mailping_networks_find(rs->networks, addr);

    if (sets == NULL) {
        return;
    }

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        f->is[i] |= sets[i];
    }
}


void
mailping_facts_asn(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t asn)
{
    size_t  lo, hi, mid;

    if (asn == 0) {
        return;
    }

    mailping_facts_know(rs, f, MAILPING_FACT_ASN);

    lo = 0;
    hi = rs->nasns;

    while (lo < hi) {
        mid = lo + (hi - lo) / 2;

        if (rs->asn[mid].asn < asn) {
            lo = mid + 1;

        } else {
            hi = mid;
        }
    }

    for ( /* void */ ; lo < rs->nasns && rs->asn[lo].asn == asn; lo++) {
        mailping_fact_set(f->is, rs->asn[lo].fact);
    }
}


void
mailping_facts_headers(const mailping_rules_t *rs, mailping_facts_t *f)
{
    unsigned  i;

    mailping_facts_know(rs, f, MAILPING_FACT_HEADER);
    mailping_facts_know(rs, f, MAILPING_FACT_ABSENT);

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        f->is[i] |= rs->known[MAILPING_FACT_ABSENT][i];
    }
}


void
mailping_facts_header(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_str_t name, mailping_str_t value)
{
    size_t                         i;
    uint32_t                       n, k, hash;
    unsigned                       absent;
    const mailping_header_t       *header;
    const mailping_header_item_t  *item;

    hash = mailping_ruleset_header_hash(name);

    for (k = hash & rs->mheaders; /* void */ ; k = (k + 1) & rs->mheaders) {

        if (rs->headers[k] == 0) {
            return;
        }

        header = &rs->header[rs->headers[k] - 1];

        if (header->hash != hash || header->name.len != name.len) {
            continue;
        }

        for (i = 0; i < name.len; i++) {
            if (mailping_lower(name.data[i]) != header->name.data[i]) {
                break;
            }
        }

        if (i == name.len) {
            break;
        }
    }

    if (header->absent != 0) {
        absent = header->absent - 1;
        f->is[absent / 64] &= ~((uint64_t) 1 << absent % 64);
    }

    for (n = header->item; n != 0; n = item->next) {
        item = &rs->item[n - 1];

        if (mailping_facts_item(item, value)) {
            mailping_fact_set(f->is, item->fact);
        }
    }
}


static int
mailping_facts_item(const mailping_header_item_t *item, mailping_str_t value)
{
    size_t  i, k;

    if (item->match == MAILPING_HEADER_PRESENT) {
        return 1;
    }

    if (item->match == MAILPING_HEADER_EXACT) {
        return mailping_str_equal(item->value, value);
    }

    for (i = 0; i + item->value.len <= value.len; i++) {

        for (k = 0; k < item->value.len; k++) {
            if (mailping_lower(value.data[i + k]) != item->value.data[k]) {
                break;
            }
        }

        if (k == item->value.len) {
            return 1;
        }
    }

    return 0;
}


void
mailping_facts_age(const mailping_rules_t *rs, mailping_facts_t *f,
    int64_t age)
{
    if (age >= 0) {
        mailping_facts_value(rs, f, MAILPING_FACT_AGE, (uint64_t) age);
    }
}


void
mailping_facts_seen(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t seen)
{
    mailping_facts_value(rs, f, MAILPING_FACT_SEEN, seen);
}


void
mailping_facts_burst(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t burst)
{
    mailping_facts_value(rs, f, MAILPING_FACT_BURST, burst);
}


void
mailping_facts_farm(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t farm)
{
    mailping_facts_value(rs, f, MAILPING_FACT_FARM, farm);
}


void
mailping_facts_agents(const mailping_rules_t *rs, mailping_facts_t *f,
    uint32_t agents)
{
    mailping_facts_value(rs, f, MAILPING_FACT_AGENTS, agents);
}


void
mailping_facts_quick(const mailping_rules_t *rs, mailping_facts_t *f,
    int quick)
{
    if (quick >= 0) {
        mailping_facts_value(rs, f, MAILPING_FACT_QUICK, (uint64_t) quick);
    }
}


void
mailping_facts_scanned(const mailping_rules_t *rs, mailping_facts_t *f,
    int scanned)
{
    mailping_facts_value(rs, f, MAILPING_FACT_SCANNED, scanned ? 1 : 0);
}


void
mailping_facts_method(const mailping_rules_t *rs, mailping_facts_t *f,
    int head)
{
    mailping_facts_value(rs, f, MAILPING_FACT_METHOD, head ? 1 : 0);
}


void
mailping_facts_http(const mailping_rules_t *rs, mailping_facts_t *f,
    unsigned version)
{
    mailping_facts_value(rs, f, MAILPING_FACT_HTTP, version);
}


void
mailping_facts_hint(const mailping_rules_t *rs, mailping_facts_t *f,
    unsigned hint)
{
    if (hint != 0) {
        mailping_facts_value(rs, f, MAILPING_FACT_HINT, hint);
    }
}


void
mailping_facts_self(const mailping_rules_t *rs, mailping_facts_t *f,
    int self)
{
    mailping_facts_value(rs, f, MAILPING_FACT_SELF, self ? 1 : 0);
}


void
mailping_facts_value(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_fact_kind_e kind, uint64_t value)
{
    int                     is;
    unsigned                i, n;
    const mailping_fact_t  *fact;

    mailping_facts_know(rs, f, kind);

    for (i = rs->first[kind]; i < rs->first[kind + 1]; i++) {
        n = rs->by_kind[i];
        fact = &rs->fact[n];

        switch (kind) {

        case MAILPING_FACT_AGE:
        case MAILPING_FACT_SEEN:
            is = value < fact->value;
            break;

        case MAILPING_FACT_BURST:
        case MAILPING_FACT_FARM:
        case MAILPING_FACT_AGENTS:
        case MAILPING_FACT_QUICK:
            is = value >= fact->value;
            break;

        default:
            is = value == fact->value;
        }

        /* later evidence of the same kind replaces what was reported */

        f->is[n / 64] &= ~((uint64_t) 1 << n % 64);

        if (is) {
            mailping_fact_set(f->is, n);
        }
    }
}


int
mailping_facts_get(const mailping_facts_t *f, unsigned i)
{
    if (i >= MAILPING_FACTS_MAX || (f->unknown[i / 64] >> i % 64 & 1)) {
        return -1;
    }

    return (int) (f->is[i / 64] >> i % 64 & 1);
}


/*
 * The lowest number that is not published yet is written as unknown, always:
 * it is the highest bit of the text, and tells a later reader that has more
 * published facts where those of the writer ended.
 */

size_t
mailping_facts_write(const mailping_facts_t *f,
    uint8_t dst[MAILPING_FACTS_TEXT_MAX])
{
    uint8_t   *p;
    uint64_t   is[MAILPING_FACTS_STORED / 64];
    uint64_t   unknown[MAILPING_FACTS_STORED / 64];
    unsigned   i, word;

    memset(is, 0, sizeof(is));
    memset(unknown, 0, sizeof(unknown));

    word = f->stored / 64;

    for (i = 0; i < word; i++) {
        is[i] = f->is[i];
        unknown[i] = f->unknown[i];
    }

    is[word] = f->is[word] & (((uint64_t) 1 << f->stored % 64) - 1);
    unknown[word] = f->unknown[word] & (((uint64_t) 1 << f->stored % 64) - 1);

    mailping_fact_set(unknown, f->stored);

    p = mailping_facts_hex(dst, is);
    *p++ = '.';
    p = mailping_facts_hex(p, unknown);

    return (size_t) (p - dst);
}


static uint8_t *
mailping_facts_hex(uint8_t *p, const uint64_t *words)
{
    unsigned  n, digit;

    for (n = MAILPING_FACTS_STORED / 4 - 1; n > 0; n--) {
        if (words[n / 16] >> n % 16 * 4 & 0xf) {
            break;
        }
    }

    for ( ;; ) {
        digit = words[n / 16] >> n % 16 * 4 & 0xf;
        *p++ = (uint8_t) "0123456789abcdef"[digit];

        if (n-- == 0) {
            return p;
        }
    }
}


int
mailping_facts_read(const mailping_rules_t *rs, mailping_facts_t *f,
    mailping_str_t text)
{
    uint64_t        is[MAILPING_FACTS_STORED / 64];
    uint64_t        unknown[MAILPING_FACTS_STORED / 64];
    unsigned        i, end;
    mailping_str_t  part;
    const uint8_t  *dot;

    mailping_facts_init(rs, f);

    dot = text.len != 0 ? memchr(text.data, '.', text.len) : NULL;

    if (dot == NULL) {
        return MAILPING_ERROR;
    }

    part.data = text.data;
    part.len = (size_t) (dot - text.data);

    if (mailping_facts_unhex(part, is) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    part.data = dot + 1;
    part.len = text.len - part.len - 1;

    if (mailping_facts_unhex(part, unknown) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    for (end = MAILPING_FACTS_STORED; end-- > 0; /* void */ ) {
        if (unknown[end / 64] >> end % 64 & 1) {
            break;
        }

        if (end == 0) {
            return MAILPING_ERROR;
        }
    }

    for (i = end; i < MAILPING_FACTS_STORED; i++) {
        mailping_fact_set(unknown, i);
    }

    for (i = 0; i < MAILPING_FACTS_STORED / 64; i++) {
        if (is[i] & unknown[i]) {
            return MAILPING_ERROR;
        }
    }

    memcpy(f->is, is, sizeof(is));
    memcpy(f->unknown, unknown, sizeof(unknown));

    return MAILPING_OK;
}


static int
mailping_facts_unhex(mailping_str_t text, uint64_t *words)
{
    size_t    i;
    uint8_t   c;
    unsigned  n;

    memset(words, 0, MAILPING_FACTS_STORED / 8);

    if (text.len == 0 || text.len > MAILPING_FACTS_STORED / 4) {
        return MAILPING_ERROR;
    }

    if (text.data[0] == '0' && text.len > 1) {
        return MAILPING_ERROR;
    }

    for (i = 0; i < text.len; i++) {
        c = text.data[i];
        n = (unsigned) (text.len - 1 - i);

        if (c >= '0' && c <= '9') {
            c = (uint8_t) (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            c = (uint8_t) (c - 'a' + 10);

        } else {
            return MAILPING_ERROR;
        }

        words[n / 16] |= (uint64_t) c << n % 16 * 4;
    }

    return MAILPING_OK;
}


int
mailping_facts_number(mailping_str_t name)
{
    int  i;

    for (i = 0; i < MAILPING_FACTS_STORED; i++) {

        if (mailping_published_facts[i] != NULL
            && strlen(mailping_published_facts[i]) == name.len
            && memcmp(mailping_published_facts[i], name.data, name.len) == 0)
        {
            return i;
        }
    }

    return MAILPING_ERROR;
}


const char *
mailping_facts_name(unsigned number)
{
    if (number >= MAILPING_FACTS_STORED) {
        return NULL;
    }

    return mailping_published_facts[number];
}
