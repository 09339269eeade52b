/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Semaphores, POSIX and System V: tried without waiting, then waited for in line in the parking
 * lot. A post in this process wakes the first in line; for posts by other processes, the first in
 * line checks at intervals.
 */
#include "stiol/lot.h"
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

#define OPS_MAX                                                                                    \
    64 /* of one semop() that are copied; the kernel's usual limit is 500, and APR uses 1 */

static int attempt_wait(void *arg)
{
    if (sem_trywait(arg) == 0)
        return 1;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static int wait_until(stiol__vp_t *vp, sem_t *sem, st_utime_t deadline)
{
    STIOL_PARKS(vp, sem);
    return stiol__probe(vp, (uintptr_t)sem, attempt_wait, sem, deadline);
}

int stiol__sem_wait(sem_t *sem)
{
    stiol__vp_t *vp = STIOL_ENTER(sem, sem_wait, sem);
    int had;

    if (!vp)
        return sem_wait(sem);
    had = attempt_wait(sem);
    if (had != 0)
        return had > 0 ? 0 : -1;
    return wait_until(vp, sem, STIOL_NEVER);
}

static int timed(stiol__vp_t *vp, sem_t *sem, clockid_t clock, const struct timespec *at)
{
    int had = attempt_wait(sem);

    if (had != 0)
        return had > 0 ? 0 : -1;
    if (at->tv_nsec < 0 || at->tv_nsec >= 1000000000L) {
        errno = EINVAL;
        return -1;
    }
    return wait_until(vp, sem, stiol__until(clock, at));
}

int stiol__sem_timedwait(sem_t *restrict sem, const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(sem, sem_timedwait, sem);

    return !vp ? sem_timedwait(sem, at) : timed(vp, sem, CLOCK_REALTIME, at);
}

int stiol__sem_clockwait(sem_t *restrict sem, clockid_t clock, const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(sem, sem_clockwait, sem);

    if (!vp || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))
        return sem_clockwait(sem, clock, at);
    return timed(vp, sem, clock, at);
}

int stiol__sem_post(sem_t *sem)
{
    int rc;

    (void)STIOL_ENTER(sem, sem_post, sem);
    rc = sem_post(sem);
    if (rc == 0)
        stiol__lot_notify((uintptr_t)sem, false);
    return rc;
}

/* --- System V --- */

typedef struct op_args {
    int id;
    struct sembuf *ops; /* all with IPC_NOWAIT */
    size_t count;
} op_args_t;

static int attempt_op(void *arg)
{
    const op_args_t *args = arg;

    if (semop(args->id, args->ops, args->count) == 0)
        return 1;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

typedef struct op_job {
    stiol__job_t job;
    int id, rc;
    struct sembuf *ops;
    size_t count;
    const struct timespec *timeout;
} op_job_t;

static void run_op(stiol__job_t *job)
{
    op_job_t *op = (op_job_t *)job;

    op->rc = semtimedop(op->id, op->ops, op->count, op->timeout);
}

/* The number of operations that must not wait. */
static size_t impatient(const struct sembuf *ops, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += (ops[i].sem_flg & IPC_NOWAIT) != 0;
    return n;
}

static int do_op(stiol__vp_t *vp, int id, struct sembuf *ops, size_t count,
                 const struct timespec *timeout)
{
    op_job_t job = {
        .job = {.run = run_op}, .id = id, .ops = ops, .count = count, .timeout = timeout};
    size_t now = impatient(ops, count);
    struct sembuf copy[OPS_MAX];
    op_args_t args = {id, copy, count};
    int had;

    if (now == count)
        return semtimedop(id, ops, count, timeout);
    if (now != 0 || count > OPS_MAX) { /* only the kernel can say which one has to wait */
        STIOL_PARKS(vp, sem);
        stiol__aside(vp, &vp->counters.sem.helped, &job.job);
        return job.rc;
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = ops[i];
        copy[i].sem_flg |= IPC_NOWAIT;
    }
    had = attempt_op(&args);
    if (had != 0)
        return had > 0 ? 0 : -1;
    STIOL_PARKS(vp, sem);
    if (stiol__probe(vp, STIOL_KEY_SEM(id), attempt_op, &args,
                     stiol__deadline(timeout ? stiol__timespec(timeout) : STIOL_NEVER)) == 0)
        return 0;
    if (errno == ETIMEDOUT)
        errno = EAGAIN; /* as semtimedop() reports it */
    return -1;
}

int stiol__semtimedop(int id, struct sembuf *ops, size_t count, const struct timespec *timeout)
{
    stiol__vp_t *vp = STIOL_ENTER(sem, semtimedop, id);
    int rc;

    if (!vp || (timeout && !stiol__valid(timeout)))
        rc = semtimedop(id, ops, count, timeout);
    else
        rc = do_op(vp, id, ops, count, timeout);
    if (rc == 0)
        stiol__lot_notify(STIOL_KEY_SEM(id), true); /* it may have been a release */
    return rc;
}

int stiol__semop(int id, struct sembuf *ops, size_t count)
{
    stiol__vp_t *vp = STIOL_ENTER(sem, semop, id);
    int rc = !vp ? semop(id, ops, count) : do_op(vp, id, ops, count, NULL);

    if (rc == 0)
        stiol__lot_notify(STIOL_KEY_SEM(id), true);
    return rc;
}
