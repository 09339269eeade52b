/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live view's internal header. live.c has the loop, the keys and the frame; a pane has the
 * lines of one list: live_vps.c, live_counters.c, live_connections.c. Panes know nothing about the
 * terminal: they write lines, and live_screen.c shows as much of them as fits.
 */
#ifndef STMSTAT_LIVE_H
#define STMSTAT_LIVE_H

#include "stmstat/stmstat.h"

#define LIVE_LINE 1024 /* bytes of a line, including the final null */

/** What the panes show. */
typedef struct live_data {
    stmstat_scan_t scan, before;
    stmstat_items_t items, items_before;
    stm_score_level_e level;
    int width; /**< of the terminal, columns */
} live_data_t;

extern live_data_t live;

/** A list. */
typedef struct live_pane {
    const char *name;
    /** The name of the order with this number, counted from 0; NULL: there are no more. */
    const char *(*order_name)(int order);
    /** Sorts. Returns the number of lines. */
    int (*make)(int order, bool backwards);
    void (*head)(char line[LIVE_LINE]);
    /** Writes a line of what make() has sorted. */
    void (*row)(int index, char line[LIVE_LINE]);
    /** Says why there are no lines. */
    const char *(*nothing)(void);
} live_pane_t;

extern const live_pane_t live_vps, live_counters, live_connections;

/** Seconds between the last two scans; 0: there is only one. */
double live_seconds(void);
/** A counter's growth per second between them. */
double live_rate(uint64_t now, uint64_t before);
/** Appends to a line; what does not fit is left out. */
void live_add(char line[LIVE_LINE], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* live_screen.c. Both return the line below; how: curses' attributes. */
/** From the text's column `left` on. */
int live_draw(int line, const char *text, int left, unsigned how);
/** Wraps between words, into at most `most` lines. */
int live_draw_wrapped(int line, const char *text, int most, unsigned how);
/** The line under the title: the sums. */
void live_summary(char line[LIVE_LINE]);

#endif
