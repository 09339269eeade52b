/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time: the high-resolution clock, which the program may replace, the cached seconds, and sleeping.
 */
#include "st/st_internal.h"

enum { CACHE_AGE = 999000 }; /* us after which the cached seconds are renewed */

static st_utime_t (*utime_function)(void);

/* 0: the cache is off. */
static _Atomic time_t cached_time;
static _Atomic st_utime_t cached_at;

int st_set_utime_function(st_utime_t (*func)(void))
{
    if (atomic_load(&st__process.vp_count) != 0)
        return st__fail(EINVAL);
    utime_function = func;
    return 0;
}

st_utime_t st_utime(void)
{
    struct timespec now;

    if (ST__UNLIKELY(utime_function))
        return utime_function();
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (st_utime_t)now.tv_sec * 1000000 + (st_utime_t)now.tv_nsec / 1000;
}

st_utime_t st_utime_last_clock(void)
{
    struct st_vp *vp = st__vp_get();

    return vp ? vp->clock : st_utime();
}

int st_timecache_set(int on)
{
    int previous = atomic_load(&cached_time) != 0;

    atomic_store(&cached_at, st_utime());
    atomic_store(&cached_time, on ? time(NULL) : 0);
    return previous;
}

time_t st_time(void)
{
    time_t seconds = atomic_load_explicit(&cached_time, memory_order_relaxed);

    return seconds != 0 ? seconds : time(NULL);
}

void st__clock_tick(st_utime_t now)
{
    if (ST__LIKELY(atomic_load_explicit(&cached_time, memory_order_relaxed) == 0))
        return;
    if (now - atomic_load_explicit(&cached_at, memory_order_relaxed) > CACHE_AGE) {
        atomic_store(&cached_time, time(NULL));
        atomic_store(&cached_at, now);
    }
}

int st_usleep(st_utime_t usecs)
{
    struct st_vp *vp = st__vp_get();
    st_wait_t sleep = {.kind = ST_WAIT_SLEEP, .number = -1};
    struct st_thread *me;
    bool declared;

    if (!vp)
        return -1;
    me = vp->current;
    if (st__take_interrupt(me) < 0)
        return -1;
    if (usecs == ST_UTIME_NO_WAIT) {
        st_thread_yield();
        return st__take_interrupt(me);
    }
    declared = !me->wait;
    if (declared)
        me->wait = &sleep;
    (void)st__wait(vp, me, usecs);
    if (declared)
        me->wait = NULL;
    return st__take_interrupt(me);
}

int st_sleep(int secs)
{
    return st_usleep(secs >= 0 ? (st_utime_t)secs * 1000000 : ST_UTIME_NO_TIMEOUT);
}
