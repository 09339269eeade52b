/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live view: a title, the sums, what is wrong, and one of the lists; above the list of
 * counters, also the first lines of the table of VPs. Nothing is ever written beyond the right edge
 * or the bottom of the terminal, whatever its size.
 */
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stmstat/live.h"
#include "stmstat/threads.h"

live_data_t live;

/* How a list is shown. */
typedef struct {
    const live_pane_t *pane;
    int key; /* that shows it */
    int order;
    bool backwards;
    int top, left; /* first line, first column */
    int lines, page;
} list_t;

static list_t lists[] = {
    {&live_counters, 'd', 0, false, 0, 0, 0, 0},
    {&live_vps, 'p', 0, false, 0, 0, 0, 0},
    {&live_connections, 'c', 0, false, 0, 0, 0, 0},
};
enum { COUNTERS, VPS, LISTS = sizeof(lists) / sizeof(*lists) };

static list_t *shown = &lists[COUNTERS];
static bool help;
static int help_top;

double live_seconds(void)
{
    return live.before.now && live.scan.now > live.before.now
               ? (double)(live.scan.now - live.before.now) / 1e6
               : 0;
}

double live_rate(uint64_t now, uint64_t before)
{
    double seconds = live_seconds();

    return seconds > 0 && now >= before ? (double)(now - before) / seconds : 0;
}

void live_add(char line[LIVE_LINE], const char *format, ...)
{
    size_t used = strlen(line);
    va_list args;

    va_start(args, format);
    vsnprintf(line + used, LIVE_LINE - used, format, args);
    va_end(args);
}

/* --- drawing --- */

static void add_uptime(char line[LIVE_LINE])
{
    uint64_t started = live.scan.count ? live.scan.views[0].server_started : 0;
    char span[STMSTAT_HUMAN];

    if (started && started < live.scan.now)
        live_add(line, "  %d VP%s, up %s", live.scan.count, live.scan.count == 1 ? "" : "s",
                 human_span(live.scan.now - started, span));
}

static void draw_title(void)
{
    time_t now = (time_t)(live.scan.now / 1000000u);
    char line[LIVE_LINE] = "", clock[32];

    strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
    live_add(line, "stmstat %s", clock);
    add_uptime(line);
    live_add(line, "  %s", scan_plain(settings.directory));
    live_draw(0, line, 0, A_REVERSE);
}

typedef struct {
    char first[512];
    int more;
} wrong_t;

static void note_wrong(void *baton, const char *line)
{
    wrong_t *wrong = baton;

    if (!*wrong->first)
        snprintf(wrong->first, sizeof(wrong->first), "%s", line);
    else
        wrong->more++;
}

/* The first thing that is wrong, and how many more there are. */
static int draw_wrong(int line)
{
    wrong_t wrong = {.more = 0};
    char text[LIVE_LINE] = "";

    scan_verdict(&live.scan, note_wrong, &wrong);
    if (!*wrong.first)
        return line;
    live_add(text, "%s", wrong.first);
    if (wrong.more)
        live_add(text, " (and %d more: p shows the VPs)", wrong.more);
    return live_draw_wrapped(line, text, LINES > 12 ? 3 : 2, A_BOLD);
}

static void limit(list_t *list)
{
    int last = list->lines - list->page;

    if (list->top > last)
        list->top = last;
    if (list->top < 0)
        list->top = 0;
    if (list->left < 0)
        list->left = 0;
}

/* `page`: lines, not counting the head. Returns the line after it. */
static int draw_list(int line, list_t *list, int page)
{
    char text[LIVE_LINE] = "";

    list->lines = list->pane->make(list->order, list->backwards);
    list->page = page > 0 ? page : 0;
    limit(list);
    if (!list->lines)
        return live_draw_wrapped(line, list->pane->nothing(), 2, A_NORMAL);
    list->pane->head(text);
    line = live_draw(line, text, list->left, A_UNDERLINE);
    for (int i = list->top; i < list->lines && page-- > 0; i++) {
        *text = '\0';
        list->pane->row(i, text);
        line = live_draw(line, text, list->left, A_NORMAL);
    }
    return line;
}

