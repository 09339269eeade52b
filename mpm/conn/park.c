/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection waits without a state thread: a watch on its socket with a time limit. When one of
 * the two comes, it lines up for a state thread of its listener.
 */
#include <poll.h>

#include "mpm/conn/conn.h"

static st_utime_t microseconds(apr_interval_time_t timeout)
{
    return timeout < 0 ? ST_UTIME_NO_TIMEOUT : (st_utime_t)timeout;
}

static void suspend(stm_conn_t *conn)
{
    if (!conn->c || conn->suspended)
        return;
    ap_run_suspend_connection(conn->c, conn->request);
    conn->c->sbh = NULL;
    conn->suspended = true;
}

/**
 * Lets the connection wait in that state for those events, at most so long (us, negative: for
 * ever). Its state thread goes on to other work.
 */
void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout)
{
    int ready;

    suspend(conn);
    conn->worker = NULL;
    conn->timed_out = false;
    stm_conn_set_state(conn, state);
    if (state == STM_CONN_SUSPENDED)
        return;
    ready = st_watch_arm(&conn->watch, events, microseconds(timeout));
    if (ready != 0)
        stm_conn_ready(&conn->watch, ready > 0 ? ready : 0);
}

/** The watch's callback: ready is 0 when the time limit has passed (or nothing could be watched).
 */
void stm_conn_ready(st_watch_t *watch, int ready)
{
    stm_conn_t *conn = watch->data;

    if (conn->state == STM_CONN_LINGER) {
        stm_linger_continue(conn, ready);
        return;
    }
    if (conn->asleep && stm_sleep_interrupted(conn, ready))
        return;
    if (conn->state == STM_CONN_FIRST_BYTE && ready != 0 && stm_caution_delays(conn))
        return;
    conn->timed_out = ready == 0 && !stm_caution_is_over(conn);
    conn->origin->enqueue(conn);
}

/** Waits for the first byte of a new connection. */
void stm_conn_first_byte(stm_conn_t *conn)
{
    stm_conn_park(conn, STM_CONN_FIRST_BYTE, POLLIN | POLLRDHUP, stm_first_byte_timeout());
}

/** A timed callback has run: connections that it gave back to the MPM go on. */
void stm_suspended_resume(void)
{
    stm_conn_t *conn, *next;

    if (!stm_conns.in_state[STM_CONN_SUSPENDED])
        return;
    for (conn = stm_conns.first; conn; conn = next) {
        next = conn->next;
        if (conn->state == STM_CONN_SUSPENDED && conn->cs.state != CONN_STATE_SUSPENDED)
            conn->origin->enqueue(conn);
    }
}
