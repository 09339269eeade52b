/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives a restart. httpd unloads and reloads modules on each restart, and with them every
 * static variable, so the master's records of its VPs live in httpd's retained data, and the memory
 * shared with the VPs in its process pool.
 */
#include <sys/mman.h>

#include "stm.h"

#define RETAINED_KEY "mpm_stm_module"

stm_retained_t *stm_retained_get(void)
{
    STM_ENTER();
    stm_retained_t *retained = ap_retained_data_get(RETAINED_KEY);

    if (!retained) {
        retained = ap_retained_data_create(RETAINED_KEY, sizeof *retained);
        retained->mpm = ap_unixd_mpm_get_retained_data();
        for (int i = 0; i < STM_VP_LIMIT; i++)
            retained->seats[i].child.control = -1;
    }
    /* Another MPM ran before this restart: its children are not ours. */
    if (retained->mpm->baton != retained) {
        retained->mpm->was_graceful = 0;
        retained->mpm->baton = retained;
    }
    return retained;
}

bool stm_share_create(stm_retained_t *retained)
{
    STM_ENTER();
    void *memory;

    if (retained->share)
        return true;
    memory =
        mmap(NULL, sizeof(stm_share_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, ap_server_conf,
                     "stm: no memory to share with the virtual processors");
        return false;
    }
    retained->share = memory;
    return true;
}
