/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls from other kernel threads and from signal handlers: a lock-free stack of posts, and an
 * eventfd that is written only when the VP may be asleep in epoll_wait.
 */
#include "st/st_internal.h"

void st_vp_post(st_vp_t vp, st_remote_t *remote)
{
    st_remote_t *head = atomic_load_explicit(&vp->remote, memory_order_relaxed);
    const uint64_t one = 1;
    int error = errno;

    do
        remote->next = head;
    while (!atomic_compare_exchange_weak(&vp->remote, &head, remote));
    /* Sequentially consistent on both sides: either the VP sees the post before it sleeps, or its
     * flag is seen here. The poster that clears the flag writes; more writes would add nothing. */
    if (atomic_load(&vp->asleep) && atomic_exchange(&vp->asleep, 0)) {
        ssize_t ignored = write(vp->eventfd, &one, sizeof(one));

        (void)ignored; /* a counter that is full wakes the VP too */
    }
    errno = error;
}

int st_vp_asleep(st_vp_t vp)
{
    return atomic_load_explicit(&vp->asleep, memory_order_relaxed);
}

/* In the order in which they were posted. */
static st_remote_t *take_all(struct st_vp *vp)
{
    st_remote_t *newest = atomic_exchange(&vp->remote, NULL);
    st_remote_t *oldest = NULL;

    while (newest) {
        st_remote_t *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void st__remote_run(struct st_vp *vp)
{
    st_remote_t *remote;

    if (ST__LIKELY(!atomic_load_explicit(&vp->remote, memory_order_relaxed)))
        return;
    remote = take_all(vp);
    while (remote) {
        st_remote_t *next = remote->next;

        vp->stats.remote_posts++;
        remote->fn(remote); /* the node belongs to the poster again */
        remote = next;
    }
}
