/* SPDX-License-Identifier: Apache-2.0 */
/* Condition ping-pong: two threads signal each other and wait. */
#include "micro.h"

static st_cond_t conds[2];
static int turn;
static long rounds;

static void *play(void *arg)
{
    int me = (int)(intptr_t)arg;

    for (long i = 0; i < rounds; i++) {
        while (turn != me)
            CHECK(st_cond_wait(conds[me]) == 0);
        turn = !me;
        st_cond_signal(conds[!me]);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    st_thread_t threads[2];
    uint64_t start;

    rounds = micro_count(argc, argv, 2000000);
    micro_init();
    for (int i = 0; i < 2; i++)
        CHECK((conds[i] = st_cond_new()));
    for (intptr_t i = 0; i < 2; i++)
        CHECK((threads[i] = st_thread_create(play, (void *)i, 1, 0)));
    start = micro_ns();
    for (int i = 0; i < 2; i++)
        CHECK(st_thread_join(threads[i], NULL) == 0);
    micro_report(start, micro_ns(), 2 * rounds);
    return 0;
}
