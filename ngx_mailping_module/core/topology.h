
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_TOPOLOGY_H
#define MAILPING_TOPOLOGY_H


#include "bytes.h"


#define MAILPING_TAG_MAX  16
#define MAILPING_KEY_MAX  256      /* of a whole Redis key */


/* Redis Cluster's hash slot of a hash tag's text (CRC16-XMODEM mod 16384). */
unsigned mailping_topology_slot(mailping_str_t tag);

/*
 * Writes the hash tag of a partition, without braces: the smallest decimal
 * number whose slot is the middle one of the partition's equal share of the
 * 16384 slots, so that partitions spread evenly over any number of masters.
 * A public contract (docs/events.md).  Returns its length, or 0 when there is
 * no such partition, of at most 16384.  The search takes some 0.1 ms.
 */
size_t mailping_topology_tag(uint32_t partition, uint32_t partitions,
    char dst[MAILPING_TAG_MAX]);

/*
 * Write the keys of a partition's stream, "<prefix>:opens" or
 * "<prefix>:{tag}:opens", and of a producer's mark, "<prefix>:mark:<producer>"
 * or "<prefix>:{tag}:mark:<producer>".  tagged is 1 in Cluster mode or with
 * several partitions.  No terminating zero.  Return the length, or 0 when the
 * key does not fit; with a prefix of 128 bytes it always does.
 */
size_t mailping_topology_stream(mailping_str_t prefix, int tagged,
    uint32_t partition, uint32_t partitions, char dst[MAILPING_KEY_MAX]);
size_t mailping_topology_mark(mailping_str_t prefix, int tagged,
    uint32_t partition, uint32_t partitions, mailping_str_t producer,
    char dst[MAILPING_KEY_MAX]);


#endif /* MAILPING_TOPOLOGY_H */
