/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens many connections to a server on loopback and keeps them: idle clients, clients that never
 * send anything, that trickle single bytes, or that wait for a slow answer. Run by
 * tests/live/test_*.py and bench/httpd, which give it commands on its standard input.
 *
 *   conns -p PORT [-m MODE] [-u PATH] [-s SOURCES] [-b AT_ONCE] [-t SECONDS]
 *
 *   keep: one request, its response, then silence    new: not a byte    part: half a request
 *   events: one request, then a response without an end    websocket: the same, with an Upgrade
 *
 * Commands, one a line; each is answered by one line "open=N answered=N closed=N failed=N":
 *   open N   opens N more; answers when each of them is where its mode takes it, or has failed
 *   send N   opens N more and sends their requests; answers without waiting for the responses
 *   again    one more request on every open connection; answers when all are answered or closed
 *   fire     the same, but answers as soon as the requests are sent
 *   path P   what later requests ask for
 *   wait     answers when no response is due
 *   report   answers at once
 * -t bounds the waiting of one command; what is due then stays due. Another command has an answer
 * of its own, "count=N p50=US p99=US max=US":
 *   times    how long the responses with status 200 took that came since the last such command
 * and one "messages=N" (see slowbackend.c):
 *   messages how many messages have come in responses without an end
 * At the end of the input it closes all and ends.
 */
#include "tests/live/tools/common.h"
#include "tests/live/tools/response.h"

enum { MAX_CONNS = 200000 };

enum mode { KEEP, NEW, PART, EVENTS, WEBSOCKET };
enum state { CONNECTING, ASKED, IDLE, CLOSED, FAILED };

struct conn {
    int fd;
    enum state state;
    int64_t sent; /* us: when its last request was */
    struct response response;
};

static struct {
    int port, sources, batch, epoll, limit; /* limit: seconds, 0 for none */
    enum mode mode;
    char request[512];
    struct conn *conns[MAX_CONNS];
    int count, connecting, asked, open, answered, closed, failed;
    int64_t end; /* us: when the command under way is given up */
    long messages;
    int64_t times[MAX_CONNS];
    int timed; /* number of times recorded; further ones are dropped */
} all = {.sources = 1, .batch = MOST_AT_ONCE};

static bool endless(void)
{
    return all.mode == EVENTS || all.mode == WEBSOCKET;
}

static void finish(struct conn *conn, enum state state)
{
    all.connecting -= conn->state == CONNECTING;
    all.asked -= conn->state == ASKED;
    all.open -= conn->state == IDLE || conn->state == ASKED;
    all.closed += state == CLOSED;
    all.failed += state == FAILED;
    conn->state = state;
    close(conn->fd);
}

static void ask(struct conn *conn)
{
    size_t length = strlen(all.request);
    if (all.mode == PART)
        length /= 2;
    if (!send_whole(conn->fd, all.request, length)) {
        finish(conn, FAILED);
        return;
    }
    if (all.mode != PART) {
        conn->sent = now_us();
        response_begin(&conn->response);
        conn->response.endless = endless();
        conn->state = ASKED;
        all.asked++;
    }
}

static void connected(struct conn *conn)
{
    if (dial_outcome(conn->fd) != 0) {
        finish(conn, FAILED);
        return;
    }
    all.connecting--;
    all.open++;
    conn->state = IDLE;
    if (all.mode != NEW)
        ask(conn);
}

static bool answered(const struct conn *conn)
{
    return conn->response.status == (all.mode == WEBSOCKET ? 101 : 200);
}

/* A response without an end whose head has been read. */
static void stream_readable(struct conn *conn)
{
    static char bytes[16384];
    ssize_t got;
    while ((got = recv(conn->fd, bytes, sizeof(bytes), 0)) > 0)
        for (const char *at = bytes; (at = memchr(at, '!', (size_t)(bytes + got - at))); at++)
            all.messages++;
    if (got == 0 || errno != EAGAIN)
        finish(conn, got == 0 ? CLOSED : FAILED);
}

static void readable(struct conn *conn)
{
    bool due = conn->state == ASKED, kept = false;
    if (!due && endless()) {
        stream_readable(conn);
        return;
    }
    if (!due)
        response_begin(&conn->response);
    switch (response_read(&conn->response, conn->fd)) {
    case RESPONSE_MORE:
        break;
    case RESPONSE_DONE:
        all.asked -= due;
        all.answered += answered(conn);
        if (due && answered(conn) && all.timed < MAX_CONNS)
            all.times[all.timed++] = now_us() - conn->sent;
        conn->state = IDLE;
        kept = answered(conn) && !conn->response.close;
        if (!kept)
            finish(conn, !answered(conn) ? FAILED : CLOSED);
        break;
    case RESPONSE_EOF:
        finish(conn, due ? FAILED : CLOSED);
        break;
    case RESPONSE_FAILED:
        finish(conn, FAILED);
        break;
    }
    if (kept)
        readable(conn); /* a FIN may have come with the response, in one event */
}

