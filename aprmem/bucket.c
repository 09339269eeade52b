/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small bucket allocators: cells of two sizes, cut from chunks that start at 384 bytes, and whole
 * chunks for anything larger. All cells are freed with their allocator; a larger piece belongs to
 * whoever it was given to, as with APR's. The VP's own kernel thread alone cuts cells. Connections
 * of a VP share one allocator, and another kernel thread may serve one of them: it takes chunks,
 * and the cells that it frees wait in a list until the VP needs them.
 */
#include "aprmem/aprmem_int.h"

enum {
    LARGEST_GROWTH = 8192,
    GROWTH = 4,
};

/* The header of each piece of memory. */
typedef struct head {
    apr_bucket_alloc_t *list; /* of a cell; NULL: a chunk of its own */
    union {
        size_t kind;       /* of a cell */
        struct head *next; /* of a free cell */
    };
} head_t;

/* Bytes, including the header. Most buckets fit into the first size; APR makes all as large as the
 * second, and code may rely on that where it calls apr_bucket_alloc_aligned_floor(). */
static const size_t cell_sizes[] = {96, 2 * sizeof(apr_bucket_structs) + sizeof(head_t)};
_Static_assert(sizeof(apr_bucket_structs) % 8 == 0, "cells are aligned");
enum { KINDS = 2 };

typedef struct list {
    apr_pool_t *pool; /* or NULL */
    apr_allocator_t *allocator;
    apr_bucket_alloc_t *real; /* APR's, for pieces larger than a block; NULL: not created yet */
    head_t *free[KINDS];
    _Atomic(head_t *) returned; /* cells that other kernel threads have freed */
    aprmem_room_t room;
    void *chunks; /* beside the first; each begins with a pointer to the next */
    size_t total; /* bytes of all chunks */
} list_t;

static list_t *list_of(apr_bucket_alloc_t *handle)
{
    return (list_t *)(void *)handle;
}

static void destroy(list_t *list)
{
    void *chunk, *next;

    if (list->real)
        aprmem__real.apr_bucket_alloc_destroy(list->real);
    for (chunk = list->chunks; chunk; chunk = next) {
        next = *(void **)chunk;
        aprmem__give(chunk);
    }
    aprmem__give(list);
}

static apr_status_t pool_gone(void *data)
{
    destroy(data);
    return APR_SUCCESS;
}

static list_t *create(apr_allocator_t *allocator)
{
    list_t *list = aprmem__take(aprmem__class_of(APRMEM_FIRST));

    if (list)
        *list = (list_t){.allocator = allocator,
                         .room = {(char *)(list + 1), (char *)list + APRMEM_FIRST},
                         .total = APRMEM_FIRST};
    return list;
}

apr_bucket_alloc_t *aprmem__apr_bucket_alloc_create_ex(apr_allocator_t *allocator)
{
    if (!aprmem__mine)
        return aprmem__real.apr_bucket_alloc_create_ex(allocator);
    return (apr_bucket_alloc_t *)(void *)create(allocator);
}

apr_bucket_alloc_t *aprmem__apr_bucket_alloc_create(apr_pool_t *pool)
{
    list_t *list;

    if (!aprmem__mine && !aprmem__ours(pool))
        return aprmem__real.apr_bucket_alloc_create(pool);
    list = create(aprmem__apr_pool_allocator_get(pool));
    if (!list) {
        apr_abortfunc_t abort_fn = aprmem__apr_pool_abort_get(pool);

        if (abort_fn)
            abort_fn(APR_ENOMEM);
        return NULL;
    }
    list->pool = pool;
    aprmem__apr_pool_cleanup_register(pool, list, pool_gone, apr_pool_cleanup_null);
    return (apr_bucket_alloc_t *)(void *)list;
}

void aprmem__apr_bucket_alloc_destroy(apr_bucket_alloc_t *handle)
{
    list_t *list = list_of(handle);

    if (!aprmem__ours(handle)) {
        aprmem__real.apr_bucket_alloc_destroy(handle);
        return;
    }
    if (list->pool)
        aprmem__apr_pool_cleanup_kill(list->pool, list, pool_gone);
    destroy(list);
}

/* --- memory --- */

static bool grow(list_t *list)
{
    size_t bytes = list->total / GROWTH;
    unsigned class = aprmem__class_of(bytes < APRMEM_FIRST     ? APRMEM_FIRST
                                      : bytes < LARGEST_GROWTH ? bytes
                                                               : LARGEST_GROWTH);
    char *chunk = aprmem__take(class);

    if (!chunk)
        return false;
    *(void **)chunk = list->chunks;
    list->chunks = chunk;
    list->total += aprmem__chunk_size(class);
    list->room = (aprmem_room_t){chunk + sizeof(head_t), chunk + aprmem__chunk_size(class)};
    return true;
}

