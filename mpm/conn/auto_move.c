/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RunOn auto: learns which handlers, at which paths, hold up the VP, and has kernel threads serve
 * them for a while. stall.c names suspects; kernel_request.c asks what has been moved. A path alone
 * is moved if the time was spent before the handler (for example on a password that is costly to
 * check).
 */
#include <stdio.h>
#include <stdlib.h>

#include "mpm/config/run_on.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/conn/auto_move.h"
#include "mpm/conn/occupied.h"
#include "mpm/scoreboard/scoreboard.h"

enum {
    STRIKES = 3,
    /* us for which a request must have been seen to hold the VP: it began before the first look */
    ENOUGH = STM_AUTO_HELD - STM_AUTO_LOOK,
    MOST_AT_ONCE = STM_AUTO_HELD / 2, /* us of computing that count between two looks, at most */
    FORGET = 60000000,                /* us after which a strike no longer counts */
    FIRST_MOVE = 600000000, /* us that the first move lasts; each later one lasts twice as long */
    LONGEST_SHIFT = 6,
    MOST_ENTRIES = 64,
    NAME_SIZE = 48,
    PATH_SIZE = 192,
};

/* A handler at a path and below. */
typedef struct {
    char handler[NAME_SIZE]; /* "": any handler, before translation */
    char path[PATH_SIZE];
} subject_t;

typedef struct {
    subject_t subject;
    size_t length;    /* of its path */
    unsigned strikes; /* consecutive */
    st_utime_t last;  /* strike */
    st_utime_t until; /* moved until then; 0 if not moved */
    unsigned moves;   /* how often it has been moved */
} entry_t;

struct stm_auto stm_auto;

static entry_t entries[MOST_ENTRIES];
static int entry_count;

/* This turn's, if it has one; written by the signal handler. */
static subject_t suspect;

static char remedy[2 * PATH_SIZE];

/* us that the first move lasts; a test may shorten it. */
static st_utime_t first_move = FIRST_MOVE;

bool stm_auto_starts(void)
{
    const char *seconds = getenv("STM_AUTO_SECONDS");

    if (seconds && strtoul(seconds, NULL, 10) > 0)
        first_move = strtoul(seconds, NULL, 10) * 1000000;
    if (stm_config.kernel_threads == 0 || !stm_config.threaded_io)
        return false;
    stm_occupied_open();
    return true;
}

/* --- in the signal handler --- */

static bool copy(char *to, const char *from, size_t length, size_t room)
{
    if (length >= room)
        return false;
    memcpy(to, from, length);
    to[length] = '\0';
    return true;
}

/* For a handler, without what follows the file (PATH_INFO). Otherwise the folder: requests for
 * other files there take the same way before they have a handler. */
static size_t path_length(const request_rec *r, bool in_handler)
{
    size_t length = strlen(r->uri), rest = r->path_info ? strlen(r->path_info) : 0;

    if (in_handler)
        return rest < length &&
                       strcmp(r->uri + length - rest, r->path_info ? r->path_info : "") == 0
                   ? length - rest
                   : length;
    while (length > 1 && r->uri[length - 1] != '/')
        length--;
    return length;
}

static void note_suspect(const request_rec *r, bool in_handler)
{
    const char *handler = in_handler && r->handler ? r->handler : "";

    if (!r->uri || r->uri[0] != '/' || !r->per_dir_config || (in_handler && !*handler))
        return;
    if (stm_run_on_of(r->per_dir_config, in_handler ? handler : NULL) != STM_RUN_AUTO)
        return;
    if (copy(suspect.handler, handler, strlen(handler), sizeof(suspect.handler)) &&
        copy(suspect.path, r->uri, path_length(r, in_handler), sizeof(suspect.path)))
        stm_auto.suspected = 1;
}

/* When the timer was set for the next look. */
static stm_moment_t armed;

void stm_auto_armed(void)
{
    stm_moment_take(&armed);
}

/* How long the request has held the VP since the timer was set, us. The first look at a request
 * comes at a random moment of it, unless a system call has delayed the signal: signals are
 * delivered when a system call ends, so that call was the request's own. */
static st_utime_t held_since(const stm_moment_t *now, bool known)
{
    st_utime_t held;

    if (!known && !stm_has_waited(&armed, now))
        return 0;
    held = stm_occupied(&armed, now, MOST_AT_ONCE);
    if (known)
        return held;
    return held > STM_AUTO_LOOK ? held - STM_AUTO_LOOK : 0;
}

/* Many small requests also make a long turn, but then each look finds a different one, perhaps
 * where the one before was in memory. */
