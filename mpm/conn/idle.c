/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idle connections. They fall asleep: httpd's conn_rec and its pool are freed, the record and the
 * armed watch stay. At the next request the conn_rec is recreated. Once a second, a state thread
 * looks for those that have been idle for long enough; docs/internals/idle.md gives the reasons.
 * Also how connections end when the VP stops, or leaves, in which case idle ones end first.
 */
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/scoreboard/scoreboard.h"

/* How long a connection is idle before it first falls asleep, and how often we check (us). Each
 * sleep doubles the wait, up to MOST_NAPS times: a client that sends a request every few seconds
 * soon costs no more than one that never pauses. */
enum {
    IDLE = 1000000,
    MOST_NAPS = 4,
    SWEEP_EVERY = 1000000,
};
/* How long a sweep holds the VP, and then leaves it to others (us); and after how many connections
 * it checks the clock. */
enum {
    LONGEST_HOLD = 500,
    PAUSE = 2000,
    A_LOOK = 8,
};
/* If pools come from malloc, it retains what is freed in the middle of its heap. After this many
 * pools we make it give its free pages back, which may take one part in TRIM_SHARE of the time. */
enum {
    POOLS_OWED = 128,
    TRIM_SHARE = 50,
};

/* Connections with a conn_rec; during a sweep, those that it has not reached yet. */
static stm_conn_t *awake, *unseen;
static st_watch_t timer;
static bool armed, sweeping;
static int pools_owed;
static st_utime_t next_trim;

static void on_time(st_watch_t *watch, int ready);

static void arm(void)
{
    if (armed || sweeping || (!awake && pools_owed < POOLS_OWED))
        return;
    st_watch_init(&timer, -1, 0, on_time);
    armed = st_watch_arm(&timer, 0, SWEEP_EVERY) == 0;
}

static void link_to(stm_conn_t **list, stm_conn_t *conn)
{
    conn->awake = *list;
    conn->awake_back = list;
    if (conn->awake)
        conn->awake->awake_back = &conn->awake;
    *list = conn;
}

void stm_sleep_watch(stm_conn_t *conn)
{
    if (!stm_modules_are_known())
        return;
    link_to(&awake, conn);
    arm();
}

void stm_sleep_unwatch(stm_conn_t *conn)
{
    STM_ASSERT(!conn->asleep);
    if (!conn->awake_back)
        return;
    *conn->awake_back = conn->awake;
    if (conn->awake)
        conn->awake->awake_back = conn->awake_back;
    conn->awake = NULL;
    conn->awake_back = NULL;
}

/* --- falling asleep --- */

/* Keeps what the conn_rec's successor needs from it. False: no memory. */
static bool keep(const stm_conn_t *conn, stm_sleeper_t *kept)
{
    const conn_rec *c = conn->c;

    *kept = (stm_sleeper_t){.id = c->id, .keepalives = c->keepalives};
    apr_socket_timeout_get(conn->socket, &kept->timeout);
    if (c->log_id)
        kept->log_id = strdup(c->log_id);
    return !c->log_id || kept->log_id;
}

static void nap(stm_conn_t *conn)
{
    conn->naps = (unsigned char)(conn->naps < MOST_NAPS ? conn->naps + 1 : MOST_NAPS);
}

/* The watch stays armed: KeepAliveTimeout continues. The pool's cleanups may yield, so it is freed
 * last. */
static void put_to_sleep(stm_conn_t *conn)
{
    stm_sleeper_t kept;
    apr_pool_t *pool;

    if (!keep(conn, &kept))
        return;
    pool = stm_conn_detach(conn);
    conn->kept = kept;
    conn->asleep = true;
    conn->suspended = false;
    nap(conn);
    STM_SCORE_INC(stm_score, conns_asleep);
    STM_SCORE_INC(stm_score, sleeps);
    stm_pool_put(pool);
    pools_owed++;
}

/* --- the sweep --- */

