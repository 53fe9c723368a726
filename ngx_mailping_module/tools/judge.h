
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_JUDGE_H
#define MAILPING_JUDGE_H


#include <maxminddb.h>
#include <regex.h>
#include <stdio.h>

#include "core/classify.h"


/*
 * mailping-judge: judges fetches that are over.  A line of input becomes
 * facts, facts become a judgement, and that becomes a row of output and a
 * number in the summary.  Memory is bounded by the longest line and by the
 * rule set.
 */

#define MAILPING_JUDGE_LINE_MAX     65536
#define MAILPING_JUDGE_WHY_MAX      256
#define MAILPING_JUDGE_COLUMNS_MAX  64     /* of a TSV file */
#define MAILPING_JUDGE_LABELS_MAX   64     /* of a confusion matrix */
#define MAILPING_JUDGE_LABEL_MAX    32


typedef enum {
    MAILPING_JUDGE_ANY = 0,
    MAILPING_JUDGE_JSON,
    MAILPING_JUDGE_TSV,
    MAILPING_JUDGE_LOG
} mailping_judge_format_e;


/* what an open comes to in a summary */

typedef enum {
    MAILPING_JUDGE_PERSON = 0,
    MAILPING_JUDGE_MAYBE,
    MAILPING_JUDGE_SHIELDED,
    MAILPING_JUDGE_MACHINE,
    MAILPING_JUDGE_SIDES
} mailping_judge_side_e;


typedef struct {
    mailping_str_t    name;
    uint64_t          n[MAILPING_JUDGE_SIDES];
    uint64_t          total;
} mailping_judge_count_t;


/* one line of a confusion matrix */

typedef struct {
    uint8_t           name[MAILPING_JUDGE_LABEL_MAX];
    size_t            len;
    uint64_t          n[MAILPING_JUDGE_SIDES];
    uint64_t          total;
} mailping_judge_label_t;


typedef struct {
    const mailping_rules_t  *rules;
    mailping_judge_count_t   all;
    mailping_judge_count_t   verdict[MAILPING_VERDICTS];
    mailping_judge_count_t  *reason;       /* of each rule */
    mailping_judge_count_t  *provider;     /* the last one is "nobody" */
    uint32_t                *provider_of;  /* of each rule */
    unsigned                 nreasons;
    unsigned                 nproviders;

    mailping_judge_label_t   label[MAILPING_JUDGE_LABELS_MAX];
    unsigned                 nlabels;

    uint64_t                 was[MAILPING_OPENS][MAILPING_OPENS];
    uint64_t                 again;        /* entries judged again */
    uint64_t                 changed;      /* their open or verdict is not */
    uint64_t                 bare;         /* entries without facts */
    uint64_t                 amends;       /* entries type=amend */
    uint64_t                 types;        /* entries of other types */

    uint64_t                 methods;      /* requests other than GET, HEAD */
    uint64_t                 paths;        /* requests of other paths */
    uint64_t                 failed;       /* answered by 400 or more */
    uint64_t                 sent;         /* whose time of sending is known */

    uint64_t                 lines;
    uint64_t                 bad;
} mailping_judge_report_t;


/* the rule files' texts, which the rule set needs until it is compiled */

typedef struct mailping_judge_text_s  mailping_judge_text_t;

struct mailping_judge_text_s {
    mailping_judge_text_t   *next;
    uint8_t                 *data;
};


typedef struct {
    const char              *name;
    mailping_str_t           value;
} mailping_judge_cell_t;


typedef struct {
    mailping_rules_t        *rules;
    uint64_t                 agents[MAILPING_FACTS_WORDS];   /* fact numbers */
    uint64_t                 clients[MAILPING_FACTS_WORDS];
    int                      first;        /* number of "seen<2", or -1 */

    MMDB_s                  *asn;          /* or NULL */
    regex_t                 *match;        /* or NULL */
    const char              *path;         /* or NULL */
    const char              *sent;         /* name of an argument, or NULL */
    unsigned                 output;       /* JSON, TSV, ANY = as the input */
    unsigned                 all:1;        /* rows that are not news, too */
    unsigned                 summary:1;    /* no rows at all */

    /* the header line of the TSV file that is being read */

    uint8_t                  header[MAILPING_JUDGE_LINE_MAX];
    mailping_str_t           column[MAILPING_JUDGE_COLUMNS_MAX];
    uint8_t                  kind[MAILPING_JUDGE_COLUMNS_MAX];
    unsigned                 ncolumns;

    uint64_t                 line;         /* its number in the file */
    unsigned                 rows:1;       /* there is a row for each line */
    const char              *head;         /* first column of the last row */
    char                     why[MAILPING_JUDGE_WHY_MAX];

    mailping_judge_report_t  report;
} mailping_judge_t;


/* judge_rules.c */

/*
 * Loads the built-in rules, unless only is set, and the named files on top.
 * Returns MAILPING_OK, or MAILPING_ERROR with what is wrong in judge->why.
 */
int mailping_judge_rules(mailping_judge_t *judge, char **files,
    unsigned nfiles, unsigned only);

/* Puts what g knows in place of what f knows of the same facts. */
void mailping_judge_overlay(mailping_facts_t *f, const mailping_facts_t *g);

/*
 * Reports an address, and its autonomous system: that with the number asn, or
 * when this is 0, that of the database, if any.
 */
void mailping_judge_network(const mailping_judge_t *judge,
    mailping_facts_t *f, const uint8_t addr[16], uint32_t asn);


/*
 * The kinds of input.  Each takes one line, which it may change, judges it,
 * counts it and writes its row.  Return MAILPING_OK, or MAILPING_ERROR with
 * what is wrong with the line in judge->why.
 */

