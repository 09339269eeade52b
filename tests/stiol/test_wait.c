/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll(), select(), epoll_wait() and their variants, sleeps and yields: they yield, return correct
 * results, and end in time.
 */
#include <sys/eventfd.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

typedef struct feed {
    int fd;
    char what;
} feed_t;

/* Notes, writes a byte, notes. */
static void *feeder(void *arg)
{
    feed_t *feed = arg;

    note('f');
    CHECK(write(feed->fd, &feed->what, 1) == 1);
    return NULL;
}

static int poll_one(int fd, short events, int timeout, short *revents)
{
    struct pollfd one = {.fd = fd, .events = events, .revents = -1};
    int rc = call->poll(&one, 1, timeout);

    *revents = one.revents;
    return rc;
}

static void poll_waits_for_another_state_thread(void)
{
    int fds[2];
    short revents;
    feed_t feed;

    socket_pair(fds, true);
    feed = (feed_t){fds[1], 'x'};
    spawn(feeder, &feed);
    CHECK(poll_one(fds[0], POLLIN, -1, &revents) == 1);
    note('p');
    CHECK(revents == POLLIN);
    CHECK(strcmp(noted(), "fp") == 0);
    CHECK(counters().wait.calls == 1 && counters().wait.parked == 1);
}

static void poll_tells_the_events_asked_for_and_the_others(void)
{
    int fds[2];
    short revents;

    socket_pair(fds, true);
    CHECK(poll_one(fds[0], POLLIN | POLLOUT, 1000, &revents) == 1 && revents == POLLOUT);
    CHECK(poll_one(fds[0], POLLIN, 0, &revents) == 0 && revents == 0);
    CHECK(poll_one(fds[0], POLLIN, 1, &revents) == 0 && revents == 0);
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(poll_one(fds[0], POLLIN | POLLRDNORM, 1000, &revents) == 1);
    CHECK(revents == (POLLIN | POLLRDNORM));
    CHECK(shutdown(fds[1], SHUT_WR) == 0);
    CHECK(poll_one(fds[0], POLLRDHUP, 1000, &revents) == 1 && revents == POLLRDHUP);
    close(fds[1]);
    CHECK(poll_one(fds[0], 0, -1, &revents) == 1 && (revents & POLLHUP) != 0);
    close(fds[0]);
    CHECK(poll_one(fds[0], POLLIN, -1, &revents) == 1 && revents == POLLNVAL);
}

/* A kernel thread that writes a byte, or closes its end, after a while. */
typedef struct later {
    int fd;
    bool closes;
} later_t;

static void *act_later(void *arg)
{
    later_t *later = arg;

    usleep(20000);
    if (later->closes)
        CHECK(close(later->fd) == 0);
    else
        CHECK(write(later->fd, "x", 1) == 1);
    return NULL;
}

/* What poll() returns for those events when parked, without polling at intervals. */
static short parked_answer(int fd, short events, int nfds)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events, .revents = -1}, {.fd = -1}}, real;
    st_stats_t before, after;
    int other[2];

    if (nfds == 2) {
        socket_pair(other, true);
        fds[1] = (struct pollfd){.fd = other[0], .events = POLLIN | POLLERR};
    }
    st_get_stats(&before);
    CHECK(call->poll(fds, (nfds_t)nfds, -1) == 1);
    st_get_stats(&after);
    CHECK(after.timers_fired == before.timers_fired);
    real = (struct pollfd){.fd = fd, .events = events};
    CHECK(poll(&real, 1, 0) == 1 && real.revents == fds[0].revents);
    return fds[0].revents;
}

/* libpq asks for errors at each wait; they are always reported. */
static void poll_parks_whatever_it_is_asked_for(void)
{
    static const short events[] = {POLLIN | POLLERR,     POLLIN | POLLERR | POLLHUP | POLLNVAL,
                                   POLLRDNORM | POLLERR, POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI,
                                   POLLIN | POLLRDHUP,   POLLIN | POLLMSG};

    for (size_t i = 0; i < 2 * sizeof(events) / sizeof(*events); i++) {
        short what = events[i / 2];
        later_t later = {0};
        pthread_t id;
        int fds[2];

        socket_pair(fds, true);
        later.fd = fds[1];
        id = kernel_thread(act_later, &later);
        CHECK((parked_answer(fds[0], what, 1 + (int)(i % 2)) & (POLLIN | POLLRDNORM)) != 0);
        join_kernel_thread(id);
        close(fds[0]);
        close(fds[1]);
    }
}

