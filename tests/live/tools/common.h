/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the live tests' C clients share: command-line numbers, loopback sockets, requests, events,
 * fatal errors. Used by closed.c, conns.c, load.c and slowbackend.c.
 */
#ifndef STM_TESTS_LIVE_COMMON_H
#define STM_TESTS_LIVE_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lab/dial.h"

#define EVENTS_AT_ONCE 256
#define MOST_AT_ONCE   500 /* handshakes; below the usual listen backlogs: no SYN may be lost */

static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

/* The number `text`, which must lie in [low, high]. */
static inline int number(const char *text, int low, int high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < low || value > high)
        die("%s: a number from %d to %d is wanted", text, low, high);
    return (int)value;
}

/* The `index`th address of 127.0.0.1, .2, ...; each gives a range of client ports of its own. */
static inline struct sockaddr_in loopback(int index, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)index);
    return address;
}

/* Starts a connection to 127.0.0.1:port from the `source`th loopback address (0: any): see
 * dial(). */
static inline int start_connect(int port, int source)
{
    struct sockaddr_in to = loopback(0, port);
    return dial((const struct sockaddr *)&to, sizeof(to), source);
}

/* The same, and `epoll` will tell of its events with `whose`, edge-triggered. Returns -1 with errno
 * if the connection cannot be started. */
static inline int connect_watched(int epoll, int port, int source, void *whose)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = whose};
    int fd = start_connect(port, source);
    if (fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
    return fd;
}

/* Waits up to `timeout` ms for events, and has each of a batch handled. */
static inline void take_events(int epoll, int timeout, void (*handle)(void *whose, uint32_t events))
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(epoll, events, EVENTS_AT_ONCE, timeout);
    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
}

/* The head of a request; headers: further lines. */
static inline void write_request(char *to, size_t size, const char *path, const char *headers)
{
    snprintf(to, size, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers);
}

static inline bool send_whole(int fd, const char *data, size_t length)
{
    return send(fd, data, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* Whether the other end of a connection from which nothing is due has closed it. */
static inline bool is_closed(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

/* An epoll for as many connections as this process may have. */
static inline int many_watched(void)
{
    if (raise_file_limit() != 0)
        die("raising the limit of open files: %s", strerror(errno));
    return epoll_create1(EPOLL_CLOEXEC);
}

/* Until the end of the standard input. */
static inline void obey_lines(void (*obey)(char *line))
{
    char line[128];
    while (fgets(line, sizeof(line), stdin))
        obey(line);
}

/* Microseconds on a monotonic clock. */
static inline int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif
