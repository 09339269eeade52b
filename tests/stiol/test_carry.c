/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stiol_carry(): a function of a state thread runs on a kernel thread, with the real calls, and is
 * that state thread as far as code can see. The VP continues meanwhile. As in test_tls.c, STIOL is
 * in an object of its own.
 */
#include <limits.h>
#include <locale.h>

#include "tests/stiol/stiol_vp.h"
#include "tests/stiol/objects/locals.h"

enum {
    LIMIT = 4,
    MANY = 60,
};

static __thread _Alignas(64) locals_t mine = {33, "image", {0}, "relocated"};

static locals_t *own_locals(void)
{
    return &mine;
}

static pid_t vp_tid;

static pid_t real_tid(void)
{
    char name[64];
    ssize_t n = readlink("/proc/thread-self", name, sizeof(name) - 1);

    CHECK(n > 0);
    name[n] = '\0';
    return (pid_t)atoi(strrchr(name, '/') + 1);
}

/* The harness starts STIOL without carriers. */
static void start_with_carriers(int limit)
{
    stiol_config_t config = test_config;

    stop_vp();
    config.max_carriers = limit;
    CHECK(st_init() == 0);
    CHECK(stiol_start(&config) == 0);
    vp_tid = real_tid();
}

static stiol_carriers_t carriers(void)
{
    stiol_carriers_t now;

    stiol_get_carriers(&now);
    return now;
}

/* --- it runs elsewhere, and the VP continues --- */

static _Atomic int go;

static void until_go(void *data)
{
    CHECK(stiol_is_carried() && !st_is_vp());
    CHECK(real_tid() != vp_tid);
    while (atomic_load(&go) == 0)
        continue; /* it computes: nobody can make it yield */
    *(int *)data += 1;
}

static void *carry_until_go(void *arg)
{
    CHECK(stiol_carry(until_go, arg) == 0);
    CHECK(!stiol_is_carried() && real_tid() == vp_tid);
    return NULL;
}

static void the_vp_goes_on(void)
{
    int done = 0, turns = 0;

    start_with_carriers(LIMIT);
    spawn(carry_until_go, &done);
    spawn(ticker, &turns);
    while (carriers().busy == 0)
        st_thread_yield();
    turns = 0;
    while (turns < 1000)
        st_thread_yield();
    CHECK(done == 0 && carriers().busy == 1);
    atomic_store(&go, 1);
    while (done == 0)
        st_usleep(1000);
    CHECK(carriers().carried == 1 && carriers().threads == 1);
    stop_ticking = true;
    reap();
}

static void what_is_above_the_limit_waits_in_line(void)
{
    int done = 0;

    start_with_carriers(LIMIT);
    for (int i = 0; i < MANY; i++)
        spawn(carry_until_go, &done);
    while (carriers().busy < LIMIT || carriers().waiting < MANY - LIMIT)
        st_usleep(1000);
    CHECK(carriers().threads == LIMIT && kernel_threads() == LIMIT + 1);
    atomic_store(&go, 1);
    reap();
    CHECK(carriers().carried == MANY && carriers().waiting == 0);
}

static void without_any_it_says_so(void)
{
    start_with_carriers(0);
    CHECK(stiol_carry(until_go, NULL) == -1 && errno == EPERM);
}

static void not_for_the_primordial_thread(void)
{
    start_with_carriers(LIMIT);
    CHECK(stiol_carry(until_go, NULL) == -1 && errno == EPERM);
}

static int cancelled;

static void *expect_cancelled(void *arg)
{
    CHECK(stiol_carry(until_go, arg) == -1 && errno == ECANCELED);
    cancelled++;
    return NULL;
}

