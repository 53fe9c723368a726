
/*
 * Copyright (C) MailPing
 */


#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "judge.h"


#ifndef MAILPING_JUDGE_VERSION
#error "MAILPING_JUDGE_VERSION must be the module's version, a string"
#endif


#define MAILPING_JUDGE_RULE_FILES  64
#define MAILPING_JUDGE_BAD_SHOWN   10      /* bad lines of one run */
#define MAILPING_JUDGE_TICK        4096    /* lines from clock to clock */

/* exit codes */

#define MAILPING_JUDGE_GOOD        0
#define MAILPING_JUDGE_BAD         1       /* lines */
#define MAILPING_JUDGE_FAILED      2


typedef enum {
    MAILPING_JUDGE_OPTION_ASN = 256,
    MAILPING_JUDGE_OPTION_MATCH,
    MAILPING_JUDGE_OPTION_ONLY,
    MAILPING_JUDGE_OPTION_SENT,
    MAILPING_JUDGE_OPTION_VERSION
} mailping_judge_option_e;


typedef struct {
    char             *rules[MAILPING_JUDGE_RULE_FILES];
    char             *asn;
    char             *match;
    unsigned          nrules;
    unsigned          only;
    unsigned          format;
    unsigned          version;
} mailping_judge_options_t;


/* what a terminal sees while it takes time */

typedef struct {
    const char       *name;                /* of the file */
    uint64_t          size;                /* of the file, 0 = not known */
    uint64_t          lines;               /* of the files before */
    double            start;
    double            shown;
    unsigned          on:1;                /* there is a terminal */
    unsigned          dirty:1;             /* and something on it */
} mailping_judge_progress_t;


static int mailping_judge_arguments(mailping_judge_t *judge,
    mailping_judge_options_t *options, int argc, char **argv);
static int mailping_judge_prepare(mailping_judge_t *judge,
    const mailping_judge_options_t *options);
static int mailping_judge_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static int mailping_judge_files(mailping_judge_t *judge, char **names,
    unsigned format);
static int mailping_judge_file(mailping_judge_t *judge, const char *name,
    unsigned format, mailping_judge_progress_t *progress);
static int mailping_judge_lines_of(mailping_judge_t *judge, const char *name,
    unsigned format, mailping_judge_lines_t *in,
    mailping_judge_progress_t *progress);
static unsigned mailping_judge_detect(mailping_str_t line);
static int mailping_judge_one(mailping_judge_t *judge, unsigned format,
    uint8_t *line, size_t len);
static void mailping_judge_bad(mailping_judge_t *judge, const char *name);
static double mailping_judge_clock(void);
static void mailping_judge_progress(mailping_judge_progress_t *progress,
    const mailping_judge_lines_t *in);
static void mailping_judge_progress_end(mailping_judge_progress_t *progress);
static int mailping_judge_finish(mailping_judge_t *judge);


static const char  mailping_judge_usage[] =
    "usage: mailping-judge [options] [file ...]\n"
    "\n"
    "Judges opens that are over: entries of a MailPing stream as JSON lines,\n"
    "fetches described as TSV, or an access log in format \"combined\".\n"
    "\n"
    "  -f, --format FORMAT  of the input: json, tsv or log; by default it is\n"
    "                       seen from a file's first line\n"
    "  -r, --rules FILE     more rules; may be repeated\n"
    "      --only FILE      likewise, and without the built-in rules\n"
    "  -a, --all            rows of entries that stay what they were, and of\n"
    "                       the requests of an access log\n"
    "  -s, --summary        no rows, the summary to standard output\n"
    "  -o, --output FORMAT  of rows: json or tsv\n"
    "      --asn FILE       database of autonomous systems (MMDB)\n"
    "  -p, --path PREFIX    of an access log, requests that begin so only\n"
    "      --match REGEX    of an access log, requests that match only\n"
    "      --sent-arg NAME  the argument that says when the mail was sent\n"
    "  -h, --help           this text\n"
    "      --version        version, and the name of the rule set\n"
    "\n"
    "Exit status: 0, 1 when a line was bad, 2 when something else was.\n";


