/* SPDX-License-Identifier: Apache-2.0 */
/*
 * httpd's hooks on connections and requests: from them, a record knows its request and virtual
 * host, and the scoreboards know the requests.
 */
#include <http_protocol.h>

#include "mpm/conn/auto_move.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/conn/waits.h"
#include "mpm/scoreboard/scoreboard.h"
#include "stiol/stiol.h"

/* --- the connection and its virtual host --- */

/* Secondary connections (HTTP/2 streams) get a connection state of their own. */
int stm_pre_connection(conn_rec *c, void *csd)
{
    (void)csd;
    if (c->master && (!c->cs || c->cs == c->master->cs)) {
        c->cs = apr_pcalloc(c->pool, sizeof(*c->cs));
        c->cs->state = CONN_STATE_PROCESSING;
        c->cs->sense = CONN_SENSE_DEFAULT;
    }
    return OK;
}

/* If the next request has begun by now, it stays. */
static apr_status_t request_gone(void *data)
{
    const request_rec *r = data;
    stm_conn_t *conn = stm_conn_of(r->connection);

    if (conn && conn->state == STM_CONN_SERVING && conn->worker)
        stm_busy_request_gone(conn->worker->busy, r);
    if (conn && conn->request == r)
        conn->request = NULL;
    return APR_SUCCESS;
}

void stm_pre_read_request(request_rec *r, conn_rec *c)
{
    stm_conn_t *conn = stm_conn_of(c);

    if (!stiol_is_carried())
        stm_auto.begun++;
    if (!conn)
        return;
    conn->request = r;
    conn->server = ap_server_conf;
    apr_pool_cleanup_register(r->pool, r, request_gone, apr_pool_cleanup_null);
}

/* KeepAliveTimeout is the virtual host's if it sets one, else that of the first one on this
 * address, as in other MPMs. */
static int note_server(request_rec *r)
{
    stm_conn_t *conn = stm_conn_of(r->connection);

    if (conn)
        conn->server = r->server->keep_alive_timeout_set ? r->server : r->connection->base_server;
#ifdef USE_ST_TIME
    r->request_time = apr_time_from_sec(st_time());
#endif
    return OK;
}

int stm_post_read_request(request_rec *r)
{
    return stm_kernel_hook(note_server, r);
}

int stm_protocol_switch(conn_rec *c, request_rec *r, server_rec *s, const char *protocol)
{
    stm_conn_t *conn = stm_conn_of(c);

    (void)protocol;
    if (!r && s && conn)
        conn->server = s;
    return DECLINED;
}

/* --- the scoreboards --- */

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
        stm_publish_row(conn);
    if (conn && conn->worker)
        stm_busy_connection(conn->worker->busy, c);
    return OK;
}

static void request_begins(request_rec *r, conn_rec *c)
{
    stm_conn_t *conn = c->master ? NULL : stm_conn_of(c);

    if (!conn)
        return;
    stm_conn_set_answering(conn, false);
    if (!conn->worker || !conn->worker->busy || stiol_is_carried())
        return;
    stm_busy_request(conn->worker->busy);
    if (stm_conns.times_wanted)
        stm_times_begin(r, conn, conn->worker->busy);
}

/* An HTTP/2 stream, on a thread of mod_http2's. */
static void stream_begins(request_rec *r)
{
    stm_busy_t *busy = stm_busy_stream(r);

    if (busy && stm_conns.times_wanted)
        stm_times_begin(r, NULL, busy);
}

static int note_request(request_rec *r)
{
    stm_conn_t *conn = client_of(r->connection);

    if (conn) {
        stm_conn_set_answering(conn, true);
        stm_score_row_request(conn->row, r);
        if (!r->connection->master && !r->prev && conn->worker && conn->worker->busy)
            stm_busy_request_read(conn->worker->busy, r);
    }
    return DECLINED;
}

static int request_read(request_rec *r)
{
    /* An internal redirect is part of the request that it began as. */
    if (r->connection->master && !r->prev && st_vp_self() == stm.vp.scheduler)
        stream_begins(r);
    return stm_kernel_hook(note_request, r);
}

static int count_request(request_rec *r)
{
    stm_conn_t *conn = client_of(r->connection);
    const request_rec *last = r;

    while (last->next) /* internal redirects */
        last = last->next;
    stm_score_request(last->status, last->bytes_sent);
    if (stm_conns.times_wanted)
        stm_times_note(r);
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
