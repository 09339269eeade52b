/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object with one pointer in thread-local variables, as httpd has it.
 */
#include "tests/stiol/objects/locals.h"

static __thread void *pointer;

void **pointer_local(void)
{
    return &pointer;
}
