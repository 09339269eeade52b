/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master: httpd's run hook. It starts the VPs, replaces those that die, and carries out restart
 * and stop. The order of events is prefork's, except that a death wakes the master at once, a
 * restart starts the new VPs before the old ones leave, and a broken configuration leaves
 * everything as it is.
 */
#include <signal.h>
#include <unistd.h>

#include <http_main.h>

#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/waits.h"
#include "mpm/process/process.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"

/* httpd's modules expect their monitor hook to run about every ten seconds. */
#define TICK apr_time_from_sec(1)
enum { TICKS_A_MONITOR = 10 };

/* The kind of restart requested, while its configuration is being tested. */
static struct {
    bool ungraceful; /* SIGHUP, at least once */
    sigset_t signals;
} asked;

/* --- start --- */

static bool open_scoreboard(server_rec *s)
{
    stm_retained->limits = stm_config_limits();
    if (stm.mpm->was_graceful)
        return true;
    if (ap_run_pre_mpm(s->process->pool, SB_SHARED) != OK)
        return false;
    ap_scoreboard_image->global->running_generation = stm.mpm->my_generation;
    return true;
}

/* The memory in which VPs publish: made before they are started. */
static bool open_shared(void)
{
    if (!stm_share_open(&stm_retained->share, stm_config.num_vps) ||
        !stm_score_open(&stm_retained->score))
        return false;
    stm_retained->stamp->directory = stm_retained->score->directory;
    return true;
}

static void log_start(apr_pool_t *plog, server_rec *s)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 STMNO(0062) "%s configured -- resuming normal operations",
                 ap_get_server_description());
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, STMNO(0063) "Server built: %s",
                 ap_get_server_built());
    ap_log_command_line(plog, s);
    ap_log_mpm_common(s);
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, s,
                 STMNO(0064) "%d VPs of at most %d state threads with %lu bytes of stack",
                 stm_config.num_vps, stm_config.max_threads, (unsigned long)stm_config.stack_size);
    stm_migrate_log(s);
    if (!stm.mpm->my_generation)
        stm_refused_log();
}

/* --- the loop --- */

static void reap(void)
{
    apr_proc_t proc;
    apr_exit_why_e why;
    int status;

    while (apr_proc_wait_all_procs(&proc, &status, &why, APR_NOWAIT, stm.pconf) == APR_CHILD_DONE) {
        switch (stm_children_reaped(&proc, why, status)) {
        case STM_NOT_OURS: /* a piped logger, mod_cgid's daemon, ... */
            if (!stm_config_test_reaped(&proc, why, status))
                apr_proc_other_child_alert(&proc, APR_OC_REASON_DEATH, status);
            break;
        case STM_FATAL:
            stm_retained->fatal = true;
            stm.mpm->shutdown_pending = 1;
            stm.mpm->is_ungraceful = 1;
            break;
        case STM_REAPED:
            break;
        }
    }
}

static void tick(server_rec *s)
{
    static apr_time_t last;
    static int ticks;
    apr_time_t now = stm_monotonic();

    if (now - last < TICK)
        return;
    last = now;
    ap_update_global_status();
    if (++ticks % TICKS_A_MONITOR == 0)
        ap_run_monitor(stm.pconf, s);
}

static apr_time_t sooner(apr_time_t a, apr_time_t b)
{
    return a && (!b || a < b) ? a : b;
}

static apr_interval_time_t until_next(void)
{
    apr_time_t due = sooner(stm_children_next_due(), stm_config_test_due()), now = stm_monotonic();

    if (!due || due - now > TICK)
        return TICK;
    return due > now ? due - now : 0;
}

/* httpd's handlers of these change what we examine. */
static void hold_signals(bool held)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGWINCH};

    if (!held) {
        sigprocmask(SIG_SETMASK, &asked.signals, NULL);
        return;
    }
    sigset_t blocked;

    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        sigaddset(&blocked, ours[i]);
    sigprocmask(SIG_BLOCK, &blocked, &asked.signals);
}

/* A restart was requested: first tests its configuration, while the server keeps running. */
static void test_configuration(server_rec *s)
{
    ap_unixd_mpm_retained_data *mpm = stm.mpm;

    hold_signals(true);
    asked.ungraceful |= mpm->is_ungraceful && !mpm->shutdown_pending;
    mpm->restart_pending = 0;
    if (!mpm->shutdown_pending) {
        mpm->is_ungraceful = 0;
        mpm->mpm_state = AP_MPMQ_RUNNING;
    }
    hold_signals(false);
    stm_config_test_begin(s);
}

static void begin_restart(void)
{
    ap_unixd_mpm_retained_data *mpm = stm.mpm;

    hold_signals(true);
    if (!mpm->shutdown_pending)
        mpm->is_ungraceful = asked.ungraceful;
    mpm->restart_pending = 1;
    hold_signals(false);
}

