/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steady load that counts every way in which a request can fail, which general load generators
 * do not: a connection closed while idle is no failure, one closed after the request was sent is.
 * Run by tests/live/test_*.py while a server restarts, or loses a virtual processor.
 *
 *   load -p PORT [-c CONNECTIONS] [-u PATH] [-k] [-g GAP_MS]
 *
 * -k keeps connections (else a new one for each request); -g waits between the requests of a
 * connection. A line on the input is answered by one line of counts. At the end of the input it
 * finishes what is in flight, prints the counts a last time, and ends.
 */
#include "tests/live/tools/common.h"
#include "tests/live/tools/response.h"

#include <poll.h>

#define FINISH_US (20 * 1000000LL) /* for what is in flight at the end */

enum state { CONNECTING, ASKED, PAUSING };

struct client {
    int fd; /* -1: none */
    enum state state;
    int64_t due; /* us; in PAUSING: when the next request is sent */
    struct response response;
};

static struct {
    int port, epoll, clients, gap_ms;
    bool keep, ending;
    char request[512];
    struct client *client;
    /* counts */
    long ok;      /* whole responses with status 200 */
    long refused; /* connects that failed */
    long reset;   /* resets while a response was due */
    long empty;   /* closes without a byte of the response */
    long partial; /* closes within the response */
    long bad;     /* whole responses with another status */
    long idle;    /* kept connections that the server closed between requests: no failure */
    long busy;    /* clients with a request in flight or a connection being set up */
} run = {.clients = 1};

static void drop(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

static void pause_client(struct client *client)
{
    client->state = PAUSING;
    client->due = now_us() + run.gap_ms * 1000LL;
    run.busy--;
}

static void fail(struct client *client, long *count)
{
    (*count)++;
    drop(client);
    pause_client(client);
}

static void ask(struct client *client)
{
    response_begin(&client->response);
    client->state = ASKED;
    if (!send_whole(client->fd, run.request, strlen(run.request)))
        fail(client, &run.reset);
}

static void connect_client(struct client *client)
{
    int source = 1 + (int)((client - run.client) % 64);
    client->state = CONNECTING;
    client->fd = connect_watched(run.epoll, run.port, source, client);
    if (client->fd < 0)
        fail(client, &run.refused);
}

static void next(struct client *client)
{
    run.busy++;
    if (client->fd < 0)
        connect_client(client);
    else
        ask(client);
}

static void connected(struct client *client)
{
    if (dial_outcome(client->fd) != 0)
        fail(client, &run.refused);
    else
        ask(client);
}

static void closed_while_idle(struct client *client)
{
    if (!is_closed(client->fd))
        return;
    run.idle++;
    drop(client);
}

static void answered(struct client *client)
{
    if (client->response.status == 200)
        run.ok++;
    else
        run.bad++;
    if (!run.keep || client->response.close)
        drop(client);
    else
        closed_while_idle(client); /* its FIN may have come with the response, in one event */
    pause_client(client);
}

static void readable(struct client *client)
{
    enum response_event event = response_read(&client->response, client->fd);
    if (event == RESPONSE_DONE)
        answered(client);
    else if (event == RESPONSE_EOF)
        fail(client, client->response.begun ? &run.partial : &run.empty);
    else if (event == RESPONSE_FAILED)
        fail(client, errno == EPROTO ? &run.bad : &run.reset);
}

static void handle(void *whose, uint32_t events)
{
    struct client *client = whose;
    if (client->fd < 0)
        return;
    if (client->state == CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected(client);
    if (client->fd < 0 || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) == 0)
        return;
    if (client->state == ASKED)
        readable(client);
    else if (client->state == PAUSING && (events & (EPOLLRDHUP | EPOLLHUP)) != 0)
        closed_while_idle(client);
}

/* Sends the requests whose pause is over. With no gap that is all of them, each turn. */
static void start_due(void)
{
    int64_t now = now_us();
    for (int i = 0; i < run.clients; i++)
        if (run.client[i].state == PAUSING && run.client[i].due <= now)
            next(&run.client[i]);
}

static void report(void)
{
    printf("ok=%ld refused=%ld reset=%ld empty=%ld partial=%ld bad=%ld idle=%ld busy=%ld\n", run.ok,
           run.refused, run.reset, run.empty, run.partial, run.bad, run.idle, run.busy);
    fflush(stdout);
}

/* The input's lines are only counted, so whatever is readable is one or more of them. */
static void listen_to_input(void)
{
    char lines[256];
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, 0) <= 0)
        return;
    ssize_t got = read(STDIN_FILENO, lines, sizeof(lines));
    if (got <= 0)
        run.ending = true;
    for (ssize_t i = 0; i < got; i++)
        if (lines[i] == '\n')
            report();
}

static void turn(void)
{
    take_events(run.epoll, 1, handle);
}

static void options(int argc, char **argv)
{
    const char *path = "/";
    for (int option; (option = getopt(argc, argv, "p:c:u:kg:")) != -1;)
        switch (option) {
        case 'p':
            run.port = number(optarg, 1, 65535);
            break;
        case 'c':
            run.clients = number(optarg, 1, 10000);
            break;
        case 'u':
            path = optarg;
            break;
        case 'k':
            run.keep = true;
            break;
        case 'g':
            run.gap_ms = number(optarg, 0, 60000);
            break;
        default:
            die("usage: load -p PORT [-c CONNECTIONS] [-u PATH] [-k] [-g GAP_MS]");
        }
    write_request(run.request, sizeof(run.request), path, run.keep ? "" : "Connection: close\r\n");
}

int main(int argc, char **argv)
{
    options(argc, argv);
    run.epoll = many_watched();
    run.client = calloc((size_t)run.clients, sizeof(*run.client));
    if (!run.client)
        die("no memory");
    for (int i = 0; i < run.clients; i++)
        run.client[i] = (struct client){.fd = -1, .state = PAUSING};
    while (!run.ending) {
        start_due();
        turn();
        listen_to_input();
    }
    for (int64_t end = now_us() + FINISH_US; run.busy > 0 && now_us() < end;)
        turn();
    report();
    return 0;
}
