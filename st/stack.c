/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks: the sizes in use, a bounded last-in first-out cache of those that keep their pages, and
 * where in its top page each stack starts. Called by thread.c. See docs/internals/stacks.md.
 */
#include <string.h>

#include "st/slab.h"

enum {
    MIN_SIZE = 16 * 1024,
    DEFAULT_CACHE = 64,
    OFFSETS = 16, /* number of different cache lines at which stacks start */
    CACHE_LINE = 64,
};

/* --- The pool --- */

void st__stack_init(struct st_vp *vp)
{
    vp->stacks.max_cached = DEFAULT_CACHE;
    st__slab_init(vp);
}

void st__stack_destroy(struct st_vp *vp)
{
    struct st__stack_class *class;

    while ((class = vp->stacks.classes)) {
        while (class->slabs)
            st__slab_free(vp, class->slabs);
        vp->stacks.classes = class->next;
        free(class);
    }
}

static struct st__stack_class *find_class(struct st_vp *vp, size_t wanted)
{
    struct st__stack_class *class;

    for (class = vp->stacks.classes; class; class = class->next)
        if (class->wanted == wanted)
            return class;
    if (!(class = st__calloc(1, sizeof(*class))))
        return NULL;
    class->wanted = wanted;
    class->page = vp->stacks.page;
    st__slab_layout(class);
    class->next = vp->stacks.classes;
    vp->stacks.classes = class;
    return class;
}

/* A stack in the cache is in two lists: its class's, of which the newest is taken, and the pool's,
 * of which the oldest is evicted. */
static void cache(struct st_vp *vp, struct st__stack *stack)
{
    struct st__stack_class *class = stack->slab->class;

    stack->next = class->cached;
    stack->prev = NULL;
    if (class->cached)
        class->cached->prev = stack;
    class->cached = stack;

    stack->newer = NULL;
    stack->older = vp->stacks.newest;
    if (vp->stacks.newest)
        vp->stacks.newest->newer = stack;
    else
        vp->stacks.oldest = stack;
    vp->stacks.newest = stack;
    vp->stacks.cached++;
}

static void uncache(struct st_vp *vp, struct st__stack *stack)
{
    if (stack->prev)
        stack->prev->next = stack->next;
    else
        stack->slab->class->cached = stack->next;
    if (stack->next)
        stack->next->prev = stack->prev;

    if (stack->newer)
        stack->newer->older = stack->older;
    else
        vp->stacks.newest = stack->older;
    if (stack->older)
        stack->older->newer = stack->newer;
    else
        vp->stacks.oldest = stack->newer;
    vp->stacks.cached--;
}

static struct st__stack *take(struct st_vp *vp, struct st__stack_class *class)
{
    struct st__stack *stack = class->cached;

    if (!stack)
        return st__slab_take(vp, class);
    uncache(vp, stack);
    return stack;
}

static size_t round_size(const struct st_vp *vp, size_t size)
{
    size_t page = vp->stacks.page;

    if (size < MIN_SIZE)
        size = MIN_SIZE;
    size = (size + page - 1) & ~(page - 1);
    return vp->stacks.randomize ? size + page : size;
}

struct st__stack *st__stack_new(struct st_vp *vp, size_t size)
{
    struct st__stack_class *class = find_class(vp, round_size(vp, size));
    struct st__stack *stack;

    if (!class || !(stack = take(vp, class)))
        return NULL;
    if (st__slab_guard(vp, stack) < 0) {
        st__slab_give(vp, stack);
        errno = ENOMEM;
        return NULL;
    }
    if (++vp->stacks.in_use > vp->stacks.peak)
        vp->stacks.peak = vp->stacks.in_use;
    st__depth_unpoison(stack);
    st__valgrind_renew(stack);
    if (vp->stacks.census)
        st__depth_paint(stack);
    return stack;
}

static void release(struct st_vp *vp, struct st__stack *stack)
{
    st__depth_note(vp, stack);
    st__depth_unpoison(stack);
    (void)madvise(st__stack_base(stack), st__stack_size(stack), MADV_DONTNEED);
    stack->painted = false;
    st__slab_give(vp, stack);
}

/* The stack that has been in the cache longest is evicted first, whatever its class. */
static void trim_cache(struct st_vp *vp)
{
    while (vp->stacks.cached > vp->stacks.max_cached) {
        struct st__stack *oldest = vp->stacks.oldest;

        uncache(vp, oldest);
        release(vp, oldest);
    }
}

void st__stack_free(struct st_vp *vp, struct st__stack *stack)
{
    vp->stacks.in_use--;
    stack->thread = NULL;
    if (stack->painted) { /* it has all its pages: do not keep it */
        release(vp, stack);
        return;
    }
    cache(vp, stack);
    trim_cache(vp);
}

int st_set_stack_cache(int max_cached)
{
    struct st_vp *vp = st__vp;
    int previous;

    if (!vp)
        return st__fail(EPERM);
    st__reap(vp);
    previous = (int)vp->stacks.max_cached;
    vp->stacks.max_cached = max_cached < 0 ? 0 : (size_t)max_cached;
    trim_cache(vp);
    return previous;
}

void st_get_stack_stats(st_stack_stats_t *stats)
{
    struct st_vp *vp = st__vp;

    memset(stats, 0, sizeof(*stats));
    if (!vp)
        return;
    st__reap(vp);
    stats->in_use = vp->stacks.in_use;
    stats->cached = vp->stacks.cached;
    stats->peak = vp->stacks.peak;
    stats->bytes_reserved = vp->stacks.bytes_reserved;
    stats->deepest = vp->stacks.deepest;
    stats->guard_install = vp->stacks.guard_install;
}

/* --- Where in its top page a stack starts --- */

static uint64_t next_random(struct st__stack_pool *pool)
{
    pool->random ^= pool->random << 13;
    pool->random ^= pool->random >> 7;
    pool->random ^= pool->random << 17;
    return pool->random;
}

size_t st__stack_offset(struct st_vp *vp, const struct st__stack *stack)
{
    if (vp->stacks.randomize)
        return next_random(&vp->stacks) % vp->stacks.page & ~(size_t)0xf;
    /* Tops that were all page-aligned would compete for the same few sets of the cache. */
    return (size_t)(stack - stack->slab->stacks) % OFFSETS * CACHE_LINE;
}

int st_randomize_stacks(int on)
{
    struct st_vp *vp = st__vp_get();
    int previous;

    if (!vp)
        return -1;
    previous = vp->stacks.randomize;
    vp->stacks.randomize = on != 0;
    if (on)
        vp->stacks.random = st_utime() * 2 + 1; /* never 0 */
    return previous;
}
