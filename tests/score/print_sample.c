/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sample as a program: writes it with the given ordinal, or prints the offsets of its header's
 * fields. For the tests of stmstat, and the seed of the reader's fuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/score/sample.h"

/* Where fields lie, for tests that change some: name=offset. */
static void print_offsets(void)
{
#define OFFSET(field) printf(#field "=%zu\n", offsetof(stm_score_header_t, field))
    OFFSET(byte_order);
    OFFSET(version);
    OFFSET(fingerprint);
    OFFSET(header_size);
    OFFSET(ordinal);
    OFFSET(block_size);
    OFFSET(key_size);
    OFFSET(listeners_at);
    OFFSET(threads_at);
    OFFSET(connections_at);
    OFFSET(connections_max);
    OFFSET(row_size);
    OFFSET(waits_at);
    OFFSET(waits_max);
    OFFSET(wait_size);
    OFFSET(sequence);
    OFFSET(blocks);
    OFFSET(taken);
    OFFSET(current);
    OFFSET(running);
    OFFSET(generation);
    OFFSET(master_pid);
#undef OFFSET
}

int main(int argc, char **argv)
{
    size_t size;
    char *sample;

    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "offsets") == 0) {
        print_offsets();
        return 0;
    }
    sample = sample_make((int)strtol(argv[1], NULL, 10), &size);
    fwrite(sample, 1, size, stdout);
    free(sample);
    return 0;
}
