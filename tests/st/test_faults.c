/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failing syscalls and allocations, injected by counters (a -DST_FAULTS build of libst): checks
 * each call's errno, that nothing leaks or is half done, and that the next attempt succeeds.
 */
#include "tests/vp.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef ST_FAULTS
#define ST_FAULTS /* for tools that see only this file; the library needs it too */
#endif
#include "st/st_faults.h"

#define FOREVER ST_UTIME_NO_TIMEOUT

/* The nth call of this kind from now fails, once, with this errno (0: the kind's own). */
static void fail_nth(enum st__fault kind, long n, int error)
{
    st__fault_reset();
    if (error)
        st__fault_errno[kind] = error;
    st__fault_countdown[kind] = n;
}

static void fail_next(enum st__fault kind, int error)
{
    fail_nth(kind, 1, error);
}

/* --- st_init --- */

static void init_fails_cleanly(void)
{
    static const struct {
        enum st__fault kind;
        int error;
        int times; /* how many such calls there are */
    } cases[] = {
        {ST_FAULT_ATFORK, ENOMEM, 1},  {ST_FAULT_SIGACTION, EINVAL, 1},
        {ST_FAULT_MALLOC, ENOMEM, 2},  {ST_FAULT_EPOLL_CREATE, EMFILE, 1},
        {ST_FAULT_EVENTFD, EMFILE, 1}, {ST_FAULT_EPOLL_CTL, ENOMEM, 1},
    };
    int fds = open_descriptors();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int n = 1; n <= cases[i].times; n++) {
            fail_nth(cases[i].kind, n, 0);
            errno = 0;
            if (st_init() != -1 || errno != cases[i].error)
                fail_msg("%s: errno %d", st__fault_name[cases[i].kind], errno);
            assert_false(st_is_vp());
            assert_int_equal(open_descriptors(), fds);
        }
    st__fault_reset();
    assert_ok(st_init());
    assert_ok(st_destroy());
    assert_int_equal(open_descriptors(), fds);
}

/* A sandbox refuses these for good; the next best thing has to do. */

static void limits_may_stay_unknown(void)
{
    fail_next(ST_FAULT_GETRLIMIT, EPERM);
    assert_ok(st_init());
    assert_int_equal(st_getfdlimit(), 1024);
    assert_ok(st_destroy());
    fail_next(ST_FAULT_SETRLIMIT, EPERM);
    assert_ok(st_init());
    assert_true(st_getfdlimit() > 0);
    assert_ok(st_destroy());
    st__fault_reset();
}

static struct {
    st_remote_t remote;
    st_thread_t waiting;
    st_vp_t vp;
} posting;

static void unpark_by_post(st_remote_t *remote)
{
    (void)remote;
    st_thread_unpark(posting.waiting);
}

static void *post_when_asleep(void *arg)
{
    while (!st_vp_asleep(posting.vp))
        usleep(100);
    st_vp_post(posting.vp, &posting.remote);
    return arg;
}

static void a_pipe_wakes_as_an_eventfd_does(void)
{
    int fds = open_descriptors();

    fail_next(ST_FAULT_EVENTFD, ENOSYS);
    assert_ok(st_init());
    st__fault_reset();
    posting.remote.fn = unpark_by_post;
    posting.waiting = st_thread_self();
    posting.vp = st_vp_self();
    for (int i = 0; i < 20; i++) {
        pthread_t poster;

        assert_int_equal(pthread_create(&poster, NULL, post_when_asleep, NULL), 0);
        assert_ok(st_thread_park(30000000));
        assert_int_equal(pthread_join(poster, NULL), 0);
    }
    assert_ok(st_destroy());
    assert_int_equal(open_descriptors(), fds);
}

/* --- threads --- */

static void *nothing(void *arg)
{
    return arg;
}

static void create_one(void)
{
    st_thread_t thread = st_thread_create(nothing, NULL, 1, 0);

    assert_non_null(thread);
    assert_ok(st_thread_join(thread, NULL));
}

