/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VPs publish for each other and for the master while they run (share.c): a page for each
 * process, which only that process writes, and the table of the seats, which only the master
 * writes.
 */
#ifndef STM_SHARE_H
#define STM_SHARE_H

#include <stdint.h>

#include "mpm/shared/shmem.h"
#include "score/limits.h"

/** Maximum number of pages of one seat: its holder's, and those of the processes that are
 * leaving. */
#define STM_SHARE_PAGES 64

/**
 * A process's page. Readers must expect any value: docs/internals/trust.md says what a lie in each
 * can do.
 */
typedef struct stm_share_vp {
    volatile int connections;        /**< open now; the others compare their own with it */
    volatile unsigned accepted;      /**< so far, modulo 2^32 */
    volatile int accepting;          /**< 0 while it takes no new connections */
    volatile int asleep;             /**< it has nothing to do */
    volatile int busy;               /**< state threads that serve a connection now */
    volatile int limit;              /**< MaxThreads */
    volatile int cpu;                /**< the one it is bound to, or -1 */
    volatile int overflowed;         /**< 1 once a state thread has overflowed its stack, */
    volatile unsigned overflow_size; /**< of this many bytes */
} stm_share_vp_t;

/** A seat, as the master describes it to the VPs. */
typedef struct stm_share_seat {
    volatile uint32_t page;        /**< 1 + its holder's page; 0: no holder, or no page */
    volatile unsigned incarnation; /**< of its holder, or of the last one */
} stm_share_seat_t;

/** The mappings; private to each process, retained over restarts (stm_retained_t). */
typedef struct stm_share {
    stm_shmem_t seats;                               /**< of stm_share_seat_t [STM_VP_LIMIT] */
    stm_shmem_t page[STM_VP_LIMIT][STM_SHARE_PAGES]; /**< of stm_share_vp_t each */
    uint64_t taken[STM_VP_LIMIT];                    /**< in the master: bit n: page n */
} stm_share_t;

/** The page of the process that this is; never NULL. */
extern stm_share_vp_t *stm_share;

/* --- in the master --- */

/** Called before VPs are started: makes what is missing for `vps` of them, so that each VP can see
 * the pages of those started later. *kept is what an earlier call made, NULL if there was none.
 * False on failure, which is logged. */
bool stm_share_open(stm_share_t **kept, int vps);
/** Reserves a cleared page for the process that is to hold the seat; -1: there is none. */
int stm_share_reserve(int ordinal);
/** Sets whether the next fork gives that page (-1: none, as below) to the child. */
void stm_share_inherit(int ordinal, int page, bool inherited);
/** The page's process has ended. */
void stm_share_release(int ordinal, int page);
/** The seat has a new holder. */
void stm_share_seat(int ordinal, int page, unsigned incarnation);
/** What a process says; NULL: it has no page. */
const stm_share_vp_t *stm_share_of(int ordinal, int page);

/* --- in a VP --- */

/** Tells this process which of the pages is its own. */
void stm_share_attach(int ordinal, int page, unsigned incarnation);
/** The page of the seat's holder; NULL: the seat is free, or the page is not visible here. */
const stm_share_vp_t *stm_share_holder(int ordinal);
/** Whether this process still holds its seat, rather than a successor. */
bool stm_share_holds_seat(void);

#endif
