/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VP's pulse: a page that the master makes for each VP and that this VP alone can write. The VP
 * counts its turns there; when the master asks by a signal, it writes what it is doing
 * (diagnosis/answer.c). process/hang.c is who reads it, and believes it of this VP only.
 */
#ifndef STM_PULSE_H
#define STM_PULSE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* A signal that nobody else uses, and that gdb passes on without a stop. */
#define STM_LOOK_SIGNAL SIGVTALRM

#define STM_PULSE_REPORT 3840 /* bytes */

typedef struct stm_pulse {
    uint64_t turns;                /**< of its scheduler */
    unsigned served;               /**< connections accepted */
    unsigned can_answer;           /**< it handles STM_LOOK_SIGNAL */
    unsigned answers;              /**< how often it has written its report */
    char report[STM_PULSE_REPORT]; /**< its request, then its calls, a line each */
} stm_pulse_t;

/** Of the VP that this process is; never NULL. */
extern stm_pulse_t *stm_pulse;

/* --- in the master --- */

/** Before the fork. NULL: the VP will not be watched; said in the log. */
stm_pulse_t *stm_pulse_make(void);
/** Whether the next fork gives the child the page. NULL: nothing, as in the next. */
void stm_pulse_inherit(stm_pulse_t *pulse, bool inherited);
void stm_pulse_unmake(stm_pulse_t *pulse);

/* --- in the VP --- */

/** This page is its own. NULL: it has none. */
void stm_pulse_take(stm_pulse_t *pulse);
/** Whether STM_LOOK_SIGNAL is handled from now on. */
void stm_pulse_answers(bool does);

#endif
