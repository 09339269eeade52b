/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the directives say. All of this runs in the master, before there are any VPs; nothing
 * yields.
 */
#ifndef STM_CONFIG_H
#define STM_CONFIG_H

#include "mpm/stm.h"

#define STM_UNSET        (-1)
#define STM_KERNEL_LIMIT 1000 /* of KernelThreads */

/** A listening address named by VPListen. */
struct stm_vp_listen {
    const char *address;                    /**< as written */
    ap_listen_rec *lr;                      /**< what httpd's listen code made of it */
    uint64_t vps[(STM_VP_LIMIT + 63) / 64]; /**< the VPs that listen to it */
};

/** What the directives say and, once they are checked, what is in effect. */
typedef struct stm_config {
    int num_vps;                /**< virtual processors */
    int start_threads;          /**< state threads started per listening socket */
    int min_spare;              /**< minimum number of idle state threads per socket */
    int max_spare;              /**< maximum number of them */
    int max_threads;            /**< state threads of one VP, spare and busy, all sockets */
    apr_size_t stack_size;      /**< bytes of a state thread's stack; 0: not set */
    int thread_connections;     /**< connections a thread serves before it yields; 0: unlimited */
    int vp_connections;         /**< connections a VP serves before it is replaced; 0: unlimited */
    int connection_status;      /**< per-connection status in the scoreboards */
    int threaded_io;            /**< StateThreadedIO: 1 (default) rebinds blocking calls */
    int small_pools;            /**< SmallPools: 1 (default) replaces APR's pools in VPs */
    int helper_threads;         /**< maximum number of helper kernel threads of a VP */
    int kernel_threads;         /**< kernel threads of a VP that serve requests; 0: none */
    bool run_on_used;           /**< RunOn is used */
    bool run_on_known;          /**< a module is loaded whose handler runs on kernel threads by
                                 * default */
    bool run_on_early;          /**< some RunOn says kernel without naming a handler */
    bool run_on_locations;      /**< RunOn is used in a Location */
    int stall_warning;          /**< ms after which a held-up VP is logged; 0: never */
    int hang_timeout;           /**< s without a turn after which a VP is ended; 0: never */
    int config_test_syntax;     /**< ConfigTest Syntax: the test before a restart only reads */
    int config_test_timeout;    /**< time limit of the test before a restart, s; 0: none */
    const char *scoreboard_dir; /**< as written; NULL if not configured */

    /* Values of other MPMs' directives, STM_UNSET where absent (migrate.c). */
    int start_servers, server_limit, thread_limit, threads_per_child, max_request_workers;
    int min_spare_servers, max_spare_servers;

    short cpu[STM_VP_LIMIT];         /**< VPBind: the CPU of each VP, -1: none */
    int binds;                       /**< highest VP-ID named by VPBind, plus 1 */
    int vp_listens;                  /**< VPListen directives seen */
    int listens;                     /**< Listen directives seen */
    int vp_listen_max;               /**< highest VP-ID named by VPListen, plus 1 */
    int addresses;                   /**< number of listening addresses named by VPListen */
    int addresses_room;              /**< how many vp_listen has room for */
    struct stm_vp_listen *vp_listen; /**< those addresses; in the configuration's pool */
} stm_config_t;

/** In a VP, a copy of the master's at the time of the fork. */
extern stm_config_t stm_config;

/* --- directives.c --- */

/** The module record's table. */
extern const command_rec stm_directives[];

/* --- config.c: defaults, checks, relations between the directives --- */

/** To be called before the directives are read. Called by pre_config. */
void stm_config_begin(void);
/** To be called after they are read: fills in defaults, corrects combinations that make no sense
 * (with a warning) and rejects what is impossible. Returns OK, or a check_config hook's error,
 * after logging it. Called by check_config. */
int stm_config_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/** stm.limits, or, before the first start, what they will be. */
stm_limits_t stm_config_limits(void);
/** Logs why the server cannot start with this configuration. Returns a check_config hook's
 * error. */
int stm_config_refuse(server_rec *s, const char *message);

/* --- listens.c: which VP listens to what (Listen, VPListen) --- */

/** Listening sockets of the configuration. */
int stm_listens_count(void);
/** VPListen: adds an address to that VP, in the form IP-address:port or [IPv6-address]:port.
 * Returns NULL or the error message, allocated from the directive's pool. Called by
 * directives.c. */
const char *stm_listens_add(cmd_parms *cmd, int ordinal, const char *address);
/** Whether that VP listens to the socket. */
bool stm_listens_to(const ap_listen_rec *lr, int ordinal);
/** Whether several VPs do: then they take turns in accepting. */
bool stm_listens_shared(const ap_listen_rec *lr);

/* --- migrate.c: other MPMs' directives --- */

/** Applies other MPMs' directives, before defaults are filled in. Called by config.c. */
void stm_migrate(stm_config_t *config, apr_pool_t *pool);
/** Logs what was mapped, at level info. Called by the master once the error log is open. */
void stm_migrate_log(server_rec *s);

/* --- cpus.c --- */

/** How many CPUs the server may use, for NumVPs auto: those of its affinity, and no more than the
 * quotas of its control groups come to, rounded up. */
int stm_cpus(void);
/** What the quotas alone come to, or 0: there is none. top: "", or in tests the folder that has
 * proc and the mounts of /proc/self/mountinfo. */
int stm_cpu_quota(const char *top);

/* --- dump.c --- */

/** httpd -t -D DUMP_STM: the configuration in effect, on stdout. Called by check_config. */
void stm_dump_config(const stm_config_t *config);

#endif