static void creation_fails_cleanly(void)
{
    static const enum st__fault kinds[] = {ST_FAULT_MALLOC, ST_FAULT_GUARD};
    st_stack_stats_t stacks;
    st_stats_t stats;

    for (size_t i = 0; i < 2; i++)
        for (int n = 1;; n++) {
            st_thread_t thread;

            fail_nth(kinds[i], n, 0);
            errno = 0;
            /* Of a new size, so that everything has to be created. */
            thread = st_thread_create(nothing, NULL, 1, 100000 + 4096 * (int)(10 * i) + 4096 * n);
            if (st__fault_countdown[kinds[i]] != 0) {
                assert_true(n > 1 || kinds[i] == ST_FAULT_GUARD);
                assert_ok(st_thread_join(thread, NULL));
                break;
            }
            assert_null(thread);
            assert_int_equal(errno, ENOMEM);
            st_get_stack_stats(&stacks);
            st_get_stats(&stats);
            assert_int_equal(stacks.in_use, 0);
            assert_int_equal(stats.threads, 1);
        }
    st__fault_reset();
    create_one();
}

/* A slab that the system refuses is retried with fewer stacks; without room for a single one, no
 * thread is created. */
static void slabs_get_smaller_before_creation_fails(void)
{
    st_stack_stats_t whole, less;

    fail_next(ST_FAULT_MMAP, 0);
    st_set_stack_cache(0);
    st_thread_t thread = st_thread_create(nothing, NULL, 1, 0);
    assert_non_null(thread);
    assert_int_equal(st__fault_countdown[ST_FAULT_MMAP], 0);
    st_get_stack_stats(&less);
    assert_ok(st_thread_join(thread, NULL)); /* and the slab goes */
    thread = st_thread_create(nothing, NULL, 1, 0);
    assert_non_null(thread);
    st_get_stack_stats(&whole);
    assert_int_equal(less.bytes_reserved * 2, whole.bytes_reserved);
    assert_ok(st_thread_join(thread, NULL));
    fail_next(ST_FAULT_MMAP, 0);
    assert_null_errno(st_thread_create(nothing, NULL, 1, 1 << 30), ENOMEM); /* one a slab */
    st_get_stack_stats(&less);
    assert_int_equal(less.bytes_reserved, 0);
    create_one();
}

static void a_guard_that_fails_is_an_error(void)
{
    st_stack_stats_t stacks;

    for (int mprotect_guards = 0; mprotect_guards < 2; mprotect_guards++) {
        st__force_mprotect_guards = mprotect_guards;
        assert_ok(st_init());
        st_get_stack_stats(&stacks);
        enum st__fault kind = stacks.guard_install ? ST_FAULT_GUARD : ST_FAULT_MPROTECT;
        fail_next(kind, 0);
        assert_null_errno(st_thread_create(nothing, NULL, 1, 0), ENOMEM);
        fail_next(kind, EINTR); /* is tried again */
        create_one();
        st__fault_reset();
        assert_ok(st_destroy());
    }
}

/* Room for each thread's timer is reserved at its creation: later waits cannot fail. */
static void *sleep_long(void *arg)
{
    (void)arg;
    assert_fails(st_usleep(3600000000ULL), EINTR);
    return NULL;
}

