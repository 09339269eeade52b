/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VP knows of descriptors: who waits for each (state threads and watches), what is ready,
 * the registration with epoll, and the table of them all. Called by libst's blocking I/O, STIOL and
 * the watches' owners; the scheduler calls st__watch_ready() and st__watch_timeout().
 */
#include <string.h>

#include "st/st_internal.h"

/* --- Bare descriptors: the st_fd_* calls --- */

enum { ALWAYS = POLLERR | POLLHUP, ALL_BITS = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | ALWAYS };

int st_fd_wait(int osfd, int events, st_utime_t timeout)
{
    struct st_vp *vp = st__vp;
    struct st_thread *me;
    struct st__fd *fd;
    uint32_t generation;
    int reason;

    if (!vp)
        return st__fail(EPERM);
    if (!(fd = st__fd_entry(vp, osfd)) || st__event_add(vp, osfd, fd) < 0)
        return -1;
    if (fd->ready & (events | ALWAYS))
        return fd->ready & (events | ALWAYS);
    me = vp->current;
    if (st__take_interrupt(me) < 0)
        return -1;

    generation = fd->generation;
    me->link.events = (unsigned short)events;
    me->link.osfd = osfd;
    st__fd_link(vp, fd, &me->link);
    reason = st__wait(vp, me, timeout);
    if (reason == EINTR)
        me->interrupted = false;
    if (reason == 0 && fd->generation != generation)
        reason = EBADF; /* forgotten after it was woken: the number may have been reused */
    return reason == 0 ? me->link.events : st__fail(reason);
}

int st_fd_ready(int osfd)
{
    struct st_vp *vp = st__vp;
    struct st__fd *fd = vp ? st__fd_find(vp, osfd) : NULL;

    if (!fd || !(fd->flags & ST__FD_REGISTERED))
        return ALL_BITS;
    return fd->ready;
}

void st_fd_drained(int osfd, int events)
{
    struct st_vp *vp = st__vp;
    struct st__fd *fd = vp ? st__fd_find(vp, osfd) : NULL;

    if (!fd)
        return;
    /* Data that is still unread causes no further event. */
    if (fd->ready & (POLLRDHUP | POLLPRI | ALWAYS))
        events &= ~POLLIN;
    fd->ready = (uint16_t)(fd->ready & ~(events & (POLLIN | POLLOUT)));
}

void st_fd_again(int osfd, int events)
{
    struct st_vp *vp = st__vp;
    struct st__fd *fd = vp ? st__fd_find(vp, osfd) : NULL;
    int gone = events;

    if (!fd)
        return;
    /* With an end or an error pending it would not have been EAGAIN. */
    if (events & POLLIN)
        gone |= POLLRDHUP | POLLPRI | ALWAYS;
    if (events & POLLOUT)
        gone |= ALWAYS;
    fd->ready = (uint16_t)(fd->ready & ~gone);
}

int st_fd_rearm(int osfd)
{
    struct st_vp *vp = st__vp;
    struct st__fd *fd;

    if (!vp)
        return st__fail(EPERM);
    if (!(fd = st__fd_entry(vp, osfd)))
        return -1;
    return st__event_rearm(vp, osfd, fd);
}

/* --- Watches: a callback instead of a waiting thread --- */

void st_watch_init(st_watch_t *watch, int osfd, int flags, st_watch_cb_t cb)
{
    watch->cb = cb;
    watch->flags = flags;
    watch->armed = 0;
    watch->link = (struct st_fd_link){.osfd = osfd};
    watch->link.kind = flags & ST_WATCH_ACCEPT ? ST__LINK_ACCEPT : ST__LINK_WATCH;
    watch->timer = (struct st_timer){.deadline = ST_UTIME_NO_TIMEOUT, .kind = ST__TIMER_WATCH};
}

static void set_armed(struct st_vp *vp, st_watch_t *watch, int armed)
{
    if (armed && !watch->armed)
        vp->stats.watches_armed++;
    if (!armed && watch->armed)
        vp->stats.watches_armed--;
    watch->armed = armed;
}

