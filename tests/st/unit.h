/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit test of libst shares: a child process and a fresh virtual processor for each
 * test, a virtual clock, and connected descriptors. Built also with -DUNIT_ST19 against State
 * Threads 1.9, which proves the tests themselves.
 */
#ifndef UNIT_H
#define UNIT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <st.h>

/* The event system to ask for. Debian's 1.9 was built without epoll, and its select stops at 1,024
 * descriptors. */
#ifdef UNIT_ST19
#define UNIT_EVENTSYS ST_EVENTSYS_POLL
#else
#define UNIT_EVENTSYS ST_EVENTSYS_ALT
#endif

/*
 * Rows of a test table. Each body runs in a forked child, so that a crash, a hang or a failed
 * assertion on any stack or kernel thread costs that test alone. UNIT          on the primordial
 * thread of a fresh VP, which must be whole again (st_destroy) at the end UNIT_VIRTUAL  the same,
 * with a clock that only unit_advance() moves UNIT_RAW      without st_init
 */
#define UNIT(body)                                                                                 \
    {                                                                                              \
#body, unit_run, NULL, NULL, (void *)(uintptr_t)(body)                                     \
    }
#define UNIT_VIRTUAL(body)                                                                         \
    {                                                                                              \
#body, unit_run_virtual, NULL, NULL, (void *)(uintptr_t)(body)                             \
    }
#define UNIT_RAW(body)                                                                             \
    {                                                                                              \
#body, unit_run_raw, NULL, NULL, (void *)(uintptr_t)(body)                                 \
    }

void unit_run(void **state);
void unit_run_virtual(void **state);
void unit_run_raw(void **state);

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

/* Ends this test as skipped, with the reason on stderr. Only inside a body. */
void unit_skip(const char *reason) __attribute__((noreturn));

/* n, or a smaller number where each step costs far more (Valgrind: $TEST_SCALE divides). At
 * least 1. */
int unit_scaled(int n);

/* Nonzero under Valgrind ($TEST_VALGRIND), which objects to what some tests do on purpose. */
int unit_valgrind(void);

/* Nonzero under an emulator of another processor, which has mappings and limits of its own. */
int unit_emulated(void);

/* Makes the compiler believe that others look at this memory: it must be there, whole. */
static inline void unit_escape(volatile void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* --- the virtual clock, in us ----------------------------------------------------------------- */
extern st_utime_t unit_clock;
st_utime_t unit_clock_read(void);
/* Moves the clock and lets every thread whose time has come run until it waits again. */
void unit_advance(st_utime_t us);
/* Lets every ready thread run, and I/O be polled, a few turns long. */
void unit_settle(void);

/* --- descriptors ------------------------------------------------------------------------------ */
/* Two connected stream sockets, both as netfds. */
void unit_pair(st_netfd_t *left, st_netfd_t *right);
/* One end as a netfd; *osfd, the other end, is a plain non-blocking descriptor that libst does not
 * know. */
st_netfd_t unit_half(int *osfd);
void unit_socketpair(int fds[2]);
/* A listening TCP socket on a free loopback port; its address goes to *addr. */
int unit_listen(struct sockaddr_storage *addr, socklen_t *len);
/* Writes until the socket's buffer is full; returns the bytes written. */
size_t unit_fill(int osfd);
/* Reads and drops n bytes, however they come. */
void unit_drain(int osfd, size_t n);
/* Number of open descriptors of this process. */
int unit_count_fds(void);

/* --- child processes of a test ---------------------------------------------------------------- */
/* Runs body in another child; returns its wait status. For tests of crashes and of exit codes. */
int unit_child(void (*body)(void));

#endif
