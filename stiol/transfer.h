/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call that reads or writes, in the form that fits all of them: io.c and message.c fill it in,
 * transfer.c carries it out.
 */
#ifndef STIOL_TRANSFER_H
#define STIOL_TRANSFER_H

#include "stiol/fd.h"
#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

typedef struct stiol__transfer {
    int fd, flags; /* MSG_*, of the caller */
    struct iovec *parts;
    size_t count;
    struct msghdr *message;  /* NULL: none but the parts */
    bool in;                 /* reading */
    bool of_file;            /* read(), write() and the like: not only on sockets */
    bool whole;              /* if it is a stream, continues until all is there */
    stiol__fd_class_t class; /* SOCKET, STREAM, or PASS: the real call */
    /* transfer.c's own: */
    st_utime_t deadline; /* 0: not known yet */
    bool partly;         /* `first` is what came with the first bytes */
    struct msghdr first;
    unsigned fruitless; /* consecutive waits that ended at once, for nothing */
    stiol__backoff_t backoff;
} stiol__transfer_t;

/** The sum of the parts' lengths, bytes. */
size_t stiol__length_of(const struct iovec *parts, size_t count);
/** Advances by n bytes. */
void stiol__advance(stiol__transfer_t *transfer, size_t n);

/** Carries out a call, waiting where it has to. The parts are changed if it takes several tries. */
ssize_t stiol__move(stiol__vp_t *vp, stiol__transfer_t *transfer);

/** The same with the caller's parts: a copy is changed. */
ssize_t stiol__move_copied(stiol__vp_t *vp, stiol__transfer_t *transfer);

/** A call on a descriptor believed to be nonblocking, in a form that does not wait even if it no
 * longer is: O_NONBLOCK belongs to the open file, which others may share. */
ssize_t stiol__move_now(stiol__vp_t *vp, stiol__transfer_t *transfer);

/** To be called after EAGAIN: parks until the call is worth another try. -1: errno is for the
 * caller. */
int stiol__wait_for_turn(stiol__vp_t *vp, stiol__transfer_t *transfer);

/** Whether a descriptor believed to be nonblocking is now blocking. */
bool stiol__blocks_now(int fd);
/** A call on it has moved n bytes, or said EAGAIN: whether the call has to wait for more for that
 * reason. */
bool stiol__is_to_wait(const stiol__transfer_t *transfer, ssize_t n);
/** In that case: waits, and returns the total moved. */
ssize_t stiol__move_after_all(stiol__vp_t *vp, stiol__transfer_t *transfer, ssize_t n);

/** The result of a call that was passed through. Its EAGAIN matters to the next one to wait for the
 * descriptor: without it libst would still believe it to be ready. */
ssize_t stiol__passed(int fd, ssize_t n, int events);

/** connect.c: sets or clears a socket's O_NONBLOCK for a call that has no flag of its own; to be
 * undone before the next yield. Returns 0, or -1 with errno; success leaves errno unchanged. */
int stiol__set_nonblocking(int fd, bool on);

static inline bool stiol__would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static inline ssize_t stiol__passed_in(int fd, ssize_t n, int flags)
{
    /* Urgent data and errors have a queue of their own. */
    return (flags & (MSG_OOB | MSG_ERRQUEUE)) == 0 ? stiol__passed(fd, n, POLLIN | POLLRDHUP) : n;
}

static inline ssize_t stiol__passed_out(int fd, ssize_t n)
{
    return stiol__passed(fd, n, POLLOUT);
}

#pragma GCC visibility pop

#endif /* STIOL_TRANSFER_H */
