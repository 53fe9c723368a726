
/*
 * Copyright (C) MailPing
 */


/* Masking of addresses and User-Agents: what is shown, and what never is. */

#include "str.h"
#include "tap.h"

#include "core/mask.h"


typedef struct {
    const char  *addr;
    unsigned     ipv4;
    unsigned     ipv6;
    const char  *network;
} network_case_t;


typedef struct {
    const char  *agent;
    const char  *masked;
} agent_case_t;


static void test_networks(void);
static void test_bits(void);
static void test_parse(void);
static void test_agents(void);
static void test_agent_bounds(void);


static const network_case_t  networks[] = {
    { "203.0.113.77", 24, 48, "203.0.113.0/24" },
    { "203.0.113.77", 32, 48, "203.0.113.77/32" },
    { "203.0.113.77", 0, 48, "0.0.0.0/0" },
    { "203.0.113.255", 25, 48, "203.0.113.128/25" },
    { "255.255.255.255", 31, 48, "255.255.255.254/31" },
    { "255.255.255.255", 99, 48, "255.255.255.255/32" },
    { "::ffff:203.0.113.77", 24, 48, "203.0.113.0/24" },
    { "::ffff:cb00:714d", 16, 48, "203.0.0.0/16" },
    { "2001:db8:12:3456::1", 24, 48, "2001:db8:12::/48" },
    { "2001:db8:12:3456::1", 24, 60, "2001:db8:12:3450::/60" },
    { "2001:db8::1", 24, 0, "::/0" },
    { "2001:db8::1", 24, 1, "::/1" },
    { "ffff::", 24, 1, "8000::/1" },
    { "::1", 24, 128, "::1/128" },
    { "::", 24, 128, "::/128" },
    { "1::", 24, 128, "1::/128" },
    { "1:0:0:2::3", 24, 128, "1:0:0:2::3/128" },
    { "1:0:0:2:0:0:3:4", 24, 128, "1::2:0:0:3:4/128" },
    { "1:0:2:3:4:5:6:7", 24, 128, "1:0:2:3:4:5:6:7/128" },
    { "0:1:2:3:4:5:6:0", 24, 128, "0:1:2:3:4:5:6:0/128" },
    { "0:0:1:2:3:4:5:6", 24, 128, "::1:2:3:4:5:6/128" },
    { "1:2:3:4:5:6:0:0", 24, 128, "1:2:3:4:5:6::/128" },
    { "2001:DB8:A0B:C0D:E:F:10:1", 24, 128, "2001:db8:a0b:c0d:e:f:10:1/128" },
    { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 24, 200,
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" },
    { "::fffe:203.0.113.77", 24, 48, "::/48" },
    { "64:ff9b::203.0.113.77", 24, 48, "64:ff9b::/48" },
    { "2001:0:4136:e378:8000:63bf:3fff:fdd2", 24, 48, "2001:0:4136::/48" },
    { "2002:cb00:714d:1::2", 24, 48, "2002:cb00:7100::/40" },
    { "2002:cb00:714d:1::2", 24, 64, "2002:cb00:7100::/40" },
    { "2002:cb00:714d:1::2", 16, 48, "2002:cb00::/32" },
    { "2002:cb00:714d:1::2", 24, 32, "2002:cb00::/32" },
    { "2002:cb00:714d:1::2", 32, 48, "2002:cb00:714d::/48" },
    { "2002:cb00:714d:1::2", 99, 128, "2002:cb00:714d::/48" },
};


static const char *const  no_addresses[] = {
    "", " ", "203.0.113", "203.0.113.256", "203.0.113.7 ", "203.0.113.07",
    "203.0.113.7/24", "0xcb007107", "3405803783", ":::", "1::2::3",
    "12345::", "fe80::1%eth0", "[::1]", "g::", "2001:db8:1:2:3:4:5:6:7",
    "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", "localhost",
};


static const agent_case_t  agents[] = {
    { "", "" },
    { "Mozilla/5.0", "Mozilla/5" },
    { "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
      "(KHTML, like Gecko) Chrome/120.0.6099.71 Safari/537.36",
      "Mozilla/5 AppleWebKit/537 Chrome/120 Safari/537" },
    { "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 "
      "(via ggpht.com GoogleImageProxy)", "Mozilla/5 Gecko Firefox/11" },
    { "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 "
      "Thunderbird/115.4.1", "Mozilla/5 Gecko Thunderbird/115" },
    { "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) "
      "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
      "Mozilla/5 AppleWebKit/605 Mobile" },
    { "curl/7.88.1", "curl/7" },
    { "python-requests/2.31.0", "python-requests/2" },
    { "YahooMailProxy; https://help.yahoo.com/kb/SLN28749.html",
      "YahooMailProxy" },
    { "Foo/abc", "Foo" },
    { "Foo/1.2-alice", "Foo" },
    { "Foo/1.2beta", "Foo" },
    { "Foo/", "Foo" },
    { "Foo/.5", "Foo" },
    { "/1.0", "" },
    { "Foo/1/2", "Foo" },
    { "Foo/12345", "Foo" },
    { "Foo/4915112345678", "Foo" },
    { "Foo/2024", "Foo/2024" },
    { "192.0.2.1", "" },
    { "App 192.0.2.1 App/1", "App App/1" },
    { "2001:db8::1 fe80::1", "" },
    { "alice@example.com Foo/2", "Foo/2" },
    { "mailto:alice@example.com", "" },
    { "host.example.com/1.0", "" },
    { "f47ac10b-58cc-4372-a567-0e02b2c3d479", "" },
    { "App/1 f47ac10b-58cc-4372-a567-0e02b2c3d479/1", "App/1" },
    { "MJ12bot/1.4", "MJ12bot/1" },
    { "A1234/1", "" },
    { "(a comment)", "" },
    { "Foo/1 (a (nested (one)) \\) still) Bar/2", "Foo/1 Bar/2" },
    { "Foo/1 (a (b) alice c) Bar/2", "Foo/1 Bar/2" },
    { "Foo/1 (a \\) alice c) Bar/2", "Foo/1 Bar/2" },
    { "Foo/1 (a \\( b) Bar/2", "Foo/1 Bar/2" },
    { "Foo/1(no space)Bar/2", "Foo/1 Bar/2" },
    { "Foo/1 (open alice@example.com", "Foo/1" },
    { "Foo/1 (open \\", "Foo/1" },
    { "Foo/1 ) Bar/2", "Foo/1 Bar/2" },
    { "Foo/1)alice Bar/2", "Foo Bar/2" },
    { "  \t Foo/1  \t Bar/2  ", "Foo/1 Bar/2" },
    { "Foo/1,Bar/2;Baz/3", "Foo/1 Bar/2 Baz/3" },
    { "F\xc3\xb6\xc3\xb6/1 Bar/2", "Bar/2" },
    { "Foo\"/1 <b>/2 Bar", "Bar" },
    { "Abcdefghijklmnopqrstuvwxyzabcdef/1",
      "Abcdefghijklmnopqrstuvwxyzabcdef/1" },
    { "Abcdefghijklmnopqrstuvwxyzabcdefg/1 Foo", "Foo" },
};


int
main(void)
{
    test_networks();
    test_bits();
    test_parse();
    test_agents();
    test_agent_bounds();

    return done();
}


static void
test_networks(void)
{
    size_t                 i, len;
    uint8_t                addr[16], text[MAILPING_NETWORK_TEXT_MAX];
    const network_case_t  *t;

    for (i = 0; i < sizeof(networks) / sizeof(networks[0]); i++) {
        t = &networks[i];

        if (!ok(mailping_mask_parse(str(t->addr), addr) == MAILPING_OK,
                "%s is an address", t->addr))
        {
            continue;
        }

        len = mailping_mask_network(addr, t->ipv4, t->ipv6, text);

        is_str(text, len, t->network, "network of %s", t->addr);
    }
}


/* each bit of the address is kept or cleared, at each length */

static void
test_bits(void)
{
    int       kept;
    uint8_t   addr[16], masked[16];
    unsigned  bits, i, good;

    good = 1;
    memset(addr, 0xff, 16);

    for (bits = 0; bits <= 128; bits++) {
        mailping_mask_address(addr, 0, bits, masked);

        for (i = 0; i < 128; i++) {
            kept = masked[i / 8] >> (7 - i % 8) & 1;

            if (kept != (i < bits)) {
                good = 0;
            }
        }
    }

    ok(good, "bits of IPv6 networks");

    good = 1;
    memset(addr, 0, 10);

    for (bits = 0; bits <= 32; bits++) {
        mailping_mask_address(addr, bits, 0, masked);

        if (!mailping_mask_is_ipv4(masked)) {
            good = 0;
        }

        for (i = 0; i < 32; i++) {
            kept = masked[12 + i / 8] >> (7 - i % 8) & 1;

            if (kept != (i < bits)) {
                good = 0;
            }
        }
    }

    ok(good, "bits of IPv4 networks");

    addr[0] = 1;
    ok(!mailping_mask_is_ipv4(addr), "only the mapped prefix is IPv4");
}


static void
test_parse(void)
{
    size_t          i;
    uint8_t         addr[16];
    mailping_str_t  text;

    static const uint8_t  mapped[16] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1
    };

    ok(mailping_mask_parse(str("192.0.2.1"), addr) == MAILPING_OK
       && memcmp(addr, mapped, 16) == 0, "IPv4 is mapped");

    ok(mailping_mask_parse(str("::ffff:192.0.2.1"), addr) == MAILPING_OK
       && memcmp(addr, mapped, 16) == 0, "mapped IPv4 is the same");

    for (i = 0; i < sizeof(no_addresses) / sizeof(no_addresses[0]); i++) {
        ok(mailping_mask_parse(str(no_addresses[i]), addr) == MAILPING_ERROR,
           "\"%s\" is no address", no_addresses[i]);
    }

    text.data = (const uint8_t *) "::1\0x";
    text.len = 5;
    ok(mailping_mask_parse(text, addr) == MAILPING_ERROR, "a zero byte");

    text.len = 3;
    ok(mailping_mask_parse(text, addr) == MAILPING_OK, "a counted string");
}


