/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VP reports about itself when it is held up. Runs in the VP; nothing yields.
 */
#ifndef STM_DIAGNOSIS_H
#define STM_DIAGNOSIS_H

#include "mpm/stm.h"
#include "stiol/stiol.h"

/* --- stall.c: turns that are too long (StallWarning) --- */

/** To be called once per VP, before its first state thread starts. */
void stm_stall_start(void);
/** The VP is ending: no more signals may be sent. */
void stm_stall_end(void);
/** A turn of the scheduler has ended after `held` us. Called by the scheduler. */
void stm_stall_turn(st_utime_t held);

/* --- answer.c: the master asks a VP whose scheduler does not run what it is doing --- */

/** Writes the answer into the pulse. Called in STM_LOOK_SIGNAL's handler. */
void stm_answer_write(void);

/* --- limits.c: limits that make requests wait --- */

/** Logs that MaxThreads, KernelThreads or HelperThreads has been reached, or that the system
 * refuses helper threads. Called with each heartbeat. */
void stm_limits_report(void);

/* --- lock_report.c: locks held across a park --- */

typedef void (*stm_lock_report_fn)(const stiol_lock_report_t *report);
/** For stiol_config_t.lock_report. NULL unless this is a debug build. */
stm_lock_report_fn stm_lock_report(void);

#endif
