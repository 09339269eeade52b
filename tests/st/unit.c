/* SPDX-License-Identifier: Apache-2.0 */
/* The harness that unit.h declares; linked into every unit test. */
#include "tests/st/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define SKIPPED       77
#define GUARD_SECONDS 30 /* only ends what hangs; no test depends on it */

enum { VIRTUAL_CLOCK = 1, RAW = 2 };

st_utime_t unit_clock = 1000000;
#ifdef SHIM_CMOCKA_H
jmp_buf shim_test;
#endif

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

/* --- one child per test ----------------------------------------------------------------------- */

static int scale(void)
{
    const char *value = getenv("TEST_SCALE");
    long n = value ? strtol(value, NULL, 10) : 1;

    return n > 0 && n < 1000000 ? (int)n : 1;
}

int unit_scaled(int n)
{
    int scaled = n / scale();

    return scaled > 0 ? scaled : 1;
}

int unit_valgrind(void)
{
    return getenv("TEST_VALGRIND") != NULL;
}

int unit_emulated(void)
{
    const char *wrap = getenv("TEST_WRAP");

    return wrap != NULL && strstr(wrap, "qemu") != NULL;
}

static void enter_child(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    restore_crash_actions();
    /* A failed assertion prints and aborts: no longjmp between stacks. */
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    alarm(GUARD_SECONDS * (scale() > 1 ? 4 : 1));
}

static void run_body(void (*body)(void), int mode)
{
    if (mode & VIRTUAL_CLOCK)
        assert_ok(st_set_utime_function(unit_clock_read));
    if (!(mode & RAW)) {
        assert_ok(st_set_eventsys(UNIT_EVENTSYS));
        assert_ok(st_init());
    }
    body();
#ifndef UNIT_ST19
    if (!(mode & RAW))
        assert_ok(st_destroy());
#endif
}

static int fork_and_wait(void (*body)(void), int mode)
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        enter_child();
        run_body(body, mode);
        exit(0);
    }
    assert_true(pid > 0);
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return status;
}

static void run_in_child(void **state, int mode)
{
    int status = fork_and_wait((void (*)(void))(uintptr_t)*state, mode);

    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fail_msg("the test hung");
    if (WIFSIGNALED(status))
        fail_msg("the test ended by signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void unit_run(void **state)
{
    run_in_child(state, 0);
}

void unit_run_virtual(void **state)
{
    run_in_child(state, VIRTUAL_CLOCK);
}

void unit_run_raw(void **state)
{
    run_in_child(state, RAW);
}

int unit_child(void (*body)(void))
{
    return fork_and_wait(body, RAW);
}

void unit_skip(const char *reason)
{
    fprintf(stderr, "skipped: %s\n", reason);
    fflush(NULL);
    _exit(SKIPPED);
}

/* --- the virtual clock ------------------------------------------------------------------------ */

st_utime_t unit_clock_read(void)
{
    return unit_clock;
}

#ifdef UNIT_ST19
void unit_settle(void)
{
    for (int i = 0; i < 4; i++)
        assert_ok(st_usleep(ST_UTIME_NO_WAIT)); /* each visits the event system */
}
#else
/* What a turn has made ready runs before the next turn; three, for what they make ready in their
 * turn. */
void unit_settle(void)
{
    st_stats_t stats;
    unsigned long long until;

    st_get_stats(&stats);
    until = stats.turns + 3;
    while (stats.turns < until) {
        st_thread_yield();
        st_get_stats(&stats);
    }
    st_thread_yield();
}
#endif

void unit_advance(st_utime_t us)
{
    unit_clock += us;
    unit_settle();
}

/* --- descriptors ------------------------------------------------------------------------------ */

void unit_socketpair(int fds[2])
{
    assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
}

void unit_pair(st_netfd_t *left, st_netfd_t *right)
{
    int fds[2];

    unit_socketpair(fds);
    *left = st_netfd_open_socket(fds[0]);
    *right = st_netfd_open_socket(fds[1]);
    assert_non_null(*left);
    assert_non_null(*right);
}

st_netfd_t unit_half(int *osfd)
{
    int fds[2];
    st_netfd_t netfd;

    unit_socketpair(fds);
    *osfd = fds[1];
    netfd = st_netfd_open_socket(fds[0]);
    assert_non_null(netfd);
    return netfd;
}

int unit_listen(struct sockaddr_storage *addr, socklen_t *len)
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

size_t unit_fill(int osfd)
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

void unit_drain(int osfd, size_t n)
{
    char block[4096];

    while (n > 0) {
        ssize_t got = read(osfd, block, n < sizeof(block) ? n : sizeof(block));

        if (got < 0) {
            assert_int_equal(errno, EAGAIN);
            assert_ok(st_usleep(ST_UTIME_NO_WAIT));
            continue;
        }
        assert_true(got > 0);
        n -= (size_t)got;
    }
}

int unit_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 3; /* ".", ".." and the directory's own descriptor */
}
