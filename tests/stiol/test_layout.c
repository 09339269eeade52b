/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts of the C library's locks (layout.c): this one's, those of glibc 2.34 to 2.40 and of 2.41
 * and newer, and others, which are refused. Samples stand for C libraries that are not here.
 */
#include "stiol/layout.h"
#include "tests/stiol/stiol_vp.h"

enum { OLD_FLAGS = 36, NEW_FLAGS = 28 };

static stiol__samples_t samples;
static stiol__cond_layout_t conds;

static void make_samples(void)
{
    memset(&conds, 0, sizeof(conds));
    stiol__samples_make(&samples);
}

static void put(pthread_cond_t *cond, size_t at, uint32_t word)
{
    memcpy((char *)cond + at, &word, sizeof(word));
}

/* As pthread_cond_init() would leave them if the flags were there. */
static void simulate(size_t flags, uint32_t shared, uint32_t monotonic)
{
    make_samples();
    memset(samples.conds, 0, sizeof(samples.conds));
    put(&samples.conds[STIOL_COND_SHARED], flags, shared);
    put(&samples.conds[STIOL_COND_MONOTONIC], flags, monotonic);
    put(&samples.conds[STIOL_COND_BOTH], flags, shared | monotonic);
}

static const char *misfit(void)
{
    return stiol__samples_misfit(&samples, &conds);
}

static void this_library_fits(void)
{
    make_samples();
    CHECK(!misfit());
    CHECK(conds.flags == OLD_FLAGS || conds.flags == NEW_FLAGS);
    CHECK(conds.shared == 1 && conds.monotonic == 2);
    CHECK(!stiol_misfit());
    CHECK(memcmp(&conds, &stiol__cond_layout, sizeof(conds)) == 0);
}

static void flags_are_found_wherever_they_are(void)
{
    for (size_t at = 0; at + 4 <= sizeof(pthread_cond_t); at += 4) {
        simulate(at, 1, 2);
        CHECK(!misfit() && conds.flags == at && conds.shared == 1 && conds.monotonic == 2);
        simulate(at, 0x80, 0x10);
        CHECK(!misfit() && conds.flags == at && conds.shared == 0x80 && conds.monotonic == 0x10);
    }
}

static void what_all_have_in_common_does_not_matter(void)
{
    simulate(NEW_FLAGS, 1, 2);
    for (int i = 0; i < STIOL_COND_SAMPLES; i++)
        put(&samples.conds[i], 8, 1234);
    CHECK(!misfit() && conds.flags == NEW_FLAGS);
}

static void refused(const char *type)
{
    const char *said = misfit();

    CHECK(said && strcmp(said, type) == 0);
}

static void unknown_condition_variables_are_refused(void)
{
    simulate(OLD_FLAGS, 0, 2); /* no flag of its own */
    refused("pthread_cond_t");
    simulate(OLD_FLAGS, 1, 1); /* the same flag for both */
    refused("pthread_cond_t");
    simulate(OLD_FLAGS, 1, 6); /* a clock's number, not a bit */
    refused("pthread_cond_t");
    simulate(OLD_FLAGS, 0, 0); /* they are elsewhere */
    refused("pthread_cond_t");
    simulate(OLD_FLAGS, 1, 2);
    put(&samples.conds[STIOL_COND_BOTH], NEW_FLAGS, 1); /* in two words */
    refused("pthread_cond_t");
    simulate(OLD_FLAGS, 1, 2);
    put(&samples.conds[STIOL_COND_PLAIN], OLD_FLAGS, 4); /* a static initialiser has zeros */
    refused("pthread_cond_t");
}

static void unknown_mutexes_are_refused(void)
{
    make_samples();
    samples.held.__data.__owner = 0; /* the owner is elsewhere */
    refused("pthread_mutex_t");
    make_samples();
    samples.held.__data.__count = 1;
    refused("pthread_mutex_t");
    make_samples();
    samples.released.__data.__owner = samples.tid;
    refused("pthread_mutex_t");
    make_samples();
    samples.recursive.__data.__kind = 4;
    refused("pthread_mutex_t");
    make_samples();
    samples.robust.__data.__kind &= ~16;
    refused("pthread_mutex_t");
}

static void unknown_rwlocks_are_refused(void)
{
    make_samples();
    samples.written.__data.__cur_writer = 0;
    refused("pthread_rwlock_t");
    make_samples();
    samples.writers_first.__data.__flags = 0;
    refused("pthread_rwlock_t");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(this_library_fits),
        VP_TEST(flags_are_found_wherever_they_are),
        VP_TEST(what_all_have_in_common_does_not_matter),
        VP_TEST(unknown_condition_variables_are_refused),
        VP_TEST(unknown_mutexes_are_refused),
        VP_TEST(unknown_rwlocks_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
