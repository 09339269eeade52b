/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena of a VP: chunks of some sizes, cut from blocks of 64 KB in one reserved range. The VP's
 * own kernel thread allocates and frees without locks; others share an arena with a mutex, and what
 * they free of a VP's waits in a list until the VP needs it. Beyond a bound, empty blocks give
 * their pages back.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "aprmem/aprmem_int.h"

#define LARGEST_RANGE ((size_t)64 << 30)
#define LEAST_RANGE   ((size_t)64 << 20)
enum {
    LARGEST_SHARE = 4, /* the fraction of a limit on address space that it may take */
    STEP = 16,         /* blocks that are made accessible at a time */
    MOST_KEPT = 64,    /* empty blocks that keep their pages */
};

struct aprmem_range aprmem__range;
__thread aprmem_arena_t *aprmem__mine;

static struct {
    pthread_mutex_t lock; /* of all here */
    size_t next;          /* blocks from here on are still unused */
    size_t accessible;    /* blocks */
} range = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    pthread_mutex_t lock;
    aprmem_arena_t arena;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- the range --- */

static void before_fork(void)
{
    aprmem__lock_tree();
    pthread_mutex_lock(&shared.lock);
    pthread_mutex_lock(&range.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&range.lock);
    pthread_mutex_unlock(&shared.lock);
    aprmem__unlock_tree();
}

static void *map(size_t size, int access)
{
    void *memory = mmap(NULL, size, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory != MAP_FAILED ? memory : NULL;
}

/* Under a limit on address space, stacks and malloc() must get most of it. */
static size_t may_be_reserved(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur / LARGEST_SHARE > LARGEST_RANGE)
        return LARGEST_RANGE;
    return (size_t)limit.rlim_cur / LARGEST_SHARE;
}

/* As much as the system will give. */
int aprmem__reserve(void)
{
    const size_t most = may_be_reserved();

    for (size_t size = LARGEST_RANGE; size >= LEAST_RANGE; size /= 2) {
        if (size > most)
            continue;

        size_t records = size / APRMEM_BLOCK * sizeof(aprmem_block_t);
        char *memory = map(size + APRMEM_BLOCK, PROT_NONE);
        aprmem_block_t *blocks = map(records, PROT_READ | PROT_WRITE);

        if (memory && blocks && pthread_atfork(before_fork, after_fork, after_fork) == 0) {
            aprmem__range.blocks = blocks;
            aprmem__range.low =
                ((uintptr_t)memory + APRMEM_BLOCK - 1) & ~(uintptr_t)(APRMEM_BLOCK - 1);
            aprmem__range.size = size;
            return 0;
        }
        if (memory)
            munmap(memory, size + APRMEM_BLOCK);
        if (blocks)
            munmap(blocks, records);
    }
    return -1;
}

static char *memory_of(const aprmem_block_t *block)
{
    return (char *)aprmem__range.low + (size_t)(block - aprmem__range.blocks) * APRMEM_BLOCK;
}

static bool open_step(void)
{
    char *memory = memory_of(&aprmem__range.blocks[range.accessible]);
    size_t bytes = (size_t)STEP * APRMEM_BLOCK;

    if ((range.accessible + STEP) * APRMEM_BLOCK > aprmem__range.size ||
        mprotect(memory, bytes, PROT_READ | PROT_WRITE) != 0)
        return false;
    /* A huge page would defeat the purpose of small chunks. */
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
    range.accessible += STEP;
    return true;
}

static aprmem_block_t *block_from_range(void)
{
    aprmem_block_t *block = NULL;

    pthread_mutex_lock(&range.lock);
    if (range.next < range.accessible || open_step())
        block = &aprmem__range.blocks[range.next++];
    pthread_mutex_unlock(&range.lock);
    return block;
}

/* --- blocks of an arena --- */

static aprmem_block_t *pop(aprmem_block_t **list, size_t *count)
{
    aprmem_block_t *block = *list;

    if (block) {
        *list = block->next;
        (*count)--;
    }
    return block;
}

static void push(aprmem_block_t **list, size_t *count, aprmem_block_t *block)
{
    block->next = *list;
    *list = block;
    (*count)++;
}

static void open_block(aprmem_block_t *block)
{
    aprmem_block_t **list = &block->arena->open[block->class];

    block->prev = NULL;
    block->next = *list;
    if (block->next)
        block->next->prev = block;
    *list = block;
}

static void shut_block(aprmem_block_t *block)
{
    if (block->next)
        block->next->prev = block->prev;
    if (block->prev)
        block->prev->next = block->next;
    else
        block->arena->open[block->class] = block->next;
}

