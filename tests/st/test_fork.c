/* SPDX-License-Identifier: Apache-2.0 */
/* fork() in a VP: the child that continues as 1.9's programs do, the child that wants nothing to do
 * with it, the parent unharmed. */
#include "tests/vp.h"

#include <signal.h>
#include <sys/wait.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static void expect_exit(pid_t pid, int code)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void *read_byte(void *arg)
{
    char byte = 0;
    ssize_t n = st_read(arg, &byte, 1, FOREVER);

    return (void *)(intptr_t)(n == 1 ? byte : -errno);
}

/* --- the child --- */

static void the_child_is_no_vp_at_first(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        /* What the I/O layer checks on every call: nothing of the parent's may run here by
         * accident. */
        assert_false(st_is_vp());
        assert_null(st_vp_self());
        assert_fails(st_fd_wait(0, POLLIN, 0), EPERM);
        st_fd_forget(0);
        _exit(9);
    }
    expect_exit(pid, 9);
    assert_true(st_is_vp());
}

static void the_child_goes_on_with_its_copies(void)
{
    void *value = NULL;
    st_netfd_t left, right;
    st_thread_t reader;
    pid_t pid;

    netfd_pair(&left, &right);
    reader = st_thread_create(read_byte, right, 1, 0);
    settle(); /* it waits, registered in the parent's epoll */
    pid = fork();
    if (pid == 0) {
        assert_ok(st_init());
        assert_true(st_is_vp());
        assert_int_equal(st_write(left, "c", 1, FOREVER), 1);
        assert_ok(st_thread_join(reader, &value));
        assert_int_equal((intptr_t)value, 'c');
        assert_ok(st_usleep(100));
        _exit(9);
    }
    expect_exit(pid, 9);
    /* The child has read its own byte; the parent's reader waits as before. */
    assert_int_equal(st_write(left, "p", 1, FOREVER), 1);
    assert_ok(st_thread_join(reader, &value));
    assert_int_equal((intptr_t)value, 'p');
    assert_ok(st_netfd_close(left));
    assert_ok(st_netfd_close(right));
}

static void *count(void *arg)
{
    ++*(int *)arg;
    st_usleep(ST_UTIME_NO_WAIT);
    ++*(int *)arg;
    return NULL;
}

/* Without any call of its own to begin with: the first 1.9 call takes the VP up again. */
static void each_first_call_will_do(void)
{
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            int n = 0;
            st_thread_t thread;

            if (i == 0)
                assert_ok(st_usleep(0));
            if (i == 1)
                assert_int_equal(st_poll(NULL, 0, 10), 0);
            if (i == 2)
                assert_non_null(st_thread_self());
            if (i == 3)
                assert_null(st_set_switch_in_cb(NULL));
            thread = st_thread_create(count, &n, 1, 0);
            assert_non_null(thread);
            assert_ok(st_thread_join(thread, NULL));
            assert_int_equal(n, 2);
            _exit(9);
        }
        expect_exit(pid, 9);
    }
}

/* The forking thread need not be the primordial one. */
static void *fork_here(void *arg)
{
    pid_t pid = fork();

    (void)arg;
    if (pid == 0) {
        assert_ok(st_usleep(100));
        _exit(9);
    }
    expect_exit(pid, 9);
    return NULL;
}

static void a_state_thread_forks(void)
{
    assert_ok(st_thread_join(st_thread_create(fork_here, NULL, 1, 0), NULL));
}

/* --- alone --- */

static int on_anothers_stack;

static void *lend(void *arg)
{
    volatile int mine = 7;

    /* Not &mine: AddressSanitizer may have it elsewhere. */
    *(const void *volatile *)arg = __builtin_frame_address(0);
    st_usleep(FOREVER);
    on_anothers_stack = mine;
    return NULL;
}

/* Is there a page? It is the kernel that looks. */
static int is_there(const void *place)
{
    int pipes[2], there;

    assert_ok(pipe(pipes));
    there = write(pipes[1], place, 1) == 1;
    close(pipes[0]);
    close(pipes[1]);
    return there;
}

static const void *volatile lent;

static void *fork_alone(void *arg)
{
    int mine = 5;
    pid_t pid = fork();

    (void)arg;
    if (pid == 0) {
        assert_null(st_vp_self());
        assert_null(st_thread_self());
        assert_fails(st_usleep(0), EPERM);
        _exit(mine == 5 && !is_there(lent) ? 9 : 1);
    }
    expect_exit(pid, 9);
    assert_true(is_there(lent));
    return NULL;
}

