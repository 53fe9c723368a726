
/*
 * Copyright (C) MailPing
 */


/*
 * The Redis conversation against a Redis written here: each row of the
 * decision table, each class of errors, replies cut at each byte, and seeded
 * rounds of connection cuts, late bytes, kills and data loss, after which
 * each record must be in its stream once and in order.
 */


#include "core/producer.h"

#include "tap.h"


#define STORAGE     (32768 * 24)
#define LINKS       8
#define MARKS       8
#define ENTRIES     16384
#define BUFFER      (512 * 1024)
#define COMMANDS    600
#define ARGS        64


typedef struct {
    char        key[MAILPING_KEY_MAX];
    char        value[64];
    int         set;
} mark_t;


/* an entry is known by its "<producer>/<seq>" */

typedef struct {
    char        key[MAILPING_KEY_MAX];
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
    char        watch[MAILPING_KEY_MAX];
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
    int         trims;
    char        trim[80];              /* arguments of the last XTRIM */
    uint64_t    id;
} server_t;


typedef struct {
    mailping_producer_t       *producer;
    mailping_producer_conf_t   conf;
    mailping_ring_t           *ring;
    mailping_source_t          source[4];
    uint32_t                   partitions;
    link_t                    *link;
    uint8_t                    image[STORAGE];
    uint64_t                   now;
    uint64_t                   skew;       /* our time of day is ahead */
    uint64_t                   reports[16];
    uint64_t                   appended[4];
    char                       text[MAILPING_PRODUCER_TEXT];
    int                        failed;
} world_t;


static server_t   server;
static world_t    world;
static uint32_t   seed;


static int
contains(mailping_str_t s, const char *word)
{
    size_t  i, n;

    n = strlen(word);

    for (i = 0; i + n <= s.len; i++) {
        if (memcmp(s.data + i, word, n) == 0) {
            return 1;
        }
    }

    return 0;
}


static uint32_t
chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;

    return (seed >> 8) % n;
}


/* storage in memory */

static int
memory_pread(void *data, void *buf, size_t n, uint64_t offset)
{
    memcpy(buf, (uint8_t *) data + offset, n);

    return 0;
}


static int
memory_pwrite(void *data, const void *buf, size_t n, uint64_t offset)
{
    memcpy((uint8_t *) data + offset, buf, n);

    return 0;
}


static int
memory_sync(void *data)
{
    (void) data;

    return 0;
}


/* the server */

static void
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


static void
server_reset(void)
{
    memset(&server, 0, sizeof(server));

    server.policy = "noeviction";
    server.role = "master";
    server.id = 1700000000000;

    server_identity(1, 1);
}


static mark_t *
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


static void
server_touch(const char *key)
{
    int  i;

    for (i = 0; i < LINKS; i++) {
        if (strcmp(server.links[i].watch, key) == 0 && !server.nofence) {
            server.links[i].dirty = 1;
        }
    }
}


static void
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


static void __attribute__((format(printf, 2, 3)))
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

static size_t
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


static int
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


static void execute(link_t *l, char **argv, int argc);


static void
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


