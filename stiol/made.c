/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that make or close descriptors, and that neither wait nor tell more than the number: what
 * STIOL and libst knew of an earlier descriptor of that number is forgotten. Each is a thin
 * wrapper; fd.c does the forgetting.
 */
#include <linux/close_range.h>
#include <limits.h>
#include <stdarg.h>

#include "stiol/fd.h"
#include "stiol/stiol_int.h"

static int made(int fd)
{
    return stiol__fd_made(fd, STIOL_FD_UNKNOWN);
}

/* --- open() and its like --- */

/* The mode is there only if a file may be made. */
static mode_t mode_in(va_list args, int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int stiol__open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, open, flags);
    return made(open(path, flags, mode));
}

int stiol__open64(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, open64, flags);
    return made(open64(path, flags, mode));
}

int stiol__openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, openat, flags);
    return made(openat(dir, path, flags, mode));
}

int stiol__openat64(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, openat64, flags);
    return made(openat64(dir, path, flags, mode));
}

int stiol____open_2(const char *path, int flags)
{
    (void)STIOL_ENTER(fd, __open_2, flags);
    return made(__open_2(path, flags));
}

int stiol____open64_2(const char *path, int flags)
{
    (void)STIOL_ENTER(fd, __open64_2, flags);
    return made(__open64_2(path, flags));
}

int stiol____openat_2(int dir, const char *path, int flags)
{
    (void)STIOL_ENTER(fd, __openat_2, flags);
    return made(__openat_2(dir, path, flags));
}

int stiol____openat64_2(int dir, const char *path, int flags)
{
    (void)STIOL_ENTER(fd, __openat64_2, flags);
    return made(__openat64_2(dir, path, flags));
}

int stiol__creat(const char *path, mode_t mode)
{
    (void)STIOL_ENTER(fd, creat, mode);
    return made(creat(path, mode));
}

int stiol__creat64(const char *path, mode_t mode)
{
    (void)STIOL_ENTER(fd, creat64, mode);
    return made(creat64(path, mode));
}

/* --- temporary files --- */

int stiol__mkstemp(char *name)
{
    (void)STIOL_ENTER(fd, mkstemp, 0);
    return made(mkstemp(name));
}

int stiol__mkstemp64(char *name)
{
    (void)STIOL_ENTER(fd, mkstemp64, 0);
    return made(mkstemp64(name));
}

int stiol__mkostemp(char *name, int flags)
{
    (void)STIOL_ENTER(fd, mkostemp, flags);
    return made(mkostemp(name, flags));
}

int stiol__mkostemp64(char *name, int flags)
{
    (void)STIOL_ENTER(fd, mkostemp64, flags);
    return made(mkostemp64(name, flags));
}

int stiol__mkstemps(char *name, int suffix)
{
    (void)STIOL_ENTER(fd, mkstemps, suffix);
    return made(mkstemps(name, suffix));
}

int stiol__mkstemps64(char *name, int suffix)
{
    (void)STIOL_ENTER(fd, mkstemps64, suffix);
    return made(mkstemps64(name, suffix));
}

int stiol__mkostemps(char *name, int suffix, int flags)
{
    (void)STIOL_ENTER(fd, mkostemps, flags);
    return made(mkostemps(name, suffix, flags));
}

int stiol__mkostemps64(char *name, int suffix, int flags)
{
    (void)STIOL_ENTER(fd, mkostemps64, flags);
    return made(mkostemps64(name, suffix, flags));
}

/* --- descriptors of no file --- */

int stiol__eventfd(unsigned value, int flags)
{
    (void)STIOL_ENTER(fd, eventfd, flags);
    return made(eventfd(value, flags));
}

int stiol__memfd_create(const char *name, unsigned flags)
{
    (void)STIOL_ENTER(fd, memfd_create, flags);
    return made(memfd_create(name, flags));
}

int stiol__timerfd_create(int clock, int flags)
{
    (void)STIOL_ENTER(fd, timerfd_create, flags);
    return made(timerfd_create(clock, flags));
}

int stiol__inotify_init(void)
{
    (void)STIOL_ENTER(fd, inotify_init, 0);
    return made(inotify_init());
}

int stiol__inotify_init1(int flags)
{
    (void)STIOL_ENTER(fd, inotify_init1, flags);
    return made(inotify_init1(flags));
}

int stiol__epoll_create(int size)
{
    (void)STIOL_ENTER(fd, epoll_create, size);
    return made(epoll_create(size));
}

int stiol__epoll_create1(int flags)
{
    (void)STIOL_ENTER(fd, epoll_create1, flags);
    return made(epoll_create1(flags));
}

