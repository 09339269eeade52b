/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another build of the module under a running master (process/stamp.c): data in this build's layout
 * is used as it is, VPs of other builds are taken over, and what is not understood is left
 * untouched.
 */
#include <fcntl.h>
#include <unistd.h>

#include "mpm/process/process.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

static stm_retained_t *retained; /* from malloc(), as the master has it */
static stm_retained_t next;      /* the other build's */
static stm_stamp_t stamp;

static void begin(void)
{
    retained = calloc(1, sizeof(*retained));
    assert_non_null(retained);
    stm_stamp_put(retained, &stamp);
    stm_retained = retained;
}

static void this_builds_data_fits(void)
{
    begin();
    assert_ptr_equal(retained->stamp, &stamp);
    assert_ptr_equal(stamp.data, retained);
    assert_true(stm_stamp_fits(&stamp));
}

static void another_layout_does_not(void)
{
    begin();
    stamp.layout ^= 1;
    assert_false(stm_stamp_fits(&stamp));
    begin();
    stamp.size--;
    assert_false(stm_stamp_fits(&stamp));
    begin();
    stamp.handover++;
    assert_false(stm_stamp_fits(&stamp));
    begin();
    stamp.magic[7] = 'q';
    assert_false(stm_stamp_fits(&stamp));
}

/* Two VPs with a seat, one that leaves. */
static void have_vps(void)
{
    stm_child_t *leaving = calloc(1, sizeof(*leaving));

    assert_non_null(leaving);
    retained->seats[0].child = (stm_child_t){.pid = 100, .ordinal = 0, .control = 10};
    retained->seats[5].child = (stm_child_t){.pid = 105, .ordinal = 5, .control = -1};
    *leaving = (stm_child_t){
        .pid = 200, .ordinal = 5, .control = 20, .generation = 7, .cutoff = 12345, .leaving = true};
    retained->leaving = leaving;
}

static const stm_child_t *taken_over(pid_t pid)
{
    for (const stm_child_t *child = next.leaving; child; child = child->next) {
        if (child->pid == pid)
            return child;
    }
    return NULL;
}

static void vps_are_handed_over(void)
{
    const stm_child_t *child;
    int count = 0;

    begin();
    have_vps();
    stm_stamp_hand_over();
    stamp.layout ^= 1; /* the build that comes now is another one */
    assert_true(stm_stamp_take_over(&next, &stamp));
    for (child = next.leaving; child; child = child->next) {
        count++;
        assert_true(child->leaving && child->foreign);
        assert_int_equal(child->page, -1);
        assert_int_equal(child->score, -1);
        assert_null(child->pulse);
    }
    assert_int_equal(count, 3);
    assert_int_equal(taken_over(100)->control, 10);
    assert_int_equal(taken_over(105)->control, -1);
    assert_int_equal(taken_over(105)->ordinal, 5);
    assert_int_equal(taken_over(200)->generation, 7);
    assert_int_equal(taken_over(200)->cutoff, 12345);
    assert_true(logged("3 VPs"));
    assert_null(stamp.vps);
    assert_int_equal(stamp.count, 0);
}

static void the_directory_is_closed(void)
{
    int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    begin();
    stamp.directory = directory;
    assert_true(stm_stamp_take_over(&next, &stamp));
    assert_int_equal(fcntl(directory, F_GETFD), -1);
}

static void what_is_not_understood_stays(void)
{
    stm_stamp_t before;

    begin();
    have_vps();
    stm_stamp_hand_over();
    stamp.handover++;
    before = stamp;
    assert_false(stm_stamp_take_over(&next, &stamp));
    assert_null(next.leaving);
    assert_memory_equal(&before, &stamp, sizeof(stamp));
    assert_true(logged("cannot take over"));
}

static void the_same_build_goes_on_with_its_own(void)
{
    begin();
    have_vps();
    stm_stamp_hand_over();
    assert_int_equal(stamp.count, 3);
    stm_stamp_forget(&stamp);
    assert_null(stamp.vps);
    assert_int_equal(stamp.count, 0);
    assert_true(stm_stamp_fits(&stamp));
    assert_int_equal(retained->seats[0].child.pid, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(this_builds_data_fits),        RAW_TEST(another_layout_does_not),
        RAW_TEST(vps_are_handed_over),          RAW_TEST(the_directory_is_closed),
        RAW_TEST(what_is_not_understood_stays), RAW_TEST(the_same_build_goes_on_with_its_own),
    };
    return cmocka_run_group_tests_name("stamp", tests, NULL, NULL);
}
