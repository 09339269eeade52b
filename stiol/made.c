/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that open or close descriptors, and that neither wait nor say more than the number: what
 * STIOL and libst knew about an earlier descriptor with that number is forgotten. Each is a thin
 * wrapper; fd.c does the forgetting. Files are opened in file_open.c and file_stream.c.
 */
#include <linux/close_range.h>
#include <limits.h>

#include "stiol/fd.h"
#include "stiol/stiol_int.h"

static int made(int fd)
{
    return stiol__fd_made(fd, STIOL_FD_UNKNOWN);
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

/* Given a descriptor, it only changes that one's signals. */
int stiol__signalfd(int fd, const sigset_t *mask, int flags)
{
    int rc;

    (void)STIOL_ENTER(fd, signalfd, fd);
    rc = signalfd(fd, mask, flags);
    return fd == -1 ? made(rc) : rc;
}

/* --- streams --- */

/** A stream was opened, if it is not NULL: its descriptor is a new one. */
FILE *stiol__stream_opened(FILE *stream)
{
    if (stream)
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

/* --- many at once --- */

/* There cannot be more than the limit of open files allows. A child of vfork() closes only its
 * own. */
static void closing_many(unsigned first, unsigned last)
{
    bool all = !!stiol__mine();
    struct rlimit limit;
    int error = errno;

    if (stiol__lent())
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= last)
        last = (unsigned)limit.rlim_cur;
    for (unsigned fd = first; fd <= last && fd < INT_MAX; fd++)
        if (all || stiol__fd_is_noted((int)fd))
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
