/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel threads for one call each: for calls that can neither be tried nor watched, and that may
 * wait for each other, so that no limit on their number would be right. They run only the C
 * library's code, with all signals blocked except those of faults. Used by barrier.c,
 * sem.c and filelock.c; the helpers are started here, too.
 */
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

/* If blocked, they would end the process without its handlers, which take care of the core. */
static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};

int stiol__kernel_thread(void *(*main)(void *), void *arg, size_t stack_size)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t id;
    int rc;

    sigfillset(&all);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        sigdelset(&all, faults[i]);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, stack_size);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&id, &attr, main, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

/* Runs on the VP, in its scheduler. */
static void job_done(st_remote_t *remote)
{
    stiol__job_t *job = (stiol__job_t *)((char *)remote - offsetof(stiol__job_t, remote));

    job->done = true;
    st_thread_unpark(job->thread);
}

static void run(stiol__job_t *job)
{
    errno = 0;
    job->run(job);
    job->error = errno;
}

static void *aside_main(void *arg)
{
    stiol__job_t *job = arg;
    st_vp_t vp = job->vp;

    run(job);
    st_vp_post(vp, &job->remote);
    return NULL;
}

enum { RETRY = 50000 }; /* us between tries while no kernel thread is available */

void stiol__aside(stiol__vp_t *vp, unsigned long long *helped, stiol__job_t *job)
{
    st_wait_t wait = {
        .kind = ST_WAIT_LOCK, .number = -1, .object = job, .name = "semaphore or barrier"};
    bool interrupted = false;
    int error = errno;

    st_wait_begin(&wait);
    job->remote.fn = job_done;
    job->vp = vp->vp;
    job->thread = st_thread_self();
    job->done = false;
    while (stiol__kernel_thread(aside_main, job, STIOL_ASIDE_STACK) != 0)
        if (st_usleep(RETRY) != 0)
            interrupted = true;
    ++*helped;
    while (!job->done)
        if (st_thread_park(STIOL_NEVER) != 0)
            interrupted = true;
    st_wait_end(&wait);
    if (interrupted)
        st_thread_interrupt(job->thread); /* the job cannot be ended: pass it on to the next wait */
    errno = job->error != 0 ? job->error : error;
}
