
/*
 * Copyright (C) MailPing
 */


/*
 * Fetches each address of a file once, over keepalive connections, at a given
 * rate.  An address whose connection is cut before the answer is complete is
 * fetched again.  Writes the number of answers to standard output after every
 * thousand, and at the end the file's line numbers, from 0, of the addresses
 * that were cut off, with the number of their fetches.  Exits with 1 when an
 * answer is not the pixel.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define CONNECTIONS  32
#define PIXEL        43
#define NONE         (-1L)


typedef struct {
    int        fd;
    long       line;               /* being fetched, or NONE */
    size_t     n;
    char       buffer[4096];
} client_t;


static int        ep;
static char     **lines;
static long       nlines, nagain, next, answered, sent;
static long      *again;           /* cut off, to be fetched again */
static uint8_t   *fetches;         /* of each line */
static client_t   clients[CONNECTIONS];
static unsigned   port;


static void die(const char *what);
static void load(const char *path);
static uint64_t now(void);
static int open_client(client_t *c);
static void cut(client_t *c);
static void fetch(client_t *c);
static void answer(client_t *c);


static void
die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}


static void
load(const char *path)
{
    FILE    *f;
    long     max;
    char    *line;
    size_t   size;
    ssize_t  n;

    f = fopen(path, "r");
    if (f == NULL) {
        die(path);
    }

    max = 0;

    for ( ;; ) {
        line = NULL;
        size = 0;

        n = getline(&line, &size, f);
        if (n == -1) {
            free(line);
            break;
        }

        line[strcspn(line, "\n")] = '\0';

        if (nlines == max) {
            max = max ? max * 2 : 1024;
            lines = realloc(lines, max * sizeof(char *));
            if (lines == NULL) {
                die("realloc()");
            }
        }

        lines[nlines++] = line;
    }

    fclose(f);

    fetches = calloc(nlines, 1);
    again = calloc(nlines, sizeof(long));

    if (fetches == NULL || again == NULL) {
        die("calloc()");
    }
}


static uint64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static int
open_client(client_t *c)
{
    struct sockaddr_in  sin;
    struct epoll_event  ee;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd == -1) {
        die("socket()");
    }

    memset(&sin, 0, sizeof(sin));

    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        close(c->fd);
        c->fd = -1;
        return -1;
    }

    memset(&ee, 0, sizeof(ee));

    ee.events = EPOLLIN;
    ee.data.ptr = c;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ee) == -1) {
        die("epoll_ctl()");
    }

    return 0;
}


/* whether a request that was cut off has reached nginx is not known */

static void
cut(client_t *c)
{
    close(c->fd);
    c->fd = -1;

    if (c->line != NONE) {
        again[nagain++] = c->line;
        c->line = NONE;
    }
}


static void
fetch(client_t *c)
{
    int   n;
    char  request[512];

    if (c->fd == -1 && open_client(c) == -1) {
        return;
    }

    c->line = nagain ? again[--nagain] : next++;
    c->n = 0;

    fetches[c->line]++;
    sent++;

    n = snprintf(request, sizeof(request),
                 "GET %s HTTP/1.1\r\nHost: load\r\n"
                 "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) "
                 "Gecko/20100101 Thunderbird/115.0\r\n\r\n", lines[c->line]);

    if (send(c->fd, request, n, MSG_NOSIGNAL) != n) {
        cut(c);
    }
}


static void
answer(client_t *c)
{
    char     *body;
    ssize_t   n;

    n = recv(c->fd, c->buffer + c->n, sizeof(c->buffer) - 1 - c->n, 0);

    if (n <= 0) {
        cut(c);
        return;
    }

    c->n += n;
    c->buffer[c->n] = '\0';

    body = strstr(c->buffer, "\r\n\r\n");

    if (body == NULL || c->line == NONE) {
        return;
    }

    body += 4;

    if (strncmp(c->buffer, "HTTP/1.1 200 ", 13) != 0
        || strstr(c->buffer, "\r\nContent-Length: 43\r\n") == NULL
        || c->n - (body - c->buffer) > PIXEL)
    {
        fprintf(stderr, "load: not the pixel: %s\n", c->buffer);
        exit(1);
    }

    if (c->n - (body - c->buffer) < PIXEL) {
        return;
    }

    if (memcmp(body, "GIF89a", 6) != 0) {
        fprintf(stderr, "load: not an image\n");
        exit(1);
    }

    c->line = NONE;

    if (strstr(c->buffer, "\r\nConnection: close\r\n") != NULL) {
        cut(c);
    }

    if (++answered % 1000 == 0) {
        printf("%ld\n", answered);
        fflush(stdout);
    }
}


int
main(int argc, char **argv)
{
    int                 i, n;
    long                rate, line;
    uint64_t            start;
    struct epoll_event  events[CONNECTIONS];

    if (argc != 4) {
        fprintf(stderr, "usage: load port rate file\n");
        return 2;
    }

    port = atoi(argv[1]);
    rate = atol(argv[2]);

    load(argv[3]);

    ep = epoll_create1(0);
    if (ep == -1) {
        die("epoll_create1()");
    }

    for (i = 0; i < CONNECTIONS; i++) {
        clients[i].fd = -1;
        clients[i].line = NONE;
    }

    start = now();

    while (answered < nlines) {

        for (i = 0; i < CONNECTIONS; i++) {

            if ((nagain == 0 && next == nlines)
                || sent > (long) ((now() - start) * rate / 1000000))
            {
                break;
            }

            if (clients[i].line == NONE) {
                fetch(&clients[i]);
            }
        }

        n = epoll_wait(ep, events, CONNECTIONS, 1);

        if (n == -1 && errno != EINTR) {
            die("epoll_wait()");
        }

        for (i = 0; i < n; i++) {
            answer(events[i].data.ptr);
        }

        /* none waits for ever: a worker that hangs is a failure */

        if (now() - start > 120 * (uint64_t) 1000000) {
            fprintf(stderr, "load: %ld of %ld answers in time\n", answered,
                    nlines);
            return 1;
        }
    }

    for (line = 0; line < nlines; line++) {
        if (fetches[line] > 1) {
            printf("cut %ld %d\n", line, fetches[line]);
        }
    }

    return 0;
}
