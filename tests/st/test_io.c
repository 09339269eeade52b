/* SPDX-License-Identifier: Apache-2.0 */
/* st_read, st_write and all their variants on streams: data that comes whole, in parts, late,
 * never, and after the end. */
#include "tests/vp.h"

#include <fcntl.h>
#include <sys/uio.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static st_netfd_t netfd;
static int osfd; /* the other end, written and read by plain syscalls */
static char buf[1 << 16];

static void open_half(void)
{
    netfd = netfd_half(&osfd);
}

static void close_half(void)
{
    assert_ok(st_netfd_close(netfd));
    close(osfd);
}

static void feed(const char *text)
{
    assert_int_equal(write(osfd, text, strlen(text)), strlen(text));
}

/* Feeds one byte, then lets the others run, for each byte of arg; then half-closes if the text ends
 * in '|'. */
static void *feed_slowly(void *arg)
{
    for (const char *c = arg; *c; c++) {
        settle();
        if (*c == '|')
            assert_ok(shutdown(osfd, SHUT_WR));
        else
            assert_int_equal(write(osfd, c, 1), 1);
    }
    return NULL;
}

/* --- reading --- */

static void read_takes_what_is_there(void)
{
    open_half();
    feed("abcdef");
    assert_int_equal(st_read(netfd, buf, 4, FOREVER), 4);
    assert_memory_equal(buf, "abcd", 4);
    assert_int_equal(st_read(netfd, buf, 100, FOREVER), 2);
    assert_memory_equal(buf, "ef", 2);
    assert_int_equal(st_read(netfd, buf, 0, FOREVER), 0);
    close_half();
}

static void read_waits_for_the_first_byte(void)
{
    open_half();
    st_thread_t feeder = st_thread_create(feed_slowly, "q", 1, 0);
    assert_int_equal(st_read(netfd, buf, 100, FOREVER), 1);
    assert_int_equal(buf[0], 'q');
    assert_ok(st_thread_join(feeder, NULL));
    close_half();
}

static void read_many_times(void)
{
    open_half();
    for (int i = 0; i < scaled(2000); i++) {
        assert_fails(st_read(netfd, buf, 8, ST_UTIME_NO_WAIT), ETIME);
        feed("ab");
        assert_int_equal(st_read(netfd, buf, i % 2 ? 1 : 2, FOREVER), i % 2 ? 1 : 2);
        if (i % 2)
            assert_int_equal(st_read(netfd, buf, 8, FOREVER), 1);
    }
    close_half();
}

