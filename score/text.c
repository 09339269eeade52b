/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views as JSON and as OpenMetrics text, generated from the table of counters. stmstat and the
 * module print the same.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "score/view.h"

#define US 1000000u

void stm_text_print(const stm_text_t *text, const char *format, ...)
{
    char line[1024];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (size > (int)sizeof(line) - 1)
        size = (int)sizeof(line) - 1;
    if (size > 0)
        text->put(text->baton, line, (size_t)size);
}

const char *stm_text_number(const stm_score_field_t *field, uint64_t value,
                            char buffer[STM_TEXT_NUMBER])
{
    if (field->unit == STM_SCORE_UNIT_seconds)
        snprintf(buffer, STM_TEXT_NUMBER, "%" PRIu64 ".%06" PRIu64, value / US, value % US);
    else if (field->type == STM_SCORE_TYPE_info)
        snprintf(buffer, STM_TEXT_NUMBER, "%" PRId64, (int64_t)value);
    else
        snprintf(buffer, STM_TEXT_NUMBER, "%" PRIu64, value);
    return buffer;
}

static bool wanted(const stm_text_t *text, const stm_score_field_t *field, const char *prefix)
{
    char name[256];

    if (!text->wanted)
        return true;
    snprintf(name, sizeof(name), "%s.%s", prefix, field->name);
    return text->wanted(text->baton, name, field);
}

/* --- JSON --- */

void stm_text_put(const stm_text_t *text, const char *string)
{
    text->put(text->baton, string, strlen(string));
}

static void put(const stm_text_t *text, const char *string)
{
    stm_text_put(text, string);
}

