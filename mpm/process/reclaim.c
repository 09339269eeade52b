/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends all VPs at a stop or a restart that is not graceful, and waits for those named in the
 * master's own records. httpd's ap_reclaim_child_processes() takes the pids from its scoreboard,
 * where any VP may have changed them.
 */
#include <signal.h>

#include "mpm/process/process.h"

/* The maximum interval at which stopping VPs are checked. */
#define STEP apr_time_from_msec(250)

/* When VPs that have been told to stop are told again, and killed (us). */
static const struct {
    apr_interval_time_t after;
    int signal;
} reminders[] = {
    {apr_time_from_sec(3), SIGTERM},
    {apr_time_from_sec(5), SIGTERM},
    {apr_time_from_sec(7), SIGTERM},
    {apr_time_from_sec(9), SIGKILL},
};
#define REMINDERS (sizeof(reminders) / sizeof(*reminders))
#define GIVE_UP   apr_time_from_sec(10)

static void reap_known(pid_t pid)
{
    apr_proc_t proc = {.pid = pid};
    apr_exit_why_e why;
    apr_status_t rv;
    int status;

    rv = apr_proc_wait(&proc, &status, &why, APR_NOWAIT);
    if (rv == APR_CHILD_NOTDONE)
        return;
    if (rv != APR_CHILD_DONE) { /* other code has already waited for it */
        why = APR_PROC_EXIT;
        status = 0;
    }
    stm_children_reaped(&proc, why, status);
}

/* Reaps only processes named in our own records; each record may be gone afterwards. */
static void reap_all_known(void)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        if (stm_retained->seats[i].child.pid)
            reap_known(stm_retained->seats[i].child.pid);
    }
    for (stm_child_t *child = stm_retained->leaving, *next; child; child = next) {
        next = child->next;
        reap_known(child->pid);
    }
}

static void remind(pid_t pid, int signal_number)
{
    ap_log_error(APLOG_MARK, signal_number == SIGKILL ? APLOG_ERR : APLOG_WARNING, 0,
                 ap_server_conf, STMNO(0069) "VP process %ld still did not exit, sending a %s",
                 (long)pid, signal_number == SIGKILL ? "SIGKILL" : "SIGTERM");
    kill(pid, signal_number);
}

static void remind_all(int signal_number)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        if (stm_retained->seats[i].child.pid)
            remind(stm_retained->seats[i].child.pid, signal_number);
    }
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next)
        remind(child->pid, signal_number);
}

void stm_children_reclaim(void)
{
    apr_time_t start = stm_monotonic();
    size_t next = 0;

    for (;;) {
        apr_interval_time_t passed = stm_monotonic() - start;

        reap_all_known();
        if (!stm_children_alive())
            break;
        if (passed >= GIVE_UP) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                         STMNO(0070) "%d VP processes do not exit; continuing without them",
                         stm_children_alive());
            break;
        }
        if (next < REMINDERS && passed >= reminders[next].after)
            remind_all(reminders[next++].signal);
        stm_sigchld_wait(STEP);
    }
    apr_proc_other_child_refresh_all(APR_OC_REASON_RESTART);
}
