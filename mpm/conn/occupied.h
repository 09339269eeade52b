/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a VP's kernel thread has been occupied: computing, or waiting inside the kernel. Time in
 * which it was ready to run but others had the CPU is not counted, so that a busy machine makes
 * nobody look guilty. Used by auto_move.c, mostly in a signal handler.
 */
#ifndef STM_OCCUPIED_H
#define STM_OCCUPIED_H

#include "mpm/stm.h"

/** What the calling kernel thread had used up by some moment; all but the last in us. */
typedef struct stm_moment {
    st_utime_t clock;
    st_utime_t computed;
    st_utime_t kept_waiting; /**< ready to run but without a CPU; 0 if the kernel does not say */
    long switches;           /**< how often it has given up the CPU voluntarily */
} stm_moment_t;

/** To be called once per VP, on its kernel thread. */
void stm_occupied_open(void);
/** Fills in this moment. Async-signal-safe. */
void stm_moment_take(stm_moment_t *moment);

/** How long the thread was occupied between the two moments, us. If it only computed, at most
 * `most` is returned: a virtual machine that was stopped looks like one long computation. */
st_utime_t stm_occupied(const stm_moment_t *from, const stm_moment_t *to, st_utime_t most);
/** Whether the thread has waited in the kernel between the two moments. */
bool stm_has_waited(const stm_moment_t *from, const stm_moment_t *to);

#endif
