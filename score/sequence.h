/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequence locks: one process writes; any number of others read at any moment and can tell whether
 * what they have read is consistent. The number is odd while its writer changes the data it guards,
 * and has a new value afterwards. A reader reads the number, then the data, then the number again.
 */
#ifndef STM_SEQUENCE_H
#define STM_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

/** The number during a change, whatever it was before: a writer may have died in the middle of
 * one. */
static inline uint64_t stm_sequence_open(uint64_t sequence)
{
    return sequence | 1;
}

/** The number after it. */
static inline uint64_t stm_sequence_closed(uint64_t sequence)
{
    return (sequence | 1) + 1;
}

/** Whether the data read between these two is consistent. */
static inline bool stm_sequence_is_whole(uint64_t before, uint64_t after)
{
    return before == after && !(before & 1);
}

/** Before and after a change, if the number and the data it guards are memory that the writer
 * stores to. */
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
