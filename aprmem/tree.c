/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parents and children of small pools. Below one of APR's pools they hang on an anchor: a child
 * pool of APR's whose cleanup destroys them, so that they go when APR's other children go. Used by
 * pool.c.
 */
#include <pthread.h>

#include "aprmem_int.h"

#define HASH_SIZE 64

struct aprmem_anchor {
    struct aprmem_anchor *next; /* with the same hash */
    apr_pool_t *parent;         /* NULL: APR's global pool */
    apr_pool_t *pool;           /* APR's; the anchor lies in it */
    aprmem_pool_t *child;
};

static struct {
    pthread_mutex_t lock;
    aprmem_anchor_t *lists[HASH_SIZE];
} anchors = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Guards the lists of children that kernel threads which are no VP's have made. */
static pthread_mutex_t foreign_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- anchors --- */

static aprmem_anchor_t **list_of(const apr_pool_t *parent)
{
    return &anchors.lists[((uintptr_t)parent >> 6) % HASH_SIZE];
}

static aprmem_anchor_t *find(apr_pool_t *parent)
{
    aprmem_anchor_t *anchor;

    pthread_mutex_lock(&anchors.lock);
    for (anchor = *list_of(parent); anchor; anchor = anchor->next)
        if (anchor->parent == parent)
            break;
    pthread_mutex_unlock(&anchors.lock);
    return anchor;
}

static void insert(aprmem_anchor_t *anchor)
{
    aprmem_anchor_t **list = list_of(anchor->parent);

    pthread_mutex_lock(&anchors.lock);
    anchor->next = *list;
    *list = anchor;
    pthread_mutex_unlock(&anchors.lock);
}

static void take_out(aprmem_anchor_t *anchor)
{
    aprmem_anchor_t **list = list_of(anchor->parent);

    pthread_mutex_lock(&anchors.lock);
    while (*list != anchor)
        list = &(*list)->next;
    *list = anchor->next;
    pthread_mutex_unlock(&anchors.lock);
}

/* APR's parent goes: so do our children. A cleanup may make another one meanwhile. */
static apr_status_t anchor_gone(void *data)
{
    aprmem_anchor_t *anchor = data;

    while (anchor->child)
        aprmem__apr_pool_destroy(aprmem__handle(anchor->child));
    take_out(anchor);
    return APR_SUCCESS;
}

/* In a child process, before it runs a program. */
static apr_status_t anchor_before_exec(void *data)
{
    aprmem_anchor_t *anchor = data;

    for (aprmem_pool_t *pool = anchor->child; pool; pool = pool->sibling)
        aprmem__run_child_cleanups(pool);
    return APR_SUCCESS;
}

static aprmem_anchor_t *new_anchor(apr_pool_t *parent)
{
    aprmem_anchor_t *anchor;
    apr_pool_t *pool;

    if (aprmem__real.apr_pool_create_ex(&pool, parent, NULL, NULL) != APR_SUCCESS)
        return NULL;
    aprmem__real.apr_pool_tag(pool, "small pools");
    anchor = aprmem__real.apr_pcalloc(pool, sizeof *anchor);
    anchor->parent = parent;
    anchor->pool = pool;
    aprmem__real.apr_pool_cleanup_register(pool, anchor, anchor_gone, anchor_before_exec);
    insert(anchor);
    return anchor;
}

aprmem_anchor_t *aprmem__anchor_of(apr_pool_t *parent)
{
    aprmem_anchor_t *anchor = find(parent);

    return anchor ? anchor : new_anchor(parent);
}

apr_pool_t *aprmem__anchor_pool(const aprmem_anchor_t *anchor)
{
    return anchor->pool;
}

/* --- children --- */

static void insert_child(aprmem_pool_t **list, aprmem_pool_t *pool)
{
    pool->sibling = *list;
    if (pool->sibling)
        pool->sibling->ref = &pool->sibling;
    pool->ref = list;
    *list = pool;
}

static void remove_child(aprmem_pool_t *pool)
{
    *pool->ref = pool->sibling;
    if (pool->sibling)
        pool->sibling->ref = pool->ref;
}

void aprmem__link(aprmem_pool_t *pool)
{
    if (pool->anchor) {
        insert_child(&pool->anchor->child, pool);
    } else if (APRMEM_LIKELY(aprmem__mine != NULL)) {
        insert_child(&pool->parent->child, pool);
    } else {
        pool->foreign = true;
        pthread_mutex_lock(&foreign_lock);
        insert_child(&pool->parent->foreign_child, pool);
        pthread_mutex_unlock(&foreign_lock);
    }
}

void aprmem__unlink(aprmem_pool_t *pool)
{
    if (APRMEM_LIKELY(!pool->foreign)) {
        remove_child(pool);
        return;
    }
    pthread_mutex_lock(&foreign_lock);
    remove_child(pool);
    pthread_mutex_unlock(&foreign_lock);
}

void aprmem__destroy_children(aprmem_pool_t *pool)
{
    while (pool->child)
        aprmem__apr_pool_destroy(aprmem__handle(pool->child));
    while (pool->foreign_child)
        aprmem__apr_pool_destroy(aprmem__handle(pool->foreign_child));
}
