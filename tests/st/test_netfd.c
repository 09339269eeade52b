/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptor objects: open, free, close, fileno, specific data, serialize_accept, st_open. */
#include "tests/vp.h"

#include <fcntl.h>
#include <sys/stat.h>

static int is_nonblocking(int osfd)
{
    return (fcntl(osfd, F_GETFL) & O_NONBLOCK) != 0;
}

static int is_open(int osfd)
{
    return fcntl(osfd, F_GETFD) >= 0;
}

static void open_sets_nonblocking(void)
{
    int fds[2], pipes[2];

    assert_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    assert_ok(pipe(pipes));
    st_netfd_t sock = st_netfd_open_socket(fds[0]);
    st_netfd_t any = st_netfd_open(fds[1]);
    st_netfd_t in = st_netfd_open(pipes[0]);
    assert_true(sock && any && in);
    assert_true(is_nonblocking(fds[0]) && is_nonblocking(fds[1]) && is_nonblocking(pipes[0]));
    assert_false(is_nonblocking(pipes[1]));
    assert_int_equal(st_netfd_fileno(sock), fds[0]);
    assert_int_equal(st_netfd_fileno(any), fds[1]);
    assert_int_equal(st_netfd_fileno(in), pipes[0]);
    assert_ok(st_netfd_close(sock));
    assert_ok(st_netfd_close(any));
    assert_ok(st_netfd_close(in));
    assert_false(is_open(fds[0]) || is_open(fds[1]) || is_open(pipes[0]));
    close(pipes[1]);
}

static void open_of_a_closed_descriptor(void)
{
    int osfd = dup(0);

    close(osfd);
    assert_null_errno(st_netfd_open(osfd), EBADF);
    assert_null_errno(st_netfd_open_socket(osfd), EBADF);
}

static void free_leaves_the_descriptor_open(void)
{
    int fds[2];

    socket_pair(fds, true);
    st_netfd_t netfd = st_netfd_open_socket(fds[0]);
    st_netfd_free(netfd);
    assert_true(is_open(fds[0]));
    assert_int_equal(write(fds[0], "x", 1), 1);
    netfd = st_netfd_open(fds[0]); /* and it may be opened again */
    assert_non_null(netfd);
    assert_ok(st_netfd_close(netfd));
    close(fds[1]);
}

static void many_can_be_open(void)
{
    enum { PAIRS = 500 };
    static st_netfd_t ends[PAIRS][2];
    char byte;

    for (int i = 0; i < PAIRS; i++)
        netfd_pair(&ends[i][0], &ends[i][1]);
    for (int i = 0; i < PAIRS; i++)
        assert_int_equal(st_write(ends[i][0], "m", 1, ST_UTIME_NO_TIMEOUT), 1);
    for (int i = PAIRS - 1; i >= 0; i--)
        assert_int_equal(st_read(ends[i][1], &byte, 1, ST_UTIME_NO_TIMEOUT), 1);
    for (int i = 0; i < PAIRS; i++) {
        assert_ok(st_netfd_close(ends[i][0]));
        assert_ok(st_netfd_close(ends[i][1]));
    }
}

static int destroyed;

static void destroy(void *value)
{
    assert_non_null(value);
    destroyed++;
}

static void specific_data(void)
{
    int osfd, one, two;
    st_netfd_t netfd = netfd_half(&osfd);

    assert_null(st_netfd_getspecific(netfd));
    st_netfd_setspecific(netfd, &one, destroy);
    assert_ptr_equal(st_netfd_getspecific(netfd), &one);
    st_netfd_setspecific(netfd, &one, destroy); /* the same: not destroyed */
    assert_int_equal(destroyed, 0);
    st_netfd_setspecific(netfd, &two, NULL);
    assert_int_equal(destroyed, 1);
    st_netfd_setspecific(netfd, &one, destroy); /* two had no destructor */
    assert_int_equal(destroyed, 1);
    assert_ok(st_netfd_close(netfd));
    assert_int_equal(destroyed, 2);
    close(osfd);
}

static void free_destroys_specific_data(void)
{
    int osfd, value;
    st_netfd_t netfd = netfd_half(&osfd);
    int inner = st_netfd_fileno(netfd);

    st_netfd_setspecific(netfd, &value, destroy);
    st_netfd_free(netfd);
    assert_int_equal(destroyed, 1);
    netfd = st_netfd_open(inner);
    assert_null(st_netfd_getspecific(netfd)); /* a recycled object begins empty */
    assert_ok(st_netfd_close(netfd));
    assert_int_equal(destroyed, 1);
    close(osfd);
}

