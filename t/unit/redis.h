
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_TEST_REDIS_H
#define MAILPING_TEST_REDIS_H


#include "core/topology.h"

#include "tap.h"


/*
 * A Redis for tests of the conversation with it: the commands that a producer
 * sends, WATCH and transactions, connections whose bytes arrive when a test
 * says so, and the errors that it asks for.
 */

#define LINKS       8
#define MARKS       8
#define ENTRIES     16384
#define BUFFER      (512 * 1024)
#define COMMANDS    600
#define ARGS        64


typedef struct {
    char        key[MAILPING_KEY_MAX + 1];
    char        value[64];
    int         set;
} mark_t;


/* an entry is known by its "<producer>/<seq>" */

typedef struct {
    char        key[MAILPING_KEY_MAX + 1];
    char        event[80];
} entry_t;


typedef struct {
    mark_t      marks[MARKS];
    entry_t     entries[ENTRIES];
    int         nentries;
} data_t;


/* one client connection of the server, with the bytes on their way */

typedef struct {
    uint8_t     in[BUFFER];
    size_t      nin;
    uint8_t     out[BUFFER];
    size_t      nout;
    char        watch[MAILPING_KEY_MAX + 1];
    int         dirty;
    int         multi;
    int         aborted;
    int         open;
    int         nqueue;
    size_t      queue[COMMANDS];       /* offsets in text */
    uint8_t     text[BUFFER];
    size_t      ntext;
} link_t;


typedef struct {
    data_t      data;
    data_t      saved;
    link_t      links[LINKS];
    char        run_id[41];
    char        replid[41];
    const char *policy;
    const char *role;
    const char *type;                  /* of streams; NULL = as they are */
    const char *fail_verb;             /* refused when queued or executed */
    const char *fail_text;
    const char *fail_inside;           /* fails inside EXEC */
    const char *fail_exec;
    int         fail_after;            /* so many of it succeed */
    int         nofence;
    int         stuck;                 /* EXEC fails and leaves MULTI open */
    int         padding;               /* bytes of INFO that tell nothing */
    int         trims;
    char        trim[80];              /* arguments of the last XTRIM */
    uint64_t    id;
} server_t;


static server_t  server;


static inline void
server_identity(int restart, int promotion)
{
    static unsigned  n;

    n++;

    if (restart) {
        snprintf(server.run_id, sizeof(server.run_id), "%040x", n);
    }

    if (promotion) {
        snprintf(server.replid, sizeof(server.replid), "%040x", n + 0x10000);
    }
}


static inline void
server_reset(void)
{
    memset(&server, 0, sizeof(server));

    server.policy = "noeviction";
    server.role = "master";
    server.id = 1700000000000;

    server_identity(1, 1);
}


static inline mark_t *
server_mark(const char *key)
{
    int  i;

    for (i = 0; i < MARKS; i++) {
        if (server.data.marks[i].set
            && strcmp(server.data.marks[i].key, key) == 0)
        {
            return &server.data.marks[i];
        }
    }

    return NULL;
}


static inline void
server_touch(const char *key)
{
    int  i;

    for (i = 0; i < LINKS; i++) {
        if (strcmp(server.links[i].watch, key) == 0 && !server.nofence) {
            server.links[i].dirty = 1;
        }
    }
}


static inline void
server_set(const char *key, const char *value)
{
    int      i;
    mark_t  *mark;

    server_touch(key);
    mark = server_mark(key);

    if (value == NULL) {
        if (mark != NULL) {
            mark->set = 0;
        }

        return;
    }

    for (i = 0; mark == NULL && i < MARKS; i++) {
        if (!server.data.marks[i].set) {
            mark = &server.data.marks[i];
            mark->set = 1;
            snprintf(mark->key, sizeof(mark->key), "%s", key);
        }
    }

    if (mark == NULL) {
        abort();
    }

    snprintf(mark->value, sizeof(mark->value), "%s", value);
}


