/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal handlers that interrupt a VP (handler.c). None of these yields.
 */
#ifndef STIOL_HANDLER_H
#define STIOL_HANDLER_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/** At the first VP: takes over the handlers that are already installed, whoever installed them. */
void stiol__handlers_start(void);
/** After the last VP: puts them back. */
void stiol__handlers_stop(void);
/** The VP is ending: nothing may be posted to it from now on. */
void stiol__handlers_vp_ends(stiol__vp_t *vp);
/** In a child after fork: keeps handlers from making it a VP again. */
void stiol__handlers_forked(void);
/** A signal handler releases key: waiters are woken later, by a VP, since the handler may have
 * interrupted the holder of the lot's lock. False: the caller may wake them now. */
bool stiol__wake_later(uintptr_t key);

#pragma GCC visibility pop

#endif /* STIOL_HANDLER_H */
