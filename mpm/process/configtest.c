/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a restart, a copy of httpd reads the new configuration only to test it. httpd itself reads
 * it after the old one is gone, and exits if it is broken; with this test, the old server keeps
 * running. Meanwhile the master continues with its work: it is told when the copy has ended, and
 * checks whether it takes too long (ConfigTestTimeout).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

#include "mpm/config/config.h"
#include "mpm/process/process.h"

/* How the copy knows that it is one: the descriptor for its answer, the master's STM_HANDOVER, and
 * the descriptor of a list of the server's listening sockets (which earlier builds do not pass). */
#define VARIABLE "STM_CONFIG_TEST"
/* What the copy reports there: all is well; the server would not start; all is well as far as it
 * could be tried. */
#define CONTENT  'S'
#define FAILED   'F'
#define UNTRIED  'U'

static struct {
    pid_t pid;          /* of the copy, and of its process group; 0: not running */
    int output;         /* what it prints: in memory, so that nobody has to read it meanwhile */
    int sockets;        /* a list of the server's, likewise */
    int answer;         /* a pipe on which the copy's module says that it could take over */
    apr_time_t started; /* stm_monotonic() */
    bool again;         /* another restart was requested: the configuration may have changed */
    stm_test_e outcome;
} test = {.output = -1, .sockets = -1, .answer = -1};

/* --- the copy --- */

/* The arguments that this server was started with, and -t. */
static const char **test_arguments(const process_rec *process)
{
    const char **argv = apr_pcalloc(stm.pconf, sizeof(char *) * (size_t)(process->argc + 2));

    for (int i = 0; i < process->argc; i++)
        argv[i] = process->argv[i];
    argv[process->argc] = "-t";
    return argv;
}

/* Without a terminal, on which a module could ask for a pass phrase, and without systemd's sockets,
 * which only the master may talk to. */
static void become_stranger(void)
{
    int nothing = open("/dev/null", O_RDONLY);

    setsid();
    if (nothing >= 0)
        dup2(nothing, STDIN_FILENO);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
}

static void exec_test(const char **argv, int output, int answer)
{
    char program[4096], value[64];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

    become_stranger();
    snprintf(value, sizeof(value), "%d %d %d", answer, STM_HANDOVER, test.sockets);
    if (n <= 0 || setenv(VARIABLE, value, 1) != 0 || fcntl(answer, F_SETFD, 0) != 0 ||
        fcntl(test.sockets, F_SETFD, 0) != 0)
        _exit(127);
    program[n] = '\0';
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    /* The master's own pipes and sockets close on exec. */
    execv(program, (char *const *)argv);
    execv("/proc/self/exe", (char *const *)argv); /* the file was replaced */
    _exit(127);
}

static void close_files(void)
{
    if (test.output >= 0)
        close(test.output);
    if (test.answer >= 0)
        close(test.answer);
    if (test.sockets >= 0)
        close(test.sockets);
    test.output = test.answer = test.sockets = -1;
}

/* Where a sandbox refuses memfds, a file without a name; or else nobody learns what the copy said,
 * only whether it was content. */
static int open_memory(void)
{
    int fd = memfd_create("stm-config-test", MFD_CLOEXEC);

    if (fd < 0)
        fd = open(P_tmpdir, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
    return fd >= 0 ? fd : open("/dev/null", O_RDWR | O_CLOEXEC);
}

static bool start(const char **argv)
{
    int answer[2];

    if (pipe2(answer, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    test.answer = answer[0];
    test.output = open_memory();
    test.sockets = open_memory();
    if (test.sockets >= 0)
        stm_rehearsal_list(test.sockets);
    test.pid = test.output < 0 || test.sockets < 0 ? -1 : fork();
    if (test.pid == 0)
        exec_test(argv, test.output, answer[1]);
    close(answer[1]);
    if (test.pid > 0)
        return true;
    test.pid = 0;
    close_files();
    return false;
}

/* --- its end --- */

/* What the copy printed, on one line for the log. */
static void read_output(char *text, size_t size)
{
    ssize_t n = pread(test.output, text, size - 1, 0);
    size_t length = n > 0 ? (size_t)n : 0;

    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n' || text[i] == '\0')
            text[i] = ' ';
    }
    while (length > 0 && text[length - 1] == ' ')
        length--;
    text[length] = '\0';
}

/* 0: nothing. */
static char modules_answer(void)
{
    char said = 0;

    return read(test.answer, &said, 1) == 1 ? said : '\0';
}

/* Programs started by the tested configuration end with it. */
static void end_group(int signal_number)
{
    if (kill(-test.pid, signal_number) != 0)
        kill(test.pid, signal_number); /* it has not called setsid() yet */
    test.pid = 0;
    close_files();
}

static void refuse(server_rec *s, const char *reason, const char *text)
{
    test.outcome = STM_TEST_BAD;
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                 STMNO(0046) "%s; the server keeps running with the old one%s%s", reason,
                 *text ? ": " : "", text);
}

static void judge(bool exited, int status)
{
    char text[2048];
    char said = modules_answer();
    bool content = said == CONTENT || said == UNTRIED;

    read_output(text, sizeof(text));
    if (exited && status == 127 && !content) {
        test.outcome = STM_TEST_GOOD; /* no test does not mean failure */
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     STMNO(0047) "the new configuration could not be tested before the restart");
    } else if (exited && status != 0) {
        refuse(ap_server_conf, "the new configuration has an error", text);
    } else if (exited && said == FAILED) {
        refuse(ap_server_conf, "the server would not start with the new configuration", text);
    } else if (content) {
        test.outcome = STM_TEST_GOOD;
        if (said == UNTRIED)
            ap_log_error(
                APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                STMNO(0048) "a start with the new configuration could not be tried: it takes a "
                            "pass phrase");
    } else if (exited) {
        refuse(
            ap_server_conf,
            "the new configuration loads an MPM other than stm (or a build of it that cannot take "
            "over this server): restart needed (stop and start it)",
            "");
    } else {
        refuse(ap_server_conf, "the test of the new configuration died of a signal", text);
    }
}

