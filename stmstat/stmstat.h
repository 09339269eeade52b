/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stmstat's internal header. stmstat knows the scoreboard files and nothing else about the server:
 * no httpd, no libst. main.c reads the options, scan.c the directory, items.c makes flat lists of
 * values, verdict.c says what is wrong; stmstat/live.h has the live view.
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

/* --- scan.c --- */

/** The text with ? in place of everything but printable ASCII; valid until the next call. */
const char *scan_plain(const char *text);
/** Reads all scoreboards of settings.directory. what: STM_VIEW_* flags, for what is read beyond the
 * counters. What cannot be read is described in `problem` of the scan or of the view. */
void scan_read(stmstat_scan_t *scan, unsigned what);
/** Frees what scan_read() has allocated. */
void scan_free(stmstat_scan_t *scan);

/* --- verdict.c --- */

/** The exit statuses; STMSTAT_STATUSES says what they mean. */
typedef enum {
    STMSTAT_GOOD,
    STMSTAT_PART,
    STMSTAT_NONE,
    STMSTAT_STOPPED,
    STMSTAT_HELD,
    STMSTAT_NO_MATCH
} stmstat_status_e;

/** For --help and the manual page: number, meaning. */
#define STMSTAT_STATUSES                                                                           \
    STATUS(0, "everything was read, and every VP is serving")                                      \
    STATUS(1, "part of the scoreboards could not be read; the rest is printed")                    \
    STATUS(2, "nothing could be shown: a usage error, no directory, no scoreboards, none of them " \
              "readable, or the output could not be written")                                      \
    STATUS(3, "the server has stopped or died; its last values are printed")                       \
    STATUS(4, "a VP has no process, or has had no heartbeat for 3 seconds; everything is "         \
              "printed")                                                                           \
    STATUS(5, "the server was read, but no value matches the filter")

/** Reports what is wrong, one line each. Returns the exit status; if several apply, what concerns
 * the whole server takes precedence over what concerns one VP. */
stmstat_status_e scan_verdict(const stmstat_scan_t *scan, void (*tell)(void *, const char *),
                              void *baton);
/** The VP's state in a word or two. */
const char *scan_state(const stmstat_scan_t *scan, const stm_view_t *view);

/* --- human.c: for people; each returns `text` --- */

#define STMSTAT_HUMAN 32
/** A span of time in us: 850 us, 12.3 ms, 4m 05s, 3d 04h. */
const char *human_span(uint64_t us, char text[STMSTAT_HUMAN]);
/** How long ago a moment was; both in us since 1970. */
const char *human_ago(uint64_t then, uint64_t now, char text[STMSTAT_HUMAN]);
/** A number of bytes, with a binary unit. */
const char *human_bytes(double bytes, char text[STMSTAT_HUMAN]);
/** A counter's growth per second, in the field's unit. */
const char *human_rate(const stm_score_field_t *field, double rate, char text[STMSTAT_HUMAN]);
/** A value in the field's unit; now, us since 1970, is for moments, which are shown as ages. */
/** A value in the field's unit; `now`, us since 1970, is for moments, which are shown as ages. */
const char *human_value(const stm_score_field_t *field, uint64_t value, uint64_t now,
                        char text[STMSTAT_HUMAN]);

#define STMSTAT_AVERAGES 3 /* over 10 s, 1 min, 10 min */

/** One value with its name. */
typedef struct stmstat_item {
    char name[128];
    const stm_score_field_t *field;
    uint64_t value;
    /* items_follow() */
    double rate;                      /**< of a counter, per second; of anything else, its value */
    double average[STMSTAT_AVERAGES]; /**< of the rate, or of the value */
    double followed;                  /**< for how long, seconds; 0: these are not valid */
} stmstat_item_t;

typedef struct stmstat_items {
    stmstat_item_t *item;
    size_t count, room;
    size_t *slot; /**< a hash table of 1 + index, by name */
    size_t slots; /**< a power of two */
} stmstat_items_t;

/* --- items.c --- */

/** Whether the filters let the name pass. */
bool items_wanted(const char *name);
/** Lists the values of the scan that pass the filters, up to the given level; thread slots only if
 * asked for. The caller frees the list with items_free(). */
void items_make(stmstat_items_t *items, const stmstat_scan_t *scan, stm_score_level_e level,
                bool threads);
/** Sets rates and averages from the same values as they were `seconds` ago. */
void items_follow(stmstat_items_t *items, stmstat_items_t *before, double seconds);
/** Frees a list; harmless for one that is all zero. */
void items_free(stmstat_items_t *items);

/* --- list.c --- */

/** Prints the counters that pass the filters, for -l. Returns false if there are none. */
bool list_counters(void);
/** Prints the help. */
void list_options(FILE *out);
/** Prints docs/man/stmstat.1. */
void list_manual(void);

/** The live view's keys, one per line, for its help and the manual page. */
#define STMSTAT_KEYS                                                                               \
    "q          quits", "?, h       shows this help",                                              \
        "d          shows the counters, below the VPs", "p          shows all VPs",                \
        "c          shows the connections", "s          sorts by the next column",                 \
        "r          reverses the order",                                                           \
        "v          changes the level of counters: main, detail, debug",                           \
        "arrows     scroll by a line, or by eight columns",                                        \
        "PgUp, PgDn scroll by a page (also b, space)",                                             \
        "Home, End  go to the first, the last page (also g, G)"

/* Commands, for --help and the manual page. */
#define STMSTAT_DUMP "backtraces of a VP's state threads, and of its process's other kernel threads"

/* --- live.c --- */

/** Runs the live view until the user quits. Returns the exit status: 0, or 2 if the terminal cannot
 * be used. */
int live_run(void);

#endif
