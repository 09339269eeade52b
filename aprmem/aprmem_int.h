/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share: the arena of chunks, the small pool, and the real functions.
 * A replacement recognizes its own objects by their addresses: all of them lie in one reserved
 * range.
 */
#ifndef APRMEM_INT_H
#define APRMEM_INT_H

/* Headers of an APR with pool debugging would make the plain names macros. The functions have both
 * names, and aprmem_prepare() says no if the library itself debugs. */
#undef APR_POOL_DEBUG

#include <apr_allocator.h>
#include <apr_buckets.h>
#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <apr_thread_proc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "aprmem/aprmem.h"

#ifdef STM_DEBUG
#include <assert.h>
#include <string.h>
#define APRMEM_ASSERT(x)              assert(x)
/* Freed memory is overwritten, to expose use after free. */
#define APRMEM_SCRIBBLE(memory, size) memset(memory, 0xdb, size)
#else
#define APRMEM_ASSERT(x)              ((void)0)
#define APRMEM_SCRIBBLE(memory, size) ((void)0)
#endif

/** A macro in APR's header, but a function in the library: this is the function. */
#undef apr_pcalloc
void *apr_pcalloc(apr_pool_t *pool, apr_size_t size);

#define APRMEM_LIKELY(x) __builtin_expect(!!(x), 1)

#pragma GCC visibility push(hidden)

/* --- arena.c: chunks of some sizes, cut from blocks --- */

enum {
    APRMEM_STEP = 128,         /* step between sizes, bytes */
    APRMEM_FINE = 4096,        /* up to this size; then come */
    APRMEM_LARGE_STEP = 1024,  /* steps of this size, */
    APRMEM_COARSE = 16 * 1024, /* up to this size; beyond it they are powers of two */
    APRMEM_BLOCK = 64 * 1024,  /* bytes, and the largest chunk */
    APRMEM_FINES = APRMEM_FINE / APRMEM_STEP,
    APRMEM_STEPS = APRMEM_FINES + (APRMEM_COARSE - APRMEM_FINE) / APRMEM_LARGE_STEP,
    APRMEM_CLASSES = APRMEM_STEPS + 2,
    APRMEM_FIRST = 384,  /* initial size of a pool or a bucket allocator */
    APRMEM_LEAST = 256,  /* one that will hold next to nothing */
    APRMEM_RESTS = 1024, /* smaller chunks never rest */
};

typedef struct aprmem_arena aprmem_arena_t;

/** A block's record; kept outside the block, so that chunks of whole pages are page-aligned. */
typedef struct aprmem_block {
    aprmem_arena_t *arena;
    struct aprmem_block *next,
        *prev;                  /* of its class, with room; or (next) in a list of empty ones */
    void *free;                 /* chunks that were given back */
    unsigned class, size;       /* of its chunks */
    unsigned used, fresh, room; /* chunks: handed out; ever handed out; in all */
    uint64_t resting;           /* bit i: chunk i rests (rest.c) */
    bool clean;                 /* nothing was ever in it but the chunks handed out */
} aprmem_block_t;

_Static_assert(APRMEM_BLOCK / APRMEM_RESTS <= 64, "a bit for each chunk that can rest");

struct aprmem_arena {
    aprmem_block_t *open[APRMEM_CLASSES]; /* blocks with room */
    aprmem_block_t *kept, *given;         /* empty: with pages, without */
    size_t kept_count, given_count, used_count;
    _Atomic(void *) returned; /* chunks that other kernel threads gave back */
};

/** The reserved range: a sequence of blocks. */
extern struct aprmem_range {
    uintptr_t low;
    size_t size;            /* 0: there is none */
    aprmem_block_t *blocks; /* a record for each block */
} aprmem__range;

/** The calling kernel thread's arena; NULL: the thread is not a VP's. */
extern __thread aprmem_arena_t *aprmem__mine __attribute__((tls_model("initial-exec")));

/** Whether something was allocated here. */
static inline bool aprmem__ours(const void *address)
{
    return (uintptr_t)address - aprmem__range.low < aprmem__range.size;
}

/** Aligns a size as APR does. On overflow, the result is smaller than the argument. */
static inline size_t aprmem__aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/** The class of the smallest chunk that holds this many bytes (at most APRMEM_BLOCK). */
static inline unsigned aprmem__class_of(size_t bytes)
{
    if (APRMEM_LIKELY(bytes <= APRMEM_FINE))
        return (unsigned)(bytes - 1) / APRMEM_STEP;
    if (bytes <= APRMEM_COARSE)
        return APRMEM_FINES + (unsigned)(bytes - 1 - APRMEM_FINE) / APRMEM_LARGE_STEP;
    return bytes <= APRMEM_BLOCK / 2 ? APRMEM_STEPS : APRMEM_STEPS + 1;
}

