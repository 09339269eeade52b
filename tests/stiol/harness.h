/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of STIOL share: a child process with a fresh VP for each test, a record of the
 * order in which things happen (no test is decided by time), and the objects that make the calls.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <setjmp.h>
#include <stdarg.h>

#include "tests/stiol/objects/table.h"

#include <cmocka.h>
#ifdef SHIM_CMOCKA_H
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cmocka_run_group_tests_name(#tests, tests, setup, teardown)
#endif

/* Rows of a test table; the body runs in a child: VP_TEST on a VP with STIOL started, RAW_TEST
 * without either. */
#define VP_TEST(body)                                                                              \
    {                                                                                              \
#body, run_on_vp, NULL, NULL, (void *)(uintptr_t)(body)                                    \
    }
#define RAW_TEST(body)                                                                             \
    {                                                                                              \
#body, run_raw, NULL, NULL, (void *)(uintptr_t)(body)                                      \
    }

extern void run_on_vp(void **state);
extern void run_raw(void **state);

/* Ends the child as failed; may be used on any stack and kernel thread. */
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            check_failed(__FILE__, __LINE__, #what, errno);                                        \
    } while (0)
extern void check_failed(const char *file, int line, const char *what, int error)
    __attribute__((noreturn));

/* Ends the child as skipped. */
extern void skip_test(const char *why) __attribute__((noreturn));

/* Starts STIOL with the tests' objects; what VP_TEST does first. */
extern void start_vp(void);
extern void stop_vp(void);
extern const stiol_config_t test_config;

/* --- order --- */
extern void note(char what);    /* appends to the record */
extern const char *noted(void); /* the record, a string */
extern void forget_notes(void);

/* --- state threads --- */
extern st_thread_t spawn(void *(*start)(void *), void *arg);
extern void reap(void);   /* joins all that were spawned, in order */
extern void settle(void); /* lets all that are ready run, and I/O be polled, for some turns */
/* Spawned, counts in *(int *)arg how often it had its turn, until `stop_ticking`. */
extern void *ticker(void *arg);
extern bool stop_ticking;
/* Spawned, has some turns, notes 't' and writes a byte to *(int *)arg: only then may the other end
 * let go. */
extern void *tell(void *arg);

/* A kernel thread that is no VP. */
extern pthread_t kernel_thread(void *(*start)(void *), void *arg);
extern void join_kernel_thread(pthread_t id);
/* How many there are, the VP's included; an emulator's own are not counted. */
extern int kernel_threads(void);

/* Runs body in another child with `off` switched off; its exit status, 124 if it hung. */
extern int without(unsigned off, void (*body)(void));

extern void socket_pair(int fds[2], bool nonblocking);
extern stiol_counters_t counters(void);

#endif
