/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes by syscall(): what the C++ runtime, GLib and Rust build their locks from. State threads
 * wait in the parking lot by the futex's address, kernel threads in the kernel; a waker, on a VP or
 * not, looks in both places and counts both. Called by syscall.c and guard.c.
 */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

enum {
    SHARED_SHORT = 1000, /* us between checks of a futex that others may share */
    SHARED_LONG = 10000, /* us, later */
    SHARED_OFTEN = 64,   /* number of checks at short intervals */
    SHARED_MOST = 160,   /* checks, about 1.5 s, after which the wake-up is "spurious" */
};
#define LOCAL STIOL_SECOND /* us between checks; only for wakes that go unseen */
enum {
    KERNEL_FIRST = 4,     /* once in this many wakes, the kernel's queue is asked first */
    FIRST_ADDRESS = 4096, /* nothing below is a futex: the kernel says EFAULT */
};

typedef struct futex_args {
    uint32_t *word;
    int op, command;
    uint32_t value;
    const struct timespec *timeout;
    uint32_t value2; /* in place of timeout */
    uint32_t *word2;
    uint32_t value3;
} futex_args_t;

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static bool is_word(const void *word)
{
    return (uintptr_t)word >= FIRST_ADDRESS && (uintptr_t)word % sizeof(uint32_t) == 0;
}

static long failed(int error)
{
    errno = error;
    return -1;
}

/* The kernel's own operation, on the waiters that it knows of. */
static long real(const futex_args_t *args, uint32_t value, uint32_t value2)
{
    return syscall(SYS_futex, args->word, args->op, value, (unsigned long)value2, args->word2,
                   args->value3);
}

static bool is_shared(int op)
{
    return (op & FUTEX_PRIVATE_FLAG) == 0;
}

