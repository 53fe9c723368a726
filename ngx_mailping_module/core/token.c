
/*
 * Copyright (C) MailPing
 */


#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "token.h"


#define MAILPING_TOKEN_RAW_MIN                                                \
    (MAILPING_TOKEN_HEAD + 1 + MAILPING_TOKEN_MAC)
#define MAILPING_TOKEN_TEXT_MIN  ((MAILPING_TOKEN_RAW_MIN * 4 + 2) / 3)

#define MAILPING_KEY_MIN         32
#define MAILPING_KEY_MAX         1024

#define MAILPING_HMAC_SIZE       32


typedef struct {
    EVP_MAC_CTX  *ctx;             /* NULL: there is no such key */
    uint8_t      *secret;          /* NULL: ctx can start again without it */
    size_t        len;
} mailping_key_t;


struct mailping_keys_s {
    EVP_MAC         *mac;
    unsigned         n;
    unsigned         first;        /* the id of the key that signs */
    mailping_key_t   key[MAILPING_TOKEN_KEYS];
};


static int mailping_key_init(mailping_keys_t *keys, mailping_key_t *key,
    const uint8_t *secret, size_t len);
static int mailping_key_hmac(mailping_key_t *key, const uint8_t *p, size_t n,
    uint8_t hmac[MAILPING_HMAC_SIZE]);
static void mailping_key_cleanup(mailping_key_t *key);
static int mailping_token_hex_decode(mailping_str_t text, uint8_t *dst,
    size_t *len, const char **why);
static int mailping_token_base64url_decode(mailping_str_t text, uint8_t *dst);
static size_t mailping_token_base64url_encode(const uint8_t *p, size_t n,
    uint8_t *dst);
static int mailping_token_hex_value(uint8_t c);
static int mailping_token_is_space(uint8_t c);
static int mailping_token_allowed(mailping_str_t s);
static int mailping_token_find(const char *const *names, unsigned n,
    mailping_str_t name);


static const char *const  mailping_hint_names[MAILPING_HINT_N] = {
    "unknown", "gmail", "microsoft", "apple", "yahoo", "gateway", "other"
};


static const char *const  mailping_kind_names[MAILPING_KIND_N] = {
    "single", "top", "bottom", "amp", "test"
};


static const char *const  mailping_token_results[MAILPING_TOKEN_RESULTS] = {
    "valid", "length", "alphabet", "version", "key", "flags", "mac", "id"
};


static const uint8_t  mailping_token_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


/* the values of ASCII characters as digits of base64url; 64 is none */

static const uint8_t  mailping_token_values[128] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 63,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64
};


mailping_keys_t *
mailping_keys_create(void)
{
    mailping_keys_t  *keys;

    keys = OPENSSL_zalloc(sizeof(mailping_keys_t));
    if (keys == NULL) {
        return NULL;
    }

    keys->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (keys->mac == NULL) {
        OPENSSL_free(keys);
        return NULL;
    }

    return keys;
}


void
mailping_keys_destroy(mailping_keys_t *keys)
{
    unsigned  i;

    if (keys == NULL) {
        return;
    }

    for (i = 0; i < MAILPING_TOKEN_KEYS; i++) {
        mailping_key_cleanup(&keys->key[i]);
    }

    EVP_MAC_free(keys->mac);
    OPENSSL_free(keys);
}


