/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STIOL, the I/O layer for code that knows nothing about state threads: the public header. The MPM
 * (or any program on libst) calls stiol_start() on each virtual processor (VP); from then on the
 * calls of calls.def, made by any loaded object, give the VP to the next ready state thread
 * whenever they would wait.
 */
#ifndef STIOL_H
#define STIOL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "st.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a debug build (STM_DEBUG) reports about a lock that was held across a park. */
typedef struct stiol_lock_report {
    st_thread_t thread;  /**< the state thread that held the lock */
    const char *kind;    /**< "mutex" or "rwlock" */
    const void *lock;    /**< address of the pthread object */
    const void *caller;  /**< return address of the call that took the lock: for dladdr() */
    st_utime_t held;     /**< us from lock to unlock */
    unsigned long parks; /**< how often the thread parked meanwhile */
} stiol_lock_report_t;

/** Options of stiol_start(); all zero gives the defaults. The strings are not copied. */
typedef struct stiol_config {
    int trace;       /**< nonzero: one line per call on stderr; only in STIOL_DEBUG builds, else
                * ignored */
    int stack_size;  /**< bytes, for the state threads created by pthread_create(); 0: libst's
                      * default */
    int mounts;      /**< descriptor of stiol_open_mounts(), which STIOL takes over; 0: STIOL opens
                      * it; -1: there is no table of mounts */
    int max_helpers; /**< most helper kernel threads, of all kinds of calls; 0: the default, 256 */
    int tsd_cache;   /**< sets of thread-specific values kept for stiol_inherit(); 0: the default,
                        64;   -1: none, destructors run whenever a state thread ends */
    long max_free;   /**< bytes of free pool memory that a VP keeps for libapr; 0: the default,
                        2 MB; -1: none, libapr maps and unmaps its memory itself */
    /** NULL-terminated prefixes of the names of objects whose pthread_create() creates state
     *  threads; NULL: libapr, also where it is linked into the program. */
    const char *const *thread_objects;
    /** Maximum number of kernel threads that run state threads of a VP at once, for stiol_carry();
     * 0: none. */
    int max_carriers;
    /** Called first and last on each of them; may be NULL. */
    void (*carrier_begins)(void), (*carrier_ends)(void);
    /** Called, on the state thread, before any other object than those creates a kernel thread. */
    void (*kernel_thread)(void);
    /** Called in the child of posix_spawn(), system() and popen(), on any kernel thread, and of
     * vfork(), just before the program: undoes what is meant only for the VP, such as limits. The
     * child shares the caller's memory, so make only system calls. NULL: the C library's own
     * functions are used. There is one for the process. */
    void (*in_child)(void);
    /** Called at unlock, on the state thread, if it parked while it held the lock. STM_DEBUG builds
     * only. */
    void (*lock_report)(const stiol_lock_report_t *report);
} stiol_config_t;

/** Opens the table of mounts, from which STIOL knows which file systems may make a call wait. For
 * stiol_config_t.mounts, if /proc will not be reachable later (chroot). -1 with errno: there is no
 * /proc; a helper then asks about each device, and each path is checked. */
int stiol_open_mounts(void);

/**
 * Starts STIOL on the calling kernel thread's VP: visits all loaded objects and rebinds the calls
 * of calls.def. Call it after st_init(), on the primordial state thread, after privileges are
 * dropped. May be called once per VP; the objects are rebound by the first.
 *
 * @param config options, copied; NULL: all defaults
 * @return 0, or -1: nothing is rebound, and stiol_error() names the object and the symbol
 */
int stiol_start(const stiol_config_t *config);

/**
 * To be called first by a state thread of a pool: it inherits the thread-specific values and the
 * contents of thread-local variables of a thread that has ended, if there are any. (When a state
 * thread ends, its values are kept, for up to stiol_config_t.tsd_cache threads, unless
 * pthread_create() created it.) Without this call a thread begins as a new one. Does not yield.
 */
void stiol_inherit(void);

/**
 * Runs function(data) on a kernel thread while the calling state thread is parked, so that it may
 * compute or wait as long as it likes: all calls are the real ones there. Meanwhile the kernel
 * thread is that state thread as far as code can see: thread-local variables, values of keys,
 * settings such as the locale, errno, pthread_self(), gettid(), and the mutexes that it holds. If
 * stiol_config_t.max_carriers kernel threads are busy, it waits in line. Yields.
 *
 * @return 0: it has run. -1: it has not, with errno
 * @errno EPERM      the caller is not a state thread, or the primordial one; or max_carriers is 0
 * @errno EAGAIN     no kernel thread is available
 * @errno ENOMEM     no memory
 * @errno ECANCELED  it was still in line when the VP began to end (stiol_end_waits())
 */
int stiol_carry(void (*function)(void *data), void *data);

/** Whether stiol_carry() has ever started a kernel thread; for stiol_is_carried(). */
extern bool stiol_has_carried;
/** Whether the calling kernel thread runs a function for stiol_carry(). */
bool stiol_carries_here(void);
/** Whether the caller is being run by a kernel thread for stiol_carry(). */
static inline bool stiol_is_carried(void)
{
    return stiol_has_carried && stiol_carries_here();
}

/** Who holds a lock. */
typedef struct stiol_holder {
    st_thread_t thread; /**< a state thread of this VP, which may have ended; NULL: none */
    int tid;            /**< a kernel thread, of any process; 0: none */
} stiol_holder_t;

/** Finds out who holds the lock that a parked state thread of the calling VP waits for. Returns
 * false if that is not known. Does not yield; may be called by the scheduler. */
bool stiol_lock_holder(const st_wait_t *wait, stiol_holder_t *holder);