bool stm_config_test_reaped(const apr_proc_t *proc, apr_exit_why_e why, int status)
{
    if (!test.pid || proc->pid != test.pid)
        return false;
    judge(!APR_PROC_CHECK_SIGNALED(why), status);
    end_group(SIGTERM);
    return true;
}

/* --- what the master calls --- */

/* If a test is already running, the configuration is tested again afterwards: it may have changed
 * since it was read. */
void stm_config_test_begin(server_rec *s)
{
    if (test.pid) {
        test.again = true;
        return;
    }
    test.started = stm_monotonic();
    test.outcome = STM_TEST_RUNS;
    if (start(test_arguments(s->process)))
        return;
    test.outcome = STM_TEST_GOOD; /* no test does not mean failure */
    ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                 STMNO(0049) "the new configuration cannot be tested before the restart");
}

static bool takes_too_long(void)
{
    apr_interval_time_t limit = apr_time_from_sec(stm_config.config_test_timeout);

    return test.pid && limit && stm_monotonic() - test.started >= limit;
}

stm_test_e stm_config_test_look(server_rec *s)
{
    stm_test_e outcome;

    if (takes_too_long()) {
        refuse(s,
               apr_psprintf(stm.pconf,
                            "the new configuration was not read within %d s (ConfigTestTimeout)",
                            stm_config.config_test_timeout),
               "");
        end_group(SIGKILL);
    }
    outcome = test.outcome;
    if (outcome == STM_TEST_RUNS || outcome == STM_TEST_NONE)
        return outcome;
    test.outcome = STM_TEST_NONE;
    if (!test.again)
        return outcome;
    test.again = false;
    stm_config_test_begin(s);
    return stm_config_test_look(s);
}

apr_time_t stm_config_test_due(void)
{
    if (!test.pid || !stm_config.config_test_timeout)
        return 0;
    return test.started + apr_time_from_sec(stm_config.config_test_timeout);
}

void stm_config_test_cancel(void)
{
    if (test.pid)
        end_group(SIGKILL);
    test.again = false;
    test.outcome = STM_TEST_NONE;
}

void stm_config_test_in_vp(void)
{
    test.pid = 0;
    close_files();
}

/* --- in the copy --- */

/* What the master has put into the environment; false: this is not the copy. */
static bool read_variable(long *answer, long *handover, long *sockets)
{
    const char *value = getenv(VARIABLE);
    char *rest;

    if (!value || ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_NORMAL)
        return false;
    *answer = strtol(value, &rest, 10);
    *handover = strtol(rest, &rest, 10);
    *sockets = *rest ? strtol(rest, NULL, 10) : -1;
    return true;
}

void stm_config_test_prepare(apr_pool_t *process_pool)
{
    long answer, handover, sockets;

    if (read_variable(&answer, &handover, &sockets) && sockets >= 0)
        stm_rehearsal_know_sockets((int)sockets, process_pool);
}

int stm_config_test_check(server_rec *s)
{
    long answer, handover, sockets;

    if (!read_variable(&answer, &handover, &sockets) || handover == STM_HANDOVER)
        return OK;
    ap_log_error(APLOG_MARK, APLOG_CRIT | stm.startup, 0, stm.startup ? NULL : s,
                 STMNO(0050) "the module was upgraded to a build that cannot take over the running "
                             "server: restart needed (stop and start it)");
    return HTTP_INTERNAL_SERVER_ERROR;
}

void stm_config_test_answer(apr_pool_t *pconf, server_rec *s)
{
    static const char says[] = {[STM_REHEARSED_WELL] = CONTENT,
                                [STM_REHEARSED_BADLY] = FAILED,
                                [STM_REHEARSED_NOT] = UNTRIED};
    long answer, handover, sockets;

    if (!read_variable(&answer, &handover, &sockets))
        return;
    if (write((int)answer, &says[stm_rehearse(pconf, s)], 1) != 1)
        exit(1);
}
