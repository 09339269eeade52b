/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll(), ppoll() and epoll_wait(): where APR waits. Each yields at least once, even if it is ready
 * at once, and asks the kernel before it parks, because the caller may not have seen EAGAIN.
 * select() comes here, too.
 */
#include "stiol/stiol_int.h"

/* What libst reports. POLLERR, POLLHUP and POLLNVAL are reported whether asked for or not. */
#define EVENTS (POLLIN | POLLOUT | POLLRDHUP | POLLPRI)
/* Bits that some descriptors set together with those, and others do not: only the kernel knows. */
#define BANDS  (POLLRDBAND | POLLWRBAND | POLLMSG)
enum {
    SLICE = 5000, /* us; longest between checks of what epoll does not report */
};

void stiol__yield(void)
{
    if (!STIOL_OFF(STIOL_NO_YIELD))
        st_thread_yield();
}

/* POLLRDNORM and POLLWRNORM are Linux's other names of POLLIN and POLLOUT. */
static int asked(int events)
{
    int known = events & EVENTS;

    if ((events & (POLLRDNORM | POLLMSG)) != 0)
        known |= POLLIN;
    if ((events & (POLLWRNORM | POLLWRBAND)) != 0)
        known |= POLLOUT;
    if ((events & POLLRDBAND) != 0)
        known |= POLLPRI | POLLIN;
    return known;
}

static bool has_bands(const struct pollfd *fds, nfds_t nfds)
{
    for (nfds_t i = 0; i < nfds; i++)
        if ((fds[i].events & BANDS) != 0)
            return true;
    return false;
}

static int answered(int events, int ready)
{
    if ((ready & POLLIN) != 0)
        ready |= POLLRDNORM;
    if ((ready & POLLOUT) != 0)
        ready |= POLLWRNORM;
    return ready & (events | POLLERR | POLLHUP);
}

/* Of several descriptors, the last one stands for all: if there are two, the first is usually the
 * client's (mod_proxy's tunnels). */
static st_wait_t wait_of(const struct pollfd *fds, nfds_t nfds)
{
    const struct pollfd *one = &fds[nfds - 1];

    return (st_wait_t){.kind = ST_WAIT_FD, .number = one->fd, .events = asked(one->events)};
}

/* Checks at intervals, for what libst cannot wait for. */
static int poll_in_slices(struct pollfd *fds, nfds_t nfds, st_utime_t deadline)
{
    st_wait_t wait = wait_of(fds, nfds);
    stiol__backoff_t backoff = {0};
    int rc;

    st_wait_begin(&wait);
    while ((rc = poll(fds, nfds, 0)) == 0) {
        st_utime_t left = stiol__left(deadline), interval = stiol__interval(&backoff, SLICE);

        if (left == 0)
            break;
        if (interval == 0) {
            st_thread_yield();
        } else if (st_usleep(interval < left ? interval : left) != 0) {
            rc = -1;
            break;
        }
    }
    st_wait_end(&wait);
    return rc;
}

int stiol__wait_fd(int fd, int events, st_utime_t timeout)
{
    struct pollfd one = {.fd = fd, .events = (short)events};
    st_utime_t deadline = stiol__deadline(timeout);

    if (STIOL_OFF(STIOL_NO_ASKING) || st_fd_rearm(fd) == 0) {
        if (st_fd_wait(fd, events, stiol__left(deadline)) > 0)
            return 1;
        if (errno == ETIME) /* the kernel may have had no turn to report something in */
            return STIOL_OFF(STIOL_NO_ASKING) ? 0 : poll(&one, 1, 0);
        if (errno == EINTR || errno == EBADF)
            return -1;
    }
    if (errno == EPERM) { /* a file: always ready */
        stiol__yield();
        return 1;
    }
    return poll_in_slices(&one, 1, deadline);
}

/* The hot path: one system call, plus the scheduler's visit to epoll. */
static int poll_one(struct pollfd *fd, st_utime_t deadline)
{
    int ready;

    if (!STIOL_OFF(STIOL_NO_ASKING) && st_fd_rearm(fd->fd) != 0)
        goto other;
    ready = st_fd_wait(fd->fd, asked(fd->events), stiol__left(deadline));
    if (ready > 0 && STIOL_UNLIKELY(has_bands(fd, 1))) {
        int rc = poll(fd, 1, 0);

        return rc != 0 ? rc : poll_in_slices(fd, 1, deadline);
    }
    if (ready > 0) {
        fd->revents = (short)answered(fd->events, ready);
        return 1;
    }
    if (errno == EINTR)
        return -1;
    if (errno != ETIME || STIOL_OFF(STIOL_NO_ASKING))
        goto other;
    return poll(fd, 1, 0);
other:
    if (errno == ETIME) {
        fd->revents = 0;
        return 0;
    }
    stiol__yield();
    return poll_in_slices(fd, 1, deadline);
}

