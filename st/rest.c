/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks at rest: a thread that has been waiting for long, and will go on, needs few of the bytes
 * in the pages of its stack. They are kept without zeros, the pages are given back, and whoever
 * wakes the thread puts all back first. See docs/internals/stacks.md.
 */
#include <string.h>

#include "st/slab.h"
#include "st/words.h"

enum { WORD = sizeof(uint64_t) };

/* How many of the pages from `low` on hold something. */
static size_t used_pages(const char *low, size_t bytes, size_t page)
{
    size_t used = 0;

    for (size_t at = 0; at < bytes; at += page)
        used += st_words_pack((const uint64_t *)(low + at), page / WORD, NULL) >
                page / WORD / ST_WORDS_GROUP;
    return used;
}

static void give_back(const struct st__rest *rest)
{
    (void)madvise(rest->low, rest->bytes, MADV_DONTNEED);
#ifdef ST_DEBUG
    (void)mprotect(rest->low, rest->bytes, PROT_NONE); /* who touches it is found */
#endif
}

/* The scheduler, and so a callback, runs on the stack of a waiting thread. */
static bool is_here(const struct st__stack *stack)
{
    uintptr_t base = (uintptr_t)st__stack_base(stack);

    return (uintptr_t)__builtin_frame_address(0) - base < st__stack_size(stack);
}

static bool may_rest(const struct st_vp *vp, const struct st_thread *thread)
{
    return vp && thread->state == ST__WAITING && !thread->rest &&
           (thread->link.pprev || thread->parked) && thread->stack && !thread->stack->painted &&
           !is_here(thread->stack) && !st__valgrind_running();
}

/* From the stack pointer on: the words below it are nobody's, and are not kept. */
static size_t live_words(const struct st_thread *thread)
{
    const char *end = st__stack_base(thread->stack) + st__stack_size(thread->stack);

    return (size_t)(end - (const char *)thread->sp) / WORD;
}

int st_thread_rest(st_thread_t thread)
{
    struct st_vp *vp = st__vp;
    size_t page, bytes, words, kept;
    struct st__rest *rest;
    char *low;

    if (!may_rest(vp, thread))
        return 0;
    page = vp->stacks.page;
    words = live_words(thread);
    low = (char *)((uintptr_t)thread->sp & ~(page - 1));
    bytes = (size_t)(st__stack_base(thread->stack) + st__stack_size(thread->stack) - low);
    kept = sizeof(*rest) + WORD * st_words_pack(thread->sp, words, NULL);
    if (kept > used_pages(low, bytes, page) * page / 4 * 3 || !(rest = st__malloc(kept)))
        return 0;
    st__depth_note(vp, thread->stack);
    rest->low = low;
    rest->bytes = bytes;
    (void)st_words_pack(thread->sp, words, rest->words);
    thread->rest = rest;
    give_back(rest);
    return 1;
}

void st__rouse(struct st_thread *thread)
{
    struct st__rest *rest = thread->rest;
    int error = errno;

#ifdef ST_DEBUG
    assert(mprotect(rest->low, rest->bytes, PROT_READ | PROT_WRITE) == 0);
#endif
    thread->rest = NULL;
    st_words_unpack(rest->words, live_words(thread), thread->sp);
    free(rest);
    errno = error;
}

int st_thread_rests(st_thread_t thread)
{
    return thread->rest ? 1 : 0;
}
