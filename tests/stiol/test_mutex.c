/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutexes that state threads own: kept across parks, recursive and error-checking ones, in order
 * and in time, alongside kernel threads and other processes, and locked before STIOL started. Also
 * pthread_once() and spin locks.
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "stiol/lock.h"
#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

static pthread_mutex_t *new_mutex(int type, bool robust, bool shared)
{
    pthread_mutex_t *mutex =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attr;

    CHECK(mutex != MAP_FAILED);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
    pthread_mutexattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    CHECK(call->pthread_mutex_init(mutex, &attr) == 0);
    return mutex;
}

typedef struct worker {
    pthread_mutex_t *mutex;
    int rounds, depth;
    char name;
} worker_t;

static int inside;

/* Locks, parks, unlocks; checks whether anyone else is inside. */
static void *work(void *arg)
{
    worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        for (int d = 0; d < worker->depth; d++)
            CHECK(call->pthread_mutex_lock(worker->mutex) == 0);
        CHECK(inside++ == 0);
        note(worker->name);
        CHECK(call->usleep((useconds_t)i % 2) == 0);
        CHECK(--inside == 0);
        for (int d = 0; d < worker->depth; d++)
            CHECK(call->pthread_mutex_unlock(worker->mutex) == 0);
    }
    return NULL;
}

static void exclusion(pthread_mutex_t *mutex, int depth)
{
    worker_t workers[8];

    for (int i = 0; i < 8; i++) {
        workers[i] = (worker_t){mutex, 10, depth, (char)('a' + i)};
        spawn(work, &workers[i]);
    }
    reap();
    CHECK(strlen(noted()) == 80);
    CHECK(call->pthread_mutex_trylock(mutex) == 0 && call->pthread_mutex_unlock(mutex) == 0);
    CHECK(stiol__vp->owners_used == 0 && stiol__lot_waiters() == 0);
    CHECK(mutex->__data.__lock == 0 && mutex->__data.__owner == 0);
}

static void a_mutex_is_kept_across_parks(void)
{
    exclusion(new_mutex(PTHREAD_MUTEX_NORMAL, false, false), 1);
}

static void an_adaptive_mutex_is_kept_across_parks(void)
{
    exclusion(new_mutex(PTHREAD_MUTEX_ADAPTIVE_NP, false, false), 1);
}

static void a_recursive_mutex_is_kept_across_parks(void)
{
    exclusion(new_mutex(PTHREAD_MUTEX_RECURSIVE, false, false), 3);
}

static void an_error_checking_mutex_is_kept_across_parks(void)
{
    exclusion(new_mutex(PTHREAD_MUTEX_ERRORCHECK, false, false), 1);
}

static void a_robust_shared_mutex_is_kept_across_parks(void)
{
    exclusion(new_mutex(PTHREAD_MUTEX_NORMAL, true, true), 1);
}

static void a_robust_recursive_mutex_is_kept_across_parks(void)
{
    exclusion(new_mutex(PTHREAD_MUTEX_RECURSIVE, true, true), 2);
}

static void a_priority_inheriting_mutex_is_kept_across_parks(void)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t mutex;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    CHECK(call->pthread_mutex_init(&mutex, &attr) == 0);
    exclusion(&mutex, 1);
}

static void statically_initialised_mutexes_work(void)
{
    static pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER;
    static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

    exclusion(&normal, 1);
    forget_notes();
    exclusion(&recursive, 2);
}

/* Trap 3: without an owner, a recursive mutex lets every state thread of the kernel thread in. */
static void *enter(void *arg)
{
    CHECK(call->pthread_mutex_lock(arg) == 0);
    note('(');
    CHECK(call->usleep(1000) == 0);
    note(')');
    CHECK(call->pthread_mutex_unlock(arg) == 0);
    return NULL;
}

static void two_enter(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_RECURSIVE, false, false);

    spawn(enter, mutex);
    spawn(enter, mutex);
    reap();
    _exit(strcmp(noted(), "()()") == 0 ? 10 : 20);
}