/* Gives up the exclusive registration; other waiters on the descriptor get an ordinary one. */
static void disarm_accept(struct st_vp *vp, st_watch_t *watch)
{
    struct st__fd *fd = st__fd_find(vp, watch->link.osfd);

    if (!fd || !(fd->flags & ST__FD_EXCLUSIVE))
        return;
    st__event_delete(vp, watch->link.osfd, fd);
    if (fd->links)
        (void)st__event_rearm(vp, watch->link.osfd, fd); /* which notifies them if it fails */
}

void st__watch_disarm(struct st_vp *vp, st_watch_t *watch)
{
    watch->timer.deadline = ST_UTIME_NO_TIMEOUT;
    if (watch->link.pprev) {
        st__fd_unlink(vp, &watch->link);
        if (watch->link.kind == ST__LINK_ACCEPT)
            disarm_accept(vp, watch);
    }
    set_armed(vp, watch, 0);
}

/* Returns 0: linked, or the bits that are already ready, or -1. */
static int arm_fd(struct st_vp *vp, st_watch_t *watch, int events)
{
    struct st__fd *fd = st__fd_entry(vp, watch->link.osfd);
    int ready;

    if (!fd || st__event_add(vp, watch->link.osfd, fd) < 0)
        return -1;
    if ((ready = fd->ready & (events | POLLERR | POLLHUP)) != 0)
        return ready;
    watch->link.events = (unsigned short)events;
    if (!watch->link.pprev)
        st__fd_link(vp, fd, &watch->link);
    return 0;
}

static int arm_accept(struct st_vp *vp, st_watch_t *watch, int events)
{
    struct st__fd *fd = st__fd_entry(vp, watch->link.osfd);

    if (!fd)
        return -1;
    if (watch->link.pprev && watch->link.events == events)
        return 0;
    if (!watch->link.pprev && fd->flags & ST__FD_EXCLUSIVE)
        return st__fail(EEXIST);
    if (st__event_add_exclusive(vp, watch->link.osfd, fd, events) < 0)
        return -1;
    watch->link.events = (unsigned short)events;
    if (!watch->link.pprev)
        st__fd_link(vp, fd, &watch->link);
    return 0;
}

int st_watch_arm(st_watch_t *watch, int events, st_utime_t timeout)
{
    struct st_vp *vp = st__vp;
    int result = 0;

    if (!vp)
        return st__fail(EPERM);
    if (watch->link.osfd >= 0)
        result = watch->link.kind == ST__LINK_ACCEPT ? arm_accept(vp, watch, events)
                                                     : arm_fd(vp, watch, events);
    if (result == 0)
        result = st__timer_set(vp, &watch->timer, timeout);
    if (result == 0) {
        set_armed(vp, watch, 1);
        return 0;
    }
    if (result < 0) {
        int error = errno;

        st__watch_disarm(vp, watch);
        return st__fail(error);
    }
    st__watch_disarm(vp, watch);
    return result;
}

void st_watch_disarm(st_watch_t *watch)
{
    struct st_vp *vp = st__vp;

    if (vp)
        st__watch_disarm(vp, watch);
}

void st_watch_free(st_watch_t *watch)
{
    struct st_vp *vp = st__vp;

    if (!vp)
        return;
    st__watch_disarm(vp, watch);
    st__timer_remove(vp, &watch->timer);
}

void st__watch_ready(struct st_vp *vp, st_watch_t *watch, int ready)
{
    if (watch->link.kind != ST__LINK_ACCEPT)
        st__watch_disarm(vp, watch);
    watch->cb(watch, ready); /* may free it */
}

void st__watch_timeout(struct st_vp *vp, st_watch_t *watch)
{
    if (watch->link.kind != ST__LINK_ACCEPT)
        st__watch_disarm(vp, watch);
    watch->cb(watch, 0); /* may free it */
}

