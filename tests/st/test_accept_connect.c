/* SPDX-License-Identifier: Apache-2.0 */
/* st_accept and st_connect: addresses, refusal, timeouts, many at once, one listener in two
 * processes. */
#include "tests/vp.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static struct sockaddr_storage addr;
static socklen_t addr_len;
static st_netfd_t listener;

static void open_listener(void)
{
    listener = st_netfd_open_socket(listen_on_loopback(&addr, &addr_len));
    assert_non_null(listener);
}

static st_netfd_t new_socket(void)
{
    st_netfd_t netfd = st_netfd_open_socket(socket(AF_INET, SOCK_STREAM, 0));

    assert_non_null(netfd);
    return netfd;
}

static st_netfd_t connected(void)
{
    st_netfd_t netfd = new_socket();

    assert_ok(st_connect(netfd, (struct sockaddr *)&addr, (int)addr_len, FOREVER));
    return netfd;
}

static void *echo_one(void *arg)
{
    char byte;
    st_netfd_t conn = arg;

    while (st_read(conn, &byte, 1, FOREVER) == 1)
        assert_int_equal(st_write(conn, &byte, 1, FOREVER), 1);
    assert_ok(st_netfd_close(conn));
    return NULL;
}

static void *serve(void *arg)
{
    int n = *(int *)arg;

    for (int i = 0; i < n; i++) {
        st_netfd_t conn = st_accept(listener, NULL, NULL, FOREVER);
        assert_non_null(conn);
        assert_true(fcntl(st_netfd_fileno(conn), F_GETFL) & O_NONBLOCK);
        assert_non_null(st_thread_create(echo_one, conn, 0, 0));
    }
    return NULL;
}

static void *chat(void *arg)
{
    char byte = (char)(intptr_t)arg, back = 0;
    st_netfd_t conn = connected();

    for (int i = 0; i < 5; i++) {
        assert_int_equal(st_write(conn, &byte, 1, FOREVER), 1);
        assert_int_equal(st_read(conn, &back, 1, FOREVER), 1);
        assert_int_equal(back, byte);
    }
    assert_ok(st_netfd_close(conn));
    return NULL;
}

static void clients_and_a_server(void)
{
    enum { MOST = 200 };
    st_thread_t clients[MOST];
    int n = scaled(MOST) < 10 ? 10 : scaled(MOST);

    open_listener();
    st_thread_t server = st_thread_create(serve, &n, 1, 0);
    for (intptr_t i = 0; i < n; i++)
        clients[i] = st_thread_create(chat, (void *)i, 1, 0);
    for (int i = 0; i < n; i++)
        assert_ok(st_thread_join(clients[i], NULL));
    assert_ok(st_thread_join(server, NULL));
    settle(); /* the echoes see the end */
    assert_ok(st_netfd_close(listener));
}

