/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread mutexes: really locked by the VP's kernel thread, so that other kernel threads and
 * processes are kept out as usual, and owned by one of its state threads. Waiters queue in the
 * parking lot and are handed the mutex still locked; a mutex held by another kernel thread or
 * process is tried at growing intervals.
 */
#include <linux/futex.h>

#include "stiol/carry.h"
#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

/* Bits of glibc's __data.__kind; stiol__misfit() checks them. */
#define TYPE(mutex) ((mutex)->__data.__kind & 3)
enum {
    ROBUST = 16,
    PRIO_INHERIT = 32,
    PRIO_PROTECT = 64,
};
#define SPECIAL(kind) (((kind) & (ROBUST | PRIO_INHERIT | PRIO_PROTECT)) != 0)

#define LOCAL_INTERVAL                                                                             \
    STIOL_SECOND /* us; its owner will hand it over, so this is only for the unforeseen */
enum { OTHERS_INTERVAL = 1000 }; /* us */

static uintptr_t key_of(const pthread_mutex_t *mutex)
{
    return (uintptr_t)mutex;
}

static bool is_robust(const pthread_mutex_t *mutex)
{
    return (mutex->__data.__kind & ROBUST) != 0;
}

/* A bit for each kind (ignoring bits that do not matter here) that needs to know its state thread:
 * recursive and error-checking ones, and all robust ones. */
#define OWNED_KINDS                                                                                \
    (1u << PTHREAD_MUTEX_RECURSIVE | 1u << PTHREAD_MUTEX_ERRORCHECK | UINT32_C(15) << ROBUST)

static bool is_owned_type(const pthread_mutex_t *mutex)
{
    return (OWNED_KINDS >> (mutex->__data.__kind & (3 | ROBUST)) & 1) != 0;
}

/* Whether this VP really has it locked. A robust mutex taken over from a dead owner does not name
 * the new one until it is made consistent. */
static bool is_held_here(const stiol__vp_t *vp, const pthread_mutex_t *mutex)
{
    return mutex->__data.__owner == vp->tid ||
           (is_robust(mutex) && (mutex->__data.__lock & FUTEX_TID_MASK) == vp->tid);
}

/* glibc's trylock leaves a robust mutex locked if it is not recoverable, unless it inherits
 * priority; so it is locked with a time that has passed. */
static int try_really(pthread_mutex_t *mutex)
{
    static const struct timespec past = {-1, 0};
    int rc;

    if (STIOL_LIKELY(!is_robust(mutex)) || (mutex->__data.__kind & PRIO_INHERIT) != 0)
        return pthread_mutex_trylock(mutex);
    rc = pthread_mutex_timedlock(mutex, &past);
    return rc == ETIMEDOUT ? EBUSY : rc;
}

/* Tries a mutex that the caller does not own. Its memory may have been reused while it was locked:
 * then what the table says is about an earlier mutex. */
static int try_owned(stiol__vp_t *vp, pthread_mutex_t *mutex)
{
    stiol__owner_t *owner = stiol__owner_find(vp, mutex);
    int rc;

    if (owner) {
        if (is_held_here(vp, mutex))
            return EBUSY;
        stiol__owner_remove(vp, owner);
    }
    rc = try_really(mutex);
    if (rc != 0 && rc != EOWNERDEAD)
        return rc;
    if (TYPE(mutex) == PTHREAD_MUTEX_RECURSIVE && mutex->__data.__count > 1) {
        /* Held since before STIOL started: by the primordial thread, as there was no other. */
        if (st_thread_self() == vp->primordial)
            return rc;
        (void)pthread_mutex_unlock(mutex);
        return EBUSY;
    }
    if (stiol__owner_add(vp, mutex, is_robust(mutex) ? STIOL_ROBUST : STIOL_MUTEX) == 0)
        return rc;
    (void)pthread_mutex_unlock(mutex);
    return EAGAIN;
}

static int attempt(stiol__vp_t *vp, pthread_mutex_t *mutex)
{
    return is_owned_type(mutex) ? try_owned(vp, mutex) : pthread_mutex_trylock(mutex);
}

static int stand_in_line(stiol__vp_t *vp, pthread_mutex_t *mutex, st_utime_t deadline)
{
    stiol__backoff_t backoff = {0};
    st_wait_t wait = {
        .kind = ST_WAIT_LOCK, .number = -1, .object = mutex, .name = STIOL_MUTEX_NAME};
    stiol__waiter_t waiter;
    bool interrupted = false;
    int rc = EBUSY, error = errno;

    STIOL_PARKS(vp, mutex);
    st_wait_begin(&wait);
    stiol__lot_enter(&waiter, vp, key_of(mutex), 0);
    while (!waiter.granted) {
        st_utime_t left, interval = LOCAL_INTERVAL;

        if (stiol__lot_first(&waiter)) {
            rc = attempt(vp, mutex);
            if (rc != EBUSY)
                break;
            if (mutex->__data.__owner != vp->tid)
                interval = stiol__interval(&backoff, OTHERS_INTERVAL);
        }
        left = stiol__left(deadline);
        if (left == 0) {
            rc = ETIMEDOUT;
            break;
        }
        if (stiol__lot_sleep(&waiter, interval < left ? interval : left) != 0 && errno == EINTR)
            interrupted = true;
    }
    st_wait_end(&wait);
    if (!stiol__lot_leave(&waiter))
        rc = 0; /* taken out of the line: granted */
    else if (rc != 0 && rc != EOWNERDEAD)
        stiol__lot_notify(key_of(mutex), false); /* another one is first now */
    if (rc == 0 || rc == EOWNERDEAD)
        stiol__note_taker(vp, mutex);
    if (interrupted)
        st_thread_interrupt(waiter.thread); /* not for this wait: pass it on to the next one */
    errno = error;
    return rc;
}

