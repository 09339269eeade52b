/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a kernel thread has been occupied (conn/occupied.c), according to the kernel's own
 * figures: alone, waiting, and beside processes that want the same CPU.
 */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mpm/conn/occupied.h"
#include "tests/harness.h"

enum {
    RIVALS = 8,
    SPAN = 300000, /* us */
    NO_LIMIT = 1000000000,
    LIMIT = 5000,
};

static stm_moment_t start;

static void begin(void)
{
    stm_occupied_open();
    stm_moment_take(&start);
}

static st_utime_t occupied(st_utime_t most)
{
    stm_moment_t now;

    stm_moment_take(&now);
    return stm_occupied(&start, &now, most);
}

static st_utime_t passed(void)
{
    stm_moment_t now;

    stm_moment_take(&now);
    return now.clock - start.clock;
}

static void compute_until(st_utime_t us)
{
    while (passed() < us) {
    }
}

/* The CPU time of this thread, us. */
static st_utime_t computed(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (st_utime_t)time.tv_sec * 1000000 + (st_utime_t)time.tv_nsec / 1000;
}

/* The bounds allow for others that use the CPU, and for a machine that freezes. */

/* Computing is measured by the CPU time, which a machine that freezes makes longer than the time
 * that has passed; so that the clock says nothing of how right it is. */
static void computing_counts_up_to_the_limit(void **state)
{
    st_utime_t before;
    stm_moment_t now;

    (void)state;
    do { /* until it runs without having to wait, for a page for example */
        before = computed();
        begin();
        while (occupied(NO_LIMIT) < SPAN / 10) {
        }
        stm_moment_take(&now);
    } while (stm_has_waited(&start, &now));
    assert_true(stm_occupied(&start, &now, NO_LIMIT) < computed() - before + SPAN / 30);
    assert_true(stm_occupied(&start, &now, LIMIT) == LIMIT);
}

static void waiting_counts_without_a_limit(void **state)
{
    stm_moment_t now;

    (void)state;
    begin();
    usleep(SPAN);
    stm_moment_take(&now);
    assert_true(stm_has_waited(&start, &now));
    assert_true(stm_occupied(&start, &now, LIMIT) > LIMIT);
}

static void use_one_cpu(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

static pid_t start_rival(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(30); /* in case the test dies */
        for (;;) {
        }
    }
    return pid;
}

/* While they have the CPU, this thread is not occupied, whether it has waited meanwhile or not. */
static void occupied_beside_rivals(bool waits)
{
    pid_t rivals[RIVALS];
    cpu_set_t before;

    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    use_one_cpu();
    for (int i = 0; i < RIVALS; i++)
        rivals[i] = start_rival();
    begin();
    if (waits)
        usleep(1000);
    compute_until(3 * SPAN);
    assert_true(occupied(NO_LIMIT) < passed() / 2);
    for (int i = 0; i < RIVALS; i++) {
        kill(rivals[i], SIGKILL);
        waitpid(rivals[i], NULL, 0);
    }
    sched_setaffinity(0, sizeof(before), &before);
}

static void rivals_do_not_count(void **state)
{
    (void)state;
    occupied_beside_rivals(false);
}

static void rivals_do_not_count_beside_a_wait(void **state)
{
    (void)state;
    if (access("/proc/thread-self/schedstat", R_OK) != 0)
        skip();
    occupied_beside_rivals(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computing_counts_up_to_the_limit),
        cmocka_unit_test(waiting_counts_without_a_limit),
        cmocka_unit_test(rivals_do_not_count),
        cmocka_unit_test(rivals_do_not_count_beside_a_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
