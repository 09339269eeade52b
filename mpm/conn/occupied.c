/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a VP's kernel thread has been occupied: occupied.h. The kernel shows how long a thread
 * has waited for a CPU in /proc/thread-self/schedstat, which is opened once. Where that is missing,
 * a thread that has waited in the kernel counts as occupied all the time.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mpm/conn/occupied.h"

static int schedstat = -1;

void stm_occupied_open(void)
{
    if (schedstat >= 0)
        close(schedstat);
    schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

/* The second number in that file, ns. */
static st_utime_t read_waiting(void)
{
    char text[64], *end;
    ssize_t length = schedstat < 0 ? -1 : pread(schedstat, text, sizeof(text) - 1, 0);

    if (length <= 0)
        return 0;
    text[length] = '\0';
    (void)strtoull(text, &end, 10);
    return strtoull(end, NULL, 10) / 1000;
}

static st_utime_t microseconds(const struct timeval *time)
{
    return (st_utime_t)time->tv_sec * 1000000 + (st_utime_t)time->tv_usec;
}

void stm_moment_take(stm_moment_t *moment)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    *moment =
        (stm_moment_t){.clock = st_utime(),
                       .computed = microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime),
                       .kept_waiting = read_waiting(),
                       .switches = usage.ru_nvcsw};
}

bool stm_has_waited(const stm_moment_t *from, const stm_moment_t *to)
{
    return from->switches != to->switches;
}

st_utime_t stm_occupied(const stm_moment_t *from, const stm_moment_t *to, st_utime_t most)
{
    st_utime_t computed = to->computed - from->computed, passed = to->clock - from->clock;
    st_utime_t waiting = to->kept_waiting - from->kept_waiting;

    if (!stm_has_waited(from, to))
        return computed < most ? computed : most;
    return waiting < passed ? passed - waiting : 0;
}
