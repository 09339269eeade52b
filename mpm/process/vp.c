/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual processor: one process, one kernel thread, a scheduler. From fork to exit: privileges
 * dropped, state threads and STIOL started, listeners opened; then the primordial state thread
 * waits to be told to leave or to stop, and cleans up.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <http_main.h>

#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/waits.h"
#include "mpm/diagnosis/diagnosis.h"
#include "mpm/process/process.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/pulse.h"
#include "mpm/shared/share.h"
#include "aprmem/aprmem.h"
#include "st/st_shuffle.h"
#include "stiol/stiol.h"

/* A stop: how long connections in progress have to notice, and how often they are told (us). */
enum {
    STOP_PATIENCE = 2000000,
    STOP_NUDGE = 50000,
};

/* --- start --- */

static void die(int code) __attribute__((noreturn));

/*
 * exit() ends APR, which destroys the configuration and thereby unloads this module, while cleanups
 * there may still wait for state threads (mod_proxy_hcheck's pool of workers). So the module stays
 * loaded, and the scheduler runs to the end.
 */
static void pin_module(void)
{
    Dl_info info;

    if (dladdr(&stm, &info) && info.dli_fname)
        dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

/* What httpd keeps for us is gone before the last cleanup has run, so nothing here may use it any
 * more. */
static void let_go_of_httpd(void)
{
    static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGWINCH};

    st_set_turn_cb(NULL);
    st_set_sleep_cb(NULL);
    stm_pulse_answers(false);
    stm_stall_end();
    stm_crash_restore();
    for (size_t i = 0; i < sizeof(handled) / sizeof(*handled); i++)
        signal(handled[i], SIG_IGN);
}

static void remove_pid_file(void)
{
    /* Quietly: the process may have dropped the privilege to do so. */
    if (stm.one_process)
        apr_file_remove(ap_server_root_relative(stm.pconf, ap_pid_fname), stm.pconf);
}

static void die(int code)
{
    stm_score_end();
    if (stm.vp.pchild)
        apr_pool_destroy(stm.vp.pchild);
    stm_census_report();
    remove_pid_file();
    let_go_of_httpd();
    exit(code);
}

static void take_seat(const stm_child_t *child)
{
    stm_vp_t *vp = &stm.vp;

    memset(vp, 0, sizeof(*vp));
    vp->ordinal = child->ordinal;
    vp->incarnation = child->incarnation;
    vp->pid = getpid();
    stm_share_attach(child->ordinal, child->page, child->incarnation);
    stm_share->limit = stm_config.max_threads;
}

static void make_pchild(void)
{
    apr_pool_create(&stm.vp.pchild, stm.pconf);
    apr_pool_tag(stm.vp.pchild, "pchild");
#if AP_HAS_THREAD_LOCAL
    if (!stm.one_process) {
        apr_thread_t *thread;
        apr_status_t rv = ap_thread_main_create(&thread, stm.vp.pchild);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, rv, ap_server_conf,
                         STMNO(0078) "cannot set up the VP's main thread");
            die(APEXIT_CHILDFATAL);
        }
    }
#endif
}

static void on_remote_stop(st_remote_t *remote)
{
    (void)remote;
    stm_vp_stop();
}

static void on_stop_signal(int signal_number)
{
    static st_remote_t remote = {.fn = on_remote_stop};
    static volatile sig_atomic_t posted;

    (void)signal_number;
    if (!posted) {
        posted = 1;
        st_vp_post(stm.vp.scheduler, &remote);
    }
}

static void on_masters_signal(int signal_number)
{
    (void)signal_number; /* it is meant for the master, which tells us what to do */
}

/* Handlers and not SIG_IGN: a CGI program would inherit that. */
static void set_signals(void)
{
    static const int masters[] = {SIGHUP, SIGUSR1, SIGWINCH};
    struct sigaction stop = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigaction none = {.sa_handler = on_masters_signal, .sa_flags = SA_RESTART | SA_ONSTACK};

    sigemptyset(&stop.sa_mask);
    sigemptyset(&none.sa_mask);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, stm.one_process ? &stop : &none, NULL);
    for (size_t i = 0; i < sizeof(masters) / sizeof(*masters); i++)
        sigaction(masters[i], &none, NULL);
}

/* What it takes to run threads in the same order again. */
static void tell_seed(void)
{
#ifdef ST_SHUFFLE
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf,
                 STMNO(0079) "VP %d runs its threads in a random order: " ST_SHUFFLE_SEED_VARIABLE
                             "=%" PRIu64,
                 stm.vp.ordinal, st_shuffle_seed());
