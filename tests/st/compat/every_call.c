/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program for State Threads 1.9 that makes every call of its st.h and prints the results. Built
 * unchanged with 1.9's header and library and with ours; the two outputs must be the same
 * (compat.sh). Nothing newer may be used here.
 */
#include <st.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SECOND 1000000ULL

static st_cond_t cond;
static st_mutex_t mutex;
static int key;
static char buf[100];

/* Prints "call: value", and the name of errno if the value is -1. */
static void say(const char *call, long value)
{
    int err = errno;

    if (value == -1)
        printf("%s: -1 %s\n", call, strerror(err));
    else
        printf("%s: %ld\n", call, value);
    fflush(stdout);
}
#define SAY(call) say(#call, (long)(call))

static void destroy_value(void *value)
{
    printf("destroyed %s\n", (char *)value);
}

/* --- threads, keys, time --- */

static int switches;

static void count_switch(void)
{
    switches++;
}

static void *root(void *arg)
{
    SAY(st_thread_setspecific(key, arg));
    SAY(strcmp(st_thread_getspecific(key), arg));
    SAY(st_usleep(ST_UTIME_NO_WAIT));
    st_thread_exit("value");
    return NULL;
}

static void *sleeper(void *arg)
{
    (void)arg;
    SAY(st_sleep(1000));
    SAY(st_usleep(1000 * SECOND));
    return NULL;
}

static void threads(void)
{
    void *value = NULL;
    st_thread_t thread;

    SAY(st_key_create(&key, destroy_value));
    SAY(st_key_getlimit() >= 16);
    SAY(st_thread_setspecific(1000, NULL));
    SAY(!st_thread_getspecific(key));
    SAY(!st_set_switch_in_cb(count_switch));
    SAY(!st_set_switch_out_cb(count_switch));
    thread = st_thread_create(root, "private", 1, 0);
    SAY(thread && thread != st_thread_self());
    SAY(st_thread_join(thread, &value));
    printf("joined %s\n", (char *)value);
    SAY(switches > 2);
    SAY(st_set_switch_in_cb(NULL) == count_switch);
    SAY(st_set_switch_out_cb(NULL) == count_switch);

    thread = st_thread_create(sleeper, NULL, 1, 32 * 1024);
    SAY(st_sleep(0));
    st_thread_interrupt(thread);
    SAY(st_usleep(0));
    st_thread_interrupt(thread);
    SAY(st_thread_join(thread, NULL));
    thread = st_thread_create(sleeper, NULL, 0, 0);
    SAY(st_thread_join(thread, NULL));
    st_thread_interrupt(thread);
    SAY(st_usleep(1000));
    st_thread_interrupt(thread);
    SAY(st_usleep(1000));
    SAY(st_randomize_stacks(1));
    SAY(st_randomize_stacks(0) != 0);
}

static void times(void)
{
    st_utime_t before = st_utime();

    SAY(st_usleep(2000));
    SAY(st_utime() > before && st_utime_last_clock() > before &&
        st_utime_last_clock() <= st_utime());
    SAY(st_timecache_set(1));
    SAY(st_time() - time(NULL) <= 1);
    SAY(st_timecache_set(0));
}

/* --- synchronization --- */

static void *waiter(void *arg)
{
    (void)arg;
    SAY(st_cond_wait(cond));
    SAY(st_cond_timedwait(cond, 1000 * SECOND));
    SAY(st_mutex_lock(mutex));
    SAY(st_mutex_unlock(mutex));
    return NULL;
}

static void synchronization(void)
{
    st_thread_t thread;

    SAY(!!(cond = st_cond_new()));
    SAY(!!(mutex = st_mutex_new()));
    SAY(st_mutex_lock(mutex));
    SAY(st_mutex_lock(mutex));
    SAY(st_mutex_trylock(mutex));
    thread = st_thread_create(waiter, NULL, 1, 0);
    st_sleep(0);
    SAY(st_cond_destroy(cond));
    SAY(st_cond_signal(cond));
    st_sleep(0);
    SAY(st_cond_broadcast(cond));
    st_sleep(0);
    SAY(st_mutex_destroy(mutex));
    SAY(st_mutex_unlock(mutex));
    SAY(st_thread_join(thread, NULL));
    SAY(st_mutex_unlock(mutex));
    SAY(st_cond_timedwait(cond, 1000));
    SAY(st_cond_destroy(cond));
    SAY(st_mutex_destroy(mutex));
}