int
mailping_keys_add(mailping_keys_t *keys, unsigned id, mailping_str_t text,
    const char **why)
{
    int      rc;
    size_t   len;
    uint8_t  secret[MAILPING_KEY_MAX];

    if (id >= MAILPING_TOKEN_KEYS) {
        *why = "key id is not between 0 and 15";
        return MAILPING_ERROR;
    }

    if (keys->key[id].ctx != NULL) {
        *why = "key id is duplicate";
        return MAILPING_ERROR;
    }

    rc = mailping_token_hex_decode(text, secret, &len, why);

    if (rc == MAILPING_OK) {
        rc = mailping_key_init(keys, &keys->key[id], secret, len);

        if (rc != MAILPING_OK) {
            *why = "libcrypto refused the key";
        }
    }

    OPENSSL_cleanse(secret, sizeof(secret));

    if (rc != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    if (keys->n++ == 0) {
        keys->first = id;
    }

    return MAILPING_OK;
}


static int
mailping_key_init(mailping_keys_t *keys, mailping_key_t *key,
    const uint8_t *secret, size_t len)
{
    uint8_t     once[MAILPING_HMAC_SIZE], again[MAILPING_HMAC_SIZE];
    OSSL_PARAM  params[2];

    static char  digest[] = "SHA256";

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 digest, 0);
    params[1] = OSSL_PARAM_construct_end();

    key->ctx = EVP_MAC_CTX_new(keys->mac);
    if (key->ctx == NULL) {
        return MAILPING_ERROR;
    }

    if (EVP_MAC_init(key->ctx, secret, len, params) != 1
        || mailping_key_hmac(key, secret, len, once) != MAILPING_OK)
    {
        goto failed;
    }

    if (mailping_key_hmac(key, secret, len, again) != MAILPING_OK
        || CRYPTO_memcmp(once, again, MAILPING_HMAC_SIZE) != 0)
    {
        /*
         * OpenSSL 3.0.0 to 3.0.2 do not start again without being given the
         * key, and need not say so.
         */

        key->secret = OPENSSL_memdup(secret, len);
        if (key->secret == NULL) {
            goto failed;
        }

        key->len = len;
    }

    OPENSSL_cleanse(once, sizeof(once));
    OPENSSL_cleanse(again, sizeof(again));

    return MAILPING_OK;

failed:

    mailping_key_cleanup(key);

    return MAILPING_ERROR;
}


static int
mailping_key_hmac(mailping_key_t *key, const uint8_t *p, size_t n,
    uint8_t hmac[MAILPING_HMAC_SIZE])
{
    size_t  len;

    if (EVP_MAC_init(key->ctx, key->secret, key->len, NULL) != 1
        || EVP_MAC_update(key->ctx, p, n) != 1
        || EVP_MAC_final(key->ctx, hmac, &len, MAILPING_HMAC_SIZE) != 1
        || len != MAILPING_HMAC_SIZE)
    {
        return MAILPING_ERROR;
    }

    return MAILPING_OK;
}


static void
mailping_key_cleanup(mailping_key_t *key)
{
    /* libcrypto wipes what its context holds of the key */

    EVP_MAC_CTX_free(key->ctx);
    OPENSSL_clear_free(key->secret, key->len);

    key->ctx = NULL;
    key->secret = NULL;
    key->len = 0;
}


