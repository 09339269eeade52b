/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread condition variables: state threads wait in the parking lot, kernel threads in glibc. A
 * signal from any kernel thread goes to a state thread if one is waiting. A condition variable
 * shared between processes cannot be watched: its wait returns after a while, as it may ("spurious
 * wakeup").
 */
#include "stiol/layout.h"
#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

enum { SHARED_INTERVAL = 2000 }; /* us */

static uintptr_t key_of(const pthread_cond_t *cond)
{
    return (uintptr_t)cond;
}

static uint32_t flags_of(const pthread_cond_t *cond)
{
    const char *at = (const char *)cond + stiol__cond_layout.flags;

    return __atomic_load_n((const uint32_t *)at, __ATOMIC_RELAXED);
}

static bool is_shared(const pthread_cond_t *cond)
{
    return (flags_of(cond) & stiol__cond_layout.shared) != 0;
}

static clockid_t clock_of(const pthread_cond_t *cond)
{
    return (flags_of(cond) & stiol__cond_layout.monotonic) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

static int wait_until(stiol__vp_t *vp, pthread_cond_t *cond, pthread_mutex_t *mutex,
                      st_utime_t deadline, const void *caller)
{
    st_utime_t until = deadline;
    st_wait_t wait = {.kind = ST_WAIT_COND, .number = -1, .object = cond};
    stiol__waiter_t waiter;
    bool interrupted = false, timed_out = false, signalled;
    int rc, error = errno;

    (void)caller;
    if (is_shared(cond) && stiol__left(deadline) > SHARED_INTERVAL)
        until = stiol__deadline(SHARED_INTERVAL);
    stiol__lot_enter(&waiter, vp, key_of(cond), 0);
    stiol__gave(vp, mutex);
    rc = stiol__mutex_release(vp, mutex);
    if (rc != 0) {
        (void)stiol__lot_leave(&waiter);
        return rc;
    }
    STIOL_PARKS(vp, cond);
    st_wait_begin(&wait);
    while (stiol__lot_sleep(&waiter, stiol__left(until)) != 0) {
        if (errno != EINTR) {
            timed_out = true;
            break;
        }
        interrupted = true;
        if (stiol__to_be_cancelled())
            break;
    }
    st_wait_end(&wait);
    /* It still stands in line: who signals with the mutex locked takes it for a waiter, as it has
     * not returned yet. mod_http2 would leave a request to a worker whose time is just up. */
    rc = stiol__mutex_acquire(vp, mutex, STIOL_NEVER);
    signalled = !stiol__lot_leave(&waiter);
    if (signalled)
        timed_out = false; /* the signal was first */
    if (rc == 0)
        stiol__took(vp, "mutex", mutex, caller);
    if (!signalled)
        stiol__cancellation();
    if (interrupted)
        st_thread_interrupt(waiter.thread); /* not for this wait: pass it on to the next one */
    errno = error;
    return rc == 0 && timed_out && until == deadline ? ETIMEDOUT : rc;
}

int stiol__pthread_cond_wait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex)
{
    stiol__vp_t *vp = STIOL_ENTER(cond, pthread_cond_wait, cond);

    if (!vp)
        return pthread_cond_wait(cond, mutex);
    return wait_until(vp, cond, mutex, STIOL_NEVER, __builtin_return_address(0));
}

int stiol__pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                                  const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(cond, pthread_cond_timedwait, cond);

    if (!vp)
        return pthread_cond_timedwait(cond, mutex, at);
    if (at->tv_nsec < 0 || at->tv_nsec >= 1000000000L)
        return EINVAL;
    return wait_until(vp, cond, mutex, stiol__until(clock_of(cond), at),
                      __builtin_return_address(0));
}

int stiol__pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                                  clockid_t clock, const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(cond, pthread_cond_clockwait, cond);

    if (!vp || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))
        return pthread_cond_clockwait(cond, mutex, clock, at);
    if (at->tv_nsec < 0 || at->tv_nsec >= 1000000000L)
        return EINVAL;
    return wait_until(vp, cond, mutex, stiol__until(clock, at), __builtin_return_address(0));
}

int stiol__pthread_cond_signal(pthread_cond_t *cond)
{
    (void)STIOL_ENTER(cond, pthread_cond_signal, cond);
    return stiol__lot_pop(key_of(cond)) ? 0 : pthread_cond_signal(cond);
}

int stiol__pthread_cond_broadcast(pthread_cond_t *cond)
{
    (void)STIOL_ENTER(cond, pthread_cond_broadcast, cond);
    while (stiol__lot_pop(key_of(cond)))
        continue;
    return pthread_cond_broadcast(cond);
}
