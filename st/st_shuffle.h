/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds with ST_SHUFFLE run threads in a random order, so that code which counts on the usual one
 * fails. Shared by libst, STIOL (which gives way at each call) and the MPM (which prints the seed).
 */
#ifndef ST_SHUFFLE_H
#define ST_SHUFFLE_H

#include <stdint.h>

#define ST_SHUFFLE_SEED_VARIABLE "STM_SEED"

/** What the order of the calling VP's threads follows from: STM_SEED of the environment; without
 * that, the time. Only builds with ST_SHUFFLE have it. */
uint64_t st_shuffle_seed(void);

#ifdef ST_SHUFFLE
/** Gives way once, and now and then so often that others get far ahead. errno stays. Must be called
 * on a state thread. Yields. */
void st_shuffle(void);
#else
static inline void st_shuffle(void)
{
}
#endif

#endif /* ST_SHUFFLE_H */
