/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of threads and watches: a 4-ary heap with lazy removal. Disarming a timer or moving its
 * deadline later only writes the timer; the stale key in the heap is noticed when it reaches the
 * top. Only an earlier deadline moves an entry up. Called by sched.c, fd.c and event.c.
 */
#include <limits.h>

#include "st/st_internal.h"

enum { ARITY = 4, FIRST_ROOM = 64 };

/* --- The heap. A timer's slot is its index + 1, 0 if it has no entry --- */

static inline void put(struct st__heap *heap, unsigned index, struct st__heap_entry entry)
{
    heap->entries[index] = entry;
    entry.timer->slot = index + 1;
}

static void sift_up(struct st__heap *heap, unsigned index, struct st__heap_entry entry)
{
    while (index > 0) {
        unsigned parent = (index - 1) / ARITY;

        if (heap->entries[parent].key <= entry.key)
            break;
        put(heap, index, heap->entries[parent]);
        index = parent;
    }
    put(heap, index, entry);
}

static unsigned least_child(const struct st__heap *heap, unsigned first)
{
    unsigned end = first + ARITY < heap->count ? first + ARITY : heap->count;
    unsigned least = first;

    for (unsigned child = first + 1; child < end; child++)
        if (heap->entries[child].key < heap->entries[least].key)
            least = child;
    return least;
}

static void sift_down(struct st__heap *heap, unsigned index, struct st__heap_entry entry)
{
    unsigned first;

    while ((first = index * ARITY + 1) < heap->count) {
        unsigned child = least_child(heap, first);

        if (heap->entries[child].key >= entry.key)
            break;
        put(heap, index, heap->entries[child]);
        index = child;
    }
    put(heap, index, entry);
}

static void heap_remove(struct st__heap *heap, unsigned index)
{
    struct st_timer *timer = heap->entries[index].timer;
    struct st__heap_entry last = heap->entries[--heap->count];

    timer->slot = 0;
    if (timer->kind == ST__TIMER_WATCH)
        heap->watches--;
    if (index == heap->count)
        return;
    if (index > 0 && heap->entries[(index - 1) / ARITY].key > last.key)
        sift_up(heap, index, last);
    else
        sift_down(heap, index, last);
}

static int heap_reserve(struct st__heap *heap, unsigned long long needed)
{
    struct st__heap_entry *entries;
    unsigned long long room = heap->room == 0 ? FIRST_ROOM : heap->room;

    if (needed <= heap->room)
        return 0;
    while (room < needed)
        room *= 2;
    if (room > UINT_MAX)
        return st__fail(ENOMEM);
    if (!(entries = st__realloc(heap->entries, room * sizeof(*entries))))
        return -1;
    heap->entries = entries;
    heap->room = (unsigned)room;
    return 0;
}

int st__timer_reserve(struct st_vp *vp, unsigned long long threads)
{
    return heap_reserve(&vp->heap, threads + vp->heap.watches);
}

void st__timer_destroy(struct st_vp *vp)
{
    for (unsigned i = 0; i < vp->heap.count; i++) {
        vp->heap.entries[i].timer->slot = 0;
        vp->heap.entries[i].timer->deadline = ST_UTIME_NO_TIMEOUT;
    }
    free(vp->heap.entries);
    vp->heap = (struct st__heap){0};
}

/* --- Arming --- */

/* From this moment, not from the last visit to epoll: a thread may have computed for a long time
 * since then, which must not count against its wait. */
static st_utime_t deadline_of(const struct st_vp *vp, st_utime_t timeout)
{
    st_utime_t deadline = (timeout != ST_UTIME_NO_WAIT ? st_utime() : vp->clock) + timeout;

    if (deadline < timeout) /* wrapped: as good as never */
        return ST_UTIME_NO_TIMEOUT;
    return deadline < vp->timer_floor ? vp->timer_floor : deadline;
}

static int heap_insert(struct st_vp *vp, struct st_timer *timer)
{
    struct st__heap *heap = &vp->heap;

    if (timer->kind == ST__TIMER_WATCH) {
        if (heap_reserve(heap, vp->stats.threads + heap->watches + 1) < 0)
            return -1;
        heap->watches++;
    }
    assert(heap->count < heap->room);
    sift_up(heap, heap->count++, (struct st__heap_entry){timer->deadline, timer});
    return 0;
}

int st__timer_set(struct st_vp *vp, struct st_timer *timer, st_utime_t timeout)
{
    struct st__heap *heap = &vp->heap;
    st_utime_t deadline;

    deadline = timeout == ST_UTIME_NO_TIMEOUT ? timeout : deadline_of(vp, timeout);
    timer->deadline = deadline;
    if (deadline == ST_UTIME_NO_TIMEOUT)
        return 0;
    if (timer->slot == 0) {
        if (heap_insert(vp, timer) == 0)
            return 0;
        timer->deadline = ST_UTIME_NO_TIMEOUT;
        return -1;
    }
    if (deadline < heap->entries[timer->slot - 1].key)
        sift_up(heap, timer->slot - 1, (struct st__heap_entry){deadline, timer});
    return 0;
}

void st__timer_remove(struct st_vp *vp, struct st_timer *timer)
{
    timer->deadline = ST_UTIME_NO_TIMEOUT;
    if (timer->slot != 0)
        heap_remove(&vp->heap, timer->slot - 1);
}

/* --- Firing --- */

st_utime_t st__timer_delay(const struct st_vp *vp, st_utime_t now)
{
    st_utime_t key;

    if (vp->heap.count == 0)
        return ST_UTIME_NO_TIMEOUT;
    key = vp->heap.entries[0].key;
    return key <= now ? 0 : key - now;
}

static void fire(struct st_vp *vp, struct st_timer *timer)
{
    vp->stats.timers_fired++;
    timer->deadline = ST_UTIME_NO_TIMEOUT;
    if (timer->kind == ST__TIMER_THREAD)
        st__wake(vp, ST__CONTAINER(timer, struct st_thread, timer), ETIME);
    else
        st__watch_timeout(vp, ST__CONTAINER(timer, struct st_watch, timer));
}

void st__timer_fire_due(struct st_vp *vp)
{
    struct st__heap *heap = &vp->heap;

    if (heap->count == 0 || heap->entries[0].key > vp->clock)
        return;
    /* What callbacks arm now fires in the next turn at the earliest. */
    vp->timer_floor = vp->clock + 1;
    while (heap->count > 0 && heap->entries[0].key <= vp->clock) {
        struct st_timer *timer = heap->entries[0].timer;

        if (timer->deadline == ST_UTIME_NO_TIMEOUT) {
            heap_remove(heap, 0);
        } else if (timer->deadline > vp->clock) {
            sift_down(heap, 0, (struct st__heap_entry){timer->deadline, timer});
        } else {
            heap_remove(heap, 0);
            fire(vp, timer);
        }
    }
    vp->timer_floor = 0;
}
