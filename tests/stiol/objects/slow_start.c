/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading it takes until the test says so: writes a byte to the descriptor that SLOW_START_SAYS
 * names, and waits for one from SLOW_START_HEARS.
 */
#include <stdlib.h>
#include <unistd.h>

static void __attribute__((constructor)) start(void)
{
    char byte = 0;

    if (write(atoi(getenv("SLOW_START_SAYS")), &byte, 1) == 1)
        (void)!read(atoi(getenv("SLOW_START_HEARS")), &byte, 1);
}
