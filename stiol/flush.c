/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fflush(NULL). The C library's version holds its lock on the list of all streams while it writes:
 * if one of them is a pipe that nobody reads, every fopen() and fclose() in the process waits as
 * well, and so does the VP. So the streams are flushed one by one, and the list is locked only
 * while it is read. Called by file_stream.c, on any kernel thread.
 */
#include <stdio_ext.h>

#include "stiol/file.h"

enum { BUSY_INTERVAL = 5000 }; /* us; longest between attempts to lock a stream */

/* Lists the streams that have something to write. */
typedef struct snapshot {
    FILE **streams;
    size_t count, room;
} snapshot_t;

/* False: not enough room. */
static bool fill(snapshot_t *snapshot)
{
    size_t found = 0;

    _IO_list_lock();
    for (FILE *stream = _IO_iter_begin(); stream; stream = _IO_iter_next(stream)) {
        if (__fpending(stream) == 0)
            continue;
        if (found < snapshot->room)
            snapshot->streams[found] = stream;
        found++;
    }
    _IO_list_unlock();
    snapshot->count = found;
    return found <= snapshot->room;
}

static bool take_snapshot(snapshot_t *snapshot)
{
    *snapshot = (snapshot_t){0};
    while (!fill(snapshot)) {
        free(snapshot->streams);
        snapshot->room = snapshot->count + 8;
        snapshot->streams = malloc(snapshot->room * sizeof(FILE *));
        if (!snapshot->streams)
            return false;
    }
    return true;
}

typedef enum { NOTHING_TO_DO, LOCKED, BUSY } state_t;

/* Locks the stream, unless it has been closed or flushed meanwhile. */
static state_t lock_stream(FILE *stream)
{
    state_t state = NOTHING_TO_DO;

    _IO_list_lock();
    for (FILE *each = _IO_iter_begin(); each; each = _IO_iter_next(each))
        if (each == stream && __fpending(stream) > 0)
            state = stiol__trylock_stream(stream) ? LOCKED : BUSY;
    _IO_list_unlock();
    return state;
}

static void pause_for(st_utime_t interval)
{
    if (!stiol__here())
        (void)usleep((useconds_t)interval);
    else if (interval == 0)
        st_thread_yield();
    else
        (void)st_usleep(interval);
}

/* Others may hold its lock for a long time, such as a thread that is waiting for this very pipe. */
static int flush_one(FILE *stream)
{
    stiol__backoff_t backoff = {0};
    state_t state;
    int rc;

    while ((state = lock_stream(stream)) == BUSY)
        pause_for(stiol__interval(&backoff, BUSY_INTERVAL));
    if (state == NOTHING_TO_DO)
        return 0;
    rc = stiol__here() ? stiol__fflush(stream) : fflush(stream);
    stiol__unlock_stream(stream);
    return rc;
}

int stiol__flush_all(void)
{
    snapshot_t snapshot;
    int rc = 0, error = errno;

    if (!take_snapshot(&snapshot))
        return EOF;
    for (size_t i = 0; i < snapshot.count; i++)
        if (flush_one(snapshot.streams[i]) != 0) {
            rc = EOF;
            error = errno;
        }
    free(snapshot.streams);
    errno = error;
    return rc;
}
