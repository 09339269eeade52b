/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VP's counters. Frequent events are counted where they happen, directly in the VP's block: a
 * shared page costs no more than any other memory. What libst and STIOL count is copied ten times a
 * second while the VP is busy, and once a second, with the heartbeat, while it is idle.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <http_protocol.h>

#include "mpm/config/config.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"
#include "stiol/stiol.h"

enum {
    HEARTBEAT = 1000000, /* us */
    REFRESH = 100000,
    /* Stacks examined on each refresh, and one more for each of these many in use: 2 us of work
     * each. */
    STACKS = 16,
    STACKS_EACH = 128,
};

/* Where a process without a block counts. */
static stm_score_block_t nowhere;
static stm_score_listener_t no_listener;
static stm_score_thread_t no_thread;

stm_score_vp_t *stm_score = &nowhere.vp;

static const stm_score_header_t *header; /* this process's own: for the layout */
static int own_block = -1;
static stm_score_block_t *block = &nowhere;
static stm_score_thread_t *thread_counters;
static int *free_counters, free_count;
static st_watch_t heart;
static bool beating;
static st_stats_t at_start;    /* when the heart began to beat */
static st_utime_t held_in_all; /* total length of turns since then, us */
static st_utime_t refreshed;
static void (*on_refresh)(void), (*on_beat)(void); /* NULL: not started */

/* --- start --- */

/* Writable mappings are not inherited, except for our own. A VP has no use for the directory. */
static void forget_others(int own)
{
    stm_score_files_t *files = stm_score_files;

    if (files->directory >= 0)
        close(files->directory);
    files->directory = -1;
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        stm_score_seat_t *seat = &files->vp[i];

        seat->shown.writable = NULL;
        for (int n = 0; n < STM_SCORE_BLOCKS; n++) {
            if (i != stm.vp.ordinal || n != own)
                seat->block[n].writable = NULL;
        }
    }
}

void stm_score_attach(int index, apr_time_t started)
{
    stm_score_seat_t *seat = &stm_score_files->vp[stm.vp.ordinal];

    if (!stm.one_process)
        forget_others(index);
    if (index >= 0) {
        own_block = index;
        header = seat->header;
        block = seat->block[index].writable;
        stm_score = &block->vp;
        thread_counters = (stm_score_thread_t *)((char *)block + header->threads_at);
        free_counters = ap_malloc(sizeof(*free_counters) * header->threads_max);
        stm_score_rows_open(header, block);
        stm_score_waits_open(header, block);
    }
    STM_SCORE_SET(stm_score, pid, stm.vp.pid);
    STM_SCORE_SET(stm_score, start_time_seconds, started);
    STM_SCORE_SET(stm_score, heartbeat_time_seconds, apr_time_now());
    STM_SCORE_SET(stm_score, incarnation, stm.vp.incarnation);
    STM_SCORE_SET(stm_score, generation, stm.mpm->my_generation);
    STM_SCORE_SET(stm_score, cpu, (int64_t)-1);
    STM_SCORE_SET(stm_score, threads_limit, stm_config.max_threads);
}

stm_score_listener_t *stm_score_listener_new(const apr_sockaddr_t *address)
{
    stm_score_listener_t *listener;

    if (!header || block->listeners >= header->listeners_max)
        return &no_listener;
    listener = (stm_score_listener_t *)((char *)block + header->listeners_at) + block->listeners++;
    apr_snprintf(listener->address, STM_SCORE_ADDRESS, "%pI", address);
    return listener;
}

static void on_heartbeat(st_watch_t *watch, int ready)
{
    (void)ready;
    stm_score_refresh();
    on_beat();
    st_watch_arm(watch, 0, HEARTBEAT);
}

void stm_score_start(void (*refresh)(void), void (*beat)(void))
{
    STM_SCORE_SET(stm_score, cpu, (int64_t)stm_share->cpu);
    on_refresh = refresh;
    on_beat = beat;
    st_watch_init(&heart, -1, 0, on_heartbeat);
    stm_score_state(stm.vp.state);
    st_get_stats(&at_start);
    beating = true;
    on_heartbeat(&heart, 0);
}

