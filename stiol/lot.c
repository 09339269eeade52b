/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parking lot: queues of state threads that wait for a lock, a condition variable or a
 * semaphore, found by its address. Shared by all VPs of the process and by kernel threads that are
 * not VPs, which wake through st_vp_post(). The locks' own memory is never touched, so they remain
 * valid for glibc. Used by all lock files.
 */
#include "stiol/handler.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

/* Held for a few instructions at a time and never across a park. */
typedef struct bucket {
    atomic_flag busy;
    stiol__waiter_t *first, *last; /* queues of several keys, each in order of arrival */
} bucket_t;

static bucket_t buckets[STIOL_BUCKETS];
_Atomic unsigned stiol__crowds[STIOL_BUCKETS];

static bucket_t *bucket_of(uintptr_t key)
{
    return &buckets[stiol__bucket(key)];
}

static void acquire(bucket_t *bucket)
{
    unsigned spins = 0;

    while (atomic_flag_test_and_set_explicit(&bucket->busy, memory_order_acquire))
        if (++spins % 64 == 0)
            sched_yield(); /* the holder was preempted */
}

static void release(bucket_t *bucket)
{
    atomic_flag_clear_explicit(&bucket->busy, memory_order_release);
}

static void append(bucket_t *bucket, stiol__waiter_t *waiter)
{
    waiter->next = NULL;
    waiter->prev = bucket->last;
    *(bucket->last ? &bucket->last->next : &bucket->first) = waiter;
    bucket->last = waiter;
    waiter->linked = true;
    atomic_fetch_add(&stiol__crowds[stiol__bucket(waiter->key)], 1);
}

static void take_out(bucket_t *bucket, stiol__waiter_t *waiter)
{
    *(waiter->prev ? &waiter->prev->next : &bucket->first) = waiter->next;
    *(waiter->next ? &waiter->next->prev : &bucket->last) = waiter->prev;
    waiter->linked = false;
    atomic_fetch_sub(&stiol__crowds[stiol__bucket(waiter->key)], 1);
}

static stiol__waiter_t *first_of(const bucket_t *bucket, uintptr_t key)
{
    stiol__waiter_t *waiter = bucket->first;

    while (waiter && waiter->key != key)
        waiter = waiter->next;
    return waiter;
}

/* On the waiter's VP, in its scheduler. */
static void arrived(st_remote_t *remote)
{
    stiol__waiter_t *waiter =
        (stiol__waiter_t *)((char *)remote - offsetof(stiol__waiter_t, remote));
    st_thread_t thread = waiter->thread;

    bool parking = waiter->parking;

    waiter->notified = true;
    atomic_store_explicit(&waiter->posted, false, memory_order_release);
    if (parking)
        st_thread_unpark(thread);
}

/* Called with the bucket locked: after that the waiter may leave, and its memory with it. */
static void rouse(stiol__waiter_t *waiter)
{
    if (waiter->vp == stiol__vp) {
        waiter->notified = true;
        if (waiter->parking) /* otherwise it checks before parking; a token would be left over */
            st_thread_unpark(waiter->thread);
    } else if (!STIOL_OFF(STIOL_NO_POST) &&
               !atomic_exchange_explicit(&waiter->posted, true, memory_order_acq_rel)) {
        st_vp_post(waiter->vp->vp, &waiter->remote);
    }
}

void stiol__lot_enter(stiol__waiter_t *waiter, stiol__vp_t *vp, uintptr_t key, int tag)
{
    bucket_t *bucket = bucket_of(key);

    *waiter = (stiol__waiter_t){
        .key = key, .vp = vp, .thread = st_thread_self(), .remote = {.fn = arrived}, .tag = tag};
    acquire(bucket);
    append(bucket, waiter);
    release(bucket);
}

static int park(stiol__waiter_t *waiter, st_utime_t timeout)
{
    int rc;

    waiter->parking = true;
    rc = st_thread_park(timeout);
    waiter->parking = false;
    return rc;
}

/* Locks the bucket that the waiter is in. Until it is locked, another kernel thread may move the
 * waiter. */
static bucket_t *acquire_of(const stiol__waiter_t *waiter)
{
    for (;;) {
        uintptr_t key = __atomic_load_n(&waiter->key, __ATOMIC_RELAXED);
        bucket_t *bucket = bucket_of(key);

        acquire(bucket);
        if (STIOL_LIKELY(__atomic_load_n(&waiter->key, __ATOMIC_RELAXED) == key))
            return bucket;
        release(bucket);
    }
}

/** Leaves the queue; returns whether the waiter was still in it. A post that is under way uses the
 * waiter's memory: wait for it, it arrives in the next turn. */