/* Length of a UTF-8 sequence, bytes; 0: it is not one. Clients send what they like. */
static int utf8_length(const unsigned char *at)
{
    int length = *at >= 0xc2 && *at <= 0xdf ? 2 : (*at & 0xf0) == 0xe0 ? 3 : *at >= 0xf0 ? 4 : 0;

    if (*at > 0xf4 || (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) ||
        (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f))
        return 0;
    for (int i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

/* Ranges of characters that are invisible, or change how others are shown. */
static const struct {
    uint32_t first, last;
} unseen[] = {
    {0x00, 0x1f},       /* C0 */
    {0x7f, 0x9f},       /* DEL, C1 */
    {0xad, 0xad},       /* soft hyphen */
    {0x61c, 0x61c},     /* Arabic letter mark */
    {0x180e, 0x180e},   /* Mongolian vowel separator */
    {0x200b, 0x200f},   /* zero width, left-to-right and right-to-left marks */
    {0x2028, 0x202e},   /* line and paragraph separators, embeddings and overrides */
    {0x2060, 0x206f},   /* word joiner, invisible operators, isolates */
    {0xfe00, 0xfe0f},   /* variation selectors */
    {0xfeff, 0xfeff},   /* byte order mark */
    {0xfff0, 0xfffb},   /* interlinear annotations */
    {0xfffe, 0xffff},   /* noncharacters */
    {0xe0000, 0xe0fff}, /* tags, more variation selectors */
};

bool stm_text_unseen(uint32_t character)
{
    for (size_t i = 0; i < sizeof(unseen) / sizeof(*unseen); i++) {
        if (character >= unseen[i].first && character <= unseen[i].last)
            return true;
    }
    return false;
}

uint32_t stm_text_next(const char **text)
{
    const unsigned char *at = (const unsigned char *)*text;
    int length = *at < 0x80 ? 1 : utf8_length(at);
    uint32_t character = *at;

    if (length == 0) {
        (*text)++;
        return STM_TEXT_INVALID | character;
    }
    if (length > 1)
        character &= 0xffu >> (length + 1);
    for (int i = 1; i < length; i++)
        character = character << 6 | (at[i] & 0x3f);
    *text += length;
    return character;
}

/* As ASCII-only JSON: no byte is left that a terminal might interpret. Anything that is not UTF-8
 * is taken to be Latin-1. */
static void put_escaped(const stm_text_t *text, uint32_t character)
{
    character &= ~STM_TEXT_INVALID;
    if (character < 0x10000) {
        stm_text_print(text, "\\u%04x", character);
        return;
    }
    character -= 0x10000;
    stm_text_print(text, "\\u%04x\\u%04x", 0xd800 | character >> 10, 0xdc00 | (character & 0x3ff));
}

void stm_text_string(const stm_text_t *text, const char *string)
{
    put(text, "\"");
    while (*string) {
        const char *plain = string;

        while (*string >= ' ' && *string < 0x7f && *string != '"' && *string != '\\')
            string++;
        text->put(text->baton, plain, (size_t)(string - plain));
        if (*string)
            put_escaped(text, stm_text_next(&string));
    }
    put(text, "\"");
}

/* Members of an object go on a line each; the first is not preceded by a comma. */
static void member(const stm_text_t *text, bool *first)
{
    put(text, *first ? "" : ",");
    *first = false;
}

static void put_histogram(const stm_text_t *text, const stm_score_field_t *field,
                          const uint64_t *words)
{
    char number[STM_TEXT_NUMBER];

    stm_text_print(text, "{\"sum\":%s,\"buckets\":[",
                   stm_text_number(field, words[STM_SCORE_BUCKETS], number));
    for (int i = 0; i < STM_SCORE_BUCKETS; i++)
        stm_text_print(text, "%s%" PRIu64, i ? "," : "", words[i]);
    put(text, "]}");
}

/* The sum of all VPs contains only what adds up. */
static bool left_out(const stm_score_field_t *field, const char *prefix)
{
    return strcmp(prefix, "all") == 0 && !stm_score_adds_up(field);
}

static void put_fields(const stm_text_t *text, stm_score_group_e group, const void *values,
                       const char *prefix, bool *first)
{
    char number[STM_TEXT_NUMBER];

    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if (field->group != group || left_out(field, prefix) || !wanted(text, field, prefix))
            continue;
        member(text, first);
        stm_text_print(text, "\"%s\":", field->name);
        if (field->type == STM_SCORE_TYPE_histogram)
            put_histogram(text, field, stm_score_at(field, values));
        else
            put(text, stm_text_number(field, *stm_score_at(field, values), number));
    }
}

static void put_object(const stm_text_t *text, const char *name, const void *values,
                       const char *prefix)
{
    bool first = true;

    stm_text_print(text, "\"%s\":{", name);
    put_fields(text, STM_SCORE_OF_VP, values, prefix, &first);
    put(text, "}");
}

static void put_listeners(const stm_text_t *text, const stm_view_t *view)
{
    put(text, ",\n\"listeners\":[");
    for (unsigned i = 0; i < view->listener_count; i++) {
        const stm_score_listener_t *listener = &view->listeners[i];
        char prefix[160];
        bool first = false;

        snprintf(prefix, sizeof(prefix), "vp.%d.listener.%s", view->ordinal, listener->address);
        put(text, i ? ",\n{\"address\":" : "{\"address\":");
        stm_text_string(text, listener->address);
        put_fields(text, STM_SCORE_OF_LISTENER, listener, prefix, &first);
        put(text, "}");
    }
    put(text, "]");
}

static void put_threads(const stm_text_t *text, const stm_view_t *view)
{
    put(text, ",\n\"threads\":[");
    for (unsigned i = 0; i < view->thread_count; i++) {
        char prefix[64];
        bool first = true;

        snprintf(prefix, sizeof(prefix), "vp.%d.thread.%u", view->ordinal, i);
        put(text, i ? ",\n{" : "{");
        put_fields(text, STM_SCORE_OF_THREAD, &view->threads[i], prefix, &first);
        put(text, "}");
    }
    put(text, "]");
}

static void put_rows(const stm_text_t *text, const stm_view_t *view)
{
    put(text, ",\n\"connections\":[");
    for (unsigned i = 0; i < view->row_count; i++) {
        const stm_view_row_t *row = view->rows[i];

        stm_text_print(text, "%s{\"Connection\":%" PRIu64, i ? ",\n" : "", row->row.serial);
        for (unsigned pair = 0; pair < row->row.pairs; pair++) {
            put(text, ",");
            stm_text_string(text, stm_view_key(view, row, pair));
            put(text, ":");
            stm_text_string(text, stm_view_value(view, row, pair));
        }
        put(text, "}");
    }
    put(text, "]");
}

static void put_view(const stm_text_t *text, const stm_view_t *view, uint64_t now)
{
    char prefix[32];

    snprintf(prefix, sizeof(prefix), "vp.%d", view->ordinal);
    stm_text_print(text, "{\"vp\":%d,\"problem\":", view->ordinal);
    if (*view->problem) {
        stm_text_string(text, view->problem);
        put(text, "}");
        return;
    }
    stm_text_print(text, "null,\"torn\":%s,\"running\":%s,\"present\":%s,",
                   view->torn ? "true" : "false", view->running ? "true" : "false",
                   view->present ? "true" : "false");
    stm_text_print(text, "\"leaving\":%u,\"unread\":%u,\"state\":\"%s\"", view->leaving,
                   view->unread, view->present ? stm_view_state(view->current.state) : "none");
    stm_text_print(text, ",\"silent\":%s,\n",
                   stm_view_silence(view, now) > STM_VIEW_SILENT ? "true" : "false");
    put_object(text, "counters", &view->total, prefix);
    put(text, ",\n");
    put_object(text, "this_incarnation", &view->current, prefix);
    put(text, ",\n");
    stm_text_print(text, "\"connections_prior\":%" PRIu64, view->prior.connections);
    put_listeners(text, view);
    put_threads(text, view);
    put_rows(text, view);
    put(text, "}");
}

void stm_text_json(const stm_text_t *text, const stm_view_t *views, int count, uint64_t now)
{
    stm_score_vp_t sum;

    stm_view_sum(&sum, views, count);
    stm_text_print(text, "{\"layout\":%u,\"time\":%" PRIu64 ".%06" PRIu64 ",\n", STM_SCORE_VERSION,
                   now / US, now % US);
    put_object(text, "all", &sum, "all");
    put(text, ",\n\"vps\":[");
    for (int i = 0; i < count; i++) {
        put(text, i ? ",\n" : "");
        put_view(text, &views[i], now);
    }
    put(text, "]}\n");
}

/* --- OpenMetrics --- */

static const char *metric_type(const stm_score_field_t *field)
{
    if (field->type == STM_SCORE_TYPE_counter)
        return "counter";
    return field->type == STM_SCORE_TYPE_histogram ? "histogram" : "gauge";
}

static void family(const stm_text_t *text, const stm_score_field_t *field)
{
    const char *group = stm_score_group_names[field->group];

    stm_text_print(text, "# TYPE stm_%s_%s %s\n", group, field->name, metric_type(field));
    if (field->unit != STM_SCORE_UNIT_none)
        stm_text_print(text, "# UNIT stm_%s_%s %s\n", group, field->name,
                       stm_score_unit_names[field->unit]);
    stm_text_print(text, "# HELP stm_%s_%s %s\n", group, field->name, field->help);
}

static void histogram(const stm_text_t *text, const stm_score_field_t *field, int vp,
                      const uint64_t *words)
{
    char number[STM_TEXT_NUMBER];
    uint64_t count = 0;

    for (int i = 0; i < STM_SCORE_BUCKETS; i++) {
        uint64_t bound = stm_score_bucket_bound(i);

        count += words[i];
        stm_text_print(text, "stm_vp_%s_bucket{vp=\"%d\",le=\"%s\"} %" PRIu64 "\n", field->name, vp,
                       bound ? stm_text_number(field, bound, number) : "+Inf", count);
    }
    stm_text_print(text, "stm_vp_%s_count{vp=\"%d\"} %" PRIu64 "\n", field->name, vp, count);
    stm_text_print(text, "stm_vp_%s_sum{vp=\"%d\"} %s\n", field->name, vp,
                   stm_text_number(field, words[STM_SCORE_BUCKETS], number));
}

static void vp_metric(const stm_text_t *text, const stm_score_field_t *field,
                      const stm_view_t *view)
{
    const uint64_t *words = stm_score_at(field, &view->total);
    char prefix[32], number[STM_TEXT_NUMBER];

    snprintf(prefix, sizeof(prefix), "vp.%d", view->ordinal);
    if (!wanted(text, field, prefix))
        return;
    if (field->type == STM_SCORE_TYPE_histogram)
        histogram(text, field, view->ordinal, words);
    else
        stm_text_print(text, "stm_vp_%s%s{vp=\"%d\"} %s\n", field->name,
                       field->type == STM_SCORE_TYPE_counter ? "_total" : "", view->ordinal,
                       stm_text_number(field, *words, number));
}

static void listener_metrics(const stm_text_t *text, const stm_score_field_t *field,
                             const stm_view_t *view)
{
    for (unsigned i = 0; i < view->listener_count; i++) {
        const stm_score_listener_t *listener = &view->listeners[i];
        char prefix[160], number[STM_TEXT_NUMBER];

        snprintf(prefix, sizeof(prefix), "vp.%d.listener.%s", view->ordinal, listener->address);
        if (wanted(text, field, prefix))
            stm_text_print(text, "stm_listener_%s%s{vp=\"%d\",address=\"%s\"} %s\n", field->name,
                           field->type == STM_SCORE_TYPE_counter ? "_total" : "", view->ordinal,
                           listener->address,
                           stm_text_number(field, *stm_score_at(field, listener), number));
    }
}

void stm_text_openmetrics(const stm_text_t *text, const stm_view_t *views, int count)
{
    put(text, "# TYPE stm_vp_up gauge\n"
              "# HELP stm_vp_up 1 if a process holds this virtual processor's seat.\n");
    for (int i = 0; i < count; i++)
        stm_text_print(text, "stm_vp_up{vp=\"%d\"} %d\n", views[i].ordinal,
                       !*views[i].problem && views[i].present && views[i].running);
    for (int f = 0; f < stm_score_field_count; f++) {
        const stm_score_field_t *field = &stm_score_fields[f];

        if (field->group == STM_SCORE_OF_THREAD)
            continue;
        family(text, field);
        for (int i = 0; i < count; i++) {
            if (*views[i].problem)
                continue;
            if (field->group == STM_SCORE_OF_VP)
                vp_metric(text, field, &views[i]);
            else
                listener_metrics(text, field, &views[i]);
        }
    }
    put(text, "# EOF\n");
}