/* --- several descriptors: a watch on each --- */

/* Not on the stack: while that rests, a watch may be called. */
typedef struct gathering {
    st_thread_t thread;
    bool ready, parking;
    st_watch_t watches[];
} gathering_t;

static void one_is_ready(st_watch_t *watch, int ready)
{
    gathering_t *gathering = watch->data;

    (void)ready;
    if (gathering->parking && !gathering->ready)
        st_thread_unpark(gathering->thread);
    gathering->ready = true;
}

/* Arms all. Returns how many, or -1: one cannot be watched. */
static int arm(gathering_t *gathering, const struct pollfd *fds, nfds_t nfds)
{
    st_watch_t *watches = gathering->watches;
    int armed = 0;

    for (nfds_t i = 0; i < nfds; i++) {
        st_watch_init(&watches[i], fds[i].fd, 0, one_is_ready);
        watches[i].data = gathering;
    }
    for (nfds_t i = 0; i < nfds; i++) {
        if (fds[i].fd < 0)
            continue;
        if (st_fd_rearm(fds[i].fd) != 0 ||
            st_watch_arm(&watches[i], asked(fds[i].events), STIOL_NEVER) != 0)
            return -1;
        armed++;
    }
    return armed;
}

static int park_until(gathering_t *gathering, st_utime_t deadline)
{
    int rc = 0;

    gathering->parking = true;
    while (!gathering->ready && rc == 0)
        rc = st_thread_park(stiol__left(deadline));
    gathering->parking = false;
    return gathering->ready || rc == 0 || errno == ETIME ? 0 : -1;
}

static int poll_many(struct pollfd *fds, nfds_t nfds, st_utime_t deadline)
{
    gathering_t *gathering;
    st_wait_t wait = wait_of(fds, nfds);
    int rc, error;

    rc = poll(fds, nfds, 0);
    if (rc != 0) {
        stiol__yield();
        return rc;
    }
    if (!(gathering = malloc(sizeof(*gathering) + nfds * sizeof(*gathering->watches))))
        return -1;
    gathering->thread = st_thread_self();
    gathering->parking = false;
    st_wait_begin(&wait);
    do {
        gathering->ready = false;
        if (arm(gathering, fds, nfds) >= 0)
            rc = park_until(gathering, deadline);
        else
            rc = poll_in_slices(fds, nfds, deadline);
        if (rc == 0)
            rc = poll(fds, nfds, 0);
        error = errno;
        for (nfds_t i = 0; i < nfds; i++)
            st_watch_free(&gathering->watches[i]);
        if (rc == 0 && STIOL_UNLIKELY(has_bands(fds, nfds)))
            rc = poll_in_slices(fds, nfds, deadline);
    } while (rc == 0 && stiol__left(deadline) > 0);
    st_wait_end(&wait);
    free(gathering);
    if (rc < 0)
        errno = error;
    return rc;
}

/* No descriptor: a sleep. */
static int poll_none(struct pollfd *fds, nfds_t nfds, st_utime_t deadline)
{
    for (nfds_t i = 0; i < nfds; i++)
        fds[i].revents = 0;
    while (stiol__left(deadline) > 0)
        if (st_usleep(stiol__left(deadline)) != 0)
            return -1;
    return 0;
}

/* --- what a recv() has just said --- */

/* Calls that can change what a descriptor reports, or which one its number refers to. */
static unsigned long long calls_with_descriptors(const stiol__vp_t *vp)
{
    return vp->counters.io.calls + vp->counters.fd.calls;
}

void stiol_saw_empty(int osfd)
{
    stiol__vp_t *vp = stiol__here();

    st_fd_again(osfd, POLLIN | POLLRDHUP);
    if (vp)
        vp->empty = (stiol__empty_t){osfd, calls_with_descriptors(vp), st_switch_count()};
}

/* mod_proxy asks poll() whether a kept connection is still open after its filters have read from it
 * and got EAGAIN: an end would have been 0, an error -1. Anything that has arrived since could just
 * as well arrive right after the poll(). Only once between two switches, so that a caller that does
 * both in a loop yields. */
static bool seen_empty(stiol__vp_t *vp, const struct pollfd *fd)
{
    const stiol__empty_t *empty = &vp->empty;

    if (fd->fd != empty->fd || fd->events != POLLIN || empty->switches == vp->spared ||
        empty->switches != st_switch_count() || empty->calls != calls_with_descriptors(vp))
        return false;
    vp->spared = empty->switches;
    return !STIOL_OFF(STIOL_NO_SPARING);
}

