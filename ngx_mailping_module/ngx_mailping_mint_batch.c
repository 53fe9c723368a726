
/*
 * Copyright (C) MailPing
 */


#include "ngx_mailping_mint.h"


/*
 * A batch is answered while it is read.  These bound what a request holds:
 * one line that came in parts, and one buffer of answers.
 */

#define NGX_MAILPING_MINT_LINE    1024
#define NGX_MAILPING_MINT_BUFFER  16384


typedef struct {
    ngx_chain_t              *free;
    ngx_chain_t              *busy;
    ngx_chain_t              *out;
    size_t                    room;      /* the longest answer to a line */
    size_t                    len;       /* of the line kept so far */
    ngx_uint_t                minted;
    ngx_uint_t                errors;
    unsigned                  too_long:1;
    unsigned                  blocked:1; /* the client does not read */
    unsigned                  done:1;
    u_char                    line[NGX_MAILPING_MINT_LINE];
} ngx_mailping_mint_ctx_t;


static void ngx_mailping_mint_cleanup(void *data);
static void ngx_mailping_mint_start(ngx_http_request_t *r);
static void ngx_mailping_mint_read_handler(ngx_http_request_t *r);
static void ngx_mailping_mint_write_handler(ngx_http_request_t *r);
static void ngx_mailping_mint_stream(ngx_http_request_t *r,
    ngx_mailping_mint_ctx_t *ctx);
static ngx_int_t ngx_mailping_mint_fill(ngx_http_request_t *r,
    ngx_mailping_mint_ctx_t *ctx);
static ngx_int_t ngx_mailping_mint_lines(ngx_http_request_t *r,
    ngx_mailping_mint_ctx_t *ctx, ngx_buf_t *out);
static void ngx_mailping_mint_keep(ngx_mailping_mint_ctx_t *ctx, u_char *p,
    size_t len);
static void ngx_mailping_mint_line(ngx_http_request_t *r,
    ngx_mailping_mint_ctx_t *ctx, ngx_buf_t *out, u_char *p, size_t len);
static const char *ngx_mailping_mint_parse_line(mailping_token_t *token,
    u_char *p, u_char *last, const char **expected);
static ngx_buf_t *ngx_mailping_mint_buffer(ngx_http_request_t *r,
    ngx_mailping_mint_ctx_t *ctx);
static ngx_int_t ngx_mailping_mint_send_header(ngx_http_request_t *r);
static ngx_int_t ngx_mailping_mint_send(ngx_http_request_t *r,
    ngx_mailping_mint_ctx_t *ctx);
static ngx_mailping_mint_ctx_t *ngx_mailping_mint_get_ctx(
    ngx_http_request_t *r);


ngx_int_t
ngx_mailping_mint_batch(ngx_http_request_t *r, ngx_mailping_loc_conf_t *mlcf)
{
    ngx_int_t                 rc;
    ngx_pool_cleanup_t       *cln;
    ngx_mailping_mint_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_mailping_mint_ctx_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_mailping_mint_ctx_t));

    ctx->room = ngx_max(ngx_mailping_mint_address_max(mlcf) + 1,
                        NGX_MAILPING_MINT_ERROR);

    cln->handler = ngx_mailping_mint_cleanup;

    r->request_body_no_buffering = 1;
    r->request_body_in_file_only = 0;

    rc = ngx_http_read_client_request_body(r, ngx_mailping_mint_start);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


/* also marks the context, see ngx_mailping_mint_get_ctx() */

static void
ngx_mailping_mint_cleanup(void *data)
{
    ngx_mailping_mint_ctx_t  *ctx = data;

    if (ngx_mailping_worker) {
        ngx_mailping_count(NGX_MAILPING_MINTED, ctx->minted);
        ngx_mailping_count(NGX_MAILPING_MINT_ERRORS, ctx->errors);
    }
}


static void
ngx_mailping_mint_start(ngx_http_request_t *r)
{
    r->read_event_handler = ngx_mailping_mint_read_handler;
    r->write_event_handler = ngx_mailping_mint_write_handler;

    ngx_mailping_mint_stream(r, ngx_mailping_mint_get_ctx(r));
}


static void
ngx_mailping_mint_read_handler(ngx_http_request_t *r)
{
    ngx_connection_t         *c;
    ngx_mailping_mint_ctx_t  *ctx;

    c = r->connection;
    ctx = ngx_mailping_mint_get_ctx(r);

    if (ctx->blocked && !c->error) {

        /* a level-triggered event would be reported again and again */

        ngx_http_block_reading(r);
        return;
    }

    ngx_mailping_mint_stream(r, ctx);
}


