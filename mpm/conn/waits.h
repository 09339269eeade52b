/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the state threads that serve something wait for, in the scoreboard, and how long, for the
 * log. waits.c records it where they park; wait_names.c finds the names when a wait lasts;
 * request_times.c adds it up for each request. See docs/internals/waits.md.
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
    stm_score_wait_t *cell;    /**< its place in the scoreboard */
    int fd;                    /**< the client's socket; -1: it serves an HTTP/2 stream */
    conn_rec *c;               /**< whose client it serves; NULL: none */
    request_rec *r;            /**< being served; NULL: none has been read yet */
    struct stm_stream *stream; /**< by which an HTTP/2 request finds its thread; NULL: none */
    const st_wait_t *wait;     /**< parked; NULL: it runs */
    unsigned char kind;        /**< stm_wait_e of its latest wait */
    bool serving;
    bool fresh;                        /**< it has just begun: nothing has come since */
    bool told;                         /**< its place has the request's texts */
    bool looked;                       /**< that has been looked at and named */
    bool listed;                       /**< is in the list of those to be looked at */
    st_utime_t since;                  /**< when the latest wait began, us */
    st_utime_t parked;                 /**< when it parked last */
    st_utime_t due;                    /**< when it is to be looked at */
    st_utime_t looked_at;              /**< when it was last looked at */
    st_utime_t looked_long;            /**< when something costly was last looked up */
    st_utime_t queued;                 /**< how long the request to come has waited in line, us */
    st_utime_t spent[STM_SPENT_COUNT]; /**< in all; only if the times are wanted */
    struct stm_busy *next, **previous; /**< of all */
    struct stm_busy *later, *earlier;  /**< in that list */
} stm_busy_t;

/* --- waits.c --- */

/** To be called once per VP. False: no memory. */
bool stm_waits_open(void);
/** Makes one for the calling state thread. NULL: no memory; then it is not shown. */
stm_busy_t *stm_busy_new(void);
void stm_busy_free(stm_busy_t *busy);
/** The thread serves the connection from now on, and no longer. Harmless for NULL. */
void stm_busy_begin(stm_busy_t *busy, stm_conn_t *conn);
void stm_busy_end(stm_busy_t *busy);
/** On its client's connection: another request is about to be read; it has been read. */
void stm_busy_request(stm_busy_t *busy);
void stm_busy_request_read(stm_busy_t *busy, request_rec *r);
/** The request is being destroyed. */
void stm_busy_request_gone(stm_busy_t *busy, const request_rec *r);
/** The connection that the thread serves has a conn_rec now; NULL: no longer. */
void stm_busy_connection(stm_busy_t *busy, conn_rec *c);
/** The calling state thread, a module's, serves this HTTP/2 stream from now on. NULL: no memory. */
stm_busy_t *stm_busy_stream(request_rec *r);
/** The handler of the stream that the calling state thread serves is done; it may have left it
 * already. (When the request is destroyed, that is noticed.) */
void stm_busy_stream_left(const request_rec *r);
/** Finds out what those wait for whose waits have begun just now. Does not yield; not for a kernel
 * thread. */
void stm_waits_look_now(void);
/** Shows the request of the calling state thread, which has held up the VP. For a signal handler on
 * the VP's kernel thread. */
void stm_waits_show_running(void);
/** The one of a state thread; NULL: it serves nothing. */
stm_busy_t *stm_busy_of(st_thread_t thread);

/* --- wait_names.c. Nothing yields; system calls that do not wait --- */

/** The name and holder of what somebody waits for, and its kind if that has to be looked up. */
typedef struct stm_wait_names {
    stm_wait_e kind;
    int number;
    char name[STM_SCORE_NAMED], holder[STM_SCORE_HOLDER];
} stm_wait_names_t;

/** Looks at a wait. costly: also what takes longer to find out (who has a file's lock). */
void stm_wait_name(const st_wait_t *wait, int client, bool costly, stm_wait_names_t *names);
/** What kind of thing a descriptor is that a thread waits for; its name goes to `names` if that is
 * not NULL. */
stm_wait_e stm_wait_kind_of_fd(int fd, int events, int client, stm_wait_names_t *names);

/* --- request_times.c --- */

/** In the master: whether any directive mentions one of the notes. */
void stm_times_configure(const ap_directive_t *tree);
/** Whether any does. */
extern bool stm_times_wanted;
/** What follows is called only if so. The request is about to be read on the connection, or is a
 * stream that the thread serves. */
void stm_times_begin(request_rec *r, stm_conn_t *conn, stm_busy_t *busy);
/** The connection gets a thread; its thread leaves it in its present state; so does a stream's. */
void stm_times_resume(stm_conn_t *conn, stm_busy_t *busy);
void stm_times_leave(stm_conn_t *conn);
void stm_times_leave_stream(stm_busy_t *busy);
/** The request is about to be logged: sets its notes. */
void stm_times_note(request_rec *r);
/** What a thread waited for belongs to this class. */
stm_spent_e stm_times_class(stm_wait_e kind);

#endif
