/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connections of a VP that leaves. Their protocol has a goodbye: a GOAWAY frame says which
 * requests will be answered, and the client repeats the others elsewhere. Said while a connection
 * is idle it costs nobody a request; said while requests arrive, mod_http2 gives up the connection
 * with all of its streams at the next one. So connections are ended as they become idle, and
 * mod_http2 learns that the VP stops only about those that have not been idle for a while.
 */
#include <string.h>

#include <http_protocol.h>

#include "mpm/conn/conn.h"

/* How long a connection has to become idle, us. */
enum { PATIENCE = 5000000 };

static st_utime_t left_at;

static bool says_goodbye(const stm_conn_t *conn)
{
    return conn->c && strcmp(ap_get_protocol(conn->c), AP_PROTOCOL_HTTP1) != 0;
}

void stm_goodbye_begin(void)
{
    left_at = st_utime();
    for (stm_conn_t *conn = stm_conns.first; conn; conn = conn->next) {
        if (conn->state != STM_CONN_KEEPALIVE || !says_goodbye(conn))
            continue;
        st_watch_disarm(&conn->watch);
        conn->timed_out = true; /* as KeepAliveTimeout would end it */
        conn->origin->enqueue(conn);
    }
}

bool stm_goodbye_is_due(const stm_conn_t *conn)
{
    return stm.vp.state == STM_VP_LEAVING && says_goodbye(conn);
}

bool stm_goodbye_can_wait(const stm_conn_t *conn)
{
    return stm_goodbye_is_due(conn) && st_utime() - left_at < PATIENCE;
}
