/* SPDX-License-Identifier: Apache-2.0 */
/* st_thread_interrupt: in every blocking call, before the block, twice, on an ended thread, and in
 * a race with the wakeup. */
#include "tests/vp.h"

#include <netinet/in.h>
#include <sys/uio.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

/* --- every blocking call --- */

static st_netfd_t empty, full, listener, datagram;
static st_cond_t cond;
static st_mutex_t mutex;
static st_thread_t target;
static char byte;

static int do_usleep(void)
{
    return st_usleep(FOREVER);
}
static int do_sleep(void)
{
    return st_sleep(-1);
}
static int do_sleep_long(void)
{
    return st_sleep(3600);
}
static int do_join(void)
{
    return st_thread_join(target, NULL);
}
static int do_cond_wait(void)
{
    return st_cond_wait(cond);
}
static int do_cond_timedwait(void)
{
    return st_cond_timedwait(cond, 3600000000ULL);
}
static int do_mutex_lock(void)
{
    return st_mutex_lock(mutex);
}
static int do_netfd_poll(void)
{
    return st_netfd_poll(empty, POLLIN, FOREVER);
}
static int do_poll(void)
{
    struct pollfd pd = {.fd = st_netfd_fileno(empty), .events = POLLIN};
    return st_poll(&pd, 1, FOREVER);
}
static int do_accept(void)
{
    return st_accept(listener, NULL, NULL, FOREVER) ? 0 : -1;
}
static int do_read(void)
{
    return (int)st_read(empty, &byte, 1, FOREVER);
}
static int do_read_fully(void)
{
    return (int)st_read_fully(empty, &byte, 1, FOREVER);
}
static int do_read_resid(void)
{
    size_t left = 1;
    return st_read_resid(empty, &byte, &left, FOREVER);
}
static int do_readv(void)
{
    struct iovec iov = {&byte, 1};
    return (int)st_readv(empty, &iov, 1, FOREVER);
}
static int do_readv_resid(void)
{
    struct iovec iov = {&byte, 1}, *left = &iov;
    int count = 1;
    return st_readv_resid(empty, &left, &count, FOREVER);
}
static int do_write(void)
{
    return (int)st_write(full, &byte, 1, FOREVER);
}
static int do_write_resid(void)
{
    size_t left = 1;
    return st_write_resid(full, &byte, &left, FOREVER);
}
static int do_writev(void)
{
    struct iovec iov[2] = {{&byte, 1}, {&byte, 1}};
    return (int)st_writev(full, iov, 2, FOREVER);
}
static int do_writev_resid(void)
{
    struct iovec iov = {&byte, 1}, *left = &iov;
    int count = 1;
    return st_writev_resid(full, &left, &count, FOREVER);
}
static int do_recvfrom(void)
{
    return st_recvfrom(datagram, &byte, 1, NULL, NULL, FOREVER);
}
static int do_recvmsg(void)
{
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return st_recvmsg(datagram, &msg, 0, FOREVER);
}
static int do_sendto(void)
{
    return st_sendto(full, &byte, 1, NULL, 0, FOREVER);
}
static int do_sendmsg(void)
{
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return st_sendmsg(full, &msg, 0, FOREVER);
}

