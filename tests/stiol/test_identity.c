/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state thread's identity, for objects that know nothing about state threads: its pthread_t, its
 * number, its name, its stack; and what can be queried and set with these.
 */
#include <sys/syscall.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any, *apr = &table_threads;

static pthread_t ids[3];
static pid_t tids[3];
static bool may_end;

static int number_of(const void *arg)
{
    return *(const int *)arg;
}

static int numbers[3] = {0, 1, 2};

/* --- ids --- */

static void *see_own_id(void *arg)
{
    int i = number_of(arg);

    ids[i] = call->pthread_self();
    CHECK(pthread_equal(ids[i], apr->pthread_self()) && !pthread_equal(ids[i], pthread_self()));
    CHECK(thrd_equal(ids[i], call->thrd_current()));
    while (!may_end)
        CHECK(call->usleep(100) == 0);
    CHECK(pthread_equal(ids[i], call->pthread_self()));
    CHECK(call->pthread_join(ids[i], NULL) == EDEADLK);
    return NULL;
}

static void *see_real_id(void *arg)
{
    CHECK(pthread_equal(call->pthread_self(), pthread_self()) && call->gettid() == gettid());
    return arg;
}

static void all_objects_see_one_id_for_each_thread(void)
{
    pthread_t made;

    CHECK(pthread_equal(call->pthread_self(), pthread_self()));
    CHECK(thrd_equal(call->thrd_current(), pthread_self()));
    spawn(see_own_id, &numbers[0]);
    spawn(see_own_id, &numbers[1]);
    CHECK(apr->pthread_create(&made, NULL, see_own_id, &numbers[2]) == 0);
    settle();
    CHECK(!pthread_equal(ids[0], ids[1]) && !pthread_equal(ids[1], ids[2]));
    CHECK(pthread_equal(made, ids[2]));
    may_end = true;
    reap();
    CHECK(call->pthread_join(made, NULL) == 0);
    join_kernel_thread(kernel_thread(see_real_id, NULL));
}

static pthread_t seen_in_handler;
static pid_t number_in_handler;

static void see_in_handler(int signal_number)
{
    (void)signal_number;
    seen_in_handler = call->pthread_self();
    number_in_handler = call->gettid();
}

static void *raise_it(void *arg)
{
    pthread_t self = call->pthread_self();
    pid_t number = call->gettid();

    CHECK(raise(SIGUSR1) == 0 && pthread_equal(seen_in_handler, self));
    CHECK(number_in_handler == number);
    seen_in_handler = 0;
    CHECK(call->pthread_kill(self, SIGUSR1) == 0 && pthread_equal(seen_in_handler, self));
    seen_in_handler = 0;
    CHECK(call->pthread_sigqueue(self, SIGUSR1, (union sigval){.sival_int = 1}) == 0);
    CHECK(pthread_equal(seen_in_handler, self));
    return arg;
}

static void a_handler_is_run_by_who_was_interrupted(void)
{
    for (int i = 0; i < 2; i++) { /* a handler that STIOL has not seen, and one that it has */
        CHECK((i == 0 ? signal : call->signal)(SIGUSR1, see_in_handler) != SIG_ERR);
        spawn(raise_it, NULL);
        reap();
    }
}

static pthread_key_t fork_key;

/* In the child: identity and values are the forking thread's; the name is the process's. */
static bool child_is_right(pthread_t self)
{
    char name[16];

    return pthread_equal(self, call->pthread_self()) && call->gettid() == getpid() &&
           call->pthread_kill(self, 0) == 0 && call->pthread_getspecific(fork_key) == &fork_key &&
           call->pthread_setspecific(fork_key, name) == 0 &&
           call->pthread_getspecific(fork_key) == name &&
           call->pthread_setname_np(self, "child") == 0 && prctl(PR_GET_NAME, name) == 0 &&
           strcmp(name, "child") == 0 && call->prctl(PR_SET_NAME, "again") == 0 &&
           prctl(PR_GET_NAME, name) == 0 && strcmp(name, "again") == 0;
}