/* Above the counters, if there is room: takes at most a third of the lines. */
static int draw_some_vps(int line)
{
    int room = (LINES - line) / 3, most = live.scan.count;
    char more[64];

    if (LINES < 12)
        return line;
    if (most > room - 1)
        most = room - 2;
    lists[VPS].top = 0;
    line = draw_list(line, &lists[VPS], most);
    if (live.scan.count > most) {
        snprintf(more, sizeof(more), "    and %d more: p shows them", live.scan.count - most);
        line = live_draw(line, more, 0, A_NORMAL);
    }
    return line + 1;
}

/* What busy threads wait for, in one row. */
static int draw_waits(int line)
{
    char waits[LIVE_LINE], row[LIVE_LINE] = "";

    threads_summary(&live.scan, waits, sizeof(waits));
    if (!*waits)
        return line;
    live_add(row, "busy: %s", waits);
    return live_draw(line, row, 0, A_NORMAL);
}

static void draw_foot(void)
{
    char line[LIVE_LINE] = "";
    int last = shown->top + shown->page;
    const char *order = shown->pane->order_name(shown->order);

    live_add(line, "? help  q quit  ");
    if (shown->lines)
        live_add(line, "%d-%d/%d ", shown->top + 1, last < shown->lines ? last : shown->lines,
                 shown->lines);
    live_add(line, "%s by %s%s, %s", shown->pane->name, order ? order : "place",
             shown->backwards ? " (reversed)" : "", stm_score_level_names[live.level]);
    live_draw(LINES - 1, line, 0, A_REVERSE);
}

/* --- help --- */

static const char *const keys[] = {STMSTAT_KEYS, NULL};

static int help_lines(void)
{
    int count = 0;

    while (keys[count])
        count++;
    return count;
}

static void draw_help(void)
{
    int last = help_lines() - (LINES - 2);

    if (help_top > last)
        help_top = last;
    if (help_top < 0)
        help_top = 0;
    live_draw(0, "stmstat: keys", 0, A_REVERSE);
    for (int i = help_top, line = 1; keys[i] && line < LINES - 1; i++)
        line = live_draw(line, keys[i], 0, A_NORMAL);
    live_draw(LINES - 1, last > 0 ? "arrows scroll; any other key goes back" : "any key goes back",
              0, A_REVERSE);
}

static void show(void)
{
    char line[LIVE_LINE] = "";
    int at = 1;

    live.width = COLS;
    erase();
    if (help) {
        draw_help();
        refresh();
        return;
    }
    draw_title();
    if (!*live.scan.problem) {
        live_summary(line);
        at = live_draw(at, line, 0, A_NORMAL);
        at = draw_waits(at);
    }
    at = draw_wrong(at);
    if (*live.scan.problem) {
        shown->lines = shown->pane->make(0, false); /* of nothing, since what it listed is being
                                                     * freed */
    } else {
        if (shown == &lists[COUNTERS])
            at = draw_some_vps(at);
        draw_list(at, shown, LINES - 2 - at);
    }
    draw_foot();
    refresh();
}

/* --- keys --- */

static void take_scan(void)
{
    scan_free(&live.before);
    items_free(&live.items_before);
    live.before = live.scan;
    live.items_before = live.items;
    scan_read(&live.scan, STM_VIEW_THREADS | STM_VIEW_CONNECTIONS | STM_VIEW_WAITS);
    items_make(&live.items, &live.scan, live.level,
               settings.filter_count > 0 || live.level == STM_SCORE_LEVEL_debug);
    items_follow(&live.items, &live.items_before, live_seconds());
}

/* The averages continue: the values of the last scan are followed again. */
static void next_level(void)
{
    live.level = live.level == STM_SCORE_LEVEL_debug ? STM_SCORE_LEVEL_main : live.level + 1;
    items_free(&live.items);
    items_make(&live.items, &live.scan, live.level,
               settings.filter_count > 0 || live.level == STM_SCORE_LEVEL_debug);
    items_follow(&live.items, &live.items_before, live_seconds());
}

