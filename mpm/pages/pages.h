/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that show the scoreboards: mod_status's part, OpenMetrics, the dashboard. Like any handler,
 * they run on a state thread.
 */
#ifndef STM_PAGES_H
#define STM_PAGES_H

#include "mpm/stm.h"

struct stm_text;
struct stm_view;

/* --- status.c --- */

/** Registers our section of mod_status's page. Called by module.c. */
void stm_status_register_hooks(apr_pool_t *pool);
/** Views of all VPs, allocated from the request's pool; what: STM_VIEW_... */
struct stm_view *stm_page_views(request_rec *r, unsigned what, int *count);
/** Whether the request is for the handler of that name, "stm-..."; checked for every request, so it
 * must be cheap. */
static inline bool stm_page_is(const request_rec *r, const char *name)
{
    return r->handler && r->handler[0] == 's' && strcmp(r->handler, name) == 0;
}
/** Begins a page of that type, never to be cached. False: the request does not ask for a page, and
 * `status` is the answer. */
bool stm_page_begin(request_rec *r, const char *type, int *status);
/** Directs text to the client. */
void stm_page_text(request_rec *r, struct stm_text *text);

/** Writes text that a client has sent, as plain ASCII without markup. */
void stm_page_escaped(request_rec *r, const char *text);

/* --- about.c: the dashboard's head --- */

/** Answers with the server's name, version, MPM, start, and addresses of its other pages. */
int stm_about(request_rec *r);

/* --- slots_filter.c, metrics.c, dashboard.c, threads.c --- */

/** Each registers its filter or handler. Called by module.c. */
void stm_slots_filter_register_hooks(apr_pool_t *pool);
void stm_metrics_register_hooks(apr_pool_t *pool);
void stm_dashboard_register_hooks(apr_pool_t *pool);
void stm_threads_register_hooks(apr_pool_t *pool);

#endif
