
/*
 * Copyright (C) MailPing
 */


/*
 * Any text as rule files must be refused or understood, and what it makes must
 * judge any fetch.  Form feeds part the input: the first rule file, one on top
 * of it, the list that every "@name" of them means, and the fetch: lines with
 * agent, address and numbers (see judge()), then headers.
 *
 * "perl t/fuzz/run.pl" builds it, makes what it starts from out of the built-in
 * rules and the documentation, and runs it.
 */

#include <math.h>
#include <stdlib.h>

#include "core/classify.h"
#include "core/mask.h"
#include "core/ruleset.h"


#define NUMBERS  11


static mailping_str_t  one;
static mailping_str_t  two;
static mailping_str_t  list;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static mailping_str_t part(mailping_str_t *rest, int separator);
static int load(void *data, const char *from, mailping_str_t name,
    mailping_str_t *text, char path[256], char why[128]);
static void check(int holds);
static void check_error(const mailping_rules_error_t *err);
static void check_rules(const mailping_rules_t *rs);
static void check_judgement(const mailping_rules_t *rs,
    const mailping_facts_t *f);
static void check_stored(const mailping_rules_t *rs,
    const mailping_facts_t *f);
static int holds(const mailping_rule_t *rule, const mailping_facts_t *f);
static void judge(const mailping_rules_t *rs, mailping_str_t fetch);
static void address(mailping_str_t text, uint8_t addr[16]);
static void numbers(mailping_str_t text, int64_t n[NUMBERS]);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                      rc;
    mailping_str_t           rest;
    mailping_rules_t        *rs;
    mailping_rules_error_t   err;

    memset(&err, 0, sizeof(mailping_rules_error_t));

    rest.data = data;
    rest.len = size;

    one = part(&rest, '\f');
    two = part(&rest, '\f');
    list = part(&rest, '\f');

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
        check_rules(rs);
        judge(rs, rest);

    } else {
        check_error(&err);
    }

    mailping_rules_destroy(rs);

    return 0;
}


