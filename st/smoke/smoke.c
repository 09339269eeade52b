/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A short exercise of the runtime that needs no test library: for AArch64 under emulation, and as a
 * first check of a new platform. Prints what failed and exits nonzero.
 */
#include <st.h>

#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures, checks;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        checks++;                                                                                  \
        if (!(cond)) {                                                                             \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno);           \
        }                                                                                          \
    } while (0)

static void *count(void *arg)
{
    double sum = 1.5; /* kept in a register across the switches */

    for (int i = 0; i < 1000; i++) {
        ++*(int *)arg;
        sum += 0.5;
        st_thread_yield();
    }
    return sum == 501.5 ? arg : NULL;
}

static void check_threads(void)
{
    enum { THREADS = 100 };
    st_thread_t threads[THREADS];
    int counter = 0;
    void *result;

    for (int i = 0; i < THREADS; i++)
        CHECK((threads[i] = st_thread_create(count, &counter, 1, 0)));
    for (int i = 0; i < THREADS; i++) {
        CHECK(st_thread_join(threads[i], &result) == 0);
        CHECK(result == &counter);
    }
    CHECK(counter == THREADS * 1000);
}

static void *round_up(void *arg)
{
    (void)arg;
    fesetround(FE_UPWARD);
    errno = 42;
    for (int i = 0; i < 10; i++)
        st_thread_yield();
    CHECK(fegetround() == FE_UPWARD);
    CHECK(errno == 42);
    return NULL;
}

static void check_registers(void)
{
    st_thread_t thread = st_thread_create(round_up, NULL, 1, 0);

    errno = 7;
    for (int i = 0; i < 5; i++) {
        st_thread_yield();
        CHECK(fegetround() == FE_TONEAREST);
        CHECK(errno == 7);
    }
    CHECK(st_thread_join(thread, NULL) == 0);
}

static void *echo(void *arg)
{
    char buf[100];
    ssize_t n;

    while ((n = st_read(arg, buf, sizeof(buf), ST_UTIME_NO_TIMEOUT)) > 0)
        CHECK(st_write(arg, buf, (size_t)n, ST_UTIME_NO_TIMEOUT) == n);
    CHECK(n == 0);
    st_netfd_close(arg);
    return NULL;
}

static void check_io(void)
{
    int pair[2];
    char buf[10];
    st_netfd_t ours, theirs;
    st_thread_t thread;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK((ours = st_netfd_open_socket(pair[0])));
    CHECK((theirs = st_netfd_open_socket(pair[1])));
    thread = st_thread_create(echo, theirs, 1, 0);
    CHECK(st_read(ours, buf, sizeof(buf), 1000) == -1 && errno == ETIME);
    for (int i = 0; i < 100; i++) {
        CHECK(st_write(ours, "hello", 5, ST_UTIME_NO_TIMEOUT) == 5);
        CHECK(st_netfd_poll(ours, POLLIN, ST_UTIME_NO_TIMEOUT) == 0);
        CHECK(st_read_fully(ours, buf, 5, ST_UTIME_NO_TIMEOUT) == 5 && !memcmp(buf, "hello", 5));
    }
    st_netfd_close(ours);
    CHECK(st_thread_join(thread, NULL) == 0);
}

static void *wait_condition(void *arg)
{
    CHECK(st_cond_timedwait(arg, 1000) == -1 && errno == ETIME);
    CHECK(st_cond_wait(arg) == 0);
    CHECK(st_cond_wait(arg) == -1 && errno == EINTR);
    CHECK(st_thread_park(ST_UTIME_NO_TIMEOUT) == 0);
    return NULL;
}

static void check_waiting(void)
{
    st_cond_t cond = st_cond_new();
    st_thread_t thread = st_thread_create(wait_condition, cond, 1, 0);

    CHECK(st_usleep(20000) == 0);
    CHECK(st_cond_signal(cond) == 0);
    st_thread_yield();
    st_thread_interrupt(thread);
    st_thread_unpark(thread);
    CHECK(st_thread_join(thread, NULL) == 0);
    CHECK(st_cond_destroy(cond) == 0);
}

struct post {
    st_remote_t remote;
    st_thread_t waiter;
    st_vp_t vp;
};

static void unpark(st_remote_t *remote)
{
    st_thread_unpark(((struct post *)(void *)remote)->waiter);
}

static void *poster(void *arg)
{
    struct post *post = arg;

    CHECK(!st_is_vp());
    post->remote.fn = unpark;
    st_vp_post(post->vp, &post->remote);
    return NULL;
}

static void check_remote(void)
{
    struct post post = {.waiter = st_thread_self(), .vp = st_vp_self()};
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, poster, &post) == 0);
    CHECK(st_thread_park(ST_UTIME_NO_TIMEOUT) == 0);
    pthread_join(thread, NULL);
}

static void on_watch(st_watch_t *watch, int ready)
{
    *(int *)watch->data = ready;
}

static void check_watch(void)
{
    int fds[2], seen = -1;
    st_watch_t watch = {.data = &seen};

    CHECK(pipe(fds) == 0);
    st_watch_init(&watch, fds[0], 0, on_watch);
    CHECK(st_watch_arm(&watch, POLLIN, 1000) == 0);
    st_usleep(20000);
    CHECK(seen == 0);
    CHECK(st_watch_arm(&watch, POLLIN, ST_UTIME_NO_TIMEOUT) == 0);
    CHECK(write(fds[1], "x", 1) == 1);
    st_usleep(1000);
    CHECK(seen == POLLIN);
    CHECK(st_watch_arm(&watch, POLLIN, ST_UTIME_NO_TIMEOUT) == POLLIN);
    st_watch_free(&watch);
    st_fd_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    CHECK(st_init() == 0);
    check_threads();
    check_registers();
    check_io();
    check_waiting();
    check_remote();
    check_watch();
    CHECK(st_destroy() == 0);
    printf("%d checks, %d failed\n", checks, failures);
    return failures != 0;
}
