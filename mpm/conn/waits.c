/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records what state threads wait for when they park: the kind, the object and the time go to the
 * thread's entry in the scoreboard with a few stores. Whatever has to be looked up (names, the
 * request's texts) follows once a wait has lasted for a while. Called by thread.c and by hooks.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mpm/conn/waits.h"
#include "mpm/scoreboard/scoreboard.h"
#include "score/sequence.h"

enum {
    LASTING = 50000,  /* us after which a wait is examined */
    COSTLY = 1000000, /* us between two costly look-ups for the same wait */
    A_ROW = 1000,     /* us for which look-ups in a row may hold up the VP */
    A_PAGE = 10000,   /* the same if a page has asked for them */
    PAUSE = 5000,     /* us until the next row of look-ups */
    /* us that a wait must have lasted for its kind to be looked up for the log */
    WORTH_A_LOOK = 1000,
};

/* An HTTP/2 stream's way to its thread; in the request's pool. */
struct stm_stream {
    stm_busy_t *busy; /* NULL: the thread has left the stream */
};

static struct {
    stm_busy_t *all;
    stm_wait_queue_t queue; /* of the waits to be examined */
    st_watch_t look;
    bool looking; /* the watch is armed */
    int key;      /* where modules' threads keep their stm_busy_t */
} waits;

/* --- the waits to be examined, in the order in which they are due --- */

void stm_wait_enqueue(stm_wait_queue_t *queue, stm_busy_t *busy, st_utime_t due)
{
    busy->due = due;
    busy->later = NULL;
    busy->earlier = queue->newest;
    *(queue->newest ? &queue->newest->later : &queue->oldest) = busy;
    queue->newest = busy;
    busy->queue = queue;
}

void stm_wait_dequeue(stm_busy_t *busy)
{
    stm_wait_queue_t *queue = busy->queue;

    if (!queue)
        return;
    *(busy->earlier ? &busy->earlier->later : &queue->oldest) = busy->later;
    *(busy->later ? &busy->later->earlier : &queue->newest) = busy->earlier;
    busy->queue = NULL;
}

static void link_wait(stm_busy_t *busy, st_utime_t now)
{
    stm_wait_enqueue(&waits.queue, busy, now + LASTING);
    if (waits.looking)
        return;
    waits.looking = true;
    st_watch_arm(&waits.look, 0, LASTING);
}

/* --- parking and resuming --- */

static stm_wait_e kind_of(const stm_busy_t *busy, const st_wait_t *wait)
{
    static const unsigned char kinds[ST_WAIT_KINDS] = {
        [ST_WAIT_OTHER] = STM_WAIT_other,     [ST_WAIT_FD] = STM_WAIT_descriptor,
        [ST_WAIT_SLEEP] = STM_WAIT_sleep,     [ST_WAIT_LOCK] = STM_WAIT_lock,
        [ST_WAIT_COND] = STM_WAIT_condition,  [ST_WAIT_FILELOCK] = STM_WAIT_file_lock,
        [ST_WAIT_DISK] = STM_WAIT_disk,       [ST_WAIT_NAME] = STM_WAIT_name,
        [ST_WAIT_PROCESS] = STM_WAIT_program, [ST_WAIT_THREAD] = STM_WAIT_thread,
        [ST_WAIT_KERNEL] = STM_WAIT_kernel,   [ST_WAIT_LOG] = STM_WAIT_syslog,
    };

    if (wait->kind == ST_WAIT_FD && wait->number == busy->fd)
        return (wait->events & POLLIN) != 0 ? STM_WAIT_client_read : STM_WAIT_client_write;
    return (stm_wait_e)kinds[wait->kind];
}

/* Whether the holder may change during the wait. */
static bool changes_hands(const stm_busy_t *busy)
{
    return busy->kind == STM_WAIT_lock || busy->kind == STM_WAIT_file_lock;
}

/* The class of the wait that has just ended. Short waits are not worth looking up the kind of a
 * descriptor. */
static stm_spent_e class_of_wait(stm_busy_t *busy, st_utime_t waited)
{
    if (busy->kind == STM_WAIT_descriptor && !busy->looked && waited >= WORTH_A_LOOK) {
        int error = errno;

        busy->kind = (unsigned char)stm_wait_kind_of_fd(busy->wait->number, busy->wait->events,
                                                        busy->fd, NULL);
        errno = error;
    }
    return stm_times_class((stm_wait_e)busy->kind);
}

