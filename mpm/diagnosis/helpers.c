/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs that there are not enough helper kernel threads: HelperThreads has been reached, or the
 * system provides none. Each is logged once in a VP's life, as httpd does for its workers.
 */
#include "mpm/config/config.h"
#include "mpm/diagnosis/diagnosis.h"
#include "stiol/stiol.h"

static void report_limit(void)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                 "stm: VP %d has reached HelperThreads (%d): look-ups, file calls and the like "
                 "are queued; consider raising it",
                 stm.vp.ordinal, stm_config.helper_threads);
}

static void report_refusal(int error, int threads)
{
    ap_log_error(
        APLOG_MARK, APLOG_ERR, error, ap_server_conf,
        "stm: VP %d cannot start a helper kernel thread in addition to its %d (HelperThreads "
        "%d): calls are queued; raise the system's limits, or lower HelperThreads",
        stm.vp.ordinal, threads, stm_config.helper_threads);
}

void stm_helpers_report(void)
{
    static bool reported_limit, reported_refusal;
    stiol_helpers_t helpers;

    stiol_get_helpers(&helpers);
    if (helpers.full > 0 && !reported_limit) {
        reported_limit = true;
        report_limit();
    }
    if (helpers.error != 0 && !reported_refusal) {
        reported_refusal = true;
        report_refusal(helpers.error, helpers.threads);
    }
}
