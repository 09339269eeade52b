/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: the run queue, waiting and waking, and the switch itself. There is no idle thread:
 * a thread that stops runs the scheduler on its own stack until some thread is ready, and if that
 * is itself, it returns without a switch. See docs/internals/scheduler.md.
 */
#include "st_internal.h"

/* With thousands of threads each switch misses the cache: fetch what the next two will need. */
static inline void prefetch(const struct st_thread *next)
{
    if (next != NULL) {
        __builtin_prefetch(next->sp);
        __builtin_prefetch((const char *)next->sp + 64);
        __builtin_prefetch(next->next);
    }
}

/* Takes the next thread to run; visits epoll when there is none or when it is time to. */
static inline struct st_thread *next_thread(struct st_vp *vp)
{
    struct st_thread *thread;

    while (ST__UNLIKELY(vp->runq_head == NULL || vp->budget <= 0))
        st__event_turn(vp);
    vp->budget--;
    thread = vp->runq_head;
    vp->runq_head = thread->next;
    prefetch(thread->next);
    vp->runq_count--;
    vp->stats.switches++;
    ST__ASSERT(thread->state == ST__READY);
    thread->state = ST__RUNNING;
    return thread;
}

void st__switched(struct st_vp *vp)
{
    struct st_thread *ended = vp->reap;

    if (ST__UNLIKELY(ended != NULL)) {
        vp->reap = NULL;
        st__stack_free(vp, ended->stack);
    }
}

void st__sched(struct st_vp *vp, struct st_thread *me)
{
    int saved_errno = *vp->errno_place;
    struct st_thread *next;
    void *fake = NULL;

    ST__ASSERT(!vp->in_callback);
    ST__ASSERT(vp->current == me);
    if (ST__UNLIKELY(vp->switch_out != NULL))
        vp->switch_out();
    next = next_thread(vp);
    if (next != me) {
        vp->current = next;
        st__asan_leave(next, &fake);
        st__switch(&me->sp, next->sp);
        st__asan_arrive(fake);
        st__switched(vp);
    }
    if (ST__UNLIKELY(vp->switch_in != NULL))
        vp->switch_in();
    *vp->errno_place = saved_errno;
}

void st__sched_last(struct st_vp *vp, struct st_thread *me)
{
    struct st_thread *next = next_thread(vp);

    vp->current = next;
    st__asan_leave(next, NULL);
    st__switch(&me->sp, next->sp);
    __builtin_unreachable();
}

int st__wait(struct st_vp *vp, struct st_thread *me, st_utime_t timeout)
{
    me->state = ST__WAITING;
    if (timeout != ST_UTIME_NO_TIMEOUT)
        (void)st__timer_set(vp, &me->timer, timeout); /* room is reserved: cannot fail */
    st__sched(vp, me);
    return me->reason;
}

void st__wake(struct st_vp *vp, struct st_thread *thread, int reason)
{
    ST__ASSERT(thread->state == ST__WAITING);
    thread->reason = reason;
    thread->timer.deadline = ST_UTIME_NO_TIMEOUT;
    if (thread->queue != NULL)
        st__queue_remove(thread);
    if (thread->link.pprev != NULL)
        st__fd_unlink(vp, &thread->link);
    st__runq_push(vp, thread);
}

void st_thread_yield(void)
{
    struct st_vp *vp = st__vp_get();

    if (vp == NULL)
        return;
    st__runq_push(vp, vp->current);
    st__sched(vp, vp->current);
}

void st__queue_append(struct st__queue *queue, struct st_thread *thread)
{
    thread->queue = queue;
    thread->queue_next = NULL;
    thread->queue_prev = queue->tail;
    if (queue->tail == NULL)
        queue->head = thread;
    else
        queue->tail->queue_next = thread;
    queue->tail = thread;
}

void st__queue_remove(struct st_thread *thread)
{
    struct st__queue *queue = thread->queue;

    if (thread->queue_prev == NULL)
        queue->head = thread->queue_next;
    else
        thread->queue_prev->queue_next = thread->queue_next;
    if (thread->queue_next == NULL)
        queue->tail = thread->queue_prev;
    else
        thread->queue_next->queue_prev = thread->queue_prev;
    thread->queue = NULL;
}

#ifdef ST_SWITCH_CB
st_switch_cb_t st_set_switch_in_cb(st_switch_cb_t cb)
{
    struct st_vp *vp = st__vp_get();
    st_switch_cb_t previous;

    if (vp == NULL)
        return NULL;
    previous = vp->switch_in;
    vp->switch_in = cb;
    return previous;
}

st_switch_cb_t st_set_switch_out_cb(st_switch_cb_t cb)
{
    struct st_vp *vp = st__vp_get();
    st_switch_cb_t previous;

    if (vp == NULL)
        return NULL;
    previous = vp->switch_out;
    vp->switch_out = cb;
    return previous;
}
#endif
