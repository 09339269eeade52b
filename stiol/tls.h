/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each state thread has to itself, though it shares a kernel thread with others: values of
 * keys (tsd.c), contents of thread-local variables (tls.c, tls_objects.c, tls_exit.c), settings of
 * the C library (settings.c) and the buffers of its results (texts.c, entry.c). All of it is
 * called on the VP, and does not yield unless it says so.
 */
#ifndef STIOL_TLS_H
#define STIOL_TLS_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/* --- tsd.c: thread-specific values. Called by stiol.c and thread.c --- */

/** Called when a VP starts. */
void stiol__tsd_start(void);
/** Called on the ending thread: runs its destructors, which are foreign code and may yield. */
void stiol__tsd_end(stiol__thread_t *self);
/** Destroys the sets of values that no thread has; called on the primordial thread, with STIOL
 * still active. May yield. */
void stiol__tsd_stop(stiol__vp_t *vp);

/* --- tls_objects.c: the loaded objects that have thread-local variables --- */

/** One object's. Exists as long as it is listed or some VP has a block of it. */
typedef struct stiol__local stiol__local_t;

/** An object's thread-local variables on one kernel thread. */
typedef struct stiol__block {
    char *address;
    const char *image; /* the initial contents in a new thread */
    uint32_t size;
    uint32_t serial; /* of the object, never reused; lists of blocks are sorted by it */
    stiol__local_t *local;
} stiol__block_t;

/** Changes whenever the blocks of a kernel thread may have changed. */
extern _Atomic unsigned long stiol__locals_generation;
/** Looks for objects that were loaded or unloaded. May be called on any kernel thread. -1: no
 * memory. */
int stiol__locals_update(void);
/** Called before and after dlclose(): nobody may touch a block that is going away. */
void stiol__locals_close(void);
/** dlclose() has returned. */
void stiol__locals_closed(void);
/** Replaces a list (count 0: none yet) with the calling kernel thread's current blocks. Returns
 * their count, or -1: no memory. *generation says for which generation they are valid. */
int stiol__locals_here(stiol__block_t **blocks, int count, unsigned long *generation);
/** Frees such a list. */
void stiol__locals_release(stiol__block_t *blocks, int count);
/** In a child after fork: another kernel thread may have held the lock. */
void stiol__locals_forked(void);
/* Per-thread data of the C library, of known place and size: its blocks come first. */
enum { STIOL_LOCAL_H_ERRNO, STIOL_LOCAL_RESOLVER, STIOL_LOCAL_OBJECTS };
/** A module knows its address: from now on it is among the blocks. */
void stiol__locals_add(unsigned serial);
/** Whether that has been called for it. */
bool stiol__locals_have(unsigned serial);

/* --- tls_exit.c: destructors of C++'s thread_local objects --- */

typedef struct stiol__farewell {
    struct stiol__farewell *next;
    void (*destructor)(void *);
    void *object, *dso;
    void *handle; /* keeps the destructor's code loaded; NULL: it stays loaded anyway */
} stiol__farewell_t;

/** Runs the calling thread's, last one first; they may yield. */
void stiol__say_farewells(stiol__thread_t *self);
/** Hands over the primordial thread's to the C library. */
void stiol__leave_farewells(stiol__thread_t *self);

/* --- tls.c: each state thread's own contents of thread-local variables --- */

/** What a state thread has in its thread-local variables while others run. NULL: as in a new
 * thread. */
typedef struct stiol__contents stiol__contents_t;

typedef struct stiol__settings stiol__settings_t;

typedef struct stiol__tls {
    stiol__block_t *blocks;
    stiol__block_t *
        *dirty; /* those that differed from their images at the last check, up to a NULL */
    int count;
    unsigned long generation;       /* for which the blocks are valid */
    stiol__settings_t *settings;    /* of the thread in place; NULL: the usual ones */
    stiol__settings_t *usual;       /* those the VP started with */
    stiol__contents_t **primordial; /* where the primordial thread's are kept, once it has waited */
    stiol__contents_t **in_place;   /* where those of the thread in place will be kept */
} stiol__tls_t;

/** Called when a VP starts. Returns 0, or -1: no memory. */
int stiol__tls_start(stiol__vp_t *vp);
/** Called at its end. What is in place stays: the primordial thread's, which is the kernel thread's
 * own. */
void stiol__tls_stop(stiol__vp_t *vp);
/** Saves what is in place now, for the caller to keep; -1: no memory. */
int stiol__tls_save(stiol__vp_t *vp, stiol__contents_t **contents);
/** Puts contents in place; they still belong to the caller. */
void stiol__tls_load(stiol__vp_t *vp, stiol__contents_t *contents);
/** Frees contents that are not in place; NULL is harmless. */
void stiol__tls_free(stiol__contents_t *contents);
/** Like stiol__tls_load(), for a kernel thread's blocks. */
void stiol__tls_put(stiol__tls_t *tls, stiol__contents_t *contents);
/** Whether the primordial thread's are in place, even while the scheduler runs on another one's
 * stack. */
bool stiol__tls_primordial(const stiol__vp_t *vp);

/* --- settings.c: locale, signal mask and the like. Called by tls.c and thread.c --- */

/** Takes the current settings as the VP's usual ones. Returns 0, or -1: no memory. */
int stiol__settings_start(stiol__tls_t *tls);
/** Changes from tls->settings to those. */
void stiol__settings_change(stiol__tls_t *tls, stiol__settings_t *to);
/** Frees settings that are not in place. */
void stiol__settings_free(stiol__settings_t *settings);
/** The signal stack of a thread that has set none. */
const stack_t *stiol__settings_stack(const stiol__tls_t *tls);
/** The settings in place belong to a thread that another kernel thread ran, with that signal stack:
 * this one's is different. */
void stiol__settings_move(stiol__tls_t *tls, const stack_t *before);
/** The signals that are blocked in a thread that has not changed its mask; tls may be NULL. */
void stiol__settings_usual_mask(const stiol__tls_t *tls, sigset_t *mask);
/** The calling thread's signal mask, for a thread that it creates; 0: the usual one. */
uint64_t stiol__settings_mask(const stiol__vp_t *vp);
/** Called on the new thread: sets the mask of its creator. */
void stiol__settings_inherit(stiol__vp_t *vp, uint64_t mask);
/** dlopen() or dlclose() has failed: the thread may ask why after it has waited. */
void stiol__note_dlerror(stiol__vp_t *vp);

/* --- texts.c: buffers of results --- */

typedef struct stiol__texts stiol__texts_t;

/** Called when a thread ends. */
void stiol__texts_free(stiol__thread_t *self);
/** Called when a thread ends: closes what the resolver has open for it, as glibc does. */
void stiol__resolver_end(void);
/** Fills in one of the C library's blocks. */
void stiol__library_block(stiol__block_t *block);

#pragma GCC visibility pop

#endif /* STIOL_TLS_H */
