/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STM's section of mod_status's page: a summary, one row for each VP and listener, the threads, and
 * the connections. ?auto gives the same as keys that begin with Stm.
 */
#include <ctype.h>
#include <string.h>

#include <http_protocol.h>
#include <mod_status.h>

#include "mpm/pages/pages.h"
#include "score/view.h"

/* Rows of connections on a page, and thread slots of a VP: of any more, only the number is
 * shown. */
enum {
    MOST_ROWS = 1000,
    MOST_THREADS = 256,
};
#define SECOND 1000000u /* us */

/* --- ?auto --- */

/* thread_starts becomes ThreadStarts. */
static const char *key_of(const stm_score_field_t *field, char *key, size_t size)
{
    bool upper = true;
    size_t n = 0;

    for (const char *at = field->name; *at && n < size - 1; at++) {
        if (*at != '_')
            key[n++] = (char)(upper ? toupper((unsigned char)*at) : *at);
        upper = *at == '_';
    }
    key[n] = '\0';
    return key;
}

/* Keys as stmstat names them: TurnSecondsSum, TurnSecondsUnder64Us, ..., TurnSecondsBeyond. */
static void auto_histogram(request_rec *r, const char *prefix, const char *key,
                           const stm_score_field_t *field, const uint64_t *words)
{
    char number[STM_TEXT_NUMBER];

    ap_rprintf(r, "Stm%s%sSum: %s\n", prefix, key,
               stm_text_number(field, words[STM_SCORE_BUCKETS], number));
    for (int i = 0; i < STM_SCORE_BUCKETS - 1; i++)
        ap_rprintf(r, "Stm%s%sUnder%" APR_UINT64_T_FMT "Us: %" APR_UINT64_T_FMT "\n", prefix, key,
                   stm_score_bucket_bound(i), words[i]);
    ap_rprintf(r, "Stm%s%sBeyond: %" APR_UINT64_T_FMT "\n", prefix, key,
               words[STM_SCORE_BUCKETS - 1]);
}

static void auto_values(request_rec *r, const char *prefix, stm_score_group_e group,
                        const void *values, bool sum)
{
    char key[64], number[STM_TEXT_NUMBER];

    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if (field->group != group || (sum && !stm_score_adds_up(field)))
            continue;
        key_of(field, key, sizeof(key));
        if (field->type == STM_SCORE_TYPE_histogram)
            auto_histogram(r, prefix, key, field, stm_score_at(field, values));
        else
            ap_rprintf(r, "Stm%s%s: %s\n", prefix, key,
                       stm_text_number(field, *stm_score_at(field, values), number));
    }
}

static void auto_vp(request_rec *r, const stm_view_t *view)
{
    uint64_t silence = stm_view_silence(view, (uint64_t)apr_time_now());
    char prefix[32];

    apr_snprintf(prefix, sizeof(prefix), "Vp%d", view->ordinal);
    ap_rprintf(r, "Stm%sUp: %d\n", prefix, !*view->problem && view->present && view->running);
    if (*view->problem)
        return;
    auto_values(r, prefix, STM_SCORE_OF_VP, &view->total, false);
    ap_rprintf(r,
               "Stm%sConnectionsPrior: %" APR_UINT64_T_FMT
               "\nStm%sConnectionsThis: %" APR_UINT64_T_FMT
               "\nStm%sSilent: %d\nStm%sLeaving: %u\nStm%sUnread: %u\n",
               prefix, view->prior.connections, prefix, view->current.connections, prefix,
               silence > STM_VIEW_SILENT, prefix, view->leaving, prefix, view->unread);
}

static void auto_page(request_rec *r, const stm_view_t *views, int count)
{
    stm_score_vp_t sum;
    int listener = 0;
    char prefix[32];

    stm_view_sum(&sum, views, count);
    auto_values(r, "", STM_SCORE_OF_VP, &sum, true);
    for (int i = 0; i < count; i++)
        auto_vp(r, &views[i]);
    for (int i = 0; i < count; i++) {
        for (unsigned n = 0; n < views[i].listener_count; n++, listener++) {
            ap_rprintf(r, "StmListener%dVp: %d\nStmListener%dAddress: %s\n", listener,
                       views[i].ordinal, listener, views[i].listeners[n].address);
            apr_snprintf(prefix, sizeof(prefix), "Listener%d", listener);
            auto_values(r, prefix, STM_SCORE_OF_LISTENER, &views[i].listeners[n], false);
        }
    }
}

/* --- the page --- */

