/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual processors for the tests: see vp.h.
 */
#include "tests/vp.h"

#include <unistd.h>

enum { SPAWNED_MAX = 20000 };

st_utime_t virtual_clock = 1000000;
bool stop_ticking;

static st_thread_t spawned[SPAWNED_MAX];
static int spawned_count;

/* --- a fresh VP --- */

__attribute__((weak)) void start_vp(void)
{
    assert_ok(st_set_eventsys(TEST_EVENTSYS));
    assert_ok(st_init());
}

__attribute__((weak)) void stop_vp(void)
{
    reap();
#ifndef TEST_ST19
    assert_ok(st_destroy());
#endif
}

static void start_vp_with_virtual_clock(void)
{
    assert_ok(st_set_utime_function(read_virtual_clock));
    start_vp();
}

void run_on_vp(void **state)
{
    run_in_child(start_vp, (void (*)(void))(uintptr_t)*state, stop_vp);
}

void run_on_vp_with_virtual_clock(void **state)
{
    run_in_child(start_vp_with_virtual_clock, (void (*)(void))(uintptr_t)*state, stop_vp);
}

/* --- the virtual clock --- */

st_utime_t read_virtual_clock(void)
{
    return virtual_clock;
}

void advance_clock(st_utime_t us)
{
    virtual_clock += us;
    settle();
}

/* --- state threads --- */

#ifdef TEST_ST19
void settle(void)
{
    for (int i = 0; i < 4; i++)
        assert_ok(st_usleep(ST_UTIME_NO_WAIT)); /* each visits the event system */
}
#else
/* What a turn has made ready runs before the next turn; three, for what they make ready in their
 * turn. */
void settle(void)
{
    st_stats_t stats;
    unsigned long long until;

    st_get_stats(&stats);
    until = stats.turns + 3;
    while (stats.turns < until) {
        st_thread_yield();
        st_get_stats(&stats);
    }
    st_thread_yield();
}
#endif

st_thread_t spawn(void *(*start)(void *), void *arg)
{
    st_thread_t thread = st_thread_create(start, arg, 1, 0);

    CHECK(thread && spawned_count < SPAWNED_MAX);
    spawned[spawned_count++] = thread;
    return thread;
}

void reap(void)
{
    for (int i = 0; i < spawned_count; i++)
        CHECK(st_thread_join(spawned[i], NULL) == 0);
    spawned_count = 0;
}

static void pass(void)
{
#ifdef TEST_ST19
    assert_ok(st_usleep(ST_UTIME_NO_WAIT));
#else
    st_thread_yield();
#endif
}

void *ticker(void *arg)
{
    int *ticks = arg;

    while (!stop_ticking) {
        ++*ticks;
        pass();
    }
    return NULL;
}

void *tell(void *arg)
{
    for (int i = 0; i < 50; i++)
        pass();
    note('t');
    CHECK(write(*(int *)arg, "x", 1) == 1);
    return NULL;
}

/* --- netfds --- */

void netfd_pair(st_netfd_t *left, st_netfd_t *right)
{
    int fds[2];

    socket_pair(fds, true);
    *left = st_netfd_open_socket(fds[0]);
    *right = st_netfd_open_socket(fds[1]);
    assert_non_null(*left);
    assert_non_null(*right);
}

st_netfd_t netfd_half(int *osfd)
{
    int fds[2];
    st_netfd_t netfd;

    socket_pair(fds, true);
    *osfd = fds[1];
    netfd = st_netfd_open_socket(fds[0]);
    assert_non_null(netfd);
    return netfd;
}

void drain_socket(int osfd, size_t n)
{
    char block[4096];

    while (n > 0) {
        ssize_t got = read(osfd, block, n < sizeof(block) ? n : sizeof(block));

        if (got < 0) {
            assert_int_equal(errno, EAGAIN);
            assert_ok(st_usleep(ST_UTIME_NO_WAIT));
            continue;
        }
        assert_true(got > 0);
        n -= (size_t)got;
    }
}

/* --- wake-ups from elsewhere --- */

#ifndef TEST_ST19
static void wake(st_remote_t *remote)
{
    wakeup_t *wakeup = (wakeup_t *)remote;

    assert_true(st_is_vp());
    wakeup->calls++;
    st_thread_unpark(wakeup->thread);
}

wakeup_t wakeup_here(void)
{
    return (wakeup_t){
        .remote.fn = wake, .vp = st_vp_self(), .thread = st_thread_self(), .tid = gettid()};
}

static void *waker(void *arg)
{
    wakeup_t *wakeup = arg;

    assert_false(st_is_vp());
    assert_null(st_vp_self());
    if (wakeup->when)
        wakeup->when(wakeup);
    st_vp_post(wakeup->vp, &wakeup->remote);
    return NULL;
}

void park_until_woken(wakeup_t *wakeup, st_utime_t timeout, void (*when)(wakeup_t *))
{
    pthread_t id;

    wakeup->when = when;
    id = kernel_thread(waker, wakeup);
    assert_ok(st_thread_park(timeout));
    join_kernel_thread(id);
}
#endif
