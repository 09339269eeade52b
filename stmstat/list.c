/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stmstat says about itself: the options, the counters, and the manual page, all made from the
 * tables. docs/man/stmstat.1 is what --manual prints; a test keeps it so.
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
        "Shows the scoreboards of a running httpd with the STM MPM. Without -1, -c, -j, -o or -l: "
        "a live view.\n\n",
        out);
    for (const option_t *option = options; option->name; option++)
        fprintf(out, "  -%c, --%s%s%s\n        %s\n", option->letter, option->name,
                *option->argument ? "=" : "", option->argument, option->help);
    fputs("\nExit status: 0, or 1 if a scoreboard could not be read, or 2 if none could.\n", out);
}

static void full_name(const stm_score_field_t *field, char *name, size_t size)
{
    static const char *const prefixes[] = {"vp.N.", "vp.N.listener.ADDRESS.", "vp.N.thread.N."};

    snprintf(name, size, "%s%s", prefixes[field->group], field->name);
}

void list_counters(void)
{
    char name[128];

    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        full_name(field, name, sizeof(name));
        if (items_wanted(name))
            printf("%s\n    %s (%s%s%s, %s)\n    %s\n", name, field->brief,
                   stm_score_type_names[field->type],
                   field->unit == STM_SCORE_UNIT_none ? "" : ", ",
                   stm_score_unit_names[field->unit], stm_score_level_names[field->level],
                   field->help);
    }
}

/* --- the manual page --- */

/* Hyphens that are to be copied, and what troff would take for its own. */
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

static void manual_options(void)
{
    puts(".SH OPTIONS");
    for (const option_t *option = options; option->name; option++) {
        printf(".TP\n.BR \\-%c \", \" \\-\\-%s", option->letter, option->name);
        printf(*option->argument ? " \" \" \\fI%s\\fR\n" : "%s\n", option->argument);
        roff(option->help);
    }
}

static void manual_counters(void)
{
    static const char *const titles[] = {"Of each virtual processor: vp.N.",
                                         "Of each listening socket: vp.N.listener.ADDRESS.",
                                         "Of each thread slot: vp.N.thread.N."};
    int group = -1;

    puts(".SH COUNTERS\n"
         "all.\\fINAME\\fR is the sum of all virtual processors. Counters are those of all\n"
         "incarnations together; connections_prior and connections_this tell them apart.");
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
        ".\\\" Printed by stmstat --manual from its tables.\n"
        ".TH STMSTAT 1 \"\" \"STM\" \"User Commands\"\n"
        ".SH NAME\n"
        "stmstat \\- show the scoreboards of httpd's STM MPM\n"
        ".SH SYNOPSIS\n"
        ".B stmstat\n"
        ".RI [ option ]...\n"
        ".SH DESCRIPTION\n"
        "Reads the scoreboard files that each virtual processor (VP) of an httpd with the STM MPM\n"
        "keeps in its ScoreboardDir, and shows what every VP, listening socket, state thread and\n"
        "connection does. It causes no request, and works when the server does not answer.\n"
        ".PP\n"
        "Without an option that says otherwise: a live view, with rates. Keys: q leaves, v shows\n"
        "more or less, c shows the connections, arrows scroll.\n"
        ".PP\n"
        "Who may read the files sees the clients' addresses and request lines: let the mode of\n"
        "ScoreboardDir say who may.");
    manual_options();
    manual_counters();
    puts(
        ".SH EXIT STATUS\n"
        "0; 1 if a scoreboard could not be read (the rest is shown); 2 if none could.\n"
        ".SH FILES\n"
        ".TP\n"
        ".I ScoreboardDir/0, 1, ...\n"
        "The scoreboards, named by the ordinals of the VPs; ORDINAL.N.block has the counters of a\n"
        "process that holds the VP's place, or has left it and still serves.\n"
        ".SH SEE ALSO\n"
        ".BR mod_mpm_stm (8)");
}
