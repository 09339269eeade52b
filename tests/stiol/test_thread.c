/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that libapr creates are state threads with their own thread-specific data: kept apart,
 * destroyed, not leaked.
 */
#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_threads;

/* --- threads --- */

static st_vp_t main_vp;

static void *thread_main(void *arg)
{
    CHECK(st_vp_self() == main_vp && st_thread_self());
    note('t');
    CHECK(call->usleep(100) == 0);
    note('u');
    return arg;
}

static void threads_are_state_threads(void)
{
    st_stats_t before, after;
    pthread_t id;
    void *result;
    int value;

    main_vp = st_vp_self();
    st_get_stats(&before);
    CHECK(call->pthread_create(&id, NULL, thread_main, &value) == 0);
    CHECK(noted()[0] == '\0');
    CHECK(call->pthread_join(id, &result) == 0 && result == &value);
    CHECK(strcmp(noted(), "tu") == 0);
    st_get_stats(&after);
    CHECK(after.threads_created == before.threads_created + 1);
    CHECK(stiol__lot_waiters() == 0);
}

static pthread_t own_ids[3];
static bool may_end;

static void *see_own_id(void *arg)
{
    int i = *(int *)arg;

    own_ids[i] = call->pthread_self();
    CHECK(call->usleep(100) == 0);
    CHECK(pthread_equal(own_ids[i], call->pthread_self()));
    CHECK(call->pthread_setname_np(own_ids[i], "name") == 0);
    CHECK(call->pthread_join(own_ids[i], NULL) == EDEADLK);
    while (i == 2 && !may_end)
        st_thread_yield();
    return NULL;
}

static void every_thread_has_its_own_id(void)
{
    int numbers[3] = {0, 1, 2};
    pthread_t ids[3];

    CHECK(pthread_equal(call->pthread_self(), pthread_self()));
    for (int i = 0; i < 2; i++)
        CHECK(call->pthread_create(&ids[i], NULL, see_own_id, &numbers[i]) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(call->pthread_join(ids[i], NULL) == 0);
        CHECK(pthread_equal(ids[i], own_ids[i]));
    }
    CHECK(!pthread_equal(own_ids[0], own_ids[1]) && !pthread_equal(own_ids[0], pthread_self()));
    /* One that the MPM made. */
    spawn(see_own_id, &numbers[2]);
    settle();
    CHECK(own_ids[2] != 0 && call->pthread_join(own_ids[2], NULL) == EINVAL);
    CHECK(call->pthread_detach(own_ids[2]) == EINVAL);
    may_end = true;
    reap();
}

static void *exit_early(void *arg)
{
    call->pthread_exit(arg);
    note('!');
    return NULL;
}

static void threads_exit_and_are_joined_later(void)
{
    pthread_t id;
    void *result;
    int value;

    CHECK(call->pthread_create(&id, NULL, exit_early, &value) == 0);
    settle();
    CHECK(call->pthread_join(id, &result) == 0 && result == &value && noted()[0] == '\0');
}

static void *join_it(void *arg)
{
    CHECK(call->pthread_join(*(pthread_t *)arg, NULL) == 0);
    note('j');
    return NULL;
}

static void *end_when_told(void *arg)
{
    (void)arg;
    while (!may_end)
        CHECK(call->usleep(100) == 0);
    note('e');
    return NULL;
}

static void joining_waits_and_is_for_one(void)
{
    pthread_t id;
    st_thread_t joiner;

    CHECK(call->pthread_create(&id, NULL, end_when_told, NULL) == 0);
    joiner = spawn(join_it, &id);
    settle();
    CHECK(call->pthread_join(id, NULL) == EINVAL);
    st_thread_interrupt(joiner);
    settle();
    may_end = true;
    reap();
    CHECK(strcmp(noted(), "ej") == 0);
}

static void detached_threads_end_by_themselves(void)
{
    pthread_attr_t attr;
    pthread_t id;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    CHECK(call->pthread_create(&id, &attr, end_when_told, NULL) == 0);
    CHECK(call->pthread_join(id, NULL) == EINVAL && call->pthread_detach(id) == EINVAL);
    CHECK(call->pthread_create(&id, NULL, end_when_told, NULL) == 0);
    CHECK(call->pthread_detach(id) == 0);
    CHECK(call->pthread_create(&id, NULL, exit_early, NULL) == 0);
    settle();
    CHECK(call->pthread_detach(id) == 0); /* ended already */
    may_end = true;
    while (strlen(noted()) < 2)
        st_thread_yield();
}

static void *from_afar(void *arg)
{
    CHECK(call->pthread_join(*(pthread_t *)arg, NULL) == 0);
    return NULL;
}

