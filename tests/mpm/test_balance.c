/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fair shares of new connections (accept/balance.c): what this VP concludes from the others' pages.
 * The lines are real shared memory; the others are this test.
 */
#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/shared/share.h"
#include "tests/vp.h"

enum { VPS = 4, ME = 0 };

static stm_share_t *lines;
static stm_share_vp_t *other[VPS]; /* writable, as only its own process has it */

/* This VP is number ME; the others accept, have nothing to do and no connections. */
static void begin(void)
{
    stm_config.num_vps = VPS;
    assert_true(stm_share_open(&lines, VPS));
    for (int vp = 0; vp < VPS; vp++) {
        int line = stm_share_reserve(vp);

        assert_true(line >= 0);
        stm_share_seat(vp, line, 1);
        other[vp] = lines->page[vp][line].writable;
        other[vp]->accepting = 1;
        other[vp]->asleep = 1;
        if (vp == ME)
            stm_share_attach(ME, line, 1);
    }
    stm.vp.ordinal = ME;
}

static void others_have(int connections)
{
    for (int vp = 0; vp < VPS; vp++) {
        if (vp != ME)
            other[vp]->connections = connections;
    }
}

/* How many connections it takes until `condition` holds, the others having so many. */
static int first_above(bool (*condition)(void), int connections)
{
    others_have(connections);
    for (stm.vp.connections = 0; stm.vp.connections < 10000; stm.vp.connections++) {
        if (condition())
            return stm.vp.connections;
    }
    return -1;
}

static void an_eighth_and_one_more_is_above_the_average(void)
{
    begin();
    /* mine * 4 > sum + sum / 8 + 4, sum = mine + 3 * others */
    assert_int_equal(first_above(stm_balance_above_average, 0), 2);
    assert_int_equal(first_above(stm_balance_above_average, 80), 96);
    assert_int_equal(first_above(stm_balance_above_average, 800), 941);
}

static void few_connections_are_never_above_the_share(void)
{
    begin();
    assert_int_equal(first_above(stm_balance_above_share, 0), 16);
    assert_true(first_above(stm_balance_above_share, 80) >
                first_above(stm_balance_above_average, 80));
}

static void who_does_not_accept_does_not_count(void)
{
    begin();
    others_have(1000);
    stm.vp.connections = 30;
    assert_false(stm_balance_above_share());
    for (int vp = 1; vp < VPS - 1; vp++)
        other[vp]->accepting = 0;
    other[VPS - 1]->connections = 2;
    assert_true(stm_balance_above_share());
    other[VPS - 1]->accepting = 0;
    assert_false(stm_balance_above_share()); /* alone, it has its share, whatever that is */
    assert_false(stm_balance_above_average());
}

static void a_seat_without_a_holder_does_not_count(void)
{
    begin();
    others_have(0);
    stm.vp.connections = 40;
    assert_true(stm_balance_above_share());
    for (int vp = 1; vp < VPS; vp++)
        stm_share_release(vp, 0);
    assert_false(stm_balance_above_share());
}

/* A VP that was broken into can write what it likes into its line. */
static void a_lie_is_no_connection(void)
{
    begin();
    others_have(40);
    stm.vp.connections = 30;
    other[1]->connections = INT32_MIN;
    assert_false(stm_balance_above_share()); /* as if it had none, not a negative number */
    for (int vp = 1; vp < VPS; vp++)
        other[vp]->connections = INT32_MAX;
    assert_false(stm_balance_above_share()); /* and no sum overflows */
}

static int connect_to(const struct sockaddr_storage *address, socklen_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_ok(connect(fd, (const struct sockaddr *)address, size));
    return fd;
}

static void a_burst_is_more_than_one_that_waits(void)
{
    struct sockaddr_storage address;
    socklen_t size;
    stm_listener_t listener = {0};

    begin();
    listener.fd = listen_on_loopback(&address, &size);
    others_have(0);
    stm.vp.connections = 8;
    assert_false(stm_balance_above_burst_share(&listener));
    connect_to(&address, size);
    assert_false(stm_balance_above_burst_share(&listener));
    connect_to(&address, size);
    assert_true(stm_balance_above_burst_share(&listener));
    for (int vp = 1; vp < VPS; vp++)
        other[vp]->asleep = 0;
    assert_false(stm_balance_above_burst_share(&listener)); /* nobody has time */
    other[2]->asleep = 1;
    assert_true(stm_balance_above_burst_share(&listener));
    stm.vp.connections = 16;
    assert_false(stm_balance_above_burst_share(&listener)); /* not few: above_share decides */
}

static void long_turns_accept_more(void)
{
    static const struct {
        int connections;
        st_utime_t turn;
        int batch;
    } cases[] = {{0, 0, 1},        {15, 30000, 1},   {16, 1999, 1},     {16, 2000, 5},
                 {500, 10000, 21}, {500, 31500, 64}, {500, 9999999, 64}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        stm.vp.connections = cases[i].connections;
        stm.vp.last_turn = cases[i].turn;
        assert_int_equal(stm_balance_batch(false), cases[i].batch);
    }
}

static void those_that_have_waited_are_accepted_together(void)
{
    stm.vp.connections = 0;
    stm.vp.last_turn = 0;
    assert_int_equal(stm_balance_batch(true), 64);
}

static void it_publishes_what_the_others_compare_with(void)
{
    begin();
    stm.vp.connections = 7;
    stm_conns.accepted = UINT64_C(0x100000005);
    stm_balance_publish();
    stm_balance_asleep(1);
    assert_int_equal(other[ME]->connections, 7);
    assert_int_equal(other[ME]->accepted, 5); /* modulo 2^32 */
    assert_int_equal(other[ME]->asleep, 1);
    stm_balance_asleep(0);
    assert_int_equal(other[ME]->asleep, 0);
}

static void what_the_others_have_accepted_is_added_up(void)
{
    begin();
    other[ME]->accepted = 1000;
    for (int vp = 1; vp < VPS; vp++)
        other[vp]->accepted = (unsigned)vp;
    assert_int_equal(stm_balance_others_accepted(), 1 + 2 + 3);
    other[1]->accepted = UINT32_MAX;
    assert_int_equal(stm_balance_others_accepted(), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(an_eighth_and_one_more_is_above_the_average),
        RAW_TEST(few_connections_are_never_above_the_share),
        RAW_TEST(who_does_not_accept_does_not_count),
        RAW_TEST(a_seat_without_a_holder_does_not_count),
        RAW_TEST(a_lie_is_no_connection),
        RAW_TEST(a_burst_is_more_than_one_that_waits),
        RAW_TEST(long_turns_accept_more),
        RAW_TEST(those_that_have_waited_are_accepted_together),
        RAW_TEST(it_publishes_what_the_others_compare_with),
        RAW_TEST(what_the_others_have_accepted_is_added_up),
    };
    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
