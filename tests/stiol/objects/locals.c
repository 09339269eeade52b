/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object with thread-local variables. Built with -DWHERE (the function's name), -DNUMBER, and
 * -DSIZE: bytes of further ones, so that objects differ; in several TLS models.
 */
#include "tests/stiol/objects/locals.h"

extern where_t WHERE;

static __thread char odd[SIZE]; /* not a multiple of anything */
static __thread _Alignas(128) locals_t mine = {NUMBER, "image", {0}, "relocated"};

locals_t *WHERE(void)
{
    odd[SIZE - 1] = (char)mine.number;
    return &mine;
}
