
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_MINT_H_INCLUDED_
#define _NGX_MAILPING_MINT_H_INCLUDED_


/* What ngx_mailping_mint.c and ngx_mailping_mint_batch.c share. */

#include "ngx_mailping.h"


/* the longest answer that is an error, zero-terminated */

#define NGX_MAILPING_MINT_ERROR  256


/* parameters of a GET by name, fields of a line by order */

typedef enum {
    NGX_MAILPING_MINT_ID = 0,
    NGX_MAILPING_MINT_RECIPIENT,
    NGX_MAILPING_MINT_HINT,
    NGX_MAILPING_MINT_PRIVACY,
    NGX_MAILPING_MINT_KIND,
    NGX_MAILPING_MINT_SENT,
    NGX_MAILPING_MINT_FIELDS
} ngx_mailping_mint_field_e;


typedef struct {
    const char               *name;
    const char               *expected;
} ngx_mailping_mint_field_t;


/* ngx_mailping_mint.c */

extern const ngx_mailping_mint_field_t
    ngx_mailping_mint_fields[NGX_MAILPING_MINT_FIELDS];

/* The longest address that this location mints. */
size_t ngx_mailping_mint_address_max(ngx_mailping_loc_conf_t *mlcf);

/* Writes the address.  Returns its end, or NULL when it cannot be signed. */
u_char *ngx_mailping_mint_address(u_char *p, ngx_mailping_loc_conf_t *mlcf,
    mailping_token_t *token);

/*
 * Takes a field over into token, whose strings then point into the text.
 * Returns NGX_DECLINED when it is not what the field's table expects.
 */
ngx_int_t ngx_mailping_mint_parse(mailping_token_t *token, ngx_uint_t field,
    u_char *p, size_t len);


/* ngx_mailping_mint_batch.c */

/* Answers a POST; the result is a content handler's. */
ngx_int_t ngx_mailping_mint_batch(ngx_http_request_t *r,
    ngx_mailping_loc_conf_t *mlcf);


#endif /* _NGX_MAILPING_MINT_H_INCLUDED_ */