static void what_waits_in_line_when_the_vp_ends_is_not_begun(void)
{
    st_thread_t waiting[5];
    int done = 0;

    start_with_carriers(1);
    spawn(carry_until_go, &done);
    while (carriers().busy == 0)
        st_usleep(1000);
    for (int i = 0; i < 5; i++)
        waiting[i] = spawn(expect_cancelled, &done);
    while (carriers().waiting < 5)
        st_usleep(1000);
    stiol_end_waits();
    for (int i = 0; i < 5; i++)
        st_thread_interrupt(waiting[i]);
    while (cancelled < 5)
        st_usleep(1000);
    CHECK(carriers().busy == 1);
    atomic_store(&go, 1);
    reap();
    CHECK(done == 1);
}

/* --- it is the same thread --- */

typedef struct seen {
    where_t *where;
    pthread_t id;
    pid_t tid;
    pthread_key_t key;
    locale_t locale;
    sigset_t mask;
    bool here;
} seen_t;

static void set_all(seen_t *seen, long value)
{
    locals_t *locals = seen->where();

    locals->number = value;
    (void)snprintf(locals->text, sizeof(locals->text), "of thread %ld", value);
    locals->pointer = locals->text; /* leads into itself */
    CHECK(table_any.pthread_setspecific(seen->key, (void *)value) == 0);
    CHECK(table_any.uselocale(seen->locale) != (locale_t)0);
}

static void check_all(const seen_t *seen, long value)
{
    const locals_t *locals = seen->where();
    char text[sizeof(locals->text)];

    (void)snprintf(text, sizeof(text), "of thread %ld", value);
    CHECK(locals->number == value && strcmp(locals->text, text) == 0);
    CHECK(locals->pointer == locals->text);
    CHECK(table_any.pthread_getspecific(seen->key) == (void *)value);
    CHECK(table_any.uselocale((locale_t)0) == seen->locale);
    CHECK(pthread_equal(table_any.pthread_self(), seen->id) && table_any.gettid() == seen->tid);
}

static void change(void *data)
{
    seen_t *seen = data;
    long before = seen->where()->number;

    CHECK(errno == 4711);
    CHECK(real_tid() != vp_tid);
    check_all(seen, before);
    set_all(seen, before + 1);
    errno = 4712;
}

static pthread_key_t shared_key;

static void *carry_what_is_mine(void *arg)
{
    seen_t seen = {.where = (where_t *)arg,
                   .id = table_any.pthread_self(),
                   .tid = table_any.gettid(),
                   .key = shared_key,
                   .locale = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    static long serial;
    long value = 1000 * ++serial;

    CHECK(seen.where()->number < 100); /* as a new thread's */
    set_all(&seen, value);
    for (int i = 0; i < 20; i++) {
        errno = 4711;
        CHECK(stiol_carry(change, &seen) == 0);
        CHECK(errno == 4712);
        check_all(&seen, ++value);
        st_thread_yield();
        check_all(&seen, value);
    }
    return NULL;
}

static void all_that_is_a_threads_goes_along(void)
{
    static where_t *const wheres[] = {own_locals, linked_locals, static_locals};

    start_with_carriers(LIMIT);
    CHECK(table_any.pthread_key_create(&shared_key, NULL) == 0);
    for (int i = 0; i < 3; i++)
        for (int n = 0; n < 10; n++)
            spawn(carry_what_is_mine, (void *)(uintptr_t)wheres[i]);
    reap();
    CHECK(own_locals()->number == 33);
}

static void see_new(void *data)
{
    (void)data;
    CHECK(own_locals()->number == 33 && strcmp(own_locals()->text, "image") == 0);
    own_locals()->number = 34;
}

static void *carry_new(void *arg)
{
    CHECK(stiol_carry(see_new, arg) == 0);
    CHECK(own_locals()->number == 34);
    return NULL;
}

static void a_carrier_keeps_nothing_of_the_thread_before(void)
{
    start_with_carriers(1);
    for (int i = 0; i < 10; i++)
        spawn(carry_new, NULL);
    reap();
}

/* --- signals and attributes are those of the kernel thread that runs it --- */

static _Atomic pid_t signalled;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&signalled, real_tid());
}

