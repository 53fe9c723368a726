
/*
 * Copyright (C) MailPing
 */


#include <arpa/inet.h>
#include <netinet/in.h>

#include "mask.h"


/*
 * Bounds of what a masked agent shows.  A longer number is a date, a serial
 * or a telephone number rather than a version, and a name with more digits is
 * an identifier rather than a product.
 */

#define MAILPING_PRODUCT_MAX         32
#define MAILPING_PRODUCT_DIGITS_MAX  3
#define MAILPING_MAJOR_DIGITS_MAX    4


static unsigned mailping_mask_bits(const uint8_t addr[16], unsigned ipv4,
    unsigned ipv6);
static uint8_t *mailping_mask_number(uint8_t *p, unsigned n);
static uint8_t *mailping_mask_hex(uint8_t *p, unsigned n);
static uint8_t *mailping_mask_ipv4_text(uint8_t *p, const uint8_t *addr);
static uint8_t *mailping_mask_ipv6_text(uint8_t *p, const uint8_t *addr);
static size_t mailping_mask_skip_comment(mailping_str_t agent, size_t i);
static size_t mailping_mask_product(mailping_str_t word);
static size_t mailping_mask_major(mailping_str_t version);
static int mailping_mask_is_separator(uint8_t c);
static int mailping_mask_is_digit(uint8_t c);
static int mailping_mask_is_letter(uint8_t c);


int
mailping_mask_is_ipv4(const uint8_t addr[16])
{
    static const uint8_t  mapped[12] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff
    };

    return memcmp(addr, mapped, 12) == 0;
}


void
mailping_mask_address(const uint8_t addr[16], unsigned ipv4, unsigned ipv6,
    uint8_t masked[16])
{
    unsigned  i, bits;

    bits = mailping_mask_bits(addr, ipv4, ipv6);

    if (mailping_mask_is_ipv4(addr)) {
        bits += 96;
    }

    for (i = 0; i < 16; i++) {

        if (bits >= 8) {
            masked[i] = addr[i];
            bits -= 8;

        } else {
            masked[i] = (uint8_t) (addr[i] & ~(0xff >> bits));
            bits = 0;
        }
    }
}


size_t
mailping_mask_network(const uint8_t addr[16], unsigned ipv4, unsigned ipv6,
    uint8_t dst[MAILPING_NETWORK_TEXT_MAX])
{
    uint8_t  *p, masked[16];

    mailping_mask_address(addr, ipv4, ipv6, masked);

    if (mailping_mask_is_ipv4(addr)) {
        p = mailping_mask_ipv4_text(dst, masked + 12);

    } else {
        p = mailping_mask_ipv6_text(dst, masked);
    }

    *p++ = '/';
    p = mailping_mask_number(p, mailping_mask_bits(addr, ipv4, ipv6));

    return (size_t) (p - dst);
}


/* how many bits of the address are kept, of 32 or of 128 */

static unsigned
mailping_mask_bits(const uint8_t addr[16], unsigned ipv4, unsigned ipv6)
{
    if (ipv4 > 32) {
        ipv4 = 32;
    }

    if (mailping_mask_is_ipv4(addr)) {
        return ipv4;
    }

    /* 6to4: a whole IPv4 address is in bits 16 to 47 (RFC 3056, section 2) */

    if (addr[0] == 0x20 && addr[1] == 0x02 && ipv6 > 16 + ipv4) {
        ipv6 = 16 + ipv4;
    }

    return ipv6 < 128 ? ipv6 : 128;
}


int
mailping_mask_parse(mailping_str_t text, uint8_t addr[16])
{
    char     buf[INET6_ADDRSTRLEN];
    uint8_t  ipv4[4];

    if (text.len == 0 || text.len >= sizeof(buf)
        || memchr(text.data, '\0', text.len) != NULL)
    {
        return MAILPING_ERROR;
    }

    memcpy(buf, text.data, text.len);
    buf[text.len] = '\0';

    if (inet_pton(AF_INET6, buf, addr) == 1) {
        return MAILPING_OK;
    }

    if (inet_pton(AF_INET, buf, ipv4) != 1) {
        return MAILPING_ERROR;
    }

    memset(addr, 0, 10);
    memset(addr + 10, 0xff, 2);
    memcpy(addr + 12, ipv4, 4);

    return MAILPING_OK;
}


