/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real GLib, unmodified: its mutexes and condition variables are futexes, the others pthread
 * ones; state threads and kernel threads use them together.
 */
#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

#if __has_include(<glib.h>)
#include <glib.h>

static const table_t *call = &table_any;

static GMutex mutex;
static GRecMutex recursive;
static GRWLock rwlock;
static GCond cond;
static long counter;
static _Atomic int inside, tokens, woken;

typedef struct worker {
    int rounds;
    bool kernel;
} worker_t;

static void pause_a_little(const worker_t *worker, int round)
{
    if (!worker->kernel && round % 4 == 0)
        st_thread_yield();
    else if (!worker->kernel && round % 50 == 1)
        CHECK(call->usleep(1) == 0);
}

static void *count(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        g_mutex_lock(&mutex);
        CHECK(atomic_fetch_add(&inside, 1) == 0);
        counter++;
        pause_a_little(worker, i);
        CHECK(atomic_fetch_sub(&inside, 1) == 1);
        g_mutex_unlock(&mutex);
    }
    return NULL;
}

static void run_both(void *(*body)(void *), int here_rounds, int afar_rounds)
{
    worker_t here = {here_rounds, false}, afar = {afar_rounds, true};
    pthread_t ids[2];

    for (int i = 0; i < 2; i++)
        ids[i] = kernel_thread(body, &afar);
    for (int i = 0; i < 8; i++)
        spawn(body, &here);
    reap();
    for (int i = 0; i < 2; i++)
        join_kernel_thread(ids[i]);
    CHECK(stiol__lot_waiters() == 0 && stiol__vp->owners_used == 0);
}

static void mutexes_keep_both_kinds_apart(void)
{
    run_both(count, 500, 20000);
    CHECK(counter == 8 * 500 + 2 * 20000);
    CHECK(g_mutex_trylock(&mutex));
    g_mutex_unlock(&mutex);
}

static void *count_twice(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        g_rec_mutex_lock(&recursive);
        g_rec_mutex_lock(&recursive);
        CHECK(atomic_fetch_add(&inside, 1) == 0);
        counter++;
        pause_a_little(worker, i);
        CHECK(atomic_fetch_sub(&inside, 1) == 1);
        g_rec_mutex_unlock(&recursive);
        g_rec_mutex_unlock(&recursive);
    }
    return NULL;
}

static void recursive_mutexes_keep_both_kinds_apart(void)
{
    run_both(count_twice, 200, 5000);
    CHECK(counter == 8 * 200 + 2 * 5000);
}

static void *write_and_read(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        g_rw_lock_writer_lock(&rwlock);
        CHECK(atomic_fetch_add(&inside, 1) == 0);
        counter++;
        pause_a_little(worker, i);
        CHECK(atomic_fetch_sub(&inside, 1) == 1);
        g_rw_lock_writer_unlock(&rwlock);
        g_rw_lock_reader_lock(&rwlock);
        CHECK(inside == 0);
        g_rw_lock_reader_unlock(&rwlock);
    }
    return NULL;
}

static void read_write_locks_keep_both_kinds_apart(void)
{
    run_both(write_and_read, 50, 500);
    CHECK(counter == 8 * 50 + 2 * 500);
}

/* --- conditions --- */

static void *give(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        g_mutex_lock(&mutex);
        tokens++;
        if (i % 2 == 0)
            g_cond_signal(&cond);
        else
            g_cond_broadcast(&cond);
        g_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *take(void *arg)
{
    const worker_t *worker = arg;

    for (int i = 0; i < worker->rounds; i++) {
        g_mutex_lock(&mutex);
        while (tokens == 0)
            g_cond_wait(&cond, &mutex);
        tokens--;
        woken++;
        g_mutex_unlock(&mutex);
    }
    return NULL;
}

static void producers_and_consumers_of_both_kinds(void)
{
    worker_t here = {400, false}, afar = {800, true};
    pthread_t ids[2] = {kernel_thread(give, &afar), kernel_thread(take, &afar)};

    for (int i = 0; i < 4; i++) {
        spawn(take, &here);
        spawn(give, &here);
    }
    reap();
    for (int i = 0; i < 2; i++)
        join_kernel_thread(ids[i]);
    CHECK(woken == 4 * 400 + 800 && tokens == 0);
}

static void condition_waits_end_in_time(void)
{
    int ticks = 0;

    spawn(ticker, &ticks);
    g_mutex_lock(&mutex);
    while (ticks == 0) /* as vp.h says of waits */
        CHECK(!g_cond_wait_until(&cond, &mutex, g_get_monotonic_time() + 2000));
    g_mutex_unlock(&mutex);
    stop_ticking = true;
}

/* --- once --- */

static void *init_once(void *arg)
{
    static gsize once;

    (void)arg;
    if (g_once_init_enter(&once)) {
        note('(');
        CHECK(call->usleep(1000) == 0);
        note(')');
        g_once_init_leave(&once, 1);
    }
    note('.');
    return NULL;
}

static void once_is_once_and_the_others_wait(void)
{
    for (int i = 0; i < 3; i++)
        spawn(init_once, NULL);
    reap();
    CHECK(strcmp(noted(), "()...") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(mutexes_keep_both_kinds_apart),
        VP_TEST(recursive_mutexes_keep_both_kinds_apart),
        VP_TEST(read_write_locks_keep_both_kinds_apart),
        VP_TEST(producers_and_consumers_of_both_kinds),
        VP_TEST(condition_waits_end_in_time),
        VP_TEST(once_is_once_and_the_others_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    puts("1..0 # SKIP libglib2.0-dev is missing");
    return 0;
}
#endif
