/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event system: the VP's epoll instance, and the scheduler's turn, which polls epoll and
 * dispatches events, posts from other kernel threads and timers. Called by the scheduler;
 * descriptors are registered in fd.c. See docs/internals/events.md.
 */
#include <limits.h>

#include "st/st_internal.h"

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLPRI == POLLPRI &&
                   EPOLLERR == POLLERR && EPOLLHUP == POLLHUP && EPOLLRDHUP == POLLRDHUP,
               "epoll's bits are poll's");

enum { SHORT_TURN = 20 }; /* us */
/* Maximum number of full batches of events per turn. */
enum { MOST_BATCHES = 64 };
/* The instance is replaced after this many turns with an event that belongs to nobody: a single one
 * may have been fetched together with its descriptor's last event. */
enum { PATIENCE_WITH_GHOSTS = 3 };

enum { KEPT_BITS = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLERR | POLLHUP };

/* The eventfd's tag: no descriptor has this number. */
#define EVENTFD_TAG UINT64_MAX

/* --- The instance --- */

/* Including the eventfd. */
static int open_epoll(struct st_vp *vp)
{
    /* Edge-triggered: every write is a new event and nobody has to read an eventfd. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = EVENTFD_TAG};
    int osfd = vp->pipe_end >= 0 ? vp->pipe_end : vp->eventfd, error;

    if ((vp->epfd = st__sys_epoll_create()) < 0)
        return -1;
    if (st__sys_epoll_ctl(vp->epfd, EPOLL_CTL_ADD, osfd, &event) == 0)
        return 0;
    error = errno;
    close(vp->epfd);
    return st__fail(error);
}

/* A sandbox may refuse eventfds. */
static int open_eventfd(struct st_vp *vp)
{
    int ends[2];

    vp->pipe_end = -1;
    vp->eventfd = st__sys_eventfd();
    if (vp->eventfd >= 0)
        return 0;
    if ((errno != ENOSYS && errno != EPERM) || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    vp->pipe_end = ends[0];
    vp->eventfd = ends[1];
    return 0;
}

static void close_eventfd(struct st_vp *vp)
{
    close(vp->eventfd);
    if (vp->pipe_end >= 0)
        close(vp->pipe_end);
}

static int open_instance(struct st_vp *vp)
{
    int error;

    if (open_eventfd(vp) == 0) {
        if (open_epoll(vp) == 0)
            return 0;
        error = errno;
        close_eventfd(vp);
        errno = error;
    }
    vp->epfd = vp->eventfd = vp->pipe_end = -1;
    return -1;
}

static void close_instance(struct st_vp *vp)
{
    if (vp->epfd >= 0) {
        close_eventfd(vp);
        close(vp->epfd);
    }
    vp->epfd = vp->eventfd = vp->pipe_end = -1;
}

/* One write at most has come since the VP went to sleep, and few are left from before. */
static void drain_pipe(const struct st_vp *vp)
{
    char dropped[512];

    if (vp->pipe_end >= 0) {
        ssize_t ignored = read(vp->pipe_end, dropped, sizeof(dropped));

        (void)ignored;
    }
}

int st__event_init(struct st_vp *vp)
{
    if (st__valgrind_running()) /* which complains about system calls it does not know */
        atomic_store(&st__process.no_pwait2, 1);
    return open_instance(vp);
}

/* The caller's watches outlive the VP: leave none of them linked to freed memory. */
static void unlink_all(struct st_vp *vp, struct st__fd *fd)
{
    while (fd->links) {
        struct st_fd_link *link = fd->links;

        if (link->kind == ST__LINK_WATCH || link->kind == ST__LINK_ACCEPT)
            st__watch_disarm(vp, ST__CONTAINER(link, struct st_watch, link));
        else
            st__fd_unlink(vp, link);
    }
}

static void for_each_fd(struct st_vp *vp,
                        void (*action)(struct st_vp *vp, int osfd, struct st__fd *fd))
{
    for (unsigned chunk = 0; chunk < vp->fds.chunk_count; chunk++) {
        if (!vp->fds.chunks[chunk])
            continue;
        for (int i = 0; i < ST__FD_CHUNK; i++)
            action(vp, (int)(chunk << ST__FD_CHUNK_SHIFT) + i, &vp->fds.chunks[chunk][i]);
    }
}

static void end_fd(struct st_vp *vp, int osfd, struct st__fd *fd)
{
    (void)osfd;
    fd->flags = 0;
    unlink_all(vp, fd);
}

void st__event_destroy(struct st_vp *vp)
{
    close_instance(vp);
    for_each_fd(vp, end_fd);
    st__fd_table_destroy(vp);
}

static void revive_fd(struct st_vp *vp, int osfd, struct st__fd *fd)
{
    bool exclusive = (fd->flags & ST__FD_EXCLUSIVE) != 0;

    fd->flags = 0;
    fd->ready = 0;
    if (!fd->links)
        return;
    /* A descriptor that can no longer be registered was closed: its waiters must be told. */
    if (exclusive ? st__event_add_exclusive(vp, osfd, fd, POLLIN) < 0
                  : st__event_add(vp, osfd, fd) < 0)
        st__fd_forget(vp, osfd, fd);
}

int st__event_revive(struct st_vp *vp)
{
    close_instance(vp);
    if (open_instance(vp) < 0)
        return -1;
    for_each_fd(vp, revive_fd);
    return 0;
}

/* --- Dispatch --- */

static inline int match(const struct st_fd_link *link, const struct st__fd *fd)
{
    return (link->events | POLLERR | POLLHUP) & fd->ready;
}

/* Wakes threads; they run later, so the list only shrinks. */
static void wake_threads(struct st_vp *vp, struct st__fd *fd)
{
    struct st_fd_link *link, *next;

    for (link = fd->links; link; link = next) {
        struct st_thread *thread;
        int ready = match(link, fd);

        next = link->next;
        if (ready == 0 || link->kind >= ST__LINK_WATCH)
            continue;
        link->events = (unsigned short)ready; /* what the waiter gets */
        st__fd_unlink(vp, link);
        thread = link->kind == ST__LINK_THREAD
                     ? ST__CONTAINER(link, struct st_thread, link)
                     : ST__CONTAINER(link, struct st__poll_link, link)->thread;
        if (thread->state == ST__WAITING)
            st__wake(vp, thread, 0);
    }
}

static struct st_fd_link *find_match(const struct st__fd *fd, unsigned short kind)
{
    for (struct st_fd_link *link = fd->links; link; link = link->next)
        if (link->kind == kind && match(link, fd) != 0)
            return link;
    return NULL;
}

/* Runs callbacks. Each may change the list or forget the descriptor, so start over after each call.
 * A one-shot watch that is armed again does not match: arming refuses what is already ready. */
static void run_watches(struct st_vp *vp, struct st__fd *fd)
{
    uint32_t generation = fd->generation;
    struct st_fd_link *link;

    while ((link = find_match(fd, ST__LINK_WATCH))) {
        st__watch_ready(vp, ST__CONTAINER(link, struct st_watch, link), match(link, fd));
        if (fd->generation != generation)
            return;
    }
    if ((link = find_match(fd, ST__LINK_ACCEPT)))
        st__watch_ready(vp, ST__CONTAINER(link, struct st_watch, link), match(link, fd));
    if (fd->generation == generation && fd->flags & ST__FD_EXCLUSIVE)
        fd->ready = 0; /* level-triggered: no bit survives its turn */
}

/* An event for an earlier use of this number, whose open file lives on in a duplicate. If it is
 * level-triggered, it is reported in every turn. */
static void ignore(struct st_vp *vp, const struct epoll_event *event, const struct st__fd *fd)
{
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);

    if ((event->data.u64 & ST__EXCLUSIVE_TAG) != 0 && (!fd || fd->generation != generation))
        vp->ghost_seen = true;
}

static void dispatch(struct st_vp *vp, const struct epoll_event *event)
{
    int osfd = (int)(event->data.u64 & (ST__EXCLUSIVE_TAG - 1));
    struct st__fd *fd;

    if (event->data.u64 == EVENTFD_TAG) {
        drain_pipe(vp);
        return;
    }
    fd = st__fd_find(vp, osfd);
    if (!fd || fd->generation != (uint32_t)(event->data.u64 >> 32) || fd->flags == 0) {
        ignore(vp, event, fd);
        return;
    }
    fd->ready |= (uint16_t)(event->events & KEPT_BITS);
    if (!fd->links)
        return;
    wake_threads(vp, fd);
    if (fd->links || fd->flags & ST__FD_EXCLUSIVE)
        run_watches(vp, fd);
}

/* --- The turn --- */

static int wait_ms(struct st_vp *vp, st_utime_t delay)
{
    /* Rounded up: waking too early would only cost another turn. */
    st_utime_t ms = delay == ST_UTIME_NO_TIMEOUT ? 0 : (delay + 999) / 1000;
    int timeout = delay == ST_UTIME_NO_TIMEOUT ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;

    return st__sys_epoll_wait(vp->epfd, vp->events, ST__EVENT_BATCH, timeout);
}

static int wait_events(struct st_vp *vp, st_utime_t delay)
{
    const st_utime_t longest = 1000000ULL * INT_MAX;
    struct timespec timeout;
    int count;

    if (delay == 0 || delay == ST_UTIME_NO_TIMEOUT ||
        atomic_load_explicit(&st__process.no_pwait2, memory_order_relaxed))
        return wait_ms(vp, delay);
    if (delay > longest)
        delay = longest;
    timeout.tv_sec = (time_t)(delay / 1000000);
    timeout.tv_nsec = (long)(delay % 1000000) * 1000;
    count = st__sys_epoll_pwait2(vp->epfd, vp->events, ST__EVENT_BATCH, &timeout);
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) { /* EPERM: refused by a seccomp filter */
        atomic_store(&st__process.no_pwait2, 1);
        return wait_ms(vp, delay);
    }
    return count;
}

