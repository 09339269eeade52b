/* SPDX-License-Identifier: Apache-2.0 */
/*
 * APR's pools and bucket allocators on a virtual processor (VP), in pieces of half a kilobyte
 * instead of APR's 8 KB nodes, and tables no larger than they need to be: a waiting request holds
 * the bytes it uses, not whole pages. The MPM calls these functions; STIOL puts the replacements in
 * place. See docs/internals/memory.md.
 */
#ifndef APRMEM_H
#define APRMEM_H

#include <apr_pools.h>
#include <stddef.h>

/**
 * Before stiol_start(): finds the real functions and hands the table of replacements to STIOL.
 *
 * @return NULL, or why APR's own pools stay in use (a static string)
 */
const char *aprmem_prepare(void);

/**
 * After stiol_start(): from now on, the pools and bucket allocators that the calling kernel thread
 * creates are small ones. Those that APR created remain as they are.
 *
 * @return 0, or -1 with errno
 */
int aprmem_start(void);

/**
 * Creates a pool that starts smaller than others, for one that will hold next to nothing: 256
 * bytes, 160 of them for its record.
 *
 * @param made where its handle goes
 * @param parent NULL: APR's global pool
 * @return as apr_pool_create(), which creates the pool if small pools are not in use
 */
apr_status_t aprmem_create_least(apr_pool_t **made, apr_pool_t *parent);

/** Memory that the process's small pools and bucket allocators have from the kernel, bytes. */
typedef struct aprmem_stats {
    size_t in_use; /**< in blocks that hold something */
    size_t kept;   /**< in blocks that are empty and keep their pages */
    size_t given;  /**< in blocks whose pages were given back */
} aprmem_stats_t;

/** The calling kernel thread's share; all 0 if it has none. */
void aprmem_get_stats(aprmem_stats_t *stats);

#endif /* APRMEM_H */
