
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_MASK_H
#define MAILPING_MASK_H


#include "bytes.h"


/* "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" */

#define MAILPING_NETWORK_TEXT_MAX  43


/*
 * An address is 16 bytes in network order everywhere in core; an IPv4 address
 * is in its mapped form ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2).
 */

/* Tells whether addr is an IPv4 address in its mapped form.  Returns 1, 0. */
int mailping_mask_is_ipv4(const uint8_t addr[16]);

/*
 * Copies addr to masked with all but the first ipv4 (0-32) or ipv6 (0-128)
 * bits of the address, whichever family it is of, set to zero.  Of a 6to4
 * address, which contains an IPv4 address, no more than ipv4 bits of that are
 * kept.
 */
void mailping_mask_address(const uint8_t addr[16], unsigned ipv4,
    unsigned ipv6, uint8_t masked[16]);

/*
 * Writes the masked network of addr, "203.0.113.0/24" or "2001:db8:12::/48"
 * (RFC 5952), without a terminating zero, to dst.  Returns the length.
 */
size_t mailping_mask_network(const uint8_t addr[16], unsigned ipv4,
    unsigned ipv6, uint8_t dst[MAILPING_NETWORK_TEXT_MAX]);

/*
 * Parses an address ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1") into
 * its 16 bytes.  Returns MAILPING_OK or MAILPING_ERROR.
 */
int mailping_mask_parse(mailping_str_t text, uint8_t addr[16]);

/*
 * Reduces a User-Agent to its product tokens (RFC 9110, section 10.1.5) with
 * major versions, "Mozilla/5 AppleWebKit/537 Chrome/120 Safari/537": without
 * comments, minor versions, and bytes that are not token characters.  Writes
 * at most cap bytes, never part of a product, to dst; returns the length.
 */
size_t mailping_mask_agent(mailping_str_t agent, uint8_t *dst, size_t cap);


#endif /* MAILPING_MASK_H */
