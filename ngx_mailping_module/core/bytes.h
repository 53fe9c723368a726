
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_BYTES_H
#define MAILPING_BYTES_H


#include <stddef.h>
#include <stdint.h>
#include <string.h>


/* the return codes of core, with nginx's values */

#define MAILPING_OK         0
#define MAILPING_ERROR     -1
#define MAILPING_AGAIN     -2
#define MAILPING_DECLINED  -5


/* a counted string; the bytes belong to whoever the function says */

typedef struct {
    size_t          len;
    const uint8_t  *data;
} mailping_str_t;


#define mailping_string(s)  { sizeof(s) - 1, (const uint8_t *) s }
#define mailping_null_string  { 0, NULL }


static inline mailping_str_t
mailping_str(const void *data, size_t len)
{
    mailping_str_t  s;

    s.len = len;
    s.data = data;

    return s;
}


static inline int
mailping_str_equal(mailping_str_t a, mailping_str_t b)
{
    return a.len == b.len
           && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


/* of ASCII letters; tolower() would ask the locale */

static inline uint8_t
mailping_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t) (c | 0x20) : c;
}


/*
 * Numbers in our files are little-endian and are encoded byte by byte, so
 * that alignment and the machine's order never matter.
 */

static inline void
mailping_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t) v;
    p[1] = (uint8_t) (v >> 8);
}


static inline void
mailping_put32(uint8_t *p, uint32_t v)
{
    mailping_put16(p, (uint16_t) v);
    mailping_put16(p + 2, (uint16_t) (v >> 16));
}


static inline void
mailping_put64(uint8_t *p, uint64_t v)
{
    mailping_put32(p, (uint32_t) v);
    mailping_put32(p + 4, (uint32_t) (v >> 32));
}


static inline uint16_t
mailping_get16(const uint8_t *p)
{
    return (uint16_t) (p[0] | p[1] << 8);
}


static inline uint32_t
mailping_get32(const uint8_t *p)
{
    return mailping_get16(p) | (uint32_t) mailping_get16(p + 2) << 16;
}


static inline uint64_t
mailping_get64(const uint8_t *p)
{
    return mailping_get32(p) | (uint64_t) mailping_get32(p + 4) << 32;
}


#endif /* MAILPING_BYTES_H */