/* --- streams --- */

static st_netfd_t client, server, listener;
static struct sockaddr_in address;

static void *serve(void *arg)
{
    struct sockaddr_in from;
    int len = sizeof(from);

    (void)arg;
    server = st_accept(listener, (struct sockaddr *)&from, &len, 10 * SECOND);
    if (len != sizeof(from))
        exit(1);
    return NULL;
}

static void connect_pair(void)
{
    socklen_t len = sizeof(address);
    int osfd = socket(AF_INET, SOCK_STREAM, 0);
    st_thread_t thread;

    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SAY(bind(osfd, (struct sockaddr *)&address, sizeof(address)));
    SAY(listen(osfd, 5));
    SAY(getsockname(osfd, (struct sockaddr *)&address, &len));
    SAY(!!(listener = st_netfd_open_socket(osfd)));
    SAY(st_netfd_serialize_accept(listener));
    SAY(st_netfd_fileno(listener) == osfd);
    SAY(!st_accept(listener, NULL, NULL, 1000) && errno == ETIME);
    thread = st_thread_create(serve, NULL, 1, 0);
    SAY(!!(client = st_netfd_open_socket(socket(AF_INET, SOCK_STREAM, 0))));
    SAY(st_connect(client, (struct sockaddr *)&address, sizeof(address), 10 * SECOND));
    SAY(st_thread_join(thread, NULL));
    SAY(!!server);
    st_netfd_setspecific(client, "client's", destroy_value);
    SAY(strcmp(st_netfd_getspecific(client), "client's"));
}

static void streams(void)
{
    char one[3], two[4];
    struct iovec out[2] = {{"abc", 3}, {"defg", 4}}, in[2] = {{one, 3}, {two, 4}}, *rest;
    size_t resid = 5;
    int count = 2;

    connect_pair();
    SAY(st_write(client, "hello", 5, ST_UTIME_NO_TIMEOUT));
    SAY(st_netfd_poll(server, POLLIN, 10 * SECOND));
    SAY(st_read(server, buf, sizeof(buf), ST_UTIME_NO_TIMEOUT));
    SAY(st_read(server, buf, sizeof(buf), 1000));
    SAY(st_netfd_poll(server, POLLIN, 1000));
    SAY(st_write_resid(client, "hello", &resid, ST_UTIME_NO_TIMEOUT));
    SAY(resid);
    SAY(st_read_fully(server, buf, 5, ST_UTIME_NO_TIMEOUT));
    SAY(st_writev(client, out, 2, ST_UTIME_NO_TIMEOUT));
    SAY(st_readv(server, in, 2, ST_UTIME_NO_TIMEOUT));
    printf("%.3s %.4s\n", one, two);
    rest = out;
    SAY(st_writev_resid(client, &rest, &count, ST_UTIME_NO_TIMEOUT));
    SAY(count == 0 && rest == out + 2);
    rest = in;
    count = 2;
    SAY(st_readv_resid(server, &rest, &count, ST_UTIME_NO_TIMEOUT));
    SAY(count == 0 && rest == in + 2);
    SAY(st_write(client, "end", 3, ST_UTIME_NO_TIMEOUT));
    SAY(st_netfd_close(client));
    resid = 5;
    SAY(st_read_resid(server, buf, &resid, ST_UTIME_NO_TIMEOUT));
    SAY(resid);
    SAY(st_read(server, buf, 1, ST_UTIME_NO_TIMEOUT));
    SAY(st_netfd_close(server));
}

