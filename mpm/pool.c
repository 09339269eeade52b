/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of client connections. One allocator serves a VP: it needs no mutex, since one kernel
 * thread uses it. Some cleared pools are kept for the next connections.
 */
#include <apr_allocator.h>

#include "stm.h"

#define MOST_KEPT 128

static apr_pool_t *kept[MOST_KEPT];
static int kept_count;

apr_pool_t *stm_pool_get(void)
{
    STM_ENTER();
    apr_pool_t *pool;

    if (kept_count > 0)
        return kept[--kept_count];
    if (apr_pool_create_ex(&pool, stm.vp.pchild, NULL, stm.vp.allocator) != APR_SUCCESS)
        return NULL;
    apr_pool_tag(pool, "transaction");
    return pool;
}

/** Runs the pool's cleanups: call it on a state thread, it may yield. */
void stm_pool_put(apr_pool_t *pool)
{
    STM_ENTER();
    if (kept_count == MOST_KEPT || stm.vp.state != STM_VP_RUNNING) {
        apr_pool_destroy(pool);
        return;
    }
    apr_pool_clear(pool);
    if (kept_count < MOST_KEPT) /* it was when we asked; the cleanups may have yielded */
        kept[kept_count++] = pool;
    else
        apr_pool_destroy(pool);
}

bool stm_pools_open(void)
{
    STM_ENTER();
    stm_vp_t *vp = &stm.vp;

    if (apr_allocator_create(&vp->allocator) != APR_SUCCESS)
        return false;
    apr_allocator_max_free_set(vp->allocator, ap_max_mem_free);
    vp->bucket_alloc = apr_bucket_alloc_create(vp->pchild);
    return vp->bucket_alloc != NULL;
}
