/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of client connections, from creation through all states, parking and lingering until they
 * are freed; and their pools. A connection that waits has no state thread, but a watch on its
 * socket with a time limit; on either event, it is queued for a state thread of its listener. At
 * the end, our side is closed first; then whatever the client still sends is read and dropped until
 * its FIN, or for a while. By then, httpd's part of the connection (its pool, TLS, filters) is
 * gone.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_allocator.h>
#include <apr_thread_mutex.h>

#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/waits.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"
#include "stiol/server.h"
#include "stiol/stiol.h"

/* Records are allocated this many at a time, and stay. Allocated one by one, they would lie between
 * the pools of connections, and no page there could be given back. */
enum { RECORDS_AT_ONCE = 64 };

stm_conns_t stm_conns = {.worker_key = -1};

static stm_conn_t *free_records;

static stm_conn_t *take_record(void);
static void publish_connections(stm_conn_state_e state);
static void publish_change(stm_conn_state_e from, stm_conn_state_e to);
static bool is_httpds(stm_conn_state_e state);
static void publish_count(stm_conn_state_e state);
static void publish_to_httpd(void);
static bool worth_a_look(const stm_conn_t *conn);
static bool look(stm_conn_t *conn);
static bool drain(stm_conn_t *conn, bool *more);
static bool lock_allocator(void);

/* --- made and freed --- */

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
    publish_connections(conn->state);
    return conn;
}

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

void stm_conn_free(stm_conn_t *conn)
{
    STM_ASSERT(!conn->c && !conn->pool && !conn->asleep);
    stm_conn_set_answering(conn, false);
    stm_conns.in_state[conn->state]--;
    stm.vp.connections--;
    publish_connections(conn->state);
    if (conn->state != STM_CONN_LINGER)
        free(conn->early);
    st_watch_free(&conn->watch);
    if (conn->fd >= 0) {
        stiol_forget_fd(conn->fd); /* which does not see this module's calls */
        st_fd_forget(conn->fd);    /* nor does libst, if STIOL was not started */
        close(conn->fd);
    }
    stm_score_row_give(&conn->row);
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

/* --- states, and what the scoreboards show of them --- */

void stm_conn_set_state(stm_conn_t *conn, stm_conn_state_e state)
{
    stm_conn_state_e before = conn->state;

    stm_conns.in_state[before]--;
    stm_conns.in_state[state]++;
    if (state == STM_CONN_QUEUED) {
        conn->waited = conn->state;
        conn->queued_since = stm_conns.times_wanted ? st_utime() : 0;
    }
    conn->state = (unsigned char)state;
    if (state != STM_CONN_SERVING && conn->answering) {
        conn->answering = false;
        stm_conns.answering--;
    }
    stm_publish_state(conn, before);
}

void stm_conn_set_answering(stm_conn_t *conn, bool answering)
{
    if (conn->answering == answering || (answering && conn->state != STM_CONN_SERVING))
        return;
    conn->answering = answering;
    stm_conns.answering += answering ? 1 : -1;
    stm_publish_state(conn, conn->state);
}

static const stm_score_status_t labels[] = {
    [STM_CONN_FIRST_BYTE] = {"Waiting"},  [STM_CONN_QUEUED] = {"Queued"},
    [STM_CONN_SERVING] = {"Reading"},     [STM_CONN_KEEPALIVE] = {"Keepalive"},
    [STM_CONN_WRITING] = {"Writing"},     [STM_CONN_WAITIO] = {"Waiting"},
    [STM_CONN_SUSPENDED] = {"Suspended"}, [STM_CONN_LINGER] = {"Closing"},
};
static const stm_score_status_t kernel = {"Kernel"};

static const stm_score_status_t *label(const stm_conn_t *conn)
{
    if (conn->state != STM_CONN_SERVING)
        return &labels[conn->state];
    if (conn->worker && conn->worker->kernel)
        return &kernel;
    return &labels[conn->answering ? STM_CONN_WRITING : STM_CONN_SERVING];
}

void stm_publish_state(stm_conn_t *conn, stm_conn_state_e before)
{
    bool busy = conn->state == STM_CONN_SERVING;

    if (busy && conn->c && !conn->row)
        stm_publish_row(conn); /* it may have had to give its row away */
    if (conn->row)
        stm_score_row_status(conn->row, busy, label(conn));
    publish_change(before, conn->state);
}

void stm_publish_row(stm_conn_t *conn)
{
    if (stm_score_keeps_rows() && !conn->row)
        stm_score_row_take(&conn->row, conn->serial, conn->c->client_ip,
                           st_utime() - conn->accepted);
}

/* At each change rather than each turn: a VP may sleep for a long time after its last turn. */
static void publish_connections(stm_conn_state_e state)
{
    STM_SCORE_SET(stm_score, conns, stm.vp.connections);
    publish_count(state);
    publish_to_httpd();
}

static void publish_change(stm_conn_state_e from, stm_conn_state_e to)
{
    publish_count(to);
    if (from == to)
        return;
    publish_count(from);
    if (is_httpds(from) || is_httpds(to))
        publish_to_httpd();
}

/* httpd's scoreboard does not count those that are queued or being served. */
static bool is_httpds(stm_conn_state_e state)
{
    return state != STM_CONN_QUEUED && state != STM_CONN_SERVING;
}

static void publish_count(stm_conn_state_e state)
{
    int count = stm_conns.in_state[state];

    switch (state) {
    case STM_CONN_FIRST_BYTE:
        STM_SCORE_SET(stm_score, conns_first_byte, count);
        break;
    case STM_CONN_QUEUED:
        STM_SCORE_SET(stm_score, conns_queued, count);
        break;
    case STM_CONN_SERVING:
        STM_SCORE_SET(stm_score, conns_reading, count - stm_conns.answering);
        STM_SCORE_SET(stm_score, conns_writing, stm_conns.answering);
        break;
    case STM_CONN_KEEPALIVE:
        STM_SCORE_SET(stm_score, conns_keepalive, count);
        break;
    case STM_CONN_WRITING:
        STM_SCORE_SET(stm_score, conns_flushing, count);
        break;
    case STM_CONN_WAITIO:
        STM_SCORE_SET(stm_score, conns_waiting, count);
        break;
    case STM_CONN_SUSPENDED:
        STM_SCORE_SET(stm_score, conns_suspended, count);
        break;
    case STM_CONN_LINGER:
        STM_SCORE_SET(stm_score, conns_closing, count);
        break;
    }
}

static void publish_to_httpd(void)
{
    const int *count = stm_conns.in_state;
    process_score *score;

    if (!stm_share_holds_seat())
        return; /* a successor holds our seat */
    score = ap_get_scoreboard_process(stm.vp.ordinal);
    score->connections = (apr_uint32_t)stm.vp.connections;
    score->keep_alive = (apr_uint32_t)count[STM_CONN_KEEPALIVE];
    score->write_completion = (apr_uint32_t)count[STM_CONN_WRITING];
    score->lingering_close = (apr_uint32_t)count[STM_CONN_LINGER];
    score->suspended = (apr_uint32_t)count[STM_CONN_SUSPENDED];
    stm_score_set_wait_io(score, count[STM_CONN_WAITIO] + count[STM_CONN_FIRST_BYTE]);
}

/* --- waiting --- */

void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout)
{
    st_utime_t limit = timeout < 0 ? ST_UTIME_NO_TIMEOUT : (st_utime_t)timeout;
    int ready;

    if (conn->c && !conn->suspended) {
        ap_run_suspend_connection(conn->c, conn->request);
        conn->c->sbh = NULL;
        conn->suspended = true;
    }
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
    conn->timed_out = ready == 0 && !conn->delayed;
    conn->delayed = false;
    conn->origin->enqueue(conn);
}

