/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live view's table of VPs, and the sums above it. What matters most is on the left: a narrow
 * terminal cuts off the right.
 */
#include <stdlib.h>

#include "stmstat/live.h"

enum { BY_ORDINAL, BY_BUSY, BY_CONNS, BY_REQUESTS, BY_QUEUED, BY_STALLS, ORDERS };

typedef struct {
    const stm_view_t *view;
    const stm_score_vp_t *now, *was;
    double key;
} line_t;

static line_t *lines;

static const char *order_name(int order)
{
    static const char *const names[ORDERS] = {"VP", "busy", "conns", "req/s", "queued", "stalls"};

    return order < ORDERS ? names[order] : NULL;
}

/* What a VP had counted at the last scan; nothing if it is new. */
static const stm_score_vp_t *earlier(const stm_view_t *view)
{
    static const stm_score_vp_t none;

    for (int i = 0; i < live.before.count; i++) {
        const stm_view_t *before = &live.before.views[i];

        if (before->ordinal == view->ordinal && !*before->problem)
            return &before->total;
    }
    return live.before.count ? &none : &view->total;
}

static double key_of(const line_t *line, int order)
{
    switch (order) {
    case BY_BUSY:
        return (double)line->now->threads_busy;
    case BY_CONNS:
        return (double)line->now->conns;
    case BY_REQUESTS:
        return live_rate(line->now->requests, line->was->requests);
    case BY_QUEUED:
        return (double)line->now->conns_queued;
    case BY_STALLS:
        return (double)line->now->stalls;
    default:
        return -(double)line->view->ordinal;
    }
}

static int direction;

static int by_key(const void *left, const void *right)
{
    const line_t *a = left, *b = right;

    if (a->key != b->key)
        return a->key > b->key ? -direction : direction;
    return a->view->ordinal - b->view->ordinal;
}

static int make(int order, bool backwards)
{
    free(lines);
    lines = calloc((size_t)live.scan.count + 1, sizeof(*lines));
    if (!lines)
        return 0;
    for (int i = 0; i < live.scan.count; i++) {
        line_t *line = &lines[i];

        line->view = &live.scan.views[i];
        line->now = &line->view->total;
        line->was = earlier(line->view);
        line->key = key_of(line, order);
    }
    direction = backwards ? -1 : 1;
    qsort(lines, (size_t)live.scan.count, sizeof(*lines), by_key);
    return live.scan.count;
}

static void head(char line[LIVE_LINE])
{
    live_add(line, "%3s %-10s %11s %6s %8s %6s %8s %7s %6s %6s %8s %8s %8s", "VP", "state",
             "busy/thrds", "conns", "req/s", "queued", "sent/s", "conn/s", "idle", "stalls",
             "longest", "up", "pid");
}

static void row(int index, char line[LIVE_LINE])
{
    const line_t *of = &lines[index];
    const stm_score_vp_t *now = of->now, *was = of->was;
    char sent[STMSTAT_HUMAN], longest[STMSTAT_HUMAN], up[STMSTAT_HUMAN];

    live_add(line, "%3d %-10s ", of->view->ordinal, scan_state(&live.scan, of->view));
    if (*of->view->problem) {
        live_add(line, "%s", of->view->problem);
        return;
    }
    human_bytes(live_rate(now->sent_bytes, was->sent_bytes), sent);
    human_span(now->longest_turn_seconds, longest);
    human_span(now->start_time_seconds && now->start_time_seconds < live.scan.now
                   ? live.scan.now - now->start_time_seconds
                   : 0,
               up);
    live_add(line, "%5llu/%-5llu %6llu %8.1f %6llu %8s %7.1f %6llu %6llu %8s %8s %8llu",
             (unsigned long long)now->threads_busy, (unsigned long long)now->threads,
             (unsigned long long)now->conns, live_rate(now->requests, was->requests),
             (unsigned long long)now->conns_queued, sent,
             live_rate(now->connections, was->connections),
             (unsigned long long)now->conns_keepalive, (unsigned long long)now->stalls, longest,
             of->view->present ? up : "-", (unsigned long long)now->pid);
}

static const char *nothing(void)
{
    return "no VPs";
}

const live_pane_t live_vps = {"VPs", order_name, make, head, row, nothing};

void live_summary(char line[LIVE_LINE])
{
    stm_score_vp_t now, was;
    char sent[STMSTAT_HUMAN];

    stm_view_sum(&now, live.scan.views, live.scan.count);
    stm_view_sum(&was, live.before.views, live.before.count);
    if (!live.before.count)
        was = now;
    live_add(line,
             "conns %llu  busy %llu/%llu  %.1f req/s  queued %llu  sent %s/s  %.1f conn/s  idle "
             "%llu  stalls %llu",
             (unsigned long long)now.conns, (unsigned long long)now.threads_busy,
             (unsigned long long)now.threads, live_rate(now.requests, was.requests),
             (unsigned long long)now.conns_queued,
             human_bytes(live_rate(now.sent_bytes, was.sent_bytes), sent),
             live_rate(now.connections, was.connections), (unsigned long long)now.conns_keepalive,
             (unsigned long long)now.stalls);
}
