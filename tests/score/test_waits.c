/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What state threads wait for, as read from a scoreboard: order, sums and words; and that nothing
 * in a scoreboard can do harm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "score/waits.h"
#include "tests/harness.h"
#include "tests/score/sample.h"

#define NOW ((uint64_t)SAMPLE_CLOCK + 5000000)

static char output[8192];
static size_t length;

static void collect(void *baton, const char *data, size_t size)
{
    (void)baton;
    assert_true(length + size < sizeof(output));
    memcpy(output + length, data, size);
    length += size;
    output[length] = '\0';
}

static void read_sample(char *sample, size_t size, stm_view_t *view)
{
    sample_t bytes = {sample, size};
    const stm_view_source_t source = {.read = sample_read, .baton = &bytes};

    assert_true(stm_view_read(view, 0, &source, STM_VIEW_WAITS));
}

static stm_score_wait_t *waits_in(char *sample)
{
    const stm_score_header_t *header = (const stm_score_header_t *)sample;

    return (stm_score_wait_t *)((char *)sample_block(sample, 1) + header->waits_at);
}

static void the_oldest_comes_first(void)
{
    char words[STM_WAITS_WORDS];
    size_t size;
    char *sample = sample_make(0, &size);
    stm_view_t view;
    stm_waits_t waits;

    read_sample(sample, size, &view);
    assert_true(stm_waits_collect(&waits, &view, 1, NOW));
    assert_int_equal(waits.count, 2);
    assert_int_equal(waits.waiting[0].wait->serial, 1);
    assert_int_equal(waits.waiting[0].age, 4100000);
    assert_int_equal(waits.waiting[0].waited, 3500000);
    assert_int_equal(waits.waiting[0].pid, 4242);
    assert_string_equal(stm_waits_words(waits.waiting[0].wait, words),
                        "reading from 10.0.0.9:8080");
    assert_string_equal(stm_waits_words(waits.waiting[1].wait, words),
                        "lock 0x1234, held by connection 1: GET /");
    assert_int_equal(waits.kind_count, 2);
    assert_int_equal(waits.backend_count, 1);
    assert_string_equal(waits.backends[0].name, "10.0.0.9:8080");
    stm_waits_free(&waits);
    stm_view_free(&view);
    free(sample);
}

static void what_is_free_or_being_changed_is_left_out(void)
{
    size_t size;
    char *sample = sample_make(0, &size);
    stm_view_t view;

    waits_in(sample)[0].busy = 0;
    waits_in(sample)[1].sequence = 5; /* its writer died in the middle of a change */
    read_sample(sample, size, &view);
    assert_int_equal(view.wait_count, 0);
    stm_view_free(&view);
    free(sample);
}

/* It may contain anything: unknown kinds, times in the future, texts that do not end. */
static void lies_do_no_harm(void)
{
    const stm_text_t text = {.put = collect};
    size_t size;
    char *sample = sample_make(0, &size);
    stm_score_wait_t *lie = &waits_in(sample)[0];
    stm_view_t view;
    stm_waits_t waits;

    memset(lie->client, 0x9b, sizeof(*lie) - offsetof(stm_score_wait_t, client));
    lie->kind = UINT64_MAX;
    lie->began = lie->since = UINT64_MAX / 2;
    sample_block(sample, 1)->waits = UINT64_MAX;
    read_sample(sample, size, &view);
    assert_true(stm_waits_collect(&waits, &view, 1, NOW));
    assert_int_equal(waits.count, 2);
    assert_int_equal(waits.waiting[1].wait->kind, STM_WAIT_other);
    assert_int_equal(waits.waiting[1].age, 0);
    length = 0;
    stm_waits_json(&text, &waits, NOW);
    for (size_t i = 0; i < length; i++)
        assert_true((output[i] >= ' ' && output[i] < 0x7f) || output[i] == '\n');
    stm_waits_free(&waits);
    stm_view_free(&view);
    free(sample);
}

/* --- a VP that wants to keep its readers busy --- */

enum { MANY = 20000 };