static void account(stm_busy_t *busy, st_utime_t woken)
{
    st_utime_t now = st_utime(), until = woken != 0 ? woken : now;
    st_utime_t waited = stm_between(busy->parked, until);

    busy->spent[class_of_wait(busy, waited)] += waited;
    busy->spent[STM_SPENT_queue] += stm_between(until, now);
}

static void resumes(st_observer_t *observer, st_utime_t woken)
{
    stm_busy_t *busy = (stm_busy_t *)observer;
    stm_score_wait_t *cell = busy->cell;

    stm_wait_rested(busy);
    if (!busy->serving)
        return;
    if (stm_conns.times_wanted)
        account(busy, woken);
    stm_wait_dequeue(busy);
    busy->wait = NULL;
    stm_sequence_begin(&cell->sequence);
    cell->kind = STM_WAIT_running;
    cell->since = st_utime_last_clock();
    stm_sequence_end(&cell->sequence);
}

static void yields(st_observer_t *observer, st_utime_t yielded)
{
    stm_busy_t *busy = (stm_busy_t *)observer;

    busy->spent[STM_SPENT_queue] += stm_between(yielded, st_utime());
}

/* --- examining waits --- */

static void copy(char *to, const char *from, size_t size)
{
    if (!from)
        *to = '\0';
    else if (!memccpy(to, from, 0, size))
        to[size - 1] = '\0';
}

/* Copies the request's texts. Reading r is safe: its thread is parked, or is the calling one. */
static void tell_request(stm_busy_t *busy)
{
    stm_score_wait_t *cell = busy->cell;
    const request_rec *r = busy->r, *last = r;

    busy->told = true;
    while (last && last->next) /* internal redirects */
        last = last->next;
    copy(cell->client, r ? r->useragent_ip : busy->c->client_ip, sizeof(cell->client));
    copy(cell->vhost, r && r->server ? r->server->server_hostname : NULL, sizeof(cell->vhost));
    copy(cell->request, r ? r->the_request : NULL, sizeof(cell->request));
    copy(cell->handler, last ? last->handler : NULL, sizeof(cell->handler));
}

static void look_at(stm_busy_t *busy, st_utime_t now)
{
    stm_score_wait_t *cell = busy->cell;
    stm_wait_names_t names = {.kind = (stm_wait_e)busy->kind, .number = busy->wait->number};
    bool costly = !busy->looked || now - busy->looked_long >= COSTLY;

    stm_wait_name(busy->wait, busy->fd, costly, &names);
    if (costly)
        busy->looked_long = now;
    busy->kind = (unsigned char)names.kind;
    stm_sequence_begin(&cell->sequence);
    if (!busy->looked && busy->c)
        tell_request(busy);
    cell->kind = (uint64_t)names.kind;
    cell->number = (uint64_t)names.number;
    if (costly || *names.name)
        copy(cell->name, names.name, sizeof(cell->name));
    if (costly || busy->kind == STM_WAIT_lock)
        copy(cell->holder, names.holder, sizeof(cell->holder));
    stm_sequence_end(&cell->sequence);
    busy->looked = true;
    busy->looked_at = now;
}

/* A wait that consists of many short ones never stays in the list for long enough. */
static bool is_overdue(const stm_busy_t *busy, st_utime_t now)
{
    if (!busy->looked)
        return now - busy->since >= LASTING;
    return changes_hands(busy) && now - busy->looked_at >= LASTING;
}

static void parks(st_observer_t *observer, const st_wait_t *wait, st_utime_t now)
{
    stm_busy_t *busy = (stm_busy_t *)observer;
    stm_score_wait_t *cell = busy->cell;
    /* Some waits consist of many short ones; what was found out about the first still holds. */
    bool same = busy->looked && busy->since == wait->since;

    if (!busy->serving) /* its stream has been destroyed meanwhile */
        return;
    busy->wait = wait;
    busy->parked = now;
    busy->since = wait->since;
    stm_sequence_begin(&cell->sequence);
    if (!same) {
        busy->kind = (unsigned char)kind_of(busy, wait);
        busy->looked = false;
        *cell->name = *cell->holder = '\0';
    }
    cell->kind = busy->kind;
    cell->since = wait->since;
    if (!same)
        cell->number = (uint64_t)wait->number;
    cell->object = (uint64_t)(uintptr_t)wait->object;
    stm_sequence_end(&cell->sequence);
    if (is_overdue(busy, now)) {
        int error = errno;

        look_at(busy, now);
        errno = error;
    }
    if (!busy->looked || changes_hands(busy))
        link_wait(busy, now);
}

