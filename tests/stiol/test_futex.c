/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes by syscall(), as the C++ runtime, GLib and Rust make them: waiter and waker may each be a
 * state thread, a kernel thread or another process. Also other calls by their number.
 */
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

#define PRIVATE FUTEX_PRIVATE_FLAG

static uint32_t word, word2;
static _Atomic int woken, waiting;

static long futex(uint32_t *at, int op, uint32_t value)
{
    return call->syscall(SYS_futex, at, op, value, NULL, NULL, 0);
}

static uint32_t value_of(uint32_t *at)
{
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static struct timespec from_now(clockid_t clock, long ms)
{
    struct timespec at;

    clock_gettime(clock, &at);
    at.tv_nsec += ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

/* Waits once and does not check again, so that it counts wakes exactly. */
static void *wait_once(void *arg)
{
    waiting++;
    CHECK(futex(arg, FUTEX_WAIT | PRIVATE, 0) == 0);
    woken++;
    return NULL;
}

/* All wait, that many of them in the kernel: moving them from the word to the same word counts
 * them, and wakes nobody. */
static void until_asleep(int threads, int in_kernel)
{
    while (waiting < threads || syscall(SYS_futex, &word, FUTEX_REQUEUE | PRIVATE, 0,
                                        (long)INT32_MAX, &word, 0) != in_kernel)
        st_thread_yield();
}

static void a_wake_counts_whom_it_wakes(void)
{
    for (int i = 0; i < 5; i++)
        spawn(wait_once, &word);
    settle();
    CHECK(waiting == 5 && woken == 0 && counters().mutex.parked >= 5);
    CHECK(futex(&word, FUTEX_WAKE | PRIVATE, 2) == 2);
    settle();
    CHECK(woken == 2);
    CHECK(futex(&word, FUTEX_WAKE | PRIVATE, 0) == 1); /* as the kernel does it */
    CHECK(futex(&word, FUTEX_WAKE | PRIVATE, INT32_MAX) == 2);
    reap();
    CHECK(woken == 5 && futex(&word, FUTEX_WAKE | PRIVATE, 1) == 0);
    CHECK(stiol__lot_waiters() == 0);
}

static void *wake_all_from_afar(void *arg)
{
    *(long *)arg = futex(&word, FUTEX_WAKE | PRIVATE, INT32_MAX);
    return NULL;
}

static void a_wake_counts_threads_of_both_kinds(void)
{
    for (int round = 0; round < 8; round++) {
        pthread_t ids[3];
        long count = 0, first;

        waiting = woken = 0;
        for (int i = 0; i < 3; i++)
            ids[i] = kernel_thread(wait_once, &word);
        for (int i = 0; i < 3; i++)
            spawn(wait_once, &word);
        until_asleep(6, 3);
        first = futex(&word, FUTEX_WAKE | PRIVATE, 4);
        CHECK(first <= 4);
        if (round % 2 == 0)
            count = futex(&word, FUTEX_WAKE | PRIVATE, INT32_MAX);
        else
            join_kernel_thread(kernel_thread(wake_all_from_afar, &count));
        CHECK(first + count == 6);
        reap();
        for (int i = 0; i < 3; i++)
            join_kernel_thread(ids[i]);
        CHECK(woken == 6);
    }
}

static void what_does_not_wait_says_why(void)
{
    struct timespec wrong = {0, 1000000000};

    errno = 0;
    CHECK(futex(&word, FUTEX_WAIT, 7) == -1 && errno == EAGAIN);
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAIT, 0, &wrong) == -1 && errno == EINVAL);
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0) == -1 &&
          errno == EINVAL);
    CHECK(call->syscall(SYS_futex, (char *)&word + 1, FUTEX_WAIT, 0, NULL) == -1 &&
          errno == EINVAL);
    CHECK(call->syscall(SYS_futex, NULL, FUTEX_WAIT, 0, NULL) == -1 && errno == EFAULT);
    CHECK(call->syscall(SYS_futex, &word, 99, 0, NULL) == -1 && errno == ENOSYS);
    CHECK(stiol__lot_waiters() == 0);
}

