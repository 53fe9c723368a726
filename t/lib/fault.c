
/*
 * Copyright (C) MailPing
 */


/*
 * Preloaded, it makes system calls on rings fail as the file that FAULTS names
 * says: lines of a call's name and a number.  "pwrite 28" and "fdatasync 5"
 * fail with this errno, "short 7" writes at most seven bytes at a time,
 * "statfs 26985" is the type of all file systems.  What is told to nobody
 * fails for nobody: other files than "*.ring" are left alone.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>


static char  faults[PATH_MAX];


static void fault_init(void) __attribute__((constructor));
static int fault(const char *name);
static int fault_ring(int fd);


/* nginx clears the environment of its workers */

static void
fault_init(void)
{
    const char  *path;

    path = getenv("FAULTS");

    if (path != NULL) {
        snprintf(faults, sizeof(faults), "%s", path);
    }
}


/* the number beside this name, 0 when there is none */

static int
fault(const char *name)
{
    int    n, number;
    char   word[32];
    FILE  *file;

    file = fopen(faults, "re");
    if (file == NULL) {
        return 0;
    }

    number = 0;

    while (fscanf(file, "%31s %d", word, &n) == 2) {
        if (strcmp(word, name) == 0) {
            number = n;
        }
    }

    fclose(file);

    return number;
}


static int
fault_ring(int fd)
{
    char     link[64], path[PATH_MAX];
    ssize_t  n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);

    n = readlink(link, path, sizeof(path));

    return n > 5 && memcmp(path + n - 5, ".ring", 5) == 0;
}


ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    int  limit;

    if (fault_ring(fd)) {
        errno = fault("pwrite");

        if (errno != 0) {
            return -1;
        }

        limit = fault("short");

        if (limit != 0 && n > (size_t) limit) {
            n = limit;
        }
    }

    return syscall(SYS_pwrite64, fd, buf, n, offset);
}


ssize_t
pwrite64(int fd, const void *buf, size_t n, off_t offset)
{
    return pwrite(fd, buf, n, offset);
}


int
fdatasync(int fd)
{
    if (fault_ring(fd)) {
        errno = fault("fdatasync");

        if (errno != 0) {
            return -1;
        }
    }

    return (int) syscall(SYS_fdatasync, fd);
}


int
statfs(const char *path, struct statfs *fs)
{
    int  type;

    if (syscall(SYS_statfs, path, fs) == -1) {
        return -1;
    }

    type = fault("statfs");

    if (type != 0) {
        fs->f_type = type;
    }

    return 0;
}


int
statfs64(const char *path, struct statfs64 *fs)
{
    return statfs(path, (struct statfs *) fs);
}
