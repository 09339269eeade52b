/* SPDX-License-Identifier: Apache-2.0 */
/* st_thread_join of running and finished threads, its errors, and interrupts that race with it. */
#include "tests/vp.h"

static void *answer(void *arg)
{
    return arg;
}

static void *forever(void *arg)
{
    (void)arg;
    assert_fails(st_usleep(ST_UTIME_NO_TIMEOUT), EINTR);
    return NULL;
}

static void end(st_thread_t thread)
{
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
}

static void join_of_a_thread_that_has_not_run(void)
{
    int cookie;
    void *value = NULL;

    assert_ok(st_thread_join(st_thread_create(answer, &cookie, 1, 0), &value));
    assert_ptr_equal(value, &cookie);
}

static void join_of_a_finished_thread_does_not_block(void)
{
    int cookie;
    void *value = NULL;
    st_thread_t thread = st_thread_create(answer, &cookie, 1, 0);

    settle();
    assert_ok(st_thread_join(thread, &value));
    assert_ptr_equal(value, &cookie);
}

static void join_of_a_waiting_thread(void)
{
    st_thread_t thread = st_thread_create(forever, NULL, 1, 0);

    settle();
    end(thread);
}

static void join_without_a_place_for_the_value(void)
{
    assert_ok(st_thread_join(st_thread_create(answer, "value", 1, 0), NULL));
}

static void *join_self(void *arg)
{
    (void)arg;
    assert_fails(st_thread_join(st_thread_self(), NULL), EDEADLK);
    return NULL;
}

static void join_of_itself_is_a_deadlock(void)
{
    assert_ok(st_thread_join(st_thread_create(join_self, NULL, 1, 0), NULL));
}

static void join_of_an_unjoinable_thread(void)
{
    st_thread_t thread = st_thread_create(forever, NULL, 0, 0);

    assert_fails(st_thread_join(thread, NULL), EINVAL);
    settle();
    assert_fails(st_thread_join(thread, NULL), EINVAL);
    st_thread_interrupt(thread);
    settle();
}

static void join_of_the_primordial_thread(void)
{
    assert_fails(st_thread_join(st_thread_self(), NULL), EINVAL);
}

static void *join_arg(void *arg)
{
    return (void *)(intptr_t)(st_thread_join(arg, NULL) == 0 ? 0 : errno);
}

static void second_joiner_is_refused(void)
{
    void *error = &error;
    st_thread_t target = st_thread_create(forever, NULL, 1, 0);
    st_thread_t joiner = st_thread_create(join_arg, target, 1, 0);

    settle();
    assert_fails(st_thread_join(target, NULL), EINVAL);
    st_thread_interrupt(target);
    assert_ok(st_thread_join(joiner, &error));
    assert_null(error);
}

static void an_interrupted_join_can_be_done_again(void)
{
    void *error = NULL;
    st_thread_t target = st_thread_create(forever, NULL, 1, 0);
    st_thread_t joiner = st_thread_create(join_arg, target, 1, 0);

    settle();
    st_thread_interrupt(joiner);
    assert_ok(st_thread_join(joiner, &error));
    assert_int_equal((intptr_t)error, EINTR);
    end(target);
}

static void join_is_refused_when_interrupted_before(void)
{
    st_thread_t target = st_thread_create(forever, NULL, 1, 0);

    settle();
    st_thread_interrupt(st_thread_self());
    assert_fails(st_thread_join(target, NULL), EINTR);
    end(target);
}

/* An interrupt of the joiner in the same turn in which the target ends: the join has an answer, and
 * nothing is lost. */
static void an_interrupt_that_meets_the_end(void)
{
    for (int order = 0; order < 2; order++) {
        void *error = NULL;
        st_thread_t target = st_thread_create(forever, NULL, 1, 0);
        st_thread_t joiner = st_thread_create(join_arg, target, 1, 0);

        settle();
        st_thread_interrupt(order ? joiner : target);
        st_thread_interrupt(order ? target : joiner);
        assert_ok(st_thread_join(joiner, &error));
        if ((intptr_t)error == EINTR)
            assert_ok(st_thread_join(target, NULL));
        else
            assert_null(error);
    }
}

static void values_survive_many_others(void)
{
    enum { COUNT = 1000 };
    static st_thread_t threads[COUNT];

    for (intptr_t i = 0; i < COUNT; i++)
        assert_non_null(threads[i] = st_thread_create(answer, (void *)i, 1, 0));
    settle();
    for (intptr_t i = COUNT - 1; i >= 0; i--) {
        void *value = NULL;
        assert_ok(st_thread_join(threads[i], &value));
        assert_int_equal((intptr_t)value, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(join_of_a_thread_that_has_not_run),
        VP_TEST(join_of_a_finished_thread_does_not_block),
        VP_TEST(join_of_a_waiting_thread),
        VP_TEST(join_without_a_place_for_the_value),
        VP_TEST(join_of_itself_is_a_deadlock),
        VP_TEST(join_of_an_unjoinable_thread),
        VP_TEST(join_of_the_primordial_thread),
        VP_TEST(second_joiner_is_refused),
        VP_TEST(an_interrupted_join_can_be_done_again),
        VP_TEST(join_is_refused_when_interrupted_before),
        VP_TEST(an_interrupt_that_meets_the_end),
        VP_TEST(values_survive_many_others),
    };
    return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
