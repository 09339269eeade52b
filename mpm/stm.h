/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MPM's one internal header: its configuration, what the master keeps of each virtual processor
 * (VP), and what lives inside a VP: listeners, state threads and connections. docs/architecture.md
 * walks one connection through it.
 */
#ifndef STM_H
#define STM_H

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <apr.h>
#include <apr_buckets.h>
#include <apr_pools.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <ap_config.h>
#include <ap_listen.h>
#include <ap_mpm.h>
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <mpm_common.h>
#include <scoreboard.h>
#include <unixd.h>

#include "st.h"
#include "stiol/stiol.h"
#include "score/limits.h"

extern module AP_MODULE_DECLARE_DATA mpm_stm_module __attribute__((visibility("default")));

/* Log lines carry the module's name. module.c says so by declaring the module. */
#ifndef STM_MODULE_RECORD
APLOG_USE_MODULE(mpm_stm);
#endif

#ifdef STM_DEBUG
#define STM_ASSERT(expression) ap_assert(expression)
/* First in each procedure: STM_TRACE in the environment makes it say that it was called. */
#define STM_ENTER()                                                                                \
    do {                                                                                           \
        if (stm.trace)                                                                             \
            stm_trace(__func__);                                                                   \
    } while (0)
#else
#define STM_ASSERT(expression) ((void)0)
#define STM_ENTER()            ((void)0)
#endif

/* --- configuration (config.c, directives.c, migrate.c) --- */

#define STM_UNSET (-1)

/** What the directives say; after check_config: what is in effect. */
typedef struct stm_config {
    int num_vps;                /**< virtual processors */
    int start_threads;          /**< state threads started per listening socket */
    int min_spare;              /**< least state threads per socket that wait for a connection */
    int max_spare;              /**< most of them */
    int max_threads;            /**< state threads of one VP, spare and busy, all sockets */
    apr_size_t stack_size;      /**< bytes of a state thread's stack; 0: not set */
    int thread_connections;     /**< connections a thread serves before it yields; 0: unlimited */
    int vp_connections;         /**< connections a VP serves before it is replaced; 0: unlimited */
    int connection_status;      /**< per-connection status in the scoreboards */
    int threaded_io;            /**< StateThreadedIO: 1 (default) rebinds blocking calls */
    int small_pools;            /**< SmallPools: 1 (default) replaces APR's pools in VPs */
    int stall_warning;          /**< ms after which a held-up VP is logged; 0: never */
    int hang_timeout;           /**< s after which a VP that makes no turn is ended; 0: never */
    int config_test_timeout;    /**< s that the test before a restart may take; 0: no limit */
    const char *scoreboard_dir; /**< as written; NULL: none configured */
    bool one_process;

    /* Values of other MPMs' directives, STM_UNSET where absent (migrate.c). */
    int start_servers, server_limit, thread_limit, threads_per_child, max_request_workers;

    short cpu[STM_VP_LIMIT]; /**< VPBind: the CPU of each VP, -1: none */
    int binds;               /**< highest VP-ID named by VPBind, plus 1 */
    int vp_listens;          /**< VPListen directives seen */
    int listens;             /**< Listen directives seen */
    int vp_listen_max;       /**< highest VP-ID named by VPListen, plus 1 */
    int addresses;           /**< listening addresses that VPListen named, below */
    struct stm_vp_listen {
        const char *address;                    /**< as written */
        ap_listen_rec *lr;                      /**< what httpd's listen code made of it */
        uint64_t vps[(STM_VP_LIMIT + 63) / 64]; /**< the VPs that listen to it */
    } vp_listen[STM_LISTENER_LIMIT];
} stm_config_t;

/* --- what outlives a restart (retained.c) --- */

/** How a VP tells the master what it does: a page for each process, which no other VP can write
 * (pulse.c). */
#define STM_PULSE_REPORT 3840
typedef struct stm_pulse {
    uint64_t turns;                /**< of its scheduler */
    unsigned served;               /**< connections accepted */
    unsigned can_answer;           /**< it handles STM_LOOK_SIGNAL */
    unsigned answers;              /**< how often it has written its report */
    char report[STM_PULSE_REPORT]; /**< its request, then its calls, a line each */
} stm_pulse_t;

