/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stmstat says about itself: the options, the counters, and the manual page, all generated
 * from the tables. docs/man/stmstat.1 is what --manual prints; a test makes sure of that.
 */
#include <string.h>

#include "stmstat/stmstat.h"

typedef struct {
    int letter;
    const char *name, *argument, *help; /* argument "": none */
} option_t;

static const option_t options[] = {
#define OPTION(letter, name, argument, help) {letter, name, argument, help},
    STMSTAT_OPTIONS
#undef OPTION
    {0, NULL, NULL, NULL},
};

void list_options(FILE *out)
{
    fputs(
        "Usage: stmstat [OPTION]...\n"
        "       stmstat threads [-j] [-d DIR]\n"
        "       stmstat [-d DIR] dump VP\n"
        "Shows the scoreboards of a running httpd with the STM MPM; in a live view, unless -1, -c, "
        "-j, -o or -l is given.\n"
        "threads shows what each busy state thread is waiting for.\n"
        "dump shows " STMSTAT_DUMP ".\n\n",
        out);
    for (const option_t *option = options; option->name; option++)
        fprintf(out, "  -%c, --%s%s%s\n        %s\n", option->letter, option->name,
                *option->argument ? "=" : "", option->argument, option->help);
    fputs("\nExit status, except for the live view, whose exit status is 0:\n", out);
#define STATUS(number, meaning) fprintf(out, "  %d  %s\n", number, meaning);
    STMSTAT_STATUSES
#undef STATUS
}

static void full_name(const stm_score_field_t *field, char *name, size_t size)
{
    static const char *const prefixes[] = {"vp.N.", "vp.N.listener.ADDRESS.", "vp.N.thread.N."};

    snprintf(name, size, "%s%s", prefixes[field->group], field->name);
}

bool list_counters(void)
{
    char name[128];
    bool any = false;

    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        full_name(field, name, sizeof(name));
        if (!items_wanted(name))
            continue;
        any = true;
        printf("%s\n    %s (%s%s%s, %s)\n    %s\n", name, field->brief,
               stm_score_type_names[field->type], field->unit == STM_SCORE_UNIT_none ? "" : ", ",
               stm_score_unit_names[field->unit], stm_score_level_names[field->level], field->help);
    }
    return any;
}

/* --- the manual page --- */

/* Escapes hyphens, so that they can be copied, and what troff would interpret. */
static void roff(const char *text)
{
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
    }
    putchar('\n');
}

static void manual_dump(void)
{
    puts(
        ".SH BACKTRACES\n"
        ".B dump\n"
        "shows " STMSTAT_DUMP ".\n"
        "VP is the number of the VP, from 0. Each state thread is shown with its number, address\n"
        "and state and, if it serves a connection, the client, the request and their ages. Frames\n"
        "have the names that the objects' symbols give them; for source lines, install debugging\n"
        "information (on Debian, libapache2\\-mpm\\-stm\\-dbgsym). Nothing is fetched from the\n"
        "network.\n"
        ".PP\n"
        "The process is stopped only while registers and stacks are copied; the first line says\n"
        "for how long: a few milliseconds with 1,000 state threads. It receives no signal, and\n"
        "continues even if stmstat is killed; system calls of kernel threads that the stop\n"
        "interrupts (such as epoll_wait) may fail with EINTR, as with any debugger. If it cannot\n"
        "be stopped, because another tool traces it, parked threads are shown all the same.\n"
        ".PP\n"
        "This requires the rights of a debugger: root or CAP_SYS_PTRACE, also inside a container,\n"
        "and the same PID namespace. Backtraces and request lines may contain secrets. Works on\n"
        "x86\\-64 and AArch64.");
}

static void manual_options(void)
{
    puts(".SH OPTIONS");
    for (const option_t *option = options; option->name; option++) {
        printf(".TP\n.BR \\-%c \", \" \\-\\-%s", option->letter, option->name);
        printf(*option->argument ? " \" \" \\fI%s\\fR\n" : "%s\n", option->argument);
        roff(option->help);
    }
}

static void manual_keys(void)
{
    static const char *const keys[] = {STMSTAT_KEYS, NULL};
    enum { KEY = 11 }; /* the width of the keys' column */

    puts(".SH KEYS OF THE LIVE VIEW");
    for (int i = 0; keys[i]; i++) {
        int length = KEY;

        while (length > 0 && keys[i][length - 1] == ' ')
            length--;
        printf(".TP\n.B %.*s\n", length, keys[i]);
        roff(keys[i] + KEY);
    }
}