bool stiol__lot_leave(stiol__waiter_t *waiter)
{
    bucket_t *bucket = acquire_of(waiter);
    bool linked;

    linked = waiter->linked;
    if (linked)
        take_out(bucket, waiter);
    release(bucket);
    while (atomic_load_explicit(&waiter->posted, memory_order_acquire))
        (void)park(waiter, STIOL_NEVER);
    return linked;
}

bool stiol__lot_first(const stiol__waiter_t *waiter)
{
    bucket_t *bucket = acquire_of(waiter);
    bool first = first_of(bucket, waiter->key) == waiter;

    release(bucket);
    return first;
}

/** Whether one with that tag stands before the waiter. */
bool stiol__lot_before(const stiol__waiter_t *waiter, int tag)
{
    bucket_t *bucket = acquire_of(waiter);
    const stiol__waiter_t *other = bucket->first;

    while (other != waiter && !(other->key == waiter->key && other->tag == tag))
        other = other->next;
    release(bucket);
    return other != waiter;
}

/** Parks until woken; timeout 0 yields. 0, or -1 with ETIME or EINTR; wakes that came before
 * count. */
int stiol__lot_sleep(stiol__waiter_t *waiter, st_utime_t timeout)
{
    st_wait_t wait = {.kind = ST_WAIT_LOCK, .number = -1, .object = (const void *)waiter->key};
    st_utime_t deadline = stiol__deadline(timeout);
    int rc = 0;

    if (timeout == 0)
        st_thread_yield();
    st_wait_begin(&wait);
    while (!waiter->notified && rc == 0)
        rc = park(waiter, stiol__left(deadline));
    st_wait_end(&wait);
    if (!waiter->notified)
        return -1;
    waiter->notified = false;
    return 0;
}

/** Like stiol__lot_sleep(), for a thread in several queues: the index of the waiter that was woken,
 * or -1. */
int stiol__lot_sleep_any(stiol__waiter_t *waiters, unsigned count, st_utime_t timeout)
{
    int error;

    for (unsigned i = 0; i < count; i++)
        if (waiters[i].notified)
            return (int)i;
    for (unsigned i = 0; i < count; i++)
        waiters[i].parking = true;
    error = st_thread_park(timeout) == 0 ? 0 : errno;
    for (unsigned i = 0; i < count; i++)
        waiters[i].parking = false;
    for (unsigned i = 0; i < count; i++)
        if (waiters[i].notified)
            return (int)i;
    errno = error;
    return -1;
}

bool stiol__lot_any(uintptr_t key)
{
    bucket_t *bucket = bucket_of(key);
    bool any;

    if (STIOL_LIKELY(!stiol__lot_crowd(key)))
        return false;
    acquire(bucket);
    any = !!first_of(bucket, key);
    release(bucket);
    return any;
}

/** Whether a waiter with that tag is in the queue. */
bool stiol__lot_any_of(uintptr_t key, int tag)
{
    bucket_t *bucket = bucket_of(key);
    const stiol__waiter_t *waiter;

    if (STIOL_LIKELY(!stiol__lot_crowd(key)))
        return false;
    acquire(bucket);
    waiter = bucket->first;
    while (waiter && !(waiter->key == key && waiter->tag == tag))
        waiter = waiter->next;
    release(bucket);
    return waiter;
}

unsigned stiol__lot_waiters(void)
{
    unsigned waiters = 0;

    for (unsigned i = 0; i < STIOL_BUCKETS; i++)
        waiters += stiol__crowds[i];
    return waiters;
}

/** Wakes the first in the queue, or all; they stay in it until they have what they are waiting
 * for. */
void stiol__lot_wake(uintptr_t key, bool all)
{
    bucket_t *bucket = bucket_of(key);
    stiol__waiter_t *waiter;

    if (STIOL_UNLIKELY(stiol__wake_later(key)))
        return;
    acquire(bucket);
    for (waiter = first_of(bucket, key); waiter; waiter = waiter->next) {
        if (waiter->key != key)
            continue;
        rouse(waiter);
        if (!all)
            break;
    }
    release(bucket);
}

/** Wakes everything that waits for anything; each checks for itself. */
void stiol__lot_wake_everyone(void)
{
    for (unsigned i = 0; i < STIOL_BUCKETS; i++) {
        acquire(&buckets[i]);
        for (stiol__waiter_t *waiter = buckets[i].first; waiter; waiter = waiter->next)
            rouse(waiter);
        release(&buckets[i]);
    }
}

/** Takes the first out of the queue and wakes it. Returns whether there was one. */
bool stiol__lot_pop(uintptr_t key)
{
    bucket_t *bucket = bucket_of(key);
    stiol__waiter_t *waiter;

    if (!stiol__lot_crowd(key) || STIOL_UNLIKELY(stiol__wake_later(key)))
        return false;
    acquire(bucket);
    waiter = first_of(bucket, key);
    if (waiter && !(STIOL_OFF(STIOL_NO_POST) && waiter->vp != stiol__vp)) {
        take_out(bucket, waiter);
        rouse(waiter);
    }
    release(bucket);
    return waiter;
}

