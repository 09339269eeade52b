/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Condition variables and mutexes for the threads of one VP: queues of waiting threads.
 */
#include "st/st_internal.h"

struct st_cond {
    struct st__queue waiters;
};

struct st_mutex {
    struct st_thread *owner;
    struct st__queue waiters;
};

/* --- Condition variables --- */

st_cond_t st_cond_new(void)
{
    return st__calloc(1, sizeof(struct st_cond));
}

int st_cond_destroy(st_cond_t cvar)
{
    if (cvar->waiters.head)
        return st__fail(EBUSY);
    free(cvar);
    return 0;
}

int st_cond_timedwait(st_cond_t cvar, st_utime_t timeout)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;
    int reason;

    if (!vp)
        return -1;
    me = vp->current;
    if (st__take_interrupt(me) < 0)
        return -1;
    st__queue_append(&cvar->waiters, me);
    reason = st__wait(vp, me, timeout);
    /* As in State Threads 1.9, an interrupt takes precedence, even one that came after the
     * signal. */
    if (st__take_interrupt(me) < 0)
        return -1;
    return reason == 0 ? 0 : st__fail(reason);
}

int st_cond_wait(st_cond_t cvar)
{
    return st_cond_timedwait(cvar, ST_UTIME_NO_TIMEOUT);
}

int st_cond_signal(st_cond_t cvar)
{
    struct st_vp *vp = st__vp_get();

    if (vp && cvar->waiters.head)
        st__wake_first(vp, &cvar->waiters);
    return 0;
}

int st_cond_broadcast(st_cond_t cvar)
{
    struct st_vp *vp = st__vp_get();

    if (!vp)
        return 0;
    while (cvar->waiters.head)
        st__wake_first(vp, &cvar->waiters);
    return 0;
}

/* --- Mutexes --- */

st_mutex_t st_mutex_new(void)
{
    return st__calloc(1, sizeof(struct st_mutex));
}

int st_mutex_destroy(st_mutex_t lock)
{
    if (lock->owner)
        return st__fail(EBUSY);
    assert(!lock->waiters.head);
    free(lock);
    return 0;
}

int st_mutex_lock(st_mutex_t lock)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;

    if (!vp)
        return -1;
    me = vp->current;
    if (st__take_interrupt(me) < 0)
        return -1;
    if (!lock->owner) {
        lock->owner = me;
        return 0;
    }
    if (lock->owner == me)
        return st__fail(EDEADLK);
    st__queue_append(&lock->waiters, me);
    (void)st__wait(vp, me, ST_UTIME_NO_TIMEOUT);
    /* A thread that was made the owner has the mutex; an interrupt that came later stays
     * pending. */
    return lock->owner == me ? 0 : st__take_interrupt(me);
}

int st_mutex_unlock(st_mutex_t lock)
{
    struct st_vp *vp = st__vp_get();

    if (!vp)
        return -1;
    if (lock->owner != vp->current)
        return st__fail(EPERM);
    lock->owner = lock->waiters.head;
    if (lock->owner)
        st__wake_first(vp, &lock->waiters);
    return 0;
}

int st_mutex_trylock(st_mutex_t lock)
{
    struct st_vp *vp = st__vp_get();

    if (!vp)
        return -1;
    if (lock->owner)
        return st__fail(EBUSY);
    lock->owner = vp->current;
    return 0;
}
