/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Robust mutexes of a state thread that ends: the kernel tells the next owner when a kernel thread
 * ends, but the VP's continues. So a kernel thread of its own takes over the mutex, and ends with
 * it. Called by owner.c.
 */
#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

typedef struct heir {
    pthread_mutex_t *mutex;
    _Atomic bool ready, free;
} heir_t;

/* Spins: what it waits for happens within microseconds, and it must be quicker than the mutex's
 * waiters. */
static void *die_with_it(void *arg)
{
    heir_t *heir = arg;
    bool last;
    int rc;

    atomic_store(&heir->ready, true);
    do {
        last = atomic_load(&heir->free);
        rc = pthread_mutex_trylock(heir->mutex);
    } while (rc == EBUSY && !last);
    return NULL;
}

/** The calling state thread is ending and owns the mutex: the next one to lock it, in any process,
 * is told (EOWNERDEAD). Holds up the VP for as long as it takes to create a kernel thread. */
void stiol__robust_died(pthread_mutex_t *mutex)
{
    heir_t heir = {.mutex = mutex};
    sigset_t all, before;
    pthread_t id;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&id, NULL, die_with_it, &heir);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (rc == 0 && !atomic_load(&heir.ready))
        sched_yield();
    (void)pthread_mutex_consistent(mutex); /* or unlocking would make it unusable for good */
    (void)pthread_mutex_unlock(mutex);     /* no longer ours, even if nobody is told */
    atomic_store(&heir.free, true);
    if (rc == 0)
        (void)pthread_join(id, NULL);
    stiol__lot_notify((uintptr_t)mutex, false);
}
