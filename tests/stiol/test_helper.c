/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers: whose turn it is when there are fewer than jobs, and what happens to a waiting job.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/stiol/stiol_vp.h"

#include "stiol/helper_line.h"

/* --- whose turn it is --- */

enum { JOBS = 200 };

static stiol__line_t line;
static stiol__job_t jobs[JOBS];
static int made;

/* Groups that an earlier test has left behind belong to its process. */
static void empty_line(int limit)
{
    memset(&line, 0, sizeof(line));
    line.limit = limit;
    made = 0;
}

static stiol__job_t *enter(stiol__help_class_t class, uint64_t group, bool quick)
{
    stiol__job_t *job = &jobs[made++];

    *job = (stiol__job_t){.group = group, .quick = quick, .class = class};
    CHECK(stiol__line_enter(&line, job));
    return job;
}

static void enter_many(int count, stiol__help_class_t class, uint64_t group)
{
    while (count-- > 0)
        (void)enter(class, group, false);
}

/* Lets as many run as are allowed; returns how many of that class then run. */
static int run_all(stiol__help_class_t class)
{
    while (stiol__line_next(&line))
        continue;
    CHECK(line.all_running <= line.limit);
    return line.running[class];
}

/* 64: each class has 4 to itself, but syslog, which has one; of the 55 that are left for look-ups
 * 6 are for those that take no time. */
static void each_class_has_helpers_of_its_own(void)
{
    empty_line(64);
    enter_many(100, STIOL_HELP_RESOLVE, 0);
    assert_int_equal(run_all(STIOL_HELP_RESOLVE), 64 - 4 - 4 - 1 - 6);
    enter_many(10, STIOL_HELP_FILE, 0);
    enter_many(10, STIOL_HELP_OTHER, 0);
    enter_many(2, STIOL_HELP_LOG, 0);
    assert_true(run_all(STIOL_HELP_FILE) >= 4);
    assert_true(line.running[STIOL_HELP_OTHER] >= 4);
    assert_int_equal(line.running[STIOL_HELP_LOG], 1);
    assert_int_equal(line.running[STIOL_HELP_RESOLVE], 49);
}

static void quick_jobs_have_some_too(void)
{
    stiol__job_t *quick;

    empty_line(8);
    enter_many(20, STIOL_HELP_RESOLVE, 0);
    assert_int_equal(run_all(STIOL_HELP_RESOLVE), 4);
    assert_true(stiol__line_crowded(&line, STIOL_HELP_RESOLVE));
    assert_false(stiol__line_crowded(&line, STIOL_HELP_FILE));
    quick = enter(STIOL_HELP_RESOLVE, 0, true);
    assert_int_equal(run_all(STIOL_HELP_RESOLVE), 5);
    assert_int_equal(quick->state, STIOL_JOB_RUNS);
}

static void no_group_gets_all(void)
{
    int first, second = 0;

    empty_line(64);
    enter_many(60, STIOL_HELP_RESOLVE, 7);
    first = run_all(STIOL_HELP_RESOLVE);
    assert_true(first >= 40 && first <= 47); /* sixteen seventeenths of 49 */
    enter_many(60, STIOL_HELP_RESOLVE, 9);
    second = run_all(STIOL_HELP_RESOLVE) - first;
    assert_true(second >= 1 && second <= 48 - first); /* one is left */
    assert_int_equal(enter(STIOL_HELP_RESOLVE, 11, false)->state, STIOL_JOB_WAITS);
    assert_int_equal(run_all(STIOL_HELP_RESOLVE), first + second + 1);
}

/* With helpers for as many files as may be needed at once, these may all be on one device. */
static void a_large_limit_is_nearly_all_for_one_device(void)
{
    empty_line(226);
    enter_many(JOBS, STIOL_HELP_FILE, 7);
    assert_int_equal(run_all(STIOL_HELP_FILE), 177); /* 226, less 14 + 14 + 1, 8, and 12 */
}

static void groups_take_turns(void)
{
    stiol__job_t *slow = &jobs[0], *other;

    empty_line(1);
    enter_many(10, STIOL_HELP_FILE, 7);
    assert_ptr_equal(stiol__line_next(&line), slow);
    other = enter(STIOL_HELP_FILE, 9, false);
    stiol__line_leave(&line, slow);
    assert_ptr_equal(stiol__line_next(&line), &jobs[1]); /* was in the queue before */
    stiol__line_leave(&line, &jobs[1]);
    assert_ptr_equal(stiol__line_next(&line), other);
}

static void a_job_may_come_back_or_give_up(void)
{
    stiol__job_t *job;

    empty_line(2);
    enter_many(3, STIOL_HELP_FILE, 7);
    job = stiol__line_next(&line);
    stiol__line_return(&line, job);
    assert_int_equal(line.waiting[STIOL_HELP_FILE], 3);
    assert_ptr_equal(stiol__line_next(&line), job);
    stiol__line_cancel(&line, &jobs[1]);
    stiol__line_cancel(&line, &jobs[2]);
    assert_null(stiol__line_next(&line));
    (void)enter(STIOL_HELP_FILE, 7, false);
    assert_ptr_equal(stiol__line_next(&line), &jobs[3]);
    stiol__line_leave(&line, job);
    stiol__line_leave(&line, &jobs[3]);
    assert_int_equal(line.all_running, 0);
    for (int i = 0; i < STIOL_LINE_BUCKETS; i++)
        assert_null(line.groups[i]);
}

