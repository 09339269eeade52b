/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of libst's structures, for a reader in another process without debugging information
 * (stmstat/walk.c). Needs only the C library. Filled in by st/describe.c.
 */
#ifndef ST_DESCRIPTION_H
#define ST_DESCRIPTION_H

#include <stdint.h>

/* To be incremented whenever a member is added, removed or changes its meaning. */
enum { ST__DESCRIPTION_VERSION = 2 };
#define ST__DESCRIPTION_MAGIC UINT32_C(0x54534431)

/* Offsets and sizes are in bytes. */
struct st__layout {
    uint32_t magic, version;
    uint64_t process_vps; /* address of the pointer to the first VP */
    uint32_t vp_next, vp_tid, vp_current, vp_classes, vp_primordial;
    uint32_t class_next, class_size, class_guard, class_slabs;
    uint32_t slab_next, slab_memory, slab_fresh, slab_stacks;
    uint32_t stack_size, stack_thread;
    uint32_t thread_sp, thread_state, thread_start, thread_arg, thread_rest;
    uint32_t rest_low, rest_words;
};

/* The layout in this process. */
extern const struct st__layout st__description;

#endif /* ST_DESCRIPTION_H */
