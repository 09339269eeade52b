/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of connections in the scoreboard (ConnectionStatus): keys and values, in fixed places. A VP
 * has as many rows as it may have state threads. A busy connection always has one; an idle one
 * keeps its row until a busy one needs it, longest idle first.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mpm/config/config.h"
#include "mpm/scoreboard/scoreboard.h"
#include "score/sequence.h"
#include "mpm/shared/shmem.h"

/* Rows for which space is reserved at a time. */
enum { ROWS_A_TIME = 64 };
/* Room for a 64-bit number and a final null. */
enum { DIGITS = 24 };

enum { STATUS, METHOD, PROTOCOL, CLIENT, HOST, REQUEST, BYTES, SINCE, PAIRS };
static const char *const keys[PAIRS] = {"Status", "Method",  "Protocol", "Client",
                                        "Host",   "Request", "Bytes",    "Since"};

#define USED_PAIRS (PAIRS < STM_SCORE_LIMIT ? PAIRS : STM_SCORE_LIMIT)
const uint32_t stm_score_row_pairs = USED_PAIRS;

/** What this process knows about a row. Rows are numbered from 1; 0 is none. */
typedef struct {
    int *owner; /* where its connection keeps its number */
    uint64_t bytes;
    int next, previous; /* in the list of idle rows; next also in that of free ones */
    bool idle;
} note_t;

static const stm_score_header_t *header;
static stm_score_block_t *block;
static int free_rows, reserved;
static note_t *notes; /* NULL: no rows are kept */

void stm_score_rows_open(const stm_score_header_t *layout, stm_score_block_t *mine)
{
    header = layout;
    block = mine;
    if (stm_config.connection_status)
        notes = calloc(header->connections_max + 1u, sizeof(*notes));
}

/* --- a row --- */

static stm_score_row_t *row_at(int row)
{
    return (stm_score_row_t *)((char *)block + header->connections_at +
                               (uint64_t)(row - 1) * header->row_size);
}

static char *value_at(stm_score_row_t *row, int pair)
{
    return (char *)(row + 1) + (size_t)pair * (STM_SCORE_KEY_SIZE + STM_SCORE_VALUE_SIZE) +
           STM_SCORE_KEY_SIZE;
}

static void copy(char *to, const char *from, size_t size)
{
    if (!memccpy(to, from, 0, size))
        to[size - 1] = '\0';
}

/* Pairs beyond STM_SCORE_LIMIT are ignored. */
static void set(stm_score_row_t *row, int pair, const char *value)
{
    if (pair < USED_PAIRS)
        copy(value_at(row, pair), value ? value : "", STM_SCORE_VALUE_SIZE);
}

/* The same for a text in an array of a constant `size` bytes, for what changes with each
 * request. */
static inline void set_short(stm_score_row_t *row, int pair, const char *text, size_t size)
{
    if (size > STM_SCORE_VALUE_SIZE)
        set(row, pair, text);
    else if (pair < USED_PAIRS)
        memcpy(value_at(row, pair), text, size);
}

/* --- the idle ones, in the order in which they came to rest; notes[0] is the ring's head --- */

static void unlink_idle(int row)
{
    note_t *note = &notes[row];

    if (!note->idle)
        return;
    notes[note->previous].next = note->next;
    notes[note->next].previous = note->previous;
    note->idle = false;
}

static void link_idle(int row)
{
    note_t *note = &notes[row];

    if (note->idle)
        return;
    note->previous = notes[0].previous;
    note->next = 0;
    notes[note->previous].next = row;
    notes[0].previous = row;
    note->idle = true;
}

/* --- taking and giving --- */

/* On a full file system, a plain store to a page that does not exist yet would raise a fatal
 * signal. */
static bool reserve_space(int row)
{
    int count = ROWS_A_TIME, left = (int)header->connections_max - reserved;

    if (row <= reserved)
        return true;
    if (count > left)
        count = left;
    if (!stm_shmem_clear(row_at(reserved + 1), (size_t)count * (size_t)header->row_size))
        return false;
    reserved += count;
    return true;
}

