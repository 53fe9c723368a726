
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_MMDB_H_INCLUDED_
#define _NGX_MAILPING_MMDB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <maxminddb.h>
#include <stdatomic.h>

#include "ngx_mailping.h"


/*
 * Copies of MaxMind databases: made, verified and asked.  A thread uses this,
 * so the functions call nothing of nginx.
 */


#define NGX_MAILPING_MMDB_ASN      0
#define NGX_MAILPING_MMDB_CITY     1
#define NGX_MAILPING_MMDB_COUNTRY  2
#define NGX_MAILPING_MMDB_KINDS    3


/* a version of a file; all zero when there is no file */

typedef struct {
    uint64_t                     device;
    uint64_t                     inode;
    uint64_t                     size;
    uint64_t                     sec;
    uint64_t                     nsec;
} ngx_mailping_mmdb_id_t;


/* what went wrong: a system call if there is an error number, else content */

typedef struct {
    const char                  *what;
    ngx_err_t                    err;
} ngx_mailping_mmdb_failure_t;


void ngx_mailping_mmdb_identify(const struct stat *st,
    ngx_mailping_mmdb_id_t *id);
ngx_uint_t ngx_mailping_mmdb_same(const ngx_mailping_mmdb_id_t *one,
    const ngx_mailping_mmdb_id_t *two);

/*
 * Copies the version that id names to fd, or any version if id is zero, which
 * then gets its name.  Ends early when *stop (may be NULL) is set.  Returns
 * NGX_AGAIN if the file is or becomes another version, NGX_DECLINED if it
 * cannot be a database.
 */
ngx_int_t ngx_mailping_mmdb_copy(const char *file, int fd,
    ngx_mailping_mmdb_id_t *id, atomic_int *stop,
    ngx_mailping_mmdb_failure_t *failure);

/* Makes a copy in memory unchangeable. */
ngx_int_t ngx_mailping_mmdb_seal(int fd, ngx_mailping_mmdb_failure_t *failure);

/*
 * Maps and verifies a copy; *unusual says that only its records, not the name
 * of its type, tell that it fits.  Returns NGX_DECLINED if the content is at
 * fault, NGX_ERROR if the system is.
 */
ngx_int_t ngx_mailping_mmdb_open(const char *path, ngx_uint_t kind,
    MMDB_s *mmdb, ngx_uint_t *unusual, ngx_mailping_mmdb_failure_t *failure);

/*
 * What the databases know of the network of an address, and of the place of
 * the masked address; databases that are NULL are not asked.  Strings are
 * copied to buf, cut between two characters of UTF-8.
 */
void ngx_mailping_mmdb_place(const MMDB_s *dbs[NGX_MAILPING_MMDB_KINDS],
    const uint8_t addr[16], const uint8_t masked[16],
    ngx_mailping_place_t *place, u_char buf[4][MAILPING_EVENT_TEXT_MAX]);


#endif /* _NGX_MAILPING_MMDB_H_INCLUDED_ */
