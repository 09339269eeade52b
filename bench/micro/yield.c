/* SPDX-License-Identifier: Apache-2.0 */
/* A yield: ten threads take turns. */
#include "micro.h"

enum { THREADS = 10 };
static long rounds;

static void *turn(void *arg)
{
    (void)arg;
    for (long i = 0; i < rounds; i++)
        micro_yield();
    return NULL;
}

int main(int argc, char **argv)
{
    st_thread_t threads[THREADS];
    uint64_t start;

    rounds = micro_count(argc, argv, 200000);
    micro_init();
    for (int i = 0; i < THREADS; i++)
        CHECK((threads[i] = st_thread_create(turn, NULL, 1, 0)));
    start = micro_ns();
    for (int i = 0; i < THREADS; i++)
        CHECK(st_thread_join(threads[i], NULL) == 0);
    micro_report(start, micro_ns(), rounds * THREADS);
    return 0;
}
