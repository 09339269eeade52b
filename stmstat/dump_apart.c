/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs code that parses data which a VP could have forged in a child process that may do nothing
 * else: it has no privileges, and limits on time and memory. Only printable text comes back. Called
 * by dump.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stmstat/dump.h"

enum {
    SECONDS = 120,
    NOBODY = 65534,
    LINE = 2048,
};
#define MEMORY ((rlim_t)4 << 30) /* address space: the copies and the mapped objects */

static void limit(int what, rlim_t value)
{
    const struct rlimit both = {value, value};

    (void)setrlimit(what, &both);
}

/* The objects have already been opened. */
static void drop_privileges(void)
{
    if (geteuid() == 0) {
        /* A user namespace may have no such user; the limits apply all the same. */
        (void)setgroups(0, NULL);
        if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
            errno = 0;
    }
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void confine(void)
{
    int null = open("/dev/null", O_RDWR);

    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        (void)dup2(null, fd);
    (void)unsetenv("DEBUGINFOD_URLS"); /* libdw must not fetch anything */
    limit(RLIMIT_CPU, SECONDS);
    limit(RLIMIT_AS, MEMORY);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    drop_privileges();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* only now: changing the user would clear it */
    (void)alarm(2 * SECONDS);               /* in case it waits rather than computes */
}

static _Noreturn void be_child(void (*work)(const dump_t *, FILE *), const dump_t *dump, int fd)
{
    FILE *out;

    confine();
    out = fdopen(fd, "w");
    if (!out)
        _exit(1);
    work(dump, out);
    _exit(fflush(out) == 0 ? 0 : 1);
}

/* --- the child's output --- */

typedef struct {
    void (*put)(void *baton, const char *line);
    void *baton;
    char line[LINE];
    size_t length;
} relay_t;

static void end_line(relay_t *relay)
{
    relay->line[relay->length] = '\0';
    relay->put(relay->baton, relay->line);
    relay->length = 0;
}

static void relay_bytes(relay_t *relay, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];

        if (c == '\n')
            end_line(relay);
        else if (relay->length < sizeof(relay->line) - 1)
            relay->line[relay->length++] = (char)(c >= ' ' && c < 0x7f ? c : '?');
    }
}

static void relay_all(relay_t *relay, int fd, dump_t *dump, void (*meanwhile)(dump_t *))
{
    static char bytes[1 << 16];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ssize_t n;

    do {
        if (poll(&ready, 1, 100) == 0) {
            n = 1;
        } else {
            n = read(fd, bytes, sizeof(bytes));
            relay_bytes(relay, bytes, n > 0 ? (size_t)n : 0);
        }
        if (meanwhile)
            meanwhile(dump);
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (relay->length)
        end_line(relay);
}

bool dump_apart(void (*work)(const dump_t *dump, FILE *out), dump_t *dump,
                void (*put)(void *baton, const char *line), void *baton,
                void (*meanwhile)(dump_t *dump))
{
    relay_t relay = {.put = put, .baton = baton};
    int ends[2], status = 1;
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(work, dump, ends[1]);
    }
    close(ends[1]);
    if (child > 0)
        relay_all(&relay, ends[0], dump, meanwhile);
    close(ends[0]);
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}
