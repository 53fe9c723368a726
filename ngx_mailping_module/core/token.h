
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_TOKEN_H
#define MAILPING_TOKEN_H


#include "bytes.h"


/*
 * The token is the last path segment of a pixel's address: base64url of
 *
 *     byte 0       version (4 bits) | key id (4 bits)
 *     byte 1       privacy mode (4 bits) | hint (4 bits)
 *     byte 2       kind (4 bits) | flags (4 bits)
 *     bytes 3-6    time of sending, Unix seconds, big-endian, 0 = unknown
 *     byte 7       n, length of recipient
 *     n bytes      recipient
 *     1-64 bytes   id
 *     16 bytes     HMAC-SHA256 over all bytes before, truncated
 *
 * docs/token.md has the test vectors.
 */

#define MAILPING_TOKEN_VERSION        1
#define MAILPING_TOKEN_KEYS           16
#define MAILPING_TOKEN_MAC            16
#define MAILPING_TOKEN_HEAD           8
#define MAILPING_TOKEN_RECIPIENT_MAX  32
#define MAILPING_TOKEN_ID_MAX         64
#define MAILPING_TOKEN_RAW_MAX                                                \
    (MAILPING_TOKEN_HEAD + MAILPING_TOKEN_RECIPIENT_MAX                       \
     + MAILPING_TOKEN_ID_MAX + MAILPING_TOKEN_MAC)
#define MAILPING_TOKEN_TEXT_MAX       ((MAILPING_TOKEN_RAW_MAX * 4 + 2) / 3)

#define MAILPING_TOKEN_NO_KEY         0xff

#define MAILPING_TOKEN_FLAG_HANDOVER  1
#define MAILPING_TOKEN_FLAG_CONSENT   2
#define MAILPING_TOKEN_FLAGS_RESERVED 0x0c


typedef enum {
    MAILPING_HINT_UNKNOWN = 0,
    MAILPING_HINT_GMAIL,
    MAILPING_HINT_MICROSOFT,
    MAILPING_HINT_APPLE,
    MAILPING_HINT_YAHOO,
    MAILPING_HINT_GATEWAY,
    MAILPING_HINT_OTHER,
    MAILPING_HINT_N
} mailping_hint_e;


typedef enum {
    MAILPING_KIND_SINGLE = 0,
    MAILPING_KIND_TOP,
    MAILPING_KIND_BOTTOM,
    MAILPING_KIND_AMP,
    MAILPING_KIND_TEST,
    MAILPING_KIND_N
} mailping_kind_e;


/* why a token is refused; the order is that of the counters */

typedef enum {
    MAILPING_TOKEN_VALID = 0,
    MAILPING_TOKEN_LENGTH,
    MAILPING_TOKEN_ALPHABET,
    MAILPING_TOKEN_BAD_VERSION,
    MAILPING_TOKEN_BAD_KEY,
    MAILPING_TOKEN_BAD_FLAGS,
    MAILPING_TOKEN_BAD_MAC,
    MAILPING_TOKEN_BAD_ID,
    MAILPING_TOKEN_RESULTS
} mailping_token_e;


typedef struct {
    mailping_str_t  id;
    mailping_str_t  recipient;
    uint32_t        sent;          /* Unix seconds, 0 = unknown */
    uint8_t         key;           /* key id; MAILPING_TOKEN_NO_KEY */
    uint8_t         privacy;       /* as in the token, 0-15 */
    uint8_t         hint;          /* mailping_hint_e, unlisted = unknown */
    uint8_t         kind;          /* mailping_kind_e, unlisted = single */
    uint8_t         flags;         /* MAILPING_TOKEN_FLAG_... */
} mailping_token_t;


typedef struct mailping_keys_s  mailping_keys_t;


/*
 * Makes an empty set of keys.  Returns NULL when there is no memory.  The
 * caller owns it and frees it with mailping_keys_destroy(), which accepts
 * NULL and wipes the keys.
 */
mailping_keys_t *mailping_keys_create(void);
void mailping_keys_destroy(mailping_keys_t *keys);

/*
 * Adds the key with this id (0-15).  text is the content of a key file: hex
 * digits of either case that stand for 32 to 1024 bytes, with white space
 * before and after.  The first key added signs.  Returns MAILPING_OK, or
 * MAILPING_ERROR with *why (static text) saying what is wrong.  Copies what
 * it needs of text.
 */
int mailping_keys_add(mailping_keys_t *keys, unsigned id, mailping_str_t text,
    const char **why);

/*
 * Verifies segment, the last path segment of a request, with or without an
 * extension, which starts at the first dot.  Writes the decoded token into
 * raw and sets *token, whose strings point into raw.  Returns
 * MAILPING_TOKEN_VALID or the reason for refusal, the first that applies in
 * the order length of the segment, alphabet, version, key, flags, length of
 * the parts, MAC, id; *token and raw are undefined then.  The comparison of
 * the MAC takes constant time.
 */
mailping_token_e mailping_token_verify(mailping_keys_t *keys,
    mailping_str_t segment, uint8_t raw[MAILPING_TOKEN_RAW_MAX],
    mailping_token_t *token);

/*
 * Signs token with the first key; token->key is ignored.  Writes at most
 * MAILPING_TOKEN_TEXT_MAX bytes of base64url, without a terminating zero, to
 * dst.  Returns their number, or MAILPING_ERROR when there is no key, when
 * id or recipient are not allowed, when privacy, hint or kind exceed 4 bits,
 * when a reserved flag is set, or when libcrypto fails.
 */
int mailping_token_sign(mailping_keys_t *keys, const mailping_token_t *token,
    uint8_t dst[MAILPING_TOKEN_TEXT_MAX]);

/*
 * Tell whether s may be an id (1-64 bytes) or a recipient (0-32 bytes):
 * printable ASCII, 0x21-0x7e, without "@".  Return 1 or 0.
 */
int mailping_token_id_allowed(mailping_str_t s);
int mailping_token_recipient_allowed(mailping_str_t s);

/*
 * Names of hints ("unknown", "gmail", ...), kinds ("single", "top", ...) and
 * results of verification ("valid", "length", "alphabet", "version", "key",
 * "flags", "mac", "id"), static, zero-terminated.  Values out of range give
 * the name of 0.
 */
const char *mailping_hint_name(unsigned hint);
const char *mailping_kind_name(unsigned kind);
const char *mailping_token_result_name(mailping_token_e result);

/*
 * The numbers of the names above, or MAILPING_ERROR for another text.
 */
int mailping_hint_parse(mailping_str_t name);
int mailping_kind_parse(mailping_str_t name);


#endif /* MAILPING_TOKEN_H */
