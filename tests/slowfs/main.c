// SPDX-License-Identifier: Apache-2.0
/*
 * slowfs: a file system in user space whose calls take as long as its user says, for tests and
 * measurements of waits for disks. It is in memory, writable, and starts with generated files:
 *
 *   slowfs [-f NAME:SIZE[:COUNT]]... [-t SECONDS] FOLDER
 *
 * It prints "ready" once FOLDER is mounted, then obeys commands on standard input, a line each:
 *
 *   delay KINDS MS          calls of these kinds ("read,open", "all") take that long
 *   hold KINDS [PATTERN]    they wait until released; PATTERN: only for files of such a name
 *   release KINDS           those that were held go on, later ones are not held
 *   counts KIND             prints in_flight= peak= total= held= files= (see slowfs.h)
 *   reset                   totals become 0, peaks what is in flight
 *   set OPTION VALUE        direct, keep, interruptible (0, 1), timeout (seconds); see slowfs.h
 *
 * It unmounts and ends at the end of its input, on SIGTERM, and after SECONDS (600). What waits
 * then is answered. Exit status 77: this machine lets us mount nothing, standard error says why.
 */
#include "tests/slowfs/slowfs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    EXIT_CANNOT = 77,
    BATCH = 64, /* requests taken from the kernel before answers are handled */
};

static const char usage[] = "usage: slowfs [-f NAME:SIZE[:COUNT]]... [-t SECONDS] FOLDER\n";

/* A descriptor that reports SIGTERM, SIGINT and the alarm. */
static int open_signals(unsigned seconds)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    alarm(seconds);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Takes requests until there are none. False when the file system has been unmounted. */
static bool take(struct fuse_session *session, struct fuse_buf *buffer)
{
    for (int i = 0; i < BATCH; i++) {
        int got = fuse_session_receive_buf(session, buffer);
        if (got == -EAGAIN || got == -EINTR)
            break;
        if (got <= 0)
            return false;
        fuse_session_process_buf(session, buffer);
    }
    return !fuse_session_exited(session);
}

static void serve(struct fuse_session *session, int signals)
{
    enum { KERNEL, COMMANDS, SIGNALS };
    struct pollfd ready[] = {[KERNEL] = {fuse_session_fd(session), POLLIN, 0},
                             [COMMANDS] = {STDIN_FILENO, POLLIN, 0},
                             [SIGNALS] = {signals, POLLIN, 0}};
    struct fuse_buf buffer = {.mem = NULL};
    for (;;) {
        if (poll(ready, 3, gate_turn()) < 0)
            continue;
        if (ready[SIGNALS].revents != 0)
            break;
        if (ready[KERNEL].revents != 0 && !take(session, &buffer))
            break;
        if (ready[COMMANDS].revents != 0 && !control_read())
            break;
    }
    gate_open();
    free(buffer.mem);
}

/* Whether this machine lets us mount; reports why not. */
static bool can_mount(void)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "/dev/fuse: %s\n", strerror(errno));
        return false;
    }
    close(fd);
    return true;
}

/* The mounted session, or NULL. Other users can see the files only if root mounted it. */
static struct fuse_session *mounted(const char *folder)
{
    char options[] = "fsname=slowfs,subtype=slowfs,allow_other,auto_unmount";
    if (geteuid() != 0)
        strcpy(options, "fsname=slowfs,subtype=slowfs,auto_unmount");
    char *words[] = {(char[]){"slowfs"}, (char[]){"-o"}, options, NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, words);
    struct fuse_session *session =
        fuse_session_new(&arguments, &call_table, sizeof(call_table), NULL);
    fuse_opt_free_args(&arguments);
    if (session && fuse_session_mount(session, folder) != 0) {
        fuse_session_destroy(session);
        return NULL;
    }
    return session;
}

int main(int count, char **words)
{
    unsigned seconds = 600;
    int letter;
    while ((letter = getopt(count, words, "f:t:")) != -1) {
        if (letter == 't')
            seconds = (unsigned)strtoul(optarg, NULL, 10);
        if (letter == '?' || (letter == 'f' && !tree_generate(optarg))) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind != count - 1) {
        fputs(usage, stderr);
        return 2;
    }
    umask(0);
    int signals = open_signals(seconds);
    struct fuse_session *session = can_mount() ? mounted(words[optind]) : NULL;
    if (!session)
        return EXIT_CANNOT;
    fcntl(fuse_session_fd(session), F_SETFL, O_NONBLOCK);
    puts("ready");
    fflush(stdout);
    serve(session, signals);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return 0;
}