static void trap_3_a_mutex_is_owned_by_a_state_thread(void)
{
    CHECK(without(0, two_enter) == 10);
    CHECK(without(STIOL_NO_OWNER, two_enter) == 20);
}

/* --- permissions --- */

static void *try_and_fail(void *arg)
{
    CHECK(call->pthread_mutex_trylock(arg) == EBUSY);
    CHECK(call->pthread_mutex_unlock(arg) == EPERM);
    note('t');
    return NULL;
}

static void error_checking_mutexes_check(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_ERRORCHECK, false, false);

    CHECK(call->pthread_mutex_unlock(mutex) == EPERM);
    CHECK(call->pthread_mutex_lock(mutex) == 0);
    CHECK(call->pthread_mutex_lock(mutex) == EDEADLK);
    CHECK(call->pthread_mutex_trylock(mutex) == EBUSY);
    spawn(try_and_fail, mutex);
    reap();
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    CHECK(call->pthread_mutex_unlock(mutex) == EPERM);
}

static void recursive_mutexes_count(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_RECURSIVE, false, false);

    CHECK(call->pthread_mutex_lock(mutex) == 0 && call->pthread_mutex_trylock(mutex) == 0);
    spawn(try_and_fail, mutex);
    reap();
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    spawn(try_and_fail, mutex);
    reap();
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    CHECK(call->pthread_mutex_unlock(mutex) == EPERM);
    CHECK(call->pthread_mutex_destroy(mutex) == 0);
}

/* --- order and timeouts --- */

static void *lock_and_note(void *arg)
{
    worker_t *worker = arg;

    CHECK(call->pthread_mutex_lock(worker->mutex) == 0);
    note(worker->name);
    CHECK(call->pthread_mutex_unlock(worker->mutex) == 0);
    return NULL;
}

static void in_line(int type)
{
    pthread_mutex_t *mutex = new_mutex(type, false, false);
    worker_t workers[5];

    forget_notes();
    CHECK(call->pthread_mutex_lock(mutex) == 0);
    for (int i = 0; i < 5; i++) {
        workers[i] = (worker_t){mutex, 1, 1, (char)('1' + i)};
        spawn(lock_and_note, &workers[i]);
    }
    settle();
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    CHECK(call->pthread_mutex_lock(mutex) == 0); /* behind them: nobody is overtaken */
    note('6');
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    reap();
    CHECK(strcmp(noted(), "123456") == 0);
}

static void who_waits_longest_is_next(void)
{
    in_line(PTHREAD_MUTEX_NORMAL);
    in_line(PTHREAD_MUTEX_RECURSIVE);
    in_line(PTHREAD_MUTEX_ERRORCHECK);
}

static void *lock_in_time(void *arg)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += 1000000;
    if (at.tv_nsec >= 1000000000)
        at.tv_sec++, at.tv_nsec -= 1000000000;
    CHECK(call->pthread_mutex_timedlock(arg, &at) == ETIMEDOUT);
    note('t');
    clock_gettime(CLOCK_MONOTONIC, &at);
    CHECK(call->pthread_mutex_clocklock(arg, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    note('t');
    at.tv_sec += 100;
    CHECK(call->pthread_mutex_clocklock(arg, CLOCK_MONOTONIC, &at) == 0);
    note('l');
    at.tv_nsec = -1;
    CHECK(call->pthread_mutex_unlock(arg) == 0);
    CHECK(call->pthread_mutex_timedlock(arg, &at) == 0); /* free: the time does not matter */
    CHECK(call->pthread_mutex_unlock(arg) == 0);
    return NULL;
}

static void timed_locks_end(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_NORMAL, false, false);
    struct timespec wrong = {0, 1000000000};

    CHECK(call->pthread_mutex_lock(mutex) == 0);
    CHECK(call->pthread_mutex_timedlock(mutex, &wrong) == EINVAL);
    spawn(lock_in_time, mutex);
    while (strlen(noted()) < 2)
        st_thread_yield();
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    reap();
    CHECK(strcmp(noted(), "ttl") == 0);
}

