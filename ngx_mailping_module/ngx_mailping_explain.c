
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


/* room for the parts of the answer; names are bounded and need no escapes */

#define NGX_MAILPING_EXPLAIN_HEAD  1024
#define NGX_MAILPING_EXPLAIN_FACT  128
#define NGX_MAILPING_EXPLAIN_RULE  512


/* the fetch that is described; what is not given stays unknown */

typedef struct {
    mailping_rules_t  *rules;
    mailping_facts_t   facts;
    uint8_t            addr[16];
    uint32_t           asn;
    ngx_uint_t         given;          /* bits of the parameters */
    ngx_uint_t         headers;
} ngx_mailping_fetch_t;


typedef ngx_int_t (*ngx_mailping_parameter_pt)(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);


typedef struct {
    ngx_str_t                  name;
    ngx_mailping_parameter_pt  set;        /* NULL: a number */
    mailping_fact_kind_e       kind;
    uint32_t                   min;
    uint32_t                   max;
} ngx_mailping_parameter_t;


static ngx_int_t ngx_mailping_explain_args(ngx_http_request_t *r,
    ngx_mailping_fetch_t *fetch, ngx_str_t *error);
static ngx_int_t ngx_mailping_explain_parameter(ngx_http_request_t *r,
    ngx_mailping_fetch_t *fetch, ngx_str_t *name, ngx_str_t *value,
    ngx_str_t *error);