static const struct option  mailping_judge_long[] = {
    { "format", required_argument, NULL, 'f' },
    { "rules", required_argument, NULL, 'r' },
    { "only", required_argument, NULL, MAILPING_JUDGE_OPTION_ONLY },
    { "all", no_argument, NULL, 'a' },
    { "summary", no_argument, NULL, 's' },
    { "output", required_argument, NULL, 'o' },
    { "asn", required_argument, NULL, MAILPING_JUDGE_OPTION_ASN },
    { "path", required_argument, NULL, 'p' },
    { "match", required_argument, NULL, MAILPING_JUDGE_OPTION_MATCH },
    { "sent-arg", required_argument, NULL, MAILPING_JUDGE_OPTION_SENT },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, MAILPING_JUDGE_OPTION_VERSION },
    { NULL, 0, NULL, 0 }
};


/* large, and one of a kind */

static mailping_judge_t  mailping_judge_data;
static uint8_t  mailping_judge_buffer[MAILPING_JUDGE_BUFFER];


int
main(int argc, char **argv)
{
    int                        rc;
    mailping_judge_t          *judge;
    mailping_judge_options_t   options;

    judge = &mailping_judge_data;

    memset(&options, 0, sizeof(mailping_judge_options_t));

    rc = mailping_judge_arguments(judge, &options, argc, argv);

    if (rc != MAILPING_OK) {
        return rc == MAILPING_DECLINED ? MAILPING_JUDGE_GOOD
                                       : MAILPING_JUDGE_FAILED;
    }

    rc = mailping_judge_prepare(judge, &options);

    if (rc != MAILPING_OK) {
        goto done;
    }

    if (options.version) {
        printf("mailping-judge " MAILPING_JUDGE_VERSION ", rules %08x\n",
               mailping_rules_id(judge->rules));
        goto done;
    }

    rc = mailping_judge_files(judge, argv + optind, options.format);

    if (rc == MAILPING_OK) {
        rc = mailping_judge_finish(judge);
    }

done:

    if (judge->match != NULL) {
        regfree(judge->match);
        free(judge->match);
    }

    if (judge->asn != NULL) {
        MMDB_close(judge->asn);
        free(judge->asn);
    }

    mailping_judge_report_done(&judge->report);
    mailping_rules_destroy(judge->rules);

    if (rc != MAILPING_OK) {
        return MAILPING_JUDGE_FAILED;
    }

    return judge->report.bad != 0 ? MAILPING_JUDGE_BAD : MAILPING_JUDGE_GOOD;
}


/* Returns MAILPING_DECLINED when there is nothing to do after that. */

static int
mailping_judge_arguments(mailping_judge_t *judge,
    mailping_judge_options_t *options, int argc, char **argv)
{
    int             c;
    unsigned       *format;
    mailping_str_t  value;

    for ( ;; ) {
        c = getopt_long(argc, argv, "f:r:aso:p:h", mailping_judge_long, NULL);

        switch (c) {

        case -1:
            return MAILPING_OK;

        case 'f':
        case 'o':
            format = c == 'f' ? &options->format : &judge->output;
            value.data = (const uint8_t *) optarg;
            value.len = strlen(optarg);

            if (mailping_judge_is(value, "json")) {
                *format = MAILPING_JUDGE_JSON;

            } else if (mailping_judge_is(value, "tsv")) {
                *format = MAILPING_JUDGE_TSV;

            } else if (c == 'f' && mailping_judge_is(value, "log")) {
                *format = MAILPING_JUDGE_LOG;

            } else {
                return mailping_judge_fail("expected a format, found \"%s\"",
                                           optarg);
            }

            break;

        case MAILPING_JUDGE_OPTION_ONLY:
            options->only = 1;

            /* fall through */

        case 'r':
            if (options->nrules == MAILPING_JUDGE_RULE_FILES) {
                return mailping_judge_fail("more than %d rule files",
                                           MAILPING_JUDGE_RULE_FILES);
            }

            options->rules[options->nrules++] = optarg;
            break;

        case 'a':
            judge->all = 1;
            break;

        case 's':
            judge->summary = 1;
            break;

        case 'p':
            judge->path = optarg;
            break;

        case MAILPING_JUDGE_OPTION_ASN:
            options->asn = optarg;
            break;

        case MAILPING_JUDGE_OPTION_MATCH:
            options->match = optarg;
            break;

        case MAILPING_JUDGE_OPTION_SENT:
            judge->sent = optarg;
            break;

        case MAILPING_JUDGE_OPTION_VERSION:
            options->version = 1;
            break;

        case 'h':
            fputs(mailping_judge_usage, stdout);
            return MAILPING_DECLINED;

        default:
            fputs("see mailping-judge --help\n", stderr);
            return MAILPING_ERROR;
        }
    }
}


