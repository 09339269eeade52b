/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fair shares of new connections. The kernel wakes one of the VPs that wait for a listening socket,
 * the first in its queue that sleeps, and that one, or one that is quick to accept, could end up
 * with most long connections. So each VP publishes how many it has. One above the average goes to
 * the queue's end; one well above it lets the others accept first, unless they do not.
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

/* Whether this VP has more connections than the average of those that accept, by an eighth of it
 * and so many more. */
static bool above_average_by(int margin)
{
    const stm_share_t *share = stm.retained->share;
    long mine = stm.vp.conn_count, sum = mine, count = 1;

    for (int i = 0; i < stm.config.num_vps; i++) {
        const stm_share_vp_t *other = &share->vp[i];

        if (i == stm.vp.ordinal || !other->pid || !other->accepting)
            continue;
        sum += other->connections;
        count++;
    }
    return mine * count > sum + sum / 8 + count * margin;
}

/** Whether this VP has somewhat more connections than the average of those that accept. Not any
 * more: to change places for each of many short connections costs more than it levels. */
bool stm_balance_above_average(void)
{
    STM_ENTER();
    return above_average_by(1);
}

/** Whether it has well more than that. */
bool stm_balance_above_share(void)
{
    STM_ENTER();
    return stm.vp.conn_count >= SMALL && above_average_by(SMALL / 4);
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