static void kernel_threads_may_join_too(void)
{
    pthread_t id, joiner;

    CHECK(call->pthread_create(&id, NULL, thread_main, NULL) == 0);
    main_vp = st_vp_self();
    joiner = kernel_thread(from_afar, &id);
    CHECK(call->pthread_join(joiner, NULL) == 0); /* one that STIOL has not seen begin */
    CHECK(counters().thread.parked > 0 && counters().thread.helped == 0);
    CHECK(strcmp(noted(), "tu") == 0);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void a_signal_to_a_state_thread_is_the_vps(void)
{
    pthread_t id;

    signal(SIGUSR1, count_signal);
    CHECK(call->pthread_create(&id, NULL, end_when_told, NULL) == 0);
    CHECK(table_any.pthread_kill(id, SIGUSR1) == 0 && signals == 1);
    CHECK(table_any.pthread_kill(id, 12345) == EINVAL);
    CHECK(table_any.pthread_kill(pthread_self(), SIGUSR1) == 0 && signals == 2);
    may_end = true;
    CHECK(call->pthread_join(id, NULL) == 0);
}

static void *see_that_it_is_no_vp(void *arg)
{
    CHECK(!st_vp_self());
    return arg;
}

/* Objects other than libapr get kernel threads. */
static void other_objects_get_kernel_threads(void)
{
    pthread_t id;

    CHECK(table_any.pthread_create(&id, NULL, see_that_it_is_no_vp, NULL) == 0);
    CHECK(table_any.pthread_join(id, NULL) == 0);
}

/* What only the VP has used, without a lock, gets a lock in time. */
static int told;

static void hear(void)
{
    told++;
}

static void *see_that_it_was_told(void *arg)
{
    (void)arg;
    return told == 1 ? &told : NULL;
}

static void telling_body(void)
{
    stiol_config_t config = test_config;
    pthread_t id;
    void *result;

    stiol_stop();
    config.kernel_thread = hear;
    CHECK(stiol_start(&config) == 0);
    CHECK(call->pthread_create(&id, NULL, end_when_told, NULL) == 0 && told == 0);
    may_end = true;
    CHECK(call->pthread_join(id, NULL) == 0);
    CHECK(table_any.pthread_create(&id, NULL, see_that_it_was_told, NULL) == 0);
    CHECK(table_any.pthread_join(id, &result) == 0);
    _exit(result == &told ? 10 : 1);
}

static void trap_7_the_mpm_hears_of_kernel_threads_before_they_run(void)
{
    CHECK(without(0, telling_body) == 10);
    CHECK(without(STIOL_NO_TELLING, telling_body) == 1);
}

static void *nothing(void *arg)
{
    return arg;
}

static void thousands_of_threads(void)
{
    static pthread_t ids[5000];
    static int numbers[5000];

    for (int i = 0; i < 5000; i++)
        CHECK(call->pthread_create(&ids[i], NULL, nothing, &numbers[i]) == 0);
    for (int i = 0; i < 5000; i++) {
        void *result;

        CHECK(call->pthread_join(ids[i], &result) == 0 && result == &numbers[i]);
    }
}

/* --- thread-specific data --- */

static pthread_key_t key, early_key;
static int ended, made;

static void end_value(void *value)
{
    CHECK(!call->pthread_getspecific(key));
    free(value);
    ended++;
}

/* As OpenSSL does with its error queue: makes a value at first use, and keeps it. */
static int *own_value(pthread_key_t which)
{
    int *value = call->pthread_getspecific(which);

    if (!value) {
        value = malloc(sizeof(int));
        *value = 0;
        made++;
        CHECK(call->pthread_setspecific(which, value) == 0);
    }
    return value;
}

static void *use_value(void *arg)
{
    int *value = own_value(key);

    *value = *(int *)arg;
    for (int i = 0; i < 50; i++) {
        st_thread_yield();
        CHECK(own_value(key) == value && *value == *(int *)arg);
    }
    return NULL;
}

static void values_body(void)
{
    static int numbers[20];

    CHECK(call->pthread_key_create(&key, end_value) == 0);
    *own_value(key) = -1;
    for (int i = 0; i < 20; i++) {
        numbers[i] = i;
        spawn(use_value, &numbers[i]);
    }
    reap();
    CHECK(*own_value(key) == -1);
    _exit(10);
}

static void trap_5_every_state_thread_has_its_own_value(void)
{
    CHECK(without(0, values_body) == 10);
    CHECK(without(STIOL_NO_TSD, values_body) == 1);
}

/* 10,000 threads in sequence, with the values of a key that was created before STIOL started. */
static void *touch(void *arg)
{
    (void)arg;
    stiol_inherit();
    own_value(early_key);
    own_value(key);
    st_thread_yield();
    return NULL;
}

static void end_early_value(void *value)
{
    free(value);
    ended++;
}

static void leak_body(void)
{
    stiol_stop();
    CHECK(pthread_key_create(&early_key, end_early_value) == 0);
    CHECK(stiol_start(&test_config) == 0);
    CHECK(call->pthread_key_create(&key, end_value) == 0);
    for (int i = 0; i < 500; i++) {
        for (int j = 0; j < 20; j++)
            spawn(touch, NULL);
        reap();
    }
    _exit(made - ended <= 2 * 20 ? 10 : 20);
}

static void leak_body_of_pthreads(void)
{
    stiol_stop();
    CHECK(pthread_key_create(&early_key, end_early_value) == 0);
    CHECK(stiol_start(&test_config) == 0);
    CHECK(call->pthread_key_create(&key, end_value) == 0);
    for (int i = 0; i < 1000; i++) {
        pthread_t id;

        CHECK(call->pthread_create(&id, NULL, touch, NULL) == 0);
        CHECK(call->pthread_join(id, NULL) == 0);
        CHECK(made == 2 * (i + 1) || stiol__off != 0);
    }
    _exit(made == ended ? 10 : 20);
}

static void trap_5_nothing_is_left_behind(void)
{
    CHECK(without(0, leak_body) == 10);
    CHECK(without(STIOL_NO_TSD_END, leak_body) == 20);
    CHECK(without(0, leak_body_of_pthreads) == 10);
    CHECK(without(STIOL_NO_TSD_END, leak_body_of_pthreads) == 20);
}

static void the_cache_is_bounded_and_emptied_at_the_end(void)
{
    stiol_config_t config = test_config;

    config.tsd_cache = 8;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
    CHECK(call->pthread_key_create(&key, end_value) == 0);
    CHECK(call->pthread_key_create(&early_key, end_early_value) == 0);
    for (int i = 0; i < 20; i++)
        spawn(touch, NULL);
    reap();
    CHECK(made == 40 && ended == 24); /* 8 sets are kept */
    for (int i = 0; i < 8; i++)
        spawn(touch, NULL);
    reap();
    CHECK(made == 40 && ended == 24); /* and used again */
    stiol_stop();
    CHECK(ended == 40);
    config.tsd_cache = -1;
    CHECK(stiol_start(&config) == 0);
    for (int i = 0; i < 5; i++)
        spawn(touch, NULL);
    reap();
    CHECK(made == 50 && ended == 50);
    stiol_stop();
}

static void *see_nothing(void *arg)
{
    (void)arg;
    stiol_inherit();
    CHECK(!call->pthread_getspecific(key));
    CHECK(call->pthread_setspecific(key, &key) == 0 && call->pthread_getspecific(key) == &key);
    CHECK(call->pthread_setspecific(key, NULL) == 0 && !call->pthread_getspecific(key));
    return NULL;
}

static void *set_and_keep(void *arg)
{
    CHECK(call->pthread_setspecific(key, arg) == 0);
    return NULL;
}

static void a_deleted_keys_values_are_gone(void)
{
    int value;
    pthread_key_t again;

    CHECK(call->pthread_key_create(&key, NULL) == 0);
    spawn(set_and_keep, &value);
    reap(); /* its set of values is in the cache */
    CHECK(call->pthread_setspecific(key, &value) == 0);
    CHECK(call->pthread_key_delete(key) == 0);
    CHECK(call->pthread_key_create(&again, NULL) == 0 && again == key);
    spawn(see_nothing, NULL);
    reap();
    CHECK(call->pthread_key_delete(key) == 0);
    CHECK(call->pthread_key_delete(key) == EINVAL);
}

static void *set_a_deleted_key(void *arg)
{
    CHECK(call->pthread_setspecific(key, arg) == EINVAL);
    CHECK(!call->pthread_getspecific(key));
    CHECK(call->pthread_setspecific(100000, arg) == EINVAL);
    CHECK(!call->pthread_getspecific(100000));
    return NULL;
}

static void wrong_keys_are_refused(void)
{
    CHECK(call->pthread_key_create(&key, NULL) == 0 && call->pthread_key_delete(key) == 0);
    spawn(set_a_deleted_key, &key);
    reap();
}

static pthread_key_t many[500];

static void *use_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 500; i++)
        CHECK(call->pthread_setspecific(many[i], &many[i]) == 0);
    st_thread_yield();
    for (int i = 0; i < 500; i++)
        CHECK(call->pthread_getspecific(many[i]) == &many[i]);
    return NULL;
}

