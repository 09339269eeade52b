/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are newer forms of others: recvmmsg() and sendmmsg() for several messages, preadv2()
 * and pwritev2() without an offset. On descriptors that can wait they are made of the replacements
 * in io.c and message.c.
 */
#include <limits.h>

#include "stiol/fd.h"
#include "stiol/stiol_int.h"

extern ssize_t stiol__passed(int fd, ssize_t n, int events) STIOL_HIDDEN; /* io.c */

static bool waits(int fd, int flags)
{
    return (flags & MSG_DONTWAIT) == 0 && stiol__fd_class(fd) == STIOL_FD_SOCKET;
}

static unsigned at_most(unsigned count)
{
    return count < IOV_MAX ? count : IOV_MAX; /* as the kernel does */
}

/* The kernel looks at the time after each message, and only then; what is left goes back. */
static bool is_over(st_utime_t end, struct timespec *timeout)
{
    st_utime_t now = st_utime(), left = end > now ? end - now : 0;

    timeout->tv_sec = (time_t)(left / STIOL_SECOND);
    timeout->tv_nsec = (long)(left % STIOL_SECOND) * 1000;
    return left == 0;
}

int stiol__recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout)
{
    stiol__vp_t *vp = STIOL_ENTER(io, recvmmsg, fd);
    unsigned done = 0, most = at_most(count);
    st_utime_t end;
    int error = errno;

    if (vp == NULL || !waits(fd, flags) || (timeout != NULL && !stiol__valid(timeout)))
        return (int)stiol__passed(fd, recvmmsg(fd, messages, count, flags, timeout),
                                  (flags & MSG_ERRQUEUE) == 0 ? POLLIN | POLLRDHUP : 0);
    end = timeout != NULL ? stiol__deadline(stiol__timespec(timeout)) : STIOL_NEVER;
    while (done < most) {
        int one = done > 0 && (flags & MSG_WAITFORONE) != 0 ? flags | MSG_DONTWAIT : flags;
        ssize_t n = stiol__recvmsg(fd, &messages[done].msg_hdr, one & ~MSG_WAITFORONE);

        if (n < 0)
            break;
        messages[done++].msg_len = (unsigned)n;
        if ((timeout != NULL && is_over(end, timeout)) ||
            (messages[done - 1].msg_hdr.msg_flags & MSG_OOB) != 0)
            break;
    }
    if (done == 0 && most > 0)
        return -1;
    errno = error;
    return (int)done;
}

int stiol__sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, sendmmsg, fd);
    unsigned done = 0, most = at_most(count);
    int error = errno;

    if (vp == NULL || !waits(fd, flags))
        return (int)stiol__passed(fd, sendmmsg(fd, messages, count, flags), POLLOUT);
    while (done < most) {
        ssize_t n = stiol__sendmsg(fd, &messages[done].msg_hdr, flags);

        if (n < 0)
            break;
        messages[done++].msg_len = (unsigned)n;
    }
    if (done == 0 && most > 0)
        return -1;
    errno = error;
    return (int)done;
}

/* --- preadv2 and pwritev2 --- */

/* Whether it is readv() or writev() on something that can wait; other flags than RWF_NOWAIT mean
 * nothing there. */
static bool is_plain(off64_t offset, int fd, int flags)
{
    return offset == -1 && (flags & RWF_NOWAIT) == 0 && stiol__here() != NULL &&
           stiol__fd_class(fd) != STIOL_FD_PASS;
}

ssize_t stiol__preadv64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
    if (is_plain(offset, fd, flags))
        return stiol__readv(fd, parts, count);
    return preadv64v2(fd, parts, count, offset, flags);
}

ssize_t stiol__pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
    if (is_plain(offset, fd, flags))
        return stiol__writev(fd, parts, count);
    return pwritev64v2(fd, parts, count, offset, flags);
}

ssize_t stiol__preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return stiol__preadv64v2(fd, parts, count, offset, flags);
}

ssize_t stiol__pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return stiol__pwritev64v2(fd, parts, count, offset, flags);
}
