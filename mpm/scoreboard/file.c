/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's side of the scoreboards: it makes their memory, before privileges are dropped, gives
 * a block to each process that becomes a VP, and adds up the counts of those that have ended. It
 * relies on private copies; the shared memory is only written to, through the kernel, and only the
 * counters of ended processes are read from there.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mpm/config/config.h"
#include "mpm/scoreboard/directory.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/shmem.h"
#include "score/options.h"
#include "score/sequence.h"

stm_score_files_t *stm_score_files;

/* Unused blocks of a VP when VPs are started: through them, running VPs can see their
 * successors. */
enum { SPARE = 3 };

/* Minimum number of listeners that a scoreboard has room for: restarts may add some. Only the
 * entries in use take memory. */
enum { LISTENERS = 4096 };
/* Of these, at most so many are shown beside a VP's own state threads: HTTP/2's workers. */
enum { MOST_MODULES_THREADS = 4096 };

static uint64_t round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static bool complain(const char *what, const char *path, int error)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT, error, ap_server_conf, STMNO(0013) "ScoreboardDir: %s: %s",
                 path, what);
    return false;
}

/* --- the layout --- */

static uint64_t row_size(void)
{
    uint64_t pair = STM_SCORE_KEY_SIZE + STM_SCORE_VALUE_SIZE;

    return round_up(sizeof(stm_score_row_t) + pair * stm_score_row_pairs, 64);
}

static uint32_t room_for_listeners(void)
{
    unsigned room = 2 * (unsigned)stm_listens_count();

    if (room < LISTENERS)
        room = LISTENERS;
    return room < STM_LISTENER_LIMIT ? room : STM_LISTENER_LIMIT;
}

static uint64_t size_of_listeners(uint64_t count)
{
    return sizeof(stm_score_listener_t) * count;
}

static void lay_out(stm_score_header_t *header, int ordinal)
{
    memcpy(header->magic, STM_SCORE_MAGIC, sizeof(header->magic));
    header->byte_order = STM_SCORE_BYTE_ORDER;
    header->version = STM_SCORE_VERSION;
    header->fingerprint = stm_score_fingerprint();
    header->ordinal = (uint32_t)ordinal;
    header->key_size = STM_SCORE_KEY_SIZE;
    header->value_size = STM_SCORE_VALUE_SIZE;
    header->pairs_max = stm_score_row_pairs;
    header->listeners_max = room_for_listeners();
    header->threads_max = (uint32_t)stm.limits->threads;
    header->connections_max = header->threads_max;
    header->row_size = row_size();
    header->header_size = (uint32_t)round_up(
        sizeof(*header) + size_of_listeners(header->listeners_max), STM_SCORE_PAGE);
    header->listeners_at = round_up(sizeof(stm_score_block_t), 64);
    header->threads_at = header->listeners_at + size_of_listeners(header->listeners_max);
    header->connections_at =
        round_up(header->threads_at + sizeof(stm_score_thread_t) * (uint64_t)header->threads_max,
                 STM_SCORE_PAGE);
    header->waits_at = round_up(header->connections_at + header->row_size * header->connections_max,
                                STM_SCORE_PAGE);
    header->wait_size = sizeof(stm_score_wait_t);
    header->waits_max =
        header->threads_max +
        (header->threads_max < MOST_MODULES_THREADS ? header->threads_max : MOST_MODULES_THREADS);
    header->block_size = round_up(
        header->waits_at + (uint64_t)header->wait_size * header->waits_max, STM_SCORE_PAGE);
    header->master_pid = (uint64_t)getpid();
    header->server_started = (uint64_t)apr_time_now();
    apr_cpystrn(header->options, stm_score_options, sizeof(header->options));
}

static stm_score_header_t *new_header(int ordinal)
{
    stm_score_header_t start = {0}, *header;

    lay_out(&start, ordinal);
    header = ap_calloc(1, start.header_size);
    *header = start;
    header->running = 1;
    return header;
}

/* --- showing it --- */

static bool show_sequence(const stm_score_seat_t *seat)
{
    char *shown = seat->shown.writable;
    bool done;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    done = stm_shmem_put(shown + offsetof(stm_score_header_t, sequence), &seat->header->sequence,
                         sizeof(seat->header->sequence));
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return done;
}

