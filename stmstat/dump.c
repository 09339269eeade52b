/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command stmstat dump VP: finds the VP's process, reports what is not permitted or has failed,
 * and prints what the other dump_*.c files have gathered. Called by main.c.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stmstat/dump.h"
#include "stmstat/stmstat.h"

enum { COPY_TIME = 2000000 }; /* us; far more than copying the largest VP takes */

/* --- whose process --- */

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int complain(const char *format, ...)
{
    va_list arguments;

    fputs("stmstat dump: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return STMSTAT_NONE;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    const char *after;
    int parent = -1;
    FILE *stat;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    stat = fopen(path, "re");
    /* 4711 (apache2) S 4700 ... */
    if (stat && fgets(line, sizeof(line), stat) && (after = strrchr(line, ')')) &&
        strlen(after) > 4)
        parent = (int)strtol(after + 4, NULL, 10);
    if (stat)
        fclose(stat);
    return parent;
}

/* A VP writes its own process ID into its scoreboard, and so could name any process. The master's
 * ID can be trusted, because the master writes it. */
static bool belongs(const stm_view_t *view, pid_t pid)
{
    return (uint64_t)pid == view->master_pid || (uint64_t)parent_of(pid) == view->master_pid;
}

/* Returns 0 after a complaint if there is no such process. */
static pid_t process_of(const stm_view_t *view, int ordinal)
{
    pid_t pid = (pid_t)view->current.pid;

    if (*view->problem) {
        complain("%s/%d %s", scan_plain(settings.directory), ordinal, view->problem);
    } else if (!view->running) {
        complain("VP %d has stopped", ordinal);
    } else if (!view->present || pid <= 0) {
        complain("VP %d: no process holds its seat now", ordinal);
    } else if (!belongs(view, pid)) {
        complain("VP %d: process %d does not belong to the master, %llu (is the server running on "
                 "this machine, in this PID namespace?)",
                 ordinal, (int)pid, (unsigned long long)view->master_pid);
    } else {
        return pid;
    }
    return 0;
}

static pid_t find_process(int ordinal)
{
    stmstat_scan_t scan;
    pid_t pid = 0;
    bool seen = false;

    scan_read(&scan, 0);
    if (*scan.problem)
        complain("%s", scan.problem);
    for (int i = 0; i < scan.count; i++) {
        if (scan.views[i].ordinal == ordinal) {
            pid = process_of(&scan.views[i], ordinal);
            seen = true;
        }
    }
    if (!*scan.problem && !seen)
        complain("there is no VP %d in %s", ordinal, scan_plain(settings.directory));
    scan_free(&scan);
    return pid;
}

/* --- its threads --- */

static void print_line(void *baton, const char *line)
{
    (void)baton;
    puts(line);
}

static void take_address(void *baton, const char *line)
{
    *(uint64_t *)baton = strtoull(line, NULL, 16);
}

static int not_permitted(const dump_t *dump, const char *what)
{
    int error = errno;

    if (error == EPERM || error == EACCES)
        return complain("not permitted to look into process %d (%s: %s). This requires root or "
                        "CAP_SYS_PTRACE; a container must be granted that capability",
                        (int)dump->pid, what, strerror(error));
    return complain("process %d: %s: %s", (int)dump->pid, what, strerror(error));
}

static int find_description(dump_t *dump)
{
    char byte;

    if (!dump_pages_open())
        return complain("no memory");
    if (!dump_files_open(dump))
        return not_permitted(dump, "its maps");
    if (!dump_read(dump, dump->file[0].low, &byte, 1))
        return not_permitted(dump, "its memory");
    if (!dump_apart(dump_locate, dump, take_address, &dump->description, NULL))
        return complain("process %d: its module cannot be examined", (int)dump->pid);
    if (!dump->description)
        return complain("process %d: this stmstat does not know its mod_mpm_stm (the versions "
                        "differ, or the file has been replaced since the server was started)",
                        (int)dump->pid);
    return STMSTAT_GOOD;
}

static void copy(dump_t *dump)
{
    uint64_t began = dump_clock();

    dump->deadline = began + COPY_TIME;
    dump_copy(dump); /* while it runs: most of this will be needed again once it is stopped */
    began = dump_clock();
    dump->deadline = began + COPY_TIME;
    dump_stop(dump);
    dump_pages_refresh(dump);
    dump_copy(dump);
    dump_go_on(dump);
    dump->stood_still = dump_clock() - began;
    dump_pages_finish();
    dump_match(dump);
}

static size_t missing(const dump_t *dump)
{
    size_t count = 0;

    for (size_t i = 0; i < dump->threads; i++)
        count += !dump->thread[i].stack.size;
    for (size_t i = 0; i < dump->kernels; i++)
        count += !dump->kernel[i].taken && !dump->kernel[i].stack.size;
    return count;
}

static void print_head(const dump_t *dump, int ordinal)
{
    size_t others = 0;
    char span[STMSTAT_HUMAN];

    for (size_t i = 0; i < dump->kernels; i++)
        others += !dump->kernel[i].taken;
    printf("VP %d, process %d: %zu state threads, %zu more kernel threads", ordinal, (int)dump->pid,
           dump->threads, others);
    if (dump->stopped)
        printf(", stopped for %s\n", human_span(dump->stood_still, span));
    else
        printf("; not stopped: %s. Threads that stayed parked are shown correctly all the same\n",
               dump->unstopped);
}

static int print_all(dump_t *dump, int ordinal)
{
    int status = STMSTAT_GOOD;
    size_t without = missing(dump);

    if (dump->walk_error && !dump->threads)
        return complain("process %d: %s", (int)dump->pid,
                        dump->walk_error == ENOTSUP
                            ? "this stmstat does not know its version of the module"
                            : "its state threads cannot be found: their structures are damaged");
    print_head(dump, ordinal);
    if (!dump_apart(dump_backtraces, dump, print_line, NULL, dump_go_on)) {
        complain("the unwinder has failed: the remaining backtraces are missing");
        status = STMSTAT_PART;
    }
    if (dump->walk_error) {
        complain("there may be more state threads: their structures are damaged");
        status = STMSTAT_PART;
    }
    if (without) {
        complain("%zu threads have no backtrace", without);
        status = STMSTAT_PART;
    }
    if (fflush(stdout) != 0)
        return complain("cannot write: %s", strerror(errno));
    return status;
}

static void release(dump_t *dump)
{
    free(dump->thread);
    free(dump->kernel);
    dump_files_close(dump);
    dump_pages_close();
}

static bool parse_ordinal(const char *text, int *ordinal)
{
    char *end;
    long number = strtol(text, &end, 10);

    *ordinal = (int)number;
    return *text >= '0' && *text <= '9' && !*end && number <= 9999;
}

int dump_run(int count, char **arguments)
{
    static dump_t dump;
    int ordinal, status;

    if (count != 1 || !parse_ordinal(arguments[0], &ordinal))
        return complain("give the number of one VP (stmstat -1 -f 'vp.*.pid' lists them)");
    if (!dump_can_unwind())
        return complain("this stmstat was built without libdw (package libdw-dev), which it needs "
                        "for backtraces");
    dump.pid = find_process(ordinal);
    if (!dump.pid)
        return STMSTAT_NONE;
    status = find_description(&dump);
    if (status == STMSTAT_GOOD) {
        copy(&dump);
        status = print_all(&dump, ordinal);
    }
    release(&dump);
    return status;
}
