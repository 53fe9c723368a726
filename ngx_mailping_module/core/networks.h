
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_NETWORKS_H
#define MAILPING_NETWORKS_H


#include "bytes.h"


/*
 * Sets of networks, asked for one address: the sets that list the longest
 * prefix which covers it.  A network that several sets list belongs to all of
 * them; a shorter prefix does not count where a longer one matches.
 *
 * IPv4 networks are in the mapped form (see mask.h) with prefixes of 96 bits
 * or more.  A shorter prefix never covers an IPv4 address.
 */

typedef struct mailping_networks_s  mailping_networks_t;


/*
 * Makes an empty collection whose sets have numbers below 64 * nwords.
 * Returns NULL when there is no memory.  The caller owns it and frees it with
 * mailping_networks_destroy(), which accepts NULL.
 */
mailping_networks_t *mailping_networks_create(unsigned nwords);
void mailping_networks_destroy(mailping_networks_t *n);

/*
 * Adds the network of the first bits (0-128) of addr, whose other bits are
 * zero, to a set.  Returns MAILPING_OK, or MAILPING_ERROR when there is no
 * memory.
 */
int mailping_networks_add(mailping_networks_t *n, const uint8_t addr[16],
    unsigned bits, unsigned set);

/*
 * Builds the tables.  Returns MAILPING_OK, or MAILPING_ERROR when there is no
 * memory.
 */
int mailping_networks_compile(mailping_networks_t *n);

/*
 * The sets of an address as nwords words with their bits, or NULL when no
 * network covers it.
 */
const uint64_t *mailping_networks_find(const mailping_networks_t *n,
    const uint8_t addr[16]);


#endif /* MAILPING_NETWORKS_H */
