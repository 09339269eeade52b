/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes: the master and its records of its virtual processors (VPs), and a VP's own start and
 * end. What runs in a VP says so; everything else runs in the master, which has no state threads.
 */
#ifndef STM_PROCESS_H
#define STM_PROCESS_H

#include <poll.h>
#include <signal.h>

#include "mpm/shared/pulse.h"
#include "mpm/stm.h"

/* --- what the master keeps --- */

/** What the master knows of a VP that makes no turns (hang.c). */
typedef struct stm_hang {
    uint64_t turns;    /**< at the last check */
    unsigned silent;   /**< consecutive checks that found the same number */
    unsigned long cpu; /**< clock ticks of CPU time used when it was logged */
    unsigned answers;  /**< its pulse's at the time it was asked */
    unsigned told;     /**< `silent` when it was logged; 0 if it was not */
    bool asked;        /**< it was sent STM_LOOK_SIGNAL and has not answered yet */
} stm_hang_t;

/** Steps towards the end of a VP that has to stop. */
typedef enum {
    STM_ENDING_NOT,
    STM_ENDING_STOPPED,  /**< told to stop, through its control channel or by a signal */
    STM_ENDING_KILLED,   /**< SIGKILL */
    STM_ENDING_GIVEN_UP, /**< the kernel will not let it go */
} stm_ending_e;

/** The master's record of one process that is, or was, a VP. */
typedef struct stm_child {
    pid_t pid;   /**< 0: none */
    int ordinal; /**< its VP-ID */
    int control; /**< master's end of its control channel, -1 if closed */
    ap_generation_t generation;
    unsigned incarnation; /**< of that ordinal, from 1 */
    apr_time_t started;   /**< time of day */
    apr_time_t born;      /**< the same moment, stm_monotonic() */
    apr_time_t cutoff;    /**< 0, or when (stm_monotonic()) the next step to its end is due */
    bool ready;           /**< has reported that it is serving */
    bool leaving;         /**< was told to leave, or has reported that it is leaving */
    bool foreign;         /**< started by another build of this module */
    bool cautious;        /**< its predecessors were killed by requests */
    stm_ending_e ending;  /**< what has been done to make it end */
    int dumping;          /**< how often it was given time to write its core */
    stm_pulse_t *pulse;   /**< NULL if it has none */
    stm_hang_t hang;
    int page;               /**< its page among the ordinal's (share.h), -1 if none */
    int score;              /**< its block of the ordinal's scoreboard, -1 if none */
    struct stm_child *next; /**< among the leaving ones */
} stm_child_t;

/** One ordinal: the VP that holds it now, and its history. */
typedef struct stm_seat {
    stm_child_t child;
    unsigned incarnations;
    unsigned early_deaths;  /**< consecutive deaths before a connection was accepted */
    apr_time_t not_before;  /**< when (stm_monotonic()) the next VP may be started here */
    apr_time_t starts_paid; /**< the time up to which starts are used up (backoff.c) */
    /** The process that httpd's process slot of that number names; the slot itself is never read,
     * because VPs can write there. pid 0: none. */
    struct {
        pid_t pid;
        ap_generation_t generation;
    } noted;
} stm_seat_t;

/** A VP as one build of the module hands it over to another. */
typedef struct stm_handed {
    int32_t pid, ordinal;
    int32_t control; /**< master's end of its control channel, -1 if closed */
    int32_t generation;
    int64_t cutoff; /**< stm_child_t's */
} stm_handed_t;

/** Memory of the master that another build of the module can only free. */
typedef struct stm_leftover {
    void *at;
    uint64_t size; /**< bytes of a mapping; 0 if from malloc() */
} stm_leftover_t;

/** What all builds with the same STM_HANDOVER find in httpd's retained data (stamp.c). This and the
 * letters on the control channel change only along with STM_HANDOVER. */
typedef struct stm_stamp {
    char magic[8];
    uint32_t handover;         /**< STM_HANDOVER */
    uint32_t count;            /**< of vps */
    uint64_t size;             /**< of data */
    uint64_t layout;           /**< a hash of its layout and of that of the memory shared by VPs */
    void *data;                /**< the stm_retained_t of the build that wrote this */
    stm_handed_t *vps;         /**< from malloc(); set while a graceful restart is under way */
    stm_leftover_t *leftovers; /**< from malloc(); set while a restart is under way */
    uint32_t leftover_count;
    int32_t directory; /**< the scoreboards', which the new build opens anew; -1 if none */
} stm_stamp_t;

