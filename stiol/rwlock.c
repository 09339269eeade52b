/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread read-write locks: taken with the real try calls, and waited for in line in the parking
 * lot. Readers may pass writers that wait, as with glibc's default, because a reader may hold the
 * lock already; writers pass nobody.
 */
#include "stiol_int.h"

enum { READER, WRITER };

/* us; longest between tries of a lock that another kernel thread may hold */
#define INTERVAL       1000
#define LOCAL_INTERVAL STIOL_SECOND
#define LONG_INTERVAL  10000

static uintptr_t key_of(const pthread_rwlock_t *lock)
{
    return (uintptr_t)lock;
}

static int attempt(pthread_rwlock_t *lock, int how)
{
    return how == READER ? pthread_rwlock_tryrdlock(lock) : pthread_rwlock_trywrlock(lock);
}

/* A state thread of this VP that writes will wake us; of readers nobody knows whose they are. */
static st_utime_t interval_for(const stiol__vp_t *vp, const pthread_rwlock_t *lock,
                               stiol__backoff_t *backoff)
{
    if (lock->__data.__cur_writer == vp->tid)
        return LOCAL_INTERVAL;
    return stiol__interval(backoff, backoff->tries < 64 ? INTERVAL : LONG_INTERVAL);
}

static int stand_in_line(stiol__vp_t *vp, pthread_rwlock_t *lock, int how, st_utime_t deadline)
{
    stiol__backoff_t backoff = {0};
    stiol__waiter_t waiter;
    bool interrupted = false, first;
    int rc = EBUSY, error = errno;

    STIOL_PARKS(vp, rwlock);
    stiol__lot_enter(&waiter, vp, key_of(lock), how);
    for (;;) {
        st_utime_t left;

        first = stiol__lot_first(&waiter);
        if ((first || how == READER) && (rc = attempt(lock, how)) != EBUSY)
            break;
        left = stiol__left(deadline);
        if (left == 0) {
            rc = ETIMEDOUT;
            break;
        }
        st_utime_t interval = first ? interval_for(vp, lock, &backoff) : LOCAL_INTERVAL;
        if (stiol__lot_sleep(&waiter, interval < left ? interval : left) != 0 && errno == EINTR)
            interrupted = true;
    }
    (void)stiol__lot_leave(&waiter);
    if (first && (how == READER || rc != 0))
        stiol__lot_notify(key_of(lock), false); /* another is first now, and may be a reader too */
    if (interrupted)
        st_thread_interrupt(waiter.thread); /* not for us: for its next wait */
    errno = error;
    return rc;
}

static int acquire(stiol__vp_t *vp, pthread_rwlock_t *lock, int how, st_utime_t deadline)
{
    int rc = EBUSY;

    if (how == READER || !stiol__lot_any(key_of(lock)))
        rc = attempt(lock, how);
    return STIOL_LIKELY(rc != EBUSY) ? rc : stand_in_line(vp, lock, how, deadline);
}

static int acquire_until(stiol__vp_t *vp, pthread_rwlock_t *lock, int how, clockid_t clock,
                         const struct timespec *at)
{
    int rc = acquire(vp, lock, how, 0);

    if (rc != ETIMEDOUT)
        return rc;
    if (at->tv_nsec < 0 || at->tv_nsec >= 1000000000L)
        return EINVAL;
    return acquire(vp, lock, how, stiol__until(clock, at));
}

static int noted(stiol__vp_t *vp, const pthread_rwlock_t *lock, const void *caller, int rc)
{
    (void)vp, (void)lock, (void)caller;
    if (rc == 0)
        stiol__took(vp, "rwlock", lock, caller);
    return rc;
}

/* --- the replacements --- */

int stiol__pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_rdlock, lock);

    if (vp == NULL)
        return pthread_rwlock_rdlock(lock);
    return noted(vp, lock, __builtin_return_address(0), acquire(vp, lock, READER, STIOL_NEVER));
}

int stiol__pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict lock,
                                      const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_timedrdlock, lock);

    if (vp == NULL)
        return pthread_rwlock_timedrdlock(lock, at);
    return noted(vp, lock, __builtin_return_address(0),
                 acquire_until(vp, lock, READER, CLOCK_REALTIME, at));
}

int stiol__pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_wrlock, lock);

    if (vp == NULL)
        return pthread_rwlock_wrlock(lock);
    return noted(vp, lock, __builtin_return_address(0), acquire(vp, lock, WRITER, STIOL_NEVER));
}

int stiol__pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict lock,
                                      const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_timedwrlock, lock);

    if (vp == NULL)
        return pthread_rwlock_timedwrlock(lock, at);
    return noted(vp, lock, __builtin_return_address(0),
                 acquire_until(vp, lock, WRITER, CLOCK_REALTIME, at));
}

int stiol__pthread_rwlock_trywrlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_trywrlock, lock);

    if (vp == NULL)
        return pthread_rwlock_trywrlock(lock);
    if (stiol__lot_any(key_of(lock)))
        return EBUSY;
    return noted(vp, lock, __builtin_return_address(0), pthread_rwlock_trywrlock(lock));
}

int stiol__pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_unlock, lock);
    int rc;

    if (vp != NULL)
        stiol__gave(vp, lock);
    rc = pthread_rwlock_unlock(lock);
    if (rc == 0)
        stiol__lot_notify(key_of(lock), true);
    return rc;
}
