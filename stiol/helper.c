/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper kernel threads, for calls that wait inside libc or the kernel where nothing can be
 * rebound. They are started on demand and end when idle, so that normally the VP's kernel thread is
 * the only one. They run only libc's code: no APR pool, no module, and no signal handler. There is
 * one pool for the process; helper_line.c says whose turn it is.
 */
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

#include "include/stm_description.h"
#include "stiol/helper_line.h"

enum {
    STACK_SIZE = 512 * 1024, /* bytes; name service modules need a lot */
    IDLE_SECONDS = 5,
    RETRY = 50000, /* us between tries */
};

/* A kernel thread, known to the pool while it is idle. */
typedef struct helper {
    struct helper *next;
    pthread_cond_t wake;
    stiol__job_t *job; /* the job given to it; NULL: none yet */
    bool idle;
} helper_t;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t left; /* a helper has left */
    helper_t *idle;      /* most recently busy first, so that the others may end */
    int helpers, idlers;
    int finishing; /* helpers reporting that a job is done before looking for the next */
    bool stopping;
    unsigned long long full; /* jobs that found the limit reached */
    int error;               /* why no kernel thread was available; 0: there always was */
    stiol__line_t line;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

/* --- on a helper --- */

void stiol__help_here(stiol__job_t *job)
{
    errno = 0;
    h_errno = 0;
    job->run(job);
    job->error = errno;
    job->herror = h_errno;
}

/* Runs on the VP, in its scheduler. */
static void job_done(st_remote_t *remote)
{
    stiol__job_t *job = (stiol__job_t *)((char *)remote - offsetof(stiol__job_t, remote));
    st_thread_t thread = job->thread;

    if (job->finished) {
        job->finished(job);
        return;
    }
    job->done = true;
    st_thread_unpark(thread);
}

/* Called with the lock held. */
static void leave_idle(helper_t *self)
{
    helper_t **place = &pool.idle;

    while (*place != self)
        place = &(*place)->next;
    *place = self->next;
    self->idle = false;
    pool.idlers--;
}

/* Called with the lock held. Waits to be given a job; false: none came for a while, or the pool is
 * stopping. */
static bool idle_for_a_while(helper_t *self)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    self->next = pool.idle;
    pool.idle = self;
    self->idle = true;
    pool.idlers++;
    while (!self->job && !pool.stopping && rc != ETIMEDOUT)
        rc = pthread_cond_clockwait(&self->wake, &pool.lock, CLOCK_MONOTONIC, &until);
    if (self->idle)
        leave_idle(self);
    return self->job;
}

static bool place_jobs(void);

/* Called with the lock held, which it releases meanwhile. */
static void do_job(stiol__job_t *job)
{
    void (*release)(stiol__job_t *);
    volatile stm_works_for_t mark;
    st_vp_t vp = job->vp;

    pthread_mutex_unlock(&pool.lock);
    stm_works_for_begin(&mark, job->thread);
    stiol__help_here(job);
    stm_works_for_end(&mark);
    pthread_mutex_lock(&pool.lock);
    stiol__line_leave(&pool.line, job);
    job->state = STIOL_JOB_DONE;
    release = job->release;
    pool.finishing++;
    pthread_mutex_unlock(&pool.lock);
    if (release)
        release(job);
    else
        st_vp_post(vp, &job->remote);
    pthread_mutex_lock(&pool.lock);
    pool.finishing--;
    if (pool.stopping) /* and the next job may take forever */
        pthread_cond_broadcast(&pool.left);
}

static void *helper_main(void *arg)
{
    helper_t self = {.job = arg};

    pthread_cond_init(&self.wake, NULL);
    pthread_mutex_lock(&pool.lock);
    do {
        stiol__job_t *job = self.job;

        self.job = NULL;
        do_job(job);
        self.job = stiol__line_next(&pool.line);
        (void)place_jobs(); /* jobs that have waited for their share may run now */
    } while (self.job || idle_for_a_while(&self));
    pool.helpers--;
    pthread_cond_broadcast(&pool.left);
    pthread_mutex_unlock(&pool.lock);
    pthread_cond_destroy(&self.wake);
    return NULL;
}

/* A helper may outlive stiol_stop(), so the object whose code it runs must stay loaded. Called
 * before there are any helpers, since it takes the dynamic loader's lock, which another kernel
 * thread may hold for long. */
