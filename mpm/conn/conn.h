/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client connections, from accept to close. All of it runs in a VP, on its only kernel thread.
 * Functions that may yield say so; the scheduler may call any other.
 */
#ifndef STM_CONN_H
#define STM_CONN_H

#include <netinet/in.h>

#include "mpm/stm.h"

typedef struct stm_conn stm_conn_t;

/** The listening socket that a connection came from, as far as connections need it. The accept room
 * makes it: stm_listener_t begins with one. */
typedef struct stm_origin {
    ap_listen_rec *lr;
    bool deferred;     /**< the kernel delivers connections with their first bytes */
    bool client_first; /**< its protocol: the client speaks first */
    /** Queues a connection that is ready for a state thread. Does not yield. */
    void (*enqueue)(stm_conn_t *conn);
} stm_origin_t;

/** A state thread that serves connections, as far as connections need it: the accept room's
 * stm_thread_t begins with one. */
typedef struct stm_worker {
    st_thread_t st;
    apr_thread_t *current;          /**< as modules see it; NULL if it has none of its own */
    int slot;                       /**< its worker slot in httpd's scoreboard; -1: none */
    stm_conn_t *conn;               /**< the one it is serving; NULL if none */
    bool kernel;                    /**< a kernel thread is serving its request; it is parked */
    struct stm_score_thread *score; /**< its counters */
    struct stm_busy *busy;          /**< what it waits for; NULL: no memory */
} stm_worker_t;

/** What a connection waits for. Only SERVING holds a state thread. */
typedef enum {
    STM_CONN_FIRST_BYTE, /**< accepted, no data yet */
    STM_CONN_QUEUED,     /**< ready, waiting for a state thread */
    STM_CONN_SERVING,
    STM_CONN_KEEPALIVE, /**< idle between requests */
    STM_CONN_WRITING,   /**< its response waits for the client to read */
    STM_CONN_WAITIO,    /**< a module is waiting for the client's socket */
    STM_CONN_SUSPENDED, /**< a module has taken it over */
    STM_CONN_LINGER,    /**< closed for writing; waiting for the client's FIN, without a conn_rec */
} stm_conn_state_e;

/** What is kept of an idle connection's conn_rec while it sleeps (idle.c). */
typedef struct stm_sleeper {
    long id;
    apr_interval_time_t timeout; /**< of its socket, us */
    char *log_id;                /**< malloc'd; NULL if it had none */
    int keepalives;
} stm_sleeper_t;

/** The data that arrived with a new connection; from malloc(). */
typedef struct stm_early {
    apr_size_t size;
    char bytes[];
} stm_early_t;

/** A client connection, from accept to close. While it waits, this and its httpd pool are all the
 * memory it uses; while it sleeps, only this. */
