/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The globals that all rooms share, and functions that any of them may call.
 */
#include <time.h>

#include "mpm/stm.h"

stm_globals_t stm;

apr_time_t stm_monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

bool stm_may_complain(apr_time_t *last)
{
    apr_time_t now = stm_monotonic();

    if (*last && now - *last < apr_time_from_sec(10))
        return false;
    *last = now;
    return true;
}

bool stm_vp_is_idle(void)
{
    return stm.vp.connections == 0 && stm.vp.threads == 0;
}

void stm_vp_idle_check(void)
{
    if (stm.vp.state != STM_VP_RUNNING && stm_vp_is_idle())
        st_thread_unpark(stm.vp.main);
}
