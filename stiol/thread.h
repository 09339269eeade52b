/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State threads as pthreads: their records and who is who (identity.c), those that pthread_create()
 * made (made.c, thread.c), and kernel threads (kthread.c, aside.c).
 */
#ifndef STIOL_THREAD_H
#define STIOL_THREAD_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/** Makes the record the calling state thread's. 0, or -1: no memory. Does not yield. */
int stiol__become(stiol__thread_t *self);
/** Takes a thread that pthread_create() made off the VP's list. */
void stiol__unlist(stiol__thread_t *self);
/** What C11 calls a POSIX error number: thrd_success, thrd_busy and so on. */
int stiol__error11(int error);

/* --- identity.c. None of these yields --- */

/** Records, zeroed; NULL: no memory. Their memory is never anything else, so that the pthread_t of
 * a thread that has ended is still known for what it was. */
stiol__thread_t *stiol__record_new(void);
void stiol__record_free(stiol__thread_t *self);
/** After the last VP. Records of threads that nobody has joined stay. */
void stiol__records_stop(void);
/** The calling state thread's record; NULL: it is the kernel thread that is meant. Asked in signal
 * handlers as well, unlike stiol__here(): whom a signal interrupts is who runs its handler. */
stiol__thread_t *stiol__identified(void);
/** Whether that is so because the process is the child of a fork: then it is no state thread. */
bool stiol__is_survivor(const stiol__thread_t *self);
/** Before a fork, and in its child. */
void stiol__identity_forking(void);
void stiol__identity_forked(void);
/** The kernel thread's id that a tid stands for: another one for a state thread's. */
pid_t stiol__kernel_tid(pid_t tid);
/** For syscall(): puts kernel threads' ids into the arguments of the system calls that take one;
 * true: the call was SYS_gettid, and *result is its answer. */
bool stiol__syscall_identity(long number, long *arguments, long *result);

/** The record that a pthread_t means, NULL: a kernel thread's. A kernel thread's pthread_t is the
 * address of more memory than a record takes. */
static inline stiol__thread_t *stiol__record_of(pthread_t id)
{
    stiol__thread_t *thread = (stiol__thread_t *)id;

    if (!thread)
        return NULL;
    return thread->magic == STIOL_THREAD_MAGIC || thread->magic == STIOL_THREAD_ENDED ? thread
                                                                                      : NULL;
}

/* --- kthread.c: kernel threads, and state threads that wait for their ends --- */

/** pthread_create() of a kernel thread; start11 instead of start for thrd_create(). 0 or an error
 * number. Does not yield. */
int stiol__kthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                          int (*start11)(void *), void *arg);
/** pthread_join() of a kernel thread by a state thread, until the deadline (us): 0 or an error
 * number, ETIMEDOUT among them. Parks. */
int stiol__kthread_join(stiol__vp_t *vp, pthread_t id, void **result, st_utime_t deadline);
/** In a child after fork. */
void stiol__kthreads_forked(void);

/* --- aside.c: a kernel thread for one call that may take for ever. Its jobs are helper.c's --- */

#define STIOL_ASIDE_STACK (64 * 1024) /* bytes, beside what the C library takes from it */

/** As stiol__help(); how many wait is not bounded. Parks until there is a kernel thread to be had,
 * too. */
void stiol__aside(stiol__vp_t *vp, unsigned long long *helped, stiol__job_t *job);
/** Runs main(arg) on a detached kernel thread of its own, with a stack of so many bytes and all
 * signals blocked. 0 or an error number. */
int stiol__kernel_thread(void *(*main)(void *), void *arg, size_t stack_size);

#pragma GCC visibility pop

#endif /* STIOL_THREAD_H */
