
/*
 * Copyright (C) MailPing
 */


#include "core/mask.h"
#include "core/token.h"

#include "judge.h"


/*
 * nginx's format "combined":
 *
 *     $remote_addr - $remote_user [$time_local] "$request" $status
 *     $body_bytes_sent "$http_referer" "$http_user_agent"
 *
 * in one line, and whatever follows.  nginx writes quotes, backslashes and
 * bytes that are not printable ASCII as \xHH; a backslash before a quote, as
 * other servers write it, is understood, too.
 */

typedef struct {
    mailping_str_t   addr;
    mailping_str_t   request;
    mailping_str_t   referer;
    mailping_str_t   agent;
    mailping_str_t   method;
    mailping_str_t   uri;              /* with the arguments */
    uint64_t         time;             /* Unix seconds */
    uint64_t         status;
    unsigned         version;
} mailping_judge_request_t;


#define MAILPING_JUDGE_TIME  26        /* 10/Oct/2000:13:55:36 -0700 */

/* a time of sending from here on is in milliseconds */

#define MAILPING_JUDGE_SENT_MS  100000000000


static int mailping_judge_parse(mailping_judge_t *judge,
    mailping_judge_request_t *r, uint8_t *line, size_t len);
static uint8_t *mailping_judge_time(uint8_t *p, uint8_t *last, uint64_t *time);
static int mailping_judge_date(const uint8_t *p, uint64_t *time);
static int mailping_judge_two(const uint8_t *p, int max);
static uint8_t *mailping_judge_quoted(uint8_t *p, uint8_t *last,
    mailping_str_t *text);
static mailping_str_t mailping_judge_unescape(mailping_str_t text);
static int mailping_judge_request(mailping_judge_request_t *r);
static int mailping_judge_path(const mailping_judge_t *judge,
    const mailping_judge_request_t *r);
static int mailping_judge_request_facts(mailping_judge_t *judge,
    mailping_judge_request_t *r, mailping_facts_t *f);
static void mailping_judge_referer(const mailping_judge_t *judge,
    mailping_facts_t *f, mailping_str_t referer);
static uint64_t mailping_judge_sent(const mailping_judge_t *judge,
    mailping_str_t uri);
static int mailping_judge_argument(mailping_str_t args, const char *name,
    mailping_str_t *value);
static uint64_t mailping_judge_token(mailping_str_t segment);
static int mailping_judge_base64(mailping_str_t text, uint8_t *raw);
static void mailping_judge_log_row(mailping_judge_t *judge,
    const mailping_facts_t *f, const mailping_judgement_t *j);


