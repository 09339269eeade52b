/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What RunOn auto moves, and for how long (conn/auto_move.c): suspects come from the timer's looks,
 * which the tests take themselves.
 */
#include <stdlib.h>
#include <unistd.h>

#include <httpd.h>
#include <http_config.h>

#include "mpm/config/config.h"
#include "mpm/conn/auto_move.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/scoreboard/scoreboard.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"
#include "tests/vp.h"

enum {
    LOOKS = 3,
    MANY = 200, /* more than there is room for */
};

static void *sections[1], *config[1];

static request_rec *request(char *uri)
{
    static request_rec r;

    config[0] = &r; /* its handler has begun */
    r = (request_rec){.uri = uri,
                      .handler = "handler",
                      .per_dir_config = (ap_conf_vector_t *)sections,
                      .request_config = (ap_conf_vector_t *)config};
    return &r;
}

/* A turn in which that request waits in the kernel; in each look it may be a new one. */
static void turn(char *uri, bool same)
{
    request_rec *r = request(uri);

    for (int i = 0; i < LOOKS; i++) {
        if (!same)
            stm_auto_begun++;
        stm_auto_look(i == 0, r, LOOKS);
        usleep(1000);
    }
    stm_auto_look(false, r, LOOKS); /* the look that comes after the wait */
    st_usleep(0);
    stm_auto_turn();
}

static bool is_moved(char *uri)
{
    return stm_auto_is_moved(request(uri), "handler");
}

static void begin(const char *seconds)
{
    static stm_score_vp_t score;

    stm_score = &score;
    setenv("STM_AUTO_SECONDS", seconds, 1);
    stm_config.kernel_threads = stm_config.threaded_io = 1;
    assert_true(stm_auto_starts());
    forget_log();
}

static void three_strikes_move_it_and_what_is_below(void)
{
    begin("60");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stm_auto_moves, 0);
        turn("/a", true);
    }
    assert_int_equal(stm_auto_moves, 1);
    assert_true(is_moved("/a"));
    assert_true(is_moved("/a/below"));
    assert_false(is_moved("/ab"));
    assert_false(is_moved("/"));
    assert_true(logged("<Location \"/a\"> RunOn kernel handler </Location>"));
}

static void a_request_at_the_same_place_is_another(void)
{
    begin("60");
    for (int i = 0; i < 10; i++)
        turn("/a", false);
    assert_int_equal(stm_auto_moves, 0);
}

/* Whatever clients ask for: there is an end to the table, and a move ends when its time has passed,
 * also if nobody asks for it. */
static void moves_end_whoever_comes_after(void)
{
    char uri[32];

    begin("1");
    for (int i = 0; i < 3; i++)
        turn("/a", true);
    assert_int_equal(stm_auto_moves, 1);
    st_usleep(1100000);
    st_usleep(0);
    for (int i = 0; i < MANY; i++) {
        snprintf(uri, sizeof(uri), "/%d", i);
        turn(uri, true);
    }
    assert_false(is_moved("/a"));
    assert_int_equal(stm_auto_moves, 0);
    assert_int_equal(stm_score->kernel_moves, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(three_strikes_move_it_and_what_is_below),
        VP_TEST(a_request_at_the_same_place_is_another),
        VP_TEST(moves_end_whoever_comes_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
