/* SPDX-License-Identifier: Apache-2.0 */
/* Readiness of bare descriptors: st_fd_wait, _ready, _drained, _again, _rearm, _forget; half-close
 * above all. */
#include "tests/vp.h"

#include <fcntl.h>

#define FOREVER ST_UTIME_NO_TIMEOUT
#define NO_WAIT ST_UTIME_NO_WAIT

static int fds[2]; /* ours, the peer's */
static char buf[4096];

static void open_pair(void)
{
    socket_pair(fds, true);
}

static void close_pair(void)
{
    st_fd_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static void poke(void)
{
    assert_int_equal(write(fds[1], "p", 1), 1);
}

/* recv as the I/O layer does it: on EAGAIN and after a short read libst is told. */
static ssize_t take(size_t room)
{
    ssize_t n = read(fds[0], buf, room);

    if (n < 0) {
        assert_int_equal(errno, EAGAIN);
        st_fd_again(fds[0], POLLIN);
    } else if ((size_t)n < room) {
        st_fd_drained(fds[0], POLLIN);
    }
    return n;
}

static void ready_at_once_without_a_switch(void)
{
    st_stats_t before, after;

    open_pair();
    poke();
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER) & POLLIN, POLLIN);
    st_get_stats(&before);
    for (int i = 0; i < 10; i++)
        assert_int_equal(st_fd_wait(fds[0], POLLIN | POLLOUT, NO_WAIT), POLLIN | POLLOUT);
    st_get_stats(&after);
    assert_int_equal(after.switches, before.switches);
    close_pair();
}

static void never_registered_means_all_bits(void)
{
    open_pair();
    int bits = st_fd_ready(fds[0]);
    assert_int_equal(bits & (POLLIN | POLLOUT), POLLIN | POLLOUT);
    assert_fails(st_fd_wait(fds[0], POLLIN, 1000), ETIME);
    assert_int_equal(st_fd_ready(fds[0]) & POLLIN, 0);
    assert_int_equal(st_fd_ready(fds[0]) & POLLOUT, POLLOUT);
    close_pair();
}

static void drained_and_again_clear_the_bits(void)
{
    open_pair();
    poke();
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    assert_int_equal(take(100), 1);
    assert_int_equal(st_fd_ready(fds[0]) & POLLIN, 0);
    assert_fails(st_fd_wait(fds[0], POLLIN, NO_WAIT), ETIME);
    poke();
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    assert_int_equal(take(1), 1); /* as long as the room: there may be more */
    assert_int_equal(st_fd_ready(fds[0]) & POLLIN, POLLIN);
    assert_int_equal(take(1), -1);
    assert_int_equal(st_fd_ready(fds[0]) & POLLIN, 0);
    close_pair();
}

static void room_to_write_comes_back(void)
{
    open_pair();
    assert_int_equal(st_fd_wait(fds[0], POLLOUT, FOREVER), POLLOUT);
    size_t n = fill_socket(fds[0]);
    st_fd_again(fds[0], POLLOUT);
    assert_fails(st_fd_wait(fds[0], POLLOUT, 1000), ETIME);
    drain_socket(fds[1], n);
    assert_int_equal(st_fd_wait(fds[0], POLLOUT, FOREVER), POLLOUT);
    close_pair();
}

static void errors(void)
{
    int file = open("/proc/self/exe", O_RDONLY), closed = dup(file);

    close(closed);
    assert_fails(st_fd_wait(file, POLLIN, FOREVER), EPERM);
    assert_fails(st_fd_rearm(file), EPERM);
    assert_fails(st_fd_wait(closed, POLLIN, FOREVER), EBADF);
    assert_fails(st_fd_rearm(closed), EBADF);
    assert_fails(st_fd_wait(-1, POLLIN, FOREVER), EBADF);
    assert_fails(st_fd_rearm(-1), EBADF);
    st_fd_forget(closed);
    st_fd_forget(-1);
    st_fd_drained(-1, POLLIN);
    st_fd_again(-1, POLLIN);
    st_fd_forget(1 << 20);
    close(file);
}

/* --- half-close --- */

/* Data and FIN come together: a short read does not mean that it is drained, the FIN has yet to be
 * read. */
static void a_fin_after_the_data_is_seen_at_once(void)
{
    open_pair();
    poke();
    assert_ok(shutdown(fds[1], SHUT_WR));
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    assert_int_equal(take(100), 1);
    assert_int_equal(st_fd_wait(fds[0], POLLIN, NO_WAIT), POLLIN);
    assert_int_equal(take(100), 0);
    assert_int_equal(st_fd_wait(fds[0], POLLIN, NO_WAIT), POLLIN); /* and it stays */
    close_pair();
}

