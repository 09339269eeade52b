/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RunOn: on which kind of thread requests are served, by server, section and handler. run_on.c
 * reads the directive; kernel_request.c uses it.
 */
#ifndef STM_RUN_ON_H
#define STM_RUN_ON_H

#include "mpm/config/config.h"

typedef enum { STM_RUN_UNSET, STM_RUN_STATE, STM_RUN_KERNEL, STM_RUN_AUTO } stm_run_on_e;

/** What a section says. */
typedef struct stm_run_on {
    stm_run_on_e all;             /**< for requests whose handler is not named */
    apr_array_header_t *handlers; /**< of stm_run_on_handler_t, later ones win; NULL: none */
} stm_run_on_t;

typedef struct stm_run_on_handler {
    const char *name;
    stm_run_on_e mode;
} stm_run_on_handler_t;

/** The module's create_dir_config: called by httpd while it reads the configuration. */
void *stm_run_on_create(apr_pool_t *pool, char *section);
/** The module's merge_dir_config: called by httpd while it reads the configuration, and for each
 * request, in its pool. */
void *stm_run_on_merge(apr_pool_t *pool, void *outer, void *inner);
/** The setter of the directive: returns NULL, or what is wrong with its arguments. */
const char *stm_run_on_set(cmd_parms *cmd, void *section, int argc, char *const argv[]);

/** What the sections say about a request with that handler (NULL: not known yet), or the handler's
 * default if they say nothing. Never returns UNSET. */
stm_run_on_e stm_run_on_of(const ap_conf_vector_t *sections, const char *handler);
/** Once the configuration has been read: logs what has no effect, and finds out which handlers'
 * modules are loaded. */
void stm_run_on_check(server_rec *s);

#endif
