/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SetHandler stm-threads: what each state thread waits for, as a page, or with ?json as JSON. The
 * same as stmstat threads.
 */
#include <http_protocol.h>

#include "mpm/conn/waits.h"
#include "mpm/pages/pages.h"
#include "score/waits.h"
#include "stiol/stiol.h"

enum { MOST_THREADS = 1000 }; /* rows of a page */

static void look(void *unused)
{
    (void)unused;
    stm_waits_look_now();
}

static const char style[] =
    "<style>body{font:14px sans-serif;margin:1em}table{border-collapse:collapse;margin-bottom:1em}"
    "td,th{padding:2px 8px;text-align:left;border-bottom:1px solid #8886;vertical-align:top}"
    ".n{text-align:right;white-space:nowrap}:root{color-scheme:light dark}"
    "div{overflow-x:auto}</style>";

static void put_cell(request_rec *r, const char *text)
{
    ap_rputs("<td>", r);
    stm_page_escaped(r, text);
    ap_rputs("</td>", r);
}

static void put_time(request_rec *r, uint64_t us)
{
    char time[STM_WAITS_TIME];

    ap_rvputs(r, "<td class=\"n\">", stm_waits_time(us, time), "</td>", NULL);
}

static void put_sums(request_rec *r, const char *title, const stm_waits_sum_t *sums, unsigned count)
{
    if (!count)
        return;
    ap_rvputs(r, "<table><tr><th>", title, "</th><th>Threads</th><th>Longest</th></tr>\n", NULL);
    for (unsigned i = 0; i < count; i++) {
        ap_rputs("<tr>", r);
        put_cell(r, *sums[i].name ? sums[i].name : stm_wait_kinds[sums[i].kind].words);
        ap_rprintf(r, "<td class=\"n\">%u</td>", sums[i].threads);
        put_time(r, sums[i].longest);
        ap_rputs("</tr>\n", r);
    }
    ap_rputs("</table>\n", r);
}

static void put_thread(request_rec *r, const stm_waiting_t *one)
{
    char words[STM_WAITS_WORDS];

    ap_rprintf(r, "<tr><td class=\"n\">%d</td>", one->vp);
    put_time(r, one->age);
    put_time(r, one->waited);
    put_cell(r, stm_waits_words(one->wait, words));
    put_cell(r, one->wait->client);
    put_cell(r, one->wait->vhost);
    put_cell(r, one->wait->handler);
    put_cell(r, one->wait->request);
    ap_rputs("</tr>\n", r);
}

static void put_page(request_rec *r, const stm_waits_t *waits)
{
    unsigned shown = waits->count < MOST_THREADS ? waits->count : MOST_THREADS;

    ap_rvputs(r,
              "<!DOCTYPE html>\n<html lang=\"en\"><head><title>State threads</title>\n"
              "<meta name=\"viewport\" content=\"width=device-width\">\n",
              style, "</head><body>\n<h1>What state threads wait for</h1>\n", NULL);
    put_sums(r, "Waits for", waits->kinds, waits->kind_count);
    put_sums(r, "Backend", waits->backends, waits->backend_count);
    ap_rputs("<div><table><tr><th>VP</th><th>Age</th><th>For</th><th>Waits for</th><th>Client</th>"
             "<th>Virtual host</th><th>Handler</th><th>Request</th></tr>\n",
             r);
    for (unsigned i = 0; i < shown; i++)
        put_thread(r, &waits->waiting[i]);
    ap_rputs("</table></div>\n", r);
    if (shown < waits->count)
        ap_rprintf(r, "<p>and %u more, which stmstat shows</p>\n", waits->count - shown);
    ap_rputs("</body></html>\n", r);
}

static __attribute__((noinline)) int show(request_rec *r)
{
    bool json = r->args && strcmp(r->args, "json") == 0;
    uint64_t now;
    stm_waits_t waits;
    stm_text_t text;
    int count, status;
    const stm_view_t *views;

    if (!stm_page_begin(r, json ? "application/json" : "text/html; charset=utf-8", &status))
        return status;
    stiol_on_vp(look, NULL); /* our own are named, however short */
    views = stm_page_views(r, STM_VIEW_WAITS, &count);
    stm_page_text(r, &text);
    now = (uint64_t)apr_time_now();
    if (!stm_waits_collect(&waits, views, count, now))
        status = HTTP_INTERNAL_SERVER_ERROR;
    else if (json)
        stm_waits_json(&text, &waits, now);
    else
        put_page(r, &waits);
    stm_waits_free(&waits);
    return status;
}

/* Each request comes by here. */
static int threads_handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "stm-threads") != 0)
        return DECLINED;
    return show(r);
}

void stm_threads_register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(threads_handler, NULL, NULL, APR_HOOK_MIDDLE);
}
