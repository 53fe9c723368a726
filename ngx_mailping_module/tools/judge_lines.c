
/*
 * Copyright (C) MailPing
 */


#include <errno.h>
#include <unistd.h>

#include "judge.h"


static int mailping_judge_fill(mailping_judge_lines_t *in);


void
mailping_judge_lines(mailping_judge_lines_t *in, int fd, uint8_t *buf)
{
    memset(in, 0, sizeof(mailping_judge_lines_t));

    in->fd = fd;
    in->buf = buf;
}


int
mailping_judge_line(mailping_judge_lines_t *in, uint8_t **line, size_t *len)
{
    int       rc;
    size_t    n;
    uint8_t  *end;

    for ( ;; ) {
        end = in->scan < in->end
              ? memchr(in->buf + in->scan, '\n', in->end - in->scan) : NULL;

        if (end != NULL || (in->last && (in->start < in->end || in->skip))) {
            break;
        }

        if (in->last) {
            return MAILPING_DECLINED;
        }

        if (in->end - in->start > MAILPING_JUDGE_LINE_MAX) {
            in->skip = 1;
        }

        if (in->skip) {
            in->bytes += in->end - in->start;
            in->start = in->end;
        }

        in->scan = in->end;
        rc = mailping_judge_fill(in);

        if (rc != MAILPING_OK) {
            return rc;
        }
    }

    if (end == NULL) {
        end = in->buf + in->end;
    }

    *line = in->buf + in->start;
    n = (size_t) (end - *line);
    *len = n;

    in->start += n < in->end - in->start ? n + 1 : n;
    in->scan = in->start;
    in->bytes += n + 1;
    in->number++;

    if (in->skip || n > MAILPING_JUDGE_LINE_MAX) {
        in->skip = 0;
        return MAILPING_AGAIN;
    }

    if (n != 0 && end[-1] == '\r') {
        *len = n - 1;
    }

    return MAILPING_OK;
}


/* Reads on, behind what is left; a byte stays free after the last one. */

static int
mailping_judge_fill(mailping_judge_lines_t *in)
{
    ssize_t  n;

    if (in->start != 0) {
        memmove(in->buf, in->buf + in->start, in->end - in->start);
        in->end -= in->start;
        in->scan -= in->start;
        in->start = 0;
    }

    do {
        n = read(in->fd, in->buf + in->end,
                 MAILPING_JUDGE_BUFFER - 1 - in->end);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return MAILPING_ERROR;
    }

    if (n == 0) {
        in->last = 1;
    }

    in->end += (size_t) n;

    return MAILPING_OK;
}
