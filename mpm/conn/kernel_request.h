/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on kernel threads (RunOn): the two hooks at which a request leaves the VP, and what the
 * rest of the MPM needs to know about it there.
 */
#ifndef STM_KERNEL_REQUEST_H
#define STM_KERNEL_REQUEST_H

#include "mpm/conn/conn.h"
#include "stiol/stiol.h"

/** To be called once per VP. False: no memory. */
bool stm_kernel_open(void);
/** Registers the two hooks. Called by module.c. */
void stm_kernel_register_hooks(void);

/** On a kernel thread that serves a request, that request; elsewhere NULL. */
const request_rec *stm_kernel_request(void);
/** On such a thread: `bytes` have arrived from the client. They are counted when the VP gets the
 * request back. */
void stm_kernel_received(apr_size_t bytes);

/** The request of the HTTP/2 stream that the running state thread handles; NULL if none. May be
 * called in a signal handler on the VP's kernel thread. */
const request_rec *stm_kernel_stream(void);
/** Whether the request's handler has begun on the VP. */
bool stm_kernel_has_handler(const request_rec *r);

/** For stm_kernel_hook(): calls the hook on the VP, while the calling kernel thread waits. */
int stm_kernel_hook_on_vp(int (*hook)(request_rec *r), request_rec *r);
/** Calls one of our hooks that touches the VP's data; from a kernel thread, has it run on the
 * VP. */
static inline int stm_kernel_hook(int (*hook)(request_rec *r), request_rec *r)
{
    return stiol_is_carried() ? stm_kernel_hook_on_vp(hook, r) : hook(r);
}

#endif
