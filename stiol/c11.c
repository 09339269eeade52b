/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C11's mutexes, condition variables, call_once() and sleeps. In glibc they are the pthread ones
 * under other names, with different results, and so they are here. Called by code that includes
 * <threads.h>.
 */
#include "stiol/lock.h"
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

/* The standard does not say what is in them; glibc casts, and so do we. */
_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a cnd_t is a pthread_cond_t");
_Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "a once_flag is a pthread_once_t");

static pthread_mutex_t *mutex_of(mtx_t *mutex)
{
    return (pthread_mutex_t *)mutex;
}

static pthread_cond_t *cond_of(cnd_t *cond)
{
    return (pthread_cond_t *)cond;
}

int stiol__mtx_init(mtx_t *mutex, int type)
{
    (void)STIOL_ENTER(mutex, mtx_init, mutex);
    stiol__owner_forget(mutex);
    return mtx_init(mutex, type);
}

void stiol__mtx_destroy(mtx_t *mutex)
{
    (void)STIOL_ENTER(mutex, mtx_destroy, mutex);
    stiol__owner_forget(mutex);
    mtx_destroy(mutex);
}

int stiol__mtx_lock(mtx_t *mutex)
{
    return stiol__error11(stiol__pthread_mutex_lock(mutex_of(mutex)));
}

int stiol__mtx_trylock(mtx_t *mutex)
{
    return stiol__error11(stiol__pthread_mutex_trylock(mutex_of(mutex)));
}

int stiol__mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict at)
{
    return stiol__error11(stiol__pthread_mutex_timedlock(mutex_of(mutex), at));
}

int stiol__mtx_unlock(mtx_t *mutex)
{
    return stiol__error11(stiol__pthread_mutex_unlock(mutex_of(mutex)));
}

int stiol__cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    return stiol__error11(stiol__pthread_cond_wait(cond_of(cond), mutex_of(mutex)));
}

int stiol__cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex,
                         const struct timespec *restrict at)
{
    return stiol__error11(stiol__pthread_cond_timedwait(cond_of(cond), mutex_of(mutex), at));
}

int stiol__cnd_signal(cnd_t *cond)
{
    return stiol__error11(stiol__pthread_cond_signal(cond_of(cond)));
}

int stiol__cnd_broadcast(cnd_t *cond)
{
    return stiol__error11(stiol__pthread_cond_broadcast(cond_of(cond)));
}

void stiol__call_once(once_flag *flag, void (*routine)(void))
{
    (void)stiol__pthread_once((pthread_once_t *)flag, routine);
}

/* Returns 0; -1: interrupted; other negative numbers: an error. */
int stiol__thrd_sleep(const struct timespec *length, struct timespec *rest)
{
    int rc = stiol__clock_nanosleep(CLOCK_REALTIME, 0, length, rest);

    return rc == 0 ? 0 : rc == EINTR ? -1 : -2;
}

void stiol__thrd_yield(void)
{
    (void)stiol__sched_yield();
}
