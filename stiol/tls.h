/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each state thread has to itself though it shares a kernel thread with others: values of keys
 * (tsd.c), contents of thread-local variables (tls.c, tls_objects.c, tls_exit.c), settings of the C
 * library (settings.c) and the buffers of its results (texts.c, resolve.c). All of it is called on
 * the VP, and does not yield where nothing is said.
 */
#ifndef STIOL_TLS_H
#define STIOL_TLS_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/* --- tsd.c: thread-specific values. Called by stiol.c and thread.c --- */

/** On a VP that starts. */
void stiol__tsd_start(void);
/** On the thread that ends: runs its destructors, which are other people's code and may yield. */
void stiol__tsd_end(stiol__thread_t *self);
/** Ends the sets of values that no thread has; on the primordial thread, with STIOL still at work.
 * May yield. */
void stiol__tsd_stop(stiol__vp_t *vp);

/* --- tls_objects.c: the loaded objects that have thread-local variables --- */

/** One object's. Lives as long as it is listed or some VP has a block of it. */
typedef struct stiol__local stiol__local_t;

/** An object's thread-local variables on one kernel thread. */
typedef struct stiol__block {
    char *address;
    const char *image; /* what a new thread finds there */
    uint32_t size;
    uint32_t serial; /* of the object, never used again; a list of blocks is in its order */
    stiol__local_t *local;
} stiol__block_t;

/** Changes whenever the blocks of a kernel thread may have become others. */
extern _Atomic unsigned long stiol__locals_generation;
/** Looks for objects that have come or gone. On any kernel thread. -1: no memory. */
int stiol__locals_update(void);
/** Around a dlclose(): nobody may touch a block that goes. */
void stiol__locals_close(void);
void stiol__locals_closed(void);
/** The calling kernel thread's blocks in place of those before; 0 blocks gives them back. Their
 * count, or -1: no memory. *generation is what they are good for. */
int stiol__locals_here(stiol__block_t **blocks, int count, unsigned long *generation);
/** Gives such a list back. */
void stiol__locals_release(stiol__block_t *blocks, int count);
/** In a child after fork: another kernel thread may have held the lock. */
void stiol__locals_forked(void);
/* What of the C library's is a thread's, and of known place and size: its blocks come first. */
enum { STIOL_LOCAL_H_ERRNO, STIOL_LOCAL_RESOLVER, STIOL_LOCAL_OBJECTS };
/** A module knows where it is: from now on it is among the blocks. */
void stiol__locals_add(unsigned serial);
bool stiol__locals_have(unsigned serial);

/* --- tls_exit.c: destructors of C++'s thread_local objects --- */

typedef struct stiol__farewell {
    struct stiol__farewell *next;
    void (*destructor)(void *);
    void *object, *dso;
    void *handle; /* keeps the destructor's code loaded; NULL: it stays anyway */
} stiol__farewell_t;

/** Runs the calling thread's, the last one first; they may yield. */
void stiol__say_farewells(stiol__thread_t *self);
/** Hands the primordial thread's over to the C library. */
void stiol__leave_farewells(stiol__thread_t *self);

/* --- tls.c: each state thread's own contents of thread-local variables --- */

/** What a state thread has in thread-local variables while others run. NULL: as a new thread. */
typedef struct stiol__contents stiol__contents_t;

typedef struct stiol__settings stiol__settings_t;

typedef struct stiol__tls {
    stiol__block_t *blocks;
    stiol__block_t *
        *dirty; /* those that differ from their images, up to a NULL: at the last look */
    int count;
    unsigned long generation;       /* that the blocks are good for */
    stiol__settings_t *settings;    /* of whoever is in place; NULL: the usual ones */
    stiol__settings_t *usual;       /* as the VP has started with */
    stiol__contents_t **primordial; /* where the primordial thread's are kept, once it has waited */
    stiol__contents_t **in_place;   /* where those of whoever is in place will be kept */
} stiol__tls_t;

/** On a VP that starts: 0, or -1: no memory. */
int stiol__tls_start(stiol__vp_t *vp);
/** At its end. What is in place stays: the primordial thread's, which is the kernel thread's
 * own. */
void stiol__tls_stop(stiol__vp_t *vp);
/** What is in place now, for the caller to keep; -1: no memory. */
int stiol__tls_save(stiol__vp_t *vp, stiol__contents_t **contents);
/** Puts contents in place; they are the caller's still. */
void stiol__tls_load(stiol__vp_t *vp, stiol__contents_t *contents);
void stiol__tls_free(stiol__contents_t *contents);
/** As stiol__tls_load(), for a kernel thread's blocks. */
void stiol__tls_put(stiol__tls_t *tls, stiol__contents_t *contents);
/** Whether the primordial thread's are in place: also while another one's stack runs the
 * scheduler. */
bool stiol__tls_primordial(const stiol__vp_t *vp);

/* --- settings.c: locale, signal mask and the like. Called by tls.c and thread.c --- */

/** The VP's usual ones are those of now. 0, or -1: no memory. */
int stiol__settings_start(stiol__tls_t *tls);
/** Goes over from tls->settings. */
void stiol__settings_change(stiol__tls_t *tls, stiol__settings_t *to);
void stiol__settings_free(stiol__settings_t *settings);
/** The signal stack of a thread that has set none. */
const stack_t *stiol__settings_stack(const stiol__tls_t *tls);
/** The settings in place are of a thread that was run by another kernel thread, with that signal
 * stack: its own is another. */
void stiol__settings_move(stiol__tls_t *tls, const stack_t *before);
/** The signals that a thread blocks which has not asked for it; tls may be NULL. */
void stiol__settings_usual_mask(const stiol__tls_t *tls, sigset_t *mask);
/** The calling thread's signal mask, for one that it makes; 0: the usual one. */
uint64_t stiol__settings_mask(const stiol__vp_t *vp);
/** On the new thread: the mask is that of its maker. */
void stiol__settings_inherit(stiol__vp_t *vp, uint64_t mask);
/** dlopen() or dlclose() has failed: the thread may ask why after it has waited. */
void stiol__note_dlerror(stiol__vp_t *vp);

/* --- texts.c, resolve.c: buffers of results --- */

typedef struct stiol__texts stiol__texts_t;

/** At a thread's end. */
void stiol__texts_free(stiol__thread_t *self);
void stiol__host_free(stiol__thread_t *self);
/** At a thread's end: closes what the resolver has open for it, as glibc does. */
void stiol__resolver_end(void);
/** Fills in one of the C library's blocks. */
void stiol__library_block(stiol__block_t *block);

#pragma GCC visibility pop

#endif /* STIOL_TLS_H */
