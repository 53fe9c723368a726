
/*
 * Copyright (C) MailPing
 */


/*
 * The Redis conversation against the Redis of redis.h: the handshake, batches,
 * each row of the decision table, trimming, bounds, sources that come and go.
 */


#include "conversation.h"


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

    /* a ring keeps its partition count, whatever is configured now */

    world_open(2);
    world.conf.partitions = 1;
    append(0);
    append(1);
    link_open();
    run(10, BUFFER);
    world.now += 2000;
    append(0);
    append(1);
    run(10, BUFFER);
    is_int(server.trims, 2, "each partition's stream is trimmed");
    ok(strstr(server.trim, "mp:{") != NULL, "under the ring's own keys");
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


/* a batch of the longest records, and of the shortest */

static void
test_bounds(void)
{
    size_t          n;
    mailping_str_t  output;

    world_open(1);
    world.conf.batch = MAILPING_PRODUCER_BATCH_MAX;
    link_open();
    run(10, BUFFER);
    append_long(100);
    world.now += 100;
    mailping_producer_work(world.producer, world.now, server.id);
    output = mailping_producer_output(world.producer);
    n = mailping_producer_inflight(world.producer);
    ok(n > 30 && n < 100, "%zu of the longest records in a batch", n);
    ok(output.len <= 256 * 1024, "%zu bytes", output.len);
    run(1000, BUFFER);
    ok(exact(0), "all delivered");

    append_n(0, 600);
    world.now += 100;
    mailping_producer_work(world.producer, world.now, server.id);
    is_int(mailping_producer_inflight(world.producer),
           MAILPING_PRODUCER_BATCH_MAX, "512 of the shortest");
    run(1000, 4096);
    ok(exact(0), "and delivered, in pieces");
    world_close();

    world_open(1);
    server.padding = 200000;
    append_n(0, 5);
    link_open();
    run(100, 1000);
    ok(exact(0), "an INFO of 200 KB in pieces");
    world_close();

    world_open(1);
    server.padding = 300000;
    link_open();
    run(100, 1000);
    ok(world.failed, "one of 300 KB is too long");
    world_close();
}


/* somebody writes the mark again and again, without changing it */

static void
touch(void)
{
    char      value[64];
    uint32_t  i;

    for (i = 0; i < world.partitions; i++) {
        snprintf(value, sizeof(value), "%s", mark_value(i));
        server_set(mark_key(i), value);
    }
}


static void
test_nil(void)
{
    int  i;

    world_open(2);
    append_n(0, 3);
    append_n(1, 3);
    link_open();
    run(100, BUFFER);

    for (i = 0; i < 4; i++) {
        append(0);
        append(1);
        world.now += 100;
        mailping_producer_work(world.producer, world.now, server.id);
        touch();
        push(BUFFER);
        serve(world.link);
        pull(BUFFER);
        push(BUFFER);
        touch();
        serve(world.link);
        pull(BUFFER);
    }

    run(100, BUFFER);
    ok(exact(0) && !world.failed, "EXEC is nil several times in a row");
    is_int(world.reports[MAILPING_PRODUCER_ACKNOWLEDGED], 14,
           "and each record is acknowledged once");
    world_close();
}


/* sources come and go while others are in flight */

static void
test_attach(void)
{
    world_open(2);
    is_int(mailping_producer_detach(world.producer, &world.source[1]),
           MAILPING_OK, "detached before the connection");
    append_n(0, 5);
    append_n(1, 5);
    link_open();
    run(100, BUFFER);
    append_n(0, 5);
    world.now += 100;
    mailping_producer_work(world.producer, world.now, server.id);
    is_int(mailping_producer_inflight(world.producer), 5, "five in flight");
    mailping_producer_attach(world.producer, &world.source[1], world.ring, 1);
    run(100, BUFFER);
    ok(exact(0), "one attached meanwhile is delivered");

    append_n(0, 5);
    world.now += 100;
    mailping_producer_work(world.producer, world.now, server.id);
    is_int(mailping_producer_detach(world.producer, &world.source[1]),
           MAILPING_OK, "one that is not in flight goes at once");
    run(100, BUFFER);
    mailping_producer_attach(world.producer, &world.source[1], world.ring, 1);
    run(100, BUFFER);
    ok(exact(0) && !world.failed, "and may come back");

    /* a transaction is planned, but waits */

    server.fail_verb = "TYPE";
    server.fail_text = "BUSY Redis is busy running a script.";
    server_set(mark_key(0), "3");
    append(0);
    run(10, BUFFER);
    server.fail_verb = NULL;
    is_int(mailping_producer_detach(world.producer, &world.source[0]),
           MAILPING_OK, "detached while it waits");
    mailping_producer_attach(world.producer, &world.source[0], world.ring, 0);
    run(1000, BUFFER);
    ok(exact(0) && !world.failed, "it comes back");
    is_int(world.reports[MAILPING_PRODUCER_RESTORED], 1,
           "and its mark is set again");
    world_close();
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
    test_bounds();
    test_nil();
    test_attach();

    return done();
}
