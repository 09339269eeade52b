/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one look that STIOL takes into libst: whether the scheduler runs a callback, in which nothing may park. Every
 * replacement asks.
 */
#include "st_internal.h"

extern bool stiol__in_callback(void) __attribute__((visibility("hidden")));

bool stiol__in_callback(void)
{
    return st__vp != NULL && st__vp->in_callback;
}