/* The edge was there before the FIN: reading short cleared POLLIN, and only RDHUP reports the
 * end. */
static void a_fin_while_nobody_waits(void)
{
    open_pair();
    poke();
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    assert_int_equal(take(100), 1);
    assert_ok(shutdown(fds[1], SHUT_WR));
    settle();
    assert_int_equal(st_fd_ready(fds[0]) & (POLLIN | POLLRDHUP), POLLIN | POLLRDHUP);
    assert_int_equal(st_fd_wait(fds[0], POLLIN | POLLRDHUP, NO_WAIT), POLLIN | POLLRDHUP);
    close_pair();
}

struct waiter {
    int events;
    st_utime_t timeout;
    int result;
    int error;
};

static void *wait_fd(void *arg)
{
    struct waiter *waiter = arg;

    waiter->result = st_fd_wait(fds[0], waiter->events, waiter->timeout);
    waiter->error = waiter->result < 0 ? errno : 0;
    return NULL;
}

static void a_fin_wakes_the_waiter(void)
{
    struct waiter in = {POLLIN, FOREVER, 0, -1}, rdhup = {POLLRDHUP, FOREVER, 0, -1};

    open_pair();
    st_thread_t one = st_thread_create(wait_fd, &in, 1, 0);
    st_thread_t two = st_thread_create(wait_fd, &rdhup, 1, 0);
    settle();
    assert_ok(shutdown(fds[1], SHUT_WR));
    assert_ok(st_thread_join(one, NULL));
    assert_ok(st_thread_join(two, NULL));
    assert_int_equal(in.result & POLLIN, POLLIN);
    assert_int_equal(rdhup.result & POLLRDHUP, POLLRDHUP);
    close_pair();
}

static void a_closed_peer_is_hup(void)
{
    open_pair();
    assert_fails(st_fd_wait(fds[0], POLLIN, NO_WAIT), ETIME);
    close(fds[1]);
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER) & POLLIN, POLLIN);
    assert_int_equal(st_fd_wait(fds[0], 0, FOREVER) & POLLHUP, POLLHUP);
    close_pair();
}

/* --- waiting --- */

static void readers_and_writers_wait_side_by_side(void)
{
    struct waiter in = {POLLIN, FOREVER, 0, -1}, out = {POLLOUT, FOREVER, 0, -1};

    open_pair();
    size_t n = fill_socket(fds[0]);
    st_fd_rearm(fds[0]);
    st_thread_t reader = st_thread_create(wait_fd, &in, 1, 0);
    st_thread_t writer = st_thread_create(wait_fd, &out, 1, 0);
    settle();
    assert_true(in.result == 0 && out.result == 0);
    poke();
    assert_ok(st_thread_join(reader, NULL));
    assert_int_equal(in.result, POLLIN);
    settle();
    assert_int_equal(out.result, 0); /* the reader's event is not the writer's */
    drain_socket(fds[1], n);
    assert_ok(st_thread_join(writer, NULL));
    assert_int_equal(out.result, POLLOUT);
    close_pair();
}

static void many_waiters_all_wake(void)
{
    struct waiter waiters[20];
    st_thread_t threads[20];

    open_pair();
    for (int i = 0; i < 20; i++) {
        waiters[i] = (struct waiter){POLLIN, FOREVER, 0, -1};
        threads[i] = st_thread_create(wait_fd, &waiters[i], 1, 0);
    }
    settle();
    poke();
    for (int i = 0; i < 20; i++) {
        assert_ok(st_thread_join(threads[i], NULL));
        assert_int_equal(waiters[i].result, POLLIN);
    }
    close_pair();
}

static void forget_wakes_with_ebadf(void)
{
    struct waiter in = {POLLIN, FOREVER, 0, -1}, timed = {POLLIN, 1000000000, 0, -1};

    open_pair();
    st_thread_t one = st_thread_create(wait_fd, &in, 1, 0);
    st_thread_t two = st_thread_create(wait_fd, &timed, 1, 0);
    settle();
    st_fd_forget(fds[0]);
    assert_int_equal(in.error, -1); /* it does not yield */
    assert_ok(st_thread_join(one, NULL));
    assert_ok(st_thread_join(two, NULL));
    assert_int_equal(in.error, EBADF);
    assert_int_equal(timed.error, EBADF);
    close_pair();
}

static void *poll_fd(void *arg)
{
    struct pollfd pd = {.fd = fds[0], .events = POLLIN};

    *(int *)arg = st_poll(&pd, 1, FOREVER) == 1 ? pd.revents : -1;
    return NULL;
}

static void forget_wakes_a_poller_with_pollnval(void)
{
    int revents = 0;

    open_pair();
    st_thread_t thread = st_thread_create(poll_fd, &revents, 1, 0);
    settle();
    st_fd_forget(fds[0]);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(revents, POLLNVAL);
    close_pair();
}

