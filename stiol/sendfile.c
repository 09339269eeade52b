/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sendfile(). The kernel's own call sends what is in memory; a helper waits for the disk for the
 * rest. Called only through the replacements.
 */
#include "stiol/file.h"

enum { PIECE = 128 * 1024 }; /* bytes that a helper reads for a blocking descriptor */

typedef struct send_call {
    int out, in;
    off64_t *offset;         /* NULL: at the file position */
    stiol__fd_class_t class; /* of `out`: PASS, SOCKET or STREAM */
    st_utime_t deadline;     /* of `out` */
} send_call_t;

static size_t at_most(size_t count, size_t most)
{
    return count < most ? count : most;
}

/* Where the next byte is; -1: `in` has no position. */
static off64_t position_of(stiol__vp_t *vp, const send_call_t *call)
{
    int error = errno;
    off64_t at;

    if (call->offset)
        return *call->offset;
    if (!stiol__file_turn(vp, call->in))
        return -1; /* it was closed, which the call itself will report */
    at = lseek64(call->in, 0, SEEK_CUR);
    errno = error;
    return at;
}

static bool is_absent(const send_call_t *call, off64_t at, size_t count)
{
    stiol__fd_class_t class = stiol__fd_noted(call->in);

    return at >= 0 && (class == STIOL_FD_UNKNOWN || stiol__is_file(class)) &&
           stiol__is_absent(call->in, at, at_most(count, STIOL_CHUNK));
}

/* --- to a nonblocking descriptor: the real call, here or on a helper --- */

static long run_send(const long *args)
{
    return sendfile64((int)args[0], (int)args[1], (off64_t *)args[2], (size_t)args[3]);
}

static ssize_t send_async(stiol__vp_t *vp, const send_call_t *call, size_t count)
{
    size_t chunk = at_most(count, STIOL_CHUNK);
    const long args[] = {call->out, call->in, (long)call->offset, (long)chunk};
    stiol__fd_use_t use;
    ssize_t n;

    if (stiol__fd_noted(call->in) == STIOL_FD_PASS)
        return sendfile64(call->out, call->in, call->offset, count);
    if (!is_absent(call, position_of(vp, call), chunk))
        return sendfile64(call->out, call->in, call->offset, chunk);
    stiol__fd_use(vp, &use, call->out);
    n = stiol__fd_help(vp, call->in, run_send, args);
    stiol__fd_used(vp, &use);
    return n;
}

/* --- to a blocking descriptor --- */

/* The socket or pipe is made nonblocking for this call, and thereby for all its users:
 * nothing may yield before that is undone. */
static ssize_t try_to_send(const send_call_t *call, size_t count)
{
    ssize_t n;

    if (stiol__set_nonblocking(call->out, true) != 0)
        return -1;
    n = sendfile64(call->out, call->in, call->offset, at_most(count, STIOL_CHUNK));
    (void)stiol__set_nonblocking(call->out, false);
    return n;
}

/* Returns -2 if it had to wait for room: what was in memory before may no longer be. */
static ssize_t send_resident(stiol__vp_t *vp, const send_call_t *call, size_t count)
{
    ssize_t n = try_to_send(call, count);
    int rc;

    if (n >= 0 || errno != EAGAIN)
        return n;
    STIOL_PARKS(vp, io);
    rc = stiol__wait_fd(call->out, POLLOUT, stiol__left(call->deadline));
    if (rc == 0)
        errno = EAGAIN; /* as SO_SNDTIMEO has it */
    return rc > 0 ? -2 : rc < 0 ? stiol__failed(vp) : -1;
}

static long run_read(const long *args)
{
    return pread64((int)args[0], (void *)args[1], (size_t)args[2], args[3]);
}

static void advance(const send_call_t *call, off64_t at, ssize_t n)
{
    if (n <= 0)
        return;
    if (call->offset)
        *call->offset = at + n;
    else
        (void)lseek64(call->in, at + n, SEEK_SET);
}

/* A helper must not wait for whoever reads at the other end, and the flag must not change while
 * others run. So the helper reads, and the state thread writes. */
static ssize_t send_absent(stiol__vp_t *vp, const send_call_t *call, off64_t at, size_t count)
{
    struct iovec part = {malloc(at_most(count, PIECE)), at_most(count, PIECE)};
    const long args[] = {call->in, (long)part.iov_base, (long)part.iov_len, at};
    stiol__transfer_t transfer = {.fd = call->out,
                                  .parts = &part,
                                  .count = 1,
                                  .of_file = true,
                                  .whole = true,
                                  .class = call->class,
                                  .deadline = call->deadline};
    void *buffer = part.iov_base;
    ssize_t n;

    if (!buffer)
        return -1;
    n = stiol__fd_help(vp, call->in, run_read, args);
    if (n > 0) {
        part.iov_len = (size_t)n;
        n = stiol__move(vp, &transfer);
        advance(call, at, n);
    }
    free(buffer);
    return n;
}

static ssize_t send_all(stiol__vp_t *vp, const send_call_t *call, size_t count)
{
    size_t done = 0;
    ssize_t n = 1;

    while (done < count && n != 0 && n != -1) {
        off64_t at = position_of(vp, call);

        n = is_absent(call, at, count - done) ? send_absent(vp, call, at, count - done)
                                              : send_resident(vp, call, count - done);
        done += n > 0 ? (size_t)n : 0;
    }
    stiol__yield();
    return done == 0 && n < 0 ? -1 : (ssize_t)done;
}

/* --- the replacements --- */

ssize_t stiol__sendfile64(int out, int in, off64_t *offset, size_t count)
{
    stiol__vp_t *vp = STIOL_ENTER(io, sendfile64, out);
    send_call_t call = {.out = out, .in = in, .offset = offset};

    if (!vp || count == 0)
        return sendfile64(out, in, offset, count);
    call.class = stiol__fd_class(out);
    if (call.class != STIOL_FD_SOCKET && call.class != STIOL_FD_STREAM)
        return stiol__passed(out, send_async(vp, &call, count), POLLOUT);
    call.deadline = stiol__deadline(stiol__socket_timeout(out, SO_SNDTIMEO));
    return send_all(vp, &call, count);
}

_Static_assert(sizeof(off_t) == sizeof(off64_t), "files are addressed with 64 bits");

ssize_t stiol__sendfile(int out, int in, off_t *offset, size_t count)
{
    return stiol__sendfile64(out, in, (off64_t *)offset, count);
}
