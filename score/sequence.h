/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequence locks: one process writes, any number of others read at any moment and see whether what
 * they have read is whole. The number is odd while its writer changes what it guards, and another
 * one afterwards. A reader reads it, then what it guards, then it again.
 */
#ifndef STM_SEQUENCE_H
#define STM_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

/** The number while there is a change, whatever it was before: a writer may have died in one. */
static inline uint64_t stm_sequence_open(uint64_t sequence)
{
    return sequence | 1;
}

/** The number after it. */
static inline uint64_t stm_sequence_closed(uint64_t sequence)
{
    return (sequence | 1) + 1;
}

/** Whether what was read between these two is whole. */
static inline bool stm_sequence_is_whole(uint64_t before, uint64_t after)
{
    return before == after && !(before & 1);
}

/** Around a change, where the number and what it guards are memory that the writer stores to. */
static inline void stm_sequence_begin(uint64_t *sequence)
{
    __atomic_store_n(sequence, stm_sequence_open(*sequence), __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void stm_sequence_end(uint64_t *sequence)
{
    __atomic_store_n(sequence, stm_sequence_closed(*sequence), __ATOMIC_RELEASE);
}

#endif
