/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives a restart. httpd unloads and reloads modules on each restart, and with them every
 * static variable, so the master's records of its VPs live in httpd's retained data.
 */
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
