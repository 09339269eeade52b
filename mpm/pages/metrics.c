/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SetHandler stm-metrics: all scoreboards as OpenMetrics text; and what the other pages share.
 */
#include <http_protocol.h>

#include "mpm/pages/pages.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/shmem.h"
#include "score/view.h"
#include "stiol/stiol.h"

#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* --- views --- */

typedef struct {
    int count;
    stm_view_t view[];
} views_t;

static apr_status_t free_views(void *data)
{
    views_t *views = data;

    for (int i = 0; i < views->count; i++)
        stm_view_free(&views->view[i]);
    return APR_SUCCESS;
}

/* Through the kernel, so that a truncated file causes an error. A block made after this process was
 * forked is not visible here. */
static bool read_memory(void *baton, int part, void *to, size_t size, uint64_t offset)
{
    const stm_score_seat_t *seat = baton;
    const stm_shmem_t *memory = part < 0 ? &seat->shown : &seat->block[part];

    return memory->readable && offset <= memory->size && size <= memory->size - offset &&
           stm_shmem_get(to, (const char *)memory->readable + offset, size);
}

static bool read_view(stm_view_t *view, int ordinal, unsigned what)
{
    stm_score_seat_t *seat = &stm_score_files->vp[ordinal];
    const stm_view_source_t source = {.read = read_memory, .baton = seat};

    if (!seat->header)
        return false;
    stm_view_read(view, ordinal, &source, what);
    return true;
}

static void refresh(void *unused)
{
    (void)unused;
    stm_score_refresh();
}

stm_view_t *stm_page_views(request_rec *r, unsigned what, int *count)
{
    views_t *views =
        apr_pcalloc(r->pool, sizeof(*views) + sizeof(stm_view_t) * (size_t)STM_VP_LIMIT);

    stiol_on_vp(refresh, NULL); /* our own are up to date */
    apr_pool_cleanup_register(r->pool, views, free_views, apr_pool_cleanup_null);
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        if (read_view(&views->view[views->count], i, what))
            views->count++;
    }
    *count = views->count;
    return views->view;
}

/* --- pages --- */

static void put(void *baton, const char *data, size_t size)
{
    ap_rwrite(data, (int)size, baton);
}

void stm_page_text(request_rec *r, stm_text_t *text)
{
    text->put = put;
    text->baton = r;
    text->wanted = NULL;
}

bool stm_page_begin(request_rec *r, const char *type, int *status)
{
    *status = OK;
    if (r->method_number != M_GET) {
        r->allowed |= AP_METHOD_BIT << M_GET;
        *status = HTTP_METHOD_NOT_ALLOWED;
        return false;
    }
    ap_set_content_type(r, type);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    return !r->header_only;
}

static __attribute__((noinline)) int metrics(request_rec *r)
{
    const stm_view_t *views;
    stm_text_t text;
    int count, status;

    if (stm_page_begin(r, OPENMETRICS, &status)) {
        stm_page_text(r, &text);
        views = stm_page_views(r, 0, &count);
        stm_text_openmetrics(&text, views, count);
    }
    return status;
}

static int metrics_handler(request_rec *r)
{
    return stm_page_is(r, "stm-metrics") ? metrics(r) : DECLINED;
}

void stm_metrics_register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(metrics_handler, NULL, NULL, APR_HOOK_MIDDLE);
}