/* To change the header: begin_change(), the change, show(). In between, its sequence number is
 * odd. */
static void begin_change(stm_score_seat_t *seat)
{
    seat->header->sequence = stm_sequence_open(seat->header->sequence);
    show_sequence(seat);
}

static bool show(stm_score_seat_t *seat)
{
    size_t used = sizeof(*seat->header) + size_of_listeners(seat->header->listeners);
    bool done = stm_shmem_put(seat->shown.writable, seat->header, used);

    seat->header->sequence = stm_sequence_closed(seat->header->sequence);
    return show_sequence(seat) && done;
}

/* --- memory, with a name or without --- */

static bool map_named(stm_shmem_t *memory, const char *name, size_t size)
{
    const stm_score_files_t *files = stm_score_files;
    stm_score_new_file_t file;
    const char *reason = stm_score_dir_create(files->directory, name, (long long)size, &file);
    char path[sizeof(files->path) + STM_SCORE_NAME];
    bool mapped;

    apr_snprintf(path, sizeof(path), "%s/%s", files->path, name);
    if (reason)
        return complain(reason, path, errno);
    mapped = stm_shmem_map(memory, file.writable, file.readable, size);
    if (!mapped)
        complain("cannot be mapped", path, errno);
    close(file.writable);
    close(file.readable);
    return mapped;
}

static bool make_memory(stm_shmem_t *memory, int ordinal, int block, size_t size)
{
    char name[STM_SCORE_NAME];

    stm_score_name(name, ordinal, block);
    if (stm_score_files->directory >= 0)
        return map_named(memory, name, size);
    return stm_shmem_make(memory, "stm-scoreboard", size) ||
           complain("no memory for a scoreboard", "(none)", errno);
}

static bool make_header(stm_score_seat_t *seat, int ordinal)
{
    stm_score_header_t *header = new_header(ordinal);

    if (!make_memory(&seat->shown, ordinal, -1, header->header_size)) {
        free(header);
        return false;
    }
    seat->header = header;
    begin_change(seat);
    if (show(seat))
        return true;
    return complain("a scoreboard cannot be written", stm_score_files->path, errno);
}

/* --- blocks --- */

static uint64_t bit(int block)
{
    return UINT64_C(1) << block;
}

static bool is_free(const stm_score_seat_t *seat, int block)
{
    return !((seat->header->taken | seat->broken) & bit(block));
}

/* The header says how many blocks there are, once the next change is shown. */
static bool make_block(stm_score_seat_t *seat, int block)
{
    stm_score_header_t *header = seat->header;

    if (!seat->block[block].writable &&
        !make_memory(&seat->block[block], (int)header->ordinal, block, (size_t)header->block_size))
        return false;
    if (header->blocks <= (uint64_t)block)
        header->blocks = (uint64_t)block + 1;
    return true;
}

static bool make_spares(stm_score_seat_t *seat)
{
    int spare = 0;

    for (int i = 0; i < STM_SCORE_BLOCKS && spare < SPARE; i++) {
        if (!is_free(seat, i))
            continue;
        if (!make_block(seat, i))
            return false;
        spare++;
    }
    return true;
}

/* Zeroes a process's counters; of the table of listeners, only the part that it will use. Readers
 * go by the number of entries, which is zeroed, too. */
static bool clear_block(const stm_score_header_t *header, char *block)
{
    size_t listeners = size_of_listeners((uint64_t)stm_listens_count());

    if (listeners > size_of_listeners(header->listeners_max))
        listeners = size_of_listeners(header->listeners_max);
    return stm_shmem_clear(block, header->listeners_at + listeners) &&
           stm_shmem_clear(block + header->threads_at, header->connections_at - header->threads_at);
}

/* Takes a cleared block. A program that a VP has left behind may still have the block mapped: it
 * may write to it even now, and truncate the file if it owns it. A block that cannot be cleared is
 * given up. */
static int take_block(stm_score_seat_t *seat)
{
    for (int i = 0; i < STM_SCORE_BLOCKS; i++) {
        if (!is_free(seat, i))
            continue;
        if (!make_block(seat, i))
            return -1;
        if (clear_block(seat->header, seat->block[i].writable))
            return i;
        seat->broken |= bit(i);
    }
    errno = 0;
    return -1;
}

