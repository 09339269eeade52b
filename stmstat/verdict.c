/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a server, in words and as an exit status, judged by its scoreboards alone,
 * since it may be dead. main.c prints it, the live view shows it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "stmstat/stmstat.h"

/* --- the server as a whole --- */

static bool is_silent(const stmstat_scan_t *scan, const stm_view_t *view)
{
    return stm_view_silence(view, scan->now) > STM_VIEW_SILENT;
}

static uint64_t last_beat(const stmstat_scan_t *scan)
{
    uint64_t last = 0;

    for (int i = 0; i < scan->count; i++) {
        if (scan->views[i].current.heartbeat_time_seconds > last)
            last = scan->views[i].current.heartbeat_time_seconds;
    }
    return last;
}

/* Dead, but its parent has not noticed, and may never do so in a container without an init. */
static bool is_zombie(uint64_t pid)
{
    char path[64], line[512] = "";
    const char *name_end;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%llu/stat", (unsigned long long)pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    if (!fgets(line, sizeof(line), file))
        *line = '\0';
    fclose(file);
    name_end = strrchr(line, ')');
    return name_end && name_end[1] == ' ' && name_end[2] == 'Z';
}

/* Its pid says nothing while a VP is alive: it may be another namespace's. */
static bool master_is_gone(const stm_view_t *view)
{
    if (!view->master_pid)
        return false;
    return (kill((pid_t)view->master_pid, 0) != 0 && errno == ESRCH) || is_zombie(view->master_pid);
}

/* Whether the server has ended, and how. */
static bool has_ended(const stmstat_scan_t *scan, char *line, size_t size)
{
    int stopped = 0, dead = 0, readable = 0;
    char beat[STMSTAT_HUMAN + 32] = "", ago[STMSTAT_HUMAN];

    for (int i = 0; i < scan->count; i++) {
        const stm_view_t *view = &scan->views[i];

        if (*view->problem)
            continue;
        readable++;
        stopped += !view->running;
        dead += (!view->present || is_silent(scan, view)) && master_is_gone(view);
    }
    if (last_beat(scan)) { /* VPs that ended as they should have left none */
        human_ago(last_beat(scan), scan->now, ago);
        snprintf(beat, sizeof(beat), "; the last heartbeat was %s", ago);
    }
    if (readable && stopped == readable)
        snprintf(line, size, "the server has stopped%s", beat);
    else if (readable && dead == readable)
        snprintf(line, size, "the server has died: its processes are gone without having stopped%s",
                 beat);
    else
        return false;
    return true;
}

/* --- one VP --- */

/* A restart with fewer VPs leaves seats that will stay empty. */
static bool is_in_use(const stmstat_scan_t *scan, const stm_view_t *view)
{
    for (int i = 0; i < scan->count; i++) {
        if (!*scan->views[i].problem && scan->views[i].present &&
            scan->views[i].total.generation > view->total.generation)
            return false;
    }
    return true;
}

const char *scan_state(const stmstat_scan_t *scan, const stm_view_t *view)
{
    if (*view->problem)
        return "unreadable";
    if (!view->running)
        return "stopped";
    if (!view->present)
        return is_in_use(scan, view) ? "no process" : "not in use";
    if (view->blind)
        return "unreadable";
    return is_silent(scan, view) ? "silent" : stm_view_state(view->current.state);
}

static stmstat_status_e remark(const stmstat_scan_t *scan, const stm_view_t *view, char *line,
                               size_t size)
{
    char beat[STMSTAT_HUMAN];

    *line = '\0';
    if (*view->problem) {
        snprintf(line, size, "%s/%d %s", scan_plain(settings.directory), view->ordinal,
                 view->problem);
        return STMSTAT_PART;
    }
    if (view->unread) {
        snprintf(line, size, "VP %d: the counters of %u of its processes cannot be read",
                 view->ordinal, view->unread);
        return STMSTAT_PART;
    }
    if (!view->running)
        snprintf(line, size, "VP %d has stopped", view->ordinal);
    else if (!view->present && is_in_use(scan, view))
        snprintf(line, size, "VP %d: no process holds its seat now", view->ordinal);
    else if (is_silent(scan, view))
        snprintf(line, size,
                 "VP %d (pid %llu): no heartbeat for %s: it is stopped, dead, or held up by code "
                 "that does not yield",
                 view->ordinal, (unsigned long long)view->current.pid,
                 human_span(stm_view_silence(view, scan->now), beat));
    else if (view->torn)
        snprintf(line, size,
                 "VP %d: its writer stopped in the middle of a change to the scoreboard",
                 view->ordinal);
    return *line ? STMSTAT_HELD : STMSTAT_GOOD;
}

/* --- the verdict --- */

/* From what concerns the whole server to what concerns one VP: the first that applies becomes the
 * exit status. */
static stmstat_status_e graver(stmstat_status_e a, stmstat_status_e b)
{
    static const int weight[] = {[STMSTAT_NONE] = 5,
                                 [STMSTAT_NO_MATCH] = 4,
                                 [STMSTAT_STOPPED] = 3,
                                 [STMSTAT_PART] = 2,
                                 [STMSTAT_HELD] = 1};

    return weight[a] >= weight[b] ? a : b;
}

stmstat_status_e scan_verdict(const stmstat_scan_t *scan, void (*tell)(void *, const char *),
                              void *baton)
{
    stmstat_status_e status = STMSTAT_GOOD;
    int unreadable = 0;
    bool ended;
    char line[512];

    if (*scan->problem) {
        tell(baton, scan->problem);
        return STMSTAT_NONE;
    }
    ended = has_ended(scan, line, sizeof(line));
    if (ended) {
        tell(baton, line);
        status = STMSTAT_STOPPED;
    }
    for (int i = 0; i < scan->count; i++) {
        stmstat_status_e one = remark(scan, &scan->views[i], line, sizeof(line));

        unreadable += *scan->views[i].problem != '\0';
        if (one == STMSTAT_GOOD || (ended && one == STMSTAT_HELD))
            continue;
        tell(baton, line);
        status = graver(status, one);
    }
    return unreadable == scan->count ? STMSTAT_NONE : status;
}
