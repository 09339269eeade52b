/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live view: a table of VPs, then all counters with their rates, or the connections.
 */
#include <curses.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stmstat/stmstat.h"

static struct {
    stmstat_scan_t scan, before;
    stmstat_items_t items, items_before;
    stm_score_level_e level;
    bool connections; /* shown instead of the counters */
    int top;          /* first line shown of the list */
    int lines;        /* of the list */
} live;

static double seconds_between(void)
{
    uint64_t passed = live.scan.now - live.before.now;

    return live.before.now && passed ? (double)passed / 1e6 : 0;
}

/* --- the table of VPs --- */

static const stm_view_t *earlier(int ordinal)
{
    for (int i = 0; i < live.before.count; i++) {
        if (live.before.views[i].ordinal == ordinal && !*live.before.views[i].problem)
            return &live.before.views[i];
    }
    return NULL;
}

static double rate(uint64_t now, uint64_t before)
{
    double seconds = seconds_between();

    return seconds > 0 && now >= before ? (double)(now - before) / seconds : 0;
}

static void show_vp(int line, const stm_view_t *view)
{
    static const stm_score_vp_t none;
    const stm_view_t *earlier_view = earlier(view->ordinal);
    const stm_score_vp_t *now = &view->total, *was = earlier_view ? &earlier_view->total : now;

    if (!earlier_view)
        was = live.before.now ? &none : now;
    mvprintw(line, 0, "%3d %8llu %-9s %6llu %5llu/%-5llu %9.1f %8.1f %9.1f %7llu %7llu %6llu %9.3f",
             view->ordinal, (unsigned long long)now->pid,
             !view->present ? "none" : stm_view_state(view->current.state),
             (unsigned long long)now->conns, (unsigned long long)now->threads_busy,
             (unsigned long long)now->threads, rate(now->requests, was->requests),
             rate(now->connections, was->connections),
             rate(now->sent_bytes, was->sent_bytes) / 1024,
             (unsigned long long)now->conns_keepalive, (unsigned long long)now->conns_queued,
             (unsigned long long)now->stalls, (double)now->longest_turn_seconds / 1e3);
}

static int show_table(int line)
{
    attron(A_REVERSE);
    mvprintw(line++, 0, "%3s %8s %-9s %6s %11s %9s %8s %9s %7s %7s %6s %9s", "VP", "pid", "state",
             "conns", "busy/threads", "req/s", "conn/s", "KiB/s", "idle", "queued", "stalls",
             "longest ms");
    attroff(A_REVERSE);
    for (int i = 0; i < live.scan.count && line < LINES - 3; i++) {
        const stm_view_t *view = &live.scan.views[i];
        char remark[512];

        if (!*view->problem)
            show_vp(line++, view);
        if (scan_remark(&live.scan, view, remark, sizeof(remark))) {
            attron(A_BOLD);
            mvprintw(line++, 2, "%.*s", COLS - 3, remark);
            attroff(A_BOLD);
        }
    }
    return line + 1;
}

/* --- the list --- */

static void show_item(int line, const stmstat_item_t *item, size_t index)
{
    const stmstat_item_t *was = items_find(&live.items_before, item->name, index);
    char number[STM_TEXT_NUMBER];

    mvprintw(line, 0, "%-48.48s %20s", item->name,
             stm_text_number(item->field, item->value, number));
    if (item->field->type == STM_SCORE_TYPE_counter && was)
        printw(" %12.1f/s", rate(item->value, was->value));
    else
        printw(" %14s", "");
    if (COLS > 90)
        printw("  %.*s", COLS - 88, item->field->brief);
}

static int show_counters(int line)
{
    for (size_t i = (size_t)live.top; i < live.items.count && line < LINES - 1; i++)
        show_item(line++, &live.items.item[i], i);
    return (int)live.items.count;
}

/* What a client sent may contain anything: control characters must not reach the terminal. */
static void show_value(const char *value)
{
    for (; *value; value++)
        addch((chtype)(*value >= ' ' && *value < 0x7f ? *value : '?'));
    addch(' ');
}