int stm_score_reserve(int ordinal, unsigned incarnation)
{
    stm_score_seat_t *seat = &stm_score_files->vp[ordinal];
    stm_score_header_t *header = seat->header;
    int block;

    if (!header)
        return -1;
    begin_change(seat);
    block = take_block(seat);
    if (block < 0)
        ap_log_error(
            APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
            STMNO(0014) "no room in the scoreboard of VP %d (at most %d blocks): this process's "
                        "counters are not shown",
            ordinal, STM_SCORE_BLOCKS);
    else
        header->taken |= bit(block);
    header->current = block < 0 ? 0 : (uint64_t)block + 1;
    header->incarnations = incarnation;
    header->generation = (uint64_t)stm.mpm->my_generation;
    show(seat);
    return block;
}

void stm_score_inherit(int ordinal, int index, bool inherited)
{
    if (index >= 0)
        stm_shmem_inherit(&stm_score_files->vp[ordinal].block[index], inherited);
}

/* --- sums --- */

/* Nearly always, it is at the same place as in the previous list. */
static stm_score_listener_t *prior_listener(stm_score_header_t *header, const char *address,
                                            uint64_t expected)
{
    stm_score_listener_t *list = header->prior_listeners;

    if (expected < header->listeners &&
        strncmp(list[expected].address, address, STM_SCORE_ADDRESS) == 0)
        return &list[expected];
    for (uint64_t i = 0; i < header->listeners; i++) {
        if (strncmp(list[i].address, address, STM_SCORE_ADDRESS) == 0)
            return &list[i];
    }
    return NULL;
}

static bool name_listener(stm_score_header_t *header, const ap_listen_rec *lr, uint64_t expected)
{
    char address[STM_SCORE_ADDRESS];

    apr_snprintf(address, sizeof(address), "%pI", lr->bind_addr);
    if (prior_listener(header, address, expected))
        return true;
    if (header->listeners == header->listeners_max)
        return false;
    memcpy(header->prior_listeners[header->listeners++].address, address, sizeof(address));
    return true;
}

/* Sums are kept only for addresses that the master knows: a VP could fill the table with others.
 * Returns how many there was no room for. */
static int name_listeners(stm_score_header_t *header)
{
    uint64_t expected = 0;
    int unnamed = 0;

    for (const ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        if (stm_listens_to(lr, (int)header->ordinal))
            unnamed += !name_listener(header, lr, expected++);
    }
    return unnamed;
}

/* Makes room by dropping the sums of listeners that are gone; those of the others begin anew,
 * too. */
static void forget_listeners(stm_score_header_t *header)
{
    memset(header->prior_listeners, 0, size_of_listeners(header->listeners));
    header->listeners = 0;
}

/* The number of entries is written by a VP and not to be trusted: no more are read than there are
 * names. */
static void add_listeners(stm_score_header_t *header, const char *table, uint64_t count)
{
    uint64_t known = count < header->listeners ? count : header->listeners;
    size_t size = size_of_listeners(known);
    stm_score_listener_t *listeners = ap_malloc(size ? size : 1);

    if (!stm_shmem_get(listeners, table, size))
        known = 0;
    for (uint64_t i = 0; i < known; i++) {
        stm_score_listener_t *prior = prior_listener(header, listeners[i].address, i);

        if (prior)
            stm_score_add(STM_SCORE_OF_LISTENER, prior, &listeners[i]);
    }
    free(listeners);
}

/* Adds what an ended process has counted. It may have written anything there, or truncated it. */
static void add_block(stm_score_header_t *header, const char *block)
{
    stm_score_block_t counted;

    if (!stm_shmem_get(&counted, block, sizeof(counted)))
        return;
    stm_score_add(STM_SCORE_OF_VP, &header->prior, &counted.vp);
    add_listeners(header, block + header->listeners_at, counted.listeners);
}

void stm_score_release(int ordinal, int index)
{
    stm_score_seat_t *seat = &stm_score_files->vp[ordinal];
    stm_score_header_t *header = seat->header;

    if (index < 0 || !header)
        return;
    begin_change(seat);
    add_block(header, seat->block[index].readable);
    header->taken &= ~bit(index);
    if (header->current == (uint64_t)index + 1)
        header->current = 0;
    show(seat);
}

