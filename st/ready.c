/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness of bare descriptors: the st_fd_* calls. Used by libst's own blocking I/O and by STIOL.
 */
#include "st/st_internal.h"

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

void st__fd_reset(struct st_vp *vp, int osfd)
{
    struct st__fd *fd = st__fd_find(vp, osfd);

    if (!fd || fd->links)
        return;
    fd->generation++;
    fd->flags = 0;
    fd->ready = 0;
}

/* Threads that wait for this number's earlier descriptor: nothing else would wake them. Watches
 * stay; their owners ask again. */
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

bool st__fd_busy(struct st_vp *vp, int osfd)
{
    struct st__fd *fd = st__fd_find(vp, osfd);

    if (!fd)
        return false;
    for (struct st_fd_link *link = fd->links; link; link = link->next)
        if (link->kind == ST__LINK_THREAD || link->kind == ST__LINK_POLL)
            return true;
    return false;
}
