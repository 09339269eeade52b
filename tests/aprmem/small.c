/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process with small pools for the fuzzers: see small.h.
 */
#include <apr_general.h>
#include <pthread.h>

#include "tests/aprmem/small.h"
#include "stiol/stiol.h"

enum { THREADS = 4 };

typedef struct job {
    void (*run)(fuzz_input_t input);
    fuzz_input_t input;
} job_t;

apr_pool_t *fuzz_top[FUZZ_KINDS];

int LLVMFuzzerInitialize(int *argc, char ***argv);

apr_pool_t *fuzz_pool(int kind, apr_pool_t *parent)
{
    apr_pool_t *pool = NULL;

    if (kind == FUZZ_OURS)
        FUZZ_CHECK(apr_pool_create(&pool, parent) == APR_SUCCESS);
    else
        FUZZ_CHECK(aprmem__real.apr_pool_create_ex(&pool, parent, NULL, NULL) == APR_SUCCESS);
    return pool;
}

/* Checks that there are two kinds. */
static void check_kinds(void)
{
    aprmem_stats_t before, after;

    aprmem_get_stats(&before);
    FUZZ_CHECK(before.in_use > 0);
    for (int i = 0; i < 300; i++)
        apr_palloc(fuzz_pool(FUZZ_APRS, fuzz_top[FUZZ_APRS]), 1000);
    aprmem_get_stats(&after);
    FUZZ_CHECK(after.in_use == before.in_use);
    apr_pool_clear(fuzz_top[FUZZ_APRS]);
}

void fuzz_start(void)
{
    const char *why;

    FUZZ_CHECK(apr_initialize() == APR_SUCCESS);
    FUZZ_CHECK(apr_pool_create(&fuzz_top[FUZZ_APRS], NULL) == APR_SUCCESS);
    FUZZ_CHECK(st_init() == 0);
    why = aprmem_prepare();
    if (why) {
        fprintf(stderr, "no small pools: %s\n", why);
        exit(1);
    }
    FUZZ_CHECK(stiol_start(NULL) == 0 && aprmem_start() == 0);
    fuzz_top[FUZZ_OURS] = fuzz_pool(FUZZ_OURS, NULL);
    check_kinds();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_start();
    return 0;
}

static void *work(void *data)
{
    job_t *job = data;

    job->run(job->input);
    return NULL;
}

void fuzz_run(void (*run)(fuzz_input_t input), fuzz_input_t input, unsigned threads)
{
    job_t job = {.run = run, .input = input};
    pthread_t ids[THREADS];

    if (threads > THREADS)
        threads = THREADS;
    for (unsigned i = 0; i < threads; i++)
        FUZZ_CHECK(pthread_create(&ids[i], NULL, work, &job) == 0);
    work(&job);
    for (unsigned i = 0; i < threads; i++)
        FUZZ_CHECK(pthread_join(ids[i], NULL) == 0);
}

void fuzz_elsewhere(void *(*run)(void *data), void *data)
{
    pthread_t id;

    FUZZ_CHECK(pthread_create(&id, NULL, run, data) == 0);
    FUZZ_CHECK(pthread_join(id, NULL) == 0);
}
