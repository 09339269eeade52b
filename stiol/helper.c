/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper kernel threads, for calls that wait inside libc where nothing can be rebound. They come on
 * demand and leave when idle, so that normally the VP's kernel thread is the only one. They run
 * libc's code alone: no APR pool, no module, and no signal handler. One pool for the process; used
 * by resolve.c, sem.c and shell.c.
 */
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

#define STACK_SIZE   (512 * 1024) /* bytes; name service modules are not modest */
#define IDLE_SECONDS 5

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, left; /* a job came; a helper left */
    stiol__job_t *first, **last;
    int helpers, idle, busy, queued;
    bool stopping;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .left = PTHREAD_COND_INITIALIZER,
          .last = &pool.first};

/* On the VP, in its scheduler. */
static void job_done(st_remote_t *remote)
{
    stiol__job_t *job = (stiol__job_t *)((char *)remote - offsetof(stiol__job_t, remote));
    st_thread_t thread = job->thread;

    job->done = true;
    st_thread_unpark(thread);
}

static void run(stiol__job_t *job)
{
    errno = 0;
    h_errno = 0;
    job->run(job);
    job->error = errno;
    job->herror = h_errno;
}

/* With the lock: the next job, or NULL: none came for a while, or the pool stops. */
static stiol__job_t *next_job(void)
{
    struct timespec until;
    stiol__job_t *job;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_SECONDS;
    pool.idle++;
    while (pool.first == NULL && !pool.stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&pool.work, &pool.lock, &until);
    pool.idle--;
    job = pool.first;
    if (job == NULL)
        return NULL;
    pool.first = job->next;
    if (pool.first == NULL)
        pool.last = &pool.first;
    pool.queued--;
    return job;
}

static void *helper_main(void *arg)
{
    stiol__job_t *job;

    (void)arg;
    pthread_mutex_lock(&pool.lock);
    while ((job = next_job()) != NULL) {
        st_vp_t vp = job->vp;

        pool.busy++;
        pthread_mutex_unlock(&pool.lock);
        run(job);
        st_vp_post(vp, &job->remote);
        pthread_mutex_lock(&pool.lock);
        pool.busy--;
    }
    pool.helpers--;
    pthread_cond_broadcast(&pool.left);
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* A helper may outlive stiol_stop(): the object whose code it runs must stay. */
void stiol__stay_loaded(void)
{
    Dl_info info;

    if (dladdr((void *)&pool, &info) != 0 && info.dli_fname != NULL)
        (void)dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

/* With the lock. */
static int add_helper(void)
{
    int rc = stiol__kernel_thread(helper_main, NULL, STACK_SIZE);

    if (rc == 0)
        pool.helpers++;
    return rc;
}

/* Whether a helper will take the job. */
static bool hand_in(stiol__job_t *job, int max_helpers)
{
    bool taken;

    pthread_mutex_lock(&pool.lock);
    if (pool.queued >= pool.idle && pool.helpers < max_helpers)
        (void)add_helper();
    taken = pool.helpers > 0;
    if (taken) {
        *pool.last = job;
        pool.last = &job->next;
        pool.queued++;
        pthread_cond_signal(&pool.work);
    }
    pthread_mutex_unlock(&pool.lock);
    return taken;
}

void stiol__help(stiol__vp_t *vp, unsigned long long *helped, stiol__job_t *job)
{
    bool interrupted = false;
    int error = errno;

    job->remote.fn = job_done;
    job->next = NULL;
    job->vp = vp->vp;
    job->thread = st_thread_self();
    job->done = false;
    if (hand_in(job, vp->config.max_helpers)) {
        ++*helped;
        while (!job->done)
            if (st_thread_park(STIOL_NEVER) != 0)
                interrupted = true;
    } else {
        run(job); /* no kernel thread to be had: late is better than never */
    }
    if (interrupted)
        st_thread_interrupt(job->thread); /* the job is not ours to end: for the next wait */
    errno = job->error != 0 ? job->error : error;
    h_errno = job->herror;
}

/* Sends the idle ones away. One that is in the middle of a job is not waited for: a name server may
 * take its time. */
void stiol__helpers_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.stopping = true;
    pthread_cond_broadcast(&pool.work);
    while (pool.helpers > pool.busy)
        pthread_cond_wait(&pool.left, &pool.lock);
    pool.stopping = false;
    pthread_mutex_unlock(&pool.lock);
}

/* In a child after fork: they are the parent's. */
void stiol__helpers_forked(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.left, NULL);
    pool.first = NULL;
    pool.last = &pool.first;
    pool.helpers = pool.idle = pool.busy = pool.queued = 0;
}
