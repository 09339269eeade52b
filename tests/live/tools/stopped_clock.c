/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a server, it stops the server's clocks: they show the time at which it started,
 * and as many nanoseconds more as the file that STOPPED_CLOCK names begins with (a native long),
 * which the test may change at any time. So what a server does once a second, or because a call
 * took long, is not done, however slow the machine is. The scheduler's waits for events have no
 * timeout, since the time that it waits for does not come: it would only look again and again.
 * Used by bench/cost/count.py.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000, MICROSECOND = 1000 };

static const volatile long *later;
static struct timespec time_of_day, monotonic;
/* The C library's syscall(). STIOL rebinds calls of it by name, here too. */
static long (*in_kernel)(long, ...);

static __attribute__((constructor)) void stop_clocks(void)
{
    const char *name = getenv("STOPPED_CLOCK");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof(*later), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    in_kernel = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (page == MAP_FAILED || !in_kernel ||
        in_kernel(SYS_clock_gettime, CLOCK_REALTIME, &time_of_day) != 0 ||
        in_kernel(SYS_clock_gettime, CLOCK_MONOTONIC, &monotonic) != 0)
        abort();
    later = page;
    close(fd);
}

static struct timespec shown(struct timespec start)
{
    long nanoseconds = start.tv_nsec + (later ? *later : 0);

    return (struct timespec){start.tv_sec + nanoseconds / SECOND, nanoseconds % SECOND};
}

/* The CPU's time goes on. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        *now = shown(time_of_day);
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        *now = shown(monotonic);
        return 0;
    default:
        return (int)in_kernel(SYS_clock_gettime, clock, now);
    }
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise = shown(time_of_day);

    (void)zone;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / MICROSECOND;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec precise = shown(time_of_day);

    if (now)
        *now = precise.tv_sec;
    return precise.tv_sec;
}

/* libst calls epoll_pwait2() through this, and epoll_wait() where there is none, as in valgrind. */
long syscall(long number, ...)
{
    long arg[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        arg[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_epoll_pwait2)
        arg[3] = 0; /* the timeout */
    return in_kernel(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

int epoll_wait(int epfd, struct epoll_event *events, int room, int timeout)
{
    return (int)in_kernel(SYS_epoll_pwait, epfd, events, room, timeout > 0 ? -1 : timeout, NULL,
                          _NSIG / 8);
}