static void an_interrupt_waits_for_the_next_wait(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_NORMAL, false, false);
    st_thread_t thread;

    CHECK(call->pthread_mutex_lock(mutex) == 0);
    worker_t worker = {mutex, 1, 1, 'w'};
    thread = spawn(lock_and_note, &worker);
    settle();
    st_thread_interrupt(thread);
    settle();
    CHECK(noted()[0] == '\0');
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    reap();
    CHECK(strcmp(noted(), "w") == 0);
}

static void *contend(void *arg)
{
    worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        CHECK(call->pthread_mutex_lock(worker->mutex) == 0);
        CHECK(inside++ == 0);
        st_thread_yield();
        inside--;
        CHECK(call->pthread_mutex_unlock(worker->mutex) == 0);
    }
    return NULL;
}

static void ten_thousand_contended_locks(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_NORMAL, false, false);
    worker_t worker = {mutex, 10, 1, 'w'};

    for (int i = 0; i < 1000; i++)
        spawn(contend, &worker);
    reap();
    CHECK(counters().mutex.parked > 0 && mutex->__data.__lock == 0);
}

static void many_mutexes_are_owned_at_once(void)
{
    enum { MANY = 5000 };
    static pthread_mutex_t mutexes[MANY];

    for (int i = 0; i < MANY; i++)
        mutexes[i] = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    for (int i = 0; i < MANY; i++)
        CHECK(call->pthread_mutex_lock(&mutexes[i]) == 0);
    CHECK(stiol__vp->owners_used == MANY);
    for (int i = 0; i < MANY; i += 2)
        CHECK(call->pthread_mutex_unlock(&mutexes[i]) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK((!!stiol__owner_find(stiol__vp, &mutexes[i])) == (i % 2 == 1));
    for (int i = 1; i < MANY; i += 2)
        CHECK(call->pthread_mutex_unlock(&mutexes[i]) == 0);
    CHECK(stiol__vp->owners_used == 0);
}

/* --- beside kernel threads and processes --- */

static _Atomic int shared_inside;
static _Atomic bool has_lock, give_up;

static void *contend_on_kernel_thread(void *arg)
{
    worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        CHECK(call->pthread_mutex_lock(worker->mutex) == 0);
        CHECK(atomic_fetch_add(&shared_inside, 1) == 0);
        if (i % 64 == 0)
            sched_yield();
        atomic_fetch_sub(&shared_inside, 1);
        CHECK(call->pthread_mutex_unlock(worker->mutex) == 0);
    }
    return NULL;
}

static void *contend_on_state_thread(void *arg)
{
    worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        CHECK(call->pthread_mutex_lock(worker->mutex) == 0);
        CHECK(atomic_fetch_add(&shared_inside, 1) == 0);
        st_thread_yield();
        atomic_fetch_sub(&shared_inside, 1);
        CHECK(call->pthread_mutex_unlock(worker->mutex) == 0);
    }
    return NULL;
}

static void state_and_kernel_threads_share(int type)
{
    pthread_mutex_t *mutex = new_mutex(type, false, false);
    worker_t afar = {mutex, 20000, 1, 'k'}, here = {mutex, 500, 1, 's'};
    pthread_t ids[2];

    for (int i = 0; i < 2; i++)
        ids[i] = kernel_thread(contend_on_kernel_thread, &afar);
    for (int i = 0; i < 8; i++)
        spawn(contend_on_state_thread, &here);
    reap();
    for (int i = 0; i < 2; i++)
        join_kernel_thread(ids[i]);
    CHECK(mutex->__data.__lock == 0);
}

static void state_and_kernel_threads_share_a_mutex(void)
{
    state_and_kernel_threads_share(PTHREAD_MUTEX_NORMAL);
}

static void state_and_kernel_threads_share_a_recursive_mutex(void)
{
    state_and_kernel_threads_share(PTHREAD_MUTEX_RECURSIVE);
}

/* The real call, as from an object that was not rebound. */
static void *hold(void *arg)
{
    CHECK(pthread_mutex_lock(arg) == 0);
    has_lock = true;
    while (!give_up)
        usleep(100);
    CHECK(pthread_mutex_unlock(arg) == 0);
    return NULL;
}

