/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of a leaving VP. Idle HTTP/1.1 connections stay until KeepAliveTimeout, since their
 * next request may be on its way; but when the whole server stops, nobody else will answer it, and
 * they end at once. HTTP/2 connections end in both cases. Their protocol has a goodbye: a GOAWAY
 * frame says which requests will be answered, and the client repeats the others elsewhere. Sent
 * while a connection is idle, it costs no request; sent while requests are arriving, it makes
 * mod_http2 give up the connection with all of its streams at the next one. So connections are
 * ended as they become idle, and mod_http2 is told that the VP is stopping only for those that have
 * not been idle for a while.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <http_protocol.h>

#include "mpm/conn/conn.h"

/* How long a connection has to become idle, and, when the server stops, how long a client that has
 * just connected has to ask (us). */
enum {
    PATIENCE = 5000000,
    FIRST_REQUEST = 2000000,
};

static st_utime_t left_at;
static bool server_stops;

static bool says_goodbye(const stm_conn_t *conn)
{
    return conn->c && strcmp(ap_get_protocol(conn->c), AP_PROTOCOL_HTTP1) != 0;
}

/* What has arrived before we hang up is answered. */
static bool has_request(const stm_conn_t *conn)
{
    char byte;

    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* As KeepAliveTimeout would end it. */
static void end_idle(stm_conn_t *conn)
{
    st_watch_disarm(&conn->watch);
    if (conn->asleep) {
        stm_sleep_interrupted(conn, 0);
        return;
    }
    conn->timed_out = true;
    conn->origin->enqueue(conn);
}

static void hurry_first_request(stm_conn_t *conn)
{
    int ready;

    if (conn->delayed)
        return;
    st_watch_disarm(&conn->watch);
    ready = st_watch_arm(&conn->watch, POLLIN | POLLRDHUP, FIRST_REQUEST);
    if (ready != 0)
        stm_conn_ready(&conn->watch, ready > 0 ? ready : 0);
}

static void tell(stm_conn_t *conn)
{
    switch ((stm_conn_state_e)conn->state) {
    case STM_CONN_KEEPALIVE:
        if (server_stops ? !has_request(conn) : says_goodbye(conn))
            end_idle(conn);
        break;
    case STM_CONN_FIRST_BYTE:
        if (server_stops)
            hurry_first_request(conn);
        break;
    case STM_CONN_LINGER:
        stm_linger_hurry(conn);
        break;
    case STM_CONN_QUEUED:
    case STM_CONN_SERVING:
    case STM_CONN_WRITING:
    case STM_CONN_WAITIO:
    case STM_CONN_SUSPENDED:
        break;
    }
}

/* Any of them may be freed when it is told, but no other. */
static void tell_all(void)
{
    for (stm_conn_t *conn = stm_conns.first, *next; conn; conn = next) {
        next = conn->next;
        tell(conn);
    }
}

void stm_goodbye_begin(void)
{
    left_at = st_utime();
    tell_all();
}

void stm_goodbye_for_good(void)
{
    server_stops = true;
    tell_all();
}

bool stm_goodbye_is_due(const stm_conn_t *conn)
{
    if (stm.vp.state != STM_VP_LEAVING)
        return false;
    return server_stops ? !has_request(conn) : says_goodbye(conn);
}

bool stm_goodbye_can_wait(const stm_conn_t *conn)
{
    return stm.vp.state == STM_VP_LEAVING && says_goodbye(conn) && st_utime() - left_at < PATIENCE;
}