static void serialize_accept_is_harmless(void)
{
    struct sockaddr_storage addr;
    socklen_t len;
    st_netfd_t netfd = st_netfd_open_socket(listen_on_loopback(&addr, &len));
    int fds;

    assert_ok(st_netfd_serialize_accept(netfd));
    assert_ok(st_netfd_close(netfd));
    fds = open_descriptors();
    netfd = st_netfd_open_socket(listen_on_loopback(&addr, &len));
    assert_ok(st_netfd_serialize_accept(netfd));
    assert_ok(st_netfd_close(netfd));
    assert_int_equal(open_descriptors(), fds);
}

#ifndef TEST_ST19
static void *wait_readable(void *arg)
{
    return (void *)(intptr_t)(st_netfd_poll(arg, POLLIN, ST_UTIME_NO_TIMEOUT) == 0 ? 0 : errno);
}

/* 1.9 with poll or select lets a thread wait forever; with epoll it returns EBUSY. */
static void close_under_a_waiter(void)
{
    int osfd;
    void *error = NULL;
    st_netfd_t netfd = netfd_half(&osfd);
    st_thread_t waiter = st_thread_create(wait_readable, netfd, 1, 0);

    settle();
    assert_fails(st_netfd_close(netfd), EBUSY);
    assert_true(is_open(st_netfd_fileno(netfd)));
    st_thread_interrupt(waiter);
    assert_ok(st_thread_join(waiter, &error));
    assert_int_equal((intptr_t)error, EINTR);
    assert_ok(st_netfd_close(netfd));
    close(osfd);
}
#endif

/* --- st_open --- */

static char directory[] = "/tmp/st-unit-XXXXXX";
static char path[64];

static void make_directory(void)
{
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/file", directory);
}

static void remove_directory(void)
{
    unlink(path);
    assert_ok(rmdir(directory));
}

static void open_errors(void)
{
    assert_null_errno(st_open("/nonexistent/file", O_RDONLY, 0), ENOENT);
    assert_null_errno(st_open("/proc/self", O_RDWR, 0), EISDIR);
}

static void open_of_a_regular_file(void)
{
    char text[8] = "";
    struct stat st;

    make_directory();
    umask(022);
    st_netfd_t netfd = st_open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
    assert_non_null(netfd);
    assert_ok(fstat(st_netfd_fileno(netfd), &st));
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(st_write(netfd, "content", 7, ST_UTIME_NO_TIMEOUT), 7);
    assert_int_equal(lseek(st_netfd_fileno(netfd), 0, SEEK_SET), 0);
    assert_int_equal(st_read(netfd, text, 7, ST_UTIME_NO_TIMEOUT), 7);
    assert_string_equal(text, "content");
    assert_int_equal(st_read(netfd, text, 7, ST_UTIME_NO_TIMEOUT), 0);
    assert_ok(st_netfd_close(netfd));
    assert_null_errno(st_open(path, O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
    remove_directory();
}

static void *write_to_fifo(void *arg)
{
    st_netfd_t out = st_open(path, O_WRONLY, 0);

    (void)arg;
    assert_non_null(out);
    assert_int_equal(st_write(out, "fifo", 4, ST_UTIME_NO_TIMEOUT), 4);
    assert_ok(st_netfd_close(out));
    return NULL;
}

static void open_of_a_fifo(void)
{
    char text[8] = "";

    make_directory();
    assert_ok(mkfifo(path, 0600));
    assert_null_errno(st_open(path, O_WRONLY, 0), ENXIO); /* nobody reads */
    st_netfd_t in = st_open(path, O_RDONLY, 0);
    assert_true(is_nonblocking(st_netfd_fileno(in)));
    st_thread_t writer = st_thread_create(write_to_fifo, NULL, 1, 0);
    assert_ok(st_netfd_poll(in, POLLIN, ST_UTIME_NO_TIMEOUT));
    assert_int_equal(st_read_fully(in, text, 4, ST_UTIME_NO_TIMEOUT), 4);
    assert_string_equal(text, "fifo");
    assert_int_equal(st_read(in, text, 4, ST_UTIME_NO_TIMEOUT), 0);
    assert_ok(st_thread_join(writer, NULL));
    assert_ok(st_netfd_close(in));
    remove_directory();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(open_sets_nonblocking),
        VP_TEST(open_of_a_closed_descriptor),
        VP_TEST(free_leaves_the_descriptor_open),
        VP_TEST(many_can_be_open),
        VP_TEST(specific_data),
        VP_TEST(free_destroys_specific_data),
        VP_TEST(serialize_accept_is_harmless),
#ifndef TEST_ST19
        VP_TEST(close_under_a_waiter),
#endif
        VP_TEST(open_errors),
        VP_TEST(open_of_a_regular_file),
        VP_TEST(open_of_a_fifo),
    };
    return cmocka_run_group_tests_name("netfd", tests, NULL, NULL);
}