/** What outlives a restart (retained.c). */
typedef struct stm_retained {
    stm_stamp_t *stamp;
    stm_seat_t seats[STM_VP_LIMIT];
    stm_child_t *leaving; /**< VPs without a seat that are finishing their connections */
    stm_limits_t limits;
    int max_daemon_used;
    unsigned crashes;              /**< VPs killed by requests in quick succession */
    apr_time_t last_crash;         /**< stm_monotonic() */
    bool healthy;                  /**< a VP of this master has ever been ready */
    bool fatal;                    /**< a VP has reported that the server cannot run this way */
    struct stm_share *share;       /**< what the VPs publish about themselves */
    struct stm_score_files *score; /**< the scoreboards */
} stm_retained_t;

/** Set by pre_config. */
extern stm_retained_t *stm_retained;

/** The master's record of what it has retained, made at the first start. Called by startup.c. */
stm_retained_t *stm_retained_get(void);

/* --- stamp.c: another build of this module under the same master --- */

/** Marks retained data as this build's. */
void stm_stamp_put(stm_retained_t *retained, stm_stamp_t *stamp);
/** Whether the stamp's data is what this build would have made. */
bool stm_stamp_fits(const stm_stamp_t *stamp);
/** A restart begins: lists the existing VPs for whichever build comes next. */
void stm_stamp_hand_over(void);
/** The same build continues, with its own records. */
void stm_stamp_forget(stm_stamp_t *stamp);
/** The stamp's data is another build's: takes over its VPs as leaving ones, frees the rest, and
 * frees the stamp for our own data. False: the stamp has to stay as it is. */
bool stm_stamp_take_over(stm_retained_t *retained, stm_stamp_t *stamp);

/* --- leftovers.c: what a build has in the master that another has no use for --- */

/** A restart begins: lists the memory that another build would have no use for. */
void stm_leftovers_list(stm_stamp_t *stamp, stm_retained_t *retained);
/** The same build continues and can use all of it. */
void stm_leftovers_forget(stm_stamp_t *stamp);
/** The list is another build's: frees everything on it. The VPs have mappings of their own. */
void stm_leftovers_free(stm_stamp_t *stamp);

/* --- startup.c --- */

/** Hook pre_config: finds the retained data, and detaches from the terminal. */
int stm_startup(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);

/* --- fit.c --- */

/** Whether this build works with this httpd and C library. If not, it has logged why. */
bool stm_fits(void);

/* --- refused.c --- */

/** At the server's start: names in the log what a sandbox refuses, and what is lost with it. */
void stm_refused_log(void);

/* --- query.c: hooks --- */

/** ap_mpm_query(): sets *rv to APR_SUCCESS and *result to the answer, or *rv to APR_ENOTIMPL.
 * Returns OK. Neither hook yields. */
int stm_query(int query_code, int *result, apr_status_t *rv);
/** The MPM's name, "stm"; static storage. */
const char *stm_get_name(void);

/* --- master.c --- */

/** The run hook. Returns OK for a restart, DONE if the server stops. */
int stm_run(apr_pool_t *pconf, apr_pool_t *plog, server_rec *s);

/* --- children.c: starting and reaping VPs. Called by master.c --- */

typedef enum { STM_NOT_OURS, STM_REAPED, STM_FATAL } stm_reaped_e;

/** Starts a VP in each empty seat whose time has come. */
void stm_children_start_missing(void);
/** Frees the seats for the next generation. cutoff (stm_monotonic()): when the VPs that held them
 * have to stop; 0: never. */
