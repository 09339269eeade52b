/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stmstat threads: sums of waits by kind and by backend, then each state thread that is serving
 * something and what it waits for, oldest request first. Called by main.c; the live view shows the
 * sums.
 */
#include <string.h>

#include "stmstat/stmstat.h"
#include "stmstat/threads.h"

/* Clients' texts may contain anything. A text that is too long for its column is printed whole. */
static void put_plain(const char *text, int width)
{
    int shown = 0;

    while (*text) {
        uint32_t character = stm_text_next(&text);

        putchar(character >= ' ' && character < 0x7f ? (int)character : '?');
        shown++;
    }
    while (shown++ < width)
        putchar(' ');
}

static void put_sum(const char *name, const stm_waits_sum_t *sum)
{
    char time[STM_WAITS_TIME];

    printf("%7u  ", sum->threads);
    put_plain(name, 40);
    printf(" longest %s\n", stm_waits_time(sum->longest, time));
}

static void put_sums(const stm_waits_t *waits)
{
    puts("Threads by what they wait for:");
    for (unsigned i = 0; i < waits->kind_count; i++)
        put_sum(stm_wait_kinds[waits->kinds[i].kind].words, &waits->kinds[i]);
    if (waits->backend_count)
        puts("By backend:");
    for (unsigned i = 0; i < waits->backend_count; i++)
        put_sum(waits->backends[i].name, &waits->backends[i]);
}

static void put_column(const char *text, int width)
{
    put_plain(*text ? text : "-", width);
    putchar(' ');
}

static void put_thread(const stm_waiting_t *one)
{
    char age[STM_WAITS_TIME], waited[STM_WAITS_TIME], words[STM_WAITS_WORDS];

    stm_waits_time(one->age, age);
    stm_waits_time(one->waited, waited);
    printf("%4d %10s %10s  ", one->vp, age, waited);
    put_column(stm_waits_words(one->wait, words), 40);
    put_column(one->wait->client, 15);
    put_column(one->wait->vhost, 16);
    put_column(one->wait->handler, 14);
    put_plain(*one->wait->request ? one->wait->request : "-", 0);
    putchar('\n');
}

static void put_table(const stm_waits_t *waits)
{
    if (!waits->count) {
        puts("No state thread is serving anything.");
        return;
    }
    put_sums(waits);
    printf("%4s %10s %10s  %-40s %-15s %-16s %-14s %s\n", "VP", "age", "for", "waits for", "client",
           "vhost", "handler", "request");
    for (unsigned i = 0; i < waits->count; i++)
        put_thread(&waits->waiting[i]);
}

static void to_stdout(void *baton, const char *data, size_t size)
{
    (void)baton;
    fwrite(data, 1, size, stdout);
}

bool threads_print(const stmstat_scan_t *scan, bool json)
{
    const stm_text_t text = {.put = to_stdout};
    stm_waits_t waits;
    bool collected = stm_waits_collect(&waits, scan->views, scan->count, scan->now);

    if (collected && json)
        stm_waits_json(&text, &waits, scan->now);
    else if (collected)
        put_table(&waits);
    stm_waits_free(&waits);
    return collected;
}

void threads_summary(const stmstat_scan_t *scan, char *line, size_t size)
{
    stm_waits_t waits;
    size_t used = 0;

    *line = '\0';
    if (stm_waits_collect(&waits, scan->views, scan->count, scan->now)) {
        for (unsigned i = 0; i < waits.kind_count && used < size; i++)
            used +=
                (size_t)snprintf(line + used, size - used, "%s%u %s", i ? ", " : "",
                                 waits.kinds[i].threads, stm_wait_kinds[waits.kinds[i].kind].words);
    }
    stm_waits_free(&waits);
}
