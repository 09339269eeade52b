/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks: slabs of guarded stacks of one size, a bounded last-in first-out cache of those that keep
 * their pages, and the census of how deep they were used. Called by thread.c. See
 * docs/internals/stacks.md.
 */
#include <string.h>
#include <sys/utsname.h>

#include "st_internal.h"

enum {
    MIN_SIZE = 16 * 1024,
    GUARD_SIZE = 32 * 1024, /* frames of up to this size cannot jump over it */
    FIRST_SLAB = 8,         /* stacks; each further slab of a class has twice as many */
    LARGEST_SLAB = 64,
    MAX_SLAB_BYTES = 64 * 1024 * 1024,
    DEFAULT_CACHE = 64,
    OFFSETS = 16, /* stacks start at so many different cache lines */
    CACHE_LINE = 64,
    PAINT = 0xa5,
    PAGES_A_LOOK = 64, /* asked for at once: those of a stack of 256 KB */
};

/* A slab's memory: guard, stack, guard, stack, ... */
struct st__slab {
    struct st__stack_class *class;
    struct st__slab *next, *prev; /* all of the class */
    struct st__slab *next_open;   /* those with free stacks that are not cached */
    struct st__slab *prev_open;
    bool open;
    char *memory;
    unsigned count;         /* stacks in it */
    unsigned fresh;         /* stacks from here on were never handed out */
    unsigned busy;          /* handed out or cached */
    struct st__stack *free; /* pages given back */
    struct st__stack stacks[];
};

struct st__stack_class {
    struct st__stack_class *next;
    size_t size; /* of a stack without its guard, bytes */
    unsigned slab_count;
    struct st__slab *slabs;
    struct st__slab *open;
    struct st__stack *cached; /* last in, first out */
};

int st__force_mprotect_guards;

static inline size_t stride(const struct st__stack_class *class)
{
    return class->size + GUARD_SIZE;
}

char *st__stack_base(const struct st__stack *stack)
{
    const struct st__slab *slab = stack->slab;

    return slab->memory + (size_t)(stack - slab->stacks) * stride(slab->class) + GUARD_SIZE;
}

size_t st__stack_size(const struct st__stack *stack)
{
    return stack->slab->class->size;
}

/* ------------------------------------------------------------------------------------------------
 * Guards
 * ---------------------------------------------------------------------------------------------- */

/* An emulator may take the advice and ignore it: only a page that refuses a write is guarded. */
static bool guard_works(void *page, size_t size)
{
    return madvise(page, size, MADV_GUARD_INSTALL) == 0 && uname(page) < 0 && errno == EFAULT;
}

static bool probe_guard_install(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int error = errno;
    void *page;
    bool works;

    page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return false;
    works = guard_works(page, size);
    munmap(page, size);
    errno = error;
    return works;
}

static int guard(struct st_vp *vp, struct st__stack *stack)
{
    char *place = st__stack_base(stack) - GUARD_SIZE;
    int result;

    if (stack->guarded)
        return 0;
    do
        result = vp->stacks.guard_install ? st__sys_guard(place, GUARD_SIZE)
                                          : st__sys_mprotect(place, GUARD_SIZE, PROT_NONE);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return st__fail(ENOMEM);
    stack->guarded = true;
    st__valgrind_register(stack);
    return 0;
}

size_t st_stack_overflow_at(const void *addr)
{
    const struct st_vp *vp = st__vp;
    uintptr_t at = (uintptr_t)addr;

    if (vp == NULL)
        return 0;
    for (struct st__stack_class *class = vp->stacks.classes; class != NULL; class = class->next)
        for (struct st__slab *slab = class->slabs; slab != NULL; slab = slab->next) {
            uintptr_t start = (uintptr_t)slab->memory;

            if (at >= start && at - start < slab->count * stride(class))
                return (at - start) % stride(class) < GUARD_SIZE ? class->size : 0;
        }
    return 0;
}

/* ------------------------------------------------------------------------------------------------
 * Slabs
 * ---------------------------------------------------------------------------------------------- */