#endif
}

static void start_scheduler(void)
{
    stm_fd_limit_keep();
    if (st_init() != 0) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, errno, ap_server_conf,
                     STMNO(0080) "cannot start the scheduler of VP %d", stm.vp.ordinal);
        die(APEXIT_CHILDSICK);
    }
    st_set_fork_alone(1); /* modules fork in order to exec() */
#ifdef USE_ST_TIME
    st_timecache_set(1);
#endif
    tell_seed();
    stm.vp.scheduler = st_vp_self();
    stm.vp.main = st_thread_self();
    stm_crash_setup();
    set_signals();
}

static void complain(const char *message)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf, STMNO(0081) "state-threaded I/O: %s",
                 message);
}

/* It works without them, too, but takes more memory. */
static void prepare_small_pools(void)
{
    const char *why = stm_config.small_pools ? aprmem_prepare() : NULL;

    if (!why)
        return;
    stm_config.small_pools = 0;
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, ap_server_conf,
                 STMNO(0082) "VP %d uses APR's own pools: %s", stm.vp.ordinal, why);
}

static void start_threaded_io(int mounts)
{
    stiol_config_t config = {
        .mounts = mounts,
        .trace = !!getenv("STIOL_TRACE"),
        .stack_size = (int)stm_config.stack_size,
        .max_helpers = stm_config.helper_threads,
        .kernel_thread = stm_pools_share,
        .max_carriers = stm_config.kernel_threads,
        .carrier_begins = stm_crash_kernel_thread_begins,
        .carrier_ends = stm_crash_kernel_thread_ends,
        .max_free = ap_max_mem_free != 0 ? (long)ap_max_mem_free : LONG_MAX,
        .lock_report = stm_lock_report(),
        .in_child = stm_fd_limit_restore,
    };

    if (!stm_config.threaded_io)
        return;
    stiol_set_complaint(complain);
    if (mounts < 0 && stm.vp.ordinal == 0)
        ap_log_error(
            APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf,
            STMNO(0083) "/proc/self/mountinfo cannot be read: each file's device is asked what it "
                        "is, and calls on paths cost more");
    prepare_small_pools();
    if (stm_config.small_pools) {
        config.max_free = -1; /* they hold that memory themselves */
        stm_rest_prepare(stm.pconf);
    }
    stm_heartbeat_prepare();
    if (stiol_start(&config) != 0) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, ap_server_conf,
                     STMNO(0084) "state-threaded I/O cannot be started: %s", stiol_error());
        die(APEXIT_CHILDFATAL);
    }
    if (stm_config.small_pools && aprmem_start() != 0)
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                     STMNO(0085) "VP %d uses APR's own pools", stm.vp.ordinal);
}

/* --- leaving and stopping: called by the scheduler, must not yield --- */

static void no_more_connections(void)
{
    stm_vp_t *vp = &stm.vp;

    stm.mpm->mpm_state = AP_MPMQ_STOPPING; /* httpd answers with Connection: close from now on */
    stm_share->accepting = 0;
    if (stm_share_holds_seat())
        ap_get_scoreboard_process(vp->ordinal)->quiescing = 1;
    stm_listeners_close();
    for (int i = 0; i < stm_accept.listener_count; i++)
        stm_thread_retire(&stm_accept.listeners[i], vp->threads);
}

void stm_vp_leave(void)
{
    if (stm.vp.state != STM_VP_RUNNING)
        return;
    stm.vp.state = STM_VP_LEAVING;
    stm_score_state(STM_VP_LEAVING);
    no_more_connections();
    stm_goodbye_begin();
    stm_vp_idle_check();
}

void stm_vp_finish(void)
{
    stm_vp_leave();
    if (stm.vp.state != STM_VP_LEAVING)
        return;
    stm_goodbye_for_good();
    stm_vp_idle_check();
}

/* VPConnections has been reached: leaves, and tells the master, which starts the successor. */
static void retire(void)
{
    if (stm.vp.state != STM_VP_RUNNING)
        return;
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, ap_server_conf,
                 STMNO(0086) "VP %d has served its %d connections (VPConnections)", stm.vp.ordinal,
                 stm_config.vp_connections);
    stm_control_tell_master(STM_CONTROL_LEAVE);
    stm_vp_leave();
}

/* The waits of connections, of the state threads that serve them, and of modules' own state
 * threads. */
