/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of small pools (aprmem/) share: a VP that has them, and APR's pools next to them.
 */
#ifndef SMALL_POOLS_H
#define SMALL_POOLS_H

#include <apr_buckets.h>
#include <apr_general.h>

#include "aprmem/aprmem.h"
#include "tests/stiol/stiol_vp.h"

/* Created before the switch, so it is APR's. */
static apr_pool_t *old;
static apr_bucket_alloc_t *old_list;

static inline void begin(void)
{
    const char *why;

    CHECK(apr_initialize() == APR_SUCCESS);
    CHECK(apr_pool_create(&old, NULL) == APR_SUCCESS);
    old_list = apr_bucket_alloc_create(old);
    CHECK(st_init() == 0);
    why = aprmem_prepare();
    if (why)
        skip_test(why);
    CHECK(stiol_start(NULL) == 0 && aprmem_start() == 0);
}

static inline apr_pool_t *made(apr_pool_t *parent)
{
    apr_pool_t *pool;

    CHECK(apr_pool_create(&pool, parent) == APR_SUCCESS);
    return pool;
}

static inline aprmem_stats_t stats(void)
{
    aprmem_stats_t now;

    aprmem_get_stats(&now);
    return now;
}

#endif /* SMALL_POOLS_H */