/* --- jobs --- */

/* Runs until the test says so. */
typedef struct held_job {
    stiol__job_t job;
    _Atomic bool started, may_end;
} held_job_t;

static void run_until_told(stiol__job_t *job)
{
    held_job_t *held = (held_job_t *)job;

    held->started = true;
    while (!held->may_end)
        usleep(100);
}

static void wait_for(const _Atomic bool *what)
{
    while (!*what)
        st_usleep(100);
}

static void *help_with_file(void *arg)
{
    stiol__help(stiol__vp, STIOL_HELP_FILE, arg);
    note('f');
    return NULL;
}

static void *help_with_name(void *arg)
{
    stiol__help(stiol__vp, STIOL_HELP_RESOLVE, arg);
    note('n');
    return NULL;
}

/* With the real limit, whose parts are reserved. */
static void start_with_many(void)
{
    stiol_config_t config = test_config;

    config.max_helpers = 16;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
}

static void files_do_not_wait_for_names(void)
{
    static held_job_t names[40], file;
    stiol_helpers_t helpers;

    start_with_many();
    for (int i = 0; i < 40; i++) {
        names[i].job.run = run_until_told;
        spawn(help_with_name, &names[i]);
    }
    settle();
    file.job.run = run_until_told;
    file.may_end = true;
    spawn(help_with_file, &file);
    while (noted()[0] == '\0')
        st_usleep(100);
    CHECK(strcmp(noted(), "f") == 0);
    stiol_get_helpers(&helpers);
    CHECK(helpers.names_waiting == 40 - 12 && helpers.files_waiting == 0);
    CHECK(helpers.threads <= 16 && helpers.peak <= 16 && helpers.full == 40 - 12);
    for (int i = 0; i < 40; i++)
        names[i].may_end = true;
    stop_vp();
}

static _Atomic bool finished, released;

static void on_finished(stiol__job_t *job)
{
    (void)job;
    finished = true;
}

static void on_release(stiol__job_t *job)
{
    (void)job;
    released = true;
}

static void a_job_tells_when_it_is_done(void)
{
    static held_job_t held = {.job = {.run = run_until_told, .finished = on_finished}};

    CHECK(stiol__help_start(stiol__vp, STIOL_HELP_FILE, &held.job));
    wait_for(&held.started);
    CHECK(!finished);
    held.may_end = true;
    wait_for(&finished);
    CHECK(!released);
}

/* One that runs, and one that waits for it: no more than one line at a time. */
static void a_job_can_be_abandoned(void)
{
    static held_job_t held[2];

    for (int i = 0; i < 2; i++) {
        held[i].job = (stiol__job_t){.run = run_until_told, .finished = on_finished};
        CHECK(stiol__help_start(stiol__vp, STIOL_HELP_LOG, &held[i].job));
    }
    wait_for(&held[0].started);
    CHECK(stiol__help_abandon(&held[1].job, on_release) && released);
    released = false;
    CHECK(stiol__help_abandon(&held[0].job, on_release) && !released);
    held[0].may_end = true;
    wait_for(&released);
    settle();
    CHECK(!finished && !held[1].started);
}

static void limit_threads(rlim_t most)
{
    const struct rlimit limit = {most, most};

    CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
}

/* A job waits in line for the only helper, and the VP goes on; with none at all it is done here.
 * Root has as many threads as it likes. */
static void without_kernel_threads_jobs_wait_in_line(void)
{
    static held_job_t held, second, third;
    stiol_helpers_t helpers;
    int ticks = 0;

#ifdef __SANITIZE_ADDRESS__
    skip_test("LeakSanitizer needs a kernel thread of its own");
#endif
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        skip_test("cannot become an ordinary user");
    held.job.run = second.job.run = third.job.run = run_until_told;
    second.may_end = third.may_end = true;
    spawn(help_with_file, &held);
    wait_for(&held.started);
    limit_threads(0);
    spawn(help_with_name, &second);
    spawn(ticker, &ticks);
    while (ticks < 10)
        st_thread_yield();
    CHECK(noted()[0] == '\0' && !second.started);
    stiol_get_helpers(&helpers);
    CHECK(helpers.error == EAGAIN && helpers.names_waiting == 1 && helpers.full == 0);
    held.may_end = true;
    while (strlen(noted()) < 2)
        st_usleep(100);
    CHECK(strcmp(noted(), "fn") == 0);
    stiol__helpers_stop();
    while (kernel_threads() > 1)
        st_usleep(100);
    spawn(help_with_name, &third);
    while (strlen(noted()) < 3)
        st_usleep(100);
    stop_ticking = true;
}

/* --- what a helper leaves alone --- */

