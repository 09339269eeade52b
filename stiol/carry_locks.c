/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of which glibc wants to know the owner (recursive and error-checking mutexes, read-write
 * locks held for writing), held while their state thread goes to a carrier or comes back: the owner
 * that glibc sees becomes the kernel thread that runs it now. Others need nothing: glibc lets any
 * kernel thread unlock them. Used by carry.c, mutex.c and rwlock.c.
 */
#include "stiol/lock.h"
#include "stiol/carry.h"
#include "stiol/stiol_int.h"

#define ROBUST_OR_PRIO (16 | 32 | 64) /* of __kind, as in mutex.c */
/* The owner of a lock that is on its way back: no kernel thread's, or the carrier's next state
 * thread would have it too. */
enum { NOBODY = -1 };

struct stiol__carried_lock {
    void *lock;
    stiol__lock_kind_t kind; /* STIOL_MUTEX or STIOL_RWLOCK */
    unsigned count;          /* how often it was locked */
};

static bool has_owner(const pthread_mutex_t *mutex)
{
    int kind = mutex->__data.__kind, type = kind & 3;

    return (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK) &&
           (kind & ROBUST_OR_PRIO) == 0;
}

static bool is_counted(const pthread_mutex_t *mutex)
{
    return (mutex->__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE;
}

static void own(const stiol__carried_lock_t *held, pid_t tid)
{
    pthread_mutex_t *mutex = held->lock;

    if (held->kind == STIOL_RWLOCK) {
        pthread_rwlock_t *rwlock = held->lock;

        __atomic_store_n(&rwlock->__data.__cur_writer, tid, __ATOMIC_RELAXED);
        return;
    }
    if (is_counted(mutex))
        mutex->__data.__count = held->count;
    __atomic_store_n(&mutex->__data.__owner, tid, __ATOMIC_RELAXED);
}

/* --- on the VP: what the owners' table says goes along --- */

static bool goes_along(const stiol__owner_t *owner, st_thread_t thread)
{
    return owner->lock && owner->thread == thread &&
           (owner->kind == STIOL_RWLOCK || (owner->kind == STIOL_MUTEX && has_owner(owner->lock)));
}

/** Lists the calling thread's. The table keeps its entries, with a count of 0: the rest of the VP
 * must not take the locks for free meanwhile. */
void stiol__locks_leave(stiol__vp_t *vp, stiol__load_t *load)
{
    if (STIOL_LIKELY(vp->owners_used == 0))
        return;
    load->locks = calloc(vp->owners_used, sizeof(*load->locks));
    for (size_t i = 0; load->locks && i < vp->owners_size; i++) {
        stiol__owner_t *owner = &vp->owners[i];

        if (!goes_along(owner, load->thread))
            continue;
        load->locks[load->lock_count++] = (stiol__carried_lock_t){
            .lock = owner->lock, .kind = owner->kind, .count = owner->count};
        owner->count = 0;
    }
}

/* Drops the entries of what went along. A lock may have been released on the carrier, and its
 * memory be gone. */
static void drop_entries(stiol__vp_t *vp, st_thread_t thread)
{
    for (size_t i = 0; i < vp->owners_size;) {
        stiol__owner_t *owner = &vp->owners[i];

        if (owner->lock && owner->thread == thread && owner->count == 0)
            stiol__owner_remove(vp, owner); /* another entry may have moved here */
        else
            i++;
    }
}

/** The mutexes held now belong to the calling state thread. */
void stiol__locks_return(stiol__vp_t *vp, stiol__load_t *load)
{
    if (vp->owners_used > 0)
        drop_entries(vp, load->thread);
    for (unsigned i = 0; i < load->lock_count; i++) {
        const stiol__carried_lock_t *held = &load->locks[i];

        stiol__owner_forget(held->lock); /* what is known about an earlier one at this address */
        own(&(stiol__carried_lock_t){.lock = held->lock, .kind = held->kind, .count = 1}, vp->tid);
        if (stiol__owner_add(vp, held->lock, held->kind) == 0)
            stiol__owner_find(vp, held->lock)->count = held->count;
    }
    free(load->locks);
}

/* --- on the carrier --- */

static bool add(stiol__carriage_t *carriage, void *lock, stiol__lock_kind_t kind)
{
    if (carriage->lock_count == carriage->lock_room) {
        unsigned room = carriage->lock_room != 0 ? 2 * carriage->lock_room : 8;
        stiol__carried_lock_t *locks = realloc(carriage->locks, room * sizeof(*locks));

        if (!locks)
            return false;
        carriage->locks = locks;
        carriage->lock_room = room;
    }
    carriage->locks[carriage->lock_count++] = (stiol__carried_lock_t){.lock = lock, .kind = kind};
    return true;
}

void stiol__locks_arrive(stiol__carriage_t *carriage, stiol__load_t *load)
{
    carriage->lock_count = 0;
    for (unsigned i = 0; i < load->lock_count; i++)
        if (add(carriage, load->locks[i].lock, load->locks[i].kind))
            own(&load->locks[i], carriage->tid);
    free(load->locks);
    load->locks = NULL;
    load->lock_count = 0;
}

/** What is held now goes back. */
void stiol__locks_depart(stiol__carriage_t *carriage, stiol__load_t *load)
{
    if (STIOL_LIKELY(carriage->lock_count == 0))
        return;
    load->locks = carriage->locks;
    load->lock_count = carriage->lock_count;
    for (unsigned i = 0; i < load->lock_count; i++) {
        stiol__carried_lock_t *held = &load->locks[i];
        const pthread_mutex_t *mutex = held->lock;

        held->count = held->kind == STIOL_MUTEX && is_counted(mutex) ? mutex->__data.__count : 1;
        own(held, NOBODY);
    }
    carriage->locks = NULL;
    carriage->lock_count = carriage->lock_room = 0;
}

static unsigned place_of(const stiol__carriage_t *carriage, const void *lock)
{
    unsigned i = carriage->lock_count;

    while (i > 0 && carriage->locks[i - 1].lock != lock)
        i--;
    return i; /* from 1; 0 if it is not there */
}

static void drop(stiol__carriage_t *carriage, const void *lock)
{
    unsigned place = place_of(carriage, lock);

    if (place != 0)
        carriage->locks[place - 1] = carriage->locks[--carriage->lock_count];
}

/** A real lock() of that mutex has returned rc. */
int stiol__carried_took(pthread_mutex_t *mutex, int rc)
{
    stiol__carriage_t *carriage = stiol__carriage;

    if (STIOL_LIKELY(!carriage) || rc != 0 || !has_owner(mutex))
        return rc;
    if (place_of(carriage, mutex) != 0 || add(carriage, mutex, STIOL_MUTEX))
        return 0;
    (void)pthread_mutex_unlock(mutex);
    return EAGAIN;
}

/** The mutex is about to be unlocked; if that releases it, its memory may be gone afterwards. */
void stiol__carried_gives(const pthread_mutex_t *mutex)
{
    stiol__carriage_t *carriage = stiol__carriage;

    if (STIOL_LIKELY(!carriage) || !has_owner(mutex) || mutex->__data.__owner != carriage->tid ||
        (is_counted(mutex) && mutex->__data.__count > 1))
        return;
    drop(carriage, mutex);
}

/** A real wrlock() of that read-write lock has returned rc. */
int stiol__carried_writes(pthread_rwlock_t *lock, int rc)
{
    stiol__carriage_t *carriage = stiol__carriage;

    if (STIOL_LIKELY(!carriage) || rc != 0)
        return rc;
    if (place_of(carriage, lock) != 0 || add(carriage, lock, STIOL_RWLOCK))
        return 0;
    (void)pthread_rwlock_unlock(lock);
    return EAGAIN;
}

/** It is about to be unlocked, by a writer or a reader. */
void stiol__carried_ends(const pthread_rwlock_t *lock)
{
    stiol__carriage_t *carriage = stiol__carriage;

    if (STIOL_UNLIKELY(carriage) && carriage->lock_count > 0)
        drop(carriage, lock); /* nobody reads while there is a writer */
}