void stiol__stay_loaded(void)
{
    Dl_info info;

    if (dladdr((void *)&pool, &info) != 0 && info.dli_fname)
        (void)dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

/* --- jobs find helpers --- */

/* Called with the lock held. */
static bool give(stiol__job_t *job)
{
    helper_t *helper = pool.idle;

    if (!helper) {
        int rc = stiol__kernel_thread(helper_main, job, STACK_SIZE);

        if (rc != 0) {
            pool.error = rc;
            return false;
        }
        pool.helpers++;
        return true;
    }
    helper->job = job;
    leave_idle(helper);
    pthread_cond_signal(&helper->wake);
    return true;
}

/* Called with the lock held: whether a helper is idle or may be started. A caller that makes one
 * call after another must not get a new helper for each. */
static bool helper_to_be_had(void)
{
    if (pool.idle)
        return true;
    return pool.helpers < pool.line.limit && stiol__line_waiting(&pool.line) > pool.finishing;
}

/* Called with the lock held: starts as many jobs as may run now. False: for one of them no kernel
 * thread was available. */
static bool place_jobs(void)
{
    stiol__job_t *job;

    while (helper_to_be_had() && (job = stiol__line_next(&pool.line))) {
        if (!give(job)) {
            stiol__line_return(&pool.line, job);
            return false;
        }
    }
    return true;
}

static bool start(const stiol__vp_t *vp, stiol__help_class_t class, stiol__job_t *job,
                  void (*release)(stiol__job_t *job))
{
    bool taken;

    job->remote.fn = job_done;
    job->class = class;
    job->vp = vp->vp;
    job->release = release;
    pthread_mutex_lock(&pool.lock);
    pool.line.limit = vp->config.max_helpers;
    taken = stiol__line_enter(&pool.line, job);
    if (taken) {
        bool placed = place_jobs();

        if (placed && job->state == STIOL_JOB_WAITS && class != STIOL_HELP_LOG &&
            pool.finishing == 0)
            pool.full++;
        taken = pool.helpers > 0;
        if (!taken)
            stiol__line_cancel(&pool.line, job);
    }
    pthread_mutex_unlock(&pool.lock);
    return taken;
}

bool stiol__help_start(stiol__vp_t *vp, stiol__help_class_t class, stiol__job_t *job)
{
    return start(vp, class, job, NULL);
}

bool stiol__help_send_off(stiol__vp_t *vp, stiol__help_class_t class, stiol__job_t *job,
                          void (*release)(stiol__job_t *job))
{
    return start(vp, class, job, release);
}

bool stiol__help_abandon(stiol__job_t *job, void (*release)(stiol__job_t *job))
{
    bool waits, done;

    pthread_mutex_lock(&pool.lock);
    waits = job->state == STIOL_JOB_WAITS;
    done = job->state == STIOL_JOB_DONE;
    if (waits)
        stiol__line_cancel(&pool.line, job);
    else if (!done)
        job->release = release;
    pthread_mutex_unlock(&pool.lock);
    if (waits)
        release(job);
    return !done;
}

/* A job waits although more helpers could run, since no kernel thread was available. */
void stiol__help_try_again(void)
{
    pthread_mutex_lock(&pool.lock);
    (void)place_jobs();
    pthread_mutex_unlock(&pool.lock);
}

bool stiol__help_crowded(stiol__help_class_t class)
{
    bool crowded;

    pthread_mutex_lock(&pool.lock);
    crowded = pool.line.limit != 0 && stiol__line_crowded(&pool.line, class);
    pthread_mutex_unlock(&pool.lock);
    return crowded;
}

bool stiol__help_start_patiently(stiol__vp_t *vp, stiol__help_class_t class, stiol__job_t *job,
                                 bool *interrupted)
{
    st_utime_t deadline = stiol__deadline(STIOL_JOB_PATIENCE);

    while (!stiol__help_start(vp, class, job)) {
        if (stiol__left(deadline) == 0)
            return false;
        if (st_usleep(RETRY) != 0)
            *interrupted = true;
    }
    return true;
}

st_wait_t stiol__help_wait(stiol__help_class_t class, const stiol__job_t *job)
{
    static const st_wait_kind_t kinds[STIOL_HELP_CLASSES] = {
        [STIOL_HELP_RESOLVE] = ST_WAIT_NAME,
        [STIOL_HELP_FILE] = ST_WAIT_DISK,
        [STIOL_HELP_OTHER] = ST_WAIT_OTHER,
        [STIOL_HELP_LOG] = ST_WAIT_LOG,
    };

    return (st_wait_t){.kind = kinds[class], .number = -1, .name = job->about};
}

void stiol__help(stiol__vp_t *vp, stiol__help_class_t class, stiol__job_t *job)
{
    st_wait_t wait = stiol__help_wait(class, job);
    bool interrupted = false;
    int error = errno;

    job->finished = NULL;
    job->thread = st_thread_self();
    job->done = false;
    st_wait_begin(&wait);
    if (stiol__help_start_patiently(vp, class, job, &interrupted)) {
        while (!job->done)
            if (st_thread_park(STIOL_JOB_PATIENCE) == 0)
                continue;
            else if (errno == ETIME)
                stiol__help_try_again();
            else
                interrupted = true;
    } else {
        stiol__help_here(job); /* better late than never */
    }
    st_wait_end(&wait);
    if (interrupted)
        st_thread_interrupt(job->thread); /* the job cannot be ended: pass it on to the next wait */
    errno = job->error != 0 ? job->error : error;
    if (job->herror != 0)
        h_errno = job->herror;
}

void stiol_get_helpers(stiol_helpers_t *helpers)
{
    pthread_mutex_lock(&pool.lock);
    *helpers = (stiol_helpers_t){
        .threads = pool.helpers,
        .busy = pool.line.all_running,
        .peak = pool.line.peak,
        .names_waiting = pool.line.waiting[STIOL_HELP_RESOLVE],
        .files_waiting = pool.line.waiting[STIOL_HELP_FILE],
        .others_waiting = pool.line.waiting[STIOL_HELP_OTHER],
        .lines_waiting = pool.line.waiting[STIOL_HELP_LOG],
        .full = pool.full,
        .error = pool.error,
    };
    pthread_mutex_unlock(&pool.lock);
}

/* --- the end --- */

void stiol__helpers_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.stopping = true;
    for (helper_t *helper = pool.idle; helper; helper = helper->next)
        pthread_cond_signal(&helper->wake);
    while (pool.idlers + pool.finishing > 0)
        pthread_cond_wait(&pool.left, &pool.lock);
    pool.stopping = false;
    pthread_mutex_unlock(&pool.lock);
}

/* They are the parent's. */
void stiol__helpers_forked(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.left, NULL);
    pool.idle = NULL;
    pool.helpers = pool.idlers = pool.finishing = 0;
    stiol__line_forked(&pool.line);
}
