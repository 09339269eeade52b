/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's side of its VPs: starting, replacing, asking to leave, reaping. A seat is one
 * ordinal; a leaving VP gives up its seat to its successor at once, and is kept in a list until its
 * last connection has ended.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <apr_signal.h>

#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/process/process.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/pulse.h"
#include "mpm/shared/share.h"

/* How long a VP may take to stop after being told to stop at once. */
#define STOP_GRACE apr_time_from_sec(3)
/* How long a VP that is ended for hanging may take to write its core, and a killed one to
 * disappear; after that nobody waits for it. */
#define CORE_GRACE apr_time_from_sec(10)
#define KILL_GRACE apr_time_from_sec(10)

/* So often a VP may fail to start, one time after the other, before the server gives up. */
enum { SICK_STARTS = 3 };

/* --- the core scoreboard's process slots --- */

/* Written for others, never read. Any VP may change them */

static void note_lost_slot(int slot)
{
    stm_seat_t *seat = &stm_retained->seats[slot];

    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, ap_server_conf,
                 STMNO(0037) "a new VP takes over slot %d from pid %ld", slot,
                 (long)seat->noted.pid);
    ap_run_child_status(ap_server_conf, seat->noted.pid, seat->noted.generation, slot,
                        MPM_CHILD_LOST_SLOT);
}

static void note_started(int slot, pid_t pid)
{
    process_score *score = ap_get_scoreboard_process(slot);
    stm_seat_t *seat = &stm_retained->seats[slot];

    if (seat->noted.pid != 0)
        note_lost_slot(slot);
    seat->noted.pid = score->pid = pid;
    seat->noted.generation = score->generation = stm.mpm->my_generation;
    score->quiescing = 0;
    score->not_accepting = 0;
    score->connections = score->write_completion = score->lingering_close = 0;
    score->keep_alive = score->suspended = 0;
    stm_score_set_wait_io(score, 0);
    if (slot + 1 > stm_retained->max_daemon_used)
        stm_retained->max_daemon_used = slot + 1;
    ap_run_child_status(ap_server_conf, pid, seat->noted.generation, slot, MPM_CHILD_STARTED);
}

static void note_stopped(const stm_child_t *last)
{
    /* Another build may have had more seats; what it noted is not here. */
    stm_seat_t *seat = last->foreign ? NULL : &stm_retained->seats[last->ordinal];
    bool has_slot = seat && seat->noted.pid == last->pid;

    if (has_slot) {
        process_score *score = ap_get_scoreboard_process(last->ordinal);

        seat->noted.pid = score->pid = 0;
        score->quiescing = 0;
    }
    ap_run_child_status(ap_server_conf, last->pid, last->generation, has_slot ? last->ordinal : -1,
                        MPM_CHILD_EXITED);
}

/* --- our own records --- */

static void close_control(stm_child_t *child)
{
    if (child->control >= 0)
        close(child->control);
    child->control = -1;
}

static stm_seat_t *seat_of(pid_t pid)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        if (stm_retained->seats[i].child.pid == pid)
            return &stm_retained->seats[i];
    }
    return NULL;
}

static stm_child_t **leaving_link_of(pid_t pid)
{
    stm_child_t **link = &stm_retained->leaving;

    while (*link && (*link)->pid != pid)
        link = &(*link)->next;
    return link;
}

/* A VP's channel ends; what it had sent before is still read. */
static void end_channel(stm_child_t *child)
{
    char said;

    if (!child->ready && stm_control_hear(child->control, &said) == STM_HEARD_BYTE)
        child->ready = said == STM_CONTROL_READY;
    close_control(child);
}

/* Removes the record of a dead process. Its last contents go to *last, whose pulse is no longer
 * mapped; served: it had accepted connections. False: not a child of ours. */
static bool remove_record(pid_t pid, stm_child_t *last, bool *had_seat, bool *served)
{
    stm_seat_t *seat = seat_of(pid);
    stm_child_t **link;

    *had_seat = !!seat;
    if (seat) {
        end_channel(&seat->child);
        *last = seat->child;
        *served = last->pulse && last->pulse->served;
        stm_pulse_unmake(last->pulse);
        seat->child.pid = 0;
        seat->child.pulse = NULL;
        return true;
    }
    link = leaving_link_of(pid);
    if (*link) {
        stm_child_t *child = *link;

        end_channel(child);
        *last = *child;
        *served = true;
        *link = child->next;
        stm_pulse_unmake(child->pulse);
        free(child);
        return true;
    }
    return false;
}

