/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel threads that modules and libraries create, in C, C11 and C++, and state threads that join
 * them: the VP continues, and no helper is used.
 */
#include <gnu/libc-version.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any, *apr = &table_threads;

#ifdef HAVE_CXX
void cxx_let_end(int yes);
int cxx_join_thread(void), cxx_join_async(void), cxx_detach_thread(void);
int cxx_is_me(unsigned long id);
#endif

static _Atomic bool begun, may_end;

/* A kernel thread that ends when a state thread says so: a join that held up the VP would wait
 * forever. */
static void *end_when_told(void *arg)
{
    CHECK(!st_vp_self());
    begun = true;
    while (!may_end)
        usleep(100);
    return arg;
}

/* Spawned: lets them end when all others have had their turns. */
static void *let_end(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++)
        st_thread_yield();
    note('e');
    may_end = true;
    return NULL;
}

static void *end_by_exit(void *arg)
{
    end_when_told(arg);
    pthread_exit(arg);
}

static void *end_by_cancellation(void *arg)
{
    while (!arg)
        pause();
    return arg;
}

/* --- joining --- */

static void joining_a_kernel_thread_gives_way(void)
{
    pthread_t id, exits, cancelled;
    void *result;
    int value;

    CHECK(call->pthread_create(&id, NULL, end_when_told, &value) == 0);
    CHECK(call->pthread_create(&exits, NULL, end_by_exit, &value) == 0);
    CHECK(call->pthread_create(&cancelled, NULL, end_by_cancellation, NULL) == 0);
    spawn(let_end, NULL);
    CHECK(call->pthread_join(id, &result) == 0 && result == &value && noted()[0] == 'e');
    CHECK(apr->pthread_join(exits, &result) == 0 && result == &value);
    CHECK(pthread_cancel(cancelled) == 0);
    CHECK(call->pthread_join(cancelled, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(counters().thread.helped == 0 && kernel_threads() == 1);
}

static void one_that_stiol_did_not_see_begin_too(void)
{
    pthread_t id = kernel_thread(end_when_told, NULL);

    spawn(let_end, NULL);
    CHECK(call->pthread_join(id, NULL) == 0 && noted()[0] == 'e');
    CHECK(counters().thread.helped == 0 && kernel_threads() == 1);
}

static void *make_and_join(void *arg)
{
    pthread_t id;
    void *result;

    CHECK(call->pthread_create(&id, NULL, end_when_told, arg) == 0);
    CHECK(call->pthread_join(id, &result) == 0 && result == arg);
    note('j');
    return NULL;
}

static void many_join_at_once(void)
{
    static int values[100];

    for (int i = 0; i < 100; i++)
        spawn(make_and_join, &values[i]);
    spawn(let_end, NULL);
    reap();
    CHECK(noted()[0] == 'e' && strlen(noted()) == 101);
    CHECK(kernel_threads() == 1 && counters().thread.helped == 0);
}

static pthread_t shared_id;

static void *join_shared(void *arg)
{
    CHECK(call->pthread_join(shared_id, NULL) == 0);
    note('j');
    return arg;
}

static void an_interrupt_does_not_end_a_join(void)
{
    st_thread_t joiner;

    CHECK(call->pthread_create(&shared_id, NULL, end_when_told, NULL) == 0);
    while (!begun)
        st_thread_yield();
    joiner = spawn(join_shared, NULL);
    settle();
    st_thread_interrupt(joiner);
    settle();
    CHECK(noted()[0] == '\0');
    CHECK(call->pthread_join(shared_id, NULL) == EINVAL); /* it is for one */
    may_end = true;
    reap();
    CHECK(noted()[0] == 'j');
}

static void who_cannot_be_joined_is_an_error(void)
{
    pthread_attr_t attr;
    pthread_t id;

    CHECK(call->pthread_join(call->pthread_self(), NULL) == EDEADLK);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    CHECK(call->pthread_create(&id, &attr, end_when_told, NULL) == 0);
    CHECK(call->pthread_join(id, NULL) == EINVAL);
    may_end = true;
}

static struct timespec in_a_moment(clockid_t clock)
{
    struct timespec at;

    clock_gettime(clock, &at);
    at.tv_nsec += 20000000;
    if (at.tv_nsec >= 1000000000)
        at = (struct timespec){at.tv_sec + 1, at.tv_nsec - 1000000000};
    return at;
}

static bool has_passed(clockid_t clock, struct timespec at)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec > at.tv_sec || (now.tv_sec == at.tv_sec && now.tv_nsec >= at.tv_nsec);
}

/* Joining a kernel thread and a state thread. */
static void joins_with_a_limit(const table_t *maker)
{
    struct timespec at = in_a_moment(CLOCK_REALTIME), bad = {0, -1};
    void *result;
    pthread_t id;
    int value;

    may_end = false;
    if (maker == apr)
        CHECK(apr->pthread_create(&id, NULL, make_and_join, &value) == 0);
    else
        CHECK(call->pthread_create(&id, NULL, end_when_told, &value) == 0);
    CHECK(call->pthread_tryjoin_np(id, &result) == EBUSY);
    CHECK(call->pthread_timedjoin_np(id, &result, &bad) == EINVAL);
    CHECK(call->pthread_timedjoin_np(id, &result, &at) == ETIMEDOUT);
    CHECK(has_passed(CLOCK_REALTIME, at));
    at = in_a_moment(CLOCK_MONOTONIC);
    CHECK(call->pthread_clockjoin_np(id, &result, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    CHECK(has_passed(CLOCK_MONOTONIC, at));
    CHECK(call->pthread_clockjoin_np(id, &result, CLOCK_TAI, &at) == EINVAL);
    spawn(let_end, NULL);
    at.tv_sec += 50;
    CHECK(call->pthread_clockjoin_np(id, &result, CLOCK_MONOTONIC, &at) == 0);
    CHECK(result == (maker == apr ? NULL : &value));
    CHECK(call->pthread_create(&id, NULL, end_when_told, &value) == 0);
    while (call->pthread_tryjoin_np(id, &result) == EBUSY)
        continue;
    CHECK(result == &value);
    reap();
}

static void joins_have_their_limits(void)
{
    joins_with_a_limit(call);
    joins_with_a_limit(apr);
}

static pthread_key_t key;
static _Atomic int rounds;

/* Sets its value again as often as it may, as STIOL's own key does, and takes its time. */
static void end_value(void *value)
{
    usleep(1000);
    if (rounds++ < 2)
        CHECK(pthread_setspecific(key, value) == 0);
}

static void *set_value(void *arg)
{
    CHECK(pthread_setspecific(key, arg) == 0);
    return arg;
}

static void the_end_is_behind_the_destructors(void)
{
    pthread_t id;
    int value;

    CHECK(pthread_key_create(&key, end_value) == 0);
    CHECK(call->pthread_create(&id, NULL, set_value, &value) == 0);
    CHECK(call->pthread_join(id, NULL) == 0 && rounds == 3);
}

static void *nothing(void *arg)
{
    return arg;
}

/* glibc uses an id again at once. */
static void thousands_with_the_same_ids(void)
{
    pthread_t id;
    void *result;
    int value;

    for (int i = 0; i < 2000; i++) {
        CHECK(call->pthread_create(&id, NULL, nothing, &value) == 0);
        if (i % 3 == 0)
            settle();
        if (i % 2 == 0)
            CHECK(call->pthread_detach(id) == 0);
        else
            CHECK(call->pthread_join(id, &result) == 0 && result == &value);
    }
    while (kernel_threads() > 1)
        st_thread_yield();
}

static void *join_on_kernel_thread(void *arg)
{
    void *result;
    pthread_t id;

    CHECK(call->pthread_create(&id, NULL, nothing, arg) == 0);
    CHECK(call->pthread_join(id, &result) == 0 && result == arg);
    CHECK(apr->pthread_create(&id, NULL, end_when_told, arg) == 0); /* it is no VP */
    CHECK(call->pthread_join(id, &result) == 0 && result == arg);
    return arg;
}

static void kernel_threads_join_each_other(void)
{
    pthread_t id;
    void *result;
    int value;

    CHECK(call->pthread_create(&id, NULL, join_on_kernel_thread, &value) == 0);
    spawn(let_end, NULL);
    CHECK(call->pthread_join(id, &result) == 0 && result == &value);
}

/* In the child, when the thread that forked has ended. */
static void *join_forker(void *arg)
{
    _exit(call->pthread_join(*(pthread_t *)arg, NULL));
}

/* The child's first thread is a copy of one that a state thread waits for: its end is reported to
 * nobody. */
static void *fork_on_kernel_thread(void *arg)
{
    static pthread_t self;
    pthread_t id;
    pid_t pid;
    int status;

    end_when_told(NULL);
    self = call->pthread_self();
    pid = fork();
    if (pid == 0) {
        if (call->pthread_create(&id, NULL, join_forker, &self) != 0)
            _exit(1);
        pthread_exit(NULL);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    return arg;
}

static void a_kernel_thread_may_fork(void)
{
    pthread_t id;
    void *result;
    int value;

    if (strverscmp(gnu_get_libc_version(), "2.43") >= 0)
        skip_test("since glibc 2.43, pthread_join() itself waits for such a thread for ever");
    CHECK(call->pthread_create(&id, NULL, fork_on_kernel_thread, &value) == 0);
    spawn(let_end, NULL);
    CHECK(call->pthread_join(id, &result) == 0 && result == &value && noted()[0] == 'e');
}

/* --- C11 --- */

static int end11(void *arg)
{
    CHECK((!!arg) == (!!st_vp_self()));
    while (!may_end)
        call->usleep(100);
    return -7;
}

static int exit11(void *arg)
{
    (void)arg;
    call->thrd_exit(9);
    return 0;
}

static void c11(const table_t *maker, bool state_threads)
{
    int result;
    thrd_t id;

    may_end = false;
    forget_notes();
    CHECK(maker->thrd_create(&id, end11, state_threads ? &id : NULL) == thrd_success);
    spawn(let_end, NULL);
    CHECK(call->thrd_join(id, &result) == thrd_success && result == -7 && noted()[0] == 'e');
    CHECK(maker->thrd_create(&id, exit11, NULL) == thrd_success);
    CHECK(call->thrd_join(id, &result) == thrd_success && result == 9);
    CHECK(maker->thrd_create(&id, exit11, NULL) == thrd_success);
    CHECK(call->thrd_detach(id) == thrd_success);
    CHECK(call->thrd_join(call->thrd_current(), NULL) == thrd_error);
    while (kernel_threads() > 1)
        st_thread_yield();
    settle();
    reap();
}

static void c11_threads(void)
{
    c11(call, false);
    c11(apr, true);
}

/* --- C++ --- */

#ifdef HAVE_CXX
static void *let_cxx_end(void *arg)
{
    let_end(arg);
    cxx_let_end(1);
    return NULL;
}

static void *is_who(void *arg)
{
    *(int *)arg = cxx_is_me((unsigned long)call->pthread_self());
    return NULL;
}

static void cxx_threads(void)
{
    int right = 0;

    spawn(let_cxx_end, NULL);
    CHECK(cxx_join_thread() == 2 && noted()[0] == 'e');
    cxx_let_end(0);
    spawn(let_cxx_end, NULL);
    CHECK(cxx_join_async() == 3 && noted()[1] == 'e');
    cxx_let_end(0);
    spawn(let_cxx_end, NULL);
    CHECK(cxx_detach_thread() == 4 && noted()[2] == 'e');
    spawn(is_who, &right);
    reap();
    CHECK(right == 1);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(joining_a_kernel_thread_gives_way),
        VP_TEST(one_that_stiol_did_not_see_begin_too),
        VP_TEST(many_join_at_once),
        VP_TEST(an_interrupt_does_not_end_a_join),
        VP_TEST(who_cannot_be_joined_is_an_error),
        VP_TEST(joins_have_their_limits),
        VP_TEST(the_end_is_behind_the_destructors),
        VP_TEST(thousands_with_the_same_ids),
        VP_TEST(kernel_threads_join_each_other),
        VP_TEST(a_kernel_thread_may_fork),
        VP_TEST(c11_threads),
#ifdef HAVE_CXX
        VP_TEST(cxx_threads),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