void stm_children_vacate(apr_time_t cutoff);
/** Tells the VPs without a seat to leave: their successors are running. */
void stm_children_dismiss(void);
/** Sends a STM_CONTROL_... to all VPs. */
void stm_children_tell(char command);
/** A process has ended. STM_FATAL: the server cannot run this way, which is logged. */
stm_reaped_e stm_children_reaped(apr_proc_t *proc, apr_exit_why_e why, int status);
/** httpd -X: this process is the VP. */
void stm_children_become(void) __attribute__((noreturn));
/** Reads what the VPs report. */
void stm_children_listen(void);
/** Puts the channels of VPs that hold a seat into the list; returns how many, at most `room`. */
int stm_children_channels(struct pollfd *list, int room);
/** Frees the seat for the next VP; the one that held it is already on its way out. */
stm_child_t *stm_children_unseat(stm_seat_t *seat);
/** A VP without a seat was sent a signal that ends it. It is given time to write its core, then
 * killed. Called by hang.c. */
void stm_children_ended(stm_child_t *child);
/** Tells VPs that are past their cutoff to stop, and kills them if they do not. */
void stm_children_enforce_cutoffs(void);
/** When (stm_monotonic()) the next thing is due here (a delayed start, a cutoff); 0: nothing. */
apr_time_t stm_children_next_due(void);
/** The number of VPs, not counting those that even SIGKILL does not end. */
int stm_children_alive(void);
/** The number of all records of VPs. */
int stm_children_all(void);

/* --- reclaim.c --- */

/** To be called after all VPs were told to stop: returns when they have ended, and forces them step
 * by step. */
void stm_children_reclaim(void);

/* --- backoff.c: when a seat gets its next VP. Called by children.c --- */

/** The VP that held the seat has ended without being told to. served: it had accepted a connection;
 * crashed: it was not killed from outside. */
void stm_backoff_after_death(stm_seat_t *seat, const stm_child_t *last, bool served, bool crashed);
/** The start itself has failed: no descriptor or no process was available. */
void stm_backoff_after_failure(stm_seat_t *seat);
/** Whether requests are currently killing VPs, so that a new one should be cautious
 * (first_byte.c). */
bool stm_backoff_crash_loop(void);

/* --- hang.c: VPs that make no turns --- */

/** Checks all VPs if a second has passed since the last check. */
void stm_hang_look(void);
/** Whether the process is writing its core, which can take long. */
bool stm_hang_dumps_core(pid_t pid);

/* --- sigchld.c: a death wakes the master --- */

/** False on failure, which is logged. */
bool stm_sigchld_open(void);
/** Closes what stm_sigchld_open() has opened, and restores the signal handler. */
void stm_sigchld_close(void);
/** Waits for a child's death or another signal, at most for `timeout` us. */
void stm_sigchld_wait(apr_interval_time_t timeout);
/** The same, but also returns when a VP that holds a seat reports something; uses this signal mask
 * while waiting. */
void stm_sigchld_wait_or_hear(apr_interval_time_t timeout, const sigset_t *signals);
/** In a new VP: closes the pipe that wakes the master. */
void stm_sigchld_in_vp(void);

/* --- configtest.c: the test of a new configuration before a restart --- */

typedef enum { STM_TEST_NONE, STM_TEST_RUNS, STM_TEST_GOOD, STM_TEST_BAD } stm_test_e;

/** Starts a copy of httpd that reads the configuration. */
void stm_config_test_begin(server_rec *s);
/** A child has ended. False: it was not the test. */
bool stm_config_test_reaped(const apr_proc_t *proc, apr_exit_why_e why, int status);
/** The test's state; GOOD and BAD are returned only once. */
stm_test_e stm_config_test_look(server_rec *s);
/** Cancels the test, because there will be no restart. */
void stm_config_test_cancel(void);
/** When (stm_monotonic()) its time limit expires; 0: there is none, or no test is running. */
apr_time_t stm_config_test_due(void);
/** In the copy: called by pre_config, before httpd reads the configuration's listening sockets.
 * Elsewhere: does nothing. */
void stm_config_test_prepare(apr_pool_t *process_pool);
/** To be called at the end of check_config. In the copy: returns OK if this build can take over the
 * running server, otherwise logs that it cannot and returns an HTTP error. Elsewhere: returns
 * OK. */
int stm_config_test_check(server_rec *s);
/** Hook test_config. In the copy: rehearses a start, and reports whether the configuration is
 * good. */
void stm_config_test_answer(apr_pool_t *pconf, server_rec *s);
/** In a new VP: closes what belongs to the test. */
void stm_config_test_in_vp(void);

