/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What STIOL reads of the C library's locks and condition variables, and how it finds out that it
 * may. A module built with one glibc runs with others: a mutex's and a rwlock's layout is fixed,
 * because programs are compiled with their static initialisers, but glibc 2.41 has moved the flags
 * of a condition variable. layout.c looks for them in samples.
 */
#ifndef STIOL_LAYOUT_H
#define STIOL_LAYOUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/** Where a condition variable has its attributes. */
typedef struct stiol__cond_layout {
    size_t flags;       /**< offset of the word with the two bits below */
    uint32_t shared;    /**< between processes */
    uint32_t monotonic; /**< its time limits are CLOCK_MONOTONIC's */
} stiol__cond_layout_t;

enum {
    STIOL_COND_PLAIN,
    STIOL_COND_SHARED,
    STIOL_COND_MONOTONIC,
    STIOL_COND_BOTH,
    STIOL_COND_SAMPLES
};

/** Locks as the C library leaves them. */
typedef struct stiol__samples {
    pid_t tid; /**< of the kernel thread that made them */
    pthread_mutex_t normal, recursive, checking, robust;
    pthread_mutex_t held;     /**< recursive, locked twice */
    pthread_mutex_t released; /**< the same after that */
    pthread_rwlock_t plain, writers_first;
    pthread_rwlock_t written; /**< locked for writing */
    pthread_cond_t conds[STIOL_COND_SAMPLES];
} stiol__samples_t;

/** Of this process's C library; set by stiol__misfit(). */
extern stiol__cond_layout_t stiol__cond_layout;

/** Makes samples with the C library. Does not yield. */
void stiol__samples_make(stiol__samples_t *samples);
/** Looks at samples. Returns the type that has an unknown layout; NULL: all are known, and `conds`
 * is filled in. */
const char *stiol__samples_misfit(const stiol__samples_t *samples, stiol__cond_layout_t *conds);
/** The same for the C library of this process, whose condition variables can be read from now
 * on. */
const char *stiol__misfit(void);

#pragma GCC visibility pop

#endif /* STIOL_LAYOUT_H */
