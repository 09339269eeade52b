/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How deeply stacks are used: the census, which paints them, and the samples, which ask the kernel
 * which pages they have and give back what a deep recursion has left behind. Called by stack.c, and
 * by users through st.h. See docs/internals/stacks.md.
 */
#include <string.h>

#include "st/slab.h"

enum {
    PAINT = 0xa5,
    PAGES_A_LOOK = 256, /* queried at once: 1 MB, the size of a guard, with 4 KB pages */
    KEPT = 256 * 1024,  /* bytes that a stack keeps once it has used them */
};

/* --- Census --- */

void st__depth_paint(struct st__stack *stack)
{
    memset(st__stack_base(stack), PAINT, st__stack_size(stack));
    stack->painted = true;
}

/* Reads what other code wrote and may have poisoned. */
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

    if (!vp)
        return st__fail(EPERM);
    previous = vp->stacks.census;
    vp->stacks.census = on != 0;
    return previous;
}

size_t st_thread_stack_used(st_thread_t thread)
{
    struct st_vp *vp = st__vp;

    if (!vp || !thread->stack || !thread->stack->painted)
        return 0;
    return measure(vp, thread->stack);
}

/* --- Without a census: which pages a stack has --- */

static size_t first_present(const unsigned char *present, size_t pages)
{
    size_t i = 0;

    while (i < pages && (present[i] & 1) == 0)
        i++;
    return i;
}

/* How far down a stack has pages, bytes from its top; the first `known` bytes are not queried. The
 * search ends after more missing pages in a row than any frame would leave untouched. */
static size_t touched(const struct st__stack *stack, size_t page, size_t known)
{
    size_t size = st__stack_size(stack), depth = known, piece, found;
    unsigned char present[PAGES_A_LOOK];

    for (size_t at = (known + page - 1) & ~(page - 1); at < size; at += piece) {
        piece = size - at < PAGES_A_LOOK * page ? size - at : PAGES_A_LOOK * page;
        if (mincore(st__stack_base(stack) + size - at - piece, piece, present) != 0)
            break;
        found = first_present(present, piece / page);
        if (found == piece / page)
            break;
        depth = at + piece - found * page;
    }
    return depth;
}

#if ST__ASAN
void st__depth_unpoison(const struct st__stack *stack)
{
    size_t depth = touched(stack, (size_t)sysconf(_SC_PAGESIZE), 0);

    st__asan_unpoison(st__stack_base(stack) + st__stack_size(stack) - depth, depth);
}
#else
void st__depth_unpoison(const struct st__stack *stack)
{
    (void)stack;
}
#endif

/* How many bytes below a stack's top may still be needed; all of them if that is not known: the
 * scheduler runs on the stack of a waiting thread. */
static size_t needed(const struct st__stack *stack)
{
    uintptr_t base = (uintptr_t)st__stack_base(stack), top = base + st__stack_size(stack);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    const struct st_thread *thread = stack->thread;

    if (here >= base && here < top)
        return top - base;
    if (!thread)
        return 0;
    if (thread->state != ST__WAITING && thread->state != ST__READY)
        return top - base;
    return top - (uintptr_t)thread->sp;
}

/* Whether its thread has waited since it was last sampled, for the first time in this wait: it will
 * not soon use again what it once used beyond what it needs now. (One that another thread woke, and
 * that waits at the same place again, seems to have waited: that does no harm.) */
static bool waits_long(struct st__stack *stack)
{
    const struct st_thread *thread = stack->thread;
    const void *at = thread && thread->state == ST__WAITING ? thread->sp : NULL;
    st_utime_t woken = at ? thread->woken : 0;
    bool still = at && at == stack->waited_at && woken == stack->waited_since;

    if (still && !stack->trimmed) {
        stack->trimmed = true;
        return true;
    }
    stack->waited_at = at;
    stack->waited_since = woken;
    stack->trimmed = still;
    return false;
}

/* Gives back what a stack has below the first `least` bytes that its thread does not need. */
static void trim(const struct st__stack *stack, size_t page, size_t depth, size_t least)
{
    size_t kept = needed(stack);

    if (kept < least)
        kept = least;
    kept = (kept + page - 1) & ~(page - 1);
    if (kept < depth)
        (void)madvise(st__stack_base(stack) + st__stack_size(stack) - depth, depth - kept,
                      MADV_DONTNEED);
}

static size_t note(struct st_vp *vp, const struct st__stack *stack)
{
    size_t known = vp->stacks.deepest < KEPT ? vp->stacks.deepest : KEPT;
    size_t depth = touched(stack, vp->stacks.page, known);

    if (depth > vp->stacks.deepest)
        vp->stacks.deepest = depth;
    return depth;
}

void st__depth_note(struct st_vp *vp, struct st__stack *stack)
{
    if (stack->painted)
        (void)measure(vp, stack);
    else
        (void)note(vp, stack);
}

static void look(struct st_vp *vp, struct st__stack *stack)
{
    size_t depth;

    if (stack->painted)
        return;
    depth = note(vp, stack);
    trim(stack, vp->stacks.page, depth, waits_long(stack) ? 0 : KEPT);
}

static struct st__slab *slab_after(const struct st__stack_pool *pool, const struct st__slab *slab)
{
    const struct st__stack_class *class = slab ? slab->class->next : pool->classes;

    if (slab && slab->next)
        return slab->next;
    while (class && !class->slabs)
        class = class->next;
    return class ? class->slabs : NULL;
}

/* The next stack that was ever handed out; NULL after the last one. */
static struct st__stack *next_sample(const struct st__stack_pool *pool)
{
    struct st__stack *last = pool->sampled;
    struct st__slab *slab = last ? last->slab : NULL;

    if (slab && last + 1 < slab->stacks + slab->fresh)
        return last + 1;
    slab = slab_after(pool, slab);
    return slab ? slab->stacks : NULL;
}

size_t st_sample_stacks(int count)
{
    struct st_vp *vp = st__vp;
    int error = errno;

    if (!vp)
        return 0;
    if (count < 0)
        vp->stacks.sampled = NULL;
    while (count-- != 0 && (vp->stacks.sampled = next_sample(&vp->stacks)))
        look(vp, vp->stacks.sampled);
    errno = error;
    return vp->stacks.deepest;
}
