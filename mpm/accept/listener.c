/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets in a VP: accepting, and the line of connections that are ready for a state
 * thread. Accepting holds no state thread; it pauses while none could serve the connection, so that
 * other VPs, or the kernel's queue, get it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <http_core.h>
#include <http_protocol.h>

#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/pulse.h"

stm_accept_t stm_accept;

/* How long a VP above its share lets the others accept (us), and how many it accepts freely if they
 * did not. */
enum {
    HOLD = 2000,
    FREE_ACCEPTS = 16,
    /* The same if it has few connections. */
    BURST_ACCEPTS = 4,
    /* Out of descriptors or memory: the shortest and the longest pause (ms). */
    FIRST_PAUSE = 10,
    LONGEST_PAUSE = 1000,
    /* Accept queues measured whenever the scoreboard is brought up to date. */
    QUEUES = 64,
};

static bool somebody_waits(const stm_listener_t *listener)
{
    unsigned length, limit;

    return !stm_sockets_queue(listener->fd, &length, &limit) || length > 0;
}

/* Whether a thread could serve a new connection at once, or it is the turn of new ones. While
 * more clients are busy than there are threads, the queue is never short, and new connections would
 * never get in. So they have their turn when those that were in the queue before them have been
 * taken; by then, other VPs have accepted them if they have time. */
static bool may_accept(stm_listener_t *listener)
{
    if (listener->queue_length < stm_thread_room(listener)) {
        listener->before_new = -1;
        listener->turn_of_new = false;
        return true;
    }
    if (listener->before_new == 0 && !listener->turn_of_new)
        listener->turn_of_new = somebody_waits(listener);
    if (listener->before_new <= 0)
        listener->before_new = listener->queue_length > 0 ? listener->queue_length : -1;
    return listener->turn_of_new;
}

static void pause_accepting(stm_listener_t *listener)
{
    if (listener->accepting)
        st_watch_disarm(&listener->watch);
    listener->accepting = false;
}

/* Accepts nothing for that long (us). */
static void hold(stm_listener_t *listener, st_utime_t delay)
{
    pause_accepting(listener);
    listener->held = true;
    listener->others_accepted = stm_balance_others_accepted();
    st_watch_arm(&listener->retry, 0, delay);
}

void stm_listener_resume(stm_listener_t *listener)
{
    if (listener->accepting || listener->held || stm.vp.state != STM_VP_RUNNING)
        return;
    if (!may_accept(listener)) {
        stm_thread_wanted(listener);
        return;
    }
    if (st_watch_arm(&listener->watch, POLLIN, ST_UTIME_NO_TIMEOUT) < 0) {
        hold(listener, LONGEST_PAUSE * 1000);
        return;
    }
    listener->accepting = true;
}

static void on_hold_over(st_watch_t *watch, int ready)
{
    stm_listener_t *listener = watch->data;

    (void)ready;
    listener->held = false;
    /* The others had their chance and did not take it (stopped, or busy): do not wait for them
     * again soon. */
    if (listener->others_accepted == stm_balance_others_accepted())
        listener->free_accepts = listener->in_burst ? BURST_ACCEPTS : FREE_ACCEPTS;
    stm_listener_resume(listener);
}

static bool lets_others_first(stm_listener_t *listener)
{
    bool above = listener->shared && stm_balance_above_share();

    listener->in_burst = listener->shared && !above && stm_balance_above_burst_share(listener);
    if (!above && !listener->in_burst)
        return false;
    if (listener->free_accepts > 0) {
        listener->free_accepts--;
        return false;
    }
    hold(listener, HOLD);
    return true;
}

/* The kernel wakes the first of those that wait for the socket: this puts the others ahead of
 * us. */
static void go_last(stm_listener_t *listener)
{
    if (!listener->shared || !listener->accepting || !stm_balance_above_average())
        return;
    pause_accepting(listener);
    stm_listener_resume(listener);
}

/* Out of descriptors or memory: wait, longer each time, and keep the listener. */
static void pause_for_resources(stm_listener_t *listener, int error)
{
    if (stm_may_complain(&listener->complained))
        ap_log_error(APLOG_MARK, APLOG_ERR, error, ap_server_conf,
                     STMNO(0023) "VP %d cannot accept a connection on %pI", stm.vp.ordinal,
                     listener->origin.lr->bind_addr);
    STM_SCORE_INC(listener->score, accept_failures);
    listener->backoff_ms = listener->backoff_ms ? listener->backoff_ms * 2 : FIRST_PAUSE;
    if (listener->backoff_ms > LONGEST_PAUSE)
        listener->backoff_ms = LONGEST_PAUSE;
    hold(listener, (st_utime_t)listener->backoff_ms * 1000);
}

static void accept_failed(stm_listener_t *listener, int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT:
        break; /* this connection is gone, or another VP has it */
    default:
        pause_for_resources(listener, error);
        break;
    }
}

/* Accepts a connection. False: no more in this turn. */
static bool accept_one(stm_listener_t *listener)
{
    struct sockaddr_storage client;
    socklen_t length = sizeof(client);
    int fd;

    if (!may_accept(listener)) {
        stm_accept.full++;
        pause_accepting(listener);
        stm_thread_wanted(listener);
        return false;
    }
    if (lets_others_first(listener))
        return false;
    fd = accept4(listener->fd, (struct sockaddr *)&client, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        accept_failed(listener, errno);
        return false;
    }
    listener->backoff_ms = 0;
    STM_SCORE_INC(listener->score, connections);
    STM_SCORE_INC(stm_score, connections);
    stm_pulse->served = 1;
    stm_conn_accepted(&listener->origin, fd, (struct sockaddr *)&client, length);
    stm_balance_publish();
    if (stm_config.vp_connections && stm_conns.accepted >= (unsigned)stm_config.vp_connections) {
        stm_accept.limit_reached();
        return false;
    }
    return true;
}

