/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loaded objects: their slots (elf.c), rebound (rebind.c), and unloading (dl.c). All of it may
 * happen on any kernel thread, and nothing here yields.
 */
#ifndef STIOL_REBIND_H
#define STIOL_REBIND_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/* --- elf.c --- */

struct dl_phdr_info;

/** Whether an object is one of those that are never rebound, the C library and its like. */
bool stiol__is_system(const struct dl_phdr_info *info);
/** Whether it is the one that holds STIOL. */
bool stiol__is_own(const struct dl_phdr_info *info);

/** A slot that the walk found. */
typedef struct stiol__found {
    stiol_slot_t slot;
    const stiol__call_t *call;
    void *replacement; /* of the call in this object */
    void **address;
    uintptr_t base; /* of the object, with its dynamic section this identifies it */
    const void *dynamic;
    uintptr_t protected_low, protected_high; /* pages that are read-only after relocation (RELRO) */
} stiol__found_t;

typedef int (*stiol__found_cb_t)(const stiol__found_t *found, void *data);

/** Calls cb for each slot that refers to a call of the table; a nonzero result ends the walk and is
 * returned. */
int stiol__walk(const char *const *thread_objects, stiol__found_cb_t cb, void *data);
/** stiol_config_t.thread_objects where it is NULL. */
extern const char *const stiol__default_thread_objects[];
/** The calls of stiol_add_calls() in place of those before; -1: too many. */
int stiol__set_extras(const stiol_extra_t *extras, int count);

/* --- rebind.c --- */

/** Rebinds all slots. 0, or -1: none of them is rebound, and stiol_error() says why. */
int stiol__rebind(const char *const *thread_objects);
/** After a dlopen(), and after a dlclose(): nothing if nothing is rebound. */
void stiol__rebind_more(void);
void stiol__rebind_less(void);
/** Puts back what was in the slots. */
void stiol__restore(void);
/** Sets what stiol_error() says. */
void stiol__fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- dl.c --- */

/** dlclose(), for code of our own that gives back an object that may then be unloaded. */
int stiol__unload(void *handle);

#pragma GCC visibility pop

#endif /* STIOL_REBIND_H */