static void poll_for_errors_alone_parks(void)
{
    static const short events[] = {0, POLLERR, POLLHUP | POLLERR, POLLNVAL};

    for (size_t i = 0; i < 2 * sizeof(events) / sizeof(*events); i++) {
        later_t later = {.closes = true};
        pthread_t id;
        int fds[2];

        socket_pair(fds, true);
        CHECK(write(fds[1], "x", 1) == 1); /* which is not asked for */
        later.fd = fds[1];
        id = kernel_thread(act_later, &later);
        CHECK(parked_answer(fds[0], events[i / 2], 1 + (int)(i % 2)) == POLLHUP);
        join_kernel_thread(id);
        close(fds[0]);
    }
}

/* Some descriptors know priority bands, and others never report them. */
static void bands_are_as_the_kernel_has_them(void)
{
    static const short events[] = {POLLWRBAND, POLLRDBAND, POLLMSG, POLLOUT | POLLWRBAND};
    struct pollfd fd, real;
    int fds[2];

    CHECK(pipe(fds) == 0);
    for (int tries = 0; tries < 2; tries++) {
        for (size_t i = 0; i < 2 * sizeof(events) / sizeof(*events); i++) {
            fd = real = (struct pollfd){.fd = fds[i % 2], .events = events[i / 2]};
            CHECK(call->poll(&fd, 1, 1) == poll(&real, 1, 0) && fd.revents == real.revents);
        }
        socket_pair(fds, true);
    }
}

static void poll_takes_files_for_ready(void)
{
    char name[] = "/tmp/stiol-test-XXXXXX";
    int fd = mkstemp(name);
    short revents;

    CHECK(fd >= 0 && unlink(name) == 0);
    CHECK(poll_one(fd, POLLIN | POLLOUT, -1, &revents) == 1 && revents == (POLLIN | POLLOUT));
}

static void poll_of_nothing_is_a_sleep(void)
{
    struct pollfd none = {.fd = -1, .events = POLLIN, .revents = -1};
    int ticks = 0;

    spawn(ticker, &ticks);
    CHECK(call->poll(NULL, 0, 1) == 0);
    CHECK(ticks > 0);
    CHECK(call->poll(&none, 1, 1) == 0 && none.revents == 0);
    stop_ticking = true;
}

/* What the thread reads behind libst's back is gone: poll must ask the kernel, not rely on what is
 * known. */
static int stale_poll(void)
{
    int fds[2];
    short revents;
    char c;

    socket_pair(fds, true);
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(poll_one(fds[0], POLLIN, 1000, &revents) == 1);
    CHECK(read(fds[0], &c, 1) == 1);
    return poll_one(fds[0], POLLIN, 1, &revents);
}

static void stale_body(void)
{
    _exit(stale_poll() == 0 ? 10 : 20);
}

static void trap_2_poll_asks_the_kernel_before_it_parks(void)
{
    CHECK(without(0, stale_body) == 10);
    CHECK(without(STIOL_NO_ASKING, stale_body) == 20);
}

/* And the other way round: ready since before libst knew the descriptor. */
static void trap_2_poll_needs_no_eagain_before_it(void)
{
    int fds[2];
    short revents;

    socket_pair(fds, true);
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(poll_one(fds[0], POLLIN, -1, &revents) == 1);
    CHECK(poll_one(fds[0], POLLIN, -1, &revents) == 1);
    close(fds[0]); /* behind libst's back, and the number is used again */
    CHECK(dup2(fds[1], fds[0]) == fds[0]);
    CHECK(poll_one(fds[0], POLLOUT, -1, &revents) == 1);
}

/* mod_http2's main loop: spins on poll with timeout 0 until something arrives that another thread
 * must provide. */
static void spin(void)
{
    int fds[2], spins = 0;
    short revents;
    feed_t feed;

    socket_pair(fds, true);
    feed = (feed_t){fds[1], 'x'};
    spawn(feeder, &feed);
    while (spins < 1000 && poll_one(fds[0], POLLIN, 0, &revents) == 0)
        spins++;
    _exit(spins < 1000 ? 10 : 20);
}

/* The same with a descriptor that is always ready. */
static void ready_spin(void)
{
    int fds[2], ticks = 0;
    short revents;

    socket_pair(fds, true);
    spawn(ticker, &ticks);
    for (int i = 0; i < 1000; i++) {
        struct pollfd two[2] = {{.fd = fds[0], .events = POLLOUT},
                                {.fd = fds[1], .events = POLLIN}};

        CHECK(poll_one(fds[0], POLLOUT, 0, &revents) == 1);
        CHECK(call->poll(two, 2, -1) == 1);
    }
    _exit(ticks >= 2000 ? 10 : 20);
}