static void
test_agents(void)
{
    size_t   i, len;
    uint8_t  dst[512];

    for (i = 0; i < sizeof(agents) / sizeof(agents[0]); i++) {
        len = mailping_mask_agent(str(agents[i].agent), dst, sizeof(dst));

        is_str(dst, len, agents[i].masked, "agent %zu", i);
    }
}


static void
test_agent_bounds(void)
{
    size_t          i, cap, len;
    uint8_t         dst[64], big[8192];
    unsigned        good;
    mailping_str_t  agent;

    static const size_t  whole[] = {
        0, 0, 0, 0, 0, 5, 5, 5, 5, 5, 5, 11, 11, 11, 11, 11
    };

    good = 1;

    for (cap = 0; cap < 16; cap++) {
        memset(dst, 0xaa, sizeof(dst));
        len = mailping_mask_agent(str("Foo/1 Bar/2"), dst, cap);

        if (len != whole[cap] || dst[cap] != 0xaa) {
            good = 0;
        }
    }

    ok(good, "products are whole or absent at each capacity");

    srand(2);

    for (i = 0; i < sizeof(big); i++) {
        big[i] = (uint8_t) "Aa1/. ()\\@;\xff"[rand() % 12];
    }

    good = 1;
    agent.data = big;

    for (agent.len = 0; agent.len < sizeof(big); agent.len += 7) {
        memset(dst, 0xaa, sizeof(dst));
        len = mailping_mask_agent(agent, dst, 32);

        if (len > 32 || dst[32] != 0xaa || memchr(dst, '@', len) != NULL
            || memchr(dst, '.', len) != NULL)
        {
            good = 0;
        }
    }

    ok(good, "noise stays in bounds");

    memset(big, '(', sizeof(big));
    agent.len = sizeof(big);
    is_int(mailping_mask_agent(agent, dst, sizeof(dst)), 0, "deep comment");
}
