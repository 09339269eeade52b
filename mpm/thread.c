/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State threads of a listener: each takes one ready connection after the other; between two it
 * waits, last in, first out. At least MinSpareThreads and at most MaxSpareThreads of a listener
 * wait; MaxThreads bounds all of a VP.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "score.h"
#include "stm.h"

static stm_conn_t *take_job(stm_thread_t *thread)
{
    stm_conn_t *conn = thread->job;

    thread->job = NULL;
    return conn;
}

/* Waits for a connection. False: the thread is to end. */
static bool wait_idle(stm_thread_t *thread)
{
    stm_listener_t *listener = thread->listener;

    stm_slot_status(thread->slot, SERVER_READY);
    thread->idle = listener->idle;
    listener->idle = thread;
    listener->idle_threads++;
    stm_listener_resume(listener);
    while (!thread->job && !thread->retire)
        st_thread_park(ST_UTIME_NO_TIMEOUT);
    return !thread->retire;
}

static bool enough_spares(const stm_listener_t *listener)
{
    return stm.vp.state != STM_VP_RUNNING || listener->idle_threads >= stm.config.max_spare;
}

/* The next connection that this thread is to serve; NULL: the thread is to end. */
static stm_conn_t *next_job(stm_thread_t *thread)
{
    for (;;) {
        stm_conn_t *conn = take_job(thread);

        if (!conn)
            conn = stm_listener_dequeue(thread->listener);
        if (conn)
            return conn;
        if (enough_spares(thread->listener) || !wait_idle(thread))
            return NULL;
    }
}

/* ThreadConnections: other threads get their turn after so many connections without a wait. */
static void yield_if_due(stm_thread_t *thread)
{
    if (stm.config.thread_connections && ++thread->unyielded >= stm.config.thread_connections) {
        thread->unyielded = 0;
        st_thread_yield();
    }
}

static void end_thread(stm_thread_t *thread)
{
    stm_slot_give(thread->slot);
    thread->listener->threads--;
    stm.vp.threads--;
    if (thread->next)
        thread->next->previous = thread->previous;
    *thread->previous = thread->next;
    stm_score_thread_ended(thread);
    free(thread);
    stm_listeners_feed();
    stm_vp_idle_check();
}

static void *thread_main(void *data)
{
    stm_thread_t *thread = data;
    stm_conn_t *conn;

    stm_stall_thread(thread);
    while ((conn = next_job(thread)) != NULL) {
        stm_score_thread_serves(thread, conn->c == NULL);
        thread->conn = conn;
        stm_conn_serve(conn, thread);
        thread->conn = NULL;
        stm_score_thread_rests(thread);
        yield_if_due(thread);
    }
    end_thread(thread);
    return NULL;
}

static void complain_no_stack(void)
{
    static apr_time_t last;
    apr_time_t now = apr_time_now();

    if (now - last < apr_time_from_sec(10))
        return;
    last = now;
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                 "stm: VP %d cannot start another state thread beside its %d (StackSize %lu)",
                 stm.vp.ordinal, stm.vp.threads, (unsigned long)stm.config.stack_size);
}

/** Starts a state thread, with its first connection or (NULL) as a spare. */
bool stm_thread_start(stm_listener_t *listener, stm_conn_t *job)
{
    STM_ENTER();
    stm_thread_t *thread = calloc(1, sizeof *thread);
    int stack_size = (int)stm.config.stack_size;

    if (!thread)
        return false;
    thread->listener = listener;
    thread->job = job;
    thread->st = st_thread_create(thread_main, thread, 0, stack_size);
    if (!thread->st) {
        complain_no_stack();
        free(thread);
        return false;
    }
    thread->slot = stm_slot_take();
    thread->next = stm.vp.thread_list;
    thread->previous = &stm.vp.thread_list;
    if (thread->next)
        thread->next->previous = &thread->next;
    stm.vp.thread_list = thread;
    listener->threads++;
    if (++stm.vp.threads > stm.vp.threads_peak)
        stm.vp.threads_peak = stm.vp.threads;
    stm_score_thread_started(thread);
    return true;
}

/** Whether MaxThreads allows one more. */
bool stm_thread_can_start(void)
{
    STM_ENTER();
    return stm.vp.threads < stm.config.max_threads;
}

static stm_thread_t *pop_idle(stm_listener_t *listener)
{
    stm_thread_t *thread = listener->idle;

    if (thread) {
        listener->idle = thread->idle;
        listener->idle_threads--;
    }
    return thread;
}

/** Hands the connection to a waiting thread. False: none waits. */
bool stm_thread_wake(stm_listener_t *listener, stm_conn_t *job)
{
    STM_ENTER();
    stm_thread_t *thread = pop_idle(listener);

    if (!thread)
        return false;
    thread->job = job;
    st_thread_unpark(thread->st);
    return true;
}

/** Lets `count` of the listener's waiting threads end. Returns how many there were. */
int stm_thread_retire(stm_listener_t *listener, int count)
{
    STM_ENTER();
    int retired = 0;

    while (retired < count) {
        stm_thread_t *thread = pop_idle(listener);

        if (!thread)
            break;
        thread->retire = true;
        st_thread_unpark(thread->st);
        retired++;
    }
    return retired;
}

/** Ends the waits of all threads that serve a connection: the VP stops. */
void stm_threads_interrupt(void)
{
    STM_ENTER();
    for (stm_thread_t *thread = stm.vp.thread_list; thread; thread = thread->next)
        st_thread_interrupt(thread->st);
}