int
mailping_judge_log(mailping_judge_t *judge, uint8_t *line, size_t len)
{
    mailping_facts_t          f;
    mailping_judgement_t      j;
    mailping_judge_request_t  r;

    static const mailping_str_t  none = mailping_null_string;

    if (mailping_judge_parse(judge, &r, line, len) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    if (mailping_judge_request(&r) != MAILPING_OK) {
        judge->report.methods++;
        return MAILPING_OK;
    }

    if (!mailping_judge_path(judge, &r)) {
        judge->report.paths++;
        return MAILPING_OK;
    }

    if (r.status >= 400) {
        judge->report.failed++;
        return MAILPING_OK;
    }

    if (mailping_judge_request_facts(judge, &r, &f) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    mailping_classify(judge->rules, &f, &j, NULL, NULL);
    mailping_judge_count(&judge->report, &j, none);

    if (judge->all && !judge->summary) {
        mailping_judge_log_row(judge, &f, &j);
    }

    return MAILPING_OK;
}


static int
mailping_judge_parse(mailping_judge_t *judge, mailping_judge_request_t *r,
    uint8_t *line, size_t len)
{
    uint8_t         *p, *last;
    mailping_str_t   text;

    last = line + len;

    text.data = line;
    text.len = len;

    p = memchr(line, ' ', len);

    if (p == NULL) {
        return mailping_judge_expected(judge, "an access log in format"
                                       " \"combined\"", text);
    }

    r->addr.data = line;
    r->addr.len = (size_t) (p - line);

    p = mailping_judge_time(p, last, &r->time);

    if (p == NULL) {
        return mailping_judge_expected(judge, "a time in brackets", text);
    }

    text.data = p;
    text.len = (size_t) (last - p);

    p = mailping_judge_quoted(p, last, &r->request);

    if (p == NULL) {
        return mailping_judge_expected(judge, "a request in quotes", text);
    }

    if (last - p < 5 || p[0] != ' ' || p[4] != ' ') {
        goto status;
    }

    text.data = p + 1;
    text.len = 3;

    if (mailping_judge_number(text, 999, &r->status) != MAILPING_OK) {
        goto status;
    }

    text.data = p + 5;
    text.len = (size_t) (last - text.data);

    p = text.len != 0 ? memchr(text.data, ' ', text.len) : NULL;

    if (p == NULL) {
        return mailping_judge_expected(judge, "a number of bytes", text);
    }

    text.data = p + 1;
    text.len = (size_t) (last - text.data);

    p = mailping_judge_quoted(p + 1, last, &r->referer);

    if (p == NULL) {
        return mailping_judge_expected(judge, "a referer in quotes", text);
    }

    text.data = p;
    text.len = (size_t) (last - p);

    if (p == last || *p != ' '
        || mailping_judge_quoted(p + 1, last, &r->agent) == NULL)
    {
        return mailping_judge_expected(judge, "an agent in quotes", text);
    }

    return MAILPING_OK;

status:

    text.data = p;
    text.len = (size_t) (last - p);

    return mailping_judge_expected(judge, "a status", text);
}


/*
 * Finds the time; the name of a user may have blanks and brackets.  Returns
 * where the request begins, or NULL.
 */

static uint8_t *
mailping_judge_time(uint8_t *p, uint8_t *last, uint64_t *time)
{
    while (last - p > MAILPING_JUDGE_TIME + 4) {

        p = memchr(p, '[', (size_t) (last - p) - MAILPING_JUDGE_TIME - 3);

        if (p == NULL) {
            return NULL;
        }

        p++;

        if (p[MAILPING_JUDGE_TIME] == ']'
            && p[MAILPING_JUDGE_TIME + 1] == ' '
            && mailping_judge_date(p, time) == MAILPING_OK)
        {
            return p + MAILPING_JUDGE_TIME + 2;
        }
    }

    return NULL;
}


static int
mailping_judge_date(const uint8_t *p, uint64_t *time)
{
    int      day, month, year, hour, minute, second, zone, zone_minute;
    int64_t  days, seconds;

    static const char  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    if (p[2] != '/' || p[6] != '/' || p[11] != ':' || p[14] != ':'
        || p[17] != ':' || p[20] != ' ' || (p[21] != '+' && p[21] != '-'))
    {
        return MAILPING_ERROR;
    }

    for (month = 0; month < 12; month++) {
        if (memcmp(p + 3, months + 3 * month, 3) == 0) {
            break;
        }
    }

    day = mailping_judge_two(p, 31);
    year = mailping_judge_two(p + 7, 99) * 100 + mailping_judge_two(p + 9, 99);
    hour = mailping_judge_two(p + 12, 23);
    minute = mailping_judge_two(p + 15, 59);
    second = mailping_judge_two(p + 18, 60);
    zone = mailping_judge_two(p + 22, 14);
    zone_minute = mailping_judge_two(p + 24, 59);

    if (month == 12 || day < 1 || year < 1970 || hour < 0 || minute < 0
        || second < 0 || zone < 0 || zone_minute < 0)
    {
        return MAILPING_ERROR;
    }

    /* days since 1970, in a year that begins in March */

    month -= 2;

    if (month < 0) {
        month += 12;
        year--;
    }

    days = 365 * (int64_t) year + year / 4 - year / 100 + year / 400
           + (153 * month + 2) / 5 + day - 1 - 719468;

    seconds = days * 86400 + hour * 3600 + minute * 60 + second;
    zone = zone * 3600 + zone_minute * 60;
    seconds += p[21] == '+' ? -zone : zone;

    if (seconds < 0) {
        return MAILPING_ERROR;
    }

    *time = (uint64_t) seconds;

    return MAILPING_OK;
}


/* A number of two digits, or one that is far below all of them. */

static int
mailping_judge_two(const uint8_t *p, int max)
{
    int  n;

    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9') {
        return -100000;
    }

    n = (p[0] - '0') * 10 + (p[1] - '0');

    return n <= max ? n : -100000;
}


/* Returns what follows the closing quote, or NULL. */

static uint8_t *
mailping_judge_quoted(uint8_t *p, uint8_t *last, mailping_str_t *text)
{
    if (p == last || *p != '"') {
        return NULL;
    }

    p++;
    text->data = p;

    while (p < last && *p != '"') {
        p += *p == '\\' ? 2 : 1;
    }

    if (p >= last) {
        return NULL;
    }

    text->len = (size_t) (p - text->data);

    return p + 1;
}


/* Where it stands; the line is not needed any more. */

static mailping_str_t
mailping_judge_unescape(mailping_str_t text)
{
    int       high, low;
    size_t    i, used;
    uint8_t  *p;

    if (text.len == 0 || memchr(text.data, '\\', text.len) == NULL) {
        return text;
    }

    p = (uint8_t *) text.data;
    used = 0;

    for (i = 0; i < text.len; i++) {

        if (p[i] == '\\' && i + 3 < text.len && p[i + 1] == 'x') {
            high = mailping_judge_digit(p[i + 2]);
            low = mailping_judge_digit(p[i + 3]);

            if (high != MAILPING_ERROR && low != MAILPING_ERROR) {
                p[used++] = (uint8_t) (high << 4 | low);
                i += 3;
                continue;
            }
        }

        if (p[i] == '\\' && i + 1 < text.len
            && (p[i + 1] == '"' || p[i + 1] == '\\'))
        {
            i++;
        }

        p[used++] = p[i];
    }

    text.len = used;

    return text;
}


/* Takes the request apart; an open is fetched by GET or HEAD. */

static int
mailping_judge_request(mailping_judge_request_t *r)
{
    size_t          i;
    const uint8_t  *p, *slash;
    mailping_str_t  version;

    p = r->request.data;

    if (r->request.len > 4 && memcmp(p, "GET ", 4) == 0) {
        r->method.len = 3;

    } else if (r->request.len > 5 && memcmp(p, "HEAD ", 5) == 0) {
        r->method.len = 4;

    } else {
        return MAILPING_DECLINED;
    }

    r->method.data = p;
    r->uri.data = p + r->method.len + 1;
    r->uri.len = r->request.len - r->method.len - 1;

    /* there may be blanks in what is no address */

    for (i = r->uri.len; i > 0 && r->uri.data[i - 1] != ' '; i--) {
        /* void */
    }

    r->version = 9;

    if (i > 0 && r->uri.len - i > 5
        && memcmp(r->uri.data + i, "HTTP/", 5) == 0)
    {
        version.data = r->uri.data + i + 5;
        version.len = r->uri.len - i - 5;

        r->version = mailping_judge_version(version);
        r->uri.len = i - 1;

        if (r->version == 0) {
            return MAILPING_DECLINED;
        }
    }

    /* http://host/path is /path */

    if (r->uri.len > 7
        && (memcmp(r->uri.data, "http://", 7) == 0
            || memcmp(r->uri.data, "https:/", 7) == 0))
    {
        i = r->uri.data[4] == 's' ? 8 : 7;
        slash = r->uri.len > i ? memchr(r->uri.data + i, '/', r->uri.len - i)
                               : NULL;

        if (slash != NULL) {
            r->uri.len -= (size_t) (slash - r->uri.data);
            r->uri.data = slash;
        }
    }

    return MAILPING_OK;
}


static int
mailping_judge_path(const mailping_judge_t *judge,
    const mailping_judge_request_t *r)
{
    int      rc;
    size_t   n;
    uint8_t  c, *end;

    if (judge->path != NULL) {
        n = strlen(judge->path);

        if (r->uri.len < n || memcmp(r->uri.data, judge->path, n) != 0) {
            return 0;
        }
    }

    if (judge->match != NULL) {

        /* the byte after it is a blank or a quote */

        end = (uint8_t *) r->uri.data + r->uri.len;
        c = *end;
        *end = '\0';

        rc = regexec(judge->match, (const char *) r->uri.data, 0, NULL, 0);

        *end = c;

        if (rc != 0) {
            return 0;
        }
    }

    return 1;
}


static int
mailping_judge_request_facts(mailping_judge_t *judge,
    mailping_judge_request_t *r, mailping_facts_t *f)
{
    uint8_t          addr[16];
    uint64_t         sent;
    mailping_str_t   agent;

    mailping_facts_init(judge->rules, f);

    /* the peer of a unix socket has no address */

    if (!mailping_judge_is(r->addr, "unix:")) {

        if (mailping_mask_parse(r->addr, addr) != MAILPING_OK) {
            return mailping_judge_expected(judge, "an address", r->addr);
        }

        mailping_judge_network(judge, f, addr, 0);
    }

    /* nginx writes "-" for what is not there */

    agent = mailping_judge_unescape(r->agent);

    if (mailping_judge_is(agent, "-")) {
        agent.len = 0;
    }

    mailping_facts_agent(judge->rules, f, agent);
    mailping_facts_method(judge->rules, f, r->method.len == 4);
    mailping_facts_http(judge->rules, f, r->version);

    if (!mailping_judge_is(r->referer, "-")) {
        mailping_judge_referer(judge, f, mailping_judge_unescape(r->referer));
    }

    sent = mailping_judge_sent(judge, r->uri);

    if (sent != 0) {
        judge->report.sent++;
        mailping_facts_age(judge->rules, f,
                           (int64_t) (r->time * 1000) - (int64_t) sent);
    }

    return MAILPING_OK;
}


/*
 * The other headers are not known, so a set of headers that has this one
 * holds, and one that has not may hold all the same.
 */

static void
mailping_judge_referer(const mailping_judge_t *judge, mailping_facts_t *f,
    mailping_str_t referer)
{
    unsigned          i;
    mailping_facts_t  g;

    static const mailping_str_t  name = mailping_string("referer");

    mailping_facts_init(judge->rules, &g);
    mailping_facts_header(judge->rules, &g, name, referer);

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        f->is[i] |= g.is[i];
        f->unknown[i] &= ~g.is[i];
    }
}


