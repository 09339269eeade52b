/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values for people: times, sizes and rates in suitable units, for the live view. What programs
 * read comes from stm_text_number().
 */
#include <inttypes.h>
#include <string.h>

#include "stmstat/stmstat.h"

const char *human_span(uint64_t us, char text[STMSTAT_HUMAN])
{
    unsigned long long seconds = us / 1000000u;

    if (us < 1000)
        snprintf(text, STMSTAT_HUMAN, "%" PRIu64 " us", us);
    else if (us < 1000000u)
        snprintf(text, STMSTAT_HUMAN, "%.1f ms", (double)us / 1e3);
    else if (seconds < 60)
        snprintf(text, STMSTAT_HUMAN, "%.1f s", (double)us / 1e6);
    else if (seconds < 3600)
        snprintf(text, STMSTAT_HUMAN, "%llum %02llus", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf(text, STMSTAT_HUMAN, "%lluh %02llum", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(text, STMSTAT_HUMAN, "%llud %02lluh", seconds / 86400, seconds / 3600 % 24);
    return text;
}

const char *human_ago(uint64_t then, uint64_t now, char text[STMSTAT_HUMAN])
{
    char span[STMSTAT_HUMAN];

    if (!then)
        snprintf(text, STMSTAT_HUMAN, "never");
    else
        snprintf(text, STMSTAT_HUMAN, "%.20s ago", human_span(now > then ? now - then : 0, span));
    return text;
}

/* At most four digits, and a unit. */
static const char *scaled(double value, double step, const char *const *units,
                          char text[STMSTAT_HUMAN])
{
    while (value >= (step > 1000 ? 1000 : 100000) && units[1]) {
        value /= step;
        units++;
    }
    snprintf(text, STMSTAT_HUMAN, value < 100 && **units && **units != 'B' ? "%.1f%s" : "%.0f%s",
             value, *units);
    return text;
}

const char *human_bytes(double bytes, char text[STMSTAT_HUMAN])
{
    static const char *const units[] = {"B", "K", "M", "G", "T", "P", NULL};

    return scaled(bytes, 1024, units, text);
}

const char *human_rate(const stm_score_field_t *field, double rate, char text[STMSTAT_HUMAN])
{
    static const char *const units[] = {"", "k", "M", "G", "T", NULL};

    if (field->unit == STM_SCORE_UNIT_bytes)
        return human_bytes(rate, text);
    if (field->unit == STM_SCORE_UNIT_seconds)
        return human_span((uint64_t)rate, text);
    if (rate < 1000) {
        snprintf(text, STMSTAT_HUMAN, "%.1f", rate);
        return text;
    }
    return scaled(rate, 1000, units, text);
}

const char *human_value(const stm_score_field_t *field, uint64_t value, uint64_t now,
                        char text[STMSTAT_HUMAN])
{
    if (field->type == STM_SCORE_TYPE_time)
        return human_ago(value, now, text);
    if (field->unit == STM_SCORE_UNIT_seconds)
        return human_span(value, text);
    if (field->unit == STM_SCORE_UNIT_bytes)
        return human_bytes((double)value, text);
    if (field->type == STM_SCORE_TYPE_info && strcmp(field->name, "state") == 0)
        snprintf(text, STMSTAT_HUMAN, "%s", stm_view_state(value));
    else if (field->type == STM_SCORE_TYPE_info && (int64_t)value < 0)
        snprintf(text, STMSTAT_HUMAN, "none");
    else
        snprintf(text, STMSTAT_HUMAN, "%" PRIu64, value);
    return text;
}
