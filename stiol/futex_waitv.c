/* SPDX-License-Identifier: Apache-2.0 */
/*
 * futex_waitv(): a state thread that waits for several futexes joins the line of each. Called by
 * syscall.c; waking is in futex.c.
 */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

enum {
    MOST = 128,       /* futexes in one call, the kernel's limit */
    FEW = 8,          /* this many without allocating memory */
    INTERVAL = 10000, /* us between checks of futexes that others may share */
};

/* The kernel's structure, which older headers lack. */
typedef struct one {
    uint64_t value, address;
    uint32_t flags, reserved;
} one_t;

#define FLAG_32      2u
#define FLAG_PRIVATE FUTEX_PRIVATE_FLAG

/* The index of one whose word does not have the expected value, or -1. */
static int changed(const one_t *ones, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (__atomic_load_n((uint32_t *)(uintptr_t)ones[i].address, __ATOMIC_SEQ_CST) !=
            (uint32_t)ones[i].value)
            return (int)i;
    return -1;
}

/* Whether the arguments are valid; if not, the kernel gets the call and returns the error. */
static bool are_valid(const one_t *ones, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (ones[i].reserved != 0 || (ones[i].flags & ~(uint32_t)FLAG_PRIVATE) != FLAG_32 ||
            ones[i].address < 4096 || ones[i].address % sizeof(uint32_t) != 0)
            return false;
    return true;
}

static bool any_shared(const one_t *ones, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if ((ones[i].flags & FLAG_PRIVATE) == 0)
            return true;
    return false;
}

/* Waits in all lines. Returns the index of the waiter that was woken, or -1 with errno. */
static int sleep_in_lines(stiol__waiter_t *waiters, const one_t *ones, unsigned count,
                          st_utime_t deadline, bool *interrupted)
{
    st_utime_t interval = any_shared(ones, count) ? INTERVAL : STIOL_SECOND;
    int which;

    for (;;) {
        st_utime_t left = stiol__left(deadline);

        if (left == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        which = stiol__lot_sleep_any(waiters, count, interval < left ? interval : left);
        if (which < 0 && errno == EINTR)
            *interrupted = true;
        else if (which < 0)
            which = changed(ones, count);
        if (which >= 0)
            return which;
    }
}

static long wait_for_one(stiol__vp_t *vp, stiol__waiter_t *waiters, const one_t *ones,
                         unsigned count, st_utime_t deadline)
{
    int which = -1, error = errno;
    bool interrupted = false;

    for (unsigned i = 0; i < count; i++)
        stiol__lot_enter(&waiters[i], vp, (uintptr_t)ones[i].address, -1);
    atomic_thread_fence(memory_order_seq_cst);
    if (changed(ones, count) >= 0) {
        error = EAGAIN;
    } else {
        STIOL_PARKS(vp, mutex);
        which = sleep_in_lines(waiters, ones, count, deadline, &interrupted);
        if (which < 0)
            error = errno;
    }
    for (unsigned i = 0; i < count; i++)
        if (!stiol__lot_leave(&waiters[i]) && which < 0)
            which = (int)i; /* woken at the last moment */
    if (interrupted)
        st_thread_interrupt(waiters[0].thread); /* not for this wait: pass it on to the next one */
    errno = error;
    return which;
}

long stiol__futex_waitv(const long *args)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, futex_waitv, args[0]);
    const one_t *ones = (const one_t *)args[0];
    const struct timespec *timeout = (const struct timespec *)args[3];
    unsigned count = (unsigned)args[1];
    clockid_t clock = (clockid_t)args[4];
    stiol__waiter_t few[FEW], *waiters = few;
    long rc;

    if (!vp || !ones || count == 0 || count > MOST || (unsigned)args[2] != 0 ||
        !are_valid(ones, count) ||
        (timeout &&
         (!stiol__valid(timeout) || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))))
        return syscall(SYS_futex_waitv, args[0], args[1], args[2], args[3], args[4], args[5]);
    if (count > FEW && !(waiters = malloc(count * sizeof(*waiters))))
        return -1;
    rc = wait_for_one(vp, waiters, ones, count,
                      timeout ? stiol__until(clock, timeout) : STIOL_NEVER);
    if (waiters != few)
        free(waiters);
    return rc;
}
