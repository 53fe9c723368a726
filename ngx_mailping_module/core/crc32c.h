
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_CRC32C_H
#define MAILPING_CRC32C_H


#include <stddef.h>
#include <stdint.h>


/*
 * Continues a CRC-32C (Castagnoli polynomial, reflected, RFC 3720 appendix
 * B.4) over n bytes at p.  The first call passes crc 0; the result of one
 * call is the crc of the next.  libcrypto and zlib have no CRC-32C.
 */
uint32_t mailping_crc32c(uint32_t crc, const void *p, size_t n);


#endif /* MAILPING_CRC32C_H */
