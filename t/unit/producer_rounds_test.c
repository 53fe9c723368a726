
/*
 * Copyright (C) MailPing
 */


/*
 * The Redis conversation cut at each byte, and seeded rounds of connection
 * cuts, late bytes, errors, kills and data loss, after which each record must
 * be in its stream once and in order.
 */


#include "conversation.h"


static uint32_t  seed;


static uint32_t
chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;

    return (seed >> 8) % n;
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
 * work; the process is killed; Redis refuses commands, restarts with older
 * data, or has them after a change of roles.
 */

static int
test_round(uint32_t number, int nofence)
{
    int     i, wait, result;
    link_t  *late;

    static const char *const  verbs[] = {
        "WATCH", "INFO", "TYPE", "GET", "XADD", "SET"
    };

    static const char *const  texts[] = {
        "BUSY Redis is busy running a script.",
        "READONLY You can't write against a read only replica.",
        "NOPERM this user has no permissions"
    };

    seed = number;

    world_open(1 + chance(2));

    world.conf.batch = 1 + chance(64);
    server.nofence = nofence;
    server.saved = server.data;

    for (i = 0; i < 300; i++) {

        if (world.link == NULL) {
            link_open();
        }

        switch (chance(16)) {

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

                /* demoted, resynchronized and promoted: connections live */

                server.data = server.saved;
                server_identity(0, 1);

                for (late = server.links; late < server.links + LINKS;
                     late++)
                {
                    late->dirty = (late->watch[0] != '\0');
                }

                for (wait = 0; (uint32_t) wait < world.partitions; wait++) {
                    append((uint32_t) wait);
                }

            } else if (chance(16) == 0 && !nofence) {

                /* all connections die with the server */

                link_cut(0);
                memset(server.links, 0, sizeof(server.links));
                server.data = server.saved;
                server_identity(1, chance(2) == 0);
            }
            break;

        case 14:
            server.fail_exec = chance(6) == 0
                               ? "OOM command not allowed" : NULL;
            break;

        case 15:
            server.fail_verb = chance(6) == 0 ? verbs[chance(6)] : NULL;
            server.fail_text = texts[chance(3)];
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

    server.fail_exec = NULL;
    server.fail_verb = NULL;

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
    test_cuts();
    test_rounds();

    return done();
}
