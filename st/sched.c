/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: the run queue, waiting and waking, and the switch itself. There is no idle thread:
 * a thread that stops runs the scheduler on its own stack until some thread is ready, and if that
 * is the thread itself, it returns without a switch. See docs/internals/scheduler.md.
 */
#include "st/st_internal.h"

/* With thousands of threads each switch misses the cache: fetch what the next two will need. */
static inline void prefetch(const struct st_thread *next)
{
    if (next) {
        __builtin_prefetch(next->sp);
        __builtin_prefetch((const char *)next->sp + 64);
        __builtin_prefetch(next->next);
    }
}

/* Makes the head of the run queue the current thread, with its errno. */
static inline struct st_thread *start_next(struct st_vp *vp)
{
    struct st_thread *next;

    st__shuffle(vp);
    next = vp->runq_head;
    assert(next->state == ST__READY);
    vp->budget--;
    vp->runq_head = next->next;
    prefetch(next->next);
    next->state = ST__RUNNING;
    vp->current = next;
    *vp->errno_place = next->saved_errno;
    return next;
}

/* us since the last visit to epoll after which no more threads are put last */
enum { LONGEST_LAST = 1000 };

/* Moves the threads that were put last to the end of the run queue, or to its head. */
static void requeue_last(struct st_vp *vp, bool to_head)
{
    if (!vp->last_head)
        return;
    if (!vp->runq_head) {
        vp->runq_head = vp->last_head;
        vp->runq_tail = vp->last_tail;
    } else if (to_head) {
        vp->last_tail->next = vp->runq_head;
        vp->runq_head = vp->last_head;
    } else {
        vp->runq_tail->next = vp->last_head;
        vp->runq_tail = vp->last_tail;
    }
    vp->queued += vp->last_count;
    vp->last_head = vp->last_tail = NULL;
    vp->last_count = 0;
}

/* Is there a thread that may run before epoll is visited? */
static inline bool ready(const struct st_vp *vp)
{
    return ST__LIKELY(vp->runq_head && vp->budget > 0);
}

static void find_ready(struct st_vp *vp)
{
    while (!ready(vp)) {
        requeue_last(vp, false);
        if (!ready(vp))
            st__event_turn(vp);
    }
}

/* From here on, what the kernel thread has only once belongs to next. */
static inline void exchange(struct st_vp *vp, struct st_thread *next, int ended)
{
    struct st_thread *from = vp->in_place;

    if (!vp->exchange || from == next)
        return;
    vp->in_place = next;
    vp->exchange(&from->carried, &next->carried, ended);
    *vp->errno_place = next->saved_errno;
}

void st__exchange_for_callbacks(struct st_vp *vp)
{
    exchange(vp, &vp->primordial, 0);
}

/* With everything that is rare: a visit to epoll, switch callbacks, a sanitizer. */
static __attribute__((noinline)) void sched_slowly(struct st_vp *vp, struct st_thread *me)
{
    struct st_thread *next;
    void *fake = NULL;

    assert(!vp->in_callback);
    assert(vp->current == me);
    if (vp->switch_out)
        vp->switch_out();
    find_ready(vp);
    next = start_next(vp);
    exchange(vp, next, 0);
    if (next != me) {
        st__asan_leave(next, &fake);
        st__switch(&me->sp, next->sp);
        st__asan_arrive(fake);
    }
    if (vp->switch_in) {
        vp->switch_in();
        *vp->errno_place = me->saved_errno;
    }
}

/* With nothing but an exchange; or the slow path. */
static __attribute__((noinline)) void sched_hooked(struct st_vp *vp, struct st_thread *me)
{
    struct st_thread *next;

    if (!ready(vp) || vp->always_slowly) {
        sched_slowly(vp, me);
        return;
    }
    next = start_next(vp);
    if (next == me)
        return;
    exchange(vp, next, 0);
    st__switch(&me->sp, next->sp);
}

/* The fast path has no frame of its own: everything that belongs to a thread is set before the
 * switch, so nothing is left to do after it. */
void st__sched(struct st_vp *vp, struct st_thread *me)
{
    struct st_thread *next;

    me->saved_errno = *vp->errno_place;
    if (ST__UNLIKELY(!ready(vp) || vp->hooked)) {
        sched_hooked(vp, me);
        return;
    }
    next = start_next(vp);
    if (ST__LIKELY(next != me))
        st__switch(&me->sp, next->sp);
}

void st__sched_last(struct st_vp *vp, struct st_thread *me)
{
    struct st_thread *next;

    assert(!vp->in_callback);
    if (me != &vp->primordial) /* its state is the kernel thread's own, and stays */
        exchange(vp, ready(vp) ? vp->runq_head : &vp->primordial, 1);
    find_ready(vp);
    next = start_next(vp);
    exchange(vp, next, 0);
    st__asan_leave(next, NULL);
    st__switch(&me->sp, next->sp);
    __builtin_unreachable();
}

void st__reap(struct st_vp *vp)
{
    struct st_thread *ended = vp->reap;

    if (ended && ended != vp->current) {
        vp->reap = NULL;
        st__stack_free(vp, ended->stack);
    }
}

void st_thread_yield(void)
{
    struct st_vp *vp = st__vp_get();

    if (!vp)
        return;
    st__runq_push(vp, vp->current);
    if (ST__UNLIKELY(st__yields_observed(vp->current)))
        st__yield_observed(vp, vp->current);
    else
        st__sched(vp, vp->current);
}

void st_thread_yield_last(void)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;

    if (!vp || !vp->runq_head)
        return;
    if (st_utime() - vp->clock >= LONGEST_LAST) {
        requeue_last(vp, true);
        return;
    }
    me = vp->current;
    me->state = ST__READY;
    me->next = NULL;
    if (!vp->last_head)
        vp->last_head = me;
    else
        vp->last_tail->next = me;
    vp->last_tail = me;
    vp->last_count++;
    if (ST__UNLIKELY(st__yields_observed(me)))
        st__yield_observed(vp, me);
    else
        st__sched(vp, me);
}

st_exchange_cb_t st_set_exchange_cb(st_exchange_cb_t cb)
{
    struct st_vp *vp = st__vp_get();
    st_exchange_cb_t previous;

    if (!vp)
        return NULL;
    previous = vp->exchange;
    vp->exchange = cb;
    vp->in_place = vp->current;
    vp->hooked = vp->always_slowly || cb;
    return previous;
}

#ifdef ST_SWITCH_CB
static st_switch_cb_t replace_cb(struct st_vp *vp, st_switch_cb_t *place, st_switch_cb_t cb)
{
    st_switch_cb_t previous = *place;

    *place = cb;
    vp->always_slowly = ST__ALWAYS_SLOWLY || vp->switch_in || vp->switch_out;
    vp->hooked = vp->always_slowly || vp->exchange;
    return previous;
}

st_switch_cb_t st_set_switch_in_cb(st_switch_cb_t cb)
{
    struct st_vp *vp = st__vp_get();

    return vp ? replace_cb(vp, &vp->switch_in, cb) : NULL;
}

st_switch_cb_t st_set_switch_out_cb(st_switch_cb_t cb)
{
    struct st_vp *vp = st__vp_get();

    return vp ? replace_cb(vp, &vp->switch_out, cb) : NULL;
}
#endif
