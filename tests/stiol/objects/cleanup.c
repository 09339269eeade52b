/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C code with cleanup handlers, one function's inside another's.
 */
#include <pthread.h>

void cleanup_around(void (*body)(void *), void (*handler)(void *), void *arg);

static __attribute__((noinline)) void inner(void (*body)(void *), void (*handler)(void *),
                                            void *arg)
{
    pthread_cleanup_push(handler, (char *)arg + 1);
    body(arg);
    pthread_cleanup_pop(0);
}

void cleanup_around(void (*body)(void *), void (*handler)(void *), void *arg)
{
    pthread_cleanup_push(handler, arg);
    inner(body, handler, arg);
    pthread_cleanup_pop(1);
}
