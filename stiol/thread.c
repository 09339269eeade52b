/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating, joining and ending threads. pthread_create() and thrd_create() create state threads of
 * the calling VP if libapr calls them, and kernel threads for other objects (kthread.c). identity.c
 * has the identity of state threads.
 */
#include "stiol/stiol_int.h"
#include "stiol/thread.h"
#include "stiol/tls.h"

static void enlist(stiol__vp_t *vp, stiol__thread_t *self)
{
    self->next = vp->threads;
    self->previous = &vp->threads;
    if (self->next)
        self->next->previous = &self->next;
    vp->threads = self;
}

void stiol__unlist(stiol__thread_t *self)
{
    if (self->next)
        self->next->previous = self->previous;
    *self->previous = self->next;
}

static void *thread_main(void *data)
{
    stiol__thread_t *self = data;

    self->thread = st_thread_self();
    stiol__settings_inherit(self->vp, self->mask);
    self->started = true;
    if (stiol__become(self) == 0)
        self->result =
            self->start11 ? (void *)(intptr_t)self->start11(self->arg) : self->start(self->arg);
    return self->result;
}

/* Bytes: what the caller asked for, if that is more than the usual size. */
static int stack_size(const stiol__vp_t *vp, const pthread_attr_t *attr)
{
    size_t wanted = 0, usual = 0, size = (size_t)vp->config.stack_size;
    pthread_attr_t defaults;

    if (!attr || pthread_attr_getstacksize(attr, &wanted) != 0 ||
        pthread_getattr_default_np(&defaults) != 0)
        return (int)size;
    (void)pthread_attr_getstacksize(&defaults, &usual);
    (void)pthread_attr_destroy(&defaults);
    return wanted != usual && wanted > size && wanted <= INT32_MAX ? (int)wanted : (int)size;
}

/* Called with the record containing only what is to be started. */
static int start_thread(stiol__vp_t *vp, pthread_t *id, const pthread_attr_t *attr,
                        stiol__thread_t *thread)
{
    int detached = PTHREAD_CREATE_JOINABLE;

    if (attr)
        (void)pthread_attr_getdetachstate(attr, &detached);
    thread->magic = STIOL_THREAD_MAGIC;
    thread->vp = vp;
    thread->ours = true;
    thread->detached = detached == PTHREAD_CREATE_DETACHED;
    thread->mask = stiol__settings_mask(vp);
    *id = (pthread_t)thread;
    thread->thread = st_thread_create(thread_main, thread, 0, stack_size(vp, attr));
    if (!thread->thread) {
        stiol__record_free(thread);
        return EAGAIN;
    }
    enlist(vp, thread);
    return 0;
}

/* What only the VP has used so far, without a lock, may need one from now on. */
static void tell_of_kernel_thread(const stiol__vp_t *vp)
{
    if (vp && vp->config.kernel_thread && !STIOL_OFF(STIOL_NO_TELLING))
        vp->config.kernel_thread();
}

int stiol__pthread_create(pthread_t *restrict id, const pthread_attr_t *restrict attr,
                          void *(*start)(void *), void *restrict arg)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_create, start);
    stiol__thread_t *thread;

    if (!vp)
        return stiol__kthread_create(id, attr, start, NULL, arg);
    thread = stiol__record_new();
    if (!thread)
        return EAGAIN;
    thread->start = start;
    thread->arg = arg;
    return start_thread(vp, id, attr, thread);
}

/* Other objects get kernel threads (libcurl's resolver). */
int stiol__elsewhere_pthread_create(pthread_t *restrict id, const pthread_attr_t *restrict attr,
                                    void *(*start)(void *), void *restrict arg)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_create, start);

    tell_of_kernel_thread(vp);
    return stiol__kthread_create(id, attr, start, NULL, arg);
}

/* --- joining --- */

/* A kernel thread, or another VP's state thread, waits for one of ours, so nobody will wake it. */
static int wait_from_afar(stiol__vp_t *vp, const stiol__thread_t *thread, st_utime_t deadline)
{
    while (!atomic_load_explicit(&thread->ended, memory_order_acquire)) {
        if (stiol__left(deadline) == 0)
            return ETIMEDOUT;
        if (vp)
            (void)st_usleep(1000);
        else
            (void)usleep(1000);
    }
    return 0;
}

static int wait_for(stiol__vp_t *vp, stiol__thread_t *thread, st_utime_t deadline)
{
    st_thread_t self = st_thread_self();
    st_wait_t wait = {.kind = ST_WAIT_THREAD, .number = -1};
    bool interrupted = false;
    int error = errno;

    if (thread->ended)
        return 0;
    STIOL_PARKS(vp, thread);
    st_wait_begin(&wait);
    thread->joiner = self;
    while (!thread->ended && stiol__left(deadline) != 0 && !stiol__to_be_cancelled())
        if (st_thread_park(stiol__left(deadline)) != 0 && errno == EINTR)
            interrupted = true;
    thread->joiner = NULL;
    st_wait_end(&wait);
    if (!thread->ended)
        stiol__cancellation(); /* then the other one is not joined */
    if (interrupted)
        st_thread_interrupt(self); /* not for this wait: pass it on to the next one */
    errno = error;
    return thread->ended ? 0 : ETIMEDOUT;
}