/** What the master knows of a VP that makes no turns (hang.c). */
typedef struct stm_hang {
    uint64_t turns;    /**< at the last look */
    unsigned silent;   /**< looks in a row that found no other number */
    unsigned long cpu; /**< clock ticks that it had used when it was logged */
    unsigned answers;  /**< its pulse's when it was asked */
    unsigned told;     /**< silent when it was logged; 0: it was not */
    bool asked;        /**< it was sent STM_LOOK_SIGNAL and has not answered yet */
} stm_hang_t;

/** Steps towards the end of a VP that has to stop. */
typedef enum {
    STM_ENDING_NOT,
    STM_ENDING_STOPPED,  /**< told to, by its control channel or a signal */
    STM_ENDING_KILLED,   /**< SIGKILL */
    STM_ENDING_GIVEN_UP, /**< the kernel does not let go of it */
} stm_ending_e;

/** The master's record of one process that is, or was, a VP. */
typedef struct stm_child {
    pid_t pid;   /**< 0: none */
    int ordinal; /**< its VP-ID */
    int control; /**< master's end of its control channel, -1: closed */
    ap_generation_t generation;
    unsigned incarnation; /**< of that ordinal, from 1 */
    apr_time_t started;   /**< time of day */
    apr_time_t born;      /**< the same moment, stm_monotonic() */
    apr_time_t cutoff;    /**< 0, or when (stm_monotonic()) the next step to its end is due */
    bool ready;           /**< said that it serves from now on */
    bool leaving;         /**< was told to leave, or said that it leaves */
    bool foreign;         /**< another build of this module made it */
    bool cautious;        /**< its predecessors were killed by requests */
    stm_ending_e ending;  /**< how far it was pressed to end */
    int dumping;          /**< how often it was given time to leave its core */
    stm_pulse_t *pulse;   /**< NULL: it has none */
    stm_hang_t hang;
    int line;               /**< its line of those of the ordinal (share.h), -1: none */
    int score;              /**< its block of the ordinal's scoreboard, -1: none */
    struct stm_child *next; /**< among the leaving ones */
} stm_child_t;

/** One ordinal: the VP that holds it now, and its history. */
typedef struct stm_seat {
    stm_child_t child;
    unsigned incarnations;
    unsigned early_deaths;  /**< in a row, each before it had accepted a connection */
    apr_time_t not_before;  /**< when (stm_monotonic()) the next VP may be started here */
    apr_time_t starts_paid; /**< until when starts are spent (backoff.c) */
    /** Whom httpd's process slot of that number names; the slot itself is not read: VPs may write
     * there. pid 0: nobody. */
    struct {
        pid_t pid;
        ap_generation_t generation;
    } noted;
} stm_seat_t;

/** A VP as one build of the module hands it over to another. */
typedef struct stm_handed {
    int32_t pid, ordinal;
    int32_t control; /**< master's end of its control channel, -1: closed */
    int32_t generation;
    int64_t cutoff; /**< stm_child_t's */
} stm_handed_t;

/** Memory of the master that another build of the module can do nothing with but give it back. */
typedef struct stm_leftover {
    void *at;
    uint64_t size; /**< bytes of a mapping; 0: from malloc() */
} stm_leftover_t;

/** What all builds with the same STM_HANDOVER find in httpd's retained data (stamp.c). This and the
 * letters on the control channel change with STM_HANDOVER only. */
typedef struct stm_stamp {
    char magic[8];
    uint32_t handover;         /**< STM_HANDOVER */
    uint32_t count;            /**< of vps */
    uint64_t size;             /**< of data */
    uint64_t layout;           /**< a hash of its layout, and of the memory that VPs share */
    void *data;                /**< stm_retained_t of the build that wrote this */
    stm_handed_t *vps;         /**< from malloc(); set while a graceful restart is under way */
    stm_leftover_t *leftovers; /**< from malloc(); set while a restart is under way */
    uint32_t leftover_count;
    int32_t directory; /**< of the scoreboards, which who takes over opens anew; -1: none */
} stm_stamp_t;

