/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a VP's kernel thread has been occupied: computing, or waiting inside the kernel. The
 * time in which it was ready to run but others had the CPU is not counted, so a busy machine makes
 * nobody look guilty. Used by auto_move.c, mostly in a signal handler.
 */
#ifndef STM_OCCUPIED_H
#define STM_OCCUPIED_H

#include "mpm/stm.h"

/** What the calling kernel thread had used up at some moment; all but the last in us. */
typedef struct stm_moment {
    st_utime_t clock;
    st_utime_t computed;
    st_utime_t kept_waiting; /**< ready to run, without a CPU; 0 if the kernel does not tell */
    long switches;           /**< how often it has given up the CPU of its own accord */
} stm_moment_t;

/** To be called once per VP, on its kernel thread. */
void stm_occupied_open(void);
/** Fills in this moment. Async-signal-safe. */
void stm_moment_take(stm_moment_t *moment);

/** us between the two moments in which the thread was occupied. If it only computed, at most `most`
 * are returned: a virtual machine that stands still looks like one long computation. */
st_utime_t stm_occupied(const stm_moment_t *from, const stm_moment_t *to, st_utime_t most);
/** Whether the thread has waited in the kernel between the two moments. */
bool stm_has_waited(const stm_moment_t *from, const stm_moment_t *to);

#endif
