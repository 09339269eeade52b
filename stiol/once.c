/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread_once() and spin locks: glibc waits for these in a way that would hold up the VP. A state
 * thread that arrives while another one of the same VP runs the routine parks; a spin lock yields
 * between tries, and sleeps after many of them.
 */
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

enum {
    DONE = 2, /* bits of glibc's pthread_once_t */
    UNDER_WAY = 1,
    INTERVAL = 1000, /* us */
};

static int under_way_elsewhere(pthread_once_t *control)
{
    return __atomic_load_n((int *)control, __ATOMIC_ACQUIRE) & UNDER_WAY;
}

int stiol__pthread_once(pthread_once_t *control, void (*routine)(void))
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_once, control);
    stiol__backoff_t backoff = {0};
    st_wait_t wait = {
        .kind = ST_WAIT_LOCK, .number = -1, .object = control, .name = "pthread_once"};
    stiol__waiter_t waiter;
    int rc, error = errno;

    if (!vp || (__atomic_load_n((int *)control, __ATOMIC_ACQUIRE) & DONE) != 0)
        return pthread_once(control, routine);
    if (under_way_elsewhere(control)) {
        STIOL_PARKS(vp, mutex);
        st_wait_begin(&wait);
        stiol__lot_enter(&waiter, vp, (uintptr_t)control, 0);
        while (under_way_elsewhere(control))
            (void)stiol__lot_sleep(&waiter, stiol__interval(&backoff, INTERVAL));
        st_wait_end(&wait);
        (void)stiol__lot_leave(&waiter);
        errno = error;
    }
    rc = pthread_once(control, routine);
    stiol__lot_notify((uintptr_t)control, true);
    return rc;
}

int stiol__pthread_spin_lock(pthread_spinlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_spin_lock, lock);
    st_wait_t wait = {
        .kind = ST_WAIT_LOCK, .number = -1, .object = (const void *)lock, .name = "spin lock"};
    stiol__backoff_t backoff = {0};
    bool interrupted = false;
    int rc, error = errno;

    if (!vp)
        return pthread_spin_lock(lock);
    st_wait_begin(&wait);
    while ((rc = pthread_spin_trylock(lock)) == EBUSY) {
        st_utime_t interval = stiol__interval(&backoff, INTERVAL);

        STIOL_PARKS(vp, mutex);
        if (interval == 0)
            st_thread_yield();
        else if (st_usleep(interval) != 0) /* its owner may be parked for long */
            interrupted = true;
    }
    st_wait_end(&wait);
    if (interrupted)
        st_thread_interrupt(st_thread_self()); /* not for this wait: pass it on to the next one */
    errno = error;
    return rc;
}
