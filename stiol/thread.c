/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread_create() and its like as libapr calls them: the threads are state threads of the calling
 * VP. The address of a state thread's record is its pthread_t; libapr only passes it on, and
 * compares.
 */
#include <sys/syscall.h>

#include "stiol_int.h"

/* The state thread that a pthread_t means; NULL: a kernel thread (whose pthread_t is an address
 * too, of more memory than a record takes). */
static stiol__thread_t *record_of(pthread_t id)
{
    stiol__thread_t *thread = (stiol__thread_t *)id;

    return thread != NULL && thread->magic == STIOL_THREAD_MAGIC ? thread : NULL;
}

static void enlist(stiol__vp_t *vp, stiol__thread_t *self)
{
    self->next = vp->threads;
    self->previous = &vp->threads;
    if (self->next != NULL)
        self->next->previous = &self->next;
    vp->threads = self;
}

void stiol__unlist(stiol__thread_t *self)
{
    if (self->next != NULL)
        self->next->previous = self->previous;
    *self->previous = self->next;
}

static void *thread_main(void *data)
{
    stiol__thread_t *self = data;

    self->thread = st_thread_self();
    stiol__settings_inherit(self->vp, self->mask);
    if (stiol__become(self) == 0)
        self->result = self->start(self->arg);
    return self->result;
}

/* Bytes: what the caller asked for, if it did ask for more than everyone has. */
static int stack_size(const stiol__vp_t *vp, const pthread_attr_t *attr)
{
    size_t wanted = 0, usual = 0, size = (size_t)vp->config.stack_size;
    pthread_attr_t defaults;

    if (attr == NULL || pthread_attr_getstacksize(attr, &wanted) != 0 ||
        pthread_getattr_default_np(&defaults) != 0)
        return (int)size;
    (void)pthread_attr_getstacksize(&defaults, &usual);
    (void)pthread_attr_destroy(&defaults);
    return wanted != usual && wanted > size && wanted <= INT32_MAX ? (int)wanted : (int)size;
}

int stiol__pthread_create(pthread_t *restrict id, const pthread_attr_t *restrict attr,
                          void *(*start)(void *), void *restrict arg)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_create, start);
    int detached = PTHREAD_CREATE_JOINABLE;
    stiol__thread_t *thread;

    if (vp == NULL)
        return pthread_create(id, attr, start, arg);
    if (attr != NULL)
        (void)pthread_attr_getdetachstate(attr, &detached);
    thread = calloc(1, sizeof(*thread));
    if (thread == NULL)
        return EAGAIN;
    thread->magic = STIOL_THREAD_MAGIC;
    thread->vp = vp;
    thread->ours = true;
    thread->detached = detached == PTHREAD_CREATE_DETACHED;
    thread->start = start;
    thread->arg = arg;
    thread->mask = stiol__settings_mask(vp);
    *id = (pthread_t)thread;
    if (st_thread_create(thread_main, thread, 0, stack_size(vp, attr)) != NULL) {
        enlist(vp, thread);
        return 0;
    }
    free(thread);
    return EAGAIN;
}

/* Other objects get kernel threads (libcurl's resolver). What the VP alone has used without a lock
 * so far may need one from now on. */
int stiol__elsewhere_pthread_create(pthread_t *restrict id, const pthread_attr_t *restrict attr,
                                    void *(*start)(void *), void *restrict arg)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_create, start);

    if (vp != NULL && vp->config.kernel_thread != NULL && !STIOL_OFF(STIOL_NO_TELLING))
        vp->config.kernel_thread();
    return pthread_create(id, attr, start, arg);
}

/* --- joining a kernel thread: glibc waits for it, so a helper does --- */

typedef struct join_job {
    stiol__job_t job;
    pthread_t id;
    void **result;
    int rc;
} join_job_t;

static void run_join(stiol__job_t *job)
{
    join_job_t *join = (join_job_t *)job;

    join->rc = pthread_join(join->id, join->result);
}

static int join_kernel_thread(stiol__vp_t *vp, pthread_t id, void **result)
{
    join_job_t join = {.job = {.run = run_join}, .id = id, .result = result};

    if (vp == NULL || pthread_equal(id, pthread_self()))
        return pthread_join(id, result);
    STIOL_HELP(vp, thread, &join.job);
    return join.rc;
}

/* A kernel thread, or another VP's state thread, waits for one of ours: nobody will wake it. */
static void wait_from_afar(stiol__vp_t *vp, const stiol__thread_t *thread)
{
    while (!atomic_load_explicit(&thread->ended, memory_order_acquire)) {
        if (vp != NULL)
            (void)st_usleep(1000);
        else
            (void)usleep(1000);
    }
}

static void wait_for(stiol__vp_t *vp, stiol__thread_t *thread)
{
    st_thread_t self = st_thread_self();
    bool interrupted = false;
    int error = errno;

    if (thread->ended)
        return;
    STIOL_PARKS(vp, thread);
    thread->joiner = self;
    while (!thread->ended)
        if (st_thread_park(STIOL_NEVER) != 0)
            interrupted = true;
    if (interrupted)
        st_thread_interrupt(self); /* not for us: for its next wait */
    errno = error;
}

int stiol__pthread_join(pthread_t id, void **result)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_join, id);
    stiol__thread_t *thread = record_of(id);

    if (thread == NULL)
        return join_kernel_thread(vp, id, result);
    if (vp == thread->vp && thread->thread == st_thread_self())
        return EDEADLK;
    if (thread->detached || thread->joiner != NULL || !thread->ours)
        return EINVAL;
    if (vp == thread->vp)
        wait_for(vp, thread);
    else if (stiol__vp == NULL || vp != NULL)
        wait_from_afar(vp, thread);
    else
        return EDEADLK; /* in a callback: it cannot end before we return */
    if (result != NULL)
        *result = thread->result;
    thread->magic = 0;
    free(thread);
    return 0;
}

int stiol__pthread_detach(pthread_t id)
{
    stiol__thread_t *thread = record_of(id);

    (void)STIOL_ENTER(thread, pthread_detach, id);
    if (thread == NULL)
        return pthread_detach(id);
    if (thread->detached || !thread->ours)
        return EINVAL;
    thread->detached = true;
    if (thread->ended) {
        thread->magic = 0;
        free(thread);
    }
    return 0;
}

void stiol__pthread_exit(void *result)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_exit, result);
    stiol__thread_t *self;

    if (vp == NULL)
        pthread_exit(result);
    self = stiol__self(vp);
    if (self != NULL)
        self->result = result;
    st_thread_exit(result);
}

/* The primordial thread is the kernel thread. */
pthread_t stiol__pthread_self(void)
{
    stiol__vp_t *vp = STIOL_ENTER(thread, pthread_self, 0);
    stiol__thread_t *self = vp != NULL ? stiol__self(vp) : NULL;

    return self != NULL && !self->primordial ? (pthread_t)self : pthread_self();
}

int stiol__pthread_setname_np(pthread_t id, const char *name)
{
    (void)STIOL_ENTER(thread, pthread_setname_np, id);
    return record_of(id) != NULL ? 0 : pthread_setname_np(id, name);
}

int stiol__pthread_kill(pthread_t id, int signal)
{
    const stiol__thread_t *thread = record_of(id);
    int error = errno, rc = 0;

    (void)STIOL_ENTER(thread, pthread_kill, id);
    if (thread == NULL)
        return pthread_kill(id, signal);
    if (syscall(SYS_tgkill, getpid(), thread->vp->tid, signal) != 0) {
        rc = errno;
        errno = error;
    }
    return rc;
}