static void open_slab(struct st__slab *slab)
{
    struct st__stack_class *class = slab->class;

    slab->open = true;
    slab->prev_open = NULL;
    slab->next_open = class->open;
    if (class->open != NULL)
        class->open->prev_open = slab;
    class->open = slab;
}

static void shut_slab(struct st__slab *slab)
{
    if (slab->prev_open != NULL)
        slab->prev_open->next_open = slab->next_open;
    else
        slab->class->open = slab->next_open;
    if (slab->next_open != NULL)
        slab->next_open->prev_open = slab->prev_open;
    slab->open = false;
}

static unsigned slab_stacks(const struct st__stack_class *class)
{
    size_t most = MAX_SLAB_BYTES / stride(class);
    unsigned count = FIRST_SLAB;

    for (unsigned i = 0; i < class->slab_count && count < LARGEST_SLAB; i++)
        count *= 2;
    return most == 0 ? 1 : most < count ? (unsigned)most : count;
}

static struct st__slab *slab_new(struct st_vp *vp, struct st__stack_class *class)
{
    unsigned count = slab_stacks(class);
    size_t bytes = count * stride(class);
    struct st__slab *slab = st__calloc(1, sizeof(*slab) + count * sizeof(struct st__stack));

    if (slab == NULL)
        return NULL;
    slab->memory = st__sys_mmap(bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK);
    if (slab->memory == MAP_FAILED) {
        free(slab);
        errno = ENOMEM;
        return NULL;
    }
    /* A huge page would make each stack cost its whole size. */
    (void)madvise(slab->memory, bytes, MADV_NOHUGEPAGE);
    slab->class = class;
    slab->count = count;
    for (unsigned i = 0; i < count; i++)
        slab->stacks[i].slab = slab;
    slab->next = class->slabs;
    if (class->slabs != NULL)
        class->slabs->prev = slab;
    class->slabs = slab;
    class->slab_count++;
    vp->stacks.bytes_reserved += bytes;
    open_slab(slab);
    return slab;
}

static void slab_free(struct st_vp *vp, struct st__slab *slab)
{
    struct st__stack_class *class = slab->class;
    size_t bytes = slab->count * stride(class);

    if (vp->stacks.sampled != NULL && vp->stacks.sampled->slab == slab)
        vp->stacks.sampled = NULL;
    if (slab->open)
        shut_slab(slab);
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        class->slabs = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    class->slab_count--;
    for (unsigned i = 0; i < slab->count; i++)
        if (slab->stacks[i].guarded)
            st__valgrind_deregister(&slab->stacks[i]);
    st__asan_unpoison(slab->memory, bytes);
    (void)munmap(slab->memory, bytes);
    vp->stacks.bytes_reserved -= bytes;
    free(slab);
}

static struct st__stack *slab_take(struct st__slab *slab)
{
    struct st__stack *stack = slab->free;

    if (stack != NULL)
        slab->free = stack->next;
    else
        stack = &slab->stacks[slab->fresh++];
    slab->busy++;
    if (slab->free == NULL && slab->fresh == slab->count)
        shut_slab(slab);
    return stack;
}

/* Takes a stack back that is neither handed out nor cached any more. */
static void slab_give(struct st_vp *vp, struct st__stack *stack)
{
    struct st__slab *slab = stack->slab;

    stack->next = slab->free;
    slab->free = stack;
    if (!slab->open)
        open_slab(slab);
    if (--slab->busy == 0)
        slab_free(vp, slab);
}

/* ------------------------------------------------------------------------------------------------
 * Census
 * ---------------------------------------------------------------------------------------------- */

static void paint(struct st__stack *stack)
{
    memset(st__stack_base(stack), PAINT, st__stack_size(stack));
    stack->painted = true;
}

/* Reads what others wrote and may have poisoned. */
#if ST__ASAN
__attribute__((no_sanitize("address")))
#endif
static size_t
measure(struct st_vp *vp, const struct st__stack *stack)
{
    const char *base = st__stack_base(stack);
    size_t size = st__stack_size(stack);
    size_t clean = 0;

    st__valgrind_reveal(stack);
    while (clean < size && (unsigned char)base[clean] == PAINT)
        clean++;
    if (size - clean > vp->stacks.deepest)
        vp->stacks.deepest = size - clean;
    return size - clean;
}