static void
ngx_mailping_mint_write_handler(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->write->timedout) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, NGX_ETIMEDOUT,
                      "client timed out while reading minted addresses");

        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    ngx_mailping_mint_stream(r, ngx_mailping_mint_get_ctx(r));
}


/*
 * Sends what is answered before it reads more, and reads no more than it has
 * room to answer: a slow reader slows its own writing down through the
 * windows of TCP or HTTP/2.
 */

static void
ngx_mailping_mint_stream(ngx_http_request_t *r, ngx_mailping_mint_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_uint_t  filled;

    for (filled = 0; /* void */; filled = 1) {

        if ((ctx->out || ctx->done) && !r->header_sent) {

            rc = ngx_mailping_mint_send_header(r);

            if (rc != NGX_OK) {
                ngx_http_finalize_request(r, rc);
                return;
            }
        }

        if (ctx->out || ctx->blocked) {

            rc = ngx_mailping_mint_send(r, ctx);

            if (rc == NGX_AGAIN) {
                return;
            }

            if (rc != NGX_OK) {
                ngx_http_finalize_request(r, rc);
                return;
            }
        }

        if (ctx->done) {
            ngx_http_finalize_request(r, ngx_http_send_special(r,
                                                              NGX_HTTP_LAST));
            return;
        }

        if (filled) {

            /* the worker has pixels to serve, too: one buffer a turn */

            ngx_post_event(r->connection->write, &ngx_posted_next_events);
            return;
        }

        rc = ngx_mailping_mint_fill(r, ctx);

        if (rc == NGX_AGAIN && ctx->out == NULL) {
            return;
        }

        if (rc == NGX_ERROR || rc > NGX_OK) {

            /* a status can be told only instead of addresses */

            ngx_http_finalize_request(r, r->header_sent ? NGX_ERROR : rc);
            return;
        }
    }
}


/*
 * Answers lines until the buffer is full, one part of the body is used up, or
 * the body has ended (ctx->done).  Returns NGX_OK, NGX_AGAIN when more of the
 * body must be waited for, or what the request is to be finalized with.
 */

static ngx_int_t
ngx_mailping_mint_fill(ngx_http_request_t *r, ngx_mailping_mint_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_buf_t  *out;

    out = ngx_mailping_mint_buffer(r, ctx);
    if (out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_mailping_mint_lines(r, ctx, out);

    if (rc == NGX_DECLINED && r->reading_body) {

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return rc;
        }

        if (r->request_body->bufs == NULL && r->reading_body) {
            rc = NGX_AGAIN;

        } else {
            rc = ngx_mailping_mint_lines(r, ctx, out);
        }
    }

    if (rc == NGX_DECLINED) {

        if (!r->reading_body) {

            /* the last line may lack its line feed */

            if (ctx->len || ctx->too_long) {
                ngx_mailping_mint_line(r, ctx, out, ctx->line, ctx->len);
            }

            ctx->done = 1;
        }

        rc = NGX_OK;
    }

    if (out->pos != out->last) {
        ctx->out = ctx->free;
        ctx->free = NULL;
    }

    return rc;
}


/*
 * Returns NGX_OK when there is no room for another answer, NGX_DECLINED when
 * the body that was read so far is used up.
 */

static ngx_int_t
ngx_mailping_mint_lines(ngx_http_request_t *r, ngx_mailping_mint_ctx_t *ctx,
    ngx_buf_t *out)
{
    u_char       *p, *end;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for ( ;; ) {

        if ((size_t) (out->end - out->last) < ctx->room) {
            return NGX_OK;
        }

        /* the body may have been discarded before an internal redirect */

        cl = r->request_body ? r->request_body->bufs : NULL;

        if (cl == NULL) {
            return NGX_DECLINED;
        }

        b = cl->buf;

        if (b->in_file) {

            /* nor can one be used that another location left in a file */

            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (b->pos == b->last) {
            r->request_body->bufs = cl->next;
            ngx_free_chain(r->pool, cl);
            continue;
        }

        p = b->pos;
        end = memchr(p, LF, b->last - p);

        if (end == NULL) {
            ngx_mailping_mint_keep(ctx, p, b->last - p);
            b->pos = b->last;
            continue;
        }

        b->pos = end + 1;

        if (ctx->len || ctx->too_long) {
            ngx_mailping_mint_keep(ctx, p, end - p);
            ngx_mailping_mint_line(r, ctx, out, ctx->line, ctx->len);

        } else {
            ngx_mailping_mint_line(r, ctx, out, p, end - p);
        }
    }
}


static void
ngx_mailping_mint_keep(ngx_mailping_mint_ctx_t *ctx, u_char *p, size_t len)
{
    if (len > NGX_MAILPING_MINT_LINE - ctx->len) {
        ctx->too_long = 1;
        return;
    }

    ngx_memcpy(ctx->line + ctx->len, p, len);
    ctx->len += len;
}


static void
ngx_mailping_mint_line(ngx_http_request_t *r, ngx_mailping_mint_ctx_t *ctx,
    ngx_buf_t *out, u_char *p, size_t len)
{
    u_char                   *last;
    const char               *what, *expected;
    mailping_token_t          token;
    ngx_mailping_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_mailping_module);

    if (ctx->too_long || len > NGX_MAILPING_MINT_LINE) {
        what = "line";
        expected = "must be at most 1024 bytes";

    } else {

        if (len && p[len - 1] == CR) {
            len--;
        }

        what = ngx_mailping_mint_parse_line(&token, p, p + len, &expected);
    }

    ctx->len = 0;
    ctx->too_long = 0;

    last = NULL;

    if (what == NULL) {
        last = ngx_mailping_mint_address(out->last, mlcf, &token);

        if (last == NULL) {
            what = "address";
            expected = "could not be signed";
        }
    }

    if (what) {
        ctx->errors++;
        out->last = ngx_slprintf(out->last, out->end, "error: %s %s\n",
                                 what, expected);
        return;
    }

    ctx->minted++;

    *last++ = LF;
    out->last = last;
}


