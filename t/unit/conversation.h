
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_TEST_CONVERSATION_H
#define MAILPING_TEST_CONVERSATION_H


#include <errno.h>

#include "core/producer.h"

#include "redis.h"


/*
 * A producer with a ring in memory, its connection to the Redis of redis.h,
 * and what a test does with them.
 */

#define STORAGE  (32768 * 24)


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
    int                        noread;     /* the disk fails */
    int                        nowrite;
} world_t;


static world_t  world;


/* storage in memory */

static inline int
memory_pread(void *data, void *buf, size_t n, uint64_t offset)
{
    if (world.noread) {
        return -EIO;
    }

    memcpy(buf, (uint8_t *) data + offset, n);

    return 0;
}


static inline int
memory_pwrite(void *data, const void *buf, size_t n, uint64_t offset)
{
    if (world.nowrite) {
        return -EIO;
    }

    memcpy((uint8_t *) data + offset, buf, n);

    return 0;
}


static inline int
memory_sync(void *data)
{
    (void) data;

    return 0;
}


/* the client's side */

static inline void
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


static inline void
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


static inline void
producer_open(void)
{
    uint32_t  i;

    world.producer = mailping_producer_create(&world.conf, report, &world);

    for (i = 0; i < world.partitions; i++) {
        mailping_producer_attach(world.producer, &world.source[i], world.ring,
                                 i);
    }
}


static inline void
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


static inline void
world_close(void)
{
    mailping_producer_destroy(world.producer);
    free(world.ring);
}


static inline void
append_record(uint32_t partition, uint8_t type, uint8_t version,
    const uint8_t *payload, size_t len)
{
    mailping_record_t  record;

    memset(&record, 0, sizeof(record));

    record.type = type;
    record.version = version;
    record.partition = partition;
    record.time = 1700000000000;
    record.payload.data = payload;
    record.payload.len = len;

    if (mailping_ring_append(world.ring, &record) != MAILPING_OK) {
        abort();
    }

    world.appended[partition]++;
}


static inline void
append(uint32_t partition)
{
    size_t           n;
    uint8_t          payload[MAILPING_EVENT_PAYLOAD_MAX];
    mailping_loss_t  loss;

    memset(&loss, 0, sizeof(loss));

    loss.count = 1;
    n = mailping_loss_encode(&loss, payload);

    append_record(partition, MAILPING_RECORD_LOSS, MAILPING_EVENT_VERSION,
                  payload, n);
}


/* n records of a later version */

static inline void
append_later(int n)
{
    while (n--) {
        append_record(0, MAILPING_RECORD_EVENT, MAILPING_EVENT_VERSION + 1,
                      (const uint8_t *) "later", 5);
    }
}


/* n opens, each as long as they come */

static inline void
append_long(int n)
{
    size_t            len;
    uint8_t           text[MAILPING_EVENT_PAYLOAD_MAX];
    uint8_t           payload[MAILPING_EVENT_PAYLOAD_MAX];
    mailping_str_t    value;
    mailping_event_t  event;

    memset(&event, 0, sizeof(event));
    memset(text, 'x', sizeof(text));

    value.data = text;
    value.len = MAILPING_EVENT_AGENT_MAX;

    event.id = value;
    event.recipient = value;
    event.site = value;
    event.provider = value;
    event.reasons = value;
    event.facts = value;
    event.network = value;
    event.org = value;
    event.region = value;
    event.city = value;
    event.client = value;
    event.agent = value;
    event.count = 1;

    len = mailping_event_encode(&event, payload);

    while (n--) {
        append_record(0, MAILPING_RECORD_EVENT, MAILPING_EVENT_VERSION,
                      payload, len);
    }
}


static inline void
append_n(uint32_t partition, int n)
{
    while (n--) {
        append(partition);
    }
}


static inline void
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

static inline void
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

static inline size_t
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


static inline size_t
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

static inline void
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

static inline int
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


static inline const char *
mark_key(uint32_t partition)
{
    static char  key[MAILPING_KEY_MAX + 1];

    snprintf(key, sizeof(key), "%.*s",
             (int) world.source[partition].mark_len,
             world.source[partition].mark);

    return key;
}


static inline const char *
mark_value(uint32_t partition)
{
    mark_t  *mark;

    mark = server_mark(mark_key(partition));

    return mark != NULL ? mark->value : "none";
}


#endif /* MAILPING_TEST_CONVERSATION_H */
