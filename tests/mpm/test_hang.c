/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the master does about a VP that makes no turns (process/hang.c). The VPs are real processes
 * that wait, compute or are stopped; the master's seconds are the test's, so that a minute of looks
 * takes no time.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mpm/config/config.h"
#include "mpm/process/process.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

enum { NOTICE = 5, NEVER = 1000 };

static apr_time_t now = 1000000000;
static stm_retained_t retained;
static stm_pulse_t pulse;
static stm_child_t *ended, unseated;

apr_time_t stm_monotonic(void)
{
    return now;
}

/* children.c's: it has been sent its signal, and goes without a seat. */
void stm_children_ended(stm_child_t *child)
{
    ended = child;
}

stm_child_t *stm_children_unseat(stm_seat_t *seat)
{
    unseated = seat->child;
    seat->child.pid = 0;
    return &unseated;
}

/* --- VPs --- */

static char state_of(pid_t pid)
{
    char path[64], state = '?';
    FILE *stat;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    stat = fopen(path, "r");
    assert_non_null(stat);
    assert_int_equal(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
    fclose(stat);
    return state;
}

static void await_state(pid_t pid, char state)
{
    while (state_of(pid) != state)
        usleep(1000);
}

static void compute(void)
{
    for (;;)
        __asm__ volatile("");
}

static pid_t start(char state)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (state == 'R')
            compute();
        for (;;)
            pause();
    }
    if (state == 'T')
        kill(pid, SIGSTOP);
    await_state(pid, state);
    return pid;
}

/* A VP in a seat that is in that state of a process: 'S', 'R' or 'T'. */
static stm_child_t *vp(char state, int hang_timeout)
{
    stm_child_t *child = &retained.seats[2].child;

    stm_config_begin();
    stm_config.hang_timeout = hang_timeout;
    stm_retained = &retained;
    *child = (stm_child_t){
        .pid = start(state), .ordinal = 2, .incarnation = 3, .ready = true, .pulse = &pulse};
    return child;
}

static stm_child_t *leaving_vp(char state, int hang_timeout)
{
    static stm_child_t child;

    child = *vp(state, hang_timeout);
    retained.seats[2].child.pid = 0;
    child.leaving = true;
    retained.leaving = &child;
    return &child;
}

static void look(void)
{
    now += apr_time_from_sec(1);
    stm_hang_look();
}

/* After how many looks it is ended; NEVER: not within so many. */
static int looks_until_its_end(void)
{
    for (int looks = 1; looks < NEVER; looks++) {
        look();
        if (ended)
            return looks;
    }
    return NEVER;
}

static void assert_aborted(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(shell_status(status), 128 + SIGABRT);
}

/* --- the limits --- */

/* The look that finds it silent for the first time is the first of the limit. */
static void who_waits_is_ended_after_hang_timeout(void)
{
    pid_t pid = vp('S', 20)->pid;

    assert_int_equal(looks_until_its_end(), 20);
    assert_ptr_equal(ended, &unseated);
    assert_int_equal(unseated.pid, pid);
    assert_true(logged("VP 2 (incarnation 3") && logged("HangTimeout 20"));
    assert_aborted(pid);
}

static void who_is_stopped_is_ended_too(void)
{
    pid_t pid = vp('T', 20)->pid;

    assert_int_equal(looks_until_its_end(), 20);
    assert_aborted(pid);
}

static void it_is_logged_before(void)
{
    vp('S', 20);
    for (int i = 0; i < NOTICE - 1; i++)
        look();
    assert_int_equal(log_lines(), 0);
    look();
    assert_int_equal(log_lines(), 1);
    assert_true(logged("no scheduler turn for 5 s"));
    look();
    assert_int_equal(log_lines(), 1); /* once */
}

static void a_short_limit_is_logged_one_look_before(void)
{
    vp('S', 3);
    look();
    assert_int_equal(log_lines(), 0);
    look();
    assert_int_equal(log_lines(), 1);
    assert_null(ended);
    look();
    assert_non_null(ended);
}

static void whoever_makes_a_turn_begins_anew(void)
{
    vp('S', 20);
    for (int i = 0; i < 19; i++)
        look();
    pulse.turns++;
    assert_int_equal(looks_until_its_end(), 1 + 20);
    assert_true(logged("after 19 s without a scheduler turn"));
}

static void without_a_limit_it_is_only_logged(void)
{
    vp('S', 0);
    assert_int_equal(looks_until_its_end(), NEVER);
    assert_int_equal(log_lines(), 1);
}

/* A module's blocking call holds up the whole VP then, which is how httpd's MPMs are. */
static void without_threaded_io_it_may_wait(void)
{
    vp('S', 20);
    stm_config.threaded_io = 0;
    assert_int_equal(looks_until_its_end(), NEVER);
}

