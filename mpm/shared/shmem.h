/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that one process writes and the others read. The others hold a mapping that they cannot
 * make writable, and only the writer inherits one that is. Memory that another process could
 * truncate, or for which space may run out, is accessed through the kernel (put, get, clear), so
 * that a missing page causes an error and not a signal. docs/internals/trust.md has the rules.
 */
#ifndef STM_SHMEM_H
#define STM_SHMEM_H

#include <stdbool.h>
#include <stddef.h>

/** A piece of such memory, as this process has it. */
typedef struct stm_shmem {
    void *writable;       /**< in the master and in its writer; NULL if not made */
    const void *readable; /**< in every process that was forked after it was made */
    size_t size;          /**< bytes, whole pages */
} stm_shmem_t;

/** Rounds up to whole pages. */
size_t stm_shmem_round(size_t size);

/** Makes memory without a file, zeroed: nobody can truncate it, but the kernel may have no page for
 * it when it is first touched (vm.overcommit_memory 2). False: errno says why not. */
bool stm_shmem_make(stm_shmem_t *memory, const char *name, size_t size);
/** Maps a file that is at least `size` bytes long. The two descriptors must refer to the same file,
 * one opened for reading and writing, the other for reading only; the caller closes both. */
bool stm_shmem_map(stm_shmem_t *memory, int writable, int readable, size_t size);
/** Unmaps the memory in this process; others keep their mappings. Harmless if it was not made.
 * Preserves errno. */
void stm_shmem_unmake(stm_shmem_t *memory);

/** In the master: sets whether the next fork gives the child the writable mapping. */
void stm_shmem_inherit(const stm_shmem_t *memory, bool inherited);

/** Copies size bytes into such memory. Returns false if not all of it is accessible any more. */
bool stm_shmem_put(void *to, const void *from, size_t size);
/** Copies size bytes from such memory. Returns false if not all of it is accessible any more. */
bool stm_shmem_get(void *to, const void *from, size_t size);
/** Zeroes it, which also reserves its space: plain stores there cannot fail for lack of space
 * afterwards. */
bool stm_shmem_clear(void *to, size_t size);

#endif
