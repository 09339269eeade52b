/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What RunOn auto moves, and for how long (conn/auto_move.c): suspects come from the timer's looks,
 * which the tests take themselves, at moments that they make up.
 */
#include <stdlib.h>

#include <httpd.h>
#include <http_config.h>

#include "mpm/config/config.h"
#include "mpm/conn/auto_move.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/conn/occupied.h"
#include "mpm/scoreboard/scoreboard.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"
#include "tests/vp.h"

enum {
    LOOKS = 4,
    MANY = 200,      /* more than there is room for */
    BETWEEN = 20000, /* us between looks */
};

/* What the VP's kernel thread has used so far. */
static stm_moment_t present = {.clock = 1000000};

void stm_moment_take(stm_moment_t *moment)
{
    *moment = present;
}

/* What happens between two looks. */

static void compute(st_utime_t us)
{
    present.clock += us;
    present.computed += us;
}

static void wait_in_kernel(st_utime_t us)
{
    present.clock += us;
    present.switches++;
}

/* Nine others want the CPU, too. */
static void share_cpu(st_utime_t us)
{
    compute(us / 10);
    present.clock += us - us / 10;
    present.kept_waiting += us - us / 10;
}

/* ... and the request waits for a moment now and then. */
static void share_and_wait(st_utime_t us)
{
    share_cpu(us);
    present.switches++;
}

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

static void end_turn(void)
{
    st_usleep(0);
    (void)stm_auto_turn();
}

/* A turn in which each look finds the same request, or another one with the same URI. */
static void turn_with(void (*happens)(st_utime_t us), st_utime_t us, char *uri, bool same)
{
    request_rec *r = request(uri);

    stm_auto_armed();
    for (int i = 0; i < LOOKS; i++) {
        stm_auto_look(i == 0, r);
        happens(us);
        if (!same)
            stm_auto.begun++;
    }
    end_turn();
}

static void turn(char *uri, bool same)
{
    turn_with(compute, BETWEEN, uri, same);
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
        assert_int_equal(stm_auto.moves, 0);
        turn("/a", true);
    }
    assert_int_equal(stm_auto.moves, 1);
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
    assert_int_equal(stm_auto.moves, 0);
}

static int moves_after(void (*happens)(st_utime_t us), st_utime_t us)
{
    begin("60");
    for (int i = 0; i < 10; i++)
        turn_with(happens, us, "/a", true);
    return stm_auto.moves;
}

static void waiting_in_the_kernel_counts(void)
{
    assert_int_equal(moves_after(wait_in_kernel, BETWEEN), 1);
}

static void waiting_for_a_cpu_does_not(void)
{
    assert_int_equal(moves_after(share_cpu, 3 * BETWEEN), 0);
    assert_int_equal(moves_after(share_and_wait, 3 * BETWEEN), 0);
}

/* Nor does a virtual machine that was stopped, which looks like computing, but only once. */
static void standing_still_does_not(void)
{
    begin("60");
    for (int i = 0; i < 10; i++) {
        stm_auto_armed();
        stm_auto_look(true, request("/a"));
        compute(600000);
        stm_auto_look(false, request("/a"));
        end_turn();
    }
    assert_int_equal(stm_auto.moves, 0);
}

static void wait_until_look(st_utime_t us)
{
    stm_auto_armed();
    wait_in_kernel(us);
    stm_auto_look(true, request("/a"));
    end_turn();
}

/* No signal interrupts a wait for a disk: the first look comes at its end. */
static void one_long_wait_counts(void)
{
    begin("60");
    for (int i = 0; i < 3; i++)
        wait_until_look(BETWEEN); /* probably somebody else's */
    assert_int_equal(stm_auto.moves, 0);
    for (int i = 0; i < 3; i++)
        wait_until_look(500000);
    assert_int_equal(stm_auto.moves, 1);
}

/* Whatever clients ask for: there is an end to the table, and a move ends when its time has passed,
 * also if nobody asks for it. */
static void moves_end_whoever_comes_after(void)
{
    char uri[32];

    begin("1");
    for (int i = 0; i < 3; i++)
        turn("/a", true);
    assert_int_equal(stm_auto.moves, 1);
    st_usleep(1100000);
    st_usleep(0);
    for (int i = 0; i < MANY; i++) {
        snprintf(uri, sizeof(uri), "/%d", i);
        turn(uri, true);
    }
    assert_false(is_moved("/a"));
    assert_int_equal(stm_auto.moves, 0);
    assert_int_equal(stm_score->kernel_moves, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(three_strikes_move_it_and_what_is_below),
        VP_TEST(a_request_at_the_same_place_is_another),
        VP_TEST(waiting_in_the_kernel_counts),
        VP_TEST(waiting_for_a_cpu_does_not),
        VP_TEST(standing_still_does_not),
        VP_TEST(one_long_wait_counts),
        VP_TEST(moves_end_whoever_comes_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
