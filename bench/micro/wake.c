/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 10,000 threads each wait for their connection; 100 of these become readable, and their threads
 * read and wait again. The figure is per wake, from the moment at which the 100 are readable. The
 * other ends are in another process, because both together would exceed the descriptor limit of
 * many systems.
 */
#include "micro.h"

#include <sys/prctl.h>
#include <sys/un.h>
#include <signal.h>

enum { WAITING = 10000, READY = 100, STEP = WAITING / READY };

/* --- the peers --- */

static int order[2], done[2]; /* pipes: which round the peers must make readable; that they have */

static void peers(const struct sockaddr_un *addr, socklen_t len)
{
    static int ends[WAITING];
    long round;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < WAITING; i++) {
        CHECK((ends[i] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
        CHECK(connect(ends[i], (const struct sockaddr *)addr, len) == 0);
    }
    while (read(order[0], &round, sizeof(round)) == sizeof(round)) {
        for (int i = 0; i < READY; i++) /* far apart */
            CHECK(write(ends[i * STEP + round % STEP], "x", 1) == 1);
        CHECK(write(done[1], "", 1) == 1);
    }
    _exit(0);
}

/* --- those who wait --- */

static long woken;

static void *wait_and_read(void *arg)
{
    char buf[1024];

    for (;;) {
        CHECK(st_read(arg, buf, sizeof(buf), ST_UTIME_NO_TIMEOUT) == 1);
        woken++;
    }
    return NULL;
}

static void make_waiters(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa_family_t);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(bind(listener, (struct sockaddr *)&addr, len) == 0); /* any free abstract name */
    len = sizeof(addr);
    CHECK(getsockname(listener, (struct sockaddr *)&addr, &len) == 0);
    CHECK(listen(listener, 512) == 0);
    CHECK(pipe(order) == 0 && pipe(done) == 0);
    if (fork() == 0)
        peers(&addr, len);
    for (int i = 0; i < WAITING; i++) {
        int osfd = accept(listener, NULL, NULL);
        st_netfd_t netfd;

        CHECK(osfd >= 0 && (netfd = st_netfd_open_socket(osfd)));
        CHECK(st_thread_create(wait_and_read, netfd, 0, 16384));
    }
    for (int i = 0; i < 10; i++)
        CHECK(st_usleep(1000) == 0); /* by now all of them wait */
}

/* Returns the ns from the moment at which 100 are readable until all of them have been read. */
static uint64_t one_round(long round)
{
    long target = woken + READY;
    uint64_t start;
    char byte;

    CHECK(write(order[1], &round, sizeof(round)) == sizeof(round));
    CHECK(read(done[0], &byte, 1) == 1);
    start = micro_ns();
    while (woken < target)
        micro_yield();
    return micro_ns() - start;
}

int main(int argc, char **argv)
{
    long rounds = micro_count(argc, argv, 300);
    uint64_t sum = 0;

    micro_init();
    if (st_getfdlimit() < WAITING + 50) {
        fprintf(stderr, "wake: needs %d descriptors, the limit is %d\n", WAITING + 50,
                st_getfdlimit());
        return 1;
    }
    make_waiters();
    for (long round = 0; round < STEP; round++) /* warm-up: each of them once */
        one_round(round);
    for (long round = 0; round < rounds; round++)
        sum += one_round(round);
    micro_report(0, sum, rounds * READY);
    fflush(stdout);
    _exit(0); /* the waiters are still there */
}
