/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on kernel threads (RunOn). The state thread that serves a connection stays its owner and
 * is parked while a kernel thread runs, with the real calls, either all of a request's processing
 * (if the server or a Location says so) or only its handler. Everything before and after, such as
 * keep-alive, write completion and closing, remains on the VP. See
 * docs/internals/kernel-threads.md.
 */
#include <errno.h>

#include <http_protocol.h>
#include <http_request.h>

#include "mpm/config/run_on.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/conn/auto_move.h"
#include "mpm/conn/waits.h"
#include "mpm/scoreboard/scoreboard.h"
#include "stiol/stiol.h"

/* A request served by a kernel thread; on its state thread's stack. */
typedef struct {
    request_rec *r;
    int (*serve)(request_rec *r);
    int status;
    apr_size_t received; /* bytes from the client */
} job_t;

/* The calling kernel thread's. */
static __thread job_t *job_here;

const request_rec *stm_kernel_request(void)
{
    return job_here ? job_here->r : NULL;
}

void stm_kernel_received(apr_size_t bytes)
{
    if (job_here)
        job_here->received += bytes;
}

/* --- hooks of ours --- */

typedef struct {
    int (*hook)(request_rec *r);
    request_rec *r;
    int rc;
} call_t;

static void run_hook(void *data)
{
    call_t *call = data;

    call->rc = call->hook(call->r);
}

int stm_kernel_hook_on_vp(int (*hook)(request_rec *r), request_rec *r)
{
    call_t call = {hook, r, DECLINED};

    stiol_on_vp(run_hook, &call);
    return call.rc;
}

/* --- there and back --- */

static void serve(void *data)
{
    job_t *job = data;

    job_here = job;
    job->status = job->serve(job->r);
    job_here = NULL;
}

/* The client's connection if the request came directly on it, rather than on an HTTP/2 stream of
 * it. */
static stm_conn_t *client_of(const request_rec *r)
{
    return r->connection->master ? NULL : stm_conn_of(r->connection);
}

static void complain(void)
{
    static apr_time_t last;

    if (!stm_may_complain(&last))
        return;
    ap_log_error(
        APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
        STMNO(0018) "VP %d has no kernel thread for a request (KernelThreads %d): it runs on a "
                    "state thread",
        stm.vp.ordinal, stm_config.kernel_threads);
}

/* The kernel thread has received and sent behind libst's back: what is known about the socket must
 * be refreshed from the kernel, or an idle connection would be taken for one that has a request. */
static void take_back(const job_t *job)
{
    stm_conn_t *conn = client_of(job->r);

    if (conn)
        st_fd_rearm(conn->fd);
    STM_SCORE_ADD(stm_score, received_bytes, job->received);
}

/* The scoreboards show which kind of thread serves it. */
static void show(stm_conn_t *conn, bool kernel)
{
    if (!conn->worker)
        return;
    conn->worker->kernel = kernel;
    STM_SCORE_SET(conn->worker->score, kernel, kernel);
    stm_publish_state(conn, conn->state);
}

/* DECLINED: it has not run, and must run here. */
static int carry(request_rec *r, int (*how)(request_rec *r))
{
    job_t job = {.r = r, .serve = how, .status = HTTP_INTERNAL_SERVER_ERROR};
    stm_conn_t *conn = client_of(r);
    int rc, error;

    if (conn)
        show(conn, true);
    rc = stiol_carry(serve, &job);
    error = errno;
    if (conn)
        show(conn, false);
    if (rc == 0) {
        take_back(&job);
        return job.status;
    }
    errno = error;
    if (error == ECANCELED) /* the VP stops */
        return HTTP_SERVICE_UNAVAILABLE;
    if (error != EPERM)
        complain();
    return DECLINED;
}

/* --- before translation --- */

/* Continues as the callers of the quick handlers do: for a main request, an internal redirect, or a
 * subrequest, which has already been translated. */
static int serve_all(request_rec *r)
{
    int status = ap_run_quick_handler(r, 0);

    if (status == DECLINED && (!r->main || r->prev)) {
        status = ap_process_request_internal(r);
        if (status == OK)
            status = ap_invoke_handler(r);
    } else if (status == DECLINED) {
        status = ap_invoke_handler(r);
    }
    return status == DECLINED ? HTTP_INTERNAL_SERVER_ERROR : status;
}