static void waits_end_in_time(void)
{
    struct timespec length = {0, 2000000}, at;
    int ticks = 0;

    spawn(ticker, &ticks);
    while (ticks == 0) { /* as vp.h says of waits */
        CHECK(call->syscall(SYS_futex, &word, FUTEX_WAIT | PRIVATE, 0, &length) == -1);
        CHECK(errno == ETIMEDOUT);
    }
    at = from_now(CLOCK_MONOTONIC, 2);
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | PRIVATE, 0, &at, NULL, ~0u) == -1);
    CHECK(errno == ETIMEDOUT);
    at = from_now(CLOCK_REALTIME, 2); /* on the other clock decades to come */
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &at, NULL,
                        ~0u) == -1);
    CHECK(errno == ETIMEDOUT && stiol__lot_waiters() == 0);
    stop_ticking = true;
}

static void *wait_for_bits(void *arg)
{
    uint32_t bits = (uint32_t) * (char *)arg - '0';

    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | PRIVATE, 0, NULL, NULL, bits) == 0);
    note(*(char *)arg);
    return NULL;
}

static void bits_choose_who_is_woken(void)
{
    char names[] = "124";

    for (int i = 0; i < 3; i++)
        spawn(wait_for_bits, &names[i]);
    settle();
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | PRIVATE, 9, NULL, NULL, 4) == 1);
    settle();
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | PRIVATE, 9, NULL, NULL, 8) == 0);
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | PRIVATE, 1, NULL, NULL, 3) == 1);
    settle();
    CHECK(call->syscall(SYS_futex, &word, FUTEX_WAKE | PRIVATE, 9) == 1);
    reap();
    CHECK(strcmp(noted(), "412") == 0);
}

static long requeue(int op, int wake, int move, uint32_t value)
{
    return call->syscall(SYS_futex, &word, op | PRIVATE, wake, (long)move, &word2, value);
}

static void waiters_are_moved_asleep(void)
{
    for (int i = 0; i < 6; i++)
        spawn(wait_once, &word);
    settle();
    CHECK(requeue(FUTEX_CMP_REQUEUE, 1, 2, 5) == -1 && errno == EAGAIN);
    CHECK(requeue(FUTEX_CMP_REQUEUE, 1, 2, 0) == 3);
    settle();
    CHECK(woken == 1);
    CHECK(requeue(FUTEX_REQUEUE, 0, 1, 0) == 1);
    settle();
    CHECK(woken == 1);
    CHECK(futex(&word, FUTEX_WAKE | PRIVATE, 99) == 2);
    settle();
    CHECK(woken == 3);
    CHECK(futex(&word2, FUTEX_WAKE | PRIVATE, 99) == 3);
    reap();
    CHECK(woken == 6);
}

static void kernel_threads_are_moved_too(void)
{
    pthread_t ids[2];

    for (int i = 0; i < 2; i++)
        ids[i] = kernel_thread(wait_once, &word);
    spawn(wait_once, &word);
    until_asleep(3, 2);
    CHECK(requeue(FUTEX_REQUEUE, 0, INT32_MAX, 0) == 3);
    CHECK(futex(&word, FUTEX_WAKE | PRIVATE, 99) == 0);
    CHECK(futex(&word2, FUTEX_WAKE | PRIVATE, 99) == 3);
    reap();
    for (int i = 0; i < 2; i++)
        join_kernel_thread(ids[i]);
}

/* FUTEX_OP() shifts signed numbers. */
static long wake_op(unsigned op, unsigned operand, unsigned compare, unsigned operand2)
{
    return call->syscall(SYS_futex, &word, FUTEX_WAKE_OP | PRIVATE, 1, 1L, &word2,
                         FUTEX_OP(op, operand, compare, operand2));
}

