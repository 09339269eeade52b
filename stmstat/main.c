/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stmstat: shows the scoreboards of a running server. Options, and the forms that print once.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "score/options.h"
#include "stmstat/dump.h"
#include "stmstat/stmstat.h"
#include "stmstat/threads.h"

#ifndef STM_VERSION
#define STM_VERSION "unknown"
#endif

stmstat_settings_t settings = {.interval = 1.0};

/* --- printing once --- */

static void complain(void *unused, const char *line)
{
    (void)unused;
    fprintf(stderr, "stmstat: %s\n", line);
}

/* Filters that match nothing are not reported one by one. */
static stmstat_status_e no_match(void)
{
    char all[256] = "";
    size_t used = 0;

    for (int i = 0; i < settings.filter_count && used < sizeof(all); i++)
        used += (size_t)snprintf(all + used, sizeof(all) - used, " -f '%s'",
                                 scan_plain(settings.filters[i]));
    fprintf(stderr, "stmstat: no value matches%s (stmstat -l lists the names)\n", all);
    return STMSTAT_NO_MATCH;
}

/* OpenMetrics has no sums and no thread slots. */
static bool matches(const stmstat_scan_t *scan, int form)
{
    stmstat_items_t items;
    bool any = false;

    items_make(&items, scan, STM_SCORE_LEVEL_debug, form != 'o');
    for (size_t i = 0; i < items.count && !any; i++)
        any = form != 'o' || strncmp(items.item[i].name, "all.", 4) != 0;
    items_free(&items);
    return any;
}

static void print_list(const stmstat_scan_t *scan)
{
    stmstat_items_t items;
    char number[STM_TEXT_NUMBER];

    items_make(&items, scan, STM_SCORE_LEVEL_debug, true);
    for (size_t i = 0; i < items.count; i++)
        printf("%-48s %20s  %s\n", items.item[i].name,
               stm_text_number(items.item[i].field, items.item[i].value, number),
               items.item[i].field->brief);
    items_free(&items);
}

static void print_csv(const stmstat_scan_t *scan)
{
    stmstat_items_t items;
    char number[STM_TEXT_NUMBER];

    puts("name,value,unit,type");
    items_make(&items, scan, STM_SCORE_LEVEL_debug, true);
    for (size_t i = 0; i < items.count; i++)
        printf("%s,%s,%s,%s\n", items.item[i].name,
               stm_text_number(items.item[i].field, items.item[i].value, number),
               stm_score_unit_names[items.item[i].field->unit],
               stm_score_type_names[items.item[i].field->type]);
    items_free(&items);
}

static void to_stdout(void *baton, const char *data, size_t size)
{
    (void)baton;
    fwrite(data, 1, size, stdout);
}

static bool wanted(void *baton, const char *name, const stm_score_field_t *field)
{
    (void)baton;
    (void)field;
    return items_wanted(name);
}

/* The exit status, unless the output could not be written. */
static int flushed(stmstat_status_e status)
{
    if (fflush(stdout) == 0)
        return status;
    perror("stmstat: cannot write");
    return STMSTAT_NONE;
}

static int print_once(int form)
{
    const stm_text_t text = {.put = to_stdout, .wanted = settings.filter_count ? wanted : NULL};
    unsigned what = form == 'j'   ? STM_VIEW_THREADS | STM_VIEW_CONNECTIONS
                    : form == 'o' ? 0
                                  : STM_VIEW_THREADS;
    stmstat_scan_t scan;
    stmstat_status_e status;

    scan_read(&scan, what);
    status = scan_verdict(&scan, complain, NULL);
    if (status != STMSTAT_NONE && settings.filter_count && !matches(&scan, form))
        status = no_match();
    if (!*scan.problem) {
        if (form == 'j')
            stm_text_json(&text, scan.views, scan.count, scan.now);
        else if (form == 'o')
            stm_text_openmetrics(&text, scan.views, scan.count);
        else if (form == 'c')
            print_csv(&scan);
        else
            print_list(&scan);
    }
    scan_free(&scan);
    return flushed(status);
}

static int print_threads(bool json)
{
    stmstat_scan_t scan;
    stmstat_status_e status;

    scan_read(&scan, STM_VIEW_WAITS);
    status = scan_verdict(&scan, complain, NULL);
    if (!*scan.problem && !threads_print(&scan, json))
        status = STMSTAT_NONE;
    scan_free(&scan);
    return flushed(status);
}

/* --- options --- */

static void print_version(void)
{
    printf("stmstat %s, layout version %u\nBuilt with:\n%s", STM_VERSION, STM_SCORE_VERSION,
           stm_score_options);
}

static int usage(const char *problem, const char *value)
{
    fprintf(stderr, "stmstat: %s%s (stmstat --help lists the options)\n", problem,
            scan_plain(value));
    return STMSTAT_NONE;
}

static bool parse_interval(const char *text)
{
    char *end;

    settings.interval = strtod(text, &end);
    return end != text && !*end && settings.interval >= 0.1 && settings.interval <= 3600;
}

static const char *default_directory(void)
{
    const char *directory = getenv(STMSTAT_ENVIRONMENT);

    return directory && *directory ? directory : STMSTAT_DIRECTORY;
}

enum { MANUAL = 256 };

static const struct option long_options[] = {
#define OPTION(letter, name, argument, help)                                                       \
    {name, sizeof(argument) > 1 ? required_argument : no_argument, NULL, letter},
    STMSTAT_OPTIONS
#undef OPTION
    {"manual", no_argument, NULL, MANUAL},
    {NULL, 0, NULL, 0},
};

/* What the options and the other arguments ask for. Returns the exit status. */
static int carry_out(int form, int count, char **arguments)
{
    if (count > 0 && strcmp(arguments[0], "dump") == 0)
        return dump_run(count - 1, arguments + 1);
    if (count == 1 && strcmp(arguments[0], "threads") == 0) {
        if (form && form != 'j' && form != '1')
            return usage("threads goes with -1 or -j only", "");
        return print_threads(form == 'j');
    }
    if (count > 0)
        return usage("unexpected argument ", arguments[0]);
    if (form == 'l')
        return list_counters() ? STMSTAT_GOOD : (int)no_match();
    if (form)
        return print_once(form);
    if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
        return usage("the live view needs a terminal: use -1, -c, -j or -o", "");
#ifdef STMSTAT_CURSES
    return live_run();
#else
    return usage("the live view was left out, for lack of ncurses: use -1, -c, -j or -o", "");
#endif
}

int main(int argc, char **argv)
{
    int letter, form = 0;

    settings.directory = default_directory();
    while ((letter = getopt_long(argc, argv, "1cjolf:d:n:Vh", long_options, NULL)) != -1) {
        switch (letter) {
        case '1':
        case 'c':
        case 'j':
        case 'o':
        case 'l':
            form = letter;
            break;
        case 'f':
            if (settings.filter_count == STMSTAT_FILTERS)
                return usage("too many filters, at ", optarg);
            settings.filters[settings.filter_count++] = optarg;
            break;
        case 'd':
            settings.directory = optarg;
            break;
        case 'n':
            if (!parse_interval(optarg))
                return usage("--interval must be between 0.1 and 3600 seconds, not ", optarg);
            break;
        case 'V':
            print_version();
            return 0;
        case 'h':
            list_options(stdout);
            return 0;
        case MANUAL:
            list_manual();
            return 0;
        default:
            return usage("see above", "");
        }
    }
    return carry_out(form, argc - optind, argv + optind);
}
