/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread_barrier_wait(): the only operation on a barrier is to wait, so each state thread has a
 * kernel thread wait in its place. That counts like any other, wherever the rest come from: this
 * VP, other kernel threads, or other processes.
 */
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

typedef struct barrier_job {
    stiol__job_t job;
    pthread_barrier_t *barrier;
    int rc;
} barrier_job_t;

static void run_wait(stiol__job_t *job)
{
    barrier_job_t *wait = (barrier_job_t *)job;

    wait->rc = pthread_barrier_wait(wait->barrier);
}

int stiol__pthread_barrier_wait(pthread_barrier_t *barrier)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, pthread_barrier_wait, barrier);
    barrier_job_t wait = {.job = {.run = run_wait}, .barrier = barrier};

    if (!vp)
        return pthread_barrier_wait(barrier);
    STIOL_PARKS(vp, mutex);
    stiol__aside(vp, &vp->counters.mutex.helped, &wait.job);
    return wait.rc;
}
