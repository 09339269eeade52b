/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small pool: its record lies in its first chunk of 384 bytes, or 256 where such pools are
 * known to stay empty. It grows by small chunks, but by fewer where they are known to become
 * larger. Replaces APR's pools through calls.def; a pool that APR created is passed on to APR's
 * function.
 */
#include <string.h>

#include "aprmem/aprmem_int.h"

#define PIECE_HEADER sizeof(void *)
enum {
    LEAST_STEP = 256,
    /* Size of a new chunk while the pool is smaller than such pools usually become, bytes. */
    STEP = 4096,
    LARGEST_STEP = APRMEM_FINE, /* larger pieces are for one allocation each */
    GROWTH = 16,                /* beyond that: this fraction of its size */
    KINDS = 256,
};

/* --- how large pools become --- */

/* Pools created at the same place in the code become about equally large: the size of the last
 * one. */
static size_t usual_sizes[KINDS];

static size_t *usual_size(const void *maker)
{
    return &usual_sizes[((uintptr_t)maker ^ (uintptr_t)maker >> 8) % KINDS];
}

/* Of a new pool's first chunk. Some pools, such as that of httpd's output filter for what it has
 * not sent yet, usually stay empty. */
static size_t first_chunk(const size_t *usual)
{
    return *usual != 0 && *usual <= APRMEM_LEAST ? APRMEM_LEAST : APRMEM_FIRST;
}

static size_t step(const aprmem_pool_t *pool)
{
    size_t usual = *pool->usual, bytes = pool->total / GROWTH;

    if (usual > pool->total && bytes < STEP)
        bytes = usual - pool->total < STEP ? usual - pool->total : STEP;
    if (bytes < LEAST_STEP)
        return LEAST_STEP;
    return bytes < LARGEST_STEP ? bytes / APRMEM_STEP * APRMEM_STEP : LARGEST_STEP;
}

/* --- memory --- */

/* Without what others have left there: it could not rest (rest.c). */
static void *take_alone(size_t bytes)
{
    void *piece = NULL;

    if (bytes <= APRMEM_BLOCK && aprmem__mine)
        piece = aprmem__take_zeros(aprmem__class_of(bytes));
    return piece ? piece : aprmem__take_bytes(bytes);
}

bool aprmem__piece(aprmem_pool_t *pool, size_t size, aprmem_room_t *room)
{
    size_t bytes = size + PIECE_HEADER, least = step(pool);
    char *piece;

    if (bytes < size || bytes > PTRDIFF_MAX)
        return false;
    aprmem__rouse(pool);
    if (bytes < least)
        bytes = least;
    if (bytes <= APRMEM_BLOCK)
        bytes = aprmem__chunk_size(aprmem__class_of(bytes));
    piece = bytes > APRMEM_FINE ? take_alone(bytes) : aprmem__take_bytes(bytes);
    if (!piece)
        return false;
    *(void **)piece = pool->pieces;
    pool->pieces = piece;
    pool->total += bytes;
    *room = (aprmem_room_t){piece + PIECE_HEADER, piece + bytes};
    return true;
}

void aprmem__drop_piece(aprmem_pool_t *pool)
{
    void *piece = pool->pieces;

    pool->pieces = *(void **)piece;
    aprmem__give_bytes(piece);
}

/* Of three remainders, the two largest are kept. */
static void keep(aprmem_pool_t *pool, aprmem_room_t rest)
{
    if (aprmem__left(rest) > aprmem__left(pool->room)) {
        if (aprmem__left(pool->room) > aprmem__left(pool->second))
            pool->second = pool->room;
        pool->room = rest;
    } else if (aprmem__left(rest) > aprmem__left(pool->second)) {
        pool->second = rest;
    }
}

void aprmem__keep_room(aprmem_pool_t *pool, aprmem_room_t rest)
{
    if (aprmem__ours(rest.end - 1) && aprmem__block_of(rest.end - 1)->size <= APRMEM_FINE)
        keep(pool, rest);
}

void *aprmem__out_of_memory(const aprmem_pool_t *pool)
{
    if (pool->abort_fn)
        pool->abort_fn(APR_ENOMEM);
    return NULL;
}

/* The pool's remaining room is too small for size bytes. */
void *aprmem__grow(aprmem_pool_t *pool, size_t size)
{
    aprmem_room_t room;
    void *memory;

    if (size <= aprmem__left(pool->second)) {
        memory = pool->second.at;
        pool->second.at += size;
        return memory;
    }
    if (!aprmem__piece(pool, size, &room))
        return aprmem__out_of_memory(pool);
    memory = room.at;
    room.at += size;
    if (size + PIECE_HEADER <= APRMEM_FINE) /* or else it stays alone in its piece */
        keep(pool, room);
    return memory;
}

static inline void *alloc(aprmem_pool_t *pool, size_t wanted)
{
    size_t size = aprmem__aligned(wanted);
    void *memory;

    if (size < wanted)
        return aprmem__out_of_memory(pool);
    if (APRMEM_LIKELY(size <= aprmem__left(pool->room))) {
        memory = pool->room.at;
        pool->room.at += size;
        return memory;
    }
    return aprmem__grow(pool, size);
}

void *aprmem__apr_palloc(apr_pool_t *pool, apr_size_t size)
{
    if (!aprmem__ours(pool))
        return aprmem__real.apr_palloc(pool, size);
    return alloc(aprmem__pool(pool), size);
}

