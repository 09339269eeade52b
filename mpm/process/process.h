/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes: the master, and what it keeps of its virtual processors (VPs); and a VP's own start
 * and end. What runs in a VP says so, all else is the master's, which has no state threads.
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
    uint64_t turns;    /**< at the last look */
    unsigned silent;   /**< looks in a row that found no other number */
    unsigned long cpu; /**< clock ticks that it had used when it was logged */
    unsigned answers;  /**< its pulse's when it was asked */
    unsigned told;     /**< silent when it was logged; 0: it was not */
    bool asked;        /**< it was sent STM_LOOK_SIGNAL and has not answered yet */
} stm_hang_t;

/** Steps towards the end of a VP that has to stop. */
typedef enum {
    STM_ENDING_NOT,
    STM_ENDING_STOPPED,  /**< told to, by its control channel or a signal */
    STM_ENDING_KILLED,   /**< SIGKILL */
    STM_ENDING_GIVEN_UP, /**< the kernel does not let go of it */
} stm_ending_e;

/** The master's record of one process that is, or was, a VP. */
typedef struct stm_child {
    pid_t pid;   /**< 0: none */
    int ordinal; /**< its VP-ID */
    int control; /**< master's end of its control channel, -1: closed */
    ap_generation_t generation;
    unsigned incarnation; /**< of that ordinal, from 1 */
    apr_time_t started;   /**< time of day */
    apr_time_t born;      /**< the same moment, stm_monotonic() */
    apr_time_t cutoff;    /**< 0, or when (stm_monotonic()) the next step to its end is due */
    bool ready;           /**< said that it serves from now on */
    bool leaving;         /**< was told to leave, or said that it leaves */
    bool foreign;         /**< another build of this module made it */
    bool cautious;        /**< its predecessors were killed by requests */
    stm_ending_e ending;  /**< how far it was pressed to end */
    int dumping;          /**< how often it was given time to leave its core */
    stm_pulse_t *pulse;   /**< NULL: it has none */
    stm_hang_t hang;
    int page;               /**< its page of those of the ordinal (share.h), -1: none */
    int score;              /**< its block of the ordinal's scoreboard, -1: none */
    struct stm_child *next; /**< among the leaving ones */
} stm_child_t;

/** One ordinal: the VP that holds it now, and its history. */
typedef struct stm_seat {
    stm_child_t child;
    unsigned incarnations;
    unsigned early_deaths;  /**< in a row, each before it had accepted a connection */
    apr_time_t not_before;  /**< when (stm_monotonic()) the next VP may be started here */
    apr_time_t starts_paid; /**< until when starts are spent (backoff.c) */
    /** Whom httpd's process slot of that number names; the slot itself is not read: VPs may write
     * there. pid 0: nobody. */
    struct {
        pid_t pid;
        ap_generation_t generation;
    } noted;
} stm_seat_t;

/** A VP as one build of the module hands it over to another. */
typedef struct stm_handed {
    int32_t pid, ordinal;
    int32_t control; /**< master's end of its control channel, -1: closed */
    int32_t generation;
    int64_t cutoff; /**< stm_child_t's */
} stm_handed_t;

/** Memory of the master that another build of the module can do nothing with but give it back. */
typedef struct stm_leftover {
    void *at;
    uint64_t size; /**< bytes of a mapping; 0: from malloc() */
} stm_leftover_t;

/** What all builds with the same STM_HANDOVER find in httpd's retained data (stamp.c). This and the
 * letters on the control channel change with STM_HANDOVER only. */
typedef struct stm_stamp {
    char magic[8];
    uint32_t handover;         /**< STM_HANDOVER */
    uint32_t count;            /**< of vps */
    uint64_t size;             /**< of data */
    uint64_t layout;           /**< a hash of its layout, and of the memory that VPs share */
    void *data;                /**< stm_retained_t of the build that wrote this */
    stm_handed_t *vps;         /**< from malloc(); set while a graceful restart is under way */
    stm_leftover_t *leftovers; /**< from malloc(); set while a restart is under way */
    uint32_t leftover_count;
    int32_t directory; /**< of the scoreboards, which who takes over opens anew; -1: none */
} stm_stamp_t;

/** What outlives a restart (retained.c). */
typedef struct stm_retained {
    stm_stamp_t *stamp;
    stm_seat_t seats[STM_VP_LIMIT];
    stm_child_t *leaving; /**< VPs without a seat that finish their connections */
    stm_limits_t limits;
    int max_daemon_used;
    unsigned crashes;              /**< VPs that requests killed, one soon after the other */
    apr_time_t last_crash;         /**< stm_monotonic() */
    bool fatal;                    /**< a VP said that the server cannot run like this */
    struct stm_share *share;       /**< what the VPs say of themselves */
    struct stm_score_files *score; /**< the scoreboards */
} stm_retained_t;

