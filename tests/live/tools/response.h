/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads HTTP/1.1 responses that have a Content-Length from a non-blocking socket and discards the
 * bodies; or only heads, of responses without an end. Used by closed.c, conns.c and load.c,
 * one struct per connection.
 */
#ifndef STM_TESTS_LIVE_RESPONSE_H
#define STM_TESTS_LIVE_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#define RESPONSE_HEAD_LIMIT 1024 /* maximum length of a head, bytes */

struct response {
    int status;   /* 0 until the head is complete */
    bool close;   /* the server said Connection: close */
    bool begun;   /* a byte came */
    bool endless; /* done once its head is complete; to be set after response_begin() */
    int have;     /* bytes in head */
    int64_t left; /* bytes of the body still to come */
    char head[RESPONSE_HEAD_LIMIT + 1];
};

enum response_event {
    RESPONSE_MORE,  /* nothing more to read for now */
    RESPONSE_DONE,  /* the response is complete */
    RESPONSE_EOF,   /* the server closed */
    RESPONSE_FAILED /* see errno: ECONNRESET, EPROTO (a head without length, or too long) ... */
};

/* Before each request. */
void response_begin(struct response *response);
/* Reads what is there. */
enum response_event response_read(struct response *response, int fd);

#endif
