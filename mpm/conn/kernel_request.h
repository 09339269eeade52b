/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on kernel threads (RunOn): the two hooks at which a request leaves the VP, and what the
 * rest of the MPM wants to know of it there.
 */
#ifndef STM_KERNEL_REQUEST_H
#define STM_KERNEL_REQUEST_H

#include "mpm/conn/conn.h"

/** Once per VP. False: no memory. */
bool stm_kernel_open(void);
void stm_kernel_register_hooks(void);

/** On a kernel thread that serves a request: that request; else NULL. */
const request_rec *stm_kernel_request(void);
/** The same: so many bytes have come from the client. Counted when the VP has it back. */
void stm_kernel_received(apr_size_t bytes);

/** The request of an HTTP/2 stream that the running state thread handles; NULL: none. Also in a
 * signal handler on the VP's kernel thread. */
const request_rec *stm_kernel_stream(void);
/** Whether the request's handler has begun, on the VP. */
bool stm_kernel_has_handler(const request_rec *r);

/** Calls a hook of ours that touches what belongs to the VP: there, if a kernel thread calls it. */
int stm_kernel_hook(int (*hook)(request_rec *r), request_rec *r);

#endif