static void waiting_needs_no_memory(void)
{
    st_thread_t threads[300];

    for (int i = 0; i < 300; i++)
        assert_non_null(threads[i] = st_thread_create(sleep_long, NULL, 1, 0));
    st__fault_reset();
    st__fault_countdown[ST_FAULT_MALLOC] = -1;
    settle();
    for (int i = 0; i < 300; i++) {
        st_thread_interrupt(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
    }
    assert_int_equal(st__fault_calls[ST_FAULT_MALLOC], 0);
    st__fault_reset();
}

static void constructors_fail_with_enomem(void)
{
    int key = -1, value;

    fail_next(ST_FAULT_MALLOC, 0);
    assert_null_errno(st_cond_new(), ENOMEM);
    fail_next(ST_FAULT_MALLOC, 0);
    assert_null_errno(st_mutex_new(), ENOMEM);
    for (int i = 0; i < st_key_getlimit(); i++) /* the first few may need no memory */
        assert_ok(st_key_create(&key, NULL));
    fail_next(ST_FAULT_MALLOC, 0);
    assert_fails(st_thread_setspecific(key, &value), ENOMEM);
    assert_null(st_thread_getspecific(key));
    assert_ok(st_thread_setspecific(key, &value));
    assert_ptr_equal(st_thread_getspecific(key), &value);
}

/* --- descriptor objects --- */

static void netfds_fail_cleanly(void)
{
    int fds[2];

    assert_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    int before = open_descriptors();
    fail_next(ST_FAULT_MALLOC, 0);
    assert_null_errno(st_netfd_open(fds[0]), ENOMEM);
    fail_next(ST_FAULT_MALLOC, 0);
    assert_null_errno(st_netfd_open_socket(fds[0]), ENOMEM);
    for (int n = 1; n <= 2; n++) { /* F_GETFL, F_SETFL */
        fail_nth(ST_FAULT_FCNTL, n, 0);
        assert_null_errno(st_netfd_open(fds[0]), EBADF);
    }
    assert_int_equal(open_descriptors(), before); /* the descriptor stays the caller's */
    fail_next(ST_FAULT_IOCTL, 0);                 /* the other way is tried */
    st_netfd_t netfd = st_netfd_open_socket(fds[0]);
    assert_non_null(netfd);
    assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    fail_next(ST_FAULT_CLOSE, 0);
    assert_fails(st_netfd_close(netfd), EIO);
    assert_int_equal(open_descriptors(), before - 1);
    close(fds[1]);
}

static void open_fails_cleanly(void)
{
    int before = open_descriptors();

    fail_next(ST_FAULT_OPEN, 0);
    assert_null_errno(st_open("/dev/null", O_RDWR, 0), ENOENT);
    fail_next(ST_FAULT_MALLOC, 0);
    assert_null_errno(st_open("/dev/null", O_RDWR, 0), ENOMEM);
    assert_int_equal(open_descriptors(), before);
    fail_next(ST_FAULT_OPEN, EINTR);
    st_netfd_t netfd = st_open("/dev/null", O_RDWR, 0);
    assert_non_null(netfd);
    assert_ok(st_netfd_close(netfd));
}

/* --- connections --- */

static struct sockaddr_storage addr;
static socklen_t addr_len;

static void accept_fails_cleanly(void)
{
    st_netfd_t listener = st_netfd_open_socket(listen_on_loopback(&addr, &addr_len));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    static const int errors[] = {0, EMFILE, ENFILE, ENOBUFS, EPERM};

    assert_ok(connect(client, (struct sockaddr *)&addr, addr_len));
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        fail_next(ST_FAULT_ACCEPT, errors[i]);
        assert_null_errno(st_accept(listener, NULL, NULL, FOREVER),
                          errors[i] ? errors[i] : ECONNABORTED);
    }
    fail_next(ST_FAULT_ACCEPT, EINTR);
    st_netfd_t conn = st_accept(listener, NULL, NULL, FOREVER);
    assert_non_null(conn);
    assert_ok(st_netfd_close(conn));
    close(client);

    /* The connection is taken, but its object cannot be made: it is closed, not leaked. */
    client = socket(AF_INET, SOCK_STREAM, 0);
    assert_ok(connect(client, (struct sockaddr *)&addr, addr_len));
    int before = open_descriptors();
    fail_next(ST_FAULT_MALLOC, 0);
    conn = st_accept(listener, NULL, NULL, FOREVER);
    if (conn) /* made from a kept one: nothing was allocated */
        assert_ok(st_netfd_close(conn));
    else
        assert_int_equal(errno, ENOMEM);
    assert_int_equal(open_descriptors(), before);
    /* And while nobody connects, the wait cannot be registered. */
    fail_next(ST_FAULT_EPOLL_CTL, 0);
    assert_null_errno(st_accept(listener, NULL, NULL, 1000), ENOMEM);
    close(client);
    assert_ok(st_netfd_close(listener));
}

static st_netfd_t new_socket(void)
{
    return st_netfd_open_socket(socket(AF_INET, SOCK_STREAM, 0));
}

static int connect_now(st_netfd_t netfd)
{
    return st_connect(netfd, (struct sockaddr *)&addr, (int)addr_len, FOREVER);
}

static void connect_fails_cleanly(void)
{
    int listener = listen_on_loopback(&addr, &addr_len);
    static const struct {
        enum st__fault kind;
        int set, expected;
    } cases[] = {
        {ST_FAULT_CONNECT, 0, ECONNREFUSED},  {ST_FAULT_CONNECT, ENETUNREACH, ENETUNREACH},
        {ST_FAULT_GETSOCKOPT, 0, EBADF},      {ST_FAULT_EPOLL_CTL, 0, ENOMEM},
        {ST_FAULT_EPOLL_CTL, ENOSPC, ENOSPC},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        st_netfd_t netfd = new_socket();

        fail_next(cases[i].kind, cases[i].set);
        assert_fails(connect_now(netfd), cases[i].expected);
        assert_ok(st_netfd_close(netfd));
    }
    close(listener);
}

