/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of STIOL's table as an object that knows nothing of STIOL makes it: a table of
 * pointers, which the dynamic linker fills in and STIOL rebinds. Included by objects/table.c and by
 * the tests.
 */
#ifndef TABLE_H
#define TABLE_H

#include "stiol/stiol_int.h"

typedef struct table {
#define STIOL_KIND(name, help)
#define STIOL_CALL(symbol, scope, kind, version, help) __typeof__(symbol) *symbol;
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
} table_t;

/* In libtable.so, an object as any other, and in libthreads.so, one whose threads are state
 * threads. */
extern const table_t table_any, table_threads;

#endif
