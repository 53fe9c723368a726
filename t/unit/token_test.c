
/*
 * Copyright (C) MailPing
 */


/*
 * Tokens: vectors made by another implementation, each reason for refusal,
 * and that nothing but what was signed is accepted.
 */

#define _GNU_SOURCE  1             /* RTLD_NEXT */

#include <dlfcn.h>
#include <openssl/evp.h>

#include "str.h"
#include "tap.h"

#include "core/token.h"


#define HEX_KEY                                                               \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX_OTHER                                                             \
    "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"


typedef struct {
    const char        *segment;
    mailping_token_e   result;
    const char        *name;
} refused_case_t;


typedef struct {
    const char        *text;
    const char        *why;
} key_case_t;


static mailping_keys_t *make_keys(unsigned id, const char *hex);
static mailping_token_e verify(mailping_keys_t *keys, const char *segment);
static size_t encode(const uint8_t *p, size_t n, char *dst);
static size_t forge(const uint8_t *body, size_t n, char *dst);
static void test_vectors(void);
static unsigned test_vector(char *line);
static void test_refused(void);
static void test_lengths(void);
static void test_spelling(void);
static void test_mutations(void);
static void test_round_trips(void);
static void test_sign_refuses(void);
static void test_keys(void);
static void test_rotation(void);
static void test_old_libcrypto(void);
static void test_names(void);


/* makes EVP_MAC_init() do what OpenSSL 3.0.0 to 3.0.2 did: nothing */

static int       old_libcrypto;
static unsigned  old_calls;


/* docs/token.md lists these */