int st_stack_census(int on)
{
    struct st_vp *vp = st__vp;
    int previous;

    if (vp == NULL)
        return st__fail(EPERM);
    previous = vp->stacks.census;
    vp->stacks.census = on != 0;
    return previous;
}

size_t st_thread_stack_used(st_thread_t thread)
{
    struct st_vp *vp = st__vp;

    if (vp == NULL || thread->stack == NULL || !thread->stack->painted)
        return 0;
    return measure(vp, thread->stack);
}

/* ------------------------------------------------------------------------------------------------
 * Without a census: which pages a stack has got
 * ---------------------------------------------------------------------------------------------- */

/* Pages are asked for only below the deepest use that is known. To be called before pages are given
 * back. */
static void note_depth(struct st_vp *vp, const struct st__stack *stack)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = st__stack_size(stack), piece;
    size_t below = size > vp->stacks.deepest ? (size - vp->stacks.deepest) & ~(page - 1) : 0;
    unsigned char present[PAGES_A_LOOK];

    if (stack->painted)
        return;
    for (size_t at = 0; at < below; at += piece) {
        piece = below - at < PAGES_A_LOOK * page ? below - at : PAGES_A_LOOK * page;
        if (mincore(st__stack_base(stack) + at, piece, present) != 0)
            return;
        for (size_t i = 0; i < piece / page; i++)
            if (present[i] & 1) {
                vp->stacks.deepest = size - at - i * page;
                return;
            }
    }
}

static struct st__slab *slab_after(const struct st__stack_pool *pool, const struct st__slab *slab)
{
    const struct st__stack_class *class = slab != NULL ? slab->class->next : pool->classes;

    if (slab != NULL && slab->next != NULL)
        return slab->next;
    while (class != NULL && class->slabs == NULL)
        class = class->next;
    return class != NULL ? class->slabs : NULL;
}

/* The next stack that was ever handed out; NULL: that was the last one. */
static struct st__stack *next_sample(const struct st__stack_pool *pool)
{
    struct st__stack *last = pool->sampled;
    struct st__slab *slab = last != NULL ? last->slab : NULL;

    if (slab != NULL && last + 1 < slab->stacks + slab->fresh)
        return last + 1;
    slab = slab_after(pool, slab);
    return slab != NULL ? slab->stacks : NULL;
}

size_t st_sample_stacks(int count)
{
    struct st_vp *vp = st__vp;
    int error = errno;

    if (vp == NULL)
        return 0;
    if (count < 0)
        vp->stacks.sampled = NULL;
    while (count-- != 0 && (vp->stacks.sampled = next_sample(&vp->stacks)) != NULL)
        note_depth(vp, vp->stacks.sampled);
    errno = error;
    return vp->stacks.deepest;
}

/* ------------------------------------------------------------------------------------------------
 * The pool
 * ---------------------------------------------------------------------------------------------- */

void st__stack_init(struct st_vp *vp)
{
    vp->stacks.max_cached = DEFAULT_CACHE;
    vp->stacks.guard_install = !st__force_mprotect_guards && probe_guard_install();
}

void st__stack_destroy(struct st_vp *vp)
{
    struct st__stack_class *class;

    while ((class = vp->stacks.classes) != NULL) {
        while (class->slabs != NULL)
            slab_free(vp, class->slabs);
        vp->stacks.classes = class->next;
        free(class);
    }
}

static struct st__stack_class *find_class(struct st_vp *vp, size_t size)
{
    struct st__stack_class *class;

    for (class = vp->stacks.classes; class != NULL; class = class->next)
        if (class->size == size)
            return class;
    if ((class = st__calloc(1, sizeof(*class))) == NULL)
        return NULL;
    class->size = size;
    class->next = vp->stacks.classes;
    vp->stacks.classes = class;
    return class;
}

/* A stack in the cache is in two lists: its class's, of which the newest is taken, and the pool's,
 * of which the oldest is given up. */
