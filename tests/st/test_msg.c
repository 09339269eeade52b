/* SPDX-License-Identifier: Apache-2.0 */
/* st_recvfrom, st_sendto, st_recvmsg, st_sendmsg on datagram sockets. */
#include "tests/vp.h"

#include <netinet/in.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static st_netfd_t left, right;
static struct sockaddr_in left_addr, right_addr;
static char buf[65536];

static st_netfd_t udp(struct sockaddr_in *addr)
{
    int osfd = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t len = sizeof(*addr);

    *addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_ok(bind(osfd, (struct sockaddr *)addr, len));
    assert_ok(getsockname(osfd, (struct sockaddr *)addr, &len));
    st_netfd_t netfd = st_netfd_open_socket(osfd);
    assert_non_null(netfd);
    return netfd;
}

static void open_two(void)
{
    left = udp(&left_addr);
    right = udp(&right_addr);
}

static void close_two(void)
{
    assert_ok(st_netfd_close(left));
    assert_ok(st_netfd_close(right));
}

static int send_right(const char *text, int len)
{
    return st_sendto(left, text, len, (struct sockaddr *)&right_addr, sizeof(right_addr), FOREVER);
}

static void *send_later(void *arg)
{
    settle();
    assert_int_equal(send_right(arg, (int)strlen(arg)), strlen(arg));
    return NULL;
}

static void a_datagram_and_its_sender(void)
{
    struct sockaddr_in from;
    int from_len = sizeof(from);

    open_two();
    st_thread_t sender = st_thread_create(send_later, "datagram", 1, 0);
    assert_int_equal(
        st_recvfrom(right, buf, sizeof(buf), (struct sockaddr *)&from, &from_len, FOREVER), 8);
    assert_memory_equal(buf, "datagram", 8);
    assert_int_equal(from_len, sizeof(from));
    assert_int_equal(from.sin_port, left_addr.sin_port);
    assert_ok(st_thread_join(sender, NULL));
    close_two();
}

static void boundaries_are_kept(void)
{
    open_two();
    assert_int_equal(send_right("one", 3), 3);
    assert_int_equal(send_right("", 0), 0);
    assert_int_equal(send_right("three", 5), 5);
    assert_int_equal(st_recvfrom(right, buf, sizeof(buf), NULL, NULL, FOREVER), 3);
    assert_int_equal(st_recvfrom(right, buf, sizeof(buf), NULL, NULL, FOREVER), 0);
    assert_int_equal(st_recvfrom(right, buf, 2, NULL, NULL, FOREVER), 2); /* the rest is cut off */
    assert_fails(st_recvfrom(right, buf, sizeof(buf), NULL, NULL, ST_UTIME_NO_WAIT), ETIME);
    close_two();
}

/* Each receive is shorter than the buffer: with edge-triggered readiness that must not be taken for
 * "drained". */
static void a_burst_is_received_whole(void)
{
    open_two();
    for (int round = 0; round < 10; round++) {
        for (char i = 0; i < 20; i++)
            assert_int_equal(send_right(&i, 1), 1);
        for (char i = 0; i < 20; i++) {
            assert_int_equal(st_recvfrom(right, buf, sizeof(buf), NULL, NULL, FOREVER), 1);
            assert_int_equal(buf[0], i);
        }
    }
    close_two();
}

static void receive_times_out(void)
{
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    open_two();
    assert_fails(st_recvfrom(right, buf, 10, NULL, NULL, ST_UTIME_NO_WAIT), ETIME);
    assert_fails(st_recvfrom(right, buf, 10, NULL, NULL, 1000), ETIME);
    assert_fails(st_recvmsg(right, &msg, 0, 1000), ETIME);
    close_two();
}

