/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client connections, from accept to close. All of it runs in a VP, on its one kernel thread; what
 * may yield says so, all else may be called by the scheduler too.
 */
#ifndef STM_CONN_H
#define STM_CONN_H

#include <netinet/in.h>

#include "mpm/stm.h"

typedef struct stm_conn stm_conn_t;

/** The listening socket that a connection came from, as far as connections need it. The accept room
 * makes them: its stm_listener_t begins with one. */
typedef struct stm_origin {
    ap_listen_rec *lr;
    bool deferred;     /**< the kernel delivers connections with their first bytes */
    bool client_first; /**< its protocol: the client speaks first */
    /** The connection is ready for a state thread: puts it into the queue. Does not yield. */
    void (*enqueue)(stm_conn_t *conn);
} stm_origin_t;

/** A state thread that serves connections, as far as they need it: the accept room's stm_thread_t
 * begins with one. */
typedef struct stm_worker {
    st_thread_t st;
    apr_thread_t *current;          /**< that modules see; NULL: none of its own */
    int slot;                       /**< its worker slot in httpd's scoreboard, -1: none was free */
    stm_conn_t *conn;               /**< that it serves now; NULL: none */
    bool kernel;                    /**< a kernel thread serves its request; it is parked */
    struct stm_score_thread *score; /**< its counters */
} stm_worker_t;

/** What a connection waits for. Only SERVING holds a state thread. */
typedef enum {
    STM_CONN_FIRST_BYTE, /**< accepted, nothing has come yet */
    STM_CONN_QUEUED,     /**< ready, waits for a state thread */
    STM_CONN_SERVING,
    STM_CONN_KEEPALIVE, /**< idle between two requests */
    STM_CONN_WRITING,   /**< its response waits until the client reads on */
    STM_CONN_WAITIO,    /**< a module waits for the client's socket */
    STM_CONN_SUSPENDED, /**< a module has taken it over */
    STM_CONN_LINGER,    /**< closed for writing; waits for the client's FIN, without a conn_rec */
} stm_conn_state_e;

/** What is kept of an idle connection's conn_rec while it sleeps (sleep.c). */
typedef struct stm_sleeper {
    long id;
    apr_interval_time_t timeout; /**< of its socket, us */
    char *log_id;                /**< malloc'd; NULL: it had none */
    int keepalives;
} stm_sleeper_t;

/** What a new connection brought with it; from malloc(). */
typedef struct stm_early {
    apr_size_t size;
    char bytes[];
} stm_early_t;

/** A client connection, from accept to close. While it waits, this and its httpd pool are all it
 * costs; while it sleeps, this alone. */
struct stm_conn {
    st_watch_t watch; /**< waits for the socket and the time limit, without a state thread */
    int fd;
    unsigned char state;  /**< stm_conn_state_e */
    unsigned char waited; /**< the state in which it waited before it was QUEUED */
    bool timed_out;       /**< its time limit passed while it waited */
    bool suspended;       /**< suspend_connection hooks have run */
    bool answering;       /**< SERVING: the request has been read */
    bool asleep;          /**< KEEPALIVE, or QUEUED after it: has no conn_rec for the time being */
    unsigned char naps;   /**< how often it has slept, up to a limit */
    bool ended : 1;       /**< SERVING: our side of the connection is closed */
    bool looking : 1;     /**< LINGER: nothing is watched yet, the client may have closed by now */
    bool delayed : 1;     /**< FIRST_BYTE: waits until others have been served (first_byte.c) */
    int row;              /**< its row in the scoreboard, 0: none */
    stm_origin_t *origin;
    stm_conn_t *next, *prev; /**< all connections of the VP */
    stm_conn_t *queued;      /**< next in its listener's queue */
    stm_worker_t *worker;    /**< while SERVING */
    union {
        stm_early_t *early; /**< what it brought with it and nobody has read yet; NULL: nothing */
        st_utime_t linger_until; /**< LINGER */
    };
    st_utime_t accepted;  /**< when (us, libst's clock) */
    unsigned long serial; /**< its number in the VP, from 1 */
    conn_rec *c;          /**< NULL before the first byte, asleep, and when lingering */
    apr_pool_t *pool;
    server_rec *server;   /**< whose timeouts apply */
    request_rec *request; /**< in progress, for the suspend hooks */
    union {
        struct {
            apr_socket_t *socket;
            ap_sb_handle_t *sbh;
            stm_conn_t *awake, **awake_back; /**< next among those that may fall asleep */
            st_utime_t idle_since; /**< KEEPALIVE: when it began to wait (us, libst's clock) */
        };
        stm_sleeper_t kept; /**< asleep */
    };
    conn_state_t cs;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } client;
};