static void interrupt_and_readiness(void)
{
    struct waiter in = {POLLIN, FOREVER, 0, -1};

    open_pair();
    st_thread_t thread = st_thread_create(wait_fd, &in, 1, 0);
    settle();
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(in.error, EINTR);
    poke();
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    st_thread_interrupt(st_thread_self());
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER),
                     POLLIN); /* readiness wins, the interrupt stays */
    assert_fails(st_usleep(NO_WAIT), EINTR);
    close_pair();
}

static void timeout_by_the_virtual_clock(void)
{
    struct waiter in = {POLLIN, 1000, 0, -1};

    open_pair();
    st_thread_t thread = st_thread_create(wait_fd, &in, 1, 0);
    settle();
    advance_clock(999);
    assert_int_equal(in.error, -1);
    advance_clock(1);
    assert_int_equal(in.error, ETIME);
    assert_ok(st_thread_join(thread, NULL));
    close_pair();
}

/* Event and timeout are found in the same turn: the event is reported. */
static void event_meets_timeout(void)
{
    struct waiter in = {POLLIN, 1000, 0, -1};

    open_pair();
    st_thread_t thread = st_thread_create(wait_fd, &in, 1, 0);
    settle();
    poke();
    virtual_clock += 1000;
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(in.result, POLLIN);
    close_pair();
}

/* --- behind libst's back --- */

static void rearm_asks_the_kernel(void)
{
    open_pair();
    poke();
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    assert_int_equal(read(fds[0], buf, 10), 1); /* nobody tells libst */
    assert_int_equal(st_fd_ready(fds[0]) & POLLIN, POLLIN);
    assert_ok(st_fd_rearm(fds[0]));
    assert_int_equal(st_fd_ready(fds[0]) & POLLIN, 0);
    assert_fails(st_fd_wait(fds[0], POLLIN, 1000), ETIME);
    poke();
    assert_ok(st_fd_rearm(fds[0])); /* the byte was there before: still it must be reported */
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    close_pair();
}

static void rearm_of_one_never_registered(void)
{
    open_pair();
    assert_ok(st_fd_rearm(fds[0]));
    assert_int_equal(st_fd_ready(fds[0]), 0);
    assert_int_equal(st_fd_wait(fds[0], POLLOUT, FOREVER), POLLOUT);
    close_pair();
}

/* Closed without st_fd_forget and opened again: the number is registered in the table, not in
 * epoll. */
static void rearm_after_an_untold_close(void)
{
    open_pair();
    int number = fds[0];
    assert_int_equal(st_fd_wait(number, POLLOUT, FOREVER), POLLOUT);
    close(fds[0]);
    close(fds[1]);
    open_pair();
    assert_int_equal(fds[0], number);
    assert_ok(st_fd_rearm(number));
    assert_fails(st_fd_wait(number, POLLIN, 1000), ETIME);
    poke();
    assert_int_equal(st_fd_wait(number, POLLIN, FOREVER), POLLIN);
    close_pair();
}

static void rearm_under_a_waiter(void)
{
    struct waiter in = {POLLIN, FOREVER, 0, -1};

    open_pair();
    st_thread_t thread = st_thread_create(wait_fd, &in, 1, 0);
    settle();
    assert_ok(st_fd_rearm(fds[0]));
    settle();
    assert_int_equal(in.result, 0);
    poke();
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(in.result, POLLIN);
    close_pair();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(ready_at_once_without_a_switch),
        VP_TEST(never_registered_means_all_bits),
        VP_TEST(drained_and_again_clear_the_bits),
        VP_TEST(room_to_write_comes_back),
        VP_TEST(errors),
        VP_TEST(a_fin_after_the_data_is_seen_at_once),
        VP_TEST(a_fin_while_nobody_waits),
        VP_TEST(a_fin_wakes_the_waiter),
        VP_TEST(a_closed_peer_is_hup),
        VP_TEST(readers_and_writers_wait_side_by_side),
        VP_TEST(many_waiters_all_wake),
        VP_TEST(forget_wakes_with_ebadf),
        VP_TEST(forget_wakes_a_poller_with_pollnval),
        VP_TEST(interrupt_and_readiness),
        VIRTUAL_TEST(timeout_by_the_virtual_clock),
        VIRTUAL_TEST(event_meets_timeout),
        VP_TEST(rearm_asks_the_kernel),
        VP_TEST(rearm_of_one_never_registered),
        VP_TEST(rearm_after_an_untold_close),
        VP_TEST(rearm_under_a_waiter),
    };
    return cmocka_run_group_tests_name("fdwait", tests, NULL, NULL);
}