static void next_order(void)
{
    shown->order++;
    if (!shown->pane->order_name(shown->order))
        shown->order = 0;
    shown->top = 0;
}

/* The key that shows a list shows the counters when pressed again. */
static bool choose_list(int key)
{
    for (int i = 0; i < LISTS; i++) {
        if (lists[i].key == key) {
            shown = shown == &lists[i] ? &lists[COUNTERS] : &lists[i];
            shown->lines = shown->pane->make(shown->order, shown->backwards); /* its next key's */
            return true;
        }
    }
    return false;
}

static bool move_top(int key, int *top, int page)
{
    switch (key) {
    case KEY_DOWN:
    case 'j':
        ++*top;
        return true;
    case KEY_UP:
    case 'k':
        --*top;
        return true;
    case KEY_NPAGE:
    case ' ':
        *top += page > 1 ? page - 1 : 1;
        return true;
    case KEY_PPAGE:
    case 'b':
        *top -= page > 1 ? page - 1 : 1;
        return true;
    case KEY_HOME:
    case 'g':
        *top = 0;
        return true;
    case KEY_END:
    case 'G':
        *top = INT32_MAX / 2; /* limited when the list is drawn */
        return true;
    default:
        return false;
    }
}

static void help_key(int key)
{
    if (key != KEY_RESIZE && !move_top(key, &help_top, LINES - 2))
        help = false;
}

/* False: quit. */
static bool handle_key(int key)
{
    if (key == KEY_RESIZE)
        clearok(curscr, TRUE); /* terminals differ in what they keep, and where */
    if (help) {
        help_key(key);
        return true;
    }
    if (move_top(key, &shown->top, shown->page)) {
        limit(shown);
        return true;
    }
    switch (key) {
    case 'q':
        return false;
    case '?':
    case 'h':
        help = true;
        help_top = 0;
        break;
    case 'v':
        next_level();
        break;
    case 's':
        next_order();
        break;
    case 'r':
        shown->backwards = !shown->backwards;
        break;
    case KEY_RIGHT:
        shown->left += 8;
        break;
    case KEY_LEFT:
        shown->left -= 8;
        break;
    default:
        choose_list(key);
        break;
    }
    limit(shown);
    return true;
}

/* --- the loop --- */

static volatile sig_atomic_t ended;

static void on_end(int signal_number)
{
    (void)signal_number;
    ended = 1;
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

/* False: the user has quit, or the terminal is gone. A new size arrives as a key. */
static bool wait_for_keys(const struct timespec *since)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int left, key;

    while (!ended && (left = milliseconds_left(since)) > 0) {
        int ready = poll(&input, 1, left);

        if (ready > 0 && !(input.revents & POLLIN))
            return false;
        while ((key = getch()) != ERR) {
            if (!handle_key(key))
                return false;
            ready = 1;
        }
        if (ready > 0)
            show();
    }
    return true;
}

static bool open_terminal(void)
{
    use_env(TRUE);
    use_tioctl(TRUE); /* LINES and COLUMNS in the environment must not outlive a change of size */
    if (!newterm(NULL, stdout, stdin))
        return false;
    signal(SIGTERM, on_end);
    signal(SIGINT, on_end);
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(100);
    return true;
}

int live_run(void)
{
    struct timespec since;
    bool go_on = true;

    if (!open_terminal()) {
        fputs("stmstat: cannot use this terminal: is TERM set to its type?\n", stderr);
        return STMSTAT_NONE;
    }
    while (go_on && !ended) {
        clock_gettime(CLOCK_MONOTONIC, &since);
        take_scan();
        show();
        go_on = wait_for_keys(&since);
    }
    endwin();
    scan_free(&live.scan);
    scan_free(&live.before);
    items_free(&live.items);
    items_free(&live.items_before);
    return STMSTAT_GOOD;
}