/* Examines the waits that are due: at least one, and more for up to `most` us. */
static void look_until(st_utime_t now, st_utime_t due, st_utime_t most)
{
    st_utime_t end = st_utime() + most;
    stm_busy_t *busy;
    bool first = true;

    while ((busy = waits.queue.oldest) && busy->due <= due && (first || st_utime() < end)) {
        first = false;
        stm_wait_dequeue(busy);
        look_at(busy, now);
        if (changes_hands(busy))
            link_wait(busy, now);
        else
            stm_wait_rest_later(busy);
    }
}

/* Runs at least every LASTING us while there are waits, so none is examined much later than due. */
static void on_look(st_watch_t *watch, int ready)
{
    st_utime_t now = st_utime_last_clock();
    int error = errno;

    (void)ready;
    waits.looking = true; /* keeps link_wait() from arming the watch */
    look_until(now, now, A_ROW);
    waits.looking = waits.queue.oldest;
    if (waits.queue.oldest)
        st_watch_arm(watch, 0, waits.queue.oldest->due <= now ? PAUSE : LASTING);
    errno = error;
}

void stm_waits_look_now(void)
{
    st_utime_t now = st_utime();
    int error = errno;

    look_until(now, now + LASTING - 1, A_PAGE);
    errno = error;
}

stm_busy_t *stm_busy_of(st_thread_t thread)
{
    stm_busy_t *busy = waits.all;

    while (busy && (busy->thread != thread || !busy->serving))
        busy = busy->next;
    return busy;
}

/* Runs in a signal handler. If that has interrupted a change, it does nothing. */
void stm_waits_show_running(void)
{
    st_thread_t self = st_thread_self();
    stm_busy_t *busy = self ? stm_busy_of(self) : NULL;

    if (!busy || !busy->c || busy->wait || (busy->cell->sequence & 1) != 0)
        return;
    stm_sequence_begin(&busy->cell->sequence);
    tell_request(busy);
    stm_sequence_end(&busy->cell->sequence);
}

/* --- a thread's life --- */

static void leave_stream(stm_busy_t *busy);

/* A signal handler may walk waits.all at any time, so each step must leave the list intact. */
static void enlist(stm_busy_t *busy)
{
    busy->next = waits.all;
    busy->previous = &waits.all;
    if (busy->next)
        busy->next->previous = &busy->next;
    atomic_signal_fence(memory_order_seq_cst);
    waits.all = busy;
}

static void strike_off(stm_busy_t *busy)
{
    if (busy->next)
        busy->next->previous = busy->previous;
    *busy->previous = busy->next;
    atomic_signal_fence(memory_order_seq_cst);
}

static void end_module_thread(void *data)
{
    stm_busy_free(data);
}

bool stm_waits_open(void)
{
    st_watch_init(&waits.look, -1, 0, on_look);
    stm_waits_rest_open();
    return st_key_create(&waits.key, end_module_thread) == 0;
}

stm_busy_t *stm_busy_new(void)
{
    stm_busy_t *busy = calloc(1, sizeof(*busy));

    if (!busy)
        return NULL;
    busy->observer.parks = parks;
    busy->observer.resumes = resumes;
    busy->observer.yields = stm_conns.times_wanted ? yields : NULL;
    busy->thread = st_thread_self();
    busy->fd = -1;
    busy->cell = stm_score_wait_take();
    busy->told = true; /* the entry may still have another thread's texts */
    enlist(busy);
    return busy;
}

void stm_busy_free(stm_busy_t *busy)
{
    if (!busy)
        return;
    leave_stream(busy);
    stm_busy_end(busy);
    if (busy->thread == st_thread_self())
        st_thread_observe(NULL);
    strike_off(busy);
    stm_score_wait_give(busy->cell);
    free(busy);
}

static void forget_request(stm_busy_t *busy)
{
    stm_score_wait_t *cell = busy->cell;

    busy->told = false;
    *cell->client = *cell->vhost = *cell->request = *cell->handler = '\0';
    *cell->name = *cell->holder = '\0';
}

