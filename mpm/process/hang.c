/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detects VPs that hang: one that has deadlocked, computes endlessly or was stopped cannot report
 * it. A VP makes a turn at least every second; the master counts its own checks of a VP that makes
 * none, so that time in which the master did not run either does not count. It logs what the VP is
 * doing, and after HangTimeout ends it with a core dump. Called by master.c.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mpm/config/config.h"
#include "mpm/process/process.h"
#include "mpm/shared/pulse.h"

#define LOOK_EACH apr_time_from_sec(1)
/* Checks after which a silent VP is logged. */
enum {
    NOTICE = 5,
    /* A leaving VP that waits and makes no turns will not recover: it is ended after this many
     * checks. */
    LEAVING_WAITS = 10,
    /* The same for a leaving VP that computes, if HangTimeout sets no limit. */
    LEAVING_COMPUTES = 60,
};
/* A VP that is still starting has this many times HangTimeout: modules may read a lot in
 * child_init, and a VP that is ended while it does so never becomes ready. */
enum {
    STARTING = 10,
    /* Checks for which a VP that was asked what it is doing may take to answer before it is
     * ended. */
    ANSWER = 5,
    /* Lines of a VP's own report that are logged. */
    REPORT_LINES = 48,
};

/* Fields of /proc/PID/stat, from 1: proc(5). */
enum {
    STAT_USER_TIME = 14,
    STAT_SYSTEM_TIME = 15,
};

/** What the kernel says about a process. */
typedef struct {
    char state;        /* as in /proc/PID/stat */
    unsigned long cpu; /* clock ticks used */
    bool traced;       /* by a debugger */
    bool dumping;      /* writing its core */
} process_t;

/* --- /proc --- */

static bool read_proc(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static unsigned long status_number(const char *status, const char *name)
{
    const char *line = strstr(status, name);

    return line ? strtoul(line + strlen(name), NULL, 10) : 0;
}

/* The fields after the program's name, which may contain anything. */
static bool parse_stat(char *text, process_t *process)
{
    char *rest = strrchr(text, ')'), *field;

    if (!rest || rest[1] != ' ')
        return false;
    rest += 2;
    process->state = *rest;
    for (int number = 3; (field = strsep(&rest, " ")) && number <= STAT_SYSTEM_TIME; number++) {
        if (number >= STAT_USER_TIME)
            process->cpu += strtoul(field, NULL, 10);
    }
    return field;
}

static bool look_at_process(pid_t pid, process_t *process)
{
    char text[4096];

    memset(process, 0, sizeof(*process));
    if (!read_proc(pid, "stat", text, sizeof(text)) || !parse_stat(text, process))
        return false;
    if (read_proc(pid, "status", text, sizeof(text))) {
        process->traced = status_number(text, "\nTracerPid:") != 0;
        process->dumping = status_number(text, "\nCoreDumping:") != 0;
    }
    return true;
}

bool stm_hang_dumps_core(pid_t pid)
{
    process_t process;

    return look_at_process(pid, &process) && process.dumping;
}

static const char *state_words(char state)
{
    switch (state) {
    case 'R':
        return "it is computing";
    case 'S':
        return "it is waiting outside the scheduler";
    case 'D':
        return "it is waiting in the kernel, perhaps for a disk";
    case 'T':
        return "it was stopped by a signal";
    case 'Z': /* a process that has ended as a whole is reaped before the next check */
        return "its main thread has ended, but another thread has not";
    default:
        return "its state is unknown";
    }
}

/* --- what is logged --- */

/* Only plain characters get into the log, whatever the VP wrote. */
static void clean(char *text)
{
    for (; *text; text++) {
        if (!isascii((unsigned char)*text) || !isprint((unsigned char)*text))
            *text = '?';
    }
}

static void log_notice(const stm_child_t *child, const process_t *process)
{
    char where[128] = "";

    if (process->state != 'R')
        read_proc(child->pid, "wchan", where, sizeof(where));
    clean(where);
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
        STMNO(0057) "VP %d (incarnation %u, pid %ld) hangs: no scheduler turn for %u s, %s%s%s%s",
        child->ordinal, child->incarnation, (long)child->pid, child->hang.silent,
        state_words(process->state), *where && strcmp(where, "0") != 0 ? " (" : "",
        strcmp(where, "0") != 0 ? where : "", *where && strcmp(where, "0") != 0 ? ")" : "");
}

static void log_report(const stm_child_t *child)
{
    char text[STM_PULSE_REPORT], *rest = text, *line;

    memcpy(text, child->pulse->report, sizeof(text));
    text[sizeof(text) - 1] = '\0';
    line = strsep(&rest, "\n");
    clean(line);
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                 STMNO(0058) "VP %d (pid %ld) hangs %s%s%s", child->ordinal, (long)child->pid,
                 *line ? "in the request \"" : "outside any request", line,
                 *line ? "\"; its call stack:" : "; its call stack:");
    for (int i = 0; i < REPORT_LINES && (line = strsep(&rest, "\n")) && *line; i++) {
        clean(line);
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf, STMNO(0059) "  %s", line);
    }
}

