/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VP's carriers: kernel threads that do work of its state threads (carry.c). They are started on
 * demand, up to a limit, and end when idle; work beyond the limit waits in line. Only the VP
 * submits work; the lock is between it and its carriers.
 */
#include "include/stm_description.h"
#include "stiol/thread.h"
#include "stiol/carry.h"
#include "stiol/stiol_int.h"

enum { IDLE_SECONDS = 10 };

struct stiol__carriers {
    pthread_mutex_t lock;
    pthread_cond_t work, left; /* work has arrived; a carrier has left */
    stiol__load_t *first, **last;
    unsigned threads, idle, busy, queued;
    unsigned there;                   /* carriers, including those about to end */
    unsigned long long carried, full; /* full: how often all max_carriers were busy */
    bool stopping;
    sigset_t mask;
    stiol_config_t config;
};

/* --- the carriers --- */

static void take(stiol__carriers_t *pool, stiol__load_t **place)
{
    stiol__load_t *load = *place;

    *place = load->next;
    if (!*place)
        pool->last = place;
    load->waiting = false;
    pool->queued--;
}

/* Called with the lock held. Returns the next load; NULL: none came for a while, or the pool is
 * stopping. */
static stiol__load_t *next_load(stiol__carriers_t *pool)
{
    struct timespec until;
    stiol__load_t *load;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    pool->idle++;
    while (!pool->first && !pool->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&pool->work, &pool->lock, &until);
    pool->idle--;
    load = pool->first;
    if (load)
        take(pool, &pool->first);
    return load;
}

static void work(stiol__carriers_t *pool, stiol__carriage_t *carriage)
{
    stiol__load_t *load;

    pthread_mutex_lock(&pool->lock);
    while ((load = next_load(pool))) {
        volatile stm_works_for_t mark;
        st_vp_t vp = load->vp;

        pool->busy++;
        pool->carried++;
        pthread_mutex_unlock(&pool->lock);
        stm_works_for_begin(&mark, load->thread);
        stiol__carry_out(carriage, load);
        stm_works_for_end(&mark);
        pthread_mutex_lock(&pool->lock);
        pool->busy--;
        st_vp_post(vp, &load->remote); /* what it submits next finds this carrier idle */
    }
    pool->threads--; /* work submitted from now on starts another one */
    pthread_mutex_unlock(&pool->lock);
}

static void *carrier_main(void *data)
{
    stiol__carriers_t *pool = data;
    stiol__carriage_t carriage = {.id = pthread_self(), .tid = gettid()};

    (void)pthread_sigmask(SIG_SETMASK, &pool->mask, NULL);
    if (pool->config.carrier_begins)
        pool->config.carrier_begins();
    carriage.tls = stiol__tls_carrier();
    work(pool, &carriage);
    stiol__tls_carrier_ends(carriage.tls);
    free(carriage.locks);
    if (pool->config.carrier_ends)
        pool->config.carrier_ends();
    pthread_mutex_lock(&pool->lock);
    pool->there--;
    pthread_cond_broadcast(&pool->left);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* --- the VP --- */

static stiol__carriers_t *open_pool(stiol__vp_t *vp)
{
    stiol__carriers_t *pool = calloc(1, sizeof(*pool));
    pthread_condattr_t attr;

    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&pool->left, NULL);
    pool->last = &pool->first;
    pool->config = vp->config;
    stiol__settings_usual_mask(vp->tls, &pool->mask);
    if (vp->config.kernel_thread)
        vp->config.kernel_thread();
    vp->carriers = pool;
    return pool;
}

static size_t stack_size(const stiol__carriers_t *pool)
{
    size_t usual = 0, wanted = (size_t)pool->config.stack_size;
    pthread_attr_t attr;

    if (pthread_getattr_default_np(&attr) == 0) {
        (void)pthread_attr_getstacksize(&attr, &usual);
        (void)pthread_attr_destroy(&attr);
    }
    return usual > wanted ? usual : wanted;
}

/* Called with the lock held. */
static int start_one(stiol__carriers_t *pool)
{
    int rc = stiol__kernel_thread(carrier_main, pool, stack_size(pool));

    if (rc == 0) {
        pool->threads++;
        pool->there++;
    }
    return rc;
}

int stiol__carriers_hand_in(stiol__vp_t *vp, stiol__load_t *load)
{
    stiol__carriers_t *pool = vp->carriers ? vp->carriers : open_pool(vp);
    bool taken;

    if (!pool)
        return -1;
    pthread_mutex_lock(&pool->lock);
    if (pool->queued >= pool->idle && pool->threads < (unsigned)vp->config.max_carriers)
        (void)start_one(pool);
    else if (pool->queued >= pool->idle)
        pool->full++;
    taken = pool->threads > 0;
    if (taken) {
        load->waiting = true;
        *pool->last = load;
        pool->last = &load->next;
        pool->queued++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return taken ? 0 : -1;
}

bool stiol__carriers_take_back(stiol__vp_t *vp, stiol__load_t *load)
{
    stiol__carriers_t *pool = vp->carriers;
    stiol__load_t **place = &pool->first;
    bool waiting;

    pthread_mutex_lock(&pool->lock);
    waiting = load->waiting;
    while (waiting && *place != load)
        place = &(*place)->next;
    if (waiting)
        take(pool, place);
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}

/** By now no state thread is waiting for any of them. */
void stiol__carriers_stop(stiol__vp_t *vp)
{
    stiol__carriers_t *pool = vp->carriers;

    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->there > 0)
        pthread_cond_wait(&pool->left, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    vp->carriers = NULL;
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->left);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void stiol_get_carriers(stiol_carriers_t *carriers)
{
    stiol__carriers_t *pool = stiol__mine() ? stiol__vp->carriers : NULL;

    *carriers = (stiol_carriers_t){0};
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    *carriers = (stiol_carriers_t){.threads = pool->threads,
                                   .busy = pool->busy,
                                   .waiting = pool->queued,
                                   .carried = pool->carried,
                                   .full = pool->full};
    pthread_mutex_unlock(&pool->lock);
}
