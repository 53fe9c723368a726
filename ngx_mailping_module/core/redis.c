
/*
 * Copyright (C) MailPing
 */


#include "redis.h"


typedef struct {
    const char              *words;
    mailping_redis_error_e   class;
} mailping_redis_class_t;


static mailping_str_t mailping_redis_info_value(const char *line, size_t len,
    const char *name);
static int mailping_redis_info_id(mailping_str_t value, uint8_t id[20]);


static const mailping_redis_class_t  mailping_redis_classes[] = {
    { "OOM", MAILPING_REDIS_RETRY },
    { "MISCONF", MAILPING_REDIS_RETRY },
    { "NOREPLICAS", MAILPING_REDIS_RETRY },
    { "LOADING", MAILPING_REDIS_RETRY },
    { "BUSY", MAILPING_REDIS_RETRY },
    { "MASTERDOWN", MAILPING_REDIS_RETRY },
    { "CLUSTERDOWN", MAILPING_REDIS_RETRY },
    { "ASK", MAILPING_REDIS_RETRY },
    { "TRYAGAIN", MAILPING_REDIS_RETRY },
    { "ERR max number of clients", MAILPING_REDIS_RETRY },
    { "READONLY", MAILPING_REDIS_MOVED },
    { "MOVED", MAILPING_REDIS_MOVED },
    { "UNBLOCKED", MAILPING_REDIS_MOVED },
    { "NOAUTH", MAILPING_REDIS_AUTH },
    { "WRONGPASS", MAILPING_REDIS_AUTH },
    { "NOPERM", MAILPING_REDIS_AUTH },
    { "DENIED", MAILPING_REDIS_AUTH },
    { "WRONGTYPE", MAILPING_REDIS_TYPE },
    { "CROSSSLOT", MAILPING_REDIS_UNFIT },
    { NULL, MAILPING_REDIS_PROTOCOL }
};


static const char *const  mailping_redis_names[MAILPING_REDIS_ERRORS] = {
    "ok", "retry", "moved", "auth", "type", "unfit", "protocol"
};


mailping_redis_error_e
mailping_redis_error_class(const char *text)
{
    const char                    *reason;
    const mailping_redis_class_t  *c;

    static const char  because[] = "because of: ";

    if (mailping_redis_error_is(text, "EXECABORT")) {
        reason = strstr(text, because);

        if (reason != NULL) {
            text = reason + sizeof(because) - 1;
        }
    }

    for (c = mailping_redis_classes; c->words != NULL; c++) {
        if (mailping_redis_error_is(text, c->words)) {
            break;
        }
    }

    return c->class;
}


int
mailping_redis_error_is(const char *text, const char *words)
{
    size_t  n;

    n = strlen(words);

    return strncmp(text, words, n) == 0
           && (text[n] == '\0' || text[n] == ' ' || text[n] == ',');
}


const char *
mailping_redis_error_name(unsigned class)
{
    if (class >= MAILPING_REDIS_ERRORS) {
        class = MAILPING_REDIS_PROTOCOL;
    }

    return mailping_redis_names[class];
}


void
mailping_redis_info(mailping_redis_info_t *info, const char *text, size_t len)
{
    size_t          n;
    const char     *end;
    mailping_str_t  value;

    static const mailping_str_t  any = mailping_string("allkeys-");

    memset(info, 0, sizeof(mailping_redis_info_t));

    while (len != 0) {
        end = memchr(text, '\n', len);
        n = end != NULL ? (size_t) (end - text) + 1 : len;

        value = mailping_redis_info_value(text, n, "run_id:");

        if (value.data != NULL) {
            info->run_id = mailping_redis_info_id(value,
                                                  info->identity.run_id)
                           == MAILPING_OK;
        }

        value = mailping_redis_info_value(text, n, "master_replid:");

        if (value.data != NULL) {
            info->replid = mailping_redis_info_id(value,
                                                  info->identity.replid)
                           == MAILPING_OK;
        }

        value = mailping_redis_info_value(text, n, "maxmemory_policy:");

        if (value.len >= any.len
            && memcmp(value.data, any.data, any.len) == 0)
        {
            info->evicts = 1;
        }

        value = mailping_redis_info_value(text, n, "redis_version:");

        if (value.data != NULL) {
            mailping_redis_text(info->version, sizeof(info->version),
                                (const char *) value.data, value.len);
        }

        text += n;
        len -= n;
    }
}


/* the value in a line "name:value\r\n"; data is NULL in other lines */

static mailping_str_t
mailping_redis_info_value(const char *line, size_t len, const char *name)
{
    size_t          n;
    mailping_str_t  value;

    static const mailping_str_t  none = mailping_null_string;

    n = strlen(name);

    if (len < n || memcmp(line, name, n) != 0) {
        return none;
    }

    while (len > n && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
        len--;
    }

    value.len = len - n;
    value.data = (const uint8_t *) line + n;

    return value;
}


static int
mailping_redis_info_id(mailping_str_t value, uint8_t id[20])
{
    size_t   i;
    uint8_t  c, digit;

    if (value.len != 40) {
        return MAILPING_ERROR;
    }

    for (i = 0; i < value.len; i++) {
        c = value.data[i];

        if (c >= '0' && c <= '9') {
            digit = (uint8_t) (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            digit = (uint8_t) (c - 'a' + 10);

        } else {
            return MAILPING_ERROR;
        }

        id[i / 2] = (uint8_t) (i % 2 ? id[i / 2] | digit : digit << 4);
    }

    return MAILPING_OK;
}


void
mailping_redis_text(char *dst, size_t size, const char *text, size_t len)
{
    size_t  i;

    if (len > size - 1) {
        len = size - 1;
    }

    for (i = 0; i < len; i++) {
        dst[i] = (text[i] >= 0x20 && text[i] < 0x7f) ? text[i] : '?';
    }

    dst[len] = '\0';
}
