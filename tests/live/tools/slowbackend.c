/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 backend that answers each GET after a delay, for any number of connections at once:
 * the slow peer of the proxy tests and of bench/httpd. It prints its port when it listens, and
 * ends when its standard input does.
 *
 *   slowbackend [-p PORT] [-d DELAY_MS]        GET /delay/MS chooses another delay
 */
#include "common.h"

#include <poll.h>
#include <stdbool.h>

#define WHEEL_SLOTS   65536 /* one a millisecond: no delay may be longer */
#define REQUEST_LIMIT 4096

struct peer {
    int fd;
    int have;          /* bytes of a request in buffer */
    struct peer *next; /* in a slot of the wheel */
    bool due;          /* in the wheel: an answer is due */
    bool gone;         /* the peer closed while its answer was due */
    char buffer[REQUEST_LIMIT + 1];
};

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 5\r\n\r\nslow\n";

static struct peer *wheel[WHEEL_SLOTS];
static int64_t wheel_now; /* ms: slots up to this one are empty */
static int epoll_fd, default_delay, listener;

static int64_t now_ms(void)
{
    return now_us() / 1000;
}

static void drop(struct peer *peer)
{
    if (peer->due) {
        peer->gone = true; /* the wheel still has it */
        return;
    }
    close(peer->fd);
    free(peer);
}

static void promise(struct peer *peer, int delay)
{
    int64_t slot = (wheel_now + 1 + delay) % WHEEL_SLOTS;
    peer->due = true;
    peer->next = wheel[slot];
    wheel[slot] = peer;
}

/* If a whole request is in the buffer: takes it out and promises its answer. */
static void take_request(struct peer *peer)
{
    char *end = strstr(peer->buffer, "\r\n\r\n");
    if (peer->due || end == NULL)
        return;
    long delay = default_delay;
    if (strncmp(peer->buffer, "GET /delay/", 11) == 0)
        delay = strtol(peer->buffer + 11, NULL, 10);
    peer->have -= (int)(end + 4 - peer->buffer);
    memmove(peer->buffer, end + 4, (size_t)peer->have + 1);
    promise(peer, delay < 0 || delay > WHEEL_SLOTS - 2 ? 0 : (int)delay);
}

static void readable(struct peer *peer)
{
    for (;;) {
        size_t room = (size_t)(REQUEST_LIMIT - peer->have);
        ssize_t got = recv(peer->fd, peer->buffer + peer->have, room, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            drop(peer);
            return;
        }
        peer->have += (int)got;
        peer->buffer[peer->have] = '\0';
        take_request(peer);
    }
}

static void keep_promise(struct peer *peer)
{
    peer->due = false;
    if (peer->gone || send(peer->fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0)
        drop(peer);
    else
        take_request(peer);
}

static void turn_wheel(void)
{
    int64_t now = now_ms();
    while (wheel_now < now) {
        int64_t slot = ++wheel_now % WHEEL_SLOTS;
        struct peer *peer = wheel[slot], *next;
        wheel[slot] = NULL;
        for (; peer != NULL; peer = next) {
            next = peer->next;
            keep_promise(peer);
        }
    }
}

static void take_connections(void)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct peer *peer = calloc(1, sizeof *peer);
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
        if (peer == NULL)
            die("no memory");
        peer->fd = fd;
        event.data.ptr = peer;
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void listen_on(int port)
{
    struct sockaddr_in address = loopback(0, port);
    struct epoll_event event = {.events = EPOLLIN};
    socklen_t size = sizeof address;
    int one = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 4096) != 0)
        die("port %d: %s", port, strerror(errno));
    getsockname(listener, (struct sockaddr *)&address, &size);
    event.data.ptr = NULL;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* No command is known: readable means that whoever started us has gone. */
static bool input_ended(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int port = 0;
    for (int option; (option = getopt(argc, argv, "p:d:")) != -1;)
        if (option == 'p')
            port = number(optarg, 0, 65535);
        else if (option == 'd')
            default_delay = number(optarg, 0, WHEEL_SLOTS - 2);
        else
            die("usage: slowbackend [-p PORT] [-d DELAY_MS]");
    raise_fd_limit();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    wheel_now = now_ms();
    listen_on(port);
    while (!input_ended()) {
        int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, 1);
        turn_wheel();
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr == NULL)
                take_connections();
            else
                readable(events[i].data.ptr);
    }
    return 0;
}
