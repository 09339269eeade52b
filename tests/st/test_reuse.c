/* SPDX-License-Identifier: Apache-2.0 */
/* A descriptor number that is closed and reused: what was reported for the old descriptor must not
 * reach the new one. */
#include "tests/vp.h"

#include <fcntl.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static int fds[2];

/* Opens a pair of which our end has the number wanted (the lowest free one, if the test has closed
 * it just now). */
static void open_at(int number)
{
    socket_pair(fds, true);
    assert_int_equal(fds[0], number);
}

static void close_pair(void)
{
    st_fd_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static void a_new_descriptor_starts_unknown(void)
{
    socket_pair(fds, true);
    int number = fds[0];
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(st_fd_wait(number, POLLIN, FOREVER), POLLIN);
    close_pair();
    open_at(number);
    assert_fails(st_fd_wait(number, POLLIN, 1000), ETIME);
    assert_int_equal(write(fds[1], "y", 1), 1);
    assert_int_equal(st_fd_wait(number, POLLIN, FOREVER), POLLIN);
    close_pair();
}

/* The old one's event happens before the close, and is fetched after the new one is registered. */
static void an_event_under_way_is_not_the_new_ones(void)
{
    socket_pair(fds, true);
    int number = fds[0], kept = dup(number);

    assert_fails(st_fd_wait(number, POLLIN, ST_UTIME_NO_WAIT), ETIME);
    /* kept keeps the old socket alive in epoll under its old registration, unless forget has
     * removed it. */
    int old_peer = fds[1];
    st_fd_forget(number);
    close(number);
    open_at(number);
    assert_int_equal(st_fd_wait(number, POLLOUT, FOREVER), POLLOUT);
    assert_int_equal(write(old_peer, "old", 3), 3);
    settle();
    assert_int_equal(st_fd_ready(number) & POLLIN, 0);
    assert_fails(st_fd_wait(number, POLLIN, 1000), ETIME);
    close(kept);
    close(old_peer);
    close_pair();
}

/* libst is not told of the close, and a duplicate keeps the old socket in epoll: the generation
 * must tell them apart. */
static void an_untold_close_and_a_rearm(void)
{
    socket_pair(fds, true);
    int number = fds[0], kept = dup(number), old_peer = fds[1];

    assert_fails(st_fd_wait(number, POLLIN, ST_UTIME_NO_WAIT), ETIME);
    close(number);
    open_at(number);
    assert_ok(st_fd_rearm(number));
    assert_int_equal(write(old_peer, "old", 3), 3);
    settle();
    assert_int_equal(st_fd_ready(number) & POLLIN, 0);
    assert_fails(st_fd_wait(number, POLLIN, 1000), ETIME);
    assert_int_equal(write(fds[1], "new", 3), 3);
    assert_int_equal(st_fd_wait(number, POLLIN, FOREVER), POLLIN);
    close(kept);
    close(old_peer);
    close_pair();
}

struct batch {
    int number;    /* the one that is replaced */
    int old_ready; /* what the second waiter was told */
    int error;
};

static int first_fd, second_fd;

/* Both descriptors have events in one epoll_wait; whoever runs first closes the other's and opens a
 * new one there. */
static void *close_the_other(void *arg)
{
    struct batch *batch = arg;

    assert_int_equal(st_fd_wait(first_fd, POLLIN, FOREVER), POLLIN);
    st_fd_forget(batch->number);
    close(batch->number);
    open_at(batch->number);
    return NULL;
}

static void *wait_on_second(void *arg)
{
    struct batch *batch = arg;

    batch->old_ready = st_fd_wait(second_fd, POLLIN, FOREVER);
    batch->error = batch->old_ready < 0 ? errno : 0;
    return NULL;
}

static void replaced_within_one_turn(void)
{
    int first[2], second[2];
    struct batch batch;

    socket_pair(first, true);
    socket_pair(second, true);
    first_fd = first[0];
    second_fd = second[0];
    batch = (struct batch){.number = second[0]};
    st_thread_t closer = st_thread_create(close_the_other, &batch, 1, 0);
    st_thread_t waiter = st_thread_create(wait_on_second, &batch, 1, 0);
    settle();
    assert_int_equal(write(first[1], "1", 1), 1);
    assert_int_equal(write(second[1], "2", 1), 1);
    assert_ok(st_thread_join(closer, NULL));
    assert_ok(st_thread_join(waiter, NULL));
    /* It was woken for the old one, which was ready, or told that it is gone; it never waits on for
     * the new one. */
    assert_true(batch.old_ready == POLLIN || batch.error == EBADF);
    assert_fails(st_fd_wait(fds[0], POLLIN, 1000), ETIME);
    close_pair();
    st_fd_forget(first[0]);
    close(first[0]);
    close(first[1]);
    close(second[1]);
}

/* Through 1.9's calls: close and open ten thousand times, with data left unread in each. */
static void many_generations(void)
{
    int number = -1;

    for (int i = 0; i < scaled(10000); i++) {
        char byte;
        int osfd;
        st_netfd_t netfd = netfd_half(&osfd);

        if (number >= 0)
            assert_int_equal(st_netfd_fileno(netfd), number);
        number = st_netfd_fileno(netfd);
        assert_fails(st_read(netfd, &byte, 1, ST_UTIME_NO_WAIT), ETIME);
        assert_int_equal(write(osfd, "ab", 2), 2);
        assert_int_equal(st_read(netfd, &byte, 1, FOREVER), 1);
        assert_ok(st_netfd_close(netfd));
        close(osfd);
    }
}

static void a_descriptor_of_another_kind(void)
{
    int ends[2], number;
    char byte;

    for (int i = 0; i < 100; i++) {
        socket_pair(fds, true);
        number = fds[0];
        assert_int_equal(st_fd_wait(number, POLLOUT, FOREVER), POLLOUT);
        close_pair();
        assert_ok(pipe2(ends, O_NONBLOCK));
        assert_int_equal(ends[0], number);
        assert_fails(st_fd_wait(ends[0], POLLIN, ST_UTIME_NO_WAIT), ETIME);
        assert_int_equal(write(ends[1], "p", 1), 1);
        assert_int_equal(st_fd_wait(ends[0], POLLIN, FOREVER), POLLIN);
        assert_int_equal(read(ends[0], &byte, 1), 1);
        st_fd_forget(ends[0]);
        close(ends[0]);
        close(ends[1]);
        int file = open("/proc/self/exe", O_RDONLY);
        assert_int_equal(file, number);
        assert_fails(st_fd_wait(file, POLLIN, FOREVER), EPERM);
        close(file);
    }
}

static void high_numbers(void)
{
    int limit = st_getfdlimit();

    socket_pair(fds, true);
    int high = fcntl(fds[0], F_DUPFD, limit > 15000 ? 15000 : limit - 10);
    assert_true(high > 0);
    assert_int_equal(write(fds[1], "h", 1), 1);
    assert_int_equal(st_fd_wait(high, POLLIN, FOREVER), POLLIN);
    st_fd_forget(high);
    close(high);
    close_pair();
}

/* Closed without telling libst, which would wait for the old one's events. */
static void a_renewed_number_is_another_descriptors(void)
{
    socket_pair(fds, true);
    int number = fds[0], old_peer = fds[1];

    assert_fails(st_fd_wait(number, POLLIN, ST_UTIME_NO_WAIT), ETIME);
    close(number);
    open_at(number);
    st_fd_renew(number);
    assert_fails(st_fd_wait(number, POLLIN, 1000), ETIME);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(st_fd_wait(number, POLLIN, FOREVER), POLLIN);
    st_fd_renew(number); /* the same once more: asked again */
    assert_int_equal(st_fd_wait(number, POLLIN, FOREVER), POLLIN);
    close(old_peer);
    close_pair();
    st_fd_renew(number);
    st_fd_renew(-1);
    st_fd_renew(1 << 30);
}

static int result, why;

static void *wait_on_it(void *arg)
{
    result = st_fd_wait(*(int *)arg, POLLIN, FOREVER);
    why = errno;
    return NULL;
}

static void who_waits_for_the_earlier_one_is_told(void)
{
    for (int i = 0; i < 2; i++) {
        socket_pair(fds, true);
        int number = fds[0], old_peer = fds[1];
        st_thread_t thread = st_thread_create(wait_on_it, &number, 1, 0);

        settle();
        close(number);
        open_at(number);
        if (i == 0)
            st_fd_renew(number);
        else
            assert_ok(st_fd_rearm(number));
        assert_ok(st_thread_join(thread, NULL));
        assert_true(result == -1 && why == EBADF);
        close(old_peer);
        close_pair();
    }
}

static void never_called(st_watch_t *watch, int ready)
{
    (void)watch, (void)ready;
}

/* A listener's registration is level-triggered. Once its number is another's, a duplicate keeps it
 * alive, and it reports for ever: visits to epoll must not go on reporting it. */
static void a_level_triggered_ghost_is_laid(void)
{
    struct sockaddr_storage addr;
    socklen_t length;
    st_stats_t stats;
    unsigned long long before;
    st_watch_t watch;
    int listener = listen_on_loopback(&addr, &length), duplicate = dup(listener), client;

    st_watch_init(&watch, listener, ST_WATCH_ACCEPT, never_called);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    close(listener);
    st_fd_renew(listener);
    client = socket(addr.ss_family, SOCK_STREAM, 0);
    assert_ok(connect(client, (struct sockaddr *)&addr, length));
    settle();
    socket_pair(fds, true);
    assert_fails(st_fd_wait(fds[0], POLLIN, 1000), ETIME);
    st_get_stats(&stats);
    before = stats.events;
    for (int i = 0; i < 10; i++)
        settle();
    st_get_stats(&stats);
    assert_true(stats.events == before);
    assert_int_equal(write(fds[1], "x", 1), 1); /* all others are still heard */
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    st_watch_free(&watch);
    close_pair();
    close(client);
    close(duplicate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_new_descriptor_starts_unknown),
        VP_TEST(an_event_under_way_is_not_the_new_ones),
        VP_TEST(an_untold_close_and_a_rearm),
        VP_TEST(replaced_within_one_turn),
        VP_TEST(many_generations),
        VP_TEST(a_descriptor_of_another_kind),
        VP_TEST(a_renewed_number_is_another_descriptors),
        VP_TEST(who_waits_for_the_earlier_one_is_told),
        VP_TEST(a_level_triggered_ghost_is_laid),
        VP_TEST(high_numbers),
    };
    return cmocka_run_group_tests_name("reuse", tests, NULL, NULL);
}
