/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over libst's structures in another process; see walk.h. The number of objects visited is
 * limited, so that a list that has become a ring cannot trap it.
 */
#include "stmstat/walk.h"

#include <errno.h>

#include "include/st_description.h"

enum { OBJECT_LIMIT = 1 << 22, OFFSET_LIMIT = 1 << 20 };
#define STACK_LIMIT (UINT64_C(1) << 40)

typedef struct {
    const walk_ops_t *ops;
    struct st__layout at;
    uint64_t current;
    uint64_t size, guard; /* of the stacks of the class, bytes */
    int tid;
    unsigned left; /* how many more objects may be visited */
} walk_t;

static int fetch(const walk_t *walk, uint64_t address, void *to, size_t size)
{
    return walk->ops->read(walk->ops->baton, address, to, size) ? 0 : EFAULT;
}

static int fetch_word(const walk_t *walk, uint64_t address, uint64_t *to)
{
    return fetch(walk, address, to, sizeof(*to));
}

static int spend(walk_t *walk)
{
    return walk->left-- > 0 ? 0 : EBADMSG;
}

static int visit_thread(walk_t *walk, uint64_t address, uint64_t low, uint64_t end)
{
    walk_thread_t thread = {.address = address, .low = low, .end = end, .tid = walk->tid};
    unsigned char state;
    uint64_t rest;
    int error;

    if ((error = fetch_word(walk, address + walk->at.thread_sp, &thread.sp)) ||
        (error = fetch(walk, address + walk->at.thread_state, &state, 1)) ||
        (error = fetch_word(walk, address + walk->at.thread_start, &thread.start)) ||
        (error = fetch_word(walk, address + walk->at.thread_arg, &thread.arg)) ||
        (error = fetch_word(walk, address + walk->at.thread_rest, &rest)))
        return error;
    if (rest && (error = fetch_word(walk, rest + walk->at.rest_low, &thread.rest_low)))
        return error;
    thread.rest_words = rest ? rest + walk->at.rest_words : 0;
    thread.state = state;
    thread.current = address == walk->current;
    walk->ops->found(walk->ops->baton, &thread);
    return 0;
}

static int visit_stack(walk_t *walk, uint64_t stack, uint64_t low)
{
    uint64_t thread;
    int error;

    if ((error = spend(walk)) || (error = fetch_word(walk, stack + walk->at.stack_thread, &thread)))
        return error;
    if (!thread)
        return 0;
    if (thread < stack || thread >= stack + walk->at.stack_size)
        return EBADMSG; /* a thread's structure lies in its stack's */
    return visit_thread(walk, thread, low, low + walk->size);
}

static int visit_slab(walk_t *walk, uint64_t slab)
{
    uint64_t memory, stack = slab + walk->at.slab_stacks;
    unsigned fresh;
    int error;

    if ((error = fetch_word(walk, slab + walk->at.slab_memory, &memory)) ||
        (error = fetch(walk, slab + walk->at.slab_fresh, &fresh, sizeof(fresh))))
        return error;
    for (unsigned i = 0; i < fresh && !error; i++) {
        error = visit_stack(walk, stack, memory + walk->guard);
        stack += walk->at.stack_size;
        memory += walk->size + walk->guard;
    }
    return error;
}

/* Calls visit() for each member of the list whose head pointer is at `head`. */
static int visit_list(walk_t *walk, uint64_t head, uint32_t next, int (*visit)(walk_t *, uint64_t))
{
    uint64_t member;
    int error = fetch_word(walk, head, &member);

    while (!error && member) {
        if (!(error = spend(walk)) && !(error = visit(walk, member)))
            error = fetch_word(walk, member + next, &member);
    }
    return error;
}

static int visit_class(walk_t *walk, uint64_t class)
{
    int error;

    if ((error = fetch_word(walk, class + walk->at.class_size, &walk->size)) ||
        (error = fetch_word(walk, class + walk->at.class_guard, &walk->guard)))
        return error;
    if (!walk->size || walk->size > STACK_LIMIT || walk->guard > STACK_LIMIT)
        return EBADMSG;
    return visit_list(walk, class + walk->at.class_slabs, walk->at.slab_next, visit_slab);
}

static int visit_vp(walk_t *walk, uint64_t vp)
{
    int error;

    if ((error = fetch(walk, vp + walk->at.vp_tid, &walk->tid, sizeof(walk->tid))) ||
        (error = fetch_word(walk, vp + walk->at.vp_current, &walk->current)) ||
        (error = visit_thread(walk, vp + walk->at.vp_primordial, 0, 0)))
        return error;
    return visit_list(walk, vp + walk->at.vp_classes, walk->at.class_next, visit_class);
}

int walk_threads(const walk_ops_t *ops, uint64_t description)
{
    walk_t walk = {.ops = ops, .left = OBJECT_LIMIT};
    int error = fetch(&walk, description, &walk.at, sizeof(walk.at));

    if (error)
        return error;
    if (walk.at.magic != ST__DESCRIPTION_MAGIC || walk.at.version != ST__DESCRIPTION_VERSION)
        return ENOTSUP;
    if (!walk.at.stack_size || walk.at.stack_size > OFFSET_LIMIT)
        return EBADMSG;
    return visit_list(&walk, walk.at.process_vps, walk.at.vp_next, visit_vp);
}