/* Frees everything kept for a process that has ended. */
static void forget(const stm_child_t *last)
{
    note_stopped(last);
    stm_slots_clear_dead(last->ordinal, last->pid);
    if (last->foreign)
        return; /* it has no block or page of ours */
    stm_score_release(last->ordinal, last->score);
    stm_share_release(last->ordinal, last->page);
}

/* --- starting --- */

/* In the new process: closes what belongs only to the master. */
static void close_masters_ends(void)
{
    for (int i = 0; i < STM_VP_LIMIT; i++)
        close_control(&stm_retained->seats[i].child);
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next)
        close_control(child);
    stm_config_test_in_vp();
}

static void start_failed(stm_seat_t *seat, stm_child_t *child, int error)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, error, ap_server_conf,
                 STMNO(0038) "fork: cannot start VP %d", child->ordinal);
    close_control(child);
    stm_pulse_unmake(child->pulse);
    stm_score_release(child->ordinal, child->score);
    stm_share_release(child->ordinal, child->page);
    stm_backoff_after_failure(seat);
}

/* What only the new process may write. */
static void inherit(const stm_child_t *child, bool inherited)
{
    stm_share_inherit(child->ordinal, child->page, inherited);
    stm_score_inherit(child->ordinal, child->score, inherited);
    stm_pulse_inherit(child->pulse, inherited);
}

static void become_vp(stm_child_t *child, int vp_end) __attribute__((noreturn));

static void become_vp(stm_child_t *child, int vp_end)
{
#if AP_HAS_THREAD_LOCAL
    ap_thread_current_after_fork();
#endif
    close_masters_ends();
    close(child->control);
    child->pid = getpid();
    stm_vp_main(child, vp_end);
}

static void start_one(int ordinal)
{
    stm_seat_t *seat = &stm_retained->seats[ordinal];
    stm_child_t child = {
        .ordinal = ordinal,
        .generation = stm.mpm->my_generation,
        .incarnation = seat->incarnations + 1,
        .started = apr_time_now(),
        .born = stm_monotonic(),
        .cautious = stm_backoff_crash_loop(),
        .control = -1,
    };
    int vp_end, error;

    if (!stm_control_open(&child.control, &vp_end)) {
        stm_backoff_after_failure(seat);
        return;
    }
    child.page = stm_share_reserve(ordinal);
    child.pulse = stm_pulse_make();
    child.score = stm_score_reserve(ordinal, child.incarnation);
    stm_share_seat(ordinal, child.page, child.incarnation);
    inherit(&child, true);
    child.pid = fork();
    if (child.pid == 0)
        become_vp(&child, vp_end);
    error = errno;
    inherit(&child, false);
    close(vp_end);
    if (child.pid < 0) {
        start_failed(seat, &child, error);
        return;
    }
    seat->child = child;
    seat->incarnations = child.incarnation;
    note_started(ordinal, child.pid);
}

void stm_children_start_missing(void)
{
    apr_time_t now = stm_monotonic();

    for (int i = 0; i < stm_config.num_vps; i++) {
        stm_seat_t *seat = &stm_retained->seats[i];

        if (!seat->child.pid && seat->not_before <= now)
            start_one(i);
    }
}

void stm_children_become(void)
{
    stm_seat_t *seat = &stm_retained->seats[0];

    seat->child.pid = getpid();
    seat->child.generation = stm.mpm->my_generation;
    seat->child.incarnation = ++seat->incarnations;
    seat->child.started = apr_time_now();
    seat->child.page = stm_share_reserve(0);
    seat->child.born = stm_monotonic();
    seat->child.score = stm_score_reserve(0, seat->child.incarnation);
    stm_share_seat(0, seat->child.page, seat->child.incarnation);
    note_started(0, getpid());
    stm_vp_main(&seat->child, -1);
}

/* --- leaving --- */

