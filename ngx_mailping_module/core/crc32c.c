
/*
 * Copyright (C) MailPing
 */


#include "crc32c.h"
#include "bytes.h"


#if (defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)))
#define MAILPING_CRC32C_SSE42  1
#endif


/*
 * The CRC of one byte is linear in its bits, so an entry of a table is the sum
 * of the entries of the bits that are set.  That makes the tables constants:
 * nothing has to be built at run time, and nothing can race.
 */

#define MAILPING_CRC32C_ENTRY(n, a, b, c, d, e, f, g, h)                      \
    (((n) & 0x01 ? a : 0u) ^ ((n) & 0x02 ? b : 0u)                            \
     ^ ((n) & 0x04 ? c : 0u) ^ ((n) & 0x08 ? d : 0u)                          \
     ^ ((n) & 0x10 ? e : 0u) ^ ((n) & 0x20 ? f : 0u)                          \
     ^ ((n) & 0x40 ? g : 0u) ^ ((n) & 0x80 ? h : 0u))

#define MAILPING_CRC32C_4(n, ...)                                             \
    MAILPING_CRC32C_ENTRY(n, __VA_ARGS__),                                    \
    MAILPING_CRC32C_ENTRY((n) + 1, __VA_ARGS__),                              \
    MAILPING_CRC32C_ENTRY((n) + 2, __VA_ARGS__),                              \
    MAILPING_CRC32C_ENTRY((n) + 3, __VA_ARGS__)

#define MAILPING_CRC32C_16(n, ...)                                            \
    MAILPING_CRC32C_4(n, __VA_ARGS__),                                        \
    MAILPING_CRC32C_4((n) + 4, __VA_ARGS__),                                  \
    MAILPING_CRC32C_4((n) + 8, __VA_ARGS__),                                  \
    MAILPING_CRC32C_4((n) + 12, __VA_ARGS__)

#define MAILPING_CRC32C_64(n, ...)                                            \
    MAILPING_CRC32C_16(n, __VA_ARGS__),                                       \
    MAILPING_CRC32C_16((n) + 16, __VA_ARGS__),                                \
    MAILPING_CRC32C_16((n) + 32, __VA_ARGS__),                                \
    MAILPING_CRC32C_16((n) + 48, __VA_ARGS__)

#define MAILPING_CRC32C_TABLE(...)                                            \
    {                                                                         \
        MAILPING_CRC32C_64(0, __VA_ARGS__),                                   \
        MAILPING_CRC32C_64(64, __VA_ARGS__),                                  \
        MAILPING_CRC32C_64(128, __VA_ARGS__),                                 \
        MAILPING_CRC32C_64(192, __VA_ARGS__)                                  \
    }


static uint32_t mailping_crc32c_software(uint32_t crc, const uint8_t *p,
    size_t n);
#if (MAILPING_CRC32C_SSE42)
static uint32_t mailping_crc32c_sse42(uint32_t crc, const uint8_t *p,
    size_t n);
#endif


/* table k is for a byte that k more bytes of a word of eight follow */

static const uint32_t  mailping_crc32c_table[8][256] = {
    MAILPING_CRC32C_TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf,
                          0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    MAILPING_CRC32C_TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8,
                          0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    MAILPING_CRC32C_TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5,
                          0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    MAILPING_CRC32C_TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6,
                          0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    MAILPING_CRC32C_TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91,
                          0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    MAILPING_CRC32C_TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f,
                          0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    MAILPING_CRC32C_TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53,
                          0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    MAILPING_CRC32C_TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da,
                          0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664)
};


uint32_t
mailping_crc32c(uint32_t crc, const void *p, size_t n)
{
#if (MAILPING_CRC32C_SSE42)
    if (__builtin_cpu_supports("sse4.2")) {
        return mailping_crc32c_sse42(crc, p, n);
    }
#endif

    return mailping_crc32c_software(crc, p, n);
}


static uint32_t
mailping_crc32c_software(uint32_t crc, const uint8_t *p, size_t n)
{
    uint32_t  low, high;

    crc = ~crc;

    while (n >= 8) {
        low = mailping_get32(p) ^ crc;
        high = mailping_get32(p + 4);

        crc = mailping_crc32c_table[7][low & 0xff]
              ^ mailping_crc32c_table[6][low >> 8 & 0xff]
              ^ mailping_crc32c_table[5][low >> 16 & 0xff]
              ^ mailping_crc32c_table[4][low >> 24]
              ^ mailping_crc32c_table[3][high & 0xff]
              ^ mailping_crc32c_table[2][high >> 8 & 0xff]
              ^ mailping_crc32c_table[1][high >> 16 & 0xff]
              ^ mailping_crc32c_table[0][high >> 24];

        p += 8;
        n -= 8;
    }

    while (n--) {
        crc = mailping_crc32c_table[0][(crc ^ *p++) & 0xff] ^ crc >> 8;
    }

    return ~crc;
}


#if (MAILPING_CRC32C_SSE42)

static __attribute__((target("sse4.2"))) uint32_t
mailping_crc32c_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t  word, wide;

    wide = (uint32_t) ~crc;

    while (n >= 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);

        p += 8;
        n -= 8;
    }

    crc = (uint32_t) wide;

    while (n--) {
        crc = __builtin_ia32_crc32qi(crc, *p++);
    }

    return ~crc;
}

#endif