/** What outlives a restart, from malloc(). */
typedef struct stm_retained {
    stm_stamp_t *stamp;
    ap_unixd_mpm_retained_data *mpm;
    stm_seat_t seats[STM_VP_LIMIT];
    stm_child_t *leaving; /**< VPs without a seat that finish their connections */
    int seats_limit;      /**< seats in the core scoreboard, fixed at the first start; 0: not yet */
    int threads_limit;    /**< thread slots of a seat, likewise */
    int max_daemon_used;
    unsigned crashes;              /**< VPs that requests killed, one soon after the other */
    apr_time_t last_crash;         /**< stm_monotonic() */
    bool fatal;                    /**< a VP said that the server cannot run like this */
    struct stm_share *share;       /**< what the VPs say of themselves */
    struct stm_score_files *score; /**< the scoreboards */
} stm_retained_t;

/* --- inside a VP --- */

typedef struct stm_conn stm_conn_t;
typedef struct stm_listener stm_listener_t;
typedef struct stm_thread stm_thread_t;

/** What a connection waits for. Only SERVING holds a state thread. */
typedef enum {
    STM_CONN_FIRST_BYTE, /**< accepted, nothing has come yet */
    STM_CONN_QUEUED,     /**< ready, waits for a state thread */
    STM_CONN_SERVING,
    STM_CONN_KEEPALIVE, /**< idle between two requests */
    STM_CONN_WRITING,   /**< its response waits until the client reads on */
    STM_CONN_WAITIO,    /**< a module waits for the client's socket */
    STM_CONN_SUSPENDED, /**< a module has taken it over */
    STM_CONN_LINGER, /**< closed for writing; waits for the client's FIN. Has no conn_rec any more
                      */
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
    bool delayed : 1;     /**< FIRST_BYTE: waits until others have been served (caution.c) */
    int row;              /**< its row in the scoreboard, 0: none */
    stm_listener_t *listener;
    stm_conn_t *next, *prev; /**< all connections of the VP */
    stm_conn_t *queued;      /**< next in its listener's line */
    stm_thread_t *thread;    /**< while SERVING */
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

/** A state thread of a listener. */
struct stm_thread {
    st_thread_t st;
    apr_thread_t *current; /**< that modules see; NULL: none of its own */
    stm_listener_t *listener;
    stm_conn_t *conn;   /**< that it serves now; NULL: none */
    stm_thread_t *idle; /**< next among the listener's idle ones */
    int slot;           /**< its worker slot in the core scoreboard, -1: none was free */
    bool called;        /**< was woken or started for the line */
    bool retire;        /**< was woken to end, not to serve */
    stm_thread_t *next, **previous; /**< all threads of the VP */
    int unyielded;                  /**< connections served since its last yield */
    struct stm_score_thread *score; /**< its counters */
};

/** One listening socket in one VP, with its own state threads. */
struct stm_listener {
    st_watch_t watch;
    st_watch_t retry; /**< a timer: when accepting goes on after it was held back */
    ap_listen_rec *lr;
    int fd;
    bool shared;       /**< with other VPs */
    bool deferred;     /**< the kernel delivers connections with their first bytes */
    bool client_first; /**< its protocol: the client speaks first */
    bool accepting, held;
    bool in_burst; /**< few connections, but more than its share of those that come at once */
    int threads, idle_threads;
    stm_thread_t *idle;              /**< last in, first out */
    stm_conn_t *ready, **ready_tail; /**< connections in line for a state thread */
    int line_length;                 /**< of them */
    bool coming;                     /**< a thread is called for them and not there yet */
    int free_accepts;         /**< accepts although it is above its share: the others did not */
    unsigned others_accepted; /**< by the other VPs, when it was held back */
    int backoff_ms;
    apr_time_t complained;
    struct stm_score_listener *score; /**< its counters */
};

typedef enum { STM_VP_RUNNING, STM_VP_LEAVING, STM_VP_STOPPING } stm_vp_state_e;

/** The VP that this process is. */
typedef struct stm_vp {
    int ordinal;
    unsigned incarnation;
    pid_t pid;
    stm_vp_state_e state;
    apr_pool_t *pchild;
    apr_allocator_t *allocator;       /**< of connections' pools; see pool.c */
    apr_bucket_alloc_t *bucket_alloc; /**< shared by all client connections of the VP */
    st_vp_t scheduler;                /**< libst's handle; NULL in the master */
    st_thread_t main;                 /**< the primordial state thread */
    int control;                      /**< its end of the control channel, -1: none */
    int listener_count;
    stm_listener_t *listeners;
    stm_conn_t *conns;
    int conn_count;
    int state_count[STM_CONN_LINGER + 1];
    int answering_count; /**< of the SERVING ones: those whose request has been read */
    stm_thread_t *thread_list;
    int threads, threads_peak;
    unsigned long serial; /**< connections accepted */
    st_utime_t last_turn; /**< how long the scheduler's last turn took, us */
    bool slots_lost;      /**< the core scoreboard's process slot belongs to a successor */
} stm_vp_t;

/** All of the module's globals. */
typedef struct stm_globals {
    stm_config_t config;
    stm_retained_t *retained;
    apr_pool_t *pconf;
    bool one_process;
    bool trace;
    stm_vp_t vp; /**< meaningful in a VP only */
} stm_globals_t;

extern stm_globals_t stm;

/* module.c */
void stm_trace(const char *function);

/* config.c: defaults, checks, relations between the directives */
int stm_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
int stm_check_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* migrate.c: other MPMs' directives */
void stm_migrate(stm_config_t *config, apr_pool_t *pool);
void stm_migrate_log(server_rec *s);

/* config.c */
int stm_startup_flag(void);

/* directives.c */
extern const command_rec stm_directives[];

/* dump.c: httpd -t -D DUMP_STM */
void stm_dump_config(const stm_config_t *config);

/* retained.c */
stm_retained_t *stm_retained_get(void);

/* accept/sockets.c: sockets in the master */
int stm_open_logs(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
bool stm_listens_here(const ap_listen_rec *lr, int ordinal);
bool stm_listen_is_shared(const ap_listen_rec *lr);
void stm_listen_close_foreign(int ordinal);
const char *stm_vp_listen_add(cmd_parms *cmd, int ordinal, const char *address);
int stm_listen_count(void);

/* query.c */
int stm_query(int query_code, int *result, apr_status_t *rv);
const char *stm_get_name(void);

/* master.c: the run hook */
int stm_run(apr_pool_t *pconf, apr_pool_t *plog, server_rec *s);

/* children.c: starting and reaping VPs */
void stm_children_start_missing(void);
void stm_children_vacate(apr_time_t cutoff);
void stm_children_dismiss(void);
void stm_children_tell(char command);
typedef enum { STM_NOT_OURS, STM_REAPED, STM_FATAL } stm_reaped_e;
stm_reaped_e stm_children_reaped(apr_proc_t *proc, apr_exit_why_e why, int status);
void stm_children_become(void) __attribute__((noreturn));
void stm_children_listen(void);
int stm_children_channels(struct pollfd *list, int room);
stm_child_t *stm_children_unseat(stm_seat_t *seat);
void stm_children_ended(stm_child_t *child);
void stm_children_enforce_cutoffs(void);
apr_time_t stm_children_next_due(void);
int stm_children_alive(void);
int stm_children_all(void);

/* backoff.c: when a seat gets its next VP */
void stm_backoff_after_death(stm_seat_t *seat, const stm_child_t *last, bool served, bool crashed);
void stm_backoff_after_failure(stm_seat_t *seat);
bool stm_backoff_crash_loop(void);

/* pulse.c: a VP's side of the watch */
/* A signal that nobody else uses, and that gdb passes on without a stop. */
#define STM_LOOK_SIGNAL SIGVTALRM
extern stm_pulse_t *stm_pulse; /**< of the VP that this process is; never NULL */
stm_pulse_t *stm_pulse_make(void);
void stm_pulse_inherit(stm_pulse_t *pulse, bool inherited);
void stm_pulse_unmake(stm_pulse_t *pulse);
void stm_pulse_take(stm_pulse_t *pulse);
void stm_pulse_answer(void);
void stm_pulse_answers(bool does);

/* hang.c: the master's */
void stm_hang_look(void);
bool stm_hang_dumps_core(pid_t pid);

/* caution.c: a VP whose predecessors were killed by requests */
void stm_caution_begin(void);
bool stm_caution_delays(stm_conn_t *conn);
bool stm_caution_is_over(stm_conn_t *conn);

/* clock.c */
apr_time_t stm_monotonic(void);

/* reclaim.c */
void stm_children_reclaim(void);

/* sigchld.c: the master's wake-up on a death */
bool stm_sigchld_open(void);
void stm_sigchld_close(void);
void stm_sigchld_wait(apr_interval_time_t timeout);
void stm_sigchld_wait_or_hear(apr_interval_time_t timeout, const sigset_t *signals);
void stm_sigchld_in_vp(void);

/* configtest.c */
typedef enum { STM_TEST_NONE, STM_TEST_RUNS, STM_TEST_GOOD, STM_TEST_BAD } stm_test_e;
void stm_config_test_begin(server_rec *s);
bool stm_config_test_reaped(const apr_proc_t *proc, apr_exit_why_e why, int status);
stm_test_e stm_config_test_look(server_rec *s);
void stm_config_test_cancel(void);
void stm_config_test_in_vp(void);
apr_time_t stm_config_test_due(void);
int stm_config_test_answer(server_rec *s);

/* stamp.c: another build of this module under the same master */
bool stm_stamp_fits(const stm_stamp_t *stamp);
void stm_stamp_hand_over(void);
void stm_stamp_forget(stm_stamp_t *stamp);
bool stm_stamp_take_over(stm_retained_t *retained, stm_stamp_t *stamp);
void stm_stamp_put(stm_retained_t *retained, stm_stamp_t *stamp);

/* leftovers.c: what the build that took over gives back */
void stm_leftovers_list(stm_stamp_t *stamp, stm_retained_t *retained);
void stm_leftovers_forget(stm_stamp_t *stamp);
void stm_leftovers_free(stm_stamp_t *stamp);

/* control.c: master to VP, and back. LEAVE: close listeners, finish connections, exit; from a VP:
 * that is what it does. STOP: the same at once. READY, from a VP: from now on it serves. */
#define STM_CONTROL_LEAVE 'G'
#define STM_CONTROL_STOP  'T'
#define STM_CONTROL_READY 'R'
typedef enum {
    STM_HEARD_NOTHING,
    STM_HEARD_BYTE,
    STM_HEARD_END, /* the VP has closed its end: it has ended, or cannot hear either */
} stm_heard_e;
bool stm_control_open(int *master_end, int *vp_end);
bool stm_control_send(int end, char message);
stm_heard_e stm_control_hear(int master_end, char *message);
void stm_control_listen(int vp_end);

/* vp.c */
void stm_vp_main(const stm_child_t *child, int control) __attribute__((noreturn));
void stm_vp_leave(void);
void stm_vp_stop(void);
void stm_vp_retire(void);
void stm_vp_idle_check(void);

/* census.c: depth of the stacks */
void stm_census_start(void);
void stm_census_report(void);

/* process/cpu_binding.c */
void stm_bind_cpu(int ordinal);
const char *stm_cpu_check(int cpu, apr_pool_t *pool);

/* crash.c */
void stm_crash_setup(void);
void stm_crash_restore(void);

/* listener.c */
bool stm_listeners_open(void);
void stm_listeners_close(void);
void stm_listener_enqueue(stm_conn_t *conn);
void stm_listener_resume(stm_listener_t *listener);
stm_conn_t *stm_listener_dequeue(stm_listener_t *listener);
void stm_listeners_feed(void);
void stm_listeners_look_again(void);
void stm_listener_ask_for_room(const stm_listener_t *needy);

/* fd_limit.c */
void stm_fd_limit_keep(void);
void stm_fd_limit_restore(void);

/* balance.c */
bool stm_balance_above_average(void);
bool stm_balance_above_share(void);
bool stm_balance_above_burst_share(const stm_listener_t *listener);
void stm_balance_asleep(int asleep);
void stm_balance_publish(void);
unsigned stm_balance_others_accepted(void);
int stm_balance_batch(void);

/* thread.c */
bool stm_thread_start(stm_listener_t *listener, bool called);
void stm_thread_call(stm_listener_t *listener);
void stm_threads_interrupt(void);
bool stm_thread_can_start(void);
int stm_thread_retire(stm_listener_t *listener, int count);

/* accept/current_thread.c: httpd's current thread */
void stm_current_find(void);
apr_thread_t *stm_current_begin(void);
void stm_current_end(apr_thread_t *thread);

/* accept/worker_slot.c: worker slots of the core scoreboard */
int stm_slot_take(void);
void stm_slot_give(int slot);
void stm_slot_status(int slot, int status);
void stm_slots_clear_dead(int ordinal, pid_t pid);

/* conn.c */
void stm_conn_accepted(stm_listener_t *listener, int fd, const struct sockaddr *client,
                       socklen_t length);
void stm_conn_serve(stm_conn_t *conn, stm_thread_t *thread);
void stm_conns_shutdown(void);
int stm_pre_connection(conn_rec *c, void *csd);
void stm_pre_read_request(request_rec *r, conn_rec *c);
int stm_post_read_request(request_rec *r);
int stm_protocol_switch(conn_rec *c, request_rec *r, server_rec *s, const char *protocol);
stm_conn_t *stm_conn_of(const conn_rec *c);

/* conn/record.c: the records themselves */
stm_conn_t *stm_conn_new(stm_listener_t *listener, int fd);
void stm_conn_free(stm_conn_t *conn);
void stm_conn_set_state(stm_conn_t *conn, stm_conn_state_e state);
void stm_conn_set_answering(stm_conn_t *conn, bool answering);

/* sleep.c: idle connections give up their conn_rec */
void stm_sleep_watch(stm_conn_t *conn);
void stm_sleep_unwatch(stm_conn_t *conn);
bool stm_sleep_wake(stm_conn_t *conn, stm_sleeper_t *kept);
void stm_sleep_restore(stm_conn_t *conn, const stm_sleeper_t *kept);
bool stm_sleep_interrupted(stm_conn_t *conn, int ready);
void stm_sleep_forget(stm_conn_t *conn);

/* conn/known_modules.c: which of them may */
void stm_may_sleep_configure(apr_pool_t *pconf, server_rec *s);
bool stm_may_sleep_here(void);
bool stm_may_sleep(const stm_conn_t *conn);
bool stm_output_is_quiet(const conn_rec *c);

/* park.c: a connection waits without a state thread */
void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout);
void stm_conn_ready(st_watch_t *watch, int ready);
void stm_suspended_resume(void);
void stm_conn_first_byte(stm_conn_t *conn);

/* last_write.c: the FIN goes out with the response */
apr_status_t stm_last_write(stm_conn_t *conn, apr_status_t (*flush)(conn_rec *c));
int stm_last_write_done(request_rec *r);

/* linger.c */
void stm_linger_start(stm_conn_t *conn);
void stm_linger_asleep(stm_conn_t *conn);
apr_pool_t *stm_conn_detach(stm_conn_t *conn);
void stm_linger_continue(stm_conn_t *conn, int ready);
void stm_conn_abandon(stm_conn_t *conn);

/* pool.c: pools of connections */
apr_pool_t *stm_pool_get(void);
void stm_pool_put(apr_pool_t *pool);
bool stm_pools_open(void);
void stm_pools_share(void);

/* stall.c */
void stm_stall_start(void);
void stm_stall_end(void);
void stm_stall_turn(st_utime_t held);
void stm_stall_thread(stm_thread_t *thread);

/* lock_report.c: debug builds' reports of locks held across a park; NULL in others */
typedef void (*stm_lock_report_fn)(const stiol_lock_report_t *report);
stm_lock_report_fn stm_lock_report(void);

/* conn/timed_callback.c */
apr_status_t stm_register_timed_callback(apr_time_t delay, ap_mpm_callback_fn_t *callback,
                                         void *baton);

/* first_byte.c */
void stm_first_byte_configure(server_rec *s);
apr_interval_time_t stm_first_byte_timeout(void);

/* small_file.c */
void stm_small_file_register(void);
void stm_insert_filter(request_rec *r);

/* conn/network_bucket.c */
int stm_insert_network_bucket(conn_rec *c, apr_bucket_brigade *bb, apr_socket_t *socket);
bool stm_network_receive_early(stm_conn_t *conn);
void stm_network_forget_early(stm_conn_t *conn);

#endif
