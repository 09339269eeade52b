/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where make_conn connects to, and from where. It connects to loopback addresses only, unless told
 * otherwise. One source address has some 28,000 ports for one server port; if more are needed,
 * connections to 127.x.x.x use 127.0.0.2, 127.0.0.3 and so on as well.
 */
#include "lab/dial.h"
#include "lab/make_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_ANSWER_MS = 5000, /* how long one address may take to accept the first connection */
    MOST_SOURCES = 250,     /* 127.0.0.1 to 127.0.0.250 */
};

/* --- addresses --- */

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)address;
        return ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *six =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(six) ||
               (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET);
    }
    return false;
}

static void set_target(struct target *target, const struct addrinfo *info)
{
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    memcpy(&target->address, info->ai_addr, info->ai_addrlen);
    target->size = info->ai_addrlen;
    getnameinfo(info->ai_addr, info->ai_addrlen, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(target->name, sizeof(target->name), "%s port %s", host, port);
}

static struct addrinfo *resolve(const struct options *options)
{
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int error = getaddrinfo(options->host, options->port, &hints, &list);
    if (error != 0)
        give_up(TROUBLE, "%s port %s: %s", options->host, options->port,
                error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    return list;
}

/* The number of local ports for connections from one address to one port. */
static int local_ports(void)
{
    char line[64], *second;
    long low = 32768, high = 60999; /* Linux's own default */
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file && fgets(line, sizeof(line), file)) {
        low = strtol(line, &second, 10);
        high = strtol(second, NULL, 10);
    }
    if (file)
        fclose(file);
    return low <= high && high <= UINT16_MAX ? (int)(high - low + 1) : 1;
}

/* --- connecting --- */

/* Only for 127.x.x.x are there more source addresses. */
static bool next_source(struct target *target)
{
    if (target->address.ss_family != AF_INET || target->source + 1 >= MOST_SOURCES ||
        !is_loopback((struct sockaddr *)&target->address))
        return false;
    target->source++;
    target->from_source = 0;
    return true;
}

int target_connect(struct target *target)
{
    int fd;
    /* The kernel's search for a free port becomes slow when few are left: leave half of them. */
    if (target->from_source >= target->ports / 2)
        next_source(target);
    do {
        fd = dial((const struct sockaddr *)&target->address, target->size, target->source);
    } while (fd < 0 && errno == EADDRNOTAVAIL && next_source(target));
    if (fd >= 0)
        target->from_source++;
    return fd;
}

/* Waits until a connect has succeeded: 0, or -1 with errno. */
static int await_connect(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int ready = poll(&wait, 1, FIRST_ANSWER_MS), error;
    if (ready < 0)
        return -1;
    error = ready == 0 ? ETIMEDOUT : dial_outcome(fd);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* Returns the connection, or -1 with errno. */
static int try_address(struct target *target)
{
    int fd = target_connect(target);
    if (fd >= 0 && await_connect(fd) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    return fd;
}

/* A refusal is not worth reporting if the next address accepts: "localhost" is ::1 and
 * 127.0.0.1. */
static int try_all(struct target *target, const struct options *options, struct addrinfo *list)
{
    char reasons[4096] = "";
    size_t at = 0;
    int tried = 0;
    for (struct addrinfo *info = list; info; info = info->ai_next) {
        bool may = options->allow_remote || is_loopback(info->ai_addr);
        set_target(target, info);
        target->from_source = 0;
        int fd = may ? try_address(target) : -1;
        if (fd >= 0)
            return fd;
        tried += may;
        if (at < sizeof(reasons))
            at += (size_t)snprintf(reasons + at, sizeof(reasons) - at, "%s%s: %s", at ? "; " : "",
                                   target->name, may ? strerror(errno) : "not a loopback address");
    }
    if (tried > 0)
        give_up(SOME_NOT, "%s", reasons);
    give_up(TROUBLE,
            "%s. Connections go to this machine only; --allow-remote lifts that restriction, for "
            "servers whose owner agrees",
            reasons);
}

int target_find(struct target *target, const struct options *options)
{
    struct addrinfo *list = resolve(options);
    *target = (struct target){.ports = local_ports()};
    int fd = try_all(target, options, list);
    freeaddrinfo(list);
    return fd;
}
