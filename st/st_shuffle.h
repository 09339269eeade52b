/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds with ST_SHUFFLE run threads in a random order, so that code that relies on the usual one
 * fails. Shared by libst, STIOL (which yields at each call) and the MPM (which prints the seed).
 */
#ifndef ST_SHUFFLE_H
#define ST_SHUFFLE_H

#include <stdint.h>

#define ST_SHUFFLE_SEED_VARIABLE "STM_SEED"

/** The seed of the order of the calling VP's threads: STM_SEED from the environment or, without
 * that, the time. Only in builds with ST_SHUFFLE. */
uint64_t st_shuffle_seed(void);

#ifdef ST_SHUFFLE
/** Yields once, and now and then so often that others get far ahead. Keeps errno. Must be called on
 * a state thread. Yields. */
void st_shuffle(void);
#else
static inline void st_shuffle(void)
{
}
#endif

#endif /* ST_SHUFFLE_H */
