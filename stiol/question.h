/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the name service that several state threads may wait for at once: equal ones are
 * asked only once. resolve.c makes them; question.c keeps the open ones.
 */
#ifndef STIOL_QUESTION_H
#define STIOL_QUESTION_H

#include <stddef.h>

#include "stiol/helper.h"

#pragma GCC visibility push(hidden)

/** On the heap, as the first member of the maker's own structure. */
typedef struct stiol__question {
    stiol__job_t job;                               /* the maker sets run, group and quick */
    void (*free)(struct stiol__question *question); /* on any kernel thread */
    const void *key;                                /* equal keys: the same question */
    size_t key_size;
    /* question.c's own */
    struct stiol__question *next;
    struct stiol__asker *askers;
    bool open;
} stiol__question_t;

/** The calling VP's open question with this key; NULL if there is none. */
stiol__question_t *stiol__question_find(const void *key, size_t key_size);

/**
 * Parks until there is an answer. Asks, unless the question is already open. A state thread that is
 * being cancelled, or whose VP is ending, does not wait for the answer.
 *
 * @return 0: the answer is there, and the caller must take it and call stiol__question_end()
 *     without yielding in between. -1 with errno: the wait was ended; the question may be gone
 */
int stiol__question_wait(struct stiol__vp *vp, stiol__question_t *question);

/** Whether nobody else has yet to take the answer. */
bool stiol__question_last(const stiol__question_t *question);
/** Frees the question if so. */
void stiol__question_end(stiol__question_t *question);

#pragma GCC visibility pop

#endif /* STIOL_QUESTION_H */