static bool idle_enough(const stm_conn_t *conn)
{
    return conn->state == STM_CONN_KEEPALIVE &&
           st_utime_last_clock() >= conn->idle_since + ((st_utime_t)IDLE << conn->naps);
}

static void look_at(stm_conn_t *conn)
{
    stm_sleep_unwatch(conn);
    if (!idle_enough(conn))
        link_to(&awake, conn);
    else if (stm_may_sleep(conn))
        put_to_sleep(conn);
    else if (stm_may_rest(conn) && stm_rest_begin(conn))
        nap(conn);
}

static void give_memory_back(void)
{
    st_utime_t begun = st_utime();

    if (pools_owed < POOLS_OWED || begun < next_trim)
        return;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    pools_owed = 0;
    next_trim = begun + (st_utime() - begun) * TRIM_SHARE;
}

static void *sweep(void *nothing)
{
    apr_thread_t *current = stm_current_begin();
    st_utime_t begun = st_utime();

    for (int n = 1; unseen && stm.vp.state != STM_VP_STOPPING; n++) {
        look_at(unseen);
        if (n % A_LOOK != 0 || st_utime() - begun < LONGEST_HOLD)
            continue;
        give_memory_back();
        st_usleep(PAUSE); /* after a mere yield, epoll might not be polled */
        begun = st_utime();
    }
    give_memory_back();
    stm_current_end(current);
    sweeping = false;
    arm();
    return nothing;
}

static void on_time(st_watch_t *watch, int ready)
{
    (void)watch;
    (void)ready;
    armed = false;
    if (stm.vp.state == STM_VP_STOPPING)
        return;
    if (st_thread_create(sweep, NULL, 0, (int)stm_config.stack_size)) {
        sweeping = true;
        unseen = awake;
        awake = NULL;
        if (unseen)
            unseen->awake_back = &unseen;
    } else {
        arm();
    }
}

/* --- waking --- */

bool stm_sleep_interrupted(stm_conn_t *conn, int ready)
{
    char byte;
    ssize_t n;

    if (ready == 0) {
        stm_sleep_forget(conn);
        stm_linger(conn, shutdown(conn->fd, SHUT_WR) != 0, STM_LINGER_SECONDS);
        return true;
    }
    if (!(ready & (POLLRDHUP | POLLHUP | POLLERR)))
        return false;
    n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return false;
    stm_sleep_forget(conn);
    stm_conn_free(conn);
    return true;
}

bool stm_sleep_wake(stm_conn_t *conn, stm_sleeper_t *kept)
{
    if (!conn->asleep)
        return false;
    *kept = conn->kept;
    if (kept->log_id)
        kept->log_id = apr_pstrdup(conn->pool, kept->log_id);
    stm_sleep_forget(conn);
    return true;
}

void stm_sleep_restore(stm_conn_t *conn, const stm_sleeper_t *kept)
{
    conn_rec *c = conn->c;

    c->keepalive = AP_CONN_KEEPALIVE;
    c->keepalives = kept->keepalives;
    c->log_id = kept->log_id;
    apr_socket_timeout_set(conn->socket, kept->timeout);
}

void stm_sleep_forget(stm_conn_t *conn)
{
    if (!conn->asleep)
        return;
    free(conn->kept.log_id);
    conn->asleep = false;
    conn->socket = NULL;
    conn->sbh = NULL;
    conn->awake = NULL;
    conn->awake_back = NULL;
    conn->idle_since = 0;
    STM_SCORE_ADD(stm_score, conns_asleep, -1);
}

/* --- the VP leaves --- */

/*
 * Idle HTTP/1.1 connections stay until KeepAliveTimeout, since their next request may be on its
 * way; but when the whole server stops, nobody else will answer it, and they end at once. HTTP/2
 * connections end in both cases. Their protocol has a goodbye: a GOAWAY frame says which requests
 * will be answered, and the client repeats the others elsewhere. If it is sent while a connection
 * is idle, no request is lost. If it is sent while a request is on its way, the client has to
 * repeat that request, which not every client does. And mod_http2, when told that its process is
 * stopping, gives up the connection with all of its streams at the next request. So connections are
 * ended after a lull; those that have none are ended after a while, as soon as nothing is in
 * progress; and mod_http2 is told only about those that have not even had such a moment.
 */