static clockid_t clock_of(int op)
{
    return (op & FUTEX_CLOCK_REALTIME) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

/* --- waiting --- */

/* The time until the next check of the word, us. A futex not declared private may be woken by
 * another process, or by the kernel; most are not (std::future). */
static st_utime_t interval_of(bool shared, unsigned looks)
{
    if (!shared)
        return LOCAL;
    return looks < SHARED_OFTEN ? SHARED_SHORT : SHARED_LONG;
}

/* Waits in line until woken (0) or an error number. The word's value matters only until the waiter
 * is moved to another futex. */
static int sleep_in_line(stiol__waiter_t *waiter, const uint32_t *word, uint32_t value, bool shared,
                         st_utime_t deadline, bool *interrupted)
{
    for (unsigned looks = 0;; looks++) {
        st_utime_t left = stiol__left(deadline), interval = interval_of(shared, looks);

        if (left == 0)
            return ETIMEDOUT;
        if (stiol__lot_sleep(waiter, interval < left ? interval : left) == 0)
            return 0;
        if (errno == EINTR)
            *interrupted = true;
        else if (__atomic_load_n(&waiter->key, __ATOMIC_RELAXED) == (uintptr_t)word &&
                 load(word) != value)
            return 0; /* changed by someone whose wake does not get here */
        if (shared && looks >= SHARED_MOST)
            return 0;
    }
}

/* Returns 0 or an error number. The word is checked after the waiter has joined the line: any later
 * change is followed by a wake that finds it. */
static int wait_until(stiol__vp_t *vp, const uint32_t *word, uint32_t value, uint32_t bits,
                      bool shared, st_utime_t deadline)
{
    bool interrupted = false;
    stiol__waiter_t waiter;
    int rc = EAGAIN, error = errno;

    stiol__lot_enter(&waiter, vp, (uintptr_t)word, (int)bits);
    atomic_thread_fence(memory_order_seq_cst);
    if (load(word) == value) {
        STIOL_PARKS(vp, mutex);
        rc = sleep_in_line(&waiter, word, value, shared, deadline, &interrupted);
    }
    if (!stiol__lot_leave(&waiter))
        rc = 0; /* taken out of the line: woken */
    if (interrupted)
        st_thread_interrupt(waiter.thread); /* not for this wait: pass it on to the next one */
    errno = error;
    if (rc == EAGAIN)
        stiol__yield(); /* the caller may be waiting for another state thread */
    return rc;
}

static long do_wait(stiol__vp_t *vp, const futex_args_t *args)
{
    const struct timespec *timeout = args->timeout;
    bool absolute = args->command == FUTEX_WAIT_BITSET;
    uint32_t bits = absolute ? args->value3 : FUTEX_BITSET_MATCH_ANY;
    st_utime_t deadline = STIOL_NEVER;
    int rc;

    if (bits == 0 || (timeout && !stiol__valid(timeout)))
        return failed(EINVAL);
    if (timeout)
        deadline = absolute ? stiol__until(clock_of(args->op), timeout)
                            : stiol__deadline(stiol__timespec(timeout));
    rc = wait_until(vp, args->word, args->value, bits, is_shared(args->op), deadline);
    return rc == 0 ? 0 : failed(rc);
}

/* --- waking --- */

/* Whether a state thread may be waiting here. The caller has changed the word; the fence separates
 * that change from the look at the line. */
static bool crowd(const uint32_t *word)
{
    atomic_thread_fence(memory_order_seq_cst);
    return stiol__lot_crowd((uintptr_t)word);
}

/* Wakes at most `most` of those whose bits match, wherever they wait. State threads come first, but
 * not always, or a kernel thread might never get its turn. */
static long wake(const futex_args_t *args, uint32_t most, uint32_t bits)
{
    static _Atomic unsigned turns;
    long here = 0, there = 0;

    if (STIOL_LIKELY(!crowd(args->word)))
        return real(args, most, 0);
    if (most == 0 || most > INT32_MAX)
        most = 1; /* as the kernel does */
    if (atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed) % KERNEL_FIRST == 0 &&
        (there = real(args, most, 0)) < 0)
        return there;
    if (there < (long)most)
        here = (long)stiol__lot_pop_some((uintptr_t)args->word, most - (uint32_t)there, bits);
    if (there == 0 && here < (long)most) {
        there = real(args, most - (uint32_t)here, 0);
        if (there < 0 && here == 0)
            return there;
    }
    return here + (there > 0 ? there : 0);
}

static long do_wake(const futex_args_t *args)
{
    bool all_bits = args->command == FUTEX_WAKE;

    if (!all_bits && args->value3 == 0)
        return failed(EINVAL);
    return wake(args, args->value, all_bits ? FUTEX_BITSET_MATCH_ANY : args->value3);
}

static long do_requeue(const futex_args_t *args)
{
    uint32_t woken, moved;
    long there;

    if (!crowd(args->word) || args->value > INT32_MAX || args->value2 > INT32_MAX)
        return real(args, args->value, args->value2);
    if (args->command == FUTEX_CMP_REQUEUE && load(args->word) != args->value3)
        return failed(EAGAIN);
    woken = stiol__lot_pop_some((uintptr_t)args->word, args->value, FUTEX_BITSET_MATCH_ANY);
    moved = stiol__lot_move((uintptr_t)args->word, (uintptr_t)args->word2, args->value2);
    if (woken == args->value && moved == args->value2)
        return (long)woken + (long)moved;
    there = real(args, args->value - woken, args->value2 - moved);
    if (there < 0 && woken + moved == 0)
        return there;
    return (long)woken + (long)moved + (there > 0 ? there : 0);
}

/* --- FUTEX_WAKE_OP --- */

/* A signed field of 12 bits. */
static int field(uint32_t code, unsigned shift)
{
    return (int)(code << (20 - shift)) >> 20;
}