/* Whether the server is to restart now: it was asked to, and its configuration is good. */
static bool restart_is_due(server_rec *s)
{
    if (stm.mpm->restart_pending)
        test_configuration(s);
    switch (stm_config_test_look(s)) {
    case STM_TEST_GOOD:
        begin_restart();
        return true;
    case STM_TEST_BAD:
        asked.ungraceful = false;
        return false;
    case STM_TEST_NONE:
    case STM_TEST_RUNS:
        break;
    }
    return false;
}

/* A signal that arrives between the check and the wait ends the wait, too. */
static void wait_for_work(void)
{
    hold_signals(true);
    if (!stm.mpm->shutdown_pending && !stm.mpm->restart_pending)
        stm_sigchld_wait_or_hear(until_next(), &asked.signals);
    hold_signals(false);
}

/* Runs until the server is to restart or to stop. */
static void main_loop(server_rec *s)
{
    asked.ungraceful = false;
    for (;;) {
        reap();
        if (stm.mpm->shutdown_pending || restart_is_due(s))
            break;
        stm_children_listen();
        stm_children_start_missing();
        stm_hang_look();
        stm_children_enforce_cutoffs();
        tick(s);
        wait_for_work();
    }
    stm_config_test_cancel();
}

/* --- stop and restart --- */

static void remove_pid_file(void)
{
    if (!stm_retained->fatal)
        ap_remove_pid(stm.pconf, ap_pid_fname);
}

static void stop_children(void)
{
    stm_children_vacate(0); /* a VP that was told to stop has not failed */
    stm_children_tell(STM_CONTROL_STOP);
    stm_children_reclaim();
}

static int stop_now(server_rec *s)
{
    stop_children();
    stm_score_stopped();
    remove_pid_file();
    if (!stm_retained->fatal)
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, STMNO(0065) "caught SIGTERM, shutting down");
    return DONE;
}

/* When leaving VPs have to stop; 0: whenever their last connection ends. */
static apr_time_t graceful_cutoff(void)
{
    return ap_graceful_shutdown_timeout
               ? stm_monotonic() + apr_time_from_sec(ap_graceful_shutdown_timeout)
               : 0;
}

static int stop_gracefully(server_rec *s)
{
    apr_time_t cutoff = graceful_cutoff();

    ap_close_listeners();
    stm_children_vacate(0); /* this function enforces the cutoff */
    stm_children_tell(STM_CONTROL_FINISH);
    remove_pid_file();
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 STMNO(0066) "caught " AP_SIG_GRACEFUL_STOP_STRING ", shutting down gracefully");

    /* SIGTERM makes the stop ungraceful whenever it arrives, even before we get here. */
    while (!stm.mpm->is_ungraceful && (!cutoff || stm_monotonic() < cutoff)) {
        reap();
        if (!stm_children_alive())
            break;
        stm_hang_look();
        stm_children_enforce_cutoffs();
        stm_sigchld_wait(TICK);
    }
    stop_children();
    stm_score_stopped();
    return DONE;
}

static void restart(server_rec *s)
{
    ++stm.mpm->my_generation;
    ap_scoreboard_image->global->running_generation = stm.mpm->my_generation;
    if (!stm.mpm->is_ungraceful) {
        /* The VPs keep serving; the next run replaces them once the new configuration is there. */
        stm_stamp_hand_over();
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     STMNO(0067) AP_SIG_GRACEFUL_STRING " received.  Doing graceful restart");
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 STMNO(0068) "SIGHUP received.  Attempting to restart");
    stop_children();
    stm_stamp_hand_over();
}

static int run_many(apr_pool_t *plog, server_rec *s)
{
    /* VPs of the previous generation serve until their successors are there. */
    stm_children_vacate(graceful_cutoff());
    stm_children_start_missing();
    stm_children_dismiss();
    log_start(plog, s);
    stm.mpm->mpm_state = AP_MPMQ_RUNNING;
    main_loop(s);
    stm.mpm->mpm_state = AP_MPMQ_STOPPING;

    if (!stm.mpm->shutdown_pending)
        restart(s);
    if (!stm.mpm->shutdown_pending) /* it may have arrived during the restart */
        return OK;
    return stm.mpm->is_ungraceful ? stop_now(s) : stop_gracefully(s);
}

int stm_run(apr_pool_t *pconf, apr_pool_t *plog, server_rec *s)
{
    int rc;

    stm.pconf = pconf;
    stm_retained->fatal = false;
    ap_log_pid(pconf, ap_pid_fname);
    stm_first_byte_configure(s);
    stm_times_configure(ap_conftree);
    stm_modules_configure(pconf, s);
    stm_tls_record_configure();
    if (!open_scoreboard(s) || !open_shared() || !stm_sigchld_open()) {
        stm.mpm->mpm_state = AP_MPMQ_STOPPING;
        return !OK;
    }
    ap_unixd_mpm_set_signals(pconf, stm.one_process);
    if (stm.one_process) {
        log_start(plog, s);
        stm_children_become();
    }
    rc = run_many(plog, s);
    stm_sigchld_close();
    return rc;
}