static void tell_sleep(struct st_vp *vp, int asleep)
{
    vp->in_callback = true;
    vp->sleep_cb(asleep);
    vp->in_callback = false;
}

/* Tells posters that they have to write to the eventfd. Returns the delay, 0 if one came first. */
static st_utime_t fall_asleep(struct st_vp *vp, st_utime_t delay)
{
    if (vp->sleep_cb)
        tell_sleep(vp, 1);
    atomic_store(&vp->asleep, 1);
    return !atomic_load(&vp->remote) ? delay : 0;
}

static void wake_up(struct st_vp *vp)
{
    atomic_store_explicit(&vp->asleep, 0, memory_order_relaxed);
    if (vp->sleep_cb)
        tell_sleep(vp, 0);
}

/* us since the last visit; a program's own clock may have gone backwards. */
static st_utime_t since(const struct st_vp *vp, st_utime_t now)
{
    return now > vp->clock ? now - vp->clock : 0;
}

static void count_turn(struct st_vp *vp, st_utime_t held, int events)
{
    int bucket = held < 64 ? 0 : 63 - __builtin_clzll(held) - 5;

    vp->stats.turns++;
    vp->stats.events += (unsigned long long)events;
    vp->stats.turn_histogram[bucket > 15 ? 15 : bucket]++;
    if (held > vp->stats.longest_turn)
        vp->stats.longest_turn = held;
}