static void a_kernel_threads_lock_holds_up_nobody(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_NORMAL, false, false);
    worker_t worker = {mutex, 1, 1, 'w'};
    pthread_t id = kernel_thread(hold, mutex);
    int ticks = 0;

    while (!has_lock)
        usleep(100);
    spawn(lock_and_note, &worker);
    spawn(ticker, &ticks);
    settle();
    CHECK(ticks > 0 && noted()[0] == '\0');
    give_up = true;
    stop_ticking = true;
    reap();
    CHECK(strcmp(noted(), "w") == 0);
    join_kernel_thread(id);
}

/* A waiting kernel thread gets its turn, though state threads could hand the mutex on forever. */
static void *want(void *arg)
{
    has_lock = true;
    CHECK(pthread_mutex_lock(arg) == 0);
    give_up = true;
    CHECK(pthread_mutex_unlock(arg) == 0);
    return NULL;
}

static void *hog(void *arg)
{
    while (!give_up) {
        CHECK(call->pthread_mutex_lock(arg) == 0);
        st_thread_yield();
        CHECK(call->pthread_mutex_unlock(arg) == 0);
    }
    return NULL;
}

static void kernel_threads_are_not_starved(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_NORMAL, false, false);
    pthread_t id;

    CHECK(call->pthread_mutex_lock(mutex) == 0);
    spawn(hog, mutex);
    spawn(hog, mutex);
    settle();
    id = kernel_thread(want, mutex);
    while (!has_lock)
        st_thread_yield();
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    reap(); /* ends only if the kernel thread had the mutex */
    join_kernel_thread(id);
}

