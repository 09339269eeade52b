/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scoreboard's sequence locks, between their real writer (scoreboard/file.c, rows.c) and the
 * real reader (score/view.c): what is being changed is read again or left out, never shown half
 * changed.
 */
#include <unistd.h>

#include "mpm/config/config.h"
#include "mpm/scoreboard/scoreboard.h"
#include "score/view.h"
#include "tests/vp.h"

enum { EACH = 7 }; /* connections that a process counts */

static stm_score_files_t *files;
static ap_unixd_mpm_retained_data httpds;
static stm_view_t view;
static volatile bool stop;
static volatile unsigned started, ended; /* processes of VP 0 */

/* VP 0's header and blocks, as any process sees them. */
static bool read_shown(void *baton, int part, void *to, size_t size, uint64_t offset)
{
    const stm_score_seat_t *seat = &files->vp[0];
    const stm_shmem_t *memory = part < 0 ? &seat->shown : &seat->block[part];

    (void)baton;
    if (!memory->readable || offset > memory->size || size > memory->size - offset)
        return false;
    memcpy(to, (const char *)memory->readable + offset, size);
    return true;
}

static void look(void)
{
    const stm_view_source_t source = {.read = read_shown};

    stm_view_free(&view);
    if (!stm_view_read(&view, 0, &source, STM_VIEW_CONNECTIONS))
        fail_msg("%s", view.problem);
}

static void begin(void)
{
    static const stm_limits_t limits = {.seats = 1, .threads = 16};

    stm.mpm = &httpds;
    stm.limits = &limits;
    stm_config_begin();
    stm_config.num_vps = 1;
    stm_config.max_threads = 16;
    assert_true(stm_score_open(&files));
}

/* --- the header: sums of those that have ended --- */

static void *come_and_go(void *unused)
{
    int block, last = -1;

    (void)unused;
    while (!stop) {
        started++;
        block = stm_score_reserve(0, started);
        CHECK(block >= 0);
        STM_SCORE_ADD(&((stm_score_block_t *)files->vp[0].block[block].writable)->vp, connections,
                      EACH);
        if (last >= 0)
            stm_score_release(0, last);
        ended += last >= 0;
        last = block;
    }
    return NULL;
}

/* Each process is counted once, whether it still exists or is among the sums. */
static void nobody_is_counted_twice_or_not_at_all(void)
{
    pthread_t writer;
    unsigned whole = 0;

    begin();
    writer = kernel_thread(come_and_go, NULL);
    while (whole < 3000 || ended < 3000) {
        unsigned gone = ended;

        look();
        if (view.torn || view.unread)
            continue;
        whole++;
        assert_true(view.total.connections >= (uint64_t)gone * EACH);
        assert_true(view.total.connections <= (uint64_t)started * EACH);
        assert_int_equal(view.total.connections % EACH, 0);
    }
    stop = true;
    join_kernel_thread(writer);
    look();
    assert_int_equal(view.total.connections, (uint64_t)started * EACH);
}

/* --- a row --- */

enum { PAUSE_AFTER = 1001 }; /* changes; odd */

static int row;

static void *change_the_row(void *unused)
{
    static request_rec requests[2];

    (void)unused;
    for (int i = 0; i < 2; i++) {
        char *letters = i ? "bbbbbbbbbbbb" : "aaaa";

        requests[i] = (request_rec){.method = letters,
                                    .protocol = letters,
                                    .useragent_ip = letters,
                                    .hostname = letters,
                                    .the_request = letters};
    }
    /* A reader that is slower than this finds whole rows in the pauses, of both kinds. */
    for (int i = 0; !stop; i++) {
        stm_score_row_request(row, &requests[i % 2]);
        if (i % PAUSE_AFTER == 0)
            usleep(1);
    }
    return NULL;
}

static const char *value(const char *key)
{
    for (unsigned pair = 0; pair < view.rows[0]->row.pairs; pair++) {
        if (strcmp(stm_view_key(&view, view.rows[0], pair), key) == 0)
            return stm_view_value(&view, view.rows[0], pair);
    }
    return NULL;
}

static void a_row_is_shown_whole_or_not_at_all(void)
{
    static const char *const others[] = {"Protocol", "Client", "Host", "Request"};
    unsigned seen[2] = {0, 0};
    pthread_t writer;

    begin();
    stm.one_process = true; /* the master's mappings stay, to be read */
    stm.vp.pid = getpid();
    stm_score_attach(stm_score_reserve(0, 1), apr_time_now());
    stm_score_row_take(&row, 1, "a", 0);
    assert_true(row > 0);
    writer = kernel_thread(change_the_row, NULL);
    while (seen[0] < 1000 || seen[1] < 1000) {
        look();
        if (view.row_count == 0 || value("Method")[0] == '\0')
            continue;
        for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
            assert_string_equal(value(others[i]), value("Method"));
        seen[value("Method")[0] == 'b']++;
    }
    stop = true;
    join_kernel_thread(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(nobody_is_counted_twice_or_not_at_all),
        RAW_TEST(a_row_is_shown_whole_or_not_at_all),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
