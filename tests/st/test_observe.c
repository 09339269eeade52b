/* SPDX-License-Identifier: Apache-2.0 */
/*
 * st_thread_observe() and st_wait_begin(): what an observer is told about a thread's waits.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/vp.h"

/* What the observer has been told. */
struct seen {
    st_observer_t observer;
    int parks, resumes, yields;
    st_wait_t last;
    st_utime_t parked, woken;
};

static void parks(st_observer_t *observer, const st_wait_t *wait, st_utime_t now)
{
    struct seen *seen = (struct seen *)observer;

    seen->parks++;
    seen->last = *wait;
    seen->parked = now;
}

static void resumes(st_observer_t *observer, st_utime_t woken)
{
    struct seen *seen = (struct seen *)observer;

    seen->resumes++;
    seen->woken = woken;
}

static void yields(st_observer_t *observer, st_utime_t yielded)
{
    (void)yielded;
    ((struct seen *)observer)->yields++;
}

static struct seen observe(void)
{
    return (struct seen){.observer = {.parks = parks, .resumes = resumes, .yields = yields}};
}

static void a_sleep_is_told(void)
{
    struct seen seen = observe();

    st_thread_observe(&seen.observer);
    assert_ok(st_usleep(2000));
    st_thread_observe(NULL);
    assert_int_equal(seen.parks, 1);
    assert_int_equal(seen.resumes, 1);
    assert_int_equal(seen.last.kind, ST_WAIT_SLEEP);
    assert_true(seen.last.since == seen.parked);
    assert_true(seen.woken >= seen.parked + 2000);
    assert_ok(st_usleep(1000));
    assert_int_equal(seen.parks, 1); /* no longer observed */
}

static void a_descriptor_is_told(void)
{
    struct seen seen = observe();
    int ends[2];

    assert_ok(pipe(ends));
    st_thread_observe(&seen.observer);
    assert_fails(st_fd_wait(ends[0], POLLIN, 1000), ETIME);
    st_thread_observe(NULL);
    assert_int_equal(seen.last.kind, ST_WAIT_FD);
    assert_int_equal(seen.last.number, ends[0]);
    assert_int_equal(seen.last.events, POLLIN);
    st_fd_forget(ends[0]);
    close(ends[0]);
    close(ends[1]);
}

static void the_outermost_declaration_counts(void)
{
    st_wait_t outer = {.kind = ST_WAIT_DISK, .number = 7, .name = "/a"};
    st_wait_t inner = {.kind = ST_WAIT_LOCK};
    struct seen seen = observe();
    st_utime_t since;

    st_thread_observe(&seen.observer);
    st_wait_begin(&outer);
    st_wait_begin(&inner);
    assert_ok(st_usleep(1000));
    assert_int_equal(seen.last.kind, ST_WAIT_DISK);
    assert_string_equal(seen.last.name, "/a");
    since = seen.last.since;
    st_wait_end(&inner); /* its declaration was ignored */
    assert_ok(st_usleep(1000));
    assert_int_equal(seen.last.kind, ST_WAIT_DISK);
    assert_true(seen.last.since == since && seen.parked > since); /* one wait that parks twice */
    st_wait_end(&outer);
    assert_ok(st_usleep(1000));
    assert_int_equal(seen.last.kind, ST_WAIT_SLEEP);
    st_thread_observe(NULL);
}

static void *unpark(void *thread)
{
    st_thread_unpark(thread);
    return NULL;
}

static void who_was_woken_by_a_thread_has_no_time(void)
{
    struct seen seen = observe();

    st_thread_observe(&seen.observer);
    assert_non_null(st_thread_create(unpark, st_thread_self(), 0, 0));
    assert_ok(st_thread_park(ST_UTIME_NO_TIMEOUT));
    assert_int_equal(seen.last.kind, ST_WAIT_OTHER);
    assert_true(seen.woken == 0);
    st_thread_observe(NULL);
}

static void yields_are_told_if_wanted(void)
{
    struct seen seen = observe();

    st_thread_observe(&seen.observer);
    st_thread_yield();
    assert_int_equal(seen.yields, 1);
    seen.observer.yields = NULL;
    st_thread_yield();
    assert_int_equal(seen.yields, 1);
    assert_int_equal(seen.parks, 0);
    st_thread_observe(NULL);
}

static void the_running_thread_is_where_it_is_said_to_be(void)
{
    const st_thread_t *current = st_vp_current(st_vp_self());

    assert_ptr_equal(*current, st_thread_self());
    st_thread_yield();
    assert_ptr_equal(*current, st_thread_self());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_sleep_is_told),
        VP_TEST(a_descriptor_is_told),
        VP_TEST(the_outermost_declaration_counts),
        VP_TEST(who_was_woken_by_a_thread_has_no_time),
        VP_TEST(yields_are_told_if_wanted),
        VP_TEST(the_running_thread_is_where_it_is_said_to_be),
    };

    return cmocka_run_group_tests_name("observed waits", tests, NULL, NULL);
}
