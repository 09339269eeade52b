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

/* A VP beside the others that accept. */
typedef struct comparison {
    long mine, sum; /* connections: this VP's; of all, this one included */
    int count;      /* VPs */
} comparison_t;

static comparison_t compare(void)
{
    const stm_share_t *share = stm.retained->share;
    comparison_t found = {stm.vp.conn_count, stm.vp.conn_count, 1};

    for (int i = 0; i < stm.config.num_vps; i++) {
        const stm_share_vp_t *other = &share->vp[i];

        if (i == stm.vp.ordinal || !other->pid || !other->accepting)
            continue;
        found.sum += other->connections;
        found.count++;
    }
    return found;
}

/** Whether this VP has somewhat more connections than the average of those that accept. Not any
 * more: to change places for each of many short connections costs more than it levels. */
bool stm_balance_above_average(void)
{
    STM_ENTER();
    comparison_t now = compare();

    return now.mine * now.count > now.sum + now.sum / 8 + now.count;
}

/** Whether it has well more than that. */
bool stm_balance_above_share(void)
{
    STM_ENTER();
    comparison_t now;

    if (stm.vp.conn_count < SMALL)
        return false;
    now = compare();
    return now.mine * now.count > now.sum + now.sum / 8 + (long)now.count * SMALL / 4;
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