static void send_to_itself(void *data)
{
    pthread_attr_t attr;
    size_t size;
    void *base;

    (void)data;
    CHECK(table_any.pthread_kill(table_any.pthread_self(), SIGUSR2) == 0);
    CHECK(atomic_load(&signalled) == real_tid());
    CHECK(table_any.pthread_getattr_np(table_any.pthread_self(), &attr) == 0);
    CHECK(pthread_attr_getstack(&attr, &base, &size) == 0);
    pthread_attr_destroy(&attr);
    CHECK((uintptr_t)&attr - (uintptr_t)base < size);
}

static void *carry_signals(void *arg)
{
    CHECK(stiol_carry(send_to_itself, arg) == 0);
    return NULL;
}

static void its_stack_and_signals_are_the_carriers(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    start_with_carriers(1);
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    spawn(carry_signals, NULL);
    reap();
}

/* --- locks --- */

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER, recursive, checking;

static void unlock_and_lock(void *data)
{
    (void)data;
    CHECK(table_any.pthread_mutex_lock(&recursive) == 0); /* the third time */
    CHECK(table_any.pthread_mutex_lock(&checking) == EDEADLK);
    CHECK(table_any.pthread_mutex_unlock(&checking) == 0);
    CHECK(table_any.pthread_mutex_unlock(&plain) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(table_any.pthread_mutex_unlock(&recursive) == 0);
    CHECK(table_any.pthread_mutex_unlock(&recursive) == EPERM);
    CHECK(table_any.pthread_mutex_lock(&recursive) == 0);
    CHECK(table_any.pthread_mutex_lock(&recursive) == 0);
    CHECK(table_any.pthread_mutex_lock(&plain) == 0);
    CHECK(table_any.pthread_mutex_lock(&checking) == 0);
}

static void *carry_locks(void *arg)
{
    (void)arg;
    CHECK(table_any.pthread_mutex_lock(&plain) == 0);
    CHECK(table_any.pthread_mutex_lock(&checking) == 0);
    CHECK(table_any.pthread_mutex_lock(&recursive) == 0);
    CHECK(table_any.pthread_mutex_lock(&recursive) == 0);
    CHECK(stiol_carry(unlock_and_lock, NULL) == 0);
    CHECK(table_any.pthread_mutex_lock(&checking) == EDEADLK);
    st_usleep(1000);
    CHECK(table_any.pthread_mutex_unlock(&checking) == 0);
    CHECK(table_any.pthread_mutex_unlock(&plain) == 0);
    CHECK(table_any.pthread_mutex_unlock(&recursive) == 0);
    CHECK(table_any.pthread_mutex_unlock(&recursive) == 0);
    CHECK(table_any.pthread_mutex_unlock(&recursive) == EPERM ||
          pthread_mutex_trylock(&recursive) == 0);
    return NULL;
}

static void make_mutexes(void)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    CHECK(table_any.pthread_mutex_init(&recursive, &attr) == 0);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    CHECK(table_any.pthread_mutex_init(&checking, &attr) == 0);
    pthread_mutexattr_destroy(&attr);
}

static void locks_go_along(void)
{
    start_with_carriers(LIMIT);
    make_mutexes();
    for (int i = 0; i < 10; i++)
        spawn(carry_locks, NULL);
    reap();
    CHECK(pthread_mutex_trylock(&plain) == 0 && pthread_mutex_trylock(&recursive) == 0 &&
          pthread_mutex_trylock(&checking) == 0);
}

static long counted;

static void count_under_lock(void *data)
{
    for (int i = 0; i < 200; i++) {
        long before;

        CHECK(table_any.pthread_mutex_lock(data) == 0);
        before = counted;
        if (i % 20 == 0)
            (void)usleep(100);
        counted = before + 1;
        CHECK(table_any.pthread_mutex_unlock(data) == 0);
    }
}

static void *count_carried(void *arg)
{
    CHECK(stiol_carry(count_under_lock, arg) == 0);
    return NULL;
}