size_t
mailping_mask_agent(mailping_str_t agent, uint8_t *dst, size_t cap)
{
    size_t          i, start, slash, name, major, used, need;
    mailping_str_t  word;

    i = 0;
    used = 0;

    while (i < agent.len) {

        if (agent.data[i] == '(') {
            i = mailping_mask_skip_comment(agent, i);
            continue;
        }

        if (mailping_mask_is_separator(agent.data[i])) {
            i++;
            continue;
        }

        start = i;
        slash = 0;

        while (i < agent.len
               && agent.data[i] != '('
               && !mailping_mask_is_separator(agent.data[i]))
        {
            if (agent.data[i] == '/' && slash == 0) {
                slash = i;
            }

            i++;
        }

        word.data = agent.data + start;
        word.len = (slash ? slash : i) - start;

        name = mailping_mask_product(word);

        if (name == 0) {
            continue;
        }

        major = 0;

        if (slash) {
            word.data = agent.data + slash + 1;
            word.len = i - slash - 1;

            major = mailping_mask_major(word);
        }

        need = (used ? 1 : 0) + name + (major ? 1 + major : 0);

        if (need > cap - used) {
            break;
        }

        if (used) {
            dst[used++] = ' ';
        }

        memcpy(dst + used, agent.data + start, name);
        used += name;

        if (major) {
            dst[used++] = '/';
            memcpy(dst + used, agent.data + slash + 1, major);
            used += major;
        }
    }

    return used;
}


/* comments nest and may quote their own parentheses: RFC 9110, 5.6.5 */

static size_t
mailping_mask_skip_comment(mailping_str_t agent, size_t i)
{
    size_t  depth;

    depth = 0;

    while (i < agent.len) {

        switch (agent.data[i++]) {

        case '\\':
            i++;
            break;

        case '(':
            depth++;
            break;

        case ')':
            if (--depth == 0) {
                return i;
            }

            break;
        }
    }

    return agent.len;
}


/*
 * The length of a word that may be shown as a product's name, or 0.  A word
 * is shown whole or not at all: parts of "user@host" are no products.
 */

static size_t
mailping_mask_product(mailping_str_t word)
{
    size_t    i;
    uint8_t   c;
    unsigned  digits;

    if (word.len == 0 || word.len > MAILPING_PRODUCT_MAX
        || !mailping_mask_is_letter(word.data[0]))
    {
        return 0;
    }

    digits = 0;

    for (i = 0; i < word.len; i++) {
        c = word.data[i];

        if (mailping_mask_is_digit(c)) {
            digits++;
            continue;
        }

        if (!mailping_mask_is_letter(c) && c != '-' && c != '_' && c != '+') {
            return 0;
        }
    }

    return digits <= MAILPING_PRODUCT_DIGITS_MAX ? word.len : 0;
}


/* the length of the major version in a plain number version, or 0 */

static size_t
mailping_mask_major(mailping_str_t version)
{
    size_t  i, major;

    for (major = 0; major < version.len; major++) {
        if (!mailping_mask_is_digit(version.data[major])) {
            break;
        }
    }

    if (major == 0 || major > MAILPING_MAJOR_DIGITS_MAX) {
        return 0;
    }

    for (i = major; i < version.len; i++) {
        if (version.data[i] != '.' && !mailping_mask_is_digit(version.data[i]))
        {
            return 0;
        }
    }

    return major;
}


static int
mailping_mask_is_separator(uint8_t c)
{
    return c == ' ' || c == '\t' || c == ';' || c == ',';
}


static int
mailping_mask_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}


static int
mailping_mask_is_letter(uint8_t c)
{
    c |= 0x20;

    return c >= 'a' && c <= 'z';
}


static uint8_t *
mailping_mask_number(uint8_t *p, unsigned n)
{
    if (n >= 100) {
        *p++ = (uint8_t) ('0' + n / 100);
    }

    if (n >= 10) {
        *p++ = (uint8_t) ('0' + n / 10 % 10);
    }

    *p++ = (uint8_t) ('0' + n % 10);

    return p;
}


static uint8_t *
mailping_mask_hex(uint8_t *p, unsigned n)
{
    int  shift;

    static const uint8_t  hex[] = "0123456789abcdef";

    for (shift = 12; shift > 0 && n >> shift == 0; shift -= 4) {
        /* void */
    }

    for ( /* void */ ; shift >= 0; shift -= 4) {
        *p++ = hex[n >> shift & 0xf];
    }

    return p;
}


static uint8_t *
mailping_mask_ipv4_text(uint8_t *p, const uint8_t *addr)
{
    unsigned  i;

    for (i = 0; i < 4; i++) {

        if (i) {
            *p++ = '.';
        }

        p = mailping_mask_number(p, addr[i]);
    }

    return p;
}


/*
 * RFC 5952: lower case, no leading zeros, "::" for the first of the longest
 * runs of at least two zero groups.
 */

static uint8_t *
mailping_mask_ipv6_text(uint8_t *p, const uint8_t *addr)
{
    unsigned  i, n, group[8], run, skip;

    run = 1;
    skip = 8;

    for (i = 0; i < 8; i++) {
        group[i] = (unsigned) addr[i * 2] << 8 | addr[i * 2 + 1];
    }

    for (i = 0; i < 8; i++) {

        for (n = 0; i + n < 8 && group[i + n] == 0; n++) {
            /* void */
        }

        if (n > run) {
            run = n;
            skip = i;
        }
    }

    for (i = 0; i < 8; i++) {

        if (i == skip) {
            *p++ = ':';
            *p++ = ':';
            i += run - 1;
            continue;
        }

        if (i && i != skip + run) {
            *p++ = ':';
        }

        p = mailping_mask_hex(p, group[i]);
    }

    return p;
}
