/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the state threads of all VPs wait for: a list, oldest first, and sums by kind and backend.
 * stmstat threads, the page, and the JSON of both are made from it.
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
    uint64_t waited; /**< how long it has been waiting or running, us */
} stm_waiting_t;

/** How many threads wait for the same thing. */
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

/** Collects the waits of views that were read with STM_VIEW_WAITS; the result is valid as long as
 * they are. now: us since 1970. Returns false if there is no memory. To be freed in either case. */
bool stm_waits_collect(stm_waits_t *waits, const stm_view_t *views, int count, uint64_t now);
/** Frees what stm_waits_collect() has allocated, whether it succeeded or not. */
void stm_waits_free(stm_waits_t *waits);

#define STM_WAITS_WORDS 320
/** What it waits for, in words: "reading from 10.0.0.1:80", "lock mutex 0x1234, held by ...". The
 * text may contain any characters. Returns `words`. */
const char *stm_waits_words(const stm_score_wait_t *wait, char words[STM_WAITS_WORDS]);
#define STM_WAITS_TIME 32
/** A length of time for people, such as "12.3 s". Returns `text`. */
const char *stm_waits_time(uint64_t us, char text[STM_WAITS_TIME]);

/** Writes all of it as one JSON object. now: us since 1970. */
void stm_waits_json(const stm_text_t *text, const stm_waits_t *waits, uint64_t now);

#endif