/* From a state thread and from the primordial one; and by default they are not. */
static void children_may_be_alone(void)
{
    st_thread_t lender = st_thread_create(lend, (void *)(uintptr_t)&lent, 1, 0);
    pid_t pid;

    if (under_emulator())
        skip_test("an emulator copies all");
    settle();
    assert_int_equal(st_set_fork_alone(1), 0);
    for (int i = 0; i < 3; i++)
        assert_ok(st_thread_join(st_thread_create(fork_alone, NULL, 1, 0), NULL));
    fork_alone(NULL);
    assert_int_equal(st_set_fork_alone(0), 1);
    pid = fork();
    if (pid == 0)
        _exit(is_there(lent) ? 9 : 1);
    expect_exit(pid, 9);
    st_thread_interrupt(lender);
    assert_ok(st_thread_join(lender, NULL));
    assert_int_equal(on_anothers_stack, 7);
}

static volatile pid_t forked_in_handler;

static void fork_in_handler(int number)
{
    (void)number;
    forked_in_handler = fork();
}

static void *raise_it(void *arg)
{
    (void)arg;
    assert_ok(raise(SIGUSR1));
    if (forked_in_handler == 0)
        _exit(9);
    expect_exit(forked_in_handler, 9);
    return NULL;
}

/* A handler on another stack: the child has to come back from it. */
static void a_child_has_the_interrupted_stack(void)
{
    static char room[65536];
    const stack_t own = {.ss_sp = room, .ss_size = sizeof(room)};
    struct sigaction action = {.sa_handler = fork_in_handler, .sa_flags = SA_ONSTACK};

    assert_ok(sigaltstack(&own, NULL));
    assert_ok(sigaction(SIGUSR1, &action, NULL));
    assert_int_equal(st_set_fork_alone(1), 0);
    assert_ok(st_thread_join(st_thread_create(raise_it, NULL, 1, 0), NULL));
    assert_int_equal(st_set_fork_alone(0), 1);
}

static void *sleep_and_tell(void *arg)
{
    assert_ok(st_usleep(1000));
    *(int *)arg = 1;
    return NULL;
}

static void the_childs_timers_go_on(void)
{
    int done = 0;
    st_thread_t thread = st_thread_create(sleep_and_tell, &done, 1, 0);

    settle();
    pid_t pid = fork();

    if (pid == 0) {
        assert_ok(st_init());
        advance_clock(999);
        assert_int_equal(done, 0);
        advance_clock(1);
        assert_int_equal(done, 1);
        _exit(9);
    }
    expect_exit(pid, 9);
    assert_int_equal(done, 0);
    advance_clock(1000);
    assert_ok(st_thread_join(thread, NULL));
}

static int accepted, listener;

static void accept_one(st_watch_t *watch, int ready)
{
    int conn = accept(listener, NULL, NULL);

    (void)watch;
    (void)ready;
    assert_true(conn >= 0);
    accepted++;
    close(conn);
}

static void the_childs_watches_go_on(void)
{
    struct sockaddr_storage addr;
    socklen_t len;
    st_watch_t watch;

    listener = listen_on_loopback(&addr, &len);
    st_watch_init(&watch, listener, ST_WATCH_ACCEPT, accept_one);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    pid_t pid = fork();
    if (pid == 0) {
        assert_ok(st_init());
        while (accepted == 0)
            assert_ok(st_usleep(100));
        _exit(9);
    }
    st_watch_free(&watch); /* the parent's alone */
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_ok(connect(client, (struct sockaddr *)&addr, len));
    expect_exit(pid, 9);
    assert_int_equal(accepted, 0);
    close(client);
    close(listener);
}

static void *wait_readable(void *arg)
{
    return (void *)(intptr_t)(st_fd_wait(*(int *)arg, POLLIN, FOREVER) < 0 ? errno : 0);
}

/* Closed in the child before it takes up the VP: threads that wait for it in the child are told. */
static void what_the_child_has_closed(void)
{
    int fds[2];
    void *error = NULL;

    socket_pair(fds, true);
    st_thread_t waiter = st_thread_create(wait_readable, &fds[0], 1, 0);
    settle();
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        assert_ok(st_init());
        assert_ok(st_thread_join(waiter, &error));
        assert_int_equal((intptr_t)error, EBADF);
        _exit(9);
    }
    expect_exit(pid, 9);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_ok(st_thread_join(waiter, &error));
    assert_null(error);
    st_fd_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

