/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes that inherit priority, by syscall(): FUTEX_LOCK_PI and its companions. The word holds its
 * owner's number, and the kernel does not know the numbers of state threads; so anything that
 * involves a state thread is done here, without inheritance: all state threads of a VP have the
 * same priority. Called by futex.c.
 */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

enum {
    MOST = 1000,          /* us between checks of a word whose changes nobody reports */
    LOOKS = 8,            /* checks that must find the owner dead */
    KERNEL_MAX = 1 << 22, /* the kernel's numbers are not above it */
};

static pid_t owner_of(uint32_t value)
{
    return (pid_t)(value & FUTEX_TID_MASK);
}

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static bool change(uint32_t *word, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Returns 0: acquired; EAGAIN: another thread has it, and will make a call when it releases it. */
static int attempt(uint32_t *word, pid_t self)
{
    for (;;) {
        uint32_t value = load(word);

        if (owner_of(value) == self)
            return EDEADLK;
        if (owner_of(value) == 0) {
            if (change(word, value, value | (uint32_t)self))
                return 0;
        } else if ((value & FUTEX_WAITERS) != 0 || change(word, value, value | FUTEX_WAITERS)) {
            return EAGAIN;
        }
    }
}

static int lock_in_line(stiol__vp_t *vp, uint32_t *word, pid_t self, st_utime_t deadline)
{
    stiol__backoff_t backoff = {0};
    stiol__waiter_t waiter;
    bool interrupted = false;
    int rc, error = errno;

    STIOL_PARKS(vp, mutex);
    stiol__lot_enter(&waiter, vp, (uintptr_t)word, 0);
    while ((rc = attempt(word, self)) == EAGAIN) {
        st_utime_t left = stiol__left(deadline), interval = stiol__interval(&backoff, MOST);

        if (left == 0) {
            rc = ETIMEDOUT;
            break;
        }
        if (stiol__lot_sleep(&waiter, interval < left ? interval : left) != 0 && errno == EINTR)
            interrupted = true;
    }
    (void)stiol__lot_leave(&waiter);
    if (interrupted)
        st_thread_interrupt(waiter.thread); /* not for this wait: pass it on to the next one */
    errno = error;
    return rc;
}

/* A kernel thread, while a state thread is the owner: the kernel does not know whom to wait for. */
static int lock_from_afar(uint32_t *word, clockid_t clock, const struct timespec *at)
{
    int rc;

    while ((rc = attempt(word, gettid())) == EAGAIN) {
        struct timespec now;

        (void)clock_gettime(clock, &now);
        if (at &&
            (now.tv_sec > at->tv_sec || (now.tv_sec == at->tv_sec && now.tv_nsec >= at->tv_nsec)))
            return ETIMEDOUT;
        if (owner_of(load(word)) <= KERNEL_MAX)
            return ESRCH; /* the kernel can wait now */
        (void)usleep(MOST);
    }
    return rc;
}

static long result(int rc)
{
    if (rc == 0)
        return 0;
    errno = rc;
    return -1;
}

/* Waits in the kernel, unless a state thread is the owner. One may become the owner in between, and
 * then the kernel does not know it. But neither does it know an owner that has died and whose
 * number is still in the word. */
static long lock_on_kernel_thread(const long *args, uint32_t *word, clockid_t clock)
{
    const struct timespec *at = (const struct timespec *)args[3];

    for (int same = 0;;) {
        pid_t before = owner_of(load(word));
        long rc;

        if (before > KERNEL_MAX && (rc = lock_from_afar(word, clock, at)) != ESRCH)
            return result((int)rc);
        rc = syscall(SYS_futex, args[0], args[1], args[2], args[3], args[4], args[5]);
        if (rc == 0 || errno != ESRCH)
            return rc;
        if (before != 0 && owner_of(load(word)) == before && ++same == LOOKS)
            return rc;
    }
}

static long lock(const long *args, uint32_t *word, int op)
{
    stiol__vp_t *vp = stiol__here();
    const struct timespec *at = (const struct timespec *)args[3];
    clockid_t clock = (op & FUTEX_CMD_MASK) == FUTEX_LOCK_PI || (op & FUTEX_CLOCK_REALTIME) != 0
                          ? CLOCK_REALTIME
                          : CLOCK_MONOTONIC;
    int rc;

    if (at && !stiol__valid(at))
        return result(EINVAL);
    if (vp) {
        rc = attempt(word, stiol__gettid());
        if (rc == EAGAIN)
            rc =
                lock_in_line(vp, word, stiol__gettid(), at ? stiol__until(clock, at) : STIOL_NEVER);
        return result(rc);
    }
    return lock_on_kernel_thread(args, word, clock);
}

static long unlock(const long *args, uint32_t *word)
{
    pid_t self = stiol__gettid();
    uint32_t value;
    long rc = 0;

    if (self <= KERNEL_MAX) { /* the kernel may have others waiting for it */
        rc = syscall(SYS_futex, args[0], args[1], args[2], args[3], args[4], args[5]);
    } else {
        do {
            value = load(word);
            if (owner_of(value) != self)
                return result(EPERM);
        } while (!change(word, value, 0));
    }
    if (rc == 0)
        stiol__lot_notify((uintptr_t)word, false);
    return rc;
}

/** SYS_futex with one of the priority-inheriting commands. */
long stiol__futex_pi(const long *args)
{
    uint32_t *word = (uint32_t *)args[0];
    int op = (int)args[1];

    switch (op & FUTEX_CMD_MASK) {
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        return lock(args, word, op);
    case FUTEX_UNLOCK_PI:
        return unlock(args, word);
    case FUTEX_TRYLOCK_PI:
        if (stiol__here() || owner_of(load(word)) > KERNEL_MAX)
            return result(attempt(word, stiol__gettid()));
        break;
    default:
        break;
    }
    return syscall(SYS_futex, args[0], args[1], args[2], args[3], args[4], args[5]);
}
