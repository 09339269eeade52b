/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Caution in a crash loop (conn/first_byte.c): for a while, clients that have gone are served after
 * all others, and only once.
 */
#include <unistd.h>

#include "mpm/conn/conn.h"
#include "tests/vp.h"

enum { CAUTIOUS_US = 10000000, DELAY_US = 500000 };

static int parked;

/* record.c's: the connection waits. */
void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout)
{
    assert_non_null(conn);
    assert_int_equal(state, STM_CONN_FIRST_BYTE);
    assert_int_equal(events, 0); /* whatever the client does meanwhile */
    assert_int_equal(timeout, DELAY_US);
    parked++;
}

/* A connection whose client is still there, or (gone) has closed its side. */
static stm_conn_t connection(bool gone)
{
    int fds[2];

    socket_pair(fds, true);
    if (gone)
        assert_ok(shutdown(fds[1], SHUT_WR));
    return (stm_conn_t){.fd = fds[0]};
}

static void enqueue(stm_conn_t *conn)
{
    assert_non_null(conn);
}

/* Whether the connection, whose wait is over, is served; otherwise its time limit has passed. */
static bool is_served(stm_conn_t *conn)
{
    stm_origin_t origin = {.enqueue = enqueue};

    conn->state = STM_CONN_FIRST_BYTE;
    conn->origin = &origin;
    conn->watch.data = conn;
    stm_conn_ready(&conn->watch, 0);
    return !conn->timed_out;
}

static void without_a_reason_nobody_waits(void)
{
    stm_conn_t gone = connection(true);

    assert_false(stm_caution_delays(&gone));
    assert_int_equal(parked, 0);
}

static void who_has_gone_waits_once(void)
{
    stm_conn_t gone = connection(true), there = connection(false);

    stm_caution_begin();
    assert_false(stm_caution_delays(&there));
    assert_true(stm_caution_delays(&gone));
    assert_int_equal(parked, 1);
    assert_false(stm_caution_delays(&gone)); /* it has let the others go first */
    assert_int_equal(parked, 1);
    assert_true(is_served(&gone));
    assert_false(is_served(&gone)); /* it no longer waits for others, but for its first byte */
    assert_false(is_served(&there));
}

static void who_has_gone_altogether_waits_too(void)
{
    int fds[2];
    stm_conn_t gone;

    socket_pair(fds, true);
    close(fds[1]);
    gone = (stm_conn_t){.fd = fds[0]};
    stm_caution_begin();
    assert_true(stm_caution_delays(&gone));
}

static void caution_has_an_end(void)
{
    stm_conn_t first = connection(true), second = connection(true), third = connection(true);

    stm_caution_begin();
    advance_clock(CAUTIOUS_US);
    assert_true(stm_caution_delays(&first));
    advance_clock(1);
    assert_false(stm_caution_delays(&second));
    stm_caution_begin(); /* the next crash */
    assert_true(stm_caution_delays(&third));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIRTUAL_TEST(without_a_reason_nobody_waits),
        VIRTUAL_TEST(who_has_gone_waits_once),
        VIRTUAL_TEST(who_has_gone_altogether_waits_too),
        VIRTUAL_TEST(caution_has_an_end),
    };
    return cmocka_run_group_tests_name("caution", tests, NULL, NULL);
}
