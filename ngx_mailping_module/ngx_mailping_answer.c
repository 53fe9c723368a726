
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping.h"


static ngx_int_t ngx_mailping_local_text(ngx_http_request_t *r,
    const char *variable);
static ngx_uint_t ngx_mailping_loopback(const uint8_t addr[16]);
static size_t ngx_mailping_utf8(const u_char *p, size_t len);


/* headers by which a proxy in front of us gives itself away */

static ngx_str_t  ngx_mailping_proxy_headers[] = {
    ngx_string("forwarded"),
    ngx_string("x-forwarded-for"),
    ngx_string("via"),
    ngx_null_string
};


static ngx_str_t  ngx_mailping_no_cache =
    ngx_string("no-cache, no-store, must-revalidate, private, max-age=0");

static ngx_str_t  ngx_mailping_no_index = ngx_string("noindex");


ngx_int_t
ngx_mailping_local(ngx_http_request_t *r)
{
    uint8_t           addr[16];
    ngx_uint_t        i;
    ngx_str_t        *name;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    if (ngx_mailping_address(r->connection->sockaddr, addr) == NGX_OK
        && !ngx_mailping_loopback(addr))
    {
        return NGX_DECLINED;
    }

    /*
     * realip has replaced the address above; a balancer on this machine is
     * no local client either, whether it says so by a header or by the PROXY
     * protocol.
     */

    if (ngx_mailping_local_text(r, "realip_remote_addr") != NGX_OK
        || ngx_mailping_local_text(r, "proxy_protocol_addr") != NGX_OK)
    {
        return NGX_DECLINED;
    }

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        for (name = ngx_mailping_proxy_headers; name->len; name++) {

            if (h[i].key.len == name->len
                && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
            {
                return NGX_DECLINED;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_local_text(ngx_http_request_t *r, const char *variable)
{
    uint8_t                     addr[16];
    ngx_str_t                   name;
    ngx_uint_t                  key;
    mailping_str_t              text;
    ngx_http_variable_value_t  *vv;

    name.data = (u_char *) variable;
    name.len = ngx_strlen(variable);
    key = ngx_hash_key(name.data, name.len);

    vv = ngx_http_get_variable(r, &name, key);

    if (vv == NULL) {
        return NGX_ERROR;
    }

    /* no such module or protocol, or a unix socket */

    if (vv->not_found || vv->len == 0
        || (vv->len >= 5 && ngx_strncmp(vv->data, "unix:", 5) == 0))
    {
        return NGX_OK;
    }

    text = mailping_str(vv->data, vv->len);

    if (mailping_mask_parse(text, addr) != MAILPING_OK
        || !ngx_mailping_loopback(addr))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_mailping_loopback(const uint8_t addr[16])
{
    static const uint8_t  one[16] = { 0, 0, 0, 0, 0, 0, 0, 0,
                                      0, 0, 0, 0, 0, 0, 0, 1 };

    if (mailping_mask_is_ipv4(addr)) {
        return addr[12] == 127;
    }

    return ngx_memcmp(addr, one, 16) == 0;
}


ngx_int_t
ngx_mailping_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_mailping_header_end(h);
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_mailping_answer(ngx_http_request_t *r, ngx_str_t *type, off_t length)
{
    ngx_table_elt_t  *h;

    /*
     * What led here by X-Accel-Redirect has left its cookies and caching
     * behind.  A conditional request must not become 304 or 412, which have
     * no image and show the server's name again.
     */

    ngx_http_clean_header(r);

    r->disable_not_modified = 1;
    r->allow_ranges = 0;

#if (NGX_HTTP_GZIP)
    r->gzip_tested = 1;
    r->gzip_ok = 0;
#endif

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = length;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    /* the header filters add no "Server" when there is a dead one */

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 0;
    ngx_mailping_header_end(h);
    ngx_str_set(&h->key, "Server");
    ngx_str_null(&h->value);

    r->headers_out.server = h;

    if (ngx_mailping_add_header(r, "Cache-Control", &ngx_mailping_no_cache)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mailping_add_header(r, "X-Robots-Tag", &ngx_mailping_no_index);
}


ngx_int_t
ngx_mailping_send_json(ngx_http_request_t *r, ngx_uint_t status,
    ngx_chain_t *out)
{
    off_t         length;
    ngx_int_t     rc;
    ngx_chain_t  *cl, *last;

    static ngx_str_t  type = ngx_string("application/json");

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    length = 0;
    last = NULL;

    for (cl = out; cl; cl = cl->next) {
        length += ngx_buf_size(cl->buf);
        last = cl;
    }

    if (last) {
        last->buf->last_buf = (r == r->main) ? 1 : 0;
        last->buf->last_in_chain = 1;
    }

    if (ngx_mailping_answer(r, &type, length) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = status;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}


ngx_int_t
ngx_mailping_arg(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    u_char     *dst, *src;
    ngx_str_t   raw;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, raw.len + 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    src = raw.data;
    dst = value->data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    *dst = '\0';
    value->len = dst - value->data;

    return NGX_OK;
}


ngx_str_t
ngx_mailping_json_string(ngx_pool_t *pool, size_t len, const u_char *text)
{
    size_t      n;
    u_char     *p, *last;
    uintptr_t   escape;
    ngx_str_t   value;

    escape = ngx_escape_json(NULL, (u_char *) text, len);

    value.len = 0;
    value.data = ngx_pnalloc(pool, len + escape + 2);

    if (value.data == NULL) {
        return value;
    }

    p = value.data;
    *p++ = '"';
    last = (u_char *) ngx_escape_json(p, (u_char *) text, len);

    /* JSON is UTF-8, but names of files and agents need not be */

    while (p < last) {
        n = ngx_mailping_utf8(p, last - p);

        if (n == 0) {
            *p = '?';
            n = 1;
        }

        p += n;
    }

    *p++ = '"';

    value.len = p - value.data;

    return value;
}


/*
 * The length of the character at p, 0 when it is none.  ngx_utf8_decode() is
 * less strict than those who parse JSON.
 */

static size_t
ngx_mailping_utf8(const u_char *p, size_t len)
{
    size_t  i, n;

    if (p[0] < 0x80) {
        return 1;
    }

    if (p[0] < 0xc2 || p[0] > 0xf4) {
        return 0;
    }

    n = (p[0] >= 0xf0) ? 4 : (p[0] >= 0xe0) ? 3 : 2;

    if (n > len) {
        return 0;
    }

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    /* overlong, a surrogate, beyond U+10FFFF */

    if ((p[0] == 0xe0 && p[1] < 0xa0)
        || (p[0] == 0xed && p[1] > 0x9f)
        || (p[0] == 0xf0 && p[1] < 0x90)
        || (p[0] == 0xf4 && p[1] > 0x8f))
    {
        return 0;
    }

    return n;
}