static void cache(struct st_vp *vp, struct st__stack *stack)
{
    struct st__stack_class *class = stack->slab->class;

    stack->next = class->cached;
    stack->prev = NULL;
    if (class->cached != NULL)
        class->cached->prev = stack;
    class->cached = stack;

    stack->newer = NULL;
    stack->older = vp->stacks.newest;
    if (vp->stacks.newest != NULL)
        vp->stacks.newest->newer = stack;
    else
        vp->stacks.oldest = stack;
    vp->stacks.newest = stack;
    vp->stacks.cached++;
}

static void uncache(struct st_vp *vp, struct st__stack *stack)
{
    if (stack->prev != NULL)
        stack->prev->next = stack->next;
    else
        stack->slab->class->cached = stack->next;
    if (stack->next != NULL)
        stack->next->prev = stack->prev;

    if (stack->newer != NULL)
        stack->newer->older = stack->older;
    else
        vp->stacks.newest = stack->older;
    if (stack->older != NULL)
        stack->older->newer = stack->newer;
    else
        vp->stacks.oldest = stack->newer;
    vp->stacks.cached--;
}

static struct st__stack *take(struct st_vp *vp, struct st__stack_class *class)
{
    struct st__stack *stack = class->cached;
    struct st__slab *slab = class->open;

    if (stack != NULL) {
        uncache(vp, stack);
        return stack;
    }
    if (slab == NULL && (slab = slab_new(vp, class)) == NULL)
        return NULL;
    return slab_take(slab);
}

static size_t round_size(const struct st_vp *vp, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (size < MIN_SIZE)
        size = MIN_SIZE;
    size = (size + page - 1) & ~(page - 1);
    return vp->stacks.randomize ? size + page : size;
}

struct st__stack *st__stack_new(struct st_vp *vp, size_t size)
{
    struct st__stack_class *class = find_class(vp, round_size(vp, size));
    struct st__stack *stack;

    if (class == NULL || (stack = take(vp, class)) == NULL)
        return NULL;
    if (guard(vp, stack) < 0) {
        slab_give(vp, stack);
        errno = ENOMEM;
        return NULL;
    }
    if (++vp->stacks.in_use > vp->stacks.peak)
        vp->stacks.peak = vp->stacks.in_use;
    st__asan_unpoison(st__stack_base(stack), st__stack_size(stack));
    st__valgrind_renew(stack);
    if (vp->stacks.census)
        paint(stack);
    return stack;
}

static void release(struct st_vp *vp, struct st__stack *stack)
{
    note_depth(vp, stack);
    (void)madvise(st__stack_base(stack), st__stack_size(stack), MADV_DONTNEED);
    stack->painted = false;
    slab_give(vp, stack);
}

/* The stack that lies longest in the cache goes first, whatever its class. */
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
    if (stack->painted) { /* it has all its pages: not to be kept */
        (void)measure(vp, stack);
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

    if (vp == NULL)
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
    if (vp == NULL)
        return;
    st__reap(vp);
    stats->in_use = vp->stacks.in_use;
    stats->cached = vp->stacks.cached;
    stats->peak = vp->stacks.peak;
    stats->bytes_reserved = vp->stacks.bytes_reserved;
    stats->deepest = vp->stacks.deepest;
    stats->guard_install = vp->stacks.guard_install;
}

/* ------------------------------------------------------------------------------------------------
 * Where in its top page a stack starts
 * ---------------------------------------------------------------------------------------------- */

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
        return next_random(&vp->stacks) % (size_t)sysconf(_SC_PAGESIZE) & ~(size_t)0xf;
    /* Tops that are all page aligned would fight for the same few sets of the cache. */
    return (size_t)(stack - stack->slab->stacks) % OFFSETS * CACHE_LINE;
}

int st_randomize_stacks(int on)
{
    struct st_vp *vp = st__vp_get();
    int previous;

    if (vp == NULL)
        return -1;
    previous = vp->stacks.randomize;
    vp->stacks.randomize = on != 0;
    if (on)
        vp->stacks.random = st_utime() * 2 + 1; /* never 0 */
    return previous;
}
