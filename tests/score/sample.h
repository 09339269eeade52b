/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scoreboard of known contents, for the tests of the reader: two processes, one of which leaves,
 * two listeners, three thread slots, two connections.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stdbool.h>

#include "score/layout.h"

#define SAMPLE_KEY_SIZE   16
#define SAMPLE_VALUE_SIZE 48
#define SAMPLE_PAIRS      3
#define SAMPLE_LISTENERS  2
#define SAMPLE_THREADS    4
#define SAMPLE_ROW_SIZE   256
#define SAMPLE_BLOCKS     2

/** What the sample's counters add up to. */
#define SAMPLE_CONNECTIONS_PRIOR   100 /* of ended processes */
#define SAMPLE_CONNECTIONS_LEAVING 30
#define SAMPLE_CONNECTIONS_NOW     7

/** What is to be added to the times of its waits, us. */
#define SAMPLE_CLOCK 1000000000u

/** A scoreboard as one piece: the header, then its blocks. */
typedef struct sample {
    const char *bytes;
    size_t size;
} sample_t;

/** Reads any bytes as such a piece: a stm_view_source_t's read, its baton is a sample_t. */
bool sample_read(void *baton, int part, void *to, size_t size, uint64_t offset);

/** A complete one, in newly allocated memory. */
char *sample_make(int ordinal, size_t *size);

static inline stm_score_block_t *sample_block(char *sample, int block)
{
    const stm_score_header_t *header = (const stm_score_header_t *)sample;

    return (stm_score_block_t *)(sample + header->header_size + (size_t)block * header->block_size);
}

#endif
