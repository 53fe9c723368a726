
/*
 * Copyright (C) MailPing
 */


/*
 * The longest prefix decides, equal prefixes together; IPv4 mapped into IPv6
 * is IPv4; 300,000 networks give what a naive search gives, quickly.
 */

#define _POSIX_C_SOURCE  200809L

#include <time.h>

#include "core/mask.h"
#include "core/networks.h"
#include "tap.h"


#define N_LARGE   300000
#define N_ASKED   200


typedef struct {
    uint8_t   addr[16];
    unsigned  bits;
    unsigned  set;
} prefix_t;


static uint32_t  seed = 42;


static uint32_t random_bits(void);
static void address(const char *text, uint8_t addr[16]);
static void add(mailping_networks_t *n, const char *text, unsigned bits,
    unsigned set);
static uint64_t find(const mailping_networks_t *n, const char *text);
static int covers(const prefix_t *p, const uint8_t addr[16]);
static uint64_t naive(const prefix_t *prefix, size_t n,
    const uint8_t addr[16]);
static void cut(prefix_t *p);
static double seconds(void);
static void test_precedence(void);
static void test_edges(void);
static void test_random(void);
static void test_large(void);


int
main(void)
{
    test_precedence();
    test_edges();
    test_random();
    test_large();

    return done();
}


static uint32_t
random_bits(void)
{
    uint32_t  high;

    seed = seed * 1664525 + 1013904223;
    high = seed >> 16;
    seed = seed * 1664525 + 1013904223;

    return high << 16 | seed >> 16;
}


static void
address(const char *text, uint8_t addr[16])
{
    mailping_str_t  s;

    s.data = (const uint8_t *) text;
    s.len = strlen(text);

    if (mailping_mask_parse(s, addr) != MAILPING_OK) {
        printf("Bail out! bad address %s\n", text);
        exit(1);
    }
}


static void
add(mailping_networks_t *n, const char *text, unsigned bits, unsigned set)
{
    uint8_t  addr[16];

    address(text, addr);
    mailping_networks_add(n, addr, bits, set);
}


static uint64_t
find(const mailping_networks_t *n, const char *text)
{
    uint8_t          addr[16];
    const uint64_t  *sets;

    address(text, addr);
    sets = mailping_networks_find(n, addr);

    return sets != NULL ? sets[0] : 0;
}


static int
covers(const prefix_t *p, const uint8_t addr[16])
{
    unsigned  i;

    if (mailping_mask_is_ipv4(addr)
        != (mailping_mask_is_ipv4(p->addr) && p->bits >= 96))
    {
        return 0;
    }

    /* the last whole byte alone tells most of them apart, and quickly */

    if (p->bits >= 8 && addr[p->bits / 8 - 1] != p->addr[p->bits / 8 - 1]) {
        return 0;
    }

    for (i = 0; i < p->bits; i++) {
        if ((addr[i / 8] ^ p->addr[i / 8]) & 0x80 >> i % 8) {
            return 0;
        }
    }

    return 1;
}


static uint64_t
naive(const prefix_t *prefix, size_t n, const uint8_t addr[16])
{
    int       longest;
    size_t    i;
    uint64_t  sets;

    longest = -1;
    sets = 0;

    for (i = 0; i < n; i++) {

        if ((int) prefix[i].bits < longest || !covers(&prefix[i], addr)) {
            continue;
        }

        if ((int) prefix[i].bits > longest) {
            longest = (int) prefix[i].bits;
            sets = 0;
        }

        sets |= (uint64_t) 1 << prefix[i].set;
    }

    return sets;
}


static void
cut(prefix_t *p)
{
    unsigned  i;

    for (i = p->bits; i < 128; i++) {
        p->addr[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
    }
}


static double
seconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


static void
test_precedence(void)
{
    size_t                i;
    mailping_networks_t  *n;

    static const struct {
        const char  *addr;
        uint64_t     sets;
        const char  *why;
    } cases[] = {
        { "9.255.255.255", 0, "before the network" },
        { "10.0.0.0", 1, "first of the network" },
        { "10.255.255.255", 1, "last of the network" },
        { "11.0.0.0", 0, "behind the network" },
        { "10.1.2.3", 2, "a longer prefix alone" },
        { "10.1.127.255", 2, "to where an even longer one starts" },
        { "10.2.0.0", 1, "behind it the shorter one again" },
        { "10.1.128.1", 4, "three deep" },
        { "10.3.0.9", 0x18, "equal prefixes together, once or twice listed" },
        { "::ffff:10.1.2.3", 2, "mapped is IPv4" },
        { "2001:db8::1", 1, "IPv6" },
        { "2001:db8:1::1", 2, "IPv6, longer" },
        { "2001:db8:1::", 4, "IPv6, one address" },
        { "2001:db9::", 0, "IPv6, behind" },
        { "0.0.0.1", 0, "no IPv4 network here" },
    };

    n = mailping_networks_create(1);

    add(n, "10.1.128.0", 96 + 17, 2);
    add(n, "10.0.0.0", 96 + 8, 0);
    add(n, "10.1.0.0", 96 + 16, 1);
    add(n, "10.3.0.0", 96 + 16, 3);
    add(n, "10.3.0.0", 96 + 16, 4);
    add(n, "10.3.0.0", 96 + 16, 3);
    add(n, "2001:db8::", 32, 0);
    add(n, "2001:db8:1::", 48, 1);
    add(n, "2001:db8:1::", 128, 2);

    is_int(mailping_networks_compile(n), MAILPING_OK, "networks compile");

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is_int(find(n, cases[i].addr), cases[i].sets, "%s: %s",
               cases[i].addr, cases[i].why);
    }

    mailping_networks_destroy(n);
}


