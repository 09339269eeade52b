/* SPDX-License-Identifier: Apache-2.0 */
/*
 * system(), popen() and pclose(). glibc's start their programs without any hook (see spawn.c), and
 * wait inside libc, which would take a helper each. So these are built on posix_spawn() and
 * waitpid(), as glibc's are.
 */
#include <stdio_ext.h>

#include "stiol/fd.h"
#include "stiol/file.h"
#include "stiol/lock.h"
#include "stiol/program.h"
#include "stiol/stiol_int.h"

static int start_shell(pid_t *pid, const char *command, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attr)
{
    char *const argv[] = {(char *)"sh", (char *)"-c", (char *)"--", (char *)(uintptr_t)command,
                          NULL};

    return stiol__start_program(pid, "/bin/sh", actions, attr, argv, environ);
}

/* The status, or -1. A state thread parks; it cannot be interrupted, as the program is not. If it
 * is to be cancelled, it ends later, but with `mortal` the program ends at once. */
static int wait_for_end(stiol__vp_t *vp, pid_t pid, bool mortal)
{
    bool interrupted = false;
    int status = -1;
    pid_t rc;

    while ((rc = stiol__wait_for_child(vp, pid, &status)) < 0 && errno == EINTR) {
        interrupted = true;
        if (mortal && stiol__to_be_cancelled())
            (void)kill(pid, SIGKILL);
    }
    if (interrupted && !(mortal && stiol__to_be_cancelled()))
        st_thread_interrupt(st_thread_self()); /* not for this wait: pass it on to the next one */
    return rc == pid ? status : -1;
}

/* On a kernel thread. */
static int wait_really(pid_t pid)
{
    int status = -1, state;
    pid_t rc;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    while ((rc = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        continue;
    (void)pthread_setcancelstate(state, NULL);
    return rc == pid ? status : -1;
}

/* --- system() --- */

/* Signals from the keyboard are for the program: the process ignores them meanwhile. */
static struct {
    pthread_mutex_t lock;
    int callers;
    struct sigaction interrupt, quit; /* before the first of them started */
} deaf = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void be_deaf(posix_spawnattr_t *attr)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t defaults;

    pthread_mutex_lock(&deaf.lock);
    if (deaf.callers++ == 0) {
        (void)sigaction(SIGINT, &ignore, &deaf.interrupt);
        (void)sigaction(SIGQUIT, &ignore, &deaf.quit);
    }
    sigemptyset(&defaults);
    if (deaf.interrupt.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGINT);
    if (deaf.quit.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGQUIT);
    pthread_mutex_unlock(&deaf.lock);
    (void)posix_spawnattr_setsigdefault(attr, &defaults);
}

static void hear_again(void)
{
    pthread_mutex_lock(&deaf.lock);
    if (--deaf.callers == 0) {
        (void)sigaction(SIGINT, &deaf.interrupt, NULL);
        (void)sigaction(SIGQUIT, &deaf.quit, NULL);
    }
    pthread_mutex_unlock(&deaf.lock);
}

/* A state thread does not block SIGCHLD meanwhile: that would affect its whole VP. */
int stiol__system(const char *command)
{
    stiol__vp_t *vp = STIOL_ENTER(process, system, 0);
    posix_spawnattr_t attr;
    sigset_t child, before;
    int rc, status = 127 << 8;
    pid_t pid;

    if (!command)
        return system(NULL);
    if (posix_spawnattr_init(&attr) != 0)
        return -1;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    (void)pthread_sigmask(SIG_BLOCK, !vp ? &child : NULL, &before);
    be_deaf(&attr);
    (void)posix_spawnattr_setsigmask(&attr, &before);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    rc = start_shell(&pid, command, NULL, &attr);
    if (rc == 0)
        status = vp ? wait_for_end(vp, pid, true) : wait_really(pid);
    hear_again();
    if (!vp)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)posix_spawnattr_destroy(&attr);
    if (rc != 0)
        errno = rc;
    else if (vp)
        stiol__cancellation();
    return status;
}

/* --- popen() and pclose() --- */

typedef struct pipe_stream {
    struct pipe_stream *next;
    FILE *stream;
    int fd; /* the stream's */
    pid_t pid;
} pipe_stream_t;

static struct {
    pthread_mutex_t lock;     /* of the list; nobody yields while holding it */
    pthread_mutex_t starting; /* held by a popen() while its program starts */
    pipe_stream_t *first;
} streams = {.lock = PTHREAD_MUTEX_INITIALIZER, .starting = PTHREAD_MUTEX_INITIALIZER};

/* Called with the lock held. */
static pipe_stream_t **place_of(const FILE *stream)
{
    pipe_stream_t **place = &streams.first;

    while (*place && (*place)->stream != stream)
        place = &(*place)->next;
    return place;
}

static pipe_stream_t *take(const FILE *stream)
{
    pipe_stream_t **place, *taken;

    pthread_mutex_lock(&streams.lock);
    place = place_of(stream);
    taken = *place;
    if (taken)
        *place = taken->next;
    pthread_mutex_unlock(&streams.lock);
    return taken;
}

/* Descriptors that the programs of other pipes must not inherit. */
static int close_earlier(posix_spawn_file_actions_t *actions, int as)
{
    int rc = 0;

    pthread_mutex_lock(&streams.lock);
    for (const pipe_stream_t *other = streams.first; rc == 0 && other; other = other->next)
        if (other->fd != as)
            rc = posix_spawn_file_actions_addclose(actions, other->fd);
    pthread_mutex_unlock(&streams.lock);
    return rc;
}

/* Starts the program with `end` as its standard input or output, and without the ends of earlier
 * pipes. Returns 0, or an error number. */
