/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks: which state thread has which (owner.c), what happens to them when it ends (robust.c,
 * stdio.c), futexes (futex.c, futex_pi.c, futex_waitv.c), and what cond.c needs of mutex.c.
 */
#ifndef STIOL_LOCK_H
#define STIOL_LOCK_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/* --- owner.c --- */

/* Locks of which glibc knows only that the kernel thread has them. On the VP; nothing yields. */

typedef enum {
    STIOL_MUTEX,
    STIOL_ROBUST, /* a robust mutex */
    STIOL_RWLOCK, /* held for writing */
    STIOL_FILE,   /* a stdio stream */
    STIOL_GUARD   /* a C++ static being initialised */
} stiol__lock_kind_t;

struct stiol__owner {
    void *lock; /* NULL: free */
    st_thread_t thread;
    unsigned count;
    stiol__lock_kind_t kind;
};

/** The owner of the lock; NULL: no state thread of this VP. Valid until the next add or remove. */
stiol__owner_t *stiol__owner_find(stiol__vp_t *vp, const void *lock);
/** Adds a lock that is not in the table, as the calling state thread's. 0, or -1: no memory. */
int stiol__owner_add(stiol__vp_t *vp, void *lock, stiol__lock_kind_t kind);
/** Removes an entry; others may move to its place. */
void stiol__owner_remove(stiol__vp_t *vp, stiol__owner_t *owner);
/** Forgets what is known about a lock that was at this address; on a kernel thread that is not a
 * VP, does nothing. */
void stiol__owner_forget(const void *lock);
/** The calling state thread is ending: the next to lock one of its robust mutexes is told, and its
 * streams are freed. Called by thread.c. */
void stiol__owner_ended(stiol__vp_t *vp);

/* --- robust.c, stdio.c: for owner.c --- */

/** The calling state thread is ending and owns the mutex: the next one to lock it, in any process,
 * is told (EOWNERDEAD). Holds up the VP for as long as it takes to create a kernel thread. */
void stiol__robust_died(pthread_mutex_t *mutex);
/** The calling state thread is ending and holds the stream's lock. */
void stiol__stream_left(FILE *file);

/* --- futex.c, futex_pi.c, futex_waitv.c --- */

/** SYS_futex with these arguments (not including the number), like syscall(): -1 with errno. May be
 * called on any kernel thread; a wait parks a state thread. Called by syscall.c. */
long stiol__futex(const long *raw);
/** The same for SYS_futex_waitv. */
long stiol__futex_waitv(const long *args);
/** The same for the priority-inheriting operations of SYS_futex. */
long stiol__futex_pi(const long *args);
/** FUTEX_WAIT without a time limit, on a futex that other processes might share; parks. Returns
 * when woken, when *word differs from value, and on an interrupt, so check again. */
void stiol__futex_wait(uint32_t *word, uint32_t value);
/** FUTEX_WAKE of all that wait on it. */
void stiol__futex_wake_all(uint32_t *word);

/* --- mutex.c --- */

/** Like pthread_mutex_clocklock(), with a deadline on libst's clock (us); parks. Returns the same
 * error numbers. */
int stiol__mutex_acquire(stiol__vp_t *vp, pthread_mutex_t *mutex, st_utime_t deadline);
/** Like pthread_mutex_unlock(). Does not yield. */
int stiol__mutex_release(stiol__vp_t *vp, pthread_mutex_t *mutex);

#pragma GCC visibility pop

#endif /* STIOL_LOCK_H */
