/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual's table of rebound calls is the table: docs/internals/stiol.md against calls.def. With
 * the argument
 * --table it prints what the manual should say.
 */
#include "tests/stiol/stiol_vp.h"

typedef struct row {
    const char *symbol, *kind, *scope, *help;
} row_t;

static const row_t rows[] = {
#define STIOL_KIND(name, help)
#define STIOL_CALL(symbol, scope, kind, version, help) {#symbol, #kind, #scope, help},
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void format(const row_t *row, char *line, size_t size)
{
    snprintf(line, size, "| `%s` | %s | %s | %s |\n", row->symbol, row->kind,
             strcmp(row->scope, "THREADS") == 0 ? "libapr" : "all", row->help);
}

static char manual[256 * 1024];

static void read_manual(void)
{
    FILE *file = fopen(MANUAL, "r");

    CHECK(file);
    CHECK(fread(manual, 1, sizeof(manual) - 1, file) > 0);
    fclose(file);
}

static void every_call_is_in_the_manual(void)
{
    char line[512];

    read_manual();
    for (size_t i = 0; i < ROWS; i++) {
        format(&rows[i], line, sizeof(line));
        if (!strstr(manual, line))
            fprintf(stderr, "missing in the manual: %s", line);
        CHECK(strstr(manual, line));
    }
}

static void nothing_else_is_in_the_manual(void)
{
    size_t count = 0;

    read_manual();
    for (const char *at = manual; (at = strstr(at, "\n| `")); at++)
        count++;
    CHECK(count == ROWS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(every_call_is_in_the_manual),
        RAW_TEST(nothing_else_is_in_the_manual),
    };
    char line[512];

    if (argc == 2 && strcmp(argv[1], "--table") == 0) {
        for (size_t i = 0; i < ROWS; i++) {
            format(&rows[i], line, sizeof(line));
            fputs(line, stdout);
        }
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
