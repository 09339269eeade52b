/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the directives say. All of it happens in the master, before there are VPs; nothing yields.
 */
#ifndef STM_CONFIG_H
#define STM_CONFIG_H

#include "mpm/stm.h"

#define STM_UNSET        (-1)
#define STM_KERNEL_LIMIT 1000 /* of KernelThreads */

/** What the directives say; once they are checked: what is in effect. */
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
    int helper_threads;         /**< most helper kernel threads of a VP */
    int kernel_threads;         /**< kernel threads of a VP that serve requests; 0: none */
    bool run_on_used;           /**< RunOn stands somewhere */
    bool run_on_early;          /**< it says kernel without a handler's name somewhere */
    bool run_on_locations;      /**< it stands in a Location */
    int stall_warning;          /**< ms after which a held-up VP is logged; 0: never */
    int hang_timeout;           /**< s after which a VP that makes no turn is ended; 0: never */
    int config_test_timeout;    /**< s that the test before a restart may take; 0: no limit */
    const char *scoreboard_dir; /**< as written; NULL: none configured */

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

/** In a VP as the master had it at the fork. */
extern stm_config_t stm_config;

/* --- directives.c --- */

/** The module record's table. */
extern const command_rec stm_directives[];

/* --- config.c: defaults, checks, relations between the directives --- */

/** Before the directives are read. Called by pre_config. */
void stm_config_begin(void);
/** After they are read: fills in defaults, corrects what makes no sense together (logged as a
 * warning) and refuses what cannot be. OK, or what a check_config hook returns then; said in the
 * log. Called by check_config. */
int stm_config_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/** Logs why the server cannot start with this configuration. Returns what a check_config hook
 * returns then. */
int stm_config_refuse(server_rec *s, const char *message);

/* --- listens.c: which VP listens to what (Listen, VPListen) --- */

/** Listening sockets of the configuration. */
int stm_listens_count(void);
/** VPListen: one more address of that VP, in the form IP-address:port or [IPv6-address]:port. NULL,
 * or the error, in the directive's pool. Called by directives.c. */
const char *stm_listens_add(cmd_parms *cmd, int ordinal, const char *address);
/** Whether that VP listens to the socket. */
bool stm_listens_to(const ap_listen_rec *lr, int ordinal);
/** Whether several VPs do: then they take turns in accepting. */
bool stm_listens_shared(const ap_listen_rec *lr);

/* --- migrate.c: other MPMs' directives --- */

/** What they mean here; before defaults are filled in. Called by config.c. */
void stm_migrate(stm_config_t *config, apr_pool_t *pool);
/** Says what was mapped, at info. Called by the master once the error log is open. */
void stm_migrate_log(server_rec *s);

/* --- dump.c --- */

/** httpd -t -D DUMP_STM: the configuration in effect, on stdout. Called by check_config. */
void stm_dump_config(const stm_config_t *config);

#endif