static void ready_epoll_spin(void)
{
    struct epoll_event event = {.events = EPOLLOUT};
    int fds[2], ticks = 0, epfd = epoll_create1(0);

    socket_pair(fds, true);
    CHECK(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[0], &event) == 0);
    spawn(ticker, &ticks);
    for (int i = 0; i < 1000; i++)
        CHECK(call->epoll_wait(epfd, &event, 1, i % 2 == 0 ? -1 : 0) == 1);
    _exit(ticks >= 1000 ? 10 : 20);
}

static void trap_1_every_call_gives_way(void)
{
    CHECK(without(0, spin) == 10 && without(STIOL_NO_YIELD, spin) == 20);
    CHECK(without(0, ready_spin) == 10 && without(STIOL_NO_YIELD, ready_spin) == 20);
    CHECK(without(0, ready_epoll_spin) == 10 && without(STIOL_NO_YIELD, ready_epoll_spin) == 20);
}

/* --- what a recv() has just said --- */

/* The socket is empty, as recv() says; then a byte comes, behind STIOL's back. */
static int poll_after_empty(void (*between)(int fd), short events)
{
    int fds[2];
    short revents;

    socket_pair(fds, true);
    stiol_saw_empty(fds[0]);
    CHECK(write(fds[1], "x", 1) == 1);
    if (between)
        between(fds[0]);
    return poll_one(fds[0], events, 0, &revents);
}

static void empty_body(void)
{
    _exit(poll_after_empty(NULL, POLLIN) == 0 ? 10 : 20);
}

static void poll_does_not_ask_what_recv_has_just_said(void)
{
    CHECK(without(0, empty_body) == 10);
    CHECK(without(STIOL_NO_SPARING, empty_body) == 20);
}

static void yields(int fd)
{
    (void)fd;
    st_thread_yield();
}

static void uses_another_descriptor(int fd)
{
    (void)fd;
    CHECK(call->write(-1, "x", 1) == -1);
}

static void becomes_another(int fd)
{
    int other[2];

    socket_pair(other, true);
    CHECK(write(other[1], "x", 1) == 1);
    CHECK(call->dup2(other[0], fd) == fd);
}

static void asks_once(int fd)
{
    short revents;

    CHECK(poll_one(fd, POLLIN, 0, &revents) == 0);
}

/* The answer is neither an old one nor one to another question. */
static void poll_asks_when_recv_was_not_just_before(void)
{
    CHECK(poll_after_empty(yields, POLLIN) == 1);
    CHECK(poll_after_empty(uses_another_descriptor, POLLIN) == 1);
    CHECK(poll_after_empty(becomes_another, POLLIN) == 1);
    CHECK(poll_after_empty(NULL, POLLIN | POLLOUT) == 1);
    st_thread_yield();
    CHECK(poll_after_empty(asks_once, POLLIN) == 1);
}

/* As in a loop of recv() and poll(), the other thread gets its turn. */
static void who_sees_nothing_again_and_again_gives_way(void)
{
    int fds[2], ticks = 0;
    short revents;

    socket_pair(fds, true);
    spawn(ticker, &ticks);
    for (int i = 0; i < 100; i++) {
        stiol_saw_empty(fds[0]);
        CHECK(poll_one(fds[0], POLLIN, 0, &revents) == 0);
    }
    CHECK(ticks >= 49);
    stop_ticking = true;
}

static void poll_waits_for_several(void)
{
    int a[2], b[2];
    feed_t feed;

    socket_pair(a, true);
    socket_pair(b, true);
    feed = (feed_t){b[1], 'x'};
    spawn(feeder, &feed);
    struct pollfd fds[5] = {{.fd = a[0], .events = POLLIN},
                            {.fd = -1, .events = POLLIN},
                            {.fd = b[0], .events = POLLIN},
                            {.fd = b[0], .events = POLLIN | POLLPRI},
                            {.fd = a[0], .events = POLLRDHUP}};
    CHECK(call->poll(fds, 5, -1) == 2);
    CHECK(fds[0].revents == 0 && fds[1].revents == 0 && fds[4].revents == 0);
    CHECK(fds[2].revents == POLLIN && fds[3].revents == POLLIN);
    CHECK(strcmp(noted(), "f") == 0);
    CHECK(call->poll(fds, 2, 1) == 0);
}

