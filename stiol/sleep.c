/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sleep(), nanosleep() and their like, and sched_yield(): the state thread parks.
 * st_thread_interrupt() is to them what a signal is to the real ones.
 */
#include "stiol_int.h"

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

    if (vp == NULL)
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

    return vp == NULL ? usleep(length) : doze(vp, length);
}

int stiol__nanosleep(const struct timespec *length, struct timespec *rest)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, nanosleep, length->tv_sec);
    st_utime_t start;

    if (vp == NULL || !stiol__valid(length))
        return nanosleep(length, rest);
    start = st_utime();
    if (doze(vp, stiol__timespec(length)) == 0)
        return 0;
    if (rest != NULL)
        set_rest(rest, start, stiol__timespec(length));
    errno = EINTR;
    return -1;
}

/* Returns error numbers. */
int stiol__clock_nanosleep(clockid_t clock, int flags, const struct timespec *when,
                           struct timespec *rest)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, clock_nanosleep, when->tv_sec);
    st_utime_t start, length;

    if (vp == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) || !stiol__valid(when))
        return clock_nanosleep(clock, flags, when, rest);
    start = st_utime();
    if ((flags & TIMER_ABSTIME) != 0) {
        st_utime_t deadline = stiol__until(clock, when);

        length = deadline == STIOL_NEVER ? STIOL_NEVER : deadline > start ? deadline - start : 0;
    } else {
        length = stiol__timespec(when);
    }
    if (doze(vp, length) == 0)
        return 0;
    if (rest != NULL && (flags & TIMER_ABSTIME) == 0)
        set_rest(rest, start, length);
    return EINTR;
}

int stiol__sched_yield(void)
{
    stiol__vp_t *vp = STIOL_ENTER(sleep, sched_yield, 0);

    if (vp == NULL)
        return sched_yield();
    st_thread_yield();
    return 0;
}