static void take_returned(list_t *list)
{
    head_t *head, *next;

    if (!atomic_load_explicit(&list->returned, memory_order_relaxed))
        return;
    head = atomic_exchange_explicit(&list->returned, NULL, memory_order_acquire);
    for (; head; head = next) {
        size_t kind = *(size_t *)(head + 1);

        next = head->next;
        head->next = list->free[kind];
        list->free[kind] = head;
    }
}

/* The cell keeps its kind behind its head: there the link is. */
static __attribute__((noinline)) void return_cell(list_t *list, head_t *head)
{
    head_t *next = atomic_load_explicit(&list->returned, memory_order_relaxed);

    *(size_t *)(head + 1) = head->kind;
    do
        head->next = next;
    while (!atomic_compare_exchange_weak_explicit(&list->returned, &next, head,
                                                  memory_order_release, memory_order_relaxed));
}

/* No cell is free. Out of line, like all that is rare here: what is common then needs no frame. */
static __attribute__((noinline)) void *new_cell(list_t *list, size_t kind)
{
    head_t *head;

    take_returned(list);
    head = list->free[kind];
    if (head) {
        list->free[kind] = head->next;
    } else {
        if (aprmem__left(list->room) < cell_sizes[kind] && !grow(list))
            return NULL;
        head = (head_t *)(void *)list->room.at;
        list->room.at += cell_sizes[kind];
        head->list = (apr_bucket_alloc_t *)(void *)list;
    }
    head->kind = kind;
    return head + 1;
}

static inline void *cell(list_t *list, size_t kind)
{
    head_t *head = list->free[kind];

    if (!APRMEM_LIKELY(head))
        return new_cell(list, kind);
    list->free[kind] = head->next;
    head->kind = kind;
    return head + 1;
}

/* Larger than a block: allocated by APR, and recognized by its address when it is freed. */
static __attribute__((noinline)) void *huge(list_t *list, size_t size)
{
    apr_bucket_alloc_t *real = __atomic_load_n(&list->real, __ATOMIC_ACQUIRE), *none = NULL;

    if (!real) {
        real = aprmem__real.apr_bucket_alloc_create_ex(list->allocator);
        if (real && !__atomic_compare_exchange_n(&list->real, &none, real, false, __ATOMIC_ACQ_REL,
                                                 __ATOMIC_ACQUIRE)) {
            aprmem__real.apr_bucket_alloc_destroy(real); /* another kernel thread was first */
            real = none;
        }
    }
    return real ? aprmem__real.apr_bucket_alloc(size, real) : NULL;
}

static __attribute__((noinline)) void *chunk_for(size_t bytes)
{
    head_t *head = aprmem__take(aprmem__class_of(bytes));

    if (!head)
        return NULL;
    head->list = NULL;
    return head + 1;
}

void *aprmem__apr_bucket_alloc(apr_size_t size, apr_bucket_alloc_t *handle)
{
    if (!aprmem__ours(handle))
        return aprmem__real.apr_bucket_alloc(size, handle);
    if (APRMEM_LIKELY(size <= cell_sizes[1] - sizeof(head_t) && aprmem__mine))
        return cell(list_of(handle), size > cell_sizes[0] - sizeof(head_t));
    if (size <= APRMEM_BLOCK - sizeof(head_t))
        return chunk_for(size + sizeof(head_t));
    return huge(list_of(handle), size);
}

void aprmem__apr_bucket_free(void *memory)
{
    head_t *head = (head_t *)memory - 1;

    if (!aprmem__ours(memory)) {
        aprmem__real.apr_bucket_free(memory);
    } else if (!head->list) {
        aprmem__give(head);
    } else {
        list_t *list = list_of(head->list);
        size_t kind = head->kind;

        APRMEM_ASSERT(kind < KINDS);
        APRMEM_SCRIBBLE(memory, cell_sizes[kind] - sizeof(head_t));
        if (!APRMEM_LIKELY(aprmem__mine)) {
            return_cell(list, head);
            return;
        }
        head->next = list->free[kind];
        list->free[kind] = head;
    }
}

apr_size_t aprmem__apr_bucket_alloc_aligned_floor(apr_bucket_alloc_t *handle, apr_size_t size)
{
    if (!aprmem__ours(handle))
        return aprmem__real.apr_bucket_alloc_aligned_floor(handle, size);
    if (size <= cell_sizes[1])
        return cell_sizes[1] - sizeof(head_t);
    if (size <= APRMEM_BLOCK)
        return aprmem__chunk_size(aprmem__class_of(size)) - sizeof(head_t);
    return size;
}
