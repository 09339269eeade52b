/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With STM_CENSUS in the environment, a VP measures how deeply its state threads' stacks are used,
 * and logs the maximum when it ends, as a guide for choosing StackSize. Called by vp.c; read by
 * bench/census.
 */
#include <stdlib.h>

#include "mpm/accept/accept.h"
#include "mpm/process/process.h"

static bool is_on;

void stm_census_start(void)
{
    is_on = getenv("STM_CENSUS") && st_stack_census(1) >= 0;
}

/* The remaining state threads are measured as they are. */
void stm_census_report(void)
{
    st_stack_stats_t stats;

    if (!is_on)
        return;
    for (const stm_thread_t *thread = stm_accept.threads; thread; thread = thread->next)
        st_thread_stack_used(thread->worker.st);
    st_get_stack_stats(&stats);
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf,
                 STMNO(0036) "VP %d: the deepest stack had %lu bytes in use", stm.vp.ordinal,
                 (unsigned long)stats.deepest);
}
