/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parents and children of small pools. Below one of APR's pools they are attached to an anchor: a
 * child pool of APR's whose cleanup destroys them, so that they are destroyed together with APR's
 * other children. Used by pool.c.
 */
#include <pthread.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define APRMEM_SINGLE_THREADED
#endif

#include <string.h>

#include "aprmem/aprmem_int.h"

enum { HASH_SIZE = 64 };

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

/* Guards the lists of children: any kernel thread may create and destroy children of one parent. */
static pthread_mutex_t children_lock = PTHREAD_MUTEX_INITIALIZER;

void aprmem__lock_tree(void)
{
    pthread_mutex_lock(&anchors.lock);
    pthread_mutex_lock(&children_lock);
}

void aprmem__unlock_tree(void)
{
    pthread_mutex_unlock(&children_lock);
    pthread_mutex_unlock(&anchors.lock);
}

/* --- anchors --- */

static aprmem_anchor_t **list_of(const apr_pool_t *parent)
{
    return &anchors.lists[((uintptr_t)parent >> 6) % HASH_SIZE];
}

/* The link in the list that points to it; points to NULL if there is none. */
static aprmem_anchor_t **place_of(const apr_pool_t *parent)
{
    aprmem_anchor_t **place = list_of(parent);

    while (*place && (*place)->parent != parent)
        place = &(*place)->next;
    return place;
}

static aprmem_anchor_t *find(const apr_pool_t *parent)
{
    aprmem_anchor_t *anchor;

    pthread_mutex_lock(&anchors.lock);
    anchor = *place_of(parent);
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

/* A cleanup of the parent may have created it after the others were destroyed: then nobody destroys
 * it, just as nobody destroys a child that APR creates then. */
void aprmem__forget_anchor(const apr_pool_t *parent)
{
    aprmem_anchor_t **place;

    pthread_mutex_lock(&anchors.lock);
    place = place_of(parent);
    if (*place)
        *place = (*place)->next;
    pthread_mutex_unlock(&anchors.lock);
}

/* APR's parent is being destroyed, and so are our children. A cleanup may create another one in the
 * meantime. */
static apr_status_t anchor_gone(void *data)
{
    aprmem_anchor_t *anchor = data;

    while (anchor->child)
        aprmem__apr_pool_destroy(aprmem__handle(anchor->child));
    aprmem__forget_anchor(anchor->parent);
    return APR_SUCCESS;
}

/* Called in a child process, before it runs a program. */
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
    anchor = aprmem__real.apr_pcalloc(pool, sizeof(*anchor));
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

apr_pool_t *aprmem__anchor_parent(const aprmem_anchor_t *anchor)
{
    return aprmem__real.apr_pool_parent_get(anchor->pool);
}

/* --- children --- */

/* A process's only kernel thread needs no lock. */
static bool lock_children(void)
{
#ifdef APRMEM_SINGLE_THREADED
    if (APRMEM_LIKELY(__libc_single_threaded))
        return false;
#endif
    pthread_mutex_lock(&children_lock);
    return true;
}

static void unlock_children(bool locked)
{
    if (locked)
        pthread_mutex_unlock(&children_lock);
}

void aprmem__link(aprmem_pool_t *pool)
{
    aprmem_pool_t **list = pool->anchor ? &pool->anchor->child : &pool->parent->child;
    bool locked = lock_children();

    pool->sibling = *list;
    if (pool->sibling)
        pool->sibling->ref = &pool->sibling;
    pool->ref = list;
    *list = pool;
    unlock_children(locked);
}

void aprmem__unlink(aprmem_pool_t *pool)
{
    bool locked = lock_children();

    *pool->ref = pool->sibling;
    if (pool->sibling)
        pool->sibling->ref = pool->ref;
    unlock_children(locked);
}

aprmem_pool_t *aprmem__child_tagged(aprmem_pool_t *pool, const char *tag)
{
    bool locked = lock_children();
    aprmem_pool_t *child = pool->child;

    while (child && !(child->tag && strcmp(child->tag, tag) == 0))
        child = child->sibling;
    unlock_children(locked);
    return child;
}

void aprmem__destroy_children(aprmem_pool_t *pool)
{
    while (pool->child)
        aprmem__apr_pool_destroy(aprmem__handle(pool->child));
}
