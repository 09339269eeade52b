/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the scoreboards. The master keeps each VP's header and publishes a copy of it; it gives
 * each process that becomes a VP a block (file.c), in which the VP counts (counters.c) and keeps a
 * row for each connection (rows.c). With ScoreboardDir they are files; without it they have no
 * name, and only the status pages read them.
 */
#ifndef STM_SCOREBOARD_H
#define STM_SCOREBOARD_H

#include "mpm/shared/shmem.h"
#include "mpm/stm.h"
#include "score/layout.h"

/** One VP's scoreboard. */
typedef struct stm_score_seat {
    /** The master's own; NULL if not made yet. In a VP, a copy as of the fork, with the true
     * layout. Shared memory is only for display: no size or offset is ever taken from there. */
    stm_score_header_t *header;
    stm_shmem_t shown; /**< the copy that all others read */
    stm_shmem_t block[STM_SCORE_BLOCKS];
    uint64_t broken; /**< bit n: block n is no longer usable */
} stm_score_seat_t;

typedef struct stm_score_files {
    char path[4096]; /**< of the directory; "" if none is configured */
    int directory;   /**< opened and checked; -1 if none */
    stm_score_seat_t vp[STM_VP_LIMIT];
} stm_score_files_t;

/** Retained over restarts; set by stm_score_open(). */
extern stm_score_files_t *stm_score_files;

/** The counters of the VP that this process is; never NULL. */
extern stm_score_vp_t *stm_score;

/* Plain additions suffice: there is one writer, and they are single words. */
#define STM_SCORE_ADD(place, name, n)                                                              \
    __atomic_store_n(&(place)->name, (place)->name + (uint64_t)(n), __ATOMIC_RELAXED)
#define STM_SCORE_SET(place, name, n)                                                              \
    __atomic_store_n(&(place)->name, (uint64_t)(n), __ATOMIC_RELAXED)
#define STM_SCORE_INC(place, name) STM_SCORE_ADD(place, name, 1)

/* --- file.c: in the master --- */

/** Whether ScoreboardDir can hold the scoreboards of all VPs. Returns OK, or a check_config hook's
 * error after logging it. */
int stm_score_check(apr_pool_t *pool, server_rec *s);
/** Called before VPs are started: makes what is missing. *kept is what an earlier call made, NULL
 * if there was none. False: the server cannot start, which is logged. */
bool stm_score_open(stm_score_files_t **kept);
/** Reserves a block for the process that is to hold the seat; -1: none, which is logged. */
int stm_score_reserve(int ordinal, unsigned incarnation);
/** Sets whether the next fork gives that block (-1: none, as below) to the child. */
void stm_score_inherit(int ordinal, int index, bool inherited);
/** The process has ended: adds its block's counts to the sums. */
void stm_score_release(int ordinal, int index);
/** To be called when the server has stopped. */
void stm_score_stopped(void);

/* --- heartbeat.c --- */

/** In a VP, before STIOL starts: mod_heartbeat is to say what all VPs could take and do. */
void stm_heartbeat_prepare(void);

/* --- counters.c: in a VP. Nothing there yields --- */

/** The process that stm.vp describes, started at that time of day, takes its block (-1: it counts
 * only for itself). */
void stm_score_attach(int index, apr_time_t started);
/** Returns counters for one more listener. */
stm_score_listener_t *stm_score_listener_new(const apr_sockaddr_t *address);
/** Starts the heartbeat. refresh is called whenever the scoreboard is updated and updates what the
 * caller counts elsewhere; beat is called once a second by the scheduler. */
void stm_score_start(void (*refresh)(void), void (*beat)(void));
/** Publishes the VP's state. */
void stm_score_state(stm_vp_state_e state);
/** Updates the heartbeat and all figures that are not counted where they arise. */
void stm_score_refresh(void);
/** Called on each turn of the scheduler; held: us since the last visit to epoll, not counting
 * waits. */
void stm_score_turn(st_utime_t held);
/** Writes the VP's final figures before it exits. */
void stm_score_end(void);

/** A state thread of a listener has started: returns its counters. stm.vp.threads already includes
 * it; at the next function it no longer does. */
stm_score_thread_t *stm_score_thread_started(void);
/** The thread has ended: the counters may be used for another one. */
void stm_score_thread_ended(stm_score_thread_t *thread);
/** The thread begins to serve a connection; new_connection: for the first time. */
void stm_score_thread_serves(stm_score_thread_t *thread, bool new_connection);
/** The thread has parked or ended its connection, and is no longer busy. */
void stm_score_thread_rests(stm_score_thread_t *thread);

/** A request has been answered with `sent` bytes. */
void stm_score_request(int status, apr_off_t sent);

/* --- waits.c: what state threads wait for --- */

/** Called by counters.c. */
void stm_score_waits_open(const stm_score_header_t *layout, stm_score_block_t *mine);
/** Returns an entry for one more state thread. Never NULL; if the table is full, the entry is one
 * that is not shown. */
stm_score_wait_t *stm_score_wait_take(void);
/** Gives an entry back. Its thread is ending. */
void stm_score_wait_give(stm_score_wait_t *wait);

/* --- rows.c: rows of connections (ConnectionStatus). Numbers are from 1; 0 is none --- */

/** Pairs of a row: a row is no larger than they are, since each busy connection touches one. */
extern const uint32_t stm_score_row_pairs;
/** Called by counters.c. */
void stm_score_rows_open(const stm_score_header_t *layout, stm_score_block_t *mine);
/** Whether there are any rows. */
bool stm_score_keeps_rows(void);
/** Puts a row's number into *owner, for a connection of that age (us). If all rows are taken, the
 * owner of the one idle longest gets 0; *owner is unchanged if none is idle. */
void stm_score_row_take(int *owner, unsigned long serial, const char *client, st_utime_t age);
/** Gives the row back. Harmless if there is none. */
void stm_score_row_give(int *owner);
/** A row's Status, of a fixed size because it changes several times per request. */
typedef struct stm_score_status {
    char text[16]; /**< null-terminated */
} stm_score_status_t;
/** Shows a row's Status. busy: a state thread is serving the connection. Does nothing for row 0. */
void stm_score_row_status(int number, bool busy, const stm_score_status_t *status);
/** Shows the request in the row. Does nothing for row 0. */
void stm_score_row_request(int number, const request_rec *r);
/** Counts more bytes of the response. Does nothing for row 0. */
void stm_score_row_sent(int number, apr_off_t bytes);

#endif