static void manual_statuses(void)
{
    puts(".SH EXIT STATUS\n"
         "Of \\-1, \\-c, \\-j and \\-o. If several apply, the first of 2, 5, 3, 1 and 4 is used.\n"
         "dump exits with 0, with 1 if some threads have no backtrace, or with 2 if none can be\n"
         "shown or that is not permitted. All other forms exit with 0, with 2 if they cannot do\n"
         "what was asked, or (\\-l) with 5.");
#define STATUS(number, meaning)                                                                    \
    puts(".TP\n.B " #number);                                                                      \
    roff(meaning);
    STMSTAT_STATUSES
#undef STATUS
}

static void manual_counters(void)
{
    static const char *const titles[] = {"For each virtual processor: vp.N.",
                                         "For each listening socket: vp.N.listener.ADDRESS.",
                                         "For each thread slot: vp.N.thread.N."};
    int group = -1;

    puts(
        ".SH COUNTERS\n"
        "all.\\fINAME\\fR is the value for all virtual processors together: for counters, gauges\n"
        "and histograms the sum; for peaks the highest of any VP (all.threads_peak is what one VP\n"
        "has had at once); info and time identify one process and have none. Counters include\n"
        "all earlier incarnations; connections_prior and connections_this tell them apart.");
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if ((int)field->group != group) {
            group = (int)field->group;
            printf(".SS %s\n", titles[group]);
        }
        printf(".TP\n.BR %s \" (%s%s%s, %s)\"\n", field->name, stm_score_type_names[field->type],
               field->unit == STM_SCORE_UNIT_none ? "" : ", ", stm_score_unit_names[field->unit],
               stm_score_level_names[field->level]);
        printf("%s. ", field->brief);
        roff(field->help);
    }
}

void list_manual(void)
{
    puts(
        ".\\\" SPDX-License-Identifier: Apache-2.0\n"
        ".\\\" Generated by stmstat --manual from its tables.\n"
        ".TH STMSTAT 1 \"\" \"STM\" \"User Commands\"\n"
        ".SH NAME\n"
        "stmstat \\- show the scoreboards of httpd's STM MPM\n"
        ".SH SYNOPSIS\n"
        ".B stmstat\n"
        ".RI [ option ]...\n"
        ".br\n"
        ".B stmstat threads\n"
        ".RB [ \\-j ]\n"
        ".RB [ \\-d\n"
        ".IR DIR ]\n"
        ".br\n"
        ".B stmstat\n"
        ".RB [ \\-d\n"
        ".IR DIR ]\n"
        ".B dump\n"
        ".I VP\n"
        ".SH DESCRIPTION\n"
        "Reads the scoreboard files that each virtual processor (VP) of an httpd with the STM MPM\n"
        "keeps in its ScoreboardDir, and shows what every VP, listening socket, state thread and\n"
        "connection is doing. It sends no request, and works when the server does not answer.\n"
        ".PP\n"
        "Without an option that says otherwise, it shows a live view with rates and averages over\n"
        "10 seconds, a minute and ten minutes. It adapts to terminals of any size, and notices a\n"
        "directory that appears later and a server that is restarted.\n"
        ".PP\n"
        ".B stmstat threads\n"
        "shows each state thread that is serving something, oldest request first: its VP, the\n"
        "request's age, how long it has been waiting or running, what it is waiting for (with the\n"
        "backend, lock and holder, file, name or program once the wait has lasted 0.05 s), the\n"
        "client, the virtual host, the handler and the request. Above that, it sums up how many\n"
        "threads are waiting for what, and for which backend.\n"
        ".PP\n"
        "Anyone who can read the files can see the clients' addresses and request lines: let the\n"
        "mode of ScoreboardDir decide who may read them.");
    manual_dump();
    manual_options();
    manual_keys();
    manual_counters();
    manual_statuses();
    puts(
        ".SH FILES\n"
        ".TP\n"
        ".I ScoreboardDir/0, 1, ...\n"
        "The scoreboards, named by the ordinals of the VPs; ORDINAL.N.block has the counters of a\n"
        "process that holds the VP's seat, or has left it but is still serving.\n"
        ".SH SEE ALSO\n"
        ".BR mod_mpm_stm (8)");
}
