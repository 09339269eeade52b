/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers share: libFuzzer's entry, a check that ends the process, and the reader of a
 * sequence of decisions.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(what)                                                                           \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #what);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input as decisions; beyond its end they are 0. */
typedef struct fuzz_input {
    const uint8_t *at, *end;
} fuzz_input_t;

static inline bool fuzz_more(const fuzz_input_t *input)
{
    return input->at < input->end;
}

static inline unsigned fuzz_byte(fuzz_input_t *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static inline unsigned fuzz_any(fuzz_input_t *input, unsigned below)
{
    return fuzz_byte(input) % below;
}

static inline unsigned fuzz_number(fuzz_input_t *input)
{
    unsigned high = fuzz_byte(input);

    return high << 8 | fuzz_byte(input);
}

#endif /* FUZZ_H */
