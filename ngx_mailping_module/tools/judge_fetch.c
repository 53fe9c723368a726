
/*
 * Copyright (C) MailPing
 */


#include "core/mask.h"
#include "core/token.h"

#include "judge.h"


/*
 * Described fetches: the header line names the columns, a line below it is one
 * fetch.  An empty cell is not known; "-" in a column of the agent or of a
 * header says that the request had none.
 */

typedef struct {
    mailping_judge_t  *judge;
    mailping_facts_t   facts;
    mailping_str_t     agent;
    mailping_str_t     label;
    mailping_str_t     name;
    uint8_t            addr[16];
    uint32_t           asn;
    unsigned           address:1;
    unsigned           headers:1;
} mailping_judge_fetch_t;


typedef int (*mailping_judge_set_pt)(mailping_judge_fetch_t *fetch,
    mailping_str_t value);


typedef struct {
    const char             *name;
    const char             *expected;
    mailping_judge_set_pt   set;       /* NULL: a number */
    mailping_fact_kind_e    kind;
    uint32_t                min;
    uint32_t                max;
} mailping_judge_column_t;


static int mailping_judge_cell(mailping_str_t line, size_t *at,
    mailping_str_t *cell);
static int mailping_judge_column(mailping_str_t name);
static int mailping_judge_column_set(const mailping_judge_column_t *column,
    mailping_judge_fetch_t *fetch, mailping_str_t value);
static int mailping_judge_cell_set(mailping_judge_fetch_t *fetch, unsigned i,
    mailping_str_t value);
static void mailping_judge_fetch_row(mailping_judge_fetch_t *fetch,
    const mailping_judgement_t *j);