static void there_may_be_many_keys(void)
{
    for (int i = 0; i < 500; i++)
        CHECK(call->pthread_key_create(&many[i], NULL) == 0);
    for (int i = 0; i < 10; i++)
        spawn(use_many, NULL);
    reap();
}

/* A destructor sets the value again: a few rounds, and no more. */
static void set_again(void *value)
{
    ended++;
    CHECK(call->pthread_setspecific(key, value) == 0);
}

static void *set_once(void *arg)
{
    CHECK(call->pthread_setspecific(key, arg) == 0);
    return NULL;
}

static void destructors_run_a_few_rounds(void)
{
    pthread_t id;

    CHECK(call->pthread_key_create(&key, set_again) == 0);
    CHECK(call->pthread_create(&id, NULL, set_once, &key) == 0);
    CHECK(call->pthread_join(id, NULL) == 0);
    CHECK(ended == 4);
}

/* A destructor may wait: it is other people's code. */
static void wait_in_destructor(void *value)
{
    CHECK(call->usleep(100) == 0);
    CHECK(call->pthread_getspecific(early_key) == value);
    ended++;
}

static void *set_two(void *arg)
{
    CHECK(call->pthread_setspecific(key, arg) == 0);
    CHECK(call->pthread_setspecific(early_key, arg) == 0);
    return NULL;
}