static void *count_on_vp(void *arg)
{
    for (int i = 0; i < 200; i++) {
        long before;

        CHECK(table_any.pthread_mutex_lock(arg) == 0);
        before = counted;
        if (i % 20 == 0)
            st_usleep(100);
        counted = before + 1;
        CHECK(table_any.pthread_mutex_unlock(arg) == 0);
    }
    return NULL;
}

static void one_lock_for_both(void)
{
    pthread_mutex_t *const locks[] = {&plain, &recursive, &checking};

    start_with_carriers(LIMIT);
    make_mutexes();
    for (int i = 0; i < 3; i++) {
        counted = 0;
        for (int n = 0; n < 4; n++) {
            spawn(count_carried, locks[i]);
            spawn(count_on_vp, locks[i]);
        }
        reap();
        CHECK(counted == 8 * 200);
    }
}

/* A lock that is held on the way back is nobody's but that state thread's, although its carrier has
 * gone on with another one. */
static _Atomic int tried;

static void keep_locked(void *data)
{
    CHECK(table_any.pthread_mutex_lock(data) == 0);
}

static void *carry_and_unlock(void *arg)
{
    CHECK(stiol_carry(keep_locked, arg) == 0);
    CHECK(atomic_load(&tried) != 0);
    CHECK(table_any.pthread_mutex_unlock(arg) == 0);
    return NULL;
}

static void try_it(void *data)
{
    int rc = table_any.pthread_mutex_trylock(data);

    atomic_store(&tried, rc == EBUSY ? 1 : -1);
}

static void *carry_a_try(void *arg)
{
    CHECK(stiol_carry(try_it, arg) == 0);
    return NULL;
}

/* Holds up the VP, so that nobody comes back meanwhile. */
static void *until_tried(void *arg)
{
    (void)arg;
    while (atomic_load(&tried) == 0)
        continue;
    return NULL;
}

