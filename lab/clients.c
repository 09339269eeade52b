/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_conn's connections: opens them, watches what the server does with them, and counts. One
 * epoll set, edge-triggered; a connection that the server has closed is closed here at once as
 * well.
 */
#include "lab/dial.h"
#include "lab/make_conn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_AT_ONCE = 256,
    CONNECTING_MOST = 128, /* at once: below the usual listen backlogs, so that no SYN is lost */
    STALL_MS = 2000,       /* without progress for this long: the server is done */
    ANSWER_MS = 10000,     /* the same for answers to requests that were completed late */
    STATUS_MOST = 600,     /* statuses are below it */
    STATUS_END = 12,       /* bytes of "HTTP/1.1 200" */
};

enum state { CONNECTING, OPEN, CLOSED, REFUSED, FAILED };

struct client {
    int fd;
    uint8_t state; /* enum state */
    uint8_t have;  /* bytes of `head` */
    char head[STATUS_END];
};

static struct {
    const struct options *options;
    struct target *target;
    struct client *client;
    int epoll;
    char *request;
    size_t length, first; /* of the request, and of the part of it that is sent at once */
    int opened, count[FAILED + 1];
    int accepted, answered, unanswered; /* unanswered: closed without an answer */
    bool limited;                       /* could not be opened */
    int failure;                        /* errno of the last one that failed */
    int status[STATUS_MOST];            /* answers by their status; 0: not HTTP */
    char told[256];                     /* the last line of counts */
    sigset_t normal_mask;
} all;

static volatile sig_atomic_t ended;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- output --- */

static size_t add(char *line, size_t size, size_t at, const char *what, int count)
{
    int wrote = at < size ? snprintf(line + at, size - at, ", %s %d", what, count) : 0;
    return at + (size_t)(wrote > 0 ? wrote : 0);
}

/* "answered 93: 90 with 200, 3 with 408" */
static void add_answers(char *line, size_t size, size_t at)
{
    const char *before = ": ";
    char what[16] = "not HTTP";
    at = add(line, size, at, "answered", all.answered);
    for (int status = 0; status < STATUS_MOST; status++) {
        if (all.status[status] == 0 || at >= size)
            continue;
        if (status > 0)
            snprintf(what, sizeof(what), "with %d", status);
        at += (size_t)snprintf(line + at, size - at, "%s%d %s", before, all.status[status], what);
        before = ", ";
    }
}

static void counts(char *line, size_t size)
{
    size_t at =
        (size_t)snprintf(line, size, "accepted %d, refused %d", all.accepted, all.count[REFUSED]);
    if (all.count[CONNECTING] > 0)
        at = add(line, size, at, "waiting to be accepted", all.count[CONNECTING]);
    if (all.limited)
        at = add(line, size, at, "not opened", all.options->count - all.opened);
    if (all.count[FAILED] > 0)
        at = add(line, size, at, strerror(all.failure), all.count[FAILED]);
    at = add(line, size, at, "closed", all.count[CLOSED]);
    if (all.unanswered > 0 && all.options->request != REQUEST_NONE)
        at = add(line, size, at, "of these without an answer", all.unanswered);
    at = add(line, size, at, "open", all.count[OPEN]);
    if (all.answered > 0)
        add_answers(line, size, at);
}

void clients_report(const char *when)
{
    counts(all.told, sizeof(all.told));
    printf("%s%s\n", when, all.told);
    fflush(stdout);
}

static void report_changes(void)
{
    char line[sizeof(all.told)], when[16];
    time_t now = time(NULL);
    struct tm local;
    counts(line, sizeof(line));
    if (strcmp(line, all.told) == 0)
        return;
    strftime(when, sizeof(when), "%H:%M:%S  ", localtime_r(&now, &local));
    clients_report(when);
}

/* --- one connection --- */

static void become(struct client *client, enum state state)
{
    all.count[client->state]--;
    all.count[state]++;
    client->state = (uint8_t)state;
    if (state == OPEN)
        return;
    close(client->fd);
    if (state == CLOSED && client->have < STATUS_END)
        all.unanswered++;
}

static void fail(struct client *client, int error)
{
    if (error != ECONNREFUSED)
        all.failure = error;
    become(client, error == ECONNREFUSED ? REFUSED : FAILED);
}

static void transmit(struct client *client, size_t from, size_t length)
{
    if (length == 0)
        return;
    if (send(client->fd, all.request + from, length, MSG_NOSIGNAL) != (ssize_t)length)
        become(client, CLOSED);
}

static void accepted(struct client *client)
{
    int error = dial_outcome(client->fd);
    if (error != 0) {
        fail(client, error);
        return;
    }
    become(client, OPEN);
    all.accepted++;
    transmit(client, 0, all.first);
}

/* The status in "HTTP/1.1 200"; 0 if the text is something else. */
static int status_of(const char *head)
{
    int status = 0;
    if (strncmp(head, "HTTP/1.", 7) != 0)
        return 0;
    for (int i = STATUS_END - 3; i < STATUS_END; i++)
        status = status * 10 + (head[i] - '0');
    return status > 0 && status < STATUS_MOST ? status : 0;
}

/* Keeps the first bytes of an answer and discards the rest. */
static void take(struct client *client, const char *data, size_t size)
{
    size_t room = (size_t)(STATUS_END - client->have);
    if (room == 0)
        return;
    if (size > room)
        size = room;
    memcpy(client->head + client->have, data, size);
    client->have = (uint8_t)(client->have + size);
    if (client->have < STATUS_END)
        return;
    all.answered++;
    all.status[status_of(client->head)]++;
}

