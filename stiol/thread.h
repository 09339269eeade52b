/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State threads as pthreads: their records and identities (identity.c), those that pthread_create()
 * created (made.c, thread.c), and kernel threads (kthread.c, aside.c).
 */
#ifndef STIOL_THREAD_H
#define STIOL_THREAD_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/** Makes this the calling state thread's record. Returns 0, or -1: no memory. Does not yield. */
int stiol__become(stiol__thread_t *self);
/** Removes a thread that pthread_create() created from the VP's list. */
void stiol__unlist(stiol__thread_t *self);
/** The C11 name of a POSIX error number: thrd_success, thrd_busy and so on. */
int stiol__error11(int error);

/* --- identity.c. None of these yields --- */

/** Allocates a record, zeroed; NULL: no memory. Its memory is never used for anything else, so that
 * the pthread_t of a thread that has ended is still recognised. */
stiol__thread_t *stiol__record_new(void);
/** Gives a record back; its pthread_t is recognised as one that has ended. */
void stiol__record_free(stiol__thread_t *self);
/** Called after the last VP. Records of threads that nobody has joined stay. */
void stiol__records_stop(void);
/** The calling state thread's record; NULL: the kernel thread is meant. Unlike stiol__here(), works
 * in signal handlers as well: the thread that a signal interrupts runs its handler. */
stiol__thread_t *stiol__identified(void);
/** Whether that is because the process is the child of a fork: then it is not a state thread. */
bool stiol__is_survivor(const stiol__thread_t *self);
/** To be called before a fork, and in its child. */
void stiol__identity_forking(void);
/** In the child of a fork. */
void stiol__identity_forked(void);
/** The id of the kernel thread that a tid stands for: a different one if it is a state thread's. */
pid_t stiol__kernel_tid(pid_t tid);
/** For syscall(): puts kernel threads' ids into the arguments of system calls that take one; true:
 * the call was SYS_gettid, and *result is its result. */
bool stiol__syscall_identity(long number, long *arguments, long *result);

/** The record that a pthread_t refers to; NULL for a kernel thread's. A kernel thread's pthread_t
 * is the address of more memory than a record takes. */
static inline stiol__thread_t *stiol__record_of(pthread_t id)
{
    stiol__thread_t *thread = (stiol__thread_t *)id;

    if (!thread)
        return NULL;
    return thread->magic == STIOL_THREAD_MAGIC || thread->magic == STIOL_THREAD_ENDED ? thread
                                                                                      : NULL;
}

/* --- kthread.c: kernel threads, and state threads that wait for their ends --- */

/** pthread_create() of a kernel thread; start11 instead of start for thrd_create(). Returns 0 or an
 * error number. Does not yield. */
int stiol__kthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                          int (*start11)(void *), void *arg);
/** pthread_join() of a kernel thread by a state thread, until the deadline (us). Returns 0 or an
 * error number, possibly ETIMEDOUT. Parks. */
int stiol__kthread_join(stiol__vp_t *vp, pthread_t id, void **result, st_utime_t deadline);
/** In a child after fork. */
void stiol__kthreads_forked(void);

/* --- aside.c: a kernel thread for one call that may never return. Its jobs are helper.c's --- */

#define STIOL_ASIDE_STACK (64 * 1024) /* bytes, in addition to what the C library takes from it */

/** Like stiol__help(), but any number may wait. If no kernel thread is available, parks until there
 * is one. */
void stiol__aside(stiol__vp_t *vp, unsigned long long *helped, stiol__job_t *job);
/** Runs main(arg) on a detached kernel thread of its own, with a stack of that many bytes and all
 * signals blocked except those of faults. Returns 0 or an error number. */
int stiol__kernel_thread(void *(*main)(void *), void *arg, size_t stack_size);

#pragma GCC visibility pop

#endif /* STIOL_THREAD_H */
