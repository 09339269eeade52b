/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that a container's sandbox refuses (seccomp: EPERM or ENOSYS). The server does
 * without each of these; what is lost is said in the log when it starts. Called by the master.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mpm/process/process.h"

static const struct {
    long number;
    int level;
    const char *name, *loss;
} optional[] = {
#ifdef SYS_memfd_create
    {SYS_memfd_create, APLOG_WARNING, "memfd_create",
     "a VP that was taken over could write to the counters of others"},
#endif
#ifdef SYS_madvise
    {SYS_madvise, APLOG_WARNING, "madvise",
     "VPs could write to the counters of others, and memory of idle stacks is not given back"},
#endif
#ifdef SYS_prlimit64
    {SYS_prlimit64, APLOG_WARNING, "prlimit64", "the limit of open files stays as it is"},
#endif
#ifdef SYS_eventfd2
    {SYS_eventfd2, APLOG_INFO, "eventfd2", "pipes are used instead"},
#endif
#ifdef SYS_pidfd_open
    {SYS_pidfd_open, APLOG_INFO, "pidfd_open", "the end of a program is noticed up to 10 ms late"},
#endif
#ifdef SYS_epoll_pwait2
    {SYS_epoll_pwait2, APLOG_INFO, "epoll_pwait2", "timers have a resolution of 1 ms"},
#endif
#ifdef SYS_openat2
    {SYS_openat2, APLOG_INFO, "openat2",
     "whether a path is in memory is not known before it is used"},
#endif
#ifdef SYS_preadv2
    {SYS_preadv2, APLOG_INFO, "preadv2",
     "whether a file is in memory is not known before it is read"},
#endif
#ifdef SYS_pwritev2
    {SYS_pwritev2, APLOG_INFO, "pwritev2",
     "a pipe that several processes write may hold up a VP while it is full"},
#endif
#ifdef SYS_timer_create
    {SYS_timer_create, APLOG_INFO, "timer_create", "stalls are not noticed"},
#endif
#ifdef SYS_sched_setaffinity
    {SYS_sched_setaffinity, APLOG_INFO, "sched_setaffinity", "VPBind has no effect"},
#endif
};

/* No call can do anything with these arguments: one that is not refused finds them invalid. (The
 * third is NULL where it is a pointer: Valgrind reads what it leads to.) */
static bool is_refused(long number)
{
    return syscall(number, -1L, -1L, 0L, 0L, 0L, 0L) < 0 && (errno == EPERM || errno == ENOSYS);
}

void stm_refused_log(void)
{
    for (size_t i = 0; i < sizeof(optional) / sizeof(*optional); i++) {
        if (is_refused(optional[i].number))
            ap_log_error(APLOG_MARK, optional[i].level, errno, ap_server_conf,
                         STMNO(0071) "the system call %s cannot be used here: %s", optional[i].name,
                         optional[i].loss);
    }
}