/** Takes up to `most` waiters whose tag has a bit of mask out of the queue, longest waiting first,
 * and wakes them. Returns how many there were. */
unsigned stiol__lot_pop_some(uintptr_t key, unsigned most, unsigned mask)
{
    bucket_t *bucket = bucket_of(key);
    stiol__waiter_t *waiter, *next;
    unsigned count = 0;

    if (STIOL_UNLIKELY(stiol__wake_later(key)))
        return 0;
    acquire(bucket);
    for (waiter = bucket->first; waiter && count < most; waiter = next) {
        next = waiter->next;
        if (waiter->key != key || ((unsigned)waiter->tag & mask) == 0)
            continue;
        take_out(bucket, waiter);
        rouse(waiter);
        count++;
    }
    release(bucket);
    return count;
}

/** Moves up to `most` waiters from one queue to the end of another, without waking them. Returns
 * how many there were. */
unsigned stiol__lot_move(uintptr_t from, uintptr_t to, unsigned most)
{
    bucket_t *source = bucket_of(from), *target = bucket_of(to);
    stiol__waiter_t *waiter, *next;
    unsigned count = 0;

    if (from == to || STIOL_UNLIKELY(stiol__wake_later(from))) /* which wakes them instead */
        return 0;
    acquire(source < target ? source : target); /* everyone uses this order: no deadlock */
    if (source != target)
        acquire(source < target ? target : source);
    for (waiter = source->first; waiter && count < most; waiter = next) {
        next = waiter->next;
        if (waiter->key != from)
            continue;
        take_out(source, waiter);
        __atomic_store_n(&waiter->key, to, __ATOMIC_RELAXED);
        append(target, waiter);
        count++;
    }
    release(source);
    if (source != target)
        release(target);
    return count;
}

/** Takes the first out of the queue if it belongs to this VP: it owns the lock from now on. NULL if
 * there is none. */
st_thread_t stiol__lot_grant(stiol__vp_t *vp, uintptr_t key)
{
    bucket_t *bucket = bucket_of(key);
    stiol__waiter_t *waiter;
    st_thread_t thread = NULL;

    acquire(bucket);
    waiter = first_of(bucket, key);
    if (waiter && waiter->vp == vp) {
        take_out(bucket, waiter);
        waiter->granted = true;
        thread = waiter->thread;
        rouse(waiter);
    }
    release(bucket);
    return thread;
}

/** In a child after fork: the queues are the parent's, and a kernel thread that no longer exists
 * may have held a bucket. */
void stiol__lot_forked(void)
{
    for (unsigned i = 0; i < STIOL_BUCKETS; i++) {
        buckets[i].first = buckets[i].last = NULL;
        atomic_flag_clear(&buckets[i].busy);
        atomic_store(&stiol__crowds[i], 0);
    }
}

enum {
    OFTEN = 64,         /* tries at short intervals before the wait counts as long */
    SHORT = 1000,       /* us */
    LONG = 10000,       /* us */
    NOT_FIRST = 100000, /* us; the first may be waiting for another part of the same file */
};

int stiol__probe(stiol__vp_t *vp, uintptr_t key, int (*attempt)(void *arg), void *arg,
                 st_utime_t deadline)
{
    stiol__backoff_t backoff = {0};
    stiol__waiter_t waiter;
    st_wait_t wait = {.kind = ST_WAIT_LOCK, .number = -1, .object = (const void *)key};
    int had, error = 0, before = errno;

    if ((key & 7) == STIOL_KEY_FILE(0)) {
        wait.kind = ST_WAIT_FILELOCK;
        wait.number = (int)(key >> 3);
    }
    st_wait_begin(&wait);
    stiol__lot_enter(&waiter, vp, key, 0);
    while ((had = attempt(arg)) == 0) {
        st_utime_t left = stiol__left(deadline), interval = NOT_FIRST;

        if (stiol__lot_first(&waiter))
            interval = stiol__interval(&backoff, backoff.tries < OFTEN ? SHORT : LONG);
        if (left == 0) {
            error = ETIMEDOUT;
            break;
        }
        if (stiol__lot_sleep(&waiter, interval < left ? interval : left) != 0 && errno == EINTR) {
            error = EINTR;
            break;
        }
    }
    if (had < 0)
        error = errno;
    st_wait_end(&wait);
    stiol__lot_leave(&waiter);
    stiol__lot_notify(key, false); /* the next one is first now */
    errno = error != 0 ? error : before;
    if (error == EINTR)
        stiol__cancellation();
    return error == 0 ? 0 : -1;
}
