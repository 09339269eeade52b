/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the name service that several state threads may wait for at once: equal ones are
 * asked once. resolve.c makes them; question.c keeps those that are open.
 */
#ifndef STIOL_QUESTION_H
#define STIOL_QUESTION_H

#include <stddef.h>

#include "stiol/helper.h"

#pragma GCC visibility push(hidden)

/** In the heap, the first member of what is asked. */
typedef struct stiol__question {
    stiol__job_t job; /* run, group and quick are the maker's to set */
    void (*free)(struct stiol__question *question); /* on any kernel thread */
    const void *key;                                /* equal keys: the same question */
    size_t key_size;
    /* question.c's own */
    struct stiol__question *next;
    struct stiol__asker *askers;
    bool open;
} stiol__question_t;

/** The calling VP's open question with this key, NULL: none. */
stiol__question_t *stiol__question_find(const void *key, size_t key_size);

/**
 * Parks until there is an answer. Asks, unless the question is open already. A state thread that
 * is to be cancelled, or whose VP ends, does not wait for the end of it.
 *
 * @return 0: the answer is there, and the caller has to take it and to call stiol__question_end(),
 *     with no yield in between. -1 with errno: the wait was ended; the question may be gone
 */
int stiol__question_wait(struct stiol__vp *vp, stiol__question_t *question);

/** Whether nobody else is still to take the answer. */
bool stiol__question_last(const stiol__question_t *question);
/** Frees it if so. */
void stiol__question_end(stiol__question_t *question);

#pragma GCC visibility pop

#endif /* STIOL_QUESTION_H */