static stm_child_t *move_to_leaving(stm_seat_t *seat, apr_time_t cutoff)
{
    stm_child_t *child = ap_malloc(sizeof(*child));

    *child = seat->child;
    child->leaving = true;
    child->cutoff = cutoff;
    child->next = stm_retained->leaving;
    stm_retained->leaving = child;
    seat->child.pid = 0;
    seat->child.control = -1;
    seat->child.pulse = NULL;
    seat->not_before = 0;
    return child;
}

void stm_children_vacate(apr_time_t cutoff)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        if (stm_retained->seats[i].child.pid)
            move_to_leaving(&stm_retained->seats[i], cutoff);
    }
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next) {
        if (child->foreign && !child->cutoff)
            child->cutoff = cutoff;
    }
}

stm_child_t *stm_children_unseat(stm_seat_t *seat)
{
    return move_to_leaving(seat, 0);
}

void stm_children_ended(stm_child_t *child)
{
    close_control(child);
    child->ending = STM_ENDING_STOPPED;
    child->cutoff = stm_monotonic() + CORE_GRACE;
}

/* A VP that has closed its channel can only be stopped, unless that is already under way. */
static void tell(const stm_child_t *child, char command)
{
    if (!stm_control_send(child->control, command) && !child->foreign &&
        child->ending == STM_ENDING_NOT)
        kill(child->pid, SIGTERM);
}

void stm_children_dismiss(void)
{
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next)
        tell(child, STM_CONTROL_LEAVE);
}

/* Returns whether it says that it is leaving. Anything a VP sends means that, except READY as its
 * first byte; and the channel's end is seen only once. So a VP can only speak for itself, and
 * cannot keep the master busy. */
static bool says_that_it_leaves(stm_child_t *child)
{
    char said;

    switch (stm_control_hear(child->control, &said)) {
    case STM_HEARD_NOTHING:
        return false;
    case STM_HEARD_END:
        close_control(child);
        return false;
    case STM_HEARD_BYTE:
        break;
    }
    if (said != STM_CONTROL_READY || child->ready)
        return true;
    child->ready = true;
    return false;
}

/* Frees the seats of VPs that are leaving (VPConnections). */
void stm_children_listen(void)
{
    for (int i = 0; i < stm_config.num_vps; i++) {
        stm_seat_t *seat = &stm_retained->seats[i];

        if (seat->child.pid && says_that_it_leaves(&seat->child))
            move_to_leaving(seat, 0);
    }
}

int stm_children_channels(struct pollfd *list, int room)
{
    int count = 0;

    for (int i = 0; i < stm_config.num_vps && count < room; i++) {
        const stm_child_t *child = &stm_retained->seats[i].child;

        if (child->pid && child->control >= 0)
            list[count++] = (struct pollfd){.fd = child->control, .events = POLLIN};
    }
    return count;
}

void stm_children_tell(char command)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        if (stm_retained->seats[i].child.pid)
            tell(&stm_retained->seats[i].child, command);
    }
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next)
        tell(child, command);
}

static void tell_to_stop(stm_child_t *child)
{
    ap_log_error(
        APLOG_MARK, APLOG_INFO, 0, ap_server_conf,
        STMNO(0039) "VP %d of an earlier generation (pid %ld) is past GracefulShutdownTimeout: "
                    "stopping it",
        child->ordinal, (long)child->pid);
    stm_control_send(child->control, STM_CONTROL_STOP);
    close_control(child);
}

/* Takes the next step to end the VP, and returns how long that may take. */
static apr_interval_time_t press(stm_child_t *child)
{
    switch (child->ending) {
    case STM_ENDING_NOT:
        tell_to_stop(child);
        child->ending = STM_ENDING_STOPPED;
        return STOP_GRACE;
    case STM_ENDING_STOPPED:
        if (stm_hang_dumps_core(child->pid) && child->dumping++ < 6)
            return CORE_GRACE;
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     STMNO(0040) "VP %d (pid %ld) did not stop: killing it", child->ordinal,
                     (long)child->pid);
        kill(child->pid, SIGKILL);
        child->ending = STM_ENDING_KILLED;
        return KILL_GRACE;
    case STM_ENDING_KILLED:
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
            STMNO(0041) "VP %d (pid %ld) was killed but is still there: no longer waiting for it",
            child->ordinal, (long)child->pid);
        child->ending = STM_ENDING_GIVEN_UP;
        break;
    case STM_ENDING_GIVEN_UP:
        break;
    }
    return 0;
}