/* --- reading and writing --- */

static st_netfd_t netfd;
static int osfd;
static char buf[64];

static ssize_t do_read(void)
{
    return st_read(netfd, buf, 4, FOREVER);
}
static ssize_t do_read_fully(void)
{
    return st_read_fully(netfd, buf, 4, FOREVER);
}
static ssize_t do_read_resid(void)
{
    size_t left = 4;
    return st_read_resid(netfd, buf, &left, FOREVER) == 0 ? (ssize_t)(4 - left) : -1;
}
static ssize_t do_readv(void)
{
    struct iovec iov[2] = {{buf, 2}, {buf + 2, 2}};
    return st_readv(netfd, iov, 2, FOREVER);
}
static ssize_t do_readv_resid(void)
{
    struct iovec iov[2] = {{buf, 2}, {buf + 2, 2}}, *rest = iov;
    int count = 2;
    return st_readv_resid(netfd, &rest, &count, FOREVER) == 0 ? 4 - 2 * count : -1;
}
static ssize_t do_recvfrom(void)
{
    return st_recvfrom(netfd, buf, 4, NULL, NULL, FOREVER);
}
static ssize_t do_recvmsg(void)
{
    struct iovec iov = {buf, 4};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return st_recvmsg(netfd, &msg, 0, FOREVER);
}
static ssize_t do_write(void)
{
    return st_write(netfd, "data", 4, FOREVER);
}
static ssize_t do_write_resid(void)
{
    size_t left = 4;
    return st_write_resid(netfd, "data", &left, FOREVER) == 0 ? (ssize_t)(4 - left) : -1;
}
static ssize_t do_writev(void)
{
    struct iovec iov[2] = {{"da", 2}, {"ta", 2}};
    return st_writev(netfd, iov, 2, FOREVER);
}
static ssize_t do_writev_resid(void)
{
    struct iovec iov[2] = {{"da", 2}, {"ta", 2}}, *rest = iov;
    int count = 2;
    return st_writev_resid(netfd, &rest, &count, FOREVER) == 0 ? 4 - 2 * count : -1;
}
static ssize_t do_sendto(void)
{
    return st_sendto(netfd, "data", 4, NULL, 0, FOREVER);
}
static ssize_t do_sendmsg(void)
{
    struct iovec iov = {"data", 4};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return st_sendmsg(netfd, &msg, 0, FOREVER);
}

static const struct transfer {
    const char *name;
    ssize_t (*call)(void);
    int reads;
    /* The syscalls that it may make; one of them is the first. */
    enum st__fault kinds[2];
} transfers[] = {
    {"st_read", do_read, 1, {ST_FAULT_READ, ST_FAULT_READV}},
    {"st_read_fully", do_read_fully, 1, {ST_FAULT_READ, ST_FAULT_READV}},
    {"st_read_resid", do_read_resid, 1, {ST_FAULT_READ, ST_FAULT_READV}},
    {"st_readv", do_readv, 1, {ST_FAULT_READV, ST_FAULT_READ}},
    {"st_readv_resid", do_readv_resid, 1, {ST_FAULT_READV, ST_FAULT_READ}},
    {"st_recvfrom", do_recvfrom, 1, {ST_FAULT_RECVFROM, ST_FAULT_RECVFROM}},
    {"st_recvmsg", do_recvmsg, 1, {ST_FAULT_RECVMSG, ST_FAULT_RECVMSG}},
    {"st_write", do_write, 0, {ST_FAULT_WRITE, ST_FAULT_WRITEV}},
    {"st_write_resid", do_write_resid, 0, {ST_FAULT_WRITE, ST_FAULT_WRITEV}},
    {"st_writev", do_writev, 0, {ST_FAULT_WRITEV, ST_FAULT_WRITE}},
    {"st_writev_resid", do_writev_resid, 0, {ST_FAULT_WRITEV, ST_FAULT_WRITE}},
    {"st_sendto", do_sendto, 0, {ST_FAULT_SENDTO, ST_FAULT_SENDTO}},
    {"st_sendmsg", do_sendmsg, 0, {ST_FAULT_SENDMSG, ST_FAULT_SENDMSG}},
};
#define TRANSFERS (sizeof(transfers) / sizeof(transfers[0]))

