/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's clock for whatever it puts off or gives a time limit: it never jumps, unlike the
 * time of day.
 */
#include <time.h>

#include "mpm/stm.h"

/** Microseconds since some moment in the past. */
apr_time_t stm_monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}
