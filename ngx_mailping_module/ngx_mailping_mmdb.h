
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_MMDB_H_INCLUDED_
#define _NGX_MAILPING_MMDB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <maxminddb.h>

#include "ngx_mailping.h"


/*
 * MaxMind databases: verified and asked.  A thread uses this, so the functions
 * call nothing of nginx.
 */


#define NGX_MAILPING_MMDB_ASN      0
#define NGX_MAILPING_MMDB_CITY     1
#define NGX_MAILPING_MMDB_COUNTRY  2
#define NGX_MAILPING_MMDB_KINDS    3


/* what went wrong: a system call if there is an error number, else content */

typedef struct {
    const char                  *what;
    ngx_err_t                    err;
} ngx_mailping_mmdb_failure_t;


/*
 * Maps and verifies a copy; *unusual says that only its records, not the name
 * of its type, tell that it fits.  Returns NGX_DECLINED if the content is at
 * fault, NGX_ERROR if the system is.
 */
ngx_int_t ngx_mailping_mmdb_open(const char *path, ngx_uint_t kind,
    MMDB_s *mmdb, ngx_uint_t *unusual, ngx_mailping_mmdb_failure_t *failure);

/*
 * What the database knows of the network of an address, and what the databases
 * know of the place of an address; those that are NULL are not asked.  They
 * set the result, and copy strings to buf, cut between two characters of UTF-8.
 */
void ngx_mailping_mmdb_network(const MMDB_s *mmdb, const uint8_t addr[16],
    ngx_mailping_network_t *network, u_char buf[MAILPING_EVENT_TEXT_MAX]);
void ngx_mailping_mmdb_place(const MMDB_s *dbs[NGX_MAILPING_MMDB_KINDS],
    const uint8_t addr[16], ngx_mailping_place_t *place,
    u_char buf[3][MAILPING_EVENT_TEXT_MAX]);


extern ngx_str_t  ngx_mailping_mmdb_kinds[NGX_MAILPING_MMDB_KINDS];


#endif /* _NGX_MAILPING_MMDB_H_INCLUDED_ */
