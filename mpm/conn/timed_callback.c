/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ap_mpm_register_timed_callback(): runs a module's function on a state thread of its own when its
 * time has come. Any kernel thread of the VP's process may call it.
 */
#include <stdlib.h>

#include "mpm/config/config.h"
#include "mpm/conn/conn.h"

enum { RETRY = 100000 }; /* us, if no state thread is available */

typedef struct {
    st_watch_t timer;
    st_remote_t remote;
    st_utime_t delay;
    ap_mpm_callback_fn_t *callback;
    void *baton;
} timed_t;

/* Resumes the connections that a callback has given back to the MPM. */
static void resume_suspended(void)
{
    stm_conn_t *conn, *next;

    if (!stm_conns.in_state[STM_CONN_SUSPENDED])
        return;
    for (conn = stm_conns.first; conn; conn = next) {
        next = conn->next;
        if (conn->state == STM_CONN_SUSPENDED && conn->cs.state != CONN_STATE_SUSPENDED)
            conn->origin->enqueue(conn);
    }
}

static void *run(void *data)
{
    timed_t *timed = data;
    apr_thread_t *current = stm_current_begin();

    timed->callback(timed->baton);
    stm_current_end(current);
    st_watch_free(&timed->timer);
    free(timed);
    resume_suspended();
    return NULL;
}

static void on_time(st_watch_t *timer, int ready)
{
    timed_t *timed = timer->data;

    (void)ready;
    if (!st_thread_create(run, timed, 0, (int)stm_config.stack_size))
        st_watch_arm(timer, 0, RETRY);
}

static void arm(st_remote_t *remote)
{
    timed_t *timed = (timed_t *)((char *)remote - offsetof(timed_t, remote));

    st_watch_arm(&timed->timer, 0, timed->delay);
}

apr_status_t stm_register_timed_callback(apr_time_t delay, ap_mpm_callback_fn_t *callback,
                                         void *baton)
{
    timed_t *timed;

    if (!stm.vp.scheduler)
        return APR_ENOTIMPL; /* the master has no state threads */
    timed = calloc(1, sizeof(*timed));
    if (!timed)
        return APR_ENOMEM;
    timed->delay = delay > 0 ? (st_utime_t)delay : 0;
    timed->callback = callback;
    timed->baton = baton;
    timed->remote.fn = arm;
    st_watch_init(&timed->timer, -1, 0, on_time);
    timed->timer.data = timed;
    if (st_is_vp())
        arm(&timed->remote);
    else
        st_vp_post(stm.vp.scheduler, &timed->remote);
    return APR_SUCCESS;
}
