
/*
 * Copyright (C) MailPing
 */


/*
 * Judges agents by the built-in rules when nothing else is known of a fetch.
 * Reads one agent a line, in which "%" and bytes that do not print are
 * percent-encoded; writes for each "open person verdict reasons rules",
 * separated by tabs: reasons are the rules that counted, rules all that hold,
 * both separated by commas.  "-t rounds" writes nanoseconds per agent instead,
 * of the fastest of so many rounds.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/builtin.h"
#include "core/classify.h"
#include "core/facts.h"


#define AGENT_MAX   65536
#define AGENTS_MAX  1000000
#define RULES_MAX   1024


typedef struct {
    mailping_str_t  *agent;
    size_t           n;
    size_t           size;
} agents_t;


static int read_agents(agents_t *agents);
static size_t decode(uint8_t *text, size_t len);
static int digit(uint8_t c);
static void judge(const mailping_rules_t *rs, mailping_str_t agent,
    mailping_facts_t *f, mailping_judgement_t *j, uint16_t *fired, unsigned *n);
static void print(const mailping_rules_t *rs, mailping_str_t agent);
static double nanoseconds(const mailping_rules_t *rs, const agents_t *agents,
    long rounds);


int
main(int argc, char **argv)
{
    char                    *end;
    long                     rounds;
    size_t                   i;
    agents_t                 agents;
    mailping_rules_t        *rs;
    mailping_rules_error_t   err;

    rounds = 0;
    end = NULL;

    if (argc == 3 && strcmp(argv[1], "-t") == 0) {
        rounds = strtol(argv[2], &end, 10);
    }

    if (argc != 1 && (end == NULL || *end != '\0' || rounds < 1
                      || rounds > 100000))
    {
        fprintf(stderr, "usage: %s [-t rounds] < agents\n", argv[0]);
        return 2;
    }

    memset(&err, 0, sizeof(mailping_rules_error_t));

    rs = mailping_rules_create();

    if (rs == NULL || mailping_builtin_rules(rs, &err) != MAILPING_OK
        || mailping_rules_compile(rs, &err) != MAILPING_OK)
    {
        fprintf(stderr, "%s:%u:%u: %s\n", err.file, err.line, err.column,
                err.text);
        mailping_rules_destroy(rs);
        return 1;
    }

    if (mailping_rules_count(rs) > RULES_MAX) {
        fprintf(stderr, "more than %d rules\n", RULES_MAX);
        mailping_rules_destroy(rs);
        return 1;
    }

    memset(&agents, 0, sizeof(agents_t));

    if (read_agents(&agents) != 0) {
        mailping_rules_destroy(rs);
        return 1;
    }

    if (rounds != 0) {
        printf("%.1f\n", nanoseconds(rs, &agents, rounds));
    }

    for (i = 0; i < agents.n; i++) {

        if (rounds == 0) {
            print(rs, agents.agent[i]);
        }

        free((void *) agents.agent[i].data);
    }

    free(agents.agent);
    mailping_rules_destroy(rs);

    return fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}


static int
read_agents(agents_t *agents)
{
    void            *grown;
    size_t           len;
    uint8_t         *data;
    mailping_str_t  *agent;

    static char  line[AGENT_MAX];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        len = strlen(line);

        if (len == 0 || line[len - 1] != '\n') {
            fprintf(stderr, "agent %zu is longer than %d bytes or has no "
                    "end\n", agents->n + 1, AGENT_MAX - 2);
            return -1;
        }

        if (agents->n == agents->size) {

            if (agents->size >= AGENTS_MAX) {
                fprintf(stderr, "more than %d agents\n", AGENTS_MAX);
                return -1;
            }

            agents->size = agents->size != 0 ? agents->size * 2 : 1024;

            grown = realloc(agents->agent,
                            agents->size * sizeof(mailping_str_t));
            if (grown == NULL) {
                perror("realloc");
                return -1;
            }

            agents->agent = grown;
        }

        data = malloc(len);
        if (data == NULL) {
            perror("malloc");
            return -1;
        }

        memcpy(data, line, len);

        agent = &agents->agent[agents->n++];

        agent->data = data;
        agent->len = decode(data, len - 1);
    }

    return ferror(stdin) ? -1 : 0;
}


/* Resolves percent-encoding in place.  Returns the new length. */

static size_t
decode(uint8_t *text, size_t len)
{
    int     high, low;
    size_t  i, n;

    n = 0;

    for (i = 0; i < len; i++) {
        high = i + 2 < len && text[i] == '%' ? digit(text[i + 1]) : -1;
        low = high >= 0 ? digit(text[i + 2]) : -1;

        if (low >= 0) {
            text[n++] = (uint8_t) (high * 16 + low);
            i += 2;

        } else {
            text[n++] = text[i];
        }
    }

    return n;
}


static int
digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}


static void
judge(const mailping_rules_t *rs, mailping_str_t agent, mailping_facts_t *f,
    mailping_judgement_t *j, uint16_t *fired, unsigned *n)
{
    mailping_facts_init(rs, f);
    mailping_facts_agent(rs, f, agent);
    mailping_classify(rs, f, j, fired, n);
}


static void
print(const mailping_rules_t *rs, mailping_str_t agent)
{
    size_t                len;
    uint8_t               reasons[MAILPING_REASONS_MAX];
    unsigned              i, n;
    mailping_facts_t      f;
    mailping_judgement_t  j;
    mailping_rule_info_t  info;

    static uint16_t  fired[RULES_MAX];

    judge(rs, agent, &f, &j, fired, &n);

    len = mailping_classify_reasons(rs, &j, reasons);

    printf("%s\t%d\t%s\t%.*s\t", mailping_open_name(j.open), j.person,
           mailping_verdict_name(j.verdict), (int) len,
           (const char *) reasons);

    for (i = 0; i < n; i++) {
        mailping_rules_info(rs, fired[i], &info);

        printf("%s%.*s", i != 0 ? "," : "", (int) info.name.len,
               (const char *) info.name.data);
    }

    printf("\n");
}


static double
nanoseconds(const mailping_rules_t *rs, const agents_t *agents, long rounds)
{
    long                  round;
    double                ns, best;
    size_t                i;
    struct timespec       start, end;
    mailping_facts_t      f;
    mailping_judgement_t  j;

    best = 0;

    for (round = 0; round < rounds; round++) {
        clock_gettime(CLOCK_MONOTONIC, &start);

        for (i = 0; i < agents->n; i++) {
            judge(rs, agents->agent[i], &f, &j, NULL, NULL);
        }

        clock_gettime(CLOCK_MONOTONIC, &end);

        ns = (double) (end.tv_sec - start.tv_sec) * 1e9
             + (double) (end.tv_nsec - start.tv_nsec);

        if (round == 0 || ns < best) {
            best = ns;
        }
    }

    return agents->n != 0 ? best / (double) agents->n : 0;
}