/* STARTING is the state only until another one is set. */
void stm_score_state(stm_vp_state_e state)
{
    static const unsigned shown[] = {
        [STM_VP_RUNNING] = 1, [STM_VP_LEAVING] = 2, [STM_VP_STOPPING] = 3};

    STM_SCORE_SET(stm_score, state, shown[state]);
}

/* --- what others count --- */

/* libst counts the turns; those of the VP's start are not shown. */
static void copy_turns(const st_stats_t *stats)
{
    _Static_assert(sizeof(stats->turn_histogram) / sizeof(*stats->turn_histogram) ==
                       STM_SCORE_BUCKETS,
                   "libst sorts turns into the same buckets");
    STM_SCORE_SET(stm_score, turns, stats->turns - at_start.turns);
    for (int i = 0; i < STM_SCORE_BUCKETS; i++)
        STM_SCORE_SET(stm_score, turn_seconds[i],
                      stats->turn_histogram[i] - at_start.turn_histogram[i]);
    STM_SCORE_SET(stm_score, turn_seconds[STM_SCORE_BUCKETS], held_in_all);
}

static void copy_scheduler(void)
{
    st_stats_t stats;
    st_stack_stats_t stacks;

    st_get_stack_stats(&stacks);
    stacks.deepest = st_sample_stacks(STACKS + (int)(stacks.in_use / STACKS_EACH));
    st_get_stats(&stats);
    if (beating)
        copy_turns(&stats);
    STM_SCORE_SET(stm_score, run_queue, stats.runq);
    STM_SCORE_SET(stm_score, switches, stats.switches);
    STM_SCORE_SET(stm_score, events, stats.events);
    STM_SCORE_SET(stm_score, timers_fired, stats.timers_fired);
    STM_SCORE_SET(stm_score, remote_posts, stats.remote_posts);
    STM_SCORE_SET(stm_score, fd_waiters, stats.waiting_fds);
    STM_SCORE_SET(stm_score, stacks, stacks.in_use);
    STM_SCORE_SET(stm_score, stacks_cached, stacks.cached);
    STM_SCORE_SET(stm_score, stacks_peak, stacks.peak);
    STM_SCORE_SET(stm_score, stack_high_water_bytes, stacks.deepest);
    STM_SCORE_SET(stm_score, stack_reserved_bytes, stacks.bytes_reserved);
}

static void copy_kernel_threads(void)
{
    stiol_carriers_t carriers;

    stiol_get_carriers(&carriers);
    STM_SCORE_SET(stm_score, kernel_threads, carriers.threads);
    STM_SCORE_SET(stm_score, kernel_busy, carriers.busy);
    STM_SCORE_SET(stm_score, kernel_queue, carriers.waiting);
    STM_SCORE_SET(stm_score, kernel_requests, carriers.carried);
}

static void copy_rebound(void)
{
    unsigned long long calls = 0, helped = 0;
    stiol_counters_t counters;

    stiol_get_counters(&counters);
#define STIOL_KIND(name, help) calls += counters.name.calls, helped += counters.name.helped;
#define STIOL_CALL(symbol, scope, kind, version, help)
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
    STM_SCORE_SET(stm_score, rebound_calls, calls);
    STM_SCORE_SET(stm_score, parked_wait, counters.wait.parked);
    STM_SCORE_SET(stm_score, parked_io, counters.io.parked);
    STM_SCORE_SET(stm_score, parked_sleep, counters.sleep.parked);
    STM_SCORE_SET(stm_score, parked_mutex, counters.mutex.parked);
    STM_SCORE_SET(stm_score, parked_rwlock, counters.rwlock.parked);
    STM_SCORE_SET(stm_score, parked_cond, counters.cond.parked);
    STM_SCORE_SET(stm_score, parked_sem, counters.sem.parked);
    STM_SCORE_SET(stm_score, parked_filelock, counters.filelock.parked);
    STM_SCORE_SET(stm_score, parked_process, counters.process.parked);
    STM_SCORE_SET(stm_score, parked_thread, counters.thread.parked);
    STM_SCORE_SET(stm_score, helper_calls, helped);
    STM_SCORE_SET(stm_score, helped_resolve, counters.resolve.helped);
    STM_SCORE_SET(stm_score, helped_process, counters.process.helped);
    STM_SCORE_SET(stm_score, helped_sem, counters.sem.helped);
}

