/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the dashboard shows beside the figures (?about): the server's name, version and start, and
 * where its other pages are, if this client may see them. Called by dashboard.c.
 */
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

#include "mpm/pages/pages.h"

static const struct {
    const char *handler, *key;
} pages[] = {{"server-status", "status"}, {"stm-threads", "threads"}, {"stm-metrics", "metrics"}};
enum { PAGES = sizeof(pages) / sizeof(*pages) };

/* Only what a JSON string needs; the texts are the server's own. */
static const char *quoted(apr_pool_t *pool, const char *text)
{
    char *copy = apr_palloc(pool, strlen(text) * 2 + 3), *at = copy;

    *at++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *at++ = '\\';
        *at++ = (unsigned char)*text < ' ' ? ' ' : *text;
    }
    *at++ = '"';
    *at = '\0';
    return copy;
}

/* Whether the request's client gets that page there. */
static bool is_shown(request_rec *r, const char *path, const char *handler)
{
    request_rec *asked = ap_sub_req_lookup_uri(path, r, NULL);
    bool shown = asked->status == HTTP_OK && asked->handler && strcmp(asked->handler, handler) == 0;

    ap_destroy_sub_req(asked);
    return shown;
}

static bool is_plain(const core_dir_config *dir)
{
    return dir->d && dir->d[0] == '/' && !dir->r && !dir->d_is_fnmatch;
}

/* The first Location of this virtual host with that handler; NULL: none that has a plain path. */
static const char *path_of(request_rec *r, const char *handler)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);

    for (int i = 0; i < core->sec_url->nelts; i++) {
        const ap_conf_vector_t *section = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);
        const core_dir_config *dir = ap_get_core_module_config(section);

        if (dir && is_plain(dir) && dir->expr_handler && is_shown(r, dir->d, handler))
            return dir->d;
    }
    return NULL;
}

static apr_int64_t started(void)
{
    const global_score *global = ap_get_scoreboard_global();

    return global ? (apr_int64_t)apr_time_sec(global->restart_time) : 0;
}

int stm_about(request_rec *r)
{
    int status;

    if (!stm_page_begin(r, "application/json", &status))
        return status;
    ap_rprintf(
        r,
        "{\"self\": %s, \"host\": %s, \"version\": %s, \"mpm\": %s, \"started\": %" APR_INT64_T_FMT,
        quoted(r->pool, ap_escape_uri(r->pool, r->uri)), quoted(r->pool, ap_get_server_name(r)),
        quoted(r->pool, ap_get_server_description()), quoted(r->pool, ap_show_mpm()), started());
    for (int i = 0; i < PAGES; i++) {
        const char *path = path_of(r, pages[i].handler);

        if (path)
            ap_rprintf(r, ", \"%s\": %s", pages[i].key,
                       quoted(r->pool, ap_escape_uri(r->pool, path)));
    }
    ap_rputs("}\n", r);
    return status;
}
