/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the unit tests on libst share: a fresh virtual processor for each test, a clock that the
 * test moves, state threads, netfds, and kernel threads that wake a state thread. Built also with
 * -DTEST_ST19 against State Threads 1.9, which proves the tests themselves.
 */
#ifndef VP_H
#define VP_H

#include "tests/harness.h"

#include <st.h>

/* The event system to ask for. Debian's 1.9 was built without epoll, and its select stops at 1,024
 * descriptors. */
#ifdef TEST_ST19
#define TEST_EVENTSYS ST_EVENTSYS_POLL
#else
#define TEST_EVENTSYS ST_EVENTSYS_ALT
#endif

/*
 * Rows of a test table, beside RAW_TEST:
 *   VP_TEST       on the primordial thread of a fresh VP, which must be whole again at the end
 *   VIRTUAL_TEST  the same, with a clock that only advance_clock() moves
 */
#define VP_TEST(body)      TEST_ROW(body, run_on_vp)
#define VIRTUAL_TEST(body) TEST_ROW(body, run_on_vp_with_virtual_clock)

void run_on_vp(void **state);
void run_on_vp_with_virtual_clock(void **state);

/** What a VP_TEST does first and last. A part that has more to start has functions of its own. */
void start_vp(void);
void stop_vp(void);

/* --- the virtual clock, in us --- */
extern st_utime_t virtual_clock;
st_utime_t read_virtual_clock(void);
/** Moves the clock and lets every thread whose time has come run until it waits again. */
void advance_clock(st_utime_t us);

/* --- state threads --- */
/** Lets all that are ready run, and I/O be polled, for some turns. */
void settle(void);
st_thread_t spawn(void *(*start)(void *), void *arg);
/** Joins all that were spawned, in order; stop_vp() does it, too. */
void reap(void);
/** Spawned, counts in *(int *)arg how often it had its turn, until `stop_ticking`. Who waits for
 * some time gives way only if the end of that is still to come, and it may be past if the machine
 * has stood still: such a wait is repeated until there was a tick. */
void *ticker(void *arg);
extern bool stop_ticking;
/** Spawned, has some turns, notes 't' and writes a byte to *(int *)arg: only then may the other end
 * let go. */
void *tell(void *arg);

/* --- netfds --- */
/** Two connected stream sockets, both as netfds. */
void netfd_pair(st_netfd_t *left, st_netfd_t *right);
/** One end as a netfd; *osfd, the other end, is a plain non-blocking descriptor that libst does not
 * know. */
st_netfd_t netfd_half(int *osfd);
/** Reads and drops n bytes, however they come. */
void drain_socket(int osfd, size_t n);

#ifndef TEST_ST19
/* --- wake-ups from elsewhere --- */
typedef struct wakeup {
    st_remote_t remote; /* first: wake() casts back */
    st_vp_t vp;
    st_thread_t thread; /* who is woken */
    pid_t tid;          /* of the VP's kernel thread */
    int calls;
    void (*when)(struct wakeup *wakeup);
} wakeup_t;

/** For the calling state thread. Whoever posts its `remote` to its VP wakes that thread. */
wakeup_t wakeup_here(void);
/** Parks the calling state thread until a kernel thread, once when() has returned (NULL: at once),
 * posts the wake-up; or until the time is over, which is a failure. */
void park_until_woken(wakeup_t *wakeup, st_utime_t timeout, void (*when)(wakeup_t *));
#endif

#endif /* VP_H */
