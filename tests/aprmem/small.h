/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of small pools (aprmem/) share: a virtual processor that has them, APR's own
 * kind next to them, and kernel threads that do the same things at the same time.
 */
#ifndef SMALL_H
#define SMALL_H

#include "aprmem/aprmem_int.h"
#include "tests/fuzz/fuzz.h"

enum { FUZZ_OURS, FUZZ_APRS, FUZZ_KINDS };

/** The parents of all pools: a small one, and one of APR's. */
extern apr_pool_t *fuzz_top[FUZZ_KINDS];

/** Once: starts the virtual processor. Ends the process if APR's pools cannot be replaced. */
void fuzz_start(void);

/** A pool of that kind, whose parent is of the same kind. */
apr_pool_t *fuzz_pool(int kind, apr_pool_t *parent);

/**
 * Calls run(input) here and on some kernel threads at once, each with the whole input; or, with
 * no threads, here alone.
 */
void fuzz_run(void (*run)(fuzz_input_t input), fuzz_input_t input, unsigned threads);

/** Calls run(data) on a kernel thread, and waits for its end. */
void fuzz_elsewhere(void *(*run)(void *data), void *data);

#endif /* SMALL_H */