/* --- closed for writing: what the client still sends is dropped --- */

enum {
    /* Maximum number of reads in one turn, so that a client that keeps sending does not hold the
     * VP. */
    READS_A_TURN = 16,
    PAUSE = 1000, /* us */
};

/* Clients on this machine or network close as soon as they have the response. So it pays to check
 * once, a little later, before epoll is asked to watch the socket, as long as that succeeds for
 * most connections. If it does not, every LOOK_EVERYth connection tries whether it does now. */
enum {
    LOOK_AFTER = 10000, /* us; clients under load take a few ms */
    LOOK_EVERY = 32,
    LUCK_MOST = 8,
};

static int luck = 1, not_looked;

void stm_linger(stm_conn_t *conn, bool gone, int seconds)
{
    st_utime_t limit;
    int ready;

    free(conn->early);
    conn->early = NULL;
    stm_conn_set_state(conn, STM_CONN_LINGER);
    if (gone || stm.vp.state == STM_VP_STOPPING) {
        stm_conn_free(conn);
        return;
    }
    /* Decided here, because what precedes may have yielded, and the VP may be leaving by now. */
    if (stm.vp.state != STM_VP_RUNNING)
        seconds = STM_SHORT_LINGER_SECONDS;
    limit = (st_utime_t)seconds * 1000000;
    /* The VP's clock may be old: it has not advanced while the handler was running. */
    conn->linger_until = st_utime() + limit;
    conn->looking = worth_a_look(conn);
    if (conn->looking) { /* until then, only the time limit */
        st_watch_free(&conn->watch);
        st_watch_init(&conn->watch, -1, 0, stm_conn_ready);
    }
    ready = st_watch_arm(&conn->watch, conn->looking ? 0 : POLLIN | POLLRDHUP,
                         conn->looking ? LOOK_AFTER : limit);
    if (ready != 0)
        stm_linger_continue(conn, ready);
}

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

