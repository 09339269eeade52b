/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel threads that modules and libraries create, and state threads that join them. A table has
 * those that are running; a state thread that waits for one is told of its end, so that joining
 * takes no helper. One that is not in the table (created before STIOL started, or inside libc) is
 * polled at intervals. Used by thread.c.
 */
#include <limits.h>

#include "stiol/stiol_int.h"
#include "stiol/thread.h"

enum {
    BUCKETS = 64,    /* a power of 2 */
    INTERVAL = 1000, /* us; longest between checks of one that is unknown, or nearly over */
};

/* A state thread that waits; on its stack. */
typedef struct joiner {
    st_remote_t remote;
    stiol__vp_t *vp;
    st_thread_t thread;
    bool told;    /* its remote is under way; guarded by the lock */
    bool arrived; /* it is there */
} joiner_t;

/* Freed by its own thread, as its last action. */
typedef struct kthread {
    struct kthread *next; /* in its bucket */
    pthread_t id;
    joiner_t *joiner; /* NULL: none */
    int rounds;       /* of destructors so far */
    void *(*start)(void *);
    int (*start11)(void *); /* for thrd_create(), else NULL */
    void *arg;
} kthread_t;

static struct {
    pthread_mutex_t lock; /* held for a few instructions */
    kthread_t *buckets[BUCKETS];
    pthread_once_t once;
    pthread_key_t end; /* its destructor runs when a thread ends, in any way */
    bool able;
} running = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

/* --- the table --- */

static kthread_t **place_of(pthread_t id)
{
    uint64_t hash = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15);
    kthread_t **place = &running.buckets[hash >> 58];

    while (*place && !pthread_equal((*place)->id, id))
        place = &(*place)->next;
    return place;
}

static void enter(kthread_t *self)
{
    kthread_t **place;

    self->id = pthread_self();
    pthread_mutex_lock(&running.lock);
    place = place_of(self->id);
    self->next = *place;
    *place = self;
    pthread_mutex_unlock(&running.lock);
}

/* Runs on the VP, in its scheduler. */
static void tell(st_remote_t *remote)
{
    joiner_t *joiner = (joiner_t *)((char *)remote - offsetof(joiner_t, remote));

    joiner->arrived = true;
    st_thread_unpark(joiner->thread);
}

static void leave(kthread_t *self)
{
    kthread_t **place;

    pthread_mutex_lock(&running.lock);
    place = place_of(self->id);
    if (*place == self) { /* otherwise it is a fork's copy, and nobody waits here */
        *place = self->next;
        if (self->joiner) {
            self->joiner->told = true;
            st_vp_post(self->joiner->vp->vp, &self->joiner->remote);
        }
    }
    pthread_mutex_unlock(&running.lock);
    free(self);
}

void stiol__kthreads_forked(void)
{
    pthread_mutex_init(&running.lock, NULL);
    memset(running.buckets, 0, sizeof(running.buckets)); /* the child has none of them */
}

/* --- their lives --- */

/* Other destructors of the thread may take long. This one acts in the last round of them: until
 * then it sets its value again. */
static void at_end(void *data)
{
    kthread_t *self = data;

    if (++self->rounds < PTHREAD_DESTRUCTOR_ITERATIONS &&
        pthread_setspecific(running.end, self) == 0)
        return;
    leave(self);
}

static void prepare(void)
{
    running.able = pthread_key_create(&running.end, at_end) == 0;
    stiol__stay_loaded(); /* its threads return through main_of() */
}

/* Without memory for its value nobody would be told of its end, so it is not entered. */
static void *main_of(void *data)
{
    kthread_t *self = data;
    void *(*start)(void *) = self->start;
    int (*start11)(void *) = self->start11;
    void *arg = self->arg;

    if (running.able && pthread_setspecific(running.end, self) == 0)
        enter(self);
    else
        free(self);
    return start11 ? (void *)(intptr_t)start11(arg) : start(arg);
}

