/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stalls: a state thread that computes, or waits where STIOL cannot help (a file, the kernel),
 * holds up its VP. A timer that runs only while the VP is busy notices this and records the
 * culprit; when the turn is over it is logged (StallWarning).
 */
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mpm/conn/auto_move.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/conn/waits.h"
#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/diagnosis/diagnosis.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/pulse.h"

enum {
    FRAMES = 32,
    REQUEST_SIZE = 256,
};
/* At most one report in this time. */
#define QUIET apr_time_from_sec(10)
/* The minimum number of looks during the time that StallWarning allows. */
enum { LOOKS = 3 };

static struct {
    bool running; /* the timer exists */
    timer_t timer;
    struct itimerspec look;       /* until the next look */
    int looks_for_warning;        /* 0: not wanted */
    bool moves;                   /* auto_move.c wants to know */
    volatile sig_atomic_t armed;  /* the timer will look again */
    volatile sig_atomic_t woke;   /* it did, and found the VP asleep */
    volatile unsigned turn;       /* counts turns */
    unsigned looked_at;           /* the turn of the last look, */
    int looks;                    /* and how many looks found it */
    volatile sig_atomic_t caught; /* the rest describes this turn's thread */
    void *frames[FRAMES];
    int frame_count;
    char request[REQUEST_SIZE];
    apr_time_t reported;
    unsigned long unreported;
} stall;

/* --- in the signal handler --- */

/* The request that the running state thread serves; NULL if none. */
static const request_rec *current_request(void)
{
    const request_rec *r = stm_thread_request();

    return r ? r : stm_kernel_stream();
}

static void note_request(void)
{
    const request_rec *r = current_request();
    const char *line = r ? r->the_request : NULL;
    size_t length = 0;

    while (line && line[length] && length < REQUEST_SIZE - 1) {
        stall.request[length] = line[length];
        length++;
    }
    stall.request[length] = '\0';
}

static void look(void)
{
    if (st_vp_asleep(stm.vp.scheduler)) {
        stall.armed = 0; /* the next turn with work arms it again, */
        stall.woke = 1;  /* not the one that this signal makes */
        return;
    }
    if (stall.looked_at != stall.turn) {
        stall.looked_at = stall.turn;
        stall.looks = 0;
    }
    stall.looks++;
    if (stall.moves)
        stm_auto_look(stall.looks == 1, current_request());
    if (stall.looks == stall.looks_for_warning) {
        stall.frame_count = backtrace(stall.frames, FRAMES);
        note_request();
        stm_waits_show_running();
        stall.caught = 1;
    }
    timer_settime(stall.timer, 0, &stall.look, NULL);
}

/* Handles our timer's signal, and the master's question (hang.c). */
static void on_look(int signal_number, siginfo_t *info, void *context)
{
    int error = errno;

    (void)signal_number;
    (void)context;
    if (info->si_code == SI_TIMER && stall.running)
        look();
    else if (info->si_code == SI_TKILL)
        stm_answer_write();
    errno = error;
}

/* --- at the end of a turn --- */

static void log_frames(void)
{
    /* Logging may take long, too, and the next look finds other frames. */
    int count = stall.frame_count;
    char **names = backtrace_symbols(stall.frames, count);

    /* The first frames are this file's and the signal's. */
    for (int i = 3; names && i < count; i++)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf, STMNO(0030) "  %s", names[i]);
    free(names);
}

static void report(st_utime_t held, const char *remedy)
{
    apr_time_t now = stm_monotonic();

    if (now - stall.reported < QUIET) {
        stall.unreported++;
        return;
    }
    ap_log_error(
        APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
        STMNO(0031) "VP %d was held up for %lu ms (StallWarning %d)%s%s%s; %lu more since the last "
                    "report",
        stm.vp.ordinal, (unsigned long)(held / 1000), stm_config.stall_warning,
        stall.caught && *stall.request ? " in the request \"" : "",
        stall.caught ? stall.request : "", stall.caught && *stall.request ? "\"" : "",
        stall.unreported);
    if (stall.caught && *remedy)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     STMNO(0032) "  to keep it off the VP: %s", remedy);
    if (stall.caught)
        log_frames();
    stall.reported = now;
    stall.unreported = 0;
}

void stm_stall_turn(st_utime_t held)
{
    const char *remedy;

    stall.turn++;
    if (!stall.running)
        return;
    remedy = stm_auto_turn();
    if (stm_config.stall_warning && held >= (st_utime_t)stm_config.stall_warning * 1000) {
        STM_SCORE_INC(stm_score, stalls);
        report(held, remedy);
    }
    stall.caught = 0;
    if (!stall.armed && !stall.woke) {
        stall.armed = 1;
        if (stall.moves)
            stm_auto_armed();
        timer_settime(stall.timer, 0, &stall.look, NULL);
    }
    stall.woke = 0;
}

/* The number of looks, `look` ns apart, that `time` ns take; 0: none. */
static int looks_in(long long time, long long look)
{
    return time > 0 && look > 0 ? (int)((time + look - 1) / look) : 0;
}

/* The time between two looks suits both that want to know. */
static void set_look(void)
{
    const long long warning = stm_config.stall_warning * 1000000LL;
    long long look = warning / LOOKS;

    if (stall.moves && (!look || look > STM_AUTO_LOOK * 1000LL))
        look = STM_AUTO_LOOK * 1000LL;
    stall.looks_for_warning = looks_in(warning, look);
    stall.look.it_value.tv_sec = look / 1000000000;
    stall.look.it_value.tv_nsec = look % 1000000000;
}

void stm_stall_start(void)
{
    struct sigaction action = {.sa_sigaction = on_look,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = STM_LOOK_SIGNAL};

    backtrace(stall.frames, FRAMES); /* loads what it needs, which it must not do in a handler */
    sigemptyset(&action.sa_mask);
    if (sigaction(STM_LOOK_SIGNAL, &action, NULL) == 0)
        stm_pulse_answers(true);
    stall.moves = stm_auto_starts();
    if (!stm_config.stall_warning && !stall.moves)
        return;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid); /* not a helper's kernel thread */
    set_look();
    if (!stm_kernel_open() || timer_create(CLOCK_MONOTONIC, &event, &stall.timer) != 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                     STMNO(0033) "stalls will not be detected");
        return;
    }
    stall.running = true;
}

void stm_stall_end(void)
{
    if (stall.running)
        timer_delete(stall.timer);
    stall.running = false;
}