/* A grandchild, and a child that destroys its copy. */
static void children_of_children(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        assert_ok(st_usleep(10));
        pid_t grandchild = fork();
        if (grandchild == 0) {
            assert_ok(st_usleep(10));
            assert_ok(st_destroy());
            assert_ok(st_init());
            assert_ok(st_usleep(10));
            _exit(9);
        }
        expect_exit(grandchild, 9);
        assert_ok(st_usleep(10));
        _exit(8);
    }
    expect_exit(pid, 8);
    assert_ok(st_usleep(10));
}

/* --- the child that wants nothing to do with it --- */

static st_vp_t dropped; /* so that a leak checker still sees what is kept on purpose */

static void after_fork_child_drops_the_vp(void)
{
    int fds = open_descriptors();

    dropped = st_vp_self();
    pid_t pid = fork();

    if (pid == 0) {
        st_after_fork_child();
        assert_false(st_is_vp());
        assert_fails(st_usleep(0), EPERM); /* not taken up again */
        assert_null(st_thread_self());
        assert_null_errno(st_thread_create(count, NULL, 0, 0), EPERM);
        assert_int_equal(open_descriptors(), fds); /* no syscall was made */
        assert_ok(st_init());                      /* a new one */
        assert_ok(st_usleep(10));
        assert_ok(st_destroy());
        _exit(9);
    }
    expect_exit(pid, 9);
}

/* --- the parent --- */

/* The child closes, forgets and frees everything: none of it may reach the parent's epoll. */
static void the_child_cannot_harm_the_parents_epoll(void)
{
    void *value = NULL;
    st_netfd_t left, right;
    st_thread_t reader;
    pid_t pid;

    netfd_pair(&left, &right);
    reader = st_thread_create(read_byte, right, 1, 0);
    settle();
    for (int revived = 0; revived < 2; revived++) {
        pid = fork();
        if (pid == 0) {
            if (revived)
                assert_ok(st_init());
            st_fd_forget(st_netfd_fileno(right));
            st_netfd_free(right);
            st_netfd_close(left);
            _exit(9);
        }
        expect_exit(pid, 9);
    }
    assert_int_equal(st_write(left, "w", 1, FOREVER), 1);
    assert_ok(st_thread_join(reader, &value));
    assert_int_equal((intptr_t)value, 'w');
    assert_ok(st_netfd_close(left));
    assert_ok(st_netfd_close(right));
}

/* A child that is a VP too must not consume the parent's events. */
static void both_have_their_own_events(void)
{
    st_netfd_t left, right;
    char byte;
    int go[2];

    netfd_pair(&left, &right);
    assert_ok(pipe(go));
    assert_ok(st_netfd_poll(right, POLLOUT, FOREVER)); /* registered */
    pid_t pid = fork();
    if (pid == 0) {
        assert_ok(st_netfd_poll(right, POLLIN, FOREVER));
        assert_int_equal(write(go[1], "g", 1), 1);
        st_usleep(FOREVER);
    }
    assert_int_equal(st_write(left, "b", 1, FOREVER), 1);
    assert_int_equal(read(go[0], &byte, 1), 1);       /* the child was told of it */
    assert_ok(st_netfd_poll(right, POLLIN, FOREVER)); /* so are we */
    assert_int_equal(st_read(right, &byte, 1, FOREVER), 1);
    assert_ok(kill(pid, SIGKILL));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_ok(st_netfd_close(left));
    assert_ok(st_netfd_close(right));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(the_child_is_no_vp_at_first),   VP_TEST(the_child_goes_on_with_its_copies),
        VP_TEST(each_first_call_will_do),       VP_TEST(a_state_thread_forks),
        VP_TEST(children_may_be_alone),         VP_TEST(a_child_has_the_interrupted_stack),
        VIRTUAL_TEST(the_childs_timers_go_on),  VP_TEST(the_childs_watches_go_on),
        VP_TEST(what_the_child_has_closed),     VP_TEST(children_of_children),
        VP_TEST(after_fork_child_drops_the_vp), VP_TEST(the_child_cannot_harm_the_parents_epoll),
        VP_TEST(both_have_their_own_events),
    };
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