static int join_state_thread(stiol__vp_t *vp, stiol__thread_t *thread, void **result,
                             st_utime_t deadline)
{
    int rc;

    if (thread->magic == STIOL_THREAD_ENDED)
        return ESRCH;
    if (vp == thread->vp && thread->thread == st_thread_self())
        return EDEADLK;
    if (thread->detached || thread->joiner || !thread->ours)
        return EINVAL;
    if (vp == thread->vp)
        rc = wait_for(vp, thread, deadline);
    else if (!stiol__interrupted() || vp)
        rc = wait_from_afar(vp, thread, deadline);
    else
        return EDEADLK; /* in a callback or a handler, it cannot end before we return */
    if (rc != 0)
        return rc;
    if (result)
        *result = thread->result;
    stiol__record_free(thread);
    return 0;
}

int stiol__pthread_join(pthread_t id, void **result)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_join, id);
    stiol__thread_t *thread = stiol__record_of(id);

    if (thread)
        return join_state_thread(vp, thread, result, STIOL_NEVER);
    return vp ? stiol__kthread_join(vp, id, result, STIOL_NEVER) : pthread_join(id, result);
}

int stiol__pthread_tryjoin_np(pthread_t id, void **result)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_tryjoin_np, id);
    stiol__thread_t *thread = stiol__record_of(id);

    if (!thread) {
        if (vp)
            stiol__yield(); /* callers that ask in a loop must not hold their VP */
        return pthread_tryjoin_np(id, result);
    }
    if (thread->magic == STIOL_THREAD_MAGIC && !thread->ended) {
        if (vp)
            stiol__yield();
        return EBUSY;
    }
    return join_state_thread(vp, thread, result, STIOL_NEVER);
}

int stiol__pthread_clockjoin_np(pthread_t id, void **result, clockid_t clock,
                                const struct timespec *at)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_clockjoin_np, id);
    stiol__thread_t *thread = stiol__record_of(id);
    st_utime_t deadline = STIOL_NEVER;

    if (!thread && !vp)
        return pthread_clockjoin_np(id, result, clock, at);
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
        return EINVAL;
    if (at && (at->tv_nsec < 0 || at->tv_nsec >= 1000000000L))
        return EINVAL;
    if (at)
        deadline = stiol__until(clock, at);
    return thread ? join_state_thread(vp, thread, result, deadline)
                  : stiol__kthread_join(vp, id, result, deadline);
}

int stiol__pthread_timedjoin_np(pthread_t id, void **result, const struct timespec *at)
{
    return stiol__pthread_clockjoin_np(id, result, CLOCK_REALTIME, at);
}

int stiol__pthread_detach(pthread_t id)
{
    stiol__thread_t *thread = stiol__record_of(id);

    (void)STIOL_ENTER(thread, pthread_detach, id);
    if (!thread)
        return pthread_detach(id);
    if (thread->magic == STIOL_THREAD_ENDED)
        return ESRCH;
    if (thread->detached || !thread->ours)
        return EINVAL;
    thread->detached = true;
    if (thread->ended)
        stiol__record_free(thread);
    return 0;
}

/* --- C11's names for them --- */

/* A thread returns int, and errors have numbers of their own */

int stiol__error11(int error)
{
    switch (error) {
    case 0:
        return thrd_success;
    case ENOMEM:
        return thrd_nomem;
    case ETIMEDOUT:
        return thrd_timedout;
    case EBUSY:
        return thrd_busy;
    default:
        return thrd_error;
    }
}

int stiol__thrd_create(thrd_t *id, thrd_start_t start, void *arg)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, thrd_create, start);
    stiol__thread_t *thread;

    if (!vp)
        return stiol__error11(stiol__kthread_create(id, NULL, NULL, start, arg));
    thread = stiol__record_new();
    if (!thread)
        return thrd_nomem;
    thread->start11 = start;
    thread->arg = arg;
    return stiol__error11(start_thread(vp, id, NULL, thread));
}

int stiol__elsewhere_thrd_create(thrd_t *id, thrd_start_t start, void *arg)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, thrd_create, start);

    tell_of_kernel_thread(vp);
    return stiol__error11(stiol__kthread_create(id, NULL, NULL, start, arg));
}

int stiol__thrd_join(thrd_t id, int *result)
{
    void *value = NULL;
    int rc = stiol__pthread_join(id, &value);

    if (rc == 0 && result)
        *result = (int)(intptr_t)value;
    return stiol__error11(rc);
}

int stiol__thrd_detach(thrd_t id)
{
    return stiol__error11(stiol__pthread_detach(id));
}

void stiol__thrd_exit(int result)
{
    stiol__pthread_exit((void *)(intptr_t)result);
}

thrd_t stiol__thrd_current(void)
{
    return stiol__pthread_self();
}