static int acquire_owned(stiol__vp_t *vp, pthread_mutex_t *mutex, st_utime_t deadline)
{
    stiol__owner_t *owner = stiol__owner_find(vp, mutex);
    int rc;

    if (owner && owner->thread == st_thread_self() && is_held_here(vp, mutex)) {
        if (TYPE(mutex) == PTHREAD_MUTEX_ERRORCHECK)
            return EDEADLK;
        if (TYPE(mutex) == PTHREAD_MUTEX_RECURSIVE) {
            owner->count++;
            return 0;
        }
    }
    rc = try_owned(vp, mutex);
    if (rc == 0 || rc == EOWNERDEAD)
        stiol__note_taker(vp, mutex);
    return rc == EBUSY ? stand_in_line(vp, mutex, deadline) : rc;
}

/** Like pthread_mutex_clocklock(); returns the same error numbers. */
int stiol__mutex_acquire(stiol__vp_t *vp, pthread_mutex_t *mutex, st_utime_t deadline)
{
    int rc;

    if (STIOL_OFF(STIOL_NO_OWNER))
        return pthread_mutex_lock(mutex);
    if (STIOL_UNLIKELY(is_owned_type(mutex)))
        return acquire_owned(vp, mutex, deadline);
    /* Free, but others were first: they have been told. */
    if (STIOL_UNLIKELY(stiol__lot_any(key_of(mutex))))
        return stand_in_line(vp, mutex, deadline);
    rc = pthread_mutex_trylock(mutex);
    if (STIOL_LIKELY(rc != EBUSY))
        stiol__note_taker(vp, mutex);
    return STIOL_LIKELY(rc != EBUSY) ? rc : stand_in_line(vp, mutex, deadline);
}

/* The next state thread in line, if the mutex may stay locked for it: not if a kernel thread is
 * also waiting (it would never get its turn), and not if unlocking does more than unlock. */
static st_thread_t hand_over(stiol__vp_t *vp, pthread_mutex_t *mutex)
{
    if (STIOL_LIKELY(!stiol__lot_crowd(key_of(mutex))) || SPECIAL(mutex->__data.__kind) ||
        mutex->__data.__owner != vp->tid ||
        __atomic_load_n(&mutex->__data.__lock, __ATOMIC_RELAXED) != 1)
        return NULL;
    return stiol__lot_grant(vp, key_of(mutex));
}

static int really_release(pthread_mutex_t *mutex)
{
    int rc = pthread_mutex_unlock(mutex);

    if (rc == 0)
        stiol__lot_notify(key_of(mutex), false);
    return rc;
}

/** As pthread_mutex_unlock(). */
int stiol__mutex_release(stiol__vp_t *vp, pthread_mutex_t *mutex)
{
    stiol__owner_t *owner;
    st_thread_t next;

    stiol__note_release(vp, mutex);
    if (STIOL_OFF(STIOL_NO_OWNER))
        return pthread_mutex_unlock(mutex);
    if (STIOL_LIKELY(!is_owned_type(mutex)))
        return hand_over(vp, mutex) ? 0 : really_release(mutex);
    owner = stiol__owner_find(vp, mutex);
    if (!owner)
        return really_release(mutex); /* locked before STIOL started, or not locked */
    if (owner->thread != st_thread_self())
        return EPERM;
    if (owner->count > 1) {
        owner->count--;
        return 0;
    }
    next = hand_over(vp, mutex);
    if (next) {
        owner->thread = next;
        return 0;
    }
    stiol__owner_remove(vp, owner);
    return really_release(mutex);
}

/* A callback of the scheduler cannot park. If it wants a mutex that a parked state thread has, the
 * VP would wait for itself forever: better a core dump that shows where. */