struct stm_conn {
    st_watch_t watch; /**< for the socket and the time limit, without a state thread */
    int fd;
    unsigned char state;  /**< stm_conn_state_e */
    unsigned char waited; /**< the state in which it waited before it was QUEUED */
    bool timed_out;       /**< its time limit passed while it waited */
    bool suspended;       /**< suspend_connection hooks have run */
    bool answering;       /**< SERVING: the request has been read */
    bool asleep;          /**< KEEPALIVE, or QUEUED after it: has no conn_rec at present */
    unsigned char naps;   /**< how often it has slept, up to a limit */
    bool ended : 1;       /**< SERVING: our side of the connection has been closed */
    bool looking : 1;     /**< LINGER: not watched yet; the client may have closed already */
    bool delayed : 1;     /**< FIRST_BYTE: waits until others have been served (first_byte.c) */
    bool beginning : 1;   /**< SERVING: pre_connection hooks are running */
    bool resting : 1;     /**< KEEPALIVE, or QUEUED after it: what it holds is packed (rest.c) */
    bool rests_plain : 1; /**< resting: its protocol is HTTP/1.1 */
    int row;              /**< its row in the scoreboard, 0 if none */
    stm_origin_t *origin;
    stm_conn_t *next, *prev; /**< all connections of the VP */
    stm_conn_t *queued;      /**< next in its listener's queue */
    union {
        stm_worker_t *worker;    /**< while SERVING; NULL: none */
        st_utime_t queued_since; /**< QUEUED: since when, if that is wanted for the log (us) */
    };
    union {
        stm_early_t *early; /**< data that arrived with it and has not been read; NULL if none */
        st_utime_t linger_until; /**< LINGER */
    };
    st_utime_t accepted;  /**< when (us, libst's clock) */
    unsigned long serial; /**< its number in the VP, from 1 */
    conn_rec *c;          /**< NULL before the first byte, asleep, and when lingering */
    apr_pool_t *pool;
    server_rec *server;   /**< the one whose timeouts apply */
    request_rec *request; /**< in progress, for the suspend hooks */
    union {
        struct {
            apr_socket_t *socket;
            ap_sb_handle_t *sbh;
            stm_conn_t *awake, **awake_back; /**< next of those that may fall asleep */
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
    apr_allocator_t *allocator;       /**< of their pools (record.c) */
    apr_bucket_alloc_t *bucket_alloc; /**< shared by all of them */
    bool times_wanted;                /**< a note about requests' times is mentioned somewhere */
    int worker_key; /**< where a state thread that serves them has its stm_worker_t; -1: no key */
} stm_conns_t;

extern stm_conns_t stm_conns;

/* --- conn.c: a connection on a state thread --- */

/** Takes over an accepted connection: it waits for its first bytes, or is queued at once. The
 * socket must be nonblocking, and belongs to the connection from now on. Called by listener.c in
 * the scheduler. */
void stm_conn_accepted(stm_origin_t *origin, int fd, const struct sockaddr *client,
                       socklen_t length);
/** Serves the connection on the calling state thread until it parks or ends: yields. */
void stm_conn_serve(stm_conn_t *conn, stm_worker_t *worker);
/** The connection that the calling state thread serves; NULL if there is none. May be called in a
 * signal handler on the VP's kernel thread. */
const stm_conn_t *stm_worker_conn(void);
/** Whether a connection has the protocol that it begins with. */
bool stm_speaks_http1(conn_rec *c);
/** Detaches the record from httpd's part of the connection. Returns the connection's pool, which
 * then belongs to the caller. */
apr_pool_t *stm_conn_detach(stm_conn_t *conn);
/** Our record; NULL for a secondary connection (an HTTP/2 stream) or one to a backend. */
stm_conn_t *stm_conn_of(const conn_rec *c);
/** Hook, see module.c. */
int stm_last_write_done(request_rec *r);

/* --- record.c: the records themselves --- */

/** Makes a record for the socket, QUEUED. NULL: no memory; the socket still belongs to the
 * caller. */
stm_conn_t *stm_conn_new(stm_origin_t *origin, int fd);
/** Closes the socket, if the record still has it, and frees the record. The connection must no
 * longer have a conn_rec, a pool, or anything that was kept of them. */
void stm_conn_free(stm_conn_t *conn);
/** Changes the connection's state, and publishes the change on the scoreboards. Does not yield. */
void stm_conn_set_state(stm_conn_t *conn, stm_conn_state_e state);
/** Notes whether the connection's request has been read and is being answered. */
void stm_conn_set_answering(stm_conn_t *conn, bool answering);

/* ... and parked: it waits without a state thread */

/** Lets the connection wait in that state for those events (POLLIN and the like), at most for
 * `timeout` us (negative: no limit). Its state thread moves on to other work. Runs
 * suspend_connection hooks, so it may yield if there is a conn_rec. */
void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout);
/** The watch's callback: ready is 0 if the time limit has passed or the socket could not be
 * watched. */
void stm_conn_ready(st_watch_t *watch, int ready);

/* ... and lingering: closed for writing */

/** httpd's own numbers (server/connection.c). */
enum {
    STM_LINGER_SECONDS = 30,
    STM_SHORT_LINGER_SECONDS = 2,
};

/** Our side is closed, and httpd's part of the connection is gone: lingers without a state thread
 * for that many seconds, or for a short while if the VP is leaving. `gone`: there is nobody to wait
 * for. */
void stm_linger(stm_conn_t *conn, bool gone, int seconds);
/** The VP is leaving: the lingering connection has two more seconds. May free it. */
void stm_linger_hurry(stm_conn_t *conn);
/** The lingering connection's socket is ready; 0: its time is up; negative: it cannot be
 * watched. */
void stm_linger_continue(stm_conn_t *conn, int ready);

/* ... their rows on the scoreboard */

/** Publishes this connection's state, which has changed from `before` or within it, and updates its
 * row's Status. */
void stm_publish_state(stm_conn_t *conn, stm_conn_state_e before);
/** Takes a row for a connection that has a conn_rec but no row, if rows are kept. */
void stm_publish_row(stm_conn_t *conn);

/* ... and their pools */

/** Called when the VP starts. False: no memory. */
bool stm_pools_open(void);
/** Returns a cleared pool; NULL: no memory. */
apr_pool_t *stm_pool_get(void);
/** Runs the pool's cleanups, so it may yield: call it on a state thread. */
void stm_pool_put(apr_pool_t *pool);
/** A module is about to create a kernel thread: gives the allocator a mutex. Called by STIOL. */
void stm_pools_share(void);

/* --- hooks.c: httpd's hooks on connections and requests --- */

/** Hooks, see module.c. */
int stm_pre_connection(conn_rec *c, void *csd);
/** A request is about to be read on the connection: from now on, its record refers to that
 * request. */
void stm_pre_read_request(request_rec *r, conn_rec *c);
/** The request's header has been read: notes whose KeepAliveTimeout applies. Returns OK; all
 * modules' hooks run. */
int stm_post_read_request(request_rec *r);
/** A protocol has been chosen (ALPN) or changed: notes the connection's virtual host, if that is
 * known. Returns DECLINED. */
int stm_protocol_switch(conn_rec *c, request_rec *r, server_rec *s, const char *protocol);
/** The hooks that count requests and fill in rows. */
void stm_publish_register_hooks(apr_pool_t *pool);

/* --- first_byte.c: the time limit of a first byte --- */

/** Called in the master once the configuration has been read. */
void stm_first_byte_configure(server_rec *s);
/** us. */
apr_interval_time_t stm_first_byte_timeout(void);

/* ... and caution, in a VP whose predecessors were killed by requests */

/** To be called if requests have killed this VP's predecessors. Called by vp.c before it serves. */
void stm_caution_begin(void);
/** Whether the connection, whose first bytes have arrived, has to let others go first; if so, parks
 * it. */
bool stm_caution_delays(stm_conn_t *conn);

/* --- network_bucket.c: reading from a connection --- */

/** Hook: our bucket stands for the socket in the core's input filter. */
int stm_insert_network_bucket(conn_rec *c, apr_bucket_brigade *bb, apr_socket_t *socket);
/** Receives the data that arrived with a new connection, for its first reader. False: nothing has
 * arrived yet. */
bool stm_network_receive_early(stm_conn_t *conn);

/* --- idle.c: idle connections give up their conn_rec --- */

/** The connection has a conn_rec: watches it until it sleeps or turns out to be unable to. */
void stm_sleep_watch(stm_conn_t *conn);
/** Its conn_rec is going away. Harmless if the connection is not watched. */
void stm_sleep_unwatch(stm_conn_t *conn);
/** The connection has a new pool and is about to get a conn_rec. False: it has not had one
 * before. */
bool stm_sleep_wake(stm_conn_t *conn, stm_sleeper_t *kept);
/** Restores in the new conn_rec what was kept of the old one. */
void stm_sleep_restore(stm_conn_t *conn, const stm_sleeper_t *kept);
/** Something ends its sleep. True: the connection is over, which does not take a conn_rec. */
bool stm_sleep_interrupted(stm_conn_t *conn, int ready);
/** Frees what is kept of a sleeping connection. Harmless if it is not asleep. */
void stm_sleep_forget(stm_conn_t *conn);

/* --- rest.c: idle connections that stay whole pack what they hold --- */

/** To be called before stiol_start(), if small pools will be used: replaces the functions that make
 * what rests with a connection. `pool`: for strings. */
void stm_rest_prepare(apr_pool_t *pool);
/** Lets an idle connection rest that stm_may_rest(). False: it has nothing to pack. Until
 * stm_rest_end(), nothing may use its conn_rec. Does not yield. */
bool stm_rest_begin(stm_conn_t *conn);
/** Something happens to the connection: everything is where it was. Harmless if it does not rest.
 * Does not yield. */
void stm_rest_end(stm_conn_t *conn);

/* ... and the VP leaves or stops (idle.c) */

/** The VP is leaving: ends the HTTP/2 connections that are idle now, and shortens the wait of
 * lingering ones. Called by vp.c in the scheduler. */
void stm_goodbye_begin(void);
/** All VPs are leaving, and nobody will listen on the port any more: ends all idle connections.
 * Called likewise. */
void stm_goodbye_for_good(void);
/** A connection has become idle. Returns whether it must end now; if not, lowers the time after
 * which it must. */
bool stm_goodbye_is_due(const stm_conn_t *conn, apr_interval_time_t *idle_limit);
/** Whether the connection is to be served as if the VP were not leaving. */
bool stm_goodbye_can_wait(const stm_conn_t *conn);
/** Ends all connections: idle ones at once, those in progress as soon as their state threads
 * notice. Called by vp.c, perhaps several times. */
void stm_conns_shutdown(void);

/* --- known_modules.c: what may be done behind the modules' backs --- */

/** Called in the master once all modules are loaded. Logs at level info which one is unknown. */
void stm_modules_configure(apr_pool_t *pconf, server_rec *s);
/** Whether all of them are known to keep nothing of an idle connection, and to read from the client
 * through filters only. */
bool stm_modules_are_known(void);
/** Whether the idle connection may sleep; if in doubt, no. */
bool stm_may_sleep(const stm_conn_t *conn);
/** Whether the idle connection, which may not sleep, may rest; if in doubt, no. */
bool stm_may_rest(const stm_conn_t *conn);
/** Whether the connection's output filters write only what they are given. */
bool stm_output_is_quiet(const conn_rec *c);

/* --- current_thread.c: httpd's current thread --- */

/** Called on the VP's primordial thread, which has an apr_thread_t already. */
void stm_current_find(void);
/** Called first by each state thread of the MPM: returns its apr_thread_t. NULL: it has none,
 * because all state threads share the thread-local variables (StateThreadedIO Off). */
apr_thread_t *stm_current_begin(void);
/** The thread is about to end. Runs the cleanups of its pool, so it may yield. */
void stm_current_end(apr_thread_t *thread);

/* --- timed_callback.c --- */

/** Hook: runs a module's function on a state thread of its own after `delay` us. May be called on
 * any kernel thread. Returns APR_ENOTIMPL in the master, or APR_ENOMEM. */
apr_status_t stm_register_timed_callback(apr_time_t delay, ap_mpm_callback_fn_t *callback,
                                         void *baton);

/* --- large_file.c --- */

/** Bytes: larger files are large. */
enum { STM_SMALL_FILE = 32768 };

/** Hook. */
int stm_large_file_begin(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/** The request's handler is about to run: if the request is for a large file on a local disk, and
 * the configuration says nothing about it, lets httpd use sendfile(). */
void stm_large_file(request_rec *r);

/* --- small_file.c --- */

/** Registers the filter that reads small files. Called by module.c. */
void stm_small_file_register(void);
/** Hook. */
void stm_insert_filter(request_rec *r);
/** Reads the whole bucket into the buffer with one pread(), and leaves the bucket as it is. May
 * yield. False: it is not a file's, or that is not possible. */
bool stm_file_read(const apr_bucket *bucket, char *buffer);
/** Puts `length` bytes in front of a small file's contents without moving these. False: the bucket
 * is not ours, or not alone in having that buffer, or there is no room; then nothing is changed. */
bool stm_small_file_prepend(apr_bucket *bucket, const char *data, apr_size_t length);

/* --- tls_record.c: header and body in one TLS record --- */

/** Called in the master once all modules are loaded. */
void stm_tls_record_configure(void);
/** Registers the filter, and the hook that adds it to connections with TLS. */
void stm_tls_record_register_hooks(apr_pool_t *pool);

#endif
