/* SPDX-License-Identifier: Apache-2.0 */
/* Per-thread data: keys, destructors, the limit. */
#include "tests/vp.h"

static int destroyed;
static void *last_destroyed;

static void destroy(void *value)
{
    destroyed++;
    last_destroyed = value;
}

static int key, plain_key;

static void make_keys(void)
{
    assert_ok(st_key_create(&key, destroy));
    assert_ok(st_key_create(&plain_key, NULL));
    assert_int_not_equal(key, plain_key);
    assert_true(key >= 0 && plain_key >= 0);
}

static void values_begin_as_null(void)
{
    make_keys();
    assert_null(st_thread_getspecific(key));
    assert_ok(st_thread_setspecific(key, &key));
    assert_ptr_equal(st_thread_getspecific(key), &key);
    assert_null(st_thread_getspecific(plain_key));
    assert_ok(st_thread_setspecific(key, NULL));
    assert_null(st_thread_getspecific(key));
    assert_int_equal(destroyed, 1);
}

static void invalid_keys(void)
{
    make_keys();
    assert_fails(st_thread_setspecific(-1, &key), EINVAL);
    assert_fails(st_thread_setspecific(plain_key + 1, &key), EINVAL);
    assert_fails(st_thread_setspecific(st_key_getlimit(), &key), EINVAL);
    assert_null(st_thread_getspecific(-1));
    assert_null(st_thread_getspecific(plain_key + 1));
    assert_null(st_thread_getspecific(st_key_getlimit()));
}

static void replacing_destroys_the_old_value(void)
{
    int one, two;

    make_keys();
    assert_ok(st_thread_setspecific(key, &one));
    assert_ok(st_thread_setspecific(key, &one)); /* the same again: nothing to destroy */
    assert_int_equal(destroyed, 0);
    assert_ok(st_thread_setspecific(key, &two));
    assert_int_equal(destroyed, 1);
    assert_ptr_equal(last_destroyed, &one);
    assert_ok(st_thread_setspecific(plain_key, &one));
    assert_ok(st_thread_setspecific(plain_key, NULL));
    assert_int_equal(destroyed, 1);
    assert_ok(st_thread_setspecific(key, NULL));
}

static void *set_both(void *arg)
{
    assert_null(st_thread_getspecific(key));
    assert_ok(st_thread_setspecific(key, arg));
    assert_ok(st_thread_setspecific(plain_key, arg));
    settle();
    assert_ptr_equal(st_thread_getspecific(key), arg);
    if (arg == &plain_key)
        st_thread_exit(NULL);
    return NULL;
}

static void each_thread_has_its_own_and_exit_destroys_them(void)
{
    make_keys();
    assert_ok(st_thread_setspecific(key, &destroyed));
    st_thread_t one = st_thread_create(set_both, &key, 1, 0);
    st_thread_t two = st_thread_create(set_both, &plain_key, 1, 0);
    assert_ok(st_thread_join(one, NULL));
    assert_ok(st_thread_join(two, NULL));
    assert_int_equal(destroyed, 2);
    assert_ptr_equal(st_thread_getspecific(key), &destroyed);
    /* A recycled stack does not bring the values of its last owner. */
    assert_ok(st_thread_join(st_thread_create(set_both, &key, 1, 0), NULL));
    assert_int_equal(destroyed, 3);
    assert_ok(st_thread_setspecific(key, NULL));
}

static void destructors_run_at_exit_even_before_the_join(void)
{
    make_keys();
    st_thread_t thread = st_thread_create(set_both, &key, 1, 0);
    for (int i = 0; i < 4; i++)
        settle();
    assert_int_equal(destroyed, 1);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(destroyed, 1);
}

static void *nothing(void *arg)
{
    (void)arg;
    return NULL;
}

static void *see_late_key(void *arg)
{
    int *late = arg;

    settle();
    assert_null(st_thread_getspecific(*late));
    assert_ok(st_thread_setspecific(*late, late));
    return NULL;
}

/* A thread that was there before the key has NULL for it, and its destructor works. */
static void a_key_made_after_the_thread(void)
{
    int late = -1;
    st_thread_t thread = st_thread_create(see_late_key, &late, 1, 0);

    assert_ok(st_key_create(&late, destroy));
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(destroyed, 1);
    assert_ok(st_thread_join(st_thread_create(nothing, NULL, 1, 0), NULL));
}

static void the_limit_is_the_limit(void)
{
    int limit = st_key_getlimit(), made = 0, one;

    assert_true(limit >= 16);
    for (; made < limit; made++)
        assert_ok(st_key_create(&one, destroy));
    assert_fails(st_key_create(&one, destroy), EAGAIN);
    assert_int_equal(st_key_getlimit(), limit);
}

#ifndef TEST_ST19
static void the_limit_is_not_as_low_as_16(void)
{
    assert_true(st_key_getlimit() >= 256);
}

static void *set_all(void *arg)
{
    for (int i = 0; i < *(int *)arg; i++)
        assert_ok(st_thread_setspecific(i, arg));
    for (int i = 0; i < *(int *)arg; i++)
        assert_ptr_equal(st_thread_getspecific(i), arg);
    return NULL;
}

static void every_key_may_be_used(void)
{
    int limit = st_key_getlimit(), one;

    for (int i = 0; i < limit; i++)
        assert_ok(st_key_create(&one, destroy));
    assert_ok(st_thread_setspecific(limit - 1, NULL)); /* nothing to replace */
    assert_null(st_thread_getspecific(limit - 1));
    assert_ok(st_thread_join(st_thread_create(set_all, &limit, 1, 0), NULL));
    assert_int_equal(destroyed, limit);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(values_begin_as_null),
        VP_TEST(invalid_keys),
        VP_TEST(replacing_destroys_the_old_value),
        VP_TEST(each_thread_has_its_own_and_exit_destroys_them),
        VP_TEST(destructors_run_at_exit_even_before_the_join),
        VP_TEST(a_key_made_after_the_thread),
        VP_TEST(the_limit_is_the_limit),
#ifndef TEST_ST19
        VP_TEST(the_limit_is_not_as_low_as_16),
        VP_TEST(every_key_may_be_used),
#endif
    };
    return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