mailping_token_e
mailping_token_verify(mailping_keys_t *keys, mailping_str_t segment,
    uint8_t raw[MAILPING_TOKEN_RAW_MAX], mailping_token_t *token)
{
    size_t           n, len, max;
    uint8_t          hmac[MAILPING_HMAC_SIZE];
    const uint8_t   *dot;
    mailping_key_t  *key;

    /* an endless segment is not searched for its dot */

    max = segment.len;

    if (max > MAILPING_TOKEN_TEXT_MAX + 1) {
        max = MAILPING_TOKEN_TEXT_MAX + 1;
    }

    dot = max ? memchr(segment.data, '.', max) : NULL;

    if (dot != NULL) {
        segment.len = (size_t) (dot - segment.data);
    }

    if (segment.len < MAILPING_TOKEN_TEXT_MIN
        || segment.len > MAILPING_TOKEN_TEXT_MAX
        || segment.len % 4 == 1)
    {
        return MAILPING_TOKEN_LENGTH;
    }

    if (mailping_token_base64url_decode(segment, raw) != MAILPING_OK) {
        return MAILPING_TOKEN_ALPHABET;
    }

    len = segment.len * 3 / 4 - MAILPING_TOKEN_MAC;

    if (raw[0] >> 4 != MAILPING_TOKEN_VERSION) {
        return MAILPING_TOKEN_BAD_VERSION;
    }

    key = &keys->key[raw[0] & 0x0f];

    if (key->ctx == NULL) {
        return MAILPING_TOKEN_BAD_KEY;
    }

    if (raw[2] & MAILPING_TOKEN_FLAGS_RESERVED) {
        return MAILPING_TOKEN_BAD_FLAGS;
    }

    n = raw[7];

    if (n > MAILPING_TOKEN_RECIPIENT_MAX
        || len < MAILPING_TOKEN_HEAD + n + 1
        || len > MAILPING_TOKEN_HEAD + n + MAILPING_TOKEN_ID_MAX)
    {
        return MAILPING_TOKEN_LENGTH;
    }

    if (mailping_key_hmac(key, raw, len, hmac) != MAILPING_OK
        || CRYPTO_memcmp(hmac, raw + len, MAILPING_TOKEN_MAC) != 0)
    {
        return MAILPING_TOKEN_BAD_MAC;
    }

    token->recipient.len = n;
    token->recipient.data = raw + MAILPING_TOKEN_HEAD;
    token->id.len = len - MAILPING_TOKEN_HEAD - n;
    token->id.data = raw + MAILPING_TOKEN_HEAD + n;

    if (!mailping_token_id_allowed(token->id)
        || !mailping_token_recipient_allowed(token->recipient))
    {
        return MAILPING_TOKEN_BAD_ID;
    }

    token->sent = (uint32_t) raw[3] << 24 | (uint32_t) raw[4] << 16
                  | (uint32_t) raw[5] << 8 | raw[6];
    token->key = raw[0] & 0x0f;
    token->privacy = raw[1] >> 4;
    token->hint = raw[1] & 0x0f;
    token->kind = raw[2] >> 4;
    token->flags = raw[2] & 0x0f;

    if (token->hint >= MAILPING_HINT_N) {
        token->hint = MAILPING_HINT_UNKNOWN;
    }

    if (token->kind >= MAILPING_KIND_N) {
        token->kind = MAILPING_KIND_SINGLE;
    }

    return MAILPING_TOKEN_VALID;
}


