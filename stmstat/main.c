/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stmstat: shows the scoreboards of a running server. Options, and the forms that print once.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "score/options.h"
#include "stmstat/stmstat.h"

#ifndef STM_VERSION
#define STM_VERSION "unknown"
#endif

enum { TROUBLE = 2 };

stmstat_settings_t settings = {.interval = 1.0};

/* --- printing once --- */

static int tell_remarks(const stmstat_scan_t *scan)
{
    int status = 0, unreadable = 0;
    char line[512];

    if (*scan->problem) {
        fprintf(stderr, "stmstat: %s\n", scan->problem);
        return TROUBLE;
    }
    for (int i = 0; i < scan->count; i++) {
        int grave = scan_remark(scan, &scan->views[i], line, sizeof(line));

        if (grave)
            fprintf(stderr, "stmstat: %s\n", line);
        if (grave == 2)
            status = 1;
        unreadable += *scan->views[i].problem != '\0';
    }
    return unreadable == scan->count ? TROUBLE : status;
}

static void print_list(const stmstat_scan_t *scan)
{
    stmstat_items_t items;
    char number[STM_TEXT_NUMBER];

    items_make(&items, scan, STM_SCORE_LEVEL_debug);
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
    items_make(&items, scan, STM_SCORE_LEVEL_debug);
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

static int print_once(int form)
{
    const stm_text_t text = {.put = to_stdout, .wanted = settings.filter_count ? wanted : NULL};
    unsigned what = form == 'j'   ? STM_VIEW_THREADS | STM_VIEW_CONNECTIONS
                    : form == 'o' ? 0
                                  : STM_VIEW_THREADS;
    stmstat_scan_t scan;
    int status;

    scan_read(&scan, what);
    status = tell_remarks(&scan);
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
    if (fflush(stdout) != 0) {
        perror("stmstat: cannot write");
        return TROUBLE;
    }
    return status;
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
    return TROUBLE;
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
    if (optind < argc)
        return usage("unexpected argument ", argv[optind]);
    if (form == 'l') {
        list_counters();
        return 0;
    }
    if (form)
        return print_once(form);
    if (!isatty(STDOUT_FILENO))
        return usage("the live view needs a terminal: use -1, -c, -j or -o", "");
    return live_run();
}