/* --- rehearsal.c: the copy does what a start does. Called by configtest.c --- */

typedef enum {
    STM_REHEARSED_WELL,  /**< no error found, or a rehearsal is impossible or not wanted */
    STM_REHEARSED_BADLY, /**< the server would not start; the reason is on stderr */
    STM_REHEARSED_NOT,   /**< a start takes a pass phrase that a person has to type */
} stm_rehearsed_e;

/** In the master: writes the names of its listening sockets. */
void stm_rehearsal_list(int fd);
/** In the copy: reads them, and makes httpd take them for open already. */
void stm_rehearsal_know_sockets(int fd, apr_pool_t *process_pool);
/** Hook open_logs, right after the error log has been opened: from then on, messages go to the
 * master. */
int stm_rehearsal_logs_open(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/** Opens sockets and logs, and initializes the modules. Does not yield: there is no VP. */
stm_rehearsed_e stm_rehearse(apr_pool_t *pconf, server_rec *s);

/* --- control.c: master to VP, and back --- */

/* LEAVE: close listeners, finish connections, exit; from a VP: it is doing so. FINISH: the same,
 * and close idle connections, since no other VP takes over; a build that does not know it just
 * leaves. STOP: exit at once. READY, from a VP: it is serving from now on. */
#define STM_CONTROL_LEAVE  'G'
#define STM_CONTROL_FINISH 'W'
#define STM_CONTROL_STOP   'T'
#define STM_CONTROL_READY  'R'

typedef enum {
    STM_HEARD_NOTHING,
    STM_HEARD_BYTE,
    STM_HEARD_END, /**< the VP has closed its end: it has ended, or can no longer hear */
} stm_heard_e;

/** Opens a new channel. False on failure, which is logged. */
bool stm_control_open(int *master_end, int *vp_end);
/** Sends one byte to the other end of `end` (-1: none). False: it cannot be sent now. Never
 * waits. */
bool stm_control_send(int end, char message);
/** Reads what the VP reports, one byte at a time. */
stm_heard_e stm_control_hear(int master_end, char *message);
/** In the VP: starts to obey the channel. */
void stm_control_listen(int vp_end);
/** In the VP: stm_control_send() to the master. */
bool stm_control_tell_master(char message);

/* --- vp.c: a VP, from fork to exit --- */

/** Runs in the new process: becomes the VP that `child` describes, serves until it is told to leave
 * or stop, and exits. control: its end of the channel to the master, -1 if there is none. */
void stm_vp_main(const stm_child_t *child, int control) __attribute__((noreturn));
/** Stops accepting connections and serves the existing ones until they end. Called by the
 * scheduler. */
void stm_vp_leave(void);
/** The same when all VPs do: idle connections end at once. May follow stm_vp_leave(). */
void stm_vp_finish(void);
/** Ends all connections and exits. Called by the scheduler. */
void stm_vp_stop(void);

/* --- in a VP: what vp.c starts and ends --- */

/** census.c: starts to measure the depth of stacks if STM_CENSUS is in the environment. Called
 * before the first state thread is created. */
void stm_census_start(void);
/** census.c: logs the result at the VP's end. */
void stm_census_report(void);
/** cpu_binding.c: binds the VP as VPBind says, and publishes the CPU that it is actually bound
 * to. */
void stm_cpu_bind(int ordinal);
/** crash.c: installs handlers of fatal signals, before the VP serves. */
void stm_crash_setup(void);
/** crash.c: restores the previous ones, before the module is unloaded. */
void stm_crash_restore(void);
/** The VP is ending while kernel threads may still be serving requests, and more and more of what
 * they use is going away: from now on, a fatal signal on one of them stops only that thread. */
void stm_crash_concerns_vp_only(void);
/** Called first on a kernel thread that serves requests: gives it a stack for signal handlers. */
void stm_crash_kernel_thread_begins(void);
/** Called last on such a kernel thread: takes the stack away. */
void stm_crash_kernel_thread_ends(void);
/** fd_limit.c: remembers the limit on open files for the VP's children, before libst raises it. */
void stm_fd_limit_keep(void);
/** fd_limit.c: restores it in such a child, with one system call and nothing else. */
void stm_fd_limit_restore(void);

#endif