static void a_lock_on_the_way_back_is_not_its_carriers(void)
{
    pthread_mutex_t *const locks[] = {&plain, &recursive, &checking};

    start_with_carriers(1);
    make_mutexes();
    for (int i = 0; i < 3; i++) {
        atomic_store(&tried, 0);
        spawn(carry_and_unlock, locks[i]);
        spawn(carry_a_try, locks[i]);
        spawn(until_tried, NULL);
        reap();
        CHECK(atomic_load(&tried) == 1);
        CHECK(pthread_mutex_trylock(locks[i]) == 0);
    }
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

static void release(void *data)
{
    (void)data;
    CHECK(table_any.pthread_rwlock_unlock(&rwlock) == 0);
}

static void release_and_write(void *data)
{
    release(data);
    CHECK(table_any.pthread_rwlock_wrlock(&rwlock) == 0);
}

static bool is_free(void)
{
    bool is = pthread_rwlock_trywrlock(&rwlock) == 0 && pthread_rwlock_unlock(&rwlock) == 0;

    return is && pthread_rwlock_tryrdlock(&rwlock) == 0 && pthread_rwlock_unlock(&rwlock) == 0;
}

static void *write_here_and_there(void *arg)
{
    for (int i = 0; i < 3; i++) {
        CHECK(table_any.pthread_rwlock_wrlock(&rwlock) == 0);
        CHECK(stiol_carry(release, arg) == 0);
        CHECK(is_free());
        CHECK(table_any.pthread_rwlock_wrlock(&rwlock) == 0);
        CHECK(stiol_carry(release_and_write, arg) == 0);
        CHECK(table_any.pthread_rwlock_wrlock(&rwlock) == EDEADLK);
        CHECK(table_any.pthread_rwlock_unlock(&rwlock) == 0);
        CHECK(is_free());
    }
    return NULL;
}

static void *read_here_and_there(void *arg)
{
    CHECK(table_any.pthread_rwlock_rdlock(&rwlock) == 0);
    CHECK(stiol_carry(release, arg) == 0);
    CHECK(is_free());
    return NULL;
}

static void read_write_locks_go_along(void)
{
    start_with_carriers(LIMIT);
    spawn(read_here_and_there, NULL);
    reap();
    spawn(write_here_and_there, NULL);
    reap();
}

/* --- the rest --- */

static bool was_in_callback;

static void in_scheduler(void *data)
{
    was_in_callback = st_in_callback() != 0 && real_tid() == vp_tid;
    ++*(int *)data;
}

static void call_back(void *data)
{
    for (int i = 0; i < 100; i++)
        stiol_on_vp(in_scheduler, data);
}

static void *carry_a_caller(void *arg)
{
    CHECK(stiol_carry(call_back, arg) == 0);
    stiol_on_vp(in_scheduler, arg);
    return NULL;
}

static void it_can_call_its_vp(void)
{
    int calls = 0;

    start_with_carriers(LIMIT);
    spawn(carry_a_caller, &calls);
    reap();
    CHECK(calls == 101);
}

static int fds[2];

/* Numbers that libst knows are closed here, and reused. */
static void make_again(void *data)
{
    int before[2] = {fds[0], fds[1]};

    (void)data;
    CHECK(table_any.close(fds[0]) == 0 && table_any.close(fds[1]) == 0);
    CHECK(table_any.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    CHECK(fds[0] == before[0] && fds[1] == before[1]);
}

static void *write_late(void *arg)
{
    st_usleep(20000);
    CHECK(table_any.write(fds[1], arg, 1) == 1);
    return NULL;
}

static void read_one(void)
{
    struct pollfd poll = {.fd = fds[0], .events = POLLIN};
    char byte;

    CHECK(table_any.read(fds[0], &byte, 1) == -1 && errno == EAGAIN);
    spawn(write_late, "x");
    CHECK(table_any.poll(&poll, 1, 20000) == 1);
    CHECK(table_any.read(fds[0], &byte, 1) == 1 && byte == 'x');
}

static void *carry_descriptors(void *arg)
{
    CHECK(table_any.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    read_one(); /* now it is registered */
    CHECK(stiol_carry(make_again, arg) == 0);
    read_one();
    return NULL;
}

static void descriptors_made_there_are_known_as_new_here(void)
{
    start_with_carriers(1);
    spawn(carry_descriptors, NULL);
    reap();
}

static void leave(void *data)
{
    (void)data;
    table_any.pthread_exit((void *)7);
}

static bool came_back;

static void *carry_the_end(void *arg)
{
    CHECK(stiol_carry(leave, arg) == 0);
    came_back = true;
    return NULL;
}

static void pthread_exit_ends_the_state_thread_alone(void)
{
    start_with_carriers(1);
    spawn(carry_the_end, NULL);
    while (carriers().carried == 0)
        st_usleep(1000);
    reap();
    CHECK(!came_back);
    spawn(carry_new, NULL);
    reap();
    CHECK(carriers().carried == 2 && carriers().threads == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(the_vp_goes_on),
        VP_TEST(what_is_above_the_limit_waits_in_line),
        VP_TEST(without_any_it_says_so),
        VP_TEST(not_for_the_primordial_thread),
        VP_TEST(what_waits_in_line_when_the_vp_ends_is_not_begun),
        VP_TEST(all_that_is_a_threads_goes_along),
        VP_TEST(a_carrier_keeps_nothing_of_the_thread_before),
        VP_TEST(its_stack_and_signals_are_the_carriers),
        VP_TEST(locks_go_along),
        VP_TEST(one_lock_for_both),
        VP_TEST(a_lock_on_the_way_back_is_not_its_carriers),
        VP_TEST(read_write_locks_go_along),
        VP_TEST(it_can_call_its_vp),
        VP_TEST(descriptors_made_there_are_known_as_new_here),
        VP_TEST(pthread_exit_ends_the_state_thread_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