static void one_wake_depends_on_another_word(void)
{
    for (int i = 0; i < 2; i++) {
        spawn(wait_once, &word);
        spawn(wait_once, &word2);
    }
    settle();
    CHECK(wake_op(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0) == 2 && word2 == 5);
    CHECK(wake_op(FUTEX_OP_OR, 8, FUTEX_OP_CMP_GT, 5) == 1 && word2 == 13);
    settle();
    CHECK(woken == 3);
    CHECK(wake_op(FUTEX_OP_SET, (unsigned)-3, FUTEX_OP_CMP_LT, 0) == 0 && word2 == (uint32_t)-3);
    CHECK(wake_op(FUTEX_OP_XOR | FUTEX_OP_OPARG_SHIFT, 1, FUTEX_OP_CMP_LT, 0) == 1);
    CHECK(word2 == ((uint32_t)-3 ^ 2));
    reap();
}

/* --- other processes --- */

static void *wait_for_change(void *arg)
{
    uint32_t *shared = arg;

    while (value_of(shared) == 0)
        CHECK(call->syscall(SYS_futex, shared, FUTEX_WAIT, 0, NULL) == 0 || errno == EAGAIN);
    note('w');
    return NULL;
}

static void another_process_wakes(void)
{
    uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status, go[2], ticks = 0;
    pid_t pid;
    char c;

    CHECK(shared != MAP_FAILED && pipe(go) == 0);
    pid = fork();
    if (pid == 0) {
        if (read(go[0], &c, 1) != 1)
            _exit(1);
        __atomic_store_n(shared, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, shared, FUTEX_WAKE, 1);
        _exit(0);
    }
    spawn(wait_for_change, shared);
    spawn(ticker, &ticks);
    settle();
    CHECK(noted()[0] == '\0' && ticks > 0);
    CHECK(write(go[1], "x", 1) == 1);
    while (noted()[0] == '\0')
        CHECK(call->usleep(1000) == 0);
    stop_ticking = true;
    CHECK(call->waitpid(pid, &status, 0) == pid && status == 0);
}

static void *process_waits(void *arg)
{
    uint32_t *shared = arg;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        while (value_of(shared) != 2)
            syscall(SYS_futex, shared, FUTEX_WAIT, 1, NULL);
        _exit(0);
    }
    CHECK(call->waitpid(pid, &status, 0) == pid && status == 0);
    return NULL;
}

static void another_process_is_woken(void)
{
    uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(shared != MAP_FAILED);
    *shared = 1;
    spawn(process_waits, shared);
    while (futex(shared, FUTEX_WAKE, 0) == 0) /* until it waits; it continues to wait */
        CHECK(call->usleep(1000) == 0);
    __atomic_store_n(shared, 2, __ATOMIC_SEQ_CST);
    (void)futex(shared, FUTEX_WAKE, 1);
    reap();
}

/* --- locks, as Rust's standard library makes them --- */

typedef struct lock {
    uint32_t state; /* 0 free, 1 locked, 2 locked and others wait */
} lock_t;

static lock_t lock;
static long counter;
static _Atomic int inside;

static void take(lock_t *mutex)
{
    uint32_t free = 0;

    if (__atomic_compare_exchange_n(&mutex->state, &free, 1, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&mutex->state, 2, __ATOMIC_ACQUIRE) != 0)
        (void)call->syscall(SYS_futex, &mutex->state, FUTEX_WAIT_BITSET | PRIVATE, 2, NULL, NULL,
                            ~0u);
}

static void give(lock_t *mutex)
{
    if (__atomic_exchange_n(&mutex->state, 0, __ATOMIC_RELEASE) == 2)
        (void)futex(&mutex->state, FUTEX_WAKE | PRIVATE, 1);
}

typedef struct worker {
    int rounds;
    bool kernel;
} worker_t;

static void *work(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        take(&lock);
        CHECK(atomic_fetch_add(&inside, 1) == 0);
        counter++;
        if (!worker->kernel && i % 4 == 0)
            st_thread_yield();
        else if (worker->kernel && i % 64 == 0)
            sched_yield();
        CHECK(atomic_fetch_sub(&inside, 1) == 1);
        give(&lock);
    }
    return NULL;
}