static void polls(void)
{
    int ends[2];
    struct pollfd pds[2];
    st_netfd_t in, out;

    SAY(pipe(ends));
    SAY(!!(in = st_netfd_open(ends[0])));
    SAY(!!(out = st_netfd_open(ends[1])));
    pds[0].fd = ends[0];
    pds[0].events = POLLIN;
    pds[1].fd = ends[1];
    pds[1].events = POLLOUT;
    SAY(st_poll(pds, 1, 1000));
    SAY(st_poll(pds, 2, ST_UTIME_NO_TIMEOUT));
    SAY(pds[0].revents);
    SAY(pds[1].revents == POLLOUT);
    SAY(st_write(out, "x", 1, ST_UTIME_NO_TIMEOUT));
    SAY(st_poll(pds, 2, ST_UTIME_NO_TIMEOUT));
    st_netfd_free(out);
    close(ends[1]);
    SAY(st_read_fully(in, buf, 10, ST_UTIME_NO_TIMEOUT));
    SAY(st_netfd_close(in));
}

/* --- messages and files --- */

static void messages(void)
{
    struct iovec out = {"sent", 4}, in = {buf, sizeof(buf)};
    struct msghdr message;
    int from_len = 0;
    int fds[2];
    st_netfd_t left, right;

    SAY(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
    left = st_netfd_open_socket(fds[0]);
    right = st_netfd_open_socket(fds[1]);
    SAY(st_sendto(left, "datagram", 8, NULL, 0, ST_UTIME_NO_TIMEOUT));
    SAY(st_recvfrom(right, buf, sizeof(buf), NULL, &from_len, ST_UTIME_NO_TIMEOUT));
    memset(&message, 0, sizeof(message));
    message.msg_iov = &out;
    message.msg_iovlen = 1;
    SAY(st_sendmsg(left, &message, 0, ST_UTIME_NO_TIMEOUT));
    message.msg_iov = &in;
    SAY(st_recvmsg(right, &message, 0, ST_UTIME_NO_TIMEOUT));
    SAY(st_recvmsg(right, &message, 0, 1000));
    SAY(st_netfd_close(left));
    SAY(st_netfd_close(right));
}

static void files(void)
{
    st_netfd_t file;

    SAY(!!(file = st_open("/dev/null", O_RDWR, 0)));
    SAY(st_write(file, "gone", 4, ST_UTIME_NO_TIMEOUT));
    SAY(st_read(file, buf, 4, ST_UTIME_NO_TIMEOUT));
    SAY(st_netfd_close(file));
    SAY(!st_open("/nonexistent", O_RDONLY, 0) && errno == ENOENT);
}

/* --- processes: st_init first, fork later, as the manual's "Program Structure" has it --- */

static void *answer(void *arg)
{
    st_netfd_t conn = st_accept(listener, NULL, NULL, 10 * SECOND);

    (void)arg;
    if (!conn || st_write(conn, "child", 5, 10 * SECOND) != 5)
        exit(1);
    st_netfd_close(conn);
    exit(7);
}

static void processes(void)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        st_thread_create(answer, NULL, 0, 0);
        st_thread_exit(NULL);
    }
    client = st_netfd_open_socket(socket(AF_INET, SOCK_STREAM, 0));
    SAY(st_connect(client, (struct sockaddr *)&address, sizeof(address), 10 * SECOND));
    SAY(st_read_fully(client, buf, 5, 10 * SECOND));
    SAY(st_netfd_close(client));
    SAY(waitpid(pid, &status, 0) == pid);
    SAY(WEXITSTATUS(status));
    SAY(st_netfd_close(listener));
}

static st_utime_t own_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (st_utime_t)now.tv_sec * SECOND + (st_utime_t)now.tv_nsec / 1000;
}

int main(void)
{
    alarm(60);
    SAY(st_getfdlimit() == -1);
    SAY(st_get_eventsys() == -1);
    SAY(strlen(st_get_eventsys_name()));
    SAY(st_set_utime_function(own_clock));
    SAY(st_set_eventsys(99));
    SAY(st_set_eventsys(ST_EVENTSYS_POLL));
    SAY(st_init());
    SAY(st_init());
    SAY(st_set_eventsys(ST_EVENTSYS_DEFAULT));
    SAY(st_set_utime_function(NULL));
    SAY(st_get_eventsys() > 0);
    SAY(strlen(st_get_eventsys_name()) > 0);
    SAY(st_getfdlimit() > 3);
    threads();
    times();
    synchronization();
    streams();
    polls();
    messages();
    files();
    processes();
    return ST_VERSION_MAJOR >= 1 && ST_VERSION_MINOR >= 0 && sizeof(ST_VERSION) > 1 ? 0 : 1;
}
