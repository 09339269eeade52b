/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What state threads cost in memory: parks some (100,000, or the first argument) on stacks of 64 KB
 * (or the second argument) and prints bytes and mappings. The figures of docs/internals/stacks.md
 * come from here: make footprint.
 */
#include <st.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *park(void *arg)
{
    (void)arg;
    st_thread_park(ST_UTIME_NO_TIMEOUT);
    return NULL;
}

/* A line of /proc/self/status, bytes. */
static long status(const char *name)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = 0;

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            kilobytes = atol(line + strlen(name));
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

/* The cost of forking a child that ends at once, which copies what is mapped: us, the minimum of
 * several. */
static st_utime_t fork_time(void)
{
    st_utime_t best = ST_UTIME_NO_TIMEOUT;

    for (int i = 0; i < 5; i++) {
        st_utime_t start = st_utime();
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        if (pid < 0)
            return 0;
        if (st_utime() - start < best)
            best = st_utime() - start;
        waitpid(pid, NULL, 0);
    }
    return best;
}

static int mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    int lines = 0, c;

    while (file && (c = fgetc(file)) != EOF)
        lines += c == '\n';
    if (file)
        fclose(file);
    return lines;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 100000;
    int size = argc > 2 ? atoi(argv[2]) : 0;
    st_thread_t *threads = calloc((size_t)count + 1, sizeof(*threads));
    st_stack_stats_t stats;
    st_utime_t start;
    long resident, tables;
    st_utime_t forking;

    if (!threads || count < 1 || st_init() < 0)
        return 1;
    memset(threads, 0xff, (size_t)count * sizeof(*threads)); /* its pages are not threads' */
    resident = status("VmRSS:");
    tables = status("VmPTE:");
    forking = fork_time();
    start = st_utime();
    for (int i = 0; i < count; i++)
        if (!(threads[i] = st_thread_create(park, NULL, 1, size))) {
            fprintf(stderr, "thread %d: %s\n", i, strerror(errno));
            return 1;
        }
    st_thread_yield(); /* all of them run, and park */
    start = st_utime() - start;
    st_get_stack_stats(&stats);
    printf(
        "%d parked threads: %ld bytes each, and %ld of page tables, of %zu reserved; %d mappings; "
        "guards by %s\n",
        count, (status("VmRSS:") - resident) / count, (status("VmPTE:") - tables) / count,
        stats.bytes_reserved / (size_t)count, mappings(),
        stats.guard_install ? "MADV_GUARD_INSTALL" : "mprotect");
    printf("created and run in %.2f us each; a fork() takes %.1f ms in place of %.1f",
           (double)start / count, (double)fork_time() / 1000, (double)forking / 1000);
    st_set_fork_alone(1);
    printf(", and %.1f if the child is alone\n", (double)fork_time() / 1000);
    for (int i = 0; i < count; i++)
        st_thread_unpark(threads[i]);
    for (int i = 0; i < count; i++)
        st_thread_join(threads[i], NULL);
    st_get_stack_stats(&stats);
    printf("after that: %zu stacks cached, %zu bytes reserved\n", stats.cached,
           stats.bytes_reserved);
    free(threads);
    return st_destroy();
}
