/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request's time went, as notes for LogFormat such as "%{stm:backend}n". Each state thread
 * adds up its waits (waits.c). A request adds up the differences between getting a thread and
 * giving it back, and what its connection waited for in between. None of this is done unless some
 * directive mentions a note. Called by thread.c, hooks.c and waits.c.
 */
#include <string.h>

#include "mpm/conn/waits.h"

/* A request that has not been logged yet; allocated from its pool. */
typedef struct stm_times {
    const request_rec *r;
    stm_conn_t *conn; /* NULL: an HTTP/2 stream */
    stm_busy_t *on;   /* the thread that serves it; NULL: none at the moment */
    st_utime_t began; /* us on libst's clock, as are all times here */
    st_utime_t since; /* when it last got or lost a thread */
    st_utime_t spent[STM_SPENT_COUNT];
    st_utime_t before[STM_SPENT_COUNT]; /* the thread's sums when the request got it */
    struct stm_times *next, **previous; /* in its bucket */
} stm_times_t;

/* The notes: the classes and two sums. */
enum { WAIT = STM_SPENT_COUNT, TOTAL, NOTES };
static const char *const names[NOTES] = {
    "stm:cpu",   "stm:client", "stm:backend", "stm:lock",  "stm:disk", "stm:name",  "stm:program",
    "stm:sleep", "stm:kernel", "stm:other",   "stm:queue", "stm:wait", "stm:total",
};
static bool wanted[NOTES];

/* Requests that have not been logged yet, hashed by connection or, if a stream, by request. */
enum { BUCKETS = 1024 };
static stm_times_t *buckets[BUCKETS];

/* --- which notes are wanted --- */

static void look_for_names(const char *args)
{
    for (int i = 0; i < NOTES; i++)
        if (strstr(args, names[i]))
            wanted[i] = stm_conns.times_wanted = true;
}

/* All directives are searched: formats may be anywhere, and other modules' logs have their own. */
static void look_into(const ap_directive_t *tree)
{
    for (; tree; tree = tree->next) {
        if (tree->args)
            look_for_names(tree->args);
        look_into(tree->first_child);
    }
}

void stm_times_configure(const ap_directive_t *tree)
{
    stm_conns.times_wanted = false;
    memset(wanted, 0, sizeof(wanted));
    look_into(tree);
}

stm_spent_e stm_times_class(stm_wait_e kind)
{
    static const unsigned char classes[STM_WAIT_COUNT] = {
#define STM_WAIT(name, class, words, help) [STM_WAIT_##name] = STM_SPENT_##class,
#include "score/waits.def"
    };

    return (stm_spent_e)classes[kind];
}

/* --- a request's time --- */

static void board(stm_times_t *times, stm_busy_t *busy, st_utime_t now)
{
    times->on = busy;
    times->since = now;
    memcpy(times->before, busy->spent, sizeof(times->before));
}

/* Time that the thread did not spend waiting is time that it ran. */
static void alight(stm_times_t *times, st_utime_t now)
{
    st_utime_t waited = 0;

    for (int i = 0; times->on && i < STM_SPENT_COUNT; i++) {
        st_utime_t spent = times->on->spent[i] - times->before[i];

        times->spent[i] += spent;
        waited += spent;
    }
    if (times->on)
        times->spent[STM_SPENT_cpu] += stm_between(times->since + waited, now);
    times->on = NULL;
    times->since = now;
}

static stm_times_t **bucket_of(const void *key)
{
    uint64_t hash = (uint64_t)(uintptr_t)key * UINT64_C(0x9E3779B97F4A7C15);

    return &buckets[hash >> 54];
}

static void remember(stm_times_t *times, stm_times_t **bucket)
{
    times->next = *bucket;
    times->previous = bucket;
    if (times->next)
        times->next->previous = &times->next;
    *bucket = times;
}