int stiol__fanotify_init(unsigned flags, unsigned event_flags)
{
    (void)STIOL_ENTER(fd, fanotify_init, flags);
    return made(fanotify_init(flags, event_flags));
}

int stiol__open_by_handle_at(int dir, struct file_handle *handle, int flags)
{
    (void)STIOL_ENTER(fd, open_by_handle_at, flags);
    return made(open_by_handle_at(dir, handle, flags));
}

int stiol__shm_open(const char *name, int flags, mode_t mode)
{
    (void)STIOL_ENTER(fd, shm_open, flags);
    return made(shm_open(name, flags, mode));
}

int stiol__posix_openpt(int flags)
{
    (void)STIOL_ENTER(fd, posix_openpt, flags);
    return made(posix_openpt(flags));
}

int stiol__getpt(void)
{
    (void)STIOL_ENTER(fd, getpt, 0);
    return made(getpt());
}

int stiol__openpty(int *master, int *slave, char *name, const struct termios *settings,
                   const struct winsize *size)
{
    int rc;

    (void)STIOL_ENTER(fd, openpty, 0);
    rc = openpty(master, slave, name, settings, size);
    if (rc == 0)
        (void)made(*master), (void)made(*slave);
    return rc;
}

/* With a descriptor it only changes the signals of it. */
int stiol__signalfd(int fd, const sigset_t *mask, int flags)
{
    int rc;

    (void)STIOL_ENTER(fd, signalfd, fd);
    rc = signalfd(fd, mask, flags);
    return fd == -1 ? made(rc) : rc;
}

/* --- streams and directories --- */

/** A stream was opened, if it is not NULL: its number is a new descriptor's. */
FILE *stiol__stream_opened(FILE *stream)
{
    if (stream != NULL)
        (void)made(fileno(stream));
    return stream;
}

/** A stream is about to be closed. It may have no descriptor: open_memstream(). */
void stiol__stream_closing(FILE *stream)
{
    int error = errno, fd = fileno(stream);

    errno = error;
    if (fd >= 0)
        stiol__fd_closing(fd);
}

FILE *stiol__fopen(const char *restrict path, const char *restrict mode)
{
    (void)STIOL_ENTER(fd, fopen, 0);
    return stiol__stream_opened(fopen(path, mode));
}

FILE *stiol__fopen64(const char *restrict path, const char *restrict mode)
{
    (void)STIOL_ENTER(fd, fopen64, 0);
    return stiol__stream_opened(fopen64(path, mode));
}

FILE *stiol__tmpfile(void)
{
    (void)STIOL_ENTER(fd, tmpfile, 0);
    return stiol__stream_opened(tmpfile());
}

FILE *stiol__tmpfile64(void)
{
    (void)STIOL_ENTER(fd, tmpfile64, 0);
    return stiol__stream_opened(tmpfile64());
}

FILE *stiol__freopen(const char *restrict path, const char *restrict mode, FILE *restrict stream)
{
    (void)STIOL_ENTER(fd, freopen, 0);
    stiol__stream_closing(stream);
    return stiol__stream_opened(freopen(path, mode, stream));
}

FILE *stiol__freopen64(const char *restrict path, const char *restrict mode, FILE *restrict stream)
{
    (void)STIOL_ENTER(fd, freopen64, 0);
    stiol__stream_closing(stream);
    return stiol__stream_opened(freopen64(path, mode, stream));
}

DIR *stiol__opendir(const char *path)
{
    DIR *dir;

    (void)STIOL_ENTER(fd, opendir, 0);
    dir = opendir(path);
    if (dir != NULL)
        (void)made(dirfd(dir));
    return dir;
}

int stiol__closedir(DIR *dir)
{
    (void)STIOL_ENTER(fd, closedir, 0);
    stiol__fd_closing(dirfd(dir));
    return closedir(dir);
}

/* --- many at once --- */

/* There are no more of them than the limit of open files allows. */
static void closing_many(unsigned first, unsigned last)
{
    struct rlimit limit;
    int error = errno;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= last)
        last = (unsigned)limit.rlim_cur;
    for (unsigned fd = first; fd <= last && fd < INT_MAX; fd++)
        if (stiol__mine() != NULL || stiol__fd_is_noted((int)fd))
            stiol__fd_closing((int)fd);
    errno = error;
}

int stiol__close_range(unsigned first, unsigned last, int flags)
{
    (void)STIOL_ENTER(fd, close_range, first);
    if ((flags & (int)CLOSE_RANGE_CLOEXEC) == 0)
        closing_many(first, last);
    return close_range(first, last, flags);
}

void stiol__closefrom(int first)
{
    (void)STIOL_ENTER(fd, closefrom, first);
    closing_many(first > 0 ? (unsigned)first : 0, UINT_MAX);
    closefrom(first);
}
