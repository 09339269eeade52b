/* SPDX-License-Identifier: Apache-2.0 */
/* Handing over a mutex: two threads want it, so that each unlock gives it to the other, which
 * waits. */
#include "micro.h"

static st_mutex_t mutex;
static long rounds;

static void *take_turns(void *arg)
{
    (void)arg;
    CHECK(st_mutex_lock(mutex) == 0);
    for (long i = 0; i < rounds; i++) {
        CHECK(st_mutex_unlock(mutex) == 0); /* the other's now */
        CHECK(st_mutex_lock(mutex) == 0);   /* waits for it to come back */
    }
    CHECK(st_mutex_unlock(mutex) == 0);
    return NULL;
}

int main(int argc, char **argv)
{
    st_thread_t one, two;
    uint64_t start;

    rounds = micro_count(argc, argv, 2000000);
    micro_init();
    CHECK((mutex = st_mutex_new()));
    CHECK(st_mutex_lock(mutex) == 0); /* so that both have started before the first hand-over */
    CHECK((one = st_thread_create(take_turns, NULL, 1, 0)));
    CHECK((two = st_thread_create(take_turns, NULL, 1, 0)));
    micro_yield();
    start = micro_ns();
    CHECK(st_mutex_unlock(mutex) == 0);
    CHECK(st_thread_join(one, NULL) == 0);
    CHECK(st_thread_join(two, NULL) == 0);
    micro_report(start, micro_ns(), 2 * rounds);
    return 0;
}
