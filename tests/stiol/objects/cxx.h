/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What objects/cxx.cc does, for test_cxx.c.
 */
#ifndef CXX_H
#define CXX_H

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the process has one thread, as glibc tells libstdc++. */
int cxx_single_threaded(void);
/* A static whose initialiser sleeps; 1. */
int cxx_static(void);
int cxx_times_made(void);
/* Sixteen of them; 16. */
int cxx_many_statics(void);
/* Throws at the first try (-1), then 2. */
int cxx_static_that_fails_once(void);
/* Does not return: the exception of that leaves a function that cannot throw. */
int cxx_static_that_needs_itself(void);

int cxx_get_future(void);
void cxx_set_future(int value);
/* By another thread, which sleeps; milliseconds. */
int cxx_get_from_thread(int milliseconds);
/* A future that has no value in time; 1. */
int cxx_future_in_time(int milliseconds);

void cxx_wait_while(int value); /* std::atomic */
void cxx_set_word(int value);
void cxx_acquire(void); /* std::counting_semaphore */
void cxx_release(int count);
void cxx_arrive_at_latch(void);       /* of three */
void cxx_meet_at_barrier(int rounds); /* of three */

/* Takes a lock of each kind and counts who is inside; how often it was not alone. */
int cxx_use_locks(int *inside);
void cxx_wait_until_told(void);
void cxx_tell(void);

#ifdef __cplusplus
}
#endif

#endif
