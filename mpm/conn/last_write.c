/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a connection goes out with its last bytes: response and FIN in one segment, so that
 * the client hears of both at once. conn.c calls it where it sends what is left of a response.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "mpm/conn/conn.h"
#include "stiol/server.h"

/* Whose last bytes are on their way, NULL: nobody's. Should another one come in between (a state
 * thread may wait inside of the core's filter), the first ends as any other connection does. */
static stm_conn_t *ending;

/* Nothing is written after the response: no other request, no filter that has a word at the end. */
static bool is_last(const stm_conn_t *conn)
{
    const conn_rec *c = conn->c;

    return c->keepalive != AP_CONN_KEEPALIVE && !c->aborted && conn->request &&
           conn->cs.sense == CONN_SENSE_DEFAULT && stm_output_is_quiet(c);
}

static void begin(stm_conn_t *conn)
{
    ending = conn;
    stiol_expect_more(conn->fd);
}

/* Sends what the kernel has held back, as TCP_NODELAY does each time that it is set. */
static void push(const stm_conn_t *conn)
{
    const int on = 1;

    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void end(stm_conn_t *conn)
{
    if (ending == conn) {
        ending = NULL;
        stiol_expect_more(-1);
    }
    if (!conn->ended && conn->c->data_in_output_filters)
        push(conn);
}

/** Passes nothing but a flush to the core's output filter: `flush` does. If that sends all that
 * there is, and it is the last, our side of the connection is closed with it. */
apr_status_t stm_last_write(stm_conn_t *conn, apr_status_t (*flush)(conn_rec *c))
{
    apr_status_t rv;

    if (!is_last(conn))
        return flush(conn->c);
    begin(conn);
    rv = flush(conn->c);
    end(conn);
    return rv;
}

/** Hook: the core's filter destroys the response's EOR bucket, so it has sent all before that. The
 * log, and the cleanups of the request's pool, come after the FIN. */
int stm_last_write_done(request_rec *r)
{
    stm_conn_t *conn = ending;

    if (conn && conn->request == r && !r->connection->aborted) {
        ending = NULL;
        stiol_expect_more(-1);
        conn->ended = shutdown(conn->fd, SHUT_WR) == 0;
    }
    return DECLINED;
}
