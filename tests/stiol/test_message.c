/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags, datagrams and control data on blocking sockets behave as in the kernel, except that others
 * run meanwhile. And accept() and connect() in their less usual forms.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

/* A connected pair over TCP. */
static void tcp_pair(int fds[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(at);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&at, &length) == 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fds[1], (struct sockaddr *)&at, length) == 0);
    fds[0] = accept(listener, NULL, NULL);
    CHECK(fds[0] >= 0 && setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    close(listener);
}

static void local_pair(int fds[2])
{
    socket_pair(fds, false);
}

/* Two bytes, three times, each time after the reader has had its turn. */
static void *send_pieces(void *arg)
{
    for (int i = 0; i < 3; i++) {
        settle();
        note('s');
        CHECK(write(*(int *)arg, "ab", 2) == 2);
    }
    return NULL;
}

static ssize_t receive(int fd, char *data, size_t size, int flags)
{
    struct iovec parts[2] = {{data, 1}, {data + 1, size - 1}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = call->recvmsg(fd, &message, flags);

    CHECK(parts[0].iov_base == data && parts[0].iov_len == 1); /* they are the caller's */
    return n;
}

static void waitall_waits_for_all(void)
{
    static void (*const makers[])(int[2]) = {tcp_pair, local_pair};
    char data[8];
    int fds[2];

    for (int i = 0; i < 4; i++) {
        makers[i / 2](fds);
        forget_notes();
        spawn(send_pieces, &fds[1]);
        CHECK((i % 2 != 0 ? receive(fds[0], data, 6, MSG_WAITALL)
                          : call->recv(fds[0], data, 6, MSG_WAITALL)) == 6);
        CHECK(strcmp(noted(), "sss") == 0 && memcmp(data, "ababab", 6) == 0);
        reap();
        CHECK(write(fds[1], "xyz", 3) == 3 && shutdown(fds[1], SHUT_WR) == 0);
        CHECK(receive(fds[0], data, 6, MSG_WAITALL) == 3); /* the end comes first */
        CHECK(receive(fds[0], data, 6, MSG_WAITALL) == 0);
    }
}

static void waitall_of_a_datagram_is_that_datagram(void)
{
    static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    char data[8];
    int fds[2];

    for (int i = 0; i < 2; i++) {
        CHECK(socketpair(AF_UNIX, types[i], 0, fds) == 0);
        CHECK(send(fds[1], "abc", 3, 0) == 3 && send(fds[1], "defg", 4, 0) == 4);
        CHECK(send(fds[1], "", 0, 0) == 0);
        CHECK(call->recv(fds[0], data, 8, MSG_WAITALL) == 3);
        CHECK(call->recv(fds[0], data, 2, MSG_TRUNC) == 4);
        CHECK(call->recv(fds[0], data, 8, MSG_WAITALL) == 0);
    }
}

static void peeking_takes_nothing(void)
{
    char data[8];
    int fds[2];

    tcp_pair(fds);
    spawn(send_pieces, &fds[1]);
    CHECK(call->recv(fds[0], data, 8, MSG_PEEK) == 2);
    CHECK(call->recv(fds[0], data, 5, MSG_PEEK | MSG_WAITALL) == 5); /* six are there by then */
    CHECK(receive(fds[0], data, 6, MSG_PEEK | MSG_WAITALL) == 6);
    CHECK(memcmp(data, "ababab", 6) == 0 && strcmp(noted(), "sss") == 0);
    CHECK(shutdown(fds[1], SHUT_WR) == 0);
    CHECK(call->recv(fds[0], data, 8, MSG_PEEK | MSG_WAITALL) == 6);
    CHECK(call->recv(fds[0], data, 8, MSG_WAITALL) == 6);
    CHECK(call->recv(fds[0], data, 8, MSG_PEEK | MSG_WAITALL) == 0);
}

/* Of local sockets the kernel shows what is there. */
static void peeking_at_a_local_socket_does_not_wait_for_more(void)
{
    char data[8];
    int fds[2];

    socket_pair(fds, false);
    CHECK(write(fds[1], "ab", 2) == 2);
    CHECK(call->recv(fds[0], data, 8, MSG_PEEK | MSG_WAITALL) == 2);
}

static void the_low_mark_is_waited_for(void)
{
    int fds[2], four = 4;
    char data[8];

    tcp_pair(fds);
    CHECK(call->setsockopt(fds[0], SOL_SOCKET, SO_RCVLOWAT, &four, sizeof(four)) == 0);
    spawn(send_pieces, &fds[1]);
    CHECK(call->recv(fds[0], data, 8, 0) >= 4);
    reap();
}

static void errors_and_urgent_data_are_not_waited_for(void)
{
    char data[100], control[100];
    struct iovec part = {data, sizeof(data)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = 100};
    int fds[2], datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    ssize_t n;

    CHECK(call->recvmsg(datagrams, &message, MSG_ERRQUEUE) == -1 && errno == EAGAIN);
    CHECK(call->recv(datagrams, data, 100, MSG_ERRQUEUE) == -1 && errno == EAGAIN);
    tcp_pair(fds);
    CHECK(call->recv(fds[0], data, 1, MSG_OOB) == -1 && errno == EINVAL);
    CHECK(call->send(fds[1], "u", 1, MSG_OOB) == 1);
    do
        n = call->recv(fds[0], data, 1, MSG_OOB);
    while (n < 0 && (errno == EINVAL || errno == EAGAIN)); /* on its way */
    CHECK(n == 1 && data[0] == 'u');
}

/* --- control data --- */

enum { MUCH = 1024 * 1024 };

static union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
} control;