static void
test_edges(void)
{
    mailping_networks_t  *n;

    n = mailping_networks_create(1);
    mailping_networks_compile(n);
    is_int(find(n, "1.2.3.4"), 0, "no networks, IPv4");
    is_int(find(n, "::1"), 0, "no networks, IPv6");
    mailping_networks_destroy(n);

    n = mailping_networks_create(1);
    add(n, "::", 0, 0);
    mailping_networks_compile(n);
    is_int(find(n, "::"), 1, "::/0 has the first address");
    is_int(find(n, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 1,
           "and the last");
    is_int(find(n, "1.2.3.4"), 0, "but no IPv4 address");
    mailping_networks_destroy(n);

    n = mailping_networks_create(1);
    add(n, "0.0.0.0", 96, 0);
    add(n, "255.255.255.255", 128, 1);
    add(n, "0.0.0.0", 128, 2);
    add(n, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, 3);
    mailping_networks_compile(n);
    is_int(find(n, "0.0.0.0"), 4, "the first IPv4 address");
    is_int(find(n, "0.0.0.1"), 1, "0.0.0.0/0");
    is_int(find(n, "255.255.255.254"), 1, "almost the last");
    is_int(find(n, "255.255.255.255"), 2, "the last IPv4 address");
    is_int(find(n, "::1:0:0:0"), 0, "0.0.0.0/0 has no IPv6 address");
    is_int(find(n, "::fffe:ffff:ffff"), 0, "nor one in front");
    is_int(find(n, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 8,
           "the last address");
    mailping_networks_destroy(n);

    mailping_networks_destroy(NULL);
}


static void
test_random(void)
{
    size_t                i, k, count;
    uint8_t               addr[16];
    unsigned              round, wrong, found;
    uint64_t              expected;
    prefix_t              prefix[64];
    const uint64_t       *sets;
    mailping_networks_t  *n;

    wrong = 0;
    found = 0;

    for (round = 0; round < 300; round++) {
        n = mailping_networks_create(1);
        count = 1 + random_bits() % 64;

        for (i = 0; i < count; i++) {

            /* few different bits, so that prefixes nest and meet */

            memset(prefix[i].addr, 0, 16);

            if (random_bits() % 2) {
                memset(prefix[i].addr + 10, 0xff, 2);
                prefix[i].bits = 96 + random_bits() % 33;

            } else {
                prefix[i].bits = random_bits() % 129;
            }

            for (k = 0; k < 3; k++) {
                prefix[i].addr[12 + random_bits() % 4]
                                           |= (uint8_t) (random_bits() & 0xc1);
            }

            prefix[i].set = random_bits() % 64;
            cut(&prefix[i]);

            mailping_networks_add(n, prefix[i].addr, prefix[i].bits,
                                  prefix[i].set);
        }

        mailping_networks_compile(n);

        for (i = 0; i < 200; i++) {
            memcpy(addr, prefix[random_bits() % count].addr, 16);
            addr[12 + random_bits() % 4] ^= (uint8_t) (random_bits() & 0xc1);

            sets = mailping_networks_find(n, addr);
            expected = naive(prefix, count, addr);

            wrong += (sets != NULL ? sets[0] : 0) != expected;
            found += expected != 0;
        }

        mailping_networks_destroy(n);
    }

    is_int(wrong, 0, "60000 addresses as the naive search");
    ok(found > 10000, "%u of them in a network", found);
}


static void
test_large(void)
{
    double                start, compiled;
    size_t                i;
    uint8_t               addr[16];
    prefix_t             *prefix;
    unsigned              wrong, found;
    uint64_t              expected;
    const uint64_t       *sets;
    mailping_networks_t  *n;

    prefix = malloc(N_LARGE * sizeof(prefix_t));
    n = mailping_networks_create(1);

    for (i = 0; i < N_LARGE; i++) {
        mailping_put32(prefix[i].addr, random_bits());
        mailping_put32(prefix[i].addr + 4, random_bits());
        mailping_put32(prefix[i].addr + 8, random_bits());
        mailping_put32(prefix[i].addr + 12, random_bits());

        if (i % 3) {
            memset(prefix[i].addr, 0, 10);
            memset(prefix[i].addr + 10, 0xff, 2);
            prefix[i].bits = 96 + 8 + random_bits() % 25;

        } else {
            prefix[i].addr[0] = 0x20;
            prefix[i].bits = 12 + random_bits() % 53;
        }

        prefix[i].set = random_bits() % 64;
        cut(&prefix[i]);

        mailping_networks_add(n, prefix[i].addr, prefix[i].bits,
                              prefix[i].set);
    }

    start = seconds();
    is_int(mailping_networks_compile(n), MAILPING_OK, "300000 networks");
    compiled = seconds() - start;

    /* 0.1 s without sanitizers; the bound is for slow and busy machines */

    ok(compiled < 5, "compile in %.0f ms", compiled * 1000);

    wrong = 0;
    found = 0;

    for (i = 0; i < N_ASKED; i++) {
        memcpy(addr, prefix[random_bits() % N_LARGE].addr, 16);
        addr[12 + i % 4] ^= (uint8_t) random_bits();

        sets = mailping_networks_find(n, addr);
        expected = naive(prefix, N_LARGE, addr);

        wrong += (sets != NULL ? sets[0] : 0) != expected;
        found += expected != 0;
    }

    is_int(wrong, 0, "%d addresses as the naive search", N_ASKED);
    ok(found > N_ASKED / 2, "%u of them in a network", found);

    mailping_networks_destroy(n);
    free(prefix);
}
