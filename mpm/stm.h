/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all rooms of the MPM need: httpd's headers, assertions, and what this process is. Each room
 * has its own header (mpm/ROOM/ROOM.h); a room includes and calls only those below it.
 * docs/architecture.md gives their order and follows one connection through them.
 */
#ifndef STM_H
#define STM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <apr.h>
#include <apr_buckets.h>
#include <apr_pools.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <ap_config.h>
#include <ap_listen.h>
#include <ap_mpm.h>
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <mpm_common.h>
#include <scoreboard.h>
#include <unixd.h>

#include "st.h"
#include "stmno.h"
#include "mpm/httpd_versions.h"
#include "score/limits.h"

/** The module's record, which httpd looks up by its name. */
extern module AP_MODULE_DECLARE_DATA mpm_stm_module __attribute__((visibility("default")));

/* Log lines carry the module's name; module.c achieves this by declaring the module. */
#ifndef STM_MODULE_RECORD
APLOG_USE_MODULE(mpm_stm);
#endif

#define STM_LIKELY(x) __builtin_expect(!!(x), 1)

#ifdef STM_DEBUG
#define STM_ASSERT(expression) ap_assert(expression)
#else
#define STM_ASSERT(expression) ((void)0)
#endif

/** What the first start has reserved: httpd's scoreboard is created once and does not grow. 0: not
 * created yet. */
typedef struct stm_limits {
    int seats;   /**< process slots of httpd's scoreboard */
    int threads; /**< the upper bound of MaxThreads */
    int slots;   /**< worker slots in use of each process slot */
} stm_limits_t;

/** The upper bound of seats * slots. mod_status shows the slots as one line, and readers of ?auto
 * have buffers of 64 KiB. A state thread without a slot serves like any other. */
#define STM_SLOTS_ALL 65000

typedef enum { STM_VP_RUNNING, STM_VP_LEAVING, STM_VP_STOPPING } stm_vp_state_e;

/** The VP that this process is; all zero in the master. */
typedef struct stm_vp {
    int ordinal;          /**< its VP-ID */
    unsigned incarnation; /**< of that ordinal, from 1 */
    pid_t pid;
    stm_vp_state_e state;
    apr_pool_t *pchild;
    st_vp_t scheduler;    /**< libst's handle; NULL in the master */
    st_thread_t main;     /**< the primordial state thread, which waits for the VP's end */
    int connections;      /**< open now */
    int threads;          /**< state threads of its listeners */
    st_utime_t last_turn; /**< how long the scheduler's last turn took, us */
} stm_vp_t;

/** What all rooms may use. Each room has one such variable of its own, if any. */
typedef struct stm_globals {
    ap_unixd_mpm_retained_data *mpm; /**< httpd's record of the running MPM; set by pre_config */
    apr_pool_t *pconf;
    const stm_limits_t *limits; /**< never NULL once the directives are read */
    bool one_process;           /**< httpd -X, or ONE_PROCESS: this process is the VP */
    int startup;                /**< APLOG_STARTUP while httpd reads its configuration for the first
                                     time, else 0: there is no error log yet */
    stm_vp_t vp;
} stm_globals_t;

extern stm_globals_t stm;

/** In a debug build with STM_TRACE in the environment: from now on, writes a line to stderr at the
 * beginning of each procedure of the MPM. */
void stm_trace_start(void);

/** Microseconds since some moment in the past, on a clock that never jumps, unlike the time of day:
 * for anything that the master delays or gives a time limit. */
apr_time_t stm_monotonic(void);
/** Whether to log again what may happen often: at most once in ten seconds. *last, which begins as
 * 0, belongs to that message. Preserves errno. */
bool stm_may_complain(apr_time_t *last);

/** A connection or a state thread of this VP has ended: if it was the last one and the VP is
 * ending, wakes stm.vp.main, which waits for that. Does not yield. */
void stm_vp_idle_check(void);
/** Whether the VP has no connections or state threads left. */
bool stm_vp_is_idle(void);

#endif
