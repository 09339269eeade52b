/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State threads of a listener: each takes one ready connection after another from the queue and,
 * when that is empty, waits, last in, first out. A thread that takes one calls the next thread for
 * the rest: that one runs when the first parks, and by then the queue is usually empty. So only as
 * many threads are used as connections really wait in modules, on stacks that are still in the
 * cache. A listener has at least MinSpareThreads and at most MaxSpareThreads waiting threads;
 * MaxThreads limits all threads of a VP. Each listener keeps at least one for itself, so that a
 * flood at one socket does not hold up the others; but where that would leave less than half of
 * MaxThreads to all of them ("sharing"), a listener may lose its last waiting thread, and gets one
 * as soon as any is free.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/waits.h"
#include "mpm/scoreboard/scoreboard.h"

/* Maximum number of connections that a thread serves in a row before the scheduler may check for
 * events. */
enum { LONGEST_ROW = 16 };

/* --- the queue of connections that are ready for a state thread --- */

static stm_conn_t *dequeue(stm_listener_t *listener)
{
    stm_conn_t *conn = listener->ready;

    if (conn) {
        listener->ready = conn->queued;
        if (!listener->ready)
            listener->ready_tail = &listener->ready;
        conn->queued = NULL;
        listener->queue_length--;
        listener->before_new -= listener->before_new > 0;
    }
    return conn;
}

static void call_thread(stm_listener_t *listener);

void stm_thread_enqueue(stm_conn_t *conn)
{
    stm_listener_t *listener = (stm_listener_t *)conn->origin;

    stm_conn_set_state(conn, STM_CONN_QUEUED);
    *listener->ready_tail = conn;
    listener->ready_tail = &conn->queued;
    listener->queue_length++;
    call_thread(listener);
}

/* A thread has ended: queues held up by MaxThreads may proceed, first of all those without a
 * thread. */
static void feed(void)
{
    stm_accept.hungry = stm_accept.starving = false;
    for (int i = 0; stm_accept.sharing && i < stm_accept.listener_count; i++) {
        if (!stm_accept.listeners[i].threads) {
            call_thread(&stm_accept.listeners[i]);
            stm_listener_resume(&stm_accept.listeners[i]);
        }
    }
    for (int i = 0; i < stm_accept.listener_count; i++) {
        call_thread(&stm_accept.listeners[i]);
        stm_listener_resume(&stm_accept.listeners[i]);
    }
}

/* --- a thread --- */

/* Waits for a connection. False: the thread is to end. */
static bool wait_idle(stm_thread_t *thread)
{
    stm_listener_t *listener = thread->listener;

    stm_slot_status(thread->worker.slot, SERVER_READY);
    thread->idle = listener->idle;
    listener->idle = thread;
    listener->idle_threads++;
    stm_accept.idle_threads++;
    stm_listener_resume(listener);
    if (stm_accept.hungry) /* another listener may want this thread's place */
        feed();
    while (!thread->called && !thread->retire)
        st_thread_park(ST_UTIME_NO_TIMEOUT);
    return !thread->retire;
}

/* Sharing: another listener has no thread at all, and this one has more than its share. */
static bool must_make_room(const stm_listener_t *listener)
{
    return stm_accept.starving &&
           listener->threads > 1 + stm_config.max_threads / stm_accept.listener_count;
}

static bool enough_spares(const stm_listener_t *listener)
{
    return stm.vp.state != STM_VP_RUNNING || listener->idle_threads >= stm_config.max_spare;
}

/* The next connection for this thread to serve; NULL: the thread is to end. */
static stm_conn_t *next_job(stm_thread_t *thread)
{
    stm_listener_t *listener = thread->listener;

    for (;;) {
        stm_conn_t *conn;

        if (thread->called) /* for the queue: the next one may be */
            listener->coming = false;
        thread->called = false;
        if (must_make_room(listener))
            return NULL;
        conn = dequeue(listener);
        if (conn) {
            call_thread(listener);
            stm_listener_resume(listener); /* the queue is shorter: there may be room again */
            return conn;
        }
        if (enough_spares(listener) || !wait_idle(thread))
            return NULL;
    }
}

/* ThreadConnections: other threads get their turn after that many connections without a wait. */
static void yield_if_due(stm_thread_t *thread)
{
    int row = stm_config.thread_connections;

    if (row == 0 || row > LONGEST_ROW)
        row = LONGEST_ROW;
    if (++thread->unyielded >= row) {
        thread->unyielded = 0;
        st_thread_yield();
    }
}

static void end_thread(stm_thread_t *thread)
{
    (void)st_thread_setspecific(stm_conns.worker_key, NULL);
    stm_current_end(thread->worker.current);
    stm_busy_free(thread->worker.busy);
    stm_slot_give(thread->worker.slot);
    thread->listener->threads--;
    stm.vp.threads--;
    if (thread->next)
        thread->next->previous = thread->previous;
    *thread->previous = thread->next;
    stm_score_thread_ended(thread->worker.score);
    free(thread);
    feed();
    stm_vp_idle_check();
}