static const refused_case_t  refused[] = {
    { "", MAILPING_TOKEN_LENGTH, "empty" },
    { ".gif", MAILPING_TOKEN_LENGTH, "only an extension" },
    { "EQAAAAAAAABtc2ct", MAILPING_TOKEN_LENGTH, "cut" },
    { "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkx",
      MAILPING_TOKEN_LENGTH, "a length that base64 does not have" },
    { "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo=",
      MAILPING_TOKEN_ALPHABET, "padded" },
    { "EQAAAAAAAAAh8uTYiS3TStDUM4cs_07Zzw==",
      MAILPING_TOKEN_ALPHABET, "padded twice" },
    { "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxd+",
      MAILPING_TOKEN_ALPHABET, "the other base64" },
    { "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkx/o",
      MAILPING_TOKEN_ALPHABET, "a slash of the other base64" },
    { "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdp",
      MAILPING_TOKEN_ALPHABET, "bits left over are not zero" },
    { "IQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_BAD_VERSION, "version 2" },
    { "AQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_BAD_VERSION, "version 0" },
    { "EgAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_BAD_KEY, "key id 2" },
    { "EQAEAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_BAD_FLAGS, "reserved flag" },
    { "EQAAAAAAACFtc2ctMVx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_LENGTH, "recipient of 33 bytes" },
    { "EQAAAAAAAAVtc2ctMVx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_LENGTH, "no room for an id" },
    { "EQAAAAAAAAFtc2ctMVx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_BAD_MAC, "a byte of the id moved to the recipient" },
    { "EQAAAAAAAABtc2ctMlx2nXvOEn5xu0MoqvKkxdo",
      MAILPING_TOKEN_BAD_MAC, "another id" },
    { "EQAAAAAAAABhQGJPkBlHS3HYZ5MEW_Clqb6Z",
      MAILPING_TOKEN_BAD_ID, "signed, but an address" },
};


static const key_case_t  bad_keys[] = {
    { "", "shorter" },
    { " \n", "shorter" },
    { "00", "shorter" },
    { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
      "shorter" },
    { HEX_KEY "0", "odd" },
    { "0x" HEX_KEY, "hex digit" },
    { HEX_KEY "\n" HEX_KEY, "hex digit" },
    { HEX_KEY " # comment", "hex digit" },
    { "g" HEX_KEY "0", "hex digit" },
};


int
main(void)
{
    test_vectors();
    test_refused();
    test_lengths();
    test_spelling();
    test_mutations();
    test_round_trips();
    test_sign_refuses();
    test_keys();
    test_rotation();
    test_old_libcrypto();
    test_names();

    return done();
}


static mailping_keys_t *
make_keys(unsigned id, const char *hex)
{
    const char       *why;
    mailping_keys_t  *keys;

    why = "";
    keys = mailping_keys_create();

    if (keys == NULL
        || mailping_keys_add(keys, id, str(hex), &why) != MAILPING_OK)
    {
        printf("Bail out! no key: %s\n", why);
        exit(1);
    }

    return keys;
}


/* verifies a copy without a byte to spare, so that sanitizers see overruns */

static mailping_token_e
verify(mailping_keys_t *keys, const char *segment)
{
    uint8_t           *copy, raw[MAILPING_TOKEN_RAW_MAX];
    mailping_str_t     s;
    mailping_token_e   result;
    mailping_token_t   token;

    s = str(segment);
    copy = malloc(s.len ? s.len : 1);
    memcpy(copy, s.data, s.len);
    s.data = copy;

    result = mailping_token_verify(keys, s, raw, &token);

    free(copy);

    return result;
}


/* base64url in another way than the one under test: bit by bit */

static size_t
encode(const uint8_t *p, size_t n, char *dst)
{
    size_t    i, j, len;
    unsigned  v, bit;

    static const char  digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    len = (n * 8 + 5) / 6;

    for (i = 0; i < len; i++) {
        v = 0;

        for (j = i * 6; j < i * 6 + 6; j++) {
            bit = j < n * 8 ? p[j / 8] >> (7 - j % 8) & 1 : 0;
            v = v << 1 | bit;
        }

        dst[i] = digits[v];
    }

    dst[len] = '\0';

    return len;
}


/*
 * A token over any bytes, with a MAC of zeros: whatever is wrong with it must
 * be found before the MAC, which then is what is wrong with a good one.
 */

static size_t
forge(const uint8_t *body, size_t n, char *dst)
{
    uint8_t  raw[256];

    memcpy(raw, body, n);
    memset(raw + n, 0, MAILPING_TOKEN_MAC);

    return encode(raw, n + MAILPING_TOKEN_MAC, dst);
}


static void
test_vectors(void)
{
    char      path[1024], line[2048], *p;
    FILE     *f;
    unsigned  n;

    snprintf(path, sizeof(path), "%s", __FILE__);

    p = strstr(path, "unit/token_test.c");

    if (p != NULL) {
        snprintf(p, sizeof(path) - (size_t) (p - path),
                 "data/token_vectors.tsv");
    }

    f = fopen(path, "r");

    if (!ok(f != NULL, "vectors in %s", path)) {
        return;
    }

    n = 0;

    while (fgets(line, sizeof(line), f) != NULL) {
        if (line[0] != '#') {
            n += test_vector(line);
        }
    }

    fclose(f);

    ok(n >= 8, "%u vectors", n);
}


static unsigned
test_vector(char *line)
{
    int                n;
    char              *field[11], *p;
    uint8_t            text[MAILPING_TOKEN_TEXT_MAX];
    uint8_t            raw[MAILPING_TOKEN_RAW_MAX];
    unsigned           i, hint, kind;
    mailping_keys_t   *keys;
    mailping_token_t   token, got;

    p = line;
    p[strcspn(p, "\n")] = '\0';

    for (i = 0; i < 11; i++) {
        field[i] = p;
        p = p ? strchr(p, '\t') : NULL;

        if (p != NULL) {
            *p++ = '\0';
        }
    }

    if (!ok(field[10] != NULL && p == NULL, "vector %s", line)) {
        return 0;
    }

    keys = make_keys((unsigned) atoi(field[1]), field[2]);

    memset(&token, 0, sizeof(token));
    token.key = MAILPING_TOKEN_NO_KEY;
    token.id = str(field[3]);
    token.recipient = str(field[4]);
    token.hint = (uint8_t) atoi(field[5]);
    token.privacy = (uint8_t) atoi(field[6]);
    token.kind = (uint8_t) atoi(field[7]);
    token.flags = (uint8_t) atoi(field[8]);
    token.sent = (uint32_t) strtoul(field[9], NULL, 10);

    n = mailping_token_sign(keys, &token, text);

    is_str(text, n < 0 ? 0 : n, field[10], "%s is signed", field[0]);

    memset(&got, 0, sizeof(got));
    is_int(mailping_token_verify(keys, str(field[10]), raw, &got),
           MAILPING_TOKEN_VALID, "%s is valid", field[0]);

    is_str(got.id.data, got.id.len, field[3], "%s id", field[0]);
    is_str(got.recipient.data, got.recipient.len, field[4],
           "%s recipient", field[0]);

    hint = token.hint < MAILPING_HINT_N ? token.hint : 0;
    kind = token.kind < MAILPING_KIND_N ? token.kind : 0;

    ok(got.key == atoi(field[1]) && got.hint == hint && got.kind == kind
       && got.privacy == token.privacy && got.flags == token.flags
       && got.sent == token.sent, "%s numbers", field[0]);

    mailping_keys_destroy(keys);

    return 1;
}


static void
test_refused(void)
{
    char              long_one[4096];
    size_t            i;
    mailping_keys_t  *keys;

    keys = make_keys(1, HEX_KEY);

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        is_str(mailping_token_result_name(verify(keys, refused[i].segment)),
               strlen(mailping_token_result_name(verify(keys,
                                                        refused[i].segment))),
               mailping_token_result_name(refused[i].result),
               "%s", refused[i].name);
    }

    memset(long_one, 'A', sizeof(long_one));

    for (i = MAILPING_TOKEN_TEXT_MAX - 2; i < MAILPING_TOKEN_TEXT_MAX + 4; i++)
    {
        long_one[i] = '\0';

        is_int(verify(keys, long_one),
               i <= MAILPING_TOKEN_TEXT_MAX && i % 4 != 1
               ? MAILPING_TOKEN_BAD_VERSION : MAILPING_TOKEN_LENGTH,
               "%zu characters", i);

        long_one[i] = 'A';
    }

    long_one[sizeof(long_one) - 1] = '\0';
    is_int(verify(keys, long_one), MAILPING_TOKEN_LENGTH, "over-long");

    long_one[2000] = '.';
    is_int(verify(keys, long_one), MAILPING_TOKEN_LENGTH,
           "over-long before its extension");

    mailping_keys_destroy(keys);
}


/* lengths at and beyond their limits */

static void
test_lengths(void)
{
    char              text[512];
    size_t            n;
    uint8_t           body[256];
    mailping_keys_t  *keys;

    keys = make_keys(1, HEX_KEY);

    memset(body, 0, sizeof(body));
    body[0] = 0x11;
    memset(body + 8, 'a', 200);

    forge(body, 8 + 64, text);
    is_int(verify(keys, text), MAILPING_TOKEN_BAD_MAC, "id of 64 bytes");

    forge(body, 8 + 65, text);
    is_int(verify(keys, text), MAILPING_TOKEN_LENGTH, "id of 65 bytes");

    body[7] = 32;

    n = forge(body, 8 + 32 + 64, text);
    is_int(n, MAILPING_TOKEN_TEXT_MAX, "the longest token");
    is_int(verify(keys, text), MAILPING_TOKEN_BAD_MAC, "both at their limits");

    forge(body, 8 + 32 + 65, text);
    is_int(verify(keys, text), MAILPING_TOKEN_LENGTH, "beyond both limits");

    forge(body, 8 + 32, text);
    is_int(verify(keys, text), MAILPING_TOKEN_LENGTH, "recipient but no id");

    body[7] = 33;

    forge(body, 8 + 33 + 1, text);
    is_int(verify(keys, text), MAILPING_TOKEN_LENGTH, "recipient too long");

    body[7] = 255;

    forge(body, 8 + 40, text);
    is_int(verify(keys, text), MAILPING_TOKEN_LENGTH, "length out of bounds");

    mailping_keys_destroy(keys);
}


/* a token has one spelling; what follows the first dot does not count */

static void
test_spelling(void)
{
    char              text[MAILPING_TOKEN_TEXT_MAX + 16];
    size_t            i;
    unsigned          c, valid;
    mailping_keys_t  *keys;

    static const char  token[] = "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo";

    static const char *const  endings[] = {
        "", ".", ".gif", ".png", ".tar.gz", "..", ".gif/x", ".\xff", ".==="
    };

    keys = make_keys(1, HEX_KEY);

    for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        snprintf(text, sizeof(text), "%s%s", token, endings[i]);
        is_int(verify(keys, text), MAILPING_TOKEN_VALID, "ending %zu", i);
    }

    valid = 0;

    for (i = 0; i < sizeof(token) - 1; i++) {
        strcpy(text, token);

        for (c = 1; c < 256; c++) {
            text[i] = (char) c;

            if (verify(keys, text) == MAILPING_TOKEN_VALID) {
                valid++;
            }
        }
    }

    is_int(valid, sizeof(token) - 1, "each character has one right value");

    mailping_keys_destroy(keys);
}


static void
test_mutations(void)
{
    int                n;
    char               text[MAILPING_TOKEN_TEXT_MAX + 8];
    char               good[MAILPING_TOKEN_TEXT_MAX + 8];
    size_t             len, at;
    uint8_t            dst[MAILPING_TOKEN_TEXT_MAX];
    unsigned           i, k, valid, reasons[MAILPING_TOKEN_RESULTS];
    mailping_keys_t   *keys;
    mailping_token_t   token;
    mailping_token_e   result;

    static const char  digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    keys = make_keys(1, HEX_KEY);

    memset(&token, 0, sizeof(token));
    token.id = str("newsletter-2026-11/4711");
    token.recipient = str("7f3a9c");
    token.sent = 1764000000;

    n = mailping_token_sign(keys, &token, dst);
    ok(n > 0, "a token to damage");

    memcpy(good, dst, (size_t) n);
    good[n] = '\0';

    memset(reasons, 0, sizeof(reasons));
    valid = 0;

    srand(3);

    for (i = 0; i < 10000; i++) {
        strcpy(text, good);
        len = (size_t) n;

        for (k = 1 + (unsigned) rand() % 4; k; k--) {
            at = (size_t) rand() % len;

            switch (rand() % 4) {

            case 0:
                text[at] = digits[rand() % 64];
                break;

            case 1:
                text[at] = (char) (1 + rand() % 255);
                break;

            case 2:
                memmove(text + at, text + at + 1, len - at);
                len--;
                break;

            default:
                memmove(text + at + 1, text + at, len - at + 1);
                text[at] = digits[rand() % 64];
                len++;
                break;
            }
        }

        /* a dot ends the token, and some damage undoes itself */

        if (strcspn(text, ".") == (size_t) n
            && strncmp(text, good, (size_t) n) == 0)
        {
            continue;
        }

        result = verify(keys, text);
        reasons[result]++;

        if (result == MAILPING_TOKEN_VALID) {
            valid++;
        }
    }

    is_int(valid, 0, "no damaged token is valid");

    ok(reasons[MAILPING_TOKEN_BAD_MAC] > 1000
       && reasons[MAILPING_TOKEN_ALPHABET] > 1000
       && reasons[MAILPING_TOKEN_LENGTH] > 100
       && reasons[MAILPING_TOKEN_BAD_VERSION] > 10
       && reasons[MAILPING_TOKEN_BAD_KEY] > 10
       && reasons[MAILPING_TOKEN_BAD_FLAGS] > 10,
       "the damage reaches each check");

    mailping_keys_destroy(keys);
}


static void
test_round_trips(void)
{
    int                n, good;
    char               value[65];
    uint8_t            dst[MAILPING_TOKEN_TEXT_MAX];
    uint8_t            raw[MAILPING_TOKEN_RAW_MAX];
    unsigned           i, recipient;
    mailping_keys_t   *keys;
    mailping_token_t   token, got;

    keys = make_keys(15, HEX_KEY);
    good = 1;

    memset(&token, 0, sizeof(token));
    memset(value, 'x', 64);

    for (i = 1; i <= 64; i++) {
        for (recipient = 0; recipient <= 32; recipient++) {
            token.id.data = (const uint8_t *) value;
            token.id.len = i;
            token.recipient.data = (const uint8_t *) value;
            token.recipient.len = recipient;
            token.sent = i * 0x01020304;

            n = mailping_token_sign(keys, &token, dst);

            if (n <= 0) {
                good = 0;
                continue;
            }

            if (mailping_token_verify(keys,
                                      (mailping_str_t) { (size_t) n, dst },
                                      raw, &got)
                != MAILPING_TOKEN_VALID
                || got.id.len != i || got.recipient.len != recipient
                || got.sent != token.sent || got.key != 15)
            {
                good = 0;
            }
        }
    }

    ok(good, "all lengths of id and recipient");

    mailping_keys_destroy(keys);
}


static void
test_sign_refuses(void)
{
    char               value[66];
    uint8_t            dst[MAILPING_TOKEN_TEXT_MAX];
    unsigned           c, allowed;
    mailping_str_t     s;
    mailping_keys_t   *keys;
    mailping_token_t   good, token;

    keys = make_keys(1, HEX_KEY);

    memset(&good, 0, sizeof(good));
    good.id = str("msg-1");
    good.recipient = str("u1");

    ok(mailping_token_sign(keys, &good, dst) > 0, "a good token");

    memset(value, 'x', 65);
    value[65] = '\0';

    token = good;
    token.id = str(value);
    ok(mailping_token_sign(keys, &token, dst) < 0, "id of 65 bytes");

    token.id = str("");
    ok(mailping_token_sign(keys, &token, dst) < 0, "empty id");

    token.id = str("alice@example.com");
    ok(mailping_token_sign(keys, &token, dst) < 0, "id with @");

    token = good;
    value[33] = '\0';
    token.recipient = str(value);
    ok(mailping_token_sign(keys, &token, dst) < 0, "recipient of 33 bytes");

    token.recipient = str("alice@example.com");
    ok(mailping_token_sign(keys, &token, dst) < 0, "recipient with @");

    token = good;
    token.flags = 4;
    ok(mailping_token_sign(keys, &token, dst) < 0, "reserved flag");

    token = good;
    token.flags = 16;
    ok(mailping_token_sign(keys, &token, dst) < 0, "flags too large");

    token = good;
    token.privacy = 16;
    ok(mailping_token_sign(keys, &token, dst) < 0, "privacy too large");

    token = good;
    token.hint = 16;
    ok(mailping_token_sign(keys, &token, dst) < 0, "hint too large");

    token = good;
    token.kind = 16;
    ok(mailping_token_sign(keys, &token, dst) < 0, "kind too large");

    mailping_keys_destroy(keys);

    keys = mailping_keys_create();
    ok(mailping_token_sign(keys, &good, dst) < 0, "no key");
    mailping_keys_destroy(keys);

    s.len = 1;
    s.data = (const uint8_t *) value;
    allowed = 0;

    for (c = 0; c < 256; c++) {
        value[0] = (char) c;

        if (mailping_token_id_allowed(s)
            != mailping_token_recipient_allowed(s))
        {
            allowed = 1000;
        }

        allowed += (unsigned) mailping_token_id_allowed(s);
    }

    is_int(allowed, 93, "94 printable characters but \"@\"");

    s.len = 0;
    ok(!mailping_token_id_allowed(s), "an id is not empty");
    ok(mailping_token_recipient_allowed(s), "a recipient may be empty");
}


static void
test_keys(void)
{
    char              big[2 * 1025 + 1];
    size_t            i;
    const char       *why;
    mailping_keys_t  *keys;

    keys = mailping_keys_create();

    for (i = 0; i < sizeof(bad_keys) / sizeof(bad_keys[0]); i++) {
        why = "";

        ok(mailping_keys_add(keys, 1, str(bad_keys[i].text), &why)
           == MAILPING_ERROR && strstr(why, bad_keys[i].why) != NULL,
           "bad key %zu: %s", i, why);
    }

    memset(big, 'a', sizeof(big));
    big[2050] = '\0';
    ok(mailping_keys_add(keys, 1, str(big), &why) == MAILPING_ERROR
       && strstr(why, "longer") != NULL, "1025 bytes: %s", why);

    big[2048] = '\0';
    ok(mailping_keys_add(keys, 1, str(big), &why) == MAILPING_OK,
       "1024 bytes");

    ok(mailping_keys_add(keys, 1, str(HEX_KEY), &why) == MAILPING_ERROR
       && strstr(why, "duplicate") != NULL, "duplicate: %s", why);

    ok(mailping_keys_add(keys, 16, str(HEX_KEY), &why) == MAILPING_ERROR
       && strstr(why, "between") != NULL, "key id 16: %s", why);

    mailping_keys_destroy(keys);
    mailping_keys_destroy(NULL);

    keys = make_keys(1, "\r\n\t " HEX_KEY "\n");
    is_int(verify(keys, "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo"),
           MAILPING_TOKEN_VALID, "white space around a key");
    mailping_keys_destroy(keys);

    keys = make_keys(1, "000102030405060708090A0B0C0D0E0F"
                        "101112131415161718191A1B1C1D1E1F");
    is_int(verify(keys, "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo"),
           MAILPING_TOKEN_VALID, "upper case");
    mailping_keys_destroy(keys);

    keys = make_keys(1, HEX_OTHER);
    is_int(verify(keys, "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo"),
           MAILPING_TOKEN_BAD_MAC, "a foreign key");
    mailping_keys_destroy(keys);

    keys = mailping_keys_create();
    is_int(verify(keys, "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo"),
           MAILPING_TOKEN_BAD_KEY, "no key");
    mailping_keys_destroy(keys);
}


/* the first key signs, all of them verify */

static void
test_rotation(void)
{
    int                n;
    char               old[MAILPING_TOKEN_TEXT_MAX + 1];
    char               new[MAILPING_TOKEN_TEXT_MAX + 1];
    const char        *why;
    mailping_keys_t   *keys;
    mailping_token_t   token;

    memset(&token, 0, sizeof(token));
    token.id = str("msg-1");

    keys = make_keys(1, HEX_KEY);
    n = mailping_token_sign(keys, &token, (uint8_t *) old);
    old[n] = '\0';
    mailping_keys_destroy(keys);

    keys = make_keys(2, HEX_OTHER);
    is_int(verify(keys, old), MAILPING_TOKEN_BAD_KEY, "the old key is gone");

    is_int(mailping_keys_add(keys, 1, str(HEX_KEY), &why), MAILPING_OK,
           "the old key is kept");
    is_int(verify(keys, old), MAILPING_TOKEN_VALID, "old token");

    n = mailping_token_sign(keys, &token, (uint8_t *) new);
    new[n] = '\0';

    is_int(verify(keys, new), MAILPING_TOKEN_VALID, "new token");
    ok(strncmp(new, "Eg", 2) == 0, "the first key signs");

    mailping_keys_destroy(keys);
}


/* stands in front of libcrypto's function, which it calls */

int
EVP_MAC_init(EVP_MAC_CTX *ctx, const unsigned char *key, size_t len,
    const OSSL_PARAM params[])
{
    static int  (*next)(EVP_MAC_CTX *ctx, const unsigned char *key,
                        size_t len, const OSSL_PARAM params[]);

    if (next == NULL) {
        *(void **) &next = dlsym(RTLD_NEXT, "EVP_MAC_init");
    }

    if (old_libcrypto && key == NULL && params == NULL) {
        old_calls++;
        return 1;
    }

    return next(ctx, key, len, params);
}


static void
test_old_libcrypto(void)
{
    int               i, good;
    mailping_keys_t  *keys;

    old_libcrypto = 1;
    good = 1;

    keys = make_keys(1, HEX_KEY);

    for (i = 0; i < 10; i++) {
        if (verify(keys, "EQAAAAAAAABtc2ctMVx2nXvOEn5xu0MoqvKkxdo")
            != MAILPING_TOKEN_VALID
            || verify(keys, "EQAAAAAAAABtc2ctMlx2nXvOEn5xu0MoqvKkxdo")
               != MAILPING_TOKEN_BAD_MAC)
        {
            good = 0;
        }
    }

    mailping_keys_destroy(keys);

    old_libcrypto = 0;

    ok(good, "a libcrypto that does not start again without the key");
    is_int(old_calls, 2, "is found out when the key is added");
}


static void
test_names(void)
{
    int       good;
    unsigned  i;

    good = 1;

    for (i = 0; i < MAILPING_HINT_N; i++) {
        if (mailping_hint_parse(str(mailping_hint_name(i))) != (int) i) {
            good = 0;
        }
    }

    for (i = 0; i < MAILPING_KIND_N; i++) {
        if (mailping_kind_parse(str(mailping_kind_name(i))) != (int) i) {
            good = 0;
        }
    }

    ok(good, "names and numbers");

    is_int(mailping_hint_parse(str("gmai")), MAILPING_ERROR, "part of a name");
    is_int(mailping_hint_parse(str("gmaill")), MAILPING_ERROR, "a longer one");
    is_int(mailping_kind_parse(str("")), MAILPING_ERROR, "no name");
    is_str(mailping_hint_name(99), 7, "unknown", "hint out of range");
    is_str(mailping_kind_name(99), 6, "single", "kind out of range");
    is_str(mailping_token_result_name((mailping_token_e) 99), 5, "valid",
           "result out of range");
    is_str(mailping_token_result_name(MAILPING_TOKEN_BAD_ID), 2, "id",
           "last result");
}
