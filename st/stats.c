/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VP's statistics. They are counted where things happen; this file only reports them.
 */
#include <string.h>

#include "st/st_internal.h"

void st_get_stats(st_stats_t *stats)
{
    const struct st_vp *vp = st__vp;

    if (!vp) {
        memset(stats, 0, sizeof(*stats));
        return;
    }
    *stats = vp->stats;
    stats->switches = st__switches(vp);
    stats->runq = st__runq_count(vp) + vp->last_count;
}

unsigned long long st_switch_count(void)
{
    return st__vp ? st__switches(st__vp) : 0;
}