/** Set by pre_config. */
extern stm_retained_t *stm_retained;

/** The master's record of what it has retained, made at the first start. Called by startup.c. */
stm_retained_t *stm_retained_get(void);

/* --- stamp.c: another build of this module under the same master --- */

/** Marks retained data as this build's. */
void stm_stamp_put(stm_retained_t *retained, stm_stamp_t *stamp);
/** Whether the data that the stamp leads to is what this build would have made. */
bool stm_stamp_fits(const stm_stamp_t *stamp);
/** A restart begins: whichever build comes next finds the VPs that are there. */
void stm_stamp_hand_over(void);
/** The same build goes on: it has its own records. */
void stm_stamp_forget(stm_stamp_t *stamp);
/** The data that the stamp leads to is another build's: its VPs become leaving ones of ours, the
 * rest is given back, and the stamp is free for our own. False: it has to stay as it is. */
bool stm_stamp_take_over(stm_retained_t *retained, stm_stamp_t *stamp);

/* --- leftovers.c: what a build has in the master that another has no use for --- */

/** A restart begins: lists what another build would have no use for. */
void stm_leftovers_list(stm_stamp_t *stamp, stm_retained_t *retained);
/** The same build goes on: it has use for all of it. */
void stm_leftovers_forget(stm_stamp_t *stamp);
/** The list is another build's: gives all of it back. The VPs have mappings of their own. */
void stm_leftovers_free(stm_stamp_t *stamp);

/* --- startup.c --- */

/** Hook pre_config: finds what is retained, and detaches from the terminal. */
int stm_startup(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);

/* --- query.c: hooks --- */

int stm_query(int query_code, int *result, apr_status_t *rv);
const char *stm_get_name(void);

/* --- master.c --- */

/** The run hook: OK: restart; DONE: the server stops. */
int stm_run(apr_pool_t *pconf, apr_pool_t *plog, server_rec *s);

/* --- children.c: starting and reaping VPs. Called by master.c --- */

typedef enum { STM_NOT_OURS, STM_REAPED, STM_FATAL } stm_reaped_e;

/** Starts a VP in each empty seat whose time has come. */
void stm_children_start_missing(void);
/** Frees the seats for the next generation. cutoff (stm_monotonic()): when those that held them
 * have to stop; 0: never. */
void stm_children_vacate(apr_time_t cutoff);
/** Tells the VPs without a seat to leave: their successors are there. */
void stm_children_dismiss(void);
/** Sends all VPs a STM_CONTROL_... */
void stm_children_tell(char command);
/** A process has ended. STM_FATAL: the server cannot run like this; said in the log. */
stm_reaped_e stm_children_reaped(apr_proc_t *proc, apr_exit_why_e why, int status);
/** httpd -X: this process is the VP. */
void stm_children_become(void) __attribute__((noreturn));
/** Hears what the VPs say. */
void stm_children_listen(void);
/** Puts the channels of those that hold a seat into the list; returns how many, at most `room`. */
int stm_children_channels(struct pollfd *list, int room);
/** The seat is free for the next VP; the one that held it is on its own way out. */
stm_child_t *stm_children_unseat(stm_seat_t *seat);
/** A VP without a seat was sent a signal that ends it. It has time to write its core, then it is
 * killed. Called by hang.c. */
void stm_children_ended(stm_child_t *child);
/** VPs that are past their time are told to stop, and killed if they do not. */
void stm_children_enforce_cutoffs(void);
/** When (stm_monotonic()) something is to be done here next (a start put off, a cutoff); 0:
 * nothing. */
apr_time_t stm_children_next_due(void);
/** VPs that are there, but for those that not even SIGKILL ends. */
int stm_children_alive(void);
/** All records of VPs. */
int stm_children_all(void);

/* --- reclaim.c --- */

/** After all VPs were told to stop: returns when they have ended, which is enforced by and by. */
void stm_children_reclaim(void);

/* --- backoff.c: when a seat gets its next VP. Called by children.c --- */

/** The VP that held the seat has ended without being told to. served: it had accepted a connection;
 * crashed: it was not killed from outside. */