int
mailping_token_sign(mailping_keys_t *keys, const mailping_token_t *token,
    uint8_t dst[MAILPING_TOKEN_TEXT_MAX])
{
    uint8_t  *p, raw[MAILPING_TOKEN_RAW_MAX], hmac[MAILPING_HMAC_SIZE];

    if (keys->n == 0
        || !mailping_token_id_allowed(token->id)
        || !mailping_token_recipient_allowed(token->recipient)
        || token->privacy > 0x0f || token->hint > 0x0f || token->kind > 0x0f
        || token->flags > 0x0f
        || token->flags & MAILPING_TOKEN_FLAGS_RESERVED)
    {
        return MAILPING_ERROR;
    }

    p = raw;

    *p++ = (uint8_t) (MAILPING_TOKEN_VERSION << 4 | keys->first);
    *p++ = (uint8_t) (token->privacy << 4 | token->hint);
    *p++ = (uint8_t) (token->kind << 4 | token->flags);
    *p++ = (uint8_t) (token->sent >> 24);
    *p++ = (uint8_t) (token->sent >> 16);
    *p++ = (uint8_t) (token->sent >> 8);
    *p++ = (uint8_t) token->sent;
    *p++ = (uint8_t) token->recipient.len;

    if (token->recipient.len) {
        memcpy(p, token->recipient.data, token->recipient.len);
        p += token->recipient.len;
    }

    memcpy(p, token->id.data, token->id.len);
    p += token->id.len;

    if (mailping_key_hmac(&keys->key[keys->first], raw, (size_t) (p - raw),
                          hmac)
        != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    memcpy(p, hmac, MAILPING_TOKEN_MAC);
    p += MAILPING_TOKEN_MAC;

    return (int) mailping_token_base64url_encode(raw, (size_t) (p - raw), dst);
}


int
mailping_token_id_allowed(mailping_str_t s)
{
    return s.len >= 1 && s.len <= MAILPING_TOKEN_ID_MAX
           && mailping_token_allowed(s);
}


int
mailping_token_recipient_allowed(mailping_str_t s)
{
    return s.len <= MAILPING_TOKEN_RECIPIENT_MAX && mailping_token_allowed(s);
}


const char *
mailping_hint_name(unsigned hint)
{
    return mailping_hint_names[hint < MAILPING_HINT_N ? hint : 0];
}


const char *
mailping_kind_name(unsigned kind)
{
    return mailping_kind_names[kind < MAILPING_KIND_N ? kind : 0];
}


const char *
mailping_token_result_name(mailping_token_e result)
{
    unsigned  n;

    n = result;

    return mailping_token_results[n < MAILPING_TOKEN_RESULTS ? n : 0];
}


int
mailping_hint_parse(mailping_str_t name)
{
    return mailping_token_find(mailping_hint_names, MAILPING_HINT_N, name);
}


int
mailping_kind_parse(mailping_str_t name)
{
    return mailping_token_find(mailping_kind_names, MAILPING_KIND_N, name);
}


static int
mailping_token_hex_decode(mailping_str_t text, uint8_t *dst, size_t *len,
    const char **why)
{
    int     high, low;
    size_t  i;

    while (text.len && mailping_token_is_space(text.data[0])) {
        text.data++;
        text.len--;
    }

    while (text.len && mailping_token_is_space(text.data[text.len - 1])) {
        text.len--;
    }

    if (text.len > MAILPING_KEY_MAX * 2) {
        *why = "key is longer than 1024 bytes";
        return MAILPING_ERROR;
    }

    *len = text.len / 2;

    for (i = 0; i < *len; i++) {
        high = mailping_token_hex_value(text.data[i * 2]);
        low = mailping_token_hex_value(text.data[i * 2 + 1]);

        if (high < 0 || low < 0) {
            *why = "key has a character that is not a hex digit";
            return MAILPING_ERROR;
        }

        dst[i] = (uint8_t) (high << 4 | low);
    }

    if (text.len % 2) {
        *why = "key has an odd number of hex digits";
        return MAILPING_ERROR;
    }

    if (*len < MAILPING_KEY_MIN) {
        *why = "key is shorter than 32 bytes, that is 64 hex digits";
        return MAILPING_ERROR;
    }

    return MAILPING_OK;
}


/*
 * Accepts one spelling of each byte string only, so that a token cannot be
 * varied: no padding, and the bits left over in the last digit are zero.
 */

static int
mailping_token_base64url_decode(mailping_str_t text, uint8_t *dst)
{
    size_t    i;
    uint8_t   c;
    uint32_t  bits;
    unsigned  n;

    bits = 0;
    n = 0;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if (c >= 128 || mailping_token_values[c] == 64) {
            return MAILPING_ERROR;
        }

        bits = bits << 6 | mailping_token_values[c];
        n += 6;

        if (n >= 8) {
            n -= 8;
            *dst++ = (uint8_t) (bits >> n);
            bits &= (1u << n) - 1;
        }
    }

    return bits == 0 ? MAILPING_OK : MAILPING_ERROR;
}


static size_t
mailping_token_base64url_encode(const uint8_t *p, size_t n, uint8_t *dst)
{
    size_t    i;
    uint8_t  *d;
    uint32_t  bits;
    unsigned  left;

    d = dst;
    bits = 0;
    left = 0;

    for (i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        left += 8;

        while (left >= 6) {
            left -= 6;
            *d++ = mailping_token_digits[bits >> left & 0x3f];
        }

        bits &= (1u << left) - 1;
    }

    if (left) {
        *d++ = mailping_token_digits[bits << (6 - left) & 0x3f];
    }

    return (size_t) (d - dst);
}


static int
mailping_token_hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    return -1;
}


static int
mailping_token_is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}


static int
mailping_token_allowed(mailping_str_t s)
{
    size_t  i;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] < 0x21 || s.data[i] > 0x7e || s.data[i] == '@') {
            return 0;
        }
    }

    return 1;
}


static int
mailping_token_find(const char *const *names, unsigned n, mailping_str_t name)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (strlen(names[i]) == name.len
            && memcmp(names[i], name.data, name.len) == 0)
        {
            return (int) i;
        }
    }

    return MAILPING_ERROR;
}