static void who_starts_has_ten_times_as_long(void)
{
    vp('S', 20)->ready = false;
    assert_int_equal(looks_until_its_end(), 200);
}

static void who_leaves_and_waits_has_ten_seconds(void)
{
    static const struct {
        char state;
        int limit, looks;
    } cases[] = {{'S', 20, 10}, {'S', 0, 10}, {'S', 7, 7}, {'T', 20, 10}, {'T', 0, 10}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        stm_child_t *child = leaving_vp(cases[i].state, cases[i].limit);

        ended = NULL;
        assert_int_equal(looks_until_its_end(), cases[i].looks);
        assert_ptr_equal(ended, child);
        assert_aborted(child->pid);
        retained.leaving = NULL;
    }
}

static void without_threaded_io_who_leaves_has_longer(void)
{
    leaving_vp('S', 0);
    stm_config.threaded_io = 0;
    assert_int_equal(looks_until_its_end(), 60);
}

/* Looks without time in between: it was ready to run and had no CPU, as on a busy machine. */
static void who_gets_no_cpu_does_not_hang(void)
{
    vp('R', 300);
    for (int i = 0; i < NOTICE; i++)
        look();
    for (int i = 0; i < 299; i++)
        look();
    assert_null(ended);
    assert_true(logged("it is computing"));
}

static unsigned long cpu_ticks(pid_t pid)
{
    char path[64];
    unsigned long user, system;
    FILE *stat;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    stat = fopen(path, "r");
    assert_non_null(stat);
    assert_int_equal(fscanf(stat,
                            "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                            &user, &system),
                     2);
    fclose(stat);
    return user + system;
}

/* A twentieth of the time is enough: 1 s of CPU for 15 s without a turn. */
static void who_computes_is_ended(void)
{
    pid_t pid = vp('R', 20)->pid;
    unsigned long before;

    for (int i = 0; i < NOTICE; i++)
        look();
    before = cpu_ticks(pid);
    while (cpu_ticks(pid) - before < (unsigned long)sysconf(_SC_CLK_TCK))
        usleep(10000);
    assert_int_equal(looks_until_its_end(), 20 - NOTICE);
    assert_aborted(pid);
}

static void looks_are_a_second_apart(void)
{
    vp('S', 3);
    for (int i = 0; i < 100; i++) {
        now += 999999 / 100;
        stm_hang_look();
    }
    assert_int_equal(retained.seats[2].child.hang.silent, 0 + 1); /* the very first one */
}

static void who_is_on_its_way_out_is_left_alone(void)
{
    vp('S', 3)->ending = STM_ENDING_STOPPED;
    assert_int_equal(looks_until_its_end(), NEVER);
    vp('S', 3)->pulse = NULL; /* it cannot say whether it makes turns */
    assert_int_equal(looks_until_its_end(), NEVER);
}

/* It is asked with a signal what it does, and has five looks to answer. */
static void its_answer_is_waited_for(void)
{
    pulse.can_answer = 1;
    vp('T', 20); /* a stopped one is not asked: it could not answer */
    for (int i = 0; i < NOTICE; i++)
        look();
    assert_false(retained.seats[2].child.hang.asked);

    signal(STM_LOOK_SIGNAL, SIG_IGN); /* of the next VP: a handler that takes its time */
    vp('S', 6);
    for (int i = 0; i < NOTICE; i++)
        look();
    assert_true(retained.seats[2].child.hang.asked);
    for (int i = 0; i < 4; i++)
        look();
    assert_null(ended); /* over the limit of six, but it may still answer */
    strcpy(pulse.report, "GET /slow\nfirst_call\nsecond\x1b[2Jcall\n");
    pulse.answers++;
    look();
    assert_true(logged("\"GET /slow\"") && logged("first_call"));
    assert_true(logged("second?[2Jcall")); /* no byte that a terminal might obey */
    assert_non_null(ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(who_waits_is_ended_after_hang_timeout),
        RAW_TEST(who_is_stopped_is_ended_too),
        RAW_TEST(it_is_logged_before),
        RAW_TEST(a_short_limit_is_logged_one_look_before),
        RAW_TEST(whoever_makes_a_turn_begins_anew),
        RAW_TEST(without_a_limit_it_is_only_logged),
        RAW_TEST(without_threaded_io_it_may_wait),
        RAW_TEST(who_starts_has_ten_times_as_long),
        RAW_TEST(who_leaves_and_waits_has_ten_seconds),
        RAW_TEST(without_threaded_io_who_leaves_has_longer),
        RAW_TEST(who_gets_no_cpu_does_not_hang),
        RAW_TEST(who_computes_is_ended),
        RAW_TEST(looks_are_a_second_apart),
        RAW_TEST(who_is_on_its_way_out_is_left_alone),
        RAW_TEST(its_answer_is_waited_for),
    };
    return cmocka_run_group_tests_name("hang", tests, NULL, NULL);
}
