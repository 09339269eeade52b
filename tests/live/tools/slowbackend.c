/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 backend that answers each GET after a delay, for any number of connections at once:
 * the slow peer of the proxy tests and of bench/httpd, and with a delay of 0 the fast one. It
 * prints its port when it listens, for each line on its standard input how many requests it holds
 * unanswered and how many streams it has, and ends when the input does.
 *
 *   slowbackend [-a ADDRESS] [-p PORT] [-d DELAY_MS]     GET /delay/MS chooses another delay
 *
 * GET /events begins a stream of server-sent events, and a request with an Upgrade a WebSocket. A
 * line "tell MS" sends one message on each of them, evenly spread over MS milliseconds. Each
 * message has one exclamation mark in it. What comes on a WebSocket is not read as frames; it is
 * dropped.
 */
#include "tests/live/tools/common.h"

#include <arpa/inet.h>
#include <stdbool.h>

enum {
    WHEEL_SLOTS = 65536, /* one a millisecond: no delay may be longer */
    REQUEST_LIMIT = 4096,
};

struct peer {
    int fd;
    int have;                   /* bytes of a request in buffer */
    struct peer *next;          /* in a slot of the wheel */
    bool due;                   /* in the wheel: an answer or a message is due */
    bool gone;                  /* the peer closed while that was due */
    const char *message;        /* of a stream; NULL: it is none */
    struct peer *newer, *older; /* streams */
    char buffer[REQUEST_LIMIT + 1];
};

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 5\r\n\r\nslow\n";
static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\n\r\n";
static const char frame[] = "\x82\x1fgood morning, dear subscribers!";
static const char event_stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                   "Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char event_chunk[] = "27\r\ndata: good morning, dear subscribers!\n\n\r\n";

static struct peer *wheel[WHEEL_SLOTS];
static int64_t wheel_now; /* ms: slots up to this one are empty */
static struct peer *streams;
static int epoll_fd, default_delay, listener, held, stream_count;
static bool ended; /* standard input has */

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
    if (peer->message) {
        *(peer->newer ? &peer->newer->older : &streams) = peer->older;
        if (peer->older)
            peer->older->newer = peer->newer;
        stream_count--;
    }
    close(peer->fd);
    free(peer);
}

static void promise(struct peer *peer, int delay)
{
    int64_t slot = (wheel_now + 1 + delay) % WHEEL_SLOTS;
    peer->due = true;
    held += !peer->message;
    peer->next = wheel[slot];
    wheel[slot] = peer;
}

static bool say(const struct peer *peer, const char *text)
{
    return send(peer->fd, text, strlen(text), MSG_NOSIGNAL) > 0;
}

static void begin_stream(struct peer *peer, const char *head, const char *message)
{
    peer->message = message;
    peer->older = streams;
    if (streams)
        streams->newer = peer;
    streams = peer;
    stream_count++;
    (void)say(peer, head); /* a peer that is gone will be readable */
}

/* Takes a whole request out of the buffer. Its delay in ms; -1 if there is none, or none to be
 * answered: it has become a stream. */
static long take_request(struct peer *peer)
{
    char *end = strstr(peer->buffer, "\r\n\r\n");
    if (!end)
        return -1;
    long delay = default_delay;
    if (strcasestr(peer->buffer, "\r\nUpgrade: websocket\r\n")) {
        begin_stream(peer, upgraded, frame);
        return -1;
    }
    if (strncmp(peer->buffer, "GET /events", 11) == 0) {
        begin_stream(peer, event_stream, event_chunk);
        return -1;
    }
    if (strncmp(peer->buffer, "GET /delay/", 11) == 0)
        delay = strtol(peer->buffer + 11, NULL, 10);
    peer->have -= (int)(end + 4 - peer->buffer);
    memmove(peer->buffer, end + 4, (size_t)peer->have + 1);
    return delay < 0 || delay > WHEEL_SLOTS - 2 ? 0 : delay;
}

