/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which state thread owns a lock that glibc would give to every state thread of the VP, because it
 * knows only the kernel thread: recursive, error-checking and robust mutexes, read-write locks held
 * for writing, stdio streams and C++ guards. A hash table per VP, by the lock's address. Used by
 * mutex.c, rwlock.c, stdio.c and guard.c.
 */
#include "stiol/lock.h"
#include "stiol/stiol_int.h"

enum { FIRST_SIZE = 64 }; /* a power of 2 */

static size_t place(const stiol__vp_t *vp, const void *lock)
{
    uint64_t hash = (uint64_t)(uintptr_t)lock * UINT64_C(0x9E3779B97F4A7C15);

    return (size_t)(hash >> 32) & (vp->owners_size - 1);
}

/* Linear probing; the table is never full. */
static stiol__owner_t *slot(const stiol__vp_t *vp, const void *lock)
{
    size_t i = place(vp, lock);

    while (vp->owners[i].lock && vp->owners[i].lock != lock)
        i = (i + 1) & (vp->owners_size - 1);
    return &vp->owners[i];
}

stiol__owner_t *stiol__owner_find(stiol__vp_t *vp, const void *lock)
{
    stiol__owner_t *owner;

    if (vp->owners_used == 0)
        return NULL;
    owner = slot(vp, lock);
    return owner->lock ? owner : NULL;
}

static int grow(stiol__vp_t *vp)
{
    stiol__owner_t *old = vp->owners, *owners;
    size_t old_size = vp->owners_size, size = old_size != 0 ? 2 * old_size : FIRST_SIZE;

    owners = calloc(size, sizeof(*owners));
    if (!owners)
        return -1;
    vp->owners = owners;
    vp->owners_size = size;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].lock)
            *slot(vp, old[i].lock) = old[i];
    free(old);
    return 0;
}

/** Adds a lock that is not in the table, as the calling state thread's. 0, or -1: no memory. */
int stiol__owner_add(stiol__vp_t *vp, void *lock, stiol__lock_kind_t kind)
{
    if (kind == STIOL_ROBUST || kind == STIOL_FILE)
        (void)stiol__self(vp); /* makes its record, so that its end is noticed */
    if (2 * (vp->owners_used + 1) > vp->owners_size && grow(vp) != 0)
        return -1;
    *slot(vp, lock) =
        (stiol__owner_t){.lock = lock, .thread = st_thread_self(), .count = 1, .kind = kind};
    vp->owners_used++;
    return 0;
}

/* Entries behind it move up, so that no gap breaks a search. */
void stiol__owner_remove(stiol__vp_t *vp, stiol__owner_t *owner)
{
    size_t mask = vp->owners_size - 1, gap = (size_t)(owner - vp->owners), i = gap;

    for (;;) {
        i = (i + 1) & mask;
        if (!vp->owners[i].lock)
            break;
        if (((i - place(vp, vp->owners[i].lock)) & mask) >= ((i - gap) & mask)) {
            vp->owners[gap] = vp->owners[i];
            gap = i;
        }
    }
    vp->owners[gap].lock = NULL;
    vp->owners_used--;
}

/** Forgets what is known about a lock that was at this address; on a kernel thread that is not a
 * VP, does nothing. */
void stiol__owner_forget(const void *lock)
{
    stiol__vp_t *vp = stiol__vp;
    stiol__owner_t *owner = vp ? stiol__owner_find(vp, lock) : NULL;

    if (owner)
        stiol__owner_remove(vp, owner);
}

/* The first entry of a state thread for which its end matters; NULL if none. The others stay: their
 * locks are locked forever, as they are when a kernel thread ends. */
static stiol__owner_t *left_behind(const stiol__vp_t *vp, st_thread_t thread)
{
    for (size_t i = 0; i < vp->owners_size; i++) {
        stiol__owner_t *owner = &vp->owners[i];

        if (!owner->lock || owner->thread != thread)
            continue;
        if (owner->kind == STIOL_ROBUST || owner->kind == STIOL_FILE)
            return owner;
        owner->thread = NULL; /* a later thread may have the same address */
    }
    return NULL;
}

/** The calling state thread is ending: the next to lock one of its robust mutexes is told, and its
 * streams are freed. */
void stiol__owner_ended(stiol__vp_t *vp)
{
    stiol__owner_t *owner;

    while (vp->owners_used > 0 && (owner = left_behind(vp, st_thread_self()))) {
        void *lock = owner->lock;
        bool robust = owner->kind == STIOL_ROBUST;

        stiol__owner_remove(vp, owner);
        if (robust)
            stiol__robust_died(lock);
        else
            stiol__stream_left(lock);
    }
}