void stm_linger_continue(stm_conn_t *conn, int ready)
{
    bool over = ready < 0 || (conn->looking && look(conn));

    while (!over) {
        st_utime_t now = st_utime_last_clock();
        bool more = false;

        if (stm.vp.state == STM_VP_STOPPING || now >= conn->linger_until ||
            (ready && !drain(conn, &more)))
            break;
        if (more)
            ready = st_watch_arm(&conn->watch, 0, PAUSE); /* let others have their turn */
        else
            ready = st_watch_arm(&conn->watch, POLLIN | POLLRDHUP, conn->linger_until - now);
        if (ready == 0)
            return;
        over = ready < 0;
    }
    stm_conn_free(conn);
}

/* Whether the client has closed. */
static bool look(stm_conn_t *conn)
{
    bool more, closed = !drain(conn, &more);

    conn->looking = false;
    st_watch_free(&conn->watch);
    st_watch_init(&conn->watch, conn->fd, 0, stm_conn_ready);
    if (closed && luck < LUCK_MOST)
        luck++;
    else if (!closed && luck > -LUCK_MOST)
        luck--;
    return closed;
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

void stm_linger_hurry(stm_conn_t *conn)
{
    st_utime_t limit = (st_utime_t)STM_SHORT_LINGER_SECONDS * 1000000, until = st_utime() + limit;
    int ready;

    if (conn->linger_until <= until)
        return;
    conn->linger_until = until;
    if (conn->looking) /* and continues from there */
        return;
    st_watch_disarm(&conn->watch);
    ready = st_watch_arm(&conn->watch, POLLIN | POLLRDHUP, limit);
    if (ready != 0)
        stm_linger_continue(conn, ready);
}

/* --- pools --- */

enum { MOST_KEPT = 128 };

/* One allocator serves a VP's connections. It has no mutex as long as only one kernel thread uses
 * it, that is until a module creates a thread of its own, which may use a request's pool while the
 * handler waits for it. Some cleared pools are kept for the next connections. None of this belongs
 * to pchild: a request that cannot be ended outlives that pool. */
static apr_pool_t *root; /* parent of all pools made here; it stays */
static apr_pool_t *kept[MOST_KEPT];
static int kept_count;
static bool shared; /* there may be another kernel thread */

apr_pool_t *stm_pool_get(void)
{
    apr_pool_t *pool;

    if (kept_count > 0)
        return kept[--kept_count];
    if (apr_pool_create_ex(&pool, root, NULL, stm_conns.allocator) != APR_SUCCESS)
        return NULL;
    apr_pool_tag(pool, "transaction");
    return pool;
}

void stm_pool_put(apr_pool_t *pool)
{
    if (kept_count == MOST_KEPT || stm.vp.state != STM_VP_RUNNING) {
        apr_pool_destroy(pool);
        return;
    }
    apr_pool_clear(pool);
    if (kept_count < MOST_KEPT) /* the cleanups may have yielded */
        kept[kept_count++] = pool;
    else
        apr_pool_destroy(pool);
}

bool stm_pools_open(void)
{
    if (!stm_config.threaded_io) /* then nobody would tell us about such threads */
        shared = true;
    if (apr_pool_create_unmanaged_ex(&root, apr_pool_abort_get(stm.vp.pchild), NULL) != APR_SUCCESS)
        return false;
    apr_pool_tag(root, "transactions");
    if (apr_allocator_create(&stm_conns.allocator) != APR_SUCCESS || (shared && !lock_allocator()))
        return false;
    apr_allocator_max_free_set(stm_conns.allocator, ap_max_mem_free);
    stm_conns.bucket_alloc = apr_bucket_alloc_create(root);
    return stm_conns.bucket_alloc;
}

void stm_pools_share(void)
{
    if (shared)
        return;
    shared = true;
    if (stm_conns.allocator && !lock_allocator())
        ap_log_error(APLOG_MARK, APLOG_ALERT, 0, ap_server_conf,
                     STMNO(0021) "cannot create a mutex for pools that a module's thread may use");
}

static bool lock_allocator(void)
{
    apr_thread_mutex_t *mutex;

    if (apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, root) != APR_SUCCESS)
        return false;
    apr_allocator_mutex_set(stm_conns.allocator, mutex);
    return true;
}
