/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What state threads wait for, of all VPs: a list, oldest first, and sums by kind and by what is
 * waited for. stmstat threads, the page and both their JSON are made from it.
 */
#ifndef STM_SCORE_WAITS_H
#define STM_SCORE_WAITS_H

#include "score/view.h"

/** A thread. */
typedef struct stm_waiting {
    const stm_score_wait_t *wait;
    int vp;
    uint64_t pid;
    uint64_t age;    /**< of the request, us */
    uint64_t waited; /**< how long it has waited, or run, us */
} stm_waiting_t;

/** How many threads wait for the same. */
typedef struct stm_waits_sum {
    uint64_t kind;    /**< stm_wait_e */
    const char *name; /**< of a backend; "": a sum by kind */
    unsigned threads;
    uint64_t longest; /**< us */
} stm_waits_sum_t;

typedef struct stm_waits {
    stm_waiting_t *waiting; /**< oldest first */
    unsigned count;
    stm_waits_sum_t *kinds, *backends; /**< most threads first */
    unsigned kind_count, backend_count;
} stm_waits_t;

/** Collects the waits of views that were read with STM_VIEW_WAITS and stay valid. now: us since
 * 1970. False: no memory. Free it in any case. */
bool stm_waits_collect(stm_waits_t *waits, const stm_view_t *views, int count, uint64_t now);
void stm_waits_free(stm_waits_t *waits);

/** "reading from 10.0.0.1:80", "lock mutex 0x1234, held by ...": what it waits for, in words. May
 * contain anything. */
#define STM_WAITS_WORDS 320
const char *stm_waits_words(const stm_score_wait_t *wait, char words[STM_WAITS_WORDS]);
/** A length of time for people: "12.3 s". */
#define STM_WAITS_TIME 32
const char *stm_waits_time(uint64_t us, char text[STM_WAITS_TIME]);

/** All of it as one JSON object. */
void stm_waits_json(const stm_text_t *text, const stm_waits_t *waits, uint64_t now);

#endif