/* When the mail was sent, Unix milliseconds, or 0. */

static uint64_t
mailping_judge_sent(const mailping_judge_t *judge, mailping_str_t uri)
{
    size_t           i;
    uint64_t         sent;
    mailping_str_t   args, value;
    const uint8_t   *mark;

    args.len = 0;
    args.data = uri.data;

    mark = uri.len != 0 ? memchr(uri.data, '?', uri.len) : NULL;

    if (mark != NULL) {
        args.data = mark + 1;
        args.len = uri.len - (size_t) (mark - uri.data) - 1;
        uri.len = (size_t) (mark - uri.data);
    }

    if (judge->sent != NULL) {

        if (mailping_judge_argument(args, judge->sent, &value) != MAILPING_OK
            || mailping_judge_number(value, INT64_MAX / 1000, &sent)
               != MAILPING_OK)
        {
            return 0;
        }

        return sent < MAILPING_JUDGE_SENT_MS ? sent * 1000 : sent;
    }

    for (i = uri.len; i > 0 && uri.data[i - 1] != '/'; i--) {
        /* void */
    }

    value.data = uri.data + i;
    value.len = uri.len - i;

    mark = value.len != 0 ? memchr(value.data, '.', value.len) : NULL;

    if (mark != NULL) {
        value.len = (size_t) (mark - value.data);
    }

    return mailping_judge_token(value) * 1000;
}


