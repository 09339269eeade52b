/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one scoreboard into a view. Its input may be anything: another version, truncated, being
 * written, left by a writer that was killed. Nothing in it is used before it has been checked.
 */
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "score/listeners.h"
#include "score/sequence.h"

/* A change of the header takes microseconds: more tries than this mean that the writer has died. */
enum {
    TRIES = 200,
    ROWS_A_READ = 64,
    WAITS_A_READ = 16,
};

/* Limits that no scoreboard exceeds; a header that does is corrupt. */
#define MOST_LISTENERS 100000u
#define MOST_THREADS   1000000u
#define MOST_ROW_SIZE  1000000u

static bool problem(stm_view_t *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool problem(stm_view_t *view, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(view->problem, sizeof(view->problem), format, args);
    va_end(args);
    return false;
}

/* --- reading bytes --- */

enum { HEADER = -1 };

static bool read_part(const stm_view_source_t *source, int part, void *to, size_t size,
                      uint64_t offset)
{
    bool complete;

    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    complete = source->read(source->baton, part, to, size, offset);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return complete;
}

/* --- the header --- */

static bool check_sizes(stm_view_t *view, const stm_score_header_t *header)
{
    uint64_t pair = (uint64_t)header->key_size + header->value_size;
    uint64_t whole =
        sizeof(*header) + (uint64_t)header->listeners_max * sizeof(stm_score_listener_t);

    if (header->key_size < 2 || header->value_size < 2 || header->pairs_max < 1 ||
        header->listeners_max > MOST_LISTENERS || header->threads_max > MOST_THREADS ||
        header->connections_max > MOST_THREADS || header->row_size > MOST_ROW_SIZE ||
        header->pairs_max > MOST_ROW_SIZE || header->key_size > MOST_ROW_SIZE ||
        header->value_size > MOST_ROW_SIZE || header->row_size % sizeof(uint64_t) != 0 ||
        header->row_size < sizeof(stm_score_row_t) + pair * header->pairs_max)
        return problem(view, "is corrupt: its sizes are inconsistent");
    if (header->listeners > header->listeners_max)
        return problem(view, "is corrupt: it names more listeners than it has room for");
    if (header->wait_size != sizeof(stm_score_wait_t) || header->waits_max > MOST_THREADS * 2)
        return problem(view, "is corrupt: its waits have another size");
    if (header->header_size < whole || header->header_size > whole + STM_SCORE_PAGE ||
        header->block_size > INT_MAX || header->listeners_at < sizeof(stm_score_block_t) ||
        header->threads_at > header->block_size || header->connections_at > header->block_size ||
        header->listeners_at > header->threads_at || header->threads_at > header->connections_at ||
        header->threads_at - header->listeners_at <
            (uint64_t)header->listeners_max * sizeof(stm_score_listener_t) ||
        header->connections_at - header->threads_at <
            (uint64_t)header->threads_max * sizeof(stm_score_thread_t) ||
        header->waits_at > header->block_size || header->connections_at > header->waits_at ||
        header->waits_at - header->connections_at <
            header->row_size * (uint64_t)header->connections_max ||
        header->block_size - header->waits_at < (uint64_t)header->wait_size * header->waits_max)
        return problem(view, "is corrupt: its tables overlap");
    return true;
}

static bool check_header(stm_view_t *view, const stm_score_header_t *header)
{
    if (memcmp(header->magic, STM_SCORE_MAGIC, sizeof(header->magic)) != 0)
        return problem(view, "is not an STM scoreboard file");
    if (header->byte_order != STM_SCORE_BYTE_ORDER)
        return problem(view, "was written on a machine with a different byte order");
    if (header->version != STM_SCORE_VERSION)
        return problem(view, "has layout version %u, but this program reads version %u",
                       header->version, STM_SCORE_VERSION);
    if (header->fingerprint != stm_score_fingerprint())
        return problem(view,
                       "has different counters from this program: they are from different builds");
    if (header->ordinal != (uint32_t)view->ordinal)
        return problem(view, "belongs to VP %u: was it renamed?", header->ordinal);
    if (header->blocks > STM_SCORE_BLOCKS || header->current > header->blocks)
        return problem(view, "is corrupt: it claims %llu blocks",
                       (unsigned long long)header->blocks);
    return check_sizes(view, header);
}

static bool is_taken(const stm_score_header_t *header, unsigned block)
{
    return (header->taken >> block) & 1;
}

/* --- adding up --- */

static void take_info(stm_score_vp_t *to, const stm_score_vp_t *from)
{
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if (field->group == STM_SCORE_OF_VP &&
            (field->type == STM_SCORE_TYPE_info || field->type == STM_SCORE_TYPE_time))
            *(uint64_t *)((char *)to + field->offset) = *stm_score_at(field, from);
    }
}

