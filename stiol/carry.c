/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a state thread's function on a kernel thread (a carrier) while the state thread stays
 * parked: the carrier is that thread for as long as it takes. Its thread-local variables, keys,
 * settings, locks and identity move there and come back. The MPM calls stiol_carry(); carriers.c
 * has the threads. See docs/internals/kernel-threads.md.
 */
#include "stiol/thread.h"
#include "stiol/carry.h"
#include "stiol/stiol_int.h"

__thread stiol__carriage_t *stiol__carriage;

/* --- on the VP --- */

/* Takes what the calling thread has in place, and leaves what a new thread would have, so that
 * there is nothing to copy while it is parked. */
static int pack(stiol__vp_t *vp, stiol__load_t *load)
{
    if (!vp->tls)
        return 0;
    if (stiol__tls_save(vp, &load->contents) != 0)
        return -1;
    load->places = stiol__places_of(vp->tls);
    if (!load->places) {
        stiol__tls_load(vp, load->contents);
        stiol__tls_free(load->contents);
        return -1;
    }
    load->usual_stack = *stiol__settings_stack(vp->tls);
    stiol__tls_load(vp, NULL);
    return 0;
}

static void unpack(stiol__vp_t *vp, stiol__load_t *load)
{
    if (!vp->tls)
        return;
    stiol__tls_put(vp->tls, load->contents);
    stiol__settings_move(vp->tls, &load->usual_stack);
    stiol__tls_move(vp->tls, load->places, load->self);
    stiol__tls_free(load->contents);
    free(load->places);
}

/* Runs on the VP, in its scheduler. */
static void job_done(st_remote_t *remote)
{
    stiol__load_t *load = (stiol__load_t *)((char *)remote - offsetof(stiol__load_t, remote));

    load->done = true;
    st_thread_unpark(load->thread);
}

/* Parks until the function is done. False: the VP is ending, and it has not begun. */
static bool await(stiol__vp_t *vp, stiol__load_t *load)
{
    st_wait_t wait = {.kind = ST_WAIT_KERNEL, .number = -1};
    bool interrupted = false, begun = true;

    st_wait_begin(&wait);
    while (begun && !load->done)
        if (st_thread_park(STIOL_NEVER) != 0) {
            interrupted = true;
            if (vp->ending && stiol__carriers_take_back(vp, load))
                begun = false;
        }
    st_wait_end(&wait);
    if (interrupted)
        st_thread_interrupt(load->thread); /* left for its next wait: nobody can end this one */
    return begun;
}

int stiol_carry(void (*function)(void *data), void *data)
{
    stiol__vp_t *vp = stiol__here();
    stiol__thread_t *self = vp ? stiol__self(vp) : NULL;
    stiol__load_t load = {.remote = {.fn = job_done}, .function = function, .data = data};
    int error = errno, failure = 0;

    if (!self || self->primordial || vp->config.max_carriers <= 0) {
        errno = EPERM;
        return -1;
    }
    load.self = self;
    load.vp = vp->vp;
    load.thread = self->thread;
    load.error = error;
    if (pack(vp, &load) != 0) {
        errno = ENOMEM;
        return -1;
    }
    stiol_has_carried = true;
    stiol__locks_leave(vp, &load);
    STIOL_PARKS(vp, thread);
    if (stiol__carriers_hand_in(vp, &load) != 0)
        failure = EAGAIN;
    else if (!await(vp, &load))
        failure = ECANCELED;
    unpack(vp, &load);
    stiol__locks_return(vp, &load);
    if (load.exited)
        stiol__pthread_exit(self->result);
    errno = failure != 0 ? failure : load.error;
    return failure != 0 ? -1 : 0;
}

/* --- on the carrier --- */

static void arrive(stiol__carriage_t *carriage, stiol__load_t *load)
{
    stiol__thread_t *self = load->self;

    carriage->self = self;
    atomic_store(&self->carrier, carriage->id);
    atomic_store(&self->carrier_tid, carriage->tid);
    stiol__carriage = carriage;
    stiol__locks_arrive(carriage, load);
    if (!load->places)
        return;
    stiol__tls_put(carriage->tls, load->contents);
    stiol__settings_move(carriage->tls, &load->usual_stack);
    stiol__tls_move(carriage->tls, load->places, self);
    stiol__tls_free(load->contents);
    free(load->places);
}

static void depart(stiol__carriage_t *carriage, stiol__load_t *load)
{
    stiol__thread_t *self = load->self;

    if (load->places) {
        stiol__tls_t *tls = carriage->tls;

        stiol__tls_keep_all(tls, &load->contents, &load->places);
        load->usual_stack = *stiol__settings_stack(tls);
        stiol__tls_put(tls, NULL);
    }
    stiol__locks_depart(carriage, load);
    stiol__carriage = NULL;
    atomic_store(&self->carrier_tid, 0);
    atomic_store(&self->carrier, (pthread_t)0);
    carriage->self = NULL;
}

void stiol__carry_out(stiol__carriage_t *carriage, stiol__load_t *load)
{
    arrive(carriage, load);
    errno = load->error;
    if (sigsetjmp(carriage->exit, 0) == 0)
        load->function(load->data);
    else
        load->exited = true; /* pthread_exit() */
    load->error = errno;
    depart(carriage, load);
}

/** The thread has been unwound: the carrier continues without it. */
void stiol__carriage_left(void)
{
    siglongjmp(stiol__carriage->exit, 1);
}

bool stiol_has_carried;

bool stiol_carries_here(void)
{
    return stiol__carriage;
}

/* --- calls from a carrier to its VP --- */

typedef struct errand {
    st_remote_t remote;
    void (*function)(void *data);
    void *data;
    sem_t done;
} errand_t;

static void run_errand(st_remote_t *remote)
{
    errand_t *errand = (errand_t *)((char *)remote - offsetof(errand_t, remote));

    errand->function(errand->data);
    sem_post(&errand->done);
}

void stiol_on_vp(void (*function)(void *data), void *data)
{
    errand_t errand = {.remote = {.fn = run_errand}, .function = function, .data = data};
    int error = errno;

    if (!stiol__carriage) {
        function(data);
        return;
    }
    sem_init(&errand.done, 0, 0);
    st_vp_post(stiol__carriage->self->vp->vp, &errand.remote);
    while (sem_wait(&errand.done) != 0)
        continue;
    sem_destroy(&errand.done);
    errno = error;
}