void stm_score_stopped(void)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        stm_score_seat_t *seat = &stm_score_files->vp[i];

        if (!seat->header)
            continue;
        begin_change(seat);
        seat->header->running = 0;
        show(seat);
    }
}

/* --- start and restart --- */

/* Why the directory cannot hold the scoreboards of that many VPs; NULL: it can. */
static const char *refuses(const char *path, int vps, apr_pool_t *pool)
{
    int directory;
    const char *reason = stm_score_dir_open(path, &directory), *message = NULL;
    char name[STM_SCORE_NAME];

    if (reason)
        return apr_psprintf(pool, STMNO(0095) "ScoreboardDir: %s: %s", path, reason);
    for (int i = 0; !message && i < vps; i++) {
        stm_score_name(name, i, -1);
        reason = stm_score_dir_refuses(directory, name);
        if (reason)
            message =
                apr_psprintf(pool, STMNO(0096) "ScoreboardDir: %s/%s: %s", path, name, reason);
    }
    close(directory);
    return message;
}

int stm_score_check(apr_pool_t *pool, server_rec *s)
{
    const char *path, *message;
    apr_finfo_t info;

    if (!stm_config.scoreboard_dir)
        return OK;
    path = ap_server_root_relative(pool, stm_config.scoreboard_dir);
    if (path && apr_stat(&info, path, APR_FINFO_TYPE, pool) == APR_SUCCESS &&
        info.filetype == APR_DIR)
        message = refuses(path, stm_config.num_vps, pool);
    else
        message = apr_psprintf(
            pool,
            STMNO(0097) "ScoreboardDir: %s is not an existing directory; create it before "
                        "httpd starts",
            path ? path : stm_config.scoreboard_dir);
    return message ? stm_config_refuse(s, message) : OK;
}

static const char *configured_path(void)
{
    const char *path = stm_config.scoreboard_dir
                           ? ap_server_root_relative(stm.pconf, stm_config.scoreboard_dir)
                           : NULL;

    return path ? path : "";
}

/* The directory stays what it was at the first start: running VPs write there. */
static void tell_of_change(const stm_score_files_t *files)
{
    if (strcmp(files->path, configured_path()) != 0)
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
            STMNO(0015) "ScoreboardDir: a change requires stopping and starting the server; the "
                        "scoreboards stay in %s",
            *files->path ? files->path : "memory");
}

/* The scoreboards of an earlier server with more VPs would be taken for this one's. */
static bool open_directory(stm_score_files_t *files)
{
    const char *reason;

    files->directory = -1;
    apr_cpystrn(files->path, configured_path(), sizeof(files->path));
    if (!*files->path)
        return true;
    reason = stm_score_dir_open(files->path, &files->directory);
    if (reason)
        return complain(reason, files->path, 0);
    stm_score_dir_tidy(files->directory, stm_config.num_vps);
    return true;
}

static void new_generation(stm_score_seat_t *seat)
{
    stm_score_header_t *header = seat->header;
    int unnamed;

    begin_change(seat);
    unnamed = name_listeners(header);
    if (unnamed) {
        forget_listeners(header);
        unnamed = name_listeners(header);
    }
    header->generation = (uint64_t)stm.mpm->my_generation;
    header->running = 1;
    show(seat);
    if (unnamed)
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
            STMNO(0016) "no room for %d of the listening sockets in the scoreboard of VP %d: "
                        "their counters are not shown until the server is stopped and started",
            unnamed, (int)header->ordinal);
}

static bool prepare_seat(int ordinal)
{
    stm_score_seat_t *seat = &stm_score_files->vp[ordinal];

    if (!seat->header && !make_header(seat, ordinal))
        return false;
    new_generation(seat);
    return make_spares(seat);
}

bool stm_score_open(stm_score_files_t **kept)
{
    bool first = !*kept;

    if (first)
        *kept = ap_calloc(1, sizeof(**kept));
    stm_score_files = *kept;
    if (!first)
        tell_of_change(stm_score_files);
    else if (!open_directory(stm_score_files))
        return false;
    for (int i = 0; i < stm_config.num_vps; i++) {
        /* A running server continues, if need be without them. */
        if (!prepare_seat(i) && first)
            return false;
    }
    return true;
}