static void begin(const struct transfer *transfer)
{
    netfd = netfd_half(&osfd);
    if (transfer->reads)
        assert_int_equal(write(osfd, "data", 4), 4);
}

static void end(void)
{
    st__fault_reset();
    assert_ok(st_netfd_close(netfd));
    close(osfd);
}

static void fail_both(const struct transfer *transfer, int error)
{
    st__fault_reset();
    for (int i = 0; i < 2; i++) {
        st__fault_errno[transfer->kinds[i]] = error;
        st__fault_countdown[transfer->kinds[i]] = 1;
    }
}

static void transfers_report_the_systems_error(void)
{
    for (size_t i = 0; i < TRANSFERS; i++) {
        begin(&transfers[i]);
        fail_both(&transfers[i], EIO);
        errno = 0;
        ssize_t n = transfers[i].call();
        if (n != -1 || errno != EIO)
            fail_msg("%s: %zd, errno %d", transfers[i].name, n, errno);
        end();
    }
}

static void transfers_go_on_after_eintr(void)
{
    for (size_t i = 0; i < TRANSFERS; i++) {
        begin(&transfers[i]);
        fail_next(transfers[i].kinds[0], EINTR);
        errno = 0;
        ssize_t n = transfers[i].call();
        if (n != 4)
            fail_msg("%s: %zd, errno %d", transfers[i].name, n, errno);
        end();
    }
}

/* EAGAIN on the first try of a descriptor that is not registered yet: the wait learns that it is
 * ready. */
static void transfers_wait_after_eagain(void)
{
    for (size_t i = 0; i < TRANSFERS; i++) {
        begin(&transfers[i]);
        fail_next(transfers[i].kinds[0], EAGAIN);
        errno = 0;
        ssize_t n = transfers[i].call();
        if (n != 4)
            fail_msg("%s: %zd, errno %d", transfers[i].name, n, errno);
        end();
    }
}

static void a_wait_that_cannot_be_registered(void)
{
    for (size_t i = 0; i < TRANSFERS; i++) {
        begin(&transfers[i]);
        fail_next(transfers[i].kinds[0], EAGAIN);
        st__fault_countdown[ST_FAULT_EPOLL_CTL] = 1;
        errno = 0;
        ssize_t n = transfers[i].call();
        if (n != -1 || errno != ENOMEM)
            fail_msg("%s: %zd, errno %d", transfers[i].name, n, errno);
        n = transfers[i].call(); /* nothing is left of the failure */
        if (n != 4)
            fail_msg("%s again: %zd, errno %d", transfers[i].name, n, errno);
        end();
    }
}

static void a_long_writev_needs_memory_for_its_rest(void)
{
    enum { PARTS = 64, PART = 32768 };
    static char block[PART];
    struct iovec iov[PARTS];

    for (int i = 0; i < PARTS; i++)
        iov[i] = (struct iovec){block, PART};
    netfd = netfd_half(&osfd);
    fail_next(ST_FAULT_MALLOC, 0);
    errno = 0;
    ssize_t n = st_writev(netfd, iov, PARTS, 1000);
    assert_int_equal(n, -1);
    /* Without a copy on the heap it would be the timeout. */
    assert_true(errno == ENOMEM || (errno == ETIME && st__fault_countdown[ST_FAULT_MALLOC] == 1));
    end();
}

/* --- readiness, polls, watches --- */

