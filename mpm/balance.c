/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fair shares of new connections. The kernel wakes one of the VPs that wait for a listening socket,
 * and a VP that is quick to accept could end up with most long connections. So each VP publishes
 * how many it has, and one well above the average lets the others accept first, unless they do not.
 */
#include "stm.h"

/* Below this many connections a VP is never held back. */
#define SMALL 16

void stm_balance_publish(void)
{
    STM_ENTER();
    stm_share_vp_t *mine = &stm.retained->share->vp[stm.vp.ordinal];

    if (mine->pid != stm.vp.pid)
        return; /* a successor has our line */
    mine->connections = stm.vp.conn_count;
    mine->accepted = (unsigned)stm.vp.serial;
}

/** Whether this VP has well more connections than the average of those that accept. */
bool stm_balance_above_share(void)
{
    STM_ENTER();
    const stm_share_t *share = stm.retained->share;
    int mine = stm.vp.conn_count, sum = mine, count = 1;

    if (mine < SMALL)
        return false;
    for (int i = 0; i < stm.config.num_vps; i++) {
        const stm_share_vp_t *other = &share->vp[i];

        if (i == stm.vp.ordinal || !other->pid || !other->accepting)
            continue;
        sum += other->connections;
        count++;
    }
    return (long)mine * count > sum + sum / 8 + (long)count * SMALL / 4;
}

/** Connections that the other VPs have accepted so far, modulo 2^32: whether it moves is what
 * counts. */
unsigned stm_balance_others_accepted(void)
{
    STM_ENTER();
    unsigned sum = 0;

    for (int i = 0; i < stm.config.num_vps; i++) {
        if (i != stm.vp.ordinal)
            sum += stm.retained->share->vp[i].accepted;
    }
    return sum;
}
