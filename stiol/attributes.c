/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread attributes that are read and set by pthread_t: its stack, scheduling, CPU clock, and
 * signals to it. A state thread's stack is its own; the rest belongs to the kernel thread that runs
 * it. Used only through the replacements.
 */
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

/* The id that glibc knows. ESRCH: the state thread has ended. */
static int kernel_id(pthread_t *id)
{
    const stiol__thread_t *thread = stiol__record_of(*id);

    if (STIOL_LIKELY(!thread))
        return 0;
    if (thread->magic == STIOL_THREAD_ENDED)
        return ESRCH;
    *id = atomic_load(&thread->carrier);
    if (STIOL_LIKELY(*id == (pthread_t)0))
        *id = thread->vp->id;
    return 0;
}

/* --- the stack --- */

/* Like glibc. All except the stack is about how the kernel thread is scheduled. */
static int copy_scheduling(pthread_t id, pthread_attr_t *attr)
{
    struct sched_param param;
    cpu_set_t cpus;
    int policy, rc;

    if (pthread_getaffinity_np(id, sizeof(cpus), &cpus) == 0 &&
        (rc = pthread_attr_setaffinity_np(attr, sizeof(cpus), &cpus)) != 0)
        return rc;
    rc = pthread_getschedparam(id, &policy, &param);
    if (rc == 0)
        rc = pthread_attr_setschedpolicy(attr, policy);
    return rc == 0 ? pthread_attr_setschedparam(attr, &param) : rc;
}

/* For a stack below this system's minimum for its own threads (128 KB on aarch64): glibc's function
 * rejects it, so we find out which words it writes for another size and set those. */
static int set_small_stack(pthread_attr_t *attr, void *base, size_t size)
{
    const uintptr_t other_size = UINT32_C(0x5a5a0000), other_end = 2 * other_size;
    uintptr_t *words = (uintptr_t *)attr;
    size_t seen_size = 0;
    void *seen = NULL;
    int rc = pthread_attr_setstack(attr, (void *)(other_end - other_size), other_size);

    for (size_t i = 0; rc == 0 && i < sizeof(*attr) / sizeof(*words); i++) {
        if (words[i] == other_size)
            words[i] = size;
        else if (words[i] == other_end)
            words[i] = (uintptr_t)base + size;
    }
    if (rc == 0)
        rc = pthread_attr_getstack(attr, &seen, &seen_size);
    return rc != 0 || (seen == base && seen_size == size) ? rc : EINVAL;
}

static int describe(const stiol__thread_t *thread, pthread_attr_t *attr)
{
    size_t size, guard;
    void *base = NULL;
    int rc = pthread_attr_init(attr);

    if (rc != 0)
        return rc;
    if (st_thread_stack(thread->thread, &base, &size, &guard) != 0)
        rc = errno;
    if (rc == 0)
        rc = pthread_attr_setstack(attr, base, size);
    if (rc == EINVAL && base)
        rc = set_small_stack(attr, base, size);
    if (rc == 0)
        rc = pthread_attr_setguardsize(attr, guard);
    if (rc == 0 && (thread->detached || !thread->ours))
        rc = pthread_attr_setdetachstate(attr, PTHREAD_CREATE_DETACHED);
    if (rc == 0)
        rc = copy_scheduling(thread->vp->id, attr);
    if (rc != 0)
        (void)pthread_attr_destroy(attr);
    return rc;
}

int stiol__pthread_getattr_np(pthread_t id, pthread_attr_t *attr)
{
    const stiol__thread_t *thread = stiol__record_of(id);
    int rc, error = errno;

    (void)STIOL_ENTER(thread, pthread_getattr_np, id);
    if (!thread)
        return pthread_getattr_np(id, attr);
    if (thread->magic == STIOL_THREAD_ENDED || thread->ended)
        return ESRCH;
    if (STIOL_UNLIKELY(atomic_load(&thread->carrier) != (pthread_t)0))
        return pthread_getattr_np(atomic_load(&thread->carrier), attr);
    rc = describe(thread, attr);
    errno = error;
    return rc;
}

/* --- scheduling and clocks --- */

#define AS_ITS_KERNEL_THREAD(call, id, ...)                                                        \
    int rc_;                                                                                       \
    (void)STIOL_ENTER(thread, call, id);                                                           \
    rc_ = kernel_id(&(id));                                                                        \
    return rc_ != 0 ? rc_ : call(id, __VA_ARGS__)

int stiol__pthread_setaffinity_np(pthread_t id, size_t size, const cpu_set_t *cpus)
{
    AS_ITS_KERNEL_THREAD(pthread_setaffinity_np, id, size, cpus);
}

int stiol__pthread_getaffinity_np(pthread_t id, size_t size, cpu_set_t *cpus)
{
    AS_ITS_KERNEL_THREAD(pthread_getaffinity_np, id, size, cpus);
}

int stiol__pthread_setschedparam(pthread_t id, int policy, const struct sched_param *param)
{
    AS_ITS_KERNEL_THREAD(pthread_setschedparam, id, policy, param);
}

int stiol__pthread_getschedparam(pthread_t id, int *restrict policy,
                                 struct sched_param *restrict param)
{
    AS_ITS_KERNEL_THREAD(pthread_getschedparam, id, policy, param);
}

int stiol__pthread_setschedprio(pthread_t id, int priority)
{
    AS_ITS_KERNEL_THREAD(pthread_setschedprio, id, priority);
}

int stiol__pthread_getcpuclockid(pthread_t id, clockid_t *clock)
{
    AS_ITS_KERNEL_THREAD(pthread_getcpuclockid, id, clock);
}

/* --- signals --- */

/* A thread that has ended but has not been joined does not get any signals. */
static bool is_past(pthread_t id)
{
    const stiol__thread_t *thread = stiol__record_of(id);

    return thread && thread->magic == STIOL_THREAD_MAGIC &&
           atomic_load_explicit(&thread->ended, memory_order_acquire);
}

int stiol__pthread_kill(pthread_t id, int signal)
{
    if (is_past(id))
        signal = 0;
    AS_ITS_KERNEL_THREAD(pthread_kill, id, signal);
}

int stiol__pthread_sigqueue(pthread_t id, int signal, const union sigval value)
{
    if (is_past(id))
        signal = 0;
    AS_ITS_KERNEL_THREAD(pthread_sigqueue, id, signal, value);
}