enum {
    /* How long a connection is idle before it ends: a busy client asks sooner (us). */
    LULL = 100000,
    /* How long we wait for a lull, and after that for a moment in which nothing is in progress
     * (us). */
    PATIENCE = 5000000,
    /* When the server stops, how long a client that has just connected has to send a request
     * (us). */
    FIRST_REQUEST = 2000000,
};

static st_utime_t left_at;
static bool server_stops;

static bool says_goodbye(const stm_conn_t *conn)
{
    if (conn->resting)
        return !conn->rests_plain;
    return conn->c && !stm_speaks_http1(conn->c);
}

/* Whatever has arrived before we hang up is answered. */
static bool has_request(const stm_conn_t *conn)
{
    char byte;

    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Ends it as KeepAliveTimeout would. */
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

/* Gives the client that long to send a request. */
static void hurry(stm_conn_t *conn, st_utime_t time_left)
{
    int ready;

    st_watch_disarm(&conn->watch);
    ready = st_watch_arm(&conn->watch, POLLIN | POLLRDHUP, time_left);
    if (ready != 0)
        stm_conn_ready(&conn->watch, ready > 0 ? ready : 0);
}

static void tell_idle(stm_conn_t *conn)
{
    st_utime_t idle = conn->asleep ? LULL : st_utime() - conn->idle_since;

    if (server_stops) {
        if (!has_request(conn))
            end_idle(conn);
    } else if (says_goodbye(conn)) {
        if (idle >= LULL)
            end_idle(conn);
        else
            hurry(conn, LULL - idle);
    }
}

static void tell(stm_conn_t *conn)
{
    switch ((stm_conn_state_e)conn->state) {
    case STM_CONN_KEEPALIVE:
        tell_idle(conn);
        break;
    case STM_CONN_FIRST_BYTE:
        if (server_stops && !conn->delayed)
            hurry(conn, FIRST_REQUEST);
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

/* Each may be freed when it is told, but no other one. */
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

bool stm_goodbye_is_due(const stm_conn_t *conn, apr_interval_time_t *idle_limit)
{
    if (stm.vp.state != STM_VP_LEAVING || !(server_stops || says_goodbye(conn)))
        return false;
    if (server_stops || st_utime() - left_at >= PATIENCE)
        return !has_request(conn);
    if (*idle_limit > LULL)
        *idle_limit = LULL;
    return false;
}

bool stm_goodbye_can_wait(const stm_conn_t *conn)
{
    return stm.vp.state == STM_VP_LEAVING && says_goodbye(conn) &&
           st_utime() - left_at < 2 * PATIENCE;
}

/* --- the VP stops --- */

void stm_conns_shutdown(void)
{
    stm_conn_t *conn, *next;

    for (conn = stm_conns.first; conn; conn = next) {
        next = conn->next;
        switch ((stm_conn_state_e)conn->state) {
        case STM_CONN_FIRST_BYTE:
        case STM_CONN_LINGER:
            stm_conn_free(conn);
            break;
        case STM_CONN_KEEPALIVE:
            if (conn->asleep) {
                stm_sleep_forget(conn);
                stm_conn_free(conn);
                break;
            }
            /* fall through */
        case STM_CONN_WRITING:
        case STM_CONN_WAITIO:
        case STM_CONN_SUSPENDED:
            st_watch_disarm(&conn->watch);
            conn->origin->enqueue(conn);
            break;
        case STM_CONN_SERVING:
            if (conn->c)
                conn->c->aborted = 1;
            shutdown(conn->fd, SHUT_RDWR);
            break;
        case STM_CONN_QUEUED:
            break;
        }
    }
}