static void poll_waits_for_very_many(void)
{
    enum { MANY = 300 };
    struct pollfd fds[MANY];
    int pairs[MANY][2];
    feed_t feed;

    for (int i = 0; i < MANY; i++) {
        socket_pair(pairs[i], true);
        fds[i] = (struct pollfd){.fd = pairs[i][0], .events = POLLIN};
    }
    feed = (feed_t){pairs[250][1], 'x'};
    spawn(feeder, &feed);
    CHECK(call->poll(fds, MANY, -1) == 1 && fds[250].revents == POLLIN);
}

/* Events that libst does not report are polled for at intervals. */
static void poll_of_unusual_events_gives_way_too(void)
{
    int fds[2], ticks = 0;
    struct pollfd one;

    socket_pair(fds, true);
    spawn(ticker, &ticks);
    one = (struct pollfd){.fd = fds[0], .events = POLLRDBAND};
    CHECK(call->poll(&one, 1, 20) == 0 && ticks > 0);
    close(fds[1]);
    CHECK(call->poll(&one, 1, -1) == 1 && (one.revents & POLLHUP) != 0);
    stop_ticking = true;
}

static void *poll_forever(void *arg)
{
    struct pollfd one = {.fd = *(int *)arg, .events = POLLIN};
    int rc;

    note('p');
    rc = call->poll(&one, 1, -1);
    note(rc == 1 && one.revents == POLLNVAL ? 'n'
         : rc == -1 && errno == EINTR       ? 'i'
         : rc == 1                          ? 'r'
                                            : '?');
    return NULL;
}

static void closing_wakes_who_polls(void)
{
    int fds[2];

    socket_pair(fds, true);
    spawn(poll_forever, &fds[0]);
    settle();
    CHECK(call->close(fds[0]) == 0);
    settle();
    CHECK(strcmp(noted(), "pn") == 0);
}

static void an_interrupt_is_as_a_signal(void)
{
    int fds[2];
    st_thread_t thread;

    socket_pair(fds, true);
    thread = spawn(poll_forever, &fds[0]);
    settle();
    st_thread_interrupt(thread);
    settle();
    CHECK(strcmp(noted(), "pi") == 0);
}

static void two_threads_poll_one_descriptor(void)
{
    int fds[2];

    socket_pair(fds, true);
    spawn(poll_forever, &fds[0]);
    spawn(poll_forever, &fds[0]);
    settle();
    CHECK(write(fds[1], "x", 1) == 1);
    reap();
    CHECK(strcmp(noted(), "pprr") == 0);
}

/* --- select --- */

static void select_waits_and_says_which(void)
{
    struct timeval limit = {100, 0};
    int fds[2], more[2];
    fd_set r, w, e;
    feed_t feed;

    socket_pair(fds, true);
    socket_pair(more, true);
    feed = (feed_t){fds[1], 'x'};
    spawn(feeder, &feed);
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&e);
    FD_SET(fds[0], &r), FD_SET(more[0], &r), FD_SET(fds[0], &e);
    CHECK(call->select(more[1] + 1, &r, NULL, &e, &limit) == 1);
    CHECK(FD_ISSET(fds[0], &r) && !FD_ISSET(more[0], &r) && !FD_ISSET(fds[0], &e));
    CHECK(limit.tv_sec <= 100 && limit.tv_sec > 0);
    FD_SET(more[0], &w), FD_SET(more[1], &w);
    CHECK(call->select(more[1] + 1, &r, &w, NULL, NULL) == 3);
    FD_ZERO(&r);
    FD_SET(more[0], &r);
    limit = (struct timeval){0, 100};
    CHECK(call->select(more[0] + 1, &r, NULL, NULL, &limit) == 0 && !FD_ISSET(more[0], &r));
    CHECK(limit.tv_sec == 0 && limit.tv_usec == 0);
    FD_SET(more[0], &r), close(more[0]);
    CHECK(call->select(more[0] + 1, &r, NULL, NULL, NULL) == -1 && errno == EBADF);
    CHECK(call->select(-1, NULL, NULL, NULL, NULL) == -1 && errno == EINVAL);
}