/* The next visit comes after one pass of the run queue, or after a few switches if the queue is
 * short. While threads switch quickly and visits find nothing, visits become rarer. */
static void set_budget(struct st_vp *vp, st_utime_t held, int events)
{
    unsigned long long ready;

    if (events > 0 || held > SHORT_TURN)
        vp->patience = ST__MIN_BUDGET;
    else if (vp->patience < ST__MAX_PATIENCE)
        vp->patience *= 2;
    ready = st__runq_count(vp);
    vp->stats.switches = st__switches(vp);
    vp->budget_given = ready > (unsigned)vp->patience ? (int)ready : vp->patience;
    vp->budget = vp->budget_given;
}

/* Dispatches the events. After a long turn there may be more of them than fit, as well as timers
 * that are due: no wait may time out when its event has already happened, so all events come
 * first. */
static void dispatch_all(struct st_vp *vp, int count)
{
    for (int rounds = 0;; rounds++) {
        for (int i = 0; i < count; i++)
            dispatch(vp, &vp->events[i]);
        if (ST__LIKELY(count < ST__EVENT_BATCH) || rounds == MOST_BATCHES ||
            st__timer_delay(vp, vp->clock) != 0)
            return;
        count = wait_events(vp, 0);
        if (count <= 0)
            return;
        vp->stats.events += (unsigned long long)count;
    }
}

