/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start and end of STIOL on a VP, the table of calls, what is known about each state thread, and
 * the counters. The MPM calls the public functions; everything else here is for the other files.
 */
#include <limits.h>

#include "stiol/carry.h"
#include "stiol/fd.h"
#include "stiol/file.h"
#include "stiol/handler.h"
#include "stiol/layout.h"
#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/program.h"
#include "stiol/rebind.h"
#include "stiol/stiol_int.h"
#include "stiol/thread.h"
#include "stiol/tls.h"

#include "stiol/entry.h"
#include "stiol/nss.h"

enum {
    DEFAULT_HELPERS = 256,
    DEFAULT_TSD_CACHE = 64,
};
#define DEFAULT_MAX_FREE (2L << 20)

#define ELSEWHERE_ANY(symbol)     NULL
#define ELSEWHERE_THREADS(symbol) NULL
#define ELSEWHERE_BOTH(symbol)    (void *)stiol__elsewhere_##symbol

stiol__call_t stiol__calls[STIOL_CALLS] = {
#define STIOL_KIND(name, help)
#define STIOL_CALL(symbol, scope, kind, version, help)                                             \
    {#symbol,                                                                                      \
     STIOL_##scope,                                                                                \
     version,                                                                                      \
     (void *)symbol,                                                                               \
     NULL,                                                                                         \
     (void *)stiol__##symbol,                                                                      \
     ELSEWHERE_##scope(symbol),                                                                    \
     NULL},
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
};

__thread stiol__vp_t *stiol__vp;

#ifdef STIOL_TESTING
unsigned stiol__off;
#endif

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static int vps;
static int key = -1; /* libst's: a state thread's stiol__thread_t */

/* --- state threads --- */

/* libst calls this when a state thread ends, or its record is removed (stiol_stop()). Destructors
 * of thread-specific data look for the record, so it stays in place while they run. */
static void thread_ended(void *data)
{
    stiol__thread_t *self = data;
    st_thread_t joiner;
    bool keep;

    if (self->ending)
        return;
    self->ending = true;
    if (self->ours)
        stiol__unlist(self);
    if (self->primordial) {
        stiol__leave_farewells(self);
    } else if (stiol__become(self) == 0) {
        stiol__tsd_end(self);
        (void)st_thread_setspecific(key, NULL);
    }
    stiol__texts_free(self);
    if (!self->primordial)
        stiol__owner_ended(self->vp);
    stiol__entries_free(self);
    joiner = self->joiner;
    keep = self->ours && !self->detached; /* for its joiner, as soon as it has ended */
    atomic_store_explicit(&self->ended, true, memory_order_release);
    if (joiner)
        st_thread_unpark(joiner);
    if (!keep)
        stiol__record_free(self);
}

static stiol__thread_t *make_self(stiol__vp_t *vp)
{
    stiol__thread_t *self = stiol__record_new();

    if (!self)
        return NULL;
    self->magic = STIOL_THREAD_MAGIC;
    self->vp = vp;
    self->thread = st_thread_self();
    self->primordial = self->thread == vp->primordial;
    if (stiol__become(self) == 0)
        return self;
    stiol__record_free(self);
    return NULL;
}

stiol__thread_t *stiol__self(stiol__vp_t *vp)
{
    stiol__thread_t *self = st_thread_getspecific(key);

    return STIOL_LIKELY(self) ? self : make_self(vp);
}

stiol__thread_t *stiol__interrupted_self(void)
{
    if (STIOL_LIKELY(!stiol__interruption.vp) || stiol__mine() || st_in_callback())
        return NULL;
    if (stiol__tls_primordial(stiol__interruption.vp)) /* the scheduler waits for events */
        return NULL;
    return st_thread_getspecific(key);
}

int stiol__become(stiol__thread_t *self)
{
    return st_thread_setspecific(key, self);
}

/* --- start and end --- */

/* Other kernel threads may have held all these locks at the fork, and the queues of waiters are the
 * parent's. */
static void forked(void)
{
    stiol__vp_t *vp = stiol__interrupted();

    stiol__identity_forked();
    stiol__kthreads_forked();
    stiol__shell_forked();
    stiol__lot_forked();
    stiol__helpers_forked();
    stiol__nss_forked();
    stiol__locals_forked();
    stiol__handlers_forked();
    if (!vp)
        return;
    stiol__vp = NULL; /* the child is not a VP: every call is the real one */
    st_after_fork_child();
}

