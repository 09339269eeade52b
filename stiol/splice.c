/* SPDX-License-Identifier: Apache-2.0 */
/*
 * splice(), tee() and vmsplice(). SPLICE_F_NONBLOCK applies only to pipes, so a socket is made
 * nonblocking for the duration of the call; as that does not yield, no other state thread sees it.
 * Then it waits for whichever end is not ready. Between a file and a pipe the call runs on a
 * helper; no socket takes part in it.
 */
#include "stiol/fd.h"
#include "stiol/file.h"
#include "stiol/stiol_int.h"

typedef struct splice_call {
    int in, out;
    off64_t *in_offset, *out_offset;
    size_t length;
    unsigned flags;
    bool tee;
} splice_call_t;

/* Whether the caller wants to wait for this end. */
static bool waits(int fd, unsigned flags)
{
    stiol__fd_class_t class = stiol__fd_class(fd);

    return class == STIOL_FD_SOCKET ||
           (class == STIOL_FD_STREAM && (flags & SPLICE_F_NONBLOCK) == 0);
}

/* Returns the previous flags, or -1: it is left as it is. */
static int make_nonblocking(int fd)
{
    int flags = stiol__fd_class(fd) == STIOL_FD_SOCKET ? fcntl(fd, F_GETFL) : -1;

    if (flags < 0 || (flags & O_NONBLOCK) != 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return -1;
    return flags;
}

static void put_back(int fd, int flags)
{
    int error = errno;

    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags);
    errno = error;
}

static ssize_t splice_once(const splice_call_t *call)
{
    unsigned flags = call->flags | SPLICE_F_NONBLOCK;

    if (call->tee)
        return tee(call->in, call->out, call->length, flags);
    return splice(call->in, call->in_offset, call->out, call->out_offset, call->length, flags);
}

static ssize_t splice_now(const splice_call_t *call)
{
    int in = make_nonblocking(call->in), out = make_nonblocking(call->out);
    ssize_t n = splice_once(call);

    put_back(call->out, out);
    put_back(call->in, in);
    return n;
}

static long run_splice(const long *args)
{
    return splice_once((const splice_call_t *)args[0]);
}

/* If one end is a file, the call waits for its device whatever the flags, so it runs on a helper.
 * The other end is a pipe, or the call fails. */
static ssize_t splice_file(stiol__vp_t *vp, const splice_call_t *call)
{
    const long args[] = {(long)call};
    bool from_file = stiol__is_file(stiol__fd_kind(call->in));
    int file = from_file ? call->in : call->out, pipe_end = from_file ? call->out : call->in;
    stiol__fd_use_t use;
    ssize_t n;

    if (!stiol__is_file(stiol__fd_kind(file)))
        return splice_now(call);
    stiol__fd_use(vp, &use, pipe_end);
    n = stiol__fd_help(vp, file, run_splice, args);
    stiol__fd_used(vp, &use);
    return n;
}

static bool is_ready(int fd, short events)
{
    struct pollfd one = {.fd = fd, .events = events};

    return poll(&one, 1, 0) != 0;
}

/* After EAGAIN: waits until the end that was not ready may be. -1: errno is for the caller. */
static int await(stiol__vp_t *vp, const splice_call_t *call)
{
    bool for_in = !is_ready(call->in, POLLIN);
    int fd = for_in ? call->in : call->out;

    if (!waits(fd, call->flags)) {
        errno = EAGAIN;
        return -1;
    }
    STIOL_PARKS(vp, io);
    if (stiol__wait_fd(fd, for_in ? POLLIN : POLLOUT, STIOL_NEVER) < 0)
        return stiol__failed(vp);
    return 0;
}

static ssize_t do_splice(stiol__vp_t *vp, const splice_call_t *call)
{
    int error = errno;
    ssize_t n;

    while ((n = splice_file(vp, call)) < 0 && errno == EAGAIN)
        if (await(vp, call) != 0)
            return -1;
    if (n >= 0)
        errno = error;
    stiol__yield();
    return n;
}

static bool can_wait(int in, int out, unsigned flags)
{
    return waits(in, flags) || waits(out, flags) || stiol__is_file(stiol__fd_kind(in)) ||
           stiol__is_file(stiol__fd_kind(out));
}

ssize_t stiol__splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t length,
                      unsigned flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, splice, in);
    const splice_call_t call = {in, out, in_offset, out_offset, length, flags, false};

    if (!vp || length == 0 || !can_wait(in, out, flags))
        return splice(in, in_offset, out, out_offset, length, flags);
    return do_splice(vp, &call);
}

ssize_t stiol__tee(int in, int out, size_t length, unsigned flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, tee, in);
    const splice_call_t call = {in, out, NULL, NULL, length, flags, true};

    if (!vp || length == 0 || !can_wait(in, out, flags))
        return tee(in, out, length, flags);
    return do_splice(vp, &call);
}

/* Into a pipe, or out of one. */
ssize_t stiol__vmsplice(int fd, const struct iovec *parts, size_t count, unsigned flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, vmsplice, fd);
    int error = errno;
    ssize_t n;

    if (!vp || count == 0 || !waits(fd, flags))
        return vmsplice(fd, parts, count, flags);
    while ((n = vmsplice(fd, parts, count, flags | SPLICE_F_NONBLOCK)) < 0 && errno == EAGAIN) {
        int access = fcntl(fd, F_GETFL) & O_ACCMODE;

        STIOL_PARKS(vp, io);
        if (stiol__wait_fd(fd, access == O_RDONLY ? POLLIN : POLLOUT, STIOL_NEVER) < 0)
            return stiol__failed(vp);
    }
    if (n >= 0)
        errno = error;
    stiol__yield();
    return n;
}
