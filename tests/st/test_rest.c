/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks at rest: what they hold comes back, whatever wakes the thread; who may not does not. */
#include "tests/vp.h"

#include <poll.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "st/st_internal.h"

#define FOREVER ST_UTIME_NO_TIMEOUT

enum { FRAME = 3000, GAP = 40000, STACK = 256 * 1024, THREADS = 40 };

#if ST__ASAN
enum { SANITIZED = 1 }; /* frames are larger, and may lie elsewhere */
#else
enum { SANITIZED = 0 };
#endif

typedef enum { ON_FD, PARKED, POLLING, SLEEPING, ON_COND } way_t;

typedef struct waiter {
    way_t way;
    int fd;
    st_utime_t timeout;
    unsigned seed;
    int outcome, error;
    bool unharmed;
    st_thread_t thread;
} waiter_t;

static st_cond_t cond;

static void wait_so(waiter_t *waiter)
{
    struct pollfd one = {.fd = waiter->fd, .events = POLLIN};

    errno = 0;
    switch (waiter->way) {
    case ON_FD:
        waiter->outcome = st_fd_wait(waiter->fd, POLLIN, waiter->timeout);
        break;
    case PARKED:
        waiter->outcome = st_thread_park(waiter->timeout);
        break;
    case POLLING:
        waiter->outcome = st_poll(&one, 1, waiter->timeout);
        break;
    case SLEEPING:
        waiter->outcome = st_usleep(waiter->timeout);
        break;
    case ON_COND:
        waiter->outcome = st_cond_timedwait(cond, waiter->timeout);
        break;
    }
    waiter->error = errno;
}

/* Two thirds of the words are zero. */
static uint64_t word(unsigned seed, size_t i)
{
    uint64_t mixed = (seed + i * 0x9e3779b97f4a7c15) ^ (uint64_t)seed << 40;

    return mixed % 3 == 0 ? mixed : 0;
}

/* A frame with contents, one that is never written to, and a frame with contents. */
static __attribute__((noinline)) void deeper(waiter_t *waiter)
{
    volatile uint64_t words[FRAME / 8];

    for (size_t i = 0; i < FRAME / 8; i++)
        words[i] = word(waiter->seed + 1, i);
    wait_so(waiter);
    for (size_t i = 0; i < FRAME / 8; i++)
        waiter->unharmed = waiter->unharmed && words[i] == word(waiter->seed + 1, i);
}

static __attribute__((noinline)) void over_a_gap(waiter_t *waiter)
{
    volatile char untouched[GAP];

    __asm__ volatile("" : : "r"(untouched) : "memory");
    deeper(waiter);
    __asm__ volatile("" : : "r"(untouched) : "memory");
}

static void *run(void *arg)
{
    waiter_t *waiter = arg;
    volatile uint64_t words[FRAME / 8];

    for (size_t i = 0; i < FRAME / 8; i++)
        words[i] = word(waiter->seed, i);
    waiter->unharmed = true;
    over_a_gap(waiter);
    for (size_t i = 0; i < FRAME / 8; i++)
        waiter->unharmed = waiter->unharmed && words[i] == word(waiter->seed, i);
    return NULL;
}

static void begin(waiter_t *waiter)
{
    waiter->thread = st_thread_create(run, waiter, 1, STACK);
    assert_non_null(waiter->thread);
    settle();
}

static void end(waiter_t *waiter)
{
    assert_ok(st_thread_join(waiter->thread, NULL));
    assert_true(waiter->unharmed);
}

/* Pages of the thread's stack that are in memory. */
static size_t pages(st_thread_t thread)
{
    unsigned char present[STACK / 4096 + 1];
    size_t size, page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
    void *base;

    assert_ok(st_thread_stack(thread, &base, &size, NULL));
    size = size > STACK ? STACK : size;
    assert_ok(mincore(base, size, present));
    for (size_t i = 0; i < size / page; i++)
        count += present[i] & 1;
    return count;
}

static void rest(waiter_t *waiter)
{
    size_t before = pages(waiter->thread);

    if (under_valgrind())
        skip_test("no stack rests under Valgrind");

    assert_int_equal(st_thread_rest(waiter->thread), 1);
    assert_int_equal(st_thread_rests(waiter->thread), 1);
    assert_int_equal(st_thread_rest(waiter->thread), 0); /* it does already */
    if (!SANITIZED)
        assert_true(pages(waiter->thread) < before);
}

static void make_pipe(int ends[2])
{
    assert_ok(pipe2(ends, O_NONBLOCK));
}

/* It waits for a byte, and rests. */
static void rest_on_pipe(waiter_t *waiter, int ends[2])
{
    make_pipe(ends);
    waiter->fd = ends[0];
    begin(waiter);
    rest(waiter);
}

static void close_pipe(int ends[2])
{
    st_fd_forget(ends[0]);
    assert_ok(close(ends[0]));
    assert_ok(close(ends[1]));
}

static void a_byte_wakes_it(void)
{
    int ends[2];
    waiter_t waiter = {.way = ON_FD, .timeout = FOREVER, .seed = 1};

    rest_on_pipe(&waiter, ends);
    settle();
    assert_int_equal(st_thread_rests(waiter.thread), 1);
    assert_int_equal(write(ends[1], "x", 1), 1);
    end(&waiter);
    assert_int_equal(waiter.outcome & POLLIN, POLLIN);
    close_pipe(ends);
}

