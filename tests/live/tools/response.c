/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The response reader of response.h. One response at a time: it must not be used with pipelining.
 */
#include "tests/live/tools/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

void response_begin(struct response *response)
{
    response->status = 0;
    response->close = response->begun = response->endless = false;
    response->have = 0;
    response->left = 0;
}

/* The value of a header, or NULL. `name` includes the colon and the space after it. */
static const char *header(const char *head, const char *name)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, strlen(name)) == 0)
            return line + 2 + strlen(name);
    return NULL;
}

/* Checks whether the head is complete and, if so, parses it. */
static bool parse_head(struct response *response)
{
    char *head = response->head, *end = strstr(head, "\r\n\r\n");
    if (!end)
        return response->have < RESPONSE_HEAD_LIMIT;
    *end = '\0';
    const char *length = header(head, "Content-Length: ");
    const char *connection = header(head, "Connection: ");
    if ((!length && !response->endless) || strncmp(head, "HTTP/1.1 ", 9) != 0)
        return false;
    response->status = (int)strtol(head + 9, NULL, 10);
    if (response->endless)
        return true;
    response->close = connection && strncasecmp(connection, "close", 5) == 0;
    response->left = strtoll(length, NULL, 10) - (response->have - (end + 4 - head));
    return response->left >= 0;
}

static ssize_t read_head(struct response *response, int fd)
{
    size_t room = (size_t)(RESPONSE_HEAD_LIMIT - response->have);
    ssize_t got = recv(fd, response->head + response->have, room, 0);
    if (got <= 0)
        return got;
    response->begun = true;
    response->have += (int)got;
    response->head[response->have] = '\0';
    if (parse_head(response))
        return got;
    errno = EPROTO;
    return -1;
}

static ssize_t read_body(struct response *response, int fd)
{
    static char sink[256 * 1024];
    size_t room = response->left < (int64_t)sizeof(sink) ? (size_t)response->left : sizeof(sink);
    ssize_t got = recv(fd, sink, room, 0);
    if (got > 0)
        response->left -= got;
    return got;
}

enum response_event response_read(struct response *response, int fd)
{
    while (response->status == 0 || response->left > 0) {
        ssize_t got = response->status == 0 ? read_head(response, fd) : read_body(response, fd);
        if (got == 0)
            return RESPONSE_EOF;
        if (got < 0)
            return errno == EAGAIN || errno == EINTR ? RESPONSE_MORE : RESPONSE_FAILED;
    }
    return RESPONSE_DONE;
}