static void select_goes_beyond_1024(void)
{
    unsigned long words[4096 / (8 * sizeof(unsigned long))] = {0};
    const int high = 3000, bits = 8 * (int)sizeof(unsigned long);
    int fds[2];
    feed_t feed;

    socket_pair(fds, true);
    if (dup2(fds[0], high) != high)
        skip_test("the limit of open descriptors is too low");
    feed = (feed_t){fds[1], 'x'};
    spawn(feeder, &feed);
    words[high / bits] |= 1ul << high % bits;
    CHECK(call->select(high + 1, (fd_set *)words, NULL, NULL, NULL) == 1);
    CHECK(words[high / bits] == 1ul << high % bits);
}

static void pselect_and_ppoll_wait_too(void)
{
    struct timespec limit = {100, 0}, tiny = {0, 1000};
    struct pollfd one;
    sigset_t mask;
    int fds[2];
    fd_set r;
    feed_t feed;

    socket_pair(fds, true);
    sigfillset(&mask);
    feed = (feed_t){fds[1], 'x'};
    one = (struct pollfd){.fd = fds[0], .events = POLLIN};
    CHECK(call->ppoll(&one, 1, &tiny, &mask) == 0);
    spawn(feeder, &feed);
    CHECK(call->ppoll(&one, 1, &limit, &mask) == 1 && one.revents == POLLIN);
    FD_ZERO(&r);
    FD_SET(fds[0], &r);
    CHECK(call->pselect(fds[0] + 1, &r, NULL, NULL, NULL, &mask) == 1 && FD_ISSET(fds[0], &r));
    CHECK(call->pselect(0, NULL, NULL, NULL, &tiny, NULL) == 0);
    tiny.tv_nsec = -1;
    CHECK(call->ppoll(&one, 1, &tiny, NULL) == -1 && errno == EINVAL);
    CHECK(call->__poll_chk(&one, 1, -1, sizeof(one)) == 1);
    CHECK(call->__ppoll_chk(&one, 1, NULL, NULL, sizeof(one)) == 1);
}

/* --- epoll --- */

static void epoll_waits_for_its_descriptors(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = 7}, got[2];
    int epfd = epoll_create1(0), fds[2];
    struct timespec limit = {100, 0};
    feed_t feed;
    char c;

    socket_pair(fds, true);
    CHECK(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[0], &event) == 0);
    CHECK(call->epoll_wait(epfd, got, 2, 0) == 0);
    CHECK(call->epoll_wait(epfd, got, 2, 1) == 0);
    feed = (feed_t){fds[1], 'x'};
    for (int round = 0; round < 100; round++) { /* edges: none may be missed */
        spawn(feeder, &feed);
        CHECK(call->epoll_wait(epfd, got, 2, -1) == 1 && got[0].data.u32 == 7);
        CHECK(call->epoll_wait(epfd, got, 2, 0) == 0);
        CHECK(read(fds[0], &c, 1) == 1);
        reap();
        forget_notes();
    }
    spawn(feeder, &feed);
    CHECK(call->epoll_pwait(epfd, got, 2, 100000, NULL) == 1);
    spawn(feeder, &feed);
    CHECK(call->epoll_pwait2(epfd, got, 2, &limit, NULL) == 1);
    CHECK(call->epoll_wait(epfd, got, 0, 0) == -1 && errno == EINVAL);
}

/* apr_pollset's wakeup pipe, written by another kernel thread. */
static void *write_from_afar(void *arg)
{
    CHECK(write(*(int *)arg, "x", 1) == 1);
    return NULL;
}

static void epoll_is_woken_by_kernel_threads(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = epoll_create1(0), fds[2];
    pthread_t id;

    CHECK(pipe(fds) == 0);
    CHECK(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[0], &event) == 0);
    id = kernel_thread(write_from_afar, &fds[1]);
    CHECK(call->epoll_wait(epfd, &event, 1, -1) == 1);
    join_kernel_thread(id);
}

static void *epoll_forever(void *arg)
{
    struct epoll_event event;

    CHECK(call->epoll_wait(*(int *)arg, &event, 1, -1) == 1);
    note('e');
    return NULL;
}

static void many_threads_wait_on_one_epoll(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = epoll_create1(0), fd = eventfd(0, EFD_NONBLOCK);
    uint64_t one = 1;

    CHECK(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0);
    for (int i = 0; i < 20; i++)
        spawn(epoll_forever, &epfd);
    settle();
    CHECK(noted()[0] == '\0');
    CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
    reap();
    CHECK(strlen(noted()) == 20);
}

/* --- sleeping --- */

static void *short_sleep(void *arg)
{
    (void)arg;
    CHECK(call->usleep(20000) == 0);
    note('2');
    return NULL;
}

