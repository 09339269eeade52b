/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state thread's life: creation, end, join, interrupt, park and unpark.
 */
#include <string.h>

#include "st/st_internal.h"

enum { DEFAULT_STACK_SIZE = 64 * 1024, FRAME_ALIGNMENT = 64 };

void st__thread_init(struct st_thread *thread)
{
    memset(thread, 0, sizeof(*thread));
    thread->timer.deadline = ST_UTIME_NO_TIMEOUT;
    thread->timer.kind = ST__TIMER_THREAD;
    thread->link.kind = ST__LINK_THREAD;
}

/* Makes the thread's descriptor, and its first frame. */
static struct st_thread *place_thread(struct st_vp *vp, struct st__stack *stack)
{
    char *base = st__stack_base(stack);
    uintptr_t top = (uintptr_t)base + st__stack_size(stack) - st__stack_offset(vp, stack);
    struct st_thread *thread = &stack->own;

    top &= ~(uintptr_t)(FRAME_ALIGNMENT - 1);
    st__thread_init(thread);
    thread->stack = stack;
    stack->thread = thread;
    thread->sp = st__switch_frame((void *)top, thread);
#if ST__ASAN
    thread->asan_bottom = base;
    thread->asan_size = top - (uintptr_t)base;
#endif
    return thread;
}

st_thread_t st_thread_create(void *(*start)(void *arg), void *arg, int joinable, int stack_size)
{
    struct st_vp *vp = st__vp_get();
    struct st__stack *stack;
    struct st_thread *thread;

    if (!vp)
        return NULL;
    if (stack_size < 0) {
        errno = EINVAL;
        return NULL;
    }
    st__reap(vp);
    if (st__timer_reserve(vp, vp->stats.threads + 1) < 0)
        return NULL;
    stack = st__stack_new(vp, (size_t)(stack_size == 0 ? DEFAULT_STACK_SIZE : stack_size));
    if (!stack)
        return NULL;

    thread = place_thread(vp, stack);
    thread->start = start;
    thread->arg = arg;
    thread->joinable = joinable != 0;
    vp->stats.threads_created++;
    if (++vp->stats.threads > vp->stats.threads_peak)
        vp->stats.threads_peak = vp->stats.threads;
    st__runq_push(vp, thread);
    return thread;
}

void st__thread_main(struct st_thread *me)
{
    st__asan_arrive(NULL);
    st_thread_exit(me->start(me->arg));
}

/* After the thread's function has returned: tells the joiner, or leaves the stack to the next
 * thread. */
static void retire(struct st_vp *vp, struct st_thread *me)
{
    me->state = ST__ZOMBIE;
    st__reap(vp);
    if (!me->joinable) {
        if (me->stack) /* not the primordial thread */
            vp->reap = me;
    } else if (me->joiner && me->joiner->state == ST__WAITING) {
        st__wake(vp, me->joiner, 0);
    }
}

void st_thread_exit(void *retval)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;

    if (!vp)
        st__fatal(STMNO(0093) "st_thread_exit() on a kernel thread that is no VP");
    me = vp->current;
    me->retval = retval;
    st__keys_end(me);
    if (vp->switch_out)
        vp->switch_out();
    vp->stats.threads_exited++;
    if (--vp->stats.threads == 0)
        exit(0);
    st__timer_remove(vp, &me->timer);
    retire(vp, me);
    st__sched_last(vp, me);
}

int st_thread_join(st_thread_t thread, void **retvalp)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;

    if (!vp)
        return -1;
    me = vp->current;
    if (!thread->joinable)
        return st__fail(EINVAL);
    if (thread == me)
        return st__fail(EDEADLK);
    if (thread->joiner)
        return st__fail(EINVAL);

    if (thread->state != ST__ZOMBIE) {
        if (st__take_interrupt(me) < 0)
            return -1;
        thread->joiner = me;
        (void)st__wait(vp, me, ST_UTIME_NO_TIMEOUT);
        thread->joiner = NULL;
        if (st__take_interrupt(me) < 0)
            return -1;
    }
    assert(thread->state == ST__ZOMBIE);
    if (retvalp)
        *retvalp = thread->retval;
    st__stack_free(vp, thread->stack);
    return 0;
}

void st_thread_interrupt(st_thread_t thread)
{
    struct st_vp *vp = st__vp_get();

    if (!vp || thread->state == ST__ZOMBIE)
        return;
    thread->interrupted = true;
    if (thread->state == ST__WAITING)
        st__wake(vp, thread, EINTR);
}

st_thread_t st_thread_self(void)
{
    if (ST__LIKELY(st__vp))
        return st__vp->current;
    return st__process.orphan ? st__process.orphan->current : NULL;
}

int st_thread_stack(st_thread_t thread, void **base, size_t *size, size_t *guard)
{
    if (!thread->stack)
        return st__fail(EINVAL);
    *base = st__stack_base(thread->stack);
    *size = st__stack_size(thread->stack);
    if (guard)
        *guard = st__stack_guard(thread->stack);
    return 0;
}

int st_thread_park(st_utime_t timeout)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;
    int reason;

    if (!vp)
        return -1;
    me = vp->current;
    if (me->token) {
        me->token = false;
        return 0;
    }
    if (st__take_interrupt(me) < 0)
        return -1;
    me->parked = true;
    reason = st__wait(vp, me, timeout);
    me->parked = false;
    if (me->token) { /* unparked after the timeout or interrupt, but before it ran */
        me->token = false;
        return 0;
    }
    if (reason == 0)
        return 0;
    if (reason == EINTR)
        me->interrupted = false;
    return st__fail(reason);
}

void st_thread_unpark(st_thread_t thread)
{
    struct st_vp *vp = st__vp_get();

    if (!vp)
        return;
    if (thread->parked && thread->state == ST__WAITING)
        st__wake(vp, thread, 0);
    else
        thread->token = true;
}
