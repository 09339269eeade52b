/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timer armed and disarmed while 100,000 others are pending: two threads wake each other out of a
 * timed wait, so that each wait arms a timer that never fires. The hand-over itself is in the
 * figure; cond.c has it alone.
 */
#include "micro.h"

enum { PENDING = 100000, SECOND = 1000000 };

static st_cond_t conds[2];
static int turn;
static long rounds;

static void *sleep_long(void *arg)
{
    (void)st_usleep((st_utime_t)(uintptr_t)arg);
    return NULL;
}

static void *play(void *arg)
{
    int me = (int)(intptr_t)arg;

    for (long i = 0; i < rounds; i++) {
        while (turn != me) /* like an I/O timeout: in the middle of the others */
            CHECK(st_cond_timedwait(conds[me], 2000ULL * SECOND) == 0);
        turn = !me;
        st_cond_signal(conds[!me]);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    st_thread_t threads[2];
    unsigned seed = 1;
    uint64_t start;

    rounds = micro_count(argc, argv, 500000);
    micro_init();
    for (int i = 0; i < PENDING; i++) {
        uintptr_t us = (uintptr_t)(1000 + rand_r(&seed) % 3000) * SECOND;

        CHECK(st_thread_create(sleep_long, (void *)us, 0, 16384));
    }
    for (int i = 0; i < 2; i++)
        CHECK((conds[i] = st_cond_new()));
    CHECK(st_usleep(1000) == 0); /* by now all of them are asleep */
    for (intptr_t i = 0; i < 2; i++)
        CHECK((threads[i] = st_thread_create(play, (void *)i, 1, 0)));
    start = micro_ns();
    for (int i = 0; i < 2; i++)
        CHECK(st_thread_join(threads[i], NULL) == 0);
    micro_report(start, micro_ns(), 2 * rounds);
    fflush(stdout);
    _exit(0); /* the sleepers are still there */
}
