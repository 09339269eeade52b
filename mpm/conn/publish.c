/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scoreboards, httpd's and ours, show of connections: how many are in which state, their
 * rows, and their requests. Called by record.c; the rest are hooks.
 */
#include <http_protocol.h>

#include "mpm/conn/conn.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"

/* --- counts by state --- */

static void publish_to_httpd(void)
{
    const int *count = stm_conns.in_state;
    process_score *score;

    if (!stm_share_holds_seat())
        return; /* a successor has our seat */
    score = ap_get_scoreboard_process(stm.vp.ordinal);
    score->connections = (apr_uint32_t)stm.vp.connections;
    score->keep_alive = (apr_uint32_t)count[STM_CONN_KEEPALIVE];
    score->write_completion = (apr_uint32_t)count[STM_CONN_WRITING];
    score->lingering_close = (apr_uint32_t)count[STM_CONN_LINGER];
    score->suspended = (apr_uint32_t)count[STM_CONN_SUSPENDED];
    score->wait_io = (apr_uint32_t)(count[STM_CONN_WAITIO] + count[STM_CONN_FIRST_BYTE]);
}

/* At each change, not each turn: a VP may sleep for a long time after its last turn. */
void stm_publish_counts(void)
{
    const int *count = stm_conns.in_state;
    int answering = stm_conns.answering;

    STM_SCORE_SET(stm_score, conns, stm.vp.connections);
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

/* --- rows --- */

static const char *label(const stm_conn_t *conn)
{
    switch ((stm_conn_state_e)conn->state) {
    case STM_CONN_FIRST_BYTE:
        return "Waiting";
    case STM_CONN_QUEUED:
        return "Queued";
    case STM_CONN_SERVING:
        if (conn->worker && conn->worker->kernel)
            return "Kernel";
        return conn->answering ? "Writing" : "Reading";
    case STM_CONN_KEEPALIVE:
        return "Keepalive";
    case STM_CONN_WRITING:
        return "Writing";
    case STM_CONN_WAITIO:
        return "Waiting";
    case STM_CONN_SUSPENDED:
        return "Suspended";
    case STM_CONN_LINGER:
        return "Closing";
    }
    return "";
}

static void take_row(stm_conn_t *conn)
{
    if (stm_score_keeps_rows() && !conn->row)
        stm_score_row_take(&conn->row, conn->serial, conn->c->client_ip,
                           st_utime() - conn->accepted);
}

void stm_publish_state(stm_conn_t *conn)
{
    bool busy = conn->state == STM_CONN_SERVING;

    if (busy && conn->c)
        take_row(conn); /* it may have had to give its row away */
    if (conn->row)
        stm_score_row_status(conn->row, busy, label(conn));
    stm_publish_counts();
}

/* --- hooks --- */

/* HTTP/2's requests arrive on secondary connections. */
static stm_conn_t *client_of(const conn_rec *c)
{
    return stm_conn_of(c->master ? c->master : c);
}

static int connection_made(conn_rec *c, void *csd)
{
    stm_conn_t *conn = c->master ? NULL : stm_conn_of(c);

    (void)csd;
    if (conn)
        take_row(conn);
    return OK;
}

static void request_begins(request_rec *r, conn_rec *c)
{
    stm_conn_t *conn = c->master ? NULL : stm_conn_of(c);

    (void)r;
    if (conn)
        stm_conn_set_answering(conn, false);
}

static int note_request(request_rec *r)
{
    stm_conn_t *conn = client_of(r->connection);

    if (conn) {
        stm_conn_set_answering(conn, true);
        stm_score_row_request(conn->row, r);
    }
    return DECLINED;
}

static int request_read(request_rec *r)
{
    return stm_kernel_hook(note_request, r);
}

static int count_request(request_rec *r)
{
    stm_conn_t *conn = client_of(r->connection);
    const request_rec *last = r;

    while (last->next) /* internal redirects */
        last = last->next;
    stm_score_request(last->status, last->bytes_sent);
    if (conn)
        stm_score_row_sent(conn->row, last->bytes_sent);
    return OK;
}

static int request_done(request_rec *r)
{
    return stm_kernel_hook(count_request, r);
}

void stm_publish_register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_pre_connection(connection_made, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_read_request(request_begins, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(request_read, NULL, NULL, APR_HOOK_LAST);
    ap_hook_log_transaction(request_done, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