static void another_process_shares_a_mutex(void)
{
    pthread_mutex_t *mutex = new_mutex(PTHREAD_MUTEX_NORMAL, true, true);
    int back[2], there[2], status;
    size_t size;
    void *list;
    char c;
    pid_t pid;

    if (syscall(SYS_get_robust_list, 0, &list, &size) != 0)
        skip_test("no robust mutexes here (an emulator)");
    CHECK(pipe(back) == 0 && pipe(there) == 0);
    pid = fork();
    if (pid == 0) {
        pthread_mutex_lock(mutex);
        if (write(back[1], "x", 1) != 1 || read(there[0], &c, 1) != 1)
            _exit(1);
        _exit(0); /* with the mutex: its next owner is told */
    }
    CHECK(call->read(back[0], &c, 1) == 1);
    spawn(tell, &there[1]);
    CHECK(call->pthread_mutex_lock(mutex) == EOWNERDEAD);
    CHECK(strcmp(noted(), "t") == 0);
    CHECK(pthread_mutex_consistent(mutex) == 0);
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    CHECK(call->pthread_mutex_lock(mutex) == 0 && call->pthread_mutex_unlock(mutex) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* --- before STIOL, and memory that is used again --- */

static void locked_before_the_start(int type)
{
    pthread_mutex_t *mutex = new_mutex(type, false, false);
    worker_t worker = {mutex, 1, 1, 'w'};

    forget_notes();
    CHECK(call->pthread_mutex_lock(mutex) == 0);
    CHECK(stiol_start(&test_config) == 0);
    spawn(lock_and_note, &worker);
    settle();
    CHECK(noted()[0] == '\0');
    if (type == PTHREAD_MUTEX_RECURSIVE)
        CHECK(call->pthread_mutex_lock(mutex) == 0 && call->pthread_mutex_unlock(mutex) == 0);
    note('u');
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
    reap();
    CHECK(strcmp(noted(), "uw") == 0);
    stiol_stop();
    CHECK(call->pthread_mutex_lock(mutex) == 0 && call->pthread_mutex_unlock(mutex) == 0);
}

static void mutexes_locked_before_the_start_are_right(void)
{
    CHECK(st_init() == 0);
    locked_before_the_start(PTHREAD_MUTEX_NORMAL);
    locked_before_the_start(PTHREAD_MUTEX_RECURSIVE);
    locked_before_the_start(PTHREAD_MUTEX_ERRORCHECK);
}

static void a_mutex_in_used_memory_is_a_new_one(void)
{
    pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    worker_t worker = {&mutex, 1, 1, 'w'};

    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    mutex = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* its pool was cleared */
    spawn(lock_and_note, &worker);
    reap();
    CHECK(strcmp(noted(), "w") == 0);
    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    CHECK(call->pthread_mutex_init(&mutex, NULL) == 0);
    CHECK(stiol__vp->owners_used == 0);
}

/* --- once, spin locks --- */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void routine(void)
{
    note('(');
    CHECK(call->usleep(1000) == 0);
    note(')');
}

static void *run_once(void *arg)
{
    (void)arg;
    CHECK(call->pthread_once(&once, routine) == 0);
    note('.');
    return NULL;
}

static void once_is_once_and_the_others_wait(void)
{
    for (int i = 0; i < 4; i++)
        spawn(run_once, NULL);
    reap();
    CHECK(strcmp(noted(), "()....") == 0);
    CHECK(call->pthread_once(&once, routine) == 0);
    CHECK(strcmp(noted(), "()....") == 0);
}

static void *spin(void *arg)
{
    CHECK(call->pthread_spin_lock(arg) == 0);
    CHECK(inside++ == 0);
    CHECK(call->usleep(100) == 0);
    inside--;
    CHECK(pthread_spin_unlock(arg) == 0);
    return NULL;
}

static void spin_locks_give_way(void)
{
    pthread_spinlock_t lock;

    CHECK(pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE) == 0);
    for (int i = 0; i < 4; i++)
        spawn(spin, (void *)(uintptr_t)&lock);
    reap();
}

/* --- debug builds: locks across parks are reported --- */

static stiol_lock_report_t report;
static int reports;

static void take_report(const stiol_lock_report_t *what)
{
    report = *what;
    reports++;
}

static void locks_across_parks_are_reported(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    stiol_config_t config = test_config;

#ifndef STM_DEBUG
    skip_test("only debug builds report");
#endif
    config.lock_report = take_report;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
    CHECK(call->pthread_mutex_lock(&mutex) == 0 && call->pthread_mutex_unlock(&mutex) == 0);
    CHECK(reports == 0);
    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    CHECK(call->usleep(1000) == 0 && call->usleep(1000) == 0);
    CHECK(call->pthread_mutex_unlock(&mutex) == 0);
    CHECK(reports == 1 && report.lock == &mutex && strcmp(report.kind, "mutex") == 0);
    CHECK(report.parks == 2 && report.held >= 2000 && report.thread == st_thread_self());
    CHECK(report.caller);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_mutex_is_kept_across_parks),
        VP_TEST(an_adaptive_mutex_is_kept_across_parks),
        VP_TEST(a_recursive_mutex_is_kept_across_parks),
        VP_TEST(an_error_checking_mutex_is_kept_across_parks),
        VP_TEST(a_robust_shared_mutex_is_kept_across_parks),
        VP_TEST(a_robust_recursive_mutex_is_kept_across_parks),
        VP_TEST(a_priority_inheriting_mutex_is_kept_across_parks),
        VP_TEST(statically_initialised_mutexes_work),
        RAW_TEST(trap_3_a_mutex_is_owned_by_a_state_thread),
        VP_TEST(error_checking_mutexes_check),
        VP_TEST(recursive_mutexes_count),
        VP_TEST(who_waits_longest_is_next),
        VP_TEST(timed_locks_end),
        VP_TEST(an_interrupt_waits_for_the_next_wait),
        VP_TEST(ten_thousand_contended_locks),
        VP_TEST(many_mutexes_are_owned_at_once),
        VP_TEST(state_and_kernel_threads_share_a_mutex),
        VP_TEST(state_and_kernel_threads_share_a_recursive_mutex),
        VP_TEST(a_kernel_threads_lock_holds_up_nobody),
        VP_TEST(kernel_threads_are_not_starved),
        VP_TEST(another_process_shares_a_mutex),
        RAW_TEST(mutexes_locked_before_the_start_are_right),
        VP_TEST(a_mutex_in_used_memory_is_a_new_one),
        VP_TEST(once_is_once_and_the_others_wait),
        VP_TEST(spin_locks_give_way),
        RAW_TEST(locks_across_parks_are_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
