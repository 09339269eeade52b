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

/** The number of moves in effect; if it is 0, there is no need to ask. */
extern int stm_auto_moves;

/** Counts requests as they begin on the VP: while it stays the same, the VP is with one of them. */
extern volatile unsigned stm_auto_begun;

/** To be called once per VP. */
bool stm_auto_starts(void);

/** The timer has been set for a look. */
void stm_auto_armed(void);
/** Called in a signal handler, STM_AUTO_LOOK after the timer was set; the handler must set it
 * again. This request (NULL: none) is running. If looks in one turn find that the same request has
 * held the VP for long enough, it becomes the turn's suspect. */
void stm_auto_look(bool first_of_turn, const request_rec *r);
/** Set when the turn has a suspect. */
extern volatile sig_atomic_t stm_auto_suspected;
/** Counts a strike against it. */
const char *stm_auto_strike(void);
/** A turn with a suspect has ended: returns the directive that would have kept the suspect off the
 * VP, or "" if there is none. Must not yield. */
static inline const char *stm_auto_turn(void)
{
    return STM_LIKELY(!stm_auto_suspected) ? "" : stm_auto_strike();
}

/** Whether the request is among those moved. handler NULL: the whole request, before its URI is
 * translated. */
bool stm_auto_is_moved(const request_rec *r, const char *handler);

#endif