void stm_children_enforce_cutoffs(void)
{
    apr_time_t now = stm_monotonic();

    for (stm_child_t *child = stm_retained->leaving; child; child = child->next) {
        if (child->cutoff && now >= child->cutoff) {
            apr_interval_time_t grace = press(child);

            child->cutoff = grace ? now + grace : 0;
        }
    }
}

static int count_children(bool given_up_too)
{
    int count = 0;

    for (int i = 0; i < STM_VP_LIMIT; i++)
        count += stm_retained->seats[i].child.pid != 0;
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next)
        count += given_up_too || child->ending != STM_ENDING_GIVEN_UP;
    return count;
}

int stm_children_alive(void)
{
    return count_children(false);
}

int stm_children_all(void)
{
    return count_children(true);
}

apr_time_t stm_children_next_due(void)
{
    apr_time_t due = 0;

    for (int i = 0; i < stm_config.num_vps; i++) {
        const stm_seat_t *seat = &stm_retained->seats[i];

        if (!seat->child.pid && (!due || seat->not_before < due))
            due = seat->not_before ? seat->not_before : 1;
    }
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next) {
        if (child->cutoff && (!due || child->cutoff < due))
            due = child->cutoff;
    }
    return due;
}

/* --- death --- */

static void log_death(const stm_child_t *last, int signal_number)
{
    const stm_share_vp_t *share = stm_share_of(last->ordinal, last->page);

    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf,
                 STMNO(0042) "VP %d (incarnation %u, pid %ld) died of signal %d (%s)%s",
                 last->ordinal, last->incarnation, (long)last->pid, signal_number,
                 strsignal(signal_number), last->leaving ? " while it was leaving" : "");
    if (share && share->overflowed)
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
            STMNO(0043) "a state thread of VP %d overflowed its stack of %u bytes: raise StackSize",
            last->ordinal, share->overflow_size);
}

/* A VP that has started successfully has no reason to say so; only whoever took it over would. */
static bool fatal_for_server(const stm_child_t *last, int verdict)
{
    bool current = last->generation == stm.mpm->my_generation;

    if (verdict != APEXIT_CHILDFATAL)
        return false;
    if (current && !last->ready)
        return true;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                 STMNO(0044) "ignoring fatal error in a VP %s (pid %ld)",
                 current ? "that has served" : "of an earlier generation", (long)last->pid);
    return false;
}

static bool any_is_ready(void)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        if (stm_retained->seats[i].child.pid && stm_retained->seats[i].child.ready)
            return true;
    }
    return stm_retained->leaving;
}

/* Like event: a server none of whose processes could start does not try forever. It tries a few
 * times, so that what the others report is read first. */
static bool hopeless(const stm_child_t *last, int verdict)
{
    stm_retained->healthy |= last->ready || any_is_ready();
    if (verdict != APEXIT_CHILDSICK || stm_retained->healthy ||
        stm_retained->seats[last->ordinal].early_deaths < SICK_STARTS)
        return false;
    ap_log_error(
        APLOG_MARK, APLOG_ALERT, 0, ap_server_conf,
        STMNO(0045) "no VP can be started (VP %d has failed %d times; its own message says why): "
                    "httpd is exiting!",
        last->ordinal, SICK_STARTS);
    return true;
}

stm_reaped_e stm_children_reaped(apr_proc_t *proc, apr_exit_why_e why, int status)
{
    stm_child_t last;
    bool had_seat, served, signaled = APR_PROC_CHECK_SIGNALED(why);
    int verdict;

    if (!remove_record(proc->pid, &last, &had_seat, &served))
        return STM_NOT_OURS;
    verdict = ap_process_child_status(proc, why, status);
    if (signaled)
        log_death(&last, status);
    forget(&last);
    if (had_seat)
        stm_backoff_after_death(&stm_retained->seats[last.ordinal], &last, served,
                                !signaled || status != SIGKILL);
    return fatal_for_server(&last, verdict) || (had_seat && hopeless(&last, verdict)) ? STM_FATAL
                                                                                      : STM_REAPED;
}
