/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleanups of small pools: last registered, first run; one list to be run before the children are
 * destroyed, and one after. The records of killed cleanups are reused.
 */
#include "aprmem/aprmem_int.h"

typedef apr_status_t (*cleanup_fn_t)(void *data);

struct aprmem_cleanup {
    struct aprmem_cleanup *next;
    const void *data;
    cleanup_fn_t plain, child;
};

static void add(aprmem_pool_t *pool, aprmem_cleanup_t **list, aprmem_cleanup_t what)
{
    aprmem_cleanup_t *cleanup = pool->free_cleanups;

    if (cleanup)
        pool->free_cleanups = cleanup->next;
    else if (!(cleanup = aprmem__apr_palloc(aprmem__handle(pool), sizeof(*cleanup))))
        return;
    what.next = *list;
    *cleanup = what;
    *list = cleanup;
}

void aprmem__apr_pool_cleanup_register(apr_pool_t *pool, const void *data, cleanup_fn_t plain,
                                       cleanup_fn_t child)
{
    if (!aprmem__ours(pool)) {
        aprmem__real.apr_pool_cleanup_register(pool, data, plain, child);
        return;
    }
    add(aprmem__pool(pool), &aprmem__pool(pool)->cleanups,
        (aprmem_cleanup_t){.data = data, .plain = plain, .child = child});
}

void aprmem__apr_pool_pre_cleanup_register(apr_pool_t *pool, const void *data, cleanup_fn_t plain)
{
    if (!aprmem__ours(pool)) {
        aprmem__real.apr_pool_pre_cleanup_register(pool, data, plain);
        return;
    }
    add(aprmem__pool(pool), &aprmem__pool(pool)->pre_cleanups,
        (aprmem_cleanup_t){.data = data, .plain = plain});
}

/* The link that points to it; points to NULL if it is not in the list. */
static aprmem_cleanup_t **find(aprmem_cleanup_t **list, const void *data, cleanup_fn_t plain)
{
    while (*list && ((*list)->data != data || (*list)->plain != plain))
        list = &(*list)->next;
    return list;
}

static void kill_in(aprmem_pool_t *pool, aprmem_cleanup_t **list, const void *data,
                    cleanup_fn_t plain)
{
    aprmem_cleanup_t **place = find(list, data, plain);
    aprmem_cleanup_t *cleanup = *place;

    if (!cleanup)
        return;
    *place = cleanup->next;
    cleanup->next = pool->free_cleanups;
    pool->free_cleanups = cleanup;
}

void aprmem__apr_pool_cleanup_kill(apr_pool_t *handle, const void *data, cleanup_fn_t plain)
{
    aprmem_pool_t *pool = aprmem__pool(handle);

    if (!aprmem__ours(handle)) {
        aprmem__real.apr_pool_cleanup_kill(handle, data, plain);
        return;
    }
    aprmem__rouse(pool);
    kill_in(pool, &pool->cleanups, data, plain);
    kill_in(pool, &pool->pre_cleanups, data, plain);
}

apr_status_t aprmem__apr_pool_cleanup_run(apr_pool_t *pool, void *data, cleanup_fn_t plain)
{
    if (!aprmem__ours(pool))
        return aprmem__real.apr_pool_cleanup_run(pool, data, plain);
    aprmem__apr_pool_cleanup_kill(pool, data, plain);
    return plain(data);
}

void aprmem__apr_pool_child_cleanup_set(apr_pool_t *pool, const void *data, cleanup_fn_t plain,
                                        cleanup_fn_t child)
{
    aprmem_cleanup_t *cleanup;

    if (!aprmem__ours(pool)) {
        aprmem__real.apr_pool_child_cleanup_set(pool, data, plain, child);
        return;
    }
    aprmem__rouse(aprmem__pool(pool));
    cleanup = *find(&aprmem__pool(pool)->cleanups, data, plain);
    if (cleanup)
        cleanup->child = child;
}

void aprmem__run_cleanups(aprmem_cleanup_t **list)
{
    aprmem_cleanup_t *cleanup;

    while ((cleanup = *list)) {
        *list = cleanup->next;
        cleanup->plain((void *)(uintptr_t)cleanup->data);
    }
}

void aprmem__run_child_cleanups(aprmem_pool_t *pool)
{
    aprmem_cleanup_t *cleanup;

    aprmem__rouse(pool);
    while ((cleanup = pool->cleanups)) {
        pool->cleanups = cleanup->next;
        cleanup->child((void *)(uintptr_t)cleanup->data);
    }
    for (aprmem_pool_t *child = pool->child; child; child = child->sibling)
        aprmem__run_child_cleanups(child);
}
