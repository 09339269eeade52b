/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syslog() and the like. The C library waits in connect() or send() for a daemon that does not
 * read, with its lock held, so all of them run on a helper: one at a time, which keeps the lines in
 * order. The line is formatted here, where its arguments are; a job is on the heap, so that a VP
 * that ends need not wait for the daemon.
 */
#include <syslog.h>

#include "stiol/stiol_int.h"

enum { LAST_WORDS = 500000 }; /* us that a line may take at the VP's end */

typedef struct log_job {
    stiol__job_t job;
    enum log_call { LINE, OPEN, CLOSE, MASK } what;
    int number, facility; /* priority, options or mask */
    const char *ident;    /* from openlog(): the caller's, as the C library keeps it */
    char *line;
    st_thread_t thread;
    bool done, alone; /* nobody waits any more */
    int rc;
} log_job_t;

static void run_log(stiol__job_t *job)
{
    log_job_t *call = (log_job_t *)job;

    switch (call->what) {
    case LINE:
        syslog(call->number, "%s", call->line);
        break;
    case OPEN:
        openlog(call->ident, call->number, call->facility);
        break;
    case CLOSE:
        closelog();
        break;
    case MASK:
        call->rc = setlogmask(call->number);
        break;
    }
}

static void free_job(stiol__job_t *job)
{
    log_job_t *call = (log_job_t *)job;

    free(call->line);
    free(call);
}

/* In the scheduler. */
static void logged(stiol__job_t *job)
{
    log_job_t *call = (log_job_t *)job;

    if (call->alone) {
        free_job(job);
        return;
    }
    call->done = true;
    st_thread_unpark(call->thread);
}

/* Parks until the line is logged; false: the VP is ending, and nobody needs to know. */
static bool wait_for(const stiol__vp_t *vp, const log_job_t *call, bool *interrupted)
{
    st_utime_t deadline = STIOL_NEVER;

    while (!call->done) {
        if (vp->ending && deadline == STIOL_NEVER)
            deadline = stiol__deadline(LAST_WORDS);
        if (stiol__left(deadline) == 0)
            return false;
        if (st_thread_park(vp->ending ? stiol__left(deadline) : STIOL_JOB_PATIENCE) == 0)
            continue;
        if (errno == ETIME)
            stiol__help_try_again();
        else
            *interrupted = true;
    }
    return true;
}

/* In a callback of the scheduler, where the MPM also logs: sends the line off without waiting. */
static void send_off(stiol__vp_t *vp, log_job_t *call)
{
    if (stiol__help_send_off(vp, STIOL_HELP_LOG, &call->job, free_job))
        return;
    stiol__help_here(&call->job);
    free_job(&call->job);
}

/* On a state thread. The result of setlogmask(). */
static int wait_until_logged(stiol__vp_t *vp, log_job_t *call)
{
    st_wait_t wait = stiol__help_wait(STIOL_HELP_LOG, &call->job);
    bool interrupted = false, known = true;
    int rc;

    STIOL_PARKS(vp, io);
    st_wait_begin(&wait);
    vp->counters.io.helped++;
    if (stiol__help_start_patiently(vp, STIOL_HELP_LOG, &call->job, &interrupted))
        known = wait_for(vp, call, &interrupted);
    else
        stiol__help_here(&call->job);
    st_wait_end(&wait);
    rc = known ? call->rc : 0;
    if (known) {
        free_job(&call->job);
    } else {
        call->alone = true;
        (void)stiol__help_abandon(&call->job, free_job);
    }
    if (interrupted)
        st_thread_interrupt(st_thread_self()); /* not for this wait: pass it on to the next one */
    return rc;
}

/* Takes the job over. */
static int run_elsewhere(stiol__vp_t *vp, log_job_t *call)
{
    int error = errno, rc = 0;

    call->job.run = run_log;
    call->job.finished = logged;
    call->thread = st_thread_self();
    if (st_in_callback())
        send_off(vp, call);
    else
        rc = wait_until_logged(vp, call);
    errno = error;
    return rc;
}

/* The VP, even in callbacks of its scheduler. */
#define ENTER(call, arg)                                                                           \
    ({                                                                                             \
        (void)STIOL_ENTER(io, call, arg);                                                          \
        stiol__mine();                                                                             \
    })

static log_job_t *new_job(enum log_call what, int number)
{
    log_job_t *call = calloc(1, sizeof(*call));

    if (call) {
        call->what = what;
        call->number = number;
    }
    return call;
}

/* False: there is no memory for the line. */
static bool log_line(stiol__vp_t *vp, int priority, const char *format, va_list arguments)
{
    log_job_t *call = new_job(LINE, priority);
    va_list again;
    int length;

    if (!call)
        return false;
    va_copy(again, arguments);
    length = vasprintf(&call->line, format, again);
    va_end(again);
    if (length < 0) {
        free(call);
        return false;
    }
    (void)run_elsewhere(vp, call);
    return true;
}

void stiol__vsyslog(int priority, const char *format, va_list arguments)
{
    stiol__vp_t *vp = ENTER(vsyslog, priority);

    if (!vp || !log_line(vp, priority, format, arguments))
        vsyslog(priority, format, arguments);
}

void stiol__syslog(int priority, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    stiol__vsyslog(priority, format, arguments);
    va_end(arguments);
}

void stiol____vsyslog_chk(int priority, int flag, const char *format, va_list arguments)
{
    (void)flag;
    stiol__vsyslog(priority, format, arguments);
}

void stiol____syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list arguments;

    (void)flag;
    va_start(arguments, format);
    stiol__vsyslog(priority, format, arguments);
    va_end(arguments);
}

void stiol__openlog(const char *ident, int options, int facility)
{
    stiol__vp_t *vp = ENTER(openlog, options);
    log_job_t *call = vp ? new_job(OPEN, options) : NULL;

    if (!call) {
        openlog(ident, options, facility);
        return;
    }
    call->ident = ident;
    call->facility = facility;
    (void)run_elsewhere(vp, call);
}

void stiol__closelog(void)
{
    stiol__vp_t *vp = ENTER(closelog, 0);
    log_job_t *call = vp ? new_job(CLOSE, 0) : NULL;

    if (call)
        (void)run_elsewhere(vp, call);
    else
        closelog();
}

int stiol__setlogmask(int mask)
{
    stiol__vp_t *vp = ENTER(setlogmask, mask);
    log_job_t *call = vp ? new_job(MASK, mask) : NULL;

    return call ? run_elsewhere(vp, call) : setlogmask(mask);
}
