
/*
 * Copyright (C) MailPing
 */


#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/builtin.h"
#include "core/mask.h"

#include "judge.h"


#define MAILPING_JUDGE_RULES_MAX  (64 * 1024 * 1024)


static int mailping_judge_load(void *data, const char *from,
    mailping_str_t name, mailping_str_t *text, char path[256], char why[128]);
static const char *mailping_judge_read(const char *path,
    mailping_judge_text_t **texts, mailping_str_t *text);
static void mailping_judge_kinds(mailping_judge_t *judge);


int
mailping_judge_rules(mailping_judge_t *judge, char **files, unsigned nfiles,
    unsigned only)
{
    int                      rc;
    unsigned                 i;
    const char              *why;
    mailping_str_t           text;
    mailping_judge_text_t   *texts, *next;
    mailping_rules_error_t   err;

    memset(&err, 0, sizeof(mailping_rules_error_t));

    judge->rules = mailping_rules_create();

    if (judge->rules == NULL) {
        snprintf(judge->why, MAILPING_JUDGE_WHY_MAX, "not enough memory");
        return MAILPING_ERROR;
    }

    texts = NULL;
    why = NULL;
    rc = only ? MAILPING_OK : mailping_builtin_rules(judge->rules, &err);

    for (i = 0; i < nfiles && rc == MAILPING_OK; i++) {

        why = mailping_judge_read(files[i], &texts, &text);

        if (why != NULL) {
            snprintf(judge->why, MAILPING_JUDGE_WHY_MAX,
                     "rules \"%.128s\": %s", files[i], why);
            rc = MAILPING_ERROR;
            break;
        }

        rc = mailping_rules_parse(judge->rules, files[i], text,
                                  mailping_judge_load, &texts, &err);
    }

    if (rc == MAILPING_OK) {
        rc = mailping_rules_compile(judge->rules, &err);
    }

    if (rc == MAILPING_OK) {
        mailping_judge_kinds(judge);

    } else if (why == NULL && err.line == 0) {
        snprintf(judge->why, MAILPING_JUDGE_WHY_MAX, "%.128s in %.96s",
                 err.text, err.file);

    } else if (why == NULL) {
        snprintf(judge->why, MAILPING_JUDGE_WHY_MAX,
                 "%.128s in %.96s:%u, column %u", err.text, err.file,
                 err.line, err.column);
    }

    for ( /* void */ ; texts != NULL; texts = next) {
        next = texts->next;
        free(texts->data);
        free(texts);
    }

    return rc;
}


static int
mailping_judge_load(void *data, const char *from, mailping_str_t name,
    mailping_str_t *text, char path[256], char why[128])
{
    size_t                   dir;
    const char              *slash, *what;
    mailping_judge_text_t  **texts = data;

    /* beside the file that names it, unless the name is absolute */

    slash = strrchr(from, '/');
    dir = (name.len != 0 && name.data[0] == '/') || slash == NULL
          ? 0 : (size_t) (slash - from) + 1;

    if (dir + name.len >= 256) {
        snprintf(path, 256, "%.*s", (int) (name.len < 255 ? name.len : 255),
                 (const char *) name.data);
        snprintf(why, 128, "name is too long");
        return MAILPING_ERROR;
    }

    memcpy(path, from, dir);
    memcpy(path + dir, name.data, name.len);
    path[dir + name.len] = '\0';

    what = mailping_judge_read(path, texts, text);

    if (what != NULL) {
        snprintf(why, 128, "%s", what);
        return MAILPING_ERROR;
    }

    return MAILPING_OK;
}


/* Returns NULL, or why the file cannot be read. */

