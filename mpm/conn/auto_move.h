/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RunOn auto: what has repeatedly held up the VP is served by kernel threads for a while.
 */
#ifndef STM_AUTO_MOVE_H
#define STM_AUTO_MOVE_H

#include "mpm/stm.h"

/** A request that holds the VP for this long has held it up, us. */
#define STM_AUTO_HELD 50000

/** The number of moves in effect; if it is 0, there is no need to ask. */
extern int stm_auto_moves;

/** Counts requests as they begin on the VP: while it stays the same, the VP is with one of them. */
extern volatile unsigned stm_auto_begun;

/** To be called once per VP. */
bool stm_auto_starts(void);

/** Called in a signal handler: this request (NULL: none) is running. If this many looks in one turn
 * find the same request, it is the turn's suspect. */
void stm_auto_look(bool first_of_turn, const request_rec *r, int looks);
/** A turn has ended: counts a strike against its suspect, if any. Must not yield. */
void stm_auto_turn(void);

/** Whether the request is among those moved. handler NULL: the whole request, before its URI is
 * translated. */
bool stm_auto_is_moved(const request_rec *r, const char *handler);

/** The directive that would keep the last suspect off the VP; "" if there is none. */
const char *stm_auto_remedy(void);

#endif
