/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Caution in a crash loop: clients that asked for what kills VPs have often given up by the time
 * their connection is accepted, and theirs are the oldest in the listen queue. A VP that takes the
 * place of one that a request has killed serves clients that have closed their side after all
 * others: they are answered (a client may close its side and wait), but the one that kills this VP
 * too takes no other client along. Called by conn.c and park.c.
 */
#include <poll.h>

#include "mpm/conn/conn.h"

/* How long a VP is cautious (us, libst's clock), and how long it lets the others go first. */
#define CAUTIOUS 10000000
#define DELAY    500000

static st_utime_t until; /* 0: no reason to be cautious */

/** Requests have killed this VP's predecessors. To be called before it serves. */
void stm_caution_begin(void)
{
    until = st_utime() + CAUTIOUS;
}

static bool client_has_closed(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLRDHUP};

    return poll(&pollfd, 1, 0) > 0;
}

/** Whether the connection, whose first bytes have come, has to let the others go first; if so it is
 * parked here. */
bool stm_caution_delays(stm_conn_t *conn)
{
    if (!until)
        return false;
    if (st_utime_last_clock() > until) {
        until = 0;
        return false;
    }
    if (conn->delayed || !client_has_closed(conn->fd))
        return false;
    conn->delayed = true;
    stm_conn_park(conn, STM_CONN_FIRST_BYTE, 0, DELAY);
    return true;
}

/** The connection is ready. Returns whether it had only been waiting to let others go first. */
bool stm_caution_is_over(stm_conn_t *conn)
{
    bool was_delayed = conn->delayed;

    conn->delayed = false;
    return was_delayed;
}
