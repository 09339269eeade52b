/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each microbenchmark needs: the library under test (State Threads 1.9 with -DMICRO_ST19, else
 * ours), a clock, and the line of output that run.py reads. Both use the same source; what 1.9
 * lacks is built here from its own calls.
 */
#ifndef MICRO_H
#define MICRO_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <st.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#ifdef MICRO_ST19
/* 1.9's way to yield. */
static inline void micro_yield(void)
{
    CHECK(st_usleep(0) == 0);
}
#else
static inline void micro_yield(void)
{
    st_thread_yield();
}
#endif

/* Starts the library with the best event system it has. Debian's 1.9 has no epoll: then poll, since
 * its select is limited to 1,024 descriptors. */
static inline void micro_init(void)
{
    st_set_eventsys(ST_EVENTSYS_ALT);
    if (st_get_eventsys() < 0)
        st_set_eventsys(ST_EVENTSYS_POLL);
    CHECK(st_init() == 0);
}

/* CPU time of this process: other load on the machine does not count. Nothing measured here
 * sleeps. */
static inline uint64_t micro_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How often to repeat: the benchmark's own default, or the number on the command line. */
static inline long micro_count(int argc, char **argv, long standard)
{
    long n = argc > 1 ? strtol(argv[1], NULL, 10) : standard;

    CHECK(n > 0);
    return n;
}

/* The one line of output: CPU ns per operation, over how many operations, with which event
 * system. */
static inline void micro_report(uint64_t start, uint64_t end, long operations)
{
    printf("%.3f ns %ld operations %s\n", (double)(end - start) / (double)operations, operations,
           st_get_eventsys_name());
}

#endif