static unsigned reads;

static bool count_reads(void *baton, int part, void *to, size_t size, uint64_t offset)
{
    reads++;
    return sample_read(baton, part, to, size, offset);
}

static char *with_many_waits(size_t *size)
{
    size_t small;
    char *sample = sample_make(0, &small), *large;
    stm_score_header_t *header = (stm_score_header_t *)sample;

    header->waits_at = STM_SCORE_PAGE;
    header->waits_max = MANY;
    header->block_size = header->waits_at + MANY * sizeof(stm_score_wait_t);
    *size = header->header_size + SAMPLE_BLOCKS * header->block_size;
    large = calloc(1, *size);
    memcpy(large, sample, header->header_size);
    sample_block(large, 1)->waits = MANY;
    for (int i = 0; i < MANY; i++) {
        stm_score_wait_t *wait = &waits_in(large)[i];

        wait->busy = 1;
        wait->kind = STM_WAIT_backend_connect;
        snprintf(wait->name, sizeof(wait->name), "10.0.%d.%d:80", i / 200, i % 200);
    }
    free(sample);
    return large;
}

/* All entries seem to be changing: the number of repeated reads is limited for all together. */
static void endless_changes_do_not_hold_up_the_reader(void)
{
    size_t size;
    char *sample = with_many_waits(&size);
    sample_t bytes = {sample, size};
    const stm_view_source_t source = {.read = count_reads, .baton = &bytes};
    stm_view_t view;

    for (int i = 0; i < MANY; i++)
        waits_in(sample)[i].sequence = 1;
    reads = 0;
    assert_true(stm_view_read(&view, 0, &source, STM_VIEW_WAITS));
    assert_int_equal(view.wait_count, 0);
    assert_true(reads >= MANY && reads <= MANY * 4);
    stm_view_free(&view);
    free(sample);
}

static void as_many_backends_as_threads(void)
{
    size_t size;
    char *sample = with_many_waits(&size);
    stm_view_t view;
    stm_waits_t waits;

    strcpy(waits_in(sample)[MANY - 1].name, waits_in(sample)[7].name);
    waits_in(sample)[MANY - 1].since = 1000000;
    read_sample(sample, size, &view);
    assert_int_equal(view.wait_count, MANY);
    assert_true(stm_waits_collect(&waits, &view, 1, NOW));
    assert_int_equal(waits.kind_count, 1);
    assert_int_equal(waits.kinds[0].threads, MANY);
    assert_int_equal(waits.backend_count, MANY - 1);
    assert_string_equal(waits.backends[0].name, "10.0.0.7:80");
    assert_int_equal(waits.backends[0].threads, 2);
    stm_waits_free(&waits);
    stm_view_free(&view);
    free(sample);
}

static void another_size_is_refused(void)
{
    size_t size;
    char *sample = sample_make(0, &size);
    sample_t bytes = {sample, size};
    const stm_view_source_t source = {.read = sample_read, .baton = &bytes};
    stm_view_t view;

    ((stm_score_header_t *)sample)->wait_size = 8;
    assert_false(stm_view_read(&view, 0, &source, STM_VIEW_WAITS));
    assert_non_null(strstr(view.problem, "is corrupt"));
    ((stm_score_header_t *)sample)->wait_size = sizeof(stm_score_wait_t);
    ((stm_score_header_t *)sample)->waits_max = 1000;
    stm_view_free(&view);
    assert_false(stm_view_read(&view, 0, &source, STM_VIEW_WAITS));
    assert_non_null(strstr(view.problem, "overlap"));
    stm_view_free(&view);
    free(sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(the_oldest_comes_first),
        RAW_TEST(what_is_free_or_being_changed_is_left_out),
        RAW_TEST(lies_do_no_harm),
        RAW_TEST(another_size_is_refused),
        RAW_TEST(endless_changes_do_not_hold_up_the_reader),
        RAW_TEST(as_many_backends_as_threads),
    };

    return cmocka_run_group_tests_name("waits in scoreboards", tests, NULL, NULL);
}