static int
mailping_judge_prepare(mailping_judge_t *judge,
    const mailping_judge_options_t *options)
{
    int   rc;
    char  why[MAILPING_JUDGE_WHY_MAX];

    if (mailping_judge_rules(judge, (char **) options->rules, options->nrules,
                             options->only)
        != MAILPING_OK)
    {
        return mailping_judge_fail("%s", judge->why);
    }

    if (mailping_judge_report_init(&judge->report, judge->rules)
        != MAILPING_OK)
    {
        return mailping_judge_fail("not enough memory");
    }

    if (options->match != NULL) {
        judge->match = malloc(sizeof(regex_t));

        if (judge->match == NULL) {
            return mailping_judge_fail("not enough memory");
        }

        rc = regcomp(judge->match, options->match, REG_EXTENDED|REG_NOSUB);

        if (rc != 0) {
            regerror(rc, judge->match, why, sizeof(why));
            free(judge->match);
            judge->match = NULL;

            return mailping_judge_fail("regex \"%s\": %s", options->match,
                                       why);
        }
    }

    if (options->asn != NULL) {
        judge->asn = malloc(sizeof(MMDB_s));

        if (judge->asn == NULL) {
            return mailping_judge_fail("not enough memory");
        }

        rc = MMDB_open(options->asn, MMDB_MODE_MMAP, judge->asn);

        if (rc != MMDB_SUCCESS) {
            free(judge->asn);
            judge->asn = NULL;

            return mailping_judge_fail("database \"%s\": %s", options->asn,
                                       MMDB_strerror(rc));
        }
    }

    return MAILPING_OK;
}


/* Returns MAILPING_ERROR. */

static int
mailping_judge_fail(const char *format, ...)
{
    va_list  args;

    fputs("mailping-judge: ", stderr);

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);

    putc('\n', stderr);

    return MAILPING_ERROR;
}


/* names ends with a NULL; without any it is standard input. */

static int
mailping_judge_files(mailping_judge_t *judge, char **names, unsigned format)
{
    mailping_judge_progress_t  progress;

    memset(&progress, 0, sizeof(mailping_judge_progress_t));

    progress.on = isatty(STDERR_FILENO) != 0;
    progress.start = mailping_judge_clock();
    progress.shown = progress.start;

    if (*names == NULL) {
        return mailping_judge_file(judge, "-", format, &progress);
    }

    for ( /* void */ ; *names != NULL; names++) {

        if (mailping_judge_file(judge, *names, format, &progress)
            != MAILPING_OK)
        {
            return MAILPING_ERROR;
        }
    }

    return MAILPING_OK;
}


static int
mailping_judge_file(mailping_judge_t *judge, const char *name, unsigned format,
    mailping_judge_progress_t *progress)
{
    int                     fd, rc;
    struct stat             st;
    mailping_judge_lines_t  in;

    fd = STDIN_FILENO;

    if (strcmp(name, "-") == 0) {
        name = "stdin";

    } else {
        fd = open(name, O_RDONLY|O_CLOEXEC);

        if (fd == -1) {
            return mailping_judge_fail("\"%s\": %s", name, strerror(errno));
        }
    }

    progress->name = name;
    progress->lines = judge->report.lines;
    progress->size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
                     ? (uint64_t) st.st_size : 0;

    mailping_judge_lines(&in, fd, mailping_judge_buffer);

    judge->ncolumns = 0;

    rc = mailping_judge_lines_of(judge, name, format, &in, progress);

    mailping_judge_progress_end(progress);

    judge->report.lines += in.number;

    if (rc != MAILPING_OK) {
        rc = mailping_judge_fail("\"%s\": %s", name, strerror(errno));
    }

    if (fd != STDIN_FILENO) {
        close(fd);
    }

    return rc;
}


