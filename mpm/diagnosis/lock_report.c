/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug builds: reports who parked while holding a lock. That is not an error in itself, since
 * locks are owned by state threads, but everyone else who wants the lock waits that long. STIOL
 * reports it at the unlock.
 */
#include <dlfcn.h>

#include "mpm/diagnosis/diagnosis.h"

#ifdef STM_DEBUG

static const char *place(const void *address, Dl_info *info)
{
    return dladdr(address, info) && info->dli_sname ? info->dli_sname : "?";
}

static const char *object(const Dl_info *info)
{
    const char *slash = info->dli_fname ? strrchr(info->dli_fname, '/') : NULL;

    return slash ? slash + 1 : "?";
}

static void report(const stiol_lock_report_t *lock)
{
    Dl_info info = {0};
    const char *function = place(lock->caller, &info);

    ap_log_error(
        APLOG_MARK, APLOG_DEBUG, 0, ap_server_conf,
        STMNO(0029) "state thread %pp parked %lu times while it held the %s %pp for %lu us, taken "
                    "in %s (%s)",
        (void *)lock->thread, lock->parks, lock->kind, lock->lock, (unsigned long)lock->held,
        function, object(&info));
}

stm_lock_report_fn stm_lock_report(void)
{
    return report;
}

#else

stm_lock_report_fn stm_lock_report(void)
{
    return NULL;
}
#endif
