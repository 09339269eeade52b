/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches: a callback instead of a waiting thread. The scheduler calls st__watch_ready() and
 * st__watch_timeout(); everything else is called by the watches' owners.
 */
#include "st/st_internal.h"

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
        (void)st__event_rearm(vp, watch->link.osfd, fd); /* which tells them if it fails */
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