static int
mailping_judge_argument(mailping_str_t args, const char *name,
    mailping_str_t *value)
{
    size_t          n;
    mailping_str_t  pair;
    const uint8_t  *end;

    n = strlen(name);

    while (args.len != 0) {
        end = memchr(args.data, '&', args.len);

        pair.data = args.data;
        pair.len = end != NULL ? (size_t) (end - args.data) : args.len;

        if (pair.len > n && pair.data[n] == '='
            && memcmp(pair.data, name, n) == 0)
        {
            value->data = pair.data + n + 1;
            value->len = pair.len - n - 1;

            return MAILPING_OK;
        }

        if (end == NULL) {
            break;
        }

        args.data = end + 1;
        args.len -= pair.len + 1;
    }

    return MAILPING_DECLINED;
}


/*
 * The time of sending in a token, Unix seconds, or 0 when it is none.  There
 * is no key here: whoever made an address up could also have made up its time.
 * All but the MAC is checked, so that hardly any other text passes.
 */

static uint64_t
mailping_judge_token(mailping_str_t segment)
{
    int             n;
    uint8_t         raw[MAILPING_TOKEN_RAW_MAX];
    mailping_str_t  id, recipient;

    if (segment.len > MAILPING_TOKEN_TEXT_MAX) {
        return 0;
    }

    n = mailping_judge_base64(segment, raw);

    if (n < MAILPING_TOKEN_HEAD + 1 + MAILPING_TOKEN_MAC
        || raw[0] >> 4 != MAILPING_TOKEN_VERSION
        || (raw[2] & MAILPING_TOKEN_FLAGS_RESERVED) != 0)
    {
        return 0;
    }

    recipient.data = raw + MAILPING_TOKEN_HEAD;
    recipient.len = raw[7];

    n -= MAILPING_TOKEN_HEAD + MAILPING_TOKEN_MAC;

    if (recipient.len >= (size_t) n) {
        return 0;
    }

    id.data = recipient.data + recipient.len;
    id.len = (size_t) n - recipient.len;

    if (!mailping_token_recipient_allowed(recipient)
        || !mailping_token_id_allowed(id))
    {
        return 0;
    }

    return (uint64_t) raw[3] << 24 | (uint64_t) raw[4] << 16
           | (uint64_t) raw[5] << 8 | raw[6];
}