/* Answers what is due now, up to the first request that is due later. False: the peer is gone. */
static bool serve(struct peer *peer)
{
    while (!peer->due) {
        long delay = take_request(peer);
        if (delay < 0)
            return true;
        if (delay > 0) {
            promise(peer, (int)delay);
        } else if (!say(peer, answer)) {
            drop(peer);
            return false;
        }
    }
    return true;
}

static void readable(struct peer *peer)
{
    for (;;) {
        size_t room = (size_t)(REQUEST_LIMIT - (peer->message ? 0 : peer->have));
        char *at = peer->buffer + REQUEST_LIMIT - room;
        ssize_t got = recv(peer->fd, at, room, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            drop(peer);
            return;
        }
        if (peer->message)
            continue;
        peer->have += (int)got;
        peer->buffer[peer->have] = '\0';
        if (!serve(peer))
            return;
    }
}

static void keep_promise(struct peer *peer)
{
    peer->due = false;
    held -= !peer->message;
    if (peer->gone || !say(peer, peer->message ? peer->message : answer))
        drop(peer);
    else if (!peer->message)
        serve(peer);
}

static void turn_wheel(void)
{
    int64_t now = now_ms();
    while (wheel_now < now) {
        int64_t slot = ++wheel_now % WHEEL_SLOTS;
        struct peer *peer = wheel[slot], *next;
        wheel[slot] = NULL;
        for (; peer; peer = next) {
            next = peer->next;
            keep_promise(peer);
        }
    }
}

static void take_connections(void)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct peer *peer = calloc(1, sizeof(*peer));
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
        if (!peer)
            die("no memory");
        peer->fd = fd;
        event.data.ptr = peer;
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

/* text: an address instead of 127.0.0.1, or NULL */
static void listen_on(const char *text, int port)
{
    struct sockaddr_in address = loopback(0, port);
    struct epoll_event event = {.events = EPOLLIN};
    socklen_t size = sizeof(address);
    int one = 1;
    if (text && inet_pton(AF_INET, text, &address.sin_addr) != 1)
        die("%s is not an IPv4 address", text);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 4096) != 0)
        die("port %d: %s", port, strerror(errno));
    getsockname(listener, (struct sockaddr *)&address, &size);
    event.data.ptr = NULL;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* One message on each stream. One that has not had its last yet gets no other. */
static void tell(int within)
{
    int number = 0;
    for (struct peer *peer = streams; peer; peer = peer->older)
        if (!peer->due)
            promise(peer, (int)((int64_t)within * number++ / stream_count));
}

static void obey(const char *line)
{
    if (strncmp(line, "tell ", 5) == 0)
        tell(number(line + 5, 0, WHEEL_SLOTS - 2));
    printf("held=%d streams=%d\n", held, stream_count);
}

static void take_lines(void)
{
    char lines[256];
    ssize_t got = read(STDIN_FILENO, lines, sizeof(lines) - 1);
    ended = got <= 0;
    lines[ended ? 0 : got] = '\0';
    for (char *line = lines, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        obey(line);
    }
    fflush(stdout);
}

/* Input that is a file or /dev/null cannot be watched, and is read at once: it ends. */
static void watch_input(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &ended};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        ended = true;
}

static void handle(void *what, uint32_t events)
{
    (void)events;
    if (!what)
        take_connections();
    else if (what == &ended)
        take_lines();
    else
        readable(what);
}

int main(int argc, char **argv)
{
    const char *address = NULL;
    int port = 0;
    for (int option; (option = getopt(argc, argv, "a:p:d:")) != -1;)
        if (option == 'a')
            address = optarg;
        else if (option == 'p')
            port = number(optarg, 0, 65535);
        else if (option == 'd')
            default_delay = number(optarg, 0, WHEEL_SLOTS - 2);
        else
            die("usage: slowbackend [-a ADDRESS] [-p PORT] [-d DELAY_MS]");
    epoll_fd = many_watched();
    wheel_now = now_ms();
    listen_on(address, port);
    watch_input();
    while (!ended) {
        take_events(epoll_fd, 1, handle);
        turn_wheel(); /* may free peers, so not before their events */
    }
    return 0;
}