static void a_lock_of_futexes_keeps_both_kinds_apart(void)
{
    worker_t here = {500, false}, afar = {10000, true};
    pthread_t ids[3];

    for (int i = 0; i < 3; i++)
        ids[i] = kernel_thread(work, &afar);
    for (int i = 0; i < 10; i++)
        spawn(work, &here);
    reap();
    for (int i = 0; i < 3; i++)
        join_kernel_thread(ids[i]);
    CHECK(counter == 10 * 500 + 3 * 10000 && lock.state != 1);
    CHECK(stiol__lot_waiters() == 0);
}

/* A waiting kernel thread gets its turn, though there is always a state thread in the queue. */
static _Atomic bool had_turn;

static void *want(void *arg)
{
    (void)arg;
    waiting = 1;
    take(&lock);
    had_turn = true;
    give(&lock);
    return NULL;
}

static void *hog(void *arg)
{
    (void)arg;
    while (!had_turn) {
        take(&lock);
        st_thread_yield();
        st_thread_yield();
        give(&lock);
        CHECK(call->sched_yield() == 0);
    }
    return NULL;
}

static void kernel_threads_are_not_starved(void)
{
    pthread_t id;

    for (int i = 0; i < 4; i++)
        spawn(hog, NULL);
    settle();
    id = kernel_thread(want, NULL);
    reap(); /* ends only if the kernel thread had the lock */
    join_kernel_thread(id);
}

/* Park and unpark: a token, as std::thread::park() has it. */
enum { EMPTY, NOTIFIED, PARKED = -1 };

typedef struct partner {
    uint32_t token;
    struct partner *other;
    int rounds;
} partner_t;

static void park(partner_t *self)
{
    if (__atomic_fetch_sub(&self->token, 1, __ATOMIC_ACQUIRE) == NOTIFIED)
        return;
    for (;;) {
        uint32_t notified = NOTIFIED;

        (void)call->syscall(SYS_futex, &self->token, FUTEX_WAIT_BITSET | PRIVATE, PARKED, NULL,
                            NULL, ~0u);
        if (__atomic_compare_exchange_n(&self->token, &notified, EMPTY, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE))
            return;
    }
}

static void unpark(partner_t *other)
{
    if (__atomic_exchange_n(&other->token, NOTIFIED, __ATOMIC_RELEASE) == (uint32_t)PARKED)
        (void)futex(&other->token, FUTEX_WAKE | PRIVATE, 1);
}

static void *ping(void *arg)
{
    partner_t *self = arg;

    for (int i = 0; i < self->rounds; i++) {
        unpark(self->other);
        park(self);
    }
    return NULL;
}

static void *pong(void *arg)
{
    partner_t *self = arg;

    for (int i = 0; i < self->rounds; i++) {
        park(self);
        unpark(self->other);
    }
    return NULL;
}

static void parked_threads_are_unparked(void)
{
    for (int round = 0; round < 3; round++) {
        partner_t a = {.rounds = 1000}, b = {.rounds = 1000, .other = &a};
        pthread_t id = 0;

        a.other = &b;
        if (round == 0)
            spawn(ping, &a);
        else
            id = kernel_thread(round == 1 ? ping : pong, &a);
        spawn(round == 2 ? ping : pong, &b);
        reap();
        if (round != 0)
            join_kernel_thread(id);
        CHECK(a.token == EMPTY && b.token == EMPTY);
    }
}

static void an_interrupt_is_for_the_next_wait(void)
{
    st_thread_t thread = spawn(wait_once, &word);

    settle();
    st_thread_interrupt(thread);
    settle();
    CHECK(woken == 0);
    CHECK(futex(&word, FUTEX_WAKE | PRIVATE, 1) == 1);
    reap();
    CHECK(woken == 1);
}

/* --- with priority inheritance --- */

