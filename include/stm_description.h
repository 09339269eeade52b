/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells a reader in another process without debugging information (stmstat dump) where to find
 * libst's description of its structures, a state thread's connection, and the kernel thread that
 * works for it. Needs only the C library. The module exports one as stm_debug_description, which
 * mpm/diagnosis/describe.c fills in.
 */
#ifndef STM_DESCRIPTION_H
#define STM_DESCRIPTION_H

#include <stdint.h>

#define STM_DESCRIPTION_SYMBOL "stm_debug_description"

/* To be incremented whenever a member is added, removed or changes its meaning. */
enum { STM_DESCRIPTION_VERSION = 1 };
#define STM_DESCRIPTION_MAGIC UINT32_C(0x53544d44)

/* Offsets and sizes are in bytes. */
typedef struct stm_description {
    uint32_t magic, version;
    uint64_t threads;     /* address of the struct st__layout */
    uint64_t worker_main; /* start function of connections' state threads; takes the worker */
    uint32_t worker_conn, worker_kernel;
    uint32_t conn_size, conn_client, conn_accepted, conn_request;
    uint32_t request_line, request_time; /* in httpd's request_rec */
} stm_description_t;

/* A mark on the stack of a kernel thread for as long as it works for a state thread. */
typedef struct stm_works_for {
    uint64_t magic;
    uint64_t self;   /* its own address */
    uint64_t thread; /* the state thread's */
} stm_works_for_t;
#define STM_WORKS_FOR_MAGIC UINT64_C(0x3a726f66736b726f)

/* Called on that kernel thread when it starts to work for the state thread, and when it is done. */
static inline void stm_works_for_begin(volatile stm_works_for_t *mark, const void *thread)
{
    mark->thread = (uintptr_t)thread;
    mark->self = (uintptr_t)mark;
    mark->magic = STM_WORKS_FOR_MAGIC;
}

static inline void stm_works_for_end(volatile stm_works_for_t *mark)
{
    mark->magic = 0;
}

#endif
