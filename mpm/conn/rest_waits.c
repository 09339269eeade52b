/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack of a state thread that waits for long within mod_proxy, for a backend or in a tunnel,
 * rests (st/rest.c) until the thread goes on. Which ones may, and why nobody notices:
 * docs/internals/memory.md.
 */
#include <string.h>

#include <httpd.h>

#include "mpm/conn/waits.h"
#include "mpm/scoreboard/scoreboard.h"

enum {
    LONG = 2000000, /* us of waiting after which a thread rests */
    A_ROW = 500,    /* us for which threads are packed in a row */
    PAUSE = 2000,   /* us until the next row */
};

static struct {
    stm_wait_queue_t queue;
    st_watch_t timer;
    bool armed;
} rest;

static void arm(st_utime_t now)
{
    st_utime_t due;

    if (rest.armed || !rest.queue.oldest)
        return;
    due = rest.queue.oldest->due;
    rest.armed = st_watch_arm(&rest.timer, 0, due > now + PAUSE ? due - now : PAUSE) == 0;
}

/* Whether the request is mod_proxy's, on a connection that speaks HTTP/1.1, and all modules are
 * known: then no other thread reads or writes what it has on its stack while it waits for a
 * descriptor. Of other handlers, and of HTTP/2, we do not know that. */
static bool may_rest(const stm_busy_t *busy)
{
    const request_rec *r = busy->r;

    if (!r || !busy->c || busy->stream || r->connection != busy->c || busy->c->master ||
        busy->wait->kind != ST_WAIT_FD || !stm_modules_are_known())
        return false;
    while (r->next) /* internal redirects */
        r = r->next;
    return r->proxyreq != PROXYREQ_NONE && r->filename &&
           strncmp(r->filename, "proxy:", sizeof("proxy:") - 1) == 0 && stm_speaks_http1(busy->c);
}

static void put_to_rest(stm_busy_t *busy)
{
    if (!st_thread_rest(busy->thread))
        return;
    busy->rests = true;
    STM_SCORE_INC(stm_score, waits_resting);
    STM_SCORE_INC(stm_score, wait_rests);
}

static void on_time(st_watch_t *timer, int ready)
{
    st_utime_t now = st_utime_last_clock(), end = st_utime() + A_ROW;
    stm_busy_t *busy;
    int error = errno;

    (void)timer;
    (void)ready;
    rest.armed = false;
    while ((busy = rest.queue.oldest) && busy->due <= now && st_utime() < end) {
        stm_wait_dequeue(busy);
        put_to_rest(busy);
    }
    arm(now);
    errno = error;
}

void stm_waits_rest_open(void)
{
    st_watch_init(&rest.timer, -1, 0, on_time);
}

void stm_wait_rest_later(stm_busy_t *busy)
{
    st_utime_t now = st_utime_last_clock();

    if (!may_rest(busy))
        return;
    stm_wait_enqueue(&rest.queue, busy, now + LONG);
    arm(now);
}

void stm_wait_rested(stm_busy_t *busy)
{
    if (!busy->rests)
        return;
    busy->rests = false;
    STM_SCORE_ADD(stm_score, waits_resting, -1);
}