/* By the end, the connection may be gone: its address is only looked up. */
static void serve(stm_worker_t *worker, stm_conn_t *conn)
{
    stm_score_thread_serves(worker->score, !conn->c && !conn->asleep);
    stm_rest_end(conn);
    worker->conn = conn;
    if (stm_conns.times_wanted)
        stm_times_resume(conn, worker->busy);
    stm_busy_begin(worker->busy, conn);
    stm_conn_serve(conn, worker);
    if (stm_conns.times_wanted)
        stm_times_leave(conn);
    stm_busy_end(worker->busy);
    worker->conn = NULL;
    stm_score_thread_rests(worker->score);
}

void *stm_thread_main(void *data)
{
    stm_thread_t *thread = data;
    stm_conn_t *conn;

    /* One of the first keys: has room. */
    (void)st_thread_setspecific(stm_conns.worker_key, &thread->worker);
    thread->worker.current = stm_current_begin();
    thread->worker.busy = stm_busy_new();
    while ((conn = next_job(thread))) {
        serve(&thread->worker, conn);
        yield_if_due(thread);
    }
    end_thread(thread);
    return NULL;
}

static void complain_no_stack(void)
{
    static apr_time_t last;

    if (!stm_may_complain(&last))
        return;
    ap_log_error(
        APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
        STMNO(0026) "VP %d cannot start another state thread in addition to its %d (StackSize %lu)",
        stm.vp.ordinal, stm.vp.threads, (unsigned long)stm_config.stack_size);
}

bool stm_thread_start(stm_listener_t *listener, bool called)
{
    stm_thread_t *thread = calloc(1, sizeof(*thread));
    int stack_size = (int)stm_config.stack_size;

    if (!thread)
        return false;
    thread->listener = listener;
    thread->called = called;
    thread->worker.st = st_thread_create(stm_thread_main, thread, 0, stack_size);
    if (!thread->worker.st) {
        complain_no_stack();
        free(thread);
        return false;
    }
    thread->worker.slot = stm_slot_take();
    /* It may not run until the thread that starts it has written a status page. */
    stm_slot_status(thread->worker.slot, SERVER_READY);
    thread->next = stm_accept.threads;
    thread->previous = &stm_accept.threads;
    if (thread->next)
        thread->next->previous = &thread->next;
    stm_accept.threads = thread;
    listener->threads++;
    stm.vp.threads++;
    thread->worker.score = stm_score_thread_started();
    return true;
}

bool stm_thread_can_start(void)
{
    return stm.vp.threads < stm_config.max_threads;
}

int stm_thread_room(const stm_listener_t *listener)
{
    int room = listener->idle_threads + stm_config.max_threads - stm.vp.threads;

    if (stm_accept.sharing)
        room += stm_accept.idle_threads - listener->idle_threads;
    return room;
}

void stm_thread_wanted(const stm_listener_t *listener)
{
    stm_accept.hungry = stm_accept.sharing;
    stm_accept.starving |= stm_accept.sharing && !listener->threads;
}

/* --- all of a listener --- */

static stm_thread_t *pop_idle(stm_listener_t *listener)
{
    stm_thread_t *thread = listener->idle;

    if (thread) {
        listener->idle = thread->idle;
        listener->idle_threads--;
        stm_accept.idle_threads--;
    }
    return thread;
}

int stm_thread_retire(stm_listener_t *listener, int count)
{
    int retired = 0;

    while (retired < count) {
        stm_thread_t *thread = pop_idle(listener);

        if (!thread)
            break;
        thread->retire = true;
        st_thread_unpark(thread->worker.st);
        retired++;
    }
    return retired;
}

static void keep_spares(stm_listener_t *listener)
{
    if (stm.vp.state == STM_VP_RUNNING && listener->idle_threads < stm_config.min_spare &&
        stm_thread_can_start())
        stm_thread_start(listener, false);
}

/* Makes room by ending a waiting thread of another socket that has more than this many. */
static bool take_room(const stm_listener_t *needy, int kept)
{
    for (int i = 0; i < stm_accept.listener_count; i++) {
        stm_listener_t *other = &stm_accept.listeners[i];

        if (other != needy && other->idle_threads > 0 && other->threads > kept)
            return stm_thread_retire(other, 1) > 0;
    }
    return false;
}

/* MaxThreads has been reached. */
static void ask_for_room(const stm_listener_t *needy)
{
    if (take_room(needy, 1) || (stm_accept.sharing && take_room(needy, 0)))
        return;
    stm_accept.full += !stm_thread_can_start();
    stm_thread_wanted(needy);
}

/* Calls a thread for the listener's queue, unless one is coming already: a waiting one, or a new
 * one. At MaxThreads the queue waits until a thread is free. */
static void call_thread(stm_listener_t *listener)
{
    stm_thread_t *thread;

    if (listener->coming || !listener->ready)
        return;
    thread = pop_idle(listener);
    if (thread) {
        thread->called = true;
        st_thread_unpark(thread->worker.st);
    } else if (!stm_thread_can_start() || !stm_thread_start(listener, true)) {
        ask_for_room(listener);
        return;
    }
    listener->coming = true;
    keep_spares(listener);
}

void stm_threads_interrupt(void)
{
    for (stm_thread_t *thread = stm_accept.threads; thread; thread = thread->next)
        st_thread_interrupt(thread->worker.st);
}

const request_rec *stm_thread_request(void)
{
    const stm_conn_t *conn = stm_worker_conn();

    return conn ? conn->request : NULL;
}