static void read_sees_the_end(void)
{
    open_half();
    feed("last");
    assert_ok(shutdown(osfd, SHUT_WR));
    assert_int_equal(st_read(netfd, buf, 100, FOREVER), 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(st_read(netfd, buf, 100, FOREVER), 0);
    assert_int_equal(st_write(netfd, "still", 5, FOREVER), 5); /* the other direction is open */
    assert_int_equal(read(osfd, buf, 10), 5);
    close_half();
}

static void read_errors(void)
{
    open_half();
    if (!under_valgrind()) {
        feed("data");
        assert_fails(st_read(netfd, (void *)8, 4, FOREVER), EFAULT);
    }
    st_netfd_t writer = st_netfd_open(open("/dev/null", O_WRONLY));
    assert_fails(st_read(writer, buf, 1, FOREVER), EBADF);
    assert_fails(st_readv(writer, &(struct iovec){buf, 1}, 1, FOREVER), EBADF);
    assert_fails(st_read_fully(writer, buf, 1, FOREVER), EBADF);
    assert_ok(st_netfd_close(writer));
    close_half();
}

static void read_fully_collects_the_parts(void)
{
    open_half();
    st_thread_t feeder = st_thread_create(feed_slowly, "collected!", 1, 0);
    assert_int_equal(st_read_fully(netfd, buf, 9, FOREVER), 9);
    assert_memory_equal(buf, "collected", 9);
    assert_ok(st_thread_join(feeder, NULL));
    assert_int_equal(st_read_fully(netfd, buf, 1, FOREVER), 1);
    assert_int_equal(buf[0], '!');
    close_half();
}

static void read_fully_stops_at_the_end(void)
{
    open_half();
    st_thread_t feeder = st_thread_create(feed_slowly, "abc|", 1, 0);
    assert_int_equal(st_read_fully(netfd, buf, 100, FOREVER), 3);
    assert_ok(st_thread_join(feeder, NULL));
    assert_int_equal(st_read_fully(netfd, buf, 100, FOREVER), 0);
    close_half();
}

static void read_resid_tells_what_is_missing(void)
{
    size_t left = 5;

    open_half();
    feed("abc");
    assert_fails(st_read_resid(netfd, buf, &left, 1000), ETIME);
    assert_int_equal(left, 2);
    assert_memory_equal(buf, "abc", 3);
    feed("de");
    assert_ok(st_read_resid(netfd, buf + 3, &left, FOREVER));
    assert_int_equal(left, 0);
    assert_memory_equal(buf, "abcde", 5);
    feed("x");
    assert_ok(shutdown(osfd, SHUT_WR));
    left = 4;
    assert_ok(st_read_resid(netfd, buf, &left, FOREVER));
    assert_int_equal(left, 3);
    close_half();
}

static void readv_fills_the_buffers_in_turn(void)
{
    char one[2], two[3], three[4];
    struct iovec iov[] = {{one, 2}, {two, 3}, {three, 4}};

    open_half();
    st_thread_t feeder = st_thread_create(feed_slowly, "f", 1, 0);
    assert_int_equal(st_readv(netfd, iov, 3, FOREVER), 1);
    assert_ok(st_thread_join(feeder, NULL));
    feed("abcdefghijk");
    assert_int_equal(st_readv(netfd, iov, 3, FOREVER), 9);
    assert_memory_equal(one, "ab", 2);
    assert_memory_equal(two, "cde", 3);
    assert_memory_equal(three, "fghi", 4);
    assert_int_equal(iov[0].iov_len, 2); /* the array is the caller's */
    assert_int_equal(st_readv(netfd, iov, 3, FOREVER), 2);
    assert_fails(st_readv(netfd, iov, 3, ST_UTIME_NO_WAIT), ETIME);
    assert_ok(shutdown(osfd, SHUT_WR));
    assert_int_equal(st_readv(netfd, iov, 3, FOREVER), 0);
    close_half();
}

static void readv_resid_walks_the_array(void)
{
    char one[2], two[3], three[4];
    struct iovec iov[] = {{one, 2}, {two, 3}, {three, 4}}, *left = iov;
    int count = 3;

    open_half();
    feed("abcd");
    assert_fails(st_readv_resid(netfd, &left, &count, 1000), ETIME);
    assert_int_equal(count, 2);
    assert_ptr_equal(left, &iov[1]);
    assert_ptr_equal(iov[0].iov_base, one + 2);
    assert_int_equal(iov[0].iov_len, 0);
    assert_ptr_equal(iov[1].iov_base, two + 2);
    assert_int_equal(iov[1].iov_len, 1);
    st_thread_t feeder = st_thread_create(feed_slowly, "efghi", 1, 0);
    assert_ok(st_readv_resid(netfd, &left, &count, FOREVER));
    assert_int_equal(count, 0);
    assert_ptr_equal(left, iov + 3);
    assert_memory_equal(two, "cde", 3);
    assert_memory_equal(three, "fghi", 4);
    assert_ok(st_thread_join(feeder, NULL));
    close_half();
}

static void readv_resid_at_the_end_of_stream(void)
{
    struct iovec iov[] = {{buf, 4}, {buf + 4, 4}}, *left = iov;
    int count = 2;

    open_half();
    st_thread_t feeder = st_thread_create(feed_slowly, "abcde|", 1, 0);
    assert_ok(st_readv_resid(netfd, &left, &count, FOREVER));
    assert_int_equal(count, 1);
    assert_ptr_equal(left, &iov[1]);
    assert_int_equal(iov[1].iov_len, 3);
    assert_ok(st_thread_join(feeder, NULL));
    close_half();
}

/* --- writing --- */

static size_t drained;

static void *drain_all(void *arg)
{
    ssize_t n;
    static char sink[8192];

    (void)arg;
    for (;;) {
        n = read(osfd, sink, sizeof(sink));
        if (n == 0)
            return NULL;
        if (n > 0) {
            for (ssize_t i = 0; i < n; i++)
                if (sink[i] != (char)((drained + (size_t)i) * 31))
                    fail_msg("byte %zu is wrong", drained + (size_t)i);
            drained += (size_t)n;
        }
        if (st_usleep(ST_UTIME_NO_WAIT) < 0)
            return NULL;
    }
}

enum { BIG = 3000000 };

static char *big_pattern(void)
{
    char *pattern = malloc(BIG);

    for (size_t i = 0; i < BIG; i++)
        pattern[i] = (char)(i * 31);
    return pattern;
}

static void finish_drain(st_thread_t drainer)
{
    assert_ok(st_netfd_close(netfd));
    assert_ok(st_thread_join(drainer, NULL));
    assert_int_equal(drained, BIG);
    close(osfd);
}

static void write_goes_on_until_all_is_written(void)
{
    char *pattern = big_pattern();

    open_half();
    st_thread_t drainer = st_thread_create(drain_all, NULL, 1, 0);
    assert_int_equal(st_write(netfd, pattern, BIG, FOREVER), BIG);
    finish_drain(drainer);
    free(pattern);
}

/* 40 vectors of uneven lengths, empty ones among them: more than fit in one write, and than 1.9
 * keeps on its stack. */
static int cut(struct iovec *iov, int n, char *pattern)
{
    size_t at = 0;

    for (int i = 0; i < n; i++) {
        size_t len = i == n - 1 ? BIG - at : i % 5 == 4 ? 0 : (size_t)(BIG / n - 100 + i * 3);
        iov[i] = (struct iovec){pattern + at, len};
        at += len;
    }
    return n;
}

static void writev_goes_on_until_all_is_written(void)
{
    char *pattern = big_pattern();
    struct iovec iov[40], copy[40];
    int n = cut(iov, 40, pattern);

    memcpy(copy, iov, sizeof(iov));
    open_half();
    st_thread_t drainer = st_thread_create(drain_all, NULL, 1, 0);
    assert_int_equal(st_writev(netfd, iov, n, FOREVER), BIG);
    assert_memory_equal(iov, copy, sizeof(iov));
    finish_drain(drainer);
    free(pattern);
}

static void writev_resid_goes_on_until_all_is_written(void)
{
    char *pattern = big_pattern();
    struct iovec iov[40], *left = iov;
    int n = cut(iov, 40, pattern);

    open_half();
    st_thread_t drainer = st_thread_create(drain_all, NULL, 1, 0);
    assert_ok(st_writev_resid(netfd, &left, &n, FOREVER));
    assert_int_equal(n, 0);
    assert_ptr_equal(left, iov + 40);
    finish_drain(drainer);
    free(pattern);
}

static void writev_of_few_and_none(void)
{
    struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};

    open_half();
    assert_int_equal(st_writev(netfd, iov, 1, FOREVER), 2);
    assert_int_equal(st_writev(netfd, iov, 2, FOREVER), 5);
    assert_int_equal(st_writev(netfd, iov, 0, FOREVER), 0);
    assert_int_equal(st_write(netfd, "", 0, FOREVER), 0);
    assert_int_equal(read(osfd, buf, 100), 7);
    assert_memory_equal(buf, "ababcde", 7);
    close_half();
}