/* A message of the given number of bytes with a descriptor. */
static struct msghdr with_descriptor(struct iovec *part, int fd)
{
    struct msghdr message = {.msg_iov = part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};

    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    return message;
}

typedef struct taken {
    int fd, passed;
    size_t bytes;
} taken_t;

static void *take_all(void *arg)
{
    static char data[65536];
    struct iovec part = {data, sizeof(data)};
    taken_t *taken = arg;
    ssize_t n;

    do {
        struct msghdr message = with_descriptor(&part, -1);

        n = call->recvmsg(taken->fd, &message, 0);
        CHECK(n >= 0 && (message.msg_flags & MSG_CTRUNC) == 0);
        if (message.msg_controllen > 0) {
            CHECK(taken->passed == 0); /* once only */
            memcpy(&taken->passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
        }
        taken->bytes += (size_t)n;
    } while (n > 0);
    return NULL;
}

static void control_data_goes_once_and_the_bytes_all(void)
{
    static char data[MUCH];
    struct iovec part = {data, MUCH};
    struct msghdr message;
    int fds[2], pipes[2];
    taken_t taken = {0};
    char c;

    socket_pair(fds, false);
    CHECK(pipe(pipes) == 0);
    taken.fd = fds[0];
    spawn(take_all, &taken);
    message = with_descriptor(&part, pipes[0]);
    CHECK(call->sendmsg(fds[1], &message, 0) == MUCH);
    CHECK(shutdown(fds[1], SHUT_WR) == 0);
    reap();
    CHECK(taken.bytes == MUCH && taken.passed > 0);
    CHECK(write(pipes[1], "x", 1) == 1 && call->read(taken.passed, &c, 1) == 1);
}

static void *send_with_descriptor(void *arg)
{
    struct iovec part = {(char[]){'a', 'b'}, 2};
    struct msghdr message = with_descriptor(&part, 2);

    CHECK(sendmsg(*(int *)arg, &message, 0) == 2);
    settle();
    CHECK(write(*(int *)arg, "cd", 2) == 2);
    return NULL;
}

/* The kernel reads no further bytes together with descriptors. */
static void waitall_ends_where_descriptors_come(void)
{
    char data[4];
    struct iovec part = {data, 4};
    struct msghdr message;
    int fds[2];

    socket_pair(fds, false);
    spawn(send_with_descriptor, &fds[1]);
    settle();
    message = with_descriptor(&part, -1);
    CHECK(call->recvmsg(fds[0], &message, MSG_WAITALL) == 2 && message.msg_controllen > 0);
    reap();
    message = with_descriptor(&part, -1);
    CHECK(call->recvmsg(fds[0], &message, 0) == 2 && message.msg_controllen == 0);
}

/* --- a full datagram socket --- */

static struct sockaddr_un local_address(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "stiol-message-%d", getpid());
    return at;
}

