/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which state thread owns a recursive or error-checking mutex: glibc knows only the kernel thread,
 * and would let every state thread of the VP in. A hash table per VP, of the mutexes that are
 * locked now. Used by mutex.c.
 */
#include "stiol_int.h"

#define FIRST_SIZE 64 /* a power of 2 */

static size_t place(const stiol__vp_t *vp, const pthread_mutex_t *mutex)
{
    uint64_t hash = (uint64_t)(uintptr_t)mutex * UINT64_C(0x9E3779B97F4A7C15);

    return (size_t)(hash >> 32) & (vp->owners_size - 1);
}

/* Linear probing; the table is never full. */
static stiol__owner_t *slot(const stiol__vp_t *vp, const pthread_mutex_t *mutex)
{
    size_t i = place(vp, mutex);

    while (vp->owners[i].mutex != NULL && vp->owners[i].mutex != mutex)
        i = (i + 1) & (vp->owners_size - 1);
    return &vp->owners[i];
}

stiol__owner_t *stiol__owner_find(stiol__vp_t *vp, const pthread_mutex_t *mutex)
{
    stiol__owner_t *owner;

    if (vp->owners_used == 0)
        return NULL;
    owner = slot(vp, mutex);
    return owner->mutex != NULL ? owner : NULL;
}

static int grow(stiol__vp_t *vp)
{
    stiol__owner_t *old = vp->owners, *owners;
    size_t old_size = vp->owners_size, size = old_size != 0 ? 2 * old_size : FIRST_SIZE;

    owners = calloc(size, sizeof(*owners));
    if (owners == NULL)
        return -1;
    vp->owners = owners;
    vp->owners_size = size;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].mutex != NULL)
            *slot(vp, old[i].mutex) = old[i];
    free(old);
    return 0;
}

/** Adds a mutex that is not in the table. 0, or -1: no memory. */
int stiol__owner_add(stiol__vp_t *vp, pthread_mutex_t *mutex, st_thread_t thread)
{
    if (2 * (vp->owners_used + 1) > vp->owners_size && grow(vp) != 0)
        return -1;
    *slot(vp, mutex) = (stiol__owner_t){.mutex = mutex, .thread = thread, .count = 1};
    vp->owners_used++;
    return 0;
}

/* Those behind it move up, so that no gap breaks a search. */
void stiol__owner_remove(stiol__vp_t *vp, stiol__owner_t *owner)
{
    size_t mask = vp->owners_size - 1, gap = (size_t)(owner - vp->owners), i = gap;

    for (;;) {
        i = (i + 1) & mask;
        if (vp->owners[i].mutex == NULL)
            break;
        if (((i - place(vp, vp->owners[i].mutex)) & mask) >= ((i - gap) & mask)) {
            vp->owners[gap] = vp->owners[i];
            gap = i;
        }
    }
    vp->owners[gap].mutex = NULL;
    vp->owners_used--;
}
