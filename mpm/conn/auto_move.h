/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RunOn auto: what has held up the VP again and again is served by kernel threads for a while.
 */
#ifndef STM_AUTO_MOVE_H
#define STM_AUTO_MOVE_H

#include "mpm/stm.h"

/** A VP that one request holds for so long has been held up, us. */
#define STM_AUTO_HELD 50000

/** How many moves are in effect: 0, and nobody need ask. */
extern int stm_auto_moves;

/** Once per VP. */
bool stm_auto_starts(void);

/** In a signal handler: this request (NULL: none) runs now. If so many looks in one turn find the
 * same one, it is the turn's suspect. */
void stm_auto_look(bool first_of_turn, const request_rec *r, int looks);
/** A turn is over: counts the suspect's strike, if there is one. Must not yield. */
void stm_auto_turn(void);

/** Whether the request is among what was moved; without a handler: all of it, before it is
 * translated. */
bool stm_auto_is_moved(const request_rec *r, const char *handler);

/** The directive that would keep the last suspect off the VP; "": there is none. */
const char *stm_auto_remedy(void);

#endif
