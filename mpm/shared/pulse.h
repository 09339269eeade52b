/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VP's pulse: a page that the master makes for each VP and that only this VP can write. The VP
 * counts its turns there; when the master asks with a signal, it writes what it is doing
 * (diagnosis/answer.c). process/hang.c reads it, and believes what it says only of this VP.
 */
#ifndef STM_PULSE_H
#define STM_PULSE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* A signal that nothing else uses, and that gdb passes on without stopping. */
#define STM_LOOK_SIGNAL SIGVTALRM

#define STM_PULSE_REPORT 3840 /* bytes */

typedef struct stm_pulse {
    uint64_t turns;                /**< of its scheduler */
    unsigned served;               /**< connections accepted */
    unsigned can_answer;           /**< it handles STM_LOOK_SIGNAL */
    unsigned answers;              /**< how often it has written its report */
    char report[STM_PULSE_REPORT]; /**< its request, then its calls, one per line */
} stm_pulse_t;

/** The pulse of the VP that this process is; never NULL. */
extern stm_pulse_t *stm_pulse;

/* --- in the master --- */

/** Called before the fork. NULL: the VP will not be watched, which is logged. */
stm_pulse_t *stm_pulse_make(void);
/** Sets whether the next fork gives the child the page. NULL: does nothing, here and in the next
 * function. */
void stm_pulse_inherit(stm_pulse_t *pulse, bool inherited);
/** Frees the page in the master, once the VP has ended. Does nothing for NULL. */
void stm_pulse_unmake(stm_pulse_t *pulse);

/* --- in the VP --- */

/** Takes this page as the VP's own. NULL: it has none. */
void stm_pulse_take(stm_pulse_t *pulse);
/** Tells the master whether STM_LOOK_SIGNAL is handled from now on. */
void stm_pulse_answers(bool does);

#endif
