/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libst's description of its structures, as stmstat's walk reads it: every thread is found, and
 * whatever the structures contain, the walk ends without a fault.
 */
#define _GNU_SOURCE
#include "include/st_description.h"

#include <sys/uio.h>
#include <unistd.h>

#include "stmstat/walk.h"
#include "tests/vp.h"

enum { THREADS = 300, ROUNDS = 300 };

struct seen {
    unsigned spoil; /* one read in this many returns random bytes; 0: none */
    unsigned threads, waiting, current;
};

static bool read_self(void *baton, uint64_t address, void *to, size_t size)
{
    const struct seen *seen = baton;
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)address, size};
    unsigned char *bytes = to;

    if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != (ssize_t)size)
        return false;
    /* The description itself lies in read-only memory. */
    if (seen->spoil && size != sizeof(struct st__layout) && rand() % (int)seen->spoil == 0)
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)rand();
    return true;
}

static void found(void *baton, const walk_thread_t *thread)
{
    struct seen *seen = baton;

    seen->threads++;
    seen->current += thread->current;
    seen->waiting += thread->state == 2 && thread->sp >= thread->low && thread->sp < thread->end;
}

static int walk(struct seen *seen)
{
    walk_ops_t ops = {read_self, found, seen};

    return walk_threads(&ops, (uintptr_t)&st__description);
}

static st_thread_t threads[THREADS];

static void *wait_for_unpark(void *arg)
{
    st_thread_park(ST_UTIME_NO_TIMEOUT);
    return arg;
}

static void start_threads(void)
{
    for (int i = 0; i < THREADS; i++) {
        threads[i] = st_thread_create(wait_for_unpark, NULL, 1, 0);
        assert_non_null(threads[i]);
    }
    st_usleep(0);
}

static void end_threads(void)
{
    for (int i = 0; i < THREADS; i++) {
        st_thread_unpark(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
    }
}

static void every_thread_is_found(void)
{
    struct seen seen = {0};

    start_threads();
    assert_int_equal(walk(&seen), 0);
    assert_int_equal(seen.threads, THREADS + 1);
    assert_int_equal(seen.waiting, THREADS);
    assert_int_equal(seen.current, 1);
    end_threads();
}

static void random_bytes_end_the_walk(void)
{
    unsigned failed = 0;

    start_threads();
    srand(1);
    for (int i = 0; i < ROUNDS; i++) {
        struct seen seen = {.spoil = 1 + (unsigned)i % 200};
        int error = walk(&seen);

        assert_true(error == 0 || error == EFAULT || error == EBADMSG);
        failed += error != 0;
    }
    assert_true(failed > 0);
    end_threads();
}

static void another_version_is_refused(void)
{
    struct st__layout other = st__description;
    struct seen seen = {0};
    walk_ops_t ops = {read_self, found, &seen};

    other.version++;
    assert_int_equal(walk_threads(&ops, (uintptr_t)&other), ENOTSUP);
    assert_int_equal(seen.threads, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(every_thread_is_found),
        VP_TEST(random_bytes_end_the_walk),
        VP_TEST(another_version_is_refused),
    };
    return cmocka_run_group_tests_name("describe", tests, NULL, NULL);
}
