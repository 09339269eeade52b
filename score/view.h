/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a scoreboard, and its text forms. A view is a checked and summed-up copy of one
 * scoreboard; stmstat makes views from files, the status pages from the mapped memory. Text in a
 * view may contain anything that a client has sent, but addresses and keys are plain ASCII. Needs
 * only the C library.
 */
#ifndef STM_SCORE_VIEW_H
#define STM_SCORE_VIEW_H

#include <stdbool.h>
#include <stdio.h>

#include "score/layout.h"

/** The source that a scoreboard is read from. */
typedef struct stm_view_source {
    /** Copies from the header (part -1) or a block (0 to STM_SCORE_BLOCKS - 1). False: it does not
     * exist, or is shorter. */
    bool (*read)(void *baton, int part, void *to, size_t size, uint64_t offset);
    void *baton;
} stm_view_source_t;

/** A connection. Its keys and values are null-terminated. */
typedef struct stm_view_row {
    stm_score_row_t row;
    char pairs[]; /**< row.pairs keys and values of the view's sizes */
} stm_view_row_t;

/** A state thread that is serving something. Its texts are null-terminated. */
typedef struct stm_view_wait {
    stm_score_wait_t wait; /**< its kind is one of stm_wait_e */
    uint64_t pid, clock;   /**< its process; and what, added to its times, gives us since 1970 */
} stm_view_wait_t;

/** What to read besides the counters of the VP and its listeners. */
#define STM_VIEW_THREADS     1u
#define STM_VIEW_CONNECTIONS 2u
#define STM_VIEW_WAITS       4u

/** One VP. */
typedef struct stm_view {
    int ordinal;
    char problem[160]; /**< why nothing else here is valid; "": no problem */
    bool torn;         /**< it kept changing, or its writer died during a change */
    bool running;      /**< the server has not reported that it stopped */
    bool present;      /**< a process holds the place */
    unsigned leaving;  /**< processes that have left it and still serve */
    unsigned unread;   /**< processes whose counters could not be read, */
    bool blind;        /**< that which holds the place among them */
    uint64_t incarnations, master_pid, server_started;
    char options[1024];
    /** Counters of all incarnations, gauges of all living processes, info of the present one. */
    stm_score_vp_t total;
    stm_score_vp_t current;          /**< of the process that holds the place */
    stm_score_vp_t prior;            /**< counters of all others */
    stm_score_listener_t *listeners; /**< totals */
    unsigned listener_count;
    stm_score_thread_t *threads; /**< of the present process */
    unsigned thread_count;
    stm_view_row_t **rows; /**< busy ones first */
    unsigned row_count;
    stm_view_wait_t *waits;
    unsigned wait_count;
    unsigned key_size, value_size;
} stm_view_t;

/** Reads the VP's scoreboard; what: STM_VIEW_* flags. Returns false if that fails, with the reason
 * in view->problem. The view must be freed in either case. */
bool stm_view_read(stm_view_t *view, int ordinal, const stm_view_source_t *source, unsigned what);
/** Frees what stm_view_read() has allocated, whether it succeeded or not. */
void stm_view_free(stm_view_t *view);

/** The key of the row's pair with this number, counted from 0; "" ends the pairs. Null-terminated,
 * and valid as long as the view. */
static inline const char *stm_view_key(const stm_view_t *view, const stm_view_row_t *row,
                                       unsigned pair)
{
    return row->pairs + (size_t)pair * (view->key_size + view->value_size);
}

/** The value that belongs to stm_view_key(). */
static inline const char *stm_view_value(const stm_view_t *view, const stm_view_row_t *row,
                                         unsigned pair)
{
    return stm_view_key(view, row, pair) + view->key_size;
}

/** The sum of all VPs: counters and gauges are added, the highest peak is kept. */
void stm_view_sum(stm_score_vp_t *sum, const stm_view_t *views, int count);

/** How long ago the last heartbeat was, us. */
uint64_t stm_view_silence(const stm_view_t *view, uint64_t now);

/** How long without a heartbeat before a VP counts as stopped or held, us. */
#define STM_VIEW_SILENT 3000000u

/** "starting", "running", "leaving", "stopping". */
const char *stm_view_state(uint64_t state);

/* --- score/text.c: the text forms --- */

/** Where text is written. */
typedef struct stm_text {
    void (*put)(void *baton, const char *data, size_t size);
    void *baton;
    /** Whether a value is wanted, by its name: "vp.0.requests". NULL: all of them. */
    bool (*wanted)(void *baton, const char *name, const stm_score_field_t *field);
} stm_text_t;

/** Returns the next character of an untrusted text and advances beyond it. A byte that is not UTF-8
 * is returned as STM_TEXT_INVALID | byte. Not to be called at the text's end. */
uint32_t stm_text_next(const char **text);
#define STM_TEXT_INVALID 0x80000000u
/** Whether a character must not be shown: a control character, a bidirectional mark and the
 * like. */
bool stm_text_unseen(uint32_t character);

/** Writes a string as it is. */
void stm_text_put(const stm_text_t *text, const char *string);
/** Writes a string as a JSON string, in ASCII whatever it contains. */
void stm_text_string(const stm_text_t *text, const char *string);
/** Writes to the text like printf(). */
void stm_text_print(const stm_text_t *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define STM_TEXT_NUMBER 48
/** A value for people and machines: a number, or seconds with a fraction. Returns `buffer`. */
const char *stm_text_number(const stm_score_field_t *field, uint64_t value,
                            char buffer[STM_TEXT_NUMBER]);

/** The word of a counter in its group's struct. */
static inline const uint64_t *stm_score_at(const stm_score_field_t *field, const void *values)
{
    return (const uint64_t *)((const char *)values + field->offset);
}

/** Writes all values as one JSON object. now: us since 1970. */
void stm_text_json(const stm_text_t *text, const stm_view_t *views, int count, uint64_t now);
/** Writes the values of VPs and listeners as OpenMetrics 1.0. Thread slots and connections are left
 * out because they would make too many labels. */
void stm_text_openmetrics(const stm_text_t *text, const stm_view_t *views, int count);

#endif
