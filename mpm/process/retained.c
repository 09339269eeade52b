/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives a restart. httpd unloads and reloads modules on each restart, and with them every
 * static variable, so the master's records of its VPs live in httpd's retained data.
 */
#include "mpm/process/process.h"

#define RETAINED_KEY "mpm_stm_module"

/* httpd's scoreboard is created only once, perhaps by another MPM or another build of this one: it
 * will never have more room than it had then. */
static void measure_scoreboard(stm_retained_t *retained)
{
    if (!ap_scoreboard_image)
        return;
    while (ap_get_scoreboard_process(retained->limits.seats) &&
           retained->limits.seats < STM_VP_LIMIT)
        retained->limits.seats++;
    while (ap_get_scoreboard_worker_from_indexes(0, retained->limits.slots))
        retained->limits.slots++;
    /* Fewer columns than there may be threads were made by an earlier build of this module; they do
     * not limit MaxThreads. */
    if (retained->limits.slots + 1 <= STM_SLOTS_ALL / retained->limits.seats)
        retained->limits.threads = retained->limits.slots;
}

static stm_retained_t *make_retained(void)
{
    stm_retained_t *retained = ap_calloc(1, sizeof(*retained));

    for (int i = 0; i < STM_VP_LIMIT; i++)
        retained->seats[i].child.control = -1;
    measure_scoreboard(retained);
    return retained;
}

/* httpd keeps only the stamp, because it never frees what it keeps. */
static stm_retained_t *replace(stm_stamp_t *stamp)
{
    stm_retained_t *retained = make_retained();

    if (!stamp || !stm_stamp_take_over(retained, stamp))
        stamp = ap_retained_data_create(RETAINED_KEY, sizeof(*stamp));
    stm_stamp_put(retained, stamp);
    return retained;
}

stm_retained_t *stm_retained_get(void)
{
    stm_stamp_t *stamp = ap_retained_data_get(RETAINED_KEY);
    ap_unixd_mpm_retained_data *mpm;
    stm_retained_t *retained;

    if (stamp && stm_stamp_fits(stamp)) {
        retained = stamp->data;
        stm_stamp_forget(stamp);
    } else {
        retained = replace(stamp);
    }
    /* Another MPM, or another build, ran before this restart: its memory is not ours. */
    mpm = ap_unixd_mpm_get_retained_data();
    if (mpm->baton != retained) {
        mpm->was_graceful = 0;
        mpm->baton = retained;
    }
    return retained;
}