static inline void __attribute__((format(printf, 2, 3)))
answer(link_t *l, const char *fmt, ...)
{
    int      n;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf((char *) l->out + l->nout, BUFFER - l->nout, fmt, args);
    va_end(args);

    if (n < 0 || (size_t) n >= BUFFER - l->nout) {
        abort();
    }

    l->nout += (size_t) n;
}


/* splits one command; returns its length, 0 when it is not complete */

static inline size_t
split(const uint8_t *p, size_t len, char **argv, int *argc, char *store,
    size_t size)
{
    int      i;
    size_t   n, at, used;
    char    *end;

    if (len == 0) {
        return 0;
    }

    if (p[0] != '*') {
        abort();
    }

    at = 0;
    used = 0;
    *argc = 1;

    for (i = -1; i < *argc; i++) {

        if (memchr(p + at, '\n', len - at) == NULL) {
            return 0;
        }

        n = strtoul((const char *) p + at + 1, &end, 10);
        at = (size_t) ((const uint8_t *) end - p) + 2;

        if (i == -1) {
            *argc = (int) n;

            if (n > ARGS) {
                abort();
            }

            continue;
        }

        if (len - at < n + 2) {
            return 0;
        }

        if (used + n + 1 > size) {
            abort();
        }

        memcpy(store + used, p + at, n);
        argv[i] = store + used;
        argv[i][n] = '\0';
        used += n + 1;
        at += n + 2;
    }

    return at;
}


static inline int
fails(const char *verb, const char *which)
{
    if (which == NULL || strcmp(verb, which) != 0) {
        return 0;
    }

    if (server.fail_after > 0) {
        server.fail_after--;
        return 0;
    }

    return 1;
}


static inline void execute(link_t *l, char **argv, int argc);


static inline void
execute_all(link_t *l)
{
    int   i, argc;
    char  *argv[ARGS], store[16384];

    l->multi = 0;
    l->watch[0] = '\0';

    if (l->aborted) {
        l->dirty = 0;
        answer(l, "-EXECABORT Transaction discarded because of previous "
               "errors.\r\n");
        return;
    }

    if (server.fail_exec != NULL) {
        l->dirty = 0;
        answer(l, "-EXECABORT Transaction discarded because of: %s\r\n",
               server.fail_exec);
        return;
    }

    if (server.stuck) {
        l->multi = 1;
        answer(l, "-BUSY Redis is busy running a script.\r\n");
        return;
    }

    if (l->dirty) {
        l->dirty = 0;
        answer(l, "*-1\r\n");
        return;
    }

    answer(l, "*%d\r\n", l->nqueue);

    for (i = 0; i < l->nqueue; i++) {
        split(l->text + l->queue[i], l->ntext - l->queue[i], argv, &argc,
              store, sizeof(store));

        if (fails(argv[0], server.fail_inside)) {
            answer(l, "-%s\r\n", server.fail_text);
            continue;
        }

        execute(l, argv, argc);
    }
}