static void its_timeout_wakes_it(void)
{
    int ends[2];
    waiter_t waiter = {.way = ON_FD, .timeout = 5000, .seed = 2};

    rest_on_pipe(&waiter, ends);
    advance_clock(4999);
    assert_int_equal(st_thread_rests(waiter.thread), 1);
    advance_clock(1);
    end(&waiter);
    assert_int_equal(waiter.error, ETIME);
    close_pipe(ends);
}

static void an_interrupt_wakes_it(void)
{
    int ends[2];
    waiter_t waiter = {.way = ON_FD, .timeout = FOREVER, .seed = 3};

    rest_on_pipe(&waiter, ends);
    st_thread_interrupt(waiter.thread);
    assert_int_equal(st_thread_rests(waiter.thread), 0);
    end(&waiter);
    assert_int_equal(waiter.error, EINTR);
    close_pipe(ends);
}

static void the_end_of_its_descriptor_wakes_it(void)
{
    int ends[2];
    waiter_t waiter = {.way = ON_FD, .timeout = FOREVER, .seed = 4};

    rest_on_pipe(&waiter, ends);
    close_pipe(ends);
    end(&waiter);
    assert_int_equal(waiter.error, EBADF);
}

static void who_parks_rests_again_and_again(void)
{
    waiter_t waiter = {.way = PARKED, .timeout = FOREVER, .seed = 5};

    for (int i = 0; i < 3; i++) {
        begin(&waiter);
        rest(&waiter);
        st_thread_unpark(waiter.thread);
        assert_int_equal(st_thread_rests(waiter.thread), 0);
        end(&waiter);
        assert_int_equal(waiter.outcome, 0);
    }
}

static void others_do_not_rest(void)
{
    static const way_t ways[] = {POLLING, SLEEPING, ON_COND};
    int ends[2];

    make_pipe(ends);
    cond = st_cond_new();
    assert_int_equal(st_thread_rest(st_thread_self()), 0);
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        waiter_t waiter = {.way = ways[i], .fd = ends[0], .timeout = FOREVER, .seed = 6};

        begin(&waiter);
        assert_int_equal(st_thread_rest(waiter.thread), 0);
        assert_int_equal(st_thread_rests(waiter.thread), 0);
        st_thread_interrupt(waiter.thread);
        assert_int_equal(st_thread_rest(waiter.thread), 0); /* it is ready */
        end(&waiter);
    }
    assert_ok(st_cond_destroy(cond));
    close_pipe(ends);
}

static void under_census_none_rests(void)
{
    waiter_t waiter = {.way = PARKED, .timeout = FOREVER, .seed = 7};

    st_stack_census(1);
    begin(&waiter);
    assert_int_equal(st_thread_rest(waiter.thread), 0);
    st_thread_unpark(waiter.thread);
    end(&waiter);
    st_stack_census(0);
}

/* The scheduler runs on one waiting thread's stack and wakes others; a sample looks at them all. */
static void many_in_any_order(void)
{
    static waiter_t waiters[THREADS];
    int ends[THREADS][2], laps = scaled(20);
    unsigned random = 1;

    for (int lap = 0; lap < laps; lap++) {
        for (int i = 0; i < THREADS; i++) {
            make_pipe(ends[i]);
            waiters[i] = (waiter_t){.way = i % 2 ? PARKED : ON_FD,
                                    .fd = ends[i][0],
                                    .timeout = FOREVER,
                                    .seed = (unsigned)(lap * THREADS + i)};
            begin(&waiters[i]);
        }
        for (int i = 0; i < THREADS; i++)
            if ((random = random * 1103515245 + 12345) >> 16 & 1)
                rest(&waiters[i]);
        st_sample_stacks(-1);
        st_sample_stacks(-1);
        for (int i = 0; i < THREADS; i++) {
            if (i % 2)
                st_thread_unpark(waiters[i].thread);
            else
                assert_int_equal(write(ends[i][1], "x", 1), 1);
        }
        for (int i = 0; i < THREADS; i++) {
            end(&waiters[i]);
            close_pipe(ends[i]);
        }
    }
}

/* A child of fork() that goes on with state threads finds what rests, too. */
static void a_forked_child_wakes_it(void)
{
    waiter_t waiter = {.way = PARKED, .timeout = FOREVER, .seed = 8};
    int status;
    pid_t pid;

    begin(&waiter);
    rest(&waiter);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        st_thread_unpark(waiter.thread);
        _exit(st_thread_join(waiter.thread, NULL) == 0 && waiter.unharmed ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(st_thread_rests(waiter.thread), 1);
    st_thread_unpark(waiter.thread);
    end(&waiter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_byte_wakes_it),
        VIRTUAL_TEST(its_timeout_wakes_it),
        VP_TEST(an_interrupt_wakes_it),
        VP_TEST(the_end_of_its_descriptor_wakes_it),
        VP_TEST(who_parks_rests_again_and_again),
        VP_TEST(others_do_not_rest),
        VP_TEST(under_census_none_rests),
        VP_TEST(many_in_any_order),
        VP_TEST(a_forked_child_wakes_it),
    };
    return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
