/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What busy state threads wait for, for the scoreboard, and for how long, for the log. waits.c
 * records it when they park, wait_names.c finds names once a wait has lasted for a while, and
 * request_times.c adds up the times for each request. See docs/internals/waits.md.
 *
 * Unless said otherwise, the functions are called on the VP, and nothing yields.
 */
#ifndef STM_WAITS_H
#define STM_WAITS_H

#include "mpm/conn/conn.h"
#include "score/layout.h"

/** What a request's time is spent on: the classes of score/waits.def, and waiting for the VP. */
typedef enum {
    STM_SPENT_cpu,
    STM_SPENT_client,
    STM_SPENT_backend,
    STM_SPENT_lock,
    STM_SPENT_disk,
    STM_SPENT_name,
    STM_SPENT_program,
    STM_SPENT_sleep,
    STM_SPENT_kernel,
    STM_SPENT_other,
    STM_SPENT_queue,
    STM_SPENT_COUNT
} stm_spent_e;

struct stm_stream;

/** A state thread that serves requests. */
typedef struct stm_busy {
    st_observer_t observer;
    st_thread_t thread;
    stm_score_wait_t *cell;    /**< its entry in the scoreboard */
    int fd;                    /**< the client's socket; -1: it serves an HTTP/2 stream */
    conn_rec *c;               /**< the connection that it serves; NULL: none */
    request_rec *r;            /**< the request being served; NULL: none has been read yet */
    struct stm_stream *stream; /**< by which an HTTP/2 request finds its thread; NULL: none */
    const st_wait_t *wait;     /**< what it is parked for; NULL: it is running */
    unsigned char kind;        /**< stm_wait_e of its latest wait */
    bool serving;
    bool fresh;                        /**< it has just begun, and no request has come yet */
    bool told;                         /**< its entry has the request's texts */
    bool looked;                       /**< its latest wait has been examined and named */
    bool rests;                        /**< its stack has been put to rest in this wait */
    struct stm_wait_queue *queue;      /**< of waits to be examined, or to rest; NULL: none */
    st_utime_t since;                  /**< when the latest wait began, us */
    st_utime_t parked;                 /**< when it last parked, us */
    st_utime_t due;                    /**< when its wait's turn comes, us */
    st_utime_t looked_at;              /**< when its wait was last examined, us */
    st_utime_t looked_long;            /**< when something costly was last looked up, us */
    st_utime_t queued;                 /**< how long the next request has been queued, us */
    st_utime_t spent[STM_SPENT_COUNT]; /**< sums by class, us; only if the times are wanted */
    struct stm_busy *next, **previous; /**< in the list of all */
    struct stm_busy *later, *earlier;  /**< in the queue */
} stm_busy_t;

/** Waits in the order in which they are due. */
typedef struct stm_wait_queue {
    stm_busy_t *oldest, *newest;
} stm_wait_queue_t;

/** us from one time to a later one; 0 if it is not later. */
static inline st_utime_t stm_between(st_utime_t earlier, st_utime_t later)
{
    return later > earlier ? later - earlier : 0;
}

/* --- waits.c --- */

/** To be called once per VP, by vp.c. Returns false if there is no memory. */
bool stm_waits_open(void);
/** Makes one for the calling state thread. Returns NULL if there is no memory; the thread is then
 * not shown. */
stm_busy_t *stm_busy_new(void);
/** Frees it; harmless for NULL. Called by its own thread, or when a module's thread ends. */
void stm_busy_free(stm_busy_t *busy);
/** The thread starts to serve the connection. Harmless for NULL. */
void stm_busy_begin(stm_busy_t *busy, stm_conn_t *conn);
/** The thread no longer serves it. Harmless for NULL. */
void stm_busy_end(stm_busy_t *busy);
/** Another request is about to be read on the client's connection. */
void stm_busy_request(stm_busy_t *busy);
/** It has been read. */
void stm_busy_request_read(stm_busy_t *busy, request_rec *r);
/** The request is being destroyed. */
void stm_busy_request_gone(stm_busy_t *busy, const request_rec *r);
/** The connection that the thread serves has got a conn_rec or, with NULL, has lost it. */
void stm_busy_connection(stm_busy_t *busy, conn_rec *c);
/** The calling state thread, which belongs to a module, starts serving this HTTP/2 stream. Returns
 * NULL if there is no memory. */
stm_busy_t *stm_busy_stream(request_rec *r);
/** The handler of the stream that the calling state thread serves is done. Has no effect if the
 * thread has left the stream before, which happens when the request is destroyed. */
void stm_busy_stream_left(const request_rec *r);
/** Looks up names for waits that have only just begun. For pages; spends at most 10 ms. */
void stm_waits_look_now(void);
/** Shows the request of the calling state thread, which is holding up the VP. Called in a signal
 * handler on the VP's kernel thread. */
void stm_waits_show_running(void);
/** Puts a wait that is in no queue at the end of one. */
void stm_wait_enqueue(stm_wait_queue_t *queue, stm_busy_t *busy, st_utime_t due);
/** Takes it out. Harmless if it is in none. */
void stm_wait_dequeue(stm_busy_t *busy);
/** Returns the one that belongs to a state thread, or NULL if that serves nothing. */
stm_busy_t *stm_busy_of(st_thread_t thread);

/* --- rest_waits.c: threads that wait for long for a backend rest --- */

/** To be called once per VP. */
void stm_waits_rest_open(void);
/** The thread has begun to wait, which has just been examined: if it may, it rests in a while. */
void stm_wait_rest_later(stm_busy_t *busy);
/** Its wait is over, and libst has put back what was on its stack. Harmless if it did not rest. */
void stm_wait_rested(stm_busy_t *busy);

/* --- wait_names.c: called in the scheduler; makes only system calls that do not wait --- */

/** The name and holder of what a thread waits for, and its kind if that has to be looked up. */
typedef struct stm_wait_names {
    stm_wait_e kind;
    int number;
    char name[STM_SCORE_NAMED], holder[STM_SCORE_HOLDER];
} stm_wait_names_t;

/** Fills in the names of a wait. client: the client's socket, or -1; costly: whether to look up
 * what takes longer, such as who holds a file's lock. */
void stm_wait_name(const st_wait_t *wait, int client, bool costly, stm_wait_names_t *names);
/** Returns what kind of thing a descriptor is that a thread waits for. Its name goes to `names`,
 * unless that is NULL. events: POLLIN or POLLOUT; client: as above. */
stm_wait_e stm_wait_kind_of_fd(int fd, int events, int client, stm_wait_names_t *names);

/* --- request_times.c --- */

/** Called in the master: finds out whether any directive mentions one of the notes, and sets
 * stm_conns.times_wanted. Only if that is set may the following functions be called. */
void stm_times_configure(const ap_directive_t *tree);
/** The request is about to be read on the connection or, if conn is NULL, is a stream that the
 * thread serves. */
void stm_times_begin(request_rec *r, stm_conn_t *conn, stm_busy_t *busy);
/** The connection gets a thread. */
void stm_times_resume(stm_conn_t *conn, stm_busy_t *busy);
/** The connection loses its thread, and its requests wait for what its state says. */
void stm_times_leave(stm_conn_t *conn);
/** The stream that the thread serves loses it. */
void stm_times_leave_stream(stm_busy_t *busy);
/** The request is about to be logged: sets its notes. */
void stm_times_note(request_rec *r);
/** The class of a kind of wait. */
stm_spent_e stm_times_class(stm_wait_e kind);

#endif
