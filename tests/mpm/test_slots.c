/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker slots of httpd's scoreboard (accept/worker_slot.c), which a VP shares with a predecessor
 * that is still leaving: nobody takes another's, none is lost, and the master clears a dead one's.
 */
#include "mpm/accept/accept.h"
#include "tests/vp.h"

enum { SEATS = 2, SLOTS = 6, ME = 1, MY_PID = 4242, PREDECESSOR = 4000 };

static worker_score slots[SEATS][SLOTS];
static ap_unixd_mpm_retained_data httpds = {.my_generation = 9};

worker_score *ap_get_scoreboard_worker_from_indexes(int child, int thread)
{
    return child < SEATS && thread < SLOTS ? &slots[child][thread] : NULL;
}

int ap_update_child_status_from_indexes(int child, int thread, int status, request_rec *r)
{
    (void)r;
    slots[child][thread].status = (unsigned char)status;
    return 0;
}

static void begin(void)
{
    static const stm_limits_t limits = {.seats = SEATS, .threads = SLOTS, .slots = SLOTS};

    stm.limits = &limits;
    stm.mpm = &httpds;
    stm.vp.ordinal = ME;
    stm.vp.pid = MY_PID;
}

static void each_is_taken_once(void)
{
    bool seen[SLOTS] = {false};

    begin();
    for (int i = 0; i < SLOTS; i++) {
        int slot = stm_slot_take();

        assert_true(slot >= 0 && slot < SLOTS && !seen[slot]);
        seen[slot] = true;
        assert_int_equal(slots[ME][slot].pid, MY_PID);
        assert_int_equal(slots[ME][slot].generation, 9);
        assert_int_equal(slots[ME][slot].thread_num, ME * SLOTS + slot);
        assert_int_equal(slots[0][slot].pid, 0); /* another seat's */
    }
    assert_int_equal(stm_slot_take(), -1);
    assert_int_equal(stm_slot_take(), -1);
}

static void what_is_given_back_is_taken_again(void)
{
    begin();
    for (int i = 0; i < SLOTS; i++)
        stm_slot_status(stm_slot_take(), SERVER_READY);
    assert_int_equal(slots[ME][3].status, SERVER_READY);
    stm_slot_give(3);
    assert_int_equal(slots[ME][3].status, SERVER_DEAD);
    assert_int_equal(slots[ME][3].pid, MY_PID); /* it stays this process's */
    stm_slot_give(-1);                          /* a thread that had none */
    stm_slot_status(-1, SERVER_READY);
    assert_int_equal(stm_slot_take(), 3);
    assert_int_equal(stm_slot_take(), -1);
}

static void a_predecessors_are_left_alone_until_it_is_gone(void)
{
    begin();
    for (int slot = 0; slot < SLOTS; slot += 2)
        slots[ME][slot].pid = PREDECESSOR;
    for (int i = 0; i < SLOTS / 2; i++)
        assert_int_equal(stm_slot_take() % 2, 1);
    assert_int_equal(stm_slot_take(), -1);
    stm_slots_clear_dead(ME, PREDECESSOR);
    for (int i = 0; i < SLOTS / 2; i++)
        assert_int_equal(stm_slot_take() % 2, 0);
    assert_int_equal(stm_slot_take(), -1);
}

static void only_the_dead_ones_are_cleared(void)
{
    begin();
    for (int seat = 0; seat < SEATS; seat++) {
        for (int slot = 0; slot < SLOTS; slot++) {
            slots[seat][slot].pid = slot < 2 ? PREDECESSOR : MY_PID;
            slots[seat][slot].status = SERVER_BUSY_READ;
        }
    }
    stm_slots_clear_dead(ME, PREDECESSOR);
    for (int slot = 0; slot < SLOTS; slot++) {
        assert_int_equal(slots[ME][slot].pid, slot < 2 ? 0 : MY_PID);
        assert_int_equal(slots[ME][slot].status, slot < 2 ? SERVER_DEAD : SERVER_BUSY_READ);
        assert_int_equal(slots[0][slot].pid, slot < 2 ? PREDECESSOR : MY_PID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(each_is_taken_once),
        RAW_TEST(what_is_given_back_is_taken_again),
        RAW_TEST(a_predecessors_are_left_alone_until_it_is_gone),
        RAW_TEST(only_the_dead_ones_are_cleared),
    };
    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
