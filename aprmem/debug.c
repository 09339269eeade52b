/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that objects compiled with APR_POOL_DEBUG call, if APR itself was not: they do what the
 * plain ones do.
 */
#include "aprmem/aprmem_int.h"

void *aprmem__apr_palloc_debug(apr_pool_t *pool, apr_size_t size, const char *where)
{
    (void)where;
    return aprmem__apr_palloc(pool, size);
}

void *aprmem__apr_pcalloc_debug(apr_pool_t *pool, apr_size_t size, const char *where)
{
    (void)where;
    return aprmem__apr_pcalloc(pool, size);
}

apr_status_t aprmem__apr_pool_create_ex_debug(apr_pool_t **made, apr_pool_t *parent,
                                              apr_abortfunc_t abort_fn, apr_allocator_t *allocator,
                                              const char *where)
{
    (void)where;
    return aprmem__apr_pool_create_ex(made, parent, abort_fn, allocator);
}

void aprmem__apr_pool_clear_debug(apr_pool_t *pool, const char *where)
{
    (void)where;
    aprmem__apr_pool_clear(pool);
}

void aprmem__apr_pool_destroy_debug(apr_pool_t *pool, const char *where)
{
    (void)where;
    aprmem__apr_pool_destroy(pool);
}
