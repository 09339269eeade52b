/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread read-write locks: taken with the real try calls, and waited for in line in the parking
 * lot. Readers may pass waiting writers, as with glibc's default, because a reader may already hold
 * the lock; but not if the lock was created to prefer writers. Writers pass nobody. The owners'
 * table says which state thread is writing, so that one that locks again gets an error.
 */
#include "stiol/carry.h"
#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

enum { READER, WRITER };

/* us; longest between tries of a lock that another kernel thread may hold */
enum { INTERVAL = 1000 };
#define LOCAL_INTERVAL STIOL_SECOND
enum { LONG_INTERVAL = 10000 };

static uintptr_t key_of(const pthread_rwlock_t *lock)
{
    return (uintptr_t)lock;
}

/* In glibc PTHREAD_RWLOCK_PREFER_WRITER_NP behaves like the default; the other kind forbids readers
 * to lock again. Programs are compiled with its static initialiser, so its place is fixed. */
static bool prefers_writers(const pthread_rwlock_t *lock)
{
    return lock->__data.__flags == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
}

static bool is_writer(stiol__vp_t *vp, const pthread_rwlock_t *lock)
{
    const stiol__owner_t *owner = stiol__owner_find(vp, lock);

    return owner && owner->thread == st_thread_self();
}

/* The lock was acquired: any entry in the table belongs to an earlier one at this address. */
static int had(stiol__vp_t *vp, pthread_rwlock_t *lock, int how)
{
    stiol__owner_t *stale = stiol__owner_find(vp, lock);

    if (stale)
        stiol__owner_remove(vp, stale);
    if (how == READER || stiol__owner_add(vp, lock, STIOL_RWLOCK) == 0)
        return 0;
    (void)pthread_rwlock_unlock(lock);
    return EAGAIN;
}

static int attempt(stiol__vp_t *vp, pthread_rwlock_t *lock, int how)
{
    int rc = how == READER ? pthread_rwlock_tryrdlock(lock) : pthread_rwlock_trywrlock(lock);

    return rc == 0 ? had(vp, lock, how) : rc;
}

/* Whether a thread that arrives now may try, without passing those that it must not pass. */
static bool may_try(const pthread_rwlock_t *lock, int how)
{
    if (how == WRITER)
        return !stiol__lot_any(key_of(lock));
    return !prefers_writers(lock) || !stiol__lot_any_of(key_of(lock), WRITER);
}

/* The same for one in line. */
static bool may_try_in_line(const stiol__waiter_t *waiter, const pthread_rwlock_t *lock, bool first)
{
    if (first || waiter->tag == WRITER)
        return first;
    return !prefers_writers(lock) || !stiol__lot_before(waiter, WRITER);
}

/* A writing state thread of this VP will wake us; whose the readers are is unknown. */
static st_utime_t interval_for(stiol__vp_t *vp, const pthread_rwlock_t *lock,
                               stiol__backoff_t *backoff)
{
    if (stiol__owner_find(vp, lock))
        return LOCAL_INTERVAL;
    return stiol__interval(backoff, backoff->tries < 64 ? INTERVAL : LONG_INTERVAL);
}

static int stand_in_line(stiol__vp_t *vp, pthread_rwlock_t *lock, int how, st_utime_t deadline)
{
    stiol__backoff_t backoff = {0};
    st_wait_t wait = {
        .kind = ST_WAIT_LOCK, .number = -1, .object = lock, .name = STIOL_RWLOCK_NAME};
    stiol__waiter_t waiter;
    bool interrupted = false, first;
    int rc = EBUSY, error = errno;

    STIOL_PARKS(vp, rwlock);
    st_wait_begin(&wait);
    stiol__lot_enter(&waiter, vp, key_of(lock), how);
    for (;;) {
        st_utime_t left;

        first = stiol__lot_first(&waiter);
        if (may_try_in_line(&waiter, lock, first) && (rc = attempt(vp, lock, how)) != EBUSY)
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
    st_wait_end(&wait);
    (void)stiol__lot_leave(&waiter);
    if (first ? how == READER || rc != 0 : how == WRITER)
        stiol__lot_notify(key_of(lock), true); /* the new first one may be a reader, too */
    if (interrupted)
        st_thread_interrupt(waiter.thread); /* not for this wait: pass it on to the next one */
    errno = error;
    return rc;
}

static int acquire(stiol__vp_t *vp, pthread_rwlock_t *lock, int how, st_utime_t deadline)
{
    bool writing = is_writer(vp, lock);
    int rc = EBUSY;

    if (may_try(lock, how) || writing)
        rc = attempt(vp, lock, how);
    if (STIOL_LIKELY(rc != EBUSY))
        return rc;
    return writing ? EDEADLK : stand_in_line(vp, lock, how, deadline);
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

/* The real call rejects other clocks. */
static bool is_clock(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC;
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

    if (!vp)
        return pthread_rwlock_rdlock(lock);
    return noted(vp, lock, __builtin_return_address(0), acquire(vp, lock, READER, STIOL_NEVER));
}

int stiol__pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict lock,
                                      const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_timedrdlock, lock);

    if (!vp)
        return pthread_rwlock_timedrdlock(lock, at);
    return noted(vp, lock, __builtin_return_address(0),
                 acquire_until(vp, lock, READER, CLOCK_REALTIME, at));
}

