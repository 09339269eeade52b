/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal handlers that interrupt a VP (handler.c). None of these yields.
 */
#ifndef STIOL_HANDLER_H
#define STIOL_HANDLER_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/** At the first VP: takes the handlers over that are set already, whoever has set them. */
void stiol__handlers_start(void);
/** After the last VP: puts them back. */
void stiol__handlers_stop(void);
/** The VP ends: nothing is to be posted to it from now on. */
void stiol__handlers_vp_ends(stiol__vp_t *vp);
/** In a child after fork: no handler is to make it a VP again. */
void stiol__handlers_forked(void);
/** A release of key by a signal handler: whoever waits is woken by a VP, later, since the handler
 * may have interrupted the one who holds the lot's lock. False: the caller may do it now. */
bool stiol__wake_later(uintptr_t key);

#pragma GCC visibility pop

#endif /* STIOL_HANDLER_H */
