/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parking lot (lot.c): queues of waiting state threads, found by the address of what they wait
 * for. All locks are built on it: mutex.c, rwlock.c, cond.c, sem.c, futex.c, filelock.c, c11.c.
 */
#ifndef STIOL_LOT_H
#define STIOL_LOT_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/** One state thread in one queue; on its stack while it waits. */
typedef struct stiol__waiter {
    struct stiol__waiter *next, *prev;
    uintptr_t key; /* changed only with its bucket locked */
    stiol__vp_t *vp;
    st_thread_t thread;
    st_remote_t remote;
    _Atomic bool posted; /* its remote is under way */
    bool linked;         /* in the queue; otherwise taken out by whoever woke it */
    bool notified;
    bool parking; /* in st_thread_park() */
    bool granted; /* the waiter already owns the lock */
    int tag;      /* for the lock's own use: reader or writer; a futex's bits */
} stiol__waiter_t;

#define STIOL_BUCKET_BITS 9
#define STIOL_BUCKETS     (1u << STIOL_BUCKET_BITS)

/* Number of waiters in each bucket: 0 makes a release cheap. */
extern _Atomic unsigned stiol__crowds[STIOL_BUCKETS];

static inline unsigned stiol__bucket(uintptr_t key)
{
    return (unsigned)((uint64_t)key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - STIOL_BUCKET_BITS));
}

/** Whether anyone may be waiting for key, asked on a VP. */
static inline bool stiol__lot_crowd_here(uintptr_t key)
{
    return atomic_load_explicit(&stiol__crowds[stiol__bucket(key)], memory_order_relaxed) != 0;
}

/** Whether anyone may be waiting for key. The releaser asks after the release, and the waiter tries
 * again after entering; between kernel threads that takes a fence. */
static inline bool stiol__lot_crowd(uintptr_t key)
{
    if (!stiol__vp)
        atomic_thread_fence(memory_order_seq_cst);
    return stiol__lot_crowd_here(key);
}

/* --- for those who wait: on a state thread --- */

/** Joins the queue of key at its end. tag is the caller's, for stiol__lot_before() and the like.
 * Does not yield. */
void stiol__lot_enter(stiol__waiter_t *waiter, stiol__vp_t *vp, uintptr_t key, int tag);
/** Leaves the queue. Returns whether the waiter was still in it. Parks for a turn if a wake-up from
 * another kernel thread is under way, since that uses the waiter's memory. */
bool stiol__lot_leave(stiol__waiter_t *waiter);
/** Whether the waiter is the first in its queue. Does not yield, nor do the next two. */
bool stiol__lot_first(const stiol__waiter_t *waiter);
/** Whether one with that tag stands before the waiter. */
bool stiol__lot_before(const stiol__waiter_t *waiter, int tag);
/** Parks until woken, at most `timeout` us; 0 yields. 0, or -1 with ETIME or EINTR. An earlier
 * wake-up counts. */
int stiol__lot_sleep(stiol__waiter_t *waiter, st_utime_t timeout);
/** The same for a thread in several queues. Returns the index of the waiter that was woken, or
 * -1. */
int stiol__lot_sleep_any(stiol__waiter_t *waiters, unsigned count, st_utime_t timeout);
/** Waits in the queue of a lock that another process holds, trying again at growing intervals:
 * `attempt` returns 1 if acquired, 0 if not yet, -1 if failed (errno). Parks until 1 or -1, or
 * until the deadline: -1 with ETIME. */
int stiol__probe(stiol__vp_t *vp, uintptr_t key, int (*attempt)(void *arg), void *arg,
                 st_utime_t deadline);

/* --- for those who release: on any kernel thread, does not yield --- */

/** Whether anyone is waiting for key. */
bool stiol__lot_any(uintptr_t key);
/** Whether one with that tag is. */
bool stiol__lot_any_of(uintptr_t key, int tag);
/** Wakes the first in the queue, or all; they stay in it until they have what they are waiting
 * for. */
void stiol__lot_wake(uintptr_t key, bool all);
/** Wakes everything that waits for anything: each checks for itself. */
void stiol__lot_wake_everyone(void);
/** Takes the first out of the queue and wakes it. Returns whether there was one. */
bool stiol__lot_pop(uintptr_t key);
/** Takes up to `most` waiters whose tag has a bit of mask out of the queue, longest waiting first,
 * and wakes them. Returns how many there were. */
unsigned stiol__lot_pop_some(uintptr_t key, unsigned most, unsigned mask);
/** Moves up to `most` waiters from one queue to the end of another, without waking them. Returns
 * how many there were. */
unsigned stiol__lot_move(uintptr_t from, uintptr_t to, unsigned most);
/** Takes the first waiter out of the queue if it belongs to this VP: it owns the lock from now on.
 * NULL if there is none. */
st_thread_t stiol__lot_grant(stiol__vp_t *vp, uintptr_t key);
/** In a child after fork: the queues are the parent's, and a kernel thread that no longer exists
 * may have held a bucket. */
void stiol__lot_forked(void);
/** The number of all waiters; for tests. */
unsigned stiol__lot_waiters(void);

/** Wakes the first in the queue of key, or all, if there are any. */
static inline void stiol__lot_notify(uintptr_t key, bool all)
{
    if (STIOL_UNLIKELY(stiol__lot_crowd(key)))
        stiol__lot_wake(key, all);
}

/* Keys of things without an address; addresses are even. */
#define STIOL_KEY_SEM(id)  (((uintptr_t)(unsigned)(id) << 3) | 1)
#define STIOL_KEY_FILE(fd) (((uintptr_t)(unsigned)(fd) << 3) | 3)
#define STIOL_KEY_MSG(id)  (((uintptr_t)(unsigned)(id) << 3) | 5)

#pragma GCC visibility pop

#endif /* STIOL_LOT_H */
