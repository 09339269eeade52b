/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files about stacks share: slab.c (address space and guards), stack.c (the pool) and
 * stack_depth.c (how deeply stacks are used).
 */
#ifndef ST_SLAB_H
#define ST_SLAB_H

#include "st/st_internal.h"

/* A slab's memory: guard, stack, guard, stack, ... */
struct st__slab {
    struct st__stack_class *class;
    struct st__slab *next, *prev; /* all of the class */
    struct st__slab *next_open;   /* those with free stacks that are not cached */
    struct st__slab *prev_open;
    bool open;
    char *memory;
    unsigned count;         /* stacks in it */
    unsigned fresh;         /* stacks from this index on were never handed out */
    unsigned busy;          /* handed out or cached */
    struct st__stack *free; /* pages given back */
    struct st__stack stacks[];
};

struct st__stack_class {
    struct st__stack_class *next;
    size_t wanted;       /* what callers ask for, rounded up to whole pages, bytes */
    size_t size;         /* from one guard to the next: at least `wanted` */
    size_t guard;        /* of a guard */
    size_t align;        /* 0, or the alignment of stacks */
    size_t page;         /* the system's */
    unsigned slabs_made; /* mapped at present */
    struct st__slab *slabs;
    struct st__slab *open;
    struct st__stack *cached; /* last in, first out */
};

#pragma GCC visibility push(hidden)

/* --- slab.c --- */

/* Finds out how stacks are guarded on this system. */
void st__slab_init(struct st_vp *vp);
/* Decides how stacks of class->wanted bytes are laid out, in pages of class->page bytes. */
void st__slab_layout(struct st__stack_class *class);
/* A stack that is neither in use nor cached, possibly without its guard; NULL with ENOMEM. */
struct st__stack *st__slab_take(struct st_vp *vp, struct st__stack_class *class);
/* Takes back a stack that is no longer in use or cached and whose pages have been given back. */
void st__slab_give(struct st_vp *vp, struct st__stack *stack);
/* Unmaps a slab, none of whose stacks is in use or cached. */
void st__slab_free(struct st_vp *vp, struct st__slab *slab);
/* Puts a stack's guard in place unless it is there. -1 with ENOMEM. */
int st__slab_guard(struct st_vp *vp, struct st__stack *stack);

/* --- stack_depth.c --- */

/* Records how deeply a stack was used. To be called before its pages are given back. */
void st__depth_note(struct st_vp *vp, struct st__stack *stack);
/* Fills an unused stack with a pattern, by which st__depth_note() later sees how deeply it was
 * used. For a census. */
void st__depth_paint(struct st__stack *stack);
/* Clears what AddressSanitizer has poisoned in this memory. Does nothing in other builds. */
void st__depth_unpoison(const struct st__stack *stack);

#pragma GCC visibility pop

#endif /* ST_SLAB_H */
