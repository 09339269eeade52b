/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C11's locks: mutexes of all types, condition variables, call_once() and sleeps, among state
 * threads and kernel threads.
 */
#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

static mtx_t mutex;
static cnd_t cond;
static _Atomic int inside, tokens, woken;
static bool ready;

static struct timespec from_now(long ms)
{
    struct timespec at;

    CHECK(timespec_get(&at, TIME_UTC) == TIME_UTC);
    at.tv_nsec += ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

typedef struct worker {
    int rounds, depth;
    bool kernel;
} worker_t;

static void *work(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        for (int d = 0; d < worker->depth; d++)
            CHECK(call->mtx_lock(&mutex) == thrd_success);
        CHECK(atomic_fetch_add(&inside, 1) == 0);
        if (!worker->kernel)
            CHECK(call->usleep((useconds_t)(i % 3 == 0)) == 0);
        CHECK(atomic_fetch_sub(&inside, 1) == 1);
        for (int d = 0; d < worker->depth; d++)
            CHECK(call->mtx_unlock(&mutex) == thrd_success);
    }
    return NULL;
}

static void exclusion(int type, int depth)
{
    worker_t here = {40, depth, false}, afar = {4000, depth, true};
    pthread_t id;

    CHECK(call->mtx_init(&mutex, type) == thrd_success);
    id = kernel_thread(work, &afar);
    for (int i = 0; i < 8; i++)
        spawn(work, &here);
    reap();
    join_kernel_thread(id);
    CHECK(stiol__vp->owners_used == 0 && stiol__lot_waiters() == 0);
    call->mtx_destroy(&mutex);
}

static void mutexes_are_kept_across_parks(void)
{
    exclusion(mtx_plain, 1);
    exclusion(mtx_timed, 1);
    exclusion(mtx_plain | mtx_recursive, 3);
    exclusion(mtx_timed | mtx_recursive, 2);
}

static void *try_in_time(void *arg)
{
    struct timespec at = from_now(2);

    (void)arg;
    CHECK(call->mtx_trylock(&mutex) == thrd_busy);
    CHECK(call->mtx_timedlock(&mutex, &at) == thrd_timedout);
    note('t');
    at = from_now(60000);
    CHECK(call->mtx_timedlock(&mutex, &at) == thrd_success);
    note('l');
    CHECK(call->mtx_unlock(&mutex) == thrd_success);
    return NULL;
}

static void tries_and_times_have_c11s_results(void)
{
    struct timespec wrong = {0, -1};

    CHECK(call->mtx_init(&mutex, mtx_timed) == thrd_success);
    CHECK(call->mtx_lock(&mutex) == thrd_success);
    CHECK(call->mtx_timedlock(&mutex, &wrong) == thrd_error);
    spawn(try_in_time, NULL);
    while (noted()[0] == '\0')
        st_thread_yield();
    CHECK(call->mtx_unlock(&mutex) == thrd_success);
    reap();
    CHECK(strcmp(noted(), "tl") == 0);
}

static void *wait_for_token(void *arg)
{
    (void)arg;
    CHECK(call->mtx_lock(&mutex) == thrd_success);
    while (tokens == 0)
        CHECK(call->cnd_wait(&cond, &mutex) == thrd_success);
    tokens--;
    woken++;
    CHECK(call->mtx_unlock(&mutex) == thrd_success);
    return NULL;
}

static void *give_token(void *arg)
{
    int count = *(int *)arg;

    CHECK(call->mtx_lock(&mutex) == thrd_success);
    tokens += count;
    CHECK((count == 1 ? call->cnd_signal(&cond) : call->cnd_broadcast(&cond)) == thrd_success);
    CHECK(call->mtx_unlock(&mutex) == thrd_success);
    return NULL;
}

static void conditions_are_signalled_from_anywhere(void)
{
    int one = 1, all = 6;
    pthread_t ids[2];

    CHECK(call->mtx_init(&mutex, mtx_plain) == thrd_success && cnd_init(&cond) == thrd_success);
    for (int i = 0; i < 3; i++) {
        spawn(wait_for_token, NULL);
        settle();
        if (i == 0)
            give_token(&one);
        else
            join_kernel_thread(kernel_thread(give_token, &one));
        reap();
        CHECK(woken == i + 1);
    }
    for (int i = 0; i < 2; i++)
        ids[i] = kernel_thread(wait_for_token, NULL);
    for (int i = 0; i < 4; i++)
        spawn(wait_for_token, NULL);
    settle();
    give_token(&all);
    reap();
    for (int i = 0; i < 2; i++)
        join_kernel_thread(ids[i]);
    CHECK(woken == 9 && tokens == 0);
}

static void condition_waits_end_in_time(void)
{
    int ticks = 0;

    CHECK(call->mtx_init(&mutex, mtx_plain) == thrd_success && cnd_init(&cond) == thrd_success);
    spawn(ticker, &ticks);
    CHECK(call->mtx_lock(&mutex) == thrd_success);
    while (ticks == 0) { /* as vp.h says of waits */
        struct timespec at = from_now(2);

        CHECK(call->cnd_timedwait(&cond, &mutex, &at) == thrd_timedout);
    }
    CHECK(call->mtx_trylock(&mutex) == thrd_busy);
    CHECK(call->mtx_unlock(&mutex) == thrd_success);
    stop_ticking = true;
}

static once_flag once = ONCE_FLAG_INIT;

static void routine(void)
{
    note('(');
    CHECK(call->usleep(1000) == 0);
    ready = true;
    note(')');
}

static void *run_once(void *arg)
{
    (void)arg;
    call->call_once(&once, routine);
    CHECK(ready);
    note('.');
    return NULL;
}

static void call_once_calls_once_and_the_others_wait(void)
{
    for (int i = 0; i < 3; i++)
        spawn(run_once, NULL);
    reap();
    CHECK(strcmp(noted(), "()...") == 0);
}

static void sleeps_give_way(void)
{
    struct timespec length = {0, 2000000}, wrong = {0, 1000000000};
    int ticks = 0, before;

    spawn(ticker, &ticks);
    CHECK(call->thrd_sleep(&length, NULL) == 0 && ticks > 0);
    before = ticks;
    call->thrd_yield();
    CHECK(ticks > before);
    CHECK(call->thrd_sleep(&wrong, NULL) < -1);
    stop_ticking = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(mutexes_are_kept_across_parks),
        VP_TEST(tries_and_times_have_c11s_results),
        VP_TEST(conditions_are_signalled_from_anywhere),
        VP_TEST(condition_waits_end_in_time),
        VP_TEST(call_once_calls_once_and_the_others_wait),
        VP_TEST(sleeps_give_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
