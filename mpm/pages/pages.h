/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that show the scoreboards: mod_status's part, OpenMetrics, the dashboard. They run as any
 * handler does, on a state thread.
 */
#ifndef STM_PAGES_H
#define STM_PAGES_H

#include "mpm/stm.h"

struct stm_text;
struct stm_view;

/* --- status.c --- */

void stm_status_register_hooks(apr_pool_t *pool);
/** Views of all VPs, of the request's pool; what: STM_VIEW_... */
struct stm_view *stm_page_views(request_rec *r, unsigned what, int *count);
/** A page of such text, never cached. False: the request asks for no page, `status` is the
 * answer. */
bool stm_page_begin(request_rec *r, const char *type, int *status);
/** Where text for the client goes. */
void stm_page_text(request_rec *r, struct stm_text *text);

/* --- metrics.c, dashboard.c --- */

void stm_metrics_register_hooks(apr_pool_t *pool);
void stm_dashboard_register_hooks(apr_pool_t *pool);

#endif