/* Once per process. */
static int start_process(const stiol_config_t *config)
{
    static bool prepared;
    const char *misfit = stiol__misfit();

    if (misfit) {
        stiol__fail("this C library's %s does not have a layout that STIOL knows", misfit);
        return -1;
    }
    if (!prepared) {
        if (stiol__fd_start() != 0 || st_key_create(&key, thread_ended) != 0 ||
            pthread_atfork(stiol__identity_forking, NULL, forked) != 0) {
            stiol__fail("cannot start: %s", strerror(errno));
            return -1;
        }
        stiol__tsd_start();
        stiol__vfork_start();
        stiol__stay_loaded();
        prepared = true;
    }
    stiol__in_child = config->in_child;
    return stiol__rebind(config->thread_objects);
}

static stiol__vp_t *new_vp(const stiol_config_t *config)
{
    stiol__vp_t *vp = calloc(1, sizeof(*vp));

    if (!vp)
        return NULL;
    if (config)
        vp->config = *config;
    if (vp->config.max_helpers <= 0)
        vp->config.max_helpers = DEFAULT_HELPERS;
    if (vp->config.tsd_cache == 0)
        vp->config.tsd_cache = DEFAULT_TSD_CACHE;
    if (vp->config.max_free == 0)
        vp->config.max_free = DEFAULT_MAX_FREE;
    if (!vp->config.thread_objects)
        vp->config.thread_objects = stiol__default_thread_objects;
    vp->vp = st_vp_self();
    vp->current = st_vp_current(vp->vp);
    vp->tid = gettid();
    vp->id = pthread_self();
    vp->more_for = -1;
    vp->primordial = st_thread_self();
    vp->spared = ULLONG_MAX; /* never so far */
    return vp;
}

int stiol_start(const stiol_config_t *config)
{
    stiol__vp_t *vp;
    int rc = 0;

    if (!st_vp_self() || stiol__mine()) {
        stiol__fail(stiol__mine() ? "already started" : "st_init() was not called");
        return -1;
    }
    vp = new_vp(config);
    if (!vp) {
        stiol__fail("cannot start: no memory");
        return -1;
    }
    pthread_mutex_lock(&starting);
    if (vps == 0)
        rc = start_process(&vp->config);
    if (rc == 0 && (stiol__filesystems_start(vp) != 0 || stiol__tls_start(vp) != 0)) {
        stiol__fail("cannot start: no memory");
        if (vps == 0)
            stiol__restore();
        rc = -1;
    }
    if (rc == 0) {
        vps++;
        stiol__vp = vp;
        stiol__pages_start(vp);
        stiol__handlers_start();
    } else {
        stiol__filesystems_stop(vp);
        free(vp);
    }
    pthread_mutex_unlock(&starting);
    return rc;
}

void stiol_stop(void)
{
    stiol__vp_t *vp = stiol__mine();
    stiol__thread_t *self;

    if (!vp)
        return;
    stiol__tsd_stop(vp);
    self = st_thread_getspecific(key);
    if (self)
        (void)st_thread_setspecific(key, NULL); /* which ends it */
    stiol__tls_stop(vp);
    pthread_mutex_lock(&starting);
    stiol__handlers_vp_ends(vp);
    stiol__carriers_stop(vp);
    if (--vps == 0) {
        stiol__handlers_stop();
        stiol__restore();
        stiol__helpers_stop();
        stiol__records_stop();
    }
    stiol__pages_stop(vp);
    pthread_mutex_unlock(&starting);
    stiol__vp = NULL;
    stiol__filesystems_stop(vp);
    free(vp->owners);
    free(vp);
}

void stiol_end_waits(void)
{
    stiol__vp_t *vp = stiol__mine();

    if (!vp)
        return;
    vp->ending = true;
    for (const stiol__thread_t *thread = vp->threads; thread; thread = thread->next)
        if (thread->started)
            st_thread_interrupt(thread->thread);
}

void stiol_expect_end(void)
{
    if (stiol__mine())
        stiol__vp->ending = true;
}

void stiol_get_counters(stiol_counters_t *counters)
{
    if (stiol__mine())
        *counters = stiol__vp->counters;
    else
        memset(counters, 0, sizeof(*counters));
}

void stiol_forget_fd(int osfd)
{
    stiol__fd_set_class(osfd, STIOL_FD_UNKNOWN);
    if (stiol__mine())
        st_fd_forget(osfd);
}

void stiol_note_nonblocking(int osfd)
{
    stiol__fd_set_class(osfd, STIOL_FD_NONBLOCKING);
}

int stiol_pass_accepted(const stiol_connection_t *connection)
{
    stiol__vp_t *vp = stiol__here();
    stiol__thread_t *self = vp ? stiol__self(vp) : NULL;

    if (!self)
        return -1;
    self->accepted = connection;
    return 0;
}

void stiol_expect_more(int osfd)
{
    if (stiol__mine())
        stiol__vp->more_for = osfd;
}
