/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the scoreboards. The master keeps each VP's header and shows a copy of it; it gives each
 * process that becomes a VP a block (file.c), where the VP counts (counters.c) and keeps a row
 * for each connection (rows.c). In ScoreboardDir they are files; without it they have no
 * name, and only the status pages read them.
 */
#ifndef STM_SCOREBOARD_H
#define STM_SCOREBOARD_H

#include "mpm/shared/shmem.h"
#include "mpm/stm.h"
#include "score/layout.h"

/** One VP's scoreboard. */
typedef struct stm_score_seat {
    /** The master's own; NULL: not made. In a VP a copy of that moment, with the true layout. What
     * lies in shared memory is for show: no size or offset is ever taken from there. */
    stm_score_header_t *header;
    stm_shmem_t shown; /**< the copy that everybody reads */
    stm_shmem_t block[STM_SCORE_BLOCKS];
    uint64_t broken; /**< bit n: block n cannot be used any more */
} stm_score_seat_t;

typedef struct stm_score_files {
    char path[4096]; /**< of the directory; "": none is configured */
    int directory;   /**< opened and checked; -1: none */
    stm_score_seat_t vp[STM_VP_LIMIT];
} stm_score_files_t;

/** Kept over restarts; set by stm_score_open(). */
extern stm_score_files_t *stm_score_files;

/** The counters of the VP that this process is; never NULL. */
extern stm_score_vp_t *stm_score;

/* Plain additions: one writer, single words. */
#define STM_SCORE_ADD(place, name, n)                                                              \
    __atomic_store_n(&(place)->name, (place)->name + (uint64_t)(n), __ATOMIC_RELAXED)
#define STM_SCORE_SET(place, name, n)                                                              \
    __atomic_store_n(&(place)->name, (uint64_t)(n), __ATOMIC_RELAXED)
#define STM_SCORE_INC(place, name) STM_SCORE_ADD(place, name, 1)

/* --- file.c: in the master --- */

/** Whether ScoreboardDir can have the scoreboards of so many VPs. OK, or what a check_config hook
 * returns then; said in the log. */
int stm_score_check(apr_pool_t *pool, server_rec *s);
/** Before VPs are started: makes what is missing. *kept is what an earlier call has made; NULL:
 * there was none. False: the server cannot start; said in the log. */
bool stm_score_open(stm_score_files_t **kept);
/** A block for the process that is to hold the seat; -1: none, said in the log. */
int stm_score_reserve(int ordinal, unsigned incarnation);
/** Whether the next fork gives that block (-1: none, as below) to the child. */
void stm_score_inherit(int ordinal, int index, bool inherited);
/** The process has ended: what its block has counted is added to the sums. */
void stm_score_release(int ordinal, int index);
/** The server has stopped. */
void stm_score_stopped(void);

/* --- counters.c: in a VP. Nothing there yields --- */

/** The process that stm.vp describes, started at that time of day, takes its block (-1: it counts
 * for itself alone). */
void stm_score_attach(int index, apr_time_t started);
/** Counters for one more listener. */
stm_score_listener_t *stm_score_listener_new(const apr_sockaddr_t *address);
/** The heart begins to beat. refresh: brings up to date what the caller counts elsewhere, whenever
 * the scoreboard is; beat: is called once a second, by the scheduler. */
void stm_score_start(void (*refresh)(void), void (*beat)(void));
void stm_score_state(stm_vp_state_e state);
/** Brings up to date what is not counted where it happens; the heartbeat too. */
void stm_score_refresh(void);
/** Each turn of the scheduler; held: us since the last visit to epoll, waiting not counted. */
void stm_score_turn(st_utime_t held);
/** The VP's last figures, before it exits. */
void stm_score_end(void);

/** A state thread of a listener has started: its counters. stm.vp.threads counts it already, and in
 * the next one no longer. */
stm_score_thread_t *stm_score_thread_started(void);
void stm_score_thread_ended(stm_score_thread_t *thread);
void stm_score_thread_serves(stm_score_thread_t *thread, bool new_connection);
void stm_score_thread_rests(stm_score_thread_t *thread);

/** A request is answered, with so many bytes. */
void stm_score_request(int status, apr_off_t sent);

/* --- rows.c: rows of connections (ConnectionStatus). Numbers are from 1; 0 is none --- */

/** Called by counters.c. */
void stm_score_rows_open(const stm_score_header_t *layout, stm_score_block_t *mine);
/** Whether there are any. */
bool stm_score_keeps_rows(void);
/** Puts a row's number into *owner, for a connection of such an age (us). If all rows are taken,
 * the longest idle one's owner gets 0; *owner stays if none is idle. */
void stm_score_row_take(int *owner, unsigned long serial, const char *client, st_utime_t age);
/** Gives it back. Harmless if there is none. */
void stm_score_row_give(int *owner);
/** busy: a state thread serves the connection. */
void stm_score_row_status(int number, bool busy, const char *status);
/** What is asked; and more bytes of the answer. Nothing for row 0. */
void stm_score_row_request(int number, const request_rec *r);
void stm_score_row_sent(int number, apr_off_t bytes);

#endif
