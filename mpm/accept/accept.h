/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets, and the state threads that serve what they accept. Except for
 * stm_sockets_open() and stm_slots_clear_dead(), all of it runs in a VP, on its only kernel thread.
 * Nothing yields unless it says so.
 */
#ifndef STM_ACCEPT_H
#define STM_ACCEPT_H

#include "mpm/conn/conn.h"
#include "mpm/stm.h"

typedef struct stm_listener stm_listener_t;
typedef struct stm_thread stm_thread_t;

/** A state thread of a listener. */
struct stm_thread {
    stm_worker_t worker; /**< first */
    stm_listener_t *listener;
    stm_thread_t *idle;             /**< next of the listener's idle threads */
    bool called;                    /**< was woken or started to serve the queue */
    bool retire;                    /**< was woken to end, not to serve */
    stm_thread_t *next, **previous; /**< all threads of the VP */
    int unyielded;                  /**< connections served since its last yield */
};

/** One listening socket in one VP, with its own state threads. */
struct stm_listener {
    stm_origin_t origin; /**< first */
    st_watch_t watch;
    st_watch_t retry; /**< timer: when to resume accepting after it was held back */
    int fd;
    bool shared; /**< other VPs listen to it, too */
    bool accepting, held;
    bool in_burst; /**< has few connections, but more than its share of a burst */
    int threads, idle_threads;
    stm_thread_t *idle;              /**< last in, first out */
    stm_conn_t *ready, **ready_tail; /**< the queue: connections ready for a state thread */
    int queue_length;
    int before_new;           /**< of these, how many come before those in the kernel's queue; -1:
                                 that is not counted, because it is short */
    bool turn_of_new;         /**< these have been taken: some new ones are accepted */
    bool coming;              /**< a thread has been called for the queue but has not run yet */
    int free_accepts;         /**< accepts above its share, because the others made none */
    unsigned others_accepted; /**< by the other VPs, as of when this one was held back */
    int backoff_ms;
    apr_time_t complained;
    struct stm_score_listener *score; /**< its counters */
};

typedef struct stm_accept {
    stm_listener_t *listeners;
    int listener_count;
    int idle_threads; /**< of all listeners */
    /** So many sockets share MaxThreads that none has a thread reserved (thread.c). */
    bool sharing;
    bool hungry;   /**< sharing: some listener has found no thread */
    bool starving; /**< sharing: some listener has no thread at all */
    /** How often a connection had to wait because MaxThreads was reached. */
    unsigned long long full;
    int next_queue;              /**< the first listener whose accept queue is measured next */
    stm_thread_t *threads;       /**< all of the VP's; stm.vp.threads is their number */
    void (*limit_reached)(void); /**< VPConnections; set before the listeners open */
} stm_accept_t;

extern stm_accept_t stm_accept;

/* --- sockets.c: the sockets themselves --- */

/** Hook open_logs, in the master: opens the listening sockets. */
int stm_sockets_open(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/** In a VP: closes the sockets that only other VPs listen to, so that ss shows which VP listens to
 * what. */
void stm_sockets_close_others(int ordinal);
/** The number of connections waiting to be accepted, and its limit. False: the kernel does not
 * say. */
bool stm_sockets_queue(int fd, unsigned *length, unsigned *limit);

/* --- listener.c: accepting --- */

/** Opens the VP's listeners with StartThreads threads each. False: no thread could be started.
 * Called by vp.c. */
bool stm_listeners_open(void);
/** Stops accepting connections. The master's copies of the sockets stay open, so no client is
 * refused. */
void stm_listeners_close(void);
/** Resumes accepting unless there is still a reason not to. */
void stm_listener_resume(stm_listener_t *listener);
/** Called once a second: finds connections whose wake-up was lost to a VP that has stopped. */
void stm_listeners_look_again(void);
/** Brings the listeners' counters in the scoreboard up to date. */
void stm_listeners_publish(void);

/* --- balance.c: this VP's share of new connections --- */

/** Tells the other VPs how many connections this one has. */
void stm_balance_publish(void);
/** libst's callback: the VP is about to wait for something to do, or has waited. */
void stm_balance_asleep(int asleep);
/** Whether this VP has somewhat more connections than the average of those that accept. */
bool stm_balance_above_average(void);
/** Whether it has well above that average, and more than a few. */
bool stm_balance_above_share(void);
/** Whether it has few, but more than its share of a burst. */
bool stm_balance_above_burst_share(const stm_listener_t *listener);
/** Connections that the other VPs have accepted so far, modulo 2^32: only changes matter. */
unsigned stm_balance_others_accepted(void);
/** How many connections this VP may accept in this turn. overdue: those that come first have waited
 * for many turns. */
int stm_balance_batch(bool overdue);

/* --- thread.c: state threads, and the queue of connections that are ready for one --- */

/** Starts a state thread: one that was called for the queue, or a spare one. False: no memory for
 * it or its stack, which is logged. */
bool stm_thread_start(stm_listener_t *listener, bool called);
/** What it runs. data: its stm_thread_t. Global for readers in other processes (describe.c). */
void *stm_thread_main(void *data);
/** stm_origin_t's enqueue(): the connection is ready for a state thread. */
void stm_thread_enqueue(stm_conn_t *conn);
/** Whether MaxThreads allows one more. */
bool stm_thread_can_start(void);
/** How many more connections can be given a thread at once. */
int stm_thread_room(const stm_listener_t *listener);
/** Sharing: the listener needs a thread as soon as one is free. */
void stm_thread_wanted(const stm_listener_t *listener);
/** Lets up to `count` of the listener's waiting threads end. Returns how many do. */
int stm_thread_retire(stm_listener_t *listener, int count);
/** Interrupts the waits of all threads, because the VP is stopping. */
void stm_threads_interrupt(void);
/** The request that the running state thread serves; NULL if there is none. May be called in a
 * signal handler on the VP's kernel thread. */
const request_rec *stm_thread_request(void);

/* --- worker_slot.c: worker slots of httpd's scoreboard --- */

/** Returns -1 if none is free. */
int stm_slot_take(void);
/** Gives back a slot that stm_slot_take() returned; does nothing for -1. Neither yields. */
void stm_slot_give(int slot);
/** status: SERVER_READY and the like. Does nothing for slot -1. */
void stm_slot_status(int slot, int status);
/** In the master: frees the slots of a process that has ended. */
void stm_slots_clear_dead(int ordinal, pid_t pid);

#endif
