/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out who holds a lock that a state thread waits for, to be shown with the wait. For most
 * mutexes, the holder is recorded (stiol__note_taker()) in a small table whose buckets have room
 * for two held mutexes each: if more share a bucket, the holder may be unknown. Called by the MPM.
 */
#include "stiol/lock.h"
#include "stiol/stiol_int.h"

static st_thread_t taker_of(const stiol__vp_t *vp, const void *mutex)
{
    const stiol__taker_t *taker = stiol__takers_of(vp, mutex);

    for (int way = 0; way < 2; way++)
        if (taker->mutex[way] == mutex)
            return taker->thread[way];
    return NULL;
}

static void holder_of_mutex(stiol__vp_t *vp, const pthread_mutex_t *mutex, stiol_holder_t *holder)
{
    int owner = __atomic_load_n(&mutex->__data.__owner, __ATOMIC_RELAXED);
    const stiol__owner_t *known = stiol__owner_find(vp, mutex);

    if (owner != vp->tid) {
        holder->tid = owner;
        return;
    }
    holder->thread = known ? known->thread : taker_of(vp, mutex);
}

bool stiol_lock_holder(const st_wait_t *wait, stiol_holder_t *holder)
{
    stiol__vp_t *vp = stiol__vp;
    const stiol__owner_t *owner;

    *holder = (stiol_holder_t){NULL, 0};
    if (!vp || wait->kind != ST_WAIT_LOCK || !wait->name || !wait->object)
        return false;
    if (strcmp(wait->name, STIOL_MUTEX_NAME) == 0) {
        holder_of_mutex(vp, wait->object, holder);
    } else if (strcmp(wait->name, STIOL_RWLOCK_NAME) == 0) {
        owner = stiol__owner_find(vp, wait->object);
        holder->thread = owner ? owner->thread : NULL;
    }
    return holder->thread || holder->tid > 0;
}