/* --- one VP --- */

static void ask(stm_child_t *child)
{
    child->hang.asked = syscall(SYS_tgkill, child->pid, child->pid, STM_LOOK_SIGNAL) == 0;
}

static void notice(stm_child_t *child, const process_t *process)
{
    child->hang.told = child->hang.silent;
    child->hang.cpu = process->cpu;
    log_notice(child, process);
    if (process->state == 'T' || !__atomic_load_n(&child->pulse->can_answer, __ATOMIC_ACQUIRE))
        return;
    child->hang.answers = __atomic_load_n(&child->pulse->answers, __ATOMIC_ACQUIRE);
    ask(child);
}

/* The VP's own timer uses the same signal, and of two that are pending the kernel drops the second:
 * the question is repeated until there is an answer. */
static void hear_answer(stm_child_t *child)
{
    if (__atomic_load_n(&child->pulse->answers, __ATOMIC_ACQUIRE) == child->hang.answers) {
        ask(child);
        return;
    }
    child->hang.asked = false;
    log_report(child);
}

/* Checks after which it is ended; 0: never. */
static unsigned limit_of(const stm_child_t *child, const process_t *process)
{
    unsigned configured = (unsigned)stm_config.hang_timeout;

    if (!child->leaving && !child->ready)
        return configured < UINT_MAX / STARTING ? configured * STARTING : configured;
    if (!child->leaving)
        return stm_config.threaded_io ? configured : 0;
    if ((process->state == 'T' || (process->state == 'S' && stm_config.threaded_io)) &&
        (!configured || configured > LEAVING_WAITS))
        return LEAVING_WAITS;
    return configured ? configured : LEAVING_COMPUTES;
}

/* A VP that is ready to run but gets no CPU does not hang. */
static bool starved(const stm_child_t *child, const process_t *process)
{
    unsigned long second = (unsigned long)sysconf(_SC_CLK_TCK);

    return process->state == 'R' &&
           process->cpu - child->hang.cpu < (child->hang.silent - child->hang.told) * second / 20;
}

static void back_again(stm_child_t *child, uint64_t turns)
{
    if (child->hang.told)
        ap_log_error(
            APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf,
            STMNO(0060) "VP %d (pid %ld) is running again after %u s without a scheduler turn",
            child->ordinal, (long)child->pid, child->hang.silent);
    memset(&child->hang, 0, sizeof(child->hang));
    child->hang.turns = turns;
}

/* The VP has been silent for a while: logs that, and returns whether to end it. */
static bool judge(stm_child_t *child, unsigned notice_after)
{
    process_t process;
    unsigned limit;

    if (!look_at_process(child->pid, &process))
        return false;
    if (process.traced || process.dumping) {
        back_again(child, child->hang.turns);
        return false;
    }
    if (!child->hang.told)
        notice(child, &process);
    else if (child->hang.asked)
        hear_answer(child);
    limit = limit_of(child, &process);
    if (!limit || child->hang.silent < limit)
        return false;
    if (child->hang.asked && child->hang.silent < child->hang.told + ANSWER)
        return false;
    if (!starved(child, &process))
        return true;
    child->hang.silent = child->hang.told = notice_after;
    child->hang.cpu = process.cpu;
    return false;
}

/* Whether to end the VP because it makes no turns. */
static bool hangs(stm_child_t *child)
{
    unsigned limit = (unsigned)stm_config.hang_timeout;
    unsigned notice_after = limit && limit <= NOTICE ? limit - 1 : NOTICE;
    uint64_t turns;

    if (!child->pid || !child->pulse || child->ending)
        return false;
    turns = __atomic_load_n(&child->pulse->turns, __ATOMIC_RELAXED);
    if (turns != child->hang.turns) {
        back_again(child, turns);
        return false;
    }
    child->hang.silent++;
    return child->hang.silent >= notice_after && judge(child, notice_after);
}

static void end(stm_child_t *child)
{
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
        STMNO(0061) "VP %d (incarnation %u, pid %ld) is terminated: no scheduler turn for %u s "
                    "(HangTimeout %d)",
        child->ordinal, child->incarnation, (long)child->pid, child->hang.silent,
        stm_config.hang_timeout);
    kill(child->pid, SIGABRT); /* its handler dumps the core */
    kill(child->pid, SIGCONT); /* a stopped process gets no signals before that */
}

/* --- all of them --- */

void stm_hang_look(void)
{
    static apr_time_t last;
    apr_time_t now = stm_monotonic();

    if (now - last < LOOK_EACH)
        return;
    last = now;
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        stm_seat_t *seat = &stm_retained->seats[i];

        if (hangs(&seat->child)) {
            end(&seat->child);
            stm_children_ended(stm_children_unseat(seat));
        }
    }
    for (stm_child_t *child = stm_retained->leaving; child; child = child->next) {
        if (hangs(child)) {
            end(child);
            stm_children_ended(child);
        }
    }
}