static void add_block(stm_view_t *view, const stm_score_block_t *block, bool current)
{
    if (current) {
        view->present = true;
        view->current = block->vp;
        take_info(&view->total, &block->vp);
    } else {
        view->leaving++;
        stm_score_add(STM_SCORE_OF_VP, &view->prior, &block->vp);
    }
    stm_score_add(STM_SCORE_OF_VP, &view->total, &block->vp);
    stm_score_add_gauges(STM_SCORE_OF_VP, &view->total, &block->vp);
}

/* --- the sums, consistent with each other --- */

/* The number of entries a table has room for at most, whatever its writer claims. */
static uint64_t listeners_of(const stm_score_header_t *header, uint64_t claimed)
{
    return claimed < header->listeners_max ? claimed : header->listeners_max;
}

/* The used part of a block's table; the caller frees it in any case. */
static bool read_listeners(const stm_view_source_t *source, const stm_score_header_t *header,
                           int part, uint64_t claimed, stm_score_listener_t **listeners)
{
    size_t size = listeners_of(header, claimed) * sizeof(**listeners);

    *listeners = malloc(size ? size : 1);
    return *listeners && read_part(source, part, *listeners, size, header->listeners_at);
}

/* A block that cannot be read, perhaps because its writer has spoiled it, does not affect the
 * others. */
static void read_block(stm_view_t *view, const stm_view_source_t *source,
                       const stm_score_header_t *header, unsigned part, stm_view_index_t *index)
{
    bool current = header->current == (uint64_t)part + 1;
    stm_score_listener_t *listeners = NULL;
    stm_score_block_t block;

    if (!read_part(source, (int)part, &block, sizeof(block), 0) ||
        !read_listeners(source, header, (int)part, block.listeners, &listeners)) {
        view->unread++;
        view->blind |= current;
        view->present |= current;
        free(listeners);
        return;
    }
    add_block(view, &block, current);
    stm_view_add_listeners(view, index, listeners, listeners_of(header, block.listeners), true);
    free(listeners);
}

static void read_blocks(stm_view_t *view, const stm_view_source_t *source,
                        const stm_score_header_t *header, stm_view_index_t *index)
{
    for (unsigned i = 0; i < header->blocks; i++) {
        if (is_taken(header, i))
            read_block(view, source, header, i, index);
    }
}

static void forget_sums(stm_view_t *view, stm_view_index_t *index)
{
    stm_view_drop_listeners(view, index);
    view->leaving = view->unread = 0;
    view->present = view->blind = false;
    memset(&view->current, 0, sizeof(view->current));
    memset(&view->total, 0, sizeof(view->total));
    memset(&view->prior, 0, sizeof(view->prior));
}

/* The header, without the unused part of its table of listeners. */
static bool read_header(stm_view_t *view, const stm_view_source_t *source,
                        stm_score_header_t *header, size_t size)
{
    char last;
    size_t used;

    if (!read_part(source, HEADER, header, sizeof(*header), 0))
        return problem(view, "is truncated: shorter than its header says");
    if (!check_header(view, header))
        return false;
    if (header->header_size != size)
        return problem(view, "is corrupt: its sizes keep changing");
    used = header->listeners * sizeof(stm_score_listener_t);
    if (!read_part(source, HEADER, header->prior_listeners, used, sizeof(*header)) ||
        !read_part(source, HEADER, &last, sizeof(last), size - sizeof(last)))
        return problem(view, "is truncated: shorter than its header says");
    return true;
}

