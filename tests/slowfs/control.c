// SPDX-License-Identifier: Apache-2.0
/*
 * Commands on a slowfs' standard input, one per line, each answered by one line. Called by main.c's
 * loop. The end of the input, which also comes when our parent dies, ends the program.
 */
#include "tests/slowfs/slowfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Calls `act` for each kind in `list`, a comma between, or for all kinds. False if one is unknown;
 * then some may be done. */
static bool each_kind(char *list, void (*act)(enum kind, const char *), const char *value)
{
    bool all = strcmp(list, "all") == 0;
    char *rest = NULL;
    for (int kind = 0; all && kind < CALL_COUNT; kind++)
        act((enum kind)kind, value);
    for (char *name = all ? NULL : strtok_r(list, ",", &rest); name;
         name = strtok_r(NULL, ",", &rest)) {
        int kind = 0;
        while (kind < CALL_COUNT && strcmp(kind_names[kind], name) != 0)
            kind++;
        if (kind == CALL_COUNT)
            return false;
        act((enum kind)kind, value);
    }
    return true;
}

static void set_delay(enum kind kind, const char *ms)
{
    settings.delay[kind] = strtoll(ms, NULL, 10) * 1000;
}

static void set_hold(enum kind kind, const char *pattern)
{
    free(settings.hold[kind]);
    settings.hold[kind] = pattern ? strdup(pattern) : NULL;
}

static void reset_counts(void)
{
    for (int kind = 0; kind <= CALL_COUNT; kind++) {
        struct counts *counts = &settings.counts[kind];
        counts->total = 0;
        counts->peak = counts->in_flight;
    }
}

static bool set_option(const char *name, const char *value)
{
    double number = strtod(value, NULL);
    if (strcmp(name, "timeout") == 0)
        settings.timeout = number;
    else if (strcmp(name, "direct") == 0)
        settings.direct = number != 0;
    else if (strcmp(name, "keep") == 0)
        settings.keep = number != 0;
    else if (strcmp(name, "interruptible") == 0)
        settings.interruptible = number != 0;
    else
        return false;
    return true;
}

static bool print_counts(const char *name)
{
    int kind = 0;
    while (kind < CALL_COUNT && strcmp(kind_names[kind], name) != 0)
        kind++;
    if (kind == CALL_COUNT && strcmp(name, "all") != 0)
        return false;
    const struct counts *counts = &settings.counts[kind];
    printf("in_flight=%u peak=%u total=%u held=%u files=%u\n", counts->in_flight, counts->peak,
           counts->total, counts->held, counts->files);
    return true;
}

/* False: not understood. Counts are answered with a line of their own, everything else with
 * "ok". */
static bool obey(char *line)
{
    char verb[16] = "", one[256] = "", two[256] = "";
    int words = sscanf(line, "%15s %255s %255s", verb, one, two);
    if (strcmp(verb, "counts") == 0 && words == 2)
        return print_counts(one);
    bool done = false;
    if (strcmp(verb, "delay") == 0 && words == 3)
        done = each_kind(one, set_delay, two);
    else if (strcmp(verb, "hold") == 0 && words >= 2)
        done = each_kind(one, set_hold, words == 3 ? two : "*");
    else if (strcmp(verb, "release") == 0 && words == 2)
        done = each_kind(one, set_hold, NULL);
    else if (strcmp(verb, "set") == 0 && words == 3)
        done = set_option(one, two);
    else if (strcmp(verb, "reset") == 0 && words == 1)
        done = (reset_counts(), true);
    if (done)
        puts("ok");
    return done;
}

bool control_read(void)
{
    static char buffer[2048];
    static size_t have;
    ssize_t got = read(STDIN_FILENO, buffer + have, sizeof(buffer) - 1 - have);
    if (got <= 0)
        return got < 0 && (errno == EINTR || errno == EAGAIN);
    have += (size_t)got;
    buffer[have] = '\0';
    char *line = buffer, *end;
    while ((end = strchr(line, '\n'))) {
        *end = '\0';
        if (!obey(line))
            puts("not understood");
        line = end + 1;
    }
    fflush(stdout);
    have = strlen(line);
    memmove(buffer, line, have);
    return have < sizeof(buffer) - 1;
}
