/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a restart the new configuration is read by a copy of httpd that only tests it. httpd
 * itself reads it after the old one is gone, and exits when it is broken; with this test, a broken
 * configuration keeps the old server running.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

#include "stm.h"

/* The arguments that this server was started with, and -t. */
static const char **test_arguments(const process_rec *process)
{
    const char **argv = apr_pcalloc(stm.pconf, sizeof(char *) * (size_t)(process->argc + 2));

    for (int i = 0; i < process->argc; i++)
        argv[i] = process->argv[i];
    argv[process->argc] = "-t";
    return argv;
}

static void exec_test(const char **argv, int output)
{
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

    if (n <= 0)
        _exit(127);
    program[n] = '\0';
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    /* The master's own pipes and sockets close on exec. */
    execv(program, (char *const *)argv);
    _exit(127);
}

/* What the test says, on one line for the log. Reads to the end: the test must not wait for us. */
static void read_output(int fd, char *text, size_t size)
{
    char chunk[512];
    size_t length = 0;
    ssize_t n;

    while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)) {
        for (ssize_t i = 0; i < n && length < size - 1; i++)
            text[length++] = chunk[i] == '\n' ? ' ' : chunk[i];
    }
    while (length > 0 && text[length - 1] == ' ')
        length--;
    text[length] = '\0';
}

static bool run_test(const char **argv, char *text, size_t size)
{
    int output[2], status = -1;
    pid_t pid;

    text[0] = '\0';
    if (pipe2(output, O_CLOEXEC) != 0)
        return true; /* no test is no failure */
    pid = fork();
    if (pid == 0)
        exec_test(argv, output[1]);
    close(output[1]);
    if (pid > 0) {
        read_output(output[0], text, size);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    close(output[0]);
    return pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 127;
}

/** Whether the configuration as it is now could be used. Says in the error log why not. */
bool stm_config_test(server_rec *s)
{
    STM_ENTER();
    char text[2048];

    if (run_test(test_arguments(s->process), text, sizeof text))
        return true;
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, s,
        "stm: the new configuration has an error; the server keeps running with the old one: %s",
        text);
    return false;
}
