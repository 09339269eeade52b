/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fair shares of new connections. The kernel wakes one of the VPs that wait for a listening socket,
 * the first in its queue that sleeps, and that one, or one that is quick to accept, could end up
 * with most of the long connections. So each VP publishes how many it has. One above the average
 * goes to the end of the queue; one well above it lets the others accept first, unless they do not.
 * While it has only a few, it does so only in a burst, and only if one of the others is idle.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/shared/share.h"

/* Below this a VP has few connections. */
enum { SMALL = 16 };
/* After a turn longer than this (us), the next turn accepts one more connection for each of these
 * us, up to a maximum. */
enum {
    LONG_TURN = 2000,
    TURN_EACH = 500,
    BATCH = 64,
};

void stm_balance_asleep(int asleep)
{
    stm_share->asleep = asleep;
}

void stm_balance_publish(void)
{
    stm_share->connections = stm.vp.connections;
    stm_share->accepted = (unsigned)stm_conns.accepted;
}

/* What another VP publishes about itself; NULL: it is this one, or there is none. */
static const stm_share_vp_t *another(int ordinal)
{
    return ordinal == stm.vp.ordinal ? NULL : stm_share_holder(ordinal);
}

/* It may say anything: an impossible number counts as 0. */
static long connections_of(const stm_share_vp_t *vp)
{
    int connections = vp->connections;

    return connections > 0 ? connections : 0;
}

/* Whether this VP has more connections than the average of those that accept, by an eighth of that
 * and `margin` more. */
static bool above_average_by(int margin)
{
    long mine = stm.vp.connections, sum = mine, count = 1;

    for (int i = 0; i < stm_config.num_vps; i++) {
        const stm_share_vp_t *other = another(i);

        if (!other || !other->accepting)
            continue;
        sum += connections_of(other);
        count++;
    }
    return mine * count > sum + sum / 8 + count * margin;
}

/* No narrower margin: changing places for each of many short connections would cost more than the
 * better balance gains. */
bool stm_balance_above_average(void)
{
    return above_average_by(1);
}

bool stm_balance_above_share(void)
{
    return stm.vp.connections >= SMALL && above_average_by(SMALL / 4);
}

/* Whether another VP is idle now and has fewer connections. */
static bool another_has_time(void)
{
    for (int i = 0; i < stm_config.num_vps; i++) {
        const stm_share_vp_t *other = another(i);

        if (other && other->accepting && other->asleep &&
            connections_of(other) < stm.vp.connections)
            return true;
    }
    return false;
}

static bool is_burst(const stm_listener_t *listener)
{
    unsigned length, limit;

    return stm_sockets_queue(listener->fd, &length, &limit) && length > 1;
}

/* A single waiting connection is not a burst: the kernel has woken only us for it. For the second
 * of two it has woken another VP. */
bool stm_balance_above_burst_share(const stm_listener_t *listener)
{
    return stm.vp.connections < SMALL && above_average_by(SMALL / 8) && another_has_time() &&
           is_burst(listener);
}

/* Usually one: a batch would take the other VPs' share. But the turns of a busy VP are long, and
 * the hundredth connection in the queue would wait for a hundred of them. */
int stm_balance_batch(bool overdue)
{
    st_utime_t more = stm.vp.last_turn / TURN_EACH;

    if (overdue)
        return BATCH;
    if (stm.vp.connections < SMALL || stm.vp.last_turn < LONG_TURN)
        return 1;
    return more < BATCH ? 1 + (int)more : BATCH;
}

unsigned stm_balance_others_accepted(void)
{
    unsigned sum = 0;

    for (int i = 0; i < stm_config.num_vps; i++) {
        const stm_share_vp_t *other = another(i);

        if (other)
            sum += other->accepted;
    }
    return sum;
}