static void succeed(stiol__job_t *job)
{
    (void)job;
    errno = 0;
}

static void fail_to_find(stiol__job_t *job)
{
    (void)job;
    h_errno = HOST_NOT_FOUND;
}

/* A look-up has failed; before it is looked at why, a line is written to a file. */
static void a_job_that_succeeds_keeps_both_error_numbers(void)
{
    static stiol__job_t job = {.run = succeed};

    errno = ENOENT;
    h_errno = TRY_AGAIN;
    stiol__help(stiol__vp, STIOL_HELP_FILE, &job);
    CHECK(errno == ENOENT && h_errno == TRY_AGAIN);
    job.run = fail_to_find;
    stiol__help(stiol__vp, STIOL_HELP_RESOLVE, &job);
    CHECK(errno == ENOENT && h_errno == HOST_NOT_FOUND);
}

static _Atomic bool handled;

static char *forbidden;

/* Then the faulty instruction runs once more. */
static void on_fault(int signal_number)
{
    handled = signal_number == SIGSEGV;
    CHECK(mprotect(forbidden, 4096, PROT_READ | PROT_WRITE) == 0);
}

static void fault(stiol__job_t *job)
{
    sigset_t mask;

    (void)job;
    *(volatile char *)forbidden = 1;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
    CHECK(sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGCHLD) == 1);
}

/* A crash in a name service's module is the process's, whose handlers see to the core. */
static void a_fault_of_a_helper_finds_its_handler(void)
{
    static stiol__job_t job = {.run = fault};

    forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(forbidden != MAP_FAILED);
    signal(SIGSEGV, on_fault);
    stiol__help(stiol__vp, STIOL_HELP_RESOLVE, &job);
    CHECK(handled);
}

/* --- a helper that has just done its job, and others who wait --- */

static _Atomic bool releasing;

/* Long enough for the VP to begin its stop meanwhile. */
static void release_slowly(stiol__job_t *job)
{
    (void)job;
    releasing = true;
    usleep(100000);
    released = true;
}

static void start_with_one(void)
{
    stiol_config_t config = test_config;

    config.max_helpers = 1;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
}

/* The helper goes from one job straight to the next, which nobody waits for either. */
static void a_stop_waits_for_no_job_in_line(void)
{
    static held_job_t first, second;

    start_with_one();
    first.job = (stiol__job_t){.run = run_until_told, .finished = on_finished};
    second.job = (stiol__job_t){.run = run_until_told, .finished = on_finished};
    CHECK(stiol__help_start(stiol__vp, STIOL_HELP_FILE, &first.job));
    CHECK(stiol__help_start(stiol__vp, STIOL_HELP_FILE, &second.job));
    wait_for(&first.started);
    CHECK(stiol__help_abandon(&first.job, release_slowly));
    first.may_end = true;
    wait_for(&releasing);
    stiol__helpers_stop();
    CHECK(released);
    second.may_end = true;
    wait_for(&finished);
    stop_vp();
}

/* --- objects that are being loaded --- */

static int says[2], hears[2];

static void *load_slowly(void *arg)
{
    (void)arg;
    CHECK(dlopen(OBJECTS "/libslow_start.so", RTLD_NOW));
    return NULL;
}

static void name_descriptor(const char *variable, int fd)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", fd);
    setenv(variable, text, 1);
}

/* Another kernel thread is in the dynamic loader for long: a helper, for a name service's module on
 * a slow disk. The VP goes on, and has helpers. */
static void loading_an_object_holds_up_no_job(void)
{
    static stiol__job_t job = {.run = succeed};
    pthread_t loader;
    char byte = 0;

    CHECK(pipe(says) == 0 && pipe(hears) == 0);
    name_descriptor("SLOW_START_SAYS", says[1]);
    name_descriptor("SLOW_START_HEARS", hears[0]);
    CHECK(pthread_create(&loader, NULL, load_slowly, NULL) == 0);
    CHECK(read(says[0], &byte, 1) == 1);
    stiol__help(stiol__vp, STIOL_HELP_FILE, &job);
    CHECK(write(hears[1], &byte, 1) == 1);
    CHECK(pthread_join(loader, NULL) == 0);
    for (int i = 0; i < 2; i++) {
        close(says[i]);
        close(hears[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(each_class_has_helpers_of_its_own),
        RAW_TEST(quick_jobs_have_some_too),
        RAW_TEST(no_group_gets_all),
        RAW_TEST(a_large_limit_is_nearly_all_for_one_device),
        RAW_TEST(groups_take_turns),
        RAW_TEST(a_job_may_come_back_or_give_up),
        RAW_TEST(files_do_not_wait_for_names),
        VP_TEST(a_job_tells_when_it_is_done),
        VP_TEST(a_job_can_be_abandoned),
        VP_TEST(without_kernel_threads_jobs_wait_in_line),
        VP_TEST(a_job_that_succeeds_keeps_both_error_numbers),
        VP_TEST(a_fault_of_a_helper_finds_its_handler),
        RAW_TEST(a_stop_waits_for_no_job_in_line),
        VP_TEST(loading_an_object_holds_up_no_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