/* A number for people: bytes and times in suitable units. */
static void put_value(request_rec *r, const stm_score_field_t *field, uint64_t value)
{
    char number[STM_TEXT_NUMBER], size[5];

    if (field->type == STM_SCORE_TYPE_time) {
        if (value)
            ap_rputs(ap_ht_time(r->pool, (apr_time_t)value, "%Y-%m-%d %H:%M:%S %Z", 0), r);
    } else if (field->unit == STM_SCORE_UNIT_bytes) {
        ap_rputs(apr_strfsize((apr_off_t)value, size), r);
    } else if (field->unit == STM_SCORE_UNIT_seconds) {
        ap_rprintf(r, "%.3f ms", (double)value / 1e3);
    } else if (strcmp(field->name, "state") == 0) {
        ap_rputs(stm_view_state(value), r);
    } else {
        ap_rputs(stm_text_number(field, value, number), r);
    }
}

static bool in_table(const stm_score_field_t *field, stm_score_group_e group)
{
    return field->group == group && field->level == STM_SCORE_LEVEL_main &&
           field->type != STM_SCORE_TYPE_histogram;
}

static void put_heads(request_rec *r, stm_score_group_e group)
{
    for (int i = 0; i < stm_score_field_count; i++) {
        if (in_table(&stm_score_fields[i], group))
            ap_rvputs(r, "<th>", stm_score_fields[i].brief, "</th>", NULL);
    }
}

static void put_cells(request_rec *r, stm_score_group_e group, const void *values)
{
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if (!in_table(field, group))
            continue;
        ap_rputs("<td align=\"right\">", r);
        put_value(r, field, *stm_score_at(field, values));
        ap_rputs("</td>", r);
    }
}

static int put_character(char *to, size_t size, uint32_t character)
{
    if ((character & STM_TEXT_INVALID) || stm_text_unseen(character))
        return apr_snprintf(to, size, "?");
    if (character < 0x80 && !strchr("<>&\"'", (int)character))
        return apr_snprintf(to, size, "%c", (char)character);
    return apr_snprintf(to, size, "&#%u;", character);
}

/* Text sent by a client: it must not become markup, control the reader's terminal, or change the
 * order in which the rest is shown. Plain ASCII, whatever the page's character set. */
void stm_page_escaped(request_rec *r, const char *text)
{
    size_t size = strlen(text) * 6 + 16, used = 0; /* "&#34;" for one byte */
    char *clean = apr_palloc(r->pool, size);

    while (*text)
        used += (size_t)put_character(clean + used, size - used, stm_text_next(&text));
    ap_rwrite(clean, (int)used, r);
}

static void page_summary(request_rec *r, const stm_view_t *views, int count)
{
    stm_score_vp_t sum;

    stm_view_sum(&sum, views, count);
    ap_rputs("<h2>State threads: all virtual processors</h2>\n<table border=\"0\">\n", r);
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if (!in_table(field, STM_SCORE_OF_VP) || !stm_score_adds_up(field))
            continue;
        ap_rvputs(r, "<tr><td>", field->brief, "</td><td align=\"right\">", NULL);
        put_value(r, field, *stm_score_at(field, &sum));
        ap_rputs(field->type == STM_SCORE_TYPE_peak ? "</td><td>in one VP</td></tr>\n"
                                                    : "</td></tr>\n",
                 r);
    }
    ap_rputs("</table>\n", r);
}

static void page_problem(request_rec *r, const stm_view_t *view)
{
    ap_rputs("<td colspan=\"99\">its scoreboard ", r);
    stm_page_escaped(r, view->problem);
    ap_rputs("</td></tr>\n", r);
}

static void page_vps(request_rec *r, const stm_view_t *views, int count)
{
    uint64_t now = (uint64_t)apr_time_now();

    ap_rputs("<h2>Virtual processors</h2>\n<table border=\"1\"><tr><th>VP</th>", r);
    put_heads(r, STM_SCORE_OF_VP);
    ap_rputs("<th>Connections served, prior incarnations</th>"
             "<th>Connections served, this incarnation</th><th>Remark</th></tr>\n",
             r);
    for (int i = 0; i < count; i++) {
        const stm_view_t *view = &views[i];
        uint64_t silence = stm_view_silence(view, now);

        ap_rprintf(r, "<tr><td align=\"right\">%d</td>", view->ordinal);
        if (*view->problem) {
            page_problem(r, view);
            continue;
        }
        put_cells(r, STM_SCORE_OF_VP, &view->total);
        ap_rprintf(r,
                   "<td align=\"right\">%" APR_UINT64_T_FMT
                   "</td><td align=\"right\">%" APR_UINT64_T_FMT "</td><td>",
                   view->prior.connections, view->current.connections);
        if (!view->present)
            ap_rputs("no process ", r);
        if (silence > STM_VIEW_SILENT)
            ap_rprintf(r, "no heartbeat for %d s ", (int)(silence / SECOND));
        if (view->leaving)
            ap_rprintf(r, "%u earlier processes still serving", view->leaving);
        ap_rputs("</td></tr>\n", r);
    }
    ap_rputs("</table>\n", r);
}

