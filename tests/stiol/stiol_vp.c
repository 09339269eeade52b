/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VPs with STIOL, for its tests and those of small pools: see stiol_vp.h.
 */
#include <sched.h>
#include <sys/mount.h>

#include "stiol/file.h"

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
        end_if_hung();
        if (off == STIOL_NO_FORGET)
            alarm(5); /* hangs, as it should: there is no need to wait for long */
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

int mount_dead(const char *folder)
{
    char options[64];
    int device;

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        skip_test("mount namespaces are not available");
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (device < 0 || mount("dead", folder, "fuse", 0, options) != 0)
        skip_test("FUSE is not available");
    return device;
}

stiol__vp_t *look_again_at_mounts(void)
{
    stiol__vp_t *vp = stiol__here();

    stiol__filesystems_stop(vp);
    CHECK(stiol__filesystems_start(vp) == 0);
    return vp;
}