int stiol__poll_us(stiol__vp_t *vp, struct pollfd *fds, nfds_t nfds, st_utime_t timeout)
{
    int error = errno, rc;
    st_utime_t deadline;

    if (timeout == 0) {
        if (nfds == 1 && seen_empty(vp, fds))
            return fds->revents = 0;
        stiol__yield();
        return poll(fds, nfds, 0);
    }
    STIOL_PARKS(vp, wait);
    deadline = stiol__deadline(timeout);
    if (nfds == 0 || (nfds == 1 && fds->fd < 0))
        rc = poll_none(fds, nfds, deadline);
    else if (STIOL_LIKELY(nfds == 1))
        rc = poll_one(fds, deadline);
    else
        rc = poll_many(fds, nfds, deadline);
    if (STIOL_UNLIKELY(rc < 0))
        return stiol__failed(vp);
    errno = error;
    return rc;
}

/* --- the replacements --- */

int stiol__poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, poll, nfds > 0 ? fds->fd : -1);

    if (!vp)
        return poll(fds, nfds, timeout);
    return stiol__poll_us(vp, fds, nfds, timeout < 0 ? STIOL_NEVER : (st_utime_t)timeout * 1000);
}

int stiol____poll_chk(struct pollfd *fds, nfds_t nfds, int timeout, size_t size)
{
    if (size / sizeof(*fds) < nfds)
        return __poll_chk(fds, nfds, timeout, size); /* which ends the process */
    return stiol__poll(fds, nfds, timeout);
}

/* The signal mask is in effect while the kernel is asked, not while the state thread is parked, as
 * it is the VP's. */
int stiol__ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                 const sigset_t *mask)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, ppoll, nfds > 0 ? fds->fd : -1);
    struct timespec now = {0, 0};
    int rc;

    if (!vp || (timeout && !stiol__valid(timeout)))
        return ppoll(fds, nfds, timeout, mask);
    if (mask && (rc = ppoll(fds, nfds, &now, mask)) != 0) {
        stiol__yield();
        return rc;
    }
    return stiol__poll_us(vp, fds, nfds, timeout ? stiol__timespec(timeout) : STIOL_NEVER);
}

int stiol____ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                       const sigset_t *mask, size_t size)
{
    if (size / sizeof(*fds) < nfds)
        return __ppoll_chk(fds, nfds, timeout, mask, size);
    return stiol__ppoll(fds, nfds, timeout, mask);
}

/* An epoll descriptor can itself be polled: it is readable while it has events. */
static int epoll_us(stiol__vp_t *vp, int epfd, struct epoll_event *events, int max,
                    st_utime_t timeout, const sigset_t *mask)
{
    st_utime_t deadline;
    int rc, error = errno;

    if (timeout == 0) {
        stiol__yield();
        return epoll_pwait(epfd, events, max, 0, mask);
    }
    rc = epoll_pwait(epfd, events, max, 0, mask);
    if (rc != 0) {
        stiol__yield();
        return rc;
    }
    STIOL_PARKS(vp, wait);
    deadline = stiol__deadline(timeout);
    do {
        if (stiol__wait_fd(epfd, POLLIN, stiol__left(deadline)) < 0)
            return stiol__failed(vp);
        rc = epoll_pwait(epfd, events, max, 0, mask);
    } while (rc == 0 && stiol__left(deadline) > 0);
    if (rc >= 0)
        errno = error;
    return rc;
}

int stiol__epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, epoll_wait, epfd);

    if (!vp)
        return epoll_wait(epfd, events, max, timeout);
    return epoll_us(vp, epfd, events, max, timeout < 0 ? STIOL_NEVER : (st_utime_t)timeout * 1000,
                    NULL);
}

int stiol__epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout,
                       const sigset_t *mask)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, epoll_pwait, epfd);

    if (!vp)
        return epoll_pwait(epfd, events, max, timeout, mask);
    return epoll_us(vp, epfd, events, max, timeout < 0 ? STIOL_NEVER : (st_utime_t)timeout * 1000,
                    mask);
}

int stiol__epoll_pwait2(int epfd, struct epoll_event *events, int max,
                        const struct timespec *timeout, const sigset_t *mask)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, epoll_pwait2, epfd);

    if (!vp || (timeout && !stiol__valid(timeout)))
        return epoll_pwait2(epfd, events, max, timeout, mask);
    return epoll_us(vp, epfd, events, max, timeout ? stiol__timespec(timeout) : STIOL_NEVER, mask);
}