/** The VP's connections; stm.vp.connections is their number. */
typedef struct stm_conns {
    stm_conn_t *first;
    unsigned long accepted; /**< since the VP's start */
    int in_state[STM_CONN_LINGER + 1];
    int answering;                    /**< of the SERVING ones: those whose request has been read */
    apr_allocator_t *allocator;       /**< of their pools (pool.c) */
    apr_bucket_alloc_t *bucket_alloc; /**< shared by all of them */
} stm_conns_t;

extern stm_conns_t stm_conns;

/* --- conn.c: a connection on a state thread --- */

/** A connection was accepted: it waits for its first bytes, or is queued at once. The socket is
 * nonblocking, and the connection's from now on. Called by listener.c in the scheduler. */
void stm_conn_accepted(stm_origin_t *origin, int fd, const struct sockaddr *client,
                       socklen_t length);
/** Serves the connection on the calling state thread until it parks or ends: yields. */
void stm_conn_serve(stm_conn_t *conn, stm_worker_t *worker);
/** Ends all connections: idle ones at once, those in progress as soon as their state threads
 * notice. Called by vp.c; may be called again. */
void stm_conns_shutdown(void);
/** Ours; NULL: a secondary connection (an HTTP/2 stream), or one to a backend. */
stm_conn_t *stm_conn_of(const conn_rec *c);
/** Hooks, see module.c. */
int stm_pre_connection(conn_rec *c, void *csd);
void stm_pre_read_request(request_rec *r, conn_rec *c);
int stm_post_read_request(request_rec *r);
int stm_protocol_switch(conn_rec *c, request_rec *r, server_rec *s, const char *protocol);
int stm_last_write_done(request_rec *r);

/* --- record.c: the records themselves --- */

/** A record for the socket, QUEUED; NULL: no memory, and the socket is still the caller's. */
stm_conn_t *stm_conn_new(stm_origin_t *origin, int fd);
/** Closes the socket, if the record still has it, and forgets the connection. It must have neither
 * conn_rec nor pool any more. */
void stm_conn_free(stm_conn_t *conn);
void stm_conn_set_state(stm_conn_t *conn, stm_conn_state_e state);
/** Whether its request has been read and is being answered. */
void stm_conn_set_answering(stm_conn_t *conn, bool answering);

/* ... and parked: it waits without a state thread */

/** Lets the connection wait in that state for those events (POLLIN and the like), at most so long
 * (us, negative: for ever). Its state thread goes on to other work. Runs suspend_connection hooks,
 * so it may yield where there is a conn_rec. */
void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout);
/** The watch's callback: ready is 0 when the time limit has passed, or nothing could be watched. */
void stm_conn_ready(st_watch_t *watch, int ready);
/** Parks a new connection until its first byte. */
void stm_conn_first_byte(stm_conn_t *conn);
/** A timed callback has run: connections that it gave back to the MPM go on. */
void stm_suspended_resume(void);

/* --- publish.c: what the scoreboards show of connections --- */

/** The numbers of connections have changed. */
void stm_publish_counts(void);
/** So has this one's state: its row's Status does, too. */
void stm_publish_state(stm_conn_t *conn);
/** The hooks that count requests and fill in rows. */
void stm_publish_register_hooks(apr_pool_t *pool);

/* --- first_byte.c: the time limit of a first byte --- */

/** In the master, once the configuration is read. */
void stm_first_byte_configure(server_rec *s);
/** us. */
apr_interval_time_t stm_first_byte_timeout(void);

/* ... and caution, in a VP whose predecessors were killed by requests */

/** Requests have killed this VP's predecessors. Called by vp.c before it serves. */
void stm_caution_begin(void);
/** Whether the connection, whose first bytes have come, has to let the others go first; if so it is
 * parked here. */
bool stm_caution_delays(stm_conn_t *conn);
/** The connection is ready. Returns whether it had only been waiting to let others go first. */
bool stm_caution_is_over(stm_conn_t *conn);

/* --- network_bucket.c: reading from a connection --- */

/** Hook: our bucket stands for the socket in the core's input filter. */
int stm_insert_network_bucket(conn_rec *c, apr_bucket_brigade *bb, apr_socket_t *socket);
/** Receives what a new connection has brought with it, for the first that reads from it. False:
 * nothing has come yet. */
