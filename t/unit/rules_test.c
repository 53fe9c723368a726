
/*
 * Copyright (C) MailPing
 */


/*
 * The rule language: what is accepted, each kind of error with its place, what
 * later files replace, limits, the examples of docs/rules.md, damaged input.
 */

#define _POSIX_C_SOURCE  200809L

#include <time.h>

#include "core/builtin.h"
#include "core/classify.h"
#include "core/rules.h"
#include "str.h"
#include "tap.h"


typedef struct {
    const char  *text;
    unsigned     line;
    unsigned     column;
    const char  *error;
} bad_t;


static mailping_rules_error_t  err;


static int load(void *data, const char *from, mailping_str_t name,
    mailping_str_t *text, char path[256], char why[128]);
static int compile(const char *text);
static int compile_list(const char *text, const char *list);
static double seconds(void);
static void test_good(void);
static void test_bad(void);
static void test_lists(void);
static void test_files(void);
static void test_facts(void);
static void test_limits(void);
static void test_id(void);
static void test_builtin(void);
static void test_damage(void);
static void test_large(void);


int
main(void)
{
    test_good();
    test_bad();
    test_lists();
    test_files();
    test_facts();
    test_limits();
    test_id();
    test_builtin();
    test_damage();
    test_large();

    return done();
}


/* a file's text is what data says, a missing one when that is NULL */

static int
load(void *data, const char *from, mailping_str_t name, mailping_str_t *text,
    char path[256], char why[128])
{
    if (data == NULL) {
        snprintf(why, 128, "No such file or directory");
        return MAILPING_ERROR;
    }

    snprintf(path, 256, "%s/%.*s", from, (int) name.len,
             (const char *) name.data);
    *text = str(data);

    return MAILPING_OK;
}


static int
compile(const char *text)
{
    return compile_list(text, NULL);
}


static int
compile_list(const char *text, const char *list)
{
    int                rc;
    mailping_rules_t  *rs;

    memset(&err, 0, sizeof(err));

    rs = mailping_rules_create();
    rc = mailping_rules_parse(rs, "test", str(text), load, (void *) list, &err);

    if (rc == MAILPING_OK) {
        rc = mailping_rules_compile(rs, &err);
    }

    mailping_rules_destroy(rs);

    return rc;
}


static double
seconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


static void
test_good(void)
{
    size_t  i;

    static const char *const  good[] = {
        "",
        "\n\n  \t\r\n",
        "# a comment\n   # another",
        "\xef\xbb\xbfnetwork a 10.0.0.0/8",
        "network a 10.0.0.0/8",
        "network a 10.0.0.1 2001:db8::/32 ::1 ::ffff:10.0.0.0/104\r\n",
        "network a 0.0.0.0/0 ::/0 # both",
        "asn a 1 AS2 as4294967295",
        "agent a \"x\" =\"x\" ^\"x\" \"x\"$ ^\"x\"$ =\"\"",
        "agent a <\"x\" \"x\"> <\"x\"> ^\"x\"> <\"x\"$ <\"<x>\">",
        "agent a \"a b # c\" \"\\\"\\\\\"",
        "agent a =\"\"",
        "rule r time - bot+1 farm>=2 farm<3 agents<2 quick>=60 !scanned",
        "client a \"x/\"\nclient a \"y/\"",
        "header a x y=\"1\" z~\"2 3\" z=\"\"",
        "rule r agent - human+1 self",
        "rule r history p human+30,bot-30,proxied+0 !self seen<2 seen>=3",
        "set s - shielded self\nset t p self !self",
        "prior human+1,bot-3",
        "prior - human+1",
        "prior    -    human+1   # why",
        "rule r network - bot+1 network:a\nnetwork a ::1",
        "rule r time - bot+1 age<10ms age>=1s age<2m age<3h age<4d",
        "rule r time - bot+1 burst>=5 !burst<5 burst<9",
        "rule r time - bot+1 !method:get method:head",
        "rule r time - bot+1 http:0.9 http:1.0 !http:1.1 !http:2 http:3",
        "rule r time - bot+1 hint:gmail !hint:other",
        "rule r headers - bot+1 header:!Accept !header:!accept-language",
        "rule A-b_c.9 time - bot+1 self self",
        "network x 10.0.0.0/8\nasn x 1\nagent x \"x\"\nclient x \"x\"\n"
            "header x x\nrule x agent x bot+1 network:x asn:x agent:x "
            "client:x header:x",
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ok(compile(good[i]) == MAILPING_OK, "accepted: %zu", i);

        if (err.text[0] != '\0') {
            printf("# %s: %u:%u %s\n", good[i], err.line, err.column,
                   err.text);
        }
    }
}