static inline void
execute(link_t *l, char **argv, int argc)
{
    int          i;
    mark_t      *mark;
    entry_t     *entry;
    const char  *verb;

    verb = argv[0];

    if (strcmp(verb, "XADD") == 0) {
        if (server.data.nentries == ENTRIES || argc < 7) {
            abort();
        }

        entry = &server.data.entries[server.data.nentries++];
        snprintf(entry->key, sizeof(entry->key), "%s", argv[1]);
        snprintf(entry->event, sizeof(entry->event), "%s", argv[6]);
        answer(l, "$15\r\n%" PRIu64 "-0\r\n", server.id++);

    } else if (strcmp(verb, "SET") == 0) {
        server_set(argv[1], argv[2]);
        answer(l, "+OK\r\n");

    } else if (strcmp(verb, "GET") == 0) {
        mark = server_mark(argv[1]);

        if (mark == NULL) {
            answer(l, "$-1\r\n");

        } else {
            answer(l, "$%zu\r\n%s\r\n", strlen(mark->value), mark->value);
        }

    } else if (strcmp(verb, "WATCH") == 0) {

        /* one watched mark per connection is a rule of the producer */

        if (l->watch[0] != '\0' && strcmp(l->watch, argv[1]) != 0) {
            abort();
        }

        snprintf(l->watch, sizeof(l->watch), "%s", argv[1]);
        answer(l, "+OK\r\n");

    } else if (strcmp(verb, "UNWATCH") == 0) {
        l->watch[0] = '\0';
        l->dirty = 0;
        answer(l, "+OK\r\n");

    } else if (strcmp(verb, "TYPE") == 0) {

        for (i = 0; i < server.data.nentries; i++) {
            if (strcmp(server.data.entries[i].key, argv[1]) == 0) {
                break;
            }
        }

        answer(l, "+%s\r\n", server.type != NULL ? server.type
                             : i < server.data.nentries ? "stream" : "none");

    } else if (strcmp(verb, "INFO") == 0) {
        answer(l, "$%zu\r\n# Server\r\nredis_version:7.0.15\r\n"
               "run_id:%s\r\n# Memory\r\nmaxmemory_policy:%s\r\n"
               "# %*s\r\nmaster_replid:%s\r\n\r\n",
               sizeof("# Server\r\nredis_version:7.0.15\r\nrun_id:\r\n"
                      "# Memory\r\nmaxmemory_policy:\r\n"
                      "# \r\nmaster_replid:\r\n") - 1
               + strlen(server.run_id) + strlen(server.policy)
               + (size_t) server.padding + strlen(server.replid),
               server.run_id, server.policy, server.padding, "",
               server.replid);

    } else if (strcmp(verb, "ROLE") == 0) {
        answer(l, "*3\r\n$%zu\r\n%s\r\n:42\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n"
               "$4\r\n9001\r\n$1\r\n1\r\n", strlen(server.role),
               server.role);

    } else if (strcmp(verb, "MULTI") == 0) {
        l->multi = 1;
        l->aborted = 0;
        l->nqueue = 0;
        l->ntext = 0;
        answer(l, "+OK\r\n");

    } else if (strcmp(verb, "EXEC") == 0) {
        answer(l, "-ERR EXEC without MULTI\r\n");

    } else if (strcmp(verb, "XTRIM") == 0) {
        server.trims++;
        snprintf(server.trim, sizeof(server.trim), "%s %s %s %s", argv[1],
                 argv[2], argv[3], argv[4]);
        answer(l, ":0\r\n");

    } else if (strcmp(verb, "PING") == 0) {
        answer(l, "+PONG\r\n");

    } else if (strcmp(verb, "CLIENT") == 0 || strcmp(verb, "SELECT") == 0
               || strcmp(verb, "AUTH") == 0)
    {
        answer(l, "+OK\r\n");

    } else {
        abort();
    }
}


/* executes the complete commands among the first n bytes */

static inline void
serve(link_t *l)
{
    int      argc;
    char    *argv[ARGS], store[16384];
    size_t   n;

    for ( ;; ) {
        n = split(l->in, l->nin, argv, &argc, store, sizeof(store));

        if (n == 0) {
            return;
        }

        if (fails(argv[0], server.fail_verb)) {
            l->aborted = 1;
            answer(l, "-%s\r\n", server.fail_text);

        } else if (l->multi && strcmp(argv[0], "WATCH") == 0) {
            answer(l, "-ERR WATCH inside MULTI is not allowed\r\n");

        } else if (l->multi && strcmp(argv[0], "EXEC") != 0) {
            memcpy(l->text + l->ntext, l->in, n);
            l->queue[l->nqueue++] = l->ntext;
            l->ntext += n;
            answer(l, "+QUEUED\r\n");

        } else if (l->multi) {
            execute_all(l);

        } else {
            execute(l, argv, argc);
        }

        memmove(l->in, l->in + n, l->nin - n);
        l->nin -= n;
    }
}


#endif /* MAILPING_TEST_REDIS_H */