static void write_resid_tells_what_is_missing(void)
{
    char *pattern = big_pattern();
    size_t left = BIG;

    open_half();
    assert_fails(st_write_resid(netfd, pattern, &left, 1000), ETIME);
    assert_true(left > 0 && left < BIG);
    drain_socket(osfd, BIG - left);
    size_t written = BIG - left;
    st_thread_t drainer = st_thread_create(drain_all, NULL, 1, 0);
    drained = written;
    assert_ok(st_write_resid(netfd, pattern + written, &left, FOREVER));
    assert_int_equal(left, 0);
    finish_drain(drainer);
    free(pattern);
}

static void writev_resid_tells_what_is_missing(void)
{
    char *pattern = big_pattern();
    struct iovec iov[3] = {{pattern, 1000},
                           {pattern + 1000, BIG - 2000},
                           {pattern + BIG - 1000, 1000}},
                 *left = iov;
    int n = 3;

    open_half();
    assert_fails(st_writev_resid(netfd, &left, &n, 1000), ETIME);
    assert_int_equal(n, 2);
    assert_ptr_equal(left, &iov[1]);
    assert_int_equal(iov[0].iov_len, 0);
    drain_socket(osfd, (size_t)((char *)iov[1].iov_base - pattern));
    drained = (size_t)((char *)iov[1].iov_base - pattern);
    st_thread_t drainer = st_thread_create(drain_all, NULL, 1, 0);
    assert_ok(st_writev_resid(netfd, &left, &n, FOREVER));
    finish_drain(drainer);
    free(pattern);
}

