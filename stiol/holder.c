/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has the lock that somebody waits for: for whoever looks at waits. For most mutexes, who
 * took it is noted (stiol__note_taker()) in a small table in which two of those that are held may
 * have the same place: if there are more, the answer may be that nobody knows.
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