static int show_connections(int line)
{
    int index = 0;

    for (int i = 0; i < live.scan.count; i++) {
        const stm_view_t *view = &live.scan.views[i];

        for (unsigned n = 0; n < view->row_count; n++, index++) {
            const stm_view_row_t *row = view->rows[n];

            if (index < live.top || line >= LINES - 1)
                continue;
            mvprintw(line++, 0, "%3d %8llu ", view->ordinal, (unsigned long long)row->row.serial);
            for (unsigned pair = 0; pair < row->row.pairs; pair++)
                show_value(stm_view_value(view, row, pair));
        }
    }
    return index;
}

static void show(void)
{
    time_t now = (time_t)(live.scan.now / 1000000u);
    char clock[32];
    int line = 2;

    strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
    erase();
    mvprintw(0, 0, "stmstat  %s  %s", clock, scan_plain(settings.directory));
    if (*live.scan.problem)
        mvprintw(line, 0, "%s", live.scan.problem);
    else
        line = show_table(line);
    if (line < LINES - 1)
        live.lines = live.connections ? show_connections(line) : show_counters(line);
    attron(A_REVERSE);
    mvprintw(LINES - 1, 0, "q quit  v level: %s  c %s  arrows scroll",
             stm_score_level_names[live.level], live.connections ? "counters" : "connections");
    attroff(A_REVERSE);
    refresh();
}

/* --- the loop --- */

static void take_scan(void)
{
    scan_free(&live.before);
    items_free(&live.items_before);
    live.before = live.scan;
    live.items_before = live.items;
    scan_read(&live.scan, STM_VIEW_THREADS | STM_VIEW_CONNECTIONS);
    items_make(&live.items, &live.scan, live.level);
}

static void scroll_to(int top)
{
    if (top > live.lines - 1)
        top = live.lines - 1;
    live.top = top > 0 ? top : 0;
}

/* False: quit. */
static bool handle_key(int key)
{
    switch (key) {
    case 'q':
        return false;
    case 'v':
        live.level = live.level == STM_SCORE_LEVEL_debug ? STM_SCORE_LEVEL_main : live.level + 1;
        items_free(&live.items);
        items_make(&live.items, &live.scan, live.level);
        break;
    case 'c':
        live.connections = !live.connections;
        live.top = 0;
        break;
    case KEY_DOWN:
        scroll_to(live.top + 1);
        break;
    case KEY_UP:
        scroll_to(live.top - 1);
        break;
    case KEY_NPAGE:
        scroll_to(live.top + LINES / 2);
        break;
    case KEY_PPAGE:
        scroll_to(live.top - LINES / 2);
        break;
    default:
        break;
    }
    return true;
}

static int milliseconds_left(const struct timespec *since)
{
    struct timespec now;
    double passed;

    clock_gettime(CLOCK_MONOTONIC, &now);
    passed =
        (double)(now.tv_sec - since->tv_sec) * 1e3 + (double)(now.tv_nsec - since->tv_nsec) / 1e6;
    return passed < settings.interval * 1e3 ? (int)(settings.interval * 1e3 - passed) + 1 : 0;
}

static bool wait_for_key(const struct timespec *since)
{
    int left;

    while ((left = milliseconds_left(since)) > 0) {
        int key;

        timeout(left);
        key = getch();
        if (key != ERR && !handle_key(key))
            return false;
        show();
    }
    return true;
}

static volatile sig_atomic_t ended;

static void on_end(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

int live_run(void)
{
    struct timespec since;
    bool go_on = true;

    if (!initscr()) {
        fputs("stmstat: cannot use this terminal\n", stderr);
        return 2;
    }
    signal(SIGTERM, on_end);
    signal(SIGINT, on_end);
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    while (go_on && !ended) {
        clock_gettime(CLOCK_MONOTONIC, &since);
        take_scan();
        show();
        go_on = wait_for_key(&since) && !ended;
    }
    endwin();
    scan_free(&live.scan);
    scan_free(&live.before);
    items_free(&live.items);
    items_free(&live.items_before);
    return 0;
}
