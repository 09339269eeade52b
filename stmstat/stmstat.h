/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stmstat's internal header. stmstat knows the scoreboard files and nothing else about the server:
 * no httpd, no libst. main.c reads the options, scan.c the directory, items.c makes flat lists of
 * values.
 */
#ifndef STMSTAT_H
#define STMSTAT_H

#include "score/view.h"

#define STMSTAT_DIRECTORY   "/run/apache2/scoreboards"
#define STMSTAT_ENVIRONMENT "STM_SCOREBOARDS"

/** All options: letter, long name, argument or "", help. --help, the manual and getopt use it. */
#define STMSTAT_OPTIONS                                                                            \
    OPTION('1', "once", "", "print every value once, a line each, and exit")                       \
    OPTION('c', "csv", "", "the same as comma-separated values: name,value,unit,type")             \
    OPTION('j', "json", "", "the same as JSON, including thread slots and connections")            \
    OPTION('o', "openmetrics", "", "the same as OpenMetrics text (VPs and listeners)")             \
    OPTION('l', "list", "", "list the counters and what they mean, and exit")                      \
    OPTION('f', "filter", "GLOB",                                                                  \
           "only values whose name matches; may be repeated; a leading ! excludes")                \
    OPTION('d', "directory", "DIR",                                                                \
           "ScoreboardDir; default: $" STMSTAT_ENVIRONMENT ", else " STMSTAT_DIRECTORY)            \
    OPTION('n', "interval", "SECONDS",                                                             \
           "refresh interval of the live view, 0.1 to 3600; default 1")                            \
    OPTION('V', "version", "", "print the version and the compile options, and exit")              \
    OPTION('h', "help", "", "print this, and exit")

#define STMSTAT_FILTERS 32

/** The parsed command line. */
typedef struct stmstat_settings {
    const char *directory;
    const char *filters[STMSTAT_FILTERS];
    int filter_count;
    double interval; /**< seconds */
} stmstat_settings_t;

extern stmstat_settings_t settings;

/** All scoreboards of the directory at one time. */
typedef struct stmstat_scan {
    uint64_t now; /**< us since 1970 */
    int count;
    stm_view_t *views;
    char problem[320]; /**< of the directory; "": none */
} stmstat_scan_t;

/** The text with ? in place of everything but printable ASCII; valid until the next call. */
const char *scan_plain(const char *text);
void scan_read(stmstat_scan_t *scan, unsigned what);
void scan_free(stmstat_scan_t *scan);
/** Describes what is wrong with a VP: 0: nothing, 1: it is silent and the like, 2: part of its
 * scoreboard could not be read. */
int scan_remark(const stmstat_scan_t *scan, const stm_view_t *view, char *line, size_t size);

/** One value with its name. */
typedef struct stmstat_item {
    char name[128];
    const stm_score_field_t *field;
    uint64_t value;
} stmstat_item_t;

typedef struct stmstat_items {
    stmstat_item_t *item;
    size_t count, room;
} stmstat_items_t;

/** Whether the filters let the name pass. */
bool items_wanted(const char *name);
/** The values of the scan that pass the filters, up to the given level. */
void items_make(stmstat_items_t *items, const stmstat_scan_t *scan, stm_score_level_e level);
void items_free(stmstat_items_t *items);
/** The item of that name, or NULL; near: where it is likely to be. */
const stmstat_item_t *items_find(const stmstat_items_t *items, const char *name, size_t near);

/* list.c: -l, --help and the manual page */
void list_counters(void);
void list_options(FILE *out);
void list_manual(void);

/* live.c: runs until the user quits. Returns the exit status. */
int live_run(void);

#endif