static mailping_str_t
part(mailping_str_t *rest, int separator)
{
    mailping_str_t  first;
    const uint8_t  *end;

    first = *rest;
    end = first.len != 0 ? memchr(first.data, separator, first.len) : NULL;

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

    if (name.data[0] == '-') {
        memcpy(why, "there is none", sizeof("there is none"));
        return MAILPING_ERROR;
    }

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


/* An error names a place inside of the text that it is about. */

static void
check_error(const mailping_rules_error_t *err)
{
    unsigned        n;
    mailping_str_t  text, line;

    check(strncmp(err->text, "expected ", 9) == 0
          && strstr(err->text, ", found ") != NULL);

    if (err->line == 0) {

        /* the automaton's limit is about all patterns together */

        check(strcmp(err->file, "rules") == 0 && err->column == 0);
        return;
    }

    if (strcmp(err->file, "one") == 0) {
        text = one;

    } else if (strcmp(err->file, "two") == 0) {
        text = two;

    } else {
        check(strcmp(err->file, "list") == 0);
        text = list;
    }

    line.len = 0;

    for (n = 0; n < err->line; n++) {
        check(text.len != 0);
        line = part(&text, '\n');
    }

    check(err->column >= 1 && err->column <= line.len + 1);
}


static void
check_rules(const mailping_rules_t *rs)
{
    char                   text[MAILPING_FACT_NAME_MAX];
    unsigned               i, c;
    const char            *name;
    mailping_str_t         fact;
    mailping_condition_t   condition;
    mailping_rule_info_t   info;

    for (i = 0; i < mailping_rules_count(rs); i++) {
        mailping_rules_info(rs, i, &info);

        check(info.name.len >= 1 && info.name.len <= MAILPING_NAME_MAX);
        check(info.provider.len <= MAILPING_NAME_MAX);
        check(info.group <= MAILPING_GROUP_SET);

        for (c = 0; c < MAILPING_CLASSES; c++) {
            check(abs(info.weight[c]) <= MAILPING_WEIGHT_MAX);
            check(info.weight[c] == 0 || info.classes >> c & 1);
        }
    }

    /* the name of an own fact is a condition, which has this name */

    for (i = MAILPING_FACTS_STORED; i < mailping_rules_facts(rs); i++) {
        name = mailping_rules_fact_name(rs, i);

        if (name == NULL) {
            continue;
        }

        fact = mailping_str(name, strlen(name));

        check(mailping_condition_parse(fact, &condition) == MAILPING_OK);
        check(!condition.negated);
        check(mailping_condition_name(&condition, text) == fact.len);
        check(memcmp(text, name, fact.len) == 0);
    }
}


/*
 * Judges the fetch with what it says of itself: agent, address, and age, seen,
 * burst, number of the system, hint, version, method, self, farm, quick and
 * scanned as numbers; what is missing is not known.
 */

static void
judge(const mailping_rules_t *rs, mailping_str_t fetch)
{
    int64_t           n[NUMBERS];
    uint8_t           addr[16];
    mailping_str_t    name, line;
    mailping_facts_t  f;

    mailping_facts_init(rs, &f);
    check_judgement(rs, &f);

    mailping_facts_agent(rs, &f, part(&fetch, '\n'));
    address(part(&fetch, '\n'), addr);
    mailping_facts_address(rs, &f, addr);

    numbers(part(&fetch, '\n'), n);

    mailping_facts_age(rs, &f, n[0]);

    if (n[1] > 0) {
        mailping_facts_seen(rs, &f, (uint32_t) n[1]);
    }

    if (n[2] > 0) {
        mailping_facts_burst(rs, &f, (uint32_t) n[2]);
    }

    if (n[3] > 0) {
        mailping_facts_asn(rs, &f, (uint32_t) n[3]);
    }

    if (n[4] > 0) {
        mailping_facts_hint(rs, &f, (unsigned) n[4] % 8);
    }

    if (n[5] > 0) {
        mailping_facts_http(rs, &f, (unsigned) n[5]);
    }

    if (n[6] >= 0) {
        mailping_facts_method(rs, &f, n[6] % 2 == 1);
    }

    if (n[7] >= 0) {
        mailping_facts_self(rs, &f, n[7] % 2 == 1);
    }

    if (n[8] > 0) {
        mailping_facts_farm(rs, &f, (uint32_t) n[8]);
    }

    mailping_facts_quick(rs, &f, n[9] <= 100 ? (int) n[9] : -1);

    if (n[10] >= 0) {
        mailping_facts_scanned(rs, &f, n[10] % 2 == 1);
    }

    if (fetch.len != 0) {
        mailping_facts_headers(rs, &f);
    }

    while (fetch.len != 0) {
        line = part(&fetch, '\n');
        name = part(&line, ':');

        mailping_facts_header(rs, &f, name, line);
    }

    check_judgement(rs, &f);
    check_stored(rs, &f);
}


/* As people write it, or the bytes themselves. */

static void
address(mailping_str_t text, uint8_t addr[16])
{
    if (mailping_mask_parse(text, addr) != MAILPING_OK) {
        memset(addr, 0, 16);
        memcpy(addr, text.data, text.len < 16 ? text.len : 16);
    }
}


static void
numbers(mailping_str_t text, int64_t n[NUMBERS])
{
    size_t          i;
    unsigned        k;
    mailping_str_t  word;

    for (k = 0; k < NUMBERS; k++) {
        word = part(&text, ' ');
        n[k] = -1;

        for (i = 0; i < word.len && i < 12; i++) {

            if (word.data[i] < '0' || word.data[i] > '9') {
                n[k] = -1;
                break;
            }

            n[k] = (n[k] < 0 ? 0 : n[k] * 10) + (word.data[i] - '0');
        }
    }
}


static void
check_judgement(const mailping_rules_t *rs, const mailping_facts_t *f)
{
    double                total;
    uint8_t               reasons[MAILPING_REASONS_MAX];
    uint16_t             *fired;
    unsigned              i, k, n, found;
    mailping_judgement_t  j, indexed;

    /* no fact is true and unknown */

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        check((f->is[i] & f->unknown[i]) == 0);
    }

    fired = malloc((mailping_rules_count(rs) + 1) * sizeof(uint16_t));
    check(fired != NULL);

    mailping_classify(rs, f, &j, fired, &n);

    /* exactly the rules hold whose conditions do, asked for one by one */

    k = 0;

    for (i = 0; i < mailping_rules_count(rs); i++) {

        if (holds(&rs->rule[i], f)) {
            check(k < n && fired[k] == i);
            k++;
        }
    }

    check(k == n);

    /* with and without the index, the judgement is the same */

    mailping_classify(rs, f, &indexed, NULL, NULL);

    check(j.open == indexed.open && j.verdict == indexed.verdict
          && j.person == indexed.person);
    check(j.provider.len == indexed.provider.len
          && (j.provider.len == 0
              || j.provider.data == indexed.provider.data));
    check(j.ncounted == indexed.ncounted
          && memcmp(j.counted, indexed.counted, sizeof(j.counted)) == 0);

    check(j.ncounted <= MAILPING_COUNTED_MAX);

    for (i = 0; i < j.ncounted; i++) {
        found = 0;

        for (k = 0; k < n; k++) {
            found |= fired[k] == j.counted[i];
        }

        check((int) found);
    }

    free(fired);

    if (j.person == MAILPING_PERSON_NONE) {
        check((j.verdict == MAILPING_VERDICT_SHIELDED
               && j.open == MAILPING_OPEN_MAYBE)
              || (j.verdict == MAILPING_VERDICT_SELF
                  && j.open == MAILPING_OPEN_NO));

    } else {
        total = 0;

        for (i = 0; i < MAILPING_CLASSES; i++) {
            check(j.probability[i] >= 0 && j.probability[i] <= 1);
            total += j.probability[i];
        }

        check(fabs(total - 1) < 1e-9);
        check(j.person >= 0 && j.person <= 100);
        check((j.open == MAILPING_OPEN_YES) == (j.person >= 80));
        check((j.open == MAILPING_OPEN_NO) == (j.person <= 20));
    }

    check(mailping_classify_reasons(rs, &j, reasons) <= MAILPING_REASONS_MAX);
}


static int
holds(const mailping_rule_t *rule, const mailping_facts_t *f)
{
    unsigned  i;

    for (i = 0; i < rule->nterms; i++) {

        if (mailping_facts_get(f, rule->term[i].fact)
            != (rule->term[i].negated ? 0 : 1))
        {
            return 0;
        }
    }

    return 1;
}


/* Facts that are stored come back; any other text is refused or read. */

static void
check_stored(const mailping_rules_t *rs, const mailping_facts_t *f)
{
    uint8_t           stored[MAILPING_FACTS_TEXT_MAX];
    unsigned          i;
    mailping_str_t    text;
    mailping_facts_t  again;

    text.data = stored;
    text.len = mailping_facts_write(f, stored);

    check(text.len <= MAILPING_FACTS_TEXT_MAX);
    check(mailping_facts_read(rs, &again, text) == MAILPING_OK);

    for (i = 0; i < MAILPING_FACTS_STORED; i++) {
        check(mailping_facts_get(f, i) == mailping_facts_get(&again, i));
    }

    if (mailping_facts_read(rs, &again, list) == MAILPING_OK) {
        check_judgement(rs, &again);
    }
}
