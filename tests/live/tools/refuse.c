/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refuse ERROR CALL... -- PROGRAM ARGUMENT...: runs the program under a seccomp filter that answers
 * those system calls with EPERM or ENOSYS, as container runtimes with a narrow profile do.
 * Started by tests/live/test_refused.py and test_container.py.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel's headers of the build do not know yet has the same number everywhere. */
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

#define CALL(name)                                                                                 \
    {                                                                                              \
#name, SYS_##name                                                                          \
    }

static const struct {
    const char *name;
    int number;
} calls[] = {
    CALL(cachestat),
    CALL(close_range),
    CALL(copy_file_range),
    CALL(epoll_pwait2),
    CALL(eventfd2),
    CALL(fallocate),
    CALL(io_uring_setup),
    CALL(madvise),
    CALL(membarrier),
    CALL(memfd_create),
    CALL(mincore),
    CALL(openat2),
    CALL(pidfd_open),
    CALL(preadv2),
    CALL(prlimit64),
    CALL(pwritev2),
    CALL(rseq),
    CALL(sched_setaffinity),
    CALL(sendfile),
    CALL(splice),
    CALL(statx),
    CALL(timer_create),
    CALL(epoll_create1),
    /* What Docker's profile refuses to a container without capabilities of its own. */
    CALL(add_key),
    CALL(bpf),
    CALL(get_mempolicy),
    CALL(io_uring_enter),
    CALL(kcmp),
    CALL(keyctl),
    CALL(mbind),
    CALL(io_uring_register),
    CALL(mount),
    CALL(perf_event_open),
    CALL(pidfd_getfd),
    CALL(open_by_handle_at),
    CALL(ptrace),
    CALL(process_vm_readv),
    CALL(request_key),
    CALL(process_vm_writev),
    CALL(setns),
    CALL(set_mempolicy),
    CALL(unshare),
    CALL(userfaultfd),
};
#define CALLS (sizeof(calls) / sizeof(*calls))

/* Two instructions a call, and those at both ends. */
static struct sock_filter filter[2 * CALLS + 2];
static unsigned short length;

static void add(struct sock_filter instruction)
{
    filter[length++] = instruction;
}

static int number_of(const char *name)
{
    for (size_t i = 0; i < CALLS; i++) {
        if (strcmp(calls[i].name, name) == 0)
            return calls[i].number;
    }
    return -1;
}

/* Returns where "--" stands in the arguments; 0: there is a mistake in them. */
static int write_filter(char **argv)
{
    unsigned error = strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS;
    int at = 2;

    add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    for (; argv[at] && strcmp(argv[at], "--") != 0; at++) {
        int number = number_of(argv[at]);

        if (number < 0 || length + 3u > sizeof(filter) / sizeof(*filter))
            return 0;
        add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1));
        add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
    }
    add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    return argv[at] && argv[at + 1] ? at : 0;
}

int main(int argc, char **argv)
{
    int at = argc > 2 ? write_filter(argv) : 0;
    struct sock_fprog program = {.len = length, .filter = filter};

    if (!at) {
        fprintf(stderr, "usage: refuse EPERM|ENOSYS CALL... -- PROGRAM ARGUMENT...\n");
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("refuse: seccomp");
        return 3;
    }
    execvp(argv[at + 1], argv + at + 1);
    perror(argv[at + 1]);
    return 127;
}
