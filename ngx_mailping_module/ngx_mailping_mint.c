
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping_mint.h"


static ngx_int_t ngx_mailping_mint_one(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf);
static ngx_int_t ngx_mailping_mint_names(ngx_http_request_t *r, u_char *error);
static ngx_int_t ngx_mailping_mint_send_error(ngx_http_request_t *r,
    u_char *error);
static ngx_int_t ngx_mailping_mint_send_address(ngx_http_request_t *r,
    ngx_str_t *url);


const ngx_mailping_mint_field_t
    ngx_mailping_mint_fields[NGX_MAILPING_MINT_FIELDS] =
{
    { "id",
      "must be 1 to 64 printable ASCII characters without space and \"@\"" },

    { "recipient",
      "must be at most 32 printable ASCII characters without space and \"@\"" },

    { "hint",
      "must be unknown, gmail, microsoft, apple, yahoo, gateway or other" },

    { "privacy",
      "must be full, masked, minimal, day, count or off" },

    { "kind",
      "must be single, top, bottom, amp or test" },

    { "sent",
      "must be Unix seconds, 0 to 4294967295" },
};


static ngx_str_t  ngx_mailping_mint_extension = ngx_string(".gif");


ngx_int_t
ngx_mailping_mint_handler(ngx_http_request_t *r)
{
    ngx_mailping_loc_conf_t  *mlcf;

    static ngx_str_t  allow = ngx_string("GET, HEAD, POST");

    mlcf = ngx_http_get_module_loc_conf(r, ngx_mailping_module);

    if (!mlcf->any && ngx_mailping_local(r) != NGX_OK) {
        return NGX_HTTP_FORBIDDEN;
    }

    /* the body belongs to the main request */

    if (r == r->main && r->method == NGX_HTTP_POST) {
        return ngx_mailping_mint_batch(r, mlcf);
    }

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        return ngx_mailping_mint_one(r, mlcf);
    }

    if (ngx_mailping_add_header(r, "Allow", &allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_NOT_ALLOWED;
}


static ngx_int_t
ngx_mailping_mint_one(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf)
{
    u_char                           *last, error[NGX_MAILPING_MINT_ERROR];
    ngx_int_t                         rc;
    ngx_str_t                         url, value;
    ngx_uint_t                        i;
    mailping_token_t                  token;
    const ngx_mailping_mint_field_t  *field;

    if (ngx_mailping_mint_names(r, error) != NGX_OK) {
        return ngx_mailping_mint_send_error(r, error);
    }

    ngx_memzero(&token, sizeof(mailping_token_t));

    token.sent = (uint32_t) ngx_time();

    for (i = 0; i < NGX_MAILPING_MINT_FIELDS; i++) {
        field = &ngx_mailping_mint_fields[i];

        rc = ngx_mailping_arg(r, field->name, &value);

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (rc == NGX_OK && value.len) {
            rc = ngx_mailping_mint_parse(&token, i, value.data, value.len);

        } else {
            rc = (i == NGX_MAILPING_MINT_ID) ? NGX_DECLINED : NGX_OK;
        }

        if (rc != NGX_OK) {
            last = ngx_snprintf(error, sizeof(error) - 1, "%s %s",
                                field->name, field->expected);
            *last = '\0';

            return ngx_mailping_mint_send_error(r, error);
        }
    }

    url.data = ngx_pnalloc(r->pool, ngx_mailping_mint_address_max(mlcf));
    if (url.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = ngx_mailping_mint_address(url.data, mlcf, &token);

    if (last == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    url.len = last - url.data;

    if (ngx_mailping_worker) {
        ngx_mailping_count(NGX_MAILPING_MINTED, 1);
    }

    return ngx_mailping_mint_send_address(r, &url);
}


/*
 * Refuses names that are not ours or that come twice: a slip of the pen would
 * otherwise be signed, and sent, without what it was to say.
 */

static ngx_int_t
ngx_mailping_mint_names(ngx_http_request_t *r, u_char *error)
{
    size_t       len;
    u_char      *p, *end, *last, *name;
    ngx_uint_t   i, given;

    given = 0;
    p = r->args.data;
    last = p + r->args.len;

    for ( /* void */ ; p < last; p = end + 1) {

        name = p;

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if (end == name) {
            continue;
        }

        p = ngx_strlchr(name, end, '=');
        len = (p ? p : end) - name;

        for (i = 0; i < NGX_MAILPING_MINT_FIELDS; i++) {
            if (ngx_strlen(ngx_mailping_mint_fields[i].name) == len
                && ngx_strncmp(ngx_mailping_mint_fields[i].name, name, len)
                   == 0)
            {
                break;
            }
        }

        if (i == NGX_MAILPING_MINT_FIELDS) {
            p = ngx_snprintf(error, NGX_MAILPING_MINT_ERROR - 1,
                             "unknown parameter \"%*s\", expected id, "
                             "recipient, hint, privacy, kind or sent",
                             ngx_min(len, 64), name);
            *p = '\0';

            return NGX_DECLINED;
        }

        if (given & ((ngx_uint_t) 1 << i)) {
            p = ngx_snprintf(error, NGX_MAILPING_MINT_ERROR - 1,
                             "parameter %s is given twice",
                             ngx_mailping_mint_fields[i].name);
            *p = '\0';

            return NGX_DECLINED;
        }

        given |= (ngx_uint_t) 1 << i;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mailping_mint_send_error(ngx_http_request_t *r, u_char *error)
{
    ngx_buf_t    *b;
    ngx_str_t     text;
    ngx_chain_t   out;

    if (ngx_mailping_worker) {
        ngx_mailping_count(NGX_MAILPING_MINT_ERRORS, 1);
    }

    text = ngx_mailping_json_string(r->pool, ngx_strlen(error), error);

    if (text.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, sizeof("{\"error\": }\n") + text.len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_sprintf(b->last, "{\"error\": %V}\n", &text);

    out.buf = b;
    out.next = NULL;

    return ngx_mailping_send_json(r, NGX_HTTP_BAD_REQUEST, &out);
}


static ngx_int_t
ngx_mailping_mint_send_address(ngx_http_request_t *r, ngx_str_t *url)
{
    u_char       *html, *last;
    ngx_buf_t    *b;
    ngx_str_t     url_text, html_text;
    ngx_chain_t   out;

    /*
     * Gmail does not load what is not displayed, so no style hides the image.
     * The base was checked to need no escaping in an attribute.
     */

    static const char  image[] = "<img src=\"%V\" alt=\"\" "
                                 "width=\"1\" height=\"1\">";

    html = ngx_pnalloc(r->pool, sizeof(image) + url->len);
    if (html == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = ngx_sprintf(html, image, url);

    url_text = ngx_mailping_json_string(r->pool, url->len, url->data);
    html_text = ngx_mailping_json_string(r->pool, last - html, html);

    if (url_text.data == NULL || html_text.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, sizeof("{\"url\": , \"html\": }\n")
                                     + url_text.len + html_text.len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_sprintf(b->last, "{\"url\": %V, \"html\": %V}\n",
                          &url_text, &html_text);

    out.buf = b;
    out.next = NULL;

    return ngx_mailping_send_json(r, NGX_HTTP_OK, &out);
}


ngx_int_t
ngx_mailping_mint_parse(mailping_token_t *token, ngx_uint_t field, u_char *p,
    size_t len)
{
    int             n;
    off_t           sent;
    mailping_str_t  value;

    value = mailping_str(p, len);

    switch (field) {

    case NGX_MAILPING_MINT_ID:
        token->id = value;
        return mailping_token_id_allowed(value) ? NGX_OK : NGX_DECLINED;

    case NGX_MAILPING_MINT_RECIPIENT:
        token->recipient = value;
        return mailping_token_recipient_allowed(value) ? NGX_OK
                                                       : NGX_DECLINED;

    case NGX_MAILPING_MINT_HINT:
        n = mailping_hint_parse(value);
        token->hint = (uint8_t) n;
        break;

    case NGX_MAILPING_MINT_PRIVACY:
        n = mailping_privacy_parse(value);
        token->privacy = (uint8_t) n;
        break;

    case NGX_MAILPING_MINT_KIND:
        n = mailping_kind_parse(value);
        token->kind = (uint8_t) n;
        break;

    default: /* NGX_MAILPING_MINT_SENT */
        sent = ngx_atoof(p, len);
        token->sent = (uint32_t) sent;
        return (sent >= 0 && sent <= 0xffffffff) ? NGX_OK : NGX_DECLINED;
    }

    return (n >= 0) ? NGX_OK : NGX_DECLINED;
}


u_char *
ngx_mailping_mint_address(u_char *p, ngx_mailping_loc_conf_t *mlcf,
    mailping_token_t *token)
{
    int  n;

    p = ngx_cpymem(p, mlcf->mint_base.data, mlcf->mint_base.len);

    n = mailping_token_sign(mlcf->keys, token, p);

    if (n == MAILPING_ERROR) {
        return NULL;
    }

    return ngx_cpymem(p + n, ngx_mailping_mint_extension.data,
                      ngx_mailping_mint_extension.len);
}


size_t
ngx_mailping_mint_address_max(ngx_mailping_loc_conf_t *mlcf)
{
    return mlcf->mint_base.len + MAILPING_TOKEN_TEXT_MAX
           + ngx_mailping_mint_extension.len;
}
