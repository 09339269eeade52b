/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A closed system: each of many connections always has one request outstanding. It records how long
 * each answer took and how many each connection got, so that percentiles beyond 99 % and fairness
 * can be told. Run by tests/live/test_fairness.py and bench/httpd, which give it commands on its
 * standard input.
 *
 *   closed -p PORT [-u PATH] [-b AT_ONCE] [-w SECONDS]
 *
 *   open N     opens N more connections and makes one request on each; "open=N failed=N"
 *   run MS N   for MS milliseconds, or until one of the connections has got N answers (0: any
 *              number), every connection's next request follows its answer; "open=N answered=N
 *              us=N failed=N". What is outstanding then is waited for, but is not counted as
 *              answered; without an answer in SECONDS, 10, it has failed
 *   fresh N    opens N more while the others run on, until each of these has its first answer;
 *              "open=N answered=N most=N failed=N": the most answers that an older one got
 *   times      how often a request of the last run took so many us: "US:N US:N ...", in ascending
 *              order; times are rounded to three digits
 *   each       the answers that each connection got in the last run: "ADDRESS:PORT=N ..."
 *
 * A connection that the server closes is opened again; that is a failure if a request was
 * outstanding, or if the connection could not be made. At the end of the input it ends.
 */
#include "tests/live/tools/common.h"
#include "tests/live/tools/response.h"

enum {
    MAX_CLIENTS = 20000,
    DIGITS = 1000, /* times have three */
    DECADES = 6,   /* times from DIGITS us on: up to 10^9 us */
    CLASSES = DIGITS + DECADES * (DIGITS - DIGITS / 10),
};

enum state { NONE, CONNECTING, ASKED, IDLE };

struct client {
    int fd;
    enum state state;
    bool fresh;   /* has not had an answer since `fresh` opened it */
    long count;   /* answers in this run */
    int64_t sent; /* us: when its last request was */
    struct response response;
};

static struct {
    int port, epoll, batch, count, connecting, asked, open, waiting; /* waiting: fresh ones */
    bool running;
    int64_t patience; /* us */
    char request[512];
    struct client *clients[MAX_CLIENTS];
    long answered, failed, most; /* in this run; most: of one connection that is not fresh */
    long times[CLASSES];
} all = {.batch = MOST_AT_ONCE, .patience = 10000000};

/* --- times --- */

static int class_of(int64_t us)
{
    int64_t unit = 1;
    int decade = 0;

    while (us / unit >= DIGITS && decade < DECADES) {
        unit *= 10;
        decade++;
    }
    if (us / unit >= DIGITS)
        return CLASSES - 1;
    return decade == 0
               ? (int)us
               : DIGITS + (decade - 1) * (DIGITS - DIGITS / 10) + (int)(us / unit - DIGITS / 10);
}

/* The smallest time of a class. */
static int64_t time_of(int class)
{
    int64_t unit = 10;

    if (class < DIGITS)
        return class;
    for (class -= DIGITS; class >= DIGITS - DIGITS / 10; class -= DIGITS - DIGITS / 10)
        unit *= 10;
    return (class + DIGITS / 10) * unit;
}

/* --- a connection --- */

static void begin(struct client *client)
{
    client->fd = connect_watched(all.epoll, all.port, 0, client);
    if (client->fd < 0)
        die("connect: %s", strerror(errno));
    client->state = CONNECTING;
    all.connecting++;
}

static void end(struct client *client, bool failed)
{
    all.connecting -= client->state == CONNECTING;
    all.asked -= client->state == ASKED;
    all.open -= client->state == ASKED || client->state == IDLE;
    all.failed += failed;
    client->state = NONE;
    close(client->fd);
    if (all.running)
        begin(client);
}

static void ask(struct client *client)
{
    client->sent = now_us();
    response_begin(&client->response);
    client->state = ASKED;
    all.asked++;
    if (!send_whole(client->fd, all.request, strlen(all.request)))
        end(client, true);
}

static void connected(struct client *client)
{
    if (dial_outcome(client->fd) != 0) {
        end(client, true);
        return;
    }
    all.connecting--;
    all.open++;
    ask(client);
}

static void answered(struct client *client)
{
    all.asked--;
    client->state = IDLE;
    all.times[class_of(now_us() - client->sent)]++;
    all.failed += client->response.status != 200;
    if (all.running) {
        all.answered++;
        client->count++;
        all.waiting -= client->fresh;
        if (!client->fresh && client->count > all.most)
            all.most = client->count;
        client->fresh = false;
    }
    if (client->response.close)
        end(client, false);
    else if (all.running)
        ask(client);
}

static void readable(struct client *client)
{
    switch (response_read(&client->response, client->fd)) {
    case RESPONSE_MORE:
        break;
    case RESPONSE_DONE:
        answered(client);
        break;
    case RESPONSE_EOF:
    case RESPONSE_FAILED:
        end(client, true);
        break;
    }
}