/* Canonical base64url without padding.  Returns the length or an error. */

static int
mailping_judge_base64(mailping_str_t text, uint8_t *raw)
{
    int       n;
    size_t    i;
    uint8_t   c;
    uint32_t  bits;
    unsigned  have;

    n = 0;
    bits = 0;
    have = 0;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if (c >= 'A' && c <= 'Z') {
            c = (uint8_t) (c - 'A');

        } else if (c >= 'a' && c <= 'z') {
            c = (uint8_t) (c - 'a' + 26);

        } else if (c >= '0' && c <= '9') {
            c = (uint8_t) (c - '0' + 52);

        } else if (c == '-') {
            c = 62;

        } else if (c == '_') {
            c = 63;

        } else {
            return MAILPING_ERROR;
        }

        bits = bits << 6 | c;
        have += 6;

        if (have >= 8) {
            have -= 8;
            raw[n++] = (uint8_t) (bits >> have);
            bits &= ((uint32_t) 1 << have) - 1;
        }
    }

    return have < 6 && bits == 0 ? n : MAILPING_ERROR;
}


static void
mailping_judge_log_row(mailping_judge_t *judge, const mailping_facts_t *f,
    const mailping_judgement_t *j)
{
    int                    len;
    char                   line[24];
    uint8_t                buf[MAILPING_JUDGE_CELL_MAX];
    mailping_judge_cell_t  cells[1 + MAILPING_JUDGE_CELLS + 1];

    len = snprintf(line, sizeof(line), "%llu",
                   (unsigned long long) judge->line);

    cells[0].name = "line";
    cells[0].value.data = (const uint8_t *) line;
    cells[0].value.len = (size_t) len;

    mailping_judge_cells(judge, j, cells + 1, buf);

    cells[6].name = "client";
    cells[6].value = f->client;

    mailping_judge_row(judge, MAILPING_JUDGE_JSON, cells, 7);
}
