/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper kernel threads: calls that wait inside the C library or the kernel, where nothing can be
 * rebound, run on one while the state thread is parked. The interface of helper.c within this
 * folder; see docs/internals/helpers.md.
 */
#ifndef STIOL_HELPER_H
#define STIOL_HELPER_H

#include <stdbool.h>
#include <stdint.h>

#include "st.h"

#pragma GCC visibility push(hidden)

struct stiol__vp;

/** Kinds of jobs. Each has a line of its own and helpers that no other kind can take, so that a
 * kind full of waits never holds up another. */
typedef enum {
    STIOL_HELP_RESOLVE, /* anything that asks a name service: hosts, users, groups, DNS */
    STIOL_HELP_FILE,    /* calls on files and directories */
    STIOL_HELP_OTHER,   /* programs' pipes and the rest */
    STIOL_HELP_LOG,     /* syslog: one at a time, in the order of the calls */
    STIOL_HELP_CLASSES
} stiol__help_class_t;

/** One call. In the caller's memory: on its stack, if it waits for the job, or on the heap. */
typedef struct stiol__job {
    /** Makes the call. Runs on a helper, which has all signals blocked except those of faults, a
     * stack of 512 KB, errno and h_errno of 0, and is not a VP, so that all calls are the real
     * ones. It must not touch APR, httpd or modules. Runs on the caller's kernel thread if no
     * helper is available. */
    void (*run)(struct stiol__job *job);
    /** What may make it wait: a device, a domain. Jobs of a group share their helpers: as long as
     * others might come, no group gets all helpers of its class. 0: the job is a group of its
     * own. */
    uint64_t group;
    /** The job is known to be quick: it may use the few helpers that are kept for such jobs when
     * all others are waiting. */
    bool quick;
    /** What it is about, to be shown with the wait: a host's or a user's name; NULL: unknown. */
    const char *about;
    /** For stiol__help_start(): called on the VP, in its scheduler, when the job is done; it must
     * not yield, and may free the job. NULL: the state thread parked in stiol__help() continues. */
    void (*finished)(struct stiol__job *job);

    /** After run(): errno and h_errno. */
    int error, herror;

    /* helper.c's own */
    stiol__help_class_t class;
    enum { STIOL_JOB_WAITS, STIOL_JOB_RUNS, STIOL_JOB_DONE } state; /* guarded by the pool's lock */
    void (*release)(struct stiol__job *job);                        /* it was abandoned */
    st_remote_t remote;
    struct stiol__job *next;
    struct stiol__help_group *in;
    st_vp_t vp;
    st_thread_t thread;
    bool done; /* the VP's */
} stiol__job_t;

/**
 * Runs a job on a helper and parks the calling state thread until it is done. When the maximum
 * number of helpers is running, the job waits in line. If no kernel thread is available, tries
 * again for a second, then runs the job here: better late than never.
 *
 * An interrupt does not end the wait, as the job uses the caller's memory: the caller's next wait
 * is interrupted instead. errno and h_errno are what the job left; each is unchanged if that is 0.
 */
void stiol__help(struct stiol__vp *vp, stiol__help_class_t class, stiol__job_t *job);

/**
 * Submits a job whose end job->finished() will report. Does not yield.
 *
 * @return false: no kernel thread is available, and the job was not taken
 */
bool stiol__help_start(struct stiol__vp *vp, stiol__help_class_t class, stiol__job_t *job);

/**
 * The same for a job on the heap whose end nobody waits for: release() is called on the helper,
 * even if the VP is gone by then. Does not yield.
 */
bool stiol__help_send_off(struct stiol__vp *vp, stiol__help_class_t class, stiol__job_t *job,
                          void (*release)(stiol__job_t *job));

/**
 * Like stiol__help_start(), but if no kernel thread is available, parks and tries again for a
 * second.
 *
 * @param interrupted set to true if the state thread was interrupted meanwhile; otherwise unchanged
 */
bool stiol__help_start_patiently(struct stiol__vp *vp, stiol__help_class_t class, stiol__job_t *job,
                                 bool *interrupted);

/** Runs a job that no helper takes on the calling kernel thread; job->finished() is not called. */
void stiol__help_here(stiol__job_t *job);

/** us after which a caller waiting for a job calls stiol__help_try_again(): by then a kernel thread
 * may be available. stiol__help() does so. */
#define STIOL_JOB_PATIENCE ((st_utime_t)1000000)
/** Starts helpers for jobs that wait although more may run, because no kernel thread was available.
 * Does not yield. */
void stiol__help_try_again(void);

/** Whether a job of this class that is not quick would have to wait for a helper now. */
bool stiol__help_crowded(stiol__help_class_t class);

/**
 * Gives up a job on the heap that stiol__help_start() has taken. To be called on its VP, before
 * job->finished() is.
 *
 * @param release frees the job; called at once, or on the helper once run() has returned
 * @return false: it is already done; job->finished() will be called in this turn of the scheduler
 */
bool stiol__help_abandon(stiol__job_t *job, void (*release)(stiol__job_t *job));

/** stiol__help() for a replacement of this kind (of calls.def): counts the park and the use of a
 * helper. */
#define STIOL_HELP(vp, kind, class, job)                                                           \
    (STIOL_PARKS(vp, kind), (vp)->counters.kind.helped++, stiol__help(vp, class, job))

/** Keeps the object that holds STIOL loaded, because kernel threads run its code. Must not be
 * called with any lock held: it takes the dynamic loader's. */
void stiol__stay_loaded(void);
/** Describes this job as something that a state thread waits for, for st_wait_begin(). */
st_wait_t stiol__help_wait(stiol__help_class_t class, const stiol__job_t *job);
/** Ends the idle helpers. Does not wait for those in the middle of a job. */
void stiol__helpers_stop(void);
/** In a child after fork. */
void stiol__helpers_forked(void);

#pragma GCC visibility pop

#endif /* STIOL_HELPER_H */
