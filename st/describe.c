/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Describes libst's structures to readers outside the process. Nothing in libst reads it.
 */
#include "include/st_description.h"

#include "st/slab.h"

_Static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8 && sizeof(pid_t) == 4,
               "readers rely on these sizes");

const struct st__layout st__description = {
    .magic = ST__DESCRIPTION_MAGIC,
    .version = ST__DESCRIPTION_VERSION,
    .process_vps = (uintptr_t)&st__process.vps,
    .vp_next = offsetof(struct st_vp, next_vp),
    .vp_tid = offsetof(struct st_vp, tid),
    .vp_current = offsetof(struct st_vp, current),
    .vp_classes = offsetof(struct st_vp, stacks.classes),
    .vp_primordial = offsetof(struct st_vp, primordial),
    .class_next = offsetof(struct st__stack_class, next),
    .class_size = offsetof(struct st__stack_class, size),
    .class_guard = offsetof(struct st__stack_class, guard),
    .class_slabs = offsetof(struct st__stack_class, slabs),
    .slab_next = offsetof(struct st__slab, next),
    .slab_memory = offsetof(struct st__slab, memory),
    .slab_fresh = offsetof(struct st__slab, fresh),
    .slab_stacks = offsetof(struct st__slab, stacks),
    .stack_size = sizeof(struct st__stack),
    .stack_thread = offsetof(struct st__stack, thread),
    .thread_sp = offsetof(struct st_thread, sp),
    .thread_state = offsetof(struct st_thread, state),
    .thread_start = offsetof(struct st_thread, start),
    .thread_arg = offsetof(struct st_thread, arg),
    .thread_rest = offsetof(struct st_thread, rest),
    .rest_low = offsetof(struct st__rest, low),
    .rest_words = offsetof(struct st__rest, words),
};
