/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select() and pselect(), by way of poll: what apr_sleep() and older libraries wait with.
 */
#include "stiol/stiol_int.h"

enum { ON_STACK = 32 }; /* descriptors */

/* What the kernel's select() takes for readable, writable and exceptional. */
#define READABLE (POLLIN | POLLRDNORM | POLLHUP | POLLERR)
#define WRITABLE (POLLOUT | POLLWRNORM | POLLERR)

static bool in(const fd_set *set, int fd)
{
    const unsigned long *words = (const unsigned long *)set;
    const int bits = 8 * (int)sizeof(*words);

    return set && (words[fd / bits] >> (fd % bits) & 1) != 0;
}

/* Not FD_SET, whose fortified version ends the process beyond FD_SETSIZE, where the kernel's
 * select() works. */
static void put(fd_set *set, int fd, bool value)
{
    unsigned long *words = (unsigned long *)set;
    const int bits = 8 * (int)sizeof(*words);

    if (value)
        words[fd / bits] |= 1ul << (fd % bits);
    else
        words[fd / bits] &= ~(1ul << (fd % bits));
}

static nfds_t count_of(int nfds, const fd_set *r, const fd_set *w, const fd_set *e)
{
    nfds_t count = 0;

    for (int fd = 0; fd < nfds; fd++)
        count += in(r, fd) || in(w, fd) || in(e, fd);
    return count;
}

static void gather(struct pollfd *fds, int nfds, const fd_set *r, const fd_set *w, const fd_set *e)
{
    for (int fd = 0; fd < nfds; fd++) {
        int events =
            (in(r, fd) ? POLLIN : 0) | (in(w, fd) ? POLLOUT : 0) | (in(e, fd) ? POLLPRI : 0);

        if (events != 0)
            *fds++ = (struct pollfd){.fd = fd, .events = (short)events};
    }
}

/* Sets the bit if it was asked for; 1 if so. */
static int tell(fd_set *set, const struct pollfd *fd, int bits)
{
    bool ready = in(set, fd->fd) && (fd->revents & bits) != 0;

    if (set)
        put(set, fd->fd, ready);
    return ready;
}

static int scatter(const struct pollfd *fds, nfds_t count, fd_set *r, fd_set *w, fd_set *e)
{
    int ready = 0;

    for (nfds_t i = 0; i < count; i++) {
        if ((fds[i].revents & POLLNVAL) != 0) {
            errno = EBADF;
            return -1;
        }
    }
    for (nfds_t i = 0; i < count; i++) {
        ready += tell(r, &fds[i], READABLE);
        ready += tell(w, &fds[i], WRITABLE);
        ready += tell(e, &fds[i], POLLPRI);
    }
    return ready;
}

static int select_us(stiol__vp_t *vp, int nfds, fd_set *r, fd_set *w, fd_set *e, st_utime_t timeout)
{
    struct pollfd on_stack[ON_STACK], *fds = on_stack;
    nfds_t count = count_of(nfds, r, w, e);
    int rc;

    if (count > ON_STACK && !(fds = malloc(count * sizeof(*fds))))
        return -1;
    gather(fds, nfds, r, w, e);
    rc = stiol__poll_us(vp, fds, count, timeout);
    if (rc >= 0)
        rc = scatter(fds, count, r, w, e);
    if (fds != on_stack)
        free(fds);
    return rc;
}

int stiol__select(int nfds, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e,
                  struct timeval *restrict timeout)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, select, nfds);
    st_utime_t length = STIOL_NEVER, deadline;
    int rc;

    if (!vp || nfds < 0 || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
        return select(nfds, r, w, e, timeout);
    if (timeout)
        length = (st_utime_t)timeout->tv_sec * STIOL_SECOND + (st_utime_t)timeout->tv_usec;
    deadline = stiol__deadline(length);
    rc = select_us(vp, nfds, r, w, e, length);
    if (timeout) { /* Linux returns the remaining time */
        length = stiol__left(deadline);
        timeout->tv_sec = (time_t)(length / STIOL_SECOND);
        timeout->tv_usec = (suseconds_t)(length % STIOL_SECOND);
    }
    return rc;
}

/* Like ppoll(): the mask is in effect while the kernel is asked. */
int stiol__pselect(int nfds, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e,
                   const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, pselect, nfds);
    struct timespec now = {0, 0};

    if (!vp || nfds < 0 || (timeout && !stiol__valid(timeout)))
        return pselect(nfds, r, w, e, timeout, mask);
    if (mask && ppoll(NULL, 0, &now, mask) < 0)
        return -1; /* a signal that the mask lets in */
    return select_us(vp, nfds, r, w, e, timeout ? stiol__timespec(timeout) : STIOL_NEVER);
}