static void fd_wait_fails_cleanly(void)
{
    netfd = netfd_half(&osfd);
    int high = fcntl(osfd, F_DUPFD, 3000);
    for (int n = 1; n <= 2; n++) { /* the directory of the table, a part of it */
        fail_nth(ST_FAULT_MALLOC, n, 0);
        errno = 0;
        int ready = st_fd_wait(high, POLLOUT, FOREVER);
        if (st__fault_countdown[ST_FAULT_MALLOC] != 0)
            break;
        assert_int_equal(ready, -1);
        assert_int_equal(errno, ENOMEM);
    }
    st__fault_reset();
    st_fd_forget(high);
    fail_next(ST_FAULT_EPOLL_CTL, 0);
    assert_fails(st_fd_wait(high, POLLOUT, FOREVER), ENOMEM);
    fail_next(ST_FAULT_EPOLL_CTL, ENOSPC);
    assert_fails(st_fd_wait(high, POLLOUT, FOREVER), ENOSPC);
    fail_next(ST_FAULT_EPOLL_CTL, 0);
    assert_fails(st_fd_rearm(high), ENOMEM);
    assert_int_equal(st_fd_wait(high, POLLOUT, FOREVER), POLLOUT);
    fail_next(ST_FAULT_EPOLL_CTL, 0); /* registered now: a MOD */
    assert_fails(st_fd_rearm(high), ENOMEM);
    assert_int_equal(st_fd_wait(high, POLLOUT, FOREVER), POLLOUT);
    st_fd_forget(high);
    close(high);
    end();
}

static void *wait_readable(void *arg)
{
    *(int *)arg = st_fd_wait(osfd, POLLIN, FOREVER) < 0 ? errno : 0;
    return NULL;
}

/* After a failed registration nothing would wake its waiters: they are told. */
static void a_failed_rearm_strands_nobody(void)
{
    int error = 0;

    netfd = netfd_half(&osfd);
    st_thread_t thread = st_thread_create(wait_readable, &error, 1, 0);
    settle();
    fail_next(ST_FAULT_EPOLL_CTL, 0);
    assert_fails(st_fd_rearm(osfd), ENOMEM);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(error, EBADF);
    end();
}

