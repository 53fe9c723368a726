
/*
 * Copyright (C) MailPing
 */


/*
 * What judging one fetch costs, step by step and as a whole:
 *
 *   classify rounds fetches rules... [-- rules...]
 *
 * Rules come on top of the built-in ones; those behind "--" make a second rule
 * set on top of the first, whose cost is compared with it in each round.  A
 * fetch is a line of fields between tabs: agent, address, age in milliseconds,
 * seen, burst, farm, quick, scanned, head, version, hint, self, and headers
 * other than User-Agent as "name: value".
 *
 * The output is "name median minimum" in nanoseconds for each step, for "whole"
 * and "more", and in the end "ratio", median and of the two minima; before
 * that, how many fetches, bytes of an agent, rules and rules that hold there
 * are.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/builtin.h"
#include "core/classify.h"
#include "core/facts.h"
#include "core/mask.h"


#define HEADERS_MAX  16
#define FETCHES_MAX  65536
#define SHARED_MAX   1024
#define ROUNDS_MAX   10000
#define NUMBERS      10
#define WARM         8


typedef struct {
    mailping_str_t  name;
    mailping_str_t  value;
} header_t;


/* shared by all fetches that send them: a worker has just read its request */

typedef struct {
    const char     *text;
    unsigned        n;
    header_t        header[HEADERS_MAX];
} headers_t;


typedef struct {
    mailping_str_t  agent;
    uint8_t         addr[16];
    long            age;
    unsigned        seen;
    unsigned        burst;
    unsigned        farm;
    int             quick;
    int             scanned;
    int             head;
    unsigned        version;
    unsigned        hint;
    int             self;
    headers_t      *headers;
} fetch_t;


/* in the order in which a worker takes them */

enum {
    STEP_INIT = 0,
    STEP_AGENT,
    STEP_HEADERS,
    STEP_ADDRESS,
    STEP_TIME,
    STEP_HISTORY,
    STEP_REQUEST,
    STEP_CLASSIFY,
    STEP_WRITE,
    STEP_REASONS,
    STEPS
};


static const char *const  steps[] = {
    "init", "agent", "headers", "address", "time", "history", "request",
    "classify", "write", "reasons"
};


static fetch_t   fetches[FETCHES_MAX];
static unsigned  nfetches;

static mailping_str_t  agents[SHARED_MAX];
static unsigned        nagents;

static headers_t  headers[SHARED_MAX];
static unsigned   nheaders;

/* whatever is computed ends here, so that nothing is left out */
static volatile unsigned  sink;


static char *read_file(const char *name, size_t *len);
static int read_fetches(char *text);
static int read_fetch(char *line, fetch_t *fetch);
static int read_agent(const char *text, mailping_str_t *agent);
static headers_t *read_headers(char *text);
static mailping_rules_t *read_rules(char **name, int n);
static double judge_warm(const mailping_rules_t *rs);
static double judge_all(const mailping_rules_t *rs, int last);
static void judge(const mailping_rules_t *rs, const fetch_t *fetch, int last);
static void evidence(const mailping_rules_t *rs, const fetch_t *fetch,
    mailping_facts_t *f, int last);
static double count_fired(const mailping_rules_t *rs);
static int compare(const void *one, const void *two);
static void print(const char *name, double *ns, long n);


int
main(int argc, char **argv)
{
    int                i, first, step;
    long               round, rounds;
    char              *text;
    size_t             len, bytes;
    double            *ns, *whole, *more, *ratio, *parts;
    mailping_rules_t  *one, *two;

    rounds = argc > 3 ? strtol(argv[1], NULL, 10) : 0;

    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: %s rounds fetches rules... [-- rules...]\n",
                argv[0]);
        return 2;
    }

    first = argc;

    for (i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            first = i;
            break;
        }
    }

    text = read_file(argv[2], &len);

    if (text == NULL || read_fetches(text) != 0) {
        free(text);
        return 1;
    }

    one = read_rules(argv + 3, first - 3);
    two = NULL;

    if (first < argc) {

        /* all files but "--" */

        memmove(&argv[first], &argv[first + 1],
                (size_t) (argc - first) * sizeof(char *));
        two = read_rules(argv + 3, argc - 4);
    }

    parts = calloc((size_t) rounds * (STEPS + 3), sizeof(double));

    if (one == NULL || (first < argc && two == NULL) || parts == NULL) {
        return 1;
    }

    whole = parts + STEPS * rounds;
    more = whole + rounds;
    ratio = more + rounds;

    for (round = -1; round < rounds; round++) {

        /* the first round warms up */

        ns = parts + (round < 0 ? 0 : round);

        for (step = 0; step < STEPS; step++) {
            ns[step * rounds] = judge_all(one, step);
        }

        for (step = STEPS - 1; step > 0; step--) {
            ns[step * rounds] -= ns[(step - 1) * rounds];
        }

        i = round < 0 ? 0 : (int) round;

        whole[i] = judge_warm(one);

        if (two != NULL) {
            more[i] = judge_warm(two);
            ratio[i] = more[i] / whole[i];
        }
    }

    bytes = 0;

    for (i = 0; i < (int) nfetches; i++) {
        bytes += fetches[i].agent.len;
    }

    printf("fetches %u\nbytes %.1f\nrules %u\nhold %.1f\n", nfetches,
           (double) bytes / nfetches, mailping_rules_count(one),
           count_fired(one));

    if (two != NULL) {
        printf("rules-more %u\nhold-more %.1f\n", mailping_rules_count(two),
               count_fired(two));
    }

    for (step = 0; step < STEPS; step++) {
        print(steps[step], parts + step * rounds, rounds);
    }

    print("whole", whole, rounds);

    if (two != NULL) {

        /* of the two fastest rounds: the machine's moods are in neither */

        print("more", more, rounds);

        qsort(ratio, (size_t) rounds, sizeof(double), compare);
        printf("ratio %.3f %.3f\n", ratio[rounds / 2], more[0] / whole[0]);
    }

    free(parts);
    free(text);
    mailping_rules_destroy(one);
    mailping_rules_destroy(two);

    return fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}