static void *fork_and_look(void *arg)
{
    pthread_t self = call->pthread_self();
    int status;
    pid_t pid;

    CHECK(call->gettid() != gettid());
    CHECK(call->pthread_setspecific(fork_key, &fork_key) == 0);
    pid = fork();
    if (pid == 0) {
        bool right = child_is_right(self);

        st_after_fork_child();
        _exit(right ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    return arg;
}

static void a_forked_child_is_who_forked(void)
{
    CHECK(call->pthread_key_create(&fork_key, NULL) == 0);
    for (int alone = 0; alone < 2; alone++) {
        CHECK(st_set_fork_alone(alone) == 0);
        spawn(fork_and_look, NULL);
        reap();
    }
}

/* --- numbers --- */

static void *see_own_number(void *arg)
{
    int i = number_of(arg);

    tids[i] = call->gettid();
    while (!may_end)
        CHECK(call->usleep(100) == 0);
    CHECK(call->gettid() == tids[i] && call->syscall(SYS_gettid) == tids[i]);
    return NULL;
}

static void every_thread_has_a_number_that_the_kernel_does_not_give(void)
{
    may_end = false;
    CHECK(call->gettid() == gettid());
    for (int i = 0; i < 3; i++)
        spawn(see_own_number, &numbers[i]);
    settle();
    for (int i = 0; i < 3; i++) {
        CHECK(tids[i] > 4194304 && tids[i] < 1 << 30);
        CHECK(tids[i] != tids[(i + 1) % 3]);
        CHECK(syscall(SYS_tgkill, getpid(), tids[i], 0) == -1 && errno == ESRCH);
    }
    may_end = true;
    reap();
}

static volatile sig_atomic_t signals;

static void count_signal(int signal_number)
{
    (void)signal_number;
    signals++;
}

static void a_timer_may_tell_a_state_thread(pid_t tid)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    struct itimerspec soon = {.it_value.tv_nsec = 1000};
    int before = signals;
    timer_t timer;

    event._sigev_un._tid = tid;
    CHECK(call->timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    while (signals == before)
        CHECK(call->usleep(100) == 0);
    CHECK(timer_delete(timer) == 0);
}

static void calls_with_a_number_are_the_vps(void)
{
    struct sched_param param = {0};
    struct timespec interval;
    cpu_set_t cpus, real;
    pid_t tid;

    signal(SIGUSR2, count_signal);
    spawn(see_own_number, &numbers[0]);
    settle();
    tid = tids[0];
    CHECK(call->tgkill(getpid(), tid, SIGUSR2) == 0 && signals == 1);
    CHECK(call->kill(tid, SIGUSR2) == 0 && signals == 2);
    CHECK(sched_getaffinity(0, sizeof(real), &real) == 0);
    CHECK(call->sched_getaffinity(tid, sizeof(cpus), &cpus) == 0 && CPU_EQUAL(&cpus, &real));
    CHECK(call->sched_setaffinity(tid, sizeof(cpus), &cpus) == 0);
    CHECK(call->sched_getscheduler(tid) == sched_getscheduler(0));
    CHECK(call->sched_getparam(tid, &param) == 0);
    CHECK(call->sched_setparam(tid, &param) == 0);
    CHECK(call->sched_setscheduler(tid, sched_getscheduler(0), &param) == 0);
    CHECK(call->sched_rr_get_interval(tid, &interval) == 0);
    CHECK(call->getpriority(PRIO_PROCESS, (id_t)tid) == getpriority(PRIO_PROCESS, 0));
    CHECK(call->setpriority(PRIO_PROCESS, (id_t)tid, getpriority(PRIO_PROCESS, 0)) == 0);
    CHECK(call->syscall(SYS_tgkill, getpid(), tid, SIGUSR2) == 0 && signals == 3);
    CHECK(call->syscall(SYS_tkill, tid, SIGUSR2) == 0 && signals == 4);
    CHECK(call->syscall(SYS_sched_getscheduler, tid) == sched_getscheduler(0));
    CHECK(call->syscall(SYS_getpriority, PRIO_PROCESS, tid) ==
          syscall(SYS_getpriority, PRIO_PROCESS, 0));
    a_timer_may_tell_a_state_thread(tid);
    may_end = true;
    reap();
    CHECK(call->tgkill(getpid(), tid, 0) == -1 && errno == ESRCH);
    CHECK(call->sched_getaffinity(tid, sizeof(cpus), &cpus) == -1 && errno == ESRCH);
}

static void *note_number(void *arg)
{
    *(pid_t *)arg = call->gettid();
    return NULL;
}

/* As with the kernel's own numbers, it takes a while before one is reused; and it is reused. */
static void numbers_are_used_again_but_not_at_once(void)
{
    static pid_t seen[5000];
    pid_t highest = 0;

    for (int i = 0; i < 5000; i++) {
        spawn(note_number, &seen[i]);
        reap();
        CHECK(i == 0 || seen[i] != seen[i - 1]);
        highest = seen[i] > highest ? seen[i] : highest;
    }
    CHECK(highest < seen[0] + 1000);
}

/* --- names --- */

static void *name_itself(void *arg)
{
    char name[16], before[16];

    CHECK(call->pthread_getname_np(call->pthread_self(), before, sizeof(before)) == 0);
    CHECK(call->pthread_setname_np(call->pthread_self(), arg) == 0);
    call->usleep(1000);
    CHECK(call->pthread_getname_np(call->pthread_self(), name, sizeof(name)) == 0);
    CHECK(strcmp(name, arg) == 0 && strcmp(before, arg) != 0);
    CHECK(call->prctl(PR_GET_NAME, before) == 0 && strcmp(before, arg) == 0);
    CHECK(call->pthread_getname_np(call->pthread_self(), name, strlen(arg)) == ERANGE);
    CHECK(call->pthread_setname_np(call->pthread_self(), "0123456789abcdef") == ERANGE);
    CHECK(call->prctl(PR_SET_NAME, "0123456789abcdef") == 0);
    CHECK(call->prctl(PR_GET_NAME, name) == 0 && strcmp(name, "0123456789abcde") == 0);
    return NULL;
}

static void names_are_kept_for_each_thread(void)
{
    char before[16], after[16];

    CHECK(prctl(PR_GET_NAME, before) == 0);
    spawn(name_itself, (void *)(uintptr_t) "one");
    spawn(name_itself, (void *)(uintptr_t) "another");
    reap();
    CHECK(prctl(PR_GET_NAME, after) == 0 && strcmp(before, after) == 0);
    CHECK(call->pthread_setname_np(call->pthread_self(), "vp") == 0);
    CHECK(prctl(PR_GET_NAME, after) == 0 && strcmp(after, "vp") == 0);
}

/* --- stacks --- */

static bool is_on_stack(pthread_t id, const void *address, int *detached)
{
    pthread_attr_t attr;
    size_t size, guard;
    void *base;

    CHECK(call->pthread_getattr_np(id, &attr) == 0);
    CHECK(pthread_attr_getstack(&attr, &base, &size) == 0 && size >= 16384);
    CHECK(pthread_attr_getguardsize(&attr, &guard) == 0);
    CHECK(pthread_attr_getdetachstate(&attr, detached) == 0);
    CHECK(pthread_attr_destroy(&attr) == 0);
    return (const char *)address >= (char *)base && (const char *)address < (char *)base + size;
}

static void *measure(void *arg)
{
    char here;
    int detached;

    CHECK(is_on_stack(call->pthread_self(), &here, &detached));
    CHECK(detached == (arg ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE));
    *(bool *)(arg ? arg : &may_end) = true;
    return NULL;
}

static void the_stack_is_the_callers(void)
{
    int detached;
    pthread_t id, waits;
    char here;

    CHECK(is_on_stack(call->pthread_self(), &here, &detached));
    CHECK(apr->pthread_create(&id, NULL, measure, NULL) == 0);
    CHECK(apr->pthread_create(&waits, NULL, see_own_id, &numbers[0]) == 0);
    CHECK(!is_on_stack(waits, &here, &detached)); /* before it has run */
    CHECK(apr->pthread_join(id, NULL) == 0 && may_end);
    CHECK(apr->pthread_join(waits, NULL) == 0);
    may_end = false;
    spawn(measure, &may_end);
    reap();
    CHECK(may_end);
}

/* --- everything that takes a pthread_t --- */

static void ask_all(pthread_t id, int expected)
{
    struct sched_param param = {0};
    pthread_attr_t attr;
    clockid_t clock;
    char name[16];
    cpu_set_t cpus;
    int policy = SCHED_OTHER;

    CHECK(call->pthread_getaffinity_np(id, sizeof(cpus), &cpus) == expected);
    CHECK(expected != 0 || call->pthread_setaffinity_np(id, sizeof(cpus), &cpus) == 0);
    CHECK(call->pthread_getschedparam(id, &policy, &param) == expected);
    CHECK(call->pthread_setschedparam(id, policy, &param) == expected);
    CHECK(call->pthread_setschedprio(id, param.sched_priority) == expected);
    CHECK(call->pthread_getcpuclockid(id, &clock) == expected);
    CHECK(call->pthread_getname_np(id, name, sizeof(name)) == expected);
    CHECK(call->pthread_setname_np(id, "name") == expected);
    CHECK(call->pthread_kill(id, 0) == expected);
    CHECK(call->pthread_sigqueue(id, 0, (union sigval){.sival_int = 0}) == expected);
    if (expected == 0) {
        CHECK(call->pthread_getattr_np(id, &attr) == 0 && pthread_attr_destroy(&attr) == 0);
        CHECK(call->pthread_tryjoin_np(id, NULL) == EBUSY);
        return;
    }
    CHECK(call->pthread_getattr_np(id, &attr) == expected);
    CHECK(call->pthread_tryjoin_np(id, NULL) == expected);
    CHECK(call->pthread_join(id, NULL) == expected && call->pthread_detach(id) == expected);
    CHECK(call->thrd_join(id, NULL) == thrd_error && call->thrd_detach(id) == thrd_error);
}

static void *ask_of_itself(void *arg)
{
    ask_all(call->pthread_self(), 0);
    return arg;
}

static void every_call_knows_a_state_threads_id(void)
{
    pthread_t id;

    CHECK(apr->pthread_create(&id, NULL, ask_of_itself, NULL) == 0);
    ask_all(id, 0);
    settle();
    CHECK(call->pthread_kill(id, SIGKILL) == 0); /* it has ended: nobody is hit */
    CHECK(apr->pthread_join(id, NULL) == 0);
    ask_all(id, ESRCH); /* undefined by the standard; here it is safe */
    spawn(ask_of_itself, NULL);
    reap();
}

static void signals_by_id_reach_the_vp(void)
{
    pthread_t id;

    signal(SIGUSR2, count_signal);
    CHECK(apr->pthread_create(&id, NULL, see_own_id, &numbers[0]) == 0);
    CHECK(call->pthread_kill(id, SIGUSR2) == 0 && signals == 1);
    CHECK(call->pthread_kill(id, 12345) == EINVAL);
    may_end = true;
    CHECK(call->pthread_join(id, NULL) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(all_objects_see_one_id_for_each_thread),
        VP_TEST(a_handler_is_run_by_who_was_interrupted),
        VP_TEST(a_forked_child_is_who_forked),
        VP_TEST(every_thread_has_a_number_that_the_kernel_does_not_give),
        VP_TEST(calls_with_a_number_are_the_vps),
        VP_TEST(numbers_are_used_again_but_not_at_once),
        VP_TEST(names_are_kept_for_each_thread),
        VP_TEST(the_stack_is_the_callers),
        VP_TEST(every_call_knows_a_state_threads_id),
        VP_TEST(signals_by_id_reach_the_vp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
