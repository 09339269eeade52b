/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Robust mutexes of a state thread that ends: the kernel tells the next owner when a kernel thread
 * ends, but the VP's goes on. So one of its own takes the mutex over, and ends with it. Called by
 * owner.c.
 */
#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

typedef struct heir {
    pthread_mutex_t *mutex;
    _Atomic bool ready, free;
} heir_t;

/* Spins: what it waits for comes within microseconds, and it is to be quicker than those who wait
 * for the mutex. */
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

/** The calling state thread has the mutex and ends: the next one to lock it, of whatever process,
 * is told (EOWNERDEAD). Holds up the VP for the time of making a kernel thread. */
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
    (void)pthread_mutex_consistent(mutex); /* or its unlocking would make it useless for good */
    (void)pthread_mutex_unlock(mutex);     /* ours no more, even if nobody hears of it */
    atomic_store(&heir.free, true);
    if (rc == 0)
        (void)pthread_join(id, NULL);
    stiol__lot_notify((uintptr_t)mutex, false);
}
