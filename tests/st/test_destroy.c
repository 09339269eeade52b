/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a VP: st_destroy, a second st_init, several VPs in one process, calls where there is
 * no VP. */
#include "tests/vp.h"

#include <pthread.h>

static void is_vp_between_init_and_destroy(void)
{
    assert_false(st_is_vp());
    assert_null(st_thread_self());
    assert_null(st_vp_self());
    assert_ok(st_init());
    assert_true(st_is_vp());
    assert_non_null(st_thread_self());
    assert_non_null(st_vp_self());
    assert_ok(st_destroy());
    assert_false(st_is_vp());
    assert_null(st_thread_self());
    assert_null(st_vp_self());
    assert_fails(st_destroy(), EPERM);
}

static void *forever(void *arg)
{
    (void)arg;
    assert_fails(st_usleep(ST_UTIME_NO_TIMEOUT), EINTR);
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static void destroy_is_refused_while_others_live(void)
{
    st_thread_t thread = st_thread_create(forever, NULL, 1, 0);

    assert_fails(st_destroy(), EBUSY); /* ready */
    settle();
    assert_fails(st_destroy(), EBUSY); /* waiting */
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
}

static void *destroy_from_a_thread(void *arg)
{
    (void)arg;
    assert_fails(st_destroy(), EBUSY);
    return NULL;
}

static void destroy_only_from_the_primordial_thread(void)
{
    assert_ok(st_thread_join(st_thread_create(destroy_from_a_thread, NULL, 1, 0), NULL));
}

static int count_maps(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    int lines = 0, c;

    assert_non_null(maps);
    while ((c = fgetc(maps)) != EOF)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

static void one_life(void)
{
    int osfd;
    char byte;
    st_thread_t threads[50];

    assert_ok(st_init());
    for (int i = 0; i < 50; i++)
        threads[i] = st_thread_create(nothing, NULL, 1, i % 2 ? 0 : 200000);
    for (int i = 0; i < 50; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    st_netfd_t netfd = netfd_half(&osfd);
    assert_fails(st_read(netfd, &byte, 1, 100), ETIME);
    assert_ok(st_netfd_close(netfd));
    close(osfd);
    assert_ok(st_destroy());
}

static void many_lives_leak_nothing(void)
{
    one_life();
    one_life();
    int fds = open_descriptors(), maps = count_maps();
    for (int i = 0; i < 20; i++)
        one_life();
    assert_int_equal(open_descriptors(), fds);
    if (!under_valgrind())                     /* which maps memory of its own meanwhile */
        assert_true(count_maps() <= maps + 2); /* malloc may take another arena or two */
}

static int destroyed;

static void count_destroyed(void *value)
{
    (void)value;
    destroyed++;
}

static void destroy_ends_the_primordial_threads_data(void)
{
    int key;

    assert_ok(st_init());
    assert_ok(st_key_create(&key, count_destroyed));
    assert_ok(st_thread_setspecific(key, &key));
    assert_ok(st_destroy());
    assert_int_equal(destroyed, 1);
    assert_ok(st_init());
    assert_null(st_thread_getspecific(key));
    assert_ok(st_destroy());
    assert_int_equal(destroyed, 1);
}

static void fired(st_watch_t *watch, int ready)
{
    (void)ready;
    ++*(int *)watch->data;
}

static void destroy_disarms_watches(void)
{
    int osfd, count = 0;
    st_watch_t timer = {.data = &count}, reader = {.data = &count};

    assert_ok(st_init());
    st_netfd_t netfd = netfd_half(&osfd);
    st_watch_init(&timer, -1, 0, fired);
    st_watch_init(&reader, osfd, 0, fired);
    assert_ok(st_watch_arm(&timer, 0, 1));
    assert_ok(st_watch_arm(&reader, POLLIN, 1000000));
    assert_ok(st_netfd_close(netfd));
    close(osfd);
    assert_ok(st_destroy());
    assert_int_equal(count, 0);
}

/* --- other kernel threads --- */

/* Created on the VP, used where there is none. */
static struct {
    st_cond_t cond;
    st_mutex_t mutex;
    st_netfd_t netfd;
    st_thread_t thread;
} objects;

static void no_vp_objects(void)
{
    st_watch_t watch;
    char byte;

    assert_fails(st_cond_wait(objects.cond), EPERM);
    assert_ok(st_cond_signal(objects.cond));
    assert_ok(st_cond_broadcast(objects.cond));
    assert_fails(st_mutex_lock(objects.mutex), EPERM);
    assert_fails(st_mutex_trylock(objects.mutex), EPERM);
    assert_fails(st_mutex_unlock(objects.mutex), EPERM);
    assert_fails(st_thread_join(objects.thread, NULL), EPERM);
    st_thread_interrupt(objects.thread);
    st_thread_unpark(objects.thread);
    assert_int_equal(st_thread_stack_used(objects.thread), 0);
    assert_fails(st_read(objects.netfd, &byte, 1, 0), EPERM);
    assert_fails(st_netfd_poll(objects.netfd, POLLIN, 0), EPERM);
    assert_fails(st_netfd_close(objects.netfd), EPERM);
    assert_null_errno(st_netfd_open(0), EPERM);
    st_watch_init(&watch, -1, 0, fired);
    assert_fails(st_watch_arm(&watch, 0, 1), EPERM);
    st_watch_disarm(&watch);
    st_watch_free(&watch);
    assert_fails(st_set_stack_cache(1), EPERM);
    assert_fails(st_stack_census(1), EPERM);
    assert_int_equal(st_sample_stacks(-1), 0);
    assert_fails(st_randomize_stacks(1), EPERM);
    assert_null(st_set_switch_in_cb(NULL));
    assert_null(st_set_switch_out_cb(NULL));
    assert_null(st_set_turn_cb(NULL));
    assert_null(st_set_sleep_cb(NULL));
}

static void *no_vp_calls(void *arg)
{
    char byte;
    st_stats_t stats;
    st_stack_stats_t stacks;

    (void)arg;
    no_vp_objects();
    assert_false(st_is_vp());
    assert_false(st_in_callback());
    assert_null(st_thread_self());
    assert_null_errno(st_thread_create(nothing, NULL, 0, 0), EPERM);
    assert_fails(st_usleep(1), EPERM);
    assert_fails(st_sleep(0), EPERM);
    assert_fails(st_thread_park(1), EPERM);
    assert_fails(st_fd_wait(0, POLLIN, 0), EPERM);
    assert_fails(st_fd_rearm(0), EPERM);
    assert_fails(st_poll(NULL, 0, 0), EPERM);
    assert_fails(st_destroy(), EPERM);
    assert_fails(st_thread_setspecific(0, &byte), EPERM);
    assert_null(st_thread_getspecific(0));
    st_thread_yield(); /* harmless */
    st_fd_forget(0);
    st_fd_again(0, POLLIN);
    st_fd_drained(0, POLLIN);
    st_get_stats(&stats);
    assert_int_equal(stats.switches, 0);
    st_get_stack_stats(&stacks);
    assert_int_equal(stacks.in_use, 0);
    assert_int_equal(st_stack_overflow_at(&byte), 0);
    assert_true(st_utime() > 0);
    return NULL;
}

static void calls_where_there_is_no_vp(void)
{
    pthread_t kernel_thread;
    int osfd;

    objects.cond = st_cond_new();
    objects.mutex = st_mutex_new();
    objects.netfd = netfd_half(&osfd);
    objects.thread = st_thread_create(forever, NULL, 1, 0);
    settle();
    assert_ok(pthread_create(&kernel_thread, NULL, no_vp_calls, NULL));
    assert_ok(pthread_join(kernel_thread, NULL));
    settle(); /* the thread waits as before */
    st_thread_interrupt(objects.thread);
    assert_ok(st_thread_join(objects.thread, NULL));
    assert_ok(st_cond_destroy(objects.cond));
    assert_ok(st_mutex_destroy(objects.mutex));
    assert_ok(st_netfd_close(objects.netfd));
    close(osfd);
}

static void *count_to(void *arg)
{
    int *counter = arg;

    for (int i = 0; i < 1000; i++) {
        ++*counter;
        st_thread_yield();
    }
    return NULL;
}

static void *whole_vp(void *arg)
{
    int counters[4] = {0};
    st_thread_t threads[4];

    (void)arg;
    assert_ok(st_init());
    for (int i = 0; i < 4; i++)
        threads[i] = st_thread_create(count_to, &counters[i], 1, 0);
    for (int i = 0; i < 4; i++) {
        assert_ok(st_thread_join(threads[i], NULL));
        assert_int_equal(counters[i], 1000);
    }
    assert_ok(st_usleep(100));
    assert_ok(st_destroy());
    return NULL;
}

static void each_kernel_thread_may_be_a_vp(void)
{
    pthread_t kernel_threads[4];

    for (int i = 0; i < 4; i++)
        assert_ok(pthread_create(&kernel_threads[i], NULL, whole_vp, NULL));
    whole_vp(NULL);
    for (int i = 0; i < 4; i++)
        assert_ok(pthread_join(kernel_threads[i], NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(is_vp_between_init_and_destroy),
        VP_TEST(destroy_is_refused_while_others_live),
        VP_TEST(destroy_only_from_the_primordial_thread),
        RAW_TEST(many_lives_leak_nothing),
        RAW_TEST(destroy_ends_the_primordial_threads_data),
        RAW_TEST(destroy_disarms_watches),
        VP_TEST(calls_where_there_is_no_vp),
        RAW_TEST(each_kernel_thread_may_be_a_vp),
    };
    return cmocka_run_group_tests_name("destroy", tests, NULL, NULL);
}