/* As usual: only a thread that finds the word taken, or waited for, calls the kernel. */
static void take_pi(uint32_t *at)
{
    uint32_t free = 0, self = (uint32_t)call->syscall(SYS_gettid);

    if (!__atomic_compare_exchange_n(at, &free, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        CHECK(futex(at, FUTEX_LOCK_PI | PRIVATE, 0) == 0);
    CHECK((value_of(at) & FUTEX_TID_MASK) == self);
}

static void give_pi(uint32_t *at)
{
    uint32_t self = (uint32_t)call->syscall(SYS_gettid);

    if (!__atomic_compare_exchange_n(at, &self, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        CHECK(futex(at, FUTEX_UNLOCK_PI | PRIVATE, 0) == 0);
}

static void *work_pi(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        take_pi(&word);
        CHECK(atomic_fetch_add(&inside, 1) == 0);
        counter++;
        if (!worker->kernel && i % 4 == 0)
            st_thread_yield();
        CHECK(atomic_fetch_sub(&inside, 1) == 1);
        give_pi(&word);
    }
    return NULL;
}

static void priority_inheriting_futexes_keep_both_kinds_apart(void)
{
    worker_t here = {100, false}, afar = {1000, true};
    pthread_t ids[2];

    if (syscall(SYS_futex, &word2, FUTEX_TRYLOCK_PI | PRIVATE, 0, NULL, NULL, 0) != 0)
        skip_test("no futexes that inherit priority here");
    for (int i = 0; i < 2; i++)
        ids[i] = kernel_thread(work_pi, &afar);
    for (int i = 0; i < 6; i++)
        spawn(work_pi, &here);
    work_pi(&here); /* the primordial thread has the VP's own number */
    reap();
    for (int i = 0; i < 2; i++)
        join_kernel_thread(ids[i]);
    CHECK(counter == 7 * 100 + 2 * 1000 && (value_of(&word) & FUTEX_TID_MASK) == 0);
    CHECK(stiol__lot_waiters() == 0);
}

static void *fail_to_take(void *arg)
{
    struct timespec at = from_now(CLOCK_REALTIME, 2);

    (void)arg;
    CHECK(futex(&word, FUTEX_TRYLOCK_PI | PRIVATE, 0) == -1 && errno == EAGAIN);
    CHECK(call->syscall(SYS_futex, &word, FUTEX_LOCK_PI | PRIVATE, 0, &at) == -1);
    CHECK(errno == ETIMEDOUT);
    CHECK(futex(&word, FUTEX_UNLOCK_PI | PRIVATE, 0) == -1 && errno == EPERM);
    woken++;
    return NULL;
}

static void *take_and_share(void *arg)
{
    (void)arg;
    CHECK(futex(&word, FUTEX_TRYLOCK_PI | PRIVATE, 0) == 0);
    CHECK(futex(&word, FUTEX_LOCK_PI | PRIVATE, 0) == -1 && errno == EDEADLK);
    spawn(fail_to_take, NULL);
    note('t');
    while (woken < 2)
        st_thread_yield();
    CHECK(futex(&word, FUTEX_UNLOCK_PI | PRIVATE, 0) == 0 && value_of(&word) == 0);
    return NULL;
}

static void such_a_futex_is_its_owners(void)
{
    if (syscall(SYS_futex, &word2, FUTEX_TRYLOCK_PI | PRIVATE, 0, NULL, NULL, 0) != 0)
        skip_test("no futexes that inherit priority here");
    spawn(take_and_share, NULL);
    while (noted()[0] == '\0')
        st_thread_yield();
    join_kernel_thread(kernel_thread(fail_to_take, NULL));
    reap();
}

/* --- futex_waitv --- */

#ifdef SYS_futex_waitv
static struct futex_waitv pair[2];
static long which;

static void *wait_for_either(void *arg)
{
    (void)arg;
    which = call->syscall(SYS_futex_waitv, pair, 2, 0, NULL, CLOCK_MONOTONIC);
    return NULL;
}

static void one_of_several_futexes_is_enough(void)
{
    struct timespec at = from_now(CLOCK_MONOTONIC, 2);

    for (int i = 0; i < 2; i++)
        pair[i] = (struct futex_waitv){.uaddr = (uintptr_t)(i == 0 ? &word : &word2),
                                       .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
    if (syscall(SYS_futex_waitv, pair, 2, 0, &at, CLOCK_MONOTONIC) == -1 && errno == ENOSYS)
        skip_test("no futex_waitv() here");
    CHECK(call->syscall(SYS_futex_waitv, pair, 2, 0, &at, CLOCK_MONOTONIC) == -1);
    CHECK(errno == ETIMEDOUT);
    for (int i = 0; i < 2; i++) {
        which = -1;
        spawn(wait_for_either, NULL);
        settle();
        CHECK(futex(i == 0 ? &word : &word2, FUTEX_WAKE | PRIVATE, 9) == 1);
        reap();
        CHECK(which == i && stiol__lot_waiters() == 0);
    }
    word2 = 1;
    CHECK(call->syscall(SYS_futex_waitv, pair, 2, 0, NULL, 0) == -1 && errno == EAGAIN);
    CHECK(call->syscall(SYS_futex_waitv, pair, 0, 0, NULL, 0) == -1 && errno == EINVAL);
}
#endif

/* --- calls by their number --- */

static void calls_by_number_give_way(void)
{
    struct timespec length = {0, 2000000};
    int fds[2], ticks = 0;
    char c = 0;

    CHECK(pipe(fds) == 0);
    spawn(tell, &fds[1]);
    CHECK(call->syscall(SYS_read, fds[0], &c, 1) == 1 && c == 'x');
    CHECK(strcmp(noted(), "t") == 0);
    CHECK(call->syscall(SYS_write, fds[1], "y", 1) == 1);
    CHECK(call->syscall(SYS_readv, fds[0], &(struct iovec){&c, 1}, 1) == 1 && c == 'y');
    spawn(ticker, &ticks);
    CHECK(call->syscall(SYS_nanosleep, &length, NULL) == 0 && ticks > 0);
    length.tv_nsec = -1;
    CHECK(call->syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &length, NULL) == -1);
    CHECK(errno == EINVAL);
    CHECK(call->syscall(SYS_close, fds[0]) == 0);
    CHECK(call->syscall(SYS_close, fds[0]) == -1 && errno == EBADF);
    stop_ticking = true;
}

static void other_calls_pass_through(void)
{
    char name[16] = "";

    errno = 77;
    CHECK(call->syscall(SYS_getpid) == getpid() && errno == 77);
    CHECK(call->syscall(SYS_prctl, 16 /* PR_GET_NAME */, name, 0, 0, 0) == 0 && name[0] != '\0');
    CHECK(call->syscall(-1) == -1 && errno == ENOSYS);
    CHECK(call->syscall(SYS_pread64, -1, name, 1, 0) == -1 && errno == EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_wake_counts_whom_it_wakes),
        VP_TEST(a_wake_counts_threads_of_both_kinds),
        VP_TEST(what_does_not_wait_says_why),
        VP_TEST(waits_end_in_time),
        VP_TEST(bits_choose_who_is_woken),
        VP_TEST(waiters_are_moved_asleep),
        VP_TEST(kernel_threads_are_moved_too),
        VP_TEST(one_wake_depends_on_another_word),
        VP_TEST(another_process_wakes),
        VP_TEST(another_process_is_woken),
        VP_TEST(a_lock_of_futexes_keeps_both_kinds_apart),
        VP_TEST(kernel_threads_are_not_starved),
        VP_TEST(parked_threads_are_unparked),
        VP_TEST(an_interrupt_is_for_the_next_wait),
        VP_TEST(priority_inheriting_futexes_keep_both_kinds_apart),
        VP_TEST(such_a_futex_is_its_owners),
#ifdef SYS_futex_waitv
        VP_TEST(one_of_several_futexes_is_enough),
#endif
        VP_TEST(calls_by_number_give_way),
        VP_TEST(other_calls_pass_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