/** The size of a class's chunks, bytes. */
static inline size_t aprmem__chunk_size(unsigned class)
{
    if (class < APRMEM_FINES)
        return (class + 1) * (size_t)APRMEM_STEP;
    if (class < APRMEM_STEPS)
        return APRMEM_FINE + (class - APRMEM_FINES + 1) * (size_t)APRMEM_LARGE_STEP;
    return class == APRMEM_STEPS ? APRMEM_BLOCK / 2 : APRMEM_BLOCK;
}

/** Reserves the range; called once in the process, by aprmem_start(). Returns 0, or -1 with
 * errno. */
int aprmem__reserve(void);
/** Makes an empty arena; NULL with errno if there is no memory. Called by aprmem_start(). */
aprmem_arena_t *aprmem__arena_new(void);
/** The rest of aprmem__take(): opens blocks, and takes the lock if the thread is not a VP's. */
void *aprmem__take_slowly(unsigned class);
/** The same, for a chunk all of whose bytes are zero; does not touch pages that are new. */
void *aprmem__take_zeros(unsigned class);
/** The rest of aprmem__give(): closes blocks, and returns chunks to other threads' arenas. */
void aprmem__give_slowly(aprmem_block_t *block, void *chunk);

/** Allocates a chunk of the class from the calling thread's arena or the shared one. Returns NULL
 * if there is no memory. */
static inline void *aprmem__take(unsigned class)
{
    aprmem_block_t *block = aprmem__mine ? aprmem__mine->open[class] : NULL;
    void *chunk = block ? block->free : NULL;

    if (!APRMEM_LIKELY(chunk && block->used + 1 < block->room))
        return aprmem__take_slowly(class);
    block->free = *(void **)chunk;
    block->used++;
    return chunk;
}

/** The block that a chunk was cut from. */
static inline aprmem_block_t *aprmem__block_of(const void *chunk)
{
    return &aprmem__range.blocks[((uintptr_t)chunk - aprmem__range.low) / APRMEM_BLOCK];
}

/** Frees a chunk, on any kernel thread. */
static inline void aprmem__give(void *chunk)
{
    aprmem_block_t *block = aprmem__block_of(chunk);

    APRMEM_ASSERT(block->used > 0 &&
                  ((uintptr_t)chunk - aprmem__range.low) % APRMEM_BLOCK % block->size == 0);
    APRMEM_SCRIBBLE(chunk, block->size);
    if (APRMEM_LIKELY(block->arena == aprmem__mine && block->used > 1 &&
                      block->used < block->room)) {
        *(void **)chunk = block->free;
        block->free = chunk;
        block->used--;
    } else {
        aprmem__give_slowly(block, chunk);
    }
}

/** Allocates bytes: a chunk, or from malloc() if no chunk is that large or none is left. Returns
 * NULL if there is no memory. */
void *aprmem__take_bytes(size_t bytes);
/** Frees what aprmem__take_bytes() has returned, on any kernel thread. */
void aprmem__give_bytes(void *memory);

/* --- the real functions, by their addresses: the plain names lead to the replacements --- */

extern struct aprmem_real {
#define APRMEM_CALL(name, library) __typeof__(name) *name;
#define APRMEM_NEED(name, library) __typeof__(name) *name;
#include "aprmem/calls.def"
#undef APRMEM_CALL
#undef APRMEM_NEED
} aprmem__real;

#define APRMEM_CALL(name, library) extern __typeof__(name) aprmem__##name;
#define APRMEM_NEED(name, library)
#include "aprmem/calls.def"
#undef APRMEM_CALL
#undef APRMEM_NEED

/* --- pool.c --- */

typedef struct aprmem_cleanup aprmem_cleanup_t;
typedef struct aprmem_anchor aprmem_anchor_t;
typedef struct aprmem_rest aprmem_rest_t;
typedef struct aprmem_guest aprmem_guest_t;
typedef struct aprmem_pool aprmem_pool_t;

typedef struct aprmem_room {
    char *at, *end;
} aprmem_room_t;