/* --- A descriptor that is closed, or whose number has been reused --- */

static void forget_link(struct st_vp *vp, struct st_fd_link *link)
{
    struct st_thread *thread;

    switch (link->kind) {
    case ST__LINK_THREAD:
        st__wake(vp, ST__CONTAINER(link, struct st_thread, link), EBADF);
        break;
    case ST__LINK_POLL:
        thread = ST__CONTAINER(link, struct st__poll_link, link)->thread;
        link->events = POLLNVAL;
        st__fd_unlink(vp, link);
        if (thread->state == ST__WAITING)
            st__wake(vp, thread, 0);
        break;
    default:
        st__watch_disarm(vp, ST__CONTAINER(link, struct st_watch, link));
    }
}

void st__fd_forget(struct st_vp *vp, int osfd, struct st__fd *fd)
{
    st__event_delete(vp, osfd, fd);
    fd->generation++;
    while (fd->links)
        forget_link(vp, fd->links);
}

void st_fd_forget(int osfd)
{
    struct st_vp *vp = st__vp;
    struct st__fd *fd = vp ? st__fd_find(vp, osfd) : NULL;

    if (fd)
        st__fd_forget(vp, osfd, fd);
}

/* Wakes threads that wait for the earlier descriptor of this number, as nothing else would. Watches
 * stay; their owners check again. */
static void wake_of_earlier(struct st_vp *vp, struct st__fd *fd)
{
    struct st_fd_link *link, *next;

    for (link = fd->links; link; link = next) {
        next = link->next;
        if (link->kind < ST__LINK_WATCH)
            forget_link(vp, link);
    }
}

void st__fd_renewed(struct st_vp *vp, struct st__fd *fd)
{
    fd->generation++;
    fd->flags = 0;
    fd->ready = 0;
    wake_of_earlier(vp, fd);
}

void st_fd_renew(int osfd)
{
    struct st_vp *vp = st__vp;
    struct st__fd *fd = vp ? st__fd_find(vp, osfd) : NULL;

    if (ST__UNLIKELY(fd && (fd->flags != 0 || fd->links)))
        st__fd_renewed(vp, fd);
}

/* --- Registrations --- */

static int control(struct st_vp *vp, int op, int osfd, const struct st__fd *fd, unsigned events)
{
    struct epoll_event event = {.events = events,
                                .data.u64 = (uint64_t)fd->generation << 32 | (uint32_t)osfd};

    if ((events & EPOLLEXCLUSIVE) != 0)
        event.data.u64 |= ST__EXCLUSIVE_TAG;
    return st__sys_epoll_ctl(vp->epfd, op, osfd, &event);
}

enum { EDGE_EVENTS = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP };

int st__event_rearm(struct st_vp *vp, int osfd, struct st__fd *fd)
{
    const unsigned events = (unsigned)EDGE_EVENTS | EPOLLET;
    bool known = (fd->flags & ST__FD_REGISTERED) != 0;
    int error;

    if (fd->flags & ST__FD_EXCLUSIVE)
        return 0; /* level-triggered: the kernel reports it again anyway */
    fd->ready = 0;
    /* What we know may be out of date in either direction. */
    if (control(vp, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, osfd, fd, events) < 0) {
        if (errno != (known ? ENOENT : EEXIST))
            goto error;
        /* Closed behind our back and opened again; a duplicate may keep the old registration
         * alive. */
        if (known)
            st__fd_renewed(vp, fd);
        if (control(vp, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, osfd, fd, events) < 0)
            goto error;
    }
    fd->flags |= ST__FD_REGISTERED;
    return 0;

error:
    error = errno;
    fd->flags = 0;
    if (fd->links) /* nothing else would wake them */
        st__fd_forget(vp, osfd, fd);
    return st__fail(error);
}

int st__event_add(struct st_vp *vp, int osfd, struct st__fd *fd)
{
    if (ST__LIKELY(fd->flags & ST__FD_REGISTERED))
        return 0;
    return st__event_rearm(vp, osfd, fd);
}

