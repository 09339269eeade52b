/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing a connection: our side first, then what the client still sends is read and dropped until
 * its FIN, or for a while. httpd's part of the connection (its pool, TLS, filters) is freed before
 * that wait: only the record and the socket stay.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <apr_tables.h>

#include "mpm/conn/conn.h"

/* httpd's own numbers (server/connection.c). */
enum {
    LINGER_SECONDS = 30,
    SHORT_LINGER_SECONDS = 2,
    /* Maximum number of reads in one turn, so that a client that keeps sending does not hold the
     * VP. */
    READS_A_TURN = 16,
    PAUSE = 1000, /* us */
};

apr_pool_t *stm_conn_detach(stm_conn_t *conn)
{
    apr_pool_t *pool = conn->pool;
    apr_os_sock_t none = -1;

    /* By now there is no socket for httpd to close with the pool. */
    apr_os_sock_put(&conn->socket, &none, pool);
    conn->socket = NULL;
    stm_sleep_unwatch(conn);
    conn->c = NULL;
    conn->pool = NULL;
    conn->sbh = NULL;
    return pool;
}

static void drop_httpd_part(stm_conn_t *conn)
{
    stm_pool_put(stm_conn_detach(conn));
}

static bool still_lingering(stm_conn_t *conn)
{
    return stm.vp.state != STM_VP_STOPPING && st_utime_last_clock() < conn->linger_until;
}

/* Reads and drops. True: the client may send more. */
static bool drain(stm_conn_t *conn, bool *more)
{
    *more = false;
    for (int i = 0; i < READS_A_TURN; i++) {
        /* For TCP, MSG_TRUNC drops the data without copying it. */
        ssize_t n = recv(conn->fd, NULL, 1 << 20, MSG_DONTWAIT | MSG_TRUNC);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (n < 0 && errno == EAGAIN) {
            st_fd_again(conn->fd, POLLIN);
            return true;
        }
    }
    *more = true;
    return true;
}

/* --- a first look --- */

/* Clients on this machine or network close as soon as they have the response. So it pays to check
 * once, a little later, before epoll is asked to watch the socket, as long as that succeeds for
 * most; if not, every LOOK_EVERYth connection finds out whether it does now. */
enum {
    LOOK_AFTER = 10000, /* us; clients under load take a few ms */
    LOOK_EVERY = 32,
    LUCK_MOST = 8,
};

static int luck = 1, not_looked;

static bool worth_a_look(const stm_conn_t *conn)
{
    if ((st_fd_ready(conn->fd) & POLLERR) == 0) /* libst watches it; otherwise: POLLERR */
        return false;
    if (luck > 0)
        return true;
    if (++not_looked < LOOK_EVERY)
        return false;
    not_looked = 0;
    return true;
}

/* fd -1: only the time limit. */
static void set_watch(stm_conn_t *conn, int fd)
{
    st_watch_free(&conn->watch);
    st_watch_init(&conn->watch, fd, 0, stm_conn_ready);
    conn->watch.data = conn;
}

static int look_later(stm_conn_t *conn)
{
    conn->looking = true;
    set_watch(conn, -1);
    return st_watch_arm(&conn->watch, 0, LOOK_AFTER);
}

/* Whether the client has closed. */
static bool look(stm_conn_t *conn)
{
    bool more, closed = !drain(conn, &more);

    conn->looking = false;
    set_watch(conn, conn->fd);
    if (closed && luck < LUCK_MOST)
        luck++;
    else if (!closed && luck > -LUCK_MOST)
        luck--;
    return closed;
}

/* --- waiting --- */

void stm_linger_continue(stm_conn_t *conn, int ready)
{
    bool more = true;

    if (conn->looking && look(conn)) {
        stm_conn_free(conn);
        return;
    }
    for (;;) {
        st_utime_t now;

        if (!still_lingering(conn) || (ready && !drain(conn, &more))) {
            stm_conn_free(conn);
            return;
        }
        now = st_utime_last_clock();
        if (more && ready)
            ready = st_watch_arm(&conn->watch, 0, PAUSE); /* the others' turn */
        else
            ready = st_watch_arm(&conn->watch, POLLIN | POLLRDHUP, conn->linger_until - now);
        if (ready <= 0)
            break;
    }
    if (ready < 0)
        stm_conn_free(conn);
}

void stm_linger_hurry(stm_conn_t *conn)
{
    st_utime_t limit = (st_utime_t)SHORT_LINGER_SECONDS * 1000000, until = st_utime() + limit;
    int ready;

    if (conn->linger_until <= until)
        return;
    conn->linger_until = until;
    if (conn->looking) /* and continues from there */
        return;
    st_watch_disarm(&conn->watch);
    ready = st_watch_arm(&conn->watch, POLLIN | POLLRDHUP, limit);
    if (ready < 0)
        stm_conn_free(conn);
    else if (ready > 0)
        stm_linger_continue(conn, ready);
}

/* Our side is closed. `gone`: there is nobody to wait for. */
static void linger(stm_conn_t *conn, bool gone, int seconds)
{
    int ready;

    stm_network_forget_early(conn);
    stm_conn_set_state(conn, STM_CONN_LINGER);
    if (gone || stm.vp.state == STM_VP_STOPPING) {
        stm_conn_free(conn);
        return;
    }
    /* Decided here: what has come before may have yielded, and the VP may leave by now. */
    if (stm.vp.state != STM_VP_RUNNING)
        seconds = SHORT_LINGER_SECONDS;
    /* The VP's clock may be as old as the handler was long. */
    conn->linger_until = st_utime() + (st_utime_t)seconds * 1000000;
    if (worth_a_look(conn))
        ready = look_later(conn);
    else
        ready = st_watch_arm(&conn->watch, POLLIN | POLLRDHUP, (st_utime_t)seconds * 1000000);
    if (ready < 0)
        stm_conn_free(conn);
    else if (ready > 0)
        stm_linger_continue(conn, ready);
}

/* Tells the client that nothing more follows, unless that has been done. True: there is nobody to
 * wait for. */
static bool say_goodbye(stm_conn_t *conn)
{
    if (ap_prep_lingering_close(conn->c))
        return true;
    ap_flush_conn(conn->c);
    return conn->c->aborted ||
           (!conn->ended && apr_socket_shutdown(conn->socket, APR_SHUTDOWN_WRITE) != APR_SUCCESS);
}

void stm_linger_start(stm_conn_t *conn)
{
    int seconds = LINGER_SECONDS;
    bool gone;

    apr_socket_timeout_set(conn->socket, apr_time_from_sec(SHORT_LINGER_SECONDS));
    gone = say_goodbye(conn);
    if (apr_table_get(conn->c->notes, "short-lingering-close"))
        seconds = SHORT_LINGER_SECONDS;
    ap_run_suspend_connection(conn->c, conn->request);
    drop_httpd_part(conn);

    conn->worker = NULL;
    linger(conn, gone, seconds);
}

void stm_linger_asleep(stm_conn_t *conn)
{
    bool gone = shutdown(conn->fd, SHUT_WR) != 0;

    linger(conn, gone, LINGER_SECONDS);
}

void stm_conn_abandon(stm_conn_t *conn)
{
    if (conn->pool)
        drop_httpd_part(conn);
    conn->worker = NULL;
    stm_conn_free(conn);
}