void stm_auto_look(bool first_of_turn, const request_rec *r)
{
    static const request_rec *seen;
    static st_thread_t thread;
    static unsigned begun;
    static st_utime_t held;
    bool known =
        !first_of_turn && r == seen && begun == stm_auto.begun && st_thread_self() == thread;
    stm_moment_t now;

    stm_moment_take(&now);
    if (!known) {
        seen = r;
        begun = stm_auto.begun;
        thread = st_thread_self();
        held = 0;
    }
    held += held_since(&now, known);
    armed = now;
    if (!r || held < ENOUGH || stm_auto.suspected)
        return;
    while (r->next) /* internal redirects */
        r = r->next;
    note_suspect(r, stm_kernel_has_handler(r));
}

/* --- strikes and moves --- */

static bool same(const subject_t *one, const subject_t *other)
{
    return strcmp(one->handler, other->handler) == 0 && strcmp(one->path, other->path) == 0;
}

static void end_move(entry_t *entry)
{
    entry->until = 0;
    stm_auto.moves--;
    STM_SCORE_SET(stm_score, kernel_moves, stm_auto.moves);
}

/* Those whose time has passed without a request for them since. */
static void end_old_moves(st_utime_t now)
{
    for (int i = 0; i < entry_count; i++)
        if (entries[i].until && entries[i].until <= now)
            end_move(&entries[i]);
}

/* A new entry replaces the one whose last strike is oldest and that is not moved. */
static entry_t *new_entry(void)
{
    entry_t *oldest = NULL;

    if (entry_count < MOST_ENTRIES)
        return &entries[entry_count++];
    for (int i = 0; i < MOST_ENTRIES; i++) {
        entry_t *entry = &entries[i];

        if (!entry->until && (!oldest || entry->last < oldest->last))
            oldest = entry;
    }
    return oldest;
}

static entry_t *entry_of(const subject_t *subject)
{
    entry_t *entry;

    for (int i = 0; i < entry_count; i++)
        if (same(&entries[i].subject, subject))
            return &entries[i];
    entry = new_entry();
    if (entry)
        *entry = (entry_t){.subject = *subject, .length = strlen(subject->path)};
    return entry;
}

static void write_remedy(const subject_t *subject)
{
    snprintf(remedy, sizeof(remedy), "<Location \"%s\"> RunOn kernel%s%s </Location>",
             subject->path, *subject->handler ? " " : "", subject->handler);
}

static void log_move(const entry_t *entry)
{
    const subject_t *subject = &entry->subject;

    ap_log_error(
        APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf,
        STMNO(0017) "%s%s%s at %s has held up VP %d %u times for %d ms or longer: kernel threads "
                    "serve it for %d s, and longer if it happens again; to make that permanent: %s",
        *subject->handler ? "the handler \"" : "what comes before a handler", subject->handler,
        *subject->handler ? "\"" : "", subject->path, stm.vp.ordinal, STRIKES, STM_AUTO_HELD / 1000,
        (int)(first_move / 1000000), remedy);
}

static void move(entry_t *entry, st_utime_t now)
{
    unsigned shift = entry->moves < LONGEST_SHIFT ? entry->moves : LONGEST_SHIFT;

    entry->until = now + (first_move << shift);
    entry->strikes = 0;
    stm_auto.moves++;
    STM_SCORE_SET(stm_score, kernel_moves, stm_auto.moves);
    if (entry->moves++ == 0)
        log_move(entry);
}

/* An entry that was moved before and holds up the VP again is moved at once. */
static void strike(entry_t *entry, st_utime_t now)
{
    if (now - entry->last > FORGET)
        entry->strikes = 0;
    entry->last = now;
    entry->strikes++;
    if (!entry->until && (entry->strikes >= STRIKES || entry->moves > 0))
        move(entry, now);
}

const char *stm_auto_strike(void)
{
    st_utime_t now = st_utime_last_clock();
    entry_t *entry;

    stm_auto.suspected = 0;
    write_remedy(&suspect);
    end_old_moves(now);
    entry = entry_of(&suspect);
    if (entry)
        strike(entry, now);
    return remedy;
}

/* --- what is moved --- */

/* "/a" covers "/a" and "/a/...", "/a/" everything below it. */
static bool is_below(const char *uri, const entry_t *entry)
{
    return strncmp(uri, entry->subject.path, entry->length) == 0 &&
           (uri[entry->length] == '\0' || uri[entry->length] == '/' ||
            entry->subject.path[entry->length - 1] == '/');
}

bool stm_auto_is_moved(const request_rec *r, const char *handler)
{
    st_utime_t now = st_utime_last_clock();

    for (int i = 0; i < entry_count; i++) {
        entry_t *entry = &entries[i];

        if (!entry->until || strcmp(entry->subject.handler, handler ? handler : "") != 0 ||
            !r->uri || !is_below(r->uri, entry))
            continue;
        if (entry->until > now)
            return true;
        end_move(entry);
    }
    return false;
}
