/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of client connections: made, counted by state, freed. Freed records are kept for the next
 * connections.
 */
#include <stdlib.h>
#include <unistd.h>

#include "mpm/scoreboard/score.h"
#include "mpm/shared/share.h"
#include "mpm/stm.h"
#include "stiol/server.h"

/* Records are made so many at once, and stay. One by one they would lie between the pools of
 * connections, and no page there could be given back. */
#define RECORDS_AT_ONCE 64

static stm_conn_t *free_records;

/* --- counts by state, for mod_status and the scoreboard --- */

static void publish_to_httpd(void)
{
    const int *count = stm.vp.state_count;
    process_score *score;

    if (!stm_share_holds_seat())
        return; /* a successor has our place */
    score = ap_get_scoreboard_process(stm.vp.ordinal);
    score->connections = (apr_uint32_t)stm.vp.conn_count;
    score->keep_alive = (apr_uint32_t)count[STM_CONN_KEEPALIVE];
    score->write_completion = (apr_uint32_t)count[STM_CONN_WRITING];
    score->lingering_close = (apr_uint32_t)count[STM_CONN_LINGER];
    score->suspended = (apr_uint32_t)count[STM_CONN_SUSPENDED];
    score->wait_io = (apr_uint32_t)(count[STM_CONN_WAITIO] + count[STM_CONN_FIRST_BYTE]);
}

/* At each change, not each turn: a VP may sleep for long after its last one. */
static void publish(void)
{
    const int *count = stm.vp.state_count;
    int answering = stm.vp.answering_count;

    STM_SCORE_SET(stm_score, conns, stm.vp.conn_count);
    STM_SCORE_SET(stm_score, conns_first_byte, count[STM_CONN_FIRST_BYTE]);
    STM_SCORE_SET(stm_score, conns_queued, count[STM_CONN_QUEUED]);
    STM_SCORE_SET(stm_score, conns_reading, count[STM_CONN_SERVING] - answering);
    STM_SCORE_SET(stm_score, conns_writing, answering);
    STM_SCORE_SET(stm_score, conns_flushing, count[STM_CONN_WRITING]);
    STM_SCORE_SET(stm_score, conns_keepalive, count[STM_CONN_KEEPALIVE]);
    STM_SCORE_SET(stm_score, conns_waiting, count[STM_CONN_WAITIO]);
    STM_SCORE_SET(stm_score, conns_suspended, count[STM_CONN_SUSPENDED]);
    STM_SCORE_SET(stm_score, conns_closing, count[STM_CONN_LINGER]);
    publish_to_httpd();
}

/* --- records --- */

static stm_conn_t *take_record(void)
{
    stm_conn_t *conn;

    if (!free_records) {
        conn = calloc(RECORDS_AT_ONCE, sizeof *conn);
        for (int i = 0; conn && i < RECORDS_AT_ONCE; i++, conn++) {
            conn->next = free_records;
            free_records = conn;
        }
    }
    conn = free_records;
    if (!conn)
        return NULL;
    free_records = conn->next;
    memset(conn, 0, sizeof *conn);
    return conn;
}

stm_conn_t *stm_conn_new(stm_listener_t *listener, int fd)
{
    STM_ENTER();
    stm_vp_t *vp = &stm.vp;
    stm_conn_t *conn = take_record();

    if (!conn)
        return NULL;
    conn->fd = fd;
    /* The number may have been another descriptor's that was closed where libst does not see it. */
    st_fd_renew(fd);
    stiol_note_nonblocking(fd);
    conn->listener = listener;
    conn->server = ap_server_conf;
    conn->accepted = st_utime_last_clock();
    conn->serial = vp->serial;
    conn->state = STM_CONN_QUEUED;
    st_watch_init(&conn->watch, fd, 0, stm_conn_ready);
    conn->watch.data = conn;
    conn->next = vp->conns;
    if (conn->next)
        conn->next->prev = conn;
    vp->conns = conn;
    vp->conn_count++;
    vp->state_count[conn->state]++;
    publish();
    return conn;
}

/** Closes the socket, if the record still has it, and forgets the connection. Does not yield. */
void stm_conn_free(stm_conn_t *conn)
{
    STM_ENTER();
    stm_vp_t *vp = &stm.vp;

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
    stm_score_row_gone(conn);
    stm_conn_set_answering(conn, false);
    vp->state_count[conn->state]--;
    vp->conn_count--;
    publish();
    if (conn->next)
        conn->next->prev = conn->prev;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        vp->conns = conn->next;
    conn->next = free_records;
    free_records = conn;
    stm_balance_publish();
    stm_vp_idle_check();
}

void stm_conn_set_state(stm_conn_t *conn, stm_conn_state_e state)
{
    STM_ENTER();
    stm.vp.state_count[conn->state]--;
    stm.vp.state_count[state]++;
    if (state == STM_CONN_QUEUED)
        conn->waited = conn->state;
    conn->state = (unsigned char)state;
    if (state != STM_CONN_SERVING && conn->answering) {
        conn->answering = false;
        stm.vp.answering_count--;
    }
    stm_score_row_state(conn);
    publish();
}

/** Whether the connection's request has been read and is being answered. */
void stm_conn_set_answering(stm_conn_t *conn, bool answering)
{
    STM_ENTER();
    if (conn->answering == answering || (answering && conn->state != STM_CONN_SERVING))
        return;
    conn->answering = answering;
    stm.vp.answering_count += answering ? 1 : -1;
    stm_score_row_state(conn);
    publish();
}