int stiol__kthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                          int (*start11)(void *), void *arg)
{
    kthread_t *made;
    int rc;

    pthread_once(&running.once, prepare);
    made = calloc(1, sizeof(*made));
    if (!made)
        return EAGAIN;
    made->start = start;
    made->start11 = start11;
    made->arg = arg;
    rc = pthread_create(id, attr, main_of, made);
    if (rc != 0)
        free(made);
    return rc;
}

/* --- joining --- */

/* Whether the caller has waited long enough. */
static bool is_over(st_utime_t deadline)
{
    return stiol__left(deadline) == 0 || stiol__to_be_cancelled();
}

/* Parks until the thread has all but ended. Returns 0, also if it is unknown; ETIMEDOUT; EINVAL:
 * another thread is waiting for it. */
static int await_end(stiol__vp_t *vp, pthread_t id, st_utime_t deadline, bool *interrupted)
{
    joiner_t joiner = {.remote = {.fn = tell}, .vp = vp, .thread = st_thread_self()};
    kthread_t *kthread;
    bool told = false;
    int rc = 0;

    pthread_mutex_lock(&running.lock);
    kthread = *place_of(id);
    if (kthread && !kthread->joiner)
        kthread->joiner = &joiner;
    else
        rc = kthread ? EINVAL : ENOENT;
    pthread_mutex_unlock(&running.lock);
    if (rc != 0)
        return rc == ENOENT ? 0 : rc;
    while (!joiner.arrived) {
        if (st_thread_park(told ? STIOL_NEVER : stiol__left(deadline)) == 0)
            continue;
        if (errno == EINTR)
            *interrupted = true;
        if (is_over(deadline)) {
            pthread_mutex_lock(&running.lock);
            told = joiner.told;
            if (!told) /* otherwise it is under way, and the thread has ended */
                kthread->joiner = NULL;
            pthread_mutex_unlock(&running.lock);
            if (!told)
                return ETIMEDOUT;
        }
    }
    return 0;
}

static bool is_detached(pthread_t id)
{
    int state = PTHREAD_CREATE_JOINABLE;
    pthread_attr_t attr;

    if (pthread_getattr_np(id, &attr) != 0)
        return false;
    (void)pthread_attr_getdetachstate(&attr, &state);
    (void)pthread_attr_destroy(&attr);
    return state == PTHREAD_CREATE_DETACHED;
}

/* glibc's own join would wait: a thread that has announced its end has a few instructions left to
 * run. The VP must not wait for that, so it tries instead. */
static int ask_until(stiol__vp_t *vp, pthread_t id, void **result, st_utime_t deadline,
                     bool *interrupted)
{
    stiol__backoff_t backoff = {0};
    int rc;

    while ((rc = pthread_tryjoin_np(id, result)) == EBUSY) {
        st_utime_t interval, left = stiol__left(deadline);

        if (is_over(deadline))
            return ETIMEDOUT;
        rc = await_end(vp, id, deadline, interrupted);
        if (rc != 0)
            return rc;
        interval = stiol__interval(&backoff, INTERVAL);
        if (interval == 0)
            st_thread_yield();
        else if (st_usleep(interval < left ? interval : left) != 0)
            *interrupted = true;
    }
    return rc;
}

int stiol__kthread_join(stiol__vp_t *vp, pthread_t id, void **result, st_utime_t deadline)
{
    bool interrupted = false;
    int rc, error = errno;

    if (pthread_equal(id, vp->id))
        return EDEADLK;
    rc = pthread_tryjoin_np(id, result);
    if (rc != EBUSY)
        return rc;
    if (is_detached(id))
        return EINVAL;
    STIOL_PARKS(vp, thread);
    rc = ask_until(vp, id, result, deadline, &interrupted);
    if (rc == ETIMEDOUT)
        stiol__cancellation();
    if (interrupted)
        st_thread_interrupt(st_thread_self()); /* not for this wait: pass it on to the next one */
    errno = error;
    return rc;
}
