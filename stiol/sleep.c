/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sleep(), nanosleep() and the like, and sched_yield(): the state thread parks.
 * st_thread_interrupt() has the effect that a signal has on the real ones.
 */
#include "stiol/stiol_int.h"

#define SET_INTERVAL STIOL_SECOND /* us between checks of a clock that may be set */
enum { CPU_INTERVAL = 1000 }; /* minimum time between checks of a clock that counts CPU time, us */

/* 0, or -1 with EINTR. A length of 0 yields. */
static int doze(stiol__vp_t *vp, st_utime_t length)
{
    st_utime_t deadline;
    int rc;

    if (length == 0) {
        st_thread_yield();
        return 0;
    }
    STIOL_PARKS(vp, sleep);
    deadline = stiol__deadline(length);
    while ((rc = st_usleep(stiol__left(deadline))) == 0 && st_utime() < deadline)
        continue;
    if (rc != 0)
        stiol__cancellation();
    return rc;
}

static void set_rest(struct timespec *rest, st_utime_t start, st_utime_t length)
{
    st_utime_t gone = st_utime() - start, left = gone < length ? length - gone : 0;

    rest->tv_sec = (time_t)(left / STIOL_SECOND);
    rest->tv_nsec = (long)(left % STIOL_SECOND) * 1000;
}

unsigned stiol__sleep(unsigned seconds)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, sleep, seconds);
    st_utime_t start, gone;

    if (!vp)
        return sleep(seconds);
    start = st_utime();
    if (doze(vp, seconds * STIOL_SECOND) == 0)
        return 0;
    gone = (st_utime() - start) / STIOL_SECOND;
    return gone < seconds ? seconds - (unsigned)gone : 0;
}

int stiol__usleep(useconds_t length)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, usleep, length);

    return !vp ? usleep(length) : doze(vp, length);
}

int stiol__nanosleep(const struct timespec *length, struct timespec *rest)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, nanosleep, length->tv_sec);
    st_utime_t start;

    if (!vp || !stiol__valid(length))
        return nanosleep(length, rest);
    start = st_utime();
    if (doze(vp, stiol__timespec(length)) == 0)
        return 0;
    if (rest)
        set_rest(rest, start, stiol__timespec(length));
    errno = EINTR;
    return -1;
}

/* Clocks that run like the monotonic one, except for steps and the time that the machine sleeps. */
static bool is_steady(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
           clock == CLOCK_TAI || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
}

/* Whether the kernel lets the caller sleep by this clock: 0 or an error number. Tried with a time
 * that has passed, so that it does not sleep. */
static int may_sleep_by(clockid_t clock)
{
    static const struct timespec past = {0, 0};

    if (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC)
        return 0;
    return clock_nanosleep(clock, TIMER_ABSTIME, &past, NULL);
}

static st_utime_t time_of(clockid_t clock)
{
    struct timespec now = {0, 0};

    (void)clock_gettime(clock, &now);
    return (st_utime_t)now.tv_sec * STIOL_SECOND + (st_utime_t)now.tv_nsec / 1000;
}

/* Sleeps until a time on that clock, us. A clock may be set, and one that counts CPU time stands
 * still while nothing runs, so it is checked again. Returns 0 or EINTR. */
static int doze_until(stiol__vp_t *vp, clockid_t clock, st_utime_t then)
{
    st_utime_t now;

    if ((now = time_of(clock)) >= then)
        return doze(vp, 0) == 0 ? 0 : EINTR;
    do {
        st_utime_t left = then - now;

        if (!is_steady(clock))
            left = left / 4 > CPU_INTERVAL ? left / 4 : CPU_INTERVAL;
        else if (clock != CLOCK_MONOTONIC && left > SET_INTERVAL)
            left = SET_INTERVAL;
        if (doze(vp, left) != 0)
            return EINTR;
    } while ((now = time_of(clock)) < then);
    return 0;
}

/* Returns error numbers. */
int stiol__clock_nanosleep(clockid_t clock, int flags, const struct timespec *when,
                           struct timespec *rest)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, clock_nanosleep, when->tv_sec);
    st_utime_t start, length = stiol__timespec(when);
    int rc, error = errno;

    if (!vp || !stiol__valid(when))
        return clock_nanosleep(clock, flags, when, rest);
    rc = may_sleep_by(clock);
    if (rc != 0)
        return rc;
    start = st_utime();
    if ((flags & TIMER_ABSTIME) != 0)
        rc = doze_until(vp, clock, length);
    else if (is_steady(clock))
        rc = doze(vp, length) == 0 ? 0 : EINTR;
    else
        rc = doze_until(vp, clock, time_of(clock) + length);
    errno = error;
    if (rc == EINTR && rest && (flags & TIMER_ABSTIME) == 0)
        set_rest(rest, start, length);
    return rc;
}

int stiol__sched_yield(void)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, sched_yield, 0);

    if (!vp)
        return sched_yield();
    st_thread_yield();
    return 0;
}