static uint32_t changed(uint32_t old, uint32_t code)
{
    uint32_t operand = (uint32_t)field(code, 12);

    if ((code >> 28 & FUTEX_OP_OPARG_SHIFT) != 0)
        operand = 1u << (operand & 31);
    switch (code >> 28 & 7) {
    case FUTEX_OP_SET:
        return operand;
    case FUTEX_OP_ADD:
        return old + operand;
    case FUTEX_OP_OR:
        return old | operand;
    case FUTEX_OP_ANDN:
        return old & ~operand;
    default:
        return old ^ operand;
    }
}

static bool compares(uint32_t old, uint32_t code)
{
    int left = (int)old, right = field(code, 0);

    switch (code >> 24 & 15) {
    case FUTEX_OP_CMP_EQ:
        return left == right;
    case FUTEX_OP_CMP_NE:
        return left != right;
    case FUTEX_OP_CMP_LT:
        return left < right;
    case FUTEX_OP_CMP_LE:
        return left <= right;
    case FUTEX_OP_CMP_GT:
        return left > right;
    default:
        return left >= right;
    }
}

/* The kernel does not return the old value, which decides whether the second futex is woken. */
static long do_wake_op(const futex_args_t *args)
{
    futex_args_t first = *args, second = *args;
    uint32_t code = args->value3, old;
    long woken, more = 0;

    if ((!crowd(args->word) && !crowd(args->word2)) || (code >> 28 & 7) > FUTEX_OP_XOR ||
        (code >> 24 & 15) > FUTEX_OP_CMP_GE)
        return real(args, args->value, args->value2);
    first.op = second.op = FUTEX_WAKE | (args->op & FUTEX_PRIVATE_FLAG);
    second.word = args->word2;
    old = load(args->word2);
    while (!__atomic_compare_exchange_n(args->word2, &old, changed(old, code), false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        continue;
    woken = wake(&first, args->value, FUTEX_BITSET_MATCH_ANY);
    if (woken >= 0 && compares(old, code))
        more = wake(&second, args->value2, FUTEX_BITSET_MATCH_ANY);
    return woken < 0 || more < 0 ? -1 : woken + more;
}

/* --- the calls --- */

static futex_args_t args_of(const long *args)
{
    int op = (int)args[1];

    return (futex_args_t){.word = (uint32_t *)args[0],
                          .op = op,
                          .command = op & FUTEX_CMD_MASK,
                          .value = (uint32_t)args[2],
                          .timeout = (const struct timespec *)args[3],
                          .value2 = (uint32_t)args[3],
                          .word2 = (uint32_t *)args[4],
                          .value3 = (uint32_t)args[5]};
}

long stiol__futex(const long *raw)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, futex, raw[0]);
    const futex_args_t args = args_of(raw);

    if (!is_word(args.word))
        return syscall(SYS_futex, raw[0], raw[1], raw[2], raw[3], raw[4], raw[5]);
    switch (args.command) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
        if (vp)
            return do_wait(vp, &args);
        break;
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
        return do_wake(&args);
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
        return is_word(args.word2) ? do_requeue(&args) : failed(EINVAL);
    case FUTEX_WAKE_OP:
        return is_word(args.word2) ? do_wake_op(&args) : failed(EINVAL);
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
    case FUTEX_TRYLOCK_PI:
    case FUTEX_UNLOCK_PI:
        return stiol__futex_pi(raw);
    default:
        break;
    }
    return syscall(SYS_futex, raw[0], raw[1], raw[2], raw[3], raw[4], raw[5]);
}

void stiol__futex_wait(uint32_t *word, uint32_t value)
{
    stiol__vp_t *vp = stiol__here();

    if (vp)
        (void)wait_until(vp, word, value, FUTEX_BITSET_MATCH_ANY, true, STIOL_NEVER);
    else
        (void)syscall(SYS_futex, word, FUTEX_WAIT, value, NULL);
}

void stiol__futex_wake_all(uint32_t *word)
{
    const futex_args_t args = {.word = word, .op = FUTEX_WAKE, .command = FUTEX_WAKE};

    (void)wake(&args, INT32_MAX, FUTEX_BITSET_MATCH_ANY);
}
