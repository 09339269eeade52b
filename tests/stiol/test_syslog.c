/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syslog() with a daemon that does not read: a real socket at /dev/log, in a mount namespace of the
 * test's own.
 */
#include <sys/mount.h>
#include <sys/un.h>

#include "tests/stiol/stiol_vp.h"

enum { LINES = 40 };

static const table_t *call = &table_any;
static int daemon_socket = -1;

static const struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

/* Only this process sees it. */
static void make_log(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev", "tmpfs", 0, NULL) != 0)
        skip_test("no mount namespace may be made here");
    daemon_socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(bind(daemon_socket, (const struct sockaddr *)&at, sizeof(at)) == 0);
}

/* What the daemon has not read yet fills its queue. Each sender's own buffer is bounded as well. */
static void fill_queue(void)
{
    int sender = -1;

    for (int sent = 1; sent > 0;) {
        sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CHECK(connect(sender, (const struct sockaddr *)&at, sizeof(at)) == 0);
        for (sent = 0; send(sender, "full", 4, 0) == 4; sent++)
            continue;
        CHECK(errno == EAGAIN);
    }
}

/* A line as the daemon gets it, NULL: there is none now. */
static char *read_line(void)
{
    static char line[1024];
    ssize_t length;

    do
        length = recv(daemon_socket, line, sizeof(line) - 1, 0);
    while (length == 4 && memcmp(line, "full", 4) == 0);
    if (length < 0)
        return NULL;
    line[length] = '\0';
    return line;
}

static const char *await_line(void)
{
    const char *line;

    while (!(line = read_line()))
        st_usleep(1000);
    return line;
}

static void start_with_log(void)
{
    make_log();
    start_vp();
    call->openlog("names-test", LOG_PID, LOG_LOCAL3);
}

static void *log_one(void *arg)
{
    const int *number = arg;

    errno = ENOENT;
    if (*number % 2 == 0)
        call->syslog(LOG_INFO, "line %d: %m", *number);
    else
        call->__syslog_chk(LOG_INFO, 1, "line %d: %m", *number);
    CHECK(errno == ENOENT);
    note('l');
    return NULL;
}

static void lines_wait_in_their_order(void)
{
    static int numbers[LINES];
    char wanted[64];
    int ticks = 0;

    start_with_log();
    fill_queue();
    for (int i = 0; i < LINES; i++) {
        numbers[i] = i;
        spawn(log_one, &numbers[i]);
    }
    spawn(ticker, &ticks);
    while (ticks < 100)
        st_thread_yield();
    CHECK(noted()[0] == '\0' && kernel_threads() <= 3);
    for (int i = 0; i < LINES; i++) {
        const char *line = await_line();

        snprintf(wanted, sizeof(wanted), "[%d]: line %d: %s", (int)getpid(), i, strerror(ENOENT));
        CHECK(strstr(line, wanted) && strstr(line, "names-test"));
        CHECK(strncmp(line, "<158>", 5) == 0); /* local3.info */
    }
    stop_ticking = true;
    reap();
    CHECK(strlen(noted()) == LINES);
    call->closelog();
    CHECK(call->setlogmask(LOG_UPTO(LOG_ERR)) == 0xff);
    call->syslog(LOG_INFO, "not wanted");
    CHECK(call->setlogmask(0) == LOG_UPTO(LOG_ERR) && !read_line());
    stop_vp();
}

static void log_in_callback(st_remote_t *remote)
{
    (void)remote;
    call->syslog(LOG_NOTICE, "from a callback");
    note('c');
}

/* There it cannot wait at all. */
static void callbacks_send_lines_off(void)
{
    static st_remote_t remote = {.fn = log_in_callback};
    stiol_helpers_t helpers;

    start_with_log();
    fill_queue();
    st_vp_post(st_vp_self(), &remote);
    while (noted()[0] == '\0')
        st_usleep(1000);
    CHECK(strstr(await_line(), "from a callback"));
    do { /* the job is freed in the scheduler, some time after the daemon has the line */
        st_usleep(1000);
        stiol_get_helpers(&helpers);
    } while (helpers.busy > 0);
    st_usleep(1000);
    stop_vp();
}

static void *log_at_the_end(void *arg)
{
    (void)arg;
    call->syslog(LOG_INFO, "the last words");
    note('e');
    return NULL;
}

/* One line is under way, one in line, when the VP ends. */
static void the_vps_end_does_not_wait_for_the_daemon(void)
{
    stiol_helpers_t helpers;

    start_with_log();
    fill_queue();
    spawn(log_at_the_end, NULL);
    spawn(log_at_the_end, NULL);
    do {
        st_usleep(1000);
        stiol_get_helpers(&helpers);
    } while (helpers.lines_waiting == 0);
    stiol_end_waits();
    reap();
    CHECK(strcmp(noted(), "ee") == 0);
    CHECK(strstr(await_line(), "the last words"));
    stop_vp();
}

/* Lines logged by cleanups when a VP ends by itself and nothing is interrupted: nobody waits for
 * the daemon. A line that a callback has sent off may still be on its way when the VP is gone. */
static void nor_does_an_expected_end(void)
{
    static st_remote_t remote = {.fn = log_in_callback};
    const char *line;

    start_with_log();
    fill_queue();
    st_vp_post(st_vp_self(), &remote);
    while (noted()[0] == '\0')
        st_usleep(1000);
    stiol_expect_end();
    spawn(log_at_the_end, NULL);
    reap();
    CHECK(strcmp(noted(), "ce") == 0);
    stop_vp();
    while (!(line = read_line()))
        usleep(1000);
    CHECK(strstr(line, "from a callback"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(lines_wait_in_their_order),
        RAW_TEST(callbacks_send_lines_off),
        RAW_TEST(the_vps_end_does_not_wait_for_the_daemon),
        RAW_TEST(nor_does_an_expected_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