static void end_waits(void)
{
    stm_conns_shutdown();
    stiol_end_waits();
    stm_threads_interrupt();
}

void stm_vp_stop(void)
{
    stm_vp_state_e before = stm.vp.state;

    if (before == STM_VP_STOPPING)
        return;
    stm.vp.state = STM_VP_STOPPING;
    stm_score_state(STM_VP_STOPPING);
    if (before == STM_VP_RUNNING)
        no_more_connections();
    end_waits();
    st_thread_unpark(stm.vp.main);
}

/* --- serving --- */

static void on_heartbeat(void)
{
    stm_listeners_look_again();
    stm_limits_report();
}

static void on_turn(st_utime_t held)
{
    stm_pulse->turns++;
    stm.vp.last_turn = held;
    stm_score_turn(held);
    stm_stall_turn(held);
}

static void start_serving(int control)
{
    stm_stall_start();
    stm_accept.limit_reached = retire;
    if (!stm_pools_open() || !stm_waits_open() || !stm_listeners_open()) {
        ap_log_error(APLOG_MARK, APLOG_ALERT, errno, ap_server_conf,
                     STMNO(0087) "VP %d cannot start a state thread", stm.vp.ordinal);
        die(APEXIT_CHILDSICK);
    }
    stm_control_send(control, STM_CONTROL_READY);
    stm_score_start(stm_listeners_publish, on_heartbeat);
    stm_share->accepting = 1;
    st_set_turn_cb(on_turn);
    st_set_sleep_cb(stm_balance_asleep);
    stm_control_listen(control);
    if (stm.vp.state == STM_VP_RUNNING)
        stm.mpm->mpm_state = AP_MPMQ_RUNNING;
}

/* --- end --- */

static void wait_until_told(void)
{
    while (stm.vp.state == STM_VP_RUNNING)
        st_thread_park(ST_UTIME_NO_TIMEOUT);
    while (stm.vp.state == STM_VP_LEAVING && !stm_vp_is_idle())
        st_thread_park(ST_UTIME_NO_TIMEOUT);
}

/* Interrupts repeatedly: a module may have begun another wait. False: some do not end. */
static bool wait_for_the_last(void)
{
    st_utime_t until = st_utime() + STOP_PATIENCE;

    while (!stm_vp_is_idle() && st_utime() < until) {
        st_thread_park(STOP_NUDGE);
        end_waits();
    }
    return stm_vp_is_idle();
}

static void leave_process(bool clean) __attribute__((noreturn));

static void leave_process(bool clean)
{
    bool graceful = stm.vp.state == STM_VP_LEAVING;

    stiol_expect_end();
    /* Called on a state thread while the scheduler still runs: modules join their workers in these
     * hooks. */
    ap_run_child_stopping(stm.vp.pchild, graceful);
    if (!clean) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, ap_server_conf,
                     STMNO(0088) "VP %d stops with %d connections still in progress",
                     stm.vp.ordinal, stm.vp.connections);
        stm_census_report();
        stm_score_end();
        stm_crash_concerns_vp_only();
        /* Modules flush their logs and end their programs here. It takes nothing from under the
         * state threads that are left: their connections' pools, and their own, are not below it.
         * Those of the configuration must stay for them, so this is no exit(). */
        apr_pool_destroy(stm.vp.pchild);
        _exit(0);
    }
    die(0);
}

void stm_vp_main(const stm_child_t *child, int control)
{
    int mounts;

    stm.mpm->mpm_state = AP_MPMQ_STARTING;
    pin_module();
    stm_sigchld_in_vp();
    ap_fatal_signal_child_setup(ap_server_conf);
    take_seat(child);
    stm_pulse_take(child->pulse);
    if (child->cautious)
        stm_caution_begin();
    stm_score_attach(child->score, child->started);
    make_pchild();
    ap_reopen_scoreboard(stm.vp.pchild, NULL, 0);
    stm_sockets_close_others(child->ordinal);
    stm_cpu_bind(child->ordinal);
    mounts = stm_config.threaded_io ? stiol_open_mounts() : -1; /* ChrootDir may hide /proc */
    if (ap_run_drop_privileges(stm.vp.pchild, ap_server_conf))
        die(APEXIT_CHILDFATAL);
    start_scheduler();
    stm_census_start();
    start_threaded_io(mounts);
    stm_current_find();
    ap_run_child_init(stm.vp.pchild, ap_server_conf);
    start_serving(control);

    wait_until_told();
    leave_process(wait_for_the_last());
}
