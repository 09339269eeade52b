/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read(), write() and the like, on sockets, pipes and files. transfer.c handles whatever can make
 * them wait, or file.c for files. recv() and send() are in message.c.
 */
#include "stiol/file.h"

/* How a call is to be made. Length 0 never waits, except to send an empty datagram. */
typedef enum { REALLY, NOW, PATIENTLY, OF_FILE, AT_FIRST } manner_t;

static manner_t manner_of_kind(stiol__transfer_t *transfer, size_t length, stiol__fd_class_t kind)
{
    switch (kind) {
    case STIOL_FD_NONBLOCKING:
    case STIOL_FD_ASYNC_SOCKET:
    case STIOL_FD_ASYNC_STREAM:
        return length > 0 ? NOW : REALLY;
    case STIOL_FD_SOCKET:
        transfer->class = STIOL_FD_SOCKET;
        return length > 0 || !transfer->in ? PATIENTLY : REALLY;
    case STIOL_FD_STREAM:
        transfer->class = STIOL_FD_STREAM;
        return length > 0 ? PATIENTLY : REALLY;
    case STIOL_FD_FILE:
    case STIOL_FD_MUTE_FILE:
    case STIOL_FD_SLOW_FILE:
    case STIOL_FD_SYNC_FILE:
        return length > 0 ? OF_FILE : REALLY;
    case STIOL_FD_UNKNOWN:
        return length > 0 ? AT_FIRST : REALLY;
    default:
        return REALLY;
    }
}

static manner_t manner_of(stiol__transfer_t *transfer, size_t length)
{
    return manner_of_kind(transfer, length, stiol__fd_kind(transfer->fd));
}

/* Reads an unknown descriptor as a file, which it most likely is: that is quicker than examining
 * it, and may be all that is needed. -2: it is something else, to be read in this manner. */
static ssize_t read_file(stiol__vp_t *vp, stiol__transfer_t *transfer, size_t length,
                         manner_t *manner)
{
    ssize_t n = -2;

    *manner = manner_of_kind(transfer, length, stiol__fd_noted(transfer->fd));
    if (*manner == AT_FIRST && (n = stiol__read_unknown(vp, transfer, -1)) == -2)
        *manner = manner_of(transfer, length);
    else if (*manner == OF_FILE)
        n = stiol__file_read(vp, transfer, -1);
    return n;
}

ssize_t stiol__read(int fd, void *buf, size_t n)
{
    stiol__vp_t *vp = STIOL_ENTER(io, read, fd);
    struct iovec part = {buf, n};
    stiol__transfer_t transfer = {
        .fd = fd, .parts = &part, .count = 1, .in = true, .of_file = true};
    manner_t manner = REALLY;
    ssize_t got = vp ? read_file(vp, &transfer, n, &manner) : -2;

    if (got != -2)
        return got;
    if (manner == REALLY)
        return stiol__passed_in(fd, read(fd, buf, n), 0);
    return manner == NOW ? stiol__move_now(vp, &transfer) : stiol__move(vp, &transfer);
}

ssize_t stiol____read_chk(int fd, void *buf, size_t n, size_t size)
{
    return n > size ? __read_chk(fd, buf, n, size) /* which ends the process */
                    : stiol__read(fd, buf, n);
}

ssize_t stiol__write(int fd, const void *buf, size_t n)
{
    stiol__vp_t *vp = STIOL_ENTER(io, write, fd);
    struct iovec part = {(void *)(uintptr_t)buf, n};
    stiol__transfer_t transfer = {
        .fd = fd, .parts = &part, .count = 1, .of_file = true, .whole = true};
    manner_t manner = vp ? manner_of(&transfer, n) : REALLY;

    if (manner == REALLY)
        return stiol__passed_out(fd, write(fd, buf, n));
    if (manner == OF_FILE)
        return stiol__file_write(vp, &transfer, -1);
    return manner == NOW ? stiol__move_now(vp, &transfer) : stiol__move(vp, &transfer);
}

static bool are_parts(const struct iovec *parts, int count)
{
    return parts && count > 0 && count <= 1024;
}

ssize_t stiol__readv(int fd, const struct iovec *parts, int count)
{
    stiol__vp_t *vp = STIOL_ENTER(io, readv, fd);
    stiol__transfer_t transfer = {.fd = fd,
                                  .parts = (struct iovec *)(uintptr_t)parts,
                                  .count = (size_t)count,
                                  .in = true,
                                  .of_file = true};
    manner_t manner = REALLY;
    ssize_t got = -2;

    if (vp && are_parts(parts, count))
        got = read_file(vp, &transfer, stiol__length_of(parts, (size_t)count), &manner);
    if (got != -2)
        return got;
    if (manner == REALLY)
        return stiol__passed_in(fd, readv(fd, parts, count), 0);
    return manner == NOW ? stiol__move_now(vp, &transfer) : stiol__move(vp, &transfer);
}

/* Sends to a client, whose socket belongs to the MPM: it is nonblocking and need not be
 * examined. */
static ssize_t send_to_client(int fd, const struct iovec *parts, int count, int flags)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};

    return stiol__passed_out(fd, sendmsg(fd, &message, flags | MSG_DONTWAIT));
}

/* What is sent to nonblocking sockets this way is whole responses and requests (libapr's
 * apr_socket_sendv()). Sent in a row, they meet a peer that is already awake: each that arrives
 * alone costs the peer a wake-up and, more often than not, us the CPU. */
static void send_in_a_row(const stiol__vp_t *vp)
{
    if (vp && !STIOL_OFF(STIOL_NO_ROWS))
        st_thread_yield_last();
}

ssize_t stiol__writev(int fd, const struct iovec *parts, int count)
{
    stiol__vp_t *vp = STIOL_ENTER(io, writev, fd);
    stiol__transfer_t transfer = {.fd = fd,
                                  .parts = (struct iovec *)(uintptr_t)parts,
                                  .count = (size_t)count,
                                  .of_file = true,
                                  .whole = true};
    manner_t manner = REALLY;

    if (vp && fd == vp->more_for && count > 0)
        return send_to_client(fd, parts, count, MSG_MORE);
    if (vp && count > 0 && stiol__fd_kind(fd) == STIOL_FD_NONBLOCKING) {
        send_in_a_row(vp);
        return send_to_client(fd, parts, count, 0);
    }
    if (vp && are_parts(parts, count))
        manner = manner_of(&transfer, stiol__length_of(parts, (size_t)count));
    if (manner == PATIENTLY)
        return stiol__move_copied(vp, &transfer);
    if (manner == OF_FILE)
        return stiol__file_write(vp, &transfer, -1);
    send_in_a_row(vp);
    if (manner == REALLY)
        return stiol__passed_out(fd, writev(fd, parts, count));
    return stiol__move_now(vp, &transfer);
}
