/* SPDX-License-Identifier: Apache-2.0 */
/*
 * st_poll() and st_netfd_poll(): waiting for several descriptors, some of which the program may use
 * behind libst's back. So the kernel is asked each time: once at the start, and again by renewing
 * the registration before the wait.
 */
#include "st/st_internal.h"

enum { LOCAL_LINKS = 8, POLLABLE = POLLIN | POLLOUT | POLLPRI };

static int check(const struct pollfd *pds, int npds)
{
    for (int i = 0; i < npds; i++)
        if (pds[i].fd < 0 || pds[i].events == 0 || pds[i].events & ~POLLABLE)
            return st__fail(EINVAL);
    return 0;
}

static void unlink_all(struct st_vp *vp, struct st__poll_link *links, int count)
{
    for (int i = 0; i < count; i++)
        if (links[i].link.pprev)
            st__fd_unlink(vp, &links[i].link);
}

static int link_all(struct st_vp *vp, struct st__poll_link *links, const struct pollfd *pds,
                    int npds)
{
    for (int i = 0; i < npds; i++) {
        struct st__fd *fd = st__fd_entry(vp, pds[i].fd);

        if (!fd || st__event_rearm(vp, pds[i].fd, fd) < 0) {
            unlink_all(vp, links, i);
            return -1;
        }
        links[i].thread = vp->current;
        links[i].link = (struct st_fd_link){
            .osfd = pds[i].fd, .events = (unsigned short)pds[i].events, .kind = ST__LINK_POLL};
        st__fd_link(vp, fd, &links[i].link);
    }
    return 0;
}

/* A link that is no longer in its list has fired; its events then say what is ready. */
static int collect(struct st__poll_link *links, struct pollfd *pds, int npds)
{
    int ready = 0;

    for (int i = 0; i < npds; i++) {
        pds[i].revents = !links[i].link.pprev ? (short)links[i].link.events : 0;
        ready += pds[i].revents != 0;
    }
    return ready;
}

static int wait_links(struct st_vp *vp, struct st__poll_link *links, struct pollfd *pds, int npds,
                      st_utime_t timeout)
{
    int ready;

    if (link_all(vp, links, pds, npds) < 0)
        return -1;
    (void)st__wait(vp, vp->current, timeout);
    ready = collect(links, pds, npds);
    unlink_all(vp, links, npds);
    /* As in State Threads 1.9, an interrupt takes precedence over readiness. */
    return st__take_interrupt(vp->current) < 0 ? -1 : ready;
}

int st_poll(struct pollfd *pds, int npds, st_utime_t timeout)
{
    struct st_vp *vp = st__vp_get();
    struct st__poll_link local[LOCAL_LINKS], *links = local;
    int ready;

    if (!vp || st__take_interrupt(vp->current) < 0 || check(pds, npds) < 0)
        return -1;
    /* It always yields: a program that polls in a loop must not keep the VP to itself. */
    st_thread_yield();
    if (st__take_interrupt(vp->current) < 0)
        return -1;
    ready = st__sys_poll(pds, npds);
    if (ready != 0 || timeout == ST_UTIME_NO_WAIT)
        return ready;

    if (npds > LOCAL_LINKS && !(links = st__malloc((size_t)npds * sizeof(*links))))
        return -1;
    ready = wait_links(vp, links, pds, npds, timeout);
    if (links != local) {
        int error = errno;

        free(links);
        errno = error;
    }
    return ready;
}

int st_netfd_poll(st_netfd_t fd, int how, st_utime_t timeout)
{
    struct pollfd pd = {.fd = fd->osfd, .events = (short)how};
    int ready = st_poll(&pd, 1, timeout);

    if (ready < 0)
        return -1;
    if (ready == 0)
        return st__fail(ETIME);
    return pd.revents & POLLNVAL ? st__fail(EBADF) : 0;
}
