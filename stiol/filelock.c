/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks on files: flock(), fcntl(F_SETLKW, F_OFD_SETLKW) and lockf(). Tried without waiting, then
 * waited for in line; the first in line tries at intervals, because other processes release locks
 * without telling us. A lock owned by the process (F_SETLKW) that takes longer is really waited
 * for, on a kernel thread: only then can the kernel detect that two processes wait for each other.
 */
#include "stiol/fd.h"
#include "stiol/file.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

enum { PATIENCE = 50000 }; /* us of tries before a lock is really waited for */

typedef struct lock_args {
    int fd, command;
    struct flock *lock;
} lock_args_t;

/* Even finding out whether the lock is free may take a server. */
static long run_flock(const long *args)
{
    return flock((int)args[0], (int)args[1]);
}

static long run_fcntl(const long *args)
{
    return fcntl((int)args[0], (int)args[1], args[2]);
}

static int attempt_flock(void *arg)
{
    const lock_args_t *args = arg;

    const long raw[] = {args->fd, args->command};

    if (stiol__on_fd(stiol__here(), args->fd, run_flock, raw) == 0)
        return 1;
    return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

static int attempt_fcntl(void *arg)
{
    const lock_args_t *args = arg;

    const long raw[] = {args->fd, args->command, (long)args->lock};

    if (stiol__on_fd(stiol__here(), args->fd, run_fcntl, raw) == 0)
        return 1;
    return errno == EAGAIN || errno == EACCES || errno == EINTR ? 0 : -1;
}

static int lock_or_wait(stiol__vp_t *vp, int (*attempt)(void *), lock_args_t *args)
{
    int had = attempt(args);

    if (had != 0)
        return had > 0 ? 0 : -1;
    STIOL_PARKS(vp, filelock);
    return stiol__probe(vp, STIOL_KEY_FILE(args->fd), attempt, args, STIOL_NEVER);
}

/* --- in earnest --- */

enum { WAITING, DONE, ABANDONED };

/* Owned by the kernel thread and the waiter; the last to finish frees it. */
typedef struct earnest {
    int fd, error;
    struct flock lock;
    st_remote_t remote;
    st_vp_t vp;
    st_thread_t thread;
    bool done; /* the VP's */
    _Atomic int state;
} earnest_t;

/* Runs on the VP, in its scheduler. */
static void answered(st_remote_t *remote)
{
    earnest_t *ask = (earnest_t *)((char *)remote - offsetof(earnest_t, remote));

    ask->done = true;
    st_thread_unpark(ask->thread);
}

static void *ask_in_earnest(void *arg)
{
    earnest_t *ask = arg;
    int waiting = WAITING;

    ask->error = fcntl(ask->fd, F_SETLKW, &ask->lock) == 0 ? 0 : errno;
    if (atomic_compare_exchange_strong(&ask->state, &waiting, DONE))
        st_vp_post(ask->vp, &ask->remote);
    else
        free(ask);
    return NULL;
}

/* Waits for the answer; -1 with EINTR if the VP ends first. Then the process ends, too, and with it
 * the lock, should it still be acquired. */
static int await_answer(stiol__vp_t *vp, earnest_t *ask)
{
    st_wait_t wait = {.kind = ST_WAIT_FILELOCK, .number = ask->fd};
    bool interrupted = false;
    int waiting = WAITING;

    st_wait_begin(&wait);
    while (!ask->done) {
        if (st_thread_park(STIOL_NEVER) == 0)
            continue;
        interrupted = true;
        if (vp->ending && atomic_compare_exchange_strong(&ask->state, &waiting, ABANDONED)) {
            st_wait_end(&wait);
            errno = EINTR;
            return stiol__failed(vp);
        }
    }
    st_wait_end(&wait);
    if (interrupted)
        st_thread_interrupt(ask->thread); /* not for this wait: pass it on to the next one */
    errno = ask->error;
    free(ask);
    return errno == 0 ? 0 : -1;
}

/* Like fcntl(F_SETLKW); *asked says whether the kernel was asked. */
static int lock_in_earnest(stiol__vp_t *vp, const lock_args_t *args, bool *asked)
{
    earnest_t *ask = malloc(sizeof(*ask));
    int error = errno, rc;

    *asked = false;
    if (!ask)
        return -1;
    *ask = (earnest_t){.fd = args->fd,
                       .lock = *args->lock,
                       .remote = {.fn = answered},
                       .vp = vp->vp,
                       .thread = st_thread_self()};
    if (stiol__kernel_thread(ask_in_earnest, ask, STIOL_ASIDE_STACK) != 0) {
        free(ask);
        return -1;
    }
    *asked = true;
    vp->counters.filelock.helped++;
    rc = await_answer(vp, ask);
    if (rc == 0)
        errno = error;
    return rc;
}

/* For PATIENCE, the lock is tried at intervals, like any other; then a kernel thread waits. */
static int wait_for_process_lock(stiol__vp_t *vp, lock_args_t *args)
{
    int error = errno, rc;
    bool asked;

    rc = stiol__probe(vp, STIOL_KEY_FILE(args->fd), attempt_fcntl, args, stiol__deadline(PATIENCE));
    if (rc == 0 || errno != ETIMEDOUT)
        return rc;
    errno = error;
    rc = lock_in_earnest(vp, args, &asked);
    if (asked)
        return rc;
    return stiol__probe(vp, STIOL_KEY_FILE(args->fd), attempt_fcntl, args, STIOL_NEVER);
}

/* A lock owned by the process. */
static int lock_process_or_wait(stiol__vp_t *vp, lock_args_t *args)
{
    st_wait_t wait = {.kind = ST_WAIT_FILELOCK, .number = args->fd};
    int had = attempt_fcntl(args), rc;

    if (had != 0)
        return had > 0 ? 0 : -1;
    STIOL_PARKS(vp, filelock);
    st_wait_begin(&wait);
    rc = wait_for_process_lock(vp, args);
    st_wait_end(&wait);
    return rc;
}

/* --- the calls --- */

int stiol__flock(int fd, int operation)
{
    stiol__vp_t *vp = STIOL_ENTER(filelock, flock, fd);
    lock_args_t args = {.fd = fd, .command = operation | LOCK_NB};
    int rc;

    if (vp && (operation & (LOCK_NB | LOCK_UN)) == 0)
        return lock_or_wait(vp, attempt_flock, &args);
    rc = (int)stiol__on_fd(vp, fd, run_flock, (const long[]){fd, operation});
    if (rc == 0 && (operation & LOCK_UN) != 0)
        stiol__lot_notify(STIOL_KEY_FILE(fd), true);
    return rc;
}

/** fcntl() with one of the locking commands. */
int stiol__filelock_fcntl(stiol__vp_t *vp, int fd, int command, struct flock *lock)
{
    bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
    lock_args_t args = {
        .fd = fd, .command = command == F_SETLKW ? F_SETLK : F_OFD_SETLK, .lock = lock};
    int rc;

    if (waits && lock->l_type != F_UNLCK)
        return command == F_SETLKW ? lock_process_or_wait(vp, &args)
                                   : lock_or_wait(vp, attempt_fcntl, &args);
    rc = (int)stiol__on_fd(vp, fd, run_fcntl, (const long[]){fd, command, (long)lock});
    if (rc == 0 && lock->l_type == F_UNLCK)
        stiol__lot_notify(STIOL_KEY_FILE(fd), true);
    return rc;
}

static int do_lockf(stiol__vp_t *vp, int fd, int command, off_t length)
{
    struct flock lock = {
        .l_type = command == F_ULOCK ? F_UNLCK : F_WRLCK, .l_whence = SEEK_CUR, .l_len = length};

    if (command == F_TEST)
        return lockf(fd, command, length);
    return stiol__filelock_fcntl(vp, fd, command == F_LOCK ? F_SETLKW : F_SETLK, &lock);
}

int stiol__lockf(int fd, int command, off_t length)
{
    stiol__vp_t *vp = STIOL_ENTER(filelock, lockf, fd);

    return !vp ? lockf(fd, command, length) : do_lockf(vp, fd, command, length);
}

int stiol__lockf64(int fd, int command, off64_t length)
{
    stiol__vp_t *vp = STIOL_ENTER(filelock, lockf64, fd);

    return !vp ? lockf64(fd, command, length) : do_lockf(vp, fd, command, length);
}