static void page_listeners(request_rec *r, const stm_view_t *views, int count)
{
    ap_rputs("<h2>Listeners</h2>\n<table border=\"1\"><tr><th>VP</th><th>Address</th>", r);
    put_heads(r, STM_SCORE_OF_LISTENER);
    ap_rputs("</tr>\n", r);
    for (int i = 0; i < count; i++) {
        for (unsigned n = 0; n < views[i].listener_count; n++) {
            ap_rprintf(r, "<tr><td align=\"right\">%d</td><td>", views[i].ordinal);
            stm_page_escaped(r, views[i].listeners[n].address);
            ap_rputs("</td>", r);
            put_cells(r, STM_SCORE_OF_LISTENER, &views[i].listeners[n]);
            ap_rputs("</tr>\n", r);
        }
    }
    ap_rputs("</table>\n", r);
}

static void page_threads(request_rec *r, const stm_view_t *views, int count)
{
    ap_rputs("<h2>Threads</h2>\n<p>Connections served by each thread slot; a busy one is "
             "marked *.</p>\n<table border=\"1\"><tr><th>VP</th><th>Thread 0, 1, ...</th></tr>\n",
             r);
    for (int i = 0; i < count; i++) {
        unsigned shown = views[i].thread_count;

        if (shown > MOST_THREADS)
            shown = MOST_THREADS;
        ap_rprintf(r, "<tr><td align=\"right\">%d</td><td>", views[i].ordinal);
        for (unsigned n = 0; n < shown; n++)
            ap_rprintf(r, "%" APR_UINT64_T_FMT "%s ", views[i].threads[n].connections,
                       views[i].threads[n].busy ? "*" : "");
        if (shown < views[i].thread_count)
            ap_rprintf(r, "and %u more", views[i].thread_count - shown);
        ap_rputs("</td></tr>\n", r);
    }
    ap_rputs("</table>\n", r);
}

static void page_row(request_rec *r, const stm_view_t *view, const stm_view_row_t *row)
{
    ap_rprintf(r, "<tr><td align=\"right\">%d</td><td align=\"right\">%" APR_UINT64_T_FMT "</td>",
               view->ordinal, row->row.serial);
    for (unsigned pair = 0; pair < row->row.pairs; pair++) {
        ap_rputs("<td>", r);
        stm_page_escaped(r, stm_view_value(view, row, pair));
        ap_rputs("</td>", r);
    }
    ap_rputs("</tr>\n", r);
}

static const stm_view_row_t *first_row(const stm_view_t *views, int count, const stm_view_t **of)
{
    for (int i = 0; i < count; i++) {
        if (views[i].row_count > 0) {
            *of = &views[i];
            return views[i].rows[0];
        }
    }
    return NULL;
}

static void page_connections(request_rec *r, const stm_view_t *views, int count)
{
    const stm_view_t *view;
    const stm_view_row_t *first = first_row(views, count, &view);
    unsigned share = count ? MOST_ROWS / (unsigned)count : 0, left_out = 0;

    if (!first)
        return;
    ap_rputs("<h2>Connections</h2>\n"
             "<table border=\"1\"><tr><th>VP</th><th>Connection</th>",
             r);
    for (unsigned pair = 0; pair < first->row.pairs; pair++) {
        ap_rputs("<th>", r);
        stm_page_escaped(r, stm_view_key(view, first, pair));
        ap_rputs("</th>", r);
    }
    ap_rputs("</tr>\n", r);
    for (int i = 0; i < count; i++) {
        unsigned shown = views[i].row_count < share ? views[i].row_count : share;

        for (unsigned n = 0; n < shown; n++)
            page_row(r, &views[i], views[i].rows[n]);
        left_out += views[i].row_count - shown;
    }
    ap_rputs("</table>\n", r);
    if (left_out)
        ap_rprintf(r, "<p>and %u more, which stmstat shows</p>\n", left_out);
}

static int status_hook(request_rec *r, int flags)
{
    bool brief = flags & AP_STATUS_SHORT;
    int count;
    const stm_view_t *views =
        stm_page_views(r, brief ? 0 : STM_VIEW_THREADS | STM_VIEW_CONNECTIONS, &count);

    if (brief) {
        auto_page(r, views, count);
        return OK;
    }
    ap_rputs("<hr />\n", r);
    page_summary(r, views, count);
    page_vps(r, views, count);
    page_listeners(r, views, count);
    if (!(flags & AP_STATUS_NOTABLE)) {
        page_threads(r, views, count);
        page_connections(r, views, count);
    }
    return OK;
}

void stm_status_register_hooks(apr_pool_t *pool)
{
    (void)pool;
    APR_OPTIONAL_HOOK(ap, status_hook, status_hook, NULL, NULL, APR_HOOK_MIDDLE);
}
