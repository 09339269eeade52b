/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loaded objects: their slots (elf.c), rebound (rebind.c), and unloading (dl.c). All of it may
 * run on any kernel thread, and nothing here yields.
 */
#ifndef STIOL_REBIND_H
#define STIOL_REBIND_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/* --- elf.c --- */

struct dl_phdr_info;

/** Whether an object is one of those that are never rebound, such as the C library. */
bool stiol__is_system(const struct dl_phdr_info *info);
/** Whether it is the object that holds STIOL. */
bool stiol__is_own(const struct dl_phdr_info *info);

/** A slot that the walk found. */
typedef struct stiol__found {
    stiol_slot_t slot;
    const stiol__call_t *call;
    void *replacement; /* of the call in this object */
    void **address;
    uintptr_t base; /* of the object; identifies it, together with its dynamic section */
    const void *dynamic;
    uintptr_t protected_low, protected_high; /* pages that are read-only after relocation (RELRO) */
} stiol__found_t;

typedef int (*stiol__found_cb_t)(const stiol__found_t *found, void *data);

/** Chooses the objects to be looked through. */
typedef bool (*stiol__chosen_t)(const struct dl_phdr_info *info);

/** Calls cb for each slot that refers to a call in the table, in the chosen objects (NULL: in all);
 * a nonzero result ends the walk and is returned. */
int stiol__walk(const char *const *thread_objects, stiol__chosen_t chosen, stiol__found_cb_t cb,
                void *data);

#ifdef STIOL_TESTING
/** How many objects stiol__walk() has looked through so far. */
extern unsigned stiol__looked_through;
#endif

/** How many objects ld.so has loaded and unloaded so far. */
typedef struct stiol__counts {
    unsigned long long adds, subs;
} stiol__counts_t;

stiol__counts_t stiol__count_objects(void);
/** stiol_config_t.thread_objects where it is NULL. */
extern const char *const stiol__default_thread_objects[];
/** stiol_add_calls(); -1: too many. */
int stiol__add_extras(const stiol_extra_t *extras, int count);
/** stiol_remove_calls(). */
void stiol__remove_extras(const stiol_extra_t *extras, int count);

/* --- loader.c --- */

/** Calls act(data) while no other kernel thread loads or unloads an object or runs its constructors
 * or destructors; may wait for that. Returns act()'s result, or -1 if act() cannot be called, and
 * stiol_error() says why. Any lock that act() takes is taken inside ld.so's own lock, so ld.so must
 * never be called with it held. */
int stiol__with_loader_locked(int (*act)(void *data), void *data);

/* --- rebind.c --- */

/** Rebinds all slots. Returns 0, or -1: none is rebound, and stiol_error() says why. */
int stiol__rebind(const char *const *thread_objects);
/** To be called after dlopen() and after dlclose(). Does nothing if nothing is rebound. */
void stiol__rebind_more(void);
/** After dlclose(): forgets the slots of objects that are gone. */
void stiol__rebind_less(void);
/** Restores the original contents of the slots. */
void stiol__restore(void);
/** Sets what stiol_error() says. */
void stiol__fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- dl.c --- */

/** dlclose() for our own code that releases an object, which may then be unloaded. */
int stiol__unload(void *handle);

#pragma GCC visibility pop

#endif /* STIOL_REBIND_H */
