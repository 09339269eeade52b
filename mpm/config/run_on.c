/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directive RunOn, how its uses in different sections are merged, and the handlers that run on
 * kernel threads by default. Not allowed in .htaccess files: kernel threads are few, and shared by
 * all of a VP's requests.
 */
#include "mpm/config/run_on.h"

static const char *const names[] = {
    [STM_RUN_STATE] = "state", [STM_RUN_KERNEL] = "kernel", [STM_RUN_AUTO] = "auto"};
#define NAMES (sizeof(names) / sizeof(*names))

void *stm_run_on_create(apr_pool_t *pool, char *section)
{
    (void)section;
    return apr_pcalloc(pool, sizeof(stm_run_on_t));
}

/* Without handlers, RunOn in an inner section applies to all requests there. */
void *stm_run_on_merge(apr_pool_t *pool, void *outer, void *inner)
{
    const stm_run_on_t *one = outer, *other = inner;
    stm_run_on_t *both = apr_palloc(pool, sizeof(*both));

    *both = *other;
    if (other->all != STM_RUN_UNSET)
        return both;
    both->all = one->all;
    if (one->handlers && other->handlers)
        both->handlers = apr_array_append(pool, one->handlers, other->handlers);
    else if (one->handlers)
        both->handlers = one->handlers;
    return both;
}

static stm_run_on_e mode_of(const char *text)
{
    for (size_t i = STM_RUN_STATE; i < NAMES; i++)
        if (strcasecmp(text, names[i]) == 0)
            return (stm_run_on_e)i;
    return STM_RUN_UNSET;
}

static bool is_location(const cmd_parms *cmd)
{
    const ap_directive_t *parent = cmd->directive ? cmd->directive->parent : NULL;

    return parent && strncasecmp(parent->directive, "<Location", 9) == 0;
}

const char *stm_run_on_set(cmd_parms *cmd, void *section, int argc, char *const argv[])
{
    stm_run_on_t *run_on = section;
    stm_run_on_e mode = argc > 0 ? mode_of(argv[0]) : STM_RUN_UNSET;

    if (mode == STM_RUN_UNSET)
        return apr_psprintf(cmd->pool,
                            "RunOn: %s is not a kind of thread: must be state, kernel or auto, "
                            "optionally followed by names of handlers",
                            argc > 0 ? argv[0] : "(nothing)");
    stm_config.run_on_used = true;
    if (argc == 1) {
        run_on->all = mode;
        stm_config.run_on_early |= mode == STM_RUN_KERNEL;
        stm_config.run_on_locations |= is_location(cmd);
        return NULL;
    }
    if (!run_on->handlers)
        run_on->handlers = apr_array_make(cmd->pool, argc, sizeof(stm_run_on_handler_t));
    for (int i = 1; i < argc; i++)
        *(stm_run_on_handler_t *)apr_array_push(run_on->handlers) =
            (stm_run_on_handler_t){apr_pstrdup(cmd->pool, argv[i]), mode};
    return NULL;
}

/* --- handlers that are known to compute --- */

/* On any site, nearly every request of these computes for so long that there is no need to find
 * that out by holding up the VP. docs/internals/kernel-threads.md has measurements. */
static const struct {
    const char *handler, *module;
} known[] = {
    {"mapcache", "mod_mapcache.c"}, /* decodes, scales and encodes images */
};
#define KNOWN (sizeof(known) / sizeof(*known))

static stm_run_on_e usual(const char *handler)
{
    for (size_t i = 0; stm_config.run_on_known && handler && i < KNOWN; i++)
        if (strcmp(known[i].handler, handler) == 0)
            return STM_RUN_KERNEL;
    return STM_RUN_AUTO;
}

/* As long as none of their modules is loaded, the list costs requests nothing. */
static bool is_any_loaded(void)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (ap_find_linked_module(known[i].module))
            return true;
    return false;
}

/* --- what applies --- */

stm_run_on_e stm_run_on_of(const ap_conf_vector_t *sections, const char *handler)
{
    const stm_run_on_t *run_on = ap_get_module_config(sections, &mpm_stm_module);
    const stm_run_on_handler_t *named;

    if (!run_on)
        return usual(handler);
    named = run_on->handlers ? (const stm_run_on_handler_t *)run_on->handlers->elts : NULL;
    for (int i = named && handler ? run_on->handlers->nelts : 0; i-- > 0;)
        if (strcmp(named[i].name, handler) == 0)
            return named[i].mode;
    return run_on->all != STM_RUN_UNSET ? run_on->all : usual(handler);
}

void stm_run_on_check(server_rec *s)
{
    const char *why = NULL;

    if (stm_config.kernel_threads == 0)
        why = "KernelThreads is 0";
    else if (!stm_config.threaded_io)
        why = "StateThreadedIO is Off";
    if (why && stm_config.run_on_used)
        ap_log_error(APLOG_MARK, APLOG_WARNING | stm.startup, 0, stm.startup ? NULL : s,
                     STMNO(0012) "RunOn has no effect: %s.", why);
    stm_config.run_on_known = !why && is_any_loaded();
}