static void readable(struct client *client)
{
    static char data[64 * 1024];
    ssize_t got;
    while ((got = recv(client->fd, data, sizeof(data), 0)) > 0)
        take(client, data, (size_t)got);
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        become(client, CLOSED);
}

static void handle(struct client *client, uint32_t events)
{
    if (client->state == CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        accepted(client);
    if (client->state == OPEN && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0)
        readable(client);
}

/* Handles events for up to `timeout` ms; false if there were none. */
static bool turn(int timeout)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_pwait(all.epoll, events, EVENTS_AT_ONCE, timeout, &all.normal_mask);
    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
    return count > 0;
}

/* --- all of them --- */

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

/* Terminating signals are delivered only while turn() waits, not between the check of `ended` and
 * the wait. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, &all.normal_mask);
    sigdelset(&all.normal_mask, SIGINT);
    sigdelset(&all.normal_mask, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void write_request(const struct options *options)
{
    bool six = strchr(options->host, ':');
    int length =
        asprintf(&all.request, "GET %s HTTP/1.1\r\nHost: %s%s%s\r\nUser-Agent: make_conn\r\n\r\n",
                 options->path, six ? "[" : "", options->host, six ? "]" : "");
    if (length < 0)
        give_up(TROUBLE, "no memory");
    all.length = (size_t)length;
    all.first = options->request == REQUEST_WHOLE  ? all.length
                : options->request == REQUEST_PART ? all.length / 2
                                                   : 0;
}

void clients_init(const struct options *options, struct target *target)
{
    all.options = options;
    all.target = target;
    all.client = calloc((size_t)options->count, sizeof(*all.client));
    all.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!all.client || all.epoll < 0)
        give_up(TROUBLE, "%s", all.epoll < 0 ? strerror(errno) : "no memory");
    write_request(options);
    catch_signals();
}

static void add_client(int fd)
{
    struct client *client = &all.client[all.opened];
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    event.data.ptr = client;
    client->fd = fd;
    client->state = CONNECTING;
    if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        give_up(TROUBLE, "epoll_ctl: %s", strerror(errno));
    all.opened++;
    all.count[CONNECTING]++;
}

/* Reports why no more can be opened. */
static void tell_limit(int error)
{
    const char *name = all.target->name;
    int wanted = all.options->count;
    if (error == EMFILE)
        complain(
            "%d of %d opened: the limit on open files, %ld, has been reached. Root can raise it: "
            "ulimit -n %d",
            all.opened, wanted, sysconf(_SC_OPEN_MAX), wanted + 100);
    else if (error == EADDRNOTAVAIL)
        complain(
            "%d of %d opened: no local port is left for %s (net.ipv4.ip_local_port_range gives "
            "%d an address%s)",
            all.opened, wanted, name, all.target->ports,
            all.target->address.ss_family == AF_INET6 ? "; 127.0.0.1 has more addresses" : "");
    else
        complain("%d of %d opened: %s: %s", all.opened, wanted, name, strerror(error));
}

/* False: no more can be opened. */
static bool open_one(void)
{
    int fd = target_connect(all.target);
    if (fd >= 0) {
        add_client(fd);
    } else if (errno == ECONNREFUSED) {
        all.client[all.opened++].state = REFUSED;
        all.count[REFUSED]++;
    } else {
        tell_limit(errno);
        all.limited = true;
        return false;
    }
    return true;
}

/* Connections that have no answer yet but may get one. */
static int due(void)
{
    return all.accepted - all.unanswered - all.answered;
}

static void settle(bool answers, int patience_ms)
{
    while (!ended && (all.count[CONNECTING] > 0 || (answers && due() > 0)))
        if (!turn(patience_ms))
            return;
}

void clients_open(int first)
{
    int most = CONNECTING_MOST;
    add_client(first);
    while (!ended && all.opened < all.options->count && open_one())
        while (!ended && all.count[CONNECTING] >= most)
            if (!turn(STALL_MS))
                most = all.options->count + 1; /* the listen queue is full: let all of them wait */
    settle(all.options->request == REQUEST_WHOLE, STALL_MS);
}

/* Whether Enter was pressed, or the input has ended. Without a terminal, --seconds alone counts. */
static bool input_says_end(void)
{
    char data[256];
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (all.options->seconds > 0 && !isatty(STDIN_FILENO))
        return false;
    return poll(&input, 1, 0) > 0 &&
           (read(STDIN_FILENO, data, sizeof(data)) >= 0 || errno != EINTR);
}

void clients_watch(void)
{
    int64_t now = now_ms(), end = now + all.options->seconds * 1000LL, tell = now;
    while (!ended && !input_says_end() && all.count[OPEN] + all.count[CONNECTING] > 0 &&
           (all.options->seconds == 0 || now < end)) {
        turn(100);
        now = now_ms();
        if (now < tell)
            continue;
        report_changes();
        tell = now + 1000;
    }
    for (int i = 0; i <= all.opened / EVENTS_AT_ONCE; i++)
        turn(0); /* count what happened before the end */
}

void clients_finish(void)
{
    ended = 0; /* Ctrl-C has ended the watch; another one ends this wait */
    for (int i = 0; i < all.opened; i++)
        if (all.client[i].state == OPEN && all.client[i].have == 0)
            transmit(&all.client[i], all.first, all.length - all.first);
    settle(true, ANSWER_MS);
}

bool clients_all_accepted(void)
{
    return all.accepted == all.options->count;
}
