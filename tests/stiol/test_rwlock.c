/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-write locks beyond the plain case (test_sync.c has that): state threads as writers, locks
 * that prefer writers, recursion of readers, any clock, and kernel threads alongside.
 */
#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t preferring = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static struct timespec from_now(clockid_t clock, long ms)
{
    struct timespec at;

    clock_gettime(clock, &at);
    at.tv_nsec += ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

static void init_kind(pthread_rwlock_t *of, int kind)
{
    pthread_rwlockattr_t attr;

    CHECK(pthread_rwlockattr_init(&attr) == 0);
    CHECK(pthread_rwlockattr_setkind_np(&attr, kind) == 0);
    CHECK(call->pthread_rwlock_init(of, &attr) == 0);
}

static void unlock(pthread_rwlock_t *of)
{
    CHECK(call->pthread_rwlock_unlock(of) == 0);
}

static void who_writes_is_told_when_it_locks_again(void)
{
    struct timespec at = from_now(CLOCK_REALTIME, 60000);

    for (int round = 0; round < 2; round++) {
        CHECK(call->pthread_rwlock_wrlock(&lock) == 0);
        CHECK(call->pthread_rwlock_wrlock(&lock) == EDEADLK);
        CHECK(call->pthread_rwlock_rdlock(&lock) == EDEADLK);
        CHECK(call->pthread_rwlock_timedwrlock(&lock, &at) == EDEADLK);
        CHECK(call->pthread_rwlock_clockrdlock(&lock, CLOCK_REALTIME, &at) == EDEADLK);
        CHECK(call->pthread_rwlock_tryrdlock(&lock) == EBUSY);
        CHECK(call->pthread_rwlock_trywrlock(&lock) == EBUSY);
        unlock(&lock);
    }
    CHECK(stiol__vp->owners_used == 0);
}

static void *write_and_note(void *arg)
{
    CHECK(call->pthread_rwlock_wrlock(arg) == 0); /* another thread has it: no EDEADLK */
    note('w');
    unlock(arg);
    return NULL;
}

static void *read_and_note(void *arg)
{
    CHECK(call->pthread_rwlock_rdlock(arg) == 0);
    note('r');
    unlock(arg);
    return NULL;
}

static void another_state_thread_waits(void)
{
    CHECK(call->pthread_rwlock_wrlock(&lock) == 0);
    spawn(write_and_note, &lock);
    spawn(read_and_note, &lock);
    settle();
    CHECK(noted()[0] == '\0');
    CHECK(call->pthread_rwlock_rdlock(&lock) == EDEADLK);
    unlock(&lock);
    reap();
    CHECK(strlen(noted()) == 2);
}

/* --- whom readers overtake --- */

static void readers_recurse_past_writers(pthread_rwlock_t *of)
{
    forget_notes();
    CHECK(call->pthread_rwlock_rdlock(of) == 0);
    spawn(write_and_note, of);
    settle();
    for (int i = 0; i < 3; i++)
        CHECK(call->pthread_rwlock_rdlock(of) == 0);
    CHECK(call->pthread_rwlock_tryrdlock(of) == 0);
    for (int i = 0; i < 4; i++)
        unlock(of);
    settle();
    CHECK(noted()[0] == '\0'); /* locked once still */
    unlock(of);
    reap();
    CHECK(strcmp(noted(), "w") == 0);
}

static void readers_recurse_in_locks_of_the_recursive_kinds(void)
{
    readers_recurse_past_writers(&lock);
    init_kind(&lock, PTHREAD_RWLOCK_PREFER_WRITER_NP); /* which glibc has, but does as ever */
    readers_recurse_past_writers(&lock);
    CHECK(call->pthread_rwlock_destroy(&lock) == 0);
}

static void writers_come_first(pthread_rwlock_t *of)
{
    struct timespec at = from_now(CLOCK_MONOTONIC, 2);

    forget_notes();
    CHECK(call->pthread_rwlock_rdlock(of) == 0);
    spawn(write_and_note, of);
    settle();
    CHECK(call->pthread_rwlock_tryrdlock(of) == EBUSY);
    CHECK(call->pthread_rwlock_clockrdlock(of, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    spawn(read_and_note, of);
    spawn(read_and_note, of);
    settle();
    CHECK(noted()[0] == '\0');
    unlock(of);
    reap();
    CHECK(strcmp(noted(), "wrr") == 0 && stiol__lot_waiters() == 0);
}

static void locks_that_prefer_writers_do(void)
{
    pthread_rwlock_t made;

    writers_come_first(&preferring);
    init_kind(&made, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    writers_come_first(&made);
}

/* A writer that gives up must not leave readers waiting behind it. */
static void *write_in_vain(void *arg)
{
    struct timespec at = from_now(CLOCK_MONOTONIC, 20);

    CHECK(call->pthread_rwlock_clockwrlock(arg, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    note('t');
    return NULL;
}

static void a_writer_that_gives_up_lets_readers_in(void)
{
    CHECK(call->pthread_rwlock_rdlock(&preferring) == 0);
    spawn(write_in_vain, &preferring);
    settle();
    spawn(read_and_note, &preferring);
    spawn(read_and_note, &preferring);
    reap();
    CHECK(strcmp(noted(), "trr") == 0);
    unlock(&preferring);
}

/* --- clocks --- */

static void waits_by_any_clock_end(void)
{
    struct timespec at, wrong = {0, 1000000000};
    int ticks = 0;

    spawn(ticker, &ticks);
    CHECK(call->pthread_rwlock_rdlock(&lock) == 0);
    at = from_now(CLOCK_MONOTONIC, 2);
    CHECK(call->pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    for (ticks = 0; ticks == 0;) { /* as vp.h says of waits */
        at = from_now(CLOCK_REALTIME, 2);
        CHECK(call->pthread_rwlock_clockwrlock(&lock, CLOCK_REALTIME, &at) == ETIMEDOUT);
    }
    CHECK(call->pthread_rwlock_clockwrlock(&lock, CLOCK_REALTIME, &wrong) == EINVAL);
    CHECK(call->pthread_rwlock_clockwrlock(&lock, CLOCK_BOOTTIME, &at) == EINVAL);
    CHECK(call->pthread_rwlock_clockrdlock(&lock, CLOCK_BOOTTIME, &at) == EINVAL);
    CHECK(call->pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &at) == 0);
    unlock(&lock);
    unlock(&lock);
    stop_ticking = true;
}

/* --- memory that is used again, and kernel threads --- */

static void a_lock_in_used_memory_is_a_new_one(void)
{
    CHECK(call->pthread_rwlock_wrlock(&lock) == 0);
    CHECK(call->pthread_rwlock_init(&lock, NULL) == 0);
    CHECK(stiol__vp->owners_used == 0);
    CHECK(call->pthread_rwlock_wrlock(&lock) == 0);
    lock = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER; /* its pool was cleared */
    CHECK(call->pthread_rwlock_rdlock(&lock) == 0);
    CHECK(stiol__vp->owners_used == 0);
    unlock(&lock);
}

static _Atomic int readers, writers, reads;

typedef struct worker {
    pthread_rwlock_t *lock;
    int rounds;
    bool kernel;
} worker_t;

static void pause_a_little(const worker_t *worker, int round)
{
    if (!worker->kernel && round % 3 == 0)
        CHECK(call->usleep(1) == 0);
    else if (round % 16 == 0)
        CHECK(call->sched_yield() == 0);
}

static void *read_much(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        CHECK(call->pthread_rwlock_rdlock(worker->lock) == 0);
        readers++;
        CHECK(writers == 0);
        pause_a_little(worker, i);
        reads++;
        readers--;
        unlock(worker->lock);
    }
    return NULL;
}

static void *write_much(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        CHECK(call->pthread_rwlock_wrlock(worker->lock) == 0);
        CHECK(writers++ == 0 && readers == 0);
        pause_a_little(worker, i);
        writers--;
        unlock(worker->lock);
    }
    return NULL;
}

static void state_and_kernel_threads_share_it(void)
{
    pthread_rwlock_t *locks[2] = {&lock, &preferring};

    for (int i = 0; i < 2; i++) {
        worker_t here = {locks[i], 50, false}, afar = {locks[i], 1000, true};
        pthread_t ids[2];

        reads = 0;
        ids[0] = kernel_thread(read_much, &afar);
        ids[1] = kernel_thread(write_much, &afar);
        for (int n = 0; n < 4; n++) {
            spawn(read_much, &here);
            spawn(write_much, &here);
        }
        reap();
        for (int n = 0; n < 2; n++)
            join_kernel_thread(ids[n]);
        CHECK(reads == 4 * 50 + 1000);
        CHECK(stiol__lot_waiters() == 0 && stiol__vp->owners_used == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(who_writes_is_told_when_it_locks_again),
        VP_TEST(another_state_thread_waits),
        VP_TEST(readers_recurse_in_locks_of_the_recursive_kinds),
        VP_TEST(locks_that_prefer_writers_do),
        VP_TEST(a_writer_that_gives_up_lets_readers_in),
        VP_TEST(waits_by_any_clock_end),
        VP_TEST(a_lock_in_used_memory_is_a_new_one),
        VP_TEST(state_and_kernel_threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