static int fresh_row(void)
{
    int row = (int)block->connections + 1;

    if (block->connections >= header->connections_max || !reserve_space(row))
        return 0;
    memset(row_at(row), 0, (size_t)header->row_size);
    for (int i = 0; i < USED_PAIRS; i++)
        copy(value_at(row_at(row), i) - STM_SCORE_KEY_SIZE, keys[i], STM_SCORE_KEY_SIZE);
    __atomic_store_n(&block->connections, (uint64_t)row, __ATOMIC_RELEASE);
    return row;
}

static int take_row(void)
{
    int row = free_rows;

    if (row) {
        free_rows = notes[row].next;
        return row;
    }
    row = fresh_row();
    if (row)
        return row;
    row = notes[0].next; /* the longest idle one */
    if (row) {
        unlink_idle(row);
        *notes[row].owner = 0;
        STM_SCORE_ADD(stm_score, score_rows, -1);
        STM_SCORE_INC(stm_score, score_rows_lost);
    }
    return row;
}

/* Times within the same second have the same text. */
static const char *time_text(apr_time_t when)
{
    static time_t second;
    static char text[24];
    time_t now = (time_t)apr_time_sec(when);
    struct tm tm;

    if (now != second) {
        second = now;
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    }
    return text;
}

bool stm_score_keeps_rows(void)
{
    return notes;
}

void stm_score_row_take(int *owner, unsigned long serial, const char *client, st_utime_t age)
{
    stm_score_row_t *row;
    int number = take_row();

    if (!number)
        return;
    *owner = number;
    notes[number].owner = owner;
    notes[number].bytes = 0;
    STM_SCORE_INC(stm_score, score_rows);
    row = row_at(number);
    stm_sequence_begin(&row->sequence);
    row->serial = serial;
    row->busy = 1;
    for (int i = 0; i < PAIRS; i++)
        set(row, i, "");
    set(row, STATUS, "Reading");
    set(row, CLIENT, client);
    set(row, BYTES, "0");
    set(row, SINCE, time_text(apr_time_now() - (apr_time_t)age));
    row->pairs = USED_PAIRS;
    stm_sequence_end(&row->sequence);
}

void stm_score_row_give(int *owner)
{
    int number = *owner;
    stm_score_row_t *row;

    if (!number)
        return;
    unlink_idle(number);
    row = row_at(number);
    stm_sequence_begin(&row->sequence);
    row->pairs = 0;
    stm_sequence_end(&row->sequence);
    notes[number].owner = NULL;
    notes[number].next = free_rows;
    free_rows = number;
    *owner = 0;
    STM_SCORE_ADD(stm_score, score_rows, -1);
}

/* --- what happens to a connection --- */

void stm_score_row_status(int number, bool busy, const stm_score_status_t *status)
{
    stm_score_row_t *row = row_at(number);

    if (busy)
        unlink_idle(number);
    else
        link_idle(number);
    stm_sequence_begin(&row->sequence);
    row->busy = busy;
    set_short(row, STATUS, status->text, sizeof(status->text));
    stm_sequence_end(&row->sequence);
}

void stm_score_row_request(int number, const request_rec *r)
{
    stm_score_row_t *row;

    if (!number)
        return;
    row = row_at(number);
    stm_sequence_begin(&row->sequence);
    set(row, METHOD, r->method);
    set(row, PROTOCOL, r->protocol);
    set(row, CLIENT, r->useragent_ip);
    set(row, HOST, r->hostname);
    set(row, REQUEST, r->the_request);
    stm_sequence_end(&row->sequence);
}

void stm_score_row_sent(int number, apr_off_t bytes)
{
    char text[2 * DIGITS] = "", *digit = text + DIGITS - 1;
    stm_score_row_t *row;
    uint64_t rest;

    if (!number)
        return;
    rest = notes[number].bytes += (uint64_t)bytes;
    do
        *--digit = (char)('0' + rest % 10);
    while (rest /= 10);
    row = row_at(number);
    stm_sequence_begin(&row->sequence);
    set_short(row, BYTES, digit, DIGITS);
    stm_sequence_end(&row->sequence);
}