static aprmem_block_t *new_block(aprmem_arena_t *arena, unsigned class)
{
    aprmem_block_t *block = pop(&arena->kept, &arena->kept_count);
    bool clean = !block;

    if (!block)
        block = pop(&arena->given, &arena->given_count);
    if (!block)
        block = block_from_range();
    if (!block)
        return NULL;
    block->arena = arena;
    block->clean = clean;
    block->class = class;
    block->size = (unsigned)aprmem__chunk_size(class);
    block->free = NULL;
    block->used = block->fresh = 0;
    block->resting = 0;
    block->room = APRMEM_BLOCK / block->size;
    arena->used_count++;
    open_block(block);
    return block;
}

static void retire(aprmem_block_t *block)
{
    aprmem_arena_t *arena = block->arena;

    shut_block(block);
    arena->used_count--;
    if (arena->kept_count < MOST_KEPT) {
        push(&arena->kept, &arena->kept_count, block);
        return;
    }
    (void)madvise(memory_of(block), APRMEM_BLOCK, MADV_DONTNEED);
    push(&arena->given, &arena->given_count, block);
}

/* --- chunks --- */

static void give_local(aprmem_block_t *block, void *chunk)
{
    *(void **)chunk = block->free;
    block->free = chunk;
    if (block->used-- == block->room)
        open_block(block);
    /* The last block of a class stays, or else each request would open and close one. */
    if (block->used == 0 && (block->next || block->prev))
        retire(block);
}

static void take_returned(aprmem_arena_t *arena)
{
    void *chunk, *next;

    if (!atomic_load_explicit(&arena->returned, memory_order_relaxed))
        return;
    chunk = atomic_exchange_explicit(&arena->returned, NULL, memory_order_acquire);
    for (; chunk; chunk = next) {
        next = *(void **)chunk;
        give_local(aprmem__block_of(chunk), chunk);
    }
}

static aprmem_block_t *block_with_room(aprmem_arena_t *arena, unsigned class)
{
    take_returned(arena);
    return arena->open[class] ? arena->open[class] : new_block(arena, class);
}

/* *zeros: whether it was never touched. */
static void *take_from(aprmem_arena_t *arena, unsigned class, bool *zeros)
{
    aprmem_block_t *block = arena->open[class];
    void *chunk;

    if (!block && !(block = block_with_room(arena, class)))
        return NULL;
    chunk = block->free;
    *zeros = !chunk && block->clean;
    if (chunk)
        block->free = *(void **)chunk;
    else
        chunk = memory_of(block) + (size_t)block->fresh++ * block->size;
    if (++block->used == block->room)
        shut_block(block);
    return chunk;
}

static void *take(unsigned class, bool *zeros)
{
    void *chunk;

    if (APRMEM_LIKELY(aprmem__mine))
        return take_from(aprmem__mine, class, zeros);
    pthread_mutex_lock(&shared.lock);
    chunk = take_from(&shared.arena, class, zeros);
    pthread_mutex_unlock(&shared.lock);
    return chunk;
}

void *aprmem__take_slowly(unsigned class)
{
    bool zeros;

    return take(class, &zeros);
}

void *aprmem__take_zeros(unsigned class)
{
    bool zeros;
    void *chunk = take(class, &zeros);

    return !chunk || zeros ? chunk : memset(chunk, 0, aprmem__chunk_size(class));
}

static void give_to(aprmem_arena_t *arena, void *chunk)
{
    void *next = atomic_load_explicit(&arena->returned, memory_order_relaxed);

    do
        *(void **)chunk = next;
    while (!atomic_compare_exchange_weak_explicit(&arena->returned, &next, chunk,
                                                  memory_order_release, memory_order_relaxed));
}

void aprmem__give_slowly(aprmem_block_t *block, void *chunk)
{
    if (APRMEM_LIKELY(block->arena == aprmem__mine)) {
        give_local(block, chunk);
    } else if (block->arena == &shared.arena) {
        pthread_mutex_lock(&shared.lock);
        give_local(block, chunk);
        pthread_mutex_unlock(&shared.lock);
    } else {
        give_to(block->arena, chunk);
    }
}

void *aprmem__take_bytes(size_t bytes)
{
    void *chunk = bytes <= APRMEM_BLOCK ? aprmem__take(aprmem__class_of(bytes)) : NULL;

    return chunk ? chunk : malloc(bytes);
}

void aprmem__give_bytes(void *memory)
{
    if (aprmem__ours(memory))
        aprmem__give(memory);
    else
        free(memory);
}

/* --- for the outside --- */

aprmem_arena_t *aprmem__arena_new(void)
{
    return calloc(1, sizeof(aprmem_arena_t));
}

void aprmem_get_stats(aprmem_stats_t *stats)
{
    const aprmem_arena_t *arena = aprmem__mine;

    memset(stats, 0, sizeof(*stats));
    if (!arena)
        return;
    stats->in_use = arena->used_count * APRMEM_BLOCK;
    stats->kept = arena->kept_count * APRMEM_BLOCK;
    stats->given = arena->given_count * APRMEM_BLOCK;
}
