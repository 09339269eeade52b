/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that serves a request, as httpd knows it. Included by test modules after httpd's
 * headers.
 */
#ifndef CURRENT_THREAD_H
#define CURRENT_THREAD_H

/** @return the running thread; before httpd 2.4.53, the one that the request's connection names.
 * Does not yield. */
static inline apr_thread_t *current_thread(const request_rec *r)
{
#if AP_HAS_THREAD_LOCAL
    (void)r;
    return ap_thread_current();
#else
    return r->connection->current_thread;
#endif
}

#endif /* CURRENT_THREAD_H */
