/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of client connections. One allocator serves a VP. It has no mutex as long as only one
 * kernel thread uses it: until a module creates one of its own, which may use a request's pool
 * while the handler waits for it. Some cleared pools are kept for the next connections. None of it
 * belongs to pchild: a request that cannot be ended outlives that.
 */
#include <apr_allocator.h>
#include <apr_thread_mutex.h>

#include "mpm/config/config.h"
#include "mpm/conn/conn.h"

enum { MOST_KEPT = 128 };

static apr_pool_t *root; /* of all that is made here; it stays */
static apr_pool_t *kept[MOST_KEPT];
static int kept_count;
static bool shared; /* there may be another kernel thread */

apr_pool_t *stm_pool_get(void)
{
    apr_pool_t *pool;

    if (kept_count > 0)
        return kept[--kept_count];
    if (apr_pool_create_ex(&pool, root, NULL, stm_conns.allocator) != APR_SUCCESS)
        return NULL;
    apr_pool_tag(pool, "transaction");
    return pool;
}

void stm_pool_put(apr_pool_t *pool)
{
    if (kept_count == MOST_KEPT || stm.vp.state != STM_VP_RUNNING) {
        apr_pool_destroy(pool);
        return;
    }
    apr_pool_clear(pool);
    if (kept_count < MOST_KEPT) /* there was when we asked, but the cleanups may have yielded */
        kept[kept_count++] = pool;
    else
        apr_pool_destroy(pool);
}

static bool lock_allocator(void)
{
    apr_thread_mutex_t *mutex;

    if (apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, root) != APR_SUCCESS)
        return false;
    apr_allocator_mutex_set(stm_conns.allocator, mutex);
    return true;
}

void stm_pools_share(void)
{
    if (shared)
        return;
    shared = true;
    if (stm_conns.allocator && !lock_allocator())
        ap_log_error(APLOG_MARK, APLOG_ALERT, 0, ap_server_conf,
                     "stm: cannot create a mutex for pools that a module's thread may use");
}

bool stm_pools_open(void)
{
    if (!stm_config.threaded_io) /* then nobody would tell us */
        shared = true;
    if (apr_pool_create_unmanaged_ex(&root, apr_pool_abort_get(stm.vp.pchild), NULL) != APR_SUCCESS)
        return false;
    apr_pool_tag(root, "transactions");
    if (apr_allocator_create(&stm_conns.allocator) != APR_SUCCESS || (shared && !lock_allocator()))
        return false;
    apr_allocator_max_free_set(stm_conns.allocator, ap_max_mem_free);
    stm_conns.bucket_alloc = apr_bucket_alloc_create(root);
    return stm_conns.bucket_alloc;
}
