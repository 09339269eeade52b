/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets, and the state threads that serve what they accept. But for stm_sockets_open()
 * and stm_slots_clear_dead() all of it runs in a VP, on its one kernel thread; nothing yields where
 * nothing is said.
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
    stm_thread_t *idle;             /**< next among the listener's idle ones */
    bool called;                    /**< was woken or started for the queue */
    bool retire;                    /**< was woken to end, not to serve */
    stm_thread_t *next, **previous; /**< all threads of the VP */
    int unyielded;                  /**< connections served since its last yield */
};

/** One listening socket in one VP, with its own state threads. */
struct stm_listener {
    stm_origin_t origin; /**< first */
    st_watch_t watch;
    st_watch_t retry; /**< a timer: when accepting goes on after it was held back */
    int fd;
    bool shared; /**< with other VPs */
    bool accepting, held;
    bool in_burst; /**< few connections, but more than its share of those that come at once */
    int threads, idle_threads;
    stm_thread_t *idle;              /**< last in, first out */
    stm_conn_t *ready, **ready_tail; /**< the queue: connections ready for a state thread */
    int queue_length;
    bool coming;              /**< a thread is called for the queue and not there yet */
    int free_accepts;         /**< accepts although it is above its share: the others did not */
    unsigned others_accepted; /**< by the other VPs, when it was held back */
    int backoff_ms;
    apr_time_t complained;
    struct stm_score_listener *score; /**< its counters */
};

typedef struct stm_accept {
    stm_listener_t *listeners;
    int listener_count;
    stm_thread_t *threads;       /**< all of them; stm.vp.threads is their number */
    void (*limit_reached)(void); /**< VPConnections; set before the listeners open */
} stm_accept_t;

extern stm_accept_t stm_accept;

/* --- sockets.c: the sockets themselves --- */

/** Hook open_logs, in the master: opens the listening sockets. */
int stm_sockets_open(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/** In a VP: closes the sockets that only other VPs listen to, so that ss shows who listens to
 * what. */
void stm_sockets_close_others(int ordinal);
/** Connections that wait to be accepted, and how many may. False: the kernel does not say. */
bool stm_sockets_queue(int fd, unsigned *length, unsigned *limit);

/* --- listener.c: accepting --- */

/** Opens the VP's listeners with StartThreads threads each. False: not one thread could be started.
 * Called by vp.c. */
bool stm_listeners_open(void);
/** Takes no more connections. The master's copies of the sockets stay open: nobody is refused. */
void stm_listeners_close(void);
/** Goes on accepting, if there is no reason left not to. */
void stm_listener_resume(stm_listener_t *listener);
/** Once a second: finds connections whose wake-up a stopped VP has taken with it. */
void stm_listeners_look_again(void);
/** Brings the listeners' counters in the scoreboard up to date. */
void stm_listeners_publish(void);

/* --- balance.c: this VP's share of new connections --- */

/** Tells the other VPs how many it has. */
void stm_balance_publish(void);
/** The VP waits for something to do, or has waited. libst's callback. */
void stm_balance_asleep(int asleep);
/** Whether it has somewhat more connections than the average of those that accept. */
bool stm_balance_above_average(void);
/** Whether it has well more than that, and not few. */
bool stm_balance_above_share(void);
/** Whether it has few, but more than its share of a burst. */
bool stm_balance_above_burst_share(const stm_listener_t *listener);
/** Connections that the other VPs have accepted so far, modulo 2^32: whether it moves is what
 * counts. */
unsigned stm_balance_others_accepted(void);
/** How many connections this VP may accept in this turn. */
int stm_balance_batch(void);

/* --- thread.c: state threads, and the queue of connections that are ready for one --- */

/** Starts a state thread: one that was called for the queue, or a spare one. False: no memory, or
 * no stack; said in the log. */
bool stm_thread_start(stm_listener_t *listener, bool called);
/** stm_origin_t's enqueue(): the connection is ready for a state thread. */
void stm_thread_enqueue(stm_conn_t *conn);
/** Whether MaxThreads allows one more. */
bool stm_thread_can_start(void);
/** Lets `count` of the listener's waiting threads end. Returns how many there were. */
int stm_thread_retire(stm_listener_t *listener, int count);
/** Interrupts the waits of all threads: the VP stops. */
void stm_threads_interrupt(void);
/** The connection that the calling state thread serves; NULL: none. */
const stm_conn_t *stm_thread_conn(void);
/** The request that the running state thread serves; NULL: none. May be called in a signal handler
 * on the VP's kernel thread. */
const request_rec *stm_thread_request(void);

/* --- worker_slot.c: worker slots of httpd's scoreboard --- */

/** -1: none is free. */
int stm_slot_take(void);
void stm_slot_give(int slot);
/** status: SERVER_READY and the like. Nothing for slot -1. */
void stm_slot_status(int slot, int status);
/** In the master: the slots of a process that has ended are nobody's. */
void stm_slots_clear_dead(int ordinal, pid_t pid);

#endif