int stiol__pthread_rwlock_clockrdlock(pthread_rwlock_t *restrict lock, clockid_t clock,
                                      const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_clockrdlock, lock);

    if (!vp || !is_clock(clock))
        return pthread_rwlock_clockrdlock(lock, clock, at);
    return noted(vp, lock, __builtin_return_address(0), acquire_until(vp, lock, READER, clock, at));
}

int stiol__pthread_rwlock_tryrdlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_tryrdlock, lock);

    if (!vp)
        return pthread_rwlock_tryrdlock(lock);
    if (!may_try(lock, READER))
        return EBUSY;
    return noted(vp, lock, __builtin_return_address(0), attempt(vp, lock, READER));
}

int stiol__pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_wrlock, lock);

    if (!vp)
        return stiol__carried_writes(lock, pthread_rwlock_wrlock(lock));
    return noted(vp, lock, __builtin_return_address(0), acquire(vp, lock, WRITER, STIOL_NEVER));
}

int stiol__pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict lock,
                                      const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_timedwrlock, lock);

    if (!vp)
        return stiol__carried_writes(lock, pthread_rwlock_timedwrlock(lock, at));
    return noted(vp, lock, __builtin_return_address(0),
                 acquire_until(vp, lock, WRITER, CLOCK_REALTIME, at));
}

int stiol__pthread_rwlock_clockwrlock(pthread_rwlock_t *restrict lock, clockid_t clock,
                                      const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_clockwrlock, lock);

    if (!vp || !is_clock(clock))
        return stiol__carried_writes(lock, pthread_rwlock_clockwrlock(lock, clock, at));
    return noted(vp, lock, __builtin_return_address(0), acquire_until(vp, lock, WRITER, clock, at));
}

int stiol__pthread_rwlock_trywrlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_trywrlock, lock);

    if (!vp)
        return stiol__carried_writes(lock, pthread_rwlock_trywrlock(lock));
    if (!may_try(lock, WRITER))
        return EBUSY;
    return noted(vp, lock, __builtin_return_address(0), attempt(vp, lock, WRITER));
}

int stiol__pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    stiol__vp_t *vp = STIOL_ENTER(rwlock, pthread_rwlock_unlock, lock);
    int rc;

    if (vp) {
        stiol__gave(vp, lock);
        stiol__owner_forget(lock);
    } else {
        stiol__carried_ends(lock);
    }
    rc = pthread_rwlock_unlock(lock);
    if (rc == 0)
        stiol__lot_notify(key_of(lock), true);
    return rc;
}

int stiol__pthread_rwlock_init(pthread_rwlock_t *restrict lock,
                               const pthread_rwlockattr_t *restrict attr)
{
    (void)STIOL_ENTER(rwlock, pthread_rwlock_init, lock);
    stiol__owner_forget(lock); /* an earlier one at this address */
    return pthread_rwlock_init(lock, attr);
}

int stiol__pthread_rwlock_destroy(pthread_rwlock_t *lock)
{
    (void)STIOL_ENTER(rwlock, pthread_rwlock_destroy, lock);
    stiol__owner_forget(lock);
    return pthread_rwlock_destroy(lock);
}
