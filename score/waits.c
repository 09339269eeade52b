/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists and sums of what state threads wait for, and their text forms. All of it comes from
 * scoreboards, so the texts may contain anything. Needs only the C library; used by stmstat and the
 * pages.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "score/waits.h"

#define US 1000000u

const stm_wait_kind_t stm_wait_kinds[STM_WAIT_COUNT] = {
#define STM_WAIT(name, class, words, help) {#name, #class, words},
#include "score/waits.def"
};

/* --- the list --- */

static uint64_t since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

static int oldest_first(const void *left, const void *right)
{
    const stm_waiting_t *a = left, *b = right;

    if (a->age != b->age)
        return a->age > b->age ? -1 : 1;
    return a->vp != b->vp ? a->vp - b->vp : (a->wait > b->wait) - (a->wait < b->wait);
}

static void add_view(stm_waits_t *waits, const stm_view_t *view, uint64_t now)
{
    for (unsigned i = 0; i < view->wait_count; i++) {
        const stm_view_wait_t *from = &view->waits[i];

        waits->waiting[waits->count++] = (stm_waiting_t){
            .wait = &from->wait,
            .vp = view->ordinal,
            .pid = from->pid,
            .age = since(from->wait.began + from->clock, now),
            .waited = since(from->wait.since + from->clock, now),
        };
    }
}

/* --- sums --- */

static bool is_backend(const stm_score_wait_t *wait)
{
    return strcmp(stm_wait_kinds[wait->kind].class, "backend") == 0 && *wait->name;
}

static void add(stm_waits_sum_t *sum, const stm_waits_sum_t *more)
{
    sum->threads += more->threads;
    if (more->longest > sum->longest)
        sum->longest = more->longest;
}

static int most_first(const void *left, const void *right)
{
    const stm_waits_sum_t *a = left, *b = right;

    if (a->threads != b->threads)
        return a->threads > b->threads ? -1 : 1;
    return a->longest == b->longest ? 0 : a->longest > b->longest ? -1 : 1;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const stm_waits_sum_t *)left)->name, ((const stm_waits_sum_t *)right)->name);
}

static void add_up_kinds(stm_waits_t *waits)
{
    unsigned kept = 0;

    for (unsigned kind = 0; kind < STM_WAIT_COUNT; kind++)
        waits->kinds[kind] = (stm_waits_sum_t){.kind = kind, .name = ""};
    for (unsigned i = 0; i < waits->count; i++)
        add(&waits->kinds[waits->waiting[i].wait->kind],
            &(stm_waits_sum_t){.threads = 1, .longest = waits->waiting[i].waited});
    for (unsigned kind = 0; kind < STM_WAIT_COUNT; kind++)
        if (waits->kinds[kind].threads)
            waits->kinds[kept++] = waits->kinds[kind];
    waits->kind_count = kept;
    qsort(waits->kinds, kept, sizeof(*waits->kinds), most_first);
}

/* A backend counts once, whether threads connect to it, read or write. The list is sorted first,
 * because a VP could claim that each of its threads has a different backend. */
static void add_up_backends(stm_waits_t *waits)
{
    stm_waits_sum_t *sums = waits->backends;
    unsigned count = 0, kept = 0;

    for (unsigned i = 0; i < waits->count; i++) {
        const stm_waiting_t *one = &waits->waiting[i];

        if (is_backend(one->wait))
            sums[count++] = (stm_waits_sum_t){.kind = STM_WAIT_backend_read,
                                              .name = one->wait->name,
                                              .threads = 1,
                                              .longest = one->waited};
    }
    qsort(sums, count, sizeof(*sums), by_name);
    for (unsigned i = 0; i < count; i++) {
        if (kept > 0 && by_name(&sums[kept - 1], &sums[i]) == 0)
            add(&sums[kept - 1], &sums[i]);
        else
            sums[kept++] = sums[i];
    }
    waits->backend_count = kept;
    qsort(sums, kept, sizeof(*sums), most_first);
}

bool stm_waits_collect(stm_waits_t *waits, const stm_view_t *views, int count, uint64_t now)
{
    size_t most = 1;

    memset(waits, 0, sizeof(*waits));
    for (int i = 0; i < count; i++)
        most += views[i].wait_count;
    waits->waiting = calloc(most, sizeof(*waits->waiting));
    waits->kinds = calloc(STM_WAIT_COUNT, sizeof(*waits->kinds));
    waits->backends = calloc(most, sizeof(*waits->backends));
    if (!waits->waiting || !waits->kinds || !waits->backends)
        return false;
    for (int i = 0; i < count; i++)
        add_view(waits, &views[i], now);
    qsort(waits->waiting, waits->count, sizeof(*waits->waiting), oldest_first);
    add_up_kinds(waits);
    add_up_backends(waits);
    return true;
}

void stm_waits_free(stm_waits_t *waits)
{
    free(waits->waiting);
    free(waits->kinds);
    free(waits->backends);
    memset(waits, 0, sizeof(*waits));
}

/* --- text --- */