static void *shorter_sleep(void *arg)
{
    struct timespec length = {0, 10000000};

    (void)arg;
    CHECK(call->nanosleep(&length, NULL) == 0);
    note('1');
    return NULL;
}

static void *long_sleep(void *arg)
{
    (void)arg;
    CHECK(call->sleep(1) == 0);
    note('4');
    return NULL;
}

static void *absolute_sleep(void *arg)
{
    struct timespec when;

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_nsec += 200000000;
    if (when.tv_nsec >= 1000000000)
        when.tv_sec++, when.tv_nsec -= 1000000000;
    CHECK(call->clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, NULL) == 0);
    note('3');
    return NULL;
}

/* If the machine freezes between two of them, their order changes: then try again. */
static void sleeps_end_in_the_order_of_their_lengths(void)
{
    bool ordered = false;

    for (int i = 0; i < 10 && !ordered; i++) {
        forget_notes();
        spawn(long_sleep, NULL);
        spawn(absolute_sleep, NULL);
        spawn(short_sleep, NULL);
        spawn(shorter_sleep, NULL);
        reap();
        ordered = strcmp(noted(), "1234") == 0;
    }
    CHECK(ordered);
}

static void *sleep_with_rest(void *arg)
{
    struct timespec length = {100, 0}, rest = {0, 0};

    (void)arg;
    CHECK(call->nanosleep(&length, &rest) == -1 && errno == EINTR && rest.tv_sec >= 90);
    CHECK(call->clock_nanosleep(CLOCK_MONOTONIC, 0, &length, &rest) == EINTR && rest.tv_sec >= 90);
    CHECK(call->sleep(100) >= 90);
    note('r');
    return NULL;
}

static void interrupted_sleeps_say_what_is_left(void)
{
    st_thread_t thread = spawn(sleep_with_rest, NULL);

    for (int i = 0; i < 3; i++) {
        settle();
        st_thread_interrupt(thread);
    }
    reap();
    CHECK(strcmp(noted(), "r") == 0);
}

static void sleeps_check_their_arguments(void)
{
    struct timespec wrong = {0, 1000000000};

    CHECK(call->nanosleep(&wrong, NULL) == -1 && errno == EINVAL);
    CHECK(call->clock_nanosleep(CLOCK_MONOTONIC, 0, &wrong, NULL) == EINVAL);
}

static void sched_yield_gives_way(void)
{
    int ticks = 0;

    spawn(ticker, &ticks);
    for (int i = 0; i < 10; i++)
        CHECK(call->sched_yield() == 0 && call->usleep(0) == 0);
    CHECK(ticks >= 19);
    stop_ticking = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(poll_waits_for_another_state_thread),
        VP_TEST(poll_tells_the_events_asked_for_and_the_others),
        VP_TEST(poll_parks_whatever_it_is_asked_for),
        VP_TEST(poll_for_errors_alone_parks),
        VP_TEST(bands_are_as_the_kernel_has_them),
        VP_TEST(poll_takes_files_for_ready),
        VP_TEST(poll_of_nothing_is_a_sleep),
        RAW_TEST(trap_2_poll_asks_the_kernel_before_it_parks),
        VP_TEST(trap_2_poll_needs_no_eagain_before_it),
        RAW_TEST(trap_1_every_call_gives_way),
        RAW_TEST(poll_does_not_ask_what_recv_has_just_said),
        VP_TEST(poll_asks_when_recv_was_not_just_before),
        VP_TEST(who_sees_nothing_again_and_again_gives_way),
        VP_TEST(poll_waits_for_several),
        VP_TEST(poll_waits_for_very_many),
        VP_TEST(poll_of_unusual_events_gives_way_too),
        VP_TEST(closing_wakes_who_polls),
        VP_TEST(an_interrupt_is_as_a_signal),
        VP_TEST(two_threads_poll_one_descriptor),
        VP_TEST(select_waits_and_says_which),
        VP_TEST(select_goes_beyond_1024),
        VP_TEST(pselect_and_ppoll_wait_too),
        VP_TEST(epoll_waits_for_its_descriptors),
        VP_TEST(epoll_is_woken_by_kernel_threads),
        VP_TEST(many_threads_wait_on_one_epoll),
        VP_TEST(sleeps_end_in_the_order_of_their_lengths),
        VP_TEST(interrupted_sleeps_say_what_is_left),
        VP_TEST(sleeps_check_their_arguments),
        VP_TEST(sched_yield_gives_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
