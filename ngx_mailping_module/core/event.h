
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_EVENT_H
#define MAILPING_EVENT_H


#include "classify.h"
#include "token.h"


/* privacy modes; a larger number keeps less */

typedef enum {
    MAILPING_PRIVACY_LOCATION = 0,     /* in a token: as the location says */
    MAILPING_PRIVACY_FULL,
    MAILPING_PRIVACY_MASKED,
    MAILPING_PRIVACY_MINIMAL,
    MAILPING_PRIVACY_DAY,
    MAILPING_PRIVACY_COUNT,
    MAILPING_PRIVACY_OFF,
    MAILPING_PRIVACY_N
} mailping_privacy_e;


/* bounds of single values in bytes; longer ones are cut when encoded */

#define MAILPING_EVENT_SITE_MAX    255
#define MAILPING_EVENT_AGENT_MAX   512
#define MAILPING_EVENT_TEXT_MAX    128   /* org, region, city, client, ... */
#define MAILPING_EVENT_REF_MAX     64    /* the longest "event" has 57 */

/* bounds of an encoded payload, and of the XADD command made from one */

#define MAILPING_EVENT_PAYLOAD_MAX   4096
#define MAILPING_EVENT_XADD_MAX      8192
#define MAILPING_EVENT_KEY_MAX       256
#define MAILPING_EVENT_PRODUCER_MAX  64

#define MAILPING_EVENT_VERSION      1    /* of the payload */


/* record types of the spool that become entries of the stream */

#define MAILPING_RECORD_EVENT  1
#define MAILPING_RECORD_LOSS   2
#define MAILPING_RECORD_AMEND  3


/* an entry type=open; empty strings are unknown values */

typedef struct {
    mailping_str_t  id;
    mailping_str_t  recipient;
    mailping_str_t  site;
    mailping_str_t  provider;
    mailping_str_t  reasons;
    mailping_str_t  facts;         /* text, see mailping_facts_write() */
    mailping_str_t  network;       /* masked, text */
    mailping_str_t  org;
    mailping_str_t  country;
    mailping_str_t  region;
    mailping_str_t  city;
    mailping_str_t  client;
    mailping_str_t  agent;
    uint64_t        time;          /* Unix milliseconds */
    uint64_t        sent;          /* Unix milliseconds, 0 = unknown */
    uint32_t        seen;          /* from 1; 0 = unknown */
    uint32_t        count;         /* fetches this entry stands for, from 1 */
    uint32_t        rules;         /* mailping_rules_id() */
    uint32_t        asn;           /* 0 = unknown */
    int             person;        /* 0-100, or MAILPING_PERSON_NONE */
    uint8_t         kind;          /* mailping_kind_e */
    uint8_t         key;           /* key id, or MAILPING_TOKEN_NO_KEY */
    uint8_t         open;          /* mailping_open_e */
    uint8_t         verdict;       /* mailping_verdict_e */
    uint8_t         privacy;       /* mailping_privacy_e that was applied */
} mailping_event_t;


/* an entry type=loss */

typedef struct {
    uint64_t        time;          /* Unix milliseconds, when it was written */
    uint64_t        count;         /* opens lost */
    uint64_t        first;         /* Unix milliseconds of the first, last */
    uint64_t        last;
} mailping_loss_t;


/* an entry type=amend: another judgement of an entry type=open */

typedef struct {
    mailping_str_t  ref;           /* "event" of the entry: a part is useless */
    mailping_str_t  id;
    mailping_str_t  recipient;
    mailping_str_t  site;
    mailping_str_t  provider;
    mailping_str_t  reasons;
    uint64_t        time;          /* Unix ms, of what changed the judgement */
    uint32_t        rules;
    int             person;        /* 0-100, or MAILPING_PERSON_NONE */
    uint8_t         open;          /* mailping_open_e */
    uint8_t         was;           /* mailping_open_e of the entry */
    uint8_t         verdict;       /* mailping_verdict_e */
} mailping_amend_t;


/*
 * The mode to apply for a token's mode (0-15; not listed means off) in a
 * location with this mode and this loosest mode for tokens.  A token may ask
 * for a stricter mode than the location's, and for a looser one up to max.
 */
unsigned mailping_privacy_resolve(unsigned token, unsigned location,
    unsigned max);

/*
 * Names "full", "masked", ... "off"; "location" for 0.  mailping_privacy_parse
 * returns the number of a name but "location", or MAILPING_ERROR.
 */
const char *mailping_privacy_name(unsigned mode);
int mailping_privacy_parse(mailping_str_t name);

/*
 * Takes out of *e what its mode e->privacy does not keep, and what the
 * verdict does not allow: country, region and city stay only with verdict
 * human, city only in mode full; minimal cuts time to the day and empties
 * facts and network to agent.  agent must hold the text that mode full or
 * masked shows.  place is 0 when the network is a relay's or a VPN's, whose
 * place is not the reader's.
 */
void mailping_event_privacy(mailping_event_t *e, int place);

/* A time in Unix ms as this mode keeps it: minimal cuts it to the day. */
uint64_t mailping_event_time(uint64_t time, unsigned privacy);

/*
 * Encodes the values as a record payload of MAILPING_EVENT_VERSION.  dst has
 * MAILPING_EVENT_PAYLOAD_MAX bytes, which always suffice; strings are cut to
 * their bounds at a UTF-8 boundary.  Returns the length.
 */
size_t mailping_event_encode(const mailping_event_t *e, uint8_t *dst);
size_t mailping_loss_encode(const mailping_loss_t *l, uint8_t *dst);
size_t mailping_amend_encode(const mailping_amend_t *a, uint8_t *dst);

/*
 * Decode a payload.  Strings point into it.  Return MAILPING_OK, or
 * MAILPING_ERROR when the version is unknown or the payload is malformed.
 */
int mailping_event_decode(mailping_event_t *e, unsigned version,
    mailping_str_t payload);
int mailping_loss_decode(mailping_loss_t *l, unsigned version,
    mailping_str_t payload);
int mailping_amend_decode(mailping_amend_t *a, unsigned version,
    mailping_str_t payload);

/*
 * Writes the XADD command that adds a spool record of this type to the stream
 * key, in RESP2.  producer is "<ring uuid>.<partition>".  dst has
 * MAILPING_EVENT_XADD_MAX bytes, which always suffice.  Returns the length,
 * or MAILPING_ERROR for a payload that cannot be decoded, a type that is no
 * entry, and a key or producer longer than MAILPING_EVENT_KEY_MAX and
 * MAILPING_EVENT_PRODUCER_MAX.
 */
int mailping_event_xadd(unsigned type, unsigned version,
    mailping_str_t payload, mailping_str_t key, mailping_str_t producer,
    uint64_t seq, uint8_t *dst);

/*
 * The partition of a message: CRC-32C of its id modulo partitions.  A public
 * contract: all entries of one message meet in one stream.
 */
uint32_t mailping_event_partition(mailping_str_t id, uint32_t partitions);


#endif /* MAILPING_EVENT_H */
