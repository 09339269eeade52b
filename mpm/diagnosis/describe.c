/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Describes libst's structures and connections to readers in another process (stmstat dump). The
 * symbol is exported, so that it stays in a stripped module. Nothing in the module reads it.
 */
#include "include/st_description.h"
#include "include/stm_description.h"

#include "mpm/accept/accept.h"

_Static_assert(offsetof(stm_thread_t, worker) == 0, "a thread's argument is its worker");
_Static_assert(sizeof(bool) == 1 && sizeof(st_utime_t) == 8 && sizeof(apr_time_t) == 8,
               "readers rely on these sizes");

extern const stm_description_t stm_debug_description;
__attribute__((visibility("default"), used)) const stm_description_t stm_debug_description = {
    .magic = STM_DESCRIPTION_MAGIC,
    .version = STM_DESCRIPTION_VERSION,
    .threads = (uintptr_t)&st__description,
    .worker_main = (uintptr_t)stm_thread_main,
    .worker_conn = offsetof(stm_worker_t, conn),
    .worker_kernel = offsetof(stm_worker_t, kernel),
    .conn_size = sizeof(stm_conn_t),
    .conn_client = offsetof(stm_conn_t, client),
    .conn_accepted = offsetof(stm_conn_t, accepted),
    .conn_request = offsetof(stm_conn_t, request),
    .request_line = offsetof(request_rec, the_request),
    .request_time = offsetof(request_rec, request_time),
};
