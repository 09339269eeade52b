/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VPs with STIOL, for its tests and those of small pools: see stiol_vp.h.
 */
#include "tests/stiol/stiol_vp.h"

static const char *const thread_objects[] = {"libthreads.so", NULL};
const stiol_config_t test_config = {.thread_objects = thread_objects, .max_helpers = 2};

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

static void hung(int signal_number)
{
    (void)signal_number;
    _exit(HUNG);
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
    return shell_status(status);
}

stiol_counters_t counters(void)
{
    stiol_counters_t now;

    stiol_get_counters(&now);
    return now;
}