static void write_times_out_when_nobody_reads(void)
{
    open_half();
    fill_socket(st_netfd_fileno(netfd));
    assert_fails(st_write(netfd, "x", 1, ST_UTIME_NO_WAIT), ETIME);
    assert_fails(st_write(netfd, "x", 1, 1000), ETIME);
    assert_fails(st_writev(netfd, (struct iovec[]){{"x", 1}, {"y", 1}}, 2, 1000), ETIME);
    close_half();
}

static void write_to_a_closed_peer(void)
{
    size_t left = 1;
    struct iovec iov = {"x", 1}, *rest = &iov;
    int count = 1;

    open_half();
    close(osfd);
    assert_fails(st_write(netfd, "x", 1, FOREVER), EPIPE);
    assert_fails(st_write_resid(netfd, "x", &left, FOREVER), EPIPE);
    assert_int_equal(left, 1);
    assert_fails(st_writev(netfd, (struct iovec[]){{"x", 1}, {"y", 1}}, 2, FOREVER), EPIPE);
    assert_fails(st_writev_resid(netfd, &rest, &count, FOREVER), EPIPE);
    assert_int_equal(count, 1);
    assert_int_equal(st_read(netfd, buf, 1, FOREVER), 0);
    assert_ok(st_netfd_close(netfd));
}

/* The reader goes away while the writer waits. */
static void *close_peer(void *arg)
{
    (void)arg;
    settle();
    close(osfd);
    return NULL;
}

static void the_peer_goes_while_a_writer_waits(void)
{
    open_half();
    fill_socket(st_netfd_fileno(netfd));
    st_thread_t closer = st_thread_create(close_peer, NULL, 1, 0);
    assert_fails(st_write(netfd, "x", 1, FOREVER), EPIPE);
    assert_ok(st_thread_join(closer, NULL));
    assert_ok(st_netfd_close(netfd));
}

/* --- timeouts by the virtual clock --- */

static int result_errno;

static void *read_with_timeout(void *arg)
{
    st_utime_t timeout = *(st_utime_t *)arg;
    ssize_t n = st_read_fully(netfd, buf, 3, timeout);

    result_errno = n < 0 ? errno : (int)-n;
    return NULL;
}

/* The timeout is for inactivity: each byte restarts it. */
static void the_timeout_is_of_inactivity(void)
{
    st_utime_t timeout = 1000;

    open_half();
    st_thread_t reader = st_thread_create(read_with_timeout, &timeout, 1, 0);
    settle();
    advance_clock(900);
    feed("a");
    settle();
    advance_clock(900);
    feed("b");
    settle();
    advance_clock(900);
    assert_int_equal(result_errno, 0);
    advance_clock(200);
    assert_int_equal(result_errno, ETIME);
    assert_ok(st_thread_join(reader, NULL));
    close_half();
}

/* Data has arrived when the timeout is up, too: it is read. */
static void data_wins_over_the_timeout(void)
{
    st_utime_t timeout = 1000;

    open_half();
    feed("ab");
    st_thread_t reader = st_thread_create(read_with_timeout, &timeout, 1, 0);
    settle();
    feed("c");
    settle();
    advance_clock(5000);
    assert_int_equal(result_errno, -3);
    assert_ok(st_thread_join(reader, NULL));
    close_half();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(read_takes_what_is_there),
        VP_TEST(read_waits_for_the_first_byte),
        VP_TEST(read_many_times),
        VP_TEST(read_sees_the_end),
        VP_TEST(read_errors),
        VP_TEST(read_fully_collects_the_parts),
        VP_TEST(read_fully_stops_at_the_end),
        VP_TEST(read_resid_tells_what_is_missing),
        VP_TEST(readv_fills_the_buffers_in_turn),
        VP_TEST(readv_resid_walks_the_array),
        VP_TEST(readv_resid_at_the_end_of_stream),
        VP_TEST(write_goes_on_until_all_is_written),
        VP_TEST(writev_goes_on_until_all_is_written),
        VP_TEST(writev_resid_goes_on_until_all_is_written),
        VP_TEST(writev_of_few_and_none),
        VP_TEST(write_resid_tells_what_is_missing),
        VP_TEST(writev_resid_tells_what_is_missing),
        VP_TEST(write_times_out_when_nobody_reads),
        VP_TEST(write_to_a_closed_peer),
        VP_TEST(the_peer_goes_while_a_writer_waits),
        VIRTUAL_TEST(the_timeout_is_of_inactivity),
        VIRTUAL_TEST(data_wins_over_the_timeout),
    };
    return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