/* judge_json.c: a stream entry, or an agent with a label */
int mailping_judge_json(mailping_judge_t *judge, uint8_t *line, size_t len);

/*
 * judge_fetch.c: the header line of described fetches and a line below it.
 * mailping_judge_is_header() tells whether a line can be the former.
 */
int mailping_judge_is_header(mailping_str_t line);
int mailping_judge_header(mailping_judge_t *judge, mailping_str_t line);
int mailping_judge_fetch(mailping_judge_t *judge, mailping_str_t line);

/* judge_log.c: a request */
int mailping_judge_log(mailping_judge_t *judge, uint8_t *line, size_t len);

/* judge_entry.c: what judge_json.c found; values in the order of this enum */

typedef enum {
    MAILPING_JUDGE_TYPE = 0,
    MAILPING_JUDGE_EVENT,
    MAILPING_JUDGE_ID,
    MAILPING_JUDGE_TIME,
    MAILPING_JUDGE_SENT,
    MAILPING_JUDGE_SEEN,
    MAILPING_JUDGE_OPEN,
    MAILPING_JUDGE_PERSONS,
    MAILPING_JUDGE_VERDICT,
    MAILPING_JUDGE_PROVIDER,
    MAILPING_JUDGE_REASONS,
    MAILPING_JUDGE_RULES,
    MAILPING_JUDGE_FACTS,
    MAILPING_JUDGE_ASN,
    MAILPING_JUDGE_CLIENT,
    MAILPING_JUDGE_AGENT,
    MAILPING_JUDGE_PRIVACY,
    MAILPING_JUDGE_UA,
    MAILPING_JUDGE_LABEL,
    MAILPING_JUDGE_NAME,
    MAILPING_JUDGE_MEMBERS
} mailping_judge_member_e;


/* a member that is missing has the data NULL */

int mailping_judge_entry(mailping_judge_t *judge,
    const mailping_str_t value[MAILPING_JUDGE_MEMBERS]);


/* judge_text.c */

/* A decimal number up to max.  Returns MAILPING_OK or MAILPING_ERROR. */
int mailping_judge_number(mailping_str_t text, uint64_t max, uint64_t *number);

/* The value of a hex digit, or MAILPING_ERROR. */
int mailping_judge_digit(uint8_t c);

/* Whether the text is this one; case matters. */
int mailping_judge_is(mailping_str_t text, const char *other);

/*
 * The version of HTTP as mailping_facts_http() takes it, or 0 when the text is
 * none.
 */
unsigned mailping_judge_version(mailping_str_t text);

/*
 * Says in judge->why what was expected and what is there instead.  Returns
 * MAILPING_ERROR.
 */
int mailping_judge_expected(mailping_judge_t *judge, const char *what,
    mailping_str_t found);


/* judge_output.c */

/* How many bytes at p, of n, are a character of UTF-8; 0 if they are none. */
size_t mailping_judge_character(const uint8_t *p, size_t n);

/*
 * Writes a row to standard output, for TSV with a header line when the columns
 * are not those of the row before.  input is the format of the input.
 */
void mailping_judge_row(mailping_judge_t *judge, unsigned input,
    const mailping_judge_cell_t *cells, unsigned ncells);

/*
 * Makes the five cells "open" to "reasons" of a judgement.  Their texts are in
 * buf and in the rule set.
 */
#define MAILPING_JUDGE_CELLS     5
#define MAILPING_JUDGE_CELL_MAX  (MAILPING_REASONS_MAX + 8)

void mailping_judge_cells(const mailping_judge_t *judge,
    const mailping_judgement_t *j, mailping_judge_cell_t *cells,
    uint8_t buf[MAILPING_JUDGE_CELL_MAX]);


/* judge_report.c */

/* Prepares the counters.  Returns MAILPING_OK or MAILPING_ERROR. */
int mailping_judge_report_init(mailping_judge_report_t *report,
    const mailping_rules_t *rules);
void mailping_judge_report_done(mailping_judge_report_t *report);

/* Counts a judgement, by its label, too, when that is not empty. */
void mailping_judge_count(mailping_judge_report_t *report,
    const mailping_judgement_t *j, mailping_str_t label);

/* Writes the summary, in which nothing is personal. */
void mailping_judge_print(const mailping_judge_report_t *report, FILE *out);


/* judge_lines.c */

typedef struct {
    int               fd;
    uint8_t          *buf;
    size_t            start;           /* of the bytes not given out yet */
    size_t            scan;            /* before it is no end of a line */
    size_t            end;
    uint64_t          number;          /* of the last line given out */
    uint64_t          bytes;           /* given out */
    unsigned          last:1;          /* nothing is left to read */
    unsigned          skip:1;          /* within a line that is too long */
} mailping_judge_lines_t;


/*
 * Begins with a file.  buf has MAILPING_JUDGE_BUFFER bytes.
 */
#define MAILPING_JUDGE_BUFFER  (8 * MAILPING_JUDGE_LINE_MAX)

void mailping_judge_lines(mailping_judge_lines_t *in, int fd, uint8_t *buf);

/*
 * Gives the next line, without its end, "\n" or "\r\n", and valid until the
 * next call.  The byte after it may be written, too.  Returns MAILPING_OK;
 * MAILPING_DECLINED after the last line; MAILPING_AGAIN for a line that is
 * longer than MAILPING_JUDGE_LINE_MAX, which is left out; MAILPING_ERROR with
 * errno when the file cannot be read.
 */
int mailping_judge_line(mailping_judge_lines_t *in, uint8_t **line,
    size_t *len);


#endif /* MAILPING_JUDGE_H */