void stm_backoff_after_death(stm_seat_t *seat, const stm_child_t *last, bool served, bool crashed);
/** The start itself has failed: no descriptor, no process. */
void stm_backoff_after_failure(stm_seat_t *seat);
/** Whether requests are killing VPs now: a new one had better be careful (first_byte.c). */
bool stm_backoff_crash_loop(void);

/* --- hang.c: VPs that make no turns --- */

/** Looks at all VPs, if a second has passed since the last look. */
void stm_hang_look(void);
/** Whether the process is writing its core: that takes its time. */
bool stm_hang_dumps_core(pid_t pid);

/* --- sigchld.c: a death wakes the master --- */

/** False: said in the log. */
bool stm_sigchld_open(void);
void stm_sigchld_close(void);
/** Waits for a child's death or another signal, at most so long (us). */
void stm_sigchld_wait(apr_interval_time_t timeout);
/** The same, or until a VP that holds a seat says something; with this signal mask meanwhile. */
void stm_sigchld_wait_or_hear(apr_interval_time_t timeout, const sigset_t *signals);
/** In a new VP: the pipe that wakes the master is not for it. */
void stm_sigchld_in_vp(void);

/* --- configtest.c: the test of a new configuration before a restart --- */

typedef enum { STM_TEST_NONE, STM_TEST_RUNS, STM_TEST_GOOD, STM_TEST_BAD } stm_test_e;

/** Starts a copy of httpd that reads the configuration. */
void stm_config_test_begin(server_rec *s);
/** A child has ended. False: it was another one. */
bool stm_config_test_reaped(const apr_proc_t *proc, apr_exit_why_e why, int status);
/** How it stands; GOOD and BAD are returned once. */
stm_test_e stm_config_test_look(server_rec *s);
/** There will be no restart. */
void stm_config_test_cancel(void);
/** When (stm_monotonic()) its time limit is over; 0: there is none, or no test runs. */
apr_time_t stm_config_test_due(void);
/** At the end of check_config. In the copy: says that the configuration is good, unless this build
 * cannot take the running server over (then an HTTP error, said in the log). Elsewhere: OK. */
int stm_config_test_answer(server_rec *s);
/** In a new VP: the test is none of its business. */
void stm_config_test_in_vp(void);

/* --- control.c: master to VP, and back --- */

/* LEAVE: close listeners, finish connections, exit; from a VP: that is what it does. STOP: the same
 * at once. READY, from a VP: from now on it serves. */
#define STM_CONTROL_LEAVE 'G'
#define STM_CONTROL_STOP  'T'
#define STM_CONTROL_READY 'R'

typedef enum {
    STM_HEARD_NOTHING,
    STM_HEARD_BYTE,
    STM_HEARD_END, /**< the VP has closed its end: it has ended, or cannot hear either */
} stm_heard_e;

/** A new channel. False: said in the log. */
bool stm_control_open(int *master_end, int *vp_end);
/** One byte to the other end of `end` (-1: none). False: it cannot be sent now. Never waits. */
bool stm_control_send(int end, char message);
/** What the VP says, one byte at a time. */
stm_heard_e stm_control_hear(int master_end, char *message);
/** In the VP: obeys what comes from now on. */
void stm_control_listen(int vp_end);
/** In the VP: stm_control_send() to the master. */
bool stm_control_tell_master(char message);

/* --- vp.c: a VP, from fork to exit --- */

void stm_vp_main(const stm_child_t *child, int control) __attribute__((noreturn));
/** Takes no more connections; serves those that it has until their end. Called by the scheduler. */
void stm_vp_leave(void);
/** Ends all connections and exits. Called by the scheduler. */
void stm_vp_stop(void);

/* --- in a VP: what vp.c starts and ends --- */

/** census.c: depth of the stacks, if STM_CENSUS is in the environment. Before the first state
 * thread is made; and at the VP's end. */
void stm_census_start(void);
void stm_census_report(void);
/** cpu_binding.c: binds the VP as VPBind says, and publishes the CPU that it is really bound to. */
void stm_cpu_bind(int ordinal);
/** crash.c: handlers of fatal signals, before the VP serves; and, before the module is unloaded,
 * those that were there before. */
void stm_crash_setup(void);
void stm_crash_restore(void);
/** On a kernel thread that serves requests, as the first thing that it does, and the last: its
 * stack for signal handlers. */
void stm_crash_kernel_thread_begins(void);
void stm_crash_kernel_thread_ends(void);
/** fd_limit.c: before libst raises the limit of open files: what it is now is that of the VP's
 * children; and puts it back in such a child (a system call, and nothing else). */
void stm_fd_limit_keep(void);
void stm_fd_limit_restore(void);

#endif