static apr_status_t forget(void *data)
{
    stm_times_t *times = data;

    if (!times->previous)
        return APR_SUCCESS;
    if (times->next)
        times->next->previous = times->previous;
    *times->previous = times->next;
    times->previous = NULL;
    return APR_SUCCESS;
}

static stm_times_t *find(const request_rec *r)
{
    const stm_conn_t *conn = r->connection->master ? NULL : stm_conn_of(r->connection);
    stm_times_t *times = *bucket_of(conn ? (const void *)conn : r);

    while (times && times->r != r)
        times = times->next;
    return times;
}

void stm_times_begin(request_rec *r, stm_conn_t *conn, stm_busy_t *busy)
{
    stm_times_t *times;
    st_utime_t now = st_utime();

    if (!busy)
        return;
    times = apr_pcalloc(r->pool, sizeof(*times));
    times->r = r;
    times->conn = conn;
    times->spent[STM_SPENT_queue] = busy->queued;
    times->began = now - busy->queued;
    busy->queued = 0;
    board(times, busy, now);
    remember(times, bucket_of(conn ? (const void *)conn : r));
    apr_pool_cleanup_register(r->pool, times, forget, apr_pool_cleanup_null);
}

/* What a connection in this state, without a thread, waits for. */
static stm_spent_e class_of_state(stm_conn_state_e state)
{
    switch (state) {
    case STM_CONN_WRITING:
    case STM_CONN_WAITIO:
        return STM_SPENT_client;
    default:
        return STM_SPENT_other;
    }
}

/* If the connection has no unfinished request, the time in the queue belongs to the next one. */
void stm_times_resume(stm_conn_t *conn, stm_busy_t *busy)
{
    st_utime_t now = st_utime(), queued = conn->queued_since;
    bool unfinished = false;

    if (!busy)
        return;
    for (stm_times_t *times = *bucket_of(conn); times; times = times->next) {
        if (times->conn != conn)
            continue;
        unfinished = true;
        times->spent[class_of_state((stm_conn_state_e)conn->waited)] +=
            stm_between(times->since, queued);
        times->spent[STM_SPENT_queue] += stm_between(queued, now);
        board(times, busy, now);
    }
    busy->queued = unfinished ? 0 : stm_between(queued, now);
}

void stm_times_leave(stm_conn_t *conn)
{
    st_utime_t now = 0;

    for (stm_times_t *times = *bucket_of(conn); times; times = times->next) {
        if (times->conn != conn)
            continue;
        now = now ? now : st_utime();
        alight(times, now);
    }
}

void stm_times_leave_stream(stm_busy_t *busy)
{
    stm_times_t *times = busy->r ? find(busy->r) : NULL;

    if (times && times->on == busy)
        alight(times, st_utime());
}

/* --- the notes --- */

static void set_notes(request_rec *r, const st_utime_t values[NOTES])
{
    for (int i = 0; i < NOTES; i++)
        if (wanted[i])
            apr_table_setn(r->notes, names[i],
                           apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)values[i]));
}

/* After a stream's thread is done, its response may still be on its way to the client. */
static void finish(stm_times_t *times, st_utime_t now)
{
    if (times->on)
        alight(times, now);
    else
        times->spent[STM_SPENT_client] += stm_between(times->since, now);
}

void stm_times_note(request_rec *r)
{
    st_utime_t now = st_utime(), values[NOTES] = {0};
    stm_times_t *times = find(r);
    request_rec *last = r;

    if (!times)
        return;
    finish(times, now);
    for (int i = 0; i < STM_SPENT_COUNT; i++) {
        values[i] = times->spent[i];
        if (i != STM_SPENT_cpu && i != STM_SPENT_queue)
            values[WAIT] += times->spent[i];
    }
    values[TOTAL] = stm_between(times->began, now);
    forget(times);
    while (last->next)
        last = last->next;
    set_notes(last, values);
    if (r != last)
        set_notes(r, values);
}
