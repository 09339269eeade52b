/* SPDX-License-Identifier: Apache-2.0 */
/* st_init and what is set before it: event system, fd limit, clock, switch callbacks; and the
 * process's end. */
#include "tests/vp.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void before_init_nothing_is_known(void)
{
    assert_int_equal(st_getfdlimit(), -1);
    assert_int_equal(st_get_eventsys(), -1);
    assert_string_equal(st_get_eventsys_name(), "");
}

static void eventsys_is_checked_and_set_once(void)
{
    assert_fails(st_set_eventsys(-1), EINVAL);
    assert_fails(st_set_eventsys(4), EINVAL);
    assert_int_equal(st_get_eventsys(), -1);
    assert_ok(st_set_eventsys(TEST_EVENTSYS));
    assert_fails(st_set_eventsys(TEST_EVENTSYS), EBUSY);
    assert_fails(st_set_eventsys(ST_EVENTSYS_DEFAULT), EBUSY);
    assert_ok(st_init());
    assert_int_equal(st_get_eventsys(), TEST_EVENTSYS);
    assert_string_equal(st_get_eventsys_name(),
                        TEST_EVENTSYS == ST_EVENTSYS_ALT ? "epoll" : "poll");
    assert_fails(st_set_eventsys(TEST_EVENTSYS), EBUSY);
}

/* Any of 1.9's mechanisms may be requested, and works. */
static void every_eventsys_serves(void)
{
    static const int systems[] = {ST_EVENTSYS_DEFAULT, ST_EVENTSYS_SELECT, ST_EVENTSYS_POLL,
                                  ST_EVENTSYS_ALT};
    static int system_asked;

    for (size_t i = 0; i < sizeof(systems) / sizeof(systems[0]); i++) {
        system_asked = systems[i];
        pid_t pid = fork();
        if (pid == 0) {
            int osfd;
            char byte;

            assert_ok(st_set_eventsys(system_asked));
            assert_ok(st_init());
            st_netfd_t netfd = netfd_half(&osfd);
            assert_fails(st_read(netfd, &byte, 1, 1), ETIME);
            assert_int_equal(write(osfd, "x", 1), 1);
            assert_int_equal(st_read(netfd, &byte, 1, ST_UTIME_NO_TIMEOUT), 1);
            assert_true(strlen(st_get_eventsys_name()) > 0);
            exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

static void init_may_be_called_again(void)
{
    assert_ok(st_init());
    st_thread_t self = st_thread_self();
    assert_non_null(self);
    assert_ok(st_init());
    assert_ptr_equal(st_thread_self(), self);
}

static void init_raises_the_fd_limit(void)
{
    struct rlimit limit;

    assert_ok(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max < 64 ? limit.rlim_max : 64;
    assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
    assert_ok(st_set_eventsys(TEST_EVENTSYS));
    assert_ok(st_init());
    assert_ok(getrlimit(RLIMIT_NOFILE, &limit));
    assert_int_equal(limit.rlim_cur, limit.rlim_max);
    assert_int_equal(st_getfdlimit(), limit.rlim_max);
}

static void init_ignores_sigpipe(void)
{
    struct sigaction action;
    int fds[2];

    assert_ok(sigaction(SIGPIPE, NULL, &action));
    assert_true(action.sa_handler == SIG_IGN);
    assert_ok(pipe(fds));
    close(fds[0]);
    st_netfd_t out = st_netfd_open(fds[1]);
    assert_fails(st_write(out, "x", 1, ST_UTIME_NO_TIMEOUT), EPIPE);
    assert_ok(st_netfd_close(out));
}

/* --- the end of the process --- */

static int last_ran_fd;

static void *last_thread(void *arg)
{
    (void)arg;
    st_usleep(ST_UTIME_NO_WAIT);
    if (write(last_ran_fd, "!", 1) != 1)
        abort();
    return NULL;
}

/* Skips the leak check: what only the primordial thread's stack points to looks lost from the last
 * thread's. */
static void leave(int status, void *arg)
{
    (void)arg;
    _exit(status);
}

static void exit_with_a_thread_left(void)
{
    on_exit(leave, NULL);
    st_init();
    st_thread_create(last_thread, NULL, 0, 0);
    st_thread_exit(NULL);
}

static void last_exit_ends_the_process_with_0(void)
{
    int fds[2];
    char byte = 0;

    assert_ok(pipe(fds));
    last_ran_fd = fds[1];
    int status = run_child(exit_with_a_thread_left);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(byte, '!');
}

/* --- switch callbacks --- */

static struct {
    int in, out;
    st_thread_t last_in, last_out;
} switches;

static void count_in(void)
{
    switches.in++;
    switches.last_in = st_thread_self();
}

static void count_out(void)
{
    switches.out++;
    switches.last_out = st_thread_self();
}

static void *sees_itself_in(void *arg)
{
    (void)arg;
    /* It is not specified whether the very first start counts as a switch in; 1.9 does not count
     * it. */
    assert_ok(st_usleep(ST_UTIME_NO_WAIT));
    assert_ptr_equal(switches.last_in, st_thread_self());
    return NULL;
}

static void switch_callbacks_see_each_switch(void)
{
    assert_null(st_set_switch_in_cb(count_in));
    assert_null(st_set_switch_out_cb(count_out));
    st_thread_t thread = st_thread_create(sees_itself_in, NULL, 1, 0);
    assert_ok(st_thread_join(thread, NULL));
    assert_ptr_equal(switches.last_in, st_thread_self());
    assert_true(switches.in >= 2 && switches.out >= 2);

    assert_ptr_equal(st_set_switch_in_cb(NULL), count_in);
    assert_ptr_equal(st_set_switch_out_cb(NULL), count_out);
    int in = switches.in, out = switches.out;
    assert_ok(st_usleep(ST_UTIME_NO_WAIT));
    assert_int_equal(switches.in, in);
    assert_int_equal(switches.out, out);
    assert_null(st_set_switch_in_cb(NULL));
    assert_null(st_set_switch_out_cb(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(before_init_nothing_is_known),
        RAW_TEST(eventsys_is_checked_and_set_once),
        RAW_TEST(every_eventsys_serves),
        RAW_TEST(init_may_be_called_again),
        RAW_TEST(init_raises_the_fd_limit),
        VP_TEST(init_ignores_sigpipe),
        RAW_TEST(last_exit_ends_the_process_with_0),
        VP_TEST(switch_callbacks_see_each_switch),
    };
    return cmocka_run_group_tests_name("init", tests, NULL, NULL);
}
