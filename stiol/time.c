/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines and intervals. A deadline is a time on libst's clock, us. Used by everything that
 * waits.
 */
#include "stiol/stiol_int.h"

enum {
    FIRST_INTERVAL = 10, /* us */
    YIELDS = 4,          /* tries that only yield, before the first interval */
};

st_utime_t stiol__deadline(st_utime_t timeout)
{
    st_utime_t now;

    if (timeout == STIOL_NEVER)
        return STIOL_NEVER;
    now = st_utime();
    return timeout < STIOL_NEVER - 1 - now ? now + timeout : STIOL_NEVER;
}

st_utime_t stiol__left(st_utime_t deadline)
{
    st_utime_t now;

    if (deadline == STIOL_NEVER)
        return STIOL_NEVER;
    now = st_utime();
    return deadline > now ? deadline - now : 0;
}

bool stiol__valid(const struct timespec *ts)
{
    return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000L;
}

st_utime_t stiol__timespec(const struct timespec *ts)
{
    if ((st_utime_t)ts->tv_sec > STIOL_NEVER / STIOL_SECOND / 2)
        return STIOL_NEVER;
    return (st_utime_t)ts->tv_sec * STIOL_SECOND + (st_utime_t)(ts->tv_nsec + 999) / 1000;
}

st_utime_t stiol__until(clockid_t clock, const struct timespec *at)
{
    struct timespec now;
    st_utime_t then = at->tv_sec < 0 ? 0 : stiol__timespec(at), start;

    if (then == STIOL_NEVER)
        return STIOL_NEVER;
    clock_gettime(clock, &now);
    start = (st_utime_t)now.tv_sec * STIOL_SECOND + (st_utime_t)now.tv_nsec / 1000;
    return stiol__deadline(then > start ? then - start : 0);
}

st_utime_t stiol__interval(stiol__backoff_t *backoff, st_utime_t most)
{
    unsigned tries = backoff->tries++;
    st_utime_t interval;

    if (tries < YIELDS)
        return 0;
    tries -= YIELDS;
    interval = tries < 20 ? (st_utime_t)FIRST_INTERVAL << tries : most;
    return interval < most ? interval : most;
}