static void on_acceptable(st_watch_t *watch, int ready)
{
    stm_listener_t *listener = watch->data;
    int left = stm_balance_batch(listener->turn_of_new);
    bool accepted = false;

    (void)ready;
    while (left-- > 0 && accept_one(listener))
        accepted = true;
    listener->turn_of_new = false;
    if (accepted)
        go_last(listener);
}

/* If a VP is stopped just as the kernel wakes it for a connection, the wake-up is lost: the
 * connection would wait until another one arrives. Watching the socket anew reveals it. */
void stm_listeners_look_again(void)
{
    for (int i = 0; i < stm_accept.listener_count; i++) {
        stm_listener_t *listener = &stm_accept.listeners[i];
        unsigned length, limit;
        int on = 1;

        if (!listener->accepting)
            continue;
        /* The sockets are shared with processes that may do anything to them; a VP that waited in
         * accept() would serve nobody. */
        ioctl(listener->fd, FIONBIO, &on);
        if (!listener->shared || !stm_sockets_queue(listener->fd, &length, &limit) || !length)
            continue;
        pause_accepting(listener);
        stm_listener_resume(listener);
    }
}

/* --- counters --- */

/* That takes a system call for each listener; if there are many, only some are measured each
 * time. */
static void publish_queues(void)
{
    int count = stm_accept.listener_count < QUEUES ? stm_accept.listener_count : QUEUES;

    for (int i = 0; i < count; i++) {
        const stm_listener_t *listener = &stm_accept.listeners[stm_accept.next_queue];
        unsigned length, limit;

        stm_accept.next_queue = (stm_accept.next_queue + 1) % stm_accept.listener_count;
        if (!stm_sockets_queue(listener->fd, &length, &limit))
            continue;
        STM_SCORE_SET(listener->score, accept_queue, length);
        STM_SCORE_SET(listener->score, accept_queue_limit, limit);
    }
}

void stm_listeners_publish(void)
{
    for (int i = 0; i < stm_accept.listener_count; i++) {
        const stm_listener_t *listener = &stm_accept.listeners[i];

        STM_SCORE_SET(listener->score, threads, listener->threads);
        STM_SCORE_SET(listener->score, threads_spare, listener->idle_threads);
        STM_SCORE_SET(listener->score, queued, listener->queue_length);
        STM_SCORE_SET(listener->score, accepting, listener->accepting);
    }
    if (stm.vp.state == STM_VP_RUNNING)
        publish_queues();
}

/* --- opening and closing --- */

/* Decides as httpd's listen code does whether accepting is deferred. */
static bool is_deferred(const char *protocol)
{
    core_server_config *core = ap_get_core_module_config(ap_server_conf->module_config);
    const char *filter = protocol ? apr_table_get(core->accf_map, protocol) : NULL;

    return filter && strcmp(filter, "none") != 0;
}

static void open_one(stm_listener_t *listener, ap_listen_rec *lr)
{
    const char *protocol = lr->protocol ? lr->protocol : ap_get_server_protocol(ap_server_conf);
    apr_os_sock_t fd;

    apr_os_sock_get(&fd, lr->sd);
    listener->origin.lr = lr;
    listener->origin.enqueue = stm_thread_enqueue;
    listener->fd = fd;
    listener->score = stm_score_listener_new(lr->bind_addr);
    listener->shared = !stm.one_process && stm_listens_shared(lr);
    listener->origin.deferred = is_deferred(protocol);
    listener->origin.client_first =
        protocol && (strcasecmp(protocol, "http") == 0 || strcasecmp(protocol, "https") == 0);
    listener->ready_tail = &listener->ready;
    listener->before_new = -1;
    st_watch_init(&listener->watch, fd, ST_WATCH_ACCEPT, on_acceptable);
    st_watch_init(&listener->retry, -1, 0, on_hold_over);
    listener->watch.data = listener->retry.data = listener;
}

bool stm_listeners_open(void)
{
    if (st_key_create(&stm_conns.worker_key, NULL) != 0)
        return false;
    /* Not in pchild: a request that cannot be ended outlives that. */
    stm_accept.listeners = ap_calloc((size_t)stm_listens_count(), sizeof(*stm_accept.listeners));
    for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        if (stm_listens_to(lr, stm.vp.ordinal))
            open_one(&stm_accept.listeners[stm_accept.listener_count++], lr);
    }
    stm_accept.sharing = stm_accept.listener_count * 2 > stm_config.max_threads;
    for (int i = 0; i < stm_accept.listener_count; i++) {
        stm_listener_t *listener = &stm_accept.listeners[i];

        for (int n = 0; n < stm_config.start_threads && stm_thread_can_start(); n++) {
            if (!stm_thread_start(listener, false) && n == 0)
                return false;
        }
        stm_listener_resume(listener);
    }
    return true;
}

void stm_listeners_close(void)
{
    for (int i = 0; i < stm_accept.listener_count; i++) {
        stm_listener_t *listener = &stm_accept.listeners[i];

        pause_accepting(listener);
        st_watch_disarm(&listener->retry);
        st_fd_forget(listener->fd);
    }
    ap_close_listeners();
}
