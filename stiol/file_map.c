/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapped files. A page fault cannot be anticipated, so what is mapped is brought into memory before
 * mmap() returns. mincore() and cachestat() tell a process nothing about files that it may not
 * write, so a few one-byte reads (RWF_NOWAIT) are used instead. Called by pages.c and sendfile.c.
 */
#include "stiol/file.h"

enum {
    STEP = 256 * 1024,      /* bytes between checks; the kernel reads ahead in such pieces */
    TASTE = 128 * 1024,     /* bytes that a helper reads at a time */
    MOST = 4 * 1024 * 1024, /* bytes of a mapping; libapr maps no larger pieces */
};

typedef enum { RESIDENT, ABSENT, MUTE } look_t;

static look_t look_at_byte(int fd, off64_t offset)
{
    struct iovec part;
    ssize_t n;
    char byte;

    part = (struct iovec){&byte, 1};
    n = preadv64v2(fd, &part, 1, offset, RWF_NOWAIT);
    if (n >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP && !stiol__is_refused(errno)))
        return RESIDENT; /* or an error, which the caller will encounter */
    return errno == EAGAIN ? ABSENT : MUTE;
}

static look_t look_through(int fd, off64_t offset, size_t length)
{
    off64_t end = offset + (off64_t)length;
    look_t look = RESIDENT;
    int error = errno;

    for (off64_t at = offset; look == RESIDENT && at < end; at += STEP)
        look = look_at_byte(fd, at + STEP < end ? at : end - 1);
    errno = error;
    return look;
}

/* Whether a helper has to bring it into memory. */
bool stiol__is_absent(int fd, off64_t offset, size_t length)
{
    stiol__fd_class_t class = stiol__fd_noted(fd);

    if (STIOL_OFF(STIOL_NO_CACHE))
        return true;
    if (class == STIOL_FD_UNKNOWN || class == STIOL_FD_FILE)
        switch (look_through(fd, offset, length)) {
        case ABSENT:
            return true;
        case MUTE:
            class = stiol__fd_is_mute(fd);
            break;
        default:
            return false;
        }
    return stiol__is_slow_file(class);
}

/* --- mmap() --- */

/* Reads all of it, which fills the page cache without holding up users of this process's mappings,
 * and then maps the pages. */
static void bring_in(void *address, size_t length, int fd, off64_t offset)
{
    char *taste = malloc(TASTE);
    ssize_t n = 1;

    for (size_t done = 0; taste && n > 0 && done < length; done += (size_t)n)
        n = pread64(fd, taste, length - done < TASTE ? length - done : TASTE,
                    offset + (off64_t)done);
    free(taste);
    (void)madvise(address, length, MADV_POPULATE_READ);
}

static long run_map(const long *args)
{
    size_t length = (size_t)args[1];
    int fd = (int)args[4];
    off64_t offset = args[5];
    char byte;
    void *map;

    (void)!pread64(fd, &byte, 1, offset); /* asks the server what mmap() would ask it */
    map = mmap64((void *)args[0], length, (int)args[2], (int)args[3], fd, offset);
    if (map != MAP_FAILED && ((int)args[2] & PROT_READ) != 0)
        bring_in(map, length < MOST ? length : MOST, fd, offset);
    return (long)map;
}

void *stiol__map_file(stiol__vp_t *vp, void *address, size_t length, int protection, int flags,
                      int fd, off_t offset)
{
    const long args[] = {(long)address, (long)length, protection, flags, fd, offset};

    if ((protection & PROT_READ) == 0 ||
        !stiol__is_absent(fd, offset, length < MOST ? length : MOST))
        return mmap64(address, length, protection, flags, fd, offset);
    return (void *)stiol__fd_help(vp, fd, run_map, args);
}
