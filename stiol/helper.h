/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper kernel threads: calls that wait inside the C library or the kernel, where nothing can be
 * rebound, run on one while the state thread is parked. What the files of this folder use of
 * helper.c; see docs/internals/helpers.md.
 */
#ifndef STIOL_HELPER_H
#define STIOL_HELPER_H

#include <stdbool.h>
#include <stdint.h>

#include "st.h"

#pragma GCC visibility push(hidden)

struct stiol__vp;

/** Kinds of jobs. Each has a line of its own and helpers that no other kind can take, so that one
 * full of waits never holds up the next. */
typedef enum {
    STIOL_HELP_RESOLVE, /* whatever asks a name service: hosts, users, groups, DNS */
    STIOL_HELP_FILE,    /* calls on files and directories */
    STIOL_HELP_OTHER,   /* programs' pipes and the rest */
    STIOL_HELP_LOG,     /* syslog: one at a time, in the order of the calls */
    STIOL_HELP_CLASSES
} stiol__help_class_t;

/** One call. Lies in the caller's memory: on its stack, as long as it waits, or in the heap. */
typedef struct stiol__job {
    /** Makes the call. Runs on a helper, which has all signals blocked, a stack of 512 KB, errno
     * and h_errno of 0, and is no VP: real calls. It must not touch APR, httpd or modules. On the
     * caller's kernel thread if there is no helper to be had. */
    void (*run)(struct stiol__job *job);
    /** What may make it wait: a device, a domain. Jobs of one group share: as long as anyone else
     * might come, no group gets all helpers of its class. 0: the job is alone. */
    uint64_t group;
    /** It is known that this takes no time: may use the few helpers that are kept for such jobs
     * when all others wait. */
    bool quick;
    /** For stiol__help_start(): called on the VP, in its scheduler, when the job is done; it must
     * not yield, and may free the job. NULL: whoever is parked in stiol__help() goes on. */
    void (*finished)(struct stiol__job *job);

    /** After run(): errno and h_errno. */
    int error, herror;

    /* helper.c's own */
    stiol__help_class_t class;
    enum { STIOL_JOB_WAITS, STIOL_JOB_RUNS, STIOL_JOB_DONE } state; /* with the pool's lock */
    void (*release)(struct stiol__job *job);                        /* it was abandoned */
    st_remote_t remote;
    struct stiol__job *next;
    struct stiol__help_group *in;
    st_vp_t vp;
    st_thread_t thread;
    bool done; /* the VP's */
} stiol__job_t;

/**
 * Runs a job on a helper and parks the calling state thread until it is done. When as many helpers
 * run as there may be, the job waits in line. If there is no kernel thread to be had, tries again
 * for a second, then runs the job here: late is better than never.
 *
 * An interrupt does not end the wait, as the job uses the caller's memory: the caller's next wait
 * is interrupted instead. errno and h_errno are those that the job left; errno is kept if that is
 * 0.
 */
void stiol__help(struct stiol__vp *vp, stiol__help_class_t class, stiol__job_t *job);

/**
 * Hands in a job of which job->finished() will tell. Does not yield.
 *
 * @return false: there is no kernel thread to be had, and the job was not taken
 */
bool stiol__help_start(struct stiol__vp *vp, stiol__help_class_t class, stiol__job_t *job);

/**
 * The same, but if there is no kernel thread to be had parks and tries again for a second.
 *
 * @param interrupted set to true if the state thread was interrupted meanwhile; else left alone
 */
bool stiol__help_start_patiently(struct stiol__vp *vp, stiol__help_class_t class, stiol__job_t *job,
                                 bool *interrupted);

/** Runs a job that nobody takes on the calling kernel thread; job->finished() is not called. */
void stiol__help_here(stiol__job_t *job);

/** us after which who waits for a job calls stiol__help_try_again(): there may be a kernel thread
 * to be had by now. stiol__help() does that. */
#define STIOL_JOB_PATIENCE ((st_utime_t)1000000)
void stiol__help_try_again(void);

/** Whether a job of this class that is not quick would have to wait for a helper now. */
bool stiol__help_crowded(stiol__help_class_t class);

/**
 * Gives up a job of the heap that stiol__help_start() has taken. To be called on its VP before
 * job->finished() was.
 *
 * @param release frees the job; called at once, or on the helper when run() has returned
 * @return false: it is done already; job->finished() will be called in this turn of the scheduler
 */
bool stiol__help_abandon(stiol__job_t *job, void (*release)(stiol__job_t *job));

/** stiol__help() for a replacement of this kind (of calls.def): counts the park and the help. */
#define STIOL_HELP(vp, kind, class, job)                                                           \
    (STIOL_PARKS(vp, kind), (vp)->counters.kind.helped++, stiol__help(vp, class, job))

/** Has the object that holds STIOL stay loaded: kernel threads run its code. */
void stiol__stay_loaded(void);
/** Sends the idle helpers away. One in the middle of a job is not waited for. */
void stiol__helpers_stop(void);
/** In a child after fork. */
void stiol__helpers_forked(void);

#pragma GCC visibility pop

#endif /* STIOL_HELPER_H */