static const struct {
    const char *name;
    int (*call)(void);
} calls[] = {
    {"st_usleep", do_usleep},
    {"st_sleep", do_sleep},
    {"st_sleep with a time", do_sleep_long},
    {"st_thread_join", do_join},
    {"st_cond_wait", do_cond_wait},
    {"st_cond_timedwait", do_cond_timedwait},
    {"st_mutex_lock", do_mutex_lock},
    {"st_netfd_poll", do_netfd_poll},
    {"st_poll", do_poll},
    {"st_accept", do_accept},
    {"st_read", do_read},
    {"st_read_fully", do_read_fully},
    {"st_read_resid", do_read_resid},
    {"st_readv", do_readv},
    {"st_readv_resid", do_readv_resid},
    {"st_write", do_write},
    {"st_write_resid", do_write_resid},
    {"st_writev", do_writev},
    {"st_writev_resid", do_writev_resid},
    {"st_recvfrom", do_recvfrom},
    {"st_recvmsg", do_recvmsg},
    {"st_sendto", do_sendto},
    {"st_sendmsg", do_sendmsg},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void *sleep_forever(void *arg)
{
    (void)arg;
    st_usleep(FOREVER);
    return NULL;
}

static int blocked;

static void *call_and_expect_eintr(void *arg)
{
    int (*call)(void) = *(int (**)(void))arg;
    int result;

    blocked++;
    errno = 0;
    result = call();
    blocked--;
    return (void *)(intptr_t)(result == -1 ? errno : -1);
}

static int osfds[2];

static void open_everything(void)
{
    struct sockaddr_storage addr;
    struct sockaddr_in loopback = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len;
    int udp = socket(AF_INET, SOCK_DGRAM, 0);

    empty = netfd_half(&osfds[0]);
    full = netfd_half(&osfds[1]);
    fill_socket(st_netfd_fileno(full));
    listener = st_netfd_open_socket(listen_on_loopback(&addr, &len));
    assert_ok(bind(udp, (struct sockaddr *)&loopback, sizeof(loopback)));
    datagram = st_netfd_open_socket(udp);
    cond = st_cond_new();
    mutex = st_mutex_new();
    assert_ok(st_mutex_lock(mutex));
    target = st_thread_create(sleep_forever, NULL, 1, 0);
    settle();
}

static void close_everything(void)
{
    st_thread_interrupt(target);
    assert_ok(st_thread_join(target, NULL));
    assert_ok(st_mutex_unlock(mutex));
    assert_ok(st_mutex_destroy(mutex));
    assert_ok(st_cond_destroy(cond));
    assert_ok(st_netfd_close(empty));
    assert_ok(st_netfd_close(full));
    assert_ok(st_netfd_close(listener));
    assert_ok(st_netfd_close(datagram));
    close(osfds[0]);
    close(osfds[1]);
}

static void every_blocking_call_is_interrupted(void)
{
    open_everything();
    for (size_t i = 0; i < CALLS; i++) {
        void *error = NULL;
        st_thread_t thread =
            st_thread_create(call_and_expect_eintr, (void *)(uintptr_t)&calls[i].call, 1, 0);

        settle();
        if (blocked != 1)
            fail_msg("%s did not block", calls[i].name);
        st_thread_interrupt(thread);
        assert_ok(st_thread_join(thread, &error));
        if ((intptr_t)error != EINTR)
            fail_msg("%s: errno %d instead of EINTR", calls[i].name, (int)(intptr_t)error);
    }
    close_everything();
}

static void an_interrupt_before_the_block_is_kept(void)
{
    open_everything();
    for (size_t i = 0; i < CALLS; i++) {
        void *error = NULL;
        st_thread_t thread =
            st_thread_create(call_and_expect_eintr, (void *)(uintptr_t)&calls[i].call, 1, 0);

        st_thread_interrupt(thread); /* it is ready, and has not begun */
        assert_ok(st_thread_join(thread, &error));
        if ((intptr_t)error != EINTR)
            fail_msg("%s: errno %d instead of EINTR", calls[i].name, (int)(intptr_t)error);
    }
    close_everything();
}

/* --- what it is not --- */

static void it_does_not_stay_after_it_was_told(void)
{
    st_thread_interrupt(st_thread_self());
    st_thread_interrupt(st_thread_self()); /* two before the block are one */
    assert_fails(st_usleep(ST_UTIME_NO_WAIT), EINTR);
    assert_ok(st_usleep(ST_UTIME_NO_WAIT));
}

static void calls_that_need_not_block_are_not_interrupted(void)
{
    int osfd;
    st_netfd_t netfd = netfd_half(&osfd);
    st_mutex_t lock = st_mutex_new();

    assert_int_equal(write(osfd, "ab", 2), 2);
    st_thread_interrupt(st_thread_self());
    assert_int_equal(st_read(netfd, &byte, 1, FOREVER), 1);
    assert_int_equal(st_write(netfd, "x", 1, FOREVER), 1);
    assert_ok(st_mutex_trylock(lock));
    assert_fails(st_usleep(FOREVER), EINTR);
    assert_ok(st_mutex_unlock(lock));
    assert_ok(st_mutex_destroy(lock));
    assert_ok(st_netfd_close(netfd));
    close(osfd);
}

static void *finish(void *arg)
{
    return arg;
}

static void the_dead_are_not_disturbed(void)
{
    int cookie;
    void *value = NULL;
    st_thread_t thread = st_thread_create(finish, &cookie, 1, 0);

    settle();
    st_thread_interrupt(thread);
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, &value));
    assert_ptr_equal(value, &cookie);
}

/* --- races --- */

static void *wait_cond(void *arg)
{
    return (void *)(intptr_t)(st_cond_wait(arg) == 0 ? 0 : errno);
}

/* Signal and interrupt in one turn: the interrupt is delivered to the waiter, at once or when it
 * next blocks. */
