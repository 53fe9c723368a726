
/*
 * Copyright (C) MailPing
 */


/*
 * Keys and hash tags are public contracts: consumers compute them, too.
 */


#include "core/topology.h"

#include "str.h"
#include "tap.h"


#define PARTITIONS  128


static const mailping_str_t  prefix = mailping_string("mailping");
static const mailping_str_t  producer = mailping_string("0123.7");


static void
test_slots(void)
{
    /* the check value of CRC16-XMODEM, and slots as CLUSTER KEYSLOT has them */

    is_int(mailping_topology_slot(str("123456789")), 0x31c3, "check value");
    is_int(mailping_topology_slot(str("")), 0, "empty");
    is_int(mailping_topology_slot(str("foo")), 12182, "foo");
    is_int(mailping_topology_slot(str("bar")), 5061, "bar");
}


static void
test_tags(void)
{
    int             bad, unequal;
    char            tag[MAILPING_TAG_MAX];
    size_t          len;
    uint32_t        i, n, first, next, previous;
    mailping_str_t  s;

    bad = 0;
    unequal = 0;

    for (n = 1; n <= PARTITIONS; n++) {
        previous = 0;

        for (i = 0; i < n; i++) {
            len = mailping_topology_tag(i, n, tag);

            s.len = len;
            s.data = (const uint8_t *) tag;

            first = i * 16384 / n;
            next = (i + 1) * 16384 / n;

            if (len == 0 || strspn(tag, "0123456789") < len
                || mailping_topology_slot(s) != (first + next) / 2)
            {
                bad++;
            }

            if (i != 0
                && (mailping_topology_slot(s) - previous < 16384 / n - 1
                    || mailping_topology_slot(s) - previous > 16384 / n + 1))
            {
                unequal++;
            }

            previous = mailping_topology_slot(s);
        }
    }

    is_int(bad, 0, "tags of 1 to %d partitions have the middle slots",
           PARTITIONS);
    is_int(unequal, 0, "and lie equally far apart");

    /* the table of docs/events.md */

    len = mailping_topology_tag(0, 1, tag);
    is_str(tag, len, "8209", "0 of 1");
    len = mailping_topology_tag(1, 2, tag);
    is_str(tag, len, "356", "1 of 2");
    len = mailping_topology_tag(3, 4, tag);
    is_str(tag, len, "16248", "3 of 4");
    len = mailping_topology_tag(7, 8, tag);
    is_str(tag, len, "4782", "7 of 8");
    len = mailping_topology_tag(15, 16, tag);
    is_str(tag, len, "48623", "15 of 16");

    /* the smallest number: none below has this slot */

    for (i = 0; i < 356; i++) {
        snprintf(tag, sizeof(tag), "%u", i);

        if (mailping_topology_slot(str(tag))
            == mailping_topology_slot(str("356")))
        {
            break;
        }
    }

    is_int(i, 356, "the smallest number of its slot");

    is_int(mailping_topology_tag(1, 1, tag), 0, "no such partition");
    is_int(mailping_topology_tag(0, 0, tag), 0, "no partitions");
    is_int(mailping_topology_tag(0, 16385, tag), 0, "too many partitions");
    ok(mailping_topology_tag(16383, 16384, tag) != 0, "as many as slots");
}


static void
test_keys(void)
{
    char            key[MAILPING_KEY_MAX], text[MAILPING_KEY_MAX];
    size_t          len;
    mailping_str_t  longer;

    len = mailping_topology_stream(prefix, 0, 0, 1, key);
    is_str(key, len, "mailping:opens", "stream");
    len = mailping_topology_stream(prefix, 1, 1, 4, key);
    is_str(key, len, "mailping:{1296}:opens", "stream with a tag");
    len = mailping_topology_mark(prefix, 0, 0, 1, producer, key);
    is_str(key, len, "mailping:mark:0123.7", "mark");
    len = mailping_topology_mark(prefix, 1, 1, 4, producer, key);
    is_str(key, len, "mailping:{1296}:mark:0123.7", "mark with a tag");
    len = mailping_topology_stream(str(""), 0, 0, 1, key);
    is_str(key, len, ":opens", "empty prefix");

    memset(text, 'x', sizeof(text));
    longer.data = (const uint8_t *) text;

    longer.len = 128;
    is_int(mailping_topology_stream(longer, 1, 0, 1, key),
           128 + strlen(":{8209}:opens"), "the longest prefix");
    longer.len = MAILPING_KEY_MAX;
    is_int(mailping_topology_stream(longer, 0, 0, 1, key), 0,
           "a key that does not fit");
    longer.len = SIZE_MAX;
    is_int(mailping_topology_mark(prefix, 0, 0, 1, longer, key), 0,
           "nor its producer");
}


int
main(void)
{
    test_slots();
    test_tags();
    test_keys();

    return done();
}
