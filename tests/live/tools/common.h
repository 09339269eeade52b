/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the live tests' C clients share: command-line numbers, loopback sockets, fatal errors.
 * Used by conns.c, load.c and slowbackend.c.
 */
#ifndef STM_TESTS_LIVE_COMMON_H
#define STM_TESTS_LIVE_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
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

/* Microseconds on a monotonic clock. */
static inline int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif
