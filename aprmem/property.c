/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The properties of a small pool, and what can be kept with it: parent, allocator, abort function,
 * tag, user data.
 */
#include <apr_strings.h>

#include "aprmem/aprmem_int.h"

void aprmem__apr_pool_abort_set(apr_abortfunc_t abort_fn, apr_pool_t *pool)
{
    if (aprmem__ours(pool))
        aprmem__pool(pool)->abort_fn = abort_fn;
    else
        aprmem__real.apr_pool_abort_set(abort_fn, pool);
}

apr_abortfunc_t aprmem__apr_pool_abort_get(apr_pool_t *pool)
{
    return aprmem__ours(pool) ? aprmem__pool(pool)->abort_fn
                              : aprmem__real.apr_pool_abort_get(pool);
}

static apr_pool_t *parent_of(const aprmem_pool_t *pool)
{
    if (pool->parent)
        return aprmem__handle(pool->parent);
    return aprmem__anchor_parent(pool->anchor);
}

apr_pool_t *aprmem__apr_pool_parent_get(apr_pool_t *pool)
{
    return aprmem__ours(pool) ? parent_of(aprmem__pool(pool))
                              : aprmem__real.apr_pool_parent_get(pool);
}

/* A small pool's memory does not come from it; but its owner destroys it, and callers may still
 * allocate nodes from it. */
apr_allocator_t *aprmem__apr_pool_allocator_get(apr_pool_t *pool)
{
    return aprmem__ours(pool) ? aprmem__pool(pool)->allocator
                              : aprmem__real.apr_pool_allocator_get(pool);
}

int aprmem__apr_pool_is_ancestor(apr_pool_t *a, apr_pool_t *b)
{
    while (a && aprmem__ours(b)) {
        if (a == b)
            return 1;
        b = parent_of(aprmem__pool(b));
    }
    return aprmem__real.apr_pool_is_ancestor(a, b);
}

void aprmem__apr_pool_tag(apr_pool_t *pool, const char *tag)
{
    if (aprmem__ours(pool))
        aprmem__pool(pool)->tag = tag;
    else
        aprmem__real.apr_pool_tag(pool, tag);
}

/* --- user data --- */

apr_status_t aprmem__apr_pool_userdata_setn(const void *data, const char *key,
                                            apr_status_t (*cleanup)(void *), apr_pool_t *handle)
{
    aprmem_pool_t *pool = aprmem__pool(handle);

    if (!aprmem__ours(handle))
        return aprmem__real.apr_pool_userdata_setn(data, key, cleanup, handle);
    aprmem__rouse(pool);
    if (!pool->user_data)
        pool->user_data = apr_hash_make(handle);
    apr_hash_set(pool->user_data, key, APR_HASH_KEY_STRING, data);
    if (cleanup)
        aprmem__apr_pool_cleanup_register(handle, data, cleanup, cleanup);
    return APR_SUCCESS;
}

apr_status_t aprmem__apr_pool_userdata_set(const void *data, const char *key,
                                           apr_status_t (*cleanup)(void *), apr_pool_t *handle)
{
    aprmem_pool_t *pool = aprmem__pool(handle);

    if (!aprmem__ours(handle))
        return aprmem__real.apr_pool_userdata_set(data, key, cleanup, handle);
    aprmem__rouse(pool);
    if (!pool->user_data || !apr_hash_get(pool->user_data, key, APR_HASH_KEY_STRING))
        key = apr_pstrdup(handle, key);
    return aprmem__apr_pool_userdata_setn(data, key, cleanup, handle);
}

apr_status_t aprmem__apr_pool_userdata_get(void **data, const char *key, apr_pool_t *handle)
{
    aprmem_pool_t *pool = aprmem__pool(handle);

    if (!aprmem__ours(handle))
        return aprmem__real.apr_pool_userdata_get(data, key, handle);
    aprmem__rouse(pool);
    *data = pool->user_data ? apr_hash_get(pool->user_data, key, APR_HASH_KEY_STRING) : NULL;
    return APR_SUCCESS;
}
