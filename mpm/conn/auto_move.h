/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RunOn auto: what has repeatedly held up the VP is served by kernel threads for a while.
 */
#ifndef STM_AUTO_MOVE_H
#define STM_AUTO_MOVE_H

#include <signal.h>

#include "mpm/stm.h"

/** A request that holds the VP for this long has held it up, us. Only time in which it computes or
 * waits in the kernel counts, not time in which others have the CPU. */
#define STM_AUTO_HELD 50000
/** Time between two looks, us. */
#define STM_AUTO_LOOK (STM_AUTO_HELD / 3)

extern struct stm_auto {
    int moves; /**< in effect; if there are none, there is no need to ask */
    /** Counts requests as they begin on the VP: while it does not change, the VP serves the same
     * one. */
    volatile unsigned begun;
    volatile sig_atomic_t suspected; /**< the turn has a suspect */
} stm_auto;

/** To be called once per VP. */
bool stm_auto_starts(void);

/** The timer has been set for a look. */
void stm_auto_armed(void);
/** Called in a signal handler, STM_AUTO_LOOK after the timer was set; the handler must set it
 * again. This request (NULL: none) is running. If looks in one turn find that the same request has
 * held the VP for long enough, it becomes the turn's suspect. */
void stm_auto_look(bool first_of_turn, const request_rec *r);
/** Counts a strike against the turn's suspect; called by stm_auto_turn() and returns its result. */
const char *stm_auto_strike(void);
/** A turn with a suspect has ended: returns the directive that would have kept the suspect off the
 * VP, or "" if there is none. Must not yield. */
static inline const char *stm_auto_turn(void)
{
    return STM_LIKELY(!stm_auto.suspected) ? "" : stm_auto_strike();
}

/** Whether the request is among those moved. handler NULL: the whole request, before its URI is
 * translated. */
bool stm_auto_is_moved(const request_rec *r, const char *handler);

#endif