static void destructors_may_wait_and_look_up(void)
{
    pthread_t ids[10];

    CHECK(call->pthread_key_create(&key, wait_in_destructor) == 0);
    CHECK(call->pthread_key_create(&early_key, NULL) == 0);
    for (int i = 0; i < 10; i++)
        CHECK(call->pthread_create(&ids[i], NULL, set_two, &key) == 0);
    for (int i = 0; i < 10; i++)
        CHECK(call->pthread_join(ids[i], NULL) == 0);
    CHECK(ended == 10);
}

/* --- the end of a VP --- */

static int quiet[2]; /* a pipe that nobody writes to */
static st_thread_t in_vain[3];

static void *wait_in_vain(void *arg)
{
    struct pollfd one = {.fd = quiet[0], .events = POLLIN};
    char byte;

    *(st_thread_t *)arg = st_thread_self();
    CHECK(call->poll(&one, 1, -1) == -1 && errno == EINTR);
    note('i');
    CHECK(call->poll(&one, 1, -1) == -1 && errno == ECONNABORTED);
    note('a');
    CHECK(call->read(quiet[0], &byte, 1) == -1 && errno == ECONNABORTED);
    note('r');
    return NULL;
}

static void *end_at_once(void *arg)
{
    return arg;
}

static void waits_end_with_the_vp(void)
{
    pthread_t ids[3], other;

    CHECK(pipe(quiet) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(call->pthread_create(&ids[i], NULL, wait_in_vain, &in_vain[i]) == 0);
    CHECK(call->pthread_create(&other, NULL, end_at_once, NULL) == 0);
    settle();
    CHECK(call->pthread_join(other, NULL) == 0);
    for (int i = 0; i < 3; i++)
        st_thread_interrupt(in_vain[i]);
    settle();
    CHECK(strcmp(noted(), "iii") == 0);
    stiol_end_waits();
    settle();
    CHECK(strcmp(noted(), "iiiaaa") == 0);
    stiol_end_waits();
    for (int i = 0; i < 3; i++)
        CHECK(call->pthread_join(ids[i], NULL) == 0);
    CHECK(strcmp(noted(), "iiiaaarrr") == 0);
    stiol_end_waits(); /* nobody is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(threads_are_state_threads),
        VP_TEST(every_thread_has_its_own_id),
        VP_TEST(threads_exit_and_are_joined_later),
        VP_TEST(joining_waits_and_is_for_one),
        VP_TEST(detached_threads_end_by_themselves),
        VP_TEST(kernel_threads_may_join_too),
        VP_TEST(a_signal_to_a_state_thread_is_the_vps),
        VP_TEST(other_objects_get_kernel_threads),
        RAW_TEST(trap_7_the_mpm_hears_of_kernel_threads_before_they_run),
        VP_TEST(thousands_of_threads),
        RAW_TEST(trap_5_every_state_thread_has_its_own_value),
        RAW_TEST(trap_5_nothing_is_left_behind),
        RAW_TEST(the_cache_is_bounded_and_emptied_at_the_end),
        VP_TEST(a_deleted_keys_values_are_gone),
        VP_TEST(wrong_keys_are_refused),
        VP_TEST(there_may_be_many_keys),
        VP_TEST(destructors_run_a_few_rounds),
        VP_TEST(destructors_may_wait_and_look_up),
        VP_TEST(waits_end_with_the_vp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