static void copy_helpers(void)
{
    stiol_helpers_t helpers;

    stiol_get_helpers(&helpers);
    STM_SCORE_SET(stm_score, helpers, helpers.threads);
    STM_SCORE_SET(stm_score, helpers_busy, helpers.busy);
    STM_SCORE_SET(stm_score, helpers_peak, helpers.peak);
    STM_SCORE_SET(stm_score, helpers_limit, stm_config.helper_threads);
    STM_SCORE_SET(stm_score, helper_limit_waits, helpers.full);
    STM_SCORE_SET(stm_score, waiting_names, helpers.names_waiting);
    STM_SCORE_SET(stm_score, waiting_files, helpers.files_waiting);
    STM_SCORE_SET(stm_score, waiting_others, helpers.others_waiting);
    STM_SCORE_SET(stm_score, waiting_log_lines, helpers.lines_waiting);
}

/* Nothing beyond the last listener and the last row has ever been written. */
static uint64_t used_bytes(void)
{
    return header->connections_at + block->connections * header->row_size -
           sizeof(stm_score_listener_t) * (header->listeners_max - block->listeners) +
           block->waits * header->wait_size;
}

void stm_score_refresh(void)
{
    refreshed = st_utime_last_clock();
    STM_SCORE_SET(stm_score, heartbeat_time_seconds, apr_time_now());
    STM_SCORE_SET(block, clock, (uint64_t)apr_time_now() - st_utime());
    if (header)
        STM_SCORE_SET(stm_score, score_bytes, used_bytes());
    copy_scheduler();
    copy_rebound();
    copy_kernel_threads();
    copy_helpers();
    if (on_refresh)
        on_refresh();
}

void stm_score_turn(st_utime_t held)
{
    held_in_all += held;
    if (held > stm_score->longest_turn_seconds)
        STM_SCORE_SET(stm_score, longest_turn_seconds, held);
    if (st_utime_last_clock() - refreshed >= REFRESH)
        stm_score_refresh();
}

void stm_score_end(void)
{
    if (beating) {
        st_sample_stacks(-1);
        stm_score_refresh();
        st_watch_disarm(&heart);
        beating = false;
    }
    if (stm.one_process) {
        stm_score_release(stm.vp.ordinal, own_block);
        stm_score_stopped();
    }
}

/* --- state threads --- */

static void count_threads(void)
{
    STM_SCORE_SET(stm_score, threads, stm.vp.threads);
    if ((uint64_t)stm.vp.threads > stm_score->threads_peak)
        STM_SCORE_SET(stm_score, threads_peak, stm.vp.threads);
}

static stm_score_thread_t *take_counters(void)
{
    if (free_count > 0)
        return &thread_counters[free_counters[--free_count]];
    if (!header || block->threads >= header->threads_max)
        return &no_thread;
    return &thread_counters[block->threads++];
}

stm_score_thread_t *stm_score_thread_started(void)
{
    STM_SCORE_INC(stm_score, thread_starts);
    count_threads();
    return take_counters();
}

void stm_score_thread_ended(stm_score_thread_t *thread)
{
    if (thread != &no_thread)
        free_counters[free_count++] = (int)(thread - thread_counters);
    STM_SCORE_INC(stm_score, thread_exits);
    count_threads();
}

void stm_score_thread_serves(stm_score_thread_t *thread, bool new_connection)
{
    STM_SCORE_INC(stm_score, threads_busy);
    stm_share->busy++;
    STM_SCORE_INC(thread, wakeups);
    STM_SCORE_ADD(thread, connections, new_connection);
    STM_SCORE_SET(thread, busy, 1);
}

void stm_score_thread_rests(stm_score_thread_t *thread)
{
    STM_SCORE_ADD(stm_score, threads_busy, -1);
    stm_share->busy--;
    STM_SCORE_SET(thread, busy, 0);
}

void stm_score_request(int status, apr_off_t sent)
{
    STM_SCORE_INC(stm_score, requests);
    STM_SCORE_ADD(stm_score, sent_bytes, sent);
    if (status < 200)
        return;
    if (status < 300)
        STM_SCORE_INC(stm_score, responses_2xx);
    else if (status < 400)
        STM_SCORE_INC(stm_score, responses_3xx);
    else if (status < 500)
        STM_SCORE_INC(stm_score, responses_4xx);
    else
        STM_SCORE_INC(stm_score, responses_5xx);
}