struct aprmem_pool {
    aprmem_room_t room;   /* where the next bytes come from */
    aprmem_room_t second; /* what is left of an earlier chunk */
    void *pieces;  /* memory beside the first chunk; each begins with a pointer to the next */
    size_t total;  /* bytes of all chunks */
    size_t *usual; /* bytes that such a pool had at the end */
    aprmem_cleanup_t *cleanups, *pre_cleanups, *free_cleanups;
    aprmem_pool_t *parent; /* NULL: APR's, see anchor */
    aprmem_anchor_t *anchor;
    aprmem_pool_t *child, *sibling, **ref;
    apr_allocator_t *allocator;
    apr_abortfunc_t abort_fn;
    apr_hash_t *user_data;
    apr_pool_t *processes; /* APR's own pool: handles subprocesses */
    const char *tag;
    aprmem_rest_t *resting; /* what is kept of its chunks that rest; NULL: none does */
    aprmem_guest_t *guests; /* what rests with it */
};

/** The small pool behind a handle that is ours (aprmem__ours()). */
static inline aprmem_pool_t *aprmem__pool(apr_pool_t *pool)
{
    return (aprmem_pool_t *)(void *)pool;
}

/** The handle that APR's callers have of a small pool. */
static inline apr_pool_t *aprmem__handle(aprmem_pool_t *pool)
{
    return (apr_pool_t *)(void *)pool;
}

/** The rest of apr_palloc(): allocates size bytes (aligned) for which the pool's room does not
 * suffice, from the second room or a new piece. If there is no memory, calls the abort function and
 * returns NULL. */
void *aprmem__grow(aprmem_pool_t *pool, size_t size);
/** Calls the pool's abort function, if there is one. Returns NULL. */
void *aprmem__out_of_memory(const aprmem_pool_t *pool);
/** Adds a piece with room for at least size bytes to the pool, and sets *room to it. Returns false
 * if there is no memory. */
bool aprmem__piece(aprmem_pool_t *pool, size_t size, aprmem_room_t *room);
/** Frees the newest piece. */
void aprmem__drop_piece(aprmem_pool_t *pool);
/** Keeps the rest of a piece for later allocations if it is one of the two largest; but an
 * allocation of more than APRMEM_FINE stays alone in its piece. */
void aprmem__keep_room(aprmem_pool_t *pool, aprmem_room_t rest);

/** Bytes left in a room. */
static inline size_t aprmem__left(aprmem_room_t room)
{
    return (size_t)(room.end - room.at);
}

/* --- tree.c: parents and children --- */

/** The anchor of our pools below one of APR's (NULL: APR's global one), made if there is none yet.
 * Returns NULL if there is no memory. */
aprmem_anchor_t *aprmem__anchor_of(apr_pool_t *parent);
/** The pool of APR's that the anchor is for. */
apr_pool_t *aprmem__anchor_parent(const aprmem_anchor_t *anchor);
/** One of APR's pools has been destroyed: its address may become another pool's. */
void aprmem__forget_anchor(const apr_pool_t *parent);
/** Takes the locks of the tree before a fork. */
void aprmem__lock_tree(void);
/** Releases them after it, in parent and child. */
void aprmem__unlock_tree(void);
/** Adds the pool to the children of its parent or anchor, which is set already. */
void aprmem__link(aprmem_pool_t *pool);
/** Removes the pool from the children of its parent or anchor. */
void aprmem__unlink(aprmem_pool_t *pool);
/** The first child with that tag; NULL: there is none. */
aprmem_pool_t *aprmem__child_tagged(aprmem_pool_t *pool, const char *tag);
/** Destroys all children, including any that their cleanups create meanwhile. */
void aprmem__destroy_children(aprmem_pool_t *pool);

/* --- cleanup.c --- */

/** Runs the list's cleanups, last registered first, and empties it. A cleanup may register or kill
 * others, and may yield. */
void aprmem__run_cleanups(aprmem_cleanup_t **list);
/** Runs the child cleanups of the pool and of all pools below it. Called in a child process that is
 * about to execute a program. */
void aprmem__run_child_cleanups(aprmem_pool_t *pool);

/* --- rest.c --- */

/** Restores what rests of the pool. */
void aprmem__restore(aprmem_pool_t *pool);
/** The same, if anything does. */
static inline void aprmem__rouse(aprmem_pool_t *pool)
{
    if (pool->resting)
        aprmem__restore(pool);
}
/** The pool ends, and its guests may outlive it. */
void aprmem__leave_guests(aprmem_pool_t *pool);

#pragma GCC visibility pop

#endif /* APRMEM_INT_H */
