
/*
 * Copyright (C) MailPing
 */


/*
 * Preloaded, it makes a process believe in another time of day: that of the
 * file which CLOCK names, Unix milliseconds as a 64-bit number in the order of
 * this machine, as long as the file has one.  Whoever writes into the file sets
 * the clock of all processes at once.  Monotonic time stays as it is, so that
 * timers go on.
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static volatile uint64_t  *now;


static void clock_init(void) __attribute__((constructor));
static int clock_read(struct timespec *ts);


/* the mapping is inherited by the processes that nginx forks */

static void
clock_init(void)
{
    int          fd;
    void        *p;
    const char  *path;

    path = getenv("CLOCK");

    if (path == NULL) {
        return;
    }

    fd = open(path, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        abort();
    }

    p = mmap(NULL, sizeof(uint64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        abort();
    }

    close(fd);

    now = p;
}


static int
clock_read(struct timespec *ts)
{
    uint64_t  ms;

    if (now == NULL) {
        return syscall(SYS_clock_gettime, CLOCK_REALTIME, ts);
    }

    ms = *now;

    ts->tv_sec = ms / 1000;
    ts->tv_nsec = ms % 1000 * 1000000;

    return 0;
}


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) {
        return clock_read(ts);
    }

    return syscall(SYS_clock_gettime, id, ts);
}


int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec  ts;

    (void) tz;

    if (clock_read(&ts) != 0) {
        return -1;
    }

    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}


time_t
time(time_t *t)
{
    struct timespec  ts;

    if (clock_read(&ts) != 0) {
        return (time_t) -1;
    }

    if (t != NULL) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}