void *aprmem__apr_pcalloc(apr_pool_t *pool, apr_size_t size)
{
    void *memory;

    if (!aprmem__ours(pool))
        return aprmem__real.apr_pcalloc(pool, size);
    memory = alloc(aprmem__pool(pool), size);
    return memory ? memset(memory, 0, size) : NULL;
}

/* --- life --- */

/* Its size at the end. */
static void learn(const aprmem_pool_t *pool)
{
    *pool->usual = pool->total - aprmem__left(pool->room);
}

static void set_parent(aprmem_pool_t *pool, apr_pool_t *parent, aprmem_anchor_t *anchor)
{
    if (anchor) {
        apr_pool_t *real = aprmem__anchor_parent(anchor);

        pool->anchor = anchor;
        pool->abort_fn = aprmem__real.apr_pool_abort_get(real);
        pool->allocator = aprmem__real.apr_pool_allocator_get(real);
    } else {
        pool->parent = aprmem__pool(parent);
        pool->abort_fn = pool->parent->abort_fn;
        pool->allocator = pool->parent->allocator;
    }
    aprmem__link(pool);
}

static apr_status_t create(apr_pool_t **made, apr_pool_t *parent, apr_abortfunc_t abort_fn,
                           apr_allocator_t *allocator, size_t *usual, size_t first)
{
    aprmem_anchor_t *anchor = NULL;
    aprmem_pool_t *pool;

    if (!aprmem__ours(parent)) {
        if (!aprmem__mine || !(anchor = aprmem__anchor_of(parent)))
            return aprmem__real.apr_pool_create_ex(made, parent, abort_fn, allocator);
    }
    *made = NULL;
    pool = aprmem__take(aprmem__class_of(first));
    if (!pool) {
        if (!abort_fn)
            abort_fn = aprmem__apr_pool_abort_get(anchor ? aprmem__anchor_parent(anchor) : parent);
        if (abort_fn)
            abort_fn(APR_ENOMEM);
        return APR_ENOMEM;
    }
    memset(pool, 0, sizeof(*pool));
    pool->room = (aprmem_room_t){(char *)(pool + 1), (char *)pool + first};
    pool->total = first;
    pool->usual = usual;
    set_parent(pool, parent, anchor);
    if (abort_fn)
        pool->abort_fn = abort_fn;
    if (allocator)
        pool->allocator = allocator;
    *made = aprmem__handle(pool);
    return APR_SUCCESS;
}

apr_status_t aprmem__apr_pool_create_ex(apr_pool_t **made, apr_pool_t *parent,
                                        apr_abortfunc_t abort_fn, apr_allocator_t *allocator)
{
    size_t *usual = usual_size(__builtin_return_address(0));

    return create(made, parent, abort_fn, allocator, usual, first_chunk(usual));
}

apr_status_t aprmem_create_least(apr_pool_t **made, apr_pool_t *parent)
{
    size_t *usual = usual_size(__builtin_return_address(0));

    return create(made, parent, NULL, NULL, usual, APRMEM_LEAST);
}

/* The common part of clearing and destroying, in APR's order. */
static void empty(aprmem_pool_t *pool)
{
    aprmem__rouse(pool);
    aprmem__run_cleanups(&pool->pre_cleanups);
    aprmem__destroy_children(pool);
    aprmem__run_cleanups(&pool->cleanups);
    if (pool->processes) {
        apr_pool_t *processes = pool->processes;

        pool->processes = NULL;
        aprmem__real.apr_pool_destroy(processes);
    }
    learn(pool);
    aprmem__leave_guests(pool);
    while (pool->pieces)
        aprmem__drop_piece(pool);
}

void aprmem__apr_pool_clear(apr_pool_t *handle)
{
    aprmem_pool_t *pool = aprmem__pool(handle);

    if (!aprmem__ours(handle)) {
        aprmem__real.apr_pool_clear(handle);
        return;
    }
    empty(pool);
    pool->free_cleanups = NULL;
    pool->user_data = NULL;
    pool->total = aprmem__block_of(pool)->size;
    pool->room = (aprmem_room_t){(char *)(pool + 1), (char *)pool + pool->total};
    pool->second = (aprmem_room_t){NULL, NULL};
    APRMEM_SCRIBBLE(pool->room.at, aprmem__left(pool->room));
}

void aprmem__apr_pool_destroy(apr_pool_t *handle)
{
    aprmem_pool_t *pool = aprmem__pool(handle);
    apr_allocator_t *allocator;

    if (!aprmem__ours(handle)) {
        aprmem__real.apr_pool_destroy(handle);
        aprmem__forget_anchor(handle);
        return;
    }
    empty(pool);
    aprmem__unlink(pool);
    allocator = pool->allocator;
    aprmem__give(pool);
    if (apr_allocator_owner_get(allocator) == handle) {
        apr_allocator_mutex_set(allocator, NULL); /* it was in the pool */
        apr_allocator_destroy(allocator);
    }
}

/* Ending processes and waiting for them is left to APR: one of its own pools does it. */
void aprmem__apr_pool_note_subprocess(apr_pool_t *handle, apr_proc_t *process,
                                      apr_kill_conditions_e how)
{
    aprmem_pool_t *pool = aprmem__pool(handle);

    if (!aprmem__ours(handle)) {
        aprmem__real.apr_pool_note_subprocess(handle, process, how);
        return;
    }
    if (!pool->processes && aprmem__real.apr_pool_create_unmanaged_ex(
                                &pool->processes, pool->abort_fn, NULL) != APR_SUCCESS)
        return;
    aprmem__real.apr_pool_note_subprocess(pool->processes, process, how);
}