static int start_with_pipe(pipe_stream_t *made, const char *command, int end, int as)
{
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return rc;
    rc = posix_spawn_file_actions_adddup2(&actions, end, as);
    if (rc == 0)
        rc = close_earlier(&actions, as);
    if (rc == 0)
        rc = start_shell(&made->pid, command, &actions, NULL);
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static void enlist(pipe_stream_t *made)
{
    pthread_mutex_lock(&streams.lock);
    made->next = streams.first;
    streams.first = made;
    pthread_mutex_unlock(&streams.lock);
}

/* Starting a program may take long. Programs are started one after the other, so that each knows
 * all earlier pipes; until this one's end is listed, it is close-on-exec. */
static int start_and_list(pipe_stream_t *made, const char *command, int end, int as, bool inherited)
{
    int rc;

    (void)stiol__pthread_mutex_lock(&streams.starting);
    rc = start_with_pipe(made, command, end, as);
    if (rc == 0) {
        enlist(made);
        if (inherited)
            (void)fcntl(made->fd, F_SETFD, 0);
    }
    (void)stiol__pthread_mutex_unlock(&streams.starting);
    return rc;
}

/* 'r' or 'w'; 0: neither or both. "e": not inherited by programs started later. */
static char direction_of(const char *mode, bool *close_on_exec)
{
    char direction = 0;

    *close_on_exec = false;
    for (; *mode != '\0'; mode++) {
        if (*mode == 'e')
            *close_on_exec = true;
        else if ((*mode == 'r' || *mode == 'w') && direction == 0)
            direction = *mode;
        else
            return 0;
    }
    return direction;
}

/* NULL with errno. */
static pipe_stream_t *new_stream(int fd, const char *mode)
{
    pipe_stream_t *made = calloc(1, sizeof(*made));

    if (!made)
        return NULL;
    made->fd = fd;
    made->stream = fdopen(fd, mode);
    if (made->stream)
        return made;
    free(made);
    return NULL;
}

FILE *stiol__popen(const char *command, const char *mode)
{
    bool close_on_exec;
    char direction = direction_of(mode, &close_on_exec);
    int own = direction == 'r' ? 0 : 1, ends[2], rc;
    pipe_stream_t *made;

    (void)STIOL_ENTER(process, popen, 0);
    if (direction == 0) {
        errno = EINVAL;
        return NULL;
    }
    if (stiol__pipe2(ends, O_CLOEXEC) != 0)
        return NULL;
    made = new_stream(ends[own], own == 0 ? "r" : "w");
    if (!made) {
        rc = errno;
        (void)close(ends[0]);
        (void)close(ends[1]);
        errno = rc;
        return NULL;
    }
    rc = start_and_list(made, command, ends[1 - own], 1 - own, !close_on_exec);
    (void)close(ends[1 - own]);
    if (rc != 0) {
        (void)fclose(made->stream);
        free(made);
        errno = rc;
        return NULL;
    }
    return made->stream;
}

typedef struct close_job {
    stiol__job_t job;
    FILE *stream;
    int (*how)(FILE *stream);
    int rc;
} close_job_t;

static void run_close(stiol__job_t *job)
{
    close_job_t *call = (close_job_t *)job;

    call->rc = call->how(call->stream);
}

/* On a helper, because the data still to be written may find the pipe full. */
static int close_elsewhere(stiol__vp_t *vp, FILE *stream, int (*how)(FILE *))
{
    close_job_t call = {.job = {.run = run_close}, .stream = stream, .how = how};

    STIOL_HELP(vp, process, STIOL_HELP_OTHER, &call.job);
    return call.rc;
}

static int end_pipe(stiol__vp_t *vp, pipe_stream_t *taken)
{
    pid_t pid = taken->pid;
    FILE *stream = taken->stream;

    free(taken);
    if (vp)
        stiol_forget_fd(fileno(stream));
    if (vp && __fpending(stream) != 0)
        (void)close_elsewhere(vp, stream, fclose);
    else
        (void)fclose(stream);
    return vp ? wait_for_end(vp, pid, false) : wait_really(pid);
}

/* The stream is about to be closed. Another state thread, whose fflush(NULL) is flushing it on a
 * helper, may have locked it: waits for that. The helper that closes the stream is not the lock's
 * owner, so the stream must no longer lock itself; the lock goes away with it. */
static void let_go(stiol__vp_t *vp, FILE *stream)
{
    if (vp && stiol__owner_find(vp, stream)) {
        stiol__flockfile(stream);
        (void)__fsetlocking(stream, FSETLOCKING_BYCALLER);
    }
    stiol__owner_forget(stream);
}

int stiol__pclose(FILE *stream)
{
    stiol__vp_t *vp = STIOL_ENTER(process, pclose, 0);
    pipe_stream_t *taken = take(stream);

    let_go(vp, stream);
    if (taken)
        return end_pipe(vp, taken);
    if (!vp)
        return pclose(stream);
    stiol_forget_fd(fileno(stream)); /* made before STIOL started */
    return close_elsewhere(vp, stream, pclose);
}

int stiol__fclose(FILE *stream)
{
    stiol__vp_t *vp = STIOL_ENTER(process, fclose, 0);
    pipe_stream_t *taken = take(stream);
    bool waits = vp && stiol__stream_waits(stream);

    let_go(vp, stream);
    if (taken)
        return end_pipe(vp, taken);
    stiol__stream_closing(stream);
    return waits ? close_elsewhere(vp, stream, fclose) : fclose(stream);
}

/** In a child after fork: another thread may have held them. */
void stiol__shell_forked(void)
{
    pthread_mutex_init(&streams.lock, NULL);
    pthread_mutex_init(&streams.starting, NULL);
    pthread_mutex_init(&deaf.lock, NULL);
}