/* The texts follow if the request takes long. */
static void begin(stm_busy_t *busy, conn_rec *c, uint64_t serial, st_utime_t began)
{
    stm_score_wait_t *cell = busy->cell;

    busy->serving = busy->fresh = true;
    busy->c = c;
    busy->looked = false;
    busy->since = 0;
    stm_sequence_begin(&cell->sequence);
    cell->busy = 1;
    cell->serial = serial;
    cell->began = began;
    cell->kind = STM_WAIT_running;
    cell->since = began;
    if (busy->told)
        forget_request(busy);
    stm_sequence_end(&cell->sequence);
}

/* When a request began that continues after its response has waited for the client. */
static st_utime_t began_before(const request_rec *r)
{
    apr_time_t age = apr_time_now() - r->request_time;
    st_utime_t now = st_utime();

    return age > 0 && (st_utime_t)age < now ? now - (st_utime_t)age : now;
}

void stm_busy_begin(stm_busy_t *busy, stm_conn_t *conn)
{
    request_rec *r = conn->c ? conn->request : NULL;
    bool goes_on = r && r->the_request;

    if (!busy)
        return;
    busy->fd = conn->fd;
    busy->r = goes_on ? r : NULL;
    begin(busy, conn->c, conn->serial, goes_on ? began_before(r) : st_utime_last_clock());
    st_thread_observe(&busy->observer);
}

void stm_busy_end(stm_busy_t *busy)
{
    if (!busy || !busy->serving)
        return;
    busy->serving = false;
    if (busy->thread == st_thread_self())
        st_thread_observe(NULL);
    stm_wait_dequeue(busy);
    busy->c = NULL;
    busy->r = NULL;
    busy->wait = NULL;
    busy->fd = -1;
    stm_sequence_begin(&busy->cell->sequence);
    busy->cell->busy = 0;
    stm_sequence_end(&busy->cell->sequence);
}

void stm_busy_request(stm_busy_t *busy)
{
    stm_score_wait_t *cell = busy->cell;

    if (busy->fresh) { /* the first request began with the connection, just now */
        busy->fresh = false;
        return;
    }
    busy->r = NULL;
    busy->looked = false;
    stm_sequence_begin(&cell->sequence);
    cell->began = st_utime_last_clock();
    if (busy->told)
        forget_request(busy);
    stm_sequence_end(&cell->sequence);
}

void stm_busy_request_read(stm_busy_t *busy, request_rec *r)
{
    busy->r = r;
}

/* --- HTTP/2 streams, on modules' threads --- */

static void leave_stream(stm_busy_t *busy)
{
    if (!busy->stream)
        return;
    if (stm_conns.times_wanted)
        stm_times_leave_stream(busy);
    busy->stream->busy = NULL;
    busy->stream = NULL;
    stm_busy_end(busy);
}

/* The stream's thread, if it still has one, need not be the caller. */
static apr_status_t stream_gone(void *data)
{
    struct stm_stream *stream = data;

    if (stream->busy)
        leave_stream(stream->busy);
    return APR_SUCCESS;
}

static stm_busy_t *busy_of_module(void)
{
    stm_busy_t *busy = st_thread_getspecific(waits.key);

    if (busy)
        return busy;
    busy = stm_busy_new();
    if (busy && st_thread_setspecific(waits.key, busy) != 0) {
        stm_busy_free(busy);
        return NULL;
    }
    return busy;
}

stm_busy_t *stm_busy_stream(request_rec *r)
{
    stm_busy_t *busy = busy_of_module();

    if (!busy)
        return NULL;
    leave_stream(busy);
    busy->stream = apr_palloc(r->pool, sizeof(*busy->stream));
    busy->stream->busy = busy;
    apr_pool_cleanup_register(r->pool, busy->stream, stream_gone, apr_pool_cleanup_null);
    begin(busy, r->connection, 0, st_utime_last_clock());
    busy->r = r;
    st_thread_observe(&busy->observer);
    return busy;
}

void stm_busy_stream_left(const request_rec *r)
{
    stm_busy_t *busy = st_thread_getspecific(waits.key);

    if (busy && busy->r == r)
        leave_stream(busy);
}

void stm_busy_connection(stm_busy_t *busy, conn_rec *c)
{
    if (!busy)
        return;
    busy->c = c;
    if (!c)
        busy->r = NULL;
}

void stm_busy_request_gone(stm_busy_t *busy, const request_rec *r)
{
    if (busy && busy->r == r)
        busy->r = NULL;
}
