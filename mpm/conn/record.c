/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of client connections: made, moved from state to state, parked, freed. A connection that
 * waits has no state thread, but a watch on its socket with a time limit; on either event, it is
 * queued for a state thread of its listener. Freed records are kept for later connections.
 */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "mpm/conn/conn.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"
#include "stiol/server.h"
#include "stiol/stiol.h"

/* Records are allocated this many at a time, and stay. Allocated one by one, they would lie between
 * the pools of connections, and no page there could be given back. */
enum { RECORDS_AT_ONCE = 64 };

stm_conns_t stm_conns;

static stm_conn_t *free_records;

static stm_conn_t *take_record(void)
{
    stm_conn_t *conn;

    if (!free_records) {
        conn = calloc(RECORDS_AT_ONCE, sizeof(*conn));
        for (int i = 0; conn && i < RECORDS_AT_ONCE; i++, conn++) {
            conn->next = free_records;
            free_records = conn;
        }
    }
    conn = free_records;
    if (!conn)
        return NULL;
    free_records = conn->next;
    memset(conn, 0, sizeof(*conn));
    return conn;
}

stm_conn_t *stm_conn_new(stm_origin_t *origin, int fd)
{
    stm_conn_t *conn = take_record();

    if (!conn)
        return NULL;
    conn->fd = fd;
    /* The number may have belonged to another descriptor, closed where libst did not see it. */
    st_fd_renew(fd);
    stiol_note_nonblocking(fd);
    conn->origin = origin;
    conn->server = ap_server_conf;
    conn->accepted = st_utime_last_clock();
    conn->serial = stm_conns.accepted;
    conn->state = STM_CONN_QUEUED;
    st_watch_init(&conn->watch, fd, 0, stm_conn_ready);
    conn->watch.data = conn;
    conn->next = stm_conns.first;
    if (conn->next)
        conn->next->prev = conn;
    stm_conns.first = conn;
    stm.vp.connections++;
    stm_conns.in_state[conn->state]++;
    stm_publish_counts();
    return conn;
}

void stm_conn_free(stm_conn_t *conn)
{
    STM_ASSERT(!conn->c && !conn->pool);
    stm_sleep_forget(conn);
    if (conn->state != STM_CONN_LINGER)
        stm_network_forget_early(conn);
    st_watch_free(&conn->watch);
    if (conn->fd >= 0) {
        st_fd_forget(conn->fd);
        stiol_forget_fd(conn->fd); /* which does not see this module's calls */
        close(conn->fd);
    }
    stm_score_row_give(&conn->row);
    stm_conn_set_answering(conn, false);
    stm_conns.in_state[conn->state]--;
    stm.vp.connections--;
    stm_publish_counts();
    if (conn->next)
        conn->next->prev = conn->prev;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        stm_conns.first = conn->next;
    conn->next = free_records;
    free_records = conn;
    stm_share->connections = stm.vp.connections;
    stm_vp_idle_check();
}

void stm_conn_set_state(stm_conn_t *conn, stm_conn_state_e state)
{
    stm_conns.in_state[conn->state]--;
    stm_conns.in_state[state]++;
    if (state == STM_CONN_QUEUED)
        conn->waited = conn->state;
    conn->state = (unsigned char)state;
    if (state != STM_CONN_SERVING && conn->answering) {
        conn->answering = false;
        stm_conns.answering--;
    }
    stm_publish_state(conn);
}

void stm_conn_set_answering(stm_conn_t *conn, bool answering)
{
    if (conn->answering == answering || (answering && conn->state != STM_CONN_SERVING))
        return;
    conn->answering = answering;
    stm_conns.answering += answering ? 1 : -1;
    stm_publish_state(conn);
}

/* --- waiting --- */

static void suspend(stm_conn_t *conn)
{
    if (!conn->c || conn->suspended)
        return;
    ap_run_suspend_connection(conn->c, conn->request);
    conn->c->sbh = NULL;
    conn->suspended = true;
}

void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout)
{
    st_utime_t limit = timeout < 0 ? ST_UTIME_NO_TIMEOUT : (st_utime_t)timeout;
    int ready;

    suspend(conn);
    conn->worker = NULL;
    conn->timed_out = false;
    stm_conn_set_state(conn, state);
    if (state == STM_CONN_SUSPENDED)
        return;
    ready = st_watch_arm(&conn->watch, events, limit);
    if (ready != 0)
        stm_conn_ready(&conn->watch, ready > 0 ? ready : 0);
}

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

void stm_conn_first_byte(stm_conn_t *conn)
{
    stm_conn_park(conn, STM_CONN_FIRST_BYTE, POLLIN | POLLRDHUP, stm_first_byte_timeout());
}

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