static void errors_of_the_system(void)
{
    struct iovec iov = {buf, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    open_two();
    assert_fails(send_right(buf, 65536), EMSGSIZE);
    assert_fails(st_sendto(left, "x", 1, NULL, 0, FOREVER), EDESTADDRREQ);
    assert_fails(st_sendmsg(left, &msg, 0, FOREVER), EDESTADDRREQ);
    assert_int_equal(send_right("x", 1), 1);
    if (!under_valgrind())
        assert_fails(st_recvfrom(right, (void *)8, 1, NULL, NULL, FOREVER), EFAULT);
    close_two();
}

static void messages_with_addresses_and_vectors(void)
{
    char head[4], tail[16];
    struct sockaddr_in from;
    struct iovec out[2] = {{"head", 4}, {"and tail", 8}}, in[2] = {{head, 4}, {tail, sizeof(tail)}};
    struct msghdr send = {.msg_name = &right_addr,
                          .msg_namelen = sizeof(right_addr),
                          .msg_iov = out,
                          .msg_iovlen = 2};
    struct msghdr recv = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = in, .msg_iovlen = 2};

    open_two();
    assert_int_equal(st_sendmsg(left, &send, 0, FOREVER), 12);
    assert_int_equal(st_recvmsg(right, &recv, MSG_PEEK, FOREVER), 12);
    assert_int_equal(st_recvmsg(right, &recv, 0, FOREVER), 12);
    assert_memory_equal(head, "head", 4);
    assert_memory_equal(tail, "and tail", 8);
    assert_int_equal(from.sin_port, left_addr.sin_port);
    assert_fails(st_recvmsg(right, &recv, 0, ST_UTIME_NO_WAIT), ETIME);
    close_two();
}

static void a_descriptor_is_passed(void)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {"d", 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    int ends[2], passed;
    st_netfd_t one, two;

    netfd_pair(&one, &two);
    assert_ok(pipe(ends));
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &ends[0], sizeof(int));
    assert_int_equal(st_sendmsg(one, &msg, 0, FOREVER), 1);
    iov.iov_base = buf;
    assert_int_equal(st_recvmsg(two, &msg, MSG_CMSG_CLOEXEC, FOREVER), 1);
    if (!(cmsg = CMSG_FIRSTHDR(&msg))) {
        fail_msg("no control message came");
        return;
    }
    memcpy(&passed, CMSG_DATA(cmsg), sizeof(int));
    assert_int_equal(write(ends[1], "p", 1), 1);
    assert_int_equal(read(passed, buf, 1), 1);
    close(passed);
    close(ends[0]);
    close(ends[1]);
    assert_ok(st_netfd_close(one));
    assert_ok(st_netfd_close(two));
}

/* --- a full socket --- */

static st_netfd_t pair_left, pair_right;

static void *receive_all(void *arg)
{
    int n = *(int *)arg;

    settle();
    for (int i = 0; i < n; i++) {
        assert_true(st_recvfrom(pair_right, buf, sizeof(buf), NULL, NULL, FOREVER) > 0);
        assert_int_equal((unsigned char)buf[0], i % 251);
    }
    return NULL;
}

static void senders_wait_for_room(void)
{
    int fds[2], n = 2000;
    static char block[1000];
    struct iovec iov = {block, sizeof(block)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds));
    pair_left = st_netfd_open_socket(fds[0]);
    pair_right = st_netfd_open_socket(fds[1]);
    st_thread_t receiver = st_thread_create(receive_all, &n, 1, 0);
    for (int i = 0; i < n; i++) {
        block[0] = (char)(i % 251);
        if (i % 2)
            assert_int_equal(st_sendmsg(pair_left, &msg, 0, FOREVER), 1000);
        else
            assert_int_equal(st_sendto(pair_left, block, 1000, NULL, 0, FOREVER), 1000);
    }
    assert_ok(st_thread_join(receiver, NULL));
    fill_socket(fds[0]);
    assert_fails(st_sendto(pair_left, block, 1000, NULL, 0, 1000), ETIME);
    assert_fails(st_sendmsg(pair_left, &msg, 0, 1000), ETIME);
    assert_ok(st_netfd_close(pair_left));
    assert_ok(st_netfd_close(pair_right));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_datagram_and_its_sender), VP_TEST(boundaries_are_kept),
        VP_TEST(a_burst_is_received_whole), VP_TEST(receive_times_out),
        VP_TEST(errors_of_the_system),      VP_TEST(messages_with_addresses_and_vectors),
        VP_TEST(a_descriptor_is_passed),    VP_TEST(senders_wait_for_room),
    };
    return cmocka_run_group_tests_name("msg", tests, NULL, NULL);
}
