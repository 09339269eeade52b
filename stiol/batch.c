/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are newer forms of others: recvmmsg() and sendmmsg() for several messages, preadv2()
 * and pwritev2(). They are built on the replacements in io.c, file_at.c and message.c.
 */
#include <limits.h>

#include "stiol/fd.h"
#include "stiol/file.h"

static bool waits(int fd, int flags)
{
    return (flags & MSG_DONTWAIT) == 0 && stiol__fd_class(fd) == STIOL_FD_SOCKET;
}

static unsigned at_most(unsigned count)
{
    return count < IOV_MAX ? count : IOV_MAX; /* as the kernel does */
}

/* The kernel checks the time only after each message; what is left is returned. */
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

    if (!vp || !waits(fd, flags) || (timeout && !stiol__valid(timeout)))
        return (int)stiol__passed(fd, recvmmsg(fd, messages, count, flags, timeout),
                                  (flags & MSG_ERRQUEUE) == 0 ? POLLIN | POLLRDHUP : 0);
    end = timeout ? stiol__deadline(stiol__timespec(timeout)) : STIOL_NEVER;
    while (done < most) {
        int one = done > 0 && (flags & MSG_WAITFORONE) != 0 ? flags | MSG_DONTWAIT : flags;
        ssize_t n = stiol__recvmsg(fd, &messages[done].msg_hdr, one & ~MSG_WAITFORONE);

        if (n < 0)
            break;
        messages[done++].msg_len = (unsigned)n;
        if ((timeout && is_over(end, timeout)) ||
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

    if (!vp || !waits(fd, flags))
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

/* Whether it is readv() or preadv(): these flags mean nothing there, to what is no file or to a
 * read. Others are the kernel's to know, or to refuse. */
static bool is_plain(int flags)
{
    return (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND)) == 0 && stiol__here();
}

ssize_t stiol__preadv64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
    if (is_plain(flags))
        return offset == -1 ? stiol__readv(fd, parts, count)
                            : stiol__preadv64(fd, parts, count, offset);
    return preadv64v2(fd, parts, count, offset, flags);
}

static long run_write(const long *args)
{
    return pwritev64v2((int)args[0], (const struct iovec *)args[1], (int)args[2], args[3],
                       (int)args[4]);
}

/* For files, flags matter: wait until it is on the device (RWF_DSYNC), write at the end
 * (RWF_APPEND). */
ssize_t stiol__pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
    const long args[] = {fd, (long)parts, count, offset, flags};

    if (flags != 0 && (flags & RWF_NOWAIT) == 0 && stiol__here() &&
        stiol__is_file(stiol__fd_kind(fd)))
        return stiol__on_device(stiol__here(), fd, run_write, args);
    if (!is_plain(flags))
        return pwritev64v2(fd, parts, count, offset, flags);
    return offset == -1 ? stiol__writev(fd, parts, count)
                        : stiol__pwritev64(fd, parts, count, offset);
}

ssize_t stiol__preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return stiol__preadv64v2(fd, parts, count, offset, flags);
}

ssize_t stiol__pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return stiol__pwritev64v2(fd, parts, count, offset, flags);
}