/* If a wait has no name, its number stands in for it. */
static void name_by_number(const stm_score_wait_t *wait, char name[STM_SCORE_NAMED])
{
    int64_t number = (int64_t)wait->number;

    *name = '\0';
    if (wait->kind == STM_WAIT_running) /* the rest is left over from an earlier wait */
        return;
    if (*wait->name)
        memcpy(name, wait->name, STM_SCORE_NAMED);
    else if (wait->kind == STM_WAIT_program && number > 0)
        snprintf(name, STM_SCORE_NAMED, "%" PRId64, number);
    else if (wait->kind == STM_WAIT_lock || wait->kind == STM_WAIT_condition)
        snprintf(name, STM_SCORE_NAMED, "0x%" PRIx64, wait->object);
    else if (number >= 0 && wait->kind != STM_WAIT_client_read &&
             wait->kind != STM_WAIT_client_write)
        snprintf(name, STM_SCORE_NAMED, "descriptor %" PRId64, number);
}

static const char *holder_of(const stm_score_wait_t *wait)
{
    return wait->kind == STM_WAIT_lock || wait->kind == STM_WAIT_file_lock ? wait->holder : "";
}

const char *stm_waits_words(const stm_score_wait_t *wait, char words[STM_WAITS_WORDS])
{
    const char *holder = holder_of(wait);
    char name[STM_SCORE_NAMED];

    name_by_number(wait, name);
    if (wait->kind == STM_WAIT_descriptor && strncmp(name, "descriptor ", 11) == 0)
        memmove(name, name + 11, strlen(name + 11) + 1);
    snprintf(words, STM_WAITS_WORDS, "%s%s%s%s%s", stm_wait_kinds[wait->kind].words,
             *name ? " " : "", name, *holder ? ", held by " : "", holder);
    return words;
}

const char *stm_waits_time(uint64_t us, char text[STM_WAITS_TIME])
{
    if (us < 10 * US)
        snprintf(text, STM_WAITS_TIME, "%.3f s", (double)us / US);
    else if (us < 6000ull * US)
        snprintf(text, STM_WAITS_TIME, "%.1f s", (double)us / US);
    else
        snprintf(text, STM_WAITS_TIME, "%.1f h", (double)us / US / 3600);
    return text;
}

/* --- JSON --- */

static void put_seconds(const stm_text_t *text, const char *name, uint64_t us)
{
    stm_text_print(text, "\"%s\":%" PRIu64 ".%06" PRIu64, name, us / US, us % US);
}

static void put_member(const stm_text_t *text, const char *name, const char *string)
{
    stm_text_print(text, ",\"%s\":", name);
    stm_text_string(text, string);
}

static void put_thread(const stm_text_t *text, const stm_waiting_t *one)
{
    const stm_score_wait_t *wait = one->wait;
    char name[STM_SCORE_NAMED];

    stm_text_print(text, "{\"vp\":%d,\"pid\":%" PRIu64 ",\"connection\":%" PRIu64 ",", one->vp,
                   one->pid, wait->serial);
    put_seconds(text, "age", one->age);
    put_member(text, "client", wait->client);
    put_member(text, "vhost", wait->vhost);
    put_member(text, "request", wait->request);
    put_member(text, "handler", wait->handler);
    put_member(text, "waits_for", stm_wait_kinds[wait->kind].name);
    name_by_number(wait, name);
    put_member(text, "name", name);
    put_member(text, "holder", holder_of(wait));
    stm_text_put(text, ",");
    put_seconds(text, "for", one->waited);
    stm_text_put(text, "}");
}

static void put_sum(const stm_text_t *text, const stm_waits_sum_t *sum)
{
    if (*sum->name) {
        stm_text_put(text, "{\"backend\":");
        stm_text_string(text, sum->name);
    } else {
        stm_text_print(text, "{\"waits_for\":\"%s\"", stm_wait_kinds[sum->kind].name);
    }
    stm_text_print(text, ",\"threads\":%u,", sum->threads);
    put_seconds(text, "longest", sum->longest);
    stm_text_put(text, "}");
}

void stm_waits_json(const stm_text_t *text, const stm_waits_t *waits, uint64_t now)
{
    stm_text_print(text, "{\"layout\":%u,", STM_SCORE_VERSION);
    put_seconds(text, "time", now);
    stm_text_put(text, ",\n\"kinds\":[");
    for (unsigned i = 0; i < waits->kind_count; i++) {
        stm_text_put(text, i ? ",\n" : "");
        put_sum(text, &waits->kinds[i]);
    }
    stm_text_put(text, "],\n\"backends\":[");
    for (unsigned i = 0; i < waits->backend_count; i++) {
        stm_text_put(text, i ? ",\n" : "");
        put_sum(text, &waits->backends[i]);
    }
    stm_text_put(text, "],\n\"threads\":[");
    for (unsigned i = 0; i < waits->count; i++) {
        stm_text_put(text, i ? ",\n" : "");
        put_thread(text, &waits->waiting[i]);
    }
    stm_text_put(text, "]}\n");
}
