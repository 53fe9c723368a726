
/*
 * Copyright (C) MailPing
 */


/*
 * Any text as rule files must be refused or understood, and what it makes must
 * judge any fetch.  A form feed parts the input: the first rule file, one on
 * top of it, and the list that every "@name" of them means.
 *
 * With libFuzzer, from the top of the repository, and with the examples of the
 * documentation to start from:
 *
 *   mkdir -p build/fuzz/rules
 *   perl -ne 'BEGIN { $/ = undef }
 *             while (/^```rules\n(.*?)^```$/msg) {
 *                 open($f, ">", "build/fuzz/rules/" . ++$n); print $f $1;
 *             }' docs/rules.md
 *   clang -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined \
 *       -fno-sanitize-recover=undefined -Ingx_mailping_module \
 *       -DNGX_MAILPING_RULES_DIR="\"$PWD/ngx_mailping_module/rules\"" \
 *       t/fuzz/rules_fuzz.c ngx_mailping_module/core/[a-z]*.c \
 *       -lhiredis -lcrypto -lm -o build/fuzz/rules_fuzz
 *   build/fuzz/rules_fuzz -max_total_time=180 build/fuzz/rules
 */

#include <stdlib.h>

#include "core/classify.h"


static mailping_str_t  list;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static mailping_str_t part(mailping_str_t *rest);
static int load(void *data, const char *from, mailping_str_t name,
    mailping_str_t *text, char path[256], char why[128]);
static void check(int holds);
static void judge(const mailping_rules_t *rs, mailping_str_t text);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                      rc;
    mailping_str_t           text, one, two;
    mailping_rules_t        *rs;
    mailping_rules_error_t   err;

    memset(&err, 0, sizeof(mailping_rules_error_t));

    text.data = data;
    text.len = size;

    list = text;
    one = part(&list);
    two = part(&list);

    rs = mailping_rules_create();
    check(rs != NULL);

    rc = mailping_rules_parse(rs, "one", one, load, NULL, &err);

    if (rc == MAILPING_OK) {
        rc = mailping_rules_parse(rs, "two", two, load, NULL, &err);
    }

    if (rc == MAILPING_OK) {
        rc = mailping_rules_compile(rs, &err);
    }

    if (rc == MAILPING_OK) {
        judge(rs, text);

    } else {
        check(err.file[0] != '\0' && err.text[0] != '\0');
        check((err.line == 0) == (err.column == 0));
    }

    mailping_rules_destroy(rs);

    return 0;
}


static mailping_str_t
part(mailping_str_t *rest)
{
    mailping_str_t  first;
    const uint8_t  *end;

    first = *rest;
    end = first.len != 0 ? memchr(first.data, '\f', first.len) : NULL;

    if (end == NULL) {
        rest->len = 0;
        return first;
    }

    first.len = (size_t) (end - first.data);
    rest->data = end + 1;
    rest->len -= first.len + 1;

    return first;
}


static int
load(void *data, const char *from, mailping_str_t name, mailping_str_t *text,
    char path[256], char why[128])
{
    (void) data;
    (void) from;
    (void) name;
    (void) why;

    memcpy(path, "list", sizeof("list"));
    *text = list;

    return MAILPING_OK;
}


static void
check(int holds)
{
    if (!holds) {
        abort();
    }
}


/* A fetch that shows the input in all its parts. */

static void
judge(const mailping_rules_t *rs, mailping_str_t text)
{
    uint8_t               addr[16], stored[MAILPING_FACTS_TEXT_MAX];
    uint8_t               reasons[MAILPING_REASONS_MAX];
    uint16_t             *fired;
    uint32_t              asn;
    unsigned              i, n;
    mailping_str_t        name;
    mailping_facts_t      f, again;
    mailping_judgement_t  j, k;

    memset(addr, 0, sizeof(addr));
    memcpy(addr, text.data, text.len < 16 ? text.len : 16);

    asn = (uint32_t) addr[0] << 8 | addr[1];

    mailping_facts_init(rs, &f);
    mailping_facts_agent(rs, &f, text);
    mailping_facts_address(rs, &f, addr);
    mailping_facts_asn(rs, &f, asn);
    mailping_facts_headers(rs, &f);

    name.data = text.data;
    name.len = text.len < 4 ? text.len : 4;

    mailping_facts_header(rs, &f, name, text);
    mailping_facts_age(rs, &f, asn);
    mailping_facts_seen(rs, &f, addr[2]);
    mailping_facts_burst(rs, &f, addr[3]);
    mailping_facts_hint(rs, &f, addr[4] % 7);

    /* with and without the index, the judgement is the same */

    fired = malloc((mailping_rules_count(rs) + 1) * sizeof(uint16_t));
    check(fired != NULL);

    mailping_classify(rs, &f, &j, fired, &n);
    mailping_classify(rs, &f, &k, NULL, NULL);

    check(n <= mailping_rules_count(rs));
    check(j.open == k.open && j.verdict == k.verdict && j.person == k.person);
    check(j.ncounted == k.ncounted
          && memcmp(j.counted, k.counted, sizeof(j.counted)) == 0);
    check(mailping_classify_reasons(rs, &j, reasons) <= MAILPING_REASONS_MAX);

    free(fired);

    /* no fact is true and unknown, and those that are stored come back */

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        check((f.is[i] & f.unknown[i]) == 0);
    }

    name.data = stored;
    name.len = mailping_facts_write(&f, stored);

    check(mailping_facts_read(rs, &again, name) == MAILPING_OK);

    for (i = 0; i < MAILPING_FACTS_STORED; i++) {
        check(mailping_facts_get(&f, i) == mailping_facts_get(&again, i));
    }

    /* the text of stored facts may be anything, too */

    (void) mailping_facts_read(rs, &again, text);
}
