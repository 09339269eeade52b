/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client connection on a state thread: born at its first byte, taken through httpd's connection
 * states, parked where it waits. The states are those that event documents for process_connection
 * hooks; parking does not occupy a thread.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <apr_portable.h>
#include <apr_tables.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_vhost.h>

#include "mpm/config/config.h"
#include "mpm/conn/auto_move.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/conn/waits.h"
#include "stiol/server.h"
#include "stiol/stiol.h"

/* What the connection does next. */
typedef enum { GO_ON, PARKED, CLOSE } step_e;

static bool has_bytes(stm_conn_t *conn);
static step_e wake_step(stm_conn_t *conn, stm_conn_state_e waited);
static step_e process(stm_conn_t *conn);
static step_e next_step(stm_conn_t *conn);
static step_e complete_writing(stm_conn_t *conn);
static step_e keep_alive(stm_conn_t *conn);
static void park_for_io(stm_conn_t *conn, stm_conn_state_e state, conn_sense_e usual);
static bool begin(stm_conn_t *conn, stm_worker_t *worker);
static apr_status_t make_socket(stm_conn_t *conn);
static apr_status_t make_socket_of_listener(stm_conn_t *conn);
static long next_id(void);
static apr_bucket_alloc_t *bucket_alloc_of(const stm_conn_t *conn);
static void resume(stm_conn_t *conn, stm_worker_t *worker);
static ap_sb_handle_t *place_on_scoreboard(stm_conn_t *conn, const stm_worker_t *worker);
static apr_thread_t *thread_of(const stm_conn_t *conn, const stm_worker_t *worker);
static apr_status_t write_rest(stm_conn_t *conn);
static bool is_last(const stm_conn_t *conn);
static apr_status_t flush(conn_rec *c);
static void end(stm_conn_t *conn);
static void abandon(stm_conn_t *conn);

stm_conn_t *stm_conn_of(const conn_rec *c)
{
    return c->conn_config ? ap_get_module_config(c->conn_config, &mpm_stm_module) : NULL;
}

/* --- just accepted --- */

void stm_conn_accepted(stm_origin_t *origin, int fd, const struct sockaddr *client,
                       socklen_t length)
{
    stm_conn_t *conn;

    stm_conns.accepted++;
    conn = stm_conn_new(origin, fd);
    if (!conn) {
        close(fd);
        return;
    }
    memcpy(&conn->client, client, length < sizeof(conn->client) ? length : sizeof(conn->client));
    if (origin->client_first && !(origin->deferred && has_bytes(conn)))
        stm_conn_park(conn, STM_CONN_FIRST_BYTE, POLLIN | POLLRDHUP, stm_first_byte_timeout());
    else if (!origin->client_first || !stm_caution_delays(conn))
        origin->enqueue(conn);
}

/* With TCP_DEFER_ACCEPT there is nearly always data, but the kernel gives up waiting after a while.
 * If all modules are known to read through the filters, the data can be received at once. */
