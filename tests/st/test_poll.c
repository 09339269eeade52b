/* SPDX-License-Identifier: Apache-2.0 */
/* st_poll and st_netfd_poll: sets of descriptors, half-close, errors, many threads on one
 * descriptor. */
#include "tests/vp.h"

#include <fcntl.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static int fds[8][2];

static void open_pairs(int n)
{
    for (int i = 0; i < n; i++)
        socket_pair(fds[i], true);
}

static void close_pairs(int n)
{
    for (int i = 0; i < n; i++) {
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

static void poke(int i)
{
    assert_int_equal(write(fds[i][1], "p", 1), 1);
}

static void eat(int i)
{
    char byte;

    assert_int_equal(read(fds[i][0], &byte, 1), 1);
}

static void nothing_ready_times_out(void)
{
    struct pollfd pds[2];

    open_pairs(2);
    for (int i = 0; i < 2; i++)
        pds[i] = (struct pollfd){.fd = fds[i][0], .events = POLLIN};
    assert_int_equal(st_poll(pds, 2, ST_UTIME_NO_WAIT), 0);
    assert_int_equal(st_poll(pds, 2, 1000), 0);
    close_pairs(2);
}

static void an_empty_set_is_a_sleep(void)
{
    assert_int_equal(st_poll(NULL, 0, 1000), 0);
}

static void ready_ones_are_counted(void)
{
    struct pollfd pds[4];

    open_pairs(4);
    for (int i = 0; i < 4; i++)
        pds[i] = (struct pollfd){.fd = fds[i][0], .events = POLLIN, .revents = 0x55};
    poke(1);
    poke(3);
    assert_int_equal(st_poll(pds, 4, FOREVER), 2);
    assert_int_equal(pds[0].revents, 0);
    assert_int_equal(pds[1].revents, POLLIN);
    assert_int_equal(pds[2].revents, 0);
    assert_int_equal(pds[3].revents, POLLIN);
    eat(1); /* behind the library's back: the next call must ask the kernel */
    assert_int_equal(st_poll(pds, 4, FOREVER), 1);
    assert_int_equal(pds[1].revents, 0);
    assert_int_equal(pds[3].revents, POLLIN);
    eat(3);
    assert_int_equal(st_poll(pds, 4, ST_UTIME_NO_WAIT), 0);
    close_pairs(4);
}

static void only_what_was_asked_for_is_told(void)
{
    struct pollfd pd;

    open_pairs(1);
    pd = (struct pollfd){.fd = fds[0][0], .events = POLLOUT};
    poke(0);
    assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
    assert_int_equal(pd.revents, POLLOUT);
    pd.events = POLLIN | POLLOUT;
    assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
    assert_int_equal(pd.revents, POLLIN | POLLOUT);
    close_pairs(1);
}

static void *poll_two(void *arg)
{
    struct pollfd pds[2] = {{.fd = fds[0][0], .events = POLLIN},
                            {.fd = fds[1][0], .events = POLLIN}};

    (void)arg;
    assert_int_equal(st_poll(pds, 2, FOREVER), 1);
    return (void *)(intptr_t)(pds[0].revents | pds[1].revents << 8);
}

static void a_waiter_wakes_for_either(void)
{
    open_pairs(2);
    for (int i = 0; i < 6; i++) {
        void *ready = NULL;
        st_thread_t thread = st_thread_create(poll_two, NULL, 1, 0);

        settle();
        poke(i % 2);
        assert_ok(st_thread_join(thread, &ready));
        assert_int_equal((intptr_t)ready, i % 2 ? POLLIN << 8 : POLLIN);
        eat(i % 2);
    }
    close_pairs(2);
}

static void the_same_descriptor_twice(void)
{
    struct pollfd pds[2];

    open_pairs(1);
    pds[0] = (struct pollfd){.fd = fds[0][0], .events = POLLIN};
    pds[1] = (struct pollfd){.fd = fds[0][0], .events = POLLOUT};
    assert_int_equal(st_poll(pds, 2, FOREVER), 1);
    assert_int_equal(pds[1].revents, POLLOUT);
    poke(0);
    assert_int_equal(st_poll(pds, 2, FOREVER), 2);
    assert_int_equal(pds[0].revents, POLLIN);
    close_pairs(1);
}

static void *poll_in(void *arg)
{
    struct pollfd pd = {.fd = *(int *)arg, .events = POLLIN};

    assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
    assert_int_equal(pd.revents & POLLIN, POLLIN);
    return NULL;
}

static void all_threads_on_one_descriptor_wake(void)
{
    st_thread_t threads[10];

    open_pairs(1);
    for (int i = 0; i < 10; i++)
        threads[i] = st_thread_create(poll_in, &fds[0][0], 1, 0);
    settle();
    poke(0);
    for (int i = 0; i < 10; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    close_pairs(1);
}

#ifndef TEST_ST19 /* 1.9 says so with select and epoll only */
static void invalid_sets(void)
{
    struct pollfd pd = {.fd = -1, .events = POLLIN};

    assert_fails(st_poll(&pd, 1, ST_UTIME_NO_WAIT), EINVAL);
    open_pairs(1);
    pd = (struct pollfd){.fd = fds[0][0], .events = 0};
    assert_fails(st_poll(&pd, 1, ST_UTIME_NO_WAIT), EINVAL);
    pd.events = 0x4000;
    assert_fails(st_poll(&pd, 1, ST_UTIME_NO_WAIT), EINVAL);
    st_netfd_t netfd = st_netfd_open_socket(fds[0][0]);
    assert_fails(st_netfd_poll(netfd, 0, ST_UTIME_NO_WAIT), EINVAL);
    st_netfd_free(netfd);
    close_pairs(1);
}
#endif

static void a_closed_descriptor_is_pollnval(void)
{
    struct pollfd pd = {.events = POLLIN};

    open_pairs(1);
    st_netfd_t netfd = st_netfd_open(fds[0][0]);
    close_pairs(1);
    pd.fd = fds[0][0];
    assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
    assert_int_equal(pd.revents, POLLNVAL);
    assert_fails(st_netfd_poll(netfd, POLLIN, FOREVER), EBADF);
    st_netfd_free(netfd);
}

static void netfd_poll_answers(void)
{
    open_pairs(1);
    st_netfd_t netfd = st_netfd_open_socket(fds[0][0]);
    assert_fails(st_netfd_poll(netfd, POLLIN, ST_UTIME_NO_WAIT), ETIME);
    assert_fails(st_netfd_poll(netfd, POLLIN, 1000), ETIME);
    assert_ok(st_netfd_poll(netfd, POLLOUT, FOREVER));
    assert_ok(st_netfd_poll(netfd, POLLIN | POLLOUT, FOREVER));
    poke(0);
    assert_ok(st_netfd_poll(netfd, POLLIN, FOREVER));
    eat(0);
    assert_fails(st_netfd_poll(netfd, POLLIN, ST_UTIME_NO_WAIT), ETIME);
    assert_ok(st_netfd_close(netfd));
    close(fds[0][1]);
}

static void urgent_data_is_pollpri(void)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = listen_on_loopback(&addr, &len);
    int client = socket(AF_INET, SOCK_STREAM, 0);

    assert_ok(connect(client, (struct sockaddr *)&addr, len));
    st_netfd_t server = st_netfd_open_socket(accept(listener, NULL, NULL));
    assert_fails(st_netfd_poll(server, POLLPRI, ST_UTIME_NO_WAIT), ETIME);
    assert_int_equal(send(client, "!", 1, MSG_OOB), 1);
    assert_ok(st_netfd_poll(server, POLLPRI, FOREVER));
    assert_ok(st_netfd_close(server));
    close(client);
    close(listener);
}

/* --- the end of a stream --- */

static void half_close_is_readable(void)
{
    struct pollfd pd;

    open_pairs(1);
    pd = (struct pollfd){.fd = fds[0][0], .events = POLLIN};
    assert_int_equal(st_poll(&pd, 1, ST_UTIME_NO_WAIT), 0);
    assert_ok(shutdown(fds[0][1], SHUT_WR));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
        assert_int_equal(pd.revents & POLLIN, POLLIN);
    }
    close_pairs(1);
}

static void half_close_wakes_a_waiter(void)
{
    open_pairs(1);
    st_thread_t thread = st_thread_create(poll_in, &fds[0][0], 1, 0);
    settle();
    assert_ok(shutdown(fds[0][1], SHUT_WR));
    assert_ok(st_thread_join(thread, NULL));
    close_pairs(1);
}

static void a_broken_pipe_is_pollerr(void)
{
    int ends[2];
    struct pollfd pd;

    assert_ok(pipe2(ends, O_NONBLOCK));
    fill_socket(ends[1]);
    pd = (struct pollfd){.fd = ends[1], .events = POLLOUT};
    assert_int_equal(st_poll(&pd, 1, ST_UTIME_NO_WAIT), 0);
    close(ends[0]);
    assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
    assert_int_equal(pd.revents & POLLERR, POLLERR);
    close(ends[1]);
}

/* A regular file is always ready; epoll refuses it, st_poll must not. */
static void a_regular_file_is_ready(void)
{
    struct pollfd pd = {.fd = open("/proc/self/exe", O_RDONLY), .events = POLLIN};

    assert_true(pd.fd >= 0);
    assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
    assert_int_equal(pd.revents, POLLIN);
    close(pd.fd);
}

/* --- a number that comes again --- */

/* The program closes and reopens behind the library's back, as 1.9's users may do between two calls
 * of st_poll. */
static void a_reused_number_is_another_descriptor(void)
{
    for (int round = 0; round < 20; round++) {
        struct pollfd pd;

        open_pairs(1);
        int number = fds[0][0];
        pd = (struct pollfd){.fd = number, .events = POLLIN};
        poke(0);
        assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
        close_pairs(1);

        open_pairs(1);
        assert_int_equal(fds[0][0], number);
        assert_int_equal(st_poll(&pd, 1, ST_UTIME_NO_WAIT), 0);
        assert_int_equal(st_poll(&pd, 1, 100), 0);
        poke(0);
        assert_int_equal(st_poll(&pd, 1, FOREVER), 1);
        close_pairs(1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(nothing_ready_times_out),
        VP_TEST(an_empty_set_is_a_sleep),
        VP_TEST(ready_ones_are_counted),
        VP_TEST(only_what_was_asked_for_is_told),
        VP_TEST(a_waiter_wakes_for_either),
        VP_TEST(the_same_descriptor_twice),
        VP_TEST(all_threads_on_one_descriptor_wake),
#ifndef TEST_ST19
        VP_TEST(invalid_sets),
#endif
        VP_TEST(a_closed_descriptor_is_pollnval),
        VP_TEST(netfd_poll_answers),
        VP_TEST(urgent_data_is_pollpri),
        VP_TEST(half_close_is_readable),
        VP_TEST(half_close_wakes_a_waiter),
        VP_TEST(a_broken_pipe_is_pollerr),
        VP_TEST(a_regular_file_is_ready),
        VP_TEST(a_reused_number_is_another_descriptor),
    };
    return cmocka_run_group_tests_name("poll", tests, NULL, NULL);
}
