/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks on files: flock(), fcntl(F_SETLKW, F_OFD_SETLKW) and lockf(). Tried without waiting, then
 * waited for in line; the first in line looks at intervals, because other processes release without
 * telling us.
 */
#include "stiol_int.h"

typedef struct lock_args {
    int fd, command;
    struct flock *lock;
} lock_args_t;

static int attempt_flock(void *arg)
{
    const lock_args_t *args = arg;

    if (flock(args->fd, args->command) == 0)
        return 1;
    return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

static int attempt_fcntl(void *arg)
{
    const lock_args_t *args = arg;

    if (fcntl(args->fd, args->command, args->lock) == 0)
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

int stiol__flock(int fd, int operation)
{
    stiol__vp_t *vp = STIOL_ENTER(filelock, flock, fd);
    lock_args_t args = {.fd = fd, .command = operation | LOCK_NB};
    int rc;

    if (vp != NULL && (operation & (LOCK_NB | LOCK_UN)) == 0)
        return lock_or_wait(vp, attempt_flock, &args);
    rc = flock(fd, operation);
    if (rc == 0 && (operation & LOCK_UN) != 0)
        stiol__lot_notify(STIOL_KEY_FILE(fd), true);
    return rc;
}

/** fcntl() with one of the commands that lock. */
int stiol__filelock_fcntl(stiol__vp_t *vp, int fd, int command, struct flock *lock)
{
    bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
    lock_args_t args = {
        .fd = fd, .command = command == F_SETLKW ? F_SETLK : F_OFD_SETLK, .lock = lock};
    int rc;

    if (waits && lock->l_type != F_UNLCK)
        return lock_or_wait(vp, attempt_fcntl, &args);
    rc = fcntl(fd, command, lock);
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

    return vp == NULL ? lockf(fd, command, length) : do_lockf(vp, fd, command, length);
}

int stiol__lockf64(int fd, int command, off64_t length)
{
    stiol__vp_t *vp = STIOL_ENTER(filelock, lockf64, fd);

    return vp == NULL ? lockf64(fd, command, length) : do_lockf(vp, fd, command, length);
}
