
/*
 * Copyright (C) MailPing
 */


/* CRC-32C: RFC 3720's vectors, and both ways of computing it agree. */

#include "tap.h"

/* a second copy under another name, to reach the portable function */

#define mailping_crc32c  mailping_crc32c_copy
#include "core/crc32c.c"
#undef mailping_crc32c

uint32_t mailping_crc32c(uint32_t crc, const void *p, size_t n);


static uint32_t bitwise(uint32_t crc, const uint8_t *p, size_t n);
static void test_known(const char *name, const uint8_t *p, size_t n,
    uint32_t expected);


int
main(void)
{
    int       same;
    size_t    i, n, cut;
    uint8_t   buf[4096];
    uint32_t  crc;

    static const uint8_t  iscsi[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
        0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0
    };

    memset(buf, 0, sizeof(buf));

    test_known("nothing", buf, 0, 0);
    test_known("123456789", (const uint8_t *) "123456789", 9, 0xe3069283);
    test_known("32 zeros", buf, 32, 0x8a9136aa);

    memset(buf, 0xff, 32);
    test_known("32 ones", buf, 32, 0x62a8ab43);

    for (i = 0; i < 32; i++) {
        buf[i] = (uint8_t) i;
    }

    test_known("32 incrementing bytes", buf, 32, 0x46dd794e);

    for (i = 0; i < 32; i++) {
        buf[i] = (uint8_t) (31 - i);
    }

    test_known("32 decrementing bytes", buf, 32, 0x113fdb5c);
    test_known("iSCSI read command", iscsi, 48, 0xd9963a56);

    srand(1);

    for (i = 0; i < sizeof(buf); i++) {
        buf[i] = (uint8_t) (rand() >> 7);
    }

    same = 1;

    for (n = 0; n < 300; n++) {
        for (i = 0; i < 9; i++) {
            crc = bitwise(0, buf + i, n);

            if (mailping_crc32c(0, buf + i, n) != crc
                || mailping_crc32c_software(0, buf + i, n) != crc)
            {
                same = 0;
            }
        }
    }

    ok(same, "all lengths to 299 at all alignments");

    crc = bitwise(0, buf, sizeof(buf));
    same = 1;

    for (cut = 0; cut < sizeof(buf); cut += 61) {
        if (mailping_crc32c(mailping_crc32c(0, buf, cut), buf + cut,
                            sizeof(buf) - cut)
            != crc
            || mailping_crc32c_software(mailping_crc32c_software(0, buf, cut),
                                        buf + cut, sizeof(buf) - cut)
               != crc)
        {
            same = 0;
        }
    }

    ok(same, "parts continue each other");

    is_int(mailping_crc32c_copy(0, buf, sizeof(buf)), crc,
           "the copy under test is the function");

    return done();
}


static uint32_t
bitwise(uint32_t crc, const uint8_t *p, size_t n)
{
    int  i;

    crc = ~crc;

    while (n--) {
        crc ^= *p++;

        for (i = 0; i < 8; i++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }

    return ~crc;
}


static void
test_known(const char *name, const uint8_t *p, size_t n, uint32_t expected)
{
    is_int(mailping_crc32c(0, p, n), expected, "%s", name);
    is_int(mailping_crc32c_software(0, p, n), expected, "%s, portable", name);
}