static int lock_in_callback(const stiol__vp_t *vp, pthread_mutex_t *mutex)
{
    static const char message[] =
        STMNO(0089) "a callback of the scheduler locks a mutex that a parked state "
                    "thread holds\n";
    int rc = pthread_mutex_trylock(mutex);

    if (rc != EBUSY)
        return rc;
    if (TYPE(mutex) != PTHREAD_MUTEX_ERRORCHECK && mutex->__data.__owner == vp->tid) {
        (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
        abort();
    }
    return pthread_mutex_lock(mutex);
}

/* A normal mutex that nobody is waiting for: trying and unlocking are the real calls, whoever makes
 * them. Debug builds want to see every call and its caller. */
#if defined(STIOL_DEBUG) || defined(STM_DEBUG)
#define SLOWLY
static inline stiol__vp_t *quick(const pthread_mutex_t *mutex)
{
    (void)mutex;
    return NULL;
}
#else
#define SLOWLY __attribute__((noinline)) /* so that the quick way needs no stack */
static inline stiol__vp_t *quick(const pthread_mutex_t *mutex)
{
    stiol__vp_t *vp = stiol__vp;

    return !vp || is_owned_type(mutex) || stiol__lot_crowd_here(key_of(mutex)) ? NULL : vp;
}
#endif

static int SLOWLY lock_or_wait(pthread_mutex_t *mutex, const void *caller)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_mutex_lock, mutex);
    int rc;

    (void)caller;
    if (!vp)
        return stiol__vp ? lock_in_callback(stiol__vp, mutex)
                         : stiol__carried_took(mutex, pthread_mutex_lock(mutex));
    rc = stiol__mutex_acquire(vp, mutex, STIOL_NEVER);
    if (rc == 0)
        stiol__took(vp, "mutex", mutex, caller);
    return rc;
}

/* --- the replacements --- */

int stiol__pthread_mutex_lock(pthread_mutex_t *mutex)
{
    stiol__vp_t *at_once = quick(mutex);

    if (STIOL_LIKELY(at_once)) {
        int had = pthread_mutex_trylock(mutex);

        if (STIOL_LIKELY(had != EBUSY)) {
            at_once->counters.mutex.calls++;
            stiol__note_taker(at_once, mutex);
            return had;
        }
    }
    return lock_or_wait(mutex, __builtin_return_address(0));
}

int stiol__pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_mutex_trylock, mutex);
    stiol__owner_t *owner;
    int rc;

    if (!vp)
        return stiol__carried_took(mutex, pthread_mutex_trylock(mutex));
    owner = is_owned_type(mutex) ? stiol__owner_find(vp, mutex) : NULL;
    if (owner && owner->thread == st_thread_self() && TYPE(mutex) == PTHREAD_MUTEX_RECURSIVE &&
        is_held_here(vp, mutex)) {
        owner->count++;
        rc = 0;
    } else {
        rc = attempt(vp, mutex);
    }
    if (rc == 0) {
        stiol__note_taker(vp, mutex);
        stiol__took(vp, "mutex", mutex, __builtin_return_address(0));
    }
    return rc;
}

static int lock_until(stiol__vp_t *vp, pthread_mutex_t *mutex, clockid_t clock,
                      const struct timespec *at, const void *caller)
{
    int rc = stiol__mutex_acquire(vp, mutex, 0);

    (void)caller;
    if (rc == ETIMEDOUT) { /* it had to wait: only then does the time matter */
        if (at->tv_nsec < 0 || at->tv_nsec >= 1000000000L)
            return EINVAL;
        rc = stiol__mutex_acquire(vp, mutex, stiol__until(clock, at));
    }
    if (rc == 0)
        stiol__took(vp, "mutex", mutex, caller);
    return rc;
}

int stiol__pthread_mutex_timedlock(pthread_mutex_t *restrict mutex,
                                   const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_mutex_timedlock, mutex);

    if (!vp)
        return stiol__carried_took(mutex, pthread_mutex_timedlock(mutex, at));
    return lock_until(vp, mutex, CLOCK_REALTIME, at, __builtin_return_address(0));
}

int stiol__pthread_mutex_clocklock(pthread_mutex_t *restrict mutex, clockid_t clock,
                                   const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_mutex_clocklock, mutex);

    if (!vp || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))
        return stiol__carried_took(mutex, pthread_mutex_clocklock(mutex, clock, at));
    return lock_until(vp, mutex, clock, at, __builtin_return_address(0));
}

static int SLOWLY unlock_and_wake(pthread_mutex_t *mutex)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_mutex_unlock, mutex);

    if (!vp) {
        stiol__carried_gives(mutex);
        return really_release(mutex);
    }
    stiol__gave(vp, mutex);
    return stiol__mutex_release(vp, mutex);
}

int stiol__pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    stiol__vp_t *vp = quick(mutex);

    if (STIOL_UNLIKELY(!vp))
        return unlock_and_wake(mutex);
    vp->counters.mutex.calls++;
    stiol__note_release(vp, mutex);
    return pthread_mutex_unlock(mutex);
}

int stiol__pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    (void)STIOL_ENTER(mutex, pthread_mutex_init, mutex);
    stiol__owner_forget(mutex); /* an earlier one at this address */
    return pthread_mutex_init(mutex, attr);
}

int stiol__pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    int rc;

    (void)STIOL_ENTER(mutex, pthread_mutex_destroy, mutex);
    rc = pthread_mutex_destroy(mutex);
    if (rc == 0)
        stiol__owner_forget(mutex);
    return rc;
}