int st__event_add_exclusive(struct st_vp *vp, int osfd, struct st__fd *fd, int events)
{
    const unsigned wanted = ((unsigned)events & (EPOLLIN | EPOLLOUT)) | EPOLLEXCLUSIVE;
    bool known = (fd->flags & ST__FD_REGISTERED) != 0;

    /* An exclusive registration can neither be modified nor created by modifying another. */
    if (known)
        st__event_delete(vp, osfd, fd);
    if (control(vp, EPOLL_CTL_ADD, osfd, fd, wanted) < 0) {
        int error = errno;

        if (fd->links)
            (void)st__event_rearm(vp, osfd, fd); /* which notifies them if it fails */
        return st__fail(error);
    }
    fd->flags = ST__FD_REGISTERED | ST__FD_EXCLUSIVE;
    return 0;
}

void st__event_delete(struct st_vp *vp, int osfd, struct st__fd *fd)
{
    if (fd->flags & ST__FD_REGISTERED) {
        int error = errno;

        (void)control(vp, EPOLL_CTL_DEL, osfd, fd, 0); /* ENOENT: closed behind our back */
        errno = error;
    }
    fd->flags = 0;
    fd->ready = 0;
}

/* --- The table, indexed by number and grown in chunks so that entries stay where they are --- */

struct st__fd *st__fd_find(const struct st_vp *vp, int osfd)
{
    unsigned chunk = (unsigned)osfd >> ST__FD_CHUNK_SHIFT;

    /* A negative number yields a very large chunk index. */
    if (ST__UNLIKELY(chunk >= vp->fds.chunk_count || !vp->fds.chunks[chunk]))
        return NULL;
    return &vp->fds.chunks[chunk][osfd & (ST__FD_CHUNK - 1)];
}

static int grow_directory(struct st__fd_table *table, unsigned chunk)
{
    unsigned count = table->chunk_count == 0 ? 8 : table->chunk_count;
    struct st__fd **chunks;

    while (count <= chunk)
        count *= 2;
    if (!(chunks = st__realloc(table->chunks, count * sizeof(*chunks))))
        return -1;
    memset(chunks + table->chunk_count, 0, (count - table->chunk_count) * sizeof(*chunks));
    table->chunks = chunks;
    table->chunk_count = count;
    return 0;
}

struct st__fd *st__fd_entry(struct st_vp *vp, int osfd)
{
    struct st__fd_table *table = &vp->fds;
    struct st__fd *fd = st__fd_find(vp, osfd);
    unsigned chunk = (unsigned)osfd >> ST__FD_CHUNK_SHIFT;

    if (ST__LIKELY(fd))
        return fd;
    if (osfd < 0) {
        errno = EBADF;
        return NULL;
    }
    if (chunk >= table->chunk_count && grow_directory(table, chunk) < 0)
        return NULL;
    if (!(table->chunks[chunk] = st__calloc(ST__FD_CHUNK, sizeof(struct st__fd))))
        return NULL;
    return st__fd_find(vp, osfd);
}

void st__fd_table_destroy(struct st_vp *vp)
{
    for (unsigned chunk = 0; chunk < vp->fds.chunk_count; chunk++)
        free(vp->fds.chunks[chunk]);
    free(vp->fds.chunks);
    vp->fds = (struct st__fd_table){0};
}

void st__fd_link(struct st_vp *vp, struct st__fd *fd, struct st_fd_link *link)
{
    assert(!link->pprev);
    link->next = fd->links;
    link->pprev = &fd->links;
    if (link->next)
        link->next->pprev = &link->next;
    fd->links = link;
    vp->stats.waiting_fds++;
}

void st__fd_unlink(struct st_vp *vp, struct st_fd_link *link)
{
    assert(link->pprev);
    *link->pprev = link->next;
    if (link->next)
        link->next->pprev = link->pprev;
    link->pprev = NULL;
    vp->stats.waiting_fds--;
}