static ngx_int_t ngx_mailping_explain_set(ngx_mailping_parameter_t *parameter,
    ngx_mailping_fetch_t *fetch, ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_wrong(ngx_http_request_t *r,
    const char *what, ngx_str_t *name, ngx_str_t *error);
static ngx_int_t ngx_mailping_explain_unescape(ngx_http_request_t *r,
    ngx_str_t *text);
static ngx_int_t ngx_mailping_explain_agent(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_ip(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_asn(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_age(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_hint(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_method(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_http(ngx_mailping_fetch_t *fetch,
    ngx_str_t *value);
static ngx_int_t ngx_mailping_explain_number(ngx_str_t *value, uint32_t min,
    uint32_t max, uint32_t *number);
static void ngx_mailping_explain_network(ngx_mailping_fetch_t *fetch,
    ngx_mailping_geo_t *geo);
static ngx_buf_t *ngx_mailping_explain_body(ngx_http_request_t *r,
    ngx_mailping_fetch_t *fetch);
static u_char *ngx_mailping_explain_judgement(u_char *p, u_char *last,
    ngx_mailping_fetch_t *fetch, mailping_judgement_t *j);
static u_char *ngx_mailping_explain_facts(u_char *p, u_char *last,
    ngx_mailping_fetch_t *fetch);
static u_char *ngx_mailping_explain_rule(u_char *p, u_char *last,
    ngx_mailping_fetch_t *fetch, mailping_judgement_t *j, ngx_uint_t rule);


/* bits in "given", which are the positions in the table */

#define NGX_MAILPING_EXPLAIN_IP   0x01
#define NGX_MAILPING_EXPLAIN_ASN  0x02

static ngx_mailping_parameter_t  ngx_mailping_explain_parameters[] = {
    { ngx_string("ip"), ngx_mailping_explain_ip, 0, 0, 0 },
    { ngx_string("asn"), ngx_mailping_explain_asn, 0, 0, 0 },
    { ngx_string("agent"), ngx_mailping_explain_agent, 0, 0, 0 },
    { ngx_string("age"), ngx_mailping_explain_age, 0, 0, 0 },
    { ngx_string("hint"), ngx_mailping_explain_hint, 0, 0, 0 },
    { ngx_string("method"), ngx_mailping_explain_method, 0, 0, 0 },
    { ngx_string("http"), ngx_mailping_explain_http, 0, 0, 0 },
    { ngx_string("seen"), NULL, MAILPING_FACT_SEEN, 1, UINT32_MAX },
    { ngx_string("burst"), NULL, MAILPING_FACT_BURST, 1, UINT32_MAX },
    { ngx_string("farm"), NULL, MAILPING_FACT_FARM, 1, UINT32_MAX },
    { ngx_string("agents"), NULL, MAILPING_FACT_AGENTS, 1, UINT32_MAX },
    { ngx_string("quick"), NULL, MAILPING_FACT_QUICK, 0, 100 },
    { ngx_string("scanned"), NULL, MAILPING_FACT_SCANNED, 0, 1 },
    { ngx_string("self"), NULL, MAILPING_FACT_SELF, 0, 1 },
    { ngx_null_string, NULL, 0, 0, 0 }
};


ngx_int_t
ngx_mailping_explain_handler(ngx_http_request_t *r)
{
    ngx_buf_t                 *b;
    ngx_int_t                  rc;
    ngx_str_t                  error;
    ngx_uint_t                 status;
    ngx_chain_t                out;
    ngx_mailping_fetch_t       fetch;
    ngx_mailping_loc_conf_t   *mlcf;
    ngx_mailping_main_conf_t  *mmcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    mlcf = ngx_http_get_module_loc_conf(r, ngx_mailping_module);

    if (!mlcf->any && ngx_mailping_local(r) != NGX_OK) {
        return NGX_HTTP_FORBIDDEN;
    }

    mmcf = ngx_http_get_module_main_conf(r, ngx_mailping_module);

    ngx_memzero(&fetch, sizeof(ngx_mailping_fetch_t));

    fetch.rules = mmcf->rules;
    mailping_facts_init(fetch.rules, &fetch.facts);

    rc = ngx_mailping_explain_args(r, &fetch, &error);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        status = NGX_HTTP_BAD_REQUEST;

        b = ngx_create_temp_buf(r->pool, error.len + sizeof("{\"error\":}\n"));
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        b->last = ngx_slprintf(b->last, b->end, "{\"error\":%V}\n", &error);

    } else {
        status = NGX_HTTP_OK;

        ngx_mailping_explain_network(&fetch, mmcf->geo);

        b = ngx_mailping_explain_body(r, &fetch);
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    out.buf = b;
    out.next = NULL;

    return ngx_mailping_send_json(r, status, &out);
}


/* NGX_DECLINED: a parameter is wrong, *error says which as a JSON string. */

static ngx_int_t
ngx_mailping_explain_args(ngx_http_request_t *r, ngx_mailping_fetch_t *fetch,
    ngx_str_t *error)
{
    u_char     *p, *last, *end, *equal;
    ngx_int_t   rc;
    ngx_str_t   name, value;

    p = r->args.data;
    last = p + r->args.len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        equal = ngx_strlchr(p, end, '=');
        if (equal == NULL) {
            equal = end;
        }

        name.data = p;
        name.len = equal - p;
        value.data = (equal == end) ? end : equal + 1;
        value.len = end - value.data;

        if (ngx_mailping_explain_unescape(r, &name) != NGX_OK
            || ngx_mailping_explain_unescape(r, &value) != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_mailping_explain_parameter(r, fetch, &name, &value, error);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_parameter(ngx_http_request_t *r,
    ngx_mailping_fetch_t *fetch, ngx_str_t *name, ngx_str_t *value,
    ngx_str_t *error)
{
    ngx_uint_t                 i;
    mailping_str_t             header;
    ngx_mailping_parameter_t  *parameter;

    if (name->len > 7 && ngx_strncmp(name->data, "header.", 7) == 0) {

        if (!fetch->headers) {
            fetch->headers = 1;
            mailping_facts_headers(fetch->rules, &fetch->facts);
        }

        header.data = name->data + 7;
        header.len = name->len - 7;

        mailping_facts_header(fetch->rules, &fetch->facts, header,
                              ngx_mailping_str(*value));

        return NGX_OK;
    }

    parameter = ngx_mailping_explain_parameters;

    for (i = 0; parameter[i].name.len; i++) {

        if (parameter[i].name.len != name->len
            || ngx_strncmp(parameter[i].name.data, name->data, name->len) != 0)
        {
            continue;
        }

        if (fetch->given & ((ngx_uint_t) 1 << i)) {
            return ngx_mailping_explain_wrong(r, "duplicate parameter", name,
                                              error);
        }

        fetch->given |= (ngx_uint_t) 1 << i;

        if (ngx_mailping_explain_set(&parameter[i], fetch, value) != NGX_OK) {
            return ngx_mailping_explain_wrong(r, "invalid value of parameter",
                                              name, error);
        }

        return NGX_OK;
    }

    return ngx_mailping_explain_wrong(r, "unknown parameter", name, error);
}


static ngx_int_t
ngx_mailping_explain_set(ngx_mailping_parameter_t *parameter,
    ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    uint32_t  number;

    if (parameter->set) {
        return parameter->set(fetch, value);
    }

    if (ngx_mailping_explain_number(value, parameter->min, parameter->max,
                                    &number)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    mailping_facts_value(fetch->rules, &fetch->facts, parameter->kind, number);

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_wrong(ngx_http_request_t *r, const char *what,
    ngx_str_t *name, ngx_str_t *error)
{
    u_char  *p, *text;
    size_t   len;

    len = ngx_strlen(what) + sizeof(" \"\"") - 1 + name->len;

    text = ngx_pnalloc(r->pool, len);
    if (text == NULL) {
        return NGX_ERROR;
    }

    p = ngx_slprintf(text, text + len, "%s \"%V\"", what, name);

    *error = ngx_mailping_json_string(r->pool, p - text, text);

    return (error->data != NULL) ? NGX_DECLINED : NGX_ERROR;
}


static ngx_int_t
ngx_mailping_explain_unescape(ngx_http_request_t *r, ngx_str_t *text)
{
    u_char  *src, *dst;

    if (text->len == 0) {
        return NGX_OK;
    }

    src = text->data;

    dst = ngx_pnalloc(r->pool, text->len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    text->data = dst;

    ngx_unescape_uri(&dst, &src, text->len, 0);

    text->len = dst - text->data;

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_agent(ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    mailping_facts_agent(fetch->rules, &fetch->facts,
                         ngx_mailping_str(*value));

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_ip(ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    if (mailping_mask_parse(ngx_mailping_str(*value), fetch->addr)
        != MAILPING_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_asn(ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    return ngx_mailping_explain_number(value, 0, UINT32_MAX, &fetch->asn);
}


static ngx_int_t
ngx_mailping_explain_age(ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    ngx_int_t  age;

    /* in ms; a number without a unit is seconds */

    age = ngx_parse_time(value, 0);

    if (age == NGX_ERROR) {
        return NGX_ERROR;
    }

    mailping_facts_age(fetch->rules, &fetch->facts, age);

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_hint(ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    int  hint;

    hint = mailping_hint_parse(ngx_mailping_str(*value));

    if (hint < 0) {
        return NGX_ERROR;
    }

    mailping_facts_hint(fetch->rules, &fetch->facts, hint);

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_method(ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    ngx_uint_t  head;

    if (value->len == 4 && ngx_strncasecmp(value->data, (u_char *) "head", 4)
                           == 0)
    {
        head = 1;

    } else if (value->len == 3
               && ngx_strncasecmp(value->data, (u_char *) "get", 3) == 0)
    {
        head = 0;

    } else {
        return NGX_ERROR;
    }

    mailping_facts_method(fetch->rules, &fetch->facts, head);

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_explain_http(ngx_mailping_fetch_t *fetch, ngx_str_t *value)
{
    ngx_uint_t  i;

    static struct {
        ngx_str_t  name;
        unsigned   version;
    } versions[] = {
        { ngx_string("0.9"), 9 },
        { ngx_string("1.0"), 10 },
        { ngx_string("1.1"), 11 },
        { ngx_string("2"), 20 },
        { ngx_string("3"), 30 },
        { ngx_null_string, 0 }
    };

    for (i = 0; versions[i].version; i++) {

        if (value->len == versions[i].name.len
            && ngx_strncmp(value->data, versions[i].name.data, value->len)
               == 0)
        {
            mailping_facts_http(fetch->rules, &fetch->facts,
                                versions[i].version);
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_mailping_explain_number(ngx_str_t *value, uint32_t min, uint32_t max,
    uint32_t *number)
{
    off_t  n;

    n = ngx_atoof(value->data, value->len);

    if (n == NGX_ERROR || n < (off_t) min || n > (off_t) max) {
        return NGX_ERROR;
    }

    *number = (uint32_t) n;

    return NGX_OK;
}


/* The database is asked for the address when the network is not given. */

static void
ngx_mailping_explain_network(ngx_mailping_fetch_t *fetch,
    ngx_mailping_geo_t *geo)
{
    u_char                  buf[MAILPING_EVENT_TEXT_MAX];
    ngx_mailping_network_t  network;

    if (fetch->given & NGX_MAILPING_EXPLAIN_IP) {
        mailping_facts_address(fetch->rules, &fetch->facts, fetch->addr);

        if (!(fetch->given & NGX_MAILPING_EXPLAIN_ASN) && geo) {
            ngx_mailping_geo_network(geo, fetch->addr, &network, buf);
            fetch->asn = network.asn;
        }
    }

    mailping_facts_asn(fetch->rules, &fetch->facts, fetch->asn);
}


static ngx_buf_t *
ngx_mailping_explain_body(ngx_http_request_t *r, ngx_mailping_fetch_t *fetch)
{
    u_char                *p, *last;
    size_t                 size;
    unsigned               nfired;
    uint16_t              *fired;
    ngx_buf_t             *b;
    ngx_uint_t             i;
    mailping_judgement_t   j;

    fired = ngx_palloc(r->pool, (mailping_rules_count(fetch->rules) + 1)
                                * sizeof(uint16_t));
    if (fired == NULL) {
        return NULL;
    }

    mailping_classify(fetch->rules, &fetch->facts, &j, fired, &nfired);

    size = NGX_MAILPING_EXPLAIN_HEAD
           + mailping_rules_facts(fetch->rules) * NGX_MAILPING_EXPLAIN_FACT
           + (size_t) nfired * NGX_MAILPING_EXPLAIN_RULE;

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NULL;
    }

    last = b->end;

    p = ngx_mailping_explain_judgement(b->last, last, fetch, &j);
    p = ngx_mailping_explain_facts(p, last, fetch);
    p = ngx_slprintf(p, last, ",\"rules\":[");

    for (i = 0; i < nfired; i++) {
        p = ngx_slprintf(p, last, "%s", i ? "," : "");
        p = ngx_mailping_explain_rule(p, last, fetch, &j, fired[i]);
    }

    p = ngx_slprintf(p, last, "],\"probabilities\":{");

    /* a "set" rule decides without them */

    for (i = 0; j.person != MAILPING_PERSON_NONE && i < MAILPING_CLASSES; i++)
    {
        p = ngx_slprintf(p, last, "%s\"%s\":%.6f", i ? "," : "",
                         mailping_class_name(i), j.probability[i]);
    }

    b->last = ngx_slprintf(p, last, "},\"ruleset\":\"%08xD\"}\n",
                           mailping_rules_id(fetch->rules));

    return b;
}


static u_char *
ngx_mailping_explain_judgement(u_char *p, u_char *last,
    ngx_mailping_fetch_t *fetch, mailping_judgement_t *j)
{
    p = ngx_slprintf(p, last, "{\"open\":\"%s\",\"person\":",
                     mailping_open_name(j->open));

    if (j->person == MAILPING_PERSON_NONE) {
        p = ngx_slprintf(p, last, "null");

    } else {
        p = ngx_slprintf(p, last, "%d", j->person);
    }

    return ngx_slprintf(p, last, ",\"verdict\":\"%s\",\"provider\":\"%*s\","
                        "\"client\":\"%*s\"",
                        mailping_verdict_name(j->verdict),
                        j->provider.len, j->provider.data,
                        fetch->facts.client.len, fetch->facts.client.data);
}


static u_char *
ngx_mailping_explain_facts(u_char *p, u_char *last,
    ngx_mailping_fetch_t *fetch)
{
    int          is;
    const char  *name, *comma, *value;
    ngx_uint_t   i, n;

    p = ngx_slprintf(p, last, ",\"facts\":{");

    comma = "";
    n = mailping_rules_facts(fetch->rules);

    for (i = 0; i < n; i++) {
        name = mailping_rules_fact_name(fetch->rules, i);

        if (name == NULL) {
            continue;
        }

        is = mailping_facts_get(&fetch->facts, i);
        value = (is < 0) ? "\"unknown\"" : is ? "true" : "false";

        p = ngx_slprintf(p, last, "%s\"%s\":%s", comma, name, value);
        comma = ",";
    }

    return ngx_slprintf(p, last, "}");
}


static u_char *
ngx_mailping_explain_rule(u_char *p, u_char *last,
    ngx_mailping_fetch_t *fetch, mailping_judgement_t *j, ngx_uint_t rule)
{
    const char            *comma;
    ngx_uint_t             i, counted;
    mailping_rule_info_t   info;

    mailping_rules_info(fetch->rules, rule, &info);

    p = ngx_slprintf(p, last, "{\"name\":\"%*s\",\"group\":\"%s\","
                     "\"provider\":\"%*s\"",
                     info.name.len, info.name.data,
                     mailping_group_name(info.group),
                     info.provider.len, info.provider.data);

    if (info.group == MAILPING_GROUP_SET) {
        p = ngx_slprintf(p, last, ",\"outcome\":\"%s\"",
                         mailping_verdict_name(info.outcome));
    }

    p = ngx_slprintf(p, last, ",\"weights\":{");

    comma = "";

    for (i = 0; i < MAILPING_CLASSES; i++) {

        if (info.classes & (1 << i)) {
            p = ngx_slprintf(p, last, "%s\"%s\":%d", comma,
                             mailping_class_name(i), info.weight[i]);
            comma = ",";
        }
    }

    counted = 0;

    for (i = 0; i < j->ncounted; i++) {
        counted |= (j->counted[i] == rule);
    }

    return ngx_slprintf(p, last, "},\"counted\":%s}",
                        counted ? "true" : "false");
}