static void *take_datagrams(void *arg)
{
    char c;

    settle();
    note('t');
    for (int i = 0; i < 100; i++)
        CHECK(call->recv(*(int *)arg, &c, 1, 0) == 1);
    return NULL;
}

/* Its queue is full, and poll() nevertheless reports the sender's socket as writable. */
static void datagrams_wait_for_room_at_the_other_end(void)
{
    struct sockaddr_un at = local_address();
    const struct sockaddr *to = (const struct sockaddr *)&at;
    struct timeval limit = {0, 20000};
    int sender = socket(AF_UNIX, SOCK_DGRAM, 0), receiver = socket(AF_UNIX, SOCK_DGRAM, 0);
    unsigned long long parked;
    int sent = 0;

    CHECK(bind(receiver, to, sizeof(at)) == 0);
    CHECK(setsockopt(sender, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
    while (call->sendto(sender, "x", 1, 0, to, sizeof(at)) == 1)
        sent++;
    CHECK(errno == EAGAIN && sent > 0 && sent < 100);
    parked = counters().io.parked;
    CHECK(call->sendto(sender, "x", 1, 0, to, sizeof(at)) == -1 && errno == EAGAIN);
    CHECK(counters().io.parked - parked < 100); /* attempts; spinning would make thousands */
    limit.tv_usec = 0;
    CHECK(setsockopt(sender, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
    spawn(take_datagrams, &receiver);
    for (; sent < 100; sent++)
        CHECK(call->sendto(sender, "x", 1, 0, to, sizeof(at)) == 1);
    CHECK(strcmp(noted(), "t") == 0);
    reap();
}

/* --- timeouts are for the whole call --- */

static void *trickle(void *arg)
{
    while (!stop_ticking) {
        CHECK(send(*(int *)arg, "x", 1, MSG_NOSIGNAL) == 1);
        st_usleep(5000);
    }
    return NULL;
}

static void a_trickle_does_not_prolong_a_timeout(void)
{
    struct timeval limit = {0, 50000};
    static char data[MUCH];
    int fds[2];
    ssize_t n;

    socket_pair(fds, false);
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
    spawn(trickle, &fds[1]);
    n = call->recv(fds[0], data, MUCH, MSG_WAITALL);
    CHECK(n > 0 && n < MUCH);
    stop_ticking = true;
    reap();
}

/* --- connect and accept --- */

static int listener_at(struct sockaddr_in *at)
{
    socklen_t length = sizeof(*at);
    int fd = call->socket(AF_INET, SOCK_STREAM, 0);

    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(bind(fd, (struct sockaddr *)at, sizeof(*at)) == 0 && listen(fd, 16) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)at, &length) == 0);
    return fd;
}

static void who_is_connected_is_connected(void)
{
    struct sockaddr_in at;
    const struct sockaddr *to = (const struct sockaddr *)&at;
    int listener = listener_at(&at), fd = call->socket(AF_INET, SOCK_STREAM, 0);

    CHECK(call->connect(fd, to, sizeof(at)) == 0);
    CHECK(call->connect(fd, to, sizeof(at)) == -1 && errno == EISCONN);
    CHECK(call->close(fd) == 0);
    fd = call->socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(call->connect(fd, to, sizeof(at)) == -1 && errno == EINPROGRESS);
    settle();
    CHECK(call->connect(fd, to, sizeof(at)) == 0); /* as connect(2) tells the result */
    CHECK(call->connect(fd, to, sizeof(at)) == -1 && errno == EISCONN);
    CHECK(call->close(listener) == 0);
    fd = call->socket(AF_INET, SOCK_STREAM, 0);
    CHECK(call->connect(fd, to, sizeof(at)) == -1 && errno == ECONNREFUSED);
}

/* Begun as nonblocking, and waited for as blocking. */
static void a_connect_under_way_is_waited_for(void)
{
    struct sockaddr_in at;
    const struct sockaddr *to = (const struct sockaddr *)&at;
    int listener = listener_at(&at), fd = call->socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    CHECK(call->connect(fd, to, sizeof(at)) == -1 && errno == EINPROGRESS);
    CHECK(call->fcntl(fd, F_SETFL, 0) == 0);
    CHECK(call->connect(fd, to, sizeof(at)) == 0);
    CHECK(call->connect(fd, to, sizeof(at)) == -1 && errno == EISCONN);
    close(listener);
}

static void a_full_local_listener_times_out(void)
{
    struct sockaddr_un at = local_address();
    const struct sockaddr *to = (const struct sockaddr *)&at;
    struct timeval limit = {0, 20000};
    int fd, listener = call->socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(bind(listener, to, sizeof(at)) == 0 && listen(listener, 0) == 0);
    do {
        fd = call->socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
    } while (call->connect(fd, to, sizeof(at)) == 0);
    CHECK(errno == EAGAIN);
}

enum {
    TAKERS = 3,
    CLIENTS = 200,
};

/* Accepts as fast as it can, and reports how many. */
static void take_clients(int listener, int out)
{
    int fd;

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        close(fd);
        CHECK(write(out, "p", 1) == 1);
    }
    _exit(0);
}

static void *accept_clients(void *arg)
{
    const int *fds = arg;
    int fd;

    while ((fd = call->accept(fds[0], NULL, NULL)) >= 0) {
        CHECK(call->close(fd) == 0 && write(fds[1], "v", 1) == 1);
    }
    return NULL;
}

/* Others take connections that the VP was told of: it must not wait for the next one. */
static void a_shared_listener_holds_up_nobody(void)
{
    struct sockaddr_in at;
    const struct sockaddr *to = (const struct sockaddr *)&at;
    int fds[2], pipes[2], taken = 0, status;
    pid_t takers[TAKERS];
    char who[64];

    CHECK(pipe(pipes) == 0);
    fds[0] = listener_at(&at);
    fds[1] = pipes[1];
    for (int i = 0; i < TAKERS; i++)
        if ((takers[i] = fork()) == 0)
            take_clients(fds[0], pipes[1]);
    st_thread_t accepter = st_thread_create(accept_clients, fds, 1, 0);
    for (int i = 0; i < CLIENTS; i++) {
        int fd = call->socket(AF_INET, SOCK_STREAM, 0);
        ssize_t n;

        CHECK(call->connect(fd, to, sizeof(at)) == 0);
        while (taken <= i) {
            CHECK((n = call->read(pipes[0], who, sizeof(who))) > 0);
            taken += (int)n;
        }
        CHECK(call->close(fd) == 0);
    }
    CHECK(taken == CLIENTS);
    st_usleep(20000); /* no more connections: waiting in the kernel now would be forever */
    st_thread_interrupt(accepter);
    CHECK(st_thread_join(accepter, NULL) == 0);
    for (int i = 0; i < TAKERS; i++)
        CHECK(kill(takers[i], SIGKILL) == 0 && waitpid(takers[i], &status, 0) == takers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(waitall_waits_for_all),
        VP_TEST(waitall_of_a_datagram_is_that_datagram),
        VP_TEST(peeking_takes_nothing),
        VP_TEST(peeking_at_a_local_socket_does_not_wait_for_more),
        VP_TEST(the_low_mark_is_waited_for),
        VP_TEST(errors_and_urgent_data_are_not_waited_for),
        VP_TEST(control_data_goes_once_and_the_bytes_all),
        VP_TEST(waitall_ends_where_descriptors_come),
        VP_TEST(datagrams_wait_for_room_at_the_other_end),
        VP_TEST(a_trickle_does_not_prolong_a_timeout),
        VP_TEST(who_is_connected_is_connected),
        VP_TEST(a_connect_under_way_is_waited_for),
        VP_TEST(a_full_local_listener_times_out),
        VP_TEST(a_shared_listener_holds_up_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
