/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Observed threads: an observer learns what they wait for, and for how long (st_thread_observe()).
 * Code that is about to park may declare what it waits for (st_wait_begin()); otherwise that is
 * derived from the call. A thread without an observer costs only a comparison. Called by sched.c.
 */
#include "st/st_internal.h"

void st_thread_observe(st_observer_t *observer)
{
    struct st_vp *vp = st__vp_get();

    if (vp)
        vp->current->observer = observer;
}

const st_thread_t *st_vp_current(st_vp_t vp)
{
    return &vp->current;
}

void st_wait_begin(st_wait_t *wait)
{
    struct st_vp *vp = st__vp;

    if (!vp || vp->in_callback || vp->current->wait)
        return;
    wait->since = 0;
    vp->current->wait = wait;
}

void st_wait_end(const st_wait_t *wait)
{
    struct st_vp *vp = st__vp;

    if (vp && !vp->in_callback && (!wait || vp->current->wait == wait))
        vp->current->wait = NULL;
}

/* A wait that nobody has declared. */
static st_wait_t told_from_call(const struct st_thread *me)
{
    if (!me->link.pprev)
        return (st_wait_t){.kind = ST_WAIT_OTHER, .number = -1};
    return (st_wait_t){.kind = ST_WAIT_FD, .number = me->link.osfd, .events = me->link.events};
}

void st__sched_observed(struct st_vp *vp, struct st_thread *me)
{
    st_wait_t own, *wait = me->wait;
    st_utime_t now = st_utime();

    if (!wait) {
        own = told_from_call(me);
        wait = &own;
    }
    if (wait->since == 0)
        wait->since = now;
    me->observer->parks(me->observer, wait, now);
    st__sched(vp, me);
    if (me->observer)
        me->observer->resumes(me->observer, me->woken);
}

void st__yield_observed(struct st_vp *vp, struct st_thread *me)
{
    st_utime_t yielded = st_utime();

    st__sched(vp, me);
    if (me->observer && me->observer->yields)
        me->observer->yields(me->observer, yielded);
}