/* What Location sections say. The walk needs the path as it will be once httpd has decoded it. */
static stm_run_on_e by_location(request_rec *r)
{
    ap_conf_vector_t *sections = r->per_dir_config;
    stm_run_on_e mode = STM_RUN_AUTO;
    char *uri = r->uri;

    r->uri = apr_pstrdup(r->pool, uri);
    if (ap_unescape_url(r->uri) != HTTP_BAD_REQUEST) {
        ap_getparents(r->uri);
        if (ap_location_walk(r) == OK)
            mode = stm_run_on_of(r->per_dir_config, NULL);
    }
    r->uri = uri;
    r->per_dir_config = sections;
    return mode;
}

static bool is_early_kernel(request_rec *r, stm_run_on_e mode)
{
    return mode == STM_RUN_KERNEL ||
           (mode == STM_RUN_AUTO && stm_auto.moves && stm_auto_is_moved(r, NULL));
}

static stm_run_on_e mode_before_translation(request_rec *r)
{
    if (stm_config.run_on_locations && r->uri && *r->uri == '/')
        return by_location(r);
    return stm_run_on_of(r->per_dir_config, NULL);
}

/* The request may start another protocol that lasts as long as its connection: that has to begin on
 * the VP, in a handler. */
static bool upgrades(const request_rec *r)
{
    return apr_table_get(r->headers_in, "Upgrade") || r->method_number == M_CONNECT;
}

static int quick_handler(request_rec *r, int lookup)
{
    if (STM_LIKELY(!stm_config.run_on_early && !stm_auto.moves) || lookup || stiol_is_carried() ||
        upgrades(r) || !is_early_kernel(r, mode_before_translation(r)))
        return DECLINED;
    return carry(r, serve_all);
}

/* --- before the handler --- */

/* On the kernel thread this file's hook declines, so that the others follow. */
static int serve_handler(request_rec *r)
{
    int status = ap_run_handler(r);

    if (status != DECLINED)
        return status;
    if (r->handler && r->filename)
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      STMNO(0019) "handler \"%s\" not found for: %s", r->handler, r->filename);
    return HTTP_INTERNAL_SERVER_ERROR; /* as httpd answers when all have declined */
}

bool stm_kernel_has_handler(const request_rec *r)
{
    return r->request_config && ap_get_module_config(r->request_config, &mpm_stm_module);
}

static bool is_kernel(const request_rec *r)
{
    stm_run_on_e mode;

    if (STM_LIKELY(!stm_config.run_on_used && !stm_config.run_on_known && !stm_auto.moves))
        return false;
    mode = stm_run_on_of(r->per_dir_config, r->handler);
    return mode == STM_RUN_KERNEL || (mode == STM_RUN_AUTO && stm_auto.moves && r->handler &&
                                      stm_auto_is_moved(r, r->handler));
}

/* Which request a thread of the MPM serves is known; for a module's thread it has to be
 * recorded. */
static int stream_key = -1;

bool stm_kernel_open(void)
{
    return st_key_create(&stream_key, NULL) == 0;
}

const request_rec *stm_kernel_stream(void)
{
    return st_thread_getspecific(stream_key);
}

static int handle_stream(request_rec *r)
{
    int status;

    st_thread_setspecific(stream_key, r);
    status = serve_handler(r);
    st_thread_setspecific(stream_key, NULL);
    return status;
}

static int handler(request_rec *r)
{
    bool seen = stm_kernel_has_handler(r); /* this is the second time, from handle_stream() */
    int status = DECLINED;

    if (stiol_is_carried())
        return DECLINED;
    ap_set_module_config(r->request_config, &mpm_stm_module, r);
    if (!seen)
        status = is_kernel(r)            ? carry(r, serve_handler)
                 : r->connection->master ? handle_stream(r)
                                         : DECLINED;
    if (!seen && r->connection->master && status != DECLINED)
        stm_busy_stream_left(r); /* what follows is up to the client's connection */
    return status;
}

/** Quick handlers: before all others. Handlers: after the core's, which may begin another protocol
 * on the connection. */
void stm_kernel_register_hooks(void)
{
    ap_hook_quick_handler(quick_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_REALLY_FIRST + 1);
}