/**
 * For functions that stiol_carry() runs: calls function(data) on the VP, in its scheduler, where it
 * must not yield, and waits for it. Elsewhere it is a plain call.
 */
void stiol_on_vp(void (*function)(void *data), void *data);

/** The kernel threads that run state threads of a VP. */
typedef struct stiol_carriers {
    unsigned threads, busy;     /**< how many exist, and how many are running a state thread */
    unsigned waiting;           /**< state threads that are queued for one */
    unsigned long long carried; /**< how often a state thread was run on one */
    unsigned long long full;    /**< how often one was queued because max_carriers were busy */
} stiol_carriers_t;

/** Returns the calling VP's in *carriers; all zero if it has none. Does not yield. */
void stiol_get_carriers(stiol_carriers_t *carriers);

/** Ends STIOL on the calling VP; the last VP restores every slot. Harmless if it was not
 * started. */
void stiol_stop(void);

/** A function of a library other than the C library that is to be replaced as well. */
typedef struct stiol_extra {
    const char *symbol;
    void *real; /**< in its library: the slots that lead there are rebound */
    void *replacement;
    const char *object; /**< file names of the objects in which it is replaced, separated by spaces;
                           NULL: in all */
} stiol_extra_t;

/**
 * Adds functions to those that stiol_start() rebinds beside the calls of calls.def: in the object
 * that they name, or in all, including the one that holds STIOL. The real functions are called by
 * address. Call it before the first VP's stiol_start(). A symbol that is already there is replaced.
 * Does not yield.
 *
 * @param extras their strings must stay valid
 * @return 0, or -1: there are too many (at most 64), or objects are already rebound
 */
int stiol_add_calls(const stiol_extra_t *extras, int count);

/**
 * Undoes stiol_add_calls(), before the first VP's stiol_start(). Does not yield.
 *
 * @return 0, or -1: objects are already rebound
 */
int stiol_remove_calls(const stiol_extra_t *extras, int count);

/**
 * For the end of a VP: makes waits end. Interrupts the state threads that pthread_create() created
 * (the caller interrupts its own). From now on an interrupted wait for I/O fails with ECONNABORTED,
 * not with EINTR, to which most callers react by waiting again. A write to a pipe continues: it may
 * be a line for the log. Call it as often as necessary; does not yield.
 */
void stiol_end_waits(void);

/**
 * The VP is ending by itself: nothing is interrupted, but from now on a line for syslog waits at
 * most half a second, as after stiol_end_waits(). Does not yield.
 */
void stiol_expect_end(void);

/**
 * Checks that STIOL fits this process's C library, without starting anything: which parts of it
 * vary between versions is known. stiol_start() checks the same. Does not yield.
 * @return NULL, or the C library's type or call that STIOL does not know in this form
 */
const char *stiol_misfit(void);

/** @return the reason of the last failure of stiol_start(), "" if none; static storage */
const char *stiol_error(void);

/** Receives the reason why an object loaded later by dlopen() could not be rebound (called from
 * within dlopen()). NULL: stderr. */
typedef void (*stiol_complaint_t)(const char *message);
/** Sets who receives them, for the whole process. Does not yield. */
void stiol_set_complaint(stiol_complaint_t complaint);

/** One slot: an entry of an object's global offset table, or a pointer in its data. */
typedef struct stiol_slot {
    const char *object;     /**< path of the object; "" for the program itself */
    const char *symbol;     /**< "poll" */
    const char *relocation; /**< "JUMP_SLOT", "GLOB_DAT" or "64" */
    const char *problem;    /**< NULL, or why this slot cannot be rebound */
    bool threads;           /**< threads that the object makes are state threads */
} stiol_slot_t;

typedef void (*stiol_slot_cb_t)(const stiol_slot_t *slot, void *data);

/** Calls cb for each slot that is rebound now. @return their number */
int stiol_each(stiol_slot_cb_t cb, void *data);

/** A dry run: calls cb for each slot that stiol_start() would rebind. Needs no VP. @return their
 * number, or -1 if there is a problem with one of them (its `problem` says which). */
int stiol_would_rebind(stiol_slot_cb_t cb, void *data);

/** Calls of one kind: how many there were, how many of them parked the state thread, and how many
 * of those another kernel thread made. */
typedef struct stiol_counter {
    unsigned long long calls, parked, helped;
} stiol_counter_t;

/** One counter for each STIOL_KIND in calls.def, in that order. */
typedef struct stiol_counters {
#define STIOL_KIND(name, help) stiol_counter_t name;
#define STIOL_CALL(symbol, scope, kind, version, help)
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
} stiol_counters_t;

/** Gives the calling VP's counters; all zero if STIOL was not started on it. */
void stiol_get_counters(stiol_counters_t *counters);

/** The process's helper kernel threads. */
typedef struct stiol_helpers {
    int threads;             /**< now, busy and idle */
    int busy;                /**< now */
    int peak;                /**< highest number that were busy at once */
    int names_waiting;       /**< look-ups in line for a helper */
    int files_waiting;       /**< calls on files */
    int others_waiting;      /**< others */
    int lines_waiting;       /**< of syslog, which are written one at a time */
    unsigned long long full; /**< jobs that had to wait because max_helpers was reached */
    int error;               /**< the last error of pthread_create() for a helper; 0: none */
} stiol_helpers_t;

/** Gives the current state of the helpers. */
void stiol_get_helpers(stiol_helpers_t *helpers);

/** Forgets what STIOL and libst know about an fd: for one that was opened, closed or changed in a
 * way that STIOL does not see (by the object that holds STIOL, or inside libc). Makes no system
 * call unless libst has registered it. */
void stiol_forget_fd(int osfd);

#ifdef __cplusplus
}
#endif

#endif /* STIOL_H */