static const char *
mailping_judge_read(const char *path, mailping_judge_text_t **texts,
    mailping_str_t *text)
{
    int                     fd, err;
    size_t                  size, used;
    ssize_t                 n;
    uint8_t                *data;
    struct stat             st;
    mailping_judge_text_t  *new;

    fd = open(path, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return strerror(errno);
    }

    data = NULL;
    new = NULL;
    err = 0;

    if (fstat(fd, &st) == -1) {
        err = errno;
        goto done;
    }

    if (S_ISDIR(st.st_mode)) {
        err = EISDIR;
        goto done;
    }

    /* the size of a pipe is not known; one byte more sees the end */

    size = S_ISREG(st.st_mode) && st.st_size < MAILPING_JUDGE_RULES_MAX
           ? (size_t) st.st_size + 1 : MAILPING_JUDGE_RULES_MAX + 1;
    used = 0;

    data = malloc(size);
    new = malloc(sizeof(mailping_judge_text_t));

    if (data == NULL || new == NULL) {
        err = ENOMEM;
        goto done;
    }

    while (used < size) {
        n = read(fd, data + used, size - used);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            err = errno;
            goto done;
        }

        if (n == 0) {
            break;
        }

        used += (size_t) n;
    }

    if (used > MAILPING_JUDGE_RULES_MAX || used == size) {
        err = EFBIG;
        goto done;
    }

    new->data = data;
    new->next = *texts;
    *texts = new;

    text->data = data;
    text->len = used;

done:

    close(fd);

    if (err != 0) {
        free(data);
        free(new);
        return strerror(err);
    }

    return NULL;
}


/* Which numbers are those of agents and clients. */

static void
mailping_judge_kinds(mailping_judge_t *judge)
{
    unsigned     i, n;
    const char  *name;

    static const mailping_str_t  first = mailping_string("seen<2");

    judge->first = mailping_facts_number(first);

    n = mailping_rules_facts(judge->rules);

    for (i = 0; i < n; i++) {
        name = mailping_rules_fact_name(judge->rules, i);

        if (name == NULL) {
            continue;
        }

        if (strncmp(name, "agent:", 6) == 0) {
            judge->agents[i / 64] |= (uint64_t) 1 << i % 64;

        } else if (strncmp(name, "client:", 7) == 0) {
            judge->clients[i / 64] |= (uint64_t) 1 << i % 64;
        }
    }
}


void
mailping_judge_overlay(mailping_facts_t *f, const mailping_facts_t *g)
{
    unsigned  i;

    for (i = 0; i < MAILPING_FACTS_WORDS; i++) {
        f->is[i] = (f->is[i] & g->unknown[i]) | (g->is[i] & ~g->unknown[i]);
        f->unknown[i] &= g->unknown[i];
    }
}


void
mailping_judge_network(const mailping_judge_t *judge, mailping_facts_t *f,
    const uint8_t addr[16], uint32_t asn)
{
    int                   rc;
    struct sockaddr_in    sin;
    struct sockaddr_in6   sin6;
    MMDB_entry_data_s     data;
    MMDB_lookup_result_s  result;

    mailping_facts_address(judge->rules, f, addr);

    if (asn != 0 || judge->asn == NULL) {
        mailping_facts_asn(judge->rules, f, asn);
        return;
    }

    if (mailping_mask_is_ipv4(addr)) {
        memset(&sin, 0, sizeof(struct sockaddr_in));
        sin.sin_family = AF_INET;
        memcpy(&sin.sin_addr, addr + 12, 4);

        result = MMDB_lookup_sockaddr(judge->asn, (struct sockaddr *) &sin,
                                      &rc);

    } else {

        /* an IPv4 database knows nothing of IPv6 */

        if (judge->asn->metadata.ip_version == 4) {
            return;
        }

        memset(&sin6, 0, sizeof(struct sockaddr_in6));
        sin6.sin6_family = AF_INET6;
        memcpy(&sin6.sin6_addr, addr, 16);

        result = MMDB_lookup_sockaddr(judge->asn, (struct sockaddr *) &sin6,
                                      &rc);
    }

    if (rc != MMDB_SUCCESS
        || !result.found_entry
        || MMDB_get_value(&result.entry, &data, "autonomous_system_number",
                          NULL)
           != MMDB_SUCCESS
        || !data.has_data)
    {
        return;
    }

    if (data.type == MMDB_DATA_TYPE_UINT32) {
        mailping_facts_asn(judge->rules, f, data.uint32);

    } else if (data.type == MMDB_DATA_TYPE_UINT16) {
        mailping_facts_asn(judge->rules, f, data.uint16);
    }
}