/* Moves everything that waits to a new epoll instance, leaving behind the stale registration of the
 * present one. The eventfd stays: other kernel threads may be about to write to it. */
static void exorcise(struct st_vp *vp)
{
    int old = vp->epfd;

    if (!vp->ghost_seen || ++vp->haunted < PATIENCE_WITH_GHOSTS) {
        vp->haunted = vp->ghost_seen ? vp->haunted : 0;
        vp->ghost_seen = false;
        return;
    }
    vp->ghost_seen = false;
    if (open_epoll(vp) < 0) { /* no descriptor is free: try again in the next turn */
        vp->epfd = old;
        return;
    }
    close(old);
    vp->haunted = 0;
    for_each_fd(vp, revive_fd);
}

void st__event_turn(struct st_vp *vp)
{
    bool idle = !vp->runq_head, sleeps = false;
    st_utime_t delay = 0, left = 0, now, held;
    int count;

    st__reap(vp);
    st__exchange_for_callbacks(vp); /* and for signals, while the VP sleeps */
    if (idle) {
        left = st_utime();
        delay = st__timer_delay(vp, left);
        sleeps = delay != 0;
        if (sleeps)
            delay = fall_asleep(vp, delay);
    }
    count = wait_events(vp, delay);
    if (count < 0) {
        if (errno != EINTR)
            st__fatal(STMNO(0094) "epoll_wait failed: was the epoll descriptor closed?");
        count = 0;
    }
    if (sleeps)
        wake_up(vp);
    now = st_utime();
    /* A visit that does not wait is short: it does not need a second reading of the clock. */
    held = since(vp, idle ? left : now);
    vp->clock = now;
    st__clock_tick(now);
    count_turn(vp, held, count);

    vp->in_callback = true;
    if (ST__UNLIKELY(vp->turn_cb))
        vp->turn_cb(held);
    dispatch_all(vp, count);
    if (ST__UNLIKELY(vp->ghost_seen || vp->haunted > 0))
        exorcise(vp);
    st__remote_run(vp);
    st__timer_fire_due(vp);
    vp->in_callback = false;
    set_budget(vp, held, count);
}

st_turn_cb_t st_set_turn_cb(st_turn_cb_t cb)
{
    struct st_vp *vp = st__vp;
    st_turn_cb_t previous;

    if (!vp)
        return NULL;
    previous = vp->turn_cb;
    vp->turn_cb = cb;
    return previous;
}

st_sleep_cb_t st_set_sleep_cb(st_sleep_cb_t cb)
{
    struct st_vp *vp = st__vp;
    st_sleep_cb_t previous;

    if (!vp)
        return NULL;
    previous = vp->sleep_cb;
    vp->sleep_cb = cb;
    return previous;
}

int st_in_callback(void)
{
    return st__vp && st__vp->in_callback;
}
