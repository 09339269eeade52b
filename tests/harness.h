/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the unit tests of all parts share: a child process for each test, two kinds of assertions, a
 * record of the order in which things happen, and descriptors. Needs the C library and cmocka only;
 * tests/vp.h adds virtual processors and state threads.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/*
 * A row of a test table. Its body runs in a forked child, so that a crash, a hang or a failed
 * assertion on any stack or kernel thread costs that test alone.
 */
#define TEST_ROW(body, run)                                                                        \
    {                                                                                              \
        .name = #body, .test_func = (run), .initial_state = (void *)(uintptr_t)(body)              \
    }
#define RAW_TEST(body) TEST_ROW(body, run_raw)

void run_raw(void **state);

/** Runs before(), body() and after() in a child, each of which may be NULL, and judges its end. */
void run_in_child(void (*before)(void), void (*body)(void), void (*after)(void));

/** Runs body in a child; returns its wait status. For tests of crashes and of exit codes. */
int run_child(void (*body)(void));

/** As a shell has it: the exit status, or 128 and the signal's number. */
int shell_status(int wait_status);

/** Ends this test as skipped, with the reason on stderr. Only inside a body. */
void skip_test(const char *why) __attribute__((noreturn));

/* --- assertions cmocka's abort the child wherever they fail --- */

/* CHECK says errno and the record, too. */
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            check_failed(__FILE__, __LINE__, #what, errno);                                        \
    } while (0)
void check_failed(const char *file, int line, const char *what, int error)
    __attribute__((noreturn));

/* Fails unless the call returns -1 (or NULL) with this errno. */
#define assert_fails(call, err)                                                                    \
    do {                                                                                           \
        errno = 0;                                                                                 \
        assert_int_equal((call), -1);                                                              \
        assert_int_equal(errno, (err));                                                            \
    } while (0)
#define assert_null_errno(call, err)                                                               \
    do {                                                                                           \
        errno = 0;                                                                                 \
        assert_null(call);                                                                         \
        assert_int_equal(errno, (err));                                                            \
    } while (0)
#define assert_ok(call) assert_int_equal((call), 0)

/* --- how the tests are run --- */
/** n, or a smaller number where each step costs far more (Valgrind: $TEST_SCALE divides). At
 * least 1. */
int scaled(int n);

/** Under Valgrind ($TEST_VALGRIND), which objects to what some tests do on purpose. */
bool under_valgrind(void);

/** Under an emulator of another processor, which has mappings and limits of its own. */
bool under_emulator(void);

/** Ends this process by SIGALRM if it hangs. For a child that a test itself forks: each test's own
 * process has it already. */
void end_if_hung(void);

/** Makes the compiler believe that others look at this memory: it must be there, whole. */
static inline void escape(volatile void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* --- order: no test is decided by time --- */
void note(char what);    /* appends to the record */
const char *noted(void); /* the record, a string */
void forget_notes(void);

/* --- kernel threads --- */
pthread_t kernel_thread(void *(*start)(void *), void *arg);
void join_kernel_thread(pthread_t id);
/** How many the child has, its first included; an emulator's own are not counted. */
int kernel_threads(void);

/* --- descriptors --- */
/** Two connected stream sockets. */
void socket_pair(int fds[2], bool nonblocking);
/** A listening TCP socket on a free loopback port; its address goes to *addr. */
int listen_on_loopback(struct sockaddr_storage *addr, socklen_t *len);
/** Writes until the non-blocking socket's buffer is full; returns the bytes written. */
size_t fill_socket(int osfd);
/** How many descriptors this process has open. */
int open_descriptors(void);

#endif /* HARNESS_H */
