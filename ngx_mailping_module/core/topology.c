
/*
 * Copyright (C) MailPing
 */


#include "topology.h"


#define MAILPING_SLOTS      16384

/*
 * Decimal numbers hit every slot soon: the CRC is linear and spreads them
 * evenly, so one in 16384 fits.  The bound only ends a search that cannot end
 * otherwise.
 */

#define MAILPING_TAG_LIMIT  10000000


static uint16_t mailping_topology_crc16(uint16_t crc, const uint8_t *p,
    size_t n);
static size_t mailping_topology_key(mailping_str_t prefix, int tagged,
    uint32_t partition, uint32_t partitions, const char *name,
    mailping_str_t producer, char dst[MAILPING_KEY_MAX]);


/* CRC16-XMODEM: polynomial 0x1021, start 0, not reflected; for four bits */

static const uint16_t  mailping_topology_crc16_table[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef
};


unsigned
mailping_topology_slot(mailping_str_t tag)
{
    return mailping_topology_crc16(0, tag.data, tag.len) % MAILPING_SLOTS;
}


static uint16_t
mailping_topology_crc16(uint16_t crc, const uint8_t *p, size_t n)
{
    const uint16_t  *table;

    table = mailping_topology_crc16_table;

    while (n--) {
        crc = (uint16_t) (crc << 4 ^ table[crc >> 12 ^ *p >> 4]);
        crc = (uint16_t) (crc << 4 ^ table[crc >> 12 ^ (*p & 0x0f)]);
        p++;
    }

    return crc;
}


size_t
mailping_topology_tag(uint32_t partition, uint32_t partitions,
    char dst[MAILPING_TAG_MAX])
{
    size_t    len, i;
    uint8_t   text[MAILPING_TAG_MAX], digit;
    uint16_t  stem;
    uint32_t  first, next, slot, n, v;

    if (partitions == 0 || partitions > MAILPING_SLOTS
        || partition >= partitions)
    {
        return 0;
    }

    first = partition * MAILPING_SLOTS / partitions;
    next = (partition + 1) * MAILPING_SLOTS / partitions;
    slot = (first + next) / 2;

    stem = 0;
    len = 0;

    for (n = 0; n < MAILPING_TAG_LIMIT; n++) {

        /* ten numbers in a row differ in their last digit only */

        if (n % 10 == 0) {
            len = 0;

            for (v = n / 10; v != 0; v /= 10) {
                len++;
            }

            i = len;

            for (v = n / 10; v != 0; v /= 10) {
                text[--i] = (uint8_t) ('0' + v % 10);
            }

            stem = mailping_topology_crc16(0, text, len);
        }

        digit = (uint8_t) ('0' + n % 10);

        if (mailping_topology_crc16(stem, &digit, 1) % MAILPING_SLOTS
            == slot)
        {
            memcpy(dst, text, len);
            dst[len] = (char) digit;

            return len + 1;
        }
    }

    return 0;
}


size_t
mailping_topology_stream(mailping_str_t prefix, int tagged,
    uint32_t partition, uint32_t partitions, char dst[MAILPING_KEY_MAX])
{
    static const mailping_str_t  none = mailping_null_string;

    return mailping_topology_key(prefix, tagged, partition, partitions,
                                 ":opens", none, dst);
}


size_t
mailping_topology_mark(mailping_str_t prefix, int tagged, uint32_t partition,
    uint32_t partitions, mailping_str_t producer, char dst[MAILPING_KEY_MAX])
{
    return mailping_topology_key(prefix, tagged, partition, partitions,
                                 ":mark:", producer, dst);
}


static size_t
mailping_topology_key(mailping_str_t prefix, int tagged, uint32_t partition,
    uint32_t partitions, const char *name, mailping_str_t producer,
    char dst[MAILPING_KEY_MAX])
{
    char    *p;
    size_t   len;

    len = strlen(name);

    if (prefix.len > MAILPING_KEY_MAX
        || producer.len > MAILPING_KEY_MAX
        || prefix.len + sizeof(":{}") - 1 + MAILPING_TAG_MAX + len
           + producer.len > MAILPING_KEY_MAX)
    {
        return 0;
    }

    p = dst;

    if (prefix.len != 0) {
        memcpy(p, prefix.data, prefix.len);
        p += prefix.len;
    }

    if (tagged) {
        *p++ = ':';
        *p++ = '{';
        p += mailping_topology_tag(partition, partitions, p);
        *p++ = '}';
    }

    memcpy(p, name, len);
    p += len;

    if (producer.len != 0) {
        memcpy(p, producer.data, producer.len);
        p += producer.len;
    }

    return p - dst;
}