/* Everything that the header's sequence lock guards: read from the beginning on each try. */
static bool read_sums(stm_view_t *view, const stm_view_source_t *source, stm_score_header_t *header,
                      size_t size, stm_view_index_t *index)
{
    if (!read_header(view, source, header, size))
        return false;
    forget_sums(view, index);
    stm_score_add(STM_SCORE_OF_VP, &view->prior, &header->prior);
    stm_score_add(STM_SCORE_OF_VP, &view->total, &header->prior);
    stm_view_add_listeners(view, index, header->prior_listeners, header->listeners, false);
    read_blocks(view, source, header, index);
    return true;
}

static bool read_sequence(const stm_view_source_t *source, uint64_t *sequence)
{
    return read_part(source, HEADER, sequence, sizeof(*sequence),
                     offsetof(stm_score_header_t, sequence));
}

typedef enum { WHOLE, CHANGED, FAILED } attempt_e;

static attempt_e try_once(stm_view_t *view, const stm_view_source_t *source,
                          stm_score_header_t *header, size_t size, stm_view_index_t *index)
{
    uint64_t before, after;

    if (read_sequence(source, &before) && read_sums(view, source, header, size, index) &&
        read_sequence(source, &after))
        return stm_sequence_is_whole(before, after) ? WHOLE : CHANGED;
    if (!*view->problem)
        problem(view, "vanished while it was being read");
    return FAILED;
}

static bool read_consistent(stm_view_t *view, const stm_view_source_t *source,
                            stm_score_header_t *header, size_t size)
{
    stm_view_index_t index = {0};
    attempt_e attempt = CHANGED;

    for (int i = 0; i < TRIES && attempt == CHANGED; i++) {
        if (i > 0)
            sched_yield();
        attempt = try_once(view, source, header, size, &index);
    }
    free(index.slots);
    view->torn = attempt == CHANGED;
    return attempt != FAILED;
}

/* --- thread slots and connections --- */

static void read_threads(stm_view_t *view, const stm_view_source_t *source,
                         const stm_score_header_t *header)
{
    int part = (int)header->current - 1;
    stm_score_block_t block;
    size_t size;

    if (!read_part(source, part, &block, sizeof(block), 0) || !block.threads)
        return;
    if (block.threads > header->threads_max)
        block.threads = header->threads_max;
    size = block.threads * sizeof(*view->threads);
    view->threads = malloc(size);
    if (view->threads && read_part(source, part, view->threads, size, header->threads_at))
        view->thread_count = (unsigned)block.threads;
}

static bool keep_row(stm_view_t *view, const stm_score_header_t *header, const char *from)
{
    unsigned count = view->row_count;
    size_t pair = header->key_size + header->value_size, size = pair * header->pairs_max;
    stm_view_row_t *row = malloc(sizeof(*row) + size);
    stm_view_row_t **rows = realloc(view->rows, sizeof(stm_view_row_t *) * (count + 1));

    if (rows)
        view->rows = rows;
    if (!row || !rows) {
        free(row);
        return false;
    }
    memcpy(&row->row, from, sizeof(row->row));
    memcpy(row->pairs, from + sizeof(row->row), size);
    if (row->row.pairs > header->pairs_max)
        row->row.pairs = header->pairs_max;
    for (char *at = row->pairs; at < row->pairs + size; at += pair) {
        at[header->key_size - 1] = '\0';
        at[pair - 1] = '\0';
        stm_view_make_plain(at);
    }
    rows[count] = row;
    view->row_count = count + 1;
    return true;
}

static uint64_t sequence_of(const char *row)
{
    return ((const stm_score_row_t *)row)->sequence;
}

/* Sequence, contents, sequence: three reads of many rows instead of three for each. A row that is
 * being changed is left out. */
