/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unmodified code, the tests' stand-in for libapr and the modules. Built twice: TABLE is the name
 * of the table.
 */
#include "tests/stiol/objects/table.h"

const table_t TABLE = {
#define STIOL_KIND(name, help)
#define STIOL_CALL(symbol, scope, kind, version, help) .symbol = symbol,
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
};
