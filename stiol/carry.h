/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel threads (carriers) that run state threads: what carry.c, carriers.c, carry_locks.c and
 * tls_move.c share, and what other files need of them.
 */
#ifndef STIOL_CARRY_H
#define STIOL_CARRY_H

#include "stiol/tls.h"

#pragma GCC visibility push(hidden)

/** Where the blocks of a kernel thread are. */
typedef struct stiol__places stiol__places_t;
typedef struct stiol__carried_lock stiol__carried_lock_t;
typedef struct stiol__carriers stiol__carriers_t;

/** What a carrier is to do for a state thread; on the latter's stack. */
typedef struct stiol__load {
    st_remote_t remote;
    struct stiol__load *next; /* in line */
    st_vp_t vp;
    st_thread_t thread;
    stiol__thread_t *self;
    void (*function)(void *data);
    void *data;
    /* What goes along, and comes back: */
    stiol__contents_t *contents;
    stiol__places_t *places; /* where the contents were; NULL: variables are shared */
    stack_t usual_stack;     /* where it comes from */
    stiol__carried_lock_t *locks;
    unsigned lock_count;
    int error;    /* errno */
    bool waiting; /* in line; guarded by the lock */
    bool exited;  /* the thread has called pthread_exit() */
    bool done;
} stiol__load_t;

/** A kernel thread that runs state threads, one at a time. */
typedef struct stiol__carriage {
    stiol__thread_t *self; /* the one it is running */
    pthread_t id;
    pid_t tid;
    stiol__tls_t *tls;
    stiol__carried_lock_t *locks; /* locks that the thread holds and glibc knows as ours */
    unsigned lock_count, lock_room;
    sigjmp_buf exit;
} stiol__carriage_t;

/** The calling kernel thread's, while it runs a state thread; else NULL. */
extern __thread stiol__carriage_t *stiol__carriage __attribute__((tls_model("initial-exec")));

/** The state thread that the calling kernel thread runs for its VP, or NULL. */
static inline stiol__thread_t *stiol__carried(void)
{
    return STIOL_UNLIKELY(stiol__carriage) ? stiol__carriage->self : NULL;
}

/** Runs the load's state thread on the calling carrier, until its function returns or calls
 * pthread_exit(). */
void stiol__carry_out(stiol__carriage_t *carriage, stiol__load_t *load);
/** The state thread on the calling carrier has been unwound by pthread_exit(): continues after
 * stiol__carry_out()'s call of it. */
void stiol__carriage_left(void) __attribute__((noreturn));
/** Puts it in line; -1: no kernel thread is available. */
int stiol__carriers_hand_in(stiol__vp_t *vp, stiol__load_t *load);
/** Takes it out of the line; false: it has already begun. */
bool stiol__carriers_take_back(stiol__vp_t *vp, stiol__load_t *load);
/** Ends the VP's carriers; no state thread may be waiting for any of them. Called by stiol.c. */
void stiol__carriers_stop(stiol__vp_t *vp);

/** The calling kernel thread's variables, to be exchanged. Ends the process if there is no
 * memory. */
stiol__tls_t *stiol__tls_carrier(void);
/** Frees what stiol__tls_carrier() returned. */
void stiol__tls_carrier_ends(stiol__tls_t *tls);
/** Saves what is in place now, with its places. Ends the process if there is no memory. */
void stiol__tls_keep_all(stiol__tls_t *tls, stiol__contents_t **contents, stiol__places_t **places);
/** The current addresses of the blocks; NULL: no memory. The caller frees it. */
stiol__places_t *stiol__places_of(const stiol__tls_t *tls);
/** The variables in place have come from the addresses `from` with that thread: adjusts the
 * pointers among them to where they are now. */
void stiol__tls_move(const stiol__tls_t *tls, const stiol__places_t *from, stiol__thread_t *self);

/** carry_locks.c, on the VP: lists the locks that the calling state thread takes along, before it
 * is handed over. Until they are back, the VP does not take any of them for free. */
void stiol__locks_leave(stiol__vp_t *vp, stiol__load_t *load);
/** On the VP: takes over the locks that the state thread has brought back. */
void stiol__locks_return(stiol__vp_t *vp, stiol__load_t *load);
/** On the carrier: makes it the owner of the locks that come with the load. */
void stiol__locks_arrive(stiol__carriage_t *carriage, stiol__load_t *load);
/** On the carrier: puts the locks that go back into the load. */
void stiol__locks_depart(stiol__carriage_t *carriage, stiol__load_t *load);
/** On any kernel thread: a real lock() of the mutex has returned rc. Returns what the caller is to
 * return: rc, or EAGAIN if there is no memory to note the lock, which has then been released
 * again. */
int stiol__carried_took(pthread_mutex_t *mutex, int rc);
/** The mutex is about to be unlocked; its memory may be gone afterwards. */
void stiol__carried_gives(const pthread_mutex_t *mutex);
/** Like stiol__carried_took() for a read-write lock: a real wrlock() has returned rc. */
int stiol__carried_writes(pthread_rwlock_t *lock, int rc);
/** Like stiol__carried_gives() for a read-write lock, which a writer or a reader will unlock. */
void stiol__carried_ends(const pthread_rwlock_t *lock);

#pragma GCC visibility pop

#endif /* STIOL_CARRY_H */