static bool has_bytes(stm_conn_t *conn)
{
    char byte;

    if (stm_modules_are_known())
        return stm_network_receive_early(conn);
    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/* --- served by a state thread --- */

void stm_conn_serve(stm_conn_t *conn, stm_worker_t *worker)
{
    stm_conn_state_e waited = conn->waited;
    step_e step;

    conn->worker = worker;
    stm_conn_set_state(conn, STM_CONN_SERVING);
    if (conn->c) {
        resume(conn, worker);
        step = wake_step(conn, waited);
    } else if (stm.vp.state == STM_VP_STOPPING || !begin(conn, worker)) {
        abandon(conn);
        return;
    } else {
        step = conn->c->aborted ? CLOSE : process(conn);
    }
    while (step == GO_ON)
        step = next_step(conn);
    if (step == CLOSE)
        end(conn);
}

const stm_conn_t *stm_worker_conn(void)
{
    const stm_worker_t *worker = st_thread_getspecific(stm_conns.worker_key);

    return worker ? worker->conn : NULL;
}

bool stm_speaks_http1(conn_rec *c)
{
    return strcmp(ap_get_protocol(c), AP_PROTOCOL_HTTP1) == 0;
}

/* Where a connection continues after a wait. */
static step_e wake_step(stm_conn_t *conn, stm_conn_state_e waited)
{
    if (stm.vp.state == STM_VP_STOPPING || conn->timed_out)
        return CLOSE;
    if (waited == STM_CONN_WRITING && !conn->c->clogging_input_filters)
        return GO_ON; /* still in write completion */
    if (waited == STM_CONN_SUSPENDED)
        return conn->cs.state == CONN_STATE_PROCESSING ? process(conn) : GO_ON;
    return process(conn);
}

/* Runs the process_connection hooks, and translates their verdict into one of the MPM's states. */
static step_e process(stm_conn_t *conn)
{
    conn_state_t *cs = &conn->cs;
    int rc;

    cs->state = CONN_STATE_PROCESSING;
    rc = ap_run_process_connection(conn->c);
    if ((rc != OK && rc != DONE) || conn->c->aborted)
        return CLOSE;
    if (cs->state == CONN_STATE_KEEPALIVE) {
        if (!STM_KEEPALIVE_FLUSHES)
            return keep_alive(conn);
        cs->state = CONN_STATE_WRITE_COMPLETION;
    }
    if (stm_state_waits_for_io(cs->state) || cs->state == CONN_STATE_WRITE_COMPLETION ||
        cs->state == CONN_STATE_SUSPENDED)
        return GO_ON;
    return CLOSE;
}

static step_e next_step(stm_conn_t *conn)
{
    if (stm_state_waits_for_io(conn->cs.state)) {
        park_for_io(conn, STM_CONN_WAITIO, CONN_SENSE_WANT_READ);
        return PARKED;
    }
    switch (conn->cs.state) {
    case CONN_STATE_WRITE_COMPLETION:
        return complete_writing(conn);
    case CONN_STATE_SUSPENDED:
        stm_conn_park(conn, STM_CONN_SUSPENDED, 0, 0);
        return PARKED;
    default:
        return CLOSE;
    }
}

static step_e complete_writing(stm_conn_t *conn)
{
    conn_rec *c = conn->c;

    if (c->data_in_output_filters || conn->cs.sense != CONN_SENSE_DEFAULT) {
        ap_update_child_status(c->sbh, SERVER_BUSY_WRITE, NULL);
        if (write_rest(conn) != APR_SUCCESS)
            return CLOSE;
        if (c->data_in_output_filters || conn->cs.sense == CONN_SENSE_WANT_READ) {
            park_for_io(conn, STM_CONN_WRITING, CONN_SENSE_WANT_WRITE);
            return PARKED;
        }
    }
    if (c->keepalive != AP_CONN_KEEPALIVE || c->aborted)
        return CLOSE;
    if (c->data_in_input_filters) {
        /* A pipelined request; but let others have their turn first. */
        st_thread_yield();
        return stm.vp.state == STM_VP_STOPPING ? CLOSE : process(conn);
    }
    return keep_alive(conn);
}

static step_e keep_alive(stm_conn_t *conn)
{
    apr_interval_time_t idle_limit = conn->server->keep_alive_timeout;

    if (stm_goodbye_is_due(conn, &idle_limit))
        return CLOSE;
    conn->cs.state = CONN_STATE_KEEPALIVE;
    conn->cs.sense = CONN_SENSE_DEFAULT;
    conn->idle_since = st_utime_last_clock();
    stm_conn_park(conn, STM_CONN_KEEPALIVE, POLLIN | POLLRDHUP, idle_limit);
    return PARKED;
}

static void park_for_io(stm_conn_t *conn, stm_conn_state_e state, conn_sense_e usual)
{
    conn_sense_e sense = conn->cs.sense == CONN_SENSE_DEFAULT ? usual : conn->cs.sense;
    int events = sense == CONN_SENSE_WANT_READ ? POLLIN | POLLRDHUP : POLLOUT;

    conn->cs.sense = CONN_SENSE_DEFAULT;
    stm_conn_park(conn, state, events, conn->server->timeout);
}

/* --- its beginning in httpd --- */

/* Makes httpd's conn_rec. False: refused or out of memory. */
static bool begin(stm_conn_t *conn, stm_worker_t *worker)
{
    stm_sleeper_t kept;
    bool slept;
    int rc;

    conn->pool = stm_pool_get();
    if (!conn->pool)
        return false;
    slept = stm_sleep_wake(conn, &kept);
    if (make_socket(conn) != APR_SUCCESS)
        return false;
    conn->c = ap_run_create_connection(conn->pool, ap_server_conf, conn->socket,
                                       slept ? kept.id : next_id(),
                                       place_on_scoreboard(conn, worker), bucket_alloc_of(conn));
    if (!conn->c)
        return false;
    ap_set_module_config(conn->c->conn_config, &mpm_stm_module, conn);
    conn->c->current_thread = thread_of(conn, worker);
    conn->c->cs = &conn->cs;
    conn->cs.state = CONN_STATE_PROCESSING;
    conn->cs.sense = CONN_SENSE_DEFAULT;
    ap_update_vhost_given_ip(conn->c);
    conn->server = conn->c->base_server;
    conn->beginning = true;
    rc = ap_pre_connection(conn->c, conn->socket);
    conn->beginning = false;
    if (rc != OK && rc != DONE)
        conn->c->aborted = 1;
    if (slept)
        stm_sleep_restore(conn, &kept);
    stm_sleep_watch(conn);
    return true;
}

static apr_status_t make_socket(stm_conn_t *conn)
{
    apr_os_sock_info_t info = {
        .os_sock = &conn->fd,
        .remote = &conn->client.any,
        .family = conn->client.any.sa_family,
        .type = SOCK_STREAM,
        .protocol = IPPROTO_TCP,
    };

    if (make_socket_of_listener(conn) == APR_SUCCESS)
        return APR_SUCCESS;
    return apr_os_sock_make(&conn->socket, &info, conn->pool);
}

/* As other MPMs do it: APR then knows what the socket has inherited (TCP_NODELAY) and both
 * addresses, and need not ask the kernel for either. */
static apr_status_t make_socket_of_listener(stm_conn_t *conn)
{
    const stiol_connection_t accepted = {
        .osfd = conn->fd,
        .address = &conn->client.any,
        .length =
            conn->client.any.sa_family == AF_INET ? sizeof(conn->client.v4) : sizeof(conn->client),
    };
    apr_status_t rv;

    if (stiol_pass_accepted(&accepted) != 0)
        return APR_ENOTIMPL;
    rv = apr_socket_accept(&conn->socket, conn->origin->lr->sd, conn->pool);
    stiol_pass_accepted(NULL);
    return rv;
}

static long next_id(void)
{
    static long serial;

    return ((long)stm.vp.ordinal << 40) | (++serial & 0xffffffffffL);
}

/* Kernel threads may use the shared allocator concurrently only if it is that of small pools. */
static apr_bucket_alloc_t *bucket_alloc_of(const stm_conn_t *conn)
{
    if (stm_config.small_pools || !stm_config.kernel_threads)
        return stm_conns.bucket_alloc;
    return apr_bucket_alloc_create(conn->pool);
}

static void resume(stm_conn_t *conn, stm_worker_t *worker)
{
    conn->suspended = false;
    conn->c->sbh = place_on_scoreboard(conn, worker);
    conn->c->current_thread = thread_of(conn, worker);
    ap_run_resume_connection(conn->c, conn->request);
}

/* The connection's handle on its thread's slot in httpd's scoreboard. A thread without one (a
 * predecessor still has them) gets NULL, since httpd would actually count a request in slot -1. */
static ap_sb_handle_t *place_on_scoreboard(stm_conn_t *conn, const stm_worker_t *worker)
{
    if (worker->slot < 0)
        return NULL;
    if (conn->sbh)
        ap_update_sb_handle(conn->sbh, stm.vp.ordinal, worker->slot);
    else
        ap_create_sb_handle(&conn->sbh, conn->pool, stm.vp.ordinal, worker->slot);
    return conn->sbh;
}

/* A thread without a pool of its own uses the connection's: data that modules keep for the thread
 * (apr_thread_data_set()) last as long as that. */
static apr_thread_t *thread_of(const stm_conn_t *conn, const stm_worker_t *worker)
{
    apr_thread_t *handle = worker->current ? worker->current : conn->c->current_thread;
    apr_os_thread_t *id;

    if (handle)
        return handle;
    id = apr_palloc(conn->pool, sizeof(*id));
    *id = apr_os_thread_current();
    apr_os_thread_put(&handle, id, conn->pool);
    return handle;
}

/* --- the last bytes --- */

/* Response and FIN in one segment, so that the client receives both at once. */

/* The connection whose last bytes are being sent; NULL if none. Should another one come in between
 * (a state thread may wait inside the core's filter), the first ends like any other connection. */
static stm_conn_t *ending;

/* If that sends everything and it is the last response, closes our side of the connection along
 * with it. */
static apr_status_t write_rest(stm_conn_t *conn)
{
    const int on = 1;
    bool last = is_last(conn);
    apr_status_t rv;

    if (last) {
        ending = conn;
        stiol_expect_more(conn->fd);
    }
    rv = flush(conn->c);
    if (!last)
        return rv;
    if (ending == conn) {
        ending = NULL;
        stiol_expect_more(-1);
    }
    /* Sends what the kernel has held back: setting TCP_NODELAY does so each time. */
    if (!conn->ended && conn->c->data_in_output_filters)
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return rv;
}

/* Whether nothing will be written after the response: no other request follows, and no filter
 * writes anything at the end. */
static bool is_last(const stm_conn_t *conn)
{
    const conn_rec *c = conn->c;

    return c->keepalive != AP_CONN_KEEPALIVE && !c->aborted && conn->request &&
           conn->cs.sense == CONN_SENSE_DEFAULT && stm_output_is_quiet(c);
}

/* Sends what the output filters still hold. */
static apr_status_t flush(conn_rec *c)
{
    ap_filter_t *filter = c->output_filters;

    while (filter->next)
        filter = filter->next;
    return filter->frec->filter_func.out_func(filter, NULL);
}

/* The core's filter destroys the response's EOR bucket, so it has sent everything before that.
 * Logging and the cleanups of the request's pool come after the FIN. */
int stm_last_write_done(request_rec *r)
{
    stm_conn_t *conn = ending;

    if (stiol_is_carried()) /* an earlier response of the connection */
        return DECLINED;
    if (conn && conn->request == r && !r->connection->aborted) {
        ending = NULL;
        stiol_expect_more(-1);
        conn->ended = shutdown(conn->fd, SHUT_WR) == 0;
    }
    return DECLINED;
}

/* --- its end in httpd --- */

/* Tells the client that nothing more follows, unless that has been done already, and frees what
 * httpd holds for the connection, which then lingers without a state thread. */
static void end(stm_conn_t *conn)
{
    conn_rec *c = conn->c;
    apr_pool_t *pool;
    bool gone, briefly; /* nobody to wait for, or not for long */

    apr_socket_timeout_set(conn->socket, apr_time_from_sec(STM_SHORT_LINGER_SECONDS));
    gone = ap_prep_lingering_close(c);
    if (!gone) {
        ap_flush_conn(c);
        gone = c->aborted || (!conn->ended &&
                              apr_socket_shutdown(conn->socket, APR_SHUTDOWN_WRITE) != APR_SUCCESS);
    }
    briefly = apr_table_get(c->notes, "short-lingering-close");
    ap_run_suspend_connection(c, conn->request);
    pool = stm_conn_detach(conn);
    stm_pool_put(pool);
    conn->worker = NULL;
    stm_linger(conn, gone, briefly ? STM_SHORT_LINGER_SECONDS : STM_LINGER_SECONDS);
}

/* Ends a connection that httpd never saw. */
static void abandon(stm_conn_t *conn)
{
    apr_pool_t *pool = conn->pool ? stm_conn_detach(conn) : NULL;

    stm_sleep_forget(conn);
    if (pool)
        stm_pool_put(pool);
    conn->worker = NULL;
    stm_conn_free(conn);
}

apr_pool_t *stm_conn_detach(stm_conn_t *conn)
{
    apr_pool_t *pool = conn->pool;
    apr_os_sock_t none = -1;

    /* By now there is no socket for httpd to close with the pool. */
    apr_os_sock_put(&conn->socket, &none, pool);
    conn->socket = NULL;
    if (conn->state == STM_CONN_SERVING && conn->worker)
        stm_busy_connection(conn->worker->busy, NULL);
    conn->c = NULL;
    conn->pool = NULL;
    conn->sbh = NULL;
    stm_sleep_unwatch(conn);
    return pool;
}
