
/*
 * Copyright (C) MailPing
 */


/*
 * The Redis conversation when something is wrong: each class of errors, unfit
 * servers, transactions that are executed in part, garbage, records that
 * cannot be read, a disk that fails.
 */


#include "conversation.h"


typedef struct {
    const char              *verb;
    const char              *text;
    mailping_redis_error_e   class;
    int                      closes;
} refusal_t;


static void
test_errors(void)
{
    int             alive;
    size_t          i;
    const char     *text;
    const refusal_t  *e;

    static const refusal_t  errors[] = {
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


/* the same, and the reply that tells of it is lost */

static void
test_mistyped(void)
{
    world_open(1);
    append_n(0, 10);
    link_open();
    run(10, BUFFER);

    append_n(0, 10);
    server.type = "string";
    server.fail_inside = "XADD";
    server.fail_text = "WRONGTYPE Operation against a key holding the wrong "
                       "kind of value";
    world.now += 100;
    mailping_producer_work(world.producer, world.now, server.id);
    push(BUFFER);
    serve(world.link);
    is_str(mark_value(0), strlen(mark_value(0)), "20", "mark is wrong");
    link_cut(0);
    link_open();
    run(100, BUFFER);

    is_int(world.source[0].state, MAILPING_SOURCE_STOPPED,
           "a key of another type, and the reply lost: stopped");
    ok(strstr(world.source[0].alert, "type") != NULL, "and it is said why");
    is_str(mark_value(0), strlen(mark_value(0)), "10", "mark is set back");

    server.type = NULL;
    server.fail_inside = NULL;
    link_cut(0);
    link_open();
    run(100, BUFFER);
    ok(exact(0), "nothing is lost once the key is gone");
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
        ("+OK\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
         "*1\r\n:1\r\n"),
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


/* replies of a server that is out of step with us */

static void
test_step(void)
{
    size_t  i;

    static const char *const  replies[] = {
        "-\r\n", "-ERR a\rb\r\n", "-ERR a\nb\r\n", "+OK\n+PONG\r\n",
        "$4\r\nPONG\r\n", "*-1\r\n", "$-1\r\n", "+QUEUED\r\n",
        "+PONG\r\n+PONG\r\n", "_\r\n", "#t\r\n", ",1.5\r\n",
        ">1\r\n+PONG\r\n"
    };

    world_open(1);
    link_open();
    run(10, BUFFER);
    server.stuck = 1;
    append_n(0, 5);
    run(10, BUFFER);
    ok(world.failed, "a transaction that does not end closes the connection");
    server.stuck = 0;
    link_cut(0);
    link_open();
    run(1000, BUFFER);
    ok(exact(0), "the next one delivers");
    world_close();

    for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        world_open(1);
        link_open();
        run(10, BUFFER);
        mailping_producer_ping(world.producer, world.now);
        push(BUFFER);
        world.link->nin = 0;
        answer(world.link, "%s", replies[i]);

        while (!world.failed && pull(1) != 0) {
            /* void */
        }

        ok(world.failed, "reply %zu to PING closes the connection", i);
        append(0);
        link_cut(0);
        link_open();
        run(100, BUFFER);
        ok(exact(0), "and leaves nothing behind");
        world_close();
    }
}


/*
 * Records that this version cannot read do not keep the others: the mark
 * moves over them, and they are counted once.
 */

static void
test_unreadable(void)
{
    world_open(1);
    append_n(0, 3);
    append_later(2);
    append_n(0, 3);
    link_open();
    run(100, BUFFER);

    is_int(server.data.nentries, 6, "unreadable records between others");
    is_str(mark_value(0), strlen(mark_value(0)), "8", "the mark is past them");
    is_int(world.reports[MAILPING_PRODUCER_MISSING], 2, "they are counted");
    ok(strstr(world.text, "version") != NULL, "and it is said why");

    append_later(150);
    run(1000, BUFFER);

    is_int(server.data.nentries, 6, "more of them than a batch has");
    is_str(mark_value(0), strlen(mark_value(0)), "158", "past all of them");
    is_int(world.reports[MAILPING_PRODUCER_MISSING], 152, "all counted");
    is_int(mailping_ring_undelivered(world.ring), 0, "nothing is left");
    is_int(world.reports[MAILPING_PRODUCER_STOPPED], 0, "nothing stopped");
    ok(world.source[0].newest != 0, "the server's clock is not forgotten");

    /* the transaction that skips them is fenced and retried like any */

    append_later(1);
    server_set(mark_key(0), "158");
    run(100, BUFFER);
    is_str(mark_value(0), strlen(mark_value(0)), "159", "after a nil EXEC");

    server.fail_exec = "OOM command not allowed";
    append_later(1);
    append(0);
    run(100, BUFFER);
    is_int(world.reports[MAILPING_PRODUCER_MISSING], 153, "not yet counted");
    server.fail_exec = NULL;
    run(1000, BUFFER);
    is_int(world.reports[MAILPING_PRODUCER_MISSING], 154, "but then");
    is_int(server.data.nentries, 7, "and the one behind it is delivered");
    ok(!world.failed, "on the same connection");
    world_close();

    /* some of a batch are in, and what they passed over is counted as well */

    world_open(1);
    append_later(1);
    append_n(0, 9);
    server.fail_inside = "XADD";
    server.fail_after = 3;
    server.fail_text = "OOM command not allowed";
    link_open();
    run(10, BUFFER);
    is_int(world.reports[MAILPING_PRODUCER_ACKNOWLEDGED], 3, "three are in");
    is_int(world.reports[MAILPING_PRODUCER_MISSING], 1, "one before them");
    server.fail_inside = NULL;
    run(1000, BUFFER);
    is_int(world.reports[MAILPING_PRODUCER_ACKNOWLEDGED], 9, "then all");
    is_int(server.data.nentries, 9, "each once");
    world_close();
}


static void
test_disk(void)
{
    int  again;

    world_open(1);
    append_n(0, 10);
    link_open();
    run(100, BUFFER);
    append_n(0, 100);
    world.nowrite = 1;
    run(1000, BUFFER);
    is_int(world.ring->state, MAILPING_RING_FAILED, "a ring fails");
    ok(exact(0), "what it holds is delivered");
    world.nowrite = 0;
    link_cut(0);
    mailping_producer_destroy(world.producer);
    ring_open(0);
    producer_open();
    link_open();
    run(100, BUFFER);
    ok(exact(0), "and not twice, though its header is old");
    world_close();

    /* it cannot be read when a part of a batch is to be acknowledged */

    for (again = 0; again < 2; again++) {
        world_open(1);
        append_n(0, 10);
        link_open();
        run(100, BUFFER);
        append_n(0, 10);
        server.fail_inside = "XADD";
        server.fail_after = 3;
        server.fail_text = "NOPERM this user has no permissions";
        world.now += 100;
        mailping_producer_work(world.producer, world.now, server.id);
        push(BUFFER);
        serve(world.link);
        world.noread = 1;
        world.ring->nloaded = 0;
        pull(BUFFER);
        is_int(world.source[0].state, MAILPING_SOURCE_STOPPED,
               "a ring that cannot be read stops");
        is_str(mark_value(0), strlen(mark_value(0)), "20", "mark is wrong");

        server.fail_inside = NULL;
        link_cut(0);
        link_open();

        if (again) {
            run(100, BUFFER);
            link_cut(0);
            link_open();
        }

        world.noread = 0;
        run(100, BUFFER);

        if (world.source[0].state == MAILPING_SOURCE_STOPPED) {
            link_cut(0);
            link_open();
            run(100, BUFFER);
        }

        is_str(mark_value(0), strlen(mark_value(0)), "20", "then it is right");
        is_int(mailping_ring_undelivered(world.ring), 0, "nothing is left");
        is_int(world.reports[MAILPING_PRODUCER_ADVANCED], 0,
               "and no record was taken for delivered");
        world_close();
    }
}


int
main(void)
{
    test_errors();
    test_unfit();
    test_inside(0, 0);
    test_inside(0, 1);
    test_inside(3, 0);
    test_inside(3, 1);
    test_mistyped();
    test_refused();
    test_garbage();
    test_step();
    test_unreadable();
    test_disk();

    return done();
}
