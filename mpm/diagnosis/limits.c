/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs that a limit of this VP makes requests wait: MaxThreads, KernelThreads or HelperThreads has
 * been reached, or the system refuses helper threads. Each is logged once, as httpd does for
 * MaxRequestWorkers, and again only after the VP has been well below the limit in between. Called
 * by vp.c with each heartbeat.
 */
#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/diagnosis/diagnosis.h"
#include "stiol/stiol.h"

/* How many heartbeats in a row must find the VP well below a limit before reaching it is news. The
 * number doubles each time, so that a load that swings around the limit does not fill the log. */
enum { FIRST_CALM = 2, LONGEST_CALM = 64 };

typedef struct {
    unsigned long long hits; /* as of the last heartbeat */
    bool reported;
    int calm, calm_wanted; /* heartbeats */
} limit_t;

static bool well_below(long used, long limit)
{
    return used <= limit - (limit + 3) / 4;
}

/* Whether to log that the limit has been reached. `hits` counts the waits so far. */
static bool is_news(limit_t *limit, unsigned long long hits, bool below)
{
    bool hit = hits != limit->hits;

    limit->hits = hits;
    if (hit || !below)
        limit->calm = 0;
    else if (limit->reported && ++limit->calm >= limit->calm_wanted)
        limit->reported = false;
    if (!hit || limit->reported)
        return false;
    limit->reported = true;
    limit->calm_wanted = limit->calm_wanted ? limit->calm_wanted * 2 : FIRST_CALM;
    if (limit->calm_wanted > LONGEST_CALM)
        limit->calm_wanted = LONGEST_CALM;
    return true;
}

static void report_threads(void)
{
    static limit_t limit;
    int most = stm_config.max_threads;

    if (is_news(&limit, stm_accept.full,
                well_below(stm.vp.threads - stm_accept.idle_threads, most)))
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     STMNO(0022) "VP %d has reached MaxThreads (%d): new connections wait; "
                                 "consider raising it",
                     stm.vp.ordinal, most);
}

static void report_kernel_threads(void)
{
    static limit_t limit;
    stiol_carriers_t carriers;
    int most = stm_config.kernel_threads;

    stiol_get_carriers(&carriers);
    if (is_news(&limit, carriers.full, well_below((long)carriers.busy + carriers.waiting, most)))
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     STMNO(0098) "VP %d has reached KernelThreads (%d): requests that need a "
                                 "kernel thread are queued; consider raising it",
                     stm.vp.ordinal, most);
}

static void report_helpers(const stiol_helpers_t *helpers)
{
    static limit_t limit;
    int most = stm_config.helper_threads;
    int waiting = helpers->names_waiting + helpers->files_waiting + helpers->others_waiting;

    if (is_news(&limit, helpers->full, waiting == 0 && well_below(helpers->busy, most)))
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     STMNO(0027) "VP %d has reached HelperThreads (%d): look-ups, file calls and "
                                 "the like are queued; consider raising it",
                     stm.vp.ordinal, most);
}

/* Logged only once in a VP's life: there is no way to tell whether the system would now agree. */
static void report_refusal(const stiol_helpers_t *helpers)
{
    static bool reported;

    if (helpers->error == 0 || reported)
        return;
    reported = true;
    ap_log_error(APLOG_MARK, APLOG_ERR, helpers->error, ap_server_conf,
                 STMNO(0028) "VP %d cannot start a helper kernel thread in addition to its %d "
                             "(HelperThreads %d): calls are queued; raise the system's limits, or "
                             "lower HelperThreads",
                 stm.vp.ordinal, helpers->threads, stm_config.helper_threads);
}

void stm_limits_report(void)
{
    stiol_helpers_t helpers;

    stiol_get_helpers(&helpers);
    report_threads();
    report_kernel_threads();
    report_helpers(&helpers);
    report_refusal(&helpers);
}