static char *
read_file(const char *name, size_t *len)
{
    FILE    *file;
    long     size;
    char    *text;

    file = fopen(name, "rb");

    if (file == NULL || fseek(file, 0, SEEK_END) != 0
        || (size = ftell(file)) < 0)
    {
        perror(name);
        return NULL;
    }

    rewind(file);

    text = malloc((size_t) size + 1);

    if (text == NULL || fread(text, 1, (size_t) size, file) != (size_t) size) {
        perror(name);
        free(text);
        fclose(file);
        return NULL;
    }

    fclose(file);

    text[size] = '\0';
    *len = (size_t) size;

    return text;
}


static int
read_fetches(char *text)
{
    char  *line, *end;

    for (line = text; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');

        if (end == NULL || nfetches == FETCHES_MAX) {
            fprintf(stderr, "too many fetches, or no end of line\n");
            return -1;
        }

        *end = '\0';

        if (read_fetch(line, &fetches[nfetches++]) != 0) {
            fprintf(stderr, "fetch %u is wrong\n", nfetches);
            return -1;
        }
    }

    return nfetches != 0 ? 0 : -1;
}


static int
read_fetch(char *line, fetch_t *fetch)
{
    int    i;
    long   number[NUMBERS];
    char  *field, *end;

    field = strsep(&line, "\t");

    if (read_agent(field, &fetch->agent) != 0) {
        return -1;
    }

    field = strsep(&line, "\t");

    if (field == NULL
        || mailping_mask_parse(mailping_str(field, strlen(field)), fetch->addr)
           != MAILPING_OK)
    {
        return -1;
    }

    for (i = 0; i < NUMBERS; i++) {
        field = strsep(&line, "\t");

        if (field == NULL) {
            return -1;
        }

        number[i] = strtol(field, &end, 10);

        if (end == field || *end != '\0') {
            return -1;
        }
    }

    fetch->age = number[0];
    fetch->seen = (unsigned) number[1];
    fetch->burst = (unsigned) number[2];
    fetch->farm = (unsigned) number[3];
    fetch->quick = (int) number[4];
    fetch->scanned = (int) number[5];
    fetch->head = (int) number[6];
    fetch->version = (unsigned) number[7];
    fetch->hint = (unsigned) number[8];
    fetch->self = (int) number[9];

    fetch->headers = read_headers(line);

    return fetch->headers != NULL ? 0 : -1;
}


static int
read_agent(const char *text, mailping_str_t *agent)
{
    unsigned  i;

    *agent = mailping_str(text, strlen(text));

    for (i = 0; i < nagents; i++) {
        if (mailping_str_equal(agents[i], *agent)) {
            *agent = agents[i];
            return 0;
        }
    }

    if (nagents == SHARED_MAX) {
        return -1;
    }

    agents[nagents++] = *agent;

    return 0;
}


static headers_t *
read_headers(char *text)
{
    char       *field, *colon;
    unsigned    i;
    header_t   *header;
    headers_t  *set;

    if (text == NULL) {
        return NULL;
    }

    for (i = 0; i < nheaders; i++) {
        if (strcmp(headers[i].text, text) == 0) {
            return &headers[i];
        }
    }

    if (nheaders == SHARED_MAX) {
        return NULL;
    }

    set = &headers[nheaders++];

    set->text = strdup(text);

    while ((field = strsep(&text, "\t")) != NULL) {
        colon = strstr(field, ": ");

        if (colon == NULL || set->n == HEADERS_MAX) {
            return NULL;
        }

        header = &set->header[set->n++];

        header->name = mailping_str(field, (size_t) (colon - field));
        header->value = mailping_str(colon + 2, strlen(colon + 2));
    }

    return set->text != NULL ? set : NULL;
}


