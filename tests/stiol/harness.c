/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tests' common ground: see harness.h.
 */
#include <dirent.h>

#include "tests/stiol/harness.h"

#define SECONDS     60 /* after which a test is taken to hang; ends the run, decides no test */
#define SPAWNED_MAX 20000
#define SKIPPED     77
#define HUNG        124

static const char *const thread_objects[] = {"libthreads.so", NULL};
const stiol_config_t test_config = {.thread_objects = thread_objects, .max_helpers = 2};

#ifdef SHIM_CMOCKA_H
jmp_buf shim_test;
#endif

static char record[4096];
static size_t recorded;
static st_thread_t spawned[SPAWNED_MAX];
static int spawned_count;
bool stop_ticking;

/* Stand-ins for the C++ runtime's, as an object has them that was linked with one of its own: they
 * are to be replaced wherever they come from. */
int __cxa_guard_acquire(int64_t *guard)
{
    (void)guard;
    return 0;
}

void __cxa_guard_release(int64_t *guard)
{
    (void)guard;
}

void __cxa_guard_abort(int64_t *guard)
{
    (void)guard;
}

void check_failed(const char *file, int line, const char *what, int error)
{
    fprintf(stderr, "%s:%d: failed: %s (errno %d: %s; notes \"%s\")\n", file, line, what, error,
            strerror(error), record);
    _exit(1);
}

void skip_test(const char *why)
{
    fprintf(stderr, "skipped: %s\n", why);
    _exit(SKIPPED);
}

static void hung(int signal_number)
{
    (void)signal_number;
    _exit(HUNG);
}

static int tasks_before; /* when the child had one kernel thread */

static int count_tasks(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = -2;

    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

int kernel_threads(void)
{
    return count_tasks() - tasks_before + 1;
}

static int run_child(void (*before)(void), void (*body)(void), void (*after)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        signal(SIGALRM, hung);
        alarm(SECONDS);
        tasks_before = count_tasks();
        if (before != NULL)
            before();
        body();
        if (after != NULL)
            after();
        exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void judge(int status)
{
    if (status == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

void start_vp(void)
{
    CHECK(st_init() == 0);
    if (stiol_start(&test_config) != 0) {
        fprintf(stderr, "stiol_start: %s\n", stiol_error());
        _exit(1);
    }
}

void stop_vp(void)
{
    reap();
    stiol_stop();
    CHECK(st_destroy() == 0);
}

void run_on_vp(void **state)
{
    judge(run_child(start_vp, (void (*)(void))(uintptr_t)*state, stop_vp));
}

void run_raw(void **state)
{
    judge(run_child(NULL, (void (*)(void))(uintptr_t)*state, NULL));
}

int without(unsigned off, void (*body)(void))
{
    int status, pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        signal(SIGALRM, hung);
        alarm(5);
        st_after_fork_child();
        stiol__off = off;
        (void)!freopen("/dev/null", "w", stderr);
        start_vp();
        body();
        _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void note(char what)
{
    CHECK(recorded < sizeof(record) - 1);
    record[recorded++] = what;
}

const char *noted(void)
{
    return record;
}

void forget_notes(void)
{
    memset(record, 0, sizeof(record));
    recorded = 0;
}

st_thread_t spawn(void *(*start)(void *), void *arg)
{
    st_thread_t thread = st_thread_create(start, arg, 1, 0);

    CHECK(thread != NULL && spawned_count < SPAWNED_MAX);
    spawned[spawned_count++] = thread;
    return thread;
}

void reap(void)
{
    for (int i = 0; i < spawned_count; i++)
        CHECK(st_thread_join(spawned[i], NULL) == 0);
    spawned_count = 0;
}

void settle(void)
{
    for (int i = 0; i < 300; i++)
        st_thread_yield();
}

void *ticker(void *arg)
{
    int *ticks = arg;

    while (!stop_ticking) {
        ++*ticks;
        st_thread_yield();
    }
    return NULL;
}

void *tell(void *arg)
{
    for (int i = 0; i < 50; i++)
        st_thread_yield();
    note('t');
    CHECK(write(*(int *)arg, "x", 1) == 1);
    return NULL;
}

pthread_t kernel_thread(void *(*start)(void *), void *arg)
{
    pthread_t id;

    CHECK(pthread_create(&id, NULL, start, arg) == 0);
    return id;
}

void join_kernel_thread(pthread_t id)
{
    CHECK(pthread_join(id, NULL) == 0);
}

void socket_pair(int fds[2], bool nonblocking)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | (nonblocking ? SOCK_NONBLOCK : 0), 0, fds) == 0);
}

stiol_counters_t counters(void)
{
    stiol_counters_t now;

    stiol_get_counters(&now);
    return now;
}