static int mailping_judge_set_agent(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_ip(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_asn(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_age(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_hint(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_method(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_http(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_label(mailping_judge_fetch_t *fetch,
    mailping_str_t value);
static int mailping_judge_set_name(mailping_judge_fetch_t *fetch,
    mailping_str_t value);


static const mailping_judge_column_t  mailping_judge_columns[] = {
    { "agent", "an agent", mailping_judge_set_agent, 0, 0, 0 },
    { "ip", "an address", mailping_judge_set_ip, 0, 0, 0 },
    { "asn", "an asn", mailping_judge_set_asn, 0, 0, 0 },
    { "age", "an age, as 10s or 2h", mailping_judge_set_age, 0, 0, 0 },
    { "hint", "a hint", mailping_judge_set_hint, 0, 0, 0 },
    { "method", "GET or HEAD", mailping_judge_set_method, 0, 0, 0 },
    { "http", "0.9, 1.0, 1.1, 2 or 3", mailping_judge_set_http, 0, 0, 0 },
    { "seen", "a number from 1", NULL, MAILPING_FACT_SEEN, 1, UINT32_MAX },
    { "burst", "a number from 1", NULL, MAILPING_FACT_BURST, 1, UINT32_MAX },
    { "farm", "a number from 1", NULL, MAILPING_FACT_FARM, 1, UINT32_MAX },
    { "agents", "a number from 1", NULL, MAILPING_FACT_AGENTS, 1, UINT32_MAX },
    { "quick", "a percentage", NULL, MAILPING_FACT_QUICK, 0, 100 },
    { "scanned", "0 or 1", NULL, MAILPING_FACT_SCANNED, 0, 1 },
    { "self", "0 or 1", NULL, MAILPING_FACT_SELF, 0, 1 },
    { "label", "a label", mailping_judge_set_label, 0, 0, 0 },
    { "name", "a name", mailping_judge_set_name, 0, 0, 0 },
    { NULL, NULL, NULL, 0, 0, 0 }
};


#define MAILPING_JUDGE_HEADER  (sizeof(mailping_judge_columns)                \
                                / sizeof(mailping_judge_columns[0]))


/* Returns MAILPING_DECLINED when there is no cell any more. */

static int
mailping_judge_cell(mailping_str_t line, size_t *at, mailping_str_t *cell)
{
    const uint8_t  *tab;

    if (*at > line.len) {
        return MAILPING_DECLINED;
    }

    cell->data = line.data + *at;
    cell->len = line.len - *at;

    tab = cell->len != 0 ? memchr(cell->data, '\t', cell->len) : NULL;

    if (tab != NULL) {
        cell->len = (size_t) (tab - cell->data);
    }

    *at += cell->len + 1;

    return MAILPING_OK;
}


/* The place in the table, that after its end for "header.NAME". */

static int
mailping_judge_column(mailping_str_t name)
{
    unsigned  i;

    if (name.len > 7 && memcmp(name.data, "header.", 7) == 0) {
        return MAILPING_JUDGE_HEADER;
    }

    for (i = 0; mailping_judge_columns[i].name != NULL; i++) {
        if (mailping_judge_is(name, mailping_judge_columns[i].name)) {
            return (int) i;
        }
    }

    return MAILPING_ERROR;
}


int
mailping_judge_is_header(mailping_str_t line)
{
    size_t          at;
    mailping_str_t  cell;

    at = 0;

    (void) mailping_judge_cell(line, &at, &cell);

    return mailping_judge_column(cell) != MAILPING_ERROR;
}


int
mailping_judge_header(mailping_judge_t *judge, mailping_str_t line)
{
    int             kind;
    size_t          at;
    unsigned        i, n;
    mailping_str_t  cell;

    at = 0;
    n = 0;

    /* the names are needed longer than the line is there */

    memcpy(judge->header, line.data, line.len);
    line.data = judge->header;

    while (mailping_judge_cell(line, &at, &cell) == MAILPING_OK) {
        kind = mailping_judge_column(cell);

        if (kind == MAILPING_ERROR) {
            return mailping_judge_expected(judge, "the name of a column",
                                           cell);
        }

        for (i = 0; i < n; i++) {

            if (judge->column[i].len == cell.len
                && memcmp(judge->column[i].data, cell.data, cell.len) == 0)
            {
                return mailping_judge_expected(judge, "each column once",
                                               cell);
            }
        }

        if (n == MAILPING_JUDGE_COLUMNS_MAX) {
            return mailping_judge_expected(judge, "at most 64 columns", cell);
        }

        judge->column[n] = cell;
        judge->kind[n] = (uint8_t) kind;
        n++;
    }

    judge->ncolumns = n;

    return MAILPING_OK;
}


int
mailping_judge_fetch(mailping_judge_t *judge, mailping_str_t line)
{
    size_t                  at;
    unsigned                i;
    mailping_str_t          cell;
    mailping_judgement_t    j;
    mailping_judge_fetch_t  fetch;

    memset(&fetch, 0, sizeof(mailping_judge_fetch_t));

    fetch.judge = judge;
    mailping_facts_init(judge->rules, &fetch.facts);

    at = 0;

    for (i = 0; mailping_judge_cell(line, &at, &cell) == MAILPING_OK; i++) {

        if (i == judge->ncolumns) {
            snprintf(judge->why, MAILPING_JUDGE_WHY_MAX,
                     "expected %u columns, found more", judge->ncolumns);
            return MAILPING_ERROR;
        }

        if (cell.len == 0) {
            continue;
        }

        if (mailping_judge_cell_set(&fetch, i, cell) != MAILPING_OK) {
            return MAILPING_ERROR;
        }
    }

    if (i < judge->ncolumns) {
        snprintf(judge->why, MAILPING_JUDGE_WHY_MAX,
                 "expected %u columns, found %u", judge->ncolumns, i);
        return MAILPING_ERROR;
    }

    if (fetch.address) {
        mailping_judge_network(judge, &fetch.facts, fetch.addr, fetch.asn);

    } else {
        mailping_facts_asn(judge->rules, &fetch.facts, fetch.asn);
    }

    mailping_classify(judge->rules, &fetch.facts, &j, NULL, NULL);
    mailping_judge_count(&judge->report, &j, fetch.label);

    if (!judge->summary) {
        mailping_judge_fetch_row(&fetch, &j);
    }

    return MAILPING_OK;
}


static int
mailping_judge_cell_set(mailping_judge_fetch_t *fetch, unsigned i,
    mailping_str_t value)
{
    mailping_str_t                  name;
    mailping_judge_t               *judge;
    const mailping_judge_column_t  *column;

    judge = fetch->judge;

    if (judge->kind[i] == MAILPING_JUDGE_HEADER) {

        /* one header that is known says that all are */

        if (!fetch->headers) {
            fetch->headers = 1;
            mailping_facts_headers(judge->rules, &fetch->facts);
        }

        if (!mailping_judge_is(value, "-")) {
            name.data = judge->column[i].data + 7;
            name.len = judge->column[i].len - 7;

            mailping_facts_header(judge->rules, &fetch->facts, name, value);
        }

        return MAILPING_OK;
    }

    column = &mailping_judge_columns[judge->kind[i]];

    if (mailping_judge_column_set(column, fetch, value) != MAILPING_OK) {
        return mailping_judge_expected(judge, column->expected, value);
    }

    return MAILPING_OK;
}


static int
mailping_judge_column_set(const mailping_judge_column_t *column,
    mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    uint64_t  number;

    if (column->set != NULL) {
        return column->set(fetch, value);
    }

    if (mailping_judge_number(value, column->max, &number) != MAILPING_OK
        || number < column->min)
    {
        return MAILPING_ERROR;
    }

    mailping_facts_value(fetch->judge->rules, &fetch->facts, column->kind,
                         number);

    return MAILPING_OK;
}


static void
mailping_judge_fetch_row(mailping_judge_fetch_t *fetch,
    const mailping_judgement_t *j)
{
    int                    len;
    char                   line[24];
    uint8_t                buf[MAILPING_JUDGE_CELL_MAX];
    mailping_judge_cell_t  cells[3 + MAILPING_JUDGE_CELLS + 2];

    len = snprintf(line, sizeof(line), "%llu",
                   (unsigned long long) fetch->judge->line);

    cells[0].name = "line";
    cells[0].value.data = (const uint8_t *) line;
    cells[0].value.len = (size_t) len;
    cells[1].name = "label";
    cells[1].value = fetch->label;
    cells[2].name = "name";
    cells[2].value = fetch->name;

    mailping_judge_cells(fetch->judge, j, cells + 3, buf);

    cells[8].name = "client";
    cells[8].value = fetch->facts.client;
    cells[9].name = "agent";
    cells[9].value = fetch->agent;

    mailping_judge_row(fetch->judge, MAILPING_JUDGE_TSV, cells, 10);
}


static int
mailping_judge_set_agent(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    fetch->agent = value;

    if (mailping_judge_is(value, "-")) {
        fetch->agent.len = 0;
    }

    mailping_facts_agent(fetch->judge->rules, &fetch->facts, fetch->agent);

    return MAILPING_OK;
}


static int
mailping_judge_set_ip(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    fetch->address = 1;

    return mailping_mask_parse(value, fetch->addr);
}


static int
mailping_judge_set_asn(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    uint64_t  asn;

    if (value.len > 2 && memcmp(value.data, "AS", 2) == 0) {
        value.data += 2;
        value.len -= 2;
    }

    if (mailping_judge_number(value, UINT32_MAX, &asn) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    fetch->asn = (uint32_t) asn;

    return MAILPING_OK;
}


/* A sum of numbers with units; the last one may go without, in seconds. */

static int
mailping_judge_set_age(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    size_t          i, k;
    uint64_t        n, age, scale;
    mailping_str_t  digits, unit;

    age = 0;
    i = 0;

    while (i < value.len) {

        for (k = i; k < value.len && value.data[k] >= '0'
                    && value.data[k] <= '9'; k++)
        {
            /* void */
        }

        digits.data = value.data + i;
        digits.len = k - i;

        for (i = k; k < value.len && (value.data[k] < '0'
                                      || value.data[k] > '9'); k++)
        {
            /* void */
        }

        unit.data = value.data + i;
        unit.len = k - i;
        i = k;

        if (unit.len == 0 || mailping_judge_is(unit, "s")) {
            scale = 1000;

        } else if (mailping_judge_is(unit, "ms")) {
            scale = 1;

        } else if (mailping_judge_is(unit, "m")) {
            scale = 60 * 1000;

        } else if (mailping_judge_is(unit, "h")) {
            scale = 3600 * 1000;

        } else if (mailping_judge_is(unit, "d")) {
            scale = 86400 * 1000;

        } else {
            return MAILPING_ERROR;
        }

        if (mailping_judge_number(digits, UINT32_MAX, &n) != MAILPING_OK) {
            return MAILPING_ERROR;
        }

        /* at most 2^32 days each, and lines are short */

        age += n * scale;

        if (age > INT64_MAX / 2) {
            return MAILPING_ERROR;
        }
    }

    mailping_facts_age(fetch->judge->rules, &fetch->facts, (int64_t) age);

    return MAILPING_OK;
}


static int
mailping_judge_set_hint(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    int  hint;

    hint = mailping_hint_parse(value);

    if (hint < 0) {
        return MAILPING_ERROR;
    }

    mailping_facts_hint(fetch->judge->rules, &fetch->facts, (unsigned) hint);

    return MAILPING_OK;
}


static int
mailping_judge_set_method(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    int  head;

    head = mailping_judge_is(value, "HEAD") || mailping_judge_is(value, "head");

    if (!head && !mailping_judge_is(value, "GET")
        && !mailping_judge_is(value, "get"))
    {
        return MAILPING_ERROR;
    }

    mailping_facts_method(fetch->judge->rules, &fetch->facts, head);

    return MAILPING_OK;
}


static int
mailping_judge_set_http(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    unsigned  version;

    version = mailping_judge_version(value);

    if (version == 0) {
        return MAILPING_ERROR;
    }

    mailping_facts_http(fetch->judge->rules, &fetch->facts, version);

    return MAILPING_OK;
}


static int
mailping_judge_set_label(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    fetch->label = value;

    return MAILPING_OK;
}


static int
mailping_judge_set_name(mailping_judge_fetch_t *fetch, mailping_str_t value)
{
    fetch->name = value;

    return MAILPING_OK;
}