static int
mailping_judge_lines_of(mailping_judge_t *judge, const char *name,
    unsigned format, mailping_judge_lines_t *in,
    mailping_judge_progress_t *progress)
{
    int             rc;
    size_t          len;
    uint8_t        *line;
    mailping_str_t  text;

    for ( ;; ) {
        rc = mailping_judge_line(in, &line, &len);

        if (rc == MAILPING_DECLINED) {
            return MAILPING_OK;
        }

        if (rc == MAILPING_ERROR) {
            return MAILPING_ERROR;
        }

        if (in->number % MAILPING_JUDGE_TICK == 0) {
            mailping_judge_progress(progress, in);
        }

        judge->line = in->number;

        if (rc == MAILPING_AGAIN) {
            snprintf(judge->why, MAILPING_JUDGE_WHY_MAX,
                     "longer than %d bytes", MAILPING_JUDGE_LINE_MAX);
            mailping_judge_progress_end(progress);
            mailping_judge_bad(judge, name);
            continue;
        }

        if (in->number == 1 && len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
        {
            line += 3;
            len -= 3;
        }

        if (len == 0) {
            continue;
        }

        if (format == MAILPING_JUDGE_ANY) {
            text.data = line;
            text.len = len;
            format = mailping_judge_detect(text);
        }

        if (mailping_judge_one(judge, format, line, len) != MAILPING_OK) {
            mailping_judge_progress_end(progress);
            mailping_judge_bad(judge, name);

            /* without a header line no other line means anything */

            if (format == MAILPING_JUDGE_TSV && judge->ncolumns == 0) {
                return MAILPING_OK;
            }
        }
    }
}


static unsigned
mailping_judge_detect(mailping_str_t line)
{
    if (line.data[0] == '{') {
        return MAILPING_JUDGE_JSON;
    }

    return mailping_judge_is_header(line) ? MAILPING_JUDGE_TSV
                                          : MAILPING_JUDGE_LOG;
}


static int
mailping_judge_one(mailping_judge_t *judge, unsigned format, uint8_t *line,
    size_t len)
{
    mailping_str_t  text;

    text.data = line;
    text.len = len;

    switch (format) {

    case MAILPING_JUDGE_JSON:
        judge->rows = 1;
        return mailping_judge_json(judge, line, len);

    case MAILPING_JUDGE_TSV:
        judge->rows = 1;

        if (judge->ncolumns == 0) {
            return mailping_judge_header(judge, text);
        }

        return mailping_judge_fetch(judge, text);

    default:
        judge->rows |= judge->all;
        return mailping_judge_log(judge, line, len);
    }
}


static void
mailping_judge_bad(mailping_judge_t *judge, const char *name)
{
    if (judge->report.bad < MAILPING_JUDGE_BAD_SHOWN) {
        fprintf(stderr, "mailping-judge: %s in %s:%llu\n", judge->why, name,
                (unsigned long long) judge->line);

    } else if (judge->report.bad == MAILPING_JUDGE_BAD_SHOWN) {
        fputs("mailping-judge: further bad lines are counted only\n", stderr);
    }

    judge->report.bad++;
}


static double
mailping_judge_clock(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


/* Five times a second. */

static void
mailping_judge_progress(mailping_judge_progress_t *progress,
    const mailping_judge_lines_t *in)
{
    double    now;
    uint64_t  lines;

    if (!progress->on) {
        return;
    }

    now = mailping_judge_clock();

    if (now - progress->shown < 0.2) {
        return;
    }

    progress->shown = now;
    progress->dirty = 1;

    lines = progress->lines + in->number;

    fprintf(stderr, "\r\033[K%.40s: %llu lines, %.0f a second", progress->name,
            (unsigned long long) lines,
            (double) lines / (now - progress->start));

    if (progress->size != 0) {
        fprintf(stderr, ", %.0f %%",
                in->bytes < progress->size
                ? 100.0 * (double) in->bytes / (double) progress->size : 100);
    }
}


static void
mailping_judge_progress_end(mailping_judge_progress_t *progress)
{
    if (progress->dirty) {
        progress->dirty = 0;
        fputs("\r\033[K", stderr);
    }
}


/* Rows and the summary do not go to the same place. */

static int
mailping_judge_finish(mailping_judge_t *judge)
{
    mailping_judge_print(&judge->report,
                         judge->rows && !judge->summary ? stderr : stdout);

    if (fflush(stdout) == EOF || ferror(stdout)) {
        return mailping_judge_fail("standard output: %s", strerror(errno));
    }

    return MAILPING_OK;
}
