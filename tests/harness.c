/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness that harness.h declares; linked into every unit test.
 */
#include "tests/harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SKIPPED = 77,
    /* Only end what hangs; no test depends on them. What is slow because others use the CPUs waits
     * for them, and does not compute. */
    COMPUTING_SECONDS = 60,
    WAITING_SECONDS = 600,
};

#ifdef SHIM_CMOCKA_H
jmp_buf shim_test;
#endif

static char record[4096];
static size_t recorded;
static int tasks_before; /* when the child had one kernel thread */

/* cmocka catches these and would longjmp from a state thread's stack; a child gives them back to
 * whoever had them. */
static const int crash_signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS};
static struct sigaction crash_actions[sizeof(crash_signals) / sizeof(crash_signals[0])];

__attribute__((constructor)) static void keep_crash_actions(void)
{
    for (size_t i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++)
        sigaction(crash_signals[i], NULL, &crash_actions[i]);
}

static void restore_crash_actions(void)
{
    for (size_t i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++)
        sigaction(crash_signals[i], &crash_actions[i], NULL);
}

/* --- how the tests are run --- */

static int scale(void)
{
    const char *value = getenv("TEST_SCALE");
    long n = value ? strtol(value, NULL, 10) : 1;

    return n > 0 && n < 1000000 ? (int)n : 1;
}

int scaled(int n)
{
    int smaller = n / scale();

    return smaller > 0 ? smaller : 1;
}

bool under_valgrind(void)
{
    return getenv("TEST_VALGRIND");
}

bool under_emulator(void)
{
    const char *wrap = getenv("TEST_WRAP");

    return wrap && strstr(wrap, "qemu");
}

/* --- one child per test --- */

static int count_tasks(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = -2;

    CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

void end_if_hung(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec computing = {.it_value.tv_sec = COMPUTING_SECONDS * (scale() > 1 ? 2 : 1)};
    timer_t timer;

    CHECK(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &computing, NULL) == 0);
    alarm(WAITING_SECONDS);
}

static void enter_child(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    restore_crash_actions();
    /* A failed assertion prints and aborts: no longjmp between stacks. */
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    end_if_hung();
    tasks_before = count_tasks();
}

static int fork_and_wait(void (*before)(void), void (*body)(void), void (*after)(void))
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        enter_child();
        if (before)
            before();
        body();
        if (after)
            after();
        exit(0);
    }
    assert_true(pid > 0);
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return status;
}

void run_in_child(void (*before)(void), void (*body)(void), void (*after)(void))
{
    int status = fork_and_wait(before, body, after);

    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fail_msg("the test hung");
    if (WIFSIGNALED(status))
        fail_msg("the test ended by signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void run_raw(void **state)
{
    run_in_child(NULL, (void (*)(void))(uintptr_t)*state, NULL);
}

int run_child(void (*body)(void))
{
    return fork_and_wait(NULL, body, NULL);
}

int shell_status(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
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
    fflush(NULL);
    _exit(SKIPPED);
}

/* --- order --- */

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

/* --- kernel threads --- */

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

int kernel_threads(void)
{
    return count_tasks() - tasks_before + 1;
}

/* --- descriptors --- */

void socket_pair(int fds[2], bool nonblocking)
{
    const int type = SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);

    CHECK(socketpair(AF_UNIX, type, 0, fds) == 0);
}

int listen_on_loopback(struct sockaddr_storage *addr, socklen_t *len)
{
    struct sockaddr_in loopback = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int osfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(osfd >= 0);
    assert_ok(bind(osfd, (struct sockaddr *)&loopback, sizeof(loopback)));
    assert_ok(listen(osfd, 512));
    *len = sizeof(*addr);
    assert_ok(getsockname(osfd, (struct sockaddr *)addr, len));
    return osfd;
}

size_t fill_socket(int osfd)
{
    char block[4096];
    size_t total = 0;
    ssize_t n;

    memset(block, 'x', sizeof(block));
    while ((n = write(osfd, block, sizeof(block))) > 0)
        total += (size_t)n;
    assert_int_equal(errno, EAGAIN);
    return total;
}

int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 3; /* ".", ".." and the directory's own descriptor */
}