static void handle(void *whose, uint32_t events)
{
    struct conn *conn = whose;
    if (conn->state == CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected(conn);
    if ((conn->state == ASKED || conn->state == IDLE) &&
        (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0)
        readable(conn);
}

static void turn(int timeout)
{
    take_events(all.epoll, timeout, handle);
}

/* Takes what has come on any connection. */
static void turn_all(void)
{
    for (int i = 0; i < 1 + all.count / EVENTS_AT_ONCE; i++)
        turn(0);
}

static void open_one(void)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn || all.count == MAX_CONNS)
        die("too many connections");
    conn->fd = connect_watched(all.epoll, all.port,
                               all.sources > 1 ? 1 + all.count % all.sources : 0, conn);
    if (conn->fd < 0)
        die("connect: %s", strerror(errno));
    conn->state = CONNECTING;
    all.connecting++;
    all.conns[all.count++] = conn;
}

static bool in_time(void)
{
    return all.limit == 0 || now_us() < all.end;
}

static void settle(bool responses)
{
    while ((all.connecting > 0 || (responses && all.asked > 0)) && in_time())
        turn(1000);
}

static void open_many(int count, bool responses)
{
    while (count-- > 0 && in_time()) {
        open_one();
        while (all.connecting + (responses ? all.asked : 0) >= all.batch && in_time())
            turn(1000);
    }
    settle(responses);
}

static void ask_all(void)
{
    turn(0);
    for (int i = 0; i < all.count; i++)
        if (all.conns[i]->state == IDLE)
            ask(all.conns[i]);
}

static void choose_path(const char *path)
{
    const char *upgrade =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    write_request(all.request, sizeof(all.request), path, all.mode == WEBSOCKET ? upgrade : "");
}

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void report_times(void)
{
    int last = all.timed - 1;
    int64_t *times = all.times;
    qsort(times, (size_t)all.timed, sizeof(*times), by_value);
    if (last < 0)
        times[last = 0] = 0;
    printf("count=%d p50=%lld p99=%lld max=%lld\n", all.timed, (long long)times[last / 2],
           (long long)times[(long)last * 99 / 100], (long long)times[last]);
    fflush(stdout);
    all.timed = 0;
}

static void report(void)
{
    printf("open=%d answered=%d closed=%d failed=%d\n", all.open, all.answered, all.closed,
           all.failed);
    fflush(stdout);
}

static void obey(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    all.end = now_us() + all.limit * 1000000LL;
    if (strcmp(line, "times") == 0) {
        report_times();
        return;
    }
    if (strcmp(line, "messages") == 0) {
        turn_all();
        printf("messages=%ld\n", all.messages);
        fflush(stdout);
        return;
    }
    if (strncmp(line, "open ", 5) == 0)
        open_many(number(line + 5, 1, MAX_CONNS), true);
    else if (strncmp(line, "send ", 5) == 0)
        open_many(number(line + 5, 1, MAX_CONNS), false);
    else if (strncmp(line, "path ", 5) == 0)
        choose_path(line + 5);
    else if (strcmp(line, "fire") == 0)
        ask_all();
    else if (strcmp(line, "again") == 0) {
        ask_all();
        settle(true);
    } else if (strcmp(line, "wait") == 0)
        settle(true);
    else if (strcmp(line, "report") == 0)
        turn_all();
    else
        die("%s: no such command", line);
    report();
}

static enum mode mode(const char *name)
{
    static const char *const names[] = {"keep", "new", "part", "events", "websocket"};
    for (enum mode each = KEEP; each <= WEBSOCKET; each++)
        if (strcmp(name, names[each]) == 0)
            return each;
    die("%s: no such mode", name);
}

static void options(int argc, char **argv)
{
    const char *path = "/";
    for (int option; (option = getopt(argc, argv, "p:m:u:s:b:t:")) != -1;)
        switch (option) {
        case 'p':
            all.port = number(optarg, 1, 65535);
            break;
        case 'm':
            all.mode = mode(optarg);
            break;
        case 'u':
            path = optarg;
            break;
        case 's':
            all.sources = number(optarg, 1, 250);
            break;
        case 'b':
            all.batch = number(optarg, 1, MOST_AT_ONCE);
            break;
        case 't':
            all.limit = number(optarg, 0, 3600);
            break;
        default:
            die("usage: conns -p PORT [-m keep|new|part|events|websocket] [-u PATH] [-s SOURCES]"
                " [-b AT_ONCE] [-t SECONDS]");
        }
    choose_path(path);
}

int main(int argc, char **argv)
{
    options(argc, argv);
    all.epoll = many_watched();
    obey_lines(obey);
    return 0;
}