static void
test_bad(void)
{
    size_t  i;

    static const bad_t  bad[] = {
        { "networks a 10.0.0.0/8", 1, 1,
          "expected statement, found \"networks\"" },
        { "\n  \xff\x01x", 2, 3,
          "expected statement, found \"\\xff\\x01x\"" },
        { "network", 1, 8, "expected name of at most 64 letters, digits, "
                           "\"._-\", found end of line" },
        { "network a,b ::1", 1, 9, "expected name of at most 64 letters, "
                                   "digits, \"._-\", found \"a,b\"" },
        { "network a", 1, 10,
          "expected network or \"@file\", found end of line" },
        { "network a # b", 1, 11,
          "expected network or \"@file\", found end of line" },
        { "network a 10.0.0.0/8 10.0.0/8", 1, 22,
          "expected network, found \"10.0.0/8\"" },
        { "network a 10.0.0.0/33", 1, 20,
          "expected prefix length from 0 to 32, found \"33\"" },
        { "network a 10.0.0.0/", 1, 20,
          "expected prefix length from 0 to 32, found end of line" },
        { "network a 10.0.0.0/8x", 1, 20,
          "expected prefix length from 0 to 32, found \"8x\"" },
        { "network a ::/129", 1, 14,
          "expected prefix length from 0 to 128, found \"129\"" },
        { "network a ::/99999999999999999999", 1, 14,
          "expected prefix length from 0 to 128, found "
          "\"99999999999999999999\"" },
        { "network a 10.1.2.3/8", 1, 11,
          "expected network without host bits, such as \"10.0.0.0/8\", "
          "found \"10.1.2.3/8\"" },
        { "network a 2001:db8::1/32", 1, 11,
          "expected network without host bits, such as \"2001:db8::/32\", "
          "found \"2001:db8::1/32\"" },
        { "network a ::ffff:0:0/90", 1, 11,
          "expected network without host bits, such as \"::ffc0:0:0/90\", "
          "found \"::ffff:0:0/90\"" },
        { "network a ::ffff:10.0.0.1/104", 1, 11,
          "expected network without host bits, such as \"10.0.0.0/8\", "
          "found \"::ffff:10.0.0.1/104\"" },
        { "network a @none.txt", 1, 11,
          "expected file that can be read (No such file or directory), found "
          "\"@none.txt\"" },
        { "network a @", 1, 11,
          "expected \"@\" and a file name, found \"@\"" },
        { "asn a 1 0", 1, 9,
          "expected AS number from 1 to 4294967295, found \"0\"" },
        { "asn a 4294967296", 1, 7,
          "expected AS number from 1 to 4294967295, found \"4294967296\"" },
        { "asn a AS", 1, 7,
          "expected AS number from 1 to 4294967295, found \"AS\"" },
        { "asn a 1x", 1, 7,
          "expected AS number from 1 to 4294967295, found \"1x\"" },
        { "agent a x", 1, 9, "expected pattern in quotes, found \"x\"" },
        { "agent a \"x", 1, 11, "expected closing quote, found end of line" },
        { "agent a \"x\\\"", 1, 13,
          "expected closing quote, found end of line" },
        { "agent a \"x\"\"y\"", 1, 12,
          "expected blank after the pattern, found \"\"y\"\"" },
        { "agent a =\"x\"$", 1, 13,
          "expected blank after the pattern, found \"$\"" },
        { "agent a =\"x\">", 1, 13,
          "expected blank after the pattern, found \">\"" },
        { "agent a \"x\"$>", 1, 13,
          "expected blank after the pattern, found \">\"" },
        { "agent a <\"x\">>", 1, 14,
          "expected blank after the pattern, found \">\"" },
        { "agent a <^\"x\"", 1, 9,
          "expected pattern in quotes, found \"<^\"x\"\"" },
        { "agent a <\"\">", 1, 9,
          "expected pattern of 1 to 1024 bytes, found \"<\"\">\"" },
        { "agent a \"x\\n\"", 1, 11,
          "expected escape \\\" or \\\\, found \"\\n\"\"" },
        { "agent a \"\"", 1, 9,
          "expected pattern of 1 to 1024 bytes, found \"\"\"\"" },
        { "agent a ^\"\"", 1, 9,
          "expected pattern of 1 to 1024 bytes, found \"^\"\"\"" },
        { "header a", 1, 9, "expected header, found end of line" },
        { "header a x:y", 1, 11,
          "expected \"~\", \"=\" or blank, found \":y\"" },
        { "header a x~y", 1, 12, "expected value in quotes, found \"y\"" },
        { "header a x=", 1, 12, "expected value in quotes, found end of "
                                "line" },
        { "header a x~\"\"", 1, 10,
          "expected substring of at least one byte, found \"x~\"\"\"" },
        { "header a x~\"y\"z", 1, 15,
          "expected blank after the value, found \"z\"" },
        { "header a =\"y\"", 1, 10,
          "expected header name of at most 64 letters, digits, \"._-\", "
          "found \"=\"y\"\"" },
        { "header a @x", 1, 10,
          "expected header name of at most 64 letters, digits, \"._-\", "
          "found \"@x\"" },
        { "rule", 1, 5, "expected rule name of at most 64 letters, digits, "
                        "\"._-\", found end of line" },
        { "rule r agents - bot+1 self", 1, 8,
          "expected group agent, network, headers, time or history, found "
          "\"agents\"" },
        { "rule r set - bot+1 self", 1, 8,
          "expected group agent, network, headers, time or history, found "
          "\"set\"" },
        { "rule r agent p,q bot+1 self", 1, 14,
          "expected provider of at most 64 letters, digits, \"._-\", or "
          "\"-\", found \"p,q\"" },
        { "rule r agent -", 1, 15, "expected weights, found end of line" },
        { "rule r agent - robot+1 self", 1, 16,
          "expected class human, proxied, prefetch, scanner or bot, found "
          "\"robot+1\"" },
        { "rule r agent - bot+1,human self", 1, 27,
          "expected \"+\" or \"-\", found end of line" },
        { "rule r agent - bot*1 self", 1, 19,
          "expected \"+\" or \"-\", found \"*1\"" },
        { "rule r agent - bot+31 self", 1, 20,
          "expected weight from 0 to 30, found \"31\"" },
        { "rule r agent - bot+ self", 1, 20,
          "expected weight from 0 to 30, found end of line" },
        { "rule r agent - bot-99999999999 self", 1, 20,
          "expected weight from 0 to 30, found \"99999999999\"" },
        { "rule r agent - bot+1;human+1 self", 1, 21,
          "expected \",\" or blank, found \";human+1\"" },
        { "rule r agent - bot+1,bot+2 self", 1, 22,
          "expected each class once, found \"bot+2\"" },
        { "rule r agent - bot+1, self", 1, 22,
          "expected class human, proxied, prefetch, scanner or bot, found "
          "end of line" },
        { "rule r agent - bot+1", 1, 21,
          "expected condition, found end of line" },
        { "rule r agent - bot+1 foo:x", 1, 22,
          "expected condition, found \"foo:x\"" },
        { "rule r agent - bot+1 !!self", 1, 23,
          "expected condition, found \"!self\"" },
        { "rule r agent - bot+1 selfish", 1, 22,
          "expected condition, found \"selfish\"" },
        { "rule r agent - bot+1 agent:", 1, 28,
          "expected name of at most 64 letters, digits, \"._-\", found end "
          "of line" },
        { "rule r agent - bot+1 age=10s", 1, 25,
          "expected \"<\" or \">=\", found \"=10s\"" },
        { "rule r agent - bot+1 age>10s", 1, 25,
          "expected \"<\" or \">=\", found \">10s\"" },
        { "rule r agent - bot+1 age<10", 1, 28,
          "expected unit ms, s, m, h or d, found end of line" },
        { "rule r agent - bot+1 age<10y", 1, 28,
          "expected unit ms, s, m, h or d, found \"y\"" },
        { "rule r agent - bot+1 age<0s", 1, 26,
          "expected number from 1 to 1000000000, found \"0s\"" },
        { "rule r agent - bot+1 age<3651d", 1, 26,
          "expected time of at most 3650d, found \"3651d\"" },
        { "rule r agent - bot+1 seen<x", 1, 27,
          "expected number from 1 to 1000000000, found \"x\"" },
        { "rule r agent - bot+1 seen<2s", 1, 27,
          "expected number from 1 to 1000000000, found \"2s\"" },
        { "rule r agent - bot+1 burst>=1000000001", 1, 29,
          "expected number from 1 to 1000000000, found \"1000000001\"" },
        { "rule r agent - bot+1 farm>=4", 1, 28,
          "expected number from 1 to 3, found \"4\"" },
        { "rule r agent - bot+1 agents<4", 1, 29,
          "expected number from 1 to 3, found \"4\"" },
        { "rule r agent - bot+1 quick>=101", 1, 29,
          "expected percentage from 1 to 100, found \"101\"" },
        { "rule r agent - bot+1 method:post", 1, 29,
          "expected \"head\" or \"get\", found \"post\"" },
        { "rule r agent - bot+1 http:1.2", 1, 27,
          "expected \"0.9\", \"1.0\", \"1.1\", \"2\" or \"3\", found "
          "\"1.2\"" },
        { "rule r agent - bot+1 hint:unknown", 1, 27,
          "expected \"gmail\", \"microsoft\", \"apple\", \"yahoo\", "
          "\"gateway\" or \"other\", found \"unknown\"" },
        { "rule r agent - bot+1 age>=9s !age>=9s", 1, 30,
          "expected condition that can hold beside those before, found "
          "\"!age>=9s\"" },
        { "rule r agent - bot+1 method:get method:head", 1, 33,
          "expected condition that can hold beside those before, found "
          "\"method:head\"" },
        { "rule r agent - bot+1 self\nrule r agent - bot+1 self", 2, 6,
          "expected rule name that is new in this file, found \"r\"" },
        { "rule r agent - bot+1 self\n set r - self self", 2, 6,
          "expected rule name that is new in this file, found \"r\"" },
        { "set s - human self", 1, 9,
          "expected \"shielded\" or \"self\", found \"human\"" },
        { "set s - self", 1, 13, "expected condition, found end of line" },
        { "prior", 1, 6, "expected weights, found end of line" },
        { "prior - ", 1, 9, "expected weights, found end of line" },
        { "prior bot+1 x", 1, 13, "expected end of line, found \"x\"" },
        { "prior bot+1\n prior bot+1", 2, 2,
          "expected one prior in a file, found \"prior\"" },
        { "asn a", 1, 6,
          "expected AS number or \"@file\", found end of line" },
        { "agent a", 1, 8,
          "expected pattern or \"@file\", found end of line" },
        { "client a # x", 1, 10,
          "expected pattern or \"@file\", found end of line" },
        { "client a x", 1, 10, "expected pattern in quotes, found \"x\"" },
        { "client a \"\"$", 1, 10,
          "expected pattern of 1 to 1024 bytes, found \"\"\"$\"" },
        { "asn a -1", 1, 7,
          "expected AS number from 1 to 4294967295, found \"-1\"" },
        { "asn /", 1, 5, "expected name of at most 64 letters, digits, "
                         "\"._-\", found \"/\"" },
        { "header a x=\"y", 1, 14,
          "expected closing quote, found end of line" },
        { "header a x=\"\\n\"", 1, 13,
          "expected escape \\\" or \\\\, found \"\\n\"\"" },
        { "header a x \"y\"", 1, 12,
          "expected header name of at most 64 letters, digits, \"._-\", "
          "found \"\"y\"\"" },
        { "header a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaa", 1, 10,
          "expected header name of at most 64 letters, digits, \"._-\", "
          "found \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"" },
        { "rule r", 1, 7,
          "expected group agent, network, headers, time or history, found "
          "end of line" },
        { "rule r agent", 1, 13,
          "expected provider of at most 64 letters, digits, \"._-\", or "
          "\"-\", found end of line" },
        { "rule r agent - bot+1 self \"x", 1, 29,
          "expected closing quote, found end of line" },
        { "\"rule", 1, 6, "expected closing quote, found end of line" },
        { "rule r! agent - bot+1 self", 1, 6,
          "expected rule name of at most 64 letters, digits, \"._-\", "
          "found \"r!\"" },
        { "rule r agent - bot+1 header:!", 1, 30,
          "expected name of at most 64 letters, digits, \"._-\", found end "
          "of line" },
        { "rule r agent - bot+1 header:!a,b", 1, 30,
          "expected name of at most 64 letters, digits, \"._-\", found "
          "\"a,b\"" },
        { "rule r agent - bot+1 age<1000000001s", 1, 26,
          "expected number from 1 to 1000000000, found \"1000000001s\"" },
        { "rule r agent - bot+1 age<", 1, 26,
          "expected number from 1 to 1000000000, found end of line" },
        { "rule r agent - bot+1 burst", 1, 27,
          "expected \"<\" or \">=\", found end of line" },
        { "rule r agent - bot+1 seen=2", 1, 26,
          "expected \"<\" or \">=\", found \"=2\"" },
        { "rule r agent - bot+1 farm>=0", 1, 28,
          "expected number from 1 to 3, found \"0\"" },
        { "rule r agent - bot+1 farm=2", 1, 26,
          "expected \"<\" or \">=\", found \"=2\"" },
        { "rule r agent - bot+1 quick>=x", 1, 29,
          "expected percentage from 1 to 100, found \"x\"" },
        { "rule r agent - bot+1 scanned=1", 1, 22,
          "expected condition, found \"scanned=1\"" },
        { "set", 1, 4, "expected rule name of at most 64 letters, digits, "
                       "\"._-\", found end of line" },
        { "set s", 1, 6,
          "expected provider of at most 64 letters, digits, \"._-\", or "
          "\"-\", found end of line" },
        { "set s -", 1, 8,
          "expected \"shielded\" or \"self\", found end of line" },
        { "set s - self agent:", 1, 20,
          "expected name of at most 64 letters, digits, \"._-\", found end "
          "of line" },
        { "prior x", 1, 7,
          "expected class human, proxied, prefetch, scanner or bot, found "
          "\"x\"" },
        { "prior bot+1 \"x", 1, 13,
          "expected end of line, found \"\"x\"" },
        { "rule r agent - bot+1 client:x !network:y", 1, 22,
          "expected name of a defined set, found \"client:x\"" },
        { "rule r agent - bot+1 !header:x", 1, 22,
          "expected name of a defined set, found \"header:x\"" },
        { "\nrule r agent - bot+1 self !agent:nobody", 2, 27,
          "expected name of a defined set, found \"agent:nobody\"" },
        { "network x ::1\nrule r agent - bot+1 asn:x", 2, 22,
          "expected name of a defined set, found \"asn:x\"" },
        { "rule r agent - bot+1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaa", 1, 22,
          "expected condition, found \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaa...\"" },
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is_int(compile(bad[i].text), MAILPING_ERROR, "refused: %zu", i);
        is_str(err.text, strlen(err.text), bad[i].error, "its error");
        is_int(err.line, bad[i].line, "its line");
        is_int(err.column, bad[i].column, "its column");
        is_str(err.file, strlen(err.file), "test", "its file");
    }
}


static void
test_lists(void)
{
    size_t             i;
    mailping_rules_t  *rs;

    static const struct {
        const char  *rules;
        const char  *list;
        unsigned     line;
        unsigned     column;
        const char  *error;          /* NULL: accepted */
    } cases[] = {
        { "network a @l", "", 0, 0, NULL },
        { "network a @l ::1", "# x\n\n 10.0.0.0/8  # y\r\n::1", 0, 0, NULL },
        { "asn a @l", "AS1\n2", 0, 0, NULL },
        { "asn a @l", "\xef\xbb\xbf" "1\r\n2\r\n", 0, 0, NULL },
        { "asn a @l", "1\n\xef\xbb\xbf" "2", 2, 1,
          "expected AS number from 1 to 4294967295, "
          "found \"\\xef\\xbb\\xbf2\"" },
        { "agent a @l", "a b#c # d\n\"quoted\"$\n=\"\"\n=x", 0, 0, NULL },
        { "client a @l @l", "@x", 0, 0, NULL },
        { "network a @l", "::1\n  ::1/200", 2, 7,
          "expected prefix length from 0 to 128, found \"200\"" },
        { "network a @l", "::1 ::2", 1, 1,
          "expected network, found \"::1\"" },
        { "asn a @l", "1\n2\n3.1", 3, 1,
          "expected AS number from 1 to 4294967295, found \"3.1\"" },
        { "agent a @l", "x\n\"y", 2, 3,
          "expected closing quote, found end of line" },
        { "agent a @l", "x\n\"y\" z", 2, 4,
          "expected blank after the pattern, found end of line" },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rs = mailping_rules_create();
        memset(&err, 0, sizeof(err));

        is_int(mailping_rules_parse(rs, "dir", str(cases[i].rules), load,
                                    (void *) cases[i].list, &err),
               cases[i].error != NULL ? MAILPING_ERROR : MAILPING_OK,
               "list %zu", i);

        if (cases[i].error != NULL) {
            is_str(err.text, strlen(err.text), cases[i].error, "its error");
            is_str(err.file, strlen(err.file), "dir/l", "its file");
            is_int(err.line, cases[i].line, "its line");
            is_int(err.column, cases[i].column, "its column");
        }

        mailping_rules_destroy(rs);
    }

    rs = mailping_rules_create();
    is_int(mailping_rules_parse(rs, "dir", str("\nasn a @l"), NULL, NULL,
                                &err),
           MAILPING_ERROR, "no loader, no lists");
    is_int(err.line, 2, "its line");
    is_int(err.column, 7, "its column");
    is_str(err.text, strlen(err.text),
           "expected file that can be read (no files can be read here), found "
           "\"@l\"", "its error");
    mailping_rules_destroy(rs);
}


static void
test_files(void)
{
    mailping_rules_t      *rs;
    mailping_rule_info_t   info;

    rs = mailping_rules_create();

    is_int(mailping_rules_parse(rs, "one",
                                str("rule a agent p human+1 self\n"
                                    "rule b time - bot-2,human+0 network:x\n"
                                    "network x 10.0.0.0/8\n"
                                    "set c - shielded network:gone\n"),
                                NULL, NULL, &err),
           MAILPING_OK, "the first file");
    is_int(mailping_rules_parse(rs, "two",
                                str("network x 10.0.0.0/16\n"
                                    "set c q self self\n"
                                    "rule d history - scanner+3 !self\n"
                                    "prior bot+1\n"),
                                NULL, NULL, &err),
           MAILPING_OK, "the second file");
    is_int(mailping_rules_compile(rs, &err), MAILPING_OK,
           "a rule that was replaced is not checked");

    is_int(mailping_rules_count(rs), 4, "four rules");

    mailping_rules_info(rs, 0, &info);
    is_str(info.name.data, info.name.len, "a", "name");
    is_str(info.provider.data, info.provider.len, "p", "provider");
    is_int(info.group, MAILPING_GROUP_AGENT, "group");
    is_int(info.weight[MAILPING_CLASS_HUMAN], 1, "weight");
    is_int(info.classes, 1 << MAILPING_CLASS_HUMAN, "its classes");

    mailping_rules_info(rs, 1, &info);
    is_int(info.provider.len, 0, "no provider");
    is_int(info.weight[MAILPING_CLASS_BOT], -2, "negative weight");
    is_int(info.classes, 1 << MAILPING_CLASS_BOT | 1 << MAILPING_CLASS_HUMAN,
           "a weight of zero is a weight");

    mailping_rules_info(rs, 2, &info);
    is_str(info.name.data, info.name.len, "c", "the replaced rule's place");
    is_str(info.provider.data, info.provider.len, "q", "its new provider");
    is_int(info.group, MAILPING_GROUP_SET, "a set");
    is_int(info.outcome, MAILPING_VERDICT_SELF, "its new outcome");

    mailping_rules_destroy(rs);

    is_str(mailping_group_name(MAILPING_GROUP_HISTORY), 7, "history",
           "name of a group");
    is_str(mailping_class_name(MAILPING_CLASS_PREFETCH), 8, "prefetch",
           "name of a class");
}


static void
test_facts(void)
{
    unsigned           i, n, defined;
    const char        *name;
    mailping_rules_t  *rs;

    rs = mailping_rules_create();

    mailping_rules_parse(rs, "test",
                         str("network zz-own ::1\n"
                             "rule a time - bot+1 age<61s age>=7200s "
                             "age<86401s burst<77 header:!X-Zz seen>=88\n"),
                         NULL, NULL, &err);
    is_int(mailping_rules_compile(rs, &err), MAILPING_OK, "own facts");

    n = mailping_rules_facts(rs);
    defined = 0;

    for (i = MAILPING_FACTS_STORED; i < n; i++) {
        defined += mailping_rules_fact_name(rs, i) != NULL;
    }

    ok(defined >= 6, "%u own facts", defined);

    name = mailping_rules_fact_name(rs, MAILPING_FACTS_STORED);
    is_str(name, strlen(name), "network:zz-own", "the first own fact");

    name = mailping_rules_fact_name(rs, MAILPING_FACTS_STORED + 1);
    is_str(name, strlen(name), "age<61s", "canonical: seconds");

    name = mailping_rules_fact_name(rs, n - 2);
    is_str(name, strlen(name), "header:!x-zz", "canonical: lower case");

    name = mailping_rules_fact_name(rs, n - 1);
    is_str(name, strlen(name), "seen<88", "canonical: less");

    ok(mailping_rules_fact_name(rs, n) == NULL, "no name beyond the last");

    mailping_rules_destroy(rs);
}


static void
test_limits(void)
{
    char      *text, *list, *p;
    size_t     size;
    unsigned   i, line;

    size = 4 * 1024 * 1024;
    text = malloc(size);

    memset(text, 'a', 65537);
    text[0] = '#';
    text[65536] = '\0';
    is_int(compile(text), MAILPING_OK, "a line of 64 KiB");

    text[65536] = 'a';
    text[65537] = '\0';
    is_int(compile(text), MAILPING_ERROR, "a longer line");
    is_str(err.text, strlen(err.text),
           "expected line of at most 65536 bytes, found 65537 bytes",
           "its error");
    is_int(err.line, 1, "its line");
    is_int(err.column, 65537, "the column of the first byte that is too many");

    memcpy(text, "agent a ^\"", 10);
    memset(text + 10, 'a', 1024);
    strcpy(text + 10 + 1024, "\"$");
    is_int(compile(text), MAILPING_OK, "a pattern of 1024 bytes");

    strcpy(text + 10 + 1024, "a\"$");
    is_int(compile(text), MAILPING_ERROR, "a longer pattern");
    is_str(err.text, strlen(err.text),
           "expected pattern of 1 to 1024 bytes, found "
           "\"^\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"",
           "its error");
    is_int(err.column, 9, "its column");

    is_int(compile("network aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                   "aaaaaaaaaaaaa ::1"), MAILPING_OK, "name of 64 bytes");
    is_int(compile("network aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                   "aaaaaaaaaaaaaa ::1"), MAILPING_ERROR, "name of 65 bytes");
    is_int(err.column, 9, "its column");

    p = text;
    for (i = 0; i < 769; i++) {
        p += sprintf(p, "network limit%u ::%x\n", i, i);
    }

    is_int(compile(text), MAILPING_ERROR, "too many facts");
    is_int(err.line, 769, "its line");
    is_str(err.text, strlen(err.text),
           "expected at most 768 facts that are not published, found "
           "\"limit768\"", "its error");
    is_int(err.column, 9, "its column");

    /* a condition may be the fact that is one too many */

    p = text;
    for (i = 0; i < 768; i++) {
        p += sprintf(p, "network limit%u ::%x\n", i, i);
    }

    sprintf(p, "rule r time - bot+1 self seen<12345\n");
    is_int(compile(text), MAILPING_ERROR, "a condition too many");
    is_int(err.line, 769, "its line");
    is_int(err.column, 26, "its column");
    is_str(err.text, strlen(err.text),
           "expected at most 768 facts that are not published, found "
           "\"seen<12345\"", "its error");

    p = text;
    for (i = 0; i < 8192; i++) {
        p += sprintf(p, "rule r%u time - bot+1 self\n", i);
    }

    is_int(compile(text), MAILPING_OK, "8192 rules");

    sprintf(p, "rule last time - bot+1 self\n");
    is_int(compile(text), MAILPING_ERROR, "one more");
    is_int(err.line, 8193, "its line");
    is_int(err.column, 6, "its column");
    is_str(err.text, strlen(err.text),
           "expected at most 8192 rules, found \"last\"", "its error");

    /* 600,000 bytes of which no two patterns share their begin */

    p = text;
    for (i = 0; i < 60000; i++) {
        p += sprintf(p, "agent a \"%05u-robot\"\n", i);
    }

    is_int(compile(text), MAILPING_OK, "many patterns");

    p = text;
    for (i = 0; i < 60000; i++) {
        p += sprintf(p, "agent a \"%05u-robot-%c%c%c%c%c%c\"\n", i,
                     'a' + i % 26, 'a' + i / 26 % 26, 'q' + i / 676 % 10,
                     '#' + i % 12, ':' + i % 7, '^' + i % 6);
    }

    is_int(compile(text), MAILPING_ERROR, "more patterns than fit");
    is_str(err.text, strlen(err.text),
           "expected agent patterns whose automaton has at most 16777216 "
           "steps, found more", "its error");
    is_str(err.file, strlen(err.file), "test", "the file of one that does not");
    ok(err.line > 10000 && err.line < 60000, "its line: %u", err.line);
    is_int(err.column, 9, "its column");

    /* in a list: those before it fit */

    line = err.line;
    list = malloc(line * 64);
    p = list;

    for (i = 0; i < line; i++) {
        p += sprintf(p, "  %05u-robot-%c%c%c%c%c%c\n", i,
                     'a' + i % 26, 'a' + i / 26 % 26, 'q' + i / 676 % 10,
                     '#' + i % 12, ':' + i % 7, '^' + i % 6);
    }

    is_int(compile_list("agent a @many", list), MAILPING_ERROR,
           "a list of more than fit");
    is_str(err.file, strlen(err.file), "test/many", "its file");
    is_int(err.line, line, "its line");
    is_int(err.column, 3, "its column");

    p[-1] = '\0';
    *strrchr(list, '\n') = '\0';

    is_int(compile_list("agent a @many", list), MAILPING_OK,
           "one less fits");

    free(list);

    free(text);
}


static void
test_id(void)
{
    mailping_rules_t  *rs;

    rs = mailping_rules_create();
    mailping_rules_parse(rs, "a", str("#a"), NULL, NULL, &err);
    mailping_rules_parse(rs, "b", str("asn x @l\n"), load, "1", &err);
    mailping_rules_compile(rs, &err);

    /* printf '#aasn x @l\n1' | sha256sum */

    is_int(mailping_rules_id(rs), 0xb6097b27, "first bytes of the SHA-256");
    mailping_rules_destroy(rs);
}


static void
test_builtin(void)
{
    mailping_str_t     text;
    mailping_rules_t  *rs;

    rs = mailping_rules_create();
    memset(&err, 0, sizeof(err));

    if (!ok(mailping_builtin_rules(rs, &err) == MAILPING_OK
            && mailping_rules_compile(rs, &err) == MAILPING_OK,
            "the built-in rules"))
    {
        printf("# %s:%u:%u %s\n", err.file, err.line, err.column, err.text);
    }

    ok(mailping_rules_count(rs) > 10, "there are rules");
    mailping_rules_destroy(rs);

    is_int(mailping_builtin_file(str("default.rules"), &text), MAILPING_OK,
           "a built-in file");
    ok(text.len > 1000 && text.data[text.len - 1] == '\n', "to its end");
    is_int(mailping_builtin_file(str("nothing"), &text), MAILPING_DECLINED,
           "no built-in file");
}


/* Whatever the text: an answer, with a place inside of it when it is refused */

static void
test_damage(void)
{
    size_t             len;
    uint8_t           *text;
    unsigned           i, k, refused, wrong;
    uint32_t           seed;
    mailping_str_t     s;
    mailping_rules_t  *rs;

    static const char  rules[] =
        "network a 10.0.0.0/8 2001:db8::/32\nasn b 1 AS2\n"
        "agent c \"x\" =\"y\\\"\" ^\"z\" \"w\"$ <\"v\">\nclient d \"v/\"\n"
        "header e f g~\"h\" i=\"j\"\nprior - human+0,bot-3\n"
        "rule r agent p human+3,bot-30 network:a !asn:b agent:c client:d\n"
        "rule s time - scanner+1 header:e header:!f age<10s seen>=2 burst<5\n"
        "set t q shielded method:head http:1.0 hint:gmail !self\n";

    text = malloc(sizeof(rules));
    seed = 7;
    refused = 0;
    wrong = 0;

    for (i = 0; i < 5000; i++) {
        memcpy(text, rules, sizeof(rules));
        len = sizeof(rules) - 1;

        for (k = 0; k <= i % 3; k++) {
            seed = seed * 1664525 + 1013904223;
            text[(seed >> 8) % len] = i % 2 ? (uint8_t) (seed >> 3)
                                            : (uint8_t) rules[seed % len];
        }

        if (i % 5 == 0) {
            len = (seed >> 8) % len;
        }

        s.data = text;
        s.len = len;

        memset(&err, 0, sizeof(err));
        rs = mailping_rules_create();

        if (mailping_rules_parse(rs, "x", s, load, "1", &err) != MAILPING_OK
            || mailping_rules_compile(rs, &err) != MAILPING_OK)
        {
            refused++;
            wrong += err.line == 0 || err.column == 0 || err.column > 200
                     || strncmp(err.text, "expected ", 9) != 0;
        }

        mailping_rules_destroy(rs);
    }

    ok(refused > 1000, "%u of 5000 damaged texts refused", refused);
    is_int(wrong, 0, "all with a place and an expectation");

    free(text);
}


static void
test_large(void)
{
    char              *text, *p;
    double             start, parsed, compiled;
    unsigned           i;
    uint32_t           seed;
    mailping_rules_t  *rs;

    /* ten megabytes of networks, and rules and sets at their limits */

    text = malloc(11 * 1024 * 1024);
    p = text;
    seed = 3;

    for (i = 0; i < 700; i++) {
        p += sprintf(p, "agent large%u \"Agent-%u/\"\n"
                     "rule large%u agent - bot+%u agent:large%u age<1h\n",
                     i, i * 7919, i, i % 30, i);
    }

    while (p - text < 10 * 1024 * 1024) {
        p += sprintf(p, "network large");

        for (i = 0; i < 20; i++) {
            seed = seed * 1664525 + 1013904223;
            p += sprintf(p, " %u.%u.%u.0/24", 1 + (seed >> 24) % 223,
                         seed >> 16 & 255, seed >> 8 & 255);
        }

        *p++ = '\n';
    }

    rs = mailping_rules_create();
    start = seconds();

    is_int(mailping_rules_parse(rs, "large",
                                (mailping_str_t) { (size_t) (p - text),
                                                   (uint8_t *) text },
                                NULL, NULL, &err),
           MAILPING_OK, "10 MB of rules");
    parsed = seconds();

    is_int(mailping_rules_compile(rs, &err), MAILPING_OK, "compile");
    compiled = seconds();

    /* half a second without sanitizers */

    ok(compiled - start < 20, "parsed in %.0f ms, compiled in %.0f ms",
       (parsed - start) * 1000, (compiled - parsed) * 1000);

    mailping_rules_destroy(rs);
    free(text);
}
