/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-local variables as objects have them: initialized, zero, and more aligned than usual. Each
 * object of tests/stiol that has them gives their address on the calling thread.
 */
#ifndef LOCALS_H
#define LOCALS_H

typedef struct locals {
    long number;   /* begins as the object's own */
    char text[48]; /* begins as "image" */
    long zeros[12];
    const char *pointer; /* begins as that of "relocated" */
} locals_t;

typedef locals_t *where_t(void);

void **pointer_local(void);
extern where_t linked_locals, static_locals; /* GNU2 or default model; initial-exec */

#endif
