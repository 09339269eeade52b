/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What state threads cost in memory: parks some (100,000, or as many as the argument says) and
 * prints bytes and mappings. The figures of docs/internals/stacks.md come from here: make
 * footprint.
 */
#include <st.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *park(void *arg)
{
    (void)arg;
    st_thread_park(ST_UTIME_NO_TIMEOUT);
    return NULL;
}

/* Resident memory and page tables, bytes. */
static long memory(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0 || strncmp(line, "VmPTE:", 6) == 0)
            kilobytes += atol(line + 6);
    if (file != NULL)
        fclose(file);
    return kilobytes * 1024;
}

static int mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    int lines = 0, c;

    while (file != NULL && (c = fgetc(file)) != EOF)
        lines += c == '\n';
    if (file != NULL)
        fclose(file);
    return lines;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 100000;
    st_thread_t *threads = calloc((size_t)count + 1, sizeof(*threads));
    st_stack_stats_t stats;
    st_utime_t start;
    long before;

    if (threads == NULL || count < 1 || st_init() < 0)
        return 1;
    memset(threads, 0xff, (size_t)count * sizeof(*threads)); /* its pages are not the threads' */
    before = memory();
    start = st_utime();
    for (int i = 0; i < count; i++)
        if ((threads[i] = st_thread_create(park, NULL, 1, 0)) == NULL) {
            fprintf(stderr, "thread %d: %s\n", i, strerror(errno));
            return 1;
        }
    st_thread_yield(); /* all of them run, and park */
    st_get_stack_stats(&stats);
    printf("%d parked threads: %ld bytes each, of %zu reserved; %d mappings; guards by %s\n", count,
           (memory() - before) / count, stats.bytes_reserved / (size_t)count, mappings(),
           stats.guard_install ? "MADV_GUARD_INSTALL" : "mprotect");
    for (int i = 0; i < count; i++)
        st_thread_unpark(threads[i]);
    for (int i = 0; i < count; i++)
        st_thread_join(threads[i], NULL);
    printf("created, run, ended and joined in %.2f us each\n",
           (double)(st_utime() - start) / count);
    st_get_stack_stats(&stats);
    printf("after that: %zu stacks cached, %zu bytes reserved\n", stats.cached,
           stats.bytes_reserved);
    free(threads);
    return st_destroy();
}
