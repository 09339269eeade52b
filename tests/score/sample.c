/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the sample. As a program (SAMPLE_MAIN): sample ORDINAL writes it to standard output, for
 * the tests of stmstat and the fuzzer's corpus.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/score/sample.h"

static void lay_out(stm_score_header_t *header, int ordinal)
{
    memcpy(header->magic, STM_SCORE_MAGIC, sizeof(header->magic));
    header->byte_order = STM_SCORE_BYTE_ORDER;
    header->version = STM_SCORE_VERSION;
    header->fingerprint = stm_score_fingerprint();
    header->ordinal = (uint32_t)ordinal;
    header->header_size = STM_SCORE_PAGE;
    header->key_size = SAMPLE_KEY_SIZE;
    header->value_size = SAMPLE_VALUE_SIZE;
    header->pairs_max = SAMPLE_PAIRS;
    header->listeners_max = SAMPLE_LISTENERS;
    header->threads_max = header->connections_max = SAMPLE_THREADS;
    header->listeners_at = sizeof(stm_score_block_t);
    header->threads_at = header->listeners_at + SAMPLE_LISTENERS * sizeof(stm_score_listener_t);
    header->connections_at = header->threads_at + SAMPLE_THREADS * sizeof(stm_score_thread_t);
    header->row_size = SAMPLE_ROW_SIZE;
    header->waits_at = STM_SCORE_PAGE - 2 * sizeof(stm_score_wait_t);
    header->waits_max = 2;
    header->wait_size = sizeof(stm_score_wait_t);
    header->block_size = STM_SCORE_PAGE;
    header->blocks = SAMPLE_BLOCKS;
    header->taken = (1u << SAMPLE_BLOCKS) - 1;
    header->current = 2;
    header->incarnations = 5;
    header->running = 1;
    header->sequence = 8;
    header->prior.connections = SAMPLE_CONNECTIONS_PRIOR;
    strcpy(header->options, "STM_VP_LIMIT 8\n");
    strcpy(header->prior_listeners[0].address, "10.0.0.1:80");
    header->listeners = 1;
    header->prior_listeners[0].connections = SAMPLE_CONNECTIONS_PRIOR;
}

static void add_row(char *at, uint64_t serial, const char *status, const char *request)
{
    stm_score_row_t *row = (stm_score_row_t *)at;
    const char *const pairs[] = {"Status", status, "Request", request, "Bytes", "12"};

    row->sequence = 2;
    row->pairs = SAMPLE_PAIRS;
    row->serial = serial;
    row->busy = serial == 2;
    at += sizeof(*row);
    for (int i = 0; i < SAMPLE_PAIRS; i++) {
        strncpy(at, pairs[i * 2], SAMPLE_KEY_SIZE - 1);
        strncpy(at + SAMPLE_KEY_SIZE, pairs[i * 2 + 1], SAMPLE_VALUE_SIZE - 1);
        at += SAMPLE_KEY_SIZE + SAMPLE_VALUE_SIZE;
    }
}

/* A new request that waits for a lock, and an old one that waits for a backend. */
static void fill_waits(stm_score_wait_t waits[2])
{
    waits[0].sequence = waits[1].sequence = 4;
    waits[0].busy = waits[1].busy = 1;
    waits[0].serial = 2;
    waits[0].began = waits[0].since = 2000000;
    waits[0].kind = STM_WAIT_lock;
    waits[0].object = 0x1234;
    strcpy(waits[0].holder, "connection 1: GET /");
    waits[1].serial = 1;
    waits[1].began = 900000;
    waits[1].since = 1500000;
    waits[1].kind = STM_WAIT_backend_read;
    strcpy(waits[1].name, "10.0.0.9:8080");
    strcpy(waits[1].client, "192.0.2.7");
    strcpy(waits[1].request, "GET /\x1b[2Jold HTTP/1.1");
}

static void fill_current(const stm_score_header_t *header, stm_score_block_t *block)
{
    char *start = (char *)block;
    stm_score_listener_t *listeners = (stm_score_listener_t *)(start + header->listeners_at);
    stm_score_thread_t *threads = (stm_score_thread_t *)(start + header->threads_at);

    block->vp.pid = 4242;
    block->vp.state = 1;
    block->vp.cpu = (uint64_t)-1;
    block->vp.incarnation = header->incarnations;
    block->vp.heartbeat_time_seconds = 1000000;
    block->vp.conns = 2;
    block->vp.threads_peak = 3;
    block->vp.longest_turn_seconds = 1500000;
    block->vp.turn_seconds[0] = 10;
    block->vp.turn_seconds[STM_SCORE_BUCKETS] = 2500;
    block->listeners = 2;
    strcpy(listeners[0].address, "10.0.0.1:80");
    strcpy(listeners[1].address, "10.0.0.1:443");
    listeners[0].connections = 3;
    listeners[1].connections = 4;
    block->threads = 3;
    for (unsigned i = 0; i < 3; i++)
        threads[i].connections = i + 1;
    threads[2].busy = 1;
    block->clock = SAMPLE_CLOCK;
    block->waits = 2;
    fill_waits((stm_score_wait_t *)(start + header->waits_at));
    block->connections = 2;
    add_row(start + header->connections_at, 1, "Keepalive", "GET / HTTP/1.1");
    add_row(start + header->connections_at + header->row_size, 2, "Writing",
            "GET /\"quoted\\\x1b[31m\xff HTTP/1.1");
}

char *sample_make(int ordinal, size_t *size)
{
    stm_score_header_t *header;
    char *sample = calloc(1 + SAMPLE_BLOCKS, STM_SCORE_PAGE);

    if (!sample)
        abort();
    *size = (size_t)(1 + SAMPLE_BLOCKS) * STM_SCORE_PAGE;
    header = (stm_score_header_t *)sample;
    lay_out(header, ordinal);
    sample_block(sample, 0)->vp.connections = SAMPLE_CONNECTIONS_LEAVING;
    sample_block(sample, 0)->vp.conns = 1;
    sample_block(sample, 0)->vp.threads_peak = 9;
    sample_block(sample, 1)->vp.connections = SAMPLE_CONNECTIONS_NOW;
    fill_current(header, sample_block(sample, 1));
    return sample;
}

bool sample_read(void *baton, int part, void *to, size_t size, uint64_t offset)
{
    const sample_t *sample = baton;
    const stm_score_header_t *header = (const stm_score_header_t *)sample->bytes;

    if (part >= 0) {
        if (sample->size < sizeof(*header))
            return false;
        offset += header->header_size + (uint64_t)part * header->block_size;
    }
    if (offset > sample->size || size > sample->size - offset)
        return false;
    memcpy(to, sample->bytes + offset, size);
    return true;
}