bool stm_network_receive_early(stm_conn_t *conn);
void stm_network_forget_early(stm_conn_t *conn);

/* --- goodbye.c: HTTP/2 connections when the VP leaves --- */

/** The VP leaves: ends those that are idle now. Called by vp.c in the scheduler. */
void stm_goodbye_begin(void);
/** Whether the connection, which is idle now, ends instead of waiting for its next request. */
bool stm_goodbye_is_due(const stm_conn_t *conn);
/** Whether the connection is to be served as if the VP did not leave. */
bool stm_goodbye_can_wait(const stm_conn_t *conn);

/* --- linger.c: the end --- */

/** Ends the connection's life in httpd on the calling state thread (it may yield), then lingers
 * without one. */
void stm_linger_start(stm_conn_t *conn);
/** The same for a connection that has no conn_rec, so that no hook is run. */
void stm_linger_asleep(stm_conn_t *conn);
/** The lingering connection's socket is ready, or (0) its time is over. Called by record.c. */
void stm_linger_continue(stm_conn_t *conn, int ready);
/** Parts the record from what httpd has of the connection. Returns that pool, the caller's now. */
apr_pool_t *stm_conn_detach(stm_conn_t *conn);
/** The connection never came to life in httpd: what there is of it goes, without lingering. May
 * yield. */
void stm_conn_abandon(stm_conn_t *conn);

/* --- sleep.c: idle connections give up their conn_rec --- */

/** The connection has a conn_rec: it is looked after until it sleeps, or is found not to. */
void stm_sleep_watch(stm_conn_t *conn);
/** Its conn_rec goes. Harmless if it is not looked after. */
void stm_sleep_unwatch(stm_conn_t *conn);
/** The connection has a new pool and is to get a conn_rec. False: it has had none before. */
bool stm_sleep_wake(stm_conn_t *conn, stm_sleeper_t *kept);
/** The new conn_rec goes on where the old one ended. */
void stm_sleep_restore(stm_conn_t *conn, const stm_sleeper_t *kept);
/** Something ends its sleep. True: it is the connection's end, which needs no conn_rec. */
bool stm_sleep_interrupted(stm_conn_t *conn, int ready);
/** What is kept of a sleeping connection goes. Harmless if it does not sleep. */
void stm_sleep_forget(stm_conn_t *conn);

/* --- known_modules.c: what may be done behind the modules' backs --- */

/** In the master, once all modules are there. Says at info which one is not known. */
void stm_modules_configure(apr_pool_t *pconf, server_rec *s);
/** Whether all of them are known to keep nothing of an idle connection, and to read from the client
 * through filters only. */
bool stm_modules_are_known(void);
/** Whether the idle connection may sleep; in doubt it may not. */
bool stm_may_sleep(const stm_conn_t *conn);
/** Whether the connection's output filters write nothing that they are not given. */
bool stm_output_is_quiet(const conn_rec *c);

/* --- pool.c: pools of connections --- */

/** At the VP's start. False: no memory. */
bool stm_pools_open(void);
/** NULL: no memory. */
apr_pool_t *stm_pool_get(void);
/** Runs the pool's cleanups: call it on a state thread, it may yield. */
void stm_pool_put(apr_pool_t *pool);
/** A module is about to make a kernel thread: from now on the allocator has a mutex. Called by
 * STIOL. */
void stm_pools_share(void);

/* --- current_thread.c: httpd's current thread --- */

/** On the VP's primordial thread, which has its apr_thread_t. */
void stm_current_find(void);
/** For a state thread of the MPM, as the first thing that it does: its apr_thread_t. NULL: there is
 * none, because all state threads share the thread-local variables (StateThreadedIO Off). */
apr_thread_t *stm_current_begin(void);
/** The thread is about to end. Runs the cleanups of its pool, so it may yield. */
void stm_current_end(apr_thread_t *thread);

/* --- timed_callback.c --- */

/** Hook: a module's function runs on a state thread of its own after so long (us). On any kernel
 * thread. APR_ENOTIMPL in the master, APR_ENOMEM. */
apr_status_t stm_register_timed_callback(apr_time_t delay, ap_mpm_callback_fn_t *callback,
                                         void *baton);

/* --- small_file.c --- */

void stm_small_file_register(void);
/** Hook. */
void stm_insert_filter(request_rec *r);

#endif
