/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the scoreboards. The master keeps each VP's header and shows a copy of it; it gives each
 * process that becomes a VP a block (file.c), where the VP counts (counters.c and keeps a row
 * for each connection (rows.c). In ScoreboardDir they are files; without it they have no
 * name, and only the status pages read them.
 */
#ifndef STM_SCORE_H
#define STM_SCORE_H

#include "score/layout.h"
#include "mpm/shared/shmem.h"
#include "mpm/stm.h"

/** One VP's scoreboard. */
typedef struct stm_score_seat {
    /** The master's own; NULL: not made. In a VP a copy of that moment, with the true layout. What
     * lies in shared memory is for show: no size or offset is ever taken from there. */
    stm_score_header_t *header;
    stm_shmem_t shown; /**< the copy that everybody reads */
    stm_shmem_t block[STM_SCORE_BLOCKS];
    uint64_t broken; /**< bit n: block n cannot be used any more */
} stm_score_seat_t;

/** Kept over restarts (stm_retained_t). */
typedef struct stm_score_files {
    char path[4096]; /**< of the directory; "": none is configured */
    int directory;   /**< opened and checked; -1: none */
    stm_score_seat_t vp[STM_VP_LIMIT];
} stm_score_files_t;

/** The counters of the VP that this process is; never NULL. */
extern stm_score_vp_t *stm_score;

/* Plain additions: one writer, single words. */
#define STM_SCORE_ADD(place, name, n)                                                              \
    __atomic_store_n(&(place)->name, (place)->name + (uint64_t)(n), __ATOMIC_RELAXED)
#define STM_SCORE_SET(place, name, n)                                                              \
    __atomic_store_n(&(place)->name, (uint64_t)(n), __ATOMIC_RELAXED)
#define STM_SCORE_INC(place, name) STM_SCORE_ADD(place, name, 1)

/* --- file.c: in the master --- */

/** Why the directory cannot have the scoreboards of so many VPs; NULL if it can. */
const char *stm_score_check(const char *path, int vps, apr_pool_t *pool);
/** Makes what is missing. False: the server cannot start; said in the log. */
bool stm_score_open(void);
/** A block for the process that is to hold the place; -1: none, said in the log. */
int stm_score_reserve(int ordinal, unsigned incarnation);
/** Whether the next fork gives its block to the child. */
void stm_score_inherit(const stm_child_t *child, bool inherited);
/** The process has ended: what its block (index, -1: none) has counted is added to the sums. */
void stm_score_release(int ordinal, int index);
/** The server has stopped. */
void stm_score_stopped(void);

/* --- counters.c: in a VP --- */

/** The process takes its block (-1: it counts for itself alone). */
void stm_score_attach(const stm_child_t *child);
/** The listeners are open: they get their counters, and the heart begins to beat. */
void stm_score_start(void);
void stm_score_state(stm_vp_state_e state);
/** Brings up to date what is not counted where it happens; the heartbeat too. */
void stm_score_refresh(void);
/** Each turn of the scheduler; held: us since the last visit to epoll, waiting not counted. */
void stm_score_turn(st_utime_t held);
/** The VP's last figures, before it exits. */
void stm_score_end(void);

void stm_score_thread_started(stm_thread_t *thread);
void stm_score_thread_ended(stm_thread_t *thread);
void stm_score_thread_serves(stm_thread_t *thread, bool new_connection);
void stm_score_thread_rests(stm_thread_t *thread);

void stm_score_register_hooks(apr_pool_t *pool);

/* --- status.c, metrics.c, dashboard.c: pages --- */

struct stm_view;
/** Views of all VPs, of the request's pool; what: STM_VIEW_... */
struct stm_view *stm_score_views(request_rec *r, unsigned what, int *count);
/** A page of such text, never cached. False: the request asks for no page, `status` is the answer.
 */
bool stm_page_begin(request_rec *r, const char *type, int *status);
struct stm_text;
/** Where text for the client goes. */
void stm_page_text(request_rec *r, struct stm_text *text);
void stm_status_register_hooks(apr_pool_t *pool);
void stm_metrics_register_hooks(apr_pool_t *pool);
void stm_dashboard_register_hooks(apr_pool_t *pool);

/* --- rows.c: rows of connections --- */

void stm_score_rows_open(const stm_score_header_t *layout, stm_score_block_t *mine);
/** The connection's state has changed: its Status does. A state thread that begins to serve it
 * brings a row. */
void stm_score_row_state(stm_conn_t *conn);
void stm_score_row_born(stm_conn_t *conn);
void stm_score_row_request(stm_conn_t *conn, const request_rec *r);
void stm_score_row_sent(stm_conn_t *conn, apr_off_t bytes);
void stm_score_row_gone(stm_conn_t *conn);

#endif