static bool read_some_rows(stm_view_t *view, const stm_view_source_t *source,
                           const stm_score_header_t *header, int part, uint64_t at, size_t count,
                           char *buffer)
{
    size_t size = count * header->row_size;
    char *before = buffer, *rows = buffer + size, *after = rows + size;

    if (!read_part(source, part, before, size, at) || !read_part(source, part, rows, size, at) ||
        !read_part(source, part, after, size, at))
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t offset = i * header->row_size;
        const stm_score_row_t *row = (const stm_score_row_t *)(rows + offset);
        uint64_t sequence = sequence_of(before + offset);

        if (!stm_sequence_is_whole(sequence, sequence_of(after + offset)) || !row->pairs)
            continue;
        if (!keep_row(view, header, rows + offset))
            return false;
    }
    return true;
}

static void read_rows(stm_view_t *view, const stm_view_source_t *source,
                      const stm_score_header_t *header, unsigned index)
{
    uint64_t at = header->connections_at;
    stm_score_block_t block;
    char *buffer;

    if (!is_taken(header, index) || !read_part(source, (int)index, &block, sizeof(block), 0))
        return;
    if (block.connections > header->connections_max)
        block.connections = header->connections_max;
    buffer = malloc((block.connections < ROWS_A_READ ? block.connections : ROWS_A_READ) *
                    header->row_size * 3);
    for (uint64_t left = block.connections; buffer && left > 0;) {
        size_t count = left < ROWS_A_READ ? (size_t)left : ROWS_A_READ;

        if (!read_some_rows(view, source, header, (int)index, at, count, buffer))
            break;
        at += count * header->row_size;
        left -= count;
    }
    free(buffer);
}

/* --- what state threads wait for --- */

static void end_texts(stm_score_wait_t *wait)
{
    wait->client[sizeof(wait->client) - 1] = '\0';
    wait->vhost[sizeof(wait->vhost) - 1] = '\0';
    wait->request[sizeof(wait->request) - 1] = '\0';
    wait->handler[sizeof(wait->handler) - 1] = '\0';
    wait->name[sizeof(wait->name) - 1] = '\0';
    wait->holder[sizeof(wait->holder) - 1] = '\0';
    if (wait->kind >= STM_WAIT_COUNT)
        wait->kind = STM_WAIT_other;
}

static bool keep_wait(stm_view_t *view, const stm_score_block_t *block,
                      const stm_score_wait_t *wait)
{
    size_t count = view->wait_count;
    stm_view_wait_t *waits = view->waits;

    if ((count & (count - 1)) == 0) { /* a power of two, or 0: full */
        waits = realloc(view->waits, sizeof(*waits) * (count ? 2 * count : 1));
        if (!waits)
            return false;
        view->waits = waits;
    }
    waits += view->wait_count++;
    waits->wait = *wait;
    waits->pid = block->vp.pid;
    waits->clock = block->clock;
    end_texts(&waits->wait);
    return true;
}

/* An entry that is being changed belongs to a busy thread, so it is read again, but not forever. */
static bool read_wait(const stm_view_source_t *source, int part, uint64_t at, int *tries,
                      stm_score_wait_t *wait)
{
    do {
        uint64_t before, after;

        if (!read_part(source, part, &before, sizeof(before), at) ||
            !read_part(source, part, wait, sizeof(*wait), at) ||
            !read_part(source, part, &after, sizeof(after), at))
            return false;
        if (stm_sequence_is_whole(before, after))
            return wait->busy != 0;
    } while (--*tries > 0);
    return false;
}

/* Most threads are idle, so entries are first read in bulk, and only busy ones read again. */
static bool read_some_waits(stm_view_t *view, const stm_view_source_t *source, int part,
                            const stm_score_block_t *block, uint64_t at, size_t count, int *tries)
{
    stm_score_wait_t seen[WAITS_A_READ], wait;

    if (!read_part(source, part, seen, count * sizeof(*seen), at))
        return false;
    for (size_t i = 0; i < count; i++, at += sizeof(wait)) {
        if (!seen[i].busy && !(seen[i].sequence & 1))
            continue;
        if (read_wait(source, part, at, tries, &wait) && !keep_wait(view, block, &wait))
            return false;
    }
    return true;
}

