/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a reader in another process that has no debugging information finds libst's description of
 * its structures, a state thread's connection, and the kernel thread that works for it (stmstat
 * dump). Needs the C library only. The
 * module exports one as stm_debug_description; mpm/diagnosis/describe.c fills it in.
 */
#ifndef STM_DESCRIPTION_H
#define STM_DESCRIPTION_H

#include <stdint.h>

#define STM_DESCRIPTION_SYMBOL "stm_debug_description"

/* Changes whenever a member is added, removed or means something else. */
enum { STM_DESCRIPTION_VERSION = 1 };
#define STM_DESCRIPTION_MAGIC UINT32_C(0x53544d44)

/* Offsets and sizes are in bytes. */
typedef struct stm_description {
    uint32_t magic, version;
    uint64_t threads;     /* address of the struct st__layout */
    uint64_t worker_main; /* what state threads for connections run; their argument is the worker */
    uint32_t worker_conn, worker_kernel;
    uint32_t conn_size, conn_client, conn_accepted, conn_request;
    uint32_t request_line, request_time; /* in httpd's request_rec */
} stm_description_t;

/* Lies on the stack of a kernel thread that works for a state thread, while it does. */
typedef struct stm_works_for {
    uint64_t magic;
    uint64_t self;   /* its own address */
    uint64_t thread; /* the state thread's */
} stm_works_for_t;
#define STM_WORKS_FOR_MAGIC UINT64_C(0x3a726f66736b726f)

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