static void interrupt_meets_signal(void)
{
    for (int order = 0; order < 2; order++) {
        void *error = NULL;
        st_cond_t cvar = st_cond_new();
        st_thread_t thread = st_thread_create(wait_cond, cvar, 1, 0);

        settle();
        if (order)
            st_cond_signal(cvar);
        st_thread_interrupt(thread);
        if (!order)
            st_cond_signal(cvar);
        assert_ok(st_thread_join(thread, &error));
        assert_int_equal((intptr_t)error, EINTR);
        assert_ok(st_cond_destroy(cvar));
    }
}

static void *take_mutex(void *arg)
{
    if (st_mutex_lock(arg) < 0)
        return (void *)(intptr_t)errno;
    return (void *)(intptr_t)st_mutex_unlock(arg);
}

/* The lock was handed over before the interrupt came: the new owner has it and must not report
 * anything else. */
static void interrupt_after_the_mutex_was_given(void)
{
    void *error = &error;
    st_mutex_t lock = st_mutex_new();

    assert_ok(st_mutex_lock(lock));
    st_thread_t thread = st_thread_create(take_mutex, lock, 1, 0);
    settle();
    assert_ok(st_mutex_unlock(lock));
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, &error));
    assert_null(error);
    assert_ok(st_mutex_destroy(lock));
}

/* The interrupt came first: the lock goes to the next waiter, or to nobody. */
static void interrupt_before_the_mutex_was_given(void)
{
    void *first = NULL, *second = &second;
    st_mutex_t lock = st_mutex_new();

    assert_ok(st_mutex_lock(lock));
    st_thread_t one = st_thread_create(take_mutex, lock, 1, 0);
    st_thread_t two = st_thread_create(take_mutex, lock, 1, 0);
    settle();
    st_thread_interrupt(one);
    assert_ok(st_mutex_unlock(lock));
    assert_ok(st_thread_join(one, &first));
    assert_ok(st_thread_join(two, &second));
    assert_int_equal((intptr_t)first, EINTR);
    assert_null(second);
    assert_ok(st_mutex_destroy(lock));
}

static void *read_one(void *arg)
{
    char got = 0;
    ssize_t n = st_read(arg, &got, 1, FOREVER);

    return (void *)(intptr_t)(n == 1 ? got : -errno);
}

/* Data and interrupt in one turn: either answer is right, and the byte is never lost. */
static void interrupt_meets_data(void)
{
    int osfd;
    st_netfd_t netfd = netfd_half(&osfd);

    for (int order = 0; order < 2; order++) {
        void *result = NULL;
        st_thread_t thread = st_thread_create(read_one, netfd, 1, 0);

        settle();
        if (order)
            st_thread_interrupt(thread);
        assert_int_equal(write(osfd, "d", 1), 1);
        if (!order)
            st_thread_interrupt(thread);
        assert_ok(st_thread_join(thread, &result));
        if ((intptr_t)result == -EINTR) {
            assert_int_equal(st_read(netfd, &byte, 1, FOREVER), 1);
            assert_int_equal(byte, 'd');
        } else {
            assert_int_equal((intptr_t)result, 'd');
        }
    }
    assert_ok(st_netfd_close(netfd));
    close(osfd);
}

static void *sleep_a_second(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)(st_usleep(1000000) == 0 ? 0 : errno);
}

/* The timer has fired and the sleeper is ready, when the interrupt comes: it is not lost. */
static void interrupt_meets_timeout(void)
{
    void *error = NULL;
    st_thread_t early = st_thread_create(sleep_a_second, NULL, 1, 0);

    settle();
    virtual_clock += 1000000;
    st_thread_interrupt(early); /* the clock says due, but the scheduler has not looked yet */
    assert_ok(st_thread_join(early, &error));
    assert_int_equal((intptr_t)error, EINTR);
    advance_clock(5000000); /* the timer went with it: nothing else fires */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(every_blocking_call_is_interrupted),
        VP_TEST(an_interrupt_before_the_block_is_kept),
        VP_TEST(it_does_not_stay_after_it_was_told),
        VP_TEST(calls_that_need_not_block_are_not_interrupted),
        VP_TEST(the_dead_are_not_disturbed),
        VP_TEST(interrupt_meets_signal),
        VP_TEST(interrupt_after_the_mutex_was_given),
        VP_TEST(interrupt_before_the_mutex_was_given),
        VP_TEST(interrupt_meets_data),
        VIRTUAL_TEST(interrupt_meets_timeout),
    };
    return cmocka_run_group_tests_name("interrupt", tests, NULL, NULL);
}