static void read_waits(stm_view_t *view, const stm_view_source_t *source,
                       const stm_score_header_t *header, unsigned index)
{
    uint64_t at = header->waits_at;
    stm_score_block_t block;
    int tries = TRIES; /* for all entries together: only one at a time is being changed */

    if (!is_taken(header, index) || !read_part(source, (int)index, &block, sizeof(block), 0))
        return;
    if (block.waits > header->waits_max)
        block.waits = header->waits_max;
    for (uint64_t left = block.waits; left > 0;) {
        size_t count = left < WAITS_A_READ ? (size_t)left : WAITS_A_READ;

        if (!read_some_waits(view, source, (int)index, &block, at, count, &tries))
            return;
        at += count * sizeof(stm_score_wait_t);
        left -= count;
    }
}

static int busy_first(const void *left, const void *right)
{
    const stm_score_row_t *a = &(*(stm_view_row_t *const *)left)->row;
    const stm_score_row_t *b = &(*(stm_view_row_t *const *)right)->row;

    if (a->busy != b->busy)
        return a->busy > b->busy ? -1 : 1;
    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

static void read_details(stm_view_t *view, const stm_view_source_t *source,
                         const stm_score_header_t *header, unsigned what)
{
    view->key_size = header->key_size;
    view->value_size = header->value_size;
    if ((what & STM_VIEW_THREADS) && header->current)
        read_threads(view, source, header);
    for (unsigned i = 0; (what & STM_VIEW_WAITS) && i < header->blocks; i++)
        read_waits(view, source, header, i);
    if (!(what & STM_VIEW_CONNECTIONS))
        return;
    for (unsigned i = 0; i < header->blocks; i++)
        read_rows(view, source, header, i);
    if (view->row_count)
        qsort(view->rows, view->row_count, sizeof(stm_view_row_t *), busy_first);
}

/* --- all of it --- */

bool stm_view_read(stm_view_t *view, int ordinal, const stm_view_source_t *source, unsigned what)
{
    stm_score_header_t fixed, *header;

    memset(view, 0, sizeof(*view));
    memset(&fixed, 0, sizeof(fixed));
    view->ordinal = ordinal;
    if (!read_part(source, HEADER, &fixed, sizeof(fixed), 0))
        return memcmp(fixed.magic, STM_SCORE_MAGIC, sizeof(fixed.magic)) == 0
                   ? problem(view, "is truncated: shorter than its header")
                   : problem(view, "is not an STM scoreboard file, or is truncated");
    if (!check_header(view, &fixed))
        return false;
    header = calloc(1, fixed.header_size);
    if (!header)
        return problem(view, "needs %u bytes of memory", fixed.header_size);
    if (!read_consistent(view, source, header, fixed.header_size)) {
        free(header);
        return false;
    }
    view->running = header->running != 0;
    view->incarnations = header->incarnations;
    view->master_pid = header->master_pid;
    view->server_started = header->server_started;
    memcpy(view->options, header->options, sizeof(view->options) - 1);
    if (!view->present) {
        view->total.incarnation = header->incarnations;
        view->total.generation = header->generation;
    }
    read_details(view, source, header, what);
    free(header);
    return true;
}

void stm_view_free(stm_view_t *view)
{
    for (unsigned i = 0; i < view->row_count; i++)
        free(view->rows[i]);
    free(view->rows);
    free(view->threads);
    free(view->listeners);
    free(view->waits);
    memset(view, 0, sizeof(*view));
}

void stm_view_sum(stm_score_vp_t *sum, const stm_view_t *views, int count)
{
    memset(sum, 0, sizeof(*sum));
    for (int i = 0; i < count; i++) {
        if (*views[i].problem)
            continue;
        stm_score_add(STM_SCORE_OF_VP, sum, &views[i].total);
        stm_score_add_gauges(STM_SCORE_OF_VP, sum, &views[i].total);
    }
}

uint64_t stm_view_silence(const stm_view_t *view, uint64_t now)
{
    uint64_t last = view->current.heartbeat_time_seconds;

    /* 0: the process has just been forked, and has written nothing yet. */
    return view->present && !view->blind && last && now > last ? now - last : 0;
}

const char *stm_view_state(uint64_t state)
{
    static const char *const names[] = {"starting", "running", "leaving", "stopping"};

    return state < sizeof(names) / sizeof(*names) ? names[state] : "unknown";
}