static void handle(void *whose, uint32_t events)
{
    struct client *client = whose;

    if (client->state == CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected(client);
    else if (client->state == ASKED && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0)
        readable(client);
    else if (client->state == IDLE && (events & (EPOLLRDHUP | EPOLLHUP)) != 0 &&
             is_closed(client->fd))
        end(client, false);
}

static void turn(void)
{
    take_events(all.epoll, 100, handle);
}

/* --- commands --- */

static void add(bool fresh)
{
    struct client *client = calloc(1, sizeof(*client));

    if (!client || all.count == MAX_CLIENTS)
        die("too many connections");
    client->fresh = fresh;
    all.clients[all.count++] = client;
    begin(client);
}

/* What has no answer then has failed. */
static void settle(void)
{
    int64_t end_at = now_us() + all.patience;

    while (all.connecting + all.asked > 0 && now_us() < end_at)
        turn();
    for (int i = 0; i < all.count; i++)
        if (all.clients[i]->state == CONNECTING || all.clients[i]->state == ASKED)
            end(all.clients[i], true);
}

static void open_many(int count)
{
    for (int64_t end_at = now_us() + all.patience; count > 0 && now_us() < end_at; turn())
        for (; count > 0 && all.connecting + all.asked < all.batch; count--)
            add(false);
    settle();
    printf("open=%d failed=%ld\n", all.open, all.failed + count);
}

static void start(void)
{
    memset(all.times, 0, sizeof(all.times));
    all.answered = all.failed = all.most = 0;
    all.running = true;
    for (int i = 0; i < all.count; i++) {
        all.clients[i]->count = 0;
        if (all.clients[i]->state == IDLE)
            ask(all.clients[i]);
        else if (all.clients[i]->state == NONE)
            begin(all.clients[i]);
    }
}

static void run(int ms, int most)
{
    int64_t start_at = now_us(), took;

    start();
    do {
        turn();
        took = now_us() - start_at;
    } while (took < ms * 1000LL && (most == 0 || all.most < most));
    all.running = false;
    settle();
    printf("open=%d answered=%ld us=%lld failed=%ld\n", all.open, all.answered, (long long)took,
           all.failed);
}

static void fresh(int count)
{
    int64_t end_at = now_us() + all.patience;

    start();
    while (all.answered < all.count && now_us() < end_at) /* the load is there */
        turn();
    all.most = 0;
    for (int i = 0; i < all.count; i++)
        all.clients[i]->count = 0;
    for (int i = 0; i < count; i++)
        add(true);
    all.waiting = count;
    while (all.waiting > 0 && now_us() < end_at)
        turn();
    all.running = false;
    printf("open=%d answered=%ld most=%ld failed=%ld\n", all.open, all.answered, all.most,
           all.failed + all.waiting);
    settle();
}

static void print_times(void)
{
    for (int i = 0; i < CLASSES; i++)
        if (all.times[i] > 0)
            printf("%lld:%ld ", (long long)time_of(i), all.times[i]);
    printf("\n");
}

static void print_each(void)
{
    for (int i = 0; i < all.count; i++) {
        const struct client *client = all.clients[i];
        struct sockaddr_in own = {0};
        socklen_t size = sizeof(own);

        if (client->state != NONE)
            getsockname(client->fd, (struct sockaddr *)&own, &size);
        printf("%s:%d=%ld ", inet_ntoa(own.sin_addr), ntohs(own.sin_port), client->count);
    }
    printf("\n");
}

static void obey(char *line)
{
    const char *word = strtok(line, " \n"), *first = strtok(NULL, " \n"),
               *second = strtok(NULL, " \n");

    if (word && first && strcmp(word, "open") == 0)
        open_many(number(first, 1, MAX_CLIENTS));
    else if (word && second && strcmp(word, "run") == 0)
        run(number(first, 1, 3600000), number(second, 0, 1000000000));
    else if (word && first && strcmp(word, "fresh") == 0)
        fresh(number(first, 1, MAX_CLIENTS));
    else if (word && strcmp(word, "times") == 0)
        print_times();
    else if (word && strcmp(word, "each") == 0)
        print_each();
    else
        die("%s: no such command", word ? word : "");
    fflush(stdout);
}

static void options(int argc, char **argv)
{
    const char *path = "/";

    for (int option; (option = getopt(argc, argv, "p:u:b:w:")) != -1;)
        switch (option) {
        case 'p':
            all.port = number(optarg, 1, 65535);
            break;
        case 'u':
            path = optarg;
            break;
        case 'b':
            all.batch = number(optarg, 1, MOST_AT_ONCE);
            break;
        case 'w':
            all.patience = number(optarg, 1, 3600) * INT64_C(1000000);
            break;
        default:
            die("usage: closed -p PORT [-u PATH] [-b AT_ONCE] [-w SECONDS]");
        }
    write_request(all.request, sizeof(all.request), path, "");
}

int main(int argc, char **argv)
{
    options(argc, argv);
    all.epoll = many_watched();
    obey_lines(obey);
    return 0;
}
