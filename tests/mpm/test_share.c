/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VPs' pages and the table of the seats (shared/share.c): pages are reserved and given back,
 * a successor is visible to those that run already, and each process can write only its own page.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mpm/shared/share.h"
#include "tests/vp.h"

enum { VPS = 3 };

static stm_share_t *pages;

static void begin(void)
{
    assert_true(stm_share_open(&pages, VPS));
}

static void pages_of_a_seat_are_used_up_and_come_back(void)
{
    begin();
    for (int i = 0; i < STM_SHARE_PAGES; i++)
        assert_int_equal(stm_share_reserve(1), i);
    assert_int_equal(stm_share_reserve(1), -1);
    assert_int_equal(stm_share_reserve(2), 0); /* another seat has its own */
    stm_share_release(1, 41);
    assert_int_equal(stm_share_reserve(1), 41);
    assert_int_equal(stm_share_reserve(1), -1);
    stm_share_release(1, -1); /* a process that had none */
    assert_int_equal(stm_share_reserve(1), -1);
}

static void a_page_comes_back_cleared(void)
{
    int page;

    begin();
    page = stm_share_reserve(0);
    ((stm_share_vp_t *)pages->page[0][page].writable)->connections = 77;
    assert_int_equal(stm_share_of(0, page)->connections, 77);
    stm_share_release(0, page);
    assert_int_equal(stm_share_reserve(0), page);
    assert_int_equal(stm_share_of(0, page)->connections, 0);
    assert_null(stm_share_of(0, -1));
}

static void the_seat_leads_to_its_holder(void)
{
    int old, next;

    begin();
    assert_null(stm_share_holder(1));
    old = stm_share_reserve(1);
    stm_share_seat(1, old, 1);
    assert_ptr_equal(stm_share_holder(1), stm_share_of(1, old));
    next = stm_share_reserve(1);
    stm_share_seat(1, next, 2);
    assert_ptr_equal(stm_share_holder(1), stm_share_of(1, next));
    stm_share_release(1, old); /* its end does not empty the seat */
    assert_ptr_equal(stm_share_holder(1), stm_share_of(1, next));
    stm_share_release(1, next);
    assert_null(stm_share_holder(1));
    stm_share_seat(1, -1, 3); /* a holder without a page */
    assert_null(stm_share_holder(1));
}

static void a_successor_takes_the_seat(void)
{
    int page;

    begin();
    page = stm_share_reserve(2);
    stm_share_attach(2, page, 5);
    stm_share_seat(2, page, 5);
    assert_true(stm_share_holds_seat());
    stm_share_seat(2, stm_share_reserve(2), 6);
    assert_false(stm_share_holds_seat());
}

static void opening_again_keeps_what_there_is(void)
{
    stm_share_t *before;
    int page;

    begin();
    page = stm_share_reserve(0);
    stm_share_seat(0, page, 1);
    ((stm_share_vp_t *)pages->page[0][page].writable)->connections = 3;
    before = pages;
    assert_true(stm_share_open(&pages, VPS + 1));
    assert_ptr_equal(pages, before);
    assert_int_equal(stm_share_holder(0)->connections, 3);
}

/* Those that run already can see the pages of so many successors. */
static void successors_pages_are_mapped_beforehand(void)
{
    begin();
    for (int vp = 0; vp < VPS; vp++) {
        for (int page = 0; page < 3; page++)
            assert_non_null(pages->page[vp][page].readable);
        stm_share_reserve(vp);
    }
    begin();
    for (int vp = 0; vp < VPS; vp++)
        assert_non_null(pages->page[vp][3].readable);
}

static void write_own(void)
{
    stm_share_attach(0, 0, 1);
    stm_share->connections = 11;
}

static void write_anothers(void)
{
    signal(SIGSEGV, SIG_DFL);
    ((stm_share_vp_t *)pages->page[1][0].writable)->connections = 12;
}

static void write_what_is_only_read(void)
{
    signal(SIGSEGV, SIG_DFL);
    ((stm_share_vp_t *)(uintptr_t)pages->page[1][0].readable)->connections = 13;
}

static void write_the_table(void)
{
    signal(SIGSEGV, SIG_DFL);
    ((stm_share_seat_t *)pages->seats.writable)->page = 14;
}

/* How a VP that has page 0 of seat 0 ends when it does so. */
static int as_a_vp(void (*body)(void))
{
    int status;

    stm_share_inherit(0, 0, true);
    status = run_child(body);
    stm_share_inherit(0, 0, false);
    return shell_status(status);
}

static void a_vp_can_write_its_own_page_alone(void)
{
    begin();
    assert_int_equal(stm_share_reserve(0), 0);
    assert_int_equal(stm_share_reserve(1), 0);
    assert_int_equal(as_a_vp(write_own), 0);
    assert_int_equal(stm_share_of(0, 0)->connections, 11); /* and the master sees it */
    assert_int_equal(as_a_vp(write_anothers), 128 + SIGSEGV);
    assert_int_equal(as_a_vp(write_what_is_only_read), 128 + SIGSEGV);
    assert_int_equal(as_a_vp(write_the_table), 128 + SIGSEGV);
    assert_int_equal(run_child(write_own) != 0, 1); /* it is not given to the next one */
    assert_int_equal(stm_share_of(1, 0)->connections, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(pages_of_a_seat_are_used_up_and_come_back),
        RAW_TEST(a_page_comes_back_cleared),
        RAW_TEST(the_seat_leads_to_its_holder),
        RAW_TEST(a_successor_takes_the_seat),
        RAW_TEST(opening_again_keeps_what_there_is),
        RAW_TEST(successors_pages_are_mapped_beforehand),
        RAW_TEST(a_vp_can_write_its_own_page_alone),
    };
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