static void poll_fails_cleanly(void)
{
    enum { COUNT = 20 };
    struct pollfd pds[COUNT];
    int pairs[COUNT][2];
    st_stats_t stats;

    for (int i = 0; i < COUNT; i++) {
        socket_pair(pairs[i], true);
        pds[i] = (struct pollfd){.fd = pairs[i][0], .events = POLLIN};
    }
    fail_next(ST_FAULT_POLL, 0);
    assert_fails(st_poll(pds, COUNT, FOREVER), ENOMEM);
    fail_next(ST_FAULT_POLL, 0);
    assert_fails(st_poll(pds, 1, ST_UTIME_NO_WAIT), ENOMEM);
    fail_next(ST_FAULT_MALLOC, 0);
    assert_fails(st_poll(pds, COUNT, FOREVER), ENOMEM);
    for (int n = 1; n <= COUNT; n++) {
        fail_nth(ST_FAULT_EPOLL_CTL, n, 0);
        assert_fails(st_poll(pds, COUNT, FOREVER), ENOMEM);
        st_get_stats(&stats);
        assert_int_equal(stats.waiting_fds, 0); /* those before it are taken back */
    }
    st__fault_reset();
    assert_int_equal(st_poll(pds, COUNT, 100), 0);
    assert_int_equal(write(pairs[7][1], "p", 1), 1);
    assert_int_equal(st_poll(pds, COUNT, FOREVER), 1);
    assert_int_equal(pds[7].revents, POLLIN);
    for (int i = 0; i < COUNT; i++) {
        st_fd_forget(pairs[i][0]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}

static int fired;

static void fire(st_watch_t *watch, int ready)
{
    (void)watch;
    (void)ready;
    fired++;
}

static void watches_fail_cleanly(void)
{
    enum { COUNT = 200 };
    static st_watch_t timers[COUNT];
    st_watch_t watch, acceptor;
    st_stats_t stats;
    int failures = 0;

    netfd = netfd_half(&osfd);
    st_watch_init(&watch, osfd, 0, fire);
    fail_next(ST_FAULT_EPOLL_CTL, 0);
    assert_fails(st_watch_arm(&watch, POLLIN, 1000), ENOMEM);
    st_watch_init(&acceptor, listen_on_loopback(&addr, &addr_len), ST_WATCH_ACCEPT, fire);
    fail_next(ST_FAULT_EPOLL_CTL, 0);
    assert_fails(st_watch_arm(&acceptor, POLLIN, FOREVER), ENOMEM);
    st_get_stats(&stats);
    assert_int_equal(stats.watches_armed, 0);
    assert_int_equal(stats.waiting_fds, 0);

    /* Every allocation fails: arming works while there is room, and says so when there is none. */
    st__fault_reset();
    st__fault_countdown[ST_FAULT_MALLOC] = -1;
    for (int i = 0; i < COUNT; i++) {
        st_watch_init(&timers[i], -1, 0, fire);
        if (st_watch_arm(&timers[i], 0, 3600000000ULL) < 0) {
            assert_int_equal(errno, ENOMEM);
            failures++;
        }
    }
    assert_true(failures > 0 && failures < COUNT);
    st_get_stats(&stats);
    assert_int_equal(stats.watches_armed, COUNT - failures);
    st__fault_reset();
    for (int i = 0; i < COUNT; i++) {
        assert_ok(st_watch_arm(&timers[i], 0, 3600000000ULL));
        st_watch_free(&timers[i]);
    }
    st_watch_free(&watch);
    assert_ok(st_watch_arm(&acceptor, POLLIN, FOREVER));
    st_watch_free(&acceptor);
    assert_int_equal(fired, 0);
    end();
}

/* --- the scheduler --- */

static void epoll_wait_may_be_interrupted(void)
{
    netfd = netfd_half(&osfd);
    st__fault_reset();
    for (int i = 0; i < 20; i++) {
        fail_next(ST_FAULT_EPOLL_WAIT, EINTR);
        assert_ok(st_usleep(10));
        assert_fails(st_read(netfd, buf, 1, 10), ETIME);
    }
    assert_int_equal(write(osfd, "i", 1), 1);
    fail_next(ST_FAULT_EPOLL_WAIT, EINTR);
    assert_int_equal(st_read(netfd, buf, 1, FOREVER), 1);
    end();
}

/* Once the wait has failed. */
static void after_the_fault(wakeup_t *wakeup)
{
    (void)wakeup;
    while (*(volatile long *)&st__fault_countdown[ST_FAULT_EPOLL_WAIT] != 0)
        usleep(100);
}

/* However slow the machine is, this wait is the one that fails: its timeout is far away. */
static void sleep_with_a_failing_wait(int error)
{
    wakeup_t wakeup = wakeup_here();

    fail_next(ST_FAULT_EPOLL_WAIT, error);
    park_until_woken(&wakeup, 600 * 1000000ULL, after_the_fault);
}

/* An old kernel, or a filter that forbids calls it does not know: the older call is used. */
static void epoll_pwait2_may_be_missing(void)
{
    static const int errors[] = {ENOSYS, EPERM};

    if (under_valgrind())
        skip_test("under Valgrind libst does not try epoll_pwait2");
    for (size_t i = 0; i < 2; i++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) { /* a process that does not know yet */
            assert_ok(st_init());
            sleep_with_a_failing_wait(errors[i]);
            assert_ok(st_usleep(1));
            exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

static void epoll_is_gone(void)
{
    assert_ok(st_init());
    st__fault_errno[ST_FAULT_EPOLL_WAIT] = EBADF;
    st__fault_countdown[ST_FAULT_EPOLL_WAIT] = -1;
    st_usleep(1000);
    _exit(0);
}

/* A VP without its epoll descriptor could only hang: it aborts. */
static void a_lost_epoll_aborts(void)
{
    int status = run_child(epoll_is_gone);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void a_child_that_cannot_revive(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        fail_next(ST_FAULT_EPOLL_CREATE, 0);
        assert_fails(st_init(), EMFILE);
        assert_false(st_is_vp());
        fail_next(ST_FAULT_EVENTFD, 0);
        assert_null(st_thread_create(nothing, NULL, 1, 0));
        assert_int_equal(errno, EMFILE);
        st__fault_reset();
        assert_ok(st_init());
        create_one();
        _exit(9);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 9);
}

/* --- everything, with each call failing once --- */

static void *echo(void *arg)
{
    char data[8];
    ssize_t n;

    while ((n = st_read(arg, data, sizeof(data), 100000)) > 0)
        if (st_write(arg, data, (size_t)n, 100000) < 0)
            break;
    return NULL;
}

static void try_streams(void)
{
    struct pollfd pds[10];
    char data[8];
    int fds[2];
    st_netfd_t left, right;
    st_thread_t thread = NULL;

    socket_pair(fds, true);
    left = st_netfd_open_socket(fds[0]);
    right = st_netfd_open(fds[1]);
    for (int i = 0; i < 10; i++)
        pds[i] = (struct pollfd){.fd = fds[0], .events = POLLIN};
    if (left && right)
        thread = st_thread_create(echo, right, 1, 0);
    if (thread) {
        if (st_write(left, "ping", 4, FOREVER) == 4)
            (void)st_poll(pds, 10, 1000);
        (void)st_read(left, data, 4, 1000);
        (void)st_netfd_poll(left, POLLOUT, 1000);
        (void)shutdown(fds[0], SHUT_WR);
        assert_ok(st_thread_join(thread, NULL));
    }
    if (left)
        st_netfd_close(left);
    else
        close(fds[0]);
    if (right)
        st_netfd_close(right);
    else
        close(fds[1]);
}

static void try_watches(void)
{
    st_watch_t timer, reader;
    int fds[2];

    socket_pair(fds, true);
    st_watch_init(&timer, -1, 0, fire);
    st_watch_init(&reader, fds[0], 0, fire);
    (void)st_watch_arm(&timer, 0, 10);
    (void)st_watch_arm(&reader, POLLIN, 1000000);
    assert_int_equal(write(fds[1], "w", 1), 1);
    (void)st_usleep(20);
    st_watch_free(&timer);
    st_watch_free(&reader);
    st_fd_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static void try_connection(void)
{
    int os_listener = listen_on_loopback(&addr, &addr_len);
    st_netfd_t listener = st_netfd_open_socket(os_listener), conn = NULL, client = NULL;
    int os_client = socket(AF_INET, SOCK_STREAM, 0);

    client = st_netfd_open_socket(os_client);
    if (listener && client && connect_now(client) == 0)
        conn = st_accept(listener, NULL, NULL, 1000);
    if (conn)
        st_netfd_close(conn);
    if (client)
        st_netfd_close(client);
    else
        close(os_client);
    if (listener)
        st_netfd_close(listener);
    else
        close(os_listener);
}

static void try_everything(void)
{
    if (st_init() < 0)
        return;
    try_streams();
    try_watches();
    try_connection();
    st_cond_t cond = st_cond_new();
    if (cond)
        assert_ok(st_cond_destroy(cond));
    assert_ok(st_destroy());
}

static void each_call_fails_once(void)
{
    int fds, kinds_hit = 0;

    try_everything();
    fds = open_descriptors();
    for (int kind = 0; kind < ST_FAULT_COUNT; kind++)
        for (long n = 1; n < 1000; n++) {
            fail_nth((enum st__fault)kind, n, 0);
            if (kind == ST_FAULT_EPOLL_WAIT)
                st__fault_errno[kind] = EINTR;
            try_everything();
            if (open_descriptors() != fds)
                fail_msg("%s %ld: a descriptor leaks", st__fault_name[kind], n);
            if (st__fault_countdown[kind] != 0)
                break;
            kinds_hit += n == 1;
        }
    assert_true(kinds_hit >= 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(init_fails_cleanly),
        RAW_TEST(limits_may_stay_unknown),
        RAW_TEST(a_pipe_wakes_as_an_eventfd_does),
        VP_TEST(creation_fails_cleanly),
        VP_TEST(slabs_get_smaller_before_creation_fails),
        RAW_TEST(a_guard_that_fails_is_an_error),
        VP_TEST(waiting_needs_no_memory),
        VP_TEST(constructors_fail_with_enomem),
        VP_TEST(netfds_fail_cleanly),
        VP_TEST(open_fails_cleanly),
        VP_TEST(accept_fails_cleanly),
        VP_TEST(connect_fails_cleanly),
        VP_TEST(transfers_report_the_systems_error),
        VP_TEST(transfers_go_on_after_eintr),
        VP_TEST(transfers_wait_after_eagain),
        VP_TEST(a_wait_that_cannot_be_registered),
        VP_TEST(a_long_writev_needs_memory_for_its_rest),
        VP_TEST(fd_wait_fails_cleanly),
        VP_TEST(a_failed_rearm_strands_nobody),
        VP_TEST(poll_fails_cleanly),
        VP_TEST(watches_fail_cleanly),
        VP_TEST(epoll_wait_may_be_interrupted),
        RAW_TEST(epoll_pwait2_may_be_missing),
        RAW_TEST(a_lost_epoll_aborts),
        VP_TEST(a_child_that_cannot_revive),
        RAW_TEST(each_call_fails_once),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
