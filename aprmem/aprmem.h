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
#include <stdbool.h>
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

/**
 * Lets a pool rest that nobody is going to use for a while: keeps the contents of its large pieces,
 * and of its guests, without their zeros, and gives their pages back. Until aprmem_rouse() nothing
 * there may be read or written; but allocating from the pool, registering cleanups, clearing and
 * destroying it rouse it first. Called on the VP's kernel thread; does not yield.
 *
 * @param pool a small pool; with others nothing happens
 * @param whole all pieces from 1 KB on, and all guests; false: only what was allocated in one piece
 *        of over 4 KB, and guests that other threads never see
 * @param child_tag of the pool's children, the one with this tag rests as well, but not wholly;
 *        NULL: none
 * @return whether anything rests
 */
bool aprmem_rest(apr_pool_t *pool, bool whole, const char *child_tag);

/** Restores what rests. Harmless if nothing does. Same arguments, same thread. */
void aprmem_rouse(apr_pool_t *pool, const char *child_tag);

/** From now on, what aprmem_malloc() and aprmem_calloc() allocate is a guest if it has at least 1
 * KB. Nothing may yield before aprmem_invited(). Does nothing without small pools. */
void aprmem_invite(void);

/**
 * No more guests.
 *
 * @param host the pool that those who came since aprmem_invite() rest with; NULL: they never rest
 * @param only the only one that will, and that only if the pool rests wholly; NULL: all of them
 */
void aprmem_invited(apr_pool_t *host, const void *only);

/** In place of malloc() and the others in libraries that allocate guests; for memory of either
 * kind, on any kernel thread. */
void *aprmem_malloc(size_t size);
void *aprmem_calloc(size_t count, size_t size);
void *aprmem_realloc(void *memory, size_t size);
void aprmem_free(void *memory);

/** Memory that the process's small pools and bucket allocators have from the kernel, bytes. */
typedef struct aprmem_stats {
    size_t in_use; /**< in blocks that hold something */
    size_t kept;   /**< in blocks that are empty and keep their pages */
    size_t given;  /**< in blocks whose pages were given back */
} aprmem_stats_t;

/** The calling kernel thread's share; all 0 if it has none. */
void aprmem_get_stats(aprmem_stats_t *stats);

#endif /* APRMEM_H */