static mailping_rules_t *
read_rules(char **name, int n)
{
    int                      i, rc;
    char                    *text;
    size_t                   len;
    mailping_rules_t        *rs;
    mailping_rules_error_t   err;

    memset(&err, 0, sizeof(mailping_rules_error_t));

    rs = mailping_rules_create();
    if (rs == NULL) {
        return NULL;
    }

    rc = mailping_builtin_rules(rs, &err);

    for (i = 0; i < n && rc == MAILPING_OK; i++) {
        text = read_file(name[i], &len);
        if (text == NULL) {
            mailping_rules_destroy(rs);
            return NULL;
        }

        rc = mailping_rules_parse(rs, name[i], mailping_str(text, len), NULL,
                                  NULL, &err);
        free(text);
    }

    if (rc == MAILPING_OK) {
        rc = mailping_rules_compile(rs, &err);
    }

    if (rc != MAILPING_OK) {
        fprintf(stderr, "%s:%u:%u: %s\n", err.file, err.line, err.column,
                err.text);
        mailping_rules_destroy(rs);
        return NULL;
    }

    return rs;
}


/*
 * As a whole, by a rule set that is alone on the machine: its tables have to
 * come back into the caches, where those of the other one were.
 */

static double
judge_warm(const mailping_rules_t *rs)
{
    int  i;

    for (i = 0; i < WARM; i++) {
        judge_all(rs, STEPS - 1);
    }

    return judge_all(rs, STEPS - 1);
}


/*
 * Nanoseconds per fetch of all steps up to this one, which the processor spends
 * on this program: other programs of the machine do not count.
 */

static double
judge_all(const mailping_rules_t *rs, int last)
{
    unsigned         i;
    struct timespec  start, end;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);

    for (i = 0; i < nfetches; i++) {
        judge(rs, &fetches[i], last);
    }

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);

    return ((double) (end.tv_sec - start.tv_sec) * 1e9
            + (double) (end.tv_nsec - start.tv_nsec)) / nfetches;
}


static void
judge(const mailping_rules_t *rs, const fetch_t *fetch, int last)
{
    uint8_t               stored[MAILPING_FACTS_TEXT_MAX];
    uint8_t               reasons[MAILPING_REASONS_MAX];
    mailping_facts_t      f;
    mailping_judgement_t  j;

    evidence(rs, fetch, &f, last);

    sink += (unsigned) f.is[0];

    if (last >= STEP_CLASSIFY) {
        mailping_classify(rs, &f, &j, NULL, NULL);
        sink += j.open;
    }

    if (last >= STEP_WRITE) {
        sink += (unsigned) mailping_facts_write(&f, stored);
    }

    if (last >= STEP_REASONS) {
        sink += (unsigned) mailping_classify_reasons(rs, &j, reasons);
    }
}


static void
evidence(const mailping_rules_t *rs, const fetch_t *fetch,
    mailping_facts_t *f, int last)
{
    unsigned         i;
    const header_t  *header;

    static const mailping_str_t  user_agent = mailping_string("User-Agent");

    mailping_facts_init(rs, f);

    if (last >= STEP_AGENT) {
        mailping_facts_agent(rs, f, fetch->agent);
    }

    if (last >= STEP_HEADERS) {
        mailping_facts_headers(rs, f);

        mailping_facts_header(rs, f, user_agent, fetch->agent);

        for (i = 0; i < fetch->headers->n; i++) {
            header = &fetch->headers->header[i];
            mailping_facts_header(rs, f, header->name, header->value);
        }
    }

    if (last >= STEP_ADDRESS) {
        mailping_facts_address(rs, f, fetch->addr);
    }

    if (last >= STEP_TIME) {
        mailping_facts_age(rs, f, fetch->age);
    }

    if (last >= STEP_HISTORY) {
        mailping_facts_seen(rs, f, fetch->seen);
        mailping_facts_burst(rs, f, fetch->burst);
        mailping_facts_farm(rs, f, fetch->farm);
        mailping_facts_quick(rs, f, fetch->quick);
        mailping_facts_scanned(rs, f, fetch->scanned);
    }

    if (last >= STEP_REQUEST) {
        mailping_facts_method(rs, f, fetch->head);
        mailping_facts_http(rs, f, fetch->version);
        mailping_facts_hint(rs, f, fetch->hint);
        mailping_facts_self(rs, f, fetch->self);
    }
}


/* How many rules hold, on average. */

static double
count_fired(const mailping_rules_t *rs)
{
    double                total;
    unsigned              i, n;
    uint16_t             *fired;
    mailping_facts_t      f;
    mailping_judgement_t  j;

    fired = malloc((mailping_rules_count(rs) + 1) * sizeof(uint16_t));
    if (fired == NULL) {
        return 0;
    }

    total = 0;

    for (i = 0; i < nfetches; i++) {
        evidence(rs, &fetches[i], &f, STEPS);
        mailping_classify(rs, &f, &j, fired, &n);
        total += n;
    }

    free(fired);

    return total / nfetches;
}


static int
compare(const void *one, const void *two)
{
    const double  *a, *b;

    a = one;
    b = two;

    return *a < *b ? -1 : *a > *b;
}


static void
print(const char *name, double *ns, long n)
{
    qsort(ns, (size_t) n, sizeof(double), compare);
    printf("%s %.1f %.1f\n", name, ns[n / 2], ns[0]);
}