static void accept_tells_the_peers_address(void)
{
    struct sockaddr_in peer, local;
    int peer_len = sizeof(peer);
    socklen_t local_len = sizeof(local);

    open_listener();
    st_netfd_t client = connected();
    st_netfd_t conn = st_accept(listener, (struct sockaddr *)&peer, &peer_len, FOREVER);
    assert_non_null(conn);
    assert_int_equal(peer_len, sizeof(peer));
    assert_ok(getsockname(st_netfd_fileno(client), (struct sockaddr *)&local, &local_len));
    assert_int_equal(peer.sin_port, local.sin_port);
    assert_int_equal(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_ok(st_netfd_close(conn));
    assert_ok(st_netfd_close(client));
    assert_ok(st_netfd_close(listener));
}

static void accept_times_out(void)
{
    open_listener();
    assert_null_errno(st_accept(listener, NULL, NULL, ST_UTIME_NO_WAIT), ETIME);
    assert_null_errno(st_accept(listener, NULL, NULL, 1000), ETIME);
    st_netfd_t client = connected();
    st_netfd_t conn = st_accept(listener, NULL, NULL, ST_UTIME_NO_WAIT);
    assert_non_null(conn);
    assert_ok(st_netfd_close(conn));
    assert_ok(st_netfd_close(client));
    assert_ok(st_netfd_close(listener));
}

static void accept_on_what_does_not_listen(void)
{
    int osfd;
    st_netfd_t netfd = netfd_half(&osfd), plain = new_socket();

    assert_null_errno(st_accept(netfd, NULL, NULL, FOREVER), EINVAL);
    assert_null_errno(st_accept(plain, NULL, NULL, FOREVER), EINVAL);
    assert_ok(st_netfd_close(netfd));
    assert_ok(st_netfd_close(plain));
    close(osfd);
}

static int accepted;

static void *accept_one(void *arg)
{
    st_netfd_t conn = st_accept(arg, NULL, NULL, FOREVER);

    assert_non_null(conn);
    accepted++;
    assert_ok(st_netfd_close(conn));
    return NULL;
}

/* Many threads accept on one socket: each connection wakes one of them, and none is left over. */
static void many_threads_accept_on_one_socket(void)
{
    enum { COUNT = 20 };
    st_thread_t threads[COUNT];
    st_netfd_t clients[COUNT];

    open_listener();
    for (int i = 0; i < COUNT; i++)
        threads[i] = st_thread_create(accept_one, listener, 1, 0);
    settle();
    for (int i = 0; i < COUNT; i++)
        clients[i] = connected();
    for (int i = 0; i < COUNT; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    assert_int_equal(accepted, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_ok(st_netfd_close(clients[i]));
    assert_ok(st_netfd_close(listener));
}

/* --- connect --- */

static void connect_is_refused(void)
{
    open_listener();
    assert_ok(st_netfd_close(listener)); /* nobody listens there now */
    st_netfd_t client = new_socket();
    assert_fails(st_connect(client, (struct sockaddr *)&addr, (int)addr_len, FOREVER),
                 ECONNREFUSED);
    assert_ok(st_netfd_close(client));
}

static void connect_errors(void)
{
    st_netfd_t client;

    open_listener();
    client = connected();
    /* Linux returns 0 once for a connect after EINPROGRESS. */
    (void)st_connect(client, (struct sockaddr *)&addr, (int)addr_len, FOREVER);
    assert_fails(st_connect(client, (struct sockaddr *)&addr, (int)addr_len, FOREVER), EISCONN);
    assert_fails(st_connect(listener, (struct sockaddr *)&addr, 1, FOREVER), EINVAL);
    assert_ok(st_netfd_close(client));
    assert_ok(st_netfd_close(listener));
}

static void connect_of_a_local_socket(void)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t len = sizeof(sa_family_t);

    /* An empty address: the system chooses a name in the abstract namespace. */
    assert_ok(bind(server, (struct sockaddr *)&path, len));
    len = sizeof(path);
    assert_ok(getsockname(server, (struct sockaddr *)&path, &len));
    assert_ok(listen(server, 5));
    st_netfd_t client = st_netfd_open_socket(socket(AF_UNIX, SOCK_STREAM, 0));
    assert_ok(st_connect(client, (struct sockaddr *)&path, (int)len, FOREVER));
    st_netfd_t in = st_netfd_open_socket(server);
    st_netfd_t conn = st_accept(in, NULL, NULL, FOREVER);
    assert_non_null(conn);
    assert_int_equal(st_write(client, "u", 1, FOREVER), 1);
    char byte = 0;
    assert_int_equal(st_read(conn, &byte, 1, FOREVER), 1);
    assert_int_equal(byte, 'u');
    assert_ok(st_netfd_close(conn));
    assert_ok(st_netfd_close(in));
    assert_ok(st_netfd_close(client));
}

/* A listener whose queue is full answers no SYN: the connect waits, and times out. */
static void connect_times_out(void)
{
    enum { QUEUE = 8 };
    struct sockaddr_in loopback = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM, 0), fillers[QUEUE];
    socklen_t len = sizeof(loopback);
    st_netfd_t client = new_socket();

    assert_ok(bind(server, (struct sockaddr *)&loopback, len));
    assert_ok(listen(server, 0));
    assert_ok(getsockname(server, (struct sockaddr *)&loopback, &len));
    for (int i = 0; i < QUEUE; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&loopback, len);
    }
    assert_fails(st_connect(client, (struct sockaddr *)&loopback, (int)len, 2000), ETIME);
    assert_ok(st_netfd_close(client));
    for (int i = 0; i < QUEUE; i++)
        close(fillers[i]);
    close(server);
}

/* --- one listener, several processes --- */

enum { CONNECTIONS = 40 };

static void *accept_and_tell(void *arg)
{
    char name = *(char *)arg;

    for (;;) {
        st_netfd_t conn = st_accept(listener, NULL, NULL, FOREVER);
        if (!conn)
            return NULL;
        st_write(conn, &name, 1, FOREVER);
        st_netfd_close(conn);
    }
}

/* As 1.9's programs do: st_init and the listening sockets first, then fork, then the threads of
 * each process. */
static pid_t fork_server(char name)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; i < 3; i++)
            st_thread_create(accept_and_tell, &name, 0, 0);
        st_usleep(FOREVER);
    }
    assert_true(pid > 0);
    return pid;
}

static void two_processes_share_a_listener(void)
{
    pid_t one, two;

    open_listener();
    assert_ok(st_netfd_serialize_accept(listener));
    one = fork_server('1');
    two = fork_server('2');
    for (int i = 0; i < CONNECTIONS; i++) {
        char name = 0;
        st_netfd_t client = connected();
        assert_int_equal(st_read(client, &name, 1, FOREVER), 1);
        assert_true(name == '1' || name == '2');
        assert_ok(st_netfd_close(client));
    }
    assert_ok(kill(one, SIGKILL));
    assert_ok(kill(two, SIGKILL));
    assert_int_equal(waitpid(one, NULL, 0), one);
    assert_int_equal(waitpid(two, NULL, 0), two);
    assert_ok(st_netfd_close(listener));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(clients_and_a_server),
        VP_TEST(accept_tells_the_peers_address),
        VP_TEST(accept_times_out),
        VP_TEST(accept_on_what_does_not_listen),
        VP_TEST(many_threads_accept_on_one_socket),
        VP_TEST(connect_is_refused),
        VP_TEST(connect_errors),
        VP_TEST(connect_of_a_local_socket),
        VP_TEST(connect_times_out),
        VP_TEST(two_processes_share_a_listener),
    };
    return cmocka_run_group_tests_name("accept_connect", tests, NULL, NULL);
}