static void
execute(link_t *l, char **argv, int argc)
{
    int          i;
    char         info[512];
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
        i = snprintf(info, sizeof(info), "# Server\r\nredis_version:7.0.15\r\n"
                     "run_id:%s\r\n# Memory\r\nmaxmemory_policy:%s\r\n"
                     "# Replication\r\nmaster_replid:%s\r\n", server.run_id,
                     server.policy, server.replid);
        answer(l, "$%d\r\n%s\r\n", i, info);

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

static void
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


/* the client's side */

static void
report(void *data, mailping_producer_event_e what, mailping_source_t *source,
    uint64_t n, const char *text)
{
    world_t  *w;

    (void) source;

    w = data;
    w->reports[what] += n;

    if (text != NULL) {
        snprintf(w->text, sizeof(w->text), "%s", text);
    }
}


static void
ring_open(int format)
{
    int                     rc;
    const char             *why;
    mailping_storage_t      storage;
    mailping_ring_params_t  params;

    memset(&params, 0, sizeof(params));
    memset(params.uuid, 0xab, 16);
    params.size = STORAGE;
    params.device = 1;
    params.inode = 2;
    params.partitions = world.partitions;
    params.prefix = world.conf.prefix;

    storage.pread = memory_pread;
    storage.pwrite = memory_pwrite;
    storage.sync = memory_sync;
    storage.data = world.image;

    why = NULL;

    if (format) {
        rc = mailping_ring_format(&storage, &params);

        if (rc != MAILPING_OK) {
            abort();
        }
    }

    rc = mailping_ring_open(world.ring, &storage, &params, &why);

    if (rc != MAILPING_OK) {
        printf("# ring: %s\n", why != NULL ? why : "error");
        abort();
    }
}


static void
producer_open(void)
{
    uint32_t  i;

    world.producer = mailping_producer_create(&world.conf, report, &world);

    for (i = 0; i < world.partitions; i++) {
        mailping_producer_attach(world.producer, &world.source[i], world.ring,
                                 i);
    }
}


static void
world_open(uint32_t partitions)
{
    static const mailping_str_t  prefix = mailping_string("mp");
    static const mailping_str_t  name = mailping_string("test");

    server_reset();
    memset(&world, 0, sizeof(world));

    world.conf.prefix = prefix;
    world.conf.name = name;
    world.conf.partitions = partitions;
    world.conf.batch = 64;
    world.conf.retain = 1000000;
    world.partitions = partitions;
    world.now = 1000;

    world.ring = malloc(sizeof(mailping_ring_t));

    ring_open(1);
    producer_open();
}


static void
world_close(void)
{
    mailping_producer_destroy(world.producer);
    free(world.ring);
}


static void
append(uint32_t partition)
{
    uint8_t            payload[MAILPING_EVENT_PAYLOAD_MAX];
    mailping_loss_t    loss;
    mailping_record_t  record;

    memset(&loss, 0, sizeof(loss));
    memset(&record, 0, sizeof(record));

    loss.count = 1;

    record.type = MAILPING_RECORD_LOSS;
    record.version = MAILPING_EVENT_VERSION;
    record.partition = partition;
    record.time = 1700000000000;
    record.payload.data = payload;
    record.payload.len = mailping_loss_encode(&loss, payload);

    if (mailping_ring_append(world.ring, &record) != MAILPING_OK) {
        abort();
    }

    world.appended[partition]++;
}


static void
append_n(uint32_t partition, int n)
{
    while (n--) {
        append(partition);
    }
}


static void
link_open(void)
{
    int  i;

    for (i = 0; i < LINKS; i++) {
        if (!server.links[i].open) {
            world.link = &server.links[i];
            memset(world.link, 0, sizeof(link_t));
            world.link->open = 1;
            world.failed = 0;
            mailping_producer_start(world.producer, world.now);
            return;
        }
    }

    abort();
}


/* what is on its way to the server is lost, but for the first keep bytes */

static void
link_cut(size_t keep)
{
    if (world.link == NULL) {
        return;
    }

    if (keep < world.link->nin) {
        world.link->nin = keep;
    }

    serve(world.link);

    world.link->open = 0;
    world.link->watch[0] = '\0';
    world.link = NULL;

    mailping_producer_lost(world.producer);
}


/* moves bytes of the client to the server's input, which has not read them */

static size_t
push(size_t max)
{
    mailping_str_t  output;

    output = mailping_producer_output(world.producer);

    if (output.len > max) {
        output.len = max;
    }

    memcpy(world.link->in + world.link->nin, output.data, output.len);
    world.link->nin += output.len;
    mailping_producer_sent(world.producer, output.len);

    return output.len;
}


static size_t
pull(size_t max)
{
    int      rc;
    size_t   n;
    uint8_t  *data;

    n = world.link->nout < max ? world.link->nout : max;

    if (n == 0) {
        return 0;
    }

    /* a copy of its own size lets the sanitizer see each byte too many */

    data = malloc(n);
    memcpy(data, world.link->out, n);

    rc = mailping_producer_receive(world.producer, data, n, world.now,
                                   server.id + world.skew);
    free(data);

    memmove(world.link->out, world.link->out + n, world.link->nout - n);
    world.link->nout -= n;

    if (rc != MAILPING_OK) {
        world.failed = 1;
    }

    return n;
}


/* runs until nothing more happens or ms have passed */

static void
run(uint64_t ms, size_t chunk)
{
    int       wait;
    uint64_t  end;

    end = world.now + ms;

    for ( ;; ) {

        if (world.failed) {
            return;
        }

        wait = mailping_producer_work(world.producer, world.now,
                                      server.id + world.skew);

        if (wait == 0) {
            push(chunk);
            serve(world.link);
            continue;
        }

        serve(world.link);

        if (pull(chunk) != 0) {
            continue;
        }

        if (wait < 0 || world.now + (uint64_t) wait > end) {
            return;
        }

        world.now += (uint64_t) wait;
    }
}


/* whether each stream holds 1 to n, in order, each once */

static int
exact(int quiet)
{
    int       i;
    char      event[80];
    uint32_t  partition;
    uint64_t  seq[4];

    memset(seq, 0, sizeof(seq));

    for (i = 0; i < server.data.nentries; i++) {

        for (partition = 0; partition < world.partitions; partition++) {
            snprintf(event, sizeof(event), "%s/%" PRIu64,
                     world.source[partition].producer, seq[partition] + 1);

            if (strcmp(server.data.entries[i].event, event) == 0
                && strncmp(server.data.entries[i].key,
                           world.source[partition].stream,
                           world.source[partition].stream_len) == 0)
            {
                seq[partition]++;
                break;
            }
        }

        if (partition == world.partitions) {
            if (!quiet) {
                printf("# entry %d is %s\n", i, server.data.entries[i].event);
            }

            return 0;
        }
    }

    for (partition = 0; partition < world.partitions; partition++) {
        if (seq[partition] != world.appended[partition]) {

            if (!quiet) {
                printf("# partition %u: %" PRIu64 " of %" PRIu64 "\n",
                       partition, seq[partition], world.appended[partition]);
            }

            return 0;
        }
    }

    return 1;
}


static const char *
mark_key(uint32_t partition)
{
    static char  key[MAILPING_KEY_MAX + 1];

    snprintf(key, sizeof(key), "%.*s",
             (int) world.source[partition].mark_len,
             world.source[partition].mark);

    return key;
}


static const char *
mark_value(uint32_t partition)
{
    mark_t  *mark;

    mark = server_mark(mark_key(partition));

    return mark != NULL ? mark->value : "none";
}


/* the tests */

static void
test_straight(void)
{
    static const char  greeting[] =
        "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$4\r\ntest\r\n"
        "*1\r\n$4\r\nROLE\r\n*1\r\n$4\r\nINFO\r\n*1\r\n$5\r\nMULTI\r\n"
        "*1\r\n$4\r\nEXEC\r\n";

    mailping_str_t  output;

    world_open(1);
    append_n(0, 3);
    link_open();

    output = mailping_producer_output(world.producer);
    is_str(output.data, output.len, greeting, "greeting");
    ok(mailping_producer_busy(world.producer), "busy while greeting");
    ok(!mailping_producer_ready(world.producer), "not ready before");

    run(10, BUFFER);

    ok(mailping_producer_ready(world.producer), "ready after the handshake");
    is_str(world.text, strlen(world.text), "7.0.15", "version is reported");
    is_int(world.reports[MAILPING_PRODUCER_ACKNOWLEDGED], 3, "three records");
    ok(exact(0), "they are in the stream");
    is_str(mark_value(0), strlen(mark_value(0)), "3", "and the mark says so");
    is_int(mailping_ring_undelivered(world.ring), 0, "nothing is left");
    is_int(mailping_producer_work(world.producer, world.now, server.id), -1,
           "nothing to do");

    mailping_producer_ping(world.producer, world.now);
    output = mailping_producer_output(world.producer);
    is_str(output.data, output.len, "*1\r\n$4\r\nPING\r\n", "ping");
    run(10, BUFFER);
    ok(!world.failed && !mailping_producer_busy(world.producer), "pong");

    server.fail_verb = "PING";
    server.fail_text = "MISCONF Errors writing to the AOF file";
    mailping_producer_ping(world.producer, world.now);
    run(10, BUFFER);
    ok(!world.failed, "MISCONF to PING is no failure");

    world_close();
}


static void
test_auth(void)
{
    static const char  greeting[] =
        "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$2\r\npw\r\n"
        "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$4\r\ntest\r\n"
        "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n"
        "*1\r\n$4\r\nROLE\r\n*1\r\n$4\r\nINFO\r\n*1\r\n$5\r\nMULTI\r\n"
        "*1\r\n$4\r\nEXEC\r\n";

    static const mailping_str_t  user = mailping_string("u");
    static const mailping_str_t  password = mailping_string("pw");

    mailping_str_t  output;

    world_open(1);
    world.conf.user = user;
    world.conf.password = password;
    world.conf.database = 7;
    link_open();

    output = mailping_producer_output(world.producer);
    is_str(output.data, output.len, greeting, "greeting with AUTH and SELECT");
    run(10, BUFFER);
    ok(mailping_producer_ready(world.producer), "accepted");

    world_close();
}


/* one delivery with every reply and request in pieces of n bytes */

static void
test_split(void)
{
    size_t  n;
    int     good;

    good = 0;

    for (n = 1; n <= 64; n++) {
        world_open(2);
        append_n(0, 70);
        append_n(1, 5);
        link_open();
        run(100, n);

        if (exact(0) && world.reports[MAILPING_PRODUCER_ACKNOWLEDGED] == 75) {
            good++;
        }

        world_close();
    }

    is_int(good, 64, "requests and replies in pieces of 1 to 64 bytes");
}


static void
test_rhythm(void)
{
    world_open(1);
    link_open();
    run(10, BUFFER);
    world.now += 100;

    append(0);
    is_int(mailping_producer_work(world.producer, world.now, server.id), 0,
           "the first record goes at once");
    run(0, BUFFER);

    append(0);
    is_int(mailping_producer_work(world.producer, world.now, server.id), 2,
           "the second waits for 2 ms");
    append_n(0, 126);
    is_int(mailping_producer_work(world.producer, world.now + 1, server.id),
           1, "127 records wait");
    append(0);
    is_int(mailping_producer_work(world.producer, world.now + 1, server.id),
           0, "128 do not");
    is_int(mailping_producer_inflight(world.producer), 64,
           "a batch has no more records than configured");
    is_int(mailping_producer_detach(world.producer, &world.source[0]),
           MAILPING_AGAIN, "a source in flight is not detached");
    run(10, BUFFER);
    ok(exact(0), "all arrive");
    is_int(mailping_producer_detach(world.producer, &world.source[0]),
           MAILPING_OK, "an idle source is");

    mailping_producer_attach(world.producer, &world.source[0], world.ring, 0);
    append(0);
    run(10, BUFFER);
    ok(exact(0) && !world.failed, "and may come back on this connection");

    world_close();
}


typedef struct {
    const char                 *name;
    const char                 *mark;       /* set by somebody, "" = deleted */
    int                         restart;
    int                         promotion;
    mailping_producer_event_e   what;
    uint64_t                    n;
    const char                 *result;
    int                         entries;
} row_t;


/* ten records acknowledged; then the mark is another one */

static void
test_table(int in_flight)
{
    size_t        i;
    const row_t  *row;

    static const row_t  rows[] = {
        { "gone, same server", "", 0, 0,
          MAILPING_PRODUCER_RESTORED, 1, "11", 11 },
        { "lower, same server", "4", 0, 0,
          MAILPING_PRODUCER_RESTORED, 1, "11", 11 },
        { "lower, restarted", "4", 1, 0,
          MAILPING_PRODUCER_REWOUND, 6, "11", 17 },
        { "lower, promoted", "4", 0, 1,
          MAILPING_PRODUCER_REWOUND, 6, "11", 17 },
        { "gone, restarted", "", 1, 1,
          MAILPING_PRODUCER_REWOUND, 10, "11", 21 },
        { "ahead", "11", 0, 0,
          MAILPING_PRODUCER_ADVANCED, 1, "11", 10 },
        { "above the head", "12", 0, 0,
          MAILPING_PRODUCER_STOPPED, 1, "12", 10 },
        { "no number", "1x", 0, 0,
          MAILPING_PRODUCER_STOPPED, 1, "1x", 10 },
        { "equal, restarted", "10", 1, 1,
          MAILPING_PRODUCER_ACKNOWLEDGED, 11, "11", 11 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        row = &rows[i];

        world_open(1);
        append_n(0, 10);
        link_open();
        run(10, BUFFER);

        server_identity(row->restart, row->promotion);

        if (!in_flight) {
            link_cut(0);
        }

        server_set(mark_key(0), row->mark[0] != '\0' ? row->mark : NULL);
        append(0);

        if (!in_flight) {
            link_open();
        }

        run(100, BUFFER);

        is_int(world.reports[row->what], row->n, "%s%s: reported", row->name,
               in_flight ? ", found by EXEC" : "");
        is_str(mark_value(0), strlen(mark_value(0)), row->result,
               "%s: the mark", row->name);
        is_int(server.data.nentries, row->entries, "%s: the entries",
               row->name);

        world_close();
    }
}


/* what a check learns is remembered, and what is expected is compared */

static void
test_memory(void)
{
    world_open(1);
    append_n(0, 10);
    link_open();
    run(10, BUFFER);

    server_identity(1, 1);
    link_cut(0);
    link_open();
    run(10, BUFFER);
    link_cut(0);
    server_set(mark_key(0), NULL);
    link_open();
    run(10, BUFFER);

    is_int(world.reports[MAILPING_PRODUCER_RESTORED], 1,
           "a mark deleted after a restart without loss is set again");
    ok(exact(0), "and nothing is sent again");
    world_close();

    /* the source that is not watched moves: bytes of an older connection */

    world_open(2);
    append_n(0, 10);
    link_open();
    run(10, BUFFER);
    append(1);
    run(10, BUFFER);
    append(1);
    run(10, BUFFER);

    append(0);
    server_set(mark_key(0), "11");
    run(10, BUFFER);

    is_int(world.reports[MAILPING_PRODUCER_ADVANCED], 1,
           "a mark that moved while another one was watched");
    is_int(server.data.nentries, 12, "its record is not sent again");
    world_close();
}


static void
test_trim(void)
{
    int             i;
    char            expected[80];
    mailping_str_t  output;

    world_open(1);
    link_open();
    run(10, BUFFER);

    append(0);
    run(10, BUFFER);
    is_int(server.trims, 0, "no trimming before the server's clock is known");

    world.skew = 86400000;
    append(0);
    run(10, BUFFER);
    snprintf(expected, sizeof(expected), "mp:opens MINID ~ %" PRIu64,
             server.id - 2 - world.conf.retain);
    is_int(server.trims, 1, "then with the next batch");
    is_str(server.trim, strlen(server.trim), expected,
           "by the older one of two clocks");

    append(0);
    world.now += 900;
    run(10, BUFFER);
    is_int(server.trims, 1, "not twice in a second");

    append(0);
    world.now += 100;
    run(10, BUFFER);
    is_int(server.trims, 2, "but after it");

    for (i = 0; i < 80; i++) {
        append_n(0, 64);
        world.now += 2;
        run(0, BUFFER);
    }

    is_int(server.trims, 3, "and after 5000 records");

    world.conf.maxlen = 1000;
    world.now += 2000;
    append(0);
    run(10, BUFFER);
    is_int(server.trims, 5, "by age and by number");
    is_str(server.trim, strlen(server.trim), "mp:opens MAXLEN ~ 1000",
           "of entries");

    world.conf.maxlen = 0;
    world.conf.retain = 0;
    world.now += 2000;
    append(0);
    (void) mailping_producer_work(world.producer, world.now, server.id);
    output = mailping_producer_output(world.producer);
    ok(!contains(output, "XTRIM"), "or not at all");
    ok(!contains(output, "UNWATCH"), "no UNWATCH after EXEC");
    run(10, BUFFER);
    ok(exact(0), "all delivered");

    world_close();
}


/* records that Redis lost and the ring has overwritten are skipped, counted */

static void
test_missing(void)
{
    int  i;

    world_open(1);
    link_open();

    for (i = 0; i < 240; i++) {
        append_n(0, 64);
        run(20, BUFFER);
        server.data.nentries = 0;
    }

    link_cut(0);
    server_set(mark_key(0), "5");
    server_identity(1, 1);
    append(0);
    link_open();
    run(100, BUFFER);

    ok(world.reports[MAILPING_PRODUCER_MISSING] > 0, "some are gone");
    is_int(world.reports[MAILPING_PRODUCER_MISSING] + server.data.nentries,
           240 * 64 + 1 - 5, "the others are sent again");
    is_int(world.reports[MAILPING_PRODUCER_REWOUND],
           server.data.nentries - 1, "and counted");
    is_str(mark_value(0), strlen(mark_value(0)), "15361", "the mark is right");

    world_close();
}


typedef struct {
    const char              *verb;
    const char              *text;
    mailping_redis_error_e   class;
    int                      closes;
} error_t;


static void
test_errors(void)
{
    int             alive;
    size_t          i;
    const char     *text;
    const error_t  *e;

    static const error_t  errors[] = {
        { "XADD", "OOM command not allowed when used memory > 'maxmemory'.",
          MAILPING_REDIS_RETRY, 0 },
        { "SET", "MISCONF Redis is configured to save RDB snapshots",
          MAILPING_REDIS_RETRY, 0 },
        { "MULTI", "LOADING Redis is loading the dataset in memory",
          MAILPING_REDIS_RETRY, 0 },
        { "GET", "LOADING Redis is loading the dataset in memory",
          MAILPING_REDIS_RETRY, 0 },
        { "WATCH", "BUSY Redis is busy running a script.",
          MAILPING_REDIS_RETRY, 0 },
        { "INFO", "BUSY Redis is busy running a script.",
          MAILPING_REDIS_RETRY, 0 },
        { "TYPE", "MASTERDOWN Link with MASTER is down",
          MAILPING_REDIS_RETRY, 0 },
        { "XADD", "NOREPLICAS Not enough good replicas to write.",
          MAILPING_REDIS_RETRY, 0 },
        { "XADD", "TRYAGAIN Multiple keys request during rehashing of slot",
          MAILPING_REDIS_RETRY, 0 },
        { "XADD", "ASK 3999 127.0.0.1:6381", MAILPING_REDIS_RETRY, 0 },
        { "XADD", "CLUSTERDOWN Hash slot not served",
          MAILPING_REDIS_RETRY, 0 },
        { "XADD", "READONLY You can't write against a read only replica.",
          MAILPING_REDIS_MOVED, 1 },
        { "XADD", "MOVED 3999 127.0.0.1:6381", MAILPING_REDIS_MOVED, 1 },
        { "XADD", "NOPERM this user has no permissions to run 'xadd'",
          MAILPING_REDIS_AUTH, 1 },
        { "MULTI", "NOPERM this user has no permissions to run 'multi'",
          MAILPING_REDIS_AUTH, 1 },
        { "ROLE", "NOAUTH Authentication required.", MAILPING_REDIS_AUTH, 1 },
        { "ROLE", "DENIED Redis is running in protected mode",
          MAILPING_REDIS_AUTH, 1 },
        { "EXEC", "ERR unknown command 'EXEC'", MAILPING_REDIS_UNFIT, 1 },
        { "XADD", "CROSSSLOT Keys in request don't hash to the same slot",
          MAILPING_REDIS_UNFIT, 1 },
        { "XADD", "ERR something never heard of", MAILPING_REDIS_PROTOCOL, 1 }
    };

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        e = &errors[i];

        world_open(1);
        append_n(0, 10);

        server.fail_verb = e->verb;
        server.fail_text = e->text;

        link_open();
        run(10, BUFFER);

        alive = !world.failed;

        is_int(mailping_producer_error(world.producer, &text), e->class,
               "%s: %.20s: class %s", e->verb, e->text,
               mailping_redis_error_name(e->class));
        is_str(text, strlen(text), e->text, "%s: its words", e->verb);
        is_int(alive, !e->closes, "%s: connection", e->verb);

        server.fail_verb = NULL;

        if (!alive) {
            link_cut(0);
            link_open();
        }

        run(10000, BUFFER);
        ok(exact(0) && mailping_ring_undelivered(world.ring) == 0,
           "%s: all delivered once it has passed", e->verb);

        world_close();
    }

    world_open(1);
    append_n(0, 10);
    server.fail_exec = "OOM command not allowed";
    link_open();
    run(10, BUFFER);
    is_int(mailping_producer_error(world.producer, &text),
           MAILPING_REDIS_RETRY, "EXECABORT because of: OOM");
    ok(mailping_producer_work(world.producer, world.now, server.id) > 60,
       "is retried after a while");
    run(60000, BUFFER);
    ok(mailping_producer_work(world.producer, world.now, server.id) > 3700,
       "a longer one each time");
    ok(mailping_producer_work(world.producer, world.now, server.id) <= 5000,
       "up to 5 seconds");
    server.fail_exec = NULL;
    run(6000, BUFFER);
    ok(exact(0), "and nothing is lost");
    world_close();

    world_open(2);
    append_n(0, 10);
    server.fail_verb = "XADD";
    server.fail_text = "ERR something never heard of";

    for (i = 0; i < 3; i++) {
        link_open();
        run(1000, BUFFER);
        if (world.failed) {
            link_cut(0);
        }
    }

    is_int(world.source[0].state, MAILPING_SOURCE_STOPPED,
           "refused three times for an unknown reason: stopped");
    ok(!world.failed, "and the connection lives for the others");
    server.fail_verb = NULL;
    append_n(1, 3);
    run(100, BUFFER);
    is_int(server.data.nentries, 3, "which deliver");
    world_close();
}


static void
test_unfit(void)
{
    const char  *text;

    world_open(1);
    server.policy = "allkeys-lru";
    link_open();
    run(10, BUFFER);
    is_int(mailping_producer_error(world.producer, &text),
           MAILPING_REDIS_UNFIT, "eviction of any key: unfit");
    world_close();

    world_open(1);
    server.policy = "volatile-lru";
    link_open();
    run(10, BUFFER);
    ok(!world.failed, "eviction of volatile keys: fit");
    world_close();

    world_open(1);
    server.role = "slave";
    link_open();
    run(10, BUFFER);
    is_int(mailping_producer_error(world.producer, &text),
           MAILPING_REDIS_UNFIT, "a replica: unfit");
    world_close();

    world_open(1);
    server.run_id[3] = 'x';
    link_open();
    run(10, BUFFER);
    is_int(mailping_producer_error(world.producer, &text),
           MAILPING_REDIS_UNFIT, "no identity: unfit");
    world_close();

    world_open(1);
    server.fail_verb = "CLIENT";
    server.fail_text = "NOPERM no permissions";
    link_open();
    run(10, BUFFER);
    ok(mailping_producer_ready(world.producer), "a name is not needed");
    world_close();

    world_open(1);
    server.fail_verb = "ROLE";
    server.fail_text = "ERR unknown command 'ROLE'";
    link_open();
    run(10, BUFFER);
    ok(mailping_producer_ready(world.producer), "nor is ROLE");
    world_close();

    world_open(1);
    server.type = "string";
    append(0);
    link_open();
    run(10, BUFFER);
    is_int(world.source[0].state, MAILPING_SOURCE_STOPPED,
           "a key of another type: stopped");
    is_int(server.data.nentries, 0, "nothing sent");
    ok(!world.failed, "the connection lives");
    server.type = NULL;
    link_cut(0);
    link_open();
    run(10, BUFFER);
    ok(exact(0), "the next connection tries again");
    world_close();
}


/* SET succeeds and XADD does not: the mark must be set back */

static void
test_inside(int after, int cut)
{
    char         expected[8];
    const char  *text;

    world_open(1);
    append_n(0, 10);
    link_open();
    run(10, BUFFER);

    append_n(0, 10);
    server.fail_inside = "XADD";
    server.fail_after = after;
    server.fail_text = "WRONGTYPE Operation against a key holding the wrong "
                       "kind of value";

    if (cut) {

        /* the reply to EXEC is the last that this connection sees */

        world.now += 100;
        mailping_producer_work(world.producer, world.now, server.id);
        push(BUFFER);
        serve(world.link);
        pull(world.link->nout - 6);
        is_str(mark_value(0), strlen(mark_value(0)), "20", "mark is wrong");
        link_cut(0);
        link_open();
    }

    run(100, BUFFER);

    is_int(world.source[0].state, MAILPING_SOURCE_STOPPED,
           "an error inside EXEC stops the source");
    ok(strstr(world.source[0].alert, "WRONGTYPE") != NULL, "and says why");
    snprintf(expected, sizeof(expected), "%d", 10 + after);
    is_str(mark_value(0), strlen(mark_value(0)), expected,
           "the mark is set back");
    is_int(server.data.nentries, 10 + after, "as many entries");
    is_int(world.ring->part[0].acked, 10 + after, "as many acknowledged");

    server.fail_inside = NULL;
    link_cut(0);
    link_open();
    run(100, BUFFER);
    ok(exact(0), "nothing is lost, nothing doubled");
    world_close();

    /* rights withdrawn between queueing and EXEC */

    world_open(1);
    append_n(0, 10);
    server.fail_inside = "XADD";
    server.fail_after = after;
    server.fail_text = "NOPERM this user has no permissions";
    link_open();
    run(100, BUFFER);
    is_int(mailping_producer_error(world.producer, &text),
           MAILPING_REDIS_AUTH, "NOPERM inside EXEC");
    link_cut(0);
    link_open();
    server.fail_inside = NULL;
    run(100, BUFFER);
    ok(exact(0), "given back: nothing is lost, nothing doubled");
    is_int(world.source[0].state, MAILPING_SOURCE_READY, "and not stopped");
    world_close();

    world_open(1);
    append_n(0, 10);
    server.fail_inside = "SET";
    server.fail_text = "NOPERM this user has no permissions";
    link_open();
    run(100, BUFFER);
    link_cut(0);
    link_open();
    server.fail_inside = NULL;
    run(100, BUFFER);
    ok(exact(0), "the same for SET");
    is_str(mark_value(0), strlen(mark_value(0)), "10", "with the right mark");
    world_close();

    world_open(1);
    append_n(0, 10);
    link_open();
    run(100, BUFFER);
    server.fail_inside = "XTRIM";
    server.fail_text = "NOPERM this user has no permissions";
    world.now += 2000;
    append_n(0, 10);
    run(100, BUFFER);
    ok(exact(0) && !world.failed, "an error of XTRIM costs nothing");
    is_int(world.reports[MAILPING_PRODUCER_FAILED], 1, "but is told");
    world_close();
}


/* MULTI refused while the rest is not: Redis executes the commands singly */

static void
test_refused(void)
{
    int          n, good;
    const char  *text;

    good = 0;

    for (n = 0; n < 12; n++) {
        world_open(1);
        append_n(0, 10);
        link_open();
        run(100, BUFFER);
        append_n(0, 10);

        server.fail_verb = n % 2 ? "XADD" : "MULTI";
        server.fail_text = "NOPERM this user has no permissions";
        server.fail_after = n % 2 ? n / 2 : 0;

        run(100, BUFFER);

        if (mailping_producer_error(world.producer, &text)
            != MAILPING_REDIS_AUTH)
        {
            break;
        }

        server.fail_verb = NULL;
        server.fail_after = 0;
        link_cut(0);
        link_open();
        run(100, BUFFER);
        good += exact(0);
        world_close();
    }

    is_int(good, 12, "rights withdrawn at several points, nothing doubled");
}


static void
test_garbage(void)
{
    size_t       i, n;
    int          rc;
    const char  *text;
    uint8_t     *data;

    static const char *const  garbage[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "*2147483647\r\n",
        "*4294967297\r\n",
        "$-2\r\n",
        "+OK\r\n+OK\r\n",
        "+OK\r\n:1\r\n",
        "+OK\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
        ":1\r\n",
        "+OK\r\n*1\r\n$6\r\nmaster\r\n$-1\r\n",
        "+OK\r\n*1\r\n$6\r\nmaster\r\n$0\r\n\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "\r\n",
        "$5\r\nabcdefgh\r\n"
    };

    for (i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        world_open(1);
        append(0);
        link_open();
        push(BUFFER);

        n = strlen(garbage[i]);
        memcpy(world.link->out, garbage[i], n);
        world.link->nout = n;

        while (!world.failed && pull(1) != 0) {
            /* void */
        }

        ok(world.failed, "garbage %zu closes the connection", i);
        is_int(mailping_producer_receive(world.producer,
                                         (const uint8_t *) "+OK\r\n", 5,
                                         world.now, server.id),
               MAILPING_ERROR, "and nothing more is taken");

        link_cut(0);
        link_open();
        run(100, BUFFER);
        ok(exact(0), "the next connection delivers");
        world_close();
    }

    world_open(1);
    link_open();
    push(BUFFER);

    data = malloc(65536);
    memset(data, 'x', 65536);
    memcpy(data, "$9999999999\r\n", 13);

    rc = MAILPING_OK;

    for (i = 0; i < 100 && rc == MAILPING_OK; i++) {
        rc = mailping_producer_receive(world.producer, data, 65536, world.now,
                                       server.id);
        memset(data, 'x', 13);
    }

    ok(rc == MAILPING_ERROR && i < 6, "an endless reply is cut off");
    is_int(mailping_producer_error(world.producer, &text),
           MAILPING_REDIS_PROTOCOL, "as a protocol error");

    free(data);
    world_close();

    world_open(1);
    link_open();
    run(100, BUFFER);
    memcpy(world.link->out, "+OK\r\n", 5);
    world.link->nout = 5;
    pull(BUFFER);
    ok(world.failed, "a reply to no command closes the connection");
    world_close();
}


/* the reply to a batch is cut at each byte, and the request likewise */

static void
test_cuts(void)
{
    int     good;
    size_t  n, total;

    good = 0;
    total = 1;

    for (n = 0; n < total; n++) {
        world_open(1);
        link_open();
        run(100, BUFFER);
        append_n(0, 5);
        mailping_producer_work(world.producer, world.now, server.id);
        push(BUFFER);
        serve(world.link);
        total = world.link->nout;
        pull(n);
        link_cut(0);
        append_n(0, 2);
        link_open();
        run(100, BUFFER);
        good += exact(0);
        world_close();
    }

    is_int(good, total, "a reply cut at each of its bytes");

    good = 0;
    total = 1;

    for (n = 0; n < total; n++) {
        world_open(1);
        link_open();
        run(100, BUFFER);
        append_n(0, 5);
        mailping_producer_work(world.producer, world.now, server.id);
        total = mailping_producer_output(world.producer).len;
        push(n);
        link_cut(n);
        append_n(0, 2);
        link_open();
        run(100, BUFFER);
        good += exact(0);
        world_close();
    }

    is_int(good, total, "a request cut at each of its bytes");
}


/*
 * One seeded round.  Connections are cut at random bytes; what was on its way
 * to the server is lost, executed, or arrives while a later connection is at
 * work; the process is killed; Redis restarts with older data.
 */

static int
test_round(uint32_t number, int nofence)
{
    int     i, wait, result;
    link_t  *late;

    seed = number;

    world_open(1 + chance(2));

    world.conf.batch = 1 + chance(64);
    server.nofence = nofence;
    server.saved = server.data;

    for (i = 0; i < 300; i++) {

        if (world.link == NULL) {
            link_open();
        }

        switch (chance(14)) {

        case 0:
        case 1:
            append_n(chance(world.partitions), 1 + (int) chance(5));
            break;

        case 2:
        case 3:
        case 4:
            wait = mailping_producer_work(world.producer, world.now,
                                          server.id);
            if (wait > 0) {
                world.now += (uint64_t) wait;
            }
            break;

        case 5:
        case 6:
            push(1 + chance(4000));
            break;

        case 7:
            push(BUFFER);
            serve(world.link);
            break;

        case 8:
        case 9:
            pull(1 + chance(1000));
            break;

        case 10:
            pull(BUFFER);
            break;

        case 11:
            if (chance(4) == 0) {
                push(BUFFER);
                link_cut(chance((uint32_t) world.link->nin + 1));

            } else if (chance(2) == 0) {

                /* given up, but its bytes are still on their way */

                push(BUFFER);
                world.link = NULL;
                mailping_producer_lost(world.producer);
            }
            break;

        case 12:
            late = &server.links[chance(LINKS)];

            if (late->open && late != world.link) {
                serve(late);
                late->open = 0;
                late->watch[0] = '\0';
            }
            break;

        case 13:
            if (chance(8) == 0) {

                /* SIGKILL */

                link_cut(chance((uint32_t) world.link->nin + 1));
                mailping_producer_destroy(world.producer);
                ring_open(0);
                producer_open();

            } else if (chance(8) == 0) {
                server.saved = server.data;

            } else if (chance(16) == 0 && !nofence) {

                /* all connections die with the server */

                link_cut(0);
                memset(server.links, 0, sizeof(server.links));
                server.data = server.saved;
                server_identity(1, chance(2) == 0);
            }
        }

        if (world.failed) {
            link_cut(0);
        }

        for (wait = 0, late = server.links; late < server.links + LINKS;
             late++)
        {
            wait += late->open;
        }

        if (wait == LINKS) {

            /* the oldest bytes cannot be late for ever */

            for (late = server.links; late < server.links + LINKS; late++) {
                if (late != world.link) {
                    serve(late);
                    late->open = 0;
                    late->watch[0] = '\0';
                }
            }
        }
    }

    if (world.link == NULL) {
        link_open();
    }

    run(100000, BUFFER);

    if (world.failed) {
        link_cut(0);
        link_open();
        run(100000, BUFFER);
    }

    result = exact(nofence) && mailping_ring_undelivered(world.ring) == 0
             && world.reports[MAILPING_PRODUCER_STOPPED] == 0;

    if (!result && !nofence) {
        printf("# round %u: undelivered %" PRIu64 ", stopped %" PRIu64
               " \"%s\"\n", number, mailping_ring_undelivered(world.ring),
               world.reports[MAILPING_PRODUCER_STOPPED], world.text);
    }

    world_close();

    return result;
}


static void
test_rounds(void)
{
    int         failed;
    uint32_t    i, rounds;
    const char  *value;

    value = getenv("MAILPING_ROUNDS");
    rounds = value != NULL ? (uint32_t) strtoul(value, NULL, 10) : 300;
    failed = 0;

    for (i = 1; i <= rounds; i++) {
        failed += !test_round(i, 0);
    }

    is_int(failed, 0, "%u seeded rounds: each record once and in order",
           rounds);

    failed = 0;

    for (i = 1; i <= rounds; i++) {
        failed += !test_round(i, 1);
    }

    ok(failed > 0, "without the fence %d of %u rounds fail", failed, rounds);
}


int
main(void)
{
    test_straight();
    test_auth();
    test_split();
    test_rhythm();
    test_table(0);
    test_table(1);
    test_memory();
    test_trim();
    test_missing();
    test_errors();
    test_unfit();
    test_inside(0, 0);
    test_inside(0, 1);
    test_inside(3, 0);
    test_inside(3, 1);
    test_refused();
    test_garbage();
    test_cuts();
    test_rounds();

    return done();
}