/* Returns NULL, or the name of what is wrong. */

static const char *
ngx_mailping_mint_parse_line(mailping_token_t *token, u_char *p, u_char *last,
    const char **expected)
{
    u_char      *end;
    ngx_uint_t   i;

    /* sent stays unknown: batches are minted before they are sent */

    ngx_memzero(token, sizeof(mailping_token_t));

    for (i = 0; i < NGX_MAILPING_MINT_FIELDS; i++) {

        end = memchr(p, '\t', last - p);
        if (end == NULL) {
            end = last;
        }

        if ((i == NGX_MAILPING_MINT_ID || p != end)
            && ngx_mailping_mint_parse(token, i, p, end - p) != NGX_OK)
        {
            *expected = ngx_mailping_mint_fields[i].expected;
            return ngx_mailping_mint_fields[i].name;
        }

        if (end == last) {
            return NULL;
        }

        p = end + 1;
    }

    *expected = "must have at most 6 fields separated by tabs";

    return "line";
}


/* the one buffer of answers; it is free whenever lines are read */

static ngx_buf_t *
ngx_mailping_mint_buffer(ngx_http_request_t *r, ngx_mailping_mint_ctx_t *ctx)
{
    ngx_buf_t  *b;

    if (ctx->free) {
        b = ctx->free->buf;
        b->flush = 1;

        return b;
    }

    b = ngx_create_temp_buf(r->pool, ngx_max(NGX_MAILPING_MINT_BUFFER,
                                             ctx->room));
    if (b == NULL) {
        return NULL;
    }

    /* a client that sends line by line waits for its answers */

    b->flush = 1;
    b->tag = (ngx_buf_tag_t) &ngx_mailping_module;

    ctx->free = ngx_alloc_chain_link(r->pool);
    if (ctx->free == NULL) {
        return NULL;
    }

    ctx->free->buf = b;
    ctx->free->next = NULL;

    return b;
}


static ngx_int_t
ngx_mailping_mint_send_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    static ngx_str_t  type = ngx_string("text/plain");

    if (ngx_mailping_answer(r, &type, -1) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    /* a header that waits in a buffer goes out with the first answers */

    return (rc == NGX_AGAIN) ? NGX_OK : rc;
}


/*
 * Returns NGX_OK when all is sent, NGX_AGAIN when the client has to read
 * first, or what the request is to be finalized with.
 */

static ngx_int_t
ngx_mailping_mint_send(ngx_http_request_t *r, ngx_mailping_mint_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;
    wev = c->write;

    rc = ngx_http_output_filter(r, ctx->out);

    ngx_chain_update_chains(r->pool, &ctx->free, &ctx->busy, &ctx->out,
                            (ngx_buf_tag_t) &ngx_mailping_module);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (ctx->busy || r->buffered || c->buffered) {

        ctx->blocked = 1;

        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        if (!wev->delayed) {
            ngx_add_timer(wev, clcf->send_timeout);
        }

        if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
            return NGX_ERROR;
        }

        /* nothing is expected of the client but to read */

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        return NGX_AGAIN;
    }

    ctx->blocked = 0;

    if (wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    return NGX_OK;
}


/*
 * The request's context of the module is the open's, which variables read, so
 * that of a batch is found by its cleanup.
 */

static ngx_mailping_mint_ctx_t *
ngx_mailping_mint_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mailping_mint_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}
